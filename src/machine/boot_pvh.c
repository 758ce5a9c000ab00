/*
 * ELF64 kernels by the PVH entry point (Xen's x86 HVM direct boot ABI): a note
 * names a 32-bit entry, EBX points to struct hvm_start_info version 1.
 *
 * Threads: one, while no VCPU runs.
 */
#include <string.h>

#include "machine/boot.h"

#define NOTE_PHYS32_ENTRY	18
#define START_MAGIC		0x336ec578

struct hvm_start_info {
	uint32_t	magic, version, flags, nr_modules;
	uint64_t	modlist_paddr, cmdline_paddr, rsdp_paddr;
	uint64_t	memmap_paddr;
	uint32_t	memmap_entries, reserved;
};

struct hvm_modlist_entry {
	uint64_t	paddr, size, cmdline_paddr, reserved;
};

struct hvm_memmap_entry {
	uint64_t	addr, size;
	uint32_t	type, reserved;
};

/* Looks for the entry note in one PT_NOTE segment. */
static bool
note_find(const struct boot_file *f, const struct elf_segment *s,
    uint64_t *entry)
{
	uint64_t at = s->es_offset, end, desc, next;
	uint64_t align = s->es_align == 8 ? 8 : 4;
	uint32_t namesz, descsz;

	if (__builtin_add_overflow(s->es_offset, s->es_filesz, &end) ||
	    end > f->bf_size)
		return (false);
	/* sizes are 32 bits, at is within the file: no sum can wrap */
	for (; at + 12 <= end; at = next) {
		namesz = bf_u32(f, at);
		descsz = bf_u32(f, at + 4);
		desc = at + ((12 + (uint64_t)namesz + align - 1) &
		    ~(align - 1));
		next = (desc + descsz + align - 1) & ~(align - 1);
		if (desc + descsz > end)
			return (false);
		if (bf_u32(f, at + 8) == NOTE_PHYS32_ENTRY && namesz == 4 &&
		    memcmp(f->bf_data + at + 12, "Xen", 4) == 0) {
			if (descsz >= 8)
				*entry = bf_u64(f, desc);
			else if (descsz >= 4)
				*entry = bf_u32(f, desc);
			else
				return (false);
			return (true);
		}
	}
	return (false);
}

static int
modules_load(struct boot *b, struct hvm_start_info *si, struct err *err)
{
	struct hvm_modlist_entry mod = { 0 };
	struct boot_module m;
	uint64_t list, min;
	size_t i;

	if (b->b_ninitrds == 0)
		return (0);
	list = boot_place(b, b->b_ninitrds * sizeof(mod), 16, 4096,
	    BOOT_LOW_TOP);
	if (list == 0)
		return (err_set(err, "too many initrds"));
	min = b->b_used[b->b_nused - 1].end;	/* beyond the kernel */
	if (min < 0x100000 || min > boot_ram_top(b))
		min = 0x100000;
	for (i = 0; i < b->b_ninitrds; i++) {
		if (boot_module_open(&m, b->b_initrd[i], true, err) == -1)
			return (-1);
		mod.size = m.bm_size;
		mod.paddr = boot_place(b, m.bm_size, 4096, min,
		    boot_ram_top(b));
		mod.cmdline_paddr = 0;
		if (mod.paddr == 0) {
			boot_module_close(&m);
			return (err_set(err, "initrd %s (%llu MiB) does not "
			    "fit into the machine's memory; give it more (-m)",
			    m.bm_path, (unsigned long long)(m.bm_size >> 20)));
		}
		if (boot_module_read(b, &m, mod.paddr, err) == -1)
			return (-1);
		if (m.bm_args != NULL && (mod.cmdline_paddr = boot_string(b,
		    m.bm_args, strlen(m.bm_args))) == 0)
			return (err_set(err, "the arguments of initrd %s are "
			    "too long", m.bm_path));
		boot_copy(b, list + i * sizeof(mod), &mod, sizeof(mod));
	}
	si->nr_modules = (uint32_t)b->b_ninitrds;
	si->modlist_paddr = list;
	return (0);
}

int
boot_pvh(struct boot *b, const struct boot_file *f, struct err *err)
{
	struct hvm_start_info si = { .magic = START_MAGIC, .version = 1 };
	struct hvm_memmap_entry entry;
	struct elf_segment s;
	struct elf e;
	uint64_t start = 0, gpa;
	bool found = false;
	unsigned i;
	int ret;

	if ((ret = elf_open(&e, f, err)) != 1)
		return (ret);
	for (i = 0; i < e.e_phnum && !found; i++) {
		elf_segment(&e, i, &s);
		if (s.es_type == ELF_PT_NOTE)
			found = note_find(f, &s, &start);
	}
	if (!found)
		return (0);
	if (elf_load(&e, b, err) == -1 || modules_load(b, &si, err) == -1)
		return (-1);
	if (start > UINT32_MAX || gpa_host(b->b_memory, start, 1) == NULL)
		return (err_set(err, "kernel %s has its PVH entry point at "
		    "0x%llx, outside memory; give the machine more memory "
		    "(-m)", f->bf_path, (unsigned long long)start));
	si.rsdp_paddr = b->b_rsdp;
	si.memmap_entries = b->b_nmap;
	si.memmap_paddr = boot_place(b, b->b_nmap * sizeof(entry), 16, 4096,
	    BOOT_LOW_TOP);
	si.cmdline_paddr = boot_string(b, b->b_append, strlen(b->b_append));
	gpa = boot_place(b, sizeof(si), 16, 4096, BOOT_LOW_TOP);
	if (si.memmap_paddr == 0 || si.cmdline_paddr == 0 || gpa == 0 ||
	    boot_regs_flat32(b, start) == -1)
		return (err_set(err, "the kernel command line does not fit "
		    "into low memory; make it shorter"));
	for (i = 0; i < b->b_nmap; i++) {
		entry = (struct hvm_memmap_entry){ b->b_map[i].mm_base,
			b->b_map[i].mm_size, b->b_map[i].mm_type, 0 };
		boot_copy(b, si.memmap_paddr + i * sizeof(entry), &entry,
		    sizeof(entry));
	}
	boot_copy(b, gpa, &si, sizeof(si));
	b->b_regs.vrs_gprs[VCPU_REGS_RBX] = gpa;
	return (1);
}
