/*
 * The verifier of translated code: decodes every translation anew, by another
 * decoder, and ends the program if there is anything in it that translated code
 * never needs. Linked with --wrap=jit_publish,--wrap=jit_translate it sees each
 * translation when it is complete; the product has no part of it.
 *
 * 1. Only instructions that can do nothing but compute, access memory and jump:
 *    nothing that enters or configures the system, touches a segment, or moves
 *    the host's stack but by calls, returns and their clean-up.
 * 2. Memory is struct cpu and its tables (GS, a constant; a table by an index
 *    that was cut to 16 bits), the return stack, or what T0 and T1 lead to
 *    after an address was taken from the TLB's or a trace's tables; and the
 *    epoch of its block.
 * 3. Jumps lead to instructions of the same translation, to thunks, to entries
 *    of other translations, or through the jump cache.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <Zydis/Zydis.h>

#include "verify.h"

#define SIZE_MAX_OF_ONE	(1u << 20)
#define ALL_OF		200000

void	__real_jit_publish(struct cpu *, struct tblock *);
void	__wrap_jit_publish(struct cpu *, struct tblock *);
struct tblock *__real_jit_translate(struct cpu *, struct block *, uint64_t);
struct tblock *__wrap_jit_translate(struct cpu *, struct block *, uint64_t);

struct verifier {
	struct jit	*v_jit;
	const struct tblock *v_t;
	uint32_t	 v_at;		/* code offset of the instruction */
	ZydisDecodedInstruction v_i;
	ZydisDecodedOperand v_op[ZYDIS_MAX_OPERAND_COUNT];
	bool		 v_trace;	/* v_t is one */
	bool		 v_cut;		/* RCX is a number of 16 bits */
	bool		 v_based;	/* T0 or T1 came from such a table */
	bool		 v_epoch;	/* RCX points to the block's epoch */
	/* where instructions begin; where jumps of this translation lead; by
	 * local() */
	uint8_t		*v_start, *v_target;
};

/* The number of a byte of the translation, its cold stubs behind the rest; -1:
 * it is not one of them. */
static int
local(const struct verifier *v, uint64_t code)
{
	const struct tblock *t = v->v_t;

	if (code - t->t_code < t->t_size)
		return ((int)(code - t->t_code));
	if (code - t->t_cold < t->t_cold_size)
		return ((int)(code - t->t_cold + t->t_size));
	return (-1);
}

static unsigned long long verified;

static void
verify_end(void)
{
	fprintf(stderr, "verifier: %llu translations\n", verified);
}

static _Noreturn void
bad(const struct verifier *v, const char *what)
{
	ZydisFormatter fmt;
	char text[128] = "?";
	unsigned n;

	ZydisFormatterInit(&fmt, ZYDIS_FORMATTER_STYLE_INTEL);
	ZydisFormatterFormatInstruction(&fmt, &v->v_i, v->v_op,
	    v->v_i.operand_count_visible, text, sizeof(text), v->v_at, NULL);
	fprintf(stderr, "verifier: %s at %d of %u: %s:", what,
	    local(v, v->v_at), v->v_t->t_size, text);
	for (n = 0; n < v->v_t->t_count; n++)
		if (v->v_t->t_off[n] <= v->v_at - v->v_t->t_code &&
		    v->v_at - v->v_t->t_code < v->v_t->t_off[n + 1])
			fprintf(stderr, " instruction %u (%s)", n,
			    v->v_trace ? "trace" :
			    v->v_t->t_block->b_decoded == NULL ? "forgotten" :
			    insn_name(&v->v_t->t_block->b_decoded[n]));
	for (n = 0; n < v->v_t->t_size; n++)
		fprintf(stderr, "%s%02x", n % 32 == 0 ? "\n" : "",
		    CODE_RX(v->v_jit, v->v_t->t_code)[n]);
	fprintf(stderr, "\n");
	fflush(stdout);
	/* not exit(): the status is this one, whatever has leaked */
	_exit(VERIFY_BAD);
}

