// SPDX-License-Identifier: BSD-2-Clause
//! The rest of the run-time library: version, random numbers, time, GUIDs, bit maps, memory, contexts.
//!
//! Stack unwinding is not offered: `RtlLookupFunctionEntry` finds nothing, which ends a driver's stack
//! dump early, and reaching an unwinder or an exception handler after that ends the run.

use super::guid::{Guid, TEXT_LENGTH};
use super::time::{TimeFields, from_fields, to_fields};
use crate::mem::Ptr;
use crate::verifier;

const INVALID_PARAMETER: i32 = 0xC000_000D_u32 as i32;
const NO_BITS: u32 = u32::MAX;

/// Windows 10 version 1607, the oldest that the drivers support.
pub const VERSION: (u32, u32, u32) = (10, 0, 14393);

pub(super) extern "win64" fn get_version(info: Ptr) -> i32 {
    let size: u32 = info.get(0);
    if !matches!(size, 0x114 | 0x11C) {
        return INVALID_PARAMETER;
    }
    info.add(4).fill(0, size as usize - 4);
    info.set(4, VERSION.0);
    info.set(8, VERSION.1);
    info.set(0xC, VERSION.2);
    info.set(0x10, 2u32);
    if size == 0x11C {
        info.set(0x118, 0x100u16);
        info.set(0x11A, 1u8);
    }
    0
}

pub(super) extern "win64" fn random(seed: Ptr) -> u32 {
    let state: u32 = seed.get(0);
    let next = state.wrapping_mul(0x7FFF_FFED).wrapping_add(0x7FFF_FFC3) & 0x7FFF_FFFF;
    seed.set(0, next);
    (next ^ next >> 13) & 0x7FFF_FFFF
}

pub(super) extern "win64" fn compare_memory(left: Ptr, right: Ptr, count: usize) -> usize {
    (0..count)
        .find(|i| left.get::<u8>(*i) != right.get::<u8>(*i))
        .unwrap_or(count)
}

pub(super) extern "win64" fn fill_memory(at: Ptr, count: usize, value: u8) {
    at.fill(value, count);
}

pub(super) extern "win64" fn zero_memory(at: Ptr, count: usize) {
    at.fill(0, count);
}

pub(super) extern "win64" fn time_to_fields(time: Ptr, to: Ptr) {
    let fields = to_fields(time.get(0));
    let words = [
        fields.year,
        fields.month,
        fields.day,
        fields.hour,
        fields.minute,
        fields.second,
        fields.milliseconds,
        fields.weekday,
    ];
    for (index, word) in words.into_iter().enumerate() {
        to.set(2 * index, word);
    }
}

pub(super) extern "win64" fn fields_to_time(from: Ptr, time: Ptr) -> u8 {
    let word = |index: usize| from.get::<i16>(2 * index);
    let fields = TimeFields {
        year: word(0),
        month: word(1),
        day: word(2),
        hour: word(3),
        minute: word(4),
        second: word(5),
        milliseconds: word(6),
        weekday: word(7),
    };
    match from_fields(&fields) {
        Some(value) => {
            time.set(0, value);
            1
        }
        None => 0,
    }
}

/// Reads a GUID of a driver's.
pub fn read_guid(at: Ptr) -> Guid {
    let mut data4 = [0; 8];
    at.add(8).copy_to(&mut data4);
    Guid::new(at.get(0), at.get(4), at.get(6), data4)
}

/// Writes a GUID into a driver's memory.
pub fn write_guid(at: Ptr, guid: &Guid) {
    at.set(0, guid.data1);
    at.set(4, guid.data2);
    at.set(6, guid.data3);
    at.add(8).copy_from(&guid.data4);
}

pub(super) extern "win64" fn string_from_guid(guid: Ptr, string: Ptr) -> i32 {
    let text: [u16; TEXT_LENGTH] = read_guid(guid).to_text().map(u16::from);
    super::strings::allocated(string, &text)
}

pub(super) extern "win64" fn guid_from_string(string: Ptr, guid: Ptr) -> i32 {
    match Guid::from_text(&string.unicode_units()) {
        Some(value) => {
            write_guid(guid, &value);
            0
        }
        None => INVALID_PARAMETER,
    }
}

