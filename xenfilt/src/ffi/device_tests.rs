// SPDX-License-Identifier: BSD-2-Clause
//! The edge over the fake kernel: a bus driver's device below, requests from above.

use core::mem;
use std::cell::RefCell;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::{boxed::Box, string::ToString, thread_local, vec, vec::Vec};

use kexec::irql::Raised;
use kexec::nt::sys::fake::{self, Session, Value};
use kexec::nt::sys::{self, DRIVER_OBJECT};
use kexec::nt::wdm::{mj, mn, send_pnp, wide_string};
use kexec::nt::wstr;
use kexec::status::STATUS_SUCCESS;

use super::*;

const KEY: &str = "\\Registry\\Machine\\System\\CurrentControlSet\\Services\\xenfilt\\Parameters";
const NOT_SUPPORTED: i32 = 0xC000_00BB_u32.cast_signed();
/// A device type that is not the one which filter objects start with.
const BUS_TYPE: u32 = 0x2a;
const MAJOR_READ: u8 = 0x03;

thread_local! {
    /// What reached the bus driver on this thread: major and minor codes.
    static SEEN: RefCell<Vec<(u8, u8)>> = const { RefCell::new(Vec::new()) };
    /// The hardware and compatible ids that it answers with; `None` for a query that fails.
    static IDS: RefCell<[Option<Vec<&'static str>>; 2]> = const { RefCell::new([None, None]) };
    /// A read says that it is inside, then waits to be let go.
    static HOLD: RefCell<Option<(Sender<()>, Receiver<()>)>> = const { RefCell::new(None) };
}

/// The bus driver: answers id queries, agrees to everything else of PnP, waits in a read.
unsafe extern "C" fn bus_dispatch(_device: *mut DEVICE_OBJECT, irp: *mut IRP) -> i32 {
    // SAFETY: the argument of a dispatch routine.
    let mut irp = unsafe { Irp::from_raw(irp) }.expect("a request");
    let codes = (irp.major(), irp.minor());
    SEEN.with_borrow_mut(|seen| seen.push(codes));
    match codes {
        (mj::PNP, mn::QUERY_ID) => {
            let answer = match irp.parameters()[0] {
                BUS_QUERY_HARDWARE_IDS => IDS.with_borrow(|ids| ids[0].clone()),
                BUS_QUERY_COMPATIBLE_IDS => IDS.with_borrow(|ids| ids[1].clone()),
                _ => None,
            };
            if let Some(ids) = answer {
                irp.set_result(wide_string(ids.iter().copied(), true));
            }
        }
        (mj::PNP, _) => irp.set(STATUS_SUCCESS, 0),
        (MAJOR_READ, _) => {
            if let Some((inside, hold)) = HOLD.take() {
                inside.send(()).expect("the test waits");
                hold.recv().expect("the test lets go");
            }
            irp.set(STATUS_SUCCESS, 7);
        }
        _ => irp.set(STATUS_SUCCESS, 0),
    }
    irp.complete()
}

/// A stack with nothing but the bus driver's device, and our driver.
struct Stack {
    session: Session,
    bus: Device<u32>,
    ours: Driver,
    _objects: [Box<DRIVER_OBJECT>; 2],
}

impl Stack {
    fn new(
        parameters: &[(&str, &str)],
        hardware: Option<&[&'static str]>,
        compatible: &[&'static str],
    ) -> Self {
        let session = fake::boot();
        for (name, data) in parameters {
            session.set_registry(KEY, name, &Value::Sz((*data).to_string()));
        }
        IDS.set([hardware.map(<[_]>::to_vec), Some(compatible.to_vec())]);
        SEEN.take();
        let mut objects = [driver_object(), driver_object()];
        let [bus, ours] = objects.each_mut().map(|object| {
            // SAFETY: lives in `_objects` as long as the stack.
            unsafe { Driver::from_raw(&raw mut **object) }.expect("not null")
        });
        bus.set_dispatch(bus_dispatch);
        ours.set_dispatch(dispatch);
        let bus =
            Device::try_new(bus, BUS_TYPE, true, Passive::assert(), |_| Ok(0)).expect("memory");
        bus.ready();
        Self {
            session,
            bus,
            ours,
            _objects: objects,
        }
    }

    /// The stock parameters and a PCI Express root.
    fn root() -> Self {
        Self::new(
            &[("*PNP0A03", "PCI"), ("ACPI\\PNP0A03", "DEVICE")],
            Some(&["ACPI\\PNP0A08", "*PNP0A08"]),
            &["ACPI\\PNP0A03", "*PNP0A03"],
        )
    }

    fn add(&self) {
        let key =
            wstr!("\\Registry\\Machine\\System\\CurrentControlSet\\Services\\xenfilt\\Parameters");
        add(self.ours, self.bus.as_ptr(), key, Passive::assert());
    }

    /// Our device above the bus driver's, if there is one.
    fn filter(&self) -> Option<DevicePtr> {
        // SAFETY: a live device.
        let above = unsafe { (*self.bus.as_ptr().as_raw()).AttachedDevice };
        // SAFETY: attached, so alive.
        unsafe { DevicePtr::from_raw(above) }
    }

    fn flags(device: DevicePtr) -> u32 {
        // SAFETY: a live device.
        unsafe { (*device.as_raw()).Flags }
    }

    /// Sends a PnP request to the top of the stack; what the bus driver saw of it.
    fn pnp(&self, minor: u8) -> (i32, Vec<(u8, u8)>) {
        SEEN.take();
        let top = self.bus.as_ptr().top();
        // SAFETY: none of the requests sent here has parameters.
        let reply = unsafe { send_pnp(top.as_ptr(), minor, [0; 4], Passive::assert()) };
        (reply.expect("memory").status, SEEN.take())
    }
}

impl Drop for Stack {
    /// Unless the test has failed already: what it left is removed, and the session then looks for leaks.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            if self.filter().is_some() {
                self.pnp(mn::REMOVE_DEVICE);
            }
            self.bus.delete(Passive::assert());
        }
    }
}

