// SPDX-License-Identifier: BSD-2-Clause
//! The log: lines go through a ring of slots to the sinks.
//!
//! Any processor writes at any IRQL, interrupt and bug check included, and nobody ever waits: a writer
//! claims a slot, fills it, publishes it, and then drains the ring unless another processor is doing
//! so, which then takes the line along. A writer that finds the ring full drops its line; drops are
//! counted and reported. Sinks see whole lines, one at a time, in the order of the claims.
//!
//! ```text
//! slot n:  free(n) --claim--> filling --publish--> full(n) --drain--> free(n + SLOTS)
//! ```
//!
//! A slot that is still being filled ends a drain; its writer drains when it has published. The sum of
//! both is that a published line is written as soon as no earlier one is unfinished.
//!
//! # IRQL
//! Any.

use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

use xenbus_interface::xen::LOG_LINE_MAX;

/// Lines that can wait.
const SLOTS: usize = 32;
/// Lines that one drain writes at most, so that a storm elsewhere does not keep a processor.
const DRAIN_MAX: usize = 2 * SLOTS;

/// Where lines go.
pub trait Output {
    /// Writes one line; the newline is the sink's.
    fn write(&self, level: u32, line: &[u8]);
}

/// One line.
#[derive(Debug)]
struct Slot {
    /// Free for ticket n: n; holding ticket n's line: n + 1. Tickets grow by `SLOTS` each round.
    sequence: AtomicU32,
    level: AtomicU32,
    length: AtomicU32,
    text: [AtomicU8; LOG_LINE_MAX],
}

/// The ring.
#[derive(Debug)]
pub struct Log {
    slots: [Slot; SLOTS],
    claimed: AtomicU32,
    drained: AtomicU32,
    draining: AtomicBool,
    dropped: AtomicU32,
    /// The machine crashes: one processor runs, the others never will again.
    seized: AtomicBool,
}

impl Log {
    /// An empty ring.
    pub const fn new() -> Self {
        let mut slots = [const {
            Slot {
                sequence: AtomicU32::new(0),
                level: AtomicU32::new(0),
                length: AtomicU32::new(0),
                text: [const { AtomicU8::new(0) }; LOG_LINE_MAX],
            }
        }; SLOTS];
        let mut index = 0;
        while index < SLOTS {
            slots[index].sequence = AtomicU32::new(index as u32);
            index += 1;
        }
        Self {
            slots,
            claimed: AtomicU32::new(0),
            drained: AtomicU32::new(0),
            draining: AtomicBool::new(false),
            dropped: AtomicU32::new(0),
            seized: AtomicBool::new(false),
        }
    }

    /// Takes one line, cut to [`LOG_LINE_MAX`], and writes what can be written.
    pub fn write(&self, level: u32, line: &[u8], sinks: &impl Output) {
        if self.seized.load(Ordering::Relaxed) {
            sinks.write(level, &line[..line.len().min(LOG_LINE_MAX)]);
            return;
        }
        self.push(level, line);
        self.drain(sinks);
    }

