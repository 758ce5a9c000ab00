/*
 * VMM_IOC_RUN on a scripted engine: what each exit of an engine becomes, what
 * the engine is given at each entry, and the VCPU's state machine.
 */
#include "scripted.h"

#include <errno.h>
#include <sched.h>
#include <sys/mman.h>

/* --- port I/O ------------------------------------------------------------ */

static void
test_out(void **state)
{
	(void)state;
	begin(0, PLAY(OUT(0x3f8, 1, 'x'), DO(STI),
	    EXIT(IO, .er_io = { .vei_size = 4, .vei_dir = VEI_DIR_OUT,
	    .vei_rep = 1, .vei_string = 1, .vei_encoding = 1,
	    .vei_port = 0xcf8, .vei_data = 0x80000000 })));
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(vrp.vrp_exit_reason, VMX_EXIT_IO);
	assert_int_equal(vrp.vrp_irqready, 0);
	assert_int_equal(vx.vx_exit.vei.vei_size, 1);
	assert_int_equal(vx.vx_exit.vei.vei_dir, VEI_DIR_OUT);
	assert_int_equal(vx.vx_exit.vei.vei_port, 0x3f8);
	assert_int_equal(vx.vx_exit.vei.vei_data, 'x');
	assert_int_equal(vx.vx_exit.vrs.vrs_gprs[VCPU_REGS_RIP], 0xfff1);
	assert_int_equal(vx.vx_exit.vrs.vrs_sregs[VCPU_REGS_CS].vsi_base,
	    0xffff0000);
	assert_int_equal(vcpu_state(), VCPU_STATE_STOPPED);

	assert_int_equal(run(NONE, true), 0);
	assert_int_equal(vrp.vrp_exit_reason, VMX_EXIT_IO);
	assert_int_equal(vrp.vrp_irqready, 1);
	assert_int_equal(vx.vx_exit.vei.vei_rep, 1);
	assert_int_equal(vx.vx_exit.vei.vei_string, 1);
	assert_int_equal(vx.vx_exit.vei.vei_encoding, 1);
	assert_int_equal(vx.vx_exit.vei.vei_data, 0x80000000);
	/* The engine was told that the OUT is done. */
	assert_false(fake_entries[0].fe_complete);
	assert_true(fake_entries[1].fe_complete);
	end();
}

static void
test_in(void **state)
{
	(void)state;
	begin(0, PLAY(IN(0x60 + 1, 1), IN(0x1000, 2), IN(0xffff, 4)));
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(vrp.vrp_exit_reason, VMX_EXIT_IO);
	assert_int_equal(vx.vx_exit.vei.vei_dir, VEI_DIR_IN);
	vx.vx_exit.vei.vei_data = 0x5a;
	assert_int_equal(run(NONE, true), 0);
	assert_true(fake_entries[1].fe_complete);
	assert_int_equal(fake_entries[1].fe_data, 0x5a);
	assert_int_equal(vx.vx_exit.vei.vei_port, 0x1000);
	/* Without vrp_continue RAX stays as it is. */
	assert_int_equal(run(NONE, false), 0);
	assert_false(fake_entries[2].fe_complete);
	end();
}

/* 6.9's list, from both sides of each boundary; ours are 0x61 and 0x92. */
static const struct {
	uint16_t	port;
	bool		forwarded;
} ports[] = {
	{ 0x00, false }, { 0x1f, false }, { 0x20, true }, { 0x21, true },
	{ 0x22, false }, { 0x3f, false }, { 0x40, true }, { 0x43, true },
	{ 0x44, false }, { 0x60, false }, { 0x61, true }, { 0x62, false },
	{ 0x6f, false }, { 0x70, true }, { 0x71, true }, { 0x72, false },
	{ 0x80, false }, { 0x91, false }, { 0x92, true }, { 0x93, false },
	{ 0x9f, false }, { 0xa0, true }, { 0xa1, true }, { 0xa2, false },
	{ 0x2f8, false }, { 0x3f7, false }, { 0x3f8, true }, { 0x3ff, true },
	{ 0x400, false }, { 0x4cf, false }, { 0x4d0, true }, { 0x4d1, true },
	{ 0x4d2, false }, { 0x4ff, false }, { 0x500, true }, { 0x511, true },
	{ 0x512, false }, { 0x513, false }, { 0x514, true }, { 0x515, false },
	{ 0x517, false }, { 0x518, true }, { 0x519, false }, { 0xcf7, false },
	{ 0xcf8, true }, { 0xcf9, false }, { 0xcfb, false }, { 0xcfc, true },
	{ 0xcff, true }, { 0xd00, false }, { 0xfff, false }, { 0x1000, true },
	{ 0x8000, true }, { 0xffff, true },
};

