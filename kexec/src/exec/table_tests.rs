// SPDX-License-Identifier: BSD-2-Clause
//! Every state of a task against every event: what the next run does, what its owner is told, what is dropped, and that nothing
//! is left.
#![expect(
    unsafe_code,
    reason = "the core's spawn is unsafe: this test keeps its contract by boxing it"
)]

use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};
use std::boxed::Box;
use std::sync::{Arc, Mutex};

use super::{Budget, Core};
use crate::nt::sys::fake;
use crate::platform::Counting;
use crate::task::{Group, JoinHandle};
use crate::{Aborted, nt, task};

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Spawned, never run.
    New,
    Parked,
    /// Woken, in the queue.
    Scheduled,
    /// The event comes from inside the poll, which then pends.
    Running,
    /// As `Running`, but the poll finishes.
    Finishing,
    /// Aborted, not yet run.
    Cancelled,
    /// The output waits.
    Complete,
    /// The output was taken.
    Taken,
    /// The future was dropped by an abort, the handle is there.
    Aborted,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    None,
    Wake,
    WakeTwice,
    Abort,
    WakeThenAbort,
    AbortThenWake,
    Join,
    Detach,
    DropHandle,
    DropWaker,
    CancelGroup,
    Close,
}

use Event::*;
use State::*;

const STATES: [State; 9] = [
    New,
    Parked,
    Scheduled,
    Running,
    Finishing,
    Cancelled,
    Complete,
    Taken,
    State::Aborted,
];
const EVENTS: [Event; 12] = [
    None,
    Wake,
    WakeTwice,
    Abort,
    WakeThenAbort,
    AbortThenWake,
    Join,
    Detach,
    DropHandle,
    DropWaker,
    CancelGroup,
    Close,
];

/// Counts its drops.
struct Dropped(Arc<AtomicUsize>);
impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

type Handle = JoinHandle<Dropped>;
type Hook = Box<dyn FnOnce() + Send>;

/// What the test and the future share.
#[derive(Default)]
struct Seen {
    polls: AtomicUsize,
    futures: Arc<AtomicUsize>,
    outputs: Arc<AtomicUsize>,
    joiner: AtomicUsize,
    done: AtomicBool,
    waker: Mutex<Option<Waker>>,
    handle: Mutex<Option<Handle>>,
    hook: Mutex<Option<Hook>>,
}

impl std::task::Wake for Seen {
    fn wake(self: Arc<Self>) {
        self.joiner.fetch_add(1, Ordering::SeqCst);
    }
}

struct Watched(
    Arc<Seen>,
    #[expect(dead_code, reason = "counts the drop")] Dropped,
);

impl Future for Watched {
    type Output = Dropped;
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Dropped> {
        let seen = &self.0;
        seen.polls.fetch_add(1, Ordering::SeqCst);
        *seen.waker.lock().expect("lock") = Some(context.waker().clone());
        let hook = seen.hook.lock().expect("lock").take();
        hook.into_iter().for_each(|hook| hook());
        if seen.done.load(Ordering::SeqCst) {
            return Poll::Ready(Dropped(seen.outputs.clone()));
        }
        Poll::Pending
    }
}

impl Seen {
    fn wake_task(&self) {
        let waker = self.waker.lock().expect("lock").clone();
        waker.iter().for_each(Waker::wake_by_ref);
    }
    fn with_handle<T>(&self, f: impl FnOnce(&mut Handle) -> T) -> Option<T> {
        self.handle.lock().expect("lock").as_mut().map(f)
    }
    fn abort(&self) {
        self.with_handle(|handle| handle.abort());
    }
    fn join(self: &Arc<Self>) -> Option<Poll<Result<(), Aborted>>> {
        let waker = Waker::from(self.clone());
        let mut context = Context::from_waker(&waker);
        self.with_handle(|handle| Pin::new(handle).poll(&mut context).map(|out| out.map(drop)))
    }
    fn event(self: &Arc<Self>, event: Event, group: &Group, core: &Core<Counting>) {
        match event {
            None => {}
            Wake => self.wake_task(),
            WakeTwice => (self.wake_task(), self.wake_task()).1,
            Abort => self.abort(),
            WakeThenAbort => (self.wake_task(), self.abort()).1,
            AbortThenWake => (self.abort(), self.wake_task()).1,
            Join => drop(self.join()),
            Detach => {
                let handle = self.handle.lock().expect("lock").take();
                handle.expect("handle").detach();
            }
            DropHandle => {
                let handle = self.handle.lock().expect("lock").take();
                drop(handle);
            }
            DropWaker => {
                let waker = self.waker.lock().expect("lock").take();
                drop(waker);
            }
            CancelGroup => group.cancel(),
            Close => core.close(),
        }
    }
}

