/*
 * Segments: descriptors and the loading of segment registers (segment.c).
 */
#ifndef SOFT_SEGMENT_H
#define SOFT_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/soft/cpu.h"

/* The values that 2, 4 or 8 bytes can have. */
static inline uint64_t
size_mask(unsigned size)
{
	return (size == 8 ? UINT64_MAX : size == 4 ? UINT32_MAX : UINT16_MAX);
}

#define SEL_NULL(sel)	(((sel) & 0xfffc) == 0)
#define SEL_RPL(sel)	((sel) & 3u)
#define SEL_LDT		4u

/* System descriptor types (SDM vol. 3A table 3-2) */
enum {
	TYPE_TSS16 = 1, TYPE_LDT = 2, TYPE_TSS16_BUSY = 3, TYPE_CALL16 = 4,
	TYPE_TASK = 5, TYPE_INT16 = 6, TYPE_TRAP16 = 7, TYPE_TSS = 9,
	TYPE_TSS_BUSY = 11, TYPE_CALL = 12, TYPE_INT = 14, TYPE_TRAP = 15
};
#define TYPE_BUSY	2

/* A descriptor as it is in its table. */
struct descriptor {
	uint64_t	d_linear;	/* where it is */
	uint64_t	d_raw;		/* its 8 bytes */
	uint64_t	d_high;		/* the second 8 of 16 (desc_read16) */
	uint16_t	d_sel;
};

static inline uint32_t
desc_ar(const struct descriptor *d)
{
	return ((uint32_t)(d->d_raw >> 40) & 0xf0ff);
}

static inline uint32_t
desc_base(const struct descriptor *d)
{
	return ((uint32_t)(d->d_raw >> 16 & 0xffffff) |
	    (uint32_t)(d->d_raw >> 56) << 24);
}

static inline uint32_t
desc_limit(const struct descriptor *d)
{
	uint32_t limit = (uint32_t)(d->d_raw & 0xffff) |
	    (uint32_t)(d->d_raw >> 32 & 0xf0000);

	return (desc_ar(d) & AR_G ? limit << 12 | 0xfff : limit);
}

/* Gates (SDM vol. 3A figures 5-8, 6-2) */
static inline uint16_t
gate_selector(const struct descriptor *d)
{
	return ((uint16_t)(d->d_raw >> 16));
}

static inline uint32_t
gate_offset(const struct descriptor *d)
{
	return ((uint32_t)(d->d_raw & 0xffff) |
	    (uint32_t)(d->d_raw >> 32 & 0xffff0000));
}

/*
 * Reads the descriptor of a selector from the GDT or LDT. False: it is beyond
 * the table's limit, or there is no LDT. May raise #PF.
 */
bool	desc_fetch(struct cpu *, uint16_t sel, struct descriptor *);
/* The same; raises vector(selector | ext) instead of returning false. */
void	desc_read(struct cpu *, uint16_t sel, struct descriptor *, int vector,
	    uint32_t ext);
/* The upper half of a 16-byte system descriptor. */
void	desc_read_high(struct cpu *, struct descriptor *, int vector,
	    uint32_t ext);
/* Sets the accessed bit if it is clear, in memory and in d. */
void	desc_accessed(struct cpu *, struct descriptor *);

/* Raises vector with a selector as its error code. */
_Noreturn void	seg_fault(struct cpu *, int vector, uint16_t sel,
		    uint32_t ext);

/* Loads ES, DS, FS, GS or SS as MOV does, with all checks of the mode. */
void	seg_load(struct cpu *, unsigned seg, uint16_t sel);
/* As seg_load, but the register is only computed: for instructions that load
 * several, or have accesses left to make. */
void	seg_check(struct cpu *, unsigned seg, uint16_t sel, struct segment *);
/* SS for a new privilege level cpl (far.c, exception.c): raises vector. */
void	seg_check_stack(struct cpu *, uint16_t sel, unsigned cpl, int vector,
	    uint32_t ext, struct segment *);
/* The segment that a checked descriptor describes, with selector sel. */
void	seg_from_desc(struct segment *, uint16_t sel,
	    const struct descriptor *);
/* A null selector: unusable. Keeps what the CPU keeps of the rest. */
void	seg_set_null(struct segment *, uint16_t sel);
/* SS as long mode makes it of a null selector at CPL cpl. */
void	seg_set_null_stack(struct segment *, uint16_t sel, unsigned cpl);
/* Real mode: base is sel * 16, the rest stays. Virtual-8086: all is fixed. */
void	seg_set_real(struct segment *, uint16_t sel);
void	seg_set_v8086(struct segment *, uint16_t sel);
/* Recomputes s_flat; after s_base, s_limit or s_ar changed. */
void	seg_derive(const struct cpu *, struct segment *);
/* A return to an outer level: data segments that it may not use become null
 * (SDM vol. 2A, RET). */
void	seg_drop_inner(struct cpu *);

#endif
