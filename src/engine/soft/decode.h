/*
 * The instruction decoder (SDM vol. 2A chapter 2, vol. 2D appendix A).
 *
 * A pure function of code bytes and mode; any thread.
 */
#ifndef SOFT_DECODE_H
#define SOFT_DECODE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/soft/insn.h"

struct engine_host;

/* All that decoding depends on besides the bytes. Part of a block's key. */
struct decode_mode {
	uint64_t	dm_features;	/* bit n: FEAT_n (opcode.h) is offered */
	uint8_t		dm_bits;	/* of the code segment: 16, 32 or 64 */
	bool		dm_real;	/* real-address or virtual-8086 mode */
	bool		dm_intel;	/* 64-bit code: 66 does nothing to near
					   branches (AMD: 16 bits), REX.W makes
					   far pointers 64 bits (AMD: not) */
};

enum decode_result {
	DECODE_OK,	/* *insn is filled in; i_len bytes were used */
	DECODE_MORE,	/* avail is too short; never with avail >= 15 */
	DECODE_UD,	/* #UD */
	DECODE_GP	/* longer than 15 bytes: #GP(0) */
};

enum decode_result insn_decode(const uint8_t *code, unsigned avail,
	    const struct decode_mode *, struct insn *);

/* dm_features and dm_intel by the CPUID that the guest sees. */
void	decode_mode_init(struct decode_mode *, const struct engine_host *,
	    void *hostarg);
/* "add", "movaps", ... for diagnostics. */
const char *insn_name(const struct insn *);

#endif
