/*
 * What test guests are made of: output on COM1, checks, and instructions tried
 * under a net that catches what they raise.
 *
 * A guest is one image at 8000h. Its main() runs in long mode (guests in
 * long/), in 32-bit protected mode (prot/) or in real mode (real/). Memory
 * below 4 GiB is where it is; in long mode addresses from 1 GiB on are the same
 * memory again, for CPL 3.
 */
#ifndef GUEST_H
#define GUEST_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned long word;	/* a register */

#define NONE		0xffff	/* no exception */
#define USER_ALIAS	0x40000000ul
#define FREE_PAGES	0x200000ul	/* memory that nobody uses from here */

/* What was caught last; layout known to the start files. */
struct caught {
	word	vector, error, rip, cs, rflags, rsp, ss, cr2;
};
extern volatile struct caught caught;
extern volatile word resume;	/* where to go on; 0: nothing is expected */

void	put(const char *);
void	put_hex(u64);
/* Prints the check's result; a guest fails with its first bad one. */
void	check(const char *name, int good);
void	check_equal(const char *name, u64 got, u64 expected);
/* Was this what came? error is only compared where there is one. */
void	check_caught(const char *name, unsigned vector, unsigned error);
_Noreturn void finish(void);
int	main(void);

static inline void
outb(u16 port, u8 value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

#ifndef REAL
#ifdef __x86_64__
#define TRY_SET		"movq %%rsp, %%r12; leaq 9f(%%rip), %%rcx; "	\
			"movq %%rcx, resume(%%rip); "
#define TRY_CLEAR	"9: movq %%r12, %%rsp; movq $0, resume(%%rip)"
#define TRY_SAVED	"r12"
#else
#define TRY_SET		"movl %%esp, %%edi; movl $9f, resume; "
#define TRY_CLEAR	"9: movl %%edi, %%esp; movl $0, resume"
#define TRY_SAVED	"edi"
#endif
/* Executes insn, which may clobber CX and leave things on the stack; the vector
 * caught, or NONE. AX is operand 0, in and out (try_ax). */
#define TRY(ax, insn, ...)						\
	({								\
		word ax_ = (word)(ax);					\
		caught.vector = NONE;					\
		__asm__ volatile(TRY_SET insn "; " TRY_CLEAR		\
		    : "+a"(ax_) : __VA_ARGS__ : "cx", TRY_SAVED,		\
		    "memory", "cc");					\
		try_ax = ax_;						\
		(unsigned)caught.vector;				\
	})
extern word try_ax;

/* Runs the code at rip at CPL 3 with ax in AX until something is caught. */
unsigned user(word rip, word rsp, word ax);
/* The user's selectors; the alias is added by user(). */
void	set_gate(unsigned vector, word handler, unsigned type, unsigned dpl,
	    unsigned ist);

#define READ_CR(n)							\
	({ word v_; __asm__ volatile("mov %%cr" #n ", %0" : "=r"(v_)); v_; })
#define WRITE_CR(n, v)							\
	__asm__ volatile("mov %0, %%cr" #n : : "r"((word)(v)) : "memory")
#define READ_DR(n)							\
	({ word v_; __asm__ volatile("mov %%dr" #n ", %0" : "=r"(v_)); v_; })
#define WRITE_DR(n, v)							\
	__asm__ volatile("mov %0, %%dr" #n : : "r"((word)(v)) : "memory")

static inline u64
rdmsr(u32 msr)
{
	u32 lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return (lo | (u64)hi << 32);
}

static inline void
wrmsr(u32 msr, u64 value)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((u32)value),
	    "d"((u32)(value >> 32)) : "memory");
}

static inline void
cpuid(u32 leaf, u32 subleaf, u32 out[4])
{
	__asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]),
	    "=d"(out[3]) : "a"(leaf), "c"(subleaf));
}
#endif

#endif
