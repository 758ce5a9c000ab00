/*
 * Random instructions, each with what puts the addresses of its operands into
 * registers: near the ends of pages of all kinds (side.h).
 */
#ifndef JIT_ITEMS_H
#define JIT_ITEMS_H

#include <stdbool.h>
#include <stdint.h>

#include "../insn/gen.h"

struct item {
	uint8_t		it_setup[4 * 10 + 16];
	unsigned	it_setup_len;
	struct oracle_insn it_insn;
	bool		it_rip;		/* its memory operand is RIP-relative */
	unsigned	it_disp;	/* where that displacement is */
	bool		it_relative;	/* branch with a displacement */
	unsigned	it_rel_size;
	bool		it_undefined;	/* leaves flags undefined: nothing that
					   follows it reads them */
};
#define ITEM_MAX	80		/* bytes of one */

/* With devices, their registers are among the addresses. */
void	items_setup(struct rng *, bool devices);
/* Makes one; false: try again. */
bool	item_make(struct rng *, bool compat, struct item *);
/* Its bytes, to be executed at addr; how many. */
unsigned item_put(const struct item *, uint8_t *code, uint32_t addr);

#endif
