/*
 * Running translated code: options, host faults in it, its return stack, what
 * the client writes, and what the caller's thread has of its own.
 *
 * The guest is flat 32-bit code without paging; every test runs its code often
 * enough to be translated, and makes sure that it was.
 */
#include <sys/mman.h>
#include <sys/syscall.h>

#include <asm/prctl.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/bare.h"
#include "base/hostfault.h"
#include "engine/engine.h"
#include "engine/soft/cpu.h"
#include "engine/soft/jit/jit.h"

#define MEMORY		0x200000u
#define CODE		0x1000u
#define HANDLER		BARE_HANDLER
#define DATA		0x10000u
#define STACK		0x1f0000u	/* top */

static const struct engine_ops *const ops = &engine_soft;
static uint8_t *mem;
static struct engine_vm *vm;
static struct engine_vcpu *vcpu;
static struct bare bare;

/* --- the guest -------------------------------------------------------------------- */

static void
start(const char *options, bool reported)
{
	struct engine_range range = { .er_size = MEMORY };
	struct engine_vm_config config = { .ev_ranges = &range,
	    .ev_nranges = 1, .ev_tsc_khz = 1000000,
	    .ev_writes_reported = reported, .ev_options = options };
	struct vcpu_reg_state r;

	memset(&bare, 0, sizeof(bare));
	mem = range.er_host = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(mem, MAP_FAILED);
	assert_int_equal(ops->eo_vm_new(&config, &vm), 0);
	assert_int_equal(ops->eo_vcpu_new(vm, 0, &bare_host, &bare, &vcpu), 0);
	ops->eo_getregs(vcpu, VM_RWREGS_ALL, &r);
	bare_flat(mem, &r);
	r.vrs_crs[VCPU_REGS_CR4] = CR4_OSFXSR | CR4_OSXMMEXCPT;
	r.vrs_gprs[VCPU_REGS_RIP] = CODE;
	r.vrs_gprs[VCPU_REGS_RSP] = STACK;
	assert_int_equal(ops->eo_reset(vcpu, &r), 0);
}

static int
teardown(void **state)
{
	(void)state;
	if (vcpu == NULL)
		return (0);
	mprotect(mem, MEMORY, PROT_READ | PROT_WRITE);
	ops->eo_vcpu_free(vcpu);
	ops->eo_vm_free(vm);
	munmap(mem, MEMORY);
	vcpu = NULL;
	return (0);
}

#define CODE_IS(...)							\
	do {								\
		static const uint8_t code_[] = { __VA_ARGS__ };		\
		memcpy(mem + CODE, code_, sizeof(code_));		\
	} while (0)

static uint64_t
reg(unsigned n)
{
	struct vcpu_reg_state r;

	ops->eo_getregs(vcpu, VM_RWREGS_GPRS, &r);
	return (r.vrs_gprs[n]);
}

static void
set_reg(unsigned n, uint64_t value)
{
	struct vcpu_reg_state r;

	ops->eo_getregs(vcpu, VM_RWREGS_ALL, &r);
	r.vrs_gprs[n] = value;
	assert_int_equal(ops->eo_setregs(vcpu, VM_RWREGS_GPRS, &r), 0);
}

static enum engine_exit
run(void)
{
	struct engine_run r = { .er_inject = -1 };

	hostfault_init();	/* cmocka has its own handlers */
	assert_int_equal(ops->eo_run(vcpu, &r), 0);
	return (r.er_exit);
}

static enum engine_exit
run_at(uint64_t rip)
{
	set_reg(VCPU_REGS_RIP, rip);
	return (run());
}

static const struct jit_stats *
stats(void)
{
	return (&((const struct cpu *)(const void *)vcpu)->c_jit->j_stats);
}

/* --- options ------------------------------------------------------------------------ */

