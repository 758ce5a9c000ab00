/*
 * A process of ours that has nothing but pages of guest memory, for running
 * the guest's unprivileged code (direct.h).
 *
 * It is not a copy of us: a little ELF file in a memfd is executed, so that it
 * has no memory, no descriptor and no environment of ours from the start; what
 * the host's kernel gives it besides (stack, vDSO) is unmapped. What is left
 * is a page of code, the stub, at a random address, and behind it a list of
 * system calls that we write and it reads.
 *
 * 1. We are its tracer. No system call of guest code is made, whatever it
 *    executes: it runs under PTRACE_SYSEMU, or, where the stub makes a call
 *    first and goes on into it, under the filter of 2. Signals end in us.
 * 2. The stub makes the calls of the list and then stops (INT3), or makes one
 *    call, of registers, and becomes guest code: half as many switches between
 *    us and it. A seccomp filter allows calls from its two SYSCALL
 *    instructions alone, of three kinds (mmap, munmap, mprotect), and only
 *    with our password in registers, which is never where guest code could
 *    read it while guest code runs: jumping to the stub gains it nothing.
 * 3. It dies with its tracer (PTRACE_O_EXITKILL, PR_SET_PDEATHSIG).
 * 4. Linux shows a tracee to every wait(2) of its tracer's process for any
 *    child, and tells of its stops with SIGCHLD. A client with children of its
 *    own has to wait for each by its ID, or with __WNOTHREAD.
 * 5. It stops by itself after ALONE_US of CPU time (SIGVTALRM), which is for us
 *    to let it go on: were we stopped (SIGSTOP), it would run for ever.
 *
 * The thread that called process_new(), but for process_free().
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/soft/direct/process.h"

_Static_assert(sizeof(struct process_regs) == sizeof(struct user_regs_struct) &&
    offsetof(struct process_regs, fs_base) ==
    offsetof(struct user_regs_struct, fs_base), "registers");

#define STUB_SIZE	4096u
#define CALLS_SIZE	16384u
#define CALLS_MAX	(CALLS_SIZE / sizeof(struct process_call))
#define CALLS_FD	30	/* in the process */
#define IMAGE_FD	31
#define ALONE_US	100000

/* RFLAGS that guest code may begin with behind the stub's POPF. */
#define EFLAGS_PLAIN	0x240ed7u	/* arithmetic, IF, DF, AC, ID */
#define EFLAGS_TF	0x100u
#define SIGSYS_FILTER	1	/* si_code: SYS_SECCOMP of Linux */
#define USER_CS		0x33u	/* the host's, for 64-bit code */
#define USER_SS		0x2bu

/* The guest's registers, for the stub to take them from. */
struct frame {
	uint64_t	fr_regs[15];	/* as in struct process_regs, to RDI */
	uint64_t	fr_eflags, fr_rsp, fr_rip;
};
_Static_assert(offsetof(struct process_regs, orig_rax) == 15 * 8, "frame");

#define HEADERS	(sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr))

/* 32 bits from the stub's byte `at` on to a member of the frame, which is at
 * the start of the calls. */
#define TO_FRAME(at, member)						\
	BYTES(STUB_SIZE + offsetof(struct frame, member) - (HEADERS + (at)))
#define BYTES(n)	(n) & 0xff, (n) >> 8 & 0xff, 0, 0

/*
 * The stub. RBX points to struct process_calls, RBP behind the last of them.
 * Entered at its start it waits to be traced. The SYSCALL alone is for the
 * first calls, with all registers set by us. At AT_ENTER it makes a call, of
 * registers, and takes all of them from where RSP points, a struct frame.
 */
