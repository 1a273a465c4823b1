// SPDX-License-Identifier: BSD-2-Clause
//! Error numbers of the hypervisor and of xenstored as statuses.
//!
//! One table serves negative hypercall results (xen.sys) and xenstored's error names (xenbus.sys).

use kexec::{Result, Status};

/// Statuses that this crate needs beside those that kexec names.
pub mod status {
    use kexec::Status;

    /// A status from its 32-bit code.
    const fn code(value: u32) -> Status {
        Status::new(value.cast_signed())
    }

    /// `STATUS_FILE_IS_A_DIRECTORY`.
    pub const FILE_IS_A_DIRECTORY: Status = code(0xC000_00BA);
    /// `STATUS_INCOMPATIBLE_DRIVER_BLOCKED`.
    pub const INCOMPATIBLE_DRIVER_BLOCKED: Status = code(0xC000_0424);
    /// `STATUS_MEDIA_WRITE_PROTECTED`.
    pub const MEDIA_WRITE_PROTECTED: Status = code(0xC000_00A2);
    /// `STATUS_OBJECTID_EXISTS`.
    pub const OBJECTID_EXISTS: Status = code(0xC000_022B);
    /// `STATUS_PIPE_BUSY`.
    pub const PIPE_BUSY: Status = code(0xC000_00AE);
    /// `STATUS_PIPE_CONNECTED`.
    pub const PIPE_CONNECTED: Status = code(0xC000_00B2);
    /// `STATUS_UNEXPECTED_IO_ERROR`.
    pub const UNEXPECTED_IO_ERROR: Status = code(0xC000_00E9);
    /// `STATUS_CONNECTION_DISCONNECTED`.
    pub const CONNECTION_DISCONNECTED: Status = code(0xC000_020C);
}

/// Number, name and status of every error that either peer uses.
const TABLE: &[(u16, &str, Status)] = &[
    (1, "EPERM", Status::ACCESS_DENIED),
    (2, "ENOENT", Status::OBJECT_NAME_NOT_FOUND),
    (5, "EIO", status::UNEXPECTED_IO_ERROR),
    (11, "EAGAIN", Status::RETRY),
    (12, "ENOMEM", Status::NO_MEMORY),
    (13, "EACCES", Status::ACCESS_DENIED),
    (16, "EBUSY", status::PIPE_BUSY),
    (17, "EEXIST", status::OBJECTID_EXISTS),
    (21, "EISDIR", status::FILE_IS_A_DIRECTORY),
    (22, "EINVAL", Status::INVALID_PARAMETER),
    (28, "ENOSPC", Status::INSUFFICIENT_RESOURCES),
    (30, "EROFS", status::MEDIA_WRITE_PROTECTED),
    (38, "ENOSYS", Status::NOT_IMPLEMENTED),
    (39, "ENOTEMPTY", Status::DIRECTORY_NOT_EMPTY),
    (106, "EISCONN", status::PIPE_CONNECTED),
];

/// The status for an error number; one without an entry is `STATUS_UNSUCCESSFUL`.
///
/// # IRQL
/// Any.
#[must_use]
pub fn from_number(errno: u64) -> Status {
    TABLE
        .iter()
        .find(|(number, ..)| u64::from(*number) == errno)
        .map_or(Status::UNSUCCESSFUL, |(_, _, status)| *status)
}

/// The status for an error name of xenstored, without its NUL.
///
/// `EQUOTA` is oxenstored's own and `E2BIG` says that a quota or a size was exceeded; both are
/// `STATUS_QUOTA_EXCEEDED`.
///
/// # IRQL
/// Any.
#[must_use]
pub fn from_name(name: &[u8]) -> Status {
    match name {
        b"EQUOTA" | b"E2BIG" => Status::QUOTA_EXCEEDED,
        _ => TABLE
            .iter()
            .find(|(_, known, _)| known.as_bytes() == name)
            .map_or(Status::UNSUCCESSFUL, |(.., status)| *status),
    }
}

/// A hypercall's result: a count or value, or the status of a negative error number.
///
/// # IRQL
/// Any.
pub fn check(result: i64) -> Result<u64> {
    u64::try_from(result).map_err(|_| from_number(result.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_published_error_number_has_its_published_status() {
        let published: &[(i64, u32)] = &[
            (-1, 0xC000_0022),
            (-2, 0xC000_0034),
            (-5, 0xC000_00E9),
            (-11, 0xC000_022D),
            (-12, 0xC000_0017),
            (-13, 0xC000_0022),
            (-16, 0xC000_00AE),
            (-17, 0xC000_022B),
            (-21, 0xC000_00BA),
            (-22, 0xC000_000D),
            (-28, 0xC000_009A),
            (-30, 0xC000_00A2),
            (-38, 0xC000_0002),
            (-39, 0xC000_0101),
            (-106, 0xC000_00B2),
            (-14, 0xC000_0001),
            (-95, 0xC000_0001),
            (i64::MIN, 0xC000_0001),
        ];
        for (result, code) in published {
            let status = check(*result).expect_err("negative");
            assert_eq!(status.raw().cast_unsigned(), *code, "{result}");
        }
    }

    #[test]
    fn a_result_that_is_not_negative_is_a_value() {
        assert_eq!(check(0), Ok(0));
        assert_eq!(check(i64::MAX), Ok(i64::MAX.cast_unsigned()));
    }

    #[test]
    fn a_truncated_name_matches_nothing() {
        assert_eq!(from_name(b"ENOENT"), Status::OBJECT_NAME_NOT_FOUND);
        assert_eq!(from_name(b"EN"), Status::UNSUCCESSFUL);
        assert_eq!(from_name(b""), Status::UNSUCCESSFUL);
        assert_eq!(from_name(b"EQUOTA"), Status::QUOTA_EXCEEDED);
    }
}