static void
options(void **state)
{
	static const struct {
		const char *text;
		int	 bad;		/* where; -1: nowhere */
	} rows[] = {
		{ "", -1 }, { "interp", -1 }, { "jit", -1 },
		{ "jit,hot=7,tlb=64,cache=0", -1 },
		{ "hot=4294967295", -1 }, { "hot=4294967296", 0 },
		{ "jit,", -1 }, { "jit,,exact", 4 },
		{ "jitter", 0 }, { "ji", 0 }, { "jit,hot", 4 },
		{ "jit,hot=", 4 }, { "jit,hot=-1", 4 }, { "jit,hot=1x", 4 },
		{ "exact=1", 0 }, { "jit,exact,foo=1,interp", 10 },
		{ "jit,hot= 1", 4 }, { "=1", 0 },
	};
	struct jit_options jo;
	const char *bad;
	char why[80];
	unsigned n;
	int error;

	(void)state;
	for (n = 0; n < sizeof(rows) / sizeof(rows[0]); n++) {
		bad = NULL;
		error = jit_options(rows[n].text, &jo, &bad);
		assert_int_equal(error, rows[n].bad < 0 ? 0 : EINVAL);
		if (error != 0)
			assert_int_equal(bad - rows[n].text, rows[n].bad);
	}
	assert_int_equal(jit_options("jit,hot=7,tlb=64,exact", &jo, &bad), 0);
	assert_false(jo.jo_interp);
	assert_int_equal(jo.jo_hot, 7);
	assert_int_equal(jo.jo_tlb, 64);
	assert_true(jo.jo_exact);
	assert_false(jo.jo_nochain);
	assert_int_equal(jit_options("jit,lockstep", &jo, &bad), 0);
	assert_true(jo.jo_exact && jo.jo_nochain);
	assert_int_equal(jit_options("interp,foo", &jo, &bad), EINVAL);
	assert_int_equal(ops->eo_options("interp,foo", why, sizeof(why)),
	    EINVAL);
	assert_string_equal(why, "the soft engine has no option \"foo\"");
}

/* --- the return stack ------------------------------------------------------------------ */

/* A sum by recursion, deeper than the return stack. */
static void
recursion(void **state)
{
	unsigned depth = 60000, n;

	(void)state;
	start("jit,hot=1", true);
	/*
	 *	call f; hlt
	 * f:	push eax; test eax,eax; jz 1f; dec eax; call f
	 * 1:	pop ecx; add edx,ecx; ret
	 */
	CODE_IS(0xe8, 1, 0, 0, 0, 0xf4,
	    0x50, 0x85, 0xc0, 0x74, 6, 0x48, 0xe8, 0xf5, 0xff, 0xff, 0xff,
	    0x59, 0x01, 0xca, 0xc3);
	for (n = 0; n < 5; n++) {
		set_reg(VCPU_REGS_RAX, depth);
		set_reg(VCPU_REGS_RDX, 0);
		assert_int_equal(run_at(CODE), ENGINE_EXIT_HLT);
		assert_int_equal(reg(VCPU_REGS_RDX),
		    (uint32_t)((uint64_t)depth * (depth + 1) / 2));
		assert_int_equal(reg(VCPU_REGS_RSP), STACK);
		assert_int_equal(reg(VCPU_REGS_RIP), CODE + 6);
	}
	assert_true(stats()->js_translated > 0);
	assert_true(stats()->js_ret_reset > 2);
}

/* Returns to 0, where an empty return stack seems to know the way. */
static void
return_to_zero(void **state)
{
	unsigned n;

	(void)state;
	start("jit,hot=1", true);
	/* 0: inc ebx; hlt.  push 0; ret */
	memcpy(mem, "\x43\xf4", 2);
	CODE_IS(0x6a, 0, 0xc3);
	for (n = 1; n < 9; n++) {
		assert_int_equal(run_at(CODE), ENGINE_EXIT_HLT);
		assert_int_equal(reg(VCPU_REGS_RIP), 2);
		assert_int_equal(reg(VCPU_REGS_RBX), n);
		assert_int_equal(reg(VCPU_REGS_RSP), STACK);
	}
	assert_true(stats()->js_enter > 0);
}

/* --- host faults ----------------------------------------------------------------------- */

