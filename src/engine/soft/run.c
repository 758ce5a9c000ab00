/*
 * The run loop: from block to block, and what happens at the boundaries
 * between instructions (SDM vol. 3A 6.9, table 6-2: priorities).
 *
 * 1. Nothing but run_single(), run_block() and run_blocks() executes
 *    instructions here; jit/ does besides.
 * 2. c_request is looked at between blocks, and a block is at most
 *    BLOCK_INSNS instructions: that bounds the latency of a kick.
 * 3. In single mode (TF, RF, DR7, shadows, an instruction that continues or
 *    accesses a device) one instruction is executed between two looks.
 * 4. Whatever leaves an instruction early lands in soft_run()'s sigsetjmp.
 */
#include <assert.h>
#include <string.h>

#include "base/hostfault.h"
#include "engine/soft/block.h"
#include "engine/soft/cpu.h"
#include "engine/soft/direct/direct.h"
#include "engine/soft/exception.h"
#include "engine/soft/jit/jit.h"
#include "engine/soft/jit/sample.h"
#include "engine/soft/mem.h"
#include "engine/soft/mmu.h"
#include "engine/soft/run.h"
#include "engine/soft/stub.h"
#include "engine/soft/vm.h"

/* --- leaving instructions -------------------------------------------------------- */

void
cpu_request(struct cpu *c, unsigned req)
{
	atomic_fetch_or_explicit(&c->c_request, req, memory_order_release);
}

static void
cpu_unrequest(struct cpu *c, unsigned req)
{
	/* mostly it is not set: no locked access for that */
	if (atomic_load_explicit(&c->c_request, memory_order_relaxed) & req)
		atomic_fetch_and_explicit(&c->c_request, ~req,
		    memory_order_acquire);
}

/* The instruction at hand did not happen. */
static void
run_wind_back(struct cpu *c)
{
	if (c->c_insn == NULL)
		return;
	c->c_rip -= c->c_insn->i_len;
	c->c_insn = NULL;
	if (!c->c_single)
		return;
	c->c_shadow_sti = c->c_before.shadow_sti;
	c->c_shadow_ss = c->c_before.shadow_ss;
	if (c->c_shadow_sti || c->c_shadow_ss)
		cpu_request(c, REQ_SHADOW);
	if (c->c_before.rf)
		c->c_rflags |= FL_RF;
	c->c_dr6_pending = c->c_before.dr6_pending;
}

/* The instruction at hand is done. */
static void
run_retire(struct cpu *c)
{
	c->c_insn = NULL;
	c->c_insn_count++;
	if (c->c_step) {
		c->c_step = false;
		c->c_dr6_pending |= DR6_BS;
		cpu_request(c, REQ_STEP);
	}
}

/* An instruction of a block was left: the ones before it are done. */
static void
run_count(struct cpu *c)
{
	if (c->c_block != NULL && c->c_insn != NULL && !c->c_single)
		c->c_insn_count += (uint64_t)(c->c_insn -
		    c->c_block->b_decoded);
	c->c_block = NULL;
}

void
cpu_leave(struct cpu *c, enum engine_exit reason, bool wind_back)
{
	c->c_run->er_exit = reason;
	run_count(c);
	if (wind_back)
		run_wind_back(c);
	else if (c->c_insn != NULL)
		run_retire(c);
	siglongjmp(c->c_jmp, JMP_LEAVE);
}

void
cpu_next(struct cpu *c)
{
	run_count(c);
	if (c->c_insn != NULL)
		run_retire(c);
	siglongjmp(c->c_jmp, JMP_NEXT);
}

void
run_alone(struct cpu *c)
{
	if (c->c_single)
		return;
	run_count(c);
	run_wind_back(c);
	c->c_alone = true;
	siglongjmp(c->c_jmp, JMP_NEXT);
}

void
run_fault(struct cpu *c)
{
	run_count(c);
	run_wind_back(c);
	siglongjmp(c->c_jmp, JMP_FAULT);
}

/* --- boundaries ---------------------------------------------------------------------- */

bool
run_ready(const struct cpu *c)
{
	return (c->c_rflags & FL_IF && !c->c_shadow_sti && !c->c_shadow_ss &&
	    c->c_event.e_kind == EVENT_NONE && c->c_intr < 0);
}

/* An instruction breakpoint at RIP: its DR6 bits. */
static uint64_t
run_code_break(const struct cpu *c)
{
	uint64_t dr7 = c->c_dr[7], linear = c->c_rip, bits = 0;
	unsigned n;

	if (!c->c_code64)
		linear = (uint32_t)(linear + c->c_seg[SEG_CS].s_base);
	for (n = 0; n < 4; n++)
		if (dr7 >> (n * 2) & 3 && (dr7 >> (16 + n * 4) & 3) == 0 &&
		    c->c_dr[n] == linear)
			bits |= 1ul << n;
	return (bits);
}

