/*
 * The CPUID policy (cpuid.h): SDM vol. 2A "CPUID", APM vol. 3 appendix E.
 *
 * 1. A feature bit is offered only by a row of cpuid_features_table[]; leaves
 *    that are no feature bits are made by the functions of cpuid_leaves[]. A
 *    leaf in neither table answers zeros.
 * 2. The host is asked once (cpuid_host()); the answers are immutable after
 *    that, so that any thread may call everything here.
 * 3. The guest's CPU carries the host's vendor, family, model and name: an
 *    instruction's result is the host's result, and software that knows the
 *    host's model must find it.
 */
#include <cpuid.h>
#include <pthread.h>
#include <string.h>

#include "vmm/apic.h"
#include "vmm/cpuid.h"

#define INTEL	(1 << CPUID_INTEL)
#define AMD	(1 << CPUID_AMD)
#define ANY	CPUID_ANY
#define HOST	CPUID_IF_HOST
#define ALWAYS	CPUID_ALWAYS
#define DYNAMIC	CPUID_DYNAMIC

#define EAX	CPUID_EAX
#define EBX	CPUID_EBX
#define ECX	CPUID_ECX
#define EDX	CPUID_EDX

/* XCR0 components that a feature's registers live in. */
#define X_SSE	0x2
#define X_AVX	0x6

/*
 * What is missing is not there: VME, MCE and MCA, MONITOR, VMX and SVM, PMU,
 * RTM, PKU, AVX-512, XSAVES, CET, LA57.
 *
 * The rows named *_NO and the speculation controls say that a workaround in
 * the guest would do nothing. Software checks privilege and presence before it
 * touches memory, so there is no data to be used behind a fault that is yet to
 * come (Meltdown, L1TF, MDS, TAA...). Branches are predicted by the host's CPU
 * from what it runs, which is the engine's code or its translation: what the
 * guest writes to tame the predictor (a return thunk, a retpoline, IBPB) ends
 * in the engine and tames nothing. What keeps one guest from another is the
 * process around each.
 *
 * Of what would do nothing, the cheapest is offered: automatic or enhanced
 * IBRS is one write at boot, not a retpoline at each indirect call.
 */
