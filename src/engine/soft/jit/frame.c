/*
 * Frames: accesses of a block by the stack pointer that share one check.
 *
 * PUSH, POP, CALL, RET and operands [rSP + n] of a block, as long as what
 * happens to rSP between them is known, lie in a few bytes. These are checked
 * once, before the first of them: c_frame[0] then is the host's address of the
 * lowest byte and c_frame[1] is 0. An access that belongs to the frame finds
 * its host address from there. If the check fails (the bytes are in two pages,
 * or not in the TLB) c_frame is 0 and 1, and each access has a check of its own
 * in a cold stub.
 *
 * 1. A frame is checked for writing only if its first access writes: otherwise
 *    a page that is only read until a fault would be marked dirty.
 * 2. Between the check and the first access nothing can fail.
 * 3. What c_frame says holds until the block is left: translations of addresses
 *    are not given up while it runs, and what an interpreted instruction may do
 *    to them (tr_interp) ends the frame. An access that the interpreter does
 *    in place of translated code (SLOW) changes no translation.
 * 4. Whoever enters a block in its middle, at an instruction in t_frames, sets
 *    c_frame to 0 and 1 before (e_frame_none).
 */
#include <stddef.h>

#include "engine/soft/jit/emit.h"

/* Bytes of a frame, at most. */
#define FRAME_MAX	240
/* Instructions that a check may go ahead of the first access. */
#define FRAME_AHEAD	3

/* --- what an instruction does to rSP, and by it --------------------------------- */

struct sp_access {
	int32_t		a_disp;		/* from rSP before the instruction */
	unsigned	a_size;
	int		a_access;
};

enum sp_effect {
	SP_KNOWN,	/* rSP += delta */
	SP_LOST,	/* it accesses as said, then all ends */
	SP_END		/* nothing is known, not even what it accesses */
};

static bool
is_gpr(unsigned role)
{
	return ((role & R_CLASS) == R_GPR || (role & R_CLASS) == R_BYTE);
}

static bool
writes_sp(const struct insn *i)
{
	const struct opcode *op = i->i_op;

	return ((is_gpr(op->o_reg) && op->o_reg & R_WRITE && i->i_reg == RSP) ||
	    (is_gpr(op->o_vvvv) && op->o_vvvv & R_WRITE &&
	    i->i_vvvv == RSP) ||
	    (is_gpr(op->o_rm) && op->o_rm & R_WRITE &&
	    !(i->i_flags & INSN_MEM) && i->i_rm == RSP));
}

/* ADD or SUB of an immediate to rSP itself */
static bool
adds_to_sp(const struct insn *i, unsigned word, int64_t *delta)
{
	unsigned op = i->i_modrm >> 3 & 7;

	if (i->i_map != 0 || (i->i_opcode != 0x81 && i->i_opcode != 0x83) ||
	    i->i_flags & INSN_MEM || i->i_rm != RSP || i->i_osize != word ||
	    (op != 0 && op != 5))
		return (false);
	*delta = op == 0 ? (int64_t)i->i_imm : -(int64_t)i->i_imm;
	return (true);
}

static void
access_set(struct sp_access *a, int32_t disp, unsigned size, int access)
{
	a->a_disp = disp;
	a->a_size = size;
	a->a_access = access;
}

