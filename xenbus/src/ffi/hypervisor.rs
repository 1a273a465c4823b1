// SPDX-License-Identifier: BSD-2-Clause
//! The real side of the event channels' seam: hypercalls through xen.sys, the shared info page, interrupts and DPCs.
//!
//! [`Wires`] are the interrupts and DPCs. Their routines find the service through a [`Link`], which is cut before the service goes:
//! after [`Link::cut`], `Evtchn::disable` (which takes every interrupt lock) and a flush of the DPCs nobody is inside.

use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use kexec::nt::wdm::{DevicePtr, Resource};
use kexec::nt::{Arc, Dpc, Interrupt, InterruptConfig, Pages, Vec, cpu};
use kexec::{Passive, Result, Status, info, warn};
use xenbus_interface::xen;

use super::TAG;
use crate::evtchn::{EventPage, Evtchn, Hypervisor, Machine, SharedInfo, VcpuInfo};

/// vCPUs in the shared info page.
const LEGACY_VCPUS: u32 = 32;

/// An interrupt that the PnP manager assigned.
#[derive(Clone, Copy)]
pub(super) struct Line {
    config: (u32, u8, bool, u16, u64),
    shared: bool,
    /// Global system interrupt, for a line.
    gsi: Option<u32>,
}

impl Line {
    /// From the raw and the translated form of one resource.
    pub(super) fn of(raw: Resource, translated: Resource) -> Option<Self> {
        let Resource::Interrupt {
            message,
            latched,
            shared,
            level,
            group,
            vector,
            affinity,
        } = translated
        else {
            return None;
        };
        let gsi = match raw {
            Resource::Interrupt { vector, .. } if !message => Some(vector),
            _ => None,
        };
        Some(Self {
            config: (vector, level as u8, latched, group, affinity),
            shared,
            gsi,
        })
    }

    /// Index of the processor that it is delivered to: the highest of the mask.
    fn cpu(&self) -> Result<u32> {
        let (_, _, _, group, affinity) = self.config;
        let number = affinity.checked_ilog2().ok_or(Status::INVALID_PARAMETER)? as u8;
        (0..cpu::max_count())
            .find(|&index| cpu::number(index) == Ok((group, number)))
            .ok_or(Status::INVALID_PARAMETER)
    }
}

/// Where interrupt and DPC routines find the service.
pub(super) struct Link {
    service: AtomicPtr<Evtchn<Xen>>,
    interrupts: AtomicU32,
}

impl Link {
    /// Lets the routines find `service`, which outlives the link's cut.
    pub(super) fn tie(&self, service: &Arc<Evtchn<Xen>>) {
        self.service.store(
            core::ptr::from_ref::<Evtchn<Xen>>(service).cast_mut(),
            Ordering::Release,
        );
    }

    /// Routines that come later find nothing.
    pub(super) fn cut(&self) {
        self.service.store(core::ptr::null_mut(), Ordering::SeqCst);
    }

    fn service(&self) -> Option<&Evtchn<Xen>> {
        let service = self.service.load(Ordering::SeqCst);
        // SAFETY: NULL, or a service that is not freed before the link was cut and everybody inside has left (head of the file).
        unsafe { service.as_ref() }
    }
}

struct Connected {
    cpu: u32,
    vector: u8,
    irql: u8,
    gsi: Option<u32>,
    interrupt: Interrupt,
}

/// Interrupts and DPCs of one start. Freed at PASSIVE_LEVEL.
pub(super) struct Wires {
    link: Arc<Link>,
    connected: Vec<Connected>,
    dpcs: Vec<Option<Dpc>>,
}

