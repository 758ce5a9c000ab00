/*
 * What the boot loaders share: files, free memory, CPU states; and the choice
 * of the loader. See boot.h.
 *
 * 1. b_used is ascending, without overlaps; memory is written only inside it.
 *
 * Threads: one, while no VCPU runs.
 */
#include "machine/boot.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "machine/acpi.h"

#define MIB		0x100000ull
#define KERNEL_MAX	(1024 * MIB)
#define PAGE		4096
#define HUGE_PAGE	(2 * MIB)
#define RESET_VECTOR	0xffff0		/* F000:FFF0 */
#define SERVICES	0xfff53		/* F000:FF53, an IRET in any PC */
#define LOW_SIZE	0x500		/* vectors, BIOS data */
#define BASE_MEMORY	0x413		/* there: low memory in KiB, 16 bits */

/* --- files --------------------------------------------------------------- */

uint16_t
bf_u16(const struct boot_file *f, size_t offset)
{
	uint16_t v;

	assert(offset + sizeof(v) <= f->bf_have);
	memcpy(&v, f->bf_data + offset, sizeof(v));
	return (v);
}

uint32_t
bf_u32(const struct boot_file *f, size_t offset)
{
	uint32_t v;

	assert(offset + sizeof(v) <= f->bf_have);
	memcpy(&v, f->bf_data + offset, sizeof(v));
	return (v);
}

uint64_t
bf_u64(const struct boot_file *f, size_t offset)
{
	uint64_t v;

	assert(offset + sizeof(v) <= f->bf_have);
	memcpy(&v, f->bf_data + offset, sizeof(v));
	return (v);
}

/*
 * Opens a regular file for reading. What it is called ("kernel", "initrd")
 * goes into the error. Returns the descriptor or -1.
 */
static int
file_open(const char *what, const char *path, uint64_t *size, struct err *err)
{
	struct stat st;
	int fd;

	/* O_NONBLOCK: a FIFO must not make us wait for a writer */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd == -1)
		return (err_sys(err, "cannot open %s %s", what, path));
	if (fstat(fd, &st) == -1) {
		err_sys(err, "cannot stat %s %s", what, path);
		close(fd);
		return (-1);
	}
	if (!S_ISREG(st.st_mode)) {
		close(fd);
		return (err_set(err, "%s %s is %s; name a regular file", what,
		    path, S_ISDIR(st.st_mode) ? "a directory" :
		    "not a regular file"));
	}
	*size = (uint64_t)st.st_size;
	return (fd);
}

/* Reads exactly size bytes; a file that shrank meanwhile is an error. */
static int
file_read(int fd, const char *path, uint64_t offset, void *buf, uint64_t size,
    struct err *err)
{
	uint64_t done = 0;
	ssize_t n;

	while (done < size) {
		n = pread(fd, (uint8_t *)buf + done, size - done,
		    (off_t)(offset + done));
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return (err_sys(err, "cannot read %s", path));
		if (n == 0)
			return (err_set(err, "%s became shorter while it was "
			    "read; try again", path));
		done += (uint64_t)n;
	}
	return (0);
}

/*
 * A buffer that free(3) ends. A large one is made of huge pages where the host
 * has them: touching it costs a fifth.
 */
