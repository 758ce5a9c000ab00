/*
 * The engine's contract (engine/engine.h), from its client's side: kicks,
 * injection and windows, shadows, device memory, IN and INS, rights, memory
 * that the client writes, states that are refused.
 */
#include <sys/mman.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/bare.h"
#include "../lib/engine_options.h"
#include "base/hostfault.h"
#include "engine/engine.h"
#include "engine/soft/cpu.h"

#define MEMORY		0x100000u
#define CODE		0x1000u
#define DEVICE		0x200000u	/* beyond memory */
#define HANDLER		BARE_HANDLER

static const struct engine_ops *ops;
static uint8_t *mem;
static bool kvm;		/* differs where engine.h leaves a choice */
static struct engine_vm *vm;
static struct engine_vcpu *vcpu;
static struct bare bare;

/* --- a guest in flat 32-bit protected mode, without paging ----------------------- */

static int
setup_vm(void **state, bool reported)
{
	struct engine_range range = { .er_size = MEMORY };
	struct engine_vm_config config = { .ev_ranges = &range,
	    .ev_nranges = 1, .ev_tsc_khz = 1000000,
	    .ev_writes_reported = reported, .ev_options = engine_options() };
	struct vcpu_reg_state r;

	(void)state;
	memset(&bare, 0, sizeof(bare));
	mem = range.er_host = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED || ops->eo_vm_new(&config, &vm) != 0 ||
	    ops->eo_vcpu_new(vm, 0, &bare_host, &bare, &vcpu) != 0)
		return (-1);
	ops->eo_getregs(vcpu, VM_RWREGS_ALL, &r);
	bare_flat(mem, &r);
	r.vrs_gprs[VCPU_REGS_RIP] = CODE;
	r.vrs_gprs[VCPU_REGS_RSP] = 0x8000;
	return (ops->eo_reset(vcpu, &r));
}

static int
setup(void **state)
{
	return (setup_vm(state, true));
}

static int
setup_unreported(void **state)
{
	return (setup_vm(state, false));
}

static int
teardown(void **state)
{
	(void)state;
	mprotect(mem, MEMORY, PROT_READ | PROT_WRITE);
	ops->eo_vcpu_free(vcpu);
	ops->eo_vm_free(vm);
	munmap(mem, MEMORY);
	return (0);
}

static uint64_t
reg(unsigned n)
{
	struct vcpu_reg_state r;

	ops->eo_getregs(vcpu, VM_RWREGS_ALL, &r);
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

#define CODE_IS(...)							\
	do {								\
		static const uint8_t code_[] = { __VA_ARGS__ };		\
		memcpy(mem + CODE, code_, sizeof(code_));		\
	} while (0)

static struct engine_run
run(struct engine_run r)
{
	hostfault_init();	/* cmocka has its own handlers */
	assert_int_equal(ops->eo_run(vcpu, &r), 0);
	return (r);
}
#define PLAIN		((struct engine_run){ .er_inject = -1 })
#define INJECT(n)	((struct engine_run){ .er_inject = (n) })
#define WINDOW		((struct engine_run){ .er_inject = -1,		\
			    .er_window = true })
#define DONE(v)		((struct engine_run){ .er_inject = -1,		\
			    .er_complete = true, .er_data = (v) })

/* --- the tests ------------------------------------------------------------------------ */

static void
kick(void **state)
{
	struct engine_run r;

	(void)state;
	CODE_IS(0x40, 0xeb, 0xfd, 0xf4);	/* inc eax; jmp -3 */
	ops->eo_kick(vcpu);
	r = run(PLAIN);
	assert_int_equal(r.er_exit, ENGINE_EXIT_KICK);
	assert_int_equal(reg(VCPU_REGS_RAX), 0);
	assert_int_equal(reg(VCPU_REGS_RIP), CODE);
	/* a kick comes once, and is not lost by another exit */
	CODE_IS(0xe6, 0x80, 0xf4);		/* out; hlt */
	r = run(PLAIN);
	assert_int_equal(r.er_exit, ENGINE_EXIT_IO);
	ops->eo_kick(vcpu);
	r = run(PLAIN);
	assert_int_equal(r.er_exit, ENGINE_EXIT_KICK);
	r = run(PLAIN);
	assert_int_equal(r.er_exit, ENGINE_EXIT_HLT);
}

