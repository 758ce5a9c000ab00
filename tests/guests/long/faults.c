/*
 * Which instructions, control registers' bits, MSRs' values and IRETQ frames
 * fault, and how: SDM vol. 2 for each, vol. 3A 2.5, 5.8, 6.13; vol. 4.
 */
#include "guest.h"

extern u64 gdt[];
extern u8 idt[];

/* Executes insn; vector v and error code e are to come of it. */
#define X(name, insn, v, e)						\
	do {								\
		TRY(0, insn,);						\
		check_caught(name, v, e);				\
	} while (0)
/* WRMSR of hi:lo. */
#define MSRW(name, msr, hi, lo, v)					\
	do {								\
		TRY(lo, "movl %1, %%ecx; movl %2, %%edx; wrmsr",	\
		    "i"(msr), "i"(hi));				\
		check_caught(name, v, 0);				\
	} while (0)
/* IRETQ to cs:rip with SS ss. */
#define IRET(name, cs, ss, rip, v, e)					\
	do {								\
		TRY(rip, "mov %%rsp, %%rcx; pushq $" #ss "; push %%rcx; " \
		    "pushf; pushq $" #cs "; push %0; iretq",);		\
		check_caught(name, v, e);				\
	} while (0)
/* Writes value to register reg: vector v is to come of it. */
#define SET(name, reg, value, v)					\
	do {								\
		TRY(value, "mov %0, %%" reg,);				\
		check_caught(name, v, 0);				\
	} while (0)
int
main(void)
{
	u32 out[4];
	word cr4 = READ_CR(4);
	X("pcommit", ".byte 0x66,0x0f,0xae,0xf8", 6, 0);
	X("tpause", ".byte 0x66,0x0f,0xae,0xf0", 6, 0);
	X("rdpru", ".byte 0x0f,0x01,0xfd", 6, 0);
	X("vmcall", "vmcall", 6, 0);
	X("vmmcall", "vmmcall", 6, 0);
	X("monitor", "monitor", 6, 0);
	X("mwait", "mwait", 6, 0);
	X("rdpkru", ".byte 0x0f,0x01,0xee", 6, 0);
	X("xsaves", ".byte 0x0f,0xc7,0x2c,0x24", 6, 0);
	X("rsm", "rsm", 6, 0);
	X("getsec", ".byte 0x0f,0x37", 6, 0);
	X("ud0", ".byte 0x0f,0xff,0xc0", 6, 0);
	X("ud1", ".byte 0x0f,0xb9,0xc0", 6, 0);
	X("lock nop", ".byte 0xf0,0x90", 6, 0);
	X("lock mov", ".byte 0xf0,0x89,0x04,0x24", 6, 0);
	X("lock cmp", ".byte 0xf0,0x39,0x04,0x24", 6, 0);
	X("lock add reg", ".byte 0xf0,0x01,0xc0", 6, 0);
	X("lock bt", ".byte 0xf0,0x0f,0xa3,0x04,0x24", 6, 0);
	X("push es", ".byte 0x06", 6, 0);
	X("aam", ".byte 0xd4,0x0a", 6, 0);
	X("ljmp imm", ".byte 0xea,0,0,0,0,0,0", 6, 0);
	X("lea reg", ".byte 0x8d,0xc0", 6, 0);
	X("mov cs", "movl $8, %%eax; .byte 0x8e,0xc8", 6, 0);
	X("mov cr1", ".byte 0x0f,0x20,0xc8", 6, 0);
	X("mov cr9", ".byte 0x44,0x0f,0x20,0xc8", 6, 0);
	X("into", ".byte 0xce", 6, 0);
	X("15 bytes", ".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,"
	    "0x66,0x66,0x66,0x66,0x66,0x90", NONE, 0);
	X("16 bytes", ".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,"
	    "0x66,0x66,0x66,0x66,0x66,0x66,0x90", 13, 0);
	/* interlocks */
	SET("PE off", "cr0", READ_CR(0) & ~1ul, 13);
	SET("PG off in 64-bit", "cr0", READ_CR(0) & ~0x80000000ul, 13);
	SET("NW no CD", "cr0", (READ_CR(0) | 0x20000000) & ~0x40000000ul, 13);
	SET("CR0 high", "cr0", READ_CR(0) | 1ul << 32, 13);
	SET("PAE off", "cr4", cr4 & ~0x20ul, 13);
	SET("LA57", "cr4", cr4 | 1ul << 12, 13);
	SET("VMXE", "cr4", cr4 | 1ul << 13, 13);
	SET("SMXE", "cr4", cr4 | 1ul << 14, 13);
	SET("PKE", "cr4", cr4 | 1ul << 22, 13);
	SET("CET", "cr4", cr4 | 1ul << 23, 13);
	SET("LAM_SUP", "cr4", cr4 | 1ul << 28, 13);
	SET("CR4 high", "cr4", cr4 | 1ul << 40, 13);
	SET("CR3 LAM", "cr3", READ_CR(3) | 1ul << 61, 13);
	SET("CR3 63 no PCIDE", "cr3", READ_CR(3) | 1ul << 63, 13);
	SET("CR8 16", "cr8", 16, 13);
	MSRW("EFER bad", 0xc0000080, 0, 0x80000d01u, 13);
	MSRW("EFER no LME", 0xc0000080, 0, 0x800, 13);
	MSRW("LSTAR", 0xc0000082, 0x00008000, 0, 13);
	MSRW("CSTAR", 0xc0000083, 0x80000000, 0, 13);
	MSRW("SFMASK hi", 0xc0000084, 1, 0, 13);
	MSRW("KGSBASE", 0xc0000102, 0x00008000, 0, 13);
	MSRW("PAT 2", 0x277, 0, 0x02, 13);
	MSRW("PAT 8", 0x277, 0x08000000, 0, 13);
	MSRW("MTRR def", 0x2ff, 0, 2, 13);
	MSRW("MTRRcap", 0xfe, 0, 0, 13);
	MSRW("no such", 0x12345, 0, 0, 13);
	MSRW("no PRED_CMD", 0x49, 0, 1, 13);
	MSRW("x2APIC off", 0x808, 0, 0, 13);
	TRY(0, "movl $0x277, %%ecx; rdmsr",);
	check_caught("PAT", NONE, 0);
	TRY(0, "movl $0x800, %%ecx; rdmsr",);
	check_caught("0x800", 13, 0);
	/* XSETBV */
	cpuid(1, 0, out);
	if (out[2] >> 26 & 1) {
		u32 x0, sup;
		cpuid(0xd, 0, out); sup = out[0];
		X("xgetbv, no OSXSAVE", "xorl %%ecx, %%ecx; xgetbv", 6, 0);
		X("xsetbv, no OSXSAVE", "xorl %%ecx, %%ecx; xsetbv", 6, 0);
		WRITE_CR(4, cr4 | 1 << 18);
		cpuid(1, 0, out);
		check("OSXSAVE", out[2] >> 27 & 1);
		X("xgetbv", "xorl %%ecx, %%ecx; xgetbv", NONE, 0);
		x0 = try_ax;
		check_equal("XCR0 at reset", x0, 1);
		X("xsetbv 0", "xorl %%ecx, %%ecx; xorl %%edx, %%edx; xsetbv",
		    13, 0);
		X("xsetbv 5", "movl $5, %%eax; xorl %%ecx, %%ecx; xorl %%edx, "
		    "%%edx; xsetbv", 13, 0);
		X("xsetbv edx", "movl $1, %%eax; xorl %%ecx, %%ecx; movl $1, "
		    "%%edx; xsetbv", 13, 0);
		X("xsetbv 9", "movl $9, %%eax; xorl %%ecx, %%ecx; xorl %%edx, "
		    "%%edx; xsetbv", 13, 0);
		X("xcr1 set", "movl $1, %%eax; movl $1, %%ecx; xorl %%edx, "
		    "%%edx; xsetbv", 13, 0);
		X("xcr16 get", "movl $16, %%ecx; xgetbv", 13, 0);
		X("xcr16 set", "movl $3, %%eax; movl $16, %%ecx; xorl %%edx, "
		    "%%edx; xsetbv", 13, 0);
		X("xsetbv 66", "movl $1, %%eax; xorl %%ecx, %%ecx; "
		    "xorl %%edx, %%edx; .byte 0x66; xsetbv", 6, 0);
		TRY(sup, "xorl %%ecx, %%ecx; xorl %%edx, %%edx; xsetbv",);
	check_caught("xsetbv all", NONE, 0);
		cpuid(0xd, 0, out);
		check_equal("size now is max", out[1], out[2]);
		WRITE_CR(4, cr4);
	}
	/* canonical boundary */
	TRY(0x7fffffffffffull, "mov (%0), %0",);
	check("straddle", caught.vector == 14 || caught.vector == 13);
	TRY(0x800000000000ull, "jmp *%0",);
	check_caught("jmp noncanonical", 13, 0);
	TRY(0x800000000000ull, "push %0; ret",);
	check_caught("ret noncanonical", 13, 0);
	/* iretq */
	IRET("iret noncanonical", 8, 0x10, 0x800000000000ull, 13, 0);
	IRET("iret cs 0", 0, 0x10, 0x1000, 13, 0);
	IRET("iret cs data", 0x10, 0x10, 0x1000, 13, 0x10);
	IRET("iret cs beyond", 0x1008, 0x10, 0x1000, 13, 0x1008);
	IRET("iret ss code", 8, 8, 0x1000, 13, 8);
	IRET("iret ss beyond", 8, 0x1010, 0x1000, 13, 0x1010);
	IRET("iret cpl3 ss null", 0x2b, 0, 0x1000, 13, 0);
	IRET("iret rpl mismatch", 0x2b, 0x10, 0x1000, 13, 0x10);
	gdt[9] = 0x00cf13000000ffffull;
	IRET("iret ss np", 8, 0x48, 0x1000, 12, 0x48);
	gdt[9] = 0x00af1b000000ffffull;
	IRET("iret cs np", 0x48, 0x10, 0x1000, 11, 0x48);
	gdt[9] = 0x00ef9b000000ffffull;
	IRET("iret cs L D", 0x48, 0x10, 0x1000, 13, 0x48);
	X("iret NT", "pushf; orq $0x4000, (%%rsp); popf; iretq", 13, 0);
	X("clear NT", "pushf; andq $~0x4000, (%%rsp); popf", NONE, 0);
	/* int n beyond IDT etc. */
	{
		struct { u16 limit; u64 base; } __attribute__((packed)) idtr,
		    small;
		__asm__ volatile("sidt %0" : "=m"(idtr));
		small = idtr; small.limit = 0x20 * 16 - 1;
		__asm__ volatile("lidt %0" : : "m"(small));
		X("int beyond", "int $0x20", 13, 0x102);
		__asm__ volatile("lidt %0" : : "m"(idtr));
	}
	/* gate CS faults */
	set_gate(0x46, 0x1000, 14, 0, 0);
	*(u16 *)(idt + 0x46 * 16 + 2) = 0;
	X("gate cs null", "int $0x46", 13, 0);
	*(u16 *)(idt + 0x46 * 16 + 2) = 0x1008;
	X("gate cs beyond", "int $0x46", 13, 0x1008);
	*(u16 *)(idt + 0x46 * 16 + 2) = 0x10;
	X("gate cs data", "int $0x46", 13, 0x10);
	*(u16 *)(idt + 0x46 * 16 + 2) = 0x48;
	gdt[9] = 0x00af1b000000ffffull;
	X("gate cs np", "int $0x46", 11, 0x48);
	gdt[9] = 0x00cf9b000000ffffull;
	X("gate cs compat", "int $0x46", 13, 0x48);
	*(u16 *)(idt + 0x46 * 16 + 2) = 8;
	*(u32 *)(idt + 0x46 * 16 + 8) = 0x8000;
	X("gate rip noncanonical", "int $0x46", 13, 0);
	/* lldt, ltr */
	X("lldt code", "movl $8, %%eax; lldt %%ax", 13, 8);
	X("ltr null", "xorl %%eax, %%eax; ltr %%ax", 13, 0);
	X("ltr code", "movl $8, %%eax; ltr %%ax", 13, 8);
	X("cmpxchg16b unaligned", "leaq -56(%%rsp), %%rcx; andq $-16, %%rcx; "
	    "cmpxchg16b 8(%%rcx)", 13, 0);
	X("fxsave unaligned", "leaq -1024(%%rsp), %%rcx; andq $-16, %%rcx; "
	    "fxsave 8(%%rcx)", 13, 0);
	X("lgdt noncanonical", "movabs $0x8000000000000000, %%rcx; "
	    "push %%rcx; push %%rcx; push %%rcx; lgdt 6(%%rsp)", 13, 0);
	X("stac", "stac; clac", NONE, 0);
	X("wrgsbase, no FSGSBASE", "wrgsbase %%rax", 6, 0);
	WRITE_CR(4, cr4 | 1 << 16);
	TRY(1ul << 63, "wrgsbase %0",);
	check_caught("wrgsbase noncanonical", 13, 0);
	TRY(0x1234, "wrgsbase %0; xor %0, %0; rdgsbase %0",);
	check_equal("gsbase", try_ax, 0x1234);
	TRY(0, "swapgs; rdgsbase %0; swapgs",);
	check_equal("swapgs", try_ax, 0);
	WRITE_CR(4, cr4);
	X("rdpmc", "xorl %%ecx, %%ecx; rdpmc", 13, 0);
	return (0);
}
