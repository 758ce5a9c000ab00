/*
 * A guest for tests of vmctl: a multiboot kernel that does what the words of
 * its command line say, one after the other, and halts for ever (powers off)
 * after the last. Words that it does not know are passed over: a loader may
 * put the kernel's name first.
 *
 *	print=TEXT	writes TEXT and a newline to COM1
 *	memory		writes the KiB of memory above 1 MiB
 *	modules		writes each module's string and content
 *	echo		writes what comes in on COM1 until a 'q'
 *	exit=N		writes N to port 0x501
 *	once		ends the run unless this is the first boot (by CMOS)
 *	spin		loops for ever
 *	triple		makes a triple fault
 *	reset=HOW	resets by i8042, 92 or cf9
 *	idle		waits for ever, and listens to nothing
 *	button=HOW	waits for the power button: then powers off, resets, or
 *			is deaf: hears of it and does not look; ignores it
 *	chaos=N		random accesses to ports, PCI and device memory; N is
 *			the seed; then 5 to port 0x501
 */
#include <stddef.h>
#include <stdint.h>

#define COM1		0x3F8
#define EXIT_PORT	0x501
#define CMOS_MARK	0x70	/* a register of plain memory */

#define HEADER_MAGIC	0x1BADB002
#define HEADER_FLAGS	0x00000003	/* align modules; memory sizes */
#define LOADER_MAGIC	0x2BADB002

__attribute__((section(".multiboot"), used))
static const uint32_t header[3] = { HEADER_MAGIC, HEADER_FLAGS,
    -(HEADER_MAGIC + HEADER_FLAGS) };

struct multiboot_info {
	uint32_t	mi_flags;
	uint32_t	mi_mem_lower;
	uint32_t	mi_mem_upper;
	uint32_t	mi_boot_device;
	uint32_t	mi_cmdline;
	uint32_t	mi_mods_count;
	uint32_t	mi_mods_addr;
};

struct multiboot_module {
	uint32_t	mm_start;
	uint32_t	mm_end;
	uint32_t	mm_string;
	uint32_t	mm_reserved;
};

void	start(void);
void	guest_main(uint32_t, const struct multiboot_info *);

__asm__(
	".globl start\n"
	"start:\n"
	"	mov	$stack_top, %esp\n"
	"	push	%ebx\n"
	"	push	%eax\n"
	"	call	guest_main\n"
	"1:	cli\n"
	"	hlt\n"
	"	jmp	1b\n"
	".lcomm	stack, 16384\n"
	".set	stack_top, stack + 16384\n"
);

static inline void
outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t
inb(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return (value);
}

static void
put(char c)
{
	while ((inb(COM1 + 5) & 0x20) == 0)	/* THRE */
		continue;
	outb(COM1, (uint8_t)c);
}

static void
put_text(const char *s)
{
	for (; *s != '\0'; s++)
		put(*s);
}

static void
put_number(uint32_t n)
{
	char digits[10];
	int i = 0;

	do {
		digits[i++] = (char)('0' + n % 10);
		n /= 10;
	} while (n != 0);
	while (i > 0)
		put(digits[--i]);
}

static void
flush(void)
{
	while ((inb(COM1 + 5) & 0x40) == 0)	/* TEMT */
		continue;
}

/* If the word begins with the name: what follows it; else NULL. */
static const char *
match(const char *word, const char *name)
{
	for (; *name != '\0'; name++, word++)
		if (*word != *name)
			return (NULL);
	return (word);
}

static void
modules(const struct multiboot_info *mi)
{
	const struct multiboot_module *mm;
	const char *p;
	uint32_t i;

	mm = (const void *)(uintptr_t)mi->mi_mods_addr;
	for (i = 0; i < mi->mi_mods_count; i++, mm++) {
		put_text("module ");
		put_text((const char *)(uintptr_t)mm->mm_string);
		put_text(": ");
		for (p = (const char *)(uintptr_t)mm->mm_start;
		    (uintptr_t)p < mm->mm_end; p++)
			put(*p);
		put('\n');
	}
}

static void
echo(void)
{
	char c;

	do {
		while ((inb(COM1 + 5) & 0x01) == 0)	/* data ready */
			continue;
		c = (char)inb(COM1);
		put(c);
	} while (c != 'q');
}

static int
first_boot(void)
{
	outb(0x70, CMOS_MARK);
	if (inb(0x71) == 0xA5)
		return (0);
	outb(0x70, CMOS_MARK);
	outb(0x71, 0xA5);
	return (1);
}

static inline uint16_t
inw(uint16_t port)
{
	uint16_t value;

	__asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
	return (value);
}

