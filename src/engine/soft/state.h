/*
 * A VCPU's state besides its registers; see state.c.
 */
#ifndef SOFT_STATE_H
#define SOFT_STATE_H

#include <stdbool.h>

struct cpu;
struct state;

/* An instruction has begun and waits for a device. */
bool	state_midway(const struct cpu *);
void	state_cpu(struct cpu *, struct state *);

#endif
