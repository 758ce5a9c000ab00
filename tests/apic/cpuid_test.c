/*
 * The CPUID policy: exactly the listed features, each of them there, and the
 * leaves that depend on the VM and on the VCPU's state.
 */
#include <cpuid.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "engine/soft/decode.h"
#include "vmm/cpuid.h"
#include "vmm/msr.h"

#define ARRAY(a)	(sizeof(a) / sizeof((a)[0]))

static const struct cpuid_policy full = {
	.cp_ncpus = 1, .cp_apic = true, .cp_apic_enabled = true,
	.cp_pvclock = true, .cp_tsc_khz = 2596146
};

/* --- CPUs that this host is not ---------------------------------------------- */

/*
 * A Skylake client and a Zen 1: what Linux knows to have most of the bugs, and
 * all features that a leaf may have.
 */
static void
model(const char *id, uint32_t signature, uint32_t max, uint32_t leaf,
    uint32_t subleaf, uint32_t r[4])
{


	memset(r, 0, 4 * sizeof(r[0]));
	if (leaf == 0) {
		r[0] = max;
		memcpy(&r[1], id, 4);
		memcpy(&r[3], id + 4, 4);
		memcpy(&r[2], id + 8, 4);
	} else if (leaf == 1) {
		r[0] = signature;
		r[2] = r[3] = ~0u;
	} else if ((leaf == 7 || leaf == 0xd) && subleaf < 2) {
		r[0] = subleaf;
		r[1] = r[2] = r[3] = ~0u;
	} else if (leaf == 0x80000000) {
		r[0] = 0x80000021;
	} else if (leaf == 0x80000008) {
		r[0] = 48 << 8 | 39;
		r[1] = ~0u;
	} else if (leaf == 0x80000001 || leaf == 0x80000007 ||
	    leaf == 0x80000021)
		r[0] = r[1] = r[2] = r[3] = ~0u;
}

static void
skylake(uint32_t leaf, uint32_t subleaf, uint32_t r[4])
{
	model("GenuineIntel", 0x506e3, 0x16, leaf, subleaf, r);
}

static void
zen(uint32_t leaf, uint32_t subleaf, uint32_t r[4])
{
	model("AuthenticAMD", 0x800f12, 0xd, leaf, subleaf, r);
}

static cpuid_fn *as;		/* whose CPUID; NULL: the host's */

static int
as_intel(void **state)
{
	(void)state;
	as = skylake;
	return (0);
}

static int
as_amd(void **state)
{
	(void)state;
	as = zen;
	return (0);
}

static int
as_host(void **state)
{
	(void)state;
	as = NULL;
	return (0);
}

static enum cpuid_vendor
vendor(void)
{
	return (as == NULL ? cpuid_vendor() : as == skylake ? CPUID_INTEL :
	    CPUID_AMD);
}

static struct engine_cpuid
ask(const struct cpuid_policy *p, uint32_t leaf, uint32_t subleaf)
{
	struct engine_cpuid c = {
		.ec_leaf = leaf, .ec_subleaf = subleaf,
		.ec_cr4 = 1u << 18, .ec_xcr0 = cpuid_xcr0_mask()
	};

	if (as == NULL)
		cpuid_answer(p, &c);
	else
		cpuid_answer_as(as, 7, p, &c);
	assert_int_equal(c.ec_leaf, leaf);
	assert_int_equal(c.ec_subleaf, subleaf);
	return (c);
}

static uint32_t
reg(const struct engine_cpuid *c, int n)
{
	return (n == CPUID_EAX ? c->ec_eax : n == CPUID_EBX ? c->ec_ebx :
	    n == CPUID_ECX ? c->ec_ecx : c->ec_edx);
}

static bool
offered(const struct cpuid_feature *f, const struct cpuid_policy *p)
{
	struct engine_cpuid c = ask(p, f->cf_leaf, f->cf_subleaf);

	return ((reg(&c, f->cf_reg) >> f->cf_bit & 1) != 0);
}

/*
 * Words that are feature bits and nothing else: what may be there at most. An
 * independent statement of the list, from the manuals' bit numbers.
 */
