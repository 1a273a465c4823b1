// SPDX-License-Identifier: BSD-2-Clause
//! Console, debug callbacks and unplug requests over scripted tables.

use core::ffi::{CStr, c_char, c_void};
use core::future::Future;
use core::pin::pin;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Waker};
use std::collections::VecDeque;
use std::string::{String, ToString};
use std::sync::Mutex;
use std::vec::Vec;

use kexec::nt::sys::{self, fake};
use kexec::{Passive, Status};

use super::TAG;
use crate::client::{Console, Debug, Dump, Emulated, Printer, Unplug};
use crate::console::{ConsoleV1, Wakeup};
use crate::debug::{Callback, DebugV1, Function};
use crate::interface::{Interface, KEvent, NtStatus, Table};
use crate::unplug::{DEVICE_TYPE_DISKS, UnplugV3};

#[derive(Default)]
struct Provider {
    references: AtomicUsize,
    input: Mutex<VecDeque<u8>>,
    output: Mutex<Vec<u8>>,
    room: AtomicUsize,
    wakeups: Mutex<Vec<usize>>,
    callbacks: Mutex<Vec<(Function, usize, String)>>,
    lines: Mutex<Vec<String>>,
    requests: Mutex<Vec<(u32, u8)>>,
}

impl Provider {
    fn header<T: Table>(&self) -> Interface {
        Interface::of::<T>(ptr::from_ref(self).cast_mut().cast())
    }

    /// # Safety
    /// `this` is a copy of one of the provider's tables.
    unsafe fn of<'a>(this: *mut Interface) -> &'a Self {
        // SAFETY: by the contract.
        let context = unsafe { (*this).context };
        // SAFETY: the provider outlives what is made from it.
        unsafe { &*context.cast::<Self>() }
    }

    fn console(&self) -> ConsoleV1 {
        ConsoleV1 {
            interface: self.header::<ConsoleV1>(),
            acquire,
            release,
            can_read,
            read,
            can_write,
            write,
            wakeup_add,
            wakeup_remove,
        }
    }

    fn debug(&self) -> DebugV1 {
        // SAFETY: called with a string after the format only; the extra register is ignored by the callee's ABI.
        let printf =
            unsafe { core::mem::transmute::<*const (), crate::debug::Printf>(printf as *const ()) };
        DebugV1 {
            interface: self.header::<DebugV1>(),
            acquire,
            release,
            register,
            printf,
            trigger,
            deregister,
        }
    }

    fn unplug(&self) -> UnplugV3 {
        UnplugV3 {
            interface: self.header::<UnplugV3>(),
            acquire,
            release,
            request,
            is_requested,
            boot_emulated,
            reboot,
        }
    }

    /// The daemon has read and written.
    fn event(&self) {
        for &event in &*self.wakeups.lock().expect("lock") {
            // SAFETY: registered, so alive.
            unsafe { sys::KeSetEvent(event as *mut sys::KEVENT, 0, 0) };
        }
    }
}

unsafe extern "C" fn acquire(this: *mut Interface) -> NtStatus {
    // SAFETY: called with the table.
    let provider = unsafe { Provider::of(this) };
    if provider.room.load(Ordering::SeqCst) == usize::MAX {
        return Status::DEVICE_NOT_READY.raw();
    }
    provider.references.fetch_add(1, Ordering::SeqCst);
    0
}

unsafe extern "C" fn release(this: *mut Interface) {
    // SAFETY: called with the table.
    let provider = unsafe { Provider::of(this) };
    provider.references.fetch_sub(1, Ordering::SeqCst);
}

unsafe extern "C" fn can_read(this: *mut Interface) -> u8 {
    // SAFETY: called with the table.
    let provider = unsafe { Provider::of(this) };
    u8::from(!provider.input.lock().expect("lock").is_empty())
}

unsafe extern "C" fn read(this: *mut Interface, data: *mut c_char, length: u32) -> u32 {
    // SAFETY: called with the table.
    let provider = unsafe { Provider::of(this) };
    let mut input = provider.input.lock().expect("lock");
    let count = input.len().min(length as usize);
    for (index, byte) in input.drain(..count).enumerate() {
        // SAFETY: within the buffer.
        let at = unsafe { data.cast::<u8>().add(index) };
        // SAFETY: as above.
        unsafe { at.write(byte) };
    }
    count as u32
}

