/*
 * Which accesses of a trace share a guard (trace.h).
 *
 * 1. A first, dry pass over the path records every access as the rules make
 *    it, with its address as a sum (struct trace_value), which it is as long as
 *    what was done to its registers was adding, subtracting, moving, shifting
 *    left and LEA; whatever else is written to a register is a new symbol, as
 *    is a sum of too many terms.
 * 2. Accesses whose sums differ in the constant alone are grouped while the
 *    range they span is small.
 * 3. What an instruction writes is known for the forms listed here; any other
 *    is taken to write all registers.
 */
#include <string.h>

#include "engine/soft/jit/plan.h"
#include "engine/soft/jit/trace.h"

#define RANGE_MAX	512	/* bytes of a group */

/* --- values --------------------------------------------------------------------- */

static const struct trace_value nothing;

void
plan_begin(struct trace *tr)
{
	unsigned n;

	for (n = 0; n < 16; n++) {
		tr->tr_value[n] = nothing;
		tr->tr_value[n].v_term[0].t_sym = (uint16_t)(n + 1);
		tr->tr_value[n].v_term[0].t_times = 1;
	}
	tr->tr_value[REG_NONE] = nothing;
	tr->tr_nsyms = 17;
	tr->tr_next = 0;
}

static struct trace_value
value_new(struct trace *tr)
{
	struct trace_value v = nothing;

	v.v_term[0].t_sym = tr->tr_nsyms++;
	v.v_term[0].t_times = 1;
	return (v);
}

/* a + b * times; false: it has too many terms. */
static bool
value_sum(struct trace_value *sum, const struct trace_value *a,
    const struct trace_value *b, int times)
{
	struct trace_value v = nothing;
	unsigned i = 0, k = 0, n = 0;
	int t;

	while ((i < TRACE_TERMS && a->v_term[i].t_sym != 0) ||
	    (k < TRACE_TERMS && b->v_term[k].t_sym != 0)) {
		unsigned as = i < TRACE_TERMS ? a->v_term[i].t_sym : 0;
		unsigned bs = k < TRACE_TERMS ? b->v_term[k].t_sym : 0;
		uint16_t sym;

		if (bs == 0 || (as != 0 && as <= bs))
			sym = (uint16_t)as;
		else
			sym = (uint16_t)bs;
		t = 0;
		if (as == sym)
			t += a->v_term[i++].t_times;
		if (bs == sym)
			t += b->v_term[k++].t_times * times;
		if (t == 0)
			continue;
		if (n == TRACE_TERMS || t > 4096 || t < -4096)
			return (false);
		v.v_term[n].t_sym = sym;
		v.v_term[n++].t_times = (int16_t)t;
	}
	v.v_constant = a->v_constant + b->v_constant * (uint64_t)(int64_t)times;
	*sum = v;
	return (true);
}

static void
value_set(struct trace *tr, unsigned reg, const struct trace_value *a,
    const struct trace_value *b, int times)
{
	struct trace_value v;

	if (!value_sum(&v, a, b, times))
		v = value_new(tr);
	tr->tr_value[reg] = v;
}

static void
value_add(struct trace *tr, unsigned reg, int64_t n)
{
	tr->tr_value[reg].v_constant += (uint64_t)n;
}

static bool
same_terms(const struct trace_value *a, const struct trace_value *b)
{
	return (memcmp(a->v_term, b->v_term, sizeof(a->v_term)) == 0);
}

