// SPDX-License-Identifier: BSD-2-Clause
//! Debug callbacks: every part of the bus and every child prints its state on request and before a bug check.
//!
//! Callbacks run at HIGH_LEVEL, one at a time under the list's lock, in the order of their registration; they may only print. The
//! bug-check path finds the other processors stopped wherever they were: a list that one of them had locked is left alone.
//! [`Debug::print`] belongs to the callback that is running and carries its prefix.
//!
//! Nobody waits here, so there is nothing to stop; [`Debug::left`] says how many callbacks an owner has forgotten.

pub mod format;

use core::sync::atomic::{AtomicU8, Ordering};

use kexec::nt::{HighLock, Tag, Vec};
use kexec::{Result, info, warn};

use crate::facade::printf::Arguments;
use format::Text;

/// Pool tag.
pub const TAG: Tag = Tag(*b"XBdb");
/// Longest prefix.
pub const PREFIX_MAX: usize = 31;
/// Entries that a growing list grows by.
const STEP: usize = 16;

/// What the machine does for the service.
pub trait Calls: Send + Sync {
    /// Calls a registered function at HIGH_LEVEL.
    fn call(&self, function: usize, argument: usize, crashing: bool);
    /// Whether `address` lies in a loaded image. Any IRQL.
    fn is_code(&self, address: usize) -> bool;
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    number: u32,
    function: usize,
    argument: usize,
    prefix: [u8; PREFIX_MAX],
}

struct List {
    entries: Vec<Entry>,
    next: u32,
}

/// The service; see the module.
pub struct Debug<C: Calls> {
    calls: C,
    list: HighLock<List>,
    /// Of the callback that is running; NUL-terminated unless full.
    prefix: [AtomicU8; PREFIX_MAX],
}

impl<C: Calls> Debug<C> {
    /// Without callbacks.
    pub const fn new(calls: C) -> Self {
        Self {
            calls,
            list: HighLock::new(List {
                entries: Vec::new(TAG),
                next: 1,
            }),
            prefix: [const { AtomicU8::new(0) }; PREFIX_MAX],
        }
    }

    /// Adds a callback; its number, never 0, names it from here on. The prefix is cut to [`PREFIX_MAX`] bytes.
    ///
    /// # Errors
    /// `NO_MEMORY`.
    ///
    /// # IRQL
    /// `<= DISPATCH_LEVEL`.
    pub fn register(&self, prefix: &[u8], function: usize, argument: usize) -> Result<u32> {
        let mut entry = Entry {
            number: 0,
            function,
            argument,
            prefix: [0; PREFIX_MAX],
        };
        for (to, from) in entry.prefix.iter_mut().zip(prefix) {
            *to = *from;
        }
        // Nothing is allocated or freed under the lock: room is made outside, and checked again inside.
        let mut spare: Option<Vec<Entry>> = None;
        loop {
            let mut list = self.list.lock();
            let wanted = list.entries.len() + 1;
            if wanted > list.entries.capacity()
                && let Some(mut larger) = spare.take_if(|spare| spare.capacity() >= wanted)
            {
                for old in list.entries.iter() {
                    // Has room.
                    let _ = larger.try_push(*old);
                }
                spare = Some(core::mem::replace(&mut list.entries, larger));
            }
            if wanted <= list.entries.capacity() {
                entry.number = list.next;
                list.next = list.next.wrapping_add(1).max(1);
                let pushed = list.entries.try_push(entry);
                drop(list);
                drop(spare);
                return pushed.map(|()| entry.number);
            }
            drop(list);
            let mut larger = Vec::new(TAG);
            larger.try_reserve(wanted + STEP)?;
            spare = Some(larger);
        }
    }

    /// Removes a callback: it is not called once this returns.
    ///
    /// # IRQL
    /// `<= DISPATCH_LEVEL`, not in a callback.
    pub fn deregister(&self, number: u32) {
        let mut list = self.list.lock();
        list.entries.retain(|entry| entry.number != number);
    }

    /// Callbacks registered.
    #[must_use]
    pub fn left(&self) -> usize {
        self.list.lock().entries.len()
    }

    /// Runs one callback, or all.
    ///
    /// # IRQL
    /// Any, not in a callback.
    pub fn trigger(&self, number: Option<u32>) {
        let list = self.list.lock();
        self.run(&list, number, false);
    }

    /// Runs all callbacks on the way into a bug check.
    ///
    /// # IRQL
    /// HIGH_LEVEL, every other processor stopped.
    pub fn crash(&self) {
        match self.list.try_lock() {
            Some(list) => self.run(&list, None, true),
            None => warn!("debug: the callbacks are locked, nothing more to print"),
        }
    }

    fn run(&self, list: &List, number: Option<u32>, crashing: bool) {
        let chosen = |entry: &&Entry| number.is_none_or(|number| entry.number == number);
        for entry in list.entries.iter().filter(chosen) {
            if self.calls.is_code(entry.function) {
                self.speak(&entry.prefix);
                self.calls.call(entry.function, entry.argument, crashing);
            } else {
                let name = entry.prefix.split(|&byte| byte == 0).next();
                let name = name.and_then(|name| core::str::from_utf8(name).ok());
                warn!(
                    "debug: {} registered {:#x}, which is no code any more",
                    name.unwrap_or("somebody"),
                    entry.function
                );
            }
        }
        self.speak(&[0; PREFIX_MAX]);
    }

