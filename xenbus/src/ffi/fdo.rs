// SPDX-License-Identifier: BSD-2-Clause
//! The function device object: on top of the Xen platform PCI function, parent of the children.
//!
//! ```text
//!   Added --1--> Started --2--> Stopped --1--> ...
//!     |             |              |
//!     +------3------+------3-------+----> (removed)
//! ```
//! 1 START_DEVICE: lower drivers first, then [`Bus::start`]. 2 STOP_DEVICE: [`Bus::stop`], then the lower drivers. 3 REMOVE_DEVICE:
//! children, bus, lower drivers, the object. A surprise removal changes nothing here: REMOVE_DEVICE follows.
//!
//! The address of [`Fdo`] is the context of every interface table: it lives as long as the device object, which every child
//! holds a reference to. Everything that belongs to one start is behind [`Fdo::bus`].

use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use kexec::nt::sys::DEVICE_OBJECT;

use kexec::nt::wdm::{
    BUS_QUERY_DEVICE_ID, BUS_QUERY_INSTANCE_ID, Capabilities, Device, DevicePtr, Driver, Irp,
    RemoveLock, Requirement, ResourceList, extend_requirements, merge_relations, mj, mn, query_id,
    query_text,
};
use kexec::nt::{Arc, Key, SpinLock, Vec, WStr, WString, cpu};
use kexec::sync::Mutex;
use kexec::{Duration, Passive, Result, Status, error, info, warn};

use super::TAG;
use super::bus::{Bus, Line};
use super::driver::{self, Extension};
use super::gate::Gate;
use super::lower::Lower;
use super::pdo::Pdo;
use super::tables::References;

/// FILE_DEVICE_BUS_EXTENDER.
const FILE_DEVICE_BUS_EXTENDER: u32 = 0x2a;
/// PCI vendor id of XenSource.
const VENDOR_XEN: u16 = 0x5853;
/// PNP_DEVICE_NOT_DISABLEABLE.
const NOT_DISABLEABLE: usize = 0x20;
/// Removable, of DEVICE_CAPABILITIES.
const REMOVABLE: u32 = 1 << 4;

/// Milliseconds that a stop waits for calls of children to return.
const STRAGGLERS: u32 = 10_000;

/// Path of our service key, from DriverEntry.
static SERVICE_KEY: SpinLock<Option<WString>> = SpinLock::new(None);

pub(super) fn remember_service_key(path: WString) {
    *SERVICE_KEY.lock() = Some(path);
}

pub(super) fn forget_service_key() {
    let old = SERVICE_KEY.lock().take();
    drop(old);
}

/// The path of the driver's Parameters key.
///
/// # Errors
/// Out of memory.
pub(super) fn parameters_path() -> Result<WString> {
    let name = kexec::wstr!("\\Parameters");
    let service = {
        let guard = SERVICE_KEY.lock();
        let path = guard.as_ref().ok_or(Status::INVALID_DEVICE_STATE)?;
        WString::try_from_units(TAG, path.units())?
    };
    let mut path = Vec::new(TAG);
    for unit in service.units().iter().chain(name.units()) {
        path.try_push(*unit)?;
    }
    WString::try_from_units(TAG, &path)
}

/// The driver's Parameters key.
///
/// # Errors
/// Of the registry.
pub(super) fn parameters(passive: Passive) -> Result<Key> {
    Key::open(passive, parameters_path()?.as_wstr())
}

pub(super) struct Fdo {
    pdo: DevicePtr,
    /// The device below; null until attached.
    lower: AtomicPtr<DEVICE_OBJECT>,
    remove: RemoveLock,
    /// Cleared with the device.
    interface: SpinLock<Option<Lower>>,
    active: bool,
    device_id: u16,
    started: AtomicBool,
    bus: SpinLock<Option<Arc<Bus>>>,
    gate: Gate,
    children: SpinLock<Vec<Device<Extension>>>,
    /// Paging, hibernation and dump files on our children.
    usage: AtomicU32,
    references: References,
    /// One unplug request at a time.
    unplug: Mutex<()>,
}

