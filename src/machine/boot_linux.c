/*
 * Linux bzImage by the 64-bit boot protocol or, for a kernel that has no 64-bit
 * entry point, by the 32-bit one (Documentation/arch/x86/boot.rst, protocol
 * 2.12 and later): setup header, zero page, e820 map, command line, initrd.
 *
 * Threads: one, while no VCPU runs.
 */
#include <assert.h>
#include <string.h>

#include "machine/boot.h"

/* The setup header's fields, by offset in file and zero page */
#define HDR_START	0x1f1
#define HDR_SETUP_SECTS	0x1f1		/* u8 */
#define HDR_BOOT_FLAG	0x1fe		/* u16, 0xaa55 */
#define HDR_JUMP	0x200		/* u16: its offset byte is the length */
#define HDR_MAGIC	0x202		/* "HdrS" */
#define HDR_VERSION	0x206		/* u16 */
#define HDR_LOADER_TYPE	0x210		/* u8 */
#define HDR_LOADFLAGS	0x211		/* u8 */
#define HDR_INITRD	0x218		/* u32 */
#define HDR_INITRD_SIZE	0x21c		/* u32 */
#define HDR_CMDLINE	0x228		/* u32 */
#define HDR_INITRD_MAX	0x22c		/* u32 */
#define HDR_ALIGN	0x230		/* u32 */
#define HDR_RELOCATABLE	0x234		/* u8 */
#define HDR_XLOADFLAGS	0x236		/* u16 */
#define HDR_CMDLINE_MAX	0x238		/* u32 */
#define HDR_PREF	0x258		/* u64 */
#define HDR_INIT_SIZE	0x260		/* u32 */
#define HDR_LEAST	0x264		/* the header of 2.12 ends here */
#define HDR_END_MAX	0x290		/* the zero page's room for it */
/* The zero page's own fields */
#define ZP_RSDP		0x070		/* u64 */
#define ZP_E820_COUNT	0x1e8		/* u8 */
#define ZP_E820		0x2d0		/* 20 bytes each */
#define ZP_E820_MAX	128

#define VERSION_LEAST	0x020c
#define LOADED_HIGH	0x01
#define XLF_KERNEL_64	0x0001
#define LOADER_UNDEFINED 0xff
#define ENTRY_64	0x200		/* from the load address */
#define MIB		0x100000ull
#define ZERO_PAGE_SIZE	4096

static void
zp_put(uint8_t *zp, unsigned offset, unsigned size, uint64_t value)
{
	memcpy(zp + offset, &value, size);
}

/*
 * Loads all initrds as one, each on a 4-byte boundary as Linux's unpacker
 * expects of concatenated archives.
 */
static int
initrd_load(struct boot *b, const struct boot_file *f, uint8_t *zp,
    struct err *err)
{
	struct boot_module m;
	uint64_t max = (uint64_t)bf_u32(f, HDR_INITRD_MAX) + 1, total = 0;
	uint64_t top = boot_ram_top(b), gpa, at;
	size_t i;

	for (i = 0; i < b->b_ninitrds; i++) {
		if (boot_module_open(&m, b->b_initrd[i], false, err) == -1)
			return (-1);
		boot_module_close(&m);
		if (__builtin_add_overflow(total, (m.bm_size + 3) & ~3ull,
		    &total) || total > top) {
			return (err_set(err, "initrd %s (%llu MiB) does not "
			    "fit into the machine's memory; give it more (-m)",
			    m.bm_path, (unsigned long long)(m.bm_size >> 20)));
		}
	}
	if (total == 0)
		return (0);
	gpa = boot_place_high(b, total, 4096, MIB, max < top ? max : top);
	if (gpa == 0)
		return (err_set(err, "initrd %s (%llu MiB) does not fit beside "
		    "the kernel; give the machine more memory (-m)",
		    b->b_initrd[0], (unsigned long long)(total >> 20)));
	for (i = 0, at = gpa; i < b->b_ninitrds; i++) {
		if (boot_module_open(&m, b->b_initrd[i], false, err) == -1)
			return (-1);
		if (m.bm_size > gpa + total - at) {
			boot_module_close(&m);
			return (err_set(err, "initrd %s grew while it was "
			    "read; try again", m.bm_path));
		}
		if (boot_module_read(b, &m, at, err) == -1)
			return (-1);
		at += (m.bm_size + 3) & ~3ull;
	}
	zp_put(zp, HDR_INITRD, 4, gpa);
	zp_put(zp, HDR_INITRD_SIZE, 4, total);
	return (0);
}

/*
 * Where the kernel goes: its preferred address, or the lowest above it that
 * will do. One that is loaded below moves itself there before it looks at how
 * much memory there is (init_size in boot.rst).
 */
static uint64_t
kernel_place(struct boot *b, const struct boot_file *f, uint64_t need)
{
	uint64_t pref = bf_u64(f, HDR_PREF), align = bf_u32(f, HDR_ALIGN);

	if (boot_take(b, pref, need) == 0)
		return (pref);
	if (f->bf_data[HDR_RELOCATABLE] == 0 || align == 0 ||
	    (align & (align - 1)) != 0 || pref >= boot_ram_top(b))
		return (0);
	return (boot_place(b, need, align, pref < MIB ? MIB : pref,
	    boot_ram_top(b)));
}

