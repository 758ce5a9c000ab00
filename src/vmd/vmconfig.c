/*
 * From the configuration of a VM to that of a machine; see vmprocess.h.
 *
 * Runs in the VM's process, before there are other threads.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/control.h"
#include "network/hosttap.h"
#include "vmd/privilege.h"
#include "vmd/vmprocess.h"

/* Text that lives as long as the configuration; NULL with a line in err. */
static const char *
text(struct vmconfig *vc, struct err *err, const char *fmt, ...)
{
	va_list ap;
	char *s;
	int n;

	if (vc->vc_ntexts == sizeof(vc->vc_text) / sizeof(vc->vc_text[0])) {
		err_set(err, "there are too many disks and interfaces");
		return (NULL);
	}
	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	if (n == -1) {
		errno = ENOMEM;
		err_sys(err, "cannot make a configuration");
		return (NULL);
	}
	vc->vc_text[vc->vc_ntexts++] = s;
	return (s);
}

/* A copy of a file without a name, which whoever has our rights can open. */
static int
copy_file(struct vmconfig *vc, int from, const char *path, struct err *err)
{
	ssize_t n;
	int fd;

	if (vc->vc_nfds == sizeof(vc->vc_fd) / sizeof(vc->vc_fd[0]))
		return (err_set(err, "there are too many files"));
	if ((fd = memfd_create("boot", MFD_CLOEXEC)) == -1)
		return (err_sys(err, "cannot copy %s", path));
	vc->vc_fd[vc->vc_nfds++] = fd;
	while ((n = sendfile(fd, from, NULL, 1 << 30)) > 0)
		continue;
	if (n == -1)
		return (err_sys(err, "cannot copy %s", path));
	return (fd);
}

/*
 * A file that the guest is booted from, again and again: as it is, or a copy
 * where it cannot be read any more when privileges have been given up.
 */
static const char *
boot_file(struct vmconfig *vc, const char *path, uid_t uid, bool copy,
    struct err *err)
{
	struct stat st;
	int fd, own;

	if ((fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) == -1 ||
	    fstat(fd, &st) == -1) {
		err_sys(err, "cannot open %s", path);
		if (fd != -1)
			close(fd);
		return (NULL);
	}
	if (!S_ISREG(st.st_mode)) {
		close(fd);
		err_set(err, "%s is no regular file", path);
		return (NULL);
	}
	if (!copy || privilege_can_read(uid, path)) {
		close(fd);
		return (path);
	}
	own = copy_file(vc, fd, path, err);
	close(fd);
	return (own == -1 ? NULL : text(vc, err, "/proc/self/fd/%d", own));
}

static int
disks(struct vmconfig *vc, const struct config_vm *cv, struct err *err)
{
	static const char *const formats[] = {
		[CONFIG_BY_CONTENT] = "",
		[CONFIG_RAW] = "raw:",
		[CONFIG_QCOW2] = "qcow2:"
	};
	struct machine_config *mc = &vc->vc_machine;
	const struct config_disk *cd;
	size_t i;

	for (i = 0; i < cv->cv_ndisks; i++) {
		cd = &cv->cv_disk[i];
		mc->mc_disk[mc->mc_ndisks] = text(vc, err, "%s%s",
		    formats[cd->cd_format], cd->cd_path);
		if (mc->mc_disk[mc->mc_ndisks++] == NULL)
			return (-1);
	}
	return (0);
}

/* A port of a switch of ours. */
static int
nic_switch(struct vmconfig *vc, const struct config_vm *cv,
    const struct config_nic *cn, const struct vmplace *vl,
    struct machine_nic *mn, struct err *err)
{
	if (vc->vc_nfds == sizeof(vc->vc_fd) / sizeof(vc->vc_fd[0]))
		return (err_set(err, "there are too many interfaces"));
	mn->mn_kind = NIC_SWITCH;
	if (config_name_check(cn->cn_switch, err) == -1)
		return (-1);
	mn->mn_fd = control_port(vl->vl_dir, cn->cn_switch, cv->cv_name,
	    cn->cn_mac, cn->cn_locked, &mn->mn_mtu, err);
	if (mn->mn_fd == -1)
		return (-1);
	vc->vc_fd[vc->vc_nfds++] = mn->mn_fd;
	return (0);
}

/* A tap of the host's, that is gone with this process. */
static int
nic_tap(struct vmconfig *vc, const struct config_vm *cv,
    const struct config_nic *cn, const struct vmplace *vl,
    struct machine_nic *mn, struct err *err)
{
	const size_t n = (size_t)(cn - cv->cv_nic);
	char alias[CONFIG_NAME_MAX + 32];
	struct hosttap_opened ho;
	const struct hosttap ht = { .ht_name = cn->cn_tap,
		.ht_bridge = cn->cn_bridge, .ht_group = cn->cn_group,
		.ht_mtu = cn->cn_mtu, .ht_alias = alias,
		.ht_down = cn->cn_up == CONFIG_NO };

	if (vc->vc_nfds == sizeof(vc->vc_fd) / sizeof(vc->vc_fd[0]))
		return (err_set(err, "there are too many interfaces"));
	snprintf(alias, sizeof(alias), "vm%u-if%zu-%s", vl->vl_id, n,
	    cv->cv_name);
	mn->mn_kind = NIC_TAP;
	mn->mn_locked = cn->cn_locked;
	if ((mn->mn_fd = hosttap_open(&ht, &ho, err)) == -1)
		return (-1);
	mn->mn_mtu = ho.ho_mtu < NETWORK_MTU_MAX ? ho.ho_mtu :
	    NETWORK_MTU_MAX;
	memcpy(vc->vc_tap[n], ho.ho_name, sizeof(ho.ho_name));
	vc->vc_fd[vc->vc_nfds++] = mn->mn_fd;
	return (0);
}

