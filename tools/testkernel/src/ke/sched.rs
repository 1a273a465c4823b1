// SPDX-License-Identifier: BSD-2-Clause
//! The scheduler: 32 priorities, one ready list each for all CPUs, affinity masks, a time slice of two ticks.
//!
//! One lock, [`STATE`], guards everything here, the waits (`ke::wait`) and the timers (`ke::timer`): NT calls it the
//! dispatcher lock. Threads are exchanged with that lock held and CR8 at DISPATCH_LEVEL; the thread that comes
//! releases it. A thread that becomes ready makes one suitable CPU choose again through the dispatch interrupt, so at
//! DISPATCH_LEVEL and above nothing is exchanged.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::arch::{self, MAX_CPUS};
use crate::ke::irql;
use crate::ke::timer::Timers;
use crate::ke::wait::Wait;
use crate::mem::Ptr;
use crate::mm::{self, PAGE};
use crate::ps::thread::{self, Body, STACK, Thread};
use crate::sync::{Guard, Lock, Release};
use crate::verifier;

/// Priority of an ordinary system thread.
const NORMAL: usize = 8;
/// Ticks of a time slice.
const SLICE: i32 = 2;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Run {
    Ready,
    Running,
    Waiting,
    Ended,
}

/// What the scheduler knows of a thread.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) thread: &'static Thread,
    priority: usize,
    affinity: u64,
    run: Run,
    cpu: usize,
    idle: bool,
    pub(crate) wait: Option<Wait>,
    pub(crate) result: i32,
}

/// Everything behind the dispatcher lock.
#[derive(Debug)]
pub(crate) struct State {
    entries: Vec<Option<Entry>>,
    ready: [VecDeque<usize>; 32],
    running: [usize; MAX_CPUS],
    idle: [usize; MAX_CPUS],
    /// Waiting threads, the longest first.
    pub(crate) waiting: Vec<usize>,
    dead: Vec<usize>,
    stacks: Vec<usize>,
    /// Active timers.
    pub(crate) timers: Timers,
}

pub(crate) static STATE: Lock<State, Kicks> = Lock::releasing(State::new());

impl State {
    const fn new() -> Self {
        Self {
            entries: Vec::new(),
            ready: [const { VecDeque::new() }; 32],
            running: [usize::MAX; MAX_CPUS],
            idle: [usize::MAX; MAX_CPUS],
            waiting: Vec::new(),
            dead: Vec::new(),
            stacks: Vec::new(),
            timers: Timers::new(),
        }
    }

    pub(crate) fn entry(&mut self, slot: usize) -> &mut Entry {
        match self.entries.get_mut(slot) {
            Some(Some(entry)) => entry,
            _ => panic!("no thread {slot}"),
        }
    }

    fn insert(&mut self, entry: Entry) -> usize {
        let slot = match self.entries.iter().position(Option::is_none) {
            Some(slot) => slot,
            None => {
                self.entries.push(None);
                self.entries.len() - 1
            }
        };
        entry.thread.slot.store(slot, Ordering::Relaxed);
        self.entries[slot] = Some(entry);
        slot
    }

    /// The slot that runs on this CPU.
    pub(crate) fn current(&self) -> usize {
        self.running[arch::cpu_number()]
    }

    /// Makes a thread ready and a CPU look at it.
    pub(crate) fn make_ready(&mut self, slot: usize) {
        let entry = self.entry(slot);
        entry.run = Run::Ready;
        let (priority, affinity, last) = (entry.priority, entry.affinity, entry.cpu);
        self.ready[priority].push_back(slot);
        let count = arch::cpu_count().max(1);
        let here = arch::cpu_number();
        let candidates = [last, here].into_iter().chain(0..count);
        let mut best: Option<(i32, usize)> = None;
        for cpu in candidates.filter(|c| *c < count && affinity >> *c & 1 != 0) {
            let level = self.level(cpu);
            if best.is_none_or(|(lowest, _)| level < lowest) {
                best = Some((level, cpu));
            }
        }
        if let Some((level, cpu)) = best.filter(|(level, _)| *level < priority as i32) {
            debug_assert!(level < 32);
            self.kick(cpu);
        }
    }

