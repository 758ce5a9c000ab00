/*
 * A translation in the making: what the driver (translate.c), the emitter
 * (emit.c), memory operands (mem.c) and the rules share. Registers are those
 * of jit.h.
 *
 * A rule emits the code of one instruction. Its first effect on guest state
 * comes after its last check. It returns false, having emitted nothing, when
 * it does not cover this form: the driver then emits a call to the
 * interpreter.
 */
#ifndef SOFT_JIT_EMIT_H
#define SOFT_JIT_EMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/soft/insn.h"
#include "engine/soft/jit/jit.h"
#include "engine/soft/jit/rules.h"
#include "engine/soft/opcode.h"

/* Host registers as encoded. */
enum { H_RAX, H_T0, H_RDX, H_RBX, H_RSP, H_RBP, H_RSI, H_RDI, H_R8,
    H_RCX,		/* host r9 holds guest rcx */
    H_GSP,		/* host r10 holds guest rsp */
    H_T1, H_R12, H_R13, H_R14, H_R15,
    H_SLOT = 0xff };	/* guest r9, r10, r11: in c_gpr */

/* Guest GPR (RAX..R15) to host register or H_SLOT. */
extern const uint8_t tr_host[16];

/* The most that one instruction may take of either. */
#define TR_HOT_MAX	384
#define TR_COLD_MAX	192
#define TR_COLD		(BLOCK_INSNS * 4 + 16)

struct tr;
struct trace;
/* Out-of-line code, emitted when the block's hot code is complete. */
struct tr_cold {
	void		(*tc_emit)(struct tr *, struct tr_cold *);
	void		(*tc_ea)(struct tr *, struct tr_cold *);	/* mem.c */
	uint8_t		*tc_from;	/* rel32 to be patched to this stub */
	uint8_t		*tc_back;	/* where it goes on in the hot code */
	const struct insn *tc_insn;
	uint64_t	 tc_arg[2];
	uint8_t		 tc_k;		/* instruction */
	unsigned	 tc_off;	/* x_off there */
};

/* Accesses by rSP that share a check (frame.c). */
struct tr_frame {
	uint8_t		 f_from, f_to;	/* instructions: checked before f_from,
					   good up to f_to */
	uint8_t		 f_access;
	bool		 f_live;	/* some access must keep flags */
	int32_t		 f_min, f_max;	/* as x_sp */
};

struct tr {
	struct cpu	*x_cpu;
	struct jit	*x_jit;
	struct block	*x_block;
	struct tblock	*x_t;
	const struct insn *x_i;		/* being translated, number x_k */
	unsigned	 x_k;
	unsigned	 x_mode;	/* c_jmode */
	bool		 x_64;		/* 64-bit code */
	unsigned	 x_off;		/* page offset of x_i: may pass 4096
					   only as that of what follows the
					   block; in a trace an int32_t, from
					   its head's page */
	uint8_t		*x_p;		/* next byte, in the writable mapping */
	uint8_t		*x_start;	/* t_code, there */
	intptr_t	 x_rx;		/* add to such a pointer: where it runs */
	bool		 x_ended;	/* a rule has emitted the block's end */
	struct trace	*x_trace;	/* tier 2: mem.c asks it; NULL: a block */
	/* what E_MEM is, if x_at: [x_at_base + x_at_index + x_at_disp] */
	bool		 x_at;
	uint8_t		 x_at_base, x_at_index;
	int32_t		 x_at_disp;
	unsigned	 x_ncold;
	/* x_live[k]: arithmetic flags (FL_*) that some instruction from k on
	 * may read before they are written. [count]: after the last. */
	uint16_t	 x_live[BLOCK_INSNS + 1];
	/* of blocks only (frame.c) */
	struct tr_frame	*x_frame;	/* good now, or NULL */
	uint8_t		*x_frame_p;	/* here T0 is its c_frame[0] */
	struct tr_cold	*x_frame_check;	/* where its check's failure goes */
	unsigned	 x_nframes, x_frame_next;
	struct tr_frame	 x_frames[BLOCK_INSNS + 1];
	int32_t		 x_sp[BLOCK_INSNS];	/* rSP at each instruction, from
						   where it was last unknown */
	struct tr_cold	 x_cold[TR_COLD];
};

