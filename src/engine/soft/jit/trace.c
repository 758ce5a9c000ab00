/*
 * Making traces (trace.h): the code of a path that path.c has recorded.
 *
 * 1. It is made in two passes by the rules of the first tier, which find
 *    x_trace set: the first (dry) only says which accesses there are, the
 *    second emits them with the guards of the plan. Each instruction is seen by
 *    its rule as number 0 with its own liveness.
 * 2. Every exit is a jump to the first tier's code of an instruction (exit_at).
 */
#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "engine/soft/jit/plan.h"
#include "engine/soft/jit/trace.h"
#include "engine/soft/mmu.h"

#define TRACE_CODE	(60u << 10)	/* the most that one takes */
#define TRACE_ARENA	(32u << 10)

/* --- exits -------------------------------------------------------------------------------- */

/* jo_count: n more instructions are done, or will be by the first tier. */
static void
count(struct tr *x, unsigned n)
{
	const uint32_t at = offsetof(struct cpu, c_insn_count);

	if (!x->x_jit->j_opt.jo_count)
		return;
	e_gs(x, 0x8b, 8, H_T0, at);
	e_lea(x, H_T0, H_T0, (int32_t)n);
	e_gs(x, 0x89, 8, H_T0, at);
}

/* The page of instruction n of the path, from the head's. */
static int32_t
insn_page(const struct trace *tr, unsigned n)
{
	return (tr->tr_insn[n].ti_off & ~(int32_t)PAGE_MASK);
}

/* On in the first tier with instruction n of the path. */
static void
leave_at(struct tr *x, unsigned n)
{
	const struct trace_insn *ti = &x->x_trace->tr_insn[n];
	const struct tblock *t = ti->ti_tier1;
	int32_t page = insn_page(x->x_trace, n);

	/* the first tier counts a block when it is entered */
	count(x, n + t->t_count - ti->ti_k);
	if (page != 0 && x->x_t->t_va == NO_VA) {
		e_code_va(x, H_T1, page);
		e_gs(x, 0x89, 8, H_T1, C_PAGEVA);
	}
	if (t->t_frames >> ti->ti_k & 1)
		e_frame_none(x);
	e_patch(x, e_jump(x, E_JMP), CODE_RW(x->x_jit, t->t_code +
	    t->t_off[ti->ti_k]));
}

/* arg[0]: path index; arg[1]: flags are saved */
static void
cold_exit(struct tr *x, struct tr_cold *tc)
{
	if (tc->tc_arg[1])
		e_flags_restore(x);
	leave_at(x, (unsigned)tc->tc_arg[0]);
}

/* The jump whose rel32 is given leaves for instruction n of the path. */
static struct tr_cold *
exit_at(struct tr *x, uint8_t *from, unsigned n)
{
	struct tr_cold *tc = tr_cold(x, from, cold_exit);

	tc->tc_arg[0] = n;
	tc->tc_arg[1] = 0;
	return (tc);
}

static bool
page_used(const struct trace *tr, int32_t page)
{
	unsigned n;

	for (n = 0; n < tr->tr_ninsns; n++)
		if (insn_page(tr, n) == page)
			return (true);
	return (false);
}

/* The pages of the path are those that it was recorded in. */
static void
emit_pages(struct tr *x)
{
	const struct trace *tr = x->x_trace;
	const struct trace_page *tp;
	uint8_t *same;

	for (tp = tr->tr_page; tp < tr->tr_page + tr->tr_npages; tp++) {
		if (!page_used(tr, tp->tp_off))
			continue;
		e_code_va(x, H_T1, tp->tp_off);
		e_gs(x, 0x8b, 8, H_T0, JT_CODES + tp->tp_slot * 8);
		e_rm(x, 0x8d, 8, H_T0, H_T0, H_T1, 0, 0);
		same = e_jump8(x, E_JRCXZ);
		exit_at(x, e_jump(x, E_JMP), 0);
		e_patch8(x, same);
	}
}

