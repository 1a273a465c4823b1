// SPDX-License-Identifier: BSD-2-Clause
//! [`Interrupt`]: a connected interrupt with the closure that serves it.
//!
//! The closure runs at the interrupt's IRQL with its lock held: it may read and write atomics, wake tasks and queue DPCs, and
//! nothing else. [`Interrupt::disconnect`], or else the drop, disconnects, after which no processor is inside the closure:
//! PASSIVE_LEVEL. The lock around the closure is the block's own, so it may be taken whether the interrupt is connected or not.
#![expect(unsafe_code, reason = "a callback with a raw context")]

use core::cell::UnsafeCell;
use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, Ordering};

use super::sys::{self, PVOID};
use super::wdm::DevicePtr;
use super::{Box, Tag};
use crate::{Passive, Result, Status};

/// What to connect, as the translated resource says.
///
/// # IRQL
/// Any.
#[derive(Clone, Copy, Debug)]
pub struct InterruptConfig {
    /// The physical device object that the resource was given to.
    pub pdo: DevicePtr,
    /// Interrupt vector.
    pub vector: u32,
    /// Its IRQL.
    pub irql: u8,
    /// Edge-triggered (message interrupts are).
    pub latched: bool,
    /// May be shared with other drivers.
    pub shared: bool,
    /// Processor group.
    pub group: u16,
    /// Processors of the group.
    pub affinity: usize,
}

#[repr(C)]
struct Block<F> {
    head: Head,
    serve: F,
}

/// What does not depend on the closure.
struct Head {
    tag: Tag,
    irql: u8,
    /// The spin lock that the kernel takes around the routine.
    lock: UnsafeCell<usize>,
}

unsafe extern "C" fn isr<F: Fn() -> bool + Send + Sync>(_interrupt: PVOID, context: PVOID) -> u8 {
    // SAFETY: the context is the block, which lives until the interrupt is disconnected.
    let block = unsafe { &*context.cast::<Block<F>>() };
    u8::from((block.serve)())
}

unsafe fn free<F>(block: NonNull<Head>) {
    let block = block.cast::<Block<F>>();
    // SAFETY: live until here.
    let tag = unsafe { block.as_ref().head.tag };
    // SAFETY: made by `connect::<F>` with this tag; disconnected, so nobody uses it any more.
    drop(unsafe { Box::from_raw(block, tag) });
}

/// A connected interrupt.
///
/// # IRQL
/// Connect, disconnect and drop: PASSIVE_LEVEL. Lock: <= its IRQL.
pub struct Interrupt {
    /// The interrupt object; NULL once disconnected.
    object: AtomicPtr<core::ffi::c_void>,
    version: u32,
    block: NonNull<Head>,
    free: unsafe fn(NonNull<Head>),
}

// SAFETY: interrupt objects are used from any processor; the closure is `Send + Sync`.
unsafe impl Send for Interrupt {}
// SAFETY: as above.
unsafe impl Sync for Interrupt {}

/// CONNECT_FULLY_SPECIFIED.
const FULLY_SPECIFIED: u32 = 1;
/// CONNECT_FULLY_SPECIFIED_GROUP.
const FULLY_SPECIFIED_GROUP: u32 = 4;

impl Interrupt {
    /// Connects `serve`, which says whether the interrupt was its device's.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn connect<F>(tag: Tag, _level: Passive, config: InterruptConfig, serve: F) -> Result<Self>
    where
        F: Fn() -> bool + Send + Sync + 'static,
    {
        let head = Head {
            tag,
            irql: config.irql,
            lock: UnsafeCell::new(0),
        };
        let block = Box::try_new(tag, Block { head, serve })?.into_raw();
        // SAFETY: just made; only the address is taken.
        let lock = unsafe { block.as_ref() }.head.lock.get();
        let mut object = core::ptr::null_mut();
        let version = if config.group == 0 {
            FULLY_SPECIFIED
        } else {
            FULLY_SPECIFIED_GROUP
        };
        let mut parameters = sys::IO_CONNECT_INTERRUPT_PARAMETERS {
            Version: version,
            PhysicalDeviceObject: config.pdo.as_raw(),
            InterruptObject: &mut object,
            ServiceRoutine: Some(isr::<F>),
            ServiceContext: block.as_ptr().cast(),
            SpinLock: lock,
            SynchronizeIrql: config.irql,
            FloatingSave: 0,
            ShareVector: u8::from(config.shared),
            Vector: config.vector,
            Irql: config.irql,
            InterruptMode: u32::from(config.latched),
            ProcessorEnableMask: config.affinity,
            Group: config.group,
        };
        // SAFETY: PASSIVE_LEVEL (token); the context suits `isr::<F>` until the interrupt is disconnected.
        let status = unsafe { sys::IoConnectInterruptEx(&mut parameters) };
        let interrupt = Self {
            object: AtomicPtr::new(object),
            version,
            block: block.cast(),
            free: free::<F>,
        };
        match Status::check(status) {
            Ok(()) => Ok(interrupt),
            Err(status) => {
                let interrupt = core::mem::ManuallyDrop::new(interrupt);
                // SAFETY: never connected, so nobody uses the block.
                unsafe { (interrupt.free)(interrupt.block) };
                Err(status)
            }
        }
    }

    /// Disconnects: when it returns, no processor is inside the closure, nor ever will be. Once is enough; the value stays, and
    /// with it the closure and the lock.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn disconnect(&self, _level: Passive) {
        let object = self.object.swap(core::ptr::null_mut(), Ordering::AcqRel);
        if object.is_null() {
            return;
        }
        let mut parameters = sys::IO_DISCONNECT_INTERRUPT_PARAMETERS {
            Version: self.version,
            ConnectionContext: object,
        };
        // SAFETY: connected with this version and by the exchange disconnected once; PASSIVE_LEVEL; waits until no processor is
        // inside.
        unsafe { sys::IoDisconnectInterruptEx(&mut parameters) };
    }

    fn head(&self) -> &Head {
        // SAFETY: the block begins with its head (repr(C)) and lives until the drop.
        unsafe { self.block.as_ref() }
    }

    /// Raises to the interrupt's IRQL and takes its lock: the closure does not run meanwhile.
    ///
    /// # IRQL
    /// <= the interrupt's.
    pub fn lock(&self) -> InterruptGuard<'_> {
        let head = self.head();
        let old = sys::KfRaiseIrql(head.irql);
        // SAFETY: a spin lock initialised to zero, at device IRQL, which is above DISPATCH_LEVEL.
        unsafe { sys::KeAcquireSpinLockAtDpcLevel(head.lock.get()) };
        InterruptGuard {
            interrupt: self,
            old,
            not_send: core::marker::PhantomData,
        }
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.disconnect(Passive::assert());
        // SAFETY: disconnected, so nobody uses the block.
        unsafe { (self.free)(self.block) };
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interrupt")
    }
}

/// Holds an interrupt's lock; not `Send`.
///
/// # IRQL
/// The interrupt's.
#[derive(Debug)]
pub struct InterruptGuard<'a> {
    interrupt: &'a Interrupt,
    old: u8,
    not_send: core::marker::PhantomData<*mut ()>,
}

impl Drop for InterruptGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: held by this guard.
        unsafe { sys::KeReleaseSpinLockFromDpcLevel(self.interrupt.head().lock.get()) };
        sys::KeLowerIrql(self.old);
    }
}
