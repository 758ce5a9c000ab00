/*
 * Which half of the engine tests run on that do not say so themselves.
 */
#ifndef ENGINE_OPTIONS_H
#define ENGINE_OPTIONS_H

/* VMM_TEST_ENGINE: options of the soft engine ("jit,hot=1"); "interp"
 * without it. */
const char *engine_options(void);

#endif
