/*
 * Reading vm.conf(5): VMs and their interfaces; see parse.h.
 */
#include "config/parse.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mac.h"

#define IFNAME_MAX	15	/* Linux's IFNAMSIZ - 1, and groups' */
#define MIB		(UINT64_C(1) << 20)

/* --- members --------------------------------------------------------------------- */

bool
parse_once(struct parse *p, const struct lex_place *lp, bool said,
    const char *what)
{
	if (said)
		parse_mistake(p, lp, "\"%s\" is said more than once", what);
	return (!said);
}

void
parse_text(struct parse *p, const struct lex_place *lp, char **member,
    char *text, const char *what)
{
	if (!parse_once(p, lp, *member != NULL, what)) {
		free(text);
		return;
	}
	*member = text;
}

/* How long is the format in front of a path, as in qcow2:disk? */
static size_t
format_length(const char *path)
{
	static const char *const formats[] = { "raw:", "qcow2:" };
	size_t i;

	for (i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (strncmp(path, formats[i], strlen(formats[i])) == 0)
			return (strlen(formats[i]));
	return (0);
}

/* nbd://host/x: what is no file is for others to judge. */
static bool
is_uri(const char *path)
{
	const size_t n = strspn(path, "abcdefghijklmnopqrstuvwxyz0123456789+");

	return (n > 0 && path[n] == ':');
}

/* A path that is not absolute begins where the file is that names it; NULL and
 * errno. */
static char *
absolute(const struct lex_place *lp, char *path)
{
	const char *file = lp->lp_file, *slash = strrchr(file, '/');
	const int folder = slash == NULL ? 0 : (int)(slash + 1 - file);
	const size_t format = format_length(path);
	char *full, *here = NULL;

	if (path[format] == '/' || (format == 0 && is_uri(path)))
		return (path);
	if ((file[0] != '/' && (here = getcwd(NULL, 0)) == NULL) ||
	    asprintf(&full, "%.*s%s%s%.*s%s", (int)format, path,
	    here == NULL ? "" : here, here == NULL ? "" : "/", folder, file,
	    path + format) == -1)
		full = NULL;
	free(here);
	free(path);
	return (full);
}

void
parse_path(struct parse *p, const struct lex_place *lp, char **member,
    char *path, const char *what, bool must)
{
	if (path[0] == '\0') {
		parse_mistake(p, lp, "\"%s\" needs the name of a file", what);
		free(path);
		return;
	}
	if ((path = absolute(lp, path)) == NULL) {
		parse_mistake(p, lp, "%s: %s", what, strerror(errno));
		return;
	}
	if (strlen(path) > LEX_TEXT_MAX)
		parse_mistake(p, lp, "\"%.64s...\" is too long for a path",
		    path);
	else if (must && p->p_exists && access(path, R_OK) == -1)
		parse_mistake(p, lp, "%s \"%.200s\": %s", what, path,
		    strerror(errno));
	parse_text(p, lp, member, path, what);
}

void
parse_disk(struct parse *p, const struct lex_place *lp, char *path,
    char *format)
{
	struct config_vm *cv = p->p_vm;
	struct config_disk *cd = &cv->cv_disk[cv->cv_ndisks];
	enum config_format kind = CONFIG_BY_CONTENT;

	if (format != NULL && strcmp(format, "raw") == 0)
		kind = CONFIG_RAW;
	else if (format != NULL && strcmp(format, "qcow2") == 0)
		kind = CONFIG_QCOW2;
	else if (format != NULL)
		parse_mistake(p, lp, "\"%.64s\" is no format of disks; "
		    "expected raw or qcow2", format);
	free(format);
	if (cv->cv_ndisks == CONFIG_DISKS_MAX) {
		parse_mistake(p, lp, "a VM has at most %d disks",
		    CONFIG_DISKS_MAX);
		free(path);
		return;
	}
	parse_path(p, lp, &cd->cd_path, path, "disk", false);
	if (cd->cd_path == NULL)
		return;
	cd->cd_format = kind;
	cv->cv_ndisks++;
}

/* 512M, 1.5G, bytes; -1 if it is no size. */
static int
size(const char *text, uint64_t *bytes)
{
	static const char units[] = "BKMGT";
	uint64_t whole, fraction = 0, tenth = 1, unit = 1;
	const char *found;
	char *end;

	errno = 0;
	whole = strtoull(text, &end, 10);
	if (!isdigit((unsigned char)text[0]) || errno != 0)
		return (-1);
	if (*end == '.')
		for (end++; isdigit((unsigned char)*end); end++)
			if (tenth < 1000000) {
				fraction = fraction * 10 +
				    (uint64_t)(*end - '0');
				tenth *= 10;
			}
	if (*end != '\0') {
		found = strchr(units, toupper((unsigned char)*end));
		if (found == NULL || end[1] != '\0')
			return (-1);
		unit <<= (found - units) * 10;
	}
	if (__builtin_mul_overflow(whole, unit, &whole))
		return (-1);
	/* below 10^6 * 2^40 */
	*bytes = whole + fraction * unit / tenth;
	return (*bytes < whole ? -1 : 0);
}

void
parse_memory(struct parse *p, const struct lex_place *lp, char *text)
{
	uint64_t bytes;

	if (parse_once(p, lp, p->p_vm->cv_memory != 0, "memory")) {
		if (size(text, &bytes) == -1 || bytes < CONFIG_MEMORY_MIN ||
		    bytes > CONFIG_MEMORY_MAX)
			parse_mistake(p, lp, "\"%.64s\": expected a size from "
			    "1M to 32G for \"memory\"", text);
		else
			p->p_vm->cv_memory = bytes - bytes % MIB;
	}
	free(text);
}

void
parse_ifname(struct parse *p, const struct lex_place *lp, char **member,
    char *name, const char *what)
{
	const size_t len = strlen(name);
	const bool group = strcmp(what, "group") == 0;

	if (len == 0 || len > IFNAME_MAX || strpbrk(name, "/:% ") != NULL ||
	    name[0] == '.' || name[0] == '-')
		parse_mistake(p, lp, "\"%.64s\" is no name for \"%s\"; it has "
		    "1 to %d characters, and none of /:%%", name, what,
		    IFNAME_MAX);
	else if (group && isdigit((unsigned char)name[len - 1]))
		parse_mistake(p, lp, "\"%s\" is no name of a group; it must "
		    "not end in a digit", name);
	parse_text(p, lp, member, name, what);
}

void
parse_rdomain(struct parse *p, const struct lex_place *lp, unsigned *rdomain,
    char *text)
{
	*rdomain = parse_number(p, lp, text, "rdomain", 0, CONFIG_RDOMAIN_MAX);
	if (*rdomain != 0)
		parse_warning(p, lp, "\"rdomain\" does nothing here: Linux "
		    "has no routing domains");
}

void
parse_mtu(struct parse *p, const struct lex_place *lp, unsigned *mtu,
    char *text)
{
	*mtu = parse_number(p, lp, text, "mtu", NETWORK_MTU_MIN,
	    NETWORK_MTU_MAX);
}

/* --- interfaces -------------------------------------------------------------------- */

void
parse_nic_begin(struct parse *p, const struct lex_place *lp, bool local,
    char *name)
{
	struct config_vm *cv = p->p_vm;

	if (cv->cv_nnics < CONFIG_NICS_MAX) {
		p->p_nic = &cv->cv_nic[cv->cv_nnics++];
	} else {
		parse_mistake(p, lp, "a VM has at most %d interfaces",
		    CONFIG_NICS_MAX);
		config_nic_clear(&p->p_spare_nic);
		p->p_nic = &p->p_spare_nic;
	}
	if (name != NULL && strcmp(name, "tap") == 0) {
		/* any tap; on a switch, whatever that one needs */
		p->p_nic->cn_kind = CONFIG_NIC_TAP;
		free(name);
	} else if (name != NULL) {
		parse_ifname(p, lp, &p->p_nic->cn_tap, name, "interface");
	}
	if (local)
		p->p_nic->cn_kind = CONFIG_NIC_LOCAL;
}

void
parse_nic_end(struct parse *p)
{
	struct config_nic *cn = p->p_nic;
	const char *only = NULL;	/* of the NAT's */

	if (cn->cn_kind == CONFIG_NIC_TAP && cn->cn_switch != NULL)
		cn->cn_kind = CONFIG_NIC_UNSAID;
	if (cn->cn_nforwards != 0)
		only = "forward";
	else if (cn->cn_tftp != NULL)
		only = "tftp";
	else if (cn->cn_bootfile != NULL)
		only = "bootfile";
	if (only != NULL && cn->cn_kind == CONFIG_NIC_UNSAID &&
	    cn->cn_switch == NULL && cn->cn_tap == NULL)
		cn->cn_kind = CONFIG_NIC_USER;
	if (only != NULL && cn->cn_kind != CONFIG_NIC_USER)
		parse_mistake(p, &p->p_place, "VM \"%s\": \"%s\" is for "
		    "interfaces of \"network user\" alone",
		    p->p_vm->cv_name, only);
	if (cn->cn_kind == CONFIG_NIC_USER && (cn->cn_switch != NULL ||
	    cn->cn_tap != NULL))
		parse_mistake(p, &p->p_place, "VM \"%s\": an interface of "
		    "\"network user\" has neither switch nor tap",
		    p->p_vm->cv_name);
}

void
parse_lladdr(struct parse *p, const struct lex_place *lp, bool locked,
    char *text)
{
	struct config_nic *cn = p->p_nic;

	cn->cn_locked = cn->cn_locked || locked;
	if (text == NULL)
		return;
	if (parse_once(p, lp, cn->cn_mac_set, "lladdr")) {
		if (mac_parse(text, cn->cn_mac) == -1)
			parse_mistake(p, lp, "\"%.64s\" is no station's "
			    "address; expected one as fe:e1:bb:d1:23:45", text);
		else
			cn->cn_mac_set = true;
	}
	free(text);
}

void
parse_network(struct parse *p, const struct lex_place *lp, char *text)
{
	struct config_nic *cn = p->p_nic;

	if (strcmp(text, "user") != 0)
		parse_mistake(p, lp, "\"%.64s\" is no network; expected "
		    "\"user\"", text);
	else if (cn->cn_kind == CONFIG_NIC_LOCAL ||
	    cn->cn_kind == CONFIG_NIC_TAP)
		parse_mistake(p, lp, "\"network user\" is neither \"local\" "
		    "nor a tap");
	else
		cn->cn_kind = CONFIG_NIC_USER;
	free(text);
}

static int
port(const char *text, uint16_t *n)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0 ||
	    value == 0 || value > UINT16_MAX)
		return (-1);
	*n = (uint16_t)value;
	return (0);
}

