/*
 * The rules that opcode rows name (o_rule): how an instruction is translated.
 * A row without one is executed by its handler.
 */
#ifndef SOFT_JIT_RULES_H
#define SOFT_JIT_RULES_H

#include <stdbool.h>

struct insn;
struct tr;

/* Emits i; false: not this form (emit.h). */
typedef bool tr_rule(struct tr *, const struct insn *i);

/* copy.c: the same instruction with its explicit operands (o_reg, o_vvvv,
 * o_rm) put into place */
tr_rule tr_copy;
/* special.c: integer instructions with operands of their own */
tr_rule tr_shift_cl, tr_push_r, tr_pop_r, tr_push_imm, tr_push_rm, tr_pop_rm,
    tr_leave, tr_lea, tr_moffs, tr_xchg_a, tr_cmpxchg, tr_bt, tr_nop,
    tr_mov_sreg;
/* flow.c */
tr_rule tr_jcc, tr_jmp, tr_jmp_rm, tr_call, tr_call_rm, tr_ret, tr_loop,
    tr_jcxz;
/* vector.c */
tr_rule tr_vector, tr_mxcsr, tr_x87;
/* string.c, sys.c */
tr_rule tr_string, tr_sys;

#endif
