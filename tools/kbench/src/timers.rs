// SPDX-License-Identifier: BSD-2-Clause
//! Case `timer`: one timer is set and cancelled while 1000 others are set, at deadlines all over the next hour.
//!
//! kexec's timers run here on kexec's fake kernel, whose spin lock and clock check more than NT's do and so cost more.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use kexec::nt::sys::fake;
use kexec::nt::{Arc, Tag};
use kexec::{DpcExecutor, Passive};

use crate::harness::Contender;

const OTHERS: usize = 1000;

/// Delays in milliseconds that repeat after a long time only.
fn delays() -> impl FnMut() -> u64 {
    let mut state = 1_u64;
    move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        1_000 + (state >> 33) % 3_600_000
    }
}

fn set(timer: Pin<&mut (impl Future<Output = ()> + ?Sized)>) {
    let mut context = Context::from_waker(Waker::noop());
    assert!(timer.poll(&mut context).is_pending(), "due already");
}

/// What the timers of kexec need: dropped in this order.
struct Ground {
    others: Vec<Pin<Box<dyn Future<Output = ()>>>>,
    executor: Arc<DpcExecutor>,
    _kernel: fake::Session,
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.others.clear();
        self.executor.stop(Passive::assert());
    }
}

fn on_kexec() -> Contender {
    let kernel = fake::boot();
    let executor = DpcExecutor::try_new(Tag(*b"Time"), None).expect("memory");
    let mut delay = delays();
    let others = (0..OTHERS).map(|_| {
        let executor = executor.clone();
        let delay = kexec::Duration::from_millis(delay());
        let mut other: Pin<Box<dyn Future<Output = ()>>> =
            Box::pin(async move { executor.sleep(delay).await });
        set(other.as_mut());
        other
    });
    let ground = Ground {
        others: others.collect(),
        executor: executor.clone(),
        _kernel: kernel,
    };
    drop(executor);
    Contender::new("kexec", move |n| {
        let timers = ground.executor.timers();
        for _ in 0..n {
            set(pin!(timers.sleep(kexec::Duration::from_millis(delay()))));
        }
        n
    })
}

fn on_tokio() -> Contender {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime with the time driver only");
    let mut delay = delays();
    let mut others = Vec::new();
    {
        let _entered = runtime.enter();
        for _ in 0..OTHERS {
            let mut other = Box::pin(tokio::time::sleep(Duration::from_millis(delay())));
            set(other.as_mut());
            others.push(other);
        }
    }
    Contender::new("tokio", move |n| {
        let _alive = &others;
        let _entered = runtime.enter();
        for _ in 0..n {
            let deadline = Instant::now() + Duration::from_millis(delay());
            set(pin!(tokio::time::sleep_until(deadline.into())));
        }
        n
    })
}

/// The contenders of the case.
pub(crate) fn contenders() -> Vec<Contender> {
    vec![on_kexec(), on_tokio()]
}
