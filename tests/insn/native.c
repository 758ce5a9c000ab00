/*
 * One instruction on the host CPU (oracle.h).
 *
 * A forked child has the window and the code page at their addresses and runs
 * generated code: load all registers from the scratch page, the instruction,
 * store all registers. Only a fault costs a signal; its handler takes the
 * state from the signal frame. The child lives from batch to batch, until an
 * instruction kills it.
 */
#include "oracle.h"

#include <cpuid.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE	0x100000
#endif

#define USER_CS32	0x23
#define USER_CS64	0x33
#define USER_DS		0x2b

/* At SCRATCH, below 4 GiB: 32-bit code reaches it too. */
struct scratch {
	struct oracle_state s_in, s_out;
	uint64_t	s_rsp;
	uint64_t	s_stack[64];
};

static struct scratch *const scratch = (struct scratch *)(uintptr_t)SCRATCH;
static uint8_t *const window = (uint8_t *)(uintptr_t)READONLY;
static uint8_t *const code = (uint8_t *)(uintptr_t)CODE;
static struct oracle_batch *batch;	/* shared with the child */
static pid_t child_pid;			/* 0: there is none */
static int child_sock;			/* a byte: begin, and done */
static sigjmp_buf native_env;
static char reason[128];

#define ADDR(member) ((uint32_t)(SCRATCH + offsetof(struct scratch, member)))

/* --- generated code ------------------------------------------------------------ */

static uint8_t *p;

static void
bytes(const void *b, unsigned n)
{
	memcpy(p, b, n);
	p += n;
}
#define B(...)								\
	do {								\
		static const uint8_t b_[] = { __VA_ARGS__ };		\
		bytes(b_, sizeof(b_));					\
	} while (0)

static void
word32(uint32_t v)
{
	bytes(&v, 4);
}

/* mov between a GPR and an absolute address */
static void
mov_abs(bool compat, bool store, unsigned reg, uint32_t addr)
{
	uint8_t op = store ? 0x89 : 0x8b;

	if (!compat) {
		uint8_t b[4] = { (uint8_t)(0x48 | (reg & 8) >> 1), op,
		    (uint8_t)((reg & 7) << 3 | 4), 0x25 };
		bytes(b, 4);
	} else {
		uint8_t b[2] = { op, (uint8_t)(reg << 3 | 5) };
		bytes(b, 2);
	}
	word32(addr);
}

/* After the instruction: everything into s_out, and back to C. */
static void
emit_exit(bool compat, uint32_t rip)
{
	unsigned n, count = compat ? 8 : 16;

	for (n = 0; n < count; n++)
		mov_abs(compat, true, n, ADDR(s_out.os_gpr[n]));
	B(0xbc);				/* mov esp, imm32 */
	word32(ADDR(s_stack[32]));
	B(0x9c, 0x58);				/* pushf; pop rax */
	mov_abs(compat, true, 0, ADDR(s_out.os_rflags));
	B(0xb8);				/* mov eax, rip */
	word32(rip);
	mov_abs(compat, true, 0, ADDR(s_out.os_rip));
	if (compat) {
		/* jmp far USER_CS64:next */
		B(0xea);
		word32((uint32_t)(uintptr_t)p + 6);
		B(USER_CS64, 0);
	}
	B(0xb8, 7, 0, 0, 0, 0x31, 0xd2);	/* mov eax, 7; xor edx, edx */
	B(0x48, 0x0f, 0xae, 0x24, 0x25);	/* xsave64 [abs] */
	word32(ADDR(s_out.os_xstate));
	B(0xfc, 0xdb, 0xe3);			/* cld; fninit */
	mov_abs(false, false, 4, ADDR(s_rsp));
	B(0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3);
}

/*
 * The code page: the entry right before INSN_ADDR, the instruction, the exits
 * for falling through and for TARGET_ADDR.
 */
