// SPDX-License-Identifier: BSD-2-Clause
//! The store task: the one place that runs the engine.
//!
//! Runs on a `DpcExecutor` at DISPATCH_LEVEL. It is woken by callers, by the event channel and by its
//! own timer; each wake is one bounded turn, and a turn with more to do yields first, so that the
//! tasks it woke run in between. The timer stays armed over turns, so a request costs none. The task
//! ends after [`Shared::stop`], with every request settled.

use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context, Poll};

use kexec::nt::{Arc, Box};
use kexec::{DpcExecutor, Duration, Instant, Sleep};

use super::engine::{Engine, Port, Turn};
use super::shared::Shared;

/// Serves the connection until it is stopped.
pub async fn run<P: Port>(
    executor: Arc<DpcExecutor>,
    shared: Arc<Shared>,
    mut engine: Box<Engine<P>>,
) {
    let mut tick = pin!(None::<Sleep<'_>>);
    let mut due = Instant::NEVER;
    loop {
        let now = Instant::now();
        match engine.turn(now) {
            Turn::Stopped => return,
            Turn::Again => Yield::default().await,
            Turn::Wait(limit) => {
                // Earlier only when an idle connection gets busy.
                if let Some(limit) = limit
                    && (tick.is_none() || now + limit < due)
                {
                    tick.set(Some(executor.sleep(limit)));
                    due = now + limit;
                }
                poll_fn(|cx| wake(cx, &shared, engine.port_mut(), tick.as_mut())).await;
            }
        }
    }
}

/// Ready on a kick, an event or the tick.
fn wake<P: Port>(
    cx: &mut Context<'_>,
    shared: &Shared,
    port: &mut P,
    mut tick: Pin<&mut Option<Sleep<'_>>>,
) -> Poll<()> {
    // All three are looked at, so that one that is always ready hides none.
    let event = port.poll_event(cx).is_ready();
    let kicked = shared.poll_kicked(cx).is_ready();
    let due = tick
        .as_mut()
        .as_pin_mut()
        .is_some_and(|sleep| sleep.poll(cx).is_ready());
    if due {
        tick.set(None);
    }
    if event || kicked || due {
        Poll::Ready(())
    } else {
        Poll::Pending
    }
}

/// Lets every other ready task run once.
#[derive(Default)]
struct Yield {
    yielded: bool,
}

impl Future for Yield {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// How long a caller at DISPATCH_LEVEL waits for one reply.
pub const DISPATCH_LIMIT: Duration = Duration::from_secs(5);
