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

#define FN(name)							\
	void insn_##name(struct cpu *, const struct insn *)		\
	    __attribute__((weak, alias("missing")))

FN(push_sreg);
FN(pop_sreg);
FN(mov_rm_sreg);
FN(mov_sreg_rm);
FN(les);
FN(lds);
FN(lss);
FN(lfs);
FN(lgs);
FN(call_far);
FN(call_far_mem);
FN(jmp_far);
FN(jmp_far_mem);
FN(ret_far);
FN(iret);
FN(int);
FN(int3);
FN(into);
FN(int1);
FN(arpl);
FN(lar);
FN(lsl);
FN(verr);
FN(verw);
FN(sldt);
FN(str);
FN(lldt);
FN(ltr);
FN(sgdt);
FN(sidt);
FN(lgdt);
FN(lidt);
FN(pushf);
FN(popf);
FN(cli);
FN(sti);
FN(clac);
FN(stac);
FN(smsw);
FN(lmsw);
FN(clts);
FN(mov_r_cr);
FN(mov_cr_r);
FN(mov_r_dr);
FN(mov_dr_r);
FN(rdmsr);
FN(wrmsr);
FN(rdtsc);
FN(rdtscp);
FN(rdpmc);
FN(rdpid);
FN(cpuid);
FN(swapgs);
FN(rdfsbase);
FN(rdgsbase);
FN(wrfsbase);
FN(wrgsbase);
FN(syscall);
FN(sysret);
FN(sysenter);
FN(sysexit);
FN(hlt);
FN(invlpg);
FN(invpcid);
FN(wbinvd);
FN(in);
FN(out);
FN(in_dx);
FN(out_dx);
FN(ins);
FN(outs);
