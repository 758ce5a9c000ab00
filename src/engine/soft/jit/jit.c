/*
 * The translator's part in running a VCPU (jit.h): the dispatcher, what
 * happens when translated code is left, the interpreter called from it, host
 * faults in it.
 *
 * 1. Guest state is all in struct cpu whenever C runs but in light helpers;
 *    the arithmetic flags are merged into c_rflags first of all.
 * 2. The dispatcher enters at t_body, so that every entry makes progress: what
 *    is requested may have to wait for one block.
 * 3. GS and the signal stack are the translator's from the first entry of a
 *    run to its end (jit_begin, jit_end).
 *
 * VCPU thread; jit_fault() in signal context.
 */
#include <asm/prctl.h>
#include <assert.h>
#include <cpuid.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/hostfault.h"
#include "engine/soft/block.h"
#include "engine/soft/cpu.h"
#include "engine/soft/direct/direct.h"
#include "engine/soft/handlers.h"
#include "engine/soft/jit/fpu.h"
#include "engine/soft/jit/jit.h"
#include "engine/soft/jit/tables.h"
#include "engine/soft/jit/trace.h"
#include "engine/soft/mmu.h"
#include "engine/soft/operand.h"
#include "engine/soft/run.h"
#include "engine/soft/vm.h"

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
AT(c_light, C_LIGHT);
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
AT(c_slots, C_SLOTS);
_Static_assert(sizeof(struct cpu) <= JIT_TABLES, "struct cpu");

#define HOT_DEFAULT	2	/* times that a block is interpreted first */
#define SIGSTACK_SIZE	((size_t)64 << 10)
#define HWCAP2_FSGSBASE	0x2

void	jit_enter(const void *code);		/* enter.S */

/* --- making ------------------------------------------------------------------ */

/* PEXT is microcode on AMD before family 19h. */
static bool
host_pext_fast(void)
{
	unsigned a, b, c, d, family;

	__cpuid(0, a, b, c, d);
	if (b != signature_AMD_ebx)
		return (true);
	__cpuid(1, a, b, c, d);
	family = (a >> 8 & 0xf) + (a >> 20 & 0xff);
	return (family >= 0x19);
}

