// SPDX-License-Identifier: BSD-2-Clause
//! NTSTATUS values that the kernel returns.

/// An NTSTATUS.
pub type NtStatus = i32;

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {$(
        #[doc = concat!("`STATUS_", stringify!($name), "`.")]
        pub const $name: NtStatus = $value as u32 as i32;
    )*};
}

statuses! {
    SUCCESS = 0x0000_0000;
    WAIT_1 = 0x0000_0001;
    ALERTED = 0x0000_0101;
    TIMEOUT = 0x0000_0102;
    PENDING = 0x0000_0103;
    BUFFER_OVERFLOW = 0x8000_0005;
    NO_MORE_ENTRIES = 0x8000_001a;
    UNSUCCESSFUL = 0xc000_0001;
    NOT_IMPLEMENTED = 0xc000_0002;
    INVALID_INFO_CLASS = 0xc000_0003;
    INFO_LENGTH_MISMATCH = 0xc000_0004;
    INVALID_HANDLE = 0xc000_0008;
    INVALID_PARAMETER = 0xc000_000d;
    NO_SUCH_DEVICE = 0xc000_000e;
    INVALID_DEVICE_REQUEST = 0xc000_0010;
    MORE_PROCESSING_REQUIRED = 0xc000_0016;
    ACCESS_DENIED = 0xc000_0022;
    BUFFER_TOO_SMALL = 0xc000_0023;
    OBJECT_TYPE_MISMATCH = 0xc000_0024;
    OBJECT_NAME_INVALID = 0xc000_0033;
    OBJECT_NAME_NOT_FOUND = 0xc000_0034;
    OBJECT_NAME_COLLISION = 0xc000_0035;
    MUTANT_NOT_OWNED = 0xc000_0046;
    SEMAPHORE_LIMIT_EXCEEDED = 0xc000_0047;
    DELETE_PENDING = 0xc000_0056;
    INSUFFICIENT_RESOURCES = 0xc000_009a;
    INVALID_IMAGE_FORMAT = 0xc000_007b;
    DEVICE_NOT_READY = 0xc000_00a3;
    NOT_SUPPORTED = 0xc000_00bb;
    CANCELLED = 0xc000_0120;
    NO_SUCH_FILE = 0xc000_000f;
    NOT_FOUND = 0xc000_0225;
    KEY_DELETED = 0xc000_017c;
    PROCEDURE_NOT_FOUND = 0xc000_007a;
    DRIVER_ENTRYPOINT_NOT_FOUND = 0xc000_0263;
}

/// `NT_SUCCESS`.
pub const fn success(status: NtStatus) -> bool {
    status >= 0
}
