// SPDX-License-Identifier: BSD-2-Clause
//! What a PCI function's physical device object answers: ids, capabilities, requirements, and the bus
//! interface over its configuration space.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::bus;
use super::config::Function;
use crate::ex;
use crate::mem::Ptr;
use crate::rtl::guid::Guid;

const TAG: u32 = u32::from_le_bytes(*b"PciB");
/// `GUID_BUS_INTERFACE_STANDARD`.
const BUS_INTERFACE: Guid = Guid::new(
    0x496B_8280,
    0x6F25,
    0x11D0,
    [0xBE, 0xAF, 0x08, 0x00, 0x2B, 0xE2, 0x09, 0x2F],
);
/// `GUID_BUS_TYPE_PCI`.
const BUS_TYPE: Guid = Guid::new(
    0xC8EB_DFB0,
    0xB510,
    0x11D0,
    [0x80, 0xE5, 0x00, 0xA0, 0xC9, 0x25, 0x42, 0xE3],
);
const INTERFACE_SIZE: u16 = 0x40;
const CONFIG_SPACE: u32 = 0;

/// The strings for a `BUS_QUERY_ID_TYPE`.
pub(super) fn ids(function: Function, which: u32) -> Option<Vec<String>> {
    let (vendor, device) = (function.word(0), function.word(2));
    let class = function.dword(8);
    let revision = class & 0xFF;
    let subsystem = function.dword(0x2C);
    let base = format!("PCI\\VEN_{vendor:04X}&DEV_{device:04X}");
    let full = format!("{base}&SUBSYS_{subsystem:08X}&REV_{revision:02X}");
    Some(match which {
        0 => alloc::vec![full],
        1 => alloc::vec![
            full,
            format!("{base}&SUBSYS_{subsystem:08X}"),
            format!("{base}&CC_{:06X}", class >> 8),
            format!("{base}&CC_{:04X}", class >> 16),
        ],
        2 => alloc::vec![
            format!("{base}&REV_{revision:02X}"),
            base,
            format!("PCI\\VEN_{vendor:04X}&CC_{:06X}", class >> 8),
            format!("PCI\\VEN_{vendor:04X}&CC_{:04X}", class >> 16),
            format!("PCI\\VEN_{vendor:04X}"),
            format!("PCI\\CC_{:06X}", class >> 8),
            format!("PCI\\CC_{:04X}", class >> 16),
        ],
        3 => alloc::vec![format!("{:02X}", function.device << 3 | function.function)],
        _ => return None,
    })
}

/// Fills a `DEVICE_CAPABILITIES`: no sleep, no wake, D0 while the system works.
pub(super) fn capabilities(record: Ptr, address: u32, number: u32) {
    record.set(8, address);
    record.set(0xC, number);
    for state in 0..7 {
        // PowerDeviceD0 in PowerSystemWorking, PowerDeviceD3 asleep, unspecified before.
        let power: u32 = match state {
            0 => 0,
            1 => 1,
            _ => 4,
        };
        record.set(0x10 + 4 * state, power);
    }
}

/// Builds the `IO_RESOURCE_REQUIREMENTS_LIST`: the BARs, then the line interrupt.
pub(super) fn requirements(function: Function) -> Ptr {
    let bars = function.bars();
    let line = function.gsi();
    let count = bars.len() + usize::from(line.is_some());
    let size = 0x28 + 0x20 * count.max(1);
    let list = ex::pool::allocate(size, TAG);
    if list.is_null() {
        return list;
    }
    list.fill(0, size);
    list.set(0, size as u32);
    list.set(4, 5u32);
    list.set(0xC, u32::from(function.device));
    list.set(0x1C, 1u32);
    let first = list.add(0x20);
    first.set(0, 1u16);
    first.set(2, 1u16);
    first.set(4, count as u32);
    for (index, bar) in bars.iter().enumerate() {
        let at = first.add(8 + 0x20 * index);
        at.set(1, if bar.port { 1u8 } else { 3 });
        at.set(2, 1u8);
        // CM_RESOURCE_PORT_IO with 16-bit decode, or CM_RESOURCE_MEMORY_READ_WRITE with prefetch.
        let flags: u16 = if bar.port {
            0x11
        } else {
            u16::from(bar.prefetchable) << 2
        };
        at.set(4, flags);
        at.set(8, bar.length as u32);
        at.set(0xC, bar.length as u32);
        at.set(0x10, bar.base);
        at.set(0x18, bar.base + bar.length - 1);
    }
    if let Some(line) = line {
        let at = first.add(8 + 0x20 * bars.len());
        at.set(1, 2u8);
        at.set(2, 3u8);
        at.set(8, line);
        at.set(0xC, line);
    }
    list
}

/// Builds the `PNP_BUS_INFORMATION`.
pub(super) fn bus_information() -> Ptr {
    let record = ex::pool::allocate(24, TAG);
    if !record.is_null() {
        crate::rtl::write_guid(record, &BUS_TYPE);
        record.set(16, 5u32);
        record.set(20, 0u32);
    }
    record
}

/// Reads or writes configuration space; the number of bytes moved.
pub(super) fn access(
    function: Function,
    write: bool,
    buffer: Ptr,
    offset: u32,
    length: u32,
) -> u32 {
    let offset = offset as usize;
    let length = (length as usize).min(256usize.saturating_sub(offset));
    if write {
        function.write(offset, &buffer.to_vec(length));
    } else {
        let mut bytes = alloc::vec![0; length];
        function.read(offset, &mut bytes);
        buffer.copy_from(&bytes);
    }
    length as u32
}

/// Answers a query for the bus interface; `false` when it is for something else.
pub(super) fn fill_interface(object: Ptr, parameters: Ptr) -> bool {
    let wanted = crate::rtl::read_guid(parameters.ptr(0));
    let size: u16 = parameters.get(8);
    if wanted != BUS_INTERFACE || size < INTERFACE_SIZE {
        return false;
    }
    let table = parameters.ptr(0x10);
    table.set(0, INTERFACE_SIZE);
    table.set(2, 1u16);
    let routines: [*const (); 6] = [
        reference as *const (),
        dereference as *const (),
        translate as *const (),
        no_adapter as *const (),
        set_data as *const (),
        get_data as *const (),
    ];
    table.set(8, object);
    for (index, routine) in routines.into_iter().enumerate() {
        table.set(0x10 + 8 * index, Ptr(routine as usize));
    }
    reference(object);
    true
}

extern "win64" fn reference(context: Ptr) {
    crate::ob::reference(context);
}

extern "win64" fn dereference(context: Ptr) {
    crate::ob::dereference(context);
}

extern "win64" fn translate(
    _context: Ptr,
    _address: u64,
    _length: u32,
    _space: Ptr,
    _to: Ptr,
) -> u8 {
    0
}

extern "win64" fn no_adapter(_context: Ptr, _description: Ptr, _registers: Ptr) -> Ptr {
    Ptr::NULL
}

extern "win64" fn set_data(context: Ptr, kind: u32, buffer: Ptr, offset: u32, length: u32) -> u32 {
    match bus::function_of(context) {
        Some(function) if kind == CONFIG_SPACE => access(function, true, buffer, offset, length),
        _ => 0,
    }
}

extern "win64" fn get_data(context: Ptr, kind: u32, buffer: Ptr, offset: u32, length: u32) -> u32 {
    match bus::function_of(context) {
        Some(function) if kind == CONFIG_SPACE => access(function, false, buffer, offset, length),
        _ => 0,
    }
}
