/*
 * DHCP and BOOTP for one guest; see dhcp.h.
 *
 * Frames are the guest's: every length in them is checked before use.
 */
#include "network/dhcp.h"

#include <stdbool.h>
#include <string.h>

/* Offsets in the frame: Ethernet, IPv4 without options, UDP. */
#define ETH		0
#define IP		14
#define UDP(ihl)	(IP + (ihl))
#define PORT_SERVER	67
#define PORT_CLIENT	68

/* Offsets in the message, RFC 2131, 2. */
#define BOOTP_OP	0
#define BOOTP_HTYPE	1
#define BOOTP_HLEN	2
#define BOOTP_XID	4
#define BOOTP_FLAGS	10
#define BOOTP_CIADDR	12
#define BOOTP_YIADDR	16
#define BOOTP_SIADDR	20
#define BOOTP_CHADDR	28
#define BOOTP_FILE	108
#define BOOTP_COOKIE	236
#define BOOTP_OPTIONS	240
#define BOOTP_SIZE	300		/* that BOOTP has at least */
#define COOKIE		0x63825363u

/* Options, RFC 2132. */
enum { OPT_PAD = 0, OPT_MASK = 1, OPT_ROUTER = 3, OPT_DNS = 6, OPT_NAME = 12,
    OPT_REQUESTED = 50, OPT_LEASE = 51, OPT_TYPE = 53, OPT_SERVER = 54,
    OPT_END = 255 };
/* Types of messages. */
enum { DISCOVER = 1, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM };

static uint32_t
get16(const uint8_t *p)
{
	return ((uint32_t)p[0] << 8 | p[1]);
}

static uint32_t
get32(const uint8_t *p)
{
	return (get16(p) << 16 | get16(p + 2));
}

static void
put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void
put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

/* --- what is asked ---------------------------------------------------------------- */

struct request {
	const uint8_t	*rq_message;
	unsigned	 rq_type;	/* 0: BOOTP's */
	uint32_t	 rq_address;	/* asked for, or had; 0: none */
	uint32_t	 rq_server;	/* 0: none */
};

static void
options(struct request *rq, const uint8_t *p, const uint8_t *end)
{
	uint8_t code, len;

	while (p < end && *p != OPT_END) {
		if (*p == OPT_PAD) {
			p++;
			continue;
		}
		if (end - p < 2 || end - p - 2 < p[1])
			return;
		code = p[0];
		len = p[1];
		p += 2;
		if (code == OPT_TYPE && len == 1)
			rq->rq_type = *p;
		else if (code == OPT_REQUESTED && len == 4)
			rq->rq_address = get32(p);
		else if (code == OPT_SERVER && len == 4)
			rq->rq_server = get32(p);
		p += len;
	}
}

/* Is it a message to a DHCP server? Then what it says. */
static enum dhcp_what
parse(const struct dhcp *dh, const uint8_t *f, size_t len, struct request *rq)
{
	size_t ihl, udp;
	const uint8_t *m;

	if (len < IP + 20 || get16(f + 12) != 0x0800 || f[IP] >> 4 != 4)
		return (DHCP_OTHER);
	ihl = (size_t)(f[IP] & 15) * 4;
	if (ihl < 20 || len < UDP(ihl) + 8 || f[IP + 9] != 17 ||
	    (get16(f + IP + 6) & 0x3fff) != 0 ||
	    get16(f + UDP(ihl) + 2) != PORT_SERVER)
		return (DHCP_OTHER);
	udp = get16(f + UDP(ihl) + 4);
	m = f + UDP(ihl) + 8;
	if (udp < 8 + BOOTP_COOKIE || len < UDP(ihl) + udp ||
	    m[BOOTP_OP] != 1 || m[BOOTP_HTYPE] != 1 || m[BOOTP_HLEN] != 6 ||
	    memcmp(f + 6, dh->dh_mac, 6) != 0 ||
	    memcmp(m + BOOTP_CHADDR, dh->dh_mac, 6) != 0)
		return (DHCP_SILENT);
	memset(rq, 0, sizeof(*rq));
	rq->rq_message = m;
	if (udp >= 8 + BOOTP_OPTIONS && get32(m + BOOTP_COOKIE) == COOKIE)
		options(rq, m + BOOTP_OPTIONS, m + udp - 8);
	if (rq->rq_address == 0)
		rq->rq_address = get32(m + BOOTP_CIADDR);
	return (DHCP_ANSWER);
}

/* The type of the answer; -1: there is none. */
static int
decide(const struct dhcp *dh, const struct request *rq)
{
	switch (rq->rq_type) {
	case 0:
		return (0);
	case DISCOVER:
		return (OFFER);
	case REQUEST:
		if (rq->rq_server != 0 && rq->rq_server != dh->dh_host)
			return (-1);	/* it has taken another's offer */
		return (rq->rq_address == dh->dh_guest ? ACK : NAK);
	case INFORM:
		return (ACK);
	}
	return (-1);
}

