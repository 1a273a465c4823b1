// SPDX-License-Identifier: BSD-2-Clause
//! Our own repr(C) views of the NT structures in use (x64), with asserted sizes and offsets.
//!
//! wdk-sys reaches many of these fields through anonymous unions whose names differ between header sets, and it does not exist
//! for other hosts. Under `cfg(windows)` the sizes are asserted against wdk-sys as well (`windows.rs`).
#![expect(
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    reason = "the names of the NT headers"
)]
#![expect(
    missing_docs,
    reason = "fields carry the names of the NT headers and mean what those say"
)]

use core::ffi::c_void;
use core::mem::offset_of;

pub type NTSTATUS = i32;
pub type KIRQL = u8;
pub type HANDLE = *mut c_void;
pub type PVOID = *mut c_void;

macro_rules! layout {
    ($ty:ty, $size:literal $(, $field:ident = $offset:literal)*) => {
        const _: () = assert!(size_of::<$ty>() == $size);
        $(const _: () = assert!(offset_of!($ty, $field) == $offset);)*
    };
}
pub(crate) use layout;

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct LIST_ENTRY {
    pub Flink: *mut LIST_ENTRY,
    pub Blink: *mut LIST_ENTRY,
}
layout!(LIST_ENTRY, 0x10);

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct DISPATCHER_HEADER {
    pub Type: u8,
    pub Signalling: u8,
    pub Size: u8,
    pub Reserved: u8,
    pub SignalState: i32,
    pub WaitListHead: LIST_ENTRY,
}
layout!(DISPATCHER_HEADER, 0x18, SignalState = 4, WaitListHead = 8);

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct KEVENT {
    pub Header: DISPATCHER_HEADER,
}
layout!(KEVENT, 0x18);

pub type PKDEFERRED_ROUTINE = unsafe extern "C" fn(*mut KDPC, PVOID, PVOID, PVOID);

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct KDPC {
    pub Type: u8,
    pub Importance: u8,
    pub Number: u16,
    pub Reserved: u32,
    pub DpcListEntry: *mut c_void,
    pub ProcessorHistory: usize,
    pub DeferredRoutine: Option<PKDEFERRED_ROUTINE>,
    pub DeferredContext: PVOID,
    pub SystemArgument1: PVOID,
    pub SystemArgument2: PVOID,
    pub DpcData: PVOID,
}
layout!(
    KDPC,
    0x40,
    DeferredRoutine = 0x18,
    DeferredContext = 0x20,
    DpcData = 0x38
);

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct KTIMER {
    pub Header: DISPATCHER_HEADER,
    pub DueTime: u64,
    pub TimerListEntry: LIST_ENTRY,
    pub Dpc: *mut KDPC,
    pub Processor: u32,
    pub Period: u32,
}
layout!(KTIMER, 0x40, DueTime = 0x18, Dpc = 0x30, Period = 0x3c);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PROCESSOR_NUMBER {
    pub Group: u16,
    pub Number: u8,
    pub Reserved: u8,
}
layout!(PROCESSOR_NUMBER, 4);

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct GROUP_AFFINITY {
    pub Mask: usize,
    pub Group: u16,
    pub Reserved: [u16; 3],
}
layout!(GROUP_AFFINITY, 0x10);

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct UNICODE_STRING {
    pub Length: u16,
    pub MaximumLength: u16,
    pub Buffer: *mut u16,
}
layout!(UNICODE_STRING, 0x10, Buffer = 8);

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct OBJECT_ATTRIBUTES {
    pub Length: u32,
    pub RootDirectory: HANDLE,
    pub ObjectName: *mut UNICODE_STRING,
    pub Attributes: u32,
    pub SecurityDescriptor: PVOID,
    pub SecurityQualityOfService: PVOID,
}
layout!(
    OBJECT_ATTRIBUTES,
    0x30,
    RootDirectory = 8,
    ObjectName = 0x10,
    Attributes = 0x18
);

pub type PKSTART_ROUTINE = unsafe extern "C" fn(PVOID);

