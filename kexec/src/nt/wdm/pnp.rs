// SPDX-License-Identifier: BSD-2-Clause
//! PnP requests of ours, and the structures that answers to PnP requests hand over.

use core::ptr;

use super::device::DevicePtr;
use super::irp::{Irp, Reply, mj, mn, send};
use crate::irql::Passive;
use crate::nt::sys::{self, DEVICE_CAPABILITIES, DEVICE_RELATIONS, NonPagedPoolNx};
use crate::status::{Result, Status};

/// BusQueryDeviceID.
pub const BUS_QUERY_DEVICE_ID: usize = 0;
/// BusQueryHardwareIDs.
pub const BUS_QUERY_HARDWARE_IDS: usize = 1;
/// BusQueryCompatibleIDs.
pub const BUS_QUERY_COMPATIBLE_IDS: usize = 2;
/// BusQueryInstanceID.
pub const BUS_QUERY_INSTANCE_ID: usize = 3;

/// Tag of what is handed to the PnP manager, which frees it without one.
const HANDED_OVER: u32 = u32::from_le_bytes(*b"XPnP");

/// Sends IRP_MJ_PNP `minor` to the device and waits.
///
/// # Safety
/// `parameters` are what the minor function calls for; pointers among them are valid until this returns.
///
/// # Errors
/// Out of memory only; the answer's status is in the [`Reply`].
///
/// # IRQL
/// PASSIVE_LEVEL.
pub unsafe fn send_pnp(
    target: DevicePtr,
    minor: u8,
    parameters: [usize; 4],
    passive: Passive,
) -> Result<Reply> {
    // SAFETY: passed on to the caller.
    unsafe { send(target, (mj::PNP, minor), parameters, None, passive) }
}

/// A string or string list that a lower driver answered with, in 16-bit units including the terminators. Freed on drop.
///
/// # IRQL
/// Any; its drop: <= DISPATCH_LEVEL.
#[derive(Debug)]
pub struct WideText(*mut u16, usize);

impl WideText {
    /// The units, without the last terminator.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn units(&self) -> &[u16] {
        // SAFETY: `measure` counted this many initialised units.
        unsafe { core::slice::from_raw_parts(self.0, self.1) }
    }

    /// The strings of a list (one for a plain string), as 16-bit units without terminators.
    ///
    /// # IRQL
    /// Any.
    pub fn strings(&self) -> impl Iterator<Item = &[u16]> {
        self.units()
            .split(|&unit| unit == 0)
            .filter(|string| !string.is_empty())
    }
}

impl Drop for WideText {
    fn drop(&mut self) {
        // SAFETY: pool that the answering driver gave away.
        unsafe { sys::ExFreePool(self.0.cast()) };
    }
}

/// Longest id list or text that is believed, in 16-bit units (REGSTR_VAL_MAX_HCID_LEN is 1024).
const LONGEST: usize = 4096;

/// Takes over an answer's string: to the first NUL, or to the double NUL of a list.
///
/// # Safety
/// `text` is NULL or a pool block with such a terminated string that is the caller's to free.
unsafe fn take(text: *mut u16, list: bool) -> Result<WideText> {
    if text.is_null() {
        return Err(Status::NOT_SUPPORTED);
    }
    let mut taken = WideText(text, 0);
    // An empty list may be a single NUL: nothing behind it is read.
    let mut previous = 0;
    loop {
        // SAFETY: at or before the terminator, so inside the block.
        let unit = unsafe { text.wrapping_add(taken.1).read() };
        if unit == 0 && (!list || previous == 0) {
            return Ok(taken);
        }
        if taken.1 == LONGEST {
            return Err(Status::INVALID_PARAMETER);
        }
        previous = unit;
        taken.1 += 1;
    }
}

/// Asks `target` for one of its ids (IRP_MN_QUERY_ID); `kind` is a `BUS_QUERY_` number.
///
/// # Errors
/// The answer's status, or `STATUS_NOT_SUPPORTED` when it came without a string.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn query_id(target: DevicePtr, kind: usize, passive: Passive) -> Result<WideText> {
    // SAFETY: the request has this one number as parameter.
    let reply = unsafe { send_pnp(target, mn::QUERY_ID, [kind, 0, 0, 0], passive)? };
    Status::check(reply.status)?;
    // SAFETY: on success the information is such a block, given away by the bus driver.
    unsafe {
        take(
            reply.information as *mut u16,
            matches!(kind, BUS_QUERY_HARDWARE_IDS | BUS_QUERY_COMPATIBLE_IDS),
        )
    }
}

/// Asks `target` for its location text (IRP_MN_QUERY_DEVICE_TEXT, `kind` 1) or description (`kind` 0).
///
/// # Errors
/// The answer's status, or `STATUS_NOT_SUPPORTED` when it came without a string.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn query_text(target: DevicePtr, kind: usize, passive: Passive) -> Result<WideText> {
    // SAFETY: the request has the kind and the locale (English) as parameters.
    let reply = unsafe { send_pnp(target, mn::QUERY_DEVICE_TEXT, [kind, 0x409, 0, 0], passive)? };
    Status::check(reply.status)?;
    // SAFETY: on success the information is such a block, given away by the bus driver.
    unsafe { take(reply.information as *mut u16, false) }
}

