/*
 * The flow of control in translated code: entries, near branches (SDM vol. 2:
 * Jcc, JMP, CALL, RET, LOOPcc, JrCXZ), and how a block goes on (jit.h: CODE,
 * LINKS, THE JUMP CACHE, RETURN STACKS).
 *
 * 1. A branch whose target may have to be refused (not canonical) finds that
 *    out before its first effect: what is in the jump cache is canonical, what
 *    is in the same page as well, and the rest goes to MISS, which has the
 *    interpreter look (jit_miss()). RET alone has moved the stack pointer by
 *    then, and jit_miss() moves it back.
 * 2. Every cycle of guest code goes through a poll: what is not sure to go
 *    forward goes to t_poll or t_indirect. A return goes forward from its call,
 *    and its call went through a poll.
 * 3. A frame on a return stack says: for this return address, this is the code.
 *    That stays true whoever makes the guest return there, since a frame is
 *    dropped when its mode or the mapping changes, and whatever becomes of the
 *    code behind the call is up to the return point's link. A return point
 *    itself never fails: a call whose return address is not in its page, and
 *    may therefore not be canonical, makes no frame.
 * 4. Of the branches that go forward there is no cycle in 64-bit code, across
 *    pages either: they do not get over the end of the address space.
 *
 * Operands of 16 bits are the interpreter's.
 */
#include "engine/soft/jit/emit.h"
#include "engine/soft/mmu.h"

/* A target from here on may be an instruction that straddles pages. */
#define STRADDLES	(PAGE_SIZE - INSN_MAXLEN + 1)

/* Opcodes as emit.h wants them; /n of groups. */
#define OP_MOV_TO_RM	0x89
#define OP_MOV_TO_REG	0x8b
#define OP_MOV_RM_IMM	0xc7	/* /0 */
#define OP_MOVZX_W	0x0fb7
#define OP_LEA		0x8d
#define OP_CMP_RM_IMM8	0x83	/* /7 */
#define OP_NOT		0xf7	/* /2 */
#define OP_BRANCH_RM	0xff
#define BRANCH_CALL	2
#define BRANCH_JMP	4
#define OP_PUSH_IMM	0x68
#define OP_RET		0xc3
#define CC_NE		5
#define CC_E		4

/* Instructions that branch and push and pop addresses have this size. */
static unsigned
word_size(const struct tr *x)
{
	return (x->x_64 ? 8 : 4);
}

static bool
chained(const struct tr *x)
{
	return (!x->x_jit->j_opt.jo_nochain);
}

/* Is its linear address known now? */
static bool
embedded(const struct tr *x)
{
	return (x->x_t->t_va != NO_VA);
}

static uint64_t
embedded_va(const struct tr *x, int64_t off)
{
	uint64_t va = x->x_t->t_va + (uint64_t)off;

	return (x->x_64 ? va : (uint32_t)va);
}

static bool
in_page(int64_t off)
{
	return (off >= 0 && off < PAGE_SIZE);
}

/* Is off in the page, or else known to be canonical? */
static bool
canonical(const struct tr *x, int64_t off)
{
	return (in_page(off) || !x->x_64 ||
	    (embedded(x) && cpu_canonical(embedded_va(x, off))));
}

/* Offsets from the page to where i leads, and behind i. */
static int64_t
next_of(const struct tr *x, const struct insn *i)
{
	return ((int64_t)x->x_off + i->i_len);
}

/*
 * target_of:
 *	false if it is too far to be said, or known to be refused.
 */
static bool
target_of(const struct tr *x, const struct insn *i, int64_t *target)
{
	int64_t off = next_of(x, i) + (int64_t)i->i_imm;

	if (!x->x_64)
		off = (int32_t)(uint32_t)off;
	*target = off;
	return (i->i_osize == word_size(x) && off == (int32_t)off &&
	    (!embedded(x) || canonical(x, off)));
}

/* --- the jump cache ------------------------------------------------------------- */

static void
cold_byte(struct tr *x, const struct tr_cold *tc, unsigned thunk)
{
	e_call_thunk(x, thunk);
	e_byte(x, tc->tc_k);
}

static void
cold_miss(struct tr *x, struct tr_cold *tc)
{
	cold_byte(x, tc, THUNK_MISS);
}

