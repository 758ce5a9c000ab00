/*
 * Running the VCPU: RUN, then the exit's row in the table at the end, again
 * and again; and what chips and the user asked of the machine in between.
 *
 * 1. One thread owns the VCPU from machine_run() on. Everything that needs a
 *    standing machine (reset, end) is done on it, between two RUNs.
 * 2. A request is a bit in m_request, set by anybody, who then kicks the VCPU.
 *    Bits are only cleared here.
 * 3. A vector is taken from the i8259 only right before a RUN whose
 *    predecessor said irqready, so that none is lost (vmm(4)).
 */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/hostfault.h"
#include "base/log.h"
#include "machine/board.h"
#include "machine/mptable.h"

#define NO_IRQ		0xffff

/* What an exit handler wants next. */
enum next { NEXT_RUN, NEXT_END };

static enum next
end(struct machine *m, enum machine_end how)
{
	m->m_end = how;
	return (NEXT_END);
}

static void
futex(atomic_uint *word, int op, unsigned value)
{
	(void)syscall(SYS_futex, word, op, value, NULL, NULL, 0);
}

void
run_request(struct machine *m, unsigned request)
{
	struct vmm_kick_params vk = { .vk_vm_id = m->m_id };

	atomic_fetch_or(&m->m_request, request);
	futex(&m->m_request, FUTEX_WAKE_PRIVATE, INT_MAX);
	if (m->m_id != 0)
		(void)vmm_ioctl(m->m_vmm, VMM_IOC_KICK, &vk);
}

/* The kernel, what it is given, and the CPU's state to enter it. */
static int
load_kernel(struct machine *m, struct vcpu_reg_state *regs)
{
	struct acpi_config ac = board_acpi(m);
	struct boot boot = {
		.b_memory = &m->m_memory,
		.b_kernel = m->m_config.mc_kernel,
		.b_initrd = m->m_config.mc_initrd,
		.b_ninitrds = m->m_config.mc_ninitrds,
		.b_append = m->m_config.mc_append,
		.b_map = m->m_memmap,
		.b_nmap = m->m_nmemmap
	};

	boot.b_rsdp = acpi_write(&ac, &m->m_memory);
	if (boot_load(&boot, &m->m_err) == -1)
		return (-1);
	/* a kernel that has loaded something there does not miss it */
	if (boot_take(&boot, MPTABLE_AREA, MPTABLE_SIZE) == 0)
		(void)mptable_write(&ac, &m->m_memory);
	gpa_written(&m->m_memory, 0, m->m_memory.gm_range[0].size);
	*regs = boot.b_regs;
	return (0);
}

int
run_power_on(struct machine *m)
{
	struct vm_resetcpu_params vrp = { .vrp_vm_id = m->m_id };

	board_reset(m);
	memory_clear(m);
	if (m->m_firmware != NULL)
		firmware_load(m->m_firmware, &m->m_memory,
		    &vrp.vrp_init_state);
	else if (load_kernel(m, &vrp.vrp_init_state) == -1)
		return (-1);
	if (vmm_ioctl(m->m_vmm, VMM_IOC_RESETCPU, &vrp) == -1)
		return (err_sys(&m->m_err, "cannot reset the CPU"));
	m->m_run.vrp_irqready = 0;
	m->m_run.vrp_continue = 0;
	return (0);
}

static enum next exit_handle(struct machine *);
static void	report_exits(struct machine *);

static enum next
reset(struct machine *m, enum machine_end how)
{
	atomic_fetch_and(&m->m_request, ~REQUEST_RESET);
	if (m->m_config.mc_no_reboot || (m->m_config.mc_reset != NULL &&
	    !m->m_config.mc_reset(m->m_config.mc_reset_arg)))
		return (end(m, how));
	log_info("%s: reset", m->m_config.mc_name);
	return (run_power_on(m) == -1 ? end(m, MACHINE_ERROR) : NEXT_RUN);
}

/* What the VCPU's thread did; then the engine's own counts. */
static void
report(struct machine *m)
{
	char text[8192] = "", *line, *next;
	struct vmm_stats_params vst = { .vst_vm_id = m->m_id,
	    .vst_text = text, .vst_textlen = sizeof(text) };
	struct timespec ts;
	double seconds;

	if (vmm_ioctl(m->m_vmm, VMM_IOC_STATS, &vst) == -1 ||
	    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts) == -1)
		return;
	seconds = (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
	log_say("%s: %.2f s of CPU time, %llu exits", m->m_config.mc_name,
	    seconds, (unsigned long long)vst.vst_exits);
	report_exits(m);
	for (line = text; *line != '\0'; line = next) {
		next = line + strcspn(line, "\n");
		if (*next != '\0')
			*next++ = '\0';
		log_say("%s: %s", m->m_config.mc_name, line);
	}
}

