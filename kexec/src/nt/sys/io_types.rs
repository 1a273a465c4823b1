// SPDX-License-Identifier: BSD-2-Clause
//! Views of the I/O manager's structures: drivers, devices, IRPs, stack locations (x64).
#![expect(
    non_camel_case_types,
    non_snake_case,
    reason = "the names of the NT headers"
)]
#![expect(
    missing_docs,
    reason = "fields carry the names of the NT headers and mean what those say"
)]

use core::mem::offset_of;

use super::types::{KIRQL, LIST_ENTRY, MDL, NTSTATUS, PVOID, UNICODE_STRING, layout};

pub type PDRIVER_DISPATCH = unsafe extern "C" fn(*mut DEVICE_OBJECT, *mut IRP) -> NTSTATUS;
pub type PDRIVER_UNLOAD = unsafe extern "C" fn(*mut DRIVER_OBJECT);
pub type PDRIVER_ADD_DEVICE =
    unsafe extern "C" fn(*mut DRIVER_OBJECT, *mut DEVICE_OBJECT) -> NTSTATUS;
pub type PIO_COMPLETION_ROUTINE =
    unsafe extern "C" fn(*mut DEVICE_OBJECT, *mut IRP, PVOID) -> NTSTATUS;

#[derive(Debug)]
#[repr(C)]
pub struct DRIVER_EXTENSION {
    pub DriverObject: *mut DRIVER_OBJECT,
    pub AddDevice: Option<PDRIVER_ADD_DEVICE>,
    pub Count: u32,
    pub ServiceKeyName: UNICODE_STRING,
}
layout!(
    DRIVER_EXTENSION,
    0x28,
    AddDevice = 8,
    Count = 0x10,
    ServiceKeyName = 0x18
);

#[derive(Debug)]
#[repr(C)]
pub struct DRIVER_OBJECT {
    pub Type: i16,
    pub Size: i16,
    pub DeviceObject: *mut DEVICE_OBJECT,
    pub Flags: u32,
    pub DriverStart: PVOID,
    pub DriverSize: u32,
    pub DriverSection: PVOID,
    pub DriverExtension: *mut DRIVER_EXTENSION,
    pub DriverName: UNICODE_STRING,
    pub HardwareDatabase: *mut UNICODE_STRING,
    pub FastIoDispatch: PVOID,
    pub DriverInit: PVOID,
    pub DriverStartIo: PVOID,
    pub DriverUnload: Option<PDRIVER_UNLOAD>,
    pub MajorFunction: [Option<PDRIVER_DISPATCH>; 28],
}
layout!(
    DRIVER_OBJECT,
    0x150,
    DeviceObject = 8,
    DriverStart = 0x18,
    DriverSize = 0x20,
    DriverSection = 0x28,
    DriverExtension = 0x30,
    DriverName = 0x38,
    DriverInit = 0x58,
    DriverUnload = 0x68,
    MajorFunction = 0x70
);

#[derive(Debug)]
#[repr(C)]
pub struct DEVICE_OBJECT {
    pub Type: i16,
    pub Size: u16,
    pub ReferenceCount: i32,
    pub DriverObject: *mut DRIVER_OBJECT,
    pub NextDevice: *mut DEVICE_OBJECT,
    pub AttachedDevice: *mut DEVICE_OBJECT,
    pub CurrentIrp: *mut IRP,
    pub Timer: PVOID,
    pub Flags: u32,
    pub Characteristics: u32,
    pub Vpb: PVOID,
    pub DeviceExtension: PVOID,
    pub DeviceType: u32,
    pub StackSize: i8,
    pub Queue: [u64; 9],
    pub AlignmentRequirement: u32,
    pub DeviceQueue: [u64; 5],
    pub Dpc: [u64; 8],
    pub ActiveThreadCount: u32,
    pub SecurityDescriptor: PVOID,
    pub DeviceLock: [u64; 3],
    pub SectorSize: u16,
    pub Spare1: u16,
    pub DeviceObjectExtension: PVOID,
    pub Reserved: PVOID,
    pub Tail: u64,
}
layout!(
    DEVICE_OBJECT,
    0x150,
    ReferenceCount = 4,
    DriverObject = 8,
    NextDevice = 0x10,
    AttachedDevice = 0x18,
    Flags = 0x30,
    Characteristics = 0x34,
    DeviceExtension = 0x40,
    DeviceType = 0x48,
    StackSize = 0x4c,
    AlignmentRequirement = 0x98,
    DeviceObjectExtension = 0x138
);

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct IO_STATUS_BLOCK {
    pub Status: NTSTATUS,
    pub Information: usize,
}
layout!(IO_STATUS_BLOCK, 0x10, Information = 8);