impl Fdo {
    /// Makes a device on top of `pdo`.
    pub(super) fn add(driver: Driver, pdo: DevicePtr, passive: Passive) -> Result {
        let device = Device::try_new(driver, FILE_DEVICE_BUS_EXTENDER, false, passive, |_| {
            let below = pdo.top();
            let interface = Lower::ask(below.as_ptr(), passive)?;
            let (vendor, device_id) = interface.ids()?;
            if vendor != VENDOR_XEN {
                return Err(Status::NOT_SUPPORTED);
            }
            let active = claim(below.as_ptr(), passive)?;
            drop(below);
            Ok(Extension::Fdo(Self {
                pdo,
                lower: AtomicPtr::new(ptr::null_mut()),
                remove: RemoveLock::new(),
                interface: SpinLock::new(Some(interface)),
                active,
                device_id,
                started: AtomicBool::new(false),
                bus: SpinLock::new(None),
                gate: Gate::default(),
                children: SpinLock::new(Vec::new(TAG)),
                usage: AtomicU32::new(0),
                references: References::default(),
                unplug: Mutex::new(()),
            }))
        })?;
        let Extension::Fdo(fdo) = device.state() else {
            return Err(Status::UNSUCCESSFUL);
        };
        // SAFETY: the extension stays where it is for the life of the object; it is in no stack yet, so nobody uses it.
        unsafe { fdo.remove.init(TAG.0, passive) };
        // Last: a request may come as soon as the device is in the stack.
        match device.attach(pdo, passive) {
            Ok(lower) => fdo.lower.store(lower.as_raw(), Ordering::Release),
            Err(status) => {
                let interface = fdo.interface.lock().take();
                drop(interface);
                device.delete(passive);
                return Err(status);
            }
        }
        info!(
            "xenbus: {} on 5853:{:04x}",
            if fdo.active { "active" } else { "inactive" },
            fdo.device_id
        );
        device.ready();
        Ok(())
    }

    /// What exists since the last start.
    ///
    /// # Errors
    /// `STATUS_DEVICE_NOT_READY` while the device is not started.
    pub(super) fn bus(&self) -> Result<Arc<Bus>> {
        self.bus.lock().clone().ok_or(Status::DEVICE_NOT_READY)
    }

    /// The same at any IRQL.
    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Held while a request to unplug is counted.
    pub(super) fn unplug(&self) -> &Mutex<()> {
        &self.unplug
    }

    /// What children hold.
    pub(super) fn references(&self) -> &References {
        &self.references
    }

    /// The PCI interface, for a child.
    pub(super) fn share_interface(&self) -> Result<super::lower::BusInterface> {
        // The provider's reference routine only counts.
        self.interface
            .lock()
            .as_ref()
            .map(Lower::share)
            .ok_or(Status::NOT_SUPPORTED)
    }

    /// The device below, once attached.
    fn lower(&self) -> Option<DevicePtr> {
        // SAFETY: what attaching returned; it stays while we are attached, and the remove lock keeps requests out afterwards.
        unsafe { DevicePtr::from_raw(self.lower.load(Ordering::Acquire)) }
    }

