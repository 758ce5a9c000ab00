/*
 * Rules for integer instructions with operands of their own: the stack, CL as a
 * count, addresses that are no operands, and what needs no code at all
 * (emit.h).
 *
 * Checks first: an instruction with two memory operands keeps what it has read
 * in c_tmp until the other one is checked.
 */
#include <stddef.h>

#include "engine/soft/jit/emit.h"

#define LEA	0x8d
#define LOAD	0x8b
#define STORE	0x89
#define STORE_IMM	0xc7
#define MOVZX_W	0x0fb7
#define MOVSX_W	0x0fbf
#define MOVSXD	0x63
#define SHIFT_IMM	0xc1	/* /7 SAR */
#define SHIFT_SAR	7
#define ALU_IMM8	0x83	/* /4 AND */
#define ALU_AND	4
#define KEEP	(C_TMP + 8)	/* the first quad is the checks' (mem.c) */

/* --- counts in CL ------------------------------------------------------------- */

/*
 * Shifts, rotates, SHLD and SHRD by CL: T0 is rCX, which leaves T1 for one
 * operand in memory.
 */
bool
tr_shift_cl(struct tr *x, const struct insn *i)
{
	const struct opcode *op = i->i_op;
	bool mem = i->i_flags & INSN_MEM, shxd = op->o_reg != R_NONE;
	bool high = (op->o_rm & R_CLASS) == R_BYTE && !mem && i->i_rm >= 4 &&
	    !(i->i_flags & INSN_REX);
	unsigned reg = 0, rm = 0;

	if (shxd && tr_host[i->i_reg] == H_SLOT &&
	    (mem || tr_host[i->i_rm] == H_SLOT))
		return (false);
	if (mem && !e_ea_ok(x, i))
		return (false);
	if (high && i->i_rm - 4 == RCX)
		return (false);
	if (mem) {
		e_operand(x, i, i->i_osize, ENGINE_READ | ENGINE_WRITE);
		e_rm(x, LEA, 8, H_T1, H_T0, H_T1, 0, 0);
		rm = E_MEM_T1;
	} else if (high)
		rm = E_HIGH | (i->i_rm - 4u);
	else
		rm = e_get(x, i->i_rm, H_T1);
	if (shxd)
		reg = e_get(x, i->i_reg, H_T1);
	e_rr(x, LOAD, 4, H_T0, H_RCX);
	e_insn(x, i, reg, 0, rm);
	if (!mem && !high)
		e_put(x, i->i_rm, H_T1);
	return (true);
}

/* --- the stack ---------------------------------------------------------------- */

/* [T0 + T1] = guest register n */
static void
store_gpr(struct tr *x, unsigned size, unsigned n)
{
	if (tr_host[n] == H_SLOT) {
		e_rm(x, LEA, 8, H_T0, H_T0, H_T1, 0, 0);
		e_get(x, n, H_T1);
		e_rm(x, STORE, size, H_T1, H_T0, REG_NONE, 0, 0);
	} else
		e_rm(x, STORE, size, tr_host[n], H_T0, H_T1, 0, 0);
}

static bool
push_gpr(struct tr *x, const struct insn *i)
{
	int size = i->i_osize;

	e_stack(x, -size, i->i_osize, ENGINE_WRITE);
	store_gpr(x, i->i_osize, i->i_rm);
	e_stack_move(x, -size);
	return (true);
}

bool
tr_push_r(struct tr *x, const struct insn *i)
{
	return (push_gpr(x, i));
}

bool
tr_push_imm(struct tr *x, const struct insn *i)
{
	int size = i->i_osize;

	e_stack(x, -size, i->i_osize, ENGINE_WRITE);
	e_rm(x, STORE_IMM, i->i_osize, 0, H_T0, H_T1, 0, 0);
	if (size == 2)
		e_word(x, (unsigned)i->i_imm);
	else
		e_long(x, (uint32_t)i->i_imm);
	e_stack_move(x, -size);
	return (true);
}

