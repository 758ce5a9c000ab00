/*
 * The decoder against Zydis: validity, length, sizes, operands and immediates
 * of generated encodings (all opcode maps, prefixes and ModRM bytes in the
 * three modes) and of random bytes. What differs rightly is listed in
 * excuses[] with its reason.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <Zydis/Zydis.h>

#include "engine/soft/cpu.h"
#include "engine/soft/decode.h"
#include "engine/soft/opcode.h"

#define MAX_REPORTS	40

/* Sanitizers make both decoders slow: take every nth encoding. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STRIDE	7
#else
#define STRIDE	1
#endif

struct oracle {
	ZydisDecoder		 o_zydis;
	struct decode_mode	 o_mode;
	uint64_t		 o_random;
	uint64_t		 o_checked;
	unsigned		 o_failed;
	unsigned		 o_reports;
	unsigned		 o_turn;
	bool			 o_reported[4][256];	/* map, opcode */
};

/* One encoding as both see it. */
struct both {
	const uint8_t		*code;
	enum decode_result	 result;
	struct insn		 insn;
	bool			 valid;		/* to Zydis */
	ZydisDecodedInstruction	 zydis;
	ZydisDecodedOperand	 operand[ZYDIS_MAX_OPERAND_COUNT];
};

static uint64_t
next_random(struct oracle *o)
{
	uint64_t x = o->o_random;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (o->o_random = x);
}

/* --- differences that are right ------------------------------------------------ */

static bool
isa_not_offered(const struct both *b)
{
	static const uint8_t sets[] = {
		ZYDIS_ISA_SET_AMD3DNOW, ZYDIS_ISA_SET_AMD_INVLPGB,
		ZYDIS_ISA_SET_AMX_BF16, ZYDIS_ISA_SET_AMX_INT8,
		ZYDIS_ISA_SET_AMX_TILE, ZYDIS_ISA_SET_AVX_VNNI,
		ZYDIS_ISA_SET_CET, ZYDIS_ISA_SET_CLZERO,
		ZYDIS_ISA_SET_ENQCMD, ZYDIS_ISA_SET_FMA4,
		ZYDIS_ISA_SET_HRESET, ZYDIS_ISA_SET_KEYLOCKER,
		ZYDIS_ISA_SET_KEYLOCKER_WIDE, ZYDIS_ISA_SET_LWP,
		ZYDIS_ISA_SET_MCOMMIT, ZYDIS_ISA_SET_MONITOR,
		ZYDIS_ISA_SET_MONITORX, ZYDIS_ISA_SET_MOVDIR,
		ZYDIS_ISA_SET_PADLOCK_ACE, ZYDIS_ISA_SET_PADLOCK_PHE,
		ZYDIS_ISA_SET_PADLOCK_PMM, ZYDIS_ISA_SET_PADLOCK_RNG,
		ZYDIS_ISA_SET_PCONFIG, ZYDIS_ISA_SET_PKU, ZYDIS_ISA_SET_PT,
		ZYDIS_ISA_SET_RDPRU, ZYDIS_ISA_SET_RTM,
		ZYDIS_ISA_SET_SERIALIZE, ZYDIS_ISA_SET_SGX,
		ZYDIS_ISA_SET_SGX_ENCLV, ZYDIS_ISA_SET_SMX,
		ZYDIS_ISA_SET_SNP, ZYDIS_ISA_SET_SVM, ZYDIS_ISA_SET_TBM,
		ZYDIS_ISA_SET_TDX, ZYDIS_ISA_SET_TSX_LDTRK,
		ZYDIS_ISA_SET_UINTR, ZYDIS_ISA_SET_VMFUNC,
		ZYDIS_ISA_SET_SSE4A, ZYDIS_ISA_SET_GFNI,
		ZYDIS_ISA_SET_AVX_GFNI, ZYDIS_ISA_SET_VAES,
		ZYDIS_ISA_SET_VPCLMULQDQ, ZYDIS_ISA_SET_VTX,
		ZYDIS_ISA_SET_WAITPKG, ZYDIS_ISA_SET_XOP,
	};
	size_t n;

	if (!b->valid || b->result != DECODE_UD)
		return (false);
	for (n = 0; n < sizeof(sets); n++) {
		if (b->zydis.meta.isa_set == sets[n])
			return (true);
	}
	return (b->zydis.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX ||
	    b->zydis.encoding == ZYDIS_INSTRUCTION_ENCODING_MVEX ||
	    b->zydis.meta.isa_set == ZYDIS_ISA_SET_AVX512F_KOP ||
	    b->zydis.meta.isa_set == ZYDIS_ISA_SET_AVX512BW_KOP ||
	    b->zydis.meta.isa_set == ZYDIS_ISA_SET_AVX512DQ_KOP);
}