static void
parked(struct machine *m, enum parked how)
{
	atomic_store(&m->m_parked, how);
	futex(&m->m_parked, FUTEX_WAKE_PRIVATE, INT_MAX);
}

/*
 * Stands still until another request comes, or the one to do so is taken back.
 * The guest's clocks go on: it comes back to the right time, and is told that
 * it was away.
 */
static void
park(struct machine *m, unsigned request)
{
	struct vmm_paused_params vpd = { .vpd_vm_id = m->m_id };

	parked(m, PARKED_YES);
	while (atomic_load(&m->m_request) == request)
		futex(&m->m_request, FUTEX_WAIT_PRIVATE, request);
	parked(m, PARKED_NO);
	(void)vmm_ioctl(m->m_vmm, VMM_IOC_PAUSED, &vpd);
}

bool
run_wait_parked(struct machine *m)
{
	unsigned p;

	while ((p = atomic_load(&m->m_parked)) == PARKED_NO)
		futex(&m->m_parked, FUTEX_WAIT_PRIVATE, p);
	return (p == PARKED_YES);
}

void
run_unpark(struct machine *m)
{
	atomic_fetch_and(&m->m_request, ~(unsigned)REQUEST_PAUSE);
	futex(&m->m_request, FUTEX_WAKE_PRIVATE, INT_MAX);
}

/* Carries out what was asked for; the strongest wish first. */
static enum next
requests(struct machine *m)
{
	unsigned request = atomic_load(&m->m_request);

	if (request & REQUEST_EXIT)
		return (end(m, MACHINE_EXIT_PORT));
	if (request & REQUEST_OFF)
		return (end(m, MACHINE_POWEROFF));
	if (request & REQUEST_STOP)
		return (end(m, MACHINE_STOPPED));
	if (request & REQUEST_STATS) {
		atomic_fetch_and(&m->m_request, ~REQUEST_STATS);
		report(m);
	}
	if (request & REQUEST_STATE) {
		atomic_fetch_and(&m->m_request, ~(unsigned)REQUEST_STATE);
		state_work(m);
		return (m->m_over ? NEXT_END : NEXT_RUN);
	}
	if (request & REQUEST_DIAG) {
		atomic_fetch_and(&m->m_request, ~(unsigned)REQUEST_DIAG);
		if (!state_diag(m))
			return (m->m_over ? NEXT_END :
			    end(m, MACHINE_ERROR));
		return (NEXT_RUN);
	}
	if (request & REQUEST_PAUSE) {
		park(m, request & ~(unsigned)REQUEST_STATS);
		return (NEXT_RUN);
	}
	if (request & REQUEST_RESET)
		return (reset(m, MACHINE_RESET));
	return (NEXT_RUN);
}

/* --- exits --------------------------------------------------------------- */

static enum next
exit_io(struct machine *m)
{
	struct vm_exit_inout *vei = &m->m_exit.vx_exit.vei;

	if (vei->vei_dir == VEI_DIR_IN) {
		vei->vei_data = (uint32_t)bus_read(m->m_ports, vei->vei_port,
		    vei->vei_size);
		m->m_run.vrp_continue = 1;
	} else
		bus_write(m->m_ports, vei->vei_port, vei->vei_size,
		    vei->vei_data);
	return (NEXT_RUN);
}

static enum next
exit_memory(struct machine *m)
{
	struct vmm_exit *vx = &m->m_exit;

	if (vx->vx_exit.vee.vee_fault_type != VEE_FAULT_MMIO) {
		err_set(&m->m_err, "access to protected memory at 0x%llx",
		    (unsigned long long)vx->vx_mmio_gpa);
		return (end(m, MACHINE_ERROR));
	}
	if (vx->vx_mmio_dir == VEI_DIR_IN) {
		vx->vx_mmio_data = bus_read(m->m_mmio, vx->vx_mmio_gpa,
		    vx->vx_mmio_size);
		m->m_run.vrp_continue = 1;
	} else
		bus_write(m->m_mmio, vx->vx_mmio_gpa, vx->vx_mmio_size,
		    vx->vx_mmio_data);
	return (NEXT_RUN);
}

