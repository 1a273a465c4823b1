// SPDX-License-Identifier: BSD-2-Clause
//! The lower world: a PCI host bridge found by firmware, and the bus driver that sits on it.
//!
//! Two built-in drivers stand for what Windows has below ours. `ACPI` owns the physical device object of
//! the host bridge (`*PNP0A03`); `pci` attaches a function device to it and enumerates the functions of
//! bus 0, whose physical device objects answer as Windows' PCI driver does. What a device does
//! not handle is completed with status and information unchanged.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::config::Function;
use super::function;
use super::query::minor;
use crate::io::layout::{device, driver, driver_extension, irp, major, stack};
use crate::io::{self, driver as drivers};
use crate::mem::Ptr;
use crate::status::{self, NtStatus};
use crate::sync::Lock;
use crate::{ex, ob};

/// What a device of ours is.
#[derive(Clone, Copy, Debug)]
enum Role {
    /// The host bridge as firmware shows it.
    Bridge,
    /// The PCI bus driver's device on it.
    Bus { lower: Ptr },
    /// A PCI function.
    Function(Function),
}

static ROLES: Lock<BTreeMap<Ptr, Role>> = Lock::new(BTreeMap::new());
/// The functions' device objects, made at the first enumeration.
static FUNCTIONS: Lock<Vec<Ptr>> = Lock::new(Vec::new());

const TAG: u32 = u32::from_le_bytes(*b"PciB");
const BUS_EXTENDER: u32 = 0x2A;
const CONTROLLER: u32 = 0x04;
const SECURE_OPEN: u32 = 0x100;

fn role(object: Ptr) -> Option<Role> {
    ROLES.lock().get(&object).copied()
}

fn new_device(owner: Ptr, kind: u32, what: Role) -> Ptr {
    match io::device::create(owner, 0, kind, SECURE_OPEN, false) {
        Some(object) => {
            ROLES.lock().insert(object, what);
            object
        }
        None => crate::verifier::failed("pnp", format_args!("no memory for a bus device")),
    }
}

fn ready(object: Ptr, flags: u32) {
    let all: u32 = object.get(device::FLAGS);
    object.set(
        device::FLAGS,
        (all | flags) & !device::DO_DEVICE_INITIALIZING,
    );
}

/// Makes the built-in drivers and the host bridge; returns its physical device object, referenced.
pub fn build() -> Ptr {
    let majors: &[(u8, extern "win64" fn(Ptr, Ptr) -> NtStatus)] =
        &[(major::PNP, dispatch_pnp), (major::POWER, dispatch_power)];
    let acpi = drivers::built_in("ACPI", majors);
    let pci = drivers::built_in("pci", majors);
    let extension = pci.ptr(driver::EXTENSION);
    extension.set(
        driver_extension::ADD_DEVICE,
        Ptr(add_device as *const () as usize),
    );
    let bridge = new_device(acpi, BUS_EXTENDER, Role::Bridge);
    ready(bridge, device::DO_BUS_ENUMERATED_DEVICE);
    ob::reference(bridge);
    bridge
}

/// Takes the lower world down again, after everything above is gone.
pub fn tear_down(bridge: Ptr) {
    let functions = core::mem::take(&mut *FUNCTIONS.lock());
    for object in functions {
        ROLES.lock().remove(&object);
        io::device::delete(object);
    }
    ROLES.lock().remove(&bridge);
    io::device::delete(bridge);
}

extern "win64" fn add_device(owner: Ptr, pdo: Ptr) -> NtStatus {
    let object = new_device(owner, BUS_EXTENDER, Role::Bus { lower: Ptr::NULL });
    let lower = io::device::attach(object, pdo);
    if lower.is_null() {
        io::device::delete(object);
        return status::NO_SUCH_DEVICE;
    }
    ROLES.lock().insert(object, Role::Bus { lower });
    ready(object, 0);
    status::SUCCESS
}

/// The function's device objects: all of the bus, made once.
fn functions(owner: Ptr) -> Vec<Ptr> {
    let known = FUNCTIONS.lock().clone();
    if !known.is_empty() {
        return known;
    }
    let made: Vec<Ptr> = super::config::scan()
        .into_iter()
        .map(|function| {
            let object = new_device(owner, CONTROLLER, Role::Function(function));
            ready(object, device::DO_BUS_ENUMERATED_DEVICE);
            object
        })
        .collect();
    *FUNCTIONS.lock() = made.clone();
    made
}

