// SPDX-License-Identifier: BSD-2-Clause
//! Interfaces of the Xen bus: C tables and async wrappers.
#![no_std]
