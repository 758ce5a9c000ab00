"""A C file of 2,000 lines as programs have them: tables, lists, hashes, string
handling and arithmetic, in functions that differ from one another."""
import random

LINES = 2000
HEAD = """/* Made by large.py. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct item {
	struct item	*next;
	char		 name[24];
	uint32_t	 key;
	uint32_t	 count;
	double		 weight;
};

struct table {
	struct item	*slot[256];
	size_t		 items;
	uint64_t	 misses;
};
"""

PARSE = """
static int
parse_%(n)d(const char *s, uint32_t *out)
{
	uint32_t v = %(a)d;
	int sign = 1, digits = 0;

	while (*s == ' ' || *s == '%(c)s')
		s++;
	if (*s == '-') {
		sign = -1;
		s++;
	}
	for (; *s >= '0' && *s <= '9'; s++, digits++) {
		if (v > (UINT32_MAX - 9) / 10)
			return (-%(b)d);
		v = v * 10 + (uint32_t)(*s - '0');
	}
	if (digits == 0 || (*s != '\\0' && *s != '%(c)s'))
		return (-1);
	*out = sign < 0 ? 0 - v : v + %(a)du;
	return (digits);
}
"""

LOOKUP = """
static struct item *
lookup_%(n)d(struct table *t, const char *name, int make)
{
	uint32_t hash = %(a)du;
	struct item *i, **link;
	const char *p;

	for (p = name; *p != '\\0'; p++)
		hash = (hash ^ (uint8_t)*p) * %(b)du + (hash >> %(s)d);
	link = &t->slot[hash %% 256];
	for (; (i = *link) != NULL; link = &i->next) {
		if (i->key == hash && strcmp(i->name, name) == 0) {
			i->count += %(s)d;
			*link = i->next;
			i->next = t->slot[hash %% 256];
			t->slot[hash %% 256] = i;
			return (i);
		}
	}
	t->misses++;
	if (!make || (i = calloc(1, sizeof(*i))) == NULL)
		return (NULL);
	snprintf(i->name, sizeof(i->name), "%%s", name);
	i->key = hash;
	i->weight = %(a)d / (double)(hash | 1);
	i->next = t->slot[hash %% 256];
	t->slot[hash %% 256] = i;
	t->items++;
	return (i);
}
"""

SOLVE = """
static double
solve_%(n)d(double a[%(d)d][%(d)d + 1], double *x)
{
	double f, t, sum = 0;
	int i, j, k, best;

	for (i = 0; i < %(d)d; i++) {
		best = i;
		for (j = i + 1; j < %(d)d; j++)
			if (a[j][i] * a[j][i] > a[best][i] * a[best][i])
				best = j;
		for (k = 0; k <= %(d)d; k++) {
			t = a[i][k];
			a[i][k] = a[best][k];
			a[best][k] = t;
		}
		for (j = i + 1; j < %(d)d; j++) {
			f = a[j][i] / a[i][i];
			for (k = i; k <= %(d)d; k++)
				a[j][k] -= f * a[i][k];
		}
	}
	for (i = %(d)d - 1; i >= 0; i--) {
		x[i] = a[i][%(d)d];
		for (k = i + 1; k < %(d)d; k++)
			x[i] -= a[i][k] * x[k];
		x[i] /= a[i][i];
		sum += x[i] * %(a)d.0;
	}
	return (sum);
}
"""

STATE = """
static unsigned
state_%(n)d(const uint8_t *p, size_t len, unsigned state)
{
	size_t i;

	for (i = 0; i < len; i++) {
		switch (state) {
		case 0:
			state = p[i] == %(a)d %% 128 ? 1 : p[i] & 3;
			break;
		case 1:
			if (p[i] > %(b)d %% 200)
				state = 2;
			else if (p[i] == '%(c)s')
				state = 5;
			break;
		case 2:
			state = (state << 1 ^ p[i]) %% 7;
			break;
		case 3:
			if (i + 1 < len && p[i + 1] == p[i])
				return (%(s)d);
			state = 4;
			break;
		case 4:
		case 5:
			state = p[i] < %(s)d ? 6 : (unsigned)(p[i] - %(s)d) %% 5;
			break;
		default:
			state = 0;
			break;
		}
	}
	return (state);
}
"""

SORT = """
static void
sort_%(n)d(struct item **head)
{
	struct item *in = *head, *a, *b, *e, **tail;
	size_t width, steps, i, an, bn;

	for (width = 1, steps = 2; steps > 1; width *= 2) {
		a = in;
		in = NULL;
		tail = &in;
		for (steps = 0; a != NULL; steps++) {
			for (b = a, an = 0, i = 0; i < width && b != NULL; i++) {
				b = b->next;
				an++;
			}
			for (bn = width; an > 0 || (bn > 0 && b != NULL);) {
				if (an == 0) {
					e = b, b = b->next, bn--;
				} else if (bn == 0 || b == NULL ||
				    a->key %% %(a)du <= b->key %% %(a)du) {
					e = a, a = a->next, an--;
				} else {
					e = b, b = b->next, bn--;
				}
				*tail = e;
				tail = &e->next;
			}
			a = b;
		}
		*tail = NULL;
	}
	*head = in;
}
"""

USE = """
int
use_%(n)d(struct table *t, const char *const *words, size_t n)
{
	double a[%(d)d][%(d)d + 1], x[%(d)d];
	uint32_t v, total = 0;
	struct item *it;
	size_t i, j;

	for (i = 0; i < n; i++) {
		if (parse_%(n)d(words[i], &v) > 0)
			total += v;
		else if ((it = lookup_%(n)d(t, words[i], 1)) != NULL)
			total ^= it->count << (i %% %(s)d);
		total += state_%(n)d((const uint8_t *)words[i],
		    strlen(words[i]), total %% 8);
	}
	for (i = 0; i < 256; i++)
		sort_%(n)d(&t->slot[i]);
	for (i = 0; i < %(d)d; i++)
		for (j = 0; j <= %(d)d; j++)
			a[i][j] = (double)(total >> (i + j) & 255) + (i == j);
	return ((int)(solve_%(n)d(a, x) + x[0]) ^ (int)total);
}
"""


def main():
    r = random.Random(2000)
    text = HEAD
    n = 0
    while True:     # until nothing but the table at the end fits
        values = {"n": n, "a": r.randint(100, 65000), "b": r.randint(3, 9999),
            "c": r.choice(",;:/"), "s": r.randint(3, 13), "d": r.randint(3, 9)}
        group = "".join(f % values
            for f in (PARSE, LOOKUP, SOLVE, STATE, SORT, USE))
        if text.count("\n") + group.count("\n") > LINES - 3:
            break
        text += group
        n += 1
    text += "\nconst uint32_t constants[] = {\n"
    while text.count("\n") < LINES - 1:
        text += "\t%du,\n" % r.getrandbits(32)
    print(text + "};")


main()
