/*
 * FXSAVE, XSAVE and their kin; LDMXCSR, STMXCSR; XGETBV, XSETBV; the extended
 * state as the monitor reads and writes it.
 *
 * Components: 0 x87, 1 SSE, 2 AVX. A component counts as in use (XINUSE) when
 * it differs from its initial state, which the architecture allows; there is no
 * tracking of modifications, so XSAVEOPT saves as XSAVEC does, without
 * compaction. XSAVES is not offered.
 *
 * An area is built or taken apart in a copy: all memory accesses come before
 * the first change of state, and the stores are whole.
 *
 * VCPU thread. SDM vol. 1 chapter 13, section 10.5.
 */
#include <errno.h>
#include <string.h>

#include "engine/soft/cpu.h"
#include "engine/soft/handlers.h"
#include "engine/soft/mem.h"
#include "engine/soft/opcode.h"
#include "engine/soft/simd.h"
#include "engine/soft/stub.h"

#define X_X87		0x1u
#define X_SSE		0x2u
#define X_AVX		0x4u
#define X_ALL		(X_X87 | X_SSE | X_AVX)

/* The XSAVE area (SDM vol. 1, 13.4). */
#define XS_BV		512
#define XS_COMP_BV	520
#define XS_RESERVED	528	/* 48 bytes, of which 16 are checked always */
#define XS_HEADER_END	576
#define XS_AVX		576	/* also in compacted form: nothing before it */
#define XS_END		832
#define XCOMP_COMPACT	(1ull << 63)

/* Bytes of XMM0..XMM7, and of all sixteen. */
#define XMM_COUNT(c)	((c)->c_code64 ? 16u : 8u)

static uint64_t
get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return (v);
}

static uint32_t
get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return (v);
}

static void
put64(uint8_t *p, uint64_t v)
{
	memcpy(p, &v, sizeof(v));
}

static void
put32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, sizeof(v));
}

/* --- components in the legacy area --------------------------------------------- */

/* The initial x87 state (SDM vol. 1, 13.6): as FNINIT, all empty. */
static void
x87_init(struct fpu *f)
{
	memset(f->f_fx, 0, sizeof(f->f_fx));
	f->f_fx[FX_FCW] = 0x7f;
	f->f_fx[FX_FCW + 1] = 0x03;
	put32(f->f_fx + FX_MXCSR, MXCSR_DEFAULT);
	f->f_fcs = f->f_fds = 0;
}

/* wide: 64-bit pointers (REX.W); else 32-bit ones and selectors. */
static void
x87_save(const struct fpu *f, uint8_t *area, bool wide)
{
	memcpy(area, f->f_fx, FX_MXCSR);
	memcpy(area + FX_ST, f->f_fx + FX_ST, FX_XMM - FX_ST);
	area[FX_FTW + 1] = 0;
	if (f->f_hides && !(f->f_fx[FX_FSW] & FSW_ES))
		memset(area + FX_FOP, 0, FX_MXCSR - FX_FOP);
	else if (!wide) {
		put32(area + FX_FIP + 4, f->f_fcs);
		put32(area + FX_FDP + 4, f->f_fds);
	}
}

/* What the host's own FXRSTOR makes of an image, reserved bits and all. */
static void
x87_load(struct fpu *f, const uint8_t *area, bool wide)
{
	_Alignas(64) uint8_t image[512];
	uint32_t mxcsr;
	uint16_t fcw;

	memset(image, 0, sizeof(image));
	memcpy(image, area, FX_XMM);
	f->f_fcs = f->f_fds = 0;
	if (!wide) {
		memcpy(&f->f_fcs, area + FX_FIP + 4, sizeof(f->f_fcs));
		memcpy(&f->f_fds, area + FX_FDP + 4, sizeof(f->f_fds));
		put32(image + FX_FIP + 4, 0);
		put32(image + FX_FDP + 4, 0);
	}
	__asm__ volatile("stmxcsr %0; fnstcw %1" : "=m"(mxcsr), "=m"(fcw));
	put32(image + FX_MXCSR, mxcsr);
	__asm__ volatile("fxrstor64 %2; fxsave64 %0; fninit; fldcw %1"
	    : "+m"(f->f_fx) : "m"(fcw), "m"(image)
	    : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
	    "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
	    "xmm15", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)",
	    "st(6)", "st(7)");
	if (f->f_hides) {
		memcpy(f->f_fx + FX_FOP, image + FX_FOP, FX_MXCSR - FX_FOP);
		f->f_fx[FX_FOP + 1] &= 7;
	}
}

