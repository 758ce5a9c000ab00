/*
 * Branches of every kind, by the interpreter and by the translator (side.h):
 * within a page and across, straddling one, to where nobody may go, returns to
 * where nobody called from, and code that goes away while it is being called.
 *
 * Each program goes round often enough to be translated and linked, and ends
 * with OUT to PORT_DONE or with a fault.
 */
#include "side.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "engine/soft/cpu.h"
#include "engine/soft/jit/jit.h"

/* In all of them: rbx counts rounds, rsp is in the window, r15 is the first
 * byte of the code, rdi is writable. */
#define PROGRAM(name, bits, text)					\
	__asm__(".pushsection .rodata\n"				\
	    ".intel_syntax noprefix\n"					\
	    ".code" #bits "\n"						\
	    #name ":\n" text "\nout " "0xe0, al\n"			\
	    #name "_end:\n"						\
	    ".code64\n"							\
	    ".att_syntax\n"						\
	    ".popsection\n");						\
	extern const uint8_t name[], name##_end[]

PROGRAM(loops, 64,
    "1:	mov ecx, 20\n"
    "2:	add rax, rcx\n"
    "	loop 2b\n"
    "	mov rcx, 0x100000003\n"
    "3:	inc rdx\n"
    "	addr32 loop 3b\n"
    "	mov rcx, -5\n"
    "4:	cmp rcx, -9\n"
    "	loopne 4b\n"
    "	setz al\n"
    "	cmp eax, eax\n"
    "5:	loope 6f\n"
    "	ud2\n"
    "6:	mov rcx, 0x100000000\n"
    "	jecxz 7f\n"
    "	ud2\n"
    "7:	jrcxz 8f\n"
    "	xor ecx, ecx\n"
    "	stc\n"
    "	jrcxz 9f\n"
    "8:	ud2\n"
    "9:	adc rsi, rax\n"
    "	dec rbx\n"
    "	jnz 1b\n");

PROGRAM(calls, 64,
    "1:	mov eax, 11\n"
    "	call fib\n"
    "	add rsi, rax\n"
    "	push 5\n"
    "	push 6\n"
    "	call pops\n"
    "	mov rdx, [r15]\n"
    "	call 2f\n"			/* asks for its address */
    "2:	pop rbp\n"
    "	lea r9, [rip + pops2]\n"
    "	mov [rdi], r9\n"
    "	push 5\n"
    "	push 6\n"
    "	call [rdi]\n"
    "	push 5\n"
    "	push 6\n"
    "	call r9\n"
    "	mov [rsp - 32], r9\n"
    "	push 5\n"
    "	push 6\n"
    "	call [rsp - 16]\n"
    "	mov r11, r9\n"
    "	push 5\n"
    "	push 6\n"
    "	call r11\n"
    "	lea rax, [rip + 3f]\n"
    "	jmp rax\n"
    "	ud2\n"
    "3:	dec rbx\n"
    "	jnz 1b\n"
    "	jmp 4f\n"
    "pops: stc\n"
    "	ret 16\n"
    "pops2: adc rdx, [rsp + 8]\n"
    "	ret 16\n"
    "fib: cmp eax, 2\n"
    "	jb 5f\n"
    "	push rax\n"
    "	dec eax\n"
    "	call fib\n"
    "	xchg rax, [rsp]\n"
    "	sub eax, 2\n"
    "	call fib\n"
    "	add rax, [rsp]\n"
    "	add rsp, 8\n"
    "5:	ret\n"
    "4:\n");

