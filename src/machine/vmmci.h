/*
 * vmmci: the device by which the host tells an OpenBSD guest to shut down and
 * to look at the clock, and which tells the host's time.
 */
#ifndef MACHINE_VMMCI_H
#define MACHINE_VMMCI_H

#include "machine/clock.h"
#include "machine/pci.h"

struct vmmci;

/* 0, or -1 and errno. Memory and clock are borrowed until vmmci_free(). */
int	vmmci_new(struct vmmci **, const struct guest_memory *,
	    struct clock *, struct pci *, const struct irq *);
void	vmmci_reset(struct vmmci *);
void	vmmci_state(struct vmmci *, struct state *);
/* After the last access through the bus. NULL is allowed. */
void	vmmci_free(struct vmmci *);

/* Tells the guest to shut down. Any thread. */
void	vmmci_shutdown(struct vmmci *);
/* Tells the guest that its clock may be off, unless it has been told to shut
 * down. Any thread. */
void	vmmci_sync(struct vmmci *);
/* Is a driver there to be told to shut down, and has it taken that in? The
 * latter stays until vmmci_reset(). Any thread. */
enum vmmci_guest { VMMCI_ABSENT, VMMCI_LISTENS, VMMCI_SEEN };
enum vmmci_guest vmmci_guest(struct vmmci *);

#endif
