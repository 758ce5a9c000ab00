/*
 * The process that runs guest code (process.c): what it does for us, that it
 * does nothing for the code in it, and that it is gone when it should be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/soft/direct/process.h"

#define PAGE	4096u
#define CODE	0x400000u	/* where code is mapped in the process */
#define DATA	0x600000u
#define PAGES	8u
/* The stub, from p_stub on, behind ELF headers and the loop it begins in. */
#define STUB_FROM	0x7cu
#define STUB_ENTER	0xabu	/* where it makes a call and goes on */
#define STUB_TO		0xdbu

static int file;
static uint8_t *memory;		/* of file: code, data */
static int why;			/* the host does not let us */

static unsigned
descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return (n);
}

/* Is there such a process, or what is left of one? */
static bool
exists(pid_t pid)
{
	return (kill(pid, 0) == 0 || errno != ESRCH);
}

static int
setup(void **state)
{
	static struct process p;

	(void)state;
	file = memfd_create("memory", MFD_CLOEXEC);
	if (file == -1 || ftruncate(file, PAGES * PAGE) == -1)
		return (-1);
	memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
	    file, 0);
	if (memory == MAP_FAILED)
		return (-1);
	if ((why = process_new(&p, &file, 1)) != 0)
		printf("# no process here: %s\n", strerror(why));
	process_free(&p);
	return (0);
}

static void
map(uint64_t at, uint64_t prot, uint64_t page, struct process_call *pc)
{
	*pc = (struct process_call){ SYS_mmap, { at, PAGE, prot,
	    MAP_SHARED | MAP_FIXED, 0, page * PAGE } };
}

/* A process with a page of code and one of data. */
static void
begin(struct process *p)
{
	struct process_call calls[2];

	if (why != 0)
		skip();
	memset(memory, 0xcc, PAGE);
	memset(memory + PAGE, 0, PAGE);
	map(CODE, PROT_READ | PROT_EXEC, 0, &calls[0]);
	map(DATA, PROT_READ | PROT_WRITE, 1, &calls[1]);
	assert_int_equal(process_new(p, &file, 1), 0);
	assert_int_equal(process_calls(p, calls, 2), 0);
}

static void
run_after(struct process *p, uint64_t rip, const struct process_call *first,
    struct process_status *ps)
{
	p->p_regs.rip = rip;
	p->p_regs.rsp = DATA + PAGE;
	p->p_regs.eflags &= ~0x10000ul;		/* RF, of a fault */
	process_run(p, true, first, ps);
}

static void
run(struct process *p, uint64_t rip, struct process_status *ps)
{
	run_after(p, rip, NULL, ps);
}

static void
calls(void **state)
{
	/* mov eax, [600000h]; mov dword [600004h], 7; int3 */
	static const uint8_t code[] = { 0x8b, 0x04, 0x25, 0, 0, 0x60, 0,
	    0xc7, 0x04, 0x25, 4, 0, 0x60, 0, 7, 0, 0, 0, 0xcc };
	static struct process p;
	struct process_call pc[1000];
	struct process_status ps;
	unsigned n;

	(void)state;
	begin(&p);
	memcpy(memory, code, sizeof(code));
	memory[PAGE] = 0x5a;
	run(&p, CODE, &ps);
	assert_int_equal(ps.ps_stop, STOP_SIGNAL);
	assert_int_equal(ps.ps_signal, SIGTRAP);
	assert_int_equal(p.p_regs.rip, CODE + sizeof(code));
	assert_int_equal(p.p_regs.rax, 0x5a);
	assert_int_equal(memory[PAGE + 4], 7);

	/* more than fit at once, each seen by the next */
	for (n = 0; n < 1000; n++)
		map(DATA, PROT_READ, n % PAGES, &pc[n]);
	memset(memory + 7 * PAGE, 0x77, 4);
	assert_int_equal(process_calls(&p, pc, 1000), 0);
	run(&p, CODE, &ps);
	assert_int_equal(p.p_regs.rax, 0x77777777);
	/* the store is not allowed now */
	assert_int_equal(ps.ps_signal, SIGSEGV);
	assert_int_equal(ps.ps_code, SEGV_ACCERR);
	assert_int_equal(ps.ps_addr, DATA + 4);
	assert_int_equal(p.p_regs.rip, CODE + 7);

	/* up to the first that fails */
	pc[0] = (struct process_call){ SYS_munmap, { DATA + 1, PAGE } };
	pc[1] = (struct process_call){ SYS_munmap, { DATA, PAGE } };
	assert_int_equal(process_calls(&p, pc, 2), EINVAL);
	run(&p, CODE, &ps);
	assert_int_equal(ps.ps_addr, DATA + 4);
	assert_int_equal(process_calls(&p, pc + 1, 1), 0);
	run(&p, CODE, &ps);
	assert_int_equal(ps.ps_signal, SIGSEGV);
	assert_int_equal(ps.ps_code, SEGV_MAPERR);
	assert_int_equal(ps.ps_addr, DATA);
	assert_int_equal(p.p_regs.rip, CODE);
	process_free(&p);
}

