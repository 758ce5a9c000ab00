/*
 * Self-modifying code: in the same block, across pages, through an alias, a
 * page boundary inside an instruction; and string I/O, one exit an element.
 */
#include "guest.h"

typedef u32 fn(void);

static fn *
place(word at, u32 value)
{
	u8 *p = (u8 *)at;

	p[0] = 0xb8;			/* mov $value, %eax; ret */
	__builtin_memcpy(p + 1, &value, 4);
	p[5] = 0xc3;
	return ((fn *)at);
}

int
main(void)
{
	static u8 text[] = "# rep outsb\n";
	static u16 in[4];
	word at = FREE_PAGES + 0x20000, n, cx, si;
	u32 sum = 0, value;
	fn *f;

	f = place(at, 1);
	check_equal("fresh code", f(), 1);
	place(at, 2);
	check_equal("overwritten", f(), 2);
	for (n = 0; n < 100; n++) {
		place(at, (u32)n);
		sum += f();
	}
	check_equal("a hundred times", sum, 4950);
	place(at + USER_ALIAS, 3);
	check_equal("through an alias", f(), 3);
	f = place(at + 4094, 4);
	check_equal("across a page end", f(), 4);
	/* its immediate is bytes 4095 to 4098 of the page pair */
	*(volatile u8 *)(at + 4096) = 5;
	check_equal("its second page overwritten", f(), 0x504);
	__asm__ volatile("movb $7, 1f+1(%%rip); 1: mov $6, %%al" : "=a"(value));
	check_equal("the next instruction of the block", value & 0xff, 7);
	__asm__ volatile("mov $0, %%eax; jmp 2f; 1: add $1, %%eax; "
	    "2: incb 1b+2(%%rip); cmp $20, %%eax; jb 1b" : "=a"(value) : :
	    "memory");
	check("a loop that changes itself", value >= 20);

	cx = sizeof(text) - 1;
	si = (word)text;
	__asm__ volatile("rep outsb" : "+c"(cx), "+S"(si) : "d"(0x3f8));
	check_equal("rep outsb: RCX", cx, 0);
	check_equal("rep outsb: RSI", si, (word)text + sizeof(text) - 1);
	cx = 4;
	si = (word)in;
	__asm__ volatile("rep insw" : "+c"(cx), "+D"(si) : "d"(0x1234) :
	    "memory");
	check("rep insw", cx == 0 && in[0] == 0x1234 && in[3] == 0x1234);
	__asm__ volatile("mov $-1, %%rax; inb $0x40, %%al" : "=a"(n));
	check_equal("in keeps the rest of RAX", n, 0xffffffffffffff40ul);
	__asm__ volatile("mov $-1, %%rax; inl $0x40, %%eax" : "=a"(n));
	check_equal("in of 32 bits clears it", n, 0x40);
	return (0);
}
