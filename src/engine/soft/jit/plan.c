/*
 * Which accesses of a trace share a guard (trace.h).
 *
 * 1. A first, dry pass over the path records every access as the rules make
 *    it, with its base and index as values: a symbol (what the register held
 *    at some point of the path) and what was added to it since.
 * 2. Accesses of equal symbols are grouped while the range they span is small.
 * 3. What an instruction writes is known for the forms listed here; any other
 *    is taken to write all registers.
 */
#include <string.h>

#include "engine/soft/jit/plan.h"
#include "engine/soft/jit/trace.h"

#define RANGE_MAX	512	/* bytes of a group */
#define SYM_RIP		0x7fff

/* --- values --------------------------------------------------------------------- */

void
plan_begin(struct trace *tr)
{
	unsigned n;

	for (n = 0; n < 16; n++)
		tr->tr_value[n] = (struct trace_value){ (uint16_t)(n + 1), 0 };
	tr->tr_value[REG_NONE] = (struct trace_value){ 0, 0 };
	tr->tr_nsyms = 17;
	tr->tr_next = 0;
}

static void
value_new(struct trace *tr, unsigned reg)
{
	tr->tr_value[reg] = (struct trace_value){ tr->tr_nsyms++, 0 };
}

static void
value_add(struct trace *tr, unsigned reg, int64_t n)
{
	int64_t sum = tr->tr_value[reg].v_delta + n;

	if (sum < -65536 || sum > 65536)
		value_new(tr, reg);
	else
		tr->tr_value[reg].v_delta = (int32_t)sum;
}

#define ALL_REGS	0xffffu
#define BIT(r)		(1u << (r))

/* Operand n of a role, as a bit, if it is a GPR that is written. */
static unsigned
operand_bit(const struct insn *i, unsigned role, unsigned n)
{
	unsigned class = role & R_CLASS;

	if ((class != R_GPR && class != R_BYTE) || !(role & R_WRITE))
		return (0);
	if (class == R_BYTE && !(i->i_flags & INSN_REX) && n >= 4)
		n -= 4;				/* AH..BH */
	return (BIT(n));
}

/* GPRs that i writes without naming them. */
static unsigned
implied(const struct insn *i)
{
	const struct opcode *op = i->i_op;

	if (op->o_rules & O_PCMPSTR)
		return (BIT(RCX));
	if (op->o_reg == 0 && op->o_rm == 0)	/* an accumulator's forms */
		return (BIT(RAX) | BIT(RDX));
	if ((i->i_map == 0 && (i->i_opcode & 0xfe) == 0xf6) ||
	    (i->i_map == 1 && (i->i_opcode & 0xfe) == 0xb0))
		return (BIT(RAX) | BIT(RDX));	/* MUL, DIV; CMPXCHG */
	if (i->i_map == 0 && i->i_opcode >= 0x91 && i->i_opcode <= 0x9f)
		return (BIT(RAX) | BIT(RDX));
	return (0);
}

/* GPRs that i may write, RSP of pushes and pops aside. */
static unsigned
written(const struct insn *i)
{
	const struct opcode *op = i->i_op;
	tr_rule *rule = op->o_rule;
	bool mem = i->i_flags & INSN_MEM;

	if (rule == tr_push_r || rule == tr_push_imm || rule == tr_push_rm ||
	    rule == tr_nop)
		return (0);
	if (rule == tr_pop_r)
		return (BIT(i->i_rm));
	if (rule == tr_lea)
		return (BIT(i->i_reg));
	if (rule == tr_xchg_a)
		return (BIT(RAX) | BIT(i->i_rm));
	if (rule != tr_copy && rule != tr_vector && rule != tr_shift_cl &&
	    rule != tr_bt)
		return (ALL_REGS);
	return (implied(i) | operand_bit(i, op->o_reg, i->i_reg) |
	    operand_bit(i, op->o_vvvv, i->i_vvvv) |
	    (mem ? 0 : operand_bit(i, op->o_rm, i->i_rm)));
}

