/*
 * What is told about a VM; see "vms" in protocol.h.
 *
 * The daemon's thread.
 */
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/mac.h"
#include "vmd/daemon.h"
#include "vmd/vmprocess.h"

/* Memory of a process that is there now, in bytes. */
static double
resident(pid_t pid)
{
	unsigned long pages = 0;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	if ((f = fopen(path, "re")) == NULL)
		return (0);
	if (fscanf(f, "%*u %lu", &pages) != 1)
		pages = 0;
	fclose(f);
	return ((double)pages * (double)sysconf(_SC_PAGESIZE));
}

/* "user", "user:group" or ":group"; numbers without a name stay numbers. */
static void
owner_text(const struct vm *v, char *text, size_t size)
{
	const struct config_vm *cv = vm_config_now(v);
	const struct group *gr;
	const struct passwd *pw;
	int n;

	if ((pw = getpwuid(v->v_uid)) != NULL)
		n = snprintf(text, size, "%s", pw->pw_name);
	else
		n = snprintf(text, size, "%u", (unsigned)v->v_uid);
	if (cv == NULL || !cv->cv_owner.co_group_set || n < 0 ||
	    (size_t)n >= size)
		return;
	if ((gr = getgrgid(cv->cv_owner.co_group)) != NULL)
		snprintf(text + n, size - (size_t)n, ":%s", gr->gr_name);
	else
		snprintf(text + n, size - (size_t)n, ":%u",
		    (unsigned)cv->cv_owner.co_group);
}

static const char *const nic_kinds[] = {
	[CONFIG_NIC_UNSAID] = "user",
	[CONFIG_NIC_USER] = "user",
	[CONFIG_NIC_SWITCH] = "switch",
	[CONFIG_NIC_LOCAL] = "local",
	[CONFIG_NIC_TAP] = "tap"
};

static void
add_address(cJSON *json, const char *name, uint32_t address)
{
	char text[16];

	snprintf(text, sizeof(text), "%u.%u.%u.%u", address >> 24,
	    address >> 16 & 255, address >> 8 & 255, address & 255);
	cJSON_AddStringToObject(json, name, text);
}

static cJSON *
status_nic(const struct vmplace *vl, const struct config_nic *cn, size_t n)
{
	uint32_t host, guest;
	cJSON *json = cJSON_CreateObject();
	char mac[MAC_TEXT];

	cJSON_AddStringToObject(json, "kind", nic_kinds[cn->cn_kind]);
	if (cn->cn_switch != NULL)
		cJSON_AddStringToObject(json, "switch", cn->cn_switch);
	if (cn->cn_kind == CONFIG_NIC_TAP && cn->cn_tap != NULL)
		cJSON_AddStringToObject(json, "tap", cn->cn_tap);
	if (cn->cn_kind == CONFIG_NIC_TAP && cn->cn_bridge != NULL)
		cJSON_AddStringToObject(json, "bridge", cn->cn_bridge);
	if (cn->cn_mac_set) {
		mac_text(cn->cn_mac, mac);
		cJSON_AddStringToObject(json, "mac", mac);
	}
	if (cn->cn_kind == CONFIG_NIC_LOCAL &&
	    vmconfig_local(vl, n, &host, &guest) == 0) {
		add_address(json, "address", guest);
		add_address(json, "host", host);
	}
	return (json);
}

cJSON *
status_vm(const struct daemon *d, const struct vm *v)
{
	const struct vmplace vl = { .vl_id = v->v_id,
		.vl_prefix = d->d_config.cf_prefix,
		.vl_prefix_bits = d->d_config.cf_prefix_bits };
	const struct config_vm *cv = vm_config_now(v);
	cJSON *json = cJSON_CreateObject(), *list;
	struct timespec ts;
	char owner[128];
	size_t i;

	owner_text(v, owner, sizeof(owner));
	cJSON_AddNumberToObject(json, "id", v->v_id);
	cJSON_AddStringToObject(json, "name", v->v_name);
	cJSON_AddNumberToObject(json, "pid", v->v_pid);
	cJSON_AddNumberToObject(json, "cpus", cv == NULL ? 0 : cv->cv_cpus);
	cJSON_AddNumberToObject(json, "memory",
	    cv == NULL ? 0 : (double)cv->cv_memory);
	cJSON_AddNumberToObject(json, "resident",
	    v->v_pid != 0 ? resident(v->v_pid) : 0);
	cJSON_AddStringToObject(json, "tty", v->v_tty);
	cJSON_AddStringToObject(json, "owner", owner);
	cJSON_AddNumberToObject(json, "uid", v->v_uid);
	cJSON_AddStringToObject(json, "state", vm_state_name(v->v_state));
	cJSON_AddStringToObject(json, "engine", v->v_engine);
	clock_gettime(CLOCK_BOOTTIME, &ts);
	cJSON_AddNumberToObject(json, "uptime", !vm_is_active(v) ? 0 :
	    (double)(long)((double)ts.tv_sec - v->v_since));
	list = cJSON_AddArrayToObject(json, "disks");
	for (i = 0; cv != NULL && i < cv->cv_ndisks; i++)
		cJSON_AddItemToArray(list,
		    cJSON_CreateString(cv->cv_disk[i].cd_path));
	list = cJSON_AddArrayToObject(json, "interfaces");
	for (i = 0; cv != NULL && i < cv->cv_nnics; i++)
		cJSON_AddItemToArray(list, status_nic(&vl, &cv->cv_nic[i],
		    i));
	return (json);
}
