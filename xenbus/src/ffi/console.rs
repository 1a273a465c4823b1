// SPDX-License-Identifier: BSD-2-Clause
//! The console of one start: the page that the toolstack gave, the channel, the task.

use core::ffi::c_void;

use kexec::nt::{Arc, SpinLock};
use kexec::{DpcExecutor, JoinHandle, Result, Status, info, task, warn};
use xenbus_interface::xen::LogDisposition;

use super::hypervisor::Xen;
use super::page::Page;
use crate::console::{Console, PARAM_CONSOLE_EVTCHN, PARAM_CONSOLE_PFN};
use crate::evtchn::{Evtchn, Hypervisor};
use crate::store::connection::{event_port, page_frame};

/// The console of this image.
pub(super) type BusConsole = Console<Page, Xen>;

/// A console that is served. [`Served::stop`] before the executor's.
pub(super) struct Served {
    console: Arc<BusConsole>,
    task: SpinLock<Option<JoinHandle<()>>>,
    sink: SpinLock<Option<LogDisposition>>,
}

impl Served {
    /// Opens the console, if the toolstack gave one. Log lines of `levels` are written to it.
    ///
    /// # Errors
    /// `DEVICE_NOT_READY`: it gave none. Others as [`Console::open`].
    pub(super) fn start(
        evtchn: &Arc<Evtchn<Xen>>,
        executor: &Arc<DpcExecutor>,
        levels: u32,
    ) -> Result<Self> {
        let host = evtchn.host();
        // Both may be zero, which is neither a frame nor a port.
        let frame = page_frame(None, host.get_param(PARAM_CONSOLE_PFN))?;
        let port = event_port(host.get_param(PARAM_CONSOLE_EVTCHN))?;
        let page = Page::map(frame)?;
        let console = Console::open(evtchn, page, port)?;
        let serves = console.clone();
        let task = executor
            .spawn(task!("console"), async move { serves.serve().await })
            .map_err(|error| {
                console.stop();
                Status::from(error)
            })?;
        let sink = if levels == 0 {
            None
        } else {
            let argument = core::ptr::from_ref::<BusConsole>(&console).cast_mut();
            // SAFETY: removed by `stop`, before the console can go.
            unsafe { LogDisposition::add(levels, write_line, argument.cast()) }
                .inspect_err(|status| warn!("console: no log, {status}"))
                .ok()
        };
        info!("console: page {frame:#x}, port {port}");
        Ok(Self {
            console,
            task: SpinLock::new(Some(task)),
            sink: SpinLock::new(sink),
        })
    }

    /// The console.
    pub(super) fn console(&self) -> &Arc<BusConsole> {
        &self.console
    }

    /// Disables the console and ends its task.
    pub(super) fn stop(&self) {
        let sink = self.sink.lock().take();
        drop(sink);
        self.console.stop();
        let task = self.task.lock().take();
        // Dropping the handle aborts the task.
        drop(task);
    }
}

/// The log's sink.
///
/// # Safety
/// `console` is a console, `line` has `length` bytes.
unsafe extern "C" fn write_line(console: *mut c_void, line: *const u8, length: u32) {
    // SAFETY: by the contract.
    let console = unsafe { &*console.cast_const().cast::<BusConsole>() };
    // SAFETY: by the contract.
    console.write_line(unsafe { core::slice::from_raw_parts(line, length as usize) });
}
