/*
 * Checksums and segmentation, compared with a plain reference that works a byte
 * at a time by the RFCs: sums, segments of IPv4 and IPv6 with options, tags and
 * flags of all kinds, and headers at random, of which none may do harm.
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

#include "network/offload.h"

#define MOST	NETWORK_FRAME_MAX

/* A packet being made: what its segments must be can be said of it. */
struct made {
	uint8_t	*frame;			/* exactly len bytes */
	size_t	 len, l3, l4, payload;
	bool	 ipv6;
	struct network_header nh;
};

static uint64_t	first_seed;

/* The next number of a row (Steele's and others' SplitMix64). */
static uint64_t
seed_next(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return (z ^ z >> 31);
}

/* --- the reference ------------------------------------------------------------ */

/* RFC 1071 as it is told: bytes in pairs, big end first. */
static unsigned
plain_sum(const uint8_t *p, size_t len, unsigned long sum)
{
	size_t i;

	for (i = 0; i < len; i++)
		sum += i % 2 == 0 ? p[i] * 256ul : p[i];
	while (sum > 0xffff)
		sum = sum % 65536 + sum / 65536;
	return ((unsigned)sum);
}

static unsigned
word(const uint8_t *p)
{
	return (p[0] * 256u + p[1]);
}

/* The sum of the pseudo header (RFC 9293, 3.1; RFC 8200, 8.1). */
static unsigned
pseudo(const struct made *m, const uint8_t *frame, size_t tcp_len)
{
	return (m->ipv6 ? plain_sum(frame + m->l3 + 8, 32, 6 + tcp_len) :
	    plain_sum(frame + m->l3 + 12, 8, 6 + tcp_len));
}

/* --- packets -------------------------------------------------------------------- */

static void
set(uint8_t *p, size_t n)
{
	p[0] = (uint8_t)(n >> 8);
	p[1] = (uint8_t)n;
}

static void
make(struct made *m, uint64_t *seed, bool ipv6, size_t data, unsigned gso)
{
	const bool tag = seed_next(seed) % 4 == 0;
	const size_t option = seed_next(seed) % 3;
	const size_t ip = ipv6 ? 40 + option * 16 : 20 + option * 4;
	const size_t tcp = 20 + seed_next(seed) % 11 * 4;
	uint8_t *p;
	size_t i;

	m->ipv6 = ipv6;
	m->l3 = tag ? 18 : 14;
	m->l4 = m->l3 + ip;
	m->payload = m->l4 + tcp;
	m->len = m->payload + data;
	assert_non_null(m->frame = p = malloc(m->len));
	for (i = 0; i < m->len; i++)
		p[i] = (uint8_t)seed_next(seed);
	if (tag)
		set(p + 12, 0x8100);
	set(p + m->l3 - 2, ipv6 ? 0x86dd : 0x0800);
	p += m->l3;
	if (ipv6) {
		p[0] = 0x60;
		set(p + 4, m->len - m->l3 - 40);
		p[6] = option != 0 ? 60 : 6;
		for (i = 0; i < option; i++) {
			p[40 + i * 16] = i + 1 < option ? 0 : 6;
			p[41 + i * 16] = 1;
		}
	} else {
		p[0] = (uint8_t)(0x40 | ip / 4);
		set(p + 2, m->len - m->l3);
		set(p + 6, 0x4000);
		p[9] = 6;
	}
	p = m->frame + m->l4;
	p[12] = (uint8_t)(tcp / 4 << 4);
	set(p + 16, pseudo(m, m->frame, tcp + data));
	m->nh = (struct network_header){
		.nh_flags = NETWORK_NEEDS_CSUM,
		.nh_gso_type = ipv6 ? NETWORK_GSO_TCPV6 : NETWORK_GSO_TCPV4,
		.nh_gso_size = (uint16_t)gso,
		.nh_csum_start = (uint16_t)m->l4, .nh_csum_offset = 16
	};
	if (seed_next(seed) % 2 == 0)
		m->nh.nh_gso_type |= NETWORK_GSO_ECN;
}

