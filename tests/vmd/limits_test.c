/*
 * Rules of time, on a clock of the test's: restarts, staggered starts, the
 * limits of those who were asked to stop.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vmd/limits.h"

#define S	LIMIT_SECOND

static void
test_restart(void **state)
{
	struct restart re;

	(void)state;
	restart_begin(&re, 100 * S);
	assert_true(restart_again(&re, 101 * S));
	assert_true(restart_again(&re, 102 * S));
	assert_false(restart_again(&re, 103 * S));

	/* a long run in between forgives what was before */
	restart_begin(&re, 100 * S);
	assert_true(restart_again(&re, 101 * S));
	assert_true(restart_again(&re, 102 * S));
	assert_true(restart_again(&re, 108 * S));
	assert_true(restart_again(&re, 109 * S));
	assert_true(restart_again(&re, 110 * S));
	assert_false(restart_again(&re, 111 * S));

	/* each is measured from the one before, not from the first */
	restart_begin(&re, 100 * S);
	assert_true(restart_again(&re, 105 * S));
	assert_true(restart_again(&re, 110 * S));
	assert_false(restart_again(&re, 116 * S - 1));

	/* 6 seconds are long enough */
	restart_begin(&re, 100 * S);
	assert_true(restart_again(&re, 101 * S));
	assert_true(restart_again(&re, 102 * S));
	assert_true(restart_again(&re, 108 * S));
}

static void
test_stagger(void **state)
{
	struct stagger st;
	uint64_t again;

	(void)state;
	stagger_begin(&st, 0, 30 * S);
	assert_int_equal(stagger_due(&st, 5 * S, 50, &again), 50);
	assert_int_equal(again, LIMIT_NEVER);

	stagger_begin(&st, 2, 30 * S);
	assert_int_equal(stagger_due(&st, 5 * S, 0, &again), 0);
	assert_int_equal(again, LIMIT_NEVER);
	assert_int_equal(stagger_due(&st, 5 * S, 5, &again), 2);
	assert_int_equal(again, 35 * S);
	/* asked too early, as after somebody's end */
	assert_int_equal(stagger_due(&st, 20 * S, 3, &again), 0);
	assert_int_equal(again, 35 * S);
	assert_int_equal(stagger_due(&st, 35 * S, 3, &again), 2);
	assert_int_equal(again, 65 * S);
	assert_int_equal(stagger_due(&st, 70 * S, 1, &again), 1);
	assert_int_equal(again, LIMIT_NEVER);
	/* one that comes now waits for the last ones' time, too */
	assert_int_equal(stagger_due(&st, 71 * S, 1, &again), 0);
	assert_int_equal(again, 100 * S);
}

static void
test_stop(void **state)
{
	struct stop sp = { 0 };
	uint64_t again;

	(void)state;
	assert_int_equal(stop_check(&sp, STOP_DEAF, 7 * S, &again),
	    STOP_WAIT);
	assert_int_equal(again, LIMIT_NEVER);

	stop_begin(&sp, 100 * S);
	assert_int_equal(stop_check(&sp, STOP_DEAF, 100 * S, &again),
	    STOP_KILL_DEAF);
	assert_int_equal(stop_check(&sp, STOP_ASKED, 100 * S, &again),
	    STOP_WAIT);
	assert_int_equal(again, 103 * S);
	assert_int_equal(stop_check(&sp, STOP_ASKED, 103 * S - 1, &again),
	    STOP_WAIT);
	assert_int_equal(stop_check(&sp, STOP_ASKED, 103 * S, &again),
	    STOP_KILL_SILENT);
	assert_int_equal(stop_check(&sp, STOP_ANSWERED, 103 * S, &again),
	    STOP_WAIT);
	assert_int_equal(again, 105 * S);
	/* the answer may have been no more than that */
	assert_int_equal(stop_check(&sp, STOP_ANSWERED, 105 * S, &again),
	    STOP_ASK);
	assert_int_equal(again, 110 * S);
	assert_int_equal(stop_check(&sp, STOP_ANSWERED, 110 * S - 1, &again),
	    STOP_WAIT);
	assert_int_equal(again, 110 * S);
	assert_int_equal(stop_check(&sp, STOP_ANSWERED, 216 * S, &again),
	    STOP_ASK);
	assert_int_equal(again, 220 * S);
	/* which gives it no more time */
	stop_begin(&sp, 219 * S);
	assert_int_equal(stop_check(&sp, STOP_ANSWERED, 220 * S - 1, &again),
	    STOP_WAIT);
	assert_int_equal(again, 220 * S);
	assert_int_equal(stop_check(&sp, STOP_ANSWERED, 220 * S, &again),
	    STOP_KILL_SLOW);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_stagger),
		cmocka_unit_test(test_stop),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
