/*
 * What vmctl asks, by protocol.h, and who may ask it.
 *
 * 1. Root and vmd's own user may do everything, who owns a VM what its row in
 *    the table says, everybody else look.
 * 2. A row's function answers the request, now or later, in every case.
 *
 * The daemon's thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "vmd/daemon.h"

/* VMs that are listed in one packet. */
#define STATUS_BATCH	32

/* What a user who is not vmd's may have running at once. */
#define USER_CPUS	4
#define USER_MEMORY	(2048ull << 20)
#define USER_NICS	8

static bool
is_admin(const struct client *c)
{
	return (c->c_uid == 0 || c->c_uid == geteuid());
}

static bool
is_owner(const struct client *c, const struct vm *v)
{
	const struct config_vm *cv = vm_config_now(v);
	size_t i;

	if (is_admin(c) || c->c_uid == v->v_uid)
		return (true);
	if (cv == NULL)
		return (false);
	if (cv->cv_owner.co_user_set && cv->cv_owner.co_user == c->c_uid)
		return (true);
	if (cv->cv_owner.co_group_set)
		for (i = 0; i < c->c_ngroups; i++)
			if (c->c_groups[i] == cv->cv_owner.co_group)
				return (true);
	return (false);
}

/* Answers with an error. */
#define refuse(r, ...)	\
	request_answer((r), control_error(__VA_ARGS__), NULL, 0)

static void
agree(struct request *r)
{
	request_answer(r, control_ok(), NULL, 0);
}

/*
 * The VM that a message names, if the client may do more than look at it; else
 * NULL, and the request is answered.
 */
static struct vm *
find(struct client *c, struct request *r, const cJSON *json)
{
	const char *word = control_string(json, "vm", "");
	struct vm *v = vms_find(&c->c_daemon->d_vms, word);

	if (v == NULL) {
		refuse(r, ENOENT, "vm not found: %s", word);
		return (NULL);
	}
	if (!is_owner(c, v)) {
		refuse(r, EPERM, "%s is not yours", v->v_name);
		return (NULL);
	}
	return (v);
}

/* The same, and it runs. */
static struct vm *
find_active(struct client *c, struct request *r, const cJSON *json)
{
	struct vm *v = find(c, r, json);

	if (v != NULL && !vm_is_active(v)) {
		refuse(r, EINVAL, "%s does not run", v->v_name);
		return (NULL);
	}
	return (v);
}

/* --- status --------------------------------------------------------------------- */

static void
do_status(struct client *c, struct request *r, struct control_message *cm)
{
	const char *word = control_string(cm->cm_json, "vm", NULL);
	const struct daemon *d = c->c_daemon;
	cJSON *answer = NULL, *list = NULL;
	const struct vm *v;
	unsigned n = 0;

	for (v = d->d_vms.vs_first; v != NULL; v = v->v_next) {
		if (word != NULL && v != vms_find(&d->d_vms, word))
			continue;
		if (n == STATUS_BATCH) {
			cJSON_AddBoolToObject(answer, "more", true);
			control_peer_send(c->c_peer, answer, NULL, 0);
			n = 0;
		}
		if (n++ == 0) {
			answer = control_ok();
			list = cJSON_AddArrayToObject(answer, "vms");
		}
		cJSON_AddItemToArray(list, status_vm(d, v));
	}
	if (answer == NULL) {
		answer = control_ok();
		(void)cJSON_AddArrayToObject(answer, "vms");
	}
	request_answer(r, answer, NULL, 0);
}

/* --- start ------------------------------------------------------------------------ */

/* Would this user have too much with this one? */
static int
check_user_limits(const struct daemon *d, uid_t uid,
    const struct config_vm *new, struct err *err)
{
	uint64_t cpus = new->cv_cpus, memory = new->cv_memory;
	uint64_t nics = new->cv_nnics;
	const struct config_vm *cv;
	const struct vm *v;

	if (uid == 0 || uid == geteuid())
		return (0);
	for (v = d->d_vms.vs_first; v != NULL; v = v->v_next) {
		cv = v->v_running;
		if (cv == NULL || v->v_uid != uid)
			continue;
		cpus += cv->cv_cpus;
		memory += cv->cv_memory;
		nics += cv->cv_nnics;
	}
	errno = EPERM;
	if (cpus > USER_CPUS)
		return (err_set(err, "a user's VMs may have %u CPUs together",
		    USER_CPUS));
	if (memory > USER_MEMORY)
		return (err_set(err, "a user's VMs may have %llu MB together",
		    USER_MEMORY >> 20));
	if (nics > USER_NICS)
		return (err_set(err, "a user's VMs may have %u interfaces "
		    "together", USER_NICS));
	return (0);
}