/* Values after instruction i of the path. */
void
plan_effects(struct trace *tr, const struct trace_insn *ti, bool code64)
{
	const struct insn *i = ti->ti_insn;
	tr_rule *rule = i->i_op->o_rule;
	unsigned full = code64 ? 8 : 4, mask, n, op = i->i_opcode;
	bool reg = !(i->i_flags & INSN_MEM) && i->i_osize == full;
	struct trace_value v;

	if (rule == tr_jcc || rule == tr_jmp)
		return;
	if (rule == tr_call) {
		value_add(tr, RSP, -(int)full);
		return;
	}
	if (rule == tr_ret) {
		value_add(tr, RSP, full + (int64_t)(uint16_t)i->i_imm);
		return;
	}
	if (rule == tr_leave) {
		tr->tr_value[RSP] = tr->tr_value[RBP];
		value_add(tr, RSP, full);
		value_new(tr, RBP);
		return;
	}
	if (i->i_map == 0 && reg && (op == 0x81 || op == 0x83) &&
	    ((i->i_modrm >> 3 & 7) == 0 || (i->i_modrm >> 3 & 7) == 5)) {
		value_add(tr, i->i_rm, (i->i_modrm >> 3 & 7) == 0 ?
		    (int32_t)i->i_imm : -(int64_t)(int32_t)i->i_imm);
		return;
	}
	if (i->i_map == 0 && reg && op == 0xff && (i->i_modrm >> 3 & 7) <= 1) {
		value_add(tr, i->i_rm, (i->i_modrm >> 3 & 7) == 0 ? 1 : -1);
		return;
	}
	if (i->i_map == 0 && reg && (op == 0x89 || op == 0x8b)) {
		if (op == 0x89)
			tr->tr_value[i->i_rm] = tr->tr_value[i->i_reg];
		else
			tr->tr_value[i->i_reg] = tr->tr_value[i->i_rm];
		return;
	}
	if (rule == tr_lea && i->i_osize == full && i->i_asize == full &&
	    i->i_base < 16 && i->i_index == REG_NONE) {
		v = tr->tr_value[i->i_base];
		tr->tr_value[i->i_reg] = v;
		value_add(tr, i->i_reg, i->i_disp);
		return;
	}
	mask = written(i);
	for (n = 0; n < 16; n++)
		if (mask & BIT(n))
			value_new(tr, n);
	if ((rule == tr_push_r || rule == tr_push_imm || rule == tr_push_rm) &&
	    !(mask & BIT(RSP)))
		value_add(tr, RSP, -(int)i->i_osize);
	if (rule == tr_pop_r && !(mask & BIT(RSP)))
		value_add(tr, RSP, i->i_osize);
	if (rule == tr_pop_rm)
		value_new(tr, RSP);
}

/* --- accesses ---------------------------------------------------------------------- */

static struct trace_access *
access_new(struct tr *x, unsigned size, int access)
{
	struct trace *tr = x->x_trace;
	struct trace_access *a;

	if (tr->tr_naccesses == TRACE_ACCESSES)
		return (NULL);
	a = &tr->tr_access[tr->tr_naccesses++];
	memset(a, 0, sizeof(*a));
	a->ta_size = (uint8_t)size;
	a->ta_access = (uint8_t)access;
	a->ta_group = -1;
	a->ta_insn = (uint16_t)tr->tr_now;
	return (a);
}

void
plan_operand(struct tr *x, const struct insn *i, unsigned size, int access)
{
	struct trace *tr = x->x_trace;
	struct trace_access *a = access_new(x, size, access);
	struct trace_value *base, *index;

	if (a == NULL)
		return;
	a->ta_base = i->i_base;
	a->ta_index = i->i_index;
	a->ta_scale = i->i_scale;
	a->ta_disp = i->i_disp;
	/* other segments are flat (jit.h: MODES) */
	a->ta_seg = i->i_seg >= SEG_FS ? i->i_seg : 0;
	if (i->i_asize != (x->x_64 ? 8 : 4) ||
	    i->i_op->o_imm == IMM_MOFFS) {
		a->ta_sym[0] = tr->tr_nsyms++;
		return;
	}
	if (i->i_base == REG_RIP) {
		a->ta_sym[0] = SYM_RIP;
		a->ta_offset = (int64_t)x->x_off + i->i_len + i->i_disp;
		return;
	}
	base = &tr->tr_value[i->i_base];
	index = &tr->tr_value[i->i_index];
	a->ta_sym[0] = base->v_sym;
	a->ta_sym[1] = index->v_sym;
	if (index->v_sym == 0)
		a->ta_scale = 0;
	a->ta_offset = (int64_t)i->i_disp + base->v_delta +
	    index->v_delta * (1 << i->i_scale);
}

