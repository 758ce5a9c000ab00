/*
 * The instruction decoder (decode.h): prefixes, opcode, ModRM, SIB,
 * displacement and immediate, driven by the rows of opcode.h.
 *
 * 1. No byte beyond code[avail) is read, and none beyond the fifteenth.
 * 2. What depends on the opcode is in its row; code here is about encodings.
 */
#include <string.h>

#include "engine/soft/cpu.h"
#include "engine/soft/decode.h"
#include "engine/soft/opcode.h"

/* The bytes and what the prefixes said. */
struct decoder {
	const uint8_t		*d_code;
	unsigned		 d_avail;
	unsigned		 d_pos;
	const struct decode_mode *d_mode;
	uint8_t			 d_rex;	/* as a REX byte; VEX's R, X, B, W in
					   the same places */
	uint8_t			 d_pfx;	/* PFX_* */
	uint8_t			 d_map;
	bool			 d_w;	/* W, in VEX outside 64-bit code too */
	uint8_t			 d_vvvv;	/* i_vvvv outside 64-bit code too */
	bool			 d_vex;
	bool			 d_have_modrm;
};

#define REX_B	0x01
#define REX_X	0x02
#define REX_R	0x04
#define REX_W	0x08

/* What a byte is as a prefix. */
enum { P_NO, P_SEG, P_66, P_67, P_LOCK, P_F2, P_F3, P_REX };

static const uint8_t prefix_class[256] = {
	[0x26] = P_SEG, [0x2e] = P_SEG, [0x36] = P_SEG, [0x3e] = P_SEG,
	[0x40 ... 0x4f] = P_REX,
	[0x64] = P_SEG, [0x65] = P_SEG, [0x66] = P_66, [0x67] = P_67,
	[0xf0] = P_LOCK, [0xf2] = P_F2, [0xf3] = P_F3,
};

/* That many more bytes must be there. */
static enum decode_result
need(const struct decoder *d, unsigned n)
{
	if (d->d_pos + n > INSN_MAXLEN)
		return (DECODE_GP);
	if (d->d_pos + n > d->d_avail)
		return (DECODE_MORE);
	return (DECODE_OK);
}

#define NEED(d, n)							\
	do {								\
		enum decode_result need_r = need((d), (n));		\
		if (need_r != DECODE_OK)				\
			return (need_r);				\
	} while (0)

/* Little-endian, zero-extended; the bytes are there. */
static uint64_t
take(struct decoder *d, unsigned n)
{
	uint64_t v = 0;

	memcpy(&v, d->d_code + d->d_pos, n);
	d->d_pos += n;
	return (v);
}

static uint64_t
sign_extend(uint64_t v, unsigned bytes)
{
	unsigned shift = 64 - bytes * 8;

	return ((uint64_t)((int64_t)(v << shift) >> shift));
}

/*
 * All prefixes but VEX. The last of F2 and F3 counts; a REX counts only right
 * before the opcode (SDM vol. 2A, 2.2.1); in 64-bit code only FS and GS
 * override (2.2.1, and vol. 1, 3.3.7.1 for the rest).
 */
static enum decode_result
prefixes(struct decoder *d, struct insn *i)
{
	bool code64 = d->d_mode->dm_bits == 64;
	uint8_t b;

	for (;; d->d_pos++) {
		NEED(d, 1);
		b = d->d_code[d->d_pos];
		switch (prefix_class[b]) {
		case P_NO:
			return (DECODE_OK);
		case P_SEG:
			if (b >= 0x64)
				i->i_seg = b == 0x64 ? SEG_FS : SEG_GS;
			else if (!code64)
				i->i_seg = b >> 3 & 3;
			else
				break;
			i->i_flags |= INSN_SEGPFX;
			break;
		case P_66:
			i->i_flags |= INSN_66;
			break;
		case P_67:
			i->i_flags |= INSN_67;
			break;
		case P_LOCK:
			i->i_flags |= INSN_LOCK;
			break;
		case P_F2:
			i->i_flags &= ~INSN_F3;
			i->i_flags |= INSN_F2;
			break;
		case P_F3:
			i->i_flags &= ~INSN_F2;
			i->i_flags |= INSN_F3;
			break;
		case P_REX:
			if (!code64)
				return (DECODE_OK);
			d->d_rex = b;
			continue;
		}
		d->d_rex = 0;
	}
}