static bool
no_such_register(const struct both *b)
{
	const struct insn *i = &b->insn;

	return (!b->valid && b->result == DECODE_OK && i->i_map == 1 &&
	    i->i_opcode >= 0x20 && i->i_opcode <= 0x23);
}

/* With 32-bit addresses it takes R13D for a base that mod 0 does not have. */
static bool
zydis_r13d(const struct both *b)
{
	const struct insn *i = &b->insn;

	return (b->valid && b->result == DECODE_OK && i->i_flags & INSN_MEM &&
	    i->i_asize == 4 && i->i_modrm < 0x40 && (i->i_modrm & 7) == 4 &&
	    (b->zydis.raw.sib.base & 7) == 5 && b->zydis.raw.rex.B +
	    b->zydis.raw.vex.B != 0);
}

static bool
knights_corner(const struct both *b)
{
	switch (b->zydis.meta.isa_set) {
	case ZYDIS_ISA_SET_KNCE:
	case ZYDIS_ISA_SET_KNCJKBR:
	case ZYDIS_ISA_SET_KNCSTREAM:
	case ZYDIS_ISA_SET_KNCV:
	case ZYDIS_ISA_SET_KNC_MISC:
	case ZYDIS_ISA_SET_KNC_PF_HINT:
		return (b->valid && b->result == DECODE_UD);
	default:
		return (false);
	}
}

static bool
outside_smm(const struct both *b)
{
	return (b->valid && b->zydis.mnemonic == ZYDIS_MNEMONIC_RSM &&
	    b->result == DECODE_UD);
}

static bool
prefetch_register(const struct both *b)
{
	return (b->valid && b->result == DECODE_UD &&
	    b->zydis.meta.isa_set == ZYDIS_ISA_SET_PREFETCH_NOP);
}

static bool
crc32_width(const struct both *b)
{
	return (b->valid && b->zydis.mnemonic == ZYDIS_MNEMONIC_CRC32 &&
	    b->result == DECODE_OK && b->insn.i_opcode == 0xf0 &&
	    b->insn.i_osize == 1);
}

static struct {
	bool		(*matches)(const struct both *);
	const char	*reason;
	uint64_t	 count;
} excuses[] = {
	{ isa_not_offered, "the guest's CPUID does not offer it", 0 },
	{ no_such_register, "CR or DR that does not exist: its handler", 0 },
	{ knights_corner, "no amd64 CPU has it", 0 },
	{ outside_smm, "#UD outside system management mode", 0 },
	{ prefetch_register, "0F 0D of a register is #UD on AMD", 0 },
	{ crc32_width, "Zydis gives the destination's width", 0 },
	{ zydis_r13d, "Zydis 4.0 is wrong", 0 },
};

static bool
excused(const struct both *b)
{
	size_t n;

	for (n = 0; n < sizeof(excuses) / sizeof(excuses[0]); n++) {
		if (excuses[n].matches(b)) {
			excuses[n].count++;
			return (true);
		}
	}
	return (false);
}

/* --- comparison ---------------------------------------------------------------- */

