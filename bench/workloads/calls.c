/* Calls, returns and callbacks: fib, quicksort, a tree of malloc'd nodes. */
#include <stdlib.h>
#include <string.h>

#include "work.h"

#define FIB	27

static __attribute__((noinline)) uint64_t
fib(unsigned n)
{
	return (n < 2 ? n : fib(n - 1) + fib(n - 2));
}

uint64_t
fib_run(void *state, uint64_t n)
{
	uint64_t value = 0;

	(void)state;
	while (n-- > 0) {
		/* Not known to the compiler. */
		volatile unsigned argument = FIB;

		value = fib(argument);
	}
	return (value);
}

/* --- quicksort ------------------------------------------------------------ */

struct sort {
	size_t	 s_n;
	int	*s_from;
	int	*s_to;
};

static int
compare(const void *a, const void *b)
{
	const int x = *(const int *)a, y = *(const int *)b;

	return ((x > y) - (x < y));
}

void *
qsort_setup(const struct work *w)
{
	struct sort *s = work_alloc(sizeof(*s));
	uint64_t seed = 88172645463325252u;
	size_t i;

	s->s_n = w->w_size;
	s->s_from = work_alloc(s->s_n * sizeof(int));
	s->s_to = work_alloc(s->s_n * sizeof(int));
	for (i = 0; i < s->s_n; i++)
		s->s_from[i] = (int)(work_random(&seed) >> 33);
	return (s);
}

/*
 * Hoare's, with the middle of three; libc's qsort() is a merge sort, whose time
 * goes to copying.
 */
static void
quicksort(int *a, size_t n, int (*cmp)(const void *, const void *))
{
	size_t i, j;
	int pivot, t;

	while (n > 1) {
		j = (n - 1) / 2;
		if (cmp(&a[0], &a[n - 1]) > 0)
			t = a[0], a[0] = a[n - 1], a[n - 1] = t;
		if (cmp(&a[j], &a[n - 1]) > 0)
			t = a[j], a[j] = a[n - 1], a[n - 1] = t;
		if (cmp(&a[0], &a[j]) > 0)
			t = a[0], a[0] = a[j], a[j] = t;
		pivot = a[j];
		for (i = 0, j = n - 1;; i++, j--) {
			while (cmp(&a[i], &pivot) < 0)
				i++;
			while (cmp(&a[j], &pivot) > 0)
				j--;
			if (i >= j)
				break;
			t = a[i], a[i] = a[j], a[j] = t;
		}
		/* The shorter half first: the stack stays shallow. */
		if (j + 1 <= n - j - 1) {
			quicksort(a, j + 1, cmp);
			a += j + 1;
			n -= j + 1;
		} else {
			quicksort(a + j + 1, n - j - 1, cmp);
			n = j + 1;
		}
	}
}

uint64_t
qsort_run(void *state, uint64_t n)
{
	/* Not known to the compiler. */
	int (*volatile cmp)(const void *, const void *) = compare;
	const struct sort *s = state;
	uint64_t value = 0;
	size_t i;

	while (n-- > 0) {
		memcpy(s->s_to, s->s_from, s->s_n * sizeof(int));
		quicksort(s->s_to, s->s_n, cmp);
	}
	for (i = 0; i < s->s_n; i++)
		value = value * 31 + (uint64_t)s->s_to[i];
	return (value);
}

/* --- tree ----------------------------------------------------------------- */

struct node {
	struct node	*n_left;
	struct node	*n_right;
	uint64_t	 n_key;
};

struct tree {
	size_t		 t_n;
	uint64_t	*t_keys;
};

void *
tree_setup(const struct work *w)
{
	struct tree *t = work_alloc(sizeof(*t));
	uint64_t seed = 2463534242u;
	size_t i;

	t->t_n = w->w_size;
	t->t_keys = work_alloc(t->t_n * sizeof(uint64_t));
	for (i = 0; i < t->t_n; i++)
		t->t_keys[i] = work_random(&seed);
	return (t);
}

static uint64_t
walk(const struct node *n, uint64_t value)
{
	if (n == NULL)
		return (value);
	value = walk(n->n_left, value);
	value = value * 31 + n->n_key;
	return (walk(n->n_right, value));
}

static void
cut(struct node *n)
{
	if (n == NULL)
		return;
	cut(n->n_left);
	cut(n->n_right);
	free(n);
}

uint64_t
tree_run(void *state, uint64_t n)
{
	const struct tree *t = state;
	struct node *root, *new, **link;
	uint64_t value = 0;
	size_t i;

	while (n-- > 0) {
		root = NULL;
		for (i = 0; i < t->t_n; i++) {
			for (link = &root; *link != NULL;)
				link = t->t_keys[i] < (*link)->n_key ?
				    &(*link)->n_left : &(*link)->n_right;
			new = work_alloc(sizeof(*new));
			new->n_left = new->n_right = NULL;
			new->n_key = t->t_keys[i];
			*link = new;
		}
		value = walk(root, 0);
		cut(root);
	}
	return (value);
}
