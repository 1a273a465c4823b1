// SPDX-License-Identifier: BSD-2-Clause
//! The cases: which workload, on whom, and what one operation is.

use std::sync::Arc;

use serde_json::Value;

use crate::contenders::{
    AsyncExecutor, AsyncTask, Costly, Embassy, Futures, Kexec, NoPend, Runtime, Tokio,
};
use crate::harness::{Contender, Effort, measure};
use crate::timers;
use crate::work::{Left, Slot, parked, ping, self_wake};

/// A contender of each executor.
macro_rules! on_all {
    ($make:ident $(, $argument:expr)*) => {
        vec![
            $make::<Kexec<NoPend>>($($argument),*),
            $make::<Embassy>($($argument),*),
            $make::<AsyncTask>($($argument),*),
            $make::<AsyncExecutor>($($argument),*),
            $make::<Futures>($($argument),*),
            $make::<Tokio>($($argument),*),
        ]
    };
}

/// A task wakes itself and is polled again.
fn on_self_wake<R: Runtime>() -> Contender {
    let runtime = R::new();
    let (slot, left) = (Arc::<Slot>::default(), Arc::<Left>::default());
    runtime.spawn(self_wake(slot.clone(), left.clone()));
    runtime.turn(&left);
    Contender::new(R::NAME, move |n| {
        let before = slot.polls();
        left.set(n);
        slot.wake();
        runtime.turn(&left);
        slot.polls() - before
    })
}

/// Two tasks wake each other; one operation is one wake and poll.
fn on_ping_pong<R: Runtime>() -> Contender {
    let runtime = R::new();
    let left = Arc::<Left>::default();
    let [a, b] = [(); 2].map(|()| Arc::<Slot>::default());
    runtime.spawn(ping(a.clone(), b.clone(), left.clone()));
    runtime.spawn(ping(b.clone(), a.clone(), left.clone()));
    runtime.turn(&left);
    Contender::new(R::NAME, move |n| {
        let before = a.polls() + b.polls();
        left.set(n);
        a.wake();
        runtime.turn(&left);
        a.polls() + b.polls() - before
    })
}

/// `count` parked tasks; the one in the middle is woken from outside and polled.
fn on_parked<R: Runtime>(count: usize) -> Contender {
    let (runtime, slots) = park::<R>(count);
    let slot = slots[count / 2].clone();
    Contender::new(R::NAME, move |n| {
        let _alive = &slots;
        let before = slot.polls();
        runtime.outside(&slot, n);
        slot.polls() - before
    })
}

/// `count` parked tasks, all woken from outside, then polled; one operation is one wake and poll.
fn on_all_woken<R: Runtime>(count: usize) -> Contender {
    let (runtime, slots) = park::<R>(count);
    let none = Left::default();
    Contender::new(R::NAME, move |n| {
        let rounds = n.div_ceil(count);
        for _ in 0..rounds {
            let before = slots[count - 1].polls();
            slots.iter().for_each(|slot| slot.wake());
            // One turn is enough for all but tokio, which looks after its root future in between.
            while slots[count - 1].polls() == before {
                runtime.turn(&none);
            }
        }
        rounds * count
    })
}

fn park<R: Runtime>(count: usize) -> (R, Vec<Arc<Slot>>) {
    let runtime = R::new();
    let slots: Vec<_> = (0..count).map(|_| Arc::<Slot>::default()).collect();
    for slot in &slots {
        runtime.spawn(parked(slot.clone()));
    }
    let none = Left::default();
    while slots.iter().any(|slot| slot.waker().is_none()) {
        runtime.turn(&none);
    }
    (runtime, slots)
}

/// 1000 tasks spawned, run and joined; one operation is one task.
fn on_spawn_join<R: Runtime>() -> Contender {
    const TASKS: usize = 1000;
    let runtime = R::new();
    Contender::new(R::NAME, move |n| {
        let rounds = n.div_ceil(TASKS);
        for _ in 0..rounds {
            assert_eq!(runtime.join(TASKS), TASKS * (TASKS - 1) / 2);
        }
        rounds * TASKS
    })
}

/// Every case; one row for each contender of each.
pub(crate) fn all(effort: Effort, only: Option<&str>) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut case = |name: &str, contenders: &dyn Fn() -> Vec<Contender>| {
        if only.is_none_or(|only| only == name) {
            rows.extend(measure(name, effort, contenders()));
        }
    };
    case("self-wake", &|| on_all!(on_self_wake));
    case("outside-wake", &|| on_all!(on_parked, 1));
    case("ping-pong", &|| on_all!(on_ping_pong));
    case("costly-pender", &|| {
        vec![on_parked::<Kexec<Costly>>(1), on_parked::<Embassy<true>>(1)]
    });
    case("spawn-join", &|| on_all!(on_spawn_join));
    case("parked-4096", &|| on_all!(on_parked, 4096));
    case("timer", &timers::contenders);
    for count in [16, 256, 4096] {
        case(&format!("wake-{count}"), &|| {
            vec![
                on_parked::<Kexec<NoPend>>(count),
                on_parked::<Embassy>(count),
            ]
        });
    }
    for count in [16, 256, 4096] {
        case(&format!("all-woken-{count}"), &|| {
            on_all!(on_all_woken, count)
        });
    }
    rows
}
