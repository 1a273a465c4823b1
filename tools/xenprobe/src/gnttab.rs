// SPDX-License-Identifier: BSD-2-Clause
//! Grants, through [`xenbus_interface::client::Gnttab`].

use core::sync::atomic::Ordering;

use kexec::nt::{Contiguous, PAGE_SIZE, Vec};
use kexec::timer::Timers;
use kexec::{Duration, Status};

use crate::probe::{Outcome, Probe, ensure, run, text};
use crate::run::TAG;

pub(crate) async fn tests(probe: &Probe, timers: &Timers) {
    run!(probe, gnttab_maps_a_page_of_dom0);
    let name = "gnttab_ends_a_grant_when_dom0_is_done";
    probe.test(name, || ends(probe, timers)).await;
    let name = "gnttab_waits_for_room_in_a_full_table";
    probe.test(name, || waits(probe, timers)).await;
}

/// A page that begins with `head`, and its frame.
fn page(head: &[u8; 8]) -> Result<(Contiguous, u64), Status> {
    let page = Contiguous::try_alloc(TAG, 1)?;
    for word in page.shared().atomics_u64() {
        word.store(0, Ordering::Relaxed);
    }
    page.shared().atomics_u64()[0].store(u64::from_le_bytes(*head), Ordering::Release);
    let frame = page.address() / PAGE_SIZE as u64;
    Ok((page, frame))
}

async fn ends(probe: &Probe, timers: &Timers) -> Outcome {
    let cache = probe.gnttab.cache(c"probe", 1, 0)?;
    let (page, frame) = page(b"to dom0!")?;
    let grant = cache.permit(page, 0, frame, false)?;
    let reference = grant.reference();
    ensure!(
        probe.gnttab.query(reference)? == (frame, false),
        "the entry of the grant"
    );
    let question = text(format_args!("gnttab hold {reference} 627920646f6d3021"));
    let answer = probe.ask(question?).await?;
    ensure!(answer.as_str() == "746f20646f6d3021", "our bytes at dom0");
    let word = grant.page().shared().atomics_u64()[1].load(Ordering::Acquire);
    ensure!(word.to_le_bytes() == *b"by dom0!", "dom0's bytes here");
    let Err((grant, status)) = grant.try_end() else {
        return Err(Status::UNSUCCESSFUL.into());
    };
    ensure!(
        status == Status::UNSUCCESSFUL,
        "refused while dom0 has the page"
    );
    ensure!(grant.reference() == reference, "still the same grant");
    probe.ask(text(format_args!("gnttab drop"))?).await?;
    let page = grant.end(timers).await;
    ensure!(page.count() == 1, "the page comes back");
    ensure!(
        probe.gnttab.query(reference)? == (0, false),
        "the entry is clear"
    );
    Ok(())
}

async fn gnttab_maps_a_page_of_dom0(probe: &Probe) -> Outcome {
    let answer = probe.ask(text(format_args!("gnttab share 6f6620646f6d3021"))?);
    let answer = answer.await?;
    let reference = answer.parse().map_err(|_| Status::INVALID_PARAMETER)?;
    let both = probe.gnttab.map(0, &[reference, 0xFF_FFFF], false);
    ensure!(both.is_err(), "all or none");
    {
        let foreign = probe.gnttab.map(0, &[reference], false)?;
        let words = foreign.shared().atomics_u64();
        let head = words[0].load(Ordering::Acquire);
        ensure!(head.to_le_bytes() == *b"of dom0!", "dom0's bytes");
        words[1].store(u64::from_le_bytes(*b"by guest"), Ordering::Release);
        let answer = probe.ask(text(format_args!("gnttab shared"))?).await?;
        ensure!(
            answer.as_str() == "6279206775657374",
            "our bytes in dom0's page"
        );
    }
    probe.ask(text(format_args!("gnttab unshare"))?).await?;
    Ok(())
}

async fn waits(probe: &Probe, timers: &Timers) -> Outcome {
    let hoarder = probe.gnttab.cache(c"hoard", 0, 0)?;
    let cache = probe.gnttab.cache(c"probe", 0, 0)?;
    let mut grants = Vec::new(TAG);
    while let Ok(grant) = hoarder.permit((), 0, 1, true) {
        grants.try_push(grant)?;
    }
    ensure!(grants.len() >= 480, "a table of a frame at least");
    {
        let wait = cache.permit_when_free(timers, (), 0, 1, true);
        let early = timers.timeout(Duration::from_millis(50), wait).await;
        ensure!(early.is_err(), "nothing is free");
    }
    drop(grants.pop());
    let grant = cache.permit_when_free(timers, (), 0, 1, true).await?;
    ensure!(grant.reference() >= 32, "a number that is not reserved");
    Ok(())
}
