/*
 * Firmware's work: kernel, modules, tables and a first VCPU state in a memory
 * that is otherwise empty. boot.c decides by content which of the loaders a
 * file is for.
 *
 * Files are hostile: every offset, length and address in them is checked
 * before use, and err names file and cure.
 */
#ifndef MACHINE_BOOT_H
#define MACHINE_BOOT_H

#include <machine/vmmvar.h>

#include "machine/device.h"

/* Types as in e820 and ACPI. */
enum memmap_type { MEMMAP_RAM = 1, MEMMAP_RESERVED = 2 };

struct memmap {
	uint64_t	 mm_base, mm_size;
	enum memmap_type mm_type;
};

#define BOOT_LOW_TOP	0x9f000		/* low memory for our own use ends */
#define BOOT_USED_MAX	128

/* A boot under way. */
struct boot {
	/* in */
	const struct guest_memory *b_memory;
	const char	*b_kernel;
	const char	*const *b_initrd;
	size_t		 b_ninitrds;
	const char	*b_append;	/* not NULL */
	uint64_t	 b_rsdp;	/* gpa of ACPI's root pointer */
	const struct memmap *b_map;	/* ascending */
	unsigned	 b_nmap;
	/* out: the VCPU */
	struct vcpu_reg_state b_regs;
	/* the loaders' own: guest memory taken so far, ascending */
	struct boot_used {
		uint64_t first, end;
	}		 b_used[BOOT_USED_MAX];
	unsigned	 b_nused;
};

/* Loads everything and fills in b_regs; 0, or -1 with err. */
int	boot_load(struct boot *, struct err *);

/* --- for the loaders ----------------------------------------------------- */

/*
 * A file. Its first BOOT_FILE_HEAD bytes are in memory for boot_linux(), all of
 * it for the loaders after that.
 */
struct boot_file {
	const char	*bf_path;
	uint8_t		*bf_data;
	size_t		 bf_have;	/* of bf_size in bf_data */
	size_t		 bf_size;
	int		 bf_fd;
};
#define BOOT_FILE_HEAD	4096

/* Little-endian fields at an offset; the caller checked the bounds. */
uint16_t bf_u16(const struct boot_file *, size_t offset);
uint32_t bf_u32(const struct boot_file *, size_t offset);
uint64_t bf_u64(const struct boot_file *, size_t offset);

/* Reads a part of the file, which the caller checked to be in it, to guest
 * memory taken before. */
int	 boot_file_read(const struct boot *, const struct boot_file *,
	    size_t offset, uint64_t gpa, size_t len, struct err *);

/* RAM from 1 MiB up to the hole below 4 GiB: its end. */
uint64_t boot_ram_top(const struct boot *);
/* Marks [gpa, +size) as taken; -1 if it is no memory or taken already. */
int	boot_take(struct boot *, uint64_t gpa, uint64_t size);
/* The lowest (boot_place) or highest (boot_place_high) free place of size
 * bytes inside [min, max), taken. 0: none. */
uint64_t boot_place(struct boot *, uint64_t size, uint64_t align, uint64_t min,
	    uint64_t max);
uint64_t boot_place_high(struct boot *, uint64_t size, uint64_t align,
	    uint64_t min, uint64_t max);
/* Copies into memory taken before. */
void	boot_copy(const struct boot *, uint64_t gpa, const void *, size_t);
/* A NUL-terminated copy of a string in low memory; 0: no room. */
uint64_t boot_string(struct boot *, const char *, size_t len);

/* A module: its file, and the arguments after the first comma or NULL. */
struct boot_module {
	char		 bm_path[4096];
	const char	*bm_args;
	int		 bm_fd;
	uint64_t	 bm_size;
};

int	boot_module_open(struct boot_module *, const char *spec, bool args,
	    struct err *);
/* Reads it to gpa (taken before) and closes it. */
int	boot_module_read(const struct boot *, struct boot_module *,
	    uint64_t gpa, struct err *);
void	boot_module_close(struct boot_module *);

/* CPU states: 32-bit flat protected mode, paging off; 64-bit mode with the
 * first 4 GiB identity-mapped by tables in low memory. 0 or -1 (no room). */
int	boot_regs_flat32(struct boot *, uint64_t entry);
int	boot_regs_long(struct boot *, uint64_t entry);

/* The loaders: 1 if the file is theirs and loaded, 0 if not theirs, -1. */
int	boot_linux(struct boot *, const struct boot_file *, struct err *);
int	boot_pvh(struct boot *, const struct boot_file *, struct err *);
int	boot_multiboot(struct boot *, const struct boot_file *, struct err *);

/* elf.c */
struct elf {
	const struct boot_file *e_file;
	bool		 e_64;
	uint64_t	 e_entry;
	uint64_t	 e_phoff;
	unsigned	 e_phnum, e_phsize;
};
struct elf_segment {
	uint32_t	 es_type;
	uint64_t	 es_offset, es_filesz, es_paddr, es_vaddr, es_memsz;
	uint64_t	 es_align;
};

#define ELF_PT_LOAD	1
#define ELF_PT_NOTE	4

/* 1: an x86 ELF executable whose headers are within the file; 0: no ELF. */
int	elf_open(struct elf *, const struct boot_file *, struct err *);
void	elf_segment(const struct elf *, unsigned, struct elf_segment *);
/* Loads all PT_LOAD segments at their physical addresses. */
int	elf_load(const struct elf *, struct boot *, struct err *);
/* Translates the entry point to a physical address. */
uint64_t elf_entry_physical(const struct elf *);

#endif