/* jo_count: the instructions of the block are counted when it is entered. */
static void
count(struct tr *x)
{
	const uint32_t at = offsetof(struct cpu, c_insn_count);

	if (!x->x_jit->j_opt.jo_count)
		return;
	e_gs(x, OP_MOV_TO_REG, 8, H_T0, at);
	e_lea(x, H_T0, H_T0, x->x_t->t_count);
	e_gs(x, OP_MOV_TO_RM, 8, H_T0, at);
}

static void
cold_poll(struct tr *x, struct tr_cold *tc)
{
	cold_byte(x, tc, THUNK_POLL);
}

static void
miss(struct tr *x, uint8_t *from, unsigned k)
{
	tr_cold(x, from, cold_miss)->tc_k = (uint8_t)k;
}

/* T0 = index of T1. */
static void
probe_index(struct tr *x)
{
	e_rr(x, OP_MOVZX_W, 4, H_T0, H_T1);
}

/* Skips what comes next, up to e_patch8(), if the jump cache has T1. */
static uint8_t *
probe_key(struct tr *x)
{
	probe_index(x);
	e_gs_index(x, OP_MOV_TO_REG, 8, H_T0, H_T0, JC_KEY);
	e_rm(x, OP_LEA, 8, H_T0, H_T0, H_T1, 0, (int32_t)x->x_mode);
	return (e_jump8(x, E_JRCXZ));
}

/* To T1, which is in it. */
static void
probe_go(struct tr *x, unsigned how)
{
	probe_index(x);
	e_gs_index(x, OP_BRANCH_RM, 4, how, H_T0, JC_HOST);
}

/* To T1. */
static void
probe(struct tr *x, unsigned k)
{
	uint8_t *hit;

	if (!chained(x)) {
		miss(x, e_jump(x, E_JMP), k);
		return;
	}
	hit = probe_key(x);
	miss(x, e_jump(x, E_JMP), k);
	e_patch8(x, hit);
	probe_go(x, BRANCH_JMP);
}

/* The same inside a cold stub. */
static void
probe_cold(struct tr *x, const struct tr_cold *tc)
{
	uint8_t *hit;

	if (!chained(x)) {
		cold_byte(x, tc, THUNK_MISS);
		return;
	}
	hit = probe_key(x);
	cold_byte(x, tc, THUNK_MISS);
	e_patch8(x, hit);
	probe_go(x, BRANCH_JMP);
}

/*
 * Before a call to T1 does anything: it goes to MISS unless the jump cache has
 * T1; where there is none, unless T1 is canonical.
 */
static void
probe_first(struct tr *x)
{
	uint8_t *ok;

	if (chained(x)) {
		ok = probe_key(x);
	} else if (x->x_64) {
		/* T1 + 2^47 < 2^48, without flags */
		e_mov_imm(x, H_T0, 0x800000000000);
		e_rm(x, OP_LEA, 8, H_T0, H_T0, H_T1, 0, 0);
		e_byte(x, 0x48);		/* bswap rcx */
		e_byte(x, 0x0f);
		e_byte(x, 0xc9);
		e_rr(x, OP_MOVZX_W, 4, H_T0, H_T0);
		ok = e_jump8(x, E_JRCXZ);
	} else
		return;
	miss(x, e_jump(x, E_JMP), x->x_k | MISS_AGAIN);
	e_patch8(x, ok);
}

/* --- going on --------------------------------------------------------------------- */

static void
cold_probe(struct tr *x, struct tr_cold *tc)
{
	probe_cold(x, tc);
}

static void
cold_goto(struct tr *x, struct tr_cold *tc)
{
	e_code_va(x, H_T1, (int32_t)tc->tc_arg[0]);
	probe_cold(x, tc);
}

static void
cold_link(struct tr *x, struct tr_cold *tc)
{
	struct jit *j = x->x_jit;
	struct jit_link *l = &x->x_t->t_link[tc->tc_arg[0]];

	l->l_stub = (uint32_t)(x->x_p - j->j_rw);
	e_call_thunk(x, THUNK_LINK);
	e_long(x, (uint32_t)((uint8_t *)l - j->j_arena));
	if (l->l_probe) {
		e_code_va(x, H_T1, l->l_target);
		probe_cold(x, tc);
	}
}

/* T1 = linear address of target's page. */
static void
target_page(struct tr *x, int64_t target)
{
	e_code_va(x, H_T1, (int32_t)(target & ~(int64_t)PAGE_MASK));
}

