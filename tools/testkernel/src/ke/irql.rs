// SPDX-License-Identifier: BSD-2-Clause
//! IRQL is CR8. Lowering it lets the local APIC deliver what became possible: DPCs come as a self-IPI, so
//! nothing is run by software here.

use crate::arch;
use crate::export::ANY;
use crate::verifier;

/// `PASSIVE_LEVEL`.
pub const PASSIVE: u8 = 0;
/// `APC_LEVEL`.
pub const APC: u8 = 1;
/// `DISPATCH_LEVEL`.
pub const DISPATCH: u8 = 2;
/// `CLOCK_LEVEL`.
pub const CLOCK: u8 = 13;
/// `IPI_LEVEL`.
pub const IPI: u8 = 14;
/// `HIGH_LEVEL`.
pub const HIGH: u8 = 15;

/// The current level.
pub fn current() -> u8 {
    arch::irql()
}

/// Raises to `level`, which must not be lower than the current one; returns the old level.
pub fn raise(level: u8) -> u8 {
    let old = arch::irql();
    if level < old {
        verifier::fail(
            "irql_raise_down",
            format_args!("raise from {old} to {level}"),
        );
    }
    arch::set_irql(level);
    old
}

/// Lowers to `level`, which must not be higher than the current one.
pub fn lower(level: u8) {
    let old = arch::irql();
    if level > old {
        verifier::fail("irql_lower_up", format_args!("lower from {old} to {level}"));
    }
    arch::set_irql(level);
}

/// Raises to `level` while it lives.
#[derive(Debug)]
pub struct Raised(u8);

impl Raised {
    /// Raises to at least `level`.
    pub fn to(level: u8) -> Self {
        let old = arch::irql();
        if old < level {
            arch::set_irql(level);
        }
        Self(old)
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        arch::set_irql(self.0);
    }
}

extern "win64" fn ke_get_current_irql() -> u8 {
    current()
}

extern "win64" fn kf_raise_irql(level: u8) -> u8 {
    raise(level)
}

extern "win64" fn ke_lower_irql(level: u8) {
    lower(level);
}

extern "win64" fn ke_raise_irql_to_dpc_level() -> u8 {
    raise(DISPATCH)
}

crate::exports! {
    "KeGetCurrentIrql", ANY => ke_get_current_irql;
    "KfRaiseIrql", ANY => kf_raise_irql;
    "KeLowerIrql", ANY => ke_lower_irql;
    "KeRaiseIrqlToDpcLevel", ANY => ke_raise_irql_to_dpc_level;
}
