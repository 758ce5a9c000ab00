/*
 * The host's calls (sys.h). The table is alone in this file so that a test's
 * own takes its place. Any thread.
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/kvm/sys.h"

static int
sys_open(const char *path)
{
	return (open(path, O_RDWR | O_CLOEXEC));
}

static int
sys_ioctl(int fd, unsigned long request, void *arg)
{
	return (ioctl(fd, request, arg));
}

static void *
sys_map(int fd, size_t size)
{
	void *p;

	p = fd == -1 ? mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
	    MAP_NORESERVE, -1, 0) :
	    mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return (p == MAP_FAILED ? NULL : p);
}

static void
sys_unmap(void *p, size_t size)
{
	(void)munmap(p, size);
}

const struct kvm_sys kvm_sys = {
	.ks_open = sys_open,
	.ks_close = close,
	.ks_ioctl = sys_ioctl,
	.ks_map = sys_map,
	.ks_unmap = sys_unmap,
};
