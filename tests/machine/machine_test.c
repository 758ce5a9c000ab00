/*
 * machine/machine, run, board: a machine's life from outside, with guests of a
 * few instructions. Every way to end, reboots, what the console carries, bad
 * configurations; and that nothing is left behind: threads, descriptors.
 */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <vmm.h>

#include "base/loop.h"
#include "machine/machine.h"

#define MIB		0x100000ull
#define EXIT_PORT	0xf4

static char kernel[] = "/tmp/machine_test.XXXXXX";

static struct machine_config
config(void)
{
	return ((struct machine_config){ .mc_name = "test",
	    .mc_kernel = kernel, .mc_memory = 8 * MIB, .mc_engine = "auto",
	    .mc_exit_port = EXIT_PORT, .mc_console_in = -1,
	    .mc_console_out = -1, .mc_no_reboot = true });
}

/* A multiboot kernel of this code, in 32-bit mode at 1 MiB + 32. */
static void
guest(const uint8_t *code, size_t len)
{
	uint32_t header[8] = { 0x1badb002, 0x10000,
		-(0x1badb002u + 0x10000u), 0x100000, 0x100000, 0, 0x110000,
		0x100020 };
	FILE *fp = fopen(kernel, "w");

	assert_non_null(fp);
	fwrite(header, 1, sizeof(header), fp);
	fwrite(code, 1, len, fp);
	fclose(fp);
}

#define GUEST(...)						\
	do {							\
		static const uint8_t code_[] = { __VA_ARGS__ };	\
		guest(code_, sizeof(code_));			\
	} while (0)

/* Fragments of code */
#define OUT8(port, v)	0x66, 0xba, (port) & 0xff, (port) >> 8,	\
			0xb0, (v), 0xee		/* mov dx; mov al; out */
#define OUT16(port, v)	0x66, 0xba, (port) & 0xff, (port) >> 8,	\
			0x66, 0xb8, (v) & 0xff, (v) >> 8, 0x66, 0xef
#define OUT32(port, v)	0x66, 0xba, (port) & 0xff, (port) >> 8,	\
			0xb8, (v) & 0xff, (v) >> 8 & 0xff,	\
			(v) >> 16 & 0xff, (v) >> 24 & 0xff, 0xef
#define HALT		0xfa, 0xf4		/* cli; hlt */
#define FOREVER		0xeb, 0xfe		/* jmp . */
#define CRASH		0x0f, 0x0b		/* ud2 without an IDT */

static unsigned
entries(const char *dir)
{
	DIR *d = opendir(dir);
	unsigned n = 0;

	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return (n);
}

static enum machine_end
run(const struct machine_config *mc, uint32_t *value, struct err *err)
{
	struct machine *m;
	enum machine_end end;

	err->e_text[0] = '\0';
	if (machine_new(&m, mc, err) == -1) {
		print_message("# %s\n", err->e_text);
		fail();
	}
	assert_int_not_equal(machine_vm_id(m), 0);
	end = machine_run(m, value, err);
	machine_free(m);
	return (end);
}