/* --- guards ----------------------------------------------------------------------------------- */

#define SLOT(n)		(JT_SLOTS + (n) * 16u)
#define NEITHER		2

/*
 * What T0 and T1 hold between accesses: addends of groups (tr_held). Whoever
 * changes them says so by this.
 */
static void
held_none(struct trace *tr)
{
	tr->tr_held[0] = tr->tr_held[1] = 0;
}

static unsigned
held_reg(unsigned n)
{
	return (n == 0 ? H_T0 : H_T1);
}

/* Which of them holds group g's addend? */
static unsigned
held_find(const struct trace *tr, unsigned g)
{
	return (tr->tr_held[0] == g + 1 ? 0 : tr->tr_held[1] == g + 1 ? 1 :
	    NEITHER);
}

static void
held_load(struct tr *x, unsigned n, unsigned g)
{
	e_gs(x, 0x8b, 8, held_reg(n),
	    SLOT(x->x_trace->tr_group[g].tg_slot) + 8);
	x->x_trace->tr_held[n] = (uint16_t)(g + 1);
}

static void ahead_address(struct tr *, const struct trace_group *);

/* arg[0]: path index | group << 16 | held << 32 (two times 16 bits); arg[1]:
 * flags are saved. */
static void
cold_guard(struct tr *x, struct tr_cold *tc)
{
	struct trace *tr = x->x_trace;
	unsigned n = tc->tc_arg[0] & 0xffff, held[2], k;
	const struct trace_group *g = &tr->tr_group[tc->tc_arg[0] >> 16 &
	    0xffff];
	unsigned slot = g->tg_slot, class = x->x_mode & JM_CLASS;
	uint32_t table = (uint32_t)(g->tg_access & ENGINE_WRITE ?
	    JT_NEGW(class) : JT_NEGR(class));
	bool saved = tc->tc_arg[1] & 1;
	uint8_t *miss;

	held[0] = tc->tc_arg[0] >> 32 & 0xffff;
	held[1] = tc->tc_arg[0] >> 48;
	/* the address again; only what needs RAX as it was */
	if (saved)
		e_flags_restore(x);
	if (g->tg_ahead)
		ahead_address(x, g);
	else if (tc->tc_ea != NULL)
		tc->tc_ea(x, tc);
	else
		e_ea(x, tc->tc_insn);
	if (saved)
		e_flags_save(x);
	if (!g->tg_ahead && g->tg_min != 0)
		e_rm(x, 0x8d, x->x_64 ? 8 : 4, H_T1, H_T1, REG_NONE, 0,
		    (int32_t)g->tg_min);
	/* the page's table entry, if it is that page */
	e_mov(x, H_T0, H_T1);
	e_rr(x, 0xc1, 8, 5, H_T0);			/* shr t0, 12 */
	e_byte(x, 12);
	e_rr(x, 0x0fb7, 4, H_T0, H_T0);			/* movzx t0, t0w */
	e_gs_index(x, 0x03, 8, H_T1, H_T0, table);
	e_rr(x, 0x81, 8, 7, H_T1);			/* cmp t1, imm */
	e_long(x, PAGE_SIZE - (uint32_t)(g->tg_max - g->tg_min));
	miss = e_jump(x, 7);				/* ja */
	e_gs_index(x, 0x8b, 8, H_T1, H_T0, table);
	e_gs(x, 0x89, 8, H_T1, SLOT(slot));
	e_gs_index(x, 0x03, 8, H_T1, H_T0, JT_HOST(class));
	e_gs(x, 0x89, 8, H_T1, SLOT(slot) + 8);
	e_gs(x, 0xc7, 4, 0, C_SLOTS);			/* mov 1 */
	e_long(x, 1);
	if (saved)
		e_flags_restore(x);
	for (k = 0; k < 2; k++)
		if (held[k] != 0)
			held_load(x, k, held[k] - 1);
	e_patch(x, e_jump(x, E_JMP), tc->tc_back);

	/* not there: the first tier has it filled */
	e_patch(x, miss, x->x_p);
	if (saved)
		e_flags_restore(x);
	leave_at(x, n);
}

