/*
 * Exceptions in long mode: vectors, error codes, frames, interrupt shadows,
 * stacks of the TSS, double faults. SDM vol. 3A chapter 6.
 */
#include "guest.h"

extern u8 user_ud[], user_int80[], user_hlt[], user_int20[], user_bad[];
extern u8 user_nulls[];
__asm__(".text\n"
    "user_ud: ud2\n"
    "user_nulls: mov %es, %eax; mov %gs, %ecx; shl $16, %ecx; or %ecx, %eax\n"
    "   ud2\n"
    "user_int80: int $0x80\n"
    "user_hlt: hlt\n"
    "user_int20: int $0x20\n"
    "user_bad: movabs $0x7000, %rcx; mov (%rcx), %rax\n");

extern u64 gdt[];
extern u8 idt[];

int
main(void)
{
	word before, after;

	TRY(0, "ud2",);
	check_caught("ud2 raises #UD", 6, 0);
	TRY(0, "xor %%edx, %%edx; div %%edx", "d"(0));
	check_caught("division by zero raises #DE", 0, 0);
	TRY(0, "int3",);
	check_caught("int3 traps", 3, 0);
	TRY(0, "int $0x42",);
	check_caught("int 42h", 0x42, 0);
	TRY(0, ".byte 0xf1",);
	check_caught("int1 traps as #DB", 1, 0);
	TRY(1ul << 63, "mov (%0), %0",);
	check_caught("not canonical: #GP", 13, 0);
	TRY(1ul << 63, "mov %%ss:(%0), %0",);
	check_caught("an SS prefix is ignored: #GP", 13, 0);
	TRY(1ul << 63, "mov (%%rsp, %0), %0",);
	check_caught("not canonical by RSP: #SS", 12, 0);
	TRY(0x10000000000ul, "mov (%0), %0",);
	check_caught("absent page, read", 14, 0);
	check_equal("CR2", caught.cr2, 0x10000000000ul);
	TRY(0x10000000123ul, "movb $1, (%0)",);
	check_caught("absent page, write", 14, 2);
	check_equal("CR2 to the byte", caught.cr2, 0x10000000123ul);
	TRY(0x38, "mov %0, %%ds",);
	check_caught("null-typed descriptor: #GP(selector)", 13, 0x38);
	TRY(0x1000, "mov %0, %%es",);
	check_caught("beyond the GDT: #GP(selector)", 13, 0x1000);
	gdt[9] = 0x00cf13000000ffffull;		/* not present data */
	TRY(0x48, "mov %0, %%es",);
	check_caught("not present: #NP", 11, 0x48);
	TRY(0x48, "mov %0, %%ss",);
	check_caught("not present, SS: #SS", 12, 0x48);

	/* frames from CPL 3 */
	user((word)user_ud, 0x5000, 0);
	check_caught("CPL 3: #UD", 6, 0);
	check_equal("RIP of the fault", caught.rip, (word)user_ud + USER_ALIAS);
	check_equal("CS", caught.cs, 0x2b);
	check_equal("SS", caught.ss, 0x23);
	check_equal("RSP", caught.rsp, 0x5000 + USER_ALIAS);
	check_equal("RF is set by a fault", caught.rflags >> 16 & 1, 1);
	user((word)user_int80, 0x5000, 0);
	check_caught("CPL 3: int 80h through DPL 3", 0x80, 0);
	check_equal("RIP past int", caught.rip,
	    (word)user_int80 + 2 + USER_ALIAS);
	check_equal("RF is clear after a trap", caught.rflags >> 16 & 1, 0);
	user((word)user_hlt, 0x5000, 0);
	check_caught("CPL 3: hlt", 13, 0);
	user((word)user_int20, 0x5000, 0);
	check_caught("CPL 3: int 20h through DPL 0", 13, 0x20 * 8 + 2);
	check_equal("RIP on int", caught.rip, (word)user_int20 + USER_ALIAS);
	user((word)user_bad, 0x5000, 0);
	check_caught("CPL 3: supervisor page", 14, 5);
	/* IRET to CPL 3 leaves no RPL in null selectors, and bases alone */
	__asm__ volatile("mov %0, %%es; mov %0, %%gs" : : "r"(3));
	wrmsr(0xc0000101, 0x12345678);
	user((word)user_nulls, 0x5000, 0);
	check_caught("CPL 3: selectors", 6, 0);
	check_equal("null ES, GS become 0", try_ax, 0);
	check_equal("GS keeps its base", rdmsr(0xc0000101), 0x12345678);

	/* a gate that is not there */
	set_gate(0x43, 0, 0, 0, 0);
	TRY(0, "int $0x43",);
	check_caught("not a gate: #GP(vector, IDT)", 13, 0x43 * 8 + 2);
	*(idt + 0x44 * 16 + 5) &= 0x7f;
	TRY(0, "int $0x44",);
	check_caught("gate not present: #NP", 11, 0x44 * 8 + 2);

	/* #UD's gate not present: contributory after benign: serial */
	*(idt + 6 * 16 + 5) &= 0x7f;
	TRY(0, "ud2",);
	check_caught("#UD without a gate: #NP with EXT", 11, 6 * 8 + 3);
	/* #GP's gate not present: contributory after contributory */
	*(idt + 13 * 16 + 5) &= 0x7f;
	TRY(1ul << 63, "mov (%0), %0",);
	check_caught("#GP without a gate: #DF", 8, 0);
	/* #PF's gate not present: #NP after #PF */
	*(idt + 14 * 16 + 5) &= 0x7f;
	TRY(0x10000000000ul, "mov (%0), %0",);
	check_caught("#PF without a gate: #DF", 8, 0);

	/* STI shadow: an NMI-free check that STI; CLI never opens */
	__asm__ volatile("pushf; pop %0" : "=r"(before));
	__asm__ volatile("sti; cli; pushf; pop %0" : "=r"(after));
	check_equal("sti; cli", after & 0x200, before & 0x200);
	return (0);
}
