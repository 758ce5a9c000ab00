/*
 * The guest's memory: one mapping on a 2 MiB boundary with guard pages on both
 * sides, and the map of it that firmware gives. It is a file without a name,
 * for the engine to map in other processes too (VMM_IOC_SHARE); where the host
 * gives none, anonymous memory.
 *
 *	0x00000000	640 KiB RAM
 *	0x000a0000	384 KiB RAM, told as reserved; ACPI's tables
 *	0x00100000	RAM up to 3.75 GiB
 *	0xf0000000	PCI, APICs
 *	4 GiB		the rest
 *
 * Threads: the owner's, while no VCPU runs.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "machine/board.h"

#define KIB		1024ull
#define MIB		(1024 * KIB)
#define GIB		(1024 * MIB)
#define LOW_END		(640 * KIB)
#define HOLE		((uint64_t)VMM_PCI_MMIO_BAR_BASE)
#define HUGE_PAGE	(2 * MIB)
#define GUARD		HUGE_PAGE
#ifndef MFD_EXEC	/* Linux 6.3 */
#define MFD_EXEC	0x0010u
#endif

static void
memmap_add(struct machine *m, uint64_t base, uint64_t end,
    enum memmap_type type)
{
	if (end > base)
		m->m_memmap[m->m_nmemmap++] = (struct memmap){
			.mm_base = base, .mm_size = end - base,
			.mm_type = type };
}

/* Tells the monitor of a write by a device (VMM_IOC_WRITTEN). */
static void
memory_written(void *arg, uint64_t gpa, size_t len)
{
	struct machine *m = arg;
	struct vmm_written_params vwr = { .vwr_vm_id = m->m_id,
		.vwr_gpa = gpa, .vwr_size = len };

	if (m->m_id != 0)
		(void)vmm_ioctl(m->m_vmm, VMM_IOC_WRITTEN, &vwr);
}

/* A file of size bytes that may be mapped for execution too, or -1. */
static int
ram_file(uint64_t size)
{
	struct rlimit rl;
	int fd;

	/* Above this limit, ftruncate(2) means SIGXFSZ. */
	if (getrlimit(RLIMIT_FSIZE, &rl) == -1 || rl.rlim_cur < size)
		return (-1);
	if ((fd = memfd_create("vmm-ram", MFD_CLOEXEC | MFD_EXEC)) == -1 &&
	    (fd = memfd_create("vmm-ram", MFD_CLOEXEC)) == -1)
		return (-1);
	if (ftruncate(fd, (off_t)size) == -1) {
		close(fd);
		return (-1);
	}
	return (fd);
}

/* Puts RAM into the area that is kept free for it. */
static int
ram_map(struct machine *m, void *base, uint64_t size)
{
	if ((m->m_ram = ram_file(size)) != -1) {
		if (mmap(base, size, PROT_READ | PROT_WRITE, MAP_SHARED |
		    MAP_FIXED | MAP_NORESERVE, m->m_ram, 0) != MAP_FAILED)
			return (0);
		close(m->m_ram);
		m->m_ram = -1;
	}
	return (mprotect(base, size, PROT_READ | PROT_WRITE));
}

int
memory_new(struct machine *m, struct err *err)
{
	const uint64_t size = m->m_config.mc_memory;
	const uint64_t max = (uint64_t)VMM_MAX_VM_MEM_SIZE * MIB;
	uint64_t low = size, high = 0;
	uint8_t *base;

	if (size < MIB || size % MIB != 0)
		return (err_set(err, "the memory size has to be a whole number "
		    "of MiB, 1 at least (-m)"));
	if (low > HOLE) {
		low = HOLE;
		high = size - low;
	}
	if (size > max - (4 * GIB - HOLE))
		return (err_set(err, "a machine has at most %llu MiB of "
		    "memory; use a smaller -m",
		    (unsigned long long)((max - (4 * GIB - HOLE)) / MIB)));
	m->m_map_size = size + 2 * GUARD + HUGE_PAGE;
	m->m_map = mmap(NULL, m->m_map_size, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (m->m_map == MAP_FAILED) {
		m->m_map = NULL;
		return (err_sys(err, "cannot have %llu MiB of memory; use a "
		    "smaller -m", (unsigned long long)(size / MIB)));
	}
	base = (uint8_t *)m->m_map + GUARD;
	base += -(uintptr_t)base & (HUGE_PAGE - 1);
	if (ram_map(m, base, size) == -1)
		return (err_sys(err, "cannot have %llu MiB of memory; use a "
		    "smaller -m", (unsigned long long)(size / MIB)));
	(void)madvise(base, size, MADV_HUGEPAGE);	/* a wish */
	(void)madvise(base, size, MADV_DONTDUMP);
	(void)madvise(base, size, MADV_DONTFORK);

	m->m_memory.gm_range[0].gpa = 0;
	m->m_memory.gm_range[0].host = base;
	m->m_memory.gm_range[0].size = low;
	m->m_memory.gm_nranges = 1;
	if (high > 0) {
		m->m_memory.gm_range[1].gpa = 4 * GIB;
		m->m_memory.gm_range[1].host = base + low;
		m->m_memory.gm_range[1].size = high;
		m->m_memory.gm_nranges = 2;
	}
	m->m_memory.gm_written = memory_written;
	m->m_memory.gm_arg = m;

	memmap_add(m, 0, LOW_END, MEMMAP_RAM);
	memmap_add(m, LOW_END, MIB, MEMMAP_RESERVED);
	memmap_add(m, MIB, low, MEMMAP_RAM);
	memmap_add(m, 4 * GIB, 4 * GIB + high, MEMMAP_RAM);
	return (0);
}

void
memory_free(struct machine *m)
{
	if (m->m_map != NULL)
		munmap(m->m_map, m->m_map_size);
	m->m_map = NULL;
	if (m->m_ram != -1)
		close(m->m_ram);
	m->m_ram = -1;
}

void
memory_clear(struct machine *m)
{
	/* Dropping a shared mapping's pages leaves them in the file. */
	const int advice = m->m_ram != -1 ? MADV_REMOVE : MADV_DONTNEED;
	const struct guest_memory *gm = &m->m_memory;
	unsigned i;

	for (i = 0; i < gm->gm_nranges; i++) {
		if (madvise(gm->gm_range[i].host, gm->gm_range[i].size,
		    advice) == -1)	/* locked by mlockall(2), say */
			memset(gm->gm_range[i].host, 0, gm->gm_range[i].size);
		gpa_written(gm, gm->gm_range[i].gpa, gm->gm_range[i].size);
	}
}
