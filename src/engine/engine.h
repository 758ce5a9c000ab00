/*
 * The contract of a CPU engine.
 *
 * An engine executes guest instructions for the monitor (src/vmm). It knows
 * guest memory, the VCPU's registers and how to run to the next exit; it knows
 * nothing of vmm(4), of APICs or of devices. There is one const struct
 * engine_ops per engine (src/engine/soft, src/engine/kvm); the monitor calls
 * through it and does not ask which one it has.
 *
 * 1. All calls on a VCPU are made by one thread at a time (the monitor holds
 *    the VCPU), except eo_kick(), which any thread may call at any time
 *    between vcpu_new and vcpu_free.
 * 2. eo_kick() is sticky: if it comes before run() or while it runs, that
 *    run() returns with ENGINE_EXIT_KICK as soon as the guest is at an
 *    instruction boundary (at once, without executing anything, if the kick
 *    came first). Returning for any reason does not lose a kick that was not
 *    yet reported: the next run() reports it.
 * 3. run() never blocks waiting for anything: a HLT is an exit.
 * 4. Guest memory is the client's memory. The engine never takes the client
 *    down with a SIGSEGV or SIGBUS: an access that the client's own page
 *    protection forbids is an ENGINE_EXIT_PROTECT.
 * 5. At every exit the registers are architecturally precise.
 *
 * Return values: 0 or an errno value, positive.
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <machine/vmmvar.h>

struct state;		/* base/state.h */
struct engine_vm;
struct engine_vcpu;

/* Guest-physical memory: [er_gpa, er_gpa + er_size) is at er_host. */
struct engine_range {
	uint64_t	 er_gpa;
	uint8_t		*er_host;
	size_t		 er_size;
};

/* What CPUID needs to know of the VCPU (dynamic bits: OSXSAVE, 0xD sizes). */
struct engine_cpuid {
	uint32_t	ec_leaf;	/* in: EAX */
	uint32_t	ec_subleaf;	/* in: ECX */
	uint64_t	ec_cr4;		/* in */
	uint64_t	ec_xcr0;	/* in */
	uint32_t	ec_eax, ec_ebx, ec_ecx, ec_edx;		/* out */
};

/*
 * What the CPU needs of the monitor while the guest runs. Called on the VCPU's
 * thread from within run(), with the eh_arg given at vcpu_new; must not block
 * and must not call run(). They may call eo_kick() on the same VCPU.
 */
struct engine_host {
	/*
	 * An access outside all ranges, size 1, 2, 4 or 8, not crossing a
	 * page. True: done. False: not the monitor's; run() leaves with
	 * ENGINE_EXIT_MMIO.
	 */
	bool	(*eh_mmio_read)(void *, uint64_t gpa, unsigned size,
		    uint64_t *data);
	bool	(*eh_mmio_write)(void *, uint64_t gpa, unsigned size,
		    uint64_t data);
	/*
	 * MSRs that the engine does not own (APIC base, x2APIC, TSC deadline,
	 * pvclock, hypervisor). False: the instruction raises #GP(0).
	 */
	bool	(*eh_rdmsr)(void *, uint32_t msr, uint64_t *value);
	bool	(*eh_wrmsr)(void *, uint32_t msr, uint64_t value);
	/* CR8 is the local APIC's TPR[7:4]. Value 0..15, checked. */
	uint64_t (*eh_read_cr8)(void *);
	void	(*eh_write_cr8)(void *, uint64_t value);
	void	(*eh_cpuid)(void *, struct engine_cpuid *);
};

enum engine_exit {
	ENGINE_EXIT_KICK,	/* see invariant 2 */
	ENGINE_EXIT_WINDOW,	/* er_window was set and er_ready became true */
	ENGINE_EXIT_IO,		/* er_io; RIP past the instruction (or element) */
	ENGINE_EXIT_MMIO,	/* er_mmio; RIP on the instruction, or after a
				   write past it: the engine's choice */
	ENGINE_EXIT_HLT,	/* RIP past it; IF tells how it can be woken */
	ENGINE_EXIT_SHUTDOWN,	/* triple fault */
	ENGINE_EXIT_PROTECT,	/* er_protect; RIP on the instruction */
	ENGINE_EXIT_ERROR	/* the VCPU cannot go on: er_errno */
};

enum engine_access { ENGINE_READ = 1, ENGINE_WRITE = 2, ENGINE_EXEC = 4 };

struct engine_run {
	/* in */
	int		 er_inject;	/* external interrupt vector 0..255 to
					   deliver first, or -1. Only valid if
					   eo_ready() says true; delivered even
					   when a kick came before, or kept by
					   the engine to be delivered first */
	bool		 er_nmi;	/* deliver an NMI at the first boundary
					   that allows one; engine keeps it */
	bool		 er_window;	/* leave as soon as er_ready */
	bool		 er_complete;	/* er_data answers the last exit's read
					   (IN, or MMIO read); also says that
					   a write exit (OUT, MMIO) is done */
	uint64_t	 er_data;
	/* out */
	enum engine_exit er_exit;
	bool		 er_ready;	/* an external interrupt could be taken
					   now: IF set, no STI/MOV SS shadow */
	union {
		struct vm_exit_inout er_io;	/* OUT: vei_data is set */
		struct {
			uint64_t gpa;
			uint64_t data;		/* write */
			uint8_t	 size;		/* 1, 2, 4 or 8 */
			bool	 write;
		} er_mmio;
		struct {
			uint64_t gpa;	/* ~0: the engine cannot tell; */
			enum engine_access access; /* nor this then */
		} er_protect;
		int	 er_errno;
	};
};

