/*
 * Encodings and states (gen.h).
 */
#include "gen.h"

#include <stdlib.h>
#include <string.h>

#include "../lib/bare.h"
#include "engine/soft/cpu.h"
#include "engine/soft/decode.h"
#include "engine/soft/handlers.h"
#include "engine/soft/opcode.h"

/* --- random numbers: xorshift64* ------------------------------------------------- */

uint64_t
rng_next(struct rng *r)
{
	r->r_state ^= r->r_state >> 12;
	r->r_state ^= r->r_state << 25;
	r->r_state ^= r->r_state >> 27;
	return (r->r_state * 0x2545f4914f6cdd1du);
}

unsigned
rng_below(struct rng *r, unsigned n)
{
	return ((unsigned)((rng_next(r) >> 32) * n >> 32));
}

#define ONE_IN(r, n)	(rng_below((r), (n)) == 0)
#define PICK(r, table)							\
	((table)[rng_below((r), sizeof(table) / sizeof((table)[0]))])

/* --- what is not compared --------------------------------------------------------- */

static const struct {
	const char *name, *why;
} excluded[] = {
	{ "cpuid", "says what the guest's CPU is" },
	{ "rdtsc", "time" }, { "rdtscp", "time" },
	{ "rdpid", "the guest's own TSC_AUX" },
	{ "rdrand", "random" }, { "rdseed", "random" },
	{ "syscall", "leaves CPL 3" }, { "sysenter", "leaves CPL 3" },
	{ "int", "leaves CPL 3" }, { "int1", "debugger's" },
	{ "sysret", "Linux hosts emulate nothing, but #UD differs by vendor" },
	{ "sysexit", "#UD differs by vendor" },
	{ "iret", "far" }, { "call", "control transfer" },
	{ "jmp", "control transfer" }, { "ret", "control transfer" },
	{ "les", "loads a segment" }, { "lds", "loads a segment" },
	{ "retf", "far" },
	{ "lss", "loads a segment" }, { "lfs", "loads a segment" },
	{ "lgs", "loads a segment" },
	{ "lar", "the host's descriptors" },
	{ "lsl", "the host's descriptors" },
	{ "verr", "the host's descriptors" },
	{ "verw", "the host's descriptors" },
	{ "sldt", "UMIP: the host emulates it" },
	{ "str", "UMIP: the host emulates it" },
	{ "sgdt", "UMIP: the host emulates it" },
	{ "sidt", "UMIP: the host emulates it" },
	{ "smsw", "UMIP: the host emulates it" },
	{ "rdfsbase", "the host's thread pointer" },
	{ "rdgsbase", "the host's thread pointer" },
	{ "wrfsbase", "the host's thread pointer" },
	{ "wrgsbase", "the host's thread pointer" },
	{ "popf", "TF and AC" }, { "pushf", "IOPL and IF are the host's" },
	{ "xgetbv", "the host's XCR0" },
	{ "xsave", "the host's XCR0" }, { "xrstor", "the host's XCR0" },
	{ "xsaveopt", "the host's XCR0" }, { "xsavec", "the host's XCR0" },
	{ "fxsave", "MXCSR_MASK and the XMM area's padding" },
	{ "fxrstor", "MXCSR_MASK" },
	{ "ud0", "length on a page's end" },
};

/* What says something else each time, or stops the clock of a test. */
static const char *const unrepeatable[] = { "rdtsc", "rdtscp", "rdrand",
    "rdseed", "in", "out", "ins", "outs" };
static bool repeatable_only;

void
gen_repeatable(void)
{
	repeatable_only = true;
}

