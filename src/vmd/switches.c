/*
 * Switches, seen from the daemon: started when they are configured, found
 * again, left or ended; see switch.h.
 *
 * 1. The daemon listens at a switch's path before its process is there, and
 *    hands the socket over: VMs that start right after find it.
 * 2. To let go of a switch is to close the connection to it: it ends when no
 *    VM uses it any more.
 *
 * The daemon's thread.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "vmd/daemon.h"
#include "vmd/switch.h"

struct vmswitch {
	struct daemon	*vw_daemon;
	char		 vw_name[CONFIG_NAME_MAX];
	struct control_peer *vw_peer;
	struct restart	 vw_restart;
	struct vmswitch	*vw_next;
};

static struct vmswitch *
find(const struct daemon *d, const char *name)
{
	struct vmswitch *vw;

	for (vw = d->d_switches; vw != NULL; vw = vw->vw_next)
		if (strcmp(vw->vw_name, name) == 0)
			return (vw);
	return (NULL);
}

static void
vmswitch_free(struct vmswitch *vw)
{
	struct vmswitch **p;

	for (p = &vw->vw_daemon->d_switches; *p != vw; p = &(*p)->vw_next)
		continue;
	*p = vw->vw_next;
	free(vw);
}

static int	start(struct daemon *, struct vmswitch *,
		    const struct config_switch *, struct err *);

/* One of ours, that is to be there. */
static const struct config_switch *
wanted(const struct daemon *d, const char *name)
{
	const struct config_switch *cs = config_find_switch(&d->d_config,
	    name);

	return (cs == NULL || cs->cs_interface != NULL ||
	    cs->cs_enable == CONFIG_NO ? NULL : cs);
}

/* --- its process ------------------------------------------------------------------ */

static void
on_message(void *arg, struct control_peer *peer, struct control_message *cm)
{
	struct vmswitch *vw = *control_peer_data(peer);

	(void)arg;
	if (!control_bool(cm->cm_json, "ok", true))
		log_warn("switch %s: %s", vw->vw_name,
		    control_string(cm->cm_json, "error", ""));
}

static void
on_gone(void *arg, struct control_peer *peer)
{
	struct vmswitch *vw = *control_peer_data(peer);
	char path[RUNTIME_PATH_MAX];
	const struct config_switch *cs;
	struct daemon *d = arg;
	struct err err;

	vw->vw_peer = NULL;
	if (runtime_name(path, sizeof(path), NULL, d->d_dir, "switch/%s.sock",
	    vw->vw_name) == 0)
		(void)unlink(path);
	cs = d->d_phase == DAEMON_SERVING ? wanted(d, vw->vw_name) : NULL;
	if (cs == NULL) {
		vmswitch_free(vw);
		return;
	}
	/* VMs that were connected to it stay unconnected; those to come not */
	log_warn("switch %s: its process has ended", vw->vw_name);
	if (!restart_again(&vw->vw_restart, loop_now()) ||
	    start(d, vw, cs, &err) == -1) {
		log_warn("switch %s: not started again", vw->vw_name);
		vmswitch_free(vw);
	}
}

static const struct control_ops switch_ops = {
	.co_message = on_message,
	.co_gone = on_gone
};

/* Its process, which gets the socket that it serves. */
static int
start(struct daemon *d, struct vmswitch *vw, const struct config_switch *cs,
    struct err *err)
{
	struct control_peer *peer = NULL;
	char path[RUNTIME_PATH_MAX], title[CONFIG_NAME_MAX + 32];
	int fd[2] = { -1, -1 }, listening = -1;
	cJSON *json;

	if (runtime_name(path, sizeof(path), err, d->d_dir, "switch/%s.sock",
	    cs->cs_name) == -1 ||
	    (listening = control_listen(path, 0600, err)) == -1)
		return (-1);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd) == -1) {
		err_sys(err, "cannot make a socket");
		goto fail;
	}
	peer = control_peer_new(d->d_loop, fd[0], &switch_ops, d, err);
	if (peer == NULL)
		goto fail;
	snprintf(title, sizeof(title), "vmd: switch %s", cs->cs_name);
	if (process_spawn(fd[1], title, SWITCH_OPTION, err) == -1)
		goto fail;
	json = cJSON_CreateObject();
	cJSON_AddStringToObject(json, "command", "run");
	cJSON_AddStringToObject(json, "name", cs->cs_name);
	cJSON_AddStringToObject(json, "path", path);
	cJSON_AddBoolToObject(json, "nat", cs->cs_nat == CONFIG_YES);
	cJSON_AddBoolToObject(json, "locked", cs->cs_locked);
	cJSON_AddNumberToObject(json, "mtu", cs->cs_mtu != 0 ? cs->cs_mtu :
	    NETWORK_MTU);
	*control_peer_data(peer) = vw;
	vw->vw_peer = peer;
	control_peer_send(peer, json, &listening, 1);
	close(fd[1]);
	close(listening);
	return (0);