    /// Makes `cpu` choose again once the lock is released: sooner it would run, on a hypervisor instead of this CPU, only to wait
    /// for the lock.
    fn kick(&mut self, cpu: usize) {
        arch::cpu_of(cpu).reschedule.store(true, Ordering::Release);
        KICKS[arch::cpu_number()].fetch_or(1 << cpu, Ordering::Relaxed);
    }

    /// How important the work of a CPU is: -1 when idle.
    fn level(&mut self, cpu: usize) -> i32 {
        let slot = self.running[cpu];
        if slot == usize::MAX {
            return 32;
        }
        if slot == self.idle[cpu] {
            return if arch::cpu_of(cpu).reschedule.load(Ordering::Relaxed) {
                31
            } else {
                -1
            };
        }
        self.entry(slot).priority as i32
    }

    fn take_best(&mut self, cpu: usize, above: i32) -> Option<usize> {
        for priority in (0..32).rev() {
            if priority as i32 <= above {
                return None;
            }
            let found = (0..self.ready[priority].len()).find(|i| {
                let slot = self.ready[priority][*i];
                self.entries[slot]
                    .as_ref()
                    .is_some_and(|e| e.affinity >> cpu & 1 != 0)
            });
            if let Some(i) = found {
                return self.ready[priority].remove(i);
            }
        }
        None
    }
}

/// The CPUs that are to choose again, set by the one that holds [`STATE`].
static KICKS: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];

/// Tells them when it releases the lock.
#[derive(Debug)]
pub(crate) struct Kicks;

impl Release for Kicks {
    fn released() {
        let kicks = &KICKS[arch::cpu_number()];
        if kicks.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut kicks = kicks.swap(0, Ordering::Relaxed);
        while kicks != 0 {
            request_dispatch(kicks.trailing_zeros() as usize);
            kicks &= kicks - 1;
        }
    }
}

/// Makes `cpu` choose again as soon as its IRQL allows; without [`STATE`] held.
fn kick(cpu: usize) {
    arch::cpu_of(cpu).reschedule.store(true, Ordering::Release);
    request_dispatch(cpu);
}

/// Requests the dispatch interrupt on `cpu`.
///
/// # IRQL
///
/// Any.
pub(crate) fn request_dispatch(cpu: usize) {
    if !arch::cpu_of(cpu)
        .dispatch_pending
        .swap(true, Ordering::AcqRel)
    {
        arch::apic::send_to(cpu, 0x2f);
    }
}

/// Makes the running context the idle thread of this CPU.
pub(crate) fn init_cpu() {
    let cpu = arch::cpu_number();
    let thread = thread::make(alloc::format!("idle{cpu}"), "kernel".into(), Body::Idle, 0);
    let mut state = STATE.lock();
    let slot = state.insert(Entry {
        thread,
        priority: 0,
        affinity: 1 << cpu,
        run: Run::Running,
        cpu,
        idle: true,
        wait: None,
        result: 0,
    });
    state.running[cpu] = slot;
    state.idle[cpu] = slot;
    arch::set_current_thread(thread.ptr().0);
}

/// The idle loop.
pub(crate) fn idle() -> ! {
    arch::enable_interrupts();
    loop {
        arch::halt();
    }
}

/// Puts a new thread on the ready list.
pub(crate) fn add(thread: &'static Thread) {
    let mut state = STATE.lock();
    let slot = state.insert(Entry {
        thread,
        priority: NORMAL,
        affinity: u64::MAX,
        run: Run::Ready,
        cpu: arch::cpu_number(),
        idle: false,
        wait: None,
        result: 0,
    });
    state.make_ready(slot);
}

