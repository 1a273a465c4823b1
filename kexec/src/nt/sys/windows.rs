// SPDX-License-Identifier: BSD-2-Clause
//! The NT functions on Windows: wdk-sys's imports with our structure views in their signatures.
#![expect(unsafe_code, reason = "foreign functions and privileged instructions")]
#![expect(non_snake_case, reason = "the names of the NT headers")]
#![expect(
    clippy::missing_safety_doc,
    reason = "raw NT functions; their contract is the platform's documentation"
)]

use core::arch::asm;
use core::ffi::{c_char, c_void};
use core::sync::atomic::AtomicU64;

use super::*;

macro_rules! hole {
    ($ty:ty) => {
        _
    };
}

/// Retypes wdk-sys's declarations: arity and ABI are checked by the cast, sizes of the structures by the assertions below.
macro_rules! imports {
    ($(fn $name:ident($($arg:ident: $ty:ty),*) $(-> $ret:ty)?;)*) => { $(
        #[inline(always)]
        pub unsafe fn $name($($arg: $ty),*) $(-> $ret)? {
            let import = wdk_sys::ntddk::$name as unsafe extern "C" fn($(hole!($ty)),*) -> _;
            // SAFETY: same number of arguments and ABI (cast above); every argument has the size and register class of wdk-sys's.
            let import: unsafe extern "C" fn($($ty),*) $(-> $ret)? = unsafe { core::mem::transmute(import) };
            // SAFETY: the caller upholds the documented contract of the function.
            unsafe { import($($arg),*) }
        }
    )* };
}

