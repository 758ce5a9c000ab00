/*
 * The inside of struct machine: what board.c, memory.c, run.c and machine.c
 * share. Chips do not see this.
 *
 * Locks, outermost first: a device's -> m_wire_lock -> the i8259's -> vmm.
 * Members: [I] immutable while VCPUs run, [v] the VCPU thread's, [m] m_lock,
 * [w] m_wire_lock, [h] m_hold_lock, a leaf, [a] atomic.
 */
#ifndef MACHINE_BOARD_H
#define MACHINE_BOARD_H

#include <pthread.h>
#include <stdio.h>
#include <stdatomic.h>

#include <vmm.h>

#include "machine/acpi.h"
#include "machine/boot.h"
#include "machine/clock.h"
#include "machine/firmware.h"
#include "machine/i8253.h"
#include "machine/i8259.h"
#include "machine/machine.h"
#include "machine/mc146818.h"
#include "machine/ns8250.h"
#include "machine/pci.h"
#include "machine/power.h"
#include "machine/virtio_blk.h"
#include "machine/virtio_net.h"
#include "machine/virtio_rng.h"
#include "machine/virtio_scsi.h"
#include "machine/vmmci.h"
#include "network/network.h"
#include "storage/disk.h"

#define BOARD_LINES	16
#define BOARD_WIRES	32

#define IRQ_TIMER	0
#define IRQ_COM1	4
#define IRQ_SCI		9
#define IRQ_RTC		8

struct machine;

/* One end of an interrupt line. A line is asserted while any end asserts it. */
struct wire {
	struct machine	*w_machine;
	unsigned	 w_line;
	uint32_t	 w_bit;
};

/* What the machine has been asked to do, m_request. */
#define REQUEST_RESET	0x01
#define REQUEST_OFF	0x02
#define REQUEST_EXIT	0x04		/* the exit port; m_exit_value */
#define REQUEST_STOP	0x08
#define REQUEST_STATS	0x10
#define REQUEST_PAUSE	0x20		/* until it is taken back */
#define REQUEST_STATE	0x40		/* m_job */
#define REQUEST_DIAG	0x80		/* mc_diag_state */

/* Does the VCPU's thread stand still? */
enum parked { PARKED_NO, PARKED_YES, PARKED_ENDED };

/* Does the loop stand still for state.c? */
enum hold { HOLD_NOT, HOLD_ASKED, HOLD_HELD };

#define BOARD_EXITS	7	/* that are known: run.c */

struct machine {
	struct machine_config m_config;	/* [I] */
	struct loop	*m_loop;	/* [I] */
	struct clock	 m_clock;	/* [I] */

	/* vmm(4) [I] */
	int		 m_vmm;
	char		 m_engine[64];	/* [I] its name */
	uint32_t	 m_id;		/* 0: no VM yet */
	pthread_t	 m_thread;
	uint8_t		 m_sigstack[65536]; /* of the VCPU's thread */
	bool		 m_ran;		/* m_thread is there */
	bool		 m_made;	/* the board is complete */
	FILE		*m_trace;	/* [c] NULL: exits are not written down */
	uint64_t	 m_exits[BOARD_EXITS];	/* [c] by run.c's table */

	struct firmware	*m_firmware;	/* [I] NULL: a kernel is loaded */

	/* memory [I] */
	void		*m_map;		/* with its guard pages */
	size_t		 m_map_size;
	int		 m_ram;		/* the file that is its RAM, or -1 */
	struct guest_memory m_memory;
	struct memmap	 m_memmap[8];
	unsigned	 m_nmemmap;

	/* interrupt lines */
	pthread_mutex_t	 m_wire_lock;
	uint32_t	 m_line[BOARD_LINES];	/* [w] wires asserting it */
	struct wire	 m_wire[BOARD_WIRES];	/* [I] */
	unsigned	 m_nwires;		/* [I] */

