// SPDX-License-Identifier: BSD-2-Clause
//! System threads.

use alloc::boxed::Box;

use crate::mem::Ptr;

/// Starts a kernel thread of ours; returns its thread object, referenced once for the caller.
pub fn spawn(_name: &'static str, _body: Box<dyn FnOnce() + Send>) -> Ptr {
    unimplemented!()
}

/// Whether `object` is a thread object (live or not yet freed).
pub fn is_thread(_object: Ptr) -> bool {
    unimplemented!()
}

/// Adds a reference to a thread object.
pub fn reference(_thread: Ptr) {
    unimplemented!()
}

/// Drops a reference of a thread object.
pub fn dereference(_thread: Ptr) {
    unimplemented!()
}

/// What this module exports to drivers.
pub static EXPORTS: &[crate::export::Export] = &[];