imports! {
    fn KeAcquireSpinLockRaiseToDpc(lock: *mut usize) -> KIRQL;
    fn KeReleaseSpinLock(lock: *mut usize, irql: KIRQL);
    fn KeAcquireSpinLockAtDpcLevel(lock: *mut usize);
    fn KeReleaseSpinLockFromDpcLevel(lock: *mut usize);
    fn KeAcquireInStackQueuedSpinLock(lock: *mut usize, handle: *mut KLOCK_QUEUE_HANDLE);
    fn KeReleaseInStackQueuedSpinLock(handle: *mut KLOCK_QUEUE_HANDLE);
    fn KeEnterCriticalRegion();
    fn KeLeaveCriticalRegion();
    fn ExAcquireFastMutexUnsafe(mutex: *mut FAST_MUTEX);
    fn ExReleaseFastMutexUnsafe(mutex: *mut FAST_MUTEX);
    fn KeRegisterProcessorChangeCallback(routine: Option<PROCESSOR_CALLBACK_FUNCTION>, context: PVOID, flags: u32) -> PVOID;
    fn KeDeregisterProcessorChangeCallback(handle: PVOID);
    fn KeInitializeEvent(event: *mut KEVENT, kind: u32, state: u8);
    fn KeSetEvent(event: *mut KEVENT, increment: i32, wait: u8) -> i32;
    fn KeClearEvent(event: *mut KEVENT);
    fn KeWaitForSingleObject(object: PVOID, reason: u32, mode: i8, alertable: u8, timeout: *mut i64) -> NTSTATUS;
    fn KeInitializeDpc(dpc: *mut KDPC, routine: Option<PKDEFERRED_ROUTINE>, context: PVOID);
    fn KeInsertQueueDpc(dpc: *mut KDPC, arg1: PVOID, arg2: PVOID) -> u8;
    fn KeRemoveQueueDpc(dpc: *mut KDPC) -> u8;
    fn KeSetImportanceDpc(dpc: *mut KDPC, importance: u32);
    fn KeFlushQueuedDpcs();
    fn KeInitializeTimerEx(timer: *mut KTIMER, kind: u32);
    fn KeSetTimerEx(timer: *mut KTIMER, due: i64, period: i32, dpc: *mut KDPC) -> u8;
    fn KeCancelTimer(timer: *mut KTIMER) -> u8;
    fn ExFreePoolWithTag(block: PVOID, tag: u32);
    fn ExFreePool(block: PVOID);
    fn PsCreateSystemThread(handle: *mut HANDLE, access: u32, attributes: *mut OBJECT_ATTRIBUTES, process: HANDLE, client: PVOID, start: Option<PKSTART_ROUTINE>, context: PVOID) -> NTSTATUS;
    fn ObReferenceObjectByHandle(handle: HANDLE, access: u32, kind: PVOID, mode: i8, object: *mut PVOID, information: PVOID) -> NTSTATUS;
    fn ObfReferenceObject(object: PVOID) -> isize;
    fn ObfDereferenceObject(object: PVOID) -> isize;
    fn ZwClose(handle: HANDLE) -> NTSTATUS;
    fn KeQueryPerformanceCounter(frequency: *mut i64) -> i64;
    fn KeGetCurrentProcessorNumberEx(number: *mut PROCESSOR_NUMBER) -> u32;
    fn KeQueryActiveProcessorCountEx(group: u16) -> u32;
    fn KeQueryMaximumProcessorCountEx(group: u16) -> u32;
    fn KeGetProcessorNumberFromIndex(index: u32, number: *mut PROCESSOR_NUMBER) -> NTSTATUS;
    fn KeSetTargetProcessorDpcEx(dpc: *mut KDPC, number: *mut PROCESSOR_NUMBER) -> NTSTATUS;
    fn KeSetSystemGroupAffinityThread(affinity: *mut GROUP_AFFINITY, previous: *mut GROUP_AFFINITY);
    fn KeRevertToUserGroupAffinityThread(previous: *mut GROUP_AFFINITY);
    fn IoSizeofWorkItem() -> u32;
    fn IoInitializeWorkItem(object: PVOID, item: PVOID);
    fn IoUninitializeWorkItem(item: PVOID);
    fn IoQueueWorkItem(item: PVOID, routine: Option<PIO_WORKITEM_ROUTINE>, queue: u32, context: PVOID);
    fn ZwOpenKey(handle: *mut HANDLE, access: u32, attributes: *mut OBJECT_ATTRIBUTES) -> NTSTATUS;
    fn ZwCreateKey(handle: *mut HANDLE, access: u32, attributes: *mut OBJECT_ATTRIBUTES, index: u32, class: *mut UNICODE_STRING, options: u32, disposition: *mut u32) -> NTSTATUS;
    fn ZwQueryValueKey(key: HANDLE, name: *mut UNICODE_STRING, class: u32, data: PVOID, length: u32, result: *mut u32) -> NTSTATUS;
    fn ZwSetValueKey(key: HANDLE, name: *mut UNICODE_STRING, index: u32, kind: u32, data: PVOID, length: u32) -> NTSTATUS;
    fn ZwDeleteValueKey(key: HANDLE, name: *mut UNICODE_STRING) -> NTSTATUS;
    fn ZwEnumerateKey(key: HANDLE, index: u32, class: u32, data: PVOID, length: u32, result: *mut u32) -> NTSTATUS;
    fn MmMapIoSpace(address: i64, length: usize, cache: u32) -> PVOID;
    fn MmUnmapIoSpace(address: PVOID, length: usize);
    fn MmAllocatePagesForMdlEx(low: i64, high: i64, skip: i64, total: usize, cache: u32, flags: u32) -> *mut MDL;
    fn MmFreePagesFromMdl(mdl: *mut MDL);
    fn MmMapLockedPagesSpecifyCache(mdl: *mut MDL, mode: i8, cache: u32, base: PVOID, bugcheck: u32, priority: u32) -> PVOID;
    fn MmUnmapLockedPages(base: PVOID, mdl: *mut MDL);
    fn MmAllocateContiguousMemorySpecifyCache(bytes: usize, low: i64, high: i64, boundary: i64, cache: u32) -> PVOID;
    fn MmFreeContiguousMemory(base: PVOID);
    fn MmGetPhysicalAddress(base: PVOID) -> i64;
    fn MmGetSystemRoutineAddress(name: *mut UNICODE_STRING) -> PVOID;
    fn KeRegisterBugCheckCallback(record: PVOID, routine: Option<PKBUGCHECK_CALLBACK_ROUTINE>, buffer: PVOID, length: u32, component: *mut u8) -> u8;
    fn KeDeregisterBugCheckCallback(record: PVOID) -> u8;
    fn IoConnectInterruptEx(parameters: *mut IO_CONNECT_INTERRUPT_PARAMETERS) -> NTSTATUS;
    fn IoDisconnectInterruptEx(parameters: *mut IO_DISCONNECT_INTERRUPT_PARAMETERS);
    fn IoCreateDevice(driver: *mut DRIVER_OBJECT, extension: u32, name: *mut UNICODE_STRING, kind: u32, characteristics: u32, exclusive: u8, device: *mut *mut DEVICE_OBJECT) -> NTSTATUS;
    fn IoDeleteDevice(device: *mut DEVICE_OBJECT);
    fn IoAttachDeviceToDeviceStack(source: *mut DEVICE_OBJECT, target: *mut DEVICE_OBJECT) -> *mut DEVICE_OBJECT;
    fn IoDetachDevice(target: *mut DEVICE_OBJECT);
    fn IoGetAttachedDeviceReference(device: *mut DEVICE_OBJECT) -> *mut DEVICE_OBJECT;
    fn IofCallDriver(device: *mut DEVICE_OBJECT, irp: *mut IRP) -> NTSTATUS;
    fn IofCompleteRequest(irp: *mut IRP, boost: i8);
    fn IoAllocateIrp(stack: i8, quota: u8) -> *mut IRP;
    fn IoFreeIrp(irp: *mut IRP);
    fn IoInvalidateDeviceRelations(device: *mut DEVICE_OBJECT, kind: u32);
    fn IoInitializeRemoveLockEx(lock: *mut IO_REMOVE_LOCK, tag: u32, minutes: u32, high: u32, size: u32);
    fn IoAcquireRemoveLockEx(lock: *mut IO_REMOVE_LOCK, tag: PVOID, file: *const c_char, line: u32, size: u32) -> NTSTATUS;
    fn IoReleaseRemoveLockEx(lock: *mut IO_REMOVE_LOCK, tag: PVOID, size: u32);
    fn IoReleaseRemoveLockAndWaitEx(lock: *mut IO_REMOVE_LOCK, tag: PVOID, size: u32);
}

