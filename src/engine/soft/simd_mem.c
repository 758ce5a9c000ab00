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

/*
 * Bytes of src whose mask byte has its top bit set go to seg:rDI. All of the
 * operand is checked, page by page; whether that is so with a mask of zeros is
 * up to the CPU, and AMD's do.
 */
static void
store_bytes(struct cpu *c, const struct insn *i, const uint8_t *src,
    const uint8_t *mask, unsigned len)
{
	uint64_t ea = c->c_gpr[RDI], linear[16];
	unsigned n, first, part;
	bool any = false;

	if (i->i_asize != 8)
		ea = i->i_asize == 4 ? (uint32_t)ea : (uint16_t)ea;
	for (n = 0; n < len; n++)
		any |= masked(mask, n, 1);
	if (!any && c->c_intel)
		return;
	for (first = 0; first < len; first = n) {
		linear[first] = mem_linear(c, i->i_seg, ea + first, 1,
		    ENGINE_WRITE);
		part = PAGE_SIZE - (unsigned)(linear[first] & PAGE_MASK);
		if (part > len - first)
			part = len - first;
		mem_check_write(c, linear[first], part);
		for (n = first + 1; n < first + part; n++)
			linear[n] = mem_linear(c, i->i_seg, ea + n, 1,
			    ENGINE_WRITE);
	}
	for (n = 0; n < len; n++)
		if (masked(mask, n, 1))
			mem_write(c, linear[n], 1, src[n]);
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

void
insn_maskmovq(struct cpu *c, const struct insn *i)
{
	const uint8_t *mm;

	simd_check_mmx(c);
	mmx_enter(c);
	mm = c->c_fpu.f_fx + FX_ST;
	store_bytes(c, i, mm + (i->i_reg & 7) * 16, mm + (i->i_rm & 7) * 16, 8);
}

/*
 * VGATHER*, VPGATHER*. o_msize is the element's size; the index has 4 bytes
 * for even opcodes, 8 for odd ones. What was loaded before a fault stays
 * loaded; the mask is zero up to the element that faulted.
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
		if (!masked(mask, n, es)) {
			memset(mask + n * es, 0, es);
			continue;
		}
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