/* [address:]port */
static int
host_port(char *text, struct network_forward *nf)
{
	char *colon = strrchr(text, ':');
	struct in_addr in;

	if (colon == NULL)
		return (port(text, &nf->nf_host_port));
	*colon = '\0';
	if (strlen(text) >= sizeof(nf->nf_host) ||
	    inet_pton(AF_INET, text, &in) != 1)
		return (-1);
	strcpy(nf->nf_host, text);
	return (port(colon + 1, &nf->nf_host_port));
}

void
parse_forward(struct parse *p, const struct lex_place *lp, char *protocol,
    char *from, char *to, char *guest)
{
	struct config_nic *cn = p->p_nic;
	struct network_forward nf = { 0 };

	nf.nf_udp = strcmp(protocol, "udp") == 0;
	if ((!nf.nf_udp && strcmp(protocol, "tcp") != 0) ||
	    strcmp(to, "to") != 0 || host_port(from, &nf) == -1 ||
	    port(guest, &nf.nf_guest_port) == -1)
		parse_mistake(p, lp, "a bad \"forward\" near \"%.64s\"; "
		    "expected \"forward tcp 127.0.0.1:2222 to 22\"", protocol);
	else if (cn->cn_nforwards == CONFIG_FORWARDS_MAX)
		parse_mistake(p, lp, "an interface has at most %d forwards",
		    CONFIG_FORWARDS_MAX);
	else
		cn->cn_forward[cn->cn_nforwards++] = nf;
	free(protocol);
	free(from);
	free(to);
	free(guest);
}

