/*
 * qcow2 images against QEMU's programs: what they write is read here, what is
 * written here passes their check and reads the same; all sizes of clusters
 * and widths of refcounts; bases, snapshots, compression, lazy refcounts.
 */
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
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

#define SIZE	(2u << 20)

static uint8_t model[SIZE], back[SIZE];

/* --- reading what QEMU wrote ---------------------------------------------- */

/* Random bytes, compressible ones and holes. */
static void
fill_model(unsigned *seed)
{
	size_t i, n, at;
	int kind;

	memset(model, 0, SIZE);
	for (at = 0; at < SIZE; at += n) {
		n = 512 * (1 + (size_t)rand_r(seed) % 200);
		if (n > SIZE - at)
			n = SIZE - at;
		kind = rand_r(seed) % 3;
		for (i = 0; i < n && kind != 0; i++)
			model[at + i] = (uint8_t)(kind == 1 ? i / 64 :
			    (size_t)rand_r(seed));
	}
}

static void
reads_as_model(const char *path, const char *what)
{
	struct disk *d;
	struct err err;

	if (disk_open(&d, path, DISK_RDONLY, &err) == -1)
		fail_msg("%s: %s", what, err.e_text);
	assert_int_equal(disk_size(d), SIZE);
	memset(back, 0xa5, SIZE);
	assert_int_equal(storage_rw(d, DISK_READ, 0, back, SIZE), 0);
	if (memcmp(back, model, SIZE) != 0)
		fail_msg("%s: reads differently", what);
	disk_close(d);
}

static void
test_read(void **state)
{
	static const char *const options[] = {
		"-o compat=0.10", "-o compat=1.1", "-c -o compat=0.10",
		"-c -o compat=1.1", "-c -o compression_type=zstd",
		"-S 0 -o cluster_size=64k", "-o preallocation=metadata",
		"-o preallocation=full", "-o lazy_refcounts=on",
		"-c -o cluster_size=512", "-c -o cluster_size=2M",
		"-c -o cluster_size=2M,compression_type=zstd",
		"-c -o cluster_size=4k,compression_type=zstd",
	};
	unsigned seed = storage_seed();
	char what[64];
	unsigned bits;
	size_t i;

	(void)state;
	fill_model(&seed);
	storage_save("model", model, SIZE);
	for (i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		storage_run("qemu-img convert -f raw -O qcow2 %s %s %s",
		    options[i], storage_at("model"), storage_at("q"));
		reads_as_model(storage_at("q"), options[i]);
	}
	for (bits = 9; bits <= 21; bits++) {
		snprintf(what, sizeof(what), "-o cluster_size=%u",
		    1u << bits);
		storage_run("qemu-img convert -f raw -O qcow2 %s %s %s", what,
		    storage_at("model"), storage_at("q"));
		reads_as_model(storage_at("q"), what);
	}
}

/* A part of a compressed cluster at a time, and again. */
static void
test_read_pieces(void **state)
{
	unsigned seed = storage_seed(), i;
	uint64_t at, len;
	struct disk *d;
	struct err err;

	(void)state;
	fill_model(&seed);
	storage_save("model", model, SIZE);
	storage_run("qemu-img convert -f raw -O qcow2 -c %s %s",
	    storage_at("model"), storage_at("q"));
	assert_int_equal(disk_open(&d, storage_at("q"), DISK_RDONLY, &err), 0);
	for (i = 0; i < 2000; i++) {
		at = 512 * ((unsigned)rand_r(&seed) % (SIZE / 512));
		len = 512 * (1 + (unsigned)rand_r(&seed) % 100);
		if (len > SIZE - at)
			len = SIZE - at;
		assert_int_equal(storage_rw(d, DISK_READ, at, back, len), 0);
		assert_memory_equal(back, model + at, len);
	}
	disk_close(d);
}

/* --- bases ---------------------------------------------------------------- */

