/*
 * MOVS, STOS, LODS, CMPS, SCAS in translated code (SDM vol. 1, 7.3.9).
 *
 * The STRING thunk calls jit_string(), which does as much of the instruction as
 * lies in ordinary memory: runs of elements inside a page by the host's own
 * repeated instruction, as insn_string.c does. What is left of it (faults,
 * devices, code, elements across a page's end, DF set, something requested) is
 * the interpreter's, which begins where rCX, rSI and rDI stand.
 *
 * Light (jit.h), in the section of what may be left by a host fault (enter.S).
 * The VCPU's thread.
 */
#include <stdatomic.h>
#include <stddef.h>

#include "engine/soft/cpu.h"
#include "engine/soft/jit/emit.h"
#include "engine/soft/jit/tables.h"
#include "engine/soft/mmu.h"

/* Up to here bytes are moved by a loop: the host's repeated instruction takes
 * a while to begin. */
#define SHORT		64

/* i, being executed. */
struct string {
	struct cpu	*s_c;
	uint64_t	 s_mask;	/* of addresses */
	uint64_t	 s_base;	/* of the source's segment */
	uint64_t	 s_count;	/* elements to go */
	unsigned	 s_size;	/* of an element */
	unsigned	 s_repeat;	/* INSN_REP, INSN_REPNE or 0 */
};

/* --- addresses ----------------------------------------------------------- */

/* Host address of linear's byte, if its page may be accessed without more. */
static inline uint8_t *
look(struct cpu *c, uint64_t linear, int access)
{
	return (jtlb_look(c, c->c_mmu->m_class, linear, 1, access));
}

/* The same, or filled. */
static inline uint8_t *
host(struct cpu *c, uint64_t linear, int access)
{
	uint8_t *p = look(c, linear, access);

	if (__builtin_expect(p == NULL, 0) &&
	    jit_fill(c, linear, 1 | (unsigned)access << 8) != NULL)
		p = look(c, linear, access);
	return (p);
}

static inline uint64_t
source(const struct string *s)
{
	return ((s->s_c->c_gpr[RSI] & s->s_mask) + s->s_base);
}

static inline uint64_t
destination(const struct string *s)
{
	return (s->s_c->c_gpr[RDI] & s->s_mask);
}

/* How many elements there are from linear to the end of its page, at most n. */
static inline uint64_t
room(uint64_t linear, unsigned size, uint64_t n)
{
	uint64_t bytes = PAGE_SIZE - (linear & PAGE_MASK);

	return (bytes >= n * size && n <= PAGE_SIZE ? n : bytes / size);
}

static inline void
advance(const struct string *s, unsigned reg, uint64_t elements)
{
	uint64_t *r = &s->s_c->c_gpr[reg];

	*r = (*r + elements * s->s_size) & s->s_mask;
}

/* n elements are done. */
static inline void
count_off(struct string *s, uint64_t n)
{
	s->s_count -= n;
	if (s->s_repeat != 0)
		s->s_c->c_gpr[RCX] = s->s_count;
}

/* --- runs of bytes ------------------------------------------------------- */

typedef uint64_t __attribute__((may_alias, aligned(1))) quad;
typedef uint32_t __attribute__((may_alias, aligned(1))) dword;
typedef uint16_t __attribute__((may_alias, aligned(1))) word;

/* What is left of less than eight bytes. */
static inline void
move_tail(uint8_t *to, const uint8_t *from, uint64_t n)
{
	if (n & 4) {
		*(dword *)to = *(const dword *)from;
		to += 4;
		from += 4;
	}
	if (n & 2) {
		*(word *)to = *(const word *)from;
		to += 2;
		from += 2;
	}
	if (n & 1)
		*to = *from;
}

