/*
 * Checksums and TCP segmentation; see offload.h.
 *
 * Sums are of 16-bit words as they lie in memory: the Internet checksum comes
 * out in the order that the words were taken in (RFC 1071, 2 (B)).
 */
#include "network/offload.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

#define ETHERNET	14
#define VLAN_TAG	4
#define TYPE_IPV4	0x0800
#define TYPE_IPV6	0x86dd
#define TYPE_VLAN	0x8100

#define IPV4_HEADER	20
#define IPV4_LENGTH	2
#define IPV4_ID		4
#define IPV4_FRAGMENT	6		/* more fragments, and the offset: */
#define IPV4_FRAGMENT_MASK 0x3fff
#define IPV4_PROTOCOL	9
#define IPV4_SUM	10
#define IPV6_HEADER	40
#define IPV6_LENGTH	4
#define IPV6_NEXT	6
#define IPV6_EXTENSIONS	8		/* headers before TCP, at most */
#define PROTOCOL_TCP	6

#define TCP_HEADER	20
#define TCP_SEQ		4
#define TCP_OFFSET	12
#define TCP_FLAGS	13
#define TCP_SUM		16
#define TCP_FIN		0x01
#define TCP_PSH		0x08
#define TCP_CWR		0x80

/* Where the headers of a large packet are. */
struct layout {
	size_t	la_l3, la_l4, la_payload;
};

static unsigned
be16(const uint8_t *p)
{
	return ((unsigned)p[0] << 8 | p[1]);
}

static void
put16(uint8_t *p, size_t n)
{
	p[0] = (uint8_t)(n >> 8);
	p[1] = (uint8_t)n;
}

static uint32_t
be32(const uint8_t *p)
{
	return ((uint32_t)be16(p) << 16 | be16(p + 2));
}

static void
put32(uint8_t *p, uint32_t n)
{
	put16(p, n >> 16);
	put16(p + 2, n & 0xffff);
}

/* --- sums ----------------------------------------------------------------- */

uint32_t
offload_sum(const void *data, size_t len, uint32_t start)
{
	const uint8_t *p = data;
	uint64_t sum = start, word;
	uint16_t half;

	for (; len >= 8; len -= 8, p += 8) {
		memcpy(&word, p, 8);
		sum += word;
		sum += sum < word;	/* the carry comes round */
	}
	sum = (sum & 0xffffffff) + (sum >> 32);
	for (; len >= 2; len -= 2, p += 2) {
		memcpy(&half, p, 2);
		sum += half;
	}
	if (len != 0)
		sum += htons((uint16_t)(*p << 8));
	while (sum >> 32 != 0)
		sum = (sum & 0xffffffff) + (sum >> 32);
	return ((uint32_t)sum);
}

static uint16_t
fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return ((uint16_t)(sum + (sum >> 16)));
}

uint16_t
offload_fold(uint32_t sum)
{
	return ((uint16_t)~fold(sum));
}

/* The sum of what begins at start, stored; its field has a part of it. */
static void
store_sum(uint8_t *frame, size_t len, size_t start, size_t at)
{
	uint16_t sum = offload_fold(offload_sum(frame + start, len - start,
	    0));

	if (sum == 0)
		sum = 0xffff;	/* to UDP 0 says that there is none */
	memcpy(frame + at, &sum, sizeof(sum));
}

void
offload_checksum(const struct network_header *nh, void *frame, size_t len)
{
	if (nh == NULL || (nh->nh_flags & NETWORK_NEEDS_CSUM) == 0)
		return;
	store_sum(frame, len, nh->nh_csum_start,
	    (size_t)nh->nh_csum_start + nh->nh_csum_offset);
}

/* --- what a header may say ------------------------------------------------- */

/* Where IPv4's payload begins, if it is a whole TCP packet; else 0. */
static size_t
ipv4_tcp(const uint8_t *ip, size_t len)
{
	size_t header;

	if (len < IPV4_HEADER || ip[0] >> 4 != 4)
		return (0);
	header = (ip[0] & 15u) * 4;
	if (header < IPV4_HEADER || be16(ip + IPV4_LENGTH) != len ||
	    (be16(ip + IPV4_FRAGMENT) & IPV4_FRAGMENT_MASK) != 0 ||
	    ip[IPV4_PROTOCOL] != PROTOCOL_TCP)
		return (0);
	return (header);
}

static size_t
ipv6_tcp(const uint8_t *ip, size_t len)
{
	size_t header = IPV6_HEADER;
	uint8_t next;
	unsigned i;

	if (len < IPV6_HEADER || ip[0] >> 4 != 6 ||
	    be16(ip + IPV6_LENGTH) != len - IPV6_HEADER)
		return (0);
	next = ip[IPV6_NEXT];
	/* hop-by-hop options, routing, destination options (RFC 8200, 4) */
	for (i = 0; i < IPV6_EXTENSIONS &&
	    (next == 0 || next == 43 || next == 60); i++) {
		if (header + 8 > len)
			return (0);
		next = ip[header];
		header += (ip[header + 1] + 1u) * 8;
	}
	return (next == PROTOCOL_TCP ? header : 0);
}

static bool
lay_out(const struct network_header *nh, const uint8_t *frame, size_t len,
    struct layout *la)
{
	size_t header = 0;
	unsigned type;