static const struct {
	uint32_t leaf, subleaf, max[4];
} limits[] = {
	{ 1, 0, { ~0u, ~0u, 0xfffa3203 & ~0x00040000u, 0x178bfbff &
	    ~(1u << 1 | 1u << 7 | 1u << 14) } },
	{ 6, 0, { 0x4, 0, 0, 0 } },
	{ 7, 0, { 2, 0x219c27eb, 0x00400004, 0x24000410 } },
	{ 7, 1, { 0, 0, 0, 0 } },
	{ 7, 2, { 0, 0, 0, 0x10 } }, { 7, 3, { 0, 0, 0, 0 } },
	{ 0xd, 1, { 0x7, ~0u, 0, 0 } },
	{ 0x80000001, 0, { ~0u, 0, 0x00400123, 0x2dd3fbff &
	    ~(1u << 1 | 1u << 7 | 1u << 14) } },
	{ 0x80000007, 0, { 0, 0, 0, 0x100 } },
	{ 0x80000008, 0, { ~0u, 0x24000004, ~0u, 0 } },
	{ 0x8000000a, 0, { 0, 0, 0, 0 } },
	{ 0x8000001f, 0, { 0, 0, 0, 0 } },
	{ 0x80000021, 0, { 0x20000145, 0, 0x6, 0 } },
	{ 0x40000001, 0, { 0x01000009, 0, 0, 0 } },
	{ 0x40000101, 0, { 0x0100000b, 0, 0, 0 } },
	/* no MONITOR, PMU, PT, SGX, AMX */
	{ 5, 0, { 0, 0, 0, 0 } }, { 0xa, 0, { 0, 0, 0, 0 } },
	{ 0x12, 0, { 0, 0, 0, 0 } }, { 0x14, 0, { 0, 0, 0, 0 } },
	{ 0x1d, 0, { 0, 0, 0, 0 } }, { 0xd, 3, { 0, 0, 0, 0 } },
	{ 0xd, 5, { 0, 0, 0, 0 } }, { 0xd, 63, { 0, 0, 0, 0 } },
};

static void
nothing_else(void **state)
{
	struct engine_cpuid c;
	size_t i;
	int r;

	(void)state;
	for (i = 0; i < ARRAY(limits); i++) {
		c = ask(&full, limits[i].leaf, limits[i].subleaf);
		for (r = 0; r < 4; r++)
			assert_int_equal(reg(&c, r) & ~limits[i].max[r], 0);
	}
	/* and no other leaf answers at all */
	for (uint32_t leaf = 0; leaf < 0x60; leaf++) {
		bool known = leaf <= 4 || leaf == 6 || leaf == 7 ||
		    leaf == 0xb || leaf == 0xd || leaf == 0x15 || leaf == 0x16;

		for (unsigned s = 0; s < 4 && !known; s++) {
			for (unsigned top = 0; top < 3; top++) {
				c = ask(&full, leaf | top << 30, s);
				if (top != 0)
					continue;
				assert_int_equal(c.ec_eax | c.ec_ebx |
				    c.ec_ecx | c.ec_edx, 0);
			}
		}
	}
	c = ask(&full, 0xc0000000, 0);
	assert_int_equal(c.ec_eax | c.ec_ebx | c.ec_ecx | c.ec_edx, 0);
}

/* Every row: there if and only if its rule says so. */
static void
rows(void **state)
{
	const struct cpuid_feature *f, *g;
	unsigned host[4];
	size_t n, i, j;
	bool want;

	(void)state;
	f = cpuid_features(&n);
	for (i = 0; i < n; i++, f++) {
		g = f + 1;
		for (j = i + 1; j < n; j++, g++)
			assert_false(f->cf_leaf == g->cf_leaf &&
			    f->cf_subleaf == g->cf_subleaf &&
			    f->cf_reg == g->cf_reg && f->cf_bit == g->cf_bit &&
			    (f->cf_vendors & g->cf_vendors));
		want = (f->cf_vendors & 1 << cpuid_vendor()) != 0;
		if ((f->cf_xcr0 & cpuid_xcr0_mask()) != f->cf_xcr0)
			want = false;
		if (f->cf_rule == CPUID_IF_HOST) {
			if (!__get_cpuid_count(f->cf_leaf, f->cf_subleaf,
			    &host[0], &host[1], &host[2], &host[3]))
				memset(host, 0, sizeof(host));
			want &= host[f->cf_reg] >> f->cf_bit & 1;
		}
		assert_int_equal(cpuid_has(f->cf_leaf, f->cf_subleaf,
		    f->cf_reg, f->cf_bit), want);
		if (f->cf_rule != CPUID_DYNAMIC)
			assert_int_equal(offered(f, &full), want);
	}
	assert_false(cpuid_has(1, 0, CPUID_ECX, 5));	/* VMX */
	assert_false(cpuid_has(0x1234, 0, CPUID_EAX, 0));
}

