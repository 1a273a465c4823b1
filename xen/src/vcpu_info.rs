// SPDX-License-Identifier: BSD-2-Clause
//! Event state of vCPUs in pages of our own.
//!
//! Xen's shared page holds the state of 32 vCPUs; those beyond have no events until theirs is put
//! elsewhere. Xen writes there for the rest of the domain's life and cannot be told to stop. So the pages
//! are never freed, and their frame numbers are kept in a key that lasts as long as the boot: a driver
//! that is loaded again finds the pages, and in them which processors are registered.
//!
//! ```text
//! page 0, 1: 128 x 64 bytes of event state, by Windows' index      page 2: 128 x 1 byte, registered
//! ```
//!
//! # IRQL
//! Opening and dropping: PASSIVE_LEVEL. The rest: any.

use core::fmt;
use core::sync::atomic::{AtomicU8, Ordering};

use kexec::nt::{Cache, IoMapping, Key, PAGE_SIZE, Pages, Tag, WStr};
use kexec::{Result, Status, wstr};

use crate::hypercall::Hypercall;
use crate::vcpu_op;

const TAG: Tag = Tag(*b"SYST");

/// Processors that can be registered, as many as a guest can have vCPUs.
pub const PROCESSORS: u32 = 128;
/// vCPUs in Xen's shared page.
pub const SHARED: u32 = 32;
/// Bytes of one state.
const SIZE: usize = 64;
/// States in a page; none crosses a page's end.
const IN_PAGE: usize = PAGE_SIZE / SIZE;
/// Pages: states, then flags.
const PAGES: usize = 3;
const FLAGS: usize = 2;

const _: () = assert!(PROCESSORS as usize == IN_PAGE * FLAGS);

/// Shall processors be registered? `policy` is the registry's `RegisterVcpuInfo`: always, never, or what
/// the number of processors asks for.
pub fn wanted(policy: Option<u32>, processors: u32) -> bool {
    policy.map_or(processors > SHARED, |policy| policy != 0)
}

/// The pages, mapped.
pub struct VcpuInfos {
    pages: [IoMapping; PAGES],
    frames: [u64; PAGES],
}

impl VcpuInfos {
    /// Finds the pages of this boot in `memory`, the volatile key, or makes them and enters them there.
    pub fn open(memory: &Key) -> Result<Self> {
        let frames = match recorded(memory) {
            Some(frames) => frames,
            None => make(memory)?,
        };
        let map = |frame: u64| IoMapping::map(frame * PAGE_SIZE as u64, PAGE_SIZE, Cache::Cached);
        Ok(Self {
            pages: [map(frames[0])?, map(frames[1])?, map(frames[2])?],
            frames,
        })
    }

    /// Puts this processor's event state into its place, unless it is there, or in any case with `force`:
    /// after a migration the pages say so, but the new domain knows nothing.
    ///
    /// To be called on processor `cpu`, which is Xen's `vcpu`.
    pub fn register(&self, xen: &impl Hypercall, cpu: u32, vcpu: u32, force: bool) -> Result {
        let (page, offset, flag) = self.place(cpu)?;
        if flag.load(Ordering::Acquire) != 0 && !force {
            return Ok(());
        }
        let result = vcpu_op::register_vcpu_info(xen, vcpu, self.frames[page], offset as u32);
        flag.store(u8::from(result.is_ok()), Ordering::Release);
        result
    }

    /// The event state of a processor; `STATUS_NOT_SUPPORTED` unless it is registered.
    pub fn state(&self, cpu: u32) -> Result<*mut u8> {
        let (page, offset, flag) = self.place(cpu)?;
        if flag.load(Ordering::Acquire) == 0 {
            return Err(Status::NOT_SUPPORTED);
        }
        Ok(self.pages[page].shared().as_ptr().wrapping_add(offset))
    }

    /// Page, offset and flag of a processor; `STATUS_UNSUCCESSFUL` for one without a place.
    fn place(&self, cpu: u32) -> Result<(usize, usize, &AtomicU8)> {
        let index = cpu as usize;
        if cpu >= PROCESSORS {
            return Err(Status::UNSUCCESSFUL);
        }
        let flag = &self.pages[FLAGS].shared().atomics_u8()[index];
        Ok((index / IN_PAGE, index % IN_PAGE * SIZE, flag))
    }
}

impl fmt::Debug for VcpuInfos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VcpuInfos({:#x?})", self.frames)
    }
}

fn names() -> [WStr<'static>; PAGES] {
    [
        wstr!("VCPU_INFO_0"),
        wstr!("VCPU_INFO_1"),
        wstr!("VCPU_INFO_2"),
    ]
}

/// The frame numbers that an earlier load of the driver has left.
fn recorded(memory: &Key) -> Option<[u64; PAGES]> {
    let mut frames = [0; PAGES];
    for (frame, name) in frames.iter_mut().zip(names()) {
        let bytes = memory.query_binary(TAG, name).ok()?;
        *frame = u64::from_le_bytes(bytes[..].try_into().ok()?);
    }
    Some(frames)
}

