// SPDX-License-Identifier: BSD-2-Clause
//! Resource lists of IRP_MN_START_DEVICE and requirement lists of IRP_MN_FILTER_RESOURCE_REQUIREMENTS.

use core::ptr;

use super::irp::{Irp, mj, mn};
use crate::nt::sys::{
    self, CM_PARTIAL_RESOURCE_DESCRIPTOR, CM_RESOURCE_LIST, IO_RESOURCE_DESCRIPTOR,
    IO_RESOURCE_REQUIREMENTS_LIST, NonPagedPoolNx,
};
use crate::status::{Result, Status};

/// CmResourceTypeInterrupt.
const TYPE_INTERRUPT: u8 = 2;
/// CmResourceTypeMemory.
const TYPE_MEMORY: u8 = 3;
/// CmResourceTypeDevicePrivate.
const TYPE_PRIVATE: u8 = 0x81;
/// CM_RESOURCE_INTERRUPT_LATCHED.
const LATCHED: u16 = 1;
/// CM_RESOURCE_INTERRUPT_MESSAGE.
const MESSAGE: u16 = 2;
/// CM_RESOURCE_INTERRUPT_POLICY_INCLUDED.
const POLICY_INCLUDED: u16 = 4;
/// Descriptors that are believed in one list.
const MOST: u32 = 4096;
/// Tag of what is handed to the PnP manager, which frees it without one.
const HANDED_OVER: u32 = u32::from_le_bytes(*b"XPnP");

/// One assigned resource of interest.
///
/// # IRQL
/// Any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// An interrupt. In the raw list `vector` of a line is the global system interrupt.
    Interrupt {
        /// Message-signalled form.
        message: bool,
        /// Edge-triggered.
        latched: bool,
        /// May be shared.
        shared: bool,
        /// IRQL.
        level: u16,
        /// Processor group.
        group: u16,
        /// IDT vector (translated) or line (raw).
        vector: u32,
        /// Processors of the group.
        affinity: u64,
    },
    /// A memory range.
    Memory {
        /// First physical address.
        start: u64,
        /// Bytes.
        length: u32,
    },
    /// Anything else.
    Other,
}

/// A resource list of a START_DEVICE request.
///
/// # IRQL
/// As said at each method.
#[derive(Clone, Copy, Debug)]
pub struct ResourceList<'a> {
    first: *mut CM_PARTIAL_RESOURCE_DESCRIPTOR,
    count: usize,
    irp: core::marker::PhantomData<&'a Irp>,
}

impl<'a> ResourceList<'a> {
    /// The raw and the translated list of a start request; `None` when the device was given no resources.
    ///
    /// # Errors
    /// `STATUS_INVALID_PARAMETER` for more than one list or an unbelievable length.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn of(irp: &'a Irp) -> Result<Option<(Self, Self)>> {
        if (irp.major(), irp.minor()) != (mj::PNP, mn::START_DEVICE) {
            return Err(Status::INVALID_PARAMETER);
        }
        let [raw, translated, ..] = irp.parameters();
        if raw == 0 || translated == 0 {
            return Ok(None);
        }
        let (raw, translated) = (
            raw as *mut CM_RESOURCE_LIST,
            translated as *mut CM_RESOURCE_LIST,
        );
        // SAFETY: the PnP manager's lists, valid while the IRP is ours.
        let raw = unsafe { Self::at(raw)? };
        // SAFETY: as above.
        let translated = unsafe { Self::at(translated)? };
        if raw.count != translated.count {
            return Err(Status::INVALID_PARAMETER);
        }
        Ok(Some((raw, translated)))
    }

    /// # Safety
    /// `list` is a valid resource list that lives as long as the result.
    unsafe fn at(list: *mut CM_RESOURCE_LIST) -> Result<Self> {
        // SAFETY: valid by the contract.
        let lists = unsafe { (*list).Count };
        // SAFETY: as above.
        let count = unsafe { (*list).PartialCount };
        if lists != 1 || count > MOST {
            return Err(Status::INVALID_PARAMETER);
        }
        // SAFETY: a field of a valid list.
        let first = unsafe { ptr::addr_of_mut!((*list).Descriptors) }.cast();
        Ok(Self {
            first,
            count: count as usize,
            irp: core::marker::PhantomData,
        })
    }

    fn descriptor(&self, index: usize) -> *mut CM_PARTIAL_RESOURCE_DESCRIPTOR {
        debug_assert!(index < self.count);
        // SAFETY: within the list's count.
        unsafe { self.first.add(index) }
    }

    /// The resources, in order.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn iter(&self) -> impl Iterator<Item = Resource> {
        (0..self.count).map(|index| {
            // SAFETY: a descriptor of the list; unaligned because the lists are packed.
            let d = unsafe { self.descriptor(index).read_unaligned() };
            let [a, b, c, e] = d.Union;
            match d.Type {
                TYPE_INTERRUPT => Resource::Interrupt {
                    message: d.Flags & MESSAGE != 0,
                    latched: d.Flags & LATCHED != 0,
                    shared: d.ShareDisposition == 3,
                    level: a as u16,
                    group: (a >> 16) as u16,
                    vector: b,
                    affinity: u64::from(c) | u64::from(e) << 32,
                },
                TYPE_MEMORY => Resource::Memory {
                    start: u64::from(a) | u64::from(b) << 32,
                    length: c,
                },
                _ => Resource::Other,
            }
        })
    }

    /// Turns every message interrupt into a device-private descriptor: the bus driver below never asked for those vectors and
    /// ignores private ones.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL, before the request is passed down.
    pub fn hide_messages(&self) {
        for index in 0..self.count {
            let at = self.descriptor(index);
            // SAFETY: a descriptor of the list; unaligned because the lists are packed.
            let mut d = unsafe { at.read_unaligned() };
            if d.Type == TYPE_INTERRUPT && d.Flags & MESSAGE != 0 {
                d.Type = TYPE_PRIVATE;
                // SAFETY: as above; the list is the request's, which is ours.
                unsafe { at.write_unaligned(d) };
            }
        }
    }
}