/* Only comes out of RUN if nothing can ever wake the VCPU. */
static enum next
exit_hlt(struct machine *m)
{
	return (end(m, MACHINE_POWEROFF));
}

/* Leaves in m_err where the CPU was. */
static void
crash_describe(struct machine *m)
{
	struct vm_rwregs_params vrwp = { .vrwp_vm_id = m->m_id,
		.vrwp_mask = VM_RWREGS_ALL };
	const struct vcpu_reg_state *r = &vrwp.vrwp_regs;

	if (vmm_ioctl(m->m_vmm, VMM_IOC_READREGS, &vrwp) == -1)
		return;
	err_set(&m->m_err, "triple fault at %x:%llx, rsp %llx, cr0 %llx, "
	    "cr2 %llx, cr3 %llx, cr4 %llx, efer %llx",
	    r->vrs_sregs[VCPU_REGS_CS].vsi_sel,
	    (unsigned long long)r->vrs_gprs[VCPU_REGS_RIP],
	    (unsigned long long)r->vrs_gprs[VCPU_REGS_RSP],
	    (unsigned long long)r->vrs_crs[VCPU_REGS_CR0],
	    (unsigned long long)r->vrs_crs[VCPU_REGS_CR2],
	    (unsigned long long)r->vrs_crs[VCPU_REGS_CR3],
	    (unsigned long long)r->vrs_crs[VCPU_REGS_CR4],
	    (unsigned long long)r->vrs_msrs[VCPU_REGS_EFER]);
}

static enum next
exit_triple_fault(struct machine *m)
{
	crash_describe(m);
	log_info("%s: %s", m->m_config.mc_name, m->m_err.e_text);
	return (reset(m, MACHINE_CRASH));
}

static enum next
exit_go_on(struct machine *m)
{
	(void)m;
	return (NEXT_RUN);
}

static enum next
exit_terminated(struct machine *m)
{
	return (end(m, MACHINE_TERMINATED));
}

static enum next
exit_unknown(struct machine *m)
{
	err_set(&m->m_err, "the VCPU left with reason %u, which is unknown",
	    m->m_run.vrp_exit_reason);
	return (end(m, MACHINE_ERROR));
}


/* --- the thread ---------------------------------------------------------- */

static enum next
run_once(struct machine *m)
{
	struct vm_run_params *vrp = &m->m_run;

	vrp->vrp_irq = NO_IRQ;
	if (vrp->vrp_irqready && i8259_pending(m->m_pic))
		vrp->vrp_irq = i8259_ack(m->m_pic);
	if (vmm_ioctl(m->m_vmm, VMM_IOC_RUN, vrp) == -1) {
		if (errno == ENOENT)	/* ended from elsewhere, and gone */
			return (end(m, MACHINE_TERMINATED));
		err_sys(&m->m_err, "the VCPU cannot go on");
		return (end(m, MACHINE_ERROR));
	}
	vrp->vrp_continue = 0;
	return (exit_handle(m));
}

bool
run_step(struct machine *m)
{
	if (run_once(m) == NEXT_END)
		m->m_over = true;
	return (!m->m_over);
}

int
run_reset_cpu(struct machine *m)
{
	struct vm_resetcpu_params vrp = { .vrp_vm_id = m->m_id };
	struct vcpu_reg_state *r = &vrp.vrp_init_state;
	unsigned i;

	/* SDM vol. 3A table 9-1 */
	r->vrs_gprs[VCPU_REGS_RIP] = 0xfff0;
	r->vrs_gprs[VCPU_REGS_RFLAGS] = 0x2;
	r->vrs_crs[VCPU_REGS_CR0] = 0x60000010;
	r->vrs_crs[VCPU_REGS_XCR0] = 1;
	r->vrs_drs[VCPU_REGS_DR6] = 0xffff0ff0;
	r->vrs_drs[VCPU_REGS_DR7] = 0x400;
	for (i = 0; i < VCPU_REGS_NSREGS; i++)
		r->vrs_sregs[i] = (struct vcpu_segment_info){
			.vsi_limit = 0xffff, .vsi_ar = 0x93 };
	r->vrs_sregs[VCPU_REGS_CS] = (struct vcpu_segment_info){
		.vsi_sel = 0xf000, .vsi_limit = 0xffff, .vsi_ar = 0x9b,
		.vsi_base = 0xffff0000 };
	r->vrs_sregs[VCPU_REGS_LDTR].vsi_ar = 0x82;
	r->vrs_sregs[VCPU_REGS_TR].vsi_ar = 0x8b;
	r->vrs_gdtr.vsi_limit = r->vrs_idtr.vsi_limit = 0xffff;
	if (vmm_ioctl(m->m_vmm, VMM_IOC_RESETCPU, &vrp) == -1)
		return (-1);
	m->m_run.vrp_irqready = 0;
	m->m_run.vrp_continue = 0;
	return (0);
}

