/*
 * vmctl status: the table of the host's VMs, those that vmd keeps and those in
 * the foreground of somebody's "vmctl run".
 *
 * vmd tells of its own. Of the others the monitor tells size, state and
 * creator; the rest is read off the creator's process. A VM may end while the
 * table is made, and a process that is stopped tells nothing: what cannot be
 * known is shown as "-". Both are objects of the same members, one list.
 */
#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmctl/daemon.h"

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

/* Of a VM that vmd does not tell of, what it tells of its own; NULL: no
 * memory. */
static cJSON *
found(const struct vm_info_result *vm)
{
	cJSON *o = cJSON_CreateObject();
	char tty[64], owner[64];

	tty_of(vm->vir_creator_pid, tty, sizeof(tty));
	owner_of(vm->vir_creator_pid, owner, sizeof(owner));
	cJSON_AddNumberToObject(o, "id", vm->vir_id);
	/* without an answer from it: every VM has a VCPU */
	if (vm->vir_ncpus != 0)
		cJSON_AddStringToObject(o, "name", vm->vir_name);
	cJSON_AddNumberToObject(o, "pid", vm->vir_creator_pid);
	if (vm->vir_ncpus != 0) {
		cJSON_AddNumberToObject(o, "cpus", (double)vm->vir_ncpus);
		cJSON_AddNumberToObject(o, "memory",
		    (double)((uint64_t)vm->vir_memory_size << 20));
		cJSON_AddNumberToObject(o, "resident",
		    (double)vm->vir_used_size);
	}
	cJSON_AddStringToObject(o, "tty", strcmp(tty, "-") == 0 ? "" : tty);
	cJSON_AddStringToObject(o, "owner", owner);
	cJSON_AddStringToObject(o, "state", state_of(vm));
	if (cJSON_AddBoolToObject(o, "foreground", !vms_kept(vm)) == NULL) {
		cJSON_Delete(o);
		return (NULL);
	}
	return (o);
}

/* Adds the VMs in the foreground, with `kept` those of any vmd too, or of these
 * the one that word stands for. */
static int
add_foreground(cJSON *list, bool kept, const char *word, struct err *err)
{
	const struct vm_info_result *vm, *only = NULL;
	struct vms vms = { NULL, 0 };
	cJSON *o;
	size_t n;
	int fd, ret = 0;

	if ((fd = vms_open(err)) == -1)
		return (-1);
	if (vms_get(fd, kept, &vms, err) == -1) {
		vmm_close(fd);
		return (-1);
	}
	if (word != NULL)
		only = vms_find(&vms, word, NULL);
	for (n = 0; n < vms.v_count && ret == 0; n++) {
		vm = &vms.v_vm[n];
		if (word != NULL && vm != only)
			continue;
		if ((o = found(vm)) == NULL ||
		    !cJSON_AddItemToArray(list, o)) {
			cJSON_Delete(o);
			ret = err_sys(err, "cannot list the VMs");
		}
	}
	vms_free(&vms);
	vmm_close(fd);
	return (ret);
}

/* All that word stands for, NULL for all there are: a list, or NULL with a line
 * in err. vmd's come first; a word that is one of them is that alone. Where no
 * vmd is ours there may be VMs that one has left behind. */
static cJSON *
gather(const char *word, struct err *err)
{
	cJSON *list;
	int fd;

	if ((fd = daemon_open(err)) != -1) {
		list = daemon_vms(fd, word, err);
		close(fd);
		if (list == NULL ||
		    (word != NULL && cJSON_GetArraySize(list) > 0))
			return (list);
	} else if (errno != ENOENT) {
		return (NULL);
	} else if ((list = cJSON_CreateArray()) == NULL) {
		err_sys(err, "cannot list the VMs");
		return (NULL);
	}
	if (add_foreground(list, fd == -1, word, err) == -1) {
		cJSON_Delete(list);
		return (NULL);
	}
	return (list);
}

/* --- as a table ----------------------------------------------------------------- */

/* A number as it is shown, "-" for none. */
static void
number(const cJSON *vm, const char *member, char *buf, size_t size)
{
	double n = control_number(vm, member, 0);

	if (n == 0)
		snprintf(buf, size, "-");
	else
		snprintf(buf, size, "%.0f", n);
}

static void
bytes(const cJSON *vm, const char *member, char *buf, size_t size)
{
	double n = control_number(vm, member, 0);

	if (n <= 0)
		snprintf(buf, size, "-");
	else
		human((uint64_t)n, buf, size);
}

static void
print_row(const cJSON *vm)
{
	const char *tty = control_string(vm, "tty", "");
	char id[24], pid[24], ncpus[24], max[24], used[24];

	number(vm, "id", id, sizeof(id));
	number(vm, "pid", pid, sizeof(pid));
	number(vm, "cpus", ncpus, sizeof(ncpus));
	bytes(vm, "memory", max, sizeof(max));
	bytes(vm, "resident", used, sizeof(used));
	if (strncmp(tty, "/dev/", 5) == 0)
		tty += 5;
	printf(ROW, id, pid, ncpus, max, used, *tty == '\0' ? "-" : tty,
	    control_string(vm, "owner", "-"), control_string(vm, "state", "-"),
	    control_string(vm, "name", "-"));
}

static void
print_table(const cJSON *list)
{
	const cJSON *vm;
	int stopped;

	printf(ROW, "ID", "PID", "VCPUS", "MAXMEM", "CURMEM", "TTY", "OWNER",
	    "STATE", "NAME");
	for (stopped = 0; stopped < 2; stopped++)
		cJSON_ArrayForEach(vm, list) {
			if ((control_number(vm, "pid", 0) == 0) == stopped)
				print_row(vm);
		}
}

/* {"vms": [...]}; an exit status. The list stays the caller's. */
static int
print_json(const struct command *c, cJSON *list)
{
	cJSON *o = cJSON_CreateObject();
	char *text = NULL;

	if (cJSON_AddItemReferenceToObject(o, "vms", list))
		text = cJSON_Print(o);
	cJSON_Delete(o);
	if (text == NULL)
		return (complain("%s: %s", c->c_name, strerror(ENOMEM)));
	puts(text);
	cJSON_free(text);
	return (0);
}

int
status_command(const struct command *c, int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "json", no_argument, NULL, 'j' },
		{ NULL, 0, NULL, 0 }
	};
	bool json = false;
	struct err err;
	cJSON *list;
	int opt, status = 0;

	while ((opt = getopt_long(argc, argv, ":hj", options, NULL)) != -1) {
		if (opt == 'h')
			return (help(c));
		if (opt != 'j')
			return (bad_option(c, argv, opt));
		json = true;
	}
	if (argc - optind > 1)
		return (complain("%s: one id or name only", c->c_name));
	list = gather(optind < argc ? argv[optind] : NULL, &err);
	if (list == NULL)
		return (complain("%s: %s", c->c_name, err.e_text));
	/* nothing but the header for one that is not there */
	if (json)
		status = print_json(c, list);
	else
		print_table(list);
	cJSON_Delete(list);
	return (status);
}