static void
interrupts(void **state)
{
	struct engine_run r;

	(void)state;
	/* hlt; sti; nop; nop; hlt */
	CODE_IS(0xf4, 0xfb, 0x90, 0x90, 0xf4);
	r = run(PLAIN);
	assert_int_equal(r.er_exit, ENGINE_EXIT_HLT);
	assert_false(r.er_ready);
	assert_false(ops->eo_ready(vcpu));
	/* the window opens one instruction after STI */
	r = run(WINDOW);
	assert_int_equal(r.er_exit, ENGINE_EXIT_WINDOW);
	assert_true(r.er_ready);
	assert_int_equal(reg(VCPU_REGS_RIP), CODE + 3);
	/* an injected vector goes in first, even with a kick */
	ops->eo_kick(vcpu);
	r = run(INJECT(33));
	assert_int_equal(r.er_exit, ENGINE_EXIT_KICK);
	if (!kvm)		/* which keeps it */
		assert_int_equal(reg(VCPU_REGS_RIP), HANDLER + 33 * 16);
	assert_false(r.er_ready);
	r = run(PLAIN);
	assert_int_equal(r.er_exit, ENGINE_EXIT_HLT);
	/* an NMI does not ask IF; no second one before IRET */
	r = run((struct engine_run){ .er_inject = -1, .er_nmi = true });
	assert_int_equal(reg(VCPU_REGS_RIP), HANDLER + 2 * 16 + 1);
	r = run((struct engine_run){ .er_inject = -1, .er_nmi = true });
	assert_int_equal(reg(VCPU_REGS_RIP), HANDLER + 2 * 16 + 1);
	assert_int_equal(r.er_exit, ENGINE_EXIT_HLT);
}

static void
device_memory(void **state)
{
	struct engine_run r;

	(void)state;
	/* add [DEVICE], eax; hlt: a read, then a write */
	CODE_IS(0x01, 0x05, 0x00, 0x00, 0x20, 0x00, 0xf4);
	set_reg(VCPU_REGS_RAX, 5);
	r = run(PLAIN);
	assert_int_equal(r.er_exit, ENGINE_EXIT_MMIO);
	assert_int_equal(r.er_mmio.gpa, DEVICE);
	assert_int_equal(r.er_mmio.size, 4);
	assert_false(r.er_mmio.write);
	assert_int_equal(reg(VCPU_REGS_RIP), CODE);
	r = run(DONE(37));
	assert_int_equal(r.er_exit, ENGINE_EXIT_MMIO);
	assert_true(r.er_mmio.write);
	assert_int_equal(r.er_mmio.data, 42);
	if (!kvm)		/* which is past it */
		assert_int_equal(reg(VCPU_REGS_RIP), CODE);
	r = run(DONE(0));
	assert_int_equal(r.er_exit, ENGINE_EXIT_HLT);
	/* push [bare]; then mov [DEVICE], eax: what was answered at once is not
	 * asked again when the instruction starts anew */
	bare.b_gpa = DEVICE + 0x1000;
	bare.b_value = 7;
	set_reg(VCPU_REGS_RIP, CODE + 0x100);
	memcpy(mem + CODE + 0x100, "\xa5\xf4", 2);	/* movsd; hlt */
	set_reg(VCPU_REGS_RSI, DEVICE + 0x1000);
	set_reg(VCPU_REGS_RDI, DEVICE);
	r = run(PLAIN);
	assert_int_equal(r.er_exit, ENGINE_EXIT_MMIO);
	assert_int_equal(r.er_mmio.data, 7);
	r = run(DONE(0));
	assert_int_equal(r.er_exit, ENGINE_EXIT_HLT);
	assert_int_equal(bare.b_reads, 1);
	assert_int_equal(reg(VCPU_REGS_RSI), DEVICE + 0x1004);
}

