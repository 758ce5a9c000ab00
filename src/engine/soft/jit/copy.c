/*
 * Rules that copy an instruction: the same one on the host, with its explicit
 * operands (o_reg, o_vvvv, o_rm) put into place (emit.h). Operands that are not
 * named, rAX and rDX above all, are the same registers on the host.
 *
 * 1. T0 and T1 carry registers that live in memory. A memory operand takes
 *    both; if a register must be read as well, or is AH..BH, which exclude a
 *    REX prefix, the address becomes [T0] and T1 is free.
 * 2. A register in memory is loaded and stored as a whole, so that what the
 *    instruction makes of its upper bits is what the host makes of them. So is
 *    rCX for CH, which is T0's; not next to another one that wants T0.
 */
#include <assert.h>

#include "engine/soft/jit/emit.h"

#define IS(role, what)	((role) & (what))

/* An operand's host register, as e_insn() wants it. */
struct operand {
	unsigned	o_guest;	/* GPR number */
	unsigned	o_host;
	bool		o_temp;		/* it is T0 or T1 for o_guest */
	bool		o_high;		/* AH..BH */
};

static bool
is_gpr(unsigned role)
{
	return ((role & R_CLASS) == R_GPR || (role & R_CLASS) == R_BYTE);
}

/* Does what is written to it leave bits of it as they were? */
static bool
partial(const struct insn *i, unsigned role)
{
	return (i->i_osize < 4 || (role & R_CLASS) == R_BYTE);
}

/* What is operand n? */
static void
operand_set(struct operand *o, const struct insn *i, unsigned role, unsigned n)
{
	o->o_guest = n;
	o->o_host = n;
	o->o_temp = o->o_high = false;
	if (!is_gpr(role))
		return;
	if ((role & R_CLASS) == R_BYTE && n >= 4 &&
	    !(i->i_flags & INSN_REX)) {
		o->o_guest = n - 4;
		o->o_high = true;
		o->o_host = E_HIGH | o->o_guest;
		o->o_temp = o->o_guest == RCX;
		return;
	}
	o->o_host = tr_host[n];
	o->o_temp = o->o_host == H_SLOT;
}

static void
operand_load(struct tr *x, const struct insn *i, struct operand *o,
    unsigned role, unsigned tmp)
{
	if (!o->o_temp)
		return;
	if (IS(role, R_READ) || partial(i, role)) {
		if (tr_host[o->o_guest] == H_SLOT)
			e_get(x, o->o_guest, tmp);
		else
			e_mov(x, tmp, tr_host[o->o_guest]);
	}
	o->o_host = o->o_high ? E_HIGH | tmp : tmp;
}

static void
operand_store(struct tr *x, const struct operand *o, unsigned role)
{
	if (!o->o_temp || !IS(role, R_WRITE))
		return;
	if (tr_host[o->o_guest] == H_SLOT)
		e_put(x, o->o_guest, o->o_host);
	else
		e_mov(x, tr_host[o->o_guest], o->o_host & ~E_HIGH);
}

/* May a register of r/m in c_gpr be used in place, as a memory operand? */
static bool
in_place(const struct insn *i)
{
	const struct opcode *op = i->i_op;

	if (!(op->o_rules & O_MODRM) || i->i_flags & INSN_VEX)
		return (false);
	if (IS(op->o_rm, R_WRITE))
		/* not those that memory makes atomic, or that zero-extend;
		 * nor pieces, whose store a load of the whole would wait for */
		return (i->i_map == 0 && i->i_osize == 8 &&
		    (i->i_opcode & ~1) != 0x86);
	/* not those that use a register as bit offset */
	return (i->i_map == 0 || (i->i_map == 1 &&
	    (op->o_msize != 0 || (i->i_opcode & 0xf0) == 0x40 ||
	    i->i_opcode == 0xaf)));
}

static bool
copy_registers(struct tr *x, const struct insn *i, struct operand *reg,
    struct operand *vvvv, struct operand *rm)
{
	const struct opcode *op = i->i_op;