static void *
buffer_new(size_t size)
{
	size_t room = (size + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	void *p;

	if (size < HUGE_PAGE)
		return (malloc(size));
	if ((p = aligned_alloc(HUGE_PAGE, room)) != NULL)
		(void)madvise(p, room, MADV_HUGEPAGE);	/* a wish */
	return (p);
}

/* Opens the kernel and reads its head. kernel_close() in any case. */
static int
kernel_open(struct boot_file *f, const char *path, struct err *err)
{
	uint64_t size;

	*f = (struct boot_file){ .bf_path = path };
	if ((f->bf_fd = file_open("kernel", path, &size, err)) == -1)
		return (-1);
	f->bf_size = size;
	f->bf_have = size < BOOT_FILE_HEAD ? size : BOOT_FILE_HEAD;
	if (size == 0)
		return (err_set(err, "kernel %s is empty; name a bzImage, a "
		    "PVH ELF or a multiboot kernel", path));
	if (size > KERNEL_MAX)
		return (err_set(err, "kernel %s is larger than 1 GiB; name a "
		    "bzImage, a PVH ELF or a multiboot kernel", path));
	if ((f->bf_data = malloc(f->bf_have)) == NULL)
		return (err_sys(err, "cannot read kernel %s", path));
	return (file_read(f->bf_fd, path, 0, f->bf_data, f->bf_have, err));
}

/* Reads the rest. */
static int
kernel_read(struct boot_file *f, struct err *err)
{
	uint8_t *all;

	if ((all = buffer_new(f->bf_size)) == NULL)
		return (err_sys(err, "cannot read kernel %s", f->bf_path));
	free(f->bf_data);
	f->bf_data = all;
	f->bf_have = f->bf_size;
	return (file_read(f->bf_fd, f->bf_path, 0, all, f->bf_size, err));
}

static void
kernel_close(struct boot_file *f)
{
	free(f->bf_data);
	if (f->bf_fd != -1)
		close(f->bf_fd);
}

int
boot_file_read(const struct boot *b, const struct boot_file *f, size_t offset,
    uint64_t gpa, size_t len, struct err *err)
{
	void *host = gpa_host(b->b_memory, gpa, len);

	assert(host != NULL);
	return (file_read(f->bf_fd, f->bf_path, offset, host, len, err));
}

int
boot_module_open(struct boot_module *m, const char *spec, bool args,
    struct err *err)
{
	const char *comma = args ? strchr(spec, ',') : NULL;
	size_t len = comma != NULL ? (size_t)(comma - spec) : strlen(spec);

	if (len >= sizeof(m->bm_path))
		return (err_set(err, "the name of an initrd is too long"));
	memcpy(m->bm_path, spec, len);
	m->bm_path[len] = '\0';
	m->bm_args = comma != NULL ? comma + 1 : NULL;
	m->bm_fd = file_open("initrd", m->bm_path, &m->bm_size, err);
	return (m->bm_fd == -1 ? -1 : 0);
}

int
boot_module_read(const struct boot *b, struct boot_module *m, uint64_t gpa,
    struct err *err)
{
	void *host = gpa_host(b->b_memory, gpa, m->bm_size);
	int ret;

	assert(host != NULL || m->bm_size == 0);
	ret = file_read(m->bm_fd, m->bm_path, 0, host, m->bm_size, err);
	boot_module_close(m);
	return (ret);
}

void
boot_module_close(struct boot_module *m)
{
	if (m->bm_fd != -1)
		close(m->bm_fd);
	m->bm_fd = -1;
}

/* --- memory -------------------------------------------------------------- */

uint64_t
boot_ram_top(const struct boot *b)
{
	unsigned i;

	for (i = 0; i < b->b_nmap; i++)
		if (b->b_map[i].mm_type == MEMMAP_RAM &&
		    b->b_map[i].mm_base == MIB)
			return (MIB + b->b_map[i].mm_size);
	return (0);
}

int
boot_take(struct boot *b, uint64_t gpa, uint64_t size)
{
	uint64_t end;
	unsigned i;

	if (size == 0)
		return (0);
	if (__builtin_add_overflow(gpa, size, &end) ||
	    gpa_host(b->b_memory, gpa, size) == NULL ||
	    b->b_nused == BOOT_USED_MAX)
		return (-1);
	for (i = 0; i < b->b_nused && b->b_used[i].first < gpa; i++)
		continue;
	if ((i > 0 && b->b_used[i - 1].end > gpa) ||
	    (i < b->b_nused && b->b_used[i].first < end))
		return (-1);
	memmove(&b->b_used[i + 1], &b->b_used[i],
	    (b->b_nused - i) * sizeof(b->b_used[0]));
	b->b_used[i] = (struct boot_used){ gpa, end };
	b->b_nused++;
	return (0);
}

static uint64_t
align_up(uint64_t v, uint64_t align)
{
	return ((v + align - 1) & ~(align - 1));
}

uint64_t
boot_place(struct boot *b, uint64_t size, uint64_t align, uint64_t min,
    uint64_t max)
{
	uint64_t at = align_up(min, align);
	unsigned i = 0;

	if (size > max)
		return (0);
	for (;;) {
		if (at > max - size)
			return (0);
		if (boot_take(b, at, size) == 0)
			return (at);
		while (i < b->b_nused && b->b_used[i].end <= at)
			i++;
		if (i == b->b_nused)
			return (0);
		at = align_up(b->b_used[i].end, align);
	}
}

uint64_t
boot_place_high(struct boot *b, uint64_t size, uint64_t align, uint64_t min,
    uint64_t max)
{
	unsigned i = b->b_nused;
	uint64_t at;

	for (;;) {
		if (max < size || (at = (max - size) & ~(align - 1)) < min)
			return (0);
		if (boot_take(b, at, size) == 0)
			return (at);
		while (i > 0 && b->b_used[i - 1].first >= max)
			i--;
		if (i == 0)
			return (0);
		max = b->b_used[--i].first;
	}
}

void
boot_copy(const struct boot *b, uint64_t gpa, const void *data, size_t len)
{
	void *host = gpa_host(b->b_memory, gpa, len);

	assert(host != NULL);
	memcpy(host, data, len);
}

uint64_t
boot_string(struct boot *b, const char *s, size_t len)
{
	uint64_t gpa = boot_place(b, len + 1, 16, PAGE, BOOT_LOW_TOP);

	if (gpa != 0) {
		boot_copy(b, gpa, s, len);
		boot_copy(b, gpa + len, "", 1);
	}
	return (gpa);
}

/* --- CPU states ---------------------------------------------------------- */

/* Selectors as Linux's boot protocol wants them. */
#define SEL_CODE	0x10
#define SEL_DATA	0x18
#define SEL_TSS		0x20
/* Access rights, VMX form */
#define AR_CODE32	0xc09b
#define AR_CODE64	0xa09b
#define AR_DATA		0xc093
#define AR_TSS_BUSY	0x008b
#define AR_UNUSABLE	0x10000

#define CR0_PE		0x00000001
#define CR0_ET		0x00000010
#define CR0_NE		0x00000020
#define CR0_WP		0x00010000
#define CR0_PG		0x80000000
#define CR4_PAE		0x00000020
#define EFER_LME	0x00000100
#define EFER_LMA	0x00000400
#define PTE_PRESENT	0x003		/* writable */
#define PTE_LARGE	0x083

/* A descriptor (SDM vol. 3A fig. 3-8) from base, limit and rights. */
static uint64_t
descriptor(uint32_t base, uint32_t limit, uint32_t ar)
{
	if (ar & 0x8000)	/* granular */
		limit >>= 12;
	return ((uint64_t)(base >> 24) << 56 |
	    (uint64_t)(ar & 0xf000) << 40 |
	    (uint64_t)(limit >> 16 & 15) << 48 |
	    (uint64_t)(ar & 0xff) << 40 |
	    (uint64_t)(base & 0xffffff) << 16 | (limit & 0xffff));
}

static int
regs_common(struct boot *b, uint64_t entry, uint32_t code)
{
	struct vcpu_reg_state *r = &b->b_regs;
	uint64_t gdt[6] = { 0 }, gpa;
	int i;

	gdt[SEL_CODE / 8] = descriptor(0, ~0u, code);
	gdt[SEL_DATA / 8] = descriptor(0, ~0u, AR_DATA);
	if ((gpa = boot_place(b, PAGE, PAGE, PAGE, BOOT_LOW_TOP)) == 0)
		return (-1);
	/* the TSS is in the page's second half, all zero */
	gdt[SEL_TSS / 8] = descriptor((uint32_t)gpa + 2048, 0x67, AR_TSS_BUSY);
	boot_copy(b, gpa, gdt, sizeof(gdt));

	memset(r, 0, sizeof(*r));
	r->vrs_gprs[VCPU_REGS_RIP] = entry;
	r->vrs_gprs[VCPU_REGS_RFLAGS] = 0x2;
	r->vrs_crs[VCPU_REGS_CR0] = CR0_PE | CR0_ET | CR0_NE;
	r->vrs_crs[VCPU_REGS_XCR0] = 1;
	r->vrs_msrs[VCPU_REGS_MISC_ENABLE] = 1;		/* fast strings */
	r->vrs_drs[VCPU_REGS_DR6] = 0xffff0ff0;
	r->vrs_drs[VCPU_REGS_DR7] = 0x400;
	for (i = 0; i < VCPU_REGS_NSREGS; i++)
		r->vrs_sregs[i] = (struct vcpu_segment_info){
			.vsi_sel = SEL_DATA, .vsi_limit = ~0u,
			.vsi_ar = AR_DATA };
	r->vrs_sregs[VCPU_REGS_CS].vsi_sel = SEL_CODE;
	r->vrs_sregs[VCPU_REGS_CS].vsi_ar = code;
	r->vrs_sregs[VCPU_REGS_LDTR] = (struct vcpu_segment_info){
		.vsi_ar = AR_UNUSABLE };
	r->vrs_sregs[VCPU_REGS_TR] = (struct vcpu_segment_info){
		.vsi_sel = SEL_TSS, .vsi_limit = 0x67, .vsi_ar = AR_TSS_BUSY,
		.vsi_base = gpa + 2048 };
	r->vrs_gdtr.vsi_base = gpa;
	r->vrs_gdtr.vsi_limit = sizeof(gdt) - 1;
	return (0);
}

int
boot_regs_flat32(struct boot *b, uint64_t entry)
{
	return (regs_common(b, entry, AR_CODE32));
}

int
boot_regs_long(struct boot *b, uint64_t entry)
{
	struct vcpu_reg_state *r = &b->b_regs;
	uint64_t gpa, table[512];
	unsigned i, n;

	if (regs_common(b, entry, AR_CODE64) == -1)
		return (-1);
	/* PML4, PDPT, four directories of 2 MiB pages */
	gpa = boot_place(b, 6 * PAGE, PAGE, PAGE, BOOT_LOW_TOP);
	if (gpa == 0)
		return (-1);
	memset(table, 0, sizeof(table));
	table[0] = (gpa + PAGE) | PTE_PRESENT;
	boot_copy(b, gpa, table, PAGE);
	for (i = 0; i < 4; i++)
		table[i] = (gpa + (2 + i) * PAGE) | PTE_PRESENT;
	boot_copy(b, gpa + PAGE, table, PAGE);
	for (i = 0; i < 4; i++) {
		for (n = 0; n < 512; n++)
			table[n] = (i * 512ull + n) << 21 | PTE_LARGE;
		boot_copy(b, gpa + (2 + i) * PAGE, table, PAGE);
	}
	r->vrs_crs[VCPU_REGS_CR0] |= CR0_PG | CR0_WP;
	r->vrs_crs[VCPU_REGS_CR3] = gpa;
	r->vrs_crs[VCPU_REGS_CR4] = CR4_PAE;
	r->vrs_msrs[VCPU_REGS_EFER] = EFER_LME | EFER_LMA;
	return (0);
}

/* --- the choice ---------------------------------------------------------- */

/* A guess at what the file is instead, for the error. */
static const char *
file_kind(const struct boot_file *f)
{
	static const struct {
		uint8_t magic[4];
		const char *kind;
	} kinds[] = {
		{ { 0x1f, 0x8b }, " (it is compressed: gunzip it)" },
		{ { 0x28, 0xb5, 0x2f, 0xfd }, " (it is compressed: unzstd it)" },
		{ { 0xfd, '7', 'z', 'X' }, " (it is compressed: unxz it)" },
		{ { '0', '7', '0', '7' }, " (it is an initrd)" },
	};
	unsigned i;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (f->bf_size >= 4 && memcmp(f->bf_data, kinds[i].magic,
		    kinds[i].magic[2] == 0 ? 2 : 4) == 0)
			return (kinds[i].kind);
	return ("");
}

/*
 * Kernels that are booted without firmware may call on it all the same, from
 * real mode: Xen asks it for memory, disks and video. What answers knows no
 * function (carry set), and so they go by what their boot loader told them.
 * A jump to the place that a CPU begins at (Linux's reboot=bios) wants a
 * reset: the keyboard controller's line, as firmware pulls it there. A kernel
 * that has loaded something at one of these places keeps it.
 */
static void
bios_leave(struct boot *b)
{
	static const uint8_t reset[] = {
		0xb0, 0xfe,		/* mov al, 0xfe */
		0xe6, 0x64,		/* out 0x64, al */
		0xf4,			/* hlt */
		0xeb, 0xfd		/* jmp to the hlt */
	};
	static const uint8_t services[] = {
		0xcf,			/* iret: exceptions, interrupts */
		0x55,			/* push bp: the others */
		0x89, 0xe5,		/* mov bp, sp */
		0x80, 0x4e, 0x06, 0x01,	/* or byte [bp + 6], 1 (flags' CF) */
		0x5d,			/* pop bp */
		0xcf			/* iret */
	};
	uint8_t low[LOW_SIZE] = { 0 };
	uint16_t vector[2] = { 0, 0xf000 };
	uint16_t kib = (uint16_t)(b->b_map[0].mm_size >> 10);
	unsigned n;

	if (boot_take(b, RESET_VECTOR, sizeof(reset)) == 0)
		boot_copy(b, RESET_VECTOR, reset, sizeof(reset));
	if (boot_take(b, SERVICES, sizeof(services)) == -1)
		return;
	boot_copy(b, SERVICES, services, sizeof(services));
	for (n = 0; n < 256; n++) {
		vector[0] = (uint16_t)((SERVICES & 0xffff) +
		    (n >= 0x10 && (n & ~7u) != 0x70));
		memcpy(low + n * sizeof(vector), vector, sizeof(vector));
	}
	memcpy(low + BASE_MEMORY, &kib, sizeof(kib));
	if (boot_take(b, 0, sizeof(low)) == 0)
		boot_copy(b, 0, low, sizeof(low));
}

int
boot_load(struct boot *b, struct err *err)
{
	/* Multiboot before PVH: its header was put there on purpose. */
	static const struct {
		int (*load)(struct boot *, const struct boot_file *,
		    struct err *);
		const char *kind;
	} loaders[] = {
		{ boot_linux, "a Linux bzImage" },
		{ boot_multiboot, "a multiboot kernel" },
		{ boot_pvh, "an ELF kernel with a PVH note" },
	};
	struct boot_file f;
	unsigned i;
	int ret;

	b->b_nused = 0;
	/* Reserved memory is there to be loaded into (many kernels linked to 1
	 * MiB have their ELF headers just below), but for ACPI's tables. */
	if (b->b_rsdp != 0 &&
	    boot_take(b, ACPI_AREA, ACPI_AREA_USED) == -1)
		return (err_set(err, "no memory for ACPI's tables"));
	ret = kernel_open(&f, b->b_kernel, err);
	if (ret == 0) {
		for (i = 0; ret == 0 && i < sizeof(loaders) /
		    sizeof(loaders[0]); i++) {
			if (i == 1)	/* the first wants the head alone */
				ret = kernel_read(&f, err);
			if (ret == 0)
				ret = loaders[i].load(b, &f, err);
		}
		if (ret == 1) {
			log_info("%s is %s", b->b_kernel, loaders[i - 1].kind);
			bios_leave(b);
		}
		if (ret == 0)
			err_set(err, "kernel %s is no bzImage, no ELF with a "
			    "PVH note, no firmware image and has no multiboot "
			    "header%s", b->b_kernel, file_kind(&f));
	}
	kernel_close(&f);
	return (ret == 1 ? 0 : -1);
}