/// A string (or, with a second terminator, a list of strings) in pool for whoever sent the request: the number for `Information`.
///
/// Each byte becomes one unit, so the text is ASCII.
///
/// # Errors
/// Out of memory.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn wide_string<'a>(
    strings: impl Iterator<Item = &'a str> + Clone,
    list: bool,
) -> Result<usize> {
    let units = strings.clone().map(|s| s.len() + 1).sum::<usize>() + usize::from(list);
    // SAFETY: callable at this level; the size is not zero.
    let block =
        unsafe { sys::ExAllocatePoolWithTag(NonPagedPoolNx, units.max(1) * 2, HANDED_OVER) }
            .cast::<u16>();
    if block.is_null() {
        return Err(Status::INSUFFICIENT_RESOURCES);
    }
    let mut at = 0;
    let mut put = |unit: u16| {
        // SAFETY: `units` counted every unit that is put.
        unsafe { block.wrapping_add(at).write(unit) };
        at += 1;
    };
    for string in strings {
        string.bytes().for_each(|byte| put(u16::from(byte)));
        put(0);
    }
    if list {
        put(0);
    }
    Ok(block as usize)
}

/// The answer to a relations query: every object referenced, the list in pool for whoever asked. The number for `Information`.
///
/// # Errors
/// Out of memory.
///
/// # IRQL
/// <= DISPATCH_LEVEL.
pub fn relations(objects: &[DevicePtr]) -> Result<usize> {
    let size = size_of::<DEVICE_RELATIONS>() + objects.len() * size_of::<usize>();
    // SAFETY: callable at this level; the size is not zero.
    let list = unsafe { sys::ExAllocatePoolWithTag(NonPagedPoolNx, size, HANDED_OVER) }
        .cast::<DEVICE_RELATIONS>();
    if list.is_null() {
        return Err(Status::INSUFFICIENT_RESOURCES);
    }
    // SAFETY: just allocated, large enough.
    unsafe { (*list).Count = objects.len() as u32 };
    // SAFETY: a field of the block just allocated.
    let first = unsafe { ptr::addr_of_mut!((*list).Objects) }.cast::<*mut sys::DEVICE_OBJECT>();
    for (index, object) in objects.iter().enumerate() {
        core::mem::forget(object.reference());
        // SAFETY: the block has room for all of them.
        unsafe { first.wrapping_add(index).write(object.as_raw()) };
    }
    Ok(list as usize)
}

/// As [`relations`], with the list that a driver above has put into the request in front; that list is consumed, whatever the
/// result. 0 is none.
///
/// # Safety
/// `previous` is 0 or the `Information` of a successful relations query on its way down.
///
/// # Errors
/// Out of memory: what was in `previous` is released.
///
/// # IRQL
/// <= DISPATCH_LEVEL.
pub unsafe fn merge_relations(previous: usize, objects: &[DevicePtr]) -> Result<usize> {
    let old = previous as *mut DEVICE_RELATIONS;
    if old.is_null() {
        return relations(objects);
    }
    // SAFETY: a list, by the contract.
    let count = unsafe { (*old).Count } as usize;
    // SAFETY: as above.
    let first = unsafe { ptr::addr_of_mut!((*old).Objects) }.cast::<*mut sys::DEVICE_OBJECT>();
    // SAFETY: the list has that many objects.
    let before = unsafe { core::slice::from_raw_parts(first, count) };
    let size = size_of::<DEVICE_RELATIONS>() + (count + objects.len()) * size_of::<usize>();
    // SAFETY: callable at this level; the size is not zero.
    let list = unsafe { sys::ExAllocatePoolWithTag(NonPagedPoolNx, size, HANDED_OVER) }
        .cast::<DEVICE_RELATIONS>();
    if list.is_null() {
        for object in before {
            // SAFETY: the list's references are ours to give back.
            unsafe { sys::ObfDereferenceObject(object.cast()) };
        }
        // SAFETY: the list was handed over in pool.
        unsafe { sys::ExFreePool(old.cast()) };
        return Err(Status::INSUFFICIENT_RESOURCES);
    }
    // SAFETY: just allocated, large enough.
    let to = unsafe { ptr::addr_of_mut!((*list).Objects) }.cast::<*mut sys::DEVICE_OBJECT>();
    let mut total = 0;
    // References of the old list move to the new one.
    for object in before {
        // SAFETY: the block has room for all of them.
        unsafe { to.wrapping_add(total).write(*object) };
        total += 1;
    }
    for object in objects {
        if before.contains(&object.as_raw()) {
            continue;
        }
        core::mem::forget(object.reference());
        // SAFETY: the block has room for all of them.
        unsafe { to.wrapping_add(total).write(object.as_raw()) };
        total += 1;
    }
    // SAFETY: just allocated.
    unsafe { (*list).Count = total as u32 };
    // SAFETY: the old list was handed over in pool, and nothing refers to it any more.
    unsafe { sys::ExFreePool(old.cast()) };
    Ok(list as usize)
}

