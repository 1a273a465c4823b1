// SPDX-License-Identifier: BSD-2-Clause
//! Offsets of the I/O manager's structures on x64 (nt-imports.md 3.3), by structure.

/// `DRIVER_OBJECT`.
pub mod driver {
    pub const SIZE: usize = 0x150;
    pub const DEVICE: usize = 0x08;
    pub const FLAGS: usize = 0x10;
    pub const START: usize = 0x18;
    pub const IMAGE_SIZE: usize = 0x20;
    pub const EXTENSION: usize = 0x30;
    pub const NAME: usize = 0x38;
    pub const HARDWARE_DATABASE: usize = 0x48;
    pub const INIT: usize = 0x58;
    pub const UNLOAD: usize = 0x68;
    pub const MAJOR: usize = 0x70;
    pub const MAJORS: usize = 28;
    pub const TYPE: u16 = 4;
}

/// `DRIVER_EXTENSION`.
pub mod driver_extension {
    pub const SIZE: usize = 0x50;
    pub const DRIVER: usize = 0x00;
    pub const ADD_DEVICE: usize = 0x08;
    pub const SERVICE_KEY: usize = 0x18;
}

/// `DEVICE_OBJECT`, and the extension of it that the kernel owns.
pub mod device {
    pub const SIZE: usize = 0x150;
    pub const REFERENCE_COUNT: usize = 0x04;
    pub const DRIVER: usize = 0x08;
    pub const NEXT: usize = 0x10;
    pub const ATTACHED: usize = 0x18;
    pub const FLAGS: usize = 0x30;
    pub const CHARACTERISTICS: usize = 0x34;
    pub const EXTENSION: usize = 0x40;
    pub const DEVICE_TYPE: usize = 0x48;
    pub const STACK_SIZE: usize = 0x4C;
    pub const ALIGNMENT: usize = 0x98;
    pub const LOCK: usize = 0x118;
    pub const OBJECT_EXTENSION: usize = 0x138;
    pub const TYPE: u16 = 3;

    pub const KERNEL_SIZE: usize = 0x80;
    pub const KERNEL_DEVICE: usize = 0x08;
    pub const KERNEL_FLAGS: usize = 0x20;
    pub const KERNEL_NODE: usize = 0x28;
    pub const KERNEL_ATTACHED_TO: usize = 0x30;

    pub const DO_DEVICE_HAS_NAME: u32 = 0x40;
    pub const DO_DEVICE_INITIALIZING: u32 = 0x80;
    pub const DO_BUS_ENUMERATED_DEVICE: u32 = 0x1000;
    pub const DO_POWER_PAGABLE: u32 = 0x2000;
    pub const DOE_DELETE_PENDING: u32 = 0x2;
}

/// `IRP`.
pub mod irp {
    pub const SIZE: usize = 0xD0;
    pub const MDL: usize = 0x08;
    pub const FLAGS: usize = 0x10;
    pub const SYSTEM_BUFFER: usize = 0x18;
    pub const THREAD_LIST: usize = 0x20;
    pub const STATUS: usize = 0x30;
    pub const INFORMATION: usize = 0x38;
    pub const REQUESTOR_MODE: usize = 0x40;
    pub const PENDING_RETURNED: usize = 0x41;
    pub const STACK_COUNT: usize = 0x42;
    pub const CURRENT_LOCATION: usize = 0x43;
    pub const CANCEL: usize = 0x44;
    pub const CANCEL_IRQL: usize = 0x45;
    pub const ALLOCATION_FLAGS: usize = 0x47;
    pub const USER_IOSB: usize = 0x48;
    pub const USER_EVENT: usize = 0x50;
    pub const CANCEL_ROUTINE: usize = 0x68;
    pub const USER_BUFFER: usize = 0x70;
    pub const THREAD: usize = 0x98;
    pub const LIST_ENTRY: usize = 0xA8;
    pub const CURRENT_STACK: usize = 0xB8;
    pub const FILE_OBJECT: usize = 0xC0;
    pub const TYPE: u16 = 6;
}

/// `IO_STACK_LOCATION`.
pub mod stack {
    pub const SIZE: usize = 0x48;
    pub const MAJOR: usize = 0x00;
    pub const MINOR: usize = 0x01;
    pub const FLAGS: usize = 0x02;
    pub const CONTROL: usize = 0x03;
    pub const PARAMETERS: usize = 0x08;
    pub const DEVICE: usize = 0x28;
    pub const FILE: usize = 0x30;
    pub const ROUTINE: usize = 0x38;
    pub const CONTEXT: usize = 0x40;

    pub const PENDING: u8 = 0x01;
    pub const ON_CANCEL: u8 = 0x20;
    pub const ON_SUCCESS: u8 = 0x40;
    pub const ON_ERROR: u8 = 0x80;
}

/// Major function codes.
pub mod major {
    pub const CREATE: u8 = 0x00;
    pub const CLOSE: u8 = 0x02;
    pub const READ: u8 = 0x03;
    pub const WRITE: u8 = 0x04;
    pub const DEVICE_CONTROL: u8 = 0x0E;
    pub const INTERNAL_DEVICE_CONTROL: u8 = 0x0F;
    pub const CLEANUP: u8 = 0x12;
    pub const POWER: u8 = 0x16;
    pub const PNP: u8 = 0x1B;
}
