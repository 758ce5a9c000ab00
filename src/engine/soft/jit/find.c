/*
 * Finding translations: of a block, of a host address, and of where a branch
 * goes that is not in the jump cache.
 *
 * Light (jit.h). The VCPU's thread; jit_contains() in signal context as well.
 */
#include <stddef.h>

#include "engine/soft/block.h"
#include "engine/soft/cpu.h"
#include "engine/soft/jit/jit.h"
#include "engine/soft/mmu.h"

struct tblock *
jit_lookup(struct cpu *c, struct block *b, uint64_t linear)
{
	struct tblock *t;

	for (t = b->b_trans; t != NULL; t = t->t_next)
		if (t->t_mode == c->c_jmode && (t->t_va == NO_VA ||
		    t->t_va == (linear & ~(uint64_t)PAGE_MASK)))
			return (t);
	return (NULL);
}

struct tblock *
jit_lookup_first(struct cpu *c, struct block *b, uint64_t linear)
{
	struct tblock *t = jit_lookup(c, b, linear);

	/* a trace comes before what it was made from */
	while (t != NULL && (t->t_map != NULL || t->t_mode != c->c_jmode ||
	    (t->t_va != NO_VA &&
	    t->t_va != (linear & ~(uint64_t)PAGE_MASK))))
		t = t->t_next;
	return (t);
}

bool
jit_contains(const struct cpu *c, uintptr_t rip)
{
	const struct jit *j = c->c_jit;

	return (j != NULL && (rip - (uintptr_t)CODE_RX(j, j->j_thunks) <
	    j->j_used - j->j_thunks ||
	    rip - (uintptr_t)CODE_RX(j, j->j_cold) <
	    j->j_cold_used - j->j_cold));
}

struct tblock *
jit_find(struct cpu *c, uintptr_t rip, unsigned *insn)
{
	struct jit *j = c->c_jit;
	uint32_t off = (uint32_t)(rip - (uintptr_t)j->j_rx);
	struct tblock *t;
	unsigned lo, hi, mid;
	bool cold = off >= j->j_cold;

	if (!jit_contains(c, rip))
		return (NULL);
	t = jit_chunk(j, off);
	while (t != NULL && off >= (cold ? t->t_cold + t->t_cold_size :
	    t->t_code + t->t_size))
		t = t->t_later;
	if (t == NULL || off < (cold ? t->t_cold : t->t_code))
		return (NULL);
	if (insn != NULL) {
		/* the last whose code starts at or before off */
		off -= t->t_code;
		for (lo = 0, hi = t->t_count; lo < hi;) {
			mid = (lo + hi + 1) / 2;
			if (t->t_off[mid] <= off)
				lo = mid;
			else
				hi = mid - 1;
		}
		*insn = lo;
	}
	return (t);
}

/* The live block at linear, if that takes no walk and no check. */
static struct block *
block_at(struct cpu *c, uint64_t linear)
{
	struct block_cache *bc = c->c_blocks;
	const struct block_jump *bj = block_jump_slot(bc, linear);
	const struct tlb_entry *e = tlb_slot(c->c_tlb, linear);
	unsigned mode = block_mode(c);
	struct block *b;
	uint64_t gpa;

	if (bj->bj_linear == linear && bj->bj_key == bc->bc_key)
		return (bj->bj_block->b_epoch == bc->bc_epoch ?
		    bj->bj_block : NULL);
	if (e->te_exec != tlb_tag(c, linear, 1))
		return (NULL);
	gpa = e->te_gpa | (linear & PAGE_MASK);
	for (b = bc->bc_hash[block_hash(gpa, mode)]; b != NULL; b = b->b_hash)
		if (b->b_gpa == gpa && b->b_mode == mode &&
		    b->b_gpa2 == NO_PAGE && b->b_epoch == bc->bc_epoch)
			return (b);
	return (NULL);
}

uint8_t *
jit_jump(struct cpu *c, uint64_t linear, uintptr_t back)
{
	struct jit *j = c->c_jit;
	const struct tlb_entry *e = tlb_slot(c->c_tlb, linear);
	struct tblock *t, *from = jit_find(c, back, NULL);
	struct jit_link *l;
	struct block *b;
	unsigned k = *(const uint8_t *)back;
	uint8_t *to;

	if (j->j_opt.jo_nochain || (c->c_direct_on && c->c_cpl == 3) ||
	    from == NULL)
		return (NULL);
	l = jit_link_failed(from, k);
	if (l != NULL && l->l_to == NULL && !l->l_refused)
		return (NULL);		/* to be linked */
	if ((to = jc_again(c, linear)) == NULL) {
		if ((b = block_at(c, linear)) == NULL ||
		    (t = jit_lookup(c, b, linear)) == NULL)
			return (NULL);
		jc_set(c, linear, t,
		    e->te_page == (linear & ~(uint64_t)PAGE_MASK) &&
		    e->te_global != 0 && e->te_global == c->c_mmu->m_global);
		to = CODE_RX(j, t->t_code);
	}
	j->j_stats.js_jc_miss++;
	if ((k & MISS_AGAIN) == 0)
		return (to);
	if (from->t_map != NULL || (l != NULL && (l->l_to == NULL ||
	    !jc_says(c, l->l_to->t_block->b_gpa, linear))))
		return (NULL);
	return (CODE_RX(j, from->t_code + from->t_off[k & ~MISS_AGAIN]));
}
