/*
 * Rules of time: how often a VM may restart, how VMs that start by themselves
 * are spread, when a VM that was asked to stop is made to. Pure: the time is an
 * argument, in ns of any clock that does not go back.
 */
#ifndef VMD_LIMITS_H
#define VMD_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#define LIMIT_SECOND	1000000000ull
#define LIMIT_NEVER	UINT64_MAX

/* --- restarts ---------------------------------------------------------------- */

#define RESTART_WITHIN	(6 * LIMIT_SECOND)
#define RESTART_COUNT	3

struct restart {
	uint64_t	re_last;	/* the last start */
	unsigned	re_quick;	/* restarts soon after another, in a row */
};

/* The VM starts for the first time. */
void	restart_begin(struct restart *, uint64_t now);
/* It restarts: may it? Not if this is the third time in a row within 6 s of
 * the start before. */
bool	restart_again(struct restart *, uint64_t now);

/* --- staggered start ---------------------------------------------------------- */

struct stagger {
	unsigned	st_parallel;	/* so many at once; 0: all */
	uint64_t	st_delay;	/* then so long nobody */
	uint64_t	st_next;	/* when the next ones may */
};

void	stagger_begin(struct stagger *, unsigned parallel, uint64_t delay);
/*
 * How many of those who wait may start now. If some have to wait on, *again is
 * when to ask next, else LIMIT_NEVER.
 */
unsigned stagger_due(struct stagger *, uint64_t now, unsigned waiting,
	    uint64_t *again);

/* --- stopping ----------------------------------------------------------------- */

#define STOP_ANSWER	(3 * LIMIT_SECOND)
#define STOP_SHUTDOWN	(120 * LIMIT_SECOND)
#define STOP_AGAIN	(5 * LIMIT_SECOND)

/* What the guest did about our asking it to stop. */
enum stop_guest {
	STOP_DEAF,		/* it listens to nothing that asks */
	STOP_ASKED,		/* it has been asked and has not answered */
	STOP_ANSWERED		/* it knows */
};

/* Why a VM that was asked to stop is ended. */
enum stop_verdict {
	STOP_WAIT,		/* it is not */
	STOP_ASK,		/* it is not, but asked once more */
	STOP_KILL_DEAF,		/* it does not listen */
	STOP_KILL_SILENT,	/* it did not answer */
	STOP_KILL_SLOW		/* it did not get done */
};

struct stop {
	bool		sp_asked;
	uint64_t	sp_when;	/* it was asked */
	uint64_t	sp_next;	/* to be asked again, if it answers */
};

/* The guest was asked. Asking again does not give it more time. */
void	stop_begin(struct stop *, uint64_t now);
/*
 * What to do by now; *again: when to look next at the latest. A kernel answers
 * that takes the press of a button while nobody in user space waits for one
 * yet, and it is lost: so it is pressed again.
 */
enum stop_verdict stop_check(struct stop *, enum stop_guest, uint64_t now,
	    uint64_t *again);

#endif
