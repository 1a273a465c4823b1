// SPDX-License-Identifier: BSD-2-Clause
//! dom0's half of the sample run; the protocol is the table in README.md, in the same order.

use std::fs::File;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::evtchn::Channel;
use crate::store::Store;
use crate::{Failure, Result};

/// Added by dom0 in the middle of the guest's transaction.
const INTERFERENCE: u64 = 1000;

struct Options {
    domid: u32,
    nonce: String,
    bounces: u32,
    limit: Duration,
}

/// `xenpeer sample --domid D [--nonce N] [--bounces N] [--timeout S]`
pub(crate) fn run(mut args: Args) -> Result {
    let options = Options {
        domid: args.required("--domid")?,
        nonce: args.option("--nonce")?.map_or_else(draw_nonce, Ok)?,
        bounces: args.option("--bounces")?.unwrap_or(1000),
        limit: Duration::from_secs(args.option("--timeout")?.unwrap_or(60)),
    };
    args.end()?;
    counter_start(&options.nonce)?;
    let mut peer = Peer::new(Store::connect()?, &options);
    match peer.whole_run() {
        Ok(()) => {
            println!("PEER ok nonce={}", options.nonce);
            Ok(())
        }
        Err(failure) => {
            let text = format!("{}: {failure}", peer.step);
            // The guest may be gone; the verdict is only to end its wait early.
            let _ = peer.write("data/sample/verdict", &format!("fail:{text}"));
            println!("PEER FAIL {text}");
            Err(Failure::new(text))
        }
    }
}

fn draw_nonce() -> Result<String> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")
        .and_then(|mut f| f.read_exact(&mut bytes))
        .map_err(|e| Failure::new(format!("draw a nonce: {e}")))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// The counter's first value: the last four digits of the nonce.
fn counter_start(nonce: &str) -> Result<u64> {
    let good = nonce.len() == 16
        && nonce
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !good {
        return Err(Failure::new(format!(
            "the nonce must be 16 lower-case hex digits, not {nonce}"
        )));
    }
    u64::from_str_radix(&nonce[12..], 16).map_err(|e| Failure::new(e.to_string()))
}

/// A step's name and what it does; the text is added to its line of output.
type Step<P> = (&'static str, fn(&mut P) -> Result<String>);

struct Peer<'a> {
    store: Store,
    options: &'a Options,
    base: String,
    step: &'static str,
}

impl<'a> Peer<'a> {
    fn new(store: Store, options: &'a Options) -> Self {
        let base = format!("/local/domain/{}", options.domid);
        Self {
            store,
            options,
            base,
            step: "setup",
        }
    }

    fn write(&mut self, path: &str, value: &str) -> Result {
        let path = format!("{}/{path}", self.base);
        self.store
            .write(0, &path, value.as_bytes())
            .map_err(|e| context(&path, e.into()))
    }

    fn read(&mut self, path: &str) -> Result<Option<String>> {
        let path = format!("{}/{path}", self.base);
        match self.store.read(0, &path) {
            Ok(value) => Ok(Some(String::from_utf8_lossy(&value).into_owned())),
            Err(e) if e.is_missing() => Ok(None),
            Err(e) => Err(context(&path, e.into())),
        }
    }

    /// Makes a node that belongs to the guest.
    fn give(&mut self, path: &str, value: Option<&str>) -> Result {
        let full = format!("{}/{path}", self.base);
        let made = match value {
            Some(value) => self.store.write(0, &full, value.as_bytes()),
            None => self.store.mkdir(&full),
        };
        let owner = format!("n{}", self.options.domid);
        made.and_then(|()| self.store.set_perms(&full, &[owner]))
            .map_err(|e| context(&full, e.into()))
    }

    /// Waits until the guest has written `data/sample/NAME` and returns its value.
    fn wait(&mut self, name: &str) -> Result<String> {
        let path = format!("data/sample/{name}");
        let end = Instant::now() + self.options.limit;
        loop {
            if let Some(value) = self.read(&path)? {
                return Ok(value);
            }
            if let Some(result) = self
                .read("data/sample/result")?
                .filter(|r| !r.starts_with("ok:"))
            {
                return Err(Failure::new(format!("the guest says {result}")));
            }
            let left = end.saturating_duration_since(Instant::now());
            if self.store.event(left)?.is_none() {
                let seconds = self.options.limit.as_secs();
                return Err(Failure::new(format!(
                    "the guest did not write {path} within {seconds} s"
                )));
            }
        }
    }

    fn expect(&mut self, name: &str, want: &str) -> Result {
        let got = self.wait(name)?;
        same(&format!("data/sample/{name}"), &got, want)
    }

    fn done(&mut self, start: Instant, extra: &str) {
        println!(
            "{{\"step\":\"{}\",\"ok\":true,\"us\":{}{extra}}}",
            self.step,
            start.elapsed().as_micros()
        );
        let _ = std::io::stdout().flush();
    }

