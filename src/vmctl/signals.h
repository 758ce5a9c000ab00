/*
 * Signals as events of a loop.
 */
#ifndef VMCTL_SIGNALS_H
#define VMCTL_SIGNALS_H

#include "base/err.h"
#include "base/loop.h"

/*
 * From here to signals_end(), SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP,
 * SIGCONT and SIGUSR1 call fn on the loop's thread, and SIGPIPE does nothing.
 * A second signal that asks us to end ends the process at once, in case the
 * first one is not getting through; the terminal is given back first. 0, or
 * -1.
 */
int	signals_start(struct loop *, void (*fn)(void *arg, int signo),
	    void *arg, struct err *);
void	signals_end(void);

#endif