const char *
gen_excluded(const struct insn *i)
{
	const char *name = i->i_op->o_name;
	unsigned n;

	if (repeatable_only) {
		for (n = 0; n < sizeof(unrepeatable) / sizeof(unrepeatable[0]);
		    n++)
			if (strcmp(name, unrepeatable[n]) == 0)
				return ("not repeatable");
		return (NULL);
	}

	for (n = 0; n < sizeof(excluded) / sizeof(excluded[0]); n++)
		if (strcmp(name, excluded[n].name) == 0)
			return (excluded[n].why);
	if (i->i_map == 0 && (i->i_opcode == 0x8e || i->i_opcode == 0x07 ||
	    i->i_opcode == 0x17 || i->i_opcode == 0x1f))
		return ("loads a segment");
	if (i->i_map == 0 && (i->i_opcode & 0xfc) == 0xe4 &&
	    (i->i_imm == 0xe0 || i->i_imm == 0xe1))
		return ("soft.c's own port");
	if (i->i_map == 1 && (i->i_opcode == 0xa1 || i->i_opcode == 0xa9))
		return ("loads a segment");
	if (i->i_seg >= SEG_FS && i->i_flags & INSN_MEM)
		return ("the host's segment");
	if (strstr(name, " far") != NULL)
		return ("far");
	return (NULL);
}

/* --- shapes ------------------------------------------------------------------------ */

static struct shape *shapes;
static unsigned nshapes, maxshapes;

static bool
same_shape(const struct shape *a, const struct shape *b)
{
	return (a->sh_op == b->sh_op && a->sh_vex == b->sh_vex &&
	    a->sh_pfx == b->sh_pfx && a->sh_66 == b->sh_66 &&
	    a->sh_lock == b->sh_lock && a->sh_67 == b->sh_67 &&
	    a->sh_compat == b->sh_compat && a->sh_mem == b->sh_mem &&
	    a->sh_osize == b->sh_osize && a->sh_opcode == b->sh_opcode &&
	    a->sh_map == b->sh_map);
}

static void
add_shape(const struct shape *sh)
{
	unsigned n;

	/* Shapes of one opcode are neighbours. */
	for (n = nshapes; n-- > 0 && n + 2000 > nshapes;) {
		if (shapes[n].sh_map != sh->sh_map ||
		    shapes[n].sh_opcode != sh->sh_opcode)
			break;
		if (same_shape(&shapes[n], sh))
			return;
	}
	if (nshapes == maxshapes) {
		maxshapes = maxshapes * 2 + 1024;
		shapes = realloc(shapes, maxshapes * sizeof(*shapes));
		if (shapes == NULL)
			abort();
	}
	shapes[nshapes++] = *sh;
}

/* The bytes of a shape up to the opcode; rxb: REX bits. */
static unsigned
head(const struct shape *sh, unsigned rxb, unsigned vvvv, bool rex, uint8_t *b)
{
	unsigned n = 0;

	if (sh->sh_67)
		b[n++] = 0x67;
	if (sh->sh_lock)
		b[n++] = 0xf0;
	if (sh->sh_vex) {
		b[n++] = 0xc4;
		b[n++] = (uint8_t)((~rxb & 7) << 5 | sh->sh_map);
		b[n++] = (uint8_t)(sh->sh_w << 7 | (~vvvv & 15) << 3 |
		    (sh->sh_vex >> 1) << 2 | sh->sh_pfx);
	} else {
		if (sh->sh_pfx == PFX_66 || sh->sh_66)
			b[n++] = 0x66;
		if (sh->sh_pfx == PFX_F3)
			b[n++] = 0xf3;
		if (sh->sh_pfx == PFX_F2)
			b[n++] = 0xf2;
		if (rex || rxb != 0 || sh->sh_w)
			b[n++] = (uint8_t)(0x40 | sh->sh_w << 3 | rxb);
		if (sh->sh_map > 0)
			b[n++] = 0x0f;
		if (sh->sh_map == 2)
			b[n++] = 0x38;
		if (sh->sh_map == 3)
			b[n++] = 0x3a;
	}
	b[n++] = sh->sh_opcode;
	return (n);
}

static bool
legacy_prefix(unsigned op)
{
	return (op == 0x26 || op == 0x2e || op == 0x36 || op == 0x3e ||
	    (op >= 0x64 && op <= 0x67) || op == 0xf0 || op == 0xf2 ||
	    op == 0xf3 || op == 0x0f);
}

