/*
 * MMX, SSE, AVX and x87 instructions: as they are, with their memory operand
 * and general registers put into place.
 *
 * 1. Vector registers have the guest's contents and numbers (jit.h: VECTORS).
 *    So has the x87 state once x87_need() has been passed; only C takes it
 *    away again.
 * 2. What a mode forbids (#UD, #NM) is not translated. Everything else that an
 *    instruction may raise (#GP by alignment, #XM, #MF) the host raises as
 *    well; the interpreter then does it over and the guest gets it from there.
 * 3. An x87 instruction that sets the instruction and operand pointers notes
 *    them when it is done (fpu.c), so that one that faults leaves those before
 *    it.
 *
 * SDM vol. 1 chapters 8 to 15.
 */
#include "engine/soft/handlers.h"
#include "engine/soft/jit/emit.h"
#include "engine/soft/jit/fpu.h"
#include "engine/soft/jit/jit.h"
#include "engine/soft/simd.h"
#include "engine/soft/stub.h"

static bool
is_class(unsigned role, unsigned class)
{
	return ((role & R_CLASS) == class);
}

/* May i be executed at all in this mode, and natively? */
static bool
allowed(const struct tr *x, const struct insn *i)
{
	const struct opcode *op = i->i_op;
	bool x87 = i->i_map == 0 || is_class(op->o_reg, R_MM) ||
	    is_class(op->o_rm, R_MM) || op->o_exec == insn_emms;
	bool sse = !x87 || is_class(op->o_reg, R_XMM) ||
	    is_class(op->o_rm, R_XMM);

	if (i->i_flags & INSN_MEM && !e_ea_ok(x, i))
		return (false);
	if (i->i_flags & INSN_VEX)
		return (x->x_mode & JM_AVX && x->x_jit->j_avx);
	return ((!x87 || x->x_mode & JM_X87) && (!sse || x->x_mode & JM_SSE));
}

static int
rm_access(const struct insn *i)
{
	unsigned role = i->i_op->o_rm;

	return ((role & R_READ ? ENGINE_READ : 0) |
	    (role & R_WRITE ? ENGINE_WRITE : 0));
}

/* --- SSE and AVX ------------------------------------------------------------------ */

/*
 * The host register for a general register: the guest's, loaded if it is read.
 * Else tmp, to be put back if it is written. There is never more than one.
 */
static unsigned
gpr(struct tr *x, unsigned role, unsigned guest, unsigned tmp)
{
	if (role & R_READ)
		return (e_get(x, guest, tmp));
	return (tr_host[guest] == H_SLOT ? tmp : tr_host[guest]);
}

static void
vzero(struct tr *x, const struct insn *i)
{
	unsigned n;

	if (x->x_64) {
		e_byte(x, 0xc5);
		e_byte(x, i->i_flags & INSN_L ? 0xfc : 0xf8);
		e_byte(x, 0x77);
		return;
	}
	/* There are eight registers. VPXOR, or VMOVAPS from itself. */
	for (n = 0; n < 8; n++) {
		e_byte(x, 0xc5);
		if (i->i_flags & INSN_L) {
			e_byte(x, 0x81 | (~n & 0xf) << 3);
			e_byte(x, 0xef);
		} else {
			e_byte(x, 0xf8);
			e_byte(x, 0x28);
		}
		e_byte(x, 0xc0 | n << 3 | n);
	}
}

static void x87_need(struct tr *, const struct insn *);

bool
tr_vector(struct tr *x, const struct insn *i)
{
	const struct opcode *op = i->i_op;
	unsigned reg = i->i_reg, rm = i->i_rm;

	if (!allowed(x, i))
		return (false);
	/* There is no register 8 to 15 in 32-bit code, whatever imm8 says. */
	if (op->o_rules & O_IS4 && !x->x_64 && i->i_imm & 0x80)
		return (false);
	if (op->o_exec == insn_vzero) {
		vzero(x, i);
		return (true);
	}
	if (op->o_exec == insn_mmx)
		x87_need(x, i);
	if (i->i_flags & INSN_MEM) {
		e_operand(x, i, simd_msize(i), rm_access(i));
		rm = E_MEM;
	} else if (is_class(op->o_rm, R_GPR))
		rm = gpr(x, op->o_rm, i->i_rm, H_T1);
	else if (is_class(op->o_rm, R_MM))
		rm &= 7;
	if (is_class(op->o_reg, R_GPR))
		reg = gpr(x, op->o_reg, i->i_reg, H_T0);
	else if (is_class(op->o_reg, R_MM))
		reg &= 7;

	e_insn(x, i, reg, i->i_vvvv, rm);

	if (is_class(op->o_reg, R_GPR) && op->o_reg & R_WRITE)
		e_put(x, i->i_reg, reg);
	if (is_class(op->o_rm, R_GPR) && op->o_rm & R_WRITE && rm != E_MEM)
		e_put(x, i->i_rm, rm);
	/* The index is in host rcx. */
	if (op->o_rules & O_PCMPSTR && i->i_opcode & 1)
		e_mov(x, H_RCX, H_T0);
	return (true);
}

