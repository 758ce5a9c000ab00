/*
 * The state of a software VCPU, as every file of the engine sees it.
 *
 * 1. Only the thread in run() touches it, but for c_request, which is how
 *    other threads get its attention.
 * 2. Between instructions the architectural state is complete and exact.
 *    While an instruction executes, c_rip already points past it and c_insn
 *    at its decoded form; cpu_fault() and cpu_leave() wind back to the
 *    instruction's start. An instruction therefore makes every check and every
 *    access that may fail before its first change of architectural state, and
 *    changes c_rip last of all.
 * 3. The mode fields (c_cpl ... c_paging) are functions of CRs, EFER, RFLAGS
 *    and segments; cpu_mode_update() recomputes them after any change of
 *    those.
 */
#ifndef SOFT_CPU_H
#define SOFT_CPU_H

#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"
#include "engine/soft/decode.h"
#include "engine/soft/insn.h"

struct block;
struct block_cache;
struct direct;
struct jit;
struct mmu;
struct tlb_entry;

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
	uint8_t		s_flat;		/* derived: ENGINE_READ, ENGINE_WRITE
					   that need no check of a 4 GiB
					   segment at 0 (segment.c) */
	uint32_t	s_ar;		/* VMX access-rights form, vmmvar.h */
};

/* s_ar (SDM vol. 3C, table 24-2) */
#define AR_TYPE		0x0000f
#define AR_ACCESSED	0x00001	/* code and data */
#define AR_WRITABLE	0x00002	/* data */
#define AR_READABLE	0x00002	/* code */
#define AR_DOWN		0x00004	/* data: expands down */
#define AR_CONFORMING	0x00004	/* code */
#define AR_CODE		0x00008
#define AR_S		0x00010	/* code or data, not system */
#define AR_DPL		0x00060
#define AR_P		0x00080
#define AR_L		0x02000
#define AR_DB		0x04000
#define AR_G		0x08000
#define AR_UNUSABLE	0x10000
#define AR_DPL_OF(ar)	(((ar) & AR_DPL) >> 5)

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
#define FL_ALL	0x003f7fd5u	/* all that are defined, without FL_R1 */

/* CR0, CR4, EFER (SDM vol. 3A 2.5, 2.2.1) */
#define CR0_PE	0x00000001u
#define CR0_MP	0x00000002u
#define CR0_EM	0x00000004u
#define CR0_TS	0x00000008u
#define CR0_ET	0x00000010u
#define CR0_NE	0x00000020u
#define CR0_WP	0x00010000u
#define CR0_AM	0x00040000u
#define CR0_NW	0x20000000u
#define CR0_CD	0x40000000u
#define CR0_PG	0x80000000u

#define CR4_VME		0x00000001u
#define CR4_PVI		0x00000002u
#define CR4_TSD		0x00000004u
#define CR4_DE		0x00000008u
#define CR4_PSE		0x00000010u
#define CR4_PAE		0x00000020u
#define CR4_MCE		0x00000040u
#define CR4_PGE		0x00000080u
#define CR4_PCE		0x00000100u
#define CR4_OSFXSR	0x00000200u
#define CR4_OSXMMEXCPT	0x00000400u
#define CR4_UMIP	0x00000800u
#define CR4_FSGSBASE	0x00010000u
#define CR4_PCIDE	0x00020000u
#define CR4_OSXSAVE	0x00040000u
#define CR4_SMEP	0x00100000u
#define CR4_SMAP	0x00200000u

#define EFER_SCE	0x00000001u
#define EFER_LME	0x00000100u
#define EFER_LMA	0x00000400u
#define EFER_NXE	0x00000800u
#define EFER_FFXSR	0x00004000u
#define EFER_AIBRSE	0x00200000u

