/*
 * The event loop: epoll for descriptors, one timerfd for all timers, one
 * eventfd for what other threads want; see loop.h.
 *
 * 1. The timers are a binary heap [m]; lt_index is a timer's place in it, -1
 *    when it is not armed. While the loop sleeps, the timerfd is set to the
 *    heap's head or earlier: by the loop before that, or by the thread that
 *    changed the head, so that arming a timer from a VCPU does not wake the
 *    loop before its time. A timer that is due at once never goes that way,
 *    because to set the host's clock costs more than what it is for: the
 *    loop's own thread looks before it sleeps, others wake it.
 * 2. Descriptors belong to the loop's thread. A source freed while a batch of
 *    events is being handled stays allocated until the batch ends, because
 *    a later event of the batch may point to it.
 * 3. A round runs no more timers than were armed at its start: a handler that
 *    arms its timer in the past cannot starve the descriptors.
 */
#include "base/loop.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S	1000000000ull
#define LOOP_BATCH	32

struct loop_fd {
	struct loop	*lf_loop;	/* [I] */
	void		(*lf_fn)(void *, uint32_t);	/* [I] */
	void		*lf_arg;	/* [I] */
	int		 lf_fd;		/* [I] */
	uint32_t	 lf_events;	/* [o] 0: not in the epoll set */
	bool		 lf_always;	/* [o] epoll refused it: always ready */
	bool		 lf_dead;	/* [o] freed during a batch */
	struct loop_fd	*lf_next;	/* [o] l_fds */
};

struct loop_timer {
	struct loop	*lt_loop;	/* [I] */
	void		(*lt_fn)(void *);	/* [I] */
	void		*lt_arg;	/* [I] */
	uint64_t	 lt_when;	/* [m] */
	long		 lt_index;	/* [m] */
};

struct loop_call {
	void		(*lc_fn)(void *);
	void		*lc_arg;
	struct loop_call *lc_next;
};

struct loop {
	int		 l_epoll;	/* [I] */
	int		 l_event;	/* [I] */
	int		 l_timer;	/* [I] */
	atomic_bool	 l_stop;	/* [a] */
	atomic_bool	 l_running;	/* [a] l_thread is valid */
	pthread_t	 l_thread;	/* written by it before l_running */

	struct loop_fd	*l_fds;		/* [o] */
	unsigned	 l_nalways;	/* [o] always-ready ones not paused */
	bool		 l_batch;	/* [o] handlers are running */
	bool		 l_garbage;	/* [o] l_fds has dead ones */

	pthread_mutex_t	 l_lock;
	struct loop_timer **l_heap;	/* [m] */
	size_t		 l_nheap;	/* [m] armed */
	size_t		 l_ntimers;	/* [m] that exist = room in the heap */
	uint64_t	 l_armed;	/* [m] what the timerfd is set to */
	bool		 l_woken;	/* [m] for a timer that is due at once */
	struct loop_call *l_calls;	/* [m] */
	struct loop_call **l_calls_tail;	/* [m] */
};

uint64_t
loop_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec);
}

/* --- the heap ------------------------------------------------------------ */

static void
heap_place(struct loop *l, size_t i, struct loop_timer *t)
{
	l->l_heap[i] = t;
	t->lt_index = (long)i;
}

static void
heap_up(struct loop *l, size_t i, struct loop_timer *t)
{
	size_t parent;

	while (i > 0) {
		parent = (i - 1) / 2;
		if (l->l_heap[parent]->lt_when <= t->lt_when)
			break;
		heap_place(l, i, l->l_heap[parent]);
		i = parent;
	}
	heap_place(l, i, t);
}

static void
heap_down(struct loop *l, size_t i, struct loop_timer *t)
{
	size_t child;

	while ((child = 2 * i + 1) < l->l_nheap) {
		if (child + 1 < l->l_nheap && l->l_heap[child + 1]->lt_when <
		    l->l_heap[child]->lt_when)
			child++;
		if (t->lt_when <= l->l_heap[child]->lt_when)
			break;
		heap_place(l, i, l->l_heap[child]);
		i = child;
	}
	heap_place(l, i, t);
}

static void
heap_insert(struct loop *l, struct loop_timer *t)
{
	assert(t->lt_index == -1 && l->l_nheap < l->l_ntimers);
	heap_up(l, l->l_nheap++, t);
}

