/*
 * A VM's configuration as JSON and back, by tables: what a member is called,
 * where it is, what it may be. What is not said is not written. Numbers are
 * whole and below 2^53, as JSON can carry them. Pure but for memory; any
 * thread.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mac.h"
#include "config/config.h"

#define COUNT(a)	(sizeof(a) / sizeof((a)[0]))
#define WHOLE_MAX	9007199254740992.0	/* 2^53 */
#define ID_MAX		4294967294.0	/* -1 is no user and no group */
#define TEXT_MAX	4095u		/* of a string; PATH_MAX - 1 */

enum kind {
	KIND_STRING,	/* char *, NULL: not said */
	KIND_ARRAY,	/* char[m_max] */
	KIND_U64,	/* 0: not said */
	KIND_UNSIGNED,	/* 0: not said */
	KIND_PORT,	/* uint16_t */
	KIND_BOOL,	/* false: not said */
	KIND_TRISTATE,
	KIND_WORD,	/* an enum, by m_words; its value 0: not said */
	KIND_WORDS	/* unsigned, a list of words, bit by bit */
};

struct member {
	const char	*m_name;
	enum kind	 m_kind;
	size_t		 m_at;
	double		 m_max;		/* of a number; an array's bytes */
	const char *const *m_words;	/* up to a NULL */
};

static const char *const format_words[] = { "", "raw", "qcow2", NULL };
static const char *const boot_words[] = { "", "disk", "cdrom", "net", NULL };
static const char *const kind_words[] = { "", "user", "switch", "local", "tap",
    NULL };
static const char *const allow_words[] = { "boot", "memory", "interface",
    "disk", "cdrom", "instance", NULL };
static const char *const protocol_words[] = { "tcp", "udp", NULL };

#define VM(m)	offsetof(struct config_vm, cv_ ## m)
static const struct member vm_members[] = {
	{ "name", KIND_ARRAY, VM(name), CONFIG_NAME_MAX, NULL },
	{ "parent", KIND_STRING, VM(parent), 0, NULL },
	{ "enable", KIND_TRISTATE, VM(enable), 0, NULL },
	{ "memory", KIND_U64, VM(memory), WHOLE_MAX, NULL },
	{ "cpus", KIND_UNSIGNED, VM(cpus), 512, NULL },
	{ "cdrom", KIND_STRING, VM(cdrom), 0, NULL },
	{ "boot", KIND_STRING, VM(boot), 0, NULL },
	{ "initrd", KIND_STRING, VM(initrd), 0, NULL },
	{ "append", KIND_STRING, VM(append), 0, NULL },
	{ "boot_device", KIND_WORD, VM(boot_device), 0, boot_words },
	{ "ninterfaces", KIND_UNSIGNED, VM(interfaces), CONFIG_NICS_MAX, NULL },
	{ "no_interfaces", KIND_BOOL, VM(no_interfaces), 0, NULL },
	{ "engine", KIND_STRING, VM(engine), 0, NULL },
	{ "allow", KIND_WORDS, VM(allow), 0, allow_words }
};
#define DISK(m)	offsetof(struct config_disk, cd_ ## m)
static const struct member disk_members[] = {
	{ "path", KIND_STRING, DISK(path), 0, NULL },
	{ "format", KIND_WORD, DISK(format), 0, format_words }
};
#define NIC(m)	offsetof(struct config_nic, cn_ ## m)
static const struct member nic_members[] = {
	{ "kind", KIND_WORD, NIC(kind), 0, kind_words },
	{ "switch", KIND_STRING, NIC(switch), 0, NULL },
	{ "tap", KIND_STRING, NIC(tap), 0, NULL },
	{ "bridge", KIND_STRING, NIC(bridge), 0, NULL },
	{ "group", KIND_STRING, NIC(group), 0, NULL },
	{ "locked", KIND_BOOL, NIC(locked), 0, NULL },
	{ "up", KIND_TRISTATE, NIC(up), 0, NULL },
	{ "rdomain", KIND_UNSIGNED, NIC(rdomain), 255, NULL },
	{ "mtu", KIND_UNSIGNED, NIC(mtu), NETWORK_MTU_MAX, NULL },
	{ "tftp", KIND_STRING, NIC(tftp), 0, NULL },
	{ "bootfile", KIND_STRING, NIC(bootfile), 0, NULL }
};
#define FORWARD(m)	offsetof(struct network_forward, nf_ ## m)
static const struct member forward_members[] = {
	{ "host", KIND_ARRAY, FORWARD(host),
	    sizeof(((struct network_forward *)0)->nf_host), NULL },
	{ "host_port", KIND_PORT, FORWARD(host_port), 65535, NULL },
	{ "guest_port", KIND_PORT, FORWARD(guest_port), 65535, NULL }
};

