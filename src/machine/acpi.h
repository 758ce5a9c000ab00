/*
 * The ACPI tables that describe the board; see acpi.c.
 */
#ifndef MACHINE_ACPI_H
#define MACHINE_ACPI_H

#include <stddef.h>
#include <stdint.h>

#include "machine/device.h"

#define ACPI_AREA	0xe0000		/* the root pointer, then the rest */
#define ACPI_AREA_USED	0x4000		/* what the tables need at most */

struct acpi_config {
	unsigned	 ac_ncpus;
	unsigned	 ac_nslots;	/* PCI slots 1..n are in use */
	unsigned	(*ac_slot_line)(unsigned slot);
	unsigned	 ac_sci;
};

/* Writes the tables into guest memory; returns the RSDP's address, 0 if there
 * is no memory at that place. */
uint64_t	 acpi_write(const struct acpi_config *,
		    const struct guest_memory *);

#endif
