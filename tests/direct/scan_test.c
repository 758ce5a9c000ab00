/*
 * Which instructions the bare CPU must not execute for the guest (scan.c):
 * each is found where it begins, wherever it lies, and others are not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/bare.h"
#include "engine/soft/direct/scan.h"
#include "engine/soft/insn.h"

#define PAGE	4096u
#define MAX	16u

struct code {
	const char	*c_name;
	uint8_t		 c_bytes[12];
	unsigned	 c_len;
	bool		 c_xsave;	/* harmless if the XSAVE family is */
};
#define CODE(name, ...)	{ name, { __VA_ARGS__ },			\
    sizeof((uint8_t[]){ __VA_ARGS__ }), false }
#define XCODE(name, ...) { name, { __VA_ARGS__ },			\
    sizeof((uint8_t[]){ __VA_ARGS__ }), true }

static const struct code harmful[] = {
	CODE("cpuid", 0x0f, 0xa2),
	CODE("rdtscp", 0x0f, 0x01, 0xf9),
	CODE("rdpru", 0x0f, 0x01, 0xfd),
	CODE("xgetbv", 0x0f, 0x01, 0xd0),
	CODE("rdpkru", 0x0f, 0x01, 0xee),
	CODE("wrpkru", 0x0f, 0x01, 0xef),
	CODE("sgdt [rdi]", 0x0f, 0x01, 0x07),
	CODE("sidt [rdi]", 0x0f, 0x01, 0x0f),
	CODE("sgdt [rip + 1]", 0x0f, 0x01, 0x05, 1, 0, 0, 0),
	CODE("smsw eax", 0x0f, 0x01, 0xe0),
	CODE("smsw [rax]", 0x0f, 0x01, 0x20),
	CODE("sldt eax", 0x0f, 0x00, 0xc0),
	CODE("str eax", 0x0f, 0x00, 0xc8),
	CODE("str [rsp]", 0x0f, 0x00, 0x0c, 0x24),
	CODE("verr ax", 0x0f, 0x00, 0xe0),
	CODE("verw ax", 0x0f, 0x00, 0xe8),
	CODE("lar eax, ecx", 0x0f, 0x02, 0xc1),
	CODE("lsl eax, ecx", 0x0f, 0x03, 0xc1),
	CODE("lss eax, [rdi]", 0x0f, 0xb2, 0x07),
	CODE("lfs eax, [rdi]", 0x0f, 0xb4, 0x07),
	CODE("lgs eax, [rdi]", 0x0f, 0xb5, 0x07),
	CODE("sysenter", 0x0f, 0x34),
	CODE("int 80h", 0xcd, 0x80),
	CODE("rdpid rax", 0xf3, 0x0f, 0xc7, 0xf8),
	XCODE("xsave [rdi]", 0x0f, 0xae, 0x27),
	XCODE("xrstor [rdi]", 0x0f, 0xae, 0x2f),
	XCODE("xsaveopt [rdi]", 0x0f, 0xae, 0x37),
	XCODE("xsavec [rdi]", 0x0f, 0xc7, 0x27),
};

static const struct code harmless[] = {
	CODE("nop", 0x0f, 0x1f, 0x40, 0x00),
	CODE("syscall", 0x0f, 0x05),
	CODE("rdtsc", 0x0f, 0x31),
	CODE("int3", 0xcc),
	CODE("int 81h", 0xcd, 0x81),
	CODE("lldt ax", 0x0f, 0x00, 0xd0),
	CODE("ltr ax", 0x0f, 0x00, 0xd8),
	CODE("lgdt [rdi]", 0x0f, 0x01, 0x17),
	CODE("lidt [rdi]", 0x0f, 0x01, 0x1f),
	CODE("invlpg [rdi]", 0x0f, 0x01, 0x3f),
	CODE("xend", 0x0f, 0x01, 0xd5),
	CODE("fxsave [rdi]", 0x0f, 0xae, 0x07),
	CODE("ldmxcsr [rdi]", 0x0f, 0xae, 0x17),
	CODE("lfence", 0x0f, 0xae, 0xe8),
	CODE("mfence", 0x0f, 0xae, 0xf0),
	CODE("sfence", 0x0f, 0xae, 0xf8),
	CODE("clflush [rdi]", 0x0f, 0xae, 0x3f),
	CODE("cmpxchg8b [rdi]", 0x0f, 0xc7, 0x0f),
	CODE("rdrand eax", 0x0f, 0xc7, 0xf0),
	CODE("bswap edx", 0x0f, 0xca),
	/* the bytes of others inside them */
	CODE("mov eax, 0a20fh", 0xb8, 0x0f, 0xa2, 0x00, 0x00),
	CODE("mov rcx, 80cd0ff9010fh", 0x48, 0xb9, 0x0f, 0x01, 0xf9, 0x0f,
	    0xcd, 0x80, 0x00, 0x00),
	CODE("lea rax, [rip + 0a20fh]", 0x48, 0x8d, 0x05, 0x0f, 0xa2, 0, 0),
	CODE("jmp $ + 0a214h", 0xe9, 0x0f, 0xa2, 0x00, 0x00),
	CODE("add byte [rax + 340f0000h], 0", 0x80, 0x80, 0x00, 0x00, 0x0f,
	    0x34, 0x00),
};

