/*
 * DHCP for a local interface: what is asked and what is answered, and requests
 * cut off or made of anything.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "network/dhcp.h"

#define HOST	0x64400102u
#define GUEST	0x64400103u
#define OTHER	0x64400109u

static const struct dhcp server = { .dh_mac = { 2, 0, 0, 0, 0, 7 },
	.dh_guest = GUEST, .dh_host = HOST, .dh_mask = 0xfffffffeu };

/* A request of this type, 0 for BOOTP; options of four bytes if not 0. */
static size_t
request(uint8_t f[600], uint8_t type, uint32_t requested, uint32_t to,
    uint32_t ciaddr)
{
	uint8_t *m = f + 42, *p = m + 240;
	size_t len = 300;

	memset(f, 0, 600);
	memset(f, 0xff, 6);
	memcpy(f + 6, server.dh_mac, 6);
	f[12] = 8;
	f[14] = 0x45;
	f[23] = 17;
	f[37] = 67;
	f[38] = (uint8_t)((8 + len) >> 8);
	f[39] = (uint8_t)(8 + len);
	m[0] = m[1] = 1;
	m[2] = 6;
	memcpy(m + 4, "xid!", 4);
	memcpy(m + 28, server.dh_mac, 6);
	m[12] = (uint8_t)(ciaddr >> 24);
	m[13] = (uint8_t)(ciaddr >> 16);
	m[14] = (uint8_t)(ciaddr >> 8);
	m[15] = (uint8_t)ciaddr;
	if (type == 0)
		return (42 + len);
	memcpy(m + 236, "\x63\x82\x53\x63", 4);
	*p++ = 0;
	memcpy(p, (uint8_t[]){ 53, 1, type }, 3);
	p += 3;
	if (requested != 0) {
		memcpy(p, (uint8_t[]){ 50, 4, (uint8_t)(requested >> 24),
		    (uint8_t)(requested >> 16), (uint8_t)(requested >> 8),
		    (uint8_t)requested }, 6);
		p += 6;
	}
	if (to != 0) {
		memcpy(p, (uint8_t[]){ 54, 4, (uint8_t)(to >> 24),
		    (uint8_t)(to >> 16), (uint8_t)(to >> 8), (uint8_t)to }, 6);
		p += 6;
	}
	*p = 255;
	return (42 + len);
}

/* An option of an answer; its length, or -1. */
static int
option(const uint8_t *f, size_t len, uint8_t code, uint32_t *value)
{
	const uint8_t *p = f + 42 + 240, *end = f + len;

	for (; p < end && *p != 255; p += 2 + p[1])
		if (*p == code) {
			*value = p[1] == 1 ? p[2] : (uint32_t)p[2] << 24 |
			    (uint32_t)p[3] << 16 | (uint32_t)p[4] << 8 | p[5];
			return (p[1]);
		}
	return (-1);
}

