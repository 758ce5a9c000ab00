/*
 * The host's calls that the KVM engine makes, in one table, so that a test can
 * put a KVM of its own in their place and make each fail in turn.
 */
#ifndef KVM_SYS_H
#define KVM_SYS_H

#include <stddef.h>

struct kvm_sys {
	/* As the system calls: -1 (map: NULL) and errno. */
	int	(*ks_open)(const char *path);		/* O_RDWR */
	int	(*ks_close)(int fd);
	int	(*ks_ioctl)(int fd, unsigned long request, void *arg);
	/* Shared memory of fd, or with -1 address space without rights. */
	void	*(*ks_map)(int fd, size_t size);
	void	(*ks_unmap)(void *, size_t size);
};

extern const struct kvm_sys kvm_sys;

/* An ioctl whose argument is a number. */
static inline int
kvm_ioctl_number(int fd, unsigned long request, unsigned long number)
{
	return (kvm_sys.ks_ioctl(fd, request, (void *)number));
}

#endif
