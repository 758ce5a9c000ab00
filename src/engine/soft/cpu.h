/*
 * The state of a software VCPU, as every file of the engine sees it.
 *
 * 1. Only the thread in run() touches it, but for c_request, which is how
 *    other threads get its attention.
 * 2. Between instructions the architectural state is complete and exact.
 *    While an instruction executes, c_rip already points past it and c_insn
 *    at its decoded form; cpu_fault() and cpu_leave() wind back to the
 *    instruction's start. An instruction therefore makes every check and every
 *    access that may fail before its first change of architectural state.
 * 3. The mode fields (c_cpl ... c_paging) are functions of CRs, EFER and
 *    segments; cpu_mode_update() recomputes them after any change of those.
 */
#ifndef SOFT_CPU_H
#define SOFT_CPU_H

#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"
#include "engine/soft/insn.h"

struct soft_vm;
struct tlb;

/* GPR numbers as encoded in instructions (SDM vol. 2A, table 2-2). */
enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13,
    R14, R15 };

/* Segment register numbers as encoded (SDM vol. 2A, 3.1.1.1 Sreg). */
enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDTR, SEG_TR,
    SEG_COUNT };

struct segment {
	uint64_t	s_base;
	uint32_t	s_limit;	/* in bytes, granularity applied */
	uint16_t	s_sel;
	uint32_t	s_ar;		/* VMX access-rights form, vmmvar.h */
};

/* RFLAGS (SDM vol. 1, 3.4.3) */
#define FL_CF	0x00000001u
#define FL_R1	0x00000002u	/* reads as one */
#define FL_PF	0x00000004u
#define FL_AF	0x00000010u
#define FL_ZF	0x00000040u
#define FL_SF	0x00000080u
#define FL_TF	0x00000100u
#define FL_IF	0x00000200u
#define FL_DF	0x00000400u
#define FL_OF	0x00000800u
#define FL_IOPL	0x00003000u
#define FL_NT	0x00004000u
#define FL_RF	0x00010000u
#define FL_VM	0x00020000u
#define FL_AC	0x00040000u
#define FL_VIF	0x00080000u
#define FL_VIP	0x00100000u
#define FL_ID	0x00200000u
#define FL_ARITH (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF)

/* Reasons in c_request for leaving the fast loop at the next boundary. */
#define REQ_KICK	0x01	/* eo_kick() */
#define REQ_NMI		0x02	/* an NMI waits */
#define REQ_WINDOW	0x04	/* tell the monitor when IF opens */
#define REQ_STEP	0x08	/* TF, or a debug trap is pending */
#define REQ_SHADOW	0x10	/* STI / MOV SS shadow covers this boundary */
#define REQ_FLUSH	0x20	/* another thread changed memory or rights */

enum paging_mode { PAGING_NONE, PAGING_32, PAGING_PAE, PAGING_4LEVEL };

/* x87 and SSE/AVX state in plain form; xsave.c converts. */
struct fpu {
	/* FXSAVE image (64-bit form) of the x87 part; XMM area unused. */
	_Alignas(64) uint8_t f_fx[512];
	_Alignas(32) uint8_t f_ymm[16][32];	/* XMM in the low halves */
	uint32_t	f_mxcsr;
};

/*
 * MMIO accesses that the client has already answered for the instruction at
 * hand. An instruction that needs one leaves run(); when it is answered the
 * instruction starts anew and finds the answer here (see mem.h).
 */
#define MMIO_LOG_MAX	16
struct mmio_log {
	unsigned	ml_count;	/* answered */
	unsigned	ml_next;	/* consumed by this execution */
	struct {
		uint64_t gpa, data;
		uint8_t	size;
		bool	write;
	} ml_access[MMIO_LOG_MAX];
};

struct cpu {
	/* hot: registers and dispatch */
	uint64_t	 c_gpr[16];
	uint64_t	 c_rip;
	uint64_t	 c_rflags;	/* always with FL_R1 */
	const struct insn *c_insn;	/* executing now */
	atomic_uint	 c_request;	/* REQ_* */
	struct tlb	*c_tlb;		/* mmu.h */

