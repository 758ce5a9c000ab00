/*
 * The TLB and the jump cache of translated code have exactly the entries that
 * the architecture allows them: they appear with a fill, and go with INVLPG,
 * CR3, CR4.PGE, code, breakpoints and rights. Its own walk agrees with the
 * interpreter's.
 */
#include <sys/mman.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "../lib/bare.h"
#include "engine/engine.h"
#include "engine/soft/block.h"
#include "engine/soft/cpu.h"
#include "engine/soft/jit/jit.h"
#include "engine/soft/mmu.h"
#include "engine/soft/vm.h"
#include "engine/soft/walk.h"

#define MEMORY		((size_t)8 << 20)
#define PML4		0x10000u
#define PDPT		0x11000u
#define PD		0x12000u
#define PT		0x13000u	/* of LINEAR and the pages behind it */
#define PML4_B		0x20000u	/* another address space */
#define DATA		0x100000u
#define LINEAR		UINT64_C(0x7f1234567000)
#define KERNEL		UINT64_C(0xffff888000000000)
#define R		ENGINE_READ
#define W		ENGINE_WRITE
#define RW		(ENGINE_READ | ENGINE_WRITE)
#define ALL		(PTE_P | PTE_W | PTE_U)

static struct bare bare;
static uint8_t *mem;
static struct engine_vm *vm;
static struct engine_vcpu *vcpu;
static struct cpu *c;

/* --- the guest's tables -------------------------------------------------- */

static void
put(uint64_t at, uint64_t value)
{
	memcpy(mem + at, &value, 8);
}

static uint64_t
get(uint64_t at)
{
	uint64_t value;

	memcpy(&value, mem + at, 8);
	return (value);
}

static unsigned
slot(uint64_t linear, unsigned level)
{
	return ((linear >> (3 + 9 * level) & 0x1ff) * 8);
}

/* Page n from LINEAR on. */
static void
leaf(unsigned n, uint64_t pte)
{
	put(PT + slot(LINEAR + n * PAGE_SIZE, 1), pte);
}

static uint64_t
leaf_of(unsigned n)
{
	return (get(PT + slot(LINEAR + n * PAGE_SIZE, 1)));
}

static void
class_is(enum mmu_class class)
{
	c->c_cpl = class == MMU_USER ? 3 : 0;
	c->c_rflags = class == MMU_SUPER ? FL_R1 | FL_AC : FL_R1;
	mmu_mode_update(c);
	assert_int_equal(c->c_mmu->m_class, class);
}

static int
setup(void **state)
{
	struct engine_range range = { .er_gpa = 0, .er_size = MEMORY };
	struct engine_vm_config config = { .ev_ranges = &range,
	    .ev_nranges = 1, .ev_writes_reported = true,
	    .ev_options = "interp" };
	unsigned n;

	(void)state;
	mem = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(mem, MAP_FAILED);
	range.er_host = mem;
	assert_int_equal(engine_soft.eo_vm_new(&config, &vm), 0);
	assert_int_equal(engine_soft.eo_vcpu_new(vm, 0, &bare_host, &bare,
	    &vcpu), 0);
	c = (struct cpu *)vcpu;
	assert_null(c->c_jit);
	c->c_jit = calloc(1, sizeof(*c->c_jit));
	assert_non_null(c->c_jit);
	jtlb_init(c);

	put(PML4 + slot(LINEAR, 4), PDPT | ALL);
	put(PDPT + slot(LINEAR, 3), PD | ALL);
	put(PD + slot(LINEAR, 2), PT | ALL);
	for (n = 0; n < 16; n++)
		leaf(n, (DATA + n * PAGE_SIZE) | ALL);
	/* 2 MiB of supervisor memory at KERNEL, 4 MiB on */
	put(PML4 + slot(KERNEL, 4), 0x14000 | PTE_P | PTE_W);
	put(0x14000 + slot(KERNEL, 3), 0x15000 | PTE_P | PTE_W);
	put(0x15000 + slot(KERNEL, 2), 0x400000 | PTE_P | PTE_W | PTE_PS |
	    PTE_G);
	memcpy(mem + PML4_B, mem + PML4, PAGE_SIZE);
	c->c_cr0 = CR0_PE | CR0_PG | CR0_WP;
	c->c_cr3 = PML4;
	c->c_cr4 = CR4_PAE | CR4_PGE | CR4_SMAP | CR4_PCIDE;
	c->c_efer = EFER_LME | EFER_LMA | EFER_NXE;
	c->c_long = c->c_code64 = c->c_protected = true;
	c->c_paging = PAGING_4LEVEL;
	mmu_flush_all(c);
	class_is(MMU_USER);
	return (0);
}