impl Wires {
    /// Connects `lines` and makes a DPC for each processor.
    pub(super) fn connect(pdo: DevicePtr, lines: &[Line], passive: Passive) -> Result<Arc<Self>> {
        let link = Arc::try_new(
            TAG,
            Link {
                service: AtomicPtr::new(core::ptr::null_mut()),
                interrupts: AtomicU32::new(0),
            },
        )?;
        let mut wires = Self {
            link: link.clone(),
            connected: Vec::new(TAG),
            dpcs: Vec::new(TAG),
        };
        for line in lines {
            let cpu = line.cpu()?;
            let (vector, irql, latched, group, affinity) = line.config;
            let config = InterruptConfig {
                pdo,
                vector,
                irql,
                latched,
                shared: line.shared,
                group,
                affinity: affinity as usize,
            };
            let link = link.clone();
            let serve = move || {
                link.interrupts.fetch_add(1, Ordering::Relaxed);
                link.service().is_some_and(|service| service.isr(cpu))
            };
            let interrupt = Interrupt::connect(TAG, passive, config, serve)?;
            wires.connected.try_push(Connected {
                cpu,
                vector: vector as u8,
                irql,
                gsi: line.gsi,
                interrupt,
            })?;
        }
        for index in 0..cpu::max_count() {
            let link = link.clone();
            let run = move || {
                if let Some(service) = link.service() {
                    service.dpc(index);
                }
            };
            let there = index < cpu::count();
            wires.dpcs.try_push(if there {
                Some(Dpc::try_new(TAG, Some(index), run)?)
            } else {
                None
            })?;
        }
        Arc::try_new(TAG, wires)
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Disconnects every interrupt; their locks may still be taken.
    pub(super) fn disconnect(&self, passive: Passive) {
        for connected in &*self.connected {
            connected.interrupt.disconnect(passive);
        }
    }

    /// Interrupts taken since the start.
    pub(super) fn interrupts(&self) -> u32 {
        self.link.interrupts.load(Ordering::Relaxed)
    }

    /// The interrupts whose locks keep the routine of `cpu` out, the lower level first: its vector, and on processor 0 the line.
    fn of(&self, cpu: u32) -> (Option<&Connected>, Option<&Connected>) {
        let mut own = self.connected.iter().filter(|c| c.cpu == cpu);
        match (own.next(), own.next()) {
            (Some(first), Some(second)) if second.irql < first.irql => (Some(second), Some(first)),
            pair => pair,
        }
    }
}

/// A page of the guest whose frame Xen replaced by the shared info page.
struct SharedPage {
    /// `None` only at the end of the drop.
    pages: Option<Pages>,
    address: *const SharedInfo,
    frame: u64,
}

// SAFETY: the pointer is the page's, which belongs to the value; its contents are atomics.
unsafe impl Send for SharedPage {}
// SAFETY: as above.
unsafe impl Sync for SharedPage {}

impl SharedPage {
    fn map() -> Result<Self> {
        let pages = Pages::try_alloc(1)?;
        let frame = pages.frames()[0];
        // The frame's RAM goes back to Xen, so that the shared page can take its place.
        if xen::memory_decrease_reservation(0, &[frame])? != 1 {
            return Err(Status::NO_MEMORY);
        }
        let address = pages.shared().as_ptr().cast::<SharedInfo>().cast_const();
        let page = Self {
            pages: Some(pages),
            address,
            frame,
        };
        xen::memory_add_to_physmap(frame, xen::MAPSPACE_SHARED_INFO, 0)?;
        Ok(page)
    }

    fn get(&self) -> &SharedInfo {
        // SAFETY: a mapped page that holds the structure, all of whose fields are atomics; page aligned, unmapped with `self`.
        unsafe { &*self.address }
    }
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        let frame = self.frame;
        if let Err(status) = xen::memory_remove_from_physmap(frame) {
            warn!("shared_info: frame {frame:#x} stays mapped, {status}");
        }
        // Without RAM behind it the frame must not go back to the system.
        if xen::memory_populate_physmap(0, &[frame]) != Ok(1) {
            warn!("shared_info: frame {frame:#x} has no memory any more and is lost");
            core::mem::forget(self.pages.take());
        }
    }
}

/// Xen and the machine, as the event channel service sees them.
pub(super) struct Xen {
    shared: SharedPage,
    /// By processor index.
    vcpus: Vec<Option<u32>>,
    /// By processor index: event state outside of the shared page. Null: none.
    registered: Vec<AtomicPtr<VcpuInfo>>,
    wires: Arc<Wires>,
}

impl Xen {
    /// Maps the shared info page and learns the processors' vCPUs.
    pub(super) fn try_new(wires: Arc<Wires>) -> Result<Self> {
        let mut vcpus = Vec::new(TAG);
        let mut registered = Vec::new(TAG);
        for index in 0..cpu::max_count() {
            vcpus.try_push(xen::system_processor_vcpu_id(index).ok())?;
            let state = xen::system_processor_vcpu_info(index).unwrap_or_default();
            registered.try_push(AtomicPtr::new(state.cast::<VcpuInfo>()))?;
        }
        let shared = SharedPage::map()?;
        let elsewhere = registered
            .iter()
            .filter(|state| !state.load(Ordering::Relaxed).is_null());
        info!(
            "shared_info: mapped, {} processors, {} with event state elsewhere",
            vcpus.iter().flatten().count(),
            elsewhere.count()
        );
        Ok(Self {
            shared,
            vcpus,
            registered,
            wires,
        })
    }
}

impl Xen {
    /// After a suspend: the shared info page of the new domain, at the frame of the old one.
    ///
    /// # IRQL
    /// Any.
    pub(super) fn renew(&self) -> Result {
        xen::memory_add_to_physmap(self.shared.frame, xen::MAPSPACE_SHARED_INFO, 0)
    }
}

/// A page that the hypervisor writes event words to.
pub(super) struct Words(Pages);

impl EventPage for Words {
    fn gfn(&self) -> u64 {
        self.0.frames()[0]
    }

    fn words(&self) -> &[AtomicU32; 1024] {
        let words = self.0.shared().atomics_u32().first_chunk();
        // A page is 1024 words.
        words.unwrap_or_else(|| unreachable!("a page of events is too short"))
    }
}

