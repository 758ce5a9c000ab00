/*
 * Ports: IN, OUT, INS, OUTS. SDM vol. 1 chapter 19 (rights), vol. 2.
 *
 * Every element is an exit. RIP is past the instruction then, or on it while
 * REP has elements left.
 */
#include "engine/soft/cpu.h"
#include "engine/soft/handlers.h"
#include "engine/soft/mem.h"
#include "engine/soft/stack.h"
#include "engine/soft/segment.h"

/* May this port be used here? Else #GP(0). */
static void
io_allowed(struct cpu *c, unsigned port, unsigned size)
{
	const struct segment *tr = &c->c_seg[SEG_TR];
	unsigned map, bits;

	if (!c->c_protected || (!c->c_v8086 && c->c_cpl <= cpu_iopl(c)))
		return;
	if (tr->s_ar & AR_UNUSABLE || (tr->s_ar & 8) == 0 ||
	    tr->s_limit < 103)
		cpu_gp(c, 0);
	map = (unsigned)mem_sys_read(c, tr->s_base + 102, 2) + port / 8;
	if (map + 1 > tr->s_limit)
		cpu_gp(c, 0);
	bits = (unsigned)mem_sys_read(c, tr->s_base + map, 2);
	if (bits >> (port & 7) & ((1u << size) - 1))
		cpu_gp(c, 0);
}

/* I/O breakpoints (SDM vol. 3B 17.2.4). */
static void
io_watch(struct cpu *c, unsigned port, unsigned size)
{
	uint64_t dr7 = c->c_dr[7], from, len;
	unsigned n;

	if ((c->c_cr4 & CR4_DE) == 0 || (dr7 & DR7_ENABLED) == 0)
		return;
	for (n = 0; n < 4; n++) {
		if ((dr7 >> (n * 2) & 3) == 0 ||
		    (dr7 >> (16 + n * 4) & 3) != 2)
			continue;
		len = "\1\2\10\4"[dr7 >> (18 + n * 4) & 3];
		from = c->c_dr[n] & ~(len - 1);
		if (port < from + len && port + size > from) {
			c->c_dr6_pending |= 1ul << n;
			cpu_request(c, REQ_STEP);
		}
	}
}

static _Noreturn void
io_leave(struct cpu *c, const struct insn *i, unsigned port, int dir,
    bool string, bool imm, uint32_t data)
{
	struct vm_exit_inout *io = &c->c_run->er_io;

	io_watch(c, port, i->i_osize);
	io->vei_size = i->i_osize;
	io->vei_dir = (uint8_t)dir;
	io->vei_rep = string && i->i_flags & (INSN_REP | INSN_REPNE);
	io->vei_string = string;
	io->vei_encoding = imm;
	io->vei_port = (uint16_t)port;
	io->vei_data = data;
	if (dir == VEI_DIR_IN) {
		c->c_in.wanted = true;
		c->c_in.size = i->i_osize;
		c->c_in.string = string;
	}
	cpu_leave(c, ENGINE_EXIT_IO, false);
}

static void
io_in(struct cpu *c, const struct insn *i, unsigned port, bool imm)
{
	io_allowed(c, port, i->i_osize);
	io_leave(c, i, port, VEI_DIR_IN, false, imm, 0);
}

static void
io_out(struct cpu *c, const struct insn *i, unsigned port, bool imm)
{
	uint64_t mask = i->i_osize == 1 ? UINT8_MAX : size_mask(i->i_osize);

	io_allowed(c, port, i->i_osize);
	io_leave(c, i, port, VEI_DIR_OUT, false, imm,
	    (uint32_t)(c->c_gpr[RAX] & mask));
}

void
insn_in(struct cpu *c, const struct insn *i)
{
	io_in(c, i, (uint8_t)i->i_imm, true);
}

void
insn_in_dx(struct cpu *c, const struct insn *i)
{
	io_in(c, i, (uint16_t)c->c_gpr[RDX], false);
}

void
insn_out(struct cpu *c, const struct insn *i)
{
	io_out(c, i, (uint8_t)i->i_imm, true);
}

void
insn_out_dx(struct cpu *c, const struct insn *i)
{
	io_out(c, i, (uint16_t)c->c_gpr[RDX], false);
}

/* --- strings ------------------------------------------------------------------------- */

static uint64_t
io_register(const struct cpu *c, unsigned reg, unsigned asize)
{
	return (c->c_gpr[reg] & size_mask(asize));
}

/* One element is done: count, index, and RIP if there are more. */
static void
io_advance(struct cpu *c, const struct insn *i, unsigned index)
{
	uint64_t step = c->c_rflags & FL_DF ? -(uint64_t)i->i_osize :
	    i->i_osize;
	uint64_t count;

	reg_set(c, index, i->i_asize,
	    io_register(c, index, i->i_asize) + step);
	if ((i->i_flags & (INSN_REP | INSN_REPNE)) == 0)
		return;
	count = io_register(c, RCX, i->i_asize) - 1;
	reg_set(c, RCX, i->i_asize, count);
	if ((count & size_mask(i->i_asize)) != 0) {
		c->c_rip -= i->i_len;
		c->c_repeating = true;
	}
}

static bool
io_count_is_zero(const struct cpu *c, const struct insn *i)
{
	return (i->i_flags & (INSN_REP | INSN_REPNE) &&
	    io_register(c, RCX, i->i_asize) == 0);
}

void
insn_outs(struct cpu *c, const struct insn *i)
{
	unsigned port = (uint16_t)c->c_gpr[RDX];
	uint64_t linear, data;

	io_allowed(c, port, i->i_osize);
	if (io_count_is_zero(c, i))
		return;
	linear = mem_linear(c, i->i_seg, io_register(c, RSI, i->i_asize),
	    i->i_osize, ENGINE_READ);
	data = mem_read(c, linear, i->i_osize);
	io_advance(c, i, RSI);
	io_leave(c, i, port, VEI_DIR_OUT, true, false, (uint32_t)data);
}

void
insn_ins(struct cpu *c, const struct insn *i)
{
	unsigned port = (uint16_t)c->c_gpr[RDX];
	struct mmu_target t;
	uint64_t linear;
	unsigned room;

	io_allowed(c, port, i->i_osize);
	if (io_count_is_zero(c, i))
		return;
	linear = mem_linear(c, SEG_ES, io_register(c, RDI, i->i_asize),
	    i->i_osize, ENGINE_WRITE);
	mem_check_write(c, linear, i->i_osize);
	room = PAGE_SIZE - (unsigned)(linear & PAGE_MASK);
	mmu_translate(c, c->c_mmu->m_class, linear, ENGINE_WRITE, &t);
	c->c_in.gpa[0] = t.t_gpa;
	c->c_in.part = (uint8_t)(room < i->i_osize ? room : i->i_osize);
	if (room < i->i_osize) {
		mmu_translate(c, c->c_mmu->m_class, linear + room,
		    ENGINE_WRITE, &t);
		c->c_in.gpa[1] = t.t_gpa;
	}
	io_advance(c, i, RDI);
	io_leave(c, i, port, VEI_DIR_IN, true, false, 0);
}
