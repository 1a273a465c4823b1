// SPDX-License-Identifier: BSD-2-Clause
//! `cargo xtask dump FILE`: prints the state of the bus from a memory image.
//!
//! The image is raw: its byte n is the guest's physical byte n ([`take`] makes one). Nothing but the root block that
//! xenbus.sys exports (`xenbus/src/root.rs`) is known about the guest, neither its kernel nor where its page tables are:
//!
//! 1. [`root`] looks through all pages for the block's signature. Copies that lead nowhere, such as the file that the
//!    image was loaded from, have no addresses in them.
//! 2. [`paging`] looks through all pages for the top level of page tables. One is believed that translates every address
//!    of the block, and through which a task of an executor leads to the signature of a spawn site and to a readable name.
//! 3. [`state`] reads task lists, ring, counters and processors through these tables.

mod memory;
mod paging;
mod report;
mod root;
mod state;
#[cfg(test)]
mod testing;

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rig::Rig;

use memory::{Memory, PAGE};
pub(crate) use state::Dump;

/// Arguments of `cargo xtask dump`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Raw memory image: byte n is physical byte n (`cargo xtask run --dump FILE` writes one)
    file: PathBuf,
}

/// Prints the state of the bus from a memory image.
///
/// # Errors
///
/// The file is no memory image, or there is no bus in it.
pub(crate) fn main(args: &Args) -> Result<()> {
    print!("{}", read(&args.file)?);
    Ok(())
}

/// Reads the state of the bus from the memory image `file`.
///
/// # Errors
///
/// The file is no memory image, or there is no bus in it.
pub(crate) fn read(file: &Path) -> Result<Dump> {
    let context = || file.display().to_string();
    let memory = Memory::open(file).with_context(context)?;
    find(&memory).with_context(context)
}

fn find(memory: &Memory) -> Result<Dump> {
    let roots = root::find(memory);
    let Some(first) = roots.first() else {
        bail!(
            "no root block of xenbus.sys in {} MiB: the driver was not loaded",
            memory.len() >> 20
        );
    };
    let live: Vec<_> = roots.iter().filter(|root| root.is_published()).collect();
    if live.is_empty() {
        bail!(
            "{} of xenbus.sys {}, but none leads anywhere: the bus was not started, or stopped before the image was taken",
            if roots.len() == 1 {
                "one root block".to_owned()
            } else {
                format!("{} root blocks", roots.len())
            },
            first.build()
        );
    }
    for root in &live {
        if let Some(dump) = state::read(memory, root)? {
            return Ok(dump);
        }
    }
    bail!(
        "a root block at physical {:#x}, but no page tables through which its addresses lead to tasks",
        live[0].physical
    )
}

/// Writes the memory of the rig's guest to `file`, the store's page included, which is far above its RAM. The guest stays
/// paused, so its bus should be up when this is called.
///
/// # Errors
///
/// The rig does not answer, or the disk is full.
pub(crate) fn take(rig: &mut Rig, file: &Path) -> Result<()> {
    let log = rig.guest_log()?;
    rig.dump_guest(file)?;
    let Some(frame) = log.iter().rev().find_map(|line| store_frame(line)) else {
        return Ok(());
    };
    // The toolstack grants the store's page to dom0 under this reference.
    const STORE_REFERENCE: u32 = 1;
    let command = format!(
        "xenpeer gnt --domid {} --ref {STORE_REFERENCE}",
        rig.domid()?
    );
    let text = rig
        .dom0(&command, Duration::from_secs(30))?
        .ok("read the store's page")?;
    let page = bytes(text.trim())
        .filter(|page| page.len() == PAGE)
        .context("xenpeer gnt printed no page")?;
    let write = || {
        let mut out = OpenOptions::new().write(true).open(file)?;
        out.seek(SeekFrom::Start(frame * PAGE as u64))?;
        out.write_all(&page)
    };
    write().with_context(|| file.display().to_string())
}