#define COUNT(table)	(sizeof(table) / sizeof((table)[0]))

static struct decode_mode mode;

static int
setup(void **state)
{
	(void)state;
	decode_mode_init(&mode, &bare_host, NULL);
	mode.dm_real = false;
	mode.dm_bits = 64;
	return (0);
}

static unsigned
scan(const uint8_t *code, size_t len, size_t from, size_t to, bool xsave,
    uint16_t *where)
{
	return (scan_harmful(code, len, from, to, xsave, &mode, where, MAX));
}

static void
each_found(void **state)
{
	static const char prefix[][4] = { "", "\x66", "\x40", "\x48",
	    "\x2e", "\x65\x48", "\x66\x66\x4f" };
	uint8_t code[SCAN_BEFORE + 2 * PAGE];
	uint16_t where[MAX];
	const struct code *c;
	size_t at, begin;
	unsigned p;

	(void)state;
	for (c = harmful; c < harmful + COUNT(harmful); c++)
		for (p = 0; p < COUNT(prefix); p++) {
			/* F3 has to be before REX and is as good before all */
			if (c->c_bytes[0] == 0xf3 && p > 1)
				continue;
			at = SCAN_BEFORE + 300;
			memset(code, 0x90, sizeof(code));
			memcpy(code + at, prefix[p], strlen(prefix[p]));
			memcpy(code + at + strlen(prefix[p]), c->c_bytes,
			    c->c_len);
			begin = at - SCAN_BEFORE;
			if (scan(code, sizeof(code), SCAN_BEFORE,
			    SCAN_BEFORE + PAGE, false, where) != 1 ||
			    where[0] != begin)
				fail_msg("%s, prefix %u", c->c_name, p);
			assert_int_equal(scan(code, sizeof(code), SCAN_BEFORE,
			    SCAN_BEFORE + PAGE, true, where), !c->c_xsave);
			/* and not in the next page */
			assert_int_equal(scan(code, sizeof(code), SCAN_BEFORE +
			    PAGE, SCAN_BEFORE + PAGE + 200, false, where), 0);
		}
}

static void
harmless_passed(void **state)
{
	uint8_t code[SCAN_BEFORE + PAGE];
	uint16_t where[MAX];
	const struct code *c;
	size_t at;

	(void)state;
	for (c = harmless; c < harmless + COUNT(harmless); c++) {
		memset(code, 0x90, sizeof(code));
		for (at = SCAN_BEFORE; at + 40 < sizeof(code); at += 400)
			memcpy(code + at, c->c_bytes, c->c_len);
		if (scan(code, sizeof(code), SCAN_BEFORE, sizeof(code), false,
		    where) != 0)
			fail_msg("%s at %u", c->c_name, where[0]);
	}
}

/* At each place about the two ends of a page, that is known with and without
 * its neighbours: it is found in the page where its opcode begins, or the page
 * is not to be executed at all. */
static void
ends(void **state)
{
	uint8_t code[PAGE * 3];
	uint16_t where[MAX];
	const struct code *c;
	size_t at;
	unsigned opcode, n, k;

	(void)state;
	for (c = harmful; c < harmful + COUNT(harmful); c++) {
		opcode = c->c_bytes[0] == 0xf3;
		for (at = PAGE - 8; at < 2 * PAGE; at++) {
			if (at == PAGE + 8)
				at = 2 * PAGE - 8;
			memset(code, 0x90, sizeof(code));
			memcpy(code + at, c->c_bytes, c->c_len);
			n = scan(code, 2 * PAGE + SCAN_BEHIND, PAGE, 2 * PAGE,
			    false, where);
			if (at + opcode < PAGE || at >= 2 * PAGE)
				k = 0;
			else if (at < PAGE)
				k = MAX + 1;	/* it begins before */
			else
				k = at + opcode < 2 * PAGE;
			if (n != k || (k == 1 && where[0] != at - PAGE))
				fail_msg("%s at %zu: %u not %u", c->c_name, at,
				    n, k);
			/* the page behind is not known */
			n = scan(code, 2 * PAGE, PAGE, 2 * PAGE, false, where);
			if (n != k)
				fail_msg("%s at %zu, alone: %u not %u",
				    c->c_name, at, n, k);
		}
	}
}