/// A message interrupt to ask for, targeted at one processor.
///
/// # IRQL
/// Any.
#[derive(Clone, Copy, Debug)]
pub struct Requirement {
    /// Processor group.
    pub group: u16,
    /// Number of the processor in its group.
    pub number: u8,
}

/// Word of a requirement's interrupt arm: policy IrqPolicySpecifiedProcessors.
const SPECIFIED_PROCESSORS: u32 = 4;
/// CM_RESOURCE_INTERRUPT_MESSAGE_TOKEN.
const MESSAGE_TOKEN: u32 = u32::MAX - 1;
/// CmResourceShareDeviceExclusive.
const EXCLUSIVE: u8 = 1;

fn message_interrupt(requirement: Requirement) -> IO_RESOURCE_DESCRIPTOR {
    let mask = 1_u64 << requirement.number;
    IO_RESOURCE_DESCRIPTOR {
        Option: 0,
        Type: TYPE_INTERRUPT,
        ShareDisposition: EXCLUSIVE,
        Spare1: 0,
        Flags: LATCHED | MESSAGE | POLICY_INCLUDED,
        Spare2: 0,
        // Minimum, maximum; policy u32 at 10h with the group in the upper half of the word; priority undefined; processors.
        Union: [
            MESSAGE_TOKEN,
            MESSAGE_TOKEN,
            SPECIFIED_PROCESSORS | u32::from(requirement.group) << 16,
            0,
            mask as u32,
            (mask >> 32) as u32,
        ],
    }
}

/// Answers FILTER_RESOURCE_REQUIREMENTS: a new list with the line interrupt pinned to processor 0 and one message interrupt for
/// each of `extra`. `information` is the list that the request carries (0 for none), which is freed; the result goes into its place.
///
/// # Safety
/// `information` is 0 or the address of a requirements list in pool that the request hands over.
///
/// # Errors
/// `STATUS_NOT_SUPPORTED` without a list, `STATUS_INVALID_PARAMETER` for other than one alternative, or out of memory; the old
/// list is left alone then.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub unsafe fn extend_requirements(
    information: usize,
    extra: impl ExactSizeIterator<Item = Requirement>,
) -> Result<usize> {
    let old = information as *mut IO_RESOURCE_REQUIREMENTS_LIST;
    if old.is_null() {
        return Err(Status::NOT_SUPPORTED);
    }
    // SAFETY: a valid list (contract).
    let alternatives = unsafe { (*old).AlternativeLists };
    // SAFETY: as above.
    let count = unsafe { (*old).Count };
    if alternatives != 1 || count > MOST {
        return Err(Status::INVALID_PARAMETER);
    }
    let header = core::mem::offset_of!(IO_RESOURCE_REQUIREMENTS_LIST, Descriptors);
    let total = count as usize + extra.len();
    let size = header + total * size_of::<IO_RESOURCE_DESCRIPTOR>();
    // SAFETY: callable at this level; the size is not zero.
    let new = unsafe {
        sys::ExAllocatePoolWithTag(
            NonPagedPoolNx,
            size.max(size_of::<IO_RESOURCE_REQUIREMENTS_LIST>()),
            HANDED_OVER,
        )
    }
    .cast::<IO_RESOURCE_REQUIREMENTS_LIST>();
    if new.is_null() {
        return Err(Status::INSUFFICIENT_RESOURCES);
    }
    // SAFETY: both have at least the header; they do not overlap.
    unsafe { ptr::copy_nonoverlapping(old.cast::<u8>(), new.cast::<u8>(), header) };
    // SAFETY: a field of the old list.
    let from = unsafe { ptr::addr_of!((*old).Descriptors) }.cast::<IO_RESOURCE_DESCRIPTOR>();
    // SAFETY: a field of the new list.
    let to = unsafe { ptr::addr_of_mut!((*new).Descriptors) }.cast::<IO_RESOURCE_DESCRIPTOR>();
    for index in 0..count as usize {
        // SAFETY: within the old list's count.
        let from = unsafe { from.add(index) };
        // SAFETY: a descriptor of the old list.
        let mut descriptor = unsafe { from.read() };
        if descriptor.Type == TYPE_INTERRUPT {
            descriptor.Flags |= POLICY_INCLUDED;
            descriptor.Union[2] = SPECIFIED_PROCESSORS;
            descriptor.Union[3] = 0;
            descriptor.Union[4] = 1;
            descriptor.Union[5] = 0;
        }
        // SAFETY: the new list has room for all of them.
        unsafe { to.wrapping_add(index).write(descriptor) };
    }
    for (index, requirement) in extra.enumerate() {
        let slot = to.wrapping_add(count as usize + index);
        // SAFETY: as above.
        unsafe { slot.write(message_interrupt(requirement)) };
    }
    // SAFETY: the new list.
    unsafe { (*new).Count = total as u32 };
    // SAFETY: the new list.
    unsafe { (*new).ListSize = size as u32 };
    // SAFETY: the request hands the old list over (contract).
    unsafe { sys::ExFreePool(old.cast()) };
    Ok(new as usize)
}
