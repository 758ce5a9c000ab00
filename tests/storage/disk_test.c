/*
 * Disks: what is refused and how it is told, locks between processes, all
 * operations against a copy in memory with many in flight, a full file system.
 */
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
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

static char dir[] = "/tmp/vmm-disk-test.XXXXXX";

static const char *
at(const char *name)
{
	static char path[4][128];
	static unsigned n;

	n = (n + 1) % 4;
	snprintf(path[n], sizeof(path[n]), "%s/%s", dir, name);
	return (path[n]);
}

static const char *
image(const char *name, off_t size)
{
	const char *path = at(name);
	int fd;

	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_int_not_equal(fd, -1);
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
	return (path);
}

/* --- requests that are waited for ----------------------------------------- */

struct waiter {
	pthread_mutex_t	 lock;
	pthread_cond_t	 cond;
	int		 error;
	unsigned	 left;
};

static void
waiter_done(struct disk_req *r, int error)
{
	struct waiter *w = r->dr_arg;

	pthread_mutex_lock(&w->lock);
	if (error != 0)
		w->error = error;
	if (--w->left == 0)
		pthread_cond_broadcast(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

static int
waiter_wait(struct waiter *w)
{
	pthread_mutex_lock(&w->lock);
	while (w->left > 0)
		pthread_cond_wait(&w->cond, &w->lock);
	pthread_mutex_unlock(&w->lock);
	return (w->error);
}

static struct waiter
waiter(unsigned n)
{
	return ((struct waiter){ .lock = PTHREAD_MUTEX_INITIALIZER,
	    .cond = PTHREAD_COND_INITIALIZER, .left = n });
}

static int
rw(struct disk *d, enum disk_op op, uint64_t offset, void *buf, uint64_t len)
{
	struct waiter w = waiter(1);
	struct iovec iov = { buf, len };
	struct disk_req r = { .dr_op = op, .dr_offset = offset,
	    .dr_length = len, .dr_iov = &iov, .dr_niov = 1,
	    .dr_done = waiter_done, .dr_arg = &w };

	disk_submit(d, &r);
	return (waiter_wait(&w));
}

/* --- opening -------------------------------------------------------------- */

static void
refused(const char *path, int flags, const char *what, const char *cure)
{
	struct disk *d = NULL;
	struct err err = { "" };

	assert_int_equal(disk_open(&d, path, flags, &err), -1);
	if (strstr(err.e_text, path) == NULL ||
	    strstr(err.e_text, what) == NULL ||
	    strstr(err.e_text, cure) == NULL ||
	    strchr(err.e_text, '\n') != NULL)
		fail_msg("says \"%s\"", err.e_text);
}

static void
test_refusals(void **state)
{
	const char *path;
	int fd;

	(void)state;
	refused(at("none"), 0, "does not exist", "vmctl create");
	refused(dir, 0, "is a directory", "name an image");
	refused(dir, DISK_RDONLY, "is a directory", "name an image");
	refused("/dev/null", 0, "neither a file", "name an image");
	refused(image("empty", 0), 0, "is empty", "truncate -s");
	refused(image("odd", 1000), 0, "1000 bytes", "truncate -s %512");
	assert_int_equal(mkfifo(at("fifo"), 0600), 0);
	refused(at("fifo"), 0, "neither a file", "name an image");
	path = image("qcow2", 65536);
	fd = open(path, O_WRONLY);
	assert_int_equal(write(fd, "QFI\xfb\0\0\0\3", 8), 8);
	close(fd);
	refused(path, 0, "damaged", "qemu-img check");
}

/* As another user: root may do everything. */
static void
test_permission(void **state)
{
	int status, code = 0;
	struct disk *d;
	struct err err;
	pid_t pid;

	(void)state;
	chmod(image("readonly", 4096), 0444);
	chmod(image("secret", 4096), 0000);
	chmod(dir, 0755);
	if ((pid = fork()) == 0) {
		if (geteuid() == 0 && setuid(65534) == -1)
			_exit(9);
		if (disk_open(&d, at("readonly"), 0, &err) != -1 ||
		    strstr(err.e_text, "is read-only") == NULL ||
		    strstr(err.e_text, "chmod u+w") == NULL)
			code |= 1;
		if (disk_open(&d, at("readonly"), DISK_RDONLY, &err) == -1)
			code |= 2;
		if (disk_open(&d, at("secret"), 0, &err) != -1 ||
		    strstr(err.e_text, "permission denied") == NULL)
			code |= 4;
		_exit(code);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Opens in another process; its exit status. */
static int
open_elsewhere(const char *path, int flags, const char *says)
{
	struct disk *d;
	struct err err = { "" };
	int status;
	pid_t pid;

	if ((pid = fork()) == 0) {
		if (disk_open(&d, path, flags, &err) == 0)
			_exit(0);
		_exit(strstr(err.e_text, says) != NULL ? 1 : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return (WEXITSTATUS(status));
}

static void
test_locks(void **state)
{
	const char *path = image("locked", 4096);
	struct disk *d, *second;
	struct err err;

	(void)state;
	assert_int_equal(disk_open(&d, path, 0, &err), 0);
	assert_int_equal(open_elsewhere(path, 0, "in use"), 1);
	assert_int_equal(open_elsewhere(path, DISK_RDONLY, "in use"), 1);
	refused(path, 0, "in use", "stop that one");
	disk_close(d);
	assert_int_equal(open_elsewhere(path, 0, ""), 0);
	assert_int_equal(disk_open(&d, path, DISK_RDONLY, &err), 0);
	assert_int_equal(disk_open(&second, path, DISK_RDONLY, &err), 0);
	assert_int_equal(open_elsewhere(path, DISK_RDONLY, ""), 0);
	assert_int_equal(open_elsewhere(path, 0, "in use"), 1);
	disk_close(second);
	disk_close(d);
}

/* --- operations ----------------------------------------------------------- */

static void
test_checks(void **state)
{
	static uint8_t buf[1024];
	struct iovec iov[2] = { { buf, SIZE_MAX }, { buf, 513 } };
	struct waiter w = waiter(1);
	struct disk_req r = { .dr_op = DISK_READ, .dr_length = 512,
	    .dr_iov = iov, .dr_niov = 2, .dr_done = waiter_done, .dr_arg = &w };
	struct disk *d;
	struct err err;

	(void)state;
	assert_int_equal(disk_open(&d, image("checks", 8192), 0, &err), 0);
	assert_int_equal(disk_size(d), 8192);
	assert_false(disk_readonly(d));
	assert_int_equal(rw(d, DISK_READ, 8192 - 512, buf, 512), 0);
	assert_int_equal(rw(d, DISK_READ, 8192, buf, 0), 0);
	assert_int_equal(rw(d, DISK_READ, 8192, buf, 512), EINVAL);
	assert_int_equal(rw(d, DISK_READ, 8192 - 512, buf, 1024), EINVAL);
	assert_int_equal(rw(d, DISK_WRITE, 1, buf, 512), EINVAL);
	assert_int_equal(rw(d, DISK_WRITE, 0, buf, 511), EINVAL);
	assert_int_equal(rw(d, DISK_WRITE, (uint64_t)-512, buf, 1024), EINVAL);
	assert_int_equal(rw(d, DISK_DISCARD, 0, NULL, 16384), EINVAL);
	assert_int_equal(rw(d, (enum disk_op)77, 0, buf, 512), EINVAL);
	disk_submit(d, &r);	/* its iovecs' sum overflows to 512 */
	assert_int_equal(waiter_wait(&w), EINVAL);
	disk_close(d);
	assert_int_equal(disk_open(&d, at("checks"), DISK_RDONLY, &err), 0);
	assert_true(disk_readonly(d));
	assert_int_equal(rw(d, DISK_READ, 0, buf, 512), 0);
	assert_int_equal(rw(d, DISK_WRITE, 0, buf, 512), EROFS);
	assert_int_equal(rw(d, DISK_WRITE_ZEROES, 0, NULL, 512), EROFS);
	assert_int_equal(rw(d, DISK_DISCARD, 0, NULL, 512), EROFS);
	assert_int_equal(rw(d, DISK_FLUSH, 0, NULL, 0), 0);
	/* somebody cuts the file short */
	assert_int_equal(truncate(at("checks"), 512), 0);
	assert_int_equal(rw(d, DISK_READ, 4096, buf, 512), EIO);
	disk_close(d);
}

#define SIZE	(1 << 20)
#define FLIGHT	32
#define AREA	(SIZE / FLIGHT)

struct flight {
	struct disk_req	 req;
	struct iovec	 iov[40];
	uint8_t		 buf[AREA];
	bool		 check;
};

/* Cuts the request's buffer into iovecs at random, empty ones among them. */
static void
cut(struct flight *f, unsigned *seed)
{
	size_t done = 0, n;
	int i = 0;

	for (; i < 39 && done < f->req.dr_length; i++, done += n) {
		n = (size_t)rand_r(seed) % 2000;
		if (n > f->req.dr_length - done)
			n = f->req.dr_length - done;
		f->iov[i] = (struct iovec){ f->buf + done, n };
	}
	f->iov[i++] = (struct iovec){ f->buf + done, f->req.dr_length - done };
	f->req.dr_iov = f->iov;
	f->req.dr_niov = i;
}

static void
test_reference(void **state)
{
	static const enum disk_op ops[] = { DISK_READ, DISK_WRITE, DISK_WRITE,
	    DISK_WRITE_ZEROES, DISK_FLUSH };
	static uint8_t model[SIZE], back[SIZE];
	static struct flight flight[FLIGHT];
	unsigned round, i, seed = (unsigned)time(NULL);
	struct disk_req *r;
	struct waiter w;
	struct disk *d;
	struct err err;
	uint64_t first;
	size_t k;
	int fd;

	(void)state;
	printf("# seed %u\n", seed);
	assert_int_equal(disk_open(&d, image("reference", SIZE), 0, &err), 0);
	for (round = 0; round < 200; round++) {
		w = waiter(FLIGHT);
		for (i = 0; i < FLIGHT; i++) {
			r = &flight[i].req;
			memset(r, 0, sizeof(*r));
			r->dr_op = ops[(unsigned)rand_r(&seed) % 5];
			first = (unsigned)rand_r(&seed) % (AREA / 512);
			r->dr_offset = i * AREA + first * 512;
			r->dr_length = 512 * (1 + (unsigned)rand_r(&seed) %
			    (AREA / 512 - first));
			r->dr_unmap = (unsigned)rand_r(&seed) % 2;
			r->dr_done = waiter_done;
			r->dr_arg = &w;
			switch (r->dr_op) {
			case DISK_WRITE:
				for (k = 0; k < r->dr_length; k++)
					flight[i].buf[k] =
					    (uint8_t)rand_r(&seed);
				memcpy(model + r->dr_offset, flight[i].buf,
				    r->dr_length);
				cut(&flight[i], &seed);
				break;
			case DISK_READ:
				memset(flight[i].buf, 0xa5, AREA);
				cut(&flight[i], &seed);
				break;
			case DISK_WRITE_ZEROES:
				memset(model + r->dr_offset, 0, r->dr_length);
				break;
			default:
				r->dr_offset = r->dr_length = 0;
			}
		}
		for (i = 0; i < FLIGHT; i++)
			disk_submit(d, &flight[i].req);
		assert_int_equal(waiter_wait(&w), 0);
		for (i = 0; i < FLIGHT; i++)
			if (flight[i].req.dr_op == DISK_READ)
				assert_memory_equal(flight[i].buf, model +
				    flight[i].req.dr_offset,
				    flight[i].req.dr_length);
	}
	disk_close(d);
	fd = open(at("reference"), O_RDONLY);
	assert_int_equal(pread(fd, back, SIZE, 0), SIZE);
	close(fd);
	assert_memory_equal(back, model, SIZE);
}

/* disk_close() waits for what was submitted. */
static void
test_close_waits(void **state)
{
	static uint8_t buf[65536];
	struct iovec iov = { buf, sizeof(buf) };
	struct disk_req r[100];
	struct waiter w = waiter(100);
	struct disk *d;
	struct err err;
	unsigned i;

	(void)state;
	assert_int_equal(disk_open(&d, image("close", 1 << 20), 0, &err), 0);
	for (i = 0; i < 100; i++) {
		r[i] = (struct disk_req){ .dr_op = DISK_WRITE,
		    .dr_length = sizeof(buf), .dr_iov = &iov, .dr_niov = 1,
		    .dr_done = waiter_done, .dr_arg = &w };
		disk_submit(d, &r[i]);
	}
	disk_close(d);
	assert_int_equal(w.left, 0);
	assert_int_equal(w.error, 0);
}

/* What is done at once is done, and what is not is left as it was. */
static void
test_now(void **state)
{
	static uint8_t out[65536], in[65536];
	struct iovec iov[2] = { { out, 4096 }, { out + 4096, 61440 } };
	struct iovec back[2] = { { in, 61440 }, { in + 61440, 4096 } };
	struct disk_req w = { .dr_op = DISK_WRITE, .dr_offset = 512,
	    .dr_length = sizeof(out), .dr_iov = iov, .dr_niov = 2 };
	struct disk_req r = { .dr_op = DISK_READ, .dr_offset = 512,
	    .dr_length = sizeof(in), .dr_iov = back, .dr_niov = 2 };
	struct disk *d;
	struct err err;
	size_t i;
	int tries;

	(void)state;
	for (i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7 + i / 256);
	assert_int_equal(disk_open(&d, image("now", 1 << 20), 0, &err), 0);
	assert_true(disk_now(d, &w));
	/* The host may drop what it has cached, but not for ever. */
	for (tries = 0; !disk_now(d, &r); tries++) {
		assert_true(tries < 1000);
		assert_int_equal(rw(d, DISK_READ, 512, in, sizeof(in)), 0);
		memset(in, 0, sizeof(in));
	}
	assert_memory_equal(in, out, sizeof(in));
	r.dr_offset = (1 << 20) - 512;	/* beyond the end */
	assert_false(disk_now(d, &r));
	w.dr_offset = (1 << 20) - 512;
	assert_false(disk_now(d, &w));
	w.dr_offset = 100;
	assert_false(disk_now(d, &w));
	w.dr_op = DISK_FLUSH;
	w.dr_offset = w.dr_length = 0;
	assert_false(disk_now(d, &w));
	disk_close(d);
	assert_int_equal(disk_open(&d, at("now"), DISK_RDONLY, &err), 0);
	w.dr_op = DISK_WRITE;
	w.dr_length = sizeof(out);
	assert_false(disk_now(d, &w));
	disk_close(d);
}

/* A hole is given back where the file system has holes. */
static void
test_discard(void **state)
{
	static uint8_t buf[1 << 20];
	struct stat before, after;
	struct disk *d;
	struct err err;

	(void)state;
	assert_int_equal(disk_open(&d, image("discard", 1 << 20), 0, &err), 0);
	memset(buf, 7, sizeof(buf));
	assert_int_equal(rw(d, DISK_WRITE, 0, buf, sizeof(buf)), 0);
	assert_int_equal(rw(d, DISK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(stat(at("discard"), &before), 0);
	assert_int_equal(rw(d, DISK_DISCARD, 0, NULL, 1 << 19), 0);
	assert_int_equal(rw(d, DISK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(stat(at("discard"), &after), 0);
	assert_int_equal(after.st_size, 1 << 20);
	if (after.st_blocks >= before.st_blocks)
		printf("# no holes on this file system\n");
	assert_int_equal(rw(d, DISK_READ, 1 << 19, buf, 1 << 19), 0);
	assert_int_equal(buf[0], 7);
	assert_int_equal(buf[(1 << 19) - 1], 7);
	disk_close(d);
}

static void
test_serial(void **state)
{
	char a[20], b[20], c[20];
	struct disk *d;
	struct err err;

	(void)state;
	assert_int_equal(disk_open(&d, image("a", 512), 0, &err), 0);
	disk_serial(d, a);
	disk_close(d);
	assert_int_equal(disk_open(&d, image("b", 512), 0, &err), 0);
	disk_serial(d, b);
	disk_close(d);
	assert_int_equal(symlink("a", at("link")), 0);
	assert_int_equal(disk_open(&d, at("link"), 0, &err), 0);
	disk_serial(d, c);
	disk_close(d);
	assert_memory_not_equal(a, b, 20);
	assert_memory_equal(a, c, 20);
}

/* A full file system is the guest's write error, and no more than that. */
static void
test_full(void **state)
{
	static uint8_t buf[1 << 20];
	const char *path;
	struct disk *d;
	struct err err;

	(void)state;
	assert_int_equal(mkdir(at("small"), 0755), 0);
	if (mount("none", at("small"), "tmpfs", 0, "size=512k") == -1) {
		print_message("# skipped: cannot mount a tmpfs: %s\n",
		    strerror(errno));
		return;
	}
	path = image("small/image", 2 << 20);
	assert_int_equal(disk_open(&d, path, 0, &err), 0);
	memset(buf, 1, sizeof(buf));
	assert_int_equal(rw(d, DISK_WRITE, 0, buf, 4096), 0);
	assert_int_equal(rw(d, DISK_WRITE, 0, buf, sizeof(buf)), ENOSPC);
	/* no ZERO_RANGE here: zeroes are written, or the place given back */
	assert_int_equal(rw(d, DISK_DISCARD, 0, NULL, 2 << 20), 0);
	assert_int_equal(rw(d, DISK_WRITE, 0, buf, 131072), 0);
	assert_int_equal(rw(d, DISK_WRITE_ZEROES, 512, NULL, 130560), 0);
	assert_int_equal(rw(d, DISK_READ, 0, buf, 131072), 0);
	assert_int_equal(buf[511], 1);
	assert_int_equal(buf[512], 0);
	assert_int_equal(buf[131071], 0);
	disk_close(d);
	assert_int_equal(umount(at("small")), 0);
}

static int
setup(void **state)
{
	(void)state;
	return (mkdtemp(dir) == NULL);
}

static int
teardown(void **state)
{
	char command[128];

	(void)state;
	umount(at("small"));
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return (system(command));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_permission),
		cmocka_unit_test(test_locks),
		cmocka_unit_test(test_checks),
		cmocka_unit_test(test_reference),
		cmocka_unit_test(test_close_waits),
		cmocka_unit_test(test_now),
		cmocka_unit_test(test_discard),
		cmocka_unit_test(test_serial),
		cmocka_unit_test(test_full),
	};

	return (cmocka_run_group_tests(tests, setup, teardown));
}