static const struct cpuid_feature cpuid_features_table[] = {
	/* leaf, sub, register, bit, rule, vendors, XCR0, name */
	{ 1, 0, ECX, 0, HOST, ANY, 0, "SSE3" },
	{ 1, 0, ECX, 1, HOST, ANY, 0, "PCLMULQDQ" },
	{ 1, 0, ECX, 9, HOST, ANY, 0, "SSSE3" },
	{ 1, 0, ECX, 12, HOST, ANY, X_AVX, "FMA" },
	{ 1, 0, ECX, 13, HOST, ANY, 0, "CMPXCHG16B" },
	{ 1, 0, ECX, 17, ALWAYS, ANY, 0, "PCID" },
	{ 1, 0, ECX, 19, HOST, ANY, 0, "SSE4.1" },
	{ 1, 0, ECX, 20, HOST, ANY, 0, "SSE4.2" },
	{ 1, 0, ECX, 21, DYNAMIC, ANY, 0, "x2APIC" },
	{ 1, 0, ECX, 22, HOST, ANY, 0, "MOVBE" },
	{ 1, 0, ECX, 23, HOST, ANY, 0, "POPCNT" },
	{ 1, 0, ECX, 24, DYNAMIC, ANY, 0, "TSC-deadline" },
	{ 1, 0, ECX, 25, HOST, ANY, 0, "AES" },
	{ 1, 0, ECX, 26, HOST, ANY, X_SSE, "XSAVE" },
	{ 1, 0, ECX, 27, DYNAMIC, ANY, X_SSE, "OSXSAVE" },
	{ 1, 0, ECX, 28, HOST, ANY, X_AVX, "AVX" },
	{ 1, 0, ECX, 29, HOST, ANY, X_AVX, "F16C" },
	{ 1, 0, ECX, 30, HOST, ANY, 0, "RDRAND" },
	{ 1, 0, ECX, 31, ALWAYS, ANY, 0, "hypervisor" },

	{ 1, 0, EDX, 0, HOST, ANY, 0, "FPU" },
	{ 1, 0, EDX, 2, ALWAYS, ANY, 0, "DE" },
	{ 1, 0, EDX, 3, ALWAYS, ANY, 0, "PSE" },
	{ 1, 0, EDX, 4, ALWAYS, ANY, 0, "TSC" },
	{ 1, 0, EDX, 5, ALWAYS, ANY, 0, "MSR" },
	{ 1, 0, EDX, 6, ALWAYS, ANY, 0, "PAE" },
	{ 1, 0, EDX, 8, ALWAYS, ANY, 0, "CMPXCHG8B" },
	{ 1, 0, EDX, 9, DYNAMIC, ANY, 0, "APIC" },
	{ 1, 0, EDX, 11, ALWAYS, ANY, 0, "SEP" },
	{ 1, 0, EDX, 12, ALWAYS, ANY, 0, "MTRR" },
	{ 1, 0, EDX, 13, ALWAYS, ANY, 0, "PGE" },
	{ 1, 0, EDX, 15, ALWAYS, ANY, 0, "CMOV" },
	{ 1, 0, EDX, 16, ALWAYS, ANY, 0, "PAT" },
	{ 1, 0, EDX, 17, ALWAYS, ANY, 0, "PSE-36" },
	{ 1, 0, EDX, 19, ALWAYS, ANY, 0, "CLFLUSH" },
	{ 1, 0, EDX, 23, HOST, ANY, 0, "MMX" },
	{ 1, 0, EDX, 24, HOST, ANY, 0, "FXSR" },
	{ 1, 0, EDX, 25, HOST, ANY, 0, "SSE" },
	{ 1, 0, EDX, 26, HOST, ANY, 0, "SSE2" },
	{ 1, 0, EDX, 28, DYNAMIC, ANY, 0, "HTT" },

	{ 6, 0, EAX, 2, DYNAMIC, ANY, 0, "ARAT" },

	{ 7, 0, EBX, 0, ALWAYS, ANY, 0, "FSGSBASE" },
	{ 7, 0, EBX, 1, ALWAYS, ANY, 0, "TSC_ADJUST" },
	{ 7, 0, EBX, 3, HOST, ANY, 0, "BMI1" },
	{ 7, 0, EBX, 5, HOST, ANY, X_AVX, "AVX2" },
	{ 7, 0, EBX, 6, HOST, ANY, 0, "FDP_EXCPTN_ONLY" },
	{ 7, 0, EBX, 7, ALWAYS, ANY, 0, "SMEP" },
	{ 7, 0, EBX, 8, HOST, ANY, 0, "BMI2" },
	{ 7, 0, EBX, 9, ALWAYS, ANY, 0, "ERMS" },
	{ 7, 0, EBX, 10, ALWAYS, ANY, 0, "INVPCID" },
	{ 7, 0, EBX, 13, HOST, ANY, 0, "ZERO_FCS_FDS" },
	{ 7, 0, EBX, 18, HOST, ANY, 0, "RDSEED" },
	{ 7, 0, EBX, 19, HOST, ANY, 0, "ADX" },
	{ 7, 0, EBX, 20, ALWAYS, ANY, 0, "SMAP" },
	{ 7, 0, EBX, 23, ALWAYS, ANY, 0, "CLFLUSHOPT" },
	{ 7, 0, EBX, 24, ALWAYS, ANY, 0, "CLWB" },
	{ 7, 0, EBX, 29, HOST, ANY, 0, "SHA" },
	{ 7, 0, ECX, 2, ALWAYS, ANY, 0, "UMIP" },
	{ 7, 0, ECX, 22, ALWAYS, ANY, 0, "RDPID" },
	{ 7, 0, EDX, 4, ALWAYS, ANY, 0, "FSRM" },
	{ 7, 0, EDX, 10, ALWAYS, INTEL, 0, "MD_CLEAR" },
	{ 7, 0, EDX, 26, ALWAYS, INTEL, 0, "IBRS, IBPB" },
	{ 7, 0, EDX, 29, ALWAYS, INTEL, 0, "ARCH_CAPABILITIES" },
	{ 7, 2, EDX, 4, ALWAYS, INTEL, 0, "BHI_CTRL" },

	{ 0xd, 1, EAX, 0, HOST, ANY, X_SSE, "XSAVEOPT" },
	{ 0xd, 1, EAX, 1, HOST, ANY, X_SSE, "XSAVEC" },
	{ 0xd, 1, EAX, 2, HOST, ANY, X_SSE, "XGETBV1" },

	{ 0x80000001, 0, ECX, 0, ALWAYS, ANY, 0, "LAHF64" },
	{ 0x80000001, 0, ECX, 1, DYNAMIC, AMD, 0, "CMP_LEGACY" },
	{ 0x80000001, 0, ECX, 5, HOST, ANY, 0, "LZCNT" },
	{ 0x80000001, 0, ECX, 8, ALWAYS, ANY, 0, "PREFETCHW" },
	{ 0x80000001, 0, ECX, 22, HOST, AMD, 0, "TOPOEXT" },
	{ 0x80000001, 0, EDX, 0, HOST, AMD, 0, "FPU" },
	{ 0x80000001, 0, EDX, 2, ALWAYS, AMD, 0, "DE" },
	{ 0x80000001, 0, EDX, 3, ALWAYS, AMD, 0, "PSE" },
	{ 0x80000001, 0, EDX, 4, ALWAYS, AMD, 0, "TSC" },
	{ 0x80000001, 0, EDX, 5, ALWAYS, AMD, 0, "MSR" },
	{ 0x80000001, 0, EDX, 6, ALWAYS, AMD, 0, "PAE" },
	{ 0x80000001, 0, EDX, 8, ALWAYS, AMD, 0, "CMPXCHG8B" },
	{ 0x80000001, 0, EDX, 9, DYNAMIC, AMD, 0, "APIC" },
	{ 0x80000001, 0, EDX, 11, ALWAYS, ANY, 0, "SYSCALL" },
	{ 0x80000001, 0, EDX, 12, ALWAYS, AMD, 0, "MTRR" },
	{ 0x80000001, 0, EDX, 13, ALWAYS, AMD, 0, "PGE" },
	{ 0x80000001, 0, EDX, 15, ALWAYS, AMD, 0, "CMOV" },
	{ 0x80000001, 0, EDX, 16, ALWAYS, AMD, 0, "PAT" },
	{ 0x80000001, 0, EDX, 17, ALWAYS, AMD, 0, "PSE-36" },
	{ 0x80000001, 0, EDX, 20, ALWAYS, ANY, 0, "NX" },
	{ 0x80000001, 0, EDX, 22, HOST, AMD, 0, "MMXEXT" },
	{ 0x80000001, 0, EDX, 23, HOST, AMD, 0, "MMX" },
	{ 0x80000001, 0, EDX, 24, HOST, AMD, 0, "FXSR" },
	{ 0x80000001, 0, EDX, 26, ALWAYS, ANY, 0, "PAGE1GB" },
	{ 0x80000001, 0, EDX, 27, ALWAYS, ANY, 0, "RDTSCP" },
	{ 0x80000001, 0, EDX, 29, ALWAYS, ANY, 0, "LM" },

	{ 0x80000007, 0, EDX, 8, ALWAYS, ANY, 0, "invariant TSC" },

	{ 0x80000008, 0, EBX, 2, HOST, AMD, X_SSE, "XSAVEERPTR" },
	{ 0x80000008, 0, EBX, 26, ALWAYS, AMD, 0, "SSB_NO" },
	{ 0x80000008, 0, EBX, 29, ALWAYS, AMD, 0, "BTC_NO" },

	{ 0x80000021, 0, EAX, 0, ALWAYS, AMD, 0, "NO_NESTED_DATA_BP" },
	{ 0x80000021, 0, EAX, 2, ALWAYS, AMD, 0, "LFENCE_RDTSC" },
	{ 0x80000021, 0, EAX, 6, ALWAYS, AMD, 0, "NULL_SEL_CLR_BASE" },
	{ 0x80000021, 0, EAX, 8, ALWAYS, AMD, 0, "AUTOIBRS" },
	{ 0x80000021, 0, EAX, 29, ALWAYS, AMD, 0, "SRSO_NO" },
	{ 0x80000021, 0, ECX, 1, ALWAYS, AMD, 0, "TSA_SQ_NO" },
	{ 0x80000021, 0, ECX, 2, ALWAYS, AMD, 0, "TSA_L1_NO" },

	/* KVM's features, in its leaf and in the one that 6.9 has */
	{ 0x40000001, 0, EAX, 0, DYNAMIC, ANY, 0, "CLOCKSOURCE" },
	{ 0x40000001, 0, EAX, 3, DYNAMIC, ANY, 0, "CLOCKSOURCE2" },
	{ 0x40000001, 0, EAX, 24, DYNAMIC, ANY, 0, "CLOCKSOURCE_STABLE" },
	{ 0x40000101, 0, EAX, 0, DYNAMIC, ANY, 0, "CLOCKSOURCE" },
	{ 0x40000101, 0, EAX, 1, ALWAYS, ANY, 0, "NOP_IO_DELAY" },
	{ 0x40000101, 0, EAX, 3, DYNAMIC, ANY, 0, "CLOCKSOURCE2" },
	{ 0x40000101, 0, EAX, 24, DYNAMIC, ANY, 0, "CLOCKSOURCE_STABLE" },
};
#define NFEATURES \
	(sizeof(cpuid_features_table) / sizeof(cpuid_features_table[0]))

