/*
 * The software engine as the monitor sees it: struct engine_ops engine_soft.
 *
 * Registers between the vmm(4) layout and struct cpu, what states are
 * possible, reset. The VCPU's thread calls; eo_kick and eo_written come from
 * any thread.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/hostfault.h"
#include "engine/soft/block.h"
#include "engine/soft/cpu.h"
#include "engine/soft/direct/direct.h"
#include "engine/soft/jit/jit.h"
#include "engine/soft/jit/sample.h"
#include "engine/soft/jit/stats.h"
#include "engine/soft/mmu.h"
#include "engine/soft/run.h"
#include "engine/soft/segment.h"
#include "engine/soft/simd.h"
#include "engine/soft/state.h"
#include "engine/soft/stub.h"
#include "engine/soft/sys.h"
#include "engine/soft/vm.h"

struct engine_vcpu {
	struct cpu	ev_cpu;
};

/* --- the host ------------------------------------------------------------------ */

static int
soft_probe(char *why, size_t whylen)
{
#ifdef __x86_64__
	(void)why;
	(void)whylen;
	return (0);
#else
	snprintf(why, whylen, "the soft engine runs on amd64 hosts only");
	return (ENODEV);
#endif
}

/* --- VMs ----------------------------------------------------------------------- */

static int
soft_options(const char *text, char *why, size_t whylen)
{
	struct jit_options jo;
	const char *bad;

	if (jit_options(text, &jo, &bad) == 0)
		return (0);
	snprintf(why, whylen, "the soft engine has no option \"%.*s\"",
	    (int)strcspn(bad, ","), bad);
	return (EINVAL);
}

static int
soft_vm_new(const struct engine_vm_config *config, struct engine_vm **out)
{
	struct jit_options jo;
	const char *bad;

	if (jit_options(config->ev_options, &jo, &bad) != 0)
		return (EINVAL);
	hostfault_init();
	if ((*out = vm_new(config, &jo)) == NULL)
		return (ENOMEM);
	return (0);
}

static void
soft_vm_written(struct engine_vm *vm, uint64_t gpa, size_t size)
{
	vm_written(vm, NULL, gpa, size);
}

static void
soft_writes_reported(struct engine_vm *vm, bool reported)
{
	vm->ev_writes_reported = reported;
}

/* --- registers ------------------------------------------------------------------- */

/* GPRs, segments and DRs of vmmvar.h by our numbers. */
static const uint8_t gpr_index[16] = {
	VCPU_REGS_RAX, VCPU_REGS_RCX, VCPU_REGS_RDX, VCPU_REGS_RBX,
	VCPU_REGS_RSP, VCPU_REGS_RBP, VCPU_REGS_RSI, VCPU_REGS_RDI,
	VCPU_REGS_R8, VCPU_REGS_R9, VCPU_REGS_R10, VCPU_REGS_R11,
	VCPU_REGS_R12, VCPU_REGS_R13, VCPU_REGS_R14, VCPU_REGS_R15
};
static const uint8_t seg_index[SEG_COUNT] = {
	[SEG_ES] = VCPU_REGS_ES, [SEG_CS] = VCPU_REGS_CS,
	[SEG_SS] = VCPU_REGS_SS, [SEG_DS] = VCPU_REGS_DS,
	[SEG_FS] = VCPU_REGS_FS, [SEG_GS] = VCPU_REGS_GS,
	[SEG_LDTR] = VCPU_REGS_LDTR, [SEG_TR] = VCPU_REGS_TR
};
static const uint8_t dr_index[VCPU_REGS_NDRS] = { 0, 1, 2, 3, 6, 7 };

