// SPDX-License-Identifier: BSD-2-Clause
//! `ldr`: PE images, imports, the list of loaded images.
//!
//! An image is mapped with the rights of its sections, never writable and executable at once. Imports bind by name to
//! the kernel's tables, through a gate, or to another driver, which is loaded first and gets one `DllInitialize` call before
//! its first importer's `DriverEntry`; `DllUnload` comes after the last importer.

pub mod payload;
#[cfg_attr(
    not(target_os = "none"),
    allow(dead_code, reason = "a host parses images in tests only")
)]
pub(crate) mod pe;

#[cfg(target_os = "none")]
pub(crate) mod gate;
#[cfg(target_os = "none")]
mod image;
#[cfg(target_os = "none")]
mod query;

#[cfg(target_os = "none")]
pub(crate) use image::{exported, service_of};
#[cfg(target_os = "none")]
pub use image::{load, loaded, unload};

use alloc::string::String;

use crate::export::Export;
use crate::mem::Ptr;

/// The tables of this folder.
#[cfg(target_os = "none")]
pub static TABLES: &[&[Export]] = &[query::EXPORTS];
/// The tables of this folder.
#[cfg(not(target_os = "none"))]
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

/// The image that holds `address`: its name and the offset.
#[cfg(target_os = "none")]
pub fn find(address: Ptr) -> Option<(String, usize)> {
    image::find(address)
}

/// Loads an image; a host cannot.
#[cfg(not(target_os = "none"))]
pub fn load(_name: &str) -> Result<Image, String> {
    Err("a host loads no images".into())
}

/// Unloads an image; a host has none.
#[cfg(not(target_os = "none"))]
pub fn unload(_image: &Image) {}

/// The image that holds `address`; a host has none.
#[cfg(not(target_os = "none"))]
pub fn find(_address: Ptr) -> Option<(String, usize)> {
    None
}

/// The file of that name in the payload (`drivers/xen.sys`).
pub fn payload_file(path: &str) -> Option<&'static [u8]> {
    payload::file(path)
}
