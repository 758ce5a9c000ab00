/*
 * The switch: where frames go, who may send from which address, what is
 * forgotten when. And the cable to it: frames as they were sent, whoever does
 * not read loses some and holds nobody up, an end is noticed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "network/cable.h"
#include "network/netswitch.h"
#include "network/network.h"

#define PORTS	4
#define S	1000000000ull

/* --- the switch --------------------------------------------------------------- */

static unsigned got[PORTS];	/* frames that came out of each port */
static const struct network_header *got_header;

static void
port_send(void *arg, const struct network_header *nh, const void *frame,
    size_t len)
{
	got_header = nh;
	assert_non_null(frame);
	assert_true(len >= NETWORK_FRAME_MIN);
	got[(uintptr_t)arg]++;
}

static struct netswitch_port *
plug(struct netswitch *ns, uintptr_t n, const uint8_t *locked)
{
	struct netswitch_config nc = { .nc_send = port_send,
		.nc_arg = (void *)n, .nc_mtu = n == 3 ? 1500 : 9000,
		.nc_locked = locked != NULL };

	if (locked != NULL)
		memcpy(nc.nc_mac, locked, 6);
	return (netswitch_port_new(ns, &nc));
}

/* A frame between numbered hosts; 0: to all. */
static void
frame(struct netswitch_port *np, unsigned from, unsigned to, uint64_t now)
{
	uint8_t f[60] = { 0x02, 0, 0, 0, (uint8_t)(to >> 8), (uint8_t)to,
		0x02, 0, 0, 0, (uint8_t)(from >> 8), (uint8_t)from, 8, 0 };

	if (to == 0)
		memset(f, 0xff, 6);
	memset(got, 0, sizeof(got));
	netswitch_frame(np, NULL, f, sizeof(f), now);
}

static void
came_to(unsigned a, unsigned b, unsigned c, unsigned d)
{
	const unsigned want[PORTS] = { a, b, c, d };

	assert_memory_equal(got, want, sizeof(want));
}

static void
test_learning(void **state)
{
	struct netswitch *ns = netswitch_new();
	struct netswitch_port *p[PORTS];
	uint8_t mac[4][6];
	unsigned i;

	(void)state;
	for (i = 0; i < PORTS; i++)
		p[i] = plug(ns, i, NULL);
	frame(p[0], 1, 2, S);		/* nobody knows 2 */
	came_to(0, 1, 1, 1);
	frame(p[1], 2, 1, S);
	came_to(1, 0, 0, 0);
	frame(p[0], 1, 2, S);
	came_to(0, 1, 0, 0);
	frame(p[0], 1, 0, S);		/* to all */
	came_to(0, 1, 1, 1);
	frame(p[0], 3, 1, S);		/* both behind one port */
	came_to(0, 0, 0, 0);
	assert_int_equal(netswitch_addresses(p[0], mac, 4, S), 2);
	assert_int_equal(mac[0][5], 3);
	assert_int_equal(mac[1][5], 1);
	/* 2 moves */
	frame(p[3], 2, 1, S);
	came_to(1, 0, 0, 0);
	frame(p[0], 1, 2, S);
	came_to(0, 0, 0, 1);
	assert_int_equal(netswitch_addresses(p[1], mac, 4, S), 0);
	/* and is silent too long */
	frame(p[0], 1, 2, S + NETSWITCH_AGE);
	came_to(0, 0, 0, 1);
	frame(p[0], 1, 2, S + NETSWITCH_AGE + 1);
	came_to(0, 1, 1, 1);
	/* a port that goes takes its addresses along */
	frame(p[2], 9, 0, 400 * S);
	netswitch_port_free(p[2]);
	frame(p[0], 1, 9, 400 * S);
	came_to(0, 1, 0, 1);
	assert_int_equal(netswitch_counts(p[2 - 2])->nn_spoofed, 0);
	for (i = 0; i < PORTS; i++)
		if (i != 2)
			netswitch_port_free(p[i]);
	netswitch_free(ns);
}

static void
test_refused(void **state)
{
	static const uint8_t one[6] = { 2, 0, 0, 0, 0, 1 };
	struct netswitch *ns = netswitch_new();
	struct netswitch_port *locked = plug(ns, 0, one);
	struct netswitch_port *open = plug(ns, 1, NULL);
	struct netswitch_port *third = plug(ns, 2, NULL);
	uint8_t group[14] = { 2, 0, 0, 0, 0, 1, 3, 0, 0, 0, 0, 9 };

	(void)state;
	/* known before it has said anything, and for ever */
	frame(open, 5, 1, 9000 * S);
	came_to(1, 0, 0, 0);
	frame(locked, 1, 5, 9000 * S);
	came_to(0, 1, 0, 0);
	/* it is nobody else, nobody else is it */
	frame(locked, 7, 5, 9000 * S);
	came_to(0, 0, 0, 0);
	assert_int_equal(netswitch_counts(locked)->nn_spoofed, 1);
	frame(open, 1, 0, 9000 * S);
	came_to(0, 0, 0, 0);
	assert_int_equal(netswitch_counts(open)->nn_spoofed, 1);
	frame(third, 6, 1, 9000 * S);
	came_to(1, 0, 0, 0);
	assert_null(plug(ns, 3, one));
	assert_int_equal(errno, EEXIST);
	/* no host is a group, no frame is shorter than its header */
	memset(got, 0, sizeof(got));
	netswitch_frame(open, NULL, group, sizeof(group), 9000 * S);
	netswitch_frame(third, NULL, group, sizeof(group) - 1, 9000 * S);
	came_to(0, 0, 0, 0);
	assert_int_equal(netswitch_counts(open)->nn_spoofed, 2);
	netswitch_port_free(locked);
	netswitch_port_free(open);
	netswitch_port_free(third);
	netswitch_free(ns);
}

