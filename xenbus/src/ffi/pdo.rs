// SPDX-License-Identifier: BSD-2-Clause
//! A child: the physical device object of one class.
//!
//! ```text
//!   Present --1--> Reported --2--> Started
//!      |              |  ^--3--------'
//!      +------4-------+------4--> Deleted
//! ```
//! 1 [`Pdo::report`], in the answer to a relations query; 2 START_DEVICE; 3 STOP_DEVICE, REMOVE_DEVICE while the class is still in
//! the store; 4 REMOVE_DEVICE when it is missing, [`Pdo::reap`] when PnP never heard of it, [`Pdo::retire`] with the parent.
//! Whoever moves the state to Deleted deletes the object.
//!
//! Requests to a PDO end here. It holds a reference to the parent's device object, whose extension is the context of the
//! interface tables.

use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use kexec::nt::SpinLock;
use kexec::nt::wdm::{
    BUS_QUERY_COMPATIBLE_IDS, BUS_QUERY_DEVICE_ID, BUS_QUERY_HARDWARE_IDS, BUS_QUERY_INSTANCE_ID,
    Capabilities, Device, DeviceRef, Driver, Irp, QueryInterface, invalidate_bus_relations, mj, mn,
    relations, wide_string,
};
use kexec::{Passive, Result, Status, info};

use super::driver::Extension;
use super::fdo::Fdo;
use super::{lower, tables};
use crate::pdo as identity;

/// FILE_DEVICE_UNKNOWN.
const FILE_DEVICE_UNKNOWN: u32 = 0x22;

const PRESENT: u8 = 0;
const REPORTED: u8 = 1;
const STARTED: u8 = 2;
const DELETED: u8 = 3;

/// PowerDeviceD0 and PowerDeviceD3.
const D0: i32 = 1;
const D3: i32 = 4;
/// Bits of DEVICE_CAPABILITIES: DeviceD1, DeviceD2, LockSupported, DockDevice, RawDeviceOK, HardwareDisabled, NoDisplayInUI cleared.
const CLEARED: u32 = 1 | 1 << 1 | 1 << 2 | 1 << 5 | 1 << 8 | 1 << 14 | 1 << 17;
const EJECT_SUPPORTED: u32 = 1 << 3;
const REMOVABLE: u32 = 1 << 4;
const UNIQUE_ID: u32 = 1 << 6;
const SILENT_INSTALL: u32 = 1 << 7;
const SURPRISE_REMOVAL_OK: u32 = 1 << 9;

/// PNP_BUS_INFORMATION.
#[repr(C)]
#[derive(Clone, Copy)]
struct BusInformation {
    guid: [u8; 16],
    legacy: u32,
    number: u32,
}
/// GUID_BUS_TYPE_INTERNAL {1530EA73-086B-11D1-A09F-00C04FC340B1}.
const BUS_TYPE_INTERNAL: [u8; 16] =
    xenbus_interface::Guid::from_u128(0x1530_EA73_086B_11D1_A09F_00C0_4FC3_40B1).to_bytes();

/// Name of a class; inline, because an extension is never dropped.
type Class = heapless::String<64>;

pub(super) struct Pdo {
    parent: SpinLock<Option<DeviceRef>>,
    fdo: Device<Extension>,
    /// The context of the store tables that the child has.
    caller: tables::Caller,
    device_id: u16,
    class: Class,
    state: AtomicU8,
    missing: AtomicBool,
    surprise_removed: AtomicBool,
    /// PnP has had an answer without this child, or its parent is gone.
    told: AtomicBool,
}

impl Pdo {
    /// Makes a child of `fdo`.
    pub(super) fn create(
        driver: Driver,
        fdo: Device<Extension>,
        device_id: u16,
        class: &str,
        passive: Passive,
    ) -> Result<Device<Extension>> {
        let device = Device::try_new(
            driver,
            FILE_DEVICE_UNKNOWN,
            true,
            passive,
            |_: Device<Extension>| {
                Ok(Extension::Pdo(Self {
                    parent: SpinLock::new(Some(fdo.as_ptr().reference())),
                    fdo,
                    caller: tables::Caller::new(fdo),
                    device_id,
                    class: Class::try_from(class).map_err(|_| Status::NAME_TOO_LONG)?,
                    state: AtomicU8::new(PRESENT),
                    missing: AtomicBool::new(false),
                    surprise_removed: AtomicBool::new(false),
                    told: AtomicBool::new(false),
                }))
            },
        )?;
        device.ready();
        Ok(device)
    }