struct engine_vm_config {
	const struct engine_range *ev_ranges;	/* ascending, page-aligned */
	size_t		 ev_nranges;
	uint64_t	 ev_tsc_khz;	/* of the guest's TSC = host's TSC */
	/*
	 * False: the client writes guest memory behind the engine's back, so
	 * cached code is checked again after every run(). True: every such
	 * write is reported by eo_written() before the guest can learn of it.
	 */
	bool		 ev_writes_reported;
	const char	*ev_options;	/* "interp", ...; "" for the default */
};

struct engine_ops {
	const char *eo_name;	/* "soft", "kvm" */

	/* 0 if the engine works on this host; else why not, in one line. */
	int	(*eo_probe)(char *why, size_t whylen);
	/* What there is to say about it here, as lines of "name: value"; ends
	 * in NUL, cut to len (at least 1). NULL: nothing. */
	void	(*eo_describe)(char *, size_t len);
	/* Does the engine know these ev_options? EINVAL, and why not. NULL: it
	 * takes any. */
	int	(*eo_options)(const char *, char *why, size_t whylen);

	int	(*eo_vm_new)(const struct engine_vm_config *,
		    struct engine_vm **);
	void	(*eo_vm_free)(struct engine_vm *);	/* VCPUs freed before */
	/*
	 * Rights of whole pages inside the ranges, PROT_*. No VCPU runs. Pages
	 * start with all rights.
	 */
	int	(*eo_protect)(struct engine_vm *, uint64_t gpa, size_t size,
		    int prot);
	/* The client wrote guest memory. Any thread, cheap. */
	void	(*eo_written)(struct engine_vm *, uint64_t gpa, size_t size);
	/* Changes ev_writes_reported. No VCPU runs. NULL: the engine has no
	 * use for such reports. */
	void	(*eo_writes_reported)(struct engine_vm *, bool);

	/*
	 * The range at host, whole, is a MAP_SHARED mapping of fd from offset
	 * on (vmm.h: VMM_IOC_SHARE). The engine keeps a duplicate of fd. Before
	 * the first run(). NULL: the engine has no use for it.
	 */
	int	(*eo_share)(struct engine_vm *, const void *host, size_t size,
		    int fd, uint64_t offset);

	int	(*eo_vcpu_new)(struct engine_vm *, unsigned id,
		    const struct engine_host *, void *arg,
		    struct engine_vcpu **);
	void	(*eo_vcpu_free)(struct engine_vcpu *);

	/* errno only when the host fails; what the guest does is an exit */
	int	(*eo_run)(struct engine_vcpu *, struct engine_run *);
	void	(*eo_kick)(struct engine_vcpu *);
	/* An external interrupt could be taken now. */
	bool	(*eo_ready)(struct engine_vcpu *);

	/*
	 * Power-on state: everything that vcpu_reg_state holds from it, all
	 * other state (FPU, MSRs, DR, shadows, TLB) as after INIT/RESET.
	 * EINVAL for a state that the CPU refuses.
	 */
	int	(*eo_reset)(struct engine_vcpu *,
		    const struct vcpu_reg_state *);
	/* By VM_RWREGS_* mask. Unknown bits are ignored. */
	int	(*eo_getregs)(struct engine_vcpu *, uint64_t mask,
		    struct vcpu_reg_state *);
	int	(*eo_setregs)(struct engine_vcpu *, uint64_t mask,
		    const struct vcpu_reg_state *);
	/* FPU and vector state in the standard XSAVE format (SDM vol. 1 13.4),
	 * size ENGINE_XSTATE_SIZE. */
	int	(*eo_getxstate)(struct engine_vcpu *, void *);
	int	(*eo_setxstate)(struct engine_vcpu *, const void *);
	/* An MSR as RDMSR/WRMSR would see it, without the monitor's own. */
	int	(*eo_getmsr)(struct engine_vcpu *, uint32_t msr, uint64_t *);
	int	(*eo_setmsr)(struct engine_vcpu *, uint32_t msr, uint64_t);
	/* The guest's TSC minus the host's. */
	int64_t	(*eo_tsc_offset)(struct engine_vcpu *);
	uint8_t	(*eo_cpl)(struct engine_vcpu *);
	/*
	 * What is the VCPU's besides registers, MSRs and xstate, saved or
	 * loaded: what waits at this boundary, and the TSC. Loaded last.
	 * eo_midway: an instruction has begun that is not done; what has been
	 * asked for must be answered by run() before anything can be saved.
	 */
	bool	(*eo_midway)(struct engine_vcpu *);
	void	(*eo_state)(struct engine_vcpu *, struct state *);
	/* Guest instructions executed so far. NULL: the engine cannot tell. */
	uint64_t (*eo_insns)(struct engine_vcpu *);
	/* What the engine counted besides, as lines of "name: value"; ends in
	 * NUL, cut to len (at least 1). NULL: nothing. */
	void	(*eo_report)(struct engine_vcpu *, char *, size_t len);
};

#define ENGINE_XSTATE_SIZE	832	/* legacy 512, header 64, AVX 256 */

extern const struct engine_ops engine_soft;
extern const struct engine_ops engine_kvm;

#endif