/// Makes zeroed pages, enters them, and gives them away for good. Nothing stays on a failure.
fn make(memory: &Key) -> Result<[u64; PAGES]> {
    let pages = Pages::try_alloc(PAGES)?;
    let mut frames = [0; PAGES];
    frames.copy_from_slice(pages.frames());
    for (frame, name) in frames.iter().zip(names()) {
        if let Err(status) = memory.set_binary(name, &frame.to_le_bytes()) {
            for name in names() {
                let _ = memory.delete_value(name);
            }
            return Err(status);
        }
    }
    pages.abandon();
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypercall::fake::Fake;
    use kexec::Passive;
    use kexec::nt::sys::fake::{self, Session, Value};

    const KEY: &str = "\\Registry\\Machine\\SYSTEM\\CurrentControlSet\\Services\\xen\\Memory";

    fn key(kernel: &Session) -> Key {
        kernel.set_registry(KEY, "x", &Value::Dword(0));
        Key::open_rw(Passive::assert(), wstr!(KEY)).expect("there")
    }

    /// The recorded frame numbers, in bytes.
    fn frames(kernel: &Session) -> std::vec::Vec<Value> {
        ["VCPU_INFO_0", "VCPU_INFO_1", "VCPU_INFO_2"]
            .iter()
            .filter_map(|name| kernel.registry(KEY, name))
            .collect()
    }

    extern crate std;

    #[test]
    fn only_more_than_32_processors_or_the_registry_ask_for_registration() {
        assert!(!wanted(None, 32));
        assert!(wanted(None, 33));
        assert!(wanted(Some(1), 1));
        assert!(!wanted(Some(0), 128));
    }

    #[test]
    fn a_processor_is_registered_once_in_its_own_place() {
        let kernel = fake::boot();
        let infos = VcpuInfos::open(&key(&kernel)).expect("pages");
        assert_eq!(infos.state(65), Err(Status::NOT_SUPPORTED));
        let xen = Fake::third(16, 0);
        assert_eq!(infos.register(&xen, 65, 130, false), Ok(()));
        let call = xen.only();
        assert_eq!((call.first, call.second), (10, 130));
        assert_eq!(call.argument[..8], infos.frames[1].to_le_bytes());
        assert_eq!(call.argument[8..12], 64_u32.to_le_bytes());
        assert!(infos.state(65).is_ok());
        assert_eq!(infos.register(&xen, 65, 130, false), Ok(()));
        assert_eq!(xen.count(), 1, "it is registered");
        assert_eq!(infos.register(&xen, 65, 130, true), Ok(()));
        assert_eq!(xen.count(), 2, "the domain is another one");
    }

    #[test]
    fn no_place_crosses_a_page_or_reaches_the_flags() {
        let kernel = fake::boot();
        let infos = VcpuInfos::open(&key(&kernel)).expect("pages");
        for cpu in 0..PROCESSORS {
            let (page, offset, _) = infos.place(cpu).expect("in range");
            assert!(page < FLAGS && offset + SIZE <= PAGE_SIZE, "{cpu}");
        }
        let xen = Fake::third(16, 0);
        for cpu in [PROCESSORS, u32::MAX] {
            let result = infos.register(&xen, cpu, 0, true);
            assert_eq!(result, Err(Status::UNSUCCESSFUL));
            assert_eq!(infos.state(cpu), Err(Status::UNSUCCESSFUL));
        }
        assert_eq!(xen.count(), 0);
    }

    #[test]
    fn a_refused_processor_is_not_registered_any_more() {
        let kernel = fake::boot();
        let infos = VcpuInfos::open(&key(&kernel)).expect("pages");
        assert!(infos.register(&Fake::third(16, 0), 2, 2, false).is_ok());
        let refused = infos.register(&Fake::third(16, -22), 2, 2, true);
        assert_eq!(refused, Err(Status::INVALID_PARAMETER));
        assert_eq!(infos.state(2), Err(Status::NOT_SUPPORTED));
    }

    #[test]
    fn the_pages_outlive_the_driver_and_are_found_again() {
        let kernel = fake::boot();
        let key = key(&kernel);
        let first = VcpuInfos::open(&key).expect("pages");
        let xen = Fake::third(16, 0);
        assert_eq!(first.register(&xen, 5, 5, false), Ok(()));
        let frames = first.frames;
        drop(first);
        let second = VcpuInfos::open(&key).expect("the same pages");
        assert_eq!(second.frames, frames);
        assert!(second.state(5).is_ok(), "the flag is in the pages");
        assert_eq!(second.register(&xen, 5, 5, false), Ok(()));
        assert_eq!(xen.count(), 1);
    }

    #[test]
    fn half_a_record_is_replaced_by_a_whole_one() {
        let kernel = fake::boot();
        let key = key(&kernel);
        kernel.set_registry(KEY, "VCPU_INFO_0", &Value::Dword(5));
        let infos = VcpuInfos::open(&key).expect("pages");
        assert_eq!(frames(&kernel).len(), PAGES);
        assert_eq!(recorded(&key), Some(infos.frames));
    }

    #[test]
    fn every_failing_allocation_leaves_no_page_that_nobody_knows() {
        for n in 0.. {
            let kernel = fake::boot();
            let key = key(&kernel);
            kernel.fail_alloc(Some(n));
            let opened = VcpuInfos::open(&key).is_ok();
            let recorded = frames(&kernel).len();
            assert!(recorded == 0 || recorded == PAGES, "{recorded} at {n}");
            if kernel.fail_pending() {
                assert!(opened && n > 0, "only {n} allocations");
                break;
            }
        }
    }
}
