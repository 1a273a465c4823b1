// SPDX-License-Identifier: BSD-2-Clause
//! libFuzzer over the target that the environment names.
#![no_main]

use std::sync::OnceLock;

/// The variable that names the target; `cargo xtask fuzz` sets it.
const TARGET: &str = "FUZZ_TARGET";

static CHOSEN: OnceLock<fuzz::Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let run = CHOSEN.get_or_init(|| {
        let name = std::env::var(TARGET).expect("FUZZ_TARGET names a target");
        fuzz::target(&name).expect("there is a target of that name")
    });
    run(data);
});
