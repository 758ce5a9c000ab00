/*
 * The TLB and the jump cache of translated code (jit.h): filling them, and
 * taking entries away when what they say stops being true.
 *
 * 1. What is in a table is in a log: of entries that outlive a change of CR3
 *    (global) or of those that do not. A flush walks a log, so it costs what
 *    was filled since the last, not what the tables could hold.
 * 2. An index is in a log at most once (a bit says so), so logs cannot
 *    overflow; it may be in both, and what it holds may be gone already.
 *    Either only makes a flush take away more than it has to.
 * 3. An entry that is here may be gone from mmu.h's TLB, which is smaller; one
 *    that must not be used any more is in neither.
 *
 * jtlb_set() is light. The VCPU's thread.
 */
#include "engine/soft/cpu.h"
#include "engine/soft/jit/jit.h"
#include "engine/soft/jit/trace.h"
#include "engine/soft/mmu.h"

#define JT_ENTRIES	0x10000u	/* of a table */
#define JT_NEGW_AT	JT_ENTRIES	/* from NEGR's entry, in quads */
#define JT_HOST_AT	(JT_ENTRIES * 2)
#define JT_INDEXES	(JT_CLASSES * JT_ENTRIES)
#define JC_FILTER	16384u		/* bits */
#define CODE_HASH	(JT_CODE_COUNT * 2u)
/* An empty slot: no page's address is minus that. */
#define NO_CODE		1
/* c_owner: the page, and who fetches from it. */
#define CODE_USER	1

_Static_assert(JT_ENTRIES * 8 == JT_SIZE, "tables");
_Static_assert(JT_CLASSES == MMU_SLOW, "the class that is never filled");

struct jtlb {
	/* [0] not global, [1] global */
	struct jtlb_log {
		uint32_t l_count;
		uint32_t l_index[JT_INDEXES];	/* class << 16 | index */
		uint64_t l_bits[JT_INDEXES / 64];
		uint32_t l_jumps;
		uint16_t l_jump[JT_ENTRIES];
		uint64_t l_jump_bits[JT_ENTRIES / 64];
		/* pages that the jumps and slots lead to, hashed */
		uint64_t l_pages[JC_FILTER / 64];
		uint32_t l_codes;	/* slots that are not empty */
		uint16_t l_code[JT_CODE_COUNT];
		uint64_t l_code_bits[JT_CODE_COUNT / 64];
	} log[2];
	/* slots of code pages: how many there are, 0 not being one; whose they
	 * are; by a hash of that, with 0 where a search ends */
	uint32_t	codes;
	uint64_t	owner[JT_CODE_COUNT];
	uint16_t	code[CODE_HASH];
};
_Static_assert(sizeof(struct jtlb) <= JT_LOGS_SIZE, "logs");
_Static_assert(offsetof(struct jtlb, code) % 8 == 0 && CODE_HASH % 4 == 0,
    "cleared by quads");

static inline struct jtlb *
jtlb(struct cpu *c)
{
	return ((struct jtlb *)(void *)((char *)c + JT_LOGS));
}

static inline uint64_t *
table(struct cpu *c, size_t offset)
{
	return ((uint64_t *)(void *)((char *)c + offset));
}

/* The NEGR entry of class << 16 | index. */
static inline uint64_t *
entry(struct cpu *c, uint32_t index)
{
	return (table(c, JT_NEGR(index >> 16)) + (index & (JT_ENTRIES - 1)));
}

/* What no address of this index can match, nor one that wraps at its end. */
static inline uint64_t
nothing(uint32_t index)
{
	index &= JT_ENTRIES - 1;
	if (__builtin_expect(index == 0 || index == JT_ENTRIES - 1, 0))
		return (-((uint64_t)(index ^ 0x8000) << 12));
	return (0);
}

/* The same of the jump cache, whose keys have the mode added. */
static inline uint64_t
nowhere(uint32_t index)
{
	if (__builtin_expect(index >= JT_ENTRIES - JM_MAX, 0))
		return (-(uint64_t)(index ^ 0x8000));
	return (0);
}

/* Sets bit n; was it clear? */
static inline bool
mark(uint64_t *bits, uint32_t n)
{
	uint64_t bit = UINT64_C(1) << (n % 64), old = bits[n / 64];

	bits[n / 64] = old | bit;
	return ((old & bit) == 0);
}

