/*
 * Choosing a CPU engine by name. Any thread.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/monitor.h"

int
engine_pick(const char *spec, const struct engine_row **row,
    const char **options, char *why, size_t whylen)
{
	const struct engine_row *r;
	size_t len = strcspn(spec, ",");
	bool any = len == 0 || (len == 4 && strncmp(spec, "auto", 4) == 0);
	int error = EINVAL;

	*options = spec[len] == ',' ? spec + len + 1 : "";
	snprintf(why, whylen, "no engine \"%.*s\"", (int)len, spec);
	if (any) {
		error = ENODEV;
		snprintf(why, whylen, "there is no engine");
	}
	for (r = engine_table; r->er_ops != NULL; r++) {
		if (!any && (strlen(r->er_ops->eo_name) != len ||
		    strncmp(r->er_ops->eo_name, spec, len) != 0))
			continue;
		error = ENODEV;
		if (r->er_ops->eo_probe(why, whylen) != 0)
			continue;
		*row = r;
		if (r->er_ops->eo_options == NULL)
			return (0);
		error = r->er_ops->eo_options(*options, why, whylen);
		if (error == 0 || !any)
			return (error);
		/* "auto" is the first that knows its options */
	}
	return (error);
}
