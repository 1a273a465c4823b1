// SPDX-License-Identifier: BSD-2-Clause
//! The raw NT function layer: one set of names and signatures, two providers.
//!
//! - `cfg(windows)`: `windows`, wdk-sys's imports retyped with our structure views, and the functions that the kit's headers
//!   define inline (IRQL as CR8, shared user data, the current thread).
//! - elsewhere: [`fake`], a kernel in `std` that enforces IRQL, double queueing and pool ownership.
//!
//! Nothing outside `kexec::nt` may use it, with one exception: the `ffi` edge of a driver, for structure views.
#![expect(
    missing_docs,
    reason = "raw NT names; their contract is the platform's documentation"
)]

mod io_types;
mod types;

pub use io_types::*;
pub use types::*;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::*;

#[cfg(not(windows))]
pub mod fake;
#[cfg(not(windows))]
pub use fake::api::*;
