/*
 * The memory of translations: code cache, arena, return stacks; making
 * room for translations, flushing them all (jit.h).
 *
 * 1. Translations follow each other in both halves of the code cache and in
 *    the arena in the order in which they were made. Nothing is given back but
 *    all at once.
 * 2. A dead translation keeps its code and its struct tblock until then:
 *    return stacks and helpers may still lead into it.
 * 3. After jit_flush() nothing leads to a translation: no block, no link, no
 *    entry of the jump cache, no frame of a return stack.
 *
 * VCPU thread.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/soft/ahead.h"
#include "engine/soft/block.h"
#include "engine/soft/cpu.h"
#include "engine/soft/jit/jit.h"
#include "engine/soft/jit/trace.h"
#include "engine/soft/mmu.h"

#define CACHE_DEFAULT	65536u	/* KiB */
#define CACHE_LEAST	256u
/* tblocks take about as much as half of what code and stubs do */
#define ARENA_SIZE(code)	((code) / 8 * 5)
#define CODE_ALIGN	16u
/* A return stack and the guard that follows it. */
#define RETURNS_SIZE	((size_t)256 << 10)
#define RETURNS_GUARD	((size_t)64 << 10)
#define RETURNS_AREA	(RETURNS_SIZE + RETURNS_GUARD)
#define FRAME		16	/* bytes of its last frame */

extern const uint8_t jit_thunks[];
extern const uint32_t jit_thunks_size;

/* --- memory ------------------------------------------------------------------ */

static void *
map_private(size_t size, int prot)
{
	return (mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS |
	    MAP_NORESERVE, -1, 0));
}

static void
unmap(void *p, size_t size)
{
	if (p != NULL && p != MAP_FAILED)
		munmap(p, size);
}

/* The address of return stack n's last frame. */
static uint8_t *
returns_empty(const struct jit *j, unsigned n)
{
	return (j->j_returns + RETURNS_GUARD + n * RETURNS_AREA +
	    RETURNS_SIZE - FRAME);
}

static int
code_map(struct jit *j)
{
	int error, fd;

	if ((fd = memfd_create("vmm-code", MFD_CLOEXEC)) == -1)
		return (errno);
	if (ftruncate(fd, j->j_size) == -1) {
		error = errno;
		close(fd);
		return (error);
	}
	j->j_rw = mmap(NULL, j->j_size, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_NORESERVE, fd, 0);
	j->j_rx = mmap(NULL, j->j_size, PROT_READ | PROT_EXEC,
	    MAP_SHARED | MAP_NORESERVE, fd, 0);
	error = j->j_rw == MAP_FAILED || j->j_rx == MAP_FAILED ? errno : 0;
	close(fd);
	return (error);
}

int
jit_code_new(struct jit *j)
{
	uint64_t frame[2];
	unsigned kib = j->j_opt.jo_cache, n;
	size_t thunks = jit_thunks_size;
	int error;

	if (kib == 0)
		kib = CACHE_DEFAULT;
	if (kib < CACHE_LEAST)
		kib = CACHE_LEAST;
	if (kib > CACHE_DEFAULT * 4)
		kib = CACHE_DEFAULT * 4;
	j->j_size = kib << 10 & ~(PAGE_SIZE - 1);
	j->j_arena_size = ARENA_SIZE(j->j_size);
	/* stubs take about as much as what they are for */
	j->j_cold = j->j_cold_used = j->j_size / 2 & ~(PAGE_SIZE - 1);
	if ((error = code_map(j)) != 0)
		return (error);
	j->j_arena = map_private(j->j_arena_size, PROT_READ | PROT_WRITE);
	j->j_chunk = map_private((j->j_size >> JIT_CHUNK_SHIFT) *
	    sizeof(*j->j_chunk), PROT_READ | PROT_WRITE);
	j->j_returns = map_private(RETURNS_GUARD + JT_CLASSES * RETURNS_AREA,
	    PROT_NONE);
	if (j->j_arena == MAP_FAILED || j->j_chunk == MAP_FAILED ||
	    j->j_returns == MAP_FAILED)
		return (ENOMEM);
	memcpy(j->j_rw, jit_thunks, thunks);
	j->j_thunks = (uint32_t)(thunks + 63) & ~63u;
	frame[0] = (uintptr_t)CODE_RX(j, THUNK_AT(THUNK_RETURN));
	frame[1] = ~(uint64_t)0;
	for (n = 0; n < JT_CLASSES; n++) {
		if (mprotect(returns_empty(j, n) + FRAME - RETURNS_SIZE,
		    RETURNS_SIZE, PROT_READ | PROT_WRITE) == -1)
			return (errno);
		memcpy(returns_empty(j, n), frame, sizeof(frame));
	}
	return (0);
}

