/*
 * PCI bus 0 by configuration mechanism 1 (PCI Local Bus 3.0, 3.2.2.3): a host
 * bridge and up to 31 functions. pci.c owns configuration space: identity,
 * command, status, BARs, interrupt line and capability list; a function is
 * told where its BARs are by windows that come and go.
 *
 * Lock order: the bus's lock (held in the pf_config_* hooks) -> device lock ->
 * pf_irq. A device never calls pci_* with its lock held, pf_irq apart.
 */
#ifndef MACHINE_PCI_H
#define MACHINE_PCI_H

#include <pthread.h>

#include "machine/device.h"

struct pci;		/* the bus */

#define PCI_BARS	6

struct pci_function {
	/* filled in by the device before pci_add() */
	const char	*pf_name;
	uint16_t	 pf_vendor, pf_device, pf_subvendor, pf_subdevice;
	uint8_t		 pf_class, pf_subclass, pf_progif, pf_revision;
	bool		 pf_intx;	/* uses INTA# */
	struct {
		uint32_t size;		/* power of two, 0: none */
		bool	 io;
		struct window window;	/* w_read, w_write, w_arg by the device */
	}		 pf_bar[PCI_BARS];
	/* a device's own view of configuration space beyond the header
	 * (capabilities with side effects); NULL if plain storage will do. A
	 * read hook may refresh pf_config before the bytes are read. */
	void		(*pf_config_read)(void *arg, unsigned offset,
			    unsigned size);
	void		(*pf_config_write)(void *arg, unsigned offset,
			    unsigned size, uint32_t value);
	void		*pf_arg;
	/* set by pci_add() */
	uint8_t		 pf_slot;
	struct irq	 pf_irq;	/* INTA#, level */
	uint8_t		 pf_config[256];
	uint8_t		 pf_writable[256];	/* mask of guest-writable bits */
	struct pci	*pf_bus;
	/* pci.c's own; pf_wire is the board's end of INTA# */
	pthread_mutex_t	 pf_intx_lock;
	struct irq	 pf_wire;
	bool		 pf_asserted;
	bool		 pf_mapped[PCI_BARS];
	uint16_t	 pf_caps_end;
};

struct pci	*pci_new(struct bus *ports, struct bus *memory);
void		 pci_free(struct pci *);
/* Accesses narrower than 4 to CF8-CFB are not PCI's; CF9 is the reset register.
 * The window is borrowed, its w_base within that range. Before VCPUs run. */
void		 pci_set_reset(struct pci *, const struct window *);
/* Slots from 1 in order; INTA# of slot n is irq (given by the board). ENOSPC
 * when all are taken. The function stays where it is until pci_remove(). */
int		 pci_add(struct pci *, struct pci_function *,
		    const struct irq *);
/* While no VCPU runs; before pci_free(). Harmless if it was never added. */
void		 pci_remove(struct pci_function *);
/* Appends a capability (id, length in bytes incl. the 2-byte header); returns
 * its offset in pf_config, 0 if there is no room. After pci_add(). */
uint8_t		 pci_capability(struct pci_function *, uint8_t id, uint8_t len);
/* Bus reset: decoding off, BARs 0, what the guest wrote gone. */
void		 pci_reset(struct pci *);
/* The bus and every function's configuration space, BARs and INTA#. */
void		 pci_state(struct pci *, struct state *);
/* For firmware that configures the bus itself: the host bridge is one that it
 * knows, and how the board's lines run say the Interrupt Line registers,
 * read-only. Before VCPUs run, after the last pci_add(). */
void		 pci_for_firmware(struct pci *);
/* Gives every BAR an address and enables decoding, as firmware would. */
void		 pci_assign(struct pci *);

#endif
