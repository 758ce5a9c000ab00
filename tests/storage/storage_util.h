/*
 * What tests of images share: a folder, QEMU's programs, requests that are
 * waited for.
 */
#ifndef STORAGE_UTIL_H
#define STORAGE_UTIL_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/disk.h"

int		storage_setup(void);	/* makes the folder; 0 */
int		storage_teardown(void);
/* A path in it; good for seven more calls. */
const char	*storage_at(const char *name);
/* The time, told; STORAGE_SEED in the environment says another. */
unsigned	storage_seed(void);
/* A shell command, which has to succeed. */
void		storage_run(const char *, ...)
		    __attribute__((format(printf, 1, 2)));
/* Opening must fail and say this. */
void		storage_refused(const char *name, int flags, const char *what);
void		storage_save(const char *name, const void *, size_t);
/* A big-endian number of a file. */
void		storage_poke(const char *name, uint64_t offset, unsigned bytes,
		    uint64_t value);
uint64_t	storage_peek(const char *name, uint64_t offset,
		    unsigned bytes);

struct storage_waiter {
	pthread_mutex_t	 lock;
	pthread_cond_t	 cond;
	int		 error;
	unsigned	 left;
};

void		storage_waiter_init(struct storage_waiter *, unsigned n);
void		storage_done(struct disk_req *, int error);	/* dr_done */
int		storage_wait(struct storage_waiter *);		/* an errno */
/* One request, done. */
int		storage_rw(struct disk *, enum disk_op, uint64_t offset, void *,
		    uint64_t len);

#endif
