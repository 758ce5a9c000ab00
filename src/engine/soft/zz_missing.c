/*
 * What has no handler yet raises #UD. Weak: the last object of the archive, so
 * that the linker asks here last.
 */
#include "engine/soft/cpu.h"
#include "engine/soft/handlers.h"
#include "engine/soft/opcode.h"

static void
missing(struct cpu *c, const struct insn *i)
{
	(void)i;
	cpu_ud(c);
}

static const struct opcode missing_table[256] = { { .o_kind = OP_NONE } };

#define FN(name)							\
	void insn_##name(struct cpu *, const struct insn *)		\
	    __attribute__((weak, alias("missing")))
#define TAB(name)							\
	extern const struct opcode name[256]				\
	    __attribute__((weak, alias("missing_table")))

FN(xgetbv);
FN(xsetbv);
FN(fxsave);
FN(fxrstor);
FN(ldmxcsr);
FN(stmxcsr);
FN(xsave);
FN(xrstor);
FN(xsaveopt);
FN(xsavec);
FN(xsaves);
FN(xrstors);
TAB(optab_simd_onebyte);
TAB(optab_simd_0f);
TAB(optab_simd_0f38);
TAB(optab_simd_0f3a);
TAB(optab_simd_vex_0f);
TAB(optab_simd_vex_0f38);
TAB(optab_simd_vex_0f3a);

void	fpu_reset(struct cpu *) __attribute__((weak, alias("no_fpu")));
void	fpu_get_xstate(const struct cpu *, void *)
	    __attribute__((weak, alias("no_fpu_get")));
int	fpu_set_xstate(struct cpu *, const void *)
	    __attribute__((weak, alias("no_fpu_set")));

static void
no_fpu(struct cpu *c)
{
	(void)c;
}

static void
no_fpu_get(const struct cpu *c, void *area)
{
	(void)c;
	(void)area;
}

static int
no_fpu_set(struct cpu *c, const void *area)
{
	(void)c;
	(void)area;
	return (0);
}