/*
 * The guard of a group at path index n: base + disp is its first byte; tmp is
 * free. again: where to begin anew once the slot is filled, with what T0 and T1
 * held there; ea makes T1 the address of the first access once more.
 */
static void
emit_guard(struct tr *x, unsigned n, unsigned group, unsigned tmp,
    unsigned base, int32_t disp,
    uint8_t *again, const uint16_t held[2], bool live,
    void (*ea)(struct tr *, struct tr_cold *))
{
	const struct trace_group *g = &x->x_trace->tr_group[group];
	struct tr_cold *tc;

	e_gs(x, 0x8b, 8, tmp, SLOT(g->tg_slot));
	e_rm(x, 0x8d, 8, tmp, tmp, base, 0, disp);
	if (live)
		e_flags_save(x);	/* the base may be RAX: not before */
	e_rr(x, 0x81, 8, 7, tmp);			/* cmp tmp, imm */
	e_long(x, PAGE_SIZE - (uint32_t)(g->tg_max - g->tg_min));
	tc = tr_cold(x, e_jump(x, 7), cold_guard);	/* ja */
	if (live)
		e_flags_restore(x);
	tc->tc_back = again;
	tc->tc_ea = ea;
	tc->tc_arg[0] = n | (uint64_t)group << 16 |
	    (uint64_t)held[0] << 32 | (uint64_t)held[1] << 48;
	tc->tc_arg[1] = live;
}

/* Is i's operand one host register and a displacement, of 64 bits? */
static bool
plain_operand(const struct tr *x, const struct insn *i)
{
	return (x->x_64 && i->i_asize == 8 && i->i_seg < SEG_FS &&
	    i->i_base < 16 && i->i_index == REG_NONE &&
	    tr_host[i->i_base] != H_SLOT && i->i_op->o_imm != IMM_MOFFS);
}

static bool
in_host(unsigned role, const struct insn *i, unsigned n)
{
	switch (role & R_CLASS) {
	case R_BYTE:
		return (n < 4 ? true : i->i_flags & INSN_REX &&
		    tr_host[n] != H_SLOT);
	case R_GPR:
		return (tr_host[n] != H_SLOT);
	default:
		return (true);
	}
}

/* Does i's rule use T0 and T1 for its memory operand alone? */
static bool
plain_insn(const struct insn *i)
{
	const struct opcode *op = i->i_op;

	if (op->o_rule == tr_jcc || op->o_rule == tr_jmp ||
	    op->o_rule == tr_nop)
		return (true);
	if (op->o_rule == tr_lea)
		return (i->i_base != REG_RIP && tr_host[i->i_reg] != H_SLOT &&
		    (i->i_base == REG_NONE || tr_host[i->i_base] != H_SLOT) &&
		    (i->i_index == REG_NONE || tr_host[i->i_index] != H_SLOT));
	if (op->o_rule != tr_copy && op->o_rule != tr_vector)
		return (false);
	if (op->o_rules & (O_PCMPSTR | O_X87) ||
	    (op->o_reg & R_CLASS) == R_MM || (op->o_rm & R_CLASS) == R_MM)
		return (false);
	return (in_host(op->o_reg, i, i->i_reg) &&
	    in_host(op->o_vvvv, i, i->i_vvvv) &&
	    (i->i_flags & INSN_MEM || in_host(op->o_rm, i, i->i_rm)));
}

/*
 * The next access in order, at base + disp: makes sure that T0 or T1 holds its
 * addend, and says which.
 */
