/*
 * Disks on an NBD server: nbdkit, which can be slow, fail and go away.
 */
#include <sys/wait.h>

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/disk.h"
#include "storage_util.h"

#define SIZE	(4u << 20)
#define FLIGHT	16
#define AREA	(SIZE / FLIGHT)

static uint8_t model[SIZE], back[SIZE];
static pid_t server = -1;

static void
pause_ms(unsigned ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&t, NULL);
}

static void
server_stop(void)
{
	int status;

	if (server == -1)
		return;
	kill(server, SIGKILL);
	waitpid(server, &status, 0);
	server = -1;
}

/* Starts "nbdkit -U sock ARGUMENTS" and waits until it listens. */
static void
server_start(const char *arguments)
{
	char command[512];
	unsigned i;

	unlink(storage_at("sock"));
	snprintf(command, sizeof(command), "exec nbdkit -f --exit-with-parent "
	    "-U %s %s 2>/dev/null", storage_at("sock"), arguments);
	if ((server = fork()) == 0) {
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	assert_int_not_equal(server, -1);
	for (i = 0; i < 500 && access(storage_at("sock"), F_OK) != 0; i++)
		pause_ms(20);
	assert_int_equal(access(storage_at("sock"), F_OK), 0);
}

static const char *
uri(void)
{
	static char text[256];

	snprintf(text, sizeof(text), "nbd+unix:///?socket=%s",
	    storage_at("sock"));
	return (text);
}

static struct disk *
open_disk(int flags)
{
	struct disk *d;
	struct err err;

	if (disk_open(&d, uri(), flags, &err) == -1)
		fail_msg("%s", err.e_text);
	return (d);
}

struct flight {
	struct disk_req	 req;
	struct iovec	 iov[2];
	uint8_t		 buf[AREA];
};

/* Random requests, many in flight, each in its own area. */
static void
random_requests(struct disk *d, unsigned rounds, unsigned *seed)
{
	static const enum disk_op ops[] = { DISK_READ, DISK_WRITE, DISK_WRITE,
	    DISK_WRITE_ZEROES, DISK_READ };
	static struct flight flight[FLIGHT];
	struct storage_waiter w;
	struct disk_req *r;
	unsigned round, i;
	uint64_t first;
	size_t k;

	for (round = 0; round < rounds; round++) {
		storage_waiter_init(&w, FLIGHT);
		for (i = 0; i < FLIGHT; i++) {
			r = &flight[i].req;
			memset(r, 0, sizeof(*r));
			r->dr_op = ops[(unsigned)rand_r(seed) % 5];
			first = (unsigned)rand_r(seed) % (AREA / 512 - 1);
			r->dr_offset = i * AREA + first * 512;
			r->dr_length = 512 * (1 + (unsigned)rand_r(seed) %
			    (AREA / 512 - first));
			r->dr_unmap = rand_r(seed) % 2;
			r->dr_done = storage_done;
			r->dr_arg = &w;
			k = (size_t)rand_r(seed) % r->dr_length;
			flight[i].iov[0] = (struct iovec){ flight[i].buf, k };
			flight[i].iov[1] = (struct iovec){ flight[i].buf + k,
			    r->dr_length - k };
			r->dr_iov = flight[i].iov;
			r->dr_niov = 2;
			if (r->dr_op == DISK_WRITE) {
				memset(flight[i].buf, rand_r(seed),
				    r->dr_length);
				memcpy(model + r->dr_offset, flight[i].buf,
				    r->dr_length);
			} else if (r->dr_op == DISK_WRITE_ZEROES)
				memset(model + r->dr_offset, 0,
				    r->dr_length);
			disk_submit(d, r);
		}
		assert_int_equal(storage_wait(&w), 0);
		for (i = 0; i < FLIGHT; i++)
			if (flight[i].req.dr_op == DISK_READ)
				assert_memory_equal(flight[i].buf, model +
				    flight[i].req.dr_offset,
				    flight[i].req.dr_length);
	}
}

static void
test_requests(void **state)
{
	unsigned seed = storage_seed();
	struct disk *d;

	(void)state;
	server_start("memory 4M");
	d = open_disk(0);
	assert_int_equal(disk_size(d), SIZE);
	assert_false(disk_readonly(d));
	memset(model, 0, SIZE);
	random_requests(d, 60, &seed);
	assert_int_equal(storage_rw(d, DISK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(storage_rw(d, DISK_READ, 0, back, SIZE), 0);
	assert_memory_equal(back, model, SIZE);
	assert_int_equal(storage_rw(d, DISK_DISCARD, 0, NULL, SIZE / 2), 0);
	assert_int_equal(storage_rw(d, DISK_READ, SIZE / 2, back, SIZE / 2),
	    0);
	assert_memory_equal(back, model + SIZE / 2, SIZE / 2);
	disk_close(d);
	server_stop();
}

/* A server that knows no zeroes. */
static void
test_simple_server(void **state)
{
	unsigned seed = storage_seed();
	struct disk *d;

	(void)state;
	server_start("--filter=nozero memory 4M zeromode=none");
	d = open_disk(0);
	memset(model, 0, SIZE);
	random_requests(d, 20, &seed);
	assert_int_equal(storage_rw(d, DISK_FLUSH, 0, NULL, 0), 0);
	disk_close(d);
	server_stop();
}

/* Requests wait for the server side by side: else this takes 16 times as
 * long as one. */
static void
test_in_flight(void **state)
{
	static uint8_t buf[FLIGHT][4096];
	struct disk_req r[FLIGHT];
	struct iovec iov[FLIGHT];
	struct timespec begin, end;
	struct storage_waiter w;
	struct disk *d;
	long ms;
	int i;

	(void)state;
	server_start("--filter=delay memory 4M rdelay=500ms");
	d = open_disk(0);
	storage_waiter_init(&w, FLIGHT);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (i = 0; i < FLIGHT; i++) {
		iov[i] = (struct iovec){ buf[i], 4096 };
		r[i] = (struct disk_req){ .dr_op = DISK_READ,
		    .dr_offset = (uint64_t)i * 4096, .dr_length = 4096,
		    .dr_iov = &iov[i], .dr_niov = 1, .dr_done = storage_done,
		    .dr_arg = &w };
		disk_submit(d, &r[i]);
	}
	assert_int_equal(storage_wait(&w), 0);
	clock_gettime(CLOCK_MONOTONIC, &end);
	ms = (end.tv_sec - begin.tv_sec) * 1000 +
	    (end.tv_nsec - begin.tv_nsec) / 1000000;
	printf("# %d requests of 500 ms: %ld ms\n", FLIGHT, ms);
	assert_true(ms < FLIGHT * 500 / 4);
	disk_close(d);
	server_stop();
}

/* What the server says is what the guest gets. */
static void
test_errors(void **state)
{
	static uint8_t buf[4096];
	struct disk *d;
	struct err err;

	(void)state;
	server_start("--filter=error memory 4M error=ENOSPC "
	    "error-pwrite-rate=100%");
	d = open_disk(0);
	assert_int_equal(storage_rw(d, DISK_READ, 0, buf, 4096), 0);
	assert_int_equal(storage_rw(d, DISK_WRITE, 0, buf, 4096), ENOSPC);
	assert_int_equal(storage_rw(d, DISK_READ, 0, buf, 4096), 0);
	disk_close(d);
	server_stop();
	server_start("-r memory 4M");
	assert_int_equal(disk_open(&d, uri(), 0, &err), -1);
	assert_non_null(strstr(err.e_text, "is read-only"));
	d = open_disk(DISK_RDONLY);
	assert_int_equal(storage_rw(d, DISK_READ, 0, buf, 4096), 0);
	assert_int_equal(storage_rw(d, DISK_WRITE, 0, buf, 4096), EROFS);
	disk_close(d);
	server_stop();
	server_start("memory 1000");
	assert_int_equal(disk_open(&d, uri(), 0, &err), -1);
	assert_non_null(strstr(err.e_text, "no multiple of 512"));
	server_stop();
	unlink(storage_at("sock"));
	assert_int_equal(disk_open(&d, uri(), 0, &err), -1);
	assert_non_null(strstr(err.e_text, uri()));
}

/* The server dies and comes back: requests wait, a flush tells. */
static void
test_reconnect(void **state)
{
	unsigned seed = storage_seed(), i;
	char arguments[256];
	struct disk *d;

	(void)state;
	memset(model, 0, SIZE);
	storage_save("exported", model, SIZE);
	snprintf(arguments, sizeof(arguments), "file %s",
	    storage_at("exported"));
	server_start(arguments);
	d = open_disk(0);
	for (i = 0; i < 4; i++) {
		random_requests(d, 10, &seed);
		assert_int_equal(storage_rw(d, DISK_WRITE, 0, model, 512), 0);
		/* nothing that matters is lost if all was flushed */
		if (i % 2 == 0)
			assert_int_equal(storage_rw(d, DISK_FLUSH, 0, NULL,
			    0), 0);
		server_stop();
		server_start(arguments);
		assert_int_equal(storage_rw(d, DISK_READ, 0, back, SIZE), 0);
		assert_memory_equal(back, model, SIZE);
		assert_int_equal(storage_rw(d, DISK_FLUSH, 0, NULL, 0),
		    i % 2 == 0 ? 0 : EIO);
		assert_int_equal(storage_rw(d, DISK_FLUSH, 0, NULL, 0), 0);
	}
	disk_close(d);
	server_stop();
}

/* It dies with requests under way, which are made again. */
static void
test_killed_under_way(void **state)
{
	static uint8_t buf[FLIGHT][4096];
	struct disk_req r[FLIGHT];
	struct iovec iov[FLIGHT];
	struct storage_waiter w;
	char arguments[256];
	struct disk *d;
	int i;

	(void)state;
	memset(model, 0x5a, SIZE);
	storage_save("exported", model, SIZE);
	snprintf(arguments, sizeof(arguments), "--filter=delay file %s "
	    "rdelay=1", storage_at("exported"));
	server_start(arguments);
	d = open_disk(0);
	storage_waiter_init(&w, FLIGHT);
	for (i = 0; i < FLIGHT; i++) {
		iov[i] = (struct iovec){ buf[i], 4096 };
		r[i] = (struct disk_req){ .dr_op = DISK_READ,
		    .dr_offset = (uint64_t)i * 4096, .dr_length = 4096,
		    .dr_iov = &iov[i], .dr_niov = 1, .dr_done = storage_done,
		    .dr_arg = &w };
		disk_submit(d, &r[i]);
	}
	pause_ms(300);
	server_stop();
	snprintf(arguments, sizeof(arguments), "file %s",
	    storage_at("exported"));
	server_start(arguments);
	assert_int_equal(storage_wait(&w), 0);
	for (i = 0; i < FLIGHT; i++)
		assert_memory_equal(buf[i], model, 4096);
	disk_close(d);
	server_stop();
}

static int
setup(void **state)
{
	(void)state;
	return (storage_setup());
}

static int
teardown(void **state)
{
	(void)state;
	server_stop();
	return (storage_teardown());
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_simple_server),
		cmocka_unit_test(test_in_flight),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_reconnect),
		cmocka_unit_test(test_killed_under_way),
	};

	return (cmocka_run_group_tests(tests, setup, teardown));
}