static void
test_bases(void **state)
{
	unsigned seed = storage_seed();

	(void)state;
	fill_model(&seed);
	/* a raw base that is smaller, named relative to the overlay */
	memset(model + SIZE / 2 + 512, 0, SIZE / 2 - 512);
	storage_save("base", model, SIZE / 2 + 512);
	storage_run("cd %s && mkdir -p sub && qemu-img create -q -f qcow2 "
	    "-b ../base -F raw sub/one %u", storage_at("."), SIZE);
	reads_as_model(storage_at("sub/one"), "smaller raw base");
	/* upon that, another; written, zeroed */
	storage_run("cd %s && qemu-img create -q -f qcow2 -b sub/one -F qcow2 "
	    "-o cluster_size=4k two", storage_at("."));
	storage_run("qemu-io -f qcow2 -c 'write -q -P 0x77 5000 70000' "
	    "-c 'write -q -z 200k 64k' -c 'write -q -z -u 400k 4k' %s",
	    storage_at("two"));
	memset(model + 5000, 0x77, 70000);
	memset(model + (200 << 10), 0, 64 << 10);
	memset(model + (400 << 10), 0, 4 << 10);
	reads_as_model(storage_at("two"), "two bases");
	/* a base whose format is not said */
	storage_run("cd %s && qemu-img create -q -f qcow2 -u -b two -F qcow2 "
	    "three %u", storage_at("."), SIZE);
	assert_int_equal(storage_peek("three", 112, 4), 0xe2792aca);
	storage_poke("three", 112, 4, 0x12345678);
	reads_as_model(storage_at("three"), "base of no said format");
}

static void
test_base_refusals(void **state)
{
	char name[32];
	unsigned i;

	(void)state;
	storage_run("cd %s && qemu-img create -q -f qcow2 -u -b loop2 -F qcow2 "
	    "loop1 1M", storage_at("."));
	storage_run("cd %s && qemu-img create -q -f qcow2 -u -b loop1 -F qcow2 "
	    "loop2 1M", storage_at("."));
	storage_refused("loop1", 0, "is its own base");
	storage_run("cd %s && qemu-img create -q -f qcow2 -u -b self -F qcow2 "
	    "other 1M && mv other self", storage_at("."));
	storage_refused("self", 0, "is its own base");
	storage_run("cd %s && qemu-img create -q -f qcow2 -u -b gone -F raw "
	    "orphan 1M", storage_at("."));
	storage_refused("orphan", 0, "does not exist");
	storage_run("cd %s && qemu-img create -q -f qcow2 -u -b x -F vmdk "
	    "foreign 1M", storage_at("."));
	storage_refused("foreign", 0, "neither raw nor qcow2");
	storage_run("qemu-img create -q -f qcow2 %s 1M", storage_at("c0"));
	for (i = 1; i <= 66; i++)
		storage_run("cd %s && qemu-img create -q -f qcow2 -u -b c%u "
		    "-F qcow2 c%u 1M", storage_at("."), i - 1, i);
	storage_refused("c66", 0, "bases upon one another");
	for (i = 0; i <= 66; i++) {
		snprintf(name, sizeof(name), "c%u", i);
		unlink(storage_at(name));
	}
}

/* --- what is refused ------------------------------------------------------ */

static void
test_refusals(void **state)
{
	(void)state;
	storage_run("qemu-img create -q -f qcow2 -o extended_l2=on,"
	    "cluster_size=64k %s 1M", storage_at("subclusters"));
	storage_refused("subclusters", 0, "subclusters");
	storage_run("qemu-img create -q -f qcow2 -o data_file=%s %s 1M",
	    storage_at("data"), storage_at("external"));
	storage_refused("external", 0, "its data in another file");
	storage_run("qemu-img create -q -f qcow2 --object secret,id=s,data=x "
	    "-o encrypt.format=aes,encrypt.key-secret=s %s 1M 2>/dev/null",
	    storage_at("secret"));
	storage_refused("secret", 0, "encrypted");
	storage_run("qemu-img create -q -f qcow2 %s 1M", storage_at("q"));
	storage_poke("q", 72, 8, 1ULL << 40 | 1ULL << 7);
	storage_refused("q", 0, "bit 7, bit 40");
	storage_poke("q", 72, 8, 2);
	storage_refused("q", 0, "marked as damaged");
	storage_poke("q", 72, 8, 0);
	storage_poke("q", 4, 4, 1);
	storage_refused("q", 0, "version 1");
	storage_poke("q", 4, 4, 3);
	storage_poke("q", 24, 8, (1 << 20) + 1);
	storage_refused("q", 0, "no multiple of 512");
	storage_run("truncate -s 60 %s", storage_at("q"));
	storage_refused("q", 0, "too short");
}