/* A GPR's number as encoded, or REG_NONE, REG_RIP. */
static unsigned
gpr_number(ZydisRegister r)
{
	if (r == ZYDIS_REGISTER_NONE)
		return (REG_NONE);
	if (r == ZYDIS_REGISTER_RIP || r == ZYDIS_REGISTER_EIP)
		return (REG_RIP);
	if (r >= ZYDIS_REGISTER_AL && r <= ZYDIS_REGISTER_BH)
		return (r - ZYDIS_REGISTER_AL);
	if (r >= ZYDIS_REGISTER_SPL && r <= ZYDIS_REGISTER_DIL)
		return (r - ZYDIS_REGISTER_SPL + 4);
	if (r >= ZYDIS_REGISTER_R8B && r <= ZYDIS_REGISTER_R15B)
		return (r - ZYDIS_REGISTER_R8B + 8);
	return ((unsigned)ZydisRegisterGetId(r));
}

static unsigned
segment_number(ZydisRegister r)
{
	return ((unsigned)ZydisRegisterGetId(r));
}

/* Is the register of a class that i_reg, i_rm and i_vvvv number? */
static bool
is_numbered(ZydisRegister r)
{
	switch (ZydisRegisterGetClass(r)) {
	case ZYDIS_REGCLASS_GPR8:
	case ZYDIS_REGCLASS_GPR16:
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64:
	case ZYDIS_REGCLASS_XMM:
	case ZYDIS_REGCLASS_YMM:
		return (true);
	default:
		return (false);
	}
}

static const char *
memory_differs(const struct insn *i, const ZydisDecodedOperandMem *m)
{
	unsigned index = gpr_number(m->index);

	if (!(i->i_flags & INSN_MEM))
		return ("memory operand");
	if (i->i_base != gpr_number(m->base))
		return ("base");
	if (i->i_index != index)
		return ("index");
	if (index != REG_NONE && 1u << i->i_scale != m->scale)
		return ("scale");
	if (i->i_disp != (m->disp.has_displacement ?
	    (int32_t)m->disp.value : 0))
		return ("displacement");
	if (m->type != ZYDIS_MEMOP_TYPE_AGEN &&
	    i->i_seg != segment_number(m->segment))
		return ("segment");
	return (NULL);
}

static const char *
operands_differ(const struct both *b)
{
	const struct insn *i = &b->insn;
	const ZydisDecodedOperand *op;
	const char *what;
	unsigned n;

	for (n = 0; n < b->zydis.operand_count; n++) {
		op = &b->operand[n];
		switch (op->encoding) {
		case ZYDIS_OPERAND_ENCODING_MODRM_REG:
			if (is_numbered(op->reg.value) &&
			    gpr_number(op->reg.value) != i->i_reg)
				return ("reg");
			break;
		case ZYDIS_OPERAND_ENCODING_MODRM_RM:
			if (op->type == ZYDIS_OPERAND_TYPE_MEMORY) {
				what = memory_differs(i, &op->mem);
				if (what != NULL)
					return (what);
			} else if (i->i_flags & INSN_MEM)
				return ("no memory operand");
			else if (is_numbered(op->reg.value) &&
			    gpr_number(op->reg.value) != i->i_rm)
				return ("r/m");
			break;
		case ZYDIS_OPERAND_ENCODING_OPCODE:
			if (is_numbered(op->reg.value) &&
			    gpr_number(op->reg.value) != i->i_rm)
				return ("opcode register");
			break;
		case ZYDIS_OPERAND_ENCODING_NDSNDD:
			if (is_numbered(op->reg.value) &&
			    gpr_number(op->reg.value) != i->i_vvvv)
				return ("vvvv");
			break;
		default:
			break;
		}
	}
	return (NULL);
}

