// SPDX-License-Identifier: BSD-2-Clause
//! One-line log output: [`error!`](crate::error), [`warn!`](crate::warn), [`info!`](crate::info), [`debug!`](crate::debug), and
//! [`RateLimit`].
//!
//! A line is formatted into a buffer of 256 bytes on the stack (longer ones are cut) and goes to the sink set by the image, or
//! to the debugger. Nothing is allocated and no lock of ours is taken.
#![expect(
    unsafe_code,
    reason = "calls the kernel, and keeps a function in an atomic"
)]

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use super::sys;
use crate::{Duration, Instant};

/// How much a line matters.
///
/// # IRQL
/// Any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Level {
    /// Something does not work.
    Error = 1,
    /// Something is odd, and is coped with.
    Warning = 2,
    /// What happens once per device or connection.
    Info = 3,
    /// Detail, in checked builds only.
    Debug = 4,
}

/// Where lines go: the level and the line without line end.
pub type Sink = fn(Level, &str);

static SINK: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Sends lines to `sink` from now on, or to the debugger again.
///
/// # IRQL
/// Any. The sink is called at the IRQL of whoever logs.
pub fn set_sink(sink: Option<Sink>) {
    SINK.store(
        sink.map_or(core::ptr::null_mut(), |sink| sink as *mut ()),
        Ordering::Release,
    );
}

/// Text in a fixed buffer; what does not fit is cut at a character's start.
///
/// # IRQL
/// Any.
#[derive(Debug)]
pub struct Line<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Line<N> {
    /// Empty text. The last byte is kept for a terminator.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: [0; N],
            len: 0,
        }
    }

    /// The text.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

impl<const N: usize> Default for Line<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Write for Line<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut room = (N - 1 - self.len).min(text.len());
        while !text.is_char_boundary(room) {
            room -= 1;
        }
        self.bytes[self.len..self.len + room].copy_from_slice(&text.as_bytes()[..room]);
        self.len += room;
        Ok(())
    }
}

/// Formats and sends one line.
///
/// # IRQL
/// Any.
pub fn write(level: Level, arguments: fmt::Arguments<'_>) {
    let mut line = Line::<256>::new();
    let _ = line.write_fmt(arguments);
    let sink = SINK.load(Ordering::Acquire);
    if sink.is_null() {
        print(line.as_str());
    } else {
        // SAFETY: only `set_sink` writes it, always with a `Sink`.
        let sink = unsafe { core::mem::transmute::<*mut (), Sink>(sink) };
        sink(level, line.as_str());
    }
}

/// Sends `text` and a line end to the debugger, whatever the sink is.
///
/// # IRQL
/// Any.
pub fn print(text: &str) {
    let mut line = Line::<258>::new();
    let _ = line.write_str(text.get(..text.len().min(256)).unwrap_or(text));
    let _ = line.write_str("\n");
    // SAFETY: the buffer ends in a zero that `write_str` never overwrites.
    unsafe { sys::DbgPrintLine(line.bytes.as_ptr().cast()) };
}

/// Logs at level error.
#[macro_export]
macro_rules! error {
    ($($arg:tt)*) => { $crate::nt::log::write($crate::nt::log::Level::Error, ::core::format_args!($($arg)*)) };
}

/// Logs at level warning.
#[macro_export]
macro_rules! warn {
    ($($arg:tt)*) => { $crate::nt::log::write($crate::nt::log::Level::Warning, ::core::format_args!($($arg)*)) };
}

/// Logs at level info.
#[macro_export]
macro_rules! info {
    ($($arg:tt)*) => { $crate::nt::log::write($crate::nt::log::Level::Info, ::core::format_args!($($arg)*)) };
}

/// Logs at level debug, in builds with debug assertions.
#[macro_export]
macro_rules! debug {
    ($($arg:tt)*) => {
        if ::core::cfg!(debug_assertions) {
            $crate::nt::log::write($crate::nt::log::Level::Debug, ::core::format_args!($($arg)*))
        }
    };
}

/// Formats into a pool [`String`](crate::nt::String): `try_format!(TAG, "device/{n}")?`.
#[macro_export]
macro_rules! try_format {
    ($tag:expr, $($arg:tt)*) => { $crate::nt::String::try_from_fmt($tag, ::core::format_args!($($arg)*)) };
}

/// At most `burst` passes per span of time; the rest is counted.
///
/// # IRQL
/// Any.
#[derive(Debug)]
pub struct RateLimit {
    burst: u32,
    per: u64,
    /// Start of the span in units of its length (upper half) and passes in it (lower half).
    state: AtomicU64,
}

impl RateLimit {
    /// `burst` passes in each span of `per`.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub const fn new(burst: u32, per: Duration) -> Self {
        let per = if per.ticks() == 0 { 1 } else { per.ticks() };
        Self {
            burst,
            per,
            state: AtomicU64::new(0),
        }
    }

    /// Whether this pass is within the limit.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn allow(&self) -> bool {
        let span = (Instant::now().ticks() / self.per) & 0xFFFF_FFFF;
        let next = |state: u64| {
            let used = if state >> 32 == span {
                state & 0xFFFF_FFFF
            } else {
                0
            };
            (used < u64::from(self.burst)).then_some((span << 32) | (used + 1))
        };
        self.state
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .is_ok()
    }
}
