/*
 * Every combination of page-table bits against every kind of access, in
 * 4-level, PAE and 32-bit paging: what is raised, its error code, A and D. The
 * model that it is compared with is expect(), from SDM vol. 3A 4.6 and 4.7.
 *
 * The guest is one instruction on the page under test. It goes on to INT 20h if
 * nothing was raised; both that handler and #PF's halt, at different places.
 */
#include <sys/mman.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/bare.h"
#include "../lib/engine_options.h"
#include "engine/engine.h"
#include "engine/soft/cpu.h"
#include "vmm/cpuid.h"

#define MEMORY		((size_t)8 << 20)
/* Where things are, guest-physical. */
#define CODE		0x1000u		/* the instruction; user and supervisor */
#define HANDLER		0x2000u
#define GDT		0x3000u
#define IDT		0x3800u
#define TSS		0x3c00u
#define STACK		0x5000u		/* top */
#define TABLES		0x10000u
#define TARGET		0x400000u	/* 4 MiB: the page that is accessed */
#define LINEAR		0x40000000u	/* where; its own entries */

#define PTE_P		1u
#define PTE_W		2u
#define PTE_U		4u
#define PTE_A		0x20u
#define PTE_D		0x40u
#define PTE_PS		0x80u
#define PTE_NX		(1ull << 63)

enum access { READ, WRITE, FETCH };
struct combination {
	bool		large;
	uint8_t		upper, leaf;	/* P, W, U of the two levels */
	bool		nx_upper, nx_leaf, reserved;
	bool		wp, smep, smap, ac, nxe, user;
	enum access	access;
};
struct outcome {
	bool		fault;
	uint32_t	error;
	uint64_t	upper, leaf;	/* the entries afterwards: A, D */
};

static const struct engine_ops *ops;
static struct bare bare;
static uint8_t *mem;
static struct engine_vm *vm;
static struct engine_vcpu *vcpu;
static bool has_smep, has_smap;

/* --- the guest ---------------------------------------------------------------------- */

static void
put64(uint32_t at, uint64_t value)
{
	memcpy(mem + at, &value, 8);
}

static uint64_t
get_entry(uint32_t at, unsigned size)
{
	uint64_t value = 0;

	memcpy(&value, mem + at, size);
	return (value);
}

static void
put_entry(uint32_t at, unsigned size, uint64_t value)
{
	memcpy(mem + at, &value, size);
}

/* Entries: identity for the first 4 MiB (user), then the one under test. */
struct paging {
	enum paging_mode p_mode;
	unsigned	p_size;		/* of an entry */
	uint32_t	p_upper, p_leaf; /* where the two entries are */
	uint64_t	p_cr3;
};

static void
tables(struct paging *p, enum paging_mode mode)
{
	uint32_t pml4 = TABLES, pdpt = TABLES + 0x1000, pd = TABLES + 0x2000;
	uint32_t pd1 = TABLES + 0x3000, pt = TABLES + 0x4000;
	uint32_t low = TABLES + 0x5000;
	unsigned n;

	memset(mem + TABLES, 0, 0x8000);
	p->p_mode = mode;
	p->p_size = mode == PAGING_32 ? 4 : 8;
	p->p_leaf = pt;
	if (mode == PAGING_32) {
		for (n = 0; n < 1024; n++)
			put_entry(low + n * 4, 4, n << 12 | 7);
		put_entry(pml4, 4, low | 7);
		p->p_upper = pml4 + (LINEAR >> 22) * 4;
		p->p_cr3 = pml4;
		return;
	}
	put64(pd, 0x87);
	put64(pd + 8, 0x200087);
	/* level 3 of PAE has P only; of 4-level, all rights */
	put64(pdpt, pd | (mode == PAGING_PAE ? 1 : 7));
	put64(pdpt + 8, pd1 | (mode == PAGING_PAE ? 1 : 7));
	put64(pml4, pdpt | 7);
	p->p_upper = pd1;
	p->p_cr3 = mode == PAGING_PAE ? pdpt : pml4;
}

