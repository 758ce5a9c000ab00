/*
 * Bytes of host code (emit.h): prefixes, REX, VEX, ModRM, SIB, displacement
 * and immediate (SDM vol. 2A chapter 2).
 *
 * 1. Everything goes through x_p, the writable mapping. Jumps are relative and
 *    both ends are in the code cache, so they are the same in the other one.
 * 2. An instruction of the guest is written anew from its decoded form. What
 *    the decoder ignored of its prefixes is not there.
 */
#include <assert.h>
#include <string.h>

#include "engine/soft/jit/emit.h"

const uint8_t tr_host[16] = {
	[RAX] = H_RAX, [RCX] = H_RCX, [RDX] = H_RDX, [RBX] = H_RBX,
	[RSP] = H_GSP, [RBP] = H_RBP, [RSI] = H_RSI, [RDI] = H_RDI,
	[R8] = H_R8, [R9] = H_SLOT, [R10] = H_SLOT, [R11] = H_SLOT,
	[R12] = H_R12, [R13] = H_R13, [R14] = H_R14, [R15] = H_R15,
};

#define REX	0x40
#define REX_W	0x08
#define REX_R	0x04
#define REX_X	0x02
#define REX_B	0x01
#define SEG_GS_PREFIX	0x65

/* ModRM.rm: a SIB follows; SIB.base without a base, SIB.index without index;
 * bases of these low bits always need a SIB, a displacement. */
#define RM_SIB		4
#define SIB_NO_BASE	5
#define SIB_NO_INDEX	4

void
e_word(struct tr *x, unsigned v)
{
	uint16_t w = (uint16_t)v;

	memcpy(x->x_p, &w, sizeof(w));
	x->x_p += sizeof(w);
}

void
e_long(struct tr *x, uint32_t v)
{
	memcpy(x->x_p, &v, sizeof(v));
	x->x_p += sizeof(v);
}

void
e_quad(struct tr *x, uint64_t v)
{
	memcpy(x->x_p, &v, sizeof(v));
	x->x_p += sizeof(v);
}

void
e_bytes(struct tr *x, const uint8_t *bytes, unsigned n)
{
	memcpy(x->x_p, bytes, n);
	x->x_p += n;
}

/* --- parts of an instruction -------------------------------------------------- */

/* REX.R, X and B by register numbers; REG_NONE sets none. */
static unsigned
rex_bits(unsigned reg, unsigned index, unsigned base)
{
	return ((reg & 8 ? REX_R : 0) | (index & 8 ? REX_X : 0) |
	    (base & 8 ? REX_B : 0));
}

/* Prefixes, REX and opcode; need_rex: even one that says nothing. */
static void
opcode_bytes(struct tr *x, unsigned opcode, unsigned size, unsigned rex,
    bool need_rex)
{
	unsigned op = opcode & 0xffffff;

	if (opcode & E_66 || size == 2)
		e_byte(x, 0x66);
	if (opcode & E_F2)
		e_byte(x, 0xf2);
	if (opcode & E_F3)
		e_byte(x, 0xf3);
	if (size == 8)
		rex |= REX_W;
	if (rex != 0 || need_rex)
		e_byte(x, REX | rex);
	if (op > 0xffff)
		e_byte(x, op >> 16);
	if (op > 0xff)
		e_byte(x, op >> 8);
	e_byte(x, op);
}

static void
modrm(struct tr *x, unsigned mod, unsigned reg, unsigned rm)
{
	e_byte(x, mod << 6 | (reg & 7) << 3 | (rm & 7));
}

static void
sib(struct tr *x, unsigned scale, unsigned index, unsigned base)
{
	e_byte(x, scale << 6 | (index & 7) << 3 | (base & 7));
}

