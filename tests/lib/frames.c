/*
 * Ethernet frames by hand; see frames.h.
 */
#include <string.h>

#include "frames.h"

const uint8_t frame_mac[6] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };
static uint8_t gateway[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

#define ETH	14
#define IP	(ETH + 20)

static void
put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void
put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

static uint16_t
get16(const uint8_t *p)
{
	return ((uint16_t)(p[0] << 8 | p[1]));
}

static uint32_t
get32(const uint8_t *p)
{
	return ((uint32_t)get16(p) << 16 | get16(p + 2));
}

static uint32_t
sum(const uint8_t *p, size_t len, uint32_t start)
{
	for (; len > 1; len -= 2, p += 2)
		start += get16(p);
	if (len == 1)
		start += (uint32_t)*p << 8;
	while (start >> 16)
		start = (start & 0xffff) + (start >> 16);
	return (start);
}

/* Of TCP or UDP, its pseudo header included. */
static uint32_t
sum_transport(const uint8_t *ip, size_t len)
{
	return (sum(ip + 12, 8, sum(ip + 20, len, (uint32_t)(ip[9] + len))));
}

void
frame_gateway(const uint8_t mac[6])
{
	memcpy(gateway, mac, 6);
}

static void
ethernet(uint8_t *f, uint16_t type)
{
	memset(f, 0, FRAME_SIZE);
	memcpy(f, gateway, 6);
	memcpy(f + 6, frame_mac, 6);
	put16(f + 12, type);
}

void
frame_ip_sum(uint8_t *f)
{
	put16(f + ETH + 10, 0);
	put16(f + ETH + 10, ~sum(f + ETH, 20, 0) & 0xffff);
}

static size_t
ip(uint8_t *f, uint8_t proto, uint32_t src, uint32_t dst, size_t len)
{
	static uint16_t id;
	uint8_t *p = f + ETH;

	p[0] = 0x45;
	put16(p + 2, (unsigned)(20 + len));
	put16(p + 4, ++id);
	p[8] = 64;
	p[9] = proto;
	put32(p + 12, src);
	put32(p + 16, dst);
	frame_ip_sum(f);
	return (IP + len);
}

size_t
frame_arp(uint8_t *f, uint16_t op, uint32_t src, uint32_t dst)
{
	uint8_t *p = f + ETH;

	ethernet(f, 0x0806);
	if (op == 1)
		memset(f, 0xff, 6);
	put16(p, 1);
	put16(p + 2, 0x0800);
	p[4] = 6;
	p[5] = 4;
	put16(p + 6, op);
	memcpy(p + 8, frame_mac, 6);
	put32(p + 14, src);
	if (op == 2)
		memcpy(p + 18, gateway, 6);
	put32(p + 24, dst);
	return (ETH + 28);
}

size_t
frame_udp(uint8_t *f, uint32_t src, uint16_t sport, uint32_t dst,
    uint16_t dport, const void *data, size_t len)
{
	size_t n;

	ethernet(f, 0x0800);
	put16(f + IP, sport);
	put16(f + IP + 2, dport);
	put16(f + IP + 4, (unsigned)(8 + len));
	memcpy(f + IP + 8, data, len);
	n = ip(f, 17, src, dst, 8 + len);
	put16(f + IP + 6, ~sum_transport(f + ETH, 8 + len) & 0xffff);
	return (n);
}

size_t
frame_ping(uint8_t *f, uint32_t dst, uint16_t id, uint16_t seq)
{
	ethernet(f, 0x0800);
	f[IP] = 8;
	put16(f + IP + 4, id);
	put16(f + IP + 6, seq);
	memset(f + IP + 8, 0x5a, 32);
	put16(f + IP + 2, ~sum(f + IP, 40, 0) & 0xffff);
	return (ip(f, 1, IP_GUEST, dst, 40));
}

size_t
frame_tcp(uint8_t *f, uint32_t dst, uint16_t sport, uint16_t dport,
    uint32_t seq, uint32_t ack, uint8_t flags, const void *data, size_t len)
{
	size_t n;

	ethernet(f, 0x0800);
	put16(f + IP, sport);
	put16(f + IP + 2, dport);
	put32(f + IP + 4, seq);
	put32(f + IP + 8, ack);
	f[IP + 12] = 5 << 4;
	f[IP + 13] = flags;
	put16(f + IP + 14, 0xffff);
	if (len != 0)
		memcpy(f + IP + 20, data, len);
	n = ip(f, 6, IP_GUEST, dst, 20 + len);
	put16(f + IP + 16, ~sum_transport(f + ETH, 20 + len) & 0xffff);
	return (n);
}

size_t
frame_dhcp(uint8_t *f, uint8_t type, uint32_t requested)
{
	uint8_t p[300] = { 1, 1, 6, 0, 0x11, 0x22, 0x33, 0x44 }, *o = p + 236;

	put16(p + 10, 0x8000);		/* answer by broadcast */
	memcpy(p + 28, frame_mac, 6);
	put32(o, 0x63825363);
	o += 4;
	*o++ = 53;
	*o++ = 1;
	*o++ = type;
	if (requested != 0) {
		*o++ = 50;
		*o++ = 4;
		put32(o, requested);
		o += 4;
	}
	*o = 255;
	size_t n = frame_udp(f, 0, 68, 0xffffffff, 67, p, sizeof(p));
	memset(f, 0xff, 6);
	return (n);
}

bool
frame_parse(const uint8_t *f, size_t len, struct parsed *p)
{
	size_t n, head = 20;

	memset(p, 0, sizeof(*p));
	if (len < ETH)
		return (false);
	memcpy(p->source_mac, f + 6, 6);
	p->ethertype = get16(f + 12);
	p->data = f + ETH;
	p->len = len - ETH;
	if (p->ethertype == 0x0806 && p->len >= 28) {
		p->flags = (uint8_t)get16(f + ETH + 6);
		p->src = get32(f + ETH + 14);
		p->dst = get32(f + ETH + 24);
		return (true);
	}
	if (p->ethertype != 0x0800)
		return (true);
	if (p->len < 20 || f[ETH] != 0x45 ||
	    (n = get16(f + ETH + 2)) > p->len || n < 20)
		return (false);
	n -= 20;
	p->proto = f[ETH + 9];
	p->src = get32(f + ETH + 12);
	p->dst = get32(f + ETH + 16);
	p->sport = get16(f + IP);
	p->dport = get16(f + IP + 2);
	p->sums_right = sum(f + ETH, 20, 0) == 0xffff;
	switch (p->proto) {
	case 1:
		head = 8;
		p->flags = f[IP];
		p->sport = get16(f + IP + 4);
		p->dport = get16(f + IP + 6);
		p->sums_right &= sum(f + IP, n, 0) == 0xffff;
		break;
	case 6:
		p->seq = get32(f + IP + 4);
		p->ack = get32(f + IP + 8);
		p->flags = f[IP + 13] & 0x3f;
		head = (size_t)(f[IP + 12] >> 4) * 4;
		p->sums_right &= sum_transport(f + ETH, n) == 0xffff;
		break;
	case 17:
		head = 8;
		p->sums_right &= get16(f + IP + 6) == 0 ||
		    sum_transport(f + ETH, n) == 0xffff;
		break;
	}
	if (n < head)
		return (false);
	p->data = f + IP + head;
	p->len = n - head;
	return (true);
}

const uint8_t *
dhcp_option(const struct parsed *p, uint8_t option)
{
	size_t i;

	for (i = 240; i + 2 < p->len && p->data[i] != 255;
	    i += 2u + p->data[i + 1])
		if (p->data[i] == option)
			return (p->data + i + 2);
	return (NULL);
}