static inline void
outw(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

/* What comes first closes the interrupt controllers, and is over. */
void	interrupt(void);
__asm__(
	"interrupt:\n"
	"	push	%eax\n"
	"	mov	$0xff, %al\n"
	"	out	%al, $0x21\n"
	"	out	%al, $0xa1\n"
	"	mov	$0x20, %al\n"
	"	out	%al, $0xa0\n"
	"	out	%al, $0x20\n"
	"	pop	%eax\n"
	"	iret\n"
);

/* Interrupts as they come from a PC's firmware, but for the SCI masked. */
static void
interrupts_on(uint8_t mask1, uint8_t mask2)
{
	static uint64_t idt[256];
	static struct {
		uint16_t	limit;
		uint32_t	base;
	} __attribute__((packed)) idtr;
	const uint32_t at = (uint32_t)(uintptr_t)interrupt;
	uint16_t cs;
	unsigned i;

	__asm__ volatile("mov %%cs, %0" : "=r"(cs));
	for (i = 0; i < 256; i++)
		idt[i] = (uint64_t)(at >> 16) << 48 | 0x8e00ull << 32 |
		    (uint32_t)cs << 16 | (at & 0xffff);
	idtr.limit = sizeof(idt) - 1;
	idtr.base = (uint32_t)(uintptr_t)idt;
	__asm__ volatile("lidt %0" : : "m"(idtr));
	outb(0x20, 0x11);
	outb(0x21, 0x20);
	outb(0x21, 0x04);
	outb(0x21, 0x01);
	outb(0xa0, 0x11);
	outb(0xa1, 0x28);
	outb(0xa1, 0x02);
	outb(0xa1, 0x01);
	outb(0x21, mask1);
	outb(0xa1, mask2);
}

static void
idle(void)
{
	interrupts_on(0xff, 0xff);
	for (;;)
		__asm__ volatile("sti; hlt");
}

#define PM1_STATUS	0x600
#define PM1_ENABLE	0x602
#define PM1_CONTROL	0x604
#define PM1_BUTTON	0x0100

static void	reset(const char *);

static void
button(const char *how)
{
	outw(PM1_STATUS, PM1_BUTTON);
	outw(PM1_ENABLE, PM1_BUTTON);
	put_text("button\n");
	if (*how == 'd')
		idle();
	interrupts_on(0xfb, 0xfd);	/* IRQ 2 and 9 */
	while ((inw(PM1_STATUS) & PM1_BUTTON) == 0)
		__asm__ volatile("sti; hlt; cli");
	outw(PM1_STATUS, PM1_BUTTON);
	put_text("pressed\n");
	flush();
	if (*how == 'i')
		idle();
	if (*how == 'r')
		reset("9");
	outw(PM1_CONTROL, 5 << 10 | 1 << 13);
	for (;;)
		continue;
}

static void
triple_fault(void)
{
	static const struct {
		uint16_t	limit;
		uint32_t	base;
	} __attribute__((packed)) none = { 0, 0 };

	__asm__ volatile("lidt %0; int3" : : "m"(none));
}

static void
reset(const char *how)
{
	if (*how == 'i')
		outb(0x64, 0xFE);
	else if (*how == '9')
		outb(0x92, inb(0x92) | 0x01);
	else {
		outb(0xCF9, 0x02);
		outb(0xCF9, 0x06);
	}
	for (;;)
		continue;
}

static uint32_t
chaos_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return (*state);
}

/* One access to a port, or to device memory: of 1, 2 or 4 bytes. */
static void
chaos_port(uint16_t port, uint32_t how, uint32_t value)
{
	/* not the ways to end the run, alone or in a word or dword: 64, 92,
	 * EXIT_PORT, ACPI's PM1 control (604), CF9 */
	if (port - 0x61u < 4 || port - 0x8fu < 4 || port - 0x4feu < 4 ||
	    port - 0x600u < 6 || port - 0xcf6u < 4)
		return;
	switch (how % 6) {
	case 0:
		outb(port, (uint8_t)value);
		break;
	case 1:
		__asm__ volatile("outw %w0, %1" : : "a"(value), "Nd"(port));
		break;
	case 2:
		__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
		break;
	case 3:
		(void)inb(port);
		break;
	case 4:
		__asm__ volatile("inw %1, %w0" : "=a"(value) : "Nd"(port));
		break;
	case 5:
		__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
		break;
	}
}

