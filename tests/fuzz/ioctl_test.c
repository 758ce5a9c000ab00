/*
 * No client of vmm(4), whatever it passes, brings the monitor down: threads
 * issue all commands with random parameters and bad pointers, on VMs whose
 * guests are hostile (hostile.h). Everything returns, with success or errno.
 */
#include <sys/mman.h>

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <vmm.h>

#include "hostile.h"

#define NTHREADS	3
#define NVMS		3
#define SECONDS		8
#define MORE		0x98000u	/* to a MiB */
#define HANG_SECONDS	60

#define ONE_IN(h, n)	(hostile_below((h), (n)) == 0)

union params {
	struct vm_create_params		create;
	struct vm_run_params		run;
	struct vm_info_params		info;
	struct vm_terminate_params	term;
	struct vm_resetcpu_params	reset;
	struct vm_intr_params		intr;
	struct vm_rwregs_params		regs;
	struct vm_rwvmparams_params	vmparams;
	struct vm_mprotect_ept_params	protect;
	struct vmm_engine_params	engine;
	struct vmm_enable_params	enable;
	struct vmm_irqline_params	irqline;
	struct vmm_written_params	written;
	struct vmm_share_params		share;
	struct vmm_kick_params		kick;
	struct vmm_stats_params		stats;
	struct vmm_state_params		state;
	uint32_t			ids[2];	/* VM and VCPU, of most */
	uint8_t				bytes[2048];
};

struct client {
	struct hostile	c_h;
	struct vmm_exit	c_exit;
	unsigned	c_done, c_failed, c_runs, c_loads;
	unsigned	c_saved;	/* bytes in c_state */
	uint8_t		c_state[16384];
};

static int fd = -1;
static struct hostile memory;
static atomic_uint ids[NVMS];
static atomic_bool stop, joined;
static uint8_t *more;			/* memory: a VM has whole MiB */
static int file;			/* that maps it */
static uint8_t *nothing;		/* a page without rights */

static const unsigned long commands[] = {
	VMM_IOC_CREATE, VMM_IOC_RUN, VMM_IOC_RUN, VMM_IOC_RUN, VMM_IOC_RUN,
	VMM_IOC_INFO, VMM_IOC_TERM, VMM_IOC_RESETCPU, VMM_IOC_INTR,
	VMM_IOC_READREGS, VMM_IOC_WRITEREGS, VMM_IOC_READVMPARAMS,
	VMM_IOC_WRITEVMPARAMS, VMM_IOC_MPROTECT_EPT, VMM_IOC_ENGINE,
	VMM_IOC_ENABLE, VMM_IOC_IRQLINE, VMM_IOC_WRITTEN, VMM_IOC_KICK,
	VMM_IOC_STATS, VMM_IOC_SHARE, VMM_IOC_STATE, VMM_IOC_STATE
};

static void *
bad_pointer(struct hostile *h)
{
	switch (hostile_below(h, 3)) {
	case 0:
		return (NULL);
	case 1:
		return (nothing + hostile_below(h, 4096));
	default:
		return ((void *)(uintptr_t)(hostile_random(h) | 1ul << 63));
	}
}

