// SPDX-License-Identifier: BSD-2-Clause
//! A kernel in `std` for tests on other hosts: enforces IRQL, double queueing and pool ownership; fails allocations on request.
//!
//! - Every host thread is a processor of its own with its own IRQL. A DPC runs on the thread that queued it as soon as that
//!   thread's IRQL is below DISPATCH_LEVEL, or on a processor thread when targeted elsewhere. So a single-threaded test is
//!   deterministic.
//! - [`boot`] gives the calling thread a fresh kernel; dropping the [`Session`] fails the test when pool is left, when a freed
//!   block was written to, or when a DPC or timer is still queued. Threads made through [`spawn`] share it.
//! - The clock stands still until [`Session::advance`]; with [`Session::auto_clock`] it jumps to the next deadline whenever a
//!   thread has waited 10 ms of real time for nothing and the machine is idle: no DPC is queued or runs, and a processor that
//!   polls ([`Kernel::poller`]) has found nothing to do since. How long a host thread stands still is no time of the machine.
//! - A broken rule panics with the name of the call.
#![expect(
    unsafe_code,
    reason = "pool blocks and callbacks given as raw pointers"
)]

use std::alloc::Layout;
use std::boxed::Box;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::string::{String, ToString};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::vec::Vec;

use super::{
    IO_STACK_LOCATION, KTIMER, PKBUGCHECK_CALLBACK_ROUTINE, PKSERVICE_ROUTINE,
    PROCESSOR_CALLBACK_FUNCTION,
};

pub(super) mod api;
mod dpc;
mod io;
mod locks;
mod mm;
mod poller;
mod pool;
mod registry;
mod thread;
mod wait;

pub use locks::interrupt;
pub use poller::Poller;
pub use registry::Value;

/// A wait that nothing ends is a failed test.
pub(super) const STUCK: std::time::Duration = std::time::Duration::from_secs(60);

pub(super) struct Block {
    pub(super) layout: Layout,
    pub(super) size: usize,
    pub(super) tag: u32,
}

pub(super) struct Queued {
    pub(super) dpc: usize,
    /// Thread that must run it.
    pub(super) owner: u64,
}

pub(super) struct Timer {
    pub(super) timer: usize,
    pub(super) due: u64,
    pub(super) period: u64,
}

#[derive(Clone, Copy)]
pub(super) struct Isr {
    pub(super) routine: PKSERVICE_ROUTINE,
    pub(super) context: usize,
    pub(super) irql: u8,
    pub(super) object: usize,
    /// The lock held around the routine, or 0.
    pub(super) lock: usize,
}

pub(super) struct ThreadObject {
    pub(super) done: Mutex<bool>,
    pub(super) references: AtomicU32,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) pool: HashMap<usize, Block>,
    pub(super) freed: HashMap<usize, Block>,
    pub(super) allocations: u64,
    pub(super) fail_at: Option<u64>,
    pub(super) dpcs: VecDeque<Queued>,
    pub(super) running: Vec<usize>,
    pub(super) processors: HashMap<u32, u64>,
    pub(super) timers: Vec<Timer>,
    pub(super) handles: HashMap<usize, Handle>,
    pub(super) next_handle: usize,
    pub(super) threads: HashMap<usize, Arc<ThreadObject>>,
    pub(super) items: u32,
    pub(super) registry: BTreeMap<String, registry::KeyNode>,
    pub(super) log: Vec<String>,
    pub(super) physical: Vec<(u64, Box<[u64]>)>,
    /// Address and bytes of what MmAllocatePagesForMdlEx gave.
    pub(super) pages: Vec<(usize, usize)>,
    pub(super) io_maps: u32,
    pub(super) isrs: BTreeMap<u32, Isr>,
    /// Bug check callbacks: record, routine, buffer, length.
    pub(super) crashes: Vec<(usize, PKBUGCHECK_CALLBACK_ROUTINE, usize, u32)>,
    pub(super) work_items: HashMap<usize, bool>,
    pub(super) devices: Vec<usize>,
    pub(super) irps: HashMap<usize, Locations>,
    pub(super) relations_invalidated: u32,
    pub(super) cpu_callbacks: HashMap<usize, (PROCESSOR_CALLBACK_FUNCTION, usize)>,
    /// Rounds in which the processor that polls found nothing to do.
    pub(super) idle_rounds: Option<Arc<AtomicU64>>,
    pub(super) stopping: bool,
}