/* What is larger than a port's MTU does not go there. */
static void
test_large(void **state)
{
	const struct network_header nh = { .nh_flags = NETWORK_NEEDS_CSUM,
		.nh_gso_type = NETWORK_GSO_TCPV4, .nh_gso_size = 1460,
		.nh_csum_start = 34, .nh_csum_offset = 16 };
	static uint8_t f[65549] = { 2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1,
		[14] = 0x45, [16] = 0xff, 0xff, [23] = 6, [46] = 0x50 };
	struct netswitch *ns = netswitch_new();
	struct netswitch_port *p[PORTS];
	struct network_header big = nh;
	unsigned i;

	(void)state;
	for (i = 0; i < PORTS; i++)
		p[i] = plug(ns, i, NULL);
	memset(got, 0, sizeof(got));
	netswitch_frame(p[0], NULL, f, 1514, S);
	netswitch_frame(p[0], NULL, f, 1515, S);
	netswitch_frame(p[0], NULL, f, 9014, S);
	netswitch_frame(p[0], NULL, f, 9015, S);
	came_to(0, 3, 3, 1);
	f[12] = 0x81;		/* a tag is not counted */
	netswitch_frame(p[0], NULL, f, 1518, S);
	netswitch_frame(p[0], NULL, f, 1519, S);
	came_to(0, 5, 5, 2);
	assert_int_equal(netswitch_counts(p[3])->nn_large, 4);
	assert_int_equal(netswitch_counts(p[3])->nn_out, 2);
	assert_int_equal(netswitch_counts(p[1])->nn_large, 1);
	/* of what is cut later, the segments count; its header goes with it */
	f[12] = 8;
	netswitch_frame(p[0], &nh, f, sizeof(f), S);
	came_to(0, 6, 6, 3);
	assert_ptr_equal(got_header, &nh);
	big.nh_gso_size = 1461;
	netswitch_frame(p[0], &big, f, sizeof(f), S);
	came_to(0, 7, 7, 3);
	for (i = 0; i < PORTS; i++)
		netswitch_port_free(p[i]);
	netswitch_free(ns);
}

/* Who makes up addresses fills its own places alone. */
static void
test_flood(void **state)
{
	struct netswitch *ns = netswitch_new();
	struct netswitch_port *good = plug(ns, 0, NULL);
	struct netswitch_port *bad = plug(ns, 1, NULL);
	uint8_t mac[NETSWITCH_ADDRESSES + 1][6];
	unsigned i;

	(void)state;
	frame(good, 1, 0, S);
	for (i = 2; i < 20000; i++)
		frame(bad, i, 1, S);
	came_to(1, 0, 0, 0);
	assert_int_equal(netswitch_addresses(bad, mac,
	    NETSWITCH_ADDRESSES + 1, S), NETSWITCH_ADDRESSES);
	assert_int_equal(mac[0][4] << 8 | mac[0][5], 19999);
	frame(bad, 19999, 1, S);
	came_to(1, 0, 0, 0);
	frame(good, 1, 19999 - NETSWITCH_ADDRESSES + 1, S);
	came_to(0, 1, 0, 0);
	netswitch_port_free(good);
	netswitch_port_free(bad);
	netswitch_free(ns);
}

/* --- the cable ---------------------------------------------------------------------- */

struct end {
	struct loop	*e_loop;
	struct cable	*e_cable;
	unsigned	 e_frames, e_gone;
	size_t		 e_bytes;
	uint32_t	 e_last;
	bool		 e_busy, e_free;
	unsigned	 e_stop_at;
};

static void
end_frame(void *arg, const struct network_header *nh, const void *data,
    size_t len)
{
	struct end *e = arg;
	uint32_t n;

	assert_null(nh);
	e->e_frames++;
	e->e_bytes += len;
	memcpy(&n, data, sizeof(n));
	assert_true(e->e_frames == 1 || n > e->e_last);	/* in order */
	e->e_last = n;
	if (e->e_free) {
		cable_free(e->e_cable);
		e->e_cable = NULL;
	}
	if (e->e_frames == e->e_stop_at)
		loop_stop(e->e_loop);
}

static bool
end_ready(void *arg)
{
	return (!((struct end *)arg)->e_busy);
}

static void
end_gone(void *arg)
{
	struct end *e = arg;

	e->e_gone++;
	cable_free(e->e_cable);
	e->e_cable = NULL;
	loop_stop(e->e_loop);
}

