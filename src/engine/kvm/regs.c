/*
 * Registers between vmm(4)'s layout and KVM's, reset, FPU and vector state.
 *
 * 1. Before registers are read, a port instruction that KVM has yet to finish
 *    is finished, so that RIP is past it; before they are written, whatever is
 *    unfinished is.
 * 2. A state is checked as a whole before any of it is loaded: first by the
 *    rules here, then by KVM's own (KVM_SET_SREGS2 changes nothing when it
 *    refuses). EINVAL for both.
 *
 * One thread at a time, no VCPU running.
 */
#include <errno.h>
#include <string.h>

#include "engine/kvm/kvm.h"
#include "engine/kvm/sys.h"

/* vsi_ar, in VMX form (vmmvar.h) */
#define AR_L		0x2000u
#define AR_DB		0x4000u
#define AR_UNUSABLE	0x10000u

#define CR0_PE		0x1ul
#define CR0_ET		0x10ul
#define CR0_NW		0x20000000ul
#define CR0_CD		0x40000000ul
#define CR0_PG		0x80000000ul
#define CR4_PAE		0x20ul
#define CR4_VMXE	0x2000ul
#define CR4_PCIDE	0x20000ul
#define EFER_LME	0x100ul
#define EFER_LMA	0x400ul
/* SCE, LME, LMA, NXE, AIBRSE */
#define EFER_KNOWN	0x200d01ul
#define FL_FIXED	0x2ul
#define FL_KNOWN	0x3f7fd7ul
#define FL_VM		0x20000ul
#define DR6_FIXED(v)	(((v) & 0xe00f) | 0xffff0ff0ul)
#define DR7_FIXED(v)	(((v) & 0xffff23fful) | 0x400ul)

#define XSTATE_BV	512	/* in the image: SDM vol. 1 13.4.2 */

/* GPRs in vmm(4)'s order by their place in struct kvm_regs. */
static const uint8_t gpr_place[VCPU_REGS_NGPRS] = {
#define PLACE(f)	offsetof(struct kvm_regs, f)
	[VCPU_REGS_RAX] = PLACE(rax), [VCPU_REGS_RBX] = PLACE(rbx),
	[VCPU_REGS_RCX] = PLACE(rcx), [VCPU_REGS_RDX] = PLACE(rdx),
	[VCPU_REGS_RSI] = PLACE(rsi), [VCPU_REGS_RDI] = PLACE(rdi),
	[VCPU_REGS_R8] = PLACE(r8), [VCPU_REGS_R9] = PLACE(r9),
	[VCPU_REGS_R10] = PLACE(r10), [VCPU_REGS_R11] = PLACE(r11),
	[VCPU_REGS_R12] = PLACE(r12), [VCPU_REGS_R13] = PLACE(r13),
	[VCPU_REGS_R14] = PLACE(r14), [VCPU_REGS_R15] = PLACE(r15),
	[VCPU_REGS_RSP] = PLACE(rsp), [VCPU_REGS_RBP] = PLACE(rbp),
	[VCPU_REGS_RIP] = PLACE(rip), [VCPU_REGS_RFLAGS] = PLACE(rflags),
#undef PLACE
};

static const uint16_t seg_place[VCPU_REGS_NSREGS] = {
#define PLACE(f)	offsetof(struct kvm_sregs2, f)
	[VCPU_REGS_CS] = PLACE(cs), [VCPU_REGS_DS] = PLACE(ds),
	[VCPU_REGS_ES] = PLACE(es), [VCPU_REGS_FS] = PLACE(fs),
	[VCPU_REGS_GS] = PLACE(gs), [VCPU_REGS_SS] = PLACE(ss),
	[VCPU_REGS_LDTR] = PLACE(ldt), [VCPU_REGS_TR] = PLACE(tr),
#undef PLACE
};

/* EFER is with the system registers. */
static const uint32_t msr_number[VCPU_REGS_NMSRS] = {
	[VCPU_REGS_STAR] = 0xc0000081, [VCPU_REGS_LSTAR] = 0xc0000082,
	[VCPU_REGS_CSTAR] = 0xc0000083, [VCPU_REGS_SFMASK] = 0xc0000084,
	[VCPU_REGS_KGSBASE] = 0xc0000102, [VCPU_REGS_MISC_ENABLE] = 0x1a0,
};