static void
chaos_memory(uint32_t address, uint32_t how, uint32_t value)
{
	void *p = (void *)(uintptr_t)address;

	switch (how % 6) {
	case 0:
		*(volatile uint8_t *)p = (uint8_t)value;
		break;
	case 1:
		*(volatile uint16_t *)p = (uint16_t)value;
		break;
	case 2:
		*(volatile uint32_t *)p = value;
		break;
	case 3:
		(void)*(volatile uint8_t *)p;
		break;
	case 4:
		(void)*(volatile uint16_t *)p;
		break;
	case 5:
		(void)*(volatile uint32_t *)p;
		break;
	}
}

static void
chaos(uint32_t state)
{
	uint32_t n, r, how, value, bar;

	for (n = 0; n < 300000; n++) {
		r = chaos_random(&state);
		how = chaos_random(&state);
		value = chaos_random(&state);
		if (value & 0x80)	/* small values do more */
			value >>= value % 32;
		switch (r & 7) {
		case 0:
			chaos_port((uint16_t)(r >> 16), how, value);
			break;
		case 1:
			chaos_port((uint16_t)(r >> 16 & 0x3ff), how, value);
			break;
		case 2:
			chaos_port((uint16_t)(0x1000 + (r >> 16 & 0x7fff)), how,
			    value);
			break;
		case 3:		/* configuration space of the first devices */
			__asm__ volatile("outl %0, %w1" : :
			    "a"(0x80000000 | (r >> 8 & 0x3ffc)), "d"(0xcf8));
			chaos_port(0xcfc + (r >> 30), how, value);
			break;
		case 4:
			chaos_memory(0xfee00000 + (r >> 16 & 0xfff), how,
			    value);
			break;
		case 5:
			chaos_memory(0xfec00000 + (r >> 16 & 0x3f), how, value);
			break;
		default:	/* a BAR, wherever it is now */
			__asm__ volatile("outl %0, %w1" : : "a"(0x80000010 |
			    (r >> 8 & 7) << 11 | (r >> 12 & 7) << 2),
			    "d"(0xcf8));
			__asm__ volatile("inl %w1, %0" : "=a"(bar) :
			    "d"(0xcfc));
			if (bar == UINT32_MAX)
				break;
			if (bar & 1)
				chaos_port((uint16_t)((bar & ~3u) +
				    (r >> 16 & 0x7f)), how, value);
			else if (bar >= 0x80000000)
				chaos_memory((bar & ~15u) +
				    (r >> 16 & 0x3fff), how, value);
			break;
		}
	}
}

/* Carries out one word; 0 to end the run. */
static int
run_word(const char *word, const struct multiboot_info *mi)
{
	const char *rest;
	uint8_t n;

	if ((rest = match(word, "print=")) != NULL) {
		put_text(rest);
		put('\n');
	} else if (match(word, "memory") != NULL) {
		put_number(mi->mi_mem_upper);
		put('\n');
	} else if (match(word, "modules") != NULL) {
		modules(mi);
	} else if (match(word, "echo") != NULL) {
		echo();
	} else if ((rest = match(word, "exit=")) != NULL) {
		for (n = 0; *rest >= '0' && *rest <= '9'; rest++)
			n = (uint8_t)(n * 10 + (*rest - '0'));
		flush();
		outb(EXIT_PORT, n);
	} else if (match(word, "once") != NULL) {
		return (first_boot());
	} else if (match(word, "spin") != NULL) {
		for (;;)
			continue;
	} else if (match(word, "triple") != NULL) {
		flush();
		triple_fault();
	} else if ((rest = match(word, "reset=")) != NULL) {
		flush();
		reset(rest);
	} else if (match(word, "idle") != NULL) {
		idle();
	} else if ((rest = match(word, "button=")) != NULL) {
		button(rest);
	} else if ((rest = match(word, "chaos=")) != NULL) {
		uint32_t seed = 0;

		for (; *rest >= '0' && *rest <= '9'; rest++)
			seed = seed * 10 + (uint32_t)(*rest - '0');
		chaos(seed | 1);
		outb(EXIT_PORT, 5);
	}
	return (1);
}

void
guest_main(uint32_t magic, const struct multiboot_info *mi)
{
	char word[128];
	const char *p;
	size_t n;

	if (magic != LOADER_MAGIC) {
		put_text("not loaded by multiboot\n");
		return;
	}
	if ((mi->mi_flags & 0x4) == 0)
		return;
	p = (const char *)(uintptr_t)mi->mi_cmdline;
	while (*p != '\0' && *p != ' ')	/* the kernel's name */
		p++;
	while (*p == ' ')
		p++;
	while (*p != '\0') {
		for (n = 0; *p != '\0' && *p != ' '; p++)
			if (n < sizeof(word) - 1)
				word[n++] = *p;
		word[n] = '\0';
		while (*p == ' ')
			p++;
		if (!run_word(word, mi))
			break;
	}
	flush();
}
