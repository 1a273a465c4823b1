// SPDX-License-Identifier: BSD-2-Clause
//! The image's one export: the root block, for readers of memory images.

use crate::root::Root;

/// Leads somewhere between `Bus::start` and `Bus::stop`; see [`crate::root`]. Its name is `root::EXPORT`.
#[unsafe(no_mangle)]
pub(super) static XenbusRoot: Root = Root::new();
