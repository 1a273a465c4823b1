// SPDX-License-Identifier: BSD-2-Clause
//! The state of the bus as text.

use std::fmt;

use super::state::{Cpu, Dump};

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "xenbus.sys build {}", self.build)?;
        writeln!(
            f,
            "root block at physical {:#x}, page tables at {:#x}",
            self.physical, self.tables
        )?;
        for executor in &self.executors {
            let (name, runs, blocks) = (executor.name, executor.runs, executor.blocks);
            let live = executor.tasks.len();
            writeln!(
                f,
                "\nexecutor {name} at {:#x}: {runs} runs, {live} live tasks, {blocks} blocks",
                executor.address
            )?;
            for task in &executor.tasks {
                let (state, references) = (task.state(), task.references());
                writeln!(
                    f,
                    "  {:<16} {state}, {} polls, {references} references, {}:{}",
                    task.name, task.polls, task.file, task.line
                )?;
            }
            if let Some(damage) = &executor.damage {
                writeln!(f, "  not whole: {damage}")?;
            }
        }
        writeln!(f, "\nstore page at physical {:#x}", self.store_page)?;
        match &self.ring {
            None => writeln!(f, "  outside of the image")?,
            Some(ring) => {
                let [
                    req_cons,
                    req_prod,
                    rsp_cons,
                    rsp_prod,
                    features,
                    connection,
                    error,
                ] = ring.words;
                writeln!(
                    f,
                    "  requests   {}, consumer {req_cons:#x}, producer {req_prod:#x}",
                    used(ring.requests())
                )?;
                writeln!(
                    f,
                    "  responses  {}, consumer {rsp_cons:#x}, producer {rsp_prod:#x}",
                    used(ring.responses())
                )?;
                writeln!(
                    f,
                    "  features {features:#x}, connection {connection}, error {error}"
                )?;
            }
        }
        writeln!(f, "\nstore counters")?;
        for (name, value) in &self.counters {
            writeln!(f, "  {name:<16} {value}")?;
        }
        writeln!(f, "\nevent channels")?;
        for (
            index,
            Cpu {
                upcalls,
                events,
                deferred,
            },
        ) in self.cpus.iter().enumerate()
        {
            writeln!(
                f,
                "  cpu {index}: {upcalls} upcalls, {events} events, {deferred} deferred"
            )?;
        }
        Ok(())
    }
}

fn used(bytes: Result<u32, u32>) -> String {
    match bytes {
        Ok(bytes) => format!("{bytes} bytes used"),
        Err(bytes) => format!("indices differ by {bytes}, more than the ring has"),
    }
}
