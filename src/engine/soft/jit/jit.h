/*
 * The translator: guest code as host code.
 *
 * A decoded block (block.h) that is executed more than once is translated:
 * its instructions are copied nearly as they are, with the guest's registers
 * and arithmetic flags in the host's, memory operands behind a software TLB,
 * and branches linked to each other. What has no rule here is executed by the
 * interpreter's handler from inside the block, so the two always mix.
 *
 * REGISTERS at every guest instruction boundary inside translated code:
 *
 *	guest	rax rbx rdx rsi rdi rbp r8 r12-r15	the same host register
 *	guest	rcx		host r9
 *	guest	rsp		host r10
 *	guest	r9 r10 r11	in memory: c_gpr[]
 *	host	rcx = T0, r11 = T1	scratch
 *	host	rsp		a return stack (below), never the guest's
 *	host	gs		base of struct cpu; the tables follow it (asm.h)
 *	RFLAGS	arithmetic flags are the guest's, all others the C ABI's;
 *		IF, IOPL, DF, AC, ... live in c_rflags
 *	x87, MMX, XMM, YMM, MXCSR	the guest's (see VECTORS)
 *
 * Every check of an instruction precedes its first effect, so a slow path may
 * at any time spill, set c_rip and c_insn and hand the whole instruction to
 * the interpreter.
 *
 * MODES. What a translation depends on besides its bytes is c_jmode (JM_*): a
 * block has one translation a mode. Supervisor code (CPL 0-2) also depends on
 * its linear address, which is embedded (t_va); user code does not: the linear
 * address of the page it runs in is in c_pageva.
 *
 * CODE is in a cache of bounded size, mapped twice (never writable and
 * executable at one address). When it is full all goes (jit_flush). Its upper
 * half is for cold stubs, so that what is executed lies close together.
 * A translation has three entries that fall into each other:
 *	t_indirect: T1 is the linear address of the block; sets c_pageva
 *	t_poll:	    leaves if c_request is set
 *	t_body
 * Backward jumps and calls go to t_poll, forward jumps to t_body, indirect
 * jumps to t_indirect. So every cycle of guest code passes a poll.
 *
 * LINKS. A direct branch within a page is patched to its target's translation.
 * Across pages the same, if it is supervisor code and the target's page global;
 * else it is patched to a probe of the jump cache, as is a branch to an
 * instruction that straddles pages. A translation that dies (its bytes were
 * written) has its incoming links and its own patched back to their exit stubs;
 * its code stays, as returns may still come to it.
 *
 * GUARDED LINKS. User code is linked across pages as well, behind a guard: is
 * the page of the target mapped, here and now, to the page that the target's
 * translation was made from? Each page of physical memory that such a link
 * leads to has a slot (JT_CODES), which holds minus the linear address that it
 * was last found at by a fetch, for as long as a fetch from there would find it
 * again: what takes entries of the jump cache away empties the slot. So the
 * guard is: slot + linear address of the target's page == 0, and c_pageva is
 * that from then on. A guard that fails goes to MISS, which fills the slot, or
 * makes the link.
 *
 * THE JUMP CACHE: linear address and mode to translation, tables JC_KEY and
 * JC_HOST indexed by the low 16 bits of the linear address:
 *	JC_KEY[i] = -(linear + jmode)	JC_HOST[i] = host address of t_indirect
 * A hit is key + T1 + jmode == 0, computed without flags. jmode is less than
 * JM_MAX, so no other address of the same index can match; nor can any match
 * an empty key, 0 or what jtlb.c has in its place where 0 could be matched.
 *
 * RETURN STACKS. A call pushes ~(guest return address) and calls its target on
 * the host stack; a return that finds its address there is a host RET, so that
 * the host predicts it. There is one such stack an access class (user, super,
 * smap), so that no frame is ever met in another mode: a stack whose
 * mode is not the current one (j_rs_mode), or after any change of the mapping,
 * is emptied before it is used. Both ends are guarded: overflow is a host
 * fault, after which the stack is empty. An empty stack holds one frame, of
 * return address 0, whose return point is THUNK_RETURN.
 *
 * THE TLB of translated code: per class three tables of 65536, by bits 12-27
 * of the linear address: NEGR and NEGW hold minus the page's linear address if
 * it may be read (written) without anybody noticing, HOST the host's address of
 * the page. An empty entry holds 0, which no address of that index matches, but
 * for indices 0 and 0xffff: those hold -((i ^ 0x8000) << 12) when empty. It
 * caches mmu.h's TLB: whatever takes a tag away there takes the entry away here
 * (jtlb.c).
 *
 * VECTORS. XMM/YMM and MXCSR are loaded on entry to translated code and stored
 * on leaving it. x87/MMX state is loaded when the first instruction that uses
 * it comes (c_x87_live) and stored on leaving if so. A helper that leaves them
 * alone ("light") is made of files compiled with -mgeneral-regs-only that call
 * nothing else.
 *
 * Everything here belongs to the VCPU's thread.
 */
