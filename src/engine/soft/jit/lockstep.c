/*
 * The interpreter as the oracle of the translator while a guest runs: option
 * "lockstep".
 *
 * Each time a block is to be executed, the interpreter executes it first, with
 * a journal of the memory that it writes; then memory and registers are put
 * back, the translation executes the same, and the two results are compared:
 * registers, flags, x87 and vector state, system registers, what is pending,
 * the fault that ended it if one did, and all bytes that the interpreter
 * wrote. If they differ the VCPU cannot go on.
 *
 * 1. While c_journal is set the interpreter finds nothing in the TLB of its
 *    fast paths (c_tlb), so that every write comes by lockstep_write().
 * 2. What cannot be done twice (devices, time, what changes the mapping) is
 *    done by the interpreter alone: lockstep_alone(); such instructions are
 *    blocks of their own. So is what leaves run() or meets a host fault.
 * 3. A block that writes cached code is executed by the translation alone: the
 *    blocks that die by it cannot be brought back.
 * 4. Devices and other VCPUs may write guest memory between the two
 *    executions: what differs has to do so TRIES times.
 *
 * VCPU thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "engine/soft/block.h"
#include "engine/soft/cpu.h"
#include "engine/soft/handlers.h"
#include "engine/soft/jit/jit.h"
#include "engine/soft/mem.h"
#include "engine/soft/mmu.h"
#include "engine/soft/run.h"

#define TRIES		4
#define WRITES_MAX	512
#define BYTES_MAX	16384
/* Beside cpu.h's JMP_*: the interpreter was about to write cached code. */
#define JMP_CODE	100

/* Requests that instructions make, not other threads. */
#define REQ_OWN		(REQ_STEP | REQ_SHADOW | REQ_RESYNC | REQ_EVENT | \
    REQ_MMIO)

/* struct cpu in pieces: from one member up to another. */
#define AT(member)	offsetof(struct cpu, member)
static const struct piece {
	uint16_t	p_from, p_to;
} pieces[] = {
	{ AT(c_gpr), AT(c_insn) },
	{ AT(c_fpu), AT(c_fpu) + 160 },		/* f_fx up to the XMM area */
	{ AT(c_fpu.f_ymm), AT(c_fpu.f_hides) },
	{ AT(c_cpl), AT(c_decode) },
	{ AT(c_shadow_sti), AT(c_jmp) },
};
#define PIECES		(sizeof(pieces) / sizeof(pieces[0]))

struct state {
	struct cpu	s_cpu;		/* the pieces of it */
	unsigned	s_request;	/* REQ_OWN */
	bool		s_alone;	/* c_alone */
	int		s_left;		/* JMP_* */
};

struct write {
	uint8_t		*w_host;
	unsigned	 w_len;
	unsigned	 w_at;		/* in ls_old and ls_new */
};

struct lockstep {
	struct tlb_entry ls_tlb[TLB_SIZE];	/* empty */
	struct state	ls_before, ls_interp, ls_trans;
	unsigned	ls_nwrites, ls_nbytes;
	bool		ls_overflow;
	struct write	ls_write[WRITES_MAX];
	uint8_t		ls_old[BYTES_MAX], ls_new[BYTES_MAX];
};

int
lockstep_new(struct cpu *c)
{
	struct lockstep *ls;

	if ((ls = aligned_alloc(_Alignof(struct lockstep), sizeof(*ls))) ==
	    NULL)
		return (ENOMEM);
	memset(ls, 0, sizeof(*ls));
	c->c_jit->j_lockstep = ls;
	return (0);
}

void
lockstep_free(struct cpu *c)
{
	free(c->c_jit->j_lockstep);
	c->c_jit->j_lockstep = NULL;
}

/* --- what is done once ------------------------------------------------------------ */

static insn_fn *const once[] = {
	insn_rdtsc, insn_rdtscp, insn_rdpmc, insn_rdmsr, insn_wrmsr,
	insn_cpuid, insn_mov_r_cr, insn_mov_cr_r, insn_mov_r_dr,
	insn_mov_dr_r, insn_invlpg, insn_invpcid, insn_lmsw, insn_clts,
	insn_xsetbv, insn_hlt, insn_wbinvd, insn_sti
};

