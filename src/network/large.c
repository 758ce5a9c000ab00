/*
 * Large TCP packets; see large.h.
 */
#include "network/large.h"

#include <arpa/inet.h>
#include <string.h>

#include "network/offload.h"

#define ETHERNET	14
#define IPV4_HEADER	20
#define TCP_HEADER	20
#define PROTOCOL_TCP	6
#define FRAGMENT	0x3fff		/* more of them, or not the first */
#define TCP_OFFSET	12
#define TCP_FLAGS	13
#define TCP_SUM		16
#define TCP_SYN		0x02
#define OPTION_END	0
#define OPTION_NOP	1
#define OPTION_MSS	2		/* RFC 9293, 3.2 */

/* TCP in a frame; tp_len is 0 if it is no whole TCP packet by IPv4. */
struct tcp {
	size_t	tp_at, tp_len, tp_header;
};

static unsigned
be16(const uint8_t *p)
{
	return ((unsigned)p[0] << 8 | p[1]);
}

static struct tcp
find(const uint8_t *frame, size_t len)
{
	const uint8_t *ip = frame + ETHERNET;
	struct tcp tp = { 0 };
	size_t header, total;

	if (len < ETHERNET + IPV4_HEADER + TCP_HEADER ||
	    be16(frame + 12) != 0x0800 || ip[0] >> 4 != 4 ||
	    ip[9] != PROTOCOL_TCP || (be16(ip + 6) & FRAGMENT) != 0)
		return (tp);
	header = (ip[0] & 15u) * 4;
	total = be16(ip + 2);
	if (header < IPV4_HEADER || total > len - ETHERNET ||
	    total < header + TCP_HEADER)
		return (tp);
	tp.tp_at = ETHERNET + header;
	tp.tp_header = (frame[tp.tp_at + TCP_OFFSET] >> 4) * 4u;
	if (tp.tp_header >= TCP_HEADER && header + tp.tp_header <= total)
		tp.tp_len = total - header;
	return (tp);
}

/* The sum of the pseudo header (RFC 9293, 3.1). */
static uint32_t
pseudo(const uint8_t *frame, size_t tcp_len)
{
	return (offload_sum(frame + ETHERNET + 12, 8,
	    (uint32_t)htons(PROTOCOL_TCP) + htons((uint16_t)tcp_len)));
}

bool
large_opens(const void *frame, size_t len)
{
	const struct tcp tp = find(frame, len);

	return (tp.tp_len != 0 && (((const uint8_t *)frame)[tp.tp_at +
	    TCP_FLAGS] & TCP_SYN) != 0);
}

void
large_open(void *data, size_t len, unsigned usual, unsigned large)
{
	const struct tcp tp = find(data, len);
	uint8_t *frame = data, *tcp = frame + tp.tp_at, *p;
	uint16_t sum;
	size_t left;

	if (tp.tp_len == 0 || offload_fold(offload_sum(tcp, tp.tp_len,
	    pseudo(frame, tp.tp_len))) != 0)
		return;
	p = tcp + TCP_HEADER;
	for (left = tp.tp_header - TCP_HEADER; left > 0;) {
		if (p[0] == OPTION_NOP) {
			p++;
			left--;
			continue;
		}
		if (p[0] == OPTION_END || left < 2 || p[1] < 2 || p[1] > left)
			break;
		if (p[0] == OPTION_MSS && p[1] == 4 && be16(p + 2) >= usual) {
			p[2] = (uint8_t)(large >> 8);
			p[3] = (uint8_t)large;
		}
		left -= p[1];
		p += p[1];
	}
	memset(tcp + TCP_SUM, 0, sizeof(sum));
	sum = offload_fold(offload_sum(tcp, tp.tp_len, pseudo(frame,
	    tp.tp_len)));
	memcpy(tcp + TCP_SUM, &sum, sizeof(sum));
}

bool
large_header(struct network_header *nh, void *data, size_t len, unsigned usual)
{
	const struct tcp tp = find(data, len);
	uint8_t *frame = data;
	uint16_t sum;

	if (tp.tp_len == 0)
		return (false);
	*nh = (struct network_header){
		.nh_flags = NETWORK_NEEDS_CSUM,
		.nh_gso_type = NETWORK_GSO_TCPV4,
		.nh_hdr_len = (uint16_t)(tp.tp_at + tp.tp_header),
		.nh_gso_size = (uint16_t)usual,
		.nh_csum_start = (uint16_t)tp.tp_at,
		.nh_csum_offset = TCP_SUM
	};
	sum = (uint16_t)~offload_fold(pseudo(frame, tp.tp_len));
	memcpy(frame + tp.tp_at + TCP_SUM, &sum, sizeof(sum));
	return (offload_valid(nh, frame, len));
}
