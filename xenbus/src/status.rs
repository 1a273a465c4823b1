// SPDX-License-Identifier: BSD-2-Clause
//! The statuses of this driver: kexec's and those that only the store and event channels speak of.

pub use kexec::{Result, Status};

macro_rules! statuses {
    ($($name:ident = $value:literal;)*) => {
        $(
            #[doc = concat!("STATUS_", stringify!($name), ".")]
            pub const $name: Status = Status::new($value as u32 as i32);
        )*
    };
}

statuses! {
    UNSUCCESSFUL = 0xC000_0001u32;
    NOT_IMPLEMENTED = 0xC000_0002u32;
    INVALID_PARAMETER = 0xC000_000Du32;
    NO_MEMORY = 0xC000_0017u32;
    ACCESS_DENIED = 0xC000_0022u32;
    OBJECT_NAME_NOT_FOUND = 0xC000_0034u32;
    OBJECT_PATH_NOT_FOUND = 0xC000_003Au32;
    QUOTA_EXCEEDED = 0xC000_0044u32;
    INSUFFICIENT_RESOURCES = 0xC000_009Au32;
    MEDIA_WRITE_PROTECTED = 0xC000_00A2u32;
    DEVICE_NOT_READY = 0xC000_00A3u32;
    PIPE_BUSY = 0xC000_00AEu32;
    PIPE_CONNECTED = 0xC000_00B2u32;
    IO_TIMEOUT = 0xC000_00B5u32;
    FILE_IS_A_DIRECTORY = 0xC000_00BAu32;
    NOT_SUPPORTED = 0xC000_00BBu32;
    UNEXPECTED_IO_ERROR = 0xC000_00E9u32;
    DIRECTORY_NOT_EMPTY = 0xC000_0101u32;
    CANCELLED = 0xC000_0120u32;
    DEVICE_PROTOCOL_ERROR = 0xC000_0186u32;
    INVALID_BUFFER_SIZE = 0xC000_0206u32;
    CONNECTION_DISCONNECTED = 0xC000_020Cu32;
    OBJECTID_EXISTS = 0xC000_022Bu32;
    RETRY = 0xC000_022Du32;
    BUFFER_OVERFLOW = 0x8000_0005u32;
    BUFFER_TOO_SMALL = 0xC000_0023u32;
}

/// What the published interfaces say when an allocation failed, whatever the pool calls it.
#[must_use]
pub fn no_memory(_: Status) -> Status {
    NO_MEMORY
}
