/*
 * Random sequences of instructions, by the interpreter and by the translator
 * (side.h). Each goes round a few times, so that it is translated and finds
 * its memory in the TLB; before an instruction that accesses memory its
 * address is put into its registers: near the ends of pages of all kinds.
 *
 *	sequences_test [--seed N] [--count N] [--length N] [--options WORDS]
 *
 * A sequence that fails is cut down to what it takes to fail.
 */
#include "side.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../insn/gen.h"
#include "engine/soft/cpu.h"
#include "engine/soft/decode.h"
#include "engine/soft/opcode.h"

#define REPORT_MAX	8
#define LENGTH_MAX	20
#define START		(CODE + 0x800u)
#ifdef __SANITIZE_ADDRESS__
#define COUNT		600
#else
#define COUNT		6000
#endif

static struct {
	uint64_t	seed;
	unsigned	count, length;
	const char	*options;
} opt = { .count = COUNT, .length = LENGTH_MAX };

static struct side interp, trans;
static struct shape *shapes, *plain;
static unsigned nshapes, nplain, ncomplete;

/* An instruction and what puts its operands in place. */
struct item {
	uint8_t		it_setup[4 * 10 + 16];
	unsigned	it_setup_len;
	struct oracle_insn it_insn;
	bool		it_rip;		/* its memory operand is RIP-relative */
	unsigned	it_disp;	/* where that displacement is */
	bool		it_relative;	/* branch with a displacement */
	unsigned	it_rel_size;
};

struct sequence {
	struct item	sq_item[LENGTH_MAX];
	unsigned	sq_count;
	bool		sq_compat;
	unsigned	sq_rounds;
	unsigned	sq_offset;	/* of START */
	struct oracle_state sq_in;
};

/* --- making ---------------------------------------------------------------------- */

static uint64_t
address(struct rng *r, unsigned size)
{
	unsigned near = rng_below(r, size + 2);

	switch (rng_below(r, 24)) {
	case 0:
		return (READONLY + 0x1000 - near);
	case 1:
		return (WINDOW + WINDOW_SIZE - near);
	case 2:
		return (SUPER - near);
	case 3:
		return (MMIO - near);
	case 4:
		return (MMIO + rng_below(r, 0x1000 - 64));
	case 5:
		return (SUPER + rng_below(r, 0x1000));
	case 6:
		return (ALIAS + CODE_PAGES * 0x1000 - rng_below(r, 64) - size);
	case 7:
		return (rng_next(r) >> rng_below(r, 40));
	case 8:
	case 9:
	case 10:
		return (WINDOW + 0x1000 - near);
	case 11:
		return (BEFORE_MMIO + 0x100 + rng_below(r, 0x800));
	default:
		return (WINDOW + rng_below(r, 0x1f00));
	}
}

static void
set(struct item *it, bool compat, unsigned reg, uint64_t value)
{
	uint8_t *p = it->it_setup + it->it_setup_len;

	if (compat) {
		p[0] = (uint8_t)(0xb8 | reg);
		memcpy(p + 1, &value, 4);
		it->it_setup_len += 5;
		return;
	}
	p[0] = (uint8_t)(0x48 | reg >> 3);
	p[1] = (uint8_t)(0xb8 | (reg & 7));
	memcpy(p + 2, &value, 8);
	it->it_setup_len += 10;
}

static unsigned
imm_size(const struct insn *i)
{
	switch (i->i_op->o_imm) {
	case IMM_B: case IMM_BS:
		return (1);
	case IMM_W:
		return (2);
	case IMM_Z:
		return (i->i_osize == 2 ? 2 : 4);
	default:
		return (0);
	}
}

static bool
is_stack(const struct insn *i)
{
	static const char *const name[] = { "push", "pop", "call", "ret",
	    "leave", "enter", "pushf", "popf", "pusha", "popa" };
	unsigned n;

	for (n = 0; n < sizeof(name) / sizeof(name[0]); n++)
		if (strcmp(i->i_op->o_name, name[n]) == 0)
			return (true);
	return (false);
}

