/*
 * base/loop: order and time of timers, sources that come and go inside
 * handlers, wake-ups from other threads.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/loop.h"

#define MS	1000000ull

struct fixture {
	struct loop	*loop;
	struct loop_timer *guard;	/* ends a test that hangs */
	bool		 hung;
};

static void
guard(void *arg)
{
	struct fixture *f = arg;

	f->hung = true;
	loop_stop(f->loop);
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->loop = loop_new();
	assert_non_null(f->loop);
	f->guard = loop_timer_new(f->loop, guard, f);
	loop_timer_set(f->guard, loop_now() + 20000 * MS);
	*state = f;
	return (0);
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	loop_timer_free(f->guard);
	loop_free(f->loop);
	assert_false(f->hung);
	free(f);
	return (0);
}

#define NTIMERS	200

struct tick {
	struct loop	*loop;
	struct loop_timer *timer;
	uint64_t	 when;
	unsigned	*fired;
	uint64_t	*last;
};

static void
tick(void *arg)
{
	struct tick *t = arg;

	assert_true(loop_now() >= t->when);
	assert_true(*t->last <= t->when);	/* in order */
	*t->last = t->when;
	if (++*t->fired == NTIMERS / 2)
		loop_stop(t->loop);
}

static void
test_timers_in_order(void **state)
{
	struct fixture *f = *state;
	struct tick t[NTIMERS];
	unsigned i, fired = 0, seed = 12345;
	uint64_t last = 0, start = loop_now();

	for (i = 0; i < NTIMERS; i++) {
		t[i] = (struct tick){ .loop = f->loop, .fired = &fired,
			.last = &last };
		t[i].timer = loop_timer_new(f->loop, tick, &t[i]);
		assert_non_null(t[i].timer);
		loop_timer_set(t[i].timer, start + 5 * MS);
	}
	for (i = 0; i < NTIMERS; i++) {		/* move all, disarm half */
		t[i].when = start + (uint64_t)(rand_r(&seed) % 20000) * 1000;
		loop_timer_set(t[i].timer, t[i].when);
	}
	for (i = 0; i < NTIMERS; i += 2)
		loop_timer_set(t[i].timer, LOOP_NEVER);
	assert_int_equal(loop_run(f->loop), 0);
	assert_int_equal(fired, NTIMERS / 2);
	for (i = 0; i < NTIMERS; i++)
		loop_timer_free(t[i].timer);
}

struct past {
	struct fixture	*f;
	struct loop_timer *timer;
	unsigned	 count;
	bool		 posted;
};

static void
past_post(void *arg)
{
	struct past *p = arg;

	p->posted = true;
	loop_stop(p->f->loop);
}

static void
past_tick(void *arg)
{
	struct past *p = arg;

	if (++p->count == 3)
		loop_post(p->f->loop, past_post, p);
	loop_timer_set(p->timer, 0);
}

/* A timer that is always due starves nobody. */
static void
test_timer_in_the_past(void **state)
{
	struct past p = { .f = *state };

	p.timer = loop_timer_new(p.f->loop, past_tick, &p);
	loop_timer_set(p.timer, 0);
	assert_int_equal(loop_run(p.f->loop), 0);
	assert_true(p.posted);
	loop_timer_free(p.timer);
}

struct pair {
	struct loop	*loop;
	struct loop_fd	*source[2];
	int		 pipe[2][2];
	unsigned	 count;
};

static void
pair_ready(void *arg, uint32_t events)
{
	struct pair *p = arg;

	assert_true(events & EPOLLIN);
	p->count++;
	/* Both are ready in the same batch; the first to run ends both. */
	loop_fd_free(p->source[0]);
	loop_fd_free(p->source[1]);
	loop_stop(p->loop);
}

static void
test_free_inside_handler(void **state)
{
	struct fixture *f = *state;
	struct pair p = { .loop = f->loop };
	int i;

	for (i = 0; i < 2; i++) {
		assert_int_equal(pipe(p.pipe[i]), 0);
		assert_int_equal(write(p.pipe[i][1], "x", 1), 1);
		p.source[i] = loop_fd_new(f->loop, p.pipe[i][0], EPOLLIN,
		    pair_ready, &p);
		assert_non_null(p.source[i]);
	}
	assert_int_equal(loop_run(f->loop), 0);
	assert_int_equal(p.count, 1);
	for (i = 0; i < 2; i++) {
		close(p.pipe[i][0]);
		close(p.pipe[i][1]);
	}
}

static void
count_ready(void *arg, uint32_t events)
{
	unsigned *count = arg;

	(void)events;
	(*count)++;
}

