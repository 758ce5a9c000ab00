/*
 * Every instruction of the opcode tables alone, by the interpreter and by the
 * translator, from the same random states (side.h): with an empty TLB, and
 * behind a prologue that has filled it.
 *
 *	shapes_test [--seed N] [--states N] [--only NAME] [--options WORDS]
 */
#include "side.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "../insn/gen.h"
#include "../lib/arguments.h"
#include "engine/soft/opcode.h"

#define REPORT_MAX	20
#ifdef __SANITIZE_ADDRESS__
#define STATES		6
#else
#define STATES		24
#endif

static struct {
	uint64_t	seed;
	unsigned	states;
	const char	*only, *options;
} opt = { .states = STATES };

static struct side interp, trans;

static void
absolute(uint8_t **p, const char *op, unsigned len, uint32_t addr)
{
	memcpy(*p, op, len);
	memcpy(*p + len, &addr, 4);
	*p += len + 4;
}

/* Fills the TLB of what instructions access, and changes nothing. */
static unsigned
prologue(uint8_t *code)
{
	uint8_t *p = code;

	/* xchg [addr], rax: there and back */
	absolute(&p, "\x48\x87\x04\x25", 4, WINDOW + 0x100);
	absolute(&p, "\x48\x87\x04\x25", 4, WINDOW + 0x100);
	absolute(&p, "\x48\x87\x04\x25", 4, WINDOW + 0x1100);
	absolute(&p, "\x48\x8b\x04\x25", 4, READONLY);
	absolute(&p, "\x48\x87\x04\x25", 4, WINDOW + 0x1100);
	return ((unsigned)(p - code));
}

static void
code_put(struct side *sd, const struct oracle_insn *oi, bool warm)
{
	static const uint8_t done[] = { 0xe6, PORT_DONE, 0xf4 };
	static const uint8_t target[] = { 0xe6, PORT_TARGET, 0xf4 };
	uint8_t code[0x1000];
	unsigned at = INSN_ADDR - CODE;

	memset(code, 0xf4, sizeof(code));
	if (warm)
		at -= prologue(code + 0x700);
	memmove(code + at, code + 0x700, INSN_ADDR - CODE - at);
	memcpy(code + INSN_ADDR - CODE, oi->oi_bytes, oi->oi_len);
	memcpy(code + INSN_ADDR - CODE + oi->oi_len, done, sizeof(done));
	memcpy(code + TARGET_ADDR - CODE, target, sizeof(target));
	code[0] = (uint8_t)at;		/* where it starts */
	code[1] = (uint8_t)(at >> 8);
	side_put(sd, CODE_GPA, code, sizeof(code));
}

static void
state_put(struct side *sd, const struct oracle_state *s, bool compat,
    uint64_t rip)
{
	struct oracle_state in = *s;

	in.os_rip = rip;
	memcpy(sd->sd_ram + DATA_GPA + 0x1000 + ACTIVE_A, s->os_a,
	    ACTIVE_A_SIZE);
	memcpy(sd->sd_ram + DATA_GPA + 0x1000 + ACTIVE_B, s->os_b,
	    ACTIVE_B_SIZE);
	side_load(sd, &in, compat ? SIDE_USER32 : SIDE_USER64);
}

static void
report(const struct oracle_insn *oi, const struct oracle_state *in,
    const struct oracle_state *a, const struct oracle_state *b, unsigned n,
    bool warm)
{
	printf("# state %u%s:\n", n, warm ? ", TLB filled" : "");
	side_disassemble(oi->oi_bytes, oi->oi_len, INSN_ADDR, oi->oi_compat);
	side_same_flags(in, a, b, trans.sd_exact, true);
	side_same_memory(&interp, &trans, false, true);
}

static bool
run_shape(struct rng *r, const struct shape *sh, bool print)
{
	static struct oracle_state in, a, b;
	struct oracle_insn oi;
	struct insn i;
	unsigned n, bad = 0;
	uint64_t rip = INSN_ADDR;
	bool warm = false;

	for (n = 0; n < opt.states; n++) {
		/* a new instruction now and then: most of its states are
		 * to find it translated */
		if (n % 8 == 0) {
			warm = !sh->sh_compat && (n & 8) != 0;
			if (!gen_insn(r, sh, &oi, &i))
				return (true);
			code_put(&interp, &oi, warm);
			code_put(&trans, &oi, warm);
			rip = CODE + interp.sd_ram[CODE_GPA] +
			    ((unsigned)interp.sd_ram[CODE_GPA + 1] << 8);
		}
		gen_state(r, &oi, &i, &in);
		if (i.i_flags & INSN_MEM && i.i_seg >= 4 && i.i_base < 16)
			in.os_gpr[i.i_base] -= i.i_seg == 4 ? 24 : 40;
		state_put(&interp, &in, oi.oi_compat, rip);
		state_put(&trans, &in, oi.oi_compat, rip);
		side_run(&interp, &a);
		side_run(&trans, &b);
		/* undefined flags are the host's, given the flags before: which
		 * are only right if somebody reads them */
		if (!trans.sd_exact) {
			a.os_rflags &= ~(uint64_t)i.i_op->o_undef;
			b.os_rflags &= ~(uint64_t)i.i_op->o_undef;
		}
		if (side_same_flags(&in, &a, &b, trans.sd_exact, false) &&
		    side_same_memory(&interp, &trans, false, false))
			continue;
		if (bad++ == 0 && print)
			report(&oi, &in, &a, &b, n, warm);
		memcpy(trans.sd_ram + DATA_GPA, interp.sd_ram + DATA_GPA,
		    DATA_SIZE);
		trans.sd_devices = interp.sd_devices;
	}
	if (bad != 0 && print)
		printf("# %s (map %u opcode %02x%s%s): %u of %u states "
		    "differ\n", sh->sh_op->o_name, sh->sh_map, sh->sh_opcode,
		    sh->sh_vex ? " VEX" : "", sh->sh_compat ? " 32-bit" : "",
		    bad, n);
	return (bad == 0);
}

static void
test_shapes(void **state)
{
	unsigned count, n, failed = 0, ran = 0;
	struct shape *sh;
	struct rng r;

	(void)state;
	gen_repeatable();
	sh = gen_shapes(&count);
	side_new(&interp, "interp");
	side_new(&trans, opt.options);
	r.r_state = opt.seed | 1;
	gen_pool(&r);
	for (n = 0; n < count; n++) {
		if (opt.only != NULL &&
		    strcmp(opt.only, sh[n].sh_op->o_name) != 0)
			continue;
		r.r_state = (opt.seed + n) * 0x9e3779b97f4a7c15u | 1;
		ran++;
		if (!run_shape(&r, &sh[n], failed < REPORT_MAX))
			failed++;
	}
	if (!side_same_memory(&interp, &trans, true, true))
		failed++;
	printf("# %u shapes of %u, %u failed, seed %llu, %s\n", ran, count,
	    failed, (unsigned long long)opt.seed, opt.options);
	side_free(&interp);
	side_print_counts(&trans);
	side_free(&trans);
	assert_int_equal(failed, 0);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shapes),
	};
	const struct argument table[] = {
		{ "seed", .a_u64 = &opt.seed },
		{ "states", .a_number = &opt.states },
		{ "only", .a_text = &opt.only },
		{ "options", .a_text = &opt.options },
		{ .a_name = NULL },
	};

	opt.seed = new_seed();
	opt.options = side_options[0];
	arguments(argc, argv, table);
	printf("# seed %llu\n", (unsigned long long)opt.seed);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
