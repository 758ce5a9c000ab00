/*
 * The scripted engine; see fake_engine.h.
 */
#include "../lib/fake_engine.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FL_IF	0x200

struct engine_vm {
	int	unused;
};

const struct fake_step *fake_script;
size_t fake_nsteps;
atomic_size_t fake_at;
struct fake_entry fake_entries[FAKE_ENTRIES];
atomic_size_t fake_nentries, fake_nruns;
uint64_t fake_result;
unsigned fake_faults;
struct engine_cpuid fake_cpuid;
atomic_int fake_vms, fake_vcpus;
int fake_reset_error, fake_run_error, fake_probe_error;
int fake_share_error;
uint64_t fake_written_gpa, fake_written_size;
bool fake_writes_reported;
__typeof__(fake_protected) fake_protected;
__typeof__(fake_shared) fake_shared;
int64_t fake_tsc_offset;

void
fake_play(const struct fake_step *script, size_t n)
{
	fake_script = script;
	fake_nsteps = n;
	atomic_store(&fake_at, 0);
	atomic_store(&fake_nentries, 0);
	fake_faults = 0;
}

static int
fake_probe(char *why, size_t len)
{
	if (fake_probe_error != 0)
		snprintf(why, len, "the fake is told not to work");
	return (fake_probe_error);
}

static int
fake_vm_new(const struct engine_vm_config *config, struct engine_vm **evp)
{
	(void)config;
	if ((*evp = calloc(1, sizeof(**evp))) == NULL)
		return (ENOMEM);
	fake_writes_reported = config->ev_writes_reported;
	atomic_fetch_add(&fake_vms, 1);
	return (0);
}

static void
fake_vm_free(struct engine_vm *ev)
{
	atomic_fetch_sub(&fake_vms, 1);
	free(ev);
}

static int
fake_protect(struct engine_vm *ev, uint64_t gpa, size_t size, int prot)
{
	(void)ev;
	fake_protected.gpa = gpa;
	fake_protected.size = size;
	fake_protected.prot = prot;
	return (0);
}

static void
fake_written(struct engine_vm *ev, uint64_t gpa, size_t size)
{
	(void)ev;
	fake_written_gpa = gpa;
	fake_written_size = size;
}

static void
fake_set_writes_reported(struct engine_vm *ev, bool on)
{
	(void)ev;
	fake_writes_reported = on;
}

static int
fake_share(struct engine_vm *ev, const void *host, size_t size, int fd,
    uint64_t offset)
{
	(void)ev;
	fake_shared.host = host;
	fake_shared.size = size;
	fake_shared.fd = fd;
	fake_shared.offset = offset;
	return (fake_share_error);
}

static int
fake_vcpu_new(struct engine_vm *ev, unsigned id, const struct engine_host *host,
    void *arg, struct engine_vcpu **fvp)
{
	struct engine_vcpu *fv;

	(void)ev;
	if ((fv = calloc(1, sizeof(*fv))) == NULL)
		return (ENOMEM);
	fv->fv_host = host;
	fv->fv_arg = arg;
	fv->fv_id = id;
	atomic_fetch_add(&fake_vcpus, 1);
	*fvp = fv;
	return (0);
}

static void
fake_vcpu_free(struct engine_vcpu *fv)
{
	assert(!atomic_load(&fv->fv_inside));
	atomic_fetch_sub(&fake_vcpus, 1);
	free(fv);
}

/* Every call but eo_kick(): one thread at a time. */
static void
fake_call(struct engine_vcpu *fv)
{
	if (atomic_load(&fv->fv_inside))
		atomic_fetch_add(&fv->fv_overlaps, 1);
}

static bool
fake_ready(struct engine_vcpu *fv)
{
	return ((fv->fv_regs.vrs_gprs[VCPU_REGS_RFLAGS] & FL_IF) != 0);
}

static void
fake_kick(struct engine_vcpu *fv)
{
	atomic_store(&fv->fv_kick, true);
}

/* One step. True: leave with run's out part. */
static bool
fake_step_do(struct engine_vcpu *fv, const struct fake_step *fs,
    struct engine_run *run)
{
	uint64_t *flags = &fv->fv_regs.vrs_gprs[VCPU_REGS_RFLAGS];

