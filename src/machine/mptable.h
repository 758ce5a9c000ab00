/*
 * The tables of the MultiProcessor Specification; see mptable.c.
 */
#ifndef MACHINE_MPTABLE_H
#define MACHINE_MPTABLE_H

#include <stdbool.h>

#include "machine/acpi.h"
#include "machine/device.h"

#define MPTABLE_AREA	0xf0000	/* the pointer, then the table */
#define MPTABLE_SIZE	0x1000

/* Writes them into guest memory, of what ACPI's tables tell too; false if there
 * is no memory at that place. */
bool	mptable_write(const struct acpi_config *, const struct guest_memory *);

#endif
