/*
 * Random programs, by the interpreter and by the translator (side.h): loops,
 * calls, returns to where nobody called from, indirect jumps, faults that go
 * on elsewhere, code that changes itself, single steps, system calls, pages
 * that change under the program, the same code at two addresses, and
 * interrupts at any time.
 *
 *	programs_test [--seed N] [--count N] [--options WORDS]
 *	    [--with BITS] [--interrupt N] [--show]
 *
 * --with limits what programs have; every Nth one is interrupted (3; 0: none).
 */
#include "side.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../lib/arguments.h"
#include "../lib/emulated.h"
#include "engine/soft/cpu.h"
#include "engine/soft/direct/scan.h"
#include "items.h"
#include "kernel.h"

#define REPORT_MAX	4
#define LABELS		64
#define SITES_MAX	512
#define FIXUPS_MAX	512
#define TABLE		(BEFORE_SUPER + 0x200u)	/* addresses of labels */
#define SAVE		(COUNTER + 8u)
#define SAVE_FLAGS	(COUNTER + 16u)
#define CODE_BYTES	(CODE_PAGES * 0x1000u)
#define OTHER_CODE	FREE_GPA	/* the last code page's other frame */
#define OTHER_DATA	(FREE_GPA + 0x1000u)	/* that of WINDOW + 0x1000 */
#ifdef __SANITIZE_ADDRESS__
#define COUNT		20
#else
#define COUNT		120
#endif

static struct {
	uint64_t	seed;
	unsigned	count;
	const char	*options;
	unsigned	with, interrupt;
	bool		show;
} opt = { .count = COUNT, .interrupt = 3 };

/*
 * What a program may contain; each failing one is tried again without one
 * after the other.
 */
#define WITH_ITEMS	0x01
#define WITH_CALLS	0x02
#define WITH_INDIRECT	0x04
#define WITH_WRITES	0x08	/* to its own code */
#define WITH_STEPS	0x10	/* TF */
#define WITH_SYSCALLS	0x20
#define WITH_FORGED	0x40	/* return addresses */
#define WITH_ALIAS	0x80	/* jumps and calls to there */
#define WITH_ALL	0xff

struct program {
	struct rng	p_rng;
	bool		p_kernel;	/* at CPL 0 */
	unsigned	p_with;
	uint8_t		p_code[CODE_BYTES], p_other[0x1000];
	uint32_t	p_at;		/* next byte */
	uint32_t	p_label[LABELS];
	unsigned	p_nlabels;
	struct { uint32_t at, by; unsigned label; } p_fixup[FIXUPS_MAX];
	unsigned	p_nfixups;
	/* fields that may be written: where, bytes, kind */
	struct { uint32_t at; uint8_t size, kind; } p_site[SITES_MAX];
	unsigned	p_nsites;
	struct { uint32_t at; } p_write[SITES_MAX];	/* 32-bit addresses */
	unsigned	p_nwrites;
	struct oracle_state p_in;
};
enum { SITE_IMM, SITE_OPCODE, SITE_REL };

static struct side interp, trans;
static unsigned nstuck;

/* Is trans for the bare CPU? */
static bool
bare_cpu(void)
{
	return (strstr(trans.sd_name, "direct") != NULL);
}

/* --- making ------------------------------------------------------------------ */

static void
put(struct program *p, const void *bytes, unsigned len)
{
	memcpy(p->p_code + p->p_at, bytes, len);
	p->p_at += len;
}
#define PUT(p, ...) do {						\
	const uint8_t bytes_[] = { __VA_ARGS__ };			\
	put((p), bytes_, sizeof(bytes_));				\
} while (0)

static void
put32(struct program *p, uint32_t v)
{
	put(p, &v, 4);
}

/* A register that is not RSP. */
static unsigned
reg(struct program *p)
{
	unsigned n;

	do
		n = rng_below(&p->p_rng, 16);
	while (n == RSP);
	return (n);
}

static void
site(struct program *p, uint32_t at, unsigned size, unsigned kind)
{
	if (p->p_nsites == SITES_MAX)
		return;
	p->p_site[p->p_nsites].at = at;
	p->p_site[p->p_nsites].size = (uint8_t)size;
	p->p_site[p->p_nsites++].kind = (uint8_t)kind;
}