static void
run_event(struct cpu *c, enum event_kind kind, int vector, uint64_t dr6)
{
	memset(&c->c_event, 0, sizeof(c->c_event));
	c->c_event.e_kind = kind;
	c->c_event.e_vector = (uint8_t)vector;
	c->c_event.e_dr6 = dr6;
}

/*
 * Does all that waits at this boundary; leaves run() or returns with the
 * instruction at CS:RIP to be executed next, by itself if true is returned.
 */
static bool
run_boundary(struct cpu *c)
{
	unsigned req;
	uint64_t bits;
	bool ready, alone = c->c_alone, delivered = false;

	c->c_alone = false;
	/* an instruction in the middle of its device accesses goes on first */
	if (c->c_mmio.ml_replay)
		return (true);
	for (;;) {
		req = atomic_load_explicit(&c->c_request,
		    memory_order_acquire);
		if (req & REQ_MMIO) {
			cpu_unrequest(c, REQ_MMIO);
			mmu_mmio_reset(c);
		}
		if (req & REQ_FLUSH) {
			cpu_unrequest(c, REQ_FLUSH);
			vm_flush_process(c);
		}
		if (req & REQ_SAMPLE)
			cpu_unrequest(c, REQ_SAMPLE);
		if (req & REQ_RESYNC)
			cpu_unrequest(c, REQ_RESYNC);
		if (c->c_event.e_kind != EVENT_NONE) {
			event_deliver(c);
			delivered = true;
			continue;
		}
		if (c->c_dr6_pending != 0 && !c->c_shadow_ss) {
			/* a breakpoint on what the delivery of #DB accesses
			 * makes one #DB after the other */
			if (delivered && req & REQ_KICK) {
				cpu_unrequest(c, REQ_KICK);
				cpu_leave(c, ENGINE_EXIT_KICK, false);
			}
			bits = c->c_dr6_pending;
			c->c_dr6_pending = 0;
			run_event(c, EVENT_TRAP, VMM_EX_DB, bits);
			continue;
		}
		if (c->c_nmi_pending && !c->c_nmi_blocked &&
		    !c->c_shadow_ss && !c->c_shadow_sti) {
			c->c_nmi_pending = false;
			run_event(c, EVENT_NMI, VMM_EX_NMI, 0);
			continue;
		}
		cpu_unrequest(c, REQ_NMI);
		ready = c->c_rflags & FL_IF && !c->c_shadow_sti &&
		    !c->c_shadow_ss;
		if (c->c_intr >= 0 && ready) {
			run_event(c, EVENT_INTR, c->c_intr, 0);
			c->c_intr = -1;
			continue;
		}
		if (c->c_intr < 0)
			cpu_unrequest(c, REQ_EVENT);
		if (req & REQ_KICK) {
			cpu_unrequest(c, REQ_KICK);
			cpu_leave(c, ENGINE_EXIT_KICK, false);
		}
		if (req & REQ_WINDOW && ready) {
			cpu_unrequest(c, REQ_WINDOW);
			c->c_window = false;
			cpu_leave(c, ENGINE_EXIT_WINDOW, false);
		}
		/* Whoever sets IF asks again: cpu_if_set(). */
		if (req & REQ_WINDOW && (c->c_rflags & FL_IF) == 0)
			cpu_unrequest(c, REQ_WINDOW);
		if (c->c_dr[7] & DR7_ENABLED && (c->c_rflags & FL_RF) == 0 &&
		    !c->c_shadow_ss && (bits = run_code_break(c)) != 0) {
			run_event(c, EVENT_CODE_BREAK, VMM_EX_DB, bits);
			continue;
		}
		break;
	}
	if (!c->c_shadow_sti && !c->c_shadow_ss)
		cpu_unrequest(c, REQ_SHADOW);
	if ((c->c_rflags & (FL_TF | FL_RF)) == 0 && c->c_dr6_pending == 0 &&
	    (c->c_dr[7] & DR7_ENABLED) == 0)
		cpu_unrequest(c, REQ_STEP);
	/* an event's delivery or an unlucky thread may have asked for more */
	return (alone || (atomic_load_explicit(&c->c_request,
	    memory_order_acquire) & (REQ_STEP | REQ_SHADOW)) != 0);
}

/* --- executing ---------------------------------------------------------------------------- */

