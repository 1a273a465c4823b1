// SPDX-License-Identifier: BSD-2-Clause
//! Single instructions.

use core::arch::asm;

use x86_64::instructions::{interrupts, port::Port};
use x86_64::registers::model_specific::Msr;

/// Turns interrupts off; returns whether they were on.
pub fn disable_interrupts() -> bool {
    let enabled = interrupts::are_enabled();
    interrupts::disable();
    enabled
}

/// Undoes [`disable_interrupts`].
pub fn restore_interrupts(enabled: bool) {
    if enabled {
        interrupts::enable();
    }
}

/// Turns interrupts on.
pub fn enable_interrupts() {
    interrupts::enable();
}

/// Whether interrupts are on.
pub fn interrupts_enabled() -> bool {
    interrupts::are_enabled()
}

/// Waits for an interrupt with interrupts on.
pub fn halt() {
    interrupts::enable_and_hlt();
}

/// The current IRQL.
pub fn irql() -> u8 {
    let level: u64;
    // SAFETY: reads CR8, which has no side effect.
    unsafe { asm!("mov {}, cr8", out(reg) level, options(nomem, nostack, preserves_flags)) }
    level as u8
}

/// Sets the IRQL.
pub fn set_irql(level: u8) {
    // SAFETY: writes CR8; an interrupt that becomes deliverable saves all that it uses. Memory operations
    // are not moved across it.
    unsafe { asm!("mov cr8, {}", in(reg) u64::from(level), options(nostack, preserves_flags)) }
}

/// Tells the CPU that it is spinning.
pub fn pause() {
    core::hint::spin_loop();
}

/// The time stamp counter.
pub fn rdtsc() -> u64 {
    // SAFETY: RDTSC is available on every x86-64 CPU.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// CPUID.
pub fn cpuid(leaf: u32, sub: u32) -> [u32; 4] {
    let r = core::arch::x86_64::__cpuid_count(leaf, sub);
    [r.eax, r.ebx, r.ecx, r.edx]
}

/// Writes one byte of the log.
pub fn log_byte(byte: u8) {
    outb(0xe9, byte);
}

/// Writes an I/O port.
pub fn outb(port: u16, value: u8) {
    // SAFETY: the kernel owns the machine's ports.
    unsafe { Port::new(port).write(value) }
}

/// Reads an I/O port.
pub fn inb(port: u16) -> u8 {
    // SAFETY: the kernel owns the machine's ports.
    unsafe { Port::new(port).read() }
}

/// Writes a 32-bit I/O port.
pub fn outl(port: u16, value: u32) {
    // SAFETY: the kernel owns the machine's ports.
    unsafe { Port::new(port).write(value) }
}

/// Reads a 32-bit I/O port.
pub fn inl(port: u16) -> u32 {
    // SAFETY: the kernel owns the machine's ports.
    unsafe { Port::new(port).read() }
}

/// Reads a model-specific register.
pub fn rdmsr(msr: u32) -> u64 {
    // SAFETY: the callers name registers that exist on every x86-64 CPU.
    unsafe { Msr::new(msr).read() }
}

/// Writes a model-specific register.
pub fn wrmsr(msr: u32, value: u64) {
    // SAFETY: the callers name registers that exist on every x86-64 CPU and values that they allow.
    unsafe { Msr::new(msr).write(value) }
}

/// Reads a 32-bit register of PCI configuration space; all ones when there is no device or no bus.
pub fn pci_read(bus: u8, device: u8, function: u8, offset: u8) -> u32 {
    outl(0xcf8, pci_address(bus, device, function, offset));
    inl(0xcfc)
}

/// Writes a 32-bit register of PCI configuration space.
pub fn pci_write(bus: u8, device: u8, function: u8, offset: u8, value: u32) {
    outl(0xcf8, pci_address(bus, device, function, offset));
    outl(0xcfc, value);
}

fn pci_address(bus: u8, device: u8, function: u8, offset: u8) -> u32 {
    1 << 31
        | u32::from(bus) << 16
        | u32::from(device) << 11
        | u32::from(function) << 8
        | u32::from(offset & 0xfc)
}

/// The address in CR2.
pub fn fault_address() -> u64 {
    let address: u64;
    // SAFETY: reads CR2, which has no side effect.
    unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) }
    address
}

/// Reads a 64-bit word of the per-CPU block at `offset`.
pub fn gs_read(offset: usize) -> u64 {
    let value: u64;
    // SAFETY: GS points at this CPU's block, which is larger than any offset the callers use.
    unsafe {
        asm!("mov {}, gs:[{}]", out(reg) value, in(reg) offset, options(nostack, preserves_flags, readonly))
    }
    value
}

/// Writes a 64-bit word of the per-CPU block at `offset`.
pub fn gs_write(offset: usize, value: u64) {
    // SAFETY: GS points at this CPU's block, which is larger than any offset the callers use.
    unsafe {
        asm!("mov gs:[{}], {}", in(reg) offset, in(reg) value, options(nostack, preserves_flags))
    }
}

core::arch::global_asm!(
    r#"
    .globl tk_swap_stacks
tk_swap_stacks:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    sub rsp, 520
    fxsave64 [rsp]
    mov [rdi], rsp
    mov rsp, rsi
    fxrstor64 [rsp]
    add rsp, 520
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

    // First code of a thread: the stack is 16-byte aligned here, rbx holds the entry.
    .globl tk_thread_start
tk_thread_start:
    xor ebp, ebp
    call rbx
    ud2
    "#
);

unsafe extern "C" {
    fn tk_swap_stacks(save: *mut usize, load: usize);
    fn tk_thread_start();
}

/// Stores the stack pointer of this thread in `save` and continues on the stack `load`; returns when somebody
/// swaps back.
///
/// # Safety
///
/// `load` was stored by this function or made by [`new_stack`], and no CPU runs on it. Interrupts are off.
pub unsafe fn swap_stacks(save: *mut usize, load: usize) {
    // SAFETY: the caller vouches for both stacks; the routine keeps all callee-saved state.
    unsafe { tk_swap_stacks(save, load) }
}

/// Prepares the stack that ends at `top` so that swapping to it calls `entry`.
pub fn new_stack(top: usize, entry: extern "C" fn() -> !) -> usize {
    // From the top down: 8 bytes of nothing, the return address, six registers (rbx last), the FXSAVE area.
    let frame = crate::mem::Ptr((top & !63) - 16 - 48 - 520 - 8);
    frame.fill(0, 520 + 48);
    frame.set(0, 0x37fu16);
    frame.set(24, 0x1f80u32);
    frame.set(520 + 40, entry as usize);
    frame.set(520 + 48, tk_thread_start as *const () as usize);
    frame.0
}
