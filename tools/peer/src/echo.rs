// SPDX-License-Identifier: BSD-2-Clause
//! `xenpeer echo`: the backend of the echo device, by the table in README.md.
//!
//! ```text
//! Initialising --frontend Initialising--> InitWait --frontend Initialised--> Connected --+--> Closing --frontend Closed--> Closed
//!                                                                                        +-- frontend Closing, or --close-after
//! ```

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::evtchn::Channel;
use crate::gnt::Page;
use crate::store::Store;
use crate::{Failure, Result};

/// Slots of a page, and 32-bit words of a slot.
const SLOTS: u32 = 32;
const WORDS: usize = 16;

/// How often the store is looked at while messages come.
const LOOK: Duration = Duration::from_millis(50);

struct Options {
    domid: u32,
    name: String,
    messages: u32,
    batch: u32,
    nonce: u32,
    last: bool,
    close_after: Option<u32>,
    hold: bool,
    limit: Duration,
}

/// `xenpeer echo --domid D [--name echo] [--messages 1000] [--batch 32] [--nonce N] [--last] [--close-after N] [--hold] [--timeout 60]`
pub(crate) fn run(mut args: Args) -> Result {
    let options = Options {
        domid: args.required("--domid")?,
        name: args.option("--name")?.unwrap_or_else(|| "echo".into()),
        messages: args.option("--messages")?.unwrap_or(1000),
        batch: args.option("--batch")?.unwrap_or(SLOTS),
        nonce: args.option("--nonce")?.unwrap_or(0x1234_5678),
        last: args.flag("--last"),
        close_after: args.option("--close-after")?,
        hold: args.flag("--hold"),
        limit: Duration::from_secs(args.option("--timeout")?.unwrap_or(60)),
    };
    args.end()?;
    let mut backend = Backend {
        store: Store::connect()?,
        path: format!(
            "/local/domain/0/backend/{}/{}/0",
            options.name, options.domid
        ),
        frontend: format!("/local/domain/{}/device/echo/0", options.domid),
        end: Instant::now() + options.limit,
        options,
    };
    let done = backend.serve();
    match &done {
        Ok(answered) => println!("PEER ok messages={answered}"),
        Err(failure) => println!("PEER FAIL {failure}"),
    }
    done.map(drop)
}

struct Backend {
    store: Store,
    path: String,
    frontend: String,
    end: Instant,
    options: Options,
}

/// What the two ends share.
struct Link {
    requests: Page,
    responses: Page,
    channel: Channel,
    /// Messages answered.
    answered: u32,
}

impl Backend {
    fn serve(&mut self) -> Result<u32> {
        self.publish()?;
        self.say("ready");
        self.until(&["1"])?;
        self.state("2")?;
        self.until(&["3"])?;
        if self.options.hold {
            // In the middle of the handshake, until somebody ends it.
            self.say("held");
            std::thread::sleep(self.end.saturating_duration_since(Instant::now()));
            return Err(Failure::new("nobody ended the backend that holds"));
        }
        let mut link = self.connect()?;
        self.state("4")?;
        self.until(&["4"])?;
        self.say("connected");
        let mine = self.bounce(&mut link)?;
        let Link {
            requests,
            responses,
            channel,
            answered,
        } = link;
        if mine {
            // The frontend must have stopped before its pages are let go.
            self.state("5")?;
            self.until(&["5", "6"])?;
        }
        requests.close()?;
        responses.close()?;
        channel.close()?;
        if !mine {
            self.state("5")?;
        }
        self.until(&["6"])?;
        self.state("6")?;
        Ok(answered)
    }

    fn say(&self, what: &str) {
        println!("{what}");
        // A reader that is gone is no reason to stop.
        let _ = std::io::stdout().flush();
    }

    fn write(&mut self, path: &str, value: &str, perms: &[String]) -> Result {
        self.store.write(0, path, value.as_bytes())?;
        Ok(self.store.set_perms(path, perms)?)
    }

    fn state(&mut self, state: &str) -> Result {
        let path = format!("{}/state", self.path);
        Ok(self.store.write(0, &path, state.as_bytes())?)
    }