#[derive(Debug)]
#[repr(C)]
pub struct IRP {
    pub Type: i16,
    pub Size: u16,
    pub MdlAddress: *mut MDL,
    pub Flags: u32,
    pub SystemBuffer: PVOID,
    pub ThreadListEntry: LIST_ENTRY,
    pub IoStatus: IO_STATUS_BLOCK,
    pub RequestorMode: i8,
    pub PendingReturned: u8,
    pub StackCount: i8,
    pub CurrentLocation: i8,
    pub Cancel: u8,
    pub CancelIrql: KIRQL,
    pub ApcEnvironment: i8,
    pub AllocationFlags: u8,
    pub UserIosb: *mut IO_STATUS_BLOCK,
    pub UserEvent: *mut super::types::KEVENT,
    pub Overlay: [u64; 2],
    pub CancelRoutine: PVOID,
    pub UserBuffer: PVOID,
    pub DriverContext: [PVOID; 4],
    pub Thread: PVOID,
    pub AuxiliaryBuffer: PVOID,
    pub ListEntry: LIST_ENTRY,
    pub CurrentStackLocation: *mut IO_STACK_LOCATION,
    pub OriginalFileObject: PVOID,
    pub TailRest: PVOID,
}
layout!(
    IRP,
    0xd0,
    MdlAddress = 8,
    Flags = 0x10,
    SystemBuffer = 0x18,
    IoStatus = 0x30,
    RequestorMode = 0x40,
    PendingReturned = 0x41,
    StackCount = 0x42,
    CurrentLocation = 0x43,
    Cancel = 0x44,
    CancelIrql = 0x45,
    UserIosb = 0x48,
    UserEvent = 0x50,
    CancelRoutine = 0x68,
    UserBuffer = 0x70,
    DriverContext = 0x78,
    Thread = 0x98,
    ListEntry = 0xa8,
    CurrentStackLocation = 0xb8
);

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct IO_STACK_LOCATION {
    pub MajorFunction: u8,
    pub MinorFunction: u8,
    pub Flags: u8,
    pub Control: u8,
    pub Parameters: [usize; 4],
    pub DeviceObject: *mut DEVICE_OBJECT,
    pub FileObject: PVOID,
    pub CompletionRoutine: Option<PIO_COMPLETION_ROUTINE>,
    pub Context: PVOID,
}
layout!(
    IO_STACK_LOCATION,
    0x48,
    Control = 3,
    Parameters = 8,
    DeviceObject = 0x28,
    FileObject = 0x30,
    CompletionRoutine = 0x38,
    Context = 0x40
);

#[derive(Debug)]
#[repr(C)]
pub struct DEVICE_RELATIONS {
    pub Count: u32,
    pub Objects: [*mut DEVICE_OBJECT; 1],
}
layout!(DEVICE_RELATIONS, 0x10, Objects = 8);

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct DEVICE_CAPABILITIES {
    pub Size: u16,
    pub Version: u16,
    pub Bits: u32,
    pub Address: u32,
    pub UINumber: u32,
    pub DeviceState: [i32; 7],
    pub SystemWake: i32,
    pub DeviceWake: i32,
    pub D1Latency: u32,
    pub D2Latency: u32,
    pub D3Latency: u32,
}
layout!(
    DEVICE_CAPABILITIES,
    0x40,
    Bits = 4,
    Address = 8,
    UINumber = 0xc,
    DeviceState = 0x10
);

/// CM_PARTIAL_RESOURCE_DESCRIPTOR: 4-byte packed, so the union is three 32-bit words read through accessors.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CM_PARTIAL_RESOURCE_DESCRIPTOR {
    pub Type: u8,
    pub ShareDisposition: u8,
    pub Flags: u16,
    pub Union: [u32; 4],
}
layout!(CM_PARTIAL_RESOURCE_DESCRIPTOR, 0x14, Flags = 2, Union = 4);

/// CM_RESOURCE_LIST with its first full descriptor laid flat; partial descriptors follow.
#[derive(Debug)]
#[repr(C)]
pub struct CM_RESOURCE_LIST {
    pub Count: u32,
    pub InterfaceType: u32,
    pub BusNumber: u32,
    pub Version: u16,
    pub Revision: u16,
    pub PartialCount: u32,
    pub Descriptors: [CM_PARTIAL_RESOURCE_DESCRIPTOR; 1],
}
layout!(
    CM_RESOURCE_LIST,
    0x28,
    PartialCount = 0x10,
    Descriptors = 0x14
);

/// IO_RESOURCE_DESCRIPTOR.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct IO_RESOURCE_DESCRIPTOR {
    pub Option: u8,
    pub Type: u8,
    pub ShareDisposition: u8,
    pub Spare1: u8,
    pub Flags: u16,
    pub Spare2: u16,
    pub Union: [u32; 6],
}
layout!(IO_RESOURCE_DESCRIPTOR, 0x20, Flags = 4, Union = 8);

/// IO_RESOURCE_REQUIREMENTS_LIST with its first alternative laid flat.
#[derive(Debug)]
#[repr(C)]
pub struct IO_RESOURCE_REQUIREMENTS_LIST {
    pub ListSize: u32,
    pub InterfaceType: u32,
    pub BusNumber: u32,
    pub SlotNumber: u32,
    pub Reserved: [u32; 3],
    pub AlternativeLists: u32,
    pub Version: u16,
    pub Revision: u16,
    pub Count: u32,
    pub Descriptors: [IO_RESOURCE_DESCRIPTOR; 1],
}
layout!(
    IO_RESOURCE_REQUIREMENTS_LIST,
    0x48,
    AlternativeLists = 0x1c,
    Version = 0x20,
    Count = 0x24,
    Descriptors = 0x28
);

/// IO_REMOVE_LOCK (free build), opaque.
#[derive(Debug)]
#[repr(C, align(8))]
pub struct IO_REMOVE_LOCK {
    pub Opaque: [u8; 0x20],
}
layout!(IO_REMOVE_LOCK, 0x20);
