/*
 * Guest address spaces as processes: pages of guest memory mapped where the
 * guest's page tables have them.
 *
 * A mapping is to such a process what an entry is to a TLB, and lives by the
 * same rules: it is made when the tables allow the access and have A (for
 * writing: D) set already; the guest's flushes take it away. A flush of
 * everything, which Linux is quick to do, only makes all extents be compared
 * with the tables before the process runs again, as if walked anew then.
 *
 * 1. Mapped is RAM that the guest's CPL 3 may use, not global, as far as the
 *    VM's page rights go.
 * 2. A page with cached code is not mapped for writing, as it has no write
 *    tags in the TLB; PAGE_DIRECT says that one is.
 * 3. A page that is mapped for executing is PAGE_EXEC: all stores to it are
 *    looked at, and the first ends that. It was scanned after it had become
 *    so; what the bare CPU must not execute there has a breakpoint. No page is
 *    mapped for both, anywhere.
 * 4. Nothing changes in the process while it runs: only we let it. One call
 *    may be put off until then, to be made by the way (process_run()).
 *
 * VCPU thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "engine/soft/cpu.h"
#include "engine/soft/direct/direct.h"
#include "engine/soft/direct/scan.h"
#include "engine/soft/direct/space.h"
#include "engine/soft/mmu.h"
#include "engine/soft/vm.h"
#include "engine/soft/walk.h"

#define LARGE		(UINT64_C(2) << 20)
#define BREAKS		PROCESS_BREAKS
#define ROUTINE		256	/* bytes */
#define OFTEN		8	/* see page_break() */
#define AROUND		16u	/* pages looked at in one go */
#define SIZABLE		32u	/* extents */
#define EXTENTS_MAX	48000u	/* below Linux's 65530 areas */
#define HASH_MIN	1024u
#define NOWHERE		UINT64_MAX

/* --- extents --------------------------------------------------------------------- */

static unsigned
hash_start(const struct space *s, uint64_t linear, bool large)
{
	uint64_t h = (linear >> 12 ^ (uint64_t)large << 40) *
	    UINT64_C(0x9e3779b97f4a7c15);

	return ((unsigned)(h >> 32) & (s->s_nhash - 1));
}

/* Where the extent's index is, or where it would go. */
static uint32_t *
hash_slot(const struct space *s, uint64_t linear, bool large)
{
	unsigned n = hash_start(s, linear, large);
	const struct extent *e;

	for (;; n = (n + 1) & (s->s_nhash - 1)) {
		if (s->s_hash[n] == 0)
			return (&s->s_hash[n]);
		e = &s->s_extents[s->s_hash[n] - 1];
		if (e->e_linear == linear && e->e_large == large)
			return (&s->s_hash[n]);
	}
}

static void
hash_fill(struct space *s)
{
	unsigned n;

	memset(s->s_hash, 0, s->s_nhash * sizeof(*s->s_hash));
	for (n = 0; n < s->s_count; n++)
		*hash_slot(s, s->s_extents[n].e_linear,
		    s->s_extents[n].e_large) = n + 1;
}

/* The extent that linear is in, or NULL. */
static struct extent *
extent_find(const struct space *s, uint64_t linear)
{
	uint32_t n;

	if ((n = *hash_slot(s, linear & ~(uint64_t)PAGE_MASK, false)) != 0)
		return (&s->s_extents[n - 1]);
	if ((n = *hash_slot(s, linear & ~(LARGE - 1), true)) != 0)
		return (&s->s_extents[n - 1]);
	return (NULL);
}

/* Room for one more. */
static int
extent_room(struct space *s)
{
	unsigned room = s->s_room == 0 ? HASH_MIN / 2 : s->s_room * 2;
	struct extent *e;
	uint32_t *h;

	if (s->s_count < s->s_room)
		return (0);
	if ((e = reallocarray(s->s_extents, room, sizeof(*e))) == NULL)
		return (ENOMEM);
	s->s_extents = e;
	if ((h = reallocarray(s->s_hash, room * 2, sizeof(*h))) == NULL)
		return (ENOMEM);
	s->s_hash = h;
	s->s_nhash = room * 2;
	s->s_room = room;
	hash_fill(s);
	return (0);
}

static size_t
extent_size(const struct extent *e)
{
	return (e->e_large ? LARGE : PAGE_SIZE);
}