    pub(super) fn dispatch(&self, device: Device<Extension>, irp: Irp) -> i32 {
        let Some(lower) = self.lower() else {
            // In the stack, but AddDevice has not returned.
            return irp.complete_with(Status::DEVICE_NOT_READY.raw());
        };
        let Ok(guard) = self.remove.acquire() else {
            // Between the mark and the object's end: a second removal is agreed to, everything else refused.
            let removal = irp.major() == mj::PNP
                && matches!(irp.minor(), mn::REMOVE_DEVICE | mn::SURPRISE_REMOVAL);
            return irp.complete_with(if removal {
                0
            } else {
                Status::NO_SUCH_DEVICE.raw()
            });
        };
        match irp.major() {
            mj::PNP if irp.minor() == mn::REMOVE_DEVICE => {
                let passive = Passive::assert();
                self.stop(passive);
                // Nobody makes children any more.
                self.remove_children(passive);
                self.remove.release_and_wait(guard, passive);
                let interface = self.interface.lock().take();
                // Before the request goes down: the PCI device may be gone when it comes back.
                drop(interface);
                let children = core::mem::replace(&mut *self.children.lock(), Vec::new(TAG));
                drop(children);
                let mut irp = irp;
                irp.set(0, irp.information());
                let status = irp.skip_to(lower);
                device.detach(lower, passive);
                device.delete(passive);
                info!("xenbus: device removed");
                status
            }
            mj::PNP => {
                let status = self.pnp(device, irp, lower);
                drop(guard);
                status
            }
            // Nothing of ours opens.
            mj::CREATE => irp.complete_with(Status::ACCESS_DENIED.raw()),
            _ => {
                let status = irp.skip_to(lower);
                drop(guard);
                status
            }
        }
    }

    fn pnp(&self, device: Device<Extension>, mut irp: Irp, lower: DevicePtr) -> i32 {
        let passive = Passive::assert();
        match irp.minor() {
            mn::START_DEVICE => {
                let lines = match self.before_start(&irp) {
                    Ok(lines) => lines,
                    Err(status) => return irp.complete_with(status.raw()),
                };
                let mut irp = irp.forward_and_wait(lower, passive);
                if Status::check(irp.status()).is_ok() {
                    if let Err(status) = self.start(device, &lines, passive) {
                        error!("xenbus: not started, {status}");
                        irp.set(status.raw(), 0);
                    }
                }
                irp.complete()
            }
            mn::STOP_DEVICE => {
                self.stop(passive);
                irp.set(0, irp.information());
                irp.skip_to(lower)
            }
            mn::QUERY_STOP_DEVICE
            | mn::CANCEL_STOP_DEVICE
            | mn::QUERY_REMOVE_DEVICE
            | mn::CANCEL_REMOVE_DEVICE
            | mn::SURPRISE_REMOVAL => {
                if irp.minor() == mn::SURPRISE_REMOVAL {
                    self.each_child(|_, pdo| pdo.parent_gone());
                }
                irp.set(0, irp.information());
                irp.skip_to(lower)
            }
            mn::FILTER_RESOURCE_REQUIREMENTS if self.active => {
                self.filter_requirements(irp, lower, passive)
            }
            mn::QUERY_DEVICE_RELATIONS if irp.parameters()[0] & 0xffff_ffff == 0 => {
                self.bus_relations(irp, lower, passive)
            }
            mn::QUERY_CAPABILITIES => {
                let mut irp = irp.forward_and_wait(lower, passive);
                if let Some(mut capabilities) = Capabilities::of(&mut irp) {
                    capabilities.get().Bits &= !REMOVABLE;
                }
                irp.complete()
            }
            mn::DEVICE_USAGE_NOTIFICATION => {
                let [in_path, ..] = irp.parameters();
                if in_path & 0xff != 0 {
                    self.usage.fetch_add(1, Ordering::Relaxed);
                } else {
                    // Unbalanced notifications happen; one at zero is ignored.
                    let _ = self
                        .usage
                        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
                }
                irp.skip_to(lower)
            }
            mn::QUERY_PNP_DEVICE_STATE => {
                if self.usage.load(Ordering::Relaxed) != 0 {
                    irp.set(0, irp.information() | NOT_DISABLEABLE);
                }
                irp.skip_to(lower)
            }
            _ => irp.skip_to(lower),
        }
    }

