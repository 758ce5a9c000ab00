/*
 * The cache of decoded code (block.h): finding, making and forgetting blocks.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/soft/ahead.h"
#include "engine/soft/block.h"
#include "engine/soft/cpu.h"
#include "engine/soft/direct/direct.h"
#include "engine/soft/jit/jit.h"
#include "engine/soft/mmu.h"
#include "engine/soft/vm.h"

#define ARENA_SIZE	((size_t)32 << 20)
/* The most that one block and its page can take. */
#define ARENA_RESERVE	(sizeof(struct block) + sizeof(struct code_page) * 2 + \
    BLOCK_INSNS * INSN_MAXLEN + 64)
#define SEGMENT_SIZE	((size_t)128 << 10)	/* of decoded instructions */
#define SEGMENTS_FEW	16u
#define SEGMENTS_MANY	384u
/* Writes over code of a page after which all of its blocks go. */
#define PAGE_PATIENCE	4

/* A block's instructions in bc_decoded. */
struct decoded {
	struct block	*d_block;
	struct insn	 d_insn[];
};

static void *
map_private(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return (p == MAP_FAILED ? NULL : p);
}

struct block_cache *
block_cache_new(bool few)
{
	struct block_cache *bc;

	if ((bc = calloc(1, sizeof(*bc))) == NULL)
		return (NULL);
	bc->bc_segments = few ? SEGMENTS_FEW : SEGMENTS_MANY;
	bc->bc_arena = map_private(ARENA_SIZE);
	bc->bc_decoded = map_private(bc->bc_segments * SEGMENT_SIZE);
	bc->bc_fill = calloc(bc->bc_segments, sizeof(*bc->bc_fill));
	bc->bc_hash = calloc(BLOCK_HASH, sizeof(struct block *));
	bc->bc_pages = calloc(BLOCK_PAGES, sizeof(struct code_page *));
	bc->bc_temp = calloc(1, sizeof(struct block));
	if (bc->bc_temp != NULL)
		bc->bc_temp->b_decoded = calloc(1, sizeof(struct insn));
	if (bc->bc_arena == NULL || bc->bc_decoded == NULL ||
	    bc->bc_fill == NULL || bc->bc_hash == NULL ||
	    bc->bc_pages == NULL || bc->bc_temp == NULL ||
	    bc->bc_temp->b_decoded == NULL) {
		block_cache_free(bc);
		return (NULL);
	}
	bc->bc_epoch = 1;
	bc->bc_jump_gen = 1;
	return (bc);
}

void
block_cache_free(struct block_cache *bc)
{
	if (bc == NULL)
		return;
	if (bc->bc_arena != NULL)
		munmap(bc->bc_arena, ARENA_SIZE);
	if (bc->bc_decoded != NULL)
		munmap(bc->bc_decoded, bc->bc_segments * SEGMENT_SIZE);
	free(bc->bc_fill);
	free(bc->bc_hash);
	free(bc->bc_pages);
	if (bc->bc_temp != NULL)
		free(bc->bc_temp->b_decoded);
	free(bc->bc_temp);
	free(bc);
}

static void *
arena_take(struct block_cache *bc, size_t size)
{
	void *p = bc->bc_arena + bc->bc_used;

	bc->bc_used += (size + 7) & ~(size_t)7;
	assert(bc->bc_used <= ARENA_SIZE);
	return (p);
}

/* --- decoded instructions --- */

/* Room for a block's instructions at the end of bc_decoded. */
static struct decoded *
decoded_room(struct block_cache *bc)
{
	const size_t most = sizeof(struct decoded) +
	    BLOCK_INSNS * sizeof(struct insn);
	uint32_t *fill = &bc->bc_fill[bc->bc_segment], at;
	uint8_t *segment = bc->bc_decoded + bc->bc_segment * SEGMENT_SIZE;
	struct decoded *d;

	if (SEGMENT_SIZE - *fill < most) {
		if (++bc->bc_segment == bc->bc_segments)
			bc->bc_segment = 0;
		fill = &bc->bc_fill[bc->bc_segment];
		segment = bc->bc_decoded + bc->bc_segment * SEGMENT_SIZE;
		for (at = 0; at < *fill; at += (uint32_t)(sizeof(*d) +
		    d->d_block->b_count * sizeof(struct insn))) {
			d = (struct decoded *)(void *)(segment + at);
			d->d_block->b_decoded = NULL;
		}
		*fill = 0;
	}
	return ((struct decoded *)(void *)(segment + *fill));
}