/*
 * Of link n to target: goes on if T1, target's page, is mapped to what the link
 * leads to. Returns the rel32 of the jump if not.
 */
static uint8_t *
guard(struct tr *x, unsigned n, int64_t target)
{
	struct jit_link *l = &x->x_t->t_link[n];
	uint8_t *same, *fail;

	target_page(x, target);
	e_gs(x, OP_MOV_TO_REG, 8, H_T0, JT_CODES);
	l->l_guarded = true;
	l->l_stub = (uint32_t)(x->x_p - 4 - x->x_jit->j_rw);
	e_rm(x, OP_LEA, 8, H_T0, H_T0, H_T1, 0, 0);
	same = e_jump8(x, E_JRCXZ);
	fail = e_jump(x, E_JMP);
	e_patch8(x, same);
	return (fail);
}

/* That page, T1, is the current one, and goes there; how: E_JMP, E_CALL. */
static void
guarded(struct tr *x, unsigned n, unsigned how, const uint8_t *fail)
{
	struct jit *j = x->x_jit;
	uint8_t *site;

	e_gs(x, OP_MOV_TO_RM, 8, H_T1, C_PAGEVA);
	site = e_jump(x, how);
	/* until it is linked nobody gets here */
	e_patch(x, site, fail);
	x->x_t->t_link[n].l_site = (uint32_t)(site - j->j_rw);
}

/* Where a guard fails to. */
static void
cold_unguarded(struct tr *x, struct tr_cold *tc)
{
	e_code_va(x, H_T1, x->x_t->t_link[tc->tc_arg[0]].l_target);
	cold_byte(x, tc, THUNK_MISS);
}

/* k as for go(). */
static void
go_guarded(struct tr *x, unsigned n, int64_t target, unsigned k)
{
	uint8_t *fail = guard(x, n, target);
	struct tr_cold *tc;

	guarded(x, n, E_JMP, fail - 1);
	tc = tr_cold(x, fail, cold_unguarded);
	tc->tc_arg[0] = n;
	tc->tc_k = (uint8_t)k;
}

static void
cold_guarded(struct tr *x, struct tr_cold *tc)
{
	unsigned n = (unsigned)tc->tc_arg[0];

	go_guarded(x, n, x->x_t->t_link[n].l_target, tc->tc_k);
}

static void
link_init(struct jit_link *l, int64_t target, unsigned entry)
{
	l->l_target = (int32_t)target;
	l->l_entry = entry & 1;
	l->l_cross = !in_page(target);
}

/*
 * go:
 *	as tr_goto(); k: the branch for MISS, or the number of instructions.
 */
static void
go(struct tr *x, unsigned n, int64_t target, uint8_t *from, unsigned entry,
    unsigned k)
{
	struct jit_link *l = &x->x_t->t_link[n];
	struct tr_cold *tc;

	if (in_page(target) || embedded(x)) {
		if (from == NULL)
			from = e_jump(x, E_JMP);
		link_init(l, target, entry);
		l->l_probe = l->l_cross || target >= STRADDLES;
		l->l_site = (uint32_t)(from - x->x_jit->j_rw);
		tc = tr_cold(x, from, cold_link);
		tc->tc_arg[0] = n;
	} else if (chained(x)) {
		link_init(l, target, entry);
		if (from == NULL) {
			go_guarded(x, n, target, k);
			return;
		}
		tc = tr_cold(x, from, cold_guarded);
		tc->tc_arg[0] = n;
	} else if (from == NULL) {
		e_code_va(x, H_T1, (int32_t)target);
		probe(x, k);
		return;
	} else {
		tc = tr_cold(x, from, cold_goto);
		tc->tc_arg[0] = (uint64_t)target;
	}
	tc->tc_k = (uint8_t)k;
}

/* What comes behind the block. */
static void
go_on(struct tr *x, const struct insn *i)
{
	go(x, 0, next_of(x, i), NULL, LINK_BODY, x->x_k + 1);
}

/* The current branch goes to target. */
static void
go_branch(struct tr *x, unsigned n, int64_t target, uint8_t *from)
{
	bool forward = target > x->x_off && (in_page(target) || x->x_64);

	go(x, n, target, from, forward ? LINK_BODY : LINK_POLL, x->x_k);
}

