// SPDX-License-Identifier: BSD-2-Clause
//! The kernel image. On a development host this binary only says what it is.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![cfg_attr(
    target_os = "none",
    expect(unsafe_code, reason = "the entry of a kernel")
)]

#[cfg(target_os = "none")]
mod boot;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("testkernel is a guest kernel: build it for x86_64-unknown-none (see README.md)");
    std::process::exit(1);
}
