/* The kernel's work: system calls, switches between processes, page faults. */
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "work.h"

uint64_t
getppid_run(void *state, uint64_t n)
{
	(void)state;
	while (n-- > 0)
		(void)syscall(SYS_getppid);
	return (0);
}

struct pipes {
	int	p_there[2];
	int	p_back[2];
};

/*
 * A second process that sends back what it receives. Both are on one CPU, for
 * what is measured is the switch and not how long another CPU takes to wake.
 */
void *
pipe_setup(const struct work *w)
{
	struct pipes *p = work_alloc(sizeof(*p));
	cpu_set_t one;
	char c;

	(void)w;
	CPU_ZERO(&one);
	CPU_SET((unsigned)sched_getcpu(), &one);
	if (sched_setaffinity(0, sizeof(one), &one) == -1)
		work_fail("sched_setaffinity");
	if (pipe(p->p_there) == -1 || pipe(p->p_back) == -1)
		work_fail("pipe");
	switch (fork()) {
	case -1:
		work_fail("fork");
		break;
	case 0:
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(p->p_there[1]);
		while (read(p->p_there[0], &c, 1) == 1)
			if (write(p->p_back[1], &c, 1) != 1)
				break;
		_exit(0);
	}
	close(p->p_there[0]);
	return (p);
}

uint64_t
pipe_run(void *state, uint64_t n)
{
	const struct pipes *p = state;
	char c = 'x';

	while (n-- > 0)
		if (write(p->p_there[1], &c, 1) != 1 ||
		    read(p->p_back[0], &c, 1) != 1)
			work_fail("pipe");
	return ((uint64_t)c);
}

#define PAGE	4096
#define PAGES	64	/* less than a huge page; the table says it too */

uint64_t
fault_run(void *state, uint64_t n)
{
	uint8_t *p;
	int i;

	(void)state;
	while (n-- > 0) {
		p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			work_fail("mmap");
		for (i = 0; i < PAGES; i++)
			p[i * PAGE] = 1;
		munmap(p, PAGES * PAGE);
	}
	return (PAGES);
}