static struct outcome
expect(const struct paging *p, const struct combination *k)
{
	struct outcome o = { .fault = false };
	bool nxe = k->nxe && p->p_mode != PAGING_32;
	bool w, u, nx, present, reserved = false;
	uint32_t error;

	error = (k->access == WRITE ? 2 : 0) | (k->user ? 4 : 0) |
	    (k->access == FETCH && (nxe || k->smep) ? 16 : 0);
	present = k->upper & PTE_P;
	if (present && p->p_mode != PAGING_32 && k->nx_upper && !nxe)
		reserved = true;
	if (present && k->large && k->reserved)
		reserved = true;
	if (present && !reserved && !k->large) {
		present = k->leaf & PTE_P;
		if (present && p->p_mode != PAGING_32 &&
		    ((k->nx_leaf && !nxe) || k->reserved))
			reserved = true;
	}
	if (!present || reserved) {
		o.fault = true;
		o.error = error | (reserved ? 9 : 0);
		return (o);
	}
	w = k->upper & PTE_W && (k->large || k->leaf & PTE_W);
	u = k->upper & PTE_U && (k->large || k->leaf & PTE_U);
	nx = p->p_mode != PAGING_32 &&
	    (k->nx_upper || (!k->large && k->nx_leaf));
	if (k->user)
		o.fault = !u || (k->access == WRITE && !w) ||
		    (k->access == FETCH && nx);
	else if (k->access == FETCH)
		o.fault = nx || (k->smep && u);
	else
		o.fault = (k->access == WRITE && !w && k->wp) ||
		    (u && k->smap && !k->ac);
	if (o.fault) {
		o.error = error | 1;
		return (o);
	}
	o.upper = PTE_A;
	if (k->large)
		o.upper |= k->access == WRITE ? PTE_D : 0;
	else
		o.leaf = PTE_A | (k->access == WRITE ? PTE_D : 0);
	return (o);
}

/* Code, handler, GDT, IDT and TSS for the mode; AX points at LINEAR. */
static void
guest(bool longmode)
{
	/* mov al, [ax]; int 20h / the same byte to [ax]; int 20h / jmp ax */
	static const uint8_t code[3][8] = {
		{ 0x8a, 0x00, 0xcd, 0x20 }, { 0xc6, 0x00, 0xcd, 0xcd, 0x20 },
		{ 0xff, 0xe0 }
	};
	uint64_t l = longmode ? 1ull << 53 : 1ull << 54, gate;
	unsigned n;

	for (n = 0; n < 3; n++)
		memcpy(mem + CODE + n * 16, code[n], 8);
	mem[TARGET] = 0xcd;		/* int 20h: success */
	mem[TARGET + 1] = 0x20;
	mem[HANDLER] = 0xf4;
	mem[HANDLER + 16] = 0xf4;
	put64(GDT + 8, 0x008f9b000000ffffull | l);
	put64(GDT + 16, 0x00cf93000000ffffull);
	put64(GDT + 24, 0x008ffb000000ffffull | l);
	put64(GDT + 32, 0x00cff3000000ffffull);
	memset(mem + IDT, 0, 0x400);
	for (n = 0; n < 2; n++) {
		gate = (HANDLER + n * 16) | 8 << 16 |
		    (uint64_t)(n == 0 ? 0x8e : 0xee) << 40;
		put64(IDT + (n == 0 ? 14u : 32u) * (longmode ? 16 : 8), gate);
	}
	memset(mem + TSS, 0, 104);
	put64(TSS + 4, longmode ? STACK : STACK | 0x10ull << 32);
}

