/*
 * The monitor's own view of VMs and VCPUs, shared by the files of src/vmm.
 *
 * 1. A VM is found by its id through vm_get(), which takes a reference;
 *    vm_put() of the last one frees it. TERM only takes it off the list, so a
 *    thread inside RUN keeps what it runs on.
 * 2. The engine's VCPU is used by one thread at a time: whoever has v_busy
 *    (vcpu_take, vcpu_give). RUN has it all the time, but steps aside between
 *    two entries when v_waiters says that somebody else wants it. eo_kick()
 *    needs no more than a reference.
 * 3. Locks, outermost first: host list [g] (vm.c), VM [m], VCPU [v],
 *    interrupt controllers (apic.h), clock (clock.c). None is held while the
 *    guest runs or anything blocks.
 *
 * Members: [I] immutable, [g] host list's lock, [m] vm_lock, [v] v_lock,
 * [c] whoever has the VCPU (v_busy), [a] atomic.
 */
#ifndef VMM_MONITOR_H
#define VMM_MONITOR_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmm.h>

#include "engine/engine.h"
#include "vmm/apic.h"
#include "vmm/cpuid.h"
#include "vmm/msr.h"
#include "vmm/pvclock.h"

#define PAGE_SIZE	4096ul
#define ARRAY_LEN(a)	(sizeof(a) / sizeof((a)[0]))

/* --- engines (engines.c has the table, engine_pick.c reads it) ----------- */

struct engine_row {
	const struct engine_ops	*er_ops;	/* NULL ends the table */
	unsigned		 er_max_vcpus;
};

extern const struct engine_row engine_table[];

/*
 * The engine that spec ("auto", "soft", "soft,options") names; *options points
 * into spec. 0, EINVAL: no such engine or option, ENODEV: it does not work
 * here. On errors, why says why in one line.
 */
int	engine_pick(const char *spec, const struct engine_row **row,
	    const char **options, char *why, size_t whylen);

/* --- a call of vmm_ioctl (ioctl.c) --------------------------------------- */

#define CALL_ENGINE_LEN	64

struct call {
	int		ca_fd;
	sigset_t	ca_mask;	/* signals that the caller blocks */
	bool		ca_trusted;	/* it said so, none matters to it */
};

/* True when a signal that the caller does not block is pending. */
bool	call_interrupted(const struct call *);
/* A new signalfd that is readable when such a signal is pending, or -1. */
int	call_signalfd(const struct call *);
/* Takes the client at its word (VMM_CAP_PROMISE), or no longer. */
void	call_trust(const struct call *);
void	call_distrust(void);
/* What the descriptor's next VMs use, and changing it. 0 or errno. */
int	call_engine(const struct call *, char spec[CALL_ENGINE_LEN]);
int	call_set_engine(const struct call *, const char *spec);

/* The commands: parameters already copied in; 0 or an errno value. */
int	cmd_create(struct call *, void *);	/* vm.c */
int	cmd_info(struct call *, void *);
int	cmd_term(struct call *, void *);
int	cmd_engine(struct call *, void *);
int	cmd_engineinfo(struct call *, void *);
int	cmd_enable(struct call *, void *);
int	cmd_wait(struct call *, void *);
int	cmd_run(struct call *, void *);		/* run.c */
int	cmd_intr(struct call *, void *);	/* vcpu.c */
int	cmd_kick(struct call *, void *);
int	cmd_paused(struct call *, void *);
int	cmd_stats(struct call *, void *);
int	cmd_resetcpu(struct call *, void *);	/* regs.c */
int	cmd_readregs(struct call *, void *);
int	cmd_writeregs(struct call *, void *);
int	cmd_readvmparams(struct call *, void *);
int	cmd_writevmparams(struct call *, void *);
int	cmd_mprotect_ept(struct call *, void *);	/* mem.c */
int	cmd_irqline(struct call *, void *);
int	cmd_irqstate(struct call *, void *);
int	cmd_written(struct call *, void *);
int	cmd_share(struct call *, void *);
int	cmd_state(struct call *, void *);	/* state.c */

/* --- VCPUs (vcpu.c, host.c) ---------------------------------------------- */

/* What the last exit asked of the client, answered by the next RUN. */
enum vcpu_owed { OWED_NOTHING, OWED_IN, OWED_OUT, OWED_MMIO_READ,
    OWED_MMIO_WRITE };

struct vcpu {
	struct vm	*v_vm;		/* [I] */
	unsigned	 v_id;		/* [I] */
	struct engine_vcpu *v_engine;	/* [I] */
	int		 v_wakefd;	/* [I] eventfd that ends a HLT's wait */