/* An instruction that waits for a device and then faults has no use for the
 * answer. */
static void
device_memory_forgotten(void **state)
{
	struct vcpu_reg_state regs;
	struct engine_run r;

	(void)state;
	CODE_IS(0xa1, 0x00, 0x00, 0x20, 0x00, 0xf4);	/* mov eax, [DEVICE] */
	r = run(PLAIN);
	assert_int_equal(r.er_exit, ENGINE_EXIT_MMIO);
	ops->eo_getregs(vcpu, VM_RWREGS_ALL, &regs);
	regs.vrs_sregs[VCPU_REGS_DS].vsi_limit = 0xffff;
	assert_int_equal(ops->eo_setregs(vcpu, VM_RWREGS_SREGS, &regs), 0);
	alarm(60);
	r = run(DONE(1));
	alarm(0);
	assert_int_equal(r.er_exit, ENGINE_EXIT_HLT);
	assert_int_equal(reg(VCPU_REGS_RIP), HANDLER + 13 * 16 + 1);
}

/* A breakpoint on the gate of #DB: one #DB after the other. */
static void
kick_endless_debug(void **state)
{
	struct vcpu_reg_state r;
	struct engine_run er;

	(void)state;
	if (kvm)
		skip();		/* a kick comes before the vector there */
	ops->eo_getregs(vcpu, VM_RWREGS_ALL, &r);
	r.vrs_gprs[VCPU_REGS_RFLAGS] |= 0x200;
	r.vrs_gprs[VCPU_REGS_RSP] = 0xfff00000;	/* nothing is there */
	r.vrs_drs[0] = 0x2108;
	r.vrs_drs[1] = 0x2100 + 33 * 8;
	r.vrs_drs[VCPU_REGS_DR7] = 0xff040a;	/* both: 4 bytes, any access */
	assert_int_equal(ops->eo_setregs(vcpu, VM_RWREGS_ALL, &r), 0);
	alarm(60);
	ops->eo_kick(vcpu);
	er = run(INJECT(33));
	assert_int_equal(er.er_exit, ENGINE_EXIT_KICK);
	assert_int_equal(reg(VCPU_REGS_RIP), HANDLER + 33 * 16);
	ops->eo_kick(vcpu);
	er = run(PLAIN);
	alarm(0);
	assert_int_equal(er.er_exit, ENGINE_EXIT_KICK);
	assert_int_equal(reg(VCPU_REGS_RIP), HANDLER + 16);
}

static void
input(void **state)
{
	struct engine_run r;

	(void)state;
	/* in al, 60h; in ax, 60h; in eax, 60h; hlt */
	CODE_IS(0xe4, 0x60, 0x66, 0xe5, 0x60, 0xe5, 0x60, 0xf4);
	set_reg(VCPU_REGS_RAX, 0x11223344);
	r = run(PLAIN);
	assert_int_equal(r.er_exit, ENGINE_EXIT_IO);
	assert_int_equal(r.er_io.vei_dir, VEI_DIR_IN);
	assert_int_equal(r.er_io.vei_port, 0x60);
	assert_int_equal(reg(VCPU_REGS_RIP), CODE + 2);
	run(DONE(0xffffffaa));
	assert_int_equal(reg(VCPU_REGS_RAX), 0x112233aa);
	run(DONE(0xffffbbcc));
	assert_int_equal(reg(VCPU_REGS_RAX), 0x1122bbcc);
	run(DONE(0x99887766));
	assert_int_equal(reg(VCPU_REGS_RAX), 0x99887766);
	/* rep insd, two elements, the first across a page end */
	memcpy(mem + CODE + 0x100, "\xf3\x6d\xf4", 3);
	set_reg(VCPU_REGS_RIP, CODE + 0x100);
	set_reg(VCPU_REGS_RCX, 2);
	set_reg(VCPU_REGS_RDX, 0x170);
	set_reg(VCPU_REGS_RDI, 0xaffe);
	r = run(PLAIN);
	assert_true(r.er_io.vei_rep && r.er_io.vei_string);
	assert_int_equal(reg(VCPU_REGS_RCX), 1);
	assert_int_equal(reg(VCPU_REGS_RIP), CODE + 0x100);
	r = run(DONE(0x04030201));
	assert_int_equal(reg(VCPU_REGS_RIP), CODE + 0x102);
	r = run(DONE(0x08070605));
	assert_int_equal(r.er_exit, ENGINE_EXIT_HLT);
	assert_memory_equal(mem + 0xaffe, "\1\2\3\4\5\6\7\10", 8);
}