static void *
emit(const struct oracle_insn *oi)
{
	uint8_t head[512], *start;
	unsigned len, n;

	memset(code, 0xcc, 0x1000);
	start = p = code;
	/* push rbx, rbp, r12..r15 */
	B(0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57);
	mov_abs(false, true, 4, ADDR(s_rsp));
	B(0xb8, 7, 0, 0, 0, 0x31, 0xd2);
	B(0x48, 0x0f, 0xae, 0x2c, 0x25);	/* xrstor64 [abs] */
	word32(ADDR(s_in.os_xstate));
	if (oi->oi_compat) {
		B(0xbc);			/* mov esp, imm32 */
		word32(ADDR(s_stack[32]));
		B(0x6a, USER_CS32);		/* push */
		B(0x68);
		word32((uint32_t)(uintptr_t)p + 4 + 2);
		B(0x48, 0xcb);			/* retfq */
	}
	B(0xbc);				/* mov esp, &rflags */
	word32(ADDR(s_in.os_rflags));
	B(0x9d);				/* popf */
	for (n = 0; n < (oi->oi_compat ? 8 : 16); n++)
		mov_abs(oi->oi_compat, false, n, ADDR(s_in.os_gpr[n]));
	/* the jump to the instruction */
	B(0xe9);
	word32((uint32_t)(INSN_ADDR - (uintptr_t)p - 4));
	len = (unsigned)(p - start);
	if (len > sizeof(head))
		abort();

	p = code + (INSN_ADDR - CODE);
	bytes(oi->oi_bytes, oi->oi_len);
	B(0xe9);
	word32((uint32_t)(CODE + 0xa00 - (uintptr_t)p - 4));
	p = code + (TARGET_ADDR - CODE);
	B(0xe9);
	word32((uint32_t)(CODE + 0xc00 - (uintptr_t)p - 4));

	p = code + 0xa00;
	emit_exit(oi->oi_compat, INSN_ADDR + oi->oi_len);
	p = code + 0xc00;
	emit_exit(oi->oi_compat, TARGET_ADDR);
	return (start);
}

/* --- the child ------------------------------------------------------------------ */

static void
native_fault(int signo, siginfo_t *info, void *ctx)
{
	static const uint8_t order[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX,
	    REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8, REG_R9, REG_R10,
	    REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };
	const ucontext_t *uc = ctx;
	struct oracle_state *out = &scratch->s_out;
	const uint8_t *fp = (const void *)uc->uc_mcontext.fpregs;
	uint64_t bv;
	unsigned n;

	(void)signo;
	(void)info;
	for (n = 0; n < 16; n++)
		out->os_gpr[n] = (uint64_t)uc->uc_mcontext.gregs[order[n]];
	out->os_rflags = (uint64_t)uc->uc_mcontext.gregs[REG_EFL];
	out->os_rip = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];
	out->os_vector = (uint8_t)uc->uc_mcontext.gregs[REG_TRAPNO];
	out->os_error = (uint32_t)uc->uc_mcontext.gregs[REG_ERR];
	out->os_cr2 = out->os_vector == 14 ?
	    (uint64_t)uc->uc_mcontext.gregs[REG_CR2] : 0;
	memcpy(out->os_xstate, fp, XSTATE);
	memcpy(&bv, fp + 512, sizeof(bv));
	/* The kernel's frame may leave initial components unwritten. */
	if (!(bv & 4))
		memset(out->os_xstate + 576, 0, 256);
	if (!(bv & 2))
		memset(out->os_xstate + 160, 0, 256);
	siglongjmp(native_env, 1);
}

static void
run_batch(void)
{
	const struct oracle_insn *oi = &batch->b_insn;
	const struct oracle_state *in;
	struct oracle_state *out = &scratch->s_out;
	uint32_t mxcsr = 0x1f80;
	volatile unsigned n;
	void (*fn)(void);

	memset(window + 0x1000, 0, WINDOW_SIZE);
	fn = (void (*)(void))(uintptr_t)emit(oi);
	for (n = 0; n < batch->b_count; n++) {
		in = &batch->b_in[n];
		memcpy(&scratch->s_in, in, offsetof(struct oracle_state,
		    os_rip));
		memcpy(window + 0x1000 + ACTIVE_A, in->os_a, ACTIVE_A_SIZE);
		memcpy(window + 0x1000 + ACTIVE_B, in->os_b, ACTIVE_B_SIZE);
		/* XSAVE leaves what is initial unwritten. */
		memset(out->os_xstate, 0, XSTATE);
		/* 32-bit code stores 32 bits. */
		memset(out->os_gpr, 0, sizeof(out->os_gpr));
		out->os_rflags = out->os_rip = out->os_cr2 = 0;
		out->os_error = 0;
		out->os_vector = VECTOR_NONE;
		if (sigsetjmp(native_env, 0) == 0)
			fn();
		__asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
		if (oi->oi_compat)	/* a fault has them all */
			memset(out->os_gpr + 8, 0, 8 * 8);
		memcpy(&batch->b_out[n], out, offsetof(struct oracle_state,
		    os_a));
		memcpy(batch->b_out[n].os_a, window + 0x1000 + ACTIVE_A,
		    ACTIVE_A_SIZE);
		memcpy(batch->b_out[n].os_b, window + 0x1000 + ACTIVE_B,
		    ACTIVE_B_SIZE);
	}
	memcpy(batch->b_window, window + 0x1000, WINDOW_SIZE);
}

