/*
 * VMM_IOC_RUN on a scripted engine: what each exit of an engine becomes, what
 * the engine is given at each entry, and the VCPU's state machine.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/client.h"
#include "../lib/fake_engine.h"
#include "vmm/monitor.h"

const struct engine_row engine_table[] = {
	{ &fake_engine, 4 },
	{ NULL, 0 }
};

#define FL_IF	0x200
#define MIB	(1ul << 20)

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

static uint64_t
monotonic_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000);
}

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

static int
intr(int level)
{
	struct vm_intr_params vip = { vcp.vcp_id, 0, (uint16_t)level };

	return (client_do(fd, VMM_IOC_INTR, &vip));
}

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
	start = monotonic_ms();
	run_begin();
	client_sleep_ms(60);
	vk.vk_vm_id = vcp.vcp_id;
	vk.vk_vcpu_id = 0;
	assert_int_equal(vcpu_state(), VCPU_STATE_RUNNING);
	assert_int_equal(client_do(fd, VMM_IOC_KICK, &vk), 0);
	assert_int_equal(run_end(), 0);
	assert_true(monotonic_ms() - start >= 60);
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

/* --- with APICs: HLT waits inside RUN ------------------------------------ */

#define APIC(reg, value)						\
	DO(MMIO, .fs_run.er_mmio = { .gpa = 0xfee00000 + (reg),		\
	    .data = (value), .size = 4, .write = true })
#define IOAPIC(reg, value)						\
	DO(MMIO, .fs_run.er_mmio = { .gpa = 0xfec00000, .data = (reg),	\
	    .size = 4, .write = true }),				\
	DO(MMIO, .fs_run.er_mmio = { .gpa = 0xfec00010, .data = (value), \
	    .size = 4, .write = true })
#define APIC_ON		APIC(0xf0, 0x1ff)

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
	uint64_t start = monotonic_ms();

	(void)state;
	/* Divide by 1, vector 0x60, 30 ms; then again while in the guest. */
	begin(VMM_CAP_APIC, PLAY(APIC_ON, APIC(0x3e0, 0xb), APIC(0x320, 0x60),
	    DO(STI), APIC(0x380, 30000000), EXIT(HLT),
	    APIC(0xb0, 0), DO(STI), APIC(0x380, 30000000), DO(SPIN),
	    OUT(0x20, 1, 9)));
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(vrp.vrp_exit_reason, VMX_EXIT_IO);
	assert_true(monotonic_ms() - start >= 60);
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

static int
setup(void **state)
{
	(void)state;
	unsetenv("VMM_ENGINE");
	fd = vmm_open();
	return (fd == -1);
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