/* Does a prefix that the shape has make no difference to b, decoded as i? */
static bool
superfluous(const struct shape *sh, unsigned modrm, const struct insn *i)
{
	const struct decode_mode *dm = soft_decode_mode(sh->sh_compat);
	struct shape less = *sh;
	uint8_t b[32] = { 0 };
	struct insn j;
	unsigned n;

	if (sh->sh_vex || i->i_op->o_rules & O_STRING)
		return (false);
	if (sh->sh_66)
		less.sh_66 = false;
	else if (sh->sh_pfx >= PFX_F3)
		less.sh_pfx = PFX_NONE;
	else if (sh->sh_w)
		less.sh_w = false;
	else
		return (false);
	n = head(&less, 0, 0, false, b);
	b[n] = (uint8_t)modrm;
	return (insn_decode(b, INSN_MAXLEN, dm, &j) == DECODE_OK &&
	    j.i_op == i->i_op && j.i_osize == i->i_osize);
}

/* Tries all ModRM bytes that choose rows: mod 0 or 3, all reg, all rm. */
static void
try_modrm(struct shape *sh)
{
	const struct decode_mode *dm = soft_decode_mode(sh->sh_compat);
	uint8_t b[32];
	struct insn i;
	unsigned n, modrm;

	for (modrm = 0; modrm < 256; modrm++) {
		if (modrm >= 0x40 && modrm < 0xc0)
			continue;
		memset(b, 0, sizeof(b));
		n = head(sh, 0, 0, false, b);
		b[n] = (uint8_t)modrm;
		if (sh->sh_vex && (modrm & 7) == 4)
			b[n + 1] = 0x20;
		if (insn_decode(b, INSN_MAXLEN, dm, &i) != DECODE_OK) {
			/* Unused vvvv is none; gathers want three registers. */
			if (!sh->sh_vex)
				continue;
			n = head(sh, 0, 5, false, b);
			b[n] = (uint8_t)modrm;
			b[n + 1] = 0x33;
			if (insn_decode(b, INSN_MAXLEN, dm, &i) != DECODE_OK)
				continue;
		}
		if (gen_excluded(&i) != NULL ||
		    superfluous(sh, modrm, &i))
			continue;
		sh->sh_op = i.i_op;
		sh->sh_mem = i.i_flags & INSN_MEM;
		sh->sh_osize = i.i_osize;
		add_shape(sh);
		if (!(i.i_op->o_rules & O_MODRM))
			break;
	}
}

/* In 32-bit code only what 64-bit code does not have, and what is about
 * sizes: the rest is the same handler. */
static bool
compat_interesting(const struct shape *sh)
{
	static const uint8_t only32[] = { 0x06, 0x0e, 0x16, 0x1e, 0x27, 0x2f,
	    0x37, 0x3f, 0x60, 0x61, 0x62, 0x68, 0x6a, 0x50, 0x54, 0x58, 0x5c,
	    0x82, 0x8f, 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xaa, 0xab, 0xac,
	    0xc8, 0xc9, 0xce, 0xd4, 0xd5, 0xd6, 0xff };
	unsigned op = sh->sh_opcode;

	if (sh->sh_map == 0)
		return ((op >= 0x40 && op < 0x50) ||
		    memchr(only32, (int)op, sizeof(only32)) != NULL);
	return (false);
}

struct shape *
gen_shapes(unsigned *count)
{
	static const uint8_t pfx[][2] = { { PFX_NONE, 0 }, { PFX_66, 0 },
	    { PFX_F3, 0 }, { PFX_F2, 0 }, { PFX_F3, 1 }, { PFX_F2, 1 } };
	struct shape sh;
	unsigned compat, map, op, n, more;

	for (compat = 0; compat < 2; compat++)
	for (map = 0; map < 4; map++)
	for (op = 0; op < 256; op++) {
		memset(&sh, 0, sizeof(sh));
		sh.sh_compat = compat;
		sh.sh_map = (uint8_t)map;
		sh.sh_opcode = (uint8_t)op;
		if (map == 0 && (legacy_prefix(op) || op == 0xc4 ||
		    op == 0xc5 || (!compat && op >= 0x40 && op < 0x50)))
			continue;
		if (map == 1 && (op == 0x38 || op == 0x3a || op == 0x0f))
			continue;
		if (compat && !compat_interesting(&sh))
			continue;
		/* legacy: prefixes, then W, LOCK, 67 */
		for (n = 0; n < 6; n++)
		for (more = 0; more < 8; more++) {
			sh.sh_pfx = pfx[n][0];
			sh.sh_66 = pfx[n][1];
			sh.sh_w = more & 1;
			sh.sh_lock = more & 2;
			sh.sh_67 = more & 4;
			if (sh.sh_w && compat)
				continue;
			/* 16-bit addresses lead nowhere here */
			if (sh.sh_67 && (compat || sh.sh_w || sh.sh_lock ||
			    sh.sh_66))
				continue;
			try_modrm(&sh);
		}
		if (map == 0 || compat)
			continue;
		for (n = 0; n < 16; n++) {
			memset(&sh, 0, sizeof(sh));
			sh.sh_map = (uint8_t)map;
			sh.sh_opcode = (uint8_t)op;
			sh.sh_pfx = n & 3;
			sh.sh_vex = (uint8_t)(1 | (n >> 2 & 1) << 1);
			sh.sh_w = n >> 3;
			try_modrm(&sh);
		}
	}
	*count = nshapes;
	return (shapes);
}