/* mov reg32, imm32, of which everything may be changed */
static void
put_mov(struct program *p, unsigned r, uint32_t imm, bool writable)
{
	PUT(p, (uint8_t)(0x40 | r >> 3));
	if (writable) {
		site(p, p->p_at, 1, SITE_OPCODE);
		site(p, p->p_at + 1, 4, SITE_IMM);
	}
	PUT(p, (uint8_t)(0xb8 | (r & 7)));
	put32(p, imm);
}

static void
put_label(struct program *p, unsigned label)
{
	if (p->p_nfixups == FIXUPS_MAX)
		abort();
	p->p_fixup[p->p_nfixups].at = p->p_at;
	p->p_fixup[p->p_nfixups++].label = label;
	put32(p, 0);
}

/* The same, but where the label is in ALIAS. */
static void
put_alias(struct program *p, unsigned label)
{
	p->p_fixup[p->p_nfixups].by = ALIAS - CODE;
	put_label(p, label);
}

static unsigned
any_label(struct program *p)
{
	return (rng_below(&p->p_rng, LABELS));
}

/* mov reg32, address of a label: patched as 32 bits absolute */
static uint32_t absolute_fixups[FIXUPS_MAX];
static unsigned nabsolute;

static void
put_address(struct program *p, unsigned r, unsigned label)
{
	PUT(p, (uint8_t)(0x40 | r >> 3), (uint8_t)(0xb8 | (r & 7)));
	absolute_fixups[nabsolute++ % FIXUPS_MAX] = p->p_at;
	put32(p, label);
}

/* op reg, reg in all sizes but 1 */
static void
put_alu(struct program *p)
{
	static const uint8_t op[] = { 0x01, 0x09, 0x11, 0x19, 0x21, 0x29, 0x31,
	    0x39, 0x85, 0x89, 0x03, 0x13, 0x3b };
	unsigned a = reg(p), b = reg(p);

	PUT(p, (uint8_t)(0x40 | (rng_below(&p->p_rng, 2) << 3) |
	    (a >> 3) << 2 | b >> 3),
	    op[rng_below(&p->p_rng, sizeof(op))],
	    (uint8_t)(0xc0 | (a & 7) << 3 | (b & 7)));
}

/* Something that reads flags: setcc, cmovcc, adc 0, lahf, pushf and pop */
static void
put_flags(struct program *p)
{
	unsigned r = reg(p), cc = rng_below(&p->p_rng, 16);

	switch (rng_below(&p->p_rng, 4)) {
	case 0:
		PUT(p, (uint8_t)(0x40 | r >> 3), 0x0f, (uint8_t)(0x90 | cc),
		    (uint8_t)(0xc0 | (r & 7)));
		break;
	case 1:
		PUT(p, (uint8_t)(0x48 | r >> 3), 0x0f, (uint8_t)(0x40 | cc),
		    (uint8_t)(0xc0 | (r & 7)));
		break;
	case 2:
		PUT(p, (uint8_t)(0x48 | r >> 3), 0x83,
		    (uint8_t)(0xd0 | (r & 7)), 0);
		break;
	default:
		PUT(p, 0x9c, 0x58);
	}
}

/* The budget of jumps; changes flags, or not */
static void
put_poll(struct program *p)
{
	if (rng_below(&p->p_rng, 2)) {
		PUT(p, 0x83, 0x2c, 0x25);		/* sub [counter], 1 */
		put32(p, COUNTER);
		PUT(p, 1, 0x79, 3, 0xe6, PORT_DONE, 0xf4);	/* jns */
		return;
	}
	PUT(p, 0x48, 0x89, 0x0c, 0x25);			/* mov [save], rcx */
	put32(p, SAVE);
	PUT(p, 0x8b, 0x0c, 0x25);			/* mov ecx, [counter] */
	put32(p, COUNTER);
	PUT(p, 0x8d, 0x49, 0xff, 0x89, 0x0c, 0x25);	/* lea, mov */
	put32(p, COUNTER);
	PUT(p, 0xe3, 10, 0x48, 0x8b, 0x0c, 0x25);	/* jrcxz; mov rcx */
	put32(p, SAVE);
	PUT(p, 0xeb, 3, 0xe6, PORT_DONE, 0xf4);		/* jmp over out */
}

