// SPDX-License-Identifier: BSD-2-Clause
//! The registry calls that drivers make.
//!
//! A handle names a key by its [`KeyId`] number, so closing it frees only the table's slot. `Zw` calls come
//! from kernel mode, where NT checks no access rights.

use alloc::vec::Vec;

use super::tree::{Disposition, KeyId, Result};
use super::{info, status, with};
use crate::export::P;
use crate::mem::Ptr;
use crate::ps::handles::{self, Object};
use crate::status as nt;
use crate::verifier;

const VOLATILE: u32 = 1;

/// The key that a handle names; a handle that is not open is reported.
fn key(handle: usize) -> Result<KeyId> {
    match handles::lookup(handle) {
        Some(Object::Key(number)) => Ok(KeyId::from_number(number)),
        Some(_) => Err(nt::OBJECT_TYPE_MISMATCH),
        None => verifier::fail(
            "bad_handle",
            format_args!("{handle:#x} is not an open handle"),
        ),
    }
}

fn finish(result: Result) -> i32 {
    result.err().unwrap_or(status::SUCCESS)
}

/// The root and path of an `OBJECT_ATTRIBUTES`.
fn target(attributes: Ptr) -> Result<(Option<KeyId>, Vec<u16>)> {
    if attributes.get::<u32>(0) != 0x30 {
        return Err(status::INVALID_PARAMETER);
    }
    let root: usize = attributes.get(8);
    let root = if root == 0 { None } else { Some(key(root)?) };
    let name = attributes.ptr(0x10);
    let path = if name.is_null() {
        Vec::new()
    } else {
        name.unicode_units()
    };
    Ok((root, path))
}

fn publish(handle: Ptr, id: KeyId) {
    handle.set(0, handles::insert(Object::Key(id.number())));
}

extern "win64" fn open(handle: Ptr, _access: u32, attributes: Ptr) -> i32 {
    finish(target(attributes).and_then(|(root, path)| {
        let id = with(|tree| tree.open(root, &path))?;
        publish(handle, id);
        Ok(())
    }))
}

extern "win64" fn create(
    handle: Ptr,
    _access: u32,
    attributes: Ptr,
    _title: u32,
    _class: Ptr,
    options: u32,
    disposition: Ptr,
) -> i32 {
    finish(target(attributes).and_then(|(root, path)| {
        let volatile = options & VOLATILE != 0;
        let (id, how) = with(|tree| tree.create(root, &path, volatile, super::now()))?;
        publish(handle, id);
        if !disposition.is_null() {
            disposition.set(0, if how == Disposition::Created { 1u32 } else { 2 });
        }
        Ok(())
    }))
}

/// Hands a record to the caller: what fits of it, and the size it needs.
fn store(image: Result<info::Image>, buffer: Ptr, length: u32, needed: Ptr) -> i32 {
    match image {
        Ok(image) => {
            let mut bytes = alloc::vec![0; length as usize];
            let (code, size) = image.store(&mut bytes);
            if code != status::BUFFER_TOO_SMALL {
                bytes.truncate(size as usize);
                buffer.copy_from(&bytes);
            }
            needed.set(0, size);
            code
        }
        Err(code) => code,
    }
}

extern "win64" fn query(handle: usize, class: u32, buffer: Ptr, length: u32, needed: Ptr) -> i32 {
    let image = key(handle).and_then(|id| with(|tree| info::key(tree, id, class)));
    store(image, buffer, length, needed)
}

extern "win64" fn enumerate(
    handle: usize,
    index: u32,
    class: u32,
    buffer: Ptr,
    length: u32,
    needed: Ptr,
) -> i32 {
    let image = key(handle).and_then(|id| {
        with(|tree| {
            let child = tree.key(id)?.children.get(index as usize).copied();
            info::key(tree, child.ok_or(status::NO_MORE_ENTRIES)?, class)
        })
    });
    store(image, buffer, length, needed)
}

extern "win64" fn query_value(
    handle: usize,
    name: Ptr,
    class: u32,
    buffer: Ptr,
    length: u32,
    needed: Ptr,
) -> i32 {
    let name = name.unicode_units();
    let image = key(handle).and_then(|id| with(|tree| info::value(tree.value(id, &name)?, class)));
    store(image, buffer, length, needed)
}

extern "win64" fn enumerate_value(
    handle: usize,
    index: u32,
    class: u32,
    buffer: Ptr,
    length: u32,
    needed: Ptr,
) -> i32 {
    let image = key(handle).and_then(|id| {
        with(|tree| {
            let value = tree.key(id)?.values.get(index as usize);
            info::value(value.ok_or(status::NO_MORE_ENTRIES)?, class)
        })
    });
    store(image, buffer, length, needed)
}

