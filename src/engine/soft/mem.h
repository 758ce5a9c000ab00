/*
 * Guest memory as instructions see it: segment:offset and linear accesses with
 * all checks of the current mode. Every function either succeeds or does not
 * return (cpu.h: cpu_fault, cpu_page_fault, cpu_leave).
 *
 * 1. Values are little-endian integers of size 1, 2, 4 or 8; other sizes go
 *    through mem_read_buf/mem_write_buf.
 * 2. A write that crosses a page checks both pages before it writes either.
 * 3. Memory outside all ranges is MMIO: the monitor answers at once or the
 *    instruction leaves run() and starts anew when it is answered; so an
 *    instruction reads all it needs before it changes state (cpu.h, 2). One
 *    that makes lasting progress (a REP iteration) says so by mem_progress().
 * 4. The host's own protection may refuse an access at any time: that leaves
 *    run() with ENGINE_EXIT_PROTECT (base/hostfault.h).
 */
#ifndef SOFT_MEM_H
#define SOFT_MEM_H

#include <string.h>

#include "engine/soft/cpu.h"
#include "engine/soft/mmu.h"

/* --- addresses --------------------------------------------------------------- */

/* The offset of i's memory operand, truncated to the address size. */
static inline uint64_t
mem_ea(struct cpu *c, const struct insn *i)
{
	uint64_t ea = (uint64_t)(int64_t)i->i_disp;

	if (__builtin_expect(i->i_base == REG_RIP, 0))
		ea += c->c_rip;
	else
		ea += c->c_gpr[i->i_base];
	ea += c->c_gpr[i->i_index] << i->i_scale;
	if (__builtin_expect(i->i_asize == 8, 1))
		return (ea);
	return (i->i_asize == 4 ? (uint32_t)ea : (uint16_t)ea);
}

uint64_t	mem_linear_slow(struct cpu *, unsigned seg, uint64_t off,
		    unsigned size, int access);
/*
 * Linear address of [seg:off, +size) after the segment checks for the access
 * (ENGINE_READ/WRITE, both for read-modify-write; EXEC not here): limit, type,
 * null, canonical. Raises #GP(0) or #SS(0), also for an operand that wraps
 * around the end of a 4 GiB segment. The sum of base and offset wraps at 4 GiB
 * outside 64-bit mode. Alignment checking (#AC) is done by the access itself.
 */
static inline uint64_t
mem_linear(struct cpu *c, unsigned seg, uint64_t off, unsigned size,
    int access)
{
	uint64_t linear;

	if (__builtin_expect(c->c_code64, 1)) {
		linear = seg >= SEG_FS ? off + c->c_seg[seg].s_base : off;
		if (__builtin_expect(cpu_canonical(linear) &&
		    cpu_canonical(linear + size - 1), 1))
			return (linear);
	} else if ((c->c_seg[seg].s_flat & access) == access &&
	    (uint32_t)off <= UINT32_MAX - (size - 1))
		return ((uint32_t)off);
	return (mem_linear_slow(c, seg, off, size, access));
}

/* --- values, at the current privilege ---------------------------------------- */

uint64_t	mem_read_slow(struct cpu *, uint64_t linear, unsigned size);
void		mem_write_slow(struct cpu *, uint64_t linear, unsigned size,
		    uint64_t value);

/* Plain host accesses of 1, 2, 4, 8 bytes at any alignment. */
static inline uint64_t
mem_load(const void *p, unsigned size)
{
	uint64_t q;
	uint32_t l;
	uint16_t w;

	switch (size) {
	case 1:
		return (*(const uint8_t *)p);
	case 2:
		memcpy(&w, p, sizeof(w));
		return (w);
	case 4:
		memcpy(&l, p, sizeof(l));
		return (l);
	default:
		memcpy(&q, p, sizeof(q));
		return (q);
	}
}

static inline void
mem_store(void *p, unsigned size, uint64_t value)
{
	uint32_t l = (uint32_t)value;
	uint16_t w = (uint16_t)value;

	switch (size) {
	case 1:
		*(uint8_t *)p = (uint8_t)value;
		break;
	case 2:
		memcpy(p, &w, sizeof(w));
		break;
	case 4:
		memcpy(p, &l, sizeof(l));
		break;
	default:
		memcpy(p, &value, sizeof(value));
	}
}

static inline uint64_t
mem_read(struct cpu *c, uint64_t linear, unsigned size)
{
	const struct tlb_entry *e = tlb_slot(c->c_tlb, linear);

	if (__builtin_expect(e->te_read == tlb_tag(c, linear, size), 1))
		return (mem_load((const void *)(uintptr_t)(linear +
		    e->te_addend), size));
	return (mem_read_slow(c, linear, size));
}

static inline void
mem_write(struct cpu *c, uint64_t linear, unsigned size, uint64_t value)
{
	const struct tlb_entry *e = tlb_slot(c->c_tlb, linear);

	if (__builtin_expect(e->te_write == tlb_tag(c, linear, size), 1))
		mem_store((void *)(uintptr_t)(linear + e->te_addend), size,
		    value);
	else
		mem_write_slow(c, linear, size, value);
}

