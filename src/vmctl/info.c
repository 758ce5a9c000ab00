/*
 * vmctl info: the CPU engines and whether they work on this host.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

int
info_command(const struct command *c, int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 }
	};
	struct vmm_engineinfo_params vng = { .vng_index = 0 };
	bool chosen = false;
	struct err err;
	int fd, opt, status = 0;

	while ((opt = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (opt == 'h')
			return (help(c));
		return (bad_option(c, argv, opt));
	}
	if (argc != optind)
		return (complain("%s: \"%s\" is one word too many", c->c_name,
		    argv[optind]));
	if ((fd = vms_open(&err)) == -1)
		return (complain("%s: %s", c->c_name, err.e_text));
	for (; vmm_ioctl(fd, VMM_IOC_ENGINEINFO, &vng) == 0; vng.vng_index++) {
		if (vng.vng_works)
			printf("%-5s works%s\n", vng.vng_name,
			    chosen ? "" : ", is what --engine auto takes");
		else
			printf("%-5s does not work here: %s\n", vng.vng_name,
			    vng.vng_why);
		chosen |= vng.vng_works != 0;
		print_indented(vng.vng_text);
	}
	if (errno != ENOENT)
		status = complain("%s: %s", c->c_name, strerror(errno));
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
