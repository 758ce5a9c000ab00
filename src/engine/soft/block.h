/*
 * The cache of code.
 *
 * A block is a run of instructions that follow each other in one page of
 * physical memory, up to the first that ends it (INSN_END) or 64 of them. An
 * instruction that straddles two pages is a block of its own. Blocks know
 * nothing of linear addresses and of privilege, so they serve all mappings.
 *
 * 1. A block is valid while its bytes are what was decoded: pages with blocks
 *    are PAGE_CODE, so the guest's own writes come to block_written(); writes
 *    behind the engine's back are found by comparing bytes, once a block and
 *    epoch (bc_epoch).
 * 2. b_epoch is the epoch for which the block is known good, 0 when it is
 *    dead. Whoever enters a block compares it first.
 * 3. Dead blocks keep their memory until the whole cache is flushed, which
 *    happens only while none executes: pointers to them stay readable.
 * 4. A block's decoded instructions are many times its size, and of most
 *    blocks they are wanted a few times. They are kept while there is room:
 *    block_insns() decodes anew, from b_bytes, what has gone. What it returns
 *    stays until the next block_insns() or block_find() of another block.
 */
#ifndef SOFT_BLOCK_H
#define SOFT_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/soft/cpu.h"

#define BLOCK_INSNS	64
#define BLOCK_JUMPS	4096
#define BLOCK_HASH	131072u	/* buckets */
#define BLOCK_PAGES	16384
#define BLOCK_FETCHED	4096
#define NO_PAGE		UINT64_MAX

struct block {
	uint64_t	 b_gpa;		/* of its first byte */
	struct block	*b_hash;	/* next of the same bucket */
	uint64_t	 b_gpa2;	/* page of its tail, or NO_PAGE */
	uint32_t	 b_epoch;
	uint16_t	 b_len;		/* bytes */
	uint8_t		 b_count;	/* instructions */
	uint8_t		 b_mode;	/* how it was decoded: BLOCK_* */
	bool		 b_temp;	/* not in the cache: use once */
	uint8_t		 b_runs;	/* times interpreted, up to 255 */
	struct insn	*b_decoded;	/* NULL: see block_insns() */
	struct tblock	*b_trans;	/* translations (jit/jit.h) */
	struct trace_member *b_traces;	/* traces it is part of */
	/* Where it went on, in the same page: not taken, taken. */
	struct block	*b_succ[2];
	struct block	*b_page[2];	/* next of the same page; of the tail's */
	/* Bytes of the same page, behind its branches, that its translations
	 * depend on as well; bp_len 0: none. */
	struct {
		uint32_t bp_bytes;	/* in bc_arena */
		uint16_t bp_off;
		uint8_t	bp_len;
	} b_peek[2];
	uint8_t		 b_bytes[];	/* what was decoded */
};

/* b_mode */
#define BLOCK_16	0
#define BLOCK_32	1
#define BLOCK_64	2
#define BLOCK_REAL	4

struct block_jump {
	uint64_t	 bj_linear;
	uint64_t	 bj_key;
	struct block	*bj_block;
};

/* A page of guest memory that blocks were made from. */
struct code_page {
	uint64_t	 p_gpa;
	uint64_t	 p_granules;	/* bit n: bytes [64n, 64n+64) are code */
	struct code_page *p_hash;
	struct block	*p_blocks;	/* by b_page[] */
	unsigned	 p_overwritten;	/* writes over blocks */
	unsigned	 p_beside;	/* others */
	unsigned	 p_given_up;	/* times, for them; up to PAGE_DOUBLED */
};

struct block_cache {
	struct block_jump bc_jump[BLOCK_JUMPS];
	/* Pages that code was fetched from since the jumps were flushed, hashed
	 * by block_fetched(): others can be mapped anew without a flush. */
	uint64_t	 bc_fetched[BLOCK_FETCHED / 64];
	uint64_t	 bc_jump_gen;
	uint64_t	 bc_key;	/* bc_jump_gen and the mode: see below */
	uint32_t	 bc_epoch;
	uint8_t		*bc_arena;	/* blocks */
	size_t		 bc_used, bc_ahead;	/* ahead.h */
	/* Decoded instructions, in segments. When one is full the next is
	 * emptied and used, round and round. */
	uint8_t		*bc_decoded;
	unsigned	 bc_segments, bc_segment;
	uint32_t	*bc_fill;	/* bytes in use of each */
	struct block	**bc_hash;
	struct code_page **bc_pages;
	struct block	*bc_temp;
};

/* few: blocks are translated when they are executed again, so that not many
 * have to be kept decoded. */
struct block_cache *block_cache_new(bool few);
void		 block_cache_free(struct block_cache *);

