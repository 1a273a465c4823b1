// SPDX-License-Identifier: BSD-2-Clause
//! The xenstore client: one task owns the ring, everybody else queues requests.
//!
//! | module | what |
//! |---|---|
//! | [`wire`] | headers, payloads, replies: pure functions |
//! | [`ring`] | the shared page: indices, copies, when to notify |
//! | [`framing`] | whole messages over the rings |
//! | [`bytes`] | what a request carries |
//! | [`request`] | one request: bytes, reply, life |
//! | [`spares`] | blocks of requests that are done, to be used again |
//! | [`chain`] | lists linked through what they list |
//! | [`queue`] | from callers to the task, a lane for each caller |
//! | [`listing`] | a directory that takes several replies |
//! | [`watch`] | tokens and who is told |
//! | [`delivery`] | callbacks outside any poll |
//! | [`shared`] | what callers and the task share |
//! | [`engine`] | the window in flight and the connection's state |
//! | [`task`] | the loop around the engine |
//! | [`connection`] | start and stop, where the page is |
//! | [`client`], [`transaction`] | what callers hold |

pub mod bytes;
pub mod chain;
pub mod client;
pub mod connection;
pub mod delivery;
pub mod engine;
pub mod framing;
pub mod listing;
pub mod queue;
pub mod request;
pub mod ring;
pub mod shared;
pub mod spares;
pub mod task;
pub mod transaction;
pub mod watch;
pub mod wire;

pub use client::{Client, Watch};
pub use connection::Connection;
pub use shared::{Policy, Shared};
pub use transaction::Transaction;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod resume_tests;
#[cfg(test)]
mod service_tests;