/* Memory knows for ever which of its two frames the last page was in. */
static void
put_mark(struct program *p)
{
	PUT(p, 0x81, 0x04, 0x25);		/* add [save_flags], imm */
	put32(p, SAVE_FLAGS);
	site(p, p->p_at, 4, SITE_IMM);
	put32(p, (uint32_t)rng_next(&p->p_rng));
}

/* A write to the code: the address is filled in when all sites are known. */
static void
put_write(struct program *p)
{
	if (p->p_nwrites == SITES_MAX)
		return;
	/* mov byte/dword [addr], imm: 8 and 11 bytes; decided later */
	p->p_write[p->p_nwrites++].at = p->p_at;
	PUT(p, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0, 0x0f, 0x1f, 0);	/* nops */
}

/* Does it store x87 pointers, or all state? Bare CPUs differ in these. */
static bool
stores_pointers(const struct item *it)
{
	const uint8_t *b = it->it_insn.oi_bytes, *end = b + 14;
	unsigned digit;

	for (; b < end; b++) {
		digit = b[1] >> 3 & 7;
		if (b[0] == 0x0f && (b[1] == 0xae || b[1] == 0xc7))
			return (true);
		if ((b[0] == 0xd9 || b[0] == 0xdd) && digit == 6 &&
		    b[1] < 0xc0)
			return (true);
	}
	return (false);
}

/*
 * Does it show whose CPU it is? Such code is kept from the bare CPU by rules of
 * thumb (direct/scan.c), made for what programs have; a jump of chance into the
 * routine behind one is not among it.
 */
static bool
shows_host(const struct item *it)
{
	uint16_t where;

	return (scan_harmful(it->it_insn.oi_bytes, 15, 0, it->it_insn.oi_len,
	    false, soft_decode_mode(false), &where, 1) != 0);
}

static void
put_something(struct program *p)
{
	struct rng *r = &p->p_rng;
	struct item it;
	unsigned n, a;

	switch (rng_below(r, 25)) {
	case 0: case 1: case 2: case 3:
		put_alu(p);
		break;
	case 4: case 5:
		put_flags(p);
		break;
	case 6:
		put_mov(p, reg(p), (uint32_t)rng_next(r), true);
		break;
	case 7:		/* a jump over something */
		PUT(p, (uint8_t)(0x70 | rng_below(r, 16)), 3);
		put_alu(p);
		break;
	case 8:
		PUT(p, 0x0f, (uint8_t)(0x80 | rng_below(r, 16)));
		if (p->p_with & WITH_WRITES)
			site(p, p->p_at, 4, SITE_REL);
		put_label(p, any_label(p));
		break;
	case 9:		/* a short loop: rcx times */
		put_mov(p, RCX, 1 + rng_below(r, 12), false);
		a = p->p_at;
		put_alu(p);
		if (p->p_code[p->p_at - 1] & 7 &&
		    (p->p_code[p->p_at - 1] & 7) != 1)
			PUT(p, 0x90);
		PUT(p, 0xff, 0x04, 0x25);	/* inc dword [save + 16] */
		put32(p, SAVE_FLAGS);
		PUT(p, 0xff, 0x0c, 0x25);	/* budget, too */
		put32(p, COUNTER);
		/* dec ecx may be undone by the other: bounded by counter */
		PUT(p, 0xff, 0xc9);
		PUT(p, 0x83, 0x3c, 0x25);	/* cmp [counter], 0 */
		put32(p, COUNTER);
		PUT(p, 0, 0x7e, 4, 0x85, 0xc9);	/* jle over; test */
		PUT(p, 0x75, (uint8_t)(a - (p->p_at + 2)));
		break;
	case 10: case 11:
		if (p->p_with & WITH_CALLS) {
			PUT(p, 0xe8);
			if (p->p_with & WITH_WRITES)
				site(p, p->p_at, 4, SITE_REL);
			put_label(p, any_label(p));
		}
		break;
	case 12:
		if (p->p_with & WITH_CALLS)
			PUT(p, 0xc3);
		break;
	case 13:	/* jmp, call reg or [table + n] */
		if ((p->p_with & WITH_INDIRECT) == 0)
			break;
		n = rng_below(r, 4);
		if (n < 2) {
			a = reg(p);
			put_address(p, a, any_label(p));
			PUT(p, (uint8_t)(0x40 | a >> 3), 0xff,
			    (uint8_t)((n ? 0xd0 : 0xe0) | (a & 7)));
		} else {
			PUT(p, 0xff, n == 2 ? 0x14 : 0x24, 0x25);
			put32(p, TABLE + any_label(p) * 8);
		}
		break;
	case 14:	/* goes elsewhere than where the call came from */
		if ((p->p_with & WITH_FORGED) == 0)
			break;
		a = reg(p);
		put_address(p, a, any_label(p));
		if (rng_below(r, 2))
			PUT(p, (uint8_t)(0x40 | a >> 3),
			    (uint8_t)(0x50 | (a & 7)), 0xc3);	/* push, ret */
		else
			PUT(p, (uint8_t)(0x48 | (a >> 3) << 2), 0x89,
			    (uint8_t)(0x04 | (a & 7) << 3), 0x24, 0xc3);
		break;
	case 15: case 16:
		if (p->p_with & WITH_WRITES)
			put_write(p);
		break;
	case 17:
		if (p->p_with & WITH_STEPS && rng_below(r, 4) == 0) {
			/* pushf; or dword [rsp], TF; popf */
			PUT(p, 0x9c, 0x81, 0x0c, 0x24, 0, 1, 0, 0, 0x9d);
		} else if (p->p_with & WITH_STEPS)
			PUT(p, 0xcd, (uint8_t)(INT_VECTOR + rng_below(r, 16)));
		break;
	case 18:
		if (p->p_with & WITH_SYSCALLS && !p->p_kernel) {
			put_mov(p, RAX, (uint32_t)rng_below(r, 8), false);
			PUT(p, 0x0f, 0x05);
		}
		break;
	case 19:	/* the last code page, whatever is there now */
		PUT(p, 0xe8);
		put_label(p, LABELS - 1 - rng_below(r, LABELS / 6));
		break;
	case 20:
		if ((p->p_with & WITH_ALIAS) == 0)
			break;
		PUT(p, rng_below(r, 2) ? 0xe8 : 0xe9);
		put_alias(p, any_label(p));
		break;
	default:
		if ((p->p_with & WITH_ITEMS) == 0)
			break;
		for (n = 0; n < 20; n++)
			if (item_make(r, false, &it) &&
			    !(bare_cpu() && (stores_pointers(&it) ||
			    shows_host(&it)))) {
				p->p_at += item_put(&it, p->p_code + p->p_at,
				    CODE + p->p_at);
				break;
			}
	}
}

