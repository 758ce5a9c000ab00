/*
 * Multiboot 1 kernels (Multiboot Specification 0.6.96): ELF or the header's
 * own address fields, modules, memory map, command line.
 *
 * The kernel's command line is its file name and what the user gave; a
 * module's string is its arguments, or its file name if it has none.
 *
 * Threads: one, while no VCPU runs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine/boot.h"

#define SEARCH		8192
#define HEADER_MAGIC	0x1badb002
#define LOADED_MAGIC	0x2badb002
#define FLAG_MUST	0x0000ffff	/* what a loader must know... */
#define FLAG_KNOWN	0x00000007	/* ...and we know: alignment, memory,
					   video (we have none to set) */
#define FLAG_ADDRESSES	0x00010000

#define INFO_MEMORY	0x001
#define INFO_CMDLINE	0x004
#define INFO_MODULES	0x008
#define INFO_MMAP	0x040
#define INFO_LOADER	0x200

struct multiboot_info {
	uint32_t	flags, mem_lower, mem_upper, boot_device, cmdline;
	uint32_t	mods_count, mods_addr, syms[4];
	uint32_t	mmap_length, mmap_addr;
	uint32_t	drives_length, drives_addr, config_table;
	uint32_t	boot_loader_name, apm_table;
};

struct multiboot_module {
	uint32_t	mod_start, mod_end, string, reserved;
};

struct multiboot_mmap {
	uint32_t	size;		/* of what follows */
	uint64_t	addr, len;
	uint32_t	type;
} __attribute__((packed));

static const char loader_name[] = "vmm";

/* Offset of the header in the file, or -1. */
static long
header_find(const struct boot_file *f)
{
	size_t at, end = f->bf_size < SEARCH ? f->bf_size : SEARCH;

	for (at = 0; at + 12 <= end; at += 4)
		if (bf_u32(f, at) == HEADER_MAGIC &&
		    HEADER_MAGIC + bf_u32(f, at + 4) + bf_u32(f, at + 8) == 0)
			return ((long)at);
	return (-1);
}

/* Loads by the header's address fields. */
static int
addresses_load(struct boot *b, const struct boot_file *f, size_t header,
    uint64_t *entry, struct err *err)
{
	uint32_t header_addr, load_addr, load_end, bss_end;
	uint64_t offset, size, memsz;

	if (header + 32 > f->bf_size)
		return (err_set(err, "kernel %s is truncated in its multiboot "
		    "header; copy it again", f->bf_path));
	header_addr = bf_u32(f, header + 12);
	load_addr = bf_u32(f, header + 16);
	load_end = bf_u32(f, header + 20);
	bss_end = bf_u32(f, header + 24);
	*entry = bf_u32(f, header + 28);
	if (header_addr < load_addr || header_addr - load_addr > header)
		return (err_set(err, "kernel %s has a multiboot header whose "
		    "addresses do not fit the file; link it anew",
		    f->bf_path));
	offset = header - (header_addr - load_addr);
	size = load_end == 0 ? f->bf_size - offset :
	    (uint64_t)load_end - load_addr;
	if ((load_end != 0 && load_end < load_addr) ||
	    size > f->bf_size - offset)
		return (err_set(err, "kernel %s is truncated: its multiboot "
		    "header says there is more; copy it again", f->bf_path));
	memsz = size;
	if (bss_end != 0) {
		if (bss_end < load_addr || bss_end - load_addr < size)
			return (err_set(err, "kernel %s has a multiboot header "
			    "whose bss ends inside its data; link it anew",
			    f->bf_path));
		memsz = bss_end - load_addr;
	}
	if (memsz == 0 || boot_take(b, load_addr, memsz) == -1)
		return (err_set(err, "kernel %s is to be at 0x%x, size 0x%llx, "
		    "which is not free memory; give the machine more memory "
		    "(-m) or link it elsewhere", f->bf_path, load_addr,
		    (unsigned long long)memsz));
	boot_copy(b, load_addr, f->bf_data + offset, size);
	memset(gpa_host(b->b_memory, load_addr + size, memsz - size), 0,
	    memsz - size);
	return (0);
}

