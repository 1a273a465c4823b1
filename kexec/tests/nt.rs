// SPDX-License-Identifier: BSD-2-Clause
//! The NT primitives on the fake kernel.
#![cfg(not(windows))]

use std::sync::atomic::{AtomicU32, Ordering};

use kexec::nt::sys::fake::{self, Value};
use kexec::nt::wdm::DevicePtr;
use kexec::nt::{
    Arc, Box, Cache, Event, EventKind, Interrupt, InterruptConfig, IoMapping, Key, Pages,
    RateLimit, Rundown, String, Tag, Thread, Vec, WString, log, wstr,
};
use kexec::{Duration, Passive, Status, irql};

const TAG: Tag = Tag(*b"Test");

#[test]
fn pool_vectors_grow_keep_order_and_free_everything() {
    let session = fake::boot();
    let mut numbers: Vec<Box<u32>> = Vec::new(TAG);
    for n in 0..100 {
        numbers
            .try_push(Box::try_new(TAG, n).expect("memory"))
            .expect("memory");
    }
    assert_eq!(*numbers.remove(0), 0);
    assert_eq!(*numbers.swap_remove(0), 1);
    numbers
        .try_insert(1, Box::try_new(TAG, 777).expect("memory"))
        .expect("memory");
    numbers.retain(|n| **n != 50);
    assert_eq!(
        (numbers.len(), *numbers[0], *numbers[1], *numbers[2]),
        (98, 99, 777, 2)
    );
    let total: u32 = numbers.into_iter().take(3).map(Box::into_inner).sum();
    assert_eq!(total, 99 + 777 + 2);
    assert_eq!(session.blocks(), 0);
}

#[test]
fn a_slice_is_appended_whole_or_not_at_all() {
    let session = fake::boot();
    let mut bytes: Vec<u16> = Vec::new(TAG);
    bytes.try_extend_from_slice(&[]).expect("nothing");
    assert_eq!((bytes.len(), session.blocks()), (0, 0));
    bytes.try_extend_from_slice(&[1, 2, 3]).expect("memory");
    let copy = bytes.try_clone().expect("memory");
    for _ in 0..3 {
        bytes.try_extend_from_slice(&copy).expect("memory");
    }
    assert_eq!(*bytes, [1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3]);
    session.fail_alloc(Some(0));
    let refused = bytes.try_extend_from_slice(&[4; 64]);
    assert_eq!(refused, Err(Status::INSUFFICIENT_RESOURCES));
    session.fail_alloc(None);
    assert_eq!((bytes.len(), bytes[11]), (12, 3));
    drop((bytes, copy));
    assert_eq!(session.blocks(), 0);
}

