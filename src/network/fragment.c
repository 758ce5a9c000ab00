/*
 * IPv4 reassembly (RFC 791, 3.2), strict and bounded: FRAGMENT_SLOTS datagrams
 * at a time, each for FRAGMENT_LIFE at most; the oldest gives way. Fragments
 * that overlap end their datagram (RFC 5722 says why).
 *
 * 1. The bytes [0, 65536) of a datagram's data are at FR_DATA in fr_frame; bit
 *    n of fr_have says that the 8 bytes from 8n on (or, in the last one, what
 *    there is of them) have come.
 * 2. fr_got is the sum of the lengths that came. With no overlaps, the datagram
 *    is there when fr_got is fr_total, known from the last fragment, and the
 *    first one, which brings the header, was among them.
 *
 * Threads: that of the owner.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "network/fragment.h"

#define FRAGMENT_SLOTS	4
#define FRAGMENT_LIFE	15000000000ULL	/* ns (RFC 791 suggests 15 s) */

#define ETHERNET	14
#define IP_HEADER_MIN	20
#define IP_HEADER_MAX	60
#define IP_DATA_MAX	65536
#define IP_MORE		0x2000		/* in the fragment word */
#define IP_OFFSET	0x1fff

#define FR_DATA		(ETHERNET + IP_HEADER_MAX)

struct fragment_slot {
	bool		 fr_used;
	uint8_t		 fr_key[11];	/* addresses, id, protocol */
	uint64_t	 fr_begun;	/* ns */
	size_t		 fr_header;	/* bytes, 0: the first is missing */
	size_t		 fr_total;	/* bytes of data, 0: the last is */
	size_t		 fr_end;	/* of the data that came */
	size_t		 fr_got;
	uint64_t	 fr_have[IP_DATA_MAX / 8 / 64];
	uint8_t		 fr_frame[FR_DATA + IP_DATA_MAX];
};

struct fragments {
	struct fragment_slot f_slot[FRAGMENT_SLOTS];
};

/* A fragment's header, checked. */
struct fragment {
	uint8_t		 key[11];
	size_t		 header, offset, len;
	bool		 more;
};

static unsigned
be16(const uint8_t *p)
{
	return ((unsigned)p[0] << 8 | p[1]);
}

/* The ones' complement sum of a header: 0xffff if its own sum is right. */
static unsigned
ip_sum(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;

	for (; len > 1; len -= 2, p += 2)
		sum += be16(p);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (sum);
}

static bool
fragment_parse(struct fragment *fr, const uint8_t *ip, size_t len)
{
	size_t total;

	fr->header = (ip[0] & 15u) * 4;
	total = be16(ip + 2);
	if (ip[0] >> 4 != 4 || fr->header < IP_HEADER_MIN || total > len ||
	    total <= fr->header || ip_sum(ip, fr->header) != 0xffff)
		return (false);
	fr->more = (be16(ip + 6) & IP_MORE) != 0;
	fr->offset = (size_t)(be16(ip + 6) & IP_OFFSET) * 8;
	fr->len = total - fr->header;
	if ((fr->more && fr->len % 8 != 0) ||
	    fr->offset + fr->len > IP_DATA_MAX - 1 - fr->header)
		return (false);
	memcpy(fr->key, ip + 12, 8);
	memcpy(fr->key + 8, ip + 4, 2);
	fr->key[10] = ip[9];
	return (true);
}

/* The slot of the fragment's datagram, or one to begin it in. */
static struct fragment_slot *
slot_find(struct fragments *f, const struct fragment *fr, uint64_t now)
{
	struct fragment_slot *s, *oldest = &f->f_slot[0];
	size_t i;

	for (i = 0; i < FRAGMENT_SLOTS; i++) {
		s = &f->f_slot[i];
		if (s->fr_used && now - s->fr_begun > FRAGMENT_LIFE)
			s->fr_used = false;
		if (s->fr_used && memcmp(s->fr_key, fr->key,
		    sizeof(s->fr_key)) == 0)
			return (s);
		if (oldest->fr_used &&
		    (!s->fr_used || s->fr_begun < oldest->fr_begun))
			oldest = s;
	}
	memset(oldest, 0, offsetof(struct fragment_slot, fr_frame));
	oldest->fr_used = true;
	oldest->fr_begun = now;
	memcpy(oldest->fr_key, fr->key, sizeof(oldest->fr_key));
	return (oldest);
}