static void
fill_writes(struct program *p)
{
	struct rng *r = &p->p_rng;
	uint8_t *w;
	uint32_t addr, value;
	unsigned n, s;

	for (n = 0; n < p->p_nwrites && p->p_nsites > 0; n++) {
		w = p->p_code + p->p_write[n].at;
		/* mostly near: the block's own, the next one's */
		s = rng_below(r, p->p_nsites);
		if (rng_below(r, 2))
			for (s = 0; s + 1 < p->p_nsites &&
			    p->p_site[s].at < p->p_write[n].at; s++)
				;
		addr = (rng_below(r, 2) ? ALIAS : CODE) + p->p_site[s].at;
		value = (uint32_t)rng_next(r);
		if (p->p_site[s].kind == SITE_OPCODE)
			value = 0xb8 | (value & 3);
		if (p->p_site[s].kind == SITE_REL)
			value = p->p_label[rng_below(r, LABELS)] -
			    (p->p_site[s].at + 4);
		if (p->p_site[s].size == 1) {
			memcpy(w, "\xc6\x04\x25", 3);
			memcpy(w + 3, &addr, 4);
			w[7] = (uint8_t)value;
		} else {
			memcpy(w, "\xc7\x04\x25", 3);
			memcpy(w + 3, &addr, 4);
			memcpy(w + 7, &value, 4);
		}
	}
}

