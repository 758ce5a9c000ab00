/*
 * Arbitrary text as vm.conf(5): it is refused with a line that says where, or
 * all VMs of it can be sent, and what arrives is the same.
 */
#include "fuzzers.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"

static void
more(void *arg, const char *line)
{
	MUST(line[0] != '\0');
	++*(unsigned *)arg;
}

/* As JSON, over to another process, and there as JSON again. */
static void
send(const struct config_vm *cv)
{
	struct config_vm *there;
	cJSON *json, *parsed;
	char *text, *again;
	struct err err;

	json = config_vm_json(cv);
	MUST(json != NULL);
	text = cJSON_PrintUnformatted(json);
	MUST(text != NULL);
	parsed = cJSON_Parse(text);
	MUST(parsed != NULL);
	if (config_vm_from_json(&there, parsed, &err) == -1)
		fuzz_failed(err.e_text, text, 0);
	cJSON_Delete(json);
	json = config_vm_json(there);
	MUST(json != NULL);
	again = cJSON_PrintUnformatted(json);
	MUST(again != NULL && strcmp(text, again) == 0);
	cJSON_free(text);
	cJSON_free(again);
	cJSON_Delete(json);
	cJSON_Delete(parsed);
	config_vm_free(there);
}

void
fuzz_conf(const uint8_t *data, size_t len)
{
	static const struct config_macro macros[] = { { "m", "1G" },
		{ "words", "memory 64M" } };
	const int fd = fuzz_file(data, len);
	unsigned told = 0;
	struct config cf;
	struct err err;
	char path[64];
	size_t i;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (config_read(&cf, path, macros, 2, false, more, &told, &err) ==
	    -1) {
		MUST(cf.cf_nvms == 0 && cf.cf_nswitches == 0);
		/* where and what, in one line */
		MUST(strncmp(err.e_text, path, strlen(path)) == 0 ||
		    strncmp(err.e_text, "cannot read", 11) == 0 ||
		    strchr(err.e_text, ':') != NULL);
		MUST(strchr(err.e_text, '\n') == NULL);
	}
	for (i = 0; i < cf.cf_nvms; i++) {
		MUST(config_find_vm(&cf, cf.cf_vm[i]->cv_name) ==
		    cf.cf_vm[i]);
		send(cf.cf_vm[i]);
	}
	MUST(told <= 1000 + len);
	config_free(&cf);
	close(fd);
}