/* Nothing but what was mapped, and no descriptor but those given. */
static void
empty(void **state)
{
	static struct process p;
	char name[64], line[256];
	unsigned n = 0;
	FILE *f;

	(void)state;
	begin(&p);
	snprintf(name, sizeof(name), "/proc/%d/maps", (int)p.p_pid);
	f = fopen(name, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL) {
		if (strstr(line, "[vsyscall]") != NULL)
			continue;	/* every process's, and not writable */
		n++;
	}
	fclose(f);
	assert_int_equal(n, 4);		/* ours, and two of its own */
	for (n = 0; n < 40; n++) {
		snprintf(name, sizeof(name), "/proc/%d/fd/%u", (int)p.p_pid, n);
		assert_int_equal(readlink(name, line, sizeof(line)) != -1,
		    n == 0);
	}
	process_free(&p);
}

/* System calls are not made, by whatever door; those that would write to data
 * or end the process. */
static void
doors(void **state)
{
	static const struct door {
		uint8_t code[8], len;
		uint32_t nr;
	} door[] = {
		{ { 0x0f, 0x05 }, 2, SYS_exit_group },
		{ { 0x0f, 0x05 }, 2, SYS_getpid },
		{ { 0x0f, 0x05 }, 2, SYS_munmap },
		{ { 0x0f, 0x05 }, 2, SYS_uname },
		{ { 0x0f, 0x05 }, 2, 0xffffffff },
		{ { 0xcd, 0x80 }, 2, 1 },
		{ { 0xcd, 0x80 }, 2, 20 },
		{ { 0x0f, 0x34 }, 2, 1 },
	};
	static struct process p;
	struct process_call first;
	struct process_status ps;
	const struct door *d;
	unsigned n;

	(void)state;
	begin(&p);
	map(DATA, PROT_READ | PROT_WRITE, 1, &first);
	for (n = 0; n < 2 * sizeof(door) / sizeof(door[0]); n++) {
		d = &door[n / 2];
		memset(memory, 0xcc, PAGE);
		memcpy(memory, d->code, d->len);
		p.p_regs.rax = d->nr;
		p.p_regs.rdi = DATA;
		p.p_regs.rsi = PAGE;
		p.p_regs.rbx = p.p_regs.rbp = DATA;
		run_after(&p, CODE, n % 2 == 0 ? NULL : &first, &ps);
		/* SYSENTER may be no instruction at all there */
		if (ps.ps_stop != STOP_SYSCALL &&
		    (ps.ps_stop != STOP_SIGNAL || ps.ps_signal == SIGTRAP ||
		    d->code[1] == 0x05))
			fail_msg("door %u: stop %d, signal %d", n, ps.ps_stop,
			    ps.ps_signal);
		if (d->code[1] == 0x05) {
			assert_int_equal(p.p_regs.rip, CODE + 2);
			assert_int_equal((uint32_t)p.p_regs.orig_rax,
			    d->nr);
			assert_int_equal(p.p_regs.rcx, CODE + 2);
		}
	}
	/* it is all there still */
	memcpy(memory, "\x8b\x07\xcc", 3);	/* mov eax, [rdi] */
	p.p_regs.rdi = DATA;
	run(&p, CODE, &ps);
	assert_int_equal(ps.ps_signal, SIGTRAP);
	assert_int_equal(p.p_regs.rax, 0);
	process_free(&p);
}

/* Guest code that finds the stub has nothing of it: entered anywhere, with a
 * list of calls of its own, it makes no call. */
