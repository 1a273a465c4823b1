// SPDX-License-Identifier: BSD-2-Clause
//! Sample child driver.
#![no_std]
