// SPDX-License-Identifier: BSD-2-Clause
//! Events and waits for host tests: one thread, so a wait that would block is a mistake of the test.

/// Events.
pub mod event {
    use alloc::boxed::Box;

    use super::wait::Timeout;
    use crate::mem::Ptr;
    use crate::status::NtStatus;

    /// Initialises the `KEVENT` at `event`.
    pub fn init(event: Ptr, synchronization: bool, signaled: bool) {
        event.set(0, u32::from(synchronization));
        event.set(4, i32::from(signaled));
        event.set(8, event.add(8));
        event.set(16, event.add(8));
    }

    /// Signals the `KEVENT`; returns the state before.
    pub fn set(event: Ptr) -> i32 {
        let old = event.get(4);
        event.set(4, 1i32);
        old
    }

    /// Resets the `KEVENT`; returns the state before.
    pub fn reset(event: Ptr) -> i32 {
        let old = event.get(4);
        event.set(4, 0i32);
        old
    }

    /// An event that the kernel itself owns.
    #[derive(Debug)]
    pub struct Event(Box<[u64; 3]>);

    impl Event {
        /// An auto-reset event when `synchronization`, else a notification event.
        pub fn new(synchronization: bool) -> Self {
            let this = Self(Box::new([0; 3]));
            init(this.ptr(), synchronization, false);
            this
        }

        /// The `KEVENT`.
        pub fn ptr(&self) -> Ptr {
            Ptr(self.0.as_ptr() as usize)
        }

        /// Signals it.
        pub fn set(&self) {
            set(self.ptr());
        }

        /// Waits.
        pub fn wait(&self, timeout: Timeout) -> NtStatus {
            super::wait::single(self.ptr(), timeout)
        }
    }
}

/// Waits.
pub mod wait {
    use crate::mem::Ptr;
    use crate::status::{self, NtStatus};

    /// How long to wait, in 100 ns units.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Timeout {
        /// For ever.
        Never,
        /// Do not block.
        Poll,
        /// This long from now.
        Relative(u64),
        /// Until this system time.
        Absolute(u64),
    }

    /// Waits for one event.
    pub fn single(object: Ptr, timeout: Timeout) -> NtStatus {
        if object.get::<i32>(4) > 0 {
            if object.get::<u8>(0) == 1 {
                object.set(4, 0i32);
            }
            return status::SUCCESS;
        }
        assert!(timeout != Timeout::Never, "this wait would never end");
        status::TIMEOUT
    }

    /// Blocks the calling thread for `units` of 100 ns.
    pub fn sleep(units: u64) {
        std::thread::sleep(std::time::Duration::from_nanos(units * 100));
    }
}