pub(super) extern "win64" fn capture_back_trace(
    _skip: u32,
    count: u32,
    frames: Ptr,
    hash: Ptr,
) -> u16 {
    if !hash.is_null() {
        hash.set(0, 0u32);
    }
    if count != 0 && !frames.is_null() {
        frames.set(0, 0u64);
    }
    0
}

pub(super) extern "win64" fn lookup_function_entry(_pc: u64, base: Ptr, _history: Ptr) -> Ptr {
    if !base.is_null() {
        base.set(0, 0u64);
    }
    Ptr::NULL
}

pub(super) extern "win64" fn virtual_unwind() -> Ptr {
    verifier::failed(
        "rtl",
        format_args!("RtlVirtualUnwind was called, but no entry was ever found"),
    )
}

pub(super) extern "win64" fn c_specific_handler() -> i32 {
    verifier::failed(
        "rtl",
        format_args!("an exception reached a guarded region of a driver"),
    )
}

/// Fills the integer part of a `CONTEXT`. The gate jumps here with the caller's frame as it was.
#[unsafe(naked)]
pub extern "win64" fn capture_context() {
    core::arch::naked_asm!(
        // CONTEXT_AMD64 | CONTROL | INTEGER.
        "mov dword ptr [rcx + 0x30], 0x100003",
        "stmxcsr dword ptr [rcx + 0x34]",
        "mov word ptr [rcx + 0x38], cs",
        "mov word ptr [rcx + 0x42], ss",
        "mov [rcx + 0x78], rax",
        "mov [rcx + 0x80], rcx",
        "mov [rcx + 0x88], rdx",
        "mov [rcx + 0x90], rbx",
        "mov [rcx + 0xA0], rbp",
        "mov [rcx + 0xA8], rsi",
        "mov [rcx + 0xB0], rdi",
        "mov [rcx + 0xB8], r8",
        "mov [rcx + 0xC0], r9",
        "mov [rcx + 0xC8], r10",
        "mov [rcx + 0xD0], r11",
        "mov [rcx + 0xD8], r12",
        "mov [rcx + 0xE0], r13",
        "mov [rcx + 0xE8], r14",
        "mov [rcx + 0xF0], r15",
        "pushfq",
        "pop rax",
        "mov [rcx + 0x44], eax",
        "lea rax, [rsp + 8]",
        "mov [rcx + 0x98], rax",
        "mov rax, [rsp]",
        "mov [rcx + 0xF8], rax",
        "mov rax, [rcx + 0x78]",
        "ret",
    )
}

fn bits(map: Ptr) -> u32 {
    map.get(0)
}

fn bit(map: Ptr, index: u32) -> bool {
    let word: u32 = map.ptr(8).get(4 * (index / 32) as usize);
    word >> (index % 32) & 1 != 0
}

fn put_bit(map: Ptr, index: u32, on: bool) {
    let at = 4 * (index / 32) as usize;
    let word: u32 = map.ptr(8).get(at);
    let mask = 1 << (index % 32);
    map.ptr(8)
        .set(at, if on { word | mask } else { word & !mask });
}

fn put_run(map: Ptr, start: u32, count: u32, on: bool) {
    (start..start.saturating_add(count)).for_each(|index| put_bit(map, index, on));
}

fn is_run(map: Ptr, start: u32, count: u32, on: bool) -> bool {
    match start.checked_add(count) {
        Some(end) if count != 0 && end <= bits(map) => {
            (start..end).all(|index| bit(map, index) == on)
        }
        _ => false,
    }
}

fn find_run(map: Ptr, count: u32, hint: u32, on: bool) -> u32 {
    let size = bits(map);
    let hint = if hint < size { hint } else { 0 };
    (hint..size)
        .chain(0..hint)
        .find(|start| is_run(map, *start, count, on))
        .unwrap_or(NO_BITS)
}

pub(super) extern "win64" fn bitmap_init(map: Ptr, buffer: Ptr, size: u32) {
    map.set(0, size);
    map.set(8, buffer);
}

pub(super) extern "win64" fn bitmap_set(map: Ptr, start: u32, count: u32) {
    put_run(map, start, count, true);
}

pub(super) extern "win64" fn bitmap_clear(map: Ptr, start: u32, count: u32) {
    put_run(map, start, count, false);
}

