/*
 * Memory operands in translated code (emit.h): from a linear address to the
 * host's by the TLB tables, or out of the way to a cold stub.
 *
 * 1. A check compares the page of the operand's first byte, with the offset
 *    in it so that an operand across the page's end fails as well. An address
 *    that is not canonical is in no entry.
 * 2. Where flags are live the check has none: PEXT drops the offset's bits and
 *    JRCXZ compares, or, where PEXT is missing or slow, flags wait in AX and
 *    RAX in c_tmp. A stub gets and leaves all registers and flags as they were
 *    before the check, but for T0 and T1.
 * 3. Segments: in 64-bit code FS and GS have a base, which is read from struct
 *    cpu. In 32-bit code all that are used are flat by the mode (jit.h) but for
 *    FS and GS, whose base is added and whose limit is 4 GiB.
 *
 * SDM vol. 1, 3.3.7; vol. 2A, 2.1.5, 2.2.1.6.
 */
#include <stddef.h>

#include "engine/soft/jit/emit.h"
#include "engine/soft/jit/trace.h"

#define LEA	0x8d
#define LOAD	0x8b
#define STORE	0x89

/* --- addresses ---------------------------------------------------------------- */

static bool
segment_ok(const struct tr *x, unsigned seg)
{
	if (x->x_64)
		return (true);
	switch (seg) {
	case SEG_SS:
		return (true);
	case SEG_DS:
	case SEG_ES:
		return (x->x_mode & JM_DATA);
	case SEG_FS:
		return (x->x_mode & JM_FS);
	case SEG_GS:
		return (x->x_mode & JM_GS);
	default:
		return (false);		/* CS: not for writing */
	}
}

/* The operand is an address in the instruction. */
static bool
is_moffs(const struct insn *i)
{
	return (i->i_op->o_imm == IMM_MOFFS);
}

bool
e_ea_ok(const struct tr *x, const struct insn *i)
{
	if (i->i_asize == 2 || !segment_ok(x, i->i_seg))
		return (false);
	/*
	 * With a base, an operand may pass the limit without passing the end
	 * of a page: it has to be known not to.
	 */
	if (!x->x_64 && i->i_seg >= SEG_FS && is_moffs(i))
		return (i->i_imm < UINT32_MAX - 64);
	if (!x->x_64 && i->i_seg >= SEG_FS)
		return (i->i_base == REG_NONE && i->i_index == REG_NONE &&
		    (uint32_t)i->i_disp < UINT32_MAX - 64);
	return (true);
}

static uint32_t
segment_base(unsigned seg)
{
	return ((uint32_t)(offsetof(struct cpu, c_seg) +
	    seg * sizeof(struct segment) + offsetof(struct segment, s_base)));
}

/* reg = reg + disp */
static void
add_disp(struct tr *x, unsigned size, unsigned reg, int64_t disp)
{
	if (disp != 0)
		e_rm(x, LEA, size, reg, reg, REG_NONE, 0, (int32_t)disp);
}

/* T1 = the operand's offset in its segment; size: of the arithmetic */
static void
offset(struct tr *x, const struct insn *i, unsigned size)
{
	int64_t disp = i->i_disp;
	unsigned base, index;

	if (is_moffs(i)) {
		e_mov_imm(x, H_T1, i->i_imm);
		return;
	}
	if (i->i_base == REG_RIP) {
		disp += (int32_t)(x->x_off + i->i_len);
		if (disp == (int32_t)disp) {
			e_code_va(x, H_T1, (int32_t)disp);
			if (size == 4)
				e_rr(x, LOAD, 4, H_T1, H_T1);
		} else {
			e_code_va(x, H_T1, (int32_t)(x->x_off + i->i_len));
			add_disp(x, size, H_T1, i->i_disp);
		}
		return;
	}
	if (i->i_index == REG_NONE) {
		if (i->i_base == REG_NONE) {
			e_mov_imm(x, H_T1, size == 4 ? (uint32_t)disp :
			    (uint64_t)disp);
			return;
		}
		if (tr_host[i->i_base] == H_SLOT) {
			e_gs(x, LOAD, size, H_T1, C_GPR + i->i_base * 8u);
			add_disp(x, size, H_T1, disp);
		} else if (disp == 0)
			e_rr(x, LOAD, size, H_T1, tr_host[i->i_base]);
		else
			e_rm(x, LEA, size, H_T1, tr_host[i->i_base], REG_NONE,
			    0, i->i_disp);
		return;
	}
	base = i->i_base == REG_NONE ? REG_NONE : e_get(x, i->i_base, H_T1);
	index = e_get(x, i->i_index, H_T0);
	e_rm(x, LEA, size, H_T1, base, index, i->i_scale, i->i_disp);
}

/* T1 = T1 + the segment's base; T0 goes. */
void
e_segment(struct tr *x, unsigned seg)
{
	if (seg < SEG_FS)
		return;
	e_gs(x, LOAD, 8, H_T0, segment_base(seg));
	e_rm(x, LEA, x->x_64 ? 8 : 4, H_T1, H_T1, H_T0, 0, 0);
}