static struct outcome
run(const struct paging *p, const struct combination *k)
{
	bool longmode = p->p_mode == PAGING_4LEVEL;
	unsigned rpl = k->user ? 3 : 0, dpl = rpl << 5, n;
	struct engine_run er = { .er_inject = -1 };
	struct vcpu_reg_state r;
	struct outcome o = { .fault = false };
	uint64_t upper, leaf, rsp;

	leaf = TARGET | k->leaf | (k->nx_leaf ? PTE_NX : 0);
	if (k->reserved && !k->large)
		leaf |= 1ull << 51;
	upper = k->large ? TARGET | PTE_PS : p->p_leaf;
	upper |= k->upper | (k->nx_upper ? PTE_NX : 0);
	if (k->reserved && k->large)
		upper |= p->p_mode == PAGING_32 ? 1u << 21 : 1u << 13;
	put_entry(p->p_upper, p->p_size, upper);
	put_entry(p->p_leaf, p->p_size, leaf);

	ops->eo_getregs(vcpu, VM_RWREGS_ALL, &r);
	memset(r.vrs_gprs, 0, sizeof(r.vrs_gprs));
	r.vrs_gprs[VCPU_REGS_RIP] = CODE + (unsigned)k->access * 16;
	r.vrs_gprs[VCPU_REGS_RAX] = LINEAR;
	r.vrs_gprs[VCPU_REGS_RSP] = STACK - 0x800;
	r.vrs_gprs[VCPU_REGS_RFLAGS] = 2 | (k->ac ? FL_AC : 0);
	for (n = 0; n < VCPU_REGS_NSREGS; n++)
		bare_segment(&r.vrs_sregs[n],
		    (uint16_t)((k->user ? 0x20 : 0x10) | rpl), 0xc093 | dpl);
	bare_segment(&r.vrs_sregs[VCPU_REGS_CS],
	    (uint16_t)((k->user ? 0x18 : 8) | rpl),
	    (longmode ? 0xa09b : 0xc09b) | dpl);
	bare_segment(&r.vrs_sregs[VCPU_REGS_LDTR], 0, AR_UNUSABLE);
	bare_segment(&r.vrs_sregs[VCPU_REGS_TR], 0x28, 0x8b);
	r.vrs_sregs[VCPU_REGS_TR].vsi_base = TSS;
	r.vrs_sregs[VCPU_REGS_TR].vsi_limit = 103;
	r.vrs_gdtr.vsi_base = GDT;
	r.vrs_gdtr.vsi_limit = 0x27;
	r.vrs_idtr.vsi_base = IDT;
	r.vrs_idtr.vsi_limit = 0x3ff;
	r.vrs_crs[VCPU_REGS_CR0] = CR0_PG | CR0_PE | CR0_ET |
	    (k->wp ? CR0_WP : 0);
	r.vrs_crs[VCPU_REGS_CR2] = 0;
	r.vrs_crs[VCPU_REGS_CR3] = p->p_cr3;
	r.vrs_crs[VCPU_REGS_CR4] = CR4_PSE |
	    (p->p_mode != PAGING_32 ? CR4_PAE : 0) |
	    (k->smep ? CR4_SMEP : 0) | (k->smap ? CR4_SMAP : 0);
	for (n = 0; n < 4; n++)
		r.vrs_crs[VCPU_REGS_PDPTE0 + n] = p->p_mode == PAGING_PAE ?
		    get_entry((uint32_t)p->p_cr3 + n * 8, 8) : 0;
	r.vrs_msrs[VCPU_REGS_EFER] = (longmode ? EFER_LME | EFER_LMA : 0) |
	    (k->nxe ? EFER_NXE : 0);
	assert_int_equal(ops->eo_setregs(vcpu, VM_RWREGS_ALL, &r), 0);
	assert_int_equal(ops->eo_run(vcpu, &er), 0);
	assert_int_equal(er.er_exit, ENGINE_EXIT_HLT);

	ops->eo_getregs(vcpu, VM_RWREGS_ALL, &r);
	rsp = r.vrs_gprs[VCPU_REGS_RSP];
	if (r.vrs_gprs[VCPU_REGS_RIP] == HANDLER + 1) {
		o.fault = true;
		memcpy(&o.error, mem + rsp, 4);
		assert_int_equal(r.vrs_crs[VCPU_REGS_CR2], LINEAR);
	}
	o.upper = get_entry(p->p_upper, p->p_size) ^ upper;
	o.leaf = get_entry(p->p_leaf, p->p_size) ^ leaf;
	return (o);
}

/* The identity map: user pages, or supervisor's where SMEP and SMAP look. */
static void
identity(const struct paging *p, bool user)
{
	uint32_t at = p->p_mode == PAGING_32 ? TABLES + 0x5000 :
	    TABLES + 0x2000;
	unsigned n, count = p->p_mode == PAGING_32 ? 1024 : 2;

	for (n = 0; n < count; n++)
		put_entry(at + n * p->p_size, p->p_size,
		    (get_entry(at + n * p->p_size, p->p_size) & ~4ull) |
		    (user ? 4 : 0));
}