    /// Reads the interrupts out of the lists and hides the messages from the PCI driver.
    fn before_start(&self, irp: &Irp) -> Result<Vec<Line>> {
        let mut lines = Vec::new(TAG);
        let Some((raw, translated)) = ResourceList::of(irp)? else {
            return Ok(lines);
        };
        for (raw, translated) in raw.iter().zip(translated.iter()) {
            if let Some(line) = Line::of(raw, translated) {
                lines.try_push(line)?;
            }
        }
        raw.hide_messages();
        translated.hide_messages();
        Ok(lines)
    }

    fn start(&self, device: Device<Extension>, lines: &[Line], passive: Passive) -> Result {
        if self.active && !self.started.load(Ordering::Relaxed) {
            let bus = Bus::start(device, self.pdo, lines, passive)?;
            self.gate.open(&bus);
            *self.bus.lock() = Some(bus.clone());
            self.started.store(true, Ordering::Relaxed);
            // Enumeration may create children from now on: `bus` is in place.
            bus.enumerate(device, passive)?;
        }
        Ok(())
    }

    fn stop(&self, passive: Passive) {
        if !self.started.swap(false, Ordering::Relaxed) {
            return;
        }
        self.references.report();
        let bus = self.bus.lock().take();
        self.gate.close(passive);
        if let Some(bus) = bus {
            bus.stop(passive);
            // Calls of children that are still inside fail soon; the last reference must go here, at PASSIVE_LEVEL.
            let mut left = STRAGGLERS;
            while Arc::count(&bus) > 1 && left > 0 {
                kexec::nt::delay(passive, Duration::from_millis(1));
                left -= 1;
            }
            if left == 0 {
                error!("xenbus: a child does not return, what it uses is leaked");
                core::mem::forget(bus);
            }
        }
    }

    fn filter_requirements(&self, irp: Irp, lower: DevicePtr, passive: Passive) -> i32 {
        let mut irp = irp.forward_and_wait(lower, passive);
        if Status::check(irp.status()).is_err() {
            return irp.complete();
        }
        let wanted = (0..cpu::count()).map(|index| {
            let (group, number) = cpu::number(index).unwrap_or((0, 0));
            Requirement { group, number }
        });
        // SAFETY: on success the information is the requirements list that the request hands over.
        match unsafe { extend_requirements(irp.information(), wanted) } {
            Ok(list) => irp.set(irp.status(), list),
            Err(Status::NOT_SUPPORTED) => {}
            Err(status) => warn!("xenbus: no interrupt for each processor, {status}"),
        }
        irp.complete()
    }

    /// Our children, in the order in which they were found, behind those that a driver above has reported.
    fn bus_relations(&self, mut irp: Irp, lower: DevicePtr, passive: Passive) -> i32 {
        if let Ok(bus) = self.bus() {
            if !matches!(
                kexec::block_on(passive, bus.scanned(Duration::from_secs(10))),
                Ok(Ok(()))
            ) {
                warn!("xenbus: the store has not been read yet, no children reported");
            }
        }
        let from_above = if Status::check(irp.status()).is_ok() {
            irp.information()
        } else {
            0
        };
        let list = (|| {
            let mut objects = Vec::new(TAG);
            // Locked until `merge_relations` has referenced them.
            let children = self.children.lock();
            for child in &*children {
                if let Extension::Pdo(pdo) = child.state()
                    && pdo.report()
                {
                    objects.try_push(child.as_ptr())?;
                }
            }
            // SAFETY: what a driver above has put into the request, if anything.
            unsafe { merge_relations(from_above, &objects) }
        })();
        match list {
            Ok(list) => irp.set(0, list),
            Err(status) => return irp.complete_with(status.raw()),
        }
        irp.forward_and_wait(lower, passive).complete()
    }

    /// Calls `f` for every child with the list locked, at DISPATCH_LEVEL: whoever deletes a child takes it off the list first.
    pub(super) fn each_child(&self, mut f: impl FnMut(Device<Extension>, &Pdo)) {
        for child in &*self.children.lock() {
            if let Extension::Pdo(pdo) = child.state() {
                f(*child, pdo);
            }
        }
    }

