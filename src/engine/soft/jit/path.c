/*
 * The path of a trace (trace.h): recording it, and what is known of it before
 * there is code.
 *
 * It is recorded while the interpreter executes it, block by block, from the
 * head until the head is reached again (a loop) or something is met that a
 * trace cannot hold; then trace.c makes code of it.
 *
 * VCPU thread.
 */
#include <string.h>

#include "engine/soft/jit/trace.h"
#include "engine/soft/mmu.h"

#define SAMPLES		3	/* of a poll before it becomes a head */

/* --- recording --------------------------------------------------------------------- */

void
trace_abandon(struct cpu *c)
{
	c->c_jit->j_trace->tr_head = NULL;
}

bool
trace_recording(const struct cpu *c)
{
	return (c->c_jit->j_trace->tr_head != NULL);
}

void
trace_sample(struct cpu *c, struct tblock *t)
{
	struct trace *tr = c->c_jit->j_trace;

	if (t->t_map != NULL || t->t_refused || t->t_dead ||
	    ++t->t_samples < (c->c_jit->j_opt.jo_traces ? 1 : SAMPLES))
		return;
	tr->tr_head = t;
	tr->tr_nblocks = tr->tr_ninsns = tr->tr_npages = 0;
	tr->tr_loop = false;
}

/* Can a trace go on behind the last instruction of a block? */
static bool
passes(const struct insn *i)
{
	tr_rule *rule = i->i_op->o_rule;

	return ((i->i_flags & INSN_END) == 0 || rule == tr_jcc ||
	    rule == tr_jmp || rule == tr_call || rule == tr_ret);
}

static const struct insn *
last_insn(const struct cpu *c, const struct tblock *t)
{
	return (&block_insns(c, t->t_block)[t->t_count - 1]);
}

/* From the head's page to linear's. */
static int64_t
page_off(const struct trace *tr, uint64_t linear)
{
	const uint64_t mask = ~(uint64_t)PAGE_MASK;

	return ((int64_t)((linear & mask) - (tr->tr_linear & mask)));
}

/* The path gets to linear, which is in t's page. False: it must not. */
static bool
record_page(struct cpu *c, const struct tblock *t, uint64_t linear)
{
	struct trace *tr = c->c_jit->j_trace;
	uint64_t gpa = t->t_block->b_gpa & ~(uint64_t)PAGE_MASK;
	int64_t off = page_off(tr, linear);
	struct trace_page *tp;

	if (off == 0)
		return (gpa == (tr->tr_blocks[0]->t_block->b_gpa &
		    ~(uint64_t)PAGE_MASK));
	for (tp = tr->tr_page; tp < tr->tr_page + tr->tr_npages; tp++)
		if (tp->tp_off == off)
			return (tp->tp_gpa == gpa);
	if (off > TRACE_REACH || off < -TRACE_REACH ||
	    tr->tr_npages == TRACE_PAGES || c->c_jit->j_opt.jo_nochain ||
	    (tp->tp_slot = jc_slot(c, gpa, t->t_mode & JM_CPL3, true)) == 0)
		return (false);
	tp->tp_off = (int32_t)off;
	tp->tp_gpa = gpa;
	tr->tr_npages++;
	jit_link_found(c, linear, gpa);
	return (true);
}

void
trace_record(struct cpu *c, struct tblock *t, uint64_t linear)
{
	struct trace *tr = c->c_jit->j_trace;
	struct tblock *last;

	if (tr->tr_nblocks == 0) {
		/* the path may get to its head by detours first */
		if (t != tr->tr_head) {
			trace_abandon(c);
			return;
		}
		tr->tr_linear = linear;
	} else {
		last = tr->tr_blocks[tr->tr_nblocks - 1];
		tr->tr_next_linear[tr->tr_nblocks - 1] = linear;
		if (t == tr->tr_head && linear == tr->tr_linear) {
			tr->tr_loop = true;
			trace_make(c);
			return;
		}
		if (t == NULL || tr->tr_nblocks == TRACE_BLOCKS ||
		    t->t_mode != last->t_mode ||
		    t->t_block->b_gpa2 != NO_PAGE ||
		    tr->tr_ninsns + t->t_count > TRACE_INSNS / 2 ||
		    !record_page(c, t, linear)) {
			trace_make(c);
			return;
		}
	}
	if (t == NULL || t->t_count != t->t_block->b_count ||
	    t->t_block->b_gpa2 != NO_PAGE) {
		trace_make(c);
		return;
	}
	tr->tr_blocks[tr->tr_nblocks++] = t;
	tr->tr_ninsns += t->t_count;
	if (!passes(last_insn(c, t))) {
		tr->tr_next_linear[tr->tr_nblocks - 1] = NO_VA;
		trace_make(c);
	}
}

