/*
 * The engine under test (engine_options.h).
 */
#include <stdlib.h>
#include <string.h>

#include "engine_options.h"
#include "vmm/monitor.h"

const struct engine_ops *
engine_named(const char *words, const char **options)
{
	const struct engine_row *row;
	size_t len = strcspn(words, ",");

	for (row = engine_table; row->er_ops != NULL; row++) {
		if (strlen(row->er_ops->eo_name) != len ||
		    strncmp(row->er_ops->eo_name, words, len) != 0)
			continue;
		*options = words[len] == ',' ? words + len + 1 : "";
		return (row->er_ops);
	}
	*options = words;
	return (&engine_soft);
}

static const char *
words(void)
{
	const char *set = getenv("VMM_TEST_ENGINE");

	return (set != NULL ? set : "interp");
}

const struct engine_ops *
engine_tested(void)
{
	const char *options;

	return (engine_named(words(), &options));
}

const char *
engine_options(void)
{
	const char *options;

	(void)engine_named(words(), &options);
	return (options);
}