/* The client takes away memory that translated code is writing. */
static void
rights(void **state)
{
	(void)state;
	start("jit,hot=1", true);
	/* 1: mov [edi],eax; inc eax; add edi,64; cmp edi,esi; jb 1b; hlt;
	 * mov edi,DATA; mov eax,100h; jmp 1b */
	CODE_IS(0x89, 0x07, 0x40, 0x83, 0xc7, 0x40, 0x39, 0xf7, 0x72, 0xf6,
	    0xf4, 0xbf, 0, 0, 1, 0, 0xb8, 0, 1, 0, 0, 0xeb, 0xe9);
	set_reg(VCPU_REGS_RAX, 0);
	set_reg(VCPU_REGS_RDI, DATA);
	set_reg(VCPU_REGS_RSI, DATA + 0x8000);
	assert_int_equal(run_at(CODE), ENGINE_EXIT_HLT);

	/* on from the HLT: the addresses are still known */
	mprotect(mem + DATA + 0x3000, 0x1000, PROT_NONE);
	assert_int_equal(run(), ENGINE_EXIT_PROTECT);
	assert_int_equal(reg(VCPU_REGS_RIP), CODE);
	assert_int_equal(reg(VCPU_REGS_RDI), DATA + 0x3000);
	assert_int_equal(reg(VCPU_REGS_RAX), 0x100 + 0x3000 / 64);
	assert_true(stats()->js_fault > 0);
	/* again, without progress; then with */
	assert_int_equal(run(), ENGINE_EXIT_PROTECT);
	assert_int_equal(reg(VCPU_REGS_RDI), DATA + 0x3000);
	mprotect(mem + DATA + 0x3000, 0x1000, PROT_READ | PROT_WRITE);
	assert_int_equal(run(), ENGINE_EXIT_HLT);
	assert_int_equal(reg(VCPU_REGS_RAX), 0x100 + 0x8000 / 64);
	assert_int_equal(mem[DATA + 0x3000], 0xc0);
}

/* The same of the page tables. */
static void
rights_of_tables(void **state)
{
	struct vcpu_reg_state r;
	uint32_t entry, n;

	(void)state;
	start("jit,hot=1", true);
	for (n = 0; n < 512; n++) {
		entry = n << 12 | 3;
		memcpy(mem + 0x8000 + n * 4, &entry, 4);
	}
	entry = 0x8003;
	memcpy(mem + 0x7000, &entry, 4);
	ops->eo_getregs(vcpu, VM_RWREGS_ALL, &r);
	r.vrs_crs[VCPU_REGS_CR0] |= CR0_PG;
	r.vrs_crs[VCPU_REGS_CR3] = 0x7000;
	assert_int_equal(ops->eo_setregs(vcpu, VM_RWREGS_CRS, &r), 0);
	/* 1: addps xmm0,[edi]; add edi,4096; dec ecx; jnz 1b; hlt;
	 * mov ecx,8; jmp 1b */
	CODE_IS(0x0f, 0x58, 0x07, 0x81, 0xc7, 0, 0x10, 0, 0, 0x49, 0x75, 0xf4,
	    0xf4, 0xb9, 8, 0, 0, 0, 0xeb, 0xec);
	for (n = 0; n < 4; n++) {
		set_reg(VCPU_REGS_RCX, 8);
		set_reg(VCPU_REGS_RDI, DATA);
		assert_int_equal(run_at(CODE), ENGINE_EXIT_HLT);
	}
	mprotect(mem + 0x8000, 0x1000, PROT_NONE);
	assert_int_equal(run(), ENGINE_EXIT_PROTECT);
	assert_int_equal(reg(VCPU_REGS_RIP), CODE);
	assert_int_equal(reg(VCPU_REGS_RDI), DATA + 0x8000);
	mprotect(mem + 0x8000, 0x1000, PROT_READ | PROT_WRITE);
	assert_int_equal(run(), ENGINE_EXIT_HLT);
	assert_int_equal(reg(VCPU_REGS_RDI), DATA + 0x10000);
}

