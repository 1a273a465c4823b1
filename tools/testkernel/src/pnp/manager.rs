// SPDX-License-Identifier: BSD-2-Clause
//! The PnP manager: finds drivers for devices, starts them, keeps buses' lists up to date, removes devices.
//!
//! ```text
//!   Stopped --(1) add_drivers--> Added --(2) start--> Started --(4) remove--> Stopped or gone
//!                                  |                     |
//!                                  +--(3) start fails----+--> Failed, then removed
//! ```
//!
//! One thread runs everything here, at `PASSIVE_LEVEL`, so requests to a device never overlap. Drivers reach it only
//! through [`request`], which queues and returns at once.

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use super::node::{self, State};
use super::query::{self, minor};
use super::{database, resources};
use crate::io::driver as drivers;
use crate::io::layout::{device, driver, driver_extension};
use crate::io::send::pnp;
use crate::mem::Ptr;
use crate::status::{self, NtStatus};
use crate::sync::Lock;
use crate::{ex, io, kprint, ob, verifier};

/// What drivers ask of the manager.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Ask the bus for its devices again.
    Enumerate(Ptr),
    /// Ask the device for its state.
    QueryState(Ptr),
    /// Remove the device as if it had been ejected.
    Eject(Ptr),
}

static QUEUE: Lock<VecDeque<Action>> = Lock::new(VecDeque::new());
static WOKEN: AtomicBool = AtomicBool::new(false);

/// Queues an action unless the same one is waiting already.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`.
pub fn request(action: Action) {
    let mut queue = QUEUE.lock();
    if !queue.contains(&action) {
        queue.push_back(action);
    }
    WOKEN.store(true, Ordering::Release);
}

/// Whether an action was queued since the last call.
pub fn was_woken() -> bool {
    WOKEN.swap(false, Ordering::AcqRel)
}

/// Runs the queued actions until there are none.
pub fn run_queue() {
    loop {
        let action = QUEUE.lock().pop_front();
        match action {
            Some(Action::Enumerate(pdo)) => enumerate(pdo),
            Some(Action::QueryState(pdo)) => query_state(pdo),
            Some(Action::Eject(pdo)) => eject(pdo),
            None => return,
        }
    }
}

/// What a device is called in the log.
pub fn name(pdo: Ptr) -> String {
    node::read(pdo, |node| node.path.clone())
        .filter(|path| !path.is_empty())
        .unwrap_or_else(|| pdo.to_string())
}

/// Loads a service and calls its `AddDevice`.
fn add_driver(service: &str, pdo: Ptr) -> Result<(), String> {
    let code = drivers::load(service);
    if !status::success(code) {
        return Err(alloc::format!("driver {service} does not load: {code:#x}"));
    }
    let object =
        drivers::find(service).ok_or_else(|| alloc::format!("driver {service} is gone"))?;
    let add_device = object
        .ptr(driver::EXTENSION)
        .ptr(driver_extension::ADD_DEVICE);
    if add_device.is_null() {
        return Err(alloc::format!("driver {service} has no AddDevice"));
    }
    let code =
        verifier::call::driver("AddDevice", add_device, &[object.0, pdo.0]) as u32 as NtStatus;
    if !status::success(code) {
        return Err(alloc::format!(
            "AddDevice of {service} failed with {code:#x}"
        ));
    }
    for made in io::device::stack_of(pdo) {
        if made.get::<u32>(device::FLAGS) & device::DO_DEVICE_INITIALIZING != 0 {
            let who = verifier::Caller {
                driver: drivers::name_of(made.ptr(device::DRIVER)),
                export: "AddDevice",
            };
            let detail = format_args!("device {made} still has DO_DEVICE_INITIALIZING");
            verifier::fail_as(&who, "device_still_initializing", detail);
        }
    }
    Ok(())
}

