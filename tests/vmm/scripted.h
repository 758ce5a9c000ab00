/*
 * One VM on the scripted engine (../lib/fake_engine.h), for tests of
 * VMM_IOC_RUN: each test program is one client with one VM at a time, which is
 * why all this is static.
 */
#ifndef TESTS_SCRIPTED_H
#define TESTS_SCRIPTED_H

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include <cmocka.h>

#include "../lib/client.h"
#include "../lib/fake_engine.h"
#include "vmm/monitor.h"

const struct engine_row engine_table[] = {
	{ &fake_engine, 4 },
	{ NULL, 0 }
};

static int fd = -1;

/* The VM of a test. */
static struct vm_create_params vcp;
static struct vm_run_params vrp;
static struct vmm_exit vx;

static void
begin(uint32_t caps, const struct fake_step *script, size_t n)
{
	client_params(&vcp, 1, "run");
	client_create(fd, &vcp, caps);
	memset(&vx, 0, sizeof(vx));
	fake_play(script, n);
}

static void
end(void)
{
	client_end(fd, &vcp);
	assert_int_equal(atomic_load(&fake_vms), 0);
	assert_int_equal(atomic_load(&fake_vcpus), 0);
}

/* RUN with an interrupt and/or an answer. */
static int
run(unsigned irq, bool answer)
{
	memset(&vrp, 0, sizeof(vrp));
	vrp.vrp_vm_id = vcp.vcp_id;
	vrp.vrp_irq = (uint16_t)irq;
	vrp.vrp_continue = answer;
	vrp.vrp_exit = &vx.vx_exit;
	return (client_do(fd, VMM_IOC_RUN, &vrp));
}

#define NONE	0xffff
#define PLAY(...)							\
	(const struct fake_step []){ __VA_ARGS__ },			\
	sizeof((const struct fake_step []){ __VA_ARGS__ }) /		\
	    sizeof(struct fake_step)
#define EXIT(reason, ...)						\
	{ .fs_op = FAKE_EXIT, .fs_run = { .er_exit = ENGINE_EXIT_##reason, \
	    ##__VA_ARGS__ } }
#define OUT(port, size, data)						\
	EXIT(IO, .er_io = { .vei_size = (size), .vei_dir = VEI_DIR_OUT,	\
	    .vei_port = (port), .vei_data = (data) })
#define IN(port, size)							\
	EXIT(IO, .er_io = { .vei_size = (size), .vei_dir = VEI_DIR_IN,	\
	    .vei_port = (port) })
#define DO(op, ...)	{ .fs_op = FAKE_##op, ##__VA_ARGS__ }

static uint8_t
vcpu_state(void)
{
	struct vm_info_result vir;

	assert_int_equal(client_info(fd, vcp.vcp_id, &vir), 0);
	return (vir.vir_vcpu_state[0]);
}

/* INTR: the line of the client's PIC. */
static int
intr(int level)
{
	struct vm_intr_params vip = { vcp.vcp_id, 0, (uint16_t)level };

	return (client_do(fd, VMM_IOC_INTR, &vip));
}

/* --- from other threads -------------------------------------------------- */

static pthread_t runner;

static void *
runner_main(void *arg)
{
	(void)arg;
	return ((void *)(intptr_t)run(NONE, false));
}

/* RUN on a thread of its own, in the guest when this returns. */
static void
run_begin(void)
{
	size_t before = atomic_load(&fake_nruns);

	assert_int_equal(pthread_create(&runner, NULL, runner_main, NULL), 0);
	while (atomic_load(&fake_nruns) == before)
		client_sleep_ms(1);
}

static int
run_end(void)
{
	void *result;

	assert_int_equal(pthread_join(runner, &result), 0);
	return ((int)(intptr_t)result);
}

/* --- signals ------------------------------------------------------------- */

static volatile sig_atomic_t handled;
static uint16_t handled_reason;

static void
on_alarm(int signo)
{
	(void)signo;
	handled++;
	/* RUN's results are in place when the handler runs. */
	handled_reason = vrp.vrp_exit_reason;
}

/* SIGALRM every so often, lest one that comes too early be the only one; 0
 * ends it. */
static void
alarm_ms(unsigned ms)
{
	const struct timeval tv = { 0, (suseconds_t)ms * 1000 };
	const struct itimerval it = { tv, tv };

	setitimer(ITIMER_REAL, &it, NULL);
}

/* --- the group's ---------------------------------------------------------- */

static int
setup(void **state)
{
	(void)state;
	unsetenv("VMM_ENGINE");
	fd = vmm_open();
	return (fd == -1);
}

#endif