static const uint8_t stub[] = {
	0xf3, 0x90,				/* wait: pause */
	0xeb, 0xfc,				/* jmp wait */
	0x48, 0x8b, 0x03,			/* calls: mov rax, [rbx] */
	0x48, 0x8b, 0x7b, 0x08,			/* mov rdi, [rbx + 8] */
	0x48, 0x8b, 0x73, 0x10,			/* mov rsi, [rbx + 16] */
	0x48, 0x8b, 0x53, 0x18,			/* mov rdx, [rbx + 24] */
	0x4c, 0x8b, 0x53, 0x20,			/* mov r10, [rbx + 32] */
	0x4c, 0x8b, 0x43, 0x28,			/* mov r8, [rbx + 40] */
	0x4c, 0x8b, 0x4b, 0x30,			/* mov r9, [rbx + 48] */
	0x0f, 0x05,				/* call: syscall */
	0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff,	/* called: cmp rax, -4096 */
	0x77, 0x09,				/* ja end */
	0x48, 0x83, 0xc3, 0x38,			/* add rbx, 56 */
	0x48, 0x39, 0xeb,			/* cmp rbx, rbp */
	0x72, 0xd2,				/* jb calls */
	0xcc,					/* end: int3 */
	0x0f, 0x05,				/* enter: syscall */
	0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff,	/* entered: cmp rax, -4096 */
	0x77, 0x25,				/* ja failed */
	0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d,	/* pop r15, r14, r13 */
	0x41, 0x5c, 0x5d, 0x5b,			/* r12, rbp, rbx */
	0x41, 0x5b, 0x41, 0x5a, 0x41, 0x59,	/* r11, r10, r9 */
	0x41, 0x58, 0x58, 0x59,			/* r8, rax, rcx */
	0x5a, 0x5e, 0x5f,			/* rdx, rsi, rdi */
	0x9d,					/* popfq */
	0x48, 0x8b, 0x25, TO_FRAME(92, fr_rsp),	/* mov rsp, [rsp of it] */
	0xff, 0x25, TO_FRAME(98, fr_rip),	/* jmp [rip of it] */
	0xcc					/* failed: int3 */
};
#define AT_CALLS	4
#define AT_CALL		31
#define AT_CALLED	33
#define AT_ENTER	51
#define AT_ENTERED	53
_Static_assert(sizeof(struct process_call) == 56 && sizeof(stub) == 99,
    "the stub's");

/* Where a place of the stub is in the process. */
static uint64_t
stub_at(const struct process *p, unsigned at)
{
	return (p->p_stub + HEADERS + at);
}

/* A memfd that is a program of the stub alone; or -1. */
static int
image_new(const struct process *p)
{
	uint8_t page[STUB_SIZE] = { 0 };
	Elf64_Ehdr eh = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
		    ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC, .e_machine = EM_X86_64,
		.e_version = EV_CURRENT, .e_entry = p->p_stub + HEADERS,
		.e_phoff = sizeof(eh), .e_ehsize = sizeof(eh),
		.e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 1 };
	Elf64_Phdr ph = {
		.p_type = PT_LOAD, .p_flags = PF_R | PF_X,
		.p_vaddr = p->p_stub, .p_paddr = p->p_stub,
		.p_filesz = STUB_SIZE, .p_memsz = STUB_SIZE,
		.p_align = STUB_SIZE };
	int fd;

	memcpy(page, &eh, sizeof(eh));
	memcpy(page + sizeof(eh), &ph, sizeof(ph));
	memcpy(page + HEADERS, stub, sizeof(stub));
	if ((fd = memfd_create("vmm-guest", MFD_CLOEXEC)) == -1)
		return (-1);
	if (write(fd, page, sizeof(page)) != (ssize_t)sizeof(page)) {
		close(fd);
		return (-1);
	}
	return (fd);
}

struct start {
	pid_t		 st_parent;
	unsigned	 st_nfiles;
	int		 st_fds[PROCESS_FILES + 2];	/* calls and image last */
};

/* What the process has to be from its first instruction on. It shares our
 * memory and we wait: system calls only. */