static void
make_program(struct program *p, uint64_t seed, unsigned with)
{
	unsigned n, k, count, target;
	uint32_t rel, addr;
	struct item it;
	struct insn i;

	memset(p, 0, sizeof(*p));
	memset(p->p_code, 0x90, sizeof(p->p_code));
	p->p_rng.r_state = seed * 0x9e3779b97f4a7c15u | 1;
	p->p_with = with;
	p->p_kernel = rng_below(&p->p_rng, 3) == 0;
	if (!p->p_kernel && rng_below(&p->p_rng, 2))
		p->p_with &= rng_next(&p->p_rng) | WITH_CALLS;
	nabsolute = 0;
	for (n = 0; n < LABELS; n++) {
		/* the pages' share, and something across their ends */
		target = n * (CODE_BYTES / LABELS);
		if (n % 16 == 0 && n > 0 && rng_below(&p->p_rng, 2))
			target -= rng_below(&p->p_rng, 24);
		if (p->p_at < target && n > 0 && rng_below(&p->p_rng, 2)) {
			PUT(p, 0xe9);
			put_label(p, n);
		}
		if (p->p_at < target)
			p->p_at = target;
		p->p_label[n] = p->p_at;
		put_poll(p);
		if (p->p_at >= CODE_BYTES - 0x1000)
			put_mark(p);
		count = 1 + rng_below(&p->p_rng, 10);
		for (k = 0; k < count && p->p_at + 2 * ITEM_MAX <
		    (n + 1) * (CODE_BYTES / LABELS) + 100; k++)
			put_something(p);
		if (p->p_at + ITEM_MAX * 3 > CODE_BYTES)
			break;
	}
	for (; n < LABELS; n++)
		p->p_label[n] = p->p_label[rng_below(&p->p_rng, n)];
	PUT(p, 0xe9);
	put_label(p, 0);
	for (n = 0; n < p->p_nfixups; n++) {
		rel = p->p_label[p->p_fixup[n].label] + p->p_fixup[n].by -
		    (p->p_fixup[n].at + 4);
		memcpy(p->p_code + p->p_fixup[n].at, &rel, 4);
	}
	for (n = 0; n < nabsolute && n < FIXUPS_MAX; n++) {
		memcpy(&addr, p->p_code + absolute_fixups[n], 4);
		addr = CODE + p->p_label[addr];
		memcpy(p->p_code + absolute_fixups[n], &addr, 4);
	}
	fill_writes(p);
	/* the last page's other frame: the same with other numbers */
	memcpy(p->p_other, p->p_code + CODE_BYTES - 0x1000, 0x1000);
	for (n = 0; n < p->p_nsites; n++)
		if (p->p_site[n].at >= CODE_BYTES - 0x1000 &&
		    p->p_site[n].at + 4 <= CODE_BYTES &&
		    p->p_site[n].kind == SITE_IMM)
			p->p_other[p->p_site[n].at - (CODE_BYTES - 0x1000)] ^=
			    0x55;
	while (!item_make(&p->p_rng, false, &it))
		;
	memset(&i, 0, sizeof(i));
	insn_decode(it.it_insn.oi_bytes, 15, soft_decode_mode(false), &i);
	gen_state(&p->p_rng, &it.it_insn, &i, &p->p_in);
	p->p_in.os_rip = CODE + p->p_label[0];
	p->p_in.os_gpr[RSP] = WINDOW + 0x1000;
}

/* --- running -------------------------------------------------------------------- */

/* Kicks the VCPU at any time. */
struct kicker {
	struct side	*k_side;
	atomic_bool	 k_end;
	uint64_t	 k_seed;
};

static void *
kicker(void *arg)
{
	struct kicker *k = arg;
	struct rng r = { k->k_seed | 1 };
	struct timespec ts = { 0, 0 };

	while (!atomic_load(&k->k_end)) {
		ts.tv_nsec = 1000 + rng_below(&r, 50000);
		nanosleep(&ts, NULL);
		k->k_side->sd_ops->eo_kick(k->k_side->sd_vcpu);
	}
	return (NULL);
}