static void
test_ends(void **state)
{
	struct machine_config mc = config();
	uint32_t value = 0;
	struct err err;

	(void)state;
	GUEST(OUT8(EXIT_PORT, 42), FOREVER);
	assert_int_equal(run(&mc, &value, &err), MACHINE_EXIT_PORT);
	assert_int_equal(value, 42);
	GUEST(OUT32(EXIT_PORT, 0x12345678), FOREVER);
	assert_int_equal(run(&mc, &value, &err), MACHINE_EXIT_PORT);
	assert_int_equal(value, 0x12345678);
	/* the ports beside it are no exit ports */
	GUEST(OUT8(EXIT_PORT + 1, 1), OUT16(EXIT_PORT, 0x777), FOREVER);
	assert_int_equal(run(&mc, &value, &err), MACHINE_EXIT_PORT);
	assert_int_equal(value, 0x777);
	GUEST(HALT);
	assert_int_equal(run(&mc, NULL, &err), MACHINE_POWEROFF);
	GUEST(OUT16(0x604, 5 << 10 | 1 << 13), FOREVER);
	assert_int_equal(run(&mc, NULL, &err), MACHINE_POWEROFF);
	GUEST(CRASH);
	assert_int_equal(run(&mc, NULL, &err), MACHINE_CRASH);
	assert_non_null(strstr(err.e_text, "triple fault at 10:100020"));
	GUEST(OUT8(0x92, 1), FOREVER);
	assert_int_equal(run(&mc, NULL, &err), MACHINE_RESET);
	GUEST(OUT8(0xcf9, 6), FOREVER);
	assert_int_equal(run(&mc, NULL, &err), MACHINE_RESET);
	GUEST(OUT8(0x64, 0xfe), FOREVER);
	assert_int_equal(run(&mc, NULL, &err), MACHINE_RESET);
}

static bool
twice(void *arg)
{
	unsigned *resets = arg;

	return (++*resets <= 2);
}

/* Whoever runs it may let it reset or not. */
static void
test_reset_asked(void **state)
{
	struct machine_config mc = config();
	unsigned resets = 0;
	struct err err;

	(void)state;
	mc.mc_no_reboot = false;
	mc.mc_reset = twice;
	mc.mc_reset_arg = &resets;
	GUEST(OUT8(0x92, 1), FOREVER);
	assert_int_equal(run(&mc, NULL, &err), MACHINE_RESET);
	assert_int_equal(resets, 3);
	resets = 0;
	GUEST(CRASH);
	assert_int_equal(run(&mc, NULL, &err), MACHINE_CRASH);
	assert_int_equal(resets, 3);
}

static bool
kernel_gone(void *arg)
{
	(void)arg;
	return (unlink(kernel) == 0);
}

/*
 * The guest counts its boots in CMOS and ends in the fifth; its own memory
 * begins anew each time.
 */
static void
test_reboot(void **state)
{
	struct machine_config mc = config();
	struct machine *m;
	uint32_t value = 0;
	struct err err;
	unsigned i;
#define COUNT(...)							\
	GUEST(0xff, 0x05, 0x00, 0x00, 0x50, 0x00, /* incl 0x500000 */	\
	    0x83, 0x3d, 0x00, 0x00, 0x50, 0x00, 0x01, /* cmpl $1 */	\
	    0x75, 0xfe,			/* jne . */			\
	    0xb0, 0x60, 0xe6, 0x70,	/* CMOS 0x60 */			\
	    0xe4, 0x71, 0xfe, 0xc0,	/* in, inc */			\
	    0x3c, 0x05, 0x74, 0x0a,	/* cmp $5; je 1f */		\
	    0xe6, 0x71,			/* out */			\
	    __VA_ARGS__,		/* 8 bytes */			\
	    OUT8(EXIT_PORT, 55), FOREVER)	/* 1: */

	(void)state;
	mc.mc_no_reboot = false;
	for (i = 0; i < 4; i++) {
		switch (i) {
		case 0:
			COUNT(OUT8(0x92, 1), 0xf4);
			break;
		case 1:
			COUNT(0xb0, 0xfe, 0xe6, 0x64, FOREVER, 0x90, 0x90);
			break;
		case 2:
			COUNT(CRASH, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90);
			break;
		case 3:
			COUNT(OUT8(0xf9, 6) + 0, 0x90);
			continue;
		}
		value = 0;
		assert_int_equal(run(&mc, &value, &err), MACHINE_EXIT_PORT);
		assert_int_equal(value, 55);
	}
	/* the kernel goes away in between */
	COUNT(OUT8(0x92, 1), 0xf4);
	mc.mc_reset = kernel_gone;
	assert_int_equal(run(&mc, &value, &err), MACHINE_ERROR);
	assert_non_null(strstr(err.e_text, kernel));
	/* or was never there: there is no machine then */
	assert_int_equal(machine_new(&m, &mc, &err), -1);
	assert_non_null(strstr(err.e_text, kernel));
}

