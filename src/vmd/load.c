/*
 * Configurations into the table of VMs; see daemon.h.
 *
 * A configuration is taken over whole or not at all: it is read and checked
 * before anything is changed.
 *
 * The daemon's thread.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/log.h"
#include "vmd/daemon.h"

#define MAC_TRIES	1000

/* --- addresses ------------------------------------------------------------------ */

static bool
config_has_mac(const struct config_vm *cv, const uint8_t mac[6])
{
	size_t i;

	if (cv == NULL)
		return (false);
	for (i = 0; i < cv->cv_nnics; i++)
		if (cv->cv_nic[i].cn_mac_set &&
		    memcmp(cv->cv_nic[i].cn_mac, mac, 6) == 0)
			return (true);
	return (false);
}

static bool
mac_is_used(const struct daemon *d, const struct config_vm *own,
    const uint8_t mac[6])
{
	const struct vm *v;

	for (v = d->d_vms.vs_first; v != NULL; v = v->v_next)
		if (config_has_mac(v->v_config, mac) ||
		    config_has_mac(v->v_running, mac))
			return (true);
	return (config_has_mac(own, mac));
}

/*
 * Gives each interface without an address one of vmd's range that nobody has,
 * or the one that it had when the VM was configured before.
 */
static void
macs_choose(const struct daemon *d, struct config_vm *cv,
    const struct config_vm *before)
{
	static const uint8_t range[4] = { 0xfe, 0xe1, 0xbb, 0xd1 };
	struct config_nic *cn;
	unsigned try;
	size_t i;

	for (i = 0; i < cv->cv_nnics; i++) {
		cn = &cv->cv_nic[i];
		if (cn->cn_mac_set)
			continue;
		if (before != NULL && i < before->cv_nnics &&
		    before->cv_nic[i].cn_mac_set &&
		    !config_has_mac(cv, before->cv_nic[i].cn_mac)) {
			memcpy(cn->cn_mac, before->cv_nic[i].cn_mac, 6);
			cn->cn_mac_set = true;
			continue;
		}
		memcpy(cn->cn_mac, range, sizeof(range));
		for (try = 0; try < MAC_TRIES; try++) {
			if (getrandom(cn->cn_mac + 4, 2, 0) != 2)
				break;
			if (!mac_is_used(d, cv, cn->cn_mac))
				break;
		}
		cn->cn_mac_set = true;
	}
}

/* --- VMs -------------------------------------------------------------------------- */

struct vm *
load_vm(struct daemon *d, struct config_vm *cv, uid_t uid, struct err *err)
{
	struct vm *v;

	macs_choose(d, cv, NULL);
	v = vms_add(&d->d_vms, cv->cv_name, uid, 0, cv);
	if (v == NULL) {
		if (errno == EEXIST)
			err_set(err, "%s: there is a VM of this name",
			    cv->cv_name);
		else
			err_sys(err, "cannot add %s", cv->cv_name);
		config_vm_free(cv);
	}
	return (v);
}

/* A VM of a file: new, or what one of its name is from its next start on. */
static struct vm *
load_one(struct daemon *d, struct config_vm *cv, struct err *err)
{
	const uid_t uid = cv->cv_owner.co_user_set ? cv->cv_owner.co_user :
	    geteuid();
	struct vm *v = vms_by_name(&d->d_vms, cv->cv_name);

	if (v == NULL) {
		if ((v = load_vm(d, cv, uid, err)) == NULL)
			return (NULL);
	} else {
		macs_choose(d, cv, vm_config_now(v));
		config_vm_free(v->v_config);
		v->v_config = cv;
	}
	v->v_kept = true;
	v->v_foreign = false;
	v->v_copy = true;
	return (v);
}

/* What a reader says after the first mistake, and warnings. */
#define LINES_MAX	64

struct lines {
	char		*ls_text[LINES_MAX];
	size_t		 ls_n;
};

static void
keep_line(void *arg, const char *line)
{
	struct lines *ls = arg;

	if (ls->ls_n < LINES_MAX &&
	    (ls->ls_text[ls->ls_n] = strdup(line)) != NULL)
		ls->ls_n++;
}

int
load_read(const struct daemon *d, struct config *config, const char *path,
    struct err *err)
{
	const struct daemon_options *o = d->d_options;
	struct lines ls = { .ls_n = 0 };
	size_t i;
	int ret;

	if (path[0] == '\0') {
		config_init(config);
		return (0);
	}
	ret = config_read(config, path, o->do_macros, o->do_nmacros, true,
	    keep_line, &ls, err);
	if (ret == -1)
		log_warn("%s", err->e_text);
	for (i = 0; i < ls.ls_n; i++) {
		log_warn("%s", ls.ls_text[i]);
		free(ls.ls_text[i]);
	}
	return (ret);
}