static const char *
immediate_differs(const struct both *b)
{
	const struct insn *i = &b->insn;
	unsigned size, n;
	uint64_t mask, v;

	for (n = 0; n < b->zydis.operand_count; n++) {
		if (b->operand[n].type == ZYDIS_OPERAND_TYPE_POINTER)
			return (i->i_imm == b->operand[n].ptr.offset &&
			    i->i_imm2 == b->operand[n].ptr.segment ? NULL :
			    "far pointer");
	}
	size = b->zydis.raw.imm[0].size;
	if (size == 0) {
		if (i->i_op->o_imm == IMM_MOFFS)
			v = (uint64_t)b->zydis.raw.disp.value;
		else
			return (i->i_op->o_imm == IMM_NONE ? NULL :
			    "immediate that is not there");
		size = i->i_asize * 8;
	} else
		v = b->zydis.raw.imm[0].value.u;
	mask = size == 64 ? UINT64_MAX : (UINT64_C(1) << size) - 1;
	if ((i->i_imm & mask) != (v & mask))
		return ("immediate");
	/* Sign-extended or not at all. */
	switch (i->i_op->o_imm) {
	case IMM_BS:
	case IMM_RELB:
	case IMM_Z:
	case IMM_RELZ:
		v = (uint64_t)((int64_t)(v << (64 - size)) >> (64 - size));
		break;
	default:
		v &= mask;
	}
	if (i->i_imm != v)
		return ("immediate's extension");
	if (b->zydis.raw.imm[1].size != 0 &&
	    i->i_imm2 != b->zydis.raw.imm[1].value.u)
		return ("second immediate");
	return (NULL);
}

/*
 * The row's masks of arithmetic flags against the manual's. A row may say that
 * more is read, for where flags may also be kept, and that more is undefined,
 * for where that depends on the count of a shift.
 */
static const char *
flags_differ(const struct both *b)
{
	const struct opcode *op = b->insn.i_op;
	const ZydisAccessedFlags *z = b->zydis.cpu_flags;
	uint32_t out, undef;

	if (z == NULL)
		return (NULL);
	switch (b->zydis.mnemonic) {	/* Zydis 4.0 is wrong about: */
	case ZYDIS_MNEMONIC_SBB:	/* AF is defined */
	case ZYDIS_MNEMONIC_BEXTR:	/* CF and OF are cleared */
	case ZYDIS_MNEMONIC_VPTEST:	/* clear OF, SF, AF, PF, as PTEST */
	case ZYDIS_MNEMONIC_VTESTPS:
	case ZYDIS_MNEMONIC_VTESTPD:
		return (NULL);
	default:
		break;
	}
	undef = z->undefined & FL_ARITH;
	out = (z->modified | z->set_0 | z->set_1 | z->undefined) & FL_ARITH;
	if ((z->tested & FL_ARITH & ~(uint32_t)op->o_in) != 0)
		return ("flags read");
	if (out != op->o_out)
		return ("flags written");
	if ((undef & ~(uint32_t)op->o_undef) != 0)
		return ("flags undefined");
	return (NULL);
}

/* What is different, or NULL. */
static const char *
differs(const struct both *b)
{
	const struct insn *i = &b->insn;
	const char *what;

	if (b->valid != (b->result == DECODE_OK))
		return (b->valid ? "valid to Zydis only" : "valid to us only");
	if (!b->valid)
		return (NULL);
	if (i->i_exec == NULL)
		return ("no handler");
	if (i->i_len != b->zydis.length)
		return ("length");
	if (i->i_asize * 8 != b->zydis.address_width)
		return ("address size");
	switch (i->i_op->o_size) {
	case OS_V:
	case OS_B:
	case OS_Z:
	case OS_D64:
	case OS_BRANCH:
		if (i->i_op->o_variants != NULL &&
		    i->i_osize * 8 != b->zydis.operand_width)
			return ("operand size");
	}
	if ((what = operands_differ(b)) != NULL ||
	    (what = immediate_differs(b)) != NULL)
		return (what);
	return (flags_differ(b));
}

static void
report(struct oracle *o, const struct both *b, const char *what)
{
	char text[96] = "(none)";
	unsigned n, len, map, op;

	/* One of each opcode is enough to read. */
	o->o_failed++;
	map = b->insn.i_map & 3;
	op = b->insn.i_opcode;
	if (o->o_reported[map][op] || o->o_reports++ >= MAX_REPORTS)
		return;
	o->o_reported[map][op] = true;
	len = b->valid ? b->zydis.length : b->result == DECODE_OK ?
	    b->insn.i_len : 15;
	fprintf(stderr, "# %u-bit ", o->o_mode.dm_bits);
	for (n = 0; n < len; n++)
		fprintf(stderr, "%02x ", b->code[n]);
	if (b->valid) {
		ZydisFormatter f;

		ZydisFormatterInit(&f, ZYDIS_FORMATTER_STYLE_INTEL);
		ZydisFormatterFormatInstruction(&f, &b->zydis, b->operand,
		    b->zydis.operand_count_visible, text, sizeof(text), 0,
		    NULL);
	}
	fprintf(stderr, "%s: Zydis \"%s\" isa %u, we %s\n", what, text,
	    b->valid ? b->zydis.meta.isa_set : 0, b->result == DECODE_OK ?
	    insn_name(&b->insn) : b->result == DECODE_UD ? "#UD" : "#GP");
}