/* Leaves that are feature bits. [0] in the answer of cpuid_words(). */
static const struct {
	uint32_t leaf, subleaf;
} cpuid_word_leaves[] = {
	{ 1, 0 }, { 6, 0 }, { 7, 0 }, { 7, 2 }, { 0xd, 1 },
	{ 0x80000001, 0 }, { 0x80000007, 0 }, { 0x80000008, 0 },
	{ 0x80000021, 0 }, { 0x40000001, 0 }, { 0x40000101, 0 },
};
#define NWORDS	(sizeof(cpuid_word_leaves) / sizeof(cpuid_word_leaves[0]))

#define CACHES_MAX	8

/* What the host said, and the words made of it. [I] after cpuid_once. */
struct cpuid_host {
	enum cpuid_vendor ch_vendor;
	uint32_t	ch_vendor_id[4];	/* leaf 0 */
	uint32_t	ch_signature;		/* 1.EAX */
	uint32_t	ch_leaf2[4];
	uint32_t	ch_brand[3][4];
	uint32_t	ch_l1[4], ch_l2[4];	/* 0x80000005, 6 */
	uint32_t	ch_tlb1g[4];		/* 0x80000019 */
	uint32_t	ch_cache[CACHES_MAX][4]; /* 4, or 0x8000001D */
	unsigned	ch_physical_bits;
	uint64_t	ch_xcr0;
	uint32_t	ch_words[NWORDS][4];	/* offered, dynamic bits set */
};

