/*
 * SYSCALL, SYSRET, far transfers and IRET in long mode: SDM vol. 2, vol. 3A
 * 5.8; what AMD's do in another way, APM vol. 3.
 */
#include "guest.h"

extern u64 gdt[];
extern u8 syscall_entry[], user_syscall[], compat[], far_target[], gate64[];
extern u8 sysret32_entry[], user_push[], far_target64[];
extern word saw_rcx, saw_r11, saw_cs, saw_ss, saw_flags;
__asm__(".text\n"
    "user_syscall: syscall\n"
    "user_back: ud2\n"
    "syscall_entry: mov %rcx, saw_rcx(%rip); mov %r11, saw_r11(%rip)\n"
    "   mov %cs, saw_cs(%rip); mov %ss, saw_ss(%rip)\n"
    "   pushf; popq saw_flags(%rip); sysretq\n"
    "sysret32_entry: mov $user_push + 0x40000000, %ecx; xor %eax, %eax\n"
    "   mov %eax, %ss; sysretl\n"
    ".code32; user_push: push %eax; ud2; .code64\n"
    ".data; saw_rcx: .quad 0; saw_r11: .quad 0; saw_cs: .quad 0\n"
    "saw_ss: .quad 0; saw_flags: .quad 0; .text\n"
    ".code32; compat: mov $0x12345678, %eax; push %cs; pop %ecx; int $0x81\n"
    ".code64; far_target: mov $0x77, %eax; lretl\n"
    "far_target64: mov $0x79, %eax; lretq\n"
    "gate64: mov $0x78, %eax; lretq\n");

int
main(void)
{
	word v = 0;
	struct { u32 off; u16 sel; } __attribute__((packed)) far;
	struct { word off; u16 sel; } __attribute__((packed)) far64;
	u32 id[4];
	word amd;

	cpuid(0, 0, id);
	amd = id[1] == 0x68747541;		/* "Auth" */

	/* SYSCALL from CPL 3 and back. STAR: CS 8 (SS 10), user base 18 */
	wrmsr(0xc0000081, 0x001b000800000000ull);
	wrmsr(0xc0000082, (word)syscall_entry);
	wrmsr(0xc0000084, 0x40700);		/* AC, TF, IF, DF */
	user((word)user_syscall, 0x5000, 0);
	check_caught("sysret returns", 6, 0);
	check_equal("RCX is the return address", saw_rcx,
	    (word)user_syscall + 2 + USER_ALIAS);
	check_equal("R11 is RFLAGS", saw_r11 & 0x202, 0x202);
	check_equal("CS by STAR", saw_cs & 0xffff, 8);
	check_equal("SS by STAR", saw_ss & 0xffff, 0x10);
	check_equal("RFLAGS by SFMASK", saw_flags & 0x40700, 0);
	check_equal("back at CPL 3: CS", caught.cs, 0x2b);
	check_equal("back at CPL 3: SS", caught.ss, 0x23);
	check_equal("RFLAGS from R11", caught.rflags & 0x200, 0x200);
	/* AMD's SYSRET leaves SS unusable as it was: to 64-bit code that says
	 * nothing, to a stack in 32-bit code it does */
	wrmsr(0xc0000082, (word)sysret32_entry);
	user((word)user_syscall, 0x5000, 0);
	check_caught("sysretl with a null SS, then push", amd ? 12 : 6, 0);
	check_equal("its SS", caught.ss, 0x23);
	wrmsr(0xc0000080, rdmsr(0xc0000080) & ~1ull);
	TRY(0, "syscall",);
	check_caught("syscall without EFER.SCE", 6, 0);
	TRY(0, "sysretq",);
	check_caught("sysret without EFER.SCE", 6, 0);
	wrmsr(0xc0000080, rdmsr(0xc0000080) | 1);

	/* 32-bit code at CPL 0 by far jump, back by an interrupt gate */
	far.off = (u32)(word)compat;
	far.sel = 0x40;
	TRY(0, "ljmpl *%1", "m"(far));
	check_caught("compatibility mode", 0x81, 0);
	check_equal("its CS", caught.cs, 0x40);
	__asm__ volatile("mov %%ss, %0" : "=r"(v));
	check_equal("SS is kept", v & 0xffff, 0x10);

	/* a far call leaves CS and RIP for a far return */
	far.off = (u32)(word)far_target;
	far.sel = 8;
	__asm__ volatile("lcall *(%1)" : "=a"(v) : "d"(&far) : "memory");
	check_equal("lcall, lret", v, 0x77);
	/* with REX.W the slots are of 8 bytes; AMD's pointer is not longer */
	far64.off = (word)far_target64;
	far64.sel = 8;
	far.off = (u32)(word)far_target64;
	__asm__ volatile(".byte 0x48; lcall *(%1)" : "=a"(v) :
	    "d"(amd ? (void *)&far : (void *)&far64) : "memory");
	check_equal("lcallq, lretq", v, 0x79);
	/* a 64-bit call gate at 50 to the same level */
	gdt[10] = ((word)gate64 & 0xffff) | 8 << 16 | 0x8c0000000000ull |
	    ((word)gate64 >> 16 & 0xffff) << 48;
	gdt[11] = 0;
	far.sel = 0x50;
	__asm__ volatile("lcall *(%1)" : "=a"(v) : "d"(&far) : "memory");
	check_equal("call gate", v, 0x78);
	gdt[11] = 1ull << 40;
	TRY(&far, "lcall *(%0)",);
	check_caught("call gate with a second type", 13, 0x50);
	far.sel = 0x10;
	TRY(&far, "lcall *(%0)",);
	check_caught("far call to data", 13, 0x10);
	far.sel = 0;
	TRY(&far, "lcall *(%0)",);
	check_caught("far call to null", 13, 0);
	far.sel = 0x18;
	TRY(&far, "ljmp *(%0)",);
	check_caught("far jump to an outer level", 13, 0x18);
	far.sel = 0x30;
	TRY(&far, "ljmp *(%0)",);
	check_caught("far jump to a TSS in long mode", 13, 0x30);

	/* IRET */
	TRY(0, "push $0x10; push %%rsp; pushf; push $8; push %1; iretq",
	    "r"(1ul << 63));
	check_caught("iretq to an address that is not canonical", 13, 0);
	TRY(0, "pushf; orq $0x4000, (%%rsp); popf; iretq",);
	check_caught("iret with NT in long mode", 13, 0);
	__asm__ volatile("pushf; andq $~0x4000, (%rsp); popf");
	return (0);
}
