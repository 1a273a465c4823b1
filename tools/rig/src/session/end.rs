// SPDX-License-Identifier: BSD-2-Clause
//! The end of a run, and what QEMU's plugin has seen of it.

use std::fs;
use std::time::Duration;

use super::{HYPERCALLS, Rig, TRACE};
use crate::count::Hypercalls;
use crate::error::{Context, Result};
use crate::trace::Trace;

impl Rig {
    /// Ends the machine in an orderly way and returns the hypercalls counted outside the guests; none if
    /// [`RigConfig::count_hypercalls`](crate::RigConfig::count_hypercalls) is off.
    ///
    /// # Errors
    /// QEMU left no table.
    pub fn quit(mut self) -> Result<Hypercalls> {
        self.end();
        if !self.config.count_hypercalls {
            return Ok(Hypercalls::default());
        }
        let counts = self.config.cache.path(HYPERCALLS);
        Hypercalls::parse(&fs::read_to_string(&counts).at("read", &counts)?)
    }

    /// Ends the machine in an orderly way and returns what was recorded; nothing if
    /// [`RigConfig::trace`](crate::RigConfig::trace) is off.
    ///
    /// # Errors
    /// QEMU left no trace.
    pub fn quit_traced(mut self) -> Result<Trace> {
        self.end();
        if !self.config.trace {
            return Ok(Trace::default());
        }
        let trace = self.config.cache.path(TRACE);
        Trace::parse(&fs::read_to_string(&trace).at("read", &trace)?)
    }

    fn end(&mut self) {
        self.machine.qmp.get_mut().quit();
        self.machine.qemu.end(Duration::from_secs(10));
    }
}