/* The machine's memory in MiB that a kernel of this need takes, at least. */
static unsigned long long
kernel_memory(const struct boot_file *f, uint64_t need)
{
	uint64_t end = bf_u64(f, HDR_PREF);

	if (end < MIB)
		end = MIB;
	if (__builtin_add_overflow(end, need + MIB - 1, &end))
		end = UINT64_MAX;
	return (end / MIB);
}

static int
header_check(const struct boot_file *f, struct err *err)
{
	unsigned version;

	if (f->bf_size < HDR_LEAST)
		return (err_set(err, "kernel %s is truncated: its setup header "
		    "is not all there; copy it again", f->bf_path));
	version = bf_u16(f, HDR_VERSION);
	if (version < VERSION_LEAST)
		return (err_set(err, "kernel %s has boot protocol %u.%02u; "
		    "2.12 (Linux 3.8) or later is needed", f->bf_path,
		    version >> 8, version & 0xff));
	if ((f->bf_data[HDR_LOADFLAGS] & LOADED_HIGH) == 0)
		return (err_set(err, "kernel %s is a zImage; name a bzImage",
		    f->bf_path));
	return (0);
}

/* Where the CPU starts, and in which mode. 0, or -1 for want of low memory. */
static int
cpu_start(struct boot *b, const struct boot_file *f, uint64_t load)
{
	if ((bf_u16(f, HDR_XLOADFLAGS) & XLF_KERNEL_64) != 0)
		return (boot_regs_long(b, load + ENTRY_64));
	return (boot_regs_flat32(b, load));
}

static void
zero_page_fill(const struct boot *b, const struct boot_file *f, uint8_t *zp)
{
	size_t end = HDR_MAGIC + f->bf_data[HDR_JUMP + 1];
	unsigned i;

	if (end > HDR_END_MAX)
		end = HDR_END_MAX;
	if (end > f->bf_have)
		end = f->bf_have;
	if (end > HDR_START)
		memcpy(zp + HDR_START, f->bf_data + HDR_START,
		    end - HDR_START);
	zp_put(zp, HDR_LOADER_TYPE, 1, LOADER_UNDEFINED);
	zp_put(zp, HDR_INITRD, 4, 0);
	zp_put(zp, HDR_INITRD_SIZE, 4, 0);
	zp_put(zp, ZP_RSDP, 8, b->b_rsdp);
	assert(b->b_nmap <= ZP_E820_MAX);
	for (i = 0; i < b->b_nmap; i++) {
		zp_put(zp, ZP_E820 + 20 * i, 8, b->b_map[i].mm_base);
		zp_put(zp, ZP_E820 + 20 * i + 8, 8, b->b_map[i].mm_size);
		zp_put(zp, ZP_E820 + 20 * i + 16, 4, b->b_map[i].mm_type);
	}
	zp_put(zp, ZP_E820_COUNT, 1, b->b_nmap);
}

int
boot_linux(struct boot *b, const struct boot_file *f, struct err *err)
{
	uint8_t zp[ZERO_PAGE_SIZE] = { 0 };
	uint64_t setup, size, need, load, zero_page, cmdline;
	size_t len = strlen(b->b_append);

	if (f->bf_size < HDR_MAGIC + 4 ||
	    bf_u16(f, HDR_BOOT_FLAG) != 0xaa55 ||
	    memcmp(f->bf_data + HDR_MAGIC, "HdrS", 4) != 0)
		return (0);
	if (header_check(f, err) == -1)
		return (-1);
	setup = f->bf_data[HDR_SETUP_SECTS];
	setup = ((setup == 0 ? 4 : setup) + 1) * 512;
	if (setup + ENTRY_64 >= f->bf_size)
		return (err_set(err, "kernel %s is truncated: there is nothing "
		    "after its setup code; copy it again", f->bf_path));
	/* syssize counts 16-byte units of the protected-mode code */
	size = (uint64_t)bf_u32(f, 0x1f4) * 16;
	if (setup + size > f->bf_size + 15)
		return (err_set(err, "kernel %s is truncated: %llu of %llu "
		    "bytes are there; copy it again", f->bf_path,
		    (unsigned long long)f->bf_size,
		    (unsigned long long)(setup + size)));
	if (len > bf_u32(f, HDR_CMDLINE_MAX))
		return (err_set(err, "the kernel command line has %zu bytes; "
		    "%s takes %u", len, f->bf_path,
		    bf_u32(f, HDR_CMDLINE_MAX)));
	size = f->bf_size - setup;
	need = bf_u32(f, HDR_INIT_SIZE);
	if (need < size)
		need = size;
	if ((load = kernel_place(b, f, need)) == 0)
		return (err_set(err, "kernel %s needs a machine with %llu MiB "
		    "of memory at least; give it more (-m)", f->bf_path,
		    kernel_memory(f, need)));
	/* straight from the file: this is most of what boots */
	if (boot_file_read(b, f, setup, load, size, err) == -1)
		return (-1);
	zero_page_fill(b, f, zp);
	if (initrd_load(b, f, zp, err) == -1)
		return (-1);
	if (cpu_start(b, f, load) == -1 ||
	    (zero_page = boot_place(b, sizeof(zp), sizeof(zp), 4096,
	    BOOT_LOW_TOP)) == 0 ||
	    (cmdline = boot_string(b, b->b_append, len)) == 0)
		return (err_set(err, "the kernel command line does not fit "
		    "into low memory; make it shorter"));
	zp_put(zp, HDR_CMDLINE, 4, cmdline);
	boot_copy(b, zero_page, zp, sizeof(zp));
	b->b_regs.vrs_gprs[VCPU_REGS_RSI] = zero_page;
	return (1);
}
