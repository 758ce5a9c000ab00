/*
 * ACPI machine language; see aml.h. A term with a length is written without it
 * first, and the length is put in when its end is known.
 */
#include "machine/aml.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

/* ACPI 6.4, 20.2 */
#define AML_ZERO	0x00
#define AML_ONE		0x01
#define AML_NAME	0x08
#define AML_BYTE	0x0a
#define AML_WORD	0x0b
#define AML_DWORD	0x0c
#define AML_STRING	0x0d
#define AML_QWORD	0x0e
#define AML_SCOPE	0x10
#define AML_BUFFER	0x11
#define AML_PACKAGE	0x12
#define AML_DUAL_NAME	0x2e
#define AML_EXT		0x5b
#define AML_EXT_DEVICE	0x82

/* Resource descriptors, 6.4 */
#define RES_IRQ		0x22		/* small, 2 bytes: no flags */
#define RES_IO		0x47		/* small, 7 bytes */
#define RES_END		0x79
#define RES_MEMORY32	0x86
#define RES_DWORD	0x87
#define RES_WORD	0x88
#define RES_TYPE_MEMORY	0
#define RES_TYPE_IO	1
#define RES_TYPE_BUS	2
#define RES_PRODUCER	0x0c		/* min and max fixed, produced */
#define RES_IO_ENTIRE	0x03		/* both ISA and non-ISA */
#define RES_MEMORY_RW	0x01

void
aml_bytes(struct aml *a, const void *data, size_t len)
{
	assert(len <= a->a_size - a->a_len);
	memcpy(a->a_data + a->a_len, data, len);
	a->a_len += len;
}

void
aml_byte(struct aml *a, uint8_t v)
{
	aml_bytes(a, &v, 1);
}

static void
aml_little(struct aml *a, uint64_t v, unsigned size)
{
	for (; size > 0; size--, v >>= 8)
		aml_byte(a, (uint8_t)v);
}

void
aml_integer(struct aml *a, uint64_t v)
{
	if (v <= 1)
		aml_byte(a, v == 0 ? AML_ZERO : AML_ONE);
	else if (v <= UINT8_MAX) {
		aml_byte(a, AML_BYTE);
		aml_little(a, v, 1);
	} else if (v <= UINT16_MAX) {
		aml_byte(a, AML_WORD);
		aml_little(a, v, 2);
	} else if (v <= UINT32_MAX) {
		aml_byte(a, AML_DWORD);
		aml_little(a, v, 4);
	} else {
		aml_byte(a, AML_QWORD);
		aml_little(a, v, 8);
	}
}

void
aml_string(struct aml *a, const char *s)
{
	aml_byte(a, AML_STRING);
	aml_bytes(a, s, strlen(s) + 1);
}

static unsigned
hex(char c)
{
	return (c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'A') + 10);
}

void
aml_eisaid(struct aml *a, const char *id)
{
	uint32_t v;

	/* three 5-bit letters and four digits, big-endian */
	assert(strlen(id) == 7);
	v = (uint32_t)(id[0] - '@') << 26 | (uint32_t)(id[1] - '@') << 21 |
	    (uint32_t)(id[2] - '@') << 16 | hex(id[3]) << 12 |
	    hex(id[4]) << 8 | hex(id[5]) << 4 | hex(id[6]);
	aml_byte(a, AML_DWORD);
	aml_little(a, __builtin_bswap32(v), 4);
}

static void
aml_segment(struct aml *a, const char *s, size_t len)
{
	assert(len >= 1 && len <= 4);
	aml_bytes(a, s, len);
	aml_bytes(a, "____", 4 - len);
}

void
aml_name(struct aml *a, const char *name)
{
	const char *dot;

	if (*name == '\\')
		aml_byte(a, (uint8_t)*name++);
	if ((dot = strchr(name, '.')) != NULL) {
		aml_byte(a, AML_DUAL_NAME);
		aml_segment(a, name, (size_t)(dot - name));
		name = dot + 1;
	}
	aml_segment(a, name, strlen(name));
}

void
aml_name_object(struct aml *a, const char *name)
{
	aml_byte(a, AML_NAME);
	aml_name(a, name);
}

/* --- lengths ------------------------------------------------------------- */

size_t
aml_begin_scope(struct aml *a, const char *name)
{
	size_t mark;

	aml_byte(a, AML_SCOPE);
	mark = a->a_len;
	aml_name(a, name);
	return (mark);
}