/* Up to one access is enough to know: what is inside a frame finds out. */
static enum sp_effect
sp_effect(const struct tr *x, const struct insn *i, struct sp_access *a,
    int64_t *delta)
{
	tr_rule *rule = i->i_op->o_rule;
	unsigned size = i->i_osize, word = x->x_64 ? 8 : 4;
	unsigned role = i->i_op->o_rm;
	bool mem = i->i_flags & INSN_MEM;

	*delta = 0;
	a->a_size = 0;
	if (rule == tr_push_r || rule == tr_push_imm || rule == tr_push_rm) {
		access_set(a, -(int32_t)size, size, ENGINE_WRITE);
		*delta = -(int64_t)size;
		return (SP_KNOWN);
	}
	if (rule == tr_pop_r || (rule == tr_pop_rm && !mem)) {
		if (size != word)
			return (SP_END);
		access_set(a, 0, size, ENGINE_READ);
		*delta = size;
		return (i->i_rm == RSP ? SP_LOST : SP_KNOWN);
	}
	if (rule == tr_call || rule == tr_call_rm) {
		access_set(a, -(int32_t)word, word, ENGINE_WRITE);
		return (SP_LOST);
	}
	if (rule == tr_ret) {
		access_set(a, 0, word, ENGINE_READ);
		return (SP_LOST);
	}
	if (rule == tr_jcc || rule == tr_jmp || rule == tr_loop ||
	    rule == tr_jcxz || rule == tr_nop)
		return (SP_KNOWN);
	if (rule == tr_lea) {
		if (i->i_reg != RSP)
			return (SP_KNOWN);
		*delta = i->i_disp;
		return (i->i_base == RSP && i->i_index == REG_NONE &&
		    i->i_asize == word && size == word ? SP_KNOWN : SP_LOST);
	}
	if (rule != tr_copy && rule != tr_vector && rule != tr_shift_cl)
		return (SP_END);
	if (adds_to_sp(i, word, delta))
		return (SP_KNOWN);
	if (rule != tr_vector && mem && i->i_base == RSP &&
	    i->i_index == REG_NONE && i->i_asize == word && i->i_seg == SEG_SS)
		access_set(a, i->i_disp, i->i_op->o_msize != 0 ?
		    i->i_op->o_msize : size,
		    (role & R_READ ? ENGINE_READ : 0) |
		    (role & R_WRITE ? ENGINE_WRITE : 0));
	return (writes_sp(i) ? SP_LOST : SP_KNOWN);
}

/* --- planning ------------------------------------------------------------------- */

/* Can nothing go wrong in i, and does it leave memory alone? */
static bool
harmless(const struct insn *i)
{
	return (i->i_op->o_rule == tr_copy && !(i->i_flags & INSN_MEM) &&
	    /* DIV, IDIV */
	    !(i->i_map == 0 && (i->i_opcode & 0xfe) == 0xf6));
}

/* Puts f's check where flags are not wanted, if that is near. */
static void
check_ahead(const struct tr *x, struct tr_frame *f, unsigned first)
{
	const struct insn *insn = block_insns(x->x_cpu, x->x_block);
	unsigned k;

	if (x->x_jit->j_opt.jo_exact || x->x_live[f->f_from] == 0)
		return;
	for (k = f->f_from; k > first && f->f_from - k < FRAME_AHEAD &&
	    harmless(&insn[k - 1]);) {
		if (x->x_live[--k] == 0) {
			f->f_from = (uint8_t)k;
			return;
		}
	}
}

/* The frame is complete: kept if it saves a check. */
static void
frame_end(struct tr *x, struct tr_frame *f, unsigned *count, unsigned *first)
{
	unsigned k;

	if (*count >= 2) {
		check_ahead(x, f, *first);
		f->f_live = x->x_jit->j_opt.jo_exact;
		for (k = f->f_from; k <= f->f_to; k++) {
			f->f_live |= x->x_live[k] != 0;
			if (k > f->f_from)
				x->x_t->t_frames |= UINT64_C(1) << k;
		}
		*first = f->f_to + 1u;
		x->x_nframes++;
	}
	*count = 0;
}