/* As side_go(), with an interrupt at each kick. */
static unsigned
go_interrupted(struct side *sd, uint64_t seed)
{
	struct kicker k = { .k_side = sd, .k_seed = seed };
	struct rng r = { seed | 1 };
	struct engine_run run;
	pthread_t thread;
	unsigned end = 0x20000, tries;

	pthread_create(&thread, NULL, kicker, &k);
	memset(&run, 0, sizeof(run));
	run.er_inject = -1;
	side_watch(sd);
	for (tries = 0; tries < 1000000 && !side_stuck(); tries++) {
		if (sd->sd_ops->eo_run(sd->sd_vcpu, &run) != 0)
			break;
		run.er_inject = -1;
		run.er_complete = run.er_window = false;
		if (run.er_exit == ENGINE_EXIT_IO &&
		    run.er_io.vei_dir == VEI_DIR_OUT) {
			end = run.er_io.vei_port;
			break;
		} else if (run.er_exit == ENGINE_EXIT_MMIO ||
		    run.er_exit == ENGINE_EXIT_IO)
			side_answer(sd, &run);
		else if (run.er_exit != ENGINE_EXIT_KICK &&
		    run.er_exit != ENGINE_EXIT_WINDOW) {
			end = 0x10000u + run.er_exit;
			break;
		}
		if (run.er_exit == ENGINE_EXIT_WINDOW ||
		    (run.er_exit == ENGINE_EXIT_KICK && run.er_ready))
			run.er_inject = (int)(INTR_VECTOR +
			    rng_below(&r, 16));
		else if (run.er_exit == ENGINE_EXIT_KICK)
			run.er_window = true;
	}
	atomic_store(&k.k_end, true);
	pthread_join(thread, NULL);
	return (end);
}

static void
run_program(struct side *sd, const struct program *p, bool interrupted,
    struct oracle_state *out)
{
	struct kernel_data *k;
	uint32_t counter = 3000, n, pte;
	uint64_t v;

	side_reset(sd);
	memset(sd->sd_ram + DATA_GPA, 0x5a, DATA_SIZE);
	memcpy(sd->sd_ram + DATA_GPA + 0x1000 + ACTIVE_A, p->p_in.os_a,
	    ACTIVE_A_SIZE);
	/* An emulated CPU finds out that it has returned to no address only
	 * when it is there. */
	v = CODE + p->p_label[0];
	for (n = ACTIVE_A; n < WINDOW_SIZE && emulated_cpu(); n += 8)
		memcpy(sd->sd_ram + DATA_GPA + 0x1000 + n, &v, 8);
	memcpy(sd->sd_ram + DATA_GPA + 0x5010, &counter, 4);
	memcpy(sd->sd_ram + CODE_GPA, p->p_code, CODE_BYTES);
	memcpy(sd->sd_ram + OTHER_CODE, p->p_other, 0x1000);
	memset(sd->sd_ram + OTHER_DATA, 0xa5, 0x1000);
	k = kernel_put(sd);
	k->k_stack = WINDOW + 0x1000 - 64;
	k->k_budget = 400;
	k->k_flags = trans.sd_exact ? ~0ull : ~(uint64_t)FL_ARITH;
	if (emulated_cpu())	/* whose faults leave RF alone */
		k->k_flags &= ~(uint64_t)FL_RF;
	for (n = 0; n < LABELS; n++) {
		v = CODE + p->p_label[n];
		k->k_labels[n] = v;
		memcpy(sd->sd_ram + DATA_GPA + 0x3200 + n * 8, &v, 8);
	}
	for (n = 0; n < CODE_PAGES; n++) {
		pte = side_pte(sd, ALIAS + n * 0x1000);
		memcpy(&v, sd->sd_ram + pte, 8);
		v &= ~(PTE_NX | (p->p_kernel ? PTE_U : 0));
		memcpy(sd->sd_ram + pte, &v, 8);
		if (!p->p_kernel)
			continue;
		pte = side_pte(sd, CODE + n * 0x1000);
		memcpy(&v, sd->sd_ram + pte, 8);
		v = (v & ~PTE_U) | PTE_G;
		memcpy(sd->sd_ram + pte, &v, 8);
	}
	k->k_remap[0].page = CODE + CODE_BYTES - 0x1000;
	k->k_remap[1].page = WINDOW + 0x1000;
	for (n = 0; n < 2; n++) {
		pte = side_pte(sd, k->k_remap[n].page);
		k->k_remap[n].pte = KERNEL + pte;
		memcpy(&v, sd->sd_ram + pte, 8);
		/* A and D: what the walk has set is not lost */
		k->k_remap[n].frame[0] = v | PTE_A | PTE_D;
		k->k_remap[n].frame[1] = ((v & ~0x3f000ull) |
		    (n == 0 ? OTHER_CODE : OTHER_DATA)) | PTE_A | PTE_D;
	}
	sd->sd_ops->eo_written(sd->sd_vm, 0, RAM_SIZE);
	side_load(sd, &p->p_in, p->p_kernel ? SIDE_KERNEL64 : SIDE_USER64);
	if (interrupted)
		side_take(sd, go_interrupted(sd, p->p_rng.r_state), out);
	else
		side_run(sd, out);
	k->k_irqs = 0;
}