static int
process_exec(void *arg)
{
	static char name[] = "vmm-guest";
	char *const argv[] = { name, NULL }, *const envp[] = { NULL };
	const struct itimerval alone = { { 0, ALONE_US }, { 0, ALONE_US } };
	const struct start *st = arg;
	const unsigned nfiles = st->st_nfiles;
	unsigned n;
	int fd[PROCESS_FILES + 2];

	/* out of the way of the numbers that they get */
	for (n = 0; n < nfiles + 2; n++)
		if ((fd[n] = fcntl(st->st_fds[n], F_DUPFD, 64)) == -1)
			_exit(1);
	for (n = 0; n < nfiles; n++)
		if (dup2(fd[n], (int)n) == -1)
			_exit(1);
	if (dup2(fd[nfiles], CALLS_FD) == -1 ||
	    dup3(fd[nfiles + 1], IMAGE_FD, O_CLOEXEC) == -1)
		_exit(1);
	if (syscall(SYS_close_range, nfiles, CALLS_FD - 1, 0) != 0 ||
	    syscall(SYS_close_range, IMAGE_FD + 1, ~0u, 0) != 0)
		_exit(1);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) == -1 ||
	    getppid() != st->st_parent ||
	    setitimer(ITIMER_VIRTUAL, &alone, NULL) == -1 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		_exit(1);
	syscall(SYS_execveat, IMAGE_FD, "", argv, envp, AT_EMPTY_PATH);
	_exit(1);
}

/* CPU time that it had since this was last asked: it has stopped. */
static uint64_t
process_had(struct process *p)
{
	const uint64_t before = p->p_had;
	struct timespec ts;

	if (clock_gettime(p->p_clock, &ts) == -1)
		return (0);
	p->p_had = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
	return (p->p_had - before);
}

/* Waits for the process to stop; 0, or ESRCH: it is gone. */
static int
process_wait(struct process *p, int *status)
{
	pid_t pid;

	do
		pid = waitpid(p->p_pid, status, __WALL);
	while (pid == -1 && errno == EINTR);
	if (pid == -1 || !WIFSTOPPED(*status)) {
		p->p_pid = 0;	/* reaped */
		return (ESRCH);
	}
	return (0);
}

/* The stub goes on with p_regs to its INT3; what a call returned is in RAX. */
static int
process_stub(struct process *p)
{
	int status, error;

	p->p_regs.orig_rax = UINT64_MAX;	/* no call is to be restarted */
	/* neither steps nor other code than this, whatever guest code did */
	p->p_regs.eflags &= ~(uint64_t)EFLAGS_TF;
	p->p_regs.cs = USER_CS;
	p->p_regs.ss = USER_SS;
	/* null selectors may be ones that the host does not take */
	p->p_regs.ds = p->p_regs.es = p->p_regs.fs = p->p_regs.gs = 0;
	if (ptrace(PTRACE_SETREGS, p->p_pid, NULL, &p->p_regs) == -1)
		return (errno);
	do {
		if (ptrace(PTRACE_CONT, p->p_pid, NULL, NULL) == -1)
			return (errno);
		if ((error = process_wait(p, &status)) != 0)
			return (error);
		if (status >> 8 == SIGSEGV || status >> 8 == SIGSYS)
			return (EFAULT);	/* it would never end */
	} while (status >> 8 != SIGTRAP);
	(void)process_had(p);
	if (ptrace(PTRACE_GETREGS, p->p_pid, NULL, &p->p_regs) == -1)
		return (errno);
	return (0);
}

/* One call by registers alone. */
static int
process_call(struct process *p, uint64_t nr, uint64_t a, uint64_t b,
    uint64_t c, uint64_t d, uint64_t e)
{
	struct process_regs *r = &p->p_regs;
	int error;

	r->rip = stub_at(p, AT_CALL);
	r->rax = nr;
	r->rdi = a;
	r->rsi = b;
	r->rdx = c;
	r->r10 = d;
	r->r8 = e;
	r->r9 = 0;
	r->rbx = r->rbp = 0;
	if ((error = process_stub(p)) != 0)
		return (error);
	return (r->rax > -4096ul ? (int)-r->rax : 0);
}

/* A call with our password, in halves of registers that the host's kernel does
 * not look at: flags and descriptor of mmap, nothing in the others. */
static struct process_call
call_signed(const struct process *p, const struct process_call *pc)
{
	struct process_call pass = *pc;

	pass.pc_arg[3] |= p->p_password & ~(uint64_t)UINT32_MAX;
	pass.pc_arg[4] |= p->p_password << 32;
	return (pass);
}

