// SPDX-License-Identifier: BSD-2-Clause
//! The other side, for host tests: a shared page, a scripted xenstored, a fake hypervisor.

pub mod console;
pub mod grants;
pub mod machine;
pub mod page;
pub mod rig;
pub mod xen;
pub mod xenstored;

use std::time::{Duration, Instant};

/// After that a test that waits for another thread has hung. A busy machine lets a thread stand still for seconds.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Looks until `found` gives something.
///
/// # Panics
/// With `what` when it never does.
pub fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}
