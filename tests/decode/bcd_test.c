/*
 * The instructions that exist only outside 64-bit code and that the host
 * cannot execute for us in place: BCD arithmetic and SALC, against the host
 * CPU in compatibility mode, for every AX and every mix of flags. Flags that
 * the manual leaves undefined are compared on AMD only.
 */
#include <cpuid.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#undef REG_RIP		/* <signal.h> has one, too */
#include "engine/soft/cpu.h"
#include "engine/soft/handlers.h"

#define USER32_CS	0x23	/* Linux's 32-bit code segment */
#define LOW_SIZE	0x3000

static const struct {
	const char	*name;
	uint8_t		 code[2];
	uint8_t		 len;
	insn_fn		*fn;
	uint32_t	 defined;
} insns[] = {
	{ "aaa", { 0x37 }, 1, insn_aaa, FL_AF | FL_CF },
	{ "aas", { 0x3f }, 1, insn_aas, FL_AF | FL_CF },
	{ "daa", { 0x27 }, 1, insn_daa, FL_ARITH & ~FL_OF },
	{ "das", { 0x2f }, 1, insn_das, FL_ARITH & ~FL_OF },
	{ "aam 10", { 0xd4, 10 }, 2, insn_aam, FL_SF | FL_ZF | FL_PF },
	{ "aam 255", { 0xd4, 255 }, 2, insn_aam, FL_SF | FL_ZF | FL_PF },
	{ "aad 10", { 0xd5, 10 }, 2, insn_aad, FL_SF | FL_ZF | FL_PF },
	{ "aad 23", { 0xd5, 23 }, 2, insn_aad, FL_SF | FL_ZF | FL_PF },
	{ "salc", { 0xd6 }, 1, insn_salc, FL_ARITH },
};

struct far_pointer {
	uint32_t	offset;
	uint16_t	selector;
} __attribute__((packed));

static uint8_t *low;		/* below 4 GiB, executable */
static sigjmp_buf no_compat;

static void
on_signal(int sig)
{
	(void)sig;
	siglongjmp(no_compat, 1);
}

/* push edx; popf; the instruction; pushf; pop edx; lret */
static void
load(const uint8_t *code, unsigned len)
{
	uint8_t *p = low;

	*p++ = 0x52;
	*p++ = 0x9d;
	memcpy(p, code, len);
	p += len;
	*p++ = 0x9c;
	*p++ = 0x5a;
	*p++ = 0xcb;
}

/*
 * A far return from 32-bit code reaches only the low 4 GiB, so a stub down
 * there makes the far call: call far [rip + 0x3fa] (low + 0x800); ret
 */
static void
execute(uint32_t *eax, uint32_t *flags)
{
	static const uint8_t stub[] = { 0xff, 0x1d, 0xfa, 0x03, 0, 0, 0xc3 };
	static uint64_t saved_rsp;
	struct far_pointer *to = (struct far_pointer *)(void *)(low + 0x800);

	to->offset = (uint32_t)(uintptr_t)low;
	to->selector = USER32_CS;
	if (low[0x400] != stub[0])
		memcpy(low + 0x400, stub, sizeof(stub));
	__asm__ volatile("movq %%rsp, %[saved]\n\t"
	    "movq %[stack], %%rsp\n\tcall *%[stub]\n\tmovq %[saved], %%rsp"
	    : "+a" (*eax), "+d" (*flags), [saved] "+m" (saved_rsp)
	    : [stub] "r" (low + 0x400), [stack] "r" (low + LOW_SIZE - 64)
	    : "memory", "cc", "rcx", "rsi", "rdi", "r8", "r9", "r10", "r11");
}

static bool
is_amd(void)
{
	unsigned a, b, c, d;

	__cpuid(0, a, b, c, d);
	return (b == 0x68747541);	/* "Auth" */
}

static void
test_bcd(void **state)
{
	struct sigaction sa = { .sa_handler = on_signal }, old[2];
	static struct cpu c;
	uint32_t host_ax, host_flags, flags, mask;
	unsigned n, ax, f;
	bool amd = is_amd();

	(void)state;
	low = mmap(NULL, LOW_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	assert_ptr_not_equal(low, MAP_FAILED);
	sigaction(SIGSEGV, &sa, &old[0]);
	sigaction(SIGBUS, &sa, &old[1]);
	if (sigsetjmp(no_compat, 1) != 0) {
		print_message("# skipped: the kernel has no 32-bit programs\n");
		return;
	}
	host_ax = host_flags = FL_R1;
	load(insns[0].code, insns[0].len);
	execute(&host_ax, &host_flags);
	sigaction(SIGSEGV, &old[0], NULL);
	sigaction(SIGBUS, &old[1], NULL);

	for (n = 0; n < sizeof(insns) / sizeof(insns[0]); n++) {
		struct insn i = { .i_imm = insns[n].code[1], .i_osize = 1 };

		load(insns[n].code, insns[n].len);
		mask = amd ? FL_ARITH : insns[n].defined;
		for (ax = 0; ax < 0x10000; ax++) {
			f = ax * 7 + ax / 256;	/* 4 of 16 mixes each */
			for (unsigned k = 0; k < 4; k++, f += 5) {
				flags = FL_R1 | (f & 1 ? FL_CF : 0) |
				    (f & 2 ? FL_AF : 0) | (f & 4 ? FL_OF : 0) |
				    (f & 8 ? FL_SF | FL_ZF | FL_PF : 0);
				host_ax = ax;
				host_flags = flags;
				execute(&host_ax, &host_flags);
				c.c_gpr[RAX] = ax;
				c.c_rflags = flags;
				insns[n].fn(&c, &i);
				if ((host_ax & 0xffff) != c.c_gpr[RAX] ||
				    (host_flags ^ c.c_rflags) & mask)
					fail_msg("%s AX %04x flags %03x: host "
					    "%04x %03x, we %04x %03x",
					    insns[n].name, ax, flags,
					    host_ax & 0xffff,
					    host_flags & FL_ARITH,
					    (unsigned)c.c_gpr[RAX],
					    (unsigned)c.c_rflags & FL_ARITH);
			}
		}
	}
	munmap(low, LOW_SIZE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bcd),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