static void
test_ports(void **state)
{
	struct fake_step script[2] = { IN(0, 1), OUT(0xcf8, 4, 7) };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(ports); i++) {
		script[0].fs_run.er_io.vei_port = ports[i].port;
		begin(0, script, 2);
		assert_int_equal(run(NONE, false), 0);
		assert_int_equal(vrp.vrp_exit_reason, VMX_EXIT_IO);
		if (ports[i].forwarded !=
		    (vx.vx_exit.vei.vei_dir == VEI_DIR_IN))
			fail_msg("port %#x", ports[i].port);
		if (!ports[i].forwarded) {
			/* Answered inside: all ones. */
			assert_int_equal(vx.vx_exit.vei.vei_port, 0xcf8);
			assert_int_equal(atomic_load(&fake_nentries), 2);
			assert_true(fake_entries[1].fe_complete);
			assert_int_equal((uint32_t)fake_entries[1].fe_data,
			    0xffffffff);
		}
		end();
		begin(VMM_CAP_ALL_PORTS, script, 2);
		assert_int_equal(run(NONE, false), 0);
		assert_int_equal(vx.vx_exit.vei.vei_port, ports[i].port);
		end();
	}
}

/* --- other exits --------------------------------------------------------- */

static void
test_hlt(void **state)
{
	(void)state;
	begin(0, PLAY(DO(STI), EXIT(HLT), DO(CLI), EXIT(HLT)));
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(vrp.vrp_exit_reason, VMX_EXIT_HLT);
	assert_int_equal(vrp.vrp_irqready, 1);
	assert_int_equal(vcpu_state(), VCPU_STATE_STOPPED);
	/* Interrupts off: for ever. */
	vrp.vrp_exit_reason = 0x1234;
	assert_int_equal(run(NONE, false), EIO);
	assert_int_equal(vcpu_state(), VCPU_STATE_TERMINATED);
	assert_int_equal(run(NONE, false), EBUSY);
	end();
}

static void
test_shutdown(void **state)
{
	struct vm_resetcpu_params reset = { 0 };

	(void)state;
	begin(0, PLAY(EXIT(SHUTDOWN), OUT(0x20, 1, 0)));
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(vrp.vrp_exit_reason, VMX_EXIT_TRIPLE_FAULT);
	assert_int_equal(vcpu_state(), VCPU_STATE_STOPPED);
	/* It can be reset and run again. */
	reset.vrp_vm_id = vcp.vcp_id;
	reset.vrp_init_state.vrs_gprs[VCPU_REGS_RIP] = 0x7c00;
	assert_int_equal(client_do(fd, VMM_IOC_RESETCPU, &reset), 0);
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(vx.vx_exit.vrs.vrs_gprs[VCPU_REGS_RIP], 0x7c01);
	end();
}

static void
test_protect(void **state)
{
	(void)state;
	begin(0, PLAY(EXIT(PROTECT,
	    .er_protect = { .gpa = 0x5000, .access = ENGINE_WRITE })));
	memset(&vx, 0xff, sizeof(vx));
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(vrp.vrp_exit_reason, VMX_EXIT_EPT_VIOLATION);
	assert_int_equal(vx.vx_exit.vee.vee_fault_type, VEE_FAULT_PROTECT);
	assert_int_equal(vx.vx_exit.vrs.vrs_gprs[VCPU_REGS_RIP], 0xfff0);
	/* A plain client's structure ends with struct vm_exit. */
	assert_int_equal(vx.vx_mmio_gpa, UINT64_MAX);
	end();
}