static struct cpuid_host cpuid_host_answers;
static pthread_once_t cpuid_once = PTHREAD_ONCE_INIT;

static void
host_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t r[4])
{
	/* Beyond the maximum, a CPU may answer anything. */
	uint32_t max = __get_cpuid_max(leaf & 0x80000000, NULL);

	if (leaf > max) {
		memset(r, 0, 4 * sizeof(r[0]));
		return;
	}
	__cpuid_count(leaf, subleaf, r[EAX], r[EBX], r[ECX], r[EDX]);
}

static uint64_t
host_xcr0(void)
{
	uint32_t r[4], lo, hi;

	host_cpuid(1, 0, r);
	if (!(r[ECX] & (1u << 27)))	/* OSXSAVE */
		return (0);
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	lo &= 7;
	return ((lo & 3) != 3 ? 0 : lo);
}

static int
word_index(uint32_t leaf, uint32_t subleaf)
{
	size_t i;

	for (i = 0; i < NWORDS; i++) {
		if (cpuid_word_leaves[i].leaf == leaf &&
		    cpuid_word_leaves[i].subleaf == subleaf)
			return ((int)i);
	}
	return (-1);
}

static void
host_words(struct cpuid_host *h, cpuid_fn *cpuid)
{
	const struct cpuid_feature *f;
	uint32_t host[NWORDS][4];
	size_t i;
	int w;

	for (i = 0; i < NWORDS; i++)
		cpuid(cpuid_word_leaves[i].leaf,
		    cpuid_word_leaves[i].subleaf, host[i]);
	for (f = cpuid_features_table; f < cpuid_features_table + NFEATURES;
	    f++) {
		w = word_index(f->cf_leaf, f->cf_subleaf);
		if (!(f->cf_vendors & (1 << h->ch_vendor)))
			continue;
		if ((h->ch_xcr0 & f->cf_xcr0) != f->cf_xcr0)
			continue;
		if (f->cf_rule == CPUID_IF_HOST &&
		    !(host[w][f->cf_reg] & (1u << f->cf_bit)))
			continue;
		h->ch_words[w][f->cf_reg] |= 1u << f->cf_bit;
	}
}