/* n bytes in elements of size, upwards. */
static inline void
move(uint8_t *to, const uint8_t *from, uint64_t n, unsigned size)
{
	uint64_t quads = n / 8;

	/* a target this shortly behind the source repeats what is between */
	if (__builtin_expect((uint64_t)(to - from) < sizeof(quad), 0)) {
		n /= size;
		switch (size) {
		case 1:
			__asm__ volatile("rep movsb" : "+D" (to), "+S" (from),
			    "+c" (n) : : "memory");
			break;
		case 2:
			__asm__ volatile("rep movsw" : "+D" (to), "+S" (from),
			    "+c" (n) : : "memory");
			break;
		case 4:
			__asm__ volatile("rep movsl" : "+D" (to), "+S" (from),
			    "+c" (n) : : "memory");
			break;
		default:
			__asm__ volatile("rep movsq" : "+D" (to), "+S" (from),
			    "+c" (n) : : "memory");
		}
		return;
	}
	if (n <= SHORT)
		for (; quads > 0; quads--, to += 8, from += 8)
			*(quad *)to = *(const quad *)from;
	else
		__asm__ volatile("rep movsq" : "+D" (to), "+S" (from),
		    "+c" (quads) : : "memory");
	move_tail(to, from, n % 8);
}

/* value: the element, repeated to eight bytes. */
static inline void
fill(uint8_t *to, uint64_t value, uint64_t n)
{
	uint64_t quads = n / 8;

	if (n <= SHORT)
		for (; quads > 0; quads--, to += 8)
			*(quad *)to = value;
	else
		__asm__ volatile("rep stosq" : "+D" (to), "+c" (quads)
		    : "a" (value) : "memory");
	move_tail(to, (const uint8_t *)&value, n % 8);
}

/* --- instructions -------------------------------------------------------- */

/* Each does a run of elements; false: the interpreter has to do the next. */

static bool
movs(struct string *s)
{
	uint64_t from = source(s), to = destination(s), n;
	uint8_t *f, *t;

	n = room(to, s->s_size, room(from, s->s_size, s->s_count));
	if (n == 0 || (f = host(s->s_c, from, ENGINE_READ)) == NULL ||
	    (t = host(s->s_c, to, ENGINE_WRITE)) == NULL)
		return (false);
	/* filling one may have taken the other away */
	if ((f = look(s->s_c, from, ENGINE_READ)) == NULL)
		return (false);
	move(t, f, n * s->s_size, s->s_size);
	advance(s, RSI, n);
	advance(s, RDI, n);
	count_off(s, n);
	return (true);
}

static bool
stos(struct string *s)
{
	uint64_t to = destination(s), value = s->s_c->c_gpr[RAX], n;
	uint8_t *t;

	n = room(to, s->s_size, s->s_count);
	if (n == 0 || (t = host(s->s_c, to, ENGINE_WRITE)) == NULL)
		return (false);
	if (s->s_size == 1)
		value = (value & 0xff) * UINT64_C(0x0101010101010101);
	else if (s->s_size == 2)
		value = (value & 0xffff) * UINT64_C(0x0001000100010001);
	else if (s->s_size == 4)
		value = (uint32_t)value * UINT64_C(0x0000000100000001);
	fill(t, value, n * s->s_size);
	advance(s, RDI, n);
	count_off(s, n);
	return (true);
}

static bool
lods(struct string *s)
{
	uint64_t from = source(s), n, *rax = &s->s_c->c_gpr[RAX];
	uint8_t *f;

	n = room(from, s->s_size, s->s_count);
	if (n == 0 || (f = host(s->s_c, from, ENGINE_READ)) == NULL)
		return (false);
	f += (n - 1) * s->s_size;	/* the last one stays */
	switch (s->s_size) {
	case 1:
		*rax = (*rax & ~UINT64_C(0xff)) | *f;
		break;
	case 2:
		*rax = (*rax & ~UINT64_C(0xffff)) | *(const word *)f;
		break;
	case 4:
		*rax = *(const dword *)f;
		break;
	default:
		*rax = *(const quad *)f;
	}
	advance(s, RSI, n);
	count_off(s, n);
	return (true);
}

/* Runs the host's instruction with these registers; flags as C_JFLAGS. */
#define COMPARE(op)							\
	__asm__ volatile(op "\n\tlahf\n\tseto %%al"			\
	    : "+a" (rax), "+S" (f), "+D" (t), "+c" (n) : : "cc", "memory")
