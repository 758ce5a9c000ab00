/*
 * A port of a switch in another process (netswitch.h), as a network of a VM:
 * frames go through a cable.
 *
 * What the device has no room for stays in the socket, and then in the
 * switch's queue for us; the switch drops what is more.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/log.h"
#include "network/backend.h"
#include "network/cable.h"

struct port {
	struct network	 po_network;	/* first: see backend.h */
	struct cable	*po_cable;
};

static void
port_frame(void *arg, const struct network_header *nh, const void *frame,
    size_t len)
{
	struct port *po = arg;
	const struct network_port *np = &po->po_network.nw_port;

	(void)np->np_receive(np->np_arg, nh, frame, len);
}

static bool
port_ready(void *arg)
{
	struct port *po = arg;
	const struct network_port *np = &po->po_network.nw_port;

	return (np->np_ready(np->np_arg));
}

static void
port_gone(void *arg)
{
	(void)arg;
	log_warn("the switch of an interface is gone; the interface is "
	    "connected to nothing until the VM starts again");
}

static const struct cable_ops port_cable = {
	.cb_frame = port_frame,
	.cb_ready = port_ready,
	.cb_gone = port_gone
};

static void
port_send(struct network *nw, const struct network_header *nh,
    const void *frame, size_t len)
{
	cable_send(((struct port *)nw)->po_cable, nh, frame, len);
}

static void
port_poke(struct network *nw)
{
	cable_go_on(((struct port *)nw)->po_cable);
}

static void
port_close(struct network *nw)
{
	struct port *po = (struct port *)nw;

	cable_free(po->po_cable);
	free(po);
}

static const struct network_ops port_ops = {
	.no_name = "switch",
	.no_send = port_send,
	.no_poke = port_poke,
	.no_close = port_close
};

int
network_switch_open(struct network **np, struct loop *loop,
    const struct network_port *port, int fd, struct err *err)
{
	struct port *po;
	int own;

	if ((po = calloc(1, sizeof(*po))) == NULL)
		return (err_sys(err, "network"));
	po->po_network.nw_ops = &port_ops;
	po->po_network.nw_port = *port;
	if ((own = fcntl(fd, F_DUPFD_CLOEXEC, 0)) == -1 ||
	    (po->po_cable = cable_new(loop, own, &port_cable, po)) == NULL) {
		err_sys(err, "network: cannot use the switch's port");
		free(po);
		return (-1);
	}
	*np = &po->po_network;
	return (0);
}
