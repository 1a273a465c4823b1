// SPDX-License-Identifier: BSD-2-Clause
//! The edge of the image: a plain driver with one device, and the functions that it finds in the test kernel.
#![expect(unsafe_code, reason = "the C ABI: entry points and found functions")]

use core::sync::atomic::{AtomicUsize, Ordering};

use kexec::nt::sys::{DRIVER_OBJECT, UNICODE_STRING};
use kexec::nt::wdm::{Device, Driver};
use kexec::nt::{Key, SpinLock, WStr};
use kexec::{Passive, Result, Status, error, wstr};

use crate::machine::Machine;
use crate::storm;
use crate::unload::Running;

/// FILE_DEVICE_UNKNOWN.
const FILE_DEVICE_UNKNOWN: u32 = 0x22;
const PARAMETERS: WStr<'static> =
    wstr!("\\Registry\\Machine\\SYSTEM\\CurrentControlSet\\Services\\kstorm\\Parameters");

struct State {
    device: Device<()>,
    running: Option<Running>,
}

static STATE: SpinLock<Option<State>> = SpinLock::new(None);

static RAISE: AtomicUsize = AtomicUsize::new(0);
static MEASURE: AtomicUsize = AtomicUsize::new(0);
static FIGURE: AtomicUsize = AtomicUsize::new(0);

fn raise(cpu: u32) {
    type Raw = extern "C" fn(u32);
    // SAFETY: only handed out once the address of that function was stored.
    let raw = unsafe { core::mem::transmute::<usize, Raw>(RAISE.load(Ordering::Relaxed)) };
    raw(cpu);
}

fn measure() {
    type Raw = extern "C" fn();
    // SAFETY: as in `raise`.
    let raw = unsafe { core::mem::transmute::<usize, Raw>(MEASURE.load(Ordering::Relaxed)) };
    raw();
}

fn figure(which: u32) -> u64 {
    type Raw = extern "C" fn(u32) -> u64;
    // SAFETY: as in `raise`.
    let raw = unsafe { core::mem::transmute::<usize, Raw>(FIGURE.load(Ordering::Relaxed)) };
    raw(which)
}

fn clock() -> u64 {
    // SAFETY: every x64 processor has the counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

fn find(name: WStr<'_>) -> Result<usize> {
    let bytes = (name.units().len() * 2) as u16;
    let mut string = UNICODE_STRING {
        Length: bytes,
        MaximumLength: bytes,
        Buffer: name.units().as_ptr().cast_mut(),
    };
    // SAFETY: a valid string; PASSIVE_LEVEL, in DriverEntry.
    let found = unsafe { kexec::nt::sys::MmGetSystemRoutineAddress(&mut string) };
    if found.is_null() {
        return Err(Status::NOT_SUPPORTED);
    }
    Ok(found as usize)
}

fn vector() -> Result<u32> {
    type Raw = extern "C" fn() -> u32;
    let address = find(wstr!("TestKernelInterruptVector"))?;
    // SAFETY: the test kernel's function of that name has this type.
    let raw = unsafe { core::mem::transmute::<usize, Raw>(address) };
    Ok(raw())
}

fn machine(device: &Device<()>) -> Result<Machine> {
    RAISE.store(find(wstr!("TestKernelRaiseInterrupt"))?, Ordering::Relaxed);
    MEASURE.store(find(wstr!("TestKernelDpcMeasure"))?, Ordering::Relaxed);
    FIGURE.store(find(wstr!("TestKernelDpcFigure"))?, Ordering::Relaxed);
    Ok(Machine {
        raise,
        vector: vector()?,
        clock,
        measure,
        figure,
        device: device.as_ptr(),
    })
}

fn start(driver: Driver, passive: Passive) -> Result {
    let device = Device::try_new(driver, FILE_DEVICE_UNKNOWN, false, passive, |_| Ok(()))?;
    let begun = machine(&device).and_then(|machine| {
        let key = Key::open(passive, PARAMETERS)?;
        if key.query_dword(wstr!("Mode"))? == 0 {
            storm::all(&machine, passive).map(|()| None)
        } else {
            Running::start(&machine, passive).map(Some)
        }
    });
    match begun {
        Ok(running) => {
            *STATE.lock() = Some(State { device, running });
            Ok(())
        }
        Err(status) => {
            device.delete(passive);
            Err(status)
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn DriverEntry(
    driver: *mut DRIVER_OBJECT,
    _path: *const UNICODE_STRING,
) -> i32 {
    // SAFETY: the I/O manager's driver object.
    let Some(driver) = (unsafe { Driver::from_raw(driver) }) else {
        return Status::INVALID_PARAMETER.raw();
    };
    driver.set_unload(unload);
    match start(driver, Passive::assert()) {
        Ok(()) => 0,
        Err(status) => {
            error!("kstorm: failed, {status}");
            status.raw()
        }
    }
}

unsafe extern "C" fn unload(_driver: *mut DRIVER_OBJECT) {
    let passive = Passive::assert();
    let state = STATE.lock().take();
    if let Some(State { device, running }) = state {
        if let Some(running) = running {
            running.stop(passive);
        }
        device.delete(passive);
    }
}
