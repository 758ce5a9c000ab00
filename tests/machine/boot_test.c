/*
 * machine/boot*, machine/elf: good kernels of each kind land where they
 * should, with what they are promised; bad ones are refused with a line that
 * names the file. Kernels are made here; then bytes of good ones are changed
 * at random and the loaders must survive.
 */
#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "machine/boot.h"

#define MIB	0x100000ull
#define RAM	(64 * MIB)

static uint8_t *ram;
static struct guest_memory gm;
static struct memmap map[] = {
	{ 0, 0xa0000, MEMMAP_RAM },
	{ 0xa0000, 0x60000, MEMMAP_RESERVED },
	{ MIB, RAM - MIB, MEMMAP_RAM },
};
static char dir[] = "/tmp/boot_test.XXXXXX";
static char kernel[64], module[2][64];
static struct boot boot;
static struct err err;
static uint8_t image[3 * 1024 * 1024];

/* The machine's memory from now on. */
static void
memory(uint64_t size)
{
	map[2].mm_size = size - MIB;
	gm.gm_range[0].size = size;
}

static void
put(size_t at, unsigned size, uint64_t v)
{
	memcpy(image + at, &v, size);
}

static uint64_t
get(uint64_t gpa, unsigned size)
{
	uint64_t v = 0;

	assert_true(gpa + size <= RAM);
	memcpy(&v, ram + gpa, size);
	return (v);
}

static void
save(const char *path, const void *data, size_t size)
{
	FILE *fp = fopen(path, "w");

	assert_non_null(fp);
	assert_int_equal(fwrite(data, 1, size, fp), size);
	fclose(fp);
}

static int
load(void)
{
	static const char *initrd[2] = { module[0], module[1] };

	memset(ram, 0xcc, RAM);
	boot.b_memory = &gm;
	boot.b_kernel = kernel;
	boot.b_initrd = initrd;
	boot.b_map = map;
	boot.b_nmap = 3;
	boot.b_rsdp = 0xe0000;
	if (boot.b_append == NULL)
		boot.b_append = "console=ttyS0 quiet";
	err.e_text[0] = '\0';
	return (boot_load(&boot, &err));
}

/* The kernel is refused with a line that names it and has this in it. */
static void
refused(const char *text)
{
	assert_int_equal(load(), -1);
	if (strstr(err.e_text, text) == NULL ||
	    strstr(err.e_text, kernel) == NULL ||
	    strchr(err.e_text, '\n') != NULL)
		fail_msg("want \"%s\", have \"%s\"", text, err.e_text);
}

static int
setup(void **state)
{
	(void)state;
	memset(image, 0, sizeof(image));
	memset(&boot, 0, sizeof(boot));
	return (0);
}

/* --- bzImage ------------------------------------------------------------- */

#define SETUP	(5 * 512)
#define LINUX_SIZE (SETUP + 256 * 1024)

static size_t
make_linux(void)
{
	size_t i;

	for (i = SETUP; i < LINUX_SIZE; i++)
		image[i] = (uint8_t)(i * 3);
	put(0x1f1, 1, 4);
	put(0x1f4, 4, (LINUX_SIZE - SETUP) / 16);
	put(0x1fe, 2, 0xaa55);
	put(0x200, 2, 0x66eb);
	memcpy(image + 0x202, "HdrS", 4);
	put(0x206, 2, 0x020f);
	put(0x211, 1, 0x01);
	put(0x22c, 4, 0x7fffffff);
	put(0x230, 4, 0x200000);
	put(0x234, 1, 1);
	put(0x236, 2, 0x3f);
	put(0x238, 4, 2047);
	put(0x258, 8, 0x1000000);
	put(0x260, 4, 8 * MIB);
	save(kernel, image, LINUX_SIZE);
	return (LINUX_SIZE);
}