/* Makes the policy's host of what a CPU answers. */
static void
host_ask(struct cpuid_host *h, cpuid_fn *cpuid, uint64_t xcr0)
{
	static const struct {
		char id[13];
		enum cpuid_vendor vendor;
	} vendors[] = {
		{ "GenuineIntel", CPUID_INTEL },
		{ "AuthenticAMD", CPUID_AMD },
		{ "HygonGenuine", CPUID_AMD },
	};
	uint32_t r[4], id[3];
	uint32_t leaf;
	unsigned i, n;

	cpuid(0, 0, h->ch_vendor_id);
	id[0] = h->ch_vendor_id[EBX];
	id[1] = h->ch_vendor_id[EDX];
	id[2] = h->ch_vendor_id[ECX];
	h->ch_vendor = CPUID_OTHER;
	for (i = 0; i < sizeof(vendors) / sizeof(vendors[0]); i++) {
		if (memcmp(id, vendors[i].id, sizeof(id)) == 0)
			h->ch_vendor = vendors[i].vendor;
	}
	cpuid(1, 0, r);
	h->ch_signature = r[EAX];
	for (i = 0; i < 3; i++)
		cpuid(0x80000002 + i, 0, h->ch_brand[i]);
	if (h->ch_vendor == CPUID_AMD) {
		cpuid(0x80000005, 0, h->ch_l1);
		cpuid(0x80000019, 0, h->ch_tlb1g);
		leaf = 0x8000001d;
	} else {
		cpuid(2, 0, h->ch_leaf2);
		leaf = 4;
	}
	cpuid(0x80000006, 0, h->ch_l2);
	for (i = n = 0; i < CACHES_MAX; i++) {
		cpuid(leaf, i, r);
		if ((r[EAX] & 0x1f) == 0)	/* no more caches */
			break;
		memcpy(h->ch_cache[n++], r, sizeof(r));
	}
	cpuid(0x80000008, 0, r);
	h->ch_physical_bits = r[EAX] & 0xff;
	if (h->ch_physical_bits > 46)
		h->ch_physical_bits = 46;
	if (h->ch_physical_bits < 40)
		h->ch_physical_bits = 40;
	h->ch_xcr0 = xcr0;
	host_words(h, cpuid);
}

static void
host_init(void)
{
	host_ask(&cpuid_host_answers, host_cpuid, host_xcr0());
}

static const struct cpuid_host *
cpuid_host(void)
{
	pthread_once(&cpuid_once, host_init);
	return (&cpuid_host_answers);
}

/* --- leaves ----------------------------------------------------------------- */

static void
set(struct engine_cpuid *c, uint32_t eax, uint32_t ebx, uint32_t ecx,
    uint32_t edx)
{
	c->ec_eax = eax;
	c->ec_ebx = ebx;
	c->ec_ecx = ecx;
	c->ec_edx = edx;
}

static void
set_array(struct engine_cpuid *c, const uint32_t r[4])
{
	set(c, r[EAX], r[EBX], r[ECX], r[EDX]);
}

/* Bits of an APIC id that number the VCPUs of the one package. */
static unsigned
id_bits(const struct cpuid_policy *p)
{
	unsigned n = 0;

	while ((1u << n) < p->cp_ncpus)
		n++;
	return (n);
}

static uint32_t
max_basic(const struct cpuid_host *h)
{
	return (h->ch_vendor == CPUID_INTEL ? 0x16 : 0xd);
}

static uint32_t
max_extended(const struct cpuid_host *h)
{
	return (h->ch_vendor == CPUID_AMD ? 0x80000021 :
	    0x80000008);
}

/* The feature words of the leaf, if it has some. */
static void
leaf_words(const struct cpuid_host *h, struct engine_cpuid *c)
{
	int w = word_index(c->ec_leaf, c->ec_subleaf);

	if (w >= 0)
		set_array(c, h->ch_words[w]);
}

