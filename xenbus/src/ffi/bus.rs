// SPDX-License-Identifier: BSD-2-Clause
//! What exists between START_DEVICE and STOP_DEVICE: interrupts, event channels, the store connection, enumeration.
//!
//! | executor | tasks | may be driven inline |
//! |---|---|---|
//! | `ring`, DPC | the store task, and nothing that calls foreign code | yes |
//! | `work`, a work item of the FDO | enumeration, which makes device objects | no |
//!
//! Callbacks of the async store table are made by a DPC of the store's. [`Bus::stop`] undoes [`Bus::start`] in reverse: enumeration,
//! then the store with whatever is still outstanding, then event channels, interrupts.

use kexec::nt::wdm::{Device, DevicePtr, invalidate_bus_relations};
use kexec::nt::{Arc, Key, SpinLock, Tag, flush_dpcs};
use kexec::sync::{Event, Reset, SetOnce};
use kexec::{
    DpcExecutor, Duration, Elapsed, JoinHandle, Passive, PassiveExecutor, Result, Status, error,
    info, task, warn,
};
use xenbus_interface::gnttab::STORE_REFERENCE;

use xenbus_interface::xen::log_levels;

use super::TAG;
use super::console::{BusConsole, Served};
use super::debug::{BusDebug, Triggers};
use super::driver::Extension;
use super::fdo::{Fdo, parameters};
use super::grants::Grants;
pub(super) use super::hypervisor::Line;
use super::hypervisor::{Wires, Xen};
use super::page::Page;
use super::root::XenbusRoot;
use super::suspend::{Parts, Watcher};
use super::tables::Child;
use crate::cache::Caches;
use crate::enumerate::{self, Children, Policy as ScanPolicy};
use crate::evtchn::channel::Target;
use crate::evtchn::{Channel, Config, Evtchn, Hypervisor, Kind, Machine};
use crate::gnttab::Gnttab;
use crate::root::Address;
use crate::shared_info::Polls;
use crate::store::connection::{
    ChannelPort, Connection, GrantEntry, PARAM_STORE_EVTCHN, PARAM_STORE_PFN, event_port,
    page_frame,
};
use crate::store::wire::Path;
use crate::store::{Client, Policy};
use crate::suspend::Suspend;

/// Pool tag of the executors.
const EXECUTOR_TAG: Tag = Tag(*b"XBex");

/// See the module.
pub(super) struct Bus {
    wires: Arc<Wires>,
    evtchn: Arc<Evtchn<Xen>>,
    /// `None` when Xen has no grant table for us. Its frames go back to the system with the bus.
    grants: Option<Arc<Gnttab<Grants>>>,
    caches: Arc<Caches<Child>>,
    client: Client,
    ring: Arc<DpcExecutor>,
    work: Arc<PassiveExecutor>,
    polls: Polls,
    clock_is_local: bool,
    suspend: Arc<Suspend<Parts>>,
    watcher: SpinLock<Option<Watcher>>,
    connection: SpinLock<Option<Connection>>,
    /// Why there is none, else.
    console: Result<Served>,
    /// Why there is none, else.
    debug: Result<Arc<Triggers>>,
    enumeration: SpinLock<Option<JoinHandle<()>>>,
    scanned: Event,
}