/* CRs and MSRs that are plain fields. */
#define FIELD(f)	offsetof(struct cpu, f)
static const size_t cr_field[VCPU_REGS_NCRS] = {
	[VCPU_REGS_CR0] = FIELD(c_cr0), [VCPU_REGS_CR2] = FIELD(c_cr2),
	[VCPU_REGS_CR3] = FIELD(c_cr3), [VCPU_REGS_CR4] = FIELD(c_cr4),
	[VCPU_REGS_CR8] = 0, [VCPU_REGS_XCR0] = FIELD(c_xcr0),
	[VCPU_REGS_PDPTE0] = FIELD(c_pdpte[0]),
	[VCPU_REGS_PDPTE1] = FIELD(c_pdpte[1]),
	[VCPU_REGS_PDPTE2] = FIELD(c_pdpte[2]),
	[VCPU_REGS_PDPTE3] = FIELD(c_pdpte[3])
};
static const size_t msr_field[VCPU_REGS_NMSRS] = {
	[VCPU_REGS_EFER] = FIELD(c_efer), [VCPU_REGS_STAR] = FIELD(c_star),
	[VCPU_REGS_LSTAR] = FIELD(c_lstar), [VCPU_REGS_CSTAR] = FIELD(c_cstar),
	[VCPU_REGS_SFMASK] = FIELD(c_sfmask),
	[VCPU_REGS_KGSBASE] = FIELD(c_kgsbase),
	[VCPU_REGS_MISC_ENABLE] = FIELD(c_misc_enable)
};

static uint64_t *
cpu_field(struct cpu *c, size_t offset)
{
	return ((uint64_t *)(void *)((uint8_t *)c + offset));
}

static void
regs_get_segment(const struct segment *s, struct vcpu_segment_info *info)
{
	info->vsi_sel = s->s_sel;
	info->vsi_limit = s->s_limit;
	info->vsi_ar = s->s_ar;
	info->vsi_base = s->s_base;
}

static int
soft_getregs(struct engine_vcpu *v, uint64_t mask, struct vcpu_reg_state *r)
{
	struct cpu *c = &v->ev_cpu;
	unsigned n;

	if (mask & VM_RWREGS_GPRS) {
		for (n = 0; n < 16; n++)
			r->vrs_gprs[gpr_index[n]] = c->c_gpr[n];
		r->vrs_gprs[VCPU_REGS_RIP] = c->c_rip;
		r->vrs_gprs[VCPU_REGS_RFLAGS] = cpu_rflags(c);
	}
	if (mask & VM_RWREGS_SREGS) {
		for (n = 0; n < SEG_COUNT; n++)
			regs_get_segment(&c->c_seg[n],
			    &r->vrs_sregs[seg_index[n]]);
		regs_get_segment(&c->c_gdtr, &r->vrs_gdtr);
		regs_get_segment(&c->c_idtr, &r->vrs_idtr);
	}
	if (mask & VM_RWREGS_CRS) {
		for (n = 0; n < VCPU_REGS_NCRS; n++)
			if (n != VCPU_REGS_CR8)
				r->vrs_crs[n] = *cpu_field(c, cr_field[n]);
		r->vrs_crs[VCPU_REGS_CR8] =
		    c->c_host->eh_read_cr8(c->c_hostarg);
	}
	if (mask & VM_RWREGS_MSRS)
		for (n = 0; n < VCPU_REGS_NMSRS; n++)
			r->vrs_msrs[n] = *cpu_field(c, msr_field[n]);
	if (mask & VM_RWREGS_DRS)
		for (n = 0; n < VCPU_REGS_NDRS; n++)
			r->vrs_drs[n] = c->c_dr[dr_index[n]];
	return (0);
}

/* Would the CPU take this whole state? */
static bool
regs_valid(struct cpu *c, const struct vcpu_reg_state *r)
{
	uint64_t cr0 = r->vrs_crs[VCPU_REGS_CR0];
	uint64_t cr4 = r->vrs_crs[VCPU_REGS_CR4];
	uint64_t efer = r->vrs_msrs[VCPU_REGS_EFER];
	uint64_t xcr0 = r->vrs_crs[VCPU_REGS_XCR0];
	const struct vcpu_segment_info *cs = &r->vrs_sregs[VCPU_REGS_CS];
	bool longmode = efer & EFER_LME && cr0 & CR0_PG;

	if (!cr_consistent(c, cr0, r->vrs_crs[VCPU_REGS_CR3], cr4, efer))
		return (false);
	if (efer & EFER_LMA && !longmode)
		return (false);
	if (longmode && (cs->vsi_ar & (AR_L | AR_DB)) == (AR_L | AR_DB))
		return (false);
	if (longmode && cs->vsi_ar & AR_L &&
	    !cpu_canonical(r->vrs_gprs[VCPU_REGS_RIP]))
		return (false);
	if (longmode && r->vrs_gprs[VCPU_REGS_RFLAGS] & FL_VM)
		return (false);
	if (!cpu_canonical(r->vrs_sregs[VCPU_REGS_FS].vsi_base) ||
	    !cpu_canonical(r->vrs_sregs[VCPU_REGS_GS].vsi_base) ||
	    !cpu_canonical(r->vrs_sregs[VCPU_REGS_TR].vsi_base) ||
	    !cpu_canonical(r->vrs_gdtr.vsi_base) ||
	    !cpu_canonical(r->vrs_idtr.vsi_base))
		return (false);
	if (!cpu_canonical(r->vrs_msrs[VCPU_REGS_LSTAR]) ||
	    !cpu_canonical(r->vrs_msrs[VCPU_REGS_CSTAR]) ||
	    !cpu_canonical(r->vrs_msrs[VCPU_REGS_KGSBASE]))
		return (false);
	if (r->vrs_crs[VCPU_REGS_CR8] > 15)
		return (false);
	/* 0 stands for what XCR0 is after reset; AVX needs SSE */
	if (xcr0 & ~c->c_xcr0_valid || (xcr0 & 6) == 4)
		return (false);
	return (r->vrs_drs[VCPU_REGS_DR6] >> 32 == 0 &&
	    r->vrs_drs[VCPU_REGS_DR7] >> 32 == 0);
}