static int
teardown(void **state)
{
	(void)state;
	free(c->c_jit);
	c->c_jit = NULL;
	engine_soft.eo_vcpu_free(vcpu);
	engine_soft.eo_vm_free(vm);
	munmap(mem, MEMORY);
	return (0);
}

/* --- looking as translated code does ------------------------------------- */

/* The host's address that an inline check of one access gives, or NULL. */
static uint8_t *
seen(enum mmu_class class, uint64_t linear, unsigned size, int access)
{
	const char *base = (const char *)c;
	uint64_t neg, host, off;
	unsigned index = linear >> 12 & 0xffff;

	memcpy(&neg, base + (access & W ? JT_NEGW(class) : JT_NEGR(class)) +
	    index * 8, 8);
	memcpy(&host, base + JT_HOST(class) + index * 8, 8);
	off = linear + neg;
	if (off > PAGE_SIZE - size)
		return (NULL);
	return ((uint8_t *)(uintptr_t)(host + off));
}

static uint8_t *
fill(uint64_t linear, unsigned size, int access)
{
	return (jit_fill(c, linear, size | (unsigned)access << 8));
}

/* Filled, and found from then on. */
static void
assert_filled(uint64_t linear, int access, uint64_t gpa)
{
	uint8_t *host = mem + gpa;

	assert_ptr_equal(fill(linear, 8, access), host);
	if (access & R)
		assert_ptr_equal(seen(c->c_mmu->m_class, linear, 8, R), host);
	if (access & W)
		assert_ptr_equal(seen(c->c_mmu->m_class, linear, 8, W), host);
}

static void
assert_gone(uint64_t linear)
{
	unsigned k;

	for (k = 0; k < JT_CLASSES; k++) {
		assert_null(seen(k, linear, 1, R));
		assert_null(seen(k, linear, 1, W));
	}
}

/* --- tests --------------------------------------------------------------- */

static void
test_empty(void **state)
{
	static const uint64_t ends[] = { 0, 1, 4095, 0xffff000, 0xfffffff,
	    0x10000000, 0x7fffffffffff, 0x800000000000, UINT64_MAX };
	unsigned n, k, size;
	uint64_t linear;

	(void)state;
	for (n = 0; n < 65536 * 4; n++) {
		linear = (uint64_t)n << 12 | (n & 0xfff);
		assert_gone(linear);
		assert_gone(-linear);
	}
	for (n = 0; n < sizeof(ends) / sizeof(ends[0]); n++)
		for (k = 0; k < JT_CLASSES; k++)
			for (size = 1; size <= 32; size++) {
				assert_null(seen(k, ends[n], size, R));
				assert_null(seen(k, ends[n] - size, size, W));
			}
}

static void
test_bits(void **state)
{
	(void)state;
	/* a read sets A and gives no write entry of a clean page */
	assert_filled(LINEAR + 8, R, DATA + 8);
	assert_null(seen(MMU_USER, LINEAR, 8, W));
	assert_int_equal(leaf_of(0), DATA | ALL | PTE_A);
	assert_int_equal(get(PD + slot(LINEAR, 2)), PT | ALL | PTE_A);
	assert_int_equal(get(PML4 + slot(LINEAR, 4)), PDPT | ALL | PTE_A);
	assert_filled(LINEAR + 16, W, DATA + 16);
	assert_int_equal(leaf_of(0), DATA | ALL | PTE_A | PTE_D);
	assert_non_null(seen(MMU_USER, LINEAR, 8, R));
	/* one that is dirty has both at once */
	leaf(1, (DATA + PAGE_SIZE) | ALL | PTE_D);
	assert_filled(LINEAR + PAGE_SIZE, R, DATA + PAGE_SIZE);
	assert_non_null(seen(MMU_USER, LINEAR + PAGE_SIZE, 8, W));
	/* ends of the page */
	assert_non_null(seen(MMU_USER, LINEAR + 4088, 8, R));
	assert_null(seen(MMU_USER, LINEAR + 4089, 8, R));
	assert_null(fill(LINEAR + 4089, 8, R));
	/* what has the same index is somebody else's */
	assert_null(seen(MMU_USER, LINEAR + 0x10000000, 8, R));
	assert_null(seen(MMU_USER, LINEAR | UINT64_C(1) << 63, 8, R));
	assert_null(seen(MMU_SUPER, LINEAR, 8, R));
	assert_null(seen(MMU_SMAP, LINEAR, 8, R));
}