unsafe extern "C" {
    /// Not in wdk-sys, which offers only its successor; that one needs Windows 10 2004.
    pub fn ExAllocatePoolWithTag(pool: u32, size: usize, tag: u32) -> PVOID;
}

/// `text` must be NUL-terminated; it is printed through `%s`.
pub unsafe fn DbgPrintLine(text: *const c_char) {
    // SAFETY: a literal format with one string argument; the caller gives a NUL-terminated string.
    unsafe { wdk_sys::ntddk::DbgPrint(c"%s".as_ptr().cast(), text) };
}

/// Stops the machine.
pub fn KeBugCheckEx(code: u32, p1: usize, p2: usize, p3: usize, p4: usize) -> ! {
    // SAFETY: callable at any IRQL, and does not return.
    unsafe { wdk_sys::ntddk::KeBugCheckEx(code, p1 as _, p2 as _, p3 as _, p4 as _) };
    #[expect(
        unreachable_code,
        clippy::empty_loop,
        reason = "header sets differ in whether the import is declared noreturn"
    )]
    loop {}
}

pub fn KeGetCurrentIrql() -> KIRQL {
    let level: u64;
    // SAFETY: reading CR8 has no effect.
    unsafe { asm!("mov {}, cr8", out(reg) level, options(nomem, nostack, preserves_flags)) };
    level as KIRQL
}

fn set_irql(level: KIRQL) {
    // SAFETY: kernel mode; levels are paired by the callers. Not `nomem`: accesses must not move across a change of level.
    unsafe { asm!("mov cr8, {}", in(reg) u64::from(level), options(nostack, preserves_flags)) };
}

pub fn KfRaiseIrql(level: KIRQL) -> KIRQL {
    let old = KeGetCurrentIrql();
    set_irql(level);
    old
}

pub fn KeRaiseIrqlToDpcLevel() -> KIRQL {
    KfRaiseIrql(DISPATCH)
}
const DISPATCH: KIRQL = 2;

pub fn KeLowerIrql(level: KIRQL) {
    set_irql(level);
}

/// Whether interrupts were on.
pub fn disable_interrupts() -> bool {
    let flags: u64;
    // SAFETY: kernel mode. Not `nomem`: accesses must not move across it. The stack is used, and balanced.
    unsafe { asm!("pushfq", "pop {}", "cli", out(reg) flags) };
    flags & 1 << 9 != 0
}

pub fn enable_interrupts() {
    // SAFETY: kernel mode; paired with `disable_interrupts`, which found them on.
    unsafe { asm!("sti", options(nostack)) };
}

/// What interrupt time lacks while the clock interrupt stands still, in 100 ns units; zero otherwise. Set by one processor alone.
pub fn with_clock_lag<T>(f: impl FnOnce(&AtomicU64) -> T) -> T {
    static LAG: AtomicU64 = AtomicU64::new(0);
    f(&LAG)
}