    /// Takes one line and writes nothing: whoever calls must see to a [`Log::flush`].
    pub fn push(&self, level: u32, line: &[u8]) {
        match self.claim() {
            Some(ticket) => self.publish(ticket, level, line),
            None => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Writes what can be written.
    pub fn flush(&self, sinks: &impl Output) {
        self.drain(sinks);
    }

    /// The machine crashes and this processor alone runs. Writes the lines that wait, whoever was about
    /// to write them; from here on every line goes straight to the sinks.
    pub fn seize(&self, sinks: &impl Output) {
        self.seized.store(true, Ordering::SeqCst);
        let (first, end) = (&self.drained, &self.claimed);
        let first = first.load(Ordering::SeqCst);
        let waiting = end.load(Ordering::SeqCst).wrapping_sub(first);
        for ticket in (0..waiting.min(SLOTS as u32)).map(|i| first.wrapping_add(i)) {
            let slot = self.slot(ticket);
            if slot.sequence.load(Ordering::SeqCst) == ticket.wrapping_add(1) {
                slot.hand_to(sinks);
            }
        }
    }

    fn slot(&self, ticket: u32) -> &Slot {
        &self.slots[ticket as usize % SLOTS]
    }

    fn claim(&self) -> Option<u32> {
        let mut ticket = self.claimed.load(Ordering::Relaxed);
        loop {
            let sequence = self.slot(ticket).sequence.load(Ordering::Acquire);
            if sequence == ticket {
                match self.claimed.compare_exchange_weak(
                    ticket,
                    ticket.wrapping_add(1),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => return Some(ticket),
                    Err(current) => ticket = current,
                }
            } else if sequence.wrapping_sub(ticket).cast_signed() < 0 {
                // The line of the last round is still there: full.
                return None;
            } else {
                ticket = self.claimed.load(Ordering::Relaxed);
            }
        }
    }

    fn publish(&self, ticket: u32, level: u32, line: &[u8]) {
        let slot = self.slot(ticket);
        let length = line.len().min(LOG_LINE_MAX);
        slot.level.store(level, Ordering::Relaxed);
        slot.length.store(length as u32, Ordering::Relaxed);
        for (to, from) in slot.text.iter().zip(line) {
            to.store(*from, Ordering::Relaxed);
        }
        // Sequentially consistent, as the flag in `drain`: either the drainer sees this line or this
        // writer sees that nobody drains.
        slot.sequence
            .store(ticket.wrapping_add(1), Ordering::SeqCst);
    }

    /// Writes lines until the ring is empty, or the next is unfinished, or there were enough.
    fn drain(&self, sinks: &impl Output) {
        let mut budget = DRAIN_MAX;
        while budget != 0 && self.ready() && !self.draining.swap(true, Ordering::SeqCst) {
            while budget != 0 && self.drain_one(sinks) {
                budget -= 1;
            }
            self.report_dropped(sinks);
            self.draining.store(false, Ordering::SeqCst);
        }
    }

    /// Is the next line complete?
    fn ready(&self) -> bool {
        let ticket = self.drained.load(Ordering::SeqCst);
        self.slot(ticket).sequence.load(Ordering::SeqCst) == ticket.wrapping_add(1)
    }

    /// Only for whoever set `draining`.
    fn drain_one(&self, sinks: &impl Output) -> bool {
        if !self.ready() {
            return false;
        }
        let ticket = self.drained.load(Ordering::Relaxed);
        let slot = self.slot(ticket);
        let (level, length, line) = slot.read();
        self.drained.store(ticket.wrapping_add(1), Ordering::SeqCst);
        slot.sequence
            .store(ticket.wrapping_add(SLOTS as u32), Ordering::Release);
        sinks.write(level, &line[..length]);
        true
    }

    fn report_dropped(&self, sinks: &impl Output) {
        if self.dropped.load(Ordering::Relaxed) != 0 {
            self.dropped.store(0, Ordering::Relaxed);
            sinks.write(u32::MAX, b"xen: log: lines were dropped");
        }
    }
}

impl Slot {
    /// Level, length and text of a complete line.
    fn read(&self) -> (u32, usize, [u8; LOG_LINE_MAX]) {
        let length = self.length.load(Ordering::Relaxed) as usize;
        let line = core::array::from_fn(|i| self.text[i].load(Ordering::Relaxed));
        (self.level.load(Ordering::Relaxed), length, line)
    }

    fn hand_to(&self, sinks: &impl Output) {
        let (level, length, line) = self.read();
        sinks.write(level, &line[..length]);
    }
}

impl Default for Log {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use core::cell::RefCell;
    use std::format;
    use std::string::String;
    use std::sync::Mutex;
    use std::vec;
    use std::vec::Vec;

    #[derive(Default)]
    struct Lines(RefCell<Vec<String>>);

    impl Output for Lines {
        fn write(&self, level: u32, line: &[u8]) {
            let line = String::from_utf8_lossy(line);
            self.0.borrow_mut().push(format!("{level} {line}"));
        }
    }

    #[test]
    fn a_line_is_written_at_once_and_whole() {
        let (log, lines) = (Log::new(), Lines::default());
        log.write(8, b"xen: one", &lines);
        log.write(1, b"", &lines);
        assert_eq!(*lines.0.borrow(), vec!["8 xen: one", "1 "]);
    }

    #[test]
    fn a_long_line_is_cut_and_leaves_nothing_for_the_next_round() {
        let (log, lines) = (Log::new(), Lines::default());
        for _ in 0..SLOTS {
            log.write(1, &[b'x'; 600], &lines);
        }
        log.write(1, b"short", &lines);
        let lines = lines.0.borrow();
        assert_eq!(lines[0].len(), LOG_LINE_MAX + 2);
        assert_eq!(lines[SLOTS], "1 short");
    }

    #[test]
    fn lines_written_by_a_sink_come_after_the_line_it_was_given() {
        /// A sink that logs, as one does that is interrupted by another writer.
        struct Nested<'a>(&'a Log, RefCell<Vec<String>>);
        impl Output for Nested<'_> {
            fn write(&self, level: u32, line: &[u8]) {
                if line == b"outer" {
                    self.0.write(level, b"inner", self);
                    assert!(self.1.borrow().is_empty(), "the nested writer drained");
                }
                let line = String::from_utf8_lossy(line).into_owned();
                self.1.borrow_mut().push(line);
            }
        }
        let log = Log::new();
        let nested = Nested(&log, RefCell::default());
        log.write(1, b"outer", &nested);
        assert_eq!(*nested.1.borrow(), vec!["outer", "inner"]);
    }

