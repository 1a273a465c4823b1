// SPDX-License-Identifier: BSD-2-Clause
//! The pool that drivers allocate from, checked.
//!
//! ```text
//! small:  | header 32: magic, size, tag, owner | the block | red zone >= 16 |   in slots of 64 << n bytes
//! large:  | the block, page aligned ................ | red zone to the page end |   header in a side table
//! ```
//!
//! Fresh memory is filled with 0xCD, freed memory with 0xDD and put at the end of its free list; when a slot is
//! taken again, and at the end of the run, it must still be 0xDD. Double frees, wrong tags, overruns and underruns,
//! objects that are freed while in use (queued DPC, active timer, held lock, waited-on event) are violations. The owner
//! is the driver that made the call, so what is left at its unload is known.
//!
//! # IRQL
//!
//! Non-paged pool up to DISPATCH_LEVEL, paged pool up to APC_LEVEL; inside, any.

use alloc::collections::VecDeque;
use alloc::collections::btree_map::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::arch;
use crate::export::D;
use crate::mem::Ptr;
use crate::mm::PAGE;
use crate::sync::Lock;
use crate::verifier;

/// Fills freed memory.
pub const POISON: u8 = 0xdd;
const FRESH: u8 = 0xcd;
const RED: u8 = 0xab;
const LIVE: u32 = 0x4556_494c;
const FREED: u32 = 0x4545_5246;
const HEADER: usize = 32;
const RED_ZONE: usize = 16;
/// Slots of 64 << n bytes.
const CLASSES: usize = 8;
const CHUNK: usize = 64 * 1024;
/// Freed large blocks that are kept back.
const KEPT: usize = 32;
const KERNEL: u32 = 0;

// Header: magic u32 0, size u32 4, tag u32 8, owner u32 C, paged u32 10, sum u32 14, 8 bytes of red zone 18.

#[derive(Clone, Copy, Debug)]
struct Large {
    size: usize,
    tag: u32,
    owner: u32,
    paged: bool,
    live: bool,
}

struct Pool {
    chunks: Vec<(usize, usize)>,
    free: [VecDeque<usize>; CLASSES],
    large: BTreeMap<usize, Large>,
    kept: VecDeque<usize>,
    owners: Vec<String>,
}

static POOL: Lock<Pool> = Lock::new(Pool {
    chunks: Vec::new(),
    free: [const { VecDeque::new() }; CLASSES],
    large: BTreeMap::new(),
    kept: VecDeque::new(),
    owners: Vec::new(),
});
/// Calls of drivers so far, and the one that shall fail (0: none).
static CALLS: AtomicU64 = AtomicU64::new(0);
static FAIL_AT: AtomicU64 = AtomicU64::new(0);

/// What is wrong with a block.
#[derive(Debug, PartialEq, Eq)]
struct Broken {
    rule: &'static str,
    detail: String,
}

fn broken<T>(rule: &'static str, detail: core::fmt::Arguments<'_>) -> Result<T, Broken> {
    Err(Broken {
        rule,
        detail: detail.to_string(),
    })
}

fn tag_text(tag: u32) -> String {
    tag.to_le_bytes()
        .iter()
        .map(|b| {
            if b.is_ascii_graphic() {
                char::from(*b)
            } else {
                '.'
            }
        })
        .collect()
}

#[cfg(target_os = "none")]
fn take_pages(count: usize) -> Option<usize> {
    use crate::mm::phys;
    phys::allocate_run(count, phys::Bounds::ANY).map(|p| arch::DIRECT_MAP + p as usize)
}

#[cfg(target_os = "none")]
fn give_pages(at: usize, count: usize) {
    crate::mm::phys::free((at - arch::DIRECT_MAP) as u64, count);
}

#[cfg(not(target_os = "none"))]
fn take_pages(count: usize) -> Option<usize> {
    let memory = Vec::leak(alloc::vec![0u8; (count + 1) * PAGE]);
    Some((memory.as_ptr() as usize).next_multiple_of(PAGE))
}

#[cfg(not(target_os = "none"))]
fn give_pages(_at: usize, _count: usize) {}

fn first_not(at: Ptr, len: usize, value: u8) -> Option<usize> {
    let word = u64::from_le_bytes([value; 8]);
    let words = len / 8;
    (0..words)
        .find(|i| at.get::<u64>(i * 8) != word)
        .map(|i| i * 8)
        .or_else(|| (words * 8..len).find(|i| at.get::<u8>(*i) != value))
}

impl Pool {
    const fn class_of(size: usize) -> Option<usize> {
        let total = size + HEADER + RED_ZONE;
        let mut class = 0;
        while class < CLASSES {
            if total <= 64 << class {
                return Some(class);
            }
            class += 1;
        }
        None
    }

