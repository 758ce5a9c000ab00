/*
 * The KVM engine's own view of VMs and VCPUs, shared by the files of
 * src/engine/kvm.
 *
 * 1. KVM has the VCPU's state; here is only what KVM cannot tell. v_run is the
 *    page shared with it: after every KVM_RUN it holds the general registers
 *    (v_run->s.regs.regs), which are kept right by whoever writes registers.
 * 2. An instruction that accesses a port or a device's memory leaves KVM_RUN
 *    in its middle. The access (struct access) is worked off piece by piece,
 *    each an exit or answered by the monitor; KVM finishes the instruction at
 *    the next KVM_RUN (v_pending), or in one that executes nothing else
 *    (kvm_settle()) if somebody must see the state after it.
 * 3. KVM has no interrupt controller: it is the monitor's. Interrupts go in by
 *    KVM_INTERRUPT, never while another one waits in KVM.
 * 4. The guest's TSC is the host's plus v_tsc_offset, to the tick.
 *
 * [I] immutable, [a] atomic, the rest belongs to whoever has the VCPU, or for a
 * VM, to eo_protect() while no VCPU runs.
 */
#ifndef ENGINE_KVM_KVM_H
#define ENGINE_KVM_KVM_H

#include <linux/kvm.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/engine.h"

#define KVM_PAGE	4096ul
#define GPA_UNKNOWN	UINT64_MAX

/* Not in every host's header. */
#ifndef KVM_CAP_MEMORY_FAULT_INFO
#define KVM_CAP_MEMORY_FAULT_INFO	232
#define KVM_EXIT_MEMORY_FAULT		39
#endif
struct kvm_memory_fault {	/* in the place of kvm_run's union */
	uint64_t	flags, gpa, size;
};

#define FL_IF	0x200ul
#define FL_DF	0x400ul

/* --- VMs (vm.c, protect.c) ------------------------------------------------ */

struct slot {
	uint64_t	 s_gpa;
	uint64_t	 s_size;
	uint8_t		*s_host;
	int		 s_prot;	/* PROT_*; memory's own is all three */
};

struct engine_vm {
	int		 ev_dev;	/* [I] /dev/kvm */
	int		 ev_fd;		/* [I] */
	size_t		 ev_run_size;	/* [I] of a VCPU's shared page */
	bool		 ev_fault_info;	/* [I] KVM tells where a fault was */
	struct slot	*ev_slots;	/* ascending; the index is KVM's id */
	size_t		 ev_nslots;
	size_t		 ev_nlimited;	/* slots without all rights */
	void		*ev_nothing;	/* inaccessible; what these show */
	size_t		 ev_nothing_size;
};

int	kvm_vm_new(const struct engine_vm_config *, struct engine_vm **);
void	kvm_vm_free(struct engine_vm *);
/* The slot that holds gpa, or NULL. */
const struct slot *kvm_slot_find(const struct engine_vm *, uint64_t gpa);
/* Tells KVM of slot number n: its memory, readonly or not, nothing for one
 * without all rights (SLOT_OWN). 0 or errno. */
enum slot_show { SLOT_OWN, SLOT_READ, SLOT_ALL, SLOT_NONE };
int	kvm_slot_show(const struct engine_vm *, size_t n, enum slot_show);
/* Copies from and to guest memory, false if not all of it is there. */
bool	kvm_mem_read(const struct engine_vm *, uint64_t gpa, void *, size_t);
bool	kvm_mem_write(const struct engine_vm *, uint64_t gpa, const void *,
	    size_t);
int	kvm_protect(struct engine_vm *, uint64_t gpa, size_t size, int prot);

/* --- VCPUs (vcpu.c) -------------------------------------------------------- */

/* A port instruction as its bytes have it (insn.c). */
struct io_insn {
	uint8_t		ii_len;
	uint8_t		ii_size;	/* of an element */
	uint8_t		ii_asize;	/* of RCX, RSI, RDI */
	uint8_t		ii_port;	/* ii_imm */
	bool		ii_in, ii_string, ii_rep, ii_imm;
	bool		ii_here;	/* it is at RIP, not before */
};