static void
extent_kill(struct space *s, struct extent *e)
{
	if (e->e_rights == 0)
		return;
	e->e_rights = 0;
	s->s_dead++;
}

/* --- what may be mapped -------------------------------------------------------------- */

/* The flags of a page of guest memory; NULL: there is none. */
static atomic_uchar *
page_flags(struct cpu *c, uint64_t gpa)
{
	uint8_t *host;

	return (vm_page(c->c_vm, &c->c_mmu->m_range, gpa, &host));
}

static bool
page_watched(struct cpu *c, uint64_t gpa)
{
	return ((*page_flags(c, gpa) & PAGE_EXEC) != 0);
}

/* What the VM lets be done to gpa's page, of rights. */
static unsigned
page_rights(struct cpu *c, uint64_t gpa, unsigned rights)
{
	atomic_uchar *flags = page_flags(c, gpa);
	unsigned f;

	if (flags == NULL)
		return (0);
	f = atomic_load_explicit(flags, memory_order_relaxed);
	rights &= ~(f >> 4);
	if (f & (PAGE_CODE | PAGE_EXEC))
		rights &= ~(unsigned)ENGINE_WRITE;
	return (rights & ENGINE_READ ? rights : 0);
}

/*
 * What the tables say of linear, as an extent with all rights that could be
 * given; false: nothing.
 */
static bool
extent_probe(struct cpu *c, uint64_t linear, struct extent *e)
{
	struct walk w;
	unsigned n;

	if (linear >= USER_END || !walk_probe(c, linear, &w) || w.w_global)
		return (false);
	e->e_linear = linear & ~(uint64_t)PAGE_MASK;
	e->e_gpa = w.w_gpa & ~(uint64_t)PAGE_MASK;
	e->e_large = false;
	e->e_rights = (uint8_t)page_rights(c, e->e_gpa, w.w_rights);
	if (e->e_rights == 0)
		return (false);
	if (w.w_large == 0 || w.w_rights & ENGINE_EXEC)
		return (true);
	/* one piece, if all of it is alike */
	for (n = 0; n < LARGE / PAGE_SIZE; n++)
		if (page_rights(c, (e->e_gpa & ~(LARGE - 1)) + n * PAGE_SIZE,
		    w.w_rights) != w.w_rights)
			return (true);
	e->e_large = true;
	e->e_linear &= ~(LARGE - 1);
	e->e_gpa &= ~(LARGE - 1);
	return (true);
}

/* Is e what the tables say now? */
static bool
extent_holds(struct cpu *c, const struct extent *e)
{
	struct extent now;

	return (extent_probe(c, e->e_linear, &now) &&
	    now.e_gpa == e->e_gpa && now.e_large == e->e_large &&
	    (e->e_rights & ~now.e_rights) == 0 &&
	    ((e->e_rights & ENGINE_EXEC) == 0 || page_watched(c, e->e_gpa)));
}

/* --- calls --------------------------------------------------------------------------- */

#define BATCH	64u

struct batch {
	struct space	*b_space;
	unsigned	 b_count;
	int		 b_error;
	struct process_call b_calls[BATCH];
};

/* An empty one, but for what was put off. */
static void
batch_init(struct batch *b, struct space *s)
{
	b->b_space = s;
	b->b_error = 0;
	b->b_count = s->s_put_off ? 1 : 0;
	b->b_calls[0] = s->s_call;
	s->s_put_off = false;
}

static void
batch_flush(struct batch *b)
{
	if (b->b_error == 0 && b->b_count > 0)
		b->b_error = process_calls(&b->b_space->s_process,
		    b->b_calls, b->b_count);
	b->b_count = 0;
}

/* As batch_flush(), but a single call is put off until the process runs. */
static void
batch_put_off(struct batch *b)
{
	if (b->b_error != 0 || b->b_count != 1) {
		batch_flush(b);
		return;
	}
	b->b_space->s_call = b->b_calls[0];
	b->b_space->s_put_off = true;
}

static struct process_call *
batch_add(struct batch *b)
{
	if (b->b_count == BATCH)
		batch_flush(b);
	return (&b->b_calls[b->b_count++]);
}