static void
stub(void **state)
{
	struct process_call *list = (void *)(memory + PAGE);
	static struct process p;
	struct process_status ps;
	unsigned at, stops = 0;

	(void)state;
	begin(&p);
	*list = (struct process_call){ SYS_munmap, { CODE, PAGE } };
	memcpy(memory, "\xff\xe0", 2);			/* jmp rax */
	for (at = STUB_FROM; at < STUB_TO; at++) {
		p.p_regs.rax = p.p_stub + at;
		p.p_regs.rbx = DATA;
		p.p_regs.rbp = DATA + sizeof(*list);
		p.p_regs.rdi = CODE;
		p.p_regs.rsi = PAGE;
		run(&p, CODE, &ps);
		assert_int_not_equal(ps.ps_stop, STOP_GONE);
		stops += ps.ps_stop == STOP_SYSCALL;
	}
	assert_true(stops > 0);
	memcpy(memory, "\x8b\x03\xcc", 3);	/* mov eax, [rbx]: both are there */
	p.p_regs.rbx = DATA;
	run(&p, CODE, &ps);
	assert_int_equal(ps.ps_signal, SIGTRAP);
	assert_int_equal(p.p_regs.rax, SYS_munmap);
	process_free(&p);
}

/* The stub's own way in makes no call for guest code either, but for one that
 * knows the password. */
static void
password(void **state)
{
	static struct process p;
	struct process_status ps;
	unsigned n;

	(void)state;
	begin(&p);
	memcpy(memory, "\xff\xe3", 2);			/* jmp rbx */
	for (n = 0; n < 66; n++) {
		p.p_regs.rax = SYS_munmap;
		p.p_regs.rbx = p.p_stub + STUB_ENTER;
		p.p_regs.rdi = DATA;
		p.p_regs.rsi = PAGE;
		p.p_regs.r10 = p.p_password & ~(uint64_t)UINT32_MAX;
		p.p_regs.r8 = p.p_password << 32;
		if (n < 32)
			p.p_regs.r10 ^= UINT64_C(1) << (n + 32);
		else if (n < 64)
			p.p_regs.r8 ^= UINT64_C(1) << n;
		else if (n == 64)
			p.p_regs.r10 = p.p_regs.r8 = 0;
		run(&p, CODE, &ps);
		assert_int_equal(ps.ps_stop, STOP_SYSCALL);
		p.p_regs.r10 = p.p_regs.r8 = 0;
	}
	/* where system calls are not stopped by SYSEMU */
	memset(memory, 0xcc, 8);
	memcpy(memory, "\xff\xe3", 2);
	for (n = 0; n < 2; n++) {
		struct process_call first;

		map(DATA, PROT_READ, 1, &first);
		p.p_regs.rax = SYS_munmap;
		p.p_regs.rbx = p.p_stub + STUB_ENTER;
		p.p_regs.rdi = CODE;
		p.p_regs.rsi = PAGE;
		if (n == 1) {
			p.p_regs.r10 = p.p_password & ~(uint64_t)UINT32_MAX;
			p.p_regs.r8 = p.p_password << 32;
		}
		run_after(&p, CODE, &first, &ps);
		if (n == 0)
			assert_int_equal(ps.ps_stop, STOP_SYSCALL);
		else	/* unmapped: this test sees a call that is made */
			assert_true(ps.ps_stop == STOP_SIGNAL &&
			    ps.ps_signal == SIGSEGV);
	}
	process_free(&p);
}