	la->la_l3 = ETHERNET;
	if (len < ETHERNET + VLAN_TAG)
		return (false);
	if ((type = be16(frame + 12)) == TYPE_VLAN) {
		type = be16(frame + 12 + VLAN_TAG);
		la->la_l3 += VLAN_TAG;
	}
	switch (nh->nh_gso_type & ~NETWORK_GSO_ECN) {
	case NETWORK_GSO_TCPV4:
		if (type == TYPE_IPV4)
			header = ipv4_tcp(frame + la->la_l3, len - la->la_l3);
		break;
	case NETWORK_GSO_TCPV6:
		if (type == TYPE_IPV6)
			header = ipv6_tcp(frame + la->la_l3, len - la->la_l3);
		break;
	default:
		break;
	}
	la->la_l4 = la->la_l3 + header;
	if (header == 0 || la->la_l4 + TCP_HEADER > len)
		return (false);
	header = (frame[la->la_l4 + TCP_OFFSET] >> 4) * 4u;
	la->la_payload = la->la_l4 + header;
	return (header >= TCP_HEADER && la->la_payload < len &&
	    la->la_payload <= OFFLOAD_HEADERS_MAX);
}

bool
offload_valid(const struct network_header *nh, const void *frame, size_t len)
{
	struct layout la;

	if (offload_none(nh))
		return (true);
	if ((nh->nh_flags & ~(NETWORK_NEEDS_CSUM | NETWORK_DATA_VALID)) != 0)
		return (false);
	if ((nh->nh_flags & NETWORK_NEEDS_CSUM) != 0 &&
	    (nh->nh_csum_start < ETHERNET || (size_t)nh->nh_csum_start +
	    nh->nh_csum_offset + sizeof(uint16_t) > len))
		return (false);
	if (nh->nh_gso_type == NETWORK_GSO_NONE)
		return (true);
	return ((nh->nh_flags & NETWORK_NEEDS_CSUM) != 0 &&
	    nh->nh_gso_size >= OFFLOAD_GSO_MIN &&
	    lay_out(nh, frame, len, &la) && nh->nh_csum_start == la.la_l4 &&
	    nh->nh_csum_offset == TCP_SUM);
}

size_t
offload_headers(const struct network_header *nh, const void *frame, size_t len)
{
	struct layout la;
	bool valid;

	valid = lay_out(nh, frame, len, &la);
	assert(valid);
	return (la.la_payload);
}

size_t
offload_wire_size(const struct network_header *nh, const void *frame,
    size_t len)
{
	size_t most;

	if (!offload_large(nh))
		return (len);
	most = offload_headers(nh, frame, len) + nh->nh_gso_size;
	return (len < most ? len : most);
}

/* --- segments --------------------------------------------------------------- */

void
offload_cut(struct offload_cut *oc, const struct network_header *nh,
    const void *frame, size_t len)
{
	struct layout la;
	bool valid;

	valid = lay_out(nh, frame, len, &la);
	assert(valid);
	*oc = (struct offload_cut){
		.oc_frame = frame, .oc_len = len, .oc_size = nh->nh_gso_size,
		.oc_l3 = la.la_l3, .oc_l4 = la.la_l4,
		.oc_payload = la.la_payload,
		.oc_ipv6 = (nh->nh_gso_type & ~NETWORK_GSO_ECN) ==
		    NETWORK_GSO_TCPV6
	};
}

/* The IP header of a segment of that length. */
static void
cut_ip(const struct offload_cut *oc, uint8_t *ip, size_t len)
{
	size_t header = oc->oc_l4 - oc->oc_l3;
	uint16_t sum;

	if (oc->oc_ipv6) {
		put16(ip + IPV6_LENGTH, len - IPV6_HEADER);
		return;
	}
	put16(ip + IPV4_LENGTH, len);
	put16(ip + IPV4_ID, (be16(ip + IPV4_ID) + oc->oc_done / oc->oc_size) &
	    0xffff);
	put16(ip + IPV4_SUM, 0);
	sum = offload_fold(offload_sum(ip, header, 0));
	memcpy(ip + IPV4_SUM, &sum, sizeof(sum));
}

size_t
offload_next(struct offload_cut *oc, void *segment, size_t size)
{
	size_t left = oc->oc_len - oc->oc_payload - oc->oc_done;
	size_t n = left < oc->oc_size ? left : oc->oc_size;
	size_t len = oc->oc_payload + n;
	uint8_t *s = segment, *tcp = s + oc->oc_l4;
	uint16_t sum;

	if (n == 0)
		return (0);
	assert(len <= size);
	memcpy(s, oc->oc_frame, oc->oc_payload);
	memcpy(s + oc->oc_payload, oc->oc_frame + oc->oc_payload +
	    oc->oc_done, n);
	cut_ip(oc, s + oc->oc_l3, len - oc->oc_l3);
	put32(tcp + TCP_SEQ, be32(tcp + TCP_SEQ) + (uint32_t)oc->oc_done);
	if (n != left)
		tcp[TCP_FLAGS] &= (uint8_t)~(TCP_FIN | TCP_PSH);
	if (oc->oc_done != 0)
		tcp[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
	/* the field is the pseudo header's sum, with the length in it */
	memcpy(&sum, tcp + TCP_SUM, sizeof(sum));
	sum = fold((uint32_t)sum +
	    (uint16_t)~htons((uint16_t)(oc->oc_len - oc->oc_l4)) +
	    htons((uint16_t)(len - oc->oc_l4)));
	memcpy(tcp + TCP_SUM, &sum, sizeof(sum));
	store_sum(s, len, oc->oc_l4, oc->oc_l4 + TCP_SUM);
	oc->oc_done += n;
	return (len);
}
