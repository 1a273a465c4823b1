// SPDX-License-Identifier: BSD-2-Clause
//! Grants in both directions, contents as hex digits.
//!
//! `gnttab hold REF HEX` maps a page of the guest, tells its first 8 bytes and writes HEX behind them; `gnttab drop` unmaps it.
//! `gnttab share HEX` grants a page of dom0 that begins with HEX and tells its number; `gnttab shared` tells the 8 bytes behind
//! the first 8; `gnttab unshare` ends that.

use super::Probe;
use crate::args::Args;
use crate::gnt::{Page, Shared};
use crate::{Failure, Result};

/// Bytes that are told.
const TOLD: usize = 8;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(text: &str) -> Result<Vec<u8>> {
    let bad = || Failure::new(format!("bad hex digits {text}"));
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return Err(bad());
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| bad()))
        .collect()
}

/// A page of each direction.
#[derive(Default)]
pub(super) struct Pages {
    held: Option<Page>,
    shared: Option<Shared>,
}

pub(super) fn serve(probe: &mut Probe, mut args: Args) -> Result<String> {
    let nothing = |what: &str| Failure::new(format!("no page is {what}"));
    let verb = args.need("a verb")?;
    match verb.as_str() {
        "hold" => {
            let reference = args.need("a reference")?;
            let reference = reference
                .parse()
                .map_err(|_| Failure::new(format!("bad reference {reference}")))?;
            let patch = bytes(&args.need("bytes")?)?;
            args.end()?;
            let page = Page::map(probe.domid, reference, true)?;
            let found = hex(&page.read()[..TOLD]);
            page.patch(TOLD, &patch)?;
            probe.pages.held = Some(page);
            Ok(found)
        }
        "drop" => {
            args.end()?;
            let page = probe.pages.held.take();
            page.ok_or_else(|| nothing("held"))?.close()?;
            Ok(String::new())
        }
        "share" => {
            let patch = bytes(&args.need("bytes")?)?;
            args.end()?;
            let shared = Shared::grant(probe.domid, &patch)?;
            let reference = shared.reference().to_string();
            probe.pages.shared = Some(shared);
            Ok(reference)
        }
        "shared" => {
            args.end()?;
            let shared = probe.pages.shared.as_ref();
            let shared = shared.ok_or_else(|| nothing("shared"))?;
            Ok(hex(&shared.read()[TOLD..2 * TOLD]))
        }
        "unshare" => {
            args.end()?;
            let shared = probe.pages.shared.take();
            shared.ok_or_else(|| nothing("shared"))?.close()?;
            Ok(String::new())
        }
        _ => Err(Failure::new(format!("gnttab: no verb {verb}"))),
    }
}
