/*
 * How a test guest begins: the PVH entry in 32-bit protected mode, then long
 * mode with the low 4 GiB mapped as they are, then guest_main(). And the 256
 * ways into the interrupt handler.
 */
	.section .note, "a", @note
	.long	4, 4, 18	/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz	"Xen"
	.long	entry

	.section .text.start, "ax", @progbits
	.code32
	.globl	entry
entry:
	cli
	cld
	movl	$stack_top, %esp
	/* four page directories of 2 MiB pages */
	movl	$directories, %edi
	movl	$0x83, %eax
1:	movl	%eax, (%edi)
	movl	$0, 4(%edi)
	addl	$8, %edi
	addl	$0x200000, %eax
	jnc	1b
	movl	$directories + 3, %eax
	movl	$pdpt, %edi
	movl	$4, %ecx
2:	movl	%eax, (%edi)
	addl	$0x1000, %eax
	addl	$8, %edi
	loop	2b
	movl	$pdpt + 3, pml4
	movl	$0x20, %eax		/* PAE */
	movl	%eax, %cr4
	movl	$pml4, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx	/* EFER.LME */
	rdmsr
	btsl	$8, %eax
	wrmsr
	movl	$0x80000011, %eax	/* PG, ET, PE */
	movl	%eax, %cr0
	lgdt	gdtr
	ljmp	$8, $long_mode

	.code64
long_mode:
	movl	$16, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	call	guest_main
1:	cli
	hlt
	jmp	1b

	.text
	/* each 16 bytes: an error code if the CPU pushed none, the vector */
	.balign	16
	.globl	vectors
vectors:
	.set	n, 0
	.rept	256
	.balign	16
	.if	!(n == 8 || (n >= 10 && n <= 14) || n == 17)
	pushq	$0
	.endif
	pushq	$n
	jmp	common
	.set	n, n + 1
	.endr

common:
	pushq	%rax
	pushq	%rcx
	pushq	%rdx
	pushq	%rsi
	pushq	%rdi
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	cld
	leaq	72(%rsp), %rdi	/* struct frame */
	call	interrupt
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rdi
	popq	%rsi
	popq	%rdx
	popq	%rcx
	popq	%rax
	addq	$16, %rsp
	iretq

	/* int try_rdmsr(uint32_t msr, uint64_t *value): 0, or the vector */
	.globl	try_rdmsr
try_rdmsr:
	movl	%edi, %ecx
	movq	$fault, recover
	rdmsr
	movq	$0, recover
	shlq	$32, %rdx
	orq	%rdx, %rax
	movq	%rax, (%rsi)
	xorl	%eax, %eax
	ret

	/* int try_wrmsr(uint32_t msr, uint64_t value) */
	.globl	try_wrmsr
try_wrmsr:
	movl	%edi, %ecx
	movl	%esi, %eax
	movq	%rsi, %rdx
	shrq	$32, %rdx
	movq	$fault, recover
	wrmsr
	movq	$0, recover
	xorl	%eax, %eax
	ret
fault:
	movl	fault_vector, %eax
	ret

	.data
	.balign	8
gdt:	.quad	0
	.quad	0x00af9b000000ffff	/* 64-bit code */
	.quad	0x00cf93000000ffff	/* data */
gdtr:	.word	gdtr - gdt - 1
	.long	gdt

	.bss
	.balign	4096
pml4:	.skip	4096
pdpt:	.skip	4096
directories:
	.skip	4 * 4096
stack:	.skip	16384
stack_top:

	.section .note.GNU-stack, "", @progbits
