/*
 * A bound on what a side runs (side.h): kicks it every TICK of CPU time.
 */
#include "side.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/time.h>

/* CPU time that a run may take: microseconds, and how many of them. */
#define TICK		50000
#define TICKS_MAX	10	/* of the interpreter */
#define TICKS_MAX_JIT	200	/* translating all anew takes its time */

/* What runs; a timer kicks it. */
static struct side *_Atomic running;
static atomic_uint ticks;
static unsigned ticks_max;

static void
tick(int signo)
{
	struct side *sd = atomic_load(&running);

	(void)signo;
	atomic_fetch_add(&ticks, 1);
	if (sd != NULL)
		sd->sd_ops->eo_kick(sd->sd_vcpu);
}

void
side_watch(struct side *sd)
{
	static const struct itimerval every = { { 0, TICK }, { 0, TICK } };
	static bool started;

	ticks_max = sd != NULL && strcmp(sd->sd_name, "interp") == 0 ?
	    TICKS_MAX : TICKS_MAX_JIT;
	atomic_store(&ticks, 0);
	atomic_store(&running, sd);
	if (!started) {
		started = true;
		signal(SIGVTALRM, tick);
		setitimer(ITIMER_VIRTUAL, &every, NULL);
	}
}

bool
side_stuck(void)
{
	return (atomic_load(&ticks) > ticks_max);
}
