// SPDX-License-Identifier: BSD-2-Clause
//! A panic becomes a bug check, on Windows.
//!
//! Code [`BUGCHECK_PANIC`]; parameters: address of the source file's name, its length, the line, address of the NUL-terminated
//! message (kept in the image's data). The message is printed to the debugger first.
#![cfg_attr(
    windows,
    expect(unsafe_code, reason = "the message is kept in a static buffer")
)]

/// The bug check code of a Rust panic in a driver built on kexec.
///
/// # IRQL
/// Any.
pub const BUGCHECK_PANIC: u32 = 0xDEAD_4B58;

#[cfg(windows)]
mod handler {
    use core::cell::UnsafeCell;
    use core::fmt::Write;
    use core::panic::PanicInfo;
    use core::sync::atomic::{AtomicBool, Ordering};

    use crate::nt::log::{self, Line};
    use crate::nt::sys;

    struct Message(UnsafeCell<Line<256>>);
    // SAFETY: written once, by the first panic (`PANICKED`).
    unsafe impl Sync for Message {}
    static MESSAGE: Message = Message(UnsafeCell::new(Line::new()));
    static PANICKED: AtomicBool = AtomicBool::new(false);

    #[panic_handler]
    fn panic(info: &PanicInfo<'_>) -> ! {
        let (file, line) = info.location().map_or(("", 0), |at| (at.file(), at.line()));
        let mut text = core::ptr::null::<u8>();
        if !PANICKED.swap(true, Ordering::SeqCst) {
            // SAFETY: only the first panic gets here.
            let message = unsafe { &mut *MESSAGE.0.get() };
            let _ = write!(message, "panic: {}", info.message());
            text = message.as_str().as_ptr();
            log::print(message.as_str());
        }
        sys::KeBugCheckEx(
            super::BUGCHECK_PANIC,
            file.as_ptr() as usize,
            file.len(),
            line as usize,
            text as usize,
        )
    }
}