static void
check(struct oracle *o, const uint8_t code[15])
{
	struct both b = { .code = code };
	const char *what;

	o->o_checked++;
	b.result = insn_decode(code, 15, &o->o_mode, &b.insn);
	b.valid = ZYAN_SUCCESS(ZydisDecoderDecodeFull(&o->o_zydis, code, 15,
	    &b.zydis, b.operand));
	what = differs(&b);
	if (what != NULL && !excused(&b))
		report(o, &b, what);
}

/* --- encodings ------------------------------------------------------------------ */

static void
oracle_init(struct oracle *o, unsigned bits, bool intel)
{
	static uint64_t seed;
	const char *env = getenv("SEED");

	if (seed == 0) {
		seed = env != NULL ? strtoull(env, NULL, 0) :
		    (uint64_t)time(NULL) << 20 | 1;
		fprintf(stderr, "# SEED=%#llx\n", (unsigned long long)seed);
	}
	memset(o, 0, sizeof(*o));
	o->o_random = seed;
	o->o_mode.dm_bits = bits;
	o->o_mode.dm_intel = intel;
	o->o_mode.dm_features = UINT64_MAX;
	switch (bits) {
	case 64:
		ZydisDecoderInit(&o->o_zydis, ZYDIS_MACHINE_MODE_LONG_64,
		    ZYDIS_STACK_WIDTH_64);
		break;
	case 32:
		ZydisDecoderInit(&o->o_zydis, ZYDIS_MACHINE_MODE_LEGACY_32,
		    ZYDIS_STACK_WIDTH_32);
		break;
	default:
		ZydisDecoderInit(&o->o_zydis, ZYDIS_MACHINE_MODE_LEGACY_16,
		    ZYDIS_STACK_WIDTH_16);
	}
	ZydisDecoderEnableMode(&o->o_zydis, ZYDIS_DECODER_MODE_AMD_BRANCHES,
	    intel ? ZYAN_FALSE : ZYAN_TRUE);
	ZydisDecoderEnableMode(&o->o_zydis, ZYDIS_DECODER_MODE_MPX,
	    ZYAN_FALSE);
	ZydisDecoderEnableMode(&o->o_zydis, ZYDIS_DECODER_MODE_CET,
	    ZYAN_FALSE);
	ZydisDecoderEnableMode(&o->o_zydis, ZYDIS_DECODER_MODE_CLDEMOTE,
	    ZYAN_FALSE);
}

/* The bytes from at on random. */
static void
fill(struct oracle *o, uint8_t code[16], unsigned at)
{
	uint64_t r[2] = { next_random(o), next_random(o) };

	memcpy(code + at, r, 15 - at);
}

/* Prefix, opcode map and opcode, then every ModRM. */
static void
check_opcode(struct oracle *o, const uint8_t *prefix, unsigned nprefix,
    unsigned op)
{
	uint8_t code[16];
	unsigned modrm;

	memcpy(code, prefix, nprefix);
	code[nprefix] = (uint8_t)op;
	for (modrm = 0; modrm < 256; modrm++) {
		if (++o->o_turn % STRIDE != 0)
			continue;
		fill(o, code, nprefix + 1);
		code[nprefix + 1] = (uint8_t)modrm;
		check(o, code);
	}
}

