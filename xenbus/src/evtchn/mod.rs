// SPDX-License-Identifier: BSD-2-Clause
//! Event channels: from an upcall on a processor to the future or callback of one channel.
//!
//! | module | what |
//! |---|---|
//! | [`host`] | the seam: hypercalls, shared info, interrupts, pages |
//! | [`two_level`], [`fifo`] | the two ABIs; [`abi`] chooses and falls back |
//! | [`slots`] | channel state that an interrupt reaches without a lock |
//! | [`service`] | acquisition, upcall handling, per-processor state |
//! | [`channel`] | what callers hold |
//!
//! ```text
//! upcall -> Evtchn::isr(cpu) -> Abi::poll -> port table -> slot: mask, ack, count += 1 -> wake | call
//! ```

pub mod abi;
pub mod channel;
pub mod fifo;
pub mod host;
pub mod service;
pub mod slots;
pub mod two_level;

pub use channel::{Channel, Kind};
pub use host::{EventPage, Hypervisor, Machine, SharedInfo, VcpuInfo};
pub use service::{Config, Evtchn};

#[cfg(test)]
mod edge_tests;
#[cfg(test)]
mod suspend_tests;
#[cfg(test)]
mod tests;
