/*
 * The virtual PC as its user sees it: configure, run, end. board.c knows which
 * devices there are; run.c runs the VCPUs.
 */
#ifndef MACHINE_MACHINE_H
#define MACHINE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "network/network.h"

#define MACHINE_DISKS_MAX	4
#define MACHINE_NICS_MAX	4
#define MACHINE_MODULES_MAX	32

/* What the firmware tries first; then the others. */
enum machine_boot { MACHINE_BOOT_DISK, MACHINE_BOOT_CDROM, MACHINE_BOOT_NET };

struct machine_nic {
	enum { NIC_USER, NIC_SWITCH, NIC_LOCAL, NIC_TAP } mn_kind;
	uint8_t		 mn_mac[6];	/* all zero: generated */
	unsigned	 mn_mtu;	/* 0: NETWORK_MTU */
	struct network_forward mn_forward[16];
	size_t		 mn_nforwards;
	const char	*mn_tftp;	/* NIC_USER: see network_user */
	const char	*mn_bootfile;
	uint32_t	 mn_host, mn_guest; /* NIC_LOCAL: IPv4 addresses */
	int		 mn_fd;		/* NIC_SWITCH: a socket to its port;
					   NIC_TAP: a tap's descriptor; needed
					   until machine_new() is over */
	bool		 mn_locked;	/* NIC_TAP: frames from addresses but
					   mn_mac are dropped */
};

struct machine_config {		/* strings borrowed until machine_free() */
	const char	*mc_name;
	const char	*mc_kernel;	/* bzImage, ELF with PVH note,
					   multiboot, firmware; NULL: the
					   host's firmware */
	const char	*mc_initrd[MACHINE_MODULES_MAX]; /* "file" or
					   "file,arguments" for multiboot */
	size_t		 mc_ninitrds;
	const char	*mc_append;	/* kernel command line */
	uint64_t	 mc_memory;	/* bytes, a whole number of MiB */
	const char	*mc_disk[MACHINE_DISKS_MAX];
	size_t		 mc_ndisks;
	const char	*mc_cdrom;	/* an image, or NULL: no drive */
	enum machine_boot mc_boot_device;
	struct machine_nic mc_nic[MACHINE_NICS_MAX];
	size_t		 mc_nnics;
	const char	*mc_engine;	/* "auto", "soft", ... */
	const char	*mc_trace;	/* file that gets a line an exit, or
					   NULL */
	bool		 mc_stats;	/* log the engine's counts at the end */
	/* diagnostics: so many times, save all state, reset all parts and load
	 * it, 50 ms apart */
	unsigned	 mc_diag_state;
	bool		 mc_no_reboot;	/* a reset ends the machine */
	/* Asked at each reset, on the VCPU's thread: false ends the machine as
	 * mc_no_reboot does. NULL: it goes on. */
	bool		(*mc_reset)(void *arg);
	void		*mc_reset_arg;
	int		 mc_exit_port;	/* -1: none */
	int		 mc_console_in;	/* descriptors of COM1, -1: none */
	int		 mc_console_out;
	/* Sees each input byte first (escape sequences): puts what the guest
	 * gets for it into out and returns how many bytes that is, 0 to 2. On
	 * the loop's thread. NULL: the guest gets all bytes as they are. */
	size_t		(*mc_console_filter)(void *arg, uint8_t byte,
			    uint8_t out[2]);
	void		*mc_console_arg;
};

enum machine_end {
	MACHINE_POWEROFF,	/* S5, or halted for ever */
	MACHINE_RESET,		/* asked to reboot and may not */
	MACHINE_CRASH,		/* triple fault, the same; err: where */
	MACHINE_EXIT_PORT,	/* *value is what was written */
	MACHINE_STOPPED,	/* machine_stop() */
	MACHINE_TERMINATED,	/* VMM_IOC_TERM from elsewhere */
	MACHINE_ERROR		/* err says what */
};

struct machine;

/* With what it boots loaded, ready to run. -1 with err. */
int	machine_new(struct machine **, const struct machine_config *,
	    struct err *);
/* Runs the machine on threads of its own and the loop on this one, until it
 * ends. *value for MACHINE_EXIT_PORT. Once for each machine. */
enum machine_end machine_run(struct machine *, uint32_t *value, struct err *);
/* Ends machine_run() with MACHINE_STOPPED. Any thread, also from a signal
 * handler. */
void	machine_stop(struct machine *);
/* Asks the guest to shut down: presses the power button, and tells it so by
 * vmmci. Any thread. */
void	machine_ask_stop(struct machine *);
/* What the guest has done about either: it does not listen, has not looked,
 * has. The latter stays until a reset. Any thread. */
enum machine_asked { MACHINE_DEAF, MACHINE_ASKED, MACHINE_ANSWERED };
enum machine_asked machine_asked(struct machine *);
/*
 * Holds the VCPU, from when this returns on, and lets it go on. Its clocks and
 * devices go on meanwhile: disk requests complete, input waits, timers are due.
 * -1: the machine has ended, or not begun. Any thread but one of the machine's
 * own, the loop's included.
 */
int	machine_pause(struct machine *);
void	machine_unpause(struct machine *);
/*
 * Saves what the machine is made of, all but memory and what disks hold, into
 * *data (free(3) it), and loads it again into the machine that it was saved of,
 * whose memory is to be what it was then. The machine may run or be paused; it
 * stands still meanwhile. 0, or -1 and err: the machine has ended, or what is
 * loaded is not such a state, is newer or of another configuration; the machine
 * then goes on as it was. Any thread but one of the machine's own.
 */
int	machine_save(struct machine *, void **data, size_t *size,
	    struct err *);
int	machine_load(struct machine *, const void *data, size_t size,
	    struct err *);
/* Has the engine's counts logged soon. As machine_stop(). */
void	machine_stats(struct machine *);
/* For sources of the caller's own: signals, a time limit. */
struct loop *machine_loop(struct machine *);
uint32_t machine_vm_id(const struct machine *);
/* The name of the engine that it runs on, without options. */
const char *machine_engine(const struct machine *);
void	machine_free(struct machine *);

#endif