void
tr_goto(struct tr *x, unsigned n, int64_t target, uint8_t *from)
{
	/* behind the block it is not a branch's */
	if (x->x_k >= x->x_t->t_count)
		go(x, n, target, from, LINK_BODY, x->x_k);
	else
		go_branch(x, n, target, from);
}

void
tr_indirect(struct tr *x)
{
	probe(x, x->x_k);
}

/* --- entries ---------------------------------------------------------------------- */

static void
cold_countdown(struct tr *x, struct tr_cold *tc)
{
	e_gs(x, OP_MOV_RM_IMM, 8, 0, C_COUNTDOWN);
	e_long(x, (uint32_t)tc->tc_arg[0]);
	cold_poll(x, tc);
}

/*
 * At least one of so many polls leaves: they count down, and what they start
 * with next is chosen here, differently in each translation.
 */
static void
entry_countdown(struct tr *x)
{
	uint64_t seed = x->x_jit->j_stats.js_translated * 0x9e3779b97f4a7c15;
	struct tr_cold *tc;
	uint8_t *zero, *go_in;

	e_gs(x, OP_MOV_TO_REG, 8, H_T0, C_COUNTDOWN);
	zero = e_jump8(x, E_JRCXZ);
	e_lea(x, H_T0, H_T0, -1);
	e_gs(x, OP_MOV_TO_RM, 8, H_T0, C_COUNTDOWN);
	go_in = e_jump8(x, E_JMP8);
	e_patch8(x, zero);
	tc = tr_cold(x, e_jump(x, E_JMP), cold_countdown);
	tc->tc_arg[0] = 1 + (seed >> 33) % x->x_jit->j_opt.jo_exits;
	tc->tc_k = 0;
	e_patch8(x, go_in);
}

/*
 * Where the client's writes are not reported, whoever enters a block compares
 * epochs first (block.h), and leaves to have its bytes compared.
 */
static void
entry_epoch(struct tr *x)
{
	uint8_t *same;

	e_mov_imm(x, H_T0, (uintptr_t)&x->x_block->b_epoch);
	e_rm(x, OP_MOV_TO_REG, 4, H_T0, H_T0, REG_NONE, 0, 0);
	e_gs(x, OP_MOV_TO_REG, 4, H_T1, offsetof(struct cpu, c_epoch_neg));
	e_rm(x, OP_LEA, 4, H_T0, H_T0, H_T1, 0, 0);
	same = e_jump8(x, E_JRCXZ);
	tr_cold(x, e_jump(x, E_JMP), cold_poll)->tc_k = 0;
	e_patch8(x, same);
}

void
tr_entries(struct tr *x)
{
	const struct jit_options *o = &x->x_jit->j_opt;
	struct tblock *t = x->x_t;
	uint8_t *go_in;

	/* t_indirect */
	if (!embedded(x)) {
		e_rm(x, OP_LEA, word_size(x), H_T1, H_T1, REG_NONE, 0,
		    -(int32_t)x->x_off);
		e_gs(x, OP_MOV_TO_RM, 8, H_T1, C_PAGEVA);
	}
	t->t_poll = (uint16_t)(x->x_p - x->x_start);
	if (o->jo_exits != 0)
		entry_countdown(x);
	if (o->jo_exact || x->x_live[0] != 0) {
		e_gs(x, OP_MOV_TO_REG, 4, H_T0, C_REQUEST);
		go_in = e_jump8(x, E_JRCXZ);
		tr_cold(x, e_jump(x, E_JMP), cold_poll)->tc_k = 0;
		e_patch8(x, go_in);
	} else {
		e_gs(x, OP_CMP_RM_IMM8, 4, 7, C_REQUEST);
		e_byte(x, 0);
		tr_cold(x, e_jump(x, CC_NE), cold_poll)->tc_k = 0;
	}
	t->t_body = (uint16_t)(x->x_p - x->x_start);
	if (x->x_jit->j_checked)
		entry_epoch(x);
	count(x);
}

/* --- direct jumps ------------------------------------------------------------------- */

bool
tr_jcc(struct tr *x, const struct insn *i)
{
	int64_t target;

	if (!target_of(x, i, &target))
		return (false);
	go_branch(x, 1, target, e_jump(x, i->i_opcode & 0xf));
	go_on(x, i);
	return (x->x_ended = true);
}