static const struct {
	const char	*bytes;
	bool		 only64;
} prefixes[] = {
	{ "", false }, { "\x66", false }, { "\xf3", false },
	{ "\xf2", false }, { "\x67", false }, { "\xf0", false },
	{ "\x64", false }, { "\x2e", false }, { "\x65\x66", false },
	{ "\x66\xf3", false }, { "\xf2\x66", false }, { "\xf3\xf2", false },
	{ "\x36\x67", false }, { "\xf0\x66", false }, { "\xf0\xf3", false },
	{ "\x64\x3e", false },
	{ "\x40", true }, { "\x41", true }, { "\x42", true },
	{ "\x44", true }, { "\x48", true }, { "\x4f", true },
	{ "\x66\x48", true }, { "\x66\x45", true }, { "\xf3\x48", true },
	{ "\xf2\x4c", true }, { "\x67\x43", true }, { "\x48\x66", true },
	{ "\xf0\x48", true },
};

static void
check_legacy(struct oracle *o)
{
	static const char *const maps[] = { "", "\x0f", "\x0f\x38",
	    "\x0f\x3a" };
	uint8_t bytes[8];
	unsigned p, m, op, n;

	for (p = 0; p < sizeof(prefixes) / sizeof(prefixes[0]); p++) {
		if (prefixes[p].only64 && o->o_mode.dm_bits != 64)
			continue;
		for (m = 0; m < 4; m++) {
			n = (unsigned)(strlen(prefixes[p].bytes) +
			    strlen(maps[m]));
			memcpy(bytes, prefixes[p].bytes,
			    strlen(prefixes[p].bytes));
			memcpy(bytes + strlen(prefixes[p].bytes), maps[m],
			    strlen(maps[m]));
			for (op = 0; op < 256; op++)
				check_opcode(o, bytes, n, op);
		}
	}
}

/* C4 with every map, pp, L, W; vvvv all ones and another, RXB at random. */
static void
check_vex(struct oracle *o)
{
	uint8_t bytes[3] = { 0xc4 };
	unsigned map, last, op;

	for (map = 1; map <= 3; map++) {
		for (last = 0; last < 32; last++) {
			/* W pp L, and whether vvvv is 1111b */
			bytes[2] = (uint8_t)((last & 8) << 4 | (last & 7));
			for (op = 0; op < 256; op++) {
				bytes[1] = (uint8_t)(map | (next_random(o) &
				    0xe0));
				bytes[2] |= 0x78;
				if (last & 16)
					bytes[2] ^= (next_random(o) & 0xf) << 3;
				check_opcode(o, bytes, 3, op);
			}
		}
	}
	for (last = 0; last < 256; last++) {
		bytes[0] = 0xc5;
		bytes[1] = (uint8_t)last;
		for (op = 0; op < 256; op++)
			check_opcode(o, bytes, 2, op);
	}
}

static void
check_random(struct oracle *o)
{
	uint8_t code[16];
	unsigned n;

	for (n = 0; n < 2000000 / STRIDE; n++) {
		fill(o, code, 0);
		check(o, code);
		/* Runs of prefixes, up to the limit of 15 bytes. */
		if (n % 4 == 0) {
			unsigned k, len = next_random(o) % 15;

			for (k = 0; k < len; k++)
				code[k] = (uint8_t)prefixes[next_random(o) %
				    8].bytes[0];
			check(o, code);
		}
	}
}

static void
finish(const struct oracle *o)
{
	fprintf(stderr, "# %llu encodings, %u differ\n",
	    (unsigned long long)o->o_checked, o->o_failed);
	assert_int_equal(o->o_failed, 0);
}

static void
run(unsigned bits, bool intel, void (*test)(struct oracle *))
{
	struct oracle o;

	oracle_init(&o, bits, intel);
	test(&o);
	finish(&o);
}

static void
test_legacy64(void **state)
{
	(void)state;
	run(64, false, check_legacy);
}

static void
test_legacy64_intel(void **state)
{
	(void)state;
	run(64, true, check_legacy);
}

static void
test_legacy32(void **state)
{
	(void)state;
	run(32, false, check_legacy);
}

static void
test_legacy16(void **state)
{
	(void)state;
	run(16, false, check_legacy);
}

static void
test_vex64(void **state)
{
	(void)state;
	run(64, false, check_vex);
}

static void
test_vex32(void **state)
{
	(void)state;
	run(32, false, check_vex);
}

static void
test_random(void **state)
{
	(void)state;
	run(64, false, check_random);
	run(32, false, check_random);
	run(16, false, check_random);
}

