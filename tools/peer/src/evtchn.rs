// SPDX-License-Identifier: BSD-2-Clause
//! Event channels of dom0 through `/dev/xen/evtchn`.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::ffi::{Call, request};
use crate::{Failure, Result};

/// One bound channel; its port is closed with the file.
pub(crate) struct Channel {
    file: File,
    port: u32,
}

fn open() -> Result<File> {
    let path = "/dev/xen/evtchn";
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|e| Failure::new(format!("open {path}: {e}")))
}

impl Channel {
    /// Binds to port `port` of domain `domid`, which must have been opened for dom0. Xen marks the new port pending
    /// at once, in case the other end notified before; that event is taken here.
    pub(crate) fn bind(domid: u32, port: u32) -> Result<Self> {
        let file = open()?;
        let bound = request(file.as_fd(), Call::EvtchnBind, [domid, port])
            .map_err(|e| Failure::new(format!("bind to port {port} of domain {domid}: {e}")))?;
        let mut channel = Self::made(file, bound.0)?;
        channel.pending(Duration::from_millis(100))?;
        Ok(channel)
    }

    /// A port that domain `domid` may bind to.
    pub(crate) fn offer(domid: u32) -> Result<Self> {
        let file = open()?;
        let offered = request(file.as_fd(), Call::EvtchnOffer, [domid])
            .map_err(|e| Failure::new(format!("a port for domain {domid}: {e}")))?;
        Self::made(file, offered.0)
    }

    fn made(file: File, port: i32) -> Result<Self> {
        let port = u32::try_from(port).map_err(|_| Failure::new("negative port"))?;
        Ok(Self { file, port })
    }

    /// The port in dom0.
    pub(crate) fn port(&self) -> u32 {
        self.port
    }

    /// Sends an event.
    pub(crate) fn notify(&self) -> Result {
        request(self.file.as_fd(), Call::EvtchnNotify, [self.port])
            .map(|_| ())
            .map_err(|e| Failure::new(format!("notify port {}: {e}", self.port)))
    }

    /// Waits for an event and takes it; false if none came within `limit`.
    pub(crate) fn pending(&mut self, limit: Duration) -> Result<bool> {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let wait = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            };
            let mut fds = [PollFd::new(&self.file, PollFlags::IN)];
            match poll(&mut fds, Some(&wait)) {
                Ok(0) => return Ok(false),
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(Failure::new(format!("wait for an event: {e}"))),
            }
        }
        let mut port = [0; 4];
        self.file
            .read_exact(&mut port)
            .map_err(|e| Failure::new(format!("read an event: {e}")))?;
        // Writing the port back unmasks it.
        self.file
            .write_all(&port)
            .map_err(|e| Failure::new(format!("unmask: {e}")))?;
        if u32::from_ne_bytes(port) != self.port {
            return Err(Failure::new("an event on a port that is not ours"));
        }
        Ok(true)
    }

    /// Answers `count` events with one each; or, with `first`, sends and then waits, `count` times.
    pub(crate) fn bounce(&mut self, count: u32, first: bool, limit: Duration) -> Result {
        let end = Instant::now() + limit;
        for n in 0..count {
            if first {
                self.notify()?;
            }
            let left = end.saturating_duration_since(Instant::now());
            if !self.pending(left)? {
                return Err(Failure::new(format!(
                    "event {} of {count} did not come",
                    n + 1
                )));
            }
            if !first {
                self.notify()?;
            }
        }
        Ok(())
    }

    /// Closes the port now rather than with the file.
    pub(crate) fn close(self) -> Result {
        request(self.file.as_fd(), Call::EvtchnUnbind, [self.port])
            .map(|_| ())
            .map_err(|e| Failure::new(format!("unbind port {}: {e}", self.port)))
    }
}
