/*
 * MOVS, CMPS, SCAS, LODS, STOS with REP, REPE, REPNE (SDM vol. 2; vol. 1,
 * 7.3.9). INS and OUTS are with the ports.
 *
 * 1. Registers stand at an element's boundary whenever an access can fail, so
 *    that a fault or an exit in the middle leaves an instruction that goes on
 *    where it was.
 * 2. A repetition looks at c_request after each element or run of elements;
 *    if something waits it returns with RIP on itself. REQ_WINDOW does not
 *    wait for it while IF is clear, which no repetition changes.
 * 3. Going up in RAM, MOVS also down, a run of elements inside a page is done
 *    by the host's own repeated instruction: overlapping operands come out as
 *    on hardware.
 */
#include "engine/soft/operand.h"

#define REPEATED	(INSN_REP | INSN_REPNE)

/* Offset in rSI or rDI. */
static inline uint64_t
offset(const struct cpu *c, const struct insn *i, unsigned reg)
{
	return (truncate_to(c->c_gpr[reg], i->i_asize));
}

static inline void
advance(struct cpu *c, const struct insn *i, unsigned reg, uint64_t bytes)
{
	if (c->c_rflags & FL_DF)
		bytes = -bytes;
	reg_set(c, reg, i->i_asize, c->c_gpr[reg] + bytes);
}

static inline uint64_t
source(struct cpu *c, const struct insn *i, unsigned size)
{
	return (mem_linear(c, i->i_seg, offset(c, i, RSI), size,
	    ENGINE_READ));
}

static inline uint64_t
destination(struct cpu *c, const struct insn *i, unsigned size, int access)
{
	return (mem_linear(c, SEG_ES, offset(c, i, RDI), size, access));
}

/*
 * How many of count elements going up from seg:off, whose first is at linear
 * and has passed its checks, lie in the same page and segment without the
 * offset wrapping.
 */
static uint64_t
run_length(const struct cpu *c, const struct insn *i, unsigned seg,
    uint64_t off, uint64_t linear, unsigned size, int access, uint64_t count)
{
	const struct segment *s = &c->c_seg[seg];
	uint64_t bytes = PAGE_SIZE - (linear & PAGE_MASK), room;

	if (i->i_asize != 8) {
		room = (UINT64_C(1) << (i->i_asize * 8)) - off;
		if (room < bytes)
			bytes = room;
	}
	if (!c->c_code64 && (s->s_flat & access) != access) {
		if ((s->s_ar & (AR_CODE | AR_DOWN)) == AR_DOWN)
			return (0);
		room = (uint64_t)s->s_limit + 1 - off;
		if (room < bytes)
			bytes = room;
	}
	return (bytes / size < count ? bytes / size : count);
}

/* The same for elements going down. */
static uint64_t
run_length_down(const struct cpu *c, const struct insn *i, unsigned seg,
    uint64_t off, uint64_t linear, unsigned size, int access, uint64_t count)
{
	const struct segment *s = &c->c_seg[seg];
	uint64_t before = (linear & PAGE_MASK) / size, n;

	if ((linear & PAGE_MASK) + size > PAGE_SIZE)
		return (0);
	if (!c->c_code64 && (s->s_flat & access) != access &&
	    (s->s_ar & (AR_CODE | AR_DOWN)) == AR_DOWN)
		return (0);
	if (i->i_asize != 8 && off / size < before)
		before = off / size;
	n = before + 1;
	return (n < count ? n : count);
}

/* May a run be taken at all? */
static inline bool
runs(struct cpu *c, bool down)
{
	return ((down || (c->c_rflags & FL_DF) == 0) && (atomic_load_explicit(
	    &c->c_request, memory_order_relaxed) & REQ_STEP) == 0);
}

/* Does something wait that is to be looked at before the next element? */
static inline bool
waits(struct cpu *c)
{
	const unsigned later = c->c_rflags & FL_IF ? 0 : REQ_WINDOW;

	return ((atomic_load_explicit(&c->c_request, memory_order_relaxed) &
	    ~later) != 0);
}

/*
 * After elements of a repetition: counts them off. True if there are more and
 * this execution may go on; else RIP is where it has to be.
 */
