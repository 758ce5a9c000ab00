/*
 * The kernel of programs (program.h): what faults, traps, interrupts and
 * system calls lead to. Position-independent; it runs at KERNEL + KERNEL_GPA.
 *
 * Whatever goes wrong in a program is counted, goes into k_trace and leads to
 * one of the program's labels, until k_budget is used up. INTR_VECTOR and what
 * follows it leave no trace.
 */
#include <string.h>

#include "kernel.h"

extern const uint8_t kernel_code[], kernel_code_end[], kernel_data[];

/*
 * Frame in "common": rdx, rcx, rax, vector, error, rip, cs, rflags, rsp, ss.
 * k_*: offsets of struct kernel_data.
 */
__asm__(
"	.pushsection .rodata\n"
"	.balign 64\n"
"	.globl kernel_code, kernel_code_end, kernel_data\n"
"kernel_code:\n"
"	jmp	k_syscall\n"		/* LSTAR */
"	.balign 16\n"
"k_common:\n"				/* KERNEL_COMMON */
"	push	%rax\n"
"	push	%rcx\n"
"	push	%rdx\n"
"	mov	24(%rsp), %eax\n"
"	mov	40(%rsp), %rcx\n"
"	mov	k_trace(%rip), %rdx\n"
"	xor	%rcx, %rdx\n"
"	shl	$56, %rax\n"
"	xor	%rax, %rdx\n"
"	rol	$7, %rdx\n"
"	imul	$0x3c6ef35f, %rdx, %rdx\n"
"	mov	56(%rsp), %rax\n"	/* RFLAGS */
"	and	k_flags(%rip), %rax\n"
"	add	%rax, %rdx\n"
"	mov	%rdx, k_trace(%rip)\n"
"	mov	24(%rsp), %eax\n"
"	cmp	$32, %eax\n"
"	jae	3f\n"
"	decl	k_budget(%rip)\n"
"	js	9f\n"
"	cmp	$1, %eax\n"
"	je	1f\n"
"	cmp	$3, %eax\n"
"	je	3f\n"
/* a fault: to a label, with a good stack */
"	mov	%rdx, %rcx\n"
"	shr	$40, %rcx\n"
"	and	$63, %ecx\n"
"	lea	k_labels(%rip), %rax\n"
"	mov	(%rax,%rcx,8), %rax\n"
"	mov	%rax, 40(%rsp)\n"
"	mov	k_stack(%rip), %rax\n"
"	mov	%rax, 64(%rsp)\n"
"	andl	$~0x40dd5, 56(%rsp)\n"	/* arithmetic, AC, DF, TF */
"	jmp	3f\n"
/* #DB: single steps end after a while */
"1:	decl	k_steps(%rip)\n"
"	jns	3f\n"
"	movl	$11, k_steps(%rip)\n"
"	andl	$~0x100, 56(%rsp)\n"
"3:	pop	%rdx\n"
"	pop	%rcx\n"
"	pop	%rax\n"
"	add	$16, %rsp\n"
"	iretq\n"
"9:	pop	%rdx\n"
"	pop	%rcx\n"
"	pop	%rax\n"
"	out	%al, $0xe0\n"
"	hlt\n"
/* eax: what to do */
"k_syscall:\n"
"	mov	%rsp, k_saved(%rip)\n"
"	lea	k_top(%rip), %rsp\n"
"	push	%rcx\n"
"	push	%r11\n"
"	push	%rdx\n"
"	add	%eax, k_calls(%rip)\n"
"	and	$7, %eax\n"
"	call	k_serve\n"
"	pop	%rdx\n"
"	pop	%r11\n"
"	pop	%rcx\n"
"	mov	k_saved(%rip), %rsp\n"
"	sysretq\n"
/* swaps the two frames of remap eax, and has the TLB forget it, one way or
 * another */
"k_serve:\n"
"	mov	%eax, %ecx\n"
"	and	$1, %ecx\n"
"	shl	$5, %ecx\n"
"	lea	k_remap(%rip), %rdx\n"
"	add	%rcx, %rdx\n"
"	mov	8(%rdx), %rcx\n"
"	xchg	%rcx, 16(%rdx)\n"
"	mov	%rcx, 8(%rdx)\n"
"	push	%rbx\n"
"	mov	(%rdx), %rbx\n"
"	mov	%rcx, (%rbx)\n"
"	mov	24(%rdx), %rbx\n"
"	test	$2, %eax\n"
"	jz	1f\n"
"	invlpg	(%rbx)\n"
"	pop	%rbx\n"
"	ret\n"
"1:	test	$4, %eax\n"
"	jz	1f\n"
"	mov	%cr3, %rbx\n"
"	mov	%rbx, %cr3\n"
"	pop	%rbx\n"
"	ret\n"
"1:	mov	%cr4, %rbx\n"
"	xor	$0x80, %rbx\n"		/* PGE: all goes */
"	mov	%rbx, %cr4\n"
"	xor	$0x80, %rbx\n"
"	mov	%rbx, %cr4\n"
"	pop	%rbx\n"
"	ret\n"
"	.balign 16\n"
"k_intr:\n"
"	incq	k_irqs(%rip)\n"
"	iretq\n"
"	.balign 64\n"
"kernel_data:\n"			/* struct kernel_data */
"k_trace: .quad	0\n"
"k_stack: .quad	0\n"
"k_saved: .quad	0\n"
"k_irqs: .quad	0\n"
"k_flags: .quad	0\n"
"k_budget: .long 0\n"
"k_steps: .long	11\n"
"k_calls: .long	0, 0\n"
"k_remap: .fill	8, 8, 0\n"
"k_labels: .fill 64, 8, 0\n"
"	.fill	64, 8, 0\n"
"k_top:\n"
"kernel_code_end:\n"
"	.popsection\n"
"	.globl k_common, k_intr\n"
);

extern const uint8_t k_common[], k_intr[];

struct kernel_data *
kernel_put(struct side *sd)
{
	size_t size = (size_t)(kernel_code_end - kernel_code);
	uint8_t *h;
	uint32_t rel;
	unsigned v;

	memcpy(sd->sd_ram + KERNEL_GPA, kernel_code, size);
	for (v = 0; v < 256; v++) {
		const uint8_t *to = v >= INTR_VECTOR ? k_intr : k_common;
		bool error = v < 32 && (1u << 8 | 0x1fu << 10 | 1u << 17) >>
		    v & 1;

		h = sd->sd_ram + HANDLERS_GPA + v * 16;
		memset(h, 0xf4, 16);
		if (v < INTR_VECTOR && !error) {
			*h++ = 0x6a;	/* push 0 */
			*h++ = 0;
		}
		if (v < INTR_VECTOR) {
			*h++ = 0x6a;	/* push vector */
			*h++ = (uint8_t)v;
		}
		rel = (uint32_t)(KERNEL_GPA + (to - kernel_code)) -
		    (uint32_t)(h - sd->sd_ram) - 5;
		*h = 0xe9;
		memcpy(h + 1, &rel, 4);
	}
	return ((struct kernel_data *)(void *)(sd->sd_ram + KERNEL_GPA +
	    (kernel_data - kernel_code)));
}
