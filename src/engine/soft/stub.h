/*
 * Stubs: host code that executes one vector or x87 instruction of the guest by
 * the same instruction of the host.
 *
 * A stub loads the registers that the instruction names from struct cpu,
 * executes it with the memory operand, if any, rewritten to [rsi], and stores
 * the registers that it may have written. It is made once for an encoding and
 * found again by insn.i_stub, or by a hash of the encoding.
 *
 * 1. A stub changes no architectural state before its instruction has
 *    completed; a host fault inside it leaves the guest's state as it was.
 * 2. MXCSR and the x87 control word of the host are back when it returns. After
 *    a fault inside it stub_restore_host() does that.
 * 3. Code memory is never writable and executable at one address: a memfd is
 *    mapped twice.
 * 4. When it is full all stubs go. i_stub then holds a stale generation.
 */
#ifndef SOFT_STUB_H
#define SOFT_STUB_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/soft/cpu.h"

typedef void stub_fn(struct cpu *, void *mem);

#define STUB_CODE_SHIFT	20
#define STUB_CODE_SIZE	(1u << STUB_CODE_SHIFT)

/* One a VCPU; belongs to its thread. */
struct stub_cache {
	uint8_t		*sc_exec;	/* [I] STUB_CODE_SIZE bytes */
	uint8_t		*sc_write;	/* [I] the same memory */
	uint32_t	 sc_used;
	uint32_t	 sc_count;	/* of slots in use */
	uint64_t	 sc_generation;	/* from 1 */
	struct stub_slot *sc_slots;
};

/* 0 or an errno value. */
int	stub_cache_new(struct stub_cache **);
void	stub_cache_free(struct stub_cache *);	/* NULL is allowed */
/* A host instruction pointer inside c's stubs. Safe in a signal handler. */
bool	stub_contains(const struct cpu *c, uintptr_t rip);

stub_fn *stub_make(struct cpu *, const struct insn *);

/* The stub for i, made if it is not there. */
static inline stub_fn *
stub_get(struct cpu *c, const struct insn *i)
{
	const struct stub_cache *sc = c->c_stubs;
	uintptr_t v = (uintptr_t)i->i_stub;

	if (__builtin_expect(v >> STUB_CODE_SHIFT == sc->sc_generation, 1))
		return ((stub_fn *)(uintptr_t)(sc->sc_exec +
		    (v & (STUB_CODE_SIZE - 1))));
	return (stub_make(c, i));
}

/*
 * Runs i's stub. When its instruction raises a SIMD floating-point exception
 * that the guest has unmasked, the guest gets it (#XM, or #UD without
 * CR4.OSXMMEXCPT) and this does not return.
 */
void	stub_run_guarded(struct cpu *, stub_fn *, void *mem);
void	stub_restore_host(struct cpu *);

#define MXCSR_MASKS	0x1f80u
#define MXCSR_DEFAULT	0x1f80u
#define MXCSR_VALID	0xffffu

#endif