/* Ends a sequence early, mostly: seldom is enough. */
static bool
is_rare(const struct insn *i)
{
	static const char *const name[] = { "hlt", "syscall", "sysenter",
	    "sysret", "sysexit", "int", "int1", "int3", "into", "iret", "retf",
	    "call far", "jmp far", "cli", "sti", "invlpg", "invpcid", "clts",
	    "lgdt", "lidt", "lldt", "ltr", "lmsw", "invd", "wbinvd", "rdmsr",
	    "wrmsr", "swapgs", "xsetbv", "rdpmc", "mov cr", "ud0", "ud1", "ud2",
	    "les", "lds", "lss", "lfs", "lgs", "xrstor", "fxrstor", "clac",
	    "stac", "popf", "mov sreg" };
	unsigned n;

	for (n = 0; n < sizeof(name) / sizeof(name[0]); n++)
		if (strcmp(i->i_op->o_name, name[n]) == 0)
			return (true);
	return (i->i_map == 0 && (i->i_opcode == 0x8e));
}

static bool
make_item(struct rng *r, const struct shape *sh, struct item *it)
{
	static struct oracle_state s;
	struct insn i;
	uint64_t target;
	unsigned size;
	bool compat = sh->sh_compat;

	memset(it, 0, sizeof(*it));
	if (!gen_insn(r, sh, &it->it_insn, &i))
		return (false);
	if (is_rare(&i) && rng_below(r, 40) != 0)
		return (false);
	if (i.i_op->o_imm == IMM_RELB || i.i_op->o_imm == IMM_RELZ) {
		it->it_relative = true;
		it->it_rel_size = i.i_op->o_imm == IMM_RELB ? 1 : 4;
	}
	size = i.i_op->o_msize != 0 && i.i_op->o_msize < MS_VL ?
	    i.i_op->o_msize : i.i_op->o_msize != 0 ? 32 : i.i_osize;
	if (i.i_flags & INSN_MEM && i.i_base == REG_RIP) {
		it->it_rip = true;
		it->it_disp = i.i_len - imm_size(&i) - 4;
	}
	if (i.i_flags & INSN_MEM && i.i_base < 16 &&
	    (i.i_op->o_rules & O_VSIB) == 0) {
		target = address(r, size);
		target -= i.i_seg == 4 ? 24 : i.i_seg == 5 ? 40 : 0;
		target -= (uint64_t)(int64_t)i.i_disp;
		if (i.i_index != REG_NONE) {
			uint64_t index = rng_below(r, 64);

			set(it, compat, i.i_index, index);
			target -= index << i.i_scale;
		}
		/* bit strings reach far */
		if (i.i_map == 1 && (i.i_opcode & 0xe7) == 0xa3 &&
		    i.i_reg != i.i_base && i.i_reg != i.i_index)
			set(it, compat, i.i_reg, rng_below(r, 512) - 256ul);
		set(it, compat, i.i_base, target);
	} else if (i.i_op->o_rules & O_VSIB && i.i_base < 16)
		set(it, compat, i.i_base, WINDOW + 0x800);
	if (i.i_op->o_rules & O_STRING) {
		gen_state(r, &it->it_insn, &i, &s);
		set(it, compat, RCX, rng_below(r, 24));
		set(it, compat, RSI, address(r, size * 4));
		set(it, compat, RDI, address(r, size * 4));
	} else if (strcmp(i.i_op->o_name, "xlat") == 0)
		set(it, compat, RBX, WINDOW + 0x200);
	else if (is_stack(&i) && rng_below(r, 4) == 0)
		set(it, compat, strcmp(i.i_op->o_name, "leave") == 0 ? RBP :
		    RSP, address(r, 8));
	return (true);
}