/* Returns that no call made, and calls that never return. */
PROGRAM(forged, 64,
    "1:	lea rax, [rip + 2f]\n"
    "	push rax\n"
    "	ret\n"
    "	ud2\n"
    "2:	call 3f\n"
    "	ud2\n"
    "3:	lea rax, [rip + 4f]\n"
    "	mov [rsp], rax\n"
    "	ret\n"
    "	ud2\n"
    "4:	mov rbp, rsp\n"
    "	call 5f\n"
    "	inc rsi\n"
    "	jmp 7f\n"
    "5:	push rbx\n"
    "	call 6f\n"
    "	ud2\n"
    "6:	push rbx\n"
    "	mov rsp, rbp\n"			/* longjmp: */
    "	push [rsp - 8]\n"
    "	ret\n"
    "7:	mov ecx, 9000\n"		/* more frames than there is room for */
    "8:	call 9f\n"
    "9:	call 10f\n"
    "	ud2\n"
    "10: add rsp, 16\n"
    "	dec ecx\n"
    "	jnz 8b\n"
    "	call 11f\n"
    "	dec rbx\n"
    "	jnz 1b\n"
    "	jmp 12f\n"
    "11: ret\n"
    "12:\n");

/* Where nobody may go, once it has been translated. */
#define REFUSED(name, set, branch)					\
PROGRAM(name, 64,							\
    "1:	lea rax, [rip + 2f]\n"						\
    "	mov rdx, 0x8000123456780000\n"					\
    "	cmp rbx, 1\n"							\
    "	cmove rax, rdx\n"						\
    set "\n"								\
    "	stc\n"								\
    branch "\n"								\
    "	jmp 3f\n"							\
    "2:	inc rsi\n"							\
    "	mov rsp, rbp\n"							\
    "3:	dec rbx\n"							\
    "	jnz 1b\n")
REFUSED(refused_jmp, "mov rbp, rsp", "jmp rax");
REFUSED(refused_jmp_mem, "mov rbp, rsp; mov [rdi], rax", "jmp [rdi]");
REFUSED(refused_call, "mov rbp, rsp", "call rax");
REFUSED(refused_call_mem, "mov rbp, rsp; mov [rdi], rax", "call [rdi]");
REFUSED(refused_ret, "mov rbp, rsp; push rax", "ret");
REFUSED(refused_ret_imm, "mov rbp, rsp; push rax", "ret 24");
/* RET to where an empty return stack's frame may seem to lead. */
PROGRAM(refused_ret_odd, 64,
    "	push -1\n"
    "	mov rbp, rsp\n"
    "1:	lea rax, [rip + 2f]\n"
    "	cmp rbx, 1\n"
    "	mov edx, 0\n"
    "	cmove rax, rdx\n"
    "	mov [rsp], rax\n"
    "	ret\n"
    "2:	mov rsp, rbp\n"
    "	dec rbx\n"
    "	jnz 1b\n");

/* From page to page. */
PROGRAM(pages, 64,
    "	jmp 1f\n"
    ".fill 4096 - 5 - 37, 1, 0x90\n"
    "1:	call far1\n"			/* ends before the page does */
    "	lea r9, [rip + far2]\n"
    "	mov [rdi], r9\n"
    "	call [rdi]\n"
    "	inc r9\n"
    "	nop dword ptr [rax + rax + 0]\n"
    "	nop\n"
    "	nop\n"
    "	jmp 2f\n"			/* straddles */
    "	ud2\n"
    "2:	add rdx, 0x12345678\n"
    "	jnc 3f\n"
    "	jmp 4f\n"
    "3:	dec rbx\n"
    "	jnz 1b\n"
    "	jmp 4f\n"
    ".fill 4000, 1, 0x90\n"
    "far1: inc rsi\n"
    "	cmp rsi, 7\n"
    "	ja far1b\n"
    "	ret\n"
    "far2: loop far1\n"
    "	ret\n"
    ".fill 60, 1, 0x90\n"
    "far1b: ret\n"
    "4:\n");

/* A call that ends where its page does; one that straddles; code that just
 * goes on into the next page. */
PROGRAM(edges, 64,
    "	jmp 1f\n"
    ".fill 4096 - 5 - 7, 1, 0x90\n"
    "1:	xor ecx, esi\n"
    "	call 2f\n"
    "	dec rbx\n"
    "	jnz 1b\n"
    "	mov rbx, 9\n"
    "	jmp 3f\n"
    "2:	add rsi, rbx\n"
    "	ret\n"
    ".fill 4096 - (3f - 4f), 1, 0x90\n"
    "4:\n"
    "3:	nop\n"
    "5:	inc rdx\n"
    "	dec rbx\n"
    "	jnz 5b\n");