bool
tr_push_rm(struct tr *x, const struct insn *i)
{
	int size = i->i_osize;

	if (!(i->i_flags & INSN_MEM))
		return (push_gpr(x, i));
	if (!e_ea_ok(x, i))
		return (false);
	e_operand(x, i, i->i_osize, ENGINE_READ);
	e_rm(x, LOAD, i->i_osize, H_T0, H_T0, H_T1, 0, 0);
	e_gs(x, STORE, 8, H_T0, KEEP);
	e_stack(x, -size, i->i_osize, ENGINE_WRITE);
	e_rm(x, LEA, 8, H_T1, H_T0, H_T1, 0, 0);
	e_gs(x, LOAD, 8, H_T0, KEEP);
	e_rm(x, STORE, i->i_osize, H_T0, H_T1, REG_NONE, 0, 0);
	e_stack_move(x, -size);
	return (true);
}

static bool
pop_gpr(struct tr *x, const struct insn *i)
{
	unsigned host = tr_host[i->i_rm], size = i->i_osize;

	/* what keeps upper bits of a register that moves, or is in memory */
	if (size == 2 && (host == H_SLOT || host == H_GSP))
		return (false);
	e_stack(x, 0, size, ENGINE_READ);
	if (host == H_GSP) {
		e_rm(x, LOAD, size, H_GSP, H_T0, H_T1, 0, 0);
		return (true);
	}
	if (host == H_SLOT) {
		e_rm(x, LOAD, size, H_T0, H_T0, H_T1, 0, 0);
		e_put(x, i->i_rm, H_T0);
	} else
		e_rm(x, LOAD, size, host, H_T0, H_T1, 0, 0);
	e_stack_move(x, (int)size);
	return (true);
}

bool
tr_pop_r(struct tr *x, const struct insn *i)
{
	return (pop_gpr(x, i));
}

bool
tr_pop_rm(struct tr *x, const struct insn *i)
{
	return (!(i->i_flags & INSN_MEM) && pop_gpr(x, i));
}

static void
leave_ea(struct tr *x, struct tr_cold *tc)
{
	(void)tc;
	e_rr(x, LOAD, x->x_64 ? 8 : 4, H_T1, H_RBP);
}

bool
tr_leave(struct tr *x, const struct insn *i)
{
	unsigned size = i->i_osize;

	if (size == 2)
		return (false);
	leave_ea(x, NULL);
	e_check(x, size, ENGINE_READ, leave_ea, 0);
	e_rm(x, LOAD, size, H_T0, H_T0, H_T1, 0, 0);
	e_rm(x, LEA, x->x_64 ? 8 : 4, H_GSP, H_RBP, REG_NONE, 0, (int)size);
	e_rr(x, LOAD, size, H_RBP, H_T0);
	return (true);
}

/* --- addresses ---------------------------------------------------------------- */

/* MOV between AL..RAX and an address in the instruction. */
bool
tr_moffs(struct tr *x, const struct insn *i)
{
	bool store = i->i_opcode & 2;
	unsigned size = i->i_osize;

	if (!e_ea_ok(x, i))
		return (false);
	e_operand(x, i, size, store ? ENGINE_WRITE : ENGINE_READ);
	e_rm(x, (store ? 0x88 : 0x8a) | (size != 1), size, H_RAX, H_T0, H_T1, 0,
	    0);
	return (true);
}

bool
tr_lea(struct tr *x, const struct insn *i)
{
	unsigned dest = tr_host[i->i_reg], base, index, size = i->i_osize;
	int64_t disp = i->i_disp;

	if (i->i_asize == 2 || (size == 2 && (dest == H_SLOT ||
	    i->i_base == REG_RIP)))
		return (false);
	if (size == 8 && i->i_asize == 4)
		size = 4;		/* zero-extended */
	if (dest == H_SLOT)
		dest = H_T1;
	if (i->i_base == REG_RIP) {
		disp += (int32_t)(x->x_off + i->i_len);
		if (disp != (int32_t)disp)
			return (false);
		e_code_va(x, dest, (int32_t)disp);
		if (size == 4)
			e_rr(x, LOAD, 4, dest, dest);
	} else if (i->i_base == REG_NONE && i->i_index == REG_NONE) {
		if (size == 2)
			return (false);
		e_mov_imm(x, dest, size == 4 ? (uint32_t)disp :
		    (uint64_t)disp);
	} else {
		base = i->i_base == REG_NONE ? REG_NONE :
		    e_get(x, i->i_base, H_T1);
		index = i->i_index == REG_NONE ? REG_NONE :
		    e_get(x, i->i_index, H_T0);
		e_rm(x, LEA, size, dest, base, index, i->i_scale, i->i_disp);
	}
	e_put(x, i->i_reg, dest);
	return (true);
}

