/*
 * Hardware task switches (task.c).
 */
#ifndef SOFT_TASK_H
#define SOFT_TASK_H

#include "engine/soft/cpu.h"

enum task_reason { TASK_JMP, TASK_CALL, TASK_IRET, TASK_EVENT };

/*
 * Switches to the task of a TSS selector. push_error: the new task's stack gets
 * an error code (an exception through a task gate). ext: EXT bit of the error
 * codes.
 */
void	task_switch(struct cpu *, uint16_t sel, enum task_reason,
	    bool push_error, uint32_t error, uint32_t ext);
/* The new stack that the TSS has for privilege level cpl (SDM vol. 3A 7.2.1,
 * 7.7): legacy TSSs; raises #TS. */
void	task_stack(struct cpu *, unsigned cpl, uint32_t ext, uint16_t *ss,
	    uint32_t *esp);
/* The same of a 64-bit TSS; ist 1..7, or 0 for RSP0-2 by cpl. */
uint64_t task_stack64(struct cpu *, unsigned cpl, unsigned ist, uint32_t ext);

#endif
