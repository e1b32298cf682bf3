/*
 * context_x86_64.S - the context switch for the System V ABI of x86-64.
 *
 * A suspended flow's stack, from its saved pointer upwards: control words (mxcsr, x87), r15, r14,
 * r13, r12, rbx, rbp, return address.  context_prepare in context_assembly.c uses the same layout.
 */
    .text

/* void context_jump(void **save, void *next) */
    .globl context_jump
    .hidden context_jump
    .type context_jump, @function
    .p2align 4
context_jump:
    .cfi_startproc
    pushq %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbp, 0
    pushq %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbx, 0
    pushq %r12
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r12, 0
    pushq %r13
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r13, 0
    pushq %r14
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r14, 0
    pushq %r15
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r15, 0
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    stmxcsr (%rsp)
    fnstcw 4(%rsp)
    movl (%rsp), %eax
    movw 4(%rsp), %cx
    /* Both stacks have the same shape, so the frame description holds across the exchange. */
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    /* Skip loading equal control words: it is slow, and they hardly ever differ. */
    cmpl (%rsp), %eax
    jne 2f
    cmpw 4(%rsp), %cx
    jne 2f
1:
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    popq %r15
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r15
    popq %r14
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r14
    popq %r13
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r13
    popq %r12
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r12
    popq %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbx
    popq %rbp
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbp
    /* Jump instead of `ret`, whose predicted target would belong to the other stack. */
    popq %rdx
    .cfi_adjust_cfa_offset -8
    .cfi_register %rip, %rdx
    jmpq *%rdx
2:
    .cfi_adjust_cfa_offset 64
    .cfi_offset %rip, -8
    .cfi_rel_offset %rbp, 48
    .cfi_rel_offset %rbx, 40
    .cfi_rel_offset %r12, 32
    .cfi_rel_offset %r13, 24
    .cfi_rel_offset %r14, 16
    .cfi_rel_offset %r15, 8
    ldmxcsr (%rsp)
    fldcw 4(%rsp)
    jmp 1b
    .cfi_endproc
    .size context_jump, . - context_jump

/* The first code of a new flow: r12 is its entry, r13 the argument.  No caller: backtraces end
 * here. */
    .globl context_begin
    .hidden context_begin
    .type context_begin, @function
    .p2align 4
context_begin:
    .cfi_startproc
    .cfi_undefined %rip
    xorl %ebp, %ebp
    movq %r13, %rdi
    call *%r12
    ud2
    .cfi_endproc
    .size context_begin, . - context_begin

    .section .note.GNU-stack, "", @progbits