static void
make_sequence(struct rng *r, struct sequence *sq)
{
	const struct shape *sh;
	struct insn i;
	unsigned n, want = 1 + rng_below(r, opt.length), tries;

	memset(sq, 0, sizeof(*sq));
	sq->sq_compat = rng_below(r, 6) == 0;
	sq->sq_rounds = 2 + rng_below(r, 4);
	sq->sq_offset = rng_below(r, 4) == 0 ? 0x7c0 + rng_below(r, 64) :
	    rng_below(r, 64);
	for (n = tries = 0; n < want && tries < 1000; tries++) {
		/* integer instructions are a tenth of the shapes and most of
		 * what translators have trouble with */
		sh = rng_below(r, 2) ? &plain[rng_below(r, nplain)] :
		    &shapes[rng_below(r, nshapes)];
		if (sh->sh_compat != sq->sq_compat)
			continue;
		if (make_item(r, sh, &sq->sq_item[n]))
			n++;
	}
	sq->sq_count = n;
	insn_decode(sq->sq_item[0].it_insn.oi_bytes, 15,
	    soft_decode_mode(sq->sq_compat), &i);
	gen_state(r, &sq->sq_item[0].it_insn, &i, &sq->sq_in);
	if (rng_below(r, 4) != 0)
		sq->sq_in.os_gpr[RSP] = WINDOW + 0x1000 - rng_below(r, 32) * 8;
}

/* --- running ------------------------------------------------------------------------ */

/* Puts the sequence together; returns its length. */
static unsigned
lay_out(const struct sequence *sq, uint8_t *code)
{
	const uint32_t start = START + sq->sq_offset, counter = COUNTER;
	const struct item *it;
	uint8_t *p = code;
	unsigned n;
	int32_t d;

	for (n = 0; n < sq->sq_count; n++) {
		it = &sq->sq_item[n];
		memcpy(p, it->it_setup, it->it_setup_len);
		p += it->it_setup_len;
		memcpy(p, it->it_insn.oi_bytes, it->it_insn.oi_len);
		if (it->it_rip) {
			memcpy(&d, p + it->it_disp, 4);
			d -= (int32_t)(start + (uint32_t)(p - code) -
			    INSN_ADDR);
			memcpy(p + it->it_disp, &d, 4);
		}
		/* branches: over the next byte, which is a NOP */
		if (it->it_relative) {
			d = 1;
			memcpy(p + it->it_insn.oi_len - it->it_rel_size, &d,
			    it->it_rel_size);
			p[it->it_insn.oi_len] = 0x90;
			p++;
		}
		p += it->it_insn.oi_len;
	}
	/* sub dword [counter], 1; jnz start; out */
	memcpy(p, sq->sq_compat ? "\x83\x2d" : "\x83\x2c\x25",
	    sq->sq_compat ? 2 : 3);
	p += sq->sq_compat ? 2 : 3;
	memcpy(p, &counter, 4);
	p[4] = 1;
	p[5] = 0x0f;
	p[6] = 0x85;
	d = (int32_t)(code - (p + 11));
	memcpy(p + 7, &d, 4);
	p += 11;
	memcpy(p, (const uint8_t[]){ 0xe6, PORT_DONE, 0xf4 }, 3);
	return ((unsigned)(p + 3 - code));
}

static void
run_side(struct side *sd, const struct sequence *sq, const uint8_t *code,
    unsigned len, struct oracle_state *out)
{
	struct oracle_state in = sq->sq_in;
	uint32_t rounds = sq->sq_rounds;

	side_reset(sd);
	memset(sd->sd_ram + DATA_GPA, 0x5a, DATA_SIZE);
	memcpy(sd->sd_ram + DATA_GPA + 0x1000 + ACTIVE_A, in.os_a,
	    ACTIVE_A_SIZE);
	memcpy(sd->sd_ram + DATA_GPA + 0x1000 + ACTIVE_B, in.os_b,
	    ACTIVE_B_SIZE);
	memcpy(sd->sd_ram + DATA_GPA + 0x5010, &rounds, 4);
	side_put(sd, CODE_GPA + START - CODE + sq->sq_offset, code, len);
	in.os_rip = START + sq->sq_offset;
	side_load(sd, &in, sq->sq_compat ? SIDE_USER32 : SIDE_USER64);
	side_run(sd, out);
}