/* --- out ---------------------------------------------------------------------- */

static cJSON *
words_json(unsigned bits, const char *const *words)
{
	cJSON *list = cJSON_CreateArray(), *word;

	for (; list != NULL && *words != NULL; words++, bits >>= 1) {
		if ((bits & 1) == 0)
			continue;
		word = cJSON_CreateString(*words);
		if (word == NULL || !cJSON_AddItemToArray(list, word)) {
			cJSON_Delete(word);
			cJSON_Delete(list);
			return (NULL);
		}
	}
	return (list);
}

/* A member's value, or NULL with *said false when there is nothing to say. */
static cJSON *
member_json(const struct member *m, const void *of, bool *said)
{
	const char *at = (const char *)of + m->m_at;
	const char *text;
	uint64_t u64;
	unsigned u;
	uint16_t port;

	*said = true;
	switch (m->m_kind) {
	case KIND_STRING:
		memcpy(&text, at, sizeof(text));
		*said = text != NULL;
		return (*said ? cJSON_CreateString(text) : NULL);
	case KIND_ARRAY:
		*said = *at != '\0';
		return (*said ? cJSON_CreateString(at) : NULL);
	case KIND_U64:
		memcpy(&u64, at, sizeof(u64));
		*said = u64 != 0;
		return (*said ? cJSON_CreateNumber((double)u64) : NULL);
	case KIND_PORT:
		memcpy(&port, at, sizeof(port));
		return (cJSON_CreateNumber(port));
	case KIND_BOOL:
		*said = *at != 0;
		return (*said ? cJSON_CreateTrue() : NULL);
	case KIND_UNSIGNED:
	case KIND_TRISTATE:
	case KIND_WORD:
	case KIND_WORDS:
		break;
	}
	memcpy(&u, at, sizeof(u));
	if (!(*said = u != 0))
		return (NULL);
	if (m->m_kind == KIND_TRISTATE)
		return (cJSON_CreateBool(u == CONFIG_YES));
	if (m->m_kind == KIND_WORD)
		return (cJSON_CreateString(m->m_words[u]));
	if (m->m_kind == KIND_WORDS)
		return (words_json(u, m->m_words));
	return (cJSON_CreateNumber(u));
}

/* o with item as its member; false, and item ended, if that cannot be. */
static bool
add(cJSON *o, const char *name, cJSON *item)
{
	if (o != NULL && item != NULL && cJSON_AddItemToObject(o, name, item))
		return (true);
	cJSON_Delete(item);
	return (false);
}

static cJSON *
members_json(const struct member *m, size_t n, const void *of)
{
	cJSON *o = cJSON_CreateObject(), *item;
	bool said;

	for (; o != NULL && n > 0; m++, n--) {
		item = member_json(m, of, &said);
		if (said && !add(o, m->m_name, item)) {
			cJSON_Delete(o);
			return (NULL);
		}
	}
	return (o);
}

/* done, or else what there is of o is ended. */
static cJSON *
finished(cJSON *o, bool done)
{
	if (o != NULL && done)
		return (o);
	cJSON_Delete(o);
	return (NULL);
}

static cJSON *
owner_json(const struct config_owner *co)
{
	cJSON *o = cJSON_CreateObject();

	return (finished(o, (!co->co_user_set || add(o, "user",
	    cJSON_CreateNumber(co->co_user))) && (!co->co_group_set ||
	    add(o, "group", cJSON_CreateNumber(co->co_group)))));
}

static cJSON *
forward_json(const void *of)
{
	const struct network_forward *nf = of;
	cJSON *o = members_json(forward_members, COUNT(forward_members), nf);

	return (finished(o, add(o, "protocol",
	    cJSON_CreateString(protocol_words[nf->nf_udp]))));
}

