// SPDX-License-Identifier: BSD-2-Clause
//! Builds the drivers written in C.