static void
test_answers(void **state)
{
	static const struct {
		uint8_t		 type;
		uint32_t	 requested, to, ciaddr;
		int		 answer;	/* -1: silence */
		bool		 leased;
	} rows[] = {
		{ 1, 0, 0, 0, 2, true },
		{ 1, OTHER, 0, 0, 2, true },
		{ 3, GUEST, HOST, 0, 5, true },
		{ 3, GUEST, 0, 0, 5, true },
		{ 3, 0, 0, GUEST, 5, true },
		{ 3, OTHER, 0, 0, 6, false },
		{ 3, 0, 0, OTHER, 6, false },
		{ 3, 0, 0, 0, 6, false },
		{ 3, GUEST, OTHER, 0, -1, false },
		{ 8, 0, 0, GUEST, 5, false },
		{ 4, GUEST, HOST, 0, -1, false },
		{ 7, 0, HOST, GUEST, -1, false },
		{ 99, 0, 0, 0, -1, false },
		{ 0, 0, 0, 0, 0, false },
	};
	uint8_t f[600], reply[DHCP_FRAME_MAX];
	uint32_t v, sum;
	enum dhcp_what what;
	size_t i, k, len, n;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		n = request(f, rows[i].type, rows[i].requested, rows[i].to,
		    rows[i].ciaddr);
		what = dhcp_frame(&server, f, n, reply, &len);
		assert_int_equal(what, rows[i].answer == -1 ? DHCP_SILENT :
		    DHCP_ANSWER);
		if (rows[i].answer == -1)
			continue;
		assert_memory_equal(reply, server.dh_mac, 6);
		assert_memory_equal(reply + 42 + 4, "xid!", 4);
		for (sum = 0, k = 14; k < 34; k += 2)
			sum += (uint32_t)reply[k] << 8 | reply[k + 1];
		assert_int_equal((sum & 0xffff) + (sum >> 16), 0xffff);
		if (rows[i].answer == 0) {
			assert_int_equal(option(reply, len, 53, &v), -1);
		} else {
			assert_int_equal(option(reply, len, 53, &v), 1);
			assert_int_equal(v, rows[i].answer);
			assert_int_equal(option(reply, len, 54, &v), 4);
			assert_int_equal(v, HOST);
		}
		assert_int_equal(option(reply, len, 51, &v), rows[i].leased ?
		    4 : -1);
		if (rows[i].leased)
			assert_int_equal(v, UINT32_MAX);
		if (rows[i].answer == 6) {
			assert_int_equal(reply[42 + 16], 0);
			continue;
		}
		assert_int_equal(reply[42 + 19], rows[i].type == 8 ? 0 : 3);
		assert_int_equal(option(reply, len, 1, &v), 4);
		assert_int_equal(v, 0xfffffffeu);
		assert_int_equal(option(reply, len, 3, &v), 4);
		assert_int_equal(v, HOST);
		assert_int_equal(option(reply, len, 6, &v), 4);
		assert_int_equal(v, HOST);
	}
}

/* What is for somebody else, or of somebody else. */
static void
test_others(void **state)
{
	struct dhcp net = server;
	uint8_t f[600], reply[DHCP_FRAME_MAX];
	size_t len, n = request(f, 1, 0, 0, 0);
	uint32_t v;

	(void)state;
	f[37] = 53;
	assert_int_equal(dhcp_frame(&server, f, n, reply, &len), DHCP_OTHER);
	n = request(f, 1, 0, 0, 0);
	f[20] = 0x20;		/* a fragment */
	assert_int_equal(dhcp_frame(&server, f, n, reply, &len), DHCP_OTHER);
	n = request(f, 1, 0, 0, 0);
	f[23] = 6;
	assert_int_equal(dhcp_frame(&server, f, n, reply, &len), DHCP_OTHER);
	n = request(f, 1, 0, 0, 0);
	f[11] = 8;		/* another's address, in the frame, */
	assert_int_equal(dhcp_frame(&server, f, n, reply, &len), DHCP_SILENT);
	n = request(f, 1, 0, 0, 0);
	f[42 + 33] = 8;		/* in the message */
	assert_int_equal(dhcp_frame(&server, f, n, reply, &len), DHCP_SILENT);
	/* booting from the network */
	net.dh_file = "auto_install";
	net.dh_name = "vm1";
	n = request(f, 1, 0, 0, 0);
	assert_int_equal(dhcp_frame(&net, f, n, reply, &len), DHCP_ANSWER);
	assert_string_equal((char *)reply + 42 + 108, "auto_install");
	assert_int_equal(option(reply, len, 12, &v), 3);
}

/* Requests cut off anywhere, or with anything in them. */
static void
test_random(void **state)
{
	unsigned seed = (unsigned)time(NULL), i, k;
	uint8_t f[600], reply[DHCP_FRAME_MAX], *copy;
	size_t len, n, cut;

	(void)state;
	print_message("# seed %u\n", seed);
	srandom(seed);
	for (i = 0; i < 200000; i++) {
		n = request(f, (uint8_t)(random() % 9), (uint32_t)random(), 0,
		    0);
		for (k = (unsigned)random() % 8; k > 0; k--)
			f[random() % 350] = (uint8_t)random();
		cut = random() % 2 ? n : (size_t)random() % (n + 1);
		/* of its size, so that reading more would be seen */
		copy = malloc(cut + 1);
		memcpy(copy, f, cut);
		len = 0;
		if (dhcp_frame(&server, copy, cut, reply, &len) == DHCP_ANSWER)
			assert_in_range(len, 300, DHCP_FRAME_MAX);
		free(copy);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_random),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
