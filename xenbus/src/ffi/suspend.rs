// SPDX-License-Identifier: BSD-2-Clause
//! The real side of a suspend: xen.sys below, the bus's services in their order, and the thread that listens to the toolstack.
//!
//! The thread waits for `control/shutdown` and suspends; children trigger in their own threads. [`Watcher::stop`] wakes and joins
//! it, then no suspend begins any more.

use core::ffi::c_void;
use core::pin::pin;

use kexec::nt::{Arc, Thread, delay, flush_dpcs};
use kexec::sync::{Either2, Event, Reset, SetOnce, select2};
use kexec::{DpcExecutor, Duration, Passive, Result, Status, block_on, error, info, warn};
use xenbus_interface::xen;

use super::TAG;
use super::console::BusConsole;
use super::debug::Triggers;
use super::grants::Grants;
use super::hypervisor::Xen;
use crate::console::PARAM_CONSOLE_EVTCHN;
use crate::evtchn::{Config, Evtchn, Hypervisor};
use crate::gnttab::Gnttab;
use crate::store::Client;
use crate::store::connection::{self, event_port};
use crate::suspend::control::{self, Wish};
use crate::suspend::{Outcome, Services, Suspend};

/// How long requests in flight may take before a suspend, and the feature key's removal at the end.
const DRAIN: Duration = Duration::from_secs(2);
/// Before listening again when the watch was lost.
const PAUSE: Duration = Duration::from_secs(30);

/// What has to find its way back.
pub(super) struct Parts {
    pub(super) evtchn: Arc<Evtchn<Xen>>,
    pub(super) config: Config,
    pub(super) client: Client,
    pub(super) ring: Arc<DpcExecutor>,
    pub(super) grants: Option<Arc<Gnttab<Grants>>>,
    /// Empty when the toolstack gave none.
    pub(super) console: SetOnce<Arc<BusConsole>>,
    /// Empty when there was no memory for the service.
    pub(super) debug: SetOnce<Arc<Triggers>>,
}

impl Services for Parts {
    fn prepare(&self, passive: Passive) {
        let shared = self.client.shared();
        shared.pause();
        let quiet = block_on(passive, self.ring.timeout(DRAIN, shared.quiet()));
        if !matches!(quiet, Ok(Ok(()))) {
            warn!("suspend: store requests are still in flight");
        }
    }

    fn suspend(&self) -> Result<Outcome> {
        match xen::sched_shutdown(xen::SHUTDOWN_SUSPEND) {
            Ok(()) => Ok(Outcome::Resumed),
            Err(Status::CANCELLED) => Ok(Outcome::Cancelled),
            Err(status) => Err(status),
        }
    }

    fn early_each(&self, cpu: u32) {
        // Registrations died with the old domain. Nothing where there are none.
        if let Err(status) = xen::system_register_vcpu_info(cpu, true) {
            error!("suspend: event state of cpu {cpu} not registered, {status}");
        }
    }

    fn early(&self) {
        // A new device model has its emulated devices again. Refused where there is none.
        let _ = xen::unplug_devices_again();
        self.evtchn.suspended();
        if let Err(status) = self.evtchn.host().renew() {
            error!("shared_info: not mapped again, {status}");
        }
        if let Some(grants) = &self.grants
            && let Err(status) = grants.suspended(self.evtchn.epoch())
        {
            error!("gnttab: not mapped again, {status}");
        }
        self.client.shared().suspended();
    }

    fn late(&self) {
        if let Err(status) = self.evtchn.resume(self.config) {
            error!("evtchn: not resumed, {status}");
        }
        info!("evtchn: {} abi again", self.evtchn.abi_name());
        if let Err(status) = connection::resume(&self.client, &self.ring) {
            error!("store: not resumed, {status}");
        }
        if let Some(debug) = self.debug.get()
            && let Err(status) = debug.resume(&self.evtchn)
        {
            warn!("debug: the toolstack is not heard, {status}");
        }
        if let Some(console) = self.console.get() {
            let port = event_port(self.evtchn.host().get_param(PARAM_CONSOLE_EVTCHN));
            if let Err(status) = port.and_then(|port| console.resume(&self.evtchn, port)) {
                warn!("console: not resumed, {status}");
            }
        }
    }

