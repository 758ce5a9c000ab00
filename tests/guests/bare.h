/*
 * The least monitor that the software engine can run under, for tests of the
 * engine alone.
 */
#ifndef BARE_H
#define BARE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"

struct bare {
	uint64_t b_cr8;
	/* one device register that is answered at once; 0: none */
	uint64_t b_gpa;
	unsigned b_reads, b_writes;	/* of it */
	uint64_t b_value;		/* what it reads, and was written */
};

/* Its argument is a struct bare. CPUID is the monitor's; no MSRs. */
extern const struct engine_host bare_host;

#endif
