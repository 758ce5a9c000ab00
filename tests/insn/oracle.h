/*
 * The host CPU as the oracle for instructions: one instruction and one state
 * before it, executed by the host (native.c) and by an engine (soft.c).
 *
 * Both sides see the same linear addresses: a code page with the instruction
 * at INSN_ADDR, and the window, two writable pages with a read-only one before
 * and nothing behind.
 */
#ifndef INSN_ORACLE_H
#define INSN_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WINDOW		0x10357000u	/* first writable page */
#define WINDOW_SIZE	0x2000u
#define READONLY	(WINDOW - 0x1000u)
#define CODE		0x20635000u
#define INSN_ADDR	(CODE + 0x800u)
/* Relative branches may lead here. */
#define TARGET_ADDR	(INSN_ADDR + 0x40u)
#define SCRATCH		0x31753000u	/* native.c's own */

/* Parts of the window that a state fills; the rest is the same for all. */
#define ACTIVE_A	(0x1000u - 128u)	/* around the page boundary */
#define ACTIVE_A_SIZE	256u
#define ACTIVE_B	(WINDOW_SIZE - 256u)	/* up to the end */
#define ACTIVE_B_SIZE	256u

#define XSTATE		832	/* standard XSAVE area */

#define VECTOR_NONE	0xff

struct oracle_state {
	_Alignas(64) uint8_t os_xstate[XSTATE];
	uint64_t	os_gpr[16];	/* as encoded in instructions */
	uint64_t	os_rflags;
	uint64_t	os_rip;		/* after */
	uint64_t	os_cr2;		/* after #PF */
	uint32_t	os_error;	/* after a fault */
	uint8_t		os_vector;	/* after: VECTOR_NONE, or the fault */
	uint8_t		os_a[ACTIVE_A_SIZE], os_b[ACTIVE_B_SIZE];
};

struct oracle_insn {
	uint8_t		oi_bytes[16];
	unsigned	oi_len;
	bool		oi_compat;	/* 32-bit code */
};

/*
 * A batch of states for one instruction, in memory that the native child
 * shares.
 */
#define BATCH		125
struct oracle_batch {
	struct oracle_insn b_insn;
	unsigned	b_count;
	struct oracle_state b_in[BATCH];	/* before */
	struct oracle_state b_out[BATCH];	/* after, on the host */
	uint8_t		b_window[WINDOW_SIZE];	/* as it is at the end */
};

/* The one batch there is. */
struct oracle_batch *native_batch(void);
/*
 * Hands the batch to the child, which runs it meanwhile; native_end() waits
 * for its end. Returns NULL, or why it could not (the child was killed: text
 * in a static buffer; the next batch gets another child).
 */
void	native_begin(void);
const char *native_end(void);
/* Ends the child. */
void	native_stop(void);
/* Maps what these need; false: this host cannot. */
bool	native_setup(const char **why);

/* RFLAGS that are compared. */
#define FLAGS_COMPARED	(FL_ARITH | FL_DF)
/* Is all of two states after it equal that is compared? */
bool	oracle_same(const struct oracle_state *, const struct oracle_state *);

/* The same by engines, each with its guest; words as engine_options.h has
 * them. ORACLE_LACKS: the host's CPU is emulated and lacks the instruction. */
#define ORACLE_GUESTS	2
#define ORACLE_LACKS	"this CPU lacks it"
bool	guest_setup(unsigned which, const char *words, const char **why);
const char *guest_run(unsigned which, const struct oracle_batch *,
	    struct oracle_state *out, uint8_t *window);

#endif