/*
 * An instruction of each feature that has one: offered means that the engine
 * decodes it.
 */
static const struct {
	const char *name;
	uint8_t len, code[10];
} samples[] = {
	{ "SSE3", 4, { 0xf2, 0x0f, 0xd0, 0xc1 } },
	{ "PCLMULQDQ", 6, { 0x66, 0x0f, 0x3a, 0x44, 0xc1, 0 } },
	{ "SSSE3", 5, { 0x66, 0x0f, 0x38, 0x00, 0xc1 } },
	{ "FMA", 5, { 0xc4, 0xe2, 0x71, 0x98, 0xc2 } },
	{ "CMPXCHG16B", 4, { 0x48, 0x0f, 0xc7, 0x08 } },
	{ "SSE4.1", 5, { 0x66, 0x0f, 0x38, 0x10, 0xc1 } },
	{ "SSE4.2", 5, { 0xf2, 0x0f, 0x38, 0xf1, 0xc1 } },
	{ "MOVBE", 4, { 0x0f, 0x38, 0xf0, 0x00 } },
	{ "POPCNT", 4, { 0xf3, 0x0f, 0xb8, 0xc1 } },
	{ "AES", 5, { 0x66, 0x0f, 0x38, 0xdc, 0xc1 } },
	{ "XSAVE", 3, { 0x0f, 0xae, 0x20 } },
	{ "AVX", 4, { 0xc5, 0xf0, 0x58, 0xc2 } },
	{ "F16C", 5, { 0xc4, 0xe2, 0x79, 0x13, 0xc1 } },
	{ "RDRAND", 3, { 0x0f, 0xc7, 0xf0 } },
	{ "FPU", 2, { 0xd8, 0xc1 } },
	{ "TSC", 2, { 0x0f, 0x31 } },
	{ "MSR", 2, { 0x0f, 0x32 } },
	{ "CMPXCHG8B", 3, { 0x0f, 0xc7, 0x08 } },
	{ "CMOV", 3, { 0x0f, 0x44, 0xc1 } },
	{ "CLFLUSH", 3, { 0x0f, 0xae, 0x38 } },
	{ "MMX", 3, { 0x0f, 0xfc, 0xc1 } },
	{ "FXSR", 3, { 0x0f, 0xae, 0x00 } },
	{ "SSE", 3, { 0x0f, 0x58, 0xc1 } },
	{ "SSE2", 4, { 0x66, 0x0f, 0x58, 0xc1 } },
	{ "FSGSBASE", 4, { 0xf3, 0x0f, 0xae, 0xc0 } },
	{ "BMI1", 5, { 0xc4, 0xe2, 0x70, 0xf2, 0xc2 } },
	{ "AVX2", 4, { 0xc5, 0xf5, 0xfe, 0xc2 } },
	{ "BMI2", 5, { 0xc4, 0xe2, 0x71, 0xf7, 0xc2 } },
	{ "INVPCID", 5, { 0x66, 0x0f, 0x38, 0x82, 0x00 } },
	{ "RDSEED", 3, { 0x0f, 0xc7, 0xf8 } },
	{ "ADX", 5, { 0x66, 0x0f, 0x38, 0xf6, 0xc1 } },
	{ "SMAP", 3, { 0x0f, 0x01, 0xca } },
	{ "CLFLUSHOPT", 4, { 0x66, 0x0f, 0xae, 0x38 } },
	{ "CLWB", 4, { 0x66, 0x0f, 0xae, 0x30 } },
	{ "SHA", 4, { 0x0f, 0x38, 0xc8, 0xc1 } },
	{ "RDPID", 4, { 0xf3, 0x0f, 0xc7, 0xf8 } },
	{ "XSAVEOPT", 3, { 0x0f, 0xae, 0x30 } },
	{ "XSAVEC", 3, { 0x0f, 0xc7, 0x20 } },
	{ "XGETBV1", 3, { 0x0f, 0x01, 0xd0 } },
	{ "LAHF64", 1, { 0x9f } },
	{ "LZCNT", 4, { 0xf3, 0x0f, 0xbd, 0xc1 } },
	{ "PREFETCHW", 3, { 0x0f, 0x0d, 0x08 } },
	{ "SYSCALL", 2, { 0x0f, 0x05 } },
	{ "MMXEXT", 4, { 0x0f, 0x70, 0xc1, 0 } },
	{ "RDTSCP", 3, { 0x0f, 0x01, 0xf9 } },
	/* not offered under any name: must not be there */
	{ "VMX", 3, { 0x0f, 0x01, 0xc1 } },
	{ "SVM", 3, { 0x0f, 0x01, 0xd8 } },
	{ "MONITOR", 3, { 0x0f, 0x01, 0xc8 } },
	{ "MWAIT", 3, { 0x0f, 0x01, 0xc9 } },
	{ "MONITORX", 3, { 0x0f, 0x01, 0xfa } },
	{ "PKU", 3, { 0x0f, 0x01, 0xee } },
	{ "RTM", 6, { 0xc7, 0xf8, 0, 0, 0, 0 } },
	{ "XSAVES", 3, { 0x0f, 0xc7, 0x28 } },
	{ "SSE4A", 4, { 0x66, 0x0f, 0x79, 0xc1 } },
	{ "CLZERO", 3, { 0x0f, 0x01, 0xfc } },
	{ "RDPRU", 3, { 0x0f, 0x01, 0xfd } },
	{ "3DNow", 4, { 0x0f, 0x0f, 0xc1, 0xbf } },
	{ "XOP", 6, { 0x8f, 0xe8, 0x78, 0xc0, 0xc1, 0x01 } },
	{ "GFNI", 5, { 0x66, 0x0f, 0x38, 0xcf, 0xc1 } },
	{ "VAES", 5, { 0xc4, 0xe2, 0x75, 0xdc, 0xc2 } },
	{ "VPCLMULQDQ", 6, { 0xc4, 0xe3, 0x75, 0x44, 0xc2, 0 } },
	{ "AVX-512", 6, { 0x62, 0xf1, 0x74, 0x48, 0x58, 0xc2 } },
	{ "MOVDIRI", 4, { 0x0f, 0x38, 0xf9, 0x00 } },
};

