// SPDX-License-Identifier: BSD-2-Clause
//! [`Core`]: spawning, running, sweeping and stopping the tasks of one executor.
//!
//! Who owns what: the run queue's word is shared; everything in [`Local`] belongs to whoever moved the word to RUNNING. A task is
//! allocated by `spawn` on any processor and freed by the runner alone. The core stops by `close` (refuse and cancel), runs until
//! `is_empty`, and may be freed once its platform pends no more.
#![expect(unsafe_code, reason = "raw, type-erased task blocks")]

use core::cell::UnsafeCell;
use core::ptr::{NonNull, null_mut};
use core::task::Context;

use super::queue::{RunQueue, Taken};
use super::{Budget, DriveError, Driven, Outcome, TaskState};
use crate::Platform;
use crate::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use crate::nt::Arc;
use crate::task::{
    CANCELLED, COMPLETE, Group, Header, JOIN, JOINER, OUTPUT, REF, SCHEDULED, borrowed_waker,
};

/// Polls from one look at the clock to the next.
const LOOK: u32 = 8;

/// What the runner alone touches.
struct Local {
    /// Tasks taken and not yet run, oldest first.
    first: *mut Header,
    last: *mut Header,
    /// What was done since the last look at the clock, in polls; a future dropped and a block freed count as four each.
    unlooked: u32,
}

/// The part of a core that a task's header leads to.
#[repr(C)]
pub(crate) struct CoreHead {
    queue: RunQueue,
    pend: unsafe fn(*const CoreHead),
    /// Live blocks: spawned and not yet freed.
    pub(super) blocks: AtomicUsize,
    /// Releasers between their last decrement and their last touch of the core, and groups with tasks or cancellers.
    inflight: AtomicUsize,
    pub(super) closed: AtomicBool,
    swept: AtomicBool,
    /// `Platform::runner` of the current runner, or zero.
    runner: AtomicUsize,
    pub(super) live: AtomicPtr<Header>,
    runs: AtomicU32,
}

/// Where a memory image finds things in an executor, in bytes from its [`Core`].
///
/// # IRQL
/// Any.
pub mod layout {
    use core::mem::offset_of;

    use super::CoreHead;

    /// First live task.
    pub const LIVE: usize = offset_of!(CoreHead, live);
    /// Live blocks, usize.
    pub const BLOCKS: usize = offset_of!(CoreHead, blocks);
    /// Runs, u32.
    pub const RUNS: usize = offset_of!(CoreHead, runs);
}

impl CoreHead {
    /// # Safety
    /// As `RunQueue::push`; the core outlives the call.
    pub(crate) unsafe fn push(&self, task: NonNull<Header>) {
        // SAFETY: by contract.
        if unsafe { self.queue.push(task) } {
            // SAFETY: `pend` belongs to the core that this is the head of.
            unsafe { (self.pend)(self) };
        }
    }

    /// Queues the block of a task without references to be freed.
    ///
    /// Once it is published, the runner may free it, and with it the last thing that keeps the core. Only a push from idle, which
    /// has to pend, touches the core after that; `is_empty` tells it by `inflight`.
    ///
    /// # Safety
    /// As `RunQueue::push`, by the one who gave back the last reference; the core lives until then.
    pub(crate) unsafe fn push_unowned(&self, task: NonNull<Header>) {
        let mut entered = false;
        let mut enter = || {
            if !core::mem::replace(&mut entered, true) {
                self.hold();
            }
        };
        // SAFETY: by contract.
        let pend = unsafe { self.queue.push_from_idle(task, &mut enter) };
        if pend {
            // SAFETY: as in `push`.
            unsafe { (self.pend)(self) };
        }
        if entered {
            self.let_go();
        }
    }

