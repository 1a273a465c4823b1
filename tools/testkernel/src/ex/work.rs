// SPDX-License-Identifier: BSD-2-Clause
//! Work queues: threads at PASSIVE_LEVEL which run closures in order.

use alloc::boxed::Box;

/// Runs `work` once in a worker thread at `PASSIVE_LEVEL`. Up to `DISPATCH_LEVEL`.
pub fn queue(_work: Box<dyn FnOnce() + Send>) {
    unimplemented!()
}