/// A stack for a thread, with an unmapped page below it.
pub(crate) fn take_stack() -> Option<usize> {
    if let Some(stack) = STATE.lock().stacks.pop() {
        return Some(stack);
    }
    let pages = STACK / PAGE;
    let physical = mm::phys::allocate_run(pages, mm::phys::Bounds::ANY)?;
    let guard_below = mm::map::reserve(pages);
    debug_assert!(guard_below.0.is_multiple_of(PAGE));
    let stack = mm::map::range(physical, STACK, mm::map::Protection::ReadWrite);
    Some(stack.0)
}

/// Frees what ended threads left.
pub(crate) fn reap() {
    loop {
        let mut state = STATE.lock();
        let Some(slot) = state.dead.pop() else { return };
        let Some(entry) = state.entries[slot].take() else {
            return;
        };
        let (stack, _) = entry.thread.stack_bounds();
        state.stacks.push(stack);
        drop(state);
        thread::dereference(entry.thread.ptr());
    }
}

/// Chooses again on this CPU; called at DISPATCH_LEVEL by the dispatch interrupt.
pub(crate) fn reschedule() {
    if !arch::cpu().reschedule.swap(false, Ordering::AcqRel) {
        return;
    }
    let mut state = STATE.lock();
    let cpu = arch::cpu_number();
    let slot = state.running[cpu];
    let entry = state.entry(slot);
    let used_up = entry.thread.quantum.load(Ordering::Relaxed) <= 0;
    let fits = entry.affinity >> cpu & 1 != 0;
    let above = match (entry.idle, fits, used_up) {
        (true, ..) | (_, false, _) => -1,
        // Its turn is over: an equal may run.
        (false, true, true) => entry.priority as i32 - 1,
        (false, true, false) => entry.priority as i32,
    };
    if used_up {
        entry.thread.quantum.store(SLICE, Ordering::Relaxed);
    }
    let idle = entry.idle;
    let priority = entry.priority;
    match state.take_best(cpu, above) {
        Some(next) => {
            if !idle {
                let entry = state.entry(slot);
                entry.run = Run::Ready;
                if fits && !used_up {
                    state.ready[priority].push_front(slot);
                } else if fits {
                    state.ready[priority].push_back(slot);
                } else {
                    state.make_ready(slot);
                }
            }
            exchange(state, next);
        }
        None if !fits && !idle => {
            let next = state.idle[cpu];
            state.make_ready(slot);
            exchange(state, next);
        }
        None => {}
    }
}

/// Blocks the current thread, which has its `wait` set; returns when it was made ready and chosen. The IRQL is kept.
pub(crate) fn block(mut state: Guard<'_, State, Kicks>) {
    let cpu = arch::cpu_number();
    let slot = state.running[cpu];
    state.entry(slot).run = Run::Waiting;
    state.waiting.push(slot);
    let next = state.take_best(cpu, -1).unwrap_or(state.idle[cpu]);
    exchange(state, next);
}

/// Continues with the thread `next` on this CPU; returns when this one is continued.
fn exchange(mut state: Guard<'_, State, Kicks>, next: usize) {
    let cpu = arch::cpu_number();
    let this = state.running[cpu];
    verifier::locks::check_none_held("thread switch");
    let level = arch::irql();
    arch::set_irql(irql::DISPATCH);
    let save = state.entry(this).thread.sp.as_ptr();
    state.running[cpu] = next;
    let entry = state.entry(next);
    entry.run = Run::Running;
    entry.cpu = cpu;
    let load = entry.thread.sp.load(Ordering::Relaxed);
    arch::set_current_thread(entry.thread.ptr().0);
    let enabled = state.forget();
    // SAFETY: `load` is the saved stack of a thread that no CPU runs, since the lock is held; interrupts are off.
    unsafe { arch::swap_stacks(save, load) }
    // SAFETY: whoever swapped to this thread left the lock held on this CPU.
    unsafe { STATE.release_forgotten(false) }
    arch::set_irql(level);
    arch::restore_interrupts(enabled);
}

