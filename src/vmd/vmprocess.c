/*
 * The process of a VM; see vmprocess.h and, for what it is asked, protocol.h.
 *
 * 1. It gets its configuration over the socket that it inherits, makes the
 *    machine, answers, and runs it. It needs vmd for nothing after that: it
 *    restarts the guest, makes it stop and ends by itself.
 * 2. Whoever asks is vmd, this one or a later one: the same user or root.
 *    Every vmd that has said hello is told what happens.
 *
 * The main thread runs the machine's loop; lines of the log may come from any.
 */
#include "vmd/vmprocess.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "control/control.h"
#include "vmd/console.h"
#include "vmd/limits.h"
#include "vmd/privilege.h"
#include "vmd/runtime.h"
#include "vmd/vms.h"

/* A vmd that is connected. */
struct listener {
	struct control_peer *li_peer;
	struct listener	*li_next;
};

struct vmprocess {
	unsigned	 vp_id;
	uid_t		 vp_uid, vp_vmd;	/* the VM's, vmd's */
	unsigned	 vp_order;
	bool		 vp_foreign;
	struct config_vm *vp_config;
	cJSON		*vp_json;		/* the same */
	char		 vp_path[RUNTIME_PATH_MAX];	/* of our socket */
	int		 vp_listen;		/* it, until there is a server */

	struct vmconfig	 vp_vmconfig;
	struct console	*vp_console;
	struct machine	*vp_machine;
	struct loop	*_Atomic vp_loop;	/* NULL: not yet */
	struct control_server *vp_server;
	struct control_peer *vp_parent;	/* the vmd that started us, or NULL */
	struct listener	*vp_listeners;
	int		 vp_signals;
	struct loop_fd	*vp_signal_source;
	double		 vp_since;

	enum vm_state	 vp_state;
	struct restart	 vp_restart;	/* the VCPU's thread, once it runs */
	bool		 vp_too_quick;	/* the same */
	atomic_bool	 vp_stopping;	/* for that thread */
	struct stop	 vp_stop;
	struct loop_timer *vp_stop_timer;
	const char	*vp_end;	/* decided by us; else the machine */
	const char	*vp_how, *vp_why;
};

/* --- what is said to vmd --------------------------------------------------------- */

/* Tells all who listen; the object is freed. */
static void
tell(struct vmprocess *vp, cJSON *json)
{
	struct listener *li;

	for (li = vp->vp_listeners; li != NULL; li = li->li_next)
		control_peer_send(li->li_peer, cJSON_Duplicate(json, true),
		    NULL, 0);
	cJSON_Delete(json);
}

static cJSON *
event(const char *name)
{
	cJSON *json = cJSON_CreateObject();

	cJSON_AddStringToObject(json, "event", name);
	return (json);
}

static void
set_state(struct vmprocess *vp, enum vm_state state)
{
	cJSON *json = event("state");

	vp->vp_state = state;
	cJSON_AddStringToObject(json, "state", vm_state_name(state));
	tell(vp, json);
}

/* A line of the log on its way to the loop's thread. */
struct line {
	struct vmprocess *ln_process;
	bool		 ln_warning;
	char		 ln_text[];
};

static cJSON *
line_event(const char *text, bool warning)
{
	cJSON *json = event("log");

	cJSON_AddStringToObject(json, "line", text);
	cJSON_AddBoolToObject(json, "warning", warning);
	return (json);
}

static void
line_tell(void *arg)
{
	struct line *ln = arg;
	struct vmprocess *vp = ln->ln_process;

	if (vp->vp_listeners == NULL)
		syslog(ln->ln_warning ? LOG_WARNING : LOG_INFO, "%s: %s",
		    vp->vp_config->cv_name, ln->ln_text);
	else
		tell(vp, line_event(ln->ln_text, ln->ln_warning));
	free(ln);
}

static void
log_sink(void *arg, enum log_level level, const char *text)
{
	struct vmprocess *vp = arg;
	size_t len = strlen(text) + 1;
	struct line *ln;
	cJSON *json;

	if (vp->vp_loop == NULL) {	/* while the machine is made */
		json = line_event(text, level == LOG_LEVEL_WARN);
		(void)control_send(VMPROCESS_FD, json, NULL, 0);
		cJSON_Delete(json);
		return;
	}
	if ((ln = malloc(sizeof(*ln) + len)) == NULL)
		return;
	ln->ln_process = vp;
	ln->ln_warning = level == LOG_LEVEL_WARN;
	memcpy(ln->ln_text, text, len);
	if (loop_post(vp->vp_loop, line_tell, ln) == -1)
		free(ln);
}