bool
lockstep_alone(const struct insn *i)
{
	unsigned n;

	if (i->i_flags & (INSN_IO | INSN_REP | INSN_REPNE))
		return (true);
	for (n = 0; n < sizeof(once) / sizeof(once[0]); n++)
		if (i->i_exec == once[n])
			return (true);
	for (n = 0; n < 8; n++)
		if (i->i_exec == insn_rdrand[n / 2][n % 2] ||
		    i->i_exec == insn_rdseed[n / 2][n % 2])
			return (true);
	return (false);
}

/* A repetition can be done twice; it is alone because it may take more than
 * one execution. */
static bool
is_repetition(const struct cpu *c, struct block *b)
{
	unsigned flags = block_insns(c, b)->i_flags;

	return (b->b_count == 1 && (flags & INSN_IO) == 0 &&
	    flags & (INSN_REP | INSN_REPNE));
}

/* --- states --------------------------------------------------------------------------- */

static void
state_take(struct cpu *c, struct state *s, int left)
{
	const uint8_t *from = (const uint8_t *)c;
	uint8_t *to = (uint8_t *)&s->s_cpu;
	unsigned n;

	for (n = 0; n < PIECES; n++)
		memcpy(to + pieces[n].p_from, from + pieces[n].p_from,
		    pieces[n].p_to - pieces[n].p_from);
	s->s_request = atomic_load_explicit(&c->c_request,
	    memory_order_relaxed) & REQ_OWN;
	s->s_alone = c->c_alone;
	s->s_left = left;
}

static void
state_put(struct cpu *c, const struct state *s)
{
	const uint8_t *from = (const uint8_t *)&s->s_cpu;
	uint8_t *to = (uint8_t *)c;
	bool mode = c->c_cpl != s->s_cpu.c_cpl;
	unsigned n, jmode = c->c_jmode;

	for (n = 0; n < PIECES; n++)
		memcpy(to + pieces[n].p_from, from + pieces[n].p_from,
		    pieces[n].p_to - pieces[n].p_from);
	c->c_insn = NULL;
	c->c_block = NULL;
	c->c_alone = s->s_alone;
	c->c_fetching = false;
	mem_split_release(c);
	mmu_mode_update(c);
	if (mode || jmode != c->c_jmode)
		cpu_mode_update(c);
	if ((atomic_load_explicit(&c->c_request, memory_order_relaxed) &
	    REQ_OWN) != s->s_request) {
		atomic_fetch_and(&c->c_request, ~(unsigned)REQ_OWN);
		atomic_fetch_or(&c->c_request, s->s_request);
	}
}

/* --- comparing ----------------------------------------------------------------------------- */

/* By name, what the pieces hold that is compared. */
#define F(member)	{ #member, AT(member), sizeof(((struct cpu *)0)->member) }
#define SEG(n, name)							\
	{ name " selector", AT(c_seg[n].s_sel), 2 },			\
	{ name " base", AT(c_seg[n].s_base), 8 },			\
	{ name " limit", AT(c_seg[n].s_limit), 4 },			\
	{ name " rights", AT(c_seg[n].s_ar), 4 }
