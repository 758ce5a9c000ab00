/*
 * The networks of "vmctl run" and "vmctl start": what --net says, and what a
 * machine in this process needs of it.
 */
#include <sys/stat.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mac.h"
#include "control/control.h"
#include "network/hosttap.h"
#include "vmctl/vmctl.h"

/* --- what is said ------------------------------------------------------------------- */

static int
kind_user(struct config_nic *cn, const char *value, struct err *err)
{
	cn->cn_kind = CONFIG_NIC_USER;
	return (value == NULL ? 0 : err_set(err, "\"user\" has no name"));
}

static int
kind_switch(struct config_nic *cn, const char *value, struct err *err)
{
	cn->cn_kind = CONFIG_NIC_SWITCH;
	if (value == NULL)
		return (err_set(err, "which switch? write it as switch=NAME"));
	if (config_name_check(value, err) == -1)
		return (-1);
	return (parse_string(&cn->cn_switch, value, err));
}

static int
kind_tap(struct config_nic *cn, const char *value, struct err *err)
{
	cn->cn_kind = CONFIG_NIC_TAP;
	return (value == NULL ? 0 : parse_string(&cn->cn_tap, value, err));
}

static const struct {
	const char	*ki_name;
	int		(*ki_fn)(struct config_nic *, const char *value,
			    struct err *);
} kinds[] = {
	{ "user",	kind_user },
	{ "switch",	kind_switch },
	{ "tap",	kind_tap },
};

static int
option_hostfwd(struct config_nic *cn, char *value, struct err *err)
{
	if (cn->cn_nforwards == CONFIG_FORWARDS_MAX)
		return (err_set(err, "more than %d hostfwd",
		    CONFIG_FORWARDS_MAX));
	if (value == NULL || parse_forward(value,
	    &cn->cn_forward[cn->cn_nforwards++]) == -1)
		return (err_set(err, "a bad hostfwd; write it as "
		    "hostfwd=tcp:127.0.0.1:2222-22"));
	return (0);
}

static int
option_mac(struct config_nic *cn, char *value, struct err *err)
{
	static const uint8_t none[6];

	if (value == NULL || mac_parse(value, cn->cn_mac) == -1)
		return (err_set(err, "\"%s\" is no station's address; write "
		    "it as mac=52:54:00:12:34:56", value == NULL ? "" :
		    value));
	cn->cn_mac_set = memcmp(cn->cn_mac, none, sizeof(none)) != 0;
	return (0);
}

static int
option_bridge(struct config_nic *cn, char *value, struct err *err)
{
	if (value == NULL || *value == '\0')
		return (err_set(err, "which bridge? write it as bridge=br0"));
	return (parse_string(&cn->cn_bridge, value, err));
}

static int
option_locked(struct config_nic *cn, char *value, struct err *err)
{
	cn->cn_locked = true;
	return (value == NULL ? 0 : err_set(err, "\"locked\" has no value"));
}

static int
option_mtu(struct config_nic *cn, char *value, struct err *err)
{
	unsigned long n = 0;
	char *end = value;

	if (value != NULL && value[0] >= '1' && value[0] <= '9')
		n = strtoul(value, &end, 10);
	if (n < NETWORK_MTU_MIN || n > NETWORK_MTU_MAX || *end != '\0')
		return (err_set(err, "a bad mtu; write a number from %d to %d",
		    NETWORK_MTU_MIN, NETWORK_MTU_MAX));
	cn->cn_mtu = (unsigned)n;
	return (0);
}

/* A folder; its path is made absolute, as a VM of vmd's is elsewhere. */
static int
option_tftp(struct config_nic *cn, char *value, struct err *err)
{
	char path[PATH_MAX];
	struct stat st;

	if (value == NULL || *value == '\0')
		return (err_set(err, "which folder? write it as "
		    "tftp=/srv/tftp"));
	if (realpath(value, path) == NULL || stat(path, &st) == -1)
		return (err_sys(err, "tftp: %s", value));
	if (!S_ISDIR(st.st_mode))
		return (err_set(err, "tftp: %s is no folder", value));
	return (parse_string(&cn->cn_tftp, path, err));
}

static int
option_bootfile(struct config_nic *cn, char *value, struct err *err)
{
	if (value == NULL || *value == '\0')
		return (err_set(err, "which file? write it as "
		    "bootfile=pxelinux.0"));
	if (strlen(value) >= NETWORK_BOOTFILE_MAX)
		return (err_set(err, "the name of a bootfile has at most %d "
		    "letters", NETWORK_BOOTFILE_MAX - 1));
	return (parse_string(&cn->cn_bootfile, value, err));
}

#define USER	(1u << CONFIG_NIC_USER)
#define SWITCH	(1u << CONFIG_NIC_SWITCH)
#define TAP	(1u << CONFIG_NIC_TAP)