/* What a client would pass, but for a few things. */
static void
params_fill(struct client *c, unsigned long command, union params *p)
{
	struct hostile *h = &c->c_h;
	struct vm_create_params *vcp = &p->create;
	unsigned n;

	memset(p, 0, sizeof(*p));
	p->ids[0] = ONE_IN(h, 30) ? (uint32_t)hostile_random(h) :
	    atomic_load(&ids[hostile_below(h, NVMS)]);
	p->ids[1] = ONE_IN(h, 8) ? hostile_below(h, 600) : 0;
	switch (command) {
	case VMM_IOC_CREATE:
		memset(p, 0, sizeof(*p));
		vcp->vcp_ncpus = ONE_IN(h, 8) ? (size_t)hostile_random(h) : 1;
		vcp->vcp_nmemranges = HOSTILE_RANGES + 1 +
		    ONE_IN(h, 8);
		for (n = 0; n < HOSTILE_RANGES; n++) {
			vcp->vcp_memranges[n].vmr_gpa =
			    memory.h_range[n].hr_gpa;
			vcp->vcp_memranges[n].vmr_size =
			    memory.h_range[n].hr_size;
			vcp->vcp_memranges[n].vmr_va =
			    (vaddr_t)memory.h_range[n].hr_host;
		}
		vcp->vcp_memranges[n].vmr_gpa = 0x200000000;
		vcp->vcp_memranges[n].vmr_size = MORE;
		vcp->vcp_memranges[n].vmr_va = (vaddr_t)more;
		if (ONE_IN(h, 4))
			vcp->vcp_memranges[hostile_below(h, 3)].vmr_gpa ^=
			    1ul << hostile_below(h, 64);
		memset(vcp->vcp_name, 'a' + (int)hostile_below(h, 26),
		    ONE_IN(h, 8) ? sizeof(vcp->vcp_name) : 4);
		break;
	case VMM_IOC_RUN:
		p->run.vrp_continue = (uint8_t)hostile_below(h, 2);
		p->run.vrp_irq = ONE_IN(h, 3) ? (uint16_t)
		    hostile_below(h, 300) : 0xffff;
		p->run.vrp_exit = ONE_IN(h, 20) ? bad_pointer(h) :
		    &c->c_exit.vx_exit;
		break;
	case VMM_IOC_INFO:
		p->info.vip_size = hostile_below(h, 4096);
		p->info.vip_info = bad_pointer(h);
		break;
	case VMM_IOC_RESETCPU:
		hostile_registers(h, &p->reset.vrp_init_state,
		    hostile_below(h, 9));
		break;
	case VMM_IOC_WRITEREGS:
		hostile_registers(h, &p->regs.vrwp_regs, hostile_below(h, 9));
		/* FALLTHROUGH */
	case VMM_IOC_READREGS:
		p->regs.vrwp_mask = hostile_random(h) & 0x3f;
		break;
	case VMM_IOC_INTR:
		p->intr.vip_intr = (uint16_t)hostile_below(h, 3);
		break;
	case VMM_IOC_WRITEVMPARAMS:
		p->vmparams.vpp_pvclock_system_gpa = hostile_address(h);
		/* FALLTHROUGH */
	case VMM_IOC_READVMPARAMS:
		p->vmparams.vpp_mask = (uint32_t)hostile_below(h, 5);
		break;
	case VMM_IOC_MPROTECT_EPT:
		p->protect.vmep_sgpa = ONE_IN(h, 4) ? hostile_address(h) :
		    hostile_page(h);
		p->protect.vmep_size = ONE_IN(h, 4) ?
		    (size_t)hostile_random(h) : 4096;
		p->protect.vmep_prot = (int)hostile_below(h, 9);
		break;
	case VMM_IOC_ENGINE:
		strcpy(p->engine.ve_name, ONE_IN(h, 2) ? "soft" : "auto");
		if (ONE_IN(h, 4))
			memset(p->engine.ve_name, 's', 64);
		break;
	case VMM_IOC_ENABLE:
		p->enable.ven_caps = hostile_below(h, 128);
		break;
	case VMM_IOC_IRQLINE:
		p->irqline.vil_line = hostile_below(h, 26);
		p->irqline.vil_level = hostile_below(h, 3);
		break;
	case VMM_IOC_WRITTEN:
		p->written.vwr_gpa = hostile_address(h);
		p->written.vwr_size = ONE_IN(h, 4) ?
		    (size_t)hostile_random(h) : hostile_below(h, 10000);
		break;
	case VMM_IOC_STATE:
		/* what was saved last, perhaps of another VM, and not quite */
		p->state.vsp_load = c->c_saved != 0 && ONE_IN(h, 2);
		p->state.vsp_data = ONE_IN(h, 20) ? bad_pointer(h) :
		    c->c_state;
		p->state.vsp_size = p->state.vsp_load ? c->c_saved :
		    sizeof(c->c_state);
		for (n = hostile_below(h, 4); p->state.vsp_load && n > 0; n--)
			c->c_state[hostile_below(h, c->c_saved)] =
			    (uint8_t)hostile_random(h);
		break;
	case VMM_IOC_SHARE:
		p->share.vsh_fd = ONE_IN(h, 8) ? -1 : file;
		p->share.vsh_offset = ONE_IN(h, 8) ? hostile_random(h) : 0;
		p->share.vsh_va = (vaddr_t)more;
		p->share.vsh_size = ONE_IN(h, 8) ?
		    (size_t)hostile_random(h) : MORE;
		break;
	}
	if (ONE_IN(h, 50) && command != VMM_IOC_CREATE &&
	    command != VMM_IOC_RUN && command != VMM_IOC_INFO &&
	    command != VMM_IOC_STATE)
		for (n = 0; n < sizeof(p->bytes); n++)
			p->bytes[n] = (uint8_t)hostile_random(h);
}

