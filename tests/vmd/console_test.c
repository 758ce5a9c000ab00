/*
 * The console of a VM's process: who reads, who writes, who does not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmd/console.h"
#include "vmd/protocol.h"

#define KEPT	PROTOCOL_CONSOLE_KEPT

static struct fixture {
	struct loop	*f_loop;
	struct console	*f_console;
	pthread_t	 f_thread;
	int		 f_fd;		/* the machine's */
	sem_t		 f_done;
	int		 f_attached;
} f;

static void *
run(void *arg)
{
	(void)arg;
	assert_int_equal(loop_run(f.f_loop), 0);
	return (NULL);
}

static int
setup(void **state)
{
	const struct config_owner owner = { .co_user_set = false };
	struct err err;

	(void)state;
	sem_init(&f.f_done, 0, 0);
	f.f_loop = loop_new();
	assert_non_null(f.f_loop);
	f.f_console = console_new(&owner, &err);
	if (f.f_console == NULL)
		fail_msg("%s", err.e_text);
	f.f_fd = console_fd(f.f_console);
	assert_int_equal(console_start(f.f_console, f.f_loop, &err), 0);
	assert_int_equal(pthread_create(&f.f_thread, NULL, run, NULL), 0);
	return (0);
}

static void
halt(void)
{
	loop_stop(f.f_loop);
	pthread_join(f.f_thread, NULL);
}

static int
teardown(void **state)
{
	(void)state;
	if (f.f_console != NULL) {
		halt();
		console_free(f.f_console);
	}
	loop_free(f.f_loop);
	sem_destroy(&f.f_done);
	memset(&f, 0, sizeof(f));
	return (0);
}

static void
attach_here(void *arg)
{
	(void)arg;
	f.f_attached = console_attach(f.f_console);
	sem_post(&f.f_done);
}

static int
attach(void)
{
	assert_int_equal(loop_post(f.f_loop, attach_here, NULL), 0);
	sem_wait(&f.f_done);
	return (f.f_attached);
}

/* The byte that the machine writes at a place of its stream. */
static uint8_t
byte_at(size_t at)
{
	return ((uint8_t)(at * 7 + (at >> 8) * 13 + (at >> 16)));
}

static void
machine_writes(size_t from, size_t len)
{
	uint8_t bytes[1000];
	size_t n, k;

	for (; len > 0; from += n, len -= n) {
		n = len < sizeof(bytes) ? len : sizeof(bytes);
		for (k = 0; k < n; k++)
			bytes[k] = byte_at(from + k);
		assert_int_equal(write(f.f_fd, bytes, n), n);
	}
}

/* Waits for exactly len bytes. */
static void
take(int fd, uint8_t *to, size_t len)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t n;

	while (len > 0) {
		assert_int_equal(poll(&p, 1, 60000), 1);
		n = read(fd, to, len);
		if (n <= 0)
			fail_msg("read: %zd, %s", n, strerror(errno));
		to += n;
		len -= (size_t)n;
	}
}

static void
expect(int fd, size_t from, size_t len)
{
	uint8_t *bytes = malloc(len);
	size_t n;

	take(fd, bytes, len);
	for (n = 0; n < len; n++)
		if (bytes[n] != byte_at(from + n))
			fail_msg("byte %zu", from + n);
	free(bytes);
}

/* What came before it, up to what is kept, and then what all get. */
static void
newcomers(void **state)
{
	const size_t much = 3 * KEPT + 12345;
	int a, b;

	(void)state;
	machine_writes(0, 100);
	a = attach();
	expect(a, 0, 100);
	machine_writes(100, 50);
	expect(a, 100, 50);
	b = attach();
	expect(b, 0, 150);
	machine_writes(150, 1000);
	expect(a, 150, 1000);
	expect(b, 150, 1000);
	close(a);
	close(b);

	a = attach();		/* reads all, so that we know it is written */
	expect(a, 0, 1150);
	for (size_t at = 1150; at < much; at += 1000) {
		size_t n = much - at < 1000 ? much - at : 1000;

		machine_writes(at, n);
		expect(a, at, n);
	}
	b = attach();
	expect(b, much - KEPT, KEPT);
	close(a);
	close(b);
}