/* --- encodings ------------------------------------------------------------------------ */

bool
gen_insn(struct rng *r, const struct shape *sh, struct oracle_insn *oi,
    struct insn *i)
{
	const struct decode_mode *dm = soft_decode_mode(sh->sh_compat);
	uint8_t b[48];
	unsigned n, tries, m, modrm;

	for (tries = 0; tries < 4000; tries++) {
		memset(b, 0, sizeof(b));
		n = head(sh, sh->sh_compat ? 0 : rng_below(r, 8),
		    ONE_IN(r, 2) ? 0 : rng_below(r, sh->sh_compat ? 8 : 16),
		    !sh->sh_compat && ONE_IN(r, 4), b);
		modrm = rng_below(r, 256);
		if (sh->sh_mem && ONE_IN(r, 8))
			modrm = (modrm & 0x38) | 5;	/* RIP-relative */
		b[n++] = (uint8_t)modrm;
		for (m = n; m < 24; m++)
			b[m] = (uint8_t)rng_next(r);
		if (insn_decode(b, INSN_MAXLEN, dm, i) != DECODE_OK)
			continue;
		if (i->i_op != sh->sh_op || i->i_osize != sh->sh_osize ||
		    !(i->i_flags & INSN_MEM) == sh->sh_mem ||
		    gen_excluded(i) != NULL)
			continue;
		if (i->i_op->o_imm == IMM_RELB || i->i_op->o_imm == IMM_RELZ) {
			/* to TARGET_ADDR; no 16-bit RIP */
			uint32_t rel = TARGET_ADDR - INSN_ADDR - i->i_len;
			unsigned size = i->i_op->o_imm == IMM_RELB ? 1 : 4;

			if (i->i_osize == 2)
				continue;
			memcpy(b + i->i_len - size, &rel, size);
			insn_decode(b, INSN_MAXLEN, dm, i);
		}
		if (i->i_op->o_imm == IMM_MOFFS) {
			uint64_t addr = WINDOW + ACTIVE_A + rng_below(r, 250);

			memcpy(b + i->i_len - i->i_asize, &addr, i->i_asize);
			insn_decode(b, INSN_MAXLEN, dm, i);
		}
		if (i->i_flags & INSN_MEM) {
			/* The address must be settable by the base alone, or
			 * by the displacement. */
			if (i->i_base == i->i_index && i->i_base != REG_NONE &&
			    !(i->i_op->o_rules & O_VSIB))
				continue;
			if (i->i_base == REG_RIP || i->i_base == REG_NONE) {
				uint32_t d = WINDOW + ACTIVE_A +
				    rng_below(r, 240);
				unsigned at, imm;

				/* find the displacement: it is 32 bits */
				if (i->i_base == REG_RIP)
					d -= INSN_ADDR + i->i_len;
				imm = 0;
				switch (i->i_op->o_imm) {
				case IMM_B: case IMM_BS:
					imm = 1;
					break;
				case IMM_W:
					imm = 2;
					break;
				case IMM_Z:
					imm = i->i_osize == 2 ? 2 : 4;
					break;
				default:
					break;
				}
				at = i->i_len - imm - 4;
				memcpy(b + at, &d, 4);
				insn_decode(b, INSN_MAXLEN, dm, i);
			}
		}
		memcpy(oi->oi_bytes, b, i->i_len);
		oi->oi_len = i->i_len;
		oi->oi_compat = sh->sh_compat;
		return (true);
	}
	return (false);
}

