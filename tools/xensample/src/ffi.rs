// SPDX-License-Identifier: BSD-2-Clause
//! The edge of the image: entry point, time stamps, and the life of the child's one executor.
#![expect(unsafe_code, reason = "DriverEntry, and a look-up of a kernel export")]

use core::sync::atomic::{AtomicUsize, Ordering};

use kexec::nt::sys::UNICODE_STRING;
use kexec::nt::wdm::DevicePtr;
use kexec::nt::{Arc, Tag};
use kexec::{DpcExecutor, JoinHandle, Passive, Result, info, task};
use xenbus_interface::client::{Evtchn, SharedInfo, Store, Suspend};
use xenbus_interface::xen;

use crate::measure::Probe;
use crate::published;
use crate::sample::Services;

const TAG: Tag = Tag(*b"XSam");

/// What exists between START_DEVICE and REMOVE_DEVICE.
struct Running {
    executor: Arc<DpcExecutor>,
    services: Arc<Services>,
    task: JoinHandle<()>,
}

xenchild::entry!(Running);

fn clock() -> u64 {
    // SAFETY: every x64 processor has the counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// What the test kernel offers to drivers that measure themselves; `None` on Windows.
fn busy() -> Option<fn() -> u64> {
    type Raw = extern "C" fn() -> u64;
    static FOUND: AtomicUsize = AtomicUsize::new(0);
    fn call() -> u64 {
        // SAFETY: only handed out once the address of that function was stored.
        let busy = unsafe { core::mem::transmute::<usize, Raw>(FOUND.load(Ordering::Acquire)) };
        busy()
    }
    let name = kexec::wstr!("TestKernelBusyTicks");
    let bytes = (name.units().len() * 2) as u16;
    let mut string = UNICODE_STRING {
        Length: bytes,
        MaximumLength: bytes,
        Buffer: name.units().as_ptr().cast_mut(),
    };
    // SAFETY: a valid string; PASSIVE_LEVEL, because a device is being started.
    let found = unsafe { kexec::nt::sys::MmGetSystemRoutineAddress(&mut string) };
    FOUND.store(found as usize, Ordering::Release);
    (!found.is_null()).then_some(call as fn() -> u64)
}

fn hypercalls() -> (u64, u64) {
    let counters = xen::counters();
    (counters.total(), counters.sends())
}

impl xenchild::Child for Running {
    const NAME: &str = "xensample";

    fn start(lower: DevicePtr, passive: Passive) -> Result<Self> {
        let probe = Probe {
            clock,
            busy: busy(),
            hypercalls,
        };
        match published::exercise(TAG, lower, passive) {
            Ok(()) => info!("RESULT op.published-store status=ok"),
            Err(status) => info!("RESULT op.published-store status={status}"),
        }
        let store = Store::open(TAG, lower, passive)?;
        let evtchn = Evtchn::open(TAG, lower, passive)?;
        let suspend = Suspend::open(TAG, lower, passive)?;
        let clock = SharedInfo::open(lower, passive)?;
        let services = Arc::try_new(
            TAG,
            Services {
                store,
                evtchn,
                suspend,
                clock,
                probe,
            },
        )?;
        let executor = DpcExecutor::try_new(TAG, None)?;
        let shared = services.clone();
        match executor.spawn(task!("sample"), async move { shared.run().await }) {
            Ok(task) => Ok(Self {
                executor,
                services,
                task,
            }),
            Err(error) => {
                executor.stop(passive);
                Err(error.into())
            }
        }
    }

    fn stop(self, passive: Passive) {
        // Dropping the handle aborts the task; the stop waits until it is gone.
        drop(self.task);
        self.executor.stop(passive);
        // The last reference: gives the interfaces back, at PASSIVE_LEVEL.
        drop(self.services);
    }
}
