// SPDX-License-Identifier: BSD-2-Clause
//! SUSPEND: the domain is saved, restored or migrated, and everything finds its way back.
//!
//! | module | what |
//! |---|---|
//! | [`corral`] | all processors together, interrupts off, and apart again |
//! | [`callbacks`] | who is told, and when |
//! | [`service`] | a whole suspend, from trigger to release |
//! | [`control`] | the toolstack's request: `control/shutdown` |
//!
//! The services of the bus re-establish themselves in the order of their dependence, before any child is told: shared info page and
//! epochs in EARLY; event channels, then the store's ring, in LATE. A cancelled suspend calls nobody and changes nothing.

pub mod callbacks;
pub mod control;
pub mod corral;
pub mod service;

pub use corral::Outcome;
pub use service::{Services, Suspend};