static void
test_rights(void **state)
{
	(void)state;
	leaf(0, DATA | PTE_P | PTE_U | PTE_D);
	assert_filled(LINEAR, R, DATA);
	assert_null(fill(LINEAR, 8, W));
	assert_null(fill(LINEAR, 8, RW));
	assert_null(seen(MMU_USER, LINEAR, 8, W));
	leaf(1, DATA | PTE_P | PTE_W);
	assert_null(fill(LINEAR + PAGE_SIZE, 8, R));
	assert_int_equal(leaf_of(1), DATA | PTE_P | PTE_W);
	leaf(2, DATA | PTE_W | PTE_U);
	assert_null(fill(LINEAR + 2 * PAGE_SIZE, 8, R));
	/* no memory there */
	leaf(3, 0xf0000000u | ALL);
	assert_null(fill(LINEAR + 3 * PAGE_SIZE, 8, R));
	assert_null(fill(UINT64_C(1) << 47, 8, R));
	assert_null(fill(KERNEL, 8, R));
	/* supervisors: SMAP, and WP */
	class_is(MMU_SMAP);
	assert_null(fill(LINEAR, 8, R));
	assert_filled(LINEAR + PAGE_SIZE, RW, DATA);
	assert_filled(KERNEL + 0x123450, RW, 0x523450);
	class_is(MMU_SUPER);
	assert_filled(LINEAR, R, DATA);
	assert_null(fill(LINEAR, 8, W));
	c->c_cr0 &= ~(uint64_t)CR0_WP;
	mmu_flush_all(c);
	assert_gone(LINEAR);
	assert_filled(LINEAR, W, DATA);
}

static void
test_invlpg(void **state)
{
	(void)state;
	assert_filled(LINEAR, RW, DATA);
	assert_filled(LINEAR + PAGE_SIZE, RW, DATA + PAGE_SIZE);
	class_is(MMU_SUPER);
	assert_filled(LINEAR, RW, DATA);
	leaf(0, (DATA + 0x5000) | ALL);
	assert_non_null(seen(MMU_USER, LINEAR, 8, R));
	mmu_flush_page(c, LINEAR + 77);
	assert_gone(LINEAR);
	assert_non_null(seen(MMU_USER, LINEAR + PAGE_SIZE, 8, W));
	assert_filled(LINEAR, RW, DATA + 0x5000);
	/* anywhere in a large page: all of it, global or not */
	assert_filled(KERNEL, R, 0x400000);
	assert_filled(KERNEL + 0x7000, R, 0x407000);
	mmu_flush_page(c, KERNEL + 0x1ff000);
	assert_gone(KERNEL);
	assert_gone(KERNEL + 0x7000);
	assert_filled(KERNEL, R, 0x400000);
}

