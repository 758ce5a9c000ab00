/*
 * Into translated code and out of it.
 *
 * jit_enter() is ordinary code. What follows it is copied to the start of the
 * code cache (code.c), where translated code reaches it by relative calls; so
 * it reaches the rest of the world through GS only.
 *
 * 1. A thunk takes its return address off the return stack before it leaves
 *    that, and puts it back before it returns by RET: C may have emptied the
 *    stack meanwhile, and the host's return prediction stays balanced.
 * 2. On C's stack no guest state is in registers but for rbx, rbp, r12-r15
 *    (which C keeps), and vectors and x87 in light thunks.
 * 3. C_JFLAGS holds the guest's arithmetic flags whenever C runs.
 *
 * Registers are those of jit.h.
 */
#include "engine/soft/jit/asm.h"
#include "engine/soft/jit/fpu.h"

#define GPR(n)		%gs:(C_GPR + (n) * 8)
#define RETURN		%gs:(C_EXIT + 8)
#define HELPER(n)	%gs:(C_HELPER + (n) * 8)

.macro	SPILL	reg, n
	movq	\reg, GPR(\n)
.endm

.macro	RELOAD	reg, n
	movq	GPR(\n), \reg
.endm

/* The guest's registers that C may change, and those that it keeps. */
.macro	CALLER	do
	\do	%rax, 0
	\do	%r9, 1
	\do	%rdx, 2
	\do	%r10, 4
	\do	%rsi, 6
	\do	%rdi, 7
	\do	%r8, 8
.endm

.macro	CALLEE	do
	\do	%rbx, 3
	\do	%rbp, 5
	\do	%r12, 12
	\do	%r13, 13
	\do	%r14, 14
	\do	%r15, 15
.endm

/* Flags last: they go by rax. */
.macro	SPILL_CALLER
	CALLER	SPILL
	lahf
	seto	%al
	movq	%rax, %gs:C_JFLAGS
.endm

.macro	SPILL_CALLEE
	CALLEE	SPILL
.endm

/* al is 1 or 0: adding 127 overflows or does not. */
.macro	RELOAD_CALLER
	movq	%gs:C_JFLAGS, %rax
	addb	$127, %al
	sahf
	CALLER	RELOAD
.endm

.macro	RELOAD_CALLEE
	CALLEE	RELOAD
.endm

.macro	TO_C
	movq	%rsp, %gs:C_RSTACK
	movq	%gs:C_CSTACK, %rsp
.endm

.macro	FROM_C
	movq	%gs:C_RSTACK, %rsp
	pushq	RETURN
.endm

	.text
/*
 * void jit_enter(const void *code)
 *
 * Executes translated code until it is left; C_EXIT says why. T1 is C_RIP.
 */
	.globl	jit_enter
	.hidden	jit_enter
	.type	jit_enter, @function
jit_enter:
	.cfi_startproc
	pushq	%rbp
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	subq	$8, %rsp
	movq	%rsp, %gs:C_CSTACK
	movq	%rdi, RETURN
	FPU_ENTER
	FPU_LOAD
	FROM_C
	RELOAD_CALLEE
	RELOAD_CALLER
	movq	%gs:C_RIP, %r11
	ret
	.cfi_endproc
	.size	jit_enter, . - jit_enter

/* --- the thunks ------------------------------------------------------------- */

	.globl	jit_thunks, jit_thunks_size
	.hidden	jit_thunks, jit_thunks_size
	.balign	64
jit_thunks:
	.irp	name, slow,interp,link,poll,miss,x87,string,sys,return,fault, \
	    light
	.balign	16
	jmp	thunk_\name
	.endr
	.balign	64

/* Leaves: spills, and returns from jit_enter() with the reason in C_EXIT. */
thunk_link:
	popq	RETURN
	SPILL_CALLER
	movl	$EXIT_LINK, %eax
	jmp	leave

thunk_poll:
	popq	RETURN
	SPILL_CALLER
	movl	$EXIT_POLL, %eax
	jmp	leave

thunk_return:
	SPILL_CALLER
	movq	%r11, %gs:C_RIP
	movl	$EXIT_RETURN, %eax
	jmp	leave

thunk_fault:
	SPILL_CALLER
	movl	$EXIT_FAULT, %eax

leave:
	movq	%rax, %gs:C_EXIT
	SPILL_CALLEE
	TO_C
	FPU_STORE
leave_stored:
	addq	$8, %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	popq	%rbp
	ret

/*
 * bool helper(struct cpu *, uintptr_t return address), with all guest state in
 * struct cpu. True: goes on at C_EXIT's second quad, T1 being C_RIP.
 */