/* Where instructions were seen, by their RIP. */
#define IO_SEEN	64
struct io_seen {
	uint64_t	 is_rip;
	const uint8_t	*is_host;
	uint8_t		 is_bytes[15];
	struct io_insn	 is_insn;	/* ii_len 0: empty */
};

enum access_kind { ACCESS_NONE, ACCESS_IN, ACCESS_OUT, ACCESS_READ,
    ACCESS_WRITE };

struct access {
	enum access_kind a_kind;
	bool		 a_wanted;	/* the piece at a_at left run() */
	bool		 a_string;	/* INS */
	uint8_t		 a_size;	/* of the piece, or of an element */
	uint16_t	 a_port;
	uint32_t	 a_at, a_count;	/* bytes, or elements */
	uint64_t	 a_gpa;
	uint8_t		*a_data;	/* in v_run */
	struct io_insn	 a_insn;
};

/* Where the VCPU's thread is, for eo_kick(). */
enum where { OUTSIDE, INSIDE, SIGNALLING, SIGNALLED };

enum { COUNT_IO, COUNT_MMIO, COUNT_MSR, COUNT_HLT, COUNT_WINDOW, COUNT_KICK,
    COUNT_CR8, COUNT_FAULT, COUNT_STEP, COUNT_SETTLE, COUNT_MAX };

struct engine_vcpu {
	struct engine_vm *v_vm;		/* [I] */
	unsigned	 v_id;		/* [I] */
	int		 v_fd;		/* [I] */
	struct kvm_run	*v_run;		/* [I] */
	const struct engine_host *v_host;	/* [I] */
	void		*v_arg;		/* [I] */

	atomic_bool	 v_kick;	/* [a] */
	atomic_int	 v_where;	/* [a] enum where */
	atomic_int	 v_tid;		/* [a] of the thread that is INSIDE */

	bool		 v_pending;	/* KVM has an instruction to finish */
	bool		 v_plain;	/* it is IN or OUT: it cannot fault */
	bool		 v_stashed;	/* v_run has an exit nobody looked at */
	bool		 v_ran;		/* CPUID is final */
	uint8_t		 v_in_size;	/* IN was settled before its answer: the
					   size of what RAX is owed */
	struct access	 v_access;
	int64_t		 v_tsc_offset;
	uint64_t	 v_tsc_adjust;
	bool		 v_cpl_known;
	uint8_t		 v_cpl;
	struct io_seen	 v_seen[IO_SEEN];
	uint64_t	 v_count[COUNT_MAX];
};

static inline struct kvm_regs *
vcpu_regs(struct engine_vcpu *v)
{
	return (&v->v_run->s.regs.regs);
}

int	kvm_vcpu_new(struct engine_vm *, unsigned id,
	    const struct engine_host *, void *arg, struct engine_vcpu **);
void	kvm_vcpu_free(struct engine_vcpu *);
/* In KVM_RUN of that VCPU every signal waits but the kick's. 0 or errno. */
int	kvm_signals(int fd);

/* cpuid.c: gives KVM the monitor's CPUID, cut to what this CPU has. 0 or
 * errno. Before the VCPU's first run. */
int	kvm_cpuid_set(struct engine_vcpu *);
/* The APIC was switched on or off: CPUID says so. 0 or errno. */
int	kvm_cpuid_apic(struct engine_vcpu *);

/* --- registers (regs.c, msr.c) --------------------------------------------- */

int	kvm_reset(struct engine_vcpu *, const struct vcpu_reg_state *);
int	kvm_getregs(struct engine_vcpu *, uint64_t mask,
	    struct vcpu_reg_state *);
int	kvm_setregs(struct engine_vcpu *, uint64_t mask,
	    const struct vcpu_reg_state *);