    /// Keeps the core from ending until [`Self::let_go`]. By somebody who keeps it during this call.
    ///
    /// # IRQL
    /// Any.
    pub(crate) fn hold(&self) {
        // Ordered before the end by the read-modify-writes of `blocks`: the caller's block goes later.
        self.inflight.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends a [`Self::hold`]; the core is not touched after it.
    ///
    /// # IRQL
    /// Any.
    pub(crate) fn let_go(&self) {
        self.inflight.fetch_sub(1, Ordering::Release);
    }

    /// Makes the runner look at every live task's group.
    pub(crate) fn sweep(&self) {
        // A read-modify-write, so that it comes after whatever the runner has swept before.
        self.swept.swap(true, Ordering::SeqCst);
        if self.queue.kick() {
            // SAFETY: as in `push`.
            unsafe { (self.pend)(self) };
        }
    }
}

/// An executor over the platform `P`. It must not move once a task was spawned, and outlives all its tasks' blocks.
///
/// # IRQL
/// As said at each method.
#[repr(C)]
pub struct Core<P: Platform> {
    pub(super) head: CoreHead,
    local: UnsafeCell<Local>,
    platform: P,
}

// SAFETY: `local` is touched by the runner alone (RunQueue), the rest is atomic or `Sync`.
unsafe impl<P: Platform> Send for Core<P> {}
// SAFETY: as above.
unsafe impl<P: Platform> Sync for Core<P> {}

unsafe fn pend<P: Platform>(head: *const CoreHead) {
    // SAFETY: the head is the first field of a live `Core<P>` (repr(C)).
    let core = unsafe { &*head.cast::<Core<P>>() };
    core.platform.pend();
}

impl<P: Platform> Core<P> {
    /// An executor without tasks.
    pub fn new(platform: P) -> Self {
        let head = CoreHead {
            queue: RunQueue::new(),
            pend: pend::<P>,
            blocks: AtomicUsize::new(0),
            inflight: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            swept: AtomicBool::new(false),
            runner: AtomicUsize::new(0),
            live: AtomicPtr::new(null_mut()),
            runs: AtomicU32::new(0),
        };
        Self {
            head,
            local: UnsafeCell::new(Local {
                first: null_mut(),
                last: null_mut(),
                unlooked: 0,
            }),
            platform,
        }
    }

    /// The platform.
    pub fn platform(&self) -> &P {
        &self.platform
    }

    /// A group for tasks of this executor.
    ///
    /// # Safety
    /// The core does not move any more, and is not dropped before [`Self::is_empty`].
    pub(crate) unsafe fn group(&self, name: &'static str) -> Group {
        // SAFETY: by contract.
        unsafe { Group::new(&self.head, name) }
    }

    /// Runs ready tasks. Called after each `pend`, or inline.
    ///
    /// # IRQL
    /// That of the executor.
    pub fn run(&self, budget: Budget) -> Outcome {
        if self.enter() {
            self.run_entered(budget)
        } else {
            Outcome::Busy
        }
    }

    /// Calls `f` and runs what is ready then. Nothing is pended for what `f` wakes: it runs here, or where the executor runs already.
    ///
    /// # IRQL
    /// That of the executor.
    pub fn run_with<T>(&self, budget: Budget, f: impl FnOnce() -> T) -> T {
        let entered = self.enter();
        let value = f();
        if entered {
            self.run_entered(budget);
        }
        value
    }

    /// Begins a run; false when there is one.
    #[inline]
    fn enter(&self) -> bool {
        let Ok(taken) = self.head.queue.start() else {
            return false;
        };
        self.head
            .runner
            .store(self.platform.runner(), Ordering::Relaxed);
        let runs = self.head.runs.load(Ordering::Relaxed);
        self.head
            .runs
            .store(runs.wrapping_add(1), Ordering::Relaxed);
        self.append(taken);
        true
    }

    /// The run that was [begun](Self::enter).
    fn run_entered(&self, budget: Budget) -> Outcome {
        let deadline = match budget.micros {
            0 => u64::MAX,
            micros => self.platform.micros().saturating_add(micros),
        };
        let mut polls = 0;
        // Polls, and tasks that were cancelled or freed: those take their time as well.
        let mut steps = 0;
        self.local().unlooked = 0;
        loop {
            let Some(task) = self.pop() else {
                if self.head.queue.is_quiet() {
                    self.head.runner.store(0, Ordering::Relaxed);
                    if self.head.queue.finish() {
                        return Outcome::Idle { polls };
                    }
                    self.head
                        .runner
                        .store(self.platform.runner(), Ordering::Relaxed);
                }
                self.append(self.head.queue.take());
                continue;
            };
            let mut late = false;
            if self.local().unlooked >= LOOK && budget.micros != 0 {
                self.local().unlooked = 0;
                late = self.platform.micros() >= deadline;
            }
            if steps >= budget.polls || late {
                self.unpop(task);
                self.head.runner.store(0, Ordering::Relaxed);
                self.head.queue.pause();
                self.platform.pend();
                return Outcome::More { polls };
            }
            steps += 1;
            self.local().unlooked += 1;
            if self.step(task) {
                polls += 1;
            }
        }
    }