void
tr_frames(struct tr *x, unsigned count)
{
	const struct insn *insn = block_insns(x->x_cpu, x->x_block);
	struct tr_frame *f;
	struct sp_access a;
	enum sp_effect effect;
	/* first: the check may go ahead to there */
	unsigned k, n = 0, first = 0;
	int64_t sp = 0, delta, min, max;

	_Static_assert(BLOCK_INSNS <= 64, "t_frames");
	x->x_nframes = x->x_frame_next = 0;
	for (k = 0; k < count; k++) {
		f = &x->x_frames[x->x_nframes];
		x->x_sp[k] = (int32_t)sp;
		effect = sp_effect(x, &insn[k], &a, &delta);
		if (effect == SP_END) {
			frame_end(x, f, &n, &first);
			first = k + 1;
			continue;
		}
		if (a.a_size != 0) {
			min = sp + a.a_disp;
			max = min + a.a_size;
			if (n != 0 && f->f_min < min)
				min = f->f_min;
			if (n != 0 && f->f_max > max)
				max = f->f_max;
			if (n != 0 && (max - min > FRAME_MAX ||
			    (a.a_access & ~f->f_access) != 0)) {
				frame_end(x, f, &n, &first);
				f = &x->x_frames[x->x_nframes];
				min = sp + a.a_disp;
				max = min + a.a_size;
			}
			if (n == 0) {
				f->f_from = (uint8_t)k;
				f->f_access = (uint8_t)(a.a_access |
				    ENGINE_READ);
			}
			f->f_to = (uint8_t)k;
			f->f_min = (int32_t)min;
			f->f_max = (int32_t)max;
			n++;
		}
		sp += delta;
		if (effect == SP_LOST || sp != (int16_t)sp) {
			frame_end(x, f, &n, &first);
			first = k + 1;
			sp = 0;
		}
	}
	frame_end(x, &x->x_frames[x->x_nframes], &n, &first);
}

/* --- emitting ------------------------------------------------------------------- */

static uint32_t
frame_at(unsigned n)
{
	return ((uint32_t)(offsetof(struct cpu, c_frame) + n * 8));
}

void
e_frame_none(struct tr *x)
{
	e_gs(x, 0xc7, 8, 0, frame_at(0));
	e_long(x, 0);
	e_gs(x, 0xc7, 8, 0, frame_at(1));
	e_long(x, 1);
}

void
e_frame_begin(struct tr *x)
{
	const struct tr_frame *f;

	if (x->x_frame != NULL && x->x_k > x->x_frame->f_to)
		x->x_frame = NULL;
	if (x->x_frame_next == x->x_nframes ||
	    x->x_frames[x->x_frame_next].f_from != x->x_k)
		return;
	f = x->x_frame = &x->x_frames[x->x_frame_next++];
	e_frame_check(x, f->f_min - x->x_sp[x->x_k],
	    (unsigned)(f->f_max - f->f_min), f->f_access);
	e_rm(x, 0x8d, 8, H_T0, H_T0, H_T1, 0, 0);
	e_gs(x, 0x89, 8, H_T0, frame_at(0));
	if (f->f_live) {
		e_gs(x, 0xc7, 8, 0, frame_at(1));
		e_long(x, 0);
	}
	x->x_frame_p = x->x_p;
	x->x_frame_check->tc_back = x->x_p;
}

bool
e_frame_covers(const struct tr *x, int32_t disp, unsigned size, int access)
{
	const struct tr_frame *f = x->x_frame;
	int64_t at;

	if (f == NULL || (access & ~f->f_access) != 0)
		return (false);
	at = (int64_t)x->x_sp[x->x_k] + disp;
	return (at >= f->f_min && at + size <= f->f_max);
}

uint8_t *
e_frame_access(struct tr *x, int32_t disp)
{
	uint8_t *hit, *none;

	if (x->x_p == x->x_frame_p)
		none = NULL;
	else if (tr_flags_live(x)) {
		e_gs(x, 0x8b, 8, H_T0, frame_at(1));
		hit = e_jump8(x, E_JRCXZ);
		none = e_jump(x, E_JMP);
		e_patch8(x, hit);
		e_gs(x, 0x8b, 8, H_T0, frame_at(0));
	} else {
		e_gs(x, 0x8b, 8, H_T0, frame_at(0));
		e_rr(x, 0x85, 8, H_T0, H_T0);		/* test rcx,rcx */
		none = e_jump(x, 4);			/* jz */
	}
	e_mov_imm(x, H_T1, (uint64_t)(x->x_sp[x->x_k] + disp -
	    x->x_frame->f_min));
	return (none);
}