static void
test_cr3(void **state)
{
	(void)state;
	c->c_cr3 = PML4 | 1;
	mmu_switch(c);
	leaf(1, (DATA + PAGE_SIZE) | ALL | PTE_G);
	assert_filled(LINEAR, RW, DATA);
	assert_filled(LINEAR + PAGE_SIZE, RW, DATA + PAGE_SIZE);
	class_is(MMU_SMAP);
	assert_filled(KERNEL, RW, 0x400000);
	class_is(MMU_USER);
	/* nothing changes: nothing goes */
	mmu_switch(c);
	mmu_flush_pcid(c, 5);
	assert_non_null(seen(MMU_USER, LINEAR, 8, R));
	/* another PCID */
	c->c_cr3 = PML4_B | 2;
	mmu_switch(c);
	assert_gone(LINEAR);
	assert_non_null(seen(MMU_USER, LINEAR + PAGE_SIZE, 8, W));
	assert_non_null(seen(MMU_SMAP, KERNEL, 8, W));
	leaf(0, (DATA + 0x5000) | ALL);
	assert_filled(LINEAR, R, DATA + 0x5000);
	/* back, with what was known there */
	c->c_cr3 = PML4 | 1;
	mmu_switch(c);
	assert_gone(LINEAR);
	leaf(0, (DATA + 0x6000) | ALL);
	if (fill(LINEAR, 8, R) != mem + DATA)
		assert_filled(LINEAR, R, DATA + 0x6000);
	/* the same, flushed */
	mmu_flush_context(c);
	assert_gone(LINEAR);
	assert_filled(LINEAR, R, DATA + 0x6000);
	assert_non_null(seen(MMU_USER, LINEAR + PAGE_SIZE, 8, W));
	/* CR4.PGE: everything */
	mmu_flush_all(c);
	assert_gone(LINEAR);
	assert_gone(LINEAR + PAGE_SIZE);
	assert_gone(KERNEL);
	/* a page that is global no more */
	leaf(1, (DATA + PAGE_SIZE) | ALL | PTE_D);
	assert_filled(LINEAR + PAGE_SIZE, R, DATA + PAGE_SIZE);
	leaf(1, (DATA + PAGE_SIZE) | ALL | PTE_G | PTE_D);
	mmu_flush_page(c, LINEAR + PAGE_SIZE);
	assert_filled(LINEAR + PAGE_SIZE, R, DATA + PAGE_SIZE);
	leaf(1, (DATA + PAGE_SIZE) | ALL | PTE_D);
	mmu_flush_page(c, LINEAR + PAGE_SIZE);
	assert_filled(LINEAR + PAGE_SIZE, R, DATA + PAGE_SIZE);
	mmu_flush_context(c);
	assert_gone(LINEAR + PAGE_SIZE);
}

static void
test_code(void **state)
{
	struct code_page page = { .p_gpa = DATA, .p_granules = 2 };

	(void)state;
	assert_filled(LINEAR, RW, DATA);
	leaf(1, DATA | ALL);	/* an alias */
	assert_filled(LINEAR + PAGE_SIZE, RW, DATA);
	assert_filled(LINEAR + 2 * PAGE_SIZE, RW, DATA + 2 * PAGE_SIZE);
	mmu_watch_page(c, DATA + 100, PAGE_CODE);
	assert_null(seen(MMU_USER, LINEAR, 8, W));
	assert_null(seen(MMU_USER, LINEAR + PAGE_SIZE, 8, W));
	assert_non_null(seen(MMU_USER, LINEAR, 8, R));
	assert_non_null(seen(MMU_USER, LINEAR + 2 * PAGE_SIZE, 8, W));
	/* bytes 64 to 127 are code: beside them one may write, one by one */
	*block_page_slot(c->c_blocks, DATA) = &page;
	assert_null(fill(LINEAR + 57, 8, W));
	assert_null(fill(LINEAR + 100, 8, RW));
	assert_null(fill(LINEAR + 127, 1, W));
	assert_ptr_equal(fill(LINEAR + 56, 8, W), mem + DATA + 56);
	assert_ptr_equal(fill(LINEAR + 128, 8, RW), mem + DATA + 128);
	assert_null(seen(MMU_USER, LINEAR, 8, W));
	/* where another VCPU may have code of its own, not */
	vm->ev_ncpus++;
	assert_null(fill(LINEAR + 128, 8, RW));
	vm->ev_ncpus--;
	*block_page_slot(c->c_blocks, DATA) = NULL;
}

static void
test_tables_are_code(void **state)
{
	(void)state;
	/* A cannot be set behind the blocks' back */
	mmu_watch_page(c, PT, PAGE_CODE);
	assert_null(fill(LINEAR, 8, R));
	assert_int_equal(leaf_of(0), DATA | ALL);
	leaf(0, DATA | ALL | PTE_A);
	assert_filled(LINEAR, R, DATA);
	assert_null(fill(LINEAR, 8, W));
}

static void
test_watch(void **state)
{
	(void)state;
	assert_filled(LINEAR, RW, DATA);
	assert_filled(LINEAR + PAGE_SIZE, RW, DATA + PAGE_SIZE);
	/* DR0: a write of 4 bytes */
	c->c_dr[0] = LINEAR + 0x100;
	c->c_dr[7] = 0x000d0001;
	mmu_watch_update(c);
	assert_gone(LINEAR);
	assert_null(fill(LINEAR, 8, R));
	assert_null(fill(LINEAR, 8, W));
	assert_gone(LINEAR);
	assert_filled(LINEAR + PAGE_SIZE, RW, DATA + PAGE_SIZE);
	c->c_dr[7] = 0;
	mmu_watch_update(c);
	assert_filled(LINEAR, RW, DATA);
}