/* The VMs of a configuration, into the table. */
static void
apply_vms(struct daemon *d, struct config *config)
{
	struct config_vm *cv;
	struct err err;
	struct vm *v;
	size_t i;

	for (i = 0; i < config->cf_nvms; i++) {
		cv = config->cf_vm[i];
		config->cf_vm[i] = NULL;
		if ((v = load_one(d, cv, &err)) == NULL) {
			log_warn("%s", err.e_text);
			continue;
		}
		if (v->v_config->cv_enable != CONFIG_NO &&
		    v->v_state == VM_STOPPED)
			v->v_state = VM_WAITING;
	}
	config->cf_nvms = 0;
	stagger_begin(&d->d_stagger, d->d_config.cf_staggered ?
	    daemon_parallel(d) : 0, LIMIT_SECOND *
	    (d->d_config.cf_delay != 0 ? d->d_config.cf_delay : 30));
}

void
load_apply(struct daemon *d, struct config *config)
{
	struct config vms = *config;

	/* the VMs move into the table, all else into d_config */
	config->cf_vm = NULL;
	config->cf_nvms = 0;
	config_free(&d->d_config);
	d->d_config = *config;
	switches_apply(d);
	apply_vms(d, &vms);
	free(vms.cf_vm);
}

/* Adds the switches of a configuration, but for those that are there. */
static int
add_switches(struct daemon *d, struct config *config, struct err *err)
{
	struct config *all = &d->d_config;
	struct config_switch **list;
	size_t i, kept = 0;

	list = reallocarray(all->cf_switch, all->cf_nswitches +
	    config->cf_nswitches + 1, sizeof(struct config_switch *));
	if (list == NULL)
		return (err_sys(err, "cannot add switches"));
	all->cf_switch = list;
	for (i = 0; i < config->cf_nswitches; i++)
		if (config_find_switch(all, config->cf_switch[i]->cs_name) ==
		    NULL)
			all->cf_switch[all->cf_nswitches++] =
			    config->cf_switch[i];
		else
			config->cf_switch[kept++] = config->cf_switch[i];
	config->cf_nswitches = kept;
	return (0);
}

int
load_file(struct daemon *d, const char *path, struct err *err)
{
	struct config config;
	size_t i, kept = 0;
	int ret;

	if (load_read(d, &config, path, err) == -1)
		return (-1);
	/* what is there stays as it is */
	for (i = 0; i < config.cf_nvms; i++)
		if (vms_by_name(&d->d_vms, config.cf_vm[i]->cv_name) != NULL) {
			log_info("%s: is there already",
			    config.cf_vm[i]->cv_name);
			config_vm_free(config.cf_vm[i]);
		} else
			config.cf_vm[kept++] = config.cf_vm[i];
	config.cf_nvms = kept;
	if ((ret = add_switches(d, &config, err)) == 0) {
		switches_apply(d);
		apply_vms(d, &config);
	}
	config_free(&config);
	daemon_next(d);
	return (ret);
}

/* What this does not name is not configured any more; if it is stopped, it
 * goes. */
static void
forget(struct daemon *d, const struct config *config)
{
	struct vm *v, *next;

	for (v = d->d_vms.vs_first; v != NULL; v = next) {
		next = v->v_next;
		if (config != NULL && config_find_vm(config, v->v_name) !=
		    NULL)
			continue;
		v->v_kept = false;
		if (vm_is_active(v))
			continue;
		v->v_state = VM_STOPPED;
		vms_remove(&d->d_vms, v);
	}
}

int
load_again(struct daemon *d, struct err *err)
{
	struct config config;

	if (load_read(d, &config, d->d_file, err) == -1)
		return (-1);
	forget(d, &config);
	load_apply(d, &config);
	daemon_next(d);
	return (0);
}

void
load_reset_vms(struct daemon *d)
{
	struct vm *v;

	forget(d, NULL);
	for (v = d->d_vms.vs_first; v != NULL; v = v->v_next)
		process_call(d, v, CALL_STOP, true, NULL);
}

void
load_reset_switches(struct daemon *d)
{
	struct config none;

	config_init(&none);
	none.cf_switch = d->d_config.cf_switch;
	none.cf_nswitches = d->d_config.cf_nswitches;
	d->d_config.cf_switch = NULL;
	d->d_config.cf_nswitches = 0;
	config_free(&none);
	switches_stop(d);
}
