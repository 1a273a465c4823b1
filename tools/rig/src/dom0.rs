// SPDX-License-Identifier: BSD-2-Clause
//! Talks to the agent in dom0 over COM2; the protocol is described in the helper's `agent.rs`.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;

use crate::error::{Error, Kind, Result};

/// How much longer than dom0's own time-out the host waits: the line and an emulated machine are slow.
const SLACK: Duration = Duration::from_secs(60);

#[derive(Debug, Deserialize)]
struct Message {
    #[serde(default)]
    ready: bool,
    id: Option<u64>,
    out: Option<String>,
    line: Option<String>,
    code: Option<i32>,
}

/// What a command in dom0 left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Both outputs together.
    pub text: String,
    /// Exit code; `None` if it was killed because it ran out of time.
    pub code: Option<i32>,
}

impl Output {
    /// The text if the exit code was 0.
    ///
    /// # Errors
    /// Says what was printed and how it ended.
    pub fn ok(self, what: &str) -> Result<String> {
        match self.code {
            Some(0) => Ok(self.text),
            Some(code) => Err(Error::new(
                Kind::Dom0,
                format!("dom0: {what}: exit code {code}: {}", self.text.trim()),
            )),
            None => Err(Error::new(
                Kind::Dom0,
                format!("dom0: {what}: out of time: {}", self.text.trim()),
            )),
        }
    }
}

#[derive(Default)]
struct Shared {
    waiting: HashMap<u64, Sender<Message>>,
    ready: bool,
    closed: bool,
}