static void
test_mmio(void **state)
{
	const struct fake_step write = EXIT(MMIO, .er_mmio = {
	    .gpa = 0xe0000010, .data = 0x1122334455667788, .size = 8,
	    .write = true });
	const struct fake_step read = EXIT(MMIO, .er_mmio = {
	    .gpa = 0xe0000020, .size = 4 });

	(void)state;
	/* Nobody there, and nobody asked for: it cannot go on. */
	begin(0, PLAY(read, OUT(0x20, 1, 0)));
	assert_int_equal(run(NONE, false), EINVAL);
	assert_int_equal(vcpu_state(), VCPU_STATE_STOPPED);
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(vrp.vrp_exit_reason, VMX_EXIT_IO);
	end();

	begin(VMM_CAP_MMIO, PLAY(write, read, read, OUT(0x20, 1, 0)));
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(vrp.vrp_exit_reason, VMX_EXIT_EPT_VIOLATION);
	assert_int_equal(vx.vx_exit.vee.vee_fault_type, VEE_FAULT_MMIO);
	assert_int_equal(vx.vx_mmio_gpa, 0xe0000010);
	assert_int_equal(vx.vx_mmio_data, 0x1122334455667788);
	assert_int_equal(vx.vx_mmio_size, 8);
	assert_int_equal(vx.vx_mmio_dir, VEI_DIR_OUT);
	assert_int_equal(run(NONE, true), 0);
	assert_true(fake_entries[1].fe_complete);
	assert_int_equal(vx.vx_mmio_gpa, 0xe0000020);
	assert_int_equal(vx.vx_mmio_dir, VEI_DIR_IN);
	assert_int_equal(vx.vx_mmio_size, 4);
	vx.vx_mmio_data = 0xcafe;
	assert_int_equal(run(NONE, true), 0);
	assert_true(fake_entries[2].fe_complete);
	assert_int_equal(fake_entries[2].fe_data, 0xcafe);
	/* Not answered: the instruction starts anew. */
	assert_int_equal(run(NONE, false), 0);
	assert_false(fake_entries[3].fe_complete);
	end();
}

static void
test_errors(void **state)
{
	(void)state;
	begin(0, PLAY(OUT(0x20, 1, 0), OUT(0x20, 1, 1),
	    EXIT(ERROR, .er_errno = ENOMEM)));
	/* A bad exit structure does not cost the VCPU. */
	memset(&vrp, 0, sizeof(vrp));
	vrp.vrp_vm_id = vcp.vcp_id;
	vrp.vrp_irq = NONE;
	vrp.vrp_exit_reason = 77;
	assert_int_equal(client_do(fd, VMM_IOC_RUN, &vrp), EFAULT);
	assert_int_equal(vrp.vrp_exit_reason, 77);
	assert_int_equal(vcpu_state(), VCPU_STATE_STOPPED);
	/* To be read first, it fails before anything runs. */
	vrp.vrp_continue = 1;
	vrp.vrp_exit = (void *)8;
	assert_int_equal(client_do(fd, VMM_IOC_RUN, &vrp), EFAULT);
	assert_int_equal(atomic_load(&fake_nentries), 1);
	assert_int_equal(vcpu_state(), VCPU_STATE_STOPPED);
	assert_int_equal(run(0x100, false), EINVAL);
	/* The host fails. */
	fake_run_error = ENOMEM;
	assert_int_equal(run(NONE, false), EIO);
	fake_run_error = 0;
	assert_int_equal(vcpu_state(), VCPU_STATE_STOPPED);
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(vx.vx_exit.vei.vei_data, 1);
	/* The VCPU cannot go on. */
	assert_int_equal(run(NONE, false), EIO);
	assert_int_equal(vcpu_state(), VCPU_STATE_TERMINATED);
	end();
}

