/*
 * The end at any moment: the calls that change the file during a random run
 * are recorded, and made again on a copy up to each of them. What is there
 * then must be an image without corruption in which every sector has what the
 * last flush made sure of, or what was written to it after.
 *
 * And the host's errors at any moment: a request that met one may have been
 * carried out or not, in part too; all others are as ever.
 *
 *	killed		every call up to a point was made
 *	powerless	every call up to the last fdatasync before it; of those
 *			after that, some sectors
 */
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/image.h"
#include "storage_util.h"

#define SIZE		(512u << 10)
#define SECTOR		512u
#define SECTORS		(SIZE / SECTOR)
#define CALLS_MAX	20000u
#define OPS_MAX		400u

/* --- recording ------------------------------------------------------------ */

enum kind { CALL_WRITE, CALL_SYNC, CALL_PUNCH };

struct call {
	enum kind	 c_kind;
	unsigned	 c_op;		/* during which request */
	uint64_t	 c_offset;
	size_t		 c_len;
	uint8_t		*c_bytes;
};

static struct call calls[CALLS_MAX];
static unsigned ncalls, op_now;
static int watched = -1;		/* a descriptor */
static unsigned failing;		/* one call in so many; 0: none */
static unsigned fail_seed, nfailed;

static bool
fails(int fd)
{
	if (fd != watched || failing == 0 ||
	    (unsigned)rand_r(&fail_seed) % failing != 0)
		return (false);
	nfailed++;
	errno = rand_r(&fail_seed) % 2 ? ENOSPC : EIO;
	return (true);
}

static struct call *
record(int fd, enum kind kind, uint64_t offset, size_t len)
{
	struct call *c = &calls[ncalls];

	if (fd != watched)
		return (NULL);
	assert_true(ncalls < CALLS_MAX);
	ncalls++;
	*c = (struct call){ kind, op_now, offset, len, NULL };
	if (kind == CALL_WRITE)
		assert_non_null(c->c_bytes = malloc(len));
	return (c);
}