/* --- stopping ---------------------------------------------------------------------- */

/* Ends the machine, for this reason unless there is one. */
static void
end_now(struct vmprocess *vp, const char *end, const char *how,
    const char *why)
{
	if (vp->vp_end == NULL) {
		vp->vp_end = end;
		vp->vp_how = how;
		vp->vp_why = why;
	}
	machine_stop(vp->vp_machine);
}

/* What the guest has done about it so far. */
static enum stop_guest
stop_guest(struct vmprocess *vp)
{
	static const enum stop_guest guests[] = {
		[MACHINE_DEAF] = STOP_DEAF,
		[MACHINE_ASKED] = STOP_ASKED,
		[MACHINE_ANSWERED] = STOP_ANSWERED
	};

	return (guests[machine_asked(vp->vp_machine)]);
}

static void
stop_look(void *arg)
{
	struct vmprocess *vp = arg;
	uint64_t again = LIMIT_NEVER;

	switch (stop_check(&vp->vp_stop, stop_guest(vp), loop_now(), &again)) {
	case STOP_WAIT:
		break;
	case STOP_ASK:
		machine_ask_stop(vp->vp_machine);
		break;
	case STOP_KILL_DEAF:
		end_now(vp, "killed", "killed",
		    "the guest does not listen to requests to stop");
		break;
	case STOP_KILL_SILENT:
		end_now(vp, "killed", "killed",
		    "the guest did not answer the request to stop");
		break;
	case STOP_KILL_SLOW:
		end_now(vp, "killed", "killed",
		    "the guest did not shut down within its 120 seconds");
		break;
	}
	loop_timer_set(vp->vp_stop_timer, again);
}

static void
stop_ask(struct vmprocess *vp)
{
	if (!vp->vp_stop.sp_asked)
		machine_ask_stop(vp->vp_machine);
	atomic_store(&vp->vp_stopping, true);
	stop_begin(&vp->vp_stop, loop_now());
	if (vp->vp_state != VM_STOPPING)
		set_state(vp, VM_STOPPING);
	stop_look(vp);
}

/* The guest resets: may it? On the VCPU's thread. */
static bool
on_reset(void *arg)
{
	struct vmprocess *vp = arg;

	if (atomic_load(&vp->vp_stopping))
		return (false);
	if (!restart_again(&vp->vp_restart, loop_now())) {
		vp->vp_too_quick = true;
		return (false);
	}
	return (true);
}

/* --- what vmd asks ------------------------------------------------------------------- */

/* Answers that are more than "ok" start here. */
static cJSON *
describe(struct vmprocess *vp)
{
	cJSON *json = control_ok(), *list;
	size_t i;

	cJSON_AddNumberToObject(json, "id", vp->vp_id);
	cJSON_AddStringToObject(json, "name", vp->vp_config->cv_name);
	cJSON_AddNumberToObject(json, "pid", getpid());
	cJSON_AddNumberToObject(json, "uid", vp->vp_uid);
	cJSON_AddBoolToObject(json, "foreign", vp->vp_foreign);
	cJSON_AddNumberToObject(json, "order", vp->vp_order);
	cJSON_AddStringToObject(json, "tty", console_tty(vp->vp_console));
	cJSON_AddStringToObject(json, "state", vm_state_name(vp->vp_state));
	cJSON_AddStringToObject(json, "engine", machine_engine(vp->vp_machine));
	cJSON_AddNumberToObject(json, "since", vp->vp_since);
	list = cJSON_AddArrayToObject(json, "taps");
	for (i = 0; i < vp->vp_config->cv_nnics; i++)
		cJSON_AddItemToArray(list,
		    cJSON_CreateString(vp->vp_vmconfig.vc_tap[i]));
	return (json);
}

static cJSON *
do_hello(struct vmprocess *vp, const cJSON *request, int *fd)
{
	cJSON *json = describe(vp);

	(void)request;
	(void)fd;
	cJSON_AddItemToObject(json, "config",
	    cJSON_Duplicate(vp->vp_json, true));
	return (json);
}

static cJSON *
do_status(struct vmprocess *vp, const cJSON *request, int *fd)
{
	(void)request;
	(void)fd;
	return (describe(vp));
}

/* A paused one goes on. */
static void
go_on(struct vmprocess *vp)
{
	if (vp->vp_state != VM_PAUSED)
		return;
	machine_unpause(vp->vp_machine);
	set_state(vp, VM_RUNNING);
}