static void
rights(void **state)
{
	struct engine_run r;

	(void)state;
	/* mov [9000h], eax; mov eax, [9000h]; hlt */
	CODE_IS(0xa3, 0x00, 0x90, 0, 0, 0xa1, 0x00, 0x90, 0, 0, 0xf4);
	assert_int_equal(ops->eo_protect(vm, 0x9000, 0x1000, PROT_READ), 0);
	r = run(PLAIN);
	assert_int_equal(r.er_exit, ENGINE_EXIT_PROTECT);
	assert_int_equal(r.er_protect.gpa, 0x9000);
	assert_int_equal(r.er_protect.access, ENGINE_WRITE);
	assert_int_equal(reg(VCPU_REGS_RIP), CODE);
	assert_int_equal(ops->eo_protect(vm, 0x9000, 0x1000,
	    PROT_READ | PROT_WRITE), 0);
	/* the host's own rights, after the engine had a translation */
	r = run(PLAIN);
	assert_int_equal(r.er_exit, ENGINE_EXIT_HLT);
	set_reg(VCPU_REGS_RIP, CODE + 5);
	assert_int_equal(mprotect(mem + 0x9000, 0x1000, PROT_NONE), 0);
	r = run(PLAIN);
	assert_int_equal(r.er_exit, ENGINE_EXIT_PROTECT);
	if (!kvm || r.er_protect.gpa != UINT64_MAX)	/* it may not know */
		assert_int_equal(r.er_protect.gpa, 0x9000);
	assert_int_equal(r.er_protect.access, ENGINE_READ);
	assert_int_equal(reg(VCPU_REGS_RIP), CODE + 5);
	mprotect(mem + 0x9000, 0x1000, PROT_READ | PROT_WRITE);
	r = run(PLAIN);
	assert_int_equal(r.er_exit, ENGINE_EXIT_HLT);
	/* no code from there */
	set_reg(VCPU_REGS_RIP, 0x9000);
	assert_int_equal(ops->eo_protect(vm, 0x9000, 0x1000,
	    PROT_READ | PROT_WRITE), 0);
	r = run(PLAIN);
	assert_int_equal(r.er_exit, ENGINE_EXIT_PROTECT);
	assert_int_equal(r.er_protect.access, ENGINE_EXEC);
	assert_int_equal(ops->eo_protect(vm, MEMORY - 0x1000, 0x2000,
	    PROT_READ), EFAULT);
}

/* The same inside a vector instruction: the host's own MXCSR comes back. */
static void
rights_of_vectors(void **state)
{
	struct vcpu_reg_state regs;
	struct engine_run r;
	uint32_t before, after;

	(void)state;
	ops->eo_getregs(vcpu, VM_RWREGS_ALL, &regs);
	regs.vrs_crs[VCPU_REGS_CR4] |= CR4_OSFXSR | CR4_OSXMMEXCPT;
	assert_int_equal(ops->eo_setregs(vcpu, VM_RWREGS_CRS, &regs), 0);
	/* ldmxcsr [9000h]; addps xmm0, [a000h]; hlt */
	CODE_IS(0x0f, 0xae, 0x15, 0x00, 0x90, 0, 0, 0x0f, 0x58, 0x05, 0x00,
	    0xa0, 0, 0, 0xf4);
	memcpy(mem + 0x9000, "\x80\x7f\0", 4);	/* round toward zero */
	mprotect(mem + 0xa000, 0x1000, PROT_NONE);
	__asm__ volatile("stmxcsr %0" : "=m"(before));
	r = run(PLAIN);
	__asm__ volatile("stmxcsr %0" : "=m"(after));
	assert_int_equal(r.er_exit, ENGINE_EXIT_PROTECT);
	assert_int_equal(reg(VCPU_REGS_RIP), CODE + 7);
	assert_int_equal(after & 0xffc0, before & 0xffc0);
	mprotect(mem + 0xa000, 0x1000, PROT_READ);
	r = run(PLAIN);
	assert_int_equal(r.er_exit, ENGINE_EXIT_HLT);
}

