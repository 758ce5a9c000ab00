/*
 * Lockstep finds what it is for: translations that do something else than the
 * interpreter. Each here is damaged after it was made: a constant, found in
 * its code, is another one. And it finds nothing where there is nothing.
 */
#include "side.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/soft/cpu.h"
#include "engine/soft/jit/jit.h"

#define MAGIC	0x13572468u
#define ROUNDS	3000

/* Each goes round eight times, then ends. */
static const struct damage {
	const char	*d_what;
	uint8_t		 d_code[24];
	unsigned	 d_len;
} damages[] = {
	{ "a register", { 0xb8, 0x68, 0x24, 0x57, 0x13 }, 5 },
	{ "memory", { 0xc7, 0x04, 0x25, 0, 0x70, 0x35, 0x10,
	    0x68, 0x24, 0x57, 0x13 }, 11 },
	{ "flags", { 0xbb, 0x70, 0x24, 0x57, 0x13,
	    0x81, 0xfb, 0x68, 0x24, 0x57, 0x13 }, 11 },
	{ "the stack", { 0x68, 0x68, 0x24, 0x57, 0x13, 0x5a }, 6 },
	{ "before a fault", { 0xb8, 0x68, 0x24, 0x57, 0x13, 0x0f, 0x0b }, 7 },
};

static struct jit *
jit_of(struct side *sd)
{
	return (((struct cpu *)(void *)sd->sd_vcpu)->c_jit);
}

/* Replaces MAGIC in all translations; how many there were. */
static unsigned
damage(struct jit *j, uint32_t value)
{
	const uint32_t magic = MAGIC;
	unsigned found = 0;
	uint32_t n;

	for (n = j->j_thunks; n + 4 <= j->j_used; n++)
		if (memcmp(j->j_rw + n, &magic, 4) == 0) {
			memcpy(j->j_rw + n, &value, 4);
			found++;
		}
	return (found);
}

static void
run(struct side *sd, const struct damage *d, struct oracle_state *out)
{
	static struct oracle_state in;
	/* mov ecx, 8; ...; dec ecx; jnz; out */
	uint8_t code[64] = { 0xb9, 8, 0, 0, 0 };
	unsigned n = 5;

	memcpy(code + n, d->d_code, d->d_len);
	n += d->d_len;
	code[n++] = 0xff;
	code[n++] = 0xc9;
	code[n++] = 0x75;
	code[n] = (uint8_t)(5 - (int)(n + 1));
	n++;
	code[n++] = 0xe6;
	code[n++] = PORT_DONE;
	/* what is the same is not written: its translation stays */
	if (memcmp(sd->sd_ram + CODE_GPA, code, n) != 0)
		side_put(sd, CODE_GPA, code, n);
	in.os_rip = CODE;
	in.os_rflags = FL_R1;
	in.os_gpr[RSP] = WINDOW + 0x800;
	in.os_xstate[0] = 0x7f;
	in.os_xstate[1] = 3;
	in.os_xstate[24] = 0x80;
	in.os_xstate[25] = 0x1f;
	side_load(sd, &in, SIDE_USER64);
	side_run(sd, out);
}

/* Runs quietly: what lockstep has to say is expected here. */
static void
run_damaged(struct side *sd, const struct damage *d, struct oracle_state *out)
{
	int saved = dup(2), null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	dup2(null, 2);
	run(sd, d, out);
	dup2(saved, 2);
	close(saved);
	close(null);
}

static void
test_finds(void **state)
{
	const struct damage *d;
	struct oracle_state a, b, c;
	struct side sd;
	unsigned n;

	(void)state;
	for (n = 0; n < sizeof(damages) / sizeof(damages[0]); n++) {
		d = &damages[n];
		side_new(&sd, "jit,lockstep,hot=1");
		run(&sd, d, &a);
		run(&sd, d, &a);
		assert_true(side_same(&a, &a, &a, true));
		assert_int_not_equal(a.os_vector, VECTOR_EXIT);
		if (damage(jit_of(&sd), MAGIC ^ 0x10) == 0)
			fail_msg("%s: not translated", d->d_what);
		run_damaged(&sd, d, &b);
		if (b.os_vector != VECTOR_EXIT ||
		    b.os_error != ENGINE_EXIT_ERROR)
			fail_msg("%s: not found", d->d_what);
		side_free(&sd);

		/* what it compared with was right */
		side_new(&sd, "interp");
		run(&sd, d, &c);
		assert_true(side_same(&a, &c, &a, true));
		side_free(&sd);
	}
}

struct kicker {
	struct side	*k_side;
	atomic_bool	 k_end;
};

static void *
kicker(void *arg)
{
	const struct timespec ts = { 0, 20000 };
	struct kicker *k = arg;

	while (!atomic_load(&k->k_end)) {
		nanosleep(&ts, NULL);
		k->k_side->sd_ops->eo_kick(k->k_side->sd_vcpu);
	}
	return (NULL);
}

/*
 * A translation that something makes leave after an instruction of the
 * interpreter's (SLDT) has not met the fault behind it yet.
 */
static void
test_left_before_fault(void **state)
{
	static const struct damage none = { "nothing",
	    { 0x0f, 0x00, 0xc0, 0x0f, 0x0b }, 5 };	/* sldt eax; ud2 */
	struct oracle_state out;
	struct side sd;
	struct kicker k = { .k_side = &sd };
	pthread_t thread;
	unsigned n;

	(void)state;
	side_new(&sd, "jit,lockstep,hot=1");
	pthread_create(&thread, NULL, kicker, &k);
	for (n = 0; n < ROUNDS; n++) {
		run(&sd, &none, &out);
		if (out.os_vector != 6)
			break;
	}
	atomic_store(&k.k_end, true);
	pthread_join(thread, NULL);
	assert_int_equal(n, ROUNDS);
	side_free(&sd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_finds),
		cmocka_unit_test(test_left_before_fault),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