/* Starts it; the answer comes when it runs. */
static void
start_vm(struct client *c, struct request *r, struct vm *v)
{
	struct daemon *d = c->c_daemon;
	struct err err;

	if (d->d_phase != DAEMON_SERVING) {
		refuse(r, EBUSY, "vmd ends; it starts nothing more");
		return;
	}
	if (check_user_limits(d, v->v_uid, v->v_config, &err) == -1) {
		refuse(r, errno, "%s: %s", v->v_name, err.e_text);
		return;
	}
	if (request_wait(r, v, REQUEST_RUNS) == -1) {
		refuse(r, errno, "%s: no memory", v->v_name);
		return;
	}
	v->v_state = VM_STOPPED;
	if (process_start(d, v, &err) == -1) {
		request_forget(v);
		refuse(r, errno, "%s: %s", v->v_name, err.e_text);
	}
}

static void
start_known(struct client *c, struct request *r, const cJSON *json)
{
	struct vm *v = find(c, r, json);

	if (v == NULL)
		return;
	if (vm_is_active(v))
		refuse(r, EALREADY, "%s runs already", v->v_name);
	else if (v->v_config == NULL)
		refuse(r, ENOENT, "%s is not configured any more", v->v_name);
	else
		start_vm(c, r, v);
}

/* Does a VM have anything to boot from? */
static bool
has_devices(const struct config_vm *cv)
{
	return (cv->cv_boot != NULL || cv->cv_ndisks > 0 ||
	    cv->cv_cdrom != NULL || cv->cv_boot_device == CONFIG_BOOT_NET);
}

/* Did the client say by itself what the VM boots from? */
static bool
says_boot(const struct config_vm *cv)
{
	return (cv->cv_boot != NULL || cv->cv_initrd != NULL);
}

/* Does it name interfaces or bridges of the host? Those are root's. */
static bool
says_tap(const struct config_vm *cv)
{
	const struct config_nic *cn;

	for (cn = cv->cv_nic; cn < cv->cv_nic + cv->cv_nnics; cn++)
		if (cn->cn_kind == CONFIG_NIC_TAP || cn->cn_tap != NULL ||
		    cn->cn_bridge != NULL || cn->cn_group != NULL)
			return (true);
	return (false);
}

/*
 * Completes what somebody wants to define: 0, or an errno with a line in err.
 */
static int
define(struct client *c, struct config_vm *cv, const char *template,
    struct err *err)
{
	const struct vm *parent = NULL;

	if (config_name_check(cv->cv_name, err) == -1)
		return (EINVAL);
	if (vms_by_name(&c->c_daemon->d_vms, cv->cv_name) != NULL) {
		err_set(err, "%s: there is a VM of this name", cv->cv_name);
		return (EALREADY);
	}
	if (!is_admin(c) && says_tap(cv)) {
		err_set(err, "only root names taps and bridges; name a switch "
		    "of vm.conf");
		return (EPERM);
	}
	if (template != NULL) {
		parent = vms_by_name(&c->c_daemon->d_vms, template);
		if (parent == NULL || parent->v_config == NULL) {
			err_set(err, "there is no template %s", template);
			return (ENOENT);
		}
		if (config_vm_inherit(cv, parent->v_config, c->c_uid,
		    c->c_groups, c->c_ngroups, err) == -1)
			return (errno != 0 ? errno : EPERM);
	} else if (!is_admin(c)) {
		err_set(err, "only root defines VMs; users start instances "
		    "of a template (-t)");
		return (EPERM);
	}
	/* whoever makes it owns it, whatever it says */
	if (!is_admin(c)) {
		cv->cv_owner.co_user_set = true;
		cv->cv_owner.co_user = c->c_uid;
		cv->cv_owner.co_group_set = false;
	}
	if (!has_devices(cv)) {
		err_set(err, "%s has neither kernel nor disk nor cdrom; give "
		    "it one", cv->cv_name);
		return (EINVAL);
	}
	if (config_vm_fill(cv, err) == -1)
		return (EINVAL);
	return (0);
}