static void *
client(void *arg)
{
	struct client *c = arg;
	struct hostile *h = &c->c_h;
	struct vm_terminate_params vtp;
	unsigned long command;
	union params p;
	unsigned slot;
	void *at;

	while (!atomic_load(&stop)) {
		command = commands[hostile_below(h,
		    sizeof(commands) / sizeof(commands[0]))];
		slot = hostile_below(h, NVMS);
		if (command == VMM_IOC_TERM && !ONE_IN(h, 20))
			continue;
		if (command == VMM_IOC_CREATE && !ONE_IN(h, 4) &&
		    atomic_load(&ids[slot]) != 0)
			continue;
		params_fill(c, command, &p);
		at = ONE_IN(h, 40) ? bad_pointer(h) : &p;
		if (vmm_ioctl(ONE_IN(h, 100) ? 0 : fd, command, at) != 0) {
			c->c_failed++;
			if (errno <= 0 || errno > 133)
				abort();
			continue;
		}
		c->c_done++;
		if (command == VMM_IOC_STATE && p.state.vsp_load)
			c->c_loads++;
		else if (command == VMM_IOC_STATE)
			c->c_saved = p.state.vsp_size <= sizeof(c->c_state) ?
			    (unsigned)p.state.vsp_size : 0;
		c->c_runs += command == VMM_IOC_RUN;
		if (command == VMM_IOC_CREATE) {
			vtp.vtp_vm_id = atomic_exchange(&ids[slot],
			    p.create.vcp_id);
			(void)vmm_ioctl(fd, VMM_IOC_TERM, &vtp);
		}
	}
	return (NULL);
}

/* Nothing but a kick ends the RUN of a guest that waits for ever. */
static void *
kicker(void *arg)
{
	struct vmm_kick_params vk;
	unsigned n;

	(void)arg;
	while (!atomic_load(&joined)) {
		usleep(300);
		for (n = 0; n < NVMS * 2; n++) {
			vk.vk_vm_id = atomic_load(&ids[n / 2]);
			vk.vk_vcpu_id = n & 1;
			(void)vmm_ioctl(fd, VMM_IOC_KICK, &vk);
		}
	}
	return (NULL);
}

static void
test_hostile_clients(void **state)
{
	static struct client clients[NTHREADS];
	struct vm_terminate_params vtp;
	struct vcpu_reg_state r;
	pthread_t threads[NTHREADS], kicks;
	unsigned n, done = 0, failed = 0, runs = 0, loads = 0;

	(void)state;
	fd = vmm_open();
	assert_true(fd >= 0);
	nothing = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
	    0);
	assert_ptr_not_equal(nothing, MAP_FAILED);
	file = memfd_create("more", MFD_CLOEXEC);
	assert_int_equal(ftruncate(file, MORE), 0);
	more = mmap(NULL, MORE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	assert_ptr_not_equal(more, MAP_FAILED);
	assert_true(hostile_map(&memory));
	memset(&r, 0, sizeof(r));
	hostile_guest(&memory, &r);
	for (n = 0; n < NTHREADS; n++) {
		clients[n].c_h = memory;
		clients[n].c_h.h_rng = hostile_random(&memory) | 1;
		assert_int_equal(pthread_create(&threads[n], NULL, client,
		    &clients[n]), 0);
	}
	assert_int_equal(pthread_create(&kicks, NULL, kicker, NULL), 0);
	for (n = 0; n < SECONDS; n++)
		sleep(1);
	alarm(HANG_SECONDS);
	atomic_store(&stop, true);
	for (n = 0; n < NTHREADS; n++) {
		pthread_join(threads[n], NULL);
		done += clients[n].c_done;
		failed += clients[n].c_failed;
		runs += clients[n].c_runs;
		loads += clients[n].c_loads;
	}
	atomic_store(&joined, true);
	pthread_join(kicks, NULL);
	alarm(0);
	for (n = 0; n < NVMS; n++) {
		vtp.vtp_vm_id = atomic_load(&ids[n]);
		(void)vmm_ioctl(fd, VMM_IOC_TERM, &vtp);
	}
	printf("# %u commands done, %u of them RUN, %u load state; %u "
	    "refused\n", done, runs, loads, failed);
	assert_true(runs > 100);
	assert_true(failed > 100);
	assert_true(loads > 0);
	assert_int_equal(vmm_close(fd), 0);
	hostile_unmap(&memory);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hostile_clients),
	};
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	memory.h_rng = argc > 1 ? strtoull(argv[1], NULL, 0) :
	    (uint64_t)ts.tv_nsec << 20 | 1;
	printf("# seed %" PRIu64 "\n", memory.h_rng);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
