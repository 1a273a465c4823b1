// SPDX-License-Identifier: BSD-2-Clause
//! Connections to xenstored with many requests on their way, served by one thread.
//!
//! Requests go out in the order in which they were made; whoever made one waits for the answer with its id, in whatever order
//! answers come. Fired watches go to the watch with their token, or to the common queue if it belongs to none.
//!
//! The thread runs a future ([`Mux::run`]), and in it as many as it likes: between two polls it sends, waits for what comes, and
//! wakes whoever it was for. An answer to nothing, an answer of another type, a message too long, a connection that was closed or
//! is silent too long break everything: all that waits ends with the reason, and so does what follows.
//!
//! ```text
//! call ──> outbox ──> Sent ──answer──> Answered ──> taken by its future
//!                      │ future dropped
//!                      └──> Ignored ──answer──> forgotten
//! ```

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::line::{Broken, Line};
use crate::wire::{Answer, ERROR, Message, Op, Refused, WATCH_EVENT, request};
use crate::{Failure, Result};

pub(crate) const SOCKET: &str = "/run/xenstored/socket";
/// How long the daemon may be silent while it owes an answer.
pub(crate) const REPLY_LIMIT: Duration = Duration::from_secs(20);
/// How many connections one look serves.
const READY: usize = 64;

/// Connects to xenstored in this domain.
pub(crate) fn connect() -> Result<UnixStream> {
    UnixStream::connect(SOCKET).map_err(|e| Failure::new(format!("connect {SOCKET}: {e}")))
}

/// A fired watch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) path: String,
    pub(crate) token: String,
}

/// A request whose answer has not been taken.
enum Slot {
    Sent(usize, Op, Option<Waker>),
    Answered(Answer),
    /// Nobody waits any more; with the token of a watch that ends with the answer.
    Ignored(usize, Option<String>),
}

/// A watch that has a queue of its own; events before its owner looks are one.
#[derive(Default)]
struct Watched {
    fired: bool,
    waker: Option<Waker>,
}

/// When, and a number that makes it unique.
type Timer = (Instant, u64);

struct State {
    epoll: OwnedFd,
    lines: Vec<Line>,
    patience: Duration,
    next: u32,
    serial: u64,
    slots: BTreeMap<u32, Slot>,
    watched: HashMap<String, Watched>,
    /// Events of watches that have no queue of their own.
    events: VecDeque<Event>,
    listener: Option<Waker>,
    timers: BTreeMap<Timer, Waker>,
    /// When the daemon last gave an answer or began to owe one.
    heard: Instant,
    broken: Option<String>,
}

/// One of the connections; clones share it.
#[derive(Clone)]
pub(crate) struct Mux {
    state: Arc<Mutex<State>>,
    line: usize,
}

impl Mux {
    /// A client of xenstored in this domain.
    pub(crate) fn connect() -> Result<Self> {
        Self::over(connect()?)
    }

    /// Opens Linux's device of a guest's connection.
    pub(crate) fn device(path: &str) -> Result<Self> {
        Self::new(Line::device(path)?)
    }

    /// A client over a connected socket.
    pub(crate) fn over(stream: UnixStream) -> Result<Self> {
        Self::new(Line::socket(stream).map_err(|e| Failure::new(format!("{SOCKET}: {e}")))?)
    }