/* The block at CS:RIP; raises the faults of an instruction fetch. */
struct block	*block_find(struct cpu *);
/* Decodes b->b_decoded anew. */
void		 block_decode(const struct cpu *, struct block *b);
/* This VCPU wrote guest memory [gpa, gpa+len), inside a page with code. */
void		 block_written(struct cpu *, uint64_t gpa, unsigned len);
/* The blocks of [gpa, gpa+len), inside a page, die. false: there were none. */
bool		 block_forget(struct cpu *, uint64_t gpa, unsigned len);
/* Everything; no block may be executing. */
void		 block_flush(struct cpu *);
/* From now on bytes are compared before a block is entered again. */
void		 block_epoch(struct cpu *);
/* Copies len bytes at off of b's (first) page. */
void		 block_peek(struct cpu *, const struct block *b, unsigned off,
		    uint8_t *, unsigned len);
/* From now on b dies with these bytes of its page as with its own. false: there
 * is no memory for it. which: 0 or 1, instead of an earlier one. */
bool		 block_depend(struct cpu *, struct block *b, unsigned which,
		    unsigned off, const uint8_t *, unsigned len);
/* Is b good for this epoch? Compares its bytes if need be. */
bool		 block_check(struct cpu *, struct block *);

/* The jump cache is keyed by linear address, by everything that decides what
 * is there (a generation), and by mode. */
void		 block_mode_update(struct cpu *);
void		 block_jumps_flush(struct cpu *);
/* The same if code was fetched from linear's page. */
void		 block_jumps_forget(struct cpu *, uint64_t linear);

/* b's instructions: see 4. */
static inline const struct insn *
block_insns(const struct cpu *c, struct block *b)
{
	if (__builtin_expect(b->b_decoded == NULL, 0))
		block_decode(c, b);
	return (b->b_decoded);
}

static inline struct block_jump *
block_jump_slot(struct block_cache *bc, uint64_t linear)
{
	return (&bc->bc_jump[(linear ^ linear >> 12) & (BLOCK_JUMPS - 1)]);
}

/* The bit of linear's page in bc_fetched. */
static inline unsigned
block_fetched(uint64_t linear)
{
	return ((unsigned)(linear >> 12 ^ linear >> 24) & (BLOCK_FETCHED - 1));
}

/* Where the code page that begins at gpa is, or would be, linked to. */
static inline struct code_page **
block_page_slot(struct block_cache *bc, uint64_t gpa)
{
	struct code_page **pp = &bc->bc_pages[gpa >> 12 & (BLOCK_PAGES - 1)];

	while (*pp != NULL && (*pp)->p_gpa != gpa)
		pp = &(*pp)->p_hash;
	return (pp);
}

/*
 * Writes beside the code of a page after which its blocks go, since each takes
 * long and the page may be data now. If it is not: twice as many the next time.
 */
#define PAGE_BESIDE	1024u
#define PAGE_DOUBLED	6

/* One more of them. Is it time? */
static inline bool
block_page_beside(struct code_page *p)
{
	return (++p->p_beside >= PAGE_BESIDE << p->p_given_up);
}

/* The granules of [gpa, gpa+len), inside a page. */
static inline uint64_t
block_granules(uint64_t gpa, unsigned len)
{
	unsigned first = (unsigned)(gpa & 4095) / 64;
	unsigned last = (unsigned)((gpa & 4095) + len - 1) / 64;

	return ((UINT64_MAX >> (63 - (last - first))) << first);
}

/* May this VCPU have blocks of [gpa, gpa+len), inside a page? */
static inline bool
block_is_code(struct block_cache *bc, uint64_t gpa, unsigned len)
{
	const struct code_page *p = *block_page_slot(bc,
	    gpa & ~(uint64_t)4095);

	return (p != NULL && (p->p_granules & block_granules(gpa, len)) != 0);
}

/* May this VCPU's write of [gpa, gpa+len), inside a page, be done without
 * block_written(), but for other VCPUs? */
static inline bool
block_is_beside(struct block_cache *bc, uint64_t gpa, unsigned len)
{
	struct code_page *p = *block_page_slot(bc, gpa & ~(uint64_t)4095);

	return (p == NULL || ((p->p_granules & block_granules(gpa, len)) == 0 &&
	    !block_page_beside(p)));
}

/* How code at CS:RIP is decoded. */
static inline unsigned
block_mode(const struct cpu *c)
{
	unsigned mode = c->c_code64 ? BLOCK_64 : c->c_code32 ? BLOCK_32 :
	    BLOCK_16;

	return (!c->c_protected || c->c_v8086 ? mode | BLOCK_REAL : mode);
}

static inline unsigned
block_hash(uint64_t gpa, unsigned mode)
{
	unsigned n = (unsigned)(gpa >> 12) * 0x9e3779b1u >> 8;

	/*
	 * Pages anywhere, but what is near in a page is in the same line of
	 * buckets: it is executed together.
	 */
	return ((n + ((unsigned)(gpa & 4095) >> 3) + (mode << 12)) &
	    (BLOCK_HASH - 1));
}

#endif