	if (reg->o_high || rm->o_high) {
		/* the other one must do without REX */
		if (!reg->o_high && is_gpr(op->o_reg) &&
		    (reg->o_host >= H_RSP || reg->o_temp))
			reg->o_temp = true;
		if (!rm->o_high && is_gpr(op->o_rm) &&
		    (rm->o_host >= H_RSP || rm->o_temp))
			rm->o_temp = true;
		/* T1 would need one, too */
		if (reg->o_temp && rm->o_temp && reg->o_guest != rm->o_guest)
			return (false);
		operand_load(x, i, reg, op->o_reg, H_T0);
		operand_load(x, i, rm, op->o_rm, H_T0);
	} else if (rm->o_temp && !reg->o_temp && !vvvv->o_temp && in_place(i)) {
		e_insn(x, i, reg->o_host, vvvv->o_host, E_SLOT | rm->o_guest);
		return (true);
	} else {
		/* three in memory: the first is only written */
		assert(!(reg->o_temp && vvvv->o_temp && rm->o_temp) ||
		    !IS(op->o_reg, R_READ));
		operand_load(x, i, reg, op->o_reg, H_T0);
		operand_load(x, i, vvvv, op->o_vvvv,
		    reg->o_temp && rm->o_temp && IS(op->o_vvvv, R_WRITE) ?
		    H_T1 : reg->o_temp && !rm->o_temp ? H_T1 : H_T0);
		operand_load(x, i, rm, op->o_rm, H_T1);
	}
	e_insn(x, i, reg->o_host, vvvv->o_host, rm->o_host);
	operand_store(x, vvvv, op->o_vvvv);
	operand_store(x, reg, op->o_reg);
	operand_store(x, rm, op->o_rm);
	return (true);
}

static int
memory_access(unsigned role)
{
	return ((IS(role, R_READ) ? ENGINE_READ : 0) |
	    (IS(role, R_WRITE) ? ENGINE_WRITE : 0));
}

static bool
copy_memory(struct tr *x, const struct insn *i, struct operand *reg,
    struct operand *vvvv)
{
	const struct opcode *op = i->i_op;
	unsigned mem = E_MEM;
	bool reg_in, vvvv_in;

	if (!e_ea_ok(x, i))
		return (false);
	e_operand(x, i, op->o_msize != 0 ? op->o_msize : i->i_osize,
	    memory_access(op->o_rm));
	reg_in = reg->o_temp && (IS(op->o_reg, R_READ) ||
	    partial(i, op->o_reg));
	vvvv_in = vvvv->o_temp && IS(op->o_vvvv, R_READ);
	if (reg->o_high || reg_in || vvvv_in ||
	    (reg->o_temp && vvvv->o_temp)) {
		e_rm(x, 0x8d, 8, H_T0, H_T0, H_T1, 0, 0);
		mem = E_MEM_T0;
	}
	/* one that is only written may share T0 with the address */
	operand_load(x, i, vvvv, op->o_vvvv, mem == E_MEM ? H_T0 : H_T1);
	operand_load(x, i, reg, op->o_reg, reg_in ? H_T1 : H_T0);
	e_insn(x, i, reg->o_host, vvvv->o_host, mem);
	operand_store(x, vvvv, op->o_vvvv);
	operand_store(x, reg, op->o_reg);
	return (true);
}

bool
tr_copy(struct tr *x, const struct insn *i)
{
	const struct opcode *op = i->i_op;
	struct operand reg, vvvv, rm;

	operand_set(&reg, i, op->o_reg, i->i_reg);
	operand_set(&vvvv, i, op->o_vvvv, i->i_vvvv);
	if (i->i_flags & INSN_MEM)
		return (!(reg.o_high && reg.o_temp) &&
		    copy_memory(x, i, &reg, &vvvv));
	operand_set(&rm, i, op->o_rm, i->i_rm);
	return (copy_registers(x, i, &reg, &vvvv, &rm));
}
