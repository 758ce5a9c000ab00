/*
 * Every instruction of the opcode tables that can run in user mode, on the
 * host's CPU and on the engine, from the same random states: all registers,
 * all flags (undefined ones too), the x87 image, memory and faults must come
 * out the same.
 *
 *	insn_test			INSN_STATES (1000; less under a
 *					sanitizer) states for each shape: row of
 *					the tables, operand form, size, prefix
 *	insn_test --forever		until killed
 *	--seed N  --states N  --only NAME  --verbose
 *	--every N			of N shapes one, another for each seed
 *	--engine WORDS			as tests/lib/engine_options.h has them,
 *					or VMM_TEST_ENGINE, or interp
 *	--against WORDS			that engine as well
 *
 * With a second engine the two must agree. The second may differ from the
 * first only where the host's CPU does, and must then agree with that: KVM on
 * an emulated CPU (tests/lib/emulated.h) has that one's faults, and the CPU
 * shows them without KVM too.
 */
#include "oracle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <Zydis/Zydis.h>

#include "../lib/arguments.h"
#include "../lib/emulated.h"
#include "engine/soft/cpu.h"
#include "engine/soft/handlers.h"
#include "engine/soft/opcode.h"
#include "gen.h"

#define REPORT_MAX	40	/* shapes reported in full */
#ifdef __SANITIZE_ADDRESS__
#define STATES		50	/* a shape */
#else
#define STATES		1000
#endif

static struct {
	uint64_t	seed;
	unsigned	states, every;
	const char	*only, *engine, *against;
	bool		forever, verbose;
} opt = { .states = STATES, .every = 1 };

static struct oracle_state soft[BATCH], other[BATCH];
static uint8_t win_soft[WINDOW_SIZE], win_other[WINDOW_SIZE];
static bool windows_compared = true;

/* --- differences ---------------------------------------------------------------- */

static const char *const gpr_name[16] = { "rax", "rcx", "rdx", "rbx", "rsp",
    "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15" };

static void
differ_bytes(const char *what, const uint8_t *i, const uint8_t *a,
    const uint8_t *b, unsigned len)
{
	unsigned n;

	if (memcmp(a, b, len) == 0)
		return;
	printf("#     %-8s in     ", what);
	for (n = len; n-- > 0;)
		printf("%02x%s", i[n], n % 8 == 0 ? " " : "");
	printf("\n#     %-8s native ", what);
	for (n = len; n-- > 0;)
		printf("%02x%s", a[n], n % 8 == 0 ? " " : "");
	printf("\n#     %-8s engine ", what);
	for (n = len; n-- > 0;)
		printf("%02x%s", b[n], n % 8 == 0 ? " " : "");
	printf("\n");
}

static void
differ_word(const char *what, uint64_t i, uint64_t a, uint64_t b)
{
	if (a == b)
		return;
	printf("#     %-8s in %#llx native %#llx engine %#llx\n", what,
	    (unsigned long long)i, (unsigned long long)a,
	    (unsigned long long)b);
}

/* Prints how a and b, which came from i, differ. */
static void
differ(const struct oracle_state *i, const struct oracle_state *a,
    const struct oracle_state *b)
{
	static const struct {
		const char *name;
		unsigned off, len;
	} x87[] = {
		{ "fcw", 0, 2 }, { "fsw", 2, 2 }, { "ftw", 4, 1 },
		{ "fop", 6, 2 }, { "fip", 8, 8 }, { "fdp", 16, 8 },
		{ "mxcsr", 24, 4 },
	};
	unsigned n;
	char name[8];

	differ_word("vector", VECTOR_NONE, a->os_vector,
	    b->os_vector);
	differ_word("error", 0, a->os_error, b->os_error);
	differ_word("cr2", 0, a->os_cr2, b->os_cr2);
	differ_word("rip", 0, a->os_rip, b->os_rip);
	for (n = 0; n < 16; n++)
		differ_word(gpr_name[n], i->os_gpr[n],
		    a->os_gpr[n], b->os_gpr[n]);
	differ_word("flags", i->os_rflags & FLAGS_COMPARED,
	    a->os_rflags & FLAGS_COMPARED, b->os_rflags & FLAGS_COMPARED);
	for (n = 0; n < sizeof(x87) / sizeof(x87[0]); n++)
		differ_bytes(x87[n].name,
		    i->os_xstate + x87[n].off, a->os_xstate + x87[n].off,
		    b->os_xstate + x87[n].off, x87[n].len);
	for (n = 0; n < 8; n++) {
		snprintf(name, sizeof(name), "st%u", n);
		differ_bytes(name, i->os_xstate + 32 + n * 16,
		    a->os_xstate + 32 + n * 16, b->os_xstate + 32 + n * 16,
		    10);
	}
	for (n = 0; n < 16; n++) {
		snprintf(name, sizeof(name), "xmm%u", n);
		differ_bytes(name, i->os_xstate + 160 + n * 16,
		    a->os_xstate + 160 + n * 16, b->os_xstate + 160 + n * 16,
		    16);
		snprintf(name, sizeof(name), "ymmh%u", n);
		differ_bytes(name, i->os_xstate + 576 + n * 16,
		    a->os_xstate + 576 + n * 16, b->os_xstate + 576 + n * 16,
		    16);
	}
	for (n = 0; n < ACTIVE_A_SIZE; n += 16) {
		snprintf(name, sizeof(name), "a+%u", n);
		differ_bytes(name, i->os_a + n, a->os_a + n,
		    b->os_a + n, 16);
	}
	for (n = 0; n < ACTIVE_B_SIZE; n += 16) {
		snprintf(name, sizeof(name), "b+%u", n);
		differ_bytes(name, i->os_b + n, a->os_b + n,
		    b->os_b + n, 16);
	}
}

