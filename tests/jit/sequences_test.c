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
#include <string.h>

#include "../lib/arguments.h"
#include "engine/soft/cpu.h"
#include "engine/soft/decode.h"
#include "items.h"

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
static unsigned ncomplete, nlacked;

struct sequence {
	struct item	sq_item[LENGTH_MAX];
	unsigned	sq_count;
	bool		sq_compat;
	unsigned	sq_rounds;
	unsigned	sq_offset;	/* of START */
	struct oracle_state sq_in;
};

/* --- making ---------------------------------------------------------------------- */

static void
make_sequence(struct rng *r, struct sequence *sq)
{
	struct insn i;
	unsigned n, want = 1 + rng_below(r, opt.length), tries;

	memset(sq, 0, sizeof(*sq));
	sq->sq_compat = rng_below(r, 6) == 0;
	sq->sq_rounds = 2 + rng_below(r, 4);
	sq->sq_offset = rng_below(r, 4) == 0 ? 0x7c0 + rng_below(r, 64) :
	    rng_below(r, 64);
	for (n = tries = 0; n < want && tries < 1000; tries++)
		if (item_make(r, sq->sq_compat, &sq->sq_item[n]))
			n++;
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
	uint8_t *p = code;
	unsigned n;
	int32_t d;

	for (n = 0; n < sq->sq_count; n++)
		p += item_put(&sq->sq_item[n], p,
		    start + (uint32_t)(p - code));
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
	if (a.os_vector == VECTOR_LACKS) {
		nlacked++;
		return (true);
	}
	run_side(&trans, sq, code, len, &b);
	ncomplete += a.os_vector == VECTOR_NONE;
	same = side_same_flags(&sq->sq_in, &a, &b, trans.sd_exact, false) &&
	    side_same_memory(&interp, &trans, true, false);
	if (!same && print) {
		side_disassemble(code, len, START + sq->sq_offset,
		    sq->sq_compat);
		side_same_flags(&sq->sq_in, &a, &b, trans.sd_exact, true);
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

static void
test_sequences(void **state)
{
	static struct sequence sq;
	unsigned n, failed = 0;
	struct rng r;

	(void)state;
	side_new(&interp, "interp");
	side_new(&trans, opt.options);
	r.r_state = opt.seed | 1;
	/* KVM has a decoder of its own for them, which knows few instructions */
	items_setup(&r, strcmp(opt.options, "kvm") != 0);
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
	if (nlacked != 0)
		printf("# %u are for another CPU than the host's\n", nlacked);
	side_free(&interp);
	side_print_counts(&trans);
	side_free(&trans);
	assert_int_equal(failed, 0);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sequences),
	};
	const struct argument table[] = {
		{ "seed", .a_u64 = &opt.seed },
		{ "count", .a_number = &opt.count },
		{ "length", .a_number = &opt.length },
		{ "options", .a_text = &opt.options },
		{ .a_name = NULL },
	};

	opt.seed = new_seed();
	opt.options = side_options[0];
	arguments(argc, argv, table);
	if (opt.length < 1 || opt.length > LENGTH_MAX)
		opt.length = LENGTH_MAX;
	printf("# seed %llu\n", (unsigned long long)opt.seed);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