    pub(super) fn class(&self) -> &str {
        self.class.as_str()
    }

    pub(super) fn is_missing(&self) -> bool {
        self.missing.load(Ordering::Acquire)
    }

    /// The class is gone from the store, or the parent is. Whether that is news.
    pub(super) fn mark_missing(&self) -> bool {
        !self.missing.swap(true, Ordering::AcqRel)
    }

    /// The PnP manager is about to hear of the child; `false` when it must not.
    pub(super) fn report(&self) -> bool {
        if self.is_missing() {
            // This answer leaves it out.
            self.told.store(true, Ordering::Release);
            return false;
        }
        let was =
            self.state
                .compare_exchange(PRESENT, REPORTED, Ordering::AcqRel, Ordering::Acquire);
        was != Err(DELETED)
    }

    /// The parent goes away: no answer will leave the child out any more.
    pub(super) fn parent_gone(&self) {
        self.mark_missing();
        self.told.store(true, Ordering::Release);
    }

    /// Takes a missing child that PnP never heard of; the caller deletes the object.
    pub(super) fn reap(&self) -> bool {
        let reaped = self
            .state
            .compare_exchange(PRESENT, DELETED, Ordering::AcqRel, Ordering::Acquire)
            .is_ok();
        if reaped {
            self.release();
        }
        reaped
    }

    /// Takes the child when its parent is removed, unless a REMOVE_DEVICE of its own is still to come.
    pub(super) fn retire(&self) -> bool {
        if self.surprise_removed.load(Ordering::Acquire) {
            return false;
        }
        let mine = self.state.swap(DELETED, Ordering::AcqRel) != DELETED;
        if mine {
            self.release();
        }
        mine
    }

    /// Gives up a child that nobody has seen.
    pub(super) fn abandon(&self) {
        self.state.store(DELETED, Ordering::Release);
        self.release();
    }

    /// Gives back what must not stay in an extension, which is never dropped.
    fn release(&self) {
        let parent = self.parent.lock().take();
        drop(parent);
    }

    pub(super) fn dispatch(&self, device: Device<Extension>, irp: Irp) -> i32 {
        if self.state.load(Ordering::Acquire) == DELETED {
            let removal = irp.major() == mj::PNP
                && matches!(irp.minor(), mn::REMOVE_DEVICE | mn::SURPRISE_REMOVAL);
            return irp.complete_with(if removal {
                0
            } else {
                Status::NO_SUCH_DEVICE.raw()
            });
        }
        match irp.major() {
            mj::PNP => self.pnp(device, irp),
            mj::POWER => {
                let set = irp.minor() == mn::SET_POWER;
                if set {
                    irp.complete_with(0)
                } else {
                    irp.complete()
                }
            }
            // Nothing of ours opens.
            mj::CREATE => irp.complete_with(Status::ACCESS_DENIED.raw()),
            _ => irp.complete(),
        }
    }

