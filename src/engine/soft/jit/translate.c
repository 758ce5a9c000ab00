/*
 * The translator's driver (emit.h): one block to host code.
 *
 *	jit_translate	memory, then the block's parts in order:
 *	live_flags	which flags somebody still wants, from the end (or from
 *			a little behind it)
 *	tr_frames	frame.c: accesses by the stack pointer, checked at once
 *	tr_entries	flow.c
 *	instructions	by their rules, or the interpreter
 *	tr_goto		flow.c, if no instruction has ended the block
 *	cold stubs	what the others have put out of the way
 *
 * 1. t_off and the cold stubs' k tell for each address which instruction it
 *    belongs to; the state there is the guest's at that instruction's start
 *    until its first effect.
 * 2. A rule that refuses has emitted nothing.
 *
 * VCPU thread.
 */
#include <assert.h>
#include <string.h>

#include "engine/soft/jit/emit.h"
#include "engine/soft/mmu.h"

/* The most that entries and the end of a block take. */
#define TR_ENDS_MAX	1024
/* How far to look behind a block for who wants its flags. */
#define PEEK_INSNS	6

/* Shifts and rotates by a count that is known: what of the flags they leave
 * alone when it is 0 is not read. RCL and RCR read CF. */
static bool
shift_count_known(const struct insn *i, unsigned *count)
{
	if (i->i_map != 0)
		return (false);
	switch (i->i_opcode) {
	case 0xc0:
	case 0xc1:
		*count = (unsigned)i->i_imm & (i->i_osize == 8 ? 63 : 31);
		return (true);
	case 0xd0:
	case 0xd1:
		*count = 1;
		return (true);
	default:
		return (false);
	}
}

void
tr_flags(const struct insn *i, unsigned *in, unsigned *out)
{
	unsigned count;

	*in = i->i_op->o_in;
	*out = i->i_op->o_out;
	if (shift_count_known(i, &count)) {
		if (count == 0)
			*in = *out = 0;
		else if ((i->i_modrm >> 3 & 7) >= 4)
			*in = 0;
		else if ((i->i_modrm >> 3 & 6) == 0) {
			/* ROL, ROR; OF only if by 1 */
			*in = 0;
			*out = count == 1 ? FL_CF | FL_OF : FL_CF;
		}
	}
}

/*
 * Flags that are live at this offset of the block's page, as far as a look at
 * the next few instructions tells. The block then depends on these.
 */
static unsigned
peek_flags(struct tr *x, unsigned which, int64_t off)
{
	struct cpu *c = x->x_cpu;
	uint8_t bytes[PEEK_INSNS * INSN_MAXLEN];
	unsigned avail, len = 0, n, in, out, live = 0, unknown = FL_ARITH;
	struct insn i;

	if (off < 0 || off >= PAGE_SIZE || x->x_block->b_gpa2 != NO_PAGE)
		return (FL_ARITH);
	avail = PAGE_SIZE - (unsigned)off;
	if (avail > sizeof(bytes))
		avail = sizeof(bytes);
	block_peek(c, x->x_block, (unsigned)off, bytes, avail);
	for (n = 0; n < PEEK_INSNS && unknown != 0; n++) {
		if (insn_decode(bytes + len, avail - len, &c->c_decode, &i) !=
		    DECODE_OK)
			break;
		len += i.i_len;
		tr_flags(&i, &in, &out);
		live |= in & unknown;
		unknown &= ~(in | out);
		if (i.i_flags & INSN_END)
			break;
	}
	live |= unknown;
	if (live == FL_ARITH || !block_depend(c, x->x_block, which,
	    (unsigned)off, bytes, len))
		return (FL_ARITH);
	return (live);
}

/* Flags that are live where the block goes on. */
static unsigned
live_after(struct tr *x, unsigned count)
{
	const struct insn *insn = block_insns(x->x_cpu, x->x_block);
	const struct insn *i = &insn[count - 1];
	tr_rule *rule = i->i_op->o_rule;
	int64_t next = x->x_off, target;
	unsigned n, live = 0;

	for (n = 0; n < count; n++)
		next += insn[n].i_len;
	target = next + (int64_t)i->i_imm;
	if (x->x_jit->j_opt.jo_exact)
		return (FL_ARITH);
	if (!(i->i_flags & INSN_END))
		return (peek_flags(x, 0, next));
	if (i->i_osize != (x->x_64 ? 8 : 4))
		return (FL_ARITH);
	if (rule == tr_jcc || rule == tr_loop || rule == tr_jcxz)
		live = peek_flags(x, 0, next);
	else if (rule != tr_jmp && rule != tr_call)
		return (FL_ARITH);
	return (live == FL_ARITH ? live : live | peek_flags(x, 1, target));
}

