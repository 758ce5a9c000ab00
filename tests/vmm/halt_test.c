/*
 * VMM_IOC_RUN on a scripted engine, of a VM with APICs: HLT waits inside RUN,
 * and what ends the wait.
 */
#include "scripted.h"

#define FL_IF	0x200

#define APIC(reg, value)						\
	DO(MMIO, .fs_run.er_mmio = { .gpa = 0xfee00000 + (reg),		\
	    .data = (value), .size = 4, .write = true })
#define IOAPIC(reg, value)						\
	DO(MMIO, .fs_run.er_mmio = { .gpa = 0xfec00000, .data = (reg),	\
	    .size = 4, .write = true }),				\
	DO(MMIO, .fs_run.er_mmio = { .gpa = 0xfec00010, .data = (value), \
	    .size = 4, .write = true })
#define APIC_ON		APIC(0xf0, 0x1ff)

/* How often the engine was given this vector. */
static unsigned
injected(int vector)
{
	size_t i, n = atomic_load(&fake_nentries);
	unsigned count = 0;

	for (i = 0; i < n && i < FAKE_ENTRIES; i++)
		count += fake_entries[i].fe_inject == vector;
	return (count);
}

static void
test_halt_irqline(void **state)
{
	struct vmm_irqline_params vil;

	(void)state;
	/* Pin 5, edge, vector 0x45, to APIC 0. */
	begin(VMM_CAP_APIC, PLAY(APIC_ON, IOAPIC(0x1b, 0), IOAPIC(0x1a, 0x45),
	    DO(STI), EXIT(HLT), OUT(0x20, 1, 9)));
	run_begin();
	client_sleep_ms(20);
	assert_int_equal(vcpu_state(), VCPU_STATE_RUNNING);
	vil.vil_vm_id = vcp.vcp_id;
	vil.vil_line = 5;
	vil.vil_level = 1;
	assert_int_equal(client_do(fd, VMM_IOC_IRQLINE, &vil), 0);
	assert_int_equal(run_end(), 0);
	assert_int_equal(vrp.vrp_exit_reason, VMX_EXIT_IO);
	assert_int_equal(vx.vx_exit.vei.vei_data, 9);
	assert_int_equal(injected(0x45), 1);
	end();
}

static void
test_halt_timer(void **state)
{
	uint64_t start = client_now_ms();

	(void)state;
	/* Divide by 1, vector 0x60, 30 ms; then again while in the guest. */
	begin(VMM_CAP_APIC, PLAY(APIC_ON, APIC(0x3e0, 0xb), APIC(0x320, 0x60),
	    DO(STI), APIC(0x380, 30000000), EXIT(HLT),
	    APIC(0xb0, 0), DO(STI), APIC(0x380, 30000000), DO(SPIN),
	    OUT(0x20, 1, 9)));
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(vrp.vrp_exit_reason, VMX_EXIT_IO);
	assert_true(client_now_ms() - start >= 60);
	assert_int_equal(injected(0x60), 2);
	end();
}

static void
test_halt_extint(void **state)
{
	(void)state;
	/* Virtual wire: INTR wakes a HLT, the vector comes with the next RUN. */
	begin(VMM_CAP_APIC, PLAY(DO(STI), EXIT(HLT), OUT(0x20, 1, 9)));
	run_begin();
	client_sleep_ms(5);
	assert_int_equal(intr(1), 0);
	assert_int_equal(run_end(), 0);
	assert_int_equal(vrp.vrp_exit_reason, VMX_EXIT_INT_WINDOW);
	assert_int_equal(vrp.vrp_irqready, 1);
	assert_int_equal(intr(0), 0);
	assert_int_equal(run(0x21, false), 0);
	assert_int_equal(injected(0x21), 1);
	assert_int_equal(vx.vx_exit.vei.vei_data, 9);
	end();
	/* LINT0 masked: nothing of it. */
	begin(VMM_CAP_APIC, PLAY(APIC_ON, APIC(0x350, 0x10700), DO(STI),
	    OUT(0x20, 1, 9)));
	assert_int_equal(intr(1), 0);
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(vrp.vrp_exit_reason, VMX_EXIT_INT_WINDOW + 23);
	assert_int_equal(vrp.vrp_irqready, 0);
	end();
}

