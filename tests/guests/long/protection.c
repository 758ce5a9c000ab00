/*
 * SMEP, SMAP, UMIP, WP, NX, PCID and INVPCID: SDM vol. 3A 4.6, 4.10.
 */
#include "guest.h"

#define UMIP	(1ul << 11)
#define PCIDE	(1ul << 17)
#define SMEP	(1ul << 20)
#define SMAP	(1ul << 21)
#define ALIAS(p) ((word)(p) + USER_ALIAS)

extern u8 user_sgdt[], user_smsw[], nothing[];
__asm__(".text\n"
    "user_sgdt: sgdt -64(%rsp)\n ud2\n"
    "user_smsw: smsw %eax\n ud2\n"
    "nothing: ret\n");

/* A page of its own at 512 GiB, by its entry. */
static volatile u64 *pte;
#define AT	0x8000000000ul

static void
map_setup(void)
{
	u64 *pml4 = (u64 *)0x1000, *t = (u64 *)FREE_PAGES;

	pml4[1] = (word)t | 7;
	t[0] = ((word)t + 0x1000) | 7;
	t[512] = ((word)t + 0x2000) | 7;
	pte = t + 1024;
}

static void
map(u64 entry)
{
	*pte = entry;
	__asm__ volatile("invlpg (%0)" : : "r"(AT) : "memory");
}