static void
test_noregs(void **state)
{
	(void)state;
	begin(VMM_CAP_NOREGS | VMM_CAP_MMIO, PLAY(OUT(0x3f8, 1, 'y')));
	memset(&vx, 0x77, sizeof(vx));
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(vx.vx_exit.vei.vei_data, 'y');
	assert_int_equal(vx.vx_exit.vrs.vrs_gprs[0], 0x7777777777777777);
	assert_int_equal(vx.vx_exit.vrs.vrs_idtr.vsi_base, 0x7777777777777777);
	assert_int_equal(vx.vx_exit.cpl, 0);
	assert_int_equal(vx.vx_mmio_gpa, 0);
	end();
}

/* --- interrupts ---------------------------------------------------------- */

static void
test_inject(void **state)
{
	(void)state;
	/* At once when the guest can take it... */
	begin(0, PLAY(DO(STI), OUT(0x20, 1, 0), OUT(0x20, 1, 1), DO(STI),
	    OUT(0x20, 1, 2), OUT(0x20, 1, 3)));
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(vrp.vrp_irqready, 1);
	assert_int_equal(run(0x31, false), 0);
	assert_int_equal(fake_entries[1].fe_inject, 0x31);
	assert_int_equal(vrp.vrp_irqready, 0);
	/* ... else at the first moment that it can... */
	assert_int_equal(run(0x32, false), 0);
	assert_int_equal(fake_entries[2].fe_inject, -1);
	assert_true(fake_entries[2].fe_window);
	assert_int_equal(fake_entries[3].fe_inject, 0x32);
	assert_int_equal(vx.vx_exit.vei.vei_data, 2);
	/* ... and lost with the RUN. */
	assert_int_equal(run(0x33, false), 0);
	assert_int_equal(vx.vx_exit.vei.vei_data, 3);
	assert_int_equal(vrp.vrp_irqready, 0);
	fake_play(PLAY(DO(STI), OUT(0x20, 1, 4)));
	assert_int_equal(run(NONE, false), 0);
	assert_false(fake_entries[0].fe_window);
	assert_int_equal(fake_entries[0].fe_inject, -1);
	end();
}

static void
test_window(void **state)
{
	(void)state;
	/* INTR noted, IF clear: RUN comes back when it opens. */
	begin(0, PLAY(OUT(0x80, 1, 0), DO(STI), OUT(0x20, 1, 1),
	    OUT(0x20, 1, 2)));
	assert_int_equal(intr(1), 0);
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(vrp.vrp_exit_reason, VMX_EXIT_INT_WINDOW);
	assert_int_equal(vrp.vrp_irqready, 1);
	/* The client takes no notice: the next exit of any kind. */
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(vrp.vrp_exit_reason, VMX_EXIT_IO);
	assert_int_equal(vx.vx_exit.vei.vei_data, 1);
	assert_int_equal(vrp.vrp_irqready, 1);
	/* New notice: at once. */
	assert_int_equal(intr(0), 0);
	assert_int_equal(intr(1), 0);
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(vrp.vrp_exit_reason, VMX_EXIT_INT_WINDOW);
	/* Injected while more wait: asks for the next window. */
	fake_play(PLAY(DO(STI), OUT(0x20, 1, 3)));
	assert_int_equal(run(0x40, false), 0);
	assert_int_equal(fake_entries[0].fe_inject, 0x40);
	assert_true(fake_entries[0].fe_window);
	assert_int_equal(vrp.vrp_exit_reason, VMX_EXIT_INT_WINDOW);
	/* Withdrawn. */
	assert_int_equal(intr(0), 0);
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(vrp.vrp_exit_reason, VMX_EXIT_IO);
	end();
}

/* --- from other threads -------------------------------------------------- */

static void
test_intr_kicks(void **state)
{
	(void)state;
	begin(0, PLAY(DO(STI), DO(SPIN)));
	run_begin();
	assert_int_equal(intr(1), 0);
	assert_int_equal(run_end(), 0);
	assert_int_equal(vrp.vrp_exit_reason, VMX_EXIT_INT_WINDOW);
	assert_int_equal(vrp.vrp_irqready, 1);
	end();
}

