/*
 * Running a VCPU to its next exit (run.c).
 */
#ifndef SOFT_RUN_H
#define SOFT_RUN_H

#include "engine/soft/cpu.h"

/* eo_run(). Guest memory rights of the host included: hostfault.h. */
int	run_vcpu(struct cpu *, struct engine_run *);
/* Could an external interrupt be delivered at this boundary? */
bool	run_ready(const struct cpu *);
/* Executes b, which is at CS:RIP, to its end. */
void	run_block(struct cpu *, struct block *);
/* Ends the instruction with c_event to be delivered. */
_Noreturn void	run_fault(struct cpu *);
/* Called by an instruction that has to be executed by itself, before anything
 * that cannot be wound back: returns when it is. */
void	run_alone(struct cpu *);

/* i was executed: is it a REP instruction that has to go on? rip: past it. */
static inline bool
run_repeats(const struct cpu *c, const struct insn *i, uint64_t rip)
{
	return (i->i_flags & (INSN_REP | INSN_REPNE) &&
	    c->c_rip == rip - i->i_len);
}

#endif
