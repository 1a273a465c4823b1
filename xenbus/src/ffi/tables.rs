// SPDX-License-Identifier: BSD-2-Clause
//! The interface tables that children call.

use kexec::nt::wdm::QueryInterface;
use kexec::{Result, Status};

use super::fdo::Fdo;

/// Answers QUERY_INTERFACE for everything but the bus interface.
pub(super) fn answer(_fdo: &Fdo, _query: &QueryInterface) -> Result {
    Err(Status::NOT_SUPPORTED)
}
