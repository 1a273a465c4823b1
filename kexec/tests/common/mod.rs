// SPDX-License-Identifier: BSD-2-Clause
//! What the tests of executors begin and end with.

use kexec::nt::sys::fake;
use kexec::nt::{Arc, Tag};
use kexec::{DpcExecutor, Passive};

pub(crate) const TAG: Tag = Tag(*b"Test");

/// Runs `test` with an executor in a kernel of its own, and stops it.
pub(crate) fn stopped<T>(test: impl FnOnce(&fake::Session, &Arc<DpcExecutor>) -> T) -> T {
    let session = fake::boot();
    let executor = DpcExecutor::try_new(TAG, None).expect("executor");
    let value = test(&session, &executor);
    executor.stop(Passive::assert());
    drop(executor);
    value
}