/* VEX.pp as the prefix that it stands for. */
static const uint16_t pp_flag[4] = {
	[PFX_66] = INSN_66, [PFX_F3] = INSN_F3, [PFX_F2] = INSN_F2
};

/*
 * C4 or C5 as VEX (SDM vol. 2A, 2.3.5). Outside 64-bit code they are LES and
 * LDS unless the next byte would make r/m a register; then R and X read 1 and
 * B, W and the top of vvvv say nothing about registers (but an unused vvvv
 * must have its top, too).
 */
static enum decode_result
vex(struct decoder *d, struct insn *i, uint8_t first)
{
	uint8_t b;

	if (i->i_flags & (INSN_66 | INSN_F2 | INSN_F3 | INSN_LOCK) ||
	    d->d_rex != 0)
		return (DECODE_UD);
	d->d_vex = true;
	d->d_pos++;
	d->d_map = 1;
	if (first == 0xc4) {
		NEED(d, 2);
		b = take(d, 1);
		/* R, X and B are stored inverted. */
		d->d_rex = ~b >> 5 & (REX_R | REX_X | REX_B);
		d->d_map = b & 0x1f;
		b = take(d, 1);
		d->d_w = b & 0x80;
	} else {
		NEED(d, 1);
		b = take(d, 1);
		d->d_rex = ~b & 0x80 ? REX_R : 0;
	}
	d->d_vvvv = i->i_vvvv = ~b >> 3 & 0xf;
	i->i_flags |= INSN_VEX;
	if (b & 4)
		i->i_flags |= INSN_L;
	if (d->d_w) {
		i->i_flags |= INSN_REXW;
		d->d_rex |= REX_W;
	}
	/* pp: none, 66, F3, F2, as PFX_* */
	d->d_pfx = b & 3;
	i->i_flags |= pp_flag[b & 3];
	if (d->d_mode->dm_bits != 64) {
		d->d_rex = 0;
		i->i_vvvv &= 7;
	}
	if (d->d_map < 1 || d->d_map > 3)
		return (DECODE_UD);
	NEED(d, 1);
	i->i_opcode = take(d, 1);
	return (DECODE_OK);
}

/* The opcode bytes, up to i_opcode in d_map. */
static enum decode_result
opcode(struct decoder *d, struct insn *i)
{
	uint8_t b = d->d_code[d->d_pos];

	if (b == 0xc4 || b == 0xc5) {
		if (d->d_mode->dm_bits == 64)
			return (vex(d, i, b));
		if (!d->d_mode->dm_real) {
			NEED(d, 2);
			if (d->d_code[d->d_pos + 1] >= 0xc0)
				return (vex(d, i, b));
		}
	}
	d->d_pos++;
	if (b == 0x0f) {
		NEED(d, 1);
		b = take(d, 1);
		d->d_map = 1;
		if (b == 0x38 || b == 0x3a) {
			d->d_map = b == 0x38 ? 2 : 3;
			NEED(d, 1);
			b = take(d, 1);
		}
	}
	i->i_opcode = b;
	if (d->d_rex != 0)
		i->i_flags |= INSN_REX;
	if (d->d_rex & REX_W) {
		i->i_flags |= INSN_REXW;
		d->d_w = true;
	}
	if (i->i_flags & INSN_F3)
		d->d_pfx = PFX_F3;
	else if (i->i_flags & INSN_F2)
		d->d_pfx = PFX_F2;
	else if (i->i_flags & INSN_66)
		d->d_pfx = PFX_66;
	return (DECODE_OK);
}