/* DR6, DR7 (SDM vol. 3B 17.2) */
#define DR6_B		0x0000000fu
#define DR6_BD		0x00002000u
#define DR6_BS		0x00004000u
#define DR6_BT		0x00008000u
#define DR6_ONES	0xffff0ff0u
#define DR7_ENABLED	0x000000ffu
#define DR7_GD		0x00002000u
#define DR7_ONES	0x00000400u

/* Reasons in c_request for leaving the fast loop at the next boundary. */
#define REQ_KICK	0x01	/* eo_kick() */
#define REQ_NMI		0x02	/* an NMI waits */
#define REQ_WINDOW	0x04	/* tell the monitor when IF opens */
#define REQ_STEP	0x08	/* TF, RF, DR7 or a pending debug trap: one
				   instruction at a time */
#define REQ_SHADOW	0x10	/* STI / MOV SS shadow covers this boundary */
#define REQ_FLUSH	0x20	/* another thread changed memory or rights */
#define REQ_RESYNC	0x40	/* look the next block up from scratch */
#define REQ_EVENT	0x80	/* an event waits to be delivered */
#define REQ_MMIO	0x100	/* the MMIO log is not empty */
#define REQ_SAMPLE	0x200	/* say where translated code is (jit/) */

enum paging_mode { PAGING_NONE, PAGING_32, PAGING_PAE, PAGING_4LEVEL };

/* x87 and SSE/AVX state in plain form; xsave.c converts. */
struct fpu {
	/* FXSAVE image (64-bit form) of the x87 part. MXCSR in it is one that
	 * the host takes, the XMM area says nothing. */
	_Alignas(64) uint8_t f_fx[512];
	_Alignas(32) uint8_t f_ymm[16][32];	/* XMM in the low halves */
	uint32_t	f_mxcsr;
	uint16_t	f_fcs, f_fds;	/* selectors that go with FIP and FDP */
	bool		f_hides;	/* the host shows the x87 pointers only
					   while an exception is pending */
	/* the host's own, while a stub or translated code runs */
	uint32_t	f_host_mxcsr;
	uint16_t	f_host_fcw;
	/* the last x87 instruction of translated code that sets the pointers
	 * (jit/fpu.c) */
	uint64_t	f_last_ip, f_last_ea;
	uint32_t	f_last_op, f_last_seg;
};

/*
 * The MMIO accesses that the instruction at hand has already made, answered at
 * once or by the client. When one has to leave run() the instruction starts
 * anew afterwards and finds its answers here (mmu_mmio.c).
 */
#define MMIO_LOG_MAX	128
struct mmio_log {
	const struct insn *ml_insn;	/* whose accesses these are */
	unsigned	ml_count;	/* answered */
	unsigned	ml_next;	/* consumed by this execution */
	bool		ml_replay;	/* the next instruction continues them */
	bool		ml_wanted;	/* the last one waits for the client */
	struct {
		uint64_t gpa, data;
		uint8_t	size;
		bool	write;
	} ml_access[MMIO_LOG_MAX];
};

/* What interrupts the flow of instructions (exception.c). */
enum event_kind {
	EVENT_NONE,
	EVENT_FAULT,		/* RIP on the instruction; RF set in the frame */
	EVENT_TRAP,		/* #DB after an instruction */
	EVENT_CODE_BREAK,	/* #DB of an instruction breakpoint */
	EVENT_INTR,		/* external interrupt */
	EVENT_NMI,
	EVENT_SOFT_INT,		/* INT n */
	EVENT_SOFT_TRAP,	/* INT3, INTO: DPL is checked */
	EVENT_ICEBP		/* INT1: DPL is not checked */
};
struct event {
	enum event_kind	 e_kind;
	uint8_t		 e_vector;
	uint32_t	 e_error;
	uint64_t	 e_cr2;		/* #PF */
	uint64_t	 e_dr6;		/* #DB: bits to set */
};