fn finish(request: Ptr, code: NtStatus) -> NtStatus {
    request.set(irp::STATUS, code);
    io::irp::complete(request);
    code
}

fn answer(request: Ptr, information: Ptr) -> NtStatus {
    request.set(irp::INFORMATION, information);
    finish(
        request,
        if information.is_null() {
            status::INSUFFICIENT_RESOURCES
        } else {
            status::SUCCESS
        },
    )
}

fn unchanged(request: Ptr) -> NtStatus {
    let code = request.get(irp::STATUS);
    io::irp::complete(request);
    code
}

/// Passes a request down in the location it came with.
fn pass(lower: Ptr, request: Ptr) -> NtStatus {
    request.set(
        irp::CURRENT_LOCATION,
        request.get::<u8>(irp::CURRENT_LOCATION) + 1,
    );
    request.set(
        irp::CURRENT_STACK,
        io::irp::current(request).add(stack::SIZE),
    );
    io::irp::call(lower, request)
}

fn relations(devices: &[Ptr]) -> Ptr {
    let list = ex::pool::allocate(8 + 8 * devices.len().max(1), TAG);
    if !list.is_null() {
        list.set(0, devices.len() as u32);
        for (index, object) in devices.iter().enumerate() {
            ob::reference(*object);
            list.set(8 + 8 * index, *object);
        }
    }
    list
}

/// With `async=1` the lower devices answer from a worker thread, as a busy bus driver may.
fn answers_later() -> bool {
    #[cfg(target_os = "none")]
    return crate::arch::boot_config().flag("async");
    #[cfg(not(target_os = "none"))]
    false
}

extern "win64" fn dispatch_pnp(object: Ptr, request: Ptr) -> NtStatus {
    let what = role(object);
    if answers_later() && matches!(what, Some(Role::Bridge | Role::Function(_))) {
        let location = io::irp::current(request);
        location.set(
            stack::CONTROL,
            location.get::<u8>(stack::CONTROL) | stack::PENDING,
        );
        ex::work::queue(Box::new(move || {
            dispatch_role(object, request, what);
        }));
        return status::PENDING;
    }
    dispatch_role(object, request, what)
}

fn dispatch_role(object: Ptr, request: Ptr, what: Option<Role>) -> NtStatus {
    let location = io::irp::current(request);
    let which: u8 = location.get(stack::MINOR);
    match what {
        Some(Role::Bus { lower }) => bus_pnp(object, lower, request, which),
        Some(Role::Bridge) => bridge_pnp(object, request, which),
        Some(Role::Function(function)) => function_pnp(object, function, request, which),
        None => finish(request, status::NO_SUCH_DEVICE),
    }
}

fn bus_pnp(object: Ptr, lower: Ptr, request: Ptr, which: u8) -> NtStatus {
    let parameters = io::irp::current(request).add(stack::PARAMETERS);
    match which {
        minor::START_DEVICE | minor::QUERY_REMOVE_DEVICE | minor::CANCEL_REMOVE_DEVICE => {
            request.set(irp::STATUS, status::SUCCESS);
            pass(lower, request)
        }
        minor::QUERY_DEVICE_RELATIONS if parameters.get::<u32>(0) == 0 => {
            let devices = functions(object.ptr(device::DRIVER));
            request.set(irp::INFORMATION, relations(&devices));
            request.set(irp::STATUS, status::SUCCESS);
            pass(lower, request)
        }
        minor::REMOVE_DEVICE => {
            request.set(irp::STATUS, status::SUCCESS);
            let code = pass(lower, request);
            ROLES.lock().remove(&object);
            io::device::detach(lower);
            io::device::delete(object);
            code
        }
        _ => pass(lower, request),
    }
}

