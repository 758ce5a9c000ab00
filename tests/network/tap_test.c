/*
 * Taps, in a network namespace of this process's own: made, taken and put in
 * their place; and one as a network: what the guest sends comes out of the
 * host's interface, what the host sends reaches the guest, whole, when it has
 * room for it, and its end is noticed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>

#include "base/log.h"
#include "network/hostlink.h"
#include "network/hosttap.h"
#include "network/network.h"

#define TYPE	0x88b5		/* for experiments: nobody else's frames */
#define SKIP()	do { if (*state == NULL) skip(); } while (0)

static const uint8_t guest_mac[6] = { 0xfe, 0xe1, 0xbb, 0xd1, 0, 1 };

/* Runs a command of the shell, which must succeed. */
static void
sh(const char *command)
{
	int status = system(command);

	if (status != 0)
		fail_msg("%s: status %d", command, status);
}

/* Taps need rights that a test may not have; then *state stays NULL. */
static int
setup(void **state)
{
	static int here;
	int fd;

	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
	if (unshare(CLONE_NEWNET) == -1) {
		print_message("tap_test: no network of our own: %s\n",
		    strerror(errno));
		return (0);
	}
	if ((fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC)) == -1) {
		print_message("tap_test: /dev/net/tun: %s\n",
		    strerror(errno));
		return (0);
	}
	close(fd);
	*state = &here;
	return (0);
}

static struct hostlink
link_of(const char *name)
{
	struct hostlink hl;
	int fd = hostlink_open();

	assert_int_not_equal(fd, -1);
	if (hostlink_get(fd, name, &hl) == -1) {
		assert_int_equal(errno, ENODEV);
		memset(&hl, 0, sizeof(hl));
	}
	close(fd);
	return (hl);
}

static void
refused(const struct hosttap *ht, const char *why)
{
	struct hosttap_opened ho;
	struct err err = { "" };

	assert_int_equal(hosttap_open(ht, &ho, &err), -1);
	assert_string_equal(ho.ho_name, "");
	if (strstr(err.e_text, why) == NULL)
		fail_msg("\"%s\" is not like \"%s\"", err.e_text, why);
}

/* --- taps among the host's interfaces --------------------------------------------- */

static void
test_made(void **state)
{
	const struct hosttap any = { .ht_alias = "of a test" };
	const struct hosttap down = { .ht_name = "tap5", .ht_down = true };
	struct hosttap_opened a, b;
	struct hostlink hl;
	struct err err;
	int fd[2];

	SKIP();
	assert_int_not_equal(fd[0] = hosttap_open(&any, &a, &err), -1);
	assert_string_equal(a.ho_name, "tap0");
	assert_int_equal(a.ho_mtu, 1500);
	assert_int_not_equal(fcntl(fd[0], F_GETFL) & O_NONBLOCK, 0);
	assert_int_not_equal(fcntl(fd[0], F_GETFD) & FD_CLOEXEC, 0);
	hl = link_of("tap0");
	assert_int_not_equal(hl.hl_flags & IFF_UP, 0);
	assert_int_equal(hl.hl_mac[0], 0xfe);
	sh("ip link show tap0 | grep -q 'alias of a test'");
	assert_int_not_equal(fd[1] = hosttap_open(&down, &b, &err), -1);
	assert_string_equal(b.ho_name, "tap5");
	assert_int_equal(link_of("tap5").hl_flags & IFF_UP, 0);

	refused(&down, "tap5 is in use");
	close(fd[0]);
	close(fd[1]);
	assert_int_equal(link_of("tap0").hl_index, 0);
	assert_int_equal(link_of("tap5").hl_index, 0);
}

static void
test_names(void **state)
{
	static const char *const bad[] = { "", "a/b", "tap%d", "a b",
	    "averylonginterfacename" };
	struct hosttap ht = { .ht_name = NULL };
	size_t i;

	SKIP();
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ht.ht_name = bad[i];
		refused(&ht, "no name of a tap");
	}
	/* interfaces of other kinds are left alone */
	ht.ht_name = "lo";
	refused(&ht, "lo is no tap");
	sh("ip tuntap add tun3 mode tun");
	ht.ht_name = "tun3";
	refused(&ht, "tun3 is no tap");
	sh("ip link del tun3");
}