static bool
same_program(const struct program *p, bool interrupted, bool print)
{
	static struct oracle_state a, b;
	bool same;

	run_program(&interp, p, false, &a);
	if (a.os_vector == VECTOR_STUCK || a.os_vector == VECTOR_LACKS) {
		nstuck++;
		return (true);
	}
	run_program(&trans, p, interrupted, &b);
	if (bare_cpu()) {
		/* the bare CPU's own way with x87 pointers */
		memset(a.os_xstate + 6, 0, 18);
		memset(b.os_xstate + 6, 0, 18);
	}
	same = side_same_flags(&p->p_in, &a, &b, trans.sd_exact, false) &&
	    side_same_memory(&interp, &trans, true, false);
	if (!same && print) {
		side_same_flags(&p->p_in, &a, &b, trans.sd_exact, true);
		side_same_memory(&interp, &trans, true, true);
	}
	return (same);
}

/*
 * What programs have. An emulated CPU gets instructions wrong (items.c), goes
 * on with code that has been changed, and returns from system calls with other
 * flags; that is not KVM's to mend.
 */
static unsigned
with_usual(void)
{
	if (opt.with != 0)
		return (opt.with);
	return (emulated_cpu() ? WITH_ALL & ~(WITH_ITEMS | WITH_WRITES |
	    WITH_SYSCALLS) : WITH_ALL);
}

static void
report(uint64_t seed, bool interrupted)
{
	static struct program p;
	unsigned with = with_usual(), bit;

	for (bit = 1; bit < WITH_ALL; bit <<= 1) {
		make_program(&p, seed, with & ~bit);
		if (!same_program(&p, interrupted, false) ||
		    !same_program(&p, interrupted, false))
			with &= ~bit;
	}
	make_program(&p, seed, with);
	printf("# program %llu (--seed), with %#x%s%s:\n",
	    (unsigned long long)seed, with, interrupted ? ", interrupted" : "",
	    p.p_kernel ? ", supervisor" : "");
	if (same_program(&p, interrupted, true))
		printf("#   it does not fail again\n");
	else if (opt.show)
		side_disassemble(p.p_code, p.p_at, CODE, false);
}

static unsigned
run_all(const char *options)
{
	static struct program p;
	unsigned n, failed = 0;
	bool interrupted;
	uint64_t before = interp.sd_ops->eo_insns(interp.sd_vcpu);

	side_new(&trans, options);
	for (n = 0; n < opt.count && failed < REPORT_MAX; n++) {
		make_program(&p, opt.seed + n, with_usual());
		interrupted = opt.interrupt != 0 &&
		    (opt.seed + n) % opt.interrupt == 0;
		if (!same_program(&p, interrupted, false)) {
			failed++;
			report(opt.seed + n, interrupted);
		}
	}
	printf("# %u programs, %llu instructions, %u without end, %u failed, "
	    "%s\n", n, (unsigned long long)
	    (interp.sd_ops->eo_insns(interp.sd_vcpu) - before), nstuck, failed,
	    options);
	nstuck = 0;
	side_print_counts(&trans);
	side_free(&trans);
	return (failed);
}

static void
test_programs(void **state)
{
	struct rng r;
	unsigned n, failed = 0;

	(void)state;
	r.r_state = opt.seed | 1;
	items_setup(&r, opt.options == NULL ||
	    strcmp(opt.options, "kvm") != 0);
	side_new(&interp, "interp");
	if (opt.options != NULL)
		failed = run_all(opt.options);
	else
		for (n = 0; side_options[n] != NULL; n++)
			failed += run_all(side_options[n]);
	if (opt.options == NULL)
		failed += run_all("jit,hot=1,direct");
	side_free(&interp);
	assert_int_equal(failed, 0);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_programs),
	};
	const struct argument table[] = {
		{ "seed", .a_u64 = &opt.seed },
		{ "count", .a_number = &opt.count },
		{ "options", .a_text = &opt.options },
		{ "with", .a_number = &opt.with },
		{ "interrupt", .a_number = &opt.interrupt },
		{ "show", .a_flag = &opt.show },
		{ .a_name = NULL },
	};

	opt.seed = new_seed();
	arguments(argc, argv, table);
	printf("# seed %llu\n", (unsigned long long)opt.seed);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
