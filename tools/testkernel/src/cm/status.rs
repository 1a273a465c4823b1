// SPDX-License-Identifier: BSD-2-Clause
//! The status codes of registry calls.

/// Done.
pub(crate) const SUCCESS: i32 = 0;
/// The fixed part fits, the variable part does not.
pub(crate) const BUFFER_OVERFLOW: i32 = 0x8000_0005_u32 as i32;
/// The index is past the last entry.
pub(crate) const NO_MORE_ENTRIES: i32 = 0x8000_001A_u32 as i32;
/// The information class is unknown.
pub(crate) const INVALID_INFO_CLASS: i32 = 0xC000_0003_u32 as i32;
/// A parameter makes no sense.
pub(crate) const INVALID_PARAMETER: i32 = 0xC000_000D_u32 as i32;
/// The caller may not do this.
pub(crate) const ACCESS_DENIED: i32 = 0xC000_0022_u32 as i32;
/// Not even the fixed part fits.
pub(crate) const BUFFER_TOO_SMALL: i32 = 0xC000_0023_u32 as i32;
/// No key or value of that name.
pub(crate) const OBJECT_NAME_NOT_FOUND: i32 = 0xC000_0034_u32 as i32;
/// The path is not absolute, or absolute below a root.
pub(crate) const OBJECT_PATH_SYNTAX_BAD: i32 = 0xC000_003B_u32 as i32;
/// The key has subkeys.
pub(crate) const CANNOT_DELETE: i32 = 0xC000_0121_u32 as i32;
/// The key was deleted while the handle was open.
pub(crate) const KEY_DELETED: i32 = 0xC000_017C_u32 as i32;
/// A stable key below a volatile one.
pub(crate) const CHILD_MUST_BE_VOLATILE: i32 = 0xC000_0181_u32 as i32;