int
process_calls(struct process *p, const struct process_call *calls, size_t n)
{
	struct process_call *list = (struct process_call *)(void *)p->p_calls;
	size_t some, k;
	int error;

	for (; n > 0; calls += some, n -= some) {
		some = n < CALLS_MAX ? n : CALLS_MAX;
		for (k = 0; k < some; k++)
			list[k] = call_signed(p, &calls[k]);
		p->p_regs.rip = stub_at(p, AT_CALLS);
		p->p_regs.rbx = p->p_stub + STUB_SIZE;
		p->p_regs.rbp = p->p_regs.rbx + some * sizeof(*calls);
		error = process_stub(p);
		/* guest code finds nothing of it in this page, nor in its
		 * registers */
		memset(p->p_calls, 0, some * sizeof(*calls));
		p->p_regs.r10 = p->p_regs.r8 = 0;
		if (error != 0)
			return (error);
		if (p->p_regs.rax > -4096ul)
			return ((int)-p->p_regs.rax);
	}
	return (0);
}

/* From now on it may make no call but these, and only from the stub. */
static int
process_confine(struct process *p)
{
	const uint64_t ip = stub_at(p, AT_CALLED);
	const uint64_t other = stub_at(p, AT_ENTERED);
	const struct sock_filter filter[] = {
#define FIELD(f, off)							\
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS,				\
	    offsetof(struct seccomp_data, f) + (off))
#define UNLESS(k, skip)							\
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(k), 0, (skip))
#define IF(k, skip)							\
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(k), (skip), 0)
		FIELD(arch, 0), UNLESS(AUDIT_ARCH_X86_64, 13),
		FIELD(instruction_pointer, 0), IF(ip, 1), UNLESS(other, 10),
		FIELD(instruction_pointer, 4), UNLESS(ip >> 32, 8),
		FIELD(args[3], 4), UNLESS(p->p_password >> 32, 6),
		FIELD(args[4], 4), UNLESS(p->p_password, 4),
		FIELD(nr, 0), IF(SYS_mmap, 3), IF(SYS_munmap, 2),
		IF(SYS_mprotect, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#undef FIELD
#undef UNLESS
#undef IF
	};
	struct sock_fprog prog = { .len = sizeof(filter) / sizeof(filter[0]) };
	uint64_t at = p->p_stub + STUB_SIZE;
	int error;

	prog.filter = (struct sock_filter *)(at + sizeof(prog));
	memcpy(p->p_calls, &prog, sizeof(prog));
	memcpy(p->p_calls + sizeof(prog), filter, sizeof(filter));
	error = process_call(p, SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, at,
	    0, 0);
	memset(p->p_calls, 0, sizeof(prog) + sizeof(filter));
	return (error);
}

/* Takes the new process: traced, and rid of all that it was given. */
static int
process_take(struct process *p)
{
	const uint64_t calls = p->p_stub + STUB_SIZE;
	uint64_t mask = 0;
	struct iovec iov = { p->p_xstate, sizeof(p->p_xstate) };
	int status, error;

	if (ptrace(PTRACE_SEIZE, p->p_pid, NULL, PTRACE_O_EXITKILL |
	    PTRACE_O_TRACESYSGOOD) == -1 ||
	    ptrace(PTRACE_INTERRUPT, p->p_pid, NULL, NULL) == -1)
		return (errno);
	if ((error = process_wait(p, &status)) != 0)
		return (error);
	if (ptrace(PTRACE_SETSIGMASK, p->p_pid, sizeof(mask), &mask) == -1 ||
	    ptrace(PTRACE_GETREGS, p->p_pid, NULL, &p->p_regs) == -1 ||
	    ptrace(PTRACE_GETREGSET, p->p_pid, NT_X86_XSTATE, &iov) == -1)
		return (errno);
	p->p_nxstate = iov.iov_len;
	if ((error = process_call(p, SYS_mmap, calls, CALLS_SIZE, PROT_READ,
	    MAP_SHARED | MAP_FIXED, CALLS_FD)) != 0 ||
	    (error = process_call(p, SYS_munmap, 0, p->p_stub, 0, 0,
	    0)) != 0 ||
	    (error = process_call(p, SYS_munmap, calls + CALLS_SIZE,
	    USER_END - calls - CALLS_SIZE, 0, 0, 0)) != 0 ||
	    (error = process_call(p, SYS_close, CALLS_FD, 0, 0, 0, 0)) != 0)
		return (error);
	return (process_confine(p));
}