/* The code behind a call, that of what is called next and the caller's own
 * changes in the middle of a call. */
PROGRAM(changing, 64,
    "1:	mov eax, ebx\n"
    "	call 2f\n"
    "	nop\n"
    "5:	add rsi, 1\n"
    "	call 6f\n"
    "	dec rbx\n"
    "	jnz 1b\n"
    "	jmp 3f\n"
    "2:	test ebx, 7\n"
    "	jnz 4f\n"
    "	inc byte ptr [rip + 5b + 3]\n"
    "4:	test ebx, 15\n"
    "	jnz 4f\n"
    "	inc byte ptr [rip + 6f + 3]\n"
    "	test ebx, 31\n"
    "	jnz 4f\n"
    "	xor byte ptr [rip + 1b + 1], 1\n"
    "4:	ret\n"
    "6:	add rdx, 1\n"
    "	jmp 4b\n"
    "3:\n");

/* To where the stack pointer was; at CPL 3 that is not executable. */
PROGRAM(call_rsp, 64,
    "1:	mov qword ptr [rsp], 0xc3c6ff\n"	/* inc esi; ret */
    "	call rsp\n"
    "	dec rbx\n"
    "	jnz 1b\n");

PROGRAM(calls32, 32,
    "1:	mov eax, 9\n"
    "	call 5f\n"
    "	add esi, eax\n"
    "	call 2f\n"
    "2:	pop ebp\n"
    "	lea eax, [ebp + 3f - 2b]\n"
    "	mov [edi], eax\n"
    "	call [edi]\n"
    "	call eax\n"
    "	push eax\n"
    "	call [esp]\n"
    "	pop eax\n"
    "	mov ecx, 5\n"
    "7:	adc edx, ecx\n"
    "	loop 7b\n"
    "	jecxz 8f\n"
    "	ud2\n"
    "8:	lea eax, [ebp + 9f - 2b]\n"
    "	jmp eax\n"
    "9:	dec ebx\n"
    "	jnz 1b\n"
    "	jmp 4f\n"
    "3:	ret\n"
    "5:	cmp eax, 2\n"
    "	jb 6f\n"
    "	push eax\n"
    "	dec eax\n"
    "	call 5b\n"
    "	xchg eax, [esp]\n"
    "	sub eax, 2\n"
    "	call 5b\n"
    "	add eax, [esp]\n"
    "	add esp, 4\n"
    "6:	ret\n"
    "4:\n");

PROGRAM(pages32, 32,
    "	jmp 1f\n"
    ".fill 4096 - 5 - 8, 1, 0x90\n"
    "1:	call 2f\n"
    "	jmp 3f\n"
    "	ud2\n"
    ".fill 4000, 1, 0x90\n"
    "2:	inc esi\n"
    "	test esi, 1\n"
    "	jz 4f\n"
    "	ret 0\n"
    "3:	dec ebx\n"
    "	jnz 1b\n"
    "	jmp 5f\n"
    ".fill 120, 1, 0x90\n"
    "4:	ret\n"
    "5:\n");

/* Up to the end of the address space and around. */
PROGRAM(refused_far, 64,
    "1:	cmp rbx, 1\n"
    "	je 2f\n"
    "	dec rbx\n"
    "	jmp 1b\n"
    "2:	jmp 1b + 0x7fffff00\n");

