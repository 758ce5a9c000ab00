/* Real mode: main() is 16-bit code. */
	.section .start, "ax"
	.globl	start
	.code16
start:	cli
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movl	$0x7000, %esp
	calll	main
	calll	finish