static const struct opcode *
first_row(const struct decoder *d, uint8_t op)
{
	static const struct opcode *const legacy[OPTAB_MAPS][2] = {
		{ optab_onebyte, optab_simd_onebyte },
		{ optab_0f, optab_simd_0f },
		{ optab_0f38, optab_simd_0f38 },
		{ optab_0f3a, optab_simd_0f3a },
	};
	static const struct opcode *const vexed[OPTAB_MAPS][2] = {
		[1] = { optab_simd_vex_0f, optab_simd_vex_0f },
		[2] = { optab_vex_0f38, optab_simd_vex_0f38 },
		[3] = { optab_vex_0f3a, optab_simd_vex_0f3a },
	};
	const struct opcode *const *pair;

	pair = d->d_vex ? vexed[d->d_map] : legacy[d->d_map];
	return (pair[0][op].o_kind != OP_NONE ? &pair[0][op] : &pair[1][op]);
}

static enum decode_result
fetch_modrm(struct decoder *d, struct insn *i)
{
	if (!d->d_have_modrm) {
		NEED(d, 1);
		i->i_modrm = take(d, 1);
		d->d_have_modrm = true;
	}
	return (DECODE_OK);
}

/* Walks from the opcode's row to the instruction's. */
static enum decode_result
find_row(struct decoder *d, struct insn *i)
{
	const struct decode_mode *dm = d->d_mode;
	const struct opcode *row = first_row(d, i->i_opcode), *table = NULL;
	enum decode_result r;
	unsigned n;

	for (;;) {
		switch (row->o_kind) {
		case OP_BY_REG:
		case OP_BY_MOD:
		case OP_BY_RM:
			r = fetch_modrm(d, i);
			if (r != DECODE_OK)
				return (r);
		}
		switch (row->o_kind) {
		case OP_INSN:
			if (dm->dm_features >> row->o_feature & 1 ||
			    row->o_feature == FEAT_NONE) {
				i->i_op = row;
				return (DECODE_OK);
			}
			if (!(row->o_rules & O_FALLBACK))
				return (DECODE_UD);
			row = &table[PFX_NONE];
			continue;
		case OP_BY_REG:
			n = i->i_modrm >> 3 & 7;
			break;
		case OP_BY_MOD:
			n = i->i_modrm >= 0xc0;
			break;
		case OP_BY_RM:
			n = i->i_modrm & 7;
			break;
		case OP_BY_PREFIX:
			n = d->d_pfx;
			break;
		case OP_BY_MODE:
			n = dm->dm_bits == 64;
			break;
		case OP_BY_W:
			n = d->d_w;
			break;
		case OP_BY_L:
			n = (i->i_flags & INSN_L) != 0;
			break;
		default:
			return (DECODE_UD);
		}
		table = row->o_sub;
		row = &table[n];
	}
}

static void
sizes(const struct decoder *d, struct insn *i)
{
	const struct decode_mode *dm = d->d_mode;
	bool code64 = dm->dm_bits == 64, p66 = i->i_flags & INSN_66;
	bool w = d->d_rex & REX_W;
	unsigned v;

	if (code64) {
		v = w ? 8 : p66 ? 2 : 4;
		i->i_asize = i->i_flags & INSN_67 ? 4 : 8;
	} else {
		v = (dm->dm_bits == 32) != p66 ? 4 : 2;
		i->i_asize =
		    (dm->dm_bits == 32) != !!(i->i_flags & INSN_67) ? 4 : 2;
	}

	switch (i->i_op->o_size) {
	case OS_B:
		v = 1;
		break;
	case OS_W:
		v = 2;
		break;
	case OS_D:
		v = 4;
		break;
	case OS_Q:
		v = 8;
		break;
	case OS_Z:
		if (v == 8)
			v = 4;
		break;
	case OS_Y:
		v = w ? 8 : 4;
		break;
	case OS_BRANCH:
		if (code64 && dm->dm_intel)
			v = 8;
		/* FALLTHROUGH */
	case OS_D64:
		if (code64 && v == 4)
			v = 8;
		break;
	case OS_FAR:
		if (v == 8 && !dm->dm_intel)
			v = 4;
		break;
	case OS_F64:
		if (code64)
			v = 8;
		break;
	case OS_MODE:
		v = code64 ? 8 : 4;
		break;
	case OS_X:
		v = i->i_flags & INSN_L ? 32 : 16;
		break;
	default:
		break;
	}
	i->i_osize = v;
}

