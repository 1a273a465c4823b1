// SPDX-License-Identifier: BSD-2-Clause
//! A xenstore client of its own over xenstored's socket, sharing no code with the drivers' client.
//!
//! One request at a time. Watch events that come between request and reply are kept in order.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::{Failure, Result};

const SOCKET: &str = "/run/xenstored/socket";

/// Message types.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
enum Op {
    Control = 0,
    Directory = 1,
    Read = 2,
    GetPerms = 3,
    Watch = 4,
    Unwatch = 5,
    TransactionStart = 6,
    TransactionEnd = 7,
    Introduce = 8,
    Write = 11,
    Mkdir = 12,
    Rm = 13,
    SetPerms = 14,
}

const WATCH_EVENT: u32 = 15;
const ERROR: u32 = 16;
const MAX_PAYLOAD: u32 = 4096;

/// What xenstored answered a refused request with, or what broke the connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// xenstored's own word, such as `ENOENT`.
    Name(String),
    /// The connection is unusable.
    Broken(String),
}

impl Refused {
    /// True if the node does not exist.
    pub(crate) fn is_missing(&self) -> bool {
        *self == Self::Name("ENOENT".into())
    }
}

type Answer<T = Vec<u8>> = std::result::Result<T, Refused>;

/// A fired watch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) path: String,
    pub(crate) token: String,
}

/// The connection.
pub(crate) struct Store<S = UnixStream> {
    stream: S,
    next: u32,
    events: VecDeque<Event>,
}

/// A stream whose reads can be bounded.
pub(crate) trait Bounded: Read + Write {
    /// Bounds the next reads; `None` means for ever.
    fn bound(&self, limit: Option<Duration>) -> std::io::Result<()>;
}

impl Bounded for UnixStream {
    fn bound(&self, limit: Option<Duration>) -> std::io::Result<()> {
        self.set_read_timeout(limit.map(|l| l.max(Duration::from_micros(1))))
    }
}

/// How long xenstored may take for one answer.
const REPLY_LIMIT: Duration = Duration::from_secs(20);

impl Store<UnixStream> {
    /// Connects.
    pub(crate) fn connect() -> Result<Self> {
        let stream = UnixStream::connect(SOCKET)
            .map_err(|e| Failure::new(format!("connect {SOCKET}: {e}")))?;
        Ok(Self::over(stream))
    }
}

impl<S: Bounded> Store<S> {
    /// A client over a connected stream.
    pub(crate) fn over(stream: S) -> Self {
        Self {
            stream,
            next: 1,
            events: VecDeque::new(),
        }
    }

