/*
 * Traces: the second tier.
 *
 * A translation that is found at its poll again and again (sampling: REQ_SAMPLE
 * is raised at a fixed rate, and the poll that sees it says where it is)
 * becomes the head of a trace: the blocks that are executed from there on, in
 * the order in which they are executed, as one piece of code. What a trace
 * saves: branches, flags that must be kept (liveness looks along the path),
 * and most of all checks:
 *
 * GUARDS. Accesses of the path whose addresses differ by constants form a
 * group. An address is known as a sum: of what registers held at some point of
 * the path, each times a constant, and of a constant (struct trace_value).
 * A group has one guard, at its first access, for the whole range of bytes, and
 * a slot: {minus the linear address of a page, host minus linear address of
 * it}. The guard compares with the slot's page; each access then needs no more
 * than the slot's second word. A slot is filled from the TLB of translated code
 * when its guard fails and emptied when that TLB loses anything. In a loop
 * whose group does not move the guard stands before the loop; loops are
 * unrolled, so that groups that move share a guard as well.
 *
 * SIDE EXITS. A trace calls no helper. Wherever it cannot go on (a
 * guard that fails for good, a branch that goes another way, its end) it jumps
 * to the first-tier translation of the instruction it is at: all guest state is
 * where it has to be at every instruction boundary. So a trace needs no links
 * and no rules of its own for what is rare.
 *
 * PAGES. A path may lead over a few pages of code. That they are mapped as they
 * were when it was recorded is asked at the trace's start, by the slots of the
 * pages (jit.h: GUARDED LINKS): while it runs nothing can change that. In the
 * trace c_pageva stays that of the head's page, and exits say what it is.
 *
 * It dies with any of the translations it was made from.
 *
 * VCPU thread, but for the sampler (sample.c).
 */
#ifndef SOFT_JIT_TRACE_H
#define SOFT_JIT_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/soft/jit/emit.h"

#define TRACE_INSNS	160
#define TRACE_ACCESSES	192
#define TRACE_BLOCKS	64
#define TRACE_UNROLL	4	/* times that a short loop is repeated */
#define TRACE_PAGES	8	/* of code, besides the head's */
#define TRACE_REACH	(1 << 30)	/* bytes that they may be away from it */

/* An instruction of the path. */
struct trace_insn {
	const struct insn *ti_insn;
	struct tblock	*ti_tier1;	/* its translation, and which it is there */
	int32_t		 ti_off;	/* from the head's page */
	uint8_t		 ti_k;
	bool		 ti_taken;	/* a branch: the path takes it */
	bool		 ti_last;	/* of its block */
	int32_t		 ti_stack;	/* from RSP: its last access there */
};

/*
 * A register's value as the path knows it: a sum of what registers held at
 * some point of the path (symbols), each times a constant, and a constant.
 * Symbols 1 to 16 are the registers at the path's start. In the order of
 * symbols; 0 ends it.
 */
#define TRACE_TERMS	3
struct trace_value {
	struct {
		uint16_t t_sym;
		int16_t	 t_times;
	} v_term[TRACE_TERMS];
	uint64_t	 v_constant;
};

/* A memory access in the order in which the rules make them. */
struct trace_access {
	uint16_t	 ta_insn;	/* of the path */
	uint8_t		 ta_size, ta_access;
	uint8_t		 ta_seg;	/* FS or GS, or 0 */
	struct trace_value ta_value;	/* linear address, without its base */
	int16_t		 ta_group;	/* -1: checked by itself */
	bool		 ta_guard;	/* first of its group on the path */
};

struct trace_group {
	uint16_t	 tg_slot;
	uint8_t		 tg_access;
	bool		 tg_ahead;	/* guarded before the loop */
	uint16_t	 tg_first;	/* its first access */
	uint16_t	 tg_count;
	/* bytes, from its first access's address; past the end */
	int64_t		 tg_min, tg_max;
};