    fn finish(&self, _passive: Passive, _outcome: Result<Outcome>) {
        self.client.shared().unpause();
    }

    fn call(&self, function: usize, argument: usize) {
        /// XENBUS_SUSPEND_FUNCTION.
        type Function = unsafe extern "C" fn(*mut c_void);
        // SAFETY: the number was made of such a pointer when it was registered.
        let function = unsafe { core::mem::transmute::<usize, Function>(function) };
        // SAFETY: the contract of whoever registered it: callable in this phase until it is removed.
        unsafe { function(argument as *mut c_void) };
    }
}

/// The thread that listens.
pub(super) struct Watcher {
    stop: Arc<Event>,
    thread: Thread,
    service: Arc<Suspend<Parts>>,
}

impl Watcher {
    /// Starts the thread. It begins once `prepared` is set, when the watches of a predecessor have been reset: ours would be too.
    pub(super) fn start(
        service: Arc<Suspend<Parts>>,
        prepared: Arc<Event>,
        passive: Passive,
    ) -> Result<Self> {
        let stop = Arc::try_new(TAG, Event::new(Reset::Manual, false))?;
        let thread = {
            let (stop, service) = (stop.clone(), service.clone());
            Thread::spawn(TAG, passive, move |passive| {
                listen(&service, &prepared, &stop, passive);
            })?
        };
        Ok(Self {
            stop,
            thread,
            service,
        })
    }

    /// Ends the thread; no suspend begins once this has returned. Before the store's connection stops.
    pub(super) fn stop(self, passive: Passive) {
        self.stop.set();
        self.thread.join(passive);
        self.service.stop(passive);
    }
}

/// The thread.
fn listen(service: &Arc<Suspend<Parts>>, prepared: &Event, stop: &Event, passive: Passive) {
    let parts = service.services();
    let client = &parts.client;
    let begun = block_on(passive, select2(pin!(stop.wait()), pin!(prepared.wait())));
    match begun {
        Ok(Either2::First(())) => return,
        Ok(Either2::Second(())) => {}
        Err(status) => {
            warn!("suspend: the toolstack is not heard, {status}");
            return;
        }
    }
    while !serve(service, stop, passive) {
        // A daemon that lost us may find us again.
        let pause = parts.ring.timeout(PAUSE, stop.wait());
        if matches!(block_on(passive, pause), Ok(Ok(()))) {
            break;
        }
    }
    let gone = parts.ring.timeout(DRAIN, control::advertise(client, false));
    if !matches!(block_on(passive, gone), Ok(Ok(()))) {
        warn!("suspend: control/feature-suspend stays");
    }
}

/// Listens and suspends until the stop, true, or until the watch is lost.
fn serve(service: &Arc<Suspend<Parts>>, stop: &Event, passive: Passive) -> bool {
    let client = &service.services().client;
    let heard = block_on(
        passive,
        select2(pin!(stop.wait()), pin!(control::listen(client))),
    );
    let mut watch = match heard {
        Ok(Either2::First(())) => return true,
        Ok(Either2::Second(Ok(watch))) => watch,
        Ok(Either2::Second(Err(status))) | Err(status) => {
            warn!("suspend: the toolstack is not heard, {status}");
            return false;
        }
    };
    loop {
        match block_on(passive, control::wish(client, &mut watch, stop)) {
            Ok(Ok(Wish::Stop)) => return true,
            Ok(Ok(Wish::Suspend)) => {
                let outcome = Suspend::trigger(service, passive);
                // Back-to-back suspends must let everybody else run in between.
                flush_dpcs(passive);
                if outcome == Ok(Outcome::Resumed) {
                    // Made anew by the toolstack.
                    let _ = block_on(passive, control::advertise(client, true));
                }
            }
            Ok(Err(status)) => {
                warn!("suspend: the toolstack is not heard any more, {status}");
                return false;
            }
            // No memory to wait with.
            Err(_) => delay(passive, Duration::from_millis(100)),
        }
    }
}