static void
batch_unmap(struct batch *b, uint64_t linear, size_t size)
{
	struct process_call *pc = b->b_count > 0 ?
	    &b->b_calls[b->b_count - 1] : NULL;

	if (pc != NULL && pc->pc_nr == SYS_munmap &&
	    pc->pc_arg[0] + pc->pc_arg[1] == linear) {
		pc->pc_arg[1] += size;
		return;
	}
	*batch_add(b) = (struct process_call){ .pc_nr = SYS_munmap,
	    .pc_arg = { linear, size } };
}

/* Maps e in its place; pages that follow each other in both are one. */
static void
batch_map(struct batch *b, struct cpu *c, const struct extent *e)
{
	struct process_call *pc = b->b_count > 0 ?
	    &b->b_calls[b->b_count - 1] : NULL;
	const struct vm_range *r;
	uint64_t prot, offset;
	size_t size = extent_size(e);
	unsigned n = 0;

	while (e->e_gpa - c->c_vm->ev_ranges[n].vr_gpa >=
	    c->c_vm->ev_ranges[n].vr_size)
		n++;
	r = &c->c_vm->ev_ranges[n];
	offset = r->vr_offset + (e->e_gpa - r->vr_gpa);
	prot = PROT_READ |
	    (e->e_rights & ENGINE_WRITE ? (unsigned)PROT_WRITE : 0) |
	    (e->e_rights & ENGINE_EXEC ? (unsigned)PROT_EXEC : 0);
	if (pc != NULL && pc->pc_nr == SYS_mmap &&
	    pc->pc_arg[0] + pc->pc_arg[1] == e->e_linear &&
	    pc->pc_arg[5] + pc->pc_arg[1] == offset &&
	    pc->pc_arg[4] == n && pc->pc_arg[2] == prot) {
		pc->pc_arg[1] += size;
		return;
	}
	*batch_add(b) = (struct process_call){ .pc_nr = SYS_mmap,
	    .pc_arg = { e->e_linear, size, prot,
	    MAP_SHARED | MAP_FIXED | MAP_POPULATE, n, offset } };
}

/* --- spaces -------------------------------------------------------------------------- */

int
space_new(struct space *s, struct cpu *c)
{
	const struct engine_vm *vm = c->c_vm;
	int files[PROCESS_FILES];
	unsigned n;
	int error;

	memset(s, 0, sizeof(*s));
	if (vm->ev_nranges > PROCESS_FILES)
		return (EINVAL);
	for (n = 0; n < vm->ev_nranges; n++)
		files[n] = vm->ev_ranges[n].vr_fd;
	if ((error = extent_room(s)) == 0)
		error = process_new(&s->s_process, files, vm->ev_nranges);
	if (error != 0)
		space_free(s);
	return (error);
}

void
space_free(struct space *s)
{
	process_free(&s->s_process);
	free(s->s_extents);
	free(s->s_hash);
	memset(s, 0, sizeof(*s));
}

int
space_clear(struct space *s)
{
	const struct process *p = &s->s_process;
	const struct process_call calls[] = {
		{ SYS_munmap, { 0, p->p_stub } },
		{ SYS_munmap, { p->p_stub + PROCESS_OWN,
		    USER_END - p->p_stub - PROCESS_OWN } },
	};

	s->s_count = s->s_dead = 0;
	s->s_put_off = false;
	hash_fill(s);
	return (process_calls(&s->s_process, calls, 2));
}

int
space_sync(struct space *s, struct cpu *c)
{
	struct batch b;
	struct extent *e, *to, *end = s->s_extents + s->s_count;

	if (s->s_context != c->c_mmu->m_context ||
	    s->s_retag != c->c_direct->d_retag) {
		for (e = s->s_extents; e < end; e++)
			if (e->e_rights != 0 && !extent_holds(c, e))
				extent_kill(s, e);
		s->s_reborn = s->s_count >= SIZABLE &&
		    s->s_dead > s->s_count - s->s_count / 8;
		s->s_context = c->c_mmu->m_context;
		s->s_retag = c->c_direct->d_retag;
	}
	if (s->s_dead == 0)
		return (0);
	batch_init(&b, s);
	for (e = to = s->s_extents; e < end; e++) {
		if (e->e_rights != 0)
			*to++ = *e;
		else
			batch_unmap(&b, e->e_linear, extent_size(e));
	}
	s->s_count = (unsigned)(to - s->s_extents);
	s->s_dead = 0;
	hash_fill(s);
	batch_flush(&b);
	return (b.b_error);
}

