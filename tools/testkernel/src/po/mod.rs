// SPDX-License-Identifier: BSD-2-Clause
//! `po`: power requests.
//!
//! A driver asks for a device power IRP, which goes to the top of the device's stack and reports back through a
//! routine. System power IRPs come from [`sleep_and_wake`]. A stack has at most one IRP of each kind at a time.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;

use crate::export::{D, P};
use crate::io::layout::{device, irp, major, stack};
use crate::ke::irql;
use crate::kprint;
use crate::mem::Ptr;
use crate::pnp::node::{self, State};
use crate::status::{self, NtStatus};
use crate::sync::Lock;
use crate::{io, ob, verifier};

const WAIT_WAKE: u8 = 0;
const SET_POWER: u8 = 2;
const QUERY_POWER: u8 = 3;
const SYSTEM: u32 = 0;
const DEVICE: u32 = 1;
const WORKING: u32 = 1;
const SLEEPING_3: u32 = 4;

/// Stacks (by their top) with a device power IRP on the way.
static BUSY: Lock<Vec<Ptr>> = Lock::new(Vec::new());

fn fill(request: Ptr, minor: u8, kind: u32, state: u32) {
    let location = io::irp::next(request);
    location.set(stack::MAJOR, major::POWER);
    location.set(stack::MINOR, minor);
    let parameters = location.add(stack::PARAMETERS);
    parameters.set(8, kind);
    parameters.set(0x10, state);
    request.set(irp::STATUS, status::NOT_SUPPORTED);
}

extern "win64" fn request_power(
    object: Ptr,
    minor: u8,
    state: u32,
    routine: Ptr,
    context: Ptr,
    result: Ptr,
) -> NtStatus {
    if !matches!(minor, WAIT_WAKE | SET_POWER | QUERY_POWER) {
        return status::INVALID_PARAMETER;
    }
    let top = io::device::top_referenced(object);
    if minor != WAIT_WAKE {
        let mut busy = BUSY.lock();
        if busy.contains(&top) {
            drop(busy);
            verifier::fail(
                "power_irp_overlap",
                format_args!("device {object} has a power IRP already"),
            );
        }
        busy.push(top);
    }
    let finish = move |request: Ptr| {
        BUSY.lock().retain(|entry| *entry != top);
        ob::dereference(top);
        if !routine.is_null() {
            let iosb = [
                request.get::<i32>(irp::STATUS) as u32 as u64,
                request.get(irp::INFORMATION),
            ];
            let args = [
                object.0,
                usize::from(minor),
                state as usize,
                context.0,
                iosb.as_ptr() as usize,
            ];
            verifier::call::driver("PowerCompletion", routine, &args);
        }
    };
    let request = io::irp::build(top.get(device::STACK_SIZE), Box::new(finish));
    if request.is_null() {
        BUSY.lock().retain(|entry| *entry != top);
        ob::dereference(top);
        return status::INSUFFICIENT_RESOURCES;
    }
    fill(request, minor, DEVICE, state);
    if !result.is_null() {
        result.set(0, request);
    }
    // Power requests of pageable stacks are sent at PASSIVE_LEVEL only.
    if irql::current() == irql::PASSIVE {
        io::irp::call(top, request);
    } else {
        crate::ex::work::queue(Box::new(move || {
            io::irp::call(top, request);
        }));
    }
    status::PENDING
}

extern "win64" fn set_power_state(_object: Ptr, kind: u32, _state: u32) -> u32 {
    // The state before: working, or D0.
    if kind == SYSTEM || kind == DEVICE {
        WORKING
    } else {
        0
    }
}

extern "win64" fn start_next(_request: Ptr) {}

extern "win64" fn call_driver(object: Ptr, request: Ptr) -> NtStatus {
    io::irp::call(object, request)
}

fn system_power(pdo: Ptr, state: u32) -> NtStatus {
    io::send::synchronous(pdo, |request, _| fill(request, SET_POWER, SYSTEM, state)).status
}

/// Puts the tree to sleep, children first, and wakes it, parents first; each answer is reported.
pub fn sleep_and_wake(root: Ptr) {
    let mut devices = node::all_from(root);
    devices.retain(|pdo| node::read(*pdo, |node| node.state) == Some(State::Started));
    for pdo in devices.iter().rev() {
        let code = system_power(*pdo, SLEEPING_3);
        report(*pdo, "sleep", code);
    }
    for pdo in &devices {
        let code = system_power(*pdo, WORKING);
        report(*pdo, "wake", code);
    }
}

fn report(pdo: Ptr, what: &str, code: NtStatus) {
    let name = crate::pnp::instance_path(pdo).unwrap_or_else(|| pdo.to_string());
    kprint!("po: {name}: {what} returned {code:#x}");
}

crate::exports! {
    "PoRequestPowerIrp", D => request_power;
    "PoSetPowerState", D => set_power_state;
    "PoStartNextPowerIrp", D => start_next;
    "PoCallDriver", D => call_driver;
    "PoRegisterDeviceForIdleDetection", P => no_idle_detection;
    "PoSetSystemState", D => nothing;
}

extern "win64" fn no_idle_detection(
    _object: Ptr,
    _conserve: u32,
    _perform: u32,
    _state: u32,
) -> Ptr {
    Ptr::NULL
}

extern "win64" fn nothing(_flags: u32) {}
