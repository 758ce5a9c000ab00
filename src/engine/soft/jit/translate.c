/*
 * A block's translation: the driver. For each instruction its row's rule, or
 * else a call of the interpreter; then what lies out of line.
 *
 * VCPU thread.
 */
#include <assert.h>

#include "engine/soft/block.h"
#include "engine/soft/cpu.h"
#include "engine/soft/jit/emit.h"
#include "engine/soft/mmu.h"
#include "engine/soft/opcode.h"

/*
 * The flags that are live in front of each instruction. Whoever comes behind
 * the block may want all of them. An instruction that may fault shows those
 * before it to the guest; they need not be right (jit.h).
 */
static void
liveness(struct tr *x, const struct insn *first, unsigned count)
{
	const struct opcode *op;
	unsigned live = FL_ARITH, k;

	x->x_live[count] = FL_ARITH;
	for (k = count; k-- > 0;) {
		op = first[k].i_op;
		if (op->o_rule == NULL) {
			/* the handler may look at all of RFLAGS */
			live = FL_ARITH;
		} else {
			/* shifts by zero write nothing: they read as well */
			live &= ~(unsigned)(op->o_out & ~op->o_in);
			live |= op->o_in;
		}
		x->x_live[k] = (uint16_t)live;
	}
}

static void
translate_insn(struct tr *x, const struct insn *i)
{
	uint8_t *start = x->x_p;
	unsigned ncold = x->x_ncold;

	if (i->i_op->o_rule != NULL && i->i_op->o_rule(x, i)) {
		assert(x->x_p - start <= TR_HOT_MAX);
		return;
	}
	assert(x->x_p == start && x->x_ncold == ncold);
	tr_interp(x);
}

static void
cold(struct tr *x)
{
	struct tr_cold *tc;
	uint8_t *start;
	unsigned n;

	for (n = 0; n < x->x_ncold; n++) {
		tc = &x->x_cold[n];
		start = x->x_p;
		e_patch(x, tc->tc_from, start);
		x->x_k = tc->tc_k;
		x->x_i = tc->tc_insn;
		x->x_off = tc->tc_off;
		tc->tc_emit(x, tc);
		assert(x->x_p - start <= TR_COLD_MAX);
	}
}

struct tblock *
jit_translate(struct cpu *c, struct block *b, uint64_t linear)
{
	struct jit *j = c->c_jit;
	unsigned count = b->b_count, k;
	struct tblock *t;
	struct tr x;

	if (j->j_opt.jo_insns != 0 && count > j->j_opt.jo_insns)
		count = j->j_opt.jo_insns;
	t = jit_alloc(c, b, linear, count, (count + 1) * TR_HOT_MAX +
	    TR_COLD * TR_COLD_MAX);
	x.x_cpu = c;
	x.x_jit = j;
	x.x_block = b;
	x.x_t = t;
	x.x_mode = c->c_jmode;
	x.x_64 = (c->c_jmode & JM_64) != 0;
	x.x_off = (unsigned)(b->b_gpa & PAGE_MASK);
	x.x_p = x.x_start = CODE_RW(j, t->t_code);
	x.x_rx = j->j_rx - j->j_rw;
	x.x_ended = false;
	x.x_trace = NULL;
	x.x_ncold = 0;
	x.x_i = b->b_insn;
	x.x_k = 0;
	liveness(&x, b->b_insn, count);
	tr_entries(&x);
	for (k = 0; k < count; k++) {
		t->t_off[k] = (uint16_t)(x.x_p - x.x_start);
		x.x_i = &b->b_insn[k];
		x.x_k = k;
		translate_insn(&x, x.x_i);
		x.x_off += x.x_i->i_len;
	}
	t->t_off[count] = (uint16_t)(x.x_p - x.x_start);
	x.x_k = count;
	if (!x.x_ended)
		tr_goto(&x, 0, x.x_off, NULL);
	cold(&x);
	assert(x.x_p - x.x_start <= UINT16_MAX);
	t->t_size = (uint32_t)(x.x_p - x.x_start);
	jit_publish(c, t);
	return (t);
}

uint64_t
jit_rip(const struct cpu *c, const struct tblock *t, unsigned k)
{
	const struct block *b = t->t_block;
	uint64_t rip = (t->t_va != NO_VA ? t->t_va : c->c_pageva) +
	    (b->b_gpa & PAGE_MASK);
	unsigned n;

	for (n = 0; n < k; n++)
		rip += b->b_insn[n].i_len;
	return (t->t_mode & JM_64 ? rip : (uint32_t)rip);
}