static bool
run_sequence(const struct sequence *sq, bool print)
{
	static struct oracle_state a, b;
	uint8_t code[2048];
	unsigned len = lay_out(sq, code);
	bool same;

	run_side(&interp, sq, code, len, &a);
	run_side(&trans, sq, code, len, &b);
	ncomplete += a.os_vector == VECTOR_NONE;
	same = side_same(&sq->sq_in, &a, &b, false) &&
	    side_same_memory(&interp, &trans, true, false);
	if (!same && print) {
		side_disassemble(code, len, START + sq->sq_offset,
		    sq->sq_compat);
		side_same(&sq->sq_in, &a, &b, true);
		side_same_memory(&interp, &trans, true, true);
	}
	return (same);
}

/* Takes away what the failure does not need. */
static void
cut_down(struct sequence *sq)
{
	static struct sequence less;
	unsigned n, tries;
	bool cut = true;

	while (cut && sq->sq_count > 1) {
		cut = false;
		for (n = 0; n < sq->sq_count; n++) {
			less = *sq;
			memmove(&less.sq_item[n], &less.sq_item[n + 1],
			    (less.sq_count - n - 1) * sizeof(struct item));
			less.sq_count--;
			/* once more: the first may be interpreted */
			for (tries = 0; tries < 2; tries++)
				if (!run_sequence(&less, false))
					break;
			if (tries < 2) {
				*sq = less;
				cut = true;
				break;
			}
		}
	}
}

static bool
is_plain(const struct shape *sh)
{
	return (sh->sh_op->o_reg != R_MM && sh->sh_op->o_rm != R_MM &&
	    (sh->sh_op->o_rules & (O_X87 | O_MXCSR)) == 0 &&
	    (sh->sh_op->o_reg & R_CLASS) < R_MM &&
	    (sh->sh_op->o_rm & R_CLASS) < R_MM && !sh->sh_vex);
}

static void
test_sequences(void **state)
{
	static struct sequence sq;
	unsigned n, failed = 0;
	struct rng r;

	(void)state;
	gen_repeatable();
	shapes = gen_shapes(&nshapes);
	assert_non_null(plain = calloc(nshapes, sizeof(*plain)));
	for (n = 0; n < nshapes; n++)
		if (is_plain(&shapes[n]))
			plain[nplain++] = shapes[n];
	side_new(&interp, "interp");
	side_new(&trans, opt.options);
	r.r_state = opt.seed | 1;
	gen_pool(&r);
	for (n = 0; n < opt.count && failed < REPORT_MAX; n++) {
		r.r_state = (opt.seed + n) * 0x9e3779b97f4a7c15u | 1;
		make_sequence(&r, &sq);
		if (run_sequence(&sq, false))
			continue;
		failed++;
		cut_down(&sq);
		printf("# sequence %u (--seed %llu --count 1):\n", n,
		    (unsigned long long)(opt.seed + n));
		if (run_sequence(&sq, true))
			printf("#   it does not fail again\n");
	}
	printf("# %u sequences, %u without a fault, %u failed, %s\n", n,
	    ncomplete, failed, opt.options);
	side_free(&interp);
	side_free(&trans);
	free(plain);
	assert_int_equal(failed, 0);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sequences),
	};
	struct timespec ts;
	int n;

	clock_gettime(CLOCK_REALTIME, &ts);
	opt.seed = (uint64_t)ts.tv_sec * 1000003 + (uint64_t)ts.tv_nsec;
	opt.options = side_options[0];
	for (n = 1; n + 1 < argc; n += 2) {
		if (strcmp(argv[n], "--seed") == 0)
			opt.seed = strtoull(argv[n + 1], NULL, 0);
		else if (strcmp(argv[n], "--count") == 0)
			opt.count = (unsigned)strtoul(argv[n + 1], NULL, 0);
		else if (strcmp(argv[n], "--length") == 0)
			opt.length = (unsigned)strtoul(argv[n + 1], NULL, 0);
		else if (strcmp(argv[n], "--options") == 0)
			opt.options = argv[n + 1];
		else
			break;
	}
	if (n < argc || opt.length < 1 || opt.length > LENGTH_MAX) {
		fprintf(stderr, "usage: sequences_test [--seed N] [--count N] "
		    "[--length N] [--options WORDS]\n");
		return (2);
	}
	printf("# seed %llu\n", (unsigned long long)opt.seed);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