/* --- one shape -------------------------------------------------------------------- */

static void
describe(const struct oracle_insn *oi, char *text, size_t len)
{
	ZydisDecoder dec;
	ZydisFormatter fmt;
	ZydisDecodedInstruction zi;
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	unsigned n, used = 0;

	for (n = 0; n < oi->oi_len; n++)
		used += (unsigned)snprintf(text + used, len - used, "%02x ",
		    oi->oi_bytes[n]);
	ZydisDecoderInit(&dec, oi->oi_compat ?
	    ZYDIS_MACHINE_MODE_LONG_COMPAT_32 : ZYDIS_MACHINE_MODE_LONG_64,
	    oi->oi_compat ? ZYDIS_STACK_WIDTH_32 : ZYDIS_STACK_WIDTH_64);
	ZydisFormatterInit(&fmt, ZYDIS_FORMATTER_STYLE_INTEL);
	if (ZYAN_SUCCESS(ZydisDecoderDecodeFull(&dec, oi->oi_bytes, oi->oi_len,
	    &zi, ops)))
		ZydisFormatterFormatInstruction(&fmt, &zi, ops,
		    zi.operand_count_visible, text + used, len - used,
		    INSN_ADDR, NULL);
	else
		snprintf(text + used, len - used, "(not for Zydis)");
}

/* Linux's TASK_SIZE_MAX: from here on addresses are the kernel's to it. */
#define USER_END	0x7ffffffff000u

/*
 * What legitimately differs: see each line.
 */
static void
reconcile(const struct insn *i, struct oracle_state *a, struct oracle_state *b)
{

#ifdef __SANITIZE_ADDRESS__
	/* The host has the sanitizer's shadow memory at these addresses. */
	windows_compared = false;
	if (b->os_vector == 14 && b->os_cr2 >= 0x7fff7000u &&
	    b->os_cr2 < 0x100080000000u)
		*b = *a;
#endif
	/* For kernel addresses the host's system hides why. */
	if (a->os_vector == 14 && b->os_vector == 14 &&
	    a->os_cr2 >= USER_END)
		b->os_error = a->os_error;
	/* Which operand of CMPS is read first is the CPU's business, and may
	 * depend on its size and prefix. */
	if (strcmp(i->i_op->o_name, "cmps") == 0 && a->os_vector >= 13 &&
	    a->os_vector <= 14 && b->os_vector >= 13 && b->os_vector <= 14) {
		b->os_vector = a->os_vector;
		b->os_error = a->os_error;
		b->os_cr2 = a->os_cr2;
	}
	/* PUSHA's eight stores have no order. */
	if (strcmp(i->i_op->o_name, "pusha") == 0 && a->os_vector == 14 &&
	    b->os_vector == 14)
		b->os_cr2 = a->os_cr2;
	/* A POPA that faults may have loaded some registers (SDM vol. 2B says
	 * nothing; the engine loads none). */
	if (strcmp(i->i_op->o_name, "popa") == 0 &&
	    a->os_vector != VECTOR_NONE && a->os_vector == b->os_vector)
		memcpy(a->os_gpr, b->os_gpr, sizeof(a->os_gpr));
	/* AMD's MXCSR.MM is not offered. */
	if (strstr(i->i_op->o_name, "ldmxcsr") != NULL &&
	    a->os_xstate[26] & 2)
		*b = *a;
	/* Microcode goes over the x87 environment in an order of its own. */
	if (i->i_op->o_exec == insn_x87_env && (a->os_cr2 ^ b->os_cr2) < 4096)
		b->os_cr2 = a->os_cr2;
}