/* What ends in a byte that could be a prefix is not where it begins. */
static void
begins(void **state)
{
	static const uint8_t before[][8] = {
		{ 0xb8, 0x00, 0x00, 0x00, 0x40 },	/* mov eax, 4000000h */
		{ 0xbf, 0x00, 0x00, 0xf3, 0x48 },
		{ 0x48, 0x8d, 0x44, 0x24, 0x66 },	/* lea rax, [rsp+66h] */
		{ 0x31, 0xc0, 0x90, 0xb0, 0x48 },	/* mov al, 48h */
	};
	uint8_t code[SCAN_BEFORE + PAGE];
	uint16_t where[MAX];
	unsigned n;

	(void)state;
	for (n = 0; n < COUNT(before); n++) {
		memset(code, 0x90, sizeof(code));
		memcpy(code + SCAN_BEFORE + 100, before[n], 5);
		memcpy(code + SCAN_BEFORE + 105, "\x0f\xa2", 2);
		assert_int_equal(scan(code, sizeof(code), SCAN_BEFORE,
		    sizeof(code), false, where), 1);
		assert_int_equal(where[0], 105);
	}
}

static void
too_many(void **state)
{
	uint8_t code[SCAN_BEFORE + PAGE];
	uint16_t where[MAX];
	unsigned n;

	(void)state;
	memset(code, 0x90, sizeof(code));
	for (n = 0; n < MAX; n++)
		memcpy(code + SCAN_BEFORE + n * 20, "\x0f\xa2", 2);
	assert_int_equal(scan(code, sizeof(code), SCAN_BEFORE, sizeof(code),
	    false, where), MAX);
	for (n = 0; n < MAX; n++)
		assert_int_equal(where[n], n * 20);
	memcpy(code + SCAN_BEFORE + n * 20, "\x0f\xa2", 2);
	assert_int_equal(scan(code, sizeof(code), SCAN_BEFORE, sizeof(code),
	    false, where), MAX + 1);
}

/* A library as programs have it: few pages are found to have any. */
static void
library(void **state)
{
	const Elf64_Ehdr *eh;
	const Elf64_Phdr *ph;
	const uint8_t *file;
	uint16_t where[MAX];
	size_t before, at, end, len;
	unsigned n, pages = 0, found = 0, left = 0;
	struct stat st;
	Dl_info info;
	int fd;

	(void)state;
	if (dladdr((void *)(uintptr_t)printf, &info) == 0 ||
	    (fd = open(info.dli_fname, O_RDONLY | O_CLOEXEC)) == -1)
		skip();
	assert_int_equal(fstat(fd, &st), 0);
	file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	assert_true(file != MAP_FAILED);
	eh = (const void *)file;
	ph = (const void *)(file + eh->e_phoff);
	for (n = 0; n < eh->e_phnum; n++)
		if (ph[n].p_type == PT_LOAD && ph[n].p_flags & PF_X)
			break;
	if (n == eh->e_phnum)
		skip();
	end = ph[n].p_offset + ph[n].p_filesz;
	for (at = ph[n].p_offset; at + PAGE <= end; at += PAGE) {
		before = at - ph[n].p_offset < SCAN_BEFORE ?
		    at - ph[n].p_offset : SCAN_BEFORE;
		len = before + PAGE;
		if (at + PAGE + SCAN_BEHIND <= end)
			len += SCAN_BEHIND;
		left = scan(file + at - before, len, before, before + PAGE,
		    true, where);
		pages++;
		found += left != 0;
	}
	printf("# %u of %u pages of %s\n", found, pages, info.dli_fname);
	munmap((void *)(uintptr_t)file, (size_t)st.st_size);
	/* it has some: CPUID, XGETBV, RDTSCP, RDPID */
	assert_true(found >= 1);
	assert_true(found <= 2 + pages / 20);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_found),
		cmocka_unit_test(harmless_passed),
		cmocka_unit_test(ends),
		cmocka_unit_test(begins),
		cmocka_unit_test(too_many),
		cmocka_unit_test(library),
	};

	return (cmocka_run_group_tests(tests, setup, NULL));
}
