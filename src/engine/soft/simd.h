/*
 * What the files of vector and x87 instructions share.
 */
#ifndef SOFT_SIMD_H
#define SOFT_SIMD_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/soft/cpu.h"
#include "engine/soft/opcode.h"

/* The x87 part of the FXSAVE image (SDM vol. 1, table 10-2): offsets. */
enum {
	FX_FCW = 0, FX_FSW = 2, FX_FTW = 4, FX_FOP = 6, FX_FIP = 8,
	FX_FDP = 16, FX_MXCSR = 24, FX_MXCSR_MASK = 28, FX_ST = 32,
	FX_XMM = 160
};
#define FSW_ES	0x0080u		/* an unmasked exception is pending */

uint16_t	x87_fsw(const struct cpu *);

/* FOP, FIP and FDP, which a stub may lose: see x87.c. */
struct x87_pointers {
	uint8_t		xp_fop[2];
	uint8_t		xp_fip_fdp[16];
};
void	x87_pointers_get(const struct cpu *, struct x87_pointers *);
void	x87_pointers_put(struct cpu *, const struct x87_pointers *);

/* Everything that must hold before a legacy SSE, a VEX, or an MMX instruction
 * executes; else #UD, #NM, #MF. */
void	simd_check_sse(struct cpu *);
void	simd_check_avx(struct cpu *);
void	simd_check_mmx(struct cpu *);
void	mmx_enter(struct cpu *);
/* #NM by CR0.TS and CR0.EM. */
void	x87_check(struct cpu *);
/* #MF for a waiting instruction. */
void	x87_check_pending(struct cpu *);
/* Bytes of i's memory operand. */
unsigned simd_msize(const struct insn *);
/* Executes i by its stub, with its memory operand in place. */
void	simd_execute(struct cpu *, const struct insn *);
/* Its memory operand goes through buf, size bytes: see simd.c. */
void	simd_execute_buf(struct cpu *, const struct insn *, uint64_t linear,
	    unsigned size, int access);

/* xsave.c: the state after RESET; the standard XSAVE form for the monitor. */
void	fpu_reset(struct cpu *);
void	fpu_get_xstate(const struct cpu *, void *area);
/* 0 or EINVAL. */
int	fpu_set_xstate(struct cpu *, const void *area);

#endif