#ifndef SOFT_JIT_H
#define SOFT_JIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "engine/soft/block.h"
#include "engine/soft/cpu.h"
#include "engine/soft/jit/asm.h"

struct hostfault;

/*
 * c_jmode. Code that cannot be translated (16-bit, real, virtual-8086, CS, SS
 * or stack size not flat, #AC on) is JM_NONE.
 */
#define JM_CLASS	0x0003	/* enum mmu_class: user, super, smap */
#define JM_CPL3		0x0004
#define JM_64		0x0008	/* 64-bit code; else 32-bit, flat CS and SS */
#define JM_SSE		0x0010	/* SSE instructions raise neither #UD nor #NM */
#define JM_AVX		0x0020	/* the same for AVX */
#define JM_X87		0x0040	/* the same for x87 and MMX */
#define JM_DATA		0x0080	/* 32-bit: DS and ES are flat, writable */
#define JM_FS		0x0100	/* 32-bit: FS writable, limit 4 GiB, any base */
#define JM_GS		0x0200	/* 32-bit: the same for GS */
#define JM_XM		0x0400	/* CR4.OSXMMEXCPT */
#define JM_CPL0		0x0800
#define JM_TSC		0x1000	/* RDTSC is allowed */
#define JM_NONE		0x8000
#define JM_MAX		0x2000		/* all others together are below */

/* Options (--engine soft,...), for tests and for finding bugs. */
struct jit_options {
	bool		jo_interp;	/* no translator at all */
	bool		jo_exact;	/* flags exact at every instruction */
	bool		jo_nochain;	/* no links, no jump cache, no paired
					   returns: every block comes back */
	bool		jo_lockstep;	/* every block also interpreted, results
					   compared (lockstep.c) */
	bool		jo_count;	/* c_insn_count is exact in translated code */
	/* as if the host had none */
	bool		jo_nobmi2, jo_noavx, jo_nofsgsbase;
	unsigned	jo_insns;	/* at most so many a block; 0: BLOCK_INSNS */
	unsigned	jo_tlb;		/* at most so many live TLB entries; 0: all */
	unsigned	jo_flush;	/* jit_flush every so many translations */
	unsigned	jo_exits;	/* 1 of so many polls leaves at random */
	unsigned	jo_cache;	/* code cache in KiB; 0: the default */
	unsigned	jo_hot;		/* executions before translation; 0: default */
	unsigned	jo_tier;	/* highest tier: 1 blocks, 2 traces, 3
					   (and 0) direct execution */
	bool		jo_direct;	/* whatever fits is executed directly */
	bool		jo_traces;	/* traces are formed at once */
	bool		jo_perf;	/* /tmp/perf-PID.map names translations */
};

/*
 * A direct branch out of a translation: one of its successors. While unlinked
 * l_site jumps to its exit stub.
 */