static cJSON *
disk_json(const void *of)
{
	return (members_json(disk_members, COUNT(disk_members), of));
}

static cJSON *
list_json(const void *of, size_t n, size_t size, cJSON *(*json)(const void *))
{
	cJSON *list = cJSON_CreateArray(), *item;
	const char *at = of;

	for (; list != NULL && n > 0; at += size, n--) {
		item = json(at);
		if (item == NULL || !cJSON_AddItemToArray(list, item)) {
			cJSON_Delete(item);
			return (finished(list, false));
		}
	}
	return (list);
}

static cJSON *
nic_json(const void *of)
{
	const struct config_nic *nic = of;
	cJSON *o = members_json(nic_members, COUNT(nic_members), nic);
	char mac[MAC_TEXT];

	mac_text(nic->cn_mac, mac);
	return (finished(o, (!nic->cn_mac_set ||
	    add(o, "mac", cJSON_CreateString(mac))) &&
	    (nic->cn_nforwards == 0 || add(o, "forwards",
	    list_json(nic->cn_forward, nic->cn_nforwards,
	    sizeof(nic->cn_forward[0]), forward_json)))));
}

static bool
owner_said(const struct config_owner *co)
{
	return (co->co_user_set || co->co_group_set);
}

cJSON *
config_vm_json(const struct config_vm *vm)
{
	cJSON *o = members_json(vm_members, COUNT(vm_members), vm);

	o = finished(o, (vm->cv_ndisks == 0 || add(o, "disks",
	    list_json(vm->cv_disk, vm->cv_ndisks, sizeof(vm->cv_disk[0]),
	    disk_json))) && (vm->cv_nnics == 0 || add(o, "interfaces",
	    list_json(vm->cv_nic, vm->cv_nnics, sizeof(vm->cv_nic[0]),
	    nic_json))) && (!owner_said(&vm->cv_owner) ||
	    add(o, "owner", owner_json(&vm->cv_owner))) &&
	    (!owner_said(&vm->cv_allow_owner) ||
	    add(o, "allow_owner", owner_json(&vm->cv_allow_owner))));
	if (o == NULL)
		errno = ENOMEM;
	return (o);
}

/* --- in ----------------------------------------------------------------------- */

/* The name of a member is whatever somebody wrote: no control characters of
 * it get into a message. */
