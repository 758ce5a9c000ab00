/*
 * The ACPI tables that describe the board; see acpi.c and acpi_loader.c.
 */
#ifndef MACHINE_ACPI_H
#define MACHINE_ACPI_H

#include <stddef.h>
#include <stdint.h>

#include "machine/device.h"

#define ACPI_AREA	0xe0000		/* the root pointer, then the rest */
#define ACPI_AREA_USED	0x4000		/* what the tables need at most */
#define ACPI_TABLES	64		/* behind the root pointer */
#define ACPI_RSDP_SIZE	36
#define ACPI_RSDP_PART	20		/* that of ACPI 1.0: the first sum's */
#define ACPI_SUM_OFFSET	9		/* of a table's checksum */
#define ACPI_POINTERS_MAX 16
#define ACPI_SUMS_MAX	8

struct acpi_config {
	unsigned	 ac_ncpus;
	unsigned	 ac_nslots;	/* PCI slots 1..n are in use */
	unsigned	(*ac_slot_line)(unsigned slot);
	unsigned	 ac_sci;
};

/* Tables without a place: pointers are offsets in at_data. */
struct acpi_tables {
	uint8_t		 at_rsdp[ACPI_RSDP_SIZE];
	uint8_t		 at_data[ACPI_AREA_USED - ACPI_TABLES];
	size_t		 at_len;
	struct {
		uint32_t offset;	/* of a pointer in at_data */
		uint8_t	 size;
	}		 at_pointer[ACPI_POINTERS_MAX];
	unsigned	 at_npointers;
	struct {
		uint32_t start, len;	/* of a table in at_data */
	}		 at_sum[ACPI_SUMS_MAX];
	unsigned	 at_nsums;
};

/* The byte that makes the sum of all 0; of MP tables, too. */
uint8_t		 acpi_checksum(const void *, size_t);
void		 acpi_build(struct acpi_tables *, const struct acpi_config *);

/* Writes the tables into guest memory; returns the RSDP's address, 0 if there
 * is no memory at that place. */
uint64_t	 acpi_write(const struct acpi_config *,
		    const struct guest_memory *);

/* --- for firmware (acpi_loader.c) ----------------------------------------- */

#define ACPI_FILE_RSDP	"etc/acpi/rsdp"
#define ACPI_FILE_TABLES "etc/acpi/tables"
#define ACPI_FILE_LOADER "etc/table-loader"
#define ACPI_LOADER_MAX	32		/* steps */
#define ACPI_LOADER_STEP 128		/* bytes */

/* What firmware has to do to place the tables, which it finds as the first two
 * files; returns the bytes written, at most STEP * MAX. */
size_t		 acpi_loader(const struct acpi_tables *, uint8_t *script);

#endif