static cJSON *
do_stop(struct vmprocess *vp, const cJSON *request, int *fd)
{
	cJSON *json;

	(void)fd;
	if (control_bool(request, "force", false))
		end_now(vp, "terminated", "terminated", NULL);
	else {
		go_on(vp);
		stop_ask(vp);
	}
	json = control_ok();
	cJSON_AddStringToObject(json, "how", vp->vp_how != NULL ? vp->vp_how :
	    "asked");
	return (json);
}

static cJSON *
do_pause(struct vmprocess *vp, const cJSON *request, int *fd)
{
	(void)request;
	(void)fd;
	if (vp->vp_state == VM_PAUSED)
		return (control_error(EALREADY, "%s is paused already",
		    vp->vp_config->cv_name));
	if (vp->vp_state != VM_RUNNING ||
	    machine_pause(vp->vp_machine) == -1)
		return (control_error(EBUSY, "%s is stopping",
		    vp->vp_config->cv_name));
	set_state(vp, VM_PAUSED);
	return (control_ok());
}

static cJSON *
do_unpause(struct vmprocess *vp, const cJSON *request, int *fd)
{
	(void)request;
	(void)fd;
	if (vp->vp_state != VM_PAUSED)
		return (control_error(EINVAL, "%s is not paused",
		    vp->vp_config->cv_name));
	go_on(vp);
	return (control_ok());
}

static cJSON *
do_console(struct vmprocess *vp, const cJSON *request, int *fd)
{
	(void)request;
	if ((*fd = console_attach(vp->vp_console)) == -1)
		return (control_error(errno, "no console: %s",
		    strerror(errno)));
	return (control_ok());
}

static cJSON *
do_log(struct vmprocess *vp, const cJSON *request, int *fd)
{
	(void)vp;
	(void)fd;
	log_set_level(control_bool(request, "verbose", false) ?
	    LOG_LEVEL_INFO : LOG_LEVEL_WARN);
	return (control_ok());
}

static const struct {
	const char	*pc_name;
	/* The answer; *fd, if set, goes with it and is closed. */
	cJSON		*(*pc_fn)(struct vmprocess *, const cJSON *, int *fd);
} commands[] = {
	{ "hello",	do_hello },
	{ "status",	do_status },
	{ "stop",	do_stop },
	{ "pause",	do_pause },
	{ "unpause",	do_unpause },
	{ "console",	do_console },
	{ "log",	do_log },
};

static int
listen_to(struct vmprocess *vp, struct control_peer *peer)
{
	struct listener *li = calloc(1, sizeof(*li));

	if (li == NULL)
		return (-1);
	li->li_peer = peer;
	li->li_next = vp->vp_listeners;
	vp->vp_listeners = li;
	*control_peer_data(peer) = li;
	return (0);
}

static void
on_message(void *arg, struct control_peer *peer, struct control_message *cm)
{
	const struct control_credentials *who = control_peer_who(peer);
	const char *name = control_string(cm->cm_json, "command", "");
	struct vmprocess *vp = arg;
	cJSON *answer = NULL;
	size_t i;
	int fd = -1;

	if (who->cc_uid != 0 && who->cc_uid != vp->vp_vmd) {
		control_peer_shut(peer);
		return;
	}
	if (*control_peer_data(peer) == NULL && listen_to(vp, peer) == -1) {
		control_peer_shut(peer);
		return;
	}
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(name, commands[i].pc_name) == 0) {
			answer = commands[i].pc_fn(vp, cm->cm_json, &fd);
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
	struct listener *li = *control_peer_data(peer), **p;
	struct vmprocess *vp = arg;

	if (peer == vp->vp_parent)
		vp->vp_parent = NULL;
	if (li == NULL)
		return;
	for (p = &vp->vp_listeners; *p != li; p = &(*p)->li_next)
		continue;
	*p = li->li_next;
	free(li);
}

static const struct control_ops ops = {
	.co_message = on_message,
	.co_gone = on_gone
};

/* --- signals --------------------------------------------------------------------------- */

/* SIGTERM asks the guest to stop, a second one does not ask. */
static void
on_signal(void *arg, uint32_t events)
{
	struct vmprocess *vp = arg;
	struct signalfd_siginfo si;

	(void)events;
	if (read(vp->vp_signals, &si, sizeof(si)) != sizeof(si))
		return;
	if (vp->vp_stop.sp_asked)
		end_now(vp, "terminated", "terminated", NULL);
	else
		stop_ask(vp);
}

