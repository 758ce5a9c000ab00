/*
 * The state of a whole machine, saved and loaded in place: the monitor's part
 * (VMM_IOC_STATE), then every row of the board (base/state.h says how).
 *
 * 1. All of it is done on the VCPU's thread, between two RUNs, while nothing
 *    else moves: the instruction at hand is finished, the disks have answered,
 *    and the loop's thread waits for us in hold(). So no timer fires and no
 *    frame comes in between two parts that belong together.
 * 2. What cannot be loaded leaves the machine as it was: a state of now is
 *    saved before, and loaded again if need be.
 * 3. Memory, what disks and networks hold, and console output on its way are
 *    not part of it, nor is a frame that waits for the guest's buffers: it is
 *    lost, as frames may be.
 *
 * Members: [h] m_hold_lock.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "machine/board.h"

#define VM_STATE_SIZE	(64u << 10)	/* the monitor's part, at most */
#define SETTLE_MAX	100000		/* exits of one instruction */
#define DIAG_NS		50000000ull	/* between two times */

/* What another thread has asked for, and waits for. */
struct state_job {
	struct state	 j_state;
	bool		 j_load;
	int		 j_done;	/* [h] 1, or -1: the machine has ended */
	struct err	 j_err;
};

/* --- the loop stands still -------------------------------------------------- */

/* On the loop: waits until it is let go. */
static void
loop_held(void *arg)
{
	struct machine *m = arg;

	pthread_mutex_lock(&m->m_hold_lock);
	if (m->m_hold == HOLD_ASKED)
		m->m_hold = HOLD_HELD;
	pthread_cond_broadcast(&m->m_hold_moved);
	while (m->m_hold == HOLD_HELD)
		pthread_cond_wait(&m->m_hold_moved, &m->m_hold_lock);
	pthread_mutex_unlock(&m->m_hold_lock);
}

/* False if it has ended. */
static bool
hold(struct machine *m)
{
	bool held;

	pthread_mutex_lock(&m->m_hold_lock);
	m->m_hold = HOLD_ASKED;
	if (loop_post(m->m_loop, loop_held, m) == 0)
		while (m->m_hold == HOLD_ASKED && !m->m_loop_over)
			pthread_cond_wait(&m->m_hold_moved, &m->m_hold_lock);
	held = m->m_hold == HOLD_HELD;
	if (!held)
		m->m_hold = HOLD_NOT;
	pthread_mutex_unlock(&m->m_hold_lock);
	return (held);
}

static void
let_go(struct machine *m)
{
	pthread_mutex_lock(&m->m_hold_lock);
	m->m_hold = HOLD_NOT;
	pthread_cond_broadcast(&m->m_hold_moved);
	pthread_mutex_unlock(&m->m_hold_lock);
}

void
state_loop_over(struct machine *m)
{
	pthread_mutex_lock(&m->m_hold_lock);
	m->m_loop_over = true;
	pthread_cond_broadcast(&m->m_hold_moved);
	pthread_mutex_unlock(&m->m_hold_lock);
}

/* --- the parts --------------------------------------------------------------- */

static void
vm_state(struct machine *m, struct state *s)
{
	struct vmm_state_params vsp = { .vsp_vm_id = m->m_id,
		.vsp_load = s->s_loading, .vsp_data = m->m_vm_state };
	uint32_t size = 0;

	state_begin(s, "monitor", 0, 1);
	if (!s->s_loading) {
		vsp.vsp_size = VM_STATE_SIZE;
		if (vmm_ioctl(m->m_vmm, VMM_IOC_STATE, &vsp) == -1)
			state_fail(s, errno, vsp.vsp_why);
		size = (uint32_t)vsp.vsp_size;
	}
	state_u32_max(s, &size, VM_STATE_SIZE);
	state_bytes(s, m->m_vm_state, size);
	vsp.vsp_size = size;
	if (state_loaded(s) &&
	    vmm_ioctl(m->m_vmm, VMM_IOC_STATE, &vsp) == -1)
		state_fail(s, errno, vsp.vsp_why);
	state_end(s);
}