/* --- writing -------------------------------------------------------------- */

static void
same_as_model(const char *name)
{
	struct stat st;
	int fd;

	storage_run("qemu-img convert -O raw %s %s", storage_at(name),
	    storage_at("out"));
	fd = open(storage_at("out"), O_RDONLY);
	assert_int_not_equal(fd, -1);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, SIZE);
	assert_int_equal(pread(fd, back, SIZE, 0), SIZE);
	close(fd);
	assert_memory_equal(back, model, SIZE);
}

#define FLIGHT	16

struct flight {
	struct disk_req	 req;
	struct iovec	 iov;
	uint8_t		*buf;
};

/* Random requests, many in flight, each in its own area of the disk; areas
 * share clusters. */
static void
random_requests(struct disk *d, unsigned rounds, bool discard, unsigned *seed)
{
	static const enum disk_op ops[] = { DISK_READ, DISK_WRITE, DISK_WRITE,
	    DISK_WRITE, DISK_WRITE_ZEROES, DISK_FLUSH, DISK_DISCARD };
	struct flight flight[FLIGHT] = { 0 };
	struct storage_waiter w;
	uint64_t sectors, first, at[FLIGHT + 1];
	struct disk_req *r;
	unsigned round, i;
	size_t k;

	for (i = 0; i < FLIGHT; i++)
		assert_non_null(flight[i].buf = malloc(SIZE));
	for (round = 0; round < rounds; round++) {
		/* cut the disk at random */
		for (i = 0; i <= FLIGHT; i++)
			at[i] = i * (SIZE / 512 / FLIGHT);
		for (i = 1; i < FLIGHT; i++)
			at[i] += (unsigned)rand_r(seed) % 200;
		storage_waiter_init(&w, FLIGHT);
		for (i = 0; i < FLIGHT; i++) {
			r = &flight[i].req;
			memset(r, 0, sizeof(*r));
			r->dr_op = ops[(unsigned)rand_r(seed) %
			    (discard ? 7 : 6)];
			sectors = at[i + 1] - at[i];
			first = (unsigned)rand_r(seed) % sectors;
			sectors -= first;
			if (rand_r(seed) % 4 != 0 && sectors > 16)
				sectors = 16;
			r->dr_offset = (at[i] + first) * 512;
			r->dr_length = 512 * (1 + (unsigned)rand_r(seed) %
			    sectors);
			r->dr_unmap = rand_r(seed) % 2;
			r->dr_done = storage_done;
			r->dr_arg = &w;
			flight[i].iov = (struct iovec){ flight[i].buf,
			    r->dr_length };
			r->dr_iov = &flight[i].iov;
			r->dr_niov = 1;
			if (r->dr_op == DISK_WRITE) {
				for (k = 0; k < r->dr_length; k++)
					flight[i].buf[k] =
					    (uint8_t)rand_r(seed);
				memcpy(model + r->dr_offset, flight[i].buf,
				    r->dr_length);
			} else if (r->dr_op == DISK_WRITE_ZEROES) {
				memset(model + r->dr_offset, 0,
				    r->dr_length);
			}
			disk_submit(d, r);
		}
		assert_int_equal(storage_wait(&w), 0);
		for (i = 0; i < FLIGHT; i++) {
			r = &flight[i].req;
			if (r->dr_op == DISK_READ)
				assert_memory_equal(flight[i].buf,
				    model + r->dr_offset, r->dr_length);
			/* what is discarded may read as anything now */
			if (r->dr_op == DISK_DISCARD)
				assert_int_equal(storage_rw(d, DISK_READ,
				    r->dr_offset, model + r->dr_offset,
				    r->dr_length), 0);
		}
	}
	for (i = 0; i < FLIGHT; i++)
		free(flight[i].buf);
}