/* Does the host show the pointers only while an exception is pending? */
static bool
x87_hides(void)
{
	struct fpu f = { .f_fcs = 0 };
	uint8_t image[FX_XMM] = { 0 };

	image[FX_FIP] = image[FX_FDP] = 1;
	x87_load(&f, image, true);
	memset(image, 0, sizeof(image));
	return (memcmp(f.f_fx + FX_FIP, image, FX_MXCSR - FX_FIP) == 0);
}

static void
sse_save(const struct cpu *c, uint8_t *area, unsigned count)
{
	unsigned n;

	for (n = 0; n < count; n++)
		memcpy(area + FX_XMM + n * 16, c->c_fpu.f_ymm[n], 16);
}

static void
sse_load(struct cpu *c, const uint8_t *area, unsigned count)
{
	unsigned n;

	for (n = 0; n < count; n++)
		memcpy(c->c_fpu.f_ymm[n], area + FX_XMM + n * 16, 16);
}

static void
sse_init(struct cpu *c, unsigned count)
{
	unsigned n;

	for (n = 0; n < count; n++)
		memset(c->c_fpu.f_ymm[n], 0, 16);
}

static void
mxcsr_save(const struct fpu *f, uint8_t *area)
{
	put32(area + FX_MXCSR, f->f_mxcsr);
	put32(area + FX_MXCSR_MASK, MXCSR_VALID);
}

static void
avx_save(const struct cpu *c, uint8_t *p, unsigned count)
{
	unsigned n;

	for (n = 0; n < count; n++)
		memcpy(p + n * 16, c->c_fpu.f_ymm[n] + 16, 16);
}

/* p NULL: to zero */
static void
avx_load(struct cpu *c, const uint8_t *p, unsigned count)
{
	unsigned n;

	for (n = 0; n < count; n++) {
		if (p == NULL)
			memset(c->c_fpu.f_ymm[n] + 16, 0, 16);
		else
			memcpy(c->c_fpu.f_ymm[n] + 16, p + n * 16, 16);
	}
}

/* The OR of n quads. */
static uint64_t
any(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	for (; n > 0; n--, p += 8)
		v |= get64(p);
	return (v);
}

/* Is the x87 state other than x87_init() makes it? */
static bool
x87_in_use(const struct fpu *f)
{
	/* FCW, FSW and FTW, or FOP as well */
	uint64_t mask = f->f_hides ? 0xffffffffffffu : UINT64_MAX;

	return ((get64(f->f_fx) & mask) != 0x037f || any(f->f_fx + FX_ST,
	    (FX_XMM - FX_ST) / 8) != 0 || (!f->f_hides &&
	    any(f->f_fx + FX_FIP, (FX_MXCSR - FX_FIP) / 8) != 0));
}

/* XINUSE */
static uint32_t
in_use(const struct cpu *c)
{
	uint64_t sse = 0, avx = 0;
	unsigned n;

	for (n = 0; n < 16; n++) {
		sse |= any(c->c_fpu.f_ymm[n], 2);
		avx |= any(c->c_fpu.f_ymm[n] + 16, 2);
	}
	return ((x87_in_use(&c->c_fpu) ? X_X87 : 0) | (sse != 0 ? X_SSE : 0) |
	    (avx != 0 ? X_AVX : 0));
}

/* --- MXCSR --------------------------------------------------------------------- */

static void
check_mxcsr_insn(struct cpu *c, const struct insn *i)
{
	if (i->i_flags & INSN_VEX)
		simd_check_avx(c);
	else
		simd_check_sse(c);
}

void
insn_ldmxcsr(struct cpu *c, const struct insn *i)
{
	uint32_t v;

	check_mxcsr_insn(c, i);
	v = (uint32_t)mem_read(c, mem_operand(c, i, 4, ENGINE_READ), 4);
	if (v & ~MXCSR_VALID)
		cpu_gp(c, 0);
	c->c_fpu.f_mxcsr = v;
}

void
insn_stmxcsr(struct cpu *c, const struct insn *i)
{
	check_mxcsr_insn(c, i);
	mem_write(c, mem_operand(c, i, 4, ENGINE_WRITE), 4, c->c_fpu.f_mxcsr);
}

/* --- FXSAVE, FXRSTOR ------------------------------------------------------------ */