/// Builds the device's stack: lower filters, function driver, upper filters.
fn add_drivers(pdo: Ptr) -> Result<(), String> {
    let Some(found) = node::read(pdo, database::find).flatten() else {
        if let Some(node) = node::get(pdo) {
            database::record(&node, None);
        }
        return Err("no driver".to_string());
    };
    node::update(pdo, |node| {
        node.service = Some(found.service.clone());
        node.class = found.class;
    });
    let Some(node) = node::get(pdo) else {
        return Err("the device is gone".to_string());
    };
    database::record(&node, found.key.as_deref());
    let (device_lower, class_lower) = database::filters(&node, "LowerFilters");
    let (device_upper, class_upper) = database::filters(&node, "UpperFilters");
    let services = device_lower
        .iter()
        .chain(&class_lower)
        .chain([&found.service]);
    for service in services.chain(&device_upper).chain(&class_upper) {
        add_driver(service, pdo)?;
    }
    node::update(pdo, |node| node.state = State::Added);
    Ok(())
}

/// Asks for the resources, assigns them and sends the start request.
fn start(pdo: Ptr) -> NtStatus {
    let requirements = node::read(pdo, |node| node.requirements).unwrap_or(Ptr::NULL);
    let filtered = pnp(
        pdo,
        minor::FILTER_RESOURCE_REQUIREMENTS,
        requirements.0,
        |parameters| {
            parameters.set(0, requirements);
        },
    );
    // A driver that replaces the list frees the old one.
    let list = if status::success(filtered.status) {
        Ptr(filtered.information)
    } else {
        requirements
    };
    let assigned = resources::assign(list);
    if !list.is_null() {
        ex::pool::free(list);
    }
    node::update(pdo, |node| node.requirements = Ptr::NULL);
    let (raw, translated) = assigned.unwrap_or_default();
    node::update(pdo, |node| {
        node.raw = raw;
        node.resources = translated;
    });
    send_start(pdo)
}

/// Sends the start request, with the resources of the node.
pub(super) fn send_start(pdo: Ptr) -> NtStatus {
    let Some(node) = node::get(pdo) else {
        return status::NO_SUCH_DEVICE;
    };
    // The lists live in pool while the request runs: drivers may change them in place.
    let copy = |bytes: &[u8]| {
        if bytes.is_empty() {
            return Ptr::NULL;
        }
        let block = ex::pool::allocate(bytes.len(), u32::from_le_bytes(*b"PpRe"));
        if !block.is_null() {
            block.copy_from(bytes);
        }
        block
    };
    let (raw, translated) = (copy(&node.raw), copy(&node.resources));
    let outcome = pnp(pdo, minor::START_DEVICE, 0, |parameters| {
        parameters.set(0, raw);
        parameters.set(8, translated);
    });
    for block in [raw, translated]
        .into_iter()
        .filter(|block| !block.is_null())
    {
        ex::pool::free(block);
    }
    outcome.status
}

/// Finds drivers for a new device and starts it.
pub fn bring_up(pdo: Ptr) {
    if let Err(why) = query::identify(pdo) {
        kprint!("pnp: device {pdo}: {why}");
        return;
    }
    if let Err(why) = add_drivers(pdo) {
        kprint!("pnp: {}: {why}", name(pdo));
        // A stack that was built in part is taken down again.
        if !pdo.ptr(device::ATTACHED).is_null() {
            node::update(pdo, |node| node.state = State::Failed);
            remove_stack(pdo);
        }
        return;
    }
    let code = start(pdo);
    kprint!("pnp: {}: started with {code:#x}", name(pdo));
    if !status::success(code) {
        node::update(pdo, |node| node.state = State::Failed);
        remove_stack(pdo);
        return;
    }
    let capabilities = query::capabilities(pdo);
    node::update(pdo, |node| {
        node.state = State::Started;
        node.capabilities = capabilities;
    });
    query_state(pdo);
    enumerate(pdo);
}

pub(super) fn is_started(pdo: Ptr) -> bool {
    node::read(pdo, |node| node.state) == Some(State::Started)
}

/// Asks for the device's state; a device that failed or went away is removed.
fn query_state(pdo: Ptr) {
    const REMOVED: usize = 8;
    const FAILED: usize = 4;
    if !is_started(pdo) {
        return;
    }
    let outcome = pnp(pdo, minor::QUERY_PNP_DEVICE_STATE, 0, |_| {});
    if status::success(outcome.status) && outcome.information & (REMOVED | FAILED) != 0 {
        kprint!(
            "pnp: {}: state {:#x}, removing it",
            name(pdo),
            outcome.information
        );
        surprise(pdo);
    }
}

