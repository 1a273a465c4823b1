// SPDX-License-Identifier: BSD-2-Clause
#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod accounts;
mod client;
#[cfg(test)]
mod fake;
mod histogram;
mod hostile;
mod keys;
mod model;
mod random;
mod report;
mod run;
mod spec;
#[cfg(test)]
mod tests;
mod value;
mod watches;

pub use accounts::{ACCOUNTS, TOTAL};
pub use client::{Client, Counters, Error, Names, Place, Result, Transaction, Watch};
pub use histogram::BUCKETS;
pub use model::{Key, Permissions, keys as model_keys};
pub use run::{Kind, Run, Tally, setup, work};
pub use spec::{Path, Profile, Refusal, Role, Workload};
pub use value::{Value, expected};
