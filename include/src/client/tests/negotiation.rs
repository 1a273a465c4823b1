// SPDX-License-Identifier: BSD-2-Clause
//! Opening the store on buses that offer different tables: the query goes through a device of the fake kernel.

use std::boxed::Box;

use kexec::nt::sys::{DEVICE_OBJECT, DRIVER_OBJECT, IRP, fake};
use kexec::nt::wdm::{Device, Driver, Irp, QueryInterface};
use kexec::{Passive, Result, Status};

use super::TAG;
use super::published::table::table as published;
use super::tree::Tree;
use crate::client::{Kind, Store};
use crate::{store, store_async};

/// What the bus has: the version that the header of each table says, if there is one.
#[derive(Clone, Copy)]
struct Offers {
    tree: &'static Tree,
    asynchronous: Option<u16>,
    published: Option<u16>,
}

impl Offers {
    fn answer(&self, query: &QueryInterface) -> Result {
        let guid = query.guid();
        if guid == store_async::GUID.to_bytes() {
            let mut table = self.tree.table();
            table.interface.version = self.asynchronous.ok_or(Status::NOT_SUPPORTED)?;
            return query.answer(table);
        }
        assert_eq!(guid, store::GUID.to_bytes());
        let mut table = published(self.tree);
        table.interface.version = self.published.ok_or(Status::NOT_SUPPORTED)?;
        query.answer(table)
    }
}

unsafe extern "C" fn dispatch(device: *mut DEVICE_OBJECT, irp: *mut IRP) -> i32 {
    // SAFETY: every device of this driver has that state.
    let device = unsafe { Device::<Offers>::from_raw(device) }.expect("a device");
    // SAFETY: handed over by the caller.
    let mut irp = unsafe { Irp::from_raw(irp) }.expect("a request");
    let query = QueryInterface::of(&irp).expect("a query");
    match device.state().answer(&query) {
        Ok(()) => irp.set(0, 0),
        Err(status) => irp.set(status.raw(), 0),
    }
    irp.complete()
}

/// What `Store::open` makes of a bus.
fn opened(asynchronous: Option<u16>, published: Option<u16>) -> Result<Kind> {
    let _kernel = fake::boot();
    let passive = Passive::assert();
    let tree: &'static Tree = Box::leak(Tree::new());
    // SAFETY: a driver object is integers, pointers and optional routines.
    let mut object = Box::new(unsafe { core::mem::zeroed::<DRIVER_OBJECT>() });
    // SAFETY: it outlives its device.
    let driver = unsafe { Driver::from_raw(&raw mut *object) }.expect("a driver");
    driver.set_dispatch(dispatch);
    let offers = Offers {
        tree,
        asynchronous,
        published,
    };
    let device = Device::try_new(driver, 0x22, false, passive, |_| Ok(offers)).expect("memory");
    let kind = Store::open(TAG, device.as_ptr(), passive).map(|store| store.kind());
    assert_eq!(tree.references(0), 0);
    device.delete(passive);
    kind
}

#[test]
fn the_asynchronous_table_is_taken_where_there_is_one() {
    assert_eq!(opened(Some(1), Some(2)), Ok(Kind::Asynchronous));
    assert_eq!(opened(Some(1), None), Ok(Kind::Asynchronous));
}

#[test]
fn a_bus_with_the_published_table_alone_is_served() {
    assert_eq!(opened(None, Some(2)), Ok(Kind::Published));
    // An asynchronous table of another version is none.
    assert_eq!(opened(Some(7), Some(2)), Ok(Kind::Published));
}

#[test]
fn a_bus_with_neither_or_with_older_tables_is_refused() {
    assert_eq!(opened(None, None), Err(Status::NOT_SUPPORTED));
    assert_eq!(opened(None, Some(1)), Err(Status::REVISION_MISMATCH));
}