/* EFER.FFXSR: at CPL 0 in 64-bit code the XMM registers are left out (APM
 * vol. 2, 11.4.3). */
static bool
fast_fx(const struct cpu *c)
{
	return (c->c_efer & EFER_FFXSR && c->c_code64 && c->c_cpl == 0);
}

/* The area's linear address: aligned, else #GP(0). */
static uint64_t
area_operand(struct cpu *c, const struct insn *i, unsigned size,
    unsigned align, int access)
{
	uint64_t linear = mem_operand(c, i, size, access);

	if (linear & (align - 1))
		cpu_gp(c, 0);
	return (linear);
}

void
insn_fxsave(struct cpu *c, const struct insn *i)
{
	uint8_t area[512];
	uint64_t linear;
	unsigned len = FX_XMM;

	x87_check(c);
	linear = area_operand(c, i, 512, 16, ENGINE_WRITE);
	x87_save(&c->c_fpu, area, i->i_osize == 8);
	mxcsr_save(&c->c_fpu, area);
	if (!fast_fx(c)) {
		sse_save(c, area, XMM_COUNT(c));
		len += XMM_COUNT(c) * 16;
	}
	mem_check_write(c, linear, 512);
	mem_write_buf(c, linear, area, len);
}

void
insn_fxrstor(struct cpu *c, const struct insn *i)
{
	uint8_t area[512];
	uint64_t linear;

	x87_check(c);
	linear = area_operand(c, i, 512, 16, ENGINE_READ);
	mem_read_buf(c, linear, area, 512);
	if (get32(area + FX_MXCSR) & ~MXCSR_VALID)
		cpu_gp(c, 0);
	x87_load(&c->c_fpu, area, i->i_osize == 8);
	c->c_fpu.f_mxcsr = get32(area + FX_MXCSR);
	if (!fast_fx(c))
		sse_load(c, area, XMM_COUNT(c));
}

/* --- XSAVE ----------------------------------------------------------------------- */

static void
xsave_check(struct cpu *c)
{
	if (!(c->c_cr4 & CR4_OSXSAVE))
		cpu_ud(c);
	if (c->c_cr0 & CR0_TS)
		cpu_fault(c, VMM_EX_NM, 0);
}

/* The requested-feature bitmap. */
static uint32_t
xsave_rfbm(const struct cpu *c)
{
	return ((uint32_t)(c->c_xcr0 & c->c_gpr[RAX]) & X_ALL);
}

/* Pieces of the area that have been written, to be stored when all are known
 * to be writable. */
struct xstore {
	uint64_t	x_linear;
	struct { uint16_t off, len; } x_piece[8];
	unsigned	x_count;
	bool		x_in_place;	/* the area is the guest's memory */
};

static void
piece(struct xstore *x, unsigned off, unsigned len)
{
	if (x->x_in_place)
		return;
	x->x_piece[x->x_count].off = (uint16_t)off;
	x->x_piece[x->x_count].len = (uint16_t)len;
	x->x_count++;
}

/*
 * XSAVE and XSAVEOPT (SDM vol. 1, 13.7 and 13.9) and XSAVEC (13.10). save are
 * the components written, bv the new XSTATE_BV.
 */
static void
xsave_store(struct cpu *c, const struct insn *i, uint64_t linear,
    uint32_t rfbm, uint32_t save, uint64_t bv, bool compact)
{
	uint8_t buf[XS_END], *area;
	struct xstore x = { .x_linear = linear };
	unsigned count = XMM_COUNT(c), n;

	/* mostly it is all in one page: then in place */
	area = mem_host(c, linear, XS_END, ENGINE_READ | ENGINE_WRITE);
	if (area != NULL)
		x.x_in_place = true;
	else
		area = buf;
	if (save & X_X87) {
		x87_save(&c->c_fpu, area, i->i_osize == 8);
		piece(&x, 0, FX_MXCSR);
		piece(&x, FX_ST, FX_XMM - FX_ST);
	}
	/* XSAVEC saves MXCSR with SSE, the others with SSE or AVX (13.10). */
	if (compact ? save & X_SSE : rfbm & (X_SSE | X_AVX)) {
		mxcsr_save(&c->c_fpu, area);
		piece(&x, FX_MXCSR, 8);
	}
	if (save & X_SSE) {
		sse_save(c, area, count);
		piece(&x, FX_XMM, count * 16);
	}
	put64(area + XS_BV, bv);
	if (compact)
		put64(area + XS_COMP_BV, XCOMP_COMPACT | rfbm);
	piece(&x, XS_BV, compact ? 16 : 8);
	if (save & X_AVX) {
		avx_save(c, area + XS_AVX, count);
		piece(&x, XS_AVX, count * 16);
	}
	if (x.x_in_place)
		return;
	for (n = 0; n < x.x_count; n++)
		mem_check_write(c, linear + x.x_piece[n].off,
		    x.x_piece[n].len);
	for (n = 0; n < x.x_count; n++)
		mem_write_buf(c, linear + x.x_piece[n].off,
		    area + x.x_piece[n].off, x.x_piece[n].len);
}