static void
test_protect(void **state)
{
	(void)state;
	assert_filled(LINEAR, RW, DATA);
	assert_int_equal(engine_soft.eo_protect(vm, DATA, PAGE_SIZE,
	    PROT_READ), 0);
	mmu_retag(c);		/* as the next run() does */
	assert_gone(LINEAR);
	assert_null(fill(LINEAR, 8, W));
	assert_filled(LINEAR, R, DATA);
	assert_null(seen(MMU_USER, LINEAR, 8, W));
	assert_int_equal(engine_soft.eo_protect(vm, DATA, PAGE_SIZE,
	    PROT_NONE), 0);
	mmu_retag(c);
	assert_null(fill(LINEAR, 8, R));
	assert_gone(LINEAR);
}

static void
test_limit(void **state)
{
	unsigned n, live = 0;

	(void)state;
	c->c_jit->j_opt.jo_tlb = 4;
	for (n = 0; n < 16; n++)
		assert_filled(LINEAR + n * PAGE_SIZE, R, DATA + n * PAGE_SIZE);
	for (n = 0; n < 16; n++)
		live += seen(MMU_USER, LINEAR + n * PAGE_SIZE, 1, R) != NULL;
	assert_in_range(live, 1, 4);
}

/* Fills slot 7 as a trace does; is it empty afterwards? */
static bool
slot_lost(void (*loss)(void))
{
	uint64_t *q = (uint64_t *)(void *)((char *)c + JT_SLOTS);

	c->c_jit->j_slots = 8;
	q[14] = -LINEAR;
	q[15] = 1;
	c->c_slots = 1;
	loss();
	return (q[14] == 1ul << 63 && q[15] == 0);
}

static void
lose_nothing(void)
{
}

static void
lose_page(void)
{
	mmu_flush_page(c, LINEAR);
}

static void
lose_context(void)
{
	mmu_flush_context(c);
}

static void
lose_write(void)
{
	leaf(0, DATA | ALL | PTE_D);
	assert_filled(LINEAR, RW, DATA);
	mmu_watch_page(c, DATA, PAGE_CODE);
}

static void
test_slots(void **state)
{
	(void)state;
	assert_false(slot_lost(lose_nothing));
	assert_true(slot_lost(lose_page));
	assert_true(slot_lost(lose_context));
	assert_true(slot_lost(lose_write));
}

/* What a probe of the jump cache finds. */
static uint64_t
jump(uint64_t linear, unsigned mode)
{
	const char *base = (const char *)c;
	uint64_t key, host;

	memcpy(&key, base + JC_KEY + (linear & 0xffff) * 8, 8);
	memcpy(&host, base + JC_HOST + (linear & 0xffff) * 8, 8);
	return (key + linear + mode == 0 ? host : 0);
}

