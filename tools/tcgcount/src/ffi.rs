// SPDX-License-Identifier: BSD-2-Clause
//! UNSAFETY: declarations of QEMU's plugin interface (version 1) and the three functions that QEMU calls.
//!
//! The interface's rules: a block and its instructions are valid only during the translation callback; a counter that
//! translated code adds to must live as long as QEMU.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::{ptr, slice};

use crate::trace::Site;
use crate::{Counters, configure, finish, happened, seen};

type Id = u64;

/// A translated block, owned by QEMU.
#[repr(C)]
struct Block {
    _opaque: [u8; 0],
}

/// An instruction of a block, owned by QEMU.
#[repr(C)]
struct Instruction {
    _opaque: [u8; 0],
}

/// `QEMU_PLUGIN_INLINE_ADD_U64`
const ADD_U64: c_int = 0;
/// `QEMU_PLUGIN_CB_NO_REGS`
const NO_REGISTERS: c_int = 0;

// SAFETY: The names and signatures are those of QEMU 7.2's `qemu-plugin.h`; QEMU resolves them when it loads this.
unsafe extern "C" {
    fn qemu_plugin_register_vcpu_tb_trans_cb(id: Id, callback: extern "C" fn(Id, *mut Block));
    fn qemu_plugin_register_atexit_cb(
        id: Id,
        callback: extern "C" fn(Id, *mut c_void),
        data: *mut c_void,
    );
    fn qemu_plugin_tb_n_insns(block: *const Block) -> usize;
    fn qemu_plugin_tb_get_insn(block: *const Block, index: usize) -> *mut Instruction;
    fn qemu_plugin_insn_vaddr(instruction: *const Instruction) -> u64;
    fn qemu_plugin_insn_data(instruction: *const Instruction) -> *const c_void;
    fn qemu_plugin_insn_size(instruction: *const Instruction) -> usize;
    fn qemu_plugin_register_vcpu_insn_exec_inline(
        instruction: *mut Instruction,
        operation: c_int,
        counter: *mut c_void,
        amount: u64,
    );
    fn qemu_plugin_register_vcpu_insn_exec_cb(
        instruction: *mut Instruction,
        callback: extern "C" fn(c_uint, *mut c_void),
        flags: c_int,
        data: *mut c_void,
    );
}

/// The version of the interface that this was written for.
// SAFETY: No other symbol of this library or of QEMU has the name; QEMU looks it up.
#[unsafe(no_mangle)]
#[used]
pub(crate) static qemu_plugin_version: c_int = 1;

/// QEMU's entry.
///
/// # Safety
/// Called once by QEMU, with `argc` strings in `argv` that live during the call.
// SAFETY: No other symbol of this library or of QEMU has the name; QEMU looks it up.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn qemu_plugin_install(
    id: Id,
    _info: *const c_void,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    let count = usize::try_from(argc).unwrap_or(0);
    let args = if count == 0 {
        &[]
    } else {
        // SAFETY: By the contract `argv` has `argc` elements, which is not zero here.
        unsafe { slice::from_raw_parts(argv, count) }
    };
    let texts = args.iter().filter_map(|arg| {
        // SAFETY: By the contract each element is a string that lives during the call.
        unsafe { CStr::from_ptr(*arg) }.to_str().ok()
    });
    let Some(count) = configure(texts) else {
        return -1;
    };
    // `priority` searches code that lies together until something in it is replaced.
    let corrected = crate::lock::correct()
        .and_then(crate::priority::correct)
        .and_then(|()| crate::event::correct())
        .and_then(|()| crate::ignne::correct());
    if let Err(why) = corrected {
        eprintln!("tcgcount: {why}");
        return -1;
    }
    if !count {
        return 0;
    }
    // SAFETY: `id` is the one that QEMU gave, and the callback has the type that it expects.
    unsafe { qemu_plugin_register_vcpu_tb_trans_cb(id, translated) };
    // SAFETY: As above; the callback does not use its data.
    unsafe { qemu_plugin_register_atexit_cb(id, ended, ptr::null_mut()) };
    0
}

extern "C" fn translated(_id: Id, block: *mut Block) {
    // SAFETY: QEMU passes a block that is valid during this call.
    let count = unsafe { qemu_plugin_tb_n_insns(block) };
    for index in 0..count {
        // SAFETY: The block is valid, and `index` is below its number of instructions.
        let instruction = unsafe { qemu_plugin_tb_get_insn(block, index) };
        // SAFETY: The instruction is one of a valid block.
        let address = unsafe { qemu_plugin_insn_vaddr(instruction) };
        // SAFETY: As above.
        let size = unsafe { qemu_plugin_insn_size(instruction) };
        // SAFETY: As above.
        let data = unsafe { qemu_plugin_insn_data(instruction) };
        if data.is_null() {
            continue;
        }
        // SAFETY: QEMU keeps `size` bytes of code behind the pointer while the block is valid.
        let code = unsafe { slice::from_raw_parts(data.cast::<u8>(), size) };
        let Counters { executed, site } = seen(address, code);
        for counter in executed.into_iter().flatten() {
            let counter = counter.as_ptr().cast();
            // SAFETY: The instruction is valid; the counter is 8 bytes, aligned, and never freed.
            unsafe { qemu_plugin_register_vcpu_insn_exec_inline(instruction, ADD_U64, counter, 1) };
        }
        if let Some(site) = site {
            let data = ptr::from_ref(site).cast_mut().cast();
            // SAFETY: The instruction is valid; the callback has the type that QEMU expects, and `data` is the site that it expects.
            unsafe {
                qemu_plugin_register_vcpu_insn_exec_cb(instruction, passed, NO_REGISTERS, data);
            }
        }
    }
}

/// Before the instruction adds to its counters: QEMU calls before it counts.
extern "C" fn passed(_cpu: c_uint, data: *mut c_void) {
    // SAFETY: `translated` gave QEMU a site, which is never freed.
    happened(unsafe { &*data.cast_const().cast::<Site>() });
}

extern "C" fn ended(_id: Id, _data: *mut c_void) {
    finish();
}