static void
answer(void *arg, struct engine_cpuid *c)
{
	c->ec_cr4 = 1u << 18;
	c->ec_xcr0 = cpuid_xcr0_mask();
	cpuid_answer(arg, c);
}

static void
decoded(void **state)
{
	const struct engine_host host = { .eh_cpuid = answer };
	const struct cpuid_feature *f;
	struct decode_mode mode;
	struct insn insn;
	size_t n, i, j;
	uint8_t code[15];
	bool is, want;

	(void)state;
	decode_mode_init(&mode, &host, (void *)(uintptr_t)&full);
	mode.dm_bits = 64;
	mode.dm_real = false;
	f = cpuid_features(&n);
	for (i = 0; i < ARRAY(samples); i++) {
		want = false;
		for (j = 0; j < n; j++)
			want |= strcmp(f[j].cf_name, samples[i].name) == 0 &&
			    offered(&f[j], &full);
		memset(code, 0x90, sizeof(code));
		memcpy(code, samples[i].code, samples[i].len);
		is = insn_decode(code, sizeof(code), &mode, &insn) == DECODE_OK;
		if (is && samples[i].len != insn.i_len)
			is = false;
		if (is != want)
			fail_msg("%s is%s offered and is%s decoded",
			    samples[i].name, want ? "" : " not",
			    is ? "" : " not");
	}
}