/// The frame in xenbus.sys's line `store: page 0xfeffc, port 1`.
fn store_frame(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once("store: page 0x")?;
    u64::from_str_radix(rest.split(',').next()?, 16).ok()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::testing::{Builder, CORE, store};
    use super::*;

    fn reason(memory: &Memory) -> String {
        format!(
            "{:#}",
            find(memory).map(drop).expect_err("there is no bus in it")
        )
    }

    #[test]
    fn a_synthetic_image_is_read_whole() {
        let dump = find(&Builder::new().memory()).expect("a bus");
        assert_eq!(dump.build, "10.0.0.7");
        assert_eq!(dump.physical, testing::ROOT);
        assert_eq!(dump.tables, testing::PML4);
        let tasks: Vec<_> = dump
            .executors
            .iter()
            .flat_map(|executor| &executor.tasks)
            .collect();
        assert_eq!(tasks.len(), 2);
        assert_eq!(
            (
                tasks[0].name.as_str(),
                tasks[0].file.as_str(),
                tasks[0].line
            ),
            ("store", "src/store.rs", 42)
        );
        assert_eq!(
            (tasks[0].polls, tasks[0].state()),
            (17, "parked".to_owned())
        );
        assert_eq!(
            (tasks[1].name.as_str(), tasks[1].state()),
            ("enumerate", "scheduled".to_owned())
        );
        assert_eq!(dump.executors[0].runs, 5);
        let ring = dump.ring.as_ref().expect("the page is in the image");
        assert_eq!((ring.requests(), ring.responses()), (Ok(16), Ok(24)));
        assert_eq!(dump.counter("requests"), Some(3));
        assert_eq!(dump.counter("replies"), Some(2));
        assert_eq!(
            dump.cpus.iter().map(|cpu| cpu.upcalls).collect::<Vec<_>>(),
            [100, 0]
        );
        let text = dump.to_string();
        for part in [
            "build 10.0.0.7",
            "store",
            "src/store.rs:42",
            "requests",
            "16 bytes",
            "cpu 0",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn copies_that_lead_nowhere_are_passed_over() {
        let mut builder = Builder::new();
        // Copies below the live block: one as in an image file, one whose addresses lead nowhere.
        builder.copy_root(0x1000, 0);
        builder.copy_root(0x2000, 0xffff_f900_0000_0000);
        let dump = find(&builder.memory()).expect("a bus");
        assert_eq!(dump.physical, testing::ROOT);
    }

    #[test]
    fn a_page_table_that_leads_elsewhere_is_passed_over() {
        let mut builder = Builder::new();
        // A top level that translates everything to zeros, found first.
        builder.decoy_tables(0x4000);
        let dump = find(&builder.memory()).expect("a bus");
        assert_eq!(dump.tables, testing::PML4);
    }

    #[test]
    fn the_store_page_may_be_outside_of_the_image() {
        let mut builder = Builder::new();
        builder.move_store_page(0xfeff_c000);
        let dump = find(&builder.memory()).expect("a bus");
        assert!(dump.ring.is_none());
        assert!(dump.to_string().contains("outside of the image"), "{dump}");
    }

    #[test]
    fn what_is_not_there_is_said() {
        let empty = Memory::from_bytes(&[0; 4 * PAGE]).expect("an image");
        assert!(
            reason(&empty).contains("was not loaded"),
            "{}",
            reason(&empty)
        );
        let mut stopped = Builder::new();
        stopped.copy_root(testing::ROOT, 0);
        let stopped = reason(&stopped.memory());
        assert!(
            stopped.contains("10.0.0.7") && stopped.contains("leads anywhere"),
            "{stopped}"
        );
        let mut torn = Builder::new();
        torn.bytes(testing::PML4, &[0; PAGE]);
        assert!(reason(&torn.memory()).contains("no page tables"));
    }

    #[test]
    fn a_task_list_that_leads_in_a_circle_ends() {
        let mut builder = Builder::new();
        let first = builder.word(CORE + store::FIRST_TASK);
        builder.set(builder.physical(first) + store::NEXT, first);
        let dump = find(&builder.memory()).expect("a bus");
        assert!(dump.executors[0].damage.is_some());
    }

    #[test]
    fn the_line_of_the_store_names_its_frame() {
        assert_eq!(
            store_frame("DBG: xenbus|info: store: page 0xfeffc, port 1"),
            Some(0xf_effc)
        );
        assert_eq!(store_frame("store: page fault"), None);
        assert_eq!(bytes("00ff07"), Some(vec![0, 255, 7]));
        assert_eq!(bytes("zz"), None);
    }
}