/* Where CPL 3 has linear's page in guest memory, and in ours; or NOWHERE. */
static uint64_t
peek(struct cpu *c, uint64_t linear, const uint8_t **host)
{
	unsigned range = c->c_mmu->m_range;
	struct walk w;
	uint8_t *at;

	if (!walk_probe(c, linear, &w) ||
	    vm_page(c->c_vm, &range, w.w_gpa, &at) == NULL)
		return (NOWHERE);
	*host = at - (linear & PAGE_MASK);
	return (w.w_gpa & ~(uint64_t)PAGE_MASK);
}

/*
 * What a scan of linear's page finds, with its neighbours as they are. What
 * was found of it between these is good as long as no store to it was noticed
 * since (known): every new process has code of old ones.
 */
static const struct scanned *
page_scan(struct cpu *c, uint64_t linear, bool known)
{
	uint8_t code[SCAN_BEFORE + PAGE_SIZE + SCAN_BEHIND];
	const uint8_t *page, *before, *behind;
	const uint64_t gpa = peek(c, linear, &page);
	const uint64_t gpas[3] = { gpa, peek(c, linear - PAGE_SIZE, &before),
	    peek(c, linear + PAGE_SIZE, &behind) };
	struct scanned *sc = &c->c_direct->d_scanned[gpa / PAGE_SIZE %
	    DIRECT_SCANNED];
	size_t from = 0, len;

	if (gpa == NOWHERE)
		return (NULL);
	if (known && memcmp(sc->sc_gpas, gpas, sizeof(gpas)) == 0)
		return (sc);
	if (gpas[1] != NOWHERE) {
		from = SCAN_BEFORE;
		memcpy(code, before + PAGE_SIZE - SCAN_BEFORE, SCAN_BEFORE);
	}
	memcpy(code + from, page, PAGE_SIZE);
	len = from + PAGE_SIZE;
	if (gpas[2] != NOWHERE) {
		memcpy(code + len, behind, SCAN_BEHIND);
		len += SCAN_BEHIND;
	}
	memcpy(sc->sc_gpas, gpas, sizeof(gpas));
	sc->sc_count = scan_harmful(code, len, from, from + PAGE_SIZE,
	    c->c_direct->d_xsave, &c->c_decode, sc->sc_where, SCANNED_MAX);
	return (sc);
}

/*
 * The instructions found in linear's page are to trap. Breakpoints make
 * every stop dearer, so only code that has been in the way often gets them.
 * There are few; but an instruction shortly behind another one is in the same
 * routine, which goes on in translated code once that has trapped.
 */
static bool
page_break(struct space *s, uint64_t linear, const struct scanned *sc)
{
	const uint16_t *where = sc->sc_where;
	const struct extent *e;
	unsigned n = sc->sc_count, k;

	if (n > SCANNED_MAX || s->s_way.page != linear ||
	    s->s_way.times < OFTEN)
		return (false);
	for (k = 0; k < BREAKS; k++) {
		e = extent_find(s, s->s_break[k]);
		if (e == NULL || (e->e_rights & ENGINE_EXEC) == 0 ||
		    (s->s_break[k] ^ linear) < PAGE_SIZE)
			s->s_break[k] = 0;
	}
	while (n-- > 0) {
		if (n > 0 && where[n] - where[n - 1] <= ROUTINE)
			continue;
		for (k = 0; k < BREAKS && s->s_break[k] != 0; k++)
			;
		if (k == BREAKS || process_break(&s->s_process, k,
		    linear + where[n]) != 0)
			return (false);
		s->s_break[k] = linear + where[n];
	}
	return (true);
}

/* May linear's page, which is gpa's, be executed? It is watched from now on. */
static bool
page_executable(struct space *s, struct cpu *c, uint64_t linear, uint64_t gpa)
{
	const bool known = page_watched(c, gpa);
	const struct scanned *sc;

	/* stores are noticed from here on */
	mmu_watch_page(c, gpa, PAGE_EXEC);
	sc = page_scan(c, linear, known);
	return (sc != NULL &&
	    (sc->sc_count == 0 || page_break(s, linear, sc)));
}

