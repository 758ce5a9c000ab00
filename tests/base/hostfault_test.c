/*
 * base/hostfault: which faults come back, to whom, and what goes on to the
 * handler that was there before. Each test calls hostfault_init() itself:
 * cmocka installs handlers of its own before each one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hostfault.h"

#define PAGE	4096

static char *none;		/* one inaccessible page */
static int claims;		/* how often a filter was asked */

static bool
claim(struct hostfault *hf)
{
	claims++;
	return (hf->hf_arg != NULL);
}

/* Writes to the inaccessible page under hf; true if the fault came back. */
static bool
provoke(struct hostfault *hf, int write)
{
	sigjmp_buf env;

	hf->hf_env = &env;
	hf->hf_filter = claim;
	if (sigsetjmp(env, 0) != 0) {
		hostfault_pop(hf);
		return (true);
	}
	hostfault_push(hf);
	if (write)
		*(volatile char *)(none + 8) = 1;
	else
		(void)*(volatile char *)(none + 9);
	hostfault_pop(hf);
	return (false);
}

static int
setup(void **state)
{
	(void)state;
	none = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return (none == MAP_FAILED ? -1 : 0);
}

static void
test_segv(void **state)
{
	struct hostfault hf = { .hf_arg = &hf };
	int n;

	(void)state;
	hostfault_init();
	for (n = 0; n < 3; n++) {
		assert_true(provoke(&hf, 1));
		assert_int_equal(hf.hf_signo, SIGSEGV);
		assert_int_equal(hf.hf_trapno, 14);
		assert_true(hf.hf_write);
		assert_int_equal(hf.hf_addr, (uintptr_t)none + 8);
		assert_true(provoke(&hf, 0));
		assert_false(hf.hf_write);
		assert_int_equal(hf.hf_addr, (uintptr_t)none + 9);
	}
}

/* The inner filter refuses, the outer one claims. */
static void
test_nesting(void **state)
{
	struct hostfault outer = { .hf_arg = &outer }, inner = { 0 };
	sigjmp_buf env;
	volatile bool back = false;

	(void)state;
	hostfault_init();
	outer.hf_env = &env;
	outer.hf_filter = claim;
	claims = 0;
	if (sigsetjmp(env, 0) == 0) {
		hostfault_push(&outer);
		provoke(&inner, 1);
		fail();
	} else
		back = true;
	hostfault_pop(&outer);
	assert_true(back);
	assert_int_equal(claims, 2);
	/* and the thread's list is as before */
	inner.hf_arg = &inner;
	assert_true(provoke(&inner, 1));
	assert_null(inner.hf_outer);
}

static bool
claim_all(struct hostfault *hf)
{
	(void)hf;
	return (true);
}

static void
test_sse_exception(void **state)
{
	sigjmp_buf env;
	struct hostfault hf = { .hf_env = &env, .hf_filter = claim_all };
	uint32_t mxcsr = 0x1f80 & ~0x200u, normal = 0x1f80;	/* ZM clear */
	volatile bool back = false;

	(void)state;
	hostfault_init();
	if (sigsetjmp(env, 0) == 0) {
		hostfault_push(&hf);
		__asm__ volatile("ldmxcsr %0; mov $1, %%eax;"
		    "cvtsi2ss %%eax, %%xmm0; xorps %%xmm1, %%xmm1;"
		    "divss %%xmm1, %%xmm0; ldmxcsr %1"
		    : : "m"(mxcsr), "m"(normal) : "rax", "xmm0", "xmm1");
	} else
		back = true;
	hostfault_pop(&hf);
	__asm__ volatile("ldmxcsr %0" : : "m"(normal));
	assert_true(back);
	assert_int_equal(hf.hf_signo, SIGFPE);
	assert_int_equal(hf.hf_trapno, 19);
	assert_int_equal(hf.hf_mxcsr, mxcsr | 0x4);	/* ZE */
}

static void
test_ud(void **state)
{
	sigjmp_buf env;
	struct hostfault hf = { .hf_env = &env, .hf_filter = claim_all };
	volatile bool back = false;

	(void)state;
	hostfault_init();
	if (sigsetjmp(env, 0) == 0) {
		hostfault_push(&hf);
		__asm__ volatile("ud2");
	} else
		back = true;
	hostfault_pop(&hf);
	assert_true(back);
	assert_int_equal(hf.hf_signo, SIGILL);
	assert_int_equal(hf.hf_trapno, 6);
}