static void
xsave(struct cpu *c, const struct insn *i, bool opt, bool compact)
{
	uint32_t rfbm, used;
	uint64_t linear, bv;

	xsave_check(c);
	linear = area_operand(c, i, XS_END, 64,
	    compact ? ENGINE_WRITE : ENGINE_READ | ENGINE_WRITE);
	rfbm = xsave_rfbm(c);
	used = in_use(c);
	if (compact) {
		/* MXCSR is part of SSE here: in use when it is not initial. */
		if (c->c_fpu.f_mxcsr != MXCSR_DEFAULT)
			used |= X_SSE;
		bv = used & rfbm;
	} else {
		bv = mem_read(c, linear + XS_BV, sizeof(bv));
		bv = (bv & ~(uint64_t)rfbm) | (used & rfbm);
	}
	xsave_store(c, i, linear, rfbm, opt || compact ? rfbm & used : rfbm,
	    bv, compact);
}

void
insn_xsave(struct cpu *c, const struct insn *i)
{
	xsave(c, i, false, false);
}

void
insn_xsaveopt(struct cpu *c, const struct insn *i)
{
	xsave(c, i, true, false);
}

void
insn_xsavec(struct cpu *c, const struct insn *i)
{
	xsave(c, i, false, true);
}

/*
 * True if the header of an area is one that XRSTOR takes (SDM vol. 1, 13.8).
 */
static bool
header_valid(const uint8_t *area, uint64_t xcr0)
{
	uint64_t bv = get64(area + XS_BV), comp = get64(area + XS_COMP_BV);
	unsigned n, from = XS_RESERVED, to = XS_HEADER_END;

	if (comp & XCOMP_COMPACT) {
		if (comp & ~XCOMP_COMPACT & ~xcr0 || bv & ~comp)
			return (false);
	} else {
		if (comp != 0 || bv & ~xcr0)
			return (false);
		to = XS_RESERVED + 8;
	}
	for (n = from; n < to; n++)
		if (area[n] != 0)
			return (false);
	return (true);
}

void
insn_xrstor(struct cpu *c, const struct insn *i)
{
	uint8_t area[XS_END];
	const uint8_t *host;
	uint32_t rfbm, load, mxcsr = 0;
	unsigned count = XMM_COUNT(c);
	uint64_t linear;
	bool compact, set_mxcsr;

	xsave_check(c);
	linear = area_operand(c, i, XS_HEADER_END, 64, ENGINE_READ);
	rfbm = xsave_rfbm(c);
	/* in one page, mostly */
	host = mem_host(c, linear, XS_END, ENGINE_READ);
	if (host != NULL)
		memcpy(area, host, XS_END);
	else
		mem_read_buf(c, linear + XS_BV, area + XS_BV,
		    XS_HEADER_END - XS_BV);
	if (!header_valid(area, c->c_xcr0))
		cpu_gp(c, 0);
	compact = get64(area + XS_COMP_BV) & XCOMP_COMPACT;
	load = rfbm & (uint32_t)get64(area + XS_BV);
	if (host == NULL)
		mem_read_buf(c, linear, area, XS_BV);
	if (host == NULL && load & X_AVX)
		mem_read_buf(c, linear + XS_AVX, area + XS_AVX, count * 16);

	/* In the standard form MXCSR is loaded whatever XSTATE_BV says. */
	set_mxcsr = compact ? load & X_SSE : rfbm & (X_SSE | X_AVX);
	if (set_mxcsr) {
		mxcsr = get32(area + FX_MXCSR);
		if (mxcsr & ~MXCSR_VALID)
			cpu_gp(c, 0);
	} else if (compact && rfbm & X_SSE) {
		mxcsr = MXCSR_DEFAULT;
		set_mxcsr = true;
	}

	if (load & X_X87)
		x87_load(&c->c_fpu, area, i->i_osize == 8);
	else if (rfbm & X_X87)
		x87_init(&c->c_fpu);
	if (set_mxcsr)
		c->c_fpu.f_mxcsr = mxcsr;
	if (load & X_SSE)
		sse_load(c, area, count);
	else if (rfbm & X_SSE)
		sse_init(c, count);
	if (rfbm & X_AVX)
		avx_load(c, load & X_AVX ? area + XS_AVX : NULL, count);
}

