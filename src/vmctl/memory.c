/*
 * Is there memory on the host for a guest? Asked before the guest starts, for
 * an overcommitted host would end the VM in the middle of its work.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vmctl/vmctl.h"

#define MIB	(UINT64_C(1) << 20)

/* The number in the first line of a file; UINT64_MAX for "max" or no file. */
static uint64_t
memory_file(const char *path)
{
	uint64_t n = UINT64_MAX;
	FILE *f;

	f = fopen(path, "re");
	if (f == NULL)
		return (UINT64_MAX);
	if (fscanf(f, "%" SCNu64, &n) != 1)
		n = UINT64_MAX;
	fclose(f);
	return (n);
}

/* What the host can give without ending processes, UINT64_MAX if unknown. */
static uint64_t
memory_available(void)
{
	uint64_t available = UINT64_MAX, swap = 0, kib, limit, used;
	char line[128];
	FILE *f;

	f = fopen("/proc/meminfo", "re");
	if (f == NULL)
		return (UINT64_MAX);
	while (fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1)
			available = kib << 10;
		else if (sscanf(line, "SwapFree: %" SCNu64, &kib) == 1)
			swap = kib << 10;
	}
	fclose(f);
	if (available != UINT64_MAX)
		available += swap;

	/* A container may have less: cgroup v2, as seen from inside. */
	limit = memory_file("/sys/fs/cgroup/memory.max");
	used = memory_file("/sys/fs/cgroup/memory.current");
	if (limit != UINT64_MAX && used != UINT64_MAX) {
		limit = limit > used ? limit - used : 0;
		if (limit < available)
			available = limit;
	}
	return (available);
}

int
memory_check(uint64_t bytes, struct err *err)
{
	uint64_t available;

	if (bytes < MIB)
		return (err_set(err, "a guest needs 1M at least; sizes are in "
		    "bytes without a suffix: write 512M"));
	if (bytes % MIB != 0)
		return (err_set(err, "memory comes in whole megabytes; "
		    "use %" PRIu64 "M", bytes / MIB + 1));
	if (bytes / MIB > VMM_MAX_VM_MEM_SIZE)
		return (err_set(err, "%dM is the most that a guest may have",
		    VMM_MAX_VM_MEM_SIZE));
	available = memory_available();
	if (bytes > available)
		return (err_set(err, "the host has only %" PRIu64 "M free; "
		    "use less or end something", available / MIB));
	return (0);
}