/*
 * Compares the batch's results, and prints how the first two that differ do if
 * print is set. Returns how many differ.
 */
static unsigned
compare(const struct insn *i, bool print)
{
	struct oracle_batch *b = native_batch();
	unsigned n, bad = 0;
	char text[160];

	for (n = 0; n < b->b_count; n++) {
		if (oracle_same(&b->b_out[n], &soft[n]))
			continue;
		reconcile(i, &b->b_out[n], &soft[n]);
		if (oracle_same(&b->b_out[n], &soft[n]))
			continue;
		if (bad++ < 2 && print) {
			describe(&b->b_insn, text, sizeof(text));
			printf("# %s: %s\n", i->i_op->o_name, text);
			differ(&b->b_in[n], &b->b_out[n], &soft[n]);
		}
	}
	if (bad == 0 && windows_compared &&
	    memcmp(b->b_window, win_soft, WINDOW_SIZE) != 0) {
		bad = b->b_count;
		describe(&b->b_insn, text, sizeof(text));
		if (print)
			printf("# %s: %s: the window differs\n",
			    i->i_op->o_name, text);
	}
	return (bad);
}

/* --- two engines ------------------------------------------------------------------ */

static unsigned nagreed, nhost;		/* states */

/* Are these one CPU's? Not compared are an emulated one's x87 pointers, which
 * it does not keep, and, loosely, what is undefined or a fault of it that
 * 64-bit code shows on the host as well: the error code of a read that will
 * write. */
static bool
alike(const struct insn *i, const struct oracle_state *x,
    const struct oracle_state *y, bool loosely)
{
	struct oracle_state a = *x, b = *y;

	if (emulated_cpu()) {
		memset(a.os_xstate + 6, 0, 18);
		memset(b.os_xstate + 6, 0, 18);
	}
	if (loosely) {
		a.os_rflags &= ~(uint64_t)i->i_op->o_undef;
		b.os_rflags &= ~(uint64_t)i->i_op->o_undef;
		a.os_error &= ~2u;
		b.os_error &= ~2u;
	}
	return (oracle_same(&a, &b));
}

/*
 * Compares the second engine's results (other) with the first's (soft), if
 * there are any, and else with the host's, if there are any. Returns how many
 * are neither's.
 */
static unsigned
compare_engines(const struct insn *i, bool first, bool host, bool print)
{
	struct oracle_batch *b = native_batch();
	unsigned n, bad = 0;
	char text[160];

	for (n = 0; n < b->b_count; n++) {
		if (first && alike(i, &soft[n], &other[n], !host)) {
			nagreed++;
			continue;
		}
		if (host && !alike(i, &b->b_out[n], &other[n], false))
			reconcile(i, &b->b_out[n], &other[n]);
		if (host && alike(i, &b->b_out[n], &other[n], false)) {
			nhost++;
			continue;
		}
		if (bad++ > 0 || !print)
			continue;
		describe(&b->b_insn, text, sizeof(text));
		printf("# %s: %s: not as the %s\n", i->i_op->o_name, text,
		    host ? "host's CPU" : "first engine");
		differ(&b->b_in[n], host ? &b->b_out[n] : &soft[n], &other[n]);
	}
	return (bad);
}

static bool
run_engines(struct rng *r, const struct shape *sh, unsigned states, bool print)
{
	struct oracle_batch *b = native_batch();
	struct insn i;
	unsigned n;
	const char *why, *why0, *why1;
	char text[160];

	if (!gen_insn(r, sh, &b->b_insn, &i) ||
	    (emulated_cpu() && gen_misemulated(&i, &b->b_insn)))
		return (true);
	b->b_count = states < BATCH ? states : BATCH;
	for (n = 0; n < b->b_count; n++)
		gen_state(r, &b->b_insn, &i, &b->b_in[n]);
	native_begin();
	why0 = guest_run(0, b, soft, win_soft);
	why1 = guest_run(1, b, other, win_other);
	why = native_end();
	if (why1 == NULL && (why == NULL || why0 == NULL) &&
	    (why0 == NULL || strcmp(why0, ORACLE_LACKS) == 0))
		return (compare_engines(&i, why0 == NULL, why == NULL,
		    print) == 0);
	describe(&b->b_insn, text, sizeof(text));
	if (print)
		printf("# %s: %s: %s\n", sh->sh_op->o_name, text,
		    why1 != NULL ? why1 : why0);
	return (false);
}

