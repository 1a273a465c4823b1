// SPDX-License-Identifier: BSD-2-Clause
//! UNSAFETY: the requests of `/dev/xen/evtchn`, `gntdev` and `privcmd`, and mappings of a guest's pages.
//!
//! Owns no state but [`Mapping`], which unmaps itself. Numbers and layouts are the kernel's
//! (`include/uapi/xen/evtchn.h`, `gntdev.h`, `gntalloc.h`, `privcmd.h`); they are encoded by hand because rustix knows none of them.

use std::ffi::c_void;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use rustix::io;
use rustix::ioctl::{Direction, Ioctl, IoctlOutput, Opcode, ioctl, opcode};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Size of a page.
pub(crate) const PAGE: usize = 4096;

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

/// The requests that this program makes with plain arguments: the device's letter and the request's number.
#[derive(Clone, Copy)]
pub(crate) enum Call {
    /// Domain and port: binds, returns the local port.
    EvtchnBind,
    /// Domain: allocates a port that it may bind to, and returns it.
    EvtchnOffer,
    /// Port: closes it.
    EvtchnUnbind,
    /// Port: sends an event.
    EvtchnNotify,
    /// Count, padding, index (out), domain and reference: makes a granted page mappable.
    GrantMap,
    /// Index, count, padding: forgets it.
    GrantUnmap,
    /// Domain and flags, count, index (out), reference (out), padding: grants a page of this process.
    GrantAlloc,
    /// Index, count, padding: ends that.
    GrantDealloc,
}

impl Call {
    fn code(self) -> (u8, u8) {
        match self {
            Self::EvtchnBind => (b'E', 1),
            Self::EvtchnOffer => (b'E', 2),
            Self::EvtchnUnbind => (b'E', 3),
            Self::EvtchnNotify => (b'E', 4),
            Self::GrantMap => (b'G', 0),
            Self::GrantUnmap => (b'G', 1),
            Self::GrantAlloc => (b'G', 5),
            Self::GrantDealloc => (b'G', 6),
        }
    }
}

/// Makes request `call` with `argument`; returns the kernel's number and the argument as it left it.
pub(crate) fn request<T: Plain>(fd: impl AsFd, call: Call, argument: T) -> io::Result<(i32, T)> {
    let (group, number) = call.code();
    let opcode = opcode::from_components(Direction::None, group, number, size_of::<T>());
    let request = Request { opcode, argument };
    // SAFETY: `Plain` types are integer arrays of the size in the opcode, and all of `Call` takes plain data without
    // pointers, so no other memory is touched.
    unsafe { ioctl(fd, request) }
}

/// The argument of `IOCTL_PRIVCMD_MMAPBATCH_V2`.
#[repr(C)]
struct MapBatch {
    count: u32,
    domain: u16,
    address: u64,
    frames: *const u64,
    errors: *mut i32,
}

const _: () = assert!(size_of::<MapBatch>() == 32);

/// Maps frames of domain `domain` through `/dev/xen/privcmd`, for reading. Also tells which of them exist; the others'
/// addresses must not be touched, which [`Mapping::page`] is told by its caller.
pub(crate) fn map_frames(
    fd: impl AsFd,
    domain: u16,
    frames: &[u64],
) -> io::Result<(Mapping, Vec<bool>)> {
    let mapping = Mapping::new(fd.as_fd(), 0, frames.len() * PAGE, false)?;
    let mut errors = vec![0; frames.len()];
    let argument = MapBatch {
        count: u32::try_from(frames.len()).map_err(|_| io::Errno::INVAL)?,
        domain,
        address: mapping.at.as_ptr().addr() as u64,
        frames: frames.as_ptr(),
        errors: errors.as_mut_ptr(),
    };
    let opcode = opcode::from_components(Direction::None, b'P', 4, size_of::<MapBatch>());
    let request = Request { opcode, argument };
    // SAFETY: The kernel reads `count` frames, writes `count` errors, both of that length, and fills the range that
    // `mapping` owns with pages, for which privcmd's own mapping is made.
    let done = unsafe { ioctl(fd, request) };
    match done {
        // Some frames do not exist, or are not in memory.
        Ok(_) | Err(io::Errno::NOENT) => Ok((mapping, errors.iter().map(|e| *e == 0).collect())),
        Err(e) => Err(e),
    }
}