static void
test_linux(void **state)
{
	struct vcpu_reg_state *r = &boot.b_regs;
	uint64_t zp, cr3, gdt, i;

	(void)state;
	make_linux();
	assert_int_equal(load(), 0);
	assert_int_equal(r->vrs_gprs[VCPU_REGS_RIP], 0x1000200);
	assert_memory_equal(ram + 0x1000000, image + SETUP,
	    LINUX_SIZE - SETUP);
	zp = r->vrs_gprs[VCPU_REGS_RSI];
	assert_in_range(zp, 0x1000, 0x9e000);
	assert_int_equal(get(zp + 0x202, 4), 0x53726448);
	assert_int_equal(get(zp + 0x210, 1), 0xff);
	assert_int_equal(get(zp + 0x070, 8), 0xe0000);
	assert_int_equal(get(zp + 0x1e8, 1), 3);
	assert_int_equal(get(zp + 0x2d0 + 40, 8), MIB);
	assert_int_equal(get(zp + 0x2d0 + 48, 8), RAM - MIB);
	assert_int_equal(get(zp + 0x2d0 + 20 + 16, 4), 2);
	assert_int_equal(get(zp + 0x218, 8), 0);	/* no initrd */
	assert_string_equal((char *)ram + get(zp + 0x228, 4),
	    "console=ttyS0 quiet");
	/* the CPU: long mode, flat, all of 4 GiB mapped to itself */
	assert_int_equal(r->vrs_msrs[VCPU_REGS_EFER], 0x500);
	assert_int_equal(r->vrs_crs[VCPU_REGS_CR0] & 0x80000001, 0x80000001);
	assert_int_equal(r->vrs_crs[VCPU_REGS_CR4], 0x20);
	assert_int_equal(r->vrs_gprs[VCPU_REGS_RFLAGS], 2);
	cr3 = r->vrs_crs[VCPU_REGS_CR3];
	for (i = 0; i < 2048; i++) {
		uint64_t pdpt = get(cr3, 8) & ~0xfffull;
		uint64_t pd = get(pdpt + i / 512 * 8, 8) & ~0xfffull;

		assert_int_equal(get(pd + i % 512 * 8, 8), i << 21 | 0x83);
	}
	gdt = r->vrs_gdtr.vsi_base;
	assert_int_equal(r->vrs_sregs[VCPU_REGS_CS].vsi_sel, 0x10);
	assert_int_equal(get(gdt + 0x10, 8), 0x00af9b000000ffff);
	assert_int_equal(get(gdt + 0x18, 8), 0x00cf93000000ffff);
	assert_int_equal(r->vrs_sregs[VCPU_REGS_TR].vsi_ar, 0x8b);
}

static void
test_linux_initrd(void **state)
{
	uint64_t zp, at;

	(void)state;
	make_linux();
	save(module[0], "first", 5);
	save(module[1], "second!", 7);
	boot.b_ninitrds = 2;
	assert_int_equal(load(), 0);
	zp = boot.b_regs.vrs_gprs[VCPU_REGS_RSI];
	at = get(zp + 0x218, 4);
	assert_int_equal(get(zp + 0x21c, 4), 16);
	assert_int_equal(at % 4096, 0);
	assert_true(at + 16 <= RAM && at > 0x1000000 + 8 * MIB);
	assert_memory_equal(ram + at, "first", 5);
	assert_memory_equal(ram + at + 8, "second!", 7);
	/* below what the kernel can reach, even if that is not the top */
	put(0x22c, 4, 0x2ffffff);
	save(kernel, image, LINUX_SIZE);
	assert_int_equal(load(), 0);
	at = get(boot.b_regs.vrs_gprs[VCPU_REGS_RSI] + 0x218, 4);
	assert_int_equal(at, 0x2fff000);

	unlink(module[1]);
	assert_int_equal(load(), -1);
	assert_non_null(strstr(err.e_text, module[1]));
	mkdir(module[1], 0700);
	assert_int_equal(load(), -1);
	assert_non_null(strstr(err.e_text, "is a directory"));
	rmdir(module[1]);
	save(module[1], "", 0);
	assert_int_equal(truncate(module[1], 100 * MIB), 0);
	assert_int_equal(load(), -1);
	assert_non_null(strstr(err.e_text, "does not fit"));
	assert_int_equal(truncate(module[1], RAM - 26 * MIB), 0);
	assert_int_equal(load(), -1);
	assert_non_null(strstr(err.e_text, "does not fit beside"));
	unlink(module[1]);
}

