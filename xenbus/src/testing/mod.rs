// SPDX-License-Identifier: BSD-2-Clause
//! The other side, for host tests: a shared page, a scripted xenstored, a fake hypervisor.

pub mod console;
pub mod grants;
pub mod machine;
pub mod page;
pub mod rig;
pub mod xen;
pub mod xenstored;