/* A push to memory that the host forbids, while an interrupt is delivered. */
static void
rights_in_delivery(void **state)
{
	struct engine_run r;

	(void)state;
	CODE_IS(0xfb, 0x90, 0xf4);		/* sti; nop; hlt */
	run(PLAIN);
	set_reg(VCPU_REGS_RSP, 0xa000);
	mprotect(mem + 0x9000, 0x1000, PROT_READ);
	assert_true(ops->eo_ready(vcpu));
	r = run(INJECT(40));
	assert_int_equal(r.er_exit, ENGINE_EXIT_PROTECT);
	if (!kvm)
		assert_int_equal(r.er_protect.access, ENGINE_WRITE);
	assert_int_equal(reg(VCPU_REGS_RSP), 0xa000);
	mprotect(mem + 0x9000, 0x1000, PROT_READ | PROT_WRITE);
	r = run(PLAIN);
	assert_int_equal(reg(VCPU_REGS_RIP), HANDLER + 40 * 16 + 1);
	/* INT n is back on its instruction */
	memcpy(mem + CODE + 0x100, "\xcd\x21", 2);
	set_reg(VCPU_REGS_RIP, CODE + 0x100);
	mprotect(mem + 0x9000, 0x1000, PROT_READ);
	r = run(PLAIN);
	assert_int_equal(r.er_exit, ENGINE_EXIT_PROTECT);
	assert_int_equal(reg(VCPU_REGS_RIP), CODE + 0x100);
	mprotect(mem + 0x9000, 0x1000, PROT_READ | PROT_WRITE);
	r = run(PLAIN);
	assert_int_equal(reg(VCPU_REGS_RIP), HANDLER + 33 * 16 + 1);
}

static void
written(void **state)
{
	(void)state;
	CODE_IS(0xb8, 1, 0, 0, 0, 0xf4);	/* mov eax, 1; hlt */
	run(PLAIN);
	assert_int_equal(reg(VCPU_REGS_RAX), 1);
	mem[CODE + 1] = 2;
	ops->eo_written(vm, CODE + 1, 1);
	set_reg(VCPU_REGS_RIP, CODE);
	run(PLAIN);
	assert_int_equal(reg(VCPU_REGS_RAX), 2);
}

/* An instruction whose two halves are on the same page, mapped twice. */
static void
written_alias(void **state)
{
	struct vcpu_reg_state r;
	uint32_t n, entry;

	(void)state;
	for (n = 0; n < 1024; n++) {
		entry = (n == 0x21 ? 0x20 : n) << 12 | 3;
		memcpy(mem + 0x11000 + n * 4, &entry, 4);
	}
	entry = 0x11003;
	memcpy(mem + 0x10000, &entry, 4);
	memcpy(mem + 0x20ffd, "\xb8\0\0", 3);	/* mov eax, n << 16; hlt */
	memcpy(mem + 0x20000, "\0\0\xf4", 3);
	ops->eo_getregs(vcpu, VM_RWREGS_ALL, &r);
	r.vrs_crs[VCPU_REGS_CR0] |= CR0_PG;
	r.vrs_crs[VCPU_REGS_CR3] = 0x10000;
	assert_int_equal(ops->eo_setregs(vcpu, VM_RWREGS_CRS, &r), 0);
	alarm(60);
	for (n = 1; n < 10; n++) {
		mem[0x20000] = (uint8_t)n;
		ops->eo_written(vm, 0x20000, 1);
		set_reg(VCPU_REGS_RIP, 0x20ffd);
		assert_int_equal(run(PLAIN).er_exit, ENGINE_EXIT_HLT);
		assert_int_equal(reg(VCPU_REGS_RAX), n << 16);
	}
	alarm(0);
}

