/*
 * The life of a virtual PC: a VM of vmm(4), its memory, its board, its threads.
 *
 * Threads: machine_new(), machine_run() and machine_free() are called by one
 * thread, whose signals stay its own: all threads made here block them.
 */
#include "machine/machine.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine/board.h"

#define DRAIN_STALL_MS	1000

static void
copy_name(char *to, size_t size, const char *from)
{
	size_t len = strnlen(from, size - 1);

	memcpy(to, from, len);
	to[len] = '\0';
}

static int
vm_engine(struct machine *m, struct err *err)
{
	struct vmm_engine_params ve = { .ve_name = "" };
	const char *name = m->m_config.mc_engine;

	if (name == NULL || strcmp(name, "auto") == 0)
		name = getenv("VMM_ENGINE");	/* as vmm_open() has it */
	if (name == NULL || name[0] == '\0')
		name = "auto";
	copy_name(ve.ve_name, sizeof(ve.ve_name), name);
	if (vmm_ioctl(m->m_vmm, VMM_IOC_ENGINE, &ve) == 0) {
		memcpy(m->m_engine, ve.ve_name, sizeof(m->m_engine));
		return (0);
	}
	if (errno == EINVAL)
		return (err_set(err, "%s; use --engine auto, kvm or soft",
		    ve.ve_why));
	if (errno == ENODEV)
		return (err_set(err, "the engine \"%s\" does not work here: "
		    "%s; use --engine auto", name, ve.ve_why));
	return (err_sys(err, "cannot use the engine \"%s\"", name));
}

/*
 * Lets the engine map the RAM in processes of its own. One that cannot, or a
 * monitor that does not know of it, runs the guest all the same.
 *
 * The engine waits for each stop of such a process. A SIGCHLD besides, blocked
 * in its thread, would wake up another one, on another CPU, to ignore it.
 */
static void
vm_share(struct machine *m)
{
	const struct guest_memory *gm = &m->m_memory;
	struct vmm_share_params vsh;
	struct sigaction sa;
	unsigned i;

	for (i = 0; i < gm->gm_nranges && m->m_ram != -1; i++) {
		vsh = (struct vmm_share_params){ .vsh_vm_id = m->m_id,
			.vsh_fd = m->m_ram,
			.vsh_offset = (uint64_t)(gm->gm_range[i].host -
			    gm->gm_range[0].host),
			.vsh_va = (vaddr_t)gm->gm_range[i].host,
			.vsh_size = gm->gm_range[i].size };
		(void)vmm_ioctl(m->m_vmm, VMM_IOC_SHARE, &vsh);
	}
	if (sigaction(SIGCHLD, NULL, &sa) == 0) {
		sa.sa_flags |= SA_NOCLDSTOP;
		(void)sigaction(SIGCHLD, &sa, NULL);
	}
}

/* The VM itself, with its extensions. */
static int
vm_new(struct machine *m, struct err *err)
{
	struct vm_create_params vcp = { .vcp_ncpus = 1 };
	struct vmm_enable_params ven;
	const struct guest_memory *gm = &m->m_memory;
	unsigned i;

	if ((m->m_vmm = vmm_open()) == -1)
		return (err_sys(err, "no CPU engine works on this host"));
	if (vm_engine(m, err) == -1)
		return (-1);
	vcp.vcp_nmemranges = gm->gm_nranges;
	for (i = 0; i < gm->gm_nranges; i++) {
		vcp.vcp_memranges[i].vmr_gpa = gm->gm_range[i].gpa;
		vcp.vcp_memranges[i].vmr_va =
		    (vaddr_t)gm->gm_range[i].host;
		vcp.vcp_memranges[i].vmr_size = gm->gm_range[i].size;
	}
	vcp.vcp_ndisks = m->m_config.mc_ndisks;
	for (i = 0; i < m->m_config.mc_ndisks; i++)
		copy_name(vcp.vcp_disks[i], sizeof(vcp.vcp_disks[i]),
		    m->m_config.mc_disk[i]);
	vcp.vcp_nnics = m->m_config.mc_nnics;
	copy_name(vcp.vcp_name, sizeof(vcp.vcp_name), m->m_config.mc_name);
	if (m->m_config.mc_kernel != NULL)
		copy_name(vcp.vcp_kernel, sizeof(vcp.vcp_kernel),
		    m->m_config.mc_kernel);
	if (vmm_ioctl(m->m_vmm, VMM_IOC_CREATE, &vcp) == -1)
		return (err_sys(err, "cannot create the VM"));
	m->m_id = vcp.vcp_id;
	ven.ven_vm_id = m->m_id;
	ven.ven_caps = VMM_CAP_ALL_PORTS | VMM_CAP_MMIO | VMM_CAP_APIC |
	    VMM_CAP_WRITTEN | VMM_CAP_NOREGS | VMM_CAP_PROMISE;
	if (vmm_ioctl(m->m_vmm, VMM_IOC_ENABLE, &ven) == -1)
		return (err_sys(err, "cannot enable the VM's extensions"));
	vm_share(m);
	return (0);
}

static int
machine_make(struct machine *m, struct err *err)
{
	if (firmware_open(&m->m_firmware, m->m_config.mc_kernel, err) == -1 ||
	    memory_new(m, err) == -1)
		return (-1);
	if ((m->m_loop = loop_new()) == NULL)
		return (err_sys(err, "cannot make an event loop"));
	m->m_clock = clock_host(m->m_loop);
	if (vm_new(m, err) == -1 || board_new(m, err) == -1)
		return (-1);
	m->m_made = true;
	if (state_diag_new(m) == -1)
		return (err_sys(err, "cannot make a timer"));
	if (run_power_on(m) == -1) {
		*err = m->m_err;
		return (-1);
	}
	return (0);
}

