// SPDX-License-Identifier: BSD-2-Clause
//! A connection's bytes: requests that go out, answers that come in.
//!
//! xenstored's socket takes any number of requests. Linux's device keeps one only: the bytes of the next overwrite those of one
//! that has not gone to the ring yet, so there each line waits for an answer before it sends the next request. Many requests are
//! on their way from a guest over many lines.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use crate::wire::{Answer, Inbox, Message};
use crate::{Failure, Result};

/// How many requests one system call takes.
const BATCH: usize = 64;
/// How many bytes one system call reads.
const ROOM: usize = 1 << 14;

/// What broke a line.
pub(crate) type Broken = String;

/// One connection.
pub(crate) struct Line {
    pub(crate) stream: File,
    /// Where Linux's device is, if that is what it is.
    device: Option<String>,
    outbox: VecDeque<(u32, Vec<u8>)>,
    /// Bytes of the first request that are out.
    sent: usize,
    /// Requests that are out and not answered.
    on_way: usize,
    /// The socket takes no more now.
    pub(crate) is_full: bool,
    inbox: Inbox,
    room: Box<[u8]>,
}

impl Line {
    /// A connected socket of xenstored.
    pub(crate) fn socket(stream: UnixStream) -> std::io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self::new(OwnedFd::from(stream).into(), None))
    }

    /// Linux's device of a guest's connection.
    pub(crate) fn device(path: &str) -> Result<Self> {
        let file = File::options().read(true).write(true).open(path);
        let file = file.map_err(|e| Failure::new(format!("open {path}: {e}")))?;
        Ok(Self::new(file, Some(path.to_owned())))
    }

    /// A device that refuses every request as invalid, and never has anything to read: a file without a way to write to it.
    #[cfg(test)]
    pub(crate) fn refusing() -> Self {
        use rustix::event::epoll::{CreateFlags, create};
        let file = create(CreateFlags::CLOEXEC).expect("epoll");
        Self::new(file.into(), Some("refusing".into()))
    }

    /// Where another one can be opened.
    pub(crate) fn path(&self) -> Option<&str> {
        self.device.as_deref()
    }

    fn new(stream: File, device: Option<String>) -> Self {
        Self {
            stream,
            device,
            outbox: VecDeque::new(),
            sent: 0,
            on_way: 0,
            is_full: false,
            inbox: Inbox::default(),
            room: vec![0; ROOM].into(),
        }
    }

    /// Appends a request.
    pub(crate) fn push(&mut self, id: u32, message: Vec<u8>) {
        self.outbox.push_back((id, message));
    }

    /// A request was answered.
    pub(crate) fn answered(&mut self) {
        self.on_way = self.on_way.saturating_sub(1);
    }

    /// Sends what can be sent. A request that Linux refused at once is returned, with xenstored's word for it; there may be more to
    /// send then.
    pub(crate) fn send(&mut self) -> std::result::Result<Option<(u32, &'static str)>, Broken> {
        self.is_full = false;
        loop {
            let window = match self.device {
                Some(_) => 1_usize.saturating_sub(self.on_way),
                None => BATCH,
            };
            let requests = self.outbox.iter().take(window).enumerate();
            let slices: Vec<IoSlice<'_>> = requests
                .map(|(n, (_, message))| {
                    IoSlice::new(&message[if n == 0 { self.sent } else { 0 }..])
                })
                .collect();
            if slices.is_empty() {
                return Ok(None);
            }
            match self.stream.write_vectored(&slices) {
                Ok(written) => self.written(written),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.is_full = true;
                    return Ok(None);
                }
                Err(e) => {
                    let refused = refusal(&e).filter(|_| self.device.is_some());
                    let refused = refused.zip(self.outbox.pop_front());
                    let (name, (id, _)) = refused.ok_or_else(|| told(&e))?;
                    return Ok(Some((id, name)));
                }
            }
        }
    }

    /// Takes what is out from the outbox.
    fn written(&mut self, mut count: usize) {
        while let Some((_, message)) = self.outbox.front() {
            let left = message.len() - self.sent;
            if count < left {
                self.sent += count;
                return;
            }
            count -= left;
            self.sent = 0;
            self.on_way += 1;
            self.outbox.pop_front();
        }
    }

    /// Takes in what has come.
    pub(crate) fn receive(&mut self) -> std::result::Result<(), Broken> {
        match self.stream.read(&mut self.room) {
            Ok(0) => Err("xenstored closed the connection".into()),
            Ok(count) => {
                self.inbox.extend(&self.room[..count]);
                Ok(())
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(()),
            Err(e) => Err(told(&e)),
        }
    }

    /// The next whole message that has come.
    pub(crate) fn next(&mut self) -> Answer<Option<Message>> {
        self.inbox.next()
    }
}

fn told(error: &std::io::Error) -> Broken {
    format!("the connection to xenstored: {error}")
}

/// xenstored's word for an error of Linux's device, which itself waits for the answer to a watch.
fn refusal(error: &std::io::Error) -> Option<&'static str> {
    use rustix::io::Errno;
    match Errno::from_io_error(error)? {
        Errno::NOENT => Some("ENOENT"),
        Errno::ACCESS => Some("EACCES"),
        Errno::PERM => Some("EPERM"),
        Errno::EXIST => Some("EEXIST"),
        Errno::INVAL => Some("EINVAL"),
        Errno::NOSPC => Some("ENOSPC"),
        Errno::TOOBIG => Some("E2BIG"),
        Errno::NOMEM => Some("ENOMEM"),
        _ => None,
    }
}