/// The line to dom0.
pub(crate) struct Dom0 {
    out: Mutex<UnixStream>,
    shared: Arc<Mutex<Shared>>,
    next: Mutex<u64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Dom0 {
    pub(crate) fn new(stream: UnixStream, first_id: u64) -> Result<Self> {
        let input = stream
            .try_clone()
            .map_err(|e| Error::io("dom0's line", &e))?;
        let shared = Arc::new(Mutex::new(Shared::default()));
        let to = Arc::clone(&shared);
        // Ends when QEMU closes the socket.
        thread::spawn(move || receive(input, &to));
        Ok(Self {
            out: Mutex::new(stream),
            shared,
            next: Mutex::new(first_id),
        })
    }

    /// True once the agent has said that it runs.
    pub(crate) fn is_ready(&self) -> bool {
        lock(&self.shared).ready
    }

    fn send(&self, mut request: serde_json::Value) -> Result<(u64, Receiver<Message>)> {
        let id = {
            let mut next = lock(&self.next);
            *next += 1;
            *next
        };
        request["id"] = id.into();
        let (to, from) = mpsc::channel();
        lock(&self.shared).waiting.insert(id, to);
        // A line end first: whatever a broken-off sender left is thrown away by the agent.
        let line = format!("\n{request}\n");
        lock(&self.out)
            .write_all(line.as_bytes())
            .map_err(|e| Error::io("dom0's line", &e))?;
        Ok((id, from))
    }

    /// Asks whether the agent is there.
    pub(crate) fn ping(&self, limit: Duration) -> Result {
        let (id, from) = self.send(json!({}))?;
        let answer = from.recv_timeout(limit);
        lock(&self.shared).waiting.remove(&id);
        answer
            .map(drop)
            .map_err(|_| Error::infra("dom0 does not answer"))
    }

    /// Runs a shell command and waits for its end.
    pub(crate) fn run(&self, command: &str, limit: Duration) -> Result<Output> {
        let mut job = self.spawn(command, limit, false)?;
        let limit = limit + SLACK;
        // The agent would have killed the command and said so.
        job.end(limit)?.ok_or_else(|| {
            Error::infra(format!(
                "dom0 said nothing about `{command}` for {} s",
                limit.as_secs()
            ))
        })
    }

    /// Starts a shell command.
    pub(crate) fn spawn(&self, command: &str, limit: Duration, stream: bool) -> Result<Job> {
        let ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let (id, from) = self.send(json!({ "sh": command, "ms": ms, "stream": stream }))?;
        Ok(Job {
            id,
            from,
            lines: Vec::new(),
            done: None,
            command: command.to_owned(),
            shared: Arc::clone(&self.shared),
        })
    }

    /// Kills a command.
    pub(crate) fn kill(&self, job: &Job) -> Result {
        let (_, from) = self.send(json!({ "kill": job.id }))?;
        from.recv_timeout(SLACK)
            .map(drop)
            .map_err(|_| Error::infra("dom0 does not answer"))
    }
}

/// A command that runs in dom0 beside others.
pub struct Job {
    id: u64,
    from: Receiver<Message>,
    lines: Vec<String>,
    done: Option<Output>,
    command: String,
    shared: Arc<Mutex<Shared>>,
}

impl Job {
    /// Takes in one message; false at the end of `limit`.
    fn step(&mut self, limit: Duration) -> Result<bool> {
        match self.from.recv_timeout(limit) {
            Ok(Message {
                line: Some(line), ..
            }) => self.lines.push(line),
            Ok(message) => {
                self.done = Some(Output {
                    text: message.out.unwrap_or_default(),
                    code: message.code,
                });
            }
            Err(RecvTimeoutError::Timeout) => return Ok(false),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::infra(format!(
                    "dom0's line was lost during `{}`",
                    self.command
                )));
            }
        }
        Ok(true)
    }

    /// The lines printed so far.
    ///
    /// # Errors
    /// The line to dom0 was lost.
    pub fn lines(&mut self) -> Result<&[String]> {
        while self.done.is_none() && self.step(Duration::ZERO)? {}
        Ok(&self.lines)
    }

    /// True if it has ended.
    ///
    /// # Errors
    /// The line to dom0 was lost.
    pub fn has_ended(&mut self) -> Result<bool> {
        self.lines()?;
        Ok(self.done.is_some())
    }

    /// Waits for a line that contains `text` and returns it.
    ///
    /// # Errors
    /// The command ended or `limit` passed before such a line.
    pub fn wait_line(&mut self, text: &str, limit: Duration) -> Result<String> {
        let end = Instant::now() + limit;
        loop {
            if let Some(line) = self.lines.iter().find(|l| l.contains(text)) {
                return Ok(line.clone());
            }
            let left = end.saturating_duration_since(Instant::now());
            if self.done.is_some() || !self.step(left)? {
                let why = if self.done.is_some() { "ended" } else { "ran" };
                return Err(Error::new(
                    Kind::Dom0,
                    format!(
                        "dom0: `{}` {why} without {text:?}: {}",
                        self.command,
                        self.lines.join(" / ")
                    ),
                ));
            }
        }
    }

    /// Waits for the command's end.
    ///
    /// # Errors
    /// `limit` passed or the line to dom0 was lost.
    pub fn finish(&mut self, limit: Duration) -> Result<Output> {
        self.end(limit)?.ok_or_else(|| {
            Error::new(
                Kind::Dom0,
                format!(
                    "dom0: `{}` did not end within {} s: {}",
                    self.command,
                    limit.as_secs(),
                    self.lines.join(" / ")
                ),
            )
        })
    }

    /// What the command left; `None` if it runs after `limit`.
    fn end(&mut self, limit: Duration) -> Result<Option<Output>> {
        let end = Instant::now() + limit;
        while self.done.is_none() {
            if !self.step(end.saturating_duration_since(Instant::now()))? {
                return Ok(None);
            }
        }
        Ok(self.done.clone())
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        lock(&self.shared).waiting.remove(&self.id);
    }
}

/// Hands each message to the command that waits for it.
fn receive(input: UnixStream, shared: &Mutex<Shared>) {
    for line in BufReader::new(input).split(b'\n') {
        let Ok(line) = line else { break };
        let Ok(message) = serde_json::from_slice::<Message>(&line) else {
            continue;
        };
        let mut shared = lock(shared);
        if message.ready {
            shared.ready = true;
        }
        let Some(id) = message.id else { continue };
        let last = message.line.is_none();
        if let Some(to) = shared.waiting.get(&id) {
            // Nobody may be waiting any more.
            let _ = to.send(message);
        }
        if last {
            shared.waiting.remove(&id);
        }
    }
    let mut shared = lock(shared);
    shared.closed = true;
    // Senders gone, everybody who waits learns that the line was lost.
    shared.waiting.clear();
}