impl Bus {
    /// Brings everything up. On failure nothing is left.
    pub(super) fn start(
        fdo: Device<Extension>,
        pdo: DevicePtr,
        lines: &[Line],
        passive: Passive,
    ) -> Result<Arc<Self>> {
        let key = parameters(passive)?;
        let flag = |name| key.query_dword(name).map_or(true, |value| value != 0);
        let config = Config {
            fifo: flag(kexec::wstr!("UseEvtchnFifoAbi")),
            upcall: flag(kexec::wstr!("UseEvtchnUpcall")),
        };
        let mut policy = Policy::default();
        if let Ok(ms) = key.query_dword(kexec::wstr!("StoreTimeoutMs")) {
            policy.timeout = (ms != 0).then(|| Duration::from_millis(u64::from(ms)));
        }

        let polls = Polls::try_new(kexec::nt::cpu::max_count())?;
        let wires = Wires::connect(pdo, lines, passive)?;
        let evtchn = Evtchn::try_new(Xen::try_new(wires.clone())?, config)?;
        let events = Events {
            wires: &wires,
            evtchn: &evtchn,
            passive,
        };
        wires.link().tie(&evtchn);
        evtchn.enable(config)?;
        let vectors = (0..kexec::nt::cpu::count())
            .filter(|&cpu| evtchn.has_upcall(cpu))
            .count();
        info!(
            "evtchn: {} abi, {vectors} of {} processors have a vector, line {}",
            evtchn.abi_name(),
            kexec::nt::cpu::count(),
            // 0: none.
            evtchn.host().line().unwrap_or(0)
        );

        let grants = Grants::try_new()
            .and_then(Gnttab::try_new)
            .inspect_err(|status| error!("gnttab: not available, {status}"))
            .ok();
        let caches = Arc::try_new(TAG, Caches::new())?;
        let ring = DpcExecutor::try_new(EXECUTOR_TAG, None)?;
        let started = start_store(&evtchn, grants.as_deref(), &ring, policy, passive);
        let connection = started.inspect_err(|_| {
            XenbusRoot.clear();
            ring.stop(passive);
        })?;
        let rest = (|| {
            let suspend = Suspend::try_new(Parts {
                evtchn: evtchn.clone(),
                config,
                client: connection.client().clone(),
                ring: ring.clone(),
                grants: grants.clone(),
                console: SetOnce::new(),
                debug: SetOnce::new(),
            })?;
            let work = PassiveExecutor::try_new_work_item(EXECUTOR_TAG, &fdo.as_ptr().reference())?;
            Ok((suspend, work))
        })();
        let (suspend, work) = match rest {
            Ok(rest) => rest,
            Err(status) => {
                XenbusRoot.clear();
                connection.stop(passive);
                ring.stop(passive);
                return Err(status);
            }
        };
        core::mem::forget(events);
        // A toolstack may give no console.
        let console = Served::start(&evtchn, &ring, console_levels(&key))
            .inspect_err(|status| info!("console: none, {status}"));
        let debug = Triggers::start(&evtchn, connection.client().shared(), &ring, &work)
            .and_then(|triggers| Arc::try_new(TAG, triggers))
            .inspect_err(|status| error!("debug: no service, {status}"));
        if let Ok(served) = &console {
            let _ = suspend.services().console.set(served.console().clone());
        }
        if let Ok(triggers) = &debug {
            let _ = suspend.services().debug.set(triggers.clone());
        }
        XenbusRoot.set_counters(connection.client().shared());
        XenbusRoot.set_events(&evtchn);
        XenbusRoot.set(Address::StoreExecutor, ring.core_address());
        XenbusRoot.set(Address::WorkExecutor, work.core_address());
        let bus = Self {
            wires,
            evtchn,
            grants,
            caches,
            client: connection.client().clone(),
            ring,
            work,
            polls,
            clock_is_local: clock_is_local(passive),
            suspend,
            watcher: SpinLock::new(None),
            connection: SpinLock::new(Some(connection)),
            console,
            debug,
            enumeration: SpinLock::new(None),
            scanned: Event::new(Reset::Manual, false),
        };
        Arc::try_new(TAG, bus)
    }

    /// Starts looking for children and listening to the toolstack; `fdo` has this bus already.
    pub(super) fn enumerate(&self, fdo: Device<Extension>, passive: Passive) -> Result {
        let prepared = Arc::try_new(TAG, Event::new(Reset::Manual, false))?;
        let watcher = Watcher::start(self.suspend.clone(), prepared.clone(), passive)?;
        *self.watcher.lock() = Some(watcher);
        let client = self.client();
        let owner = Owner(fdo);
        let handle = self.work.spawn(task!("enumerate"), async move {
            if let Err(status) = prepare(&client).await {
                warn!("store: watches of a predecessor not reset, {status}");
            }
            // Watches from here on stay.
            prepared.set();
            match enumerate::run(client, owner).await {
                Ok(()) | Err(Status::CANCELLED) => {}
                Err(status) => error!("enumerate: ended, {status}"),
            }
        })?;
        *self.enumeration.lock() = Some(handle);
        // Destructors of children run there, so not on an executor that may be driven inline.
        let (caches, timers) = (self.caches.clone(), self.work.clone());
        let upkeep = async move { caches.run(timers.timers()).await };
        self.work.spawn(task!("caches"), upkeep)?.detach();
        Ok(())
    }

