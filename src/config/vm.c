/*
 * What a VM is configured to be, as a structure: made, copied, ended, checked,
 * inherited, completed. Pure but for memory; any thread.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

#define DEFAULT_MEMORY	(UINT64_C(512) << 20)
#define MIB		(UINT64_C(1) << 20)
#define COUNT(a)	(sizeof(a) / sizeof((a)[0]))

/* Members that are strings of their structure's own. */
static const size_t vm_strings[] = {
	offsetof(struct config_vm, cv_parent),
	offsetof(struct config_vm, cv_cdrom),
	offsetof(struct config_vm, cv_boot),
	offsetof(struct config_vm, cv_initrd),
	offsetof(struct config_vm, cv_append),
	offsetof(struct config_vm, cv_engine)
};
static const size_t nic_strings[] = {
	offsetof(struct config_nic, cn_switch),
	offsetof(struct config_nic, cn_tap),
	offsetof(struct config_nic, cn_bridge),
	offsetof(struct config_nic, cn_group),
	offsetof(struct config_nic, cn_tftp),
	offsetof(struct config_nic, cn_bootfile)
};

static char **
string_at(void *of, size_t at)
{
	return ((char **)(void *)((char *)of + at));
}

/* Gives each of these members a copy of its own; false: no memory, and those
 * that were not copied are NULL. */
static bool
strings_own(void *of, const size_t *at, size_t n)
{
	bool done = true;
	char **s;

	while (n-- > 0) {
		s = string_at(of, at[n]);
		if (*s != NULL && (*s = strdup(*s)) == NULL)
			done = false;
	}
	return (done);
}

static void
strings_free(void *of, const size_t *at, size_t n)
{
	while (n-- > 0)
		free(*string_at(of, at[n]));
}

static bool
nic_copy(struct config_nic *to, const struct config_nic *from)
{
	*to = *from;
	return (strings_own(to, nic_strings, COUNT(nic_strings)));
}

void
config_nic_clear(struct config_nic *cn)
{
	strings_free(cn, nic_strings, COUNT(nic_strings));
	memset(cn, 0, sizeof(*cn));
}

struct config_vm *
config_vm_new(void)
{
	return (calloc(1, sizeof(struct config_vm)));
}

void
config_vm_free(struct config_vm *vm)
{
	size_t n;

	if (vm == NULL)
		return;
	strings_free(vm, vm_strings, COUNT(vm_strings));
	for (n = 0; n < CONFIG_DISKS_MAX; n++)
		free(vm->cv_disk[n].cd_path);
	for (n = 0; n < CONFIG_NICS_MAX; n++)
		config_nic_clear(&vm->cv_nic[n]);
	free(vm);
}

struct config_vm *
config_vm_copy(const struct config_vm *from)
{
	struct config_vm *vm;
	bool done;
	size_t n;

	if ((vm = config_vm_new()) == NULL)
		return (NULL);
	*vm = *from;
	done = strings_own(vm, vm_strings, COUNT(vm_strings));
	for (n = 0; n < CONFIG_DISKS_MAX; n++)
		if (vm->cv_disk[n].cd_path != NULL && (vm->cv_disk[n].cd_path =
		    strdup(vm->cv_disk[n].cd_path)) == NULL)
			done = false;
	for (n = 0; n < CONFIG_NICS_MAX; n++)
		if (!nic_copy(&vm->cv_nic[n], &from->cv_nic[n]))
			done = false;
	if (done)
		return (vm);
	config_vm_free(vm);
	errno = ENOMEM;
	return (NULL);
}

int
config_name_check(const char *name, struct err *err)
{
	const char *p;
	bool digits = true;

	errno = EINVAL;
	for (p = name; *p != '\0'; p++) {
		if (!isalnum((unsigned char)*p) && strchr(".-_", *p) == NULL)
			return (err_set(err, "\"%.64s\" is no name; names have "
			    "letters, digits, \".\", \"-\" and \"_\"", name));
		digits = digits && isdigit((unsigned char)*p);
	}
	if (p == name)
		return (err_set(err, "a name must not be empty"));
	if (p - name >= CONFIG_NAME_MAX)
		return (err_set(err, "\"%.64s...\" is too long for a name; "
		    "%d characters are the most", name, CONFIG_NAME_MAX - 1));
	if (!isalnum((unsigned char)*name))
		return (err_set(err, "\"%s\" is no name; the first character "
		    "is a letter or a digit", name));
	if (digits)
		return (err_set(err, "\"%s\" is no name, but a number", name));
	return (0);
}

/* --- instances ---------------------------------------------------------------- */

static bool
owned(const struct config_owner *co, uid_t uid, const gid_t *groups, size_t n)
{
	if (co->co_user_set && co->co_user == uid)
		return (true);
	while (co->co_group_set && n-- > 0)
		if (groups[n] == co->co_group)
			return (true);
	return (false);
}