static bool
bit(unsigned *n)
{
	bool b = *n & 1;

	*n >>= 1;
	return (b);
}

static void
all(enum paging_mode mode)
{
	struct combination k;
	struct outcome got, want;
	struct paging p;
	unsigned n, m, count = 0;

	guest(mode == PAGING_4LEVEL);
	tables(&p, mode);
	for (n = 0; n < 3u << 17; n++) {
		memset(&k, 0, sizeof(k));
		m = n;
		k.upper = m & 7;
		m >>= 3;
		k.leaf = m & 7;
		m >>= 3;
		k.large = bit(&m);
		k.nx_upper = bit(&m);
		k.nx_leaf = bit(&m);
		k.reserved = bit(&m);
		k.wp = bit(&m);
		k.smep = bit(&m);
		k.smap = bit(&m);
		k.ac = bit(&m);
		k.nxe = bit(&m);
		k.user = bit(&m);
		k.access = (enum access)(n >> 17);
		/* combinations that say nothing new, or cannot be */
		if ((n >> 16 & 1) != 0 || (k.large && (k.leaf != 0 ||
		    k.nx_leaf)) || (k.ac && (!k.smap || k.user)) ||
		    (k.smep && !has_smep) || (k.smap && !has_smap) ||
		    (k.user && (k.smep || k.smap)))
			continue;
		if (mode == PAGING_32 && (k.nx_upper || k.nx_leaf ||
		    (k.reserved && !k.large)))
			continue;
		identity(&p, k.user);
		got = run(&p, &k);
		want = expect(&p, &k);
		count++;
		if (got.fault == want.fault && got.error == want.error &&
		    got.upper == want.upper && got.leaf == want.leaf)
			continue;
		fail_msg("%s, %s, upper %x%s leaf %x%s%s%s, %s%s%s%s%s: "
		    "fault %d error %#x upper %#llx leaf %#llx, "
		    "expected %d %#x %#llx %#llx",
		    k.user ? "user" : "supervisor",
		    k.access == READ ? "read" : k.access == WRITE ? "write" :
		    "fetch", k.upper, k.nx_upper ? "+NX" : "", k.leaf,
		    k.nx_leaf ? "+NX" : "", k.large ? " large" : "",
		    k.reserved ? " reserved" : "", k.wp ? "WP " : "",
		    k.smep ? "SMEP " : "", k.smap ? "SMAP " : "",
		    k.ac ? "AC " : "", k.nxe ? "NXE" : "",
		    got.fault, got.error, (unsigned long long)got.upper,
		    (unsigned long long)got.leaf, want.fault, want.error,
		    (unsigned long long)want.upper,
		    (unsigned long long)want.leaf);
	}
	assert_true(count > 1000);
}

static void
paging_4level(void **state)
{
	(void)state;
	all(PAGING_4LEVEL);
}

static void
paging_pae(void **state)
{
	(void)state;
	all(PAGING_PAE);
}

static void
paging_32bit(void **state)
{
	(void)state;
	all(PAGING_32);
}

static int
setup(void **state)
{
	struct engine_range range = { .er_size = MEMORY };
	struct engine_vm_config config = { .ev_ranges = &range,
	    .ev_nranges = 1, .ev_tsc_khz = 1000000, .ev_writes_reported = true,
	    .ev_options = engine_options() };

	(void)state;
	has_smep = cpuid_has(7, 0, 1, 7);
	has_smap = cpuid_has(7, 0, 1, 20);
	mem = range.er_host = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED || ops->eo_vm_new(&config, &vm) != 0 ||
	    ops->eo_vcpu_new(vm, 0, &bare_host, &bare, &vcpu) != 0)
		return (-1);
	return (0);
}

static int
teardown(void **state)
{
	(void)state;
	ops->eo_vcpu_free(vcpu);
	ops->eo_vm_free(vm);
	munmap(mem, MEMORY);
	return (0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paging_4level),
		cmocka_unit_test(paging_pae),
		cmocka_unit_test(paging_32bit),
	};

	ops = engine_tested();
	return (cmocka_run_group_tests(tests, setup, teardown));
}
