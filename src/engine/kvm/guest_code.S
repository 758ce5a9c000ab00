/*
 * The probe's test guest (guest.c): long mode, CPL 0, paging, at linear and
 * physical address 0x5000. What it computes goes out on a port at the end.
 *
 *	0x6000	4096 bytes that REP MOVSB copies to 0x7000
 *	0x8000	interrupts taken, 32 bits
 *
 * Position: all addresses are absolute numbers or relative to RIP.
 */
#define PORT	0x5a
#define TURNS	20000

	.section .rodata
	.globl	kvm_guest_code, kvm_guest_handler, kvm_guest_size
	.hidden	kvm_guest_code, kvm_guest_handler, kvm_guest_size
	.balign	16
kvm_guest_code:
	/* SSE: 5 + 7 */
	mov	$5, %eax
	movd	%eax, %xmm0
	mov	$7, %eax
	movd	%eax, %xmm1
	paddd	%xmm1, %xmm0
	movd	%xmm0, %ebx
	/* a loop that an emulator takes milliseconds for */
	mov	$TURNS, %ecx
1:	dec	%ecx
	jnz	1b
	/* a string instruction */
	cld
	mov	$0x6000, %esi
	mov	$0x7000, %edi
	mov	$4096, %ecx
	rep movsb
	/* a software interrupt, and one from outside when IF is set */
	int	$0x30
	sti
	nop
2:	pause
	cmpl	$2, 0x8000
	jb	2b
	cli
	/* 12 + 2 << 8 */
	mov	0x8000, %eax
	shl	$8, %eax
	add	%ebx, %eax
	out	%eax, $PORT
3:	hlt
	jmp	3b
handler:
	incl	0x8000
	iretq
end:

	.balign	4
kvm_guest_handler:			/* where it is, from the start */
	.long	handler - kvm_guest_code
kvm_guest_size:
	.long	end - kvm_guest_code

	.section .note.GNU-stack, "", @progbits
