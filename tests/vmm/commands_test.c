/*
 * Every command of vmm(4) but RUN, from one process, on a scripted engine: what
 * it does, each of its errors, what it leaves alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/client.h"
#include "../lib/fake_engine.h"
#include "vmm/monitor.h"

const struct engine_row engine_table[] = {
	{ &fake_engine, 4 },
	{ NULL, 0 }
};

static int fd = -1;

/* --- descriptors --------------------------------------------------------- */

/* A command that changes nothing. */
static int
probe(int on)
{
	struct vm_info_params vip = { 0 };

	return (client_do(on, VMM_IOC_INFO, &vip));
}

static void
test_descriptors(void **state)
{
	int other, copy;

	(void)state;
	other = vmm_open();
	assert_true(other >= 0);
	assert_int_equal(fcntl(other, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(probe(other), 0);
	copy = dup(other);
	assert_int_equal(vmm_close(other), 0);
	assert_int_equal(probe(other), EBADF);
	assert_int_equal(probe(copy), 0);
	close(copy);
	assert_int_equal(probe(copy), EBADF);

	/* A descriptor of something else is nothing of ours. */
	other = open("/dev/zero", O_RDWR);
	assert_int_equal(probe(other), EBADF);
	assert_int_equal(vmm_close(other), -1);
	assert_int_equal(errno, EBADF);
	assert_int_equal(close(other), 0);
	other = memfd_create("other", 0);
	assert_int_equal(ftruncate(other, 96), 0);
	assert_int_equal(probe(other), EBADF);
	close(other);
	assert_int_equal(probe(-1), EBADF);
}

static void
test_no_engine(void **state)
{
	(void)state;
	fake_probe_error = ENODEV;
	assert_int_equal(vmm_open(), -1);
	assert_int_equal(errno, ENODEV);
	fake_probe_error = 0;
	setenv("VMM_ENGINE", "nonesuch", 1);
	assert_int_equal(vmm_open(), -1);
	assert_int_equal(errno, ENODEV);
	unsetenv("VMM_ENGINE");
}

/* --- addressing errors: the same for all commands ------------------------ */

static const struct {
	unsigned long	command;
	const char	*name;
	bool		vcpu;		/* addresses a VCPU */
} addressed[] = {
#define ROW(c, vcpu) { c, #c, vcpu }
	ROW(VMM_IOC_RUN, true),
	ROW(VMM_IOC_TERM, false),
	ROW(VMM_IOC_RESETCPU, true),
	ROW(VMM_IOC_INTR, true),
	ROW(VMM_IOC_READREGS, true),
	ROW(VMM_IOC_WRITEREGS, true),
	ROW(VMM_IOC_READVMPARAMS, true),
	ROW(VMM_IOC_WRITEVMPARAMS, true),
	ROW(VMM_IOC_MPROTECT_EPT, true),
	ROW(VMM_IOC_ENABLE, false),
	ROW(VMM_IOC_IRQLINE, false),
	ROW(VMM_IOC_WRITTEN, false),
	ROW(VMM_IOC_SHARE, false),
	ROW(VMM_IOC_KICK, true),
	ROW(VMM_IOC_WAIT, false),
	ROW(VMM_IOC_STATS, true),
#undef ROW
};

static void
test_unknown_ids(void **state)
{
	struct vm_create_params vcp;
	const uint32_t bad[] = { 0, 0xfffffff0 };
	uint32_t params[512];
	size_t i, j;

	(void)state;
	client_params(&vcp, 1, "ids");
	client_create(fd, &vcp, 0);
	for (i = 0; i < ARRAY_LEN(addressed); i++) {
		for (j = 0; j < ARRAY_LEN(bad); j++) {
			memset(params, 0, sizeof(params));
			params[0] = bad[j];
			if (client_do(fd, addressed[i].command, params) !=
			    ENOENT)
				fail_msg("%s: id %u", addressed[i].name,
				    bad[j]);
		}
		if (!addressed[i].vcpu)
			continue;
		for (j = 0; j < 2; j++) {
			memset(params, 0, sizeof(params));
			params[0] = vcp.vcp_id;
			params[1] = j == 0 ? 1 : UINT32_MAX;
			params[2] = 0xffff0000;		/* vrp_irq */
			if (client_do(fd, addressed[i].command, params) !=
			    ENOENT)
				fail_msg("%s: vcpu %u", addressed[i].name,
				    params[1]);
		}
	}
	client_end(fd, &vcp);
}

static void
test_bad_pointers(void **state)
{
	void *const bad[] = { NULL, (void *)8, (void *)-1L, (void *)-4096L,
	    (void *)0x8000000000000000ul, (void *)0x800000000000ul };
	uint8_t *page;
	size_t i, j;

	(void)state;
	page = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(page + 4096, 4096, PROT_NONE);
	for (i = 0; i < ARRAY_LEN(addressed); i++) {
		for (j = 0; j < ARRAY_LEN(bad); j++)
			if (client_do(fd, addressed[i].command, bad[j]) !=
			    EFAULT)
				fail_msg("%s: %p", addressed[i].name, bad[j]);
		/* One that ends in a page that is not there. */
		assert_int_equal(client_do(fd, addressed[i].command,
		    page + 4094), EFAULT);
	}
	munmap(page, 8192);
}

static void
test_unknown_commands(void **state)
{
	struct vm_create_params vcp;

	(void)state;
	memset(&vcp, 0, sizeof(vcp));
	assert_int_equal(client_do(fd, 0, &vcp), ENOTTY);
	assert_int_equal(client_do(fd, _IO('V', 1), &vcp), ENOTTY);
	assert_int_equal(client_do(fd, _IOWR('V', 12, vcp), &vcp), ENOTTY);
	assert_int_equal(client_do(fd, _IOW('V', 1, vcp), &vcp), ENOTTY);
	assert_int_equal(client_do(fd, _IOWR('U', 1, vcp), &vcp), ENOTTY);
	/* Sign-extended, as through an int. */
	assert_int_equal(client_do(fd, (unsigned long)(int)VMM_IOC_CREATE,
	    &vcp), EINVAL);
}

/* --- CREATE -------------------------------------------------------------- */

#define MIB	(1ul << 20)

/* Parameters, and what comes of them; VAs count from real memory. */
static const struct {
	const char	*what;
	int		 error;
	size_t		 nranges, ncpus;
	struct { paddr_t gpa; size_t va_offset, size; } range[3];
} creations[] = {
	{ "one range", 0, 1, 1, { { 0, 0, MIB } } },
	{ "a range above 0", 0, 1, 1, { { 16 * MIB, 0, MIB } } },
	{ "three ranges, whole MiB together", 0, 3, 1,
	    { { 0, 0, 0xa0000 }, { 0xa0000, 0xa0000, 0x60000 },
	    { 0x10000000, 2 * MIB, MIB } } },
	{ "four VCPUs", 0, 1, 4, { { 0, 0, MIB } } },
	{ "up to the MMIO window", 0, 1, 1,
	    { { 0xf0000000 - MIB, 0, MIB } } },
	{ "above the MMIO window", 0, 1, 1, { { 0x100000000, 0, MIB } } },
	{ "up to the largest VM", 0, 1, 1,
	    { { 32768 * MIB - MIB, 0, MIB } } },
	{ "no VCPU", EINVAL, 1, 0, { { 0, 0, MIB } } },
	{ "more VCPUs than the engine can", EINVAL, 1, 5, { { 0, 0, MIB } } },
	{ "too many VCPUs", EINVAL, 1, 65, { { 0, 0, MIB } } },
	{ "no range", EINVAL, 0, 1, { { 0, 0, MIB } } },
	{ "too many ranges", EINVAL, 17, 1, { { 0, 0, MIB } } },
	{ "size 0", EINVAL, 1, 1, { { 0, 0, 0 } } },
	{ "second range empty", EINVAL, 2, 1, { { 0, 0, MIB } } },
	{ "gpa not aligned", EINVAL, 1, 1, { { 0x800, 0, MIB } } },
	{ "va not aligned", EINVAL, 1, 1, { { 0, 0x800, MIB } } },
	{ "size not aligned", EINVAL, 1, 1, { { 0, 0, MIB + 0x800 } } },
	{ "not whole MiB", EINVAL, 1, 1, { { 0, 0, 0xa0000 } } },
	{ "beyond the largest VM", EINVAL, 1, 1,
	    { { 32768 * MIB, 0, MIB } } },
	{ "size beyond the largest VM", EINVAL, 1, 1,
	    { { MIB, 0, 32768 * MIB } } },
	{ "gpa + size wraps", EINVAL, 1, 1,
	    { { (paddr_t)-MIB, 0, 2 * MIB } } },
	{ "va + size wraps", EINVAL, 1, 1, { { 0, -(size_t)MIB, MIB } } },
	{ "in the MMIO window", EINVAL, 1, 1, { { 0xf8000000, 0, MIB } } },
	{ "into the MMIO window", EINVAL, 1, 1,
	    { { 0xf0000000 - MIB, 0, 2 * MIB } } },
	{ "ends with the MMIO window", EINVAL, 1, 1,
	    { { 0x100000000 - MIB, 0, MIB } } },
	{ "around the MMIO window", EINVAL, 1, 1,
	    { { 0xe0000000, 0, 1024 * MIB } } },
	{ "descending", EINVAL, 2, 1,
	    { { MIB, 0, MIB }, { 0, MIB, MIB } } },
	{ "overlapping", EINVAL, 2, 1,
	    { { 0, 0, 2 * MIB }, { MIB, 2 * MIB, MIB } } },
	{ "the same twice", EINVAL, 2, 1,
	    { { 0, 0, MIB }, { 0, MIB, MIB } } },
	{ "va not mapped", ENOMEM, 1, 1, { { 0, 4 * MIB, MIB } } },
	{ "va mapped in part", ENOMEM, 1, 1, { { 0, 3 * MIB, 2 * MIB } } },
};

static void
test_create(void **state)
{
	struct vm_create_params vcp;
	struct vm_terminate_params vtp;
	uint32_t last = 0;
	uint8_t *mem;
	size_t i, j, va;
	int error;

	(void)state;
	/* Four MiB, and a hole behind them. */
	mem = mmap(NULL, 8 * MIB, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(mem + 4 * MIB, 4 * MIB);
	for (i = 0; i < ARRAY_LEN(creations); i++) {
		memset(&vcp, 0, sizeof(vcp));
		vcp.vcp_id = 0xdead;
		vcp.vcp_ncpus = creations[i].ncpus;
		vcp.vcp_nmemranges = creations[i].nranges;
		for (j = 0; j < 3; j++) {
			va = creations[i].range[j].va_offset;
			vcp.vcp_memranges[j].vmr_gpa =
			    creations[i].range[j].gpa;
			vcp.vcp_memranges[j].vmr_va = va > SIZE_MAX / 2 ? va :
			    (vaddr_t)mem + va;
			vcp.vcp_memranges[j].vmr_size =
			    creations[i].range[j].size;
		}
		error = client_do(fd, VMM_IOC_CREATE, &vcp);
		if (error != creations[i].error)
			fail_msg("%s: %s", creations[i].what, strerror(error));
		if (error != 0) {
			/* Written back on success alone. */
			assert_int_equal(vcp.vcp_id, 0xdead);
			continue;
		}
		assert_true(vcp.vcp_id > last);
		last = vcp.vcp_id;
		assert_int_equal(atomic_load(&fake_vms), 1);
		assert_int_equal(atomic_load(&fake_vcpus), creations[i].ncpus);
		vtp.vtp_vm_id = vcp.vcp_id;
		assert_int_equal(client_do(fd, VMM_IOC_TERM, &vtp), 0);
		assert_int_equal(client_do(fd, VMM_IOC_TERM, &vtp), ENOENT);
		/* A failed CREATE and a TERM leave nothing. */
		assert_int_equal(atomic_load(&fake_vms), 0);
		assert_int_equal(atomic_load(&fake_vcpus), 0);
	}
	munmap(mem, 4 * MIB);

	/* The CPU refuses. */
	client_params(&vcp, 1, "refused");
	fake_reset_error = EINVAL;
	assert_int_equal(client_do(fd, VMM_IOC_CREATE, &vcp), EIO);
	fake_reset_error = 0;
	assert_int_equal(atomic_load(&fake_vms), 0);
	assert_int_equal(atomic_load(&fake_vcpus), 0);
	munmap((void *)vcp.vcp_memranges[0].vmr_va, MIB);
}

/* --- INFO ---------------------------------------------------------------- */

static void
test_info(void **state)
{
	struct vm_create_params a, b;
	struct vm_info_params vip;
	struct vm_info_result vir[64];

	(void)state;
	client_params(&a, 2, "");
	memset(a.vcp_name, 'x', sizeof(a.vcp_name));	/* no NUL */
	client_params(&b, 3, "second");
	b.vcp_ncpus = 2;
	client_create(fd, &a, 0);
	client_create(fd, &b, 0);
	madvise((void *)a.vcp_memranges[0].vmr_va, 2 * MIB, MADV_NOHUGEPAGE);
	memset((void *)a.vcp_memranges[0].vmr_va, 1, 5 * 4096);

	/* Too small: how much it takes. */
	memset(&vip, 0, sizeof(vip));
	vip.vip_info_ct = 77;
	assert_int_equal(client_do(fd, VMM_IOC_INFO, &vip), 0);
	assert_int_equal(vip.vip_info_ct, 0);
	assert_true(vip.vip_size >= 2 * sizeof(vir[0]));
	assert_int_equal(vip.vip_size % sizeof(vir[0]), 0);
	vip.vip_size = sizeof(vir[0]);
	vip.vip_info = vir;
	assert_int_equal(client_do(fd, VMM_IOC_INFO, &vip), 0);
	assert_int_equal(vip.vip_info_ct, 0);
	assert_true(vip.vip_size >= 2 * sizeof(vir[0]));

	assert_int_equal(client_info(fd, a.vcp_id, &vir[0]), 0);
	assert_int_equal(vir[0].vir_memory_size, 2);
	assert_int_equal(vir[0].vir_used_size, 5 * 4096);
	assert_int_equal(vir[0].vir_ncpus, 1);
	assert_int_equal(vir[0].vir_vcpu_state[0], VCPU_STATE_STOPPED);
	assert_int_equal(vir[0].vir_creator_pid, getpid());
	assert_int_equal(strlen(vir[0].vir_name), 63);
	assert_int_equal(client_info(fd, b.vcp_id, &vir[0]), 0);
	assert_int_equal(vir[0].vir_memory_size, 3);
	assert_int_equal(vir[0].vir_ncpus, 2);
	assert_string_equal(vir[0].vir_name, "second");

	vip.vip_size = 1 << 20;
	vip.vip_info = (void *)8;
	vip.vip_info_ct = 77;
	assert_int_equal(client_do(fd, VMM_IOC_INFO, &vip), EFAULT);
	assert_int_equal(vip.vip_info_ct, 77);

	client_end(fd, &a);
	assert_int_equal(client_info(fd, a.vcp_id, &vir[0]), ENOENT);
	client_end(fd, &b);
}

/* --- registers ----------------------------------------------------------- */

static void
test_registers(void **state)
{
	struct vm_create_params vcp;
	struct vm_resetcpu_params reset;
	struct vm_rwregs_params regs, out;
	uint32_t id;
	uint8_t *p;
	size_t i;

	(void)state;
	client_params(&vcp, 1, "regs");
	id = client_create(fd, &vcp, 0);

	memset(&reset, 0, sizeof(reset));
	reset.vrp_vm_id = id;
	p = (uint8_t *)&reset.vrp_init_state;
	for (i = 0; i < sizeof(reset.vrp_init_state); i++)
		p[i] = (uint8_t)(i * 7);
	reset.vrp_init_state.vrs_crs[VCPU_REGS_CR8] = 5;
	assert_int_equal(client_do(fd, VMM_IOC_RESETCPU, &reset), 0);

	memset(&out, 0, sizeof(out));
	out.vrwp_vm_id = id;
	out.vrwp_mask = VM_RWREGS_ALL;
	assert_int_equal(client_do(fd, VMM_IOC_READREGS, &out), 0);
	assert_memory_equal(&out.vrwp_regs, &reset.vrp_init_state,
	    sizeof(out.vrwp_regs));

	/* Only the groups of the mask are filled. */
	memset(&out.vrwp_regs, 0xee, sizeof(out.vrwp_regs));
	out.vrwp_mask = VM_RWREGS_CRS;
	assert_int_equal(client_do(fd, VMM_IOC_READREGS, &out), 0);
	assert_int_equal(out.vrwp_regs.vrs_crs[VCPU_REGS_CR8], 5);
	assert_int_equal(out.vrwp_regs.vrs_gprs[3], 0xeeeeeeeeeeeeeeee);
	assert_int_equal(out.vrwp_regs.vrs_drs[0], 0xeeeeeeeeeeeeeeee);
	out.vrwp_mask = 0;
	assert_int_equal(client_do(fd, VMM_IOC_READREGS, &out), 0);
	out.vrwp_mask = 0x20;
	assert_int_equal(client_do(fd, VMM_IOC_READREGS, &out), EINVAL);

	/* Only the groups of the mask are loaded. */
	memset(&regs, 0, sizeof(regs));
	regs.vrwp_vm_id = id;
	regs.vrwp_mask = VM_RWREGS_GPRS;
	regs.vrwp_regs.vrs_gprs[VCPU_REGS_R9] = 99;
	assert_int_equal(client_do(fd, VMM_IOC_WRITEREGS, &regs), 0);
	out.vrwp_mask = VM_RWREGS_ALL;
	assert_int_equal(client_do(fd, VMM_IOC_READREGS, &out), 0);
	assert_int_equal(out.vrwp_regs.vrs_gprs[VCPU_REGS_R9], 99);
	assert_int_equal(out.vrwp_regs.vrs_gprs[VCPU_REGS_RAX], 0);
	assert_memory_equal(out.vrwp_regs.vrs_sregs,
	    reset.vrp_init_state.vrs_sregs,
	    sizeof(out.vrwp_regs.vrs_sregs));
	/* Nothing and the unknown: success, ignored. */
	regs.vrwp_regs.vrs_gprs[VCPU_REGS_R9] = 100;
	regs.vrwp_mask = 0;
	assert_int_equal(client_do(fd, VMM_IOC_WRITEREGS, &regs), 0);
	regs.vrwp_mask = ~(uint64_t)VM_RWREGS_ALL;
	assert_int_equal(client_do(fd, VMM_IOC_WRITEREGS, &regs), 0);
	assert_int_equal(client_do(fd, VMM_IOC_READREGS, &out), 0);
	assert_int_equal(out.vrwp_regs.vrs_gprs[VCPU_REGS_R9], 99);

	fake_reset_error = EINVAL;
	assert_int_equal(client_do(fd, VMM_IOC_RESETCPU, &reset), EIO);
	fake_reset_error = 0;
	client_end(fd, &vcp);
}

static void
test_vmparams(void **state)
{
	struct vm_create_params vcp;
	struct vm_rwvmparams_params vpp;
	uint8_t *mem;

	(void)state;
	client_params(&vcp, 1, "params");
	client_create(fd, &vcp, 0);
	mem = (uint8_t *)vcp.vcp_memranges[0].vmr_va;
	memset(&vpp, 0, sizeof(vpp));
	vpp.vpp_vm_id = vcp.vcp_id;
	vpp.vpp_mask = VM_RWVMPARAMS_ALL;
	vpp.vpp_pvclock_system_gpa = 0x3000 | 1;
	vpp.vpp_pvclock_version = 40;
	assert_int_equal(client_do(fd, VMM_IOC_WRITEVMPARAMS, &vpp), 0);
	/* The page has been written: the version went on, and is even. */
	assert_int_equal(mem[0x3000] % 2, 0);
	assert_true(mem[0x3000] > 40);

	vpp.vpp_mask = VM_RWVMPARAMS_PVCLOCK_SYSTEM_GPA;
	vpp.vpp_pvclock_system_gpa = 0;
	vpp.vpp_pvclock_version = 7;
	assert_int_equal(client_do(fd, VMM_IOC_READVMPARAMS, &vpp), 0);
	assert_int_equal(vpp.vpp_pvclock_system_gpa, 0x3001);
	assert_int_equal(vpp.vpp_pvclock_version, 7);
	vpp.vpp_mask = VM_RWVMPARAMS_PVCLOCK_VERSION;
	assert_int_equal(client_do(fd, VMM_IOC_READVMPARAMS, &vpp), 0);
	assert_int_equal(vpp.vpp_pvclock_version, mem[0x3000]);
	client_end(fd, &vcp);
}

/* --- MPROTECT_EPT -------------------------------------------------------- */

static const struct {
	const char	*what;
	uint64_t	 gpa, size;
	int		 prot, error;
} protections[] = {
	{ "none but read", 0x1000, 0x1000, PROT_READ, 0 },
	{ "read and execute", 0x1000, 0x2000, PROT_READ | PROT_EXEC, 0 },
	{ "execute only", 0x1000, 0x2000, PROT_EXEC, 0 },
	{ "all", 0, MIB, PROT_READ | PROT_WRITE | PROT_EXEC, 0 },
	{ "across adjacent ranges", MIB - 0x1000, 0x2000, PROT_READ, 0 },
	{ "write only", 0x1000, 0x1000, PROT_WRITE, EINVAL },
	{ "write and execute", 0x1000, 0x1000, PROT_WRITE | PROT_EXEC,
	    EINVAL },
	{ "nothing", 0x1000, 0x1000, PROT_NONE, EINVAL },
	{ "unknown rights", 0x1000, 0x1000, PROT_READ | 0x100, EINVAL },
	{ "gpa not aligned", 0x1800, 0x1000, PROT_READ, EINVAL },
	{ "size not aligned", 0x1000, 0x800, PROT_READ, EINVAL },
	{ "size 0", 0x1000, 0, PROT_READ, EINVAL },
	{ "512 GiB", 0, 512ul << 30, PROT_READ, EINVAL },
	{ "wrap", -0x1000ul, 0x2000, PROT_READ, EINVAL },
	{ "the MMIO window", 0xf0000000, 0x1000, PROT_READ, EINVAL },
	{ "into the MMIO window", 0x0, 0xf0001000, PROT_READ, EINVAL },
	{ "outside", 0x10000000, 0x1000, PROT_READ, EINVAL },
	{ "tail outside", 0x1000, 4 * MIB, PROT_READ, EFAULT },
};

static void
test_mprotect_ept(void **state)
{
	struct vm_create_params vcp;
	struct vm_mprotect_ept_params vmep;
	size_t i;
	int error;

	(void)state;
	client_params(&vcp, 2, "rights");
	vcp.vcp_nmemranges = 2;		/* two that touch */
	vcp.vcp_memranges[0].vmr_size = MIB;
	vcp.vcp_memranges[1].vmr_gpa = MIB;
	vcp.vcp_memranges[1].vmr_va = vcp.vcp_memranges[0].vmr_va + MIB;
	vcp.vcp_memranges[1].vmr_size = MIB;
	client_create(fd, &vcp, 0);
	for (i = 0; i < ARRAY_LEN(protections); i++) {
		memset(&fake_protected, 0, sizeof(fake_protected));
		memset(&vmep, 0, sizeof(vmep));
		vmep.vmep_vm_id = vcp.vcp_id;
		vmep.vmep_sgpa = protections[i].gpa;
		vmep.vmep_size = protections[i].size;
		vmep.vmep_prot = protections[i].prot;
		error = client_do(fd, VMM_IOC_MPROTECT_EPT, &vmep);
		if (error != protections[i].error)
			fail_msg("%s: %s", protections[i].what,
			    strerror(error));
		/* Checked before anything changes. */
		assert_int_equal(fake_protected.size,
		    error == 0 ? protections[i].size : 0);
		assert_int_equal(fake_protected.prot,
		    error == 0 ? protections[i].prot : 0);
	}
	vcp.vcp_memranges[0].vmr_size = 2 * MIB;
	client_end(fd, &vcp);
}

/* --- ours ---------------------------------------------------------------- */

static void
test_engine(void **state)
{
	struct vmm_engine_params ve;

	(void)state;
	memset(&ve, 0, sizeof(ve));
	strcpy(ve.ve_name, "auto");
	assert_int_equal(client_do(fd, VMM_IOC_ENGINE, &ve), 0);
	assert_string_equal(ve.ve_name, "fake");
	strcpy(ve.ve_name, "fake,slow");
	assert_int_equal(client_do(fd, VMM_IOC_ENGINE, &ve), 0);
	strcpy(ve.ve_name, "fak");
	assert_int_equal(client_do(fd, VMM_IOC_ENGINE, &ve), EINVAL);
	assert_non_null(strstr(ve.ve_why, "fak"));
	memset(ve.ve_name, 'f', sizeof(ve.ve_name));
	assert_int_equal(client_do(fd, VMM_IOC_ENGINE, &ve), EINVAL);
	fake_probe_error = ENODEV;
	strcpy(ve.ve_name, "fake");
	assert_int_equal(client_do(fd, VMM_IOC_ENGINE, &ve), ENODEV);
	assert_string_equal(ve.ve_why, "the fake is told not to work");
	fake_probe_error = 0;
}

static void
test_enable(void **state)
{
	struct vm_create_params vcp;
	struct vmm_enable_params ven;
	struct vmm_irqline_params vil = { 0 };
	struct vmm_written_params vwr = { 0 };

	(void)state;
	client_params(&vcp, 1, "caps");
	client_create(fd, &vcp, 0);
	vil.vil_vm_id = vwr.vwr_vm_id = ven.ven_vm_id = vcp.vcp_id;
	ven.ven_caps = 0x80;
	assert_int_equal(client_do(fd, VMM_IOC_ENABLE, &ven), EINVAL);
	ven.ven_caps = 0x80000001;
	assert_int_equal(client_do(fd, VMM_IOC_ENABLE, &ven), EINVAL);
	assert_int_equal(client_do(fd, VMM_IOC_IRQLINE, &vil), EINVAL);
	assert_false(fake_writes_reported);
	ven.ven_caps = VMM_CAP_APIC | VMM_CAP_WRITTEN;
	assert_int_equal(client_do(fd, VMM_IOC_ENABLE, &ven), 0);
	assert_int_equal(client_do(fd, VMM_IOC_ENABLE, &ven), 0);
	assert_true(fake_writes_reported);

	assert_int_equal(client_do(fd, VMM_IOC_IRQLINE, &vil), 0);
	vil.vil_line = 24;
	assert_int_equal(client_do(fd, VMM_IOC_IRQLINE, &vil), EINVAL);
	vil.vil_line = 23;
	vil.vil_level = 2;
	assert_int_equal(client_do(fd, VMM_IOC_IRQLINE, &vil), EINVAL);

	vwr.vwr_gpa = 0x1234;
	vwr.vwr_size = 0x100;
	assert_int_equal(client_do(fd, VMM_IOC_WRITTEN, &vwr), 0);
	assert_int_equal(fake_written_gpa, 0x1234);
	assert_int_equal(fake_written_size, 0x100);
	vwr.vwr_size = MIB;
	assert_int_equal(client_do(fd, VMM_IOC_WRITTEN, &vwr), EINVAL);
	vwr.vwr_size = SIZE_MAX;
	assert_int_equal(client_do(fd, VMM_IOC_WRITTEN, &vwr), EINVAL);
	client_end(fd, &vcp);
}

/* SHARE: one range, whole, and a descriptor that is open. */
static void
test_share(void **state)
{
	static const struct fake_step script[] = {
		{ .fs_op = FAKE_STI },
		{ FAKE_EXIT, { .er_exit = ENGINE_EXIT_HLT }, 0, 0 },
	};
	struct vm_create_params vcp;
	struct vmm_share_params good, vsh;
	struct vm_run_params vrp;
	struct vmm_exit vx;
	uint8_t *va;
	int file = memfd_create("share", 0);

	(void)state;
	assert_true(file >= 0);
	client_params(&vcp, 2, "share");
	va = (uint8_t *)vcp.vcp_memranges[0].vmr_va;
	vcp.vcp_memranges[0].vmr_size = MIB;
	vcp.vcp_memranges[1] = (struct vm_mem_range){ .vmr_gpa = 16 * MIB,
	    .vmr_va = (vaddr_t)va + MIB, .vmr_size = MIB };
	vcp.vcp_nmemranges = 2;
	client_create(fd, &vcp, 0);
	good = (struct vmm_share_params){ .vsh_vm_id = vcp.vcp_id,
	    .vsh_fd = file, .vsh_offset = 3 * 4096,
	    .vsh_va = (vaddr_t)va + MIB, .vsh_size = MIB };

#define EXPECT(error, member, value)					\
	do {								\
		vsh = good;						\
		vsh.member = (value);					\
		assert_int_equal(client_do(fd, VMM_IOC_SHARE, &vsh),	\
		    (error));						\
	} while (0)
	memset(&fake_shared, 0, sizeof(fake_shared));
	EXPECT(EINVAL, vsh_va, (vaddr_t)va + 4096);
	EXPECT(EINVAL, vsh_va, 0);
	EXPECT(EINVAL, vsh_va, (vaddr_t)va + 2 * MIB);
	EXPECT(EINVAL, vsh_size, MIB - 4096);
	EXPECT(EINVAL, vsh_size, 2 * MIB);
	EXPECT(EINVAL, vsh_size, 0);
	EXPECT(EINVAL, vsh_offset, 1);
	EXPECT(EINVAL, vsh_offset, 0ul - MIB);
	EXPECT(EINVAL, vsh_offset, 0ul - 4096);
	EXPECT(EINVAL, vsh_offset, (1ul << 63) - 4096);
	EXPECT(EBADF, vsh_fd, -1);
	EXPECT(EBADF, vsh_fd, 0x7fffffff);
	EXPECT(ENOENT, vsh_vm_id, 0);
	assert_null(fake_shared.host);

	EXPECT(0, vsh_fd, file);
	assert_ptr_equal(fake_shared.host, va + MIB);
	assert_int_equal(fake_shared.size, MIB);
	assert_int_equal(fake_shared.fd, file);
	assert_int_equal(fake_shared.offset, 3 * 4096);
	EXPECT(0, vsh_va, (vaddr_t)va);
	assert_ptr_equal(fake_shared.host, va);
	fake_share_error = EMFILE;
	EXPECT(EMFILE, vsh_fd, file);
	fake_share_error = 0;

	fake_play(script, ARRAY_LEN(script));
	memset(&vx, 0, sizeof(vx));
	assert_int_equal(client_run(fd, vcp.vcp_id, &vrp, &vx), 0);
	fake_shared.host = NULL;
	EXPECT(EBUSY, vsh_fd, file);
	assert_null(fake_shared.host);
#undef EXPECT
	vcp.vcp_memranges[0].vmr_size = 2 * MIB;
	client_end(fd, &vcp);
	close(file);
}

static void
own_handler(int signo)
{
	(void)signo;
}

static bool
handler_is_own(void)
{
	struct sigaction sa;

	sigaction(SIGFPE, NULL, &sa);
	return (sa.sa_handler == own_handler);
}

/* VMM_CAP_PROMISE: nothing is checked for the descriptor, until TERM. */
static void
test_promise(void **state)
{
	struct sigaction own = { .sa_handler = own_handler }, old;
	struct vm_create_params vcp;
	struct vm_info_params vip = { 0 };
	int other = vmm_open();

	(void)state;
	client_params(&vcp, 1, "promise");
	client_create(fd, &vcp, VMM_CAP_PROMISE);
	sigaction(SIGFPE, &own, &old);
	assert_int_equal(probe(fd), 0);
	assert_int_equal(client_do(fd, VMM_IOC_INFO, NULL), EFAULT);
	vip.vip_size = 1 << 20;
	vip.vip_info = (void *)8;
	assert_int_equal(client_do(fd, VMM_IOC_INFO, &vip), EFAULT);
	assert_int_equal(client_do(fd, 0x1234, &vip), ENOTTY);
	assert_true(handler_is_own());
	/* it goes for this one alone */
	assert_int_equal(probe(-1), EBADF);
	assert_int_equal(probe(0), EBADF);
	assert_int_equal(probe(other), 0);
	assert_false(handler_is_own());
	sigaction(SIGFPE, &own, NULL);
	assert_int_equal(probe(fd), 0);
	assert_true(handler_is_own());
	client_end(fd, &vcp);
	assert_int_equal(probe(fd), 0);
	assert_false(handler_is_own());

	/* the end of the descriptor is the end of it, too */
	client_params(&vcp, 1, "promise");
	client_create(other, &vcp, VMM_CAP_PROMISE);
	assert_int_equal(vmm_close(other), 0);
	assert_int_equal(probe(other), EBADF);
	client_end(fd, &vcp);
	sigaction(SIGFPE, &old, NULL);
}

/* The counter of ids is not started over by the end of all VMs. */
static void
test_ids_go_on(void **state)
{
	struct vm_create_params a, b;

	(void)state;
	client_params(&a, 1, "a");
	client_create(fd, &a, 0);
	client_end(fd, &a);
	client_params(&b, 1, "b");
	client_create(fd, &b, 0);
	client_end(fd, &b);
	assert_true(b.vcp_id > a.vcp_id);
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
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_no_engine),
		cmocka_unit_test(test_unknown_ids),
		cmocka_unit_test(test_bad_pointers),
		cmocka_unit_test(test_unknown_commands),
		cmocka_unit_test(test_create),
		cmocka_unit_test(test_info),
		cmocka_unit_test(test_registers),
		cmocka_unit_test(test_vmparams),
		cmocka_unit_test(test_mprotect_ept),
		cmocka_unit_test(test_engine),
		cmocka_unit_test(test_enable),
		cmocka_unit_test(test_share),
		cmocka_unit_test(test_promise),
		cmocka_unit_test(test_ids_go_on),
	};

	return (cmocka_run_group_tests(tests, setup, NULL));
}
