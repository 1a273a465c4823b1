// SPDX-License-Identifier: BSD-2-Clause
//! dom0's half of the test children: does what a guest asks for through the store.
//!
//! The guest writes `NUMBER SERVICE WORDS..` to `data/CLASS/ask`; a service does it, and the answer, `NUMBER ok TEXT` or
//! `NUMBER FAIL TEXT`, goes to `data/CLASS/answer`. One question at a time. `end` ends the program; a guest that dies does too.

mod clock;
mod console;
mod daemon;
mod evtchn;
mod gnttab;
mod store;
mod suspend;
mod xl;

use std::io::Write;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::store::Store;
use crate::{Failure, Result};

/// Services by name: each gets the words after its own.
const SERVICES: [(&str, Service); 8] = [
    ("store", store::serve),
    ("console", console::serve),
    ("evtchn", evtchn::serve),
    ("gnttab", gnttab::serve),
    ("xl", xl::serve),
    ("clock", clock::serve),
    ("suspend", suspend::serve),
    ("xenstored", daemon::serve),
];

type Service = fn(&mut Probe, Args) -> Result<String>;

/// What services share.
struct Probe {
    domid: u32,
    /// `/local/domain/D`
    base: String,
    /// `/local/domain/D/data/CLASS`
    data: String,
    store: Store,
    limit: Duration,
    /// The bouncer of [`evtchn`].
    bouncer: Option<JoinHandle<Result<u32>>>,
    /// The sender of [`evtchn`].
    storm: Option<evtchn::Storm>,
    /// The waiter of [`suspend`].
    sleeper: Option<JoinHandle<Result>>,
    /// The counter of [`store`].
    counter: Option<JoinHandle<Result<u32>>>,
    /// Of [`console`], from the first use.
    terminal: Option<console::Terminal>,
    /// What [`gnttab`] holds and grants.
    pages: gnttab::Pages,
}

/// `xenpeer probe --domid D --class C [--timeout S]`
pub(crate) fn run(mut args: Args) -> Result {
    let domid = args.required("--domid")?;
    let class: String = args.required("--class")?;
    let limit = Duration::from_secs(args.option("--timeout")?.unwrap_or(60));
    args.end()?;
    let mut probe = Probe {
        domid,
        base: format!("/local/domain/{domid}"),
        data: format!("/local/domain/{domid}/data/{class}"),
        store: Store::connect()?,
        limit,
        bouncer: None,
        storm: None,
        sleeper: None,
        counter: None,
        terminal: None,
        pages: gnttab::Pages::default(),
    };
    let device = format!("{}/device/{class}", probe.base);
    for (path, value) in [
        (&device, ""),
        (&format!("{device}/0"), ""),
        (&format!("{device}/0/backend-id"), "0"),
        (&probe.data.clone(), ""),
        (&format!("{}/answer", probe.data), ""),
    ] {
        probe.give(path, value)?;
    }
    probe.listen()?;
    println!("ready");
    let _ = std::io::stdout().flush();
    probe.serve()
}

fn broken(refused: crate::wire::Refused) -> Failure {
    refused.into()
}

impl Probe {
    /// Writes a node and makes it the guest's.
    fn give(&mut self, path: &str, value: &str) -> Result {
        let owner = format!("n{}", self.domid);
        self.store
            .write(0, path, value.as_bytes())
            .and_then(|()| self.store.set_perms(path, &[owner]))
            .map_err(broken)
    }

    /// Waits for questions from now on.
    fn listen(&mut self) -> Result {
        let ask = format!("{}/ask", self.data);
        self.store.watch(&ask, "ask").map_err(broken)
    }

    fn serve(&mut self) -> Result {
        let end = Instant::now() + self.limit;
        let mut last = String::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if self.store.event(left).map_err(broken)?.is_none() {
                return Err(Failure::new("the guest did not come to its end in time"));
            }
            let question = match self.store.read(0, &format!("{}/ask", self.data)) {
                Ok(question) => String::from_utf8_lossy(&question).into_owned(),
                Err(refused) if refused.is_missing() => continue,
                Err(refused) => return Err(refused.into()),
            };
            let Some((number, words)) = question.split_once(' ') else {
                continue;
            };
            if number == last {
                continue;
            }
            last = number.to_owned();
            let answer = self.answer(words);
            println!("{words}: {answer}");
            let _ = std::io::stdout().flush();
            self.give(
                &format!("{}/answer", self.data),
                &format!("{number} {answer}"),
            )?;
            if words == "end" {
                return Ok(());
            }
        }
    }

    fn answer(&mut self, words: &str) -> String {
        let mut args = Args::new(words.split_whitespace().map(str::to_owned));
        let name = args.word().unwrap_or_default();
        let done = match SERVICES.iter().find(|(service, _)| *service == name) {
            Some((_, serve)) => serve(self, args),
            None if name == "end" => Ok(String::new()),
            None => Err(Failure::new(format!("no service {name}"))),
        };
        match done {
            Ok(text) => format!("ok {text}").trim_end().to_owned(),
            Err(failure) => format!("FAIL {failure}"),
        }
    }
}
