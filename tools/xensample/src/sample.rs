// SPDX-License-Identifier: BSD-2-Clause
//! The steps of the sample run, guest side. Paths are relative to the domain's own.

use core::fmt::Write;

use heapless::String;
use kexec::{Result, Status, info};
use xenbus_interface::client::{Evtchn, SharedInfo, Store, Suspend};

use xenchild::measure;
use xenchild::measure::Probe;

/// Bounces of the event channel.
pub const BOUNCES: u32 = 1000;
/// Passes over which the cheapest is reported.
const PASSES: u32 = 10;
/// Instead of a nonce: keep requests outstanding until one fails.
const OUTAGE: &str = "outage";
/// Instead of a nonce: live through suspends.
const SUSPEND: &str = "suspend";

/// The interfaces that the steps use.
pub struct Services {
    /// The store.
    pub store: Store,
    /// Event channels.
    pub evtchn: Evtchn,
    /// Suspends.
    pub suspend: Suspend,
    /// Wall clock.
    pub clock: SharedInfo,
    /// For costs.
    pub probe: Probe,
}

type Text = String<64>;

fn format(arguments: core::fmt::Arguments<'_>) -> Result<Text> {
    let mut out = Text::new();
    out.write_fmt(arguments)
        .map_err(|_| Status::BUFFER_TOO_SMALL)?;
    Ok(out)
}

/// Formats into a [`Text`]; the arguments, which are not `Send`, end here and not after an await.
macro_rules! text {
    ($($arguments:tt)*) => {{
        let text = format(format_args!($($arguments)*));
        text
    }};
}

impl Services {
    /// Plays the whole run and says how it ended.
    pub async fn run(&self) {
        match self.steps().await {
            Ok(()) => {}
            Err(status) => {
                if let Ok(reason) = text!("fail:{status}") {
                    // dom0 stops waiting; if the store is what failed there is nobody to tell.
                    let _ = self.store.write("data/sample/result", &*reason).await;
                }
                info!("RESULT sample fail {status}");
            }
        }
    }

    async fn steps(&self) -> Result {
        let nonce = self.store.read("device/sample/0/nonce").await?;
        let nonce = nonce.text()?;
        if nonce == OUTAGE {
            return self.outage().await;
        }
        if nonce == SUSPEND {
            return crate::resume::run(self).await;
        }
        self.echo(nonce).await?;
        self.list().await?;
        self.refusals().await?;
        self.transaction().await?;
        self.watch(nonce).await?;
        self.bounce(nonce).await?;
        self.store
            .write("data/sample/result", &*text!("ok:{nonce}")?)
            .await?;
        let verdict = self
            .wait_for("data/sample/verdict", |value| !value.is_empty())
            .await?;
        if verdict.as_str() == text!("ok:{nonce}")?.as_str() {
            info!("RESULT sample ok");
        } else {
            info!("RESULT sample fail {verdict}");
        }
        Ok(())
    }

    async fn echo(&self, nonce: &str) -> Result {
        measure!(self.probe, "read", PASSES, async {
            self.store.read("device/sample/0/nonce").await.map(drop)
        })?;
        measure!(
            self.probe,
            "write",
            PASSES,
            self.store.write("data/sample/echo", nonce)
        )
    }

