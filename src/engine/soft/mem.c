/*
 * Guest memory as instructions see it: what the inline fast paths of mem.h do
 * not do. Segment checks (SDM vol. 3A 5.3 to 5.5, in segment.c's terms), page
 * crossings, MMIO, cached code, breakpoints and alignment (#AC).
 */
#include <string.h>

#include "engine/soft/block.h"
#include "engine/soft/cpu.h"
#include "engine/soft/jit/jit.h"
#include "engine/soft/mem.h"
#include "engine/soft/vm.h"

/* --- segments -------------------------------------------------------------------- */

static _Noreturn void
mem_segment_fault(struct cpu *c, unsigned seg)
{
	cpu_fault(c, seg == SEG_SS ? VMM_EX_SS : VMM_EX_GP, 0);
}

uint64_t
mem_linear_slow(struct cpu *c, unsigned seg, uint64_t off, unsigned size,
    int access)
{
	const struct segment *s = &c->c_seg[seg];
	uint32_t ar = s->s_ar;
	uint64_t last = (off & UINT32_MAX) + size - 1, top;

	if (c->c_code64)	/* not canonical: mem_linear() looked */
		mem_segment_fault(c, seg);
	off &= UINT32_MAX;
	if (ar & AR_UNUSABLE)
		mem_segment_fault(c, seg);
	if (ar & AR_CODE) {
		/* real mode and virtual-8086 mode write through CS */
		if (c->c_protected && !c->c_v8086 &&
		    ((access & ENGINE_WRITE) || (ar & AR_READABLE) == 0))
			mem_segment_fault(c, seg);
	} else if (access & ENGINE_WRITE && (ar & AR_WRITABLE) == 0)
		mem_segment_fault(c, seg);
	if ((ar & (AR_CODE | AR_DOWN)) == AR_DOWN) {
		top = ar & AR_DB ? UINT32_MAX : UINT16_MAX;
		if (off <= s->s_limit || last > top)
			mem_segment_fault(c, seg);
	} else if (last > s->s_limit)
		mem_segment_fault(c, seg);
	return ((uint32_t)(s->s_base + off));
}

/* --- pieces: an access split at a page ---------------------------------------------- */

static unsigned
mem_room(uint64_t linear, unsigned len)
{
	unsigned room = PAGE_SIZE - (unsigned)(linear & PAGE_MASK);

	return (len < room ? len : room);
}

/* Data breakpoints (SDM vol. 3B 17.2.5). */
static void
mem_watch(struct cpu *c, uint64_t linear, unsigned len, int access)
{
	uint64_t dr7 = c->c_dr[7], from, size;
	unsigned n, rw;

	if (c->c_mmu->m_nwatch == 0)
		return;
	for (n = 0; n < 4; n++) {
		rw = dr7 >> (16 + n * 4) & 3;
		if ((dr7 >> (n * 2) & 3) == 0 || (rw & 1) == 0 ||
		    (rw == 1 && (access & ENGINE_WRITE) == 0))
			continue;
		size = "\1\2\10\4"[dr7 >> (18 + n * 4) & 3];
		from = c->c_dr[n] & ~(size - 1);
		if (linear < from + size && linear + len > from) {
			c->c_dr6_pending |= 1ul << n;
			cpu_request(c, REQ_STEP);
		}
	}
}

/* Before a write to [t_host, +len): lockstep wants to take it back. */
static inline void
mem_journal(struct cpu *c, const struct mmu_target *t, unsigned len)
{
	if (__builtin_expect(c->c_journal, 0))
		lockstep_write(c, t->t_host, len, t->t_code &&
		    block_is_code(c->c_blocks, t->t_gpa, len));
}

/* Reads a piece of any length inside one page. */
static void
piece_read(struct cpu *c, const struct mmu_target *t, void *data, unsigned len)
{
	uint8_t *p = data;
	uint64_t gpa = t->t_gpa, value;
	unsigned size;

	if (t->t_host != NULL) {
		memcpy(p, t->t_host, len);
		return;
	}
	for (; len > 0; len -= size, p += size, gpa += size) {
		for (size = 8; size > len || gpa & (size - 1); size /= 2)
			;
		value = mmu_mmio_read(c, gpa, size);
		memcpy(p, &value, size);
	}
}

static void
piece_write(struct cpu *c, const struct mmu_target *t, const void *data,
    unsigned len)
{
	const uint8_t *p = data;
	uint64_t gpa = t->t_gpa, value = 0;
	unsigned size;

	if (t->t_host != NULL) {
		mem_journal(c, t, len);
		memcpy(t->t_host, p, len);
		if (t->t_code)
			block_written(c, gpa, len);
		return;
	}
	for (; len > 0; len -= size, p += size, gpa += size) {
		for (size = 8; size > len || gpa & (size - 1); size /= 2)
			;
		memcpy(&value, p, size);
		mmu_mmio_write(c, gpa, size, value);
	}
}

