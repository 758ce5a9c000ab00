/*
 * A disk: a queue of requests, and threads that carry them out on an image by
 * blocking calls. That is the fast way for what goes through the host's page
 * cache: four threads do twice what one io_uring does there, which hands to
 * threads of its own whatever would block.
 *
 * 1. A request is in d_queue, or with one worker that will call dr_done.
 * 2. A worker is awake, waiting for the image, or idle. It is awake only for as
 *    long as what it does is expected not to wait (disk_quick()): one that is
 *    awake comes back to the queue soon.
 * 3. While there are requests in d_queue, a worker is awake for each
 *    DISK_BACKLOG of them, or all there may be are. So what the page cache has
 *    keeps one worker busy, which is woken up once, and what waits is waited
 *    for by as many as there are.
 * 4. d_calls idle workers have been called, and count as awake already. A
 *    worker lives until disk_close().
 *
 * A thread more costs two wake-ups a request, on a busy host more than all
 * the rest. So disk_now() lets the caller's do what the page cache has or
 * takes:
 *
 * 5. A read is asked of the file system so that it cannot wait. No file system
 *    promises the like of a write: one that took more than DISK_SLOW ns is the
 *    last for DISK_PAUSE times as long, so that a full cache stops the caller
 *    for a small part of its time.
 *
 * Threads: disk_submit(), disk_now() any; dr_done is called by a worker, with
 * no lock held.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "storage/disk.h"
#include "storage/image.h"

#define DISK_WORKERS	4	/* for a file */
#define DISK_WORKERS_MAX 16	/* for a server, which takes its time */
#define DISK_BACKLOG	4
#define DISK_SECTOR	512
#define DISK_SLOW	1000000u
#define DISK_PAUSE	16

struct disk {
	struct image	 d_image;	/* [I] */
	char		*d_path;	/* [I] */
	char		 d_serial[21];	/* [I] */
	pthread_mutex_t	 d_lock;
	pthread_cond_t	 d_work;
	struct disk_req	*d_queue;	/* [m] first in */
	struct disk_req	**d_tail;	/* [m] */
	unsigned	 d_queued;	/* [m] */
	unsigned	 d_awake;	/* [m] workers */
	unsigned	 d_idle;	/* [m] workers, those called included */
	unsigned	 d_calls;	/* [m] */
	unsigned	 d_nworkers;	/* [m] */
	unsigned	 d_max;		/* [I] of them */
	bool		 d_closing;	/* [m] */
	atomic_uint	 d_under_way;	/* [a] submitted, not answered */
	_Atomic uint64_t d_slow_until;	/* [a] CLOCK_MONOTONIC, ns */
	pthread_t	 d_worker[DISK_WORKERS_MAX];
};

/* --- carrying out --------------------------------------------------------- */

static int
disk_read(struct disk *d, const struct disk_req *r)
{
	return (d->d_image.im_ops->io_read(&d->d_image, r->dr_offset, r->dr_iov,
	    r->dr_niov));
}

static int
disk_write(struct disk *d, const struct disk_req *r)
{
	return (d->d_image.im_ops->io_write(&d->d_image, r->dr_offset,
	    r->dr_iov, r->dr_niov));
}

static int
disk_flush(struct disk *d, const struct disk_req *r)
{
	(void)r;
	/* Nothing can be in the host's cache that came from us. */
	if (d->d_image.im_readonly)
		return (0);
	return (d->d_image.im_ops->io_flush(&d->d_image));
}

static int
disk_discard(struct disk *d, const struct disk_req *r)
{
	return (d->d_image.im_ops->io_discard(&d->d_image, r->dr_offset,
	    r->dr_length));
}

static int
disk_write_zeroes(struct disk *d, const struct disk_req *r)
{
	return (d->d_image.im_ops->io_zero(&d->d_image, r->dr_offset,
	    r->dr_length, r->dr_unmap));
}

static const struct {
	const char	*op_name;
	bool		 op_range, op_iov, op_changes;
	int		 (*op_fn)(struct disk *, const struct disk_req *);
} disk_ops[] = {
	/*			  name		range	iov	changes	*/
	[DISK_READ]		= { "read",	true,	true,	false,	disk_read },
	[DISK_WRITE]		= { "write",	true,	true,	true,	disk_write },
	[DISK_FLUSH]		= { "flush",	false,	false,	false,	disk_flush },
	[DISK_DISCARD]		= { "discard",	true,	false,	true,	disk_discard },
	[DISK_WRITE_ZEROES]	= { "zero",	true,	false,	true,	disk_write_zeroes },
};
#define DISK_NOPS	(sizeof(disk_ops) / sizeof(disk_ops[0]))