static void
run_single(struct cpu *c)
{
	const struct insn *i;
	uint64_t rip;

	c->c_repeating = false;
	c->c_before.shadow_sti = c->c_shadow_sti;
	c->c_before.shadow_ss = c->c_shadow_ss;
	c->c_before.rf = (c->c_rflags & FL_RF) != 0;
	c->c_before.dr6_pending = c->c_dr6_pending;
	c->c_block = block_find(c);
	i = block_insns(c, c->c_block);
	c->c_single = true;
	c->c_step = (c->c_rflags & FL_TF) != 0;
	c->c_shadow_sti = c->c_shadow_ss = false;
	c->c_rflags &= ~(uint64_t)FL_RF;
	if (c->c_mmio.ml_replay)
		c->c_mmio.ml_insn = NULL;
	c->c_insn = i;
	rip = c->c_rip += i->i_len;
	i->i_exec(c, i);
	c->c_repeating = run_repeats(c, i, rip);
	run_retire(c);
	c->c_block = NULL;
	if (c->c_mmio.ml_replay)	/* it did not need its answers after all */
		mmu_mmio_reset(c);
}

/* The instructions of b. */
static inline void
execute(struct cpu *c, struct block *b)
{
	const struct insn *i = block_insns(c, b), *end = i + b->b_count;

	c->c_block = b;
	do {
		c->c_insn = i;
		c->c_rip += i->i_len;
		i->i_exec(c, i);
	} while (++i < end);
	c->c_insn = NULL;
	c->c_insn_count += b->b_count;
}

void
run_block(struct cpu *c, struct block *b)
{
	uint64_t past = c->c_rip + b->b_len;

	execute(c, b);
	c->c_block = NULL;
	c->c_repeating = run_repeats(c, &b->b_decoded[b->b_count - 1], past);
}

/* Blocks, until something is requested. */
static void
run_blocks(struct cpu *c)
{
	struct block_cache *bc = c->c_blocks;
	struct block *b = NULL, *next;
	const struct block *last;
	struct block_jump *j;
	uint64_t from = 0, linear;
	unsigned taken = 0;

	c->c_repeating = false;
	/* One block in any case: what is requested may have to wait for it. */
	do {
		linear = c->c_rip;
		/* the same page: the link; else the jump cache */
		if (b != NULL && (from ^ linear) < PAGE_SIZE &&
		    (next = b->b_succ[taken]) != NULL &&
		    (next->b_gpa & PAGE_MASK) == (linear & PAGE_MASK) &&
		    next->b_epoch == bc->bc_epoch) {
			b = next;
		} else {
			next = NULL;
			if (c->c_flat_code) {
				j = block_jump_slot(bc, linear);
				if (j->bj_linear == linear &&
				    j->bj_key == bc->bc_key &&
				    j->bj_block->b_epoch == bc->bc_epoch)
					next = j->bj_block;
			}
			if (next == NULL) {
				c->c_block = NULL;
				next = block_find(c);
				linear = c->c_rip;	/* wrapped at 4 GiB */
				/* looking may have flushed b */
				if (atomic_load_explicit(&c->c_request,
				    memory_order_relaxed) != 0)
					b = NULL;
			}
			if (b != NULL && (from ^ linear) < PAGE_SIZE &&
			    c->c_flat_code && !next->b_temp &&
			    next->b_gpa2 == NO_PAGE)
				b->b_succ[taken] = next;
			b = next;
		}
		from = linear;
		execute(c, b);
		taken = c->c_rip != from + b->b_len;
		if (b->b_temp || b->b_gpa2 != NO_PAGE)
			b = NULL;
	} while (__builtin_expect(atomic_load_explicit(&c->c_request,
	    memory_order_relaxed) == 0, 1));
	last = c->c_block;
	c->c_repeating = run_repeats(c, &last->b_decoded[last->b_count - 1],
	    from + last->b_len);
}

/* --- a run --------------------------------------------------------------------------------- */

/* Is this host fault one of guest memory? */
static bool
run_claims(struct hostfault *hf)
{
	const struct cpu *c = hf->hf_arg;
	const struct vm_range *r;
	unsigned n;

	for (n = 0; n < c->c_vm->ev_nranges; n++) {
		r = &c->c_vm->ev_ranges[n];
		if (hf->hf_addr - (uintptr_t)r->vr_host < r->vr_size)
			return (true);
	}
	return (false);
}

/* Is it one of translated code, which goes on? */
static bool
run_resumes(struct hostfault *hf)
{
	return (jit_fault(hf->hf_arg, hf, run_claims(hf)));
}

static void
run_host_fault(struct cpu *c, const struct hostfault *hf)
{
	const struct vm_range *r;
	unsigned n;

	for (n = 0; n < c->c_vm->ev_nranges; n++) {
		r = &c->c_vm->ev_ranges[n];
		if (hf->hf_addr - (uintptr_t)r->vr_host < r->vr_size)
			break;
	}
	assert(n < c->c_vm->ev_nranges);
	c->c_run->er_protect.gpa = hf->hf_addr - (uintptr_t)r->vr_host +
	    r->vr_gpa;
	c->c_run->er_protect.access = hf->hf_write ? ENGINE_WRITE :
	    c->c_fetching ? ENGINE_EXEC : ENGINE_READ;
	c->c_run->er_exit = ENGINE_EXIT_PROTECT;
	run_count(c);
	run_wind_back(c);
}

