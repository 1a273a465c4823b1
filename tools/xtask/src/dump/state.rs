// SPDX-License-Identifier: BSD-2-Clause
//! What a root block leads to: executors with their tasks, the store's ring and counters, processors.

use anyhow::{Context, Result};

use super::memory::{Memory, u32_at};
use super::paging::{Space, candidates};
use super::root::{Address, Root};

/// First eight bytes of what is known about a spawn site (`kexec/src/task/info.rs`).
const TASK_MAGIC: u64 = u64::from_le_bytes(*b"KXTASK01");
/// Where in it the name and its length are, the file and its length, the line.
const TASK_NAME: u64 = 16;
const TASK_FILE: u64 = 32;
const TASK_LINE: u64 = 48;
/// More tasks than any executor has.
const MOST_TASKS: usize = 4096;
/// More processors than NT supports.
const MOST_CPUS: u64 = 2048;
/// Where the store's page has its control words.
const CONTROL: u64 = 2048;
/// Bytes in one of its rings.
const RING: u32 = 1024;

/// The state of the bus.
#[derive(Clone, Debug)]
pub(crate) struct Dump {
    /// Version and build number of xenbus.sys.
    pub(crate) build: String,
    /// Physical address of the root block.
    pub(crate) physical: u64,
    /// Physical address of the top level of the page tables.
    pub(crate) tables: u64,
    /// Executors.
    pub(crate) executors: Vec<Executor>,
    /// The store's ring, unless its page is outside of the image.
    pub(crate) ring: Option<Ring>,
    /// Physical address of the store's page.
    pub(crate) store_page: u64,
    /// The store's counters, by name.
    pub(crate) counters: Vec<(String, u64)>,
    /// Processors.
    pub(crate) cpus: Vec<Cpu>,
}

/// One executor.
#[derive(Clone, Debug)]
pub(crate) struct Executor {
    /// What it is for.
    pub(crate) name: &'static str,
    /// Its virtual address.
    pub(crate) address: u64,
    /// Times it ran.
    pub(crate) runs: u32,
    /// Task blocks not yet freed.
    pub(crate) blocks: u64,
    /// Live tasks, youngest first.
    pub(crate) tasks: Vec<Task>,
    /// Why the list of tasks is not whole.
    pub(crate) damage: Option<String>,
}

/// One task.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    /// Its virtual address.
    pub(crate) address: u64,
    /// Name given where it was spawned.
    pub(crate) name: String,
    /// Source file of that place.
    pub(crate) file: String,
    /// And line.
    pub(crate) line: u32,
    /// State word.
    pub(crate) word: u32,
    /// Times it was polled.
    pub(crate) polls: u32,
}

impl Task {
    /// The state in words.
    pub(crate) fn state(&self) -> String {
        // As in `kexec/src/task/header.rs`; the other flags are about the join handle.
        const FLAGS: [(u32, &str); 3] = [(1, "scheduled"), (2, "complete"), (4, "cancelled")];
        let set: Vec<_> = FLAGS
            .iter()
            .filter(|(bit, _)| self.word & bit != 0)
            .map(|&(_, name)| name)
            .collect();
        if set.is_empty() {
            "parked".to_owned()
        } else {
            set.join(", ")
        }
    }

    /// References to the task.
    pub(crate) fn references(&self) -> u32 {
        self.word >> 8
    }
}

/// Control words of the store's page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ring {
    /// req_cons, req_prod, rsp_cons, rsp_prod, features, connection, error.
    pub(crate) words: [u32; 7],
}

impl Ring {
    /// Bytes of requests that the daemon has not taken; the difference of the indices when it makes no sense.
    pub(crate) fn requests(&self) -> std::result::Result<u32, u32> {
        used(self.words[1], self.words[0])
    }

    /// Bytes of responses that the driver has not taken; the difference of the indices when it makes no sense.
    pub(crate) fn responses(&self) -> std::result::Result<u32, u32> {
        used(self.words[3], self.words[2])
    }
}

fn used(produced: u32, consumed: u32) -> std::result::Result<u32, u32> {
    let used = produced.wrapping_sub(consumed);
    if used <= RING { Ok(used) } else { Err(used) }
}

/// One processor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu {
    /// Upcalls taken.
    pub(crate) upcalls: u64,
    /// Events delivered.
    pub(crate) events: u64,
    /// Times the bound of events in one go was reached.
    pub(crate) deferred: u64,
}

impl Dump {
    /// The store's counter of this name.
    pub(crate) fn counter(&self, name: &str) -> Option<u64> {
        self.counters
            .iter()
            .find(|(other, _)| other == name)
            .map(|&(_, value)| value)
    }

    /// All live tasks.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.executors.iter().flat_map(|executor| &executor.tasks)
    }
}