    async fn list(&self) -> Result {
        measure!(self.probe, "directory", PASSES, async {
            self.store.directory("data/sample/list").await.map(drop)
        })?;
        let names = self.store.directory("data/sample/list").await?;
        let mut sorted = heapless::Vec::<&str, 8>::new();
        for name in names.iter() {
            sorted.push(name).map_err(|_| Status::BUFFER_TOO_SMALL)?;
        }
        sorted.sort_unstable();
        let mut joined = String::<128>::new();
        for (index, name) in sorted.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(joined, "{comma}{name}").map_err(|_| Status::BUFFER_TOO_SMALL)?;
        }
        self.store.write("data/sample/listed", &*joined).await
    }

    /// What the store must refuse: a key that does not exist, and a value over the payload limit.
    async fn refusals(&self) -> Result {
        let missing = self.store.read("data/sample/no-such-key").await.err();
        self.expect("missing-key", missing, Status::OBJECT_NAME_NOT_FOUND)?;
        let long = [b'x'; 512];
        let parts: [&[u8]; 9] = [&long; 9];
        let mut value = kexec::nt::Vec::new(kexec::nt::Tag(*b"XSam"));
        for part in parts {
            value.try_extend_from_slice(part)?;
        }
        let refused = self
            .store
            .write("data/sample/too-long", &*value)
            .await
            .err();
        self.expect("oversized-value", refused, Status::INVALID_BUFFER_SIZE)
    }

    fn expect(&self, name: &str, got: Option<Status>, wanted: Status) -> Result {
        if got == Some(wanted) {
            info!("RESULT op.{name} status=ok");
            return Ok(());
        }
        match got {
            Some(status) => info!("RESULT op.{name} status={status}"),
            None => info!("RESULT op.{name} status=accepted"),
        }
        Err(Status::DATA_ERROR)
    }

    /// The first attempt is disturbed by dom0 in the middle and must be refused; the retry succeeds.
    async fn transaction(&self) -> Result {
        let first = self.store.start().await?;
        let value = first.read("data/sample/counter").await?.number()?;
        // Outside the transaction: dom0 sees it at once, and writes the counter.
        self.store.write("data/sample/tx-ready", "1").await?;
        self.wait_for("data/sample/tx-go", |go| go == "1").await?;
        first
            .write("data/sample/counter", &*text!("{}", value + 1)?)
            .await?;
        self.expect("conflict", first.commit().await.err(), Status::RETRY)?;
        let mut attempts = 1;
        let committed = self
            .store
            .transaction(|tx| {
                attempts += 1;
                async {
                    let next = tx.read("data/sample/counter").await?.number()? + 1;
                    tx.write("data/sample/counter", &*text!("{next}")?).await?;
                    Ok((tx, next))
                }
            })
            .await?;
        self.store
            .write("data/sample/tx-done", &*text!("{attempts}:{committed}")?)
            .await?;
        // What a transaction without a conflict costs, on a key of its own.
        measure!(
            self.probe,
            "transaction",
            PASSES,
            self.store.transaction(|tx| async {
                tx.read("data/sample/echo").await?;
                tx.write("data/sample/scratch", "1").await?;
                Ok((tx, ()))
            })
        )
    }

    async fn watch(&self, nonce: &str) -> Result {
        let watch = self.store.watch("data/sample/poke")?;
        // Comes with the registration.
        watch.changed().await?;
        self.store.write("data/sample/watch-ready", nonce).await?;
        measure!(self.probe, "watch", 1, watch.changed())?;
        let value = self.store.read("data/sample/poke").await?;
        self.store.write("data/sample/poked", value.text()?).await
    }

    async fn bounce(&self, nonce: &str) -> Result {
        let domain = self
            .store
            .read("device/sample/0/backend-id")
            .await?
            .number()?;
        let domain = u16::try_from(domain).map_err(|_| Status::DATA_ERROR)?;
        let channel = self.evtchn.unbound(domain)?;
        channel.unmask();
        self.store
            .write("data/sample/port", &*text!("{}", channel.port())?)
            .await?;
        self.wait_for("data/sample/port-bound", |bound| bound == nonce)
            .await?;
        let mut received = 0;
        measure!(self.probe, "bounce", BOUNCES, async {
            channel.send();
            received += channel.wait().await?;
            Ok(())
        })?;
        self.store
            .write("data/sample/bounced", &*text!("{received}")?)
            .await
    }

    /// Waits until the key's value suits, with a watch.
    async fn wait_for(&self, path: &str, suits: impl Fn(&str) -> bool) -> Result<Text> {
        let watch = self.store.watch(path)?;
        loop {
            watch.changed().await?;
            match self.store.read(path).await {
                Ok(value) if suits(value.text()?) => return text!("{}", value.text()?),
                Ok(_) | Err(Status::OBJECT_NAME_NOT_FOUND) => {}
                Err(status) => return Err(status),
            }
        }
    }

    /// Reads until the store fails.
    async fn outage(&self) -> Result {
        info!("RESULT outage ready");
        loop {
            if let Err(status) = self.store.read("device/sample/0/nonce").await {
                info!("RESULT outage {status}");
                info!("RESULT sample outage");
                return Ok(());
            }
        }
    }
}