struct jit_link {
	struct tblock	*l_to;		/* NULL: unlinked */
	struct jit_link	*l_next;	/* in l_to's t_incoming */
	struct jit_link	**l_prev;
	/* a linked l_cross one without a guard: in j_cross of its target's
	 * page */
	struct jit_link	*l_xnext, **l_xprev;
	uint32_t	 l_site;	/* code offset of the rel32 to patch */
	uint32_t	 l_stub;	/* code offset of its exit stub; if it
					   is guarded, of the guard's disp32 */
	int32_t		 l_target;	/* linear address of the target minus
					   that of its translation's page; in
					   32-bit code the sum wraps at 4 GiB */
	uint8_t		 l_entry : 1,	/* LINK_BODY or LINK_POLL */
			 l_cross : 1,	/* to another page: see LINKS */
			 l_probe : 1,	/* behind the exit stub there is a
					   probe of the jump cache */
			 l_guarded : 1,
			 l_refused : 1,	/* guarded: not to be tried again */
			 l_number : 1;	/* of its translation's t_link[] */
};
enum { LINK_BODY, LINK_POLL };
#define LINK_STUB_SIZE	9		/* call LINK; .long link */

#define NO_VA		UINT64_MAX
#define JIT_CHUNK_SHIFT	6		/* of j_chunk */

/* One translation. Allocated from the translator's arena; dies with
 * jit_flush(). Sorted by t_code: allocation is in ascending order. */
struct tblock {
	struct block	*t_block;	/* whose instructions these are */
	struct tblock	*t_next;	/* of the same t_block: b_trans */
	struct tblock	*t_later;	/* next in the order of t_code */
	uint64_t	 t_va;		/* linear address of its page if it is
					   embedded, else NO_VA */
	struct jit_link	*t_incoming;
	uint32_t	 t_code;	/* code offset of t_indirect */
	uint32_t	 t_size;	/* bytes from there */
	uint32_t	 t_cold, t_cold_size;	/* the same of its stubs */
	uint16_t	 t_poll, t_body;	/* from t_code */
	uint16_t	 t_mode;	/* c_jmode */
	uint8_t		 t_count;	/* instructions */
	bool		 t_dead;
	bool		 t_refused;	/* no trace begins here */
	uint8_t		 t_samples;
	uint64_t	 t_frames;	/* bit k: instruction k relies on a
					   check before an earlier one */
	struct trace_place *t_map;	/* a trace's (trace.h); else NULL */
	struct jit_link	 t_link[2];	/* [0] fall-through or only, [1] taken */
	/* [k]: where instruction k's code starts, from t_code; [t_count]: where
	 * its last instruction's ends. */
	uint16_t	 t_off[];
};

/* The translation that l branches out of. */
static inline struct tblock *
jit_link_from(const struct jit_link *l)
{
	return ((struct tblock *)((uintptr_t)(l - l->l_number) -
	    offsetof(struct tblock, t_link)));
}

#define JIT_CROSS	8192

/* Per VCPU; c_jit. NULL: there is no translator (interp, or no memory). */
struct jit {
	struct jit_options j_opt;
	uint8_t		*j_rx, *j_rw;	/* [I] the code cache's two mappings */
	uint32_t	 j_size;	/* [I] */
	uint32_t	 j_used;
	uint32_t	 j_cold;	/* [I] from here on: cold stubs */
	uint32_t	 j_cold_used;	/* up to here */
	uint32_t	 j_thunks;	/* [I] bytes of thunks at the start */
	/* [I] what the host has; j_pext: and PEXT is fast */
	bool		 j_bmi2, j_pext, j_avx;
	bool		 j_fsgsbase;	/* [I] the same */
	bool		 j_checked;	/* the client's writes are not reported:
					   bytes are compared once a run */
	uint8_t		*j_arena;	/* tblocks; offset 0 is nobody's */
	uint32_t	 j_arena_used, j_arena_size;
	struct {
		size_t	 hot, cold, arena;
	} j_ahead;			/* asked of the host (ahead.h) */
	uint32_t	*j_chunk;	/* where in the arena the first is that
					   overlaps such a piece of code; or 0 */
	struct tblock	*j_first, *j_last;	/* in the order of t_code */
	uint8_t		*j_returns;	/* [I] the return stacks' memory */
	uint64_t	 j_rs[JT_CLASSES];	/* their RSPs, but for the one
						   that is c_rstack: */
	uint8_t		 j_rs_class;
	uint16_t	 j_rs_mode[JT_CLASSES];	/* c_jmode of their frames */
	bool		 j_begun;	/* between jit_begin() and jit_end() */
	struct {			/* the caller's, to be put back */
		uint64_t gsbase;
		bool	 stack;		/* there was no signal stack */
	} j_host;
	uint8_t		*j_sigstack;	/* [I] */
	uint32_t	 j_flushes;
	struct jit_link	*j_cross[JIT_CROSS];	/* linked across pages: by a
					   hash of the target's page */
	uint32_t	 j_slots;	/* in use */
	struct trace	*j_trace;	/* [I] being recorded */
	FILE		*j_perf;	/* perf's map, or NULL */
	struct lockstep	*j_lockstep;	/* NULL: not jo_lockstep */
	struct jit_stats {
		uint64_t js_translated, js_insns, js_bytes, js_flushes,
			 js_killed, js_links, js_unlinks;
		uint64_t js_enter, js_interp_insns, js_interp_blocks;
		uint64_t js_jc_miss, js_jc_fill;
		uint64_t js_fill_read, js_fill_write, js_slow, js_tlb_flush;
		uint64_t js_poll, js_fault, js_ret_reset;
		uint64_t js_compared;	/* instructions, in lockstep */
		uint64_t js_traces;
		/* interpreted from translated code, by map << 8 | opcode
		 * (maps 0 and 1) */
		uint64_t js_by_insn[512];
	} j_stats;
};