.macro	HEAVY	helper
	popq	RETURN
	SPILL_CALLER
	SPILL_CALLEE
	TO_C
	FPU_STORE
	movq	HELPER(HELPER_SELF), %rdi
	movq	RETURN, %rsi
	call	*HELPER(\helper)
	testb	%al, %al
	jz	leave_stored
	jmp	resume
.endm

thunk_interp:
	HEAVY	HELPER_INTERP

	.balign	32
resume:
	FPU_LOAD
	FROM_C
	RELOAD_CALLEE
	RELOAD_CALLER
	movq	%gs:C_RIP, %r11
	ret

/*
 * A light helper, called with struct cpu; al is then what it says. Guest
 * memory may refuse a host's access: then it is left at once (thunk_light),
 * and what C has in registers is lost with it.
 */
.macro	LIGHT	helper, which
	movq	HELPER(HELPER_SELF), %rdi
	movl	$\which, %gs:C_LIGHT
	call	*HELPER(\helper)
	movl	$0, %gs:C_LIGHT
.endm
#define LIGHT_SLOW	1
#define LIGHT_STRING	2	/* and SYS */
#define LIGHT_MISS	3

/*
 * uint8_t *helper(struct cpu *, uint64_t linear, unsigned size_and_access).
 * NULL: the interpreter does the whole instruction.
 */
	.balign	64
thunk_slow:
	popq	RETURN
	SPILL_CALLER
	SPILL_CALLEE
	TO_C
	movq	%r11, %rsi
	movl	%ecx, %edx
	LIGHT	HELPER_FILL, LIGHT_SLOW
	testq	%rax, %rax
	jz	slow_fails
	movq	%rax, %r11
	xorl	%ecx, %ecx
	FROM_C
	RELOAD_CALLER
	ret
slow_fails:
	FPU_STORE
	movq	HELPER(HELPER_SELF), %rdi
	movq	RETURN, %rsi
	call	*HELPER(HELPER_SLOW)
	testb	%al, %al
	jz	leave_stored
	jmp	resume

/* uint8_t *helper(struct cpu *, uint64_t linear, uintptr_t return address):
 * where to go on, or NULL. */
thunk_miss:
	popq	RETURN
	SPILL_CALLER
	SPILL_CALLEE
	TO_C
	movq	%r11, %gs:C_RIP
	movq	%r11, %rsi
	movq	RETURN, %rdx
	LIGHT	HELPER_JUMP, LIGHT_MISS
	testq	%rax, %rax
	jz	miss_fails
	movq	%rax, RETURN
	FROM_C
	RELOAD_CALLER
	movq	%gs:C_RIP, %r11
	ret
miss_fails:
	movq	$EXIT_MISS, %gs:C_EXIT
	FPU_STORE
	jmp	leave_stored

/* bool helper(struct cpu *, unsigned which). False: the interpreter does
 * what is left of the instruction. */
	.balign	32
thunk_string:
	popq	RETURN
	SPILL_CALLER
	SPILL_CALLEE
	TO_C
	movq	%r11, %rsi
	LIGHT	HELPER_STRING, LIGHT_STRING
	testb	%al, %al
	jz	string_fails
	FROM_C
	RELOAD_CALLER
	ret
string_fails:
	FPU_STORE
	movq	HELPER(HELPER_SELF), %rdi
	movq	RETURN, %rsi
	call	*HELPER(HELPER_INTERP)
	testb	%al, %al
	jz	leave_stored
	jmp	resume

/* unsigned helper(struct cpu *, unsigned which, uint64_t next): SYS_*. */
	.balign	32
thunk_sys:
	popq	RETURN
	SPILL_CALLER
	SPILL_CALLEE
	TO_C
	movl	%r11d, %esi
	movq	%rcx, %rdx
	LIGHT	HELPER_SYS, LIGHT_STRING
	cmpl	$SYS_GO, %eax
	jb	string_fails
	ja	1f
	FROM_C
	RELOAD_CALLER
	movq	%gs:C_RIP, %r11
	ret
1:	movq	$EXIT_SYS, %gs:C_EXIT
	FPU_STORE
	jmp	leave_stored

thunk_light:
	movq	%gs:C_CSTACK, %rsp
	movl	%gs:C_LIGHT, %eax
	movl	$0, %gs:C_LIGHT
	cmpl	$LIGHT_STRING, %eax
	jb	slow_fails
	je	string_fails
	jmp	miss_fails

	.balign	32
thunk_x87:
	FPU_X87_LOAD
	ret
	.balign	64
jit_thunks_end:

	.section .rodata
	.balign	4
jit_thunks_size:
	.long	jit_thunks_end - jit_thunks

	.section .note.GNU-stack, "", @progbits
