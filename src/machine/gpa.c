/*
 * Guest-physical addresses to host memory.
 *
 * 1. The ranges are immutable while VCPUs run; any thread may call.
 * 2. Lengths and addresses come from the guest: no sum here can wrap.
 */
#include <string.h>

#include "machine/device.h"

void *
gpa_host(const struct guest_memory *gm, uint64_t gpa, size_t len)
{
	uint64_t offset;
	unsigned i;

	for (i = 0; i < gm->gm_nranges; i++) {
		if (gpa < gm->gm_range[i].gpa)
			continue;
		offset = gpa - gm->gm_range[i].gpa;
		if (offset < gm->gm_range[i].size &&
		    len <= gm->gm_range[i].size - offset)
			return (gm->gm_range[i].host + offset);
	}
	return (NULL);
}

bool
gpa_read(const struct guest_memory *gm, uint64_t gpa, void *buf, size_t len)
{
	const void *host = gpa_host(gm, gpa, len);

	if (host == NULL)
		return (false);
	memcpy(buf, host, len);
	return (true);
}

bool
gpa_write(const struct guest_memory *gm, uint64_t gpa, const void *buf,
    size_t len)
{
	void *host = gpa_host(gm, gpa, len);

	if (host == NULL)
		return (false);
	memcpy(host, buf, len);
	gpa_written(gm, gpa, len);
	return (true);
}

void
gpa_written(const struct guest_memory *gm, uint64_t gpa, size_t len)
{
	if (gm->gm_written != NULL && len > 0)
		gm->gm_written(gm->gm_arg, gpa, len);
}
