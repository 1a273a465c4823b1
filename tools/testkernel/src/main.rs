// SPDX-License-Identifier: BSD-2-Clause
//! A small NT kernel that loads our drivers.
fn main() {}
