/*
 * Taps of the host; see hosttap.h.
 */
#include "network/hosttap.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/if_tun.h>

#include "network/hostlink.h"
#include "network/network.h"

#define TUN_PATH	"/dev/net/tun"
#define ANY_NAME	"tap%d"		/* the host puts a number in */

/* One that is being opened. */
struct tap {
	const struct hosttap *t_want;
	struct hostlink	 t_bridge;	/* if one is wanted */
	struct hostlink	 t_link;	/* as it is */
	bool		 t_made;	/* by us */
	char		*t_name;
	int		 t_fd, t_netlink;
};

static const char *
user_name(void)
{
	const struct passwd *pw = getpwuid(geteuid());

	return (pw != NULL ? pw->pw_name : "USER");
}

/* --- the bridge ------------------------------------------------------------------- */

static int
bridge_find(struct tap *t, struct err *err)
{
	const char *name = t->t_want->ht_bridge;

	if (hostlink_get(t->t_netlink, name, &t->t_bridge) == -1) {
		if (errno != ENODEV)
			return (err_sys(err, "bridge %s", name));
		return (err_set(err, "there is no bridge %s; make it: \"ip "
		    "link add %s type bridge\"", name, name));
	}
	if (!t->t_bridge.hl_bridge) {
		errno = EINVAL;
		return (err_set(err, "%s is no bridge; name one, or make one: "
		    "\"ip link add NAME type bridge\"", name));
	}
	return (0);
}

/* Says why the tap cannot be made what is wanted. */
static int
may_not(const struct tap *t, const char *command, struct err *err)
{
	if (errno == EPERM || errno == EACCES)
		return (err_set(err, "%s: only root may change it; have root "
		    "run \"ip link set %s %s\"", t->t_name, t->t_name,
		    command));
	return (err_sys(err, "%s: cannot do \"ip link set %s %s\"", t->t_name,
	    t->t_name, command));
}

static int
set_mtu(struct tap *t, unsigned mtu, struct err *err)
{
	char command[64];

	if (hostlink_set_mtu(t->t_netlink, t->t_link.hl_index, mtu) == -1) {
		snprintf(command, sizeof(command), "mtu %u", mtu);
		return (may_not(t, command, err));
	}
	t->t_link.hl_mtu = mtu;
	return (0);
}

/* What crosses the bridge must fit through the tap: a port that is smaller
 * would drop it, or make the bridge small. */
static int
bridge_join(struct tap *t, struct err *err)
{
	const char *name = t->t_want->ht_bridge;
	char command[64];

	if (t->t_want->ht_mtu == 0 &&
	    t->t_link.hl_mtu < t->t_bridge.hl_mtu &&
	    set_mtu(t, t->t_bridge.hl_mtu, err) == -1)
		return (-1);
	if (t->t_link.hl_master != t->t_bridge.hl_index &&
	    hostlink_set_master(t->t_netlink, t->t_link.hl_index,
	    t->t_bridge.hl_index) == -1) {
		snprintf(command, sizeof(command), "master %s", name);
		return (may_not(t, command, err));
	}
	if (!t->t_want->ht_down && (t->t_bridge.hl_flags & IFF_UP) == 0 &&
	    hostlink_set_up(t->t_netlink, t->t_bridge.hl_index, true) == -1)
		return (err_sys(err, "%s: cannot do \"ip link set %s up\"",
		    t->t_name, name));
	return (0);
}

/* --- the tap ------------------------------------------------------------------------ */

static int
device_open(struct err *err)
{
	int fd = open(TUN_PATH, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd != -1)
		return (fd);
	if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
		err_set(err, "the host has no taps (" TUN_PATH "); load them: "
		    "\"modprobe tun\"");
	else if (errno == EACCES || errno == EPERM)
		err_set(err, TUN_PATH " is root's alone; have root run "
		    "\"chmod 666 " TUN_PATH "\", taps stay protected");
	else
		err_sys(err, "cannot open " TUN_PATH);
	return (-1);
}

/* Why a name was refused. */
static int
refused(const struct tap *t, struct err *err)
{
	const char *name = t->t_want->ht_name, *user;

	switch (errno) {
	case EPERM:
		user = user_name();
		if (name == NULL)
			return (err_set(err, "only root may make a tap; have "
			    "root run \"ip tuntap add tap0 mode tap user %s\", "
			    "and name tap0", user));
		if (t->t_made)
			return (err_set(err, "there is no tap %s; have root "
			    "run \"ip tuntap add %s mode tap user %s\"", name,
			    name, user));
		return (err_set(err, "the tap %s is another user's; have root "
		    "make one by \"ip tuntap add NAME mode tap user %s\"",
		    name, user));
	case EBUSY:
		return (err_set(err, "the tap %s is in use by another VM or "
		    "program; name another", name));
	case EINVAL:
		return (err_set(err, "%s is no tap that could be used; name "
		    "another", name != NULL ? name : ANY_NAME));
	}
	return (err_sys(err, "cannot make a tap"));
}