/// Stack locations of a live IRP.
pub(super) struct Locations(
    #[expect(dead_code, reason = "reached through the IRP's pointer")]
    pub(super)  Box<[IO_STACK_LOCATION]>,
);
// SAFETY: plain memory; who may touch it is the IRP's owner.
unsafe impl Send for Locations {}

pub(super) enum Handle {
    Key(String),
    Thread(usize),
}

/// One fake machine.
pub struct Kernel {
    state: Mutex<State>,
    pub(super) changed: Condvar,
    clock: AtomicU64,
    pub(super) cpus: AtomicU32,
    auto: AtomicU32,
    /// What the performance counter is ahead of interrupt time.
    counter: AtomicU64,
    /// How far each look moves the performance counter.
    counter_step: AtomicU64,
    pub(super) clock_lag: AtomicU64,
}

std::thread_local! {
    static KERNEL: RefCell<Option<Arc<Kernel>>> = const { RefCell::new(None) };
    static IRQL: Cell<u8> = const { Cell::new(0) };
    static CPU: Cell<u32> = const { Cell::new(0) };
    static THREAD: Cell<u64> = const { Cell::new(0) };
    /// Whether this processor has its interrupts masked (RFLAGS.IF clear).
    static INTERRUPTS_OFF: Cell<bool> = const { Cell::new(false) };
}

static THREADS: AtomicU64 = AtomicU64::new(1);

/// A number that no other thread of this process has.
pub(super) fn thread_id() -> u64 {
    THREAD.with(|id| {
        if id.get() == 0 {
            id.set(THREADS.fetch_add(1, Ordering::Relaxed));
        }
        id.get()
    })
}

pub(super) fn irql() -> u8 {
    // Destructors that run because a rule was broken must not fail on the level that it was broken at.
    if std::thread::panicking() {
        return 0;
    }
    IRQL.with(Cell::get)
}

pub(super) fn set_irql(level: u8) {
    IRQL.with(|cell| cell.set(level));
}

pub(super) fn cpu() -> u32 {
    CPU.with(Cell::get)
}

/// Panics unless the calling thread's IRQL is at most `max`.
#[track_caller]
pub(super) fn at_most(call: &str, max: u8) {
    let level = irql();
    assert!(level <= max, "{call}: IRQL {level}, at most {max} allowed");
}

/// Panics unless the calling thread's IRQL is at least `min`.
#[track_caller]
pub(super) fn at_least(call: &str, min: u8) {
    let level = irql();
    assert!(
        level >= min || std::thread::panicking(),
        "{call}: IRQL {level}, at least {min} needed"
    );
}

impl Kernel {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                next_handle: 4,
                ..State::default()
            }),
            changed: Condvar::new(),
            clock: AtomicU64::new(10_000_000),
            cpus: AtomicU32::new(4),
            auto: AtomicU32::new(0),
            counter: AtomicU64::new(0),
            counter_step: AtomicU64::new(0),
            clock_lag: AtomicU64::new(0),
        })
    }

    /// The kernel of this thread, made on first use.
    pub(super) fn current() -> Arc<Self> {
        KERNEL.with(|cell| cell.borrow_mut().get_or_insert_with(Self::new).clone())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> u64 {
        self.clock.load(Ordering::SeqCst)
    }

    /// The performance counter, 10 MHz.
    pub(super) fn counter(&self) -> u64 {
        let step = self.counter_step.load(Ordering::SeqCst);
        self.now() + self.counter.fetch_add(step, Ordering::SeqCst) + step
    }

    pub(super) fn auto_clock(&self) -> bool {
        self.auto.load(Ordering::SeqCst) != 0
    }

    /// Makes the calling thread a processor of this machine.
    pub fn adopt(self: &Arc<Self>, cpu: u32) {
        KERNEL.with(|cell| *cell.borrow_mut() = Some(self.clone()));
        CPU.with(|cell| cell.set(cpu));
        set_irql(0);
    }

    /// Delivers the interrupt `vector` on this thread; false when nothing is connected.
    pub fn interrupt(self: &Arc<Self>, vector: u32) -> bool {
        let Some(isr) = self.lock().isrs.get(&vector).copied() else {
            return false;
        };
        let old = irql();
        assert!(old < isr.irql, "interrupt {vector}: IRQL {old} masks it");
        assert!(
            !INTERRUPTS_OFF.with(Cell::get),
            "interrupt {vector}: interrupts are off"
        );
        set_irql(isr.irql);
        if isr.lock != 0 {
            locks::acquire("interrupt", isr.lock as *mut usize);
        }
        // SAFETY: connected, and disconnecting waits by taking it out of the table under the same lock in tests of one thread.
        unsafe { (isr.routine)(isr.object as *mut _, isr.context as *mut _) };
        if isr.lock != 0 {
            locks::release("interrupt", isr.lock as *mut usize);
        }
        set_irql(old);
        api::run_dpcs(self);
        true
    }

    /// Moves the clock on by `span` from any thread, as the clock interrupt does.
    pub fn tick(self: &Arc<Self>, span: crate::Duration) {
        self.advance_to(self.now() + span.ticks());
    }

    /// Sets the clock to `at` (never back) and queues the DPCs of due timers on the calling thread.
    pub(super) fn advance_to(self: &Arc<Self>, at: u64) {
        self.clock.fetch_max(at, Ordering::SeqCst);
        loop {
            let mut state = self.lock();
            let now = self.now();
            let Some(index) = state.timers.iter().position(|timer| timer.due <= now) else {
                break;
            };
            let timer = state.timers[index].timer as *mut KTIMER;
            if state.timers[index].period == 0 {
                state.timers.swap_remove(index);
            } else {
                state.timers[index].due += state.timers[index].period;
            }
            // SAFETY: a queued timer is live memory: freeing it while queued is caught by the pool.
            let dpc = unsafe { (*timer).Dpc };
            drop(state);
            if !dpc.is_null() {
                api::insert_dpc(self, dpc);
            }
        }
        self.changed.notify_all();
        api::run_dpcs(self);
    }

    /// The next point at which something is due.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.lock().timers.iter().map(|timer| timer.due).min()
    }
}