/* These, in such room, are b's. */
static void
decoded_keep(struct block_cache *bc, struct decoded *d, struct block *b)
{
	d->d_block = b;
	b->b_decoded = d->d_insn;
	bc->bc_fill[bc->bc_segment] += (uint32_t)(sizeof(*d) +
	    b->b_count * sizeof(struct insn));
}

void
block_decode(const struct cpu *c, struct block *b)
{
	struct decoded *d = decoded_room(c->c_blocks);
	struct decode_mode mode = c->c_decode;
	enum decode_result r;
	unsigned n, len = 0;

	mode.dm_bits = b->b_mode & BLOCK_64 ? 64 : b->b_mode & BLOCK_32 ? 32 :
	    16;
	mode.dm_real = b->b_mode & BLOCK_REAL;
	for (n = 0; n < b->b_count; n++) {
		r = insn_decode(b->b_bytes + len, b->b_len - len, &mode,
		    &d->d_insn[n]);
		assert(r == DECODE_OK);
		(void)r;
		len += d->d_insn[n].i_len;
	}
	assert(len == b->b_len);
	decoded_keep(c->c_blocks, d, b);
}

/* --- modes and jumps ---------------------------------------------------------------- */

void
block_mode_update(struct cpu *c)
{
	struct block_cache *bc = c->c_blocks;

	c->c_decode.dm_bits = c->c_code64 ? 64 : c->c_code32 ? 32 : 16;
	c->c_decode.dm_real = !c->c_protected || c->c_v8086;
	/* limits of odd code segments are in nobody's key */
	if (!c->c_flat_code)
		bc->bc_jump_gen++;
	bc->bc_key = bc->bc_jump_gen << 4 | block_mode(c) |
	    (c->c_cpl == 3 ? 8 : 0);
}

void
block_jumps_flush(struct cpu *c)
{
	c->c_blocks->bc_jump_gen++;
	memset(c->c_blocks->bc_fetched, 0, sizeof(c->c_blocks->bc_fetched));
	block_mode_update(c);
	cpu_request(c, REQ_RESYNC);
}

void
block_jumps_forget(struct cpu *c, uint64_t linear)
{
	unsigned n = block_fetched(linear);

	if (c->c_blocks->bc_fetched[n / 64] >> (n % 64) & 1)
		block_jumps_flush(c);
}

static void
block_fetch(struct block_cache *bc, uint64_t linear)
{
	unsigned n = block_fetched(linear);

	bc->bc_fetched[n / 64] |= UINT64_C(1) << (n % 64);
}

/* --- forgetting -------------------------------------------------------------------------- */

static unsigned
block_side(const struct block *b, uint64_t page)
{
	return ((b->b_gpa & ~(uint64_t)PAGE_MASK) == page ? 0 : 1);
}

static void
block_unlink_page(struct block_cache *bc, struct block *b, uint64_t page)
{
	struct block **bp = &(*block_page_slot(bc, page))->p_blocks;

	while (*bp != b)
		bp = &(*bp)->b_page[block_side(*bp, page)];
	*bp = b->b_page[block_side(b, page)];
}

/* Replaces what is left of the block that executes now. */
static void
insn_stop(struct cpu *c, const struct insn *i)
{
	c->c_rip -= i->i_len;
	c->c_insn = i - 1;	/* this one is done */
	cpu_next(c);
}

static void
block_kill(struct cpu *c, struct block *b)
{
	struct block_cache *bc = c->c_blocks;
	struct block **bp;
	struct insn *i;

	bp = &bc->bc_hash[block_hash(b->b_gpa, b->b_mode)];
	while (*bp != b)
		bp = &(*bp)->b_hash;
	*bp = b->b_hash;
	block_unlink_page(bc, b, b->b_gpa & ~(uint64_t)PAGE_MASK);
	if (b->b_gpa2 != NO_PAGE)
		block_unlink_page(bc, b, b->b_gpa2);
	b->b_epoch = 0;
	if (b->b_trans != NULL)
		jit_kill(c, b);
	if (c->c_block == b && c->c_insn >= b->b_decoded &&
	    c->c_insn < b->b_decoded + b->b_count)
		for (i = b->b_decoded + (c->c_insn - b->b_decoded) + 1;
		    i < b->b_decoded + b->b_count; i++)
			i->i_exec = insn_stop;
}