static const struct field {
	const char	*f_name;
	uint16_t	 f_at, f_size;
} fields[] = {
	{ "rax", AT(c_gpr[RAX]), 8 }, { "rcx", AT(c_gpr[RCX]), 8 },
	{ "rdx", AT(c_gpr[RDX]), 8 }, { "rbx", AT(c_gpr[RBX]), 8 },
	{ "rsp", AT(c_gpr[RSP]), 8 }, { "rbp", AT(c_gpr[RBP]), 8 },
	{ "rsi", AT(c_gpr[RSI]), 8 }, { "rdi", AT(c_gpr[RDI]), 8 },
	{ "r8", AT(c_gpr[R8]), 8 }, { "r9", AT(c_gpr[R9]), 8 },
	{ "r10", AT(c_gpr[R10]), 8 }, { "r11", AT(c_gpr[R11]), 8 },
	{ "r12", AT(c_gpr[R12]), 8 }, { "r13", AT(c_gpr[R13]), 8 },
	{ "r14", AT(c_gpr[R14]), 8 }, { "r15", AT(c_gpr[R15]), 8 },
	{ "rip", AT(c_rip), 8 }, { "rflags", AT(c_rflags), 8 },
	{ "mxcsr", AT(c_fpu.f_mxcsr), 4 },
	{ "fcw fsw ftw", AT(c_fpu), 5 },
	{ "st0", AT(c_fpu) + 32, 10 }, { "st1", AT(c_fpu) + 48, 10 },
	{ "st2", AT(c_fpu) + 64, 10 }, { "st3", AT(c_fpu) + 80, 10 },
	{ "st4", AT(c_fpu) + 96, 10 }, { "st5", AT(c_fpu) + 112, 10 },
	{ "st6", AT(c_fpu) + 128, 10 }, { "st7", AT(c_fpu) + 144, 10 },
	F(c_fpu.f_ymm[0]), F(c_fpu.f_ymm[1]), F(c_fpu.f_ymm[2]),
	F(c_fpu.f_ymm[3]), F(c_fpu.f_ymm[4]), F(c_fpu.f_ymm[5]),
	F(c_fpu.f_ymm[6]), F(c_fpu.f_ymm[7]), F(c_fpu.f_ymm[8]),
	F(c_fpu.f_ymm[9]), F(c_fpu.f_ymm[10]), F(c_fpu.f_ymm[11]),
	F(c_fpu.f_ymm[12]), F(c_fpu.f_ymm[13]), F(c_fpu.f_ymm[14]),
	F(c_fpu.f_ymm[15]),
	F(c_cpl), F(c_code64), F(c_code32), F(c_ssize),
	SEG(SEG_ES, "es"), SEG(SEG_CS, "cs"), SEG(SEG_SS, "ss"),
	SEG(SEG_DS, "ds"), SEG(SEG_FS, "fs"), SEG(SEG_GS, "gs"),
	SEG(SEG_LDTR, "ldtr"), SEG(SEG_TR, "tr"),
	F(c_gdtr.s_base), F(c_gdtr.s_limit), F(c_idtr.s_base),
	F(c_idtr.s_limit), F(c_cr0), F(c_cr2), F(c_cr3), F(c_cr4), F(c_efer),
	F(c_xcr0), F(c_dr), F(c_star), F(c_lstar), F(c_cstar), F(c_sfmask),
	F(c_kgsbase), F(c_sysenter_cs), F(c_sysenter_esp),
	F(c_sysenter_eip), F(c_tsc_aux),
	F(c_shadow_sti), F(c_shadow_ss), F(c_nmi_blocked), F(c_nmi_pending),
	F(c_dr6_pending), F(c_event.e_kind), F(c_soft_len),
};

/* Members of c_event that mean something with its kind. */
static const struct field event_fields[] = {
	F(c_event.e_vector), F(c_event.e_error), F(c_event.e_cr2),
	F(c_event.e_dr6),
};

static void
hex(char *to, size_t len, const uint8_t *from, unsigned n)
{
	static const char digit[] = "0123456789abcdef";

	for (; n-- > 0 && len > 2; len -= 2) {
		*to++ = digit[from[n] >> 4];
		*to++ = digit[from[n] & 15];
	}
	*to = '\0';
}

static bool
field_same(const struct lockstep *ls, const struct field *f, bool print)
{
	const uint8_t *i = (const uint8_t *)&ls->ls_before.s_cpu + f->f_at;
	const uint8_t *a = (const uint8_t *)&ls->ls_interp.s_cpu + f->f_at;
	const uint8_t *b = (const uint8_t *)&ls->ls_trans.s_cpu + f->f_at;
	char text[3][160];

	if (memcmp(a, b, f->f_size) == 0)
		return (true);
	if (print) {
		hex(text[0], sizeof(text[0]), i, f->f_size);
		hex(text[1], sizeof(text[1]), a, f->f_size);
		hex(text[2], sizeof(text[2]), b, f->f_size);
		log_warn("lockstep: %s: from %s interpreted %s translated %s",
		    f->f_name, text[0], text[1], text[2]);
	}
	return (false);
}

static bool
memory_same(const struct lockstep *ls, bool print)
{
	const struct write *w;
	char text[3][160];
	unsigned n;
	bool same = true;

	/* backwards: of writes that overlap, the last one counts */
	for (n = ls->ls_nwrites; n-- > 0;) {
		w = &ls->ls_write[n];
		if (memcmp(w->w_host, ls->ls_new + w->w_at, w->w_len) == 0)
			continue;
		same = false;
		if (!print)
			break;
		hex(text[0], sizeof(text[0]), ls->ls_old + w->w_at, w->w_len);
		hex(text[1], sizeof(text[1]), ls->ls_new + w->w_at, w->w_len);
		hex(text[2], sizeof(text[2]), w->w_host, w->w_len);
		log_warn("lockstep: %u bytes at host %p: from %s interpreted "
		    "%s translated %s", w->w_len, (void *)w->w_host, text[0],
		    text[1], text[2]);
	}
	return (same);
}