/// Reads what `root` leads to; `None` when no page tables lead from it to a task.
///
/// # Errors
///
/// Tasks are there, but something else is not.
pub(super) fn read(memory: &Memory, root: &Root) -> Result<Option<Dump>> {
    for space in candidates(memory, root.pointers()) {
        let executors = vec![
            executor(&space, root, "ring", Address::StoreExecutor),
            executor(&space, root, "work", Address::WorkExecutor),
        ];
        // The store's task lives while the bus is up: without a task these are not the tables.
        if let Some(executors) = executors.into_iter().collect::<Option<Vec<_>>>()
            && executors.iter().any(|executor| !executor.tasks.is_empty())
        {
            return rest(memory, &space, root, executors).map(Some);
        }
    }
    Ok(None)
}

fn rest(memory: &Memory, space: &Space<'_>, root: &Root, executors: Vec<Executor>) -> Result<Dump> {
    let store_page = space
        .translate(root.get(Address::StorePage))
        .context("the store's page is not mapped")?;
    let mut control = [0; 28];
    let ring = memory.read(store_page + CONTROL, &mut control).map(|()| {
        let mut words = [0; 7];
        for (i, word) in words.iter_mut().enumerate() {
            *word = u32_at(&control, i * 4).unwrap_or_default();
        }
        Ring { words }
    });
    Ok(Dump {
        build: root.build(),
        physical: root.physical,
        tables: space.top(),
        executors,
        ring,
        store_page,
        counters: counters(space, root).context("the store's counters are damaged")?,
        cpus: cpus(space, root).context("the blocks of the processors are damaged")?,
    })
}

fn executor(
    space: &Space<'_>,
    root: &Root,
    name: &'static str,
    which: Address,
) -> Option<Executor> {
    let address = root.get(which);
    let [first, blocks, runs] = root.executor.map(u64::from);
    let mut found = Executor {
        name,
        address,
        runs: space.u32(address.checked_add(runs)?)?,
        blocks: space.u64(address.checked_add(blocks)?)?,
        tasks: Vec::new(),
        damage: None,
    };
    let mut next = space.u64(address.checked_add(first)?)?;
    while next != 0 {
        if found.tasks.len() == MOST_TASKS || found.tasks.iter().any(|task| task.address == next) {
            found.damage = Some("the list does not end".to_owned());
            break;
        }
        let Some((task, after)) = task(space, root, next) else {
            found.damage = Some(format!("the list leads to {next:#x}, which is no task"));
            break;
        };
        found.tasks.push(task);
        next = after;
    }
    Some(found)
}

/// The task at `address`, and where its list goes on.
fn task(space: &Space<'_>, root: &Root, address: u64) -> Option<(Task, u64)> {
    let at = |base: u64, offset: u32| base.checked_add(u64::from(offset));
    let [state, polls, vtable, info, next] = root.task;
    let table = space.u64(at(address, vtable)?)?;
    let site = space.u64(at(table, info)?)?;
    if space.u64(site)? != TASK_MAGIC {
        return None;
    }
    let text = |offset| space.text(space.u64(site + offset)?, space.u64(site + offset + 8)?);
    let task = Task {
        address,
        name: text(TASK_NAME)?,
        file: text(TASK_FILE)?,
        line: space.u32(site + TASK_LINE)?,
        word: space.u32(at(address, state)?)?,
        polls: space.u32(at(address, polls)?)?,
    };
    Some((task, space.u64(at(address, next)?)?))
}

fn counters(space: &Space<'_>, root: &Root) -> Option<Vec<(String, u64)>> {
    let (mut name, mut value) = (
        root.get(Address::CounterNames),
        root.get(Address::StoreCounters),
    );
    let mut counters = Vec::new();
    for _ in 0..root.counters {
        let mut text = String::new();
        loop {
            let mut byte = [0];
            space.read(name, &mut byte)?;
            name = name.checked_add(1)?;
            match byte[0] {
                0 => break,
                b'a'..=b'z' | b'0'..=b'9' | b'_' => text.push(char::from(byte[0])),
                _ => return None,
            }
        }
        counters.push((text, space.u64(value)?));
        value = value.checked_add(8)?;
    }
    Some(counters)
}

fn cpus(space: &Space<'_>, root: &Root) -> Option<Vec<Cpu>> {
    let count = root.get(Address::CpuCount);
    if count > MOST_CPUS {
        return None;
    }
    let [upcalls, events, deferred, stride] = root.cpu.map(u64::from);
    (0..count)
        .map(|index| {
            let base = root.get(Address::Cpus).checked_add(index * stride)?;
            let at = |offset| space.u64(base.checked_add(offset)?);
            Some(Cpu {
                upcalls: at(upcalls)?,
                events: at(events)?,
                deferred: at(deferred)?,
            })
        })
        .collect()
}
