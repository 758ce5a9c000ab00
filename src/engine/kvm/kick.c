/*
 * Getting a thread out of KVM_RUN.
 *
 * A kick is v_kick; KVM looks at immediate_exit when it is entered, and at
 * pending signals whenever it is about to enter the guest. So a kick sets
 * v_kick, then immediate_exit, and if the thread is INSIDE, one kicker sends
 * it the signal. The thread says that it is INSIDE before it clears
 * immediate_exit and looks at v_kick: whichever comes first, one of them sees
 * the other.
 *
 * 1. A signal is sent only between INSIDE and the thread's answer to
 *    SIGNALLING, so never to a thread that has gone.
 * 2. The thread takes the signal back before it goes on, if it is blocked; if
 *    it is not, the handler has. Nothing of it is left for the client to see.
 * 3. SIGURG is ignored by default: a client that does nothing about it cannot
 *    notice. One that catches it may see it once more than it was sent. An
 *    ignored signal would not end KVM_RUN, thus the handler.
 */
#include <sys/syscall.h>

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/kvm/kvm.h"

static pthread_once_t kick_once = PTHREAD_ONCE_INIT;

static void
kick_signal(int signo)
{
	(void)signo;
}

static void
kick_install(void)
{
	struct sigaction old, sa;

	if (sigaction(KICK_SIGNAL, NULL, &old) == -1 ||
	    (old.sa_flags & SA_SIGINFO) != 0 ||
	    (old.sa_handler != SIG_DFL && old.sa_handler != SIG_IGN))
		return;		/* the client's serves as well */
	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = kick_signal;
	sa.sa_flags = SA_RESTART;
	sigemptyset(&sa.sa_mask);
	(void)sigaction(KICK_SIGNAL, &sa, NULL);
}

void
kick_init(void)
{
	pthread_once(&kick_once, kick_install);
}

void
kvm_kick(struct engine_vcpu *v)
{
	int where = INSIDE;

	atomic_store(&v->v_kick, true);
	__atomic_store_n(&v->v_run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	if (!atomic_compare_exchange_strong(&v->v_where, &where, SIGNALLING))
		return;
	(void)syscall(SYS_tgkill, getpid(), atomic_load(&v->v_tid),
	    KICK_SIGNAL);
	atomic_store(&v->v_where, SIGNALLED);
}

bool
kick_enter(struct engine_vcpu *v)
{
	atomic_store(&v->v_tid, (int)syscall(SYS_gettid));
	atomic_store(&v->v_where, INSIDE);
	__atomic_store_n(&v->v_run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	return (!atomic_load(&v->v_kick));
}

void
kick_leave(struct engine_vcpu *v)
{
	const struct timespec now = { 0, 0 };
	sigset_t set;
	int where;

	for (;;) {
		where = INSIDE;
		if (atomic_compare_exchange_strong(&v->v_where, &where,
		    OUTSIDE))
			return;
		if (where == SIGNALLED)
			break;
		sched_yield();	/* the kicker is between two statements */
	}
	atomic_store(&v->v_where, OUTSIDE);
	sigemptyset(&set);
	sigaddset(&set, KICK_SIGNAL);
	(void)sigtimedwait(&set, NULL, &now);
}