static void
gprs_get(const struct kvm_regs *k, struct vcpu_reg_state *r)
{
	unsigned n;

	for (n = 0; n < VCPU_REGS_NGPRS; n++)
		memcpy(&r->vrs_gprs[n], (const uint8_t *)k + gpr_place[n], 8);
}

static void
gprs_set(struct kvm_regs *k, const struct vcpu_reg_state *r)
{
	unsigned n;

	for (n = 0; n < VCPU_REGS_NGPRS; n++)
		memcpy((uint8_t *)k + gpr_place[n], &r->vrs_gprs[n], 8);
	k->rflags = (k->rflags & FL_KNOWN) | FL_FIXED;
}

static void
segment_get(const struct kvm_segment *k, struct vcpu_segment_info *s)
{
	s->vsi_sel = k->selector;
	s->vsi_limit = k->limit;
	s->vsi_base = k->base;
	s->vsi_ar = (uint32_t)(k->type | k->s << 4 | k->dpl << 5 |
	    k->present << 7 | k->avl << 12 | k->l << 13 | k->db << 14 |
	    k->g << 15) | (k->unusable ? AR_UNUSABLE : 0);
}

static void
segment_set(struct kvm_segment *k, const struct vcpu_segment_info *s)
{
	memset(k, 0, sizeof(*k));
	k->selector = s->vsi_sel;
	k->limit = s->vsi_limit;
	k->base = s->vsi_base;
	k->type = s->vsi_ar & 0xf;
	k->s = s->vsi_ar >> 4 & 1;
	k->dpl = s->vsi_ar >> 5 & 3;
	k->present = s->vsi_ar >> 7 & 1;
	k->avl = s->vsi_ar >> 12 & 1;
	k->l = s->vsi_ar >> 13 & 1;
	k->db = s->vsi_ar >> 14 & 1;
	k->g = s->vsi_ar >> 15 & 1;
	k->unusable = (s->vsi_ar & AR_UNUSABLE) != 0;
}

static void
sregs_get(const struct kvm_sregs2 *k, uint64_t mask, struct vcpu_reg_state *r)
{
	struct kvm_segment seg;
	unsigned n;

	if ((mask & VM_RWREGS_SREGS) != 0) {
		for (n = 0; n < VCPU_REGS_NSREGS; n++) {
			memcpy(&seg, (const uint8_t *)k + seg_place[n],
			    sizeof(seg));
			segment_get(&seg, &r->vrs_sregs[n]);
		}
		memset(&r->vrs_gdtr, 0, sizeof(r->vrs_gdtr));
		memset(&r->vrs_idtr, 0, sizeof(r->vrs_idtr));
		r->vrs_gdtr.vsi_base = k->gdt.base;
		r->vrs_gdtr.vsi_limit = k->gdt.limit;
		r->vrs_idtr.vsi_base = k->idt.base;
		r->vrs_idtr.vsi_limit = k->idt.limit;
	}
	if ((mask & VM_RWREGS_CRS) != 0) {
		r->vrs_crs[VCPU_REGS_CR0] = k->cr0;
		r->vrs_crs[VCPU_REGS_CR2] = k->cr2;
		r->vrs_crs[VCPU_REGS_CR3] = k->cr3;
		r->vrs_crs[VCPU_REGS_CR4] = k->cr4;
		for (n = 0; n < 4; n++)
			r->vrs_crs[VCPU_REGS_PDPTE0 + n] =
			    (k->flags & KVM_SREGS2_FLAGS_PDPTRS_VALID) != 0 ?
			    k->pdptrs[n] : 0;
	}
	if ((mask & VM_RWREGS_MSRS) != 0)
		r->vrs_msrs[VCPU_REGS_EFER] = k->efer;
}

