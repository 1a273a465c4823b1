// SPDX-License-Identifier: BSD-2-Clause
//! The store task: the one place that runs the engine.
//!
//! Runs on a `DpcExecutor` at DISPATCH_LEVEL. It is kicked by callers, by the event channel and by its
//! own timer; each wake is one bounded turn, and a turn with more to do yields first, so that the
//! tasks it woke run in between. It ends after [`Shared::stop`], with every request settled.

use core::future::Future;
use core::pin::{Pin, pin};
use core::task::{Context, Poll};

use kexec::nt::{Arc, Box};
use kexec::sync::{Either2, select2};
use kexec::{DpcExecutor, Instant};

use super::engine::{Engine, Port, Turn};
use super::shared::Shared;

/// Serves the connection until it is stopped.
pub async fn run<P: Port>(
    executor: Arc<DpcExecutor>,
    shared: Arc<Shared>,
    mut engine: Box<Engine<P>>,
) {
    loop {
        match engine.turn(Instant::now()) {
            Turn::Stopped => return,
            Turn::Again => Yield::default().await,
            Turn::Wait(None) => shared.kicked().await,
            Turn::Wait(Some(limit)) => {
                let kicked = pin!(shared.kicked());
                let tick = pin!(executor.sleep(limit));
                match select2(kicked, tick).await {
                    Either2::First(()) | Either2::Second(()) => {}
                }
            }
        }
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