static void
test_linux_placement(void **state)
{
	(void)state;
	make_linux();
	memory(20 * MIB);		/* the preferred place ends beyond */
	refused("needs a machine with 24 MiB");
	put(0x234, 1, 0);		/* not relocatable */
	save(kernel, image, LINUX_SIZE);
	refused("needs a machine with 24 MiB");
	memory(24 * MIB);
	assert_int_equal(load(), 0);
	memory(RAM);
	put(0x234, 1, 1);
	put(0x258, 8, 0x80000);		/* no place for it: the next one */
	save(kernel, image, LINUX_SIZE);
	assert_int_equal(load(), 0);
	assert_int_equal(boot.b_regs.vrs_gprs[VCPU_REGS_RIP], 0x200200);
	put(0x258, 8, 0x1000000);
	save(kernel, image, LINUX_SIZE);
	assert_int_equal(load(), 0);
	assert_int_equal(boot.b_regs.vrs_gprs[VCPU_REGS_RIP], 0x1000200);
	put(0x260, 4, 0x7fffffff);
	save(kernel, image, LINUX_SIZE);
	refused("needs a machine with 2064 MiB");
	put(0x260, 4, 0);		/* then its size counts */
	put(0x258, 8, UINT64_MAX - 5);
	put(0x230, 4, 3);		/* no power of two */
	save(kernel, image, LINUX_SIZE);
	refused("give it more");
}

/* Without a 64-bit entry point, the 32-bit protocol: flat segments at the
 * protocol's selectors, paging off, the zero page in ESI. */
static void
test_linux_32(void **state)
{
	struct vcpu_reg_state *r = &boot.b_regs;

	(void)state;
	make_linux();
	put(0x236, 2, 0);
	save(kernel, image, LINUX_SIZE);
	assert_int_equal(load(), 0);
	assert_int_equal(r->vrs_gprs[VCPU_REGS_RIP], 0x1000000);
	assert_int_equal(r->vrs_crs[VCPU_REGS_CR0] & 0x80000001, 1);
	assert_int_equal(r->vrs_msrs[VCPU_REGS_EFER], 0);
	assert_int_equal(r->vrs_sregs[VCPU_REGS_CS].vsi_sel, 0x10);
	assert_int_equal(r->vrs_sregs[VCPU_REGS_DS].vsi_sel, 0x18);
	assert_int_equal(r->vrs_sregs[VCPU_REGS_CS].vsi_ar, 0xc09b);
	assert_in_range(r->vrs_gprs[VCPU_REGS_RSI], 4096, 0x9f000);
	assert_int_equal(r->vrs_gprs[VCPU_REGS_RBP], 0);
	assert_int_equal(r->vrs_gprs[VCPU_REGS_RDI], 0);
	assert_int_equal(r->vrs_gprs[VCPU_REGS_RBX], 0);
}

static void
test_linux_bad(void **state)
{
	static char longest[3000];

	(void)state;
	make_linux();
	save(kernel, image, LINUX_SIZE - 100000);
	refused("truncated");
	save(kernel, image, SETUP + 10);
	refused("truncated");
	save(kernel, image, 0x240);
	refused("truncated");
	put(0x206, 2, 0x20b);
	save(kernel, image, LINUX_SIZE);
	refused("2.11");
	put(0x206, 2, 0x20f);
	put(0x211, 1, 0);
	save(kernel, image, LINUX_SIZE);
	refused("zImage");
	put(0x211, 1, 1);
	save(kernel, image, LINUX_SIZE);
	memset(longest, 'x', sizeof(longest) - 1);
	boot.b_append = longest;
	refused("2999 bytes");
}

/* --- files that are no kernels ------------------------------------------- */

static void
test_files(void **state)
{
	char good[64];

	(void)state;
	strcpy(good, kernel);
	unlink(kernel);
	refused("No such file");
	mkdir(kernel, 0700);
	refused("is a directory");
	rmdir(kernel);
	mkfifo(kernel, 0600);
	refused("not a regular file");
	unlink(kernel);
	save(kernel, "", 0);
	refused("is empty");
	save(kernel, "x", 1);
	refused("no bzImage");
	save(kernel, "\x1f\x8b\x08\x00", 4);
	refused("gunzip");
	save(kernel, image, 100000);
	refused("no bzImage");
	assert_int_equal(truncate(kernel, (off_t)1 << 40), 0);
	refused("larger than 1 GiB");
}

/* --- ELF: PVH and multiboot ---------------------------------------------- */

