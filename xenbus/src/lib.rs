// SPDX-License-Identifier: BSD-2-Clause
//! xenbus.sys: the bus driver.
#![no_std]