impl Hypervisor for Xen {
    fn alloc_unbound(&self, remote_domain: u16) -> Result<u32> {
        xen::event_channel_allocate_unbound(remote_domain)
    }

    fn bind_interdomain(&self, remote_domain: u16, remote_port: u32) -> Result<u32> {
        xen::event_channel_bind_inter_domain(remote_domain, remote_port)
    }

    fn bind_virq(&self, virq: u32, vcpu: u32) -> Result<u32> {
        xen::event_channel_bind_virq(virq, vcpu)
    }

    fn bind_vcpu(&self, port: u32, vcpu: u32) -> Result {
        xen::event_channel_bind_virtual_cpu(port, vcpu)
    }

    fn close(&self, port: u32) -> Result {
        xen::event_channel_close(port)
    }

    fn send(&self, port: u32) -> Result {
        xen::event_channel_send(port)
    }

    fn unmask(&self, port: u32) -> Result {
        xen::event_channel_unmask(port)
    }

    fn query_interdomain(&self, port: u32) -> Result<(u16, u32)> {
        xen::event_channel_query_inter_domain(port)
    }

    fn reset(&self) -> Result {
        xen::event_channel_reset()
    }

    fn init_control(&self, gfn: u64, vcpu: u32) -> Result {
        xen::event_channel_init_control(gfn, vcpu)
    }

    fn expand_array(&self, gfn: u64) -> Result {
        xen::event_channel_expand_array(gfn)
    }

    fn set_upcall_vector(&self, vcpu: u32, vector: u8) -> Result {
        xen::hvm_set_evtchn_upcall_vector(vcpu, vector)
    }

    fn get_param(&self, index: u32) -> Result<u64> {
        xen::hvm_get_param(index)
    }

    fn set_param(&self, index: u32, value: u64) -> Result {
        xen::hvm_set_param(index, value)
    }

    fn shared_info(&self) -> &SharedInfo {
        self.shared.get()
    }

    fn vcpu_id(&self, cpu: u32) -> Result<u32> {
        self.vcpus
            .get(cpu as usize)
            .copied()
            .flatten()
            .ok_or(Status::NOT_SUPPORTED)
    }

    fn vcpu_info(&self, cpu: u32) -> Option<&VcpuInfo> {
        let vcpu = self.vcpu_id(cpu).ok()?;
        let registered = self.registered.get(cpu as usize)?.load(Ordering::Relaxed);
        // SAFETY: NULL, or 64 bytes of a page that xen.sys keeps for good, aligned to their size; all fields are atomics.
        let registered = unsafe { registered.as_ref() };
        // Xen writes to one of the two only.
        registered.or_else(|| {
            let legacy = (vcpu < LEGACY_VCPUS).then_some(vcpu as usize)?;
            self.shared.get().vcpu.get(legacy)
        })
    }
}

impl Machine for Xen {
    type Page = Words;

    fn max_cpus(&self) -> u32 {
        self.vcpus.len() as u32
    }

    fn current_cpu(&self) -> u32 {
        cpu::current()
    }

    fn alloc_page(&self) -> Result<Words> {
        let page = Words(Pages::try_alloc(1)?);
        for word in page.words() {
            word.store(0, Ordering::Relaxed);
        }
        Ok(page)
    }

    fn vector(&self, cpu: u32) -> Option<u8> {
        self.wires
            .connected
            .iter()
            .find(|c| c.cpu == cpu && c.gsi.is_none())
            .map(|c| c.vector)
    }

    fn line(&self) -> Option<u32> {
        self.wires
            .connected
            .iter()
            .find(|c| c.cpu == 0)
            .and_then(|_| self.wires.connected.iter().find_map(|c| c.gsi))
    }

    fn with_interrupt_lock(&self, cpu: u32, f: &mut dyn FnMut()) {
        // Without an interrupt there is no routine to keep out; callers of this processor are kept apart by its poll flag.
        let (low, high) = self.wires.of(cpu);
        let _low = low.map(|connected| connected.interrupt.lock());
        let _high = high.map(|connected| connected.interrupt.lock());
        f();
    }

    fn queue_dpc(&self, cpu: u32) {
        if let Some(Some(dpc)) = self.wires.dpcs.get(cpu as usize) {
            dpc.queue();
        }
    }

    fn call(&self, routine: usize, context: usize) -> bool {
        /// PKSERVICE_ROUTINE.
        type Routine = unsafe extern "C" fn(*mut core::ffi::c_void, usize) -> u8;
        // SAFETY: the number was made of such a pointer when the channel was opened with it.
        let routine = unsafe { core::mem::transmute::<usize, Routine>(routine) };
        // SAFETY: the contract of the channel's owner: callable at device IRQL until the channel is closed.
        unsafe { routine(core::ptr::null_mut(), context) != 0 }
    }
}