static void
heap_remove(struct loop *l, struct loop_timer *t)
{
	struct loop_timer *last;
	size_t i;

	if (t->lt_index == -1)
		return;
	i = (size_t)t->lt_index;
	t->lt_index = -1;
	last = l->l_heap[--l->l_nheap];
	if (last == t)
		return;
	if (i > 0 && last->lt_when < l->l_heap[(i - 1) / 2]->lt_when)
		heap_up(l, i, last);
	else
		heap_down(l, i, last);
}

/*
 * Sets the timerfd to the head if that is earlier than what it is set to. A
 * timerfd that is set too early costs one empty round, which sets it right.
 */
static void
timer_arm(struct loop *l)
{
	struct itimerspec its = { 0 };
	uint64_t when;

	if (l->l_nheap == 0)
		return;
	when = l->l_heap[0]->lt_when;
	if (when >= l->l_armed)
		return;
	its.it_value.tv_sec = (time_t)(when / NS_PER_S);
	its.it_value.tv_nsec = (long)(when % NS_PER_S);
	if (timerfd_settime(l->l_timer, TFD_TIMER_ABSTIME, &its, NULL) == 0)
		l->l_armed = when;
}

/* --- life ---------------------------------------------------------------- */

static int
loop_watch_own(struct loop *l, int fd, void *tag)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = tag };

	return (epoll_ctl(l->l_epoll, EPOLL_CTL_ADD, fd, &ev));
}

struct loop *
loop_new(void)
{
	struct loop *l;
	int error;

	if ((l = calloc(1, sizeof(*l))) == NULL)
		return (NULL);
	pthread_mutex_init(&l->l_lock, NULL);
	l->l_calls_tail = &l->l_calls;
	l->l_armed = LOOP_NEVER;
	l->l_epoll = epoll_create1(EPOLL_CLOEXEC);
	l->l_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	l->l_timer = timerfd_create(CLOCK_MONOTONIC,
	    TFD_CLOEXEC | TFD_NONBLOCK);
	if (l->l_epoll == -1 || l->l_event == -1 || l->l_timer == -1 ||
	    loop_watch_own(l, l->l_event, &l->l_event) == -1 ||
	    loop_watch_own(l, l->l_timer, &l->l_timer) == -1) {
		error = errno;
		loop_free(l);
		errno = error;
		return (NULL);
	}
	return (l);
}

void
loop_free(struct loop *l)
{
	struct loop_call *c;

	if (l == NULL)
		return;
	assert(!atomic_load(&l->l_running));
	assert(l->l_fds == NULL && l->l_ntimers == 0);
	while ((c = l->l_calls) != NULL) {
		l->l_calls = c->lc_next;
		free(c);
	}
	if (l->l_epoll != -1)
		close(l->l_epoll);
	if (l->l_event != -1)
		close(l->l_event);
	if (l->l_timer != -1)
		close(l->l_timer);
	free(l->l_heap);
	pthread_mutex_destroy(&l->l_lock);
	free(l);
}

bool
loop_is_here(const struct loop *l)
{
	return (atomic_load(&l->l_running) &&
	    pthread_equal(l->l_thread, pthread_self()));
}

/* Async-signal-safe: an atomic and a write(2). */
static void
loop_wake(struct loop *l)
{
	uint64_t one = 1;
	int saved = errno;

	while (write(l->l_event, &one, sizeof(one)) == -1 && errno == EINTR)
		continue;
	errno = saved;
}

void
loop_stop(struct loop *l)
{
	atomic_store(&l->l_stop, true);
	loop_wake(l);
}

int
loop_post(struct loop *l, void (*fn)(void *), void *arg)
{
	struct loop_call *c;
	bool first;

	if ((c = malloc(sizeof(*c))) == NULL)
		return (-1);
	*c = (struct loop_call){ .lc_fn = fn, .lc_arg = arg };
	pthread_mutex_lock(&l->l_lock);
	first = l->l_calls == NULL;
	*l->l_calls_tail = c;
	l->l_calls_tail = &c->lc_next;
	pthread_mutex_unlock(&l->l_lock);
	if (first)
		loop_wake(l);
	return (0);
}