/* An ELF64 with a note and two segments; returns its size. */
static size_t
make_pvh(void)
{
	Elf64_Ehdr eh = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64,
		ELFDATA2LSB, EV_CURRENT }, .e_type = ET_EXEC,
		.e_machine = EM_X86_64, .e_entry = 0xffffffff81000000,
		.e_phoff = 64, .e_ehsize = 64, .e_phentsize = 56,
		.e_phnum = 3 };
	Elf64_Phdr ph[3] = {
		{ .p_type = PT_LOAD, .p_offset = 4096, .p_paddr = MIB,
		    .p_vaddr = 0xffffffff81000000, .p_filesz = 5000,
		    .p_memsz = 9000 },
		{ .p_type = PT_LOAD, .p_offset = 12288, .p_paddr = 0x9000,
		    .p_vaddr = 0x9000, .p_filesz = 100, .p_memsz = 100 },
		{ .p_type = PT_NOTE, .p_offset = 600, .p_filesz = 44,
		    .p_align = 4 },
	};
	size_t i;

	memcpy(image, &eh, sizeof(eh));
	memcpy(image + 64, ph, sizeof(ph));
	for (i = 4096; i < 13000; i++)
		image[i] = (uint8_t)(i * 5);
	/* some other note first */
	put(600, 4, 4);
	put(604, 4, 5);
	put(608, 4, 18);
	memcpy(image + 612, "GNU", 4);
	put(624, 4, 4);
	put(628, 4, 8);
	put(632, 4, 18);
	memcpy(image + 636, "Xen", 4);
	put(640, 8, 0x100010);
	ph[2].p_filesz = 48;
	memcpy(image + 64, ph, sizeof(ph));
	save(kernel, image, 13000);
	return (13000);
}

static void
test_pvh(void **state)
{
	struct vcpu_reg_state *r = &boot.b_regs;
	uint64_t si, mm, mod;

	(void)state;
	make_pvh();
	save(module[0], "MODULE", 6);
	boot.b_ninitrds = 1;
	assert_int_equal(load(), 0);
	assert_int_equal(r->vrs_gprs[VCPU_REGS_RIP], 0x100010);
	assert_int_equal(r->vrs_crs[VCPU_REGS_CR0] & 0x80000001, 1);
	assert_int_equal(r->vrs_crs[VCPU_REGS_CR4], 0);
	assert_int_equal(r->vrs_sregs[VCPU_REGS_CS].vsi_ar, 0xc09b);
	assert_memory_equal(ram + MIB, image + 4096, 5000);
	assert_int_equal(get(MIB + 5000, 8), 0);	/* bss */
	assert_int_equal(get(MIB + 8999, 1), 0);
	assert_int_equal(get(MIB + 9000, 1), 0xcc);
	assert_memory_equal(ram + 0x9000, image + 12288, 100);
	si = r->vrs_gprs[VCPU_REGS_RBX];
	assert_int_equal(get(si, 4), 0x336ec578);
	assert_int_equal(get(si + 4, 4), 1);
	assert_int_equal(get(si + 12, 4), 1);
	mod = get(si + 16, 8);
	assert_memory_equal(ram + get(mod, 8), "MODULE", 6);
	assert_int_equal(get(mod + 8, 8), 6);
	assert_string_equal((char *)ram + get(si + 24, 8),
	    "console=ttyS0 quiet");
	assert_int_equal(get(si + 32, 8), 0xe0000);
	mm = get(si + 40, 8);
	assert_int_equal(get(si + 48, 4), 3);
	assert_int_equal(get(mm + 48, 8), MIB);
	assert_int_equal(get(mm + 56, 8), RAM - MIB);
	assert_int_equal(get(mm + 64, 4), 1);
	/* ours is not in the kernel's low segment */
	assert_memory_equal(ram + 0x9000, image + 12288, 100);
}

