/*
 * The process of a switch; see switch.h.
 *
 * It gets its configuration and the socket that it serves from vmd, gives up
 * privileges, and joins the ports of VMs by network/netswitch.h. With an
 * uplink, user-mode NAT is one more port: gateway, name server and DHCP for
 * all.
 *
 * One thread, one loop.
 */
#include "vmd/switch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/mac.h"
#include "config/config.h"
#include "control/control.h"
#include "network/cable.h"
#include "network/netswitch.h"
#include "network/network.h"
#include "vmd/privilege.h"
#include "vmd/runtime.h"

#define PORTS_MAX	512

struct port {
	struct swproc	*po_switch;
	struct cable	*po_cable;
	struct netswitch_port *po_port;
	unsigned	 po_mtu;
	char		 po_vm[CONFIG_NAME_MAX];
	struct port	*po_next;
};

struct swproc {
	char		 sw_name[CONFIG_NAME_MAX];
	char		 sw_path[RUNTIME_PATH_MAX];
	uid_t		 sw_vmd;	/* vmd's user */
	bool		 sw_locked;	/* all ports are */
	unsigned	 sw_mtu;	/* no port has a larger one */
	struct loop	*sw_loop;
	struct netswitch *sw_switch;
	struct control_server *sw_server;
	struct control_peer *sw_parent;
	unsigned	 sw_vmds;	/* that are connected */
	struct port	*sw_ports;
	unsigned	 sw_nports;
	struct network	*sw_nat;
	struct netswitch_port *sw_uplink;
};

/* Nobody needs it any more. */
static void
check_end(struct swproc *sw)
{
	if (sw->sw_vmds == 0 && sw->sw_ports == NULL)
		loop_stop(sw->sw_loop);
}

/* --- ports --------------------------------------------------------------------- */

static void
port_free(struct port *po)
{
	struct port **p;

	for (p = &po->po_switch->sw_ports; *p != po; p = &(*p)->po_next)
		continue;
	*p = po->po_next;
	po->po_switch->sw_nports--;
	cable_free(po->po_cable);
	netswitch_port_free(po->po_port);
	free(po);
}

static void
port_frame(void *arg, const struct network_header *nh, const void *frame,
    size_t len)
{
	struct port *po = arg;

	netswitch_frame(po->po_port, nh, frame, len, loop_now());
}

static void
port_gone(void *arg)
{
	struct port *po = arg;
	struct swproc *sw = po->po_switch;

	port_free(po);
	check_end(sw);
}

static const struct cable_ops port_cable = {
	.cb_frame = port_frame,
	.cb_gone = port_gone
};

static void
port_send(void *arg, const struct network_header *nh, const void *frame,
    size_t len)
{
	struct port *po = arg;

	cable_send(po->po_cable, nh, frame, len);
}

/* The VM's end of a new port; -1 and errno. */
static int
port_new(struct swproc *sw, const char *vm, const struct netswitch_config *nc)
{
	struct netswitch_config config = *nc;
	struct port *po;
	int fd[2], error;

	if (sw->sw_nports >= PORTS_MAX) {
		errno = ENOSPC;
		return (-1);
	}
	if ((po = calloc(1, sizeof(*po))) == NULL)
		return (-1);
	po->po_switch = sw;
	po->po_mtu = nc->nc_mtu;
	snprintf(po->po_vm, sizeof(po->po_vm), "%s", vm);
	config.nc_send = port_send;
	config.nc_arg = po;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd) == -1) {
		free(po);
		return (-1);
	}
	po->po_cable = cable_new(sw->sw_loop, fd[0], &port_cable, po);
	if (po->po_cable != NULL)
		po->po_port = netswitch_port_new(sw->sw_switch, &config);
	if (po->po_port == NULL) {
		error = errno;
		cable_free(po->po_cable);
		close(fd[1]);
		free(po);
		errno = error;
		return (-1);
	}
	po->po_next = sw->sw_ports;
	sw->sw_ports = po;
	sw->sw_nports++;
	return (fd[1]);
}

/* --- the uplink ------------------------------------------------------------------- */

static bool
uplink_receive(void *arg, const struct network_header *nh, const void *frame,
    size_t len)
{
	struct swproc *sw = arg;

	netswitch_frame(sw->sw_uplink, nh, frame, len, loop_now());
	return (true);
}

static bool
uplink_ready(void *arg)
{
	(void)arg;
	return (true);
}

static void
uplink_send(void *arg, const struct network_header *nh, const void *frame,
    size_t len)
{
	struct swproc *sw = arg;

	if (sw->sw_nat != NULL)
		network_send(sw->sw_nat, nh, frame, len);
}