	/* mode, derived */
	uint8_t		 c_cpl;
	bool		 c_long;	/* EFER.LMA */
	bool		 c_code64;	/* LMA and CS.L */
	bool		 c_code32;	/* CS.D, not 64-bit code */
	uint8_t		 c_ssize;	/* stack address size: 2, 4, 8 */
	bool		 c_protected;	/* CR0.PE */
	bool		 c_v8086;	/* PE and RFLAGS.VM */
	enum paging_mode c_paging;

	struct segment	 c_seg[SEG_COUNT];
	struct segment	 c_gdtr, c_idtr;	/* base and limit only */
	uint64_t	 c_cr0, c_cr2, c_cr3, c_cr4, c_cr8;
	uint64_t	 c_pdpte[4];
	uint64_t	 c_efer;
	uint64_t	 c_xcr0;
	uint64_t	 c_dr[8];		/* 4 and 5 unused */

	/* MSRs (msr.c) */
	uint64_t	 c_star, c_lstar, c_cstar, c_sfmask, c_kgsbase;
	uint64_t	 c_sysenter_cs, c_sysenter_esp, c_sysenter_eip;
	uint64_t	 c_misc_enable, c_pat, c_tsc_aux, c_tsc_adjust;
	int64_t		 c_tsc_offset;
	uint64_t	 c_mtrr_def, c_mtrr_fix[11], c_mtrr_var[8][2];

	struct fpu	 c_fpu;

	/* interrupt and debug state at the boundary */
	bool		 c_shadow_sti, c_shadow_ss;
	bool		 c_nmi_blocked, c_nmi_pending;
	bool		 c_halted;
	uint64_t	 c_dr6_pending;	/* trap bits to deliver at the boundary */

	/* the run at hand */
	sigjmp_buf	 c_jmp;		/* cpu_fault(), cpu_leave() land here */
	struct engine_run *c_run;
	struct mmio_log	 c_mmio;
	struct {			/* the IN or INS that waits for data */
		bool	 wanted;
		uint8_t	 size;
		bool	 string;	/* to memory */
		uint64_t gpa[2];	/* INS: destination, split at a page */
		uint8_t	 part;		/* bytes at gpa[0] */
	} c_in;

	unsigned	 c_id;
	struct soft_vm	*c_vm;
	const struct engine_host *c_host;
	void		*c_hostarg;
	struct block_cache *c_blocks;	/* block.h */
	uint64_t	 c_insn_count;	/* executed since reset, for --stats */
};

/* --- leaving an instruction (exception.c, run.c); none returns ------------- */

/* A fault: RIP on the instruction. Vectors 0..31; err is pushed where the
 * vector has an error code (SDM vol. 3A table 6-1). */
_Noreturn void	cpu_fault(struct cpu *, int vector, uint32_t err);
/* #PF: sets CR2 on delivery. err per SDM vol. 3A 4.7. */
_Noreturn void	cpu_page_fault(struct cpu *, uint64_t linear, uint32_t err);
#define cpu_ud(c)	cpu_fault((c), VMM_EX_UD, 0)
#define cpu_gp(c, err)	cpu_fault((c), VMM_EX_GP, (err))
/* A software interrupt or trap (INT n, INT3, INTO, INT1): RIP stays past. */
_Noreturn void	cpu_soft_interrupt(struct cpu *, int vector, int kind);
enum { SOFT_INT_N, SOFT_INT3, SOFT_INTO, SOFT_INT1 };
/* Leaves run() with c_run filled in by the caller. wind_back: RIP on the
 * instruction, else past it. */
_Noreturn void	cpu_leave(struct cpu *, enum engine_exit, bool wind_back);
/* Ends the instruction normally from a nested place. */
_Noreturn void	cpu_next(struct cpu *);

/* --- mode ------------------------------------------------------------------ */
void	cpu_mode_update(struct cpu *);
/* Ends the block after this instruction and re-examines c_request and the
 * mode: to be called by instructions that change either. */
void	cpu_request(struct cpu *, unsigned req);

/* --- registers ------------------------------------------------------------- */

static inline uint64_t
cpu_rflags(const struct cpu *c)
{
	return (c->c_rflags | FL_R1);
}

#endif
