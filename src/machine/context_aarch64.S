/*
 * context_aarch64.S - the context switch for the AAPCS64.
 *
 * A suspended flow's stack, from its saved pointer upwards: d8-d15, x19-x28, x29, x30 (160 bytes).
 * context_prepare in context_assembly.c uses the same layout.
 */
    .text

/* void context_jump(void **save, void *next) */
    .globl context_jump
    .hidden context_jump
    .type context_jump, %function
    .p2align 4
context_jump:
    .cfi_startproc
    sub sp, sp, #160
    .cfi_adjust_cfa_offset 160
    stp d8, d9, [sp, #0]
    stp d10, d11, [sp, #16]
    stp d12, d13, [sp, #32]
    stp d14, d15, [sp, #48]
    stp x19, x20, [sp, #64]
    stp x21, x22, [sp, #80]
    stp x23, x24, [sp, #96]
    stp x25, x26, [sp, #112]
    stp x27, x28, [sp, #128]
    stp x29, x30, [sp, #144]
    .cfi_rel_offset x29, 144
    .cfi_rel_offset x30, 152
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp d8, d9, [sp, #0]
    ldp d10, d11, [sp, #16]
    ldp d12, d13, [sp, #32]
    ldp d14, d15, [sp, #48]
    ldp x19, x20, [sp, #64]
    ldp x21, x22, [sp, #80]
    ldp x23, x24, [sp, #96]
    ldp x25, x26, [sp, #112]
    ldp x27, x28, [sp, #128]
    ldp x29, x30, [sp, #144]
    add sp, sp, #160
    .cfi_adjust_cfa_offset -160
    .cfi_restore x29
    .cfi_restore x30
    ret
    .cfi_endproc
    .size context_jump, . - context_jump

/* The first code of a new flow: x19 is its entry, x20 the argument.  No caller: backtraces end
 * here. */
    .globl context_begin
    .hidden context_begin
    .type context_begin, %function
    .p2align 4
context_begin:
    .cfi_startproc
    .cfi_undefined x30
    mov x29, xzr
    mov x30, xzr
    mov x0, x20
    blr x19
    brk #1
    .cfi_endproc
    .size context_begin, . - context_begin

    .section .note.GNU-stack, "", %progbits
