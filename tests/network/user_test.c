/*
 * The user-mode network, seen from a guest that is a few frames by hand: DHCP,
 * ARP, ICMP, a TCP connection to the host's loopback and one from it, frames
 * that the device has no room for, nonsense, ports that cannot be had.
 */
#include <sys/socket.h>

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/loop.h"
#include "network/fragment.h"
#include "network/offload.h"
#include "../lib/frames.h"

#define SECOND	1000000000ULL

/* The card: everything here runs on the loop, which is on this thread. */
struct card {
	struct loop	*loop;
	struct loop_timer *limit;
	struct network	*network;
	bool		 ready;
	uint8_t		 frame[256][FRAME_SIZE];
	size_t		 len[256];
	unsigned	 head, tail;	/* free-running */
	struct network_header large_header;	/* the last large packet */
	uint8_t		 large[NETWORK_FRAME_MAX];
	size_t		 large_len;	/* 0: none has come */
	bool		 wanted;	/* stop when a frame comes */
};

static bool
card_receive(void *arg, const struct network_header *nh, const void *frame,
    size_t len)
{
	struct card *c = arg;

	assert_true(offload_valid(nh, frame, len));
	assert_true(c->ready);
	if (offload_large(nh)) {
		c->large_header = *nh;
		memcpy(c->large, frame, len);
		c->large_len = len;
		loop_stop(c->loop);
		return (true);
	}
	assert_true(nh == NULL || (nh->nh_flags & NETWORK_NEEDS_CSUM) == 0);
	assert_true(len >= NETWORK_FRAME_MIN && len <= FRAME_SIZE);
	assert_true(c->tail - c->head < 256);
	memcpy(c->frame[c->tail % 256], frame, len);
	c->len[c->tail++ % 256] = len;
	if (c->wanted)
		loop_stop(c->loop);
	return (true);
}

static bool
card_ready(void *arg)
{
	struct card *c = arg;

	return (c->ready);
}

static void
limit_passed(void *arg)
{
	struct card *c = arg;

	loop_stop(c->loop);
}

static int
card_open(struct card *c, const struct network_forward *nf, size_t n,
    struct err *err)
{
	struct network_port port = { card_receive, card_ready, c, 1500 };
	const struct network_user nu = { .nu_forward = nf, .nu_nforwards = n };

	memset(c, 0, sizeof(*c));
	c->ready = true;
	assert_non_null(c->loop = loop_new());
	assert_non_null(c->limit = loop_timer_new(c->loop, limit_passed, c));
	return (network_user_open(&c->network, c->loop, &port, &nu, err));
}

static void
say(struct card *c, const uint8_t *frame, size_t len)
{
	network_send(c->network, NULL, frame, len);
}

static void
card_close(struct card *c)
{
	network_close(c->network);
	loop_timer_free(c->limit);
	loop_free(c->loop);
}

/* Runs the loop until a frame came or ns passed. */
static void
card_run(struct card *c, uint64_t ns)
{
	if (c->head != c->tail)
		return;
	c->wanted = true;
	loop_timer_set(c->limit, loop_now() + ns);
	assert_int_equal(loop_run(c->loop), 0);
	loop_timer_set(c->limit, LOOP_NEVER);
	c->wanted = false;
}

static bool
is_tcp(const struct parsed *p)
{
	return (p->proto == 6);
}

static bool
is_udp(const struct parsed *p)
{
	return (p->proto == 17);
}

static bool
is_icmp(const struct parsed *p)
{
	return (p->proto == 1);
}

static bool
is_arp_answer(const struct parsed *p)
{
	return (p->ethertype == 0x0806 && p->flags == 2);
}

/*
 * The next frame of a kind, ten seconds at most. Questions for our own address
 * are answered on the way.
 */
static struct parsed
card_next(struct card *c, bool (*kind)(const struct parsed *))
{
	static uint8_t last[FRAME_SIZE];
	uint8_t answer[FRAME_SIZE];
	struct parsed p;
	int i;

	for (i = 0; i < 1000; i++) {
		card_run(c, SECOND / 10);
		if (c->head == c->tail)
			continue;
		memcpy(last, c->frame[c->head % 256], FRAME_SIZE);
		assert_true(frame_parse(last, c->len[c->head++ % 256], &p));
		if (p.ethertype == 0x0800)
			assert_true(p.sums_right);
		if (p.ethertype == 0x0806 && p.flags == 1 && p.dst == IP_GUEST)
			say(c, answer, frame_arp(answer, 2,
			    IP_GUEST, p.src));
		if (kind(&p))
			return (p);
	}
	fail_msg("no answer");
	return (p);
}

