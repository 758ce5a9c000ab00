/*
 * What is configured: a VM, a switch, a host. vm.conf(5) is read into these
 * structures, "vmctl start" sends one VM as JSON, and a VM's process is told
 * what it is in the same form.
 *
 * 1. Strings are the structure's own (malloc). NULL and 0 mean "not said", so
 *    that a template can tell what an instance leaves to it; config_vm_fill()
 *    puts the defaults in at the very end.
 * 2. Nothing here looks at the host, but for what the functions say of
 *    themselves: paths are text, users are numbers.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "network/network.h"

#define CONFIG_NAME_MAX		64	/* with its NUL, as VMM_MAX_NAME_LEN */
#define CONFIG_DISKS_MAX	4
#define CONFIG_NICS_MAX		4
#define CONFIG_FORWARDS_MAX	16
#define CONFIG_CPUS_MAX		64	/* as VMM_MAX_VCPUS_PER_VM */
#define CONFIG_MEMORY_MIN	(UINT64_C(1) << 20)
#define CONFIG_MEMORY_MAX	(UINT64_C(32) << 30)
#define CONFIG_RDOMAIN_MAX	255

enum config_tristate { CONFIG_UNSAID, CONFIG_NO, CONFIG_YES };

struct config_owner {
	bool		 co_user_set, co_group_set;
	uid_t		 co_user;
	gid_t		 co_group;
};

enum config_format { CONFIG_BY_CONTENT, CONFIG_RAW, CONFIG_QCOW2 };

struct config_disk {
	char		*cd_path;	/* a file, a block device, nbd:// URI */
	enum config_format cd_format;
};

enum config_nic_kind {
	CONFIG_NIC_UNSAID,	/* switch, if one is named; else user */
	CONFIG_NIC_USER,	/* network user: NAT without privilege */
	CONFIG_NIC_SWITCH,	/* a switch, by its name */
	CONFIG_NIC_LOCAL,	/* local interface: vmd's addresses and DHCP */
	CONFIG_NIC_TAP		/* a tap of the host's */
};

struct config_nic {
	enum config_nic_kind cn_kind;
	char		*cn_switch;
	char		*cn_tap;	/* NULL: any free one */
	char		*cn_bridge;	/* of the host's, that the tap joins */
	char		*cn_group;
	bool		 cn_mac_set;
	uint8_t		 cn_mac[6];
	bool		 cn_locked;	/* other source addresses are dropped */
	enum config_tristate cn_up;
	unsigned	 cn_rdomain;
	unsigned	 cn_mtu;	/* 0: the network's */
	struct network_forward cn_forward[CONFIG_FORWARDS_MAX];
	size_t		 cn_nforwards;
	char		*cn_tftp;	/* folder for the guest, by TFTP */
	char		*cn_bootfile;	/* that DHCP names */
};

enum config_boot { CONFIG_BOOT_UNSAID, CONFIG_BOOT_DISK, CONFIG_BOOT_CDROM,
    CONFIG_BOOT_NET };

/* What "allow instance" lets its users say. */
#define CONFIG_ALLOW_BOOT	0x01
#define CONFIG_ALLOW_MEMORY	0x02
#define CONFIG_ALLOW_INTERFACE	0x04
#define CONFIG_ALLOW_DISK	0x08
#define CONFIG_ALLOW_CDROM	0x10
#define CONFIG_ALLOW_INSTANCE	0x20

struct config_vm {
	char		 cv_name[CONFIG_NAME_MAX];
	char		*cv_parent;	/* of an instance */
	enum config_tristate cv_enable;
	uint64_t	 cv_memory;	/* bytes */
	unsigned	 cv_cpus;
	struct config_disk cv_disk[CONFIG_DISKS_MAX];
	size_t		 cv_ndisks;
	char		*cv_cdrom;
	char		*cv_boot;	/* kernel or firmware, by its content */
	char		*cv_initrd;
	char		*cv_append;
	enum config_boot cv_boot_device;
	struct config_nic cv_nic[CONFIG_NICS_MAX];
	size_t		 cv_nnics;	/* described ones */
	unsigned	 cv_interfaces;	/* "interfaces n", 0: not said */
	bool		 cv_no_interfaces;	/* "interfaces 0": not even the
					   parent's */
	char		*cv_engine;
	struct config_owner cv_owner;
	unsigned	 cv_allow;	/* CONFIG_ALLOW_*, of a template */
	struct config_owner cv_allow_owner;
	unsigned	 cv_line;	/* of its file, 0: none */
};