/* A call first, and then code, in one go. */
static void
enter(void **state)
{
	/* mov eax, [600000h]; int3 */
	static const uint8_t code[] = { 0x8b, 0x04, 0x25, 0, 0, 0x60, 0, 0xcc };
	static struct process p;
	struct process_regs before;
	struct process_status ps;
	struct process_call first;
	uint64_t regs[15];
	unsigned n;

	(void)state;
	begin(&p);
	memcpy(memory, code, sizeof(code));
	for (n = 2; n < PAGES; n++)
		memset(memory + n * PAGE, (int)n, 4);
	for (n = 0; n < 15; n++)
		regs[n] = 0x0101010101010101 * (n + 1);
	memcpy(&p.p_regs, regs, sizeof(regs));
	for (n = 2; n < PAGES; n++) {
		map(DATA, PROT_READ, n, &first);
		/* DF, AC and arithmetic flags; TF */
		p.p_regs.eflags = n == 6 ? 0x302 : n % 2 == 0 ? 0x40ed7 : 0x202;
		p.p_regs.rsp = DATA + PAGE;
		before = p.p_regs;
		if (n == 4)
			kill(p.p_pid, SIGURG);
		run_after(&p, CODE, &first, &ps);
		assert_int_equal(ps.ps_stop, STOP_SIGNAL);
		if (n == 4) {		/* before the code */
			assert_int_equal(ps.ps_signal, SIGURG);
			before.rip = CODE;
			before.orig_rax = p.p_regs.orig_rax;
			assert_memory_equal(&p.p_regs, &before,
			    offsetof(struct process_regs, fs_base));
			run(&p, CODE, &ps);
		}
		assert_int_equal(ps.ps_signal, SIGTRAP);
		assert_int_equal(p.p_regs.rip, CODE + (n == 6 ? 7 : 8));
		assert_int_equal(p.p_regs.rax, 0x01010101 * n);
		p.p_regs.rax = before.rax;
		assert_memory_equal(&p.p_regs, &before,
		    offsetof(struct process_regs, orig_rax));
		assert_int_equal(p.p_regs.rsp, before.rsp);
		assert_int_equal(p.p_regs.eflags & 0x40fd7,
		    before.eflags & 0x40fd7);
	}
	/* one that fails: nothing is executed */
	p.p_regs.eflags = 0x202;
	before = p.p_regs;
	first.pc_arg[0]++;
	run_after(&p, CODE, &first, &ps);
	assert_int_equal(ps.ps_stop, STOP_FAILED);
	assert_int_equal(ps.ps_code, EINVAL);
	assert_int_equal(p.p_regs.rip, CODE);
	assert_int_equal(p.p_regs.rax, before.rax);
	run(&p, CODE, &ps);
	assert_int_equal(p.p_regs.rax, 0x07070707);
	process_free(&p);
}

/* Whatever the code has left behind, calls are made after it: steps, 32-bit
 * mode, flags. */
static void
calls_after(void **state)
{
	/* pushfq; or dword [rsp], 40500h: AC, DF, TF; popfq; nop */
	static const uint8_t flags[] = { 0x9c, 0x81, 0x0c, 0x24, 0x00, 0x05,
	    0x04, 0x00, 0x9d, 0x90, 0x90, 0xcc };
	/* push 23h; push 400010h; retf; and there int3 */
	static const uint8_t mode[] = { 0x6a, 0x23, 0x68, 0x10, 0x00, 0x40,
	    0x00, 0x48, 0xcb };
	/* mov eax, 1; mov ds, eax; mov fs, eax */
	static const uint8_t null[] = { 0xb8, 1, 0, 0, 0, 0x8e, 0xd8, 0x8e,
	    0xe0, 0xcc };
	const struct process_call unmap = { SYS_munmap, { DATA, PAGE } };
	static struct process p;
	struct process_status ps;
	struct process_call map_data;
	unsigned n;

	(void)state;
	begin(&p);
	map(DATA, PROT_READ | PROT_WRITE, 1, &map_data);
	for (n = 0; n < 3; n++) {
		memset(memory, 0xcc, 64);
		if (n == 0)
			memcpy(memory, flags, sizeof(flags));
		else if (n == 1)
			memcpy(memory, mode, sizeof(mode));
		else
			memcpy(memory, null, sizeof(null));
		assert_int_equal(process_calls(&p, &map_data, 1), 0);
		p.p_regs.cs = 0x33;
		run(&p, CODE, &ps);
		assert_int_equal(ps.ps_signal, SIGTRAP);
		if (n == 0)
			assert_int_equal(p.p_regs.eflags & 0x40500, 0x40500);
		else if (n == 1)
			assert_int_equal(p.p_regs.cs, 0x23);
		else
			assert_int_equal(p.p_regs.ds, 1);
		assert_int_equal(process_calls(&p, &unmap, 1), 0);
		/* it has been: mov eax, [600000h] */
		memcpy(memory, "\x8b\x04\x25\x00\x00\x60\x00", 7);
		run(&p, CODE, &ps);
		assert_int_equal(ps.ps_signal, SIGSEGV);
		assert_int_equal(ps.ps_addr, DATA);
	}
	process_free(&p);
}