#[derive(Debug)]
#[repr(C)]
pub struct MDL {
    pub Next: *mut MDL,
    pub Size: u16,
    pub MdlFlags: u16,
    pub Reserved: u32,
    pub Process: PVOID,
    pub MappedSystemVa: PVOID,
    pub StartVa: PVOID,
    pub ByteCount: u32,
    pub ByteOffset: u32,
}
layout!(
    MDL,
    0x30,
    Size = 8,
    MdlFlags = 0xa,
    MappedSystemVa = 0x18,
    StartVa = 0x20,
    ByteCount = 0x28,
    ByteOffset = 0x2c
);

/// Called with the buffer and its length.
pub type PKBUGCHECK_CALLBACK_ROUTINE = unsafe extern "C" fn(PVOID, u32);

/// FAST_MUTEX: a count, the owner, and the event that its waiters sleep on.
#[derive(Debug)]
#[repr(C)]
pub struct FAST_MUTEX {
    pub Count: i32,
    pub Owner: PVOID,
    pub Contention: u32,
    pub Event: KEVENT,
    pub OldIrql: u32,
}
layout!(
    FAST_MUTEX,
    0x38,
    Owner = 8,
    Contention = 0x10,
    Event = 0x18,
    OldIrql = 0x30
);

/// KLOCK_QUEUE_HANDLE with its KSPIN_LOCK_QUEUE laid flat.
#[derive(Debug)]
#[repr(C)]
pub struct KLOCK_QUEUE_HANDLE {
    pub Next: PVOID,
    pub Lock: *mut usize,
    pub OldIrql: KIRQL,
}
layout!(KLOCK_QUEUE_HANDLE, 0x18, Lock = 8, OldIrql = 0x10);

pub type PKSERVICE_ROUTINE = unsafe extern "C" fn(PVOID, PVOID) -> u8;

/// IO_CONNECT_INTERRUPT_PARAMETERS with the fully specified (version 1 and 4) arm of its union.
#[derive(Debug)]
#[repr(C)]
pub struct IO_CONNECT_INTERRUPT_PARAMETERS {
    pub Version: u32,
    pub PhysicalDeviceObject: *mut super::DEVICE_OBJECT,
    pub InterruptObject: *mut PVOID,
    pub ServiceRoutine: Option<PKSERVICE_ROUTINE>,
    pub ServiceContext: PVOID,
    pub SpinLock: *mut usize,
    pub SynchronizeIrql: KIRQL,
    pub FloatingSave: u8,
    pub ShareVector: u8,
    pub Vector: u32,
    pub Irql: KIRQL,
    pub InterruptMode: u32,
    pub ProcessorEnableMask: usize,
    pub Group: u16,
}
layout!(
    IO_CONNECT_INTERRUPT_PARAMETERS,
    0x50,
    PhysicalDeviceObject = 8,
    InterruptObject = 0x10,
    ServiceRoutine = 0x18,
    ServiceContext = 0x20,
    SpinLock = 0x28,
    SynchronizeIrql = 0x30,
    ShareVector = 0x32,
    Vector = 0x34,
    Irql = 0x38,
    InterruptMode = 0x3c,
    ProcessorEnableMask = 0x40,
    Group = 0x48
);

#[derive(Debug)]
#[repr(C)]
pub struct IO_DISCONNECT_INTERRUPT_PARAMETERS {
    pub Version: u32,
    pub ConnectionContext: PVOID,
}
layout!(IO_DISCONNECT_INTERRUPT_PARAMETERS, 0x10);

#[derive(Debug)]
#[repr(C)]
pub struct KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT {
    pub State: u32,
    pub NtNumber: u32,
    pub Status: NTSTATUS,
    pub ProcNumber: PROCESSOR_NUMBER,
}
layout!(KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT, 0x10);

pub type PIO_WORKITEM_ROUTINE = unsafe extern "C" fn(*mut super::DEVICE_OBJECT, PVOID);
pub type PROCESSOR_CALLBACK_FUNCTION =
    unsafe extern "C" fn(PVOID, *mut KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT, *mut NTSTATUS);

/// NonPagedPoolNx: the only pool type used.
pub const NonPagedPoolNx: u32 = 512;
pub const NotificationEvent: u32 = 0;
pub const SynchronizationEvent: u32 = 1;
