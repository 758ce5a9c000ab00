/*
 * The firmware configuration device: what firmware, kernels' test suites and
 * unikernels ask of the machine before they can find out for themselves.
 */
#ifndef MACHINE_FW_CFG_H
#define MACHINE_FW_CFG_H

#include "machine/device.h"

#define FW_CFG_SELECTOR	0x510		/* u16, write */
#define FW_CFG_DATA	0x511		/* u8, read */

struct fw_cfg;

/* memory in bytes. NULL and errno. */
struct fw_cfg	*fw_cfg_new(struct bus *ports, uint64_t memory,
		    unsigned ncpus);
void		 fw_cfg_free(struct fw_cfg *);
void		 fw_cfg_reset(struct fw_cfg *);

#endif