static void
breakpoint(void **state)
{
	static struct process p;
	struct process_status ps;
	unsigned n;

	(void)state;
	begin(&p);
	memset(memory, 0x90, 64);
	for (n = 0; n < PROCESS_BREAKS; n++)
		assert_int_equal(process_break(&p, n, CODE + 40 - n * 8), 0);
	for (n = PROCESS_BREAKS; n-- > 0;) {
		run(&p, CODE + (PROCESS_BREAKS - 1 - n) * 8 + 9, &ps);
		if (ps.ps_signal != SIGTRAP || ps.ps_code != TRAP_HWBKPT)
			fail_msg("signal %d, code %d", ps.ps_signal,
			    ps.ps_code);
		assert_int_equal(p.p_regs.rip, CODE + 40 - n * 8);
	}
	process_free(&p);
}

/* SSE and x87 registers go there and come back. */
static void
vectors(void **state)
{
	static struct process p;
	struct process_status ps;
	unsigned n;

	(void)state;
	begin(&p);
	memcpy(memory, "\x0f\x28\xca\xcc", 4);	/* movaps xmm1, xmm2 */
	for (n = 0; n < 16; n++)
		p.p_xstate[160 + 32 + n] = (uint8_t)(n + 1);
	p.p_xstate[512] |= 2;
	run(&p, CODE, &ps);
	assert_int_equal(ps.ps_signal, SIGTRAP);
	assert_memory_equal(p.p_xstate + 160 + 16, p.p_xstate + 160 + 32, 16);
	assert_int_equal(p.p_xstate[160 + 16 + 15], 16);
	process_free(&p);
}

static void *
kicker(void *arg)
{
	struct timespec ts = { 0, 20000000 };

	nanosleep(&ts, NULL);
	kill(*(pid_t *)arg, SIGURG);
	nanosleep(&ts, NULL);
	kill(*(pid_t *)arg, SIGKILL);
	return (NULL);
}

/* A signal stops an endless loop; killed, it is gone, and nothing is left. */
static void
killed(void **state)
{
	unsigned before = descriptors();
	static struct process p;
	struct process_status ps;
	pthread_t thread;
	pid_t pid;

	(void)state;
	begin(&p);
	pid = p.p_pid;
	memcpy(memory, "\xeb\xfe", 2);
	assert_int_equal(pthread_create(&thread, NULL, kicker, &pid), 0);
	run(&p, CODE, &ps);
	assert_int_equal(ps.ps_stop, STOP_SIGNAL);
	assert_int_equal(ps.ps_signal, SIGURG);
	assert_int_equal(p.p_regs.rip, CODE);
	run(&p, CODE, &ps);
	assert_int_equal(ps.ps_stop, STOP_GONE);
	assert_false(exists(pid));
	pthread_join(thread, NULL);
	/* once gone, always */
	run(&p, CODE, &ps);
	assert_int_equal(ps.ps_stop, STOP_GONE);
	assert_int_not_equal(process_calls(&p, &(struct process_call){
	    SYS_munmap, { DATA, PAGE } }, 1), 0);
	process_free(&p);
	assert_int_equal(descriptors(), before);
}

/* Killed while it is stopped. */
static void
killed_stopped(void **state)
{
	static struct process p;
	struct process_status ps;
	pid_t pid;

	(void)state;
	begin(&p);
	pid = p.p_pid;
	assert_int_equal(kill(pid, SIGKILL), 0);
	run(&p, CODE, &ps);
	assert_int_equal(ps.ps_stop, STOP_GONE);
	process_free(&p);
	assert_false(exists(pid));
}

static void
nothing(int signo)
{
	(void)signo;
}

/* Kicks come at any time, also while the end of a process is waited for. */
static void
freed_with_kicks(void **state)
{
	const struct sigaction kicked = { .sa_handler = nothing };
	const struct itimerval often = { { 0, 50 }, { 0, 50 } }, never = { 0 };
	struct sigaction before;
	struct process p;
	pid_t pid;
	int n;

	(void)state;
	assert_int_equal(sigaction(SIGALRM, &kicked, &before), 0);
	for (n = 0; n < 40; n++) {
		begin(&p);
		pid = p.p_pid;
		assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
		process_free(&p);
		assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
		assert_false(exists(pid));
	}
	assert_int_equal(sigaction(SIGALRM, &before, NULL), 0);
}

