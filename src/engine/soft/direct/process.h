/*
 * A process of ours that has nothing but pages of guest memory (process.c).
 */
#ifndef SOFT_DIRECT_PROCESS_H
#define SOFT_DIRECT_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PROCESS_FILES	8	/* at most so many files to map pages from */
#define PROCESS_BREAKS	4	/* instruction breakpoints */
#define PROCESS_XSTATE	16384	/* bytes of XSAVE state at most */
#define PROCESS_GUEST	832	/* of these, the guest's: x87, SSE, AVX */
#define USER_END	0x7ffffffff000u	/* of a process's addresses */

/* A system call that the process makes for us. */
struct process_call {
	uint64_t	pc_nr;
	uint64_t	pc_arg[6];
};

/* Why the process stopped. */
enum process_stop {
	STOP_SYSCALL,	/* SYSCALL, INT 80h or SYSENTER; it was not made */
	STOP_SIGNAL,	/* ps_signal, and where a fault was: ps_code, ps_addr */
	STOP_FAILED,	/* the call to be made first: errno in ps_code */
	STOP_GONE	/* there is no process any more */
};
struct process_status {
	enum process_stop	ps_stop;
	int			ps_signal, ps_code;
	uint64_t		ps_addr;
	uint64_t		ps_ns;	/* CPU time that it had */
};

/* In the order of PTRACE_GETREGS. */
struct process_regs {
	uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx,
	    rdx, rsi, rdi, orig_rax, rip, cs, eflags, rsp, ss, fs_base,
	    gs_base, ds, es, fs, gs;
};

struct process {
	pid_t		 p_pid;		/* 0: none */
	clockid_t	 p_clock;	/* its CPU time, */
	uint64_t	 p_had;		/* and that when it last stopped, ns */
	pid_t		 p_tracer;	/* the only thread that may use it */
	uint64_t	 p_stub;	/* where its only own code is */
	uint64_t	 p_password;	/* of its calls */
	uint8_t		*p_calls;	/* shared with it, behind the stub */
	uint64_t	 p_dr7;
	size_t		 p_nxstate;	/* bytes of p_xstate */
	struct process_regs p_regs;
	/* as the process has it: the XSAVE area, standard form */
	uint8_t		 p_xstate[PROCESS_XSTATE];
};

/* The process, stopped, with nothing mapped; its descriptors 0 to nfiles - 1
 * are dups of files[]. 0 or an errno value. */
int	process_new(struct process *, const int *files, unsigned nfiles);
void	process_free(struct process *);
/* Has it make these calls, in order, up to the first that fails: its errno
 * value; ESRCH when the process is gone. */
int	process_calls(struct process *, const struct process_call *, size_t n);
/* Instruction breakpoint n is at linear from now on; 0 or errno. */
int	process_break(struct process *, unsigned n, uint64_t linear);
/*
 * Runs it with p_regs, and with p_xstate if that changed, until it stops, and
 * puts its state there. No system call is made for it, but for `first`, if not
 * NULL, which is made before; no more than one time and one place matter to it
 * (mmap of a file, munmap, mprotect).
 */
void	process_run(struct process *, bool xstate,
	    const struct process_call *first, struct process_status *);
/* Is this a place where it has its own? */
#define PROCESS_OWN	0x10000u	/* bytes from p_stub */
static inline bool
process_owns(const struct process *p, uint64_t linear)
{
	return (linear - p->p_stub < PROCESS_OWN);
}

#endif
