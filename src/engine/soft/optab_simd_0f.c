/*
 * MMX, SSE and SSE2 opcodes, and SSE3's, in map 0F (SDM vol. 2D, table A-3).
 */
#include "engine/soft/optab_simd.h"

/* Packed floating point: ps and pd. */
#define FP2(nm, rules)							\
	SSE(nm##ps, NONE, ALIGN | (rules), XB, XR, 16),			\
	SSE(nm##pd, NONE, ALIGN | (rules), XB, XR, 16)
/* Packed and scalar. */
#define FP4(nm)								\
	P4(FP2(nm, FP), SSE(nm##ss, NONE, FP, XB, XR, 4),		\
	    SSE(nm##sd, NONE, FP, XB, XR, 8))
#define LOGIC(nm)	P4(FP2(nm, 0), EMPTY, EMPTY)
/* Integer: MMX, and SSE2 by 66. */
#define INT(nm)								\
	P4(MMX(nm, NONE, 0, MB, MR, 8), SSE(nm, NONE, ALIGN, XB, XR, 16), \
	    EMPTY, EMPTY)
/* The same, MMX reading half of the memory. */
#define LOW(nm)								\
	P4(MMX(nm, NONE, 0, MB, MR, 4), SSE(nm, NONE, ALIGN, XB, XR, 16), \
	    EMPTY, EMPTY)
#define SSE2(nm)	P66(SSE(nm, NONE, ALIGN, XB, XR, 16))
/* Shift groups. */
#define SHIFT(nm)							\
	P4(MMX(nm, NONE, REG, __, MB, 0, IB),				\
	    SSE(nm, NONE, REG, __, XB, 0, IB), EMPTY, EMPTY)
#define SHIFT2(nm)	P66(SSE(nm, NONE, REG, __, XB, 0, IB))

static const struct opcode grp12[8] = {
	[2] = SHIFT(psrlw), [4] = SHIFT(psraw), [6] = SHIFT(psllw),
};
static const struct opcode grp13[8] = {
	[2] = SHIFT(psrld), [4] = SHIFT(psrad), [6] = SHIFT(pslld),
};
static const struct opcode grp14[8] = {
	[2] = SHIFT(psrlq), [3] = SHIFT2(psrldq),
	[6] = SHIFT(psllq), [7] = SHIFT2(pslldq),
};

const struct opcode optab_simd_0f[256] = {
	[0x10] = P4(SSE(movups, NONE, 0, XW, XR, 16),
	    SSE(movupd, NONE, 0, XW, XR, 16),
	    SSE(movss, NONE, 0, XW, XR, 4),
	    SSE(movsd, NONE, 0, XW, XR, 8)),
	[0x11] = P4(SSE(movups, NONE, 0, XR, XW, 16),
	    SSE(movupd, NONE, 0, XR, XW, 16),
	    SSE(movss, NONE, 0, XR, XW, 4),
	    SSE(movsd, NONE, 0, XR, XW, 8)),
	[0x12] = P4(SSE(movlps, NONE, 0, XB, XR, 8),
	    SSE(movlpd, NONE, MEM, XB, XR, 8),
	    SSE(movsldup, SSE3, ALIGN, XW, XR, 16),
	    SSE(movddup, SSE3, 0, XW, XR, 8)),
	[0x13] = P4(SSE(movlps, NONE, MEM, XR, XW, 8),
	    SSE(movlpd, NONE, MEM, XR, XW, 8), EMPTY, EMPTY),
	[0x14] = LOGIC(unpckl),
	[0x15] = LOGIC(unpckh),
	[0x16] = P4(SSE(movhps, NONE, 0, XB, XR, 8),
	    SSE(movhpd, NONE, MEM, XB, XR, 8),
	    SSE(movshdup, SSE3, ALIGN, XW, XR, 16), EMPTY),
	[0x17] = P4(SSE(movhps, NONE, MEM, XR, XW, 8),
	    SSE(movhpd, NONE, MEM, XR, XW, 8), EMPTY, EMPTY),
	[0x28] = P4(SSE(movaps, NONE, ALIGN, XW, XR, 16),
	    SSE(movapd, NONE, ALIGN, XW, XR, 16), EMPTY, EMPTY),
	[0x29] = P4(SSE(movaps, NONE, ALIGN, XR, XW, 16),
	    SSE(movapd, NONE, ALIGN, XR, XW, 16), EMPTY, EMPTY),
	[0x2a] = P4(MMX(cvtpi2ps, NONE, FP, XB, MR, 8),
	    MMX(cvtpi2pd, NONE, FP, XB, MR, 8),
	    SIMD(cvtsi2ss, insn_sse, NONE, FP, OS_Y, XB, __, GR, 0),
	    SIMD(cvtsi2sd, insn_sse, NONE, FP, OS_Y, XB, __, GR, 0)),
	[0x2b] = P4(SSE(movntps, NONE, MEM | ALIGN, XR, XW, 16),
	    SSE(movntpd, NONE, MEM | ALIGN, XR, XW, 16), EMPTY, EMPTY),
	[0x2c] = P4(MMX(cvttps2pi, NONE, FP, MW, XR, 8),
	    MMX(cvttpd2pi, NONE, FP | ALIGN, MW, XR, 16),
	    SIMD(cvttss2si, insn_sse, NONE, FP, OS_Y, GW, __, XR, 4),
	    SIMD(cvttsd2si, insn_sse, NONE, FP, OS_Y, GW, __, XR, 8)),
	[0x2d] = P4(MMX(cvtps2pi, NONE, FP, MW, XR, 8),
	    MMX(cvtpd2pi, NONE, FP | ALIGN, MW, XR, 16),
	    SIMD(cvtss2si, insn_sse, NONE, FP, OS_Y, GW, __, XR, 4),
	    SIMD(cvtsd2si, insn_sse, NONE, FP, OS_Y, GW, __, XR, 8)),
	[0x2e] = P4(SSE(ucomiss, NONE, FP, XR, XR, 4, FLW),
	    SSE(ucomisd, NONE, FP, XR, XR, 8, FLW), EMPTY, EMPTY),
	[0x2f] = P4(SSE(comiss, NONE, FP, XR, XR, 4, FLW),
	    SSE(comisd, NONE, FP, XR, XR, 8, FLW), EMPTY, EMPTY),
	[0x50] = P4(SSE(movmskps, NONE, REG, GW, XR, 0),
	    SSE(movmskpd, NONE, REG, GW, XR, 0), EMPTY, EMPTY),
	[0x51] = FP4(sqrt),
	[0x52] = P4(SSE(rsqrtps, NONE, FP | ALIGN, XB, XR, 16), EMPTY,
	    SSE(rsqrtss, NONE, FP, XB, XR, 4), EMPTY),
	[0x53] = P4(SSE(rcpps, NONE, FP | ALIGN, XB, XR, 16), EMPTY,
	    SSE(rcpss, NONE, FP, XB, XR, 4), EMPTY),
	[0x54] = LOGIC(and),
	[0x55] = LOGIC(andn),
	[0x56] = LOGIC(or),
	[0x57] = LOGIC(xor),
	[0x58] = FP4(add),
	[0x59] = FP4(mul),
	[0x5a] = P4(SSE(cvtps2pd, NONE, FP, XW, XR, 8),
	    SSE(cvtpd2ps, NONE, FP | ALIGN, XW, XR, 16),
	    SSE(cvtss2sd, NONE, FP, XB, XR, 4),
	    SSE(cvtsd2ss, NONE, FP, XB, XR, 8)),
	[0x5b] = P4(SSE(cvtdq2ps, NONE, FP | ALIGN, XW, XR, 16),
	    SSE(cvtps2dq, NONE, FP | ALIGN, XW, XR, 16),
	    SSE(cvttps2dq, NONE, FP | ALIGN, XW, XR, 16), EMPTY),
	[0x5c] = FP4(sub),
	[0x5d] = FP4(min),
	[0x5e] = FP4(div),
	[0x5f] = FP4(max),

	[0x60] = LOW(punpcklbw), [0x61] = LOW(punpcklwd),
	[0x62] = LOW(punpckldq), [0x63] = INT(packsswb),
	[0x64] = INT(pcmpgtb), [0x65] = INT(pcmpgtw),
	[0x66] = INT(pcmpgtd), [0x67] = INT(packuswb),
	[0x68] = INT(punpckhbw), [0x69] = INT(punpckhwd),
	[0x6a] = INT(punpckhdq), [0x6b] = INT(packssdw),
	[0x6c] = SSE2(punpcklqdq), [0x6d] = SSE2(punpckhqdq),
	[0x6e] = P4(SIMD(movd, insn_mmx, NONE, 0, OS_Y, MW, __, GR, 0),
	    SIMD(movd, insn_sse, NONE, 0, OS_Y, XW, __, GR, 0), EMPTY, EMPTY),
	[0x6f] = P4(MMX(movq, NONE, 0, MW, MR, 8),
	    SSE(movdqa, NONE, ALIGN, XW, XR, 16),
	    SSE(movdqu, NONE, 0, XW, XR, 16), EMPTY),

	[0x70] = P4(MMX(pshufw, NONE, 0, MW, MR, 8, IB),
	    SSE(pshufd, NONE, ALIGN, XW, XR, 16, IB),
	    SSE(pshufhw, NONE, ALIGN, XW, XR, 16, IB),
	    SSE(pshuflw, NONE, ALIGN, XW, XR, 16, IB)),
	[0x71] = BY(REG, grp12), [0x72] = BY(REG, grp13),
	[0x73] = BY(REG, grp14),
	[0x74] = INT(pcmpeqb), [0x75] = INT(pcmpeqw), [0x76] = INT(pcmpeqd),
	[0x77] = PNONE({ N("emms"), X(insn_emms), T(tr_x87) }),
	[0x7c] = P4(EMPTY, SSE(haddpd, SSE3, FP | ALIGN, XB, XR, 16), EMPTY,
	    SSE(haddps, SSE3, FP | ALIGN, XB, XR, 16)),
	[0x7d] = P4(EMPTY, SSE(hsubpd, SSE3, FP | ALIGN, XB, XR, 16), EMPTY,
	    SSE(hsubps, SSE3, FP | ALIGN, XB, XR, 16)),
	[0x7e] = P4(SIMD(movd, insn_mmx, NONE, 0, OS_Y, MR, __, GW, 0),
	    SIMD(movd, insn_sse, NONE, 0, OS_Y, XR, __, GW, 0),
	    SSE(movq, NONE, 0, XW, XR, 8), EMPTY),
	[0x7f] = P4(MMX(movq, NONE, 0, MR, MW, 8),
	    SSE(movdqa, NONE, ALIGN, XR, XW, 16),
	    SSE(movdqu, NONE, 0, XR, XW, 16), EMPTY),

	[0xc2] = P4(SSE(cmpps, NONE, FP | ALIGN, XB, XR, 16, IB),
	    SSE(cmppd, NONE, FP | ALIGN, XB, XR, 16, IB),
	    SSE(cmpss, NONE, FP, XB, XR, 4, IB),
	    SSE(cmpsd, NONE, FP, XB, XR, 8, IB)),
	[0xc4] = P4(MMX(pinsrw, NONE, 0, MB, GR, 2, IB),
	    SSE(pinsrw, NONE, 0, XB, GR, 2, IB), EMPTY, EMPTY),
	[0xc5] = P4(MMX(pextrw, NONE, REG, GW, MR, 0, IB),
	    SSE(pextrw, NONE, REG, GW, XR, 0, IB), EMPTY, EMPTY),
	[0xc6] = P4(SSE(shufps, NONE, ALIGN, XB, XR, 16, IB),
	    SSE(shufpd, NONE, ALIGN, XB, XR, 16, IB), EMPTY, EMPTY),

	[0xd0] = P4(EMPTY, SSE(addsubpd, SSE3, FP | ALIGN, XB, XR, 16), EMPTY,
	    SSE(addsubps, SSE3, FP | ALIGN, XB, XR, 16)),
	[0xd1] = INT(psrlw), [0xd2] = INT(psrld), [0xd3] = INT(psrlq),
	[0xd4] = INT(paddq), [0xd5] = INT(pmullw),
	[0xd6] = P4(EMPTY, SSE(movq, NONE, 0, XR, XW, 8),
	    MMX(movq2dq, NONE, REG, XW, MR, 0),
	    MMX(movdq2q, NONE, REG, MW, XR, 0)),
	[0xd7] = P4(MMX(pmovmskb, NONE, REG, GW, MR, 0),
	    SSE(pmovmskb, NONE, REG, GW, XR, 0), EMPTY, EMPTY),
	[0xd8] = INT(psubusb), [0xd9] = INT(psubusw), [0xda] = INT(pminub),
	[0xdb] = INT(pand), [0xdc] = INT(paddusb), [0xdd] = INT(paddusw),
	[0xde] = INT(pmaxub), [0xdf] = INT(pandn),
	[0xe0] = INT(pavgb), [0xe1] = INT(psraw), [0xe2] = INT(psrad),
	[0xe3] = INT(pavgw), [0xe4] = INT(pmulhuw), [0xe5] = INT(pmulhw),
	[0xe6] = P4(EMPTY, SSE(cvttpd2dq, NONE, FP | ALIGN, XW, XR, 16),
	    SSE(cvtdq2pd, NONE, 0, XW, XR, 8),
	    SSE(cvtpd2dq, NONE, FP | ALIGN, XW, XR, 16)),
	[0xe7] = P4(MMX(movntq, NONE, MEM, MR, MW, 8),
	    SSE(movntdq, NONE, MEM | ALIGN, XR, XW, 16), EMPTY, EMPTY),
	[0xe8] = INT(psubsb), [0xe9] = INT(psubsw), [0xea] = INT(pminsw),
	[0xeb] = INT(por), [0xec] = INT(paddsb), [0xed] = INT(paddsw),
	[0xee] = INT(pmaxsw), [0xef] = INT(pxor),
	[0xf0] = P4(EMPTY, EMPTY, EMPTY, SSE(lddqu, SSE3, MEM, XW, XR, 16)),
	[0xf1] = INT(psllw), [0xf2] = INT(pslld), [0xf3] = INT(psllq),
	[0xf4] = INT(pmuludq), [0xf5] = INT(pmaddwd), [0xf6] = INT(psadbw),
	[0xf7] = P4(SIMD_T(maskmovq, insn_maskmovq, NO_RULE, NONE, REG, OS_X,
		MR, __, MR, 0),
	    SIMD_T(maskmovdqu, insn_maskmovdqu, NO_RULE, NONE, REG, OS_X,
		XR, __, XR, 0), EMPTY, EMPTY),
	[0xf8] = INT(psubb), [0xf9] = INT(psubw), [0xfa] = INT(psubd),
	[0xfb] = INT(psubq), [0xfc] = INT(paddb), [0xfd] = INT(paddw),
	[0xfe] = INT(paddd),
};