	switch (fs->fs_op) {
	case FAKE_EXIT:
		run->er_exit = fs->fs_run.er_exit;
		run->er_io = fs->fs_run.er_io;
		if (run->er_exit == ENGINE_EXIT_MMIO)
			run->er_mmio = fs->fs_run.er_mmio;
		else if (run->er_exit == ENGINE_EXIT_PROTECT)
			run->er_protect = fs->fs_run.er_protect;
		else if (run->er_exit == ENGINE_EXIT_ERROR)
			run->er_errno = fs->fs_run.er_errno;
		if (run->er_exit != ENGINE_EXIT_MMIO &&
		    run->er_exit != ENGINE_EXIT_PROTECT)
			fv->fv_regs.vrs_gprs[VCPU_REGS_RIP]++;
		return (true);
	case FAKE_STI:
		*flags |= FL_IF;
		return (false);
	case FAKE_CLI:
		*flags &= ~(uint64_t)FL_IF;
		return (false);
	case FAKE_SPIN:
		while (!atomic_load(&fv->fv_kick))
			usleep(100);
		atomic_fetch_sub(&fake_at, 1);
		return (false);
	case FAKE_WRMSR:
		if (!fv->fv_host->eh_wrmsr(fv->fv_arg, fs->fs_msr,
		    fs->fs_value))
			fake_faults++;
		return (false);
	case FAKE_RDMSR:
		if (!fv->fv_host->eh_rdmsr(fv->fv_arg, fs->fs_msr,
		    &fake_result))
			fake_faults++;
		return (false);
	case FAKE_MMIO:
		run->er_mmio = fs->fs_run.er_mmio;
		run->er_exit = ENGINE_EXIT_MMIO;
		if (run->er_mmio.write)
			return (!fv->fv_host->eh_mmio_write(fv->fv_arg,
			    run->er_mmio.gpa, run->er_mmio.size,
			    run->er_mmio.data));
		return (!fv->fv_host->eh_mmio_read(fv->fv_arg,
		    run->er_mmio.gpa, run->er_mmio.size, &fake_result));
	case FAKE_CPUID:
		fake_cpuid.ec_leaf = fs->fs_msr;
		fake_cpuid.ec_subleaf = 0;
		fv->fv_host->eh_cpuid(fv->fv_arg, &fake_cpuid);
		return (false);
	}
	return (false);
}

static int
fake_run(struct engine_vcpu *fv, struct engine_run *run)
{
	size_t at, n = atomic_fetch_add(&fake_nentries, 1);

	fake_call(fv);
	atomic_store(&fv->fv_inside, true);
	atomic_fetch_add(&fake_nruns, 1);
	if (n < FAKE_ENTRIES)
		fake_entries[n] = (struct fake_entry){
			.fe_inject = run->er_inject, .fe_nmi = run->er_nmi,
			.fe_window = run->er_window,
			.fe_complete = run->er_complete,
			.fe_data = run->er_data,
		};
	if (run->er_complete)
		fv->fv_regs.vrs_gprs[VCPU_REGS_RAX] = run->er_data;
	if (run->er_inject >= 0) {
		assert(fake_ready(fv));
		fv->fv_regs.vrs_gprs[VCPU_REGS_RFLAGS] &= ~(uint64_t)FL_IF;
		at = atomic_load(&fake_at);
		if (at < fake_nsteps && fake_script[at].fs_op == FAKE_SPIN)
			atomic_store(&fake_at, at + 1);
	}
	if (fake_run_error != 0) {
		atomic_store(&fv->fv_inside, false);
		return (fake_run_error);
	}
	for (;;) {
		if (atomic_exchange(&fv->fv_kick, false)) {
			run->er_exit = ENGINE_EXIT_KICK;
			/* A tick may come anywhere: not worth a record. */
			if (run->er_inject < 0 && !run->er_nmi &&
			    !run->er_complete)
				atomic_fetch_sub(&fake_nentries, 1);
			break;
		}
		if (run->er_window && fake_ready(fv)) {
			run->er_exit = ENGINE_EXIT_WINDOW;
			break;
		}
		at = atomic_load(&fake_at);
		if (fv->fv_id != 0 || at >= fake_nsteps) {
			usleep(100);
			continue;
		}
		atomic_store(&fake_at, at + 1);
		if (fake_step_do(fv, &fake_script[at], run))
			break;
	}
	run->er_ready = fake_ready(fv);
	atomic_store(&fv->fv_inside, false);
	return (0);
}