/* What the host's CPU refuses in the middle of a translation. */
static void
division(void **state)
{
	(void)state;
	start("jit,hot=1", true);
	/* 1: mov eax,100; xor edx,edx; div ecx; add ebx,eax; dec ecx; jmp 1b */
	CODE_IS(0xb8, 100, 0, 0, 0, 0x31, 0xd2, 0xf7, 0xf1, 0x01, 0xc3, 0x49,
	    0xeb, 0xf2);
	set_reg(VCPU_REGS_RBX, 0);
	set_reg(VCPU_REGS_RCX, 10);
	assert_int_equal(run_at(CODE), ENGINE_EXIT_HLT);
	assert_int_equal(reg(VCPU_REGS_RIP), HANDLER + 1);
	assert_int_equal(*(uint32_t *)(void *)(mem + STACK - 12), CODE + 7);
	assert_int_equal(reg(VCPU_REGS_RAX), 100);
	assert_int_equal(reg(VCPU_REGS_RCX), 0);
	assert_int_equal(reg(VCPU_REGS_RBX), 100 + 50 + 33 + 25 + 20 + 16 +
	    14 + 12 + 11 + 10);
	assert_true(stats()->js_fault > 0);
}

static void
alignment(void **state)
{
	unsigned n;

	(void)state;
	start("jit,hot=1", true);
	/* 1: movaps [edi],xmm0; dec edi; jmp 1b */
	CODE_IS(0x0f, 0x29, 0x07, 0x4f, 0xeb, 0xfa);
	for (n = 0; n < 4; n++) {
		set_reg(VCPU_REGS_RDI, DATA + 16);
		set_reg(VCPU_REGS_RSP, STACK);
		assert_int_equal(run_at(CODE), ENGINE_EXIT_HLT);
		assert_int_equal(reg(VCPU_REGS_RIP),
		    HANDLER + VMM_EX_GP * 16 + 1);
		assert_int_equal(reg(VCPU_REGS_RDI), DATA + 15);
	}
	assert_true(stats()->js_fault > 0);
}

/* --- what the client writes --------------------------------------------------------------- */

/* More instructions than are kept decoded; one of each block is interpreted
 * from its translation. */
static void
forgotten(void **state)
{
	/* inc ebx; aad 0; jmp to the next */
	static const uint8_t block[] = { 0x43, 0xd5, 0, 0xeb, 0 };
	unsigned n, blocks = 20000;

	(void)state;
	start("jit", true);
	for (n = 0; n < blocks; n++)
		memcpy(mem + 0x20000 + n * 5, block, 5);
	mem[0x20000 + n * 5] = 0xf4;
	for (n = 1; n <= 4; n++) {
		assert_int_equal(run_at(0x20000), ENGINE_EXIT_HLT);
		assert_int_equal(reg(VCPU_REGS_RBX), blocks * n);
	}
	assert_true(stats()->js_translated >= blocks);
	assert_true(stats()->js_interp_insns >= blocks);
}

/*
 * A page that held code is data: stores to it are fast again. Code that is
 * executed there later is known as such.
 */
static void
becomes_data(uint32_t data)
{
	const uint32_t code = 0x15000, stores = 200000;
	uint64_t before;
	unsigned n;

	start("jit", true);
	/* mov ecx,ebx; 1: mov [data],ecx; dec ecx; jnz 1b; hlt */
	CODE_IS(0x89, 0xd9, 0x89, 0x0d, 0, 0, 0, 0, 0x49, 0x75, 0xf7, 0xf4);
	memcpy(mem + CODE + 4, &data, sizeof(data));
	/* mov eax,1; hlt. mov byte [that 1],2; hlt */
	memcpy(mem + code, "\xb8\1\0\0\0\xf4", 6);
	memcpy(mem + CODE + 0x100, "\xc6\x05\1\x50\1\0\2\xf4", 8);
	for (n = 0; n < 5; n++)
		assert_int_equal(run_at(code), ENGINE_EXIT_HLT);
	assert_int_equal(reg(VCPU_REGS_RAX), 1);

	set_reg(VCPU_REGS_RBX, stores);
	before = stats()->js_fill_write + stats()->js_slow;
	assert_int_equal(run_at(CODE), ENGINE_EXIT_HLT);
	assert_int_equal(mem[data], 1);
	assert_in_range(stats()->js_fill_write + stats()->js_slow - before, 1,
	    stores / 20);

	for (n = 0; n < 5; n++)
		assert_int_equal(run_at(code), ENGINE_EXIT_HLT);
	assert_int_equal(reg(VCPU_REGS_RAX), 1);
	assert_int_equal(run_at(CODE + 0x100), ENGINE_EXIT_HLT);
	assert_int_equal(run_at(code), ENGINE_EXIT_HLT);
	assert_int_equal(reg(VCPU_REGS_RAX), 2);
}