struct cpu {
	/* hot: registers and dispatch */
	uint64_t	 c_gpr[17];	/* [REG_NONE] is always zero */
	uint64_t	 c_rip;
	uint64_t	 c_rflags;	/* always with FL_R1 */
	const struct insn *c_insn;	/* executing now; NULL at a boundary */
	atomic_uint	 c_request;	/* REQ_* */
	uint32_t	 c_tlb_gen;	/* mmu.h: tag of live entries, 1..4095 */
	struct tlb_entry *c_tlb;	/* at the current privilege */
	struct tlb_entry *c_tlb_sys;	/* implicit supervisor accesses */

	/* translated code (jit/jit.h); at the offsets of jit/asm.h */
	_Alignas(64) uint64_t c_pageva;
	uint64_t	 c_jflags;
	uint64_t	 c_cstack, c_rstack;
	uint64_t	 c_tmp[2];
	uint64_t	 c_exit[2];
	uint16_t	 c_jmode;	/* JM_* */
	uint32_t	 c_x87_live, c_avx, c_light;
	void		*c_helper[10];
	int64_t		 c_jtsc;
	uint64_t	 c_masks[2];	/* [I] ~0xfff and 0xfff: jit_new() */
	struct jit	*c_jit;
	struct fpu	 c_fpu;
	uint64_t	 c_target, c_countdown;
	uint32_t	 c_slots;
	bool		 c_direct_on;	/* code of CPL 3 is not to be translated */
	uint64_t	 c_frame[2];	/* jit/frame.c */

	/* mode, derived */
	uint8_t		 c_cpl;
	bool		 c_long;	/* EFER.LMA */
	bool		 c_code64;	/* LMA and CS.L */
	bool		 c_code32;	/* CS.D, not 64-bit code */
	uint8_t		 c_ssize;	/* stack address size: 2, 4, 8 */
	bool		 c_protected;	/* CR0.PE */
	bool		 c_v8086;	/* PE and RFLAGS.VM */
	bool		 c_flat_code;	/* CS needs no base and no limit */
	enum paging_mode c_paging;

	struct segment	 c_seg[SEG_COUNT];
	struct segment	 c_gdtr, c_idtr;	/* base and limit only */
	uint64_t	 c_cr0, c_cr2, c_cr3, c_cr4;
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

	/* what CPUID offers, read once (soft.c) */
	struct decode_mode c_decode;	/* dm_bits, dm_real by the mode */
	uint64_t	 c_features;	/* bit n: FEAT_n, as dm_features */
	bool		 c_intel;
	uint8_t		 c_maxphyaddr;
	uint64_t	 c_cr4_valid;
	uint64_t	 c_efer_valid;
	uint64_t	 c_xcr0_valid;

	/* interrupt and debug state at the boundary */
	bool		 c_shadow_sti, c_shadow_ss;
	bool		 c_nmi_blocked, c_nmi_pending;
	bool		 c_step;	/* TF was set when this instruction
					   began */
	bool		 c_repeating;	/* RIP is on a REP instruction that has
					   done some of its elements */
	uint64_t	 c_dr6_pending;	/* trap bits to deliver at the boundary */
	struct event	 c_event;	/* to be delivered; e_kind says if */
	bool		 c_delivering;	/* event_deliver() is at work on it */
	uint8_t		 c_soft_len;	/* of the INT n that c_event is */
	int		 c_intr;	/* injected and not yet delivered, or -1 */
	uint32_t	 c_window;	/* the monitor waits for IF: 0 or 1 */
	struct {			/* before this instruction if c_single,
					   for winding back out of it */
		bool	 shadow_sti, shadow_ss, rf;
		uint64_t dr6_pending;
	} c_before;

	/* the run at hand */
	sigjmp_buf	 c_jmp;		/* JMP_* (run.c) */
	struct engine_run *c_run;
	struct mmio_log	 c_mmio;
	struct {			/* the IN or INS that waits for data */
		bool	 wanted;
		bool	 arrived;	/* INS: data is here, memory is not */
		bool	 string;	/* to memory */
		uint8_t	 size;
		uint64_t data;
		uint64_t gpa[2];	/* INS: destination, split at a page */
		uint8_t	 part;		/* bytes at gpa[0] */
	} c_in;
	bool		 c_split_locked;	/* holds ev_split (mem.h) */
	bool		 c_fetching;	/* reading code bytes */
	bool		 c_journal;	/* jit/lockstep.c wants to know of writes */

