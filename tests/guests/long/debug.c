/*
 * Single step, breakpoints, general detect: SDM vol. 3B chapter 17.
 */
#include "guest.h"

extern u8 step_two[], here[], after_int1[];
static volatile u64 watched[4] __attribute__((aligned(64)));

#define DR6_CLEAR	0xffff0ff0ul

int
main(void)
{
	/* TF: set by POPF, traps after the next instruction */
	TRY(0, "pushf; orq $0x100, (%%rsp); popf; nop; step_two: nop",);
	check_caught("TF", 1, 0);
	check_equal("after one instruction", caught.rip, (word)step_two);
	check_equal("DR6.BS", READ_DR(6), DR6_CLEAR | 0x4000);
	WRITE_DR(6, DR6_CLEAR);
	TRY(0, "mov %%ss, %%edx; pushf; orq $0x100, (%%rsp); popf; "
	    "mov %%edx, %%ss; nop; nop; after_ss: nop", "d"(0));
	check_caught("TF with MOV SS", 1, 0);
	WRITE_DR(6, DR6_CLEAR);

	/* an instruction breakpoint is a fault, RF steps over it */
	WRITE_DR(0, here);
	WRITE_DR(7, 0x401 | 1);
	TRY(0, "nop; here: nop; nop",);
	check_caught("instruction breakpoint", 1, 0);
	check_equal("RIP on it", caught.rip, (word)here);
	check_equal("DR6.B0", READ_DR(6) & 0xf, 1);
	check_equal("RF is clear in its frame", caught.rflags >> 16 & 1, 0);
	/* IRET with RF set goes over it */
	TRY(0, "mov %%rsp, %%rdx; push $0x10; push %%rdx; pushf; "
	    "orq $0x10000, (%%rsp); push $8; lea over(%%rip), %%rcx; "
	    "push %%rcx; lea over(%%rip), %%rcx; mov %%rcx, %%dr0; iretq; "
	    "over: pushf; pop %0", "d"(0));
	check_caught("RF steps over a breakpoint", NONE, 0);
	check_equal("RF is clear after it", try_ax >> 16 & 1, 0);

	/* data: a trap after the access */
	WRITE_DR(6, DR6_CLEAR);
	WRITE_DR(0, &watched[1]);
	WRITE_DR(7, 0x402 | 1ul << 16 | 2ul << 18);	/* write, 8 bytes */
	TRY(1, "movb (%1), %%al", "r"(&watched[1]));
	check_caught("a read does not hit a write breakpoint", NONE, 0);
	TRY(1, "movb %%al, 7(%1); data_after: nop", "r"(&watched[1]));
	check_caught("a write does", 1, 0);
	check_equal("it is done", watched[1] >> 56, 1);
	check_equal("DR6.B0 of data", READ_DR(6), DR6_CLEAR | 1);
	TRY(1, "mov %0, 8(%1)", "r"(&watched[1]));
	check_caught("the next word is free", NONE, 0);
	TRY(1, "mov %0, -4(%1)", "r"(&watched[1]));
	check_caught("an overlap is not", 1, 0);
	WRITE_DR(6, DR6_CLEAR);
	watched[2] = 0x10;
	WRITE_DR(2, &watched[2]);
	WRITE_DR(7, 0x400 | 1 << 4 | 3ul << 24);	/* access, 1 byte */
	TRY(1, "mov (%1), %0", "r"(&watched[2]));
	check_caught("a read hits an access breakpoint", 1, 0);
	check_equal("DR6.B2", READ_DR(6), DR6_CLEAR | 4);
	/* MOV SS holds the trap back; the next instruction's own #DB tells it */
	WRITE_DR(6, DR6_CLEAR);
	TRY(0, "mov (%1), %%ss; .byte 0xf1; after_int1: nop",
	    "r"(&watched[2]));
	check_caught("INT1 after MOV SS that hits", 1, 0);
	check_equal("it is past INT1", caught.rip, (word)after_int1);
	check_equal("DR6.B2 with it", READ_DR(6), DR6_CLEAR | 4);
	WRITE_DR(7, 0x400);
	TRY(1, "mov (%1), %0", "r"(&watched[2]));
	check_caught("off", NONE, 0);

	/* general detect */
	WRITE_DR(6, DR6_CLEAR);
	WRITE_DR(7, 0x400 | 0x2000);
	TRY(0, "mov %%dr3, %0",);
	check_caught("DR7.GD", 1, 0);
	check_equal("DR6.BD", READ_DR(6), DR6_CLEAR | 0x2000);
	check_equal("GD is off in the handler", READ_DR(7), 0x400);
	TRY(1ul << 32, "mov %0, %%dr7",);
	check_caught("DR7 over 32 bits", 13, 0);
	TRY(1ul << 32, "mov %0, %%dr6",);
	check_caught("DR6 over 32 bits", 13, 0);
	__asm__ volatile("mov %0, %%cr4" : : "r"(READ_CR(4) | 8));
	TRY(0, "mov %%dr4, %0",);
	check_caught("DR4 with CR4.DE", 6, 0);
	/* an I/O breakpoint */
	WRITE_DR(0, 0x80ul);
	WRITE_DR(7, 0x401 | 2ul << 16);
	TRY(0, "outb %%al, $0x80",);
	check_caught("I/O breakpoint", 1, 0);
	check_equal("DR6.B0 of a port", READ_DR(6) & 0xf, 1);
	WRITE_DR(7, 0x400);
	return (0);
}