static int
attach(struct tap *t, struct err *err)
{
	const unsigned long offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 |
	    TUN_F_TSO_ECN;
	const int header = sizeof(struct network_header);
	const char *name = t->t_want->ht_name;
	struct ifreq ifr;

	memset(&ifr, 0, sizeof(ifr));
	ifr.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	if (name == NULL) {
		memcpy(ifr.ifr_name, ANY_NAME, sizeof(ANY_NAME));
		t->t_made = true;
	} else if (strlen(name) >= IFNAMSIZ || name[0] == '\0' ||
	    strpbrk(name, "/:% ") != NULL) {
		errno = EINVAL;
		return (err_set(err, "\"%.64s\" is no name of a tap; write one "
		    "as tap0", name));
	} else {
		memcpy(ifr.ifr_name, name, strlen(name));
		t->t_made = hostlink_get(t->t_netlink, name, &t->t_link) == -1;
	}
	if (ioctl(t->t_fd, TUNSETIFF, &ifr) == -1)
		return (refused(t, err));
	memcpy(t->t_name, ifr.ifr_name, IFNAMSIZ);
	/* whoever had it before may have wanted others */
	if (ioctl(t->t_fd, TUNSETVNETHDRSZ, &header) == -1 ||
	    ioctl(t->t_fd, TUNSETOFFLOAD, offloads) == -1)
		return (err_sys(err, "tap %s: the host's kernel leaves no "
		    "checksums to others", t->t_name));
	if (hostlink_get(t->t_netlink, t->t_name, &t->t_link) == -1)
		return (err_sys(err, "tap %s", t->t_name));
	return (0);
}

/* A new one is given what only we would give it. That is for people, and for
 * a bridge's peace: it has the lowest address of its ports for its own, which
 * ours shall not be. */
static void
adorn(struct tap *t)
{
	uint8_t mac[6];

	if (!t->t_made)
		return;
	memcpy(mac, t->t_link.hl_mac, sizeof(mac));
	mac[0] = 0xfe;
	(void)hostlink_set_mac(t->t_netlink, t->t_link.hl_index, mac);
	if (t->t_want->ht_alias != NULL)
		(void)hostlink_set_alias(t->t_netlink, t->t_link.hl_index,
		    t->t_want->ht_alias);
}

/* Up comes last: nothing passes before it is in its place. */
static int
place(struct tap *t, struct err *err)
{
	const struct hosttap *want = t->t_want;
	char command[64];
	unsigned group;

	if (want->ht_group != NULL) {
		if (hostlink_group(want->ht_group, &group, err) == -1)
			return (-1);
		if (t->t_link.hl_group != group &&
		    hostlink_set_group(t->t_netlink, t->t_link.hl_index,
		    group) == -1) {
			snprintf(command, sizeof(command), "group %s",
			    want->ht_group);
			return (may_not(t, command, err));
		}
	}
	if (want->ht_mtu != 0 && t->t_link.hl_mtu != want->ht_mtu &&
	    set_mtu(t, want->ht_mtu, err) == -1)
		return (-1);
	if (want->ht_bridge != NULL && bridge_join(t, err) == -1)
		return (-1);
	if (((t->t_link.hl_flags & IFF_UP) != 0) == want->ht_down &&
	    hostlink_set_up(t->t_netlink, t->t_link.hl_index,
	    !want->ht_down) == -1)
		return (may_not(t, want->ht_down ? "down" : "up", err));
	return (0);
}

int
hosttap_open(const struct hosttap *want, struct hosttap_opened *ho,
    struct err *err)
{
	struct tap t = { .t_want = want, .t_name = ho->ho_name, .t_fd = -1 };

	memset(ho, 0, sizeof(*ho));
	if ((t.t_netlink = hostlink_open()) == -1)
		return (err_sys(err, "cannot ask for the host's interfaces"));
	if ((want->ht_bridge != NULL && bridge_find(&t, err) == -1) ||
	    (t.t_fd = device_open(err)) == -1)
		goto fail;
	if (attach(&t, err) == -1)
		goto fail;
	adorn(&t);
	if (place(&t, err) == -1)
		goto fail;
	ho->ho_mtu = t.t_link.hl_mtu;
	close(t.t_netlink);
	return (t.t_fd);
fail:
	ho->ho_name[0] = '\0';
	if (t.t_fd != -1)
		close(t.t_fd);
	close(t.t_netlink);
	return (-1);
}