/* --- the answer ------------------------------------------------------------------ */

static uint8_t *
option(uint8_t *p, uint8_t code, const void *data, size_t len)
{
	p[0] = code;
	p[1] = (uint8_t)len;
	memcpy(p + 2, data, len);
	return (p + 2 + len);
}

static uint8_t *
option32(uint8_t *p, uint8_t code, uint32_t value)
{
	uint8_t v[4];

	put32(v, value);
	return (option(p, code, v, sizeof(v)));
}

static uint8_t *
option_dns(const struct dhcp *dh, uint8_t *p)
{
	uint8_t v[8];

	put32(v, dh->dh_host);
	put32(v + 4, dh->dh_dns);
	return (option(p, OPT_DNS, v, dh->dh_dns != 0 ? 8 : 4));
}

static uint32_t
checksum(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;
	size_t i;

	for (i = 0; i < len; i += 2)
		sum += get16(p + i);
	sum = (sum & 0xffff) + (sum >> 16);
	return (~(sum + (sum >> 16)) & 0xffff);
}

static size_t
answer(const struct dhcp *dh, const struct request *rq, int type, uint8_t *f)
{
	uint8_t *m = f + UDP(20) + 8, *p = m + BOOTP_OPTIONS;
	const uint8_t *q = rq->rq_message;
	size_t len;

	memset(f, 0, DHCP_FRAME_MAX);
	m[BOOTP_OP] = 2;
	m[BOOTP_HTYPE] = 1;
	m[BOOTP_HLEN] = 6;
	memcpy(m + BOOTP_XID, q + BOOTP_XID, 4);
	memcpy(m + BOOTP_FLAGS, q + BOOTP_FLAGS, 2);
	memcpy(m + BOOTP_CHADDR, dh->dh_mac, 6);
	put32(m + BOOTP_COOKIE, COOKIE);
	if (type != 0)
		p = option(p, OPT_TYPE, &(uint8_t){ (uint8_t)type }, 1);
	if (type != 0)
		p = option32(p, OPT_SERVER, dh->dh_host);
	if (type != NAK) {
		memcpy(m + BOOTP_CIADDR, q + BOOTP_CIADDR, 4);
		if (rq->rq_type != INFORM)
			put32(m + BOOTP_YIADDR, dh->dh_guest);
		put32(m + BOOTP_SIADDR, dh->dh_host);
		if (type != 0 && rq->rq_type != INFORM)
			p = option32(p, OPT_LEASE, UINT32_MAX);
		p = option32(p, OPT_MASK, dh->dh_mask);
		p = option32(p, OPT_ROUTER, dh->dh_host);
		p = option_dns(dh, p);
		if (dh->dh_file != NULL)
			memcpy(m + BOOTP_FILE, dh->dh_file,
			    strnlen(dh->dh_file, 127));
		if (dh->dh_file != NULL && dh->dh_name != NULL)
			p = option(p, OPT_NAME, dh->dh_name,
			    strnlen(dh->dh_name, 63));
	}
	*p++ = OPT_END;
	len = (size_t)(p - m);
	if (len < BOOTP_SIZE)
		len = BOOTP_SIZE;

	memcpy(f, dh->dh_mac, 6);
	/* the host side's: a local address that follows from its IPv4 one */
	f[6] = 0x52;
	f[7] = 0x55;
	put32(f + 8, dh->dh_host);
	put16(f + 12, 0x0800);
	f[IP] = 0x45;
	put16(f + IP + 2, (uint32_t)(28 + len));
	f[IP + 8] = 64;
	f[IP + 9] = 17;
	put32(f + IP + 12, dh->dh_host);
	put32(f + IP + 16, UINT32_MAX);
	put16(f + IP + 10, checksum(f + IP, 20));
	put16(f + UDP(20), PORT_SERVER);
	put16(f + UDP(20) + 2, PORT_CLIENT);
	put16(f + UDP(20) + 4, (uint32_t)(8 + len));
	return (UDP(20) + 8 + len);
}

enum dhcp_what
dhcp_frame(const struct dhcp *dh, const void *frame, size_t len,
    uint8_t reply[DHCP_FRAME_MAX], size_t *reply_len)
{
	enum dhcp_what what;
	struct request rq;
	int type;

	if ((what = parse(dh, frame, len, &rq)) != DHCP_ANSWER)
		return (what);
	if ((type = decide(dh, &rq)) == -1)
		return (DHCP_SILENT);
	*reply_len = answer(dh, &rq, type, reply);
	return (DHCP_ANSWER);
}