/* Does b have bytes in [from, to) of the page? */
static bool
block_covers(const struct block *b, uint64_t page, uint64_t from, uint64_t to)
{
	uint64_t start = b->b_gpa, end = b->b_gpa + b->b_len;
	unsigned n;

	for (n = 0; n < 2; n++)
		if (b->b_peek[n].bp_len != 0 && block_side(b, page) == 0 &&
		    page + b->b_peek[n].bp_off < to &&
		    page + b->b_peek[n].bp_off + b->b_peek[n].bp_len > from)
			return (true);
	if (block_side(b, page) == 1) {
		end = page + (b->b_len - (PAGE_SIZE -
		    (b->b_gpa & PAGE_MASK)));
		start = page;
	} else if (b->b_gpa2 != NO_PAGE)
		end = page + PAGE_SIZE;
	return (start < to && end > from);
}

/* No blocks of p any more: fast writes again, if no other VCPU has code. */
static void
page_give_up(struct cpu *c, struct code_page *p)
{
	atomic_uchar *flags;
	uint8_t *host;

	while (p->p_blocks != NULL)
		block_kill(c, p->p_blocks);
	p->p_granules = 0;
	p->p_overwritten = p->p_beside = 0;
	if (vm_alone(c->c_vm)) {
		flags = vm_page(c->c_vm, &c->c_mmu->m_range, p->p_gpa, &host);
		atomic_fetch_and(flags, (unsigned char)~PAGE_CODE);
	}
}

void
block_written(struct cpu *c, uint64_t gpa, unsigned len)
{
	struct code_page *p = *block_page_slot(c->c_blocks,
	    gpa & ~(uint64_t)PAGE_MASK);

	vm_written(c->c_vm, c, gpa, len);
	/* what lockstep takes back must not have killed anything */
	if (block_forget(c, gpa, len) || p == NULL || c->c_journal ||
	    !vm_alone(c->c_vm))
		return;
	if (block_page_beside(p)) {
		if (p->p_given_up < PAGE_DOUBLED)
			p->p_given_up++;
		page_give_up(c, p);
	}
}

bool
block_forget(struct cpu *c, uint64_t gpa, unsigned len)
{
	struct block_cache *bc = c->c_blocks;
	uint64_t page = gpa & ~(uint64_t)PAGE_MASK;
	struct code_page *p;
	struct block *b, *next;
	bool hit = false;

	if (c->c_direct != NULL)
		direct_written(c, page);
	if (!block_is_code(bc, gpa, len))
		return (false);
	p = *block_page_slot(bc, page);
	for (b = p->p_blocks; b != NULL; b = next) {
		next = b->b_page[block_side(b, page)];
		if (block_covers(b, page, gpa, gpa + len)) {
			block_kill(c, b);
			hit = true;
		}
	}
	if ((hit && ++p->p_overwritten > PAGE_PATIENCE) || p->p_blocks == NULL)
		page_give_up(c, p);
	return (hit);
}

void
block_flush(struct cpu *c)
{
	struct block_cache *bc = c->c_blocks;
	struct code_page *p;
	atomic_uchar *flags;
	uint8_t *host;
	unsigned n;

	if (c->c_jit != NULL)
		jit_flush(c);
	for (n = 0; n < BLOCK_PAGES; n++)
		for (p = bc->bc_pages[n]; p != NULL; p = p->p_hash) {
			flags = vm_page(c->c_vm, &c->c_mmu->m_range, p->p_gpa,
			    &host);
			if (vm_alone(c->c_vm))
				atomic_fetch_and(flags,
				    (unsigned char)~PAGE_CODE);
		}
	memset(bc->bc_hash, 0, BLOCK_HASH * sizeof(struct block *));
	memset(bc->bc_pages, 0, BLOCK_PAGES * sizeof(struct code_page *));
	bc->bc_used = 0;
	memset(bc->bc_fill, 0, bc->bc_segments * sizeof(*bc->bc_fill));
	bc->bc_segment = 0;
	c->c_block = NULL;
	block_jumps_flush(c);
}

/* --- checking --------------------------------------------------------------------------------- */

