/*
 * A small client of vmm(4), for tests of the monitor.
 */
#ifndef TESTS_CLIENT_H
#define TESTS_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include <vmm.h>

/* vmm_ioctl(): 0 or the errno value. */
int	client_do(int fd, unsigned long command, void *params);
/* Parameters for one range of mib MiB at 0, freshly mapped. */
void	client_params(struct vm_create_params *, size_t mib, const char *name);
/* A VM with such parameters and capabilities; its id. Asserts success. */
uint32_t client_create(int fd, struct vm_create_params *, uint32_t caps);
/* TERM, and the memory unmapped. */
void	client_end(int fd, struct vm_create_params *);
/* RUN without interrupt or continuation: 0 or errno. */
int	client_run(int fd, uint32_t id, struct vm_run_params *,
	    struct vmm_exit *);
/* INFO of one VM: 0 or ENOENT. */
int	client_info(int fd, uint32_t id, struct vm_info_result *);
/* The monotonic clock. */
uint64_t client_now_ms(void);
/* Sleeps, signals or not. */
void	client_sleep_ms(unsigned);

#endif
