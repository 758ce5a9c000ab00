/*
 * Which features the guest's CPU offers, as its CPUID says, in the form that
 * the decoder asks for (SDM vol. 2A, CPUID; APM vol. 3, appendix E). Any
 * thread.
 */
#include <string.h>

#include "engine/engine.h"
#include "engine/soft/decode.h"
#include "engine/soft/opcode.h"

enum { EAX, EBX, ECX, EDX };

static const struct {
	uint32_t	leaf;
	uint32_t	subleaf;
	uint8_t		reg;
	uint8_t		bit;
} feature_bits[FEAT_COUNT] = {
	[FEAT_SSE3]	  = { 1, 0, ECX, 0 },
	[FEAT_PCLMUL]	  = { 1, 0, ECX, 1 },
	[FEAT_SSSE3]	  = { 1, 0, ECX, 9 },
	[FEAT_FMA]	  = { 1, 0, ECX, 12 },
	[FEAT_CX16]	  = { 1, 0, ECX, 13 },
	[FEAT_SSE41]	  = { 1, 0, ECX, 19 },
	[FEAT_SSE42]	  = { 1, 0, ECX, 20 },
	[FEAT_MOVBE]	  = { 1, 0, ECX, 22 },
	[FEAT_POPCNT]	  = { 1, 0, ECX, 23 },
	[FEAT_AES]	  = { 1, 0, ECX, 25 },
	[FEAT_XSAVE]	  = { 1, 0, ECX, 26 },
	[FEAT_AVX]	  = { 1, 0, ECX, 28 },
	[FEAT_F16C]	  = { 1, 0, ECX, 29 },
	[FEAT_RDRAND]	  = { 1, 0, ECX, 30 },
	[FEAT_SEP]	  = { 1, 0, EDX, 11 },
	[FEAT_FSGSBASE]	  = { 7, 0, EBX, 0 },
	[FEAT_BMI1]	  = { 7, 0, EBX, 3 },
	[FEAT_AVX2]	  = { 7, 0, EBX, 5 },
	[FEAT_BMI2]	  = { 7, 0, EBX, 8 },
	[FEAT_INVPCID]	  = { 7, 0, EBX, 10 },
	[FEAT_RDSEED]	  = { 7, 0, EBX, 18 },
	[FEAT_ADX]	  = { 7, 0, EBX, 19 },
	[FEAT_SMAP]	  = { 7, 0, EBX, 20 },
	[FEAT_CLFLUSHOPT] = { 7, 0, EBX, 23 },
	[FEAT_CLWB]	  = { 7, 0, EBX, 24 },
	[FEAT_SHA]	  = { 7, 0, EBX, 29 },
	[FEAT_RDPID]	  = { 7, 0, ECX, 22 },
	[FEAT_XSAVEOPT]	  = { 0xd, 1, EAX, 0 },
	[FEAT_XSAVEC]	  = { 0xd, 1, EAX, 1 },
	[FEAT_XSAVES]	  = { 0xd, 1, EAX, 3 },
	[FEAT_LAHF64]	  = { 0x80000001, 0, ECX, 0 },
	[FEAT_LZCNT]	  = { 0x80000001, 0, ECX, 5 },
	[FEAT_SYSCALL]	  = { 0x80000001, 0, EDX, 11 },
	[FEAT_RDTSCP]	  = { 0x80000001, 0, EDX, 27 },
};

static void
ask(const struct engine_host *host, void *hostarg, uint32_t leaf,
    uint32_t subleaf, uint32_t reg[4])
{
	struct engine_cpuid ec = { .ec_leaf = leaf, .ec_subleaf = subleaf };

	host->eh_cpuid(hostarg, &ec);
	reg[EAX] = ec.ec_eax;
	reg[EBX] = ec.ec_ebx;
	reg[ECX] = ec.ec_ecx;
	reg[EDX] = ec.ec_edx;
}

void
decode_mode_init(struct decode_mode *dm, const struct engine_host *host,
    void *hostarg)
{
	uint32_t reg[4], maxleaf, maxext;
	unsigned n;

	memset(dm, 0, sizeof(*dm));
	dm->dm_bits = 16;
	dm->dm_real = true;
	ask(host, hostarg, 0, 0, reg);
	maxleaf = reg[EAX];
	dm->dm_intel = reg[EBX] == 0x756e6547;	/* "Genu" */
	ask(host, hostarg, 0x80000000, 0, reg);
	maxext = reg[EAX];

	for (n = FEAT_NONE + 1; n < FEAT_COUNT; n++) {
		uint32_t leaf = feature_bits[n].leaf;

		/* Beyond the last leaf CPUID answers with other leaves. */
		if (leaf > (leaf & 0x80000000 ? maxext : maxleaf))
			continue;
		ask(host, hostarg, leaf, feature_bits[n].subleaf, reg);
		if (reg[feature_bits[n].reg] >> feature_bits[n].bit & 1)
			dm->dm_features |= UINT64_C(1) << n;
	}
}