/* A value inside one page: one access, whatever its alignment. */
static uint64_t
value_read(struct cpu *c, const struct mmu_target *t, unsigned size)
{
	if (t->t_host == NULL)
		return (mmu_mmio_read(c, t->t_gpa, size));
	return (mem_load(t->t_host, size));
}

static void
value_write(struct cpu *c, const struct mmu_target *t, unsigned size,
    uint64_t value)
{
	if (t->t_host == NULL) {
		mmu_mmio_write(c, t->t_gpa, size, value);
		return;
	}
	mem_journal(c, t, size);
	mem_store(t->t_host, size, value);
	if (t->t_code)
		block_written(c, t->t_gpa, size);
}

static uint64_t
class_read(struct cpu *c, enum mmu_class class, uint64_t linear,
    unsigned size)
{
	struct mmu_target t, t2;
	unsigned n = mem_room(linear, size);
	uint64_t value = 0;

	mmu_translate(c, class, linear, ENGINE_READ, &t);
	if (n == size) {
		mem_watch(c, linear, size, ENGINE_READ);
		return (value_read(c, &t, size));
	}
	mmu_translate(c, class, linear + n, ENGINE_READ, &t2);
	mem_watch(c, linear, size, ENGINE_READ);
	piece_read(c, &t, &value, n);
	piece_read(c, &t2, (uint8_t *)&value + n, size - n);
	return (value);
}

static void
class_write(struct cpu *c, enum mmu_class class, uint64_t linear,
    unsigned size, uint64_t value)
{
	struct mmu_target t, t2;
	unsigned n = mem_room(linear, size);

	mmu_translate(c, class, linear, ENGINE_WRITE, &t);
	if (n == size) {
		mem_watch(c, linear, size, ENGINE_WRITE);
		value_write(c, &t, size, value);
		return;
	}
	mmu_translate(c, class, linear + n, ENGINE_WRITE, &t2);
	mem_watch(c, linear, size, ENGINE_WRITE);
	piece_write(c, &t, &value, n);
	piece_write(c, &t2, (uint8_t *)&value + n, size - n);
}

static void
class_check(struct cpu *c, enum mmu_class class, uint64_t linear,
    unsigned len, int access)
{
	struct mmu_target t;
	unsigned n;

	for (; len > 0; len -= n, linear += n) {
		n = mem_room(linear, len);
		mmu_translate(c, class, linear, access, &t);
	}
}

/* --- values at the current privilege --------------------------------------------------- */

static void
mem_align(struct cpu *c, uint64_t linear, unsigned size)
{
	if (c->c_tlb == c->c_mmu->m_tlb[MMU_SLOW] && linear & (size - 1))
		cpu_fault(c, VMM_EX_AC, 0);
}

uint64_t
mem_read_slow(struct cpu *c, uint64_t linear, unsigned size)
{
	mem_align(c, linear, size);
	return (class_read(c, c->c_mmu->m_class, linear, size));
}

void
mem_write_slow(struct cpu *c, uint64_t linear, unsigned size, uint64_t value)
{
	mem_align(c, linear, size);
	class_write(c, c->c_mmu->m_class, linear, size, value);
}

/* --- runs of bytes ------------------------------------------------------------------------ */

void
mem_read_buf(struct cpu *c, uint64_t linear, void *data, unsigned len)
{
	enum mmu_class class = c->c_mmu->m_class;
	struct mmu_target t;
	uint8_t *p = data;
	unsigned n;

	class_check(c, class, linear, len, ENGINE_READ);
	mem_watch(c, linear, len, ENGINE_READ);
	for (; len > 0; len -= n, linear += n, p += n) {
		n = mem_room(linear, len);
		mmu_translate(c, class, linear, ENGINE_READ, &t);
		piece_read(c, &t, p, n);
	}
}

void
mem_write_buf(struct cpu *c, uint64_t linear, const void *data, unsigned len)
{
	enum mmu_class class = c->c_mmu->m_class;
	struct mmu_target t;
	const uint8_t *p = data;
	unsigned n;

	class_check(c, class, linear, len, ENGINE_WRITE);
	mem_watch(c, linear, len, ENGINE_WRITE);
	for (; len > 0; len -= n, linear += n, p += n) {
		n = mem_room(linear, len);
		mmu_translate(c, class, linear, ENGINE_WRITE, &t);
		piece_write(c, &t, p, n);
	}
}

void
mem_check_write(struct cpu *c, uint64_t linear, unsigned len)
{
	class_check(c, c->c_mmu->m_class, linear, len, ENGINE_WRITE);
}

void
mem_check_read(struct cpu *c, uint64_t linear, unsigned len)
{
	class_check(c, c->c_mmu->m_class, linear, len, ENGINE_READ);
}