/// Asks a bus for its devices: brings up new ones, takes down those that are gone.
pub(super) fn enumerate(pdo: Ptr) {
    if !is_started(pdo) {
        return;
    }
    let Some(now) = query::relations(pdo) else {
        return;
    };
    let before = node::children(pdo);
    for child in &now {
        if before.contains(child) {
            ob::dereference(*child);
        }
    }
    for gone in before.iter().filter(|child| !now.contains(child)) {
        kprint!("pnp: {}: gone from its bus", name(*gone));
        surprise(*gone);
        forget(*gone);
    }
    for new in now.iter().filter(|child| !before.contains(child)) {
        io::device::check(*new);
        let flags: u32 = new.get(device::FLAGS);
        new.set(device::FLAGS, flags | device::DO_BUS_ENUMERATED_DEVICE);
        node::add(*new, Some(pdo));
        bring_up(*new);
    }
}

/// Removes a device that is not there any more, and everything below it.
fn surprise(pdo: Ptr) {
    for child in node::children(pdo) {
        surprise(child);
        forget(child);
    }
    if is_started(pdo) {
        let outcome = pnp(pdo, minor::SURPRISE_REMOVAL, 0, |_| {});
        kprint!(
            "pnp: {}: surprise removal returned {:#x}",
            name(pdo),
            outcome.status
        );
    }
    remove_stack(pdo);
}

/// Sends the remove request and checks that everybody has left the stack.
fn remove_stack(pdo: Ptr) {
    let outcome = pnp(pdo, minor::REMOVE_DEVICE, 0, |_| {});
    kprint!("pnp: {}: removed with {:#x}", name(pdo), outcome.status);
    let above = pdo.ptr(device::ATTACHED);
    if !above.is_null() {
        let who = verifier::Caller {
            driver: drivers::name_of(above.ptr(device::DRIVER)),
            export: "Dispatch",
        };
        let detail = format_args!("device {above} is still attached after IRP_MN_REMOVE_DEVICE");
        verifier::fail_as(&who, "device_left_in_stack", detail);
    }
    node::update(pdo, |node| node.state = State::Stopped);
}

/// Drops a node, its requirements list and its reference.
fn forget(pdo: Ptr) {
    let requirements = node::read(pdo, |node| node.requirements).unwrap_or(Ptr::NULL);
    if !requirements.is_null() {
        ex::pool::free(requirements);
    }
    node::remove(pdo);
    ob::dereference(pdo);
}

/// Asks a device and everything below it whether it may be removed; children first.
fn query_remove(pdo: Ptr, asked: &mut Vec<Ptr>) -> Result<(), (Ptr, NtStatus)> {
    for child in node::children(pdo) {
        query_remove(child, asked)?;
    }
    if !is_started(pdo) {
        return Ok(());
    }
    asked.push(pdo);
    let outcome = pnp(pdo, minor::QUERY_REMOVE_DEVICE, 0, |_| {});
    if status::success(outcome.status) {
        Ok(())
    } else {
        Err((pdo, outcome.status))
    }
}

fn remove_tree(pdo: Ptr) {
    for child in node::children(pdo) {
        remove_tree(child);
        forget(child);
    }
    remove_stack(pdo);
}

/// Removes a device and everything below it in an orderly way; `false` when somebody refuses.
pub fn remove(pdo: Ptr) -> bool {
    let mut asked = Vec::new();
    if let Err((who, code)) = query_remove(pdo, &mut asked) {
        kprint!("pnp: {}: refuses removal with {code:#x}", name(who));
        for device in asked.into_iter().rev() {
            pnp(device, minor::CANCEL_REMOVE_DEVICE, 0, |_| {});
        }
        return false;
    }
    remove_tree(pdo);
    true
}

/// An ejected device: removed, then looked for again by its bus.
fn eject(pdo: Ptr) {
    let parent = node::read(pdo, |node| node.parent).flatten();
    if remove(pdo)
        && let Some(parent) = parent
    {
        forget(pdo);
        enumerate(parent);
    }
}

/// Drops the last node of the tree.
pub fn release(pdo: Ptr) {
    forget(pdo);
}