/*
 * Blocks signals for threads that are to have none, but for those that a
 * thread's own doing raises: one of these that is blocked ends the process,
 * and the engine lives on catching them.
 */
static void
signals_block(sigset_t *old)
{
	static const int own[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP,
	    SIGSYS };
	sigset_t set;
	unsigned i;

	sigfillset(&set);
	for (i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		sigdelset(&set, own[i]);
	pthread_sigmask(SIG_SETMASK, &set, old);
}

int
machine_new(struct machine **mp, const struct machine_config *mc,
    struct err *err)
{
	struct machine *m;
	sigset_t old;
	int ret;

	if ((m = calloc(1, sizeof(*m))) == NULL)
		return (err_sys(err, "cannot make a machine"));
	m->m_config = *mc;
	if (m->m_config.mc_append == NULL)
		m->m_config.mc_append = "";
	if (m->m_config.mc_name == NULL)
		m->m_config.mc_name = "vm";
	m->m_vmm = -1;
	m->m_ram = -1;
	pthread_mutex_init(&m->m_wire_lock, NULL);
	pthread_mutex_init(&m->m_hold_lock, NULL);
	pthread_cond_init(&m->m_hold_moved, NULL);
	signals_block(&old);
	if (mc->mc_trace != NULL &&
	    (m->m_trace = fopen(mc->mc_trace, "we")) == NULL)
		ret = err_sys(err, "cannot write %s", mc->mc_trace);
	else
		ret = machine_make(m, err);
	if (ret == 0)
		*mp = m;
	else
		machine_free(m);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return (ret);
}

enum machine_end
machine_run(struct machine *m, uint32_t *value, struct err *err)
{
	sigset_t old;
	int error;

	signals_block(&old);
	/* set before the thread runs: nobody else reads it until then */
	m->m_ran = true;
	error = pthread_create(&m->m_thread, NULL, run_vcpu_thread, m);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error != 0) {
		m->m_ran = false;
		errno = error;
		err_sys(err, "cannot start the VCPU's thread");
		return (MACHINE_ERROR);
	}
	error = loop_run(m->m_loop) == -1 ? errno : 0;
	/* the VCPU ended, somebody stopped us, or the host failed */
	state_loop_over(m);
	run_request(m, REQUEST_STOP);
	pthread_join(m->m_thread, NULL);
	m->m_ran = false;
	(void)ns8250_drain(m->m_com1, DRAIN_STALL_MS);
	if (error != 0) {
		errno = error;
		err_sys(err, "the event loop failed");
		return (MACHINE_ERROR);
	}
	if (value != NULL)
		*value = atomic_load(&m->m_exit_value);
	if ((m->m_end == MACHINE_ERROR || m->m_end == MACHINE_CRASH) &&
	    err != NULL)
		*err = m->m_err;
	return (m->m_end);
}

void
machine_ask_stop(struct machine *m)
{
	acpi_pm_button(m->m_pm);
	vmmci_shutdown(m->m_vmmci);
}

enum machine_asked
machine_asked(struct machine *m)
{
	static const enum machine_asked buttons[] = {
		[ACPI_BUTTON_OFF] = MACHINE_DEAF,
		[ACPI_BUTTON_WAITS] = MACHINE_ASKED,
		[ACPI_BUTTON_SEEN] = MACHINE_ANSWERED
	}, guests[] = {
		[VMMCI_ABSENT] = MACHINE_DEAF,
		[VMMCI_LISTENS] = MACHINE_ASKED,
		[VMMCI_SEEN] = MACHINE_ANSWERED
	};
	enum machine_asked button = buttons[acpi_pm_button_state(m->m_pm)];
	enum machine_asked guest = guests[vmmci_guest(m->m_vmmci)];

	return (button > guest ? button : guest);
}

void
machine_stats(struct machine *m)
{
	run_request(m, REQUEST_STATS);
}

int
machine_pause(struct machine *m)
{
	if (!m->m_ran)
		return (-1);
	run_request(m, REQUEST_PAUSE);
	return (run_wait_parked(m) ? 0 : -1);
}

void
machine_unpause(struct machine *m)
{
	run_unpark(m);
	vmmci_sync(m->m_vmmci);
}

void
machine_stop(struct machine *m)
{
	loop_stop(m->m_loop);
}

struct loop *
machine_loop(struct machine *m)
{
	return (m->m_loop);
}

const char *
machine_engine(const struct machine *m)
{
	return (m->m_engine);
}

uint32_t
machine_vm_id(const struct machine *m)
{
	return (m->m_id);
}

void
machine_free(struct machine *m)
{
	struct vm_terminate_params vtp;

	if (m == NULL)
		return;
	if (m->m_made)
		board_free(m);
	if (m->m_id != 0) {
		vtp.vtp_vm_id = m->m_id;
		(void)vmm_ioctl(m->m_vmm, VMM_IOC_TERM, &vtp);
	}
	if (m->m_vmm != -1)
		vmm_close(m->m_vmm);
	loop_timer_free(m->m_diag);
	loop_free(m->m_loop);
	if (m->m_trace != NULL)
		fclose(m->m_trace);
	memory_free(m);
	firmware_free(m->m_firmware);
	pthread_cond_destroy(&m->m_hold_moved);
	pthread_mutex_destroy(&m->m_hold_lock);
	pthread_mutex_destroy(&m->m_wire_lock);
	free(m->m_vm_state);
	free(m);
}