static void
memory(struct tr *x, unsigned reg, unsigned base, unsigned index,
    unsigned scale, int32_t disp)
{
	unsigned mod;

	if (index == REG_NONE)
		index = SIB_NO_INDEX;
	if (base == REG_NONE) {
		modrm(x, 0, reg, RM_SIB);
		sib(x, scale, index, SIB_NO_BASE);
		e_long(x, (uint32_t)disp);
		return;
	}
	mod = disp == 0 && (base & 7) != SIB_NO_BASE ? 0 :
	    disp == (int8_t)disp ? 1 : 2;
	if (index != SIB_NO_INDEX || (base & 7) == RM_SIB) {
		modrm(x, mod, reg, RM_SIB);
		sib(x, scale, index, base);
	} else
		modrm(x, mod, reg, base);
	if (mod == 1)
		e_byte(x, (unsigned)disp);
	else if (mod == 2)
		e_long(x, (uint32_t)disp);
}

/* Does this register need a REX as a byte register? */
static bool
new_byte_reg(unsigned reg)
{
	return (reg >= H_RSP && reg <= H_RDI);
}

/* MOVZX and MOVSX from a byte, SETcc: r/m is a byte whatever size says. */
static bool
byte_rm(unsigned opcode)
{
	opcode &= 0xffffff;
	return (opcode == 0x0fb6 || opcode == 0x0fbe ||
	    (opcode & ~0xfu) == 0x0f90);
}

/* --- whole instructions ------------------------------------------------------- */

void
e_rr(struct tr *x, unsigned opcode, unsigned size, unsigned reg, unsigned rm)
{
	bool need = (size == 1 && (new_byte_reg(reg) || new_byte_reg(rm))) ||
	    (byte_rm(opcode) && new_byte_reg(rm));

	opcode_bytes(x, opcode, size, rex_bits(reg, 0, rm), need);
	modrm(x, 3, reg, rm);
}

void
e_rm(struct tr *x, unsigned opcode, unsigned size, unsigned reg, unsigned base,
    unsigned index, unsigned scale, int32_t disp)
{
	opcode_bytes(x, opcode, size, rex_bits(reg, index, base),
	    size == 1 && new_byte_reg(reg));
	memory(x, reg, base, index, scale, disp);
}

void
e_gs(struct tr *x, unsigned opcode, unsigned size, unsigned reg,
    uint32_t offset)
{
	e_byte(x, SEG_GS_PREFIX);
	e_rm(x, opcode, size, reg, REG_NONE, REG_NONE, 0, (int32_t)offset);
}

void
e_gs_index(struct tr *x, unsigned opcode, unsigned size, unsigned reg,
    unsigned index, uint32_t offset)
{
	e_byte(x, SEG_GS_PREFIX);
	e_rm(x, opcode, size, reg, REG_NONE, index, 3, (int32_t)offset);
}

void
e_mov_imm(struct tr *x, unsigned reg, uint64_t imm)
{
	if (imm == (uint32_t)imm) {
		opcode_bytes(x, 0xb8 | (reg & 7), 4, rex_bits(0, 0, reg),
		    false);
		e_long(x, (uint32_t)imm);
	} else if (imm == (uint64_t)(int64_t)(int32_t)imm) {
		e_rr(x, 0xc7, 8, 0, reg);
		e_long(x, (uint32_t)imm);
	} else {
		opcode_bytes(x, 0xb8 | (reg & 7), 8, rex_bits(0, 0, reg),
		    false);
		e_quad(x, imm);
	}
}

/* --- jumps -------------------------------------------------------------------- */

uint8_t *
e_jump(struct tr *x, unsigned cc)
{
	if (cc == E_JMP)
		e_byte(x, 0xe9);
	else if (cc == E_CALL)
		e_byte(x, 0xe8);
	else {
		assert(cc < 16);
		e_byte(x, 0x0f);
		e_byte(x, 0x80 | cc);
	}
	e_long(x, 0);
	return (x->x_p - 4);
}

void
e_patch(struct tr *x, uint8_t *rel32, const uint8_t *target)
{
	int32_t rel = (int32_t)(target - (rel32 + 4));

	(void)x;
	memcpy(rel32, &rel, sizeof(rel));
}