/* --- what the rest of the engine calls (jit.c, if nothing else is said) --------- */

/* The options of eo_vm_new's ev_options (NULL: none); EINVAL for an unknown
 * word, which *bad then points to (options.c). */
int	jit_options(const char *, struct jit_options *, const char **bad);
/* Makes c_jit; 0, or errno. c lies at the start of JIT_AREA_SIZE zeroed bytes. */
int	jit_new(struct cpu *, const struct jit_options *);
void	jit_free(struct cpu *);
/* Part of cpu_mode_update(): c_jmode. */
void	jit_mode_update(struct cpu *);
/*
 * Executes from CS:RIP until something is requested (c_request) or there is
 * nothing for the translator to do; in place of run_blocks(). Leaves by
 * siglongjmp(c_jmp) as instructions do.
 */
void	jit_run(struct cpu *);
/* b is dead: its bytes were written. Also from inside translated code's
 * helpers; memory is kept until jit_flush(). */
void	jit_kill(struct cpu *, struct block *b);
/* All translations go. May be called from inside a helper: translated code is
 * left after it, never returned to (code.c). */
void	jit_flush(struct cpu *);
/* The parts of jit_new() and jit_free() in code.c: the code cache with its
 * thunks, the arena, the return stacks. */
int	jit_code_new(struct jit *);
void	jit_code_free(struct jit *);
/* The run is over: GS and the signal stack are the caller's again. */
void	jit_end(struct cpu *);
/* In signal context: a fault of translated code. True: the thread goes on at
 * hf_rip. guest_memory: it is one of hf_addr, in guest memory. */
bool	jit_fault(struct cpu *, struct hostfault *, bool guest_memory);
/* Can i not be executed twice, or not within a block (lockstep.c)? */
bool	lockstep_alone(const struct insn *i);
/* Has i to be a block of its own? */
static inline bool
jit_alone(const struct cpu *c, const struct insn *i)
{
	return (c->c_jit != NULL && c->c_jit->j_lockstep != NULL &&
	    lockstep_alone(i));
}
/* Is this host address in translated code? Safe in a signal handler (find.c). */
bool	jit_contains(const struct cpu *, uintptr_t rip);

/* The return stacks (code.c) are emptied. Also from inside helpers. */
void	jit_returns_reset(struct cpu *);
/* The interpreter has executed a return to c_rip, in the mode of c_rstack: its
 * frame goes. */
void	jit_returned(struct cpu *);
/* c_rstack is that of c_jmode. */
void	jit_returns_select(struct cpu *);
/* In signal context: a fault of translated code at addr, its RIP and RSP. Is
 * it an overflow of the return stack? Then where RSP has to be to go on, else
 * 0. */
uintptr_t jit_returns_overflow(const struct cpu *, uintptr_t addr,
	    uintptr_t rip, uintptr_t rsp);