static void
write_and_check(const char *name, unsigned rounds, unsigned *seed)
{
	struct disk *d;
	struct err err;
	unsigned i;

	for (i = 0; i < 2; i++) {
		if (disk_open(&d, storage_at(name), 0, &err) == -1)
			fail_msg("%s", err.e_text);
		random_requests(d, rounds, i == 1, seed);
		disk_close(d);
		storage_run("qemu-img check -q %s", storage_at(name));
		same_as_model(name);
	}
}

static void
test_write(void **state)
{
	static const char *const options[] = {
		"compat=0.10", "compat=1.1", "lazy_refcounts=on",
		"preallocation=metadata", "cluster_size=512",
		"cluster_size=512,compat=0.10",
		"cluster_size=512,refcount_bits=64",
		"cluster_size=512,refcount_bits=1",
		"cluster_size=4k,refcount_bits=2",
		"cluster_size=4k,refcount_bits=4",
		"cluster_size=2k,refcount_bits=8",
		"cluster_size=1k,refcount_bits=32",
		"cluster_size=1k,refcount_bits=64,lazy_refcounts=on",
		"cluster_size=2M", "cluster_size=16k,preallocation=falloc",
	};
	unsigned seed = storage_seed();
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		printf("# %s\n", options[i]);
		storage_run("qemu-img create -q -f qcow2 -o %s %s %u",
		    options[i], storage_at("q"), SIZE);
		memset(model, 0, SIZE);
		write_and_check("q", 12, &seed);
	}
}

/* Over compressed clusters and over bases. */
static void
test_write_over(void **state)
{
	static const char *const options[] = { "cluster_size=64k",
	    "cluster_size=64k,compat=0.10", "cluster_size=4k",
	    "cluster_size=512,refcount_bits=64" };
	unsigned seed = storage_seed();
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		printf("# %s\n", options[i]);
		fill_model(&seed);
		storage_save("model", model, SIZE);
		storage_run("qemu-img convert -f raw -O qcow2 -c -o %s %s %s",
		    options[i], storage_at("model"), storage_at("q"));
		write_and_check("q", 12, &seed);
		storage_run("qemu-img create -q -f qcow2 -b q -F qcow2 -o %s "
		    "%s %u", options[i], storage_at("over"), SIZE);
		write_and_check("over", 12, &seed);
		storage_run("qemu-img convert -O raw %s %s", storage_at("q"),
		    storage_at("out"));
		storage_run("qemu-img check -q %s", storage_at("q"));
	}
}

/* A snapshot stays what it was. */
static void
test_snapshots(void **state)
{
	static uint8_t then[SIZE];
	static const char *const options[] = { "cluster_size=64k",
	    "cluster_size=4k", "cluster_size=512" };
	unsigned seed = storage_seed();
	struct disk *d;
	struct err err;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		storage_run("qemu-img create -q -f qcow2 -o %s %s %u",
		    options[i], storage_at("q"), SIZE);
		memset(model, 0, SIZE);
		write_and_check("q", 5, &seed);
		memcpy(then, model, SIZE);
		storage_run("qemu-img snapshot -q -c then %s",
		    storage_at("q"));
		write_and_check("q", 10, &seed);
		storage_run("qemu-img snapshot -q -c now %s",
		    storage_at("q"));
		assert_int_equal(disk_open(&d, storage_at("q"), 0, &err), 0);
		assert_int_equal(storage_rw(d, DISK_WRITE_ZEROES, 0, NULL,
		    SIZE), 0);
		disk_close(d);
		storage_run("qemu-img check -q %s", storage_at("q"));
		storage_run("qemu-img snapshot -q -a now %s",
		    storage_at("q"));
		same_as_model("q");
		memcpy(model, then, SIZE);
		storage_run("qemu-img snapshot -q -a then %s",
		    storage_at("q"));
		same_as_model("q");
		storage_run("qemu-img snapshot -q -d then %s",
		    storage_at("q"));
		storage_run("qemu-img snapshot -q -d now %s",
		    storage_at("q"));
		storage_run("qemu-img check -q %s", storage_at("q"));
	}
}