static void
apic_bits(void **state)
{
	struct cpuid_policy p = full;
	struct engine_cpuid c = ask(&p, 1, 0);

	(void)state;
	assert_int_equal(c.ec_edx >> 9 & 1, 1);
	assert_int_equal(c.ec_ecx >> 21 & 1, 1);
	assert_int_equal(c.ec_ecx >> 24 & 1, 1);
	p.cp_apic_enabled = false;	/* APIC_BASE.EN cleared */
	c = ask(&p, 1, 0);
	assert_int_equal(c.ec_edx >> 9 & 1, 0);
	assert_int_equal(c.ec_ecx >> 21 & 1, 1);
	p.cp_apic = false;		/* a plain client's VM */
	c = ask(&p, 1, 0);
	assert_int_equal(c.ec_edx >> 9 & 1, 0);
	assert_int_equal(c.ec_ecx & (1u << 21 | 1u << 24), 0);
	c = ask(&p, 0x80000001, 0);
	assert_int_equal(c.ec_edx >> 9 & 1, 0);
	c = ask(&p, 0xb, 0);
	assert_int_equal(c.ec_eax | c.ec_ebx | c.ec_ecx | c.ec_edx, 0);
	c = ask(&p, 6, 0);
	assert_int_equal(c.ec_eax, 0);
}

static void
topology(void **state)
{
	static const unsigned counts[] = { 1, 2, 3, 4, 8, 63, 64 };
	struct cpuid_policy p = full;
	struct engine_cpuid c;
	unsigned bits;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY(counts); i++) {
		p.cp_ncpus = counts[i];
		p.cp_apic_id = counts[i] - 1;
		c = ask(&p, 1, 0);
		assert_int_equal(c.ec_ebx >> 24, p.cp_apic_id);
		assert_int_equal(c.ec_ebx >> 16 & 0xff, p.cp_ncpus);
		assert_int_equal(c.ec_edx >> 28 & 1, p.cp_ncpus > 1);
		c = ask(&p, 0xb, 0);
		assert_int_equal(c.ec_eax, 0);
		assert_int_equal(c.ec_ebx, 1);
		assert_int_equal(c.ec_ecx, 0x100);
		assert_int_equal(c.ec_edx, p.cp_apic_id);
		c = ask(&p, 0xb, 1);
		bits = c.ec_eax;
		assert_true(1u << bits >= p.cp_ncpus);
		assert_true(bits == 0 || 1u << (bits - 1) < p.cp_ncpus);
		assert_int_equal(c.ec_ebx, p.cp_ncpus);
		assert_int_equal(c.ec_ecx, 0x201);
		assert_int_equal(c.ec_edx, p.cp_apic_id);
		c = ask(&p, 0xb, 2);
		assert_int_equal(c.ec_ebx, 0);
		assert_int_equal(c.ec_ecx, 2);
		if (cpuid_vendor() == CPUID_AMD) {
			c = ask(&p, 0x80000008, 0);
			assert_int_equal(c.ec_ecx & 0xff, p.cp_ncpus - 1);
			assert_int_equal(c.ec_ecx >> 12 & 0xf, bits);
			c = ask(&p, 0x8000001e, 0);
			assert_int_equal(c.ec_eax, p.cp_apic_id);
		}
	}
}

static void
xsave(void **state)
{
	uint64_t mask = cpuid_xcr0_mask();
	struct engine_cpuid c;

	(void)state;
	assert_true(mask == 0 || mask == 3 || mask == 7);
	c = ask(&full, 0xd, 0);
	assert_int_equal(c.ec_eax, mask);
	assert_int_equal(c.ec_ecx, mask == 7 ? 832 : mask == 3 ? 576 : 0);
	assert_int_equal(c.ec_edx, 0);
	if (mask == 7) {
		c = ask(&full, 0xd, 2);
		assert_int_equal(c.ec_eax, 256);
		assert_int_equal(c.ec_ebx, 576);
	}
	/* the size follows XCR0, OSXSAVE follows CR4 */
	c = (struct engine_cpuid){ .ec_leaf = 0xd, .ec_xcr0 = 1 };
	cpuid_answer(&full, &c);
	assert_int_equal(c.ec_ebx, mask != 0 ? 576 : 0);
	c = (struct engine_cpuid){ .ec_leaf = 1 };
	cpuid_answer(&full, &c);
	assert_int_equal(c.ec_ecx >> 27 & 1, 0);
	c = ask(&full, 1, 0);
	assert_int_equal(c.ec_ecx >> 27 & 1, mask != 0);
}

