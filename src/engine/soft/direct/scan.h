/*
 * Code that the bare CPU may execute for the guest (scan.c).
 */
#ifndef SOFT_DIRECT_SCAN_H
#define SOFT_DIRECT_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/soft/decode.h"

/*
 * Does every instruction in these bytes the same on the bare CPU at CPL 3 as in
 * the guest, or trap? xsave: the XSAVE family does. Also false if that depends
 * on bytes behind.
 */
bool	scan_harmless(const uint8_t *, size_t len, bool xsave,
	    const struct decode_mode *);

#endif