/* What a machine is; then what is in it. */
static void
machine_state(struct machine *m, struct state *s)
{
	const struct machine_config *mc = &m->m_config;
	uint8_t ready = m->m_run.vrp_irqready;

	state_begin(s, "machine", 0, 1);
	state_same(s, "memory in bytes", mc->mc_memory);
	state_same(s, "number of disks", mc->mc_ndisks);
	state_same(s, "number of interfaces", mc->mc_nnics);
	state_same(s, "number of CD-ROM drives", mc->mc_cdrom != NULL);
	state_same(s, "number of firmwares", m->m_firmware != NULL);
	state_u8_max(s, &ready, 1);
	vm_state(m, s);
	board_state(m, s);
	if (state_loaded(s))
		m->m_run.vrp_irqready = ready;
	state_end(s);
	state_finish(s);
}

/*
 * Lets the VCPU finish the instruction that it is at, which may take exits.
 * False if the machine ends by that.
 */
static bool
finish_instruction(struct machine *m, struct err *err)
{
	struct vmm_kick_params vk = { .vk_vm_id = m->m_id };
	struct vmm_state_params vsp = { .vsp_vm_id = m->m_id,
		.vsp_data = m->m_vm_state };
	unsigned n;

	for (n = 0; n < SETTLE_MAX; n++) {
		vsp.vsp_size = VM_STATE_SIZE;
		if (m->m_run.vrp_continue == 0 &&
		    vmm_ioctl(m->m_vmm, VMM_IOC_STATE, &vsp) == 0)
			return (true);
		if (m->m_run.vrp_continue == 0 && errno != EBUSY) {
			err_set(err, "%s", vsp.vsp_why);
			return (false);
		}
		/* an engine may stop halfway for a kick: then without */
		if (n % 2 == 0)
			(void)vmm_ioctl(m->m_vmm, VMM_IOC_KICK, &vk);
		if (!run_step(m)) {
			err_set(err, "the machine has ended");
			return (false);
		}
	}
	err_set(err, "the guest's instruction does not end");
	return (false);
}

/* Everything but the VCPU's thread stands still; then let_go(). */
static bool
stand_still(struct machine *m, struct err *err)
{
	if (m->m_vm_state == NULL &&
	    (m->m_vm_state = malloc(VM_STATE_SIZE)) == NULL) {
		err_sys(err, "cannot save the machine's state");
		return (false);
	}
	if (!finish_instruction(m, err))
		return (false);
	board_settle(m);
	if (!hold(m)) {
		err_set(err, "the machine has ended");
		return (false);
	}
	return (true);
}

/* --- saving and loading -------------------------------------------------------- */

/* While everything stands still: 0 or -1. */
static int
save(struct machine *m, struct state *s, struct err *err)
{
	state_save(s);
	machine_state(m, s);
	if (state_ok(s))
		return (0);
	*err = s->s_err;
	state_free(s);
	return (-1);
}

static int
load(struct machine *m, struct state *s, struct err *err)
{
	struct state before, again;

	if (save(m, &before, err) == -1)
		return (-1);
	machine_state(m, s);
	if (!state_ok(s)) {
		*err = s->s_err;
		state_load(&again, before.s_data, before.s_size);
		machine_state(m, &again);
		if (!state_ok(&again))
			err_set(err, "%s; nor can that of before: %s",
			    s->s_err.e_text, again.s_err.e_text);
	}
	state_free(&before);
	return (state_ok(s) ? 0 : -1);
}

/* A job's end, by the VCPU's thread. */
static void
job_done(struct machine *m, int done)
{
	pthread_mutex_lock(&m->m_hold_lock);
	if (m->m_job != NULL)
		m->m_job->j_done = done;
	m->m_job = NULL;
	pthread_cond_broadcast(&m->m_hold_moved);
	pthread_mutex_unlock(&m->m_hold_lock);
}

