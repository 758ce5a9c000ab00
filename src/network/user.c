/*
 * User-mode NAT: libslirp is the gateway, DHCP and DNS server of a network of
 * one guest, and turns its connections into sockets of this process. No
 * privilege is needed.
 *
 *	10.0.2.0/24	the network
 *	10.0.2.2	gateway, TFTP, and the host's own loopback
 *	10.0.2.3	DNS, which asks the host's first name server
 *	10.0.2.15	the guest, by DHCP and for forwarded ports
 *
 * libslirp is made for a poll(2) loop: before sleeping it names the sockets
 * that matter and how long it may sleep, after it asks what has happened. Here
 * the sockets are watched by the loop, and each of its events is a sleep's end:
 *
 * 1. After anything has been told to libslirp (an event, a frame, a timer),
 *    user_arm() asks it anew: at once, or for frames by u_arm, once a burst.
 * 2. u_socket[fd] is the watch of a socket. It ends in unregister_poll_fd(),
 *    before libslirp closes the socket: a number may come back as another.
 * 3. u_held are frames that the device had no room for, at most USER_HELD_MAX
 *    and USER_HELD_BYTES. While there are any, all others queue behind them.
 * 4. To libslirp the network has a larger MTU than to the guest: its TCP
 *    packets are cut by whoever takes them (large.h), others become fragments
 *    here.
 *
 * Threads: the loop's only.
 */
#include <sys/epoll.h>

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <slirp/libslirp.h>

#include "base/log.h"
#include "network/backend.h"
#include "network/fragment.h"
#include "network/large.h"
#include "network/offload.h"

#define USER_HELD_MAX	1024
#define USER_HELD_BYTES	(4u << 20)
#define USER_LARGE	32000	/* bytes in a segment, about: half a window */
#define USER_IPV4_MIN	34	/* Ethernet's header and IP's */
#define USER_TYPE_IPV4	0x0800
#define USER_TYPE_ARP	0x0806
#define NS_PER_MS	1000000ULL

struct user;

struct user_socket {
	struct user	*us_user;
	struct loop_fd	*us_watch;	/* NULL: not watched */
	int		 us_events;	/* SLIRP_POLL_* that have happened */
	unsigned	 us_round;	/* u_round when last asked for */
};

struct user_timer {
	struct user	*ut_user;
	struct loop_timer *ut_timer;
	SlirpTimerId	 ut_id;
	void		*ut_arg;
};

struct user_frame {
	struct user_frame *uf_next;
	struct network_header uf_header;
	size_t		 uf_len;
	uint8_t		 uf_data[];
};

struct user {
	struct network	 u_network;	/* first: see backend.h */
	struct loop	*u_loop;
	struct in_addr	 u_guest;	/* whom forwarded ports lead to */
	Slirp		*u_slirp;
	struct fragments *u_fragments;
	struct user_socket **u_socket;	/* by descriptor */
	int		 u_nsockets;
	unsigned	 u_round;
	struct loop_timer *u_sleep;	/* libslirp's sleep ends */
	struct loop_timer *u_arm;
	struct user_frame *u_held, **u_held_tail;
	unsigned	 u_nheld;
	size_t		 u_held_bytes;
	unsigned	 u_usual, u_large;	/* bytes in a segment of TCP */
	uint8_t		 u_work[NETWORK_FRAME_MAX];	/* of the guest */
	uint8_t		 u_out[NETWORK_FRAME_MAX];	/* for it */
};

/* --- frames to the device ------------------------------------------------- */

static bool
user_deliver(struct user *u, const struct network_header *nh,
    const void *frame, size_t len)
{
	const struct network_port *port = &u->u_network.nw_port;

	return (port->np_ready(port->np_arg) &&
	    port->np_receive(port->np_arg, nh, frame, len));
}

