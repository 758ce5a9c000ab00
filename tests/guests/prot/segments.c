/*
 * Segmentation in protected mode: limits, types, privileges, expand-down,
 * LAR/LSL/VERR/VERW/ARPL, call gates with parameters, port rights. SDM vol. 3A
 * chapters 3 and 5, vol. 1 chapter 19.
 */
#include "guest.h"

extern u64 gdt[];
extern u32 tss[];
extern u8 user_gate[], gate[], user_ports[], user_port100[], user_cli[];
extern word gate_saw[];
__asm__(".text\n"
    "user_gate: push $0x1111; push $0x2222; lcall $0x3b, $0; mov %esp, %eax\n"
    "   ud2\n"
    "gate: mov 8(%esp), %eax; mov %eax, gate_saw; mov 12(%esp), %eax\n"
    "   mov %eax, gate_saw + 4; mov %cs, gate_saw + 8; mov %ss, gate_saw + 12\n"
    "   mov $0x66, %ebx; lret $8\n"
    "user_ports: inb $0x40, %al; ud2\n"
    "user_port100: mov $0x100, %dx; inb %dx, %al; ud2\n"
    "user_cli: cli; ud2\n"
    ".data; .globl gate_saw; gate_saw: .long 0, 0, 0, 0; .text\n");

/* A descriptor: access and flags as in bits 55:40 of it. */
static u64
desc(u32 base, u32 limit, u32 access)
{
	return ((limit & 0xffff) | (u64)(base & 0xffffff) << 16 |
	    (u64)(access & 0xff) << 40 | (u64)(limit >> 16 & 15) << 48 |
	    (u64)(access >> 8 & 0xf0) << 48 | (u64)(base >> 24) << 56);
}

int
main(void)
{
	u32 value;
	u8 zf;

	gdt[6] = desc(0x100000, 0xfff, 0x4093);	/* 30: data, 4 KiB */
	TRY(0x30, "mov %%ax, %%fs; movb %%fs:0xfff, %%al",);
	check_caught("last byte", NONE, 0);
	check_equal("accessed", gdt[6] >> 40 & 1, 1);
	TRY(0x30, "mov %%ax, %%fs; movb %%fs:0x1000, %%al",);
	check_caught("beyond the limit", 13, 0);
	TRY(0x30, "mov %%ax, %%fs; movl %%fs:0xffd, %%eax",);
	check_caught("across the limit", 13, 0);
	gdt[6] = desc(0x100000, 0xfff, 0x4097);	/* expand-down */
	TRY(0x30, "mov %%ax, %%fs; movb %%fs:0x1000, %%al",);
	check_caught("expand-down: above", NONE, 0);
	TRY(0x30, "mov %%ax, %%fs; movb %%fs:0xfff, %%al",);
	check_caught("expand-down: below", 13, 0);
	gdt[6] = desc(0x100000, 0xfff, 0x0097);	/* its top is FFFF */
	TRY(0x30, "mov %%ax, %%fs; movb %%fs:0x10000, %%al",);
	check_caught("expand-down of 64 KiB", 13, 0);
	gdt[6] = desc(0, 0xfffff, 0xc091);
	TRY(0x30, "mov %%ax, %%fs; movb %%al, %%fs:0x100000",);
	check_caught("write to read-only data", 13, 0);
	gdt[6] = desc(0, 0xfffff, 0xc099);
	TRY(0x30, "mov %%ax, %%fs",);
	check_caught("execute-only into FS", 13, 0x30);
	TRY(8, "mov %%ax, %%fs; movb %%al, %%fs:0x100000",);
	check_caught("write through a code segment", 13, 0);
	TRY(0, "mov %%ax, %%fs; movb %%fs:0, %%al",);
	check_caught("null", 13, 0);
	TRY(0, "mov %%ax, %%ss",);
	check_caught("null SS", 13, 0);
	TRY(0x23, "mov %%ax, %%ss",);
	check_caught("SS of another level", 13, 0x20);
	TRY(0x28, "mov %%ax, %%fs",);
	check_caught("a TSS into FS", 13, 0x28);
	TRY(0x34, "mov %%ax, %%fs",);
	check_caught("no LDT", 13, 0x34);
	gdt[6] = desc(0, 0xffff, 0x0082);
	gdt[7] = 0;
	TRY(0x30, "lldt %%ax; movw $4, %%ax; mov %%ax, %%fs",);
	check_caught("an LDT's first entry is no null selector", 13, 4);
	TRY(0x10, "lldt %%ax",);
	check_caught("LLDT of data", 13, 0x10);
	TRY(0, "lldt %%ax",);
	check_caught("LLDT of null", NONE, 0);
	TRY(0x28, "ltr %%ax",);
	check_caught("LTR of a busy TSS", 13, 0x28);

	__asm__ volatile("mov $0x23, %%eax; lar %%eax, %0; setz %1"
	    : "=r"(value), "=q"(zf) : : "eax", "cc");
	check("LAR", zf && value == 0xcff300);
	__asm__ volatile("mov $0x23, %%eax; lsl %%eax, %0; setz %1"
	    : "=r"(value), "=q"(zf) : : "eax", "cc");
	check("LSL", zf && value == 0xffffffff);
	__asm__ volatile("mov $0x13, %%eax; lsl %%eax, %0; setz %1"
	    : "=r"(value), "=q"(zf) : : "eax", "cc");
	check("LSL of what RPL may not see", !zf);
	__asm__ volatile("verw %w1; setz %0" : "=q"(zf) : "r"(0x23) : "cc");
	check("VERW of data", zf);
	__asm__ volatile("verw %w1; setz %0" : "=q"(zf) : "r"(8) : "cc");
	check("VERW of code", !zf);
	__asm__ volatile("verr %w1; setz %0" : "=q"(zf) : "r"(8) : "cc");
	check("VERR of code", zf);
	value = 0x20;
	__asm__ volatile("arpl %w2, %w0; setz %1" : "+r"(value), "=q"(zf)
	    : "r"(3) : "cc");
	check("ARPL", zf && value == 0x23);

	/* a call gate with two parameters from CPL 3 to CPL 0, at 38 */
	gdt[7] = ((u32)gate & 0xffff) | 8 << 16 | (u64)2 << 32 |
	    (u64)0xec << 40 | (u64)((u32)gate >> 16) << 48;
	user((word)user_gate, 0x5000, 0);
	check_caught("back from the gate", 6, 0);
	check_equal("first parameter", gate_saw[0], 0x2222);
	check_equal("second parameter", gate_saw[1], 0x1111);
	check_equal("CS inside", gate_saw[2] & 0xffff, 8);
	check_equal("SS inside", gate_saw[3] & 0xffff, 0x10);
	check_equal("parameters are gone from the outer stack", try_ax,
	    0x5000);
	gdt[7] &= ~((u64)0x60 << 40);
	user((word)user_gate, 0x5000, 0);
	check_caught("a gate of DPL 0", 13, 0x38);

	user((word)user_ports, 0x5000, 0);
	check_caught("a port that the bitmap allows", 6, 0);
	user((word)user_port100, 0x5000, 0);
	check_caught("a port beyond it", 13, 0);
	tss[26 + 2] |= 1;		/* port 40h */
	user((word)user_ports, 0x5000, 0);
	check_caught("a port that it forbids", 13, 0);
	tss[26 + 2] &= ~1u;
	user((word)user_cli, 0x5000, 0);
	check_caught("CLI by IOPL", 13, 0);
	return (0);
}