static void
leaf_vendor(const struct cpuid_host *h, const struct cpuid_policy *p,
    struct engine_cpuid *c)
{
	(void)p;
	set_array(c, h->ch_vendor_id);
	c->ec_eax = max_basic(h);
}

static void
leaf_1(const struct cpuid_host *h, const struct cpuid_policy *p,
    struct engine_cpuid *c)
{
	c->ec_eax = h->ch_signature;
	c->ec_ebx = 8 << 8 |			/* CLFLUSH line, quadwords */
	    (p->cp_ncpus & 0xff) << 16 | p->cp_apic_id << 24;
	if (!p->cp_apic)
		c->ec_ecx &= ~(1u << 21 | 1u << 24);
	if (!(c->ec_cr4 & 1u << 18))		/* CR4.OSXSAVE */
		c->ec_ecx &= ~(1u << 27);
	if (!p->cp_apic || !p->cp_apic_enabled)
		c->ec_edx &= ~(1u << 9);
	if (p->cp_ncpus <= 1)
		c->ec_edx &= ~(1u << 28);
}

static void
leaf_2(const struct cpuid_host *h, const struct cpuid_policy *p,
    struct engine_cpuid *c)
{
	(void)p;
	set_array(c, h->ch_leaf2);
}

/* Deterministic caches: the host's, shared by our VCPUs. */
static void
leaf_cache(const struct cpuid_host *h, const struct cpuid_policy *p,
    struct engine_cpuid *c)
{
	uint32_t level;

	if (c->ec_subleaf >= CACHES_MAX)
		return;
	if (c->ec_leaf == 4 ? h->ch_vendor == CPUID_AMD :
	    h->ch_vendor != CPUID_AMD)
		return;
	set_array(c, h->ch_cache[c->ec_subleaf]);
	if ((c->ec_eax & 0x1f) == 0)
		return;
	level = c->ec_eax >> 5 & 7;
	c->ec_eax &= 0x3fff;
	if (level >= 3)
		c->ec_eax |= ((1u << id_bits(p)) - 1) << 14;
	if (c->ec_leaf == 4)
		c->ec_eax |= (((1u << id_bits(p)) - 1) & 0x3f) << 26;
}

static void
leaf_6(const struct cpuid_host *h, const struct cpuid_policy *p,
    struct engine_cpuid *c)
{
	(void)h;
	if (!p->cp_apic)
		c->ec_eax &= ~(1u << 2);
}

/* The last subleaf. */
static void
leaf_7(const struct cpuid_host *h, const struct cpuid_policy *p,
    struct engine_cpuid *c)
{
	(void)p;
	if (c->ec_subleaf == 0)
		c->ec_eax = h->ch_vendor == CPUID_INTEL ? 2 : 0;
}

/* x2APIC ids: one thread a core, all cores in one package. */
static void
leaf_topology(const struct cpuid_host *h, const struct cpuid_policy *p,
    struct engine_cpuid *c)
{
	(void)h;
	if (!p->cp_apic)
		return;
	switch (c->ec_subleaf) {
	case 0:
		set(c, 0, 1, 1 << 8, p->cp_apic_id);
		break;
	case 1:
		set(c, id_bits(p), p->cp_ncpus, 2 << 8 | 1, p->cp_apic_id);
		break;
	default:
		set(c, 0, 0, c->ec_subleaf & 0xff, p->cp_apic_id);
		break;
	}
}

/* XSAVE areas: x87 and SSE in the legacy region, the header, AVX. The compact
 * form has the same size, as AVX is the only extended component. */
static void
leaf_xsave(const struct cpuid_host *h, const struct cpuid_policy *p,
    struct engine_cpuid *c)
{
	uint32_t size = c->ec_xcr0 & 4 ? 832 : 576;

	(void)p;
	_Static_assert(ENGINE_XSTATE_SIZE == 832, "leaf 0xD's sizes");
	if (h->ch_xcr0 == 0)
		return;
	switch (c->ec_subleaf) {
	case 0:
		set(c, (uint32_t)h->ch_xcr0, size,
		    h->ch_xcr0 & 4 ? 832 : 576, 0);
		break;
	case 1:
		c->ec_ebx = size;
		break;
	case 2:
		if (h->ch_xcr0 & 4)
			set(c, 256, 576, 0, 0);
		break;
	}
}