static int
disk_check(const struct disk *d, const struct disk_req *r)
{
	uint64_t sum = 0, size = d->d_image.im_size;
	int i;

	if (r->dr_op >= DISK_NOPS)
		return (EINVAL);
	if (disk_ops[r->dr_op].op_changes && d->d_image.im_readonly)
		return (EROFS);
	if (disk_ops[r->dr_op].op_range &&
	    (r->dr_offset % DISK_SECTOR != 0 ||
	    r->dr_length % DISK_SECTOR != 0 || r->dr_offset > size ||
	    r->dr_length > size - r->dr_offset))
		return (EINVAL);
	if (disk_ops[r->dr_op].op_iov) {
		for (i = 0; i < r->dr_niov; i++)
			if (__builtin_add_overflow(sum, r->dr_iov[i].iov_len,
			    &sum))
				return (EINVAL);
		if (sum != r->dr_length)
			return (EINVAL);
	}
	return (0);
}

static void
disk_answer(struct disk *d, struct disk_req *r, int error)
{
	atomic_fetch_sub(&d->d_under_way, 1);
	r->dr_done(r, error);
}

static void
disk_carry_out(struct disk *d, struct disk_req *r)
{
	int error;

	error = disk_check(d, r);
	if (error == 0 && (r->dr_length != 0 || r->dr_op == DISK_FLUSH)) {
		error = disk_ops[r->dr_op].op_fn(d, r);
		if (error != 0)
			LOG_GUEST("disk %s: %s: %s", d->d_path,
			    disk_ops[r->dr_op].op_name, strerror(error));
	}
	disk_answer(d, r, error);
}

/* --- at once -------------------------------------------------------------- */

static uint64_t
disk_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec);
}

/* A write into the page cache, as far as one can tell. What fails is tried
 * again, and said, by disk_carry_out(). */
static bool
disk_write_quick(struct disk *d, const struct disk_req *r)
{
	uint64_t start, end;
	int error;

	if (d->d_image.im_fd == -1)	/* a server */
		return (false);
	start = disk_clock();
	if (start < atomic_load(&d->d_slow_until))
		return (false);
	error = disk_write(d, r);
	end = disk_clock();
	if (end - start > DISK_SLOW)
		atomic_store(&d->d_slow_until,
		    end + (end - start) * DISK_PAUSE);
	return (error == 0);
}

/* Does it if that is expected not to wait. */
static bool
disk_quick(struct disk *d, const struct disk_req *r)
{
	const struct image_ops *ops = d->d_image.im_ops;

	if ((r->dr_op != DISK_READ && r->dr_op != DISK_WRITE) ||
	    r->dr_length == 0 || disk_check(d, r) != 0)
		return (false);
	if (r->dr_op == DISK_WRITE)
		return (disk_write_quick(d, r));
	return (ops->io_read_now != NULL && ops->io_read_now(&d->d_image,
	    r->dr_offset, r->dr_iov, r->dr_niov) == 0);
}

bool
disk_now(struct disk *d, struct disk_req *r)
{
	/* The caller is not to wait behind writes that are under way. */
	if (r->dr_length > DISK_NOW_BYTES ||
	    (r->dr_op == DISK_WRITE && atomic_load(&d->d_under_way) != 0))
		return (false);
	return (disk_quick(d, r));
}

/* --- workers -------------------------------------------------------------- */

static int	disk_worker_start(struct disk *);

/* [locked] Sees to invariant 3; true: d_work is to be signalled. */
static bool
disk_call(struct disk *d)
{
	if (d->d_queued <= (uint64_t)d->d_awake * DISK_BACKLOG)
		return (false);
	if (d->d_idle > d->d_calls) {
		d->d_calls++;
		d->d_awake++;
		return (true);
	}
	/* Without a new worker, one that is at work takes it later. */
	if (d->d_nworkers < d->d_max)
		(void)disk_worker_start(d);
	return (false);
}

/* [locked] Not awake, with the lock released meanwhile. */
static void
disk_wait(struct disk *d, struct disk_req *r)
{
	bool call;

	d->d_awake--;
	call = disk_call(d);
	pthread_mutex_unlock(&d->d_lock);
	if (call)
		pthread_cond_signal(&d->d_work);
	disk_carry_out(d, r);
	pthread_mutex_lock(&d->d_lock);
	d->d_awake++;
}

