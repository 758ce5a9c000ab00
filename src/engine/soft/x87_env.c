/*
 * FNSTENV, FLDENV, FNSAVE and FRSTOR: the x87 environment in memory, in the
 * four layouts of SDM vol. 1, figures 8-9 to 8-12.
 *
 * A stub works on a buffer in the protected-mode layout of the operand size;
 * here the selectors, which the host has no say in, and the real-mode layouts
 * are put in or taken out.
 */
#include <string.h>

#include "engine/soft/cpu.h"
#include "engine/soft/handlers.h"
#include "engine/soft/mem.h"
#include "engine/soft/opcode.h"
#include "engine/soft/simd.h"
#include "engine/soft/stub.h"

#define ENV16	14	/* bytes of the environment */
#define ENV32	28
#define REGS	80	/* of the registers after it, FNSAVE and FRSTOR */

static uint32_t
get(const uint8_t *p, unsigned size)
{
	uint32_t v = 0;

	memcpy(&v, p, size);
	return (v);
}

static void
put(uint8_t *p, unsigned size, uint32_t v)
{
	memcpy(p, &v, size);
}

/* The pointers of the current x87 state into the environment at env. */
static void
env_put(const struct cpu *c, uint8_t *env, bool wide, bool real)
{
	const uint8_t *fx = c->c_fpu.f_fx;
	uint32_t fip = get(fx + FX_FIP, 4), fdp = get(fx + FX_FDP, 4);
	uint32_t fop = get(fx + FX_FOP, 2) & 0x7ff;
	uint16_t fcs = c->c_fpu.f_fcs, fds = c->c_fpu.f_fds;

	if (real) {
		fip += (uint32_t)fcs << 4;
		fdp += (uint32_t)fds << 4;
		if (wide) {
			put(env + 12, 4, (fip & 0xffff) | 0xffff0000u);
			put(env + 16, 4, fip >> 16 << 12 | fop);
			put(env + 20, 4, (fdp & 0xffff) | 0xffff0000u);
			put(env + 24, 4, fdp >> 16 << 12);
		} else {
			put(env + 6, 2, fip);
			put(env + 8, 2, (fip >> 16 & 0xf) << 12 | fop);
			put(env + 10, 2, fdp);
			put(env + 12, 2, (fdp >> 16 & 0xf) << 12);
		}
	} else if (wide) {
		put(env + 12, 4, fip);
		put(env + 16, 4, (uint32_t)fcs | fop << 16);
		put(env + 20, 4, fdp);
		put(env + 24, 4, fds | 0xffff0000u);
	} else {
		put(env + 6, 2, fip);
		put(env + 8, 2, fcs);
		put(env + 10, 2, fdp);
		put(env + 12, 2, fds);
	}
}

/* What an environment from memory says of the pointers, after the load. */
static void
env_get(struct cpu *c, const uint8_t *env, bool wide, bool real)
{
	uint8_t *fx = c->c_fpu.f_fx;
	uint64_t fip, fdp;
	uint32_t fop = 0;
	uint16_t fcs = 0, fds = 0;

	if (real && wide) {
		fip = (get(env + 12, 4) & 0xffff) |
		    (uint64_t)(get(env + 16, 4) >> 12 & 0xffff) << 16;
		fop = get(env + 16, 4);
		fdp = (get(env + 20, 4) & 0xffff) |
		    (uint64_t)(get(env + 24, 4) >> 12 & 0xffff) << 16;
	} else if (real) {
		fip = get(env + 6, 2) | (get(env + 8, 2) >> 12) << 16;
		fop = get(env + 8, 2);
		fdp = get(env + 10, 2) | (get(env + 12, 2) >> 12) << 16;
	} else if (wide) {
		fip = get(env + 12, 4);
		fcs = (uint16_t)get(env + 16, 2);
		fop = get(env + 18, 2);
		fdp = get(env + 20, 4);
		fds = (uint16_t)get(env + 24, 2);
	} else {
		fip = get(env + 6, 2);
		fcs = (uint16_t)get(env + 8, 2);
		fdp = get(env + 10, 2);
		fds = (uint16_t)get(env + 12, 2);
	}
	memcpy(fx + FX_FIP, &fip, sizeof(fip));
	memcpy(fx + FX_FDP, &fdp, sizeof(fdp));
	put(fx + FX_FOP, 2, fop & 0x7ff);
	c->c_fpu.f_fcs = fcs;
	c->c_fpu.f_fds = fds;
}

/*
 * All four instructions: /4 loads, /6 stores; DD is the whole state, D9 the
 * environment. Only the loads wait for a pending exception.
 */
void
insn_x87_env(struct cpu *c, const struct insn *i)
{
	_Alignas(64) uint8_t buf[ENV32 + REGS] = { 0 }, old[FX_XMM];
	bool store = i->i_op->o_rm & R_WRITE, wide = i->i_osize != 2;
	bool real = !c->c_protected || c->c_v8086, all = i->i_opcode == 0xdd;
	unsigned env = wide ? ENV32 : ENV16, size = all ? env + REGS : env;
	uint64_t linear;

	x87_check(c);
	if (!store)
		x87_check_pending(c);
	linear = mem_operand(c, i, size, store ? ENGINE_WRITE : ENGINE_READ);
	if (!store) {
		mem_read_buf(c, linear, buf, size);
		stub_get(c, i)(c, buf);
		env_get(c, buf, wide, real);
		return;
	}
	mem_check_write(c, linear, size);
	memcpy(old, c->c_fpu.f_fx, sizeof(old));
	stub_get(c, i)(c, buf);
	/* FNSAVE has reset the state; a write that leaves run() must not. */
	{
		uint8_t new[FX_XMM];

		memcpy(new, c->c_fpu.f_fx, sizeof(new));
		memcpy(c->c_fpu.f_fx, old, sizeof(old));
		env_put(c, buf, wide, real);
		mem_write_buf(c, linear, buf, size);
		memcpy(c->c_fpu.f_fx, new, sizeof(new));
	}
	if (all)
		c->c_fpu.f_fcs = c->c_fpu.f_fds = 0;
}
