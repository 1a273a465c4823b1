// SPDX-License-Identifier: BSD-2-Clause
//! The handshake of a frontend, against a store with a backend that the test plays. Numbers are those of the drawing.

use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll};
use std::boxed::Box;
use std::format;
use std::string::String;
use std::sync::{Arc, Mutex};
use std::vec::Vec;

use kexec::nt::Arc as PoolArc;
use kexec::nt::sys::fake;
use kexec::sync::{Event, Notify, Reset};
use kexec::{DpcExecutor, Passive, Result, Status};

use super::suspend::Provider;
use super::tree::Tree;
use super::{Count, TAG};
use crate::client::frontend::{Backend, Device, End, Frontend, Keys, Services, State};
use crate::client::{Store, Suspend};

mod hostile;
mod stories;

const PATH: &str = "device/toy/0";
const STATE: &str = "device/toy/0/state";
const BACKEND: &str = "/local/domain/0/backend/toy/7/0";
const OTHER: &str = "/local/domain/3/backend/toy/7/0";

/// What a test can say to the device, and what the device did.
#[derive(Default)]
struct Script {
    trace: Mutex<Vec<String>>,
    links: AtomicUsize,
    /// Of `run`.
    finish: Notify,
    result: Mutex<Option<Result>>,
    /// `connect` waits for `finish` too.
    slow: Mutex<bool>,
    refuse: Mutex<Option<Status>>,
}

impl Script {
    fn note(&self, what: &str) {
        self.trace.lock().expect("lock").push(what.into());
    }

    fn trace(&self) -> String {
        core::mem::take(&mut *self.trace.lock().expect("lock")).join(" ")
    }
}

struct Link(Arc<Script>);

impl Drop for Link {
    fn drop(&mut self) {
        self.0.links.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Toy(Arc<Script>);

impl Device for Toy {
    type Link = Link;

    async fn connect(&mut self, backend: &Backend<'_>, keys: &mut Keys) -> Result<Link> {
        self.0.links.fetch_add(1, Ordering::SeqCst);
        let link = Link(self.0.clone());
        if *self.0.slow.lock().expect("lock") {
            self.0.finish.notified().await;
        }
        if let Some(status) = self.0.refuse.lock().expect("lock").take() {
            return Err(status);
        }
        let multiple = backend.has("feature-multi").await?;
        keys.put("ring-ref", if multiple { 8 } else { 9 })?;
        keys.put("event-channel", backend.domain())?;
        self.0.note("connect");
        Ok(link)
    }

    async fn run(&mut self, _link: &mut Link, _backend: &Backend<'_>) -> Result {
        self.0.note("run");
        self.0.finish.notified().await;
        let result = self.0.result.lock().expect("lock").take();
        result.unwrap_or(Ok(()))
    }

    async fn reconfigured(&mut self, _link: &mut Link, backend: &Backend<'_>) -> Result {
        let size = backend.number("size").await?.unwrap_or(0);
        self.0.note(&format!("size={size}"));
        Ok(())
    }

    async fn disconnect(&mut self, link: Link) {
        drop(link);
        self.0.note("disconnect");
    }
}

/// A machine with one device, and the frontend's future.
struct Machine {
    running: Option<Pin<Box<dyn Future<Output = Result<End>> + Send>>>,
    tree: &'static Tree,
    suspend: &'static Provider,
    closing: &'static Event,
    script: Arc<Script>,
    executor: PoolArc<DpcExecutor>,
    boxes: Vec<Box<dyn FnOnce()>>,
    // Ends last.
    session: fake::Session,
}

/// Borrowed for as long as the machine lives, which frees it.
fn lend<T: 'static>(boxes: &mut Vec<Box<dyn FnOnce()>>, value: Box<T>) -> &'static T {
    let raw = Box::into_raw(value);
    let address = raw as usize;
    boxes.push(Box::new(move || {
        // SAFETY: from `into_raw`, freed once, after everything that borrowed it.
        drop(unsafe { Box::from_raw(address as *mut T) });
    }));
    // SAFETY: freed by the machine's end only.
    unsafe { &*raw }
}

impl Machine {
    fn new() -> Self {
        let session = fake::boot();
        let mut boxes = Vec::new();
        let tree = lend(&mut boxes, Tree::new());
        let suspend = lend(&mut boxes, Box::<Provider>::default());
        for (path, value) in [
            ("device/toy/0/backend", BACKEND),
            ("device/toy/0/backend-id", "0"),
            (STATE, "1"),
        ] {
            tree.write(path, value);
        }
        let closing = lend(&mut boxes, Box::new(Event::new(Reset::Manual, false)));
        // SAFETY: the provider is freed last.
        let store = unsafe { Store::from_table(TAG, tree.table()) }.expect("acquired");
        let store = lend(&mut boxes, Box::new(store));
        // SAFETY: as above.
        let service = unsafe { Suspend::from_table(TAG, suspend.table()) }.expect("acquired");
        let service = lend(&mut boxes, Box::new(service));
        let executor = DpcExecutor::try_new(TAG, None).expect("memory");
        let timers = executor.clone();
        let script = Arc::<Script>::default();
        let mut toy = Toy(script.clone());
        let running = Box::pin(async move {
            let services = Services {
                store,
                suspend: service,
                timers: timers.timers(),
                closing,
            };
            Frontend::try_new(services, PATH)?.run(&mut toy).await
        });
        tree.written(STATE);
        Self {
            running: Some(running),
            tree,
            suspend,
            closing,
            script,
            executor,
            boxes,
            session,
        }
    }

    /// With a backend that waits for the frontend.
    fn offered() -> Self {
        let machine = Self::new();
        machine.backend(State::InitWait);
        machine
    }

    /// The other end says so.
    fn backend(&self, state: State) {
        self.tree.write(&format!("{BACKEND}/state"), state.text());
    }

    /// Polls until the frontend waits for somebody else, or has ended.
    fn go(&mut self) -> Poll<Result<End>> {
        let (count, waker) = Count::new();
        let mut context = Context::from_waker(&waker);
        for _ in 0..1000 {
            let before = count.get();
            let running = self.running.as_mut().expect("not ended yet");
            if let Poll::Ready(ended) = running.as_mut().poll(&mut context) {
                self.running = None;
                return Poll::Ready(ended);
            }
            if count.get() == before {
                return Poll::Pending;
            }
        }
        panic!("the frontend never waits");
    }

    /// Goes on, and tells which states it has written.
    fn states(&mut self) -> String {
        assert_eq!(self.go(), Poll::Pending);
        self.tree.written(STATE)
    }

    /// Up to transition 4.
    fn connect(&mut self) {
        assert_eq!(self.states(), "13");
        self.backend(State::Connected);
        assert_eq!(self.states(), "4");
        assert_eq!(self.script.trace(), "connect run");
        assert_eq!(self.links(), 1);
    }

    fn connect_from_initialising(&mut self) {
        assert_eq!(self.states(), "3");
        self.backend(State::Connected);
        assert_eq!(self.states(), "4");
        assert_eq!(self.links(), 1);
    }

    fn go_pending(&mut self) {
        assert_eq!(self.go(), Poll::Pending);
    }

    fn links(&self) -> usize {
        self.script.links.load(Ordering::SeqCst)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.running = None;
        if std::thread::panicking() {
            return;
        }
        assert_eq!(self.tree.left(), 0, "something is left in the store");
        assert_eq!(self.links(), 0, "a link is left");
        self.executor.stop(Passive::assert());
        // The last made is the first to go.
        while let Some(free) = self.boxes.pop() {
            free();
        }
    }
}
