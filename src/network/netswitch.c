/*
 * A learning Ethernet switch; see netswitch.h.
 *
 * 1. An address is in the hash table while it is in its port's list, which is
 *    sorted by when it was seen, the last one first.
 * 2. Both have room for all that ports may have: nothing is allocated for a
 *    frame.
 */
#include "network/netswitch.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "network/offload.h"

#define VLAN_TAG	4
#define BUCKETS		1024		/* a power of two */

struct address {
	uint8_t		 a_mac[6];
	uint64_t	 a_seen;
	struct netswitch_port *a_port;	/* NULL: free */
	struct address	*a_hash;	/* next in the bucket */
	struct address	*a_newer, *a_older;	/* in the port's list */
};

struct netswitch_port {
	struct netswitch *np_switch;
	struct netswitch_config np_config;
	struct netswitch_counts np_counts;
	struct address	 np_address[NETSWITCH_ADDRESSES];
	struct address	*np_newest, *np_oldest;
	struct netswitch_port *np_next;
};

struct netswitch {
	struct netswitch_port *ns_ports;
	struct address	*ns_bucket[BUCKETS];
	uint64_t	 ns_key;	/* nobody chooses who shares a bucket */
};

/* --- addresses ------------------------------------------------------------------ */

static size_t
bucket(const struct netswitch *ns, const uint8_t mac[6])
{
	uint64_t h = 0;

	memcpy(&h, mac, 6);
	h = (h ^ ns->ns_key) * 0x9e3779b97f4a7c15ull;
	h ^= h >> 32;
	return ((size_t)((h * 0xd6e8feb86659fd93ull) >> 48) % BUCKETS);
}

static struct address *
lookup(const struct netswitch *ns, const uint8_t mac[6])
{
	struct address *a;

	for (a = ns->ns_bucket[bucket(ns, mac)]; a != NULL; a = a->a_hash)
		if (memcmp(a->a_mac, mac, 6) == 0)
			return (a);
	return (NULL);
}

static void
list_remove(struct address *a)
{
	struct netswitch_port *np = a->a_port;

	if (a->a_newer != NULL)
		a->a_newer->a_older = a->a_older;
	else
		np->np_newest = a->a_older;
	if (a->a_older != NULL)
		a->a_older->a_newer = a->a_newer;
	else
		np->np_oldest = a->a_newer;
}

static void
list_front(struct netswitch_port *np, struct address *a)
{
	a->a_newer = NULL;
	a->a_older = np->np_newest;
	if (np->np_newest != NULL)
		np->np_newest->a_newer = a;
	else
		np->np_oldest = a;
	np->np_newest = a;
}

static void
forget(struct address *a)
{
	struct netswitch *ns = a->a_port->np_switch;
	struct address **p;

	for (p = &ns->ns_bucket[bucket(ns, a->a_mac)]; *p != a;
	    p = &(*p)->a_hash)
		assert(*p != NULL);
	*p = a->a_hash;
	list_remove(a);
	a->a_port = NULL;
}

/* A free place of a port, its oldest one's if there is none. */
static struct address *
place(struct netswitch_port *np)
{
	size_t i;

	for (i = 0; i < NETSWITCH_ADDRESSES; i++)
		if (np->np_address[i].a_port == NULL)
			return (&np->np_address[i]);
	i = (size_t)(np->np_oldest - np->np_address);
	forget(&np->np_address[i]);
	return (&np->np_address[i]);
}

/* A frame came from this address at the port; false: it may not. */
static bool
learn(struct netswitch_port *np, const uint8_t mac[6], uint64_t now)
{
	struct netswitch *ns = np->np_switch;
	struct address *a;
	size_t b;

	/* a group sends nothing */
	if ((mac[0] & 1) != 0)
		return (false);
	if (np->np_config.nc_locked &&
	    memcmp(mac, np->np_config.nc_mac, 6) != 0)
		return (false);
	if ((a = lookup(ns, mac)) != NULL && a->a_port != np) {
		if (a->a_port->np_config.nc_locked)
			return (false);
		forget(a);
		a = NULL;
	}
	if (a != NULL) {
		a->a_seen = now;
		if (np->np_newest != a) {
			list_remove(a);
			list_front(np, a);
		}
		return (true);
	}
	a = place(np);
	memcpy(a->a_mac, mac, 6);
	a->a_seen = now;
	a->a_port = np;
	b = bucket(ns, mac);
	a->a_hash = ns->ns_bucket[b];
	ns->ns_bucket[b] = a;
	list_front(np, a);
	return (true);
}