static void
sregs_set(struct kvm_sregs2 *k, const struct vcpu_reg_state *r)
{
	struct kvm_segment seg;
	uint64_t efer = r->vrs_msrs[VCPU_REGS_EFER];
	unsigned n;

	for (n = 0; n < VCPU_REGS_NSREGS; n++) {
		segment_set(&seg, &r->vrs_sregs[n]);
		memcpy((uint8_t *)k + seg_place[n], &seg, sizeof(seg));
	}
	memset(&k->gdt, 0, sizeof(k->gdt));
	memset(&k->idt, 0, sizeof(k->idt));
	k->gdt.base = r->vrs_gdtr.vsi_base;
	k->gdt.limit = (uint16_t)r->vrs_gdtr.vsi_limit;
	k->idt.base = r->vrs_idtr.vsi_base;
	k->idt.limit = (uint16_t)r->vrs_idtr.vsi_limit;
	k->cr0 = r->vrs_crs[VCPU_REGS_CR0] | CR0_ET;
	k->cr2 = r->vrs_crs[VCPU_REGS_CR2];
	k->cr3 = r->vrs_crs[VCPU_REGS_CR3];
	k->cr4 = r->vrs_crs[VCPU_REGS_CR4];
	k->cr8 = r->vrs_crs[VCPU_REGS_CR8];
	if ((efer & EFER_LME) != 0 && (k->cr0 & CR0_PG) != 0)
		efer |= EFER_LMA;
	k->efer = efer;
	k->flags = 0;
	if ((k->cr0 & CR0_PG) != 0 && (k->cr4 & CR4_PAE) != 0 &&
	    (efer & EFER_LMA) == 0) {
		k->flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
		for (n = 0; n < 4; n++)
			k->pdptrs[n] = r->vrs_crs[VCPU_REGS_PDPTE0 + n];
	}
}

/* --- reading -------------------------------------------------------------------- */

static int
xcr0_get(struct engine_vcpu *v, uint64_t *value)
{
	struct kvm_xcrs x;
	unsigned n;

	if (kvm_sys.ks_ioctl(v->v_fd, KVM_GET_XCRS, &x) == -1)
		return (errno);
	*value = 1;
	for (n = 0; n < x.nr_xcrs && n < KVM_MAX_XCRS; n++)
		if (x.xcrs[n].xcr == 0)
			*value = x.xcrs[n].value;
	return (0);
}

static int
drs_get(struct engine_vcpu *v, struct vcpu_reg_state *r)
{
	struct kvm_debugregs d;

	if (kvm_sys.ks_ioctl(v->v_fd, KVM_GET_DEBUGREGS, &d) == -1)
		return (errno);
	memcpy(r->vrs_drs, d.db, sizeof(d.db));
	r->vrs_drs[VCPU_REGS_DR6] = d.dr6;
	r->vrs_drs[VCPU_REGS_DR7] = d.dr7;
	return (0);
}

static int
regs_read(struct engine_vcpu *v, uint64_t mask, struct vcpu_reg_state *r)
{
	const uint64_t system = VM_RWREGS_SREGS | VM_RWREGS_CRS |
	    VM_RWREGS_MSRS;
	struct kvm_regs regs = *vcpu_regs(v);
	struct kvm_sregs2 s;
	unsigned n;
	int error = 0;

	if ((mask & VM_RWREGS_GPRS) != 0) {
		kvm_access_regs(v, &regs);
		gprs_get(&regs, r);
	}
	if ((mask & system) != 0) {
		if (kvm_sys.ks_ioctl(v->v_fd, KVM_GET_SREGS2, &s) == -1)
			return (errno);
		sregs_get(&s, mask, r);
		v->v_cpl = s.ss.dpl;
		v->v_cpl_known = true;
	}
	if ((mask & VM_RWREGS_CRS) != 0) {
		r->vrs_crs[VCPU_REGS_CR8] = v->v_host->eh_read_cr8(v->v_arg);
		error = xcr0_get(v, &r->vrs_crs[VCPU_REGS_XCR0]);
	}
	for (n = 0; error == 0 && (mask & VM_RWREGS_MSRS) != 0 &&
	    n < VCPU_REGS_NMSRS; n++)
		if (n != VCPU_REGS_EFER)
			error = kvm_msr_get(v, msr_number[n], &r->vrs_msrs[n]);
	if (error == 0 && (mask & VM_RWREGS_DRS) != 0)
		error = drs_get(v, r);
	return (error);
}

