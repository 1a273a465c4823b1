// SPDX-License-Identifier: BSD-2-Clause
//! `xenpeer stress serve`: runs in a Linux guest the workloads that dom0 asks for, one after the other.
//!
//! The same words as of `tools/xenstress`, which does this in a guest with our drivers: dom0 writes `linux WORKLOAD` to
//! [`KEY`], and `quit` at the end.

use std::thread;
use std::time::Duration;

use crate::mux::{Mux, Watch};
use crate::wire::{Op, Refused};
use crate::{Failure, Result};

/// Where workloads come from.
const KEY: &str = "data/stress/workload";
/// The one place that there is.
pub(super) const PLACE: &str = "linux";
/// Until dom0 gives up: it waits for the guest no longer than its machine lives.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// Before a workload begins: whoever wrote the line is still busy with its end, on the same processors.
const SETTLE: Duration = Duration::from_millis(50);

/// Runs `work` on each line that comes, until `quit`.
///
/// # Errors
/// The connection broke, no line came for a day, or `work` failed.
pub(super) fn serve(mux: &Mux, mut work: impl FnMut(&str) -> Result) -> Result {
    let mut watch = mux.run(mux.watch(KEY))?;
    println!("RESULT stress ready");
    let mut last = String::new();
    loop {
        let line = mux.run(next(mux, &mut watch, &last))?;
        if line == "quit" {
            println!("RESULT stress quit");
            return Ok(());
        }
        thread::sleep(SETTLE);
        match line.split_once(' ') {
            Some((PLACE, workload)) => work(workload)?,
            _ => println!("RESULT stress.refused what={PLACE} must come first"),
        }
        last = line;
    }
}

/// The next line that is another one than `last`: a watch may fire more than once.
async fn next(mux: &Mux, watch: &mut Watch, last: &str) -> Result<String> {
    loop {
        if !watch.changed(PATIENCE).await? {
            return Err(Failure::new("nobody asked for anything"));
        }
        let line = match mux.call(Op::Read, 0, &[KEY.as_bytes(), b"\0"]).await {
            Err(Refused::Name(name)) if name == "ENOENT" => continue,
            line => String::from_utf8_lossy(&line?).into_owned(),
        };
        if !line.is_empty() && line != last {
            return Ok(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::daemon::{Fault, start};
    use super::*;

    /// What is worked on when these lines are written, each as soon as the one before was seen; and how it ends.
    fn served(lines: &[&str]) -> (Vec<String>, Result) {
        let (stream, daemon) = start(Fault::None);
        let mux = Mux::over(stream).expect("mux");
        let write = |line: &str| {
            let parts: [&[u8]; 3] = [KEY.as_bytes(), b"\0", line.as_bytes()];
            mux.run(mux.call(Op::Write, 0, &parts)).expect("write");
        };
        let mut lines = lines.iter();
        write(lines.next().expect("a line"));
        let mut seen = Vec::new();
        let end = serve(&mux, |workload| {
            seen.push(workload.to_owned());
            let line = lines.next().ok_or_else(|| Failure::new("the last line"))?;
            write(line);
            Ok(())
        });
        drop(mux);
        daemon.join().expect("daemon");
        (seen, end)
    }

    #[test]
    fn workloads_are_run_in_turn_until_the_word_to_quit() {
        let (seen, end) = served(&["linux id=1 a", "linux id=2", "quit"]);
        assert_eq!(seen, ["id=1 a", "id=2"]);
        assert!(end.is_ok(), "{end:?}");
    }

    #[test]
    fn a_workload_that_fails_ends_it() {
        let (seen, end) = served(&["linux id=1"]);
        assert_eq!(seen, ["id=1"]);
        assert_eq!(end.expect_err("ended").to_string(), "the last line");
    }
}