static inline uint32_t
page_hash(uint64_t linear)
{
	return ((uint32_t)(linear >> 12 ^ linear >> 26) & (JC_FILTER - 1));
}

static inline bool
page_marked(const uint64_t *bits, uint64_t linear)
{
	return (bits[page_hash(linear) / 64] >> (page_hash(linear) % 64) & 1);
}

static void
clear(uint64_t *q, size_t n)
{
	__asm__ volatile("rep stosq" : "+D" (q), "+c" (n) : "a" (0)
	    : "memory");
}

void
jtlb_init(struct cpu *c)
{
	uint32_t n;

	for (n = 0; n < JT_INDEXES; n += JT_ENTRIES) {
		entry(c, n)[0] = entry(c, n)[JT_NEGW_AT] = nothing(n);
		entry(c, n + JT_ENTRIES - 1)[0] =
		    entry(c, n + JT_ENTRIES - 1)[JT_NEGW_AT] =
		    nothing(n + JT_ENTRIES - 1);
	}
	for (n = JT_ENTRIES - JM_MAX; n < JT_ENTRIES; n++)
		table(c, JC_KEY)[n] = nowhere(n);
	jtlb(c)->codes = JT_CODE_COUNT;
	jc_slots_clear(c);
}

/* --- slots of traces ----------------------------------------------------- */

/*
 * An empty slot: no canonical address is in that page, and the host refuses
 * what any other would lead to.
 */
void
trace_slots_flush(struct cpu *c)
{
	uint64_t *slot = table(c, JT_SLOTS);
	unsigned n;

	if (c->c_slots == 0)
		return;
	c->c_slots = 0;
	for (n = 0; n < c->c_jit->j_slots; n++) {
		slot[n * 2] = 1ul << 63;
		slot[n * 2 + 1] = 0;
	}
}

/* --- entries ------------------------------------------------------------- */

static void
log_flush(struct cpu *c, struct jtlb_log *l)
{
	uint32_t n, index;
	uint64_t *e;

	for (n = 0; n < l->l_count; n++) {
		index = l->l_index[n];
		e = entry(c, index);
		e[0] = e[JT_NEGW_AT] = nothing(index);
		l->l_bits[index / 64] = 0;
	}
	l->l_count = 0;
}

void
jtlb_set(struct cpu *c, unsigned class, const struct tlb_entry *te)
{
	struct jtlb *j = jtlb(c);
	uint64_t page = te->te_page, *e;
	uint32_t index = class << 16 | (page >> 12 & (JT_ENTRIES - 1));
	struct jtlb_log *l = &j->log[te->te_global != 0];
	unsigned limit = c->c_jit->j_opt.jo_tlb;

	e = entry(c, index);
	if ((te->te_read | te->te_write) == 0) {
		if (e[0] == -page)
			e[0] = nothing(index);
		if (e[JT_NEGW_AT] == -page)
			e[JT_NEGW_AT] = nothing(index);
		return;
	}
	if (__builtin_expect(limit != 0, 0) &&
	    j->log[0].l_count + j->log[1].l_count >= limit) {
		log_flush(c, &j->log[0]);
		log_flush(c, &j->log[1]);
		trace_slots_flush(c);
	}
	e[0] = te->te_read != 0 ? -page : nothing(index);
	e[JT_NEGW_AT] = te->te_write != 0 ? -page : nothing(index);
	e[JT_HOST_AT] = page + te->te_addend;
	if (mark(l->l_bits, index))
		l->l_index[l->l_count++] = index;
}

void
jtlb_forget_write(struct cpu *c, const uint8_t *host)
{
	struct jtlb *j = jtlb(c);
	uint64_t page = (uintptr_t)host & ~(uint64_t)PAGE_MASK, *e;
	const struct jtlb_log *l;
	uint32_t n;

	for (l = j->log; l < j->log + 2; l++)
		for (n = 0; n < l->l_count; n++) {
			e = entry(c, l->l_index[n]);
			if (e[JT_HOST_AT] == page)
				e[JT_NEGW_AT] = nothing(l->l_index[n]);
		}
	trace_slots_flush(c);
}

/* --- the jump cache ------------------------------------------------------ */

