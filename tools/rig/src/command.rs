// SPDX-License-Identifier: BSD-2-Clause
//! Runs a host program with a time-out and keeps what it printed.

use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// What a host program left.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Finished {
    /// The last line of its error output that says something.
    pub(crate) fn reason(&self) -> String {
        let lines: Vec<&str> = self
            .stderr
            .lines()
            .filter(|l| !l.trim().is_empty())
            .collect();
        lines
            .iter()
            .find(|l| l.starts_with("E:"))
            .or(lines.last())
            .map_or_else(|| self.status.to_string(), |l| (*l).trim().to_owned())
    }
}

/// Runs `command`; kills it after `limit`.
///
/// # Errors
/// It could not be started, or ran out of time. Its own failure is not an error here.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<Finished> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                Error::missing(format!("the program `{name}` is not installed"))
            }
            _ => Error::io(format_args!("start {name}"), &e),
        })?;
    let mut out = child.stdout.take();
    let mut err = child.stderr.take();
    let out = thread::spawn(move || {
        let mut data = Vec::new();
        // A broken pipe ends the output, which is all there is to know.
        let _ = out.as_mut().map(|o| o.read_to_end(&mut data));
        data
    });
    let err = thread::spawn(move || {
        let mut data = Vec::new();
        let _ = err.as_mut().map(|e| e.read_to_end(&mut data));
        String::from_utf8_lossy(&data).into_owned()
    });
    let end = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child
            .try_wait()
            .map_err(|e| Error::io(format_args!("wait for {name}"), &e))?
        {
            break status;
        }
        if Instant::now() >= end {
            let _ = child.kill();
            let _ = child.wait();
            return Err(Error::infra(format!(
                "{name} did not end within {} s",
                limit.as_secs()
            )));
        }
        thread::sleep(Duration::from_millis(10));
    };
    let stdout = out.join().unwrap_or_default();
    let stderr = err.join().unwrap_or_default();
    Ok(Finished {
        status,
        stdout,
        stderr,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_hangs_is_killed_and_named() {
        let error =
            run(Command::new("sleep").arg("30"), Duration::from_millis(50)).expect_err("time-out");
        assert!(error.to_string().contains("sleep did not end"), "{error}");
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        let error =
            run(&mut Command::new("no-such-program"), Duration::from_secs(1)).expect_err("missing");
        assert!(
            error
                .to_string()
                .contains("`no-such-program` is not installed"),
            "{error}"
        );
    }
}
