// SPDX-License-Identifier: BSD-2-Clause
//! Executor and safe NT primitives for Windows kernel drivers.
#![no_std]