/* --- the path --------------------------------------------------------------------------- */

void
path_make(const struct cpu *c, struct trace *tr)
{
	struct trace_insn *ti = tr->tr_insn;
	struct insn *insn = tr->tr_decoded;
	struct tblock *t;
	unsigned n, k, copies = 1, once = tr->tr_ninsns;
	uint64_t linear;
	int32_t off;

	for (n = 0; n < tr->tr_nblocks; n++) {
		t = tr->tr_blocks[n];
		memcpy(insn, block_insns(c, t->t_block),
		    t->t_count * sizeof(*insn));
		insn += t->t_count;
	}
	if (tr->tr_loop)
		while (copies < TRACE_UNROLL &&
		    (copies + 1) * once <= TRACE_INSNS / 2)
			copies++;
	tr->tr_ninsns = 0;
	while (copies-- > 0) {
		insn = tr->tr_decoded;
		for (n = 0; n < tr->tr_nblocks; n++) {
			t = tr->tr_blocks[n];
			linear = n == 0 ? tr->tr_linear :
			    tr->tr_next_linear[n - 1];
			off = (int32_t)page_off(tr, linear) +
			    (int32_t)(linear & PAGE_MASK);
			for (k = 0; k < t->t_count; k++) {
				ti = &tr->tr_insn[tr->tr_ninsns++];
				ti->ti_insn = insn++;
				ti->ti_tier1 = t;
				ti->ti_k = (uint8_t)k;
				ti->ti_off = off;
				ti->ti_last = k == t->t_count - 1u;
				off += ti->ti_insn->i_len;
			}
			linear = (tr->tr_linear & ~(uint64_t)PAGE_MASK) +
			    (uint64_t)(int64_t)off;
			ti->ti_taken = tr->tr_next_linear[n] != linear;
		}
	}
}

/*
 * How much of the path can be had: a call whose return is not on it, or a
 * return whose call is not, ends it, since calls and returns of the first tier
 * are paired on the host's stack.
 */
unsigned
path_paired(const struct trace *tr)
{
	unsigned calls[TRACE_INSNS], depth = 0, n;
	tr_rule *rule;

	for (n = 0; n < tr->tr_ninsns; n++) {
		rule = tr->tr_insn[n].ti_insn->i_op->o_rule;
		if (rule == tr_call)
			calls[depth++] = n;
		else if (rule == tr_ret && depth-- == 0)
			return (n);
	}
	return (depth == 0 ? n : calls[0]);
}

void
path_cut(struct trace *tr, unsigned n)
{
	if (n == tr->tr_ninsns)
		return;
	tr->tr_loop = false;
	tr->tr_cut = true;
	tr->tr_ninsns = n;
	path_liveness(tr);
}

/*
 * Flags live before each instruction of the path. Whoever gets to a branch may
 * leave there, with all flags.
 */
void
path_liveness(struct trace *tr)
{
	const struct insn *i;
	uint16_t live = tr->tr_loop ? 0 : FL_ARITH;
	unsigned n, again = tr->tr_loop ? 2 : 1, reads, writes;

	while (again-- > 0) {
		if (!tr->tr_loop)
			live = FL_ARITH;
		for (n = tr->tr_ninsns; n-- > 0; ) {
			i = tr->tr_insn[n].ti_insn;
			if (i->i_op->o_rule == tr_jcc ||
			    i->i_op->o_rule == tr_ret)
				live = FL_ARITH;
			else {
				tr_flags(i, &reads, &writes);
				live = (uint16_t)((live & ~writes) | reads);
			}
			tr->tr_live[n] = live;
		}
	}
}