static void
start_new(struct client *c, struct request *r, const cJSON *json)
{
	const cJSON *config = cJSON_GetObjectItemCaseSensitive(json,
	    "config");
	struct config_vm *cv;
	struct err err;
	struct vm *v;
	uid_t uid;
	bool copy;
	int error;

	if (config_vm_from_json(&cv, config, &err) == -1) {
		refuse(r, EINVAL, "%s", err.e_text);
		return;
	}
	copy = is_admin(c) || !says_boot(cv);
	error = define(c, cv, control_string(json, "template", NULL), &err);
	if (error != 0) {
		refuse(r, error, "%s", err.e_text);
		config_vm_free(cv);
		return;
	}
	uid = cv->cv_owner.co_user_set ? cv->cv_owner.co_user : geteuid();
	if ((v = load_vm(c->c_daemon, cv, uid, &err)) == NULL) {
		refuse(r, errno, "%s", err.e_text);
		return;
	}
	v->v_foreign = !is_admin(c);
	v->v_copy = copy;
	start_vm(c, r, v);
	if (!vm_is_active(v))
		vms_remove(&c->c_daemon->d_vms, v);
}

static void
do_start(struct client *c, struct request *r, struct control_message *cm)
{
	if (cJSON_GetObjectItemCaseSensitive(cm->cm_json, "config") != NULL)
		start_new(c, r, cm->cm_json);
	else
		start_known(c, r, cm->cm_json);
}

/* --- stop, wait --------------------------------------------------------------------- */

/* One that is asked to stop already is not asked again, but may be forced. */
static int
stop_check_state(const struct vm *v, bool force, struct err *err)
{
	if (v->v_state == VM_WAITING)
		return (0);
	if (!vm_is_active(v)) {
		err_set(err, "cannot stop vm that is not running");
		return (EINVAL);
	}
	if (v->v_state == VM_STOPPING && !force) {
		err_set(err, "%s is stopping already; -f ends it at once",
		    v->v_name);
		return (EALREADY);
	}
	return (0);
}

static void
stop_all(struct client *c, struct request *r, bool force, bool wait)
{
	struct daemon *d = c->c_daemon;
	struct err err;
	struct vm *v;
	cJSON *one;

	if (request_list(r) == -1) {
		refuse(r, errno, "no memory");
		return;
	}
	for (v = d->d_vms.vs_first; v != NULL; v = v->v_next) {
		if (!vm_is_active(v) || !is_owner(c, v))
			continue;
		if (wait && request_wait(r, v, REQUEST_ENDED) == -1)
			continue;
		if (stop_check_state(v, force, &err) == 0)
			process_call(d, v, CALL_STOP, force, NULL);
		if (wait)
			continue;
		one = cJSON_CreateObject();
		cJSON_AddNumberToObject(one, "id", v->v_id);
		cJSON_AddStringToObject(one, "name", v->v_name);
		cJSON_AddStringToObject(one, "how", "asked");
		cJSON_AddItemToArray(r->r_list, one);
	}
	request_ready(r);
}

static void
do_stop(struct client *c, struct request *r, struct control_message *cm)
{
	const bool force = control_bool(cm->cm_json, "force", false);
	const bool wait = control_bool(cm->cm_json, "wait", false);
	struct daemon *d = c->c_daemon;
	struct err err;
	struct vm *v;
	int error;

	if (control_bool(cm->cm_json, "all", false)) {
		stop_all(c, r, force, wait);
		return;
	}
	if ((v = find(c, r, cm->cm_json)) == NULL)
		return;
	if ((error = stop_check_state(v, force, &err)) != 0) {
		refuse(r, error, "%s", err.e_text);
		return;
	}
	if (v->v_state == VM_WAITING) {
		v->v_state = VM_STOPPED;
		agree(r);
		return;
	}
	if (!wait) {
		process_call(d, v, CALL_STOP, force, r);
		return;
	}
	if (request_wait(r, v, REQUEST_ENDED) == -1) {
		refuse(r, errno, "no memory");
		return;
	}
	process_call(d, v, CALL_STOP, force, NULL);
}

static void
do_wait(struct client *c, struct request *r, struct control_message *cm)
{
	struct vm *v = find_active(c, r, cm->cm_json);

	if (v != NULL && request_wait(r, v, REQUEST_ENDED) == -1)
		refuse(r, errno, "no memory");
}

/* --- what goes on to the VM's process ------------------------------------------------ */

static void
forward(struct client *c, struct request *r, struct control_message *cm,
    enum call_kind kind)
{
	struct vm *v = find_active(c, r, cm->cm_json);