/* Does it say which interfaces it has, or that it has none? */
static bool
says_nics(const struct config_vm *vm)
{
	return (vm->cv_nnics != 0 || vm->cv_interfaces != 0 ||
	    vm->cv_no_interfaces);
}

/* What vm says, of what may be allowed. */
static unsigned
said(const struct config_vm *vm)
{
	unsigned allow = 0;

	if (vm->cv_boot != NULL || vm->cv_initrd != NULL ||
	    vm->cv_append != NULL || vm->cv_boot_device != CONFIG_BOOT_UNSAID)
		allow |= CONFIG_ALLOW_BOOT;
	if (vm->cv_memory != 0 || vm->cv_cpus != 0)
		allow |= CONFIG_ALLOW_MEMORY;
	if (says_nics(vm))
		allow |= CONFIG_ALLOW_INTERFACE;
	if (vm->cv_ndisks != 0)
		allow |= CONFIG_ALLOW_DISK;
	if (vm->cv_cdrom != NULL)
		allow |= CONFIG_ALLOW_CDROM;
	if (vm->cv_allow != 0)
		allow |= CONFIG_ALLOW_INSTANCE;
	return (allow);
}

static int
may_say(const struct config_vm *vm, const struct config_vm *parent,
    struct err *err)
{
	static const char *const words[] = { "boot", "memory", "interface",
	    "disk", "cdrom", "instance" };
	unsigned n, more = said(vm) & ~parent->cv_allow;

	for (n = 0; n < COUNT(words); n++)
		if (more & 1u << n) {
			errno = EPERM;
			return (err_set(err, "instances of %s may not say %s "
			    "themselves", parent->cv_name, words[n]));
		}
	return (0);
}

/* Is something that only one VM can have, of parent's, vm's too? */
static int
not_shared(const struct config_vm *vm, const struct config_vm *parent,
    struct err *err)
{
	size_t n, k;

	errno = EBUSY;
	for (n = 0; n < vm->cv_ndisks; n++)
		for (k = 0; k < parent->cv_ndisks; k++)
			if (strcmp(vm->cv_disk[n].cd_path,
			    parent->cv_disk[k].cd_path) == 0)
				return (err_set(err, "the disk %s is that of "
				    "%s; an instance has its own",
				    vm->cv_disk[n].cd_path, parent->cv_name));
	for (n = 0; n < vm->cv_nnics; n++)
		for (k = 0; k < parent->cv_nnics; k++)
			if (vm->cv_nic[n].cn_tap != NULL &&
			    parent->cv_nic[k].cn_tap != NULL &&
			    strcmp(vm->cv_nic[n].cn_tap,
			    parent->cv_nic[k].cn_tap) == 0)
				return (err_set(err, "the interface %s is that "
				    "of %s; an instance has its own",
				    vm->cv_nic[n].cn_tap, parent->cv_name));
	return (0);
}

static bool
inherit_string(char **to, const char *from)
{
	return (*to != NULL || from == NULL || (*to = strdup(from)) != NULL);
}

static bool
inherit_nics(struct config_vm *vm, const struct config_vm *parent)
{
	struct config_nic *nic;
	size_t n;

	vm->cv_interfaces = parent->cv_interfaces;
	for (n = 0; n < parent->cv_nnics; n++) {
		nic = &vm->cv_nic[n];
		vm->cv_nnics = n + 1;
		if (!nic_copy(nic, &parent->cv_nic[n]))
			return (false);
		free(nic->cn_tap);
		nic->cn_tap = NULL;
		nic->cn_mac_set = false;
		memset(nic->cn_mac, 0, sizeof(nic->cn_mac));
		nic->cn_nforwards = 0;	/* a port is had by one VM */
	}
	return (true);
}

