/*
 * vmctl status: the table of the host's VMs.
 *
 * The monitor tells a VM's size, state and creator; the rest is read off the
 * creator's process. A VM may end while the table is made, and a process that
 * is stopped tells nothing: what cannot be known is shown as "-".
 */
#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmctl/vmctl.h"

#define ROW	"%5s %7s %5s %7s %7s %7s %12s %8s %s\n"

/* The terminal that a process has as its standard input, without /dev/. */
static void
tty_of(pid_t pid, char *buf, size_t size)
{
	char path[32], target[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/fd/0", (int)pid);
	n = readlink(path, target, sizeof(target) - 1);
	if (n > 0) {
		target[n] = '\0';
		if (strncmp(target, "/dev/pts/", 9) == 0 ||
		    strncmp(target, "/dev/tty", 8) == 0 ||
		    strcmp(target, "/dev/console") == 0) {
			snprintf(buf, size, "%s", target + 5);
			return;
		}
	}
	snprintf(buf, size, "-");
}

static void
owner_of(pid_t pid, char *buf, size_t size)
{
	const struct passwd *pw;
	char path[32];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	if (stat(path, &st) == -1)
		snprintf(buf, size, "-");
	else if ((pw = getpwuid(st.st_uid)) != NULL)
		snprintf(buf, size, "%s", pw->pw_name);
	else
		snprintf(buf, size, "%u", (unsigned)st.st_uid);
}

static const char *
state_of(const struct vm_info_result *vm)
{
	size_t i;

	for (i = 0; i < vm->vir_ncpus && i < VMM_MAX_VCPUS_PER_VM; i++)
		if (vm->vir_vcpu_state[i] == VCPU_STATE_REQTERM ||
		    vm->vir_vcpu_state[i] == VCPU_STATE_TERMINATED)
			return ("stopping");
	return (vms_paused(vm) ? "paused" : "running");
}

/* A size in three digits: 512M, 1.5G. */
static void
human(uint64_t bytes, char *buf, size_t size)
{
	static const char suffix[] = "BKMGT";
	uint64_t tenths = bytes * 10;
	unsigned i = 0;

	while (tenths >= 10240 && i < sizeof(suffix) - 2) {
		tenths = (tenths + 512) / 1024;
		i++;
	}
	if (i > 0 && tenths < 100)
		snprintf(buf, size, "%" PRIu64 ".%" PRIu64 "%c", tenths / 10,
		    tenths % 10, suffix[i]);
	else
		snprintf(buf, size, "%" PRIu64 "%c", (tenths + 5) / 10,
		    suffix[i]);
}

static void
print_row(const struct vm_info_result *vm)
{
	char id[12], pid[12], ncpus[12], max[24], used[24];
	char tty[64], owner[64];

	snprintf(id, sizeof(id), "%u", (unsigned)vm->vir_id);
	snprintf(pid, sizeof(pid), "%d", (int)vm->vir_creator_pid);
	snprintf(ncpus, sizeof(ncpus), "%zu", vm->vir_ncpus);
	human((uint64_t)vm->vir_memory_size << 20, max, sizeof(max));
	human(vm->vir_used_size, used, sizeof(used));
	tty_of(vm->vir_creator_pid, tty, sizeof(tty));
	owner_of(vm->vir_creator_pid, owner, sizeof(owner));
	if (vm->vir_ncpus == 0)		/* no answer: every VM has a VCPU */
		printf(ROW, id, pid, "-", "-", "-", tty, owner, state_of(vm),
		    "-");
	else
		printf(ROW, id, pid, ncpus, max, used, tty, owner,
		    state_of(vm), vm->vir_name);
}

int
status_command(const struct command *c, int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 }
	};
	const struct vm_info_result *vm;
	struct vms vms = { NULL, 0 };
	struct err err;
	size_t i;
	int fd, opt;

	while ((opt = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (opt == 'h')
			return (help(c));
		return (bad_option(c, argv, opt));
	}
	if (argc - optind > 1)
		return (complain("%s: one id or name only", c->c_name));
	fd = vms_open(&err);
	if (fd == -1 || vms_get(fd, &vms, &err) == -1)
		return (complain("%s: %s", c->c_name, err.e_text));
	printf(ROW, "ID", "PID", "VCPUS", "MAXMEM", "CURMEM", "TTY", "OWNER",
	    "STATE", "NAME");
	if (optind < argc) {
		/* Nothing but the header for one that is not there. */
		vm = vms_find(&vms, argv[optind], &err);
		if (vm != NULL)
			print_row(vm);
	} else {
		for (i = 0; i < vms.v_count; i++)
			print_row(&vms.v_vm[i]);
	}
	vms_free(&vms);
	vmm_close(fd);
	return (0);
}