static void
test_bridge(void **state)
{
	struct hosttap ht = { .ht_bridge = "br0" };
	struct hosttap_opened ho;
	struct hostlink hl;
	struct err err;
	int fd;

	SKIP();
	refused(&ht, "no bridge br0; make it: \"ip link add br0");
	ht.ht_bridge = "lo";
	refused(&ht, "lo is no bridge");
	ht.ht_bridge = "br0";
	sh("ip link add br0 type bridge && ip link set br0 mtu 9000");
	assert_int_not_equal(fd = hosttap_open(&ht, &ho, &err), -1);
	hl = link_of(ho.ho_name);
	assert_int_equal(hl.hl_master, link_of("br0").hl_index);
	assert_int_equal(hl.hl_mtu, 9000);
	assert_int_equal(ho.ho_mtu, 9000);
	assert_int_equal(link_of("br0").hl_mtu, 9000);
	assert_int_not_equal(link_of("br0").hl_flags & IFF_UP, 0);
	close(fd);
	sh("test -z \"$(ip link show master br0)\"; ip link del br0");
}

/* One that exists is taken as it is, made what is wanted, and stays. */
static void
test_taken(void **state)
{
	const struct hosttap ht = { .ht_name = "tap8", .ht_alias = "ours" };
	struct hosttap_opened ho;
	struct hostlink before;
	struct err err;
	int fd;

	SKIP();
	sh("ip tuntap add tap8 mode tap user 0 && ip link set tap8 mtu 4000 "
	    "alias theirs");
	before = link_of("tap8");
	assert_int_not_equal(fd = hosttap_open(&ht, &ho, &err), -1);
	assert_int_equal(ho.ho_mtu, 4000);
	assert_memory_equal(link_of("tap8").hl_mac, before.hl_mac, 6);
	assert_int_not_equal(link_of("tap8").hl_flags & IFF_UP, 0);
	sh("ip link show tap8 | grep -q 'alias theirs'");
	close(fd);
	assert_int_equal(link_of("tap8").hl_index, before.hl_index);
	sh("ip link del tap8");
}

static void
test_group(void **state)
{
	struct hosttap ht = { .ht_group = "no such group" };
	struct hosttap_opened ho;
	struct err err = { "" };
	unsigned n = 1;
	int fd;

	SKIP();
	refused(&ht, "/etc/iproute2/group");
	if (hostlink_group("default", &n, &err) == -1)
		skip();		/* the host has no names of groups */
	assert_int_equal(n, 0);
	ht.ht_group = "default";
	assert_int_not_equal(fd = hosttap_open(&ht, &ho, &err), -1);
	close(fd);
}

/* --- one as a network ------------------------------------------------------------------ */

/* A card and the host at both ends of a tap. */
struct ends {
	struct loop	*e_loop;
	struct network	*e_network;
	int		 e_host;	/* a socket at the host's end */
	bool		 e_room;
	unsigned	 e_turns, e_got;
	size_t		 e_len;
	uint8_t		 e_frame[NETWORK_FRAME_MAX];
};

static bool
ends_receive(void *arg, const struct network_header *nh, const void *frame,
    size_t len)
{
	struct ends *e = arg;
	const uint8_t *f = frame;

	(void)nh;
	assert_true(e->e_room);
	if (f[12] << 8 != (TYPE & 0xff00) || f[13] != (TYPE & 0xff))
		return (true);	/* the host's own */
	e->e_got++;
	e->e_len = len;
	memcpy(e->e_frame, frame, len);
	return (true);
}

static bool
ends_ready(void *arg)
{
	return (((struct ends *)arg)->e_room);
}

static void
ends_open(struct ends *e, const uint8_t *locked)
{
	const struct network_port port = { .np_receive = ends_receive,
		.np_ready = ends_ready, .np_arg = e };
	const struct hosttap ht = { .ht_name = "tap1" };
	struct sockaddr_ll sll = { .sll_family = AF_PACKET,
		.sll_protocol = htons(TYPE) };
	struct hosttap_opened ho;
	struct err err = { "" };
	int fd;

	memset(e, 0, sizeof(*e));
	e->e_room = true;
	assert_non_null(e->e_loop = loop_new());
	fd = hosttap_open(&ht, &ho, &err);
	if (fd == -1)
		fail_msg("%s", err.e_text);
	assert_int_equal(network_tap_open(&e->e_network, e->e_loop, &port, fd,
	    locked, &err), 0);
	close(fd);
	e->e_host = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC,
	    htons(TYPE));
	assert_int_not_equal(e->e_host, -1);
	sll.sll_ifindex = link_of("tap1").hl_index;
	assert_int_equal(bind(e->e_host, (struct sockaddr *)&sll,
	    sizeof(sll)), 0);
}

