/*
 * The sampler (sample.c): says which translated code is hot.
 */
#ifndef SOFT_JIT_SAMPLE_H
#define SOFT_JIT_SAMPLE_H

#include "engine/soft/cpu.h"

struct engine_vm;
struct sampler;

/* 0 or an errno value. Before the first VCPU runs. */
int	sampler_new(struct engine_vm *, struct sampler **);
/* After the last VCPU has run; NULL is allowed. */
void	sampler_free(struct sampler *);
void	sampler_wake(struct sampler *);

/* The VCPU begins (ends) to run; s may be NULL. */
static inline void
sampler_run(struct sampler *s, struct cpu *c, bool runs)
{
	if (s == NULL)
		return;
	atomic_store_explicit(&c->c_sampling, runs, memory_order_relaxed);
	if (runs)
		sampler_wake(s);
}

#endif