int
kvm_getregs(struct engine_vcpu *v, uint64_t mask, struct vcpu_reg_state *r)
{
	int error = 0;

	if (v->v_pending && v->v_plain)
		error = kvm_settle(v);
	return (error != 0 ? error : regs_read(v, mask, r));
}

uint8_t
kvm_cpl(struct engine_vcpu *v)
{
	struct kvm_sregs2 s;

	if (!v->v_cpl_known &&
	    kvm_sys.ks_ioctl(v->v_fd, KVM_GET_SREGS2, &s) != -1) {
		v->v_cpl = s.ss.dpl;
		v->v_cpl_known = true;
	}
	return (v->v_cpl);
}

/* --- writing -------------------------------------------------------------------- */

static bool
canonical(uint64_t va)
{
	return ((uint64_t)((int64_t)(va << 16) >> 16) == va);
}

/* CR3's bits below the end of physical memory, and in 64-bit mode 63. */
static bool
cr3_valid(struct engine_vcpu *v, uint64_t cr3)
{
	struct engine_cpuid ec = { .ec_leaf = 0x80000008 };

	v->v_host->eh_cpuid(v->v_arg, &ec);
	return ((cr3 & ~(1ul << 63)) >> (ec.ec_eax & 0xff) == 0);
}

static bool
crs_valid(const struct vcpu_reg_state *r)
{
	uint64_t cr0 = r->vrs_crs[VCPU_REGS_CR0];
	uint64_t cr4 = r->vrs_crs[VCPU_REGS_CR4];
	uint64_t efer = r->vrs_msrs[VCPU_REGS_EFER];
	uint64_t xcr0 = r->vrs_crs[VCPU_REGS_XCR0];
	uint32_t cs = r->vrs_sregs[VCPU_REGS_CS].vsi_ar;
	bool longmode = (efer & EFER_LME) != 0 && (cr0 & CR0_PG) != 0;

	if (cr0 >> 32 != 0 || (cr0 & (CR0_PG | CR0_PE)) == CR0_PG ||
	    (cr0 & (CR0_NW | CR0_CD)) == CR0_NW)
		return (false);
	if ((efer & ~EFER_KNOWN) != 0 || (cr4 & CR4_VMXE) != 0 ||
	    ((efer & EFER_LMA) != 0 && !longmode))
		return (false);
	if (longmode ? (cr4 & CR4_PAE) == 0 : (cr4 & CR4_PCIDE) != 0)
		return (false);
	if (longmode && (cs & (AR_L | AR_DB)) == (AR_L | AR_DB))
		return (false);
	if (longmode && (cs & AR_L) != 0 &&
	    !canonical(r->vrs_gprs[VCPU_REGS_RIP]))
		return (false);
	if (longmode && (r->vrs_gprs[VCPU_REGS_RFLAGS] & FL_VM) != 0)
		return (false);
	/* XCR0: 0 stands for what it is after reset; AVX needs SSE */
	return (r->vrs_crs[VCPU_REGS_CR8] <= 15 && (xcr0 & ~7ul) == 0 &&
	    (xcr0 & 6) != 4);
}

static bool
regs_valid(struct engine_vcpu *v, const struct vcpu_reg_state *r)
{
	return (crs_valid(r) && cr3_valid(v, r->vrs_crs[VCPU_REGS_CR3]) &&
	    canonical(r->vrs_sregs[VCPU_REGS_FS].vsi_base) &&
	    canonical(r->vrs_sregs[VCPU_REGS_GS].vsi_base) &&
	    canonical(r->vrs_sregs[VCPU_REGS_TR].vsi_base) &&
	    canonical(r->vrs_gdtr.vsi_base) &&
	    canonical(r->vrs_idtr.vsi_base) &&
	    canonical(r->vrs_msrs[VCPU_REGS_LSTAR]) &&
	    canonical(r->vrs_msrs[VCPU_REGS_CSTAR]) &&
	    canonical(r->vrs_msrs[VCPU_REGS_KGSBASE]) &&
	    r->vrs_drs[VCPU_REGS_DR6] >> 32 == 0 &&
	    r->vrs_drs[VCPU_REGS_DR7] >> 32 == 0);
}