    /// The PDO that we are on.
    pub(super) fn pdo(&self) -> DevicePtr {
        self.pdo
    }

    /// Makes a child. Called by the enumeration, one call at a time, like [`Self::lose_child`].
    pub(super) fn add_child(
        &self,
        device: Device<Extension>,
        class: &str,
        passive: Passive,
    ) -> Result {
        let child = Pdo::create(driver::driver()?, device, self.device_id, class, passive)?;
        let pushed = self.children.lock().try_push(child);
        if let Err(status) = pushed {
            if let Extension::Pdo(pdo) = child.state() {
                pdo.abandon();
            }
            child.delete(passive);
            return Err(status);
        }
        info!("xenbus: child {class}");
        Ok(())
    }

    /// A child's class is gone from the store.
    pub(super) fn lose_child(&self, class: &str, passive: Passive) {
        let lost = self
            .children
            .lock()
            .iter()
            .find_map(|child| match child.state() {
                Extension::Pdo(pdo) if pdo.class() == class && pdo.mark_missing() => {
                    Some((*child, child.as_ptr().reference()))
                }
                _ => None,
            });
        let Some((child, _held)) = lost else { return };
        info!("xenbus: child {class} disappeared");
        if let Extension::Pdo(pdo) = child.state()
            && pdo.reap()
        {
            self.forget_child(child);
            child.delete(passive);
        }
    }

    /// Takes a child that is being deleted off the list.
    pub(super) fn forget_child(&self, child: Device<Extension>) {
        self.children
            .lock()
            .retain(|other| other.as_ptr() != child.as_ptr());
    }

    /// Deletes the children that the PnP manager is done with; one that was surprise-removed goes with its own REMOVE_DEVICE.
    fn remove_children(&self, passive: Passive) {
        loop {
            let (child, _held) = {
                let mut children = self.children.lock();
                let Some(child) = children.pop() else { return };
                (child, child.as_ptr().reference())
            };
            if let Extension::Pdo(pdo) = child.state() {
                pdo.parent_gone();
                if pdo.retire() {
                    child.delete(passive);
                }
            }
        }
    }
}

/// Whether the device below is the one that drives the bus: the one on record, or the first when none is.
fn claim(below: DevicePtr, passive: Passive) -> Result<bool> {
    let id = query_id(below, BUS_QUERY_DEVICE_ID, passive)?;
    let instance = query_id(below, BUS_QUERY_INSTANCE_ID, passive)?;
    let location = query_text(below, 1, passive)?;
    let key =
        kexec::wstr!(r"\Registry\Machine\SYSTEM\CurrentControlSet\Services\XENFILT\Parameters");
    let key = match Key::open_rw(passive, key) {
        Ok(key) => key,
        Err(status) => {
            warn!("xenbus: no XENFILT parameters, {status}");
            return Ok(false);
        }
    };
    let own = WStr::new(id.units());
    let recorded = key.query_sz(TAG, kexec::wstr!("ActiveDeviceID"));
    if let Ok(recorded) = &recorded {
        if !recorded.as_wstr().eq_ignore_ascii_case(own) {
            return Ok(false);
        }
    }
    let fill = |name, text: &[u16], always: bool| {
        if always || key.query_sz(TAG, name).is_err() {
            key.set_sz(TAG, name, WStr::new(text))
        } else {
            Ok(())
        }
    };
    // An older installation has recorded less: what is missing is filled in, what is there stays.
    let claimed = recorded.is_err();
    if claimed {
        fill(kexec::wstr!("ActiveDeviceID"), own.units(), true)?;
    }
    fill(kexec::wstr!("ActiveInstanceID"), instance.units(), claimed)?;
    fill(
        kexec::wstr!("ActiveLocationInformation"),
        location.units(),
        claimed,
    )?;
    Ok(true)
}
