/*
 * Network interfaces of the host; see hostlink.h.
 *
 * A request is one message with NLM_F_ACK, its answer one packet that comes
 * before anything else on a socket that has joined no group.
 */
#include "network/hostlink.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

/* Where iproute2 has the names of groups, the host's own table first. */
static const char *const group_tables[] = {
	"/etc/iproute2/group",
	"/usr/share/iproute2/group",
	"/usr/lib/iproute2/group",
};

/* A request about one interface, with room for one attribute. */
struct request {
	struct nlmsghdr	 rq_head;
	struct ifinfomsg rq_link;
	uint8_t		 rq_attribute[RTA_SPACE(256)];
};

int
hostlink_open(void)
{
	return (socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
}

static void
request_init(struct request *rq, uint16_t type, uint16_t flags)
{
	memset(rq, 0, sizeof(*rq));
	rq->rq_head.nlmsg_len = NLMSG_LENGTH(sizeof(rq->rq_link));
	rq->rq_head.nlmsg_type = type;
	rq->rq_head.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	rq->rq_link.ifi_family = AF_UNSPEC;
}

/* Adds the attribute, which is short. */
static void
request_add(struct request *rq, uint16_t type, const void *data, size_t len)
{
	struct rtattr *ra = (struct rtattr *)(void *)((uint8_t *)rq +
	    NLMSG_ALIGN(rq->rq_head.nlmsg_len));

	ra->rta_type = type;
	ra->rta_len = (uint16_t)RTA_LENGTH(len);
	memcpy(RTA_DATA(ra), data, len);
	rq->rq_head.nlmsg_len = (uint32_t)(NLMSG_ALIGN(rq->rq_head.nlmsg_len) +
	    RTA_SPACE(len));
}

/* Sends it and reads the answer, of at most size bytes; -1 and errno. */
static int
ask(int fd, const struct request *rq, struct nlmsghdr *answer, size_t size)
{
	struct nlmsgerr *ne;
	ssize_t n;

	do {
		n = send(fd, rq, rq->rq_head.nlmsg_len, 0);
	} while (n == -1 && errno == EINTR);
	if (n == -1)
		return (-1);
	do {
		n = recv(fd, answer, size, 0);
	} while (n == -1 && errno == EINTR);
	if (n == -1)
		return (-1);
	if (!NLMSG_OK(answer, (size_t)n)) {
		errno = EPROTO;
		return (-1);
	}
	if (answer->nlmsg_type != NLMSG_ERROR)
		return (0);
	ne = NLMSG_DATA(answer);
	if (answer->nlmsg_len < NLMSG_LENGTH(sizeof(*ne))) {
		errno = EPROTO;
		return (-1);
	}
	errno = -ne->error;
	return (ne->error == 0 ? 0 : -1);
}

/* --- what one is ---------------------------------------------------------------- */

static unsigned
number(const struct rtattr *ra)
{
	uint32_t n = 0;

	if (RTA_PAYLOAD(ra) >= sizeof(n))
		memcpy(&n, RTA_DATA(ra), sizeof(n));
	return (n);
}

/* Is the kind that an IFLA_LINKINFO tells a bridge? */
static bool
is_bridge(const struct rtattr *info)
{
	const struct rtattr *ra = RTA_DATA(info);
	size_t left = RTA_PAYLOAD(info);

	for (; RTA_OK(ra, left); ra = RTA_NEXT(ra, left))
		if (ra->rta_type == IFLA_INFO_KIND)
			return (RTA_PAYLOAD(ra) >= 6 &&
			    memcmp(RTA_DATA(ra), "bridge", 6) == 0);
	return (false);
}

int
hostlink_get(int fd, const char *name, struct hostlink *hl)
{
	union {
		struct nlmsghdr	 head;
		uint8_t		 bytes[16384];
	} answer;
	const struct ifinfomsg *im = NLMSG_DATA(&answer.head);
	const struct rtattr *ra;
	struct request rq;
	size_t left;

	memset(hl, 0, sizeof(*hl));
	if (strlen(name) >= IFNAMSIZ) {
		errno = ENODEV;
		return (-1);
	}
	request_init(&rq, RTM_GETLINK, 0);
	request_add(&rq, IFLA_IFNAME, name, strlen(name) + 1);
	if (ask(fd, &rq, &answer.head, sizeof(answer)) == -1)
		return (-1);
	if (answer.head.nlmsg_type != RTM_NEWLINK ||
	    answer.head.nlmsg_len < NLMSG_LENGTH(sizeof(*im))) {
		errno = EPROTO;
		return (-1);
	}
	hl->hl_index = im->ifi_index;
	hl->hl_flags = im->ifi_flags;
	left = answer.head.nlmsg_len - NLMSG_LENGTH(sizeof(*im));
	for (ra = IFLA_RTA(im); RTA_OK(ra, left); ra = RTA_NEXT(ra, left))
		switch (ra->rta_type) {
		case IFLA_MTU:
			hl->hl_mtu = number(ra);
			break;
		case IFLA_MASTER:
			hl->hl_master = (int)number(ra);
			break;
		case IFLA_GROUP:
			hl->hl_group = number(ra);
			break;
		case IFLA_ADDRESS:
			if (RTA_PAYLOAD(ra) == sizeof(hl->hl_mac))
				memcpy(hl->hl_mac, RTA_DATA(ra),
				    sizeof(hl->hl_mac));
			break;
		case IFLA_LINKINFO:
			hl->hl_bridge = is_bridge(ra);
			break;
		}
	return (0);
}

/* --- changes ------------------------------------------------------------------------ */

static int
change(int fd, struct request *rq, int index)
{
	union {
		struct nlmsghdr	 head;
		uint8_t		 bytes[1024];
	} answer;

	rq->rq_link.ifi_index = index;
	return (ask(fd, rq, &answer.head, sizeof(answer)));
}

static int
change_attribute(int fd, int index, uint16_t type, const void *data,
    size_t len)
{
	struct request rq;

	/* NEWLINK of an interface that exists changes it. */
	request_init(&rq, RTM_NEWLINK, NLM_F_ACK);
	request_add(&rq, type, data, len);
	return (change(fd, &rq, index));
}

int
hostlink_set_up(int fd, int index, bool up)
{
	struct request rq;

	request_init(&rq, RTM_NEWLINK, NLM_F_ACK);
	rq.rq_link.ifi_change = IFF_UP;
	rq.rq_link.ifi_flags = up ? IFF_UP : 0;
	return (change(fd, &rq, index));
}

int
hostlink_set_mtu(int fd, int index, unsigned mtu)
{
	return (change_attribute(fd, index, IFLA_MTU, &mtu, sizeof(mtu)));
}

int
hostlink_set_master(int fd, int index, int master)
{
	return (change_attribute(fd, index, IFLA_MASTER, &master,
	    sizeof(master)));
}

int
hostlink_set_group(int fd, int index, unsigned group)
{
	return (change_attribute(fd, index, IFLA_GROUP, &group,
	    sizeof(group)));
}

int
hostlink_set_alias(int fd, int index, const char *alias)
{
	/* IFALIASZ is 256 with its NUL */
	return (change_attribute(fd, index, IFLA_IFALIAS, alias,
	    strnlen(alias, 255)));
}

int
hostlink_set_mac(int fd, int index, const uint8_t mac[6])
{
	return (change_attribute(fd, index, IFLA_ADDRESS, mac, 6));
}

/* --- groups ---------------------------------------------------------------------------- */

/* "number name" a line, # before comments. 1: found. */
static int
group_find(FILE *f, const char *name, unsigned *group)
{
	char line[256], word[64], *end;
	unsigned long n;
	int at;

	while (fgets(line, sizeof(line), f) != NULL) {
		errno = 0;
		n = strtoul(line, &end, 0);
		at = 0;
		if (end == line || errno != 0 || n > UINT32_MAX ||
		    sscanf(end, " %63s%n", word, &at) != 1 || at == 0 ||
		    strcmp(word, name) != 0)
			continue;
		*group = (unsigned)n;
		return (1);
	}
	return (0);
}

int
hostlink_group(const char *name, unsigned *group, struct err *err)
{
	int found = 0;
	size_t i;
	FILE *f;

	for (i = 0; !found && i < sizeof(group_tables) /
	    sizeof(group_tables[0]); i++) {
		if ((f = fopen(group_tables[i], "re")) == NULL)
			continue;
		found = group_find(f, name, group);
		fclose(f);
	}
	if (found)
		return (0);
	errno = ENOENT;
	return (err_set(err, "group %s: %s does not list it; add a line "
	    "\"NUMBER %s\"", name, group_tables[0], name));
}