static void
data_again(void **state)
{
	(void)state;
	becomes_data(0x15800);
}

/* Among bytes that would be looked at one block by one. */
static void
data_again_near(void **state)
{
	(void)state;
	becomes_data(0x15010);
}

/* Block after block is rewritten between runs. */
static void
written(bool reported)
{
	unsigned n, k;

	start("jit,hot=1", reported);
	/* 1: mov eax,n; jmp 2f; 2: add ebx,eax; dec ecx; jnz 1b; hlt */
	CODE_IS(0xb8, 0, 0, 0, 0, 0xeb, 0, 0x01, 0xc3, 0x49, 0x75, 0xf4, 0xf4);
	for (n = 1; n < 20; n++) {
		for (k = 0; k < 3; k++) {
			mem[CODE + 1] = (uint8_t)(n + k);
			if (reported)
				ops->eo_written(vm, CODE + 1, 1);
			set_reg(VCPU_REGS_RBX, 0);
			set_reg(VCPU_REGS_RCX, 100);
			assert_int_equal(run_at(CODE), ENGINE_EXIT_HLT);
			assert_int_equal(reg(VCPU_REGS_RBX), 100 * (n + k));
		}
		/* the other block: add, sub */
		mem[CODE + 7] ^= 0x01 ^ 0x29;
		if (reported)
			ops->eo_written(vm, CODE + 7, 1);
		set_reg(VCPU_REGS_RBX, 0);
		set_reg(VCPU_REGS_RCX, 100);
		assert_int_equal(run_at(CODE), ENGINE_EXIT_HLT);
		assert_int_equal(reg(VCPU_REGS_RBX), (uint32_t)-(100 *
		    (n + 2)));
		mem[CODE + 7] ^= 0x01 ^ 0x29;
		if (reported)
			ops->eo_written(vm, CODE + 7, 1);
	}
	assert_true(stats()->js_translated > 10);
}

static void
written_reported(void **state)
{
	(void)state;
	written(true);
}

static void
written_unreported(void **state)
{
	(void)state;
	written(false);
}

/* A client that begins to report, and stops. */
static void
reports_change(void **state)
{
	unsigned n;

	(void)state;
	start("jit,hot=1", true);
	/* 1: mov eax,n; dec ecx; jnz 1b; hlt */
	CODE_IS(0xb8, 0, 0, 0, 0, 0x49, 0x75, 0xf8, 0xf4);
	for (n = 1; n < 20; n++) {
		ops->eo_writes_reported(vm, n % 3 == 0);
		mem[CODE + 1] = (uint8_t)n;
		ops->eo_written(vm, CODE + 1, 1);
		set_reg(VCPU_REGS_RCX, 50);
		assert_int_equal(run_at(CODE), ENGINE_EXIT_HLT);
		assert_int_equal(reg(VCPU_REGS_RAX), n);
		if (n % 3 == 0)
			continue;
		mem[CODE + 1] = (uint8_t)(n + 100);
		set_reg(VCPU_REGS_RCX, 50);
		assert_int_equal(run_at(CODE), ENGINE_EXIT_HLT);
		assert_int_equal(reg(VCPU_REGS_RAX), n + 100);
	}
}

/* --- the thread ------------------------------------------------------------------------------ */

static uint64_t
gsbase(void)
{
	uint64_t base = 1;

	syscall(SYS_arch_prctl, ARCH_GET_GS, &base);
	return (base);
}