/* --- 1: instructions ------------------------------------------------------------ */

static const ZydisInstructionCategory bad_category[] = {
	ZYDIS_CATEGORY_INTERRUPT, ZYDIS_CATEGORY_IO, ZYDIS_CATEGORY_IOSTRINGOP,
	ZYDIS_CATEGORY_SEGOP, ZYDIS_CATEGORY_STRINGOP, ZYDIS_CATEGORY_SYSCALL,
	ZYDIS_CATEGORY_SYSRET, ZYDIS_CATEGORY_VTX, ZYDIS_CATEGORY_XSAVE,
	ZYDIS_CATEGORY_XSAVEOPT, ZYDIS_CATEGORY_RDWRFSGS,
	ZYDIS_CATEGORY_INVALID
};
/* Among categories that are not bad as such. */
static const ZydisMnemonic bad_mnemonic[] = {
	ZYDIS_MNEMONIC_CPUID, ZYDIS_MNEMONIC_PUSHF, ZYDIS_MNEMONIC_PUSHFD,
	ZYDIS_MNEMONIC_PUSHFQ, ZYDIS_MNEMONIC_POPF, ZYDIS_MNEMONIC_POPFD,
	ZYDIS_MNEMONIC_POPFQ, ZYDIS_MNEMONIC_ENTER, ZYDIS_MNEMONIC_LEAVE,
	ZYDIS_MNEMONIC_CLI, ZYDIS_MNEMONIC_STI, ZYDIS_MNEMONIC_CLD,
	ZYDIS_MNEMONIC_STD, ZYDIS_MNEMONIC_STAC, ZYDIS_MNEMONIC_CLAC,
	ZYDIS_MNEMONIC_XLAT, ZYDIS_MNEMONIC_IRET, ZYDIS_MNEMONIC_IRETD,
	ZYDIS_MNEMONIC_IRETQ, ZYDIS_MNEMONIC_XGETBV, ZYDIS_MNEMONIC_XSETBV,
	ZYDIS_MNEMONIC_FXRSTOR, ZYDIS_MNEMONIC_FXRSTOR64,
	ZYDIS_MNEMONIC_FXSAVE, ZYDIS_MNEMONIC_FXSAVE64, ZYDIS_MNEMONIC_HLT,
	ZYDIS_MNEMONIC_RDPKRU, ZYDIS_MNEMONIC_WRPKRU
};
/* Of ZYDIS_CATEGORY_SYSTEM these alone. */
static const ZydisMnemonic good_system[] = {
	ZYDIS_MNEMONIC_RDTSC, ZYDIS_MNEMONIC_RDTSCP, ZYDIS_MNEMONIC_RDPID
};

static bool
is_good_system(ZydisMnemonic m)
{
	unsigned n;

	for (n = 0; n < sizeof(good_system) / sizeof(good_system[0]); n++)
		if (m == good_system[n])
			return (true);
	return (false);
}