int
config_vm_inherit(struct config_vm *vm, const struct config_vm *parent,
    uid_t uid, const gid_t *groups, size_t ngroups, struct err *err)
{
	bool done, free_to_say = uid == 0 ||
	    owned(&parent->cv_owner, uid, groups, ngroups);

	if (!free_to_say && !owned(&parent->cv_allow_owner, uid, groups,
	    ngroups) && (parent->cv_allow == 0 ||
	    parent->cv_allow_owner.co_user_set ||
	    parent->cv_allow_owner.co_group_set)) {
		errno = ENAMETOOLONG;	/* OpenBSD's for this */
		return (err_set(err, "no right to make an instance of %s",
		    parent->cv_name));
	}
	if ((!free_to_say && may_say(vm, parent, err) == -1) ||
	    not_shared(vm, parent, err) == -1)
		return (-1);
	if (vm->cv_memory == 0)
		vm->cv_memory = parent->cv_memory;
	if (vm->cv_cpus == 0)
		vm->cv_cpus = parent->cv_cpus;
	if (vm->cv_boot_device == CONFIG_BOOT_UNSAID)
		vm->cv_boot_device = parent->cv_boot_device;
	if (!vm->cv_owner.co_user_set && !vm->cv_owner.co_group_set)
		vm->cv_owner = parent->cv_owner;
	done = true;
	if (vm->cv_boot == NULL)	/* with what belongs to the kernel */
		done = inherit_string(&vm->cv_boot, parent->cv_boot) &&
		    inherit_string(&vm->cv_initrd, parent->cv_initrd) &&
		    inherit_string(&vm->cv_append, parent->cv_append);
	done = done && inherit_string(&vm->cv_cdrom, parent->cv_cdrom) &&
	    inherit_string(&vm->cv_engine, parent->cv_engine) &&
	    inherit_string(&vm->cv_parent, parent->cv_name) &&
	    (says_nics(vm) || inherit_nics(vm, parent));
	if (done)
		return (0);
	errno = ENOMEM;
	return (err_sys(err, "%s", vm->cv_name));
}

static int
check_nic(const struct config_vm *vm, const struct config_nic *cn,
    struct err *err)
{
	if (cn->cn_bootfile != NULL &&
	    strlen(cn->cn_bootfile) >= NETWORK_BOOTFILE_MAX)
		return (err_set(err, "%s: the name of a bootfile has at most "
		    "%d letters", vm->cv_name, NETWORK_BOOTFILE_MAX - 1));
	return (0);
}

/* Is all of it what can be run? */
static int
check(const struct config_vm *vm, struct err *err)
{
	size_t n, k;

	errno = EINVAL;
	if (vm->cv_memory < CONFIG_MEMORY_MIN ||
	    vm->cv_memory > CONFIG_MEMORY_MAX)
		return (err_set(err, "%s: its memory is not from 1M to %uG",
		    vm->cv_name, (unsigned)(CONFIG_MEMORY_MAX >> 30)));
	if (vm->cv_cpus > CONFIG_CPUS_MAX)
		return (err_set(err, "%s: more than %d CPUs", vm->cv_name,
		    CONFIG_CPUS_MAX));
	if (vm->cv_interfaces > CONFIG_NICS_MAX ||
	    vm->cv_nnics > CONFIG_NICS_MAX)
		return (err_set(err, "%s: more than %d interfaces", vm->cv_name,
		    CONFIG_NICS_MAX));
	if (vm->cv_initrd != NULL && vm->cv_boot == NULL)
		return (err_set(err, "%s: an initrd without a kernel; say "
		    "\"boot\" too", vm->cv_name));
	for (n = 0; n < vm->cv_ndisks; n++)
		for (k = 0; k < n; k++)
			if (strcmp(vm->cv_disk[n].cd_path,
			    vm->cv_disk[k].cd_path) == 0)
				return (err_set(err, "%s: the disk %s is there "
				    "twice", vm->cv_name,
				    vm->cv_disk[n].cd_path));
	for (n = 0; n < vm->cv_nnics; n++)
		if (check_nic(vm, &vm->cv_nic[n], err) == -1)
			return (-1);
	return (0);
}

int
config_vm_fill(struct config_vm *vm, struct err *err)
{
	struct config_nic *nic;

	if (vm->cv_memory == 0)
		vm->cv_memory = DEFAULT_MEMORY;
	if (vm->cv_cpus == 0)
		vm->cv_cpus = 1;
	if (vm->cv_enable == CONFIG_UNSAID)
		vm->cv_enable = CONFIG_YES;
	if (vm->cv_engine == NULL && (vm->cv_engine = strdup("auto")) == NULL)
		return (err_sys(err, "%s", vm->cv_name));
	if (check(vm, err) == -1)
		return (-1);
	vm->cv_memory -= vm->cv_memory % MIB;
	while (vm->cv_nnics < vm->cv_interfaces)
		vm->cv_nnics++;		/* all zero: nothing is said of it */
	vm->cv_interfaces = (unsigned)vm->cv_nnics;
	for (nic = vm->cv_nic; nic < vm->cv_nic + vm->cv_nnics; nic++) {
		if (nic->cn_mtu != 0 && nic->cn_mtu < NETWORK_MTU_MIN)
			return (err_set(err, "%s: an MTU below %d",
			    vm->cv_name, NETWORK_MTU_MIN));
		if (nic->cn_kind == CONFIG_NIC_UNSAID)
			nic->cn_kind = nic->cn_switch != NULL ?
			    CONFIG_NIC_SWITCH : nic->cn_tap != NULL ?
			    CONFIG_NIC_TAP : CONFIG_NIC_USER;
		if (nic->cn_up == CONFIG_UNSAID)
			nic->cn_up = CONFIG_YES;
	}
	return (0);
}