static int
signals_open(struct vmprocess *vp, struct err *err)
{
	sigset_t set;

	/* ends of connections and terminals are told otherwise */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	vp->vp_signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (vp->vp_signals == -1)
		return (err_sys(err, "cannot wait for signals"));
	return (0);
}

/* --- life --------------------------------------------------------------------------------- */

/* Takes what it is from the first message. */
static int
configure(struct vmprocess *vp, const cJSON *json, struct err *err)
{
	const char *dir = control_string(json, "dir", "");
	double uid = control_number(json, "uid", -1);
	struct vmplace vl;

	if (strcmp(control_string(json, "command", ""), "run") != 0 ||
	    uid < 0 || uid >= UINT32_MAX)
		return (err_set(err, "vmd told no VM"));
	vp->vp_id = (unsigned)control_number(json, "id", 0);
	vp->vp_uid = (uid_t)uid;
	vp->vp_vmd = geteuid();
	vp->vp_order = (unsigned)control_number(json, "order", 0);
	vp->vp_foreign = control_bool(json, "foreign", true);
	if (control_bool(json, "verbose", false))
		log_set_level(LOG_LEVEL_INFO);
	vp->vp_json = cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(json,
	    "config"), true);
	if (config_vm_from_json(&vp->vp_config, vp->vp_json, err) == -1)
		return (-1);
	(void)prctl(PR_SET_NAME, vp->vp_config->cv_name);
	if (runtime_name(vp->vp_path, sizeof(vp->vp_path), err, dir,
	    "vm/%u.sock", vp->vp_id) == -1)
		return (-1);
	/* with the rights of whoever named the files */
	vl = (struct vmplace){ .vl_dir = dir, .vl_id = vp->vp_id,
		.vl_uid = vp->vp_uid,
		.vl_prefix = (uint32_t)control_number(json, "prefix", 0),
		.vl_prefix_bits = (unsigned)control_number(json,
		    "prefix_bits", 0),
		.vl_copy = control_bool(json, "copy", false) };
	if ((vp->vp_listen = control_listen(vp->vp_path, 0600, err)) == -1 ||
	    (vp->vp_console = console_new(&vp->vp_config->cv_owner, err)) ==
	    NULL || vmconfig_networks(&vp->vp_vmconfig, vp->vp_config, &vl,
	    err) == -1)
		return (-1);
	if (vp->vp_foreign && !vl.vl_copy &&
	    privilege_become(vp->vp_uid, err) == -1)
		return (-1);
	return (vmconfig_make(&vp->vp_vmconfig, vp->vp_config, &vl, err));
}

/* The machine; with the rights of whoever defined it. What it opens is said by
 * root or this user: images name further files. */
static int
build(struct vmprocess *vp, struct err *err)
{
	struct machine_config *mc = &vp->vp_vmconfig.vc_machine;

	if (signals_open(vp, err) == -1)
		return (-1);
	mc->mc_reset = on_reset;
	mc->mc_reset_arg = vp;
	mc->mc_console_in = mc->mc_console_out = console_fd(vp->vp_console);
	if (vp->vp_foreign && privilege_become(vp->vp_uid, err) == -1)
		return (-1);
	return (machine_new(&vp->vp_machine, mc, err));
}