/* What does not fit is lost, as on any Ethernet. */
static void
user_output(struct user *u, const struct network_header *nh,
    const void *frame, size_t len)
{
	struct user_frame *f;

	if (u->u_held == NULL && user_deliver(u, nh, frame, len))
		return;
	if (u->u_nheld >= USER_HELD_MAX ||
	    u->u_held_bytes + len > USER_HELD_BYTES ||
	    (f = malloc(sizeof(*f) + len)) == NULL)
		return;
	f->uf_next = NULL;
	f->uf_header = *nh;
	f->uf_len = len;
	memcpy(f->uf_data, frame, len);
	*u->u_held_tail = f;
	u->u_held_tail = &f->uf_next;
	u->u_nheld++;
	u->u_held_bytes += len;
}

/* A packet that is larger than the guest's MTU. */
static void
user_output_large(struct user *u, const void *frame, size_t len)
{
	const struct network_header none = { 0 };
	struct network_header nh;
	struct fragment_cut cut;
	size_t n;

	if (len > sizeof(u->u_out))
		return;
	memcpy(u->u_out, frame, len);
	if (large_header(&nh, u->u_out, len, u->u_usual)) {
		user_output(u, &nh, u->u_out, len);
		return;
	}
	if (!fragment_cut(&cut, frame, len, u->u_network.nw_port.np_mtu))
		return;
	while ((n = fragment_next(&cut, u->u_out)) != 0)
		user_output(u, &none, u->u_out, n);
}

static ssize_t
user_send_packet(const void *buf, size_t len, void *arg)
{
	/* libslirp has just made it */
	const struct network_header valid = { .nh_flags = NETWORK_DATA_VALID };
	struct user *u = arg;

	if (len > NETWORK_FRAME_MIN + u->u_network.nw_port.np_mtu)
		user_output_large(u, buf, len);
	else
		user_output(u, &valid, buf, len);
	return ((ssize_t)len);	/* there is no error to report */
}

static void
user_drop_first(struct user *u)
{
	struct user_frame *f = u->u_held;

	if ((u->u_held = f->uf_next) == NULL)
		u->u_held_tail = &u->u_held;
	u->u_nheld--;
	u->u_held_bytes -= f->uf_len;
	free(f);
}

static void
user_poke(struct network *network)
{
	struct user *u = (struct user *)network;
	const struct network_port *port = &network->nw_port;

	while (u->u_held != NULL && port->np_ready(port->np_arg)) {
		/* With room and yet refused, it will never be taken. */
		port->np_receive(port->np_arg, &u->u_held->uf_header,
		    u->u_held->uf_data, u->u_held->uf_len);
		user_drop_first(u);
	}
}

/* --- sockets and sleep ---------------------------------------------------- */

/* libslirp's events are epoll's under other names. */
static const struct {
	int	 slirp;
	uint32_t epoll;
} user_events[] = {
	{ SLIRP_POLL_IN,	EPOLLIN },
	{ SLIRP_POLL_OUT,	EPOLLOUT },
	{ SLIRP_POLL_PRI,	EPOLLPRI },
	{ SLIRP_POLL_ERR,	EPOLLERR },
	{ SLIRP_POLL_HUP,	EPOLLHUP },
};
#define USER_NEVENTS	(sizeof(user_events) / sizeof(user_events[0]))

static void	user_arm(struct user *);

/* What the sockets had to say, and time that has passed, goes to libslirp. */
static int
user_get_events(int fd, void *arg)
{
	struct user *u = arg;

	return (fd >= 0 && fd < u->u_nsockets && u->u_socket[fd] != NULL ?
	    u->u_socket[fd]->us_events : 0);
}

static void
user_run(void *arg)
{
	struct user *u = arg;

	slirp_pollfds_poll(u->u_slirp, 0, user_get_events, u);
	user_arm(u);
}

static void
user_socket_ready(void *arg, uint32_t events)
{
	struct user_socket *us = arg;
	struct user *u = us->us_user;
	size_t i;

	for (i = 0; i < USER_NEVENTS; i++)
		if (events & user_events[i].epoll)
			us->us_events |= user_events[i].slirp;
	user_run(u);
	us->us_events = 0;
}