/* 16-bit addressing (SDM vol. 2A, table 2-1). */
static const struct {
	uint8_t base, index, seg;
} modrm16[8] = {
	{ RBX, RSI, SEG_DS }, { RBX, RDI, SEG_DS },
	{ RBP, RSI, SEG_SS }, { RBP, RDI, SEG_SS },
	{ RSI, REG_NONE, SEG_DS }, { RDI, REG_NONE, SEG_DS },
	{ RBP, REG_NONE, SEG_SS }, { RBX, REG_NONE, SEG_DS },
};

/* SIB (table 2-3). */
static enum decode_result
sib(struct decoder *d, struct insn *i, unsigned mod, unsigned *dispsize)
{
	uint8_t b;

	NEED(d, 1);
	b = take(d, 1);
	i->i_scale = b >> 6;
	i->i_index = (b >> 3 & 7) | (d->d_rex & REX_X) << 2;
	if (i->i_index == RSP && !(i->i_op->o_rules & O_VSIB))
		i->i_index = REG_NONE;
	if ((b & 7) == RBP && mod == 0)
		*dispsize = 4;
	else
		i->i_base = (b & 7) | (d->d_rex & REX_B) << 3;
	return (DECODE_OK);
}

/* The memory operand, after ModRM. */
static enum decode_result
memory(struct decoder *d, struct insn *i)
{
	unsigned mod = i->i_modrm >> 6, rm = i->i_modrm & 7, dispsize;
	uint8_t seg = SEG_DS;
	enum decode_result r;

	i->i_flags |= INSN_MEM;
	if (i->i_asize == 2) {
		dispsize = mod;		/* 0, 1 or 2 */
		if (mod == 0 && rm == 6)
			dispsize = 2;
		else {
			i->i_base = modrm16[rm].base;
			i->i_index = modrm16[rm].index;
			seg = modrm16[rm].seg;
		}
		if (i->i_op->o_rules & O_VSIB)
			return (DECODE_UD);
	} else {
		dispsize = mod == 2 ? 4 : mod;
		if (rm == 4) {
			r = sib(d, i, mod, &dispsize);
			if (r != DECODE_OK)
				return (r);
		} else if (i->i_op->o_rules & O_VSIB)
			return (DECODE_UD);
		else if (rm == 5 && mod == 0) {
			dispsize = 4;
			if (d->d_mode->dm_bits == 64)
				i->i_base = REG_RIP;
		} else
			i->i_base = rm | (d->d_rex & REX_B) << 3;
		/* R12 and R13 go with DS. */
		if (i->i_base == RSP || i->i_base == RBP)
			seg = SEG_SS;
	}
	if (!(i->i_flags & INSN_SEGPFX))
		i->i_seg = seg;
	if (dispsize != 0) {
		NEED(d, dispsize);
		i->i_disp = (int32_t)sign_extend(take(d, dispsize), dispsize);
	}
	return (DECODE_OK);
}

static enum decode_result
immediate(struct decoder *d, struct insn *i)
{
	unsigned z = i->i_osize == 2 ? 2 : 4;

	switch (i->i_op->o_imm) {
	case IMM_B:
		NEED(d, 1);
		i->i_imm = take(d, 1);
		break;
	case IMM_BS:
	case IMM_RELB:
		NEED(d, 1);
		i->i_imm = sign_extend(take(d, 1), 1);
		break;
	case IMM_W:
		NEED(d, 2);
		i->i_imm = take(d, 2);
		break;
	case IMM_Z:
	case IMM_RELZ:
		NEED(d, z);
		i->i_imm = sign_extend(take(d, z), z);
		break;
	case IMM_V:
		NEED(d, i->i_osize);
		i->i_imm = take(d, i->i_osize);
		break;
	case IMM_WB:
		NEED(d, 3);
		i->i_imm = take(d, 2);
		i->i_imm2 = take(d, 1);
		break;
	case IMM_FAR:
		NEED(d, z + 2);
		i->i_imm = take(d, z);
		i->i_imm2 = take(d, 2);
		break;
	case IMM_MOFFS:
		NEED(d, i->i_asize);
		i->i_imm = take(d, i->i_asize);
		break;
	default:
		break;
	}
	return (DECODE_OK);
}