/* --- states ----------------------------------------------------------------------------- */

static uint64_t
any64(struct rng *r)
{
	static const uint64_t edges[] = { 0, 1, 2, 0x7f, 0x80, 0xff, 0x100,
	    0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000u, 0xffffffffu,
	    0x100000000u, 0x7fffffffffffffff, 0x8000000000000000u,
	    0xffffffffffffffffu, 0xffffffffffffff80u, 0xffffffffffff8000u,
	    0xffffffff80000000u, 0xfffffffffffffffeu };

	switch (rng_below(r, 6)) {
	case 0:
	case 1:
		return (PICK(r, edges));
	case 2:
		return (rng_below(r, 70));
	case 3:
		return (rng_next(r) >> rng_below(r, 64));
	case 4:
		return (1ull << rng_below(r, 64));
	default:
		return (rng_next(r));
	}
}

static uint32_t
float32(struct rng *r)
{
	static const uint32_t edges[] = { 0, 0x80000000, 0x3f800000,
	    0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000,
	    0x7f800001, 0xffbfffff, 1, 0x807fffff, 0x00800000, 0x7f7fffff,
	    0x4f000000, 0xcf000000, 0x4effffff, 0x5f000000, 0xdf000000,
	    0x3f000000, 0x3effffff, 0x40490fdb, 0x477fe000, 0x33800000,
	    0x38800000, 0x387fc000 };
	uint32_t v = PICK(r, edges);

	switch (rng_below(r, 4)) {
	case 0:
		return ((uint32_t)rng_next(r));
	case 1:		/* near one */
		return (0x3f800000 + rng_below(r, 0x4000000) - 0x2000000);
	case 2:
		return (v ^ 1u << rng_below(r, 32));
	default:
		return (v);
	}
}

static uint64_t
float64(struct rng *r)
{
	static const uint64_t edges[] = { 0, 0x8000000000000000,
	    0x3ff0000000000000, 0xbff0000000000000, 0x7ff0000000000000,
	    0xfff0000000000000, 0x7ff8000000000000, 0xfff8000000000000,
	    0x7ff0000000000001, 0xfff7ffffffffffff, 1, 0x800fffffffffffff,
	    0x0010000000000000, 0x7fefffffffffffff, 0x41dfffffffc00000,
	    0xc1e0000000000000, 0x41e0000000000000, 0x43e0000000000000,
	    0xc3e0000000000000, 0x3fe0000000000000, 0x3fdfffffffffffff,
	    0x400921fb54442d18, 0x47efffffe0000000, 0x36a0000000000000,
	    0x380fffffc0000000 };
	uint64_t v = PICK(r, edges);

	switch (rng_below(r, 4)) {
	case 0:
		return (rng_next(r));
	case 1:
		return (0x3ff0000000000000 +
		    (rng_next(r) >> 6) - 0x200000000000000);
	case 2:
		return (v ^ 1ull << rng_below(r, 64));
	default:
		return (v);
	}
}

static void
float80(struct rng *r, uint8_t *p)
{
	static const uint16_t exponents[] = { 0, 1, 2, 0x3fff, 0x3ffe, 0x4000,
	    0x7ffe, 0x7fff, 0x3ffd, 0x401d, 0x401e, 0x403d, 0x403e, 0x400e,
	    0x3fbf, 0x3c00, 0x43fe, 0x3f80, 0x407e };
	static const uint64_t mantissas[] = { 0, 0x8000000000000000,
	    0xc000000000000000, 0xffffffffffffffff, 0x8000000000000001,
	    1, 0x7fffffffffffffff, 0xa000000000000000, 0x4000000000000000 };
	uint64_t m = ONE_IN(r, 2) ? PICK(r, mantissas) :
	    ONE_IN(r, 4) ? rng_next(r) : rng_next(r) | 1ull << 63;
	uint16_t e = ONE_IN(r, 2) ? PICK(r, exponents) :
	    (uint16_t)(0x3fff - 70 + rng_below(r, 140));

	if (ONE_IN(r, 8))
		e = (uint16_t)rng_next(r);
	if (ONE_IN(r, 2))
		e |= 0x8000;
	memcpy(p, &m, 8);
	memcpy(p + 8, &e, 2);
}

