/*
 * vmctl wait: blocks until a VM has ended, vmd's or one in the foreground.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "vmctl/daemon.h"

/* Waits for one of vmd's; fd is its connection, closed here. */
static int
wait_daemon(const struct command *c, int fd, const char *word)
{
	struct control_message cm;
	struct err err;
	int ret;

	ret = daemon_call(fd, daemon_request("wait", word), &cm, &err);
	close(fd);
	if (ret == -1)
		return (complain("%s: %s", c->c_name, err.e_text));
	log_say("vm %s ended: %s", word, control_string(cm.cm_json, "end",
	    "nobody knows how"));
	control_message_free(&cm);
	return (0);
}

int
wait_command(const struct command *c, int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 }
	};
	const struct vm_info_result *vm;
	struct vmm_wait_params vw;
	struct vms vms = { NULL, 0 };
	struct err err;
	bool kept;
	int fd, opt, status = 0;

	while ((opt = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (opt == 'h')
			return (help(c));
		return (bad_option(c, argv, opt));
	}
	if (argc - optind != 1)
		return (complain("%s: name one VM by its id or name",
		    c->c_name));
	if ((fd = daemon_open(&err)) != -1) {
		if (daemon_knows(fd, argv[optind]))
			return (wait_daemon(c, fd, argv[optind]));
		close(fd);
	} else if (errno != ENOENT) {
		return (complain("%s: %s", c->c_name, err.e_text));
	}
	kept = fd == -1;
	fd = vms_open(&err);
	if (fd == -1 || vms_get(fd, kept, &vms, &err) == -1)
		return (complain("%s: %s", c->c_name, err.e_text));
	vm = vms_find(&vms, argv[optind], &err);
	if (vm == NULL)
		status = complain("%s: %s", c->c_name, err.e_text);
	else
		vw.vw_vm_id = vm->vir_id;
	while (vm != NULL && vmm_ioctl(fd, VMM_IOC_WAIT, &vw) == -1) {
		if (errno == EINTR)
			continue;
		if (errno != ENOENT)	/* it ended since we looked */
			status = complain("%s: %s: %s", c->c_name,
			    argv[optind], strerror(errno));
		break;
	}
	vms_free(&vms);
	vmm_close(fd);
	return (status);
}