static bool
states_same(const struct lockstep *ls, bool print)
{
	const struct state *a = &ls->ls_interp, *b = &ls->ls_trans;
	const uint8_t *p = (const uint8_t *)&a->s_cpu;
	const uint8_t *q = (const uint8_t *)&b->s_cpu;
	bool same = true;
	unsigned n;

	for (n = 0; n < PIECES; n++)
		same &= memcmp(p + pieces[n].p_from, q + pieces[n].p_from,
		    pieces[n].p_to - pieces[n].p_from) == 0;
	if (!same) {
		/* some of that is padding, or says nothing */
		same = true;
		for (n = 0; n < sizeof(fields) / sizeof(fields[0]); n++)
			same &= field_same(ls, &fields[n], print);
		if (a->s_cpu.c_event.e_kind != EVENT_NONE)
			for (n = 0; n < sizeof(event_fields) /
			    sizeof(event_fields[0]); n++)
				same &= field_same(ls, &event_fields[n],
				    print);
	}
	if ((a->s_request ^ b->s_request) & (REQ_STEP | REQ_SHADOW) ||
	    a->s_alone != b->s_alone) {
		if (print)
			log_warn("lockstep: requests: interpreted %#x%s "
			    "translated %#x%s", a->s_request, a->s_alone ?
			    " alone" : "", b->s_request, b->s_alone ?
			    " alone" : "");
		same = false;
	}
	return (same);
}

static _Noreturn void
mismatch(struct cpu *c, struct block *b, const struct tblock *t)
{
	const struct insn *insn = block_insns(c, b);
	struct lockstep *ls = c->c_jit->j_lockstep;
	const uint8_t *p = b->b_bytes, *code;
	char text[64];
	unsigned n, k;

	log_warn("lockstep: a block of %u instructions at %#llx (mode %#x) "
	    "differs:", b->b_count, (unsigned long long)
	    ls->ls_before.s_cpu.c_rip, c->c_jmode);
	for (n = 0; n < b->b_count; n++) {
		for (k = 0; k < insn[n].i_len; k++)
			hex(text + k * 2, 4, p + k, 1);
		p += insn[n].i_len;
		log_warn("lockstep:   %-10s %s", insn_name(&insn[n]), text);
	}
	states_same(ls, true);
	memory_same(ls, true);
	log_warn("lockstep: left by %d interpreted, %d translated",
	    ls->ls_interp.s_left, ls->ls_trans.s_left);
	code = CODE_RX(c->c_jit, t->t_code);
	for (n = 0; n < t->t_size; n += 24) {
		for (k = 0; k < 24 && n + k < t->t_size; k++)
			hex(text + k * 2, 4, code + n + k, 1);
		log_warn("lockstep: code %4u %s", n, text);
	}
	c->c_run->er_exit = ENGINE_EXIT_ERROR;
	c->c_run->er_errno = ENOTRECOVERABLE;
	siglongjmp(c->c_jmp, JMP_LEAVE);
}

/* --- the journal ----------------------------------------------------------------------------- */

void
lockstep_write(struct cpu *c, void *host, unsigned len, bool code)
{
	struct lockstep *ls = c->c_jit->j_lockstep;
	struct write *w;

	if (ls->ls_overflow)
		return;
	if (code)
		siglongjmp(c->c_jmp, JMP_CODE);
	if (ls->ls_nwrites == WRITES_MAX || BYTES_MAX - ls->ls_nbytes < len) {
		ls->ls_overflow = true;
		return;
	}
	w = &ls->ls_write[ls->ls_nwrites++];
	w->w_host = host;
	w->w_len = len;
	w->w_at = ls->ls_nbytes;
	ls->ls_nbytes += len;
	memcpy(ls->ls_old + w->w_at, host, len);
}

static void
journal_begin(struct cpu *c)
{
	struct lockstep *ls = c->c_jit->j_lockstep;

	ls->ls_nwrites = ls->ls_nbytes = 0;
	ls->ls_overflow = false;
	c->c_tlb = ls->ls_tlb;
	c->c_journal = true;
}

static void
journal_end(struct cpu *c)
{
	c->c_journal = false;
	mmu_mode_update(c);	/* c_tlb */
}