static void
test_elf_bad(void **state)
{
	(void)state;
	make_pvh();
	save(kernel, image, 100);
	refused("truncated");
	save(kernel, image, 40);
	refused("truncated");
	save(kernel, image, 5000);
	refused("truncated");
	put(64 + 24, 8, 0x40000000);		/* p_paddr */
	save(kernel, image, 13000);
	refused("not free memory");
	put(64 + 24, 8, UINT64_MAX - 100);
	save(kernel, image, 13000);
	refused("not free memory");
	put(64 + 24, 8, 0xe1000);		/* ACPI's */
	save(kernel, image, 13000);
	refused("not free memory");
	put(64 + 24, 8, 0x9000 - 100);		/* over the other one */
	save(kernel, image, 13000);
	refused("not free memory");
	make_pvh();
	put(64 + 40, 8, UINT64_MAX);		/* p_memsz */
	save(kernel, image, 13000);
	refused("not free memory");
	make_pvh();
	put(64 + 8, 8, UINT64_MAX - 50);	/* p_offset */
	save(kernel, image, 13000);
	refused("truncated");
	make_pvh();
	put(64 + 40, 8, 4999);			/* memsz < filesz */
	save(kernel, image, 13000);
	refused("truncated");
	make_pvh();
	put(56, 2, 0xffff);			/* e_phnum */
	save(kernel, image, 13000);
	refused("truncated");
	put(56, 2, 0);
	save(kernel, image, 13000);
	refused("no program headers");
	make_pvh();
	put(32, 8, UINT64_MAX - 8);		/* e_phoff */
	save(kernel, image, 13000);
	refused("truncated");
	make_pvh();
	put(18, 2, 183);			/* aarch64 */
	save(kernel, image, 13000);
	refused("not for x86");
	make_pvh();
	put(640, 8, 0x7fffffff);		/* the entry point */
	save(kernel, image, 13000);
	refused("outside memory");
	make_pvh();
	put(632, 4, 17);			/* another note */
	save(kernel, image, 13000);
	refused("no bzImage");
	make_pvh();
	put(604, 4, 0xffffffff);		/* a note's size */
	save(kernel, image, 13000);
	refused("no bzImage");
}

/* An ELF32 with a multiboot header, or none and address fields instead. */
static size_t
make_multiboot(bool elf)
{
	Elf32_Ehdr eh = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS32,
		ELFDATA2LSB, EV_CURRENT }, .e_type = ET_EXEC,
		.e_machine = EM_386, .e_entry = 0xc0100020,
		.e_phoff = 52, .e_ehsize = 52, .e_phentsize = 32,
		.e_phnum = 1 };
	Elf32_Phdr ph = { .p_type = PT_LOAD, .p_offset = 4096,
		.p_paddr = 0x200000, .p_vaddr = 0xc0100000, .p_filesz = 3000,
		.p_memsz = 20000 };
	uint32_t flags = elf ? 0x3 : 0x10003;
	size_t i;

	memset(image, 0, 8192);
	if (elf) {
		memcpy(image, &eh, sizeof(eh));
		memcpy(image + 52, &ph, sizeof(ph));
	}
	for (i = 4096; i < 8000; i++)
		image[i] = (uint8_t)(i * 5);
	put(4096, 4, 0x1badb002);
	put(4100, 4, flags);
	put(4104, 4, -(0x1badb002 + flags));
	if (!elf) {
		put(4108, 4, 0x200000);		/* header_addr */
		put(4112, 4, 0x200000 - 96);	/* load_addr */
		put(4116, 4, 0x200000 + 3000);	/* load_end_addr */
		put(4120, 4, 0x200000 + 19904);	/* bss_end_addr */
		put(4124, 4, 0x200020);		/* entry_addr */
	}
	save(kernel, image, 8000);
	return (8000);
}