    fn whole_run(&mut self) -> Result {
        let steps: [Step<Self>; 7] = [
            ("setup", Self::setup),
            ("echo", Self::echo),
            ("list", Self::list),
            ("tx", Self::transaction),
            ("watch", Self::watch),
            ("evtchn", Self::events),
            ("result", Self::result),
        ];
        for (name, step) in steps {
            self.step = name;
            let start = Instant::now();
            let extra = step(self)?;
            self.done(start, &extra);
            if name == "setup" {
                println!(
                    "{{\"step\":\"ready\",\"nonce\":\"{}\"}}",
                    self.options.nonce
                );
                let _ = std::io::stdout().flush();
            }
        }
        Ok(())
    }

    fn setup(&mut self) -> Result<String> {
        let nonce = self.options.nonce.clone();
        let backend = format!("/local/domain/0/backend/sample/{}/0", self.options.domid);
        if self.read("name")?.is_none() {
            return Err(Failure::new(format!(
                "there is no domain {}",
                self.options.domid
            )));
        }
        let counter = counter_start(&nonce)?.to_string();
        self.give("device/sample", None)?;
        self.give("device/sample/0", None)?;
        self.give("device/sample/0/backend", Some(&backend))?;
        self.give("device/sample/0/backend-id", Some("0"))?;
        self.give("device/sample/0/nonce", Some(&nonce))?;
        self.give("data/sample", None)?;
        self.give("data/sample/list", None)?;
        for name in ["alpha", "beta", &format!("n-{nonce}")] {
            self.give(&format!("data/sample/list/{name}"), Some(""))?;
        }
        self.give("data/sample/counter", Some(&counter))?;
        let path = format!("{}/data/sample", self.base);
        self.store
            .watch(&path, "sample")
            .map_err(|e| context(&path, e.into()))?;
        Ok(String::new())
    }

    fn echo(&mut self) -> Result<String> {
        let nonce = self.options.nonce.clone();
        self.expect("echo", &nonce)?;
        Ok(String::new())
    }

    fn list(&mut self) -> Result<String> {
        let want = format!("alpha,beta,n-{}", self.options.nonce);
        self.expect("listed", &want)?;
        Ok(String::new())
    }

    fn transaction(&mut self) -> Result<String> {
        let start = counter_start(&self.options.nonce)?;
        self.expect("tx-ready", "1")?;
        self.write("data/sample/counter", &(start + INTERFERENCE).to_string())?;
        self.write("data/sample/tx-go", "1")?;
        let done = self.wait("tx-done")?;
        let want = start + INTERFERENCE + 1;
        let (attempts, value) = done
            .split_once(':')
            .ok_or_else(|| Failure::new(format!("tx-done is {done:?}")))?;
        same("the value in data/sample/tx-done", value, &want.to_string())?;
        let attempts: u32 = attempts
            .parse()
            .map_err(|_| Failure::new(format!("tx-done is {done:?}")))?;
        if attempts < 2 {
            return Err(Failure::new(format!(
                "the guest says {attempts} attempts; the first must fail"
            )));
        }
        let counter = self.read("data/sample/counter")?.unwrap_or_default();
        same("data/sample/counter", &counter, &want.to_string())?;
        Ok(format!(",\"attempts\":{attempts},\"counter\":{want}"))
    }

    fn watch(&mut self) -> Result<String> {
        let nonce = self.options.nonce.clone();
        let poke = format!("poke:{nonce}");
        self.expect("watch-ready", &nonce)?;
        self.write("data/sample/poke", &poke)?;
        self.expect("poked", &poke)?;
        Ok(String::new())
    }

    fn events(&mut self) -> Result<String> {
        let port = self.wait("port")?;
        let port = port
            .parse()
            .map_err(|_| Failure::new(format!("data/sample/port is {port:?}")))?;
        let mut channel = Channel::bind(self.options.domid, port)?;
        let nonce = self.options.nonce.clone();
        self.write("data/sample/port-bound", &nonce)?;
        let start = Instant::now();
        channel.bounce(self.options.bounces, false, self.options.limit)?;
        let us = start.elapsed().as_micros();
        self.expect("bounced", &self.options.bounces.to_string())?;
        if channel.pending(Duration::from_millis(10))? {
            return Err(Failure::new("the guest sent more events than it said"));
        }
        channel.close()?;
        Ok(format!(
            ",\"bounces\":{},\"bounce_us\":{us}",
            self.options.bounces
        ))
    }

    fn result(&mut self) -> Result<String> {
        let want = format!("ok:{}", self.options.nonce);
        self.expect("result", &want)?;
        self.write("data/sample/verdict", &want)?;
        Ok(String::new())
    }
}

fn context(path: &str, failure: Failure) -> Failure {
    Failure::new(format!("{path}: {failure}"))
}

fn same(what: &str, got: &str, want: &str) -> Result {
    if got == want {
        return Ok(());
    }
    Err(Failure::new(format!("{what} is {got:?}, not {want:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_starts_at_the_nonces_last_digits() {
        assert_eq!(counter_start("00000000deadbeef").expect("good"), 0xbeef);
        for bad in [
            "",
            "00000000DEADBEEF",
            "00000000deadbee",
            "00000000deadbeef0",
        ] {
            assert!(counter_start(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_difference_names_both_values() {
        let error = same("key", "a", "b").expect_err("differs");
        assert_eq!(error.to_string(), "key is \"a\", not \"b\"");
    }
}