/* len bytes, a multiple of 8, of one kind of lane */
static void
lanes(struct rng *r, uint8_t *p, unsigned len)
{
	unsigned kind = rng_below(r, 6), n;
	uint64_t v;
	uint32_t f;

	switch (kind) {
	case 0:
	case 1:
		for (n = 0; n < len; n += 4) {
			f = float32(r);
			memcpy(p + n, &f, 4);
		}
		break;
	case 2:
	case 3:
		for (n = 0; n < len; n += 8) {
			v = float64(r);
			memcpy(p + n, &v, 8);
		}
		break;
	case 4:
		for (n = 0; n < len; n += 8) {
			v = any64(r);
			memcpy(p + n, &v, 8);
		}
		break;
	default:
		for (n = 0; n < len; n++)
			p[n] = ONE_IN(r, 3) ? (uint8_t)rng_below(r, 4) :
			    (uint8_t)(rng_next(r) >> 32);
	}
}

/*
 * Lanes and x87 numbers are drawn once, in pieces of 16 bytes; states take
 * them from here.
 */
#define POOL		8192
static _Alignas(16) uint8_t pool_lanes[POOL][16], pool_x87[POOL][16];

void
gen_pool(struct rng *r)
{
	unsigned n;

	for (n = 0; n < POOL; n++) {
		lanes(r, pool_lanes[n], 16);
		float80(r, pool_x87[n]);
	}
}

/* len bytes, a multiple of 16 */
static void
draw(struct rng *r, uint8_t (*pool)[16], uint8_t *p, unsigned len)
{
	uint64_t v = 0;
	unsigned n;

	for (n = 0; n < len; n += 16, v >>= 16) {
		if (n % 64 == 0)
			v = rng_next(r);
		memcpy(p + n, pool[v % POOL], 16);
	}
}

static void
put(uint8_t *p, const void *v, unsigned n)
{
	memcpy(p, v, n);
}

static void
gen_xstate(struct rng *r, uint8_t *x)
{
	uint16_t fcw = 0x037f, fsw = 0, fop;
	uint32_t mxcsr = 0x1f80, mask = 0xffff;
	uint64_t v;

	memset(x, 0, XSTATE);
	if (ONE_IN(r, 2))
		fcw = (uint16_t)(0x40 | 0x3f | rng_below(r, 16) << 8);
	if (ONE_IN(r, 8))
		fcw = (uint16_t)(0x40 | rng_below(r, 64) |
		    rng_below(r, 16) << 8);
	fsw = (uint16_t)(rng_below(r, 8) << 11 | rng_below(r, 8) << 8 |
	    rng_below(r, 2) << 14);
	if (ONE_IN(r, 4))
		fsw |= (uint16_t)rng_below(r, 128);
	if (fsw & ~fcw & 0x3f) {
		/* pending exceptions: now and then */
		if (ONE_IN(r, 4))
			fsw |= 0x8080;
		else
			fsw &= ~0x3f;
	}
	put(x, &fcw, 2);
	put(x + 2, &fsw, 2);
	x[4] = ONE_IN(r, 2) ? 0xff : (uint8_t)rng_next(r);
	if (ONE_IN(r, 8))
		x[4] = 0;
	fop = (uint16_t)rng_below(r, 0x800);
	put(x + 6, &fop, 2);
	v = rng_next(r) >> 20;
	put(x + 8, &v, 8);
	v = rng_next(r) >> 20;
	put(x + 16, &v, 8);
	if (ONE_IN(r, 2))
		mxcsr = 0x1f80 | rng_below(r, 4) << 13 | rng_below(r, 2) << 6 |
		    rng_below(r, 2) << 15;
	if (ONE_IN(r, 4))
		mxcsr |= rng_below(r, 64);
	if (ONE_IN(r, 10))
		mxcsr &= ~(rng_below(r, 64) << 7);
	put(x + 24, &mxcsr, 4);
	put(x + 28, &mask, 4);
	draw(r, pool_x87, x + 32, 8 * 16);
	draw(r, pool_lanes, x + 160, 16 * 16);
	draw(r, pool_lanes, x + 576, 16 * 16);
	v = 7;
	put(x + 512, &v, 8);
}