static void
test_multiboot(void **state)
{
	char line[512];
	struct vcpu_reg_state *r = &boot.b_regs;
	uint64_t mi, mods, start, mm, end;
	char spec[128];
	const char *const list[2] = { spec, module[1] };
	int elf;

	(void)state;
	save(module[0], "MODULE ONE", 10);
	save(module[1], "", 0);
	snprintf(spec, sizeof(spec), "%s,arg1 arg2,x", module[0]);
	for (elf = 0; elf < 2; elf++) {
		make_multiboot(elf);
		memset(&boot, 0, sizeof(boot));
		assert_int_equal(load(), 0);
		boot.b_ninitrds = 2;
		boot.b_initrd = list;
		memset(ram, 0xcc, RAM);
		assert_int_equal(boot_load(&boot, &err), 0);
		assert_int_equal(r->vrs_gprs[VCPU_REGS_RIP], 0x200020);
		assert_int_equal(r->vrs_gprs[VCPU_REGS_RAX], 0x2badb002);
		assert_memory_equal(ram + 0x200000, image + 4096, 3000);
		assert_int_equal(get(0x200000 + 3000, 8), 0);
		end = 0x200000 + (elf ? 20000 : 19904);
		assert_int_equal(get(end - 1, 1), 0);
		assert_int_equal(get(end, 1), 0xcc);
		mi = r->vrs_gprs[VCPU_REGS_RBX];
		assert_int_equal(get(mi, 4), 0x24d);
		assert_int_equal(get(mi + 4, 4), 640);
		assert_int_equal(get(mi + 8, 4), (RAM - MIB) / 1024);
		snprintf(line, sizeof(line), "%s console=ttyS0 quiet", kernel);
		assert_string_equal((char *)ram + get(mi + 16, 4), line);
		assert_int_equal(get(mi + 20, 4), 2);
		mods = get(mi + 24, 4);
		start = get(mods, 4);
		assert_int_equal(start % 4096, 0);
		assert_true(start >= end);
		assert_int_equal(get(mods + 4, 4) - start, 10);
		assert_memory_equal(ram + start, "MODULE ONE", 10);
		assert_string_equal((char *)ram + get(mods + 8, 4),
		    "arg1 arg2,x");
		assert_int_equal(get(mods + 16, 4), get(mods + 20, 4));
		assert_string_equal((char *)ram + get(mods + 24, 4),
		    module[1]);
		assert_int_equal(get(mi + 44, 4), 3 * 24);
		mm = get(mi + 48, 4);
		assert_int_equal(get(mm, 4), 20);
		assert_int_equal(get(mm + 48 + 4, 8), MIB);
		assert_int_equal(get(mm + 48 + 20, 4), 1);
		assert_string_equal((char *)ram + get(mi + 64, 4), "vmm");
	}
}

/* Where a BIOS's functions are: INT n's vector as an address. */
static uint64_t
vector(unsigned n)
{
	return ((get(4 * n + 2, 2) << 4) + get(4 * n, 2));
}

/* Real mode finds no firmware's functions, but no zeros to execute either. */
static void
test_bios(void **state)
{
	static const uint8_t services[] = { 0xcf, 0x55, 0x89, 0xe5, 0x80, 0x4e,
	    0x06, 0x01, 0x5d, 0xcf };
	static const uint8_t reset[] = { 0xb0, 0xfe, 0xe6, 0x64, 0xf4 };
	const uint64_t iret = 0xfff53, failure = 0xfff54;
	unsigned n;

	(void)state;
	make_multiboot(false);
	assert_int_equal(load(), 0);
	assert_memory_equal(ram + iret, services, sizeof(services));
	assert_memory_equal(ram + 0xffff0, reset, sizeof(reset));
	for (n = 0; n < 0x10; n++)
		assert_int_equal(vector(n), iret);
	for (n = 0x70; n < 0x78; n++)
		assert_int_equal(vector(n), iret);
	assert_int_equal(vector(0x10), failure);
	assert_int_equal(vector(0x15), failure);
	assert_int_equal(vector(0xff), failure);
	assert_int_equal(get(0x413, 2), 640);
	assert_int_equal(get(0x40e, 2), 0);

	/* a kernel at these places keeps what it has there */
	make_multiboot(false);
	put(4108, 4, 0x460);		/* header_addr */
	put(4112, 4, 0x400);		/* load_addr */
	put(4116, 4, 0x400 + 3000);
	put(4120, 4, 0x400 + 3000);
	put(4124, 4, 0x480);
	save(kernel, image, 8000);
	assert_int_equal(load(), 0);
	assert_memory_equal(ram + 0x400, image + 4000, 3000);
	assert_int_equal(get(0x3fc, 4), 0xcccccccc);
	assert_memory_equal(ram + iret, services, sizeof(services));
}

