/*
 * Large TCP packets for a TCP that knows of none: what a SYN says is raised
 * where it is the usual, headers are made, and nothing at random does harm.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "network/large.h"
#include "network/offload.h"
#include "../lib/frames.h"

static const struct network_header sum_of_tcp = {
	.nh_flags = NETWORK_NEEDS_CSUM, .nh_csum_start = 34,
	.nh_csum_offset = 16
};

/* A SYN with such options, a multiple of 4 bytes. */
static size_t
syn(uint8_t *f, uint8_t flags, const void *options, size_t n)
{
	size_t len = frame_tcp(f, IP_GATEWAY, 1, 2, 3, 4, flags, options, n);
	const uint8_t rest[4] = { 0, 6, 0, (uint8_t)(20 + n) };
	uint16_t sum;

	f[34 + 12] = (uint8_t)((20 + n) / 4 << 4);
	sum = (uint16_t)~offload_fold(offload_sum(f + 26, 8,
	    offload_sum(rest, 4, 0)));
	memcpy(f + 34 + 16, &sum, 2);
	offload_checksum(&sum_of_tcp, f, 54 + n);
	return (len);
}

static void
test_open(void **state)
{
	static const struct {
		const char	*options;
		size_t		 n;
		const char	*after;		/* NULL: nothing changes */
	} rows[] = {
		{ "\2\4\5\xb4", 4, "\2\4\x7d\0" },
		{ "\2\4\x23\x28", 4, "\2\4\x7d\0" },
		{ "\2\4\5\xb3", 4, NULL },	/* smaller: it means it */
		{ "\1\1\2\4\5\xb4\1\1", 8, "\1\1\2\4\x7d\0\1\1" },
		{ "\1\2\4\5\xb4\3\3\7", 8, "\1\2\4\x7d\0\3\3\7" },
		{ "\x08\3\x09\2\4\5\xb4\0", 8, "\x08\3\x09\2\4\x7d\0\0" },
		{ "\0\2\4\5\xb4\0\0\0", 8, NULL },
		{ "\2\3\5\xb4", 4, NULL },
		{ "\1\2\4\5", 4, NULL },	/* cut off */
		{ "\1\1\1\2", 4, NULL },
		{ "\3\0\2\4\5\xb4\0\0", 8, NULL },
		{ "\3\1\2\4\5\xb4\0\0", 8, NULL },
	};
	uint8_t f[FRAME_SIZE], before[FRAME_SIZE];
	struct parsed p;
	size_t i, len;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		len = syn(f, TCP_SYN, rows[i].options, rows[i].n);
		memcpy(before, f, len);
		assert_true(large_opens(f, len));
		large_open(f, len, 1460, 32000);
		if (rows[i].after == NULL) {
			assert_memory_equal(f, before, len);
			continue;
		}
		assert_memory_equal(f + 54, rows[i].after, rows[i].n);
		assert_true(frame_parse(f, len, &p));
		assert_true(p.sums_right);
		/* what was not right stays so */
		memcpy(f, before, len);
		f[34 + 4] ^= 1;
		large_open(f, len, 1460, 32000);
		before[34 + 4] ^= 1;
		assert_memory_equal(f, before, len);
	}
	len = syn(f, TCP_ACK, "\2\4\5\xb4", 4);
	assert_false(large_opens(f, len));
	len = frame_ping(f, IP_GATEWAY, 1, 1);
	assert_false(large_opens(f, len));
}

static void
test_header(void **state)
{
	static uint8_t data[1000];
	struct network_header nh;
	uint8_t f[FRAME_SIZE], before[FRAME_SIZE];
	size_t len;

	(void)state;
	memset(data, 0x5a, sizeof(data));
	len = frame_tcp(f, IP_GATEWAY, 1, 2, 3, 4, TCP_ACK, data,
	    sizeof(data));
	memcpy(before, f, len);
	assert_true(large_header(&nh, f, len, 100));
	assert_true(offload_valid(&nh, f, len));
	assert_int_equal(nh.nh_gso_size, 100);
	assert_int_equal(nh.nh_hdr_len, 54);
	offload_checksum(&nh, f, len);
	assert_memory_equal(f, before, len);
	f[20] = 0x20;		/* a fragment */
	assert_false(large_header(&nh, f, len, 100));
	len = frame_udp(f, IP_GUEST, 1, IP_GATEWAY, 2, data, 1000);
	assert_false(large_header(&nh, f, len, 100));
}

/* Sanitizers see what is read or written beside it. */
static void
test_random(void **state)
{
	unsigned n, i, seed = (unsigned)time(NULL);
	struct network_header nh;
	uint8_t f[FRAME_SIZE], options[40], *copy;
	size_t k, len;

	(void)state;
	printf("# seed %u\n", seed);
	for (n = 0; n < 50000; n++) {
		for (k = 0; k < sizeof(options); k++)
			options[k] = (uint8_t)((unsigned)rand_r(&seed) % 6);
		len = syn(f, TCP_SYN, options, (unsigned)rand_r(&seed) % 11 *
		    4);
		for (i = (unsigned)rand_r(&seed) % 3; i > 0; i--)
			f[12 + (unsigned)rand_r(&seed) % 36] =
			    (uint8_t)rand_r(&seed);
		if (rand_r(&seed) % 4 == 0)
			len = 14 + (unsigned)rand_r(&seed) % (len - 14);
		assert_non_null(copy = malloc(len));
		memcpy(copy, f, len);
		(void)large_opens(copy, len);
		large_open(copy, len, 1, 65000);
		if (large_header(&nh, copy, len, 8))
			assert_true(offload_valid(&nh, copy, len));
		free(copy);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open),
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_random),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