fn driver_object() -> Box<DRIVER_OBJECT> {
    // SAFETY: numbers, null pointers and empty options.
    let mut object: Box<DRIVER_OBJECT> = Box::new(unsafe { mem::zeroed() });
    // SAFETY: as above. Leaked: the fake I/O manager looks at drivers until the thread is over.
    object.DriverExtension = Box::leak(Box::new(unsafe { mem::zeroed() }));
    object
}

/// Sends a request without parameters to `target` and returns status and information.
fn send(target: DevicePtr, major: u8) -> (i32, usize) {
    // SAFETY: stack sizes are positive.
    let irp = unsafe { sys::IoAllocateIrp(target.stack_size(), 0) };
    assert!(!irp.is_null());
    let mut block = sys::IO_STATUS_BLOCK {
        Status: -1,
        Information: 0,
    };
    // SAFETY: just allocated; the block outlives the call, which completes the request.
    unsafe { (*irp).UserIosb = &raw mut block };
    // SAFETY: just allocated.
    let next = unsafe { (*irp).CurrentStackLocation }.wrapping_sub(1);
    // SAFETY: the next location exists.
    unsafe { (*next).MajorFunction = major };
    // SAFETY: a live device and a request prepared for it.
    unsafe { sys::IofCallDriver(target.as_raw(), irp) };
    (block.Status, block.Information)
}

#[test]
fn a_pci_express_root_gets_a_filter_that_looks_like_the_stack() {
    let stack = Stack::root();
    stack.add();
    let filter = stack.filter().expect("attached");
    // SAFETY: a live device.
    assert_eq!(unsafe { (*filter.as_raw()).DeviceType }, BUS_TYPE);
    assert_eq!(Stack::flags(filter) & 0x80, 0, "still initializing");
    assert_eq!(filter.stack_size(), 2);
    assert_eq!(stack.session.log(), ["xenfilt: attached, Pci"]);
}

#[test]
fn a_stack_without_a_known_id_stays_as_it_was() {
    for (hardware, compatible) in [
        (Some(&["PCI\\VEN_8086&DEV_7010"][..]), &["PCI\\CC_0101"][..]),
        (None, &[][..]),
    ] {
        let stack = Stack::new(&[("*PNP0A03", "PCI")], hardware, compatible);
        let blocks = stack.session.blocks();
        stack.add();
        assert!(stack.filter().is_none());
        assert_eq!(stack.session.blocks(), blocks);
        assert!(stack.session.log().is_empty());
    }
}

#[test]
fn a_parameter_may_be_a_list_or_of_a_type_that_means_nothing() {
    for (value, attached) in [
        (
            Value::MultiSz(vec!["PCI".to_string(), "IDE".to_string()]),
            true,
        ),
        (Value::Dword(1), false),
        (Value::Sz("DEVICE".to_string()), false),
    ] {
        let stack = Stack::new(&[], Some(&["*PNP0A03"]), &[]);
        stack.session.set_registry(KEY, "*PNP0A03", &value);
        stack.add();
        assert_eq!(stack.filter().is_some(), attached, "{value:?}");
    }
}

#[test]
fn a_life_from_start_to_removal_leaves_nothing_behind() {
    let stack = Stack::root();
    let blocks = stack.session.blocks();
    stack.add();
    for minor in [
        mn::START_DEVICE,
        mn::QUERY_STOP_DEVICE,
        mn::STOP_DEVICE,
        mn::START_DEVICE,
        mn::QUERY_REMOVE_DEVICE,
        mn::CANCEL_REMOVE_DEVICE,
        mn::SURPRISE_REMOVAL,
        mn::REMOVE_DEVICE,
    ] {
        assert_eq!(
            stack.pnp(minor),
            (STATUS_SUCCESS, vec![(mj::PNP, minor)]),
            "{minor:#x}"
        );
    }
    assert!(stack.filter().is_none(), "still attached");
    assert_eq!(
        stack.session.blocks(),
        blocks,
        "{:?}",
        stack.session.leaks()
    );
}