	/* devices [I], in the order of board.c's table */
	struct bus	*m_ports, *m_mmio;
	struct i8259	*m_pic;
	struct i8253	*m_pit;
	struct mc146818	*m_rtc;
	struct ns8250	*m_com1;
	struct i8042	*m_kbc;
	struct fw_cfg	*m_fw;
	struct reset	*m_reset;
	struct acpi_pm	*m_pm;
	struct window	 m_exit_window;
	struct pci	*m_pci;
	unsigned	 m_nslots;	/* PCI slots given out, */
	unsigned	 m_nic_slot;	/* before the first NIC's, */
	unsigned	 m_disk_slot;	/* before the first disk's, */
	unsigned	 m_cdrom_slot;	/* before the CD-ROM's */
	struct virtio_rng *m_rng;
	struct virtio_net *m_net[MACHINE_NICS_MAX];
	struct network	*m_network[MACHINE_NICS_MAX];
	struct disk	*m_disk[MACHINE_DISKS_MAX];
	struct virtio_blk *m_blk[MACHINE_DISKS_MAX];
	struct disk	*m_cdrom_disk;
	struct virtio_scsi *m_cdrom;	/* NULL: there is none */
	struct vmmci	*m_vmmci;

	/* running */
	atomic_uint	 m_request;	/* [a] REQUEST_*; a futex when parked */
	atomic_uint	 m_parked;	/* [a] enum parked; a futex */
	atomic_uint	 m_exit_value;	/* [a] */
	bool		 m_over;	/* [v] run_step() saw it end: m_end */
	struct vmm_exit	 m_exit;	/* [v] */
	struct vm_run_params m_run;	/* [v] */

	/* state.c */
	pthread_mutex_t	 m_hold_lock;	/* [h] */
	pthread_cond_t	 m_hold_moved;
	enum hold	 m_hold;	/* [h] */
	bool		 m_loop_over, m_vcpu_over;	/* [h] */
	struct state_job *m_job;	/* [h] */
	void		*m_vm_state;	/* [v] */
	struct loop_timer *m_diag;	/* [I] NULL: none */
	unsigned	 m_diag_left;	/* the loop's */

	enum machine_end m_end;		/* [v], then the loop's */
	struct err	 m_err;		/* [v], then the loop's */
};

/* memory.c */
int	memory_new(struct machine *, struct err *);
void	memory_free(struct machine *);
/* All zero again, and the host's. No VCPU runs. */
void	memory_clear(struct machine *);

/* wires.c: a new end of a line. */
struct irq wires_irq(struct machine *, unsigned line);
/* The i8259's INTR output: the monitor gets the VCPU to ask for the vector. */
void	wires_intr(void *machine, int level);
/* Which ends assert a line; the controllers have states of their own. */
void	wires_state(struct machine *, struct state *);

/* board.c: makes, resets and ends all devices, by its table. */
int	board_new(struct machine *, struct err *);
void	board_free(struct machine *);
/* Power-on state of everything but the CPU, which boot_load() decides. */
void	board_reset(struct machine *);
/* Waits for the disks; then saves or loads every row. */
void	board_settle(struct machine *);
void	board_state(struct machine *, struct state *);
/* What ACPI's tables have to say of it. */
struct acpi_config board_acpi(const struct machine *);

/* run.c: the VCPU thread; arg is the machine. */
void	*run_vcpu_thread(void *);
/* Notes a request and gets the VCPU to look at it. Any thread. */
void	run_request(struct machine *, unsigned);
/* Makes the machine anew in place: memory, devices, firmware or kernel, CPU.
 * The VCPU's thread, or nobody's yet. -1 with m_err. */
int	run_power_on(struct machine *);
/* Waits until the VCPU's thread has parked for REQUEST_PAUSE; false if it has
 * ended instead. */
bool	run_wait_parked(struct machine *);
/* Takes REQUEST_PAUSE back. */
void	run_unpark(struct machine *);
/* One RUN and what it asks for; false if the machine ends. VCPU's thread. */
bool	run_step(struct machine *);
/* The CPU as at power-on. 0, or -1 and errno. VCPU's thread. */
int	run_reset_cpu(struct machine *);

/* state.c: REQUEST_STATE on the VCPU's thread, and its end; REQUEST_DIAG there,
 * false if it failed (m_err). */
void	state_work(struct machine *);
void	state_end_work(struct machine *);
bool	state_diag(struct machine *);
/* Starts the diagnostics' timer, if asked for. 0, or -1 and errno. */
int	state_diag_new(struct machine *);
/* The loop has ended: nobody waits for it any more. */
void	state_loop_over(struct machine *);

#endif
