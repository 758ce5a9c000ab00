/*
 * MMX, SSE and AVX instructions: conditions, memory operands, and the stub that
 * does the work (stub.h). Conditional and scattered memory accesses are in
 * simd_mem.c.
 *
 * VCPU thread. SDM vol. 2A 2.4 (exception classes), vol. 3A 13.1.
 */
#include <string.h>

#include "engine/soft/cpu.h"
#include "engine/soft/handlers.h"
#include "engine/soft/mem.h"
#include "engine/soft/opcode.h"
#include "engine/soft/simd.h"
#include "engine/soft/stub.h"

#define XCR0_SSE	0x2
#define XCR0_AVX	0x4

void
simd_check_sse(struct cpu *c)
{
	if (__builtin_expect((c->c_cr0 & (CR0_EM | CR0_TS)) == 0 &&
	    (c->c_cr4 & CR4_OSFXSR) != 0, 1))
		return;
	if (c->c_cr0 & CR0_EM || !(c->c_cr4 & CR4_OSFXSR))
		cpu_ud(c);
	cpu_fault(c, VMM_EX_NM, 0);
}

void
simd_check_avx(struct cpu *c)
{
	if (!(c->c_cr4 & CR4_OSXSAVE) ||
	    (c->c_xcr0 & (XCR0_SSE | XCR0_AVX)) != (XCR0_SSE | XCR0_AVX))
		cpu_ud(c);
	if (c->c_cr0 & CR0_TS)
		cpu_fault(c, VMM_EX_NM, 0);
}

void
simd_check_mmx(struct cpu *c)
{
	if (c->c_cr0 & CR0_EM)
		cpu_ud(c);
	if (c->c_cr0 & CR0_TS)
		cpu_fault(c, VMM_EX_NM, 0);
	x87_check_pending(c);
}

unsigned
simd_msize(const struct insn *i)
{
	unsigned ms = i->i_op->o_msize;

	if (ms < MS_VL)
		return (ms != 0 ? ms : i->i_osize);
	return ((i->i_flags & INSN_L ? 32 : 16) >> (ms - MS_VL));
}

static void
run_stub(struct cpu *c, const struct insn *i, void *mem)
{
	stub_fn *fn = stub_get(c, i);

	if (__builtin_expect(i->i_op->o_rules & O_MXCSR &&
	    (c->c_fpu.f_mxcsr & MXCSR_MASKS) != MXCSR_MASKS, 0))
		stub_run_guarded(c, fn, mem);
	else
		fn(c, mem);
}

#define FILL	0xa5

static bool
all_bytes(const uint8_t *p, uint8_t value, unsigned len)
{
	while (len-- > 0)
		if (*p++ != value)
			return (false);
	return (true);
}

/*
 * Executes i with its operand of size bytes at linear in a buffer: MMIO, a page
 * crossing, or cached code. A write that leaves run() halfway starts the
 * instruction anew, so nothing else may have changed by then.
 */
void
simd_execute_buf(struct cpu *c, const struct insn *i, uint64_t linear,
    unsigned size, int access)
{
	_Alignas(64) uint8_t buf[128];
	uint8_t fx[FX_XMM], new_fx[FX_XMM];
	uint32_t mxcsr, new_mxcsr;

	if (access & ENGINE_READ)
		mem_read_buf(c, linear, buf, size);
	if (!(access & ENGINE_WRITE)) {
		run_stub(c, i, buf);
		return;
	}
	mem_check_write(c, linear, size);
	if (!(i->i_op->o_rules & (O_X87 | O_MXCSR))) {
		run_stub(c, i, buf);
		mem_write_buf(c, linear, buf, size);
		return;
	}
	memcpy(fx, c->c_fpu.f_fx, sizeof(fx));
	mxcsr = c->c_fpu.f_mxcsr;
	memset(buf, FILL, size);
	run_stub(c, i, buf);
	/* An x87 store whose exception is unmasked may store nothing: what it
	 * leaves alone twice was not written. */
	if (i->i_op->o_rules & O_X87 && x87_fsw(c) & FSW_ES &&
	    all_bytes(buf, FILL, size)) {
		memcpy(c->c_fpu.f_fx, fx, sizeof(fx));
		memset(buf, (uint8_t)~FILL, size);
		run_stub(c, i, buf);
		if (all_bytes(buf, (uint8_t)~FILL, size))
			return;
	}
	memcpy(new_fx, c->c_fpu.f_fx, sizeof(fx));
	new_mxcsr = c->c_fpu.f_mxcsr;
	memcpy(c->c_fpu.f_fx, fx, sizeof(fx));
	c->c_fpu.f_mxcsr = mxcsr;
	mem_write_buf(c, linear, buf, size);
	memcpy(c->c_fpu.f_fx, new_fx, sizeof(fx));
	c->c_fpu.f_mxcsr = new_mxcsr;
}