static const struct {
	const char	*op_name;
	unsigned	 op_kinds;	/* that have it */
	int		(*op_fn)(struct config_nic *, char *value,
			    struct err *);
} options[] = {
	{ "mac",	USER | SWITCH | TAP, option_mac },
	{ "mtu",	USER | SWITCH | TAP, option_mtu },
	{ "hostfwd",	USER,		option_hostfwd },
	{ "tftp",	USER,		option_tftp },
	{ "bootfile",	USER,		option_bootfile },
	{ "locked",	SWITCH | TAP,	option_locked },
	{ "bridge",	TAP,		option_bridge },
};

static int
parse_kind(struct config_nic *cn, char *item, struct err *err)
{
	char *value = item, *name = strsep(&value, "=");
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(name, kinds[i].ki_name) == 0)
			return (kinds[i].ki_fn(cn, value, err));
	return (err_set(err, "\"%s\" is no network; use \"user\", "
	    "\"switch=NAME\", \"tap\" or \"none\"", name));
}

static int
parse_option(struct config_nic *cn, char *item, struct err *err)
{
	char *value = item, *name = strsep(&value, "="), list[64] = "";
	const unsigned kind = 1u << cn->cn_kind;
	size_t i;

	for (i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		if ((options[i].op_kinds & kind) == 0)
			continue;
		if (strcmp(name, options[i].op_name) == 0)
			return (options[i].op_fn(cn, value, err));
		snprintf(list + strlen(list), sizeof(list) - strlen(list),
		    "%s%s", list[0] == '\0' ? "" : ", ", options[i].op_name);
	}
	return (err_set(err, "\"%s\" is no option of this network; there are "
	    "%s", name, list));
}

int
net_parse(const char *word, struct config_nic *cn, bool *used,
    struct err *err)
{
	char text[1024], *rest = text, *item;
	int ret;

	memset(cn, 0, sizeof(*cn));
	*used = false;
	if (strcmp(word, "none") == 0)
		return (0);
	if ((size_t)snprintf(text, sizeof(text), "%s", word) >= sizeof(text))
		return (err_set(err, "its value is too long"));
	ret = parse_kind(cn, strsep(&rest, ","), err);
	while (ret == 0 && (item = strsep(&rest, ",")) != NULL)
		ret = parse_option(cn, item, err);
	if (ret == -1)
		config_nic_clear(cn);
	*used = ret == 0;
	return (ret);
}

/* --- what a machine needs --------------------------------------------------------- */

static int
open_switch(const struct config_nic *cn, const char *vm,
    struct machine_nic *mn, struct err *err)
{
	char dir[256];

	if (control_folder(geteuid(), dir, sizeof(dir), err) == -1)
		return (-1);
	mn->mn_kind = NIC_SWITCH;
	mn->mn_fd = control_port(dir, cn->cn_switch, vm, mn->mn_mac,
	    cn->cn_locked, &mn->mn_mtu, err);
	return (mn->mn_fd == -1 ? -1 : 0);
}

static int
open_tap(const struct config_nic *cn, const char *vm, struct machine_nic *mn,
    struct err *err)
{
	const struct hosttap ht = { .ht_name = cn->cn_tap,
		.ht_bridge = cn->cn_bridge, .ht_mtu = cn->cn_mtu,
		.ht_alias = vm };
	struct hosttap_opened ho;

	mn->mn_kind = NIC_TAP;
	mn->mn_locked = cn->cn_locked;
	if ((mn->mn_fd = hosttap_open(&ht, &ho, err)) == -1)
		return (-1);
	mn->mn_mtu = ho.ho_mtu < NETWORK_MTU_MAX ? ho.ho_mtu :
	    NETWORK_MTU_MAX;
	return (0);
}

int
net_open(const struct config_nic *cn, const char *vm, struct machine_nic *mn,
    struct err *err)
{
	memset(mn, 0, sizeof(*mn));
	mn->mn_fd = -1;
	mn->mn_mtu = cn->cn_mtu;
	if (cn->cn_mac_set)
		memcpy(mn->mn_mac, cn->cn_mac, sizeof(mn->mn_mac));
	else
		network_mac_choose(mn->mn_mac);
	switch (cn->cn_kind) {
	case CONFIG_NIC_SWITCH:
		return (open_switch(cn, vm, mn, err));
	case CONFIG_NIC_TAP:
		return (open_tap(cn, vm, mn, err));
	default:
		break;
	}
	mn->mn_kind = NIC_USER;
	mn->mn_nforwards = cn->cn_nforwards;
	memcpy(mn->mn_forward, cn->cn_forward, sizeof(mn->mn_forward));
	mn->mn_tftp = cn->cn_tftp;
	mn->mn_bootfile = cn->cn_bootfile;
	return (0);
}

void
net_close(struct machine_nic *mn)
{
	if (mn->mn_fd != -1)
		close(mn->mn_fd);
	mn->mn_fd = -1;
}
