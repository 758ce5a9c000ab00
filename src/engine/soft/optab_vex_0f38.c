/*
 * AVX, AVX2, FMA, F16C and AES opcodes in the VEX maps 0F38 and 0F3A (SDM
 * vol. 2D, tables ).
 */
#include "engine/soft/optab_simd.h"

#define L0	O_L0
#define L1	O_L1
#define W0	O_W0
#define W1	O_W1

/* Integer: 256 bits are AVX2's. */
#define I2(nm, rules, reg, vvvv, rm, bytes, ...)			\
	L2(AVX(nm, AVX, rules, reg, vvvv, rm, bytes, __VA_ARGS__),	\
	    AVX(nm, AVX2, rules, reg, vvvv, rm, bytes, __VA_ARGS__))
#define INT(nm)		P66(I2(nm, 0, VW, VR, VR, VL))
#define UNARY(nm)	P66(I2(nm, 0, VW, __, VR, VL))
#define EXTEND(nm, bytes) P66(I2(nm, 0, VW, __, VR, bytes))
#define AES(nm)		P66(AVX(nm, AES, L0, XW, XR, XR, 16))
#define BCAST(nm, feat, rules, bytes)					\
	P66(AVX(nm, feat, rules, VW, __, VR, bytes))
#define MASKMOV(nm, feat, rules, reg, rm, bytes)			\
	SIMD_T(nm, insn_vmaskmov, NO_RULE, feat, MEM | (rules), OS_X, reg, VR, \
	    rm, bytes)
#define GATHER(nm, bytes)						\
	SIMD_T(nm, insn_gather, NO_RULE, AVX2, MEM | O_VSIB, OS_X, VB, VB, VR, \
	    bytes)