/* #GP(0) comes before what else may be wrong with the address. */
static void
check_aligned(struct cpu *c, const struct insn *i, unsigned size)
{
	uint64_t base = c->c_code64 && i->i_seg < SEG_FS ? 0 :
	    c->c_seg[i->i_seg].s_base;

	if (__builtin_expect(((base + mem_ea(c, i)) & (size - 1)) == 0, 1))
		return;
	/* AMD's CPUs want no alignment of these. */
	if (i->i_op->o_feature == FEAT_SHA && !c->c_intel)
		return;
	cpu_gp(c, 0);
}

void
simd_execute(struct cpu *c, const struct insn *i)
{
	const struct opcode *op = i->i_op;
	void *mem = NULL;
	unsigned size;
	uint64_t linear;
	int access;

	if (i->i_flags & INSN_MEM) {
		size = simd_msize(i);
		access = (op->o_rm & R_READ ? ENGINE_READ : 0) |
		    (op->o_rm & R_WRITE ? ENGINE_WRITE : 0);
		if (op->o_rules & O_ALIGN)
			check_aligned(c, i, size);
		linear = mem_operand(c, i, size, access);
		mem = mem_host(c, linear, size, access);
		if (__builtin_expect(mem == NULL, 0)) {
			simd_execute_buf(c, i, linear, size, access);
			return;
		}
	}
	run_stub(c, i, mem);
}

void
insn_sse(struct cpu *c, const struct insn *i)
{
	simd_check_sse(c);
	simd_execute(c, i);
}

void
insn_avx(struct cpu *c, const struct insn *i)
{
	simd_check_avx(c);
	simd_execute(c, i);
}

/*
 * What every MMX instruction does to the x87 state: TOP becomes 0, all
 * registers valid (SDM vol. 1, 9.6.2). The image has them in stack order.
 */
void
mmx_enter(struct cpu *c)
{
	uint8_t mm[8][16], *fx = c->c_fpu.f_fx;
	unsigned n, top = x87_fsw(c) >> 11 & 7;

	for (n = 0; n < 8; n++)
		memcpy(mm[(top + n) & 7], fx + FX_ST + n * 16, 16);
	memcpy(fx + FX_ST, mm, sizeof(mm));
	fx[FX_FSW + 1] &= ~0x38;
	fx[FX_FTW] = 0xff;
}

/* MMX registers alone, or with an XMM register as well. */
void
insn_mmx(struct cpu *c, const struct insn *i)
{
	const struct opcode *op = i->i_op;
	struct x87_pointers xp;

	if ((op->o_reg & R_CLASS) == R_XMM || (op->o_rm & R_CLASS) == R_XMM)
		simd_check_sse(c);
	/* CVTPI2PD from memory has nothing to do with MMX registers, nor has
	 * CVTPI2PS on AMD. */
	if (i->i_opcode != 0x2a || !(i->i_flags & INSN_MEM) ||
	    (c->c_intel && !(i->i_flags & INSN_66)))
		simd_check_mmx(c);
	x87_pointers_get(c, &xp);
	simd_execute(c, i);
	x87_pointers_put(c, &xp);
}

void
insn_emms(struct cpu *c, const struct insn *i)
{
	(void)i;
	simd_check_mmx(c);
	mmx_enter(c);
	c->c_fpu.f_fx[FX_FTW] = 0;
}

/* VZEROUPPER and VZEROALL. */
void
insn_vzero(struct cpu *c, const struct insn *i)
{
	unsigned n, count = c->c_code64 ? 16 : 8;

	simd_check_avx(c);
	for (n = 0; n < count; n++) {
		if (i->i_flags & INSN_L)
			memset(c->c_fpu.f_ymm[n], 0, 32);
		else
			memset(c->c_fpu.f_ymm[n] + 16, 0, 16);
	}
}