/* --- VMs ---------------------------------------------------------------------------- */

void
parse_vm_drop(struct parse *p)
{
	struct config_vm *cv = p->p_vm;
	size_t i;

	free(cv->cv_parent);
	free(cv->cv_cdrom);
	free(cv->cv_boot);
	free(cv->cv_initrd);
	free(cv->cv_append);
	free(cv->cv_engine);
	for (i = 0; i < CONFIG_DISKS_MAX; i++)
		free(cv->cv_disk[i].cd_path);
	for (i = 0; i < CONFIG_NICS_MAX; i++)
		config_nic_clear(&cv->cv_nic[i]);
	config_nic_clear(&p->p_spare_nic);
	memset(cv, 0, sizeof(*cv));
}

void
parse_vm_begin(struct parse *p, const struct lex_place *lp, char *name,
    char *parent)
{
	struct config_vm *cv = p->p_vm;
	struct err err;

	parse_vm_drop(p);
	p->p_place = *lp;
	cv->cv_line = lp->lp_line;
	cv->cv_parent = parent;
	if (config_name_check(name, &err) == -1)
		parse_mistake(p, lp, "%s", err.e_text);
	else if (config_find_vm(p->p_config, name) != NULL)
		parse_mistake(p, lp, "there is a VM \"%s\" already", name);
	/* what is too long has been told */
	snprintf(cv->cv_name, sizeof(cv->cv_name), "%s", name);
	free(name);
}