	pthread_mutex_t	 v_lock;
	pthread_cond_t	 v_free;	/* v_busy ended, or v_waiters fell to 0 */
	bool		 v_busy;	/* [v] */
	atomic_uint	 v_waiters;	/* [v] to write */
	atomic_uchar	 v_state;	/* [v] to write; VCPU_STATE_* */

	/* what other threads want of a running VCPU */
	atomic_bool	 v_kick;	/* [a] VMM_IOC_KICK */
	atomic_bool	 v_paused;	/* [a] VMM_IOC_PAUSED */
	atomic_bool	 v_check;	/* [a] the tick: look for signals */
	atomic_bool	 v_looks;	/* [a] this RUN does */
	atomic_bool	 v_intr;	/* [a] VMM_IOC_INTR */
	atomic_bool	 v_told;	/* [a] the client knows of INTR and that
					   the guest would take it */
	atomic_bool	 v_sleeping;	/* [a] waits on v_wakefd, or is about to */
	atomic_bool	 v_dead;	/* [a] sleeps; only an NMI or INIT wakes */
	atomic_bool	 v_entered;	/* [a] is inside eo_run() */
	atomic_uint_fast64_t v_deadline; /* [a] local APIC's timer */
	atomic_uint_fast64_t v_exits;	/* [a] returns from RUN */

	enum vcpu_owed	 v_owed;	/* [c] */
	uint8_t		 v_owed_size;	/* [c] */
	bool		 v_answered;	/* [c] the answer waits for an entry */
	uint64_t	 v_answer;	/* [c] */
	bool		 v_halted;	/* [c] in HLT, with VMM_CAP_APIC */
	bool		 v_sipi;	/* [c] waits for a SIPI */
	bool		 v_nmi;		/* [c] give the engine an NMI */
	uint8_t		 v_cr8;		/* [c] without APICs */
	int64_t		 v_tsc_offset;	/* [c] that pvclock's page has */
	struct pvclock	 v_pvclock;	/* [c] */
	struct misc_msrs v_misc;	/* [c] */
	struct vmm_exit	 v_exit;	/* [c] */
};

/* Creates the VCPU in its place; 0 or errno. */
int	vcpu_init(struct vcpu *, struct vm *, unsigned id);
void	vcpu_fini(struct vcpu *);
/* The state after RESET (SDM vol. 3A table 9-1). */
void	vcpu_power_on(struct vcpu_reg_state *);
/* Takes the VCPU from RUN or from another command; gives it back. */
void	vcpu_take(struct vcpu *);
void	vcpu_give(struct vcpu *);
/* RUN, which has the VCPU: lets those who wait have it first. */
void	vcpu_yield(struct vcpu *);
/* Makes RUN look at what changed: out of the guest, out of a HLT. Any thread
 * with a reference. */
void	vcpu_wake(struct vcpu *);
/* A running VCPU's RUN ends with VM_EXIT_TERMINATED; others never start. */
void	vcpu_terminate(struct vcpu *);
/* RESET with the given state. The caller has the VCPU. */
int	vcpu_reset(struct vcpu *, const struct vcpu_reg_state *);
/* Registers with CR8, which is the monitor's. The caller has the VCPU. */
int	vcpu_getregs(struct vcpu *, uint64_t mask, struct vcpu_reg_state *);
int	vcpu_setregs(struct vcpu *, uint64_t mask,
	    const struct vcpu_reg_state *);
/* Tells the clock of the local APIC's timer. */
void	vcpu_deadline(struct vcpu *);

extern const struct engine_host vcpu_host;	/* host.c; arg: struct vcpu */
void	host_pvclock_memory(struct vcpu *, struct pvclock_memory *);

/* Port I/O that leaves RUN without VMM_CAP_ALL_PORTS (ports.c). */
bool	port_forwarded(uint16_t port);

/* --- VMs (vm.c) ---------------------------------------------------------- */

struct vm {
	uint32_t	 vm_id;		/* [I] */
	char		 vm_name[VMM_MAX_NAME_LEN];	/* [I] */
	const struct engine_ops *vm_ops;	/* [I] */
	struct engine_vm *vm_engine;	/* [I] */
	struct engine_range vm_ranges[VMM_MAX_MEM_RANGES];	/* [I] */
	size_t		 vm_nranges;	/* [I] */
	size_t		 vm_size;	/* [I] bytes in all ranges */
	uint64_t	 vm_tsc_khz;	/* [I] */
	struct pvclock	 vm_pvclock;	/* [I] all VCPUs count from the same 0 */