static void
written_unreported(void **state)
{
	unsigned n;

	(void)state;
	CODE_IS(0xb8, 1, 0, 0, 0, 0xf4);
	for (n = 1; n < 10; n++) {
		mem[CODE + 1] = (uint8_t)n;
		set_reg(VCPU_REGS_RIP, CODE);
		run(PLAIN);
		assert_int_equal(reg(VCPU_REGS_RAX), n);
	}
}

static void
refused(void **state)
{
	struct vcpu_reg_state good, r;

	(void)state;
	ops->eo_getregs(vcpu, VM_RWREGS_ALL, &good);
#define REFUSED(field, value)						\
	do {								\
		r = good;						\
		r.field = (value);					\
		assert_int_equal(ops->eo_setregs(vcpu, VM_RWREGS_ALL, &r), \
		    EINVAL);						\
		assert_int_equal(ops->eo_reset(vcpu, &r), EINVAL);	\
	} while (0)
	REFUSED(vrs_crs[VCPU_REGS_CR0], CR0_PG);
	REFUSED(vrs_crs[VCPU_REGS_CR0], CR0_PE | CR0_NW);
	REFUSED(vrs_crs[VCPU_REGS_CR0], 1ull << 32);
	REFUSED(vrs_crs[VCPU_REGS_CR3], 1ull << 62);
	REFUSED(vrs_crs[VCPU_REGS_CR4], 1u << 13);
	REFUSED(vrs_crs[VCPU_REGS_CR4], CR4_PCIDE);
	REFUSED(vrs_crs[VCPU_REGS_CR8], 16);
	REFUSED(vrs_crs[VCPU_REGS_XCR0], 5);
	REFUSED(vrs_msrs[VCPU_REGS_EFER], EFER_LMA);
	REFUSED(vrs_msrs[VCPU_REGS_EFER], 2);
	REFUSED(vrs_msrs[VCPU_REGS_LSTAR], 1ull << 47);
	REFUSED(vrs_sregs[VCPU_REGS_FS].vsi_base, 1ull << 63);
	REFUSED(vrs_drs[VCPU_REGS_DR7], 1ull << 32);
	/* nothing of it has stuck */
	ops->eo_getregs(vcpu, VM_RWREGS_ALL, &r);
	assert_memory_equal(r.vrs_crs, good.vrs_crs, sizeof(r.vrs_crs));
}

static void
shutdown_exit(void **state)
{
	struct vcpu_reg_state r;
	struct engine_run er;

	(void)state;
	CODE_IS(0x0f, 0x0b);			/* ud2, and no IDT */
	ops->eo_getregs(vcpu, VM_RWREGS_ALL, &r);
	r.vrs_idtr.vsi_limit = 0;
	assert_int_equal(ops->eo_setregs(vcpu, VM_RWREGS_SREGS, &r), 0);
	er = run(PLAIN);
	assert_int_equal(er.er_exit, ENGINE_EXIT_SHUTDOWN);
}

int
main(void)
{
#define TEST(f)	cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(kick), TEST(interrupts), TEST(device_memory),
		TEST(device_memory_forgotten), TEST(kick_endless_debug), TEST(input),
		TEST(rights), TEST(rights_of_vectors), TEST(rights_in_delivery),
		TEST(written), TEST(written_alias),
		cmocka_unit_test_setup_teardown(written_unreported,
		    setup_unreported, teardown),
		TEST(refused), TEST(shutdown_exit),
	};

	ops = engine_tested();
	kvm = ops == &engine_kvm;
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
