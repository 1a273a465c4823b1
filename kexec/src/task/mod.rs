// SPDX-License-Identifier: BSD-2-Clause
//! Tasks: header, block, join handle, group, spawn-site information.

mod block;
mod group;
mod handle;
mod header;
mod info;
pub(crate) mod storage;

pub use group::{Drained, Group};
pub use handle::{Aborted, JoinHandle, SpawnError};
pub use header::{HEADER_SIZE, Header, layout};
pub use info::{MAGIC, Site, TaskInfo};
pub use storage::TaskStorage;

pub(crate) use block::{Block, block_layout};
pub(crate) use header::{
    CANCELLED, COMPLETE, JOIN, JOINER, OUTPUT, REF, SCHEDULED, borrowed_waker,
};
