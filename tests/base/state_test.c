/*
 * base/state: what is saved is loaded, and nothing else is.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/state.h"

struct thing {
	uint8_t		 a, b;
	uint16_t	 c;
	uint32_t	 d;
	uint64_t	 e;
	int64_t		 f;
	bool		 g;
	uint8_t		 h[5];
	uint16_t	 r;
};

static const struct thing made = { 1, 2, 0x1234, 0x12345678,
	0x123456789abcdef0, -5, true, "abcd", 0x8100 };

static void
inner_state(struct thing *t, struct state *s)
{
	state_begin(s, "inner", 7, 2);
	state_u64(s, &t->e);
	state_i64(s, &t->f);
	state_end(s);
}

static void
thing_state(struct thing *t, struct state *s)
{
	state_begin(s, "thing", 0, 1);
	state_u8(s, &t->a);
	state_u8_max(s, &t->b, 2);
	state_u16_max(s, &t->c, 0x2000);
	inner_state(t, s);
	state_u32(s, &t->d);
	state_bool(s, &t->g);
	state_same(s, "size", 77);
	state_same_text(s, "colour", "green");
	state_bytes(s, t->h, sizeof(t->h));
	state_u16_bits(s, &t->r, 0x8101);
	state_end(s);
	state_finish(s);
}

static void
save(struct state *s)
{
	struct thing t = made;

	state_save(s);
	thing_state(&t, s);
	assert_true(state_ok(s));
}

static void
test_round_trip(void **unused)
{
	struct state s, l;
	struct thing t = { 0 };

	(void)unused;
	save(&s);
	state_load(&l, s.s_data, s.s_size);
	thing_state(&t, &l);
	assert_true(state_loaded(&l));
	assert_int_equal(t.a, made.a);
	assert_int_equal(t.b, made.b);
	assert_int_equal(t.c, made.c);
	assert_int_equal(t.d, made.d);
	assert_int_equal(t.e, made.e);
	assert_int_equal(t.f, made.f);
	assert_int_equal(t.g, made.g);
	assert_memory_equal(t.h, made.h, sizeof(t.h));
	assert_int_equal(t.r, made.r);
	state_free(&l);
	state_free(&s);
}

/* Loads a copy with some bytes replaced; the error names the part. */
static void
refused(const struct state *s, size_t at, const void *bytes, size_t n,
    size_t size, const char *why)
{
	uint8_t *copy = malloc(s->s_size + 1);
	struct state l;
	struct thing t = { 0 };

	assert_non_null(copy);
	memcpy(copy, s->s_data, s->s_size);
	copy[s->s_size] = 0;
	memcpy(copy + at, bytes, n);
	state_load(&l, copy, size);
	thing_state(&t, &l);
	assert_int_equal(l.s_error, EINVAL);
	if (strstr(l.s_err.e_text, why) == NULL)
		fail_msg("\"%s\" says nothing of \"%s\"", l.s_err.e_text, why);
	/* what was refused is not there */
	assert_true(t.b <= 2 && t.c <= 0x2000 && (t.r & ~0x8101) == 0);
	free(copy);
}

#define FIELDS	40	/* where a part's begin */

static void
test_refused(void **unused)
{
	const uint8_t three = 3, zero = 0, big = 0xff;
	struct state s;
	size_t inner = FIELDS + 4;

	(void)unused;
	save(&s);
	refused(&s, 0, "T", 1, s.s_size, "thing 0: another part");
	refused(&s, 24, &three, 1, s.s_size, "thing 0: another part");
	refused(&s, 28, &three, 1, s.s_size, "thing 0: it is of version 3");
	refused(&s, 28, &zero, 1, s.s_size, "thing 0: it is of version 0");
	refused(&s, 32, &zero, 1, s.s_size, "thing 0: it is too short");
	refused(&s, 32, &big, 1, s.s_size, "thing 0: it is longer");
	refused(&s, 38, &big, 1, s.s_size, "thing 0: it is longer");
	refused(&s, FIELDS + 1, &three, 1, s.s_size, "thing 0: a value");
	refused(&s, FIELDS + 3, &big, 1, s.s_size, "thing 0: a value");
	refused(&s, inner + 28, &three, 1, s.s_size, "inner 7: it is of");
	refused(&s, inner + 32, "\x0f", 1, s.s_size, "7: it is too short");
	refused(&s, inner + 32, "\x11", 1, s.s_size, "7: it is too long");
	refused(&s, inner + FIELDS + 16 + 4, &three, 1, s.s_size,
	    "thing 0: a value");
	refused(&s, inner + FIELDS + 16 + 5, "N", 1, s.s_size,
	    "thing 0: its size is 78, and 77 here");
	refused(&s, inner + FIELDS + 16 + 15, "gr\033en", 5, s.s_size,
	    "its colour is \"gr?en\", and \"green\" here");
	/* less than the register's value, and yet not one of it */
	refused(&s, s.s_size - 2, "\2\0", 2, s.s_size,
	    "thing 0: a register has bits");
	refused(&s, 0, "t", 1, 10, "thing 0: it is not there");
	refused(&s, 0, "t", 1, s.s_size - 1, "thing 0: it is longer");
	refused(&s, 0, "t", 1, s.s_size + 1, "more than was asked for");
	state_free(&s);
}

/* A part's newer code loads what its older code has saved. */
static void
test_older(void **unused)
{
	uint8_t old = 9;
	struct state s, l;

	(void)unused;
	state_save(&s);
	assert_int_equal(state_begin(&s, "part", 0, 1), 1);
	state_u8(&s, &old);
	state_end(&s);
	state_load(&l, s.s_data, s.s_size);
	old = 0;
	assert_int_equal(state_begin(&l, "part", 0, 3), 1);
	state_u8(&l, &old);
	state_end(&l);
	state_finish(&l);
	assert_true(state_loaded(&l));
	assert_int_equal(old, 9);
	state_free(&s);
}

static void
test_sticky(void **unused)
{
	struct thing t = made;
	struct state s;
	size_t size;

	(void)unused;
	save(&s);
	size = s.s_size;
	state_fail(&s, ENODEV, "first");
	state_bad(&s, "second");
	thing_state(&t, &s);
	assert_int_equal(s.s_error, ENODEV);
	assert_non_null(strstr(s.s_err.e_text, "first"));
	assert_int_equal(s.s_size, size);
	assert_int_equal(s.s_depth, 0);
	state_free(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_older),
		cmocka_unit_test(test_sticky),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
