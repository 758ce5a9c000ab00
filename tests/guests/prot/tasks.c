/*
 * Hardware tasks and virtual-8086 mode: SDM vol. 3A chapters 7 and 20.
 */
#include "guest.h"

struct tss {
	u32 link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags;
	u32 eax, ecx, edx, ebx, esp, ebp, esi, edi;
	u32 es, cs, ss, ds, fs, gs, ldt;
	u16 trap, map;
};
extern u64 gdt[];
extern u8 idt[], vectors[], other[], fault_task[], v86_code[];
extern u32 tss_words[] __asm__("tss");
static struct tss other_tss, fault_tss;
static volatile u32 visits, error, nt, back;
static u32 stack[256], fault_stack[256];

/* Each IRET of a task goes on here at its next visit. */
__asm__(".text\n"
    "other: mov %esp, %eax; call other_body; iret; jmp other\n"
    "fault_task: call fault_body; add $4, %esp; iret; jmp fault_task\n"
    ".code16; v86_code: mov $0x1234, %ax; mov %ax, %es; mov %cs, %bx\n"
    "   pushf; pop %cx; int $0x21; .code32\n");

void	other_body(void);
void
other_body(void)
{
	word flags;

	__asm__ volatile("pushf; pop %0" : "=r"(flags));
	nt = flags >> 14 & 1;
	visits++;
}

void	fault_body(u32);
void
fault_body(u32 code)
{
	struct tss *t = (struct tss *)(void *)tss_words;

	error = code;
	back = t->eip;
	t->eip = resume;
}

static void
tss_setup(struct tss *t, unsigned entry, word eip, word esp)
{
	u32 base = (u32)t;

	t->eip = eip;
	t->esp = esp;
	t->eflags = 2;
	t->cs = 8;
	t->ss = t->ds = t->es = t->fs = t->gs = 0x10;
	t->map = 104;
	gdt[entry] = 103 | (u64)(base & 0xffffff) << 16 | (u64)0x89 << 40 |
	    (u64)(base >> 24) << 56;
}

static unsigned
v86(word ip)
{
	/* what user() does, with the segments of virtual-8086 mode */
	unsigned vector;

	caught.vector = NONE;
	__asm__ volatile("push %%ebp; push %%ebx; push %%esi; push %%edi;"
	    "call 1f; pop %%edi; pop %%esi; pop %%ebx; pop %%ebp; jmp 2f;"
	    "1: sub $4, %%esp; mov (%%esp), %%ecx; add $4, %%esp;"
	    "push %%ebx; push %%ebp; push %%esi; push %%edi;"
	    "mov %%esp, user_rsp;"
	    "push $0x555; push $0x444; push $0x333; push $0x222;"
	    "push $0; push $0x6f00; push $0x23202; push $0; push %%eax; iret;"
	    "2:" : "=a"(vector) : "a"(ip) : "ecx", "edx", "memory", "cc");
	return (vector);
}

int
main(void)
{
	word cr0;

	tss_setup(&other_tss, 6, (word)other, (word)(stack + 256));
	tss_setup(&fault_tss, 7, (word)fault_task, (word)(fault_stack + 256));

	__asm__ volatile("lcall $0x30, $0" : : : "memory");
	check_equal("call of a TSS", visits, 1);
	check_equal("NT in the new task", nt, 1);
	check_equal("back link", other_tss.link & 0xffff, 0x28);
	check_equal("not busy after IRET", gdt[6] >> 40 & 0xf, 9);
	check_equal("busy is who runs", gdt[5] >> 40 & 0xf, 11);
	__asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
	check_equal("CR0.TS", cr0 >> 3 & 1, 1);
	__asm__ volatile("clts");
	__asm__ volatile("lcall $0x30, $0" : : : "memory");
	check_equal("again", visits, 2);
	gdt[8] = (u64)0x30 << 16 | (u64)0x85 << 40;	/* a task gate */
	__asm__ volatile("lcall $0x40, $0" : : : "memory");
	check_equal("through a task gate", visits, 3);
	gdt[6] |= (u64)2 << 40;
	TRY(0, "lcall $0x30, $0",);
	check_caught("a busy TSS", 13, 0x30);
	gdt[6] &= ~((u64)2 << 40);
	gdt[6] &= ~((u64)0x80 << 40);
	TRY(0, "lcall $0x30, $0",);
	check_caught("a TSS that is not present", 11, 0x30);
	gdt[6] |= (u64)0x80 << 40;
	gdt[6] = (gdt[6] & ~0xffffull) | 102;
	TRY(0, "lcall $0x30, $0",);
	check_caught("a TSS that is too small", 10, 0x30);
	gdt[6] |= 103;

	/* #GP through a task gate */
	set_gate(13, 0, 5, 0, 0);
	*(u32 *)(void *)(idt + 13 * 8) = 0x38 << 16;
	TRY(0, "fault_at: mov $0x48, %%cx; mov %%cx, %%fs",);
	check_equal("its error code", error, 0x48);
	check("its EIP", back != 0);
	set_gate(13, (word)vectors + 13 * 16, 14, 0,
	    0);

	/* virtual-8086 mode at IOPL 3 */
	{
		volatile u8 *to = (volatile u8 *)READ_CR(3) + 0x500;
		unsigned n;

		for (n = 0; n < 32; n++)
			to[n] = v86_code[n];
	}
	v86(0x500);
	check_caught("int 21h in virtual-8086 mode: DPL 0", 13, 0x21 * 8 + 2);
	check_equal("VM in the frame", caught.rflags >> 17 & 1, 1);
	check_equal("CS in the frame", caught.cs & 0xffff, 0);
	check_equal("its AX", try_ax & 0xffff, 0x1234);
	return (0);
}