/* --- bytes (emit.c) ----------------------------------------------------------- */

static inline void
e_byte(struct tr *x, unsigned b)
{
	*x->x_p++ = (uint8_t)b;
}
void	e_word(struct tr *, unsigned);
void	e_bytes(struct tr *, const uint8_t *, unsigned n);
/* Those of a host instruction that has no better way to be made. */
#define E_CODE(x, ...)							\
	do {								\
		static const uint8_t code_bytes[] = { __VA_ARGS__ };	\
		e_bytes((x), code_bytes, sizeof(code_bytes));		\
	} while (0)
void	e_long(struct tr *, uint32_t);
void	e_quad(struct tr *, uint64_t);

/* opcode: one byte, or 0x0fxx, 0x0f38xx, 0x0f3axx; | E_66, E_F2, E_F3 in front.
 * size 1, 2, 4, 8 gives 66 and REX.W (and REX for SPL..DIL with size 1); the
 * opcode itself is the caller's for size 1. All registers are host's. */
#define E_66	0x1000000u
#define E_F2	0x2000000u
#define E_F3	0x4000000u
/* op rm(register), reg */
void	e_rr(struct tr *, unsigned opcode, unsigned size, unsigned reg,
	    unsigned rm);
/* op [base + index << scale + disp], reg; base and index may be REG_NONE */
void	e_rm(struct tr *, unsigned opcode, unsigned size, unsigned reg,
	    unsigned base, unsigned index, unsigned scale, int32_t disp);
/* op gs:[offset], reg; and gs:[offset + index*8] */
void	e_gs(struct tr *, unsigned opcode, unsigned size, unsigned reg,
	    uint32_t offset);
void	e_gs_index(struct tr *, unsigned opcode, unsigned size, unsigned reg,
	    unsigned index, uint32_t offset);
void	e_mov_imm(struct tr *, unsigned reg, uint64_t imm);	/* no flags */
#define e_mov(x, to, from)	e_rr((x), 0x89, 8, (from), (to))
#define e_lea(x, to, base, disp)					\
	e_rm((x), 0x8d, 8, (to), (base), REG_NONE, 0, (disp))
/* jmp/jcc/call rel32: returns where the rel32 is. cc 0..15, or: */
#define E_JMP	16
#define E_CALL	17
uint8_t	*e_jump(struct tr *, unsigned cc);
void	e_patch(struct tr *, uint8_t *rel32, const uint8_t *target);
#define E_JRCXZ	18	/* rel8, short forward jump: e_patch8 */
#define E_JMP8	19
uint8_t	*e_jump8(struct tr *, unsigned cc);
void	e_patch8(struct tr *, uint8_t *rel8);	/* to here */
/* call or jump to a thunk (asm.h: THUNK_*) */
void	e_call_thunk(struct tr *, unsigned thunk);
void	e_jump_thunk(struct tr *, unsigned thunk);

/* A cold stub reached by the jump whose rel32 is given; fill in the rest. */
struct tr_cold *tr_cold(struct tr *, uint8_t *from,
	    void (*emit)(struct tr *, struct tr_cold *));

/*
 * The guest instruction itself with other registers: host numbers for the
 * operands that are GPRs (vector numbers stay as they are), E_HIGH | 0..3 for
 * AH..BH. rm: a host GPR, a vector register, E_MEM for [T0 + T1], E_MEM_T0 for
 * [T0], E_MEM_T1 for [T1], or E_SLOT | n for guest register n in c_gpr.
 * Prefixes are made from the decoded form, never copied.
 */
#define E_MEM		0x100
#define E_MEM_T0	0x101
#define E_MEM_T1	0x102
#define E_SLOT		0x200
#define E_HIGH		0x400
void	e_insn(struct tr *, const struct insn *, unsigned reg, unsigned vvvv,
	    unsigned rm);

/* --- guest state ---------------------------------------------------------------- */

