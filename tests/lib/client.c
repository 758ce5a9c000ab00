/*
 * A small client of vmm(4); see client.h.
 */
#include "../lib/client.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

int
client_do(int fd, unsigned long command, void *params)
{
	return (vmm_ioctl(fd, command, params) == 0 ? 0 : errno);
}

void
client_params(struct vm_create_params *vcp, size_t mib, const char *name)
{
	void *va;

	memset(vcp, 0, sizeof(*vcp));
	va = mmap(NULL, mib << 20, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert(va != MAP_FAILED);
	vcp->vcp_nmemranges = 1;
	vcp->vcp_ncpus = 1;
	vcp->vcp_memranges[0].vmr_va = (vaddr_t)va;
	vcp->vcp_memranges[0].vmr_size = mib << 20;
	strncpy(vcp->vcp_name, name, sizeof(vcp->vcp_name) - 1);
}

uint32_t
client_create(int fd, struct vm_create_params *vcp, uint32_t caps)
{
	struct vmm_enable_params ven;
	int error;

	error = client_do(fd, VMM_IOC_CREATE, vcp);
	assert(error == 0);
	if (caps != 0) {
		ven.ven_vm_id = vcp->vcp_id;
		ven.ven_caps = caps;
		error = client_do(fd, VMM_IOC_ENABLE, &ven);
		assert(error == 0);
	}
	(void)error;
	return (vcp->vcp_id);
}

void
client_end(int fd, struct vm_create_params *vcp)
{
	struct vm_terminate_params vtp = { vcp->vcp_id };

	(void)client_do(fd, VMM_IOC_TERM, &vtp);
	munmap((void *)vcp->vcp_memranges[0].vmr_va,
	    vcp->vcp_memranges[0].vmr_size);
}

int
client_run(int fd, uint32_t id, struct vm_run_params *vrp,
    struct vmm_exit *exit)
{
	memset(vrp, 0, sizeof(*vrp));
	vrp->vrp_vm_id = id;
	vrp->vrp_irq = 0xffff;
	vrp->vrp_exit = &exit->vx_exit;
	return (client_do(fd, VMM_IOC_RUN, vrp));
}

int
client_info(int fd, uint32_t id, struct vm_info_result *vir)
{
	struct vm_info_params vip = { 0 };
	struct vm_info_result *all = NULL, *more;
	size_t size = 0, i;
	int error;

	for (;;) {
		vip.vip_size = size;
		vip.vip_info = all;
		error = client_do(fd, VMM_IOC_INFO, &vip);
		assert(error == 0);
		if (vip.vip_size == size)
			break;
		size = vip.vip_size + 4 * sizeof(*all);
		more = realloc(all, size);
		assert(more != NULL);
		all = more;
	}
	error = ENOENT;
	for (i = 0; i < vip.vip_info_ct; i++)
		if (all[i].vir_id == id) {
			*vir = all[i];
			error = 0;
		}
	free(all);
	return (error);
}

uint64_t
client_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000);
}

void
client_sleep_ms(unsigned ms)
{
	struct timespec ts = { ms / 1000, (long)(ms % 1000) * 1000000 };

	while (nanosleep(&ts, &ts) == -1 && errno == EINTR)
		continue;
}
