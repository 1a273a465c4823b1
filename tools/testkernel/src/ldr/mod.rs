// SPDX-License-Identifier: BSD-2-Clause
//! `ldr`: PE images, imports, the list of loaded images.

use alloc::string::String;

use crate::export::Export;
use crate::mem::Ptr;

/// The tables of this folder.
pub static TABLES: &[&[Export]] = &[];

/// A loaded image.
#[derive(Clone, Debug)]
pub struct Image {
    /// File name, for example `xenbus.sys`.
    pub name: String,
    /// Where it lies.
    pub base: Ptr,
    /// Its size in bytes.
    pub size: usize,
    /// Its entry point.
    pub entry: Ptr,
}

/// Loads `drivers/NAME.sys` and, first, what it imports from (import DLLs get their `DllInitialize` call here, once).
/// `Err` says what is wrong. PASSIVE_LEVEL.
pub fn load(_name: &str) -> Result<Image, String> {
    unimplemented!()
}

/// Unloads an image after its `DriverUnload`: leak checks, then unmapped; then `DllUnload` of import DLLs that nobody uses.
pub fn unload(_image: &Image) {
    unimplemented!()
}

/// The image that holds `address`: its name and the offset.
pub fn find(_address: Ptr) -> Option<(String, usize)> {
    unimplemented!()
}

/// The file of that name in the payload (`drivers/xen.sys`).
pub fn payload_file(_path: &str) -> Option<&'static [u8]> {
    unimplemented!()
}