    #[test]
    fn a_writer_interrupted_in_the_middle_delays_lines_but_nobody_waits() {
        let (log, lines) = (Log::new(), Lines::default());
        let ticket = log.claim().expect("room");
        log.write(1, b"second", &lines);
        assert!(lines.0.borrow().is_empty());
        log.publish(ticket, 1, b"first");
        log.drain(&lines);
        assert_eq!(*lines.0.borrow(), vec!["1 first", "1 second"]);
    }

    #[test]
    fn a_pushed_line_waits_for_a_flush_or_for_the_next_line() {
        let (log, lines) = (Log::new(), Lines::default());
        log.push(8, b"one");
        assert!(lines.0.borrow().is_empty());
        log.flush(&lines);
        log.push(8, b"two");
        log.write(1, b"three", &lines);
        assert_eq!(*lines.0.borrow(), vec!["8 one", "8 two", "1 three"]);
    }

    #[test]
    fn a_crash_writes_what_waits_though_its_writers_never_run_again() {
        let (log, lines) = (Log::new(), Lines::default());
        log.write(1, b"before", &lines);
        // A processor was stopped while it wrote lines, another one while it filled a slot.
        log.draining.store(true, Ordering::SeqCst);
        log.push(1, b"waits");
        let _unfinished = log.claim().expect("room");
        log.push(2, b"behind");
        log.seize(&lines);
        log.write(4, &[b'x'; 300], &lines);
        let lines = lines.0.borrow();
        assert_eq!(lines[..3], ["1 before", "1 waits", "2 behind"]);
        assert_eq!((lines.len(), lines[3].len()), (4, LOG_LINE_MAX + 2));
    }

    #[test]
    fn a_full_ring_drops_lines_and_says_so() {
        let (log, lines) = (Log::new(), Lines::default());
        let ticket = log.claim().expect("room");
        for _ in 0..SLOTS + 5 {
            log.write(1, b"more", &lines);
        }
        log.publish(ticket, 1, b"first");
        log.drain(&lines);
        let lines = lines.0.borrow();
        assert_eq!(lines.len(), SLOTS + 1);
        assert_eq!(lines[0], "1 first");
        assert!(lines[SLOTS].ends_with("xen: log: lines were dropped"));
    }

    #[test]
    fn tickets_survive_the_wrap_of_their_counter() {
        let (log, lines) = (Log::new(), Lines::default());
        let start = u32::MAX - 3 - u32::MAX % SLOTS as u32 % 4;
        let start = start - start % SLOTS as u32;
        for (index, slot) in log.slots.iter().enumerate() {
            slot.sequence
                .store(start.wrapping_add(index as u32), Ordering::Relaxed);
        }
        log.claimed.store(start, Ordering::Relaxed);
        log.drained.store(start, Ordering::Relaxed);
        for index in 0..3 * SLOTS {
            log.write(1, format!("{index}").as_bytes(), &lines);
        }
        assert_eq!(lines.0.borrow().len(), 3 * SLOTS);
    }

    #[test]
    fn lines_of_many_processors_arrive_once_each_and_in_their_own_order() {
        struct Shared(Mutex<Vec<String>>);
        impl Output for Shared {
            fn write(&self, _: u32, line: &[u8]) {
                let line = String::from_utf8_lossy(line).into_owned();
                self.0.lock().expect("lock").push(line);
            }
        }
        const WRITERS: usize = 4;
        const LINES: usize = 2000;
        let (log, shared) = (Log::new(), Shared(Mutex::default()));
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (log, shared) = (&log, &shared);
                scope.spawn(move || {
                    for line in 0..LINES {
                        log.write(1, format!("{writer} {line}").as_bytes(), shared);
                    }
                });
            }
        });
        log.drain(&shared);
        let lines = shared.0.into_inner().expect("lock");
        let dropped = lines.iter().any(|line| line.ends_with("dropped"));
        for writer in 0..WRITERS {
            let prefix = format!("{writer} ");
            let own: Vec<usize> = lines
                .iter()
                .filter_map(|line| line.strip_prefix(&prefix)?.parse().ok())
                .collect();
            assert!(own.is_sorted_by(|a, b| a < b), "out of order or twice");
            assert!(dropped || own.len() == LINES, "lines got lost silently");
        }
    }
}
