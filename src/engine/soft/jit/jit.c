/*
 * The translator's part in running a VCPU (jit.h).
 */
#include <stddef.h>

#include "engine/soft/jit/jit.h"

/* asm.h says where things are; C says so too. */
#define AT(member, offset)						\
	_Static_assert(offsetof(struct cpu, member) == (offset), #member)
AT(c_gpr, C_GPR);
AT(c_rip, C_RIP);
AT(c_rflags, C_RFLAGS);
AT(c_request, C_REQUEST);
AT(c_pageva, C_PAGEVA);
AT(c_jflags, C_JFLAGS);
AT(c_cstack, C_CSTACK);
AT(c_rstack, C_RSTACK);
AT(c_tmp, C_TMP);
AT(c_exit, C_EXIT);
AT(c_jmode, C_JMODE);
AT(c_x87_live, C_X87_LIVE);
AT(c_avx, C_AVX);
AT(c_helper, C_HELPER);
AT(c_jtsc, C_JTSC);
AT(c_masks, C_MASKS);
AT(c_fpu.f_fx, C_FX);
AT(c_fpu.f_ymm, C_YMM);
AT(c_fpu.f_mxcsr, C_MXCSR);
AT(c_fpu.f_host_mxcsr, C_HOST_MXCSR);
AT(c_fpu.f_host_fcw, C_HOST_FCW);
AT(c_fpu.f_last_ip, C_LAST_IP);
AT(c_fpu.f_last_ea, C_LAST_EA);
AT(c_fpu.f_last_op, C_LAST_OP);
AT(c_fpu.f_last_seg, C_LAST_SEG);
AT(c_target, C_TARGET);
AT(c_countdown, C_COUNTDOWN);
_Static_assert(sizeof(struct cpu) <= JIT_TABLES, "struct cpu");
