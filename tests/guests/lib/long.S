/*
 * From real mode to main() in long mode, and the common exception handler.
 * GDT: 08 code64, 10 data, 18 user code32, 20 user data, 28 user code64,
 * 30 TSS, 40 code32 at CPL 0, 48 and up free for the guest.
 */
	.section .start, "ax"
	.globl	start, gdt, gdt_end, tss, idt, vectors, user, user_rsp
	.code16
start:	cli
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movw	$0x7000, %sp
	movl	$0x1000, %edi
	xorl	%eax, %eax
	movl	$0x1000, %ecx
	cld
	rep stosl
	movl	$0x2007, 0x1000
	movl	$0x3003, 0x2000		/* identity: supervisor */
	movl	$0x4007, 0x2008		/* from 1 GiB on: user */
	movl	$0x83, %eax
	movw	$0x3000, %di
1:	movl	%eax, (%di)
	movl	%eax, 0x1000(%di)
	orl	$4, 0x1000(%di)
	addl	$0x200000, %eax
	addw	$8, %di
	cmpw	$0x4000, %di
	jb	1b
	movl	$0x20, %eax
	movl	%eax, %cr4
	movl	$0x1000, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx
	movl	$0x901, %eax		/* SCE LME NXE */
	xorl	%edx, %edx
	wrmsr
	movl	$0x80010033, %eax	/* PG WP NE ET MP PE */
	movl	%eax, %cr0
	lgdtl	gdtr
	ljmpl	$8, $long_start
	.balign	4
gdtr:	.word	gdt_end - gdt - 1
	.long	gdt
	.long	0
idtr:	.word	4095
	.quad	idt

	.text
	.code64
long_start:
	movl	$0x10, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movl	$0x7000, %esp
	lgdt	gdtr
	lidt	idtr
	movl	$0x30, %eax
	ltr	%ax
	call	setup
	ud2

/* unsigned user(rip, rsp, ax) */
user:	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movq	%rsp, user_rsp
	movl	$0x40000000, %ecx
	movq	$0xffff, caught
	pushq	$0x23
	addq	%rcx, %rsi
	pushq	%rsi
	pushfq
	orq	$0x202, (%rsp)
	pushq	$0x2b
	addq	%rcx, %rdi
	pushq	%rdi
	movq	%rdx, %rax
	iretq

	.balign	16
vectors:
	.set	n, 0
	.rept	256
	.balign	16
	.if	!(n == 8 || (n >= 10 && n <= 14) || n == 17 || n == 21)
	pushq	$0
	.endif
	pushq	$n
	jmp	common
	.set	n, n + 1
	.endr

common:	pushq	%rax
	movq	8(%rsp), %rax
	movq	%rax, caught
	movq	16(%rsp), %rax
	movq	%rax, caught + 8
	movq	24(%rsp), %rax
	movq	%rax, caught + 16
	movq	32(%rsp), %rax
	movq	%rax, caught + 24
	movq	40(%rsp), %rax
	movq	%rax, caught + 32
	movq	48(%rsp), %rax
	movq	%rax, caught + 40
	movq	56(%rsp), %rax
	movq	%rax, caught + 48
	movq	%cr2, %rax
	movq	%rax, caught + 56
	testb	$3, 32(%rsp)
	jnz	2f
	movq	resume, %rax
	testq	%rax, %rax
	jz	unexpected
	movq	%rax, 24(%rsp)
	movq	$8, 32(%rsp)		/* from compatibility mode, too */
	andl	$~0x10100, 40(%rsp)	/* no RF, no TF */
	popq	%rax
	addq	$16, %rsp
	iretq
2:	movl	$0x10, %eax		/* from user(): back to its caller */
	movl	%eax, %ss
	popq	%rax
	movq	%rax, try_ax
	movq	user_rsp, %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	movl	caught, %eax
	ret

	.data
	.balign	16
gdt:	.quad	0
	.quad	0x00af9b000000ffff
	.quad	0x00cf93000000ffff
	.quad	0x00cffb000000ffff
	.quad	0x00cff3000000ffff
	.quad	0x00affb000000ffff
	.word	103
	.word	tss
	.word	0x8900
	.word	0
	.quad	0
	.quad	0x00cf9b000000ffff
	.fill	23, 8, 0
gdt_end:
	.balign	16
tss:	.long	0
	.quad	0x6000, 0x6800, 0x6800	/* RSP0-2 */
	.quad	0
	.quad	0x5800, 0x5400		/* IST1, IST2 */
	.fill	5, 8, 0
	.quad	0
	.word	0
	.word	104
user_rsp: .quad	0
	.bss
	.balign	4096
idt:	.fill	4096, 1, 0