/* --- the rest ----------------------------------------------------------------- */

/* XCHG with rAX. With itself it is NOP or PAUSE, and keeps EAX's upper half. */
bool
tr_xchg_a(struct tr *x, const struct insn *i)
{
	return (i->i_rm == RAX || tr_copy(x, i));
}

/* T1 = address of the part of a string of bits that holds i's bit. */
static void
bit_ea(struct tr *x, struct tr_cold *tc)
{
	const struct insn *i = x->x_i;
	unsigned size = i->i_osize;

	(void)tc;
	e_ea(x, i);
	e_rr(x, size == 2 ? MOVSX_W : size == 4 ? MOVSXD : LOAD, 8, H_T0,
	    e_get(x, i->i_reg, H_T0));
	e_flags_save(x);
	e_rr(x, SHIFT_IMM, 8, SHIFT_SAR, H_T0);
	e_byte(x, size == 8 ? 6 : size == 4 ? 5 : 4);
	e_flags_restore(x);
	e_rm(x, LEA, 8, H_T1, H_T1, H_T0, size == 8 ? 3 : size == 4 ? 2 : 1, 0);
}

/*
 * BT and its kin by a register. With memory it is an offset in a string of
 * bits: the host gets the part's address and what is left of the offset.
 */
bool
tr_bt(struct tr *x, const struct insn *i)
{
	unsigned access = i->i_op->o_rm & R_WRITE ? ENGINE_READ | ENGINE_WRITE :
	    ENGINE_READ;

	if (!(i->i_flags & INSN_MEM))
		return (tr_copy(x, i));
	if (!x->x_64 || i->i_asize != 8)
		return (false);
	bit_ea(x, NULL);
	e_check(x, i->i_osize, (int)access, bit_ea, 0);
	e_rm(x, LEA, 8, H_T0, H_T0, H_T1, 0, 0);
	e_rr(x, LOAD, 4, H_T1, e_get(x, i->i_reg, H_T1));
	e_flags_save(x);
	e_rr(x, ALU_IMM8, 4, ALU_AND, H_T1);
	e_byte(x, i->i_osize * 8u - 1);
	e_flags_restore(x);
	e_insn(x, i, H_T1, 0, E_MEM_T0);
	return (true);
}

/* MOV from a segment register: its selector, always 16 bits in memory. */
bool
tr_mov_sreg(struct tr *x, const struct insn *i)
{
	uint32_t at = (uint32_t)(offsetof(struct cpu, c_seg) +
	    i->i_reg * sizeof(struct segment) +
	    offsetof(struct segment, s_sel));
	unsigned host = tr_host[i->i_rm];

	if (i->i_flags & INSN_MEM)
		return (false);
	if (host == H_SLOT)
		host = H_T0;
	if (i->i_osize == 2) {
		e_get(x, i->i_rm, H_T0);
		e_gs(x, LOAD, 2, host, at);
	} else
		e_gs(x, MOVZX_W, 4, host, at);
	e_put(x, i->i_rm, host);
	return (true);
}

/* CMPXCHG8B and 16B: rCX is an operand. */
bool
tr_cmpxchg(struct tr *x, const struct insn *i)
{
	if (!e_ea_ok(x, i))
		return (false);
	e_operand(x, i, i->i_op->o_msize, ENGINE_READ | ENGINE_WRITE);
	e_rm(x, LEA, 8, H_T1, H_T0, H_T1, 0, 0);
	e_mov(x, H_T0, H_RCX);
	e_insn(x, i, 0, 0, E_MEM_T1);
	return (true);
}

/* Hints, and fences. */
bool
tr_nop(struct tr *x, const struct insn *i)
{
	if (i->i_map == 1 && i->i_opcode == 0xae) {
		e_byte(x, 0x0f);
		e_byte(x, 0xae);
		e_byte(x, i->i_modrm & 0xf8);
	}
	return (true);
}