    fn speak(&self, prefix: &[u8; PREFIX_MAX]) {
        for (to, from) in self.prefix.iter().zip(prefix) {
            to.store(*from, Ordering::Relaxed);
        }
    }

    /// DebugPrintf: one line in the name of the callback that is running.
    ///
    /// # IRQL
    /// In a callback.
    pub fn print(&self, format: impl Iterator<Item = u8>, arguments: &mut impl Arguments) {
        let mut text = Text::new();
        let prefix = self.prefix.iter().map(|byte| byte.load(Ordering::Relaxed));
        let prefix = prefix.take_while(|&byte| byte != 0);
        let mut nothing = Nothing;
        for byte in prefix.chain(*b": ") {
            // One byte at a time: a `%` in a prefix is no conversion.
            match byte {
                b'%' => format::format(&mut text, b"%%".iter().copied(), &mut nothing),
                byte => format::format(&mut text, core::iter::once(byte), &mut nothing),
            }
        }
        format::format(&mut text, format, arguments);
        info!("{}", text.as_str());
    }
}

/// No arguments.
struct Nothing;

impl Arguments for Nothing {
    fn slot(&mut self) -> u64 {
        0
    }
    fn narrow(&self, _: u64, _: usize) -> u8 {
        0
    }
    fn wide(&self, _: u64, _: usize) -> u16 {
        0
    }
    fn counted(&self, _: u64) -> (u16, u64) {
        (0, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kexec::irql;
    use std::sync::Mutex;

    /// Records calls; functions above 1000 are not code any more.
    #[derive(Default)]
    struct Recorder(Mutex<std::vec::Vec<(usize, usize, bool)>>);

    impl Calls for Recorder {
        fn call(&self, function: usize, argument: usize, crashing: bool) {
            assert_eq!(irql::current(), irql::HIGH_LEVEL);
            let mut calls = self.0.lock().expect("fine");
            calls.push((function, argument, crashing));
        }
        fn is_code(&self, address: usize) -> bool {
            address <= 1000
        }
    }

    fn calls(debug: &Debug<Recorder>) -> std::vec::Vec<(usize, usize, bool)> {
        core::mem::take(&mut debug.calls.0.lock().expect("fine"))
    }

    #[test]
    fn callbacks_run_in_order_at_high_level_and_one_alone_by_its_number() {
        let _session = kexec::nt::sys::fake::boot();
        let debug = Debug::new(Recorder::default());
        let first = debug.register(b"one", 1, 10).expect("memory");
        let second = debug.register(b"two", 2, 20).expect("memory");
        debug.trigger(None);
        assert_eq!(calls(&debug), [(1, 10, false), (2, 20, false)]);
        debug.trigger(Some(second));
        assert_eq!(calls(&debug), [(2, 20, false)]);
        debug.deregister(first);
        debug.crash();
        assert_eq!(calls(&debug), [(2, 20, true)]);
        assert_eq!(debug.left(), 1);
    }

    #[test]
    fn a_callback_of_an_unloaded_driver_is_named_and_not_called() {
        let _session = kexec::nt::sys::fake::boot();
        let debug = Debug::new(Recorder::default());
        debug.register(b"gone", 2000, 0).expect("memory");
        debug.register(b"here", 3, 0).expect("memory");
        debug.trigger(None);
        assert_eq!(calls(&debug), [(3, 0, false)]);
    }

    #[test]
    fn many_callbacks_grow_the_list_and_a_failing_allocation_changes_nothing() {
        let session = kexec::nt::sys::fake::boot();
        let debug = Debug::new(Recorder::default());
        for n in 0..100 {
            debug.register(b"many", n, 0).expect("memory");
        }
        debug.trigger(None);
        assert_eq!(calls(&debug).len(), 100);
        let mut refused = 0;
        for n in 0..40 {
            session.fail_alloc(Some(0));
            if debug.register(b"more", n, 1).is_err() {
                refused += 1;
            }
            session.fail_alloc(None);
        }
        assert!(refused > 0);
        assert_eq!(debug.left(), 140 - refused);
    }

    #[test]
    fn a_list_that_a_stopped_processor_had_locked_is_left_alone_at_a_bug_check() {
        let _session = kexec::nt::sys::fake::boot();
        let debug = Debug::new(Recorder::default());
        debug.register(b"one", 1, 10).expect("memory");
        let held = debug.list.lock();
        debug.crash();
        assert_eq!(calls(&debug), []);
        drop(held);
    }

    /// Prints from inside the callback, as a child does.
    struct Speaker(std::sync::Weak<Debug<Speaker>>);

    impl Calls for Speaker {
        fn call(&self, _: usize, _: usize, _: bool) {
            let debug = self.0.upgrade().expect("alive");
            debug.print(b"state 100%%".iter().copied(), &mut Nothing);
        }
        fn is_code(&self, _: usize) -> bool {
            true
        }
    }

    #[test]
    fn a_line_carries_the_prefix_of_its_callback() {
        let session = kexec::nt::sys::fake::boot();
        let debug = std::sync::Arc::new_cyclic(|debug| Debug::new(Speaker(debug.clone())));
        let long = b"a prefix of 50% that is longer than it may be";
        let number = debug.register(long, 1, 0).expect("memory");
        debug.trigger(None);
        debug.deregister(number);
        let wanted = "a prefix of 50% that is longer : state 100%";
        let said = session.log();
        assert!(said.iter().any(|line| line == wanted), "{said:?}");
    }
}