/* The machine goes on; who reads late has the end, with a gap before it. */
static void
does_not_read(void **state)
{
	const size_t much = 4 << 20;
	uint8_t *bytes = malloc(much);
	struct pollfd p;
	size_t got = 0;
	ssize_t n;
	int a;

	(void)state;
	a = attach();
	machine_writes(0, much);	/* nobody reads, nor the terminal */
	p = (struct pollfd){ .fd = a, .events = POLLIN };
	while (got < 1 || bytes[got - 1] != byte_at(much - 1) ||
	    poll(&p, 1, 300) == 1) {
		assert_int_equal(poll(&p, 1, 60000), 1);
		n = read(a, bytes + got, much - got);
		assert_true(n > 0);
		got += (size_t)n;
	}
	assert_true(got < much);
	assert_true(got >= KEPT);
	for (n = 0; n < (ssize_t)KEPT; n++)
		assert_int_equal(bytes[got - KEPT + (size_t)n],
		    byte_at(much - KEPT + (size_t)n));
	free(bytes);
	close(a);
}

static void *
types(void *arg)
{
	int fd = *(int *)arg;
	uint8_t byte;
	size_t n;

	for (n = 0; n < 50000; n++) {
		byte = byte_at(n);
		if (write(fd, &byte, 1) != 1)
			return (arg);
	}
	return (NULL);
}

/* The machine gets all of it in order, however late it reads. */
static void
typed(void **state)
{
	pthread_t thread;
	uint8_t byte;
	void *failed;
	int a;

	(void)state;
	a = attach();
	assert_int_equal(pthread_create(&thread, NULL, types, &a), 0);
	usleep(50000);
	expect(f.f_fd, 0, 50000);
	pthread_join(thread, &failed);
	assert_null(failed);
	/* a reader that goes leaves the others */
	close(a);
	a = attach();
	assert_int_equal(write(a, "x", 1), 1);
	take(f.f_fd, &byte, 1);
	assert_int_equal(byte, 'x');
	close(a);
}

static void
terminal(void **state)
{
	struct stat st;
	uint8_t bytes[4];
	int tty, round;

	(void)state;
	assert_int_equal(stat(console_tty(f.f_console), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0620);
	for (round = 0; round < 3; round++) {	/* may be closed and opened */
		tty = open(console_tty(f.f_console), O_RDWR | O_NOCTTY);
		assert_int_not_equal(tty, -1);
		assert_int_equal(write(f.f_fd, "a\nb\r", 4), 4);
		take(tty, bytes, 4);
		assert_memory_equal(bytes, "a\nb\r", 4);
		assert_int_equal(write(tty, "\rq\003\n", 4), 4);
		take(f.f_fd, bytes, 4);
		assert_memory_equal(bytes, "\rq\003\n", 4);
		close(tty);
	}
}

static void
too_many(void **state)
{
	int fd[CONSOLE_READERS], n;

	(void)state;
	for (n = 0; n < CONSOLE_READERS; n++)
		assert_int_not_equal(fd[n] = attach(), -1);
	assert_int_equal(attach(), -1);
	for (n = 0; n < CONSOLE_READERS; n++)
		close(fd[n]);
	/* the loop has to see that they are gone */
	for (n = 0; n < 1000 && (fd[0] = attach()) == -1; n++)
		usleep(10000);
	assert_int_not_equal(fd[0], -1);
	close(fd[0]);
}

/* The last words, written when the loop does not run any more. */
static void
last_words(void **state)
{
	uint8_t byte;
	int a;

	(void)state;
	a = attach();
	halt();
	machine_writes(0, 30000);
	console_free(f.f_console);
	f.f_console = NULL;
	expect(a, 0, 30000);
	assert_int_equal(read(a, &byte, 1), 0);
	close(a);
}

int
main(void)
{
#define TEST(t)	cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(newcomers),
		TEST(does_not_read),
		TEST(typed),
		TEST(terminal),
		TEST(too_many),
		TEST(last_words)
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