struct config_switch {
	char		*cs_name;
	char		*cs_interface;	/* bridge of the host; NULL: ours */
	char		*cs_group;
	enum config_tristate cs_enable, cs_up, cs_nat;	/* nat: uplink, ours */
	bool		 cs_locked;
	unsigned	 cs_rdomain;
	unsigned	 cs_mtu;	/* 0: the bridge's, NETWORK_MTU of ours */
	unsigned	 cs_line;
};

struct config {
	struct config_vm	**cf_vm;	/* in the file's order */
	size_t			 cf_nvms;
	struct config_switch	**cf_switch;
	size_t			 cf_nswitches;
	uint32_t		 cf_prefix;	/* local prefix, host order */
	unsigned		 cf_prefix_bits;
	bool			 cf_inet6;
	uint8_t			 cf_prefix6[16];
	unsigned		 cf_prefix6_bits;	/* 0: random */
	struct config_owner	 cf_socket;
	unsigned		 cf_parallel;	/* staggered start; 0: CPUs */
	unsigned		 cf_delay;	/* seconds; 0: 30 */
	bool			 cf_staggered;
};

/* A macro's value from the command line (-D name=value), before the file. */
struct config_macro {
	const char	*cm_name, *cm_value;
};

/*
 * Reads a file by the grammar of vm.conf(5). -1 with the first mistake in err
 * as "file:line: what, near "token""; every further one is told to `more`, if
 * that is not NULL, and so are warnings, which are no mistakes. The host is
 * asked for users, groups and, if `exists`, for what VMs boot: kernels and
 * initrds. Relative paths begin where the file is. The VMs are inherited and
 * filled. config_free() ends it, in any case.
 */
int	config_read(struct config *, const char *path,
	    const struct config_macro *, size_t nmacros, bool exists,
	    void (*more)(void *arg, const char *line), void *arg,
	    struct err *);
void	config_init(struct config *);		/* with the defaults */
void	config_free(struct config *);
struct config_vm *config_find_vm(const struct config *, const char *name);
struct config_switch *config_find_switch(const struct config *,
	    const char *name);

/* Of switches that are bridges of the host: interfaces on them become taps that
 * join the bridge. -1: no memory. */
int	config_bridges(const struct config *, struct config_vm *);

struct config_vm *config_vm_new(void);		/* NULL and errno */
/* Ends its strings: all is zero then. */
void	config_nic_clear(struct config_nic *);
struct config_vm *config_vm_copy(const struct config_vm *);
void	config_vm_free(struct config_vm *);

/* Letters, digits, '.', '-', '_'; none of these three first; not only digits.
 * 0, or -1 with a line in err. */
int	config_name_check(const char *, struct err *);

/*
 * Makes an instance: what `vm` does not say it takes from `parent` (memory,
 * CPUs, interfaces but for addresses and taps, boot, cdrom, owner; never
 * disks). -1 with a line in err if it says what it may not; uid 0 and the
 * parent's owner may say everything, others what "allow instance" lists.
 */
int	config_vm_inherit(struct config_vm *, const struct config_vm *parent,
	    uid_t, const gid_t *groups, size_t ngroups, struct err *);
/* Defaults for all that was not said, "interfaces n" made into interfaces; -1
 * with a line in err if it is nothing that can be run. */
int	config_vm_fill(struct config_vm *, struct err *);

/* JSON: NULL and errno; -1 with a line in err about the member. A member that
 * is not known is a mistake, one that is missing is "not said". */
cJSON	*config_vm_json(const struct config_vm *);
int	config_vm_from_json(struct config_vm **, const cJSON *, struct err *);

#endif