/* --- without the oracle ----------------------------------------------------------- */

/* Each shorter piece of a valid instruction asks for more and reads no byte
 * that is not there; all of it needs nothing after it. */
static void
test_short(void **state)
{
	struct oracle o;
	struct insn whole, part;
	uint8_t code[16], *exact;
	unsigned n, len;

	(void)state;
	oracle_init(&o, 64, false);
	for (n = 0; n < 100000; n++) {
		fill(&o, code, 0);
		o.o_mode.dm_bits = 16u << n % 3;
		if (insn_decode(code, 15, &o.o_mode, &whole) != DECODE_OK)
			continue;
		for (len = 0; len <= whole.i_len; len++) {
			exact = malloc(len + 1);	/* never 0 bytes */
			assert_non_null(exact);
			memcpy(exact + 1, code, len);
			assert_int_equal(insn_decode(exact + 1, len, &o.o_mode,
			    &part), len < whole.i_len ? DECODE_MORE :
			    DECODE_OK);
			free(exact);
		}
		assert_memory_equal(&whole, &part, sizeof(whole));
	}
}

static const struct {
	const char	*what;
	const char	*bytes;
	unsigned	 len;
	uint8_t		 bits;
	bool		 real;
	bool		 features;
	enum decode_result expect;
	const char	*name;
} cases[] = {
	{ "14 prefixes and NOP", "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66"
	    "\x66\x66\x66\x66\x90", 15, 64, false, true, DECODE_OK, "xchg" },
	{ "15 prefixes", "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66"
	    "\x66\x66\x66\x66\x66", 15, 64, false, true, DECODE_GP, NULL },
	{ "16 bytes", "\x2e\x2e\x2e\x2e\x2e\x81\x84\x24\0\0\0\0\0\0\0", 15,
	    64, false, true, DECODE_GP, NULL },
	{ "VEX in real mode", "\xc5\xf8\x77\xc0", 4, 16, true, true,
	    DECODE_UD, NULL },
	{ "LDS in real mode", "\xc5\x07\0\0", 4, 16, true, true, DECODE_OK,
	    "lds" },
	{ "SLDT in real mode", "\x0f\0\xc0\0", 4, 16, true, true, DECODE_UD,
	    NULL },
	{ "SLDT", "\x0f\0\xc0\0", 4, 16, false, true, DECODE_OK, "sldt" },
	{ "LZCNT not offered", "\xf3\x0f\xbd\xc0", 4, 64, false, false,
	    DECODE_OK, "bsr" },
	{ "LZCNT", "\xf3\x0f\xbd\xc0", 4, 64, false, true, DECODE_OK,
	    "lzcnt" },
	{ "TZCNT not offered", "\xf3\x0f\xbc\xc0", 4, 64, false, false,
	    DECODE_OK, "bsf" },
	{ "POPCNT not offered", "\xf3\x0f\xb8\xc0", 4, 64, false, false,
	    DECODE_UD, NULL },
	{ "MOVBE not offered", "\x0f\x38\xf0\x00", 4, 64, false, false,
	    DECODE_UD, NULL },
	{ "LAHF not offered in 64-bit code", "\x9f\0\0\0", 4, 64, false,
	    false, DECODE_UD, NULL },
	{ "LAHF in 32-bit code", "\x9f\0\0\0", 4, 32, false, false,
	    DECODE_OK, "lahf" },
	{ "MONITOR", "\x0f\x01\xc8\0", 4, 64, false, true, DECODE_UD, NULL },
	{ "VMCALL", "\x0f\x01\xc1\0", 4, 64, false, true, DECODE_UD, NULL },
	{ "VMMCALL", "\x0f\x01\xd9\0", 4, 64, false, true, DECODE_UD, NULL },
	{ "EVEX", "\x62\xf1\x7c\x48\x58\xc1\0\0\0\0\0\0\0\0\0", 15, 64, false,
	    true, DECODE_UD, NULL },
	{ "XOP", "\x8f\xe9\x78\xe1\xc1\0\0\0\0\0\0\0\0\0\0", 15, 64, false,
	    true, DECODE_UD, NULL },
};

