// SPDX-License-Identifier: BSD-2-Clause
//! xenstored itself: `xenstored silence MS` stops it for a while, soon after the answer; `xenstored update` lets it replace itself
//! by another process that goes on with everything (live update); `xenstored restart MS` kills it, starts another one after a
//! while, gives that one the nodes of before and introduces the guest to it. The guest's watches and transactions are gone then.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{Probe, broken};
use crate::args::Args;
use crate::store::Store;
use crate::wire::Refused;
use crate::{Failure, Result};

const PROGRAM: &str = "/usr/lib/xen-4.17/bin/xenstored";
const PID_FILE: &str = "/run/xenstored.pid";
/// Time for the answer to reach the guest.
const ANSWER: Duration = Duration::from_millis(1500);
/// How long a new daemon may take to answer.
const START: Duration = Duration::from_secs(20);

/// A node: path, value, permissions.
type Node = (String, Vec<u8>, Vec<String>);

fn signal(signal: Signal) -> Result {
    let text =
        fs::read_to_string(PID_FILE).map_err(|e| Failure::new(format!("read {PID_FILE}: {e}")))?;
    let pid = text.trim().parse().ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Failure::new(format!("{PID_FILE} has {text:?}")))?;
    kill_process(pid, signal).map_err(|e| Failure::new(format!("signal xenstored: {e}")))
}

fn run(command: &mut Command) -> Result {
    let done = command
        .output()
        .map_err(|e| Failure::new(format!("{command:?}: {e}")))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stdout);
    Err(Failure::new(format!("{command:?}: {}", said.trim())))
}

/// All nodes below `path`, parents first; those that vanish meanwhile are left out.
fn copy(store: &mut Store, path: &str, into: &mut Vec<Node>) -> Result {
    let there = |answer| match answer {
        Err(Refused::Name(name)) if name == "ENOENT" => Ok(None),
        other => other.map(Some).map_err(broken),
    };
    let names = match store.list(path) {
        Err(refused) if refused.is_missing() => return Ok(()),
        names => names.map_err(broken)?,
    };
    for name in names {
        let child = format!("{}/{name}", path.trim_end_matches('/'));
        let Some(value) = there(store.read(0, &child))? else {
            continue;
        };
        let permissions = match store.perms(&child) {
            Err(refused) if refused.is_missing() => continue,
            permissions => permissions.map_err(broken)?,
        };
        into.push((child.clone(), value, permissions));
        copy(store, &child, into)?;
    }
    Ok(())
}

/// A number that the toolstack left.
fn number(store: &mut Store, path: &str) -> Result<u64> {
    let value = store.read(0, path).map_err(broken)?;
    let text = String::from_utf8_lossy(&value);
    text.parse()
        .map_err(|_| Failure::new(format!("{path} is {text:?}")))
}

fn connect() -> Result<Store> {
    let begin = Instant::now();
    loop {
        match Store::connect() {
            Ok(store) => return Ok(store),
            Err(failure) if begin.elapsed() > START => return Err(failure),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn restart(probe: &mut Probe, gap: Duration) -> Result {
    let port = number(&mut probe.store, &format!("{}/store/port", probe.base))?;
    let port = u32::try_from(port).map_err(|_| Failure::new("no port"))?;
    let frame = number(&mut probe.store, &format!("{}/store/ring-ref", probe.base))?;
    let mut nodes = Vec::new();
    copy(&mut probe.store, "/", &mut nodes)?;
    signal(Signal::KILL)?;
    thread::sleep(gap);
    run(Command::new(PROGRAM).args(["--pid-file", PID_FILE]))?;
    probe.store = connect()?;
    for (path, value, permissions) in nodes {
        let written = probe.store.write(0, &path, &value);
        written
            .and_then(|()| probe.store.set_perms(&path, &permissions))
            .map_err(broken)?;
    }
    let introduced = probe.store.introduce(probe.domid, frame, port);
    introduced.map_err(broken)?;
    probe.listen()
}

pub(super) fn serve(probe: &mut Probe, mut args: Args) -> Result<String> {
    let verb = args.need("a verb")?;
    let time = |args: &mut Args| {
        let word = args.need("a time")?;
        let ms = word.parse();
        ms.map(Duration::from_millis)
            .map_err(|_| Failure::new(format!("bad time {word}")))
    };
    match verb.as_str() {
        "silence" => {
            let time = time(&mut args)?;
            args.end()?;
            thread::spawn(move || {
                thread::sleep(ANSWER);
                let silent = signal(Signal::STOP);
                thread::sleep(time);
                if let Err(failure) = silent.and(signal(Signal::CONT)) {
                    println!("silence: {failure}");
                }
            });
        }
        "update" => {
            args.end()?;
            run(Command::new("xenstore-control").args(["live-update", PROGRAM]))?;
        }
        "restart" => {
            let gap = time(&mut args)?;
            args.end()?;
            restart(probe, gap)?;
        }
        _ => return Err(Failure::new(format!("xenstored: no verb {verb}"))),
    }
    Ok(String::new())
}