    fn owner_index(&mut self, owner: &str) -> u32 {
        if let Some(i) = self.owners.iter().position(|o| o == owner) {
            return i as u32 + 1;
        }
        self.owners.push(owner.to_string());
        self.owners.len() as u32
    }

    fn owner_name(&self, index: u32) -> &str {
        (index as usize)
            .checked_sub(1)
            .and_then(|i| self.owners.get(i))
            .map_or("kernel", String::as_str)
    }

    fn allocate(&mut self, size: usize, tag: u32, owner: u32, paged: bool) -> Result<Ptr, Broken> {
        match Self::class_of(size).filter(|_| size < PAGE) {
            Some(class) => self.allocate_small(class, size, tag, owner, paged),
            None => Ok(self.allocate_large(size, tag, owner, paged)),
        }
    }

    fn allocate_small(
        &mut self,
        class: usize,
        size: usize,
        tag: u32,
        owner: u32,
        paged: bool,
    ) -> Result<Ptr, Broken> {
        if self.free[class].is_empty() {
            let Some(chunk) = take_pages(CHUNK / PAGE) else {
                return Ok(Ptr::NULL);
            };
            Ptr(chunk).fill(POISON, CHUNK);
            self.chunks.push((chunk, class));
            self.free[class].extend((chunk..chunk + CHUNK).step_by(64 << class));
        }
        let Some(slot) = self.free[class].pop_front() else {
            return Ok(Ptr::NULL);
        };
        let slot = Ptr(slot);
        let room = 64usize << class;
        self.check_freed(slot, room)?;
        slot.set(0, LIVE);
        slot.set(4, size as u32);
        slot.set(8, tag);
        slot.set(0xc, owner);
        slot.set(0x10, u32::from(paged));
        slot.set(0x14, LIVE ^ size as u32 ^ tag ^ owner);
        slot.add(0x18).fill(RED, 8);
        let block = slot.add(HEADER);
        block.fill(FRESH, size);
        block.add(size).fill(RED, room - HEADER - size);
        Ok(block)
    }

    /// A slot on the free list must be as it was left.
    fn check_freed(&self, slot: Ptr, room: usize) -> Result<(), Broken> {
        let body = slot.add(HEADER);
        if let Some(at) = first_not(body, room - HEADER, POISON) {
            let known = slot.get::<u32>(0) == FREED;
            let (tag, owner) = if known {
                (slot.get(8), slot.get(0xc))
            } else {
                (0, KERNEL)
            };
            return broken(
                "freed_write",
                format_args!(
                    "freed block {body} tag {} of {} was written at +{at:#x}",
                    tag_text(tag),
                    self.owner_name(owner)
                ),
            );
        }
        Ok(())
    }

    fn allocate_large(&mut self, size: usize, tag: u32, owner: u32, paged: bool) -> Ptr {
        let pages = (size + RED_ZONE).div_ceil(PAGE);
        let Some(at) = take_pages(pages) else {
            return Ptr::NULL;
        };
        Ptr(at).fill(FRESH, size);
        Ptr(at + size).fill(RED, pages * PAGE - size);
        self.large.insert(
            at,
            Large {
                size,
                tag,
                owner,
                paged,
                live: true,
            },
        );
        Ptr(at)
    }

    /// The size and tag of a live block; what is wrong otherwise.
    fn check_live(&self, block: Ptr) -> Result<(usize, u32, bool), Broken> {
        if let Some(large) = self.large.get(&block.0) {
            if !large.live {
                let owner = self.owner_name(large.owner);
                return broken(
                    "double_free",
                    format_args!("block {block} tag {} of {owner}", tag_text(large.tag)),
                );
            }
            let pages = (large.size + RED_ZONE).div_ceil(PAGE);
            if let Some(at) = first_not(block.add(large.size), pages * PAGE - large.size, RED) {
                return broken(
                    "pool_overrun",
                    format_args!(
                        "block {block} of {:#x} bytes was written at +{:#x}",
                        large.size,
                        large.size + at
                    ),
                );
            }
            return Ok((large.size, large.tag, large.paged));
        }
        let Some(room) = self.slot_of(block) else {
            return broken("bad_free", format_args!("{block} is not a pool block"));
        };
        let slot = block.sub(HEADER);
        let (magic, size, tag, owner) = (
            slot.get::<u32>(0),
            slot.get::<u32>(4),
            slot.get::<u32>(8),
            slot.get::<u32>(0xc),
        );
        if magic == FREED {
            let owner = self.owner_name(owner);
            return broken(
                "double_free",
                format_args!("block {block} tag {} of {owner}", tag_text(tag)),
            );
        }
        if magic != LIVE
            || slot.get::<u32>(0x14) != LIVE ^ size ^ tag ^ owner
            || size as usize + HEADER + RED_ZONE > room
            || first_not(slot.add(0x18), 8, RED).is_some()
        {
            if magic == u32::from_le_bytes([POISON; 4]) {
                return broken("bad_free", format_args!("{block} was never allocated"));
            }
            return broken(
                "pool_underrun",
                format_args!("the header of block {block} is damaged"),
            );
        }
        let size = size as usize;
        if let Some(at) = first_not(block.add(size), room - HEADER - size, RED) {
            return broken(
                "pool_overrun",
                format_args!(
                    "block {block} of {size:#x} bytes was written at +{:#x}",
                    size + at
                ),
            );
        }
        Ok((size, tag, slot.get::<u32>(0x10) != 0))
    }

