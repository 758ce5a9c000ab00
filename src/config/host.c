/*
 * The configuration of a host: VMs, switches and what holds for all of them.
 * Pure but for memory; any thread.
 */
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

#define PREFIX_ADDRESS	0x64400000u	/* 100.64.0.0/10, RFC 6598 */
#define PREFIX_BITS	10

void
config_init(struct config *cf)
{
	memset(cf, 0, sizeof(*cf));
	cf->cf_prefix = PREFIX_ADDRESS;
	cf->cf_prefix_bits = PREFIX_BITS;
}

static void
switch_free(struct config_switch *cs)
{
	free(cs->cs_name);
	free(cs->cs_interface);
	free(cs->cs_group);
	free(cs);
}

void
config_free(struct config *cf)
{
	size_t n;

	for (n = 0; n < cf->cf_nvms; n++)
		config_vm_free(cf->cf_vm[n]);
	for (n = 0; n < cf->cf_nswitches; n++)
		switch_free(cf->cf_switch[n]);
	free(cf->cf_vm);
	free(cf->cf_switch);
	config_init(cf);
}

struct config_vm *
config_find_vm(const struct config *cf, const char *name)
{
	size_t n;

	for (n = 0; n < cf->cf_nvms; n++)
		if (strcmp(cf->cf_vm[n]->cv_name, name) == 0)
			return (cf->cf_vm[n]);
	return (NULL);
}

struct config_switch *
config_find_switch(const struct config *cf, const char *name)
{
	size_t n;

	for (n = 0; n < cf->cf_nswitches; n++)
		if (strcmp(cf->cf_switch[n]->cs_name, name) == 0)
			return (cf->cf_switch[n]);
	return (NULL);
}

static int
bridge_nic(const struct config_switch *cs, struct config_nic *cn)
{
	cn->cn_kind = CONFIG_NIC_TAP;
	cn->cn_locked = cn->cn_locked || cs->cs_locked;
	if (cn->cn_mtu == 0)
		cn->cn_mtu = cs->cs_mtu;
	if (cs->cs_up == CONFIG_NO)
		cn->cn_up = CONFIG_NO;
	if (cs->cs_enable != CONFIG_NO && cn->cn_bridge == NULL &&
	    (cn->cn_bridge = strdup(cs->cs_interface)) == NULL)
		return (-1);
	if (cs->cs_group != NULL && cn->cn_group == NULL &&
	    (cn->cn_group = strdup(cs->cs_group)) == NULL)
		return (-1);
	return (0);
}

int
config_bridges(const struct config *cf, struct config_vm *cv)
{
	const struct config_switch *cs;
	struct config_nic *cn;

	for (cn = cv->cv_nic; cn < cv->cv_nic + cv->cv_nnics; cn++) {
		if (cn->cn_kind != CONFIG_NIC_SWITCH || cn->cn_switch == NULL)
			continue;
		cs = config_find_switch(cf, cn->cn_switch);
		if (cs != NULL && cs->cs_interface != NULL &&
		    bridge_nic(cs, cn) == -1)
			return (-1);
	}
	return (0);
}