static void
freed(void **state)
{
	unsigned before = descriptors(), n;
	static struct process p;
	pid_t pid;

	(void)state;
	for (n = 0; n < 10; n++) {
		begin(&p);
		pid = p.p_pid;
		process_free(&p);
		process_free(&p);
		assert_false(exists(pid));
	}
	assert_int_equal(descriptors(), before);
}

/* Waits for a child of its own. */
static void *
wait_for_mine(void *arg)
{
	int status = 0;
	pid_t child;

	(void)arg;
	if (waitpid(-1, &status, WNOHANG | __WNOTHREAD) != -1 ||
	    errno != ECHILD)
		return ((void *)1);
	if ((child = fork()) == 0)
		_exit(3);
	if (waitpid(-1, &status, __WNOTHREAD) != child ||
	    !WIFEXITED(status) || WEXITSTATUS(status) != 3)
		return ((void *)2);
	return (NULL);
}

/* A thread that waits for its own children does not get it. */
static void
not_waited_for(void **state)
{
	static struct process p;
	struct process_status ps;
	pthread_t thread;
	void *wrong;

	(void)state;
	begin(&p);
	assert_int_equal(kill(p.p_pid, SIGURG), 0);
	assert_int_equal(pthread_create(&thread, NULL, wait_for_mine, NULL),
	    0);
	pthread_join(thread, &wrong);
	assert_null(wrong);
	run(&p, CODE, &ps);
	assert_int_equal(ps.ps_signal, SIGURG);
	process_free(&p);
	/* nothing is left to be waited for */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void *
make_one(void *arg)
{
	return ((void *)(intptr_t)process_new(arg, &file, 1));
}

/* Its tracer's end is its own; another thread may free it. */
static void
with_its_thread(void **state)
{
	static struct process p;
	struct timespec ts = { 0, 1000000 };
	char name[64], text[512];
	pthread_t thread;
	void *error;
	ssize_t len;
	pid_t pid;
	unsigned n;
	int fd;

	(void)state;
	if (why != 0)
		skip();
	assert_int_equal(pthread_create(&thread, NULL, make_one, &p), 0);
	pthread_join(thread, &error);
	assert_null(error);
	pid = p.p_pid;
	snprintf(name, sizeof(name), "/proc/%d/stat", (int)pid);
	/* a zombie, or nothing, soon */
	for (n = 0; n < 5000; n++) {
		if ((fd = open(name, O_RDONLY | O_CLOEXEC)) == -1)
			break;
		len = read(fd, text, sizeof(text) - 1);
		close(fd);
		if (len <= 0)
			break;
		text[len] = '\0';
		if (strstr(text, ") Z ") != NULL)
			break;
		nanosleep(&ts, NULL);
	}
	assert_true(n < 5000);
	process_free(&p);
	assert_false(exists(pid));
}

static void
refused(void **state)
{
	unsigned before = descriptors();
	int files[PROCESS_FILES + 1] = { -1 };
	static struct process p;

	(void)state;
	if (why != 0)
		skip();
	assert_int_equal(process_new(&p, files, PROCESS_FILES + 1), EINVAL);
	assert_int_equal(p.p_pid, 0);
	assert_int_not_equal(process_new(&p, files, 1), 0);
	assert_int_equal(p.p_pid, 0);
	process_free(&p);
	assert_int_equal(descriptors(), before);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls),
		cmocka_unit_test(empty),
		cmocka_unit_test(doors),
		cmocka_unit_test(stub),
		cmocka_unit_test(password),
		cmocka_unit_test(enter),
		cmocka_unit_test(calls_after),
		cmocka_unit_test(breakpoint),
		cmocka_unit_test(vectors),
		cmocka_unit_test(killed),
		cmocka_unit_test(killed_stopped),
		cmocka_unit_test(freed),
		cmocka_unit_test(freed_with_kicks),
		cmocka_unit_test(not_waited_for),
		cmocka_unit_test(with_its_thread),
		cmocka_unit_test(refused),
	};

	return (cmocka_run_group_tests(tests, setup, NULL));
}