static void
stop(void *arg)
{
	loop_stop(arg);
}

/* A paused source is silent even when its other end is closed. */
static void
test_paused_source_is_silent(void **state)
{
	struct fixture *f = *state;
	struct loop_timer *t;
	struct loop_fd *lf;
	unsigned count = 0;
	int fd[2];

	assert_int_equal(pipe(fd), 0);
	lf = loop_fd_new(f->loop, fd[0], EPOLLIN, count_ready, &count);
	loop_fd_events(lf, 0);
	close(fd[1]);
	t = loop_timer_new(f->loop, stop, f->loop);
	loop_timer_set(t, loop_now() + 20 * MS);
	assert_int_equal(loop_run(f->loop), 0);
	assert_int_equal(count, 0);
	loop_fd_events(lf, EPOLLIN);
	loop_timer_set(t, loop_now() + 5 * MS);
	assert_int_equal(loop_run(f->loop), 0);
	assert_true(count > 0);
	loop_timer_free(t);
	loop_fd_free(lf);
	close(fd[0]);
}

struct file {
	struct loop	*loop;
	struct loop_fd	*source;
	int		 fd;
	size_t		 bytes;
};

static void
file_ready(void *arg, uint32_t events)
{
	struct file *fl = arg;
	char buf[16];
	ssize_t n;

	assert_true(events & EPOLLIN);
	n = read(fl->fd, buf, sizeof(buf));
	assert_true(n >= 0);
	fl->bytes += (size_t)n;
	if (n == 0) {
		loop_fd_free(fl->source);
		loop_stop(fl->loop);
	}
}

static void
test_regular_file_is_always_ready(void **state)
{
	struct fixture *f = *state;
	struct file fl = { .loop = f->loop };
	FILE *fp = tmpfile();

	assert_non_null(fp);
	fprintf(fp, "%0100d", 1);
	fflush(fp);
	fl.fd = fileno(fp);
	lseek(fl.fd, 0, SEEK_SET);
	fl.source = loop_fd_new(f->loop, fl.fd, EPOLLIN, file_ready, &fl);
	assert_non_null(fl.source);
	assert_int_equal(loop_run(f->loop), 0);
	assert_int_equal(fl.bytes, 100);
	fclose(fp);
}

static void
test_bad_descriptor(void **state)
{
	struct fixture *f = *state;
	unsigned count = 0;

	errno = 0;
	assert_null(loop_fd_new(f->loop, 9999, EPOLLIN, count_ready, &count));
	assert_int_equal(errno, EBADF);
}

#define NPOSTS	1000

struct poster {
	struct loop	*loop;
	struct loop_timer *timer;
	unsigned	 next;
	struct {
		struct poster *p;
		unsigned n;
	}		 call[NPOSTS];
};

static void
posted(void *arg)
{
	typeof(((struct poster *)0)->call[0]) *c = arg;

	assert_int_equal(c->n, c->p->next);	/* in the order posted */
	assert_true(loop_is_here(c->p->loop));
	c->p->next++;
}

static void *
poster_thread(void *arg)
{
	struct poster *p = arg;
	unsigned i;

	assert_false(loop_is_here(p->loop));
	for (i = 0; i < NPOSTS; i++) {
		p->call[i].p = p;
		p->call[i].n = i;
		loop_post(p->loop, posted, &p->call[i]);
	}
	/* The loop sleeps until its guard; an earlier timer must wake it. */
	loop_timer_set(p->timer, loop_now() + 2 * MS);
	return (NULL);
}

static void
test_other_threads(void **state)
{
	struct fixture *f = *state;
	struct poster p = { .loop = f->loop };
	pthread_t t;

	p.timer = loop_timer_new(f->loop, stop, f->loop);
	assert_int_equal(pthread_create(&t, NULL, poster_thread, &p), 0);
	assert_int_equal(loop_run(f->loop), 0);
	pthread_join(t, NULL);
	assert_int_equal(p.next, NPOSTS);
	loop_timer_free(p.timer);
}

/* A stop that comes before the loop runs is not lost. */
static void
test_stop_before_run(void **state)
{
	struct fixture *f = *state;

	loop_stop(f->loop);
	assert_int_equal(loop_run(f->loop), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_timers_in_order, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_timer_in_the_past, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_free_inside_handler,
		    setup, teardown),
		cmocka_unit_test_setup_teardown(test_paused_source_is_silent,
		    setup, teardown),
		cmocka_unit_test_setup_teardown(
		    test_regular_file_is_always_ready, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_descriptor, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_other_threads, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_stop_before_run, setup,
		    teardown),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
