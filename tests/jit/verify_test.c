/*
 * The verifier finds what no translation may hold.
 */
#include "side.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#undef REG_RIP		/* the host's; insn.h has its own */
#include "engine/soft/cpu.h"
#include "verify.h"

/* What is put in place of the translation's first instructions. */
static const struct {
	const char	*what;
	uint8_t		 code[16], len;
} samples[] = {
	{ "syscall", { 0x0f, 0x05 }, 2 },
	{ "int 0x80", { 0xcd, 0x80 }, 2 },
	{ "cpuid", { 0x0f, 0xa2 }, 2 },
	{ "wrgsbase rax", { 0xf3, 0x48, 0x0f, 0xae, 0xd8 }, 5 },
	{ "mov fs, ax", { 0x8e, 0xe0 }, 2 },
	{ "out dx, al", { 0xee }, 1 },
	{ "popfq", { 0x9d }, 1 },
	{ "std", { 0xfd }, 1 },
	{ "rep movsb", { 0xf3, 0xa4 }, 2 },
	{ "fxrstor [rcx]", { 0x0f, 0xae, 0x09 }, 3 },
	{ "iretq", { 0x48, 0xcf }, 2 },
	{ "ret 8", { 0xc2, 0x08, 0x00 }, 3 },
	{ "mov [rax], rbx", { 0x48, 0x89, 0x18 }, 3 },
	{ "mov [rcx], rbx, not checked", { 0x48, 0x89, 0x19 }, 3 },
	{ "mov rax, fs:[0]", { 0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0 }, 9 },
	{ "mov rax, gs:[0x7fffffff]",
	    { 0x65, 0x48, 0x8b, 0x04, 0x25, 0xff, 0xff, 0xff, 0x7f }, 9 },
	{ "mov rax, gs:[rbx]", { 0x65, 0x48, 0x8b, 0x03 }, 4 },
	{ "mov rax, gs:[rcx*8 + NEGR], not cut",
	    { 0x65, 0x48, 0x8b, 0x04, 0xcd, 0, 0, 1, 0 }, 9 },
	{ "mov rax, [rip]", { 0x48, 0x8b, 0x05, 0, 0, 0, 0 }, 7 },
	{ "mov rax, [rsp-8]", { 0x48, 0x8b, 0x44, 0x24, 0xf8 }, 5 },
	{ "mov rsp, rax", { 0x48, 0x89, 0xc4 }, 3 },
	{ "lea rsp, [rsp+16]", { 0x48, 0x8d, 0x64, 0x24, 0x10 }, 5 },
	{ "jmp rax", { 0xff, 0xe0 }, 2 },
	{ "call gs:[rcx*8 + JC_KEY]",
	    { 0x0f, 0xb7, 0xc9, 0x65, 0xff, 0x14, 0xcd, 0, 0, 0x49, 0 }, 11 },
	{ "jmp into the next instruction", { 0xeb, 0x01, 0xb8, 0, 0, 0, 0 },
	    7 },
	{ "jmp far away", { 0xe9, 0, 0, 0, 0x40 }, 5 },
	{ "no instruction", { 0x06 }, 1 },
};

static struct side sd;

/* Code whose translation is long enough to be written over. */
static const struct tblock *
translated(struct jit *j)
{
	static struct oracle_state in, out;
	const struct tblock *t, *longest = NULL;
	uint8_t code[256];
	unsigned n = 0;

	code[n++] = 0xb9;		/* mov ecx, 8 */
	memcpy(code + n, (const uint8_t[]){ 8, 0, 0, 0 }, 4);
	n += 4;
	for (; n < 205; n += 2)		/* add eax, ebx */
		memcpy(code + n, (const uint8_t[]){ 0x01, 0xd8 }, 2);
	memcpy(code + n, (const uint8_t[]){ 0xff, 0xc9, 0x0f, 0x85 }, 4);
	memcpy(code + n + 4, (const uint32_t[]){ 5 - (n + 8) }, 4);
	n += 8;
	code[n++] = 0xe6;
	code[n++] = PORT_DONE;
	side_put(&sd, CODE_GPA, code, n);
	in.os_rip = CODE;
	in.os_rflags = FL_R1;
	in.os_xstate[24] = 0x80;
	in.os_xstate[25] = 0x1f;
	in.os_xstate[0] = 0x7f;
	in.os_xstate[1] = 3;
	side_load(&sd, &in, SIDE_USER64);
	side_run(&sd, &out);
	for (t = jit_chunk(j, j->j_thunks); t != NULL;
	    t = t->t_later)
		if (longest == NULL || t->t_size > longest->t_size)
			longest = t;
	return (longest);
}

/* What verify() ends a child with; 0: it came back. */
static int
verdict(struct jit *j, const struct tblock *t, const uint8_t *code,
    unsigned len)
{
	uint8_t *at = CODE_RW(j, t->t_code) + t->t_body;
	int status, null;
	pid_t pid;

	fflush(NULL);
	if ((pid = fork()) == 0) {
		null = open("/dev/null", O_WRONLY | O_CLOEXEC);
		dup2(null, 2);
		memset(at, 0x90, 64);
		memcpy(at, code, len);
		verify(j, t, false);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return (WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

static void
test_verifier(void **state)
{
	uint8_t saved[64];
	const struct tblock *t;
	struct jit *j;
	unsigned n;

	(void)state;
	side_new(&sd, "jit,hot=1,nochain");
	j = ((struct cpu *)(void *)sd.sd_vcpu)->c_jit;
	t = translated(j);
	assert_non_null(t);
	assert_true(t->t_size > t->t_body + 100u);
	/* the cache is shared with the child */
	memcpy(saved, CODE_RW(j, t->t_code) + t->t_body, sizeof(saved));
	assert_int_equal(verdict(j, t, (const uint8_t[]){ 0x90 }, 1), 0);
	for (n = 0; n < sizeof(samples) / sizeof(samples[0]); n++)
		if (verdict(j, t, samples[n].code, samples[n].len) !=
		    VERIFY_BAD)
			fail_msg("%s passes", samples[n].what);
	memcpy(CODE_RW(j, t->t_code) + t->t_body, saved, sizeof(saved));
	verify(j, t, false);
	side_free(&sd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_verifier),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
