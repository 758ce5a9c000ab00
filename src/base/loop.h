/*
 * An event loop: file descriptors, timers and posted calls on one thread.
 *
 * 1. The handlers run on the thread that is in loop_run(), one at a time.
 * 2. loop_timer_set(), loop_post() and loop_stop() may be called from any
 *    thread and take effect without delay; everything else belongs to the
 *    loop's thread, or to anybody before loop_run().
 * 3. A handler may free its own source.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_fd;
struct loop_timer;

#define LOOP_NEVER	UINT64_MAX

/* CLOCK_MONOTONIC in nanoseconds: the time of all timers. Any thread. */
uint64_t	loop_now(void);

struct loop	*loop_new(void);		/* NULL and errno */
void		 loop_free(struct loop *);	/* all sources freed before */
/* Runs until loop_stop(); returns 0, or -1 and errno when the host fails. */
int		 loop_run(struct loop *);
void		 loop_stop(struct loop *);
/* True on the thread that runs the loop. */
bool		 loop_is_here(const struct loop *);

/*
 * Watches fd (borrowed) for EPOLLIN, EPOLLOUT... (level-triggered); the
 * handler gets the events that are ready. loop_fd_events() changes the set, 0
 * pauses. A descriptor that epoll refuses (a regular file) counts as always
 * ready.
 */
struct loop_fd	*loop_fd_new(struct loop *, int fd, uint32_t events,
		    void (*fn)(void *arg, uint32_t events), void *arg);
void		 loop_fd_events(struct loop_fd *, uint32_t events);
void		 loop_fd_free(struct loop_fd *);

/* A one-shot timer: fn once at or after the time set, LOOP_NEVER disarms. */
struct loop_timer *loop_timer_new(struct loop *, void (*fn)(void *), void *);
void		 loop_timer_set(struct loop_timer *, uint64_t when_ns);
void		 loop_timer_free(struct loop_timer *);

/* Calls fn(arg) soon on the loop's thread, in the order posted. 0 or -1. */
int		 loop_post(struct loop *, void (*fn)(void *), void *);

#endif