/*
 * TSC frequency = crystal * numerator / denominator, where the crystal drives
 * the APIC timer. Clients compute in 32 bits and kHz: the best fraction of kHz
 * to 1 GHz whose products stay below 2^32 (by continued fraction).
 */
static void
leaf_tsc(const struct cpuid_host *h, const struct cpuid_policy *p,
    struct engine_cpuid *c)
{
	uint64_t num = p->cp_tsc_khz, den = APIC_TIMER_HZ / 1000, q, t;
	uint64_t n0 = 0, n1 = 1, d0 = 1, d1 = 0;

	if (h->ch_vendor != CPUID_INTEL || p->cp_tsc_khz == 0)
		return;
	while (den != 0) {
		q = num / den;
		if ((q * n1 + n0) * (APIC_TIMER_HZ / 1000) > UINT32_MAX &&
		    d1 != 0)
			break;
		t = q * n1 + n0;
		n0 = n1;
		n1 = t;
		t = q * d1 + d0;
		d0 = d1;
		d1 = t;
		t = num % den;
		num = den;
		den = t;
	}
	set(c, (uint32_t)d1, (uint32_t)n1, APIC_TIMER_HZ, 0);
}

static void
leaf_frequency(const struct cpuid_host *h, const struct cpuid_policy *p,
    struct engine_cpuid *c)
{
	uint32_t mhz = (uint32_t)((p->cp_tsc_khz + 500) / 1000) & 0xffff;

	if (h->ch_vendor == CPUID_INTEL)
		set(c, mhz, mhz, 100, 0);
}

static void
leaf_max_extended(const struct cpuid_host *h, const struct cpuid_policy *p,
    struct engine_cpuid *c)
{
	(void)p;
	if (h->ch_vendor == CPUID_AMD)
		set_array(c, h->ch_vendor_id);
	c->ec_eax = max_extended(h);
}

static void
leaf_80000001(const struct cpuid_host *h, const struct cpuid_policy *p,
    struct engine_cpuid *c)
{
	if (h->ch_vendor == CPUID_AMD)
		c->ec_eax = h->ch_signature;
	if (p->cp_ncpus <= 1)
		c->ec_ecx &= ~(1u << 1);
	if (!p->cp_apic || !p->cp_apic_enabled)
		c->ec_edx &= ~(1u << 9);
}

static void
leaf_brand(const struct cpuid_host *h, const struct cpuid_policy *p,
    struct engine_cpuid *c)
{
	(void)p;
	set_array(c, h->ch_brand[c->ec_leaf - 0x80000002]);
}

static void
leaf_caches_amd(const struct cpuid_host *h, const struct cpuid_policy *p,
    struct engine_cpuid *c)
{
	(void)p;
	set_array(c, c->ec_leaf == 0x80000005 ? h->ch_l1 :
	    c->ec_leaf == 0x80000006 ? h->ch_l2 : h->ch_tlb1g);
}

static void
leaf_addresses(const struct cpuid_host *h, const struct cpuid_policy *p,
    struct engine_cpuid *c)
{
	c->ec_eax = h->ch_physical_bits | 48 << 8;
	if (h->ch_vendor == CPUID_AMD && p->cp_ncpus != 0)
		c->ec_ecx = (p->cp_ncpus - 1) | id_bits(p) << 12;
}

/* One thread a core, one node. */
static void
leaf_topology_amd(const struct cpuid_host *h, const struct cpuid_policy *p,
    struct engine_cpuid *c)
{
	if (h->ch_vendor == CPUID_AMD)
		set(c, p->cp_apic_id, p->cp_apic_id & 0xff, 0, 0);
}

static void
leaf_hypervisor(const struct cpuid_host *h, const struct cpuid_policy *p,
    struct engine_cpuid *c)
{
	uint32_t id[3];

	(void)h;
	(void)p;
	if (c->ec_leaf == 0x40000000) {
		memcpy(id, VMM_HV_SIGNATURE, sizeof(id));
		set(c, 0x40000010, id[0], id[1], id[2]);
	} else {
		memcpy(id, "KVMKVMKVM\0\0", sizeof(id));
		set(c, 0x40000101, id[0], id[1], id[2]);
	}
}

