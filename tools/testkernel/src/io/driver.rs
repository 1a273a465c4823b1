// SPDX-License-Identifier: BSD-2-Clause
//! Driver objects: loading a service, calling `DriverEntry`, unloading with leak checks.
//!
//! A driver object is a block of pool with its extension, its name and its service key behind it. It is
//! kept in a list by service name; devices hold references to it. Runs at `PASSIVE_LEVEL`.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::layout::{driver, driver_extension, irp, major};
use crate::kprint;
use crate::ldr::{self, Image};
use crate::mem::Ptr;
use crate::ob;
use crate::status::{self, NtStatus};
use crate::sync::Lock;
use crate::verifier;

const TAG: u32 = u32::from_le_bytes(*b"Driv");
/// Where services are described.
pub const SERVICES: &str = r"\Registry\Machine\System\CurrentControlSet\Services";

struct Loaded {
    name: String,
    object: Ptr,
    image: Option<Image>,
}

static DRIVERS: Lock<Vec<Loaded>> = Lock::new(Vec::new());

fn same(left: &str, right: &str) -> bool {
    left.eq_ignore_ascii_case(right)
}

/// The service name of a driver object.
pub fn name_of(object: Ptr) -> String {
    let drivers = DRIVERS.lock();
    drivers
        .iter()
        .find(|d| d.object == object)
        .map_or_else(|| "kernel".to_string(), |d| d.name.clone())
}

/// The driver object of a service that is loaded.
pub fn find(name: &str) -> Option<Ptr> {
    DRIVERS
        .lock()
        .iter()
        .find(|d| same(&d.name, name))
        .map(|d| d.object)
}

/// The services that are loaded from images, in load order.
pub fn loaded() -> Vec<String> {
    DRIVERS
        .lock()
        .iter()
        .filter(|d| d.image.is_some())
        .map(|d| d.name.clone())
        .collect()
}

extern "win64" fn invalid_request(_device: Ptr, request: Ptr) -> NtStatus {
    let here = super::irp::current(request);
    let function: u8 = here.get(super::layout::stack::MAJOR);
    let code = if matches!(function, major::POWER | major::PNP) {
        request.get(irp::STATUS)
    } else {
        request.set(irp::STATUS, status::INVALID_DEVICE_REQUEST);
        status::INVALID_DEVICE_REQUEST
    };
    super::irp::complete(request);
    code
}

fn put_text(string: Ptr, buffer: Ptr, text: &str) -> Ptr {
    let units: Vec<u16> = text.encode_utf16().collect();
    for (index, unit) in units.iter().chain(&[0]).enumerate() {
        buffer.set(2 * index, *unit);
    }
    string.set(0, 2 * units.len() as u16);
    string.set(2, 2 * units.len() as u16 + 2);
    string.set(8, buffer);
    buffer.add(2 * units.len() + 2)
}

fn new_object(name: &str, image: Option<&Image>) -> Ptr {
    let text = format!("\\Driver\\{name}");
    let extension = driver::SIZE;
    let texts = extension + driver_extension::SIZE;
    let size = texts + 2 * (text.len() + name.len() + 2);
    let object = crate::ex::pool::allocate(size, TAG);
    if object.is_null() {
        return object;
    }
    object.fill(0, size);
    object.set(0, driver::TYPE);
    object.set(2, driver::SIZE as u16);
    // DRVO_LEGACY_DRIVER is only for drivers without AddDevice, which is not known yet.
    object.set(driver::FLAGS, 0u32);
    object.set(driver::EXTENSION, object.add(extension));
    let end = put_text(object.add(driver::NAME), object.add(texts), &text);
    put_text(
        object.add(extension + driver_extension::SERVICE_KEY),
        end,
        name,
    );
    object.add(extension).set(driver_extension::DRIVER, object);
    if let Some(image) = image {
        object.set(driver::START, image.base);
        object.set(driver::IMAGE_SIZE, image.size as u32);
        object.set(driver::INIT, image.entry);
    }
    for function in 0..driver::MAJORS {
        object.set(
            driver::MAJOR + 8 * function,
            Ptr(invalid_request as *const () as usize),
        );
    }
    ob::insert(object, ob::Kind::Driver, crate::ex::pool::free);
    object
}

/// Makes the driver object of a driver that is part of the kernel.
pub fn built_in(name: &str, majors: &[(u8, extern "win64" fn(Ptr, Ptr) -> NtStatus)]) -> Ptr {
    let object = new_object(name, None);
    for (function, routine) in majors {
        object.set(
            driver::MAJOR + 8 * usize::from(*function),
            Ptr(*routine as *const () as usize),
        );
    }
    DRIVERS.lock().push(Loaded {
        name: name.to_string(),
        object,
        image: None,
    });
    object
}

