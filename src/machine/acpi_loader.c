/*
 * The script by which firmware places the ACPI tables: QEMU's table loader, of
 * steps that allocate memory for a file, add a file's address to a pointer in
 * another, and make a checksum. Integers are little-endian.
 *
 * Threads: one, while no VCPU runs.
 */
#include <assert.h>
#include <string.h>

#include "machine/acpi.h"

#define NAME_MAX_LEN	56		/* with its NUL */

enum { ALLOCATE = 1, ADD_POINTER = 2, ADD_CHECKSUM = 3 };
enum { ZONE_HIGH = 1, ZONE_FSEG = 2 };

#define RSDP_CHECKSUM	8		/* ACPI 6.4, 5.2.5.3 */
#define RSDP_RSDT	16
#define RSDP_XSDT	24
#define RSDP_CHECKSUM_ALL 32

struct step {
	uint32_t	command;
	__extension__ union {
		struct {
			char		file[NAME_MAX_LEN];
			uint32_t	align;
			uint8_t		zone;
		} __attribute__((packed)) allocate;
		struct {
			char		file[NAME_MAX_LEN];
			char		target[NAME_MAX_LEN];
			uint32_t	offset;
			uint8_t		size;
		} __attribute__((packed)) pointer;
		struct {
			char		file[NAME_MAX_LEN];
			uint32_t	offset, start, len;
		} __attribute__((packed)) checksum;
		uint8_t		rest[ACPI_LOADER_STEP - 4];
	};
} __attribute__((packed));

_Static_assert(sizeof(struct step) == ACPI_LOADER_STEP, "the format's");
_Static_assert(2 + ACPI_POINTERS_MAX + ACPI_SUMS_MAX + 4 <=
    ACPI_LOADER_MAX, "room for every step");

struct script {
	uint8_t	*s_data;
	size_t	 s_len;
};

static void
script_add(struct script *s, const struct step *step)
{
	assert(s->s_len + sizeof(*step) <=
	    (size_t)ACPI_LOADER_MAX * ACPI_LOADER_STEP);
	memcpy(s->s_data + s->s_len, step, sizeof(*step));
	s->s_len += sizeof(*step);
}

static void
add_allocate(struct script *s, const char *file, uint32_t align, uint8_t zone)
{
	struct step step = { .command = ALLOCATE };

	memcpy(step.allocate.file, file, strlen(file));
	step.allocate.align = align;
	step.allocate.zone = zone;
	script_add(s, &step);
}

/* All pointers lead to the tables. */
static void
add_pointer(struct script *s, const char *file, uint32_t offset, uint8_t size)
{
	struct step step = { .command = ADD_POINTER };

	memcpy(step.pointer.file, file, strlen(file));
	memcpy(step.pointer.target, ACPI_FILE_TABLES,
	    sizeof(ACPI_FILE_TABLES));
	step.pointer.offset = offset;
	step.pointer.size = size;
	script_add(s, &step);
}

static void
add_checksum(struct script *s, const char *file, uint32_t offset,
    uint32_t start, uint32_t len)
{
	struct step step = { .command = ADD_CHECKSUM };

	memcpy(step.checksum.file, file, strlen(file));
	step.checksum.offset = offset;
	step.checksum.start = start;
	step.checksum.len = len;
	script_add(s, &step);
}

size_t
acpi_loader(const struct acpi_tables *at, uint8_t *script)
{
	struct script s = { .s_data = script };
	unsigned i;

	add_allocate(&s, ACPI_FILE_TABLES, 64, ZONE_HIGH);
	add_allocate(&s, ACPI_FILE_RSDP, 16, ZONE_FSEG);
	for (i = 0; i < at->at_npointers; i++)
		add_pointer(&s, ACPI_FILE_TABLES, at->at_pointer[i].offset,
		    at->at_pointer[i].size);
	for (i = 0; i < at->at_nsums; i++)
		add_checksum(&s, ACPI_FILE_TABLES,
		    at->at_sum[i].start + ACPI_SUM_OFFSET, at->at_sum[i].start,
		    at->at_sum[i].len);
	add_pointer(&s, ACPI_FILE_RSDP, RSDP_RSDT, 4);
	add_pointer(&s, ACPI_FILE_RSDP, RSDP_XSDT, 8);
	add_checksum(&s, ACPI_FILE_RSDP, RSDP_CHECKSUM, 0, ACPI_RSDP_PART);
	add_checksum(&s, ACPI_FILE_RSDP, RSDP_CHECKSUM_ALL, 0, ACPI_RSDP_SIZE);
	return (s.s_len);
}
