/*
 * Surviving host faults; see hostfault.h.
 *
 * 1. What was installed before us is kept as a list of immutable records,
 *    newest first, published with a release store: a handler reads it without
 *    a lock. A record lives as long as the process. A client that replaces our
 *    handler again and again with the same one adds no further record.
 * 2. A handler that we chain to may itself chain to us, because it found us
 *    when it was installed. So that this ends, the record to use next travels
 *    with the signal: in uc_link, which the kernel clears in every signal frame
 *    and does not read back.
 * 3. The handler touches only thread-local storage of the initial-exec kind,
 *    which never allocates.
 */
#include "base/hostfault.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

/* Page-fault error code, SDM vol. 3A 4.7. */
#define PF_WRITE	0x2
#define VECTOR_GP	13
/* User addresses have no bit from here on set with 4-level paging. */
#define LINEAR_BITS	47

struct hostfault_old {
	struct sigaction	 ho_action;
	struct hostfault_old	*ho_older;
};

static const int hostfault_signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL };
#define NSIGNALS (sizeof(hostfault_signals) / sizeof(hostfault_signals[0]))

static pthread_mutex_t hostfault_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(struct hostfault_old *) hostfault_old[NSIGNALS]; /* lock, a */
static struct hostfault_old hostfault_end;	/* marks: no older one */

static __thread struct hostfault *hostfault_top
    __attribute__((tls_model("initial-exec")));

static unsigned
hostfault_slot(int signo)
{
	unsigned n;

	for (n = 0; n < NSIGNALS; n++)
		if (hostfault_signals[n] == signo)
			break;
	assert(n < NSIGNALS);
	return (n);
}

/* Ends the process as if nobody had caught the signal. */
static void
hostfault_default(int signo, const siginfo_t *info)
{
	struct sigaction sa = { .sa_handler = SIG_DFL };

	sigaction(signo, &sa, NULL);
	/* A fault strikes again on return; what somebody sent does not. */
	if (info->si_code <= 0)
		raise(signo);
}

/* Hands a signal that is not ours to the handler that was there before. */
static void
hostfault_chain(int signo, siginfo_t *info, ucontext_t *uc)
{
	struct hostfault_old *old;
	const struct sigaction *sa;
	sigset_t mask;

	old = (struct hostfault_old *)(void *)uc->uc_link;
	if (old == NULL)
		old = atomic_load_explicit(
		    &hostfault_old[hostfault_slot(signo)],
		    memory_order_acquire);
	if (old == NULL || old == &hostfault_end) {
		hostfault_default(signo, info);
		return;
	}
	uc->uc_link = (ucontext_t *)(void *)
	    (old->ho_older != NULL ? old->ho_older : &hostfault_end);

	sa = &old->ho_action;
	if ((sa->sa_flags & SA_SIGINFO) == 0 && sa->sa_handler == SIG_DFL) {
		hostfault_default(signo, info);
		return;
	}
	if ((sa->sa_flags & SA_SIGINFO) == 0 && sa->sa_handler == SIG_IGN) {
		/* The kernel ignores what was sent but no fault. */
		if (info->si_code > 0)
			hostfault_default(signo, info);
		return;
	}
	/* Returning from the signal restores the mask. */
	mask = sa->sa_mask;
	if ((sa->sa_flags & SA_NODEFER) == 0)
		sigaddset(&mask, signo);
	pthread_sigmask(SIG_BLOCK, &mask, NULL);
	if (sa->sa_flags & SA_SIGINFO)
		sa->sa_sigaction(signo, info, uc);
	else
		sa->sa_handler(signo);
}