bool
tr_jmp(struct tr *x, const struct insn *i)
{
	int64_t target;

	if (!target_of(x, i, &target))
		return (false);
	go_branch(x, 0, target, NULL);
	return (x->x_ended = true);
}

/*
 * tr_loop:
 *	LOOP, LOOPE and LOOPNE. rCX goes down before the branch, so this one may
 *	not be refused: it stays in the page.
 */
bool
tr_loop(struct tr *x, const struct insn *i)
{
	int64_t target;
	uint8_t *zero;

	if (!target_of(x, i, &target) || !canonical(x, target) ||
	    i->i_asize < 4)
		return (false);
	e_rm(x, OP_LEA, i->i_asize, H_RCX, H_RCX, REG_NONE, 0, -1);
	e_mov(x, H_T0, H_RCX);
	zero = e_jump8(x, E_JRCXZ);
	go_branch(x, 1, target, e_jump(x, i->i_opcode == 0xe0 ? CC_NE :
	    i->i_opcode == 0xe1 ? CC_E : E_JMP));
	e_patch8(x, zero);
	go_on(x, i);
	return (x->x_ended = true);
}

bool
tr_jcxz(struct tr *x, const struct insn *i)
{
	uint8_t *taken, *not_taken;
	int64_t target;

	if (!target_of(x, i, &target) || i->i_asize < 4)
		return (false);
	e_rr(x, OP_MOV_TO_RM, i->i_asize, H_RCX, H_T0);
	taken = e_jump8(x, E_JRCXZ);
	not_taken = e_jump8(x, E_JMP8);
	e_patch8(x, taken);
	go_branch(x, 1, target, e_jump(x, E_JMP));
	e_patch8(x, not_taken);
	go_on(x, i);
	return (x->x_ended = true);
}

/* --- indirect jumps ------------------------------------------------------------------ */

/* T1 = the address in i's operand; false: the interpreter. */
static bool
load_target(struct tr *x, const struct insn *i)
{
	unsigned size = word_size(x), reg;

	if (i->i_osize != size)
		return (false);
	if (i->i_flags & INSN_MEM) {
		if (!e_ea_ok(x, i))
			return (false);
		e_operand(x, i, size, ENGINE_READ);
		e_rm(x, OP_MOV_TO_REG, size, H_T1, H_T0, H_T1, 0, 0);
		return (true);
	}
	reg = e_get(x, i->i_rm, H_T1);
	if (reg != H_T1 || size == 4)
		e_rr(x, OP_MOV_TO_RM, size, reg, H_T1);
	return (true);
}

bool
tr_jmp_rm(struct tr *x, const struct insn *i)
{
	if (!load_target(x, i))
		return (false);
	tr_indirect(x);
	return (x->x_ended = true);
}

/* --- calls and returns ------------------------------------------------------------------ */

/* Does a call before next make a frame? */
static bool
makes_frame(const struct tr *x, const struct insn *i)
{
	int64_t next = next_of(x, i);

	return (chained(x) && (embedded(x) ? canonical(x, next) :
	    in_page(next)));
}

/* Pushes the address at next, and the frame. */
static void
push_return(struct tr *x, int64_t next, bool frame)
{
	unsigned size = word_size(x);
	uint64_t va = embedded(x) ? embedded_va(x, next) : 0;
	bool known = embedded(x) &&
	    (size == 4 || va == (uint64_t)(int64_t)(int32_t)va);

	e_stack(x, -(int32_t)size, size, ENGINE_WRITE);
	if (known) {
		e_rm(x, OP_MOV_RM_IMM, size, 0, H_T0, H_T1, 0, 0);
		e_long(x, (uint32_t)va);
	} else {
		e_rm(x, OP_LEA, 8, H_T0, H_T0, H_T1, 0, 0);
		e_code_va(x, H_T1, (int32_t)next);
		e_rm(x, OP_MOV_TO_RM, size, H_T1, H_T0, REG_NONE, 0, 0);
	}
	e_stack_move(x, -(int32_t)size);
	if (!frame)
		return;
	if (known && ~va == (uint64_t)(int64_t)(int32_t)~va) {
		e_byte(x, OP_PUSH_IMM);
		e_long(x, (uint32_t)~va);
		return;
	}
	if (known)
		e_code_va(x, H_T1, (int32_t)next);
	e_rr(x, OP_NOT, 8, 2, H_T1);
	e_byte(x, 0x41);			/* push r11 */
	e_byte(x, 0x53);
}