pub fn KeGetCurrentThread() -> PVOID {
    let thread: PVOID;
    // SAFETY: gs:[188h] is the current thread on every x64 version.
    unsafe {
        asm!("mov {}, gs:[0x188]", out(reg) thread, options(nostack, preserves_flags, readonly))
    };
    thread
}

/// KUSER_SHARED_DATA, mapped read-only at a fixed address on every x64 version.
const SHARED: usize = 0xFFFF_F780_0000_0000;

fn shared_u64(offset: usize) -> u64 {
    // SAFETY: always mapped; an aligned 8-byte read is single-copy atomic. SystemTime at 14h is not 8-byte aligned and has its own reader.
    unsafe { core::ptr::read_volatile((SHARED + offset) as *const u64) }
}

fn shared_u32(offset: usize) -> u32 {
    // SAFETY: always mapped and aligned.
    unsafe { core::ptr::read_volatile((SHARED + offset) as *const u32) }
}

pub fn KeQueryInterruptTime() -> u64 {
    shared_u64(0x08)
}

pub fn KeQuerySystemTime() -> u64 {
    loop {
        let high = shared_u32(0x18);
        let low = shared_u32(0x14);
        if high == shared_u32(0x1c) {
            return (u64::from(high) << 32) | u64::from(low);
        }
    }
}

pub fn cpu_relax() {
    core::hint::spin_loop();
}

/// One instruction that does nothing, which an emulator finds by its displacement.
#[inline(always)]
pub fn probe<const DISPLACEMENT: u32>() {
    // SAFETY: a NOP computes the address of its operand and does not access it.
    unsafe {
        asm!("nop dword ptr [rax + {}]", const DISPLACEMENT, options(nomem, nostack, preserves_flags));
    }
}

macro_rules! same_size {
    ($($ty:ident $kit:ident;)*) => { $(
        const _: () = assert!(size_of::<$ty>() == size_of::<wdk_sys::$kit>(), stringify!($ty));
    )* };
}

same_size! {
    FAST_MUTEX FAST_MUTEX; KLOCK_QUEUE_HANDLE KLOCK_QUEUE_HANDLE; KEVENT KEVENT; KDPC KDPC; KTIMER KTIMER; UNICODE_STRING UNICODE_STRING; OBJECT_ATTRIBUTES OBJECT_ATTRIBUTES; MDL MDL;
    PROCESSOR_NUMBER PROCESSOR_NUMBER; GROUP_AFFINITY GROUP_AFFINITY; IRP IRP; IO_STACK_LOCATION IO_STACK_LOCATION;
    DRIVER_OBJECT DRIVER_OBJECT; DEVICE_OBJECT DEVICE_OBJECT; DRIVER_EXTENSION DRIVER_EXTENSION; IO_STATUS_BLOCK IO_STATUS_BLOCK;
    IO_CONNECT_INTERRUPT_PARAMETERS IO_CONNECT_INTERRUPT_PARAMETERS; DEVICE_CAPABILITIES DEVICE_CAPABILITIES;
    CM_PARTIAL_RESOURCE_DESCRIPTOR CM_PARTIAL_RESOURCE_DESCRIPTOR; IO_RESOURCE_DESCRIPTOR IO_RESOURCE_DESCRIPTOR;
    KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT; CM_RESOURCE_LIST CM_RESOURCE_LIST; IO_RESOURCE_REQUIREMENTS_LIST IO_RESOURCE_REQUIREMENTS_LIST; DEVICE_RELATIONS DEVICE_RELATIONS;
}

/// `PsThreadType`'s value: the object type that a thread handle must have.
pub fn thread_object_type() -> PVOID {
    // No type check: the handle was just made by PsCreateSystemThread.
    core::ptr::null_mut::<c_void>()
}

/// This processor, as a number that is never zero; stable at DISPATCH_LEVEL.
pub fn runner_at_dispatch() -> usize {
    // SAFETY: NULL means that the number is not wanted.
    unsafe { KeGetCurrentProcessorNumberEx(core::ptr::null_mut()) as usize + 1 }
}

/// Waits for about a millisecond.
pub fn pause(level: crate::Passive) {
    crate::nt::delay(level, crate::Duration::from_millis(1));
}

/// Whether this thread is unwinding from a panic: never here, a panic is the end.
pub const fn unwinding() -> bool {
    false
}