void
block_epoch(struct cpu *c)
{
	struct block_cache *bc = c->c_blocks;

	if (++bc->bc_epoch == 0) {
		/* after 2^32 of them: a dead block must not come to life */
		bc->bc_epoch = 1;
		block_flush(c);
	}
	c->c_epoch_neg = -bc->bc_epoch;
}

bool
block_check(struct cpu *c, struct block *b)
{
	struct block_cache *bc = c->c_blocks;
	unsigned head = b->b_len, n;
	const uint8_t *page;
	bool same;

	if (b->b_epoch == bc->bc_epoch)
		return (true);
	if (b->b_epoch == 0)
		return (false);
	c->c_fetching = true;
	if (b->b_gpa2 != NO_PAGE)
		head = PAGE_SIZE - (unsigned)(b->b_gpa & PAGE_MASK);
	same = memcmp(mmu_host(c, b->b_gpa), b->b_bytes, head) == 0;
	if (same && b->b_gpa2 != NO_PAGE)
		same = memcmp(mmu_host(c, b->b_gpa2), b->b_bytes + head,
		    b->b_len - head) == 0;
	page = mmu_host(c, b->b_gpa & ~(uint64_t)PAGE_MASK);
	for (n = 0; n < 2; n++)
		if (b->b_peek[n].bp_len != 0 && memcmp(page +
		    b->b_peek[n].bp_off, bc->bc_arena + b->b_peek[n].bp_bytes,
		    b->b_peek[n].bp_len) != 0)
			same = false;
	c->c_fetching = false;
	if (same)
		b->b_epoch = bc->bc_epoch;
	else
		block_kill(c, b);
	return (same);
}

/* --- making -------------------------------------------------------------- */

static void
page_add(struct block_cache *bc, struct block *b, uint64_t gpa, unsigned len)
{
	uint64_t page = gpa & ~(uint64_t)PAGE_MASK;
	struct code_page **pp = block_page_slot(bc, page), *p = *pp;

	if (p == NULL) {
		p = *pp = arena_take(bc, sizeof(*p));
		memset(p, 0, sizeof(*p));
		p->p_gpa = page;
	}
	p->p_granules |= block_granules(gpa, len);
	b->b_page[block_side(b, page)] = p->p_blocks;
	p->p_blocks = b;
}

static void
block_add(struct block_cache *bc, struct block *b)
{
	unsigned h = block_hash(b->b_gpa, b->b_mode);
	unsigned head = b->b_len;

	b->b_hash = bc->bc_hash[h];
	bc->bc_hash[h] = b;
	if (b->b_gpa2 != NO_PAGE) {
		head = PAGE_SIZE - (unsigned)(b->b_gpa & PAGE_MASK);
		page_add(bc, b, b->b_gpa2, b->b_len - head);
	}
	page_add(bc, b, b->b_gpa, head);
}

void
block_peek(struct cpu *c, const struct block *b, unsigned off, uint8_t *bytes,
    unsigned len)
{
	c->c_fetching = true;
	memcpy(bytes, mmu_host(c, (b->b_gpa & ~(uint64_t)PAGE_MASK) + off),
	    len);
	c->c_fetching = false;
}

bool
block_depend(struct cpu *c, struct block *b, unsigned which, unsigned off,
    const uint8_t *bytes, unsigned len)
{
	struct block_cache *bc = c->c_blocks;
	uint64_t page = b->b_gpa & ~(uint64_t)PAGE_MASK;
	uint8_t *copy;

	assert(!b->b_temp && b->b_epoch != 0 && off + len <= PAGE_SIZE);
	if (b->b_peek[which].bp_off == off && b->b_peek[which].bp_len >= len)
		return (true);
	if (ARENA_SIZE - bc->bc_used < ARENA_RESERVE)
		return (false);
	copy = arena_take(bc, len);
	memcpy(copy, bytes, len);
	b->b_peek[which].bp_bytes = (uint32_t)(copy - bc->bc_arena);
	b->b_peek[which].bp_off = (uint16_t)off;
	b->b_peek[which].bp_len = (uint8_t)len;
	(*block_page_slot(bc, page))->p_granules |=
	    block_granules(page + off, len);
	return (true);
}

/* Raises what an undecodable first instruction raises. */
static _Noreturn void
block_undecodable(struct cpu *c, enum decode_result r)
{
	c->c_fetching = false;
	if (r == DECODE_UD)
		cpu_ud(c);
	cpu_gp(c, 0);		/* too long, or beyond the segment's limit */
}