/* Runs the loop of thread(), with a GS of its own. */
static void *
other_thread(void *arg)
{
	syscall(SYS_arch_prctl, ARCH_SET_GS, 0x123000);
	set_reg(VCPU_REGS_RCX, 100);
	assert_int_equal(run_at(CODE), ENGINE_EXIT_HLT);
	assert_int_equal(gsbase(), 0x123000);
	return (arg);
}

static void
thread(const char *words)
{
	pthread_t t;

	start(words, true);
	/* 1: add ebx,ecx; dec ecx; jnz 1b; hlt */
	CODE_IS(0x01, 0xcb, 0x49, 0x75, 0xfb, 0xf4);
	set_reg(VCPU_REGS_RBX, 0);
	syscall(SYS_arch_prctl, ARCH_SET_GS, 0x456000);
	set_reg(VCPU_REGS_RCX, 100);
	assert_int_equal(run_at(CODE), ENGINE_EXIT_HLT);
	assert_int_equal(gsbase(), 0x456000);
	assert_int_equal(pthread_create(&t, NULL, other_thread, NULL), 0);
	pthread_join(t, NULL);
	assert_int_equal(gsbase(), 0x456000);
	set_reg(VCPU_REGS_RCX, 100);
	assert_int_equal(run_at(CODE), ENGINE_EXIT_HLT);
	assert_int_equal(reg(VCPU_REGS_RBX), 3 * 5050);
	syscall(SYS_arch_prctl, ARCH_SET_GS, 0);
	assert_true(stats()->js_enter > 0);
}

static void
threads(void **state)
{
	(void)state;
	thread("jit,hot=1");
}

static void
threads_nofsgsbase(void **state)
{
	(void)state;
	thread("jit,hot=1,nofsgsbase");
}

/* The host's MXCSR and x87 control word are what they were. */
static void
control_words(void **state)
{
	uint32_t before = 0x3fc0 & ~0x40u, after, mxcsr;
	uint16_t cw = 0x0c7f, fcw;
	unsigned n;

	(void)state;
	start("jit,hot=1", true);
	/* ldmxcsr [DATA]; fldcw [DATA+4]; fld1; mulps xmm0,xmm0; dec ecx;
	 * jnz; hlt */
	CODE_IS(0x0f, 0xae, 0x15, 0, 0, 1, 0, 0xd9, 0x2d, 4, 0, 1, 0,
	    0xd9, 0xe8, 0x0f, 0x59, 0xc0, 0x49, 0x75, 0xeb, 0xf4);
	memcpy(mem + DATA, "\x80\x9f\0\0\x7f\x07", 6);
	__asm__ volatile("stmxcsr %0; fnstcw %1" : "=m"(mxcsr), "=m"(fcw));
	__asm__ volatile("ldmxcsr %0; fldcw %1" : : "m"(before), "m"(cw));
	for (n = 0; n < 4; n++) {
		set_reg(VCPU_REGS_RCX, 3);
		assert_int_equal(run_at(CODE), ENGINE_EXIT_HLT);
	}
	__asm__ volatile("stmxcsr %0; fnstcw %1; ldmxcsr %2; fldcw %3"
	    : "=m"(after), "+m"(cw) : "m"(mxcsr), "m"(fcw));
	assert_int_equal(after & 0xffc0, before & 0xffc0);
	assert_int_equal(cw, 0x0c7f);
	assert_true(stats()->js_enter > 0);
}

int
main(void)
{
#define RUN_TEST(fn)	cmocka_unit_test_setup_teardown(fn, NULL, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options),
		RUN_TEST(recursion),
		RUN_TEST(return_to_zero),
		RUN_TEST(rights),
		RUN_TEST(rights_of_tables),
		RUN_TEST(division),
		RUN_TEST(alignment),
		RUN_TEST(forgotten),
		RUN_TEST(data_again),
		RUN_TEST(data_again_near),
		RUN_TEST(written_reported),
		RUN_TEST(written_unreported),
		RUN_TEST(reports_change),
		RUN_TEST(threads),
		RUN_TEST(threads_nofsgsbase),
		RUN_TEST(control_words),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