fail:
	control_peer_free(peer);
	if (fd[1] != -1)
		close(fd[1]);
	close(listening);
	(void)unlink(path);
	return (-1);
}

static struct vmswitch *
vmswitch_new(struct daemon *d, const char *name)
{
	struct vmswitch *vw = calloc(1, sizeof(*vw));

	if (vw == NULL)
		return (NULL);
	vw->vw_daemon = d;
	snprintf(vw->vw_name, sizeof(vw->vw_name), "%s", name);
	restart_begin(&vw->vw_restart, loop_now());
	vw->vw_next = d->d_switches;
	d->d_switches = vw;
	return (vw);
}

/* One that runs already: found again, or let go of before. */
static int
adopt(struct daemon *d, const char *name)
{
	char path[RUNTIME_PATH_MAX];
	struct control_peer *peer;
	struct vmswitch *vw;
	cJSON *json;
	int fd;

	if (runtime_name(path, sizeof(path), NULL, d->d_dir, "switch/%s.sock",
	    name) == -1 || (fd = control_connect(path, NULL)) == -1 ||
	    (peer = control_peer_new(d->d_loop, fd, &switch_ops, d, NULL)) ==
	    NULL)
		return (-1);
	if ((vw = vmswitch_new(d, name)) == NULL) {
		control_peer_free(peer);
		return (-1);
	}
	*control_peer_data(peer) = vw;
	vw->vw_peer = peer;
	json = cJSON_CreateObject();
	cJSON_AddStringToObject(json, "command", "hello");
	control_peer_send(peer, json, NULL, 0);
	return (0);
}

/* --- all of them -------------------------------------------------------------------- */

void
switches_apply(struct daemon *d)
{
	const struct config_switch *cs;
	struct vmswitch *vw, *next;
	struct err err;
	size_t i;

	for (vw = d->d_switches; vw != NULL; vw = next) {
		next = vw->vw_next;
		if (wanted(d, vw->vw_name) != NULL)
			continue;
		control_peer_free(vw->vw_peer);
		vmswitch_free(vw);
	}
	for (i = 0; i < d->d_config.cf_nswitches; i++) {
		cs = wanted(d, d->d_config.cf_switch[i]->cs_name);
		if (cs == NULL || find(d, cs->cs_name) != NULL ||
		    adopt(d, cs->cs_name) == 0)
			continue;
		if ((vw = vmswitch_new(d, cs->cs_name)) == NULL) {
			log_warn("switch %s: no memory", cs->cs_name);
			continue;
		}
		if (start(d, vw, cs, &err) == -1) {
			log_warn("switch %s: %s", cs->cs_name, err.e_text);
			vmswitch_free(vw);
		}
	}
}

void
switches_clean(const struct daemon *d)
{
	char path[RUNTIME_PATH_MAX];
	struct dirent *de;
	DIR *dir;
	int fd;

	if (runtime_name(path, sizeof(path), NULL, d->d_dir, "switch") == -1 ||
	    (dir = opendir(path)) == NULL)
		return;
	while ((de = readdir(dir)) != NULL) {
		if (de->d_name[0] == '.' || runtime_name(path, sizeof(path),
		    NULL, d->d_dir, "switch/%s", de->d_name) == -1)
			continue;
		if ((fd = control_connect(path, NULL)) != -1)
			close(fd);
		else if (errno == ECONNREFUSED)
			(void)unlink(path);
	}
	closedir(dir);
}

void
switches_stop(struct daemon *d)
{
	char path[RUNTIME_PATH_MAX];
	struct vmswitch *vw;
	cJSON *json;

	for (vw = d->d_switches; vw != NULL; vw = vw->vw_next) {
		json = cJSON_CreateObject();
		cJSON_AddStringToObject(json, "command", "stop");
		control_peer_send(vw->vw_peer, json, NULL, 0);
		/* which it may not do any more */
		if (runtime_name(path, sizeof(path), NULL, d->d_dir,
		    "switch/%s.sock", vw->vw_name) == 0)
			(void)unlink(path);
	}
}

void
switches_leave(struct daemon *d)
{
	while (d->d_switches != NULL) {
		control_peer_free(d->d_switches->vw_peer);
		vmswitch_free(d->d_switches);
	}
}
