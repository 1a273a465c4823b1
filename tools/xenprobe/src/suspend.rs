// SPDX-License-Identifier: BSD-2-Clause
//! A cancelled suspend, through [`xenbus_interface::client::Suspend`]; one that is survived is a step of its own.

use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;

use crate::probe::{Outcome, Probe, ensure, run, text};

pub(crate) async fn tests(probe: &Probe) {
    run!(probe, suspend_that_is_cancelled_tells_nobody);
}

async fn suspend_that_is_cancelled_tells_nobody(probe: &Probe) -> Outcome {
    let resumes = probe.suspend.resumes()?;
    let before = probe.suspend.count();
    probe.ask(text(format_args!("suspend cancel"))?).await?;
    ensure!(probe.suspend.count() == before, "the count stays");
    let told = {
        let mut next = pin!(resumes.next());
        poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_ready())).await
    };
    ensure!(!told, "no resume is told");
    Ok(())
}