static unsigned
access_plain(struct tr *x, unsigned base, int32_t disp,
    void (*ea)(struct tr *, struct tr_cold *))
{
	struct trace *tr = x->x_trace;
	const struct trace_access *a = &tr->tr_access[tr->tr_next++];
	unsigned group = (unsigned)a->ta_group, n = held_find(tr, group);
	uint16_t held[2] = { tr->tr_held[0], tr->tr_held[1] };
	uint8_t *again = x->x_p;

	if (n != NEITHER && !a->ta_guard)
		return (n);
	/* the one that was not used last */
	n = tr->tr_held[0] == 0 ? 0 : tr->tr_held[1] == 0 ? 1 :
	    tr->tr_victim;
	if (a->ta_guard)
		emit_guard(x, tr->tr_now, group, held_reg(n), base,
		    disp + (int32_t)tr->tr_group[group].tg_min, again, held,
		    tr_flags_live(x), ea);
	held_load(x, n, group);
	tr->tr_victim = !n;
	return (n);
}

/* The next access in order; T1 is its address. Afterwards T0 is its addend. */
static void
access_other(struct tr *x, uint8_t *again,
    void (*ea)(struct tr *, struct tr_cold *))
{
	static const uint16_t none[2];
	struct trace *tr = x->x_trace;
	const struct trace_access *a = &tr->tr_access[tr->tr_next++];
	unsigned group = (unsigned)a->ta_group;

	if (a->ta_guard)
		emit_guard(x, tr->tr_now, group, H_T0, H_T1,
		    (int32_t)tr->tr_group[group].tg_min, again, none,
		    tr_flags_live(x), ea);
	held_load(x, 0, group);
	tr->tr_held[1] = 0;
}

void
trace_operand(struct tr *x, const struct insn *i, unsigned size, int access)
{
	struct trace *tr = x->x_trace;
	uint8_t *again;

	if (tr->tr_dry) {
		plan_operand(x, i, size, access);
		e_ea(x, i);
		return;
	}
	if (plain_insn(i) && plain_operand(x, i)) {
		x->x_at = true;
		x->x_at_index = tr_host[i->i_base];
		x->x_at_disp = i->i_disp;
		x->x_at_base = (uint8_t)held_reg(access_plain(x,
		    x->x_at_index, i->i_disp, NULL));
		return;
	}
	held_none(tr);
	again = x->x_p;
	e_ea(x, i);
	access_other(x, again, NULL);
}

static void
stack_ea(struct tr *x, struct tr_cold *tc)
{
	(void)tc;
	e_rm(x, 0x8d, x->x_64 ? 8 : 4, H_T1, H_GSP, REG_NONE, 0,
	    x->x_trace->tr_insn[tc->tc_arg[0] & 0xffff].ti_stack);
}

void
trace_stack(struct tr *x, int32_t disp, unsigned size, int access)
{
	struct trace *tr = x->x_trace;
	uint8_t *again = x->x_p;

	tr->tr_insn[tr->tr_now].ti_stack = disp;
	held_none(tr);
	e_rm(x, 0x8d, x->x_64 ? 8 : 4, H_T1, H_GSP, REG_NONE, 0, disp);
	if (tr->tr_dry)
		plan_stack(x, disp, size, access);
	else
		access_other(x, again, stack_ea);
}

/* An address that only its rule knows: by the tables. */
void
trace_check(struct tr *x, unsigned size, int access)
{
	struct trace *tr = x->x_trace;
	uint8_t *miss;
	bool saved;

	held_none(tr);
	if (tr->tr_dry)
		plan_other(x, size, access);
	else
		tr->tr_next++;
	miss = e_check_inline(x, size, access, &saved);
	exit_at(x, miss, tr->tr_now)->tc_arg[1] = saved;
}

/* T1 = the address of the first byte of a group that does not move, by the
 * registers whose values at the loop's start its symbols are. Clobbers T0. */