static void
jumps_flush(struct cpu *c, struct jtlb_log *l)
{
	uint32_t n, index;

	if ((l->l_jumps | l->l_codes) == 0)
		return;
	for (n = 0; n < l->l_jumps; n++) {
		index = l->l_jump[n];
		table(c, JC_KEY)[index] = nowhere(index);
		l->l_jump_bits[index / 64] = 0;
	}
	l->l_jumps = 0;
	for (n = 0; n < l->l_codes; n++) {
		index = l->l_code[n];
		table(c, JT_CODES)[index] = NO_CODE;
		l->l_code_bits[index / 64] = 0;
	}
	l->l_codes = 0;
	clear(l->l_pages, JC_FILTER / 64);
}

/* Where the slot of this owner is or would be in the hash. */
static uint16_t *
code_find(struct jtlb *j, uint64_t owner)
{
	uint32_t n = (uint32_t)(owner >> 12 ^ owner >> 24 ^ owner << 12) %
	    CODE_HASH;

	/* it is never more than half full */
	while (j->code[n] != 0 && j->owner[j->code[n]] != owner)
		n = (n + 1) % CODE_HASH;
	return (&j->code[n]);
}

unsigned
jc_slot(struct cpu *c, uint64_t gpa, bool user, bool make)
{
	struct jtlb *j = jtlb(c);
	uint64_t owner = (gpa & ~(uint64_t)PAGE_MASK) | (user ? CODE_USER : 0);
	uint16_t *n = code_find(j, owner);

	if (*n == 0 && make && j->codes < JT_CODE_COUNT) {
		*n = (uint16_t)j->codes++;
		j->owner[*n] = owner;
	}
	return (*n);
}

void
jc_found(struct cpu *c, uint64_t linear, uint64_t gpa, bool global)
{
	struct jtlb_log *l = &jtlb(c)->log[global];
	unsigned n = jc_slot(c, gpa, c->c_jmode & JM_CPL3, false);

	if (n == 0)
		return;
	/* what says it already may outlive a flush that this would not */
	if (table(c, JT_CODES)[n] == -(linear & ~(uint64_t)PAGE_MASK))
		return;
	table(c, JT_CODES)[n] = -(linear & ~(uint64_t)PAGE_MASK);
	mark(l->l_pages, page_hash(linear));
	if (mark(l->l_code_bits, n))
		l->l_code[l->l_codes++] = (uint16_t)n;
}

bool
jc_says(struct cpu *c, uint64_t gpa, uint64_t linear)
{
	unsigned n = jc_slot(c, gpa, c->c_jmode & JM_CPL3, false);

	return (n != 0 && table(c, JT_CODES)[n] ==
	    -(linear & ~(uint64_t)PAGE_MASK));
}

void
jc_slots_clear(struct cpu *c)
{
	struct jtlb *j = jtlb(c);
	uint32_t n;

	for (n = 0; n < j->codes; n++)
		table(c, JT_CODES)[n] = NO_CODE;
	clear((uint64_t *)(void *)j->code, sizeof(j->code) / 8);
	j->codes = 1;
}

void
jc_set(struct cpu *c, uint64_t linear, const struct tblock *t, bool global)
{
	struct jtlb_log *l = &jtlb(c)->log[global];
	uint32_t index = linear & (JT_ENTRIES - 1);

	table(c, JC_KEY)[index] = -(linear + t->t_mode);
	table(c, JC_HOST)[index] =
	    (uintptr_t)CODE_RX(c->c_jit, t->t_code);
	table(c, JC_LAST)[index] = t->t_block->b_gpa2 == NO_PAGE ?
	    -(linear + t->t_mode) : 0;
	table(c, JC_PAGE)[index] = t->t_block->b_gpa & ~(uint64_t)PAGE_MASK;
	mark(l->l_pages, page_hash(linear));
	/* one that straddles two pages hangs on the second, too */
	if (t->t_block->b_gpa2 != NO_PAGE)
		mark(l->l_pages, page_hash(linear + PAGE_SIZE));
	if (mark(l->l_jump_bits, index))
		l->l_jump[l->l_jumps++] = (uint16_t)index;
	jc_found(c, linear, t->t_block->b_gpa, global);
	c->c_jit->j_stats.js_jc_fill++;
}