    /// Takes everything down. Requests that are outstanding fail with a status; nothing waits for a daemon that is gone for longer
    /// than the policy's drain time.
    pub(super) fn stop(&self, passive: Passive) {
        XenbusRoot.clear();
        // First: nothing is stopped in the middle of a suspend.
        let watcher = self.watcher.lock().take();
        match watcher {
            Some(watcher) => watcher.stop(passive),
            None => self.suspend.stop(passive),
        }
        let enumeration = self.enumeration.lock().take();
        // Dropping the handle aborts the task; its watch unregisters itself.
        drop(enumeration);
        self.work.stop(passive);
        let connection = self.connection.lock().take();
        if let Some(connection) = connection {
            connection.stop(passive);
        }
        if let Ok(triggers) = &self.debug {
            triggers.stop();
        }
        if let Ok(served) = &self.console {
            served.stop();
        }
        self.ring.stop(passive);
        self.caches.end();
        // Ours and the suspend's are no clients.
        let clients = self
            .grants
            .as_ref()
            .map_or(0, |grants| Arc::count(grants).saturating_sub(2));
        if clients != 0 {
            error!("gnttab: {clients} caches outstanding at the stop, the table is leaked");
        }
        let stale = self.evtchn.channels();
        if stale != 0 {
            // Their ports are not theirs any more, and the last close may come at DISPATCH_LEVEL.
            error!("evtchn: {stale} channels outstanding at the stop, the service is leaked");
            self.evtchn.disown();
            core::mem::forget(self.evtchn.clone());
        }
        drop(Events {
            wires: &self.wires,
            evtchn: &self.evtchn,
            passive,
        });
        info!(
            "xenbus: stopped after {} interrupts",
            self.wires.interrupts()
        );
    }

    /// A client of the store.
    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// The event channels.
    pub(super) fn evtchn(&self) -> &Arc<Evtchn<Xen>> {
        &self.evtchn
    }

    /// The console.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn console(&self) -> Result<&Arc<BusConsole>> {
        self.console
            .as_ref()
            .map(Served::console)
            .map_err(|status| *status)
    }

    /// The debug service.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn debug(&self) -> Result<&Arc<BusDebug>> {
        self.debug
            .as_ref()
            .map(|triggers| triggers.debug())
            .map_err(|status| *status)
    }

    /// The grant table.
    ///
    /// # Errors
    /// `STATUS_DEVICE_NOT_READY`: there is none.
    pub(super) fn grants(&self) -> Result<&Arc<Gnttab<Grants>>> {
        self.grants.as_ref().ok_or(Status::DEVICE_NOT_READY)
    }

    /// The object caches of children.
    pub(super) fn caches(&self) -> &Caches<Child> {
        &self.caches
    }

    /// The suspend service.
    pub(super) fn suspend(&self) -> &Arc<Suspend<Parts>> {
        &self.suspend
    }

    /// What the SHARED_INFO interface remembers.
    pub(super) fn polls(&self) -> &Polls {
        &self.polls
    }

    /// Whether the emulated clock, and with it Xen's wall clock, holds local time.
    pub(super) fn clock_is_local(&self) -> bool {
        self.clock_is_local
    }

    /// The executor of the store task, for callers that drive it inline.
    pub(super) fn ring(&self) -> &DpcExecutor {
        &self.ring
    }

    /// Ready after the first scan of the store.
    pub(super) async fn scanned(&self, limit: Duration) -> core::result::Result<(), Elapsed> {
        self.work.timeout(limit, self.scanned.wait()).await
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        // Only when there was no memory for the bus itself: otherwise it was stopped before the last reference went.
        if self.connection.get_mut().is_some() {
            self.stop(Passive::assert());
        }
    }
}

/// Event delivery that ends when this is dropped.
struct Events<'a> {
    wires: &'a Wires,
    evtchn: &'a Evtchn<Xen>,
    passive: Passive,
}

impl Drop for Events<'_> {
    fn drop(&mut self) {
        self.evtchn.disable();
        self.wires.link().cut();
        // Again, for the lock of every interrupt: nobody found the service before the cut and is still inside. The flush says
        // the same of the DPCs.
        self.evtchn.disable();
        // Here, not by the drop: a service that outlives the stop keeps the wires.
        self.wires.disconnect(self.passive);
        flush_dpcs(self.passive);
        self.evtchn.release();
    }
}