static inline bool
more(struct cpu *c, const struct insn *i, uint64_t elements, bool last)
{
	uint64_t count = truncate_to(c->c_gpr[RCX] - elements, i->i_asize);

	reg_set(c, RCX, i->i_asize, count);
	mem_progress(c);
	if (count == 0 || last)
		return (false);
	if (__builtin_expect(!waits(c), 1))
		return (true);
	c->c_rip -= i->i_len;
	return (false);
}

static inline uint64_t
repeat_count(const struct cpu *c, const struct insn *i)
{
	return (truncate_to(c->c_gpr[RCX], i->i_asize));
}

/* --- MOVS, STOS, LODS ---------------------------------------------------------- */

#define MOVE(unused, z)							\
static inline void							\
movs1_##z(struct cpu *c, const struct insn *i)				\
{									\
	uint64_t from = source(c, i, BYTES_##z), to, v;			\
									\
	v = mem_read(c, from, BYTES_##z);				\
	to = destination(c, i, BYTES_##z, ENGINE_WRITE);		\
	mem_write(c, to, BYTES_##z, v);					\
	advance(c, i, RSI, BYTES_##z);					\
	advance(c, i, RDI, BYTES_##z);					\
}									\
static uint64_t								\
movs_down_##z(struct cpu *c, const struct insn *i, uint64_t count)	\
{									\
	uint64_t from = source(c, i, BYTES_##z), to, n, above;		\
	uint8_t *s, *d;							\
									\
	if (mem_host(c, from, BYTES_##z, ENGINE_READ) == NULL)		\
		return (0);						\
	to = destination(c, i, BYTES_##z, ENGINE_WRITE);		\
	/* a fault names the first element */				\
	if (mem_host(c, to, BYTES_##z, ENGINE_WRITE) == NULL)		\
		return (0);						\
	n = run_length_down(c, i, i->i_seg, offset(c, i, RSI), from,	\
	    BYTES_##z, ENGINE_READ, count);				\
	n = run_length_down(c, i, SEG_ES, offset(c, i, RDI), to,	\
	    BYTES_##z, ENGINE_WRITE, n);				\
	if (n < 2)							\
		return (0);						\
	above = (n - 1) * BYTES_##z;					\
	if ((s = mem_host(c, from - above, n * BYTES_##z,		\
	    ENGINE_READ)) == NULL ||					\
	    (d = mem_host(c, to - above, n * BYTES_##z,			\
	    ENGINE_WRITE)) == NULL)					\
		return (0);						\
	s += above;							\
	d += above;							\
	count = n;							\
	__asm__ volatile("std\n\trep movs" #z "\n\tcld"		\
	    : "+S" (s), "+D" (d), "+c" (count) : : "memory", "cc");	\
	advance(c, i, RSI, n * BYTES_##z);				\
	advance(c, i, RDI, n * BYTES_##z);				\
	return (n);							\
}									\
static uint64_t								\
movs_run_##z(struct cpu *c, const struct insn *i, uint64_t count)	\
{									\
	uint64_t from, to, n;						\
	void *s, *d;							\
									\
	if (c->c_rflags & FL_DF)					\
		return (movs_down_##z(c, i, count));			\
	from = source(c, i, BYTES_##z);					\
									\
	/* The source's faults come first. */				\
	if (mem_host(c, from, BYTES_##z, ENGINE_READ) == NULL)		\
		return (0);						\
	to = destination(c, i, BYTES_##z, ENGINE_WRITE);		\
	n = run_length(c, i, i->i_seg, offset(c, i, RSI), from,		\
	    BYTES_##z, ENGINE_READ, count);				\
	n = run_length(c, i, SEG_ES, offset(c, i, RDI), to, BYTES_##z,	\
	    ENGINE_WRITE, n);						\
	if (n < 2 ||							\
	    (s = mem_host(c, from, n * BYTES_##z, ENGINE_READ)) == NULL || \
	    (d = mem_host(c, to, n * BYTES_##z, ENGINE_WRITE)) == NULL)	\
		return (0);						\
	count = n;							\
	__asm__ volatile("rep movs" #z					\
	    : "+S" (s), "+D" (d), "+c" (count) : : "memory");		\
	advance(c, i, RSI, n * BYTES_##z);				\
	advance(c, i, RDI, n * BYTES_##z);				\
	return (n);							\
}									\
static inline void							\
stos1_##z(struct cpu *c, const struct insn *i)				\
{									\
	mem_write(c, destination(c, i, BYTES_##z, ENGINE_WRITE),	\
	    BYTES_##z, (U_##z)c->c_gpr[RAX]);				\
	advance(c, i, RDI, BYTES_##z);					\
}									\
static uint64_t								\
stos_run_##z(struct cpu *c, const struct insn *i, uint64_t count)	\
{									\
	uint64_t to = destination(c, i, BYTES_##z, ENGINE_WRITE), n;	\
	void *d;							\
									\
	n = run_length(c, i, SEG_ES, offset(c, i, RDI), to, BYTES_##z,	\
	    ENGINE_WRITE, count);					\
	if (n < 2 ||							\
	    (d = mem_host(c, to, n * BYTES_##z, ENGINE_WRITE)) == NULL)	\
		return (0);						\
	count = n;							\
	__asm__ volatile("rep stos" #z : "+D" (d), "+c" (count)		\
	    : "a" (c->c_gpr[RAX]) : "memory");				\
	advance(c, i, RDI, n * BYTES_##z);				\
	return (n);							\
}									\
static inline void							\
lods1_##z(struct cpu *c, const struct insn *i)				\
{									\
	U_##z v = (U_##z)mem_read(c, source(c, i, BYTES_##z),		\
	    BYTES_##z);							\
									\
	LODS_SET_##z(c, v);						\
	advance(c, i, RSI, BYTES_##z);					\
}									\
static inline uint64_t							\
lods_run_##z(struct cpu *c, const struct insn *i, uint64_t count)	\
{									\
	(void)c, (void)i, (void)count;					\
	return (0);							\
}									\
REPEATABLE(movs, z)							\
REPEATABLE(stos, z)							\
REPEATABLE(lods, z)

#define LODS_SET_b(c, v)						\
	((c)->c_gpr[RAX] = ((c)->c_gpr[RAX] & ~UINT64_C(0xff)) | (v))
#define LODS_SET_w(c, v)	reg_set16((c), RAX, (v))
#define LODS_SET_l(c, v)	((c)->c_gpr[RAX] = (v))
#define LODS_SET_q(c, v)	((c)->c_gpr[RAX] = (v))

/* Whose runs may go down. */
enum { movs_downwards = true, stos_downwards = false,
    lods_downwards = false };

#define REPEATABLE(op, z)						\
static void								\
op##_##z(struct cpu *c, const struct insn *i)				\
{									\
	uint64_t count, n;						\
									\
	if ((i->i_flags & REPEATED) == 0) {				\
		op##1_##z(c, i);					\
		return;							\
	}								\
	while ((count = repeat_count(c, i)) != 0) {			\
		n = runs(c, op##_downwards) ?				\
		    op##_run_##z(c, i, count) : 0;			\
		if (n == 0) {						\
			op##1_##z(c, i);				\
			n = 1;						\
		}							\
		if (!more(c, i, n, false))				\
			break;						\
	}								\
}

EACH_SIZE(MOVE, )
VARIANTS_REG(movs);
VARIANTS_REG(stos);
VARIANTS_REG(lods);

/* --- CMPS, SCAS ------------------------------------------------------------------ */

/* The repetition ends when ZF is not what its prefix asks for. */
static inline bool
ends(const struct cpu *c, const struct insn *i)
{
	bool zf = c->c_rflags & FL_ZF;

	return (i->i_flags & INSN_REP ? !zf : zf);
}

#define COMPARE(unused, z)						\
static inline void							\
compare_##z(struct cpu *c, U_##z a, U_##z b)				\
{									\
	uint32_t ax;							\
									\
	__asm__("cmp" #z " %[b], %[a]\n\t" FLAGS_OUT			\
	    : "=a" (ax) : [a] "r" (a), [b] "r" (b) : "cc");		\
	flags_set(c, ax, FL_ARITH);					\
}									\
static inline void							\
cmps1_##z(struct cpu *c, const struct insn *i)				\
{									\
	/* ES:rDI is read first. */					\
	uint64_t at = destination(c, i, BYTES_##z, ENGINE_READ);	\
	U_##z b = (U_##z)mem_read(c, at, BYTES_##z), a;			\
									\
	at = source(c, i, BYTES_##z);					\
	a = (U_##z)mem_read(c, at, BYTES_##z);				\
	compare_##z(c, a, b);						\
	advance(c, i, RSI, BYTES_##z);					\
	advance(c, i, RDI, BYTES_##z);					\
}									\
static uint64_t								\
cmps_run_##z(struct cpu *c, const struct insn *i, uint64_t count)	\
{									\
	uint64_t from, to, n;						\
	uint32_t ax;							\
	void *s, *d;							\
									\
	/* The first element's checks, in the order of cmps1. */	\
	to = destination(c, i, BYTES_##z, ENGINE_READ);			\
	if (mem_host(c, to, BYTES_##z, ENGINE_READ) == NULL)		\
		return (0);						\
	from = source(c, i, BYTES_##z);					\
	n = run_length(c, i, i->i_seg, offset(c, i, RSI), from,		\
	    BYTES_##z, ENGINE_READ, count);				\
	n = run_length(c, i, SEG_ES, offset(c, i, RDI), to, BYTES_##z,	\
	    ENGINE_READ, n);						\
	if (n < 2 ||							\
	    (s = mem_host(c, from, n * BYTES_##z, ENGINE_READ)) == NULL || \
	    (d = mem_host(c, to, n * BYTES_##z, ENGINE_READ)) == NULL)	\
		return (0);						\
	count = n;							\
	if (i->i_flags & INSN_REP)					\
		__asm__ volatile("repe cmps" #z "\n\t" FLAGS_OUT	\
		    : "=a" (ax), "+S" (s), "+D" (d), "+c" (count) :	\
		    : "cc", "memory");					\
	else								\
		__asm__ volatile("repne cmps" #z "\n\t" FLAGS_OUT	\
		    : "=a" (ax), "+S" (s), "+D" (d), "+c" (count) :	\
		    : "cc", "memory");					\
	flags_set(c, ax, FL_ARITH);					\
	n -= count;							\
	advance(c, i, RSI, n * BYTES_##z);				\
	advance(c, i, RDI, n * BYTES_##z);				\
	return (n);							\
}									\
static inline void							\
scas1_##z(struct cpu *c, const struct insn *i)				\
{									\
	uint64_t at = destination(c, i, BYTES_##z, ENGINE_READ);	\
									\
	compare_##z(c, (U_##z)c->c_gpr[RAX],				\
	    (U_##z)mem_read(c, at, BYTES_##z));				\
	advance(c, i, RDI, BYTES_##z);					\
}									\
static uint64_t								\
scas_run_##z(struct cpu *c, const struct insn *i, uint64_t count)	\
{									\
	uint64_t to = destination(c, i, BYTES_##z, ENGINE_READ), n;	\
	uint64_t rax = c->c_gpr[RAX];					\
	void *d;							\
									\
	n = run_length(c, i, SEG_ES, offset(c, i, RDI), to, BYTES_##z,	\
	    ENGINE_READ, count);					\
	if (n < 2 ||							\
	    (d = mem_host(c, to, n * BYTES_##z, ENGINE_READ)) == NULL)	\
		return (0);						\
	count = n;							\
	if (i->i_flags & INSN_REP)					\
		__asm__ volatile("repe scas" #z "\n\t" FLAGS_OUT	\
		    : "+a" (rax), "+D" (d), "+c" (count) :		\
		    : "cc", "memory");					\
	else								\
		__asm__ volatile("repne scas" #z "\n\t" FLAGS_OUT	\
		    : "+a" (rax), "+D" (d), "+c" (count) :		\
		    : "cc", "memory");					\
	flags_set(c, (uint32_t)rax, FL_ARITH);				\
	n -= count;							\
	advance(c, i, RDI, n * BYTES_##z);				\
	return (n);							\
}									\
REPEATABLE_WHILE(cmps, z)						\
REPEATABLE_WHILE(scas, z)

#define REPEATABLE_WHILE(op, z)						\
static void								\
op##_##z(struct cpu *c, const struct insn *i)				\
{									\
	uint64_t count, n;						\
									\
	if ((i->i_flags & REPEATED) == 0) {				\
		op##1_##z(c, i);					\
		return;							\
	}								\
	while ((count = repeat_count(c, i)) != 0) {			\
		n = runs(c, false) ? op##_run_##z(c, i, count) : 0;	\
		if (n == 0) {						\
			op##1_##z(c, i);				\
			n = 1;						\
		}							\
		if (!more(c, i, n, ends(c, i)))				\
			break;						\
	}								\
}

EACH_SIZE(COMPARE, )
VARIANTS_REG(cmps);
VARIANTS_REG(scas);
