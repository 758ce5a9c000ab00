/*
 * Images made by somebody who wishes us ill: headers and tables with numbers
 * that are random, extreme, or those of other tables. Opening may fail and
 * requests may, but nothing else happens: no crash, no hang, and the places
 * that hold the header and the tables above L2 are never written as data.
 *
 * STORAGE_HOSTILE_ROUNDS in the environment says how many.
 */
#include <sys/stat.h>

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

#include "storage/disk.h"
#include "storage_util.h"

#define FILE_MAX	(32u << 20)

static uint8_t original[FILE_MAX], image[FILE_MAX];
static size_t image_len;

static const char *const kinds[] = {
	"-o cluster_size=512", "-o cluster_size=64k",
	"-c -o cluster_size=4k", "-c -o cluster_size=4k,compression_type=zstd",
	"-o cluster_size=4k,compat=0.10", "-o cluster_size=4k,refcount_bits=1",
	"-o cluster_size=512,refcount_bits=64,lazy_refcounts=on",
	"-o cluster_size=2M",
};
#define NKINDS	(sizeof(kinds) / sizeof(kinds[0]))

static void
make_original(size_t kind)
{
	static uint8_t content[1 << 20];
	size_t i;
	int fd;
	ssize_t n;

	for (i = 0; i < sizeof(content); i++)
		content[i] = i / 70000 % 3 ? (uint8_t)(i / 100) : 0;
	storage_save("model", content, sizeof(content));
	storage_run("qemu-img convert -f raw -O qcow2 %s %s %s", kinds[kind],
	    storage_at("model"), storage_at("original"));
	if (kind != 5)	/* one bit cannot count two */
		storage_run("qemu-img snapshot -q -c s %s",
		    storage_at("original"));
	storage_run("qemu-io -f qcow2 -c 'write -q 0 200k' %s",
	    storage_at("original"));
	memset(original, 0, sizeof(original));
	fd = open(storage_at("original"), O_RDONLY);
	n = read(fd, original, sizeof(original));
	close(fd);
	assert_true(n > 0 && n < (ssize_t)sizeof(original));
	image_len = (size_t)n;
}

static uint64_t
get(size_t at, unsigned bytes)
{
	uint64_t v = 0;

	while (bytes-- > 0)
		v = v << 8 | original[at++];
	return (v);
}

static void
put(size_t at, unsigned bytes, uint64_t v)
{
	for (; bytes-- > 0; at++)
		if (at < image_len)
			image[at] = (uint8_t)(v >> bytes * 8);
}

/* A number that is likely to hurt. */
static uint64_t
number(unsigned *seed)
{
	uint64_t cluster = 1ULL << (get(20, 4) & 31);
	uint64_t r = ((uint64_t)rand_r(seed) << 33) ^
	    ((uint64_t)rand_r(seed) << 11) ^ (uint64_t)rand_r(seed);

	switch (rand_r(seed) % 8) {
	case 0:
		return (r);
	case 1:
		return (r % 64);
	case 2:
		return (1ULL << (r % 64));
	case 3:
		return ((1ULL << (r % 64)) - 1);
	case 4:		/* a cluster of the file, perhaps a table */
		return (r % (image_len / cluster + 2) * cluster);
	case 5:		/* the same as an entry */
		return (r % (image_len / cluster + 2) * cluster | 1ULL << 63);
	case 6:		/* a compressed cluster */
		return (1ULL << 62 | r % image_len | (r >> 20) % 4 << 54);
	default:
		return (UINT64_MAX - r % 1024);
	}
}

/* Where: in the header, or an entry of a table. */
static void
mutate(unsigned *seed)
{
	static const struct { uint8_t at, bytes; } fields[] = {
		{ 4, 4 }, { 8, 8 }, { 16, 4 }, { 20, 4 }, { 24, 8 },
		{ 32, 4 }, { 36, 4 }, { 40, 8 }, { 48, 8 }, { 56, 4 },
		{ 60, 4 }, { 64, 8 }, { 72, 8 }, { 80, 8 }, { 88, 8 },
		{ 96, 4 }, { 100, 4 }, { 104, 1 }, { 108, 4 }, { 112, 4 },
	};
	uint64_t l1 = get(40, 8), rt = get(48, 8), at, table;
	unsigned i;

	switch (rand_r(seed) % 6) {
	case 0:
		i = (unsigned)rand_r(seed) % (sizeof(fields) /
		    sizeof(fields[0]));
		put(fields[i].at, fields[i].bytes, number(seed));
		return;
	case 1:
		at = l1 + 8 * ((unsigned)rand_r(seed) % 4);
		break;
	case 2:
		at = rt + 8 * ((unsigned)rand_r(seed) % 4);
		break;
	case 3:		/* of the first L2 table */
		table = get(l1, 8) & 0x00fffffffffffe00ULL;
		at = table + 8 * ((unsigned)rand_r(seed) % 64);
		break;
	case 4:		/* of the first refcount block */
		at = get(rt, 8) + 2 * ((unsigned)rand_r(seed) % 64);
		put(at, 2, (uint64_t)rand_r(seed) % 3);
		return;
	default:
		at = (uint64_t)rand_r(seed) % image_len;
		break;
	}
	put(at, 8, number(seed));
}