uint8_t *
e_jump8(struct tr *x, unsigned cc)
{
	e_byte(x, cc == E_JRCXZ ? 0xe3 : cc == E_JMP8 ? 0xeb : 0x70 | cc);
	e_byte(x, 0);
	return (x->x_p - 1);
}

void
e_patch8(struct tr *x, uint8_t *rel8)
{
	ptrdiff_t rel = x->x_p - (rel8 + 1);

	assert(rel >= 0 && rel <= INT8_MAX);
	*rel8 = (uint8_t)rel;
}

void
e_call_thunk(struct tr *x, unsigned thunk)
{
	e_patch(x, e_jump(x, E_CALL), CODE_RW(x->x_jit, THUNK_AT(thunk)));
}

void
e_jump_thunk(struct tr *x, unsigned thunk)
{
	e_patch(x, e_jump(x, E_JMP), CODE_RW(x->x_jit, THUNK_AT(thunk)));
}

struct tr_cold *
tr_cold(struct tr *x, uint8_t *from,
    void (*emit)(struct tr *, struct tr_cold *))
{
	struct tr_cold *tc;

	assert(x->x_ncold < TR_COLD);
	tc = &x->x_cold[x->x_ncold++];
	memset(tc, 0, sizeof(*tc));
	tc->tc_emit = emit;
	tc->tc_from = from;
	tc->tc_back = x->x_p;
	tc->tc_insn = x->x_i;
	tc->tc_k = (uint8_t)x->x_k;
	tc->tc_off = x->x_off;
	return (tc);
}

void
tr_interp(struct tr *x)
{
	x->x_frame = NULL;
	e_call_thunk(x, THUNK_INTERP);
	if (x->x_i->i_flags & INSN_END)
		x->x_ended = true;
}

/* --- instructions of the guest -------------------------------------------------- */

static bool
same_insn(const struct opcode *a, const struct opcode *b)
{
	if (a->o_exec != b->o_exec || a->o_variants != b->o_variants ||
	    a->o_sub != b->o_sub || a->o_reg != b->o_reg ||
	    a->o_rm != b->o_rm)
		return (false);
	/* ADDPS and ADDPD have nothing but the name to tell them apart. */
	return (a->o_name == b->o_name || (a->o_name != NULL &&
	    b->o_name != NULL && strcmp(a->o_name, b->o_name) == 0));
}

/* As the decoder walks (decode.c): the mandatory prefix on the way to i's row,
 * PFX_NONE without one. */
static unsigned
mandatory_prefix(const struct tr *x, const struct insn *i)
{
	static const struct opcode *const tables[OPTAB_MAPS][2] = {
		{ optab_onebyte, optab_simd_onebyte },
		{ optab_0f, optab_simd_0f },
		{ optab_0f38, optab_simd_0f38 },
		{ optab_0f3a, optab_simd_0f3a },
	};
	const struct opcode *row = &tables[i->i_map][0][i->i_opcode], *none;
	unsigned pfx = i->i_flags & INSN_F3 ? PFX_F3 :
	    i->i_flags & INSN_F2 ? PFX_F2 :
	    i->i_flags & INSN_66 ? PFX_66 : PFX_NONE;
	unsigned found = PFX_NONE;

	if (row->o_kind == OP_NONE)
		row = &tables[i->i_map][1][i->i_opcode];
	for (;;) {
		switch (row->o_kind) {
		case OP_BY_REG:
			row = &row->o_sub[i->i_modrm >> 3 & 7];
			break;
		case OP_BY_MOD:
			row = &row->o_sub[i->i_modrm >= 0xc0];
			break;
		case OP_BY_RM:
			row = &row->o_sub[i->i_modrm & 7];
			break;
		case OP_BY_PREFIX:
			/* one that makes no other instruction says nothing */
			none = &row->o_sub[PFX_NONE];
			row = &row->o_sub[pfx];
			found = same_insn(row, none) ? PFX_NONE : pfx;
			break;
		case OP_BY_MODE:
			row = &row->o_sub[x->x_64];
			break;
		case OP_BY_W:
			row = &row->o_sub[(i->i_flags & INSN_REXW) != 0];
			break;
		default:
			/* O_FALLBACK has led elsewhere */
			return (row == i->i_op ? found : PFX_NONE);
		}
	}
}