/* Bytes from CS:RIP on that the segment's limit allows. */
static uint64_t
block_room(const struct cpu *c)
{
	if (c->c_flat_code)
		return (UINT64_MAX);
	return ((uint64_t)c->c_seg[SEG_CS].s_limit + 1 - c->c_rip);
}

/*
 * One instruction, used once: across the end of a page, near the segment's
 * limit, or outside guest memory, where the monitor's answers or an empty bus
 * are executed. code: what there is of it in the first page.
 */
static struct block *
block_single(struct cpu *c, uint64_t linear, const struct mmu_target *t,
    const uint8_t *code, unsigned avail, struct mmu_target *t2,
    uint8_t bytes[INSN_MAXLEN])
{
	struct block *b = c->c_blocks->bc_temp;
	unsigned n, room = (unsigned)(block_room(c) < INSN_MAXLEN ?
	    block_room(c) : INSN_MAXLEN);
	enum decode_result r;
	uint64_t data;

	memset(bytes, 0, INSN_MAXLEN);
	t2->t_host = NULL;
	for (n = 0; n < avail && n < INSN_MAXLEN; n++) {
		if (t->t_host != NULL)
			bytes[n] = code[n];
		else if (c->c_host->eh_mmio_read(c->c_hostarg, t->t_gpa + n,
		    1, &data))
			bytes[n] = (uint8_t)data;
		else
			bytes[n] = 0xff;
	}
	r = insn_decode(bytes, n < room ? n : room, &c->c_decode, b->b_decoded);
	if (r == DECODE_MORE && n < room) {
		mmu_translate(c, c->c_mmu->m_class, linear + n, ENGINE_EXEC,
		    t2);
		if (t2->t_host != NULL) {
			mmu_watch_page(c, t2->t_gpa, PAGE_CODE);
			memcpy(bytes + n, t2->t_host, INSN_MAXLEN - n);
		} else
			memset(bytes + n, 0xff, INSN_MAXLEN - n);
		r = insn_decode(bytes, room, &c->c_decode, b->b_decoded);
	}
	if (r != DECODE_OK)
		block_undecodable(c, r);
	b->b_gpa = t->t_gpa;
	b->b_gpa2 = NO_PAGE;
	b->b_epoch = 0;
	b->b_len = b->b_decoded[0].i_len;
	b->b_count = 1;
	b->b_mode = (uint8_t)block_mode(c);
	b->b_temp = true;
	b->b_succ[0] = b->b_succ[1] = NULL;
	b->b_trans = NULL;
	b->b_traces = NULL;
	return (b);
}