static void
test_multiboot_bad(void **state)
{
	(void)state;
	make_multiboot(false);
	put(4100, 4, 0x10008);			/* an unknown must */
	put(4104, 4, -(0x1badb002 + 0x10008));
	save(kernel, image, 8000);
	refused("unknown");
	make_multiboot(false);
	save(kernel, image, 4096 + 20);
	refused("truncated");
	make_multiboot(false);
	put(4112, 4, 0x200000 - 5000);		/* before the file */
	save(kernel, image, 8000);
	refused("do not fit");
	put(4112, 4, 0x200004);
	save(kernel, image, 8000);
	refused("do not fit");
	make_multiboot(false);
	put(4116, 4, 0x210000);
	save(kernel, image, 8000);
	refused("truncated");
	put(4116, 4, 0x1fff00);			/* ends before it begins */
	save(kernel, image, 8000);
	refused("truncated");
	make_multiboot(false);
	put(4120, 4, 0x200100);
	save(kernel, image, 8000);
	refused("bss");
	put(4120, 4, 0xffffffff);
	save(kernel, image, 8000);
	refused("not free memory");
	make_multiboot(false);
	put(4124, 4, 0xf0000000);
	save(kernel, image, 8000);
	refused("entry point");
	make_multiboot(true);
	image[0] = 0;
	save(kernel, image, 8000);
	refused("no ELF");
	make_multiboot(true);			/* a wrong checksum: no header */
	put(4104, 4, 0);
	save(kernel, image, 8000);
	refused("no bzImage");
}

/* Random damage to good kernels: any answer, but no crash. */
static void
test_damage(void **state)
{
	unsigned seed = (unsigned)time(NULL), n, i, kind, loaded = 0;
	static uint8_t good[LINUX_SIZE];
	size_t size = 0, area = 0, at, cut;

	(void)state;
	print_message("# seed %u\n", seed);
	memory(24 * MIB);
	for (n = 0; n < 2000; n++) {
		kind = n % 4;
		switch (kind) {
		case 0:
			size = make_linux();
			area = 0x270;
			break;
		case 1:
			size = make_pvh();
			area = 660;
			break;
		default:
			size = make_multiboot(kind == 2);
			area = 4140;
			break;
		}
		memcpy(good, image, size);
		for (i = 0; i < 1 + (unsigned)rand_r(&seed) % 6; i++) {
			at = (unsigned)rand_r(&seed) % area;
			if (kind == 0 && at < 0x1f0)
				at += 0x1f0;
			if (kind >= 2 && at < 4096 && at > 90)
				at = 4096 + at % 32;
			image[at] = (uint8_t)(rand_r(&seed) & 1 ?
			    rand_r(&seed) : image[at] ^ 1 <<
			    (rand_r(&seed) & 7));
		}
		cut = size;
		if ((rand_r(&seed) & 3) == 0)
			cut = (unsigned)rand_r(&seed) % size;
		save(kernel, image, cut);
		boot.b_ninitrds = 0;
		boot.b_append = "x";
		boot.b_memory = &gm;
		boot.b_kernel = kernel;
		boot.b_map = map;
		boot.b_nmap = 3;
		err.e_text[0] = '\0';
		if (boot_load(&boot, &err) == 0)
			loaded++;
		else
			assert_int_not_equal(err.e_text[0], '\0');
	}
	memory(RAM);
	assert_in_range(loaded, 1, 1999);
}

static int
group_setup(void **state)
{
	(void)state;
	/* guard pages: a loader that runs over the end is caught */
	ram = mmap(NULL, RAM + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
	    MAP_NORESERVE, -1, 0);
	ram += 4096;
	mprotect(ram, RAM, PROT_READ | PROT_WRITE);
	gm = (struct guest_memory){ .gm_nranges = 1,
		.gm_range = { { 0, ram, RAM } } };
	if (mkdtemp(dir) == NULL)
		return (-1);
	snprintf(kernel, sizeof(kernel), "%s/kernel", dir);
	snprintf(module[0], sizeof(module[0]), "%s/one", dir);
	snprintf(module[1], sizeof(module[1]), "%s/two", dir);
	return (0);
}

static int
group_teardown(void **state)
{
	(void)state;
	unlink(kernel);
	unlink(module[0]);
	unlink(module[1]);
	return (rmdir(dir));
}

int
main(void)
{
#define T(f)	cmocka_unit_test_setup(f, setup)
	const struct CMUnitTest tests[] = {
		T(test_linux), T(test_linux_initrd), T(test_linux_placement),
		T(test_linux_32), T(test_linux_bad), T(test_files), T(test_pvh),
		T(test_elf_bad), T(test_multiboot), T(test_bios),
		T(test_multiboot_bad), T(test_damage),
	};

	return (cmocka_run_group_tests(tests, group_setup, group_teardown));
}