static _Noreturn void
child(int sock)
{
	static uint8_t altstack[65536];
	stack_t ss = { .ss_sp = altstack, .ss_size = sizeof(altstack) };
	static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL,
	    SIGTRAP };
	struct sigaction sa;
	unsigned n;
	char byte;

	memset(&sa, 0, sizeof(sa));
	sa.sa_sigaction = native_fault;
	sa.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
	sigaltstack(&ss, NULL);
	for (n = 0; n < sizeof(signals) / sizeof(signals[0]); n++)
		sigaction(signals[n], &sa, NULL);
	__asm__ volatile("mov %0, %%ds; mov %0, %%es" : : "r"(USER_DS));
	/* A page that was never touched is not present. */
	(void)*(volatile uint8_t *)window;
	while (read(sock, &byte, 1) == 1) {
		alarm(20);
		run_batch();
		alarm(0);
		if (write(sock, &byte, 1) != 1)
			break;
	}
	_exit(0);
}

/* --- the parent ------------------------------------------------------------------ */

static bool
map_at(uint32_t addr, size_t size, int prot)
{
	return (mmap((void *)(uintptr_t)addr, size, prot,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) ==
	    (void *)(uintptr_t)addr);
}

bool
native_setup(const char **why)
{
	unsigned a, b, c, d;

	if (__get_cpuid(1, &a, &b, &c, &d) == 0 || !(c >> 27 & 1)) {
		*why = "the host has no XSAVE";
		return (false);
	}
	if (!map_at(READONLY, 0x1000, PROT_READ) ||
	    !map_at(WINDOW, WINDOW_SIZE, PROT_READ | PROT_WRITE) ||
	    !map_at(CODE, 0x1000, PROT_READ | PROT_WRITE | PROT_EXEC) ||
	    !map_at(SCRATCH, sizeof(struct scratch) + 0x1000,
		PROT_READ | PROT_WRITE)) {
		*why = "fixed addresses are not to be had";
		return (false);
	}
	batch = mmap(NULL, sizeof(*batch), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (batch == MAP_FAILED) {
		*why = "no memory";
		return (false);
	}
	return (true);
}

struct oracle_batch *
native_batch(void)
{
	return (batch);
}

static bool
start_child(void)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1)
		return (false);
	fflush(NULL);
	child_pid = fork();
	if (child_pid == 0) {
		close(pair[0]);
		child(pair[1]);
	}
	close(pair[1]);
	child_sock = pair[0];
	if (child_pid == -1) {
		close(child_sock);
		child_pid = 0;
	}
	return (child_pid != 0);
}

void
native_begin(void)
{
	if (child_pid == 0 && !start_child())
		return;
	/* native_end() learns of a child that is dead */
	(void)send(child_sock, "", 1, MSG_NOSIGNAL);
}

const char *
native_end(void)
{
	int status;
	char byte;

	if (child_pid == 0)
		return ("no child");
	if (read(child_sock, &byte, 1) == 1)
		return (NULL);
	close(child_sock);
	status = 0;
	waitpid(child_pid, &status, 0);
	child_pid = 0;
	snprintf(reason, sizeof(reason), "native child: status %#x",
	    (unsigned)status);
	return (reason);
}

void
native_stop(void)
{
	if (child_pid == 0)
		return;
	close(child_sock);
	waitpid(child_pid, NULL, 0);
	child_pid = 0;
}