static int
uplink_new(struct swproc *sw, struct err *err)
{
	const struct netswitch_config nc = { .nc_send = uplink_send,
		.nc_arg = sw, .nc_mtu = sw->sw_mtu };
	const struct network_port port = { .np_receive = uplink_receive,
		.np_ready = uplink_ready, .np_arg = sw, .np_mtu = sw->sw_mtu };
	const struct network_user none = { 0 };

	sw->sw_uplink = netswitch_port_new(sw->sw_switch, &nc);
	if (sw->sw_uplink == NULL)
		return (err_sys(err, "cannot make the uplink"));
	return (network_user_open(&sw->sw_nat, sw->sw_loop, &port, &none, err));
}

/* --- what is asked ------------------------------------------------------------------ */

static cJSON *
do_hello(struct swproc *sw, struct control_peer *peer, const cJSON *request,
    int *fd)
{
	cJSON *json = control_ok();

	(void)request;
	(void)fd;
	if (*control_peer_data(peer) == NULL) {
		*control_peer_data(peer) = sw;
		sw->sw_vmds++;
	}
	cJSON_AddStringToObject(json, "name", sw->sw_name);
	cJSON_AddNumberToObject(json, "pid", getpid());
	return (json);
}

static cJSON *
status_port(const struct port *po)
{
	const struct netswitch_counts *nn = netswitch_counts(po->po_port);
	uint8_t mac[NETSWITCH_ADDRESSES][6];
	cJSON *json = cJSON_CreateObject(), *list;
	char text[MAC_TEXT];
	size_t i, n;

	cJSON_AddStringToObject(json, "vm", po->po_vm);
	cJSON_AddNumberToObject(json, "mtu", po->po_mtu);
	cJSON_AddNumberToObject(json, "in", (double)nn->nn_in);
	cJSON_AddNumberToObject(json, "out", (double)nn->nn_out);
	cJSON_AddNumberToObject(json, "spoofed", (double)nn->nn_spoofed);
	cJSON_AddNumberToObject(json, "large", (double)nn->nn_large);
	list = cJSON_AddArrayToObject(json, "addresses");
	n = netswitch_addresses(po->po_port, mac, NETSWITCH_ADDRESSES,
	    loop_now());
	for (i = 0; i < n; i++) {
		mac_text(mac[i], text);
		cJSON_AddItemToArray(list, cJSON_CreateString(text));
	}
	return (json);
}

static cJSON *
do_status(struct swproc *sw, struct control_peer *peer, const cJSON *request,
    int *fd)
{
	cJSON *json = control_ok(), *list;
	const struct port *po;

	(void)peer;
	(void)request;
	(void)fd;
	cJSON_AddStringToObject(json, "name", sw->sw_name);
	cJSON_AddBoolToObject(json, "nat", sw->sw_nat != NULL);
	cJSON_AddNumberToObject(json, "mtu", sw->sw_mtu);
	list = cJSON_AddArrayToObject(json, "ports");
	for (po = sw->sw_ports; po != NULL; po = po->po_next)
		cJSON_AddItemToArray(list, status_port(po));
	return (json);
}

static cJSON *
do_port(struct swproc *sw, struct control_peer *peer, const cJSON *request,
    int *fd)
{
	const double mtu = control_number(request, "mtu", 0);
	struct netswitch_config nc = {
		.nc_locked = sw->sw_locked ||
		    control_bool(request, "locked", false),
		.nc_mtu = sw->sw_mtu };
	cJSON *json;

	(void)peer;
	if (mtu > sw->sw_mtu)
		return (control_error(EINVAL, "its MTU is %u; an interface's "
		    "is no larger", sw->sw_mtu));
	if (mtu >= NETWORK_MTU_MIN)
		nc.nc_mtu = (unsigned)mtu;
	if (mac_parse(control_string(request, "mac", ""), nc.nc_mac) == -1)
		return (control_error(EINVAL, "a port has an address"));
	*fd = port_new(sw, control_string(request, "vm", "?"), &nc);
	if (*fd == -1 && errno == EEXIST)
		return (control_error(EEXIST, "another locked interface at "
		    "the switch has the same address"));
	if (*fd == -1)
		return (control_error(errno, "no port: %s", strerror(errno)));
	json = control_ok();
	cJSON_AddNumberToObject(json, "mtu", nc.nc_mtu);
	return (json);
}

static cJSON *
do_stop(struct swproc *sw, struct control_peer *peer, const cJSON *request,
    int *fd)
{
	(void)peer;
	(void)request;
	(void)fd;
	loop_stop(sw->sw_loop);
	return (control_ok());
}