/* An address that no guest will look for, 46 bits, 64 KiB aligned; and what it
 * would have to know there. */
static int
process_place(struct process *p)
{
	if (getrandom(&p->p_stub, sizeof(p->p_stub), 0) !=
	    (ssize_t)sizeof(p->p_stub) ||
	    getrandom(&p->p_password, sizeof(p->p_password), 0) !=
	    (ssize_t)sizeof(p->p_password))
		return (errno);
	p->p_stub = (p->p_stub & 0x3fffffff0000) + (UINT64_C(1) << 32);
	return (0);
}

static int
process_start(struct process *p, const int *files, unsigned nfiles)
{
	_Alignas(16) char stack[8192];
	struct start st = { .st_parent = getpid(), .st_nfiles = nfiles };
	int calls, image, error;
	sigset_t all, old;

	memcpy(st.st_fds, files, nfiles * sizeof(*files));
	calls = memfd_create("vmm-calls", MFD_CLOEXEC);
	image = image_new(p);
	if (calls == -1 || image == -1 || ftruncate(calls, CALLS_SIZE) == -1) {
		error = errno;
		goto out;
	}
	p->p_calls = mmap(NULL, CALLS_SIZE, PROT_READ | PROT_WRITE,
	    MAP_SHARED, calls, 0);
	if (p->p_calls == MAP_FAILED) {
		p->p_calls = NULL;
		error = errno;
		goto out;
	}
	st.st_fds[nfiles] = calls;
	st.st_fds[nfiles + 1] = image;
	/* no handler of ours in a process that shares our memory */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	p->p_pid = clone(process_exec, stack + sizeof(stack),
	    CLONE_VM | CLONE_VFORK, &st);
	error = errno;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (p->p_pid == -1)
		p->p_pid = 0;
	else if ((error = clock_getcpuclockid(p->p_pid, &p->p_clock)) == 0)
		error = process_take(p);
out:
	if (calls != -1)
		close(calls);
	if (image != -1)
		close(image);
	return (error);
}

int
process_new(struct process *p, const int *files, unsigned nfiles)
{
	int error;

	memset(p, 0, sizeof(*p));
	p->p_tracer = (pid_t)syscall(SYS_gettid);
	if (nfiles > PROCESS_FILES)
		return (EINVAL);
	if ((error = process_place(p)) == 0)
		error = process_start(p, files, nfiles);
	if (error != 0)
		process_free(p);
	return (error);
}

void
process_free(struct process *p)
{
	int status;
	pid_t pid;

	if (p->p_pid != 0) {
		kill(p->p_pid, SIGKILL);
		do	/* a kick must not leave a zombie behind */
			pid = waitpid(p->p_pid, &status, __WALL);
		while ((pid == -1 && errno == EINTR) ||
		    (pid == p->p_pid && WIFSTOPPED(status)));
	}
	if (p->p_calls != NULL)
		munmap(p->p_calls, CALLS_SIZE);
	p->p_pid = 0;
	p->p_calls = NULL;
}

int
process_break(struct process *p, unsigned n, uint64_t linear)
{
	const size_t dr = offsetof(struct user, u_debugreg);
	uint64_t dr7 = p->p_dr7 | UINT64_C(1) << (n * 2);

	/* one that is set moves, one that is not is enabled: each is checked */
	if (ptrace(PTRACE_POKEUSER, p->p_pid, dr + n * 8, linear) == -1 ||
	    ptrace(PTRACE_POKEUSER, p->p_pid, dr + 7 * 8, dr7) == -1)
		return (errno);
	p->p_dr7 = dr7;
	return (0);
}

