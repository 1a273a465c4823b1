// SPDX-License-Identifier: BSD-2-Clause
//! File objects, and opening a device as a program would.

use super::layout::{irp, major, stack};
use crate::mem::Ptr;
use crate::ob;
use crate::status::{self, NtStatus};

const TAG: u32 = u32::from_le_bytes(*b"File");
const SIZE: usize = 0xD8;
const TYPE: u16 = 5;
const DEVICE: usize = 0x08;
const USER_MODE: u8 = 1;

fn destroy(file: Ptr) {
    let object = file.ptr(DEVICE);
    crate::ex::pool::free(file);
    ob::dereference(object);
}

/// Makes a file object for a device.
pub fn create(object: Ptr) -> Ptr {
    let file = crate::ex::pool::allocate(SIZE, TAG);
    if !file.is_null() {
        file.fill(0, SIZE);
        file.set(0, TYPE);
        file.set(2, SIZE as u16);
        file.set(DEVICE, object);
        ob::reference(object);
        ob::insert(file, ob::Kind::File, destroy);
    }
    file
}

/// Sends a request about `file` to the top of a stack, from user mode, and waits for it.
fn send(object: Ptr, file: Ptr, function: u8, security: Ptr) -> NtStatus {
    super::send::synchronous(object, |request, parameters| {
        request.set(irp::REQUESTOR_MODE, USER_MODE);
        request.set(irp::STATUS, status::SUCCESS);
        parameters
            .sub(stack::PARAMETERS)
            .set(stack::MAJOR, function);
        parameters.sub(stack::PARAMETERS).set(stack::FILE, file);
        if function == major::CREATE {
            parameters.set(0x00, security);
            parameters.set(0x12, 7u16);
        }
    })
    .status
}

/// Opens a device from user mode and, when that works, closes it again. The status of the open.
pub fn try_open(object: Ptr) -> NtStatus {
    let file = create(object);
    if file.is_null() {
        return status::INSUFFICIENT_RESOURCES;
    }
    // IO_SECURITY_CONTEXT: no quality of service, no access state, FILE_READ_DATA wanted.
    let security = [0u64, 0, 1, 0];
    let result = send(object, file, major::CREATE, Ptr(security.as_ptr() as usize));
    if status::success(result) {
        send(object, file, major::CLEANUP, Ptr::NULL);
        send(object, file, major::CLOSE, Ptr::NULL);
    }
    ob::dereference(file);
    result
}