static const struct {
	const char	*sc_name;
	cJSON		*(*sc_fn)(struct swproc *, struct control_peer *,
			    const cJSON *, int *fd);
} commands[] = {
	{ "hello",	do_hello },
	{ "status",	do_status },
	{ "port",	do_port },
	{ "stop",	do_stop },
};

static void
on_message(void *arg, struct control_peer *peer, struct control_message *cm)
{
	const struct control_credentials *who = control_peer_who(peer);
	const char *name = control_string(cm->cm_json, "command", "");
	struct swproc *sw = arg;
	cJSON *answer = NULL;
	size_t i;
	int fd = -1;

	if (who->cc_uid != 0 && who->cc_uid != sw->sw_vmd) {
		control_peer_shut(peer);
		return;
	}
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(name, commands[i].sc_name) == 0) {
			answer = commands[i].sc_fn(sw, peer, cm->cm_json, &fd);
			break;
		}
	if (i == sizeof(commands) / sizeof(commands[0]))
		answer = control_error(EOPNOTSUPP, "there is no command \"%s\"",
		    name);
	control_peer_send(peer, answer, &fd, fd != -1);
	if (fd != -1)
		close(fd);
}

static void
on_gone(void *arg, struct control_peer *peer)
{
	struct swproc *sw = arg;

	if (peer == sw->sw_parent)
		sw->sw_parent = NULL;
	if (*control_peer_data(peer) != NULL) {
		sw->sw_vmds--;
		check_end(sw);
	}
}

static const struct control_ops ops = {
	.co_message = on_message,
	.co_gone = on_gone
};

/* --- life ---------------------------------------------------------------------------- */

static int
begin(struct swproc *sw, struct control_message *cm, struct err *err)
{
	const cJSON *json = cm->cm_json;
	int listening;

	snprintf(sw->sw_name, sizeof(sw->sw_name), "%s",
	    control_string(json, "name", ""));
	snprintf(sw->sw_path, sizeof(sw->sw_path), "%s",
	    control_string(json, "path", ""));
	sw->sw_locked = control_bool(json, "locked", false);
	sw->sw_mtu = (unsigned)control_number(json, "mtu", NETWORK_MTU);
	sw->sw_vmd = geteuid();
	if (cm->cm_nfds != 1)
		return (err_set(err, "vmd told no switch"));
	(void)prctl(PR_SET_NAME, sw->sw_name);
	if ((sw->sw_loop = loop_new()) == NULL ||
	    (sw->sw_switch = netswitch_new()) == NULL)
		return (err_sys(err, "cannot make a switch"));
	listening = cm->cm_fd[0];
	cm->cm_fd[0] = -1;
	/* who asks who listens hears of us, not of vmd */
	if (listen(listening, SOMAXCONN) == -1)
		return (err_sys(err, "%s", sw->sw_path));
	sw->sw_server = control_server_take(sw->sw_loop, listening, &ops, sw,
	    err);
	if (sw->sw_server == NULL ||
	    (control_bool(json, "nat", false) && uplink_new(sw, err) == -1) ||
	    privilege_drop(0, err) == -1)
		return (-1);
	sw->sw_parent = control_peer_new(sw->sw_loop, SWITCH_FD, &ops, sw,
	    err);
	if (sw->sw_parent == NULL)
		return (-1);
	*control_peer_data(sw->sw_parent) = sw;
	sw->sw_vmds = 1;
	control_peer_send(sw->sw_parent, control_ok(), NULL, 0);
	return (0);
}

static void
end(struct swproc *sw)
{
	/* where the folder is not ours any more, vmd removes it */
	if (sw->sw_path[0] != '\0')
		(void)unlink(sw->sw_path);
	while (sw->sw_ports != NULL)
		port_free(sw->sw_ports);
	control_peer_free(sw->sw_parent);
	control_server_free(sw->sw_server);
	network_close(sw->sw_nat);
	netswitch_port_free(sw->sw_uplink);
	netswitch_free(sw->sw_switch);
	loop_free(sw->sw_loop);
}

int
switch_main(void)
{
	struct swproc sw = { .sw_vmds = 0 };
	struct control_message cm;
	struct err err = { "" };
	int status = 0;
	cJSON *json;

	(void)fcntl(SWITCH_FD, F_SETFD, FD_CLOEXEC);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	if (control_receive(SWITCH_FD, &cm) != 1)
		return (1);	/* vmd is gone, or it is somebody at a shell */
	if (begin(&sw, &cm, &err) == -1) {
		json = control_error(EIO, "%s", err.e_text);
		(void)control_send(SWITCH_FD, json, NULL, 0);
		cJSON_Delete(json);
		status = 1;
	}
	control_message_free(&cm);
	if (status == 0 && loop_run(sw.sw_loop) == -1)
		status = 1;
	end(&sw);
	return (status);
}