/* What stands around the machine, on its loop. */
static int
serve(struct vmprocess *vp, struct err *err)
{
	struct timespec ts;
	struct loop *loop;
	int fd = vp->vp_listen;

	loop = machine_loop(vp->vp_machine);
	vp->vp_listen = -1;	/* the server's, or closed */
	vp->vp_server = control_server_take(loop, fd, &ops, vp, err);
	if (vp->vp_server == NULL ||
	    console_start(vp->vp_console, loop, err) == -1)
		return (-1);
	vp->vp_signal_source = loop_fd_new(loop, vp->vp_signals, EPOLLIN,
	    on_signal, vp);
	vp->vp_stop_timer = loop_timer_new(loop, stop_look, vp);
	if (vp->vp_signal_source == NULL || vp->vp_stop_timer == NULL)
		return (err_sys(err, "cannot watch for events"));
	clock_gettime(CLOCK_BOOTTIME, &ts);
	vp->vp_since = (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
	vp->vp_state = VM_RUNNING;
	restart_begin(&vp->vp_restart, loop_now());
	if (privilege_drop(vp->vp_uid, err) == -1)
		return (-1);
	/* The connection to vmd is one like those to come. */
	vp->vp_loop = loop;
	vp->vp_parent = control_peer_new(loop, VMPROCESS_FD, &ops, vp, err);
	if (vp->vp_parent == NULL || listen_to(vp, vp->vp_parent) == -1)
		return (err_set(err, "cannot answer vmd"));
	control_peer_send(vp->vp_parent, describe(vp), NULL, 0);
	return (0);
}

/* The VM's own names for the ways in which a machine ends. */
static const char *const ends[] = {
	[MACHINE_POWEROFF] = "poweroff",
	[MACHINE_RESET] = "restarts",
	[MACHINE_CRASH] = "crash",
	[MACHINE_EXIT_PORT] = "poweroff",
	[MACHINE_STOPPED] = "terminated",
	[MACHINE_TERMINATED] = "terminated",
	[MACHINE_ERROR] = "error"
};

/* Tells how it ended. The loop runs once more for lines that wait. */
static void
conclude(struct vmprocess *vp, enum machine_end end, const struct err *err)
{
	const char *word = vp->vp_end, *why = vp->vp_why, *how = vp->vp_how;
	cJSON *json;

	if (end != MACHINE_STOPPED || word == NULL) {
		word = ends[end];
		why = err->e_text;
		/* one that reboots when it is asked to stop has stopped, too */
		if (vp->vp_too_quick) {
			word = "restarts";
			why = "restarted too quickly";
		} else if (vp->vp_stop.sp_asked && end == MACHINE_RESET)
			word = "poweroff";
		how = vp->vp_stop.sp_asked && strcmp(word, "poweroff") == 0 ?
		    "powerdown" : word;
	}
	if (loop_post(vp->vp_loop, (void (*)(void *))loop_stop,
	    vp->vp_loop) == 0)
		(void)loop_run(vp->vp_loop);
	json = event("end");
	cJSON_AddStringToObject(json, "end", word);
	cJSON_AddStringToObject(json, "how", how);
	if (why != NULL && why[0] != '\0')
		cJSON_AddStringToObject(json, "error", why);
	if (vp->vp_listeners == NULL)
		syslog(LOG_INFO, "%s: %s%s%s", vp->vp_config->cv_name, word,
		    why != NULL && why[0] != '\0' ? ": " : "",
		    why != NULL ? why : "");
	tell(vp, json);
}

static void
demolish(struct vmprocess *vp)
{
	struct listener *li;

	log_set_sink(NULL, NULL);
	while ((li = vp->vp_listeners) != NULL) {
		/* until the process has ended, and with it disks and taps,
		 * which the VM may be started with again */
		(void)control_peer_hold(li->li_peer);
		vp->vp_listeners = li->li_next;
		*control_peer_data(li->li_peer) = NULL;
		free(li);
	}
	control_peer_free(vp->vp_parent);
	/* Who finds the socket gone, and the connection too, knows the VM has
	 * ended. Where the folder is not ours, vmd removes it. */
	if (vp->vp_path[0] != '\0' && (vp->vp_server != NULL ||
	    vp->vp_listen != -1))
		(void)unlink(vp->vp_path);
	control_server_free(vp->vp_server);
	if (vp->vp_listen != -1)
		close(vp->vp_listen);
	loop_fd_free(vp->vp_signal_source);
	loop_timer_free(vp->vp_stop_timer);
	console_free(vp->vp_console);
	machine_free(vp->vp_machine);
	vmconfig_free(&vp->vp_vmconfig);
	config_vm_free(vp->vp_config);
	cJSON_Delete(vp->vp_json);
}

int
vmprocess_main(void)
{
	struct vmprocess vp = { .vp_listen = -1, .vp_signals = -1 };
	struct control_message cm;
	struct err err = { "" };
	enum machine_end end;
	cJSON *json;
	int n;

	(void)fcntl(VMPROCESS_FD, F_SETFD, FD_CLOEXEC);
	if ((n = control_receive(VMPROCESS_FD, &cm)) != 1)
		return (1);	/* vmd is gone, or it is somebody at a shell */
	log_set_sink(log_sink, &vp);
	n = configure(&vp, cm.cm_json, &err);
	control_message_free(&cm);
	if (n == -1 || build(&vp, &err) == -1 || serve(&vp, &err) == -1) {
		json = control_error(EIO, "%s", err.e_text);
		(void)control_send(VMPROCESS_FD, json, NULL, 0);
		cJSON_Delete(json);
		demolish(&vp);
		return (1);
	}
	end = machine_run(vp.vp_machine, NULL, &err);
	conclude(&vp, end, &err);
	demolish(&vp);
	return (end == MACHINE_ERROR);
}
