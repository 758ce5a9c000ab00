/*
 * The x87 and vector state on the way into and out of translated code: macros
 * for enter.S, and what they need of C (fpu.c).
 *
 * In translated code XMM/YMM and MXCSR are always the guest's. The x87
 * registers are if c_x87_live; else they are the host's, empty, and struct cpu
 * has the guest's. All macros need GS.
 *
 * SDM vol. 1, 10.5, 13.1; vol. 2A FXRSTOR.
 */
#ifndef SOFT_JIT_FPU_H
#define SOFT_JIT_FPU_H

#include "engine/soft/jit/asm.h"

/* c_avx: what the host has. */
#define FPU_SSE		0
#define FPU_AVX		1
/* The host's SSE instructions are slow while upper halves of YMM are in use,
 * zero or not (Intel): they are told apart. */
#define FPU_AVX_INIT	2

#ifdef __ASSEMBLER__

/* Once, before translated code is entered from C: the host's control words. */
.macro FPU_ENTER
	stmxcsr	%gs:C_HOST_MXCSR
	fnstcw	%gs:C_HOST_FCW
.endm

/* The guest's vectors and MXCSR into registers. Clobbers flags. */
.macro FPU_LOAD
	cmpl	$FPU_AVX, %gs:C_AVX
	jb	.Lfpu_sse\@
	je	.Lfpu_avx\@
	/* Is any upper half in use? */
	vmovaps	%gs:C_YMM + 16, %xmm0
	vmovaps	%gs:C_YMM + 48, %xmm1
	.irp	n, 2, 4, 6, 8, 10, 12, 14
	vorps	%gs:C_YMM + 16 + 32 * \n, %xmm0, %xmm0
	vorps	%gs:C_YMM + 48 + 32 * \n, %xmm1, %xmm1
	.endr
	vorps	%xmm1, %xmm0, %xmm0
	vptest	%xmm0, %xmm0
	jnz	.Lfpu_avx\@
	vzeroupper
	jmp	.Lfpu_sse\@
.Lfpu_avx\@:
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	vmovaps	%gs:C_YMM + 32 * \n, %ymm\n
	.endr
	jmp	.Lfpu_loaded\@
.Lfpu_sse\@:
	/* the upper halves are zero, or not there */
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	movaps	%gs:C_YMM + 32 * \n, %xmm\n
	.endr
.Lfpu_loaded\@:
	ldmxcsr	%gs:C_MXCSR
.endm

/*
 * The guest's state back into struct cpu, the host's into registers as the C
 * ABI wants them. On a stack that C may be called on. Clobbers what a call
 * does.
 */
.macro FPU_STORE
	cmpl	$FPU_SSE, %gs:C_AVX
	je	.Lfpu_sse\@
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	vmovaps	%ymm\n, %gs:C_YMM + 32 * \n
	.endr
	vzeroupper
	jmp	.Lfpu_stored\@
.Lfpu_sse\@:
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	movaps	%xmm\n, %gs:C_YMM + 32 * \n
	.endr
.Lfpu_stored\@:
	stmxcsr	%gs:C_MXCSR
	ldmxcsr	%gs:C_HOST_MXCSR
	cmpl	$0, %gs:C_X87_LIVE
	je	.Lfpu_done\@
	movq	%gs:C_HELPER + 8 * HELPER_SELF, %rdi
	call	*%gs:C_HELPER + 8 * HELPER_X87_STORE
.Lfpu_done\@:
.endm

/*
 * THUNK_X87: the guest's x87 state into registers. FXRSTOR loads the vectors
 * and MXCSR, too: they make the way through the image. Clobbers nothing.
 */
.macro FPU_X87_LOAD
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	movaps	%xmm\n, %gs:C_FX + 160 + 16 * \n
	.endr
	stmxcsr	%gs:C_FX + 24
	fxrstor64 %gs:C_FX
	movq	$0, %gs:C_LAST_OP
	movl	$1, %gs:C_X87_LIVE
.endm

#else

struct cpu;

/* Of jit_new(): c_avx and j_avx. */
void	fpu_new(struct cpu *);
/* c_x87_live: the x87 state back into struct cpu. */
void	fpu_x87_store(struct cpu *);

/* f_last_op: FOP, and this. 0: there was none since the state was loaded. */
#define LAST_OP_SET	0x80000000u
/* f_last_seg: SEG_* that goes with f_last_ea, and this. 0: there was no memory
 * operand since. */
#define LAST_SEG_SET	0x80000000u

#endif
#endif
