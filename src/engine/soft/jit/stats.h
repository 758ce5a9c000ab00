/*
 * Counts of the translator as text (stats.c).
 */
#ifndef SOFT_JIT_STATS_H
#define SOFT_JIT_STATS_H

#include <stddef.h>

struct cpu;

/* Lines of "name: value"; ends in NUL, cut to len (at least 1). */
void	jit_report(const struct cpu *, char *buf, size_t len);

#endif