static struct user_socket *
user_socket_get(struct user *u, int fd)
{
	struct user_socket **grown;
	int n;

	if (fd >= u->u_nsockets) {
		n = fd + 16;
		grown = reallocarray(u->u_socket, (size_t)n, sizeof(*grown));
		if (grown == NULL)
			return (NULL);
		memset(grown + u->u_nsockets, 0,
		    (size_t)(n - u->u_nsockets) * sizeof(*grown));
		u->u_socket = grown;
		u->u_nsockets = n;
	}
	if (u->u_socket[fd] == NULL &&
	    (u->u_socket[fd] = calloc(1, sizeof(struct user_socket))) != NULL)
		u->u_socket[fd]->us_user = u;
	return (u->u_socket[fd]);
}

/* libslirp asks to be told of a socket's events; it is known by its number. */
static int
user_add_poll(int fd, int wanted, void *arg)
{
	struct user *u = arg;
	struct user_socket *us;
	uint32_t events = 0;
	size_t i;

	if (fd < 0 || (us = user_socket_get(u, fd)) == NULL)
		return (-1);
	for (i = 0; i < USER_NEVENTS; i++)
		if (wanted & user_events[i].slirp)
			events |= user_events[i].epoll;
	us->us_round = u->u_round;
	if (us->us_watch == NULL)
		us->us_watch = loop_fd_new(u->u_loop, fd, events,
		    user_socket_ready, us);
	else
		loop_fd_events(us->us_watch, events);
	return (fd);
}

static void
user_arm(struct user *u)
{
	uint32_t timeout = UINT32_MAX;
	struct user_socket *us;
	int fd;

	u->u_round++;
	slirp_pollfds_fill(u->u_slirp, &timeout, user_add_poll, u);
	for (fd = 0; fd < u->u_nsockets; fd++) {
		us = u->u_socket[fd];
		if (us != NULL && us->us_watch != NULL &&
		    us->us_round != u->u_round)
			loop_fd_events(us->us_watch, 0);
	}
	loop_timer_set(u->u_sleep, timeout == UINT32_MAX ? LOOP_NEVER :
	    loop_now() + timeout * NS_PER_MS);
}

static void
user_arm_later(void *arg)
{
	user_arm(arg);
}

static void
user_notify(void *arg)
{
	struct user *u = arg;

	loop_timer_set(u->u_arm, 0);
}

static void
user_register(int fd, void *arg)
{
	/* The next user_arm() finds it. */
	(void)fd;
	(void)arg;
}

static void
user_unregister(int fd, void *arg)
{
	struct user *u = arg;

	if (fd < 0 || fd >= u->u_nsockets || u->u_socket[fd] == NULL)
		return;
	loop_fd_free(u->u_socket[fd]->us_watch);
	u->u_socket[fd]->us_watch = NULL;
	u->u_socket[fd]->us_events = 0;
}

/* --- time, complaints ----------------------------------------------------- */

static int64_t
user_clock(void *arg)
{
	(void)arg;
	return ((int64_t)loop_now());
}

static void
user_timer_fire(void *arg)
{
	struct user_timer *ut = arg;

	slirp_handle_timer(ut->ut_user->u_slirp, ut->ut_id, ut->ut_arg);
	user_arm(ut->ut_user);
}

static void *
user_timer_new(SlirpTimerId id, void *timer_arg, void *arg)
{
	struct user *u = arg;
	struct user_timer *ut;

	if ((ut = calloc(1, sizeof(*ut))) == NULL)
		return (NULL);
	ut->ut_user = u;
	ut->ut_id = id;
	ut->ut_arg = timer_arg;
	ut->ut_timer = loop_timer_new(u->u_loop, user_timer_fire, ut);
	if (ut->ut_timer == NULL) {
		free(ut);
		return (NULL);
	}
	return (ut);
}

