/*
 * The processes of VMs, seen from the daemon: started, found again, spoken to.
 *
 * 1. A VM's process is this program executed anew (vmprocess.c). It is told
 *    what it is over a socket that it inherits, and serves one of its own in
 *    the runtime folder, where a vmd that comes later finds it.
 * 2. The connection is the VM: when it ends, the VM has ended. A process that
 *    is still there then has lost its mind or is about to exit.
 * 3. Answers of a process come in the order of the questions: v_calls.
 * 4. What a process says is checked like what anybody says: its guest may have
 *    taken it over.
 *
 * The daemon's thread.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "vmd/daemon.h"
#include "vmd/vmprocess.h"

#define FIND_NS		(5 * LIMIT_SECOND)
#define KILL_NS		(10 * LIMIT_SECOND)

/* A question to a VM's process. */
struct call {
	enum call_kind	 ca_kind;
	struct request	*ca_request;	/* held; NULL: nobody's */
	struct call	*ca_next;
};

/* A process that was found and has not said yet what it is. */
struct adoption {
	struct daemon	*ad_daemon;
	unsigned	 ad_id;
	struct control_peer *ad_peer;
	struct adoption	*ad_next;
};

static const char *const call_names[] = {
	[CALL_RUN] = "run",
	[CALL_STOP] = "stop",
	[CALL_PAUSE] = "pause",
	[CALL_UNPAUSE] = "unpause",
	[CALL_CONSOLE] = "console",
	[CALL_LOG] = "log"
};

static const struct control_ops process_ops, adoption_ops;

static void
copy_text(char *to, size_t size, const cJSON *json, const char *name)
{
	const char *text = control_string(json, name, "");
	size_t i;

	for (i = 0; i < size - 1 && text[i] != '\0'; i++)
		to[i] = (unsigned char)text[i] < ' ' || text[i] == 0x7f ? '?' :
		    text[i];
	to[i] = '\0';
}

/* --- questions and answers ---------------------------------------------------- */

/* Puts a question in its place in the order. */
static int
call_add(struct vm *v, enum call_kind kind, struct request *r)
{
	struct call *ca = calloc(1, sizeof(*ca));

	if (ca == NULL)
		return (-1);
	ca->ca_kind = kind;
	ca->ca_request = r;
	request_hold(r);
	*v->v_calls_tail = ca;
	v->v_calls_tail = &ca->ca_next;
	return (0);
}

/* The next one in order, which the caller ends with call_free(). */
static struct call *
call_take(struct vm *v)
{
	struct call *ca = v->v_calls;

	if (ca != NULL && (v->v_calls = ca->ca_next) == NULL)
		v->v_calls_tail = &v->v_calls;
	return (ca);
}

static void
call_free(struct call *ca)
{
	request_release(ca->ca_request);
	free(ca);
}

void
process_call(struct daemon *d, struct vm *v, enum call_kind kind, bool flag,
    struct request *r)
{
	cJSON *json;

	if (v->v_peer == NULL || call_add(v, kind, r) == -1) {
		request_answer(r, control_error(v->v_peer == NULL ? ESRCH :
		    ENOMEM, "%s cannot be asked", v->v_name), NULL, 0);
		return;
	}
	json = cJSON_CreateObject();
	cJSON_AddStringToObject(json, "command", call_names[kind]);
	if (kind == CALL_STOP) {
		cJSON_AddBoolToObject(json, "force", flag);
		if (flag && v->v_kill == 0) {
			v->v_kill = loop_now() + KILL_NS;
			process_kill_timer(d);
		}
	}
	if (kind == CALL_LOG)
		cJSON_AddBoolToObject(json, "verbose", flag);
	control_peer_send(v->v_peer, json, NULL, 0);
}

void
process_kill_timer(void *arg)
{
	uint64_t now = loop_now(), again = LOOP_NEVER;
	struct daemon *d = arg;
	struct vm *v;

	for (v = d->d_vms.vs_first; v != NULL; v = v->v_next) {
		if (v->v_kill == 0)
			continue;
		if (v->v_kill > now) {
			if (v->v_kill < again)
				again = v->v_kill;
			continue;
		}
		v->v_kill = 0;
		/* while it is connected, its number is no other's */
		if (v->v_peer == NULL || v->v_pid <= 0)
			continue;
		log_warn("%s: its process does not end; it is killed",
		    v->v_name);
		(void)kill(v->v_pid, SIGKILL);
	}
	loop_timer_set(d->d_kill_timer, again);
}