/* Is a segment what it must be, that begins so far into the payload? */
static void
check_segment(const struct made *m, const uint8_t *s, size_t len, size_t done)
{
	const size_t whole = m->len - m->payload;
	const size_t n = whole - done < m->nh.nh_gso_size ? whole - done :
	    m->nh.nh_gso_size;
	const uint8_t *f = m->frame;
	uint8_t flags = f[m->l4 + 13];
	uint32_t seq;

	assert_int_equal(len, m->payload + n);
	assert_memory_equal(s, f, m->l3);
	assert_memory_equal(s + m->payload, f + m->payload + done, n);
	if (m->ipv6) {
		assert_int_equal(word(s + m->l3 + 4), len - m->l3 - 40);
		assert_memory_equal(s + m->l3, f + m->l3, 4);
		assert_memory_equal(s + m->l3 + 6, f + m->l3 + 6,
		    m->l4 - m->l3 - 6);
	} else {
		assert_int_equal(word(s + m->l3 + 2), len - m->l3);
		assert_int_equal(word(s + m->l3 + 4), (word(f + m->l3 + 4) +
		    done / m->nh.nh_gso_size) % 65536);
		assert_int_equal(plain_sum(s + m->l3, m->l4 - m->l3, 0),
		    0xffff);
		assert_memory_equal(s + m->l3 + 6, f + m->l3 + 6, 4);
		assert_memory_equal(s + m->l3 + 12, f + m->l3 + 12,
		    m->l4 - m->l3 - 12);
	}
	if (done + n != whole)
		flags &= 0xf6;
	if (done != 0)
		flags &= 0x7f;
	assert_int_equal(s[m->l4 + 13], flags);
	seq = (uint32_t)word(f + m->l4 + 4) << 16 | word(f + m->l4 + 6);
	seq += (uint32_t)done;
	assert_int_equal(word(s + m->l4 + 4), seq >> 16);
	assert_int_equal(word(s + m->l4 + 6), seq & 0xffff);
	assert_memory_equal(s + m->l4, f + m->l4, 4);
	assert_memory_equal(s + m->l4 + 8, f + m->l4 + 8, 5);
	assert_memory_equal(s + m->l4 + 18, f + m->l4 + 18,
	    m->payload - m->l4 - 18);
	assert_int_equal(plain_sum(s + m->l4, len - m->l4, pseudo(m, s,
	    len - m->l4)), 0xffff);
}

static void
check_cut(struct made *m)
{
	static uint8_t s[MOST];
	struct offload_cut cut;
	size_t len, done;

	assert_true(offload_valid(&m->nh, m->frame, m->len));
	assert_int_equal(offload_headers(&m->nh, m->frame, m->len),
	    m->payload);
	len = m->len - m->payload < m->nh.nh_gso_size ? m->len :
	    m->payload + m->nh.nh_gso_size;
	assert_int_equal(offload_wire_size(&m->nh, m->frame, m->len), len);
	offload_cut(&cut, &m->nh, m->frame, m->len);
	for (done = 0; (len = offload_next(&cut, s, sizeof(s))) != 0;
	    done += len - m->payload)
		check_segment(m, s, len, done);
	assert_int_equal(done, m->len - m->payload);
	/* as a whole it is one right packet */
	memcpy(s, m->frame, m->len);
	offload_checksum(&m->nh, s, m->len);
	assert_int_equal(plain_sum(s + m->l4, m->len - m->l4, pseudo(m, s,
	    m->len - m->l4)), 0xffff);
	free(m->frame);
}

/* --- tests ------------------------------------------------------------------------ */

