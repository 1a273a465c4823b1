// SPDX-License-Identifier: BSD-2-Clause
//! Requests that the kernel itself sends to a device stack and waits for.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::layout::{device, irp, major, stack};
use crate::ke::event::Event;
use crate::ke::wait::Timeout;
use crate::mem::Ptr;
use crate::ob;
use crate::status::NtStatus;
use crate::sync::Lock;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// `IoStatus.Status`.
    pub status: NtStatus,
    /// `IoStatus.Information`.
    pub information: usize,
}

/// Builds a request for the top of `object`'s stack, lets `fill` set it up (the IRP and the parameters of
/// its first location), sends it and waits for it.
///
/// # IRQL
///
/// `PASSIVE_LEVEL`.
pub fn synchronous(object: Ptr, fill: impl FnOnce(Ptr, Ptr)) -> Outcome {
    let top = super::device::top_referenced(object);
    let done = Arc::new((Event::new(false), Lock::new(None)));
    let finisher = done.clone();
    let finish = move |request: Ptr| {
        let status = request.get(irp::STATUS);
        let information = request.get(irp::INFORMATION);
        *finisher.1.lock() = Some(Outcome {
            status,
            information,
        });
        finisher.0.set();
    };
    let request = super::irp::build(top.get(device::STACK_SIZE), Box::new(finish));
    if request.is_null() {
        ob::dereference(top);
        return Outcome {
            status: crate::status::INSUFFICIENT_RESOURCES,
            information: 0,
        };
    }
    let location = super::irp::next(request);
    request.set(irp::STATUS, crate::status::NOT_SUPPORTED);
    request.set(irp::THREAD, Ptr(crate::arch::current_thread()));
    fill(request, location.add(stack::PARAMETERS));
    super::irp::call(top, request);
    done.0.wait(Timeout::Never);
    ob::dereference(top);
    let outcome = done.1.lock().take();
    outcome.unwrap_or(Outcome {
        status: crate::status::UNSUCCESSFUL,
        information: 0,
    })
}

/// Sends a PnP request; `fill` gets its parameters.
pub fn pnp(object: Ptr, minor: u8, information: usize, fill: impl FnOnce(Ptr)) -> Outcome {
    pnp_with(
        object,
        minor,
        (crate::status::NOT_SUPPORTED, information),
        fill,
    )
}

/// As [`pnp`], with the status and information that somebody above has put into the request.
pub fn pnp_with(
    object: Ptr,
    minor: u8,
    before: (NtStatus, usize),
    fill: impl FnOnce(Ptr),
) -> Outcome {
    let (status, information) = before;
    synchronous(object, |request, parameters| {
        request.set(irp::STATUS, status);
        let location = parameters.sub(stack::PARAMETERS);
        location.set(stack::MAJOR, major::PNP);
        location.set(stack::MINOR, minor);
        request.set(irp::INFORMATION, information);
        fill(parameters);
    })
}