	struct vm	*vm_next;	/* [g] */
	atomic_uint	 vm_refs;	/* [a] */
	atomic_uint	 vm_ndead;	/* [a] VCPUs with v_dead */

	pthread_mutex_t	 vm_lock;
	atomic_bool	 vm_ran;	/* [m] to write: RUN was called */
	uint32_t	 vm_caps;	/* [m] until vm_ran, then [I] */
	struct apic_vm	*vm_apic;	/* likewise; NULL without the cap */

	unsigned	 vm_ncpus;	/* [I] */
	struct vcpu	 vm_vcpu[];
};

/*
 * Looks a VM of this process up. 0 and a reference; ENOENT: there is none on
 * the host; EPERM: it is another process's.
 */
int	vm_get(uint32_t id, struct vm **);
/* Same, with one of its VCPUs. */
int	vcpu_get(uint32_t vm_id, uint32_t vcpu_id, struct vcpu **);
void	vm_put(struct vm *);
/* Ends this process's VM; ENOENT if it has none of that id. */
int	vm_terminate(uint32_t id);
/* What INFO says of this process's VM; ENOENT if it has none of that id. */
int	vm_describe(uint32_t id, struct vm_info_result *);
/*
 * The clock's tick, at now: kicks the VCPUs whose deadline has come and, if
 * check says so, those that are to look for signals. True if there are such;
 * *next is the earliest deadline.
 */
bool	vm_tick(uint64_t now, bool check, uint64_t *next);

/* --- guest memory (mem.c) ------------------------------------------------ */

/* CREATE's rules; fills vm_ranges, vm_size. 0, EINVAL or ENOMEM. */
int	mem_adopt(struct vm *, const struct vm_create_params *);
/* Resident bytes of the guest's memory. */
size_t	mem_resident(const struct vm *);
/* True if [gpa, gpa + size) is memory, adjacent ranges counting as one. */
bool	mem_covers(const struct vm *, uint64_t gpa, uint64_t size);
/* Copies into guest memory; false where there is none or it is protected. */
bool	mem_store(struct vm *, uint64_t gpa, const void *, size_t);

/* --- the host's VMs (hostid.c, server.c, peer.c) ------------------------- */

/*
 * A new id, and the listening socket that holds it for this process's life:
 * the descriptor, or -1 and errno.
 */
int	hostid_claim(uint32_t *id);
/* The ids that are in use on the host, ascending, in *ids (free it). */
size_t	hostid_list(uint32_t **ids);
/* The abstract socket address of an id; its length. */
struct sockaddr_un;
unsigned hostid_address(uint32_t id, struct sockaddr_un *);

/* Serves the socket of a VM (owns fd) until server_drop(). 0 or errno. */
int	server_add(uint32_t id, int fd);
void	server_drop(uint32_t id);

#define SERVER_MAGIC	0x766d6d34u	/* "vmm4" */
enum { SERVER_INFO = 1, SERVER_TERM, SERVER_WAIT };

struct server_request {
	uint32_t	sr_magic;
	uint32_t	sr_command;
};
/* WAIT is answered at once and again, by the connection's end, when the VM
 * has ended. */
struct server_reply {
	uint32_t	sp_magic;
	uint32_t	sp_error;	/* errno value */
	struct vm_info_result sp_info;	/* INFO */
};

/* Does the id belong to another process? 0: no VM of that id, else EPERM. */
int	peer_exists(uint32_t id);
int	peer_terminate(uint32_t id);
int	peer_wait(const struct call *, uint32_t id);
/* Asks about n VMs in bounded time; fills results for those that answer or
 * are known to live, returns how many. */
size_t	peer_describe(const uint32_t *ids, size_t n, struct vm_info_result *);

/* --- the clock (clock.c) ------------------------------------------------- */

struct loop;
struct loop_timer;

/* Once in the process's life. */
void	clock_init(void);
/* Makes a timer of this loop the clock, until clock_stop() or another takes
 * its place. NULL without memory. clock_stop(NULL) does nothing. */
struct loop_timer *clock_start(struct loop *);
void	clock_stop(struct loop_timer *);
/* A VCPU enters the guest; it must leave it at its deadline, and with tick now
 * and then. Or must leave it by when_ns. Cheap. */
void	clock_enter(uint64_t deadline, bool tick);
void	clock_need(uint64_t when_ns);

#endif