/* These are called in place of the C library's. */
ssize_t
pwritev(int fd, const struct iovec *iov, int niov, off_t offset)
{
	struct call *c;
	size_t len = 0;
	int i;

	if (fails(fd)) {
		/* some of it gets there */
		if (rand_r(&fail_seed) % 2 && iov->iov_len > SECTOR)
			syscall(SYS_pwrite64, fd, iov->iov_base, SECTOR,
			    offset);
		return (-1);
	}
	for (i = 0; i < niov; i++)
		len += iov[i].iov_len;
	c = record(fd, CALL_WRITE, (uint64_t)offset, len);
	for (i = 0, len = 0; c != NULL && i < niov; i++) {
		memcpy(c->c_bytes + len, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	return (syscall(SYS_pwritev, fd, iov, niov, offset, 0));
}

int
fdatasync(int fd)
{
	if (fails(fd))
		return (-1);
	record(fd, CALL_SYNC, 0, 0);
	return (0);		/* the host's disk is not what is tested */
}

int
fallocate(int fd, int mode, off_t offset, off_t len)
{
	assert_int_equal(mode, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	record(fd, CALL_PUNCH, (uint64_t)offset, (size_t)len);
	return ((int)syscall(SYS_fallocate, fd, mode, offset, len));
}

/* --- the run -------------------------------------------------------------- */

struct op {
	char		 o_kind;	/* Write, Zero, Flush */
	unsigned	 o_first, o_n;	/* sectors */
	unsigned	 o_end;		/* calls recorded when it was done */
	bool		 o_failed;
};

static struct op ops[OPS_MAX];
static unsigned nops;
static uint8_t initial[SIZE], now[SIZE];

/* What request number `op` writes to a sector. */
static void
content(unsigned op, unsigned sector, uint8_t *out)
{
	uint32_t stamp[2] = { op + 1, sector };
	size_t i;

	memset(out, 0, SECTOR);
	if (ops[op].o_kind == 'W')
		for (i = 0; i < SECTOR; i += sizeof(stamp))
			memcpy(out + i, stamp, sizeof(stamp));
}

static void
run_op(struct image *im, unsigned *seed)
{
	struct op *o = &ops[nops];
	static uint8_t buf[SIZE];
	struct iovec iov;
	unsigned dice, i;
	int error;

	dice = (unsigned)rand_r(seed) % 10;
	o->o_kind = dice < 6 ? 'W' : dice < 8 ? 'Z' : 'F';
	o->o_first = (unsigned)rand_r(seed) % SECTORS;
	o->o_n = 1 + (unsigned)rand_r(seed) % (rand_r(seed) % 4 ? 20 : 200);
	if (o->o_n > SECTORS - o->o_first)
		o->o_n = SECTORS - o->o_first;
	op_now = nops;
	switch (o->o_kind) {
	case 'W':
		for (i = 0; i < o->o_n; i++)
			content(nops, o->o_first + i, buf + i * SECTOR);
		iov = (struct iovec){ buf, o->o_n * SECTOR };
		error = im->im_ops->io_write(im, o->o_first * SECTOR, &iov,
		    1);
		break;
	case 'Z':
		error = im->im_ops->io_zero(im, o->o_first * SECTOR,
		    o->o_n * SECTOR, rand_r(seed) % 2);
		break;
	default:
		error = im->im_ops->io_flush(im);
		break;
	}
	if (failing == 0)
		assert_int_equal(error, 0);
	else if (error != 0 && error != EIO && error != ENOSPC)
		fail_msg("an error of its own: %s", strerror(error));
	o->o_failed = error != 0;
	o->o_end = ncalls;
	nops++;
}

/* --- what is there after an end ------------------------------------------- */

static void
apply(int fd, const struct call *c, unsigned *tear)
{
	static const uint8_t zeros[1 << 20];
	uint64_t at, end = c->c_offset + c->c_len, n;

	for (at = c->c_offset; at < end; at += n) {
		n = SECTOR - at % SECTOR;
		if (tear == NULL || n > end - at)
			n = end - at;
		if (tear != NULL && rand_r(tear) % 2)
			continue;
		if (c->c_kind == CALL_WRITE)
			assert_int_equal(pwrite(fd, c->c_bytes + (at -
			    c->c_offset), n, (off_t)at), n);
		else if (tear == NULL)
			syscall(SYS_fallocate, fd, FALLOC_FL_PUNCH_HOLE |
			    FALLOC_FL_KEEP_SIZE, at, n);
		else
			assert_int_equal(pwrite(fd, zeros, n, (off_t)at), n);
	}
}

/* The image after `end` calls; tear: the power went. */
static void
make_image(unsigned end, unsigned *tear)
{
	unsigned i, sure = end;
	int fd;

	storage_run("cp --sparse=always %s %s", storage_at("start"),
	    storage_at("q"));
	fd = open(storage_at("q"), O_RDWR);
	assert_int_not_equal(fd, -1);
	if (tear != NULL)
		while (sure > 0 && calls[sure - 1].c_kind != CALL_SYNC)
			sure--;
	for (i = 0; i < end; i++)
		if (calls[i].c_kind != CALL_SYNC)
			apply(fd, &calls[i], i < sure ? NULL : tear);
	close(fd);
}

/* May this sector have this content after so many calls? */
static bool
allowed(unsigned sector, const uint8_t *got, unsigned end)
{
	uint8_t want[SECTOR];
	unsigned i, flushed = 0;
	bool any;

	/* the requests that a flush which ended made sure of */
	for (i = 0; i < nops && ops[i].o_end <= end; i++)
		if (ops[i].o_kind == 'F' && !ops[i].o_failed)
			flushed = i;
	/* the last of those, or any later one that began */
	any = memcmp(initial + sector * SECTOR, got, SECTOR) == 0;
	for (i = 0; i < nops; i++) {
		if (i > 0 && ops[i - 1].o_end > end)
			break;
		if (ops[i].o_kind == 'F' || sector < ops[i].o_first ||
		    sector >= ops[i].o_first + ops[i].o_n)
			continue;
		content(i, sector, want);
		if (i < flushed && !ops[i].o_failed)
			any = memcmp(want, got, SECTOR) == 0;
		else
			any |= memcmp(want, got, SECTOR) == 0;
	}
	return (any);
}

static void
check_image(const char *options, unsigned end, bool lazy, bool tear)
{
	struct iovec iov = { now, SIZE };
	struct image im;
	struct err err;
	char command[256];
	unsigned i;
	int status;

	/* Whoever opens it next repairs it, if it says that it needs that. */
	if (image_open(&im, storage_at("q"), !lazy, &err) == -1)
		fail_msg("%s, %u calls, tear %d: %s", options, end, tear,
		    err.e_text);
	assert_int_equal(im.im_ops->io_read(&im, 0, &iov, 1), 0);
	image_close(&im);
	snprintf(command, sizeof(command), "qemu-img check %s >%s 2>&1",
	    storage_at("q"), storage_at("log"));
	status = WEXITSTATUS(system(command));
	if (status != 0 && (status != 3 || lazy)) {
		storage_run("cat %s", storage_at("log"));
		fail_msg("%s, %u calls of %u, tear %d: check says %d", options,
		    end, ncalls, tear, status);
	}
	for (i = 0; i < SECTORS; i++)
		if (!allowed(i, now + i * SECTOR, end))
			fail_msg("%s, %u calls, tear %d: sector %u is wrong",
			    options, end, tear, i);
}

/* The initial image: holes, or compressed clusters and a snapshot. */
static void
make_start(const char *options, bool compressed)
{
	unsigned i;

	for (i = 0; i < SIZE; i++)
		initial[i] = (uint8_t)(compressed ? i / 512 : 0);
	storage_save("model", initial, SIZE);
	storage_run("qemu-img convert -f raw -O qcow2 %s -o %s %s %s",
	    compressed ? "-c" : "", options, storage_at("model"),
	    storage_at("start"));
	if (compressed)
		storage_run("qemu-img snapshot -q -c s %s",
		    storage_at("start"));
}

static void
forget(void)
{
	unsigned i;

	for (i = 0; i < ncalls; i++)
		free(calls[i].c_bytes);
	ncalls = nops = 0;
}

static void
crash(const char *options, bool compressed, unsigned points, unsigned *seed)
{
	bool lazy = strstr(options, "lazy") != NULL, tear;
	struct image im;
	struct err err;
	unsigned i, end;

	printf("# %s\n", options);
	forget();
	make_start(options, compressed);
	storage_run("cp %s %s", storage_at("start"), storage_at("run"));
	assert_int_equal(image_open(&im, storage_at("run"), false, &err), 0);
	watched = im.im_fd;
	while (nops < OPS_MAX && ncalls < CALLS_MAX - 2000)
		run_op(&im, seed);
	op_now = nops;
	image_close(&im);
	watched = -1;
	for (i = 0; i < points; i++) {
		end = (unsigned)rand_r(seed) % (ncalls + 1);
		if (i % 4 == 0)		/* the beginning has it all */
			end = (unsigned)rand_r(seed) % (ncalls / 10 + 1);
		tear = i % 2 == 1;
		make_image(end, tear ? seed : NULL);
		check_image(options, end, lazy, tear);
	}
	make_image(ncalls, NULL);
	check_image(options, ncalls, lazy, false);
	storage_run("qemu-img check -q %s", storage_at("q"));
}

static void
test_crash(void **state)
{
	unsigned seed = storage_seed();
	const char *more = getenv("STORAGE_CRASH_POINTS");
	unsigned points = more != NULL ? (unsigned)atoi(more) : 40;

	(void)state;
	crash("cluster_size=64k", false, points / 2, &seed);
	crash("cluster_size=4k", false, points, &seed);
	crash("cluster_size=4k", true, points, &seed);
	crash("cluster_size=512,compat=0.10", false, points, &seed);
	crash("cluster_size=512,refcount_bits=64", true, points, &seed);
	crash("cluster_size=4k,lazy_refcounts=on", false, points, &seed);
	crash("cluster_size=512,lazy_refcounts=on,refcount_bits=64", false,
	    points, &seed);
	forget();
}

/* The host fails now and then; the last flush succeeds. */
static void
errors(const char *options, bool compressed, unsigned *seed)
{
	struct image im;
	struct err err;
	unsigned i;

	forget();
	make_start(options, compressed);
	storage_run("cp %s %s", storage_at("start"), storage_at("q"));
	assert_int_equal(image_open(&im, storage_at("q"), false, &err), 0);
	watched = im.im_fd;
	failing = 4 + (unsigned)rand_r(seed) % 40;
	fail_seed = (unsigned)rand_r(seed);
	nfailed = 0;
	for (i = 0; i < 300 && ncalls < CALLS_MAX - 2000; i++)
		run_op(&im, seed);
	failing = 0;
	for (i = 0; i < 20 && ncalls < CALLS_MAX - 2000; i++)
		run_op(&im, seed);
	image_close(&im);
	watched = -1;
	printf("# %s: %u errors\n", options, nfailed);
	assert_true(nfailed > 0);
	check_image(options, ncalls, false, false);
}

static void
test_errors(void **state)
{
	unsigned seed = storage_seed(), i;

	(void)state;
	for (i = 0; i < 4; i++) {
		errors("cluster_size=64k", false, &seed);
		errors("cluster_size=4k", true, &seed);
		errors("cluster_size=512,refcount_bits=64", i % 2, &seed);
		errors("cluster_size=4k,lazy_refcounts=on", false, &seed);
	}
	forget();
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
	return (storage_teardown());
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crash),
		cmocka_unit_test(test_errors),
	};

	return (cmocka_run_group_tests(tests, setup, teardown));
}
