// SPDX-License-Identifier: BSD-2-Clause
//! Debug callbacks, through [`xenbus_interface::client::Debug`]. What they print is looked for in the log
//! (`tools/xtask/src/test/children.rs`).

use core::sync::atomic::{AtomicU32, Ordering};

use kexec::Duration;
use kexec::timer::Timers;
use xenbus_interface::client::{Dump, Printer};

use crate::probe::{Outcome, Probe, ensure, text};
use crate::run::TAG;

pub(crate) async fn tests(probe: &Probe, timers: &Timers) {
    let name = "debug_callbacks_are_called_by_us_and_by_dom0";
    probe.test(name, || called(probe, timers)).await;
}

/// Prints how often it was called.
#[derive(Default)]
struct Calls(AtomicU32);

impl Calls {
    fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Dump for Calls {
    fn dump(&self, out: &Printer<'_>, crashing: bool) {
        let calls = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        if crashing {
            out.line(format_args!("last words 1 of xenprobe"));
        } else {
            out.line(format_args!("dumped {calls}"));
        }
    }
}

async fn called(probe: &Probe, timers: &Timers) -> Outcome {
    let other = probe.debug.register(TAG, "other", Calls::default())?;
    {
        let callback = probe.debug.register(TAG, "xenprobe", Calls::default())?;
        callback.trigger();
        ensure!(callback.state().get() == 1, "the one that was meant");
        ensure!(other.state().get() == 0, "no other");
        let question = text(format_args!("xl debug-keys q"));
        probe.ask(question?).await?;
        // The event takes its own way.
        while callback.state().get() < 2 || other.state().get() < 1 {
            timers.sleep(Duration::from_millis(5)).await;
        }
    }
    let before = other.state().get();
    probe.debug.trigger_all();
    ensure!(other.state().get() == before + 1, "everybody who is left");
    Ok(())
}

/// Ends in a panic, with a callback registered. Only when the registry asks for it.
pub(crate) async fn crash(probe: &Probe) -> Outcome {
    let _callback = probe.debug.register(TAG, "xenprobe", Calls::default())?;
    panic!("as the registry asked for");
}
