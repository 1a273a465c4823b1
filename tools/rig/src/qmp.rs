// SPDX-License-Identifier: BSD-2-Clause
//! QEMU's control protocol: one JSON object per line over a socket.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::error::{Error, Result};

/// A control connection past its greeting.
pub(crate) struct Qmp {
    input: BufReader<UnixStream>,
    output: UnixStream,
}

impl Qmp {
    pub(crate) fn new(stream: UnixStream) -> Result<Self> {
        let fail = |e: std::io::Error| Error::io("QEMU's control socket", &e);
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .map_err(fail)?;
        let output = stream.try_clone().map_err(fail)?;
        let mut qmp = Self {
            input: BufReader::new(stream),
            output,
        };
        qmp.line()?;
        qmp.call("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        let n = self
            .input
            .read_line(&mut line)
            .map_err(|e| Error::io("QEMU's control socket", &e))?;
        if n == 0 {
            return Err(Error::infra("QEMU closed its control socket"));
        }
        serde_json::from_str(&line).map_err(|e| Error::infra(format!("QEMU says {line:?}: {e}")))
    }

    /// Runs one command and returns its answer; events are passed over.
    pub(crate) fn call(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let request = format!(
            "{}\n",
            json!({ "execute": command, "arguments": arguments })
        );
        self.output
            .write_all(request.as_bytes())
            .map_err(|e| Error::io(format_args!("QEMU: {command}"), &e))?;
        loop {
            let mut answer = self.line()?;
            if let Some(error) = answer.get("error") {
                return Err(Error::infra(format!("QEMU refused {command}: {error}")));
            }
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
        }
    }

    fn transfer(&mut self, command: &str, shell: &str, limit: Duration) -> Result {
        self.call(
            "migrate-set-capabilities",
            json!({ "capabilities": [{ "capability": "x-ignore-shared", "state": true }] }),
        )?;
        self.call(command, json!({ "uri": format!("exec:{shell}") }))?;
        let end = Instant::now() + limit;
        loop {
            let state = self.call("query-migrate", json!({}))?;
            match state.get("status").and_then(Value::as_str) {
                Some("completed") => return Ok(()),
                Some("failed") => {
                    return Err(Error::infra(format!(
                        "QEMU cannot {command} the snapshot: {state}"
                    )));
                }
                _ if Instant::now() >= end => {
                    return Err(Error::infra(format!(
                        "{command} did not end within {} s",
                        limit.as_secs()
                    )));
                }
                _ => thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    /// Stops the machine and writes its state, without memory, to `file`.
    pub(crate) fn save(&mut self, file: &Path) -> Result {
        self.call("stop", json!({}))?;
        self.transfer(
            "migrate",
            &format!("cat > {}", shell_quoted(file)),
            Duration::from_secs(60),
        )
    }

    /// Loads the state from `file` and lets the machine run.
    pub(crate) fn restore(&mut self, file: &Path) -> Result {
        self.transfer(
            "migrate-incoming",
            &format!("cat {}", shell_quoted(file)),
            Duration::from_secs(60),
        )?;
        self.call("cont", json!({}))?;
        Ok(())
    }

    /// Asks QEMU to end.
    pub(crate) fn quit(&mut self) {
        // It may be gone already.
        let _ = self.call("quit", json!({}));
    }
}

fn shell_quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_quote_survives_the_shell() {
        assert_eq!(shell_quoted(Path::new("/a b/it's")), "'/a b/it'\\''s'");
    }

    #[test]
    fn events_are_passed_over_and_errors_named() {
        let (near, far) = UnixStream::pair().expect("pair");
        let server = thread::spawn(move || {
            let mut out = far.try_clone().expect("clone");
            let mut lines = BufReader::new(far).lines();
            let mut say = |s: &str| writeln!(out, "{s}").expect("write");
            say(r#"{"QMP":{}}"#);
            lines.next();
            say(r#"{"return":{}}"#);
            lines.next();
            say(r#"{"event":"STOP"}"#);
            say(r#"{"return":{"status":"running"}}"#);
            lines.next();
            say(r#"{"error":{"class":"GenericError","desc":"no"}}"#);
        });
        let mut qmp = Qmp::new(near).expect("greeting");
        assert_eq!(
            qmp.call("query-status", json!({})).expect("answer")["status"],
            "running"
        );
        let error = qmp.call("cont", json!({})).expect_err("refused");
        assert!(error.to_string().contains("refused cont"), "{error}");
        server.join().expect("server");
    }
}