static void
test_jumps(void **state)
{
	struct block b = { .b_gpa = DATA + 0x123, .b_gpa2 = NO_PAGE };
	struct block s = { .b_gpa = DATA + 0xffe, .b_gpa2 = DATA + 0x5000 };
	struct tblock t = { .t_block = &b, .t_code = 0x1000,
	    .t_mode = JM_64 | JM_CPL3 };
	struct tblock k = { .t_block = &b, .t_code = 0x2000, .t_mode = JM_64 };
	struct tblock st = { .t_block = &s, .t_code = 0x3000,
	    .t_mode = JM_64 | JM_CPL3 };
	uint64_t user = LINEAR + 0x123, kernel = KERNEL + 0x9123, n;
	uintptr_t code = (uintptr_t)c->c_jit->j_rx;
	unsigned mode;

	(void)state;
	for (n = 0; n < 65536; n++)
		for (mode = 1; mode < JM_MAX; mode = mode * 3 + 1) {
			assert_int_equal(jump(n, mode), 0);
			assert_int_equal(jump(n - 65536, mode), 0);
		}
	jc_set(c, user, &t, false);
	jc_set(c, kernel, &k, true);
	assert_int_equal(jump(user, t.t_mode), code + 0x1000);
	assert_int_equal(jump(kernel, k.t_mode), code + 0x2000);
	assert_int_equal(jump(user, k.t_mode), 0);
	assert_int_equal(jump(user + 0x10000, t.t_mode), 0);
	assert_int_equal(jump(user - 1, t.t_mode), 0);
	mmu_flush_page(c, LINEAR + PAGE_SIZE);
	assert_int_equal(jump(user, t.t_mode), code + 0x1000);
	mmu_flush_page(c, LINEAR);
	assert_int_equal(jump(user, t.t_mode), 0);
	assert_int_equal(jump(kernel, k.t_mode), code + 0x2000);
	jc_set(c, user, &t, false);
	mmu_flush_context(c);
	assert_int_equal(jump(user, t.t_mode), 0);
	assert_int_equal(jump(kernel, k.t_mode), code + 0x2000);
	mmu_flush_all(c);
	assert_int_equal(jump(kernel, k.t_mode), 0);
	/* the same code at several addresses */
	jc_set(c, user, &t, false);
	jc_set(c, user + 0x3000, &t, false);
	jc_set(c, kernel, &k, true);
	jc_forget(c, &t);
	assert_int_equal(jump(user, t.t_mode), 0);
	assert_int_equal(jump(user + 0x3000, t.t_mode), 0);
	assert_int_equal(jump(kernel, k.t_mode), code + 0x2000);
	/* across a page end: either page's mapping */
	jc_set(c, LINEAR + 0xffe, &st, false);
	mmu_flush_page(c, LINEAR + PAGE_SIZE);
	assert_int_equal(jump(LINEAR + 0xffe, st.t_mode), 0);
	jc_set(c, LINEAR + 0xffe, &st, false);
	mmu_flush_page(c, LINEAR);
	assert_int_equal(jump(LINEAR + 0xffe, st.t_mode), 0);
}

static void
test_again(void **state)
{
	struct block b = { .b_gpa = DATA + 0x123, .b_gpa2 = NO_PAGE };
	struct block s = { .b_gpa = DATA + 0xffe, .b_gpa2 = DATA + 0x1000 };
	struct tblock t = { .t_block = &b, .t_code = 0x1000,
	    .t_mode = JM_64 | JM_CPL3 };
	struct tblock st = { .t_block = &s, .t_code = 0x3000,
	    .t_mode = JM_64 | JM_CPL3 };
	uint64_t user = LINEAR + 0x123;
	uint8_t *code = c->c_jit->j_rx + 0x1000;

	(void)state;
	c->c_jmode = t.t_mode;
	assert_null(jc_again(c, user));
	jc_set(c, user, &t, false);
	mmu_flush_context(c);
	assert_int_equal(jump(user, t.t_mode), 0);
	/* other addresses and modes never were there */
	assert_null(jc_again(c, user + 0x10000));
	c->c_jmode = JM_64 | JM_CPL0;
	assert_null(jc_again(c, user));
	c->c_jmode = t.t_mode;
	assert_ptr_equal(jc_again(c, user), code);
	assert_int_equal(jump(user, t.t_mode), (uintptr_t)code);
	/* and it goes with the next change of CR3, though not with INVLPG */
	mmu_flush_context(c);
	assert_int_equal(jump(user, t.t_mode), 0);
	assert_ptr_equal(jc_again(c, user), code);
	mmu_flush_page(c, user);
	assert_int_equal(jump(user, t.t_mode), 0);
	/* another page is there, or none, or one that may not be executed */
	leaf(0, (DATA + 0x5000) | ALL);
	assert_null(jc_again(c, user));
	leaf(0, 0);
	mmu_flush_page(c, user);
	assert_null(jc_again(c, user));
	leaf(0, DATA | ALL | PTE_NX);
	assert_null(jc_again(c, user));
	assert_int_equal(leaf_of(0), DATA | ALL | PTE_NX);
	leaf(0, DATA | ALL);
	assert_int_equal(engine_soft.eo_protect(vm, DATA, PAGE_SIZE,
	    PROT_READ), 0);
	mmu_retag(c);
	assert_null(jc_again(c, user));
	assert_int_equal(engine_soft.eo_protect(vm, DATA, PAGE_SIZE,
	    PROT_READ | PROT_EXEC), 0);
	mmu_retag(c);
	assert_ptr_equal(jc_again(c, user), code);
	/* a translation that dies, and one that hangs on two pages */
	mmu_flush_context(c);
	jc_forget(c, &t);
	assert_null(jc_again(c, user));
	jc_set(c, LINEAR + 0xffe, &st, false);
	mmu_flush_context(c);
	assert_null(jc_again(c, LINEAR + 0xffe));
	jc_set(c, user, &t, false);
	jc_clear(c);
	assert_int_equal(jump(user, t.t_mode), 0);
	assert_null(jc_again(c, user));
}