int
main(void)
{
	u64 page = FREE_PAGES + 0x10000;
	u32 out[4], features, features2;
	struct { u64 pcid, address; } desc = { 0, 0 };
	word cr3 = READ_CR(3);

	cpuid(7, 0, out);
	features = out[1];
	features2 = out[2];
	map_setup();

	/* W, U, WP */
	map(page | 5);
	TRY(AT, "movb $1, (%0)",);
	check_caught("WP: supervisor write to a read-only page", 14, 3);
	WRITE_CR(0, READ_CR(0) & ~0x10000ul);
	TRY(AT, "movb $1, (%0)",);
	check_caught("no WP: it may", NONE, 0);
	check_equal("A and D", *pte & 0x60, 0x60);
	WRITE_CR(0, READ_CR(0) | 0x10000);
	TRY(AT, "movb $1, (%0)",);
	check_caught("WP again", 14, 3);
	map(page | 7);
	TRY(AT, "movb (%0), %%al",);
	check_caught("read", NONE, 0);
	check_equal("A, not D", *pte & 0x60, 0x20);
	TRY(AT, "movb $1, (%0)",);
	check_equal("D by the first write", *pte & 0x60, 0x60);

	/* NX and reserved bits */
	*(u16 *)page = 0xe1ff;	/* jmp *%rcx: back */
	map(page | 3);
	TRY(AT, "jmp *%0",);
	check_caught("fetch", NONE, 0);
	map(page | 3 | 1ull << 63);
	TRY(AT, "jmp *%0",);
	check_caught("NX", 14, 0x11);
	map(page | 3 | 1ull << 51);
	TRY(AT, "movb (%0), %%al",);
	check_caught("reserved bit", 14, 9);
	TRY(AT, "movb $1, (%0)",);
	check_caught("reserved bit, write", 14, 0xb);
	map(page | 2);
	TRY(AT, "movb $1, (%0)",);
	check_caught("not present", 14, 2);
	wrmsr(0xc0000080, rdmsr(0xc0000080) & ~0x800ull);
	map(page | 3 | 1ull << 63);
	TRY(AT, "movb (%0), %%al",);
	check_caught("bit 63 without NXE is reserved", 14, 9);
	wrmsr(0xc0000080, rdmsr(0xc0000080) | 0x800);

	if (features >> 7 & 1) {
		map(page | 7);
		TRY(AT, "jmp *%0",);
		check_caught("no SMEP: fetch from a user page", NONE, 0);
		WRITE_CR(4, READ_CR(4) | SMEP);
		TRY(AT, "jmp *%0",);
		check_caught("SMEP", 14, 0x11);
		WRITE_CR(4, READ_CR(4) & ~SMEP);
	}
	if (features >> 20 & 1) {
		map(page | 7);
		WRITE_CR(4, READ_CR(4) | SMAP);
		TRY(AT, "movb (%0), %%al",);
		check_caught("SMAP: read", 14, 1);
		TRY(AT, "movb $1, (%0)",);
		check_caught("SMAP: write", 14, 3);
		TRY(AT, "stac; movb (%0), %%al; clac",);
		check_caught("SMAP with AC", NONE, 0);
		TRY(AT, "stac; push %0; pop %0; movb $1, (%0); clac; "
		    "movb (%0), %%al",);
		check_caught("SMAP after clac", 14, 1);
		WRITE_CR(4, READ_CR(4) & ~SMAP);
	}
	if (features2 >> 2 & 1) {
		user((word)user_sgdt, 0x5000, 0);
		check_caught("no UMIP: sgdt at CPL 3", 6, 0);
		WRITE_CR(4, READ_CR(4) | UMIP);
		user((word)user_sgdt, 0x5000, 0);
		check_caught("UMIP: sgdt", 13, 0);
		user((word)user_smsw, 0x5000, 0);
		check_caught("UMIP: smsw", 13, 0);
		WRITE_CR(4, READ_CR(4) & ~UMIP);
	}

	/* global pages outlive MOV CR3, not a change of PGE */
	WRITE_CR(4, READ_CR(4) | 0x80);
	map(page | 0x103);
	*(volatile u8 *)AT;
	*pte = 0;
	WRITE_CR(3, cr3);
	TRY(AT, "movb (%0), %%al",);
	check("global page after MOV CR3", caught.vector == NONE ||
	    caught.vector == 14);
	WRITE_CR(4, READ_CR(4) & ~0x80ul);
	TRY(AT, "movb (%0), %%al",);
	check_caught("global page after PGE off", 14, 0);
	map(page | 3);
	*(volatile u8 *)AT;
	*pte = 0;
	WRITE_CR(3, cr3);
	TRY(AT, "movb (%0), %%al",);
	check_caught("MOV CR3 flushes", 14, 0);

	cpuid(1, 0, out);
	if (out[2] >> 17 & 1) {
		TRY(READ_CR(4) | PCIDE, "mov %1, %%cr3; mov %0, %%cr4",
		    "r"(cr3 | 1));
		check_caught("PCIDE with CR3[11:0] not 0", 13, 0);
		WRITE_CR(3, cr3);
		WRITE_CR(4, READ_CR(4) | PCIDE);
		TRY(READ_CR(0) & ~0x80000000ul, "mov %0, %%cr0",);
		check_caught("PG off with PCIDE", 13, 0);
		map(page | 3);
		WRITE_CR(3, cr3 | 1);
		*(volatile u8 *)AT;
		WRITE_CR(3, cr3 | 2);
		*pte = 0;
		WRITE_CR(3, cr3 | 1);		/* flushes PCID 1 */
		TRY(AT, "movb (%0), %%al",);
		check_caught("MOV CR3 flushes its PCID", 14, 0);
		check_equal("CR3 reads its PCID", READ_CR(3), cr3 | 1);
		WRITE_CR(3, cr3 | 1ull << 63);
		check_equal("CR3 reads without bit 63", READ_CR(3), cr3);
		if (features >> 10 & 1) {
			map(page | 3);
			*(volatile u8 *)AT;
			*pte = 0;
			desc.address = AT;
			TRY(0, "invpcid %1, %0; movb (%2), %%al", "m"(desc),
			    "r"(AT));
			check_caught("INVPCID 0", 14, 0);
			map(page | 3);
			*(volatile u8 *)AT;
			*pte = 0;
			TRY(3, "invpcid %1, %0; movb (%2), %%al", "m"(desc),
			    "r"(AT));
			check_caught("INVPCID 3", 14, 0);
			TRY(4, "invpcid %1, %0", "m"(desc));
			check_caught("INVPCID 4", 13, 0);
			desc.pcid = 0x1000;
			TRY(1, "invpcid %1, %0", "m"(desc));
			check_caught("INVPCID of a bad PCID", 13, 0);
			TRY(2, "invpcid %1, %0", "m"(desc));
			check_caught("INVPCID 2, reserved bits", 13, 0);
			TRY(3, "invpcid %1, %0", "m"(desc));
			check_caught("INVPCID 3, reserved bits", 13, 0);
			desc.pcid = 0;
			desc.address = 1ull << 63;
			TRY(0, "invpcid %1, %0", "m"(desc));
			check_caught("INVPCID 0, not canonical", 13, 0);
			TRY(2, "invpcid %1, %0", "m"(desc));
			check_caught("INVPCID 2 needs no address", NONE, 0);
		}
		WRITE_CR(4, READ_CR(4) & ~PCIDE);
	}
	return (0);
}
