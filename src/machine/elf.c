/*
 * ELF executables for x86, 32 and 64 bits (System V ABI, gABI ch. 4 and 5),
 * read with every field checked against the file.
 *
 * Threads: one, while no VCPU runs.
 */
#include <assert.h>
#include <elf.h>
#include <string.h>

#include "machine/boot.h"

_Static_assert(ELF_PT_LOAD == PT_LOAD && ELF_PT_NOTE == PT_NOTE, "elf.h");

int
elf_open(struct elf *e, const struct boot_file *f, struct err *err)
{
	Elf64_Ehdr h64;
	Elf32_Ehdr h32;
	uint64_t end;
	unsigned machine, least;

	if (f->bf_size < SELFMAG || memcmp(f->bf_data, ELFMAG, SELFMAG) != 0)
		return (0);
	*e = (struct elf){ .e_file = f };
	if (f->bf_size < sizeof(h32))
		goto truncated;
	if (f->bf_data[EI_DATA] != ELFDATA2LSB)
		return (err_set(err, "kernel %s is not for x86", f->bf_path));
	e->e_64 = f->bf_data[EI_CLASS] == ELFCLASS64;
	if (e->e_64) {
		if (f->bf_size < sizeof(h64))
			goto truncated;
		memcpy(&h64, f->bf_data, sizeof(h64));
		machine = h64.e_machine;
		e->e_entry = h64.e_entry;
		e->e_phoff = h64.e_phoff;
		e->e_phnum = h64.e_phnum;
		e->e_phsize = h64.e_phentsize;
		least = sizeof(Elf64_Phdr);
	} else {
		memcpy(&h32, f->bf_data, sizeof(h32));
		machine = h32.e_machine;
		e->e_entry = h32.e_entry;
		e->e_phoff = h32.e_phoff;
		e->e_phnum = h32.e_phnum;
		e->e_phsize = h32.e_phentsize;
		least = sizeof(Elf32_Phdr);
	}
	if (machine != EM_X86_64 && machine != EM_386)
		return (err_set(err, "kernel %s is not for x86", f->bf_path));
	if (e->e_phnum == 0)
		return (err_set(err, "kernel %s has no program headers; name "
		    "a linked executable", f->bf_path));
	if (e->e_phsize < least || __builtin_add_overflow(e->e_phoff,
	    (uint64_t)e->e_phnum * e->e_phsize, &end) || end > f->bf_size)
		goto truncated;
	return (1);
truncated:
	return (err_set(err, "kernel %s is truncated: its ELF headers are not "
	    "all there; copy it again", f->bf_path));
}

void
elf_segment(const struct elf *e, unsigned i, struct elf_segment *s)
{
	const uint8_t *p = e->e_file->bf_data + e->e_phoff +
	    (size_t)i * e->e_phsize;
	Elf64_Phdr p64;
	Elf32_Phdr p32;

	assert(i < e->e_phnum);
	if (e->e_64) {
		memcpy(&p64, p, sizeof(p64));
		*s = (struct elf_segment){ p64.p_type, p64.p_offset,
			p64.p_filesz, p64.p_paddr, p64.p_vaddr, p64.p_memsz,
			p64.p_align };
	} else {
		memcpy(&p32, p, sizeof(p32));
		*s = (struct elf_segment){ p32.p_type, p32.p_offset,
			p32.p_filesz, p32.p_paddr, p32.p_vaddr, p32.p_memsz,
			p32.p_align };
	}
}

static int
segment_load(const struct elf *e, const struct elf_segment *s,
    struct boot *b, struct err *err)
{
	const struct boot_file *f = e->e_file;
	uint64_t end;
	uint8_t *host;

	if (s->es_memsz == 0)
		return (0);
	if (s->es_filesz > s->es_memsz ||
	    __builtin_add_overflow(s->es_offset, s->es_filesz, &end) ||
	    end > f->bf_size)
		return (err_set(err, "kernel %s is truncated: a segment ends "
		    "beyond the file; copy it again", f->bf_path));
	if (boot_take(b, s->es_paddr, s->es_memsz) == -1)
		return (err_set(err, "kernel %s has a segment at 0x%llx, size "
		    "0x%llx, which is not free memory; give the machine more "
		    "memory (-m) or link it elsewhere", f->bf_path,
		    (unsigned long long)s->es_paddr,
		    (unsigned long long)s->es_memsz));
	host = gpa_host(b->b_memory, s->es_paddr, s->es_memsz);
	assert(host != NULL);
	memcpy(host, f->bf_data + s->es_offset, s->es_filesz);
	memset(host + s->es_filesz, 0, s->es_memsz - s->es_filesz);
	return (0);
}

int
elf_load(const struct elf *e, struct boot *b, struct err *err)
{
	struct elf_segment s;
	bool any = false;
	unsigned i;

	for (i = 0; i < e->e_phnum; i++) {
		elf_segment(e, i, &s);
		if (s.es_type != PT_LOAD)
			continue;
		if (segment_load(e, &s, b, err) == -1)
			return (-1);
		any = any || s.es_memsz > 0;
	}
	if (!any)
		return (err_set(err, "kernel %s has nothing to load; name a "
		    "linked executable", e->e_file->bf_path));
	return (0);
}

uint64_t
elf_entry_physical(const struct elf *e)
{
	struct elf_segment s;
	unsigned i;

	for (i = 0; i < e->e_phnum; i++) {
		elf_segment(e, i, &s);
		if (s.es_type == PT_LOAD && e->e_entry >= s.es_vaddr &&
		    e->e_entry - s.es_vaddr < s.es_memsz)
			return (s.es_paddr + (e->e_entry - s.es_vaddr));
	}
	return (e->e_entry);
}