static void
hypervisor(void **state)
{
	struct cpuid_policy p = full;
	struct engine_cpuid c;

	(void)state;
	c = ask(&p, 0x40000000, 0);
	assert_memory_equal(&c.ec_ebx, "OpenBSDVMM58", 12);
	assert_true(c.ec_eax >= 0x40000001);
	c = ask(&p, 0x40000100, 0);
	assert_memory_equal(&c.ec_ebx, "KVMKVMKVM\0\0\0", 12);
	assert_int_equal(c.ec_eax, 0x40000101);
	c = ask(&p, 0x40000101, 0);
	assert_int_equal(c.ec_eax, 0x0100000b);
	c = ask(&p, 0x40000001, 0);
	assert_int_equal(c.ec_eax, 0x01000009);
	p.cp_pvclock = false;
	c = ask(&p, 0x40000101, 0);
	assert_int_equal(c.ec_eax, 0x2);
	c = ask(&p, 0x40000001, 0);
	assert_int_equal(c.ec_eax, 0);
	c = ask(&p, 0x40000010, 0);
	assert_int_equal(c.ec_eax, 2596146);
	assert_int_equal(c.ec_ebx, 1000000);
	c = ask(&p, 0x40000200, 0);
	assert_int_equal(c.ec_eax | c.ec_ebx | c.ec_ecx | c.ec_edx, 0);
}

/* The host's own name and model; widths within what the engine walks. */
static void
identity(void **state)
{
	unsigned a, b, c, d, leaf;
	struct engine_cpuid g;
	char name[13] = "";

	(void)state;
	__cpuid(0, a, b, c, d);
	g = ask(&full, 0, 0);
	assert_int_equal(g.ec_ebx, b);
	assert_int_equal(g.ec_ecx, c);
	assert_int_equal(g.ec_edx, d);
	memcpy(name, &g.ec_ebx, 4);
	memcpy(name + 4, &g.ec_edx, 4);
	memcpy(name + 8, &g.ec_ecx, 4);
	assert_int_equal(cpuid_vendor() == CPUID_INTEL,
	    strcmp(name, "GenuineIntel") == 0);
	__cpuid(1, a, b, c, d);
	assert_int_equal(ask(&full, 1, 0).ec_eax, a);
	for (leaf = 0x80000002; leaf <= 0x80000004; leaf++) {
		__cpuid(leaf, a, b, c, d);
		g = ask(&full, leaf, 0);
		assert_int_equal(g.ec_eax, a);
		assert_int_equal(g.ec_edx, d);
	}
	g = ask(&full, 0x80000008, 0);
	assert_int_equal(g.ec_eax & 0xff, cpuid_physical_bits());
	assert_in_range(cpuid_physical_bits(), 40, 46);
	assert_int_equal(g.ec_eax >> 8 & 0xff, 48);
	/* every cache that is described has sets and ways */
	for (unsigned i = 0; i < 8; i++) {
		g = ask(&full, cpuid_vendor() == CPUID_AMD ? 0x8000001d : 4,
		    i);
		if ((g.ec_eax & 0x1f) == 0)
			break;
		assert_int_equal((g.ec_ebx & 0xfff) + 1, 64);
		assert_int_equal(g.ec_eax >> 14, 0);	/* ours alone */
	}
}

/* The TSC's frequency by leaf 0x15, as a client computes it in 32 bits. */
static void
frequency(void **state)
{
	static const uint64_t khz[] = { 1000000, 1193182, 2000000, 2596146,
	    2999999, 3700001, 4294000 };
	struct cpuid_policy p = full;
	struct engine_cpuid c;
	uint32_t got;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY(khz); i++) {
		p.cp_tsc_khz = khz[i];
		c = ask(&p, 0x15, 0);
		if (vendor() != CPUID_INTEL) {
			assert_int_equal(c.ec_eax | c.ec_ebx | c.ec_ecx, 0);
			continue;
		}
		assert_int_equal(c.ec_ecx, 1000000000);
		got = c.ec_ecx / 1000 * c.ec_ebx / c.ec_eax;
		assert_in_range(got, khz[i] - khz[i] / 100000 - 1,
		    khz[i] + khz[i] / 100000 + 1);
		c = ask(&p, 0x16, 0);
		assert_int_equal(c.ec_eax, (khz[i] + 500) / 1000);
	}
}