/* ps, pd by W: the digits say which operands are multiplied. */
#define FMAP(nm)							\
	P66(W2(AVX(nm##ps, FMA, FP, VB, VR, VR, VL),			\
	    AVX(nm##pd, FMA, FP, VB, VR, VR, VL)))
#define FMAS(nm)							\
	P66(W2(AVX(nm##ss, FMA, FP, XB, XR, XR, 4),			\
	    AVX(nm##sd, FMA, FP, XB, XR, XR, 8)))
#define FMA(at, form)							\
	[(at) + 0x6] = FMAP(vfmaddsub##form),				\
	[(at) + 0x7] = FMAP(vfmsubadd##form),				\
	[(at) + 0x8] = FMAP(vfmadd##form), [(at) + 0x9] = FMAS(vfmadd##form), \
	[(at) + 0xa] = FMAP(vfmsub##form), [(at) + 0xb] = FMAS(vfmsub##form), \
	[(at) + 0xc] = FMAP(vfnmadd##form),				\
	[(at) + 0xd] = FMAS(vfnmadd##form),				\
	[(at) + 0xe] = FMAP(vfnmsub##form), [(at) + 0xf] = FMAS(vfnmsub##form)

const struct opcode optab_simd_vex_0f38[256] = {
	[0x00] = INT(vpshufb), [0x01] = INT(vphaddw), [0x02] = INT(vphaddd),
	[0x03] = INT(vphaddsw), [0x04] = INT(vpmaddubsw),
	[0x05] = INT(vphsubw), [0x06] = INT(vphsubd), [0x07] = INT(vphsubsw),
	[0x08] = INT(vpsignb), [0x09] = INT(vpsignw), [0x0a] = INT(vpsignd),
	[0x0b] = INT(vpmulhrsw),
	[0x0c] = P66(AVX(vpermilps, AVX, W0, VW, VR, VR, VL)),
	[0x0d] = P66(AVX(vpermilpd, AVX, W0, VW, VR, VR, VL)),
	[0x0e] = P66(AVX(vtestps, AVX, W0, VR, __, VR, VL, FLW)),
	[0x0f] = P66(AVX(vtestpd, AVX, W0, VR, __, VR, VL, FLW)),
	[0x13] = P66(AVX(vcvtph2ps, F16C, W0 | FP, VW, __, VR, VL_2)),
	[0x16] = P66(AVX(vpermps, AVX2, W0 | L1, VW, VR, VR, 32)),
	[0x17] = P66(AVX(vptest, AVX, 0, VR, __, VR, VL, FLW)),
	[0x18] = P66(MOD(AVX(vbroadcastss, AVX, W0, VW, __, VR, 4),
	    AVX(vbroadcastss, AVX2, W0, VW, __, VR, 4))),
	[0x19] = P66(MOD(AVX(vbroadcastsd, AVX, W0 | L1, VW, __, VR, 8),
	    AVX(vbroadcastsd, AVX2, W0 | L1, VW, __, VR, 8))),
	[0x1a] = BCAST(vbroadcastf128, AVX, W0 | L1 | MEM, 16),
	[0x1c] = UNARY(vpabsb), [0x1d] = UNARY(vpabsw), [0x1e] = UNARY(vpabsd),
	[0x20] = EXTEND(vpmovsxbw, VL_2), [0x21] = EXTEND(vpmovsxbd, VL_4),
	[0x22] = EXTEND(vpmovsxbq, VL_8), [0x23] = EXTEND(vpmovsxwd, VL_2),
	[0x24] = EXTEND(vpmovsxwq, VL_4), [0x25] = EXTEND(vpmovsxdq, VL_2),
	[0x28] = INT(vpmuldq), [0x29] = INT(vpcmpeqq),
	[0x2a] = P66(I2(vmovntdqa, MEM | ALIGN, VW, __, VR, VL)),
	[0x2b] = INT(vpackusdw),
	[0x2c] = P66(MASKMOV(vmaskmovps, AVX, W0, VW, VR, 4)),
	[0x2d] = P66(MASKMOV(vmaskmovpd, AVX, W0, VW, VR, 8)),
	[0x2e] = P66(MASKMOV(vmaskmovps, AVX, W0, VR, VW, 4)),
	[0x2f] = P66(MASKMOV(vmaskmovpd, AVX, W0, VR, VW, 8)),
	[0x30] = EXTEND(vpmovzxbw, VL_2), [0x31] = EXTEND(vpmovzxbd, VL_4),
	[0x32] = EXTEND(vpmovzxbq, VL_8), [0x33] = EXTEND(vpmovzxwd, VL_2),
	[0x34] = EXTEND(vpmovzxwq, VL_4), [0x35] = EXTEND(vpmovzxdq, VL_2),
	[0x36] = P66(AVX(vpermd, AVX2, W0 | L1, VW, VR, VR, 32)),
	[0x37] = INT(vpcmpgtq),
	[0x38] = INT(vpminsb), [0x39] = INT(vpminsd), [0x3a] = INT(vpminuw),
	[0x3b] = INT(vpminud), [0x3c] = INT(vpmaxsb), [0x3d] = INT(vpmaxsd),
	[0x3e] = INT(vpmaxuw), [0x3f] = INT(vpmaxud), [0x40] = INT(vpmulld),
	[0x41] = P66(AVX(vphminposuw, AVX, L0, XW, __, XR, 16)),
	[0x45] = P66(W2(AVX(vpsrlvd, AVX2, 0, VW, VR, VR, VL),
	    AVX(vpsrlvq, AVX2, 0, VW, VR, VR, VL))),
	[0x46] = P66(AVX(vpsravd, AVX2, W0, VW, VR, VR, VL)),
	[0x47] = P66(W2(AVX(vpsllvd, AVX2, 0, VW, VR, VR, VL),
	    AVX(vpsllvq, AVX2, 0, VW, VR, VR, VL))),
	[0x58] = BCAST(vpbroadcastd, AVX2, W0, 4),
	[0x59] = BCAST(vpbroadcastq, AVX2, W0, 8),
	[0x5a] = BCAST(vbroadcasti128, AVX2, W0 | L1 | MEM, 16),
	[0x78] = BCAST(vpbroadcastb, AVX2, W0, 1),
	[0x79] = BCAST(vpbroadcastw, AVX2, W0, 2),
	[0x8c] = P66(W2(MASKMOV(vpmaskmovd, AVX2, 0, VW, VR, 4),
	    MASKMOV(vpmaskmovq, AVX2, 0, VW, VR, 8))),
	[0x8e] = P66(W2(MASKMOV(vpmaskmovd, AVX2, 0, VR, VW, 4),
	    MASKMOV(vpmaskmovq, AVX2, 0, VR, VW, 8))),
	[0x90] = P66(W2(GATHER(vpgatherdd, 4), GATHER(vpgatherdq, 8))),
	[0x91] = P66(W2(GATHER(vpgatherqd, 4), GATHER(vpgatherqq, 8))),
	[0x92] = P66(W2(GATHER(vgatherdps, 4), GATHER(vgatherdpd, 8))),
	[0x93] = P66(W2(GATHER(vgatherqps, 4), GATHER(vgatherqpd, 8))),
	FMA(0x90, 132),
	FMA(0xa0, 213),
	FMA(0xb0, 231),
	[0xdb] = P66(AVX(vaesimc, AES, L0, XW, __, XR, 16)),
	[0xdc] = AES(vaesenc), [0xdd] = AES(vaesenclast),
	[0xde] = AES(vaesdec), [0xdf] = AES(vaesdeclast),
};

#define F3I(nm, rules, reg, vvvv, rm, bytes)				\
	P66(AVX(nm, AVX, rules, reg, vvvv, rm, bytes, IB))
#define A2I(nm, rules, reg, vvvv, rm, bytes)				\
	P66(AVX(nm, AVX2, rules, reg, vvvv, rm, bytes, IB))
#define STR(nm)								\
	P66(SIMD(nm, insn_avx, AVX, L0 | O_PCMPSTR, OS_Y, XR, __, XR, 16, IB, \
	    FLW))

const struct opcode optab_simd_vex_0f3a[256] = {
	[0x00] = A2I(vpermq, W1 | L1, VW, __, VR, 32),
	[0x01] = A2I(vpermpd, W1 | L1, VW, __, VR, 32),
	[0x02] = A2I(vpblendd, W0, VW, VR, VR, VL),
	[0x04] = F3I(vpermilps, W0, VW, __, VR, VL),
	[0x05] = F3I(vpermilpd, W0, VW, __, VR, VL),
	[0x06] = F3I(vperm2f128, W0 | L1, VW, VR, VR, 32),
	[0x08] = F3I(vroundps, FP, VW, __, VR, VL),
	[0x09] = F3I(vroundpd, FP, VW, __, VR, VL),
	[0x0a] = F3I(vroundss, FP, XW, XR, XR, 4),
	[0x0b] = F3I(vroundsd, FP, XW, XR, XR, 8),
	[0x0c] = F3I(vblendps, 0, VW, VR, VR, VL),
	[0x0d] = F3I(vblendpd, 0, VW, VR, VR, VL),
	[0x0e] = P66(I2(vpblendw, 0, VW, VR, VR, VL, IB)),
	[0x0f] = P66(I2(vpalignr, 0, VW, VR, VR, VL, IB)),
	[0x14] = F3I(vpextrb, L0, XR, __, GW, 1),
	[0x15] = F3I(vpextrw, L0, XR, __, GW, 2),
	[0x16] = P66(SIMD(vpextrd, insn_avx, AVX, L0, OS_Y, XR, __, GW, 0, IB)),
	[0x17] = F3I(vextractps, L0, XR, __, GW, 4),
	[0x18] = F3I(vinsertf128, W0 | L1, VW, VR, XR, 16),
	[0x19] = F3I(vextractf128, W0 | L1, VR, __, XW, 16),
	[0x1d] = P66(AVX(vcvtps2ph, F16C, W0 | FP, VR, __, VW, VL_2, IB)),
	[0x20] = F3I(vpinsrb, L0, XW, XR, GR, 1),
	[0x21] = F3I(vinsertps, L0, XW, XR, XR, 4),
	[0x22] = P66(SIMD(vpinsrd, insn_avx, AVX, L0, OS_Y, XW, XR, GR, 0, IB)),
	[0x38] = A2I(vinserti128, W0 | L1, VW, VR, XR, 16),
	[0x39] = A2I(vextracti128, W0 | L1, VR, __, XW, 16),
	[0x40] = F3I(vdpps, FP, VW, VR, VR, VL),
	[0x41] = F3I(vdppd, FP | L0, XW, XR, XR, 16),
	[0x42] = P66(I2(vmpsadbw, 0, VW, VR, VR, VL, IB)),
	[0x44] = P66(AVX(vpclmulqdq, PCLMUL, L0, XW, XR, XR, 16, IB)),
	[0x46] = A2I(vperm2i128, W0 | L1, VW, VR, VR, 32),
	[0x4a] = F3I(vblendvps, W0 | O_IS4, VW, VR, VR, VL),
	[0x4b] = F3I(vblendvpd, W0 | O_IS4, VW, VR, VR, VL),
	[0x4c] = P66(I2(vpblendvb, W0 | O_IS4, VW, VR, VR, VL, IB)),
	[0x60] = STR(vpcmpestrm), [0x61] = STR(vpcmpestri),
	[0x62] = STR(vpcmpistrm), [0x63] = STR(vpcmpistri),
	[0xdf] = P66(AVX(vaeskeygenassist, AES, L0, XW, __, XR, 16, IB)),
};