void *
run_vcpu_thread(void *arg)
{
	struct machine *m = arg;
	enum next next = NEXT_RUN;
	bool stack;

	/* An engine that needs one gives it to the thread for each RUN else. */
	stack = hostfault_stack(m->m_sigstack, sizeof(m->m_sigstack));
	m->m_run = (struct vm_run_params){ .vrp_vm_id = m->m_id,
		.vrp_exit = &m->m_exit.vx_exit };
	while (next == NEXT_RUN) {
		if (atomic_load(&m->m_request) != 0)
			next = requests(m);
		else
			next = run_once(m);
	}
	parked(m, PARKED_ENDED);
	state_end_work(m);
	if (m->m_config.mc_stats)
		report(m);
	if (stack)
		hostfault_stack_end();
	loop_stop(m->m_loop);
	return (NULL);
}

/* --- what to do when RUN returns ------------------------------------------ */

static const struct exit_row {
	uint16_t	er_reason;
	enum next	(*er_handle)(struct machine *);
	const char	*er_name;
} exits[BOARD_EXITS] = {
	{ VMX_EXIT_IO,			exit_io,	"port" },
	{ VMX_EXIT_EPT_VIOLATION,	exit_memory,	"device memory" },
	/* vrp_irqready is 1 */
	{ VMX_EXIT_INT_WINDOW,		exit_go_on,	"interrupt window" },
	{ VM_EXIT_NONE,			exit_go_on,	"kicked" },
	{ VMX_EXIT_HLT,			exit_hlt,	"halted for ever" },
	{ VMX_EXIT_TRIPLE_FAULT,	exit_triple_fault, "triple fault" },
	{ VM_EXIT_TERMINATED,		exit_terminated, "terminated" },
};

/* --trace: an exit, before anything is done about it. */
static void
exit_trace(struct machine *m, const struct exit_row *er)
{
	const struct vmm_exit *vx = &m->m_exit;
	const struct vm_exit_inout *vei = &vx->vx_exit.vei;
	FILE *f = m->m_trace;

	fprintf(f, "%.6f %s",
	    (double)m->m_clock.c_ops->co_now(&m->m_clock) / 1e9, er->er_name);
	if (er->er_reason == VMX_EXIT_IO && vei->vei_dir == VEI_DIR_OUT)
		fprintf(f, " %#x.%u <- %#x", vei->vei_port, vei->vei_size,
		    vei->vei_data);
	else if (er->er_reason == VMX_EXIT_IO)
		fprintf(f, " %#x.%u ->", vei->vei_port, vei->vei_size);
	else if (er->er_reason == VMX_EXIT_EPT_VIOLATION &&
	    vx->vx_mmio_dir == VEI_DIR_OUT)
		fprintf(f, " %#llx.%u <- %#llx",
		    (unsigned long long)vx->vx_mmio_gpa, vx->vx_mmio_size,
		    (unsigned long long)vx->vx_mmio_data);
	else if (er->er_reason == VMX_EXIT_EPT_VIOLATION)
		fprintf(f, " %#llx.%u ->",
		    (unsigned long long)vx->vx_mmio_gpa, vx->vx_mmio_size);
	fputc('\n', f);
}

static enum next
exit_handle(struct machine *m)
{
	size_t i;

	for (i = 0; i < BOARD_EXITS; i++)
		if (exits[i].er_reason == m->m_run.vrp_exit_reason) {
			m->m_exits[i]++;
			if (m->m_trace != NULL)
				exit_trace(m, &exits[i]);
			return (exits[i].er_handle(m));
		}
	return (exit_unknown(m));
}

static void
report_exits(struct machine *m)
{
	size_t i;

	for (i = 0; i < BOARD_EXITS; i++)
		if (m->m_exits[i] != 0)
			log_say("%s: exits, %s: %llu", m->m_config.mc_name,
			    exits[i].er_name,
			    (unsigned long long)m->m_exits[i]);
}
