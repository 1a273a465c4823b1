// SPDX-License-Identifier: BSD-2-Clause
//! Process and image notifications. There are no processes, so only image routines are ever called.

use alloc::string::String;
use alloc::vec::Vec;

use crate::export::P;
use crate::ldr::Image;
use crate::mem::Ptr;
use crate::status::{self, NtStatus};
use crate::sync::Lock;
use crate::verifier;

/// Registered routines: (routine, for images, owner).
static ROUTINES: Lock<Vec<(Ptr, bool, String)>> = Lock::new(Vec::new());

/// Tells the image routines that `image` was loaded; PASSIVE_LEVEL.
pub(crate) fn image_loaded(image: &Image) {
    let routines: Vec<Ptr> = ROUTINES
        .lock()
        .iter()
        .filter(|r| r.1)
        .map(|r| r.0)
        .collect();
    let path: Vec<u16> = alloc::format!(r"\SystemRoot\System32\drivers\{}", image.name)
        .encode_utf16()
        .chain([0])
        .collect();
    let bytes = 2 * (path.len() - 1);
    let name = [(bytes | (bytes + 2) << 16) as u64, path.as_ptr() as u64];
    // IMAGE_INFO: properties 0, base 8, selector 0x10, size 0x18, section number 0x20.
    let info = [0x100u64, image.base.0 as u64, 0, image.size as u64, 0];
    for routine in routines {
        let args = [name.as_ptr() as usize, 0, info.as_ptr() as usize];
        verifier::call::driver("image routine", routine, &args);
    }
}

fn add(routine: Ptr, images: bool) -> NtStatus {
    let owner = verifier::caller().driver;
    let mut routines = ROUTINES.lock();
    if routines.iter().any(|r| r.0 == routine && r.1 == images) {
        return status::INVALID_PARAMETER;
    }
    routines.push((routine, images, owner));
    status::SUCCESS
}

fn remove(routine: Ptr, images: bool) -> NtStatus {
    let mut routines = ROUTINES.lock();
    let before = routines.len();
    routines.retain(|r| r.0 != routine || r.1 != images);
    match routines.len() == before {
        true if images => status::PROCEDURE_NOT_FOUND,
        true => status::INVALID_PARAMETER,
        false => status::SUCCESS,
    }
}

extern "win64" fn set_create_process(routine: Ptr, gone: u8) -> NtStatus {
    if gone == 0 {
        add(routine, false)
    } else {
        remove(routine, false)
    }
}

extern "win64" fn set_load_image(routine: Ptr) -> NtStatus {
    add(routine, true)
}

extern "win64" fn remove_load_image(routine: Ptr) -> NtStatus {
    remove(routine, true)
}

/// Routines that `driver` left registered.
pub(crate) fn left_by(driver: &str) -> usize {
    ROUTINES.lock().iter().filter(|r| r.2 == driver).count()
}

crate::exports! {
    "PsSetCreateProcessNotifyRoutine", P => set_create_process;
    "PsSetLoadImageNotifyRoutine", P => set_load_image;
    "PsRemoveLoadImageNotifyRoutine", P => remove_load_image;
}
