// SPDX-License-Identifier: BSD-2-Clause
//! System threads: the thread object and its life.
//!
//! ```text
//! create --1--> ready --2--> running --3--> waiting --4--> ready ...
//!                              |
//!                              5--> terminated --6--> stack freed, object freed with its last reference
//! ```
//!
//! 1 [`create`], 2 and 3 in `ke::sched`, 4 `ke::wait`, 5 [`exit`], 6 `ke::sched::reap` and [`dereference`].
//! A thread object is a dispatcher object: a driver waits on the pointer that `gs:[0x188]` and
//! `ObReferenceObjectByHandle` give it.

use alloc::boxed::Box;
use alloc::string::String;
use core::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};

use crate::arch;
use crate::export::{A, ANY, D, P};
use crate::ke;
use crate::mem::Ptr;
use crate::ps::handles;
use crate::status::{self, NtStatus};
use crate::sync::Lock;
use crate::verifier;

/// Type byte of a thread's dispatcher header.
pub const THREAD_TYPE: u8 = 6;
/// Bytes of a thread's stack.
pub const STACK: usize = 64 * 1024;

/// What a thread runs first.
pub(crate) enum Body {
    /// The kernel's own.
    Kernel(Box<dyn FnOnce() + Send>),
    /// A driver's start routine and its argument.
    Driver(Ptr, usize),
    /// The context that a CPU came up with.
    Idle,
}

/// A thread object. The first three words are the dispatcher header; the gate in front of every import knows
/// the offset of `last_call`.
#[repr(C)]
pub struct Thread {
    header: [AtomicU64; 3],
    /// The import record of the innermost call from a driver.
    pub(crate) last_call: AtomicUsize,
    /// Stack pointer while it does not run.
    pub(crate) sp: AtomicUsize,
    /// Remaining ticks of its turn.
    pub(crate) quantum: AtomicI32,
    /// Depth of critical and guarded regions.
    pub(crate) apc_disable: AtomicI32,
    /// Its number in the scheduler.
    pub(crate) slot: AtomicUsize,
    /// The service that started it, or `kernel`.
    pub(crate) owner: String,
    /// For messages.
    pub(crate) name: String,
    refs: AtomicUsize,
    body: Lock<Option<Body>>,
    stack: usize,
}

impl core::fmt::Debug for Thread {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "thread {} of {}", self.name, self.owner)
    }
}

static ALL: Lock<alloc::vec::Vec<usize>> = Lock::new(alloc::vec::Vec::new());

/// Offset of the last call record, known to the gate.
pub(crate) const LAST_CALL: usize = core::mem::offset_of!(Thread, last_call);

impl Thread {
    /// The object as drivers see it.
    pub fn ptr(&self) -> Ptr {
        Ptr(core::ptr::from_ref(self) as usize)
    }

    /// Bounds of the stack.
    pub(crate) fn stack_bounds(&self) -> (usize, usize) {
        (self.stack, self.stack + STACK)
    }
}

/// Makes a thread object; `stack` 0 for a context that has one. Two references: the scheduler's and the caller's.
pub(crate) fn make(name: String, owner: String, body: Body, stack: usize) -> &'static Thread {
    let thread = Box::leak(Box::new(Thread {
        header: [const { AtomicU64::new(0) }; 3],
        last_call: AtomicUsize::new(0),
        sp: AtomicUsize::new(0),
        quantum: AtomicI32::new(2),
        apc_disable: AtomicI32::new(0),
        slot: AtomicUsize::new(usize::MAX),
        owner,
        name,
        refs: AtomicUsize::new(2),
        body: Lock::new(Some(body)),
        stack,
    }));
    ke::wait::init_header(thread.ptr(), THREAD_TYPE, 0);
    if stack != 0 {
        thread
            .sp
            .store(arch::new_stack(stack + STACK, begin), Ordering::Relaxed);
    }
    ALL.lock().push(thread.ptr().0);
    thread
}

/// The thread object at `object`.
fn at(object: Ptr) -> &'static Thread {
    if !is_thread(object) {
        verifier::fail("not_a_thread", format_args!("{object} is no thread object"));
    }
    // SAFETY: the address is in the list of live thread objects.
    unsafe { &*(object.0 as *const Thread) }
}

/// The thread that runs on this CPU.
pub(crate) fn current() -> &'static Thread {
    let address = arch::current_thread();
    // SAFETY: the scheduler stores only live thread objects there; a running thread has a reference.
    unsafe { &*(address as *const Thread) }
}

/// Starts a kernel thread of ours; returns its thread object, referenced once for the caller.
pub fn spawn(name: &'static str, body: Box<dyn FnOnce() + Send>) -> Ptr {
    match create(name.into(), "kernel".into(), Body::Kernel(body)) {
        Some(thread) => thread,
        None => verifier::failed("ps", format_args!("no memory for thread {name}")),
    }
}

fn create(name: String, owner: String, body: Body) -> Option<Ptr> {
    ke::sched::reap();
    let stack = ke::sched::take_stack()?;
    let thread = make(name, owner, body, stack);
    ke::sched::add(thread);
    Some(thread.ptr())
}

/// First code of every new thread; entered at DISPATCH_LEVEL with the dispatcher lock held.
extern "C" fn begin() -> ! {
    ke::sched::enter_new_thread();
    arch::set_irql(ke::irql::PASSIVE);
    let body = current().body.lock().take();
    match body {
        Some(Body::Kernel(body)) => body(),
        Some(Body::Driver(routine, argument)) => {
            verifier::call::driver("thread routine", routine, &[argument]);
        }
        Some(Body::Idle) | None => {}
    }
    exit()
}

