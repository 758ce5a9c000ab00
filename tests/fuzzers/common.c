/*
 * What the targets share; see fuzzers.h.
 */
#include "fuzzers.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

void
fuzz_failed(const char *what, const char *file, int line)
{
	fprintf(stderr, "%s:%d: must be: %s\n", file, line, what);
	abort();
}

int
fuzz_file(const uint8_t *data, size_t len)
{
	const int fd = memfd_create("fuzz", MFD_CLOEXEC);

	MUST(fd != -1);
	MUST(write(fd, data, len) == (ssize_t)len);
	return (fd);
}
