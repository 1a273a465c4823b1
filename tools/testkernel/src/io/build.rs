// SPDX-License-Identifier: BSD-2-Clause
//! The calls that build a whole request: synchronous and asynchronous file system requests and device
//! control. The kernel frees these IRPs when they complete.

use alloc::boxed::Box;

use super::irp::{build_for, next};
use super::layout::{irp, stack};
use crate::mem::Ptr;

const TAG: u32 = u32::from_le_bytes(*b"IoSB");
const METHOD_BUFFERED: u32 = 0;
const METHOD_NEITHER: u32 = 3;
const IRP_BUFFERED_IO: u32 = 0x10;
const IRP_DEALLOCATE_BUFFER: u32 = 0x20;
const IRP_INPUT_OPERATION: u32 = 0x40;

pub(super) extern "win64" fn io_build_synchronous(
    function: u32,
    object: Ptr,
    buffer: Ptr,
    length: u32,
    offset: Ptr,
    event: Ptr,
    iosb: Ptr,
) -> Ptr {
    let request = build_for(object, function as u8, event, iosb, Box::new(|_| {}));
    if request.is_null() || buffer.is_null() {
        return request;
    }
    // Read and write: kernel buffers, handed over as they are.
    request.set(irp::USER_BUFFER, buffer);
    request.set(irp::SYSTEM_BUFFER, buffer);
    let parameters = next(request).add(stack::PARAMETERS);
    parameters.set(0, length);
    if !offset.is_null() {
        parameters.set(0x10, offset.get::<u64>(0));
    }
    request
}

pub(super) extern "win64" fn io_build_asynchronous(
    function: u32,
    object: Ptr,
    buffer: Ptr,
    length: u32,
    offset: Ptr,
    iosb: Ptr,
) -> Ptr {
    io_build_synchronous(function, object, buffer, length, offset, Ptr::NULL, iosb)
}

pub(super) extern "win64" fn io_build_control(
    code: u32,
    object: Ptr,
    input: Ptr,
    input_length: u32,
    output: Ptr,
    output_length: u32,
    internal: u8,
    event: Ptr,
    iosb: Ptr,
) -> Ptr {
    let method = code & 3;
    let size = if method == METHOD_BUFFERED {
        input_length.max(output_length)
    } else {
        input_length
    };
    let buffer = if method == METHOD_NEITHER || size == 0 {
        Ptr::NULL
    } else {
        let buffer = crate::ex::pool::allocate(size as usize, TAG);
        if buffer.is_null() {
            return Ptr::NULL;
        }
        buffer
    };
    let copies_back = method == METHOD_BUFFERED && !output.is_null();
    let done = move |request: Ptr| {
        let count = request
            .get::<u64>(irp::INFORMATION)
            .min(u64::from(output_length)) as usize;
        if copies_back && !buffer.is_null() && request.get::<i32>(irp::STATUS) as u32 >> 30 != 3 {
            output.copy_within(buffer, count);
        }
        if !buffer.is_null() {
            crate::ex::pool::free(buffer);
        }
    };
    let function = if internal != 0 {
        super::layout::major::INTERNAL_DEVICE_CONTROL
    } else {
        super::layout::major::DEVICE_CONTROL
    };
    let request = build_for(object, function, event, iosb, Box::new(done));
    if request.is_null() {
        if !buffer.is_null() {
            crate::ex::pool::free(buffer);
        }
        return request;
    }
    if !buffer.is_null() {
        buffer.copy_within(input, input_length as usize);
        request.set(irp::SYSTEM_BUFFER, buffer);
        let back = if copies_back { IRP_INPUT_OPERATION } else { 0 };
        request.set(irp::FLAGS, IRP_BUFFERED_IO | IRP_DEALLOCATE_BUFFER | back);
    }
    request.set(irp::USER_BUFFER, output);
    let parameters = next(request).add(stack::PARAMETERS);
    parameters.set(0x00, output_length);
    parameters.set(0x08, input_length);
    parameters.set(0x10, code);
    if method == METHOD_NEITHER {
        parameters.set(0x18, input);
    }
    request
}
