// SPDX-License-Identifier: BSD-2-Clause
//! Work queues: a few threads at PASSIVE_LEVEL which run closures in order.
//!
//! Threads are made as needed, up to [`MOST`], so that work which blocks does not stop other work.

use alloc::boxed::Box;

/// The most worker threads.
#[cfg(target_os = "none")]
const MOST: usize = 8;

#[cfg(target_os = "none")]
mod threads {
    use alloc::boxed::Box;
    use alloc::collections::VecDeque;
    use alloc::vec::Vec;

    use super::MOST;
    use crate::export::{ANY, D};
    use crate::ke::event::Event;
    use crate::ke::wait::Timeout;
    use crate::mem::Ptr;
    use crate::sync::Lock;
    use crate::{ps, verifier};

    struct Queue {
        work: VecDeque<Box<dyn FnOnce() + Send>>,
        threads: usize,
        idle: usize,
        /// `WORK_QUEUE_ITEM`s that have not begun.
        items: Vec<Ptr>,
    }

    static QUEUE: Lock<Queue> = Lock::new(Queue {
        work: VecDeque::new(),
        threads: 0,
        idle: 0,
        items: Vec::new(),
    });
    static WAKE: spin::Once<Event> = spin::Once::new();

    fn wake() -> &'static Event {
        WAKE.call_once(|| Event::new(true))
    }

    /// Makes the first threads; at PASSIVE_LEVEL, once.
    pub(crate) fn init() {
        wake();
        for _ in 0..2 {
            add_thread();
        }
    }

    fn add_thread() {
        QUEUE.lock().threads += 1;
        let thread = ps::thread::spawn("worker", Box::new(worker));
        ps::thread::dereference(thread);
    }

    fn worker() {
        loop {
            let (next, more, grow) = {
                let mut queue = QUEUE.lock();
                let next = queue.work.pop_front();
                if next.is_none() {
                    queue.idle += 1;
                }
                let more = !queue.work.is_empty();
                (next, more, more && queue.idle == 0 && queue.threads < MOST)
            };
            match next {
                Some(work) => {
                    if grow {
                        add_thread();
                    }
                    if more {
                        wake().set();
                    }
                    work();
                }
                None => {
                    wake().wait(Timeout::Never);
                    QUEUE.lock().idle -= 1;
                }
            }
        }
    }

    /// Queues work.
    pub(super) fn queue(work: Box<dyn FnOnce() + Send>) {
        QUEUE.lock().work.push_back(work);
        wake().set();
    }

    // WORK_QUEUE_ITEM: list 0, routine 0x10, parameter 0x18.
    extern "win64" fn ex_queue_work_item(item: Ptr, _queue: u32) {
        let mut locked = QUEUE.lock();
        if locked.items.contains(&item) {
            drop(locked);
            verifier::fail(
                "work_item_queued",
                format_args!("work item {item} is queued already"),
            );
        }
        locked.items.push(item);
        drop(locked);
        let (routine, parameter) = (item.ptr(0x10), item.get::<usize>(0x18));
        queue(Box::new(move || {
            QUEUE.lock().items.retain(|i| *i != item);
            verifier::call::driver("work item", routine, &[parameter]);
        }));
    }

    extern "win64" fn ex_initialize_work_item(item: Ptr, routine: Ptr, parameter: usize) {
        item.set(0, 0usize);
        item.set(8, 0usize);
        item.set(0x10, routine);
        item.set(0x18, parameter);
    }

    /// A queued work item in the range, for the check of freed memory.
    pub(crate) fn queued_in(start: Ptr, len: usize) -> Option<Ptr> {
        QUEUE
            .lock()
            .items
            .iter()
            .copied()
            .find(|i| (start.0..start.0 + len).contains(&i.0))
    }

    crate::exports! {
        "ExQueueWorkItem", D => ex_queue_work_item;
        "ExInitializeWorkItem", ANY => ex_initialize_work_item;
    }
}

#[cfg(target_os = "none")]
pub(crate) use threads::{EXPORTS, init, queued_in};

/// Runs `work` once in a worker thread at `PASSIVE_LEVEL`. Up to `DISPATCH_LEVEL`.
#[cfg(target_os = "none")]
pub fn queue(work: Box<dyn FnOnce() + Send>) {
    threads::queue(work);
}

/// Runs `work` at once: a host test has no threads of the kernel's.
#[cfg(not(target_os = "none"))]
pub fn queue(work: Box<dyn FnOnce() + Send>) {
    work();
}