/* [locked] */
static void
disk_idle(struct disk *d)
{
	d->d_awake--;
	d->d_idle++;
	while (d->d_calls == 0 && !d->d_closing)
		pthread_cond_wait(&d->d_work, &d->d_lock);
	d->d_idle--;
	if (d->d_calls > 0)
		d->d_calls--;
	else
		d->d_awake++;
}

static void *
disk_worker(void *arg)
{
	struct disk *d = arg;
	struct disk_req *r;
	bool quick;

	pthread_mutex_lock(&d->d_lock);
	for (;;) {
		if ((r = d->d_queue) != NULL) {
			if ((d->d_queue = r->dr_next) == NULL)
				d->d_tail = &d->d_queue;
			d->d_queued--;
			pthread_mutex_unlock(&d->d_lock);
			if ((quick = disk_quick(d, r)))
				disk_answer(d, r, 0);
			pthread_mutex_lock(&d->d_lock);
			if (!quick)
				disk_wait(d, r);
		} else if (d->d_closing) {
			break;
		} else {
			disk_idle(d);
		}
	}
	pthread_mutex_unlock(&d->d_lock);
	return (NULL);
}

/* [locked] Signals are for the thread that called us; faults stay with their
 * cause. The worker is awake from the start. */
static int
disk_worker_start(struct disk *d)
{
	sigset_t all, old;
	int error;

	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	d->d_awake++;
	error = pthread_create(&d->d_worker[d->d_nworkers], NULL, disk_worker,
	    d);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error == 0)
		d->d_nworkers++;
	else
		d->d_awake--;
	return (error);
}

void
disk_submit(struct disk *d, struct disk_req *r)
{
	bool call;

	r->dr_next = NULL;
	atomic_fetch_add(&d->d_under_way, 1);
	pthread_mutex_lock(&d->d_lock);
	*d->d_tail = r;
	d->d_tail = &r->dr_next;
	d->d_queued++;
	call = disk_call(d);
	pthread_mutex_unlock(&d->d_lock);
	if (call)
		pthread_cond_signal(&d->d_work);
}

/* --- life ----------------------------------------------------------------- */

/* The same path gives the same identity on every run (FNV-1a). */
static void
disk_identify(struct disk *d)
{
	char *real = realpath(d->d_image.im_path, NULL);
	const char *p = real != NULL ? real : d->d_image.im_path;
	uint64_t hash = 0xcbf29ce484222325;

	for (; *p != '\0'; p++)
		hash = (hash ^ (uint8_t)*p) * 0x100000001b3;
	snprintf(d->d_serial, sizeof(d->d_serial), "vmm-%016llx",
	    (unsigned long long)hash);
	free(real);
}

int
disk_open(struct disk **dp, const char *path, int flags, struct err *err)
{
	struct disk *d;
	int error;

	if ((d = calloc(1, sizeof(*d))) == NULL ||
	    (d->d_path = strdup(path)) == NULL) {
		free(d);
		return (err_sys(err, "disk %s", path));
	}
	if (image_open(&d->d_image, path, flags & DISK_RDONLY, err) == -1)
		goto fail;
	disk_identify(d);
	d->d_max = d->d_image.im_fd == -1 ? DISK_WORKERS_MAX : DISK_WORKERS;
	pthread_mutex_init(&d->d_lock, NULL);
	pthread_cond_init(&d->d_work, NULL);
	d->d_tail = &d->d_queue;
	if ((error = disk_worker_start(d)) != 0) {
		errno = error;
		err_sys(err, "disk %s: cannot start a thread", path);
		pthread_cond_destroy(&d->d_work);
		pthread_mutex_destroy(&d->d_lock);
		image_close(&d->d_image);
		goto fail;
	}
	*dp = d;
	return (0);
fail:
	free(d->d_path);
	free(d);
	return (-1);
}

void
disk_close(struct disk *d)
{
	unsigned i;

	if (d == NULL)
		return;
	pthread_mutex_lock(&d->d_lock);
	d->d_closing = true;
	pthread_cond_broadcast(&d->d_work);
	pthread_mutex_unlock(&d->d_lock);
	for (i = 0; i < d->d_nworkers; i++)
		pthread_join(d->d_worker[i], NULL);
	pthread_cond_destroy(&d->d_work);
	pthread_mutex_destroy(&d->d_lock);
	image_close(&d->d_image);
	free(d->d_path);
	free(d);
}

uint64_t
disk_size(const struct disk *d)
{
	return (d->d_image.im_size);
}

bool
disk_readonly(const struct disk *d)
{
	return (d->d_image.im_readonly);
}

void
disk_serial(const struct disk *d, char serial[20])
{
	memcpy(serial, d->d_serial, 20);
}