static void
regs_set_segment(struct segment *s, const struct vcpu_segment_info *info)
{
	s->s_sel = info->vsi_sel;
	s->s_limit = info->vsi_limit;
	s->s_ar = info->vsi_ar & (AR_UNUSABLE | 0xf0ff);
	s->s_base = info->vsi_base;
	s->s_flat = 0;
}

/* Takes over a whole state that is valid. */
static void
regs_load(struct cpu *c, const struct vcpu_reg_state *r)
{
	unsigned n;

	for (n = 0; n < 16; n++)
		c->c_gpr[n] = r->vrs_gprs[gpr_index[n]];
	c->c_rip = r->vrs_gprs[VCPU_REGS_RIP];
	for (n = 0; n < SEG_COUNT; n++)
		regs_set_segment(&c->c_seg[n], &r->vrs_sregs[seg_index[n]]);
	regs_set_segment(&c->c_gdtr, &r->vrs_gdtr);
	regs_set_segment(&c->c_idtr, &r->vrs_idtr);
	for (n = 0; n < VCPU_REGS_NCRS; n++)
		if (n != VCPU_REGS_CR8)
			*cpu_field(c, cr_field[n]) = r->vrs_crs[n];
	for (n = 0; n < VCPU_REGS_NMSRS; n++)
		*cpu_field(c, msr_field[n]) = r->vrs_msrs[n];
	for (n = 0; n < VCPU_REGS_NDRS; n++)
		c->c_dr[dr_index[n]] = r->vrs_drs[n];
	c->c_cr0 |= CR0_ET;
	c->c_xcr0 |= 1;
	if (c->c_efer & EFER_LME && c->c_cr0 & CR0_PG)
		c->c_efer |= EFER_LMA;
	c->c_dr[6] = dr6_fixed(c->c_dr[6]);
	c->c_dr[7] = dr7_fixed(c->c_dr[7]);
	cpu_set_rflags(c, r->vrs_gprs[VCPU_REGS_RFLAGS]);
	cpu_mode_update(c);
	mmu_flush_all(c);
	mmu_watch_update(c);
	cpu_request(c, REQ_STEP);
}

/* What was about to happen to the state that is replaced does not. */
static void
regs_forget(struct cpu *c)
{
	c->c_event.e_kind = EVENT_NONE;
	c->c_dr6_pending = 0;
	c->c_shadow_sti = c->c_shadow_ss = false;
	mmu_mmio_reset(c);
}