static void
process_signal(struct process *p, int signal, struct process_status *ps)
{
	siginfo_t si;

	ps->ps_stop = STOP_SIGNAL;
	ps->ps_signal = signal;
	ps->ps_code = 0;
	ps->ps_addr = 0;
	if (ptrace(PTRACE_GETSIGINFO, p->p_pid, NULL, &si) == -1)
		return;		/* of a group, not of an instruction */
	ps->ps_code = si.si_code;
	if (signal == SIGSEGV || signal == SIGBUS)
		ps->ps_addr = (uintptr_t)si.si_addr;
	else if (signal == SIGSYS)
		ps->ps_addr = (uintptr_t)si.si_call_addr;
	/* the filter's word, but for the host's vsyscall page */
	if (signal == SIGSYS && si.si_code == SIGSYS_FILTER &&
	    ps->ps_addr < USER_END)
		ps->ps_stop = STOP_SYSCALL;
}

/* p_regs become those of the stub, which makes the call and has what they were
 * to go on with. */
static void
process_enter(struct process *p, const struct process_call *first)
{
	const struct process_call pc = call_signed(p, first);
	struct frame *fr = (struct frame *)(void *)p->p_calls;
	struct process_regs *r = &p->p_regs;

	memcpy(fr->fr_regs, r, sizeof(fr->fr_regs));
	fr->fr_eflags = r->eflags;
	fr->fr_rsp = r->rsp;
	fr->fr_rip = r->rip;
	r->rip = stub_at(p, AT_ENTER);
	r->rsp = p->p_stub + STUB_SIZE;
	r->rax = pc.pc_nr;
	r->rdi = pc.pc_arg[0];
	r->rsi = pc.pc_arg[1];
	r->rdx = pc.pc_arg[2];
	r->r10 = pc.pc_arg[3];
	r->r8 = pc.pc_arg[4];
	r->r9 = pc.pc_arg[5];
}

/*
 * It stopped in the stub: because the call failed, or for a signal. The call
 * is made now, for the second time perhaps, which changes nothing; of the
 * guest nothing was executed.
 */
static void
process_not_entered(struct process *p, const struct process_regs *guest,
    const struct process_call *first, struct process_status *ps)
{
	int error = process_calls(p, first, 1);

	p->p_regs = *guest;
	if (error == 0)
		return;
	ps->ps_stop = error == ESRCH ? STOP_GONE : STOP_FAILED;
	ps->ps_code = error;
}

void
process_run(struct process *p, bool xstate, const struct process_call *first,
    struct process_status *ps)
{
	const struct process_regs guest = p->p_regs;
	enum __ptrace_request how = PTRACE_SYSEMU;
	/* of what is read, the guest's part is enough; writing takes all */
	struct iovec all = { p->p_xstate, p->p_nxstate };
	struct iovec part = { p->p_xstate, PROCESS_GUEST };
	int status;

	ps->ps_stop = STOP_GONE;
	ps->ps_ns = 0;
	if (first != NULL && (guest.eflags & ~(uint64_t)EFLAGS_PLAIN) != 0) {
		ps->ps_stop = STOP_SIGNAL;
		process_not_entered(p, &guest, first, ps);
		if (ps->ps_stop != STOP_SIGNAL)
			return;
		ps->ps_stop = STOP_GONE;
	} else if (first != NULL) {
		process_enter(p, first);
		how = PTRACE_CONT;
	}
	p->p_regs.orig_rax = UINT64_MAX;
	if (ptrace(PTRACE_SETREGS, p->p_pid, NULL, &p->p_regs) == -1 ||
	    (xstate && ptrace(PTRACE_SETREGSET, p->p_pid, NT_X86_XSTATE,
	    &all) == -1))
		return;
	do {
		if (ptrace(how, p->p_pid, NULL, NULL) == -1 ||
		    process_wait(p, &status) != 0)
			return;
	} while (WSTOPSIG(status) == SIGVTALRM);
	if (ptrace(PTRACE_GETREGS, p->p_pid, NULL, &p->p_regs) == -1 ||
	    ptrace(PTRACE_GETREGSET, p->p_pid, NT_X86_XSTATE, &part) == -1)
		return;
	ps->ps_ns = process_had(p);
	if (WSTOPSIG(status) == (SIGTRAP | 0x80))
		ps->ps_stop = STOP_SYSCALL;
	else
		process_signal(p, WSTOPSIG(status), ps);
	if (how == PTRACE_CONT && p->p_regs.rip - p->p_stub < STUB_SIZE)
		process_not_entered(p, &guest, first, ps);
}
