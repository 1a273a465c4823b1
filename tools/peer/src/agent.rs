// SPDX-License-Identifier: BSD-2-Clause
//! Serves the rig on a serial line: runs shell commands and returns what they printed.
//!
//! One JSON object per line, both ways.
//!
//! | host sends | agent answers |
//! |---|---|
//! | `{"id":1,"sh":"CMD","ms":5000}` | `{"id":1,"out":"..","code":0}` when it ended; `"code":null` if it was killed (time-out, `kill`) |
//! | `{"id":2,"sh":"CMD","ms":5000,"stream":true}` | the same, preceded by `{"id":2,"line":".."}` for each line it prints |
//! | `{"id":3,"kill":2}` | `{"id":3,"code":0}`; command 2 then ends with `"code":null` |
//! | `{"id":4}` | `{"id":4,"code":0}`: a ping |
//!
//! Commands run side by side, each in a process group of its own, both outputs joined. `out` keeps the first MiB.
//! At its start the agent sends `{"ready":true}`. Lines that are not JSON are dropped, so a broken-off line does no harm.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

use crate::args::Args;
use crate::{Failure, Result};

const KEPT: usize = 1 << 20;

#[derive(Deserialize)]
struct Request {
    id: u64,
    sh: Option<String>,
    ms: Option<u64>,
    #[serde(default)]
    stream: bool,
    kill: Option<u64>,
}

#[derive(Serialize)]
struct Done<'a> {
    id: u64,
    out: &'a str,
    code: Option<i32>,
}

#[derive(Serialize)]
struct Line<'a> {
    id: u64,
    line: &'a str,
}

/// The line to the host, and the running commands' process groups.
struct Shared {
    tty: Mutex<File>,
    running: Mutex<HashMap<u64, Pid>>,
}

impl Shared {
    fn send(&self, message: &impl Serialize) {
        let Ok(mut text) = serde_json::to_string(message) else {
            return;
        };
        text.push('\n');
        let mut tty = self.tty.lock().unwrap_or_else(PoisonError::into_inner);
        // The host notices a dead line by its own time-out; there is nobody else to tell.
        let _ = tty.write_all(text.as_bytes());
    }

    fn kill(&self, id: u64) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = running.get(&id) {
            // It may have ended by itself.
            let _ = kill_process_group(*pid, Signal::KILL);
        }
    }
}

/// `xenpeer agent TTY`
pub(crate) fn run(mut args: Args) -> Result {
    let path = args.need("the terminal")?;
    args.end()?;
    let open = || {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|e| Failure::new(format!("open {path}: {e}")))
    };
    let shared = Arc::new(Shared {
        tty: Mutex::new(open()?),
        running: Mutex::new(HashMap::new()),
    });
    #[derive(Serialize)]
    struct Ready {
        ready: bool,
    }
    shared.send(&Ready { ready: true });
    for line in BufReader::new(open()?).split(b'\n') {
        let line = line.map_err(|e| Failure::new(format!("read {path}: {e}")))?;
        let Ok(request) = serde_json::from_slice::<Request>(&line) else {
            continue;
        };
        if let Some(victim) = request.kill {
            shared.kill(victim);
        }
        let Some(command) = request.sh else {
            shared.send(&Done {
                id: request.id,
                out: "",
                code: Some(0),
            });
            continue;
        };
        let limit = Duration::from_millis(request.ms.unwrap_or(30_000));
        let shared = Arc::clone(&shared);
        thread::spawn(move || {
            let mut out = String::new();
            let code = execute(
                &shared,
                request.id,
                &command,
                limit,
                request.stream,
                &mut out,
            );
            shared.send(&Done {
                id: request.id,
                out: &out,
                code,
            });
        });
    }
    Err(Failure::new(format!("{path} was closed")))
}

/// Runs one command to its end; `None` if it was killed or could not start.
fn execute(
    shared: &Shared,
    id: u64,
    command: &str,
    limit: Duration,
    stream: bool,
    out: &mut String,
) -> Option<i32> {
    let (reader, writer) = match std::io::pipe() {
        Ok(ends) => ends,
        Err(e) => {
            *out = format!("pipe: {e}");
            return None;
        }
    };
    let errors = match writer.try_clone() {
        Ok(end) => end,
        Err(e) => {
            *out = format!("pipe: {e}");
            return None;
        }
    };
    let mut shell = Command::new("/bin/sh");
    shell
        .arg("-c")
        .arg(command)
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(errors)
        .process_group(0);
    let mut child = match shell.spawn() {
        Ok(child) => child,
        Err(e) => {
            *out = format!("sh: {e}");
            return None;
        }
    };
    // Our copies of the pipe's writing end go with `shell`, so its end means that the command's are gone.
    drop(shell);
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(pid) = group {
        shared
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, pid);
    }
    let (send, lines) = mpsc::channel();
    thread::spawn(move || read_lines(reader, &send));
    let end = Instant::now() + limit;
    let mut timed_out = false;
    let mut grace = None;
    let status = loop {
        match lines.recv_timeout(Duration::from_millis(10)) {
            Ok(line) => take(shared, id, &line, stream, out),
            // A daemon may keep the pipe open: the command's own end is what counts.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                if let Ok(Some(status)) = child.try_wait() {
                    let since = *grace.get_or_insert_with(Instant::now);
                    if since.elapsed() >= Duration::from_millis(20) {
                        break status;
                    }
                } else {
                    thread::sleep(Duration::from_millis(1));
                }
            }
        }
        if !timed_out && Instant::now() >= end {
            timed_out = true;
            shared.kill(id);
        }
    };
    shared
        .running
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(&id);
    while let Ok(line) = lines.try_recv() {
        take(shared, id, &line, stream, out);
    }
    if timed_out {
        return None;
    }
    status.code().or_else(|| {
        status
            .signal()
            .filter(|s| *s != Signal::KILL.as_raw())
            .map(|s| 128 + s)
    })
}

/// Reads whole lines, or what there is of one at the end.
fn read_lines(reader: impl Read, send: &mpsc::Sender<String>) {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        if send
            .send(String::from_utf8_lossy(&line).into_owned())
            .is_err()
        {
            break;
        }
        line.clear();
    }
}

fn take(shared: &Shared, id: u64, line: &str, stream: bool, out: &mut String) {
    if stream {
        shared.send(&Line {
            id,
            line: line.trim_end_matches('\n'),
        });
    }
    if out.len() < KEPT {
        out.push_str(line);
    }
}