static void
msrs(void **state)
{
	struct misc_msrs ms = { .ms_vendor = vendor(), .ms_tsc_khz = 2600000 };
	uint64_t v = 0x5a;

	(void)state;
	assert_int_equal(misc_rdmsr(&ms, 0x12345, &v), 0);
	assert_int_equal(misc_wrmsr(&ms, 0x12345, 0), 0);
	assert_int_equal(v, 0x5a);
	assert_int_equal(misc_rdmsr(&ms, 0x1d9, &v), 1);
	assert_int_equal(v, 0);
	assert_int_equal(misc_wrmsr(&ms, 0x1d9, 2), 1);
	assert_int_equal(misc_wrmsr(&ms, 0x1d9, 4), -1);
	switch (vendor()) {
	case CPUID_AMD:
		assert_int_equal(misc_rdmsr(&ms, 0xc0010015, &v), 1);
		assert_int_equal(v, 1u << 24);
		assert_int_equal(misc_wrmsr(&ms, 0xc0010015, ~0ull), 1);
		assert_int_equal(misc_rdmsr(&ms, 0x10a, &v), 0);
		assert_int_equal(misc_rdmsr(&ms, 0x48, &v), 0);
		break;
	case CPUID_INTEL:
		assert_int_equal(misc_rdmsr(&ms, 0xce, &v), 1);
		assert_int_equal(v, 26ull << 8 | 26ull << 40);
		assert_int_equal(misc_rdmsr(&ms, 0x10a, &v), 1);
		assert_true(v & 1);
		assert_int_equal(misc_wrmsr(&ms, 0x10a, 1), -1);
		assert_int_equal(misc_rdmsr(&ms, 0xc0010015, &v), 0);
		/* IA32_SPEC_CTRL keeps what it is given; IBPB is an order */
		assert_int_equal(misc_rdmsr(&ms, 0x48, &v), 1);
		assert_int_equal(v, 0);
		assert_int_equal(misc_wrmsr(&ms, 0x48, 1), 1);
		assert_int_equal(misc_wrmsr(&ms, 0x48, 1 << 2), -1);
		assert_int_equal(misc_rdmsr(&ms, 0x48, &v), 1);
		assert_int_equal(v, 1);
		assert_int_equal(misc_wrmsr(&ms, 0x49, 1), 1);
		assert_int_equal(misc_wrmsr(&ms, 0x49, 2), -1);
		assert_int_equal(misc_rdmsr(&ms, 0x49, &v), -1);
		break;
	case CPUID_OTHER:
		break;
	}
}

/*
 * What makes a system leave its workarounds out, and what makes it cheap, each
 * by the bit that says so (SDM vol. 4 table 2-2, IA32_ARCH_CAPABILITIES; APM
 * vol. 3 E.4).
 */
static bool
bit(uint32_t leaf, uint32_t subleaf, int r, int n)
{
	struct engine_cpuid c = ask(&full, leaf, subleaf);

	return ((reg(&c, r) >> n & 1) != 0);
}

static void
cheap_intel(void **state)
{
	/* RDCL, IBRS_ALL, L1D flush, SSB, MDS, page size, TAA, SBDR, FBSDP,
	 * PSDP, BHI, PBRSB, GDS, RFDS, ITS */
	static const uint8_t good[] = { 0, 1, 3, 4, 5, 6, 8, 13, 14, 15, 20,
	    24, 26, 27, 62 };
	/* RSBA, TSX_CTRL, FB_CLEAR, RRSBA: each says that there is work */
	static const uint8_t bad[] = { 2, 7, 17, 19 };
	struct misc_msrs ms = { .ms_vendor = CPUID_INTEL };
	uint64_t v = 0;
	size_t i;

	(void)state;
	assert_true(bit(7, 0, CPUID_EDX, 29));	/* the MSR is there */
	assert_int_equal(misc_rdmsr(&ms, 0x10a, &v), 1);
	for (i = 0; i < ARRAY(good); i++)
		assert_true(v >> good[i] & 1);
	for (i = 0; i < ARRAY(bad); i++)
		assert_false(v >> bad[i] & 1);
	/* IBRS_ALL counts only with IBRS itself */
	assert_true(bit(7, 0, CPUID_EDX, 26));
	/* systems do not believe BHI_NO of a guest's CPU: a bit does it too */
	assert_int_equal(ask(&full, 7, 0).ec_eax, 2);
	assert_true(bit(7, 2, CPUID_EDX, 4));
	assert_int_equal(misc_wrmsr(&ms, 0x48, 0x401), 1);
	/* no RTM to abort, no SMT to isolate, no SSBD to switch */
	assert_false(bit(7, 0, CPUID_EBX, 11));
	assert_false(bit(7, 0, CPUID_EDX, 27));
	assert_false(bit(7, 0, CPUID_EDX, 31));
}

