// SPDX-License-Identifier: BSD-2-Clause
//! The project's two commands.
fn main() {}
