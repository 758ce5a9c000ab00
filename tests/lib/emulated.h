/*
 * The CPU below the tests may be emulated itself, by QEMU's TCG (the test bed,
 * tools/testbed). KVM's guests then run on that CPU, and its faults are theirs:
 *
 * - With SVM's way to give TR to a guest, busy, the I/O bitmap of the TSS is
 *   not used: IN and OUT with CPL above IOPL raise #GP. The tests' guests have
 *   one that is not busy.
 * - A fault leaves RF clear in the flags that it pushes.
 * - It does not keep the pointers of x87.
 * - It raises #UD for some instructions that it says it has. The interpreter
 *   executes those of SSE and AVX as they are, by this same CPU and without
 *   KVM, so that it shows which they are.
 */
#ifndef EMULATED_H
#define EMULATED_H

#include <stdbool.h>

#include "engine/engine.h"

/* Is it? */
bool	emulated_cpu(void);
/* eo_run(), its result in *error. False if this CPU, an emulated one, raised
 * #UD for what the engine executed: what the instruction was is said. */
bool	emulated_run(const struct engine_ops *, struct engine_vcpu *,
	    struct engine_run *, int *error);

#endif
