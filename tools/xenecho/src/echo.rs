// SPDX-License-Identifier: BSD-2-Clause
//! The device: what it shares with its backend, and what it does with it.

use core::future::pending;

use kexec::timer::Timers;
use kexec::{Duration, Result, Status, info};
use xenbus_interface::client::frontend::{Backend, Device, Keys};
use xenbus_interface::client::{Channel, Evtchn, GrantCache};

use crate::ring::{self, Ring, SLOTS};
use crate::run::TAG;

/// How long a backend that has closed, or died, may take to let go of a page. Then the page is leaked, with a line in the log.
const LETS_GO: Duration = Duration::from_secs(2);

/// An echo device.
pub(crate) struct Echo<'a> {
    pub(crate) evtchn: &'a Evtchn,
    pub(crate) grants: &'a GrantCache<'a>,
    pub(crate) timers: &'a Timers,
    /// Connections so far.
    pub(crate) connections: u32,
}

/// A connection.
pub(crate) struct Link<'a> {
    /// To the backend.
    requests: Ring<'a>,
    /// From the backend.
    responses: Ring<'a>,
    channel: Channel<'a>,
}

/// What the backend offers.
#[derive(Clone, Copy)]
struct Offer {
    nonce: u32,
    /// Messages to bounce.
    messages: u32,
    /// Messages on their way at a time.
    batch: u32,
    /// No other backend will come.
    last: bool,
}

impl Offer {
    async fn read(backend: &Backend<'_>) -> Result<Self> {
        let number = async |name: &str, default: u32| {
            let offered = backend.number(name).await?.unwrap_or(default.into());
            u32::try_from(offered).map_err(|_| Status::DATA_ERROR)
        };
        Ok(Self {
            nonce: number("nonce", 0).await?,
            messages: number("messages", 1000).await?,
            batch: number("batch", 1).await?.clamp(1, SLOTS),
            last: backend.has("last").await?,
        })
    }
}

impl<'a> Device for Echo<'a> {
    type Link = Link<'a>;

    async fn connect(&mut self, backend: &Backend<'_>, keys: &mut Keys) -> Result<Link<'a>> {
        let domain = backend.domain();
        let link = Link {
            requests: ring::share(TAG, self.grants, domain, true)?,
            responses: ring::share(TAG, self.grants, domain, false)?,
            channel: self.evtchn.unbound(domain)?,
        };
        keys.put("request-ref", link.requests.reference())?;
        keys.put("response-ref", link.responses.reference())?;
        keys.put("event-channel", link.channel.port())?;
        Ok(link)
    }

    async fn run(&mut self, link: &mut Link<'a>, backend: &Backend<'_>) -> Result {
        self.connections += 1;
        // Not before: until it has connected, another backend may take its place unnoticed.
        let offer = Offer::read(backend).await?;
        link.channel.unmask();
        link.bounce(offer).await?;
        let (number, messages) = (self.connections, offer.messages);
        info!("RESULT xenecho.connection {number} messages={messages}");
        if offer.last {
            info!("RESULT xenecho done");
        }
        // The backend closes, or the driver.
        pending().await
    }

    async fn disconnect(&mut self, link: Link<'a>) {
        drop(link.channel);
        for ring in [link.requests, link.responses] {
            let _ = self.timers.timeout(LETS_GO, ring.end(self.timers)).await;
        }
        info!("RESULT xenecho.disconnected {}", self.connections);
    }
}

impl Link<'_> {
    /// Sends all messages and checks what comes back.
    async fn bounce(&self, offer: Offer) -> Result {
        let Offer {
            nonce,
            messages,
            batch,
            ..
        } = offer;
        let (mut sent, mut back) = (0, 0);
        while back < messages {
            while sent < messages && sent - back < batch {
                ring::put(self.requests.page(), sent, &ring::message(nonce, sent));
                sent += 1;
            }
            self.channel.send();
            self.channel.wait().await?;
            while let Some(answer) = ring::take(self.responses.page(), back, sent)? {
                if answer != ring::answer(nonce, back) {
                    return Err(Status::DATA_ERROR);
                }
                back += 1;
            }
        }
        Ok(())
    }
}