/* What the slot of code page n says, of user or supervisor code. */
static uint64_t
found(unsigned n)
{
	uint64_t value;

	memcpy(&value, (const char *)c + JT_CODES + n * 8, 8);
	return (-value);
}

/* Slots of code pages say where a fetch finds them, as long as it does. */
static void
test_code_slots(void **state)
{
	unsigned user, super, other, n;
	uint64_t empty = found(0);

	(void)state;
	assert_int_not_equal(empty & PAGE_MASK, 0);
	assert_int_equal(jc_slot(c, DATA + 0x123, true, false), 0);
	user = jc_slot(c, DATA + 0x123, true, true);
	super = jc_slot(c, DATA, false, true);
	other = jc_slot(c, DATA + 0x1000, true, true);
	assert_true(user != 0 && super != 0 && other != 0);
	assert_true(user != super && user != other && super != other);
	assert_int_equal(jc_slot(c, DATA + 0xfff, true, false), user);
	assert_int_equal(found(user), empty);

	/* only who fetches in that way */
	c->c_jmode = JM_64 | JM_CPL3;
	jc_found(c, LINEAR + 0x123, DATA + 0x123, false);
	assert_int_equal(found(user), LINEAR);
	assert_int_equal(found(super), empty);
	c->c_jmode = JM_64 | JM_CPL0;
	jc_found(c, KERNEL + 0x5123, DATA, true);
	assert_int_equal(found(user), LINEAR);
	assert_int_equal(found(super), KERNEL + 0x5000);
	c->c_jmode = JM_64 | JM_CPL3;
	jc_found(c, LINEAR + 0x1000, DATA + 0x1000, false);
	/* nobody's */
	jc_found(c, LINEAR + 0x2000, DATA + 0x2000, false);

	mmu_flush_page(c, LINEAR + 0x2000);
	assert_int_equal(found(user), LINEAR);
	mmu_flush_page(c, LINEAR + 0x1fff);
	assert_int_equal(found(user), LINEAR);
	assert_int_equal(found(other), empty);
	mmu_flush_page(c, LINEAR + 0xfff);
	assert_int_equal(found(user), empty);
	assert_int_equal(found(super), KERNEL + 0x5000);
	/* at another address as well */
	jc_found(c, LINEAR, DATA, false);
	jc_found(c, LINEAR + 0x7000, DATA, false);
	assert_int_equal(found(user), LINEAR + 0x7000);
	mmu_flush_page(c, LINEAR);
	assert_int_equal(found(user), LINEAR + 0x7000);
	mmu_flush_context(c);
	assert_int_equal(found(user), empty);
	assert_int_equal(found(super), KERNEL + 0x5000);
	jc_found(c, LINEAR, DATA, false);
	mmu_flush_all(c);
	assert_int_equal(found(user), empty);
	assert_int_equal(found(super), empty);
	/* what was found by a global mapping stays so */
	jc_found(c, LINEAR, DATA, true);
	jc_found(c, LINEAR, DATA, false);
	mmu_flush_context(c);
	assert_int_equal(found(user), LINEAR);

	/* there are so many */
	for (n = 0; n < JT_CODE_COUNT - 4; n++)
		assert_int_not_equal(jc_slot(c, DATA + (n + 2) * 0x1000ul,
		    true, true), 0);
	assert_int_equal(jc_slot(c, 0, true, true), 0);
	assert_int_equal(jc_slot(c, DATA, true, true), user);
	jc_slots_clear(c);
	assert_int_equal(jc_slot(c, DATA, true, false), 0);
	assert_int_equal(found(user), empty);
}

/* --- the two walks ------------------------------------------------------- */

static uint64_t
random64(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return (*seed);
}

