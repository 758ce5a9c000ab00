/*
 * Arguments of test programs (arguments.h).
 */
#include "arguments.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static _Noreturn void
usage(const char *program, const struct argument *a)
{
	const char *slash = strrchr(program, '/');

	fprintf(stderr, "usage: %s", slash != NULL ? slash + 1 : program);
	for (; a->a_name != NULL; a++)
		fprintf(stderr, " [--%s%s]", a->a_name, a->a_flag != NULL ?
		    "" : a->a_text != NULL ? " TEXT" : " N");
	fprintf(stderr, "\n");
	exit(2);
}

void
arguments(int argc, char *argv[], const struct argument *table)
{
	const struct argument *a;
	int n;

	for (n = 1; n < argc; n++) {
		for (a = table; a->a_name != NULL; a++)
			if (strncmp(argv[n], "--", 2) == 0 &&
			    strcmp(argv[n] + 2, a->a_name) == 0)
				break;
		if (a->a_name == NULL || (a->a_flag == NULL && ++n == argc))
			usage(argv[0], table);
		if (a->a_flag != NULL)
			*a->a_flag = 1;
		else if (a->a_text != NULL)
			*a->a_text = argv[n];
		else if (a->a_u64 != NULL)
			*a->a_u64 = strtoull(argv[n], NULL, 0);
		else
			*a->a_number = (unsigned)strtoul(argv[n], NULL, 0);
	}
}

uint64_t
new_seed(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ((uint64_t)ts.tv_sec * 1000003 + (uint64_t)ts.tv_nsec);
}