#[test]
fn an_answer_of_the_bus_driver_comes_back_unchanged() {
    let stack = Stack::root();
    stack.add();
    let top = stack.bus.as_ptr().top();
    let ids = query_id(top.as_ptr(), BUS_QUERY_HARDWARE_IDS, Passive::assert()).expect("answered");
    assert_eq!(ids.strings().count(), 2);
    let refused = query_id(top.as_ptr(), 0, Passive::assert());
    assert_eq!(refused.err(), Some(Status::new(NOT_SUPPORTED)));
    assert_eq!(send(top.as_ptr(), MAJOR_READ), (STATUS_SUCCESS, 7));
}

#[test]
fn everything_but_pnp_passes_at_dispatch_level_without_an_allocation() {
    let stack = Stack::root();
    stack.add();
    let filter = stack.filter().expect("attached");
    for major in [
        mj::CREATE,
        MAJOR_READ,
        mj::POWER,
        mj::SYSTEM_CONTROL,
        mj::CLOSE,
    ] {
        let before = stack.session.allocations();
        let raised = Raised::to_dispatch();
        let (status, _) = send(filter, major);
        drop(raised);
        assert_eq!(status, STATUS_SUCCESS);
        // The one allocation is the request itself.
        assert_eq!(stack.session.allocations(), before + 1, "{major:#x}");
    }
}

#[test]
fn removal_waits_for_a_request_inside_the_device() {
    let stack = Stack::root();
    stack.add();
    assert_eq!(stack.pnp(mn::START_DEVICE).0, STATUS_SUCCESS);
    let filter = stack.filter().expect("attached");
    let (let_go, hold) = channel();
    let (inside, entered) = channel();
    let reader = fake::spawn(1, move || {
        HOLD.set(Some((inside, hold)));
        send(filter, MAJOR_READ)
    });
    entered.recv().expect("the reader gets to the bus driver");
    let released = std::sync::Arc::new(AtomicBool::new(false));
    let flag = released.clone();
    let releaser = std::thread::spawn(move || {
        std::thread::sleep(core::time::Duration::from_millis(50));
        flag.store(true, Ordering::SeqCst);
        let_go.send(()).expect("the reader waits");
    });
    assert_eq!(stack.pnp(mn::REMOVE_DEVICE).0, STATUS_SUCCESS);
    assert!(released.load(Ordering::SeqCst), "the removal did not wait");
    assert!(stack.filter().is_none());
    assert_eq!(reader.join().expect("no panic"), (STATUS_SUCCESS, 7));
    releaser.join().expect("no panic");
}

#[test]
fn a_removed_device_refuses_what_still_arrives() {
    let stack = Stack::root();
    stack.add();
    let filter = stack.filter().expect("attached").reference();
    assert_eq!(stack.pnp(mn::REMOVE_DEVICE).0, STATUS_SUCCESS);
    SEEN.take();
    assert_eq!(
        send(filter.as_ptr(), mj::CREATE).0,
        Status::NO_SUCH_DEVICE.raw()
    );
    assert!(SEEN.take().is_empty(), "the bus driver saw it");
}

#[test]
fn the_power_flag_follows_its_neighbours() {
    let stack = Stack::root();
    stack.add();
    let filter = stack.filter().expect("attached");
    // Nobody above: set on the way down; the bus driver has it clear: cleared on the way up.
    stack.pnp(mn::DEVICE_USAGE_NOTIFICATION);
    assert_eq!(Stack::flags(filter) & POWER_PAGABLE, 0);
    // SAFETY: a live device that nobody else uses.
    unsafe { (*stack.bus.as_ptr().as_raw()).Flags |= POWER_PAGABLE };
    stack.pnp(mn::DEVICE_USAGE_NOTIFICATION);
    assert_ne!(Stack::flags(filter) & POWER_PAGABLE, 0);
}

#[test]
fn out_of_memory_anywhere_leaves_the_stack_unfiltered_and_whole() {
    for n in 0.. {
        let stack = Stack::root();
        let blocks = stack.session.blocks();
        stack.session.fail_alloc(Some(n));
        stack.add();
        let done = stack.session.fail_pending();
        stack.session.fail_alloc(None);
        if let Some(filter) = stack.filter() {
            assert_eq!(filter.stack_size(), 2);
            assert_eq!(stack.pnp(mn::REMOVE_DEVICE).0, STATUS_SUCCESS);
        } else {
            assert!(!done, "no failure, yet not attached");
        }
        assert_eq!(
            stack.session.blocks(),
            blocks,
            "allocation {n}: {:?}",
            stack.session.leaks()
        );
        if done {
            assert!(n >= 3, "only {n} allocations");
            break;
        }
    }
}
