/*
 * Real mode: segments, interrupts by the vector table, limits, unreal mode.
 * SDM vol. 3A 20.1.
 */
#include "guest.h"

static volatile u16 vector, saw_flags;
extern char handler[], handler13[];
__asm__(".text\n.code16gcc\n"
    "handler: push %ax; mov %sp, %bp; movw $0x42, vector\n"
    "   mov 6(%bp), %ax; mov %ax, saw_flags; pop %ax; iretw\n"
    "handler13: movw $13, vector; push %bp; mov %sp, %bp\n"
    "   mov resume16, %ax; mov %ax, 2(%bp); pop %bp; iretw\n"
    ".data; resume16: .word 0; .text\n");

static void
set_vector(unsigned n, const char *at)
{
	*(volatile u16 *)(n * 4) = (u16)(u32)at;
	*(volatile u16 *)(n * 4 + 2) = 0;
}

int
main(void)
{
	u32 value;
	u16 sel;

	set_vector(0x42, handler);
	set_vector(13, handler13);
	__asm__ volatile("pushl %%ebp; sti; int $0x42; popl %%ebp; cli" : : :
	    "memory");
	check_equal("int 42h", vector, 0x42);
	check_equal("IF in its frame", saw_flags >> 9 & 1, 1);
	__asm__ volatile("movw $0x1000, %%ax; movw %%ax, %%fs;"
	    "movl $0x13572468, %%fs:0x2340; movw $0x1234, %%ax;"
	    "movw %%ax, %%fs; movl %%fs:0, %0" : "=r"(value) : : "eax",
	    "memory");
	check_equal("a segment's base is 16 times its selector", value,
	    0x13572468);
	vector = 0;
	__asm__ volatile(
	    "pushl %%ebp; movw $1f, resume16; movl $0x10000, %%ebx;"
	    "movb %%fs:(%%ebx), %%al; 1: popl %%ebp" : : : "eax", "ebx",
	    "memory");
	check_equal("beyond 64 KiB: #GP", vector, 13);
	vector = 0;
	__asm__ volatile("pushl %%ebp; movw $1f, resume16; movw $0xffff, %%bx;"
	    "movw %%fs:(%%bx), %%ax; 1: popl %%ebp" : : : "eax", "ebx",
	    "memory");
	check_equal("across 64 KiB: #GP", vector, 13);
	__asm__ volatile("lcallw $0, $1f; jmp 2f; 1: movw %%cs, %0; lretw; 2:"
	    : "=r"(sel) : : "memory");
	check_equal("far call and return", sel, 0);
	__asm__ volatile("smsww %0" : "=r"(sel));
	check_equal("MSW.PE", sel & 1, 0);
	return (0);
}
