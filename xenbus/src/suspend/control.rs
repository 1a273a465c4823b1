// SPDX-License-Identifier: BSD-2-Clause
//! What the toolstack asks for through `control/shutdown`.
//!
//! `suspend` is ours: it is acknowledged by an empty value, then the domain suspends. Other words belong to others and stay. Says
//! in `control/feature-suspend` that we listen; best effort, because old toolstacks do not give that node to the guest.

use core::pin::pin;

use kexec::Result;
use kexec::sync::{Either2, Event, select2};

use crate::status;
use crate::store::wire::Path;
use crate::store::{Client, Watch};

const SHUTDOWN: &[u8] = b"control/shutdown";
const FEATURE: &[u8] = b"control/feature-suspend";

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Suspend: the request has been acknowledged.
    Suspend,
    /// End.
    Stop,
}

/// Registers the watch and advertises the feature.
///
/// # Errors
/// Of the watch.
pub async fn listen(client: &Client) -> Result<Watch> {
    let watch = client.watch(Path::plain(SHUTDOWN)?).await?;
    advertise(client, true).await;
    Ok(watch)
}

/// Says whether we listen: again after each resume, where the toolstack has made the node anew.
pub async fn advertise(client: &Client, listening: bool) {
    let path = Path::plain(FEATURE);
    let done = match path {
        Ok(path) if listening => client.write(None, path, b"1").await,
        Ok(path) => client.remove(None, path).await,
        Err(status) => Err(status),
    };
    if let Err(status) = done {
        kexec::debug!("suspend: feature key not changed, {status}");
    }
}

/// Waits for the next wish.
///
/// # Errors
/// The watch's: it will not fire any more.
pub async fn wish(client: &Client, watch: &mut Watch, stop: &Event) -> Result<Wish> {
    loop {
        let changed = pin!(watch.changed());
        let stopped = pin!(stop.wait());
        match select2(stopped, changed).await {
            Either2::First(()) => return Ok(Wish::Stop),
            Either2::Second(changed) => changed?,
        }
        let path = Path::plain(SHUTDOWN)?;
        match client.read(None, path).await {
            Ok(value) if &*value == b"suspend" => {}
            Ok(_) | Err(status::OBJECT_NAME_NOT_FOUND) => continue,
            Err(status) => {
                kexec::warn!("suspend: control/shutdown not read, {status}");
                continue;
            }
        }
        // Without the acknowledgement the toolstack gives up: suspending then would leave it with a domain that is gone.
        match client.write(None, path, b"").await {
            Ok(()) => return Ok(Wish::Suspend),
            Err(status) => kexec::warn!("suspend: not acknowledged, {status}"),
        }
    }
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