static void
stop(void *arg)
{
	machine_stop(arg);
}

static void *
stop_thread(void *arg)
{
	usleep(20000);
	machine_stop(arg);
	return (NULL);
}

static void *
term_thread(void *arg)
{
	struct vm_terminate_params vtp = { .vtp_vm_id =
	    machine_vm_id(arg) };
	int fd = vmm_open();

	usleep(20000);
	assert_int_equal(vmm_ioctl(fd, VMM_IOC_TERM, &vtp), 0);
	vmm_close(fd);
	return (NULL);
}

/* From outside: a timer of the loop, other threads, TERM; busy and halted. */
static void
test_stop(void **state)
{
	struct machine_config mc = config();
	struct loop_timer *t;
	struct machine *m;
	struct err err;
	pthread_t thread;
	int i;

	(void)state;
	for (i = 0; i < 6; i++) {
		if (i & 1)
			GUEST(FOREVER);
		else	/* sti; hlt with nothing that would ever come */
			GUEST(OUT8(0x21, 0xff), OUT8(0xa1, 0xff), 0xfb, 0xf4,
			    FOREVER);
		assert_int_equal(machine_new(&m, &mc, &err), 0);
		t = NULL;
		if (i < 2) {
			t = loop_timer_new(machine_loop(m), stop, m);
			loop_timer_set(t, loop_now() + 10000000);
		} else
			pthread_create(&thread, NULL, i < 4 ? stop_thread :
			    term_thread, m);
		assert_int_equal(machine_run(m, NULL, &err), i < 4 ?
		    MACHINE_STOPPED : MACHINE_TERMINATED);
		if (t != NULL)
			loop_timer_free(t);
		else
			pthread_join(thread, NULL);
		machine_free(m);
	}
	/* before it runs */
	assert_int_equal(machine_new(&m, &mc, &err), 0);
	machine_stop(m);
	assert_int_equal(machine_run(m, NULL, &err), MACHINE_STOPPED);
	machine_free(m);
	/* never run */
	assert_int_equal(machine_new(&m, &mc, &err), 0);
	machine_free(m);
}

/* Bytes through COM1 both ways, polled; all output is there at the end. */
static void
test_console(void **state)
{
	struct machine_config mc = config();
	static char want[70000], have[70001];
	int in[2], out[2], i;
	struct err err;
	size_t n;
	ssize_t got;

	(void)state;
	/* echoes with one added until it has read '~' */
	GUEST(0x66, 0xba, 0xfd, 0x03,		/* 1: mov $0x3fd, %dx */
	    0xec, 0xa8, 0x01, 0x74, 0xf7,	/* in; test $1; je 1b */
	    0x66, 0xba, 0xf8, 0x03, 0xec,	/* in 0x3f8 */
	    0x3c, 0x7e, 0x74, 0x05,		/* cmp '~'; je 2f */
	    0x40, 0xee,				/* inc; out */
	    0xeb, 0xea, 0x90,			/* jmp 1b */
	    OUT8(EXIT_PORT, 3), FOREVER);	/* 2: */
	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	fcntl(out[1], F_SETPIPE_SZ, 1 << 20);
	fcntl(in[1], F_SETPIPE_SZ, 1 << 20);
	mc.mc_console_in = in[0];
	mc.mc_console_out = out[1];
	for (i = 0; i < 20000; i++) {
		want[i] = (char)('b' + i % 20);
		have[i] = (char)(want[i] - 1);
	}
	have[20000] = '~';
	assert_int_equal(write(in[1], have, 20001), 20001);
	assert_int_equal(run(&mc, NULL, &err), MACHINE_EXIT_PORT);
	close(out[1]);
	memset(have, 0, sizeof(have));
	for (n = 0; (got = read(out[0], have + n, sizeof(have) - n)) > 0;)
		n += (size_t)got;
	assert_int_equal(n, 20000);
	assert_memory_equal(have, want, n);
	close(in[0]);
	close(in[1]);
	close(out[0]);
}