pub(super) extern "win64" fn bitmap_set_all(map: Ptr) {
    map.ptr(8).fill(0xFF, 4 * bits(map).div_ceil(32) as usize);
}

pub(super) extern "win64" fn bitmap_clear_all(map: Ptr) {
    map.ptr(8).fill(0, 4 * bits(map).div_ceil(32) as usize);
}

pub(super) extern "win64" fn bitmap_test(map: Ptr, index: u32) -> u8 {
    u8::from(bit(map, index))
}

pub(super) extern "win64" fn bitmap_set_one(map: Ptr, index: u32) {
    put_bit(map, index, true);
}

pub(super) extern "win64" fn bitmap_clear_one(map: Ptr, index: u32) {
    put_bit(map, index, false);
}

pub(super) extern "win64" fn bitmap_are_set(map: Ptr, start: u32, count: u32) -> u8 {
    u8::from(is_run(map, start, count, true))
}

pub(super) extern "win64" fn bitmap_are_clear(map: Ptr, start: u32, count: u32) -> u8 {
    u8::from(is_run(map, start, count, false))
}

pub(super) extern "win64" fn bitmap_find_clear(map: Ptr, count: u32, hint: u32) -> u32 {
    find_run(map, count, hint, false)
}

pub(super) extern "win64" fn bitmap_find_set(map: Ptr, count: u32, hint: u32) -> u32 {
    find_run(map, count, hint, true)
}

pub(super) extern "win64" fn bitmap_find_clear_and_set(map: Ptr, count: u32, hint: u32) -> u32 {
    let start = find_run(map, count, hint, false);
    if start != NO_BITS {
        put_run(map, start, count, true);
    }
    start
}

pub(super) extern "win64" fn bitmap_count_set(map: Ptr) -> u32 {
    (0..bits(map)).map(|index| u32::from(bit(map, index))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bitmap_finds_runs_from_the_hint_and_wraps() {
        let mut words = [0u32; 3];
        let mut header = [0u64; 2];
        let map = Ptr(header.as_mut_ptr() as usize);
        bitmap_init(map, Ptr(words.as_mut_ptr() as usize), 70);
        bitmap_set(map, 0, 40);
        assert_eq!(bitmap_count_set(map), 40);
        assert_eq!(bitmap_find_clear(map, 5, 0), 40);
        assert_eq!(bitmap_find_clear_and_set(map, 30, 60), 40);
        assert_eq!(bitmap_find_clear(map, 1, 0), NO_BITS);
        bitmap_clear(map, 3, 2);
        assert_eq!(bitmap_find_clear(map, 2, 50), 3);
        assert_eq!(
            (bitmap_are_clear(map, 3, 2), bitmap_are_set(map, 3, 2)),
            (1, 0)
        );
    }

    #[test]
    fn the_version_fills_both_sizes_and_refuses_others() {
        let mut info = [0xFFu8; 0x11C];
        let at = Ptr(info.as_mut_ptr() as usize);
        at.set(0, 0x11Cu32);
        assert_eq!(get_version(at), 0);
        assert_eq!(
            (at.get::<u32>(4), at.get::<u32>(0xC), at.get::<u8>(0x11A)),
            (10, 14393, 1)
        );
        at.set(0, 5u32);
        assert_eq!(get_version(at), INVALID_PARAMETER);
    }

    #[test]
    fn random_numbers_have_31_bits_and_advance_the_seed() {
        let mut seed = 1u64;
        let at = Ptr(&raw mut seed as usize);
        let first = random(at);
        let second = random(at);
        assert!(first != second && first >> 31 == 0 && second >> 31 == 0);
    }

    #[test]
    fn a_context_holds_the_place_of_the_call() {
        #[repr(align(16))]
        struct Context([u64; 0x9A]);
        let mut context = Context([0; 0x9A]);
        type Entry = extern "win64" fn(*mut u64);
        // SAFETY: the naked entry takes one pointer in this ABI.
        let f = unsafe { core::mem::transmute::<extern "win64" fn(), Entry>(capture_context) };
        f(context.0.as_mut_ptr());
        let here = core::ptr::from_ref(&context) as u64;
        assert!(
            context.0[0x98 / 8].abs_diff(here) < 0x10000,
            "stack pointer"
        );
        assert_ne!(context.0[0xF8 / 8], 0);
    }
}
