/*
 * vmctl stop: ends VMs, vmd's and those in the foreground.
 *
 * vmd asks the guest, and sees to it that it ends. A VM in the foreground is
 * ended at once, by its name, or not at all: whoever has its console asks the
 * guest.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "vmctl/daemon.h"

/* Ends one VM; returns the exit status. */
static int
stop_one(const struct command *c, int fd, const struct vm_info_result *vm,
    bool wait)
{
	struct vm_terminate_params vtp = { .vtp_vm_id = vm->vir_id };
	struct vmm_wait_params vw = { .vw_vm_id = vm->vir_id };

	/* A stopped process hears nothing. */
	if (vms_paused(vm))
		kill(vm->vir_creator_pid, SIGCONT);
	if (vmm_ioctl(fd, VMM_IOC_TERM, &vtp) == -1 && errno != ENOENT)
		return (complain("%s: VM %u (%s): %s", c->c_name,
		    (unsigned)vm->vir_id, vm->vir_name, strerror(errno)));
	while (wait && vmm_ioctl(fd, VMM_IOC_WAIT, &vw) == -1) {
		if (errno == ENOENT)
			break;
		if (errno != EINTR)
			return (complain("%s: cannot wait for VM %u: %s",
			    c->c_name, (unsigned)vm->vir_id, strerror(errno)));
	}
	return (0);
}

struct stop {
	bool		 sp_all, sp_force, sp_wait;
	const char	*sp_word;	/* NULL with sp_all */
};

/* Of one VM of vmd's that was stopped, or is being so. */
static void
say_stopped(const cJSON *answer, const char *word)
{
	const char *how = control_string(answer, "how", "");
	const char *name = control_string(answer, "name", word);

	if (strcmp(how, "asked") == 0)
		log_say("sent request to stop vm %s", name);
	else if (strcmp(how, "powerdown") == 0)
		log_say("vm %s has shut down", name);
	else if (strcmp(how, "killed") == 0)
		log_say("vm %s did not listen and was ended", name);
	else
		log_say("vm %s was ended", name);
}

/* vmd's one, or all of its; an exit status. */
static int
stop_daemon(const struct command *c, int fd, const struct stop *sp)
{
	cJSON *request = daemon_request(c->c_name, sp->sp_word);
	const cJSON *list, *vm;
	struct control_message cm;
	struct err err;

	if (request != NULL) {
		if (sp->sp_all)
			cJSON_AddTrueToObject(request, "all");
		if (sp->sp_force)
			cJSON_AddTrueToObject(request, "force");
		if (sp->sp_wait)
			cJSON_AddTrueToObject(request, "wait");
	}
	if (daemon_call(fd, request, &cm, &err) == -1)
		return (complain("%s: %s", c->c_name, err.e_text));
	list = cJSON_GetObjectItemCaseSensitive(cm.cm_json, "vms");
	cJSON_ArrayForEach(vm, list) {
		say_stopped(vm, "");
	}
	if (!sp->sp_all)
		say_stopped(cm.cm_json, sp->sp_word);
	control_message_free(&cm);
	return (0);
}

/* Not by vmd: ends it, or says why not; an exit status. */
static int
stop_named(const struct command *c, const struct stop *sp, int fd,
    const struct vm_info_result *vm)
{
	if (sp->sp_force)
		return (stop_one(c, fd, vm, sp->sp_wait));
	if (vms_kept(vm))
		return (complain("%s: the vmd of %s does not run; start it, or "
		    "end the VM with \"vmctl stop -f %s\"", c->c_name,
		    vm->vir_name, sp->sp_word));
	return (complain("%s: %s is in the foreground of a \"vmctl run\"; shut "
	    "it down there, or end it with \"vmctl stop -f %s\"", c->c_name,
	    vm->vir_name, sp->sp_word));
}

/* The word's one, not by vmd: in the foreground, or with `kept`, where no vmd
 * of ours runs, left behind by one. */
static int
stop_found(const struct command *c, const struct stop *sp, bool kept)
{
	const struct vm_info_result *vm;
	struct vms vms = { NULL, 0 };
	struct err err;
	int fd, status;

	fd = vms_open(&err);
	if (fd == -1 || vms_get(fd, kept, &vms, &err) == -1) {
		if (fd != -1)
			vmm_close(fd);
		return (complain("%s: %s", c->c_name, err.e_text));
	}
	if ((vm = vms_find(&vms, sp->sp_word, &err)) == NULL)
		status = complain("%s: %s", c->c_name, err.e_text);
	else
		status = stop_named(c, sp, fd, vm);
	vms_free(&vms);
	vmm_close(fd);
	return (status);
}

static int
stop(const struct command *c, const struct stop *sp)
{
	struct err err;
	int fd, status;

	if ((fd = daemon_open(&err)) == -1 && (errno != ENOENT || sp->sp_all))
		return (complain("%s: %s", c->c_name, err.e_text));
	if (fd == -1)
		return (stop_found(c, sp, true));
	if (sp->sp_all || daemon_knows(fd, sp->sp_word))
		status = stop_daemon(c, fd, sp);
	else
		status = stop_found(c, sp, false);
	close(fd);
	return (status);
}

int
stop_command(const struct command *c, int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 }
	};
	struct stop sp = { .sp_word = NULL };
	int opt;

	while ((opt = getopt_long(argc, argv, ":afhw", options, NULL)) != -1) {
		switch (opt) {
		case 'a':
			sp.sp_all = true;
			break;
		case 'f':
			sp.sp_force = true;
			break;
		case 'w':
			sp.sp_wait = true;
			break;
		case 'h':
			return (help(c));
		default:
			return (bad_option(c, argv, opt));
		}
	}
	if (argc - optind != (sp.sp_all ? 0 : 1))
		return (complain("%s: name one VM by its id or name, "
		    "or all with -a", c->c_name));
	if (!sp.sp_all)
		sp.sp_word = argv[optind];
	return (stop(c, &sp));
}