/* Where a call's frame leads: behind it. T1 is its address, from RET. */
static void
return_point(struct tr *x, const struct insn *i)
{
	e_lea(x, H_RSP, H_RSP, 8);
	if (!embedded(x)) {
		e_rm(x, OP_LEA, word_size(x), H_T1, H_T1, REG_NONE, 0,
		    -(int32_t)next_of(x, i));
		e_gs(x, OP_MOV_TO_RM, 8, H_T1, C_PAGEVA);
	}
	go_on(x, i);
}

/* The call to T1, which probe_first() has let pass, has been pushed. */
static void
call_target(struct tr *x, const struct insn *i, bool frame)
{
	if (!chained(x)) {
		miss(x, e_jump(x, E_JMP), x->x_k + 1);
		return;
	}
	probe_go(x, frame ? BRANCH_CALL : BRANCH_JMP);
	if (frame)
		return_point(x, i);
}

/*
 * A guarded call. Where the guard fails MISS has it begun again, or the
 * interpreter execute it.
 */
static void
call_guarded(struct tr *x, const struct insn *i, int64_t target, bool frame)
{
	struct tr_cold *tc;
	uint8_t *fail;

	link_init(&x->x_t->t_link[1], target, LINK_POLL);
	fail = guard(x, 1, target);
	push_return(x, next_of(x, i), frame);
	target_page(x, target);
	guarded(x, 1, frame ? E_CALL : E_JMP, fail - 1);
	tc = tr_cold(x, fail, cold_unguarded);
	tc->tc_arg[0] = 1;
	tc->tc_k = (uint8_t)(x->x_k | MISS_AGAIN);
	if (frame)
		return_point(x, i);
}

bool
tr_call(struct tr *x, const struct insn *i)
{
	bool frame = makes_frame(x, i);
	int64_t target;

	if (!target_of(x, i, &target))
		return (false);
	if (i->i_imm == 0)
		frame = false;		/* asks for its address */
	if (!in_page(target) && !embedded(x) && chained(x)) {
		call_guarded(x, i, target, frame);
	} else if (!in_page(target) && !embedded(x)) {
		e_code_va(x, H_T1, (int32_t)target);
		probe_first(x);
		push_return(x, next_of(x, i), frame);
		e_code_va(x, H_T1, (int32_t)target);
		call_target(x, i, frame);
	} else {
		push_return(x, next_of(x, i), frame);
		go(x, 1, target, e_jump(x, frame ? E_CALL : E_JMP), LINK_POLL,
		    x->x_k + 1);
		if (frame)
			return_point(x, i);
	}
	return (x->x_ended = true);
}

bool
tr_call_rm(struct tr *x, const struct insn *i)
{
	bool frame = makes_frame(x, i);
	/* what the push changes: the target is kept meanwhile */
	bool keep = i->i_flags & INSN_MEM || i->i_rm == RSP;

	if (!load_target(x, i))
		return (false);
	if (keep)
		e_gs(x, OP_MOV_TO_RM, 8, H_T1, C_TARGET);
	probe_first(x);
	push_return(x, next_of(x, i), frame);
	if (keep)
		e_gs(x, OP_MOV_TO_REG, 8, H_T1, C_TARGET);
	else
		load_target(x, i);
	call_target(x, i, frame);
	return (x->x_ended = true);
}

bool
tr_ret(struct tr *x, const struct insn *i)
{
	unsigned size = word_size(x);
	uint8_t *hit;

	if (i->i_osize != size)
		return (false);
	e_stack(x, 0, size, ENGINE_READ);
	e_rm(x, OP_MOV_TO_REG, size, H_T1, H_T0, H_T1, 0, 0);
	e_stack_move(x, (int32_t)(size + i->i_imm));
	if (!chained(x)) {
		tr_indirect(x);
		return (x->x_ended = true);
	}
	e_rm(x, OP_MOV_TO_REG, 8, H_T0, H_RSP, REG_NONE, 0, 8);
	e_rm(x, OP_LEA, 8, H_T0, H_T0, H_T1, 0, 1);
	hit = e_jump8(x, E_JRCXZ);
	tr_cold(x, e_jump(x, E_JMP), cold_probe)->tc_k = (uint8_t)x->x_k;
	e_patch8(x, hit);
	e_byte(x, OP_RET);
	return (x->x_ended = true);
}