/// Ends the calling thread.
pub fn exit() -> ! {
    let thread = current();
    if arch::irql() != ke::irql::PASSIVE {
        verifier::fail(
            "irql",
            format_args!("thread {} ends at IRQL {}", thread.name, arch::irql()),
        );
    }
    if thread.apc_disable.load(Ordering::Relaxed) != 0 {
        verifier::fail(
            "critical_region_left",
            format_args!("thread {} ends in a critical region", thread.name),
        );
    }
    ke::mutex::check_thread_exit(thread.ptr());
    ke::sched::exit_current()
}

/// Whether `object` is a thread object (live or not yet freed).
pub fn is_thread(object: Ptr) -> bool {
    ALL.lock().contains(&object.0)
}

/// Adds a reference to a thread object.
pub fn reference(thread: Ptr) {
    at(thread).refs.fetch_add(1, Ordering::Relaxed);
}

/// Drops a reference of a thread object.
pub fn dereference(thread: Ptr) {
    if at(thread).refs.fetch_sub(1, Ordering::AcqRel) == 1 {
        ALL.lock().retain(|t| *t != thread.0);
        // SAFETY: the last reference is gone and the object was made by `Box::leak` in `make`; the scheduler's own
        // reference ended after its stack was left.
        drop(unsafe { Box::from_raw(thread.0 as *mut Thread) });
    }
}

/// Threads of `driver` that have not ended, or whose object is still referenced.
pub(crate) fn left_by(driver: &str) -> alloc::vec::Vec<(String, usize)> {
    let all = ALL.lock();
    all.iter()
        .map(|t| {
            // SAFETY: the list holds live thread objects, and it is locked.
            unsafe { &*(*t as *const Thread) }
        })
        .filter(|t| t.owner == driver)
        .map(|t| (t.name.clone(), t.refs.load(Ordering::Relaxed)))
        .collect()
}

extern "win64" fn ps_create_system_thread(
    handle: Ptr,
    _access: u32,
    _attributes: Ptr,
    _process: usize,
    _client_id: Ptr,
    routine: Ptr,
    context: usize,
) -> NtStatus {
    let owner = verifier::caller().driver;
    let name = alloc::format!("{owner}!{routine}");
    crate::kprint!("ps: {owner} makes a thread");
    match create(name, owner, Body::Driver(routine, context)) {
        Some(thread) => {
            // The creation reference becomes the handle's.
            handle.set(0, handles::insert(handles::Object::Thread(thread)));
            status::SUCCESS
        }
        None => status::INSUFFICIENT_RESOURCES,
    }
}

extern "win64" fn ps_terminate_system_thread(_status: NtStatus) -> NtStatus {
    exit()
}

extern "win64" fn ke_get_current_thread() -> usize {
    arch::current_thread()
}

extern "win64" fn ps_get_current_thread_id() -> usize {
    (current().slot.load(Ordering::Relaxed) + 1) * 4
}

extern "win64" fn ke_query_priority_thread(thread: Ptr) -> i32 {
    ke::sched::priority(at(thread))
}

extern "win64" fn ke_set_priority_thread(thread: Ptr, priority: i32) -> i32 {
    if !(0..32).contains(&priority) {
        verifier::fail("bad_argument", format_args!("priority {priority}"));
    }
    ke::sched::set_priority(at(thread), priority)
}

extern "win64" fn ke_set_system_group_affinity_thread(affinity: Ptr, previous: Ptr) {
    let (mask, group) = (affinity.get::<u64>(0), affinity.get::<u16>(8));
    let old = if group == 0 && mask != 0 {
        ke::sched::set_affinity(mask)
    } else {
        0
    };
    if !previous.is_null() {
        previous.set(0, old);
        previous.set(8, 0u64);
    }
}

extern "win64" fn ke_revert_to_user_group_affinity_thread(previous: Ptr) {
    let mask = previous.get::<u64>(0);
    ke::sched::set_affinity(if mask == 0 { u64::MAX } else { mask });
}

extern "win64" fn ke_enter_critical_region() {
    current().apc_disable.fetch_add(1, Ordering::Relaxed);
}

extern "win64" fn ke_leave_critical_region() {
    if current().apc_disable.fetch_sub(1, Ordering::Relaxed) <= 0 {
        verifier::fail(
            "critical_region_left",
            format_args!("left without having been entered"),
        );
    }
}

/// Whether the current thread is in a critical or guarded region.
pub(crate) fn apcs_disabled() -> bool {
    current().apc_disable.load(Ordering::Relaxed) != 0
}

extern "win64" fn ke_are_apcs_disabled() -> u8 {
    u8::from(apcs_disabled())
}

crate::exports! {
    "PsCreateSystemThread", P => ps_create_system_thread;
    "PsTerminateSystemThread", P => ps_terminate_system_thread;
    "KeGetCurrentThread", ANY => ke_get_current_thread;
    "PsGetCurrentThread", ANY => ke_get_current_thread;
    "PsGetCurrentThreadId", ANY => ps_get_current_thread_id;
    "KeQueryPriorityThread", D => ke_query_priority_thread;
    "KeSetPriorityThread", D => ke_set_priority_thread;
    "KeSetSystemGroupAffinityThread", D => ke_set_system_group_affinity_thread;
    "KeRevertToUserGroupAffinityThread", D => ke_revert_to_user_group_affinity_thread;
    "KeEnterCriticalRegion", A => ke_enter_critical_region;
    "KeLeaveCriticalRegion", A => ke_leave_critical_region;
    "KeEnterGuardedRegion", A => ke_enter_critical_region;
    "KeLeaveGuardedRegion", A => ke_leave_critical_region;
    "KeAreApcsDisabled", D => ke_are_apcs_disabled;
}