#define COMPARES(op)							\
	do {								\
		switch (s->s_size) {					\
		case 1:							\
			COMPARE(op "b");				\
			break;						\
		case 2:							\
			COMPARE(op "w");				\
			break;						\
		case 4:							\
			COMPARE(op "l");				\
			break;						\
		default:						\
			COMPARE(op "q");				\
		}							\
	} while (0)

/* After a run of done of n elements: has the comparison ended it? */
static bool
compared(struct string *s, uint64_t rax, uint64_t done)
{
	bool zf = rax >> 8 & FL_ZF;

	s->s_c->c_jflags = rax;
	count_off(s, done);
	return (s->s_repeat == 0 || zf != (s->s_repeat == INSN_REP));
}

static bool
cmps(struct string *s)
{
	uint64_t from = source(s), to = destination(s), all, n, rax = 0;
	uint8_t *f, *t;

	all = n = room(to, s->s_size, room(from, s->s_size, s->s_count));
	if (n == 0 || (t = host(s->s_c, to, ENGINE_READ)) == NULL ||
	    (f = host(s->s_c, from, ENGINE_READ)) == NULL ||
	    (t = look(s->s_c, to, ENGINE_READ)) == NULL)
		return (false);
	if (s->s_repeat == INSN_REPNE)
		COMPARES("repne cmps");
	else
		COMPARES("repe cmps");
	n = all - n;
	advance(s, RSI, n);
	advance(s, RDI, n);
	if (compared(s, rax, n))
		s->s_count = 0;
	return (true);
}

static bool
scas(struct string *s)
{
	uint64_t to = destination(s), all, n, rax = s->s_c->c_gpr[RAX];
	uint8_t *f = NULL, *t;

	all = n = room(to, s->s_size, s->s_count);
	if (n == 0 || (t = host(s->s_c, to, ENGINE_READ)) == NULL)
		return (false);
	if (s->s_repeat == INSN_REPNE)
		COMPARES("repne scas");
	else
		COMPARES("repe scas");
	n = all - n;
	advance(s, RDI, n);
	if (compared(s, rax, n))
		s->s_count = 0;
	return (true);
}

/* By bits 3 to 1 of the opcode: A4 to AF. */
static bool (*const step[8])(struct string *) = {
	[2] = movs, [3] = cmps, [5] = stos, [6] = lods, [7] = scas
};

/*
 * jit_string:
 *	executes the instruction that what describes (tr_string), whose state is
 *	in c but for vectors, RIP and what calls preserve. False if the
 *	interpreter has to, from where it stands.
 */
bool
jit_string(struct cpu *c, unsigned what)
{
	struct string s = { .s_c = c, .s_size = what >> 8 & 15, .s_count = 1 };
	unsigned seg = what >> 16 & 15;

	if (c->c_rflags & FL_DF)
		return (false);
	s.s_mask = (what >> 12 & 15) == 8 ? UINT64_MAX : UINT32_MAX;
	if (seg >= SEG_FS)
		s.s_base = c->c_seg[seg].s_base;
	s.s_repeat = what >> 20;
	if (s.s_repeat != 0)
		s.s_count = c->c_gpr[RCX] & s.s_mask;
	while (s.s_count != 0) {
		if (!step[what >> 1 & 7](&s))
			return (false);
		if (s.s_count != 0 && atomic_load_explicit(&c->c_request,
		    memory_order_relaxed) != 0)
			return (false);
	}
	return (true);
}

/* --- the rule ------------------------------------------------------------ */

bool
tr_string(struct tr *x, const struct insn *i)
{
	/* 32-bit code: DS and ES are flat, the sum with a base could wrap */
	if (i->i_asize != (x->x_64 ? 8 : 4) ||
	    (!x->x_64 && ((x->x_mode & JM_DATA) == 0 || i->i_seg != SEG_DS)))
		return (false);
	e_mov_imm(x, H_T1, i->i_opcode | (unsigned)i->i_osize << 8 |
	    (unsigned)i->i_asize << 12 | (unsigned)i->i_seg << 16 |
	    (i->i_flags & (INSN_REP | INSN_REPNE)) << 20);
	e_call_thunk(x, THUNK_STRING);
	return (true);
}
