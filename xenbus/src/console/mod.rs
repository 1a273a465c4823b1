// SPDX-License-Identifier: BSD-2-Clause
//! The paravirtual console: a byte pipe to the toolstack's console daemon.
//!
//! | who | does |
//! |---|---|
//! | callers, any IRQL | move bytes under the ring's lock, which is a HIGH_LEVEL lock because a log sink writes here; one event send if any byte moved |
//! | the `console` task | waits for the daemon's events and tells everybody who wants to look again |
//!
//! A toolstack may give no console: then there is no [`Console`], and the interface is refused. A daemon that breaks the ring is
//! logged once and disables the console until the next resume, when both sides start over.
//!
//! Stop: [`Console::stop`], then the task is cancelled by its owner. What is held on the way closes with the last reference.

pub mod ring;

use core::future::Future;
use core::pin::Pin;
use core::task::Poll;

use kexec::nt::{Arc, HighLock, SpinLock, Tag, Vec};
use kexec::sync::Notify;
use kexec::{Result, Status, error};

use crate::evtchn::channel::Target;
use crate::evtchn::{Channel, Evtchn, Hypervisor, Kind, Machine};
use ring::{ConsolePage, Fault, Ring};

/// Pool tag.
pub const TAG: Tag = Tag(*b"XBco");
/// `HVM_PARAM_CONSOLE_PFN`.
pub const PARAM_CONSOLE_PFN: u32 = 17;
/// `HVM_PARAM_CONSOLE_EVTCHN`.
pub const PARAM_CONSOLE_EVTCHN: u32 = 18;
/// Bytes of one log line that go to the ring at most.
pub const LINE_MAX: usize = 1024;

/// Who is told of the daemon's events; may only signal, such as setting a KEVENT: called at DISPATCH_LEVEL from a poll.
#[derive(Clone, Copy, Debug)]
pub struct Wakeup {
    /// Called with `context`.
    pub signal: fn(usize),
    /// The caller's.
    pub context: usize,
}

struct State<H: Hypervisor + Machine> {
    /// `None`: disabled.
    ring: Option<Ring>,
    channel: Option<Arc<Channel<H>>>,
}

/// The console of one start; see the module.
pub struct Console<P: ConsolePage, H: Hypervisor + Machine> {
    page: P,
    state: HighLock<State<H>>,
    wakeups: SpinLock<Vec<(u32, Wakeup)>>,
    next: SpinLock<u32>,
    /// The channel was replaced.
    replaced: Notify,
}

impl<P: ConsolePage, H: Hypervisor + Machine> Console<P, H> {
    /// Opens the console on `page` and `port`. Nobody is told of events before [`serve`](Self::serve) runs.
    ///
    /// # Errors
    /// `DEVICE_PROTOCOL_ERROR`: the indices make no sense. `NO_MEMORY`; of the event channel.
    ///
    /// # IRQL
    /// `<= DISPATCH_LEVEL`.
    pub fn open(service: &Arc<Evtchn<H>>, page: P, port: u32) -> Result<Arc<Self>> {
        let this = Arc::try_new(
            TAG,
            Self {
                page,
                state: HighLock::new(State {
                    ring: None,
                    channel: None,
                }),
                wakeups: SpinLock::new(Vec::new(TAG)),
                next: SpinLock::new(0),
                replaced: Notify::new(),
            },
        )?;
        this.resume(service, port)?;
        Ok(this)
    }

    /// Opens the channel again after the domain was suspended; the page and its indices have stayed.
    ///
    /// # Errors
    /// As [`open`](Self::open); the console is then disabled.
    ///
    /// # IRQL
    /// `<= DISPATCH_LEVEL`.
    pub fn resume(&self, service: &Arc<Evtchn<H>>, port: u32) -> Result {
        // The old channel first: its port number may be the new one's.
        self.stop();
        let ring = Ring::attach(&self.page).map_err(|fault| {
            report(fault);
            Status::DEVICE_PROTOCOL_ERROR
        })?;
        let kind = Kind::Fixed { port };
        let channel = Channel::open(service, kind, Target::Future, false)?;
        channel.unmask(false, true);
        let channel = Arc::try_new(TAG, channel)?;
        {
            let mut state = self.state.lock();
            state.ring = Some(ring);
            state.channel = Some(channel);
        }
        self.replaced.notify();
        Ok(())
    }

    /// Disables the console: reads and writes move nothing from here on.
    ///
    /// # IRQL
    /// `<= DISPATCH_LEVEL`.
    pub fn stop(&self) {
        let channel = {
            let mut state = self.state.lock();
            state.ring = None;
            state.channel.take()
        };
        // Closed outside the lock, at the caller's level, unless the task still holds it.
        drop(channel);
        self.replaced.notify();
    }