static void
test_kick(void **state)
{
	struct vmm_kick_params vk = { vcp.vcp_id, 0 };

	(void)state;
	begin(0, PLAY(DO(STI), OUT(0x20, 1, 0), IN(0x40, 1), DO(SPIN)));
	vk.vk_vm_id = vcp.vcp_id;
	/* Before RUN: the next one comes back at once. */
	assert_int_equal(client_do(fd, VMM_IOC_KICK, &vk), 0);
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(vrp.vrp_exit_reason, VM_EXIT_NONE);
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(vrp.vrp_exit_reason, VMX_EXIT_IO);
	/* Neither vector nor answer is lost by it. */
	assert_int_equal(client_do(fd, VMM_IOC_KICK, &vk), 0);
	assert_int_equal(run(0x50, false), 0);
	assert_int_equal(vrp.vrp_exit_reason, VM_EXIT_NONE);
	assert_int_equal(fake_entries[1].fe_inject, 0x50);
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(client_do(fd, VMM_IOC_KICK, &vk), 0);
	vx.vx_exit.vei.vei_data = 0x99;
	assert_int_equal(run(NONE, true), 0);
	assert_int_equal(vrp.vrp_exit_reason, VM_EXIT_NONE);
	assert_int_equal(vx.vx_exit.vrs.vrs_gprs[VCPU_REGS_RAX], 0x99);
	/* While it runs. */
	run_begin();
	assert_int_equal(client_do(fd, VMM_IOC_KICK, &vk), 0);
	assert_int_equal(run_end(), 0);
	assert_int_equal(vrp.vrp_exit_reason, VM_EXIT_NONE);
	end();
}

static void
test_busy(void **state)
{
	struct vm_resetcpu_params reset = { 0 };
	struct vm_mprotect_ept_params vmep = { 0 };
	struct vm_rwregs_params regs = { 0 };
	struct vmm_enable_params ven = { 0 };
	struct vmm_stats_params vst = { 0 };
	struct vmm_kick_params vk = { 0 };
	struct vm_run_params again = { 0 };
	struct vm_exit ve;
	struct vcpu *v;
	int i;

	(void)state;
	begin(0, PLAY(DO(SPIN)));
	reset.vrp_vm_id = vmep.vmep_vm_id = regs.vrwp_vm_id =
	    ven.ven_vm_id = vst.vst_vm_id = again.vrp_vm_id = vk.vk_vm_id =
	    vcp.vcp_id;
	vmep.vmep_size = 4096;
	vmep.vmep_prot = PROT_READ;
	again.vrp_exit = &ve;
	again.vrp_irq = NONE;
	run_begin();
	assert_int_equal(vcpu_state(), VCPU_STATE_RUNNING);
	assert_int_equal(client_do(fd, VMM_IOC_RUN, &again), EBUSY);
	assert_int_equal(client_do(fd, VMM_IOC_RESETCPU, &reset), EBUSY);
	assert_int_equal(client_do(fd, VMM_IOC_MPROTECT_EPT, &vmep), EBUSY);
	assert_int_equal(client_do(fd, VMM_IOC_ENABLE, &ven), EBUSY);
	/* Registers of a running VCPU: it stands still meanwhile. */
	for (i = 0; i < 50; i++) {
		regs.vrwp_mask = VM_RWREGS_ALL;
		assert_int_equal(client_do(fd, VMM_IOC_READREGS, &regs), 0);
		regs.vrwp_mask = VM_RWREGS_GPRS;
		regs.vrwp_regs.vrs_gprs[VCPU_REGS_RAX]++;
		assert_int_equal(client_do(fd, VMM_IOC_WRITEREGS, &regs), 0);
		assert_int_equal(client_do(fd, VMM_IOC_STATS, &vst), 0);
	}
	assert_int_equal(vst.vst_insns, 0);
	assert_int_equal(vst.vst_exits, 0);
	assert_int_equal(client_do(fd, VMM_IOC_KICK, &vk), 0);
	assert_int_equal(run_end(), 0);
	assert_int_equal(vrp.vrp_exit_reason, VM_EXIT_NONE);
	assert_int_equal(vx.vx_exit.vrs.vrs_gprs[VCPU_REGS_RAX], 50);
	assert_int_equal(client_do(fd, VMM_IOC_STATS, &vst), 0);
	assert_int_equal(vst.vst_exits, 1);
	assert_int_equal(client_do(fd, VMM_IOC_ENABLE, &ven), EBUSY);
	assert_int_equal(client_do(fd, VMM_IOC_RESETCPU, &reset), 0);
	assert_int_equal(vcpu_get(vcp.vcp_id, 0, &v), 0);
	assert_int_equal(atomic_load(&v->v_engine->fv_overlaps), 0);
	vm_put(v->v_vm);
	end();
}