static void
say_hello(struct card *c)
{
	uint8_t f[FRAME_SIZE];
	struct parsed p;

	say(c, f, frame_arp(f, 1, IP_GUEST, IP_GATEWAY));
	p = card_next(c, is_arp_answer);
	assert_int_equal(p.src, IP_GATEWAY);
	frame_gateway(p.source_mac);
}

/* A listening socket on the host's loopback. */
static int
listener(uint16_t *port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	int s;

	s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_not_equal(s, -1);
	assert_int_equal(bind(s, (void *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(s, 5), 0);
	assert_int_equal(getsockname(s, (void *)&sin, &len), 0);
	*port = ntohs(sin.sin_port);
	return (s);
}

static void
test_dhcp(void **state)
{
	uint8_t f[FRAME_SIZE];
	const uint8_t *o;
	struct parsed p;
	struct card c;
	struct err err;

	(void)state;
	assert_int_equal(card_open(&c, NULL, 0, &err), 0);
	say(&c, f, frame_dhcp(f, 1, 0));
	p = card_next(&c, is_udp);
	assert_int_equal(p.sport, 67);
	assert_int_equal(p.dport, 68);
	assert_memory_equal(p.data + 16, "\x0a\0\2\x0f", 4);	/* yiaddr */
	assert_non_null(o = dhcp_option(&p, 53));
	assert_int_equal(*o, 2);				/* OFFER */
	say(&c, f, frame_dhcp(f, 3, IP_GUEST));
	p = card_next(&c, is_udp);
	assert_int_equal(*dhcp_option(&p, 53), 5);		/* ACK */
	assert_memory_equal(dhcp_option(&p, 1), "\xff\xff\xff\0", 4);
	assert_memory_equal(dhcp_option(&p, 3), "\x0a\0\2\2", 4);
	assert_memory_equal(dhcp_option(&p, 6), "\x0a\0\2\3", 4);
	card_close(&c);
}

static void
test_arp_and_ping(void **state)
{
	uint8_t f[FRAME_SIZE];
	struct parsed p;
	struct card c;
	struct err err;

	(void)state;
	assert_int_equal(card_open(&c, NULL, 0, &err), 0);
	say_hello(&c);
	say(&c, f, frame_ping(f, IP_GATEWAY, 77, 5));
	p = card_next(&c, is_icmp);
	assert_int_equal(p.flags, 0);		/* echo reply */
	assert_int_equal(p.src, IP_GATEWAY);
	assert_int_equal(p.sport, 77);
	assert_int_equal(p.dport, 5);
	card_close(&c);
}

/* The loop runs until the descriptor is ready, ten seconds at most. */
static void
wait_ready(struct card *c, int fd, short events)
{
	struct pollfd pfd = { fd, events, 0 };
	int i;

	for (i = 0; poll(&pfd, 1, 0) == 0; i++) {
		assert_true(i < 1000);
		loop_timer_set(c->limit, loop_now() + SECOND / 100);
		assert_int_equal(loop_run(c->loop), 0);
	}
}

static void
test_tcp_to_loopback(void **state)
{
	uint8_t f[FRAME_SIZE];
	char buf[64] = "";
	struct parsed p;
	struct card c;
	struct err err;
	uint16_t port;
	uint32_t seq = 1000, theirs;
	int l, s;

	(void)state;
	assert_int_equal(card_open(&c, NULL, 0, &err), 0);
	l = listener(&port);
	say_hello(&c);
	say(&c, f, frame_tcp(f, IP_GATEWAY, 4321, port, seq, 0,
	    TCP_SYN, NULL, 0));
	p = card_next(&c, is_tcp);
	assert_int_equal(p.flags, TCP_SYN | TCP_ACK);
	assert_int_equal(p.ack, seq + 1);
	assert_int_equal(p.sport, port);
	assert_int_equal(p.dport, 4321);
	seq++;
	theirs = p.seq + 1;
	say(&c, f, frame_tcp(f, IP_GATEWAY, 4321, port, seq,
	    theirs, TCP_ACK | TCP_PSH, "hello", 5));
	seq += 5;
	wait_ready(&c, l, POLLIN);
	s = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_int_not_equal(s, -1);
	wait_ready(&c, s, POLLIN);
	assert_int_equal(read(s, buf, sizeof(buf)), 5);
	assert_string_equal(buf, "hello");
	assert_int_equal(write(s, "world!", 6), 6);
	do {
		p = card_next(&c, is_tcp);
	} while (p.len == 0);
	assert_int_equal(p.len, 6);
	assert_memory_equal(p.data, "world!", 6);
	assert_int_equal(p.seq, theirs);
	theirs += 6;
	/* the host closes, then we do */
	close(s);
	say(&c, f, frame_tcp(f, IP_GATEWAY, 4321, port, seq,
	    theirs, TCP_ACK, NULL, 0));
	do {
		p = card_next(&c, is_tcp);
	} while (!(p.flags & TCP_FIN));
	say(&c, f, frame_tcp(f, IP_GATEWAY, 4321, port, seq,
	    theirs + 1, TCP_ACK | TCP_FIN, NULL, 0));
	do {
		p = card_next(&c, is_tcp);
	} while (p.ack != seq + 1);
	close(l);
	/* nobody there any more */
	say(&c, f, frame_tcp(f, IP_GATEWAY, 4322, port, 1, 0,
	    TCP_SYN, NULL, 0));
	p = card_next(&c, is_tcp);
	assert_true(p.flags & TCP_RST);
	card_close(&c);
}

/* Sockets come and go under the same numbers: all of them are served. */
static void
test_many_connections(void **state)
{
	uint8_t f[FRAME_SIZE];
	struct parsed p;
	struct card c;
	struct err err;
	uint16_t port, i;
	int l, s;

	(void)state;
	assert_int_equal(card_open(&c, NULL, 0, &err), 0);
	l = listener(&port);
	say_hello(&c);
	for (i = 0; i < 200; i++) {
		say(&c, f, frame_tcp(f, IP_GATEWAY,
		    (uint16_t)(5000 + i), port, 1, 0, TCP_SYN, NULL, 0));
		do {
			p = card_next(&c, is_tcp);
		} while (p.dport != 5000 + i || !(p.flags & TCP_SYN));
		say(&c, f, frame_tcp(f, IP_GATEWAY,
		    (uint16_t)(5000 + i), port, 2, p.seq + 1, TCP_ACK, NULL,
		    0));
		wait_ready(&c, l, POLLIN);
		s = accept4(l, NULL, NULL, SOCK_CLOEXEC);
		assert_int_not_equal(s, -1);
		assert_int_equal(write(s, "x", 1), 1);
		do {
			p = card_next(&c, is_tcp);
		} while (p.dport != 5000 + i || p.len != 1);
		close(s);
		say(&c, f, frame_tcp(f, IP_GATEWAY,
		    (uint16_t)(5000 + i), port, 2, p.seq + 1, TCP_RST, NULL,
		    0));
	}
	close(l);
	card_close(&c);
}

static void
test_hostfwd(void **state)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct network_forward nf = { .nf_guest_port = 22 };
	uint8_t f[FRAME_SIZE];
	char buf[16];
	struct parsed p;
	struct card c;
	struct err err = { "" };
	int s;

	(void)state;
	/* a port that was free a moment ago */
	close(listener(&nf.nf_host_port));
	assert_int_equal(card_open(&c, &nf, 1, &err), 0);
	say_hello(&c);
	sin.sin_port = htons(nf.nf_host_port);
	s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_not_equal(s, -1);
	assert_true(connect(s, (void *)&sin, sizeof(sin)) == 0 ||
	    errno == EINPROGRESS);
	p = card_next(&c, is_tcp);
	assert_int_equal(p.flags, TCP_SYN);
	assert_int_equal(p.dst, IP_GUEST);
	assert_int_equal(p.dport, 22);
	say(&c, f, frame_tcp(f, p.src, 22, p.sport, 500,
	    p.seq + 1, TCP_SYN | TCP_ACK, NULL, 0));
	p = card_next(&c, is_tcp);
	assert_int_equal(p.flags, TCP_ACK);
	assert_int_equal(p.ack, 501);
	say(&c, f, frame_tcp(f, p.src, 22, p.sport, 501, p.seq,
	    TCP_ACK | TCP_PSH, "SSH-2.0", 7));
	wait_ready(&c, s, POLLIN);
	assert_int_equal(read(s, buf, sizeof(buf)), 7);
	assert_memory_equal(buf, "SSH-2.0", 7);
	close(s);
	card_close(&c);
}

static void
test_ports_that_cannot_be_had(void **state)
{
	struct network_forward nf[2] = { { .nf_guest_port = 22 },
	    { .nf_guest_port = 22 } };
	struct err err = { "" };
	char number[16];
	struct card c;
	int s;

	(void)state;
	s = listener(&nf[0].nf_host_port);
	snprintf(number, sizeof(number), "%u", nf[0].nf_host_port);
	assert_int_equal(card_open(&c, nf, 1, &err), -1);
	assert_non_null(strstr(err.e_text, number));
	assert_non_null(strstr(err.e_text, "is in use"));
	assert_null(strchr(err.e_text, '\n'));
	card_close(&c);
	close(s);
	/* twice the same */
	nf[1].nf_host_port = nf[0].nf_host_port;
	assert_int_equal(card_open(&c, nf, 2, &err), -1);
	assert_non_null(strstr(err.e_text, "is in use"));
	card_close(&c);
	/* addresses */
	strcpy(nf[0].nf_host, "localhost");
	assert_int_equal(card_open(&c, nf, 1, &err), -1);
	assert_non_null(strstr(err.e_text, "localhost"));
	card_close(&c);
	strcpy(nf[0].nf_host, "192.0.2.77");
	assert_int_equal(card_open(&c, nf, 1, &err), -1);
	assert_non_null(strstr(err.e_text, "192.0.2.77"));
	card_close(&c);
	/* and the first is free again after all that */
	nf[0].nf_host[0] = '\0';
	assert_int_equal(card_open(&c, nf, 1, &err), 0);
	card_close(&c);
}

/* While there is no room, frames wait; in order, and not for ever more. */
static void
test_no_room(void **state)
{
	uint8_t f[FRAME_SIZE];
	struct parsed p;
	struct card c;
	struct err err;
	unsigned i;

	(void)state;
	assert_int_equal(card_open(&c, NULL, 0, &err), 0);
	say_hello(&c);
	c.ready = false;
	for (i = 0; i < 100; i++)
		say(&c, f, frame_ping(f, IP_GATEWAY, 1,
		    (uint16_t)i));
	card_run(&c, SECOND / 20);
	assert_int_equal(c.head, c.tail);
	c.ready = true;
	network_poke(c.network);
	for (i = 0; i < 100; i++) {
		p = card_next(&c, is_icmp);
		assert_int_equal(p.dport, i);
	}
	c.ready = false;
	for (i = 0; i < 5000; i++)
		say(&c, f, frame_ping(f, IP_GATEWAY, 1,
		    (uint16_t)i));
	/* the rest goes with card_close() */
	card_close(&c);
}

/* A frame as fragments of at most cut bytes of data, in any order. */
static unsigned
split(uint8_t part[][FRAME_SIZE], size_t lens[], const uint8_t *f, size_t len,
    size_t cut)
{
	size_t done, n, total = len - 34;
	unsigned i = 0, word;

	for (done = 0; done < total; done += n, i++) {
		n = total - done < cut ? total - done : cut;
		memcpy(part[i], f, 34);
		memcpy(part[i] + 34, f + 34 + done, n);
		part[i][16] = (uint8_t)((20 + n) >> 8);
		part[i][17] = (uint8_t)(20 + n);
		word = (unsigned)(done / 8) |
		    (done + n < total ? 0x2000 : 0);
		part[i][20] = (uint8_t)(word >> 8);
		part[i][21] = (uint8_t)word;
		frame_ip_sum(part[i]);
		lens[i] = 34 + n;
	}
	return (i);
}

static void
test_fragments(void **state)
{
	static uint8_t part[16][FRAME_SIZE];
	static const uint8_t order[][4] = { { 0, 1, 2, 3 }, { 3, 2, 1, 0 },
	    { 1, 3, 0, 2 } };
	uint8_t f[FRAME_SIZE];
	struct parsed p;
	struct card c;
	struct err err;
	size_t lens[16], len;
	unsigned i, k, n;

	(void)state;
	assert_int_equal(card_open(&c, NULL, 0, &err), 0);
	say_hello(&c);
	for (i = 0; i < 3; i++) {
		len = frame_ping(f, IP_GATEWAY, 9, (uint16_t)i);
		n = split(part, lens, f, len, 16);
		assert_int_equal(n, 3);
		n = split(part, lens, f, len, 8);
		assert_int_equal(n, 5);
		for (k = 0; k < 4; k++)
			say(&c, part[order[i][k]],
			    lens[order[i][k]]);
		card_run(&c, SECOND / 50);
		assert_int_equal(c.head, c.tail);
		say(&c, part[4], lens[4]);
		p = card_next(&c, is_icmp);
		assert_int_equal(p.flags, 0);
		assert_int_equal(p.dport, i);
		assert_int_equal(p.len, 32);
	}
	/* what overlaps is dropped, all of it */
	len = frame_ping(f, IP_GATEWAY, 9, 50);
	n = split(part, lens, f, len, 8);
	for (k = 0; k < n; k++) {
		say(&c, part[k], lens[k]);
		if (k == 2)
			say(&c, part[1], lens[1]);
	}
	card_run(&c, SECOND / 50);
	assert_int_equal(c.head, c.tail);
	/* beyond what is kept: the first of many */
	len = frame_ping(f, IP_GATEWAY, 9, 51);
	n = split(part, lens, f, len, 24);
	say(&c, part[0], lens[0]);
	for (k = 0; k < 10; k++) {
		uint8_t other[8][FRAME_SIZE];
		size_t other_lens[8];

		len = frame_ping(f, IP_GATEWAY, 10, 1);
		split(other, other_lens, f, len, 24);
		say(&c, other[0], other_lens[0]);
	}
	say(&c, part[1], lens[1]);
	card_run(&c, SECOND / 50);
	assert_int_equal(c.head, c.tail);
	card_close(&c);
}

/* A SYN that says how large segments may be. */
static size_t
frame_syn(uint8_t *f, uint16_t sport, uint16_t dport, uint16_t mss)
{
	const uint8_t option[4] = { 2, 4, (uint8_t)(mss >> 8), (uint8_t)mss };
	const struct network_header nh = { .nh_flags = NETWORK_NEEDS_CSUM,
		.nh_csum_start = 34, .nh_csum_offset = 16 };
	size_t len = frame_tcp(f, IP_GATEWAY, sport, dport, 1000, 0, TCP_SYN,
	    option, sizeof(option));
	uint16_t sum;

	f[34 + 12] = 0x60;
	sum = (uint16_t)~offload_fold(offload_sum(f + 26, 8,
	    offload_sum("\0\x06\0\x18", 4, 0)));
	memcpy(f + 34 + 16, &sum, 2);
	offload_checksum(&nh, f, len);
	return (len);
}

/* The host sends more than a segment: they come in one packet. */
static void
test_large(void **state)
{
	static uint8_t data[20000];
	uint8_t f[FRAME_SIZE];
	struct parsed p;
	struct card c;
	struct err err;
	uint16_t port;
	int i, l, s;

	(void)state;
	for (i = 0; i < (int)sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	assert_int_equal(card_open(&c, NULL, 0, &err), 0);
	l = listener(&port);
	say_hello(&c);
	say(&c, f, frame_syn(f, 4321, port, 1460));
	p = card_next(&c, is_tcp);
	assert_int_equal(p.flags, TCP_SYN | TCP_ACK);
	say(&c, f, frame_tcp(f, IP_GATEWAY, 4321, port, 1001, p.seq + 1,
	    TCP_ACK, NULL, 0));
	wait_ready(&c, l, POLLIN);
	s = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_int_not_equal(s, -1);
	assert_int_equal(write(s, data, sizeof(data)), sizeof(data));
	for (i = 0; c.large_len == 0; i++) {
		assert_true(i < 1000);
		card_run(&c, SECOND / 100);
		c.head = c.tail;
	}
	assert_int_equal(c.large_header.nh_gso_size, 1460);
	assert_true(c.large_len > 54 + 2 * 1460);
	offload_checksum(&c.large_header, c.large, c.large_len);
	assert_true(frame_parse(c.large, c.large_len, &p));
	assert_true(p.sums_right && p.len <= sizeof(data));
	assert_memory_equal(p.data, data, p.len);
	close(s);
	close(l);
	card_close(&c);
}

/* A datagram that is larger than the guest's MTU comes in fragments. */
static void
test_large_datagram(void **state)
{
	struct fragments *parts = fragments_new();
	static uint8_t data[5000];
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	uint8_t f[FRAME_SIZE], hello[8];
	const uint8_t *whole = NULL;
	struct parsed p;
	struct card c;
	struct err err;
	struct sockaddr_in sin = { .sin_family = AF_INET,
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	size_t whole_len = 0;
	unsigned n = 0;
	int i, s;

	(void)state;
	for (i = 0; i < (int)sizeof(data); i++)
		data[i] = (uint8_t)(i * 11);
	assert_int_equal(card_open(&c, NULL, 0, &err), 0);
	s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s, (void *)&sin, sizeof(sin)), 0);
	assert_int_equal(getsockname(s, (void *)&sin, &len), 0);
	say_hello(&c);
	say(&c, f, frame_udp(f, IP_GUEST, 777, IP_GATEWAY,
	    ntohs(sin.sin_port), "question", 8));
	wait_ready(&c, s, POLLIN);
	assert_int_equal(recvfrom(s, hello, 8, 0, (void *)&from, &from_len),
	    8);
	assert_int_equal(sendto(s, data, sizeof(data), 0, (void *)&from,
	    from_len), sizeof(data));
	for (i = 0; whole == NULL; i++) {
		assert_true(i < 1000);
		card_run(&c, SECOND / 100);
		if (c.head == c.tail)
			continue;
		memcpy(f, c.frame[c.head % 256], sizeof(f));
		len = (socklen_t)c.len[c.head++ % 256];
		if (f[12] == 8 && f[13] == 6) {
			say(&c, f, frame_arp(f, 2, IP_GUEST, IP_GATEWAY));
			continue;
		}
		assert_true(len <= 1514 && fragment_is(f));
		n++;
		(void)fragments_take(parts, f, len, 1, &whole, &whole_len);
	}
	assert_int_equal(n, 4);
	assert_true(frame_parse(whole, whole_len, &p));
	assert_true(p.sums_right);
	assert_int_equal(p.len, sizeof(data));
	assert_memory_equal(p.data, data, sizeof(data));
	close(s);
	card_close(&c);
	fragments_free(parts);
}

static void
test_nonsense(void **state)
{
	static uint8_t big[NETWORK_FRAME_MAX + 10];
	unsigned i, k, seed = (unsigned)time(NULL);
	uint8_t f[FRAME_SIZE];
	struct card c;
	struct err err;
	size_t len;

	(void)state;
	printf("# seed %u\n", seed);
	assert_int_equal(card_open(&c, NULL, 0, &err), 0);
	say_hello(&c);
	memset(f, 0, sizeof(f));
	say(&c, f, 0);
	say(&c, f, 13);
	frame_ping(big, IP_GATEWAY, 1, 1);
	say(&c, big, NETWORK_FRAME_MAX);
	say(&c, big, NETWORK_FRAME_MAX + 1);
	/* a lone fragment: libslirp 4.7 does not survive a few of these */
	for (i = 0; i < 1000; i++) {
		len = frame_udp(f, IP_GUEST, 53, IP_DNS, 69, big, 50);
		f[20] = (uint8_t)(i % 4 == 0 ? 0x20 : 0);
		f[21] = (uint8_t)(i % 8);
		frame_ip_sum(f);
		say(&c, f, len);
	}
	for (i = 0; i < 20000; i++) {
		switch ((unsigned)rand_r(&seed) % 5) {
		case 0:
			len = frame_tcp(f, IP_GATEWAY, 1, 9, 1, 0, TCP_SYN,
			    big, 100);
			break;
		case 1:
			len = frame_dhcp(f, 1, 0);
			break;
		case 2:
			len = frame_udp(f, IP_GUEST, 53, IP_DNS, 69, big, 50);
			break;
		case 3:
			len = frame_arp(f, 1, IP_GUEST, IP_GATEWAY);
			break;
		default:
			len = frame_ping(f, IP_GATEWAY, 1, 1);
		}
		for (k = (unsigned)rand_r(&seed) % 8; k > 0; k--)
			f[12 + (unsigned)rand_r(&seed) % (len - 12)] =
			    (uint8_t)rand_r(&seed);
		/* stay at home: no frames to strangers */
		memcpy(f + 30, "\x0a\0\2\2", 4);
		if (rand_r(&seed) % 4 == 0)
			len = 14 + (unsigned)rand_r(&seed) % (len - 14);
		say(&c, f, len);
		c.head = c.tail;
		if (i % 100 == 0)
			card_run(&c, 1000);
		c.head = c.tail;
	}
	say_hello(&c);
	card_close(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dhcp),
		cmocka_unit_test(test_arp_and_ping),
		cmocka_unit_test(test_tcp_to_loopback),
		cmocka_unit_test(test_many_connections),
		cmocka_unit_test(test_hostfwd),
		cmocka_unit_test(test_ports_that_cannot_be_had),
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_fragments),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_large_datagram),
		cmocka_unit_test(test_nonsense),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
