// SPDX-License-Identifier: BSD-2-Clause
//! Debug output and the `printf` family over a Win64 `va_list`.
//!
//! Text goes to the run's log and then to the registered print callbacks, at the caller's IRQL, without a
//! lock held and without an allocation. Wide formats need code page tables that NT pages, so they are
//! reported above `PASSIVE_LEVEL`.

use alloc::string::{String, ToString};
use core::cell::Cell;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::buffer::{NarrowBuffer, WideBuffer};
use super::printf::{Args, Sink, Text, format};
use crate::ke::irql;
use crate::mem::Ptr;
use crate::sync::Lock;
use crate::verifier;

const UNSUCCESSFUL: i32 = 0xC000_0001_u32 as i32;
/// The most that one debug print call emits, as in NT.
const LINE: usize = 512;
const CALLBACKS: usize = 8;
/// `DPFLTR_DEFAULT_ID` and `DPFLTR_INFO_LEVEL`, which plain `DbgPrint` uses.
const DEFAULT: (u32, u32) = (101, 3);

static PRINTERS: Lock<[Ptr; CALLBACKS]> = Lock::new([Ptr::NULL; CALLBACKS]);

/// A `va_list`: consecutive 8-byte slots.
struct VaList {
    next: Ptr,
    wide: Cell<bool>,
}

impl VaList {
    fn new(slots: Ptr) -> Self {
        Self {
            next: slots,
            wide: Cell::new(false),
        }
    }
}

impl Args for VaList {
    fn next(&mut self) -> u64 {
        let slot = self.next.get(0);
        self.next = self.next.add(8);
        slot
    }

    fn byte(&self, address: u64) -> u8 {
        Ptr(address as usize).get(0)
    }

    fn word(&self, address: u64) -> u16 {
        self.wide.set(true);
        Ptr(address as usize).get(0)
    }

    fn pointer(&self, address: u64) -> u64 {
        Ptr(address as usize).get(0)
    }
}

/// A format or output buffer of a driver, as a slice for the time of one call.
fn bytes<'a>(text: Ptr, length: usize) -> &'a mut [u8] {
    if text.is_null() || length == 0 {
        return &mut [];
    }
    // SAFETY: the driver vouches for `length` bytes at `text` until the call returns.
    unsafe { core::slice::from_raw_parts_mut(text.0 as *mut u8, length) }
}

fn words<'a>(text: Ptr, length: usize) -> &'a mut [u16] {
    if text.is_null() || length == 0 {
        return &mut [];
    }
    // SAFETY: the driver vouches for `length` aligned units at `text` until the call returns.
    unsafe { core::slice::from_raw_parts_mut(text.0 as *mut u16, length) }
}

/// Counts what would be written, for a call without a buffer.
struct Nowhere;

impl Sink for Nowhere {
    fn put(&mut self, _unit: u16) {}
}

fn narrow(buffer: Ptr, size: usize, text: Ptr, args: Ptr) -> i32 {
    let text = Text::Narrow(bytes(text, super::crt::strlen(text)));
    let mut args = VaList::new(args);
    if buffer.is_null() && size == 0 {
        return format(&mut Nowhere, text, &mut args) as i32;
    }
    let mut out = NarrowBuffer::new(bytes(buffer, size));
    format(&mut out, text, &mut args);
    out.finish()
}

fn wide(buffer: Ptr, size: usize, text: Ptr, args: Ptr) -> i32 {
    let text = Text::Wide(words(text, super::crt::wcslen(text)));
    let mut args = VaList::new(args);
    if buffer.is_null() && size == 0 {
        return format(&mut Nowhere, text, &mut args) as i32;
    }
    let mut out = WideBuffer::new(words(buffer, size));
    format(&mut out, text, &mut args);
    out.finish()
}

pub(super) extern "win64" fn vsnprintf(buffer: Ptr, size: usize, text: Ptr, args: Ptr) -> i32 {
    narrow(buffer, size, text, args)
}

pub(super) extern "win64" fn vsnwprintf(buffer: Ptr, size: usize, text: Ptr, args: Ptr) -> i32 {
    wide(buffer, size, text, args)
}

/// The size of a buffer that nobody told us.
const UNBOUNDED: usize = i32::MAX as usize;

pub(super) extern "win64" fn vsprintf(buffer: Ptr, text: Ptr, args: Ptr) -> i32 {
    struct Raw(Ptr);
    impl Sink for Raw {
        fn put(&mut self, unit: u16) {
            self.0.set(0, u8::try_from(unit).unwrap_or(b'?'));
            self.0 = self.0.add(1);
        }
    }
    let text = Text::Narrow(bytes(text, super::crt::strlen(text)));
    let mut out = Raw(buffer);
    let count = format(&mut out, text, &mut VaList::new(args));
    out.0.set(0, 0u8);
    count.min(UNBOUNDED) as i32
}

/// What the run waits for in drivers' text, and how often it was seen.
static WANTED: Lock<String> = Lock::new(String::new());
static SEEN: AtomicUsize = AtomicUsize::new(0);

/// Counts prints that contain `text` from now on; nothing for an empty text.
pub fn look_for(text: &str) {
    SEEN.store(0, Ordering::Relaxed);
    *WANTED.lock() = text.to_string();
}

/// How often the text was seen.
pub fn seen() -> usize {
    SEEN.load(Ordering::Relaxed)
}