static int
soft_setregs(struct engine_vcpu *v, uint64_t mask,
    const struct vcpu_reg_state *given)
{
	struct cpu *c = &v->ev_cpu;
	struct vcpu_reg_state r;
	uint64_t cr8;

	soft_getregs(v, VM_RWREGS_ALL, &r);
	cr8 = r.vrs_crs[VCPU_REGS_CR8];
	if (mask & VM_RWREGS_GPRS)
		memcpy(r.vrs_gprs, given->vrs_gprs, sizeof(r.vrs_gprs));
	if (mask & VM_RWREGS_SREGS) {
		memcpy(r.vrs_sregs, given->vrs_sregs, sizeof(r.vrs_sregs));
		r.vrs_gdtr = given->vrs_gdtr;
		r.vrs_idtr = given->vrs_idtr;
	}
	if (mask & VM_RWREGS_CRS)
		memcpy(r.vrs_crs, given->vrs_crs, sizeof(r.vrs_crs));
	if (mask & VM_RWREGS_MSRS)
		memcpy(r.vrs_msrs, given->vrs_msrs, sizeof(r.vrs_msrs));
	if (mask & VM_RWREGS_DRS)
		memcpy(r.vrs_drs, given->vrs_drs, sizeof(r.vrs_drs));
	if (!regs_valid(c, &r))
		return (EINVAL);
	if (r.vrs_gprs[VCPU_REGS_RIP] != c->c_rip)
		regs_forget(c);
	regs_load(c, &r);
	if (r.vrs_crs[VCPU_REGS_CR8] != cr8)
		c->c_host->eh_write_cr8(c->c_hostarg,
		    r.vrs_crs[VCPU_REGS_CR8]);
	return (0);
}

static int
soft_reset(struct engine_vcpu *v, const struct vcpu_reg_state *r)
{
	struct cpu *c = &v->ev_cpu;

	if (!regs_valid(c, r))
		return (EINVAL);
	regs_forget(c);
	huge_forget(c->c_vm);
	msr_reset(c);
	fpu_reset(c);
	c->c_in.wanted = c->c_in.arrived = false;
	c->c_nmi_blocked = c->c_nmi_pending = false;
	c->c_intr = -1;
	regs_load(c, r);
	c->c_host->eh_write_cr8(c->c_hostarg, r->vrs_crs[VCPU_REGS_CR8]);
	return (0);
}

/* --- VCPUs ------------------------------------------------------------------------- */

static void
soft_vcpu_free(struct engine_vcpu *v)
{
	struct cpu *c = &v->ev_cpu;

	if (c->c_vm != NULL)
		vm_leave(c->c_vm, c);
	direct_free(c);
	jit_free(c);
	block_cache_free(c->c_blocks);
	mmu_free(c->c_mmu);
	stub_cache_free(c->c_stubs);
	free(c->c_written);
	munmap(v, JIT_AREA_SIZE);
}