impl core::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("fake::Kernel")
    }
}

/// A test's hold on its fake kernel; see the module.
#[derive(Debug)]
pub struct Session {
    kernel: Arc<Kernel>,
    before: Option<Arc<Kernel>>,
}

/// Gives the calling thread a fresh kernel.
#[must_use]
pub fn boot() -> Session {
    let kernel = Kernel::new();
    let before = KERNEL.with(|cell| cell.borrow_mut().replace(kernel.clone()));
    set_irql(0);
    CPU.with(|cell| cell.set(0));
    Session { kernel, before }
}

/// A host thread that is processor `cpu` of the calling thread's kernel.
pub fn spawn<T: Send + 'static>(
    cpu: u32,
    f: impl FnOnce() -> T + Send + 'static,
) -> std::thread::JoinHandle<T> {
    let kernel = Kernel::current();
    std::thread::spawn(move || {
        kernel.adopt(cpu);
        f()
    })
}

impl Session {
    /// The kernel, for threads made by other means ([`Kernel::adopt`]).
    #[must_use]
    pub fn kernel(&self) -> Arc<Kernel> {
        self.kernel.clone()
    }

    /// Runs the bug check callbacks as a crash does, newest first.
    pub fn crash(&self) {
        let crashes = self.kernel.lock().crashes.clone();
        let old = irql();
        set_irql(15);
        for (_, routine, buffer, length) in crashes.into_iter().rev() {
            // SAFETY: registered, so callable with its buffer.
            unsafe { routine(buffer as super::PVOID, length) };
        }
        set_irql(old);
    }

    /// Moves the clock by `ticks` units of 100 ns; due timers' DPCs run on this thread.
    pub fn advance(&self, span: crate::Duration) {
        let target = self.kernel.now() + span.ticks();
        // Stop at each deadline on the way: a timer set by an expiry may be due as well.
        while let Some(due) = self.kernel.next_due().filter(|due| *due <= target) {
            self.kernel.advance_to(due);
        }
        self.kernel.advance_to(target);
    }

    /// Lets the clock jump to the next deadline when a wait has lasted 10 ms of real time on an idle machine; see the module.
    pub fn auto_clock(&self) {
        self.kernel.auto.store(1, Ordering::SeqCst);
    }

    /// Lets every look at the performance counter find it `step` further, while interrupt time stands still: a machine whose
    /// interrupts are off.
    pub fn run_counter(&self, step: crate::Duration) {
        self.kernel
            .counter_step
            .store(step.ticks(), Ordering::SeqCst);
    }

    /// Brings up processor number `cpus`, as a hot add does: its callbacks first, at PASSIVE_LEVEL on this thread. False when one
    /// of them refused it.
    pub fn add_cpu(&self) -> bool {
        dpc::add_cpu(&self.kernel)
    }

    /// Number of processors reported; 4 at boot.
    pub fn set_cpus(&self, count: u32) {
        self.kernel.cpus.store(count, Ordering::SeqCst);
    }

