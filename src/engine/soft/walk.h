/*
 * The page walk: linear to physical address by the guest's tables.
 */
#ifndef SOFT_WALK_H
#define SOFT_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/soft/mmu.h"

/* Bits of the tables' entries (SDM vol. 3A, tables 4-14 to 4-20). */
#define PTE_P		0x001u
#define PTE_W		0x002u
#define PTE_U		0x004u
#define PTE_A		0x020u
#define PTE_D		0x040u
#define PTE_PS		0x080u
#define PTE_G		0x100u
#define PTE_NX		0x8000000000000000u

typedef uint64_t __attribute__((may_alias)) pte64;

struct walk {
	uint64_t	w_gpa;
	uint8_t		w_rights;	/* ENGINE_* that need no walk again */
	uint8_t		w_large;	/* 0: 4 KiB, 1: 2 or 4 MiB, 2: 1 GiB */
	bool		w_global;
};

/*
 * Walks for an access (one of ENGINE_READ, _WRITE, _EXEC) of a class, setting A
 * and D as the CPU does. Raises #PF.
 */
void	walk_page(struct cpu *, enum mmu_class, uint64_t linear, int access,
	    struct walk *);
/*
 * What CPL 3 may do at linear by 4-level tables without anything being set in
 * them; false: nothing. Has no effect.
 */
bool	walk_probe(struct cpu *, uint64_t linear, struct walk *);

#endif
