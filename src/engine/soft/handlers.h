/*
 * The handlers that the opcode tables name, by the file that has them.
 *
 * insn_fn functions serve all forms of an instruction; an array holds one
 * function for each [log2 of the operand size][r/m is memory].
 */
#ifndef SOFT_HANDLERS_H
#define SOFT_HANDLERS_H

#include "engine/soft/insn.h"

#define VARIANTS(name)	extern insn_fn *const insn_##name[4][2]

/* insn_alu.c */
#define ALU_VARIANTS(op)						\
	VARIANTS(op##_rm_r); VARIANTS(op##_r_rm); VARIANTS(op##_rm_imm); \
	VARIANTS(op##_a_imm)
ALU_VARIANTS(add);
ALU_VARIANTS(or);
ALU_VARIANTS(adc);
ALU_VARIANTS(sbb);
ALU_VARIANTS(and);
ALU_VARIANTS(sub);
ALU_VARIANTS(xor);
ALU_VARIANTS(cmp);
VARIANTS(test_rm_r);
VARIANTS(test_rm_imm);
VARIANTS(test_a_imm);
VARIANTS(inc);
VARIANTS(dec);
VARIANTS(neg);
VARIANTS(not);

/* insn_shift.c */
#define SHIFT_VARIANTS(op)						\
	VARIANTS(op##_imm); VARIANTS(op##_1); VARIANTS(op##_cl)
SHIFT_VARIANTS(rol);
SHIFT_VARIANTS(ror);
SHIFT_VARIANTS(rcl);
SHIFT_VARIANTS(rcr);
SHIFT_VARIANTS(shl);
SHIFT_VARIANTS(shr);
SHIFT_VARIANTS(sar);
VARIANTS(shld_imm);
VARIANTS(shld_cl);
VARIANTS(shrd_imm);
VARIANTS(shrd_cl);

/* insn_muldiv.c */
VARIANTS(mul);
VARIANTS(imul);
VARIANTS(div);
VARIANTS(idiv);
VARIANTS(imul_r_rm);
VARIANTS(imul_r_rm_imm);

/* insn_bit.c */
VARIANTS(bt_r);
VARIANTS(bts_r);
VARIANTS(btr_r);
VARIANTS(btc_r);
VARIANTS(bt_imm);
VARIANTS(bts_imm);
VARIANTS(btr_imm);
VARIANTS(btc_imm);
VARIANTS(bsf);
VARIANTS(bsr);
VARIANTS(tzcnt);
VARIANTS(lzcnt);
VARIANTS(popcnt);

/* insn_bmi.c */
VARIANTS(andn);
VARIANTS(blsr);
VARIANTS(blsmsk);
VARIANTS(blsi);
VARIANTS(bzhi);
VARIANTS(bextr);
VARIANTS(pext);
VARIANTS(pdep);
VARIANTS(mulx);
VARIANTS(shlx);
VARIANTS(sarx);
VARIANTS(shrx);
VARIANTS(rorx);
VARIANTS(adcx);
VARIANTS(adox);
VARIANTS(crc32);

/* insn_mov.c */
VARIANTS(mov_rm_r);
VARIANTS(mov_r_rm);
VARIANTS(mov_rm_imm);
VARIANTS(mov_r_imm);
VARIANTS(mov_a_moffs);
VARIANTS(mov_moffs_a);
VARIANTS(movzx_8);
VARIANTS(movzx_16);
VARIANTS(movsx_8);
VARIANTS(movsx_16);
VARIANTS(movsxd);
VARIANTS(lea);
VARIANTS(bswap);
VARIANTS(movbe_r_m);
VARIANTS(movbe_m_r);
VARIANTS(cbw);
VARIANTS(cwd);
insn_fn insn_xlat;

/* insn_cond.c */
#define CC_VARIANTS(cc)	VARIANTS(cmov##cc); VARIANTS(set##cc)
CC_VARIANTS(o);
CC_VARIANTS(no);
CC_VARIANTS(b);
CC_VARIANTS(ae);
CC_VARIANTS(e);
CC_VARIANTS(ne);
CC_VARIANTS(be);
CC_VARIANTS(a);
CC_VARIANTS(s);
CC_VARIANTS(ns);
CC_VARIANTS(p);
CC_VARIANTS(np);
CC_VARIANTS(l);
CC_VARIANTS(ge);
CC_VARIANTS(le);
CC_VARIANTS(g);

/* insn_branch.c */
insn_fn insn_jo, insn_jno, insn_jb, insn_jae, insn_je, insn_jne, insn_jbe,
    insn_ja, insn_js, insn_jns, insn_jp, insn_jnp, insn_jl, insn_jge, insn_jle,
    insn_jg;
insn_fn insn_loopne, insn_loope, insn_loop, insn_jcxz;
insn_fn insn_jmp_rel, insn_jmp_rm, insn_call_rel, insn_call_rm, insn_ret;

/* insn_stack.c */
VARIANTS(push_r);
VARIANTS(pop_r);
insn_fn insn_push_rm, insn_pop_rm, insn_push_imm, insn_pusha, insn_popa,
    insn_enter, insn_leave;

/* insn_xchg.c: exchange and compare */
VARIANTS(xchg_rm_r);
VARIANTS(xchg_a_r);
VARIANTS(xadd);
VARIANTS(cmpxchg);
insn_fn insn_cmpxchg8b, insn_cmpxchg16b;

/* insn_string.c */
VARIANTS(movs);
VARIANTS(cmps);
VARIANTS(scas);
VARIANTS(lods);
VARIANTS(stos);

/* insn_bcd.c */
insn_fn insn_aaa, insn_aas, insn_aad, insn_aam, insn_daa, insn_das;

/* insn_misc.c */
VARIANTS(rdrand);
VARIANTS(rdseed);
insn_fn insn_bound, insn_lahf, insn_sahf, insn_clc, insn_stc, insn_cmc,
    insn_cld, insn_std, insn_salc, insn_nop, insn_fence, insn_clflush,
    insn_ud;

/* segment.c */
insn_fn insn_push_sreg, insn_pop_sreg, insn_mov_rm_sreg, insn_mov_sreg_rm,
    insn_les, insn_lds, insn_lss, insn_lfs, insn_lgs;
insn_fn insn_arpl, insn_lar, insn_lsl, insn_verr, insn_verw;
insn_fn insn_sldt, insn_str, insn_lldt, insn_ltr, insn_sgdt, insn_sidt,
    insn_lgdt, insn_lidt;

/* far.c */
insn_fn insn_call_far, insn_call_far_mem, insn_jmp_far, insn_jmp_far_mem,
    insn_ret_far, insn_iret, insn_int, insn_int3, insn_into, insn_int1;

/* sys_flags.c */
insn_fn insn_pushf, insn_popf, insn_cli, insn_sti, insn_clac, insn_stac;

/* sys_cr.c */
insn_fn insn_smsw, insn_lmsw, insn_clts, insn_mov_r_cr, insn_mov_cr_r,
    insn_mov_r_dr, insn_mov_dr_r, insn_invlpg, insn_invpcid, insn_wbinvd;

/* msr.c */
insn_fn insn_rdmsr, insn_wrmsr, insn_rdtsc, insn_rdtscp, insn_rdpmc,
    insn_rdpid, insn_cpuid, insn_swapgs, insn_rdfsbase, insn_rdgsbase,
    insn_wrfsbase, insn_wrgsbase;

/* sys_call.c */
insn_fn insn_syscall, insn_sysret, insn_sysenter, insn_sysexit, insn_hlt;

/* io.c */
insn_fn insn_in, insn_out, insn_in_dx, insn_out_dx, insn_ins, insn_outs;

/* simd.c, simd_mem.c */
insn_fn insn_sse, insn_avx, insn_mmx, insn_emms, insn_vzero, insn_vmaskmov,
    insn_maskmovdqu, insn_maskmovq, insn_gather;

/* x87.c, x87_env.c */
insn_fn insn_x87, insn_x87_nowait, insn_x87_control, insn_x87_env,
    insn_fnstsw_ax, insn_fwait;

/* xsave.c */
insn_fn insn_xgetbv, insn_xsetbv, insn_fxsave, insn_fxrstor, insn_ldmxcsr,
    insn_stmxcsr, insn_xsave, insn_xrstor, insn_xsaveopt, insn_xsavec,
    insn_xsaves, insn_xrstors;

#endif
