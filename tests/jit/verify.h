/*
 * The verifier of translated code (verify.c).
 */
#ifndef JIT_VERIFY_H
#define JIT_VERIFY_H

#include "engine/soft/jit/jit.h"

/* Ends the program with this status if t holds what it should not. */
#define VERIFY_BAD	70
void	verify(struct jit *, const struct tblock *t, bool trace);

#endif
