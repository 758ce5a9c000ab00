/*
 * A small builder of ACPI machine language (ACPI 6.4 ch. 20) and of resource
 * descriptors (ch. 6.4), into a buffer of the caller's.
 *
 * Running out of the buffer is a bug of the caller: assert.
 */
#ifndef MACHINE_AML_H
#define MACHINE_AML_H

#include <stddef.h>
#include <stdint.h>

struct aml {
	uint8_t	*a_data;
	size_t	 a_size;	/* of the buffer */
	size_t	 a_len;		/* used */
};

void	aml_bytes(struct aml *, const void *, size_t);
void	aml_byte(struct aml *, uint8_t);
void	aml_integer(struct aml *, uint64_t);
void	aml_string(struct aml *, const char *);
/* "PNP0501" as the compressed integer. */
void	aml_eisaid(struct aml *, const char *);
/* A name path: an optional leading '\', segments of up to 4 characters. */
void	aml_name(struct aml *, const char *);
/* Name(name, ...): the object follows. */
void	aml_name_object(struct aml *, const char *name);

/*
 * Terms with a length: begin returns a mark, end takes it; what is added in
 * between is inside.
 */
size_t	aml_begin_scope(struct aml *, const char *name);
size_t	aml_begin_device(struct aml *, const char *name);
size_t	aml_begin_package(struct aml *, uint8_t elements);
void	aml_end(struct aml *, size_t mark);

/* A resource template as a buffer. */
size_t	aml_begin_resources(struct aml *);
void	aml_end_resources(struct aml *, size_t mark);
void	aml_io(struct aml *, uint16_t base, uint8_t len);
void	aml_irq(struct aml *, unsigned line);
void	aml_bus_range(struct aml *, uint16_t first, uint16_t last);
void	aml_io_range(struct aml *, uint16_t first, uint16_t last);
void	aml_memory_range(struct aml *, uint32_t first, uint32_t last);
void	aml_memory_fixed(struct aml *, uint32_t base, uint32_t len);

#endif