/* The data of the last exit's IN. */
static void
run_input(struct cpu *c)
{
	unsigned rest;

	if (c->c_in.arrived) {
		/* INS: its destination was checked before the exit */
		mmu_phys_write(c, c->c_in.gpa[0], &c->c_in.data, c->c_in.part);
		rest = c->c_in.size - c->c_in.part;
		if (rest > 0)
			mmu_phys_write(c, c->c_in.gpa[1],
			    (uint8_t *)&c->c_in.data + c->c_in.part, rest);
		c->c_in.arrived = false;
	}
}

static void
run_complete(struct cpu *c, const struct engine_run *run)
{
	uint64_t mask;

	if (run->er_complete) {
		mmu_mmio_complete(c, run->er_data);
		if (c->c_in.wanted && c->c_in.string) {
			c->c_in.data = run->er_data;
			c->c_in.arrived = true;
		} else if (c->c_in.wanted) {
			mask = c->c_in.size == 1 ? UINT8_MAX :
			    c->c_in.size == 2 ? UINT16_MAX : UINT64_MAX;
			c->c_gpr[RAX] = (c->c_gpr[RAX] & ~mask) |
			    (run->er_data & mask & UINT32_MAX);
		}
	}
	c->c_in.wanted = false;
	c->c_mmio.ml_wanted = false;
	c->c_mmio.ml_next = 0;
	c->c_mmio.ml_replay = c->c_mmio.ml_count > 0;
}

int
run_vcpu(struct cpu *c, struct engine_run *run)
{
	struct hostfault hf = { .hf_env = &c->c_jmp, .hf_filter = run_claims,
	    .hf_arg = c };

	if (c->c_jit != NULL)
		hf.hf_resume = run_resumes;

	c->c_run = run;
	run_complete(c, run);
	if (!c->c_vm->ev_writes_reported)
		block_epoch(c);
	if (c->c_rights_gen != atomic_load(&c->c_vm->ev_rights_gen)) {
		c->c_rights_gen = atomic_load(&c->c_vm->ev_rights_gen);
		mmu_retag(c);
	}
	if (run->er_inject >= 0) {
		c->c_intr = run->er_inject;
		cpu_request(c, REQ_EVENT);
	}
	if (run->er_nmi)
		c->c_nmi_pending = true;
	if (c->c_nmi_pending)
		cpu_request(c, REQ_NMI);
	c->c_window = run->er_window;
	if (run->er_window)
		cpu_request(c, REQ_WINDOW);
	else
		cpu_unrequest(c, REQ_WINDOW);
	/* first of all: what waits may have come before */
	cpu_request(c, REQ_RESYNC);

	/* what a stub that is left in the middle has to put back */
	__asm__ volatile("fnstcw %0; stmxcsr %1" : "=m"(c->c_fpu.f_host_fcw),
	    "=m"(c->c_fpu.f_host_mxcsr));

	if (c->c_insn_count == 0 && c->c_direct == NULL)
		direct_new(c, &c->c_vm->ev_jit);
	sampler_run(c->c_vm->ev_sampler, c, true);
	hostfault_push(&hf);
	switch (sigsetjmp(c->c_jmp, 0)) {
	case JMP_FAULT:
	case JMP_NEXT:
		/* over, whether it used its devices' answers or not */
		mmu_mmio_reset(c);
		/* FALLTHROUGH */
	case JMP_NONE:
		/* an instruction may have been left inside such a scope */
		hostfault_pop(&hf);
		hostfault_push(&hf);
		mem_split_release(c);
		c->c_fetching = false;
		run_input(c);
		for (;;) {
			c->c_single = false;
			c->c_step = false;
			if (run_boundary(c))
				run_single(c);
			else if (c->c_jit != NULL &&
			    (c->c_jmode & JM_NONE) == 0)
				jit_run(c);
			else
				run_blocks(c);
		}
	case JMP_HOST:
		if (stub_contains(c, hf.hf_rip))
			stub_restore_host(c);
		run_host_fault(c, &hf);
		break;
	case JMP_LEAVE:
		break;
	}
	hostfault_pop(&hf);
	jit_end(c);
	direct_end(c);
	sampler_run(c->c_vm->ev_sampler, c, false);
	mem_split_release(c);
	if (c->c_delivering)
		event_unwind(c);
	c->c_delivering = false;
	c->c_fetching = false;
	c->c_single = c->c_step = false;
	run->er_ready = run_ready(c);
	c->c_run = NULL;
	return (0);
}