size_t
aml_begin_device(struct aml *a, const char *name)
{
	size_t mark;

	aml_byte(a, AML_EXT);
	aml_byte(a, AML_EXT_DEVICE);
	mark = a->a_len;
	aml_name(a, name);
	return (mark);
}

size_t
aml_begin_package(struct aml *a, uint8_t elements)
{
	size_t mark;

	aml_byte(a, AML_PACKAGE);
	mark = a->a_len;
	aml_byte(a, elements);
	return (mark);
}

/* Puts bytes in at mark. */
static void
aml_insert(struct aml *a, size_t mark, const uint8_t *data, size_t len)
{
	assert(len <= a->a_size - a->a_len);
	memmove(a->a_data + mark + len, a->a_data + mark, a->a_len - mark);
	memcpy(a->a_data + mark, data, len);
	a->a_len += len;
}

void
aml_end(struct aml *a, size_t mark)
{
	size_t len = a->a_len - mark;
	uint8_t b[4];
	unsigned n, i;

	/* PkgLength (20.2.4) counts itself: 6 bits in one byte, else 4 bits
	 * and 8 in each of up to three more */
	for (n = 1; n < 4; n++)
		if (len + n < (n == 1 ? 1u << 6 : 1u << (4 + 8 * (n - 1))))
			break;
	len += n;
	assert(len < 1u << 28);
	if (n == 1)
		b[0] = (uint8_t)len;
	else {
		b[0] = (uint8_t)((n - 1) << 6 | (len & 15));
		for (i = 1; i < n; i++)
			b[i] = (uint8_t)(len >> (4 + 8 * (i - 1)));
	}
	aml_insert(a, mark, b, n);
}

/* --- resources ----------------------------------------------------------- */

size_t
aml_begin_resources(struct aml *a)
{
	aml_byte(a, AML_BUFFER);
	return (a->a_len);
}

void
aml_end_resources(struct aml *a, size_t mark)
{
	uint8_t size[3] = { AML_WORD };
	size_t len;

	aml_byte(a, RES_END);
	aml_byte(a, 0);			/* checksum: none */
	len = a->a_len - mark;
	size[1] = (uint8_t)len;
	size[2] = (uint8_t)(len >> 8);
	aml_insert(a, mark, size, sizeof(size));
	aml_end(a, mark);
}

void
aml_io(struct aml *a, uint16_t base, uint8_t len)
{
	aml_byte(a, RES_IO);
	aml_byte(a, 1);			/* decodes 16 bits */
	aml_little(a, base, 2);
	aml_little(a, base, 2);
	aml_byte(a, 1);
	aml_byte(a, len);
}

void
aml_irq(struct aml *a, unsigned line)
{
	aml_byte(a, RES_IRQ);
	aml_little(a, 1u << line, 2);
}

/* An address space descriptor with 16- or 32-bit fields. */
static void
aml_range(struct aml *a, bool wide, uint8_t type, uint8_t flags,
    uint32_t first, uint32_t last)
{
	unsigned size = wide ? 4 : 2;

	aml_byte(a, wide ? RES_DWORD : RES_WORD);
	aml_little(a, 3 + 5 * size, 2);
	aml_byte(a, type);
	aml_byte(a, RES_PRODUCER);
	aml_byte(a, flags);
	aml_little(a, 0, size);		/* granularity */
	aml_little(a, first, size);
	aml_little(a, last, size);
	aml_little(a, 0, size);		/* translation */
	aml_little(a, (uint64_t)last - first + 1, size);
}

void
aml_bus_range(struct aml *a, uint16_t first, uint16_t last)
{
	aml_range(a, false, RES_TYPE_BUS, 0, first, last);
}

void
aml_io_range(struct aml *a, uint16_t first, uint16_t last)
{
	aml_range(a, false, RES_TYPE_IO, RES_IO_ENTIRE, first, last);
}

void
aml_memory_range(struct aml *a, uint32_t first, uint32_t last)
{
	aml_range(a, true, RES_TYPE_MEMORY, RES_MEMORY_RW, first, last);
}

void
aml_memory_fixed(struct aml *a, uint32_t base, uint32_t len)
{
	aml_byte(a, RES_MEMORY32);
	aml_little(a, 9, 2);
	aml_byte(a, RES_MEMORY_RW);
	aml_little(a, base, 4);
	aml_little(a, len, 4);
}
