// SPDX-License-Identifier: BSD-2-Clause
//! What a test is, and how it asks dom0 to do something.

use core::fmt::{self, Write};
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicU32, Ordering};

use heapless::String;
use kexec::nt::Box;
use kexec::{Passive, Result, Status, info, wstr};
use xenbus_interface::errno::status::CONNECTION_DISCONNECTED;

use crate::run::{Services, TAG, parameter};

/// Why a test failed.
pub(crate) enum Why {
    /// An operation's status.
    Status(Status),
    /// A condition that does not hold.
    Wanted(&'static str),
    /// dom0 says so.
    Peer(Text),
}

impl From<Status> for Why {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            Self::Wanted(what) => write!(f, "wanted: {what}"),
            Self::Peer(text) => write!(f, "dom0: {text}"),
        }
    }
}

/// What a test returns.
pub(crate) type Outcome<T = ()> = core::result::Result<T, Why>;
/// A short text.
pub(crate) type Text = String<160>;

/// Fails the test unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $wanted:literal) => {
        if !$condition {
            return Err($crate::probe::Why::Wanted($wanted));
        }
    };
}
pub(crate) use ensure;

/// Runs a test function, whose other arguments follow its name, and prints its line.
macro_rules! run {
    ($probe:ident, $test:ident $(, $more:expr)*) => {
        $probe.test(stringify!($test), || $test($probe $(, $more)*)).await
    };
}
pub(crate) use run;

/// What every test gets.
pub(crate) struct Probe {
    services: Services,
    /// There is time for a thousand watches.
    pub(crate) many_watches: bool,
    ran: AtomicU32,
    /// Number of the last question to dom0.
    asked: AtomicU32,
    /// Processors other than 0 take no events.
    pub(crate) one_processor: bool,
    /// Channels that the domain may have open, or 0 for the usual limit.
    pub(crate) channels: u32,
}

impl core::ops::Deref for Probe {
    type Target = Services;
    fn deref(&self) -> &Services {
        &self.services
    }
}

impl Probe {
    pub(crate) fn new(services: Services, passive: Passive) -> Self {
        Self {
            services,
            many_watches: parameter(wstr!("Watches"), passive) != 0,
            ran: AtomicU32::new(0),
            asked: AtomicU32::new(0),
            one_processor: parameter(wstr!("OneProcessor"), passive) != 0,
            channels: parameter(wstr!("Channels"), passive),
        }
    }

    /// Tests run so far.
    pub(crate) fn ran(&self) -> u32 {
        self.ran.load(Ordering::Relaxed)
    }

    /// Runs one test. Its future is made in a block of its own: the stack would have to hold it otherwise.
    pub(crate) async fn test<F: Future<Output = Outcome>>(
        &self,
        name: &str,
        make: impl FnOnce() -> F,
    ) {
        let outcome = match boxed(make) {
            Ok(test) => test.await,
            Err(status) => Err(status.into()),
        };
        self.ran.fetch_add(1, Ordering::Relaxed);
        match outcome {
            Ok(()) => info!("TEST {name} ok"),
            Err(why) => info!("TEST {name} FAIL {why}"),
        }
    }

    /// Lets dom0 do something and returns its answer; the first word names the service there.
    pub(crate) async fn ask(&self, question: Text) -> Outcome<Text> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let mut text = Text::new();
        let mut head = String::<16>::new();
        write!(head, "{number} ").map_err(|_| Status::BUFFER_TOO_SMALL)?;
        text.push_str(&head).map_err(|_| Status::BUFFER_TOO_SMALL)?;
        text.push_str(&question)
            .map_err(|_| Status::BUFFER_TOO_SMALL)?;
        let watch = self.store.watch("data/probe/answer")?;
        self.store.write("data/probe/ask", &*text).await?;
        loop {
            watch.changed().await?;
            let value = match self.store.read("data/probe/answer").await {
                Ok(value) => value,
                Err(Status::OBJECT_NAME_NOT_FOUND) => continue,
                // Another daemon was started meanwhile: the watch tells of it too.
                Err(CONNECTION_DISCONNECTED) => continue,
                Err(status) => return Err(status.into()),
            };
            let answer = value.text()?;
            let Some(answer) = answer.strip_prefix(&*head) else {
                continue;
            };
            let text = |text: &str| Text::try_from(text).map_err(|_| Status::BUFFER_TOO_SMALL);
            return match answer.strip_prefix("ok") {
                Some(good) => Ok(text(good.trim_start())?),
                None => Err(Why::Peer(text(answer)?)),
            };
        }
    }
}

#[inline(never)]
fn boxed<F>(make: impl FnOnce() -> F) -> Result<Pin<Box<F>>> {
    Box::try_pin(TAG, make())
}

/// A text from a format; nothing that is not `Send` outlives the call.
pub(crate) fn text(arguments: fmt::Arguments<'_>) -> Result<Text> {
    let mut out = Text::new();
    out.write_fmt(arguments)
        .map_err(|_| Status::BUFFER_TOO_SMALL)?;
    Ok(out)
}
