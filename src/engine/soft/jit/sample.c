/*
 * The sampler: a thread of a VM that asks every millisecond where translated
 * code is, by raising REQ_SAMPLE on the VCPUs that run. The poll that sees it
 * tells (trace_sample()).
 *
 * 1. It sleeps for good when no VCPU has been running for a while, so that an
 *    idle VM costs nothing; a VCPU that begins to run wakes it.
 * 2. s_lock guards s_idle and s_stop. c_sampling is an atomic of the VCPU's.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#undef REG_RIP		/* ours is insn.h's */

#include "engine/soft/jit/sample.h"
#include "engine/soft/vm.h"

#define PERIOD_NS	1000000
#define QUIET		4	/* periods without a running VCPU */

struct sampler {
	struct engine_vm *s_vm;		/* [I] */
	pthread_t	 s_thread;	/* [I] */
	pthread_mutex_t	 s_lock;
	pthread_cond_t	 s_cond;
	atomic_bool	 s_idle;	/* sleeps until somebody runs */
	bool		 s_stop;
};

/* Asks every running VCPU. True if there was one. */
static bool
sample_all(struct sampler *s)
{
	struct engine_vm *vm = s->s_vm;
	struct cpu *c;
	bool any = false;

	pthread_mutex_lock(&vm->ev_lock);
	for (c = vm->ev_cpus; c != NULL; c = c->c_next)
		if (atomic_load_explicit(&c->c_sampling,
		    memory_order_relaxed)) {
			cpu_request(c, REQ_SAMPLE);
			any = true;
		}
	pthread_mutex_unlock(&vm->ev_lock);
	return (any);
}

static void *
sample_thread(void *arg)
{
	struct sampler *s = arg;
	struct timespec period = { 0, PERIOD_NS };
	unsigned quiet = 0;

	pthread_mutex_lock(&s->s_lock);
	while (!s->s_stop) {
		if (quiet > QUIET) {
			atomic_store(&s->s_idle, true);
			pthread_cond_wait(&s->s_cond, &s->s_lock);
			atomic_store(&s->s_idle, false);
			quiet = 0;
			continue;
		}
		pthread_mutex_unlock(&s->s_lock);
		nanosleep(&period, NULL);
		quiet = sample_all(s) ? 0 : quiet + 1;
		pthread_mutex_lock(&s->s_lock);
	}
	pthread_mutex_unlock(&s->s_lock);
	return (NULL);
}

int
sampler_new(struct engine_vm *vm, struct sampler **out)
{
	struct sampler *s;
	sigset_t all, old;
	int error;

	if ((s = calloc(1, sizeof(*s))) == NULL)
		return (ENOMEM);
	s->s_vm = vm;
	pthread_mutex_init(&s->s_lock, NULL);
	pthread_cond_init(&s->s_cond, NULL);
	/* signals are the client's, but for our own faults */
	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	error = pthread_create(&s->s_thread, NULL, sample_thread, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error != 0) {
		free(s);
		return (error);
	}
	*out = s;
	return (0);
}

void
sampler_free(struct sampler *s)
{
	if (s == NULL)
		return;
	pthread_mutex_lock(&s->s_lock);
	s->s_stop = true;
	pthread_cond_signal(&s->s_cond);
	pthread_mutex_unlock(&s->s_lock);
	pthread_join(s->s_thread, NULL);
	pthread_cond_destroy(&s->s_cond);
	pthread_mutex_destroy(&s->s_lock);
	free(s);
}

void
sampler_wake(struct sampler *s)
{
	if (!atomic_load_explicit(&s->s_idle, memory_order_relaxed))
		return;
	pthread_mutex_lock(&s->s_lock);
	pthread_cond_signal(&s->s_cond);
	pthread_mutex_unlock(&s->s_lock);
}