/* --- descriptors --------------------------------------------------------- */

struct loop_fd *
loop_fd_new(struct loop *l, int fd, uint32_t events,
    void (*fn)(void *, uint32_t), void *arg)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct loop_fd *lf;

	if ((lf = calloc(1, sizeof(*lf))) == NULL)
		return (NULL);
	lf->lf_loop = l;
	lf->lf_fd = fd;
	lf->lf_fn = fn;
	lf->lf_arg = arg;
	/* Find out now whether epoll takes it, so that errors show here. */
	ev.data.ptr = lf;
	if (epoll_ctl(l->l_epoll, EPOLL_CTL_ADD, fd, &ev) == 0)
		epoll_ctl(l->l_epoll, EPOLL_CTL_DEL, fd, NULL);
	else if (errno == EPERM)
		lf->lf_always = true;
	else {
		free(lf);
		return (NULL);
	}
	lf->lf_next = l->l_fds;
	l->l_fds = lf;
	loop_fd_events(lf, events);
	return (lf);
}

void
loop_fd_events(struct loop_fd *lf, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = lf };
	struct loop *l = lf->lf_loop;
	uint32_t old = lf->lf_events;

	if (events == old)
		return;
	lf->lf_events = events;
	if (lf->lf_always) {
		if (old == 0)
			l->l_nalways++;
		else if (events == 0)
			l->l_nalways--;
		return;
	}
	/* Out of the set while paused: EPOLLHUP cannot be masked there. */
	if (old == 0)
		(void)epoll_ctl(l->l_epoll, EPOLL_CTL_ADD, lf->lf_fd, &ev);
	else if (events == 0)
		(void)epoll_ctl(l->l_epoll, EPOLL_CTL_DEL, lf->lf_fd, NULL);
	else
		(void)epoll_ctl(l->l_epoll, EPOLL_CTL_MOD, lf->lf_fd, &ev);
}

/* Frees what died during a batch. */
static void
loop_sweep(struct loop *l)
{
	struct loop_fd *lf, **p = &l->l_fds;

	while ((lf = *p) != NULL) {
		if (lf->lf_dead) {
			*p = lf->lf_next;
			free(lf);
		} else
			p = &lf->lf_next;
	}
	l->l_garbage = false;
}

void
loop_fd_free(struct loop_fd *lf)
{
	struct loop *l;

	if (lf == NULL)
		return;
	l = lf->lf_loop;
	loop_fd_events(lf, 0);
	lf->lf_dead = true;
	l->l_garbage = true;
	if (!l->l_batch)
		loop_sweep(l);
}

/* --- timers -------------------------------------------------------------- */

struct loop_timer *
loop_timer_new(struct loop *l, void (*fn)(void *), void *arg)
{
	struct loop_timer *t, **heap;

	if ((t = calloc(1, sizeof(*t))) == NULL)
		return (NULL);
	t->lt_loop = l;
	t->lt_fn = fn;
	t->lt_arg = arg;
	t->lt_index = -1;
	pthread_mutex_lock(&l->l_lock);
	heap = reallocarray(l->l_heap, l->l_ntimers + 1, sizeof(*heap));
	if (heap != NULL) {
		l->l_heap = heap;
		l->l_ntimers++;
	}
	pthread_mutex_unlock(&l->l_lock);
	if (heap == NULL) {
		free(t);
		return (NULL);
	}
	return (t);
}

void
loop_timer_set(struct loop_timer *t, uint64_t when_ns)
{
	struct loop *l = t->lt_loop;
	bool wake = false;

	pthread_mutex_lock(&l->l_lock);
	heap_remove(l, t);
	t->lt_when = when_ns;
	if (when_ns != LOOP_NEVER) {
		heap_insert(l, t);
		if (!loop_is_here(l) && l->l_heap[0] == t) {
			wake = when_ns == 0 && !l->l_woken;
			l->l_woken = l->l_woken || wake;
			if (when_ns != 0)
				timer_arm(l);
		}
	}
	pthread_mutex_unlock(&l->l_lock);
	if (wake)
		loop_wake(l);
}