    fn pnp(&self, device: Device<Extension>, mut irp: Irp) -> i32 {
        let passive = Passive::assert();
        match irp.minor() {
            mn::START_DEVICE => {
                self.state.store(STARTED, Ordering::Release);
                irp.complete_with(0)
            }
            mn::STOP_DEVICE => {
                self.state.store(REPORTED, Ordering::Release);
                irp.complete_with(0)
            }
            mn::QUERY_STOP_DEVICE
            | mn::CANCEL_STOP_DEVICE
            | mn::QUERY_REMOVE_DEVICE
            | mn::CANCEL_REMOVE_DEVICE => irp.complete_with(0),
            mn::SURPRISE_REMOVAL => {
                self.surprise_removed.store(true, Ordering::Release);
                irp.complete_with(0)
            }
            mn::REMOVE_DEVICE => self.remove(device, irp, passive),
            mn::QUERY_DEVICE_RELATIONS => {
                /// TargetDeviceRelation.
                const TARGET: usize = 4;
                if irp.parameters()[0] & 0xffff_ffff == TARGET {
                    irp.set_result(relations(&[device.as_ptr()]));
                }
                irp.complete()
            }
            mn::QUERY_INTERFACE => self.query_interface(irp),
            mn::QUERY_CAPABILITIES => {
                if let Some(mut capabilities) = Capabilities::of(&mut irp) {
                    let c = capabilities.get();
                    c.Bits = (c.Bits & !CLEARED)
                        | UNIQUE_ID
                        | SILENT_INSTALL
                        | REMOVABLE
                        | SURPRISE_REMOVAL_OK
                        | EJECT_SUPPORTED;
                    c.Address = u32::MAX;
                    c.UINumber = u32::MAX;
                    // PowerSystemWorking is D0; sleeping 3, hibernate and shutdown are D3; the others stay.
                    c.DeviceState[1] = D0;
                    c.DeviceState[4..7].fill(D3);
                    c.SystemWake = 0;
                    c.DeviceWake = 0;
                    (c.D1Latency, c.D2Latency, c.D3Latency) = (0, 0, 0);
                    irp.complete_with(0)
                } else {
                    irp.complete_with(Status::INVALID_PARAMETER.raw())
                }
            }
            mn::QUERY_ID => {
                if let Some(answer) = self.id(irp.parameters()[0] & 0xffff_ffff) {
                    irp.set_result(answer);
                }
                irp.complete()
            }
            mn::QUERY_DEVICE_TEXT => {
                let class = core::iter::once(self.class());
                match irp.parameters()[0] & 0xffff_ffff {
                    0 => {
                        let text = identity::description(self.device_id, self.class());
                        irp.set_result(
                            text.and_then(|text| {
                                wide_string(core::iter::once(text.as_str()), false)
                            }),
                        );
                    }
                    1 => irp.set_result(wide_string(class, false)),
                    _ => {}
                }
                irp.complete()
            }
            mn::QUERY_BUS_INFORMATION => {
                /// InterfaceType Internal.
                const INTERNAL: u32 = 0;
                let information = BusInformation {
                    guid: BUS_TYPE_INTERNAL,
                    legacy: INTERNAL,
                    number: 0,
                };
                irp.set_result(kexec::nt::wdm::hand_over(information));
                irp.complete()
            }
            mn::EJECT => {
                self.mark_missing();
                if let Extension::Fdo(fdo) = self.fdo.state() {
                    invalidate_bus_relations(fdo.pdo());
                }
                irp.complete_with(0)
            }
            _ => irp.complete(),
        }
    }

    fn id(&self, kind: usize) -> Option<Result<usize>> {
        let list = |ids: Result<identity::IdList>| {
            ids.and_then(|ids| wide_string(ids.iter().map(|id| id.as_str()), true))
        };
        Some(match kind {
            BUS_QUERY_DEVICE_ID => identity::device_id(self.class())
                .and_then(|id| wide_string(core::iter::once(id.as_str()), false)),
            BUS_QUERY_INSTANCE_ID => wide_string(core::iter::once(identity::INSTANCE_ID), false),
            BUS_QUERY_HARDWARE_IDS | BUS_QUERY_COMPATIBLE_IDS => {
                list(identity::hardware_ids(self.device_id, self.class()))
            }
            _ => return None,
        })
    }

    fn remove(&self, device: Device<Extension>, irp: Irp, passive: Passive) -> i32 {
        // PnP still lists it until an answer has left it out.
        if !(self.is_missing() && self.told.load(Ordering::Acquire)) {
            self.surprise_removed.store(false, Ordering::Release);
            self.state.store(REPORTED, Ordering::Release);
            return irp.complete_with(0);
        }
        let mine = self.state.swap(DELETED, Ordering::AcqRel) != DELETED;
        if mine {
            if let Extension::Fdo(fdo) = self.fdo.state() {
                fdo.forget_child(device);
            }
            info!("xenbus: child {} removed", self.class());
        }
        let status = irp.complete_with(0);
        if mine {
            self.release();
            device.delete(passive);
        }
        status
    }

    fn query_interface(&self, mut irp: Irp) -> i32 {
        // Somebody above has decided already.
        if irp.status() != Status::NOT_SUPPORTED.raw() {
            return irp.complete();
        }
        let (Some(query), Extension::Fdo(fdo)) = (QueryInterface::of(&irp), self.fdo.state())
        else {
            return irp.complete();
        };
        let answer = if query.guid() == lower::GUID {
            self.bus_interface(fdo, &query)
        } else {
            tables::answer(fdo, &self.caller, &query)
        };
        match answer {
            Ok(()) => irp.set(0, 0),
            Err(status) => irp.set(status.raw(), irp.information()),
        }
        irp.complete()
    }

    /// The children see the platform function's configuration space.
    fn bus_interface(&self, fdo: &Fdo, query: &QueryInterface) -> Result {
        if query.version != 1 {
            return Err(Status::NOT_SUPPORTED);
        }
        if usize::from(query.size) < size_of::<lower::BusInterface>() {
            return Err(Status::BUFFER_TOO_SMALL);
        }
        query.answer(fdo.share_interface()?)
    }
}
