/*
 * The firmware configuration device: what firmware, kernels' test suites and
 * unikernels ask of the machine before they can find out for themselves.
 */
#ifndef MACHINE_FW_CFG_H
#define MACHINE_FW_CFG_H

#include "machine/device.h"

#define FW_CFG_SELECTOR	0x510		/* u16, write */
#define FW_CFG_DATA	0x511		/* u8, read */
#define FW_CFG_DMA	0x514		/* u64, big-endian */
#define FW_CFG_FILES_MAX 16
#define FW_CFG_NAME_MAX	56		/* with its NUL */

struct fw_cfg;

/* memory in bytes. NULL and errno. */
struct fw_cfg	*fw_cfg_new(struct bus *ports, const struct guest_memory *,
		    uint64_t memory, unsigned ncpus);
void		 fw_cfg_free(struct fw_cfg *);
void		 fw_cfg_reset(struct fw_cfg *);
void		 fw_cfg_state(struct fw_cfg *, struct state *);
/* Adds a file of the directory, its content copied; before VCPUs run. 0, or an
 * errno: ENOSPC, ENOMEM. */
int		 fw_cfg_add(struct fw_cfg *, const char *name, const void *,
		    size_t);

#endif
