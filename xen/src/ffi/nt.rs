// SPDX-License-Identifier: BSD-2-Clause
//! Kernel functions that only this image needs: printing and its capture, image and processor
//! notifications, bug checks, unwinding.
//!
//! All are in Windows 10 1607; what is newer is looked up when it is needed.

use core::ffi::{c_char, c_void};

use kexec::nt::sys::UNICODE_STRING;

/// `KBUGCHECK_CALLBACK_RECORD`; all the kernel's between registration and its end.
#[repr(C, align(8))]
pub(super) struct BugcheckRecord(pub(super) [u8; 0x40]);

/// The first fields of a `STRING` of bytes.
#[repr(C)]
pub(super) struct AnsiString {
    pub(super) length: u16,
    pub(super) maximum: u16,
    pub(super) buffer: *const u8,
}

/// `IMAGE_INFO`.
#[repr(C)]
pub(super) struct ImageInfo {
    pub(super) properties: u32,
    pub(super) base: *const c_void,
    pub(super) selector: u32,
    pub(super) size: usize,
    pub(super) section: u32,
}

/// `RTL_MODULE_EXTENDED_INFO`, an element of the module list.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct ModuleInfo {
    pub(super) base: u64,
    pub(super) size: u32,
    pub(super) name_offset: u16,
    pub(super) path: [u8; 256],
}

/// `KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT`.
#[repr(C)]
pub(super) struct ProcessorChange {
    pub(super) state: u32,
    pub(super) index: u32,
    pub(super) status: i32,
    pub(super) number: [u8; 4],
}

/// `CONTEXT` of x64.
#[repr(C, align(16))]
pub(super) struct Context(pub(super) [u8; 0x4D0]);

const _: () = {
    assert!(size_of::<BugcheckRecord>() == 0x40);
    assert!(size_of::<ImageInfo>() == 0x28);
    assert!(size_of::<ModuleInfo>() == 0x110);
    assert!(core::mem::offset_of!(ModuleInfo, path) == 0xE);
    assert!(size_of::<ProcessorChange>() == 0x10);
    assert!(size_of::<Context>() == 0x4D0);
};

pub(super) type PrintCallback = unsafe extern "C" fn(*const AnsiString, u32, u32);
pub(super) type BugcheckCallback = unsafe extern "C" fn(*mut c_void, u32);
pub(super) type ImageCallback =
    unsafe extern "C" fn(*const UNICODE_STRING, *mut c_void, *const ImageInfo);
pub(super) type ProcessorCallback =
    unsafe extern "C" fn(*mut c_void, *const ProcessorChange, *mut i32);
pub(super) type ProcessCallback = unsafe extern "C" fn(*mut c_void, *mut c_void, u8);

#[link(name = "ntoskrnl.exe", kind = "raw-dylib", modifiers = "+verbatim")]
unsafe extern "C" {
    pub(super) static InitSafeBootMode: u32;
    pub(super) static KiBugCheckData: [usize; 5];

    pub(super) fn vDbgPrintEx(
        component: u32,
        level: u32,
        format: *const c_char,
        arguments: *const u64,
    ) -> u32;
    pub(super) fn DbgSetDebugFilterState(component: u32, level: u32, state: u8) -> i32;
    pub(super) fn DbgSetDebugPrintCallback(callback: PrintCallback, enable: u8) -> i32;
    pub(super) fn PsSetLoadImageNotifyRoutine(callback: ImageCallback) -> i32;
    pub(super) fn PsRemoveLoadImageNotifyRoutine(callback: ImageCallback) -> i32;
    pub(super) fn PsSetCreateProcessNotifyRoutine(callback: ProcessCallback, remove: u8) -> i32;
    pub(super) fn RtlQueryModuleInformation(
        length: *mut u32,
        unit: u32,
        list: *mut ModuleInfo,
    ) -> i32;
    pub(super) fn KeRegisterProcessorChangeCallback(
        callback: ProcessorCallback,
        context: *mut c_void,
        flags: u32,
    ) -> *mut c_void;
    pub(super) fn KeDeregisterProcessorChangeCallback(handle: *mut c_void);
    pub(super) fn KeRegisterBugCheckCallback(
        record: *mut BugcheckRecord,
        callback: BugcheckCallback,
        buffer: *mut c_void,
        length: u32,
        component: *const u8,
    ) -> u8;
    pub(super) fn KeDeregisterBugCheckCallback(record: *mut BugcheckRecord) -> u8;
    pub(super) fn MmGetPhysicalMemoryRanges() -> *mut [u64; 2];
    pub(super) fn MmIsAddressValid(address: *const c_void) -> u8;
    pub(super) fn RtlCaptureContext(context: *mut Context);
    pub(super) fn RtlLookupFunctionEntry(
        address: u64,
        base: *mut u64,
        history: *mut c_void,
    ) -> *const c_void;
    pub(super) fn RtlVirtualUnwind(
        handler: u32,
        base: u64,
        address: u64,
        function: *const c_void,
        context: *mut Context,
        data: *mut *mut c_void,
        frame: *mut u64,
        pointers: *mut c_void,
    ) -> *const c_void;
}