static void
test_term(void **state)
{
	struct vm_terminate_params vtp;

	(void)state;
	begin(0, PLAY(DO(SPIN)));
	run_begin();
	vtp.vtp_vm_id = vcp.vcp_id;
	assert_int_equal(client_do(fd, VMM_IOC_TERM, &vtp), 0);
	assert_int_equal(client_do(fd, VMM_IOC_TERM, &vtp), ENOENT);
	assert_int_equal(run_end(), 0);
	assert_int_equal(vrp.vrp_exit_reason, VM_EXIT_TERMINATED);
	assert_int_equal(run(NONE, false), ENOENT);
	end();
}

/* TERM against RUN, as fast as they go. */
static void
test_term_race(void **state)
{
	struct vm_terminate_params vtp;
	int i, error;

	(void)state;
	for (i = 0; i < 200; i++) {
		begin(i % 2 == 0 ? 0 : VMM_CAP_APIC, PLAY(DO(STI), EXIT(HLT)));
		vtp.vtp_vm_id = vcp.vcp_id;
		assert_int_equal(pthread_create(&runner, NULL, runner_main,
		    NULL), 0);
		if (i % 3 == 0)
			sched_yield();
		assert_int_equal(client_do(fd, VMM_IOC_TERM, &vtp), 0);
		error = run_end();
		if (error == 0)
			assert_true(vrp.vrp_exit_reason == VMX_EXIT_HLT ||
			    vrp.vrp_exit_reason == VM_EXIT_TERMINATED);
		else
			assert_int_equal(error, ENOENT);
		end();
	}
}

/* --- signals ------------------------------------------------------------- */

static void
test_signal(void **state)
{
	struct sigaction sa = { .sa_handler = on_alarm }, old;
	struct vmm_kick_params vk;
	sigset_t set, before;
	uint64_t start;

	(void)state;
	sigaction(SIGALRM, &sa, &old);
	begin(0, PLAY(DO(SPIN)));
	handled = 0;
	alarm_ms(20);
	assert_int_equal(run(NONE, false), 0);
	alarm_ms(0);
	assert_int_equal(vrp.vrp_exit_reason, VM_EXIT_NONE);
	assert_true(handled >= 1);
	assert_int_equal(handled_reason, VM_EXIT_NONE);

	/* One that the caller blocks does not end RUN. */
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &set, &before);
	handled = 1;
	alarm_ms(1);
	start = client_now_ms();
	run_begin();
	client_sleep_ms(60);
	vk.vk_vm_id = vcp.vcp_id;
	vk.vk_vcpu_id = 0;
	assert_int_equal(vcpu_state(), VCPU_STATE_RUNNING);
	assert_int_equal(client_do(fd, VMM_IOC_KICK, &vk), 0);
	assert_int_equal(run_end(), 0);
	assert_true(client_now_ms() - start >= 60);
	alarm_ms(0);
	assert_int_equal(handled, 1);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	assert_int_equal(handled, 2);
	end();
	sigaction(SIGALRM, &old, NULL);
}

static sigjmp_buf out;

