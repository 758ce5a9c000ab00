/*
 * 32-bit code that loads data segments: what is translated for flat ones is not
 * what is executed when they are not (side.h).
 */
#include "side.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#define VECTOR_GP	13

/* The same code with flat segments, until the last time. */
#define SEQUENCE(name, load, access)					\
	extern const uint8_t name[], name##_end[];			\
	__asm__(".pushsection .rodata\n" #name ":\n.code32\n"		\
	    "mov $40, %ecx\nxor %ebx, %ebx\nmov $0x10357300, %esi\n"	\
	    "1: mov $0x2b, %edx\ncmp $1, %ecx\ncmove %ebx, %edx\n"	\
	    load "\n" access "\ndec %ecx\njnz 1b\n"			\
	    "out %al, $0xe0\nhlt\n.code64\n" #name			\
	    "_end:\n.byte 0\n.popsection\n")
SEQUENCE(ds, "mov %edx, %ds", "addl $5, (%esi)");
SEQUENCE(es, "mov %edx, %es", "mov %es:(%esi), %eax");
SEQUENCE(fs, "mov %edx, %fs", "mov %fs:0x10357304, %eax");
SEQUENCE(gs, "mov %edx, %gs", "incl %gs:0x10357304");

static const struct {
	const char *s_name;
	const uint8_t *s_code, *s_end;
} sequence[] = {
	{ "ds", ds, ds_end }, { "es", es, es_end },
	{ "fs", fs, fs_end }, { "gs", gs, gs_end },
};

static void
run(struct side *a, struct side *b)
{
	static struct oracle_state in, out[2];
	struct side *side[2] = { a, b };
	unsigned n, k;

	for (n = 0; n < sizeof(sequence) / sizeof(sequence[0]); n++) {
		for (k = 0; k < 2; k++) {
			memset(&in, 0, sizeof(in));
			memcpy(in.os_xstate, "\x7f\x03", 2);
			memcpy(in.os_xstate + 24, "\x80\x1f\0\0\xff\xff", 6);
			in.os_rflags = 0x202;
			in.os_rip = CODE;
			side_reset(side[k]);
			side_put(side[k], CODE_GPA, sequence[n].s_code,
			    (size_t)(sequence[n].s_end - sequence[n].s_code));
			side_load(side[k], &in, SIDE_USER32);
			side_run(side[k], &out[k]);
		}
		print_message("# %s, %s: ends by %u and %u\n",
		    sequence[n].s_name, b->sd_name, out[0].os_vector,
		    out[1].os_vector);
		assert_int_equal(out[0].os_vector, VECTOR_GP);
		assert_true(side_same_flags(&in, &out[0], &out[1],
		    b->sd_exact, true));
		assert_true(side_same_memory(a, b, true, true));
	}
}

static void
test_segments(void **state)
{
	static struct side interp, trans;
	const char *const *o;

	(void)state;
	side_new(&interp, "interp");
	for (o = side_options; *o != NULL; o++) {
		side_new(&trans, *o);
		run(&interp, &trans);
		side_free(&trans);
	}
	side_free(&interp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_segments),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
