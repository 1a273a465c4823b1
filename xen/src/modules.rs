// SPDX-License-Identifier: BSD-2-Clause
//! The images in the kernel's address space: an address becomes "name + offset".
//!
//! Filled once from the loader's list, then by a notification for each image that is loaded. Nobody tells
//! of unloading, so an entry stays until another image takes its place. Writers hold a lock among
//! themselves; a reader takes none, copies an entry and looks whether it changed meanwhile, so that it
//! may run anywhere, the crash of a writer's processor included.
//!
//! # IRQL
//! Reading: any. Writing: `<= DISPATCH_LEVEL`.

use core::fmt;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering, fence};

use kexec::nt::SpinLock;

/// Images that are remembered.
const IMAGES: usize = 512;
/// Bytes of a name; longer ones are cut.
pub const NAME: usize = 24;
/// Looks at an entry that changes under the reader.
const LOOKS: usize = 4;

/// An image's file name in lower case.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name {
    bytes: [u8; NAME],
    length: u8,
}

impl Name {
    /// The file name at the end of a path.
    ///
    /// The case is changed for ASCII letters only: that needs no table, which may be paged out.
    pub fn of_path(path: impl Iterator<Item = u8>) -> Self {
        let mut name = Self {
            bytes: [0; NAME],
            length: 0,
        };
        for byte in path {
            if byte == b'\\' {
                name.length = 0;
            } else if let Some(place) = name.bytes.get_mut(usize::from(name.length)) {
                *place = if byte.is_ascii_graphic() {
                    byte.to_ascii_lowercase()
                } else {
                    b'?'
                };
                name.length += 1;
            }
        }
        name
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.length));
        core::str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The image.
    pub name: Name,
    /// Bytes from its start.
    pub offset: u64,
}

/// One image; `size` 0: none.
#[derive(Debug)]
struct Entry {
    /// Odd while it is written.
    sequence: AtomicU32,
    size: AtomicU32,
    start: AtomicU64,
    name: [AtomicU8; NAME],
    length: AtomicU8,
}

/// The images.
pub struct Modules {
    entries: [Entry; IMAGES],
    writer: SpinLock<()>,
    /// Images that had no place.
    missed: AtomicU32,
}

impl Modules {
    /// No image.
    pub const fn new() -> Self {
        Self {
            entries: [const {
                Entry {
                    sequence: AtomicU32::new(0),
                    size: AtomicU32::new(0),
                    start: AtomicU64::new(0),
                    name: [const { AtomicU8::new(0) }; NAME],
                    length: AtomicU8::new(0),
                }
            }; IMAGES],
            writer: SpinLock::new(()),
            missed: AtomicU32::new(0),
        }
    }