static void
on_alarm_jump(int signo)
{
	struct vm_terminate_params vtp = { vcp.vcp_id };

	(void)signo;
	/* Commands work in a handler, and it may leave by a jump. */
	handled = client_do(fd, VMM_IOC_TERM, &vtp);
	alarm_ms(0);
	siglongjmp(out, 1);
}

static void
test_signal_jump(void **state)
{
	struct sigaction sa = { .sa_handler = on_alarm_jump }, old;

	(void)state;
	sigaction(SIGALRM, &sa, &old);
	begin(VMM_CAP_APIC, PLAY(DO(STI), EXIT(HLT)));
	if (sigsetjmp(out, 1) == 0) {
		alarm_ms(20);
		run(NONE, false);
		fail_msg("the handler did not run");
	}
	assert_int_equal(handled, 0);
	sigaction(SIGALRM, &old, NULL);
	end();
}

/* --- MSRs, CPUID, the clock page ----------------------------------------- */

static void
test_msrs(void **state)
{
	uint8_t *mem;

	(void)state;
	begin(0, PLAY(
	    DO(RDMSR, .fs_msr = 0xdead0000), DO(WRMSR, .fs_msr = 0xdead0000),
	    DO(RDMSR, .fs_msr = 0x1b),		/* no APIC here */
	    DO(WRMSR, .fs_msr = 0x4b564d01, .fs_value = 0x2000 | 1),
	    OUT(0x20, 1, 0)));
	mem = (uint8_t *)vcp.vcp_memranges[0].vmr_va;
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(fake_faults, 3);
	assert_int_not_equal(mem[0x2000], 0);
	assert_int_equal(mem[0x2000] % 2, 0);
	/* The guest moves its TSC: the page follows. */
	handled = mem[0x2000];
	fake_tsc_offset = -12345;
	fake_play(PLAY(OUT(0x20, 1, 0)));
	assert_int_equal(run(NONE, false), 0);
	assert_true(mem[0x2000] > handled);
	fake_tsc_offset = 0;
	end();

	begin(VMM_CAP_IGNORE_MSRS, PLAY(DO(RDMSR, .fs_msr = 0xdead0000),
	    DO(WRMSR, .fs_msr = 0xdead0000), OUT(0x20, 1, 0)));
	fake_result = 1;
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(fake_faults, 0);
	assert_int_equal(fake_result, 0);
	end();
}

static void
test_cpuid(void **state)
{
	(void)state;
	begin(0, PLAY(DO(CPUID, .fs_msr = 0x40000000), OUT(0x20, 1, 0)));
	assert_int_equal(run(NONE, false), 0);
	assert_memory_equal(&fake_cpuid.ec_ebx, "Open", 4);
	assert_memory_equal(&fake_cpuid.ec_ecx, "BSDV", 4);
	assert_memory_equal(&fake_cpuid.ec_edx, "MM58", 4);
	fake_play(PLAY(DO(CPUID, .fs_msr = 1), OUT(0x20, 1, 0)));
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(fake_cpuid.ec_edx & 1u << 9, 0);	/* no APIC */
	assert_int_not_equal(fake_cpuid.ec_ecx & 1u << 31, 0);
	end();
	begin(VMM_CAP_APIC, PLAY(DO(CPUID, .fs_msr = 1), OUT(0x20, 1, 0)));
	assert_int_equal(run(NONE, false), 0);
	assert_int_not_equal(fake_cpuid.ec_edx & 1u << 9, 0);
	end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_out),
		cmocka_unit_test(test_in),
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_hlt),
		cmocka_unit_test(test_shutdown),
		cmocka_unit_test(test_protect),
		cmocka_unit_test(test_mmio),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_noregs),
		cmocka_unit_test(test_inject),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_intr_kicks),
		cmocka_unit_test(test_kick),
		cmocka_unit_test(test_busy),
		cmocka_unit_test(test_term),
		cmocka_unit_test(test_term_race),
		cmocka_unit_test(test_signal),
		cmocka_unit_test(test_signal_jump),
		cmocka_unit_test(test_msrs),
		cmocka_unit_test(test_cpuid),
	};

	return (cmocka_run_group_tests(tests, setup, NULL));
}