static void
live_flags(struct tr *x, unsigned count)
{
	const struct insn *insn = block_insns(x->x_cpu, x->x_block);
	unsigned k, in, out;

	x->x_live[count] = (uint16_t)live_after(x, count);
	for (k = count; k-- > 0;) {
		tr_flags(&insn[k], &in, &out);
		x->x_live[k] = (uint16_t)((x->x_live[k + 1] & ~out) | in);
	}
}

static void
instructions(struct tr *x, unsigned count)
{
	const struct insn *insn = block_insns(x->x_cpu, x->x_block);
	uint8_t *before;
	unsigned ncold;

	for (x->x_k = 0; x->x_k < count; x->x_k++) {
		x->x_i = &insn[x->x_k];
		x->x_t->t_off[x->x_k] = (uint16_t)(x->x_p - x->x_start);
		e_frame_begin(x);
		before = x->x_p;
		ncold = x->x_ncold;
		if (x->x_i->i_op->o_rule == NULL ||
		    !x->x_i->i_op->o_rule(x, x->x_i)) {
			assert(x->x_p == before && x->x_ncold == ncold);
			tr_interp(x);
		}
		assert(x->x_p - before <= TR_HOT_MAX);
		x->x_off += x->x_i->i_len;
	}
	x->x_t->t_off[count] = (uint16_t)(x->x_p - x->x_start);
}

static void
cold_stubs(struct tr *x)
{
	struct tr_cold *tc;
	uint8_t *before;

	for (tc = x->x_cold; tc < x->x_cold + x->x_ncold; tc++) {
		x->x_i = tc->tc_insn;
		x->x_k = tc->tc_k;
		x->x_off = tc->tc_off;
		before = x->x_p;
		if (tc->tc_from != NULL)
			e_patch(x, tc->tc_from, before);
		tc->tc_emit(x, tc);
		assert(x->x_p - before <= TR_COLD_MAX);
	}
}

struct tblock *
jit_translate(struct cpu *c, struct block *b, uint64_t linear)
{
	struct jit *j = c->c_jit;
	unsigned count = b->b_count;
	struct tr x;

	if (c->c_jmode & JM_NONE || b->b_temp)
		return (NULL);
	if (j->j_opt.jo_insns != 0 && count > j->j_opt.jo_insns)
		count = j->j_opt.jo_insns;
	x.x_cpu = c;
	x.x_jit = j;
	x.x_block = b;
	x.x_t = jit_alloc(c, b, linear, count, TR_ENDS_MAX +
	    count * TR_HOT_MAX + TR_COLD * TR_COLD_MAX);
	x.x_mode = c->c_jmode;
	x.x_64 = c->c_jmode & JM_64;
	x.x_off = (unsigned)(linear & PAGE_MASK);
	x.x_p = x.x_start = CODE_RW(j, x.x_t->t_code);
	x.x_rx = j->j_rx - j->j_rw;
	x.x_ended = false;
	x.x_trace = NULL;
	x.x_at = false;
	x.x_frame = NULL;
	x.x_frame_p = NULL;
	x.x_ncold = 0;
	x.x_i = block_insns(c, b);
	x.x_k = 0;

	live_flags(&x, count);
	tr_frames(&x, count);
	tr_entries(&x);
	instructions(&x, count);
	if (!x.x_ended)
		tr_goto(&x, 0, x.x_off, NULL);
	x.x_t->t_size = (uint32_t)(x.x_p - x.x_start);
	x.x_p = CODE_RW(j, x.x_t->t_cold);
	cold_stubs(&x);
	x.x_t->t_cold_size = (uint32_t)(x.x_p - CODE_RW(j, x.x_t->t_cold));
	jit_publish(c, x.x_t);
	return (x.x_t);
}

uint64_t
jit_rip(const struct cpu *c, const struct tblock *t, unsigned k)
{
	uint64_t rip = t->t_va != NO_VA ? t->t_va : c->c_pageva;
	const struct insn *insn = k > 0 ? block_insns(c, t->t_block) : NULL;
	unsigned n;

	rip += t->t_block->b_gpa & PAGE_MASK;
	for (n = 0; n < k; n++)
		rip += insn[n].i_len;
	return (t->t_mode & JM_64 ? rip : (uint32_t)rip);
}