void
loop_timer_free(struct loop_timer *t)
{
	struct loop *l;

	if (t == NULL)
		return;
	l = t->lt_loop;
	pthread_mutex_lock(&l->l_lock);
	heap_remove(l, t);
	l->l_ntimers--;
	pthread_mutex_unlock(&l->l_lock);
	free(t);
}

/* --- running ------------------------------------------------------------- */

static void
loop_run_timers(struct loop *l)
{
	struct loop_timer *t;
	void (*fn)(void *), *arg;
	uint64_t now = 0;
	size_t left;

	pthread_mutex_lock(&l->l_lock);
	for (left = l->l_nheap; left > 0 && l->l_nheap > 0; left--) {
		t = l->l_heap[0];
		if (t->lt_when != 0 && now == 0)
			now = loop_now();
		if (t->lt_when > now)
			break;
		heap_remove(l, t);
		fn = t->lt_fn;
		arg = t->lt_arg;
		pthread_mutex_unlock(&l->l_lock);
		fn(arg);		/* t may be gone after this */
		pthread_mutex_lock(&l->l_lock);
	}
	pthread_mutex_unlock(&l->l_lock);
}

/* May the loop sleep? If so, the timerfd wakes it for the next timer. */
static bool
loop_may_sleep(struct loop *l)
{
	bool due = false;

	if (l->l_nalways > 0)
		return (false);
	pthread_mutex_lock(&l->l_lock);
	if (l->l_nheap > 0)
		due = l->l_heap[0]->lt_when == 0 ||
		    l->l_heap[0]->lt_when <= loop_now();
	if (!due)
		timer_arm(l);
	pthread_mutex_unlock(&l->l_lock);
	return (!due);
}

static void
loop_run_calls(struct loop *l)
{
	struct loop_call *c, *next;

	pthread_mutex_lock(&l->l_lock);
	l->l_woken = false;
	c = l->l_calls;
	l->l_calls = NULL;
	l->l_calls_tail = &l->l_calls;
	pthread_mutex_unlock(&l->l_lock);
	for (; c != NULL; c = next) {
		next = c->lc_next;
		c->lc_fn(c->lc_arg);
		free(c);
	}
}

static void
loop_run_always(struct loop *l)
{
	struct loop_fd *lf;
	unsigned left = l->l_nalways;

	/* New ones come in at the head, dead ones stay linked: lf_next holds. */
	for (lf = l->l_fds; lf != NULL && left > 0; lf = lf->lf_next) {
		if (!lf->lf_always || lf->lf_events == 0)
			continue;
		left--;
		lf->lf_fn(lf->lf_arg, lf->lf_events & (EPOLLIN | EPOLLOUT));
	}
}

static void
loop_drain(int fd)
{
	uint64_t count;

	while (read(fd, &count, sizeof(count)) == -1 && errno == EINTR)
		continue;
}

int
loop_run(struct loop *l)
{
	struct epoll_event ev[LOOP_BATCH];
	struct loop_fd *lf;
	int i, n, error = 0;

	assert(!atomic_load(&l->l_running));
	l->l_thread = pthread_self();
	atomic_store(&l->l_running, true);
	while (!atomic_exchange(&l->l_stop, false)) {
		n = epoll_wait(l->l_epoll, ev, LOOP_BATCH,
		    loop_may_sleep(l) ? -1 : 0);
		if (n == -1) {
			if (errno == EINTR)
				continue;
			error = errno;
			break;
		}
		l->l_batch = true;
		for (i = 0; i < n; i++) {
			if (ev[i].data.ptr == &l->l_event) {
				loop_drain(l->l_event);
				loop_run_calls(l);
			} else if (ev[i].data.ptr == &l->l_timer) {
				loop_drain(l->l_timer);
				pthread_mutex_lock(&l->l_lock);
				l->l_armed = LOOP_NEVER;
				pthread_mutex_unlock(&l->l_lock);
			} else {
				lf = ev[i].data.ptr;
				if (!lf->lf_dead && lf->lf_events != 0)
					lf->lf_fn(lf->lf_arg, ev[i].events);
			}
		}
		loop_run_timers(l);
		if (l->l_nalways > 0)
			loop_run_always(l);
		l->l_batch = false;
		if (l->l_garbage)
			loop_sweep(l);
	}
	atomic_store(&l->l_running, false);
	errno = error;
	return (error == 0 ? 0 : -1);
}
