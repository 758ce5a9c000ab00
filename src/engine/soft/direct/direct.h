/*
 * Direct execution: the guest's unprivileged code on the bare CPU.
 *
 * Translated code pays for every access to memory. A process of the guest that
 * computes for long is therefore run as what it is, a process: a child of ours
 * that has the pages of guest memory, a shared mapping of a file, mapped where
 * the guest's page tables have them, and nothing else (space.c, process.c).
 * Whatever it does that is not plain computing stops it, and goes on here: the
 * guest's kernel, its system calls, page faults and interrupts run in
 * translated code as ever.
 *
 * A stop costs some 15 microseconds and a page some 5, where translated code
 * takes a system call in 0.2; but its code runs several times slower. So code
 * is run directly when samples find a process in user mode again and again,
 * and no longer when stops are too close together (direct.c, POLICY).
 *
 * What makes it the guest's CPU still:
 * 1. Only 64-bit code of CPL 3 whose registers the host's kernel lets a
 *    process have as they are: Linux's own selectors, no I/O privilege, no
 *    debug registers, XCR0 and FSGSBASE as here, TSC as here (direct_fits()).
 * 2. Instructions that would show the host's CPU, or do something else there,
 *    have breakpoints, or their whole page is left to translated code, which
 *    comes back where it leaves the page: while c_direct_on, no jump of CPL 3
 *    is found in the jump cache (scan.c, jc_leave).
 * 3. An instruction that faults or traps there is executed again by the
 *    interpreter, which raises what the guest's CPU would raise, sets A and D,
 *    reaches devices.
 * 4. No mapping outlives what the guest's TLB would have to forget; no page is
 *    written there whose stores have to be looked at (space.c).
 *
 * It needs guest memory that is shared (eo_share), a VM with one VCPU, and a
 * host that lets a process trace its child; otherwise there is translated
 * code.
 *
 * VCPU thread, but for direct_kick().
 */
#ifndef SOFT_DIRECT_DIRECT_H
#define SOFT_DIRECT_DIRECT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sched.h>

#include "engine/soft/cpu.h"
#include "engine/soft/direct/space.h"

struct jit_options;

#define DIRECT_SPACES	8
#define DIRECT_SCANNED	16384u	/* pages of code */
#define SCANNED_MAX	16u

/* What a page of code has that is not for the bare CPU. */
struct scanned {
	uint64_t	sc_gpas[3];	/* its own, before it, behind it */
	unsigned	sc_count;	/* SCANNED_MAX + 1: too many */
	uint16_t	sc_where[SCANNED_MAX];
};

/* Per VCPU; c_direct, NULL: none. */
struct direct {
	bool		 d_forced;	/* [I] an option: always, no policy */
	bool		 d_failed;	/* the host does not let us: d_why */
	int		 d_why;		/* errno */
	bool		 d_skip;	/* what is next has to be translated */
	bool		 d_xsave;	/* [I] the guest's XCR0 can be the host's */
	bool		 d_fsgsbase;	/* [I] the host has it */
	uint16_t	 d_mode;	/* [I] c_jmode of code that fits */
	unsigned	 d_retag;	/* counts what every space has to be
					   compared for */
	uint64_t	 d_clock;	/* of s_used */
	struct space	*d_space[DIRECT_SPACES];
	struct scanned	*d_scanned;	/* by page; valid while PAGE_EXEC */
	atomic_int	 d_running;	/* the process that runs, or 0 */
	/* POLICY */
	uint64_t	 d_table;	/* where samples were last, and how often */
	unsigned	 d_samples;
	struct {
		uint64_t spent, ran;	/* ns: here; in the process */
		unsigned stops;
		unsigned vain;	/* soon at what is translated */
		unsigned upon;	/* one upon the other */
	} d_window;
	uint64_t	 d_switch;	/* ns of CPU time that a stop takes */
	uint64_t	 d_its;		/* of that, the process's */
	/* the thread runs where its child runs */
	int		 d_cpu;		/* which, or -1: it does not */
	uint64_t	 d_pinned;	/* ns: since when */
	cpu_set_t	 d_affinity;	/* to be put back */
	struct {
		uint64_t ran;		/* ns */
		uint64_t stops, syscalls, faults, mapped, traps, kicks;
		uint64_t spaces, given_up, unfit;
	} d_stats;
};

/* Makes c_direct, if the VM's memory can be mapped by others and the options
 * want it. Before the VCPU's first instruction. */
void	direct_new(struct cpu *, const struct jit_options *);
void	direct_free(struct cpu *);
/* CS:RIP is at CPL 3 and c_direct_on: runs code from there. False: it has to be
 * translated. True: look at the boundary (c_alone: one instruction is to be
 * interpreted). */
bool	direct_run(struct cpu *);
/* REQ_SAMPLE at a boundary of translated code. */
void	direct_sample(struct cpu *);
/* c_request has a reason to stop. Any thread. */
void	direct_kick(struct cpu *);
/* The VCPU's thread leaves the engine. */
void	direct_end(struct cpu *);
/* Lines for eo_report; how long they would be, as snprintf(3). */
int	direct_report(const struct cpu *, char *, size_t);

/* Hooks of the TLB (mmu.c, block.c); c_direct is not NULL. */
void	direct_switch(struct cpu *);	/* CR3 */
void	direct_forget(struct cpu *, uint64_t linear);
void	direct_forget_write(struct cpu *, uint64_t gpa);
void	direct_written(struct cpu *, uint64_t gpa);
void	direct_written_any(struct cpu *);	/* nobody knows where */

#endif