static void
user_timer_free(void *timer, void *arg)
{
	struct user_timer *ut = timer;

	(void)arg;
	if (ut == NULL)
		return;
	loop_timer_free(ut->ut_timer);
	free(ut);
}

static void
user_timer_mod(void *timer, int64_t expire_ms, void *arg)
{
	struct user_timer *ut = timer;

	(void)arg;
	if (ut != NULL)
		loop_timer_set(ut->ut_timer, expire_ms < 0 ? 0 :
		    (uint64_t)expire_ms * NS_PER_MS);
}

static void
user_guest_error(const char *message, void *arg)
{
	(void)arg;
	LOG_GUEST("network: %s", message);
}

static const SlirpCb user_callbacks = {
	.send_packet		= user_send_packet,
	.guest_error		= user_guest_error,
	.clock_get_ns		= user_clock,
	.timer_new_opaque	= user_timer_new,
	.timer_free		= user_timer_free,
	.timer_mod		= user_timer_mod,
	.register_poll_fd	= user_register,
	.unregister_poll_fd	= user_unregister,
	.notify			= user_notify,
};

/* --- life ----------------------------------------------------------------- */

static struct in_addr
user_address(uint32_t host_order)
{
	return ((struct in_addr){ .s_addr = htonl(host_order) });
}

#define USER_NET	0x0a000200u	/* 10.0.2.0 */
#define USER_MASK	0xffffff00u
#define USER_GATEWAY	(USER_NET | 2)
#define USER_DNS	(USER_NET | 3)
#define USER_GUEST	(USER_NET | 15)

static int
user_forward(struct user *u, const struct network_forward *nf, struct err *err)
{
	const char *host = nf->nf_host[0] != '\0' ? nf->nf_host : "127.0.0.1";
	const char *proto = nf->nf_udp ? "UDP" : "TCP";
	struct in_addr address;

	if (strnlen(nf->nf_host, sizeof(nf->nf_host)) == sizeof(nf->nf_host) ||
	    inet_pton(AF_INET, host, &address) != 1)
		return (err_set(err, "hostfwd: \"%.47s\" is no IPv4 address: "
		    "write it as 127.0.0.1", host));
	if (slirp_add_hostfwd(u->u_slirp, nf->nf_udp, address,
	    nf->nf_host_port, u->u_guest,
	    nf->nf_guest_port) == 0)
		return (0);
	switch (errno) {
	case EADDRINUSE:
		return (err_set(err, "hostfwd: %s port %u of %s is in use: "
		    "choose another host port", proto, nf->nf_host_port,
		    host));
	case EACCES:
		return (err_set(err, "hostfwd: %s port %u of %s is for root "
		    "only: choose one above 1023", proto, nf->nf_host_port,
		    host));
	case EADDRNOTAVAIL:
		return (err_set(err, "hostfwd: this host has no address %s: "
		    "choose one that it has", host));
	default:
		return (err_sys(err, "hostfwd: %s port %u of %s", proto,
		    nf->nf_host_port, host));
	}
}

static void
user_close(struct network *network)
{
	struct user *u = (struct user *)network;
	int fd;

	/* The watches first, while the sockets are still there. */
	for (fd = 0; fd < u->u_nsockets; fd++)
		user_unregister(fd, u);
	if (u->u_slirp != NULL)
		slirp_cleanup(u->u_slirp);
	for (fd = 0; fd < u->u_nsockets; fd++)
		free(u->u_socket[fd]);
	free(u->u_socket);
	while (u->u_held != NULL)
		user_drop_first(u);
	fragments_free(u->u_fragments);
	loop_timer_free(u->u_sleep);
	loop_timer_free(u->u_arm);
	free(u);
}

/*
 * What of the guest's frames libslirp gets to see: ARP and whole IPv4 packets.
 * Its own reassembly (4.7) follows pointers that fragments have overwritten.
 */