    fn slot_of(&self, block: Ptr) -> Option<usize> {
        let slot = block.0.checked_sub(HEADER)?;
        let (chunk, class) = self
            .chunks
            .iter()
            .find(|(c, _)| (*c..*c + CHUNK).contains(&slot))?;
        let room = 64usize << class;
        (slot - chunk).is_multiple_of(room).then_some(room)
    }

    fn free(&mut self, block: Ptr, tag: u32) -> Result<(), Broken> {
        let (size, real, _) = self.check_live(block)?;
        if tag != 0 && tag != real {
            return broken(
                "tag_mismatch",
                format_args!(
                    "block {block} has tag {}, freed with {}",
                    tag_text(real),
                    tag_text(tag)
                ),
            );
        }
        if let Some(large) = self.large.get_mut(&block.0) {
            large.live = false;
            let room = (size + RED_ZONE).div_ceil(PAGE) * PAGE;
            block.fill(POISON, room);
            self.kept.push_back(block.0);
            return self.release_kept(KEPT);
        }
        let Some(room) = self.slot_of(block) else {
            return Ok(());
        };
        let slot = block.sub(HEADER);
        slot.set(0, FREED);
        block.fill(POISON, room - HEADER);
        self.free[room.trailing_zeros() as usize - 6].push_back(slot.0);
        Ok(())
    }

    fn release_kept(&mut self, keep: usize) -> Result<(), Broken> {
        while self.kept.len() > keep {
            let Some(at) = self.kept.pop_front() else {
                break;
            };
            let Some(large) = self.large.remove(&at) else {
                continue;
            };
            let pages = (large.size + RED_ZONE).div_ceil(PAGE);
            if let Some(offset) = first_not(Ptr(at), pages * PAGE, POISON) {
                return broken(
                    "freed_write",
                    format_args!(
                        "freed block {at:#x} tag {} of {} was written at +{offset:#x}",
                        tag_text(large.tag),
                        self.owner_name(large.owner)
                    ),
                );
            }
            give_pages(at, pages);
        }
        Ok(())
    }

    /// Every free slot must hold poison and every live block its red zones.
    fn check_all(&mut self) -> Result<(), Broken> {
        self.release_kept(0)?;
        for class in 0..CLASSES {
            for i in 0..self.free[class].len() {
                let slot = Ptr(self.free[class][i]);
                self.check_freed(slot, 64 << class)?;
            }
        }
        for block in self.live() {
            self.check_live(block)?;
        }
        Ok(())
    }

    fn live(&self) -> Vec<Ptr> {
        let small = self.chunks.iter().flat_map(|(chunk, class)| {
            (*chunk..chunk + CHUNK)
                .step_by(64 << class)
                .filter(|s| Ptr(*s).get::<u32>(0) == LIVE)
                .map(|s| Ptr(s + HEADER))
        });
        let large = self
            .large
            .iter()
            .filter(|(_, l)| l.live)
            .map(|(at, _)| Ptr(*at));
        small.chain(large).collect()
    }

    fn describe(&self, block: Ptr) -> (usize, u32, u32) {
        match self.large.get(&block.0) {
            Some(l) => (l.size, l.tag, l.owner),
            None => {
                let slot = block.sub(HEADER);
                (slot.get::<u32>(4) as usize, slot.get(8), slot.get(0xc))
            }
        }
    }
}

/// A four-character tag as the drivers spell it.
pub const fn tag(text: &[u8; 4]) -> u32 {
    u32::from_le_bytes(*text)
}

/// Ends the run when a block was broken. A write to freed memory is charged to the driver that had it.
fn settle<T>(result: Result<T, Broken>) -> T {
    match result {
        Ok(value) => value,
        Err(b) => {
            let mut who = verifier::caller();
            let owner = b
                .detail
                .split(" of ")
                .nth(1)
                .and_then(|d| d.split(' ').next());
            if let Some(owner) = owner.filter(|_| b.rule == "freed_write") {
                who = verifier::Caller {
                    driver: owner.to_string(),
                    export: "-",
                };
            }
            verifier::fail_as(&who, b.rule, format_args!("{}", b.detail))
        }
    }
}