static uint64_t
window_address(struct rng *r, unsigned size)
{
	switch (rng_below(r, 16)) {
	case 0:		/* crosses the pages' boundary */
		return (WINDOW + 0x1000 - rng_below(r, size + 1));
	case 1:		/* the end, or behind it */
		return (WINDOW + WINDOW_SIZE - rng_below(r, size + 2));
	case 2:
		return (READONLY + 0x1000 - rng_below(r, size + 33));
	case 3:
		return (WINDOW + WINDOW_SIZE - size * (1 + rng_below(r, 4)));
	case 4:
	case 5:
	case 6:
		return (WINDOW + ACTIVE_A + rng_below(r, 200));
	case 7:
		if (ONE_IN(r, 4))	/* not canonical, or kernel */
			return (ONE_IN(r, 2) ? 0x800000000000u - size / 2 :
			    rng_next(r));
		/* FALLTHROUGH */
	default:	/* aligned */
		return (WINDOW + 0x1000 - 64 + rng_below(r, 4) * 32);
	}
}

void
gen_state(struct rng *r, const struct oracle_insn *oi, const struct insn *i,
    struct oracle_state *s)
{
	static const uint32_t flag_bits[] = { FL_CF, FL_PF, FL_AF, FL_ZF,
	    FL_SF, FL_OF };
	const struct opcode *op = i->i_op;
	unsigned n, size = op->o_msize != 0 && op->o_msize < MS_VL ?
	    op->o_msize : i->i_osize;
	uint64_t target, v;

	s->os_rip = s->os_cr2 = s->os_error = s->os_vector = 0;
	gen_xstate(r, s->os_xstate);
	for (n = 0; n < 16; n++)
		s->os_gpr[n] = any64(r);
	s->os_gpr[RSP] = WINDOW + 0x1000 - 64 + (rng_below(r, 64) & ~7u);
	if (ONE_IN(r, 16))
		s->os_gpr[RSP] = window_address(r, 8);
	if (!ONE_IN(r, 4))
		s->os_gpr[RSI] = window_address(r, size);
	if (!ONE_IN(r, 4))
		s->os_gpr[RDI] = window_address(r, size);
	if (ONE_IN(r, 2))
		s->os_gpr[RBP] = s->os_gpr[RSP] + 16;
	/* Repeats are bounded: the engine and the alarm would not mind, the
	 * time would. */
	if (op->o_rules & O_STRING)
		s->os_gpr[RCX] = rng_below(r, 20);
	if (strcmp(op->o_name, "xlat") == 0)
		s->os_gpr[RBX] = WINDOW + ACTIVE_A;

