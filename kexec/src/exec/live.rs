// SPDX-License-Identifier: BSD-2-Clause
//! The list of live tasks: linked and unlinked by the runner alone, readable by a debugger callback and from a memory image.
#![expect(unsafe_code, reason = "an intrusive list of raw task headers")]

use core::ptr::NonNull;

use super::{Core, TaskState};
use crate::Platform;
use crate::atomic::Ordering;
use crate::task::{COMPLETE, Header, SCHEDULED};

impl<P: Platform> Core<P> {
    /// Puts a task that runs for the first time into the list. By the runner only.
    pub(super) fn link(&self, task: NonNull<Header>) {
        // SAFETY: alive; the list is the runner's.
        let header = unsafe { task.as_ref() };
        if header.linked.replace(true) {
            return;
        }
        let first = self.head.live.load(Ordering::Relaxed);
        header.list_next.store(first, Ordering::Relaxed);
        if let Some(first) = NonNull::new(first) {
            // SAFETY: linked tasks are alive.
            unsafe { first.as_ref() }
                .list_prev
                .store(task.as_ptr(), Ordering::Relaxed);
        }
        self.head.live.store(task.as_ptr(), Ordering::Release);
    }

    /// Takes a task that is about to be freed out of the list. By the runner only.
    pub(super) fn unlink(&self, task: NonNull<Header>) {
        // SAFETY: alive; the list is the runner's.
        let header = unsafe { task.as_ref() };
        if !header.linked.replace(false) {
            return;
        }
        let next = header.list_next.load(Ordering::Relaxed);
        let prev = header.list_prev.load(Ordering::Relaxed);
        match NonNull::new(prev) {
            // SAFETY: linked tasks are alive.
            Some(prev) => unsafe { prev.as_ref() }
                .list_next
                .store(next, Ordering::Relaxed),
            None => self.head.live.store(next, Ordering::Release),
        }
        if let Some(next) = NonNull::new(next) {
            // SAFETY: linked tasks are alive.
            unsafe { next.as_ref() }
                .list_prev
                .store(prev, Ordering::Relaxed);
        }
    }

    /// Calls `show` for every live task that has run at least once. Exact when nobody runs the executor; otherwise (a debugger
    /// callback) a best effort over at most 4096 tasks.
    ///
    /// # IRQL
    /// Any.
    pub fn for_each_task(&self, mut show: impl FnMut(TaskState)) {
        let mut next = self.head.live.load(Ordering::Acquire);
        for _ in 0..4096 {
            let Some(task) = NonNull::new(next) else {
                return;
            };
            // SAFETY: exact use: linked tasks are alive while nobody runs. In a debugger callback the machine stands still.
            let header = unsafe { task.as_ref() };
            let state = header.state.load(Ordering::Relaxed);
            show(TaskState {
                info: header.vtable.info,
                polls: header.polls.load(Ordering::Relaxed),
                wakes: header.wakes.load(Ordering::Relaxed),
                scheduled: state & SCHEDULED != 0,
                complete: state & COMPLETE != 0,
            });
            next = header.list_next.load(Ordering::Relaxed);
        }
    }
}