static void
leaf_clock(const struct cpuid_host *h, const struct cpuid_policy *p,
    struct engine_cpuid *c)
{
	(void)h;
	if (!p->cp_pvclock)
		c->ec_eax &= ~(1u << 0 | 1u << 3 | 1u << 24);
}

/* Frequencies of the TSC and of the APIC timer in kHz. */
static void
leaf_hypervisor_timing(const struct cpuid_host *h,
    const struct cpuid_policy *p, struct engine_cpuid *c)
{
	(void)h;
	set(c, (uint32_t)p->cp_tsc_khz, APIC_TIMER_HZ / 1000, 0, 0);
}

static const struct {
	uint32_t leaf;
	void	(*answer)(const struct cpuid_host *,
		    const struct cpuid_policy *, struct engine_cpuid *);
} cpuid_leaves[] = {
	{ 0x0, leaf_vendor },
	{ 0x1, leaf_1 },
	{ 0x2, leaf_2 },
	{ 0x4, leaf_cache },
	{ 0x6, leaf_6 },
	{ 0x7, leaf_7 },
	{ 0xb, leaf_topology },
	{ 0xd, leaf_xsave },
	{ 0x15, leaf_tsc },
	{ 0x16, leaf_frequency },
	{ 0x40000000, leaf_hypervisor },
	{ 0x40000001, leaf_clock },
	{ 0x40000010, leaf_hypervisor_timing },
	{ 0x40000100, leaf_hypervisor },
	{ 0x40000101, leaf_clock },
	{ 0x80000000, leaf_max_extended },
	{ 0x80000001, leaf_80000001 },
	{ 0x80000002, leaf_brand },
	{ 0x80000003, leaf_brand },
	{ 0x80000004, leaf_brand },
	{ 0x80000005, leaf_caches_amd },
	{ 0x80000006, leaf_caches_amd },
	{ 0x80000008, leaf_addresses },
	{ 0x80000019, leaf_caches_amd },
	{ 0x8000001d, leaf_cache },
	{ 0x8000001e, leaf_topology_amd },
};

/* Leaves whose answer depends on ECX. */
static bool
has_subleaves(uint32_t leaf)
{
	return (leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd ||
	    leaf == 0x8000001d);
}

static void
answer(const struct cpuid_host *h, const struct cpuid_policy *p,
    struct engine_cpuid *c)
{
	uint32_t subleaf = c->ec_subleaf;
	size_t i;

	set(c, 0, 0, 0, 0);
	if (c->ec_leaf < 0x40000000 ? c->ec_leaf > max_basic(h) :
	    c->ec_leaf >= 0x80000000 && c->ec_leaf > max_extended(h))
		return;
	if (!has_subleaves(c->ec_leaf))
		c->ec_subleaf = 0;
	leaf_words(h, c);
	for (i = 0; i < sizeof(cpuid_leaves) / sizeof(cpuid_leaves[0]); i++) {
		if (cpuid_leaves[i].leaf == c->ec_leaf) {
			cpuid_leaves[i].answer(h, p, c);
			break;
		}
	}
	c->ec_subleaf = subleaf;
}

void
cpuid_answer(const struct cpuid_policy *p, struct engine_cpuid *c)
{
	answer(cpuid_host(), p, c);
}

void
cpuid_answer_as(cpuid_fn *cpuid, uint64_t xcr0, const struct cpuid_policy *p,
    struct engine_cpuid *c)
{
	struct cpuid_host h = { 0 };

	host_ask(&h, cpuid, xcr0);
	answer(&h, p, c);
}

uint64_t
cpuid_xcr0_mask(void)
{
	return (cpuid_host()->ch_xcr0);
}

bool
cpuid_has(uint32_t leaf, uint32_t subleaf, int reg, int bit)
{
	int w = word_index(leaf, subleaf);

	return (w >= 0 && (cpuid_host()->ch_words[w][reg] >> bit & 1) != 0);
}

unsigned
cpuid_physical_bits(void)
{
	return (cpuid_host()->ch_physical_bits);
}

enum cpuid_vendor
cpuid_vendor(void)
{
	return (cpuid_host()->ch_vendor);
}

const struct cpuid_feature *
cpuid_features(size_t *count)
{
	*count = NFEATURES;
	return (cpuid_features_table);
}