/* Is the operand size a matter of prefix 66? */
static bool
sized_by_66(const struct opcode *op)
{
	switch (op->o_size) {
	case OS_V:
	case OS_Z:
	case OS_D64:
	case OS_F64:
	case OS_BRANCH:
	case OS_FAR:
		return (true);
	default:
		return (false);
	}
}

static void
immediate(struct tr *x, const struct insn *i)
{
	switch (i->i_op->o_imm) {
	case IMM_B:
	case IMM_BS:
		e_byte(x, (unsigned)i->i_imm);
		break;
	case IMM_W:
		e_word(x, (unsigned)i->i_imm);
		break;
	case IMM_Z:
	case IMM_V:
		if (i->i_osize == 1)
			e_byte(x, (unsigned)i->i_imm);
		else if (i->i_osize == 2)
			e_word(x, (unsigned)i->i_imm);
		else if (i->i_osize == 8 && i->i_op->o_imm == IMM_V)
			e_quad(x, i->i_imm);
		else
			e_long(x, (uint32_t)i->i_imm);
		break;
	default:
		assert(i->i_op->o_imm == IMM_NONE);
	}
}

static void
vex_prefix(struct tr *x, const struct insn *i, bool w, unsigned rex,
    unsigned vvvv)
{
	static const uint8_t pp_of[] = {
		[PFX_NONE] = 0, [PFX_66] = 1, [PFX_F3] = 2, [PFX_F2] = 3
	};
	unsigned pp = pp_of[i->i_flags & INSN_66 ? PFX_66 :
	    i->i_flags & INSN_F3 ? PFX_F3 : i->i_flags & INSN_F2 ? PFX_F2 :
	    PFX_NONE];
	unsigned last = (~vvvv & 0xf) << 3 | (i->i_flags & INSN_L ? 4 : 0) | pp;

	if (i->i_map == 1 && !w && !(rex & (REX_X | REX_B))) {
		e_byte(x, 0xc5);
		e_byte(x, (rex & REX_R ? 0 : 0x80) | last);
		return;
	}
	e_byte(x, 0xc4);
	e_byte(x, (rex & REX_R ? 0 : 0x80) | (rex & REX_X ? 0 : 0x40) |
	    (rex & REX_B ? 0 : 0x20) | i->i_map);
	e_byte(x, (w ? 0x80 : 0) | last);
}

/* A register operand as encoded. high: it is one of AH..BH; need: it wants a
 * REX for being SPL..DIL. */
static unsigned
operand(unsigned role, unsigned reg, bool *high, bool *need)
{
	if (reg & E_HIGH) {
		*high = true;
		return (4 + (reg & 3));
	}
	if ((role & R_CLASS) == R_MM)
		return (reg & 7);
	if ((role & R_CLASS) == R_BYTE && new_byte_reg(reg))
		*need = true;
	return (reg);
}

