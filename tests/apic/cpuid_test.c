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

static struct engine_cpuid
ask(const struct cpuid_policy *p, uint32_t leaf, uint32_t subleaf)
{
	struct engine_cpuid c = {
		.ec_leaf = leaf, .ec_subleaf = subleaf,
		.ec_cr4 = 1u << 18, .ec_xcr0 = cpuid_xcr0_mask()
	};

	cpuid_answer(p, &c);
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
	{ 7, 0, { 0, 0x219c27eb, 0x00400004, 0x20000410 } },
	{ 7, 1, { 0, 0, 0, 0 } },
	{ 7, 2, { 0, 0, 0, 0 } },
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
		if (cpuid_vendor() != CPUID_INTEL) {
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
	uint64_t v = 0x5a;

	(void)state;
	assert_int_equal(misc_rdmsr(0x12345, 2000000, &v), 0);
	assert_int_equal(misc_wrmsr(0x12345, 0), 0);
	assert_int_equal(v, 0x5a);
	assert_int_equal(misc_rdmsr(0x1d9, 2000000, &v), 1);
	assert_int_equal(v, 0);
	assert_int_equal(misc_wrmsr(0x1d9, 2), 1);
	assert_int_equal(misc_wrmsr(0x1d9, 4), -1);
	switch (cpuid_vendor()) {
	case CPUID_AMD:
		assert_int_equal(misc_rdmsr(0xc0010015, 2000000, &v), 1);
		assert_int_equal(v, 1u << 24);
		assert_int_equal(misc_wrmsr(0xc0010015, ~0ull), 1);
		assert_int_equal(misc_rdmsr(0x10a, 2000000, &v), 0);
		break;
	case CPUID_INTEL:
		assert_int_equal(misc_rdmsr(0xce, 2600000, &v), 1);
		assert_int_equal(v, 26ull << 8 | 26ull << 40);
		assert_int_equal(misc_rdmsr(0x10a, 2000000, &v), 1);
		assert_true(v & 1);
		assert_int_equal(misc_wrmsr(0x10a, 1), -1);
		assert_int_equal(misc_rdmsr(0xc0010015, 2000000, &v), 0);
		break;
	case CPUID_OTHER:
		break;
	}
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
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