/* What is discarded is given back, and used again. */
static void
test_space(void **state)
{
	struct stat before, after;
	unsigned i;
	struct disk *d;
	struct err err;

	(void)state;
	storage_run("qemu-img create -q -f qcow2 %s %u", storage_at("q"),
	    SIZE);
	memset(back, 1, SIZE);
	assert_int_equal(disk_open(&d, storage_at("q"), 0, &err), 0);
	assert_int_equal(storage_rw(d, DISK_WRITE, 0, back, SIZE), 0);
	assert_int_equal(storage_rw(d, DISK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(stat(storage_at("q"), &before), 0);
	for (i = 0; i < 5; i++) {
		assert_int_equal(storage_rw(d, DISK_DISCARD, 0, NULL, SIZE),
		    0);
		assert_int_equal(storage_rw(d, DISK_FLUSH, 0, NULL, 0), 0);
		assert_int_equal(stat(storage_at("q"), &after), 0);
		assert_true(after.st_blocks < before.st_blocks / 2);
		assert_int_equal(storage_rw(d, DISK_WRITE, 0, back, SIZE), 0);
		assert_int_equal(storage_rw(d, DISK_FLUSH, 0, NULL, 0), 0);
	}
	assert_int_equal(stat(storage_at("q"), &after), 0);
	assert_true(after.st_size <= before.st_size + 65536);
	disk_close(d);
	storage_run("qemu-img check -q %s", storage_at("q"));
}

/* A full file system is the guest's error, and nothing is damaged by it. */
static void
test_full(void **state)
{
	static uint8_t buf[65536];
	struct disk *d;
	struct err err;
	unsigned i, good = 0;
	int error = 0;

	(void)state;
	assert_int_equal(mkdir(storage_at("small"), 0755), 0);
	if (mount("none", storage_at("small"), "tmpfs", 0, "size=1m") == -1) {
		print_message("# skipped: cannot mount a tmpfs: %s\n",
		    strerror(errno));
		return;
	}
	storage_run("qemu-img create -q -f qcow2 %s %u",
	    storage_at("small/q"), SIZE);
	assert_int_equal(disk_open(&d, storage_at("small/q"), 0, &err), 0);
	memset(model, 0, SIZE);
	for (i = 0; i < SIZE / sizeof(buf) && error == 0; i++) {
		memset(buf, (int)i + 1, sizeof(buf));
		error = storage_rw(d, DISK_WRITE, i * sizeof(buf), buf,
		    sizeof(buf));
		if (error == 0) {
			memcpy(model + i * sizeof(buf), buf, sizeof(buf));
			good++;
		}
	}
	assert_int_equal(error, ENOSPC);
	assert_true(good > 4);
	assert_int_equal(storage_rw(d, DISK_READ, 0, back, SIZE), 0);
	assert_memory_equal(back, model, SIZE);
	/* space is made by the guest, and used again */
	assert_int_equal(storage_rw(d, DISK_DISCARD, 0, NULL, 2 * 65536), 0);
	memset(model, 0, 2 * 65536);
	assert_int_equal(storage_rw(d, DISK_FLUSH, 0, NULL, 0), 0);
	memset(buf, 0x99, sizeof(buf));
	assert_int_equal(storage_rw(d, DISK_WRITE, SIZE - 65536, buf,
	    sizeof(buf)), 0);
	memset(model + SIZE - 65536, 0x99, 65536);
	disk_close(d);
	storage_run("qemu-img check -q %s", storage_at("small/q"));
	reads_as_model(storage_at("small/q"), "after the file system was full");
	assert_int_equal(umount(storage_at("small")), 0);
}

/*
 * A raw image whose format nobody said cannot be made to look like qcow2 by
 * its guest, who would choose a base that way; any other may be.
 */
static void
test_guess(void **state)
{
	static uint8_t buf[8192];
	struct disk *d;
	struct err err;

	(void)state;
	memset(model, 0, 65536);
	storage_save("guess", model, 65536);
	memset(buf, 0x11, sizeof(buf));
	assert_int_equal(disk_open(&d, storage_at("guess"), 0, &err), 0);
	assert_int_equal(storage_rw(d, DISK_WRITE, 0, buf, 8192), 0);
	memcpy(buf, "QFI\xfb", 4);
	assert_int_equal(storage_rw(d, DISK_WRITE, 0, buf, 8192), EPERM);
	assert_int_equal(storage_rw(d, DISK_WRITE, 0, buf, 512), EPERM);
	assert_int_equal(storage_rw(d, DISK_WRITE, 512, buf, 512), 0);
	disk_close(d);
	assert_int_equal(storage_peek("guess", 0, 4), 0x11111111);
	assert_int_equal(storage_peek("guess", 512, 4), 0x514649fb);
	assert_int_equal(storage_peek("guess", 8188, 4), 0x11111111);
	/* said to be raw: all is the guest's */
	assert_int_equal(chdir(storage_at(".")), 0);
	assert_int_equal(disk_open(&d, "raw:guess", 0, &err), 0);
	assert_int_equal(storage_rw(d, DISK_WRITE, 0, buf, 8192), 0);
	disk_close(d);
	assert_int_equal(storage_peek("guess", 0, 4), 0x514649fb);
	assert_int_equal(disk_open(&d, "raw:guess", 0, &err), 0);
	assert_int_equal(disk_size(d), 65536);
	disk_close(d);
	storage_refused("guess", 0, "not known here");
	assert_int_equal(disk_open(&d, "qcow2:model", 0, &err), -1);
	assert_non_null(strstr(err.e_text, "was said to be one"));
	assert_int_equal(chdir("/"), 0);
}

/* Killed in the middle: refcounts are made anew at the next opening. */
static void
test_lazy(void **state)
{
	unsigned seed = storage_seed();
	struct disk *d;
	struct err err;
	int status;
	pid_t pid;

	(void)state;
	storage_run("qemu-img create -q -f qcow2 -o lazy_refcounts=on,"
	    "cluster_size=4k %s %u", storage_at("q"), SIZE);
	memset(model, 0, SIZE);
	if ((pid = fork()) == 0) {
		if (disk_open(&d, storage_at("q"), 0, &err) == -1)
			_exit(1);
		random_requests(d, 10, false, &seed);
		if (storage_rw(d, DISK_FLUSH, 0, NULL, 0) != 0)
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	/* that leaves it marked, and read-only opening does not mind */
	assert_int_equal(storage_peek("q", 72, 8), 1);
	assert_int_equal(disk_open(&d, storage_at("q"), DISK_RDONLY, &err), 0);
	assert_int_equal(storage_rw(d, DISK_READ, 0, model, SIZE), 0);
	disk_close(d);
	assert_int_equal(disk_open(&d, storage_at("q"), 0, &err), 0);
	disk_close(d);
	assert_int_equal(storage_peek("q", 72, 8), 0);
	storage_run("qemu-img check -q %s", storage_at("q"));
	same_as_model("q");
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
	umount(storage_at("small"));
	return (storage_teardown());
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_read_pieces),
		cmocka_unit_test(test_bases),
		cmocka_unit_test(test_base_refusals),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_write),
		cmocka_unit_test(test_write_over),
		cmocka_unit_test(test_snapshots),
		cmocka_unit_test(test_space),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_guess),
		cmocka_unit_test(test_lazy),
	};

	return (cmocka_run_group_tests(tests, setup, teardown));
}
