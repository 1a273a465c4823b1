// SPDX-License-Identifier: BSD-2-Clause
//! The edge of the image: a WDM function driver with one executor.
#![expect(unsafe_code, reason = "the C ABI: entry points and IRPs")]

use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use kexec::nt::sys::{DEVICE_OBJECT, DRIVER_OBJECT, IRP, UNICODE_STRING};
use kexec::nt::wdm::{Device, DevicePtr, Driver, Irp, mj, mn};
use kexec::nt::{Arc, SpinLock, Tag};
use kexec::{DpcExecutor, JoinHandle, Passive, Result, Status, error, info, task};
use xenbus_interface::client::{Evtchn, SharedInfo, Store, Suspend};
use xenbus_interface::xen;

use crate::measure::Probe;
use crate::published;
use crate::sample::Services;

const TAG: Tag = Tag(*b"XSam");
/// FILE_DEVICE_UNKNOWN.
const FILE_DEVICE_UNKNOWN: u32 = 0x22;

/// What exists between START_DEVICE and REMOVE_DEVICE.
struct Running {
    executor: Arc<DpcExecutor>,
    services: Arc<Services>,
    task: JoinHandle<()>,
}

/// The device extension.
struct Extension {
    lower: DevicePtr,
    running: SpinLock<Option<Running>>,
}

static DRIVER: AtomicPtr<DRIVER_OBJECT> = AtomicPtr::new(core::ptr::null_mut());

#[unsafe(no_mangle)]
unsafe extern "system" fn DriverEntry(
    driver: *mut DRIVER_OBJECT,
    _path: *const UNICODE_STRING,
) -> i32 {
    // SAFETY: the I/O manager's driver object.
    let Some(object) = (unsafe { Driver::from_raw(driver) }) else {
        return Status::INVALID_PARAMETER.raw();
    };
    DRIVER.store(driver, Ordering::Release);
    object.set_unload(unload);
    object.set_add_device(add_device);
    object.set_dispatch(dispatch);
    0
}

unsafe extern "C" fn unload(_driver: *mut DRIVER_OBJECT) {}

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

unsafe extern "C" fn add_device(_driver: *mut DRIVER_OBJECT, pdo: *mut DEVICE_OBJECT) -> i32 {
    let passive = Passive::assert();
    // SAFETY: the PnP manager keeps the PDO alive until our device has been removed.
    let pdo = unsafe { DevicePtr::from_raw(pdo) };
    // SAFETY: set by DriverEntry; devices exist only until unload.
    let driver = unsafe { Driver::from_raw(DRIVER.load(Ordering::Acquire)) };
    let (Some(pdo), Some(driver)) = (pdo, driver) else {
        return Status::INVALID_PARAMETER.raw();
    };
    let added = Device::try_new(
        driver,
        FILE_DEVICE_UNKNOWN,
        false,
        passive,
        |device: Device<Extension>| {
            Ok(Extension {
                lower: device.attach(pdo, passive)?,
                running: SpinLock::new(None),
            })
        },
    );
    match added {
        Ok(device) => {
            device.ready();
            0
        }
        Err(status) => status.raw(),
    }
}

impl Extension {
    fn start(&self, passive: Passive) -> Result {
        let probe = Probe {
            clock,
            busy: busy(),
            hypercalls,
        };
        match published::exercise(TAG, self.lower, passive) {
            Ok(()) => info!("RESULT op.published-store status=ok"),
            Err(status) => info!("RESULT op.published-store status={status}"),
        }
        let store = Store::open(TAG, self.lower, passive)?;
        let evtchn = Evtchn::open(TAG, self.lower, passive)?;
        let suspend = Suspend::open(TAG, self.lower, passive)?;
        let clock = SharedInfo::open(self.lower, passive)?;
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
            Ok(task) => {
                *self.running.lock() = Some(Running {
                    executor,
                    services,
                    task,
                });
                info!("xensample: started");
                Ok(())
            }
            Err(error) => {
                executor.stop(passive);
                Err(error.into())
            }
        }
    }

    fn stop(&self, passive: Passive) {
        let running = self.running.lock().take();
        if let Some(Running {
            executor,
            services,
            task,
        }) = running
        {
            // Dropping the handle aborts the task; the stop waits until it is gone.
            drop(task);
            executor.stop(passive);
            // The last reference: gives the interfaces back, at PASSIVE_LEVEL.
            drop(services);
            info!("xensample: stopped");
        }
    }
}

unsafe extern "C" fn dispatch(device: *mut DEVICE_OBJECT, irp: *mut IRP) -> i32 {
    // SAFETY: requests come only for devices of this driver, all of which have this extension.
    let device = unsafe { Device::<Extension>::from_raw(device) };
    // SAFETY: the I/O manager hands the request over.
    let irp = unsafe { Irp::from_raw(irp) };
    let (Some(device), Some(mut irp)) = (device, irp) else {
        return Status::INVALID_PARAMETER.raw();
    };
    let extension = device.state();
    match (irp.major(), irp.minor()) {
        (mj::PNP, mn::START_DEVICE) => {
            let passive = Passive::assert();
            let mut irp = irp.forward_and_wait(extension.lower, passive);
            if Status::check(irp.status()).is_ok() {
                if let Err(status) = extension.start(passive) {
                    error!("xensample: not started, {status}");
                    irp.set(status.raw(), 0);
                }
            }
            irp.complete()
        }
        (mj::PNP, mn::STOP_DEVICE) => {
            extension.stop(Passive::assert());
            irp.set(0, 0);
            irp.skip_to(extension.lower)
        }
        (mj::PNP, mn::REMOVE_DEVICE) => {
            let passive = Passive::assert();
            extension.stop(passive);
            irp.set(0, 0);
            let status = irp.skip_to(extension.lower);
            device.detach(extension.lower, passive);
            device.delete(passive);
            status
        }
        (
            mj::PNP,
            mn::QUERY_STOP_DEVICE
            | mn::CANCEL_STOP_DEVICE
            | mn::QUERY_REMOVE_DEVICE
            | mn::CANCEL_REMOVE_DEVICE
            | mn::SURPRISE_REMOVAL,
        ) => {
            irp.set(0, 0);
            irp.skip_to(extension.lower)
        }
        // Nothing of ours opens.
        (mj::CREATE, _) => irp.complete_with(Status::ACCESS_DENIED.raw()),
        _ => irp.skip_to(extension.lower),
    }
}