/* Marks its place as taken; false if part of it is, or it cannot be right. */
static bool
slot_claim(struct fragment_slot *s, const struct fragment *fr)
{
	size_t i, end = fr->offset + fr->len;

	if (s->fr_total != 0 && (!fr->more || end > s->fr_total))
		return (false);
	if (!fr->more && s->fr_end > end)
		return (false);
	for (i = fr->offset / 8; i < (end + 7) / 8; i++) {
		if (s->fr_have[i / 64] & 1ULL << i % 64)
			return (false);
		s->fr_have[i / 64] |= 1ULL << i % 64;
	}
	if (!fr->more)
		s->fr_total = end;
	if (end > s->fr_end)
		s->fr_end = end;
	s->fr_got += fr->len;
	return (true);
}

/* One frame of it all: header and data are in place but for three fields. */
static void
slot_finish(struct fragment_slot *s, const uint8_t **whole, size_t *whole_len)
{
	uint8_t *ip = s->fr_frame + FR_DATA - s->fr_header;
	size_t total = s->fr_header + s->fr_total;
	unsigned sum;

	ip[2] = (uint8_t)(total >> 8);
	ip[3] = (uint8_t)total;
	ip[6] = ip[7] = ip[10] = ip[11] = 0;
	sum = ~ip_sum(ip, s->fr_header) & 0xffff;
	ip[10] = (uint8_t)(sum >> 8);
	ip[11] = (uint8_t)sum;
	*whole = ip - ETHERNET;
	*whole_len = ETHERNET + total;
	s->fr_used = false;
}

bool
fragment_is(const uint8_t *frame)
{
	return ((be16(frame + ETHERNET + 6) & (IP_MORE | IP_OFFSET)) != 0);
}

bool
fragments_take(struct fragments *f, const uint8_t *frame, size_t len,
    uint64_t now, const uint8_t **whole, size_t *whole_len)
{
	const uint8_t *ip = frame + ETHERNET;
	struct fragment_slot *s;
	struct fragment fr;

	if (len < ETHERNET + IP_HEADER_MIN ||
	    !fragment_parse(&fr, ip, len - ETHERNET))
		return (false);
	s = slot_find(f, &fr, now);
	if (!slot_claim(s, &fr)) {
		s->fr_used = false;
		return (false);
	}
	memcpy(s->fr_frame + FR_DATA + fr.offset, ip + fr.header, fr.len);
	if (fr.offset == 0) {
		s->fr_header = fr.header;
		memcpy(s->fr_frame + FR_DATA - fr.header - ETHERNET, frame,
		    ETHERNET + fr.header);
	}
	if (s->fr_header == 0 || s->fr_total == 0 || s->fr_got != s->fr_total ||
	    s->fr_header + s->fr_total >= IP_DATA_MAX)
		return (false);
	slot_finish(s, whole, whole_len);
	return (true);
}

/* --- fragments of ours ------------------------------------------------------ */

bool
fragment_cut(struct fragment_cut *fc, const uint8_t *frame, size_t len,
    unsigned mtu)
{
	const uint8_t *ip = frame + ETHERNET;
	struct fragment fr;

	if (len < ETHERNET + IP_HEADER_MIN || be16(frame + 12) != 0x0800 ||
	    fragment_is(frame) || !fragment_parse(&fr, ip, len - ETHERNET) ||
	    mtu < fr.header + 8)
		return (false);
	fc->fc_frame = frame;
	fc->fc_header = fr.header;
	fc->fc_total = fr.header + fr.len;
	fc->fc_done = 0;
	fc->fc_each = (mtu - fr.header) / 8 * 8;
	return (true);
}

size_t
fragment_next(struct fragment_cut *fc, uint8_t *fragment)
{
	size_t left = fc->fc_total - fc->fc_header - fc->fc_done;
	size_t n = left < fc->fc_each ? left : fc->fc_each;
	uint8_t *ip = fragment + ETHERNET;
	unsigned word;

	if (n == 0)
		return (0);
	memcpy(fragment, fc->fc_frame, ETHERNET + fc->fc_header);
	memcpy(ip + fc->fc_header, fc->fc_frame + ETHERNET + fc->fc_header +
	    fc->fc_done, n);
	ip[2] = (uint8_t)((fc->fc_header + n) >> 8);
	ip[3] = (uint8_t)(fc->fc_header + n);
	word = (unsigned)(fc->fc_done / 8) | (n < left ? IP_MORE : 0);
	ip[6] = (uint8_t)(word >> 8);
	ip[7] = (uint8_t)word;
	ip[10] = ip[11] = 0;
	word = ~ip_sum(ip, fc->fc_header) & 0xffff;
	ip[10] = (uint8_t)(word >> 8);
	ip[11] = (uint8_t)word;
	fc->fc_done += n;
	return (ETHERNET + fc->fc_header + n);
}

/* --- life ------------------------------------------------------------------- */

struct fragments *
fragments_new(void)
{
	return (calloc(1, sizeof(struct fragments)));
}

void
fragments_free(struct fragments *f)
{
	free(f);
}