static void
cheap_amd(void **state)
{
	(void)state;
	assert_true(bit(0x80000021, 0, CPUID_EAX, 8));	/* automatic IBRS */
	assert_true(bit(0x80000021, 0, CPUID_EAX, 29));	/* SRSO_NO */
	assert_true(bit(0x80000021, 0, CPUID_EAX, 2));	/* LFENCE */
	assert_true(bit(0x80000021, 0, CPUID_EAX, 6));	/* null selectors */
	assert_true(bit(0x80000021, 0, CPUID_ECX, 1));	/* TSA_SQ_NO */
	assert_true(bit(0x80000021, 0, CPUID_ECX, 2));	/* TSA_L1_NO */
	assert_true(bit(0x80000008, 0, CPUID_EBX, 29));	/* BTC_NO */
	assert_true(bit(0x80000008, 0, CPUID_EBX, 26));	/* SSB_NO */
	/* IBPB, IBRS, STIBP, SSBD: what is there gets used */
	assert_false(bit(0x80000008, 0, CPUID_EBX, 12));
	assert_false(bit(0x80000008, 0, CPUID_EBX, 14));
	assert_false(bit(0x80000008, 0, CPUID_EBX, 15));
	assert_false(bit(0x80000008, 0, CPUID_EBX, 24));
}

/* On any CPU: what spares page-table switches, byte loops and calibration. */
static void
cheap(void **state)
{
	struct engine_cpuid c;

	(void)state;
	assert_true(bit(1, 0, CPUID_ECX, 17));		/* PCID */
	assert_true(bit(7, 0, CPUID_EBX, 10));		/* INVPCID */
	assert_true(bit(1, 0, CPUID_EDX, 13));		/* PGE */
	assert_true(bit(0x80000001, 0, CPUID_EDX, 26));	/* 1 GiB pages */
	assert_true(bit(7, 0, CPUID_EBX, 0));		/* FSGSBASE */
	assert_true(bit(7, 0, CPUID_EBX, 9));		/* ERMS */
	assert_true(bit(7, 0, CPUID_EDX, 4));		/* FSRM */
	assert_true(bit(1, 0, CPUID_ECX, 21));		/* x2APIC */
	assert_true(bit(1, 0, CPUID_ECX, 24));		/* TSC deadline */
	assert_true(bit(6, 0, CPUID_EAX, 2));		/* ARAT */
	assert_true(bit(0x80000007, 0, CPUID_EDX, 8));	/* invariant TSC */
	assert_true(bit(0x40000101, 0, CPUID_EAX, 1));	/* no I/O delay */
	assert_true(bit(0x40000101, 0, CPUID_EAX, 24));	/* stable clock */
	c = ask(&full, 0x40000010, 0);
	assert_int_equal(c.ec_eax, full.cp_tsc_khz);
	assert_int_equal(c.ec_ebx, 1000000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_else), cmocka_unit_test(rows),
		cmocka_unit_test(decoded), cmocka_unit_test(apic_bits),
		cmocka_unit_test(topology), cmocka_unit_test(xsave),
		cmocka_unit_test(hypervisor), cmocka_unit_test(identity),
		cmocka_unit_test(frequency), cmocka_unit_test(msrs),
		cmocka_unit_test(cheap),
#define ON(test, setup, name)						\
	{ name ": " #test, test, setup, as_host, NULL }
		ON(nothing_else, as_intel, "Intel"),
		ON(frequency, as_intel, "Intel"), ON(msrs, as_intel, "Intel"),
		ON(cheap, as_intel, "Intel"), ON(cheap_intel, as_intel, "Intel"),
		ON(nothing_else, as_amd, "AMD"), ON(frequency, as_amd, "AMD"),
		ON(msrs, as_amd, "AMD"), ON(cheap, as_amd, "AMD"),
		ON(cheap_amd, as_amd, "AMD"),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