unsafe extern "C" fn can_write(this: *mut Interface) -> u8 {
    // SAFETY: called with the table.
    let provider = unsafe { Provider::of(this) };
    u8::from(provider.room.load(Ordering::SeqCst) > 0)
}

unsafe extern "C" fn write(this: *mut Interface, data: *const c_char, length: u32) -> u32 {
    // SAFETY: called with the table.
    let provider = unsafe { Provider::of(this) };
    let count = provider.room.load(Ordering::SeqCst).min(length as usize);
    provider.room.fetch_sub(count, Ordering::SeqCst);
    // SAFETY: the buffer of the call.
    let data = unsafe { core::slice::from_raw_parts(data.cast::<u8>(), count) };
    provider.output.lock().expect("lock").extend(data);
    count as u32
}

unsafe extern "C" fn wakeup_add(
    this: *mut Interface,
    event: *mut KEvent,
    wakeup: *mut *mut Wakeup,
) -> NtStatus {
    // SAFETY: called with the table.
    let provider = unsafe { Provider::of(this) };
    provider.wakeups.lock().expect("lock").push(event as usize);
    // SAFETY: the caller's variable.
    unsafe { wakeup.write(event.cast()) };
    0
}

unsafe extern "C" fn wakeup_remove(this: *mut Interface, wakeup: *mut Wakeup) {
    // SAFETY: called with the table.
    let provider = unsafe { Provider::of(this) };
    let mut wakeups = provider.wakeups.lock().expect("lock");
    wakeups.retain(|&event| event != wakeup as usize);
}

unsafe extern "C" fn register(
    this: *mut Interface,
    prefix: *const c_char,
    function: Option<Function>,
    argument: *mut c_void,
    callback: *mut *mut Callback,
) -> NtStatus {
    // SAFETY: called with the table.
    let provider = unsafe { Provider::of(this) };
    // SAFETY: the caller's string.
    let prefix = unsafe { CStr::from_ptr(prefix) }.to_string_lossy();
    let entry = (
        function.expect("a function"),
        argument as usize,
        prefix.to_string(),
    );
    provider.callbacks.lock().expect("lock").push(entry);
    // SAFETY: the caller's variable.
    unsafe { callback.write(argument.cast()) };
    0
}

unsafe extern "C" fn printf(this: *mut Interface, format: *const c_char, text: *const c_char) {
    // SAFETY: called with the table.
    let provider = unsafe { Provider::of(this) };
    // SAFETY: the caller's string.
    assert_eq!(unsafe { CStr::from_ptr(format) }, c"%s\n");
    // SAFETY: the caller's string.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    provider.lines.lock().expect("lock").push(text.to_string());
}

unsafe extern "C" fn trigger(this: *mut Interface, callback: *mut Callback) {
    // SAFETY: called with the table.
    let provider = unsafe { Provider::of(this) };
    let callbacks = provider.callbacks.lock().expect("lock").clone();
    for (function, argument, _) in callbacks {
        if callback.is_null() || callback as usize == argument {
            // SAFETY: registered, so callable.
            unsafe { function(argument as *mut c_void, 0) };
        }
    }
}

unsafe extern "C" fn deregister(this: *mut Interface, callback: *mut Callback) {
    // SAFETY: called with the table.
    let provider = unsafe { Provider::of(this) };
    let mut callbacks = provider.callbacks.lock().expect("lock");
    callbacks.retain(|(_, argument, _)| *argument != callback as usize);
}

unsafe extern "C" fn request(this: *mut Interface, kind: u32, make: u8) {
    // SAFETY: called with the table.
    let provider = unsafe { Provider::of(this) };
    provider.requests.lock().expect("lock").push((kind, make));
}

unsafe extern "C" fn is_requested(_: *mut Interface, kind: u32) -> u8 {
    u8::from(kind == DEVICE_TYPE_DISKS)
}

unsafe extern "C" fn boot_emulated(_: *mut Interface) -> u8 {
    0
}

unsafe extern "C" fn reboot(this: *mut Interface, module: *const c_char) {
    // SAFETY: called with the table.
    let provider = unsafe { Provider::of(this) };
    // SAFETY: the caller's string.
    let module = unsafe { CStr::from_ptr(module) }.to_string_lossy();
    provider
        .lines
        .lock()
        .expect("lock")
        .push(module.to_string());
}