int
jit_new(struct cpu *c, const struct jit_options *jo)
{
	struct jit *j;
	int error;

	if ((j = calloc(1, sizeof(*j))) == NULL)
		return (ENOMEM);
	j->j_opt = *jo;
	if (j->j_opt.jo_hot == 0)
		j->j_opt.jo_hot = HOT_DEFAULT;
	j->j_bmi2 = __builtin_cpu_supports("bmi2") && !jo->jo_nobmi2;
	j->j_pext = j->j_bmi2 && host_pext_fast();
	j->j_fsgsbase = !jo->jo_nofsgsbase &&
	    getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE;
	c->c_jit = j;
	j->j_sigstack = mmap(NULL, SIGSTACK_SIZE, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	error = j->j_sigstack == MAP_FAILED ? ENOMEM : jit_code_new(j);
	if (error == 0)
		error = trace_new(c);
	if (j->j_opt.jo_perf)
		jit_perf_open(j);
	if (error != 0) {
		jit_free(c);
		return (error);
	}
	c->c_masks[0] = ~(uint64_t)PAGE_MASK;
	c->c_masks[1] = PAGE_MASK;
	c->c_helper[HELPER_FILL] = jit_fill_operand;
	c->c_helper[HELPER_INTERP] = jit_interp;
	c->c_helper[HELPER_SLOW] = jit_slow;
	c->c_helper[HELPER_JUMP] = jit_jump;
	c->c_helper[HELPER_STRING] = jit_string;
	c->c_helper[HELPER_SYS] = jit_sys;
	c->c_helper[HELPER_X87_STORE] = fpu_x87_store;
	c->c_helper[HELPER_SELF] = c;
	fpu_new(c);
	jtlb_init(c);
	jit_flush(c);
	if (jo->jo_lockstep && (error = lockstep_new(c)) != 0)
		jit_free(c);
	return (error);
}

void
jit_free(struct cpu *c)
{
	struct jit *j = c->c_jit;

	if (j == NULL)
		return;
	lockstep_free(c);
	jit_code_free(j);
	if (j->j_perf != NULL)
		fclose(j->j_perf);
	trace_free(c);
	if (j->j_sigstack != MAP_FAILED)
		munmap(j->j_sigstack, SIGSTACK_SIZE);
	free(j);
	c->c_jit = NULL;
}

/* --- modes ------------------------------------------------------------------- */

/* 32-bit: a data segment that is writable from 0 to 4 GiB, whatever its base. */
static bool
segment_whole(const struct segment *s)
{
	return ((s->s_ar & (AR_UNUSABLE | AR_CODE | AR_DOWN | AR_WRITABLE)) ==
	    AR_WRITABLE && s->s_limit == UINT32_MAX);
}

static bool
segment_flat(const struct segment *s)
{
	return (s->s_flat == (ENGINE_READ | ENGINE_WRITE));
}

static unsigned
jit_mode(const struct cpu *c)
{
	unsigned mode = c->c_mmu->m_class;

	if (!c->c_protected || c->c_v8086 ||
	    c->c_tlb == c->c_mmu->m_tlb[MMU_SLOW])
		return (JM_NONE);
	if (c->c_code64) {
		mode |= JM_64;
	} else {
		if (!c->c_code32 || !c->c_flat_code || c->c_ssize != 4 ||
		    !segment_flat(&c->c_seg[SEG_SS]))
			return (JM_NONE);
		if (segment_flat(&c->c_seg[SEG_DS]) &&
		    segment_flat(&c->c_seg[SEG_ES]))
			mode |= JM_DATA;
		if (segment_whole(&c->c_seg[SEG_FS]))
			mode |= JM_FS;
		if (segment_whole(&c->c_seg[SEG_GS]))
			mode |= JM_GS;
	}
	if (c->c_cpl == 3)
		mode |= JM_CPL3;
	else if (c->c_cpl == 0)
		mode |= JM_CPL0;
	if (c->c_cpl == 0 || (c->c_cr4 & CR4_TSD) == 0)
		mode |= JM_TSC;
	if ((c->c_cr0 & (CR0_EM | CR0_TS)) == 0) {
		mode |= JM_X87;
		if (c->c_cr4 & CR4_OSFXSR)
			mode |= JM_SSE;
	}
	if (c->c_jit->j_avx && (c->c_cr0 & CR0_TS) == 0 &&
	    c->c_cr4 & CR4_OSXSAVE && (c->c_xcr0 & 6) == 6)
		mode |= JM_AVX;
	if (c->c_cr4 & CR4_OSXMMEXCPT)
		mode |= JM_XM;
	return (mode);
}

void
jit_mode_update(struct cpu *c)
{
	if (c->c_jit == NULL)
		return;
	c->c_jmode = (uint16_t)jit_mode(c);
	c->c_jtsc = c->c_tsc_offset;
}

/* --- GS and the signal stack --------------------------------------------------- */

static uint64_t
gsbase_get(const struct jit *j)
{
	uint64_t base;

	if (j->j_fsgsbase)
		__asm__ volatile("rdgsbase %0" : "=r"(base));
	else
		syscall(SYS_arch_prctl, ARCH_GET_GS, &base);
	return (base);
}

static void
gsbase_set(const struct jit *j, uint64_t base)
{
	if (j->j_fsgsbase)
		__asm__ volatile("wrgsbase %0" : : "r"(base) : "memory");
	else
		syscall(SYS_arch_prctl, ARCH_SET_GS, base);
}

static void
jit_begin(struct cpu *c)
{
	struct jit *j = c->c_jit;
	bool checked = !c->c_vm->ev_writes_reported;

	j->j_begun = true;
	j->j_host.gsbase = gsbase_get(j);
	gsbase_set(j, (uintptr_t)c);
	/* translated code's stack is too small for a signal frame */
	j->j_host.stack = hostfault_stack(j->j_sigstack, SIGSTACK_SIZE);
	if (checked != j->j_checked) {
		j->j_checked = checked;
		jit_flush(c);
	}
}

void
jit_end(struct cpu *c)
{
	struct jit *j = c->c_jit;

	if (j == NULL || !j->j_begun)
		return;
	j->j_begun = false;
	gsbase_set(j, j->j_host.gsbase);
	if (j->j_host.stack)
		hostfault_stack_end();
}

/* --- host faults ----------------------------------------------------------------- */

bool
jit_fault(struct cpu *c, struct hostfault *hf, bool guest_memory)
{
	struct jit *j = c->c_jit;
	uintptr_t rsp;

	if (c->c_light != 0 && guest_memory) {
		hf->hf_rip = (uintptr_t)CODE_RX(j, THUNK_AT(THUNK_LIGHT));
		return (true);
	}
	if (!jit_contains(c, hf->hf_rip))
		return (false);
	switch (hf->hf_trapno) {
	case VMM_EX_PF:
		rsp = jit_returns_overflow(c, hf->hf_addr, hf->hf_rip,
		    hf->hf_rsp);
		if (rsp != 0) {
			hf->hf_rsp = rsp;
			j->j_stats.js_ret_reset++;
			return (true);
		}
		if (!guest_memory)
			return (false);
		break;
	case VMM_EX_DE:
	case VMM_EX_GP:
	case VMM_EX_MF:
	case VMM_EX_XM:
		break;
	default:
		return (false);
	}
	c->c_exit[1] = hf->hf_rip;
	hf->hf_rip = (uintptr_t)CODE_RX(j, THUNK_AT(THUNK_FAULT));
	return (true);
}

/* --- the interpreter, called from translated code ---------------------------------- */

/* The arithmetic flags of translated code into RFLAGS. */
static void
flags_merge(struct cpu *c)
{
	flags_set(c, (uint32_t)c->c_jflags, FL_ARITH);
}

static void
flags_split(struct cpu *c)
{
	c->c_jflags = flags_to_ax(c);
	c->c_rflags &= ~(uint64_t)FL_ARITH;
}

/*
 * Executes instruction k of t, which is next. Returns with c_rip behind it or
 * where it goes; or not.
 */
static void
interpret(struct cpu *c, struct tblock *t, unsigned k)
{
	struct jit *j = c->c_jit;
	const struct insn *i = &block_insns(c, t->t_block)[k];
	uint64_t rip;

	if (j->j_opt.jo_count)
		c->c_insn_count -= t->t_count - k;
	c->c_block = NULL;
	c->c_insn = i;
	rip = c->c_rip = jit_rip(c, t, k) + i->i_len;
	i->i_exec(c, i);
	c->c_insn = NULL;
	c->c_insn_count++;
	c->c_repeating = run_repeats(c, i, rip);
	if (i->i_exec == insn_ret)
		jit_returned(c);
	j->j_stats.js_interp_insns++;
	if (i->i_map < 2)
		j->j_stats.js_by_insn[i->i_map << 8 | i->i_opcode]++;
}

/* Where the jump cache leads from CS:RIP, or NULL. */
static const uint8_t *
cached(struct cpu *c)
{
	if (c->c_jmode & JM_NONE || c->c_jit->j_opt.jo_nochain)
		return (NULL);
	return (jc_look(c, c->c_rip));
}

/*
 * An instruction has ended its block. Goes on where the jump cache says, in
 * whatever mode that is now (C_EXIT), or says false. The jump cache is good
 * for REQ_RESYNC.
 */
static bool
interpret_jump(struct cpu *c)
{
	const uint8_t *to;

	if ((atomic_load_explicit(&c->c_request, memory_order_relaxed) &
	    ~REQ_RESYNC) != 0 || (c->c_cpl == 3 && c->c_direct_on) ||
	    (to = cached(c)) == NULL)
		return (false);
	if (atomic_load_explicit(&c->c_request, memory_order_relaxed) != 0)
		atomic_fetch_and_explicit(&c->c_request, ~REQ_RESYNC,
		    memory_order_acquire);
	c->c_repeating = false;
	jit_returns_select(c);
	flags_split(c);
	c->c_exit[1] = (uintptr_t)to;
	return (true);
}

/* The same from inside t. Can t go on behind it (C_EXIT)? */
static bool
interpret_inside(struct cpu *c, struct tblock *t, unsigned k)
{
	struct jit *j = c->c_jit;
	const struct insn *i = &block_insns(c, t->t_block)[k];
	uint64_t rip = jit_rip(c, t, k) + i->i_len;
	uint32_t flushes = j->j_flushes;

	flags_merge(c);
	interpret(c, t, k);
	c->c_exit[0] = EXIT_NEXT;
	if (i->i_flags & INSN_END)
		return (interpret_jump(c));
	if (c->c_rip != rip || j->j_flushes != flushes || t->t_dead ||
	    atomic_load_explicit(&c->c_request, memory_order_relaxed) != 0)
		return (false);
	if (j->j_opt.jo_count)
		c->c_insn_count += t->t_count - k - 1u;
	flags_split(c);
	c->c_exit[1] = (uintptr_t)CODE_RX(j, t->t_code + t->t_off[k + 1]);
	return (true);
}

bool
jit_interp(struct cpu *c, uintptr_t back)
{
	struct tblock *t;
	unsigned k;

	t = jit_find(c, back - 1, &k);
	assert(t != NULL && k < t->t_count);
	return (interpret_inside(c, t, k));
}

bool
jit_slow(struct cpu *c, uintptr_t back)
{
	/* back: jmp rel32; .byte k */
	unsigned k = ((const uint8_t *)back)[5];
	struct tblock *t;

	t = jit_find(c, back, NULL);
	assert(t != NULL && k < t->t_count);
	c->c_jit->j_stats.js_slow++;
	return (interpret_inside(c, t, k));
}

void
jit_kill(struct cpu *c, struct block *b)
{
	struct tblock *t;
	unsigned n;

	trace_kill(c, b);
	for (t = b->b_trans; t != NULL; t = t->t_next) {
		t->t_dead = true;
		jit_unlink_incoming(c, t);
		for (n = 0; n < 2; n++)
			if (t->t_link[n].l_to != NULL)
				jit_unlink(c, &t->t_link[n]);
		jc_forget(c, t);
		c->c_jit->j_stats.js_killed++;
	}
	b->b_trans = NULL;
}

/* --- leaving ---------------------------------------------------------------------- */

static struct jit_link *
left_next(struct cpu *c)
{
	(void)c;
	return (NULL);
}

static struct jit_link *
left_link(struct cpu *c)
{
	struct jit *j = c->c_jit;
	struct jit_link *l;
	uint32_t off;

	memcpy(&off, (const void *)c->c_exit[1], sizeof(off));
	l = (struct jit_link *)(void *)(j->j_arena + off);
	c->c_rip = jit_link_linear(c, l);
	return (l);
}

static struct jit_link *
left_poll(struct cpu *c)
{
	unsigned k = *(const uint8_t *)c->c_exit[1];
	struct tblock *t;

	t = jit_find(c, c->c_exit[1] - 1, NULL);
	assert(t != NULL && k <= t->t_count);
	c->c_rip = jit_rip(c, t, k);
	c->c_jit->j_stats.js_poll++;
	if (atomic_load_explicit(&c->c_request, memory_order_relaxed) &
	    REQ_SAMPLE) {
		atomic_fetch_and_explicit(&c->c_request, ~(unsigned)REQ_SAMPLE,
		    memory_order_relaxed);
		if (c->c_direct != NULL)
			direct_sample(c);
		/* a trace compares no epochs */
		if (k == 0 && !c->c_jit->j_checked)
			trace_sample(c, t);
	}
	return (NULL);
}

static struct jit_link *
left_miss(struct cpu *c)
{
	unsigned which = *(const uint8_t *)c->c_exit[1];
	unsigned k = which & ~MISS_AGAIN;
	uint64_t target = c->c_rip;
	uint32_t flushes = c->c_jit->j_flushes;
	struct jit_link *l;
	struct tblock *t;

	t = jit_find(c, c->c_exit[1] - 1, NULL);
	assert(t != NULL && k <= t->t_count);
	c->c_jit->j_stats.js_jc_miss++;
	l = jit_link_failed(t, which);
	if (!jit_miss(c, t, k, target))
		interpret(c, t, k);
	if (l == NULL || c->c_rip != target || c->c_jit->j_flushes != flushes)
		return (NULL);
	return (l->l_refused ? NULL : l);
}

static struct jit_link *
left_return(struct cpu *c)
{
	jit_returns_reset(c);
	return (NULL);
}

static struct jit_link *
left_fault(struct cpu *c)
{
	struct tblock *t;
	unsigned k;

	t = jit_find(c, c->c_exit[1], &k);
	assert(t != NULL && k < t->t_count);
	if (t->t_map != NULL)
		t = trace_tier1(c, t, &k);
	c->c_jit->j_stats.js_fault++;
	interpret(c, t, k);
	return (NULL);
}

/* What to do when translated code is left, by EXIT_*. Each sets c_rip; a link
 * that is returned can be made. */
static struct jit_link *(*const left[])(struct cpu *) = {
	[EXIT_NEXT] = left_next,
	[EXIT_LINK] = left_link,
	[EXIT_POLL] = left_poll,
	[EXIT_MISS] = left_miss,
	[EXIT_RETURN] = left_return,
	[EXIT_FAULT] = left_fault,
	[EXIT_SYS] = left_next,
};

static struct jit_link *
enter_at(struct cpu *c, const uint8_t *code)
{
	jit_returns_select(c);
	c->c_pageva = c->c_rip & ~(uint64_t)PAGE_MASK;
	c->c_repeating = false;
	c->c_block = NULL;
	flags_split(c);
	c->c_jit->j_stats.js_enter++;
	jit_enter(code);
	if (c->c_exit[0] != EXIT_NEXT)
		flags_merge(c);
	return (left[c->c_exit[0]](c));
}

static struct jit_link *
enter(struct cpu *c, struct tblock *t)
{
	return (enter_at(c, CODE_RX(c->c_jit, t->t_code + t->t_body)));
}

void
jit_enter_body(struct cpu *c, struct tblock *t)
{
	enter(c, t);
}

/* --- the dispatcher ------------------------------------------------------------------ */

/* Is the page of linear that the block at CS:RIP was fetched from global? */
static bool
page_global(struct cpu *c, uint64_t linear)
{
	const struct tlb_entry *e = tlb_slot(c->c_tlb, linear);

	return (e->te_page == (linear & ~(uint64_t)PAGE_MASK) &&
	    e->te_global != 0 && e->te_global == c->c_mmu->m_global);
}

/* The translation of b, at CS:RIP, made if it is time to; or NULL. */
static struct tblock *
translation(struct cpu *c, struct block *b)
{
	struct jit *j = c->c_jit;
	struct tblock *t;

	if (b->b_temp)
		return (NULL);
	if ((t = jit_lookup(c, b, c->c_rip)) != NULL)
		return (t);
	if (b->b_runs < j->j_opt.jo_hot) {
		b->b_runs++;
		return (NULL);
	}
	if (j->j_opt.jo_flush != 0 &&
	    j->j_stats.js_translated % j->j_opt.jo_flush == 0)
		jit_flush(c);
	return (jit_translate(c, b, c->c_rip));
}

/* A path is being recorded: b is next. Is it still? */
static bool
record(struct cpu *c, struct block *b)
{
	uint64_t linear = c->c_rip;
	struct tblock *t = NULL;

	if (!b->b_temp && (t = jit_lookup_first(c, b, linear)) == NULL)
		t = jit_translate(c, b, linear);
	/* translating may have flushed */
	if (!trace_recording(c))
		return (false);
	trace_record(c, t, linear);
	return (trace_recording(c));
}

/* Interrupts wait until what is behind STI has begun. */
static bool
behind_sti(const struct cpu *c, const struct jit_link *l)
{
	const struct tblock *t = jit_link_from(l);

	return (block_insns(c, t->t_block)[t->t_count - 1].i_exec ==
	    insn_sti);
}

static bool
ends_in_ret(const struct cpu *c, struct block *b)
{
	return (block_insns(c, b)[b->b_count - 1].i_exec == insn_ret);
}

void
jit_run(struct cpu *c)
{
	struct jit *j = c->c_jit;
	struct jit_link *l = NULL;
	uint32_t flushes = j->j_flushes;
	const uint8_t *to;
	struct block *b;
	struct tblock *t;

	if (!j->j_begun)
		jit_begin(c);
	trace_abandon(c);	/* what happened meanwhile is not part of it */
	/* One block in any case: what is requested may have to wait for it. */
	do {
		c->c_block = NULL;
		if (c->c_cpl == 3 && c->c_direct_on && direct_run(c))
			return;
		if (l == NULL && !trace_recording(c) &&
		    atomic_load_explicit(&c->c_request,
		    memory_order_relaxed) == 0 && (to = cached(c)) != NULL) {
			l = enter_at(c, to);
			continue;
		}
		b = block_find(c);
		if ((trace_recording(c) && record(c, b)) ||
		    (t = translation(c, b)) == NULL) {
			j->j_stats.js_interp_blocks++;
			run_block(c, b);
			if (ends_in_ret(c, b) &&
			    c->c_jmode == j->j_rs_mode[j->j_rs_class])
				jit_returned(c);
			l = NULL;
			continue;
		}
		if (j->j_flushes != flushes) {
			flushes = j->j_flushes;
			l = NULL;
		}
		if (l != NULL) {
			jit_link(c, l, t);
			/* a backward branch: its target is hot at once */
			if (j->j_opt.jo_traces && l->l_entry == LINK_POLL) {
				trace_sample(c, t);
				l = NULL;
				continue;
			}
		} else if (!j->j_opt.jo_nochain)
			jc_set(c, c->c_rip, t, page_global(c, c->c_rip));
		if (j->j_lockstep == NULL) {
			l = enter(c, t);
		} else {
			jit_lockstep(c, b, t);
			l = NULL;
		}
	} while (atomic_load_explicit(&c->c_request,
	    memory_order_relaxed) == 0 || (l != NULL && behind_sti(c, l)));
}
