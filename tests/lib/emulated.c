/*
 * The CPU below the tests (emulated.h).
 */
#include "emulated.h"

#include <cpuid.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

#define HYPERVISOR	0x40000000u	/* CPUID: whose this CPU is */
#define SAID_MAX	20

static sigjmp_buf back;
static uint8_t lacked[15];

bool
emulated_cpu(void)
{
	static int known;	/* 1 no, 2 yes */
	uint32_t eax, r[3];

	if (known == 0) {
		__cpuid(1, eax, r[0], r[1], r[2]);
		known = 1;
		if (r[1] >> 31) {
			__cpuid(HYPERVISOR, eax, r[0], r[1], r[2]);
			known += memcmp(r, "TCGTCGTCGTCG", 12) == 0;
		}
	}
	return (known == 2);
}

/* The kernel has put the FPU into its initial state for us. */
static void
lacks(int signo, siginfo_t *info, void *context)
{
	const ucontext_t *u = context;

	(void)signo, (void)info;
	memcpy(lacked, (const void *)u->uc_mcontext.gregs[REG_RIP],
	    sizeof(lacked));
	siglongjmp(back, 1);
}

bool
emulated_run(const struct engine_ops *ops, struct engine_vcpu *v,
    struct engine_run *run, int *error)
{
	static unsigned said;
	struct sigaction sa = { .sa_sigaction = lacks,
	    .sa_flags = SA_SIGINFO }, old;
	unsigned n;
	bool done;

	if (!emulated_cpu()) {
		*error = ops->eo_run(v, run);
		return (true);
	}
	sigaction(SIGILL, &sa, &old);
	done = sigsetjmp(back, 1) == 0;
	if (done)
		*error = ops->eo_run(v, run);
	sigaction(SIGILL, &old, NULL);
	if (!done && said++ < SAID_MAX) {
		printf("# this CPU lacks");
		for (n = 0; n < sizeof(lacked); n++)
			printf(" %02x", lacked[n]);
		printf("\n");
	}
	return (done);
}