static int
wrong(const cJSON *item, const char *what, struct err *err)
{
	char name[65] = "(of a list)", *p;

	if (item != NULL && item->string != NULL)
		snprintf(name, sizeof(name), "%s", item->string);
	for (p = name; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	errno = EINVAL;
	return (err_set(err, "the member \"%s\" is %s", name, what));
}

static int
whole(const cJSON *item, double max, double *value, struct err *err)
{
	*value = item->valuedouble;
	if (!cJSON_IsNumber(item) || !(*value >= 0 && *value <= max) ||
	    *value != (double)(uint64_t)*value)
		return (wrong(item, "no number that it can be", err));
	return (0);
}

static int
word(const cJSON *item, const char *const *words, unsigned *value,
    struct err *err)
{
	unsigned n;

	for (n = 0; cJSON_IsString(item) && words[n] != NULL; n++)
		if (*words[n] != '\0' &&
		    strcmp(words[n], item->valuestring) == 0) {
			*value = n;
			return (0);
		}
	return (wrong(item, "no word that it can be", err));
}

/* A text without control characters. */
static int
text(const cJSON *item, size_t max, struct err *err)
{
	const unsigned char *p;

	if (!cJSON_IsString(item))
		return (wrong(item, "no text", err));
	if (strlen(item->valuestring) > max)
		return (wrong(item, "too long", err));
	for (p = (const unsigned char *)item->valuestring; *p != '\0'; p++)
		if (*p < ' ' || *p == 0x7f)
			return (wrong(item, "no text of one line", err));
	return (0);
}

static int
text_in(const struct member *m, const cJSON *item, char *at, struct err *err)
{
	char **copy = (char **)(void *)at;

	if (text(item, m->m_kind == KIND_ARRAY ? (size_t)m->m_max - 1 :
	    TEXT_MAX, err) == -1)
		return (-1);
	if (m->m_kind == KIND_ARRAY) {
		strcpy(at, item->valuestring);
		return (0);
	}
	if (*copy != NULL)
		return (wrong(item, "there twice", err));
	if ((*copy = strdup(item->valuestring)) == NULL)
		return (err_sys(err, "\"%s\"", m->m_name));
	return (0);
}

static int
words_in(const struct member *m, const cJSON *list, unsigned *bits,
    struct err *err)
{
	const cJSON *item;
	unsigned n;

	if (!cJSON_IsArray(list))
		return (wrong(list, "no list", err));
	cJSON_ArrayForEach(item, list) {
		if (word(item, m->m_words, &n, err) == -1)
			return (-1);
		*bits |= 1u << n;
	}
	return (0);
}

static int
member_in(const struct member *m, const cJSON *item, void *of, struct err *err)
{
	char *at = (char *)of + m->m_at;
	double number = 0;
	uint64_t u64;
	unsigned u = 0;
	uint16_t port;

	switch (m->m_kind) {
	case KIND_STRING:
	case KIND_ARRAY:
		return (text_in(m, item, at, err));
	case KIND_BOOL:
		if (!cJSON_IsBool(item))
			return (wrong(item, "neither true nor false", err));
		*at = cJSON_IsTrue(item);
		return (0);
	case KIND_TRISTATE:
		if (!cJSON_IsBool(item))
			return (wrong(item, "neither true nor false", err));
		u = cJSON_IsTrue(item) ? CONFIG_YES : CONFIG_NO;
		break;
	case KIND_WORD:
		if (word(item, m->m_words, &u, err) == -1)
			return (-1);
		break;
	case KIND_WORDS:
		if (words_in(m, item, &u, err) == -1)
			return (-1);
		break;
	case KIND_U64:
	case KIND_PORT:
	case KIND_UNSIGNED:
		if (whole(item, m->m_max, &number, err) == -1)
			return (-1);
		break;
	}
	if (m->m_kind == KIND_U64) {
		u64 = (uint64_t)number;
		memcpy(at, &u64, sizeof(u64));
	} else if (m->m_kind == KIND_PORT) {
		port = (uint16_t)number;
		memcpy(at, &port, sizeof(port));
	} else {
		if (m->m_kind == KIND_UNSIGNED)
			u = (unsigned)number;
		memcpy(at, &u, sizeof(u));
	}
	return (0);
}

/* Members with a function of their own. */
struct special {
	const char	*sp_name;
	int		(*sp_in)(const cJSON *, void *of, struct err *);
};

static int
members_in(const struct member *members, size_t n, const struct special *sp,
    const cJSON *o, void *of, struct err *err)
{
	const struct special *s;
	const cJSON *item;
	size_t k;

	if (!cJSON_IsObject(o))
		return (wrong(o, "no object", err));
	cJSON_ArrayForEach(item, o) {
		for (s = sp; s != NULL && s->sp_name != NULL; s++)
			if (strcmp(s->sp_name, item->string) == 0)
				break;
		if (s != NULL && s->sp_name != NULL) {
			if (s->sp_in(item, of, err) == -1)
				return (-1);
			continue;
		}
		for (k = 0; k < n; k++)
			if (strcmp(members[k].m_name, item->string) == 0)
				break;
		if (k == n)
			return (wrong(item, "not known", err));
		if (member_in(&members[k], item, of, err) == -1)
			return (-1);
	}
	return (0);
}

static int
list_in(const cJSON *list, void *of, size_t *n, size_t max, size_t size,
    int (*in)(const cJSON *, void *, struct err *), struct err *err)
{
	const cJSON *item;

	if (!cJSON_IsArray(list))
		return (wrong(list, "no list", err));
	if (*n != 0)
		return (wrong(list, "there twice", err));
	cJSON_ArrayForEach(item, list) {
		if (*n == max)
			return (wrong(list, "too long", err));
		if (in(item, (char *)of + *n * size, err) == -1) {
			++*n;		/* what it has is the list's */
			return (-1);
		}
		++*n;
	}
	return (0);
}

static int
owner_in(const cJSON *o, struct config_owner *co, struct err *err)
{
	const cJSON *item;
	double id;

	if (!cJSON_IsObject(o))
		return (wrong(o, "no object", err));
	cJSON_ArrayForEach(item, o) {
		if (whole(item, ID_MAX, &id, err) == -1)
			return (-1);
		if (strcmp(item->string, "user") == 0) {
			co->co_user_set = true;
			co->co_user = (uid_t)id;
		} else if (strcmp(item->string, "group") == 0) {
			co->co_group_set = true;
			co->co_group = (gid_t)id;
		} else {
			return (wrong(item, "not known", err));
		}
	}
	return (0);
}

static int
vm_owner_in(const cJSON *item, void *of, struct err *err)
{
	return (owner_in(item, &((struct config_vm *)of)->cv_owner, err));
}

static int
vm_allow_owner_in(const cJSON *item, void *of, struct err *err)
{
	return (owner_in(item, &((struct config_vm *)of)->cv_allow_owner, err));
}

static int
disk_in(const cJSON *item, void *of, struct err *err)
{
	const struct config_disk *cd = of;

	if (members_in(disk_members, COUNT(disk_members), NULL, item, of,
	    err) == -1)
		return (-1);
	return (cd->cd_path == NULL ? wrong(item, "without a path", err) : 0);
}

static int
vm_disks_in(const cJSON *item, void *of, struct err *err)
{
	struct config_vm *vm = of;

	return (list_in(item, vm->cv_disk, &vm->cv_ndisks, CONFIG_DISKS_MAX,
	    sizeof(vm->cv_disk[0]), disk_in, err));
}

static int
protocol_in(const cJSON *item, void *of, struct err *err)
{
	unsigned n;

	if (word(item, protocol_words, &n, err) == -1)
		return (-1);
	((struct network_forward *)of)->nf_udp = n == 1;
	return (0);
}

static int
forward_in(const cJSON *item, void *of, struct err *err)
{
	static const struct special sp[] = { { "protocol", protocol_in },
	    { NULL, NULL } };
	const struct network_forward *nf = of;

	if (members_in(forward_members, COUNT(forward_members), sp, item, of,
	    err) == -1)
		return (-1);
	return (nf->nf_host_port == 0 || nf->nf_guest_port == 0 ?
	    wrong(item, "without its ports", err) : 0);
}

static int
forwards_in(const cJSON *item, void *of, struct err *err)
{
	struct config_nic *nic = of;

	return (list_in(item, nic->cn_forward, &nic->cn_nforwards,
	    CONFIG_FORWARDS_MAX, sizeof(nic->cn_forward[0]), forward_in, err));
}

static int
mac_in(const cJSON *item, void *of, struct err *err)
{
	struct config_nic *nic = of;

	if (!cJSON_IsString(item) ||
	    mac_parse(item->valuestring, nic->cn_mac) == -1)
		return (wrong(item, "no Ethernet address of a station", err));
	nic->cn_mac_set = true;
	return (0);
}

static int
nic_in(const cJSON *item, void *of, struct err *err)
{
	static const struct special sp[] = { { "mac", mac_in },
	    { "forwards", forwards_in }, { NULL, NULL } };

	return (members_in(nic_members, COUNT(nic_members), sp, item, of, err));
}

static int
vm_nics_in(const cJSON *item, void *of, struct err *err)
{
	struct config_vm *vm = of;

	return (list_in(item, vm->cv_nic, &vm->cv_nnics, CONFIG_NICS_MAX,
	    sizeof(vm->cv_nic[0]), nic_in, err));
}

int
config_vm_from_json(struct config_vm **vmp, const cJSON *o, struct err *err)
{
	static const struct special sp[] = {
		{ "owner", vm_owner_in }, { "allow_owner", vm_allow_owner_in },
		{ "disks", vm_disks_in }, { "interfaces", vm_nics_in },
		{ NULL, NULL }
	};
	struct config_vm *vm;
	int error;

	if ((vm = config_vm_new()) == NULL)
		return (err_sys(err, "a VM's configuration"));
	if (members_in(vm_members, COUNT(vm_members), sp, o, vm, err) == -1 ||
	    config_name_check(vm->cv_name, err) == -1) {
		error = errno;
		config_vm_free(vm);
		errno = error;
		return (-1);
	}
	*vmp = vm;
	return (0);
}