static const struct cable_ops ops = { end_frame, end_ready, end_gone };

static void
stop(void *arg)
{
	loop_stop(arg);
}

/* Runs for a moment, or until something stops it. */
static void
run_for(struct loop *loop, unsigned ms)
{
	struct loop_timer *t = loop_timer_new(loop, stop, loop);

	loop_timer_set(t, loop_now() + ms * 1000000ull);
	assert_int_equal(loop_run(loop), 0);
	loop_timer_free(t);
}

static void
ends(struct loop *loop, struct end e[2])
{
	int fd[2], i;

	memset(e, 0, 2 * sizeof(*e));
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
	    fd), 0);
	for (i = 0; i < 2; i++) {
		e[i].e_loop = loop;
		e[i].e_cable = cable_new(loop, fd[i], &ops, &e[i]);
		assert_non_null(e[i].e_cable);
	}
}

static void
test_cable(void **state)
{
	static uint8_t data[NETWORK_FRAME_MAX];
	struct loop *loop = loop_new();
	struct end e[2];
	uint32_t n;

	(void)state;
	ends(loop, e);
	for (n = 0; n < 100; n++) {
		memcpy(data, &n, sizeof(n));
		cable_send(e[0].e_cable, NULL, data, n == 50 ?
		    NETWORK_FRAME_MAX : NETWORK_FRAME_MIN + n);
	}
	e[1].e_stop_at = 100;
	run_for(loop, 20000);
	assert_int_equal(e[1].e_frames, 100);
	assert_int_equal(e[1].e_bytes, 100 * NETWORK_FRAME_MIN + 99 * 50 -
	    50 + NETWORK_FRAME_MAX - NETWORK_FRAME_MIN);

	/* it has no room: nothing is lost that fits, nothing spins */
	e[1].e_busy = true;
	e[1].e_frames = 0;
	for (n = 1000; n < 1100; n++) {
		memcpy(data, &n, sizeof(n));
		cable_send(e[0].e_cable, NULL, data, 1514);
	}
	run_for(loop, 50);
	assert_int_equal(e[1].e_frames, 0);
	e[1].e_busy = false;
	e[1].e_stop_at = 100;
	cable_go_on(e[1].e_cable);
	run_for(loop, 20000);
	assert_int_equal(e[1].e_frames, 100);

	/* freed while it is being read */
	e[1].e_free = true;
	e[1].e_frames = 0;
	for (n = 2000; n < 2005; n++) {
		memcpy(data, &n, sizeof(n));
		cable_send(e[0].e_cable, NULL, data, 60);
	}
	run_for(loop, 20000);
	assert_int_equal(e[1].e_frames, 1);
	assert_int_equal(e[0].e_gone, 1);
	assert_null(e[0].e_cable);
	loop_free(loop);
}

/* Nobody reads: the newest are lost, what is kept has a bound. */
static void
test_unread(void **state)
{
	static uint8_t data[9014];
	struct loop *loop = loop_new();
	struct end e[2];
	uint32_t n;

	(void)state;
	ends(loop, e);
	e[1].e_busy = true;
	for (n = 0; n < 100000; n++) {
		memcpy(data, &n, sizeof(n));
		cable_send(e[0].e_cable, NULL, data, sizeof(data));
	}
	e[1].e_busy = false;
	run_for(loop, 200);
	assert_true(e[1].e_frames >= CABLE_BYTES / sizeof(data) - 1);
	assert_true(e[1].e_frames < 5000);
	assert_int_equal(e[1].e_last, e[1].e_frames - 1);
	/* and it goes on */
	n = 200000;
	memcpy(data, &n, sizeof(n));
	e[1].e_stop_at = e[1].e_frames + 1;
	cable_send(e[0].e_cable, NULL, data, 60);
	run_for(loop, 20000);
	assert_int_equal(e[1].e_last, 200000);
	cable_free(e[0].e_cable);
	run_for(loop, 20000);
	assert_int_equal(e[1].e_gone, 1);
	loop_free(loop);
}

/* Packets that are no frames. */
static void
test_no_frames(void **state)
{
	static uint8_t data[NETWORK_FRAME_MAX + 1000];
	struct loop *loop = loop_new();
	struct end e = { .e_loop = loop, .e_stop_at = 1 };
	int fd[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fd), 0);
	e.e_cable = cable_new(loop, fd[0], &ops, &e);
	assert_int_equal(send(fd[1], data, 9, 0), 9);
	assert_int_equal(send(fd[1], data, 23, 0), 23);
	assert_int_equal(send(fd[1], data, sizeof(data), 0), sizeof(data));
	assert_int_equal(send(fd[1], data, 24, 0), 24);
	run_for(loop, 20000);
	assert_int_equal(e.e_frames, 1);
	assert_int_equal(e.e_bytes, 14);
	close(fd[1]);
	run_for(loop, 20000);
	assert_int_equal(e.e_gone, 1);
	loop_free(loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_learning),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_cable),
		cmocka_unit_test(test_unread),
		cmocka_unit_test(test_no_frames),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
