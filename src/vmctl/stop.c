/*
 * vmctl stop: ends VMs, of this process or any other.
 *
 * Only the forced kind is there: asking the guest to shut itself down takes a
 * device that the machine does not have yet.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "vmctl/vmctl.h"

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

int
stop_command(const struct command *c, int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 }
	};
	const struct vm_info_result *vm;
	struct vms vms = { NULL, 0 };
	bool all = false, force = false, wait = false;
	struct err err;
	int fd, opt, status = 0;
	size_t i;

	while ((opt = getopt_long(argc, argv, ":afhw", options, NULL)) != -1) {
		switch (opt) {
		case 'a':
			all = true;
			break;
		case 'f':
			force = true;
			break;
		case 'w':
			wait = true;
			break;
		case 'h':
			return (help(c));
		default:
			return (bad_option(c, argv, opt));
		}
	}
	if (argc - optind != (all ? 0 : 1))
		return (complain("%s: name one VM by its id or name, "
		    "or all with -a", c->c_name));
	fd = vms_open(&err);
	if (fd == -1 || vms_get(fd, &vms, &err) == -1)
		return (complain("%s: %s", c->c_name, err.e_text));
	vm = NULL;
	if (!all && (vm = vms_find(&vms, argv[optind], &err)) == NULL)
		status = complain("%s: %s", c->c_name, err.e_text);
	else if (!force)
		status = complain("%s: a guest cannot be asked to shut down "
		    "yet; do so from inside, or end it with \"vmctl stop -f "
		    "%s\"", c->c_name, all ? "-a" : argv[optind]);
	else if (!all)
		status = stop_one(c, fd, vm, wait);
	else
		for (i = 0; i < vms.v_count; i++)
			if (stop_one(c, fd, &vms.v_vm[i], wait) != 0)
				status = STATUS_ERROR;
	vms_free(&vms);
	vmm_close(fd);
	return (status);
}
