/*
 * Runs the test guests (guests.mk) on an engine alone. Each prints
 * its own checks on COM1 and ends by an OUT to port F4h, 0 if all were good.
 */
#include <sys/mman.h>

#include <glob.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "../lib/bare.h"
#include "../lib/engine_options.h"
#include "engine/engine.h"

#define MEMORY		((size_t)32 << 20)
#define LOAD		0x8000
#define COM1		0x3f8
#define EXIT_PORT	0xf4
#define RUNS_MAX	2000000		/* exits before a guest is stuck */
#define SECONDS_MAX	20

static const struct engine_ops *ops;

/* --- a run ------------------------------------------------------------------------- */

struct watchdog {
	pthread_mutex_t	 w_lock;
	pthread_cond_t	 w_cond;
	bool		 w_done;
	struct engine_vcpu *w_vcpu;
};

static void *
watchdog(void *arg)
{
	struct watchdog *w = arg;
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += SECONDS_MAX;
	pthread_mutex_lock(&w->w_lock);
	while (!w->w_done && pthread_cond_timedwait(&w->w_cond, &w->w_lock,
	    &until) == 0)
		;
	if (!w->w_done)
		ops->eo_kick(w->w_vcpu);
	pthread_mutex_unlock(&w->w_lock);
	return (NULL);
}

struct output {
	char	o_text[65536];
	size_t	o_len;
};

/* The value that the guest wrote to the exit port; or -1, and why is in o. */
static int
run_guest(struct engine_vcpu *v, struct output *o)
{
	struct engine_run run = { .er_inject = -1 };
	struct vcpu_reg_state regs;
	unsigned n;

	for (n = 0; n < RUNS_MAX; n++) {
		assert_int_equal(ops->eo_run(v, &run), 0);
		if (run.er_exit != ENGINE_EXIT_IO) {
			ops->eo_getregs(v, VM_RWREGS_ALL, &regs);
			o->o_len += (size_t)snprintf(o->o_text + o->o_len,
			    sizeof(o->o_text) - o->o_len,
			    "# exit %d at %#llx\n", run.er_exit,
			    (unsigned long long)
			    regs.vrs_gprs[VCPU_REGS_RIP]);
			return (-1);
		}
		if (run.er_io.vei_dir == VEI_DIR_OUT &&
		    run.er_io.vei_port == EXIT_PORT)
			return ((int)run.er_io.vei_data);
		if (run.er_io.vei_dir == VEI_DIR_OUT &&
		    run.er_io.vei_port == COM1 &&
		    o->o_len < sizeof(o->o_text) - 128)
			o->o_text[o->o_len++] = (char)run.er_io.vei_data;
		/* other ports: what was read is the port's number */
		run = (struct engine_run){ .er_inject = -1,
		    .er_complete = true, .er_data = run.er_io.vei_port };
	}
	return (-1);
}

static void
guest(void **state)
{
	const char *path = *state;
	struct engine_range range = { .er_size = MEMORY };
	struct engine_vm_config config = { .ev_ranges = &range,
	    .ev_nranges = 1, .ev_tsc_khz = 1000000, .ev_writes_reported = true,
	    .ev_options = engine_options() };
	struct watchdog w = { .w_lock = PTHREAD_MUTEX_INITIALIZER,
	    .w_cond = PTHREAD_COND_INITIALIZER };
	struct output *o = calloc(1, sizeof(*o));
	struct vcpu_reg_state regs;
	struct engine_vm *vm;
	struct engine_vcpu *v;
	pthread_t thread;
	struct bare bare = { .b_cr8 = 0 };
	FILE *f;
	int result;

	assert_non_null(o);
	range.er_host = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(range.er_host, MAP_FAILED);
	assert_non_null(f = fopen(path, "re"));
	assert_true(fread(range.er_host + LOAD, 1, 0x40000, f) > 0);
	fclose(f);
	assert_int_equal(ops->eo_vm_new(&config, &vm), 0);
	assert_int_equal(ops->eo_vcpu_new(vm, 0, &bare_host, &bare, &v), 0);
	ops->eo_getregs(v, VM_RWREGS_ALL, &regs);
	regs.vrs_sregs[VCPU_REGS_CS].vsi_sel = 0;
	regs.vrs_sregs[VCPU_REGS_CS].vsi_base = 0;
	regs.vrs_gprs[VCPU_REGS_RIP] = LOAD;
	assert_int_equal(ops->eo_reset(v, &regs), 0);

	w.w_vcpu = v;
	pthread_create(&thread, NULL, watchdog, &w);
	result = run_guest(v, o);
	pthread_mutex_lock(&w.w_lock);
	w.w_done = true;
	pthread_cond_signal(&w.w_cond);
	pthread_mutex_unlock(&w.w_lock);
	pthread_join(thread, NULL);
	if (result != 0)
		fputs(o->o_text, stderr);	/* print_error() cuts it */
	assert_int_equal(result, 0);
	assert_non_null(strstr(o->o_text, "ok "));
	assert_null(strstr(o->o_text, "not ok "));

	ops->eo_vcpu_free(v);
	ops->eo_vm_free(vm);
	munmap(range.er_host, MEMORY);
	free(o);
}

int
main(void)
{
	const char *build = getenv("VMM_BUILD");
	struct CMUnitTest *tests;
	char pattern[4096];
	glob_t g;
	size_t n;
	int status;

	ops = engine_tested();
	snprintf(pattern, sizeof(pattern), "%s/guests/*.bin",
	    build != NULL ? build : "build");
	if (glob(pattern, 0, NULL, &g) != 0) {
		fprintf(stderr, "guests_test: no guests: %s\n", pattern);
		return (1);
	}
	if ((tests = calloc(g.gl_pathc, sizeof(*tests))) == NULL)
		return (1);
	for (n = 0; n < g.gl_pathc; n++) {
		tests[n].name = strrchr(g.gl_pathv[n], '/') + 1;
		tests[n].test_func = guest;
		tests[n].initial_state = g.gl_pathv[n];
	}
	status = _cmocka_run_group_tests("guests", tests, g.gl_pathc, NULL,
	    NULL);
	free(tests);
	globfree(&g);
	return (status);
}