void
jit_code_free(struct jit *j)
{
	unmap(j->j_rx, j->j_size);
	unmap(j->j_rw, j->j_size);
	unmap(j->j_arena, j->j_arena_size);
	unmap(j->j_chunk, (j->j_size >> JIT_CHUNK_SHIFT) * sizeof(*j->j_chunk));
	unmap(j->j_returns, RETURNS_GUARD + JT_CLASSES * RETURNS_AREA);
}

void
jit_returns_reset(struct cpu *c)
{
	struct jit *j = c->c_jit;
	unsigned n;

	for (n = 0; n < JT_CLASSES; n++)
		j->j_rs[n] = (uintptr_t)returns_empty(j, n);
	c->c_rstack = j->j_rs[j->j_rs_class];
	j->j_stats.js_ret_reset++;
}

void
jit_returned(struct cpu *c)
{
	uint64_t frame[2];

	memcpy(frame, (const void *)c->c_rstack, sizeof(frame));
	if (frame[1] == ~c->c_rip &&
	    c->c_rstack != (uintptr_t)returns_empty(c->c_jit,
	    c->c_jit->j_rs_class))
		c->c_rstack += FRAME;
}

void
jit_returns_select(struct cpu *c)
{
	struct jit *j = c->c_jit;
	unsigned class = c->c_jmode & JM_CLASS;

	if (class != j->j_rs_class) {
		j->j_rs[j->j_rs_class] = c->c_rstack;
		j->j_rs_class = (uint8_t)class;
		c->c_rstack = j->j_rs[class];
	}
	if (c->c_jmode != j->j_rs_mode[class]) {
		j->j_rs_mode[class] = c->c_jmode;
		c->c_rstack = (uintptr_t)returns_empty(j, class);
	}
}

uintptr_t
jit_returns_overflow(const struct cpu *c, uintptr_t addr, uintptr_t rip,
    uintptr_t rsp)
{
	const struct jit *j = c->c_jit;
	uintptr_t low = (uintptr_t)returns_empty(j, j->j_rs_class) + FRAME -
	    RETURNS_SIZE;
	uint8_t *empty = returns_empty(j, j->j_rs_class);
	const uint8_t *insn = (const uint8_t *)rip;
	int32_t rel;

	if (addr - (low - RETURNS_GUARD) >= RETURNS_GUARD)
		return (0);
	/*
	 * A paired call (E8 rel32, 65 FF /2) has pushed its return address; a
	 * call of a thunk is no frame, and a push is the first half of one.
	 */
	memcpy(&rel, insn + 1, sizeof(rel));
	if (insn[0] == 0x65 || (insn[0] == 0xe8 &&
	    rip + 5 + (uintptr_t)(intptr_t)rel - (uintptr_t)j->j_rx >=
	    j->j_thunks)) {
		empty -= sizeof(uint64_t);
		memcpy(empty, (const void *)rsp, sizeof(uint64_t));
	}
	return ((uintptr_t)empty);
}

/* --- translations --------------------------------------------------------------- */

struct tblock *
jit_alloc(struct cpu *c, struct block *b, uint64_t linear, unsigned count,
    uint32_t code)
{
	struct jit *j = c->c_jit;
	struct tblock *t;
	size_t size = (sizeof(*t) + (count + 1) * sizeof(t->t_off[0]) + 15) &
	    ~(size_t)15;
	uint32_t start = (j->j_used + CODE_ALIGN - 1) & ~(CODE_ALIGN - 1);

	if (start + code > j->j_cold || j->j_cold_used + code > j->j_size ||
	    j->j_arena_used + size > j->j_arena_size) {
		jit_flush(c);
		start = (j->j_used + CODE_ALIGN - 1) & ~(CODE_ALIGN - 1);
	}
	assert(start + code <= j->j_cold && j->j_cold_used + code <=
	    j->j_size && j->j_arena_used + size <= j->j_arena_size);
	ahead(j->j_rw, j->j_cold, start + code, &j->j_ahead.hot);
	ahead(CODE_RW(j, j->j_cold), j->j_size - j->j_cold,
	    j->j_cold_used - j->j_cold + code, &j->j_ahead.cold);
	ahead(j->j_arena, j->j_arena_size, j->j_arena_used + size,
	    &j->j_ahead.arena);
	t = (struct tblock *)(void *)(j->j_arena + j->j_arena_used);
	memset(t, 0, size);
	t->t_block = b;
	t->t_count = (uint8_t)count;
	t->t_mode = c->c_jmode;
	t->t_va = c->c_jmode & JM_CPL3 ? NO_VA : linear &
	    ~(uint64_t)PAGE_MASK;
	t->t_code = start;
	t->t_cold = j->j_cold_used;
	t->t_link[1].l_number = 1;
	return (t);
}

