// SPDX-License-Identifier: BSD-2-Clause
//! The image's entry point.

xenchild::entry!(crate::run::Running);
