/*
 * Surviving faults that the host raises while we work for a guest.
 *
 * Guest memory belongs to the client, who may change its protection or unmap
 * it at any time; instruction stubs may raise SIGFPE on the guest's behalf. A
 * thread that is about to do such work sets up a struct hostfault; if SIGSEGV,
 * SIGBUS, SIGFPE or SIGILL then strikes and the filter claims it, control
 * returns to the sigsetjmp() of that struct; or where hf_resume
 * says. Every other fault goes to the
 * handler that was installed before ours, or to the default action: bugs still
 * crash.
 *
 * 1. hostfault_init() may be called any number of times, by any thread; it
 *    makes sure that our handler is the installed one (a client may have
 *    replaced it since), chaining to what it found.
 * 2. The handler runs with the faulting signal unblocked (SA_NODEFER), so
 *    leaving it by siglongjmp() without a saved mask is right.
 * 3. struct hostfault is per thread and nests: hostfault_push/pop.
 */
#ifndef BASE_HOSTFAULT_H
#define BASE_HOSTFAULT_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hostfault {
	sigjmp_buf	*hf_env;	/* target; value 1 is returned there */
	/* True if this fault is the guest's. In signal context. */
	bool		(*hf_filter)(struct hostfault *);
	/* Asked first, if there is one: true if the thread goes on where it
	 * was, but at hf_rip with the stack at hf_rsp. */
	bool		(*hf_resume)(struct hostfault *);
	void		*hf_arg;
	struct hostfault *hf_outer;
	/* filled in before the filter is called */
	int		 hf_signo;
	int		 hf_trapno;	/* x86 vector: 0 DE, 13 GP, 14 PF, 16, 19.. */
	uintptr_t	 hf_addr;	/* #PF: the address */
	uintptr_t	 hf_rip;	/* of the host instruction */
	uintptr_t	 hf_rsp;
	bool		 hf_write;	/* #PF: it was a write */
	uint32_t	 hf_mxcsr;	/* at the fault */
};

void	hostfault_init(void);
void	hostfault_push(struct hostfault *);
void	hostfault_pop(struct hostfault *);

/*
 * Signals of this thread are handled on this memory from now on, unless it has
 * a signal stack already: then false. For code whose own stack is too small.
 */
bool	hostfault_stack(void *, size_t);
/* Ends that. */
void	hostfault_stack_end(void);

/* memcpy that returns false instead of faulting when either side is not
 * accessible. Any thread. Part of it may have been copied. */
bool	hostfault_copy(void *dst, const void *src, size_t len);

#endif
