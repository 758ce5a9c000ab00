/*
 * What assembly and emitted code must know of struct cpu and its tables:
 * offsets from the base of GS. Checked against the C declarations in jit.c.
 */
#ifndef SOFT_JIT_ASM_H
#define SOFT_JIT_ASM_H

/* struct cpu */
#define C_GPR		0x000	/* 17 quads */
#define C_RIP		0x088
#define C_RFLAGS	0x090
#define C_REQUEST	0x0a0	/* long */
/* what only the translator uses: struct cpu has it from c_pageva on */
#define C_PAGEVA	0x0c0	/* linear address of the current code page, user */
#define C_JFLAGS	0x0c8	/* arithmetic flags as LAHF (AH) and SETO (AL)
				   left them */
#define C_CSTACK	0x0d0	/* RSP of jit_enter() */
#define C_RSTACK	0x0d8	/* the return stack's RSP while not in RSP */
#define C_TMP		0x0e0	/* two quads, free between boundaries */
#define C_EXIT		0x0f0	/* link.c: why translated code was left, its
				   argument in the next quad */
#define C_JMODE		0x100	/* word */
#define C_X87_LIVE	0x104	/* long: x87 state is in the host's registers */
#define C_AVX		0x108	/* long: FPU_* of fpu.h, what the host has */
#define C_LIGHT		0x10c	/* long: a light helper is at work (enter.S) */
#define C_HELPER	0x110	/* HELPER_* pointers */
#define C_JTSC		0x160	/* c_tsc_offset again, for RDTSC */
#define C_MASKS		0x168	/* two quads for PEXT: the page's bits of an
				   address, the offset's */
/* struct fpu */
#define C_FX		0x180	/* FXSAVE image */
#define C_YMM		0x380	/* 16 of 32 bytes */
#define C_MXCSR		0x580
#define C_HOST_MXCSR	0x58c
#define C_HOST_FCW	0x590
#define C_LAST_IP	0x598
#define C_LAST_EA	0x5a0
#define C_LAST_OP	0x5a8	/* long, as the next */
#define C_LAST_SEG	0x5ac
/* and again of struct cpu */
#define C_TARGET	0x5c0	/* of an indirect call, while its stack write
				   is checked */
#define C_COUNTDOWN	0x5c8	/* jo_exits: polls until one leaves */
#define C_SLOTS		0x5d0	/* long: some slot of a trace is not empty */

/* C functions that thunks call: void *c_helper[10] */
#define HELPER_FILL	0
#define HELPER_INTERP	1
#define HELPER_SLOW	2
#define HELPER_STRING	4
#define HELPER_SYS	5
#define HELPER_JUMP	6
#define HELPER_X87_STORE 7	/* void (struct cpu *): c_x87_live was set */
#define HELPER_SELF	9	/* no function: struct cpu */

/* Why translated code was left: c_exit[0]; its argument in c_exit[1]. */
#define EXIT_NEXT	0	/* c_rip is where to go on */
#define EXIT_LINK	1	/* return address of LINK's call */
#define EXIT_POLL	2	/* of POLL's */
#define EXIT_MISS	3	/* of MISS's; c_rip is the target */
#define EXIT_RETURN	4	/* c_rip is the target: the stack was empty */
#define EXIT_FAULT	5	/* address of the host instruction */
#define EXIT_SYS	6	/* c_rip is where to go on */

/* What jit_sys() says: the interpreter has to do it; goes on at c_exit[1], T1
 * being c_rip; leaves, c_rip is where to go on. */
#define SYS_INTERPRET	0
#define SYS_GO		1
#define SYS_LEAVE	2

/*
 * Thunks (enter.S), at the start of the code cache; number of an entry. All
 * keep guest state and flags but for what they say.
 *
 * SLOW	  T1 linear address, ecx = size | access << 8. In a cold stub:
 *		call SLOW; jmp back (rel32); .byte k
 *	  Returns with T0 + T1 the host address; or executes instruction k in
 *	  the interpreter and goes on behind it.
 * INTERP In hot code: executes the instruction in the interpreter and goes on
 *	  behind it, or leaves.
 * LINK	  In an exit stub: call LINK; .long link (arena offset). Leaves; the
 *	  link is made.
 * POLL	  In a cold stub: call POLL; .byte k. Leaves with RIP on instruction k.
 * MISS	  In a cold stub: call MISS; .byte k. The jump cache does not have T1.
 *	  Leaves, or goes to the target. k: the branch, which jit_miss() looks
 *	  at (it may have to fault), or the number of instructions: no branch;
 *	  | MISS_AGAIN: the instruction has not begun, and is begun again.
 * X87	  Loads the x87 state; everything else is kept.
 * SYS	  In hot code: T1 is an instruction of sys.c, T0 the linear address
 *	  behind it. Executes it; does not come back.
 * STRING In hot code: T1 points to the struct insn. Executes it.
 */
#define THUNK_SLOW	0
#define THUNK_INTERP	1
#define THUNK_LINK	2
#define THUNK_POLL	3
#define THUNK_MISS	4
#define MISS_AGAIN	0x80
#define THUNK_X87	5
#define THUNK_STRING	6
#define THUNK_SYS	7
#define THUNK_RETURN	8	/* where an empty return stack returns to */
#define THUNK_FAULT	9	/* where a host fault goes on (jit.c) */
#define THUNK_LIGHT	10	/* where a host fault in a light helper does */
#define THUNK_COUNT	11
#define THUNK_AT(n)	((n) * 16)	/* offset in the code cache */

/* The tables behind struct cpu, in JIT_AREA_SIZE bytes. */
#define JIT_TABLES	0x10000		/* struct cpu is smaller */
#define JT_SIZE		0x80000		/* 65536 quads */
#define JT_NEGR(class)	(JIT_TABLES + (class) * 3 * JT_SIZE)
#define JT_NEGW(class)	(JT_NEGR(class) + JT_SIZE)
#define JT_HOST(class)	(JT_NEGR(class) + 2 * JT_SIZE)
#define JT_CLASSES	3
#define JC_KEY		(JIT_TABLES + 9 * JT_SIZE)
#define JC_HOST		(JC_KEY + JT_SIZE)
/* Slots of traces: pairs of quads, as NEGR or NEGW and host minus linear; 2^63
 * and 0 are empty (trace_slots_flush()). */
#define JT_SLOTS	(JC_HOST + JT_SIZE)
#define JT_SLOT_COUNT	4096
/* What is filled in all of these: struct jtlb (jtlb.c). */
#define JT_LOGS		(JT_SLOTS + JT_SLOT_COUNT * 16)
#define JT_LOGS_SIZE	0x300000
/* What the jump cache's entries were, whether they still hold or not, and the
 * physical page that they depend on (jtlb.c). */
#define JC_LAST		(JT_LOGS + JT_LOGS_SIZE)
#define JC_PAGE		(JC_LAST + JT_SIZE)
/* Where pages of code are mapped: jit.h, LINKS. Slot 0 is always empty. */
#define JT_CODES	(JC_PAGE + JT_SIZE)
#define JT_CODE_COUNT	16384
#define JIT_AREA_SIZE	(JT_CODES + JT_CODE_COUNT * 8)

#endif