    /// Makes the `n`-th allocation from now (0 = the next) fail, once; `None` stops that.
    pub fn fail_alloc(&self, n: Option<u64>) {
        let mut state = self.kernel.lock();
        state.fail_at = n.map(|n| state.allocations + n);
    }

    /// Whether the failure asked for with [`Self::fail_alloc`] has not happened yet.
    #[must_use]
    pub fn fail_pending(&self) -> bool {
        self.kernel.lock().fail_at.is_some()
    }

    /// Allocations made so far.
    #[must_use]
    pub fn allocations(&self) -> u64 {
        self.kernel.lock().allocations
    }

    /// Pool blocks in use.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.kernel.lock().pool.len()
    }

    /// Lines logged so far.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.kernel.lock().log.clone()
    }

    /// DPCs queued and not yet run.
    #[must_use]
    pub fn queued_dpcs(&self) -> usize {
        self.kernel.lock().dpcs.len()
    }

    /// Calls to IoInvalidateDeviceRelations so far.
    #[must_use]
    pub fn relations_invalidated(&self) -> u32 {
        self.kernel.lock().relations_invalidated
    }

    /// Creates a registry value (and its key and the key's parents).
    pub fn set_registry(&self, key: &str, name: &str, value: &Value) {
        registry::set(&mut self.kernel.lock(), key, name, value);
    }

    /// The registry value, when there is one.
    #[must_use]
    pub fn registry(&self, key: &str, name: &str) -> Option<Value> {
        registry::get(&self.kernel.lock(), key, name)
    }

    /// Backs `pages` pages of physical memory at `base` with zeroed memory; returns their address.
    pub fn add_physical(&self, base: u64, pages: usize) -> *mut u64 {
        mm::add_physical(&self.kernel, base, pages)
    }

    /// Delivers the interrupt `vector` on this thread; false when nothing is connected.
    pub fn interrupt(&self, vector: u32) -> bool {
        self.kernel.interrupt(vector)
    }

    /// What a Driver Verifier would complain about if the driver were unloaded now.
    #[must_use]
    pub fn leaks(&self) -> Vec<String> {
        let state = self.kernel.lock();
        let mut found = Vec::new();
        let mut tags: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
        for block in state.pool.values() {
            let entry = tags.entry(block.tag).or_default();
            entry.0 += 1;
            entry.1 += block.size;
        }
        for (tag, (blocks, bytes)) in tags {
            let tag = String::from_utf8_lossy(&tag.to_le_bytes()).to_string();
            found.push(std::format!(
                "pool left at unload: tag {tag}, {blocks} blocks, {bytes} bytes"
            ));
        }
        for (address, block) in &state.freed {
            // SAFETY: freed blocks stay allocated (quarantine) until the session ends.
            let bytes = unsafe { core::slice::from_raw_parts(*address as *const u8, block.size) };
            if bytes.iter().any(|byte| *byte != pool::FREED) {
                found.push(std::format!("write after free: {} bytes", block.size));
            }
        }
        if !state.dpcs.is_empty() {
            found.push(std::format!("DPCs left queued: {}", state.dpcs.len()));
        }
        if !state.timers.is_empty() {
            found.push(std::format!("timers left set: {}", state.timers.len()));
        }
        if state.io_maps != 0 {
            found.push(std::format!(
                "MmMapIoSpace mappings left: {}",
                state.io_maps
            ));
        }
        if !state.crashes.is_empty() {
            found.push(std::format!(
                "bug check callbacks left: {}",
                state.crashes.len()
            ));
        }
        if !state.isrs.is_empty() {
            found.push(std::format!(
                "interrupts left connected: {}",
                state.isrs.len()
            ));
        }
        if !state.cpu_callbacks.is_empty() {
            found.push(std::format!(
                "processor callbacks left: {}",
                state.cpu_callbacks.len()
            ));
        }
        if !state.handles.is_empty() {
            found.push(std::format!("handles left open: {}", state.handles.len()));
        }
        found
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let leaks = self.leaks();
        let mut state = self.kernel.lock();
        state.stopping = true;
        for (address, block) in state.freed.drain() {
            // SAFETY: allocated with this layout by `pool::ExAllocatePoolWithTag`, and dropped from the table here.
            unsafe { std::alloc::dealloc(address as *mut u8, block.layout) };
        }
        drop(state);
        self.kernel.changed.notify_all();
        KERNEL.with(|cell| *cell.borrow_mut() = self.before.take());
        set_irql(0);
        INTERRUPTS_OFF.with(|off| off.set(false));
        if !std::thread::panicking() {
            assert!(leaks.is_empty(), "{leaks:?}");
        }
    }
}