static int
fake_reset(struct engine_vcpu *fv, const struct vcpu_reg_state *rs)
{
	fake_call(fv);
	if (fake_reset_error != 0)
		return (fake_reset_error);
	fv->fv_regs = *rs;
	return (0);
}

static int
fake_getregs(struct engine_vcpu *fv, uint64_t mask, struct vcpu_reg_state *rs)
{
	fake_call(fv);
#define GROUP(bit, member)						\
	if ((mask & (bit)) != 0)					\
		memcpy(&rs->member, &fv->fv_regs.member, sizeof(rs->member))
	GROUP(VM_RWREGS_GPRS, vrs_gprs);
	GROUP(VM_RWREGS_CRS, vrs_crs);
	GROUP(VM_RWREGS_MSRS, vrs_msrs);
	GROUP(VM_RWREGS_DRS, vrs_drs);
	GROUP(VM_RWREGS_SREGS, vrs_sregs);
	GROUP(VM_RWREGS_SREGS, vrs_gdtr);
	GROUP(VM_RWREGS_SREGS, vrs_idtr);
#undef GROUP
	return (0);
}

static int
fake_setregs(struct engine_vcpu *fv, uint64_t mask,
    const struct vcpu_reg_state *rs)
{
	fake_call(fv);
#define GROUP(bit, member)						\
	if ((mask & (bit)) != 0)					\
		memcpy(&fv->fv_regs.member, &rs->member, sizeof(rs->member))
	GROUP(VM_RWREGS_GPRS, vrs_gprs);
	GROUP(VM_RWREGS_CRS, vrs_crs);
	GROUP(VM_RWREGS_MSRS, vrs_msrs);
	GROUP(VM_RWREGS_DRS, vrs_drs);
	GROUP(VM_RWREGS_SREGS, vrs_sregs);
	GROUP(VM_RWREGS_SREGS, vrs_gdtr);
	GROUP(VM_RWREGS_SREGS, vrs_idtr);
#undef GROUP
	return (0);
}

static int
fake_getmsr(struct engine_vcpu *fv, uint32_t msr, uint64_t *value)
{
	(void)fv;
	(void)msr;
	*value = 0;
	return (0);
}

static int
fake_setmsr(struct engine_vcpu *fv, uint32_t msr, uint64_t value)
{
	(void)fv;
	(void)msr;
	(void)value;
	return (0);
}

static int64_t
fake_get_tsc_offset(struct engine_vcpu *fv)
{
	(void)fv;
	return (fake_tsc_offset);
}

static uint8_t
fake_cpl(struct engine_vcpu *fv)
{
	return (fv->fv_regs.vrs_sregs[VCPU_REGS_SS].vsi_ar >> 5 & 3);
}

static uint64_t
fake_insns(struct engine_vcpu *fv)
{
	fake_call(fv);
	return (atomic_load(&fake_at));
}

const struct engine_ops fake_engine = {
	.eo_name = "fake",
	.eo_probe = fake_probe,
	.eo_vm_new = fake_vm_new,
	.eo_vm_free = fake_vm_free,
	.eo_protect = fake_protect,
	.eo_written = fake_written,
	.eo_writes_reported = fake_set_writes_reported,
	.eo_share = fake_share,
	.eo_vcpu_new = fake_vcpu_new,
	.eo_vcpu_free = fake_vcpu_free,
	.eo_run = fake_run,
	.eo_kick = fake_kick,
	.eo_ready = fake_ready,
	.eo_reset = fake_reset,
	.eo_getregs = fake_getregs,
	.eo_setregs = fake_setregs,
	.eo_getmsr = fake_getmsr,
	.eo_setmsr = fake_setmsr,
	.eo_tsc_offset = fake_get_tsc_offset,
	.eo_cpl = fake_cpl,
	.eo_insns = fake_insns,
};