/* The i8253 interrupts through the i8259 a guest that waits in HLT with an IDT
 * at 0x200000; the third tick ends it. */
static void
test_interrupts(void **state)
{
	struct machine_config mc = config();
	uint32_t value = 0;
	struct err err;

	(void)state;
	GUEST(
	    0xb8, 0x78, 0x00, 0x10, 0x00,	/* mov $handler, %eax */
	    0xbf, 0x00, 0x01, 0x20, 0x00,	/* mov $0x200100, %edi */
	    0x66, 0x89, 0x07,			/* mov %ax, (%edi) */
	    0x66, 0xc7, 0x47, 0x02, 0x10, 0x00,	/* movw $0x10, 2(%edi) */
	    0x66, 0xc7, 0x47, 0x04, 0x00, 0x8e,	/* movw $0x8e00, 4(%edi) */
	    0xc1, 0xe8, 0x10,			/* shr $16, %eax */
	    0x66, 0x89, 0x47, 0x06,		/* mov %ax, 6(%edi) */
	    0xbc, 0x00, 0x00, 0x30, 0x00,	/* mov $0x300000, %esp */
	    0x0f, 0x01, 0x1d, 0x72, 0x00, 0x10, 0x00,	/* lidt idtr */
	    0x31, 0xdb,				/* xor %ebx, %ebx */
	    /* out: the master's vectors from 0x20, only IRQ 0 open */
	    0xb0, 0x11, 0xe6, 0x20, 0xb0, 0x20, 0xe6, 0x21,
	    0xb0, 0x04, 0xe6, 0x21, 0xb0, 0x01, 0xe6, 0x21,
	    0xb0, 0xfe, 0xe6, 0x21,
	    /* out: channel 0 in mode 2, some 5 ms */
	    0xb0, 0x34, 0xe6, 0x43, 0xb0, 0x00, 0xe6, 0x40,
	    0xb0, 0x17, 0xe6, 0x40,
	    0xfb, 0xf4, 0xeb, 0xfc,		/* 1: sti; hlt; jmp 1b */
	    0xff, 0x07, 0x00, 0x00, 0x20, 0x00,	/* idtr: */
	    0xfe, 0xc3,				/* handler: inc %bl */
	    0x80, 0xfb, 0x03, 0x74, 0x05,	/* cmp $3, %bl; je 2f */
	    0xb0, 0x20, 0xe6, 0x20, 0xcf,	/* out: EOI; iret */
	    OUT8(EXIT_PORT, 9), FOREVER);	/* 2: */
	assert_int_equal(run(&mc, &value, &err), MACHINE_EXIT_PORT);
	assert_int_equal(value, 9);
}

static void
refused(const struct machine_config *mc, const char *text)
{
	struct machine *m;
	struct err err = { "" };

	assert_int_equal(machine_new(&m, mc, &err), -1);
	if (strstr(err.e_text, text) == NULL ||
	    strchr(err.e_text, '\n') != NULL)
		fail_msg("want \"%s\", have \"%s\"", text, err.e_text);
}

static void
test_refused(void **state)
{
	struct machine_config mc;

	(void)state;
	GUEST(HALT);
	mc = config();
	mc.mc_memory = 0;
	refused(&mc, "memory size");
	mc.mc_memory = MIB + 1;
	refused(&mc, "memory size");
	mc.mc_memory = 40ull << 30;
	refused(&mc, "at most");
	mc.mc_memory = UINT64_MAX & ~(MIB - 1);
	refused(&mc, "at most");
	mc = config();
	mc.mc_exit_port = 0x3f8;
	refused(&mc, "0x3f8");
	mc = config();
	mc.mc_engine = "steam";
	refused(&mc, "steam");
	mc = config();
	mc.mc_disk[0] = "/nonexistent/disk";
	mc.mc_ndisks = 1;
	refused(&mc, "/nonexistent/disk");
}