	unsigned	 c_id;
	struct engine_vm *c_vm;
	struct cpu	*c_next;	/* in ev_cpus */
	struct vm_written_list *c_written;	/* vm.h */
	unsigned	 c_rights_gen;	/* ev_rights_gen that the TLB is of */
	bool		 c_single;	/* executing one instruction at a time */
	bool		 c_alone;	/* the next one has to be (run_alone) */
	struct mmu	*c_mmu;		/* mmu.h */
	const struct engine_host *c_host;
	void		*c_hostarg;
	struct block_cache *c_blocks;	/* block.h */
	uint32_t	 c_epoch_neg;	/* minus its bc_epoch, for jit/flow.c */
	struct stub_cache *c_stubs;	/* stub.h */
	struct block	*c_block;	/* executing now */
	struct direct	*c_direct;	/* direct/direct.h, or NULL */
	atomic_bool	 c_sampling;	/* it runs: jit/sample.c may ask */
	uint64_t	 c_insn_count;	/* executed since reset, for --stats */

	/* an operand across the end of a page, which is in the middle
	 * (jit/fill.c) */
#define ACROSS_MAX	32u
	_Alignas(64) uint8_t c_across[2 * ACROSS_MAX];
};

/* --- leaving an instruction (exception.c, run.c); none returns ------------- */

/* What siglongjmp(c_jmp) says; JMP_HOST is base/hostfault.h's. */
enum { JMP_NONE, JMP_HOST, JMP_FAULT, JMP_LEAVE, JMP_NEXT };

/* A fault: RIP on the instruction. Vectors 0..31; err is pushed where the
 * vector has an error code (SDM vol. 3A table 6-1). */
_Noreturn void	cpu_fault(struct cpu *, int vector, uint32_t err);
/* #PF: sets CR2 on delivery. err per SDM vol. 3A 4.7. */
_Noreturn void	cpu_page_fault(struct cpu *, uint64_t linear, uint32_t err);
#define cpu_ud(c)	cpu_fault((c), VMM_EX_UD, 0)
#define cpu_gp(c, err)	cpu_fault((c), VMM_EX_GP, (err))
/* #DB as a fault (general detect), with DR6 bits. */
_Noreturn void	cpu_debug_fault(struct cpu *, uint64_t dr6);
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
 * mode: to be called by instructions that change either. Such an instruction's
 * row has O_END. */
void	cpu_request(struct cpu *, unsigned req);

/* --- registers ------------------------------------------------------------- */

static inline uint64_t
cpu_rflags(const struct cpu *c)
{
	return (c->c_rflags | FL_R1);
}

/* Loads all of RFLAGS (VM aside, which far.c handles) and what hangs on TF,
 * RF and AC. */
void	cpu_set_rflags(struct cpu *, uint64_t);

/* IRET was executed. */
static inline void
cpu_nmi_unblock(struct cpu *c)
{
	c->c_nmi_blocked = false;
	if (c->c_nmi_pending)
		cpu_request(c, REQ_NMI);
}

/* IF was set: a window that the monitor waits for may be open. Light. */
static inline void
cpu_if_set(struct cpu *c)
{
	if (c->c_window != 0)
		atomic_fetch_or_explicit(&c->c_request, REQ_WINDOW,
		    memory_order_relaxed);
}

static inline bool
cpu_canonical(uint64_t linear)
{
	return (linear + 0x800000000000u < 0x1000000000000u);
}

static inline unsigned
cpu_iopl(const struct cpu *c)
{
	return ((c->c_rflags & FL_IOPL) >> 12);
}

#endif
