/*
 * What tests of images share.
 */
#include <sys/statvfs.h>

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage_util.h"

#define MEMORY_NEEDED	(512u << 20)

static char dir[] = "/dev/shm/vmm-storage-test.XXXXXX";

/* In memory if there is room: what is tested flushes all the time. */
int
storage_setup(void)
{
	struct statvfs vfs;

	if (statvfs("/dev/shm", &vfs) == 0 &&
	    vfs.f_bavail * vfs.f_frsize >= MEMORY_NEEDED &&
	    mkdtemp(dir) != NULL)
		return (0);
	strcpy(dir, "/tmp/vmm-storage-test.XXXXXX");
	return (mkdtemp(dir) == NULL);
}

int
storage_teardown(void)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return (system(command));
}

const char *
storage_at(const char *name)
{
	static char path[8][128];
	static unsigned n;

	n = (n + 1) % 8;
	snprintf(path[n], sizeof(path[n]), "%s/%s", dir, name);
	return (path[n]);
}

unsigned
storage_seed(void)
{
	const char *said = getenv("STORAGE_SEED");
	unsigned seed = said != NULL ? (unsigned)atoi(said) :
	    (unsigned)time(NULL);

	printf("# seed %u\n", seed);
	fflush(stdout);
	return (seed);
}

void
storage_run(const char *fmt, ...)
{
	char command[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	if (system(command) != 0)
		fail_msg("%s", command);
}

void
storage_refused(const char *name, int flags, const char *what)
{
	struct disk *d = NULL;
	struct err err = { "" };

	assert_int_equal(disk_open(&d, storage_at(name), flags, &err), -1);
	if (strstr(err.e_text, storage_at(name)) == NULL ||
	    strstr(err.e_text, what) == NULL ||
	    strchr(err.e_text, '\n') != NULL)
		fail_msg("%s: says \"%s\"", name, err.e_text);
}

void
storage_save(const char *name, const void *bytes, size_t len)
{
	int fd = open(storage_at(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_not_equal(fd, -1);
	assert_int_equal(write(fd, bytes, len), len);
	close(fd);
}

void
storage_poke(const char *name, uint64_t offset, unsigned bytes, uint64_t value)
{
	int fd = open(storage_at(name), O_WRONLY);
	uint8_t b[8];
	unsigned i;

	assert_int_not_equal(fd, -1);
	for (i = 0; i < bytes; i++)
		b[i] = (uint8_t)(value >> (bytes - 1 - i) * 8);
	assert_int_equal(pwrite(fd, b, bytes, (off_t)offset), bytes);
	close(fd);
}

uint64_t
storage_peek(const char *name, uint64_t offset, unsigned bytes)
{
	int fd = open(storage_at(name), O_RDONLY);
	uint8_t b[8];
	uint64_t value = 0;
	unsigned i;

	assert_int_not_equal(fd, -1);
	assert_int_equal(pread(fd, b, bytes, (off_t)offset), bytes);
	close(fd);
	for (i = 0; i < bytes; i++)
		value = value << 8 | b[i];
	return (value);
}

/* --- requests ------------------------------------------------------------- */

void
storage_waiter_init(struct storage_waiter *w, unsigned n)
{
	*w = (struct storage_waiter){ .lock = PTHREAD_MUTEX_INITIALIZER,
	    .cond = PTHREAD_COND_INITIALIZER, .left = n };
}

void
storage_done(struct disk_req *r, int error)
{
	struct storage_waiter *w = r->dr_arg;

	pthread_mutex_lock(&w->lock);
	if (error != 0)
		w->error = error;
	if (--w->left == 0)
		pthread_cond_broadcast(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

int
storage_wait(struct storage_waiter *w)
{
	pthread_mutex_lock(&w->lock);
	while (w->left > 0)
		pthread_cond_wait(&w->cond, &w->lock);
	pthread_mutex_unlock(&w->lock);
	return (w->error);
}

int
storage_rw(struct disk *d, enum disk_op op, uint64_t offset, void *buf,
    uint64_t len)
{
	struct storage_waiter w;
	struct iovec iov = { buf, len };
	struct disk_req r = { .dr_op = op, .dr_offset = offset,
	    .dr_length = len, .dr_unmap = true, .dr_iov = &iov, .dr_niov = 1,
	    .dr_done = storage_done, .dr_arg = &w };

	storage_waiter_init(&w, 1);
	disk_submit(d, &r);
	return (storage_wait(&w));
}