void
e_insn(struct tr *x, const struct insn *i, unsigned reg, unsigned vvvv,
    unsigned rm)
{
	static const unsigned map_opcode[OPTAB_MAPS] = {
		0, 0x0f00, 0x0f3800, 0x0f3a00
	};
	static const unsigned pfx_opcode[] = {
		[PFX_NONE] = 0, [PFX_66] = E_66, [PFX_F3] = E_F3,
		[PFX_F2] = E_F2
	};
	const struct opcode *op = i->i_op;
	bool has_modrm = op->o_rules & O_MODRM, high = false, need = false;
	bool w = op->o_size == OS_Y ? i->i_osize == 8 :
	    (i->i_flags & INSN_REXW) != 0;
	unsigned opcode = i->i_opcode, base = 0, index = 0, rex;

	/* what 64-bit code spells otherwise */
	if (i->i_map == 0 && opcode == 0x82)
		opcode = 0x80;
	if (i->i_map == 0 && (opcode & 0xf0) == 0x40) {
		reg = opcode >> 3 & 1;
		opcode = 0xff;
		has_modrm = true;
	} else if ((op->o_reg & R_CLASS) == R_NONE)
		reg = i->i_modrm >> 3 & 7;
	else
		reg = operand(op->o_reg, reg, &high, &need);
	switch (rm) {
	case E_MEM:
		base = x->x_at ? x->x_at_base : H_T0;
		index = x->x_at ? x->x_at_index : H_T1;
		break;
	case E_MEM_T0:
		base = H_T0;
		break;
	case E_MEM_T1:
		base = H_T1;
		break;
	default:
		if (rm & E_SLOT)
			break;
		if ((op->o_rm & R_CLASS) == R_NONE)
			rm = i->i_modrm & 7;
		else
			rm = operand(op->o_rm, rm, &high, &need);
		base = rm;
	}
	rex = rex_bits(has_modrm ? reg : 0, index, base);
	assert(!high || (rex == 0 && !need));

	if (i->i_flags & INSN_LOCK)
		e_byte(x, 0xf0);
	if (rm & E_SLOT)
		e_byte(x, SEG_GS_PREFIX);
	if (i->i_flags & INSN_VEX) {
		vex_prefix(x, i, w, rex, vvvv);
		e_byte(x, opcode);
	} else {
		if (!has_modrm && (op->o_rm & R_CLASS) != R_NONE)
			opcode = (opcode & ~7u) | (base & 7);
		opcode |= map_opcode[i->i_map];
		opcode |= pfx_opcode[mandatory_prefix(x, i)];
		opcode_bytes(x, opcode, w ? 8 :
		    i->i_osize == 2 && sized_by_66(op) ? 2 : 4, rex, need);
	}
	if (!has_modrm)
		;
	else if (rm & E_SLOT)
		memory(x, reg, REG_NONE, REG_NONE, 0,
		    (int32_t)(C_GPR + (rm & 0xf) * 8));
	else if (rm == E_MEM)
		memory(x, reg, base, index, 0, x->x_at ? x->x_at_disp : 0);
	else if (rm == E_MEM_T0 || rm == E_MEM_T1)
		memory(x, reg, base, REG_NONE, 0, 0);
	else
		modrm(x, 3, reg, rm);
	if (op->o_rules & O_IS4 && !x->x_64)
		/* outside 64-bit code there are eight registers */
		e_byte(x, (unsigned)i->i_imm & 0x7f);
	else
		immediate(x, i);
}

/* --- guest state ---------------------------------------------------------------- */

unsigned
e_get(struct tr *x, unsigned guest, unsigned tmp)
{
	if (tr_host[guest] != H_SLOT)
		return (tr_host[guest]);
	e_gs(x, 0x8b, 8, tmp, C_GPR + guest * 8);
	return (tmp);
}

void
e_put(struct tr *x, unsigned guest, unsigned tmp)
{
	if (tr_host[guest] == H_SLOT)
		e_gs(x, 0x89, 8, tmp, C_GPR + guest * 8);
}

void
e_code_va(struct tr *x, unsigned reg, int32_t off)
{
	uint64_t va = x->x_t->t_va;

	if (va != NO_VA) {
		va += (uint64_t)(int64_t)off;
		e_mov_imm(x, reg, x->x_64 ? va : (uint32_t)va);
		return;
	}
	e_gs(x, 0x8b, 8, reg, C_PAGEVA);
	e_rm(x, 0x8d, x->x_64 ? 8 : 4, reg, reg, REG_NONE, 0, off);
}
