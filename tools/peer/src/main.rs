// SPDX-License-Identifier: BSD-2-Clause
//! The other end in dom0.
fn main() {}
