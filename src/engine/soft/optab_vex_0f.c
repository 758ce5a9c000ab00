/*
 * AVX and AVX2 opcodes in VEX map 0F (SDM vol. 2D, table A-3).
 */
#include "engine/soft/optab_simd.h"

/* Packed floating point of three operands, and scalar. */
#define FP2(nm, rules)							\
	AVX(nm##ps, AVX, rules, VW, VR, VR, VL),			\
	AVX(nm##pd, AVX, rules, VW, VR, VR, VL)
#define FP4(nm)								\
	P4(FP2(nm, FP), AVX(nm##ss, AVX, FP, XW, XR, XR, 4),		\
	    AVX(nm##sd, AVX, FP, XW, XR, XR, 8))
#define LOGIC(nm)	P4(FP2(nm, 0), EMPTY, EMPTY)
/* Integer: 256 bits are AVX2's. */
#define I2(nm, rules, reg, vvvv, rm, bytes, ...)			\
	L2(AVX(nm, AVX, rules, reg, vvvv, rm, bytes, __VA_ARGS__),	\
	    AVX(nm, AVX2, rules, reg, vvvv, rm, bytes, __VA_ARGS__))
#define INT(nm)		P66(I2(nm, 0, VW, VR, VR, VL))
/* The shift count is always 128 bits. */
#define SHIFTX(nm)	P66(I2(nm, 0, VW, VR, XR, 16))
#define SHIFT(nm)	P66(I2(nm, REG, __, VW, VR, 0, IB))

static const struct opcode grp12[8] = {
	[2] = SHIFT(vpsrlw), [4] = SHIFT(vpsraw), [6] = SHIFT(vpsllw),
};
static const struct opcode grp13[8] = {
	[2] = SHIFT(vpsrld), [4] = SHIFT(vpsrad), [6] = SHIFT(vpslld),
};
static const struct opcode grp14[8] = {
	[2] = SHIFT(vpsrlq), [3] = SHIFT(vpsrldq),
	[6] = SHIFT(vpsllq), [7] = SHIFT(vpslldq),
};
#define MXCSR_OP(nm)							\
	SIMD_T(v##nm, insn_##nm, T(tr_mxcsr), AVX, MEM | O_L0, OS_D, __, __, \
	    __, 0)
static const struct opcode grp15[8] = {
	[2] = PNONE(MXCSR_OP(ldmxcsr)), [3] = PNONE(MXCSR_OP(stmxcsr)),
};

#define L0	O_L0

const struct opcode optab_simd_vex_0f[256] = {
	[0x10] = P4(AVX(vmovups, AVX, 0, VW, __, VR, VL),
	    AVX(vmovupd, AVX, 0, VW, __, VR, VL),
	    MOD(AVX(vmovss, AVX, 0, XW, __, XR, 4),
		AVX(vmovss, AVX, 0, XW, XR, XR, 4)),
	    MOD(AVX(vmovsd, AVX, 0, XW, __, XR, 8),
		AVX(vmovsd, AVX, 0, XW, XR, XR, 8))),
	[0x11] = P4(AVX(vmovups, AVX, 0, VR, __, VW, VL),
	    AVX(vmovupd, AVX, 0, VR, __, VW, VL),
	    MOD(AVX(vmovss, AVX, 0, XR, __, XW, 4),
		AVX(vmovss, AVX, 0, XR, XR, XW, 4)),
	    MOD(AVX(vmovsd, AVX, 0, XR, __, XW, 8),
		AVX(vmovsd, AVX, 0, XR, XR, XW, 8))),
	[0x12] = P4(AVX(vmovlps, AVX, L0, XW, XR, XR, 8),
	    AVX(vmovlpd, AVX, L0 | MEM, XW, XR, XR, 8),
	    AVX(vmovsldup, AVX, 0, VW, __, VR, VL),
	    L2(AVX(vmovddup, AVX, 0, VW, __, VR, 8),
		AVX(vmovddup, AVX, 0, VW, __, VR, 32))),
	[0x13] = P4(AVX(vmovlps, AVX, L0 | MEM, XR, __, XW, 8),
	    AVX(vmovlpd, AVX, L0 | MEM, XR, __, XW, 8), EMPTY, EMPTY),
	[0x14] = LOGIC(vunpckl),
	[0x15] = LOGIC(vunpckh),
	[0x16] = P4(AVX(vmovhps, AVX, L0, XW, XR, XR, 8),
	    AVX(vmovhpd, AVX, L0 | MEM, XW, XR, XR, 8),
	    AVX(vmovshdup, AVX, 0, VW, __, VR, VL), EMPTY),
	[0x17] = P4(AVX(vmovhps, AVX, L0 | MEM, XR, __, XW, 8),
	    AVX(vmovhpd, AVX, L0 | MEM, XR, __, XW, 8), EMPTY, EMPTY),
	[0x28] = P4(AVX(vmovaps, AVX, ALIGN, VW, __, VR, VL),
	    AVX(vmovapd, AVX, ALIGN, VW, __, VR, VL), EMPTY, EMPTY),
	[0x29] = P4(AVX(vmovaps, AVX, ALIGN, VR, __, VW, VL),
	    AVX(vmovapd, AVX, ALIGN, VR, __, VW, VL), EMPTY, EMPTY),
	[0x2a] = P4(EMPTY, EMPTY,
	    SIMD(vcvtsi2ss, insn_avx, AVX, FP, OS_Y, XW, XR, GR, 0),
	    SIMD(vcvtsi2sd, insn_avx, AVX, FP, OS_Y, XW, XR, GR, 0)),
	[0x2b] = P4(AVX(vmovntps, AVX, MEM | ALIGN, VR, __, VW, VL),
	    AVX(vmovntpd, AVX, MEM | ALIGN, VR, __, VW, VL), EMPTY, EMPTY),
	[0x2c] = P4(EMPTY, EMPTY,
	    SIMD(vcvttss2si, insn_avx, AVX, FP, OS_Y, GW, __, XR, 4),
	    SIMD(vcvttsd2si, insn_avx, AVX, FP, OS_Y, GW, __, XR, 8)),
	[0x2d] = P4(EMPTY, EMPTY,
	    SIMD(vcvtss2si, insn_avx, AVX, FP, OS_Y, GW, __, XR, 4),
	    SIMD(vcvtsd2si, insn_avx, AVX, FP, OS_Y, GW, __, XR, 8)),
	[0x2e] = P4(AVX(vucomiss, AVX, FP, XR, __, XR, 4, FLW),
	    AVX(vucomisd, AVX, FP, XR, __, XR, 8, FLW), EMPTY, EMPTY),
	[0x2f] = P4(AVX(vcomiss, AVX, FP, XR, __, XR, 4, FLW),
	    AVX(vcomisd, AVX, FP, XR, __, XR, 8, FLW), EMPTY, EMPTY),
	[0x50] = P4(AVX(vmovmskps, AVX, REG, GW, __, VR, 0),
	    AVX(vmovmskpd, AVX, REG, GW, __, VR, 0), EMPTY, EMPTY),
	[0x51] = P4(AVX(vsqrtps, AVX, FP, VW, __, VR, VL),
	    AVX(vsqrtpd, AVX, FP, VW, __, VR, VL),
	    AVX(vsqrtss, AVX, FP, XW, XR, XR, 4),
	    AVX(vsqrtsd, AVX, FP, XW, XR, XR, 8)),
	[0x52] = P4(AVX(vrsqrtps, AVX, FP, VW, __, VR, VL), EMPTY,
	    AVX(vrsqrtss, AVX, FP, XW, XR, XR, 4), EMPTY),
	[0x53] = P4(AVX(vrcpps, AVX, FP, VW, __, VR, VL), EMPTY,
	    AVX(vrcpss, AVX, FP, XW, XR, XR, 4), EMPTY),
	[0x54] = LOGIC(vand),
	[0x55] = LOGIC(vandn),
	[0x56] = LOGIC(vor),
	[0x57] = LOGIC(vxor),
	[0x58] = FP4(vadd),
	[0x59] = FP4(vmul),
	[0x5a] = P4(AVX(vcvtps2pd, AVX, FP, VW, __, VR, VL_2),
	    AVX(vcvtpd2ps, AVX, FP, VW, __, VR, VL),
	    AVX(vcvtss2sd, AVX, FP, XW, XR, XR, 4),
	    AVX(vcvtsd2ss, AVX, FP, XW, XR, XR, 8)),
	[0x5b] = P4(AVX(vcvtdq2ps, AVX, FP, VW, __, VR, VL),
	    AVX(vcvtps2dq, AVX, FP, VW, __, VR, VL),
	    AVX(vcvttps2dq, AVX, FP, VW, __, VR, VL), EMPTY),
	[0x5c] = FP4(vsub),
	[0x5d] = FP4(vmin),
	[0x5e] = FP4(vdiv),
	[0x5f] = FP4(vmax),

	[0x60] = INT(vpunpcklbw), [0x61] = INT(vpunpcklwd),
	[0x62] = INT(vpunpckldq), [0x63] = INT(vpacksswb),
	[0x64] = INT(vpcmpgtb), [0x65] = INT(vpcmpgtw),
	[0x66] = INT(vpcmpgtd), [0x67] = INT(vpackuswb),
	[0x68] = INT(vpunpckhbw), [0x69] = INT(vpunpckhwd),
	[0x6a] = INT(vpunpckhdq), [0x6b] = INT(vpackssdw),
	[0x6c] = INT(vpunpcklqdq), [0x6d] = INT(vpunpckhqdq),
	[0x6e] = P66(SIMD(vmovd, insn_avx, AVX, L0, OS_Y, XW, __, GR, 0)),
	[0x6f] = P4(EMPTY, AVX(vmovdqa, AVX, ALIGN, VW, __, VR, VL),
	    AVX(vmovdqu, AVX, 0, VW, __, VR, VL), EMPTY),

	[0x70] = P4(EMPTY, I2(vpshufd, 0, VW, __, VR, VL, IB),
	    I2(vpshufhw, 0, VW, __, VR, VL, IB),
	    I2(vpshuflw, 0, VW, __, VR, VL, IB)),
	[0x71] = BY(REG, grp12), [0x72] = BY(REG, grp13),
	[0x73] = BY(REG, grp14),
	[0x74] = INT(vpcmpeqb), [0x75] = INT(vpcmpeqw), [0x76] = INT(vpcmpeqd),
	[0x77] = PNONE(L2({ N("vzeroupper"), X(insn_vzero),
		T(tr_vector), .o_feature = FEAT_AVX },
	    { N("vzeroall"), X(insn_vzero), T(tr_vector),
		.o_feature = FEAT_AVX })),
	[0x7c] = P4(EMPTY, AVX(vhaddpd, AVX, FP, VW, VR, VR, VL), EMPTY,
	    AVX(vhaddps, AVX, FP, VW, VR, VR, VL)),
	[0x7d] = P4(EMPTY, AVX(vhsubpd, AVX, FP, VW, VR, VR, VL), EMPTY,
	    AVX(vhsubps, AVX, FP, VW, VR, VR, VL)),
	[0x7e] = P4(EMPTY,
	    SIMD(vmovd, insn_avx, AVX, L0, OS_Y, XR, __, GW, 0),
	    AVX(vmovq, AVX, L0, XW, __, XR, 8), EMPTY),
	[0x7f] = P4(EMPTY, AVX(vmovdqa, AVX, ALIGN, VR, __, VW, VL),
	    AVX(vmovdqu, AVX, 0, VR, __, VW, VL), EMPTY),

	[0xae] = BY(REG, grp15),
	[0xc2] = P4(AVX(vcmpps, AVX, FP, VW, VR, VR, VL, IB),
	    AVX(vcmppd, AVX, FP, VW, VR, VR, VL, IB),
	    AVX(vcmpss, AVX, FP, XW, XR, XR, 4, IB),
	    AVX(vcmpsd, AVX, FP, XW, XR, XR, 8, IB)),
	[0xc4] = P66(AVX(vpinsrw, AVX, L0, XW, XR, GR, 2, IB)),
	[0xc5] = P66(AVX(vpextrw, AVX, L0 | REG, GW, __, XR, 0, IB)),
	[0xc6] = P4(AVX(vshufps, AVX, 0, VW, VR, VR, VL, IB),
	    AVX(vshufpd, AVX, 0, VW, VR, VR, VL, IB), EMPTY, EMPTY),

	[0xd0] = P4(EMPTY, AVX(vaddsubpd, AVX, FP, VW, VR, VR, VL), EMPTY,
	    AVX(vaddsubps, AVX, FP, VW, VR, VR, VL)),
	[0xd1] = SHIFTX(vpsrlw), [0xd2] = SHIFTX(vpsrld),
	[0xd3] = SHIFTX(vpsrlq), [0xd4] = INT(vpaddq), [0xd5] = INT(vpmullw),
	[0xd6] = P66(AVX(vmovq, AVX, L0, XR, __, XW, 8)),
	[0xd7] = P66(I2(vpmovmskb, REG, GW, __, VR, 0)),
	[0xd8] = INT(vpsubusb), [0xd9] = INT(vpsubusw), [0xda] = INT(vpminub),
	[0xdb] = INT(vpand), [0xdc] = INT(vpaddusb), [0xdd] = INT(vpaddusw),
	[0xde] = INT(vpmaxub), [0xdf] = INT(vpandn),
	[0xe0] = INT(vpavgb), [0xe1] = SHIFTX(vpsraw), [0xe2] = SHIFTX(vpsrad),
	[0xe3] = INT(vpavgw), [0xe4] = INT(vpmulhuw), [0xe5] = INT(vpmulhw),
	[0xe6] = P4(EMPTY, AVX(vcvttpd2dq, AVX, FP, VW, __, VR, VL),
	    AVX(vcvtdq2pd, AVX, 0, VW, __, VR, VL_2),
	    AVX(vcvtpd2dq, AVX, FP, VW, __, VR, VL)),
	[0xe7] = P66(AVX(vmovntdq, AVX, MEM | ALIGN, VR, __, VW, VL)),
	[0xe8] = INT(vpsubsb), [0xe9] = INT(vpsubsw), [0xea] = INT(vpminsw),
	[0xeb] = INT(vpor), [0xec] = INT(vpaddsb), [0xed] = INT(vpaddsw),
	[0xee] = INT(vpmaxsw), [0xef] = INT(vpxor),
	[0xf0] = P4(EMPTY, EMPTY, EMPTY, AVX(vlddqu, AVX, MEM, VW, __, VR, VL)),
	[0xf1] = SHIFTX(vpsllw), [0xf2] = SHIFTX(vpslld),
	[0xf3] = SHIFTX(vpsllq), [0xf4] = INT(vpmuludq),
	[0xf5] = INT(vpmaddwd), [0xf6] = INT(vpsadbw),
	[0xf7] = P66(SIMD_T(vmaskmovdqu, insn_maskmovdqu, NO_RULE, AVX,
	    L0 | REG, OS_X, XR, __, XR, 0)),
	[0xf8] = INT(vpsubb), [0xf9] = INT(vpsubw), [0xfa] = INT(vpsubd),
	[0xfb] = INT(vpsubq), [0xfc] = INT(vpaddb), [0xfd] = INT(vpaddw),
	[0xfe] = INT(vpaddd),
};