/* The trace in the making (one a translator). */
struct trace {
	struct tblock	*tr_head;
	uint64_t	 tr_linear;	/* of the head */
	struct trace_page {
		int32_t	 tp_off;	/* from the head's page */
		uint64_t tp_gpa;
		unsigned tp_slot;	/* jc_slot() */
	}		 tr_page[TRACE_PAGES];
	unsigned	 tr_npages;
	unsigned	 tr_ninsns, tr_nblocks;
	bool		 tr_loop;	/* ends where it begins */
	bool		 tr_cut;	/* tr_ninsns are all that can be held */
	struct tblock	*tr_blocks[TRACE_BLOCKS];
	uint64_t	 tr_next_linear[TRACE_BLOCKS];	/* after each */
	struct trace_insn tr_insn[TRACE_INSNS + 1];
	struct insn	 tr_decoded[TRACE_INSNS / 2];	/* of tr_blocks */
	uint16_t	 tr_live[TRACE_INSNS + 1];
	unsigned	 tr_now;	/* being emitted */
	/* the group, plus 1, whose addend T0 (T1) holds; 0 none */
	uint16_t	 tr_held[2];
	uint8_t		 tr_victim;	/* the one of them to be changed next */
	/* while code is made */
	bool		 tr_dry;	/* first pass: accesses are recorded */
	unsigned	 tr_naccesses, tr_next;
	unsigned	 tr_ngroups;
	uint16_t	 tr_nsyms;
	struct trace_value tr_value[17];
	struct trace_access tr_access[TRACE_ACCESSES];
	struct trace_group tr_group[TRACE_ACCESSES];
};

/* Where in the first tier an instruction of a trace is: t_map. */
struct trace_place {
	struct tblock	*tp_tier1;
	uint8_t		 tp_k;
	int32_t		 tp_page;	/* its page, from the head's */
};

/* A block that is part of a trace: killed with it. */
struct trace_member {
	struct trace_member *tm_next;	/* of b_traces */
	struct tblock	*tm_trace;
};

/* --- for the dispatcher ----------------------------------------------------------- */

/* t's poll saw REQ_SAMPLE (the request is taken back by the caller). */
void	trace_sample(struct cpu *, struct tblock *t);
/* Is a path being recorded? Then each block is interpreted, and before that: */
bool	trace_recording(const struct cpu *);
void	trace_record(struct cpu *, struct tblock *t, uint64_t linear);
/* Whatever is being recorded is forgotten (jit_flush, a fault). */
void	trace_abandon(struct cpu *);
/* t is a trace and a host fault struck in its instruction *k: where that is in
 * the first tier. */
struct tblock *trace_tier1(struct cpu *, struct tblock *t, unsigned *k);
/* b's bytes are no longer what traces were made from. */
void	trace_kill(struct cpu *, struct block *b);
int	trace_new(struct cpu *);		/* 0, or errno */
void	trace_free(struct cpu *);
/* The TLB lost something: part of jtlb_flush, jtlb_forget*. */
void	trace_slots_flush(struct cpu *);

/* --- between path.c and trace.c ------------------------------------------------------- */

/* What was recorded becomes a trace, or its head is not tried again. */
void	trace_make(struct cpu *);
/* tr_insn from tr_blocks; a loop that is short enough is repeated. */
void	path_make(const struct cpu *, struct trace *);
/* Flags live before each instruction: tr_live. */
void	path_liveness(struct trace *);
/* How many instructions of the path can be had, of calls and returns. */
unsigned path_paired(const struct trace *);
/* The trace ends before instruction n. */
void	path_cut(struct trace *, unsigned n);

/* --- for mem.c ---------------------------------------------------------------------- */

/* In place of e_operand(), e_stack() and e_check() when x_trace is set. */
void	trace_operand(struct tr *, const struct insn *, unsigned size,
	    int access);
void	trace_stack(struct tr *, int32_t disp, unsigned size, int access);
void	trace_check(struct tr *, unsigned size, int access);

#endif