#[test]
fn a_read_waits_for_bytes_and_a_write_for_room() {
    let _session = fake::boot();
    let provider = Provider::default();
    // SAFETY: the provider outlives it.
    let console = unsafe { Console::from_table(provider.console()) }.expect("taken");
    {
        let changes = console.changes(TAG, Passive::assert()).expect("memory");
        let mut data = [0; 8];
        let mut cx = Context::from_waker(Waker::noop());
        {
            let mut read = pin!(changes.read(&mut data));
            assert!(read.as_mut().poll(&mut cx).is_pending());
            provider.input.lock().expect("lock").extend(b"abc");
            provider.event();
            assert_eq!(kexec::block_on(Passive::assert(), read), Ok(3));
        }
        assert_eq!(&data[..3], b"abc");
        let (count, waker) = super::Count::new();
        {
            let mut abandoned = pin!(changes.read(&mut data));
            let polled = abandoned.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
        drop(waker);
        assert_eq!(std::sync::Arc::strong_count(&count), 1, "a waker is left");
        provider.room.store(2, Ordering::SeqCst);
        let mut write = pin!(changes.write_all(b"hello"));
        assert!(write.as_mut().poll(&mut cx).is_pending());
        provider.room.store(10, Ordering::SeqCst);
        provider.event();
        assert_eq!(kexec::block_on(Passive::assert(), write), Ok(()));
        assert_eq!(*provider.output.lock().expect("lock"), b"hello");
        assert!(console.can_write() && !console.can_read());
    }
    assert!(provider.wakeups.lock().expect("lock").is_empty());
    drop(console);
    assert_eq!(provider.references.load(Ordering::SeqCst), 0);
}

#[test]
fn a_console_that_is_refused_holds_no_reference() {
    let _session = fake::boot();
    let provider = Provider::default();
    provider.room.store(usize::MAX, Ordering::SeqCst);
    // SAFETY: the provider outlives it.
    let console = unsafe { Console::from_table(provider.console()) };
    assert_eq!(console.err(), Some(Status::DEVICE_NOT_READY));
    assert_eq!(provider.references.load(Ordering::SeqCst), 0);
}

struct State(AtomicUsize);

impl Dump for State {
    fn dump(&self, out: &Printer<'_>, crashing: bool) {
        let n = self.0.fetch_add(1, Ordering::SeqCst);
        out.line(format_args!("call {n} 100% crashing {crashing}"));
    }
}

#[test]
fn a_callback_prints_until_it_is_dropped() {
    let _session = fake::boot();
    let provider = Provider::default();
    // SAFETY: the provider outlives it.
    let debug = unsafe { Debug::from_table(provider.debug()) }.expect("taken");
    let prefix = "a prefix that is much longer than allowed";
    let callback = debug
        .register(TAG, prefix, State(AtomicUsize::new(0)))
        .expect("memory");
    callback.trigger();
    debug.trigger_all();
    assert_eq!(callback.state().0.load(Ordering::SeqCst), 2);
    assert_eq!(
        *provider.lines.lock().expect("lock"),
        ["call 0 100% crashing false", "call 1 100% crashing false"]
    );
    assert_eq!(provider.callbacks.lock().expect("lock")[0].2, prefix[..31]);
    drop(callback);
    debug.trigger_all();
    assert_eq!(provider.lines.lock().expect("lock").len(), 2);
}

#[test]
fn unplug_requests_carry_the_kind_and_the_direction() {
    let _session = fake::boot();
    let provider = Provider::default();
    let passive = Passive::assert();
    // SAFETY: the provider outlives it.
    let unplug = unsafe { Unplug::from_table(provider.unplug()) }.expect("taken");
    unplug.request(Emulated::Nics, passive);
    unplug.withdraw(Emulated::Disks, passive);
    assert_eq!(*provider.requests.lock().expect("lock"), [(1, 1), (2, 0)]);
    assert!(unplug.is_requested(Emulated::Disks, passive));
    assert!(!unplug.is_requested(Emulated::Nics, passive));
    assert!(!unplug.boot_emulated(passive));
    unplug.reboot(c"xenprobe", passive);
    assert_eq!(*provider.lines.lock().expect("lock"), ["xenprobe"]);
}
