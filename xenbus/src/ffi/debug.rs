// SPDX-License-Identifier: BSD-2-Clause
//! The debug service of one start: what calls the callbacks, what triggers them, and the bus's own.
//!
//! Triggers are VIRQ_DEBUG, which the toolstack raises for every domain (`xl debug-keys q`), the bug check, and whoever calls the
//! interface. The bus's callbacks print counters and tasks; before a bug check they leave out what other domains write.

use core::ffi::c_void;
use core::ptr;

use kexec::nt::{Arc, Box, CrashCallback, SpinLock};
use kexec::{DpcExecutor, PassiveExecutor, Result, info};
use xenbus_interface::debug::Function;
use xenbus_interface::xen;

use super::TAG;
use super::hypervisor::Xen;
use crate::debug::{Calls, Debug};
use crate::evtchn::channel::Target;
use crate::evtchn::{Channel, Evtchn, Kind};
use crate::store::Shared;

/// Calls registered functions.
pub(super) struct Caller;

impl Calls for Caller {
    fn call(&self, function: usize, argument: usize, crashing: bool) {
        // SAFETY: the number was made of such a function at the registration.
        let function = unsafe { core::mem::transmute::<usize, Function>(function) };
        // SAFETY: the registrant's, callable at HIGH_LEVEL until it is deregistered.
        unsafe {
            function(
                ptr::with_exposed_provenance_mut(argument),
                u8::from(crashing),
            )
        };
    }

    fn is_code(&self, address: usize) -> bool {
        xen::module_lookup(address as u64).is_some()
    }
}

/// The service of this image.
pub(super) type BusDebug = Debug<Caller>;

/// What the bus itself prints.
struct State {
    evtchn: Arc<Evtchn<Xen>>,
    store: Arc<Shared>,
    ring: Arc<DpcExecutor>,
    work: Arc<PassiveExecutor>,
}

/// The service with its triggers; see [`Triggers::stop`].
pub(super) struct Triggers {
    // Dropped in this order: the event channel's routine uses the service.
    virq: SpinLock<Option<Channel<Xen>>>,
    own: SpinLock<Option<Own>>,
    debug: Arc<BusDebug>,
}

/// The bus's own callback, what it prints, and the bug check's.
struct Own {
    number: u32,
    _state: Box<State>,
    _crash: CrashCallback,
}

impl Triggers {
    /// Starts the service.
    ///
    /// # Errors
    /// Out of memory; without VIRQ_DEBUG or the bug check callback there is no debug service.
    pub(super) fn start(
        evtchn: &Arc<Evtchn<Xen>>,
        store: &Arc<Shared>,
        ring: &Arc<DpcExecutor>,
        work: &Arc<PassiveExecutor>,
    ) -> Result<Self> {
        let debug = Arc::try_new(TAG, Debug::new(Caller))?;
        let state = State {
            evtchn: evtchn.clone(),
            store: store.clone(),
            ring: ring.clone(),
            work: work.clone(),
        };
        let state = Box::try_new(TAG, state)?;
        let argument = ptr::from_ref::<State>(&state).expose_provenance();
        let crashes = debug.clone();
        let crash = CrashCallback::register(TAG, c"xenbus", move || crashes.crash())?;
        let virq = listen(&debug, evtchn)?;
        let number = debug.register(b"XENBUS", dump as *const () as usize, argument)?;
        let own = Own {
            number,
            _state: state,
            _crash: crash,
        };
        Ok(Self {
            debug,
            own: SpinLock::new(Some(own)),
            virq: SpinLock::new(Some(virq)),
        })
    }

    /// The service.
    pub(super) fn debug(&self) -> &Arc<BusDebug> {
        &self.debug
    }

    /// Listens again after a suspend.
    ///
    /// # Errors
    /// Of the event channel; the other triggers are still there.
    ///
    /// # IRQL
    /// `<= DISPATCH_LEVEL`.
    pub(super) fn resume(&self, evtchn: &Arc<Evtchn<Xen>>) -> Result {
        // The dead one first; outside the lock, as its end takes others.
        let dead = self.virq.lock().take();
        drop(dead);
        let virq = listen(&self.debug, evtchn)?;
        *self.virq.lock() = Some(virq);
        Ok(())
    }

    /// Ends it: nothing is called once this returns. Before the event channels and executors end.
    pub(super) fn stop(&self) {
        let virq = self.virq.lock().take();
        drop(virq);
        let own = self.own.lock().take();
        if let Some(own) = &own {
            self.debug.deregister(own.number);
        }
        drop(own);
        let left = self.debug.left();
        if left != 0 {
            kexec::warn!("debug: {left} callbacks outstanding, they are not called any more");
        }
    }
}

fn listen(debug: &Arc<BusDebug>, evtchn: &Arc<Evtchn<Xen>>) -> Result<Channel<Xen>> {
    let target = Target::Routine {
        routine: raised as *const () as usize,
        context: ptr::from_ref::<BusDebug>(debug).expose_provenance(),
    };
    let kind = Kind::Virq {
        virq: xen::VIRQ_DEBUG,
        cpu: 0,
    };
    let virq = Channel::open(evtchn, kind, target, false)?;
    virq.unmask(false, true);
    Ok(virq)
}

/// The service routine of VIRQ_DEBUG.
///
/// # Safety
/// `context` is the service; device IRQL.
unsafe extern "C" fn raised(_interrupt: *mut c_void, context: *mut c_void) -> u8 {
    // SAFETY: by the contract: the channel is closed before the service goes.
    unsafe { &*context.cast_const().cast::<BusDebug>() }.trigger(None);
    1
}

/// The bus's own callback.
///
/// # Safety
/// `argument` is a `State`; HIGH_LEVEL.
unsafe extern "C" fn dump(argument: *mut c_void, crashing: u8) {
    // SAFETY: by the contract: deregistered before it goes.
    let state = unsafe { &*argument.cast_const().cast::<State>() };
    for (index, cpu) in state.evtchn.cpus().iter().enumerate() {
        use core::sync::atomic::Ordering::Relaxed;
        if state.evtchn.is_target(index as u32) {
            info!(
                "XENBUS|EVTCHN: cpu {index}: {} upcalls, {} events, {} deferred",
                cpu.upcalls.load(Relaxed),
                cpu.events.load(Relaxed),
                cpu.deferred.load(Relaxed)
            );
        }
    }
    info!(
        "XENBUS|EVTCHN: {} abi, {} channels",
        state.evtchn.abi_name(),
        state.evtchn.channels()
    );
    state
        .store
        .counters
        .each(|name, value| info!("XENBUS|STORE: {name} {value}"));
    let task = |executor: &str, task: kexec::exec::TaskState| {
        let info = task.info;
        info!(
            "XENBUS|TASKS: {executor}: {} ({}:{}) polls {}{}{}",
            info.name(),
            info.file(),
            info.line,
            task.polls,
            if task.scheduled { ", scheduled" } else { "" },
            if task.complete { ", complete" } else { "" }
        );
    };
    let shown = if crashing != 0 {
        // Every other processor has stopped, wherever it was.
        state.ring.for_each_task(|state| task("ring", state));
        state.work.for_each_task(|state| task("work", state));
        [true; 2]
    } else {
        [
            state.ring.inspect(|state| task("ring", state)),
            state.work.inspect(|state| task("work", state)),
        ]
    };
    for (executor, shown) in ["ring", "work"].iter().zip(shown) {
        if !shown {
            info!("XENBUS|TASKS: {executor}: running on another processor");
        }
    }
}
