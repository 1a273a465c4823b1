// SPDX-License-Identifier: BSD-2-Clause
//! The other end of the guest's console: the terminal that xenconsoled offers.
//!
//! `console write WORD` gives a line; `console fill N` gives N numbered lines; `console expect WORD` reads until a line is WORD;
//! `console lines N` reads until N numbered lines came, none missing and none changed between the first and the last.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

use super::{Probe, broken};
use crate::args::Args;
use crate::{Failure, Result};

/// How long a line may take.
const LIMIT: Duration = Duration::from_secs(60);

/// The terminal, and bytes that are not a line yet.
pub(super) struct Terminal {
    file: File,
    rest: Vec<u8>,
}

/// A numbered line; guest and dom0 make the same.
fn numbered(n: u32) -> String {
    format!("line-{n:05}-0123456789abcdefghijklmnopqrstuvwxyz")
}

impl Terminal {
    fn open(probe: &mut Probe) -> Result<Self> {
        let path = probe
            .store
            .read(0, &format!("{}/console/tty", probe.base))
            .map_err(broken)?;
        let path = String::from_utf8_lossy(&path).into_owned();
        let flags = OFlags::NOCTTY | OFlags::NONBLOCK;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags.bits().cast_signed())
            .open(&path)
            .map_err(|e| Failure::new(format!("open {path}: {e}")))?;
        Ok(Self {
            file,
            rest: Vec::new(),
        })
    }

    fn ready(&self, flags: PollFlags, end: Instant) -> Result {
        let left = end.saturating_duration_since(Instant::now());
        let wait = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let mut fds = [PollFd::new(&self.file, flags)];
        match poll(&mut fds, Some(&wait)) {
            Ok(0) => Err(Failure::new("the console is silent")),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(Failure::new(format!("wait for the console: {e}"))),
        }
    }

    fn write(&mut self, text: &str) -> Result {
        let end = Instant::now() + LIMIT;
        let mut left = text.as_bytes();
        while !left.is_empty() {
            match self.file.write(left) {
                Ok(moved) => left = &left[moved..],
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.ready(PollFlags::OUT, end)?;
                }
                Err(e) => return Err(Failure::new(format!("write to the console: {e}"))),
            }
        }
        Ok(())
    }

    /// The next line, without its end.
    fn line(&mut self, end: Instant) -> Result<String> {
        loop {
            if let Some(at) = self.rest.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=at).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            let mut buffer = [0; 4096];
            match self.file.read(&mut buffer) {
                Ok(0) => return Err(Failure::new("the console ended")),
                Ok(moved) => self.rest.extend(&buffer[..moved]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.ready(PollFlags::IN, end)?,
                Err(e) => return Err(Failure::new(format!("read the console: {e}"))),
            }
        }
    }

    fn lines(&mut self, count: u32) -> Result {
        let end = Instant::now() + LIMIT;
        let mut next = 0;
        while next < count {
            let line = self.line(end)?;
            if line == numbered(next) {
                next += 1;
            } else if next > 0 {
                return Err(Failure::new(format!("{line} instead of line {next}")));
            }
        }
        Ok(())
    }
}

pub(super) fn serve(probe: &mut Probe, mut args: Args) -> Result<String> {
    let verb = args.need("a verb")?;
    let word = args.need("a word or a number")?;
    args.end()?;
    if probe.terminal.is_none() {
        probe.terminal = Some(Terminal::open(probe)?);
    }
    let terminal = probe.terminal.as_mut();
    let terminal = terminal.ok_or_else(|| Failure::new("no terminal"))?;
    let number = || {
        word.parse::<u32>()
            .map_err(|_| Failure::new(format!("bad number {word}")))
    };
    match verb.as_str() {
        "write" => terminal.write(&format!("{word}\n"))?,
        "fill" => {
            let text: String = (0..number()?).map(|n| numbered(n) + "\n").collect();
            terminal.write(&text)?;
        }
        "expect" => {
            let end = Instant::now() + LIMIT;
            while terminal.line(end)? != word {}
        }
        "lines" => terminal.lines(number()?)?,
        _ => return Err(Failure::new(format!("console: no verb {verb}"))),
    }
    Ok(String::new())
}
