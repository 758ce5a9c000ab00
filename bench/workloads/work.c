/*
 * work NAME MILLISECONDS: runs a workload for about so long and prints how
 * many nanoseconds it took each time, how often it ran, and what it computed.
 *
 * A slow CPU runs it less often, once at least. Before the clock starts it has
 * run for WARM_UP, or once: caches, branch predictors and whatever translates
 * the program have seen it then.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "work.h"

#define WARM_UP		10000000ull	/* nanoseconds */
#define KIB		1024ull
#define MIB		(1024 * KIB)

static const struct work works[] = {
	{ "fib",	 NULL,		fib_run,	 27,		0 },
	{ "qsort",	 qsort_setup,	qsort_run,	 300000,	0 },
	{ "matmul",	 matmul_setup,	matmul_run,	 256,		0 },
	{ "matmul-avx2", matmul_setup,	matmul_avx2_run, 256,		0 },
	{ "fnv1a",	 bytes_setup,	fnv_run,	 16 * MIB,	0 },
	{ "store-byte",	 bytes_setup,	store_run,	 64 * KIB,	0 },
	{ "copy-8",	 bytes_setup,	copy_run,	 64 * KIB,	0 },
	{ "memset-16m",	 bytes_setup,	memset_run,	 16 * MIB,	0 },
	{ "memcpy-16m",	 bytes_setup,	memcpy_run,	 16 * MIB,	0 },
	{ "strlen-16m",	 bytes_setup,	strlen_run,	 16 * MIB,	0 },
	{ "memset-64",	 bytes_setup,	memset_run,	 64,		0 },
	{ "memcpy-64",	 bytes_setup,	memcpy_run,	 64,		0 },
	{ "strlen-64",	 bytes_setup,	strlen_run,	 64,		0 },
	{ "chase-32k",	 chase_setup,	chase_run,	 32 * KIB,	0 },
	{ "chase-4m",	 chase_setup,	chase_run,	 4 * MIB,	0 },
	{ "chase-64m",	 chase_setup,	chase_run,	 64 * MIB,	0 },
	{ "sha256",	 bytes_setup,	sha256_run,	 64 * KIB,	0 },
	{ "bytecode",	 NULL,		bytecode_run,	 0,		0 },
	{ "tree",	 tree_setup,	tree_run,	 50000,		0 },
	{ "getppid",	 NULL,		getppid_run,	 0,		0 },
	{ "pipe",	 pipe_setup,	pipe_run,	 0,		0 },
	{ "page-fault",	 NULL,		fault_run,	 0,		64 },
};

void
work_fail(const char *what)
{
	perror(what);
	exit(1);
}

void *
work_alloc(uint64_t size)
{
	void *p = malloc(size);

	if (p == NULL)
		work_fail("malloc");
	return (p);
}

static uint64_t
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec);
}

int
main(int argc, char **argv)
{
	const struct work *w;
	uint64_t start, took, n, want, value;
	double once;
	void *state = NULL;
	size_t i;

	for (i = 0, w = works; i < sizeof(works) / sizeof(works[0]); i++, w++)
		if (argc == 3 && strcmp(argv[1], w->w_name) == 0)
			break;
	if (i == sizeof(works) / sizeof(works[0])) {
		fprintf(stderr, "usage: work name milliseconds\n");
		return (2);
	}
	want = strtoull(argv[2], NULL, 10) * 1000000;

	if (w->w_setup != NULL)
		state = w->w_setup(w);
	for (n = 1;; n *= 2) {
		start = now();
		value = w->w_run(state, n);
		took = now() - start;
		if (took >= WARM_UP)
			break;
	}
	once = (double)took / (double)n;
	n = (uint64_t)((double)want / once);
	if (n == 0)
		n = 1;
	start = now();
	if (w->w_run(state, n) != value) {
		fprintf(stderr, "%s: differs from run to run\n", w->w_name);
		return (1);
	}
	took = now() - start;
	if (w->w_units != 0)
		n *= w->w_units;
	printf("%.4f %llu %016llx\n", (double)took / (double)n,
	    (unsigned long long)n, (unsigned long long)value);
	return (0);
}
