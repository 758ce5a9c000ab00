/*
 * The sixteen conditions of Jcc, SETcc and CMOVcc (SDM vol. 1, appendix B) on
 * RFLAGS.
 */
#ifndef SOFT_COND_H
#define SOFT_COND_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/soft/cpu.h"

/* M(cc, ...) for each condition in the order of its encoding. */
#define EACH_CC(M, ...)							\
	M(o, __VA_ARGS__) M(no, __VA_ARGS__)				\
	M(b, __VA_ARGS__) M(ae, __VA_ARGS__)				\
	M(e, __VA_ARGS__) M(ne, __VA_ARGS__)				\
	M(be, __VA_ARGS__) M(a, __VA_ARGS__)				\
	M(s, __VA_ARGS__) M(ns, __VA_ARGS__)				\
	M(p, __VA_ARGS__) M(np, __VA_ARGS__)				\
	M(l, __VA_ARGS__) M(ge, __VA_ARGS__)				\
	M(le, __VA_ARGS__) M(g, __VA_ARGS__)

/* SF differs from OF. */
static inline bool
cond_l(uint64_t f)
{
	return ((f >> 7 ^ f >> 11) & 1);
}

#define cond_o(f)	(((f) & FL_OF) != 0)
#define cond_no(f)	(((f) & FL_OF) == 0)
#define cond_b(f)	(((f) & FL_CF) != 0)
#define cond_ae(f)	(((f) & FL_CF) == 0)
#define cond_e(f)	(((f) & FL_ZF) != 0)
#define cond_ne(f)	(((f) & FL_ZF) == 0)
#define cond_be(f)	(((f) & (FL_CF | FL_ZF)) != 0)
#define cond_a(f)	(((f) & (FL_CF | FL_ZF)) == 0)
#define cond_s(f)	(((f) & FL_SF) != 0)
#define cond_ns(f)	(((f) & FL_SF) == 0)
#define cond_p(f)	(((f) & FL_PF) != 0)
#define cond_np(f)	(((f) & FL_PF) == 0)
#define cond_ge(f)	(!cond_l(f))
#define cond_le(f)	(cond_e(f) || cond_l(f))
#define cond_g(f)	(!cond_le(f))

#endif