/* --- the TLB and the jump cache of translated code (jtlb.c) --------------------- */

/* What is written down about them starts out empty: for jit_new(). */
void	jtlb_init(struct cpu *);
/* mmu.c gave e new tags (or took them away) under class. */
void	jtlb_set(struct cpu *, unsigned class, const struct tlb_entry *e);
/* No entry of this linear page in any class, nor in the jump cache; links
 * across pages and return stacks that may involve it go. */
void	jtlb_forget(struct cpu *, uint64_t linear);
/* No write entry leads to this host page any more. */
void	jtlb_forget_write(struct cpu *, const uint8_t *host);
/* Mappings changed: entries that are not global, or all; with them the jump
 * cache's, all links across pages if all, and the return stacks. */
void	jtlb_flush(struct cpu *, bool global);
/* A jump cache entry; global: it outlives jtlb_flush(c, false). */
void	jc_set(struct cpu *, uint64_t linear, const struct tblock *,
	    bool global);
/*
 * For thunks: the host's address of [linear, linear + size) in a page after all
 * checks of the access (what is size | ENGINE_* << 8), with the tables filled;
 * NULL when the interpreter has to do it. Raises nothing. Light (fill.c).
 */
uint8_t	*jit_fill(struct cpu *, uint64_t linear, unsigned what);
/* The same for one access by an instruction, for the SLOW thunk: also across
 * the end of a page, where it may be a copy. */
uint8_t	*jit_fill_operand(struct cpu *, uint64_t linear, unsigned what);
/* The TLB's entry for a fetch from linear's page, made if need be; NULL when
 * the interpreter has to do it. Light (fill.c). */
const struct tlb_entry *jit_fetch(struct cpu *, uint64_t linear);
/* For the SYS thunk: instruction number which of sys.c, next: linear address
 * behind it. Light. */
unsigned jit_sys(struct cpu *, unsigned which, uint64_t next);
/* For the STRING thunk (string.c). */
bool	jit_string(struct cpu *, unsigned what);
/* The entry that there was for linear in the current mode, if it still holds:
 * it is in the jump cache again. Where it leads, or NULL. Light. */
uint8_t	*jc_again(struct cpu *, uint64_t linear);
/* There is no entry of this process: code of CPL 3 comes to the dispatcher. */
void	jc_leave(struct cpu *);
/* There is and was no entry. */
void	jc_clear(struct cpu *);
/* The slot of the page of code at gpa (JT_CODES), for user or supervisor
 * fetches, made if need be; 0: there are no more. Until jit_flush(). */
unsigned jc_slot(struct cpu *, uint64_t gpa, bool user, bool make);
/* A fetch from linear, in the current mode, finds that page: says its slot, if
 * there is one. global: as for jc_set(). */
void	jc_found(struct cpu *, uint64_t linear, uint64_t gpa, bool global);
/* Does the slot of the page at gpa say that it is there? Light. */
bool	jc_says(struct cpu *, uint64_t gpa, uint64_t linear);
/* There are no slots any more. */
void	jc_slots_clear(struct cpu *);
/* No entry leads to t any more. */
void	jc_forget(struct cpu *, const struct tblock *);

/* --- helpers (jit.c); true: translated code goes on at c_exit[1] ------------------ */

bool	jit_interp(struct cpu *, uintptr_t back);	/* THUNK_INTERP */
bool	jit_slow(struct cpu *, uintptr_t back);	/* THUNK_SLOW, filled nothing */

/* --- between the translator's files ---------------------------------------------- */

/* Translates b for the current mode at linear; NULL: it cannot be done (then
 * the interpreter executes it). Not while translated code is on the stack that
 * a flush would take away: may call jit_flush() when memory is short
 * (translate.c). */
struct tblock *jit_translate(struct cpu *, struct block *b, uint64_t linear);
/*
 * Memory for a translation of count instructions of b, zeroed but for t_block,
 * t_count, t_mode, t_va, t_code (16-byte aligned), t_cold and l_number; it is
 * found by nobody yet. If arena or code cache (code bytes are needed at most
 * at each of both) are short, everything is flushed first (code.c).
 */