/* Takes of e's rights those that do not go together with others'. */
static void
extent_choose(struct space *s, struct cpu *c, struct extent *e, bool fetch)
{
	uint64_t gpa;

	if (e->e_rights & ENGINE_EXEC) {
		if (e->e_rights & ENGINE_WRITE && !fetch) {
			e->e_rights &= (uint8_t)~ENGINE_EXEC;
		} else {
			/* it is watched then, whatever is found */
			e->e_rights &= (uint8_t)~ENGINE_WRITE;
			if (!page_executable(s, c, e->e_linear, e->e_gpa))
				e->e_rights &= (uint8_t)~ENGINE_EXEC;
		}
	}
	if (e->e_rights & ENGINE_WRITE)
		for (gpa = e->e_gpa; gpa < e->e_gpa + extent_size(e);
		    gpa += PAGE_SIZE)
			atomic_fetch_or(page_flags(c, gpa),
			    PAGE_WMAP | PAGE_DIRECT);
}

/* Is there any extent in the 2 MiB from linear on? */
static bool
extent_inside(const struct space *s, uint64_t linear)
{
	uint64_t at;

	for (at = linear; at < linear + LARGE; at += PAGE_SIZE)
		if (*hash_slot(s, at, false) != 0)
			return (true);
	return (false);
}

/* Adds what can be mapped at linear. 1, 0 or an error as space_map(). */
static int
map_one(struct space *s, struct cpu *c, struct batch *b, uint64_t linear,
    bool fetch)
{
	struct extent e, *old;
	int error;

	if (process_owns(&s->s_process, linear) ||
	    !extent_probe(c, linear, &e))
		return (0);
	/* a large page must not cover others, nor the process's own */
	if (e.e_large && (s->s_process.p_stub - e.e_linear < LARGE ||
	    extent_inside(s, e.e_linear))) {
		e.e_gpa += (linear & (LARGE - 1)) & ~(uint64_t)PAGE_MASK;
		e.e_linear = linear & ~(uint64_t)PAGE_MASK;
		e.e_large = false;
	}
	extent_choose(s, c, &e, fetch);
	old = extent_find(s, linear);
	if (old != NULL && old->e_rights != 0 &&
	    (e.e_rights & ~old->e_rights) == 0)
		return (0);
	if (old != NULL && old->e_large != e.e_large) {
		extent_kill(s, old);	/* the next fault sees to it */
		return (1);
	}
	if (old != NULL) {
		if (old->e_rights == 0)
			s->s_dead--;
		*old = e;
	} else {
		if ((error = extent_room(s)) != 0)
			return (-error);
		s->s_extents[s->s_count] = e;
		*hash_slot(s, e.e_linear, e.e_large) = ++s->s_count;
	}
	batch_map(b, c, &e);
	return (1);
}

int
space_map(struct space *s, struct cpu *c, uint64_t linear, bool fetch)
{
	struct batch b;
	uint64_t at = linear & ~(uint64_t)(AROUND * PAGE_SIZE - 1);
	int mapped, any;

	if (s->s_count >= EXTENTS_MAX && (mapped = space_clear(s)) != 0)
		return (-mapped);
	linear &= ~(uint64_t)PAGE_MASK;
	batch_init(&b, s);
	if ((mapped = map_one(s, c, &b, linear, fetch)) <= 0) {
		batch_put_off(&b);
		return (b.b_error != 0 ? -b.b_error : mapped);
	}
	/* a large page leaves nothing to be done around it */
	for (any = 0; any >= 0 &&
	    at <= (linear | (AROUND * PAGE_SIZE - 1)); at += PAGE_SIZE)
		if (extent_find(s, at) == NULL)
			any = map_one(s, c, &b, at, false);
	batch_put_off(&b);
	if (any < 0)
		return (any);
	return (b.b_error != 0 ? -b.b_error : 1);
}

void
space_in_way(struct space *s, uint64_t linear)
{
	linear &= ~(uint64_t)PAGE_MASK;
	if (s->s_way.page != linear) {
		s->s_way.page = linear;
		s->s_way.times = 0;
	}
	s->s_way.times++;
}

void
space_forget(struct space *s, uint64_t linear)
{
	struct extent *e;

	if ((e = extent_find(s, linear)) != NULL)
		extent_kill(s, e);
}

void
space_forget_gpa(struct space *s, uint64_t gpa, unsigned rights)
{
	struct extent *e;

	for (e = s->s_extents; e < s->s_extents + s->s_count; e++)
		if (e->e_rights & rights && gpa - e->e_gpa < extent_size(e))
			extent_kill(s, e);
}