/// The part of [`exchange`] after the swap, for a thread that runs for the first time.
pub(crate) fn enter_new_thread() {
    // SAFETY: whoever swapped to this thread left the lock held on this CPU.
    unsafe { STATE.release_forgotten(true) }
}

/// Ends the current thread: signals its object and never runs it again.
pub(crate) fn exit_current() -> ! {
    let mut state = STATE.lock();
    let cpu = arch::cpu_number();
    let slot = state.running[cpu];
    let entry = state.entry(slot);
    entry.run = Run::Ended;
    let object = entry.thread.ptr();
    object.set(4, 1i32);
    state.signalled(object);
    state.dead.push(slot);
    let next = state.take_best(cpu, -1).unwrap_or(state.idle[cpu]);
    exchange(state, next);
    panic!("an ended thread was continued");
}

/// The thread's priority.
pub(crate) fn priority(thread: &Thread) -> i32 {
    let slot = thread.slot.load(Ordering::Relaxed);
    STATE.lock().entry(slot).priority as i32
}

/// Sets the priority; returns the old one.
pub(crate) fn set_priority(thread: &Thread, priority: i32) -> i32 {
    let mut state = STATE.lock();
    let slot = thread.slot.load(Ordering::Relaxed);
    let entry = state.entry(slot);
    let old = core::mem::replace(&mut entry.priority, priority as usize);
    match entry.run {
        Run::Ready => {
            state.ready[old].retain(|s| *s != slot);
            state.make_ready(slot);
        }
        Run::Running => {
            let cpu = entry.cpu;
            state.kick(cpu);
        }
        Run::Waiting | Run::Ended => {}
    }
    old as i32
}

/// Sets the affinity of the current thread; at <= APC_LEVEL it runs on one of those CPUs on return. Returns the old mask.
pub(crate) fn set_affinity(mask: u64) -> u64 {
    let mut state = STATE.lock();
    let cpu = arch::cpu_number();
    let slot = state.running[cpu];
    let old = core::mem::replace(&mut state.entry(slot).affinity, mask);
    drop(state);
    if mask >> cpu & 1 == 0 {
        kick(cpu);
        if arch::irql() < irql::DISPATCH {
            while mask >> arch::cpu_number() & 1 == 0 {
                arch::pause();
            }
        }
    }
    old
}

/// The clock's part: counts down the slice of the running thread.
pub(crate) fn clock() {
    let thread = thread::current();
    // An idle CPU is told when there is something to run.
    if thread.stack_bounds().0 == 0 {
        return;
    }
    if thread.quantum.fetch_sub(1, Ordering::Relaxed) <= 1 {
        kick(arch::cpu_number());
    }
}

/// Threads that wait on an object in the range, for the check of freed memory.
pub(crate) fn waited_in(start: Ptr, len: usize) -> Option<Ptr> {
    let mut state = STATE.lock();
    for i in 0..state.waiting.len() {
        let slot = state.waiting[i];
        let hit = state.entry(slot).wait.as_ref().and_then(|w| {
            w.objects
                .iter()
                .find(|o| (start.0..start.0 + len).contains(&o.0))
                .copied()
        });
        if hit.is_some() {
            return hit;
        }
    }
    None
}

/// Prints what every thread does; for the end of a run that hangs or fails.
pub(crate) fn dump() {
    let Some(state) = STATE.try_lock() else {
        return;
    };
    for entry in state.entries.iter().flatten().filter(|e| !e.idle) {
        crate::kprint!(
            "thread {} of {}: {:?} cpu {} priority {} waits for {:?}",
            entry.thread.name,
            entry.thread.owner,
            entry.run,
            entry.cpu,
            entry.priority,
            entry.wait.as_ref().map(|w| &w.objects)
        );
    }
}

/// Lets another ready thread of the same or a higher priority run.
pub(crate) fn yield_now() {
    thread::current().quantum.store(0, Ordering::Relaxed);
    kick(arch::cpu_number());
}