/// The image's name in the payload: what the service's `ImagePath` says, else the service's own name.
fn file_of(name: &str) -> String {
    let path = crate::cm::read_text(&format!("{SERVICES}\\{name}"), "ImagePath");
    let file = path.as_deref().and_then(|path| path.rsplit('\\').next());
    file.map_or_else(
        || name.to_string(),
        |file| file.trim_end_matches(".sys").to_string(),
    )
}

/// Loads a service unless it is loaded, and calls its `DriverEntry`.
pub fn load(name: &str) -> NtStatus {
    if find(name).is_some() {
        return status::SUCCESS;
    }
    let image = match ldr::load(&file_of(name)) {
        Ok(image) => image,
        Err(why) => {
            kprint!("load {name}: {why}");
            return status::INVALID_IMAGE_FORMAT;
        }
    };
    let path = format!("{SERVICES}\\{name}");
    crate::cm::create(&path);
    let object = new_object(name, Some(&image));
    if object.is_null() {
        ldr::unload(&image);
        return status::INSUFFICIENT_RESOURCES;
    }
    let entry = image.entry;
    DRIVERS.lock().push(Loaded {
        name: name.to_string(),
        object,
        image: Some(image),
    });
    let units: Vec<u16> = path.encode_utf16().chain([0]).collect();
    let bytes = 2 * (units.len() - 1);
    let string = [(bytes | (bytes + 2) << 16) as u64, units.as_ptr() as u64];
    let result =
        verifier::call::driver("DriverEntry", entry, &[object.0, string.as_ptr() as usize]);
    let result = result as u32 as NtStatus;
    if status::success(result) {
        kprint!("driver {name}: DriverEntry returned {result:#x}");
        finish_devices(object);
    } else {
        kprint!("driver {name}: DriverEntry failed with {result:#x}");
        discard(name);
    }
    result
}

/// After `DriverEntry` NT itself takes the initializing flag off the devices made there.
fn finish_devices(object: Ptr) {
    use super::layout::device::{DO_DEVICE_INITIALIZING, FLAGS};
    for made in super::device::of_driver(object) {
        made.set(FLAGS, made.get::<u32>(FLAGS) & !DO_DEVICE_INITIALIZING);
    }
}

/// Calls `DriverUnload` and unloads the image; what the driver left behind ends the run.
pub fn unload(name: &str) -> NtStatus {
    let Some(object) = find(name) else {
        return status::OBJECT_NAME_NOT_FOUND;
    };
    let routine = object.ptr(driver::UNLOAD);
    if routine.is_null() {
        kprint!("driver {name} has no DriverUnload and stays");
        return status::INVALID_DEVICE_REQUEST;
    }
    verifier::call::driver("DriverUnload", routine, &[object.0]);
    kprint!("driver {name}: unloaded");
    discard(name);
    status::SUCCESS
}

/// Drops a driver that has run its last code.
fn discard(name: &str) {
    let Some(object) = find(name) else {
        return;
    };
    let who = verifier::Caller {
        driver: name.to_string(),
        export: "unload",
    };
    let left = super::device::of_driver(object);
    if let Some(device) = left.first() {
        verifier::fail_as(
            &who,
            "device_leak",
            format_args!("{} left, first {device}", left.len()),
        );
    }
    let references = ob::references(object);
    if references > 1 {
        let detail = format_args!("{} references of its devices are left", references - 1);
        verifier::fail_as(&who, "device_reference_leak", detail);
    }
    if let Some(request) = super::track::left_by(name).first() {
        verifier::fail_as(
            &who,
            "irp_leak",
            format_args!("IRP {request} was never freed"),
        );
    }
    if let Some(item) = super::work::left_by(name).first() {
        verifier::fail_as(
            &who,
            "work_item_leak",
            format_args!("work item {item} was never freed"),
        );
    }
    let image = {
        let mut drivers = DRIVERS.lock();
        let at = drivers.iter().position(|d| d.object == object);
        at.and_then(|at| drivers.remove(at).image)
    };
    ob::dereference(object);
    if let Some(image) = image {
        let callbacks = crate::rtl::callbacks_in(image.base, image.size);
        if callbacks != 0 {
            let detail = format_args!("{callbacks} debug print callbacks are left");
            verifier::fail_as(&who, "callback_leak", detail);
        }
        ldr::unload(&image);
    }
}