    /// The task: tells everybody of each event, and once after each (re)opening. Runs until it is cancelled.
    pub async fn serve(&self) {
        loop {
            // Before the look: a replacement after it leaves its permit.
            self.replaced.try_take();
            let channel = self.state.lock().channel.clone();
            self.tell();
            let Some(channel) = channel else {
                self.replaced.notified().await;
                continue;
            };
            let mut seen = channel.count();
            loop {
                let mut wait = channel.wait(seen);
                let event = self.replaced.wait_until(|cx| {
                    if self.replaced.poll_notified(cx).is_ready() {
                        return Poll::Ready(None);
                    }
                    Pin::new(&mut wait).poll(cx).map(Some)
                });
                let Some(count) = event.await else { break };
                seen = count;
                self.tell();
            }
        }
    }

    fn tell(&self) {
        // Under the lock: a removal that has returned is not told any more.
        for (_, wakeup) in &*self.wakeups.lock() {
            (wakeup.signal)(wakeup.context);
        }
    }

    /// Adds somebody to tell; the number removes it again.
    ///
    /// # Errors
    /// `NO_MEMORY`.
    ///
    /// # IRQL
    /// `<= DISPATCH_LEVEL`.
    pub fn add(&self, wakeup: Wakeup) -> Result<u32> {
        let number = {
            let mut next = self.next.lock();
            *next = next.wrapping_add(1);
            *next
        };
        self.wakeups.lock().try_push((number, wakeup))?;
        Ok(number)
    }

    /// Whom `number` stands for is told no more once this returns.
    ///
    /// # IRQL
    /// `<= DISPATCH_LEVEL`.
    pub fn remove(&self, number: u32) {
        self.wakeups.lock().retain(|(own, _)| *own != number);
    }

    /// How many are told.
    #[must_use]
    pub fn wakeups(&self) -> usize {
        self.wakeups.lock().len()
    }

    /// Whether a byte can be read.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn can_read(&self) -> bool {
        self.with(|ring, page| ring.waiting(page), false) > 0
    }

    /// Whether a byte can be written.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn can_write(&self) -> bool {
        self.with(|ring, page| ring.room(page), false) > 0
    }

    /// Moves what is there; the number of bytes, 0 when disabled.
    ///
    /// # IRQL
    /// Any; `to` is resident.
    pub fn read(&self, to: &mut [u8]) -> usize {
        self.with(|ring, page| ring.read(page, to), true)
    }

    /// Moves what fits; the number of bytes, 0 when disabled.
    ///
    /// # IRQL
    /// Any; `from` is resident.
    pub fn write(&self, from: &[u8]) -> usize {
        self.with(|ring, page| ring.write(page, from), true)
    }

    /// Writes one line of a log, a newline as CR LF; what does not fit is dropped.
    ///
    /// # IRQL
    /// Any; `line` is resident.
    pub fn write_line(&self, line: &[u8]) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        for part in line[..line.len().min(LINE_MAX)].split_inclusive(|&byte| byte == b'\n') {
            match part.strip_suffix(b"\n") {
                Some(text) => {
                    self.write(text);
                    self.write(b"\r\n");
                }
                None => {
                    self.write(part);
                }
            }
        }
        self.write(b"\r\n");
    }

    fn with(
        &self,
        f: impl FnOnce(&mut Ring, &P) -> core::result::Result<usize, Fault>,
        notify: bool,
    ) -> usize {
        let mut state = self.state.lock();
        let state = &mut *state;
        let Some(ring) = &mut state.ring else {
            return 0;
        };
        match f(ring, &self.page) {
            Ok(moved) => {
                if notify
                    && moved > 0
                    && let Some(channel) = &state.channel
                {
                    channel.send();
                }
                moved
            }
            Err(fault) => {
                // Once: nothing looks at the ring any more.
                state.ring = None;
                report(fault);
                0
            }
        }
    }
}

