// SPDX-License-Identifier: BSD-2-Clause
//! Thread objects on a host: there are none.

use crate::mem::Ptr;

/// Whether `object` is a thread object.
pub fn is_thread(_object: Ptr) -> bool {
    false
}

/// Adds a reference to a thread object.
pub fn reference(thread: Ptr) {
    panic!("{thread} is no thread object");
}

/// Drops a reference of a thread object.
pub fn dereference(thread: Ptr) {
    panic!("{thread} is no thread object");
}