int	kvm_getxstate(struct engine_vcpu *, void *);
int	kvm_setxstate(struct engine_vcpu *, const void *);
uint8_t	kvm_cpl(struct engine_vcpu *);
/* Makes what kvm_ready() says fit the registers and events. 0 or errno. */
int	kvm_regs_ready(struct engine_vcpu *);
bool	kvm_midway(struct engine_vcpu *);	/* state.c */
void	kvm_state(struct engine_vcpu *, struct state *);

/* Only the CPU's own MSRs are KVM's; all others leave KVM_RUN. 0 or errno. */
int	kvm_msr_filter(struct engine_vm *);
int	kvm_msr_reset(struct engine_vcpu *);
int	kvm_getmsr(struct engine_vcpu *, uint32_t msr, uint64_t *);
int	kvm_setmsr(struct engine_vcpu *, uint32_t msr, uint64_t);
/* KVM's, as it is; without those that are kept here. 0 or errno. */
int	kvm_msr_get(struct engine_vcpu *, uint32_t msr, uint64_t *);
int	kvm_msr_set(struct engine_vcpu *, uint32_t msr, uint64_t);
/* The exit of RDMSR and WRMSR: leaves the answer in v_run. */
void	kvm_msr_exit(struct engine_vcpu *);
int	kvm_tsc_set(struct engine_vcpu *, int64_t offset);

/* --- running (run.c, access.c, insn.c, protect.c, kick.c) ------------------ */

int	kvm_vcpu_run(struct engine_vcpu *, struct engine_run *);
bool	kvm_ready(struct engine_vcpu *);
/* One KVM_RUN. 0, or EINTR, EFAULT... as KVM says; immediate: finish what is
 * pending and execute nothing. */
int	kvm_enter(struct engine_vcpu *, bool window, bool immediate);
/* Finishes the instruction that is pending, if there is one. What was not
 * answered reads as itself (IN) or all ones. 0 or errno. */
int	kvm_settle(struct engine_vcpu *);
/* As the guest reads CS:RIP; false if it is not mapped. */
bool	kvm_linear_rip(struct engine_vcpu *, uint64_t *linear);
bool	kvm_translate(struct engine_vcpu *, uint64_t linear, uint64_t *gpa);

/* Takes an access over from v_run. */
void	kvm_access_begin(struct engine_vcpu *);
/* The last piece's answer, or its default. */
void	kvm_access_answer(struct engine_vcpu *, const uint64_t *data);
/* True: the next piece is an exit, in *er. False: all is done. */
bool	kvm_access_next(struct engine_vcpu *, struct engine_run *er);
/* Works off what is left of it without anybody. */
void	kvm_access_drop(struct engine_vcpu *);
/* The general registers as they are after the elements of INS so far. */
void	kvm_access_regs(struct engine_vcpu *, struct kvm_regs *);

/* Decodes a port instruction; false if the bytes are none. */
bool	kvm_insn_decode(const uint8_t *bytes, size_t len, unsigned bits,
	    struct io_insn *);
/* The port instruction that v_run's exit is about. */
void	kvm_insn_find(struct engine_vcpu *, struct io_insn *);

/* KVM_RUN said EFAULT: leaves with an exit in *er (true), or the guest goes on
 * (false). */
bool	kvm_fault(struct engine_vcpu *, struct engine_run *er);

/* The signal that gets a thread out of KVM_RUN. */
#define KICK_SIGNAL	SIGURG
/* Sees to it that the signal does no harm. Any thread. */
void	kick_init(void);
void	kvm_kick(struct engine_vcpu *);
/* The thread is about to be inside; false if a kick came first. */
bool	kick_enter(struct engine_vcpu *);
void	kick_leave(struct engine_vcpu *);

/* --- the host (probe.c, guest.c, cache.c) ----------------------------------- */

int	kvm_probe(char *why, size_t whylen);
/* What there is to say about it, as lines of "name: value". */
void	kvm_describe(char *, size_t);
/* Runs the test guest: 0, or ENODEV and why not. */
int	kvm_guest_test(int dev, char *why, size_t whylen);
/* Is it known since the host's boot that the test succeeds? Remembers it. */
bool	kvm_cache_has(int dev);
void	kvm_cache_put(int dev);

#endif
