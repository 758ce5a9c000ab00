/*
 * Vector instructions whose memory accesses depend on data: masked moves and
 * gathers. Element by element, each with its own checks and faults.
 *
 * VCPU thread. SDM vol. 2B MASKMOVDQU, vol. 2C VGATHER*, VMASKMOV, VPMASKMOV.
 */
#include <string.h>

#include "engine/soft/cpu.h"
#include "engine/soft/handlers.h"
#include "engine/soft/mem.h"
#include "engine/soft/opcode.h"
#include "engine/soft/simd.h"
#include "engine/soft/stub.h"

/* The top bit of element n of size bytes. */
static bool
masked(const uint8_t *mask, unsigned n, unsigned size)
{
	return (mask[n * size + size - 1] & 0x80);
}

/* VMASKMOVPS/PD, VPMASKMOVD/Q: the row's o_msize is the element's size. */
void
insn_vmaskmov(struct cpu *c, const struct insn *i)
{
	unsigned es = i->i_op->o_msize, vl = i->i_flags & INSN_L ? 32 : 16, n;
	const uint8_t *mask = c->c_fpu.f_ymm[i->i_vvvv];
	uint8_t *reg = c->c_fpu.f_ymm[i->i_reg];
	bool store = i->i_op->o_rm & R_WRITE;
	uint64_t ea, linear[8], v;
	uint8_t result[32] = { 0 };

	simd_check_avx(c);
	ea = mem_ea(c, i);
	for (n = 0; n < vl / es; n++) {
		if (!masked(mask, n, es))
			continue;
		linear[n] = mem_linear(c, i->i_seg, ea + n * es, es,
		    store ? ENGINE_WRITE : ENGINE_READ);
		if (store)
			mem_check_write(c, linear[n], es);
		else {
			v = mem_read(c, linear[n], es);
			memcpy(result + n * es, &v, es);
		}
	}
	if (!store) {
		memcpy(reg, result, sizeof(result));
		return;
	}
	for (n = 0; n < vl / es; n++) {
		if (!masked(mask, n, es))
			continue;
		v = 0;
		memcpy(&v, reg + n * es, es);
		mem_write(c, linear[n], es, v);
	}
}

/* Bytes of src whose mask byte has its top bit set go to seg:rDI. */
static void
store_bytes(struct cpu *c, const struct insn *i, const uint8_t *src,
    const uint8_t *mask, unsigned len)
{
	uint64_t ea = c->c_gpr[RDI], linear;
	unsigned n, pass;

	if (i->i_asize != 8)
		ea = i->i_asize == 4 ? (uint32_t)ea : (uint16_t)ea;
	for (pass = 0; pass < 2; pass++) {
		for (n = 0; n < len; n++) {
			if (!masked(mask, n, 1))
				continue;
			linear = mem_linear(c, i->i_seg, ea + n, 1,
			    ENGINE_WRITE);
			if (pass == 0)
				mem_check_write(c, linear, 1);
			else
				mem_write(c, linear, 1, src[n]);
		}
	}
}

/* MASKMOVDQU, VMASKMOVDQU */
void
insn_maskmovdqu(struct cpu *c, const struct insn *i)
{
	if (i->i_flags & INSN_VEX)
		simd_check_avx(c);
	else
		simd_check_sse(c);
	store_bytes(c, i, c->c_fpu.f_ymm[i->i_reg], c->c_fpu.f_ymm[i->i_rm],
	    16);
}

/* MASKMOVQ: any MMX instruction makes TOP 0 and all registers valid. */
void
insn_maskmovq(struct cpu *c, const struct insn *i)
{
	unsigned top;
	uint8_t mm[8][16], *fx = c->c_fpu.f_fx;
	unsigned n;

	simd_check_mmx(c);
	/* The image is in stack order: ST(n) is register TOP + n. */
	top = x87_fsw(c) >> 11 & 7;
	for (n = 0; n < 8; n++)
		memcpy(mm[(top + n) & 7], fx + FX_ST + n * 16, 16);
	store_bytes(c, i, mm[i->i_reg & 7], mm[i->i_rm & 7], 8);
	memcpy(fx + FX_ST, mm, sizeof(mm));
	fx[FX_FSW + 1] &= ~0x38;
	fx[FX_FTW] = 0xff;
}

/*
 * VGATHER*, VPGATHER*. o_msize is the element's size; the index has 4 bytes
 * for even opcodes, 8 for odd ones. What was loaded before a fault stays
 * loaded: its mask element is then zero.
 */
void
insn_gather(struct cpu *c, const struct insn *i)
{
	unsigned es = i->i_op->o_msize, is = i->i_opcode & 1 ? 8 : 4, n, count;
	uint8_t *mask = c->c_fpu.f_ymm[i->i_vvvv];
	uint8_t *reg = c->c_fpu.f_ymm[i->i_reg];
	const uint8_t *index = c->c_fpu.f_ymm[i->i_index];
	uint64_t base, ea, v;
	int64_t idx;
	int32_t idx32;

	simd_check_avx(c);
	count = (i->i_flags & INSN_L ? 32 : 16) / (es > is ? es : is);
	base = i->i_base == REG_RIP ? c->c_rip : c->c_gpr[i->i_base];
	base += (uint64_t)(int64_t)i->i_disp;

	for (n = 0; n < count; n++) {
		if (!masked(mask, n, es))
			continue;
		if (is == 4) {
			memcpy(&idx32, index + n * 4, 4);
			idx = idx32;
		} else
			memcpy(&idx, index + n * 8, 8);
		ea = base + ((uint64_t)idx << i->i_scale);
		if (i->i_asize == 4)
			ea = (uint32_t)ea;
		v = mem_read(c, mem_linear(c, i->i_seg, ea, es, ENGINE_READ),
		    es);
		memcpy(reg + n * es, &v, es);
		memset(mask + n * es, 0, es);
		mem_progress(c);
	}
	memset(mask, 0, 32);
	memset(reg + count * es, 0, 32 - count * es);
}