fn start_store(
    evtchn: &Arc<Evtchn<Xen>>,
    grants: Option<&Gnttab<Grants>>,
    ring: &Arc<DpcExecutor>,
    policy: Policy,
    passive: Passive,
) -> Result<Connection> {
    let host = evtchn.host();
    let entry = grants.and_then(|grants| grants.query(STORE_REFERENCE).ok());
    let entry = entry.map(|entry| GrantEntry {
        flags: entry.flags,
        domain: entry.domain,
        frame: entry.frame,
    });
    let frame = page_frame(entry, host.get_param(PARAM_STORE_PFN))
        .inspect_err(|_| error!("store: the toolstack gave no page"))?;
    let port = event_port(host.get_param(PARAM_STORE_EVTCHN))
        .inspect_err(|_| error!("store: the toolstack gave no event channel"))?;
    let page = map_page(frame)?;
    let channel = Channel::open(evtchn, Kind::Fixed { port }, Target::Future, false)?;
    info!("store: page {frame:#x}, port {port}");
    let port = ChannelPort::new(page, channel).at(frame, map_page);
    Connection::start(ring, port, policy, passive)
}

/// Maps the store's page; again when a resume finds it elsewhere.
fn map_page(frame: u64) -> Result<Page> {
    let page = Page::map(frame)?;
    XenbusRoot.set_page(&page);
    Ok(page)
}

/// Levels of the log that go to the console: none unless `ConsoleLogLevel` names some.
fn console_levels(key: &Key) -> u32 {
    let Ok(names) = key.query_multi_sz(TAG, kexec::wstr!("ConsoleLogLevel")) else {
        return 0;
    };
    names.iter().fold(0, |mask, name| {
        let name = name.try_to_string(TAG);
        mask | name.map_or(0, |name| log_levels([name.as_str()].into_iter()))
    })
}

/// Windows keeps the clock in local time unless `RealTimeIsUniversal`, a DWORD or a QWORD, is there and not 0.
fn clock_is_local(passive: Passive) -> bool {
    let path = kexec::wstr!(
        "\\Registry\\Machine\\System\\CurrentControlSet\\Control\\TimeZoneInformation"
    );
    let value = Key::open(passive, path)
        .and_then(|key| key.query(TAG, kexec::wstr!("RealTimeIsUniversal")));
    !value.is_ok_and(|(_, bytes)| bytes.iter().any(|byte| *byte != 0))
}

/// Drops what an earlier life of this domain left at the daemon, where the toolstack says that it can.
async fn prepare(client: &Client) -> Result {
    let path = Path::plain(b"control/platform-feature-xs_reset_watches")?;
    match client.read(None, path).await {
        Ok(value) if &*value == b"1" => client.reset_watches().await,
        Ok(_) | Err(Status::OBJECT_NAME_NOT_FOUND) => Ok(()),
        Err(status) => Err(status),
    }
}

/// The FDO as the enumeration sees it.
struct Owner(Device<Extension>);

impl Owner {
    fn fdo(&self) -> Result<&Fdo> {
        match self.0.state() {
            Extension::Fdo(fdo) => Ok(fdo),
            Extension::Pdo(_) => Err(Status::INVALID_DEVICE_STATE),
        }
    }
}

impl Children for Owner {
    fn policy(&self) -> Result<ScanPolicy> {
        let key = parameters(Passive::assert())?;
        let mut policy = ScanPolicy::new();
        policy.enumerate = key
            .query_dword(kexec::wstr!("Enumerate"))
            .map_or(true, |value| value != 0);
        let list = |name| key.query_multi_sz(TAG, name);
        if let Ok(classes) = list(kexec::wstr!("SupportedClasses")) {
            for class in &*classes {
                policy.support(class.try_to_string(TAG)?.as_str())?;
            }
        }
        if let Ok(classes) = list(kexec::wstr!("SyntheticClasses")) {
            for class in &*classes {
                policy.synthesise(class.try_to_string(TAG)?.as_str())?;
            }
        }
        Ok(policy)
    }

    fn known(&self, f: &mut dyn FnMut(&str)) {
        if let Ok(fdo) = self.fdo() {
            fdo.each_child(|_, pdo| {
                if !pdo.is_missing() {
                    f(pdo.class());
                }
            });
        }
    }

    fn appeared(&self, class: &str) -> Result {
        self.fdo()?.add_child(self.0, class, Passive::assert())
    }

    fn disappeared(&self, class: &str) {
        if let Ok(fdo) = self.fdo() {
            fdo.lose_child(class, Passive::assert());
        }
    }

    fn changed(&self) {
        if let Ok(fdo) = self.fdo() {
            invalidate_bus_relations(fdo.pdo());
        }
    }

    fn scanned(&self) {
        if let Some(bus) = self.fdo().and_then(Fdo::bus).ok() {
            bus.scanned.set();
        }
    }
}