struct tblock *jit_alloc(struct cpu *, struct block *b, uint64_t linear,
	    unsigned count, uint32_t code);
/* t is complete, t_size and t_cold_size included: takes its place (code.c). */
void	jit_publish(struct cpu *, struct tblock *t);
/* perf's map, if it can be made (code.c). */
void	jit_perf_open(struct jit *);
/* The live translation of b for the current mode and linear, or NULL
 * (find.c). */
struct tblock *jit_lookup(struct cpu *, struct block *b, uint64_t linear);
/* The same, but not a trace. */
struct tblock *jit_lookup_first(struct cpu *, struct block *b,
	    uint64_t linear);
/* The translation that contains a host address, cold stubs included, or NULL;
 * and, if it is asked for, the instruction that one in hot code belongs to
 * (find.c). */
struct tblock *jit_find(struct cpu *, uintptr_t rip, unsigned *insn);
/*
 * A branch to linear missed in the jump cache; back is the return address of
 * its call of MISS. The host address where it goes on: the target, or the
 * branch once more. NULL: left_miss() is asked. Light (find.c).
 */
uint8_t	*jit_jump(struct cpu *, uint64_t linear, uintptr_t back);
/* Linear address of instruction k of t, as c_rip wants it (translate.c). */
uint64_t jit_rip(const struct cpu *, const struct tblock *, unsigned k);

/* link.c: the guarded link whose guard has failed at instruction k of t (as
 * MISS has it), or NULL (light); where l leads, its translation being at work;
 * patches l to go to t, if it may, or to its probe (after block_find() of that
 * address; may raise the fault of a fetch there) / back to its stub; all links
 * into t. */
struct jit_link *jit_link_failed(struct tblock *t, unsigned k);
uint64_t jit_link_linear(const struct cpu *, const struct jit_link *);
void	jit_link(struct cpu *, struct jit_link *, struct tblock *t);
void	jit_unlink(struct cpu *, struct jit_link *);
void	jit_unlink_incoming(struct cpu *, struct tblock *);
/* Code of the page at gpa is at linear just now: its slot says so. */
void	jit_link_found(struct cpu *, uint64_t linear, uint64_t gpa);
void	jit_unlink_cross(struct cpu *);		/* every l_cross link */
void	jit_unlink_page(struct cpu *, uint64_t page);	/* those to this page */
/* MISS at instruction k of t, with the guest's state in c: sets c_rip to target
 * and says true; or puts back what the branch had done and says false: the
 * interpreter is to execute it. */
bool	jit_miss(struct cpu *, const struct tblock *t, unsigned k,
	    uint64_t target);

/* Enters t at t_body and comes back when it is left, for whatever reason, with
 * the guest's state in c; or leaves by siglongjmp(c_jmp) (jit.c). */
void	jit_enter_body(struct cpu *, struct tblock *t);

/*
 * lockstep.c; jo_lockstep implies jo_exact and jo_nochain.
 * jit_lockstep() is called in place of jit_enter_body(c, t), with t the
 * translation of b at CS:RIP: has the interpreter execute b, takes all of that
 * back, enters t, and compares. It leaves as t did: returns, or siglongjmp.
 */
int	lockstep_new(struct cpu *);	/* 0, or errno */
void	lockstep_free(struct cpu *);
void	jit_lockstep(struct cpu *, struct block *b, struct tblock *t);
/* The interpreter is about to write guest memory through host, in lockstep;
 * code: it holds cached code. Called if c_journal is set (mem.c, mmu.c). */
void	lockstep_write(struct cpu *, void *host, unsigned len, bool code);

/* The first translation, in the order of t_code, that may have code at this
 * offset, or NULL. */
static inline struct tblock *
jit_chunk(const struct jit *j, uint32_t off)
{
	uint32_t at = j->j_chunk[off >> JIT_CHUNK_SHIFT];

	return (at == 0 ? NULL : (struct tblock *)(void *)(j->j_arena + at));
}

#define CODE_RX(j, off)	((j)->j_rx + (off))
#define CODE_RW(j, off)	((j)->j_rw + (off))

#endif
