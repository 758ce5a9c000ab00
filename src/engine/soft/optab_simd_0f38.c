/*
 * SSSE3, SSE4, AES, PCLMULQDQ and SHA opcodes in the maps 0F38 and 0F3A (SDM
 * vol. 2D, tables ).
 */
#include "engine/soft/optab_simd.h"

/* Integer: MMX, and XMM by 66. */
#define INT(nm)								\
	P4(MMX(nm, SSSE3, 0, MB, MR, 8), SSE(nm, SSSE3, ALIGN, XB, XR, 16), \
	    EMPTY, EMPTY)
#define X41(nm)		P66(SSE(nm, SSE41, ALIGN, XB, XR, 16))
#define BLENDV(nm)	P66(SSE(nm, SSE41, ALIGN | O_XMM0, XB, XR, 16))
#define EXTEND(nm, bytes) P66(SSE(nm, SSE41, 0, XW, XR, bytes))
#define SHA(nm)		PNONE(SSE(nm, SHA, ALIGN, XB, XR, 16))
#define AES(nm)		P66(SSE(nm, AES, ALIGN, XB, XR, 16))

const struct opcode optab_simd_0f38[256] = {
	[0x00] = INT(pshufb), [0x01] = INT(phaddw), [0x02] = INT(phaddd),
	[0x03] = INT(phaddsw), [0x04] = INT(pmaddubsw), [0x05] = INT(phsubw),
	[0x06] = INT(phsubd), [0x07] = INT(phsubsw), [0x08] = INT(psignb),
	[0x09] = INT(psignw), [0x0a] = INT(psignd), [0x0b] = INT(pmulhrsw),
	[0x10] = BLENDV(pblendvb), [0x14] = BLENDV(blendvps),
	[0x15] = BLENDV(blendvpd),
	[0x17] = P66(SSE(ptest, SSE41, ALIGN, XR, XR, 16, FLW)),
	[0x1c] = INT(pabsb), [0x1d] = INT(pabsw), [0x1e] = INT(pabsd),
	[0x20] = EXTEND(pmovsxbw, 8), [0x21] = EXTEND(pmovsxbd, 4),
	[0x22] = EXTEND(pmovsxbq, 2), [0x23] = EXTEND(pmovsxwd, 8),
	[0x24] = EXTEND(pmovsxwq, 4), [0x25] = EXTEND(pmovsxdq, 8),
	[0x28] = X41(pmuldq), [0x29] = X41(pcmpeqq),
	[0x2a] = P66(SSE(movntdqa, SSE41, ALIGN | MEM, XW, XR, 16)),
	[0x2b] = X41(packusdw),
	[0x30] = EXTEND(pmovzxbw, 8), [0x31] = EXTEND(pmovzxbd, 4),
	[0x32] = EXTEND(pmovzxbq, 2), [0x33] = EXTEND(pmovzxwd, 8),
	[0x34] = EXTEND(pmovzxwq, 4), [0x35] = EXTEND(pmovzxdq, 8),
	[0x37] = P66(SSE(pcmpgtq, SSE42, ALIGN, XB, XR, 16)),
	[0x38] = X41(pminsb), [0x39] = X41(pminsd), [0x3a] = X41(pminuw),
	[0x3b] = X41(pminud), [0x3c] = X41(pmaxsb), [0x3d] = X41(pmaxsd),
	[0x3e] = X41(pmaxuw), [0x3f] = X41(pmaxud),
	[0x40] = X41(pmulld), [0x41] = X41(phminposuw),
	[0xc8] = SHA(sha1nexte), [0xc9] = SHA(sha1msg1),
	[0xca] = SHA(sha1msg2),
	[0xcb] = PNONE(SSE(sha256rnds2, SHA, ALIGN | O_XMM0, XB, XR, 16)),
	[0xcc] = SHA(sha256msg1), [0xcd] = SHA(sha256msg2),
	[0xdb] = AES(aesimc), [0xdc] = AES(aesenc), [0xdd] = AES(aesenclast),
	[0xde] = AES(aesdec), [0xdf] = AES(aesdeclast),
};

#define X41I(nm)	P66(SSE(nm, SSE41, ALIGN, XB, XR, 16, IB))
#define F41(nm, rules, bytes)						\
	P66(SSE(nm, SSE41, FP | (rules), XB, XR, bytes, IB))
#define EXTRACT(nm, bytes) P66(SSE(nm, SSE41, 0, XR, GW, bytes, IB))
#define STR(nm)								\
	P66(SIMD(nm, insn_sse, SSE42, O_PCMPSTR, OS_Y, XR, __, XR, 16, IB, FLW))

const struct opcode optab_simd_0f3a[256] = {
	[0x08] = F41(roundps, ALIGN, 16), [0x09] = F41(roundpd, ALIGN, 16),
	[0x0a] = F41(roundss, 0, 4), [0x0b] = F41(roundsd, 0, 8),
	[0x0c] = X41I(blendps), [0x0d] = X41I(blendpd),
	[0x0e] = X41I(pblendw),
	[0x0f] = P4(MMX(palignr, SSSE3, 0, MB, MR, 8, IB),
	    SSE(palignr, SSSE3, ALIGN, XB, XR, 16, IB), EMPTY, EMPTY),
	[0x14] = EXTRACT(pextrb, 1), [0x15] = EXTRACT(pextrw, 2),
	[0x16] = P66(SIMD(pextrd, insn_sse, SSE41, 0, OS_Y, XR, __, GW, 0, IB)),
	[0x17] = EXTRACT(extractps, 4),
	[0x20] = P66(SSE(pinsrb, SSE41, 0, XB, GR, 1, IB)),
	[0x21] = P66(SSE(insertps, SSE41, 0, XB, XR, 4, IB)),
	[0x22] = P66(SIMD(pinsrd, insn_sse, SSE41, 0, OS_Y, XB, __, GR, 0, IB)),
	[0x40] = F41(dpps, ALIGN, 16), [0x41] = F41(dppd, ALIGN, 16),
	[0x42] = X41I(mpsadbw),
	[0x44] = P66(SSE(pclmulqdq, PCLMUL, ALIGN, XB, XR, 16, IB)),
	[0x60] = STR(pcmpestrm), [0x61] = STR(pcmpestri),
	[0x62] = STR(pcmpistrm), [0x63] = STR(pcmpistri),
	[0xcc] = PNONE(SSE(sha1rnds4, SHA, ALIGN, XB, XR, 16, IB)),
	[0xdf] = P66(SSE(aeskeygenassist, AES, ALIGN, XW, XR, 16, IB)),
};