/* The names of its taps; those that vm.conf names have theirs already. */
static void
take_taps(struct config_vm *cv, const cJSON *json)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, "taps");
	const cJSON *name;
	struct config_nic *cn;
	size_t i;

	for (i = 0; i < cv->cv_nnics; i++) {
		cn = &cv->cv_nic[i];
		name = cJSON_GetArrayItem(list, (int)i);
		if (cn->cn_kind == CONFIG_NIC_TAP && cn->cn_tap == NULL &&
		    cJSON_IsString(name) && name->valuestring[0] != '\0')
			cn->cn_tap = strndup(name->valuestring, IFNAMSIZ - 1);
	}
}

/* It runs: how it said so, at its start or when it was found. */
static void
process_runs(struct vm *v, const cJSON *json)
{
	static const enum vm_state states[] = { VM_RUNNING, VM_PAUSED,
	    VM_STOPPING };
	const char *state = control_string(json, "state", "");
	size_t i;

	copy_text(v->v_tty, sizeof(v->v_tty), json, "tty");
	copy_text(v->v_engine, sizeof(v->v_engine), json, "engine");
	take_taps(v->v_running, json);
	v->v_since = control_number(json, "since", 0);
	v->v_state = VM_RUNNING;
	for (i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		if (strcmp(state, vm_state_name(states[i])) == 0)
			v->v_state = states[i];
}

static void
process_answer(struct vm *v, struct control_message *cm)
{
	const bool ok = control_bool(cm->cm_json, "ok", false);
	struct call *ca = call_take(v);

	if (ca == NULL) {
		log_warn("%s: its process answers what nobody asked",
		    v->v_name);
		control_peer_shut(v->v_peer);
		return;
	}
	if (ca->ca_kind == CALL_RUN && ok) {
		process_runs(v, cm->cm_json);
		log_info("%s: started as VM %u, console %s", v->v_name,
		    v->v_id, v->v_tty);
		request_vm(v, REQUEST_RUNS);
	} else if (ca->ca_kind == CALL_RUN) {
		snprintf(v->v_end, sizeof(v->v_end), "error");
		snprintf(v->v_how, sizeof(v->v_how), "error");
		copy_text(v->v_error, sizeof(v->v_error), cm->cm_json,
		    "error");
	}
	/* It goes on to whoever asked, descriptors and all. */
	if (ca->ca_request != NULL) {
		request_answer(ca->ca_request, cm->cm_json, cm->cm_fd,
		    cm->cm_nfds);
		cm->cm_json = NULL;
	}
	call_free(ca);
}

/* --- what a process says by itself ---------------------------------------------- */

static void
event_state(struct vm *v, const cJSON *json)
{
	const char *state = control_string(json, "state", "");
	enum vm_state s;

	for (s = VM_RUNNING; s <= VM_STOPPING; s++)
		if (strcmp(state, vm_state_name(s)) == 0 &&
		    v->v_state != VM_STARTING)
			v->v_state = s;
}

static void
event_log(struct vm *v, const cJSON *json)
{
	const size_t len = strlen(v->v_name);
	const char *text;
	char line[1024];

	copy_text(line, sizeof(line), json, "line");
	/* the machine names itself in its lines */
	text = strncmp(line, v->v_name, len) == 0 &&
	    strncmp(line + len, ": ", 2) == 0 ? line + len + 2 : line;
	if (control_bool(json, "warning", true))
		log_warn("%s: %s", v->v_name, text);
	else
		log_info("%s: %s", v->v_name, text);
}

static void
event_end(struct vm *v, const cJSON *json)
{
	copy_text(v->v_end, sizeof(v->v_end), json, "end");
	copy_text(v->v_how, sizeof(v->v_how), json, "how");
	copy_text(v->v_error, sizeof(v->v_error), json, "error");
}

static const struct {
	const char	*ev_name;
	void		(*ev_fn)(struct vm *, const cJSON *);
} events[] = {
	{ "state",	event_state },
	{ "log",	event_log },
	{ "end",	event_end },
};

static void
process_message(void *arg, struct control_peer *peer,
    struct control_message *cm)
{
	struct vm *v = *control_peer_data(peer);
	const char *event = control_string(cm->cm_json, "event", NULL);
	size_t i;

	(void)arg;
	if (event == NULL) {
		process_answer(v, cm);
		return;
	}
	for (i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		if (strcmp(event, events[i].ev_name) == 0)
			events[i].ev_fn(v, cm->cm_json);
}

/* --- its end ----------------------------------------------------------------------- */

/* What happened, in the log and in v_*. */
static void
end_note(struct vm *v)
{
	if (v->v_end[0] == '\0') {
		snprintf(v->v_end, sizeof(v->v_end), "killed");
		snprintf(v->v_how, sizeof(v->v_how), "killed");
		snprintf(v->v_error, sizeof(v->v_error),
		    "its process was killed or crashed");
		log_warn("%s: %s", v->v_name, v->v_error);
	} else if (v->v_error[0] != '\0')
		log_warn("%s: %s: %s", v->v_name, v->v_end, v->v_error);
	else
		log_info("%s: %s", v->v_name, v->v_end);
}

static void
process_gone(void *arg, struct control_peer *peer)
{
	struct vm *v = *control_peer_data(peer);
	char path[RUNTIME_PATH_MAX];
	struct daemon *d = arg;
	struct call *ca;

	v->v_peer = NULL;
	v->v_state = VM_STOPPED;
	v->v_pid = 0;
	v->v_kill = 0;
	end_note(v);
	if (runtime_name(path, sizeof(path), NULL, d->d_dir, "vm/%u.sock",
	    v->v_id) == 0)
		(void)unlink(path);
	while ((ca = call_take(v)) != NULL) {
		request_answer(ca->ca_request, control_error(ESRCH,
		    "%s has ended", v->v_name), NULL, 0);
		call_free(ca);
	}
	config_vm_free(v->v_running);
	v->v_running = NULL;
	v->v_tty[0] = v->v_engine[0] = '\0';
	/* who hears of it finds it gone, and may start it or another anew */
	if (v->v_kept && v->v_config != NULL)
		request_vm(v, REQUEST_ENDED);
	else {
		vms_take(&d->d_vms, v);
		request_vm(v, REQUEST_ENDED);
		vms_end(v);
	}
	daemon_next(d);
}

static const struct control_ops process_ops = {
	.co_message = process_message,
	.co_gone = process_gone
};

/* --- starting ------------------------------------------------------------------------ */

pid_t
process_spawn(int fd, const char *title, const char *option, struct err *err)
{
	char *argv[] = { (char *)title, (char *)option, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	pid_t pid;
	int error;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null",
	    O_RDWR, 0);
	posix_spawn_file_actions_adddup2(&actions, STDIN_FILENO,
	    STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, fd, VMPROCESS_FD);
	/* A terminal's ^C is for vmd, which then stops its VMs in order. */
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK |
	    POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	error = posix_spawn(&pid, "/proc/self/exe", &actions, &attr, argv,
	    environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	if (error != 0) {
		errno = error;
		err_sys(err, "cannot start a process");
		return (-1);
	}
	return (pid);
}

/* What a VM's process is told first. */
static cJSON *
run_message(const struct daemon *d, const struct vm *v)
{
	cJSON *json = cJSON_CreateObject(), *config;

	cJSON_AddStringToObject(json, "command", call_names[CALL_RUN]);
	cJSON_AddNumberToObject(json, "id", v->v_id);
	cJSON_AddStringToObject(json, "name", v->v_name);
	cJSON_AddNumberToObject(json, "uid", v->v_uid);
	cJSON_AddNumberToObject(json, "order", v->v_order);
	cJSON_AddBoolToObject(json, "foreign", v->v_foreign);
	cJSON_AddBoolToObject(json, "copy", v->v_copy);
	cJSON_AddNumberToObject(json, "prefix", d->d_config.cf_prefix);
	cJSON_AddNumberToObject(json, "prefix_bits",
	    d->d_config.cf_prefix_bits);
	cJSON_AddStringToObject(json, "dir", d->d_dir);
	cJSON_AddBoolToObject(json, "verbose", d->d_verbose);
	config = config_vm_json(v->v_running);
	if (config == NULL ||
	    !cJSON_AddItemToObject(json, "config", config)) {
		cJSON_Delete(json);
		errno = ENOMEM;
		return (NULL);
	}
	return (json);
}

int
process_start(struct daemon *d, struct vm *v, struct err *err)
{
	char title[CONFIG_NAME_MAX + 16];
	struct control_peer *peer = NULL;
	cJSON *json = NULL;
	int fd[2] = { -1, -1 };

	snprintf(title, sizeof(title), "vmd: %s", v->v_name);
	v->v_running = config_vm_copy(v->v_config);
	v->v_order = ++d->d_vms.vs_order;
	if (v->v_running == NULL ||
	    config_bridges(&d->d_config, v->v_running) == -1 ||
	    (json = run_message(d, v)) == NULL) {
		err_sys(err, "cannot start %s", v->v_name);
		goto fail;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd) == -1) {
		err_sys(err, "cannot make a socket");
		goto fail;
	}
	peer = control_peer_new(d->d_loop, fd[0], &process_ops, d, err);
	fd[0] = -1;		/* the peer's, or closed */
	if (peer == NULL)
		goto fail;
	if (call_add(v, CALL_RUN, NULL) == -1) {
		err_sys(err, "cannot start %s", v->v_name);
		goto fail;
	}
	v->v_pid = process_spawn(fd[1], title, CONTROL_VM_PROCESS, err);
	if (v->v_pid == -1) {
		call_free(call_take(v));
		goto fail;
	}
	close(fd[1]);
	*control_peer_data(peer) = v;
	v->v_peer = peer;
	v->v_state = VM_STARTING;
	v->v_end[0] = v->v_how[0] = v->v_error[0] = '\0';
	control_peer_send(peer, json, NULL, 0);
	return (0);
fail:
	cJSON_Delete(json);
	control_peer_free(peer);
	if (fd[1] != -1)
		close(fd[1]);
	v->v_pid = 0;
	config_vm_free(v->v_running);
	v->v_running = NULL;
	return (-1);
}

/* --- found again ------------------------------------------------------------------------ */

static void
adoption_free(struct adoption *ad)
{
	struct daemon *d = ad->ad_daemon;
	struct adoption **p;

	for (p = &d->d_adoptions; *p != ad; p = &(*p)->ad_next)
		continue;
	*p = ad->ad_next;
	free(ad);
	if (d->d_adoptions == NULL && d->d_phase == DAEMON_FINDING)
		daemon_found(d);
}

/* The VM that a process says it is; NULL with a line in err. */
static struct vm *
adopt(struct daemon *d, const struct adoption *ad, const cJSON *json,
    struct err *err)
{
	const char *name = control_string(json, "name", "");
	double uid = control_number(json, "uid", -1);
	struct config_vm *config;
	struct vm *v;

	if (config_name_check(name, err) == -1)
		return (NULL);
	if (control_number(json, "id", 0) != ad->ad_id || uid < 0 ||
	    uid >= UINT32_MAX) {
		err_set(err, "it contradicts its socket");
		return (NULL);
	}
	if (config_vm_from_json(&config, cJSON_GetObjectItemCaseSensitive(json,
	    "config"), err) == -1)
		return (NULL);
	v = vms_by_name(&d->d_vms, name);
	if (v != NULL) {
		/* one of its name that does not run may be this one */
		config_vm_free(config);
		err_set(err, "there is another VM named %s", name);
		return (NULL);
	}
	v = vms_add(&d->d_vms, name, (uid_t)uid, ad->ad_id, NULL);
	if (v == NULL) {
		err_sys(err, "cannot add %s", name);
		config_vm_free(config);
		return (NULL);
	}
	v->v_running = config;
	v->v_foreign = control_bool(json, "foreign", true);
	v->v_order = (unsigned)control_number(json, "order", 0);
	if (v->v_order > d->d_vms.vs_order)
		d->d_vms.vs_order = v->v_order;
	return (v);
}

static void
adoption_message(void *arg, struct control_peer *peer,
    struct control_message *cm)
{
	struct adoption *ad = *control_peer_data(peer);
	struct daemon *d = arg;
	struct err err;
	struct vm *v;

	if (control_string(cm->cm_json, "event", NULL) != NULL)
		return;
	v = adopt(d, ad, cm->cm_json, &err);
	if (v == NULL) {
		log_warn("process %d is no VM of ours: %s",
		    (int)control_peer_who(peer)->cc_pid, err.e_text);
		control_peer_shut(peer);
		return;
	}
	process_runs(v, cm->cm_json);
	v->v_pid = control_peer_who(peer)->cc_pid;
	v->v_peer = peer;
	*control_peer_data(peer) = v;
	control_peer_ops(peer, &process_ops);
	log_info("%s: found, VM %u", v->v_name, v->v_id);
	adoption_free(ad);
}

/* Connects to a VM's process, or says -1; if there is none any more, its socket
 * goes. */
static int
process_connect(const struct daemon *d, unsigned id)
{
	char path[RUNTIME_PATH_MAX];
	int fd;

	if (runtime_name(path, sizeof(path), NULL, d->d_dir, "vm/%u.sock",
	    id) == -1)
		return (-1);
	fd = control_connect(path, NULL);
	if (fd == -1 && errno == ECONNREFUSED)
		(void)unlink(path);
	return (fd);
}

/* Before it said what it is: it may have been dying when it was found. */
static void
adoption_gone(void *arg, struct control_peer *peer)
{
	struct adoption *ad = *control_peer_data(peer);
	int fd = process_connect(arg, ad->ad_id);

	if (fd != -1)
		close(fd);
	adoption_free(ad);
}

static const struct control_ops adoption_ops = {
	.co_message = adoption_message,
	.co_gone = adoption_gone
};

/* A socket that was found. */
static void
find_one(struct daemon *d, unsigned id)
{
	struct control_peer *peer;
	struct adoption *ad;
	cJSON *json;
	int fd;

	if ((fd = process_connect(d, id)) == -1)
		return;
	/* no other VM gets its number */
	if (id > d->d_vms.vs_last)
		d->d_vms.vs_last = id;
	if ((peer = control_peer_new(d->d_loop, fd, &adoption_ops, d,
	    NULL)) == NULL)
		return;
	if ((ad = calloc(1, sizeof(*ad))) == NULL) {
		control_peer_free(peer);
		return;
	}
	*ad = (struct adoption){ .ad_daemon = d, .ad_id = id,
		.ad_peer = peer, .ad_next = d->d_adoptions };
	d->d_adoptions = ad;
	*control_peer_data(peer) = ad;
	json = cJSON_CreateObject();
	cJSON_AddStringToObject(json, "command", "hello");
	control_peer_send(peer, json, NULL, 0);
}

static void
find_limit(void *arg)
{
	struct daemon *d = arg;
	struct adoption *ad;

	if (d->d_phase != DAEMON_FINDING)
		return;
	for (ad = d->d_adoptions; ad != NULL; ad = ad->ad_next)
		log_warn("VM %u, process %d, does not answer; it is left "
		    "alone", ad->ad_id,
		    (int)control_peer_who(ad->ad_peer)->cc_pid);
	daemon_found(d);
}

void
process_find(struct daemon *d)
{
	char path[RUNTIME_PATH_MAX], rest;
	struct dirent *de;
	unsigned id;
	DIR *dir;

	if (runtime_name(path, sizeof(path), NULL, d->d_dir, "vm") == 0 &&
	    (dir = opendir(path)) != NULL) {
		while ((de = readdir(dir)) != NULL)
			if (sscanf(de->d_name, "%9u.soc%c", &id, &rest) == 2 &&
			    rest == 'k' && id != 0)
				find_one(d, id);
		closedir(dir);
	}
	d->d_find_limit = loop_timer_new(d->d_loop, find_limit, d);
	if (d->d_find_limit != NULL)
		loop_timer_set(d->d_find_limit, loop_now() + FIND_NS);
	if (d->d_adoptions == NULL || d->d_find_limit == NULL)
		daemon_found(d);
}

void
process_leave(struct daemon *d)
{
	struct adoption *ad;
	struct call *ca;
	struct vm *v;

	while ((ad = d->d_adoptions) != NULL) {
		control_peer_free(ad->ad_peer);
		d->d_adoptions = ad->ad_next;
		free(ad);
	}
	loop_timer_free(d->d_find_limit);
	d->d_find_limit = NULL;
	for (v = d->d_vms.vs_first; v != NULL; v = v->v_next) {
		while ((ca = call_take(v)) != NULL)
			call_free(ca);
		request_forget(v);
		control_peer_free(v->v_peer);
		v->v_peer = NULL;
	}
}
