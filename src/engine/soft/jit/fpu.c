/*
 * The x87 state of translated code on its way back to struct cpu (fpu.h).
 *
 * x87 instructions that run natively leave the host's idea of the instruction
 * and operand pointers behind. Each that sets them therefore notes its own
 * address, opcode and operand (f_last_*); here they take the place of the
 * host's, by the rules of x87.c. Selectors are those in force now: what loads
 * CS or DS has the state stored before (sys.c).
 *
 * VCPU thread. SDM vol. 1, 8.1.8.
 */
#include <cpuid.h>
#include <string.h>

#include "engine/soft/jit/fpu.h"
#include "engine/soft/jit/jit.h"
#include "engine/soft/simd.h"

#define XCR0_YMM	0x6	/* SSE and AVX state */

static bool
host_avx(void)
{
	unsigned a, b, ecx, d, lo, hi;

	__cpuid(1, a, b, ecx, d);
	if (!(ecx & bit_OSXSAVE) || !(ecx & bit_AVX))
		return (false);
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return ((lo & XCR0_YMM) == XCR0_YMM);
}

void
fpu_new(struct cpu *c)
{
	struct jit *j = c->c_jit;
	unsigned a, b, ecx, d;

	j->j_avx = !j->j_opt.jo_noavx && host_avx();
	__cpuid(0, a, b, ecx, d);
	c->c_avx = !j->j_avx ? FPU_SSE :
	    b == signature_INTEL_ebx ? FPU_AVX_INIT : FPU_AVX;
}

/* The pointers in the image, as the guest knows them. */
static void
set_pointers(struct cpu *c, const struct x87_pointers *before)
{
	struct fpu *f = &c->c_fpu;
	const struct jit *j = c->c_jit;
	uint16_t fop;
	uint64_t fip;

	x87_pointers_put(c, before);
	if (!(f->f_last_op & LAST_OP_SET))
		return;
	memcpy(&fip, f->f_fx + FX_FIP, sizeof(fip));
	if (!f->f_hides && fip - (uintptr_t)j->j_rx >= j->j_size)
		return;
	memcpy(f->f_fx + FX_FIP, &f->f_last_ip, sizeof(f->f_last_ip));
	f->f_fcs = c->c_seg[SEG_CS].s_sel;
	memcpy(&fop, f->f_fx + FX_FOP, sizeof(fop));
	if (f->f_hides || fop != 0) {
		fop = f->f_last_op & 0x7ff;
		memcpy(f->f_fx + FX_FOP, &fop, sizeof(fop));
	}
	if (f->f_last_seg != 0) {
		memcpy(f->f_fx + FX_FDP, &f->f_last_ea, sizeof(f->f_last_ea));
		f->f_fds = c->c_seg[f->f_last_seg & ~LAST_SEG_SET].s_sel;
	}
}

void
fpu_x87_store(struct cpu *c)
{
	struct x87_pointers before;

	x87_pointers_get(c, &before);
	__asm__ volatile("fxsave64 %0; fninit; fldcw %1"
	    : "=m"(c->c_fpu.f_fx) : "m"(c->c_fpu.f_host_fcw));
	c->c_x87_live = 0;
	set_pointers(c, &before);
}
