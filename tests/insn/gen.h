/*
 * Encodings from the opcode tables, and states to run them in.
 */
#ifndef INSN_GEN_H
#define INSN_GEN_H

#include "oracle.h"
#include "engine/soft/insn.h"

/* What is tested: a row in one of its shapes. Registers, addressing and
 * immediates are drawn anew for each batch of states. */
struct shape {
	const struct opcode *sh_op;
	uint8_t		sh_map, sh_opcode;
	uint8_t		sh_vex;		/* L << 1 | 1, or 0 */
	uint8_t		sh_pfx;		/* PFX_* */
	bool		sh_66;		/* beside F2 or F3 */
	bool		sh_w, sh_lock, sh_67, sh_compat;
	bool		sh_mem;
	uint8_t		sh_osize;
};

struct rng {
	uint64_t	r_state;
};
uint64_t rng_next(struct rng *);
/* Below n. */
unsigned rng_below(struct rng *, unsigned n);

/* All shapes of 64-bit code, and those of 32-bit code that differ. */
struct shape *gen_shapes(unsigned *count);
/* An encoding of it; false: none was found. */
bool	gen_insn(struct rng *, const struct shape *, struct oracle_insn *,
	    struct insn *);
/* Prepares for gen_state(). */
void	gen_pool(struct rng *);
void	gen_state(struct rng *, const struct oracle_insn *,
	    const struct insn *, struct oracle_state *);
/* Shapes are for comparing engine with engine, not with the host: all but what
 * differs from one time to the next. Before gen_shapes(). */
void	gen_repeatable(void);
/* Why this instruction is not compared, or NULL. */
const char *gen_excluded(const struct insn *);
/* Does an emulated CPU (tests/lib/emulated.h) do it wrong in a way that depends
 * on the host's own state? */
bool	gen_misemulated(const struct insn *, const struct oracle_insn *);

/* What the engines' guests decode by. */
const struct decode_mode *soft_decode_mode(bool compat);

#endif