/* Mostly ordinary bits. */
static uint64_t
random_entry(uint64_t *seed, uint64_t to, bool large)
{
	uint64_t r = random64(seed), pte = to | ALL;

	if (r % 4 == 0)
		pte ^= 1u << (r >> 8 & 7 & ~(large ? 0u : 7u));
	pte ^= (r >> 16 & 0x67) & (r >> 24 & 0x67) & (r >> 32);
	pte |= (r >> 40 & 1) << 8;
	if ((r >> 41 & 15) == 0)
		pte |= UINT64_C(1) << 63;
	if ((r >> 45 & 31) == 0)
		pte |= UINT64_C(1) << (r >> 50 & 63);
	if (large)
		pte |= PTE_PS;
	return (pte);
}

/* The interpreter's; false: it raised something. */
static bool
translate(uint64_t linear, int access, struct mmu_target *t)
{
	if (sigsetjmp(c->c_jmp, 0) != JMP_NONE) {
		c->c_event.e_kind = EVENT_NONE;
		return (false);
	}
	mmu_translate(c, c->c_mmu->m_class, linear, access, t);
	return (true);
}

static void
test_walk(void **state)
{
	uint64_t seed = (uint64_t)time(NULL) | 1, before[4], after[4], linear;
	static const uint32_t at[4] = { PML4, PDPT, PD, PT };
	unsigned n, k, level, agreed = 0, filled = 0;
	struct mmu_target t;
	const struct tlb_entry *e;
	uint8_t *host;
	bool written;
	int access;

	(void)state;
	print_message("# seed %lu\n", (unsigned long)seed);
	for (n = 0; n < 200000; n++) {
		level = random64(&seed) % 8;
		linear = LINEAR + (random64(&seed) & 0xff8);
		for (k = 0; k < 4; k++)
			put(at[k] + slot(linear, 4 - k), random_entry(&seed,
			    k == 3 ? DATA : level == k ? 0 : at[k + 1],
			    level == k && k > 0 && k < 3));
		c->c_cr0 = CR0_PE | CR0_PG |
		    (random64(&seed) & 1 ? CR0_WP : 0);
		c->c_cr4 = CR4_PAE | CR4_SMAP |
		    (random64(&seed) & 1 ? CR4_SMEP : 0) |
		    (random64(&seed) & 1 ? CR4_PGE : 0);
		c->c_efer = EFER_LME | EFER_LMA |
		    (random64(&seed) & 3 ? EFER_NXE : 0);
		class_is(random64(&seed) % 3);
		access = random64(&seed) & 1 ? R : W;
		mmu_flush_all(c);
		for (k = 0; k < 4; k++)
			before[k] = get(at[k] + slot(linear, 4 - k));
		host = fill(linear, 8, access);
		for (k = 0; k < 4; k++) {
			after[k] = get(at[k] + slot(linear, 4 - k));
			put(at[k] + slot(linear, 4 - k), before[k]);
		}
		written = seen(c->c_mmu->m_class, linear, 8, W) != NULL;
		filled += host != NULL;
		mmu_flush_all(c);
		/* it may refuse, but never be wrong */
		if (!translate(linear, access, &t)) {
			assert_null(host);
			assert_memory_equal(before, after, sizeof(before));
			continue;
		}
		if (host == NULL) {
			assert_null(t.t_host);
			continue;
		}
		assert_ptr_equal(t.t_host, host);
		for (k = 0; k < 4; k++)
			before[k] = get(at[k] + slot(linear, 4 - k));
		assert_memory_equal(before, after, sizeof(before));
		/* rights are the same ones, too */
		e = tlb_slot(c->c_mmu->m_tlb[c->c_mmu->m_class], linear);
		assert_int_equal(written, (e->te_rights & W) != 0);
		agreed++;
	}
	assert_int_equal(agreed, filled);
	assert_true(filled > 10000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_empty, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rights, setup, teardown),
		cmocka_unit_test_setup_teardown(test_invlpg, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cr3, setup, teardown),
		cmocka_unit_test_setup_teardown(test_code, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tables_are_code, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_watch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_protect, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slots, setup, teardown),
		cmocka_unit_test_setup_teardown(test_jumps, setup, teardown),
		cmocka_unit_test_setup_teardown(test_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_code_slots, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_walk, setup, teardown),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