static void
test_sums(void **state)
{
	uint64_t seed = first_seed;
	uint8_t data[300];
	uint16_t sum;
	size_t i, at, len;
	unsigned n;

	(void)state;
	for (n = 0; n < 20000; n++) {
		at = seed_next(&seed) % 16;
		len = seed_next(&seed) % 280;
		for (i = 0; i < sizeof(data); i++)
			data[i] = n % 3 == 0 ? 0xff :
			    (uint8_t)seed_next(&seed);
		sum = (uint16_t)~offload_fold(offload_sum(data + at, len, 0));
		assert_int_equal(word((uint8_t *)&sum),
		    plain_sum(data + at, len, 0));
	}
	/* two ends of a datagram, the first of an even length */
	assert_int_equal(offload_fold(offload_sum(data, 300, 0)),
	    offload_fold(offload_sum(data + 122, 178,
	    offload_sum(data, 122, 0))));
	/* the largest, of the largest words */
	memset(data, 0xff, sizeof(data));
	assert_int_equal(offload_fold(offload_sum(data, 300, 0xffffffff)), 0);
}

/* A sum of 0 is written 0xffff (RFC 768). */
static void
test_zero_sum(void **state)
{
	const struct network_header nh = { .nh_flags = NETWORK_NEEDS_CSUM,
		.nh_csum_start = 34, .nh_csum_offset = 6 };
	uint8_t frame[64] = { 0 };

	(void)state;
	frame[40] = 0xff;
	frame[41] = 0xff;
	assert_true(offload_valid(&nh, frame, sizeof(frame)));
	offload_checksum(&nh, frame, sizeof(frame));
	assert_int_equal(frame[40] << 8 | frame[41], 0xffff);
	frame[63] = 1;
	frame[40] = frame[41] = 0;
	offload_checksum(&nh, frame, sizeof(frame));
	assert_int_equal(frame[40] << 8 | frame[41], 0xfffe);
}

static void
test_segments(void **state)
{
	uint64_t seed = first_seed;
	struct made m;
	size_t data;
	unsigned n, gso;

	(void)state;
	for (n = 0; n < 3000; n++) {
		gso = 8 + (unsigned)(seed_next(&seed) % 9000);
		data = 1 + seed_next(&seed) % (n % 50 == 0 ? 65000 : 4000);
		if (n % 5 == 0)		/* whole segments, exactly */
			data = gso * (1 + seed_next(&seed) % 3);
		make(&m, &seed, n % 2 == 0, data, gso);
		check_cut(&m);
	}
	/* the largest there are, in the smallest segments */
	make(&m, &seed, false, 65535 - 60 - 60, 8);
	check_cut(&m);
	make(&m, &seed, true, 65400, 9);
	check_cut(&m);
}