static void
verify_kind(const struct verifier *v)
{
	const ZydisDecodedInstruction *i = &v->v_i;
	unsigned n;

	for (n = 0; n < sizeof(bad_category) / sizeof(bad_category[0]); n++)
		if (i->meta.category == bad_category[n])
			bad(v, "an instruction of a forbidden kind");
	for (n = 0; n < sizeof(bad_mnemonic) / sizeof(bad_mnemonic[0]); n++)
		if (i->mnemonic == bad_mnemonic[n])
			bad(v, "a forbidden instruction");
	if (i->meta.category == ZYDIS_CATEGORY_SYSTEM &&
	    !is_good_system(i->mnemonic))
		bad(v, "a system instruction");
	if (i->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
		bad(v, "a far branch");
	if (i->mnemonic == ZYDIS_MNEMONIC_RET && i->operand_count_visible != 0)
		bad(v, "a return that takes arguments");
}

/* --- 2: operands ------------------------------------------------------------------ */

static bool
is_scratch(ZydisRegister r)
{
	return (r == ZYDIS_REGISTER_RCX || r == ZYDIS_REGISTER_R11);
}

static bool
is_stack_op(ZydisMnemonic m)
{
	return (m == ZYDIS_MNEMONIC_PUSH || m == ZYDIS_MNEMONIC_POP ||
	    m == ZYDIS_MNEMONIC_CALL || m == ZYDIS_MNEMONIC_RET);
}

static void
verify_memory(const struct verifier *v, const ZydisDecodedOperand *o)
{
	ZydisRegister base = o->mem.base, index = o->mem.index;
	int64_t disp = o->mem.disp.has_displacement ? o->mem.disp.value : 0;
	bool fixed = base == ZYDIS_REGISTER_NONE;

	if (o->mem.segment == ZYDIS_REGISTER_GS) {
		if (!fixed || disp < 0 || disp + 64 > JIT_AREA_SIZE)
			bad(v, "an access outside struct cpu and its tables");
		if (index == ZYDIS_REGISTER_NONE)
			return;
		if (index != ZYDIS_REGISTER_RCX || o->mem.scale != 8 ||
		    !v->v_cut || disp < JIT_TABLES ||
		    (disp - JIT_TABLES) % JT_SIZE != 0 || disp > JC_HOST)
			bad(v, "an index that may be anything");
		return;
	}
	if (o->mem.segment != ZYDIS_REGISTER_DS &&
	    o->mem.segment != ZYDIS_REGISTER_SS)
		bad(v, "a segment");
	if (base == ZYDIS_REGISTER_RSP) {
		if (o->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN ?
		    !is_stack_op(v->v_i.mnemonic) :
		    index != ZYDIS_REGISTER_NONE || disp < 0 || disp > 8)
			bad(v, "an access to the host's stack");
		return;
	}
	if (v->v_epoch && base == ZYDIS_REGISTER_RCX &&
	    index == ZYDIS_REGISTER_NONE && disp == 0 && o->size == 32)
		return;
	/* T0, T1, or both; in traces one of them and a guest's register */
	if (!v->v_based)
		bad(v, "an access without an address from a table");
	if (is_scratch(base) && (index == ZYDIS_REGISTER_NONE ||
	    is_scratch(index)))
		return;
	if (!v->v_trace || !(is_scratch(base) || is_scratch(index)))
		bad(v, "an access through a guest's register");
}

static void
verify_operands(const struct verifier *v)
{
	const ZydisDecodedInstruction *i = &v->v_i;
	const ZydisDecodedOperand *o;
	unsigned n;

	for (n = 0; n < i->operand_count; n++) {
		o = &v->v_op[n];
		if (o->type == ZYDIS_OPERAND_TYPE_MEMORY &&
		    o->mem.type != ZYDIS_MEMOP_TYPE_AGEN)
			verify_memory(v, o);
		if (o->type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		switch (ZydisRegisterGetClass(o->reg.value)) {
		case ZYDIS_REGCLASS_SEGMENT:
		case ZYDIS_REGCLASS_CONTROL:
		case ZYDIS_REGCLASS_DEBUG:
		case ZYDIS_REGCLASS_TABLE:
			bad(v, "a system register");
		default:
			break;
		}
		if (ZydisRegisterGetLargestEnclosing(
		    ZYDIS_MACHINE_MODE_LONG_64, o->reg.value) ==
		    ZYDIS_REGISTER_RSP &&
		    o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE &&
		    !is_stack_op(i->mnemonic) &&
		    !(i->mnemonic == ZYDIS_MNEMONIC_LEA &&
		    v->v_op[1].mem.base == ZYDIS_REGISTER_RSP &&
		    v->v_op[1].mem.index == ZYDIS_REGISTER_NONE &&
		    v->v_op[1].mem.disp.value == 8))
			bad(v, "the host's stack pointer changes");
	}
}

/* What the instruction makes of T0 and T1. */
static void
follow(struct verifier *v)
{
	const ZydisDecodedInstruction *i = &v->v_i;
	const ZydisDecodedOperand *to = &v->v_op[0], *o;
	unsigned n;
	int64_t disp;

	for (n = 0; n < i->operand_count; n++) {
		o = &v->v_op[n];
		if (o->type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE &&
		    ZydisRegisterGetLargestEnclosing(
		    ZYDIS_MACHINE_MODE_LONG_64, o->reg.value) ==
		    ZYDIS_REGISTER_RCX)
			v->v_cut = false;
	}
	if (i->mnemonic == ZYDIS_MNEMONIC_MOVZX &&
	    to->reg.value == ZYDIS_REGISTER_ECX && v->v_op[1].size == 16)
		v->v_cut = true;
	v->v_epoch = i->mnemonic == ZYDIS_MNEMONIC_MOV &&
	    to->reg.value == ZYDIS_REGISTER_RCX &&
	    v->v_op[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
	    v->v_op[1].imm.value.u ==
	    (uintptr_t)&v->v_t->t_block->b_epoch;
	if (i->operand_count_visible < 2 ||
	    to->type != ZYDIS_OPERAND_TYPE_REGISTER ||
	    !is_scratch(to->reg.value))
		return;
	o = &v->v_op[1];
	if (o->type != ZYDIS_OPERAND_TYPE_MEMORY ||
	    o->mem.segment != ZYDIS_REGISTER_GS)
		return;
	disp = o->mem.disp.value;
	for (n = 0; n < JT_CLASSES; n++)
		if (disp == JT_HOST(n))
			v->v_based = true;
	if (disp >= JT_SLOTS && disp < JT_LOGS && (disp - JT_SLOTS) % 16 == 8)
		v->v_based = true;
}

/* --- 3: jumps ---------------------------------------------------------------------- */

static bool
is_entry(const struct tblock *t, uint32_t off)
{
	unsigned k;

	if (off == 0 || off == t->t_poll || off == t->t_body)
		return (true);
	for (k = 0; k <= t->t_count; k++)
		if (t->t_off[k] == off)
			return (true);
	return (false);
}

/* Bytes of data that follow a call of the thunk; -1: a jump and a byte. */
static const int after_thunk[THUNK_COUNT] = {
	[THUNK_SLOW] = -1, [THUNK_LINK] = 4, [THUNK_POLL] = 1, [THUNK_MISS] = 1
};

static const struct tblock *
find(const struct verifier *v, uint32_t at)
{
	const struct tblock *t;

	for (t = jit_chunk(v->v_jit, at); t != NULL; t = t->t_later)
		if (at >= t->t_code && at < t->t_code + t->t_size)
			return (t);
	return (NULL);
}

/* Returns the bytes of data that come next. */
static int
verify_jump(struct verifier *v)
{
	const ZydisDecodedOperand *o = &v->v_op[0];
	const struct tblock *t;
	uint64_t to;
	int own;

	if (v->v_i.mnemonic == ZYDIS_MNEMONIC_RET)
		return (0);
	if (o->type != ZYDIS_OPERAND_TYPE_IMMEDIATE) {
		if (o->type != ZYDIS_OPERAND_TYPE_MEMORY ||
		    o->mem.segment != ZYDIS_REGISTER_GS ||
		    o->mem.disp.value != JC_HOST ||
		    o->mem.index != ZYDIS_REGISTER_RCX)
			bad(v, "a jump to anywhere");
		return (0);
	}
	to = v->v_at + v->v_i.length + (uint64_t)o->imm.value.s;
	if (to < THUNK_AT(THUNK_COUNT)) {
		if (to % 16 != 0)
			bad(v, "a jump into a thunk");
		return (v->v_i.mnemonic == ZYDIS_MNEMONIC_CALL ?
		    after_thunk[to / 16] : 0);
	}
	if ((own = local(v, to)) >= 0) {
		v->v_target[own] = 1;
		return (0);
	}
	if (to >= v->v_jit->j_size || (t = find(v, (uint32_t)to)) == NULL ||
	    !is_entry(t, (uint32_t)to - t->t_code))
		bad(v, "a jump to what is no entry");
	return (0);
}

/* --- a translation -------------------------------------------------------------------- */

/* Does an instruction of the guest's begin here, or the cold stubs? */
static bool
begins(const struct tblock *t, uint32_t at)
{
	unsigned k;

	for (k = 0; k <= t->t_count; k++)
		if (t->t_off[k] == at)
			return (true);
	return (false);
}

static void
verify_range(struct verifier *v, uint32_t from, uint32_t size)
{
	const struct tblock *t = v->v_t;
	ZydisDecoder dec;
	uint32_t at;
	int data = 0;

	ZydisDecoderInit(&dec, ZYDIS_MACHINE_MODE_LONG_64,
	    ZYDIS_STACK_WIDTH_64);
	for (at = from; at < from + size; at += v->v_i.length) {
		v->v_at = at;
		/* each checks for itself, but in traces and in frames */
		if (!v->v_trace && t->t_frames == 0 && from == t->t_code &&
		    begins(t, at - from))
			v->v_based = false;
		if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&dec,
		    CODE_RX(v->v_jit, at), from + size - at, &v->v_i,
		    v->v_op)))
			bad(v, "what is no instruction");
		v->v_start[local(v, at)] = 1;
		verify_kind(v);
		verify_operands(v);
		follow(v);
		if (data == -1 && v->v_i.mnemonic != ZYDIS_MNEMONIC_JMP)
			bad(v, "no jump behind SLOW");
		if (data == -1)
			at += 1;
		data = 0;
		if (v->v_i.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE)
			data = verify_jump(v);
		if (data > 0) {
			at += (uint32_t)data;
			data = 0;
		}
	}
}

