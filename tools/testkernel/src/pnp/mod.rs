// SPDX-License-Identifier: BSD-2-Clause
//! `pnp`: the Plug and Play manager and the buses below the drivers under test.
//!
//! [`run`] is the life of a PnP run: the host bridge and its PCI functions come up, drivers are found for
//! them through the registry, their buses are enumerated; when the run is over the tree is removed and every
//! driver unloaded. Keys of boot.cfg:
//!
//! - `until=TEXT`: the run is over when a driver has printed a line with this text.
//! - `until_count=N`: ... that many times (default 1).
//! - `pnp_wait=MS`: how long to wait for it (default 60000); without `until`, how long to run (default 0).
//! - `create_test=1`: try to open every device from user mode, report each status.
//! - `power_test=1`: send the tree to sleep and wake it before the end.
//! - `rebalance=SERVICE`: when it is over, that driver's devices and all below them are stopped and started again, and the run
//!   goes on until the text has come as often once more.
//! - `async=1`: the lower world answers PnP requests from a worker thread, pending until then.
//! - `attach_probe=1`: a request reaches every device the moment that it is attached, before AddDevice returns.
//! - `relations_probe=SERVICE`: that driver's bus gets its relations queries with a list from above, which must survive.
//! - `new_exports=1`: offer what is newer than the oldest Windows to `MmGetSystemRoutineAddress`.
//! - `keep=1`: do not remove and unload at the end.

pub mod bus;
pub mod config;
pub mod database;
mod function;
pub mod manager;
pub mod node;
#[cfg(target_os = "none")]
pub mod optional;
mod property;
pub mod query;
mod rebalance;
pub mod resources;

use alloc::format;
use alloc::string::{String, ToString};

use crate::config::Config;
use crate::export::{D, P};
use crate::io;
use crate::kprint;
use crate::mem::Ptr;
use crate::verifier;
use manager::{Action, request};

/// 10 ms in 100 ns units.
const TICK: u64 = 100_000;

/// The instance path of a device that the manager knows.
pub fn instance_path(pdo: Ptr) -> Option<String> {
    node::read(pdo, |node| node.path.clone()).filter(|path| !path.is_empty())
}

/// The device node's checks on what a driver calls a physical device object.
fn known(pdo: Ptr) {
    io::device::check(pdo);
    if node::read(pdo, |_| ()).is_none() {
        verifier::fail("not_a_pdo", format_args!("{pdo} has no device node"));
    }
}

extern "win64" fn invalidate_relations(pdo: Ptr, kind: u32) {
    known(pdo);
    if kind == 0 {
        request(Action::Enumerate(pdo));
    }
}

extern "win64" fn invalidate_state(pdo: Ptr) {
    known(pdo);
    request(Action::QueryState(pdo));
}

extern "win64" fn request_eject(pdo: Ptr) {
    known(pdo);
    request(Action::Eject(pdo));
}

/// Runs the queue until the run is over.
fn wait(config: &Config, round: usize) -> Result<(), String> {
    let limit = config
        .number("pnp_wait")
        .unwrap_or(if config.get("until").is_some() {
            60_000
        } else {
            0
        });
    let wanted = round * config.number("until_count").unwrap_or(1) as usize;
    let mut ticks = limit / 10;
    loop {
        manager::run_queue();
        if crate::rtl::seen() >= wanted {
            return Ok(());
        }
        if ticks == 0 {
            return match config.get("until") {
                Some(text) => Err(format!(
                    "no driver printed \"{text}\" {wanted} times in {limit} ms"
                )),
                None => Ok(()),
            };
        }
        ticks -= 1;
        crate::ke::wait::sleep(TICK);
    }
}

/// Tries to open every device of the tree from user mode.
fn open_all(root: Ptr) {
    for pdo in node::all_from(root) {
        for object in io::device::stack_of(pdo) {
            let owner = io::driver::name_of(object.ptr(io::layout::device::DRIVER));
            let code = io::file::try_open(object);
            crate::log::raw(
                format!("RESULT create {owner} {} {code:#010x}", manager::name(pdo)).as_bytes(),
            );
        }
    }
}

/// Runs the PnP manager: builds the root and PCI bus, starts the Xen platform device and everything below,
/// waits until the run is over (as boot.cfg says), then removes and unloads. Runs at PASSIVE_LEVEL in a
/// system thread. `Err` names what failed.
pub fn run(config: &Config) -> Result<(), String> {
    crate::rtl::look_for(config.get("until").unwrap_or(""));
    let bridge = bus::build();
    node::add(bridge, None);
    manager::bring_up(bridge);
    let mut waited = wait(config, 1);
    if let Some(service) = config.get("rebalance") {
        waited = waited
            .and_then(|()| rebalance::run(service, bridge))
            .and_then(|()| wait(config, 2));
    }
    if config.flag("create_test") {
        open_all(bridge);
    }
    if config.flag("power_test") {
        crate::po::sleep_and_wake(bridge);
        manager::run_queue();
    }
    waited?;
    if config.flag("keep") {
        return Ok(());
    }
    if !manager::remove(bridge) {
        return Err("the device tree cannot be removed".to_string());
    }
    manager::release(bridge);
    bus::tear_down(bridge);
    for name in io::driver::loaded().into_iter().rev() {
        let code = io::unload_driver(&name);
        kprint!("pnp: unload of {name} returned {code:#x}");
    }
    Ok(())
}

crate::exports! {
    "IoInvalidateDeviceRelations", D => invalidate_relations;
    "IoInvalidateDeviceState", D => invalidate_state;
    "IoRequestDeviceEject", D => request_eject;
    "IoGetDeviceProperty", P => property::get;
    "IoOpenDeviceRegistryKey", P => property::open_device_key;
}