static void
ahead_address(struct tr *x, const struct trace_group *g)
{
	const struct trace_access *a = &x->x_trace->tr_access[g->tg_first];
	const struct trace_value *v = &a->ta_value;
	unsigned n, sym, reg;
	int32_t disp = (int32_t)((int64_t)v->v_constant + g->tg_min);
	static const uint8_t scale[] = { [1] = 0, [2] = 1, [4] = 2, [8] = 3 };

	if (v->v_term[0].t_sym == PLAN_SYM_RIP)
		e_code_va(x, H_T1, disp);
	else
		e_mov_imm(x, H_T1, (uint64_t)(int64_t)disp);
	for (n = 0; n < TRACE_TERMS && (sym = v->v_term[n].t_sym) != 0; n++) {
		if (sym == PLAN_SYM_RIP)
			continue;
		reg = e_get(x, sym - 1, H_T0);
		e_rm(x, 0x8d, 8, H_T1, H_T1, reg,
		    scale[v->v_term[n].t_times], 0);
	}
	if (!x->x_64)
		e_rr(x, 0x8b, 4, H_T1, H_T1);
	e_segment(x, a->ta_seg);
}

/* The guards that stand before the loop. */
static void
emit_ahead(struct tr *x)
{
	static const uint16_t none[2];
	struct trace *tr = x->x_trace;
	uint8_t *again;
	unsigned n;

	for (n = 0; n < tr->tr_ngroups; n++) {
		if (!tr->tr_group[n].tg_ahead)
			continue;
		again = x->x_p;
		ahead_address(x, &tr->tr_group[n]);
		emit_guard(x, 0, n, H_T0, H_T1, 0, again, none,
		    tr->tr_live[0] != 0, NULL);
	}
}

/* --- instructions ---------------------------------------------------------------------------- */

static void
emit_call(struct tr *x, const struct insn *i)
{
	unsigned size = x->x_64 ? 8 : 4;

	e_stack(x, -(int32_t)size, size, ENGINE_WRITE);
	e_rm(x, 0x8d, 8, H_T0, H_T0, H_T1, 0, 0);	/* lea t0, [t0+t1] */
	e_code_va(x, H_T1, (int32_t)(x->x_off + i->i_len));
	e_rm(x, 0x89, size, H_T1, H_T0, REG_NONE, 0, 0);
	e_stack_move(x, -(int32_t)size);
}

/* The path goes on at next (from the head's page): does the stack say so? */
static void
emit_ret(struct tr *x, const struct insn *i, unsigned n, int32_t next)
{
	unsigned size = x->x_64 ? 8 : 4;
	uint8_t *same;

	e_stack(x, 0, size, ENGINE_READ);
	e_rm(x, 0x8b, size, H_T1, H_T0, H_T1, 0, 0);
	e_code_va(x, H_T0, next);
	e_rr(x, 0xf7, 8, 2, H_T0);			/* not t0 */
	e_rm(x, 0x8d, 8, H_T0, H_T0, H_T1, 0, 1);
	same = e_jump8(x, E_JRCXZ);
	exit_at(x, e_jump(x, E_JMP), n);
	e_patch8(x, same);
	e_stack_move(x, (int32_t)(size + (uint16_t)i->i_imm));
}

/* Rules that call no helpers. */
static bool
may_hold(const struct insn *i)
{
	static tr_rule *const rules[] = { tr_copy, tr_vector, tr_shift_cl,
	    tr_push_r, tr_pop_r, tr_push_imm, tr_push_rm, tr_pop_rm, tr_leave,
	    tr_lea, tr_moffs, tr_xchg_a, tr_cmpxchg, tr_bt, tr_nop };
	unsigned n;

	for (n = 0; n < sizeof(rules) / sizeof(rules[0]); n++)
		if (i->i_op->o_rule == rules[n])
			return (true);
	return (false);
}