void
plan_stack(struct tr *x, int32_t disp, unsigned size, int access)
{
	struct trace *tr = x->x_trace;
	struct trace_access *a = access_new(x, size, access);

	if (a == NULL)
		return;
	a->ta_base = RSP;
	a->ta_index = REG_NONE;
	a->ta_disp = disp;
	a->ta_sym[0] = tr->tr_value[RSP].v_sym;
	a->ta_offset = (int64_t)tr->tr_value[RSP].v_delta + disp;
}

/* An access whose address nobody knows: it keeps its place in the order. */
void
plan_other(struct tr *x, unsigned size, int access)
{
	struct trace_access *a = access_new(x, size, access);

	if (a != NULL)
		a->ta_sym[0] = x->x_trace->tr_nsyms++;
}

/* --- groups --------------------------------------------------------------------------- */

static bool
same_place(const struct trace_access *a, const struct trace_access *b)
{
	return (a->ta_sym[0] == b->ta_sym[0] && a->ta_sym[1] == b->ta_sym[1] &&
	    a->ta_scale == b->ta_scale && a->ta_seg == b->ta_seg);
}

/* Does the register hold at the end of the loop what it held at its start? */
static bool
unmoved(const struct trace *tr, unsigned sym)
{
	return (sym == 0 || (sym <= 16 && tr->tr_value[sym - 1].v_sym == sym &&
	    tr->tr_value[sym - 1].v_delta == 0));
}

/*
 * After the dry pass, tr_value being those of the path's end.
 */
void
plan_groups(struct trace *tr)
{
	struct trace_access *a, *first;
	struct trace_group *g;
	int64_t from, to;
	unsigned n, k;

	tr->tr_ngroups = 0;
	for (n = 0; n < tr->tr_naccesses; n++) {
		a = &tr->tr_access[n];
		for (k = 0; k < tr->tr_ngroups; k++) {
			g = &tr->tr_group[k];
			if (!same_place(a, &tr->tr_access[g->tg_first]))
				continue;
			from = a->ta_offset < g->tg_min ? a->ta_offset :
			    g->tg_min;
			to = a->ta_offset + a->ta_size > g->tg_max ?
			    a->ta_offset + a->ta_size : g->tg_max;
			if (to - from > RANGE_MAX)
				continue;
			g->tg_min = from;
			g->tg_max = to;
			g->tg_access |= a->ta_access;
			g->tg_count++;
			a->ta_group = (int16_t)k;
			break;
		}
		if (k < tr->tr_ngroups)
			continue;
		g = &tr->tr_group[tr->tr_ngroups];
		memset(g, 0, sizeof(*g));
		g->tg_first = (uint16_t)n;
		g->tg_count = 1;
		g->tg_access = a->ta_access;
		g->tg_min = a->ta_offset;
		g->tg_max = a->ta_offset + a->ta_size;
		a->ta_group = (int16_t)tr->tr_ngroups++;
		a->ta_guard = true;
	}
	if (!tr->tr_loop)
		return;
	for (k = 0; k < tr->tr_ngroups; k++) {
		g = &tr->tr_group[k];
		first = &tr->tr_access[g->tg_first];
		if ((first->ta_sym[0] == SYM_RIP ||
		    unmoved(tr, first->ta_sym[0])) &&
		    unmoved(tr, first->ta_sym[1])) {
			g->tg_ahead = true;
			first->ta_guard = false;
		}
	}
}