fn watch(text: &[u8]) {
    let wanted = WANTED.lock();
    if !wanted.is_empty()
        && text
            .windows(wanted.len())
            .any(|part| part == wanted.as_bytes())
    {
        SEEN.fetch_add(1, Ordering::Relaxed);
    }
}

fn emit(prefix: Ptr, component: u32, level: u32, text: Ptr, args: Ptr) -> i32 {
    let mut buffer = [0u8; LINE];
    let mut out = NarrowBuffer::new(&mut buffer);
    if !prefix.is_null() {
        bytes(prefix, super::crt::strlen(prefix))
            .iter()
            .for_each(|c| out.put(u16::from(*c)));
    }
    let mut args = VaList::new(args);
    format(
        &mut out,
        Text::Narrow(bytes(text, super::crt::strlen(text))),
        &mut args,
    );
    if args.wide.get() && irql::current() > irql::PASSIVE {
        verifier::fail(
            "print_wide_irql",
            format_args!("a wide format at IRQL {}", irql::current()),
        );
    }
    crate::log::debug_text(out.text());
    watch(out.text());
    let length = out.text().len();
    notify(&buffer[..length], component, level);
    0
}

fn notify(text: &[u8], component: u32, level: u32) {
    let printers = *PRINTERS.lock();
    let string = [(text.len() | text.len() << 16) as u64, text.as_ptr() as u64];
    for printer in printers.iter().filter(|printer| !printer.is_null()) {
        let args = [string.as_ptr() as usize, component as usize, level as usize];
        verifier::call::driver("DebugPrintCallback", *printer, &args);
    }
}

extern "win64" fn dbg_print_va(text: Ptr, args: Ptr) -> i32 {
    emit(Ptr::NULL, DEFAULT.0, DEFAULT.1, text, args)
}

extern "win64" fn dbg_print_ex_va(component: u32, level: u32, text: Ptr, args: Ptr) -> i32 {
    emit(Ptr::NULL, component, level, text, args)
}

crate::variadic! {
    fn dbg_print = 1 => dbg_print_va;
    fn dbg_print_ex = 3 => dbg_print_ex_va;
    fn snprintf = 3 => vsnprintf;
    fn snwprintf = 3 => vsnwprintf;
    fn sprintf = 2 => vsprintf;
}

pub(super) extern "win64" fn vdbg_print_ex(
    component: u32,
    level: u32,
    text: Ptr,
    args: Ptr,
) -> i32 {
    emit(Ptr::NULL, component, level, text, args)
}

pub(super) extern "win64" fn vdbg_print_ex_with_prefix(
    prefix: Ptr,
    component: u32,
    level: u32,
    text: Ptr,
    args: Ptr,
) -> i32 {
    emit(prefix, component, level, text, args)
}

pub(super) extern "win64" fn set_filter(_component: u32, _level: u32, _state: u8) -> i32 {
    0
}

/// Everything is printed, so every filter is on.
pub(super) extern "win64" fn query_filter(_component: u32, _level: u32) -> i32 {
    1
}

pub(super) extern "win64" fn set_callback(callback: Ptr, enable: u8) -> i32 {
    let mut printers = PRINTERS.lock();
    let wanted = if enable != 0 { Ptr::NULL } else { callback };
    if callback.is_null() || (enable != 0 && printers.contains(&callback)) {
        return UNSUCCESSFUL;
    }
    match printers.iter_mut().find(|printer| **printer == wanted) {
        Some(slot) => {
            *slot = if enable != 0 { callback } else { Ptr::NULL };
            0
        }
        None => UNSUCCESSFUL,
    }
}

/// The print callbacks still set inside an image, which is a leak when it unloads.
pub fn callbacks_in(base: Ptr, size: usize) -> usize {
    let inside = |printer: &&Ptr| (base.0..base.0 + size).contains(&printer.0);
    PRINTERS.lock().iter().filter(inside).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    extern "win64" fn record(string: Ptr, component: u32, level: u32) {
        PRINTED
            .lock()
            .push((string.ansi_string(), component, level));
    }

    static PRINTED: Lock<Vec<(String, u32, u32)>> = Lock::new(Vec::new());

    /// Calls a variadic entry as a C driver would.
    fn variadic(f: extern "win64" fn(), text: &std::ffi::CStr, a: usize, b: usize) {
        type Entry = extern "win64" fn(*const i8, usize, usize) -> i32;
        // SAFETY: the naked entry takes any integer arguments of this ABI.
        let f = unsafe { core::mem::transmute::<extern "win64" fn(), Entry>(f) };
        f(text.as_ptr().cast(), a, b);
    }

    #[test]
    fn a_print_reaches_the_callback_with_its_level() {
        let callback = Ptr(record as *const () as usize);
        assert_eq!(set_callback(callback, 1), 0);
        assert_eq!(set_callback(callback, 1), UNSUCCESSFUL);
        variadic(dbg_print, c"one %d two %s\n", 1, c"text".as_ptr() as usize);
        let slots = [7u64];
        let args = Ptr(slots.as_ptr() as usize);
        let text = Ptr(c"%u".as_ptr() as usize);
        vdbg_print_ex_with_prefix(Ptr(c"xen|".as_ptr() as usize), 77, 1, text, args);
        assert_eq!(set_callback(callback, 0), 0);
        vdbg_print_ex(77, 0, text, args);
        let seen = PRINTED.lock();
        assert_eq!(
            *seen,
            [("one 1 two text\n".into(), 101, 3), ("xen|7".into(), 77, 1)]
        );
    }
}