static int
soft_vcpu_new(struct engine_vm *vm, unsigned id, const struct engine_host *host,
    void *arg, struct engine_vcpu **out)
{
	/* what the hardware has after RESET: real mode at F000:FFF0 */
	struct vcpu_reg_state r = { .vrs_gprs[VCPU_REGS_RIP] = 0xfff0,
	    .vrs_gprs[VCPU_REGS_RFLAGS] = FL_R1,
	    .vrs_crs[VCPU_REGS_CR0] = CR0_ET | CR0_NW | CR0_CD,
	    .vrs_msrs[VCPU_REGS_MISC_ENABLE] = 1 };
	struct engine_vcpu *v;
	struct cpu *c;
	unsigned n;
	int error;

	/* the translator's tables follow the VCPU (jit/asm.h) */
	v = mmap(NULL, JIT_AREA_SIZE, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (v == MAP_FAILED)
		return (ENOMEM);
	c = &v->ev_cpu;
	c->c_id = id;
	c->c_host = host;
	c->c_hostarg = arg;
	c->c_tlb_gen = 1;
	c->c_mmu = mmu_new();
	c->c_blocks = block_cache_new(!vm->ev_jit.jo_interp);
	c->c_written = calloc(1, sizeof(*c->c_written));
	if (c->c_mmu == NULL || c->c_blocks == NULL || c->c_written == NULL) {
		soft_vcpu_free(v);
		return (ENOMEM);
	}
	if ((error = stub_cache_new(&c->c_stubs)) != 0) {
		soft_vcpu_free(v);
		return (error);
	}
	decode_mode_init(&c->c_decode, host, arg);
	c->c_features = c->c_decode.dm_features;
	c->c_intel = c->c_decode.dm_intel;
	cr_features(c);
	for (n = 0; n < VCPU_REGS_NSREGS; n++) {
		r.vrs_sregs[n].vsi_limit = 0xffff;
		r.vrs_sregs[n].vsi_ar = AR_P | AR_S | AR_WRITABLE |
		    AR_ACCESSED;
	}
	r.vrs_sregs[VCPU_REGS_CS].vsi_sel = 0xf000;
	r.vrs_sregs[VCPU_REGS_CS].vsi_base = 0xffff0000;
	r.vrs_sregs[VCPU_REGS_CS].vsi_ar |= AR_CODE;
	r.vrs_sregs[VCPU_REGS_LDTR].vsi_ar = AR_P | TYPE_LDT;
	r.vrs_sregs[VCPU_REGS_TR].vsi_ar = AR_P | TYPE_TSS_BUSY;
	r.vrs_gdtr.vsi_limit = r.vrs_idtr.vsi_limit = 0xffff;
	c->c_vm = vm;
	vm_join(vm, c);
	c->c_intr = -1;
	msr_reset(c);
	fpu_reset(c);
	/* without memory for it the interpreter does */
	if (!vm->ev_jit.jo_interp && jit_new(c, &vm->ev_jit) == 0 &&
	    vm->ev_jit.jo_tier != 1 && !vm->ev_jit.jo_nochain &&
	    !vm->ev_jit.jo_traces &&
	    vm->ev_sampler == NULL)
		sampler_new(vm, &vm->ev_sampler);
	regs_load(c, &r);
	*out = v;
	return (0);
}

static int
soft_run(struct engine_vcpu *v, struct engine_run *run)
{
	return (run_vcpu(&v->ev_cpu, run));
}

static void
soft_kick(struct engine_vcpu *v)
{
	cpu_request(&v->ev_cpu, REQ_KICK);
	direct_kick(&v->ev_cpu);
}

static bool
soft_ready(struct engine_vcpu *v)
{
	return (run_ready(&v->ev_cpu));
}

static int
soft_getxstate(struct engine_vcpu *v, void *image)
{
	fpu_get_xstate(&v->ev_cpu, image);
	return (0);
}

static int
soft_setxstate(struct engine_vcpu *v, const void *image)
{
	return (fpu_set_xstate(&v->ev_cpu, image));
}

static int
soft_getmsr(struct engine_vcpu *v, uint32_t msr, uint64_t *value)
{
	return (msr_read(&v->ev_cpu, msr, value) == MSR_OK ? 0 : EINVAL);
}

static int
soft_setmsr(struct engine_vcpu *v, uint32_t msr, uint64_t value)
{
	if (msr_write(&v->ev_cpu, msr, value) != MSR_OK)
		return (EINVAL);
	cpu_mode_update(&v->ev_cpu);
	return (0);
}

static int64_t
soft_tsc_offset(struct engine_vcpu *v)
{
	return (v->ev_cpu.c_tsc_offset);
}

static uint8_t
soft_cpl(struct engine_vcpu *v)
{
	return (v->ev_cpu.c_cpl);
}

static bool
soft_midway(struct engine_vcpu *v)
{
	return (state_midway(&v->ev_cpu));
}

static void
soft_state(struct engine_vcpu *v, struct state *s)
{
	state_cpu(&v->ev_cpu, s);
}

static uint64_t
soft_insns(struct engine_vcpu *v)
{
	return (v->ev_cpu.c_insn_count);
}

static void
soft_report(struct engine_vcpu *v, char *buf, size_t len)
{
	jit_report(&v->ev_cpu, buf, len);
}

const struct engine_ops engine_soft = {
	.eo_name = "soft",
	.eo_probe = soft_probe,
	.eo_options = soft_options,
	.eo_vm_new = soft_vm_new,
	.eo_vm_free = vm_free,
	.eo_protect = vm_protect,
	.eo_written = soft_vm_written,
	.eo_writes_reported = soft_writes_reported,
	.eo_share = vm_share,
	.eo_vcpu_new = soft_vcpu_new,
	.eo_vcpu_free = soft_vcpu_free,
	.eo_run = soft_run,
	.eo_kick = soft_kick,
	.eo_ready = soft_ready,
	.eo_reset = soft_reset,
	.eo_getregs = soft_getregs,
	.eo_setregs = soft_setregs,
	.eo_getxstate = soft_getxstate,
	.eo_setxstate = soft_setxstate,
	.eo_getmsr = soft_getmsr,
	.eo_setmsr = soft_setmsr,
	.eo_tsc_offset = soft_tsc_offset,
	.eo_cpl = soft_cpl,
	.eo_midway = soft_midway,
	.eo_state = soft_state,
	.eo_insns = soft_insns,
	.eo_report = soft_report,
};
