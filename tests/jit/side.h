/*
 * One guest on two engines: the interpreter and the translator execute the
 * same code from the same state and must leave the same state behind.
 *
 * A side is a VM with one VCPU and one of the two. Both have the same memory:
 * the linear addresses of tests/insn/oracle.h and those below.
 */
#ifndef JIT_SIDE_H
#define JIT_SIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../insn/oracle.h"
#include "engine/engine.h"

/*
 * User pages, read and write, from READONLY on (which is read-only):
 * READONLY, WINDOW, WINDOW + 0x1000, nothing, BEFORE_SUPER, a supervisor's,
 * nothing, BEFORE_MMIO, a device's, nothing.
 */
#define BEFORE_SUPER	(WINDOW + 0x3000u)
#define SUPER		(WINDOW + 0x4000u)
#define BEFORE_MMIO	(WINDOW + 0x6000u)
#define MMIO		(WINDOW + 0x7000u)
#define MMIO_GPA	0xfe000000u
#define CODE_PAGES	4u
#define ALIAS		0x20a41000u	/* the code pages again, not executable */
#define COUNTER		(BEFORE_MMIO + 0x10u)	/* free for the code's own use */

/* Guest-physical */
#define RAM_SIZE	0x40000u
#define DATA_GPA	0x10000u	/* from READONLY's on */
#define DATA_SIZE	0x6000u
#define CODE_GPA	0x20000u
#define FREE_GPA	0x2c000u	/* for a test's own pages */
#define PML4_GPA	0x1000u
#define KERNEL		0xffff800000000000u	/* all of RAM, supervisor */
/* Interrupts and faults from CPL 3 come here on the stack that ends there. */
#define HANDLERS_GPA	0xb000u		/* 16 bytes a vector */
#define STACK_GPA	0xe000u		/* top */
#define KERNEL_GPA	0x28000u	/* 4 pages of supervisor code */

#define PTE_P		1ull
#define PTE_W		2ull
#define PTE_U		4ull
#define PTE_A		0x20ull
#define PTE_D		0x40ull
#define PTE_G		0x100ull
#define PTE_NX		(1ull << 63)

#define SEL_KCODE	0x08
#define SEL_KDATA	0x10
#define SEL_UCODE32	0x23
#define SEL_UDATA	0x2b
#define SEL_UCODE64	0x33
#define SEL_TSS		0x40

#define PORT_VECTOR	0x40		/* + vector: a fault, by its handler */
#define PORT_DONE	0xe0
#define PORT_TARGET	0xe1

/* os_vector, beside vectors */
#define VECTOR_EXIT	0xfe		/* another exit; os_error says which */
#define VECTOR_STUCK	0xfd		/* no end in sight */
#define VECTOR_LACKS	0xfc		/* the CPU below lacks an instruction */

enum side_mode { SIDE_USER64, SIDE_USER32, SIDE_KERNEL64 };

struct side {
	const char	*sd_name;
	const struct engine_ops *sd_ops;
	bool		 sd_exact;	/* flags are right at every fault */
	uint8_t		*sd_ram;
	struct engine_vm *sd_vm;
	struct engine_vcpu *sd_vcpu;
	uint32_t	 sd_table;	/* next free page table */
	uint64_t	 sd_devices;	/* hash of all device accesses */
	struct vcpu_reg_state sd_initial;
};

/* Options of the soft engine, or another engine's name. Aborts when it cannot
 * be made. */
void	side_new(struct side *, const char *options);
void	side_free(struct side *);
/* What the translator did. */
void	side_print_counts(const struct side *);
/* Memory as after side_new(), but for the data that the caller puts there. */
void	side_reset(struct side *);
void	side_map(struct side *, uint64_t linear, uint64_t gpa, uint64_t flags);
/* Guest-physical address of the entry that maps a linear address. */
uint32_t side_pte(const struct side *, uint64_t linear);
void	side_put(struct side *, uint32_t gpa, const void *, size_t);
/* Sets all registers; RIP and RSP are in's. */
void	side_load(struct side *, const struct oracle_state *in, enum side_mode);
/* Runs to the end and takes all registers. */
void	side_run(struct side *, struct oracle_state *out);
/* Just runs, and says by which port it ended; VECTOR_* above 0xff. */
unsigned side_go(struct side *);
/* From now on sd is kicked now and then, and found stuck after some CPU time;
 * side_go() does this itself. */
void	side_watch(struct side *);
bool	side_stuck(void);
/* Does what an IN or an MMIO exit wants. */
void	side_answer(struct side *, struct engine_run *);
void	side_take(struct side *, unsigned port, struct oracle_state *out);

/*
 * Compares what two runs left; says what differs if print is set. The x87
 * pointers are those of the last x87 instruction only while an exception is
 * pending: else they are not compared.
 */
bool	side_same(const struct oracle_state *in, const struct oracle_state *a,
	    const struct oracle_state *b, bool print);
/* The same without the arithmetic flags at a fault, or a triple one, if not
 * exact. */
bool	side_same_flags(const struct oracle_state *in,
	    const struct oracle_state *a, const struct oracle_state *b,
	    bool exact, bool print);
/* The same of all memory, or of the data pages. */
bool	side_same_memory(const struct side *, const struct side *, bool all,
	    bool print);

/* Intel syntax of what is at code, line by line, with "#". */
void	side_disassemble(const uint8_t *code, size_t len, uint64_t addr,
	    bool compat);

/* What tests of the translator run with; the first is as users have it. */
extern const char *const side_options[];

#endif