void
e_ea(struct tr *x, const struct insn *i)
{
	unsigned base;

	/* the common form of it, in one step less */
	if (x->x_64 && i->i_asize == 8 && i->i_seg >= SEG_FS &&
	    i->i_index == REG_NONE && i->i_base != REG_RIP && !is_moffs(i)) {
		base = i->i_base == REG_NONE ? REG_NONE :
		    e_get(x, i->i_base, H_T1);
		e_gs(x, LOAD, 8, H_T0, segment_base(i->i_seg));
		if (base == REG_NONE)
			e_rm(x, LEA, 8, H_T1, H_T0, REG_NONE, 0, i->i_disp);
		else
			e_rm(x, LEA, 8, H_T1, base, H_T0, 0, i->i_disp);
		return;
	}
	offset(x, i, i->i_asize);
	e_segment(x, i->i_seg);
}

/* --- checks ------------------------------------------------------------------- */

static uint32_t
table(const struct tr *x, int access)
{
	unsigned class = x->x_mode & JM_CLASS;

	return ((uint32_t)(access & ENGINE_WRITE ? JT_NEGW(class) :
	    JT_NEGR(class)));
}

/* T0 = index of the page of T1 in the tables. No flags, with BMI2. */
static void
table_index(struct tr *x)
{
	if (x->x_jit->j_bmi2)
		/* rorx $12,r11,rcx */
		E_CODE(x, 0xc4, 0xc3, 0xfb, 0xf0, 0xcb, 12);
	else {
		e_mov(x, H_T0, H_T1);
		E_CODE(x, 0x48, 0xc1, 0xe9, 12);		/* shr $12,rcx */
	}
	E_CODE(x, 0x0f, 0xb7, 0xc9);			/* movzx cx,ecx */
}

/* Flags into AX, RAX into c_tmp, and back. */
void
e_flags_save(struct tr *x)
{
	e_gs(x, STORE, 8, H_RAX, C_TMP);
	E_CODE(x, 0x9f, 0x0f, 0x90, 0xc0);		/* lahf; seto al */
}

void
e_flags_restore(struct tr *x)
{
	E_CODE(x, 0x04, 0x7f, 0x9e);			/* add $0x7f,al; sahf */
	e_gs(x, LOAD, 8, H_RAX, C_TMP);
}

/* tc_arg[1]: how the check saved flags, and what it wanted */
#define ARG_WHAT	0xffffu
#define ARG_SAVED	0x10000u

static void
emit_slow(struct tr *x, struct tr_cold *tc)
{
	if (tc->tc_arg[1] & ARG_SAVED)
		e_flags_restore(x);
	tc->tc_ea(x, tc);
	e_mov_imm(x, H_T0, tc->tc_arg[1] & ARG_WHAT);
	e_call_thunk(x, THUNK_SLOW);
	e_patch(x, e_jump(x, E_JMP), tc->tc_back);
	e_byte(x, tc->tc_k);
}

/* Leaves T0 + T1 as the host address, and flags as they come. */
static uint8_t *
check_plain(struct tr *x, unsigned size, int access)
{
	uint8_t *miss;

	table_index(x);
	e_gs_index(x, 0x03, 8, H_T1, H_T0, table(x, access));
	e_rr(x, 0x81, 8, 7, H_T1);			/* cmp imm32,r11 */
	e_long(x, 4096 - size);
	miss = e_jump(x, 7);				/* ja */
	e_gs_index(x, LOAD, 8, H_T0, H_T0, JT_HOST(x->x_mode & JM_CLASS));
	return (miss);
}

static uint8_t *
check_neutral(struct tr *x, unsigned size, int access)
{
	uint8_t *miss, *hit;

	table_index(x);
	e_gs_index(x, LOAD, 8, H_T0, H_T0, table(x, access));
	e_rm(x, LEA, 8, H_T0, H_T0, H_T1, 0, (int32_t)size - 1);
	/* pext gs:[C_MASKS],rcx,rcx */
	E_CODE(x, 0x65, 0xc4, 0xe2, 0xf2, 0xf5, 0x0c, 0x25);
	e_long(x, C_MASKS);
	hit = e_jump8(x, E_JRCXZ);
	miss = e_jump(x, E_JMP);
	e_patch8(x, hit);
	table_index(x);
	e_gs_index(x, LOAD, 8, H_T0, H_T0, JT_HOST(x->x_mode & JM_CLASS));
	/* pext gs:[C_MASKS + 8],r11,r11 */
	E_CODE(x, 0x65, 0xc4, 0x62, 0xa2, 0xf5, 0x1c, 0x25);
	e_long(x, C_MASKS + 8);
	return (miss);
}

uint8_t *
e_check_inline(struct tr *x, unsigned size, int access, bool *saved)
{
	uint8_t *miss;

	*saved = false;
	if (tr_flags_live(x) && x->x_jit->j_pext)
		return (check_neutral(x, size, access));
	*saved = tr_flags_live(x);
	if (*saved)
		e_flags_save(x);
	miss = check_plain(x, size, access);
	if (*saved)
		e_flags_restore(x);
	return (miss);
}