static void
publish_chunks(struct jit *j, struct tblock *t, uint32_t from, uint32_t size)
{
	uint32_t n;

	if (size == 0)
		return;
	for (n = from >> JIT_CHUNK_SHIFT;
	    n <= (from + size - 1) >> JIT_CHUNK_SHIFT; n++)
		if (j->j_chunk[n] == 0)
			j->j_chunk[n] = (uint32_t)((uint8_t *)t - j->j_arena);
}

/* A line of perf's map: where, how long, a name. */
static void
perf_name(struct cpu *c, const struct tblock *t, uint32_t at, uint32_t size)
{
	struct jit *j = c->c_jit;
	uint64_t linear = (t->t_va != NO_VA ? t->t_va : c->c_pageva) +
	    (t->t_block->b_gpa & PAGE_MASK);

	fprintf(j->j_perf, "%lx %x guest_%s_%s%llx\n",
	    (unsigned long)(uintptr_t)CODE_RX(j, at), size,
	    t->t_mode & JM_CPL3 ? "user" : "kernel",
	    trace_recording(c) ? "trace_" : "", (unsigned long long)linear);
	fflush(j->j_perf);
}

void
jit_perf_open(struct jit *j)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)getpid());
	unlink(path);		/* of an earlier process, if it was ours */
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
	    0600);
	if (fd != -1 && (j->j_perf = fdopen(fd, "w")) == NULL)
		close(fd);
}

void
jit_publish(struct cpu *c, struct tblock *t)
{
	struct jit *j = c->c_jit;

	assert((uint8_t *)t == j->j_arena + j->j_arena_used);
	j->j_arena_used += (uint32_t)(sizeof(*t) + (t->t_count + 1u) *
	    sizeof(t->t_off[0]) + 15) & ~15u;
	j->j_used = t->t_code + t->t_size;
	j->j_cold_used = t->t_cold + t->t_cold_size;
	*(j->j_last != NULL ? &j->j_last->t_later : &j->j_first) = t;
	j->j_last = t;
	publish_chunks(j, t, t->t_code, t->t_size);
	publish_chunks(j, t, t->t_cold, t->t_cold_size);
	t->t_next = t->t_block->b_trans;
	t->t_block->b_trans = t;
	j->j_stats.js_translated++;
	j->j_stats.js_insns += t->t_count;
	j->j_stats.js_bytes += t->t_size + t->t_cold_size;
	if (j->j_perf != NULL) {
		perf_name(c, t, t->t_code, t->t_size);
		perf_name(c, t, t->t_cold, t->t_cold_size);
	}
}

/* From here to here, which may be the end of the code cache. */
static void
chunks_clear(struct jit *j, uint32_t from, uint32_t to)
{
	uint32_t first = from >> JIT_CHUNK_SHIFT;

	memset(&j->j_chunk[first], 0, (((to + (1u << JIT_CHUNK_SHIFT) - 1) >>
	    JIT_CHUNK_SHIFT) - first) * sizeof(*j->j_chunk));
}

void
jit_flush(struct cpu *c)
{
	struct jit *j = c->c_jit;
	struct tblock *t;

	for (t = j->j_first; t != NULL; t = t->t_later) {
		t->t_block->b_trans = NULL;
		t->t_block->b_traces = NULL;
	}
	trace_abandon(c);
	c->c_slots = 1;
	trace_slots_flush(c);
	j->j_slots = 0;
	chunks_clear(j, 0, j->j_used);
	chunks_clear(j, j->j_cold, j->j_cold_used);
	j->j_first = j->j_last = NULL;
	j->j_used = j->j_thunks;
	j->j_cold_used = j->j_cold;
	j->j_arena_used = 64;
	j->j_flushes++;
	j->j_stats.js_flushes++;
	jtlb_flush(c, true);
	jc_clear(c);
	jc_slots_clear(c);
	jit_returns_reset(c);
}