	if (i->i_flags & INSN_MEM) {
		target = window_address(r, size);
		v = target - (uint64_t)(int64_t)i->i_disp;
		if (op->o_rules & O_VSIB) {
			uint8_t *x = s->os_xstate;

			for (n = 0; n < 16; n += 4) {
				int32_t idx = (int32_t)rng_below(r, 16) - 8;
				uint32_t hi = idx < 0 ? ~0u : 0;

				if (i->i_opcode & 1 && n & 4)
					continue;
				memcpy(x + 160 + i->i_index * 16 + n, &idx, 4);
				memcpy(x + 576 + i->i_index * 16 + n, &idx, 4);
				if (i->i_opcode & 1) {
					memcpy(x + 164 + i->i_index * 16 + n,
					    &hi, 4);
					memcpy(x + 580 + i->i_index * 16 + n,
					    &hi, 4);
				}
			}
		} else if (i->i_index != REG_NONE) {
			s->os_gpr[i->i_index] = rng_below(r, 64);
			if (ONE_IN(r, 8))
				s->os_gpr[i->i_index] = any64(r);
			v -= s->os_gpr[i->i_index] << i->i_scale;
		}
		if (i->i_base < 16)
			s->os_gpr[i->i_base] = i->i_asize == 4 ?
			    (uint32_t)v | (ONE_IN(r, 2) ?
				rng_next(r) << 32 : 0) : v;
		/* Bit strings reach far. */
		if (i->i_map == 1 && (op->o_name[0] == 'b' &&
		    op->o_name[1] == 't') && i->i_opcode != 0xba &&
		    i->i_reg != i->i_base && i->i_reg != i->i_index &&
		    !ONE_IN(r, 8))
			s->os_gpr[i->i_reg] = (uint64_t)
			    ((int64_t)rng_below(r, 512) - 256);
	}
	/* soft.c's own ports */
	if ((uint16_t)s->os_gpr[RDX] / 2 == 0xe0 / 2)
		s->os_gpr[RDX] ^= 0x100;
	if (i->i_asize == 4 && !oi->oi_compat && !(i->i_flags & INSN_MEM)) {
		s->os_gpr[RSI] = (uint32_t)s->os_gpr[RSI];
		s->os_gpr[RDI] = (uint32_t)s->os_gpr[RDI];
	}
	if (oi->oi_compat)
		for (n = 0; n < 16; n++)
			s->os_gpr[n] = n < 8 ? (uint32_t)s->os_gpr[n] : 0;
	s->os_rflags = FL_R1 | FL_IF;
	for (n = 0; n < 6; n++)
		if (ONE_IN(r, 2))
			s->os_rflags |= flag_bits[n];
	if (op->o_rules & O_STRING && ONE_IN(r, 4))
		s->os_rflags |= FL_DF;
	draw(r, ONE_IN(r, 3) ? pool_x87 : pool_lanes, s->os_a, ACTIVE_A_SIZE);
	draw(r, pool_lanes, s->os_b, ACTIVE_B_SIZE);
	/* CMPXCHG and its like succeed now and then. */
	if (ONE_IN(r, 4)) {
		put(s->os_a + 64, &s->os_gpr[RAX], 8);
		put(s->os_a + 72, &s->os_gpr[RDX], 8);
	}
}

bool
gen_misemulated(const struct insn *i, const struct oracle_insn *oi)
{
	bool mmx = (i->i_op->o_reg & R_CLASS) == R_MM ||
	    (i->i_op->o_rm & R_CLASS) == R_MM;
	unsigned n;

	/* stores the x87 pointers, half of which it keeps */
	if (i->i_op->o_exec == insn_x87_env)
		return (true);
	/* is to try whether the stack's new top can be written to */
	if (strcmp(i->i_op->o_name, "enter") == 0)
		return (true);
	/* REX.B and REX.R make it read what lies behind MM7 */
	for (n = 0; mmx && !oi->oi_compat && n < oi->oi_len &&
	    oi->oi_bytes[n] != 0x0f; n++)
		if (oi->oi_bytes[n] >> 4 == 4 && (oi->oi_bytes[n] & 5) != 0)
			return (true);
	return (false);
}

const struct decode_mode *
soft_decode_mode(bool compat)
{
	static struct decode_mode mode[2];

	if (mode[0].dm_bits == 0) {
		decode_mode_init(&mode[0], &bare_host, NULL);
		mode[0].dm_real = false;
		mode[1] = mode[0];
		mode[1].dm_bits = 32;
		mode[0].dm_bits = 64;
	}
	return (&mode[compat]);
}

bool
oracle_same(const struct oracle_state *a, const struct oracle_state *b)
{
	const uint8_t *x = a->os_xstate, *y = b->os_xstate;
	unsigned n, bad = 0;

	for (n = 0; n < 8; n++)
		bad |= (unsigned)memcmp(x + 32 + n * 16, y + 32 + n * 16, 10);
	return (bad == 0 && memcmp(x, y, 5) == 0 &&
	    memcmp(x + 6, y + 6, 22) == 0 &&
	    memcmp(x + 160, y + 160, 256) == 0 &&
	    memcmp(x + 576, y + 576, 256) == 0 &&
	    memcmp(a->os_gpr, b->os_gpr, sizeof(a->os_gpr)) == 0 &&
	    ((a->os_rflags ^ b->os_rflags) & FLAGS_COMPARED) == 0 &&
	    a->os_vector == b->os_vector && a->os_error == b->os_error &&
	    a->os_cr2 == b->os_cr2 && a->os_rip == b->os_rip &&
	    memcmp(a->os_a, b->os_a, sizeof(a->os_a)) == 0 &&
	    memcmp(a->os_b, b->os_b, sizeof(a->os_b)) == 0);
}
