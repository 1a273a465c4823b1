// SPDX-License-Identifier: BSD-2-Clause
//! Loading and unloading. Everything here runs at PASSIVE_LEVEL in a system thread; the list is readable at any IRQL.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use super::pe::{self, Pe};
use super::{Image, gate, payload};
use crate::mem::Ptr;
use crate::mm::map::{self, Protection};
use crate::mm::{PAGE, phys};
use crate::sync::Lock;
use crate::verifier::{self, Caller};
use crate::{arch, export, kprint, status};

struct Loaded {
    image: Image,
    service: &'static str,
    exports: Vec<(String, usize)>,
    /// Images that import from this one.
    users: Vec<String>,
    /// Loaded for an importer: `DllInitialize` was called.
    initialized: bool,
    index: u32,
}

static IMAGES: Lock<Vec<Loaded>> = Lock::new(Vec::new());
static LOADS: AtomicU32 = AtomicU32::new(0);

fn file_name(name: &str) -> String {
    if name.to_ascii_lowercase().ends_with(".sys") {
        name.to_string()
    } else {
        format!("{name}.sys")
    }
}

/// The service name of an image: its file name without the extension.
pub(crate) fn service_of(image: &str) -> String {
    image
        .strip_suffix(".sys")
        .or_else(|| image.strip_suffix(".SYS"))
        .unwrap_or(image)
        .to_string()
}

fn is_kernel(library: &str) -> bool {
    ["ntoskrnl.exe", "hal.dll"]
        .iter()
        .any(|k| k.eq_ignore_ascii_case(library))
}

/// Loads `drivers/NAME.sys` and, first, what it imports from (import DLLs get their `DllInitialize` call here, once).
/// `Err` says what is wrong. PASSIVE_LEVEL.
///
/// A file that is missing or is no PE image, or a name that nobody exports, ends the run unless boot.cfg says
/// `load_errors=report`.
pub fn load(name: &str) -> Result<Image, String> {
    let result = load_image(&file_name(name));
    match result {
        Err(why) if arch::boot_config().get("load_errors") != Some("report") => {
            verifier::failed("ldr", format_args!("{why}"))
        }
        other => other,
    }
}

fn loaded_copy(file: &str) -> Option<Image> {
    IMAGES
        .lock()
        .iter()
        .find(|l| l.image.name.eq_ignore_ascii_case(file))
        .map(|l| l.image.clone())
}

fn load_image(file: &str) -> Result<Image, String> {
    if let Some(image) = loaded_copy(file) {
        return Ok(image);
    }
    let Some(data) = payload::file(&format!("drivers/{file}")) else {
        return Err(format!("{file} is not in the payload"));
    };
    let mut pe = pe::parse(data).map_err(|why| format!("{file} {why}"))?;
    check_sections(file, &pe)?;
    let mut libraries: Vec<&String> = pe.imports.iter().map(|i| &i.library).collect();
    libraries.sort();
    libraries.dedup();
    let libraries: Vec<String> = libraries
        .into_iter()
        .filter(|l| !is_kernel(l))
        .cloned()
        .collect();
    for library in &libraries {
        load_image(library).map_err(|why| format!("{why} (imported by {file})"))?;
    }
    let service = gate::keep(service_of(file));
    let missing = bind(service, &mut pe);
    if !missing.is_empty() {
        return Err(format!(
            "{file} has unresolved imports: {}",
            missing.join(", ")
        ));
    }
    let image = place(file, &pe)?;
    kprint!(
        "load {} base={} size={:#x} entry=+{:#x}",
        image.name,
        image.base,
        image.size,
        pe.entry
    );
    let mut images = IMAGES.lock();
    images.push(Loaded {
        image: image.clone(),
        service,
        exports: core::mem::take(&mut pe.exports),
        users: Vec::new(),
        initialized: false,
        index: LOADS.fetch_add(1, Ordering::Relaxed),
    });
    for l in images.iter_mut().filter(|l| {
        libraries
            .iter()
            .any(|n| n.eq_ignore_ascii_case(&l.image.name))
    }) {
        l.users.push(file.to_string());
    }
    drop(images);
    crate::ps::notify::image_loaded(&image);
    for library in &libraries {
        initialize(library).map_err(|why| format!("{file} cannot start: {why}"))?;
    }
    Ok(image)
}

fn check_sections(file: &str, pe: &Pe) -> Result<(), String> {
    for s in &pe.sections {
        if s.write && s.execute {
            return Err(format!(
                "{file}: section {} is writable and executable",
                s.name.trim_end_matches('\0')
            ));
        }
        if !s.rva.is_multiple_of(PAGE) {
            return Err(format!(
                "{file}: section {} is not page aligned",
                s.name.trim_end_matches('\0')
            ));
        }
    }
    Ok(())
}

