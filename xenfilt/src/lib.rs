// SPDX-License-Identifier: BSD-2-Clause
//! xenfilt.sys: the filter driver.
#![no_std]