/* Drops what was about to happen at the old RIP; all but blocked NMIs. */
static int
events_forget(struct engine_vcpu *v, bool all)
{
	struct kvm_vcpu_events e;

	if (kvm_sys.ks_ioctl(v->v_fd, KVM_GET_VCPU_EVENTS, &e) == -1)
		return (errno);
	memset(&e.exception, 0, sizeof(e.exception));
	memset(&e.interrupt, 0, sizeof(e.interrupt));
	e.exception_has_payload = 0;
	e.exception_payload = 0;
	e.nmi.injected = 0;
	e.flags = KVM_VCPUEVENT_VALID_SHADOW;
	if (all) {
		e.nmi.pending = e.nmi.masked = 0;
		e.flags |= KVM_VCPUEVENT_VALID_NMI_PENDING;
	}
	return (kvm_sys.ks_ioctl(v->v_fd, KVM_SET_VCPU_EVENTS, &e) == -1 ?
	    errno : 0);
}

/* Loads a whole state. */
static int
regs_write(struct engine_vcpu *v, const struct vcpu_reg_state *r)
{
	struct kvm_regs regs;
	struct kvm_sregs2 s;
	struct kvm_xcrs x = { .nr_xcrs = 1 };
	struct kvm_debugregs d = { .dr6 = 0 };
	unsigned n;
	int error = 0;

	memset(&regs, 0, sizeof(regs));
	if (kvm_sys.ks_ioctl(v->v_fd, KVM_GET_SREGS2, &s) == -1)
		return (errno);
	sregs_set(&s, r);
	gprs_set(&regs, r);
	x.xcrs[0].value = r->vrs_crs[VCPU_REGS_XCR0] | 1;
	memcpy(d.db, r->vrs_drs, sizeof(d.db));
	d.dr6 = DR6_FIXED(r->vrs_drs[VCPU_REGS_DR6]);
	d.dr7 = DR7_FIXED(r->vrs_drs[VCPU_REGS_DR7]);

	v->v_cpl_known = false;
	if (kvm_sys.ks_ioctl(v->v_fd, KVM_SET_SREGS2, &s) == -1 ||
	    kvm_sys.ks_ioctl(v->v_fd, KVM_SET_REGS, &regs) == -1 ||
	    kvm_sys.ks_ioctl(v->v_fd, KVM_SET_XCRS, &x) == -1 ||
	    kvm_sys.ks_ioctl(v->v_fd, KVM_SET_DEBUGREGS, &d) == -1)
		return (errno);
	*vcpu_regs(v) = regs;
	for (n = 0; error == 0 && n < VCPU_REGS_NMSRS; n++)
		if (n != VCPU_REGS_EFER)
			error = kvm_msr_set(v, msr_number[n], r->vrs_msrs[n]);
	return (error);
}

/* What kvm_ready() says from now on. */
int
kvm_regs_ready(struct engine_vcpu *v)
{
	struct kvm_vcpu_events e;
	bool flag = (vcpu_regs(v)->rflags & FL_IF) != 0;

	if (kvm_sys.ks_ioctl(v->v_fd, KVM_GET_VCPU_EVENTS, &e) == -1)
		return (errno);
	v->v_run->if_flag = flag;
	v->v_run->ready_for_interrupt_injection = flag &&
	    e.interrupt.shadow == 0 && e.interrupt.injected == 0 &&
	    e.nmi.injected == 0 && e.exception.injected == 0 &&
	    e.exception.pending == 0;
	return (0);
}