/* base + index << scale + disp; false: too many terms. */
static bool
value_ea(struct trace *tr, const struct insn *i, struct trace_value *v)
{
	if (!value_sum(v, &tr->tr_value[i->i_base], &tr->tr_value[i->i_index],
	    1 << i->i_scale))
		return (false);
	v->v_constant += (uint64_t)(int64_t)i->i_disp;
	return (true);
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

/* Arithmetic whose result is a sum; false: not such an instruction. */
static bool
arithmetic(struct trace *tr, const struct insn *i)
{
	unsigned op = i->i_opcode, ext = i->i_modrm >> 3 & 7;
	struct trace_value *v = tr->tr_value;

	if (i->i_map != 0)
		return (false);
	switch (op) {
	case 0x81:		/* ADD, SUB r, imm */
	case 0x83:
		if (ext != 0 && ext != 5)
			return (false);
		value_add(tr, i->i_rm, ext == 0 ? (int32_t)i->i_imm :
		    -(int64_t)(int32_t)i->i_imm);
		return (true);
	case 0xff:		/* INC, DEC */
		if (ext > 1)
			return (false);
		value_add(tr, i->i_rm, ext == 0 ? 1 : -1);
		return (true);
	case 0x01:		/* ADD, SUB r, r */
	case 0x29:
		value_set(tr, i->i_rm, &v[i->i_rm], &v[i->i_reg],
		    op == 0x01 ? 1 : -1);
		return (true);
	case 0x03:
	case 0x2b:
		value_set(tr, i->i_reg, &v[i->i_reg], &v[i->i_rm],
		    op == 0x03 ? 1 : -1);
		return (true);
	case 0x89:		/* MOV r, r */
		v[i->i_rm] = v[i->i_reg];
		return (true);
	case 0x8b:
		v[i->i_reg] = v[i->i_rm];
		return (true);
	case 0xc1:		/* SHL r, imm */
		if (ext != 4 || (i->i_imm & 63) > 12)
			return (false);
		value_set(tr, i->i_rm, &nothing, &v[i->i_rm],
		    1 << (i->i_imm & 63));
		return (true);
	default:
		return (false);
	}
}

/* Values after instruction i of the path. */
void
plan_effects(struct trace *tr, const struct trace_insn *ti, bool code64)
{
	const struct insn *i = ti->ti_insn;
	tr_rule *rule = i->i_op->o_rule;
	unsigned full = code64 ? 8 : 4, mask, n;
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
		tr->tr_value[RBP] = value_new(tr);
		return;
	}
	if (!(i->i_flags & INSN_MEM) && i->i_osize == full &&
	    arithmetic(tr, i))
		return;
	if (rule == tr_lea && i->i_osize == full && i->i_asize == full &&
	    i->i_base <= REG_NONE && value_ea(tr, i, &v)) {
		tr->tr_value[i->i_reg] = v;
		return;
	}
	mask = written(i);
	for (n = 0; n < 16; n++)
		if (mask & BIT(n))
			tr->tr_value[n] = value_new(tr);
	if ((rule == tr_push_r || rule == tr_push_imm || rule == tr_push_rm) &&
	    !(mask & BIT(RSP)))
		value_add(tr, RSP, -(int)i->i_osize);
	if (rule == tr_pop_r && !(mask & BIT(RSP)))
		value_add(tr, RSP, i->i_osize);
	if (rule == tr_pop_rm)
		tr->tr_value[RSP] = value_new(tr);
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

	if (a == NULL)
		return;
	/* other segments are flat (jit.h: MODES) */
	a->ta_seg = i->i_seg >= SEG_FS ? i->i_seg : 0;
	if (i->i_base == REG_RIP) {
		a->ta_value.v_term[0].t_sym = PLAN_SYM_RIP;
		a->ta_value.v_term[0].t_times = 1;
		a->ta_value.v_constant = (uint64_t)((int64_t)(int32_t)
		    (x->x_off + i->i_len) + i->i_disp);
	} else if (i->i_asize != (x->x_64 ? 8 : 4) ||
	    i->i_op->o_imm == IMM_MOFFS || !value_ea(tr, i, &a->ta_value))
		a->ta_value = value_new(tr);
}

void
plan_stack(struct tr *x, int32_t disp, unsigned size, int access)
{
	struct trace_access *a = access_new(x, size, access);

	if (a == NULL)
		return;
	a->ta_value = x->x_trace->tr_value[RSP];
	a->ta_value.v_constant += (uint64_t)(int64_t)disp;
}

/* An access whose address nobody knows: it keeps its place in the order. */
void
plan_other(struct tr *x, unsigned size, int access)
{
	struct trace_access *a = access_new(x, size, access);

	if (a != NULL)
		a->ta_value = value_new(x->x_trace);
}

/* --- groups --------------------------------------------------------------------------- */

/* Is the value at the end of the loop what it was at its start? */
static bool
unmoved(const struct trace *tr, const struct trace_value *v)
{
	const struct trace_value *end;
	unsigned n, sym;

	for (n = 0; n < TRACE_TERMS && (sym = v->v_term[n].t_sym) != 0; n++) {
		if (sym == PLAN_SYM_RIP)
			continue;
		if (sym > 16)
			return (false);
		end = &tr->tr_value[sym - 1];
		if (end->v_term[0].t_sym != sym ||
		    end->v_term[0].t_times != 1 ||
		    end->v_term[1].t_sym != 0 || end->v_constant != 0)
			return (false);
		/* the guard must be able to compute it (trace.c) */
		switch (v->v_term[n].t_times) {
		case 1:
		case 2:
		case 4:
		case 8:
			break;
		default:
			return (false);
		}
	}
	return ((int64_t)v->v_constant == (int32_t)v->v_constant);
}

/*
 * After the dry pass, tr_value being those of the path's end.
 */
void
plan_groups(struct trace *tr)
{
	const struct trace_access *first;
	struct trace_access *a;
	struct trace_group *g;
	int64_t at, from, to;
	unsigned n, k;

	tr->tr_ngroups = 0;
	for (n = 0; n < tr->tr_naccesses; n++) {
		a = &tr->tr_access[n];
		for (k = 0; k < tr->tr_ngroups; k++) {
			g = &tr->tr_group[k];
			first = &tr->tr_access[g->tg_first];
			if (a->ta_seg != first->ta_seg ||
			    !same_terms(&a->ta_value, &first->ta_value))
				continue;
			at = (int64_t)(a->ta_value.v_constant -
			    first->ta_value.v_constant);
			if (at < -RANGE_MAX || at > RANGE_MAX)
				continue;
			from = at < g->tg_min ? at : g->tg_min;
			to = at + a->ta_size > g->tg_max ? at + a->ta_size :
			    g->tg_max;
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
		g->tg_max = a->ta_size;
		a->ta_group = (int16_t)tr->tr_ngroups++;
		a->ta_guard = true;
	}
	if (!tr->tr_loop)
		return;
	for (k = 0; k < tr->tr_ngroups; k++) {
		g = &tr->tr_group[k];
		a = &tr->tr_access[g->tg_first];
		if (unmoved(tr, &a->ta_value)) {
			g->tg_ahead = true;
			a->ta_guard = false;
		}
	}
}
