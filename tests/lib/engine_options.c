/*
 * The options of the engine under test (engine_options.h).
 */
#include <stdlib.h>

#include "engine_options.h"

const char *
engine_options(void)
{
	const char *words = getenv("VMM_TEST_ENGINE");

	return (words != NULL ? words : "interp");
}