static const struct program {
	const char	*p_name;
	const uint8_t	*p_code, *p_end;
	unsigned	p_bits, p_rounds;
} programs[] = {
#define ROW(name, bits, rounds)						\
	{ #name, name, name##_end, (bits), (rounds) }
	ROW(loops, 64, 20), ROW(calls, 64, 20), ROW(forged, 64, 6),
	ROW(refused_jmp, 64, 12), ROW(refused_jmp_mem, 64, 12),
	ROW(refused_call, 64, 12), ROW(refused_call_mem, 64, 12),
	ROW(refused_ret, 64, 12), ROW(refused_ret_imm, 64, 12),
	ROW(refused_ret_odd, 64, 12), ROW(refused_far, 64, 12),
	ROW(pages, 64, 40), ROW(edges, 64, 20), ROW(changing, 64, 160),
	ROW(call_rsp, 64, 20),
	ROW(calls32, 32, 20), ROW(pages32, 32, 20)
};

static void
run(struct side *sd, const struct program *p, bool kernel, unsigned offset,
    struct oracle_state *out)
{
	const uint64_t code = kernel ? KERNEL + CODE_GPA : CODE;
	const uint64_t data = kernel ? KERNEL + DATA_GPA + 0x1000 : WINDOW;
	static struct oracle_state in;

	memset(&in, 0, sizeof(in));
	in.os_xstate[0] = 0x7f;		/* FCW 037f, MXCSR 1f80 */
	in.os_xstate[1] = 0x03;
	in.os_xstate[24] = 0x80;
	in.os_xstate[25] = 0x1f;
	in.os_xstate[512] = 7;
	in.os_gpr[RBX] = p->p_rounds;
	in.os_gpr[RSP] = data + 0x1000 + 64;	/* on two pages */
	in.os_gpr[RDI] = data + 0x1800;
	in.os_gpr[R15] = code + offset;
	in.os_rflags = FL_R1 | FL_IF;
	in.os_rip = code + offset;
	side_reset(sd);
	side_put(sd, CODE_GPA + offset, p->p_code,
	    (size_t)(p->p_end - p->p_code));
	side_load(sd, &in, p->p_bits == 32 ? SIDE_USER32 :
	    kernel ? SIDE_KERNEL64 : SIDE_USER64);
	side_run(sd, out);
	if (p->p_end - p->p_code > (ptrdiff_t)(CODE_PAGES * 0x1000 - offset))
		fail_msg("%s is too long", p->p_name);
}

/* What was executed was translated, and linked unless that is forbidden. */
static void
assert_used(const struct side *sd)
{
	/* the VCPU begins with its struct cpu */
	const struct cpu *c = (const void *)sd->sd_vcpu;
	const struct jit_stats *js = &c->c_jit->j_stats;

	assert_true(js->js_translated > 100);
	assert_true(js->js_jc_miss > 0);
	if (c->c_jit->j_opt.jo_nochain) {
		assert_int_equal(js->js_links, 0);
		return;
	}
	assert_true(js->js_links > 100);
	assert_true(js->js_unlinks > 0);
	assert_true(js->js_ret_reset > 0);
}

static void
test_programs(void **state)
{
	static const unsigned offsets[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
	    11, 12, 13, 14, 4096 - 9 };
	static const struct oracle_state none;
	static struct oracle_state a, b;
	static struct side interp, trans;
	const struct program *p;
	unsigned failed = 0, n, m, kernel;

	side_new(&interp, "interp");
	side_new(&trans, *state);
	for (n = 0; n < sizeof(programs) / sizeof(programs[0]); n++) {
		p = &programs[n];
		for (m = 0; m < sizeof(offsets) / sizeof(offsets[0]); m++)
			for (kernel = 0; kernel <= (p->p_bits == 64);
			    kernel++) {
				run(&interp, p, kernel, offsets[m], &a);
				run(&trans, p, kernel, offsets[m], &b);
				if (side_same(&none, &a, &b, false) &&
				    side_same_memory(&interp, &trans, true,
				    false))
					continue;
				printf("# %s at %u, %s, %s:\n", p->p_name,
				    offsets[m], kernel ? "kernel" : "user",
				    (char *)*state);
				side_same(&none, &a, &b, true);
				side_same_memory(&interp, &trans, true, true);
				failed++;
			}
	}
	assert_used(&trans);
	side_free(&interp);
	side_free(&trans);
	assert_int_equal(failed, 0);
}

int
main(void)
{
	static struct CMUnitTest tests[16];
	unsigned n;

	for (n = 0; side_options[n] != NULL; n++)
		tests[n] = (struct CMUnitTest){ side_options[n], test_programs,
		    NULL, NULL, (void *)(uintptr_t)side_options[n] };
	return (_cmocka_run_group_tests("flow", tests, n, NULL, NULL));
}