static void
hostfault_handler(int signo, siginfo_t *info, void *ctx)
{
	ucontext_t *uc = ctx;
	struct hostfault *hf;

	/* Only what the CPU raised: si_code > 0 is the kernel's own. */
	if (info->si_code > 0) {
		for (hf = hostfault_top; hf != NULL; hf = hf->hf_outer) {
			hf->hf_signo = signo;
			hf->hf_trapno = (int)uc->uc_mcontext.gregs[REG_TRAPNO];
			hf->hf_addr = (uintptr_t)info->si_addr;
			hf->hf_rip = (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
			hf->hf_write = hf->hf_trapno == 14 &&
			    (uc->uc_mcontext.gregs[REG_ERR] & PF_WRITE) != 0;
			hf->hf_mxcsr = uc->uc_mcontext.fpregs != NULL ?
			    uc->uc_mcontext.fpregs->mxcsr : 0;
			hf->hf_rsp = (uintptr_t)uc->uc_mcontext.gregs[REG_RSP];
			if (hf->hf_resume != NULL && hf->hf_resume(hf)) {
				uc->uc_mcontext.gregs[REG_RIP] =
				    (greg_t)hf->hf_rip;
				uc->uc_mcontext.gregs[REG_RSP] =
				    (greg_t)hf->hf_rsp;
				return;
			}
			if (hf->hf_filter(hf)) {
				hostfault_top = hf;
				siglongjmp(*hf->hf_env, 1);
			}
		}
	}
	hostfault_chain(signo, info, uc);
}

/* True if our handler is the installed one for all four signals. */
static bool
hostfault_installed(void)
{
	struct sigaction found;
	unsigned n;

	for (n = 0; n < NSIGNALS; n++)
		if (sigaction(hostfault_signals[n], NULL, &found) == -1 ||
		    (found.sa_flags & SA_SIGINFO) == 0 ||
		    found.sa_sigaction != hostfault_handler)
			return (false);
	return (true);
}

/*
 * Makes sure that our handler is the installed one for all four signals. The
 * lock is left alone when it is, as usual: a fork(2) then finds it free.
 */
void
hostfault_init(void)
{
	struct hostfault_old *old, *newest;
	struct sigaction sa, found;
	unsigned n;

	memset(&sa, 0, sizeof(sa));
	sa.sa_sigaction = hostfault_handler;
	sa.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
	sigemptyset(&sa.sa_mask);

	if (hostfault_installed())
		return;
	pthread_mutex_lock(&hostfault_lock);
	for (n = 0; n < NSIGNALS; n++) {
		if (sigaction(hostfault_signals[n], NULL, &found) == -1)
			continue;
		if ((found.sa_flags & SA_SIGINFO) != 0 &&
		    found.sa_sigaction == hostfault_handler)
			continue;
		newest = atomic_load(&hostfault_old[n]);
		for (old = newest; old != NULL; old = old->ho_older)
			if (old->ho_action.sa_sigaction == found.sa_sigaction &&
			    old->ho_action.sa_flags == found.sa_flags)
				break;
		/* Only the newest record is chained to first: put it there. */
		if (old == NULL || old != newest) {
			old = malloc(sizeof(*old));
			if (old == NULL)
				continue;
			old->ho_action = found;
			old->ho_older = newest;
			atomic_store_explicit(&hostfault_old[n], old,
			    memory_order_release);
		}
		sigaction(hostfault_signals[n], &sa, NULL);
	}
	pthread_mutex_unlock(&hostfault_lock);
}

/*
 * Makes hf the first to be asked about faults of this thread.
 */
void
hostfault_push(struct hostfault *hf)
{
	hf->hf_outer = hostfault_top;
	/* The handler may run from here on: the link must be there first. */
	atomic_signal_fence(memory_order_release);
	hostfault_top = hf;
}

/*
 * Ends hostfault_push(hf). hf is the innermost, or an outer one whose inner
 * ones were left by a jump.
 */
void
hostfault_pop(struct hostfault *hf)
{
	atomic_signal_fence(memory_order_release);
	hostfault_top = hf->hf_outer;
}

bool
hostfault_stack(void *stack, size_t size)
{
	stack_t ss = { .ss_sp = stack, .ss_size = size }, old;

	if (sigaltstack(NULL, &old) == -1 || !(old.ss_flags & SS_DISABLE))
		return (false);
	return (sigaltstack(&ss, NULL) == 0);
}

void
hostfault_stack_end(void)
{
	stack_t ss = { .ss_flags = SS_DISABLE };

	sigaltstack(&ss, NULL);
}

struct hostfault_range {
	uintptr_t	hr_start[2];
	size_t		hr_len;
};

static bool
hostfault_in_range(struct hostfault *hf)
{
	const struct hostfault_range *hr = hf->hf_arg;

	if (hf->hf_signo != SIGSEGV && hf->hf_signo != SIGBUS)
		return (false);
	/* A non-canonical address is #GP, which does not say which it was. */
	if (hf->hf_trapno == VECTOR_GP)
		return (((hr->hr_start[0] | hr->hr_start[1]) >>
		    LINEAR_BITS) != 0);
	return (hf->hf_addr - hr->hr_start[0] < hr->hr_len ||
	    hf->hf_addr - hr->hr_start[1] < hr->hr_len);
}

bool
hostfault_copy(void *dst, const void *src, size_t len)
{
	struct hostfault_range hr = { { (uintptr_t)dst, (uintptr_t)src }, len };
	sigjmp_buf env;
	struct hostfault hf = {
		.hf_env = &env, .hf_filter = hostfault_in_range, .hf_arg = &hr
	};

	if (sigsetjmp(env, 0) != 0) {
		hostfault_pop(&hf);
		return (false);
	}
	hostfault_push(&hf);
	/* Not memcpy: the pointers may be anything, null included. */
	__asm__ volatile("rep movsb" : "+D" (dst), "+S" (src), "+c" (len) : :
	    "memory");
	hostfault_pop(&hf);
	return (true);
}
