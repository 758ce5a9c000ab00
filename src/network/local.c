/*
 * A local interface without privilege: vmd's addresses and its DHCP server in
 * front of user-mode NAT, whose gateway is the host side.
 *
 * The NAT's own network is the /24 around both addresses: with the /31 that the
 * guest is told of, the guest's address would be its broadcast address.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "network/backend.h"
#include "network/dhcp.h"

struct local {
	struct network	 lo_network;	/* first: see backend.h */
	struct network	*lo_nat;
	struct dhcp	 lo_dhcp;
};

static void
local_send(struct network *nw, const struct network_header *nh,
    const void *frame, size_t len)
{
	struct local *lo = (struct local *)nw;
	const struct network_port *np = &nw->nw_port;
	uint8_t reply[DHCP_FRAME_MAX];
	size_t reply_len;

	switch (dhcp_frame(&lo->lo_dhcp, frame, len, reply, &reply_len)) {
	case DHCP_OTHER:
		network_send(lo->lo_nat, nh, frame, len);
		break;
	case DHCP_SILENT:
		break;
	case DHCP_ANSWER:
		/* without room it is lost; the guest asks again */
		if (np->np_ready(np->np_arg))
			(void)np->np_receive(np->np_arg, NULL, reply,
			    reply_len);
		break;
	}
}

static void
local_poke(struct network *nw)
{
	network_poke(((struct local *)nw)->lo_nat);
}

static void
local_close(struct network *nw)
{
	network_close(((struct local *)nw)->lo_nat);
	free(nw);
}

static const struct network_ops local_ops = {
	.no_name = "local",
	.no_send = local_send,
	.no_poke = local_poke,
	.no_close = local_close
};

int
network_local_open(struct network **np, struct loop *loop,
    const struct network_port *port, const struct network_local *nl,
    struct err *err)
{
	const uint32_t net = nl->nl_host & 0xffffff00u;
	const struct network_addresses na = { .na_net = net,
		.na_mask = 0xffffff00u, .na_host = nl->nl_host,
		.na_guest = nl->nl_guest, .na_dns = net | 1 };
	const struct network_user none = { 0 };
	struct local *lo;

	if ((lo = calloc(1, sizeof(*lo))) == NULL)
		return (err_sys(err, "network"));
	lo->lo_network.nw_ops = &local_ops;
	lo->lo_network.nw_port = *port;
	memcpy(lo->lo_dhcp.dh_mac, nl->nl_mac, 6);
	lo->lo_dhcp.dh_guest = nl->nl_guest;
	lo->lo_dhcp.dh_host = nl->nl_host;
	lo->lo_dhcp.dh_dns = na.na_dns;
	lo->lo_dhcp.dh_mask = 0xfffffffeu;
	if (nl->nl_netboot) {
		lo->lo_dhcp.dh_file = "auto_install";
		lo->lo_dhcp.dh_name = nl->nl_name;
	}
	if (network_user_open_at(&lo->lo_nat, loop, port, &none, &na,
	    err) == -1) {
		free(lo);
		return (-1);
	}
	*np = &lo->lo_network;
	return (0);
}