static void
vm_inherit(struct parse *p, struct config_vm *cv)
{
	const struct config_vm *parent;
	struct err err;

	if (cv->cv_parent == NULL)
		return;
	parent = config_find_vm(p->p_config, cv->cv_parent);
	if (parent == NULL)
		parse_mistake(p, &p->p_place, "there is no VM \"%.64s\" above "
		    "for \"%s\" to be an instance of", cv->cv_parent,
		    cv->cv_name);
	else if (config_vm_inherit(cv, parent, 0, NULL, 0, &err) == -1)
		parse_mistake(p, &p->p_place, "%s", err.e_text);
}

/* Adds what stands in p_vm_now, as a VM that is freed with the others. */
static struct config_vm *
vm_add(struct parse *p)
{
	struct config *cf = p->p_config;
	struct config_vm **list, *cv;

	list = reallocarray(cf->cf_vm, cf->cf_nvms + 1,
	    sizeof(struct config_vm *));
	if (list == NULL)
		return (NULL);
	cf->cf_vm = list;
	if ((cv = config_vm_new()) == NULL)
		return (NULL);
	*cv = p->p_vm_now;
	memset(&p->p_vm_now, 0, sizeof(p->p_vm_now));
	return (cv);
}

void
parse_vm_end(struct parse *p)
{
	struct config *cf = p->p_config;
	struct config_vm *cv;

	if (cf->cf_nvms == PARSE_VMS_MAX)
		parse_mistake(p, &p->p_place, "there are more than %d VMs",
		    PARSE_VMS_MAX);
	else if ((cv = vm_add(p)) == NULL)
		parse_mistake(p, &p->p_place, "no memory");
	else {
		/* not yet among those that it can be an instance of */
		vm_inherit(p, cv);
		p->p_vm_place[cf->cf_nvms] = p->p_place;
		cf->cf_vm[cf->cf_nvms++] = cv;
	}
	parse_vm_drop(p);
}

/* The switch that an interface is on. */
static void
check_switch(struct parse *p, const struct lex_place *lp,
    const struct config_vm *cv, const struct config_nic *cn)
{
	const struct config_switch *cs;
	unsigned mtu;

	if (cn->cn_switch == NULL)
		return;
	if ((cs = config_find_switch(p->p_config, cn->cn_switch)) == NULL) {
		parse_warning(p, lp, "VM \"%s\": there is no switch "
		    "\"%.64s\"", cv->cv_name, cn->cn_switch);
		return;
	}
	mtu = cs->cs_mtu != 0 ? cs->cs_mtu : NETWORK_MTU;
	if (cs->cs_interface == NULL && cn->cn_mtu > mtu)
		parse_mistake(p, lp, "VM \"%s\": an MTU of %u on the switch "
		    "\"%.64s\" of %u", cv->cv_name, cn->cn_mtu,
		    cn->cn_switch, mtu);
}

/* What only an interface of the host can have. */
static void
check_tap(struct parse *p, const struct lex_place *lp,
    const struct config_vm *cv, const struct config_nic *cn)
{
	const struct config_switch *cs = cn->cn_switch == NULL ? NULL :
	    config_find_switch(p->p_config, cn->cn_switch);
	const char *what = cn->cn_group != NULL ? "group" :
	    cn->cn_up == CONFIG_NO ? "down" : NULL;

	if (what != NULL && cn->cn_kind != CONFIG_NIC_TAP &&
	    (cs == NULL || cs->cs_interface == NULL))
		parse_warning(p, lp, "VM \"%s\": \"%s\" does nothing for an "
		    "interface that is no tap of the host", cv->cv_name, what);
}

void
parse_vm_finish(struct parse *p)
{
	const struct config *cf = p->p_config;
	const struct lex_place *lp;
	struct config_vm *cv;
	struct err err;
	size_t i, j;

	for (i = 0; i < cf->cf_nvms && p->p_mistakes == 0; i++) {
		cv = cf->cf_vm[i];
		lp = &p->p_vm_place[i];
		if (config_vm_fill(cv, &err) == -1)
			parse_mistake(p, lp, "%s", err.e_text);
		for (j = 0; j < cv->cv_nnics; j++) {
			check_switch(p, lp, cv, &cv->cv_nic[j]);
			check_tap(p, lp, cv, &cv->cv_nic[j]);
		}
	}
}
