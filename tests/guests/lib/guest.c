/*
 * Output, checks, and the IDT: the same for guests of all modes.
 */
#include "guest.h"

#define COM1		0x3f8
#define EXIT_PORT	0xf4

static int failed;

void
put(const char *s)
{
	for (; *s != '\0'; s++)
		outb(COM1, (u8)*s);
}

void
put_hex(u64 value)
{
	int shift = 60;

	while (shift > 0 && (value >> shift & 15) == 0)
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		outb(COM1, (u8)"0123456789abcdef"[value >> shift & 15]);
}

void
check(const char *name, int good)
{
	put(good ? "ok " : "not ok ");
	put(name);
	put("\n");
	if (!good)
		failed = 1;
}

void
check_equal(const char *name, u64 got, u64 expected)
{
	check(name, got == expected);
	if (got != expected) {
		put("# got ");
		put_hex(got);
		put(", expected ");
		put_hex(expected);
		put("\n");
	}
}

void
finish(void)
{
	outb(EXIT_PORT, (u8)failed);
	for (;;)
		__asm__ volatile("cli; hlt");
}

#ifndef REAL
volatile struct caught caught;
volatile word resume;
word try_ax;

void
check_caught(const char *name, unsigned vector, unsigned error)
{
	int has_error = vector < 32 && 0x00227d00u >> vector & 1;
	int good = caught.vector == vector &&
	    (!has_error || caught.error == error);

	check(name, good);
	if (!good) {
		put("# caught ");
		put_hex(caught.vector);
		put(" error ");
		put_hex(caught.error);
		put(" at ");
		put_hex(caught.rip);
		put(" cr2 ");
		put_hex(caught.cr2);
		put(", expected ");
		put_hex(vector);
		put(" error ");
		put_hex(error);
		put("\n");
	}
}

/* From the common handler when nothing was expected. */
void	unexpected(void);
void
unexpected(void)
{
	check_caught("no exception", NONE, 0);
	finish();
}

extern u8 idt[], vectors[];

void
set_gate(unsigned vector, word handler, unsigned type, unsigned dpl,
    unsigned ist)
{
#ifdef __x86_64__
	u64 *gate = (u64 *)(void *)(idt + vector * 16);

	gate[0] = (handler & 0xffff) | 8 << 16 | (u64)ist << 32 |
	    (u64)(type | dpl << 5 | 0x80) << 40 |
	    (handler >> 16 & 0xffff) << 48;
	gate[1] = handler >> 32;
#else
	u32 *gate = (u32 *)(void *)(idt + vector * 8);

	(void)ist;
	gate[0] = (handler & 0xffff) | 8 << 16;
	gate[1] = (handler & 0xffff0000) | (type | dpl << 5 | 0x80) << 8;
#endif
}

void	setup(void);
void
setup(void)
{
	unsigned n;

	for (n = 0; n < 256; n++)
		set_gate(n, (word)vectors + n * 16, 14,
		    n == 3 || n == 4 || n == 0x80 ? 3 : 0, 0);
	main();
	finish();
}
#endif
