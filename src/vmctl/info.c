/*
 * vmctl info: the CPU engines and whether they work on this host.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/log.h"
#include "vmctl/vmctl.h"

/* Every line of text, indented. */
static void
print_indented(const char *text)
{
	size_t len;

	for (; *text != '\0'; text += len + (text[len] != '\0')) {
		len = strcspn(text, "\n");
		printf("      %.*s\n", (int)len, text);
	}
}

/* One engine as an object of the list. */
static void
add_engine(cJSON *list, const struct vmm_engineinfo_params *vng, bool chosen)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "name", vng->vng_name);
	cJSON_AddBoolToObject(o, "works", vng->vng_works != 0);
	cJSON_AddBoolToObject(o, "auto", chosen);
	cJSON_AddStringToObject(o, "why", vng->vng_why);
	cJSON_AddStringToObject(o, "text", vng->vng_text);
	if (!cJSON_AddItemToArray(list, o))
		cJSON_Delete(o);
}

static void
print_engine(const struct vmm_engineinfo_params *vng, bool chosen)
{
	if (vng->vng_works)
		printf("%-5s works%s\n", vng->vng_name,
		    chosen ? ", is what --engine auto takes" : "");
	else
		printf("%-5s does not work here: %s\n", vng->vng_name,
		    vng->vng_why);
	print_indented(vng->vng_text);
}

int
info_command(const struct command *c, int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "json", no_argument, NULL, 'j' },
		{ NULL, 0, NULL, 0 }
	};
	struct vmm_engineinfo_params vng = { .vng_index = 0 };
	bool chosen, before = false, json = false;
	cJSON *o = NULL, *list = NULL;
	struct err err;
	char *text;
	int fd, opt, status = 0;

	while ((opt = getopt_long(argc, argv, ":hj", options, NULL)) != -1) {
		if (opt == 'h')
			return (help(c));
		if (opt != 'j')
			return (bad_option(c, argv, opt));
		json = true;
	}
	if (argc != optind)
		return (complain("%s: \"%s\" is one word too many", c->c_name,
		    argv[optind]));
	if ((fd = vms_open(&err)) == -1)
		return (complain("%s: %s", c->c_name, err.e_text));
	if (json) {
		o = cJSON_CreateObject();
		list = cJSON_AddArrayToObject(o, "engines");
	}
	for (; vmm_ioctl(fd, VMM_IOC_ENGINEINFO, &vng) == 0; vng.vng_index++) {
		chosen = vng.vng_works && !before;
		before |= chosen;
		if (json)
			add_engine(list, &vng, chosen);
		else
			print_engine(&vng, chosen);
	}
	if (errno != ENOENT)
		status = complain("%s: %s", c->c_name, strerror(errno));
	if (json && (text = cJSON_Print(o)) != NULL) {
		puts(text);
		cJSON_free(text);
	} else if (json) {
		status = complain("%s: %s", c->c_name, strerror(ENOMEM));
	}
	cJSON_Delete(o);
	vmm_close(fd);
	return (status);
}

void
info_fallback(const char *engine)
{
	struct vmm_engineinfo_params vng = { .vng_index = 0 };
	const char *env = getenv("VMM_ENGINE");
	char name[sizeof(vng.vng_name)], why[sizeof(vng.vng_why)];
	int fd;

	if (strcmp(engine, "auto") != 0 || (env != NULL && *env != '\0' &&
	    strcmp(env, "auto") != 0) || (fd = vmm_open()) == -1)
		return;
	if (vmm_ioctl(fd, VMM_IOC_ENGINEINFO, &vng) == 0 && !vng.vng_works) {
		memcpy(name, vng.vng_name, sizeof(name));
		memcpy(why, vng.vng_why, sizeof(why));
		do {
			vng.vng_index++;
		} while (vmm_ioctl(fd, VMM_IOC_ENGINEINFO, &vng) == 0 &&
		    !vng.vng_works);
		log_warn("engine %s in place of %s: %s", vng.vng_name, name,
		    why);
	}
	vmm_close(fd);
}
