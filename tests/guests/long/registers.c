/*
 * Control registers, EFER and MSRs: reserved bits, interlocks, canonical
 * values. SDM vol. 3A 2.2.1, 2.5; vol. 4.
 */
#include "guest.h"

static void
bad_msr(const char *name, u32 msr, u64 value)
{
	/* TRY uses CX itself: the number travels in BX */
	TRY((u32)value, "mov %1, %%ecx; wrmsr", "b"(msr),
	    "d"((u32)(value >> 32)));
	check_caught(name, 13, 0);
}

static void
good_msr(const char *name, u32 msr, u64 value)
{
	u64 old = rdmsr(msr);

	wrmsr(msr, value);
	check_equal(name, rdmsr(msr), value);
	wrmsr(msr, old);
}

int
main(void)
{
	word cr0 = READ_CR(0), cr4 = READ_CR(4), cr3 = READ_CR(3);
	u32 out[4];
	u64 high;

	cpuid(0x80000008, 0, out);
	high = 1ull << (out[0] & 0xff);

	TRY(cr0 | 1ull << 32, "mov %0, %%cr0",);
	check_caught("CR0 bit 32", 13, 0);
	TRY(cr0 & ~1ul, "mov %0, %%cr0",);
	check_caught("CR0: PG without PE", 13, 0);
	TRY(cr0 & ~0x80000000ul, "mov %0, %%cr0",);
	check_caught("CR0: PG off in 64-bit code", 13, 0);
	TRY(cr0 | 0x20000000, "mov %0, %%cr0",);
	check_caught("CR0: NW without CD", 13, 0);
	WRITE_CR(0, cr0 & ~0x10ul);
	check_equal("CR0.ET stays", READ_CR(0), cr0);
	WRITE_CR(0, cr0 | 0x1000);
	check_equal("CR0: reserved low bits are ignored", READ_CR(0), cr0);
	TRY(cr4 & ~0x20ul, "mov %0, %%cr4",);
	check_caught("CR4: PAE off in long mode", 13, 0);
	TRY(cr4 | 1ul << 15, "mov %0, %%cr4",);
	check_caught("CR4: reserved bit 15", 13, 0);
	TRY(cr4 | 1ul << 40, "mov %0, %%cr4",);
	check_caught("CR4: reserved bit 40", 13, 0);
	TRY(cr4 | 1ul << 13, "mov %0, %%cr4",);
	check_caught("CR4.VMXE", 13, 0);
	TRY(cr3 | high, "mov %0, %%cr3",);
	check_caught("CR3: beyond the physical address", 13, 0);
	TRY(cr3 | 1ull << 63, "mov %0, %%cr3",);
	check_caught("CR3: bit 63 without PCIDE", 13, 0);
	TRY(16, "mov %0, %%cr8",);
	check_caught("CR8: 16", 13, 0);
	__asm__ volatile("mov %0, %%cr8" : : "r"(5ul));
	{ word v; __asm__ volatile("mov %%cr8, %0" : "=r"(v));
	check_equal("CR8", v, 5); }
	TRY(0, ".byte 0x0f, 0x20, 0xc8",);	/* mov %cr1, %rax */
	check_caught("CR1", 6, 0);
	__asm__ volatile("smsw %0" : "=r"(cr4));
	check_equal("smsw", cr4 & 0xffff, cr0 & 0xffff);
	__asm__ volatile("lmsw %w0" : : "r"(cr0 & ~1ul));
	check_equal("lmsw does not clear PE", READ_CR(0), cr0);

	bad_msr("EFER: reserved bit 2", 0xc0000080, rdmsr(0xc0000080) | 4);
	bad_msr("EFER: LME off while paging", 0xc0000080,
	    rdmsr(0xc0000080) & ~0x100ull);
	check_equal("EFER", rdmsr(0xc0000080) & 0xd01, 0xd01);
	bad_msr("LSTAR not canonical", 0xc0000082, 1ull << 47);
	bad_msr("FSBASE not canonical", 0xc0000100, 1ull << 63);
	bad_msr("KERNEL_GSBASE not canonical", 0xc0000102, 1ull << 60);
	bad_msr("TSC_AUX over 32 bits", 0xc0000103, 1ull << 32);
	bad_msr("PAT type 2", 0x277, 2);
	bad_msr("PAT type 8", 0x277, 8ull << 56);
	bad_msr("MTRRCAP is read-only", 0xfe, 0);
	bad_msr("MTRR type 2", 0x2ff, 2);
	bad_msr("fixed MTRR type 3", 0x250, 3);
	bad_msr("variable MTRR beyond memory", 0x200, high);
	bad_msr("an MSR that is not there", 0x12345, 0);
	TRY(0, "mov $0x12345, %%ecx; rdmsr", "d"(0));
	check_caught("reading it", 13, 0);
	good_msr("STAR", 0xc0000081, 0x123456789abcdef0ull);
	good_msr("LSTAR", 0xc0000082, 0xffff800012345678ull);
	good_msr("SFMASK", 0xc0000084, 0x47700);
	good_msr("FSBASE", 0xc0000100, 0xffff900000000123ull);
	good_msr("KERNEL_GSBASE", 0xc0000102, 0x00007fffffffffffull);
	good_msr("PAT", 0x277, 0x0406010500070406ull);
	good_msr("MTRR default", 0x2ff, 0xc06);
	good_msr("fixed MTRR", 0x26f, 0x0606060606060606ull);
	good_msr("variable MTRR mask", 0x201, (high - 4096) | 0x800);
	good_msr("SYSENTER_EIP", 0x176, 0xffff800000000000ull);

	/* swapgs and the bases */
	wrmsr(0xc0000101, 0x1111);
	wrmsr(0xc0000102, 0x2222);
	__asm__ volatile("swapgs");
	check_equal("swapgs", rdmsr(0xc0000101), 0x2222);
	check_equal("swapgs back", rdmsr(0xc0000102), 0x1111);
	TRY(0, "rdfsbase %0",);
	check_caught("rdfsbase without CR4.FSGSBASE", 6, 0);
	WRITE_CR(4, READ_CR(4) | 0x10000);
	__asm__ volatile("wrfsbase %0" : : "r"(0x123456789aul));
	check_equal("wrfsbase", rdmsr(0xc0000100), 0x123456789aul);
	TRY(1ul << 47, "wrgsbase %0",);
	check_caught("wrgsbase not canonical", 13, 0);
	return (0);
}