/* Each one thing that a header may not be. */
static void
test_refused(void **state)
{
	uint64_t seed = first_seed;
	struct network_header nh;
	struct made m;
	uint8_t *f;

	(void)state;
	do {
		make(&m, &seed, false, 5000, 1000);
		if (m.l3 == 14 && m.l4 == 34)
			break;
		free(m.frame);
	} while (true);
	f = m.frame;
#define REFUSED(change) do {						\
	nh = m.nh;							\
	assert_true(offload_valid(&nh, f, m.len));			\
	change;								\
	assert_false(offload_valid(&nh, f, m.len));			\
} while (0)
#define REFUSED_BYTE(at, value) do {					\
	uint8_t was = f[at];						\
	REFUSED(f[at] = (uint8_t)(value));				\
	f[at] = was;							\
} while (0)
	REFUSED(nh.nh_flags = 0);
	REFUSED(nh.nh_flags |= 4);
	REFUSED(nh.nh_gso_size = 0);
	REFUSED(nh.nh_gso_size = OFFLOAD_GSO_MIN - 1);
	REFUSED(nh.nh_gso_type = 2);
	REFUSED(nh.nh_gso_type = 3);		/* UDP */
	REFUSED(nh.nh_gso_type = 5);
	REFUSED(nh.nh_gso_type = NETWORK_GSO_TCPV6);
	REFUSED(nh.nh_gso_type = NETWORK_GSO_ECN);
	REFUSED(nh.nh_csum_start = 0);
	REFUSED(nh.nh_csum_start++);
	REFUSED(nh.nh_csum_start = 0xffff);
	REFUSED(nh.nh_csum_offset = 6);
	REFUSED(nh.nh_csum_offset = 0xffff);
	REFUSED_BYTE(12, 0x86);			/* another ethertype */
	REFUSED_BYTE(14, 0x65);			/* another version */
	REFUSED_BYTE(14, 0x44);			/* header of 16 bytes */
	REFUSED_BYTE(17, f[17] + 1);		/* longer than it is */
	REFUSED_BYTE(17, f[17] - 1);
	REFUSED_BYTE(20, 0x20);			/* a fragment */
	REFUSED_BYTE(21, 1);
	REFUSED_BYTE(23, 17);			/* UDP */
	REFUSED_BYTE(34 + 12, 0x40);		/* TCP header of 16 bytes */
	nh = m.nh;
	assert_false(offload_valid(&nh, f, 54));	/* no payload */
	/* and of a small packet that needs a sum */
	nh.nh_gso_type = NETWORK_GSO_NONE;
	nh.nh_csum_start = (uint16_t)(m.len - 18);
	assert_true(offload_valid(&nh, f, m.len));
	nh.nh_csum_start++;
	assert_false(offload_valid(&nh, f, m.len));
	nh.nh_csum_start = 13;
	assert_false(offload_valid(&nh, f, m.len));
	/* what asks for nothing may say anything */
	nh.nh_flags = 0;
	assert_true(offload_valid(&nh, f, m.len));
	assert_true(offload_valid(NULL, f, m.len));
	free(f);
}

/* Whatever is said to be valid can be worked on: sanitizers see the rest. */
static void
test_random(void **state)
{
	static uint8_t s[MOST];
	uint64_t seed = first_seed;
	struct offload_cut cut;
	unsigned n, i, valid = 0;
	struct made m;
	uint8_t *at;
	size_t len;

	(void)state;
	for (n = 0; n < 100000; n++) {
		make(&m, &seed, n % 2 == 0, 1 + seed_next(&seed) % 300,
		    8 + (unsigned)(seed_next(&seed) % 200));
		for (i = (unsigned)(seed_next(&seed) % 4); i-- > 0;) {
			at = seed_next(&seed) % 2 == 0 ?
			    (uint8_t *)&m.nh + seed_next(&seed) % 10 :
			    m.frame + seed_next(&seed) % m.payload;
			*at = (uint8_t)(seed_next(&seed) % 2 == 0 ?
			    seed_next(&seed) : *at ^ 1u << n % 8);
		}
		if (seed_next(&seed) % 4 == 0) {
			m.len = 14 + seed_next(&seed) % (m.len - 14);
			m.frame = realloc(m.frame, m.len);
			assert_non_null(m.frame);
		}
		if (offload_valid(&m.nh, m.frame, m.len)) {
			valid++;
			assert_true(offload_wire_size(&m.nh, m.frame, m.len) <=
			    m.len);
			if (offload_large(&m.nh)) {
				offload_cut(&cut, &m.nh, m.frame, m.len);
				for (i = 0; (len = offload_next(&cut, s,
				    sizeof(s))) != 0; i++)
					assert_true(len <= m.len && i < 40);
			}
			offload_checksum(&m.nh, m.frame, m.len);
		}
		free(m.frame);
	}
	assert_true(valid > 10000 && valid < 90000);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sums),
		cmocka_unit_test(test_zero_sum),
		cmocka_unit_test(test_segments),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_random),
	};

	first_seed = argc > 1 ? strtoull(argv[1], NULL, 0) :
	    (uint64_t)time(NULL);
	printf("# seed %ju (an argument repeats it)\n", (uintmax_t)first_seed);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