void
verify(struct jit *j, const struct tblock *t, bool trace)
{
	static uint8_t start[SIZE_MAX_OF_ONE], target[SIZE_MAX_OF_ONE];
	struct verifier v = { .v_jit = j, .v_t = t, .v_trace = trace,
	    .v_start = start, .v_target = target };
	uint32_t n, all = t->t_size + t->t_cold_size;

	if (verified++ == 0)
		atexit(verify_end);
	if (all > SIZE_MAX_OF_ONE)
		bad(&v, "its size");
	memset(start, 0, all);
	memset(target, 0, all);
	verify_range(&v, t->t_code, t->t_size);
	v.v_based = true;	/* stubs go on where they came from */
	verify_range(&v, t->t_cold, t->t_cold_size);
	for (n = 0; n < all; n++)
		if (target[n] && !start[n]) {
			v.v_at = n < t->t_size ? t->t_code + n :
			    t->t_cold + n - t->t_size;
			bad(&v, "a jump into an instruction");
		}
}

/* jit_translate() makes what is not a trace. A VCPU's thread. */
static _Thread_local bool first_tier;

struct tblock *
__wrap_jit_translate(struct cpu *c, struct block *b, uint64_t linear)
{
	struct tblock *t;

	first_tier = true;
	t = __real_jit_translate(c, b, linear);
	first_tier = false;
	return (t);
}

void
__wrap_jit_publish(struct cpu *c, struct tblock *t)
{
	static atomic_ulong count;
	unsigned long n = atomic_fetch_add(&count, 1);

	__real_jit_publish(c, t);
	/* all of a guest's boot; of a test that translates the same over and
	 * over, some */
	if (n < ALL_OF || n % 32 == 0)
		verify(c->c_jit, t, !first_tier);
}