/* What a file of /proc says after a word, in hexadecimal. */
static unsigned long
status_word(const char *path, const char *word)
{
	char line[256];
	unsigned long v = 0;
	FILE *fp = fopen(path, "r");

	if (fp == NULL)
		return (0);		/* a thread that ended */
	while (fgets(line, sizeof(line), fp) != NULL)
		if (strncmp(line, word, strlen(word)) == 0)
			v = strtoul(line + strlen(word), NULL, 16);
	fclose(fp);
	return (v);
}

#define BIT(signo)	(1ul << ((signo) - 1))

static struct {
	struct machine	*machine;
	struct loop_timer *timer;
	unsigned	 looks;
	unsigned	 quiet;		/* threads that block SIGINT */
	unsigned	 deaf;		/* and those that block faults */
} masks;

static void
look_at_masks(void *arg)
{
	DIR *d = opendir("/proc/self/task");
	struct dirent *e;
	unsigned long mask;
	char path[300];

	(void)arg;
	masks.quiet = masks.deaf = 0;
	while ((e = readdir(d)) != NULL) {
		snprintf(path, sizeof(path), "/proc/self/task/%s/status",
		    e->d_name);
		mask = status_word(path, "SigBlk:");
		masks.quiet += (mask & BIT(SIGINT)) != 0;
		masks.deaf += (mask & (BIT(SIGSEGV) | BIT(SIGBUS) |
		    BIT(SIGFPE) | BIT(SIGILL))) != 0;
	}
	closedir(d);
	/* a thread that is being created blocks all of them for a moment */
	if (masks.deaf != 0 && masks.looks++ < 500)
		loop_timer_set(masks.timer, loop_now() + 10000000);
	else
		machine_stop(masks.machine);
}

/* The machine's threads leave signals to others, but for their own faults. */
static void
test_signals(void **state)
{
	struct machine_config mc = config();
	struct err err;

	(void)state;
	GUEST(FOREVER);
	mc.mc_nnics = 1;
	assert_int_equal(machine_new(&masks.machine, &mc, &err), 0);
	masks.timer = loop_timer_new(machine_loop(masks.machine),
	    look_at_masks, NULL);
	loop_timer_set(masks.timer, loop_now());
	assert_int_equal(machine_run(masks.machine, NULL, &err),
	    MACHINE_STOPPED);
	loop_timer_free(masks.timer);
	machine_free(masks.machine);
	assert_true(masks.quiet >= 2);
	assert_int_equal(masks.deaf, 0);
}

/* The engine has a descriptor of the RAM, beside the machine's. */
static void
test_share(void **state)
{
	struct machine_config mc = config();
	char path[300], text[64];
	struct machine *m;
	struct dirent *de;
	struct err err;
	unsigned n = 0;
	ssize_t len;
	DIR *d;

	(void)state;
	GUEST(FOREVER);
	mc.mc_engine = "soft";
	assert_int_equal(machine_new(&m, &mc, &err), 0);
	d = opendir("/proc/self/fd");
	while ((de = readdir(d)) != NULL) {
		snprintf(path, sizeof(path), "/proc/self/fd/%s", de->d_name);
		len = readlink(path, text, sizeof(text) - 1);
		text[len < 0 ? 0 : len] = '\0';
		n += strncmp(text, "/memfd:vmm-ram", 14) == 0;
	}
	closedir(d);
	assert_int_equal(n, 2);
	machine_free(m);
}

