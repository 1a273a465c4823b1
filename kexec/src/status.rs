// SPDX-License-Identifier: BSD-2-Clause
//! [`Status`]: an NTSTATUS that is never a success code, and the crate's [`Result`].
//!
//! Nothing here touches the kernel; every item is usable at any IRQL.

use core::fmt;
use core::num::NonZeroI32;

/// `Result` with a [`Status`] error.
///
/// # IRQL
/// Any.
pub type Result<T = ()> = core::result::Result<T, Status>;

/// A failing NTSTATUS.
///
/// # Invariants
/// The value is negative: `NT_SUCCESS` is false for it.
///
/// # IRQL
/// Any.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Status(NonZeroI32);

/// STATUS_SUCCESS as a raw NTSTATUS.
pub const STATUS_SUCCESS: i32 = 0;
/// STATUS_PENDING as a raw NTSTATUS (a success code).
pub const STATUS_PENDING: i32 = 0x103;
/// STATUS_TIMEOUT as a raw NTSTATUS (a success code).
pub const STATUS_TIMEOUT: i32 = 0x102;
/// STATUS_ALERTED as a raw NTSTATUS (a success code).
pub const STATUS_ALERTED: i32 = 0x101;

impl Status {
    /// The failing status `raw`; a success code becomes [`Status::UNSUCCESSFUL`].
    #[must_use]
    pub const fn new(raw: i32) -> Self {
        match NonZeroI32::new(raw) {
            // INVARIANT: only negative values get here.
            Some(value) if raw < 0 => Self(value),
            _ => Self::UNSUCCESSFUL,
        }
    }

    /// `Ok` for a success or informational NTSTATUS, else the failure.
    pub const fn check(raw: i32) -> Result {
        if raw >= 0 {
            Ok(())
        } else {
            Err(Self::new(raw))
        }
    }

    /// The raw NTSTATUS.
    #[must_use]
    pub const fn raw(self) -> i32 {
        self.0.get()
    }

    /// The raw NTSTATUS of a result: what a dispatch routine returns.
    #[must_use]
    pub const fn of(result: &Result) -> i32 {
        match result {
            Ok(()) => STATUS_SUCCESS,
            Err(status) => status.raw(),
        }
    }

    /// The name in `ntstatus.h`, when this module knows it.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        NAMES
            .iter()
            .find(|(status, _)| *status == self)
            .map(|(_, name)| *name)
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        impl Status {
            $(
                #[doc = concat!("STATUS_", stringify!($name), " (", stringify!($value), ").")]
                $(#[$doc])*
                pub const $name: Self = match NonZeroI32::new($value as u32 as i32) {
                    Some(value) if value.get() < 0 => Self(value),
                    _ => panic!("not a failing status"),
                };
            )*
        }
        const NAMES: &[(Status, &str)] = &[$((Status::$name, concat!("STATUS_", stringify!($name))),)*];
    };
}