/* PUSH and POP of a register that the host has, of 64 bits. */
static void
emit_push_pop(struct tr *x, const struct insn *i)
{
	struct trace *tr = x->x_trace;
	bool push = i->i_op->o_rule == tr_push_r;
	int32_t disp = push ? -8 : 0;
	unsigned n;

	tr->tr_insn[tr->tr_now].ti_stack = disp;
	if (tr->tr_dry) {
		plan_stack(x, disp, 8, push ? ENGINE_WRITE : ENGINE_READ);
		return;
	}
	n = access_plain(x, H_GSP, disp, stack_ea);
	e_rm(x, push ? 0x89 : 0x8b, 8, tr_host[i->i_rm], held_reg(n), H_GSP, 0,
	    disp);
	e_stack_move(x, push ? -8 : 8);
}

/* Instruction n of the path; false: the trace has to end before it. */
static bool
emit_insn(struct tr *x, unsigned n)
{
	struct trace *tr = x->x_trace;
	const struct trace_insn *ti = &tr->tr_insn[n], *next = ti + 1;
	const struct insn *i = ti->ti_insn;
	tr_rule *rule = i->i_op->o_rule;
	unsigned cc, accesses = tr->tr_naccesses, taken = tr->tr_next;

	x->x_i = i;
	x->x_k = 0;
	x->x_live[0] = tr->tr_live[n];
	x->x_off = (unsigned)ti->ti_off;
	tr->tr_now = n;
	/* how a path that does not close goes on is the first tier's affair */
	if (n + 1 == tr->tr_ninsns && !tr->tr_loop && !tr->tr_cut)
		return (false);
	if (n + 1 == tr->tr_ninsns && tr->tr_loop)
		next = tr->tr_insn;
	if (rule == tr_jmp)
		return (true);
	if (rule == tr_jcc) {
		cc = i->i_opcode & 15;
		exit_at(x, e_jump(x, ti->ti_taken ? cc ^ 1 : cc), n);
		return (true);
	}
	if ((rule == tr_call || rule == tr_ret) &&
	    i->i_osize != (x->x_64 ? 8 : 4))
		return (false);
	if (rule == tr_call) {
		emit_call(x, i);
		held_none(tr);
		return (true);
	}
	if (rule == tr_ret) {
		emit_ret(x, i, n, next->ti_off);
		held_none(tr);
		return (true);
	}
	x->x_at = false;
	if ((rule == tr_push_r || rule == tr_pop_r) && x->x_64 &&
	    i->i_osize == 8 && tr_host[i->i_rm] != H_SLOT &&
	    i->i_rm != RSP) {
		emit_push_pop(x, i);
		return (true);
	}
	if (!plain_insn(i))
		held_none(tr);
	if (!may_hold(i) || !rule(x, i)) {
		tr->tr_naccesses = accesses;
		tr->tr_next = taken;
		return (false);
	}
	x->x_at = false;
	if (!plain_insn(i))
		held_none(tr);
	return (!x->x_ended);
}

/* The path from x_p on. Returns how many instructions it holds. */
static unsigned
emit_path(struct tr *x)
{
	struct trace *tr = x->x_trace;
	unsigned n;

	tr->tr_next = 0;
	held_none(tr);
	plan_begin(tr);
	for (n = 0; n < tr->tr_ninsns; n++) {
		if (!tr->tr_dry)
			x->x_t->t_off[n] = (uint16_t)(x->x_p - x->x_start);
		if (x->x_ncold > TR_COLD - 8 ||
		    tr->tr_naccesses > TRACE_ACCESSES - 4 ||
		    !emit_insn(x, n))
			break;
		plan_effects(tr, &tr->tr_insn[n], x->x_64);
	}
	return (n);
}

static void *
arena_take(struct jit *j, size_t size)
{
	void *p = j->j_arena + j->j_arena_used;

	j->j_arena_used += (uint32_t)((size + 15) & ~(size_t)15);
	return (p);
}

/* --- a trace --------------------------------------------------------------- */

