// SPDX-License-Identifier: BSD-2-Clause
//! Stops devices and starts them again, as NT does when it deals the machine's resources out anew.
//!
//! The question goes to the devices on a bus before the bus; it is cancelled once, then asked again and carried out in the same
//! order. Started is from the bus on, and each bus is asked for its devices before those are started. Every device gets the
//! resources that it had.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::manager::{enumerate, is_started, name, send_start};
use super::node::{self, State};
use super::query::minor;
use crate::io::send::pnp;
use crate::kprint;
use crate::mem::Ptr;
use crate::status;

/// `pdo` and what is started below it, each bus behind its devices.
fn bottom_up(pdo: Ptr) -> Vec<Ptr> {
    let mut found = node::all_from(pdo);
    found.reverse();
    found.retain(|pdo| is_started(*pdo));
    found
}

/// Asks all whether they may be stopped.
fn query(devices: &[Ptr]) -> Result<(), String> {
    for pdo in devices {
        let outcome = pnp(*pdo, minor::QUERY_STOP_DEVICE, 0, |_| {});
        if !status::success(outcome.status) {
            let code = outcome.status;
            return Err(format!("{} refuses to stop with {code:#x}", name(*pdo)));
        }
    }
    Ok(())
}

fn stop(pdo: Ptr) -> Result<(), String> {
    let outcome = pnp(pdo, minor::STOP_DEVICE, 0, |_| {});
    kprint!("pnp: {}: stopped with {:#x}", name(pdo), outcome.status);
    node::update(pdo, |node| node.state = State::Added);
    if status::success(outcome.status) {
        Ok(())
    } else {
        Err(format!("{} does not stop", name(pdo)))
    }
}

/// Starts a device and those of its bus that were stopped.
fn start(pdo: Ptr) -> Result<(), String> {
    let code = send_start(pdo);
    kprint!("pnp: {}: started again with {code:#x}", name(pdo));
    if !status::success(code) {
        return Err(format!("{} does not start again", name(pdo)));
    }
    node::update(pdo, |node| node.state = State::Started);
    enumerate(pdo);
    for child in node::children(pdo) {
        if node::read(child, |node| node.state) == Some(State::Added) {
            start(child)?;
        }
    }
    Ok(())
}

/// Stops and starts the devices of `service` below `root`.
///
/// # Errors
/// There is none; one refuses or fails.
pub(super) fn run(service: &str, root: Ptr) -> Result<(), String> {
    let serves = |pdo: &Ptr| {
        let node = node::get(*pdo);
        node.is_some_and(|node| node.service.as_deref() == Some(service))
    };
    let devices: Vec<Ptr> = node::all_from(root).into_iter().filter(serves).collect();
    if devices.is_empty() {
        return Err(format!("no device of {service} to stop"));
    }
    for pdo in devices {
        let all = bottom_up(pdo);
        query(&all)?;
        for pdo in all.iter().rev() {
            pnp(*pdo, minor::CANCEL_STOP_DEVICE, 0, |_| {});
        }
        query(&all)?;
        for pdo in all {
            stop(pdo)?;
        }
        start(pdo)?;
    }
    Ok(())
}
