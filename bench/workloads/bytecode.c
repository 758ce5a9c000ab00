/*
 * An interpreter of bytecode, a switch in a loop: it counts primes by a sieve
 * and sums Collatz sequences. Three-address code on 16 registers.
 */
#include <string.h>

#include "work.h"

enum op {
	OP_LOAD,	/* r[a] = imm */
	OP_MOVE,	/* r[a] = r[b] */
	OP_ADD,		/* r[a] = r[b] + r[c] */
	OP_ADDI,	/* r[a] = r[b] + imm */
	OP_MUL,		/* r[a] = r[b] * r[c] */
	OP_SHR,		/* r[a] = r[b] >> 1 */
	OP_ANDI,	/* r[a] = r[b] & imm */
	OP_GET,		/* r[a] = memory[r[b]] */
	OP_PUT,		/* memory[r[b]] = r[a] */
	OP_JUMP,	/* to imm */
	OP_JLT,		/* to imm if r[a] < r[b] */
	OP_JNE,		/* to imm if r[a] != r[b] */
	OP_JZ,		/* to imm if r[a] == 0 */
	OP_END,		/* r[a] is the result */
};

struct code {
	uint8_t	op, a, b, c;
	int32_t	imm;
};

#define SIEVE	8192
#define COLLATZ	400

/* r0: 0, r1: i, r2: j, r3: limit, r4: result, r5: 1, r6: t, r7: 3 */
static const struct code program[] = {
	[0]  = { OP_LOAD, 0, 0, 0, 0 },
	[1]  = { OP_LOAD, 5, 0, 0, 1 },
	[2]  = { OP_LOAD, 7, 0, 0, 3 },
	[3]  = { OP_LOAD, 4, 0, 0, 0 },
	[4]  = { OP_LOAD, 3, 0, 0, SIEVE },
	[5]  = { OP_LOAD, 1, 0, 0, 0 },
	[6]  = { OP_PUT, 0, 1, 0, 0 },		/* clear */
	[7]  = { OP_ADDI, 1, 1, 0, 1 },
	[8]  = { OP_JLT, 1, 3, 0, 6 },
	[9]  = { OP_LOAD, 1, 0, 0, 2 },
	[10] = { OP_GET, 6, 1, 0, 0 },		/* the next prime */
	[11] = { OP_JNE, 6, 0, 0, 18 },
	[12] = { OP_ADDI, 4, 4, 0, 1 },
	[13] = { OP_MUL, 2, 1, 1, 0 },
	[14] = { OP_JLT, 2, 3, 0, 16 },
	[15] = { OP_JUMP, 0, 0, 0, 18 },
	[16] = { OP_PUT, 5, 2, 0, 0 },		/* its multiples */
	[17] = { OP_JUMP, 0, 0, 0, 21 },
	[18] = { OP_ADDI, 1, 1, 0, 1 },
	[19] = { OP_JLT, 1, 3, 0, 10 },
	[20] = { OP_JUMP, 0, 0, 0, 24 },
	[21] = { OP_ADD, 2, 2, 1, 0 },
	[22] = { OP_JLT, 2, 3, 0, 16 },
	[23] = { OP_JUMP, 0, 0, 0, 18 },
	[24] = { OP_LOAD, 3, 0, 0, COLLATZ },
	[25] = { OP_LOAD, 1, 0, 0, 1 },
	[26] = { OP_MOVE, 2, 1, 0, 0 },		/* a sequence */
	[27] = { OP_JUMP, 0, 0, 0, 34 },
	[28] = { OP_ADDI, 4, 4, 0, 1 },
	[29] = { OP_ANDI, 6, 2, 0, 1 },
	[30] = { OP_JZ, 6, 0, 0, 33 },
	[31] = { OP_MUL, 2, 2, 7, 0 },
	[32] = { OP_ADDI, 2, 2, 0, 1 },
	[33] = { OP_JUMP, 0, 0, 0, 38 },
	[34] = { OP_JNE, 2, 5, 0, 28 },
	[35] = { OP_ADDI, 1, 1, 0, 1 },
	[36] = { OP_JLT, 1, 3, 0, 26 },
	[37] = { OP_END, 4, 0, 0, 0 },
	[38] = { OP_JZ, 6, 0, 0, 40 },		/* odd: 3n + 1 is done */
	[39] = { OP_JUMP, 0, 0, 0, 34 },
	[40] = { OP_SHR, 2, 2, 0, 0 },
	[41] = { OP_JUMP, 0, 0, 0, 34 },
};

static __attribute__((noinline)) int64_t
interpret(const struct code *pc, int64_t *memory)
{
	const struct code *const start = pc;
	int64_t r[16];

	memset(r, 0, sizeof(r));
	for (;; pc++) {
		switch (pc->op) {
		case OP_LOAD:
			r[pc->a] = pc->imm;
			break;
		case OP_MOVE:
			r[pc->a] = r[pc->b];
			break;
		case OP_ADD:
			r[pc->a] = r[pc->b] + r[pc->c];
			break;
		case OP_ADDI:
			r[pc->a] = r[pc->b] + pc->imm;
			break;
		case OP_MUL:
			r[pc->a] = r[pc->b] * r[pc->c];
			break;
		case OP_SHR:
			r[pc->a] = r[pc->b] >> 1;
			break;
		case OP_ANDI:
			r[pc->a] = r[pc->b] & pc->imm;
			break;
		case OP_GET:
			r[pc->a] = memory[r[pc->b]];
			break;
		case OP_PUT:
			memory[r[pc->b]] = r[pc->a];
			break;
		case OP_JUMP:
			pc = start + pc->imm - 1;
			break;
		case OP_JLT:
			if (r[pc->a] < r[pc->b])
				pc = start + pc->imm - 1;
			break;
		case OP_JNE:
			if (r[pc->a] != r[pc->b])
				pc = start + pc->imm - 1;
			break;
		case OP_JZ:
			if (r[pc->a] == 0)
				pc = start + pc->imm - 1;
			break;
		default:
			return (r[pc->a]);
		}
	}
}

uint64_t
bytecode_run(void *state, uint64_t n)
{
	static int64_t memory[SIEVE];
	uint64_t value = 0;

	(void)state;
	while (n-- > 0)
		value = (uint64_t)interpret(program, memory);
	return (value);
}
