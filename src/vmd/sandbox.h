/*
 * Which system calls the process of a VM may make; see sandbox.c.
 */
#ifndef VMD_SANDBOX_H
#define VMD_SANDBOX_H

#include "base/err.h"

/* From now on, for all threads and whatever they start. -1 with a line in err;
 * errno ENOSYS: the host's kernel has no such filters. */
int	sandbox_enter(struct err *);

#endif