    /// Enters an image and forgets those whose place it takes. An empty one is not entered.
    pub fn insert(&self, start: u64, size: u32, name: Name) {
        let Some(end) = start.checked_add(u64::from(size)).filter(|_| size != 0) else {
            return;
        };
        let _writer = self.writer.lock();
        let mut free = None;
        for entry in &self.entries {
            let (other, length) = entry.range();
            if length == 0 {
                free = free.or(Some(entry));
            } else if other < end && start < other + u64::from(length) {
                entry.write(0, 0, None);
                free = free.or(Some(entry));
            }
        }
        match free {
            Some(entry) => entry.write(start, size, Some(name)),
            None => {
                self.missed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The image that holds `address`.
    pub fn find(&self, address: u64) -> Option<Found> {
        self.entries.iter().find_map(|entry| entry.find(address))
    }

    /// Images entered, and images for which there was no place.
    pub fn count(&self) -> (usize, u32) {
        let used = self.entries.iter().filter(|entry| entry.range().1 != 0);
        (used.count(), self.missed.load(Ordering::Relaxed))
    }

    /// Forgets all images.
    pub fn clear(&self) {
        let _writer = self.writer.lock();
        for entry in &self.entries {
            entry.write(0, 0, None);
        }
        self.missed.store(0, Ordering::Relaxed);
    }
}

impl Entry {
    fn range(&self) -> (u64, u32) {
        let start = self.start.load(Ordering::Relaxed);
        (start, self.size.load(Ordering::Relaxed))
    }

    /// Only with the writers' lock.
    fn write(&self, start: u64, size: u32, name: Option<Name>) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence
            .store(sequence.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        self.start.store(start, Ordering::Relaxed);
        self.size.store(size, Ordering::Relaxed);
        if let Some(name) = name {
            for (to, from) in self.name.iter().zip(name.bytes) {
                to.store(from, Ordering::Relaxed);
            }
            self.length.store(name.length, Ordering::Relaxed);
        }
        self.sequence
            .store(sequence.wrapping_add(2), Ordering::Release);
    }

    fn find(&self, address: u64) -> Option<Found> {
        for _ in 0..LOOKS {
            let before = self.sequence.load(Ordering::Acquire);
            let (start, size) = self.range();
            let offset = address.wrapping_sub(start);
            let hit = address >= start && offset < u64::from(size);
            let found = hit.then(|| Found {
                name: Name {
                    bytes: core::array::from_fn(|i| self.name[i].load(Ordering::Relaxed)),
                    length: self.length.load(Ordering::Relaxed),
                },
                offset,
            });
            fence(Ordering::Acquire);
            if before & 1 == 0 && self.sequence.load(Ordering::Relaxed) == before {
                return found;
            }
        }
        // Written all the time, or the writer's processor was stopped in the middle.
        None
    }
}

impl Default for Modules {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Modules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (used, missed) = self.count();
        write!(f, "Modules({used}, {missed} missed)")
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use kexec::nt::sys::fake;
    use std::boxed::Box;
    use std::format;

    fn name(path: &str) -> Name {
        Name::of_path(path.bytes())
    }

    fn at(modules: &Modules, address: u64) -> std::string::String {
        modules.find(address).map_or_else(
            || "nowhere".into(),
            |found| format!("{:?}+{:#x}", found.name, found.offset),
        )
    }

    #[test]
    fn an_address_is_found_from_the_first_byte_to_the_last() {
        let _kernel = fake::boot();
        let modules = Box::new(Modules::new());
        modules.insert(0x1000, 0x800, name("\\SystemRoot\\drivers\\XenBus.SYS"));
        assert_eq!(at(&modules, 0xfff), "nowhere");
        assert_eq!(at(&modules, 0x1000), "xenbus.sys+0x0");
        assert_eq!(at(&modules, 0x17ff), "xenbus.sys+0x7ff");
        assert_eq!(at(&modules, 0x1800), "nowhere");
        assert_eq!(at(&modules, 0), "nowhere");
        assert_eq!(at(&modules, u64::MAX), "nowhere");
    }

    #[test]
    fn an_image_takes_the_place_of_all_that_it_overlaps() {
        let _kernel = fake::boot();
        let modules = Box::new(Modules::new());
        modules.insert(0x1000, 0x1000, name("a"));
        modules.insert(0x2000, 0x1000, name("b"));
        modules.insert(0x3000, 0x1000, name("c"));
        modules.insert(0x1800, 0x1000, name("d"));
        assert_eq!(at(&modules, 0x1000), "nowhere");
        assert_eq!(at(&modules, 0x1800), "d+0x0");
        assert_eq!(at(&modules, 0x2fff), "nowhere");
        assert_eq!(at(&modules, 0x3000), "c+0x0");
        assert_eq!(modules.count(), (2, 0));
    }

    #[test]
    fn an_image_without_bytes_or_with_impossible_bounds_is_not_entered() {
        let _kernel = fake::boot();
        let modules = Box::new(Modules::new());
        modules.insert(0x1000, 0, name("a"));
        modules.insert(u64::MAX - 5, 0x1000, name("b"));
        assert_eq!(modules.count(), (0, 0));
    }

    #[test]
    fn one_image_too_many_is_counted_and_the_others_stay() {
        let _kernel = fake::boot();
        let modules = Box::new(Modules::new());
        for index in 0..=IMAGES as u64 {
            modules.insert(0x10_0000 * (index + 1), 0x1000, name("m"));
        }
        assert_eq!(modules.count(), (IMAGES, 1));
        assert_eq!(at(&modules, 0x10_0000), "m+0x0");
        modules.clear();
        assert_eq!(modules.count(), (0, 0));
    }

    #[test]
    fn an_entry_that_is_being_written_is_not_believed() {
        let _kernel = fake::boot();
        let modules = Box::new(Modules::new());
        modules.insert(0x1000, 0x1000, name("a"));
        modules.entries[0].sequence.fetch_add(1, Ordering::Relaxed);
        assert_eq!(at(&modules, 0x1000), "nowhere");
        modules.entries[0].sequence.fetch_add(1, Ordering::Relaxed);
        assert_eq!(at(&modules, 0x1000), "a+0x0");
    }

    #[test]
    fn a_name_is_the_end_of_the_path_cut_and_printable() {
        assert_eq!(name("\\a\\").as_str(), "");
        assert_eq!(name("A B\u{7f}").as_str(), "a?b?");
        let long = name("a_very_long_name_of_a_driver.sys");
        assert_eq!(long.as_str(), "a_very_long_name_of_a_dr");
        // A folder longer than the room for the name does not matter.
        let deep = name("\\a_very_long_name_of_a_folder_of_drivers\\x.sys");
        assert_eq!(deep.as_str(), "x.sys");
    }
}