static void
test_copy(void **state)
{
	char *two, buf[32];

	(void)state;
	hostfault_init();
	two = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(two != MAP_FAILED);
	memset(two, 'x', 2 * PAGE);
	assert_true(hostfault_copy(buf, two + PAGE - 16, 32));
	assert_int_equal(buf[31], 'x');
	assert_int_equal(mprotect(two + PAGE, PAGE, PROT_NONE), 0);
	assert_true(hostfault_copy(buf, two + PAGE - 32, 32));
	assert_false(hostfault_copy(buf, two + PAGE - 16, 32));
	assert_false(hostfault_copy(two + PAGE, buf, 32));
	assert_int_equal(mprotect(two, PAGE, PROT_READ), 0);
	assert_false(hostfault_copy(two, buf, 32));
	munmap(two, 2 * PAGE);
}

/* --- chaining, each in a process of its own -------------------------------- */

static struct sigaction before;

static void
client_exit(int signo, siginfo_t *info, void *ctx)
{
	(void)ctx;
	_exit(info->si_addr == none + 8 && signo == SIGSEGV ? 42 : 43);
}

/* A client's handler that passes on what it does not know. */
static void
client_pass(int signo, siginfo_t *info, void *ctx)
{
	if (before.sa_flags & SA_SIGINFO)
		before.sa_sigaction(signo, info, ctx);
	else
		_exit(44);
}

static void
install(void (*fn)(int, siginfo_t *, void *))
{
	struct sigaction sa;

	memset(&sa, 0, sizeof(sa));
	sa.sa_sigaction = fn;
	sa.sa_flags = SA_SIGINFO;
	sigaction(SIGSEGV, &sa, &before);
}

static int
child(void (*fn)(void))
{
	int status;
	pid_t pid;

	pid = fork();
	if (pid == 0) {
		alarm(10);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return (status);
}

static void
child_client(void)
{
	install(client_exit);
	hostfault_init();
	*(volatile char *)(none + 8) = 1;
}

/* ours -> client's -> ours -> default: must end, by the signal. */
static void
child_loop(void)
{
	struct sigaction sa = { .sa_handler = SIG_DFL };

	sigaction(SIGSEGV, &sa, NULL);
	hostfault_init();
	install(client_pass);
	hostfault_init();
	*(volatile char *)(none + 8) = 1;
}

static void
child_sent(void)
{
	struct sigaction sa = { .sa_handler = SIG_DFL };
	struct hostfault hf = { .hf_filter = claim_all };
	sigjmp_buf env;

	sigaction(SIGSEGV, &sa, NULL);
	hostfault_init();
	hf.hf_env = &env;
	if (sigsetjmp(env, 0) != 0)
		_exit(1);
	hostfault_push(&hf);
	raise(SIGSEGV);
}

static void
test_chain(void **state)
{
	int status;

	(void)state;
	hostfault_init();
	status = child(child_client);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 42);
	status = child(child_loop);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSEGV);
	/* a signal that somebody sent is no fault of the guest's */
	status = child(child_sent);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSEGV);
}

static void *
thread_main(void *arg)
{
	struct hostfault hf = { .hf_arg = &hf };
	int n;

	(void)arg;
	for (n = 0; n < 1000; n++)
		if (!provoke(&hf, n & 1) || hf.hf_addr !=
		    (uintptr_t)none + ((n & 1) ? 8 : 9))
			return (NULL);
	return (none);
}

static void
test_threads(void **state)
{
	pthread_t t[2];
	void *ok;
	int n;

	(void)state;
	hostfault_init();
	for (n = 0; n < 2; n++)
		assert_int_equal(pthread_create(&t[n], NULL, thread_main, NULL),
		    0);
	for (n = 0; n < 2; n++) {
		pthread_join(t[n], &ok);
		assert_ptr_equal(ok, none);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_segv),
		cmocka_unit_test(test_nesting),
		cmocka_unit_test(test_sse_exception),
		cmocka_unit_test(test_ud),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_chain),
		cmocka_unit_test(test_threads),
	};

	return (cmocka_run_group_tests(tests, setup, NULL));
}