/* --- runs of bytes ----------------------------------------------------------- */

void		mem_read_buf(struct cpu *, uint64_t linear, void *,
		    unsigned len);
void		mem_write_buf(struct cpu *, uint64_t linear, const void *,
		    unsigned len);
/* All checks of a write (translation, rights, A/D bits), no write. */
void		mem_check_write(struct cpu *, uint64_t linear, unsigned len);
void		mem_check_read(struct cpu *, uint64_t linear, unsigned len);

void	       *mem_host_slow(struct cpu *, uint64_t linear, unsigned len,
		    int access);
/* Host pointer for [linear, linear+len) inside one page of RAM for reading or
 * writing (access ENGINE_READ/WRITE) after all checks, or NULL when it is MMIO,
 * crosses a page, or is cached code being written: then use mem_*_buf. Valid
 * until the instruction ends. Host protection faults inside it are caught. */
static inline void *
mem_host(struct cpu *c, uint64_t linear, unsigned len, int access)
{
	const struct tlb_entry *e = tlb_slot(c->c_tlb, linear);
	uint64_t tag = tlb_tag(c, linear, len);

	if (((access & ENGINE_WRITE) == 0 || e->te_write == tag) &&
	    ((access & ENGINE_READ) == 0 || e->te_read == tag))
		return ((void *)(uintptr_t)(linear + e->te_addend));
	return (mem_host_slow(c, linear, len, access));
}

/* --- as supervisor, whatever the CPL ------------------------------------------ */

/* Descriptor tables, TSS, IDT, stacks being switched to (SDM vol. 3A 4.6.1
 * "implicit supervisor-mode accesses"). */
uint64_t	mem_sys_read(struct cpu *, uint64_t linear, unsigned size);
void		mem_sys_write(struct cpu *, uint64_t linear, unsigned size,
		    uint64_t);
void		mem_sys_check_write(struct cpu *, uint64_t linear,
		    unsigned len);
/* Locked OR of bits into a descriptor's byte (accessed, busy), as supervisor. */
void		mem_sys_or8(struct cpu *, uint64_t linear, uint8_t bits);
/* The same of AND. */
void		mem_sys_and8(struct cpu *, uint64_t linear, uint8_t bits);
/* Explicit accesses at a privilege that is not yet the current one (stacks of
 * inner levels, frames of outer ones): user says whose. */
void		mem_write_as(struct cpu *, bool user, uint64_t linear,
		    unsigned size, uint64_t);
void		mem_check_write_as(struct cpu *, bool user, uint64_t linear,
		    unsigned len);

/* --- read-modify-write --------------------------------------------------------- */

/*
 * Begin gives a host pointer to size bytes (up to 16) when the operand lies in
 * RAM, inside one page, writable, not cached code: operate on it in place,
 * atomically if the instruction is locked; nothing more is to be done. When it
 * gives NULL, the value has been read to value[] (two words for 16 bytes),
 * under the engine's split lock if the instruction is locked (INSN_LOCK, or
 * XCHG with memory: call mem_rmw_begin_locked), and every check of the write
 * has passed: compute, then mem_rmw_store(), which writes back and releases
 * the lock.
 */
void	       *mem_rmw_slow(struct cpu *, uint64_t linear, unsigned size,
		    uint64_t *value, bool locked);
void		mem_rmw_store(struct cpu *, uint64_t linear, unsigned size,
		    uint64_t value);
void		mem_rmw_store16(struct cpu *, uint64_t linear,
		    const uint64_t value[2]);

static inline void *
mem_rmw_begin(struct cpu *c, uint64_t linear, unsigned size, uint64_t *value)
{
	const struct tlb_entry *e = tlb_slot(c->c_tlb, linear);
	uint64_t tag = tlb_tag(c, linear, size);

	if (__builtin_expect(e->te_write == tag && e->te_read == tag, 1))
		return ((void *)(uintptr_t)(linear + e->te_addend));
	return (mem_rmw_slow(c, linear, size, value,
	    (c->c_insn->i_flags & INSN_LOCK) != 0));
}

static inline void *
mem_rmw_begin_locked(struct cpu *c, uint64_t linear, unsigned size,
    uint64_t *value)
{
	const struct tlb_entry *e = tlb_slot(c->c_tlb, linear);
	uint64_t tag = tlb_tag(c, linear, size);

	if (__builtin_expect(e->te_write == tag && e->te_read == tag, 1))
		return ((void *)(uintptr_t)(linear + e->te_addend));
	return (mem_rmw_slow(c, linear, size, value, true));
}

/* Lets go of the split lock, if held: an instruction that was left. */
void		mem_split_release(struct cpu *);

/* What the instruction has done so far stands: if it leaves run() and starts
 * anew, it goes on from here. */
static inline void
mem_progress(struct cpu *c)
{
	c->c_mmio.ml_count = c->c_mmio.ml_next = 0;
}

/* Convenience: operand of i (INSN_MEM) with size bytes. */
static inline uint64_t
mem_operand(struct cpu *c, const struct insn *i, unsigned size, int access)
{
	return (mem_linear(c, i->i_seg, mem_ea(c, i), size, access));
}

#endif