static struct block *
block_make(struct cpu *c, uint64_t linear, const struct mmu_target *t)
{
	struct block_cache *bc = c->c_blocks;
	unsigned avail = PAGE_SIZE - (unsigned)(t->t_gpa & PAGE_MASK);
	uint8_t bytes[INSN_MAXLEN];
	enum decode_result r = DECODE_OK;
	struct decoded *d;
	struct insn *insn;
	struct mmu_target t2;
	struct block *b, *s;
	unsigned len = 0;
	bool alone = false;

	if (t->t_host == NULL)
		return (block_single(c, linear, t, NULL, avail, &t2, bytes));
	/* watched it may be already, but for direct execution */
	mmu_watch_page(c, t->t_gpa, PAGE_CODE);
	if (ARENA_SIZE - bc->bc_used < ARENA_RESERVE) {
		block_flush(c);
		mmu_watch_page(c, t->t_gpa, PAGE_CODE);
	}
	ahead(bc->bc_arena, ARENA_SIZE, bc->bc_used + ARENA_RESERVE,
	    &bc->bc_ahead);
	if (avail > BLOCK_INSNS * INSN_MAXLEN)
		avail = BLOCK_INSNS * INSN_MAXLEN;
	/*
	 * Decode a copy: the bytes may change under us, and the copy is what
	 * later checks compare with. What is not used of it is given back.
	 */
	b = (struct block *)(void *)(bc->bc_arena + bc->bc_used);
	memset(b, 0, sizeof(*b));
	memcpy(b->b_bytes, t->t_host, avail);
	d = decoded_room(bc);
	do {
		insn = &d->d_insn[b->b_count];
		r = insn_decode(b->b_bytes + len, avail - len, &c->c_decode,
		    insn);
		if (r != DECODE_OK || block_room(c) < len + insn->i_len)
			break;
		alone = jit_alone(c, insn);
		if (alone && b->b_count > 0)
			break;
		len += insn->i_len;
		b->b_count++;
	} while ((insn->i_flags & INSN_END) == 0 && !alone &&
	    b->b_count < BLOCK_INSNS && len < avail);
	b->b_gpa = t->t_gpa;
	b->b_gpa2 = NO_PAGE;
	b->b_mode = (uint8_t)block_mode(c);
	b->b_epoch = bc->bc_epoch;
	if (b->b_count == 0) {
		if (r != DECODE_MORE && r != DECODE_OK)
			block_undecodable(c, r);
		s = block_single(c, linear, t, b->b_bytes, avail, &t2, bytes);
		if (r == DECODE_OK || t2.t_host == NULL ||
		    ((t->t_gpa ^ t2.t_gpa) & ~(uint64_t)PAGE_MASK) == 0)
			return (s);
		/* across a page end, into another page of guest memory (a
		 * block is in the list of a page once): worth keeping */
		d->d_insn[0] = s->b_decoded[0];
		b->b_count = 1;
		/* the walk's writes may have made data of it */
		mmu_watch_page(c, t->t_gpa, PAGE_CODE);
		mmu_watch_page(c, t2.t_gpa, PAGE_CODE);
		b->b_gpa2 = t2.t_gpa & ~(uint64_t)PAGE_MASK;
		len = s->b_len;
		memcpy(b->b_bytes, bytes, len);
	}
	b->b_len = (uint16_t)len;
	decoded_keep(bc, d, b);
	arena_take(bc, (size_t)(b->b_bytes + len - (uint8_t *)b));
	block_add(bc, b);
	return (b);
}

/* --- finding ------------------------------------------------------------- */

static struct block *
block_lookup(struct cpu *c, uint64_t linear, const struct mmu_target *t)
{
	unsigned mode = block_mode(c);
	struct block *b, *next;
	struct mmu_target t2;
	unsigned head;

	for (b = c->c_blocks->bc_hash[block_hash(t->t_gpa, mode)]; b != NULL;
	    b = next) {
		next = b->b_hash;
		if (b->b_gpa != t->t_gpa || b->b_mode != mode ||
		    b->b_len > block_room(c))
			continue;
		if (b->b_gpa2 != NO_PAGE) {
			if (!block_check(c, b))
				continue;
			/* its first bytes are the same, so it needs the rest */
			c->c_fetching = true;
			head = PAGE_SIZE - (unsigned)(linear & PAGE_MASK);
			mmu_translate(c, c->c_mmu->m_class, linear + head,
			    ENGINE_EXEC, &t2);
			c->c_fetching = false;
			if (b->b_gpa2 != (t2.t_gpa & ~(uint64_t)PAGE_MASK))
				continue;
		}
		if (block_check(c, b))
			return (b);
	}
	return (NULL);
}

struct block *
block_find(struct cpu *c)
{
	struct block_cache *bc = c->c_blocks;
	struct block_jump *j;
	struct mmu_target t;
	struct block *b;
	uint64_t linear;

	if (!c->c_code64) {
		c->c_rip &= UINT32_MAX;
		if (c->c_rip > c->c_seg[SEG_CS].s_limit)
			cpu_gp(c, 0);
		linear = (uint32_t)(c->c_rip + c->c_seg[SEG_CS].s_base);
	} else
		linear = c->c_rip;
	j = block_jump_slot(bc, linear);
	if (j->bj_linear == linear && j->bj_key == bc->bc_key &&
	    block_check(c, j->bj_block))
		return (j->bj_block);

	c->c_fetching = true;
	mmu_translate(c, c->c_mmu->m_class, linear, ENGINE_EXEC, &t);
	b = t.t_host != NULL ? block_lookup(c, linear, &t) : NULL;
	c->c_fetching = true;
	if (b == NULL)
		b = block_make(c, linear, &t);
	c->c_fetching = false;
	/* what straddles two pages depends on both */
	block_fetch(bc, linear);
	block_fetch(bc, linear + INSN_MAXLEN - 1);
	if (!b->b_temp) {
		j->bj_linear = linear;
		j->bj_key = bc->bc_key;
		j->bj_block = b;
	}
	return (b);
}