    fn receive(&mut self, limit: Option<Duration>) -> Answer<Option<(u32, u32, Vec<u8>)>> {
        let broken = |e: std::io::Error| Refused::Broken(format!("xenstored's socket: {e}"));
        self.stream.bound(limit).map_err(broken)?;
        let mut header = [0; 16];
        match self.stream.read(&mut header[..1]) {
            Ok(0) => return Err(Refused::Broken("xenstored closed the connection".into())),
            Ok(_) => {}
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(None);
            }
            Err(e) => return Err(broken(e)),
        }
        // The rest of a message that has begun comes soon or never.
        self.stream.bound(Some(REPLY_LIMIT)).map_err(broken)?;
        self.stream.read_exact(&mut header[1..]).map_err(broken)?;
        let word =
            |n: usize| u32::from_le_bytes([header[n], header[n + 1], header[n + 2], header[n + 3]]);
        let (kind, id, len) = (word(0), word(4), word(12));
        if len > MAX_PAYLOAD {
            return Err(Refused::Broken(format!("a message of {len} bytes")));
        }
        let mut payload = vec![0; len as usize];
        self.stream.read_exact(&mut payload).map_err(broken)?;
        Ok(Some((kind, id, payload)))
    }

    fn take_event(&mut self, payload: &[u8]) {
        let mut parts = payload
            .split(|b| *b == 0)
            .map(|p| String::from_utf8_lossy(p).into_owned());
        if let (Some(path), Some(token)) = (parts.next(), parts.next()) {
            self.events.push_back(Event { path, token });
        }
    }

    fn call(&mut self, op: Op, transaction: u32, parts: &[&[u8]]) -> Answer {
        let id = self.next;
        self.next = self.next.wrapping_add(1).max(1);
        let payload: Vec<u8> = parts.concat();
        let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        if len > MAX_PAYLOAD {
            return Err(Refused::Name("E2BIG".into()));
        }
        let mut message: Vec<u8> = [op as u32, id, transaction, len]
            .iter()
            .flat_map(|w| w.to_le_bytes())
            .collect();
        message.extend(payload);
        self.stream
            .write_all(&message)
            .map_err(|e| Refused::Broken(format!("xenstored's socket: {e}")))?;
        loop {
            match self.receive(Some(REPLY_LIMIT))? {
                None => return Err(Refused::Broken(format!("xenstored did not answer {op:?}"))),
                Some((WATCH_EVENT, _, payload)) => self.take_event(&payload),
                Some((_, other, _)) if other != id => {
                    return Err(Refused::Broken(format!(
                        "an answer to request {other}, not {id}"
                    )));
                }
                Some((ERROR, _, payload)) => {
                    let name = payload.split(|b| *b == 0).next().unwrap_or_default();
                    return Err(Refused::Name(String::from_utf8_lossy(name).into_owned()));
                }
                Some((_, _, payload)) => return Ok(payload),
            }
        }
    }

    /// Reads a value.
    pub(crate) fn read(&mut self, transaction: u32, path: &str) -> Answer {
        self.call(Op::Read, transaction, &[path.as_bytes(), b"\0"])
    }

    /// Reads a value `count` times with up to `depth` requests on their way: what is missing to that many is sent in one write
    /// once half of them have been answered.
    pub(crate) fn read_many(&mut self, path: &str, count: u32, depth: u32) -> Answer<()> {
        let broken = |e: std::io::Error| Refused::Broken(format!("xenstored's socket: {e}"));
        self.stream.bound(Some(REPLY_LIMIT)).map_err(broken)?;
        let payload = [path.as_bytes(), b"\0"].concat();
        let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let first = self.next;
        let (mut sent, mut answered) = (0, 0);
        let mut inbox = Vec::new();
        let mut room = vec![0; 1 << 16];
        while answered < count {
            if sent - answered <= depth / 2 {
                let more = (depth - (sent - answered)).min(count - sent);
                let mut batch = Vec::new();
                for number in sent..sent + more {
                    let id = first.wrapping_add(number);
                    for word in [Op::Read as u32, id, 0, len] {
                        batch.extend(word.to_le_bytes());
                    }
                    batch.extend(&payload);
                }
                self.stream.write_all(&batch).map_err(broken)?;
                sent += more;
            }
            match self.stream.read(&mut room).map_err(broken)? {
                0 => return Err(Refused::Broken("xenstored closed the connection".into())),
                n => inbox.extend(&room[..n]),
            }
            let mut at = 0;
            while let Some(header) = inbox.get(at..at + 16) {
                let (words, _) = header.as_chunks::<4>();
                let [kind, id, _, len] = std::array::from_fn(|n| u32::from_le_bytes(words[n]));
                if len > MAX_PAYLOAD {
                    return Err(Refused::Broken(format!("a message of {len} bytes")));
                }
                let end = at + 16 + len as usize;
                if inbox.len() < end {
                    break;
                }
                if kind != Op::Read as u32 || id != first.wrapping_add(answered) {
                    return Err(Refused::Broken(format!(
                        "an answer of type {kind} to request {id}"
                    )));
                }
                answered += 1;
                at = end;
            }
            inbox.drain(..at);
        }
        self.next = first.wrapping_add(count).max(1);
        Ok(())
    }

    /// Writes a value, making the parents.
    pub(crate) fn write(&mut self, transaction: u32, path: &str, value: &[u8]) -> Answer<()> {
        self.call(Op::Write, transaction, &[path.as_bytes(), b"\0", value])
            .map(drop)
    }

    /// Makes an empty node.
    pub(crate) fn mkdir(&mut self, path: &str) -> Answer<()> {
        self.call(Op::Mkdir, 0, &[path.as_bytes(), b"\0"]).map(drop)
    }

    /// Removes a node and all below it.
    pub(crate) fn rm(&mut self, path: &str) -> Answer<()> {
        self.call(Op::Rm, 0, &[path.as_bytes(), b"\0"]).map(drop)
    }

    /// Child names.
    pub(crate) fn list(&mut self, path: &str) -> Answer<Vec<String>> {
        let names = self.call(Op::Directory, 0, &[path.as_bytes(), b"\0"])?;
        Ok(names
            .split(|b| *b == 0)
            .filter(|n| !n.is_empty())
            .map(|n| String::from_utf8_lossy(n).into_owned())
            .collect())
    }

    /// The permissions, each in xenstore's form; the owner's first.
    pub(crate) fn perms(&mut self, path: &str) -> Answer<Vec<String>> {
        let perms = self.call(Op::GetPerms, 0, &[path.as_bytes(), b"\0"])?;
        let perms = perms.split(|b| *b == 0).filter(|perm| !perm.is_empty());
        Ok(perms.map(|p| String::from_utf8_lossy(p).into()).collect())
    }

    /// Sets the permissions, each in xenstore's form such as `n5`; the first names the owner.
    pub(crate) fn set_perms(&mut self, path: &str, perms: &[String]) -> Answer<()> {
        let mut payload = path.as_bytes().to_vec();
        for perm in perms {
            payload.push(0);
            payload.extend(perm.as_bytes());
        }
        payload.push(0);
        self.call(Op::SetPerms, 0, &[&payload]).map(drop)
    }

    /// Introduces a domain to a daemon that does not know it: the frame of its page, and its port.
    pub(crate) fn introduce(&mut self, domid: u32, frame: u64, port: u32) -> Answer<()> {
        let payload = format!("{domid}\0{frame}\0{port}\0");
        self.call(Op::Introduce, 0, &[payload.as_bytes()]).map(drop)
    }

    /// Lets xenstored write what memory it has, and for what, to a file.
    pub(crate) fn memory_report(&mut self, file: &str) -> Answer {
        self.call(Op::Control, 0, &[b"memreport\0", file.as_bytes(), b"\0"])
    }

    /// Watches a path and what is below it.
    pub(crate) fn watch(&mut self, path: &str, token: &str) -> Answer<()> {
        self.call(
            Op::Watch,
            0,
            &[path.as_bytes(), b"\0", token.as_bytes(), b"\0"],
        )
        .map(drop)
    }

    /// Ends a watch.
    pub(crate) fn unwatch(&mut self, path: &str, token: &str) -> Answer<()> {
        self.call(
            Op::Unwatch,
            0,
            &[path.as_bytes(), b"\0", token.as_bytes(), b"\0"],
        )
        .map(drop)
    }

    /// Starts a transaction.
    pub(crate) fn start(&mut self) -> Answer<u32> {
        let id = self.call(Op::TransactionStart, 0, &[b"\0"])?;
        let text = String::from_utf8_lossy(&id);
        text.trim_end_matches('\0')
            .parse()
            .map_err(|_| Refused::Broken(format!("transaction id {text:?}")))
    }

    /// Commits or gives up a transaction.
    pub(crate) fn end(&mut self, transaction: u32, commit: bool) -> Answer<()> {
        self.call(
            Op::TransactionEnd,
            transaction,
            &[if commit { b"T\0" } else { b"F\0" }],
        )
        .map(drop)
    }

    /// The next fired watch, or `None` at the end of `limit`.
    pub(crate) fn event(&mut self, limit: Duration) -> Answer<Option<Event>> {
        let end = Instant::now() + limit;
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.receive(Some(left))? {
                None => return Ok(None),
                Some((WATCH_EVENT, _, payload)) => self.take_event(&payload),
                Some((kind, ..)) => {
                    return Err(Refused::Broken(format!(
                        "an answer of type {kind} to nothing"
                    )));
                }
            }
        }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Name(name) => Self::new(format!("xenstored refused: {name}")),
            Refused::Broken(text) => Self::new(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn message(kind: u32, id: u32, payload: &[u8]) -> Vec<u8> {
        let mut m: Vec<u8> = [kind, id, 0, payload.len() as u32]
            .iter()
            .flat_map(|w| w.to_le_bytes())
            .collect();
        m.extend(payload);
        m
    }

    /// Runs `client` against a daemon that reads one request of `size` bytes and says `answer`.
    fn against<T>(
        size: usize,
        answer: Vec<u8>,
        client: impl FnOnce(&mut Store) -> T,
    ) -> (Vec<u8>, T) {
        let (near, mut far) = UnixStream::pair().expect("pair");
        let daemon = thread::spawn(move || {
            let mut seen = vec![0; size];
            far.read_exact(&mut seen).expect("request");
            far.write_all(&answer).expect("answer");
            seen
        });
        let result = client(&mut Store::over(near));
        (daemon.join().expect("daemon"), result)
    }

    #[test]
    fn a_read_sends_the_path_with_its_nul_and_returns_the_bytes() {
        let (seen, value) = against(16 + 3, message(2, 1, b"v\0w"), |s| s.read(7, "/a"));
        assert_eq!(value, Ok(b"v\0w".to_vec()));
        assert_eq!(
            &seen[..16],
            &[2, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0, 3, 0, 0, 0]
        );
        assert_eq!(&seen[16..], b"/a\0");
    }

    #[test]
    fn an_event_before_the_reply_is_kept() {
        let mut answer = message(WATCH_EVENT, 0, b"/a/b\0tok\0");
        answer.extend(message(ERROR, 1, b"ENOENT\0"));
        let (_, (error, event)) = against(16 + 3, answer, |s| {
            let error = s.read(0, "/a").expect_err("refused");
            (error, s.event(Duration::ZERO).expect("alive"))
        });
        assert!(error.is_missing());
        assert_eq!(
            event,
            Some(Event {
                path: "/a/b".into(),
                token: "tok".into()
            })
        );
    }

    #[test]
    fn many_reads_keep_their_window_and_count_every_answer() {
        let (near, mut far) = UnixStream::pair().expect("pair");
        let daemon = thread::spawn(move || {
            let mut seen = Vec::new();
            for id in 1..=10 {
                let mut request = [0; 16 + 3];
                far.read_exact(&mut request).expect("request");
                seen.push(request[4]);
                far.write_all(&message(2, id, b"value")).expect("answer");
            }
            seen
        });
        let mut store = Store::over(near);
        assert_eq!(store.read_many("/a", 10, 4), Ok(()));
        assert_eq!(daemon.join().expect("daemon"), (1..=10).collect::<Vec<_>>());
        assert_eq!(store.next, 11);
    }

    #[test]
    fn many_reads_do_not_take_a_refusal_for_an_answer() {
        let (near, mut far) = UnixStream::pair().expect("pair");
        far.write_all(&message(ERROR, 1, b"ENOENT\0"))
            .expect("answer");
        let answer = Store::over(near).read_many("/a", 1, 1);
        assert!(matches!(answer, Err(Refused::Broken(_))), "{answer:?}");
    }

    #[test]
    fn a_wrong_id_and_an_oversized_answer_break_the_connection() {
        let (_, answer) = against(16 + 3, message(2, 9, b""), |s| s.read(0, "/a"));
        assert!(matches!(answer, Err(Refused::Broken(_))));
        let mut big = message(2, 1, b"");
        big[12..16].copy_from_slice(&5000u32.to_le_bytes());
        let (_, answer) = against(16 + 3, big, |s| s.read(0, "/a"));
        assert!(matches!(answer, Err(Refused::Broken(_))));
    }
}