    fn read(&mut self, name: &str) -> Result<Option<String>> {
        let path = format!("{}/{name}", self.frontend);
        match self.store.read(0, &path) {
            Ok(value) => Ok(Some(String::from_utf8_lossy(&value).into_owned())),
            Err(e) if e.is_missing() => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    fn number(&mut self, name: &str) -> Result<u32> {
        let value = self.read(name)?.unwrap_or_default();
        let bad = |_| Failure::new(format!("the frontend's {name} is {value:?}"));
        value.parse().map_err(bad)
    }

    /// Offers what there is, and is the device's backend from now on.
    fn publish(&mut self) -> Result {
        let domid = self.options.domid;
        let readable = ["n0".to_owned(), format!("r{domid}")];
        let path = self.path.clone();
        for (name, value) in [
            ("", String::new()),
            ("/state", "1".into()),
            ("/online", "1".into()),
            ("/nonce", self.options.nonce.to_string()),
            ("/messages", self.options.messages.to_string()),
            ("/batch", self.options.batch.to_string()),
            ("/last", u32::from(self.options.last).to_string()),
        ] {
            self.write(&format!("{path}{name}"), &value, &readable)?;
        }
        let frontend = self.frontend.clone();
        let watched = self.store.watch(&frontend, "frontend");
        watched.map_err(Failure::from)?;
        let owned = [format!("n{domid}")];
        let parent = format!("/local/domain/{domid}/device/echo");
        if self.read("state")?.is_none() {
            for (path, value) in [(&parent, ""), (&frontend, "")] {
                self.write(path, value, &owned)?;
            }
            self.write(&format!("{frontend}/backend-id"), "0", &owned)?;
            self.write(&format!("{frontend}/backend"), &path, &owned)?;
            return self.write(&format!("{frontend}/state"), "1", &owned);
        }
        if self.read("backend")?.as_deref() != Some(&path) {
            self.write(&format!("{frontend}/backend"), &path, &owned)?;
        }
        Ok(())
    }

    /// Waits until the frontend has one of these states.
    fn until(&mut self, states: &[&str]) -> Result {
        loop {
            let now = self.read("state")?;
            if now.as_deref().is_some_and(|now| states.contains(&now)) {
                return Ok(());
            }
            let left = self.end.saturating_duration_since(Instant::now());
            if self.store.event(left)?.is_none() {
                let now = now.as_deref().unwrap_or("gone");
                return Err(Failure::new(format!(
                    "the frontend's state is {now}, not {}",
                    states.join(" or ")
                )));
            }
        }
    }

    fn connect(&mut self) -> Result<Link> {
        let domid = self.options.domid;
        let requests = self.number("request-ref")?;
        let responses = self.number("response-ref")?;
        let port = self.number("event-channel")?;
        Ok(Link {
            requests: Page::map(domid, requests, false)?,
            responses: Page::map(domid, responses, true)?,
            channel: Channel::bind(domid, port)?,
            answered: 0,
        })
    }

    /// Answers until the frontend closes, or this end is to; then it is true.
    fn bounce(&mut self, link: &mut Link) -> Result<bool> {
        let mut looked = Instant::now();
        loop {
            if link.answer(self.options.nonce)? {
                link.channel.notify()?;
            }
            if self
                .options
                .close_after
                .is_some_and(|most| link.answered >= most)
            {
                return Ok(true);
            }
            let came = link.channel.pending(LOOK)?;
            if came && looked.elapsed() < LOOK {
                continue;
            }
            looked = Instant::now();
            match self.read("state")?.as_deref() {
                Some("4") => {}
                Some("5") => {
                    let (answered, messages) = (link.answered, self.options.messages);
                    if answered != messages && self.options.last {
                        return Err(Failure::new(format!("{answered} of {messages} messages")));
                    }
                    return Ok(false);
                }
                other => {
                    return Err(Failure::new(format!(
                        "the frontend went from Connected to {other:?}"
                    )));
                }
            }
            if Instant::now() > self.end {
                return Err(Failure::new("the frontend did not close in time"));
            }
        }
    }
}

/// Word `word` of message `number`: what the frontend must send.
fn expected(nonce: u32, number: u32, word: u32) -> u32 {
    (nonce ^ number.wrapping_mul(0x9E37_79B9)).rotate_left(word)
}

/// The answer to message `number`, which was found in its slot.
fn answer(sent: &[u32; WORDS], nonce: u32, number: u32) -> Result<[u32; WORDS]> {
    if sent[0] != number {
        return Err(Failure::new(format!(
            "message {} in the place of {number}",
            sent[0]
        )));
    }
    let mut answer = *sent;
    for (at, word) in (0..).zip(&mut answer).skip(1) {
        let wanted = expected(nonce, number, at);
        if *word != wanted {
            return Err(Failure::new(format!(
                "message {number}: word {at} is {word:#x}, not {wanted:#x}"
            )));
        }
        *word = !*word;
    }
    Ok(answer)
}

fn slot(page: &Page, number: u32) -> Result<&[AtomicU32]> {
    let at = WORDS * (1 + (number % SLOTS) as usize);
    let slot = page.words().get(at..at + WORDS);
    slot.ok_or_else(|| Failure::new("a page without slots"))
}

impl Link {
    /// Answers what is there; true if there was something.
    fn answer(&mut self, nonce: u32) -> Result<bool> {
        let written = self.requests.words()[0].load(Ordering::Acquire);
        let there = written.wrapping_sub(self.answered);
        if there > SLOTS {
            return Err(Failure::new(format!("{there} messages in {SLOTS} slots")));
        }
        for _ in 0..there {
            let number = self.answered;
            let mut sent = [0; WORDS];
            for (to, from) in sent.iter_mut().zip(slot(&self.requests, number)?) {
                *to = from.load(Ordering::Relaxed);
            }
            let back = answer(&sent, nonce, number)?;
            for (to, from) in slot(&self.responses, number)?.iter().zip(back) {
                to.store(from, Ordering::Relaxed);
            }
            self.answered = number.wrapping_add(1);
        }
        self.responses.words()[0].store(self.answered, Ordering::Release);
        Ok(there > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(nonce: u32, number: u32) -> [u32; WORDS] {
        let mut words = [number; WORDS];
        for (at, word) in (0..).zip(&mut words).skip(1) {
            *word = expected(nonce, number, at);
        }
        words
    }

    #[test]
    fn an_answer_has_every_bit_of_the_data_turned() {
        let sent = sent(9, 77);
        let back = answer(&sent, 9, 77).expect("as expected");
        assert_eq!(back[0], sent[0]);
        assert!(back[1..].iter().zip(&sent[1..]).all(|(a, b)| *a == !*b));
    }

    #[test]
    fn a_message_with_a_wrong_number_or_word_is_refused() {
        let mut sent = sent(9, 77);
        assert!(answer(&sent, 9, 78).is_err());
        assert!(answer(&sent, 8, 77).is_err());
        sent[15] ^= 1;
        let failure = answer(&sent, 9, 77).expect_err("a flipped bit");
        assert!(failure.to_string().contains("word 15"), "{failure}");
    }
}