static bool
user_accepts(struct user *u, const uint8_t **frame, size_t *len)
{
	unsigned type = (unsigned)(*frame)[12] << 8 | (*frame)[13];

	if (type == USER_TYPE_ARP)
		return (true);
	if (type != USER_TYPE_IPV4 || *len < USER_IPV4_MIN)
		return (false);
	return (!fragment_is(*frame) || fragments_take(u->u_fragments, *frame,
	    *len, loop_now(), frame, len));
}

static void
user_send(struct network *network, const struct network_header *nh,
    const void *data, size_t len)
{
	struct user *u = (struct user *)network;
	const uint8_t *frame = data;

	/* A large packet is one to libslirp, too: only sums are left to do. */
	if (!offload_none(nh) || large_opens(frame, len)) {
		frame = memcpy(u->u_work, data, len);
		offload_checksum(nh, u->u_work, len);
		if (large_opens(frame, len))
			large_open(u->u_work, len, u->u_usual, u->u_large);
	}
	if (!user_accepts(u, &frame, &len))
		return;
	slirp_input(u->u_slirp, frame, (int)len);
	loop_timer_set(u->u_arm, 0);
}

static const struct network_ops user_ops = {
	.no_name	= "user",
	.no_send	= user_send,
	.no_poke	= user_poke,
	.no_close	= user_close,
};

/* Whole segments of the guest's. */
static unsigned
user_large(unsigned mtu)
{
	const unsigned usual = mtu - LARGE_HEADERS;

	return (usual < USER_LARGE ? USER_LARGE / usual * usual : usual);
}

int
network_user_open(struct network **np, struct loop *loop,
    const struct network_port *port, const struct network_user *nu,
    struct err *err)
{
	const struct network_addresses na = { .na_net = USER_NET,
		.na_mask = USER_MASK, .na_host = USER_GATEWAY,
		.na_guest = USER_GUEST, .na_dns = USER_DNS };

	return (network_user_open_at(np, loop, port, nu, &na, err));
}

int
network_user_open_at(struct network **np, struct loop *loop,
    const struct network_port *port, const struct network_user *nu,
    const struct network_addresses *na, struct err *err)
{
	SlirpConfig config = {
		.version	= 4,
		.in_enabled	= true,
		.vnetwork	= user_address(na->na_net),
		.vnetmask	= user_address(na->na_mask),
		.vhost		= user_address(na->na_host),
		.vdhcp_start	= user_address(na->na_guest),
		.vnameserver	= user_address(na->na_dns),
		.if_mtu		= user_large(port->np_mtu) + LARGE_HEADERS,
		.if_mru		= user_large(port->np_mtu) + LARGE_HEADERS,
		.tftp_path	= nu->nu_tftp,
		.bootfile	= nu->nu_bootfile,
	};
	struct user *u;
	size_t i;

	if ((u = calloc(1, sizeof(*u))) == NULL)
		return (err_sys(err, "network"));
	assert(port->np_mtu >= NETWORK_MTU_MIN);
	u->u_network.nw_ops = &user_ops;
	u->u_network.nw_port = *port;
	u->u_loop = loop;
	u->u_guest = user_address(na->na_guest);
	u->u_held_tail = &u->u_held;
	u->u_usual = port->np_mtu - LARGE_HEADERS;
	u->u_large = user_large(port->np_mtu);
	u->u_sleep = loop_timer_new(loop, user_run, u);
	u->u_arm = loop_timer_new(loop, user_arm_later, u);
	u->u_fragments = fragments_new();
	if (u->u_sleep == NULL || u->u_arm == NULL || u->u_fragments == NULL ||
	    (u->u_slirp = slirp_new(&config, &user_callbacks, u)) == NULL) {
		err_set(err, "network: cannot start user-mode NAT");
		goto fail;
	}
	for (i = 0; i < nu->nu_nforwards; i++)
		if (user_forward(u, &nu->nu_forward[i], err) == -1)
			goto fail;
	user_arm(u);
	*np = &u->u_network;
	return (0);
fail:
	user_close(&u->u_network);
	return (-1);
}