/* Takes all writes back; keep: what was written is to be compared with. */
static void
journal_undo(struct lockstep *ls, bool keep)
{
	const struct write *w;
	unsigned n;

	for (n = 0; n < ls->ls_nwrites && keep; n++) {
		w = &ls->ls_write[n];
		memcpy(ls->ls_new + w->w_at, w->w_host, w->w_len);
	}
	for (n = ls->ls_nwrites; n-- > 0;) {
		w = &ls->ls_write[n];
		memcpy(w->w_host, ls->ls_old + w->w_at, w->w_len);
	}
}

/* --- executing -------------------------------------------------------------------------------- */

/* The first count instructions of b from number k on, as run_block() does. */
static void
block_execute(struct cpu *c, struct block *b, unsigned k, unsigned count)
{
	const struct insn *i, *insn = block_insns(c, b);

	c->c_block = b;
	for (; k < count; k++) {
		i = c->c_insn = &insn[k];
		c->c_rip += i->i_len;
		i->i_exec(c, i);
	}
	c->c_insn = NULL;
	c->c_insn_count += count;
	c->c_block = NULL;
	c->c_repeating = false;
}

static int
interpret(struct cpu *c, struct block *b, const struct tblock *t)
{
	uint64_t start = c->c_rip;
	int left;

	if ((left = sigsetjmp(c->c_jmp, 0)) != 0)
		return (left);
	do
		block_execute(c, b, 0, t->t_count);
	while (is_repetition(c, b) && c->c_rip == start);
	return (0);
}

/* Which instruction of t is at RIP, given that its first is at start? 0: none
 * but the first. */
static unsigned
inside(const struct cpu *c, const struct tblock *t, uint64_t start)
{
	const struct insn *insn = block_insns(c, t->t_block);
	uint64_t rip = start;
	unsigned k;

	for (k = 0; k < t->t_count; k++) {
		if (rip == c->c_rip)
			return (k);
		rip += insn[k].i_len;
	}
	return (0);
}

static int
translate(struct cpu *c, struct block *b, struct tblock *t)
{
	const struct lockstep *ls = c->c_jit->j_lockstep;
	uint64_t start = c->c_rip;
	unsigned k;
	int left;

	if ((left = sigsetjmp(c->c_jmp, 0)) != 0)
		return (left);
	do
		jit_enter_body(c, t);
	while (is_repetition(c, b) && c->c_rip == start);
	/* It may have been left early: something was requested. Where a fault
	 * is due that may be right before it. */
	if ((c->c_rip != ls->ls_interp.s_cpu.c_rip ||
	    ls->ls_interp.s_left != 0) && (k = inside(c, t, start)) != 0)
		block_execute(c, b, k, t->t_count);
	return (0);
}

void
jit_lockstep(struct cpu *c, struct block *b, struct tblock *t)
{
	struct lockstep *ls = c->c_jit->j_lockstep;
	sigjmp_buf outer;
	uint64_t count;
	unsigned tries;
	int left = 0;

	if (b->b_count == 1 && lockstep_alone(block_insns(c, b)) &&
	    !is_repetition(c, b)) {
		run_block(c, b);
		return;
	}
	state_take(c, &ls->ls_before, 0);
	memcpy(&outer, &c->c_jmp, sizeof(outer));
	for (tries = 0;; tries++) {
		journal_begin(c);
		left = interpret(c, b, t);
		journal_end(c);
		if (left == JMP_HOST || left == JMP_LEAVE || ls->ls_overflow) {
			/* that was it */
			break;
		}
		count = c->c_insn_count;
		state_take(c, &ls->ls_interp, left);
		journal_undo(ls, left != JMP_CODE);
		state_put(c, &ls->ls_before);
		if (left == JMP_CODE) {
			memcpy(&c->c_jmp, &outer, sizeof(outer));
			jit_enter_body(c, t);
			return;
		}
		left = translate(c, b, t);
		state_take(c, &ls->ls_trans, left);
		c->c_insn_count = count;
		if (left == JMP_HOST || left == JMP_LEAVE ||
		    (states_same(ls, false) && memory_same(ls, false)))
			break;
		if (tries == TRIES) {
			memcpy(&c->c_jmp, &outer, sizeof(outer));
			mismatch(c, b, t);
		}
		journal_undo(ls, false);
		state_put(c, &ls->ls_before);
	}
	c->c_jit->j_stats.js_compared += t->t_count;
	memcpy(&c->c_jmp, &outer, sizeof(outer));
	if (left != 0)
		siglongjmp(c->c_jmp, left);
}