/* Where an address is; NULL: nobody knows. */
static struct netswitch_port *
find(struct netswitch *ns, const uint8_t mac[6], uint64_t now)
{
	struct address *a;

	if ((mac[0] & 1) != 0 || (a = lookup(ns, mac)) == NULL)
		return (NULL);
	if (!a->a_port->np_config.nc_locked &&
	    now - a->a_seen > NETSWITCH_AGE) {
		forget(a);
		return (NULL);
	}
	return (a->a_port);
}

/* --- frames -------------------------------------------------------------------------- */

static bool
is_tagged(const uint8_t *frame)
{
	return (frame[12] == 0x81 && frame[13] == 0);
}

static void
port_send(struct netswitch_port *np, const struct network_header *nh,
    const void *frame, size_t len)
{
	size_t most = np->np_config.nc_mtu + NETWORK_FRAME_MIN;

	if (len > most && is_tagged(frame))
		most += VLAN_TAG;
	if (len > most && offload_wire_size(nh, frame, len) > most) {
		np->np_counts.nn_large++;
		return;
	}
	np->np_counts.nn_out++;
	np->np_config.nc_send(np->np_config.nc_arg, nh, frame, len);
}

void
netswitch_frame(struct netswitch_port *np, const struct network_header *nh,
    const void *frame, size_t len, uint64_t now)
{
	const uint8_t *to = frame;
	struct netswitch_port *p;

	if (len < NETWORK_FRAME_MIN)
		return;
	np->np_counts.nn_in++;
	if (!learn(np, to + 6, now)) {
		np->np_counts.nn_spoofed++;
		return;
	}
	p = find(np->np_switch, to, now);
	if (p == np)
		return;
	if (p != NULL) {
		port_send(p, nh, frame, len);
		return;
	}
	for (p = np->np_switch->ns_ports; p != NULL; p = p->np_next)
		if (p != np)
			port_send(p, nh, frame, len);
}

/* --- life ------------------------------------------------------------------------------ */

struct netswitch *
netswitch_new(void)
{
	struct netswitch *ns = calloc(1, sizeof(*ns));

	if (ns != NULL && getrandom(&ns->ns_key, sizeof(ns->ns_key),
	    GRND_NONBLOCK) != sizeof(ns->ns_key))
		ns->ns_key = (uint64_t)(uintptr_t)ns;
	return (ns);
}

void
netswitch_free(struct netswitch *ns)
{
	if (ns == NULL)
		return;
	assert(ns->ns_ports == NULL);
	free(ns);
}

struct netswitch_port *
netswitch_port_new(struct netswitch *ns, const struct netswitch_config *nc)
{
	struct netswitch_port *np;

	if ((np = calloc(1, sizeof(*np))) == NULL)
		return (NULL);
	np->np_switch = ns;
	np->np_config = *nc;
	/* a locked one is known from the start */
	if (nc->nc_locked && !learn(np, nc->nc_mac, 0)) {
		free(np);
		errno = EEXIST;
		return (NULL);
	}
	np->np_next = ns->ns_ports;
	ns->ns_ports = np;
	return (np);
}

void
netswitch_port_free(struct netswitch_port *np)
{
	struct netswitch_port **p;

	if (np == NULL)
		return;
	while (np->np_newest != NULL)
		forget(np->np_newest);
	for (p = &np->np_switch->ns_ports; *p != np; p = &(*p)->np_next)
		assert(*p != NULL);
	*p = np->np_next;
	free(np);
}

const struct netswitch_counts *
netswitch_counts(const struct netswitch_port *np)
{
	return (&np->np_counts);
}

size_t
netswitch_addresses(const struct netswitch_port *np, uint8_t (*mac)[6],
    size_t max, uint64_t now)
{
	const struct address *a;
	size_t n = 0;

	for (a = np->np_newest; a != NULL && n < max; a = a->a_older)
		if (np->np_config.nc_locked || now - a->a_seen <=
		    NETSWITCH_AGE)
			memcpy(mac[n++], a->a_mac, 6);
	return (n);
}
