// SPDX-License-Identifier: BSD-2-Clause
//! The run's log: whole lines on I/O port 0xE9 (standard error on a host).
//!
//! A line is formatted into a buffer on the stack and written under one lock with interrupts off, so lines
//! of different CPUs do not mix. Works at every IRQL. After [`seize`] the lock is ignored: the failure path
//! must get its words out whoever holds it.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::arch;
use crate::sync::Lock;

static LINE: Lock<()> = Lock::new(());
static SEIZED: AtomicBool = AtomicBool::new(false);

/// A line under construction; what does not fit is cut off.
struct Line {
    text: [u8; 512],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for byte in s.bytes() {
            if self.len < self.text.len() {
                self.text[self.len] = byte;
                self.len += 1;
            }
        }
        Ok(())
    }
}

/// Writes one line with its prefix (`KERNEL: ` and the like); a line break is added.
pub fn line(prefix: &str, args: fmt::Arguments<'_>) {
    let mut line = Line {
        text: [0; 512],
        len: 0,
    };
    let _ = line.write_str(prefix);
    let _ = line.write_fmt(args);
    raw(&line.text[..line.len]);
}

/// Writes one line as it is; a line break is added.
pub fn raw(text: &[u8]) {
    let guard = if SEIZED.load(Ordering::Relaxed) {
        None
    } else {
        Some(LINE.lock())
    };
    for byte in text {
        arch::log_byte(*byte);
    }
    arch::log_byte(b'\n');
    drop(guard);
}

/// Makes every later line ignore the lock.
pub fn seize() {
    SEIZED.store(true, Ordering::Relaxed);
}

/// Writes a line of the kernel's own.
#[macro_export]
macro_rules! kprint {
    ($($arg:tt)*) => { $crate::log::line("KERNEL: ", format_args!($($arg)*)) };
}

static FAILED_TESTS: AtomicUsize = AtomicUsize::new(0);

/// Number of `TEST name FAIL` lines so far.
pub fn failed_tests() -> usize {
    FAILED_TESTS.load(Ordering::Relaxed)
}

/// Text that a driver printed (`DbgPrint` and friends), possibly in pieces: split into lines, each written
/// with `DBG: ` in front unless it is a `TEST ` or `RESULT ` line.
pub fn debug_text(text: &[u8]) {
    for piece in text.split(|b| *b == b'\n') {
        let piece = piece.strip_suffix(b"\r").unwrap_or(piece);
        if piece.is_empty() {
            continue;
        }
        let mut line = Line {
            text: [0; 512],
            len: 0,
        };
        if piece.starts_with(b"TEST ") && piece.split(|b| *b == b' ').nth(2) == Some(b"FAIL") {
            FAILED_TESTS.fetch_add(1, Ordering::Relaxed);
        }
        if !piece.starts_with(b"TEST ") && !piece.starts_with(b"RESULT ") {
            let _ = line.write_str("DBG: ");
        }
        for byte in piece {
            if line.len < line.text.len() {
                line.text[line.len] = *byte;
                line.len += 1;
            }
        }
        raw(&line.text[..line.len]);
    }
}
