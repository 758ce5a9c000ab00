/*
 * Sequences of vector and x87 instructions that the interpreter and the
 * translator (side.h) must execute alike to the last byte: state that lives in
 * the host's registers while C gets in between, exceptions that the host
 * raises, and the x87 pointers, which are never the host's.
 */
#include "side.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "../insn/gen.h"

#define STATES		12
#define VECTOR_XM	19
#define VECTOR_MF	16
#define VECTOR_GP	13

#define STRING(s)	#s
#define VALUE(s)	STRING(s)
/* Code at CODE; W(n) is a place in the window, DONE the end: all is done ROUNDS
 * times, so that there are traces of it. */
#define ROUNDS		9u
#define FRAME_FLAGS	(STACK_GPA - 24)
#define ROUNDS_AT	(DATA_GPA + 0x5000u + (COUNTER & 0xfffu))
#define SEQUENCE(name, ...)						\
	extern const uint8_t name[], name##_end[];			\
	__asm__(".pushsection .rodata\n" #name ":\n9:\n" __VA_ARGS__ "\n" \
	    #name "_end:\n.byte 0\n.popsection\n")
#define W(n)		"0x10357000+" #n
#define DONE		"decl 0x1035d010\njnz 9b\nout %al, $0xe0\nhlt\n"
#define PAGE(name, n)	".org " #name " + 0x1000 * " #n ", 0x90\n"
/* Two pages that are not neighbours in memory, A(0xfff) the first one's last
 * byte. */
#define ACROSS		0x10a00000u
#define A(n)		"0x10a00000+" #n
/* Something that only the interpreter does. */
#define BY_C		"push %rax\npush %rbx\npush %rcx\npush %rdx\n"	\
	"xor %eax, %eax\ncpuid\npop %rdx\npop %rcx\npop %rbx\npop %rax\n"
#define STACK		"mov $" W(0x800) ", %esp\n"

/* The pointers, from memory operands and without, across pages, by all ways
 * to see them. */
SEQUENCE(pointers, STACK "fninit\nfld1\nfnstenv " W(0x200) "\n"
    "mov $" W(0x300) ", %ebx\nmovl $0x40490fdb, (%rbx)\n"
    "fldcw " W(0x200) "\nfadds (%rbx)\nfnstenv " W(0x220) "\n"
    "fmul %st(0), %st\njmp 1f\n" PAGE(pointers, 1)
    "1: fldl2e\nfnstcw " W(0x400) "\nfstpl 8(%rbx)\njmp 2f\n"
    PAGE(pointers, 2) "2: nop\nfnstsw %ax\nfnstenv " W(0x240) "\n"
    "fxsave64 " W(0x400) "\nfcos\nfxch\n" BY_C "fnsave " W(0x600) "\n"
    "fldl 8(%rbx)\nfxsave " W(0xa00) "\n" DONE);
SEQUENCE(pointers_segment, "fninit\nfldpi\nfstpl %fs:" W(0x300) "\n"
    "fnstenv " W(0x200) "\nfldl " W(0x318) "\nfadd %st(0)\n"
    "fnstenv " W(0x220) "\n" DONE);
/* Their selectors, looked at by the kernel. */
SEQUENCE(pointers_kernel, "fld1\nfadds " W(0x300) "\nsyscall\nfchs\n"
    "syscall\nfnstenv " W(0x200) "\n" DONE);
SEQUENCE(kernel, "fxsave " W(0xa00) "\nsysretq\n");
/* An unmasked x87 exception: #MF at the next instruction that waits. */
#define UNMASK	"fninit\nmovw $0x0340, " W(0x208) "\nfldcw " W(0x208) "\n"
SEQUENCE(mf_wait, UNMASK "fld1\nfldz\nfdivrp\nmov $1, %eax\nadd %eax, %ebx\n"
    "fnstenv " W(0x240) "\nfldcw " W(0x240) "\nfwait\n" DONE);
SEQUENCE(mf_next, UNMASK "fld1\nfldz\nfdivrp\nfld1\n" DONE);
SEQUENCE(mf_mmx, UNMASK "fldz\nflds " W(0x300) "\nfdivp\nxor %eax, %eax\n"
    "paddb %mm0, %mm1\n" DONE);
SEQUENCE(mf_memory, UNMASK "fldz\nmovl $0, " W(0x300) "\nfdivs " W(0x300) "\n"
    "fnstsw " W(0x302) "\nfnclex\nfld1\nfdivs " W(0x304) "\nfwait\n" DONE);
/* An unmasked SIMD exception. */
#define UNMASK_X(mask)							\
	"movl $" #mask ", " W(0x208) "\nldmxcsr " W(0x208) "\n"
SEQUENCE(xm, UNMASK_X(0x1d80) "xorps %xmm1, %xmm1\nmov $1, %eax\n"
    "cvtsi2ss %eax, %xmm2\nadd $0x7fffffff, %eax\ndivss %xmm1, %xmm2\n" DONE);
SEQUENCE(xm_memory, UNMASK_X(0x1d80) "movq $0, " W(0x300) "\nmov $3, %r9d\n"
    "cvtsi2sd %r9, %xmm5\ncmp %eax, %ebx\ndivsd " W(0x300) ", %xmm5\n" DONE);
SEQUENCE(xm_avx, UNMASK_X(0x1d80) "vxorps %ymm1, %ymm1, %ymm1\n"
    "vpcmpeqd %ymm2, %ymm2, %ymm2\nvcvtdq2ps %ymm2, %ymm2\n"
    "vdivps %ymm1, %ymm2, %ymm3\n" DONE);
SEQUENCE(mxcsr, STACK UNMASK_X(0x7f80) "cvtsd2ss %xmm1, %xmm2\n"
    "cvtsd2si %xmm3, %r10\n"
    BY_C "sqrtpd %xmm4, %xmm4\nstmxcsr " W(0x300) "\nstmxcsr " W(0x304) "\n"
    UNMASK_X(0xffc0) "addps %xmm1, %xmm2\nvstmxcsr " W(0x308) "\n" BY_C
    "vldmxcsr " W(0x300) "\ndivps %xmm1, %xmm2\n" DONE);
SEQUENCE(mxcsr_reserved, "movl $0x11f80, " W(0x300) "\nstc\nldmxcsr " W(0x300)
    "\n" DONE);
SEQUENCE(mxcsr_misaligned, "movl $0x21f80, " W(0x300) "\nldmxcsr " W(0x300)
    "\nmovaps " W(0x301) ", %xmm0\n" DONE);
SEQUENCE(misaligned, "vmovups %ymm1, " W(0x300) "\nvmovdqu " W(0x311)
    ", %ymm2\nadd %eax, %eax\nmovaps " W(0x308) ", %xmm1\n" DONE);
/* Upper halves that C must not lose, and which registers are cleared. */
SEQUENCE(uppers, STACK "vpcmpeqd %ymm3, %ymm3, %ymm3\nvpsrld $7, %ymm3, %ymm4\n"
    BY_C "vpaddd %ymm3, %ymm4, %ymm5\nmovaps %xmm5, %xmm4\n" BY_C
    "vextracti128 $1, %ymm4, " W(0x300) "\nvzeroupper\n" BY_C
    "vpaddd %ymm3, %ymm4, %ymm6\nvpcmpeqd %xmm7, %xmm7, %xmm7\n" DONE);
SEQUENCE(zero_all, STACK "vpcmpeqd %ymm3, %ymm3, %ymm3\nvzeroall\n" BY_C
    "vpcmpeqd %ymm9, %ymm3, %ymm9\n" DONE);
SEQUENCE(zero_compat, ".code32\nvzeroupper\nvpcmpeqd %ymm1, %ymm1, %ymm1\n"
    "vzeroall\nvpcmpeqd %ymm2, %ymm2, %ymm2\nvzeroupper\n"
    DONE ".code64");
/* x87 and MMX state over C. */
SEQUENCE(x87_live, STACK "fninit\nfld1\n" BY_C "fldpi\n" BY_C "faddp\n" BY_C
    "fstpl " W(0x300) "\nfldt " W(0x308) "\nfbstp " W(0x318) "\n"
    "filds " W(0x320) "\nfcomi %st(1)\nfcmovb %st(1), %st\ncmp $4, %eax\n"
    "fcmovne %st(2), %st\nfistpll " W(0x328) "\n" DONE);
SEQUENCE(mmx, STACK "movq " W(0x1000) ", %mm3\npaddusw " W(0x1008) ", %mm3\n"
    "movd %r11d, %mm2\nmovq %r9, %mm4\n" BY_C "pmaddwd %mm3, %mm4\n"
    "movq %mm4, %r10\nmovd %mm4, %ecx\npmovmskb %mm4, %r9d\n"
    "cvtpi2ps %mm4, %xmm1\ncvttps2pi %xmm2, %mm6\nmovq2dq %mm6, %xmm7\n"
    "pextrw $2, %mm4, %r11d\npinsrw $1, %r10d, %mm5\nfst %st(3)\nemms\n"
    "fld1\nfnstenv " W(0x300) "\n" DONE);
/* Instructions with operands of their own. */
SEQUENCE(strings, "mov $5, %eax\nmov $9, %edx\n"
    "pcmpestri $0x0c, %xmm1, %xmm2\nmov %ecx, %r12d\nsetc %r13b\n"
    "movups %xmm3, " W(0x1000) "\nvpcmpistri $0x58, " W(0x1001) ", %xmm3\n"
    "mov %rcx, %r14\npcmpistrm $0x49, %xmm4, %xmm5\nseto %r8b\n"
    "pcmpestrm $0x10, " W(0x1003) ", %xmm5\n" DONE);
SEQUENCE(general, "pextrd $1, %xmm1, %r9d\npextrq $1, %xmm1, %r10\n"
    "vpextrb $3, %xmm2, %r11d\nvmovd %r9d, %xmm3\npinsrq $1, %r10, %xmm4\n"
    "vpinsrw $1, %r11d, %xmm4, %xmm5\nmovmskpd %xmm6, %r10d\n"
    "vpmovmskb %ymm7, %r11d\nvmovq %r10, %xmm8\ncvttsd2si " W(0x1000) ", %r9\n"
    "vcvttss2si " W(0x1008) ", %r9d\nextractps $2, %xmm9, %ecx\n"
    "movq %xmm9, %rsp\nmovd %esp, %xmm10\nvptest %ymm1, %ymm2\nsbb %rsi, %rsi\n"
    "ucomisd " W(0x1010) ", %xmm1\nsetp %dil\nvmovd %ecx, %xmm11\n" DONE);

/* Operands across the end of a page. */
#define CROSS(place)							\
	"movups %xmm1, " place(0xff3) "\nmovq %rax, " place(0xffd) "\n" \
	"vmovups %ymm2, " place(0x1003) "\nadd %rax, " place(0xff9) "\n" \
	"movzwl " place(0xfff) ", %ecx\nmov " place(0xffe) ", %r9d\n"	\
	"mov " place(0xffb) ", %r10\nmovups " place(0xff1) ", %xmm3\n"	\
	"vmovdqu " place(0xfe1) ", %ymm4\nvpaddd " place(0xff7) ", %ymm4, %ymm5\n" \
	"fldt " place(0xff8) "\nfstpt " place(0xff7) "\n"		\
	"lock xadd %ebx, " place(0xffd) "\nxchg %rdx, " place(0xffc) "\n" \
	"vmovups %ymm5, " place(0xfff) "\nmovbe " place(0xff9) ", %r11\n" \
	"cmpxchg %rsi, " place(0xffa) "\npaddb " place(0x1000) ", %xmm3\n"
SEQUENCE(across, CROSS(W) CROSS(A) DONE);
SEQUENCE(across_aligned, "stc\nmovups " A(0xff8) ", %xmm1\nsbb %eax, %eax\n"
    "paddb " A(0xff8) ", %xmm1\n" DONE);
SEQUENCE(across_aligned_store, "movaps %xmm1, " W(0xff8) "\n" DONE);

static const struct sequence {
	const char	*s_name;
	const uint8_t	*s_code, *s_end;
	uint8_t		 s_vector;	/* how it ends */
	bool		 s_compat;
} sequence[] = {
#define S(name, vector)	{ #name, name, name##_end, vector, false }
	S(pointers, VECTOR_NONE), S(pointers_segment, VECTOR_NONE),
	S(pointers_kernel, VECTOR_NONE),
	S(mf_wait, VECTOR_MF), S(mf_next, VECTOR_MF), S(mf_mmx, VECTOR_MF),
	S(mf_memory, VECTOR_MF), S(xm, VECTOR_XM), S(xm_memory, VECTOR_XM),
	S(xm_avx, VECTOR_XM), S(mxcsr, VECTOR_NONE),
	S(mxcsr_reserved, VECTOR_GP), S(mxcsr_misaligned, VECTOR_GP),
	S(misaligned, VECTOR_GP), S(uppers, VECTOR_NONE),
	S(zero_all, VECTOR_NONE),
	{ "zero_compat", zero_compat, zero_compat_end, VECTOR_NONE, true },
	S(x87_live, VECTOR_NONE), S(mmx, VECTOR_NONE),
	S(across, VECTOR_NONE), S(across_aligned, VECTOR_GP),
	S(across_aligned_store, VECTOR_GP), S(strings, VECTOR_NONE),
	S(general, VECTOR_NONE),
};

static struct side side[2];

/* Random vectors, sound in the x87 and control words. */
static void
random_state(struct rng *r, struct oracle_state *s, bool compat)
{
	uint8_t *x = s->os_xstate;
	unsigned n;

	memset(s, 0, sizeof(*s));
	for (n = 0; n < 16; n++)
		s->os_gpr[n] = compat ? (uint32_t)rng_next(r) : rng_next(r);
	for (n = 0; n < 256; n++) {
		x[160 + n] = (uint8_t)rng_next(r);
		x[576 + n] = (uint8_t)rng_next(r);
	}
	for (n = 0; n < sizeof(s->os_a); n++)
		s->os_a[n] = (uint8_t)rng_next(r);
	memcpy(x, "\x7f\x03", 2);		/* FCW */
	memcpy(x + 24, "\x80\x1f\0\0\xff\xff", 6);	/* MXCSR, its mask */
	x[512] = 7;				/* XSTATE_BV */
	s->os_rflags = 0x202 | (rng_next(r) & 0x8d5);
	s->os_rip = CODE;
}

static void
run(const struct sequence *s, struct rng *r)
{
	static struct oracle_state in, out[2];
	uint32_t rounds = ROUNDS;
	unsigned n, k;

	for (k = 0; k < 2; k++) {
		side_reset(&side[k]);
		side_map(&side[k], ACROSS, FREE_GPA, PTE_P | PTE_W | PTE_U);
		side_map(&side[k], ACROSS + 0x1000, FREE_GPA + 0x2000,
		    PTE_P | PTE_W | PTE_U);
		side_put(&side[k], CODE_GPA, s->s_code,
		    (size_t)(s->s_end - s->s_code));
		side_put(&side[k], KERNEL_GPA, kernel,
		    (size_t)(kernel_end - kernel));
	}
	for (n = 0; n < STATES; n++) {
		random_state(r, &in, s->s_compat);
		for (k = 0; k < 2; k++) {
			memcpy(side[k].sd_ram + DATA_GPA + 0x1000 + ACTIVE_A,
			    in.os_a, sizeof(in.os_a));
			memcpy(side[k].sd_ram + ROUNDS_AT, &rounds,
			    sizeof(rounds));
			side_load(&side[k], &in, s->s_compat ? SIDE_USER32 :
			    SIDE_USER64);
			side_run(&side[k], &out[k]);
		}
		/* the flags of a fault's frame are compared as registers */
		memcpy(side[1].sd_ram + FRAME_FLAGS,
		    side[0].sd_ram + FRAME_FLAGS, sizeof(uint64_t));
		if (out[0].os_vector == s->s_vector &&
		    memcmp(out[0].os_xstate, out[1].os_xstate, XSTATE) == 0 &&
		    side_same_flags(&in, &out[0], &out[1], side[1].sd_exact,
			false) &&
		    side_same_memory(&side[0], &side[1], true, false))
			continue;
		printf("# %s, %s, run %u: ends by %u\n", s->s_name,
		    side[1].sd_name, n, out[0].os_vector);
		side_same_flags(&in, &out[0], &out[1], side[1].sd_exact, true);
		side_same_memory(&side[0], &side[1], true, true);
		fail();
	}
}

static void
test_sequences(void **state)
{
	const char *const *o;
	struct rng r = { .r_state = 1 };
	unsigned n;

	(void)state;
	if (!__builtin_cpu_supports("avx2"))
		skip();
	side_new(&side[0], "interp");
	for (o = side_options; *o != NULL; o++) {
		side_new(&side[1], *o);
		for (n = 0; n < sizeof(sequence) / sizeof(*sequence); n++)
			run(&sequence[n], &r);
		side_free(&side[1]);
	}
	side_free(&side[0]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sequences),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