/// Copies text into pool as a list of strings, ended by an empty one.
fn pool_strings(texts: &[String]) -> Ptr {
    let units: Vec<u16> = texts
        .iter()
        .flat_map(|text| text.encode_utf16().chain([0]))
        .chain([0])
        .collect();
    let block = ex::pool::allocate(2 * units.len(), TAG);
    if !block.is_null() {
        for (index, unit) in units.iter().enumerate() {
            block.set(2 * index, *unit);
        }
    }
    block
}

fn common_pnp(object: Ptr, request: Ptr, which: u8) -> NtStatus {
    let parameters = io::irp::current(request).add(stack::PARAMETERS);
    match which {
        minor::START_DEVICE
        | minor::QUERY_REMOVE_DEVICE
        | minor::REMOVE_DEVICE
        | minor::CANCEL_REMOVE_DEVICE
        | 4..=6
        | minor::SURPRISE_REMOVAL
        | minor::FILTER_RESOURCE_REQUIREMENTS
        | minor::DEVICE_USAGE_NOTIFICATION => finish(request, status::SUCCESS),
        // The target device itself.
        minor::QUERY_DEVICE_RELATIONS if parameters.get::<u32>(0) == 4 => {
            answer(request, relations(&[object]))
        }
        _ => unchanged(request),
    }
}

fn bridge_pnp(object: Ptr, request: Ptr, which: u8) -> NtStatus {
    let parameters = io::irp::current(request).add(stack::PARAMETERS);
    match which {
        minor::QUERY_ID => {
            let texts: &[&str] = match parameters.get::<u32>(0) {
                0 => &["ACPI\\PNP0A03"],
                1 => &["ACPI\\PNP0A03", "*PNP0A03"],
                3 => &["0"],
                _ => return unchanged(request),
            };
            let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
            answer(request, pool_strings(&texts))
        }
        minor::QUERY_CAPABILITIES => {
            function::capabilities(parameters.ptr(0), 0, 0);
            finish(request, status::SUCCESS)
        }
        minor::QUERY_DEVICE_TEXT if parameters.get::<u32>(0) == 0 => {
            answer(request, pool_strings(&["PCI Bus".to_string()]))
        }
        _ => common_pnp(object, request, which),
    }
}

fn function_pnp(object: Ptr, config: Function, request: Ptr, which: u8) -> NtStatus {
    let parameters = io::irp::current(request).add(stack::PARAMETERS);
    match which {
        minor::QUERY_ID => match function::ids(config, parameters.get(0)) {
            Some(texts) => answer(request, pool_strings(&texts)),
            None => unchanged(request),
        },
        minor::QUERY_INTERFACE if function::fill_interface(object, parameters) => {
            finish(request, status::SUCCESS)
        }
        minor::QUERY_CAPABILITIES => {
            let slot = u32::from(config.device);
            let address = slot << 16 | u32::from(config.function);
            function::capabilities(parameters.ptr(0), address, slot);
            finish(request, status::SUCCESS)
        }
        minor::QUERY_RESOURCE_REQUIREMENTS => answer(request, function::requirements(config)),
        minor::QUERY_DEVICE_TEXT => {
            let text = match parameters.get::<u32>(0) {
                0 => "PCI Device".to_string(),
                _ => format!(
                    "PCI bus 0, device {}, function {}",
                    config.device, config.function
                ),
            };
            answer(request, pool_strings(&[text]))
        }
        minor::QUERY_BUS_INFORMATION => answer(request, function::bus_information()),
        minor::READ_CONFIG | minor::WRITE_CONFIG => {
            let (buffer, offset): (Ptr, u32) = (parameters.ptr(8), parameters.get(0x10));
            let length: u32 = parameters.get(0x18);
            let moved =
                function::access(config, which == minor::WRITE_CONFIG, buffer, offset, length);
            request.set(irp::INFORMATION, moved as usize);
            finish(request, status::SUCCESS)
        }
        _ => common_pnp(object, request, which),
    }
}

/// The configuration space of one of our function devices.
pub fn function_of(object: Ptr) -> Option<Function> {
    match role(object) {
        Some(Role::Function(function)) => Some(function),
        _ => None,
    }
}

extern "win64" fn dispatch_power(object: Ptr, request: Ptr) -> NtStatus {
    match role(object) {
        Some(Role::Bus { lower }) => pass(lower, request),
        _ => finish(request, status::SUCCESS),
    }
}
