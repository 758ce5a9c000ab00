/*
 * The fuzzers' corpus, and small changes of each of its files at random:
 * nothing of it may crash or break what the targets assert. Under sanitizers
 * that is a test of every access.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "fuzzers.h"
#include "storage/image.h"

#define CHANGES		150	/* of each file */
#define LENGTH_MAX	QCOW2_SEED_MAX

static uint64_t state64;

static uint64_t
any(uint64_t below)
{
	state64 ^= state64 << 13;
	state64 ^= state64 >> 7;
	state64 ^= state64 << 17;
	return (state64 % below);
}

/* Other bits, bytes from elsewhere in it, pieces left out or doubled. */
static size_t
change(uint8_t *data, size_t len)
{
	size_t from, to, n;

	if (len < 2)
		return (len);
	from = any(len);
	to = any(len);
	n = any(len - (from > to ? from : to)) % 32 + 1;
	if (n > len - (from > to ? from : to))
		n = len - (from > to ? from : to);
	switch (any(5)) {
	case 0:
		data[from] ^= (uint8_t)(1u << any(8));
		return (len);
	case 1:
		data[from] = (uint8_t)any(256);
		return (len);
	case 2:
		memmove(data + to, data + from, n);
		return (len);
	case 3:
		memmove(data + from, data + from + n, len - from - n);
		return (len - n);
	default:
		if (len + n > LENGTH_MAX)
			return (len);
		memmove(data + from + n, data + from, len - from);
		return (len + n);
	}
}

/* A copy of its own size, so that reading behind it is seen. */
static void
feed(void (*fuzz)(const uint8_t *, size_t), const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len != 0 ? len : 1);

	assert_non_null(copy);
	memcpy(copy, data, len);
	fuzz(copy, len);
	free(copy);
}

static void
feed_all(void (*fuzz)(const uint8_t *, size_t), const uint8_t *data,
    size_t len)
{
	static uint8_t changed[LENGTH_MAX];
	size_t n, times;
	unsigned i;

	feed(fuzz, data, len);
	for (i = 0; i < CHANGES; i++) {
		memcpy(changed, data, len);
		n = len;
		for (times = any(8) + 1; times > 0; times--)
			n = change(changed, n);
		feed(fuzz, changed, n);
	}
}

/* Returns how many files there were. */
static unsigned
replay(const char *name, void (*fuzz)(const uint8_t *, size_t))
{
	static uint8_t data[LENGTH_MAX];
	char path[512];
	struct dirent *de;
	unsigned files = 0;
	size_t len;
	FILE *f;
	DIR *d;

	snprintf(path, sizeof(path), "tests/fuzzers/corpus/%s", name);
	d = opendir(path);
	assert_non_null(d);
	while ((de = readdir(d)) != NULL) {
		if (de->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "tests/fuzzers/corpus/%s/%s",
		    name, de->d_name);
		f = fopen(path, "r");
		assert_non_null(f);
		len = fread(data, 1, sizeof(data), f);
		fclose(f);
		feed_all(fuzz, data, len);
		files++;
	}
	closedir(d);
	return (files);
}

static void
test_conf(void **state)
{
	(void)state;
	assert_true(replay("conf", fuzz_conf) >= 8);
}

static void
test_message(void **state)
{
	(void)state;
	assert_true(replay("message", fuzz_message) >= 8);
}

static void
test_qcow2(void **state)
{
	static uint8_t image[QCOW2_SEED_MAX];
	unsigned version, bits;
	struct image im;
	struct err err;
	size_t len;

	(void)state;
	for (version = 2; version <= 3; version++)
		for (bits = 9; bits <= 14; bits++) {
			len = fuzz_qcow2_seed(image, version, bits, 1 << 20);
			if (image_open_fd(&im, fuzz_file(image, len), "seed",
			    IMAGE_QCOW2, &err) == -1)
				fail_msg("%u %u: %s", version, bits,
				    err.e_text);
			image_close(&im);
			feed_all(fuzz_qcow2, image, len);
		}
}

/* The images as files, for libFuzzer to begin with. */
static int
write_seeds(const char *folder)
{
	static uint8_t image[QCOW2_SEED_MAX];
	unsigned version, bits;
	char path[512];
	size_t len;
	FILE *f;

	for (version = 2; version <= 3; version++)
		for (bits = 9; bits <= 12; bits++) {
			len = fuzz_qcow2_seed(image, version, bits, 1 << 20);
			snprintf(path, sizeof(path), "%s/v%u-%u", folder,
			    version, bits);
			if ((f = fopen(path, "w")) == NULL ||
			    fwrite(image, 1, len, f) != len ||
			    fclose(f) == EOF) {
				perror(path);
				return (1);
			}
		}
	return (0);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conf),
		cmocka_unit_test(test_message),
		cmocka_unit_test(test_qcow2),
	};
	const char *seed = getenv("SEED");

	if (argc == 3 && strcmp(argv[1], "--seeds") == 0)
		return (write_seeds(argv[2]));
	state64 = seed != NULL ? strtoull(seed, NULL, 0) :
	    (uint64_t)time(NULL) * 2654435761u + 1;
	if (state64 == 0)
		state64 = 1;
	printf("# SEED=%llu\n", (unsigned long long)state64);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
