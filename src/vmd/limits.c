/*
 * Rules of time; see limits.h.
 */
#include "vmd/limits.h"

void
restart_begin(struct restart *re, uint64_t now)
{
	re->re_last = now;
	re->re_quick = 0;
}

bool
restart_again(struct restart *re, uint64_t now)
{
	if (now - re->re_last < RESTART_WITHIN)
		re->re_quick++;
	else
		re->re_quick = 0;
	re->re_last = now;
	return (re->re_quick < RESTART_COUNT);
}

void
stagger_begin(struct stagger *st, unsigned parallel, uint64_t delay)
{
	st->st_parallel = parallel;
	st->st_delay = delay;
	st->st_next = 0;
}

unsigned
stagger_due(struct stagger *st, uint64_t now, unsigned waiting,
    uint64_t *again)
{
	*again = LIMIT_NEVER;
	if (waiting == 0)
		return (0);
	if (st->st_parallel == 0)
		return (waiting);
	if (now < st->st_next) {
		*again = st->st_next;
		return (0);
	}
	st->st_next = now + st->st_delay;
	if (waiting <= st->st_parallel)
		return (waiting);
	*again = st->st_next;
	return (st->st_parallel);
}

void
stop_begin(struct stop *sp, uint64_t now)
{
	if (sp->sp_asked)
		return;
	sp->sp_asked = true;
	sp->sp_when = now;
	sp->sp_next = now + STOP_AGAIN;
}

enum stop_verdict
stop_check(struct stop *sp, enum stop_guest guest, uint64_t now,
    uint64_t *again)
{
	enum stop_verdict verdict = STOP_WAIT;
	const uint64_t limit = sp->sp_when + (guest == STOP_ANSWERED ?
	    STOP_SHUTDOWN : STOP_ANSWER);

	*again = LIMIT_NEVER;
	if (!sp->sp_asked)
		return (STOP_WAIT);
	if (guest == STOP_DEAF)
		return (STOP_KILL_DEAF);
	if (now < limit) {
		*again = limit;
		if (guest == STOP_ANSWERED && now >= sp->sp_next) {
			sp->sp_next = now + STOP_AGAIN;
			verdict = STOP_ASK;
		}
		if (guest == STOP_ANSWERED && sp->sp_next < limit)
			*again = sp->sp_next;
		return (verdict);
	}
	return (guest == STOP_ANSWERED ? STOP_KILL_SLOW : STOP_KILL_SILENT);
}