/* --- MXCSR ------------------------------------------------------------------------- */

/* LDMXCSR and STMXCSR, also in VEX encoding */
bool
tr_mxcsr(struct tr *x, const struct insn *i)
{
	uint8_t *ok, *done;

	if (!allowed(x, i))
		return (false);
	if (i->i_op->o_exec == insn_stmxcsr) {
		e_operand(x, i, 4, ENGINE_WRITE);
		e_rm(x, 0x0fae, 4, 3, H_T0, H_T1, 0, 0);
		return (true);
	}
	e_operand(x, i, 4, ENGINE_READ);
	e_rm(x, 0x8b, 4, H_T0, H_T0, H_T1, 0, 0);
	e_gs(x, 0x89, 4, H_T0, C_TMP);
	/* The host may know more bits than the guest's CPU has (MXCSR_VALID):
	 * movzx high half, ecx */
	e_gs(x, 0x0fb7, 4, H_T0, C_TMP + 2);
	ok = e_jump8(x, E_JRCXZ);
	tr_interp(x);
	done = e_jump8(x, E_JMP8);
	e_patch8(x, ok);
	e_gs(x, 0x0fae, 4, 2, C_TMP);
	e_patch8(x, done);
	return (true);
}

/* --- x87 --------------------------------------------------------------------------- */

static bool
leaves_x87_live(const struct tr *x, const struct insn *i)
{
	return (!(i->i_flags & INSN_MEM) && allowed(x, i) &&
	    (i->i_op->o_rule == tr_x87 || i->i_op->o_exec == insn_mmx));
}

/*
 * The guest's x87 state is in the host's registers. An operand in memory of the
 * instruction before may have come to be accessed by C.
 */
static void
x87_need(struct tr *x, const struct insn *i)
{
	uint8_t *live;

	if (x->x_trace == NULL && x->x_k > 0 && leaves_x87_live(x, i - 1))
		return;
	if (tr_flags_live(x)) {
		e_gs(x, 0x8b, 4, H_T0, C_X87_LIVE);
		e_rm(x, 0x8d, 4, H_T0, H_T0, REG_NONE, 0, -1);
		live = e_jump8(x, E_JRCXZ);
	} else {
		e_gs(x, 0x83, 4, 7, C_X87_LIVE);	/* cmp $0 */
		e_byte(x, 0);
		live = e_jump8(x, 5);			/* jne */
	}
	e_call_thunk(x, THUNK_X87);
	e_patch8(x, live);
}

static void
x87_note_pointers(struct tr *x, const struct insn *i)
{
	if (i->i_flags & INSN_MEM) {
		e_ea(x, i);
		e_gs(x, 0x89, 8, H_T1, C_LAST_EA);
		e_gs(x, 0xc7, 4, 0, C_LAST_SEG);	/* mov imm */
		e_long(x, LAST_SEG_SET | i->i_seg);
	}
	e_code_va(x, H_T1, (int32_t)x->x_off);
	e_gs(x, 0x89, 8, H_T1, C_LAST_IP);
	e_gs(x, 0xc7, 4, 0, C_LAST_OP);
	e_long(x, LAST_OP_SET | (i->i_opcode & 7u) << 8 | i->i_modrm);
}

bool
tr_x87(struct tr *x, const struct insn *i)
{
	const struct opcode *op = i->i_op;

	/* FDP is an offset: here it has to be the linear address as well. */
	if (!allowed(x, i) || (i->i_flags & INSN_MEM && i->i_seg >= SEG_FS))
		return (false);
	x87_need(x, i);
	if (i->i_flags & INSN_MEM) {
		e_operand(x, i, simd_msize(i), rm_access(i));
		e_rm(x, i->i_opcode, 4, i->i_modrm >> 3 & 7, H_T0, H_T1, 0,
		    0);
	} else {
		if (i->i_map == 1)
			e_byte(x, 0x0f);
		e_byte(x, i->i_opcode);
		if (op->o_rules & O_MODRM)
			e_byte(x, i->i_modrm);
	}
	if (op->o_exec == insn_x87)
		x87_note_pointers(x, i);
	return (true);
}