void *
mem_host_slow(struct cpu *c, uint64_t linear, unsigned len, int access)
{
	struct mmu_target t;

	if (mem_room(linear, len) != len || c->c_mmu->m_nwatch != 0) {
		/* the caller's mem_*_buf checks all, and watches */
		return (NULL);
	}
	mmu_translate(c, c->c_mmu->m_class, linear, access, &t);
	if (access & ENGINE_WRITE && t.t_code)
		return (NULL);
	if (access & ENGINE_WRITE && t.t_host != NULL)
		mem_journal(c, &t, len);
	return (t.t_host);
}

/* --- as supervisor --------------------------------------------------------------------------- */

uint64_t
mem_sys_read(struct cpu *c, uint64_t linear, unsigned size)
{
	const struct tlb_entry *e = tlb_slot(c->c_tlb_sys, linear);

	if (e->te_read == tlb_tag(c, linear, size))
		return (mem_load((const void *)(uintptr_t)(linear +
		    e->te_addend), size));
	return (class_read(c, mmu_class_sys(c), linear, size));
}

void
mem_sys_write(struct cpu *c, uint64_t linear, unsigned size, uint64_t value)
{
	class_write(c, mmu_class_sys(c), linear, size, value);
}

void
mem_sys_check_write(struct cpu *c, uint64_t linear, unsigned len)
{
	class_check(c, mmu_class_sys(c), linear, len, ENGINE_WRITE);
}

void
mem_sys_or8(struct cpu *c, uint64_t linear, uint8_t bits)
{
	struct mmu_target t;

	mmu_translate(c, mmu_class_sys(c), linear, ENGINE_WRITE, &t);
	if (t.t_host == NULL) {
		mmu_mmio_write(c, t.t_gpa, 1,
		    mmu_mmio_read(c, t.t_gpa, 1) | bits);
		return;
	}
	mem_journal(c, &t, 1);
	__atomic_fetch_or(t.t_host, bits, __ATOMIC_SEQ_CST);
	if (t.t_code)
		block_written(c, t.t_gpa, 1);
}

void
mem_sys_and8(struct cpu *c, uint64_t linear, uint8_t bits)
{
	struct mmu_target t;

	mmu_translate(c, mmu_class_sys(c), linear, ENGINE_WRITE, &t);
	if (t.t_host == NULL) {
		mmu_mmio_write(c, t.t_gpa, 1,
		    mmu_mmio_read(c, t.t_gpa, 1) & bits);
		return;
	}
	mem_journal(c, &t, 1);
	__atomic_fetch_and(t.t_host, bits, __ATOMIC_SEQ_CST);
	if (t.t_code)
		block_written(c, t.t_gpa, 1);
}

static enum mmu_class
mem_class_as(const struct cpu *c, bool user)
{
	if (user)
		return (MMU_USER);
	return (c->c_cr4 & CR4_SMAP && (c->c_rflags & FL_AC) == 0 ?
	    MMU_SMAP : MMU_SUPER);
}

void
mem_write_as(struct cpu *c, bool user, uint64_t linear, unsigned size,
    uint64_t value)
{
	class_write(c, mem_class_as(c, user), linear, size, value);
}

void
mem_check_write_as(struct cpu *c, bool user, uint64_t linear, unsigned len)
{
	class_check(c, mem_class_as(c, user), linear, len, ENGINE_WRITE);
}

/* --- read-modify-write --------------------------------------------------- */

void
mem_split_release(struct cpu *c)
{
	if (!c->c_split_locked)
		return;
	c->c_split_locked = false;
	pthread_mutex_unlock(&c->c_vm->ev_split);
}

void *
mem_rmw_slow(struct cpu *c, uint64_t linear, unsigned size, uint64_t *value,
    bool locked)
{
	enum mmu_class class = c->c_mmu->m_class;
	struct mmu_target t;
	unsigned n = mem_room(linear, size);

	mem_align(c, linear, size);
	class_check(c, class, linear, size, ENGINE_WRITE);
	mem_watch(c, linear, size, ENGINE_READ | ENGINE_WRITE);
	if (n == size) {
		mmu_translate(c, class, linear, ENGINE_READ | ENGINE_WRITE,
		    &t);
		if (t.t_host != NULL && !t.t_code) {
			mem_journal(c, &t, size);
			return (t.t_host);
		}
	}
	if (locked) {
		pthread_mutex_lock(&c->c_vm->ev_split);
		c->c_split_locked = true;
	}
	if (size <= 8)
		*value = class_read(c, class, linear, size);
	else {
		value[0] = class_read(c, class, linear, 8);
		value[1] = class_read(c, class, linear + 8, size - 8);
	}
	return (NULL);
}

void
mem_rmw_store(struct cpu *c, uint64_t linear, unsigned size, uint64_t value)
{
	class_write(c, c->c_mmu->m_class, linear, size, value);
	mem_split_release(c);
}

void
mem_rmw_store16(struct cpu *c, uint64_t linear, const uint64_t value[2])
{
	enum mmu_class class = c->c_mmu->m_class;

	class_write(c, class, linear, 8, value[0]);
	class_write(c, class, linear + 8, 8, value[1]);
	mem_split_release(c);
}
