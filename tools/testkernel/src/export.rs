// SPDX-License-Identifier: BSD-2-Clause
//! The table of what the kernel exports to drivers.
//!
//! Each module lists its own functions with [`exports!`](crate::exports) in a static named `EXPORTS`;
//! [`all`] gathers them for the loader. The loader does not bind an import to the function itself but to
//! a small gate which knows the importing driver and the name, checks the IRQL against the rule in the
//! table, counts the call and notes the caller for [`crate::verifier::caller`]; so a function's body does not
//! check its IRQL again, unless the rule depends on its arguments.
//!
//! Functions are `extern "win64" fn` with integer, [`Ptr`](crate::mem::Ptr) or raw arguments. Variadic C functions
//! are made by [`variadic!`](crate::variadic), which turns the arguments into a `va_list`.

/// The range of IRQL at which an export may be called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IrqlRule {
    /// Lowest level.
    pub min: u8,
    /// Highest level.
    pub max: u8,
}

/// Any level.
pub const ANY: IrqlRule = IrqlRule { min: 0, max: 15 };
/// `PASSIVE_LEVEL` only.
pub const P: IrqlRule = IrqlRule { min: 0, max: 0 };
/// Up to `APC_LEVEL`.
pub const A: IrqlRule = IrqlRule { min: 0, max: 1 };
/// Up to `DISPATCH_LEVEL`.
pub const D: IrqlRule = IrqlRule { min: 0, max: 2 };
/// `DISPATCH_LEVEL` exactly.
pub const AT_D: IrqlRule = IrqlRule { min: 2, max: 2 };
/// `DISPATCH_LEVEL` and above.
pub const FROM_D: IrqlRule = IrqlRule { min: 2, max: 15 };
/// Device levels and above.
pub const DEVICE: IrqlRule = IrqlRule { min: 3, max: 15 };

/// What an export is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A function: bound through a gate.
    Code,
    /// A variable: the import slot holds its address.
    Data,
}

/// One exported name.
#[derive(Clone, Copy, Debug)]
pub struct Export {
    /// The name in the import table.
    pub name: &'static str,
    /// Function or variable.
    pub kind: Kind,
    /// Its address.
    pub address: *const (),
    /// Where it may be called.
    pub rule: IrqlRule,
}

// SAFETY: the address is only compared and bound, never dereferenced as data here.
unsafe impl Sync for Export {}
// SAFETY: as above.
unsafe impl Send for Export {}

/// Makes a module's `EXPORTS` table: `exports! { "Name", D => function; data "Name" => STATIC; }`.
#[macro_export]
macro_rules! exports {
    (@list [$($done:expr,)*]) => {
        /// What this module exports to drivers.
        pub(crate) static EXPORTS: &[$crate::export::Export] = &[$($done,)*];
    };
    (@list [$($done:expr,)*] data $name:literal => $item:expr; $($rest:tt)*) => {
        $crate::exports!(@list [$($done,)* $crate::export::Export {
            name: $name,
            kind: $crate::export::Kind::Data,
            address: (&raw const $item).cast::<()>(),
            rule: $crate::export::ANY,
        },] $($rest)*);
    };
    (@list [$($done:expr,)*] $name:literal, $rule:expr => $item:expr; $($rest:tt)*) => {
        $crate::exports!(@list [$($done,)* $crate::export::Export {
            name: $name,
            kind: $crate::export::Kind::Code,
            address: $item as *const (),
            rule: $rule,
        },] $($rest)*);
    };
    ($($all:tt)*) => { $crate::exports!(@list [] $($all)*); };
}

/// Defines the C-callable variadic function `$name`, which calls `$target(fixed args..., va_list)`: the
/// macro's number says how many fixed arguments (1 to 3) precede the `...`.
///
/// `variadic! { fn dbg_print = 1 => dbg_print_va; }` makes `dbg_print(fmt, ...)` call
/// `extern "win64" fn dbg_print_va(fmt: Ptr, args: Ptr) -> i32`, where `args` points at 8-byte slots.
#[macro_export]
macro_rules! variadic {
    (@body $target:path, $reg:literal, $offset:literal) => {
        core::arch::naked_asm!(
            // Spill the register arguments into their home slots, which makes all arguments an array.
            "mov [rsp + 8], rcx",
            "mov [rsp + 16], rdx",
            "mov [rsp + 24], r8",
            "mov [rsp + 32], r9",
            concat!("lea ", $reg, ", [rsp + ", $offset, "]"),
            "jmp {target}",
            target = sym $target,
        )
    };
    ($(fn $name:ident = $fixed:tt => $target:path;)*) => {
        $(
            /// The variadic entry; see the function that it names.
            #[unsafe(naked)]
            pub(crate) extern "win64" fn $name() {
                $crate::variadic!(@fixed $fixed $target)
            }
        )*
    };
    (@fixed 1 $target:path) => { $crate::variadic!(@body $target, "rdx", "16") };
    (@fixed 2 $target:path) => { $crate::variadic!(@body $target, "r8", "24") };
    (@fixed 3 $target:path) => { $crate::variadic!(@body $target, "r9", "32") };
}

/// Every export of the kernel.
pub fn all() -> impl Iterator<Item = &'static Export> {
    let single = [
        crate::rtl::EXPORTS,
        crate::cm::EXPORTS,
        crate::io::EXPORTS,
        crate::ob::EXPORTS,
        crate::pnp::EXPORTS,
        crate::po::EXPORTS,
    ];
    let folders = [
        crate::ke::TABLES,
        crate::mm::TABLES,
        crate::ex::TABLES,
        crate::ps::TABLES,
        crate::ldr::TABLES,
    ];
    folders
        .into_iter()
        .flatten()
        .copied()
        .chain(single)
        .flatten()
}

/// Finds an export by name.
pub fn find(name: &str) -> Option<&'static Export> {
    all().find(|e| e.name == name)
}