/* Slots for all groups; false: there are no more. */
static bool
slots_take(struct cpu *c, struct trace *tr)
{
	struct jit *j = c->c_jit;
	unsigned n;

	if (j->j_slots + tr->tr_ngroups > JT_SLOT_COUNT)
		return (false);
	for (n = 0; n < tr->tr_ngroups; n++)
		tr->tr_group[n].tg_slot = (uint16_t)j->j_slots++;
	c->c_slots = 1;
	trace_slots_flush(c);
	return (true);
}

/* The back edge: a poll, then the loop again. */
static void
emit_loop(struct tr *x, uint8_t *start)
{
	struct trace *tr = x->x_trace;
	const struct tblock *head = tr->tr_head;
	uint8_t *go;

	count(x, tr->tr_ninsns);
	e_gs(x, 0x8b, 4, H_T0, C_REQUEST);
	if (tr->tr_live[0] == 0) {
		e_rr(x, 0x85, 4, H_T0, H_T0);		/* test */
		e_patch(x, e_jump(x, 4), start);	/* je */
	} else {
		go = e_jump8(x, E_JRCXZ);
		e_patch(x, e_jump(x, E_JMP), CODE_RW(x->x_jit,
		    head->t_code + head->t_poll));
		e_patch8(x, go);
		e_patch(x, e_jump(x, E_JMP), start);
		return;
	}
	e_patch(x, e_jump(x, E_JMP), CODE_RW(x->x_jit,
	    head->t_code + head->t_poll));
}

static void
emit_cold(struct tr *x)
{
	struct tr_cold *tc;
	unsigned n;

	for (n = 0; n < x->x_ncold; n++) {
		tc = &x->x_cold[n];
		x->x_i = tc->tc_insn;
		x->x_k = 0;
		x->x_off = tc->tc_off;
		if (tc->tc_from != NULL)
			e_patch(x, tc->tc_from, x->x_p);
		tc->tc_emit(x, tc);
	}
}

/* Code for the recorded path, in place of its head. */
static bool
trace_emit(struct cpu *c, struct tr *x)
{
	struct trace *tr = x->x_trace;
	unsigned n;
	uint8_t *loop;

	/* the dry pass, where the code will be */
	tr->tr_dry = true;
	tr->tr_naccesses = 0;
	x->x_off = (unsigned)(tr->tr_linear & PAGE_MASK);
	n = emit_path(x);
	path_cut(tr, n);
	path_cut(tr, path_paired(tr));
	n = tr->tr_ninsns;
	if (n < 2 || (!tr->tr_loop && tr->tr_naccesses < 2))
		return (false);		/* nothing to gain */
	plan_groups(tr);
	if (!slots_take(c, tr))
		return (false);

	tr->tr_dry = false;
	x->x_p = x->x_start;
	x->x_ncold = 0;
	x->x_ended = false;
	x->x_k = 0;
	x->x_live[0] = tr->tr_live[0];
	x->x_i = tr->tr_insn[0].ti_insn;
	x->x_off = (unsigned)tr->tr_insn[0].ti_off;
	tr_entries(x);
	emit_pages(x);
	emit_ahead(x);
	loop = x->x_p;
	n = emit_path(x);
	assert(n == tr->tr_ninsns);
	x->x_t->t_off[n] = (uint16_t)(x->x_p - x->x_start);
	if (tr->tr_loop)
		emit_loop(x, loop);
	else
		exit_at(x, e_jump(x, E_JMP), n);
	emit_cold(x);
	assert(x->x_p - x->x_start < TRACE_CODE);
	return (true);
}