static int
modules_load(struct boot *b, struct multiboot_info *mi, struct err *err)
{
	struct multiboot_module mod = { 0 };
	struct boot_module m;
	const char *string;
	uint64_t list, gpa, min;
	size_t i;

	if (b->b_ninitrds == 0)
		return (0);
	/* many kernels take the memory right after themselves: stay beyond */
	min = 0x100000;
	for (i = 0; i < b->b_nused; i++)
		if (b->b_used[i].end > min)
			min = b->b_used[i].end;
	list = boot_place(b, b->b_ninitrds * sizeof(mod), 16, 4096,
	    BOOT_LOW_TOP);
	if (list == 0)
		return (err_set(err, "too many initrds"));
	for (i = 0; i < b->b_ninitrds; i++) {
		if (boot_module_open(&m, b->b_initrd[i], true, err) == -1)
			return (-1);
		gpa = boot_place(b, m.bm_size, 4096, min, boot_ram_top(b));
		if (gpa == 0) {
			boot_module_close(&m);
			return (err_set(err, "initrd %s (%llu MiB) does not "
			    "fit into the machine's memory; give it more (-m)",
			    m.bm_path, (unsigned long long)(m.bm_size >> 20)));
		}
		if (boot_module_read(b, &m, gpa, err) == -1)
			return (-1);
		string = m.bm_args != NULL ? m.bm_args : m.bm_path;
		mod.mod_start = (uint32_t)gpa;
		mod.mod_end = (uint32_t)(gpa + m.bm_size);
		mod.string = (uint32_t)boot_string(b, string, strlen(string));
		if (mod.string == 0)
			return (err_set(err, "the arguments of initrd %s are "
			    "too long", m.bm_path));
		boot_copy(b, list + i * sizeof(mod), &mod, sizeof(mod));
	}
	mi->flags |= INFO_MODULES;
	mi->mods_count = (uint32_t)b->b_ninitrds;
	mi->mods_addr = (uint32_t)list;
	return (0);
}

/* The command line begins with the kernel's name, as most loaders have it. */
static uint64_t
cmdline_write(struct boot *b)
{
	uint64_t gpa = 0;
	char *line;
	int len;

	len = asprintf(&line, "%s%s%s", b->b_kernel,
	    b->b_append[0] != '\0' ? " " : "", b->b_append);
	if (len != -1) {
		gpa = boot_string(b, line, (size_t)len);
		free(line);
	}
	return (gpa);
}

/* The information structure and what it points to; its address, or 0. */
static uint64_t
info_write(struct boot *b, struct multiboot_info *mi)
{
	struct multiboot_mmap entry;
	uint64_t mmap, gpa, cmdline, name;
	unsigned i;

	mmap = boot_place(b, b->b_nmap * sizeof(entry), 16, 4096,
	    BOOT_LOW_TOP);
	cmdline = cmdline_write(b);
	name = boot_string(b, loader_name, strlen(loader_name));
	gpa = boot_place(b, sizeof(*mi), 16, 4096, BOOT_LOW_TOP);
	if (mmap == 0 || cmdline == 0 || name == 0 || gpa == 0)
		return (0);
	for (i = 0; i < b->b_nmap; i++) {
		entry = (struct multiboot_mmap){ sizeof(entry) - 4,
			b->b_map[i].mm_base, b->b_map[i].mm_size,
			b->b_map[i].mm_type };
		boot_copy(b, mmap + i * sizeof(entry), &entry, sizeof(entry));
	}
	mi->flags |= INFO_MEMORY | INFO_CMDLINE | INFO_MMAP | INFO_LOADER;
	mi->mem_lower = (uint32_t)(b->b_map[0].mm_size >> 10);
	mi->mem_upper = (uint32_t)((boot_ram_top(b) - 0x100000) >> 10);
	mi->cmdline = (uint32_t)cmdline;
	mi->mmap_addr = (uint32_t)mmap;
	mi->mmap_length = (uint32_t)(b->b_nmap * sizeof(entry));
	mi->boot_loader_name = (uint32_t)name;
	boot_copy(b, gpa, mi, sizeof(*mi));
	return (gpa);
}

int
boot_multiboot(struct boot *b, const struct boot_file *f, struct err *err)
{
	struct multiboot_info mi = { 0 };
	uint64_t entry = 0, gpa;
	struct elf e;
	uint32_t flags;
	long header;
	int ret;

	if ((header = header_find(f)) == -1)
		return (0);
	flags = bf_u32(f, (size_t)header + 4);
	if (flags & FLAG_MUST & ~FLAG_KNOWN)
		return (err_set(err, "kernel %s asks its boot loader for "
		    "unknown things (multiboot flags 0x%x)", f->bf_path,
		    flags));
	if (flags & FLAG_ADDRESSES) {
		if (addresses_load(b, f, (size_t)header, &entry, err) == -1)
			return (-1);
	} else {
		if ((ret = elf_open(&e, f, err)) == -1)
			return (-1);
		if (ret == 0)
			return (err_set(err, "kernel %s has a multiboot header "
			    "without addresses and is no ELF file",
			    f->bf_path));
		if (elf_load(&e, b, err) == -1)
			return (-1);
		entry = elf_entry_physical(&e);
	}
	if (entry > UINT32_MAX || gpa_host(b->b_memory, entry, 1) == NULL)
		return (err_set(err, "kernel %s has its entry point at 0x%llx, "
		    "outside memory; give the machine more memory (-m)",
		    f->bf_path, (unsigned long long)entry));
	if (modules_load(b, &mi, err) == -1)
		return (-1);
	if ((gpa = info_write(b, &mi)) == 0 ||
	    boot_regs_flat32(b, entry) == -1)
		return (err_set(err, "the kernel command line does not fit "
		    "into low memory; make it shorter"));
	b->b_regs.vrs_gprs[VCPU_REGS_RAX] = LOADED_MAGIC;
	b->b_regs.vrs_gprs[VCPU_REGS_RBX] = gpa;
	return (1);
}
