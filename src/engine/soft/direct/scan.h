/*
 * Code that the bare CPU may execute for the guest (scan.c).
 */
#ifndef SOFT_DIRECT_SCAN_H
#define SOFT_DIRECT_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/soft/decode.h"

#define SCAN_BEFORE	256	/* bytes that are good to have before */
#define SCAN_BEHIND	2	/* and behind */

/*
 * Where in code[from .. to), of len bytes that are known, begin instructions
 * that neither do the same on the bare CPU at CPL 3 as in the guest, nor trap:
 * offsets from from, at most max of them; max + 1: there are more. xsave: the
 * XSAVE family does the same.
 */
unsigned scan_harmful(const uint8_t *code, size_t len, size_t from, size_t to,
	    bool xsave, const struct decode_mode *, uint16_t *where,
	    unsigned max);

#endif