fn report(fault: Fault) {
    error!(
        "console: disabled, the daemon's index {:#x} does not go with {:#x}",
        fault.peer, fault.own
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evtchn::Config;
    use crate::testing::console::TestConsole;
    use crate::testing::rig::poll_once;
    use crate::testing::xen::{FakeXen, Options, PortKind};
    use core::pin::pin;
    use core::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::Arc as StdArc;

    const PORT: u32 = 4;

    type Subject = Arc<Console<StdArc<TestConsole>, StdArc<FakeXen>>>;

    struct Rig {
        xen: StdArc<FakeXen>,
        service: Arc<Evtchn<StdArc<FakeXen>>>,
        page: StdArc<TestConsole>,
        console: Subject,
    }

    fn rig() -> Rig {
        let xen = FakeXen::new(Options::default());
        xen.add_port(PORT, PortKind::InterDomain(0, 9));
        let config = Config::default();
        let service = Evtchn::try_new(xen.clone(), config).expect("memory");
        service.enable(config).expect("interrupts");
        let page = StdArc::new(TestConsole::starting_at(0, 0));
        let console = Console::open(&service, page.clone(), PORT).expect("opened");
        Rig {
            xen,
            service,
            page,
            console,
        }
    }

    fn count(context: usize) {
        SIGNALS[context].fetch_add(1, Ordering::SeqCst);
    }

    static SIGNALS: [AtomicUsize; 4] = [const { AtomicUsize::new(0) }; 4];

    fn signals(context: usize) -> usize {
        SIGNALS[context].swap(0, Ordering::SeqCst)
    }

    #[test]
    fn bytes_move_both_ways_with_one_event_a_move_and_none_for_nothing() {
        let _session = kexec::nt::sys::fake::boot();
        let rig = rig();
        assert!(rig.console.can_write() && !rig.console.can_read());
        assert_eq!(rig.console.write(b"login: "), 7);
        assert_eq!(rig.page.take(100), b"login: ");
        assert_eq!(rig.console.write(b""), 0);
        assert_eq!(rig.console.read(&mut [0; 8]), 0);
        assert_eq!(rig.xen.state().sent, [PORT]);
        rig.page.put(b"root");
        let mut data = [0; 3];
        assert!(rig.console.can_read());
        assert_eq!((rig.console.read(&mut data), &data), (3, b"roo"));
        assert_eq!(rig.xen.state().sent, [PORT, PORT]);
    }

    #[test]
    fn every_event_is_told_to_all_and_to_nobody_after_removal() {
        let _session = kexec::nt::sys::fake::boot();
        let rig = rig();
        let wakeup = |context| Wakeup {
            signal: count,
            context,
        };
        let first = rig.console.add(wakeup(0)).expect("memory");
        rig.console.add(wakeup(1)).expect("memory");
        let mut task = pin!(rig.console.serve());
        assert!(poll_once(task.as_mut()).is_pending());
        // Once for the opening.
        assert_eq!((signals(0), signals(1)), (1, 1));
        rig.xen.raise(PORT);
        rig.xen.run(&rig.service);
        assert!(poll_once(task.as_mut()).is_pending());
        assert_eq!((signals(0), signals(1)), (1, 1));
        rig.console.remove(first);
        rig.xen.raise(PORT);
        rig.xen.run(&rig.service);
        assert!(poll_once(task.as_mut()).is_pending());
        assert_eq!((signals(0), signals(1)), (0, 1));
    }

    #[test]
    fn a_daemon_that_breaks_the_ring_disables_the_console_until_the_resume() {
        let _session = kexec::nt::sys::fake::boot();
        let rig = rig();
        rig.console
            .add(Wakeup {
                signal: count,
                context: 2,
            })
            .expect("memory");
        let mut task = pin!(rig.console.serve());
        assert!(poll_once(task.as_mut()).is_pending());
        rig.page.set(2, 0x8000_0000);
        assert_eq!(rig.console.write(b"x"), 0);
        rig.page.set(2, 0);
        assert!(!rig.console.can_write());
        signals(2);
        rig.service.suspended();
        rig.xen.new_domain();
        rig.xen.add_port(PORT, PortKind::InterDomain(0, 9));
        let config = Config::default();
        rig.service.resume(config).expect("vectors again");
        rig.console.resume(&rig.service, PORT).expect("again");
        assert!(poll_once(task.as_mut()).is_pending());
        assert_eq!(signals(2), 1);
        assert_eq!(rig.console.write(b"x"), 1);
        rig.xen.raise(PORT);
        rig.xen.run(&rig.service);
        assert!(poll_once(task.as_mut()).is_pending());
        assert_eq!(signals(2), 1);
    }

    #[test]
    fn after_the_stop_nothing_moves_and_the_channel_is_closed_with_the_task() {
        let _session = kexec::nt::sys::fake::boot();
        let rig = rig();
        {
            let mut task = pin!(rig.console.serve());
            assert!(poll_once(task.as_mut()).is_pending());
            rig.console.stop();
            assert_eq!(rig.console.write(b"x"), 0);
            assert!(poll_once(task.as_mut()).is_pending());
        }
        assert_eq!(rig.service.channels(), 0);
    }

    #[test]
    fn a_task_that_goes_takes_its_wakers_along() {
        struct Nobody;
        impl std::task::Wake for Nobody {
            fn wake(self: StdArc<Self>) {}
        }
        let _session = kexec::nt::sys::fake::boot();
        let rig = rig();
        let nobody = StdArc::new(Nobody);
        {
            let waker = core::task::Waker::from(nobody.clone());
            let mut task = pin!(rig.console.serve());
            let mut context = core::task::Context::from_waker(&waker);
            assert!(task.as_mut().poll(&mut context).is_pending());
        }
        // The console and its channel stay.
        assert_eq!(StdArc::strong_count(&nobody), 1, "a waker is left");
    }

    #[test]
    fn a_log_line_ends_in_carriage_return_and_newline() {
        let _session = kexec::nt::sys::fake::boot();
        let rig = rig();
        rig.console.write_line(b"one\ntwo\n");
        assert_eq!(rig.page.take(100), b"one\r\ntwo\r\n");
    }
}
