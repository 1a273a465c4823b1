// SPDX-License-Identifier: BSD-2-Clause
//! The machine of [`FakeXen`]: processors, interrupts, pages.

use core::array::from_fn;
use core::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

use kexec::Result;

use super::{FakePage, FakeXen};
use crate::evtchn::host::Machine;

impl Machine for Arc<FakeXen> {
    type Page = FakePage;

    fn max_cpus(&self) -> u32 {
        // One that is not there yet.
        self.options.cpus + 1
    }
    fn current_cpu(&self) -> u32 {
        self.current.load(Ordering::SeqCst)
    }
    fn alloc_page(&self) -> Result<FakePage> {
        let mut state = self.state();
        let page = FakePage {
            gfn: 0x1000 + state.pages.len() as u64,
            words: Arc::new(from_fn(|_| AtomicU32::new(0))),
        };
        state.pages.push(page.clone());
        Ok(page)
    }
    fn vector(&self, cpu: u32) -> Option<u8> {
        (cpu < self.options.cpus).then(|| 0x60 + cpu as u8)
    }
    fn line(&self) -> Option<u32> {
        self.options.line
    }
    fn with_interrupt_lock(&self, cpu: u32, f: &mut dyn FnMut()) {
        self.serve(cpu, f);
    }
    fn queue_dpc(&self, cpu: u32) {
        let mut state = self.state();
        if !state.dpcs.contains(&cpu) {
            state.dpcs.push_back(cpu);
        }
    }
    fn call(&self, routine: usize, context: usize) -> bool {
        self.state().called.push((routine, context));
        let hook = self.on_call.lock().expect("no test panicked inside").take();
        if let Some(mut hook) = hook {
            hook();
        }
        true
    }
}
