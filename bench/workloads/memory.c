/* Loops over memory: our own, libc's, and the chase of a pointer. */
#include <string.h>

#include "work.h"

struct bytes {
	size_t	 b_n;
	uint8_t	*b_from;
	uint8_t	*b_to;
};

/* Two areas, of which the first is a string of w_size bytes. */
void *
bytes_setup(const struct work *w)
{
	struct bytes *b = work_alloc(sizeof(*b));
	uint64_t seed = 88172645463325252u;
	size_t i;

	b->b_n = w->w_size;
	b->b_from = work_alloc(b->b_n + 1);
	b->b_to = work_alloc(b->b_n + 1);
	for (i = 0; i < b->b_n; i++)
		b->b_from[i] = (uint8_t)(work_random(&seed) >> 56) | 1;
	b->b_from[b->b_n] = '\0';
	memset(b->b_to, 0, b->b_n + 1);
	return (b);
}

uint64_t
fnv_run(void *state, uint64_t n)
{
	const struct bytes *b = state;
	uint64_t hash = 0;
	size_t i;

	while (n-- > 0) {
		hash = 0xcbf29ce484222325u;
		for (i = 0; i < b->b_n; i++)
			hash = (hash ^ b->b_from[i]) * 0x100000001b3u;
	}
	return (hash);
}

uint64_t
store_run(void *state, uint64_t n)
{
	const struct bytes *b = state;
	size_t i;

	while (n-- > 0)
		for (i = 0; i < b->b_n; i++)
			b->b_to[i] = (uint8_t)(i ^ i >> 8);
	return (b->b_to[b->b_n / 3]);
}

uint64_t
copy_run(void *state, uint64_t n)
{
	const struct bytes *b = state;
	const uint64_t *from = (const void *)b->b_from;
	uint64_t *to = (void *)b->b_to;
	size_t i;

	while (n-- > 0) {
		for (i = 0; i < b->b_n / 8; i++)
			to[i] = from[i];
		__asm__ volatile("" ::: "memory");
	}
	return (to[b->b_n / 8 - 1]);
}

/* --- libc's --------------------------------------------------------------- */

uint64_t
memset_run(void *state, uint64_t n)
{
	const struct bytes *b = state;

	while (n-- > 0) {
		memset(b->b_to, 0x5a, b->b_n);
		__asm__ volatile("" ::: "memory");
	}
	return (b->b_to[b->b_n - 1]);
}

uint64_t
memcpy_run(void *state, uint64_t n)
{
	const struct bytes *b = state;

	while (n-- > 0) {
		memcpy(b->b_to, b->b_from, b->b_n);
		__asm__ volatile("" ::: "memory");
	}
	return (b->b_to[b->b_n - 1]);
}

uint64_t
strlen_run(void *state, uint64_t n)
{
	const struct bytes *b = state;
	uint64_t value = 0;

	while (n-- > 0) {
		value = strlen((const char *)b->b_from);
		__asm__ volatile("" ::: "memory");
	}
	return (value);
}

/* --- the chase ------------------------------------------------------------ */

#define LINE	64
#define HOPS	1024	/* in one run, the rest of a lap uncounted */

struct line {
	struct line	*l_next;
	uint8_t		 l_pad[LINE - sizeof(struct line *)];
};

struct chase {
	struct line	*c_at;
	uint64_t	 c_value;
};

/* One cycle through all lines, in random order. */
void *
chase_setup(const struct work *w)
{
	struct chase *c = work_alloc(sizeof(*c));
	const size_t lines = w->w_size / LINE;
	struct line *area = work_alloc(w->w_size), *t;
	uint64_t seed = 88172645463325252u;
	size_t i, j;

	for (i = 0; i < lines; i++)
		area[i].l_next = &area[i];
	for (i = lines - 1; i > 0; i--) {
		j = work_random(&seed) % i;
		t = area[i].l_next;
		area[i].l_next = area[j].l_next;
		area[j].l_next = t;
	}
	c->c_at = area;
	c->c_value = lines;
	return (c);
}

uint64_t
chase_run(void *state, uint64_t n)
{
	struct chase *c = state;
	struct line *at = c->c_at;
	uint64_t i;

	while (n-- > 0)
		for (i = 0; i < HOPS; i++)
			at = at->l_next;
	c->c_at = at;
	return (c->c_value);
}