void
state_work(struct machine *m)
{
	struct state_job *j;
	int done = -1;

	pthread_mutex_lock(&m->m_hold_lock);
	j = m->m_job;		/* stays until job_done() */
	pthread_mutex_unlock(&m->m_hold_lock);
	if (j == NULL)
		return;
	if (stand_still(m, &j->j_err)) {
		done = j->j_load ? load(m, &j->j_state, &j->j_err) :
		    save(m, &j->j_state, &j->j_err);
		let_go(m);
	}
	job_done(m, done == 0 ? 1 : -1);
}

void
state_end_work(struct machine *m)
{
	pthread_mutex_lock(&m->m_hold_lock);
	m->m_vcpu_over = true;
	if (m->m_job != NULL)
		err_set(&m->m_job->j_err, "the machine has ended");
	pthread_mutex_unlock(&m->m_hold_lock);
	job_done(m, -1);
}

static int
job(struct machine *m, struct state_job *j, struct err *err)
{
	pthread_mutex_lock(&m->m_hold_lock);
	while (m->m_job != NULL)
		pthread_cond_wait(&m->m_hold_moved, &m->m_hold_lock);
	if (!m->m_ran || m->m_vcpu_over) {
		pthread_mutex_unlock(&m->m_hold_lock);
		return (err_set(err, "the machine does not run"));
	}
	m->m_job = j;
	pthread_mutex_unlock(&m->m_hold_lock);
	run_request(m, REQUEST_STATE);
	pthread_mutex_lock(&m->m_hold_lock);
	while (j->j_done == 0)
		pthread_cond_wait(&m->m_hold_moved, &m->m_hold_lock);
	pthread_mutex_unlock(&m->m_hold_lock);
	if (j->j_done == 1)
		return (0);
	if (err != NULL)
		*err = j->j_err;
	return (-1);
}

int
machine_save(struct machine *m, void **data, size_t *size, struct err *err)
{
	struct state_job j = { .j_load = false };

	if (job(m, &j, err) == -1)
		return (-1);
	*data = j.j_state.s_data;
	*size = j.j_state.s_size;
	return (0);
}

int
machine_load(struct machine *m, const void *data, size_t size,
    struct err *err)
{
	struct state_job j = { .j_load = true };

	state_load(&j.j_state, data, size);
	return (job(m, &j, err));
}

/* --- diagnostics ------------------------------------------------------------------ */

/* On the loop. */
static void
diag_timer(void *arg)
{
	struct machine *m = arg;

	run_request(m, REQUEST_DIAG);
	if (--m->m_diag_left > 0)
		loop_timer_set(m->m_diag, loop_now() + DIAG_NS);
}

int
state_diag_new(struct machine *m)
{
	if (m->m_config.mc_diag_state == 0)
		return (0);
	m->m_diag_left = m->m_config.mc_diag_state;
	if ((m->m_diag = loop_timer_new(m->m_loop, diag_timer, m)) == NULL)
		return (-1);
	loop_timer_set(m->m_diag, loop_now() + DIAG_NS);
	return (0);
}

/* Saves all parts, makes each what it is at power-on, and loads them. */
static int
diag(struct machine *m, size_t *size, struct err *err)
{
	struct state s, l;
	int ret;

	if (save(m, &s, err) == -1)
		return (-1);
	*size = s.s_size;
	board_reset(m);
	if (run_reset_cpu(m) == -1)
		ret = err_sys(err, "cannot reset the CPU");
	else {
		state_load(&l, s.s_data, s.s_size);
		machine_state(m, &l);
		ret = l.s_error == 0 ? 0 : -1;
		*err = l.s_err;
	}
	state_free(&s);
	return (ret);
}

bool
state_diag(struct machine *m)
{
	uint64_t from = loop_now();
	size_t size = 0;
	int ret = -1;

	if (stand_still(m, &m->m_err)) {
		ret = diag(m, &size, &m->m_err);
		let_go(m);
	}
	if (ret == 0)
		log_say("%s: state: %zu bytes saved, reset and loaded in "
		    "%llu us", m->m_config.mc_name, size,
		    (unsigned long long)(loop_now() - from) / 1000);
	return (ret == 0);
}