/// Allocates non-paged, non-executable pool that a driver will free (id strings, resource lists, relations): the
/// contents are undefined; 16-byte aligned, page aligned from one page on; null when there is none. It counts
/// as the kernel's own until freed.
pub fn allocate(size: usize, tag: u32) -> Ptr {
    let result = POOL.lock().allocate(size.max(1), tag, KERNEL, false);
    settle(result)
}

/// Allocates for the calling driver, which is then responsible for it (MDLs).
pub(crate) fn allocate_for_caller(size: usize, tag: u32) -> Ptr {
    let who = verifier::caller();
    let result = {
        let mut pool = POOL.lock();
        let owner = pool.owner_index(&who.driver);
        pool.allocate(size.max(1), tag, owner, false)
    };
    settle(result)
}

/// Frees pool (as `ExFreePool`).
pub fn free(block: Ptr) {
    free_tagged(block, 0);
}

fn free_tagged(block: Ptr, tag: u32) {
    // What the block is comes first: a freed or foreign pointer is reported as that.
    let (size, _, paged) = {
        let checked = POOL.lock().check_live(block);
        settle(checked)
    };
    if paged && arch::irql() > crate::ke::irql::APC {
        verifier::fail(
            "pool_irql",
            format_args!("paged block {block} freed at IRQL {}", arch::irql()),
        );
    }
    #[cfg(target_os = "none")]
    verifier::leaks::check_freed_range(block, size);
    #[cfg(not(target_os = "none"))]
    let _ = size;
    let result = POOL.lock().free(block, tag);
    settle(result);
}

/// Makes the `n`th allocation of a driver from now on fail (0: none).
pub fn fail_at(n: u64) {
    FAIL_AT.store(
        if n == 0 {
            0
        } else {
            CALLS.load(Ordering::Relaxed) + n
        },
        Ordering::Relaxed,
    );
}

/// Number of allocations that drivers asked for.
pub fn calls() -> u64 {
    CALLS.load(Ordering::Relaxed)
}

/// Counts an allocation of a driver; whether it shall fail.
pub(crate) fn shall_fail() -> bool {
    let call = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
    call == FAIL_AT.load(Ordering::Relaxed)
}

/// Live blocks of a driver: (block, size, tag).
pub(crate) fn left_by(driver: &str) -> Vec<(Ptr, usize, String)> {
    let pool = POOL.lock();
    pool.live()
        .into_iter()
        .map(|block| (block, pool.describe(block)))
        .filter(|(_, (_, _, owner))| *owner != KERNEL && pool.owner_name(*owner) == driver)
        .map(|(block, (size, tag, _))| (block, size, tag_text(tag)))
        .collect()
}

/// Checks all of the pool for damage.
pub fn check_all() {
    let result = POOL.lock().check_all();
    settle(result);
}

fn allocate_with_tag(kind: u32, size: usize, tag: u32) -> Ptr {
    let paged = kind & 1 != 0;
    if paged && arch::irql() > crate::ke::irql::APC {
        verifier::fail(
            "pool_irql",
            format_args!("paged pool allocated at IRQL {}", arch::irql()),
        );
    }
    if !paged && kind & 512 == 0 {
        verifier::fail(
            "executable_pool",
            format_args!("pool type {kind}: non-paged pool must be NX (512)"),
        );
    }
    if size == 0 || tag == 0 {
        verifier::fail(
            "bad_argument",
            format_args!("pool size {size}, tag {tag:#x}"),
        );
    }
    if shall_fail() {
        return Ptr::NULL;
    }
    let who = verifier::caller();
    let result = {
        let mut pool = POOL.lock();
        let owner = pool.owner_index(&who.driver);
        pool.allocate(size, tag, owner, paged)
    };
    settle(result)
}

extern "win64" fn ex_allocate_pool_with_tag(kind: u32, size: usize, tag: u32) -> Ptr {
    allocate_with_tag(kind, size, tag)
}

extern "win64" fn ex_allocate_pool(kind: u32, size: usize) -> Ptr {
    allocate_with_tag(kind, size, tag(b"None"))
}

extern "win64" fn ex_free_pool(block: Ptr) {
    free_tagged(block, 0);
}

extern "win64" fn ex_free_pool_with_tag(block: Ptr, tag: u32) {
    free_tagged(block, tag);
}

crate::exports! {
    "ExAllocatePoolWithTag", D => ex_allocate_pool_with_tag;
    "ExAllocatePool", D => ex_allocate_pool;
    "ExFreePool", D => ex_free_pool;
    "ExFreePoolWithTag", D => ex_free_pool_with_tag;
}

#[cfg(test)]
mod tests;