/// A structure in pool for whoever sent the request: the number for `Information`.
///
/// # Errors
/// Out of memory.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn hand_over<T: Copy>(value: T) -> Result<usize> {
    const { assert!(align_of::<T>() <= 16) };
    // SAFETY: callable at this level; the size is not zero.
    let block =
        unsafe { sys::ExAllocatePoolWithTag(NonPagedPoolNx, size_of::<T>().max(1), HANDED_OVER) }
            .cast::<T>();
    if block.is_null() {
        return Err(Status::INSUFFICIENT_RESOURCES);
    }
    // SAFETY: just allocated; pool is 16-byte aligned.
    unsafe { block.write(value) };
    Ok(block as usize)
}

/// Tells the PnP manager to ask the bus whose PDO this is for its children again.
///
/// # IRQL
/// <= DISPATCH_LEVEL.
pub fn invalidate_bus_relations(pdo: DevicePtr) {
    // SAFETY: a valid PDO; BusRelations is 0.
    unsafe { sys::IoInvalidateDeviceRelations(pdo.as_raw(), 0) };
}

/// The parameters of IRP_MN_QUERY_INTERFACE.
///
/// # IRQL
/// As said at each method.
#[derive(Clone, Copy, Debug)]
pub struct QueryInterface {
    guid: *const [u8; 16],
    /// Bytes of the requester's buffer.
    pub size: u16,
    /// Version asked for.
    pub version: u16,
    buffer: *mut u8,
    /// InterfaceSpecificData.
    pub specific: usize,
}

impl QueryInterface {
    /// The parameters of a request with that minor function.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    #[must_use]
    pub fn of(irp: &Irp) -> Option<Self> {
        if (irp.major(), irp.minor()) != (mj::PNP, mn::QUERY_INTERFACE) {
            return None;
        }
        let [guid, packed, buffer, specific] = irp.parameters();
        (guid != 0 && buffer != 0).then_some(Self {
            guid: guid as *const [u8; 16],
            size: packed as u16,
            version: (packed >> 16) as u16,
            buffer: buffer as *mut u8,
            specific,
        })
    }

    /// The interface's GUID as it lies in memory.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn guid(&self) -> [u8; 16] {
        // SAFETY: a requester in the kernel passes a valid GUID; it is read once.
        unsafe { self.guid.read_unaligned() }
    }

    /// Copies a table into the requester's buffer.
    ///
    /// # Errors
    /// `STATUS_BUFFER_OVERFLOW` when the buffer is smaller than the table.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn answer<T: Copy>(&self, table: T) -> Result {
        if usize::from(self.size) < size_of::<T>() {
            return Err(Status::BUFFER_OVERFLOW);
        }
        // SAFETY: the requester's buffer has `size` bytes, checked above.
        unsafe { self.buffer.cast::<T>().write_unaligned(table) };
        Ok(())
    }

    /// Asks `target` for an interface; the answer is the table.
    ///
    /// # Safety
    /// `T` is the repr(C) table of this GUID and version, valid when zeroed.
    ///
    /// # Errors
    /// The answer's status; `STATUS_NOT_SUPPORTED` when nobody below has it.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub unsafe fn ask<T: Copy>(
        target: DevicePtr,
        guid: &[u8; 16],
        version: u16,
        passive: Passive,
    ) -> Result<T> {
        let mut table = core::mem::MaybeUninit::<T>::zeroed();
        let packed = size_of::<T>() | usize::from(version) << 16;
        let parameters = [
            guid.as_ptr() as usize,
            packed,
            table.as_mut_ptr() as usize,
            0,
        ];
        // SAFETY: the parameters of this request; GUID and table outlive the call.
        let reply = unsafe { send_pnp(target, mn::QUERY_INTERFACE, parameters, passive)? };
        Status::check(reply.status)?;
        // SAFETY: zeroed, then filled by the provider (caller's contract).
        Ok(unsafe { table.assume_init() })
    }
}

/// The parameter of IRP_MN_QUERY_CAPABILITIES.
///
/// # IRQL
/// PASSIVE_LEVEL.
#[derive(Debug)]
pub struct Capabilities<'a>(&'a mut DEVICE_CAPABILITIES);

impl<'a> Capabilities<'a> {
    /// The structure of a request with that minor function, when its version is 1.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn of(irp: &'a mut Irp) -> Option<Self> {
        if (irp.major(), irp.minor()) != (mj::PNP, mn::QUERY_CAPABILITIES) {
            return None;
        }
        let pointer = irp.parameters()[0] as *mut DEVICE_CAPABILITIES;
        // SAFETY: NULL is refused; otherwise the sender's structure, ours to fill while we own the IRP.
        let capabilities = unsafe { pointer.as_mut() }?;
        (capabilities.Version == 1
            && usize::from(capabilities.Size) >= size_of::<DEVICE_CAPABILITIES>())
        .then_some(Self(capabilities))
    }

    /// The structure.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn get(&mut self) -> &mut DEVICE_CAPABILITIES {
        self.0
    }
}