static void
test_cases(void **state)
{
	struct insn insn;
	size_t n;

	(void)state;
	for (n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
		struct decode_mode dm = {
			.dm_bits = cases[n].bits,
			.dm_real = cases[n].real,
			.dm_features = cases[n].features ? UINT64_MAX : 0,
		};
		enum decode_result r;

		r = insn_decode((const uint8_t *)cases[n].bytes, cases[n].len,
		    &dm, &insn);
		if (r != cases[n].expect || (r == DECODE_OK &&
		    strcmp(insn_name(&insn), cases[n].name) != 0))
			fail_msg("%s: %d %s", cases[n].what, (int)r,
			    r == DECODE_OK ? insn_name(&insn) : "");
	}
}

/* Rows that could not work, whatever the encoding. */
static void
check_row(const struct opcode *row, const char *table, unsigned at)
{
	static const uint8_t entries[] = {
		[OP_BY_REG] = 8, [OP_BY_MOD] = 2, [OP_BY_RM] = 8,
		[OP_BY_PREFIX] = 4, [OP_BY_MODE] = 2, [OP_BY_W] = 2,
		[OP_BY_L] = 2,
	};
	const char *wrong = NULL;
	unsigned n;

	if (row->o_kind == OP_NONE)
		return;
	if (row->o_kind != OP_INSN) {
		if (row->o_kind > OP_BY_L || row->o_sub == NULL)
			fail_msg("%s %02x: no further table", table, at);
		for (n = 0; n < entries[row->o_kind]; n++)
			check_row(&row->o_sub[n], table, at);
		return;
	}
	if (row->o_name == NULL)
		wrong = "no name";
	else if ((row->o_exec == NULL) == (row->o_variants == NULL))
		wrong = "not one handler";
	else if (row->o_feature >= FEAT_COUNT)
		wrong = "unknown feature";
	else if ((row->o_rules & (O_MEM | O_REG)) == (O_MEM | O_REG))
		wrong = "neither memory nor register";
	else if (row->o_rules & (O_MEM | O_REG | O_LOCK | O_MODREG | O_VSIB) &&
	    !(row->o_rules & O_MODRM))
		wrong = "r/m rule without ModRM";
	else if ((row->o_rules & (O_NO64 | O_ONLY64)) == (O_NO64 | O_ONLY64))
		wrong = "in no mode";
	else if ((row->o_undef & ~row->o_out) != 0)
		wrong = "undefined flags that are not written";
	else if (row->o_variants != NULL && row->o_size == OS_X)
		wrong = "variants by a vector's size";
	if (wrong != NULL)
		fail_msg("%s %02x %s: %s", table, at,
		    row->o_name != NULL ? row->o_name : "", wrong);
}

static void
test_rows(void **state)
{
	static const struct {
		const struct opcode *table;
		const char	*name;
	} tables[] = {
		{ optab_onebyte, "one byte" }, { optab_0f, "0F" },
		{ optab_0f38, "0F38" }, { optab_0f3a, "0F3A" },
		{ optab_vex_0f38, "VEX 0F38" }, { optab_vex_0f3a, "VEX 0F3A" },
		{ optab_simd_onebyte, "simd one byte" },
		{ optab_simd_0f, "simd 0F" }, { optab_simd_0f38, "simd 0F38" },
		{ optab_simd_0f3a, "simd 0F3A" },
		{ optab_simd_vex_0f, "simd VEX 0F" },
		{ optab_simd_vex_0f38, "simd VEX 0F38" },
		{ optab_simd_vex_0f3a, "simd VEX 0F3A" },
	};
	size_t t;
	unsigned n;

	(void)state;
	for (t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
		for (n = 0; n < 256; n++)
			check_row(&tables[t].table[n], tables[t].name, n);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_short),
		cmocka_unit_test(test_legacy64),
		cmocka_unit_test(test_legacy64_intel),
		cmocka_unit_test(test_legacy32),
		cmocka_unit_test(test_legacy16),
		cmocka_unit_test(test_vex64),
		cmocka_unit_test(test_vex32),
		cmocka_unit_test(test_random),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
