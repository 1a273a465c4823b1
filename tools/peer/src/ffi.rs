// SPDX-License-Identifier: BSD-2-Clause
//! UNSAFETY: the requests of `/dev/xen/evtchn` and `/dev/xen/gntdev`, and a mapping of granted pages.
//!
//! Owns no state but [`GrantMapping`], which unmaps itself. Numbers and layouts are the kernel's
//! (`include/uapi/xen/evtchn.h`, `gntdev.h`); they are encoded by hand because rustix knows none of them.

use std::ffi::c_void;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::io;
use rustix::ioctl::{Direction, Ioctl, IoctlOutput, Opcode, ioctl, opcode};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A request that hands the kernel a `T`, which it may change, and returns a number.
struct Request<T> {
    opcode: Opcode,
    argument: T,
}

// SAFETY: The argument is a repr(C) value of exactly the size that the opcode names (`request` computes
// it from `T`); the kernel reads and writes nothing beyond it.
unsafe impl<T> Ioctl for Request<T> {
    type Output = (i32, T);
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut self.argument).cast()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, argument: *mut c_void) -> io::Result<(i32, T)> {
        // SAFETY: rustix passes back the pointer from `as_ptr`, which is to a `T` nobody reads again.
        let argument = unsafe { argument.cast::<T>().read() };
        Ok((out, argument))
    }
}

/// Fields that both files' requests need; plain integers in the kernel's order.
pub(crate) trait Plain: Copy {}
impl Plain for [u32; 1] {}
impl Plain for [u32; 2] {}
impl Plain for [u32; 4] {}
impl Plain for [u32; 6] {}

/// Which device file a request is for.
#[derive(Clone, Copy)]
pub(crate) enum Group {
    /// `/dev/xen/evtchn`
    Evtchn = b'E' as isize,
    /// `/dev/xen/gntdev`
    Gntdev = b'G' as isize,
}

/// Makes request `number` of `group` with `argument`; returns the kernel's number and the argument as it left it.
pub(crate) fn request<T: Plain>(
    fd: impl AsFd,
    group: Group,
    number: u8,
    argument: T,
) -> io::Result<(i32, T)> {
    let request = Request {
        opcode: opcode::from_components(Direction::None, group as u8, number, size_of::<T>()),
        argument,
    };
    // SAFETY: `Plain` types are integer arrays of the size in the opcode; every number used in this program is
    // one whose argument is plain data without pointers, so no other memory is touched.
    unsafe { ioctl(fd, request) }
}

/// Pages mapped from a device file.
#[derive(Debug)]
pub(crate) struct GrantMapping {
    at: NonNull<AtomicU8>,
    len: usize,
}

impl GrantMapping {
    /// Maps `len` bytes of `fd` at `offset`, readable, and writable if asked.
    pub(crate) fn new(fd: impl AsFd, offset: u64, len: usize, write: bool) -> io::Result<Self> {
        let prot = if write {
            ProtFlags::READ | ProtFlags::WRITE
        } else {
            ProtFlags::READ
        };
        // SAFETY: The kernel chooses the address, so no mapping of ours is replaced.
        let at = unsafe {
            mmap(
                std::ptr::null_mut(),
                len,
                prot,
                MapFlags::SHARED,
                fd,
                offset,
            )
        }?;
        let at = NonNull::new(at.cast()).ok_or(io::Errno::NOMEM)?;
        Ok(Self { at, len })
    }

    /// The bytes, shared with the guest that granted them.
    pub(crate) fn bytes(&self) -> &[AtomicU8] {
        // SAFETY: The mapping is `len` bytes long and lives as long as `self`; the guest writes to it at any time,
        // which atomics allow.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }

    /// A copy of the bytes now.
    pub(crate) fn read(&self) -> Vec<u8> {
        self.bytes()
            .iter()
            .map(|b| b.load(Ordering::Acquire))
            .collect()
    }
}

impl Drop for GrantMapping {
    fn drop(&mut self) {
        // SAFETY: `new` mapped exactly this range, and `bytes` borrows from `self`, so no reference is left.
        let _ = unsafe { munmap(self.at.as_ptr().cast(), self.len) };
    }
}
