// SPDX-License-Identifier: BSD-2-Clause
//! Probes: the points that a request passes, for a tracer outside of the machine.
//!
//! A probe is one instruction that does nothing, `nop dword ptr [rax + X]`: no memory access, no branch, no register changed. The
//! displacement `X` is [`MAGIC`] and the point's number, which an emulator recognises when it translates the code (`tools/tcgcount`).
//! So the shipping images carry them, and what is traced is what ships. `cargo xtask bench xenstore --trace` shows the way of one store
//! request as they mark it. On hosts other than Windows a probe is nothing at all.

/// A point that is passed.
///
/// The images differ in who passes it: each links a kexec of its own, so the address of the probe says whose executor polls or
/// whose DPC runs.
///
/// # IRQL
/// Any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Point {
    /// A child submits a request to the bus's store.
    Submit = 1,
    /// The bus has put a request into the queue of its store task.
    Queue = 2,
    /// A task that was parked is made ready.
    Wake = 3,
    /// A DPC's routine begins: an executor's activation, or a [`Dpc`](crate::nt::Dpc)'s closure.
    Dpc = 4,
    /// An executor polls a task.
    Poll = 5,
    /// Requests on the store's ring become visible to xenstored.
    Publish = 6,
    /// An event is about to be sent to xenstored, by a hypercall.
    Send = 7,
    /// The event channels' interrupt service routine begins.
    Interrupt = 8,
    /// A reply was matched to its request.
    Demux = 9,
    /// The child's completion of a request is called.
    Complete = 10,
    /// The child's future of a request is ready.
    Done = 11,
}

impl Point {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Submit,
        Self::Queue,
        Self::Wake,
        Self::Dpc,
        Self::Poll,
        Self::Publish,
        Self::Send,
        Self::Interrupt,
        Self::Demux,
        Self::Complete,
        Self::Done,
    ];
}

/// The displacement of a probe, without the point's number in the low byte: `"kex"` in memory.
pub const MAGIC: u32 = u32::from_le_bytes([0, b'k', b'e', b'x']);

/// Marks that a [`Point`] is passed: `kexec::probe!(Submit)`.
///
/// # IRQL
/// Any.
#[macro_export]
macro_rules! probe {
    ($point:ident) => {
        $crate::probe::pass::<{ $crate::probe::MAGIC | $crate::probe::Point::$point as u32 }>()
    };
}

/// What [`probe!`](crate::probe!) becomes.
///
/// # IRQL
/// Any.
#[doc(hidden)]
#[inline(always)]
pub fn pass<const DISPLACEMENT: u32>() {
    crate::nt::sys::probe::<DISPLACEMENT>();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_numbered_from_one_without_a_gap() {
        for (index, point) in Point::ALL.into_iter().enumerate() {
            assert_eq!(point as usize, index + 1, "{point:?}");
        }
    }

    #[test]
    fn a_displacement_is_positive_and_has_room_for_a_number() {
        assert_eq!(MAGIC & 0xff, 0);
        assert!(i32::try_from(MAGIC | 0xff).is_ok());
        probe!(Submit);
    }
}