static void
ends_close(struct ends *e)
{
	network_close(e->e_network);
	loop_free(e->e_loop);
	close(e->e_host);
	assert_int_equal(link_of("tap1").hl_index, 0);
}

/* The loop runs for a while. */
static void
turn(struct ends *e)
{
	struct loop_timer *t = loop_timer_new(e->e_loop,
	    (void (*)(void *))loop_stop, e->e_loop);

	assert_true(e->e_turns++ < 1000);
	loop_timer_set(t, loop_now() + 20000000);
	assert_int_equal(loop_run(e->e_loop), 0);
	loop_timer_free(t);
}

static void
fill(uint8_t *f, size_t len, const uint8_t from[6])
{
	size_t i;

	memset(f, 0xff, 6);
	memcpy(f + 6, from, 6);
	f[12] = TYPE >> 8;
	f[13] = TYPE & 0xff;
	for (i = 14; i < len; i++)
		f[i] = (uint8_t)(i * 7);
}

/* What has come to the host; 0: nothing. */
static size_t
host_got(struct ends *e, uint8_t *f, size_t size)
{
	struct pollfd pfd = { .fd = e->e_host, .events = POLLIN };
	ssize_t n;

	(void)poll(&pfd, 1, 20);
	n = recv(e->e_host, f, size, 0);
	return (n == -1 ? 0 : (size_t)n);
}

static void
test_frames(void **state)
{
	static const size_t sizes[] = { 60, 1000, 1514 };
	uint8_t f[2000], got[2000];
	struct ends e;
	size_t i;

	SKIP();
	ends_open(&e, NULL);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		fill(f, sizes[i], guest_mac);
		network_send(e.e_network, NULL, f, sizes[i]);
		assert_int_equal(host_got(&e, got, sizeof(got)), sizes[i]);
		assert_memory_equal(got, f, sizes[i]);
		f[6] ^= 2;
		assert_int_equal(send(e.e_host, f, sizes[i], 0), sizes[i]);
		e.e_got = 0;
		while (e.e_got == 0)
			turn(&e);
		assert_int_equal(e.e_len, sizes[i]);
		assert_memory_equal(e.e_frame, f, sizes[i]);
	}
	ends_close(&e);
}

static void
test_room(void **state)
{
	uint8_t f[100];
	struct ends e;
	unsigned i;

	SKIP();
	ends_open(&e, NULL);
	fill(f, sizeof(f), guest_mac);
	turn(&e);
	e.e_room = false;
	for (i = 0; i < 5; i++)
		assert_int_equal(send(e.e_host, f, sizeof(f), 0), sizeof(f));
	turn(&e);
	assert_int_equal(e.e_got, 0);
	e.e_room = true;
	network_poke(e.e_network);
	while (e.e_got < 5)
		turn(&e);
	assert_int_equal(e.e_got, 5);
	ends_close(&e);
}

static void
test_locked(void **state)
{
	uint8_t f[100], got[200];
	struct ends e;

	SKIP();
	ends_open(&e, guest_mac);
	fill(f, sizeof(f), guest_mac);
	f[11]++;
	network_send(e.e_network, NULL, f, sizeof(f));
	assert_int_equal(host_got(&e, got, sizeof(got)), 0);
	f[11]--;
	network_send(e.e_network, NULL, f, sizeof(f));
	assert_int_equal(host_got(&e, got, sizeof(got)), sizeof(f));
	ends_close(&e);
}

static unsigned lines;

static void
count(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	assert_non_null(strstr(line, "tap of an interface is gone"));
	lines++;
}

static void
test_gone(void **state)
{
	uint8_t f[100];
	struct ends e;

	SKIP();
	ends_open(&e, NULL);
	fill(f, sizeof(f), guest_mac);
	log_set_sink(count, NULL);
	sh("ip link del tap1");
	while (lines == 0)
		turn(&e);
	/* said once, and nothing is left to wait for */
	network_send(e.e_network, NULL, f, sizeof(f));
	network_poke(e.e_network);
	turn(&e);
	log_set_sink(NULL, NULL);
	assert_int_equal(lines, 1);
	ends_close(&e);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_made),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_bridge),
		cmocka_unit_test(test_taken),
		cmocka_unit_test(test_group),
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_locked),
		cmocka_unit_test(test_gone)
	};

	return (cmocka_run_group_tests(tests, setup, NULL));
}