/// Arguments of a domctl, with room for the largest of its structures.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Domctl {
    pub(crate) command: u32,
    pub(crate) version: u32,
    pub(crate) domain: u16,
    pub(crate) pad: [u16; 3],
    pub(crate) words: [u64; 16],
}

const _: () = assert!(size_of::<Domctl>() == 144);

/// Bytes of a `vcpu_guest_context`.
const CONTEXT: usize = 5168;

/// The registers of a vCPU, as Xen hands them out.
pub(crate) type Context = [u64; CONTEXT / 8];

/// Makes a domctl through `/dev/xen/privcmd`. With `context`, that of vCPU 0 goes along: its address is put where
/// the two commands that take one want it.
pub(crate) fn domctl(
    fd: impl AsFd,
    domctl: &mut Domctl,
    context: Option<&mut Context>,
) -> io::Result<()> {
    /// `__HYPERVISOR_domctl`.
    const DOMCTL: u64 = 36;
    if let Some(context) = context {
        domctl.words[0] = 0;
        domctl.words[1] = std::ptr::from_mut(context).addr() as u64;
    }
    let opcode = opcode::from_components(Direction::None, b'P', 0, size_of::<[u64; 6]>());
    let address = std::ptr::from_mut(domctl).addr() as u64;
    let argument = [DOMCTL, address, 0, 0, 0, 0];
    let request = Request { opcode, argument };
    // SAFETY: Xen reads and writes the structure, which lives through the call, and with it at most a context of the size
    // that it knows; other commands than those that callers in this program make have no pointers.
    unsafe { ioctl(fd, request) }.map(|_| ())
}

/// Pages mapped from a device file.
#[derive(Debug)]
pub(crate) struct Mapping {
    at: NonNull<AtomicU8>,
    len: usize,
}

impl Mapping {
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

    /// The bytes, shared with the guest that they belong to.
    pub(crate) fn bytes(&self) -> &[AtomicU8] {
        // SAFETY: The mapping is `len` bytes long and lives as long as `self`; the guest writes to it at any time,
        // which atomics allow.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }

    /// The same as 32-bit words.
    pub(crate) fn words(&self) -> &[AtomicU32] {
        let at = self.at.as_ptr().cast::<AtomicU32>();
        // SAFETY: As in `bytes`; a mapping begins at a page, so words are aligned.
        unsafe { std::slice::from_raw_parts(at, self.len / 4) }
    }

    /// A copy of page `index`, which must exist: see [`map_frames`]. Else the process gets a bus error.
    pub(crate) fn page(&self, index: usize) -> Option<Vec<u8>> {
        let start = index.checked_mul(PAGE)?;
        let page = self.bytes().get(start..start.checked_add(PAGE)?)?;
        let at = page.as_ptr().cast::<AtomicU64>();
        // SAFETY: A page of the mapping is aligned and 512 words long, and `page` keeps it borrowed; atomics allow that
        // the guest writes.
        let words = unsafe { std::slice::from_raw_parts(at, PAGE / 8) };
        Some(
            words
                .iter()
                .flat_map(|w| w.load(Ordering::Relaxed).to_ne_bytes())
                .collect(),
        )
    }

    /// A copy of the bytes now.
    pub(crate) fn read(&self) -> Vec<u8> {
        self.bytes()
            .iter()
            .map(|b| b.load(Ordering::Acquire))
            .collect()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `new` mapped exactly this range, and `bytes` borrows from `self`, so no reference is left.
        let _ = unsafe { munmap(self.at.as_ptr().cast(), self.len) };
    }
}