/* Not offered: no supervisor components, and no tables name these without the
 * feature. */
void
insn_xsaves(struct cpu *c, const struct insn *i)
{
	(void)i;
	cpu_ud(c);
}

void
insn_xrstors(struct cpu *c, const struct insn *i)
{
	(void)i;
	cpu_ud(c);
}

/* --- XCR0 -------------------------------------------------------------------------- */

void
insn_xgetbv(struct cpu *c, const struct insn *i)
{
	uint32_t index = (uint32_t)c->c_gpr[RCX];
	uint64_t v;

	(void)i;
	if (!(c->c_cr4 & CR4_OSXSAVE))
		cpu_ud(c);
	if (index == 0)
		v = c->c_xcr0;
	else if (index == 1 && c->c_features >> FEAT_XSAVEC & 1) {
		v = in_use(c);
		if (c->c_fpu.f_mxcsr != MXCSR_DEFAULT)
			v |= X_SSE;
		v &= c->c_xcr0;
	} else
		cpu_gp(c, 0);
	c->c_gpr[RAX] = (uint32_t)v;
	c->c_gpr[RDX] = v >> 32;
}

void
insn_xsetbv(struct cpu *c, const struct insn *i)
{
	uint64_t v = (uint32_t)c->c_gpr[RAX] | c->c_gpr[RDX] << 32;

	(void)i;
	if (!(c->c_cr4 & CR4_OSXSAVE))
		cpu_ud(c);
	if (c->c_cpl != 0 || (uint32_t)c->c_gpr[RCX] != 0 ||
	    v & ~c->c_xcr0_valid || !(v & X_X87) ||
	    (v & (X_SSE | X_AVX)) == X_AVX)
		cpu_gp(c, 0);
	c->c_xcr0 = v;
}

/* --- the monitor's view --------------------------------------------------------------- */

/*
 * The state after power-on or RESET (SDM vol. 3A, table 9-1): as FNINIT but
 * for FCW 0040h and all registers valid zeros.
 */
void
fpu_reset(struct cpu *c)
{
	memset(&c->c_fpu, 0, sizeof(c->c_fpu));
	x87_init(&c->c_fpu);
	put64(c->c_fpu.f_fx, 0);
	c->c_fpu.f_fx[FX_FCW] = 0x40;
	c->c_fpu.f_fx[FX_FTW] = 0xff;
	c->c_fpu.f_mxcsr = MXCSR_DEFAULT;
	c->c_fpu.f_hides = x87_hides();
	c->c_xcr0 = X_X87;
}

void
fpu_get_xstate(const struct cpu *c, void *p)
{
	uint8_t *area = p;

	memset(area, 0, XS_END);
	x87_save(&c->c_fpu, area, true);
	mxcsr_save(&c->c_fpu, area);
	sse_save(c, area, 16);
	avx_save(c, area + XS_AVX, 16);
	put64(area + XS_BV, in_use(c));
}

/*
 * Loads all three components from a standard-form area; what XSTATE_BV does
 * not name is initialized. EINVAL for what XRSTOR would refuse.
 */
int
fpu_set_xstate(struct cpu *c, const void *p)
{
	const uint8_t *area = p;
	uint64_t bv = get64(area + XS_BV);

	if (get64(area + XS_COMP_BV) != 0 || !header_valid(area, X_ALL) ||
	    get32(area + FX_MXCSR) & ~MXCSR_VALID)
		return (EINVAL);
	if (bv & X_X87)
		x87_load(&c->c_fpu, area, true);
	else
		x87_init(&c->c_fpu);
	c->c_fpu.f_mxcsr = get32(area + FX_MXCSR);
	if (bv & X_SSE)
		sse_load(c, area, 16);
	else
		sse_init(c, 16);
	avx_load(c, bv & X_AVX ? area + XS_AVX : NULL, 16);
	return (0);
}