/* Guest register n's host register, loaded into tmp first if it is a slot. */
unsigned e_get(struct tr *, unsigned guest, unsigned tmp);
/* Stores tmp back if guest register n is a slot (size 4: zero-extended). */
void	e_put(struct tr *, unsigned guest, unsigned tmp);
/* reg = linear address of page offset off of the current code page (jit.h:
 * MODES), cut to 32 bits outside 64-bit code. No flags. */
void	e_code_va(struct tr *, unsigned reg, int32_t off);

/* --- memory (mem.c) --------------------------------------------------------------- */

/* Flags live before the current instruction: checks must keep them. */
static inline bool
tr_flags_live(const struct tr *x)
{
	return (x->x_jit->j_opt.jo_exact || x->x_live[x->x_k] != 0);
}

/* Can i's segment be had in this mode? (else the interpreter) */
bool	e_ea_ok(const struct tr *, const struct insn *);
/* T1 = linear address of i's memory operand. Clobbers T0, keeps flags. */
void	e_ea(struct tr *, const struct insn *);
/* T1 = T1 + the base of FS or GS; others have none. Clobbers T0. */
void	e_segment(struct tr *, unsigned seg);
/*
 * T1 is a linear address: afterwards [T0 + T1] is size bytes of host memory
 * that may be accessed (ENGINE_READ, _WRITE or both). Flags are kept if they
 * are live. What the inline check cannot do goes to a cold stub that either
 * comes back or has the interpreter do the whole instruction. ea makes T1
 * again in the stub: it is called with tc.
 */
void	e_check(struct tr *, unsigned size, int access,
	    void (*ea)(struct tr *, struct tr_cold *), uint64_t arg);
/* The inline check alone: returns the rel32 of the jump of its misses; *saved:
 * there flags are as e_flags_save() has put them. */
uint8_t	*e_check_inline(struct tr *, unsigned size, int access, bool *saved);
/* What is between them may change flags, but needs RAX, which is not there,
 * and the first quad of c_tmp. */
void	e_flags_save(struct tr *);
void	e_flags_restore(struct tr *);
/* e_ea and e_check for i's operand. */
void	e_operand(struct tr *, const struct insn *, unsigned size, int access);
/* The same at guest RSP + disp, with the current stack size. */
void	e_stack(struct tr *, int32_t disp, unsigned size, int access);
/* Guest RSP += n (4-byte stacks: zero-extended). No flags. */
void	e_stack_move(struct tr *, int32_t n);

/* --- frames (frame.c) ---------------------------------------------------------------- */

/* Plans the frames of a block; x_live is known. */
void	tr_frames(struct tr *, unsigned count);
/* Before each instruction: a frame's check, where one begins. */
void	e_frame_begin(struct tr *);
/* mem.c: that check, which sets x_frame_check. T0 + T1 is the host's address of
 * the first byte. */
void	e_frame_check(struct tr *, int32_t disp, unsigned size, int access);
/* Is [rSP + disp], size bytes, in the frame that is good now? */
bool	e_frame_covers(const struct tr *, int32_t disp, unsigned size,
	    int access);
/* [T0 + T1] is it; returns the jump if the frame's check has failed, or NULL:
 * its failure has not come here. */
uint8_t	*e_frame_access(struct tr *, int32_t disp);
/* No frame is good: for jumping into a block (t_frames). No flags. */
void	e_frame_none(struct tr *);

/* --- ends of blocks (flow.c) -------------------------------------------------------- */

/* A jump to the linear page offset target (relative to the page; may lie
 * outside it), by link number n of x_t. from: a rel32 already emitted (a Jcc's)
 * that is to be the link's site, or NULL: a JMP is emitted here. Flags are
 * kept. */
void	tr_goto(struct tr *, unsigned n, int64_t target, uint8_t *from);
/* An indirect jump: T1 is the linear address. Flags are kept. */
void	tr_indirect(struct tr *);
/* The entries of a translation (jit.h: CODE), at its start. */
void	tr_entries(struct tr *);

/* --- the interpreter --------------------------------------------------------------------- */

/* Arithmetic flags that i reads, and that it certainly writes. */
void	tr_flags(const struct insn *, unsigned *in, unsigned *out);
/* The current instruction by its handler. If it ends the block nothing may
 * follow. */
void	tr_interp(struct tr *);

#endif