#[test]
fn alignment_beyond_the_pools_is_honoured() {
    #[repr(align(64))]
    struct Line(#[expect(dead_code, reason = "gives it a size")] [u8; 64]);
    let _session = fake::boot();
    let line = Box::try_new(TAG, Line([0; 64])).expect("memory");
    assert_eq!(std::ptr::from_ref(&*line).addr() % 64, 0);
    let arc = Arc::try_new(TAG, Line([0; 64])).expect("memory");
    assert_eq!(std::ptr::from_ref(&*arc).addr() % 64, 0);
}

#[test]
fn an_arc_is_shared_and_dropped_once() {
    let session = fake::boot();
    let event = Event::try_new(TAG, EventKind::Notification).expect("memory");
    let mut one = Arc::try_new(TAG, event).expect("memory");
    let two = one.clone();
    assert!(Arc::ptr_eq(&one, &two) && Arc::get_mut(&mut one).is_none());
    drop(two);
    assert_eq!(
        (
            Arc::count(&one),
            Arc::get_mut(&mut one).is_some(),
            session.blocks()
        ),
        (1, true, 2)
    );
    drop(one);
    assert_eq!(session.blocks(), 0);
}

#[test]
fn text_is_formatted_into_pool_and_out_of_memory_is_an_error() {
    let session = fake::boot();
    let path = kexec::try_format!(TAG, "device/{}/{}", "vif", 0).expect("memory");
    assert_eq!(&*path, "device/vif/0");
    session.fail_alloc(Some(0));
    let error = kexec::try_format!(TAG, "{}", 1).expect_err("no memory");
    assert_eq!(error, Status::INSUFFICIENT_RESOURCES);
    let wide = WString::try_from_str(TAG, "grün").expect("memory");
    assert_eq!(
        (
            wide.units().len(),
            &*wide.try_to_string(TAG).expect("memory")
        ),
        (4, "grün")
    );
    assert!(wstr!("Abc").eq_ignore_ascii_case(wstr!("aBC")));
    let empty = String::new(TAG);
    assert!(empty.is_empty());
}

#[test]
fn a_thread_is_joined_and_an_event_wakes_it() {
    let _session = fake::boot();
    let passive = Passive::assert();
    let event = Arc::try_new(
        TAG,
        Event::try_new(TAG, EventKind::Synchronization).expect("memory"),
    )
    .expect("memory");
    let shared = event.clone();
    let thread = Thread::spawn(TAG, passive, move |level| {
        shared.wait(level, None).expect("no limit")
    })
    .expect("thread");
    event.set();
    thread.join(passive);
    assert!(
        event.wait(passive, Some(Duration::ZERO)).is_err(),
        "consumed by the thread"
    );
}

#[test]
fn rundown_refuses_and_waits_for_what_is_held() {
    let _session = fake::boot();
    let rundown = Arc::try_new(TAG, Rundown::new()).expect("memory");
    let held = Arc::try_new(TAG, AtomicU32::new(0)).expect("memory");
    assert!(rundown.acquire_raw());
    let (shared, seen) = (rundown.clone(), held.clone());
    let waiter = fake::spawn(1, move || {
        shared.wait(Passive::assert());
        seen.load(Ordering::SeqCst)
    });
    while rundown.acquire().is_some() {
        std::thread::yield_now();
    }
    held.store(1, Ordering::SeqCst);
    rundown.release_raw();
    assert_eq!(waiter.join().expect("waiter"), 1);
    assert!(rundown.acquire().is_none());
    rundown.reopen();
    assert!(rundown.acquire().is_some());
}

#[test]
fn registry_values_are_read_and_written_with_their_types() {
    const KEY: &str = "\\Registry\\Machine\\SYSTEM\\CurrentControlSet\\Services\\xenbus";
    let session = fake::boot();
    let passive = Passive::assert();
    let long = "x".repeat(300);
    session.set_registry(
        &format!("{KEY}\\Parameters"),
        "Long",
        &Value::Sz(long.clone()),
    );
    session.set_registry(&format!("{KEY}\\Parameters"), "Count", &Value::Dword(7));
    let classes = ["VIF".to_owned(), "VBD".to_owned()].to_vec();
    session.set_registry(
        &format!("{KEY}\\Parameters"),
        "Classes",
        &Value::MultiSz(classes),
    );
    let service = Key::open_rw(
        passive,
        wstr!("\\Registry\\Machine\\System\\CurrentControlSet\\services\\XENBUS"),
    )
    .expect("case");
    let key = service.open_sub_rw(wstr!("parameters")).expect("key");
    assert_eq!(key.query_dword(wstr!("count")), Ok(7));
    assert_eq!(
        key.query_sz(TAG, wstr!("Long")).expect("long").to_string(),
        long
    );
    let classes = key.query_multi_sz(TAG, wstr!("Classes")).expect("classes");
    assert_eq!(
        classes
            .iter()
            .map(ToString::to_string)
            .collect::<std::vec::Vec<_>>(),
        ["VIF", "VBD"]
    );
    assert_eq!(
        key.query_dword(wstr!("Long")),
        Err(Status::OBJECT_TYPE_MISMATCH)
    );
    assert_eq!(
        key.query_dword(wstr!("Absent")),
        Err(Status::OBJECT_NAME_NOT_FOUND)
    );
    assert_eq!(
        Key::open(passive, wstr!("\\Registry\\Nowhere")).expect_err("absent"),
        Status::OBJECT_NAME_NOT_FOUND
    );
    key.set_multi_sz(TAG, wstr!("Out"), &[wstr!("a"), wstr!("bc")])
        .expect("set");
    key.set_sz(TAG, wstr!("Text"), wstr!("hello")).expect("set");
    key.set_dword(wstr!("Count"), 9).expect("set");
    key.delete_value(wstr!("Classes")).expect("delete");
    let sub = service.create_sub(wstr!("Unplug"), true).expect("create");
    sub.set_dword(wstr!("NICS"), 1).expect("set");
    let path = format!("{KEY}\\Parameters");
    assert_eq!(
        session.registry(&path, "out"),
        Some(Value::MultiSz(["a".to_owned(), "bc".to_owned()].to_vec()))
    );
    assert_eq!(
        session.registry(&path, "text"),
        Some(Value::Sz("hello".to_owned()))
    );
    assert_eq!(
        (
            session.registry(&path, "Count"),
            session.registry(&path, "Classes")
        ),
        (Some(Value::Dword(9)), None)
    );
    let names: std::vec::Vec<_> = (0..)
        .map_while(|n| service.sub_name(TAG, n).ok())
        .map(|name| name.to_string())
        .collect();
    assert_eq!(names, ["Parameters", "Unplug"]);
}

#[test]
fn a_physical_range_is_mapped_and_shared_through_atomics() {
    let session = fake::boot();
    let memory = session.add_physical(0xFEFF_C000, 1);
    let mapping = IoMapping::map(0xFEFF_C000, 4096, Cache::Cached).expect("mapped");
    mapping.shared().atomics_u32()[2].store(0x1234, Ordering::SeqCst);
    assert_eq!(mapping.shared().as_ptr(), memory.cast());
    assert_eq!(
        mapping.shared().atomics_u8()[8].load(Ordering::SeqCst),
        0x34
    );
    assert!(IoMapping::map(0x1000, 4096, Cache::Cached).is_err());
}

#[test]
fn pages_are_zeroed_numbered_and_given_back() {
    let session = fake::boot();
    let pages = Pages::try_alloc(3).expect("memory");
    assert_eq!((pages.frames().len(), pages.shared().len()), (3, 3 * 4096));
    assert!(
        pages
            .shared()
            .atomics_u64()
            .iter()
            .all(|word| word.load(Ordering::Relaxed) == 0)
    );
    drop(pages);
    assert_eq!(session.blocks(), 0);
}

fn no_device() -> DevicePtr {
    // The fake kernel does not look at the device.
    #[expect(unsafe_code, reason = "a placeholder that nothing dereferences")]
    // SAFETY: nothing uses the object.
    let device = unsafe { DevicePtr::from_raw(std::ptr::dangling_mut()) };
    device.expect("not NULL")
}

#[test]
fn an_interrupt_runs_its_closure_at_its_level_until_it_is_dropped() {
    let session = fake::boot();
    let level = Arc::try_new(TAG, AtomicU32::new(0)).expect("memory");
    let seen = level.clone();
    let config = InterruptConfig {
        pdo: no_device(),
        vector: 0x51,
        irql: 5,
        latched: true,
        shared: false,
        group: 0,
        affinity: 1,
    };
    let interrupt = Interrupt::connect(TAG, Passive::assert(), config, move || {
        seen.store(u32::from(irql::current()), Ordering::SeqCst);
        true
    })
    .expect("connected");
    assert!(session.interrupt(0x51));
    assert_eq!(level.load(Ordering::SeqCst), 5);
    let guard = interrupt.lock();
    assert_eq!(irql::current(), 5);
    drop(guard);
    drop(interrupt);
    assert!(!session.interrupt(0x51));
}

#[test]
fn lines_are_cut_not_lost_and_a_limit_counts() {
    let session = fake::boot();
    kexec::info!("store: {}, {}", "ring", 1);
    kexec::warn!("{}", "ü".repeat(300));
    let lines = session.log();
    assert_eq!(lines[0], "store: ring, 1");
    assert!(
        lines[1].len() >= 250 && lines[1].chars().all(|c| c == 'ü'),
        "{}",
        lines[1].len()
    );
    static LIMIT: RateLimit = RateLimit::new(2, Duration::from_secs(1));
    assert_eq!(
        [LIMIT.allow(), LIMIT.allow(), LIMIT.allow()],
        [true, true, false]
    );
    session.advance(Duration::from_secs(1));
    assert!(LIMIT.allow());
    assert_eq!(log::Level::Error as u32, 1);
}
