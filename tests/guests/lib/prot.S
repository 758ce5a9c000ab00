/*
 * From real mode to main() in 32-bit protected mode without paging, and the
 * common exception handler. GDT: 08 code, 10 data, 18 user code, 20 user data,
 * 28 TSS, 30 and up free for the guest.
 */
	.section .start, "ax"
	.globl	start, gdt, gdt_end, tss, idt, vectors, user, user_rsp
	.code16
start:	cli
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %ss
	movw	$0x7000, %sp
	lgdtl	gdtr
	movl	$0x33, %eax		/* NE ET MP PE */
	movl	%eax, %cr0
	ljmpl	$8, $prot_start
	.balign	4
gdtr:	.word	gdt_end - gdt - 1
	.long	gdt
idtr:	.word	2047
	.long	idt

	.text
	.code32
prot_start:
	movl	$0x10, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movl	%eax, %fs
	movl	%eax, %gs
	movl	$0x7000, %esp
	lidt	idtr
	movl	$0x28, %eax
	ltr	%ax
	call	setup
	ud2

/* unsigned user(rip, rsp, ax) */
user:	pushl	%ebx
	pushl	%ebp
	pushl	%esi
	pushl	%edi
	movl	%esp, user_rsp
	movl	20(%esp), %edi
	movl	24(%esp), %esi
	movl	28(%esp), %eax
	movl	$0xffff, caught
	pushl	$0x23
	pushl	%esi
	pushfl
	orl	$0x202, (%esp)
	pushl	$0x1b
	pushl	%edi
	movl	$0x23, %ecx
	movl	%ecx, %ds
	movl	%ecx, %es
	iret

	.balign	16
vectors:
	.set	n, 0
	.rept	256
	.balign	16
	.if	!(n == 8 || (n >= 10 && n <= 14) || n == 17 || n == 21)
	pushl	$0
	.endif
	pushl	$n
	jmp	common
	.set	n, n + 1
	.endr

common:	pushl	%eax
	movl	$0x10, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	4(%esp), %eax
	movl	%eax, caught
	movl	8(%esp), %eax
	movl	%eax, caught + 4
	movl	12(%esp), %eax
	movl	%eax, caught + 8
	movl	16(%esp), %eax
	movl	%eax, caught + 12
	movl	20(%esp), %eax
	movl	%eax, caught + 16
	movl	24(%esp), %eax
	movl	%eax, caught + 20
	movl	28(%esp), %eax
	movl	%eax, caught + 24
	movl	%cr2, %eax
	movl	%eax, caught + 28
	testl	$0x20000, 20(%esp)
	jnz	2f
	testb	$3, 16(%esp)
	jnz	2f
	movl	resume, %eax
	testl	%eax, %eax
	jz	unexpected
	movl	%eax, 12(%esp)
	andl	$~0x10100, 20(%esp)
	popl	%eax
	addl	$8, %esp
	iret
2:	popl	%eax
	movl	%eax, try_ax
	movl	user_rsp, %esp
	popl	%edi
	popl	%esi
	popl	%ebp
	popl	%ebx
	movl	caught, %eax
	ret

	.data
	.balign	16
gdt:	.quad	0
	.quad	0x00cf9b000000ffff
	.quad	0x00cf93000000ffff
	.quad	0x00cffb000000ffff
	.quad	0x00cff3000000ffff
	.word	0x2067
	.word	tss
	.word	0x8900
	.word	0
	.fill	26, 8, 0
gdt_end:
	.balign	16
tss:	.long	0, 0x6000, 0x10		/* back link, ESP0, SS0 */
	.fill	22, 4, 0
	.word	0, 104
	.fill	32, 1, 0		/* ports 0-FF: allowed */
	.byte	0xff
user_rsp: .long	0
	.bss
	.balign	4096
idt:	.fill	2048, 1, 0