/* Returns false if anything differed. */
static bool
run_shape(struct rng *r, const struct shape *sh, unsigned states, bool print)
{
	struct oracle_batch *b = native_batch();
	struct insn i;
	unsigned done, n, bad = 0, total = 0;
	const char *why, *whysoft;
	char text[160];

	for (done = 0; done < states; done += b->b_count) {
		if (!gen_insn(r, sh, &b->b_insn, &i))
			return (true);
		b->b_count = states - done < BATCH ? states - done : BATCH;
		for (n = 0; n < b->b_count; n++)
			gen_state(r, &b->b_insn, &i, &b->b_in[n]);
		native_begin();
		whysoft = guest_run(0, b, soft, win_soft);
		why = native_end();
		/* The host's system, when it switches tasks, may lose the
		 * pointers of an x87 state that is initial but for them: what
		 * differs has to do so twice. */
		if (why == NULL && whysoft == NULL && compare(&i, false) > 0) {
			native_begin();
			why = native_end();
		}
		if (why != NULL || (why = whysoft) != NULL) {
			describe(&b->b_insn, text, sizeof(text));
			if (print)
				printf("# %s: %s: %s\n", sh->sh_op->o_name,
				    text, why);
			return (false);
		}
		total += b->b_count;
		bad += compare(&i, print && bad == 0);
		if (bad != 0 && done + b->b_count >= states / 2)
			break;
	}
	if (bad != 0 && print)
		printf("# %s (map %u opcode %02x): %u of %u states differ\n",
		    sh->sh_op->o_name, sh->sh_map, sh->sh_opcode, bad, total);
	return (bad == 0);
}

static unsigned
run_all(void)
{
	unsigned count, n, failed = 0, ran = 0;
	struct shape *sh = gen_shapes(&count);
	struct rng r;

	r.r_state = opt.seed | 1;
	gen_pool(&r);
	for (n = 0; n < count; n++) {
		if (opt.only != NULL &&
		    strcmp(opt.only, sh[n].sh_op->o_name) != 0)
			continue;
		if (opt.every > 1 && n % opt.every != opt.seed % opt.every)
			continue;
		/* Each shape alone is reproducible from the seed. */
		r.r_state = (opt.seed + n) * 0x9e3779b97f4a7c15u | 1;
		if (opt.verbose)
			printf("# %u: %s\n", n, sh[n].sh_op->o_name);
		ran++;
		if (!(opt.against != NULL ? run_engines : run_shape)(&r,
		    &sh[n], opt.states, failed < REPORT_MAX))
			failed++;
	}
	printf("# %u shapes of %u, %u failed, seed %llu\n", ran, count, failed,
	    (unsigned long long)opt.seed);
	if (opt.against != NULL)
		printf("# the engines agreed in %u states; in %u the second "
		    "was as the host's CPU\n", nagreed, nhost);
	fflush(stdout);
	return (failed);
}

/* --- main --------------------------------------------------------------------------- */

static void
test_oracle(void **state)
{
	const char *why = NULL;

	(void)state;
	if (!native_setup(&why)) {
		print_message("# skipped: %s\n", why);
		return;
	}
	if (!guest_setup(0, opt.engine, &why) || (opt.against != NULL &&
	    !guest_setup(1, opt.against, &why)))
		fail_msg("engine: %s", why);
	do {
		assert_int_equal(run_all(), 0);
		opt.seed = opt.seed * 6364136223846793005u + 1;
	} while (opt.forever);
	native_stop();
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_oracle),
	};
	const char *env = getenv("INSN_STATES");
	const struct argument table[] = {
		{ "seed", .a_u64 = &opt.seed },
		{ "states", .a_number = &opt.states },
		{ "only", .a_text = &opt.only },
		{ "every", .a_number = &opt.every },
		{ "engine", .a_text = &opt.engine },
		{ "against", .a_text = &opt.against },
		{ "forever", .a_flag = &opt.forever },
		{ "verbose", .a_flag = &opt.verbose },
		{ .a_name = NULL },
	};

	opt.seed = new_seed();
	opt.engine = getenv("VMM_TEST_ENGINE");
	if (opt.engine == NULL)
		opt.engine = "interp";
	if (env != NULL)
		opt.states = (unsigned)strtoul(env, NULL, 0);
	arguments(argc, argv, table);
	printf("# seed %llu, %u states a shape\n",
	    (unsigned long long)opt.seed, opt.states);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