int
kvm_setregs(struct engine_vcpu *v, uint64_t mask,
    const struct vcpu_reg_state *given)
{
	struct vcpu_reg_state r;
	uint64_t cr8;
	int error;

	/* what KVM has stashed was at the old RIP */
	if ((mask & VM_RWREGS_GPRS) == 0 && v->v_pending && !v->v_plain)
		error = 0;
	else if ((error = kvm_settle(v)) == 0 &&
	    (mask & VM_RWREGS_GPRS) != 0)
		v->v_stashed = false;
	if (error != 0 || (error = regs_read(v, VM_RWREGS_ALL, &r)) != 0)
		return (error);
	cr8 = r.vrs_crs[VCPU_REGS_CR8];
	if ((mask & VM_RWREGS_GPRS) != 0)
		memcpy(r.vrs_gprs, given->vrs_gprs, sizeof(r.vrs_gprs));
	if ((mask & VM_RWREGS_SREGS) != 0) {
		memcpy(r.vrs_sregs, given->vrs_sregs, sizeof(r.vrs_sregs));
		r.vrs_gdtr = given->vrs_gdtr;
		r.vrs_idtr = given->vrs_idtr;
	}
	if ((mask & VM_RWREGS_CRS) != 0)
		memcpy(r.vrs_crs, given->vrs_crs, sizeof(r.vrs_crs));
	if ((mask & VM_RWREGS_MSRS) != 0)
		memcpy(r.vrs_msrs, given->vrs_msrs, sizeof(r.vrs_msrs));
	if ((mask & VM_RWREGS_DRS) != 0)
		memcpy(r.vrs_drs, given->vrs_drs, sizeof(r.vrs_drs));
	if (!regs_valid(v, &r))
		return (EINVAL);
	if (r.vrs_gprs[VCPU_REGS_RIP] != vcpu_regs(v)->rip &&
	    (error = events_forget(v, false)) != 0)
		return (error);
	if ((error = regs_write(v, &r)) != 0 ||
	    (error = kvm_regs_ready(v)) != 0)
		return (error);
	if (r.vrs_crs[VCPU_REGS_CR8] != cr8)
		v->v_host->eh_write_cr8(v->v_arg, r.vrs_crs[VCPU_REGS_CR8]);
	return (0);
}

/* --- FPU and vector state, reset ---------------------------------------------------- */

int
kvm_getxstate(struct engine_vcpu *v, void *image)
{
	struct kvm_xsave x;
	uint64_t bv;

	memset(&x, 0, sizeof(x));
	if (kvm_sys.ks_ioctl(v->v_fd, KVM_GET_XSAVE, &x) == -1)
		return (errno);
	memcpy(image, &x, ENGINE_XSTATE_SIZE);
	memcpy(&bv, (uint8_t *)image + XSTATE_BV, sizeof(bv));
	bv &= 7;
	memset((uint8_t *)image + XSTATE_BV, 0, 64);
	memcpy((uint8_t *)image + XSTATE_BV, &bv, sizeof(bv));
	return (0);
}

int
kvm_setxstate(struct engine_vcpu *v, const void *image)
{
	struct kvm_xsave x;
	uint64_t bv;

	memcpy(&bv, (const uint8_t *)image + XSTATE_BV, sizeof(bv));
	if ((bv & ~7ul) != 0)
		return (EINVAL);
	memset(&x, 0, sizeof(x));
	memcpy(&x, image, ENGINE_XSTATE_SIZE);
	return (kvm_sys.ks_ioctl(v->v_fd, KVM_SET_XSAVE, &x) == -1 ? errno : 0);
}

/* After RESET (SDM vol. 3A table 9-1). */
static int
fpu_reset(struct engine_vcpu *v)
{
	uint8_t image[ENGINE_XSTATE_SIZE] = { 0 };
	const uint16_t fcw = 0x40;
	const uint32_t mxcsr = 0x1f80;
	const uint64_t bv = 3;

	memcpy(image, &fcw, sizeof(fcw));
	memcpy(image + 24, &mxcsr, sizeof(mxcsr));
	memcpy(image + XSTATE_BV, &bv, sizeof(bv));
	return (kvm_setxstate(v, image));
}

int
kvm_reset(struct engine_vcpu *v, const struct vcpu_reg_state *r)
{
	int error;

	if (!regs_valid(v, r))
		return (EINVAL);
	if ((error = kvm_settle(v)) != 0 ||
	    (error = events_forget(v, true)) != 0 ||
	    (error = regs_write(v, r)) != 0 ||
	    (error = kvm_msr_reset(v)) != 0 ||
	    (error = fpu_reset(v)) != 0)
		return (error);
	v->v_stashed = false;
	v->v_in_size = 0;
	if ((error = kvm_regs_ready(v)) != 0)
		return (error);
	v->v_host->eh_write_cr8(v->v_arg, r->vrs_crs[VCPU_REGS_CR8]);
	return (0);
}