static void
use(struct disk *d, unsigned *seed)
{
	static uint8_t buf[256 << 10];
	static const enum disk_op ops[] = { DISK_READ, DISK_WRITE, DISK_FLUSH,
	    DISK_WRITE_ZEROES, DISK_DISCARD };
	uint64_t size = disk_size(d), at, len;
	enum disk_op op;
	int i, error;

	for (i = 0; i < 40; i++) {
		op = ops[(unsigned)rand_r(seed) % 5];
		at = (uint64_t)rand_r(seed) % 2048 * 512;
		if (rand_r(seed) % 8 == 0)
			at = size - 512 * (1 + (uint64_t)rand_r(seed) % 100);
		len = 512 * (1 + (uint64_t)rand_r(seed) %
		    (sizeof(buf) / 512));
		if (at >= size || len > size - at)
			continue;
		if (op == DISK_FLUSH)
			at = len = 0;
		memset(buf, 0xee, sizeof(buf));
		error = storage_rw(d, op, at, buf, len);
		if (error != 0 && error != EIO && error != EROFS &&
		    error != EFBIG && error != ENOMEM && error != EINVAL)
			fail_msg("operation %d: %s", op, strerror(error));
	}
}

/* Data is 0xee: it may be everywhere but in these places. */
static void
unharmed(void)
{
	uint8_t head[8], entry[8];
	static const uint8_t data[8] = { 0xee, 0xee, 0xee, 0xee, 0xee, 0xee,
	    0xee, 0xee };
	int fd = open(storage_at("q"), O_RDONLY);
	uint64_t l1 = storage_peek("q", 40, 8), rt = storage_peek("q", 48, 8);

	assert_int_equal(pread(fd, head, 8, 0), 8);
	assert_memory_equal(head, image, 8);
	if (pread(fd, entry, 8, (off_t)l1) == 8 &&
	    memcmp(image + l1, data, 8) != 0)
		assert_memory_not_equal(entry, data, 8);
	if (pread(fd, entry, 8, (off_t)rt) == 8)
		assert_memory_not_equal(entry, data, 8);
	close(fd);
}

static void
test_hostile(void **state)
{
	const char *more = getenv("STORAGE_HOSTILE_ROUNDS");
	unsigned rounds = more != NULL ? (unsigned)atoi(more) : 150;
	unsigned seed = storage_seed(), opened = 0, tried = 0, some, i, n;
	int said = dup(STDERR_FILENO), quiet = open("/dev/null", O_WRONLY);
	struct disk *d;
	struct err err;
	size_t kind;

	(void)state;
	for (kind = 0; kind < NKINDS; kind++) {
		make_original(kind);
		/* the large ones take their time */
		some = image_len > 2u << 20 ? rounds / 10 : rounds;
		for (i = 0; i < some; i++) {
			tried++;
			memcpy(image, original, image_len);
			for (n = 1 + (unsigned)rand_r(&seed) % 3; n > 0; n--)
				mutate(&seed);
			storage_save("q", image, image_len);
			fflush(stderr);
			dup2(quiet, STDERR_FILENO);
			if (disk_open(&d, storage_at("q"), i % 4 == 0 ?
			    DISK_RDONLY : 0, &err) == 0) {
				opened++;
				use(d, &seed);
				disk_close(d);
				unharmed();
			}
			dup2(said, STDERR_FILENO);
		}
	}
	close(said);
	close(quiet);
	printf("# %u of %u were opened\n", opened, tried);
	assert_true(opened > rounds);	/* else it tests little */
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
		cmocka_unit_test(test_hostile),
	};

	return (cmocka_run_group_tests(tests, setup, teardown));
}
