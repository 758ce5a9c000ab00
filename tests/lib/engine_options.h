/*
 * Which engine the engine tests run on, and with which options.
 */
#ifndef ENGINE_OPTIONS_H
#define ENGINE_OPTIONS_H

#include "engine/engine.h"

/* The engine whose name words begin with ("kvm"), *options being the rest;
 * or the soft engine, words being its options ("interp", "jit,hot=1"). */
const struct engine_ops *engine_named(const char *words, const char **options);

/* VMM_TEST_ENGINE, such words, or "interp" without it: for tests that do not
 * say so themselves. */
const struct engine_ops *engine_tested(void);
const char *engine_options(void);

#endif