fn put(memory: &mut [u8], at: usize, value: u64) {
    memory[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// Fills the import slots; returns what was not found.
fn bind(service: &'static str, pe: &mut Pe) -> Vec<String> {
    let mut missing = Vec::new();
    for import in &pe.imports {
        let address = if is_kernel(&import.library) {
            export::find(&import.name).map(|e| gate::bind(service, e))
        } else {
            exported(&import.library, &import.name)
        };
        match address {
            Some(address) => put(&mut pe.memory, import.slot, address.0 as u64),
            None => missing.push(format!("{}!{}", import.library, import.name)),
        }
    }
    missing
}

/// Where a loaded image has what it exports by that name.
pub(crate) fn exported(library: &str, name: &str) -> Option<Ptr> {
    let images = IMAGES.lock();
    let loaded = images
        .iter()
        .find(|l| l.image.name.eq_ignore_ascii_case(library))?;
    loaded
        .exports
        .iter()
        .find(|(n, _)| n == name)
        .map(|(_, rva)| loaded.image.base.add(*rva))
}

/// Relocates the image and maps it with the rights of its sections.
fn place(file: &str, pe: &Pe) -> Result<Image, String> {
    let pages = pe.size.div_ceil(PAGE);
    let base = map::reserve_image(pages);
    let delta = (base.0 as u64).wrapping_sub(pe.base);
    let mut memory = pe.memory.clone();
    for at in &pe.relocations {
        let mut word = [0; 8];
        word.copy_from_slice(&memory[*at..*at + 8]);
        put(
            &mut memory,
            *at,
            u64::from_le_bytes(word).wrapping_add(delta),
        );
    }
    for i in 0..pages {
        let Some(page) = phys::allocate_zeroed() else {
            map::unmap(base, i)
                .into_iter()
                .for_each(|p| phys::free(p, 1));
            return Err(format!("no memory for {file}"));
        };
        let part = &memory[i * PAGE..memory.len().min((i + 1) * PAGE)];
        Ptr(arch::DIRECT_MAP + page as usize).copy_from(part);
        map::map_page(base.0 + i * PAGE, page, Protection::ReadOnly);
    }
    for s in &pe.sections {
        let protection = match (s.write, s.execute) {
            (_, true) => Protection::Execute,
            (true, false) => Protection::ReadWrite,
            (false, false) => Protection::ReadOnly,
        };
        for at in (s.rva..s.rva + s.size).step_by(PAGE) {
            map::protect(base.0 + at, protection);
        }
    }
    Ok(Image {
        name: file.to_string(),
        base,
        size: pe.size,
        entry: base.add(pe.entry),
    })
}

/// Calls `DllInitialize` of an import DLL unless that was done.
fn initialize(library: &str) -> Result<(), String> {
    let routine = exported(library, "DllInitialize");
    let service = {
        let mut images = IMAGES.lock();
        let Some(l) = images
            .iter_mut()
            .find(|l| l.image.name.eq_ignore_ascii_case(library))
        else {
            return Err(format!("{library} is not loaded"));
        };
        if core::mem::replace(&mut l.initialized, true) {
            return Ok(());
        }
        l.service
    };
    let Some(routine) = routine else {
        return Ok(());
    };
    let path = format!("{}\\{service}", crate::io::driver::SERVICES);
    let units: Vec<u16> = path.encode_utf16().chain([0]).collect();
    let bytes = 2 * (units.len() - 1);
    let string = [(bytes | (bytes + 2) << 16) as u64, units.as_ptr() as u64];
    let result =
        verifier::call::driver("DllInitialize", routine, &[string.as_ptr() as usize]) as i32;
    kprint!("dll {service}: DllInitialize returned {result:#x}");
    if status::success(result) {
        Ok(())
    } else {
        Err(format!(
            "DllInitialize of {library} failed with {result:#x}"
        ))
    }
}

/// Unloads an image after its `DriverUnload`: leak checks, then unmapped; then `DllUnload` of import DLLs that nobody uses.
/// An image that others import from stays until the last of them goes.
pub fn unload(image: &Image) {
    let still_used = IMAGES
        .lock()
        .iter()
        .any(|l| l.image.base == image.base && !l.users.is_empty());
    if still_used {
        return;
    }
    remove(image);
    loop {
        let mut images = IMAGES.lock();
        for l in images.iter_mut() {
            l.users.retain(|u| !u.eq_ignore_ascii_case(&image.name));
        }
        let idle = images
            .iter()
            .find(|l| l.initialized && l.users.is_empty())
            .map(|l| l.image.clone());
        drop(images);
        let Some(library) = idle else { return };
        if let Some(routine) = exported(&library.name, "DllUnload") {
            let result = verifier::call::driver("DllUnload", routine, &[]) as i32;
            kprint!(
                "dll {}: DllUnload returned {result:#x}",
                service_of(&library.name)
            );
        }
        remove(&library);
        let mut images = IMAGES.lock();
        for l in images.iter_mut() {
            l.users.retain(|u| !u.eq_ignore_ascii_case(&library.name));
        }
    }
}

fn remove(image: &Image) {
    let who = Caller {
        driver: service_of(&image.name),
        export: "unload",
    };
    verifier::leaks::check_unload(&who, image);
    IMAGES.lock().retain(|l| l.image.base != image.base);
    // Nothing may run there any more; the pages come back, the addresses do not.
    map::unmap(image.base, image.size.div_ceil(PAGE))
        .into_iter()
        .for_each(|p| phys::free(p, 1));
    kprint!("unload {}", image.name);
}

/// The image that holds `address`: its name and the offset.
pub(super) fn find(address: Ptr) -> Option<(String, usize)> {
    let images = IMAGES.try_lock()?;
    let l = images
        .iter()
        .find(|l| (l.image.base.0..l.image.base.0 + l.image.size).contains(&address.0))?;
    Some((l.image.name.clone(), address.0 - l.image.base.0))
}

/// Every loaded image, in load order.
pub fn loaded() -> Vec<Image> {
    let images = IMAGES.lock();
    let mut list: Vec<(u32, Image)> = images.iter().map(|l| (l.index, l.image.clone())).collect();
    list.sort_by_key(|(index, _)| *index);
    list.into_iter().map(|(_, image)| image).collect()
}