int
vmconfig_local(const struct vmplace *vl, size_t n, uint32_t *host,
    uint32_t *guest)
{
	const uint64_t address = vl->vl_prefix + (uint64_t)vl->vl_id * 256 +
	    2 * n + 2;
	const uint64_t size = 1ull << (32 - (vl->vl_prefix_bits & 31));

	if (vl->vl_prefix_bits == 0 || vl->vl_prefix_bits > 31 ||
	    address + 1 >= vl->vl_prefix + size || address + 1 > UINT32_MAX)
		return (-1);
	*host = (uint32_t)address;
	*guest = (uint32_t)address + 1;
	return (0);
}

/* Its files are opened when the guest asks, as whom the VM then is. */
static int
nic_tftp(const struct config_nic *cn, const struct vmplace *vl,
    struct machine_nic *mn, struct err *err)
{
	char within[PATH_MAX];

	mn->mn_bootfile = cn->cn_bootfile;
	mn->mn_tftp = cn->cn_tftp;
	if (cn->cn_tftp == NULL)
		return (0);
	snprintf(within, sizeof(within), "%s/.", cn->cn_tftp);
	if (privilege_can_read(vl->vl_uid, within))
		return (0);
	return (err_set(err, "tftp: %s is no folder that the VM's user can "
	    "read", cn->cn_tftp));
}

static int
nic(struct vmconfig *vc, const struct config_vm *cv,
    const struct config_nic *cn, const struct vmplace *vl,
    struct machine_nic *mn, struct err *err)
{
	const size_t n = (size_t)(cn - cv->cv_nic);

	memcpy(mn->mn_mac, cn->cn_mac, sizeof(mn->mn_mac));
	mn->mn_mtu = cn->cn_mtu;
	switch (cn->cn_kind) {
	case CONFIG_NIC_UNSAID:
	case CONFIG_NIC_USER:
		mn->mn_kind = NIC_USER;
		mn->mn_nforwards = cn->cn_nforwards;
		memcpy(mn->mn_forward, cn->cn_forward,
		    sizeof(mn->mn_forward));
		return (nic_tftp(cn, vl, mn, err));
	case CONFIG_NIC_SWITCH:
		return (nic_switch(vc, cv, cn, vl, mn, err));
	case CONFIG_NIC_LOCAL:
		mn->mn_kind = NIC_LOCAL;
		if (vmconfig_local(vl, n, &mn->mn_host, &mn->mn_guest) == 0)
			return (0);
		return (err_set(err, "VM number %u has no addresses within "
		    "the local prefix; choose a larger one", vl->vl_id));
	case CONFIG_NIC_TAP:
		return (nic_tap(vc, cv, cn, vl, mn, err));
	}
	return (-1);
}

int
vmconfig_networks(struct vmconfig *vc, const struct config_vm *cv,
    const struct vmplace *vl, struct err *err)
{
	struct machine_config *mc = &vc->vc_machine;
	size_t i;

	memset(vc, 0, sizeof(*vc));
	for (i = 0; i < cv->cv_nnics; i++)
		if (nic(vc, cv, &cv->cv_nic[i], vl, &mc->mc_nic[mc->mc_nnics++],
		    err) == -1)
			return (-1);
	return (0);
}

static const enum machine_boot boot_devices[] = {
	[CONFIG_BOOT_UNSAID] = MACHINE_BOOT_DISK,
	[CONFIG_BOOT_DISK] = MACHINE_BOOT_DISK,
	[CONFIG_BOOT_CDROM] = MACHINE_BOOT_CDROM,
	[CONFIG_BOOT_NET] = MACHINE_BOOT_NET
};

int
vmconfig_make(struct vmconfig *vc, const struct config_vm *cv,
    const struct vmplace *vl, struct err *err)
{
	struct machine_config *mc = &vc->vc_machine;

	mc->mc_name = cv->cv_name;
	mc->mc_append = cv->cv_append;
	mc->mc_memory = cv->cv_memory;
	mc->mc_engine = cv->cv_engine;
	mc->mc_exit_port = -1;
	if (cv->cv_cpus > 1)
		return (err_set(err, "it is to have %u CPUs; a VM has one",
		    cv->cv_cpus));
	mc->mc_console_in = mc->mc_console_out = -1;
	if (cv->cv_boot != NULL && (mc->mc_kernel = boot_file(vc,
	    cv->cv_boot, vl->vl_uid, vl->vl_copy, err)) == NULL)
		return (-1);
	if (cv->cv_initrd != NULL && (mc->mc_initrd[mc->mc_ninitrds++] =
	    boot_file(vc, cv->cv_initrd, vl->vl_uid, vl->vl_copy, err)) ==
	    NULL)
		return (-1);
	mc->mc_cdrom = cv->cv_cdrom;
	mc->mc_boot_device = boot_devices[cv->cv_boot_device];
	return (disks(vc, cv, err));
}

void
vmconfig_free(struct vmconfig *vc)
{
	while (vc->vc_ntexts > 0)
		free(vc->vc_text[--vc->vc_ntexts]);
	while (vc->vc_nfds > 0)
		close(vc->vc_fd[--vc->vc_nfds]);
}