/* After all of this: as many threads and descriptors as before. */
static void
test_nothing_left(void **state)
{
	unsigned threads, fds, i;
	struct machine_config mc = config();
	uint32_t value;
	struct err err;

	(void)state;
	mc.mc_nnics = 1;
	GUEST(OUT8(EXIT_PORT, 1), FOREVER);
	run(&mc, &value, &err);
	threads = entries("/proc/self/task");
	fds = entries("/proc/self/fd");
	for (i = 0; i < 10; i++)
		assert_int_equal(run(&mc, &value, &err), MACHINE_EXIT_PORT);
	/* a thread of a VM that has ended may be on its way out */
	for (i = 0; i < 100 && entries("/proc/self/task") > threads; i++)
		usleep(10000);
	assert_true(entries("/proc/self/task") <= threads);
	assert_true(entries("/proc/self/fd") <= fds);
}

static int
group_setup(void **state)
{
	int fd = mkstemp(kernel);

	(void)state;
	if (fd == -1)
		return (-1);
	close(fd);
	return (0);
}

static int
group_teardown(void **state)
{
	(void)state;
	return (unlink(kernel));
}

/* --- pause -------------------------------------------------------------------- */

static void *
run_thread(void *arg)
{
	struct err err;

	return ((void *)(uintptr_t)machine_run(arg, NULL, &err));
}

/* Bytes that come before nothing has come for ms. */
static unsigned
drain(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint8_t bytes[4096];
	unsigned total = 0;
	ssize_t n;

	while (poll(&p, 1, ms) == 1 && (n = read(fd, bytes,
	    sizeof(bytes))) > 0)
		total += (unsigned)n;
	return (total);
}

/* A guest that writes for ever: while it is held it does not. */
static void
test_pause(void **state)
{
	struct machine_config mc = config();
	struct pollfd p = { .events = POLLIN };
	struct machine *m;
	pthread_t thread;
	struct err err;
	void *end;
	int fd[2], n;

	(void)state;
	/* mov dx, 3f8h; mov al, 'x'; out dx, al; jmp to the out */
	GUEST(0x66, 0xba, 0xf8, 0x03, 0xb0, 'x', 0xee, 0xeb, 0xfd);
	assert_int_equal(pipe(fd), 0);
	mc.mc_console_out = fd[1];
	p.fd = fd[0];
	assert_int_equal(machine_new(&m, &mc, &err), 0);
	assert_int_equal(machine_pause(m), -1);		/* it does not run */
	assert_int_equal(pthread_create(&thread, NULL, run_thread, m), 0);
	assert_int_equal(poll(&p, 1, 60000), 1);
	for (n = 0; n < 20; n++) {
		assert_int_equal(machine_pause(m), 0);
		(void)drain(fd[0], 30);	/* what was on its way */
		assert_int_equal(poll(&p, 1, n == 0 ? 300 : 10), 0);
		if (n % 3 == 0) {	/* held still: twice is once */
			assert_int_equal(machine_pause(m), 0);
			assert_int_equal(poll(&p, 1, 10), 0);
		}
		machine_unpause(m);
		assert_int_equal(poll(&p, 1, 60000), 1);
	}
	for (n = 0; n < 2000; n++) {	/* as fast as can be */
		assert_int_equal(machine_pause(m), 0);
		machine_unpause(m);
	}
	(void)drain(fd[0], 0);
	assert_int_equal(poll(&p, 1, 60000), 1);
	/* a held one can be ended */
	assert_int_equal(machine_pause(m), 0);
	machine_stop(m);
	while (drain(fd[0], 10) > 0)
		;
	pthread_join(thread, &end);
	assert_int_equal((uintptr_t)end, MACHINE_STOPPED);
	assert_int_equal(machine_pause(m), -1);
	machine_free(m);
	close(fd[0]);
	close(fd[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_reset_asked),
		cmocka_unit_test(test_reboot),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_console),
		cmocka_unit_test(test_interrupts),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_share),
		cmocka_unit_test(test_nothing_left),
		cmocka_unit_test(test_pause),
	};

	return (cmocka_run_group_tests(tests, group_setup, group_teardown));
}