    /// Calls `show` for every live task that has run at least once, with the list at rest: nobody runs the executor meanwhile, or
    /// this was called from inside its run on this processor (an interrupt, a task). False, and nothing shown, while another
    /// processor runs it. What became ready meanwhile is pended for.
    ///
    /// # IRQL
    /// Any.
    pub fn inspect(&self, show: impl FnMut(TaskState)) -> bool {
        let Ok(taken) = self.head.queue.start() else {
            let here = self.head.runner.load(Ordering::Relaxed) == self.platform.runner();
            if here {
                self.for_each_task(show);
            }
            return here;
        };
        self.head
            .runner
            .store(self.platform.runner(), Ordering::Relaxed);
        self.append(taken);
        self.for_each_task(show);
        self.head.runner.store(0, Ordering::Relaxed);
        if !self.local().first.is_null() || !self.head.queue.finish() {
            // As at the end of a run's budget.
            self.head.queue.pause();
            self.platform.pend();
        }
        true
    }

    /// Runs ready tasks on the caller, who may have to wait for another processor to let go: at most `limit` polls.
    ///
    /// # IRQL
    /// That of the executor.
    pub fn drive(&self, limit: usize) -> Result<Driven, DriveError> {
        const SPINS: usize = 1_000_000;
        let end = self.platform.micros().saturating_add(10_000);
        for spin in 0..SPINS {
            match self.run(Budget::polls(limit)) {
                Outcome::Idle { polls } => return Ok(Driven { idle: true, polls }),
                Outcome::More { polls } => return Ok(Driven { idle: false, polls }),
                Outcome::Busy => {}
            }
            if self.head.runner.load(Ordering::Relaxed) == self.platform.runner() {
                return Err(DriveError::Reentrant);
            }
            if spin % 64 == 63 && self.platform.micros() > end {
                break;
            }
            self.platform.relax();
        }
        Err(DriveError::Busy)
    }

    /// Runs one popped task; true when it was polled.
    fn step(&self, task: NonNull<Header>) -> bool {
        // SAFETY: a popped task is alive until this function frees it.
        let header = unsafe { task.as_ref() };
        if header.state.load(Ordering::Acquire) < REF {
            self.free(task);
            return false;
        }
        // Transition 3 (header.rs).
        let before = header.state.fetch_and(!SCHEDULED, Ordering::AcqRel);
        if before & COMPLETE != 0 {
            self.release(task);
            return false;
        }
        self.link(task);
        // SAFETY: NULL, or a group kept alive by this task's reference.
        let group = unsafe { header.group.as_ref() };
        let stopped =
            self.head.closed.load(Ordering::Relaxed) || group.is_some_and(Group::is_stopped);
        if before & CANCELLED != 0 || stopped {
            // SAFETY: not complete, so the future is there, and the runner alone touches it.
            unsafe { (header.vtable.drop_future)(task) };
            self.local().unlooked += LOOK / 2;
            self.complete(task, 0);
            return false;
        }
        let polls = header.polls.load(Ordering::Relaxed);
        header.polls.store(polls.wrapping_add(1), Ordering::Relaxed);
        // SAFETY: the executor's reference stays until after the poll.
        let waker = unsafe { borrowed_waker(task) };
        let mut context = Context::from_waker(&waker);
        crate::probe!(Poll);
        // SAFETY: not complete, so the future is there, and the runner alone touches it.
        if unsafe { (header.vtable.poll)(task, &mut context) } {
            self.complete(task, OUTPUT);
        }
        true
    }

    /// Transition 4 (header.rs): the future is gone. One read-modify-write sets COMPLETE and gives back the executor's reference;
    /// the block stays whatever others do then, for only the runner frees, and that is us.
    fn complete(&self, task: NonNull<Header>, mut output: u32) {
        // SAFETY: alive, as said above.
        let header = unsafe { task.as_ref() };
        let mut before = header.state.load(Ordering::Relaxed);
        let after = loop {
            if output != 0 && before & JOIN == 0 {
                // SAFETY: the handle was closed before COMPLETE, so the output is ours.
                unsafe { (header.vtable.drop_output)(task) };
                output = 0;
                before = header.state.load(Ordering::Relaxed);
            }
            // In the queue it keeps its reference until it is popped.
            let reference = if before & SCHEDULED == 0 { REF } else { 0 };
            let after = (before | COMPLETE | output) - reference;
            match header.state.compare_exchange_weak(
                before,
                after,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => break after,
                Err(seen) => before = seen,
            }
        };
        if before & JOINER != 0 {
            header.join.wake();
        }
        // SAFETY: NULL, or a group kept alive by this block.
        if let Some(group) = unsafe { header.group.as_ref() } {
            group.leave();
        }
        if after < REF {
            self.free(task);
        }
    }