/* Those who look for the head find the trace from now on. */
static void
trace_install(struct cpu *c, struct tblock *t)
{
	struct jit *j = c->c_jit;
	struct trace *tr = j->j_trace;
	struct trace_member *tm;
	unsigned n;

	jit_publish(c, t);
	t->t_map = arena_take(j, (tr->tr_ninsns + 1) * sizeof(*t->t_map));
	for (n = 0; n <= tr->tr_ninsns; n++) {
		t->t_map[n].tp_tier1 = tr->tr_insn[n].ti_tier1;
		t->t_map[n].tp_k = tr->tr_insn[n].ti_k;
		t->t_map[n].tp_page = insn_page(tr, n);
	}
	for (n = 0; n < tr->tr_nblocks; n++) {
		tm = arena_take(j, sizeof(*tm));
		tm->tm_trace = t;
		tm->tm_next = tr->tr_blocks[n]->t_block->b_traces;
		tr->tr_blocks[n]->t_block->b_traces = tm;
	}
	jit_unlink_incoming(c, tr->tr_head);
	jc_forget(c, tr->tr_head);
	j->j_stats.js_traces++;
}

void
trace_make(struct cpu *c)
{
	struct jit *j = c->c_jit;
	struct trace *tr = j->j_trace;
	struct tblock *head = tr->tr_head, *t;
	struct tr *x;
	unsigned n;

	tr->tr_head = NULL;
	head->t_refused = true;
	for (n = 0; n < tr->tr_nblocks; n++)
		if (tr->tr_blocks[n]->t_dead)
			return;
	if (tr->tr_nblocks == 0 || j->j_cold - j->j_used < 2 * TRACE_CODE ||
	    j->j_size - j->j_cold_used < 2 * TRACE_CODE ||
	    j->j_arena_size - j->j_arena_used < TRACE_ARENA)
		return;
	path_make(c, tr);
	tr->tr_cut = false;
	path_liveness(tr);
	path_cut(tr, path_paired(tr));
	if ((x = calloc(1, sizeof(*x))) == NULL)
		return;
	t = jit_alloc(c, head->t_block, tr->tr_linear, tr->tr_ninsns,
	    TRACE_CODE);
	tr->tr_head = head;
	x->x_cpu = c;
	x->x_jit = j;
	x->x_block = head->t_block;
	x->x_t = t;
	x->x_mode = head->t_mode;
	x->x_64 = head->t_mode & JM_64;
	x->x_trace = tr;
	x->x_start = x->x_p = CODE_RW(j, t->t_code);
	x->x_rx = j->j_rx - j->j_rw;
	t->t_count = 0;		/* nothing is counted at its entry */
	if (trace_emit(c, x)) {
		t->t_size = (uint32_t)(x->x_p - x->x_start);
		t->t_count = (uint8_t)tr->tr_ninsns;
		trace_install(c, t);
	}
	tr->tr_head = NULL;
	free(x);
}

void
trace_kill(struct cpu *c, struct block *b)
{
	struct trace_member *tm;
	struct tblock *t, **tp;

	for (tm = b->b_traces; tm != NULL; tm = tm->tm_next) {
		t = tm->tm_trace;
		if (t->t_dead)
			continue;
		t->t_dead = true;
		jit_unlink_incoming(c, t);
		jc_forget(c, t);
		for (tp = &t->t_block->b_trans; *tp != t; tp = &(*tp)->t_next)
			continue;
		*tp = t->t_next;
	}
	b->b_traces = NULL;
}

struct tblock *
trace_tier1(struct cpu *c, struct tblock *t, unsigned *k)
{
	const struct trace_place *tp = &t->t_map[*k];

	/* what of the trace is done has not been counted yet */
	if (c->c_jit->j_opt.jo_count)
		c->c_insn_count += *k + tp->tp_tier1->t_count - tp->tp_k;
	if (t->t_va == NO_VA)
		c->c_pageva += (uint64_t)(int64_t)tp->tp_page;
	if ((t->t_mode & JM_64) == 0)
		c->c_pageva = (uint32_t)c->c_pageva;
	*k = tp->tp_k;
	return (tp->tp_tier1);
}

int
trace_new(struct cpu *c)
{
	c->c_jit->j_trace = calloc(1, sizeof(*c->c_jit->j_trace));
	return (c->c_jit->j_trace == NULL ? ENOMEM : 0);
}

void
trace_free(struct cpu *c)
{
	free(c->c_jit->j_trace);
}