extern "win64" fn set_value(
    handle: usize,
    name: Ptr,
    _title: u32,
    kind: u32,
    data: Ptr,
    length: u32,
) -> i32 {
    let name = name.unicode_units();
    let data = data.to_vec(length as usize);
    let now = super::now();
    finish(key(handle).and_then(|id| with(|tree| tree.set(id, &name, kind, &data, now))))
}

extern "win64" fn delete_value(handle: usize, name: Ptr) -> i32 {
    let name = name.unicode_units();
    let now = super::now();
    finish(key(handle).and_then(|id| with(|tree| tree.unset(id, &name, now))))
}

extern "win64" fn delete(handle: usize) -> i32 {
    finish(key(handle).and_then(|id| with(|tree| tree.delete(id))))
}

extern "win64" fn flush(handle: usize) -> i32 {
    finish(key(handle).map(|_| ()))
}

/// Opens an absolute key for a driver; the status, and the handle on success.
pub(crate) fn open_absolute(path: &str) -> Result<usize> {
    let id = with(|tree| tree.open(None, &super::wide(path)))?;
    Ok(handles::insert(Object::Key(id.number())))
}

crate::exports! {
    "ZwOpenKey", P => open;
    "ZwCreateKey", P => create;
    "ZwQueryKey", P => query;
    "ZwEnumerateKey", P => enumerate;
    "ZwQueryValueKey", P => query_value;
    "ZwEnumerateValueKey", P => enumerate_value;
    "ZwSetValueKey", P => set_value;
    "ZwDeleteValueKey", P => delete_value;
    "ZwDeleteKey", P => delete;
    "ZwFlushKey", P => flush;
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::boxed::Box;

    struct Name {
        units: Vec<u16>,
        header: [u64; 2],
        attributes: [u64; 6],
    }

    impl Name {
        fn new(text: &str, root: usize) -> Box<Self> {
            let units: Vec<u16> = text.encode_utf16().collect();
            let bytes = 2 * units.len() as u64;
            let header = [bytes | bytes << 16, units.as_ptr() as u64];
            let mut this = Box::new(Self {
                units,
                header,
                attributes: [0; 6],
            });
            let name = this.header.as_ptr() as u64;
            this.attributes = [0x30, root as u64, name, 0x240, 0, 0];
            assert_eq!(this.units.len() as u64 * 2, bytes);
            this
        }

        fn name(&self) -> Ptr {
            Ptr(self.header.as_ptr() as usize)
        }

        fn attributes(&self) -> Ptr {
            Ptr(self.attributes.as_ptr() as usize)
        }
    }

    #[test]
    fn a_driver_creates_writes_reads_enumerates_and_deletes() {
        crate::cm::init("K\t\\Registry\\Machine\\CmCalls\n").unwrap();
        let mut handle = 0usize;
        let at = Ptr(&raw mut handle as usize);
        let path = Name::new(r"\Registry\Machine\CmCalls", 0);
        assert_eq!(open(at, 0xF003F, path.attributes()), 0);
        let top = handle;
        let child = Name::new("Child", top);
        let mut disposition = 0u64;
        let how = Ptr(&raw mut disposition as usize);
        let make = || create(at, 0xF003F, child.attributes(), 0, Ptr::NULL, 1, how);
        assert_eq!((make(), how.get::<u32>(0)), (0, 1));
        assert_eq!((make(), how.get::<u32>(0)), (0, 2));
        let made = handle;
        let value = Name::new("Answer", 0);
        let data = Ptr([42u32].as_ptr() as usize);
        assert_eq!(set_value(made, value.name(), 0, 4, data, 4), 0);

        let mut buffer = [0u8; 32];
        let into = Ptr(buffer.as_mut_ptr() as usize);
        let mut size = 0u64;
        let needed = Ptr(&raw mut size as usize);
        let probe = query_value(made, value.name(), 2, Ptr::NULL, 0, needed);
        assert_eq!((probe, size), (status::BUFFER_TOO_SMALL, 16));
        assert_eq!(query_value(made, value.name(), 2, into, 32, needed), 0);
        assert_eq!((into.get::<u32>(4), into.get::<u32>(12)), (4, 42));
        assert_eq!(enumerate(top, 0, 0, into, 32, needed), 0);
        assert_eq!(into.get::<u32>(12), 10);
        assert_eq!(
            enumerate(top, 1, 0, into, 32, needed),
            status::NO_MORE_ENTRIES
        );
        assert_eq!(
            enumerate_value(made, 1, 2, into, 32, needed),
            status::NO_MORE_ENTRIES
        );
        assert_eq!(delete_value(made, value.name()), 0);
        assert_eq!(
            delete_value(made, value.name()),
            status::OBJECT_NAME_NOT_FOUND
        );
        assert_eq!(delete(made), 0);
        assert_eq!(
            set_value(made, value.name(), 0, 4, data, 4),
            status::KEY_DELETED
        );
        assert!(handles::remove(made).is_some());
        assert!(crate::cm::read(r"\Registry\Machine\CmCalls", "None").is_none());
    }
}
