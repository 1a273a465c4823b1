// SPDX-License-Identifier: BSD-2-Clause
//! UNSAFETY: a correction of the running QEMU, at two instructions that are found by their surroundings.
//!
//! Xen asks for an interrupt window with the priority of the interrupt that waits. The architecture opens it when
//! that is **above** the task priority (CR8); QEMU 7.2 opens it when it is not below. A guest at DISPATCH_LEVEL with its dispatch
//! interrupt (vector 0x2F) waiting then leaves to Xen before its first instruction, for ever. The two comparisons in QEMU
//! (`ctl_has_irq`, inlined into the CR8 write and VMRUN) are `cmp priority, tpr; jb not_yet`; the jump becomes `jbe`.

use std::fs;

use crate::patch;

/// The executable mappings of the program that holds `address`.
fn mappings(address: usize) -> Option<Vec<(usize, usize)>> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let parsed: Vec<(usize, usize, &str)> = maps
        .lines()
        .filter(|line| {
            line.split(' ')
                .nth(1)
                .is_some_and(|rights| rights.contains('x'))
        })
        .filter_map(|line| {
            let (start, rest) = line.split_once('-')?;
            let (end, _) = rest.split_once(' ')?;
            let start = usize::from_str_radix(start, 16).ok()?;
            let end = usize::from_str_radix(end, 16).ok()?;
            Some((start, end, line.split_whitespace().last()?))
        })
        .collect();
    let (.., file) = parsed
        .iter()
        .find(|(start, end, _)| (*start..*end).contains(&address))?;
    Some(
        parsed
            .iter()
            .filter(|(.., f)| f == file)
            .map(|(start, end, _)| (*start, *end))
            .collect(),
    )
}

/// Offset of the condition byte, if `code` begins with the comparison: the tail of `test reg, 0x100000` (ignore the
/// task priority), `jne`, then within a few instructions `shr reg, 16`, `cmp reg, reg` and `jb`.
fn condition(code: &[u8]) -> Option<usize> {
    if code.len() < 40 || code[..5] != [0, 0, 0x10, 0, 0x75] {
        return None;
    }
    let shift =
        (6..19).find(|i| code[*i] == 0xc1 && code[i + 1] & 0xf8 == 0xe8 && code[i + 2] == 16)?;
    let compare = (shift + 3..shift + 13).find(|i| code[*i] == 0x39 && code[i + 1] >= 0xc0)?;
    match code[compare + 2..] {
        [0x72, ..] => Some(compare + 2),
        [0x0f, 0x82, ..] => Some(compare + 3),
        _ => None,
    }
}

/// Offsets of all condition bytes in `code`.
fn conditions(code: &[u8]) -> Vec<usize> {
    (0..code.len())
        .filter_map(|i| condition(&code[i..code.len().min(i + 40)]).map(|at| i + at))
        .collect()
}

/// Corrects the comparisons in the program that holds `function`. Called before any emulation begins.
///
/// # Errors
/// QEMU's code is not the one that this was written for.
pub(crate) fn correct(function: usize) -> Result<(), String> {
    let mut found = Vec::new();
    for (start, end) in mappings(function).ok_or("QEMU's code is not in its list of mappings")? {
        // SAFETY: A mapping of QEMU's code, which stays; nothing writes to it while QEMU loads its plugins.
        let code = unsafe { std::slice::from_raw_parts(start as *const u8, end - start) };
        found.extend(conditions(code).into_iter().map(|at| start + at));
    }
    if found.len() != 2 {
        return Err(format!(
            "this QEMU compares interrupt priorities at {} places, not 2",
            found.len()
        ));
    }
    for at in found {
        // SAFETY: Code of QEMU's, found above.
        let [below] = unsafe { patch::read(at) };
        // SAFETY: The condition of a jump: below (x2) becomes below or equal (x6).
        unsafe { patch::write(at, &[below + 4]) }?;
    }
    Ok(())
}