    fn new(line: Line) -> Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC);
        let mut state = State {
            epoll: epoll.map_err(|e| Failure::new(format!("epoll: {e}")))?,
            lines: Vec::new(),
            patience: REPLY_LIMIT,
            next: 1,
            serial: 0,
            slots: BTreeMap::new(),
            watched: HashMap::new(),
            events: VecDeque::new(),
            listener: None,
            timers: BTreeMap::new(),
            heard: Instant::now(),
            broken: None,
        };
        Ok(Self {
            line: state.add(line)?,
            state: Arc::new(Mutex::new(state)),
        })
    }

    /// A connection on which requests are on their way beside those of this one: another of Linux's device, which takes one at a
    /// time, or the same socket. A transaction belongs to its connection.
    pub(crate) fn beside(&self) -> Result<Self> {
        let mut state = self.lock();
        let line = match state.lines[self.line].path().map(Line::device) {
            None => self.line,
            Some(device) => state.add(device?)?,
        };
        Ok(Self {
            state: Arc::clone(&self.state),
            line,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What broke the connection.
    pub(crate) fn broken(&self) -> Option<String> {
        self.lock().broken.clone()
    }

    /// Makes a request; it goes out whether its answer is waited for or not.
    pub(crate) fn call(&self, op: Op, transaction: u32, parts: &[&[u8]]) -> Call {
        let sent = self.lock().submit(self.line, op, transaction, parts);
        Call {
            mux: self.clone(),
            sent,
        }
    }

    /// Watches a path and what is below it.
    pub(crate) async fn watch(&self, path: &str) -> Answer<Watch> {
        let token = {
            let mut state = self.lock();
            state.serial += 1;
            let token = format!("w{}", state.serial);
            // Before the request: its first event may come before the answer.
            state.watched.insert(token.clone(), Watched::default());
            token
        };
        // Dropped on refusal, it asks for the end of a watch that does not exist: that is refused, and nobody listens.
        let watch = Watch {
            mux: self.clone(),
            path: path.to_owned(),
            token,
        };
        let parts: [&[u8]; 4] = [path.as_bytes(), b"\0", watch.token.as_bytes(), b"\0"];
        self.call(Op::Watch, 0, &parts).await?;
        Ok(watch)
    }

    /// The next fired watch without a queue of its own, or `None` at the end of `limit`.
    pub(crate) async fn event(&self, limit: Duration) -> Answer<Option<Event>> {
        self.look(limit, |state, waker| {
            let event = state.events.pop_front();
            if event.is_none() {
                state.listener = Some(waker.clone());
            }
            event
        })
        .await
    }

    /// Waits until `found` gives something, or for `None` until `limit` is over; what has come by then counts.
    async fn look<T>(
        &self,
        limit: Duration,
        mut found: impl FnMut(&mut State, &Waker) -> Option<T>,
    ) -> Answer<Option<T>> {
        let end = Instant::now() + limit;
        let alarm = {
            let mut state = self.lock();
            state.serial += 1;
            Alarm {
                mux: self,
                at: (end, state.serial),
            }
        };
        let mut polled = false;
        poll_fn(|context| {
            let mut state = self.lock();
            if let Some(found) = found(&mut state, context.waker()) {
                return Poll::Ready(Ok(Some(found)));
            }
            if let Some(why) = &state.broken {
                return Poll::Ready(Err(Refused::Broken(why.clone())));
            }
            if std::mem::replace(&mut polled, true) && Instant::now() >= end {
                return Poll::Ready(Ok(None));
            }
            state.timers.insert(alarm.at, context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Runs `future` to its end on this thread, which serves the connection meanwhile.
    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        struct Again(AtomicBool);
        impl Wake for Again {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let again = Arc::new(Again(AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&again));
        let mut future = pin!(future);
        loop {
            again.0.store(false, Ordering::Relaxed);
            if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return done;
            }
            // Woken in its own poll, it has more to do before anything can come.
            if !again.0.load(Ordering::Relaxed) {
                self.lock().turn();
            }
        }
    }
}

impl State {
    fn add(&mut self, line: Line) -> Result<usize> {
        let number = self.lines.len();
        let data = EventData::new_u64(number as u64);
        let added = epoll::add(&self.epoll, &line.stream, data, EventFlags::IN);
        added.map_err(|e| Failure::new(format!("epoll: {e}")))?;
        self.lines.push(line);
        Ok(number)
    }

    fn submit(&mut self, line: usize, op: Op, transaction: u32, parts: &[&[u8]]) -> Answer<u32> {
        if let Some(why) = &self.broken {
            return Err(Refused::Broken(why.clone()));
        }
        let id = self.next;
        let message = request(op, id, transaction, parts)?;
        // 0 is for events.
        self.next = id.wrapping_add(1).max(1);
        if self.slots.is_empty() {
            self.heard = Instant::now();
        }
        self.lines[line].push(id, message);
        self.slots.insert(id, Slot::Sent(line, op, None));
        Ok(id)
    }

    /// Sends, waits, takes in what came and wakes whom it is for.
    fn turn(&mut self) {
        if let Err(why) = self.send().and_then(|refused| self.receive(refused)) {
            self.break_off(why);
        }
        let now = Instant::now();
        while let Some(timer) = self.timers.first_entry() {
            if timer.key().0 > now {
                break;
            }
            timer.remove().wake();
        }
    }

    /// Sends what can be sent; true if something was refused at once, and somebody has been woken for it.
    fn send(&mut self) -> std::result::Result<bool, Broken> {
        let mut refused = false;
        for number in 0..self.lines.len() {
            let was_full = self.lines[number].is_full;
            while let Some((id, name)) = self.lines[number].send()? {
                self.answer(id, Err(Refused::Name(name.into())));
                refused = true;
            }
            let line = &self.lines[number];
            if line.is_full != was_full {
                let mut flags = EventFlags::IN;
                flags.set(EventFlags::OUT, line.is_full);
                let data = EventData::new_u64(number as u64);
                let changed = epoll::modify(&self.epoll, &line.stream, data, flags);
                changed.map_err(|e| format!("epoll: {e}"))?;
            }
        }
        Ok(refused)
    }

    /// Waits for a connection or the next timer unless `at_once`, and takes in what has come.
    fn receive(&mut self, at_once: bool) -> std::result::Result<(), Broken> {
        let silent = (!self.slots.is_empty()).then(|| self.heard + self.patience);
        let timer = self.timers.first_key_value().map(|((at, _), _)| *at);
        let now = Instant::now();
        let ends = silent.into_iter().chain(timer);
        let end = ends.chain(at_once.then_some(now)).min();
        let end = end.ok_or("nothing to wait for")?;
        let limit = end.saturating_duration_since(now);
        let time = Timespec::try_from(limit).map_err(|e| format!("wait {limit:?}: {e}"))?;
        let mut ready = [epoll::Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        }; READY];
        let count = match epoll::wait(&self.epoll, &mut ready, Some(&time)) {
            Ok(count) => count,
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(e) => return Err(format!("epoll: {e}")),
        };
        if count == 0 && silent.is_some_and(|end| Instant::now() >= end) {
            let seconds = self.patience.as_secs_f32();
            return Err(format!("xenstored did not answer for {seconds} s"));
        }
        for event in &ready[..count] {
            let data = event.data;
            let number = data.u64() as usize;
            self.lines[number].receive()?;
            loop {
                match self.lines[number].next() {
                    Ok(Some(message)) => self.take(number, message)?,
                    Ok(None) => break,
                    Err(Refused::Broken(why) | Refused::Name(why)) => return Err(why),
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, number: usize, message: Message) -> std::result::Result<(), Broken> {
        let Message { kind, id, .. } = message;
        if kind == WATCH_EVENT {
            self.fire(&message.payload);
            return Ok(());
        }
        self.heard = Instant::now();
        match self.slots.get(&id) {
            Some(Slot::Sent(line, op, _)) if *line == number => {
                if kind != ERROR && kind != *op as u32 {
                    return Err(format!("an answer of type {kind} to {op:?}"));
                }
            }
            Some(Slot::Ignored(line, _)) if *line == number => {}
            _ => return Err(format!("an answer of type {kind} to request {id}")),
        }
        self.lines[number].answered();
        let answer = match kind {
            ERROR => Err(Refused::Name(message.error())),
            _ => Ok(message.payload),
        };
        self.answer(id, answer);
        Ok(())
    }

    fn answer(&mut self, id: u32, answer: Answer) {
        match self.slots.remove(&id) {
            Some(Slot::Sent(_, _, waker)) => {
                self.slots.insert(id, Slot::Answered(answer));
                waker.into_iter().for_each(Waker::wake);
            }
            Some(Slot::Ignored(_, Some(token))) => {
                self.watched.remove(&token);
            }
            _ => {}
        }
    }

    fn fire(&mut self, payload: &[u8]) {
        let mut parts = payload
            .split(|b| *b == 0)
            .map(|part| String::from_utf8_lossy(part).into_owned());
        let (Some(path), Some(token)) = (parts.next(), parts.next()) else {
            return;
        };
        let waker = if let Some(watched) = self.watched.get_mut(&token) {
            watched.fired = true;
            watched.waker.take()
        } else {
            self.events.push_back(Event { path, token });
            self.listener.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    fn break_off(&mut self, why: String) {
        self.broken.get_or_insert(why);
        for slot in self.slots.values_mut() {
            if let Slot::Sent(_, _, waker) = slot {
                waker.take().into_iter().for_each(Waker::wake);
            }
        }
        let watchers = self.watched.values_mut().filter_map(|w| w.waker.take());
        watchers.chain(self.listener.take()).for_each(Waker::wake);
    }
}

/// Wakes at a time; dropped, it does not.
struct Alarm<'a> {
    mux: &'a Mux,
    at: Timer,
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        self.mux.lock().timers.remove(&self.at);
    }
}

/// A request's answer to come. Dropped, the answer is thrown away.
pub(crate) struct Call {
    mux: Mux,
    sent: Answer<u32>,
}

impl Future for Call {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let id = match &self.sent {
            Ok(id) => *id,
            Err(refused) => return Poll::Ready(Err(refused.clone())),
        };
        let mut state = self.mux.lock();
        match state.slots.remove(&id) {
            Some(Slot::Answered(answer)) => Poll::Ready(answer),
            slot => match &state.broken {
                Some(why) => Poll::Ready(Err(Refused::Broken(why.clone()))),
                None => {
                    if let Some(Slot::Sent(line, op, _)) = slot {
                        let waker = Some(context.waker().clone());
                        state.slots.insert(id, Slot::Sent(line, op, waker));
                    }
                    Poll::Pending
                }
            },
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let Ok(id) = self.sent else { return };
        let mut state = self.mux.lock();
        match state.slots.remove(&id) {
            Some(Slot::Sent(line, ..)) => {
                state.slots.insert(id, Slot::Ignored(line, None));
            }
            Some(other @ Slot::Ignored(..)) => {
                state.slots.insert(id, other);
            }
            Some(Slot::Answered(_)) | None => {}
        }
    }
}

/// A watch with a queue of its own. Dropped, it ends.
pub(crate) struct Watch {
    mux: Mux,
    path: String,
    token: String,
}

impl Watch {
    /// Waits until it fires; false at the end of `limit`.
    pub(crate) async fn changed(&mut self, limit: Duration) -> Answer<bool> {
        let token = &self.token;
        let fired = self.mux.look(limit, |state, waker| {
            let watched = state.watched.get_mut(token)?;
            watched.waker = Some(waker.clone());
            std::mem::take(&mut watched.fired).then_some(())
        });
        Ok(fired.await?.is_some())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut state = self.mux.lock();
        let (path, token) = (self.path.as_bytes(), self.token.as_bytes());
        let (line, parts) = (self.mux.line, [path, b"\0", token, b"\0"]);
        if let Ok(id) = state.submit(line, Op::Unwatch, 0, &parts) {
            // Until then its events belong to nobody.
            let end = Slot::Ignored(line, Some(self.token.clone()));
            state.slots.insert(id, end);
        }
    }
}

#[cfg(test)]
mod tests;