    /// Gives back the executor's reference.
    fn release(&self, task: NonNull<Header>) {
        // SAFETY: alive until the decrement.
        let header = unsafe { task.as_ref() };
        let before = header.state.fetch_sub(REF, Ordering::AcqRel);
        debug_assert!(before >= REF, "reference given back twice");
        if before < 2 * REF {
            self.free(task);
        }
    }

    /// Frees the block of a task without references.
    fn free(&self, task: NonNull<Header>) {
        self.unlink(task);
        self.local().unlooked += LOOK / 2;
        // SAFETY: no references are left, so nobody else sees the block.
        let header = unsafe { &mut *task.as_ptr() };
        if !header.group.is_null() {
            // SAFETY: the reference made by `into_raw` in `spawn`.
            drop(unsafe { Arc::from_raw(header.group) });
        }
        // SAFETY: nobody else sees it, and it is not used again.
        unsafe { core::ptr::drop_in_place(&raw mut header.join) };
        let (size, offset) = (header.vtable.size, header.offset);
        // SAFETY: the header has no drop glue left to run, and nobody sees the block.
        unsafe { self.give_back(task.cast(), size, offset) };
        self.head.blocks.fetch_sub(1, Ordering::SeqCst);
    }

    /// Schedules every parked task of a stopped group, or every task when closed, so that `step` drops its future.
    fn cancel_stopped(&self) {
        let mut next = self.head.live.load(Ordering::Relaxed);
        while let Some(task) = NonNull::new(next) {
            // SAFETY: linked tasks are alive; only the runner unlinks.
            let header = unsafe { task.as_ref() };
            next = header.list_next.load(Ordering::Relaxed);
            // SAFETY: NULL, or a group kept alive by this task's reference.
            let group = unsafe { header.group.as_ref() };
            if !self.head.closed.load(Ordering::Relaxed) && !group.is_some_and(Group::is_stopped) {
                continue;
            }
            // The queue is open while we run: a push here does not pend, and `take` finds it. The executor's reference, there
            // while the task is not complete, is the one that `schedule` needs.
            if header.state.load(Ordering::Acquire) & COMPLETE == 0 {
                // SAFETY: as said.
                unsafe { Header::schedule(task, CANCELLED) };
            }
        }
    }

    #[expect(
        clippy::mut_from_ref,
        reason = "the runner's exclusive part; see the safety comment"
    )]
    fn local(&self) -> &mut Local {
        // SAFETY: called by the runner only, and no reference is kept across calls of each other.
        unsafe { &mut *self.local.get() }
    }

    /// Appends what was taken to the runner's queue, and looks whether a sweep was asked for: its kick is in the word taken.
    fn append(&self, taken: Taken) {
        let local = self.local();
        if !taken.first.is_null() {
            match NonNull::new(local.last) {
                // SAFETY: queued tasks are alive.
                Some(last) => unsafe { last.as_ref() }
                    .next
                    .store(taken.first, Ordering::Relaxed),
                None => local.first = taken.first,
            }
            local.last = taken.last;
        }
        if self.head.swept.load(Ordering::Relaxed) && self.head.swept.swap(false, Ordering::SeqCst)
        {
            self.cancel_stopped();
        }
    }

    fn pop(&self) -> Option<NonNull<Header>> {
        let local = self.local();
        let task = NonNull::new(local.first)?;
        // SAFETY: queued tasks are alive.
        local.first = unsafe { task.as_ref() }.next.load(Ordering::Relaxed);
        if local.first.is_null() {
            local.last = null_mut();
        }
        Some(task)
    }

    fn unpop(&self, task: NonNull<Header>) {
        let local = self.local();
        // SAFETY: just popped, alive.
        unsafe { task.as_ref() }
            .next
            .store(local.first, Ordering::Relaxed);
        if local.first.is_null() {
            local.last = task.as_ptr();
        }
        local.first = task.as_ptr();
    }

    /// Refuses new tasks and cancels all there are.
    ///
    /// # IRQL
    /// Any.
    pub fn close(&self) {
        self.head.closed.store(true, Ordering::SeqCst);
        self.head.sweep();
    }

    /// Whether no task block is left, nobody is about to touch the core, and nothing is queued.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        // A read-modify-write, as that of `spawn`: the later of the two sees what came before the other.
        self.head.blocks.fetch_add(0, Ordering::SeqCst) == 0
            && self.head.inflight.load(Ordering::Acquire) == 0
            && self.head.queue.is_idle()
    }

    /// Task blocks not yet freed.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.head.blocks.load(Ordering::SeqCst)
    }

    /// Whether someone runs it now.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.head.queue.is_running()
    }
}
