// SPDX-License-Identifier: BSD-2-Clause
//! From the 32-bit entry to [`testkernel::arch::start`], for the first CPU and for the others.
//!
//! Xen enters a PVH guest, and the ELF that stands in for the firmware of an HVM guest, in flat 32-bit mode without
//! paging. `ebx` holds the start info only for PVH. The code here builds page tables that map the first 4 GiB
//! three times (as they are, at the direct map and, the first GiB, at the kernel's base), switches to long mode
//! and never runs again, except for the copy at physical 0x8000 through which the other CPUs come up.

use core::arch::global_asm;
use core::panic::PanicInfo;

use testkernel::arch;

/// Where the packer says what it put where: it looks for the magic in the file.
#[repr(C)]
struct PayloadHeader {
    magic: [u8; 8],
    address: u64,
    len: u64,
    reserved: u64,
}

#[used]
static PAYLOAD: PayloadHeader = PayloadHeader {
    magic: *b"NTPAYLD0",
    address: 0,
    len: 0,
    reserved: 0,
};

global_asm!(
    r#"
    .pushsection .note.Xen, "a", @note
    .balign 4
    .long 4, 4, 18
    .asciz "Xen"
    .long _start32
    .popsection

    .pushsection .boot, "awx", @progbits
    .code32
    .globl _start32
_start32:
    cld
    cli
    mov esp, offset boot_stack_top
    mov [boot_info], ebx
    // Four page directories of 2 MiB pages: the first 4 GiB.
    mov edi, offset boot_pd
    mov eax, 0x83
    xor edx, edx
    mov ecx, 2048
2:  mov [edi], eax
    mov dword ptr [edi + 4], 0
    add eax, 0x200000
    add edi, 8
    dec ecx
    jnz 2b
    mov edi, offset boot_pdpt
    mov eax, offset boot_pd
    or eax, 3
    mov ecx, 4
3:  mov [edi], eax
    add eax, 0x1000
    add edi, 8
    dec ecx
    jnz 3b
    mov eax, offset boot_pd
    or eax, 3
    mov [boot_pdpt_high + 510 * 8], eax
    mov eax, offset boot_pdpt
    or eax, 3
    mov [boot_pml4], eax
    mov [boot_pml4 + 256 * 8], eax
    mov eax, offset boot_pdpt_high
    or eax, 3
    mov [boot_pml4 + 511 * 8], eax
    mov dword ptr [boot_cpu_stack], 0
enter_long:
    // PAE, OSFXSR, OSXMMEXCPT
    mov eax, cr4
    or eax, 0x620
    mov cr4, eax
    mov eax, offset boot_pml4
    mov cr3, eax
    // LME, NXE, SCE off
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x900
    wrmsr
    // PG, WP, NE, MP, PE; not EM, TS, CD, NW
    mov eax, cr0
    and eax, 0x9ffffff3
    or eax, 0x80010023
    mov cr0, eax
    lgdt [boot_gdt_ptr]
    .byte 0xea
    .long enter64
    .word 0x10
    .code64
enter64:
    mov ax, 0x18
    mov ds, ax
    mov es, ax
    mov ss, ax
    xor eax, eax
    mov fs, ax
    mov gs, ax
    mov rsp, [boot_cpu_stack]
    test rsp, rsp
    jnz 4f
    movabs rsp, offset {stack} + {stack_len}
    mov edi, [boot_info]
    movabs rax, offset {main}
    call rax
    ud2
4:  mov rdi, [boot_cpu_index]
    movabs rax, offset {ap_main}
    call rax
    ud2

    // The other CPUs: copied to 0x8000.
    .globl boot_ap_start, boot_ap_end
boot_ap_start:
    .code16
    cli
    xor ax, ax
    mov ds, ax
    // lgdt [0x8000 + (ap_gdt_ptr - boot_ap_start)]
    .byte 0x0f, 0x01, 0x16
    .word 0x8000 + (ap_gdt_ptr - boot_ap_start)
    mov eax, cr0
    or al, 1
    mov cr0, eax
    .byte 0x66, 0xea
    .long ap32
    .word 0x08
ap_gdt_ptr:
    .word 0x27
    .long boot_gdt
boot_ap_end:
    .code32
ap32:
    mov ax, 0x18
    mov ds, ax
    mov es, ax
    mov ss, ax
    jmp enter_long

    .balign 16
boot_gdt:
    .quad 0
    .quad 0x00cf9b000000ffff
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
    .quad 0
boot_gdt_ptr:
    .word 0x27
    .long boot_gdt
    .balign 8
boot_info:
    .quad 0
    .globl boot_cpu_stack, boot_cpu_index
boot_cpu_stack:
    .quad 0
boot_cpu_index:
    .quad 0
    .balign 4096
    .globl boot_pml4
boot_pml4:
    .fill 4096, 1, 0
boot_pdpt:
    .fill 4096, 1, 0
boot_pdpt_high:
    .fill 4096, 1, 0
boot_pd:
    .fill 16384, 1, 0
    .fill 1024, 1, 0
boot_stack_top:
    .code64
    .popsection
    "#,
    main = sym boot_main,
    ap_main = sym boot_ap_main,
    stack = sym BOOT_STACK,
    stack_len = const BOOT_STACK_LEN,
);

const BOOT_STACK_LEN: usize = 64 * 1024;

#[repr(C, align(4096))]
struct Stack([u8; BOOT_STACK_LEN]);

static mut BOOT_STACK: Stack = Stack([0; BOOT_STACK_LEN]);

unsafe extern "C" {
    static boot_ap_start: u8;
    static boot_ap_end: u8;
    static mut boot_cpu_stack: u64;
    static mut boot_cpu_index: u64;
    static __text_start: u8;
    static __rodata_start: u8;
    static __data_start: u8;
    static __end: u8;
}

extern "C" fn boot_main(start_info: u32) -> ! {
    let header = &raw const PAYLOAD;
    // SAFETY: the static exists; the packer may have changed it in the file, hence the volatile read.
    let payload = unsafe { header.read_volatile() };
    debug_assert!(payload.reserved == 0 && payload.magic[0] == b'N');
    let stack = &raw const BOOT_STACK;
    arch::start(arch::BootInfo {
        start_info: start_info as usize,
        payload_address: payload.address as usize,
        payload_len: payload.len as usize,
        ap_start: (&raw const boot_ap_start) as usize,
        ap_len: (&raw const boot_ap_end) as usize - (&raw const boot_ap_start) as usize,
        ap_stack: (&raw const boot_cpu_stack) as usize,
        ap_index: (&raw const boot_cpu_index) as usize,
        text: (&raw const __text_start) as usize,
        rodata: (&raw const __rodata_start) as usize,
        data: (&raw const __data_start) as usize,
        end: (&raw const __end) as usize,
        stack: stack as usize,
        stack_len: BOOT_STACK_LEN,
    })
}

extern "C" fn boot_ap_main(cpu: u64) -> ! {
    arch::start_ap(cpu as usize)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    arch::panicked(format_args!("{info}"))
}