void
jc_forget(struct cpu *c, const struct tblock *t)
{
	uintptr_t host = (uintptr_t)CODE_RX(c->c_jit, t->t_code);
	uint32_t index = t->t_block->b_gpa & PAGE_MASK;

	for (; index < JT_ENTRIES; index += PAGE_SIZE)
		if (table(c, JC_HOST)[index] == host) {
			table(c, JC_KEY)[index] = nowhere(index);
			table(c, JC_HOST)[index] = 0;
			table(c, JC_LAST)[index] = 0;
		}
}

uint8_t *
jc_again(struct cpu *c, uint64_t linear)
{
	uint32_t index = linear & (JT_ENTRIES - 1);
	uint64_t last = table(c, JC_LAST)[index];
	struct jtlb_log *l;
	const struct tlb_entry *e;

	if (last == 0 || last + linear + c->c_jmode != 0 ||
	    (c->c_direct_on && c->c_cpl == 3))
		return (NULL);
	e = jit_fetch(c, linear);
	if (e == NULL || e->te_gpa != table(c, JC_PAGE)[index])
		return (NULL);
	l = &jtlb(c)->log[e->te_global != 0];
	table(c, JC_KEY)[index] = last;
	mark(l->l_pages, page_hash(linear));
	if (mark(l->l_jump_bits, index))
		l->l_jump[l->l_jumps++] = (uint16_t)index;
	jc_found(c, linear, e->te_gpa, e->te_global != 0);
	return ((uint8_t *)(uintptr_t)table(c, JC_HOST)[index]);
}

void
jc_leave(struct cpu *c)
{
	jumps_flush(c, &jtlb(c)->log[0]);
}

void
jc_clear(struct cpu *c)
{
	jumps_flush(c, &jtlb(c)->log[0]);
	jumps_flush(c, &jtlb(c)->log[1]);
	clear(table(c, JC_LAST), JT_ENTRIES);
}

/* Jumps to [from, to) go. Their keys are of any mode. */
static void
jumps_forget(struct cpu *c, uint64_t from, uint64_t to)
{
	uint64_t *key = table(c, JC_KEY), linear;

	for (linear = from; linear < to; linear++) {
		uint32_t index = linear & (JT_ENTRIES - 1);

		if (-key[index] - linear < JM_MAX)
			key[index] = nowhere(index);
	}
}

/* Slots that say page are empty. */
static void
codes_forget(struct cpu *c, const struct jtlb_log *l, uint64_t page)
{
	uint64_t *slot = table(c, JT_CODES);
	uint32_t n;

	for (n = 0; n < l->l_codes; n++)
		if (slot[l->l_code[n]] == -page)
			slot[l->l_code[n]] = NO_CODE;
}

/* --- losses -------------------------------------------------------------- */

void
jtlb_forget(struct cpu *c, uint64_t linear)
{
	struct jtlb *j = jtlb(c);
	uint64_t page = linear & ~(uint64_t)PAGE_MASK, *e;
	uint32_t index = page >> 12 & (JT_ENTRIES - 1);

	for (; index < JT_INDEXES; index += JT_ENTRIES) {
		e = entry(c, index);
		if (e[0] == -page)
			e[0] = nothing(index);
		if (e[JT_NEGW_AT] == -page)
			e[JT_NEGW_AT] = nothing(index);
	}
	trace_slots_flush(c);
	if (page_marked(j->log[0].l_pages, page) ||
	    page_marked(j->log[1].l_pages, page)) {
		jumps_forget(c, page - INSN_MAXLEN + 1, page + PAGE_SIZE);
		codes_forget(c, &j->log[0], page);
		codes_forget(c, &j->log[1], page);
	}
	jit_unlink_page(c, page);
	jit_returns_reset(c);
}

void
jtlb_flush(struct cpu *c, bool global)
{
	struct jtlb *j = jtlb(c);

	log_flush(c, &j->log[0]);
	jumps_flush(c, &j->log[0]);
	if (global) {
		log_flush(c, &j->log[1]);
		jumps_flush(c, &j->log[1]);
		jit_unlink_cross(c);
	}
	trace_slots_flush(c);
	jit_returns_reset(c);
	c->c_jit->j_stats.js_tlb_flush++;
}