fn reach(state: State, seen: &Arc<Seen>, run: &dyn Fn()) {
    if state == New {
        return;
    }
    run();
    match state {
        Scheduled | Running => seen.wake_task(),
        Cancelled => seen.abort(),
        State::Aborted => (seen.abort(), run()).1,
        Finishing | Complete | Taken => {
            seen.done.store(true, Ordering::SeqCst);
            seen.wake_task();
            if state != Finishing {
                run();
            }
            if state == Taken {
                assert_eq!(seen.join(), Some(Poll::Ready(Ok(()))));
            }
        }
        New | Parked => {}
    }
}

fn check(state: State, event: Event) {
    let session = fake::boot();
    let core = Box::new(Core::new(Counting::default()));
    let run = || {
        let _ = core.run(Budget::polls(100));
    };
    // SAFETY: boxed, and found empty at the end.
    let group = unsafe { core.group("table") };
    let group = nt::Arc::try_new(nt::Tag(*b"Tabl"), group).expect("memory");
    let seen = Arc::new(Seen::default());
    let future = Watched(seen.clone(), Dropped(seen.futures.clone()));
    // SAFETY: as above.
    let handle = unsafe { core.spawn(task!("table"), Some(&group), future) }.expect("spawn");
    *seen.handle.lock().expect("lock") = Some(handle);
    reach(state, &seen, &run);
    let before = seen.polls.load(Ordering::SeqCst);
    if matches!(state, Running | Finishing) {
        let (inside, shared, address) = (seen.clone(), group.clone(), &raw const *core as usize);
        let hook = move || {
            // SAFETY: the hook runs inside the core's run.
            let core = unsafe { &*(address as *const Core<Counting>) };
            inside.event(event, &shared, core);
        };
        *seen.hook.lock().expect("lock") = Some(Box::new(hook));
    } else {
        seen.event(event, &group, &core);
    }
    run();

    let ends = matches!(
        event,
        Abort | WakeThenAbort | AbortThenWake | DropHandle | CancelGroup | Close
    );
    let wakes = matches!(event, Wake | WakeTwice);
    let polls = match state {
        New | Scheduled => usize::from(!ends),
        Parked => usize::from(wakes),
        // The poll that the event is in, and the one that it asks for.
        Running => 1 + usize::from(wakes),
        Finishing => 1,
        Cancelled | Complete | Taken | State::Aborted => 0,
    };
    let seen_polls = seen.polls.load(Ordering::SeqCst) - before;
    assert_eq!(seen_polls, polls, "{state:?} {event:?}: polls");
    let alive = matches!(state, New | Parked | Scheduled | Running) && !ends;
    let futures = seen.futures.load(Ordering::SeqCst);
    assert_eq!(futures, usize::from(!alive), "{state:?} {event:?}: futures");
    let joined = match (state, event) {
        (_, Detach | DropHandle) => Option::None,
        (Complete, Join) | (Taken, _) => Some(Poll::Ready(Err(Aborted))),
        (Complete | Finishing, _) => Some(Poll::Ready(Ok(()))),
        _ if alive => Some(Poll::Pending),
        _ => Some(Poll::Ready(Err(Aborted))),
    };
    let woken = seen.joiner.load(Ordering::SeqCst);
    let waits = event == Join && matches!(state, Finishing | Cancelled);
    assert_eq!(
        woken,
        usize::from(waits),
        "{state:?} {event:?}: joiner woken"
    );
    assert_eq!(seen.join(), joined, "{state:?} {event:?}: joined");

    // Whatever is left of it goes, and every output was dropped once.
    seen.event(DropHandle, &group, &core);
    seen.event(DropWaker, &group, &core);
    core.close();
    run();
    assert!(core.is_empty(), "{state:?} {event:?}: a block is left");
    assert_eq!(group.count(), 0, "{state:?} {event:?}: the group");
    let finished = matches!(state, Finishing | Complete | Taken);
    let outputs = seen.outputs.load(Ordering::SeqCst);
    assert_eq!(
        outputs,
        usize::from(finished),
        "{state:?} {event:?}: outputs"
    );
    assert_eq!(
        seen.futures.load(Ordering::SeqCst),
        1,
        "{state:?} {event:?}"
    );
    drop((group, session));
}

#[test]
fn table_of_task_states_and_events() {
    for state in STATES {
        for event in EVENTS {
            check(state, event);
        }
    }
}