void
e_check(struct tr *x, unsigned size, int access,
    void (*ea)(struct tr *, struct tr_cold *), uint64_t arg)
{
	struct tr_cold *tc;
	uint8_t *miss;
	bool saved;

	if (x->x_trace != NULL) {
		trace_check(x, size, access);
		return;
	}
	miss = e_check_inline(x, size, access, &saved);
	tc = tr_cold(x, miss, emit_slow);
	tc->tc_ea = ea;
	tc->tc_arg[0] = arg;
	tc->tc_arg[1] = size | (unsigned)access << 8 | (saved ? ARG_SAVED : 0);
}

static void	stack_again(struct tr *, struct tr_cold *);

/*
 * The access by rSP is part of a frame, which may not be good: then it has a
 * check of its own, out of the way.
 */
static void
emit_frame_access(struct tr *x, struct tr_cold *tc)
{
	bool saved;
	uint8_t *miss;

	stack_again(x, tc);
	miss = e_check_inline(x, tc->tc_arg[1] & 0xff,
	    (int)(tc->tc_arg[1] >> 8 & 0xff), &saved);
	e_patch(x, e_jump(x, E_JMP), tc->tc_back);
	e_patch(x, miss, x->x_p);
	if (saved)
		tc->tc_arg[1] |= ARG_SAVED;
	emit_slow(x, tc);
}

/* The frame's check has failed: it is not good. */
static void
emit_frame_none(struct tr *x, struct tr_cold *tc)
{
	if (tc->tc_arg[1] & ARG_SAVED)
		e_flags_restore(x);
	tc->tc_arg[1] &= ~(uint64_t)ARG_SAVED;
	e_frame_none(x);
	if (tc->tc_ea != NULL)
		emit_frame_access(x, tc);	/* the first, right behind */
	else
		e_patch(x, e_jump(x, E_JMP), tc->tc_back);
}

static void
frame_access(struct tr *x, int32_t disp, unsigned size, int access)
{
	struct tr_cold *tc;
	uint8_t *none = e_frame_access(x, disp);

	if (none != NULL)
		tc = tr_cold(x, none, emit_frame_access);
	else {
		tc = x->x_frame_check;
		tc->tc_back = x->x_p;
	}
	tc->tc_ea = stack_again;
	tc->tc_arg[0] = (uint64_t)(int64_t)disp;
	tc->tc_arg[1] |= size | (unsigned)access << 8;
}

static void
operand_ea(struct tr *x, struct tr_cold *tc)
{
	e_ea(x, tc->tc_insn);
}

/* Is it [rSP + n], in a frame? */
static bool
operand_in_frame(const struct tr *x, const struct insn *i, unsigned size,
    int access)
{
	return (x->x_frame != NULL && i->i_flags & INSN_MEM &&
	    i->i_base == RSP && i->i_index == REG_NONE && i->i_seg == SEG_SS &&
	    i->i_asize == (x->x_64 ? 8 : 4) &&
	    e_frame_covers(x, i->i_disp, size, access));
}

void
e_operand(struct tr *x, const struct insn *i, unsigned size, int access)
{
	if (x->x_trace != NULL) {
		trace_operand(x, i, size, access);
		return;
	}
	if (operand_in_frame(x, i, size, access)) {
		frame_access(x, i->i_disp, size, access);
		return;
	}
	e_ea(x, i);
	e_check(x, size, access, operand_ea, 0);
}

/* --- the stack ---------------------------------------------------------------- */

static void
stack_ea(struct tr *x, int32_t disp)
{
	unsigned size = x->x_64 ? 8 : 4;

	if (disp == 0)
		e_rr(x, LOAD, size, H_T1, H_GSP);
	else
		e_rm(x, LEA, size, H_T1, H_GSP, REG_NONE, 0, disp);
}

static void
stack_again(struct tr *x, struct tr_cold *tc)
{
	stack_ea(x, (int32_t)tc->tc_arg[0]);
}

void
e_stack(struct tr *x, int32_t disp, unsigned size, int access)
{
	if (x->x_trace != NULL) {
		trace_stack(x, disp, size, access);
		return;
	}
	if (e_frame_covers(x, disp, size, access)) {
		frame_access(x, disp, size, access);
		return;
	}
	stack_ea(x, disp);
	e_check(x, size, access, stack_again, (uint64_t)(int64_t)disp);
}

void
e_frame_check(struct tr *x, int32_t disp, unsigned size, int access)
{
	uint8_t *miss;
	bool saved;

	stack_ea(x, disp);
	miss = e_check_inline(x, size, access, &saved);
	x->x_frame_check = tr_cold(x, miss, emit_frame_none);
	x->x_frame_check->tc_arg[1] = saved ? ARG_SAVED : 0;
}

void
e_stack_move(struct tr *x, int32_t n)
{
	if (n != 0)
		e_rm(x, LEA, x->x_64 ? 8 : 4, H_GSP, H_GSP, REG_NONE, 0, n);
}