	if (v != NULL)
		process_call(c->c_daemon, v, kind, false, r);
}

static void
do_pause(struct client *c, struct request *r, struct control_message *cm)
{
	forward(c, r, cm, CALL_PAUSE);
}

static void
do_unpause(struct client *c, struct request *r, struct control_message *cm)
{
	forward(c, r, cm, CALL_UNPAUSE);
}

static void
do_console(struct client *c, struct request *r, struct control_message *cm)
{
	forward(c, r, cm, CALL_CONSOLE);
}

/* --- the daemon itself ------------------------------------------------------------------ */

static void
do_load(struct client *c, struct request *r, struct control_message *cm)
{
	const char *file = control_string(cm->cm_json, "file", "");
	struct err err;

	if (file[0] != '/')
		refuse(r, EINVAL, "the file has no path from /");
	else if (load_file(c->c_daemon, file, &err) == -1)
		refuse(r, EINVAL, "%s", err.e_text);
	else
		agree(r);
}

static void
do_reload(struct client *c, struct request *r, struct control_message *cm)
{
	struct err err;

	(void)cm;
	if (load_again(c->c_daemon, &err) == -1)
		refuse(r, EINVAL, "%s", err.e_text);
	else
		agree(r);
}

static void
do_reset(struct client *c, struct request *r, struct control_message *cm)
{
	const char *what = control_string(cm->cm_json, "what", "all");
	const bool all = strcmp(what, "all") == 0;
	const bool vms = strcmp(what, "vms") == 0;

	if (!all && !vms && strcmp(what, "switches") != 0) {
		refuse(r, EINVAL, "reset what? all, vms or switches, not %s",
		    what);
		return;
	}
	if (all || vms)
		load_reset_vms(c->c_daemon);
	if (!vms)
		load_reset_switches(c->c_daemon);
	agree(r);
}

static void
do_log(struct client *c, struct request *r, struct control_message *cm)
{
	const bool verbose = control_bool(cm->cm_json, "verbose", false);
	struct daemon *d = c->c_daemon;
	struct vm *v;

	d->d_verbose = verbose;
	log_set_level(verbose ? LOG_LEVEL_INFO : LOG_LEVEL_WARN);
	for (v = d->d_vms.vs_first; v != NULL; v = v->v_next)
		if (vm_is_active(v))
			process_call(d, v, CALL_LOG, verbose, NULL);
	agree(r);
}

static void
do_shutdown(struct client *c, struct request *r, struct control_message *cm)
{
	(void)cm;
	agree(r);
	daemon_end(c->c_daemon, false);
}

/* --- the table ----------------------------------------------------------------------------- */

static const struct {
	const char	*co_name;
	bool		 co_admin;	/* root and vmd's user alone */
	void		(*co_fn)(struct client *, struct request *,
			    struct control_message *);
} commands[] = {
	{ "status",	false,	do_status },
	{ "start",	false,	do_start },
	{ "stop",	false,	do_stop },
	{ "wait",	false,	do_wait },
	{ "pause",	false,	do_pause },
	{ "unpause",	false,	do_unpause },
	{ "console",	false,	do_console },
	{ "load",	true,	do_load },
	{ "reload",	true,	do_reload },
	{ "reset",	true,	do_reset },
	{ "log",	true,	do_log },
	{ "shutdown",	true,	do_shutdown },
};

void
command_do(struct client *c, struct request *r, struct control_message *cm)
{
	const char *name = control_string(cm->cm_json, "command", "");
	size_t i;

	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(commands[i].co_name, name) != 0)
			continue;
		if (commands[i].co_admin && !is_admin(c))
			refuse(r, EPERM, "%s: only root may", name);
		else
			commands[i].co_fn(c, r, cm);
		return;
	}
	refuse(r, EOPNOTSUPP, "vmd knows no command \"%s\"", name);
}

static void
on_message(void *arg, struct control_peer *peer, struct control_message *cm)
{
	struct client *c = *control_peer_data(peer);

	if (c == NULL) {
		if ((c = client_new(arg, peer)) == NULL) {
			control_peer_shut(peer);
			return;
		}
		*control_peer_data(peer) = c;
	}
	client_message(c, cm);
}

static void
on_gone(void *arg, struct control_peer *peer)
{
	struct client *c = *control_peer_data(peer);

	(void)arg;
	if (c != NULL)
		client_gone(c);
}

const struct control_ops command_ops = {
	.co_message = on_message,
	.co_gone = on_gone
};
