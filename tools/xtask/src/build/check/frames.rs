// SPDX-License-Identifier: BSD-2-Clause
//! Stack frames, from the unwind information that every x64 function with a frame has.
//!
//! A kernel stack is 24 KiB and other drivers share it, so no frame of ours may pass 4 KiB. Above a page the compiler
//! would also call a stack probe.

use anyhow::{Context, Result, bail};

use super::Problems;
use crate::build::image::{Function, Image};

/// Largest frame allowed, in bytes.
const LIMIT: u32 = 4096;
const CHAINED: u8 = 4;

/// A function's frame: pushed registers and what it takes off the stack pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Bytes.
    pub(crate) size: u32,
    /// Where the function begins.
    pub(crate) function: u32,
}

pub(super) fn check(problems: &mut Problems<'_>) -> Result<()> {
    let image = problems.image;
    for frame in frames(image)? {
        if frame.size > LIMIT {
            problems.add(
                "frame",
                format!(
                    "{} has a stack frame of {} bytes, more than {LIMIT}: keep large values in pool memory",
                    image.symbols.describe(frame.function),
                    frame.size
                ),
            );
        }
    }
    if let Some(probe) = image.symbols.names().find(|name| name.contains("chkstk")) {
        problems.add("frame", format!("{probe} is linked in: some function probes its stack, so its frame passes {LIMIT} bytes"));
    }
    Ok(())
}

/// The largest frame in `image`.
///
/// # Errors
///
/// Its unwind information can't be parsed.
pub(crate) fn largest(image: &Image) -> Result<Option<Frame>> {
    Ok(frames(image)?.into_iter().max_by_key(|frame| frame.size))
}

fn frames(image: &Image) -> Result<Vec<Frame>> {
    let functions = image.functions()?;
    functions
        .iter()
        .map(|function| {
            let size = frame_size(function.unwind, &|rva| image.at(rva), 0).with_context(|| {
                format!(
                    "unwind information of {}",
                    image.symbols.describe(function.begin)
                )
            })?;
            Ok(Frame {
                size,
                function: function.begin,
            })
        })
        .collect()
}

/// Adds up the unwind codes at `rva`, and those of the function that it continues.
fn frame_size<'a>(rva: u32, at: &impl Fn(u32) -> Result<&'a [u8]>, depth: u32) -> Result<u32> {
    if depth > 32 {
        bail!("unwind information chains to itself");
    }
    let info = at(rva)?;
    let [head, _prolog, count, _frame_register, codes @ ..] = info else {
        bail!("unwind information cut short")
    };
    let (version, flags, count) = (head & 7, head >> 3, usize::from(*count));
    if version != 1 && version != 2 {
        bail!("unwind information of version {version}");
    }
    let slots = codes.get(..count * 2).context("unwind codes cut short")?;
    let mut size = codes_size(slots)?;
    if flags & CHAINED != 0 {
        // Behind the codes, padded to an even count: the table entry of the first part.
        let parent = codes
            .get(count.next_multiple_of(2) * 2..)
            .and_then(|tail| tail.first_chunk::<12>())
            .context("chain cut short")?;
        let word = |index: usize| {
            u32::from_le_bytes([
                parent[index],
                parent[index + 1],
                parent[index + 2],
                parent[index + 3],
            ])
        };
        let parent = Function {
            begin: word(0),
            end: word(4),
            unwind: word(8),
        };
        size = size.saturating_add(frame_size(parent.unwind, at, depth + 1)?);
    }
    Ok(size)
}

/// Bytes that a list of unwind codes stands for.
fn codes_size(slots: &[u8]) -> Result<u32> {
    let slot = |index: usize| -> Result<u32> {
        let bytes = slots
            .get(index * 2..index * 2 + 2)
            .context("unwind code cut short")?;
        Ok(u32::from(bytes[0]) | u32::from(bytes[1]) << 8)
    };
    let (mut index, mut size) = (0, 0u32);
    while index * 2 < slots.len() {
        let code = slot(index)? >> 8;
        let (operation, info) = (code & 15, code >> 4);
        let (bytes, used) = match (operation, info) {
            (0, _) => (8, 1),                                         // push
            (1, 0) => (slot(index + 1)? * 8, 2),                      // large allocation, scaled
            (1, _) => (slot(index + 1)? | slot(index + 2)? << 16, 3), // large allocation, in bytes
            (2, info) => (info * 8 + 8, 1),                           // small allocation
            (3, _) => (0, 1),                                         // frame register
            (4 | 8, _) => (0, 2),                                     // save in the frame
            (5 | 9, _) => (0, 3),                                     // the same, far
            (6, _) => (0, if info == 0 { 2 } else { 1 }),             // epilogue, version 2
            (10, info) => (40 + info * 8, 1),                         // interrupt frame
            (operation, _) => bail!("unknown unwind code {operation}"),
        };
        size = size.saturating_add(bytes);
        index += used;
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of(info: &'static [u8]) -> Result<u32> {
        frame_size(0, &|rva| info.get(rva as usize..).context("outside"), 0)
    }

    #[test]
    fn pushes_and_small_allocations_add_up() {
        // sub rsp, 0x28; push rbx; push rsi
        assert_eq!(
            size_of(&[1, 6, 3, 0, 6, 0x42, 2, 0x30, 1, 0x60]).unwrap(),
            0x28 + 16
        );
    }

    #[test]
    fn large_allocations_are_read_in_both_forms() {
        assert_eq!(size_of(&[1, 7, 2, 0, 7, 0x01, 0x00, 0x02]).unwrap(), 0x1000);
        assert_eq!(
            size_of(&[1, 7, 3, 0, 7, 0x11, 0x10, 0x00, 0x10, 0x00]).unwrap(),
            0x10_0010
        );
    }

    #[test]
    fn a_chained_part_includes_what_it_continues() {
        // One push here (padded to two slots), then an entry whose information is at 20: 8 bytes more.
        let info: &[u8] = &[
            0x21, 0, 1, 0, 1, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 1, 0, 1, 0, 1, 0x02,
        ];
        assert_eq!(size_of(info).unwrap(), 8 + 8);
    }

    #[test]
    fn broken_information_is_an_error() {
        assert!(size_of(&[1, 0, 2, 0, 0, 0x01]).is_err());
        assert!(size_of(&[1, 0, 1, 0, 0, 0x07]).is_err());
        // Chains to itself.
        assert!(size_of(&[0x21, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).is_err());
    }
}
