/*
 * What the translator counted, for people: eo_report().
 *
 * VCPU thread, or whoever holds the VCPU.
 */
#include <stdarg.h>
#include <stdio.h>

#include "engine/soft/direct/direct.h"
#include "engine/soft/jit/jit.h"
#include "engine/soft/jit/stats.h"

#define TOP	8	/* instructions that are listed */

struct text {
	char	*t_p;
	size_t	 t_room;
};

static void __attribute__((format(printf, 2, 3)))
add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->t_p, t->t_room, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	if ((size_t)n >= t->t_room)
		n = (int)t->t_room - 1;
	t->t_p += n;
	t->t_room -= (size_t)n;
}

#define COUNT(t, name, value)						\
	add((t), "%s: %llu\n", (name), (unsigned long long)(value))

/* The instructions that translated code leaves to the interpreter most. */
static void
add_interpreted(struct text *t, const struct jit_stats *js)
{
	uint64_t limit = UINT64_MAX, most;
	unsigned n, k, at;

	for (k = 0; k < TOP; k++) {
		most = 0;
		at = 0;
		for (n = 0; n < 512; n++)
			if (js->js_by_insn[n] > most &&
			    js->js_by_insn[n] < limit) {
				most = js->js_by_insn[n];
				at = n;
			}
		if (most == 0)
			return;
		add(t, "interpreted %s%02x: %llu\n", at >= 256 ? "0f " : "",
		    at & 255, (unsigned long long)most);
		limit = most;
	}
}

void
jit_report(const struct cpu *c, char *buf, size_t len)
{
	const struct jit *j = c->c_jit;
	const struct jit_stats *js;
	struct text t = { buf, len };

	buf[0] = '\0';
	/* translated code counts its instructions only if it is asked to */
	COUNT(&t, j != NULL && j->j_opt.jo_count ? "instructions" :
	    "instructions, interpreted", c->c_insn_count);
	if (j == NULL)
		return;
	js = &j->j_stats;
	add(&t, "code cache: %u of %u KiB, translations %u of %u KiB\n",
	    (j->j_used + j->j_cold_used - j->j_cold) >> 10, j->j_size >> 10,
	    j->j_arena_used >> 10,
	    j->j_arena_size >> 10);
	COUNT(&t, "translations", js->js_translated);
	COUNT(&t, "instructions translated", js->js_insns);
	COUNT(&t, "bytes of host code", js->js_bytes);
	if (j->j_lockstep != NULL)
		COUNT(&t, "instructions compared", js->js_compared);
	COUNT(&t, "traces", js->js_traces);
	COUNT(&t, "translations overwritten", js->js_killed);
	COUNT(&t, "code cache flushes", js->js_flushes);
	COUNT(&t, "branches linked", js->js_links);
	COUNT(&t, "branches unlinked", js->js_unlinks);
	COUNT(&t, "entries into translated code", js->js_enter);
	COUNT(&t, "blocks interpreted", js->js_interp_blocks);
	COUNT(&t, "instructions interpreted from translated code",
	    js->js_interp_insns);
	add_interpreted(&t, js);
	COUNT(&t, "jump cache misses", js->js_jc_miss);
	COUNT(&t, "jump cache fills", js->js_jc_fill);
	COUNT(&t, "TLB fills for reading", js->js_fill_read);
	COUNT(&t, "TLB fills for writing", js->js_fill_write);
	COUNT(&t, "accesses done by the interpreter", js->js_slow);
	COUNT(&t, "TLB flushes", js->js_tlb_flush);
	COUNT(&t, "polls that left", js->js_poll);
	COUNT(&t, "host faults", js->js_fault);
	COUNT(&t, "return stacks emptied", js->js_ret_reset);
	if (c->c_direct != NULL)
		(void)direct_report(c, t.t_p, t.t_room);
}
