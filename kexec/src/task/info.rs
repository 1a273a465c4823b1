// SPDX-License-Identifier: BSD-2-Clause
//! [`TaskInfo`]: what is known about a spawn site at compile time, kept in read-only data.
//!
//! The build finds the largest future by scanning the image for [`MAGIC`]; a memory image leads from a task's header to its
//! name through it.
#![expect(unsafe_code, reason = "a C layout with pointers to static text")]

use core::marker::PhantomData;
use core::mem::offset_of;

/// First eight bytes of every [`TaskInfo`].
pub const MAGIC: [u8; 8] = *b"KXTASK01";

/// One spawn site with one future type: 56 bytes, offsets asserted below.
///
/// # IRQL
/// Any.
#[derive(Debug)]
#[repr(C)]
pub struct TaskInfo {
    magic: [u8; 8],
    /// Size of the future.
    pub size: u32,
    /// Alignment of the future.
    pub align: u32,
    name: *const u8,
    name_len: u64,
    file: *const u8,
    file_len: u64,
    /// Line of the `task!`.
    pub line: u32,
    /// Column of the `task!`.
    pub column: u32,
}

const _: () = assert!(size_of::<TaskInfo>() == 56);
const _: () = assert!(offset_of!(TaskInfo, size) == 8);
const _: () = assert!(offset_of!(TaskInfo, name) == 16);
const _: () = assert!(offset_of!(TaskInfo, file) == 32);
const _: () = assert!(offset_of!(TaskInfo, line) == 48);

// SAFETY: immutable; the pointers lead to static text.
unsafe impl Sync for TaskInfo {}
// SAFETY: as above.
unsafe impl Send for TaskInfo {}

impl TaskInfo {
    /// The task's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        // SAFETY: made from a `&'static str` in `InfoOf`.
        let bytes = unsafe { core::slice::from_raw_parts(self.name, self.name_len as usize) };
        core::str::from_utf8(bytes).unwrap_or_default()
    }

    /// The source file of the `task!`.
    #[must_use]
    pub fn file(&self) -> &'static str {
        // SAFETY: made from a `&'static str` in `InfoOf`.
        let bytes = unsafe { core::slice::from_raw_parts(self.file, self.file_len as usize) };
        core::str::from_utf8(bytes).unwrap_or_default()
    }
}

/// A spawn site; made by [`task!`](crate::task!).
///
/// # IRQL
/// Any.
pub trait Site {
    /// Name of the tasks spawned here.
    const NAME: &'static str;
    /// Source file.
    const FILE: &'static str;
    /// Line.
    const LINE: u32;
    /// Column.
    const COLUMN: u32;
}

pub(crate) struct InfoOf<S, F>(PhantomData<(S, F)>);

impl<S: Site, F> InfoOf<S, F> {
    pub(crate) const INFO: TaskInfo = TaskInfo {
        magic: MAGIC,
        size: size_of::<F>() as u32,
        align: align_of::<F>() as u32,
        name: S::NAME.as_ptr(),
        name_len: S::NAME.len() as u64,
        file: S::FILE.as_ptr(),
        file_len: S::FILE.len() as u64,
        line: S::LINE,
        column: S::COLUMN,
    };
}

/// Names a spawn site: `executor.spawn(task!("store"), future)`.
///
/// # IRQL
/// Any.
#[macro_export]
macro_rules! task {
    ($name:literal) => {{
        struct Here;
        impl $crate::task::Site for Here {
            const NAME: &'static str = $name;
            const FILE: &'static str = ::core::file!();
            const LINE: u32 = ::core::line!();
            const COLUMN: u32 = ::core::column!();
        }
        Here
    }};
}
