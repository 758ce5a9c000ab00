/*
 * How a program of ours begins: see program.h.
 *
 * The C library makes stacks of RLIMIT_STACK, usually 8 MiB. Where the kernel
 * gives huge pages to whoever can hold one, a stack that happens to contain an
 * aligned one gets all of it with its first touch: 2 MiB for a thread that
 * needs a few KiB. A smaller stack cannot hold one.
 */
#include "base/program.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

static void
open_standard_files(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

static void
small_stacks(void)
{
	pthread_attr_t attr;

	/* without memory, stacks stay as they are: nothing depends on it */
	if (pthread_attr_init(&attr) != 0)
		return;
	if (pthread_attr_setstacksize(&attr, PROGRAM_STACK) == 0)
		(void)pthread_setattr_default_np(&attr);
	pthread_attr_destroy(&attr);
}

void
program_begin(void)
{
	open_standard_files();
	small_stacks();
}