codes! {
    BUFFER_OVERFLOW = 0x8000_0005u32;
    NO_MORE_ENTRIES = 0x8000_001Au32;
    DEVICE_BUSY = 0x8000_0011u32;
    UNSUCCESSFUL = 0xC000_0001u32;
    NOT_IMPLEMENTED = 0xC000_0002u32;
    INVALID_INFO_CLASS = 0xC000_0003u32;
    INFO_LENGTH_MISMATCH = 0xC000_0004u32;
    INVALID_HANDLE = 0xC000_0008u32;
    INVALID_PARAMETER = 0xC000_000Du32;
    NO_SUCH_DEVICE = 0xC000_000Eu32;
    NO_SUCH_FILE = 0xC000_000Fu32;
    INVALID_DEVICE_REQUEST = 0xC000_0010u32;
    END_OF_FILE = 0xC000_0011u32;
    MORE_PROCESSING_REQUIRED = 0xC000_0016u32;
    NO_MEMORY = 0xC000_0017u32;
    ACCESS_DENIED = 0xC000_0022u32;
    BUFFER_TOO_SMALL = 0xC000_0023u32;
    OBJECT_TYPE_MISMATCH = 0xC000_0024u32;
    OBJECT_NAME_INVALID = 0xC000_0033u32;
    OBJECT_NAME_NOT_FOUND = 0xC000_0034u32;
    OBJECT_NAME_COLLISION = 0xC000_0035u32;
    OBJECT_PATH_NOT_FOUND = 0xC000_003Au32;
    DATA_ERROR = 0xC000_003Eu32;
    REVISION_MISMATCH = 0xC000_0059u32;
    DELETE_PENDING = 0xC000_0056u32;
    PROCEDURE_NOT_FOUND = 0xC000_007Au32;
    INVALID_IMAGE_FORMAT = 0xC000_007Bu32;
    DISK_FULL = 0xC000_007Fu32;
    INTEGER_OVERFLOW = 0xC000_0095u32;
    INSUFFICIENT_RESOURCES = 0xC000_009Au32;
    DEVICE_NOT_CONNECTED = 0xC000_009Du32;
    DEVICE_POWER_FAILURE = 0xC000_009Eu32;
    DEVICE_NOT_READY = 0xC000_00A3u32;
    INVALID_ADDRESS = 0xC000_0141u32;
    IO_TIMEOUT = 0xC000_00B5u32;
    NOT_SUPPORTED = 0xC000_00BBu32;
    IO_DEVICE_ERROR = 0xC000_0185u32;
    DEVICE_PROTOCOL_ERROR = 0xC000_0186u32;
    NETWORK_BUSY = 0xC000_00BFu32;
    DEVICE_DOES_NOT_EXIST = 0xC000_00C0u32;
    ADAPTER_HARDWARE_ERROR = 0xC000_00C2u32;
    INTERNAL_ERROR = 0xC000_00E5u32;
    INTERNAL_DB_CORRUPTION = 0xC000_00E4u32;
    CANCELLED = 0xC000_0120u32;
    INVALID_DEVICE_STATE = 0xC000_0184u32;
    INVALID_LEVEL = 0xC000_0148u32;
    UNHANDLED_EXCEPTION = 0xC000_0144u32;
    NAME_TOO_LONG = 0xC000_0106u32;
    DIRECTORY_NOT_EMPTY = 0xC000_0101u32;
    POSSIBLE_DEADLOCK = 0xC000_0194u32;
    NOT_FOUND = 0xC000_0225u32;
    RETRY = 0xC000_022Du32;
    CONNECTION_ABORTED = 0xC000_0241u32;
    CONNECTION_INVALID = 0xC000_023Au32;
    PORT_DISCONNECTED = 0xC000_0037u32;
    TRANSACTION_ABORTED = 0xC000_020Fu32;
    TOO_MANY_SESSIONS = 0xC000_00CEu32;
    QUOTA_EXCEEDED = 0xC000_0044u32;
    DUPLICATE_OBJECTID = 0xC000_022Au32;
    ALREADY_REGISTERED = 0xC000_0718u32;
    REGISTRY_CORRUPT = 0xC000_014Cu32;
    INVALID_BUFFER_SIZE = 0xC000_0206u32;
    DEVICE_REMOVED = 0xC000_02B6u32;
    DRIVER_UNABLE_TO_LOAD = 0xC000_026Cu32;
    FAILED_DRIVER_ENTRY = 0xC000_0365u32;
    TOO_LATE = 0xC000_0189u32;
    NO_SUCH_MEMBER = 0xC000_017Au32;
    SHARING_VIOLATION = 0xC000_0043u32;
    OBJECT_NO_LONGER_EXISTS = 0xC000_0021u32;
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#010X}", self.raw().cast_unsigned()),
        }
    }
}

impl core::error::Error for Status {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn a_success_code_never_becomes_a_status() {
        assert_eq!(Status::new(STATUS_SUCCESS), Status::UNSUCCESSFUL);
        assert_eq!(Status::new(STATUS_PENDING), Status::UNSUCCESSFUL);
        assert_eq!(Status::check(STATUS_TIMEOUT), Ok(()));
        assert_eq!(
            Status::check(0xC000_0034_u32.cast_signed()),
            Err(Status::OBJECT_NAME_NOT_FOUND)
        );
    }

    #[test]
    fn a_result_without_value_is_as_small_as_a_status() {
        assert_eq!(size_of::<Result>(), 4);
    }

    #[test]
    fn an_unknown_code_prints_in_hexadecimal() {
        assert_eq!(format!("{}", Status::NOT_FOUND), "STATUS_NOT_FOUND");
        assert_eq!(
            format!("{}", Status::new(0xC012_3456_u32.cast_signed())),
            "0xC0123456"
        );
    }
}