/* The rules of the row that make an encoding #UD. */
static bool
legal(const struct decoder *d, const struct insn *i)
{
	uint32_t rules = i->i_op->o_rules;
	bool mem = i->i_flags & INSN_MEM, code64 = d->d_mode->dm_bits == 64;

	if (rules & (code64 ? O_NO64 : O_ONLY64))
		return (false);
	if (rules & O_PROT && d->d_mode->dm_real)
		return (false);
	if (rules & (mem ? O_REG : O_MEM))
		return (false);
	if (i->i_flags & INSN_LOCK && !(rules & O_LOCK && mem))
		return (false);
	if (!d->d_vex)
		return (true);
	if (rules & (d->d_w ? O_W0 : O_W1))
		return (false);
	if (rules & (i->i_flags & INSN_L ? O_L0 : O_L1))
		return (false);
	if (i->i_op->o_vvvv == R_NONE && d->d_vvvv != 0)
		return (false);
	if (rules & O_VSIB && (i->i_reg == i->i_index ||
	    i->i_reg == i->i_vvvv || i->i_index == i->i_vvvv))
		return (false);
	return (true);
}

enum decode_result
insn_decode(const uint8_t *code, unsigned avail, const struct decode_mode *dm,
    struct insn *i)
{
	struct decoder d = { .d_code = code, .d_avail = avail, .d_mode = dm };
	const struct opcode *op;
	enum decode_result r;

	memset(i, 0, sizeof(*i));
	i->i_seg = SEG_DS;
	i->i_base = i->i_index = REG_NONE;

	if ((r = prefixes(&d, i)) != DECODE_OK ||
	    (r = opcode(&d, i)) != DECODE_OK ||
	    (r = find_row(&d, i)) != DECODE_OK)
		return (r);
	op = i->i_op;
	i->i_map = d.d_map;
	sizes(&d, i);

	if (op->o_rules & O_MODRM) {
		if ((r = fetch_modrm(&d, i)) != DECODE_OK)
			return (r);
		i->i_reg = i->i_modrm >> 3 & 7;
		if (!(op->o_rules & O_REX_R))
			i->i_reg |= (d.d_rex & REX_R) << 1;
		i->i_rm = (i->i_modrm & 7) | (d.d_rex & REX_B) << 3;
		if (i->i_modrm < 0xc0 && !(op->o_rules & O_MODREG) &&
		    (r = memory(&d, i)) != DECODE_OK)
			return (r);
	} else
		i->i_rm = (i->i_opcode & 7) | (d.d_rex & REX_B) << 3;
	if ((r = immediate(&d, i)) != DECODE_OK)
		return (r);
	if (!legal(&d, i))
		return (DECODE_UD);

	if (op->o_rules & O_STRING) {
		if (i->i_flags & INSN_F3)
			i->i_flags |= INSN_REP | INSN_END;
		if (i->i_flags & INSN_F2)
			i->i_flags |= INSN_REPNE | INSN_END;
	}
	/* VEX.pp stands for a prefix, as mandatory ones do */
	if (d.d_vex && d.d_pfx != PFX_NONE)
		i->i_flags |= d.d_pfx == PFX_66 ? INSN_66 :
		    d.d_pfx == PFX_F3 ? INSN_F3 : INSN_F2;
	if (op->o_rules & O_IO)
		i->i_flags |= INSN_IO | INSN_END;
	if (op->o_rules & O_END)
		i->i_flags |= INSN_END;
	i->i_exec = op->o_variants == NULL ? op->o_exec :
	    op->o_variants[__builtin_ctz(i->i_osize)]
	    [(i->i_flags & INSN_MEM) != 0];
	i->i_len = d.d_pos;
	return (DECODE_OK);
}

const char *
insn_name(const struct insn *i)
{
	return (i->i_op->o_name);
}