static void
test_halt_wakes(void **state)
{
	struct sigaction sa = { .sa_handler = on_alarm }, old;
	struct vmm_kick_params vk = { 0, 0 };
	struct vm_rwregs_params regs = { 0 };
	struct vm_terminate_params vtp;

	(void)state;
	sigaction(SIGALRM, &sa, &old);
	begin(VMM_CAP_APIC, PLAY(DO(STI), EXIT(HLT), OUT(0x20, 1, 9)));
	vk.vk_vm_id = vtp.vtp_vm_id = regs.vrwp_vm_id = vcp.vcp_id;
	/* A signal, and it stays halted. */
	handled = 0;
	alarm_ms(20);
	assert_int_equal(run(NONE, false), 0);
	alarm_ms(0);
	assert_int_equal(vrp.vrp_exit_reason, VM_EXIT_NONE);
	assert_true(handled >= 1);
	assert_int_equal(atomic_load(&fake_nentries), 1);
	/* A kick, before and during. */
	assert_int_equal(client_do(fd, VMM_IOC_KICK, &vk), 0);
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(vrp.vrp_exit_reason, VM_EXIT_NONE);
	assert_int_equal(pthread_create(&runner, NULL, runner_main, NULL), 0);
	client_sleep_ms(10);
	/* Registers can be read while it sleeps, which goes on. */
	regs.vrwp_mask = VM_RWREGS_ALL;
	assert_int_equal(client_do(fd, VMM_IOC_READREGS, &regs), 0);
	client_sleep_ms(10);
	assert_int_equal(vcpu_state(), VCPU_STATE_RUNNING);
	assert_int_equal(client_do(fd, VMM_IOC_KICK, &vk), 0);
	assert_int_equal(run_end(), 0);
	assert_int_equal(vrp.vrp_exit_reason, VM_EXIT_NONE);
	assert_int_equal(atomic_load(&fake_nentries), 1);
	/* TERM. */
	assert_int_equal(pthread_create(&runner, NULL, runner_main, NULL), 0);
	client_sleep_ms(10);
	assert_int_equal(client_do(fd, VMM_IOC_TERM, &vtp), 0);
	assert_int_equal(run_end(), 0);
	assert_int_equal(vrp.vrp_exit_reason, VM_EXIT_TERMINATED);
	end();
	sigaction(SIGALRM, &old, NULL);
}

static void
test_halt_for_ever(void **state)
{
	(void)state;
	begin(VMM_CAP_APIC, PLAY(EXIT(HLT), OUT(0x20, 1, 9)));
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(vrp.vrp_exit_reason, VMX_EXIT_HLT);
	assert_int_equal(vx.vx_exit.vrs.vrs_gprs[VCPU_REGS_RFLAGS] & FL_IF, 0);
	assert_int_equal(vcpu_state(), VCPU_STATE_STOPPED);
	/* May be called again, to the same end. */
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(vrp.vrp_exit_reason, VMX_EXIT_HLT);
	assert_int_equal(atomic_load(&fake_nentries), 1);
	end();
}

/* A vector that waits for IF goes in when it opens. */
static void
test_apic_window(void **state)
{
	(void)state;
	begin(VMM_CAP_APIC, PLAY(APIC_ON,
	    APIC(0x300, 0x40000 | 0x77),	/* self, fixed */
	    DO(STI), OUT(0x20, 1, 9)));
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(vx.vx_exit.vei.vei_data, 9);
	assert_int_equal(injected(0x77), 1);
	end();
}

static void *
sipi_runner(void *arg)
{
	struct vm_run_params *p = arg;

	return ((void *)(intptr_t)client_do(fd, VMM_IOC_RUN, p));
}

/* VCPU 1 waits for INIT and SIPI, and starts where it is told. */
static void
test_sipi(void **state)
{
	struct vm_run_params ap = { 0 };
	struct vm_exit ve;
	struct vmm_kick_params vk = { 0, 1 };
	size_t runs = atomic_load(&fake_nruns);
	void *result;

	(void)state;
	client_params(&vcp, 1, "smp");
	vcp.vcp_ncpus = 2;
	client_create(fd, &vcp, VMM_CAP_APIC);
	ap.vrp_vm_id = vk.vk_vm_id = vcp.vcp_id;
	ap.vrp_vcpu_id = 1;
	ap.vrp_irq = NONE;
	ap.vrp_exit = &ve;
	fake_play(PLAY(APIC_ON, APIC(0x310, 1u << 24), APIC(0x300, 0x4500),
	    APIC(0x300, 0x4609), OUT(0x20, 1, 9)));
	assert_int_equal(pthread_create(&runner, NULL, sipi_runner, &ap), 0);
	client_sleep_ms(20);
	assert_int_equal(atomic_load(&fake_nruns), runs);
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(vrp.vrp_exit_reason, VMX_EXIT_IO);
	/* Two that play no script: VCPU 0 has left, so this is VCPU 1. */
	runs = atomic_load(&fake_nruns);
	while (atomic_load(&fake_nruns) < runs + 2)
		client_sleep_ms(1);
	assert_int_equal(client_do(fd, VMM_IOC_KICK, &vk), 0);
	assert_int_equal(pthread_join(runner, &result), 0);
	assert_int_equal((intptr_t)result, 0);
	assert_int_equal(ve.vrs.vrs_gprs[VCPU_REGS_RIP], 0);
	assert_int_equal(ve.vrs.vrs_sregs[VCPU_REGS_CS].vsi_sel, 0x900);
	assert_int_equal(ve.vrs.vrs_sregs[VCPU_REGS_CS].vsi_base, 0x9000);
	end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_halt_irqline),
		cmocka_unit_test(test_halt_timer),
		cmocka_unit_test(test_halt_extint),
		cmocka_unit_test(test_halt_wakes),
		cmocka_unit_test(test_halt_for_ever),
		cmocka_unit_test(test_apic_window),
		cmocka_unit_test(test_sipi),
	};

	return (cmocka_run_group_tests(tests, setup, NULL));
}
