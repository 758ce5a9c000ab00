/*
 * The firmware's image and its start (firmware.h).
 *
 * The image is ROM that ends at 4 GiB, and its last 256 KiB are also in RAM
 * that ends at 1 MiB: this board has no registers that choose between RAM and
 * ROM there, it is RAM always, and reset fills it anew. The CPU begins in that
 * copy, at the address where a 8086 did; what an 80386 executes from the
 * original is the same jump.
 *
 * Threads: one, while no VCPU runs; the ports and the ROM on that of the VCPU
 * that runs firmware, the first.
 */
#include "machine/firmware.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

#ifndef VMM_BIOS
#define VMM_BIOS	"/usr/share/seabios/bios-256k.bin"
#endif

/* The ROM that boots from a virtio network device: iPXE. */
#ifndef VMM_NETBOOT
#define VMM_NETBOOT	"/usr/lib/ipxe/qemu/pxe-virtio.rom"
#endif
#define NETBOOT_UNIT	512u			/* PCI Firmware 3.2, 5.1.2 */
#define NETBOOT_MAX	(128 * KIB)

#define KIB		1024u
#define SIZE_UNIT	(64 * KIB)
#define SIZE_MAX_ROM	(16 * KIB * KIB)	/* above the APICs */
#define SHADOW		(256 * KIB)
#define MIB		0x100000u
#define FOUR_GIB	0x100000000ull
#define VECTOR		16u			/* before the image's end */
#define DEBUG_PORT	0x402
#define DEBUG_THERE	0xe9

/* Marks of files that are no firmware whatever their end looks like. */
#define LINUX_OFFSET	0x202
#define MULTIBOOT_MAX	8192

struct firmware {
	uint8_t		*f_data;	/* [I] */
	size_t		 f_size;	/* [I] */
	struct window	 f_rom, f_debug;	/* [I] */
	char		 f_line[160];	/* [c] of the debug port so far */
	size_t		 f_len;
};

/* --- the image ----------------------------------------------------------- */

static bool
has(const uint8_t *data, size_t offset, const char *mark)
{
	return (memcmp(data + offset, mark, 4) == 0);
}

/* Whole 64 KiB that end in a jump, and no kernel. */
static bool
is_firmware(const uint8_t *data, size_t size)
{
	const uint8_t *vector = data + size - VECTOR;
	size_t i;

	if (has(data, 0, "\177ELF") || has(data, LINUX_OFFSET, "HdrS"))
		return (false);
	for (i = 0; i < MULTIBOOT_MAX; i += 4)
		if (has(data, i, "\x02\xb0\xad\x1b"))
			return (false);
	while (*vector == 0x90 && vector < data + size - VECTOR / 2)
		vector++;			/* NOP */
	return (*vector == 0xea || *vector == 0xe9 || *vector == 0xeb);
}

/* All of fd, which is a regular file of that size: 1, 0 or -1 and errno. */
static int
file_read(struct firmware *f, int fd)
{
	size_t done = 0;
	ssize_t n;

	if ((f->f_data = malloc(f->f_size)) == NULL)
		return (-1);
	while (done < f->f_size) {
		n = pread(fd, f->f_data + done, f->f_size - done, (off_t)done);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return (-1);
		if (n == 0)
			return (0);	/* it has become shorter */
		done += (size_t)n;
	}
	return (1);
}

/* A file of so many units, up to max bytes: 1, 0 or -1 and errno. */
static int
file_open(struct firmware *f, const char *path, size_t unit, size_t max)
{
	struct stat st;
	int fd, ret = 0;

	/* O_NONBLOCK: a FIFO must not make us wait for a writer */
	if ((fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) == -1)
		return (-1);
	if (fstat(fd, &st) == -1)
		ret = -1;
	else if (S_ISREG(st.st_mode) && st.st_size >= (off_t)unit &&
	    st.st_size <= (off_t)max && st.st_size % (off_t)unit == 0) {
		f->f_size = (size_t)st.st_size;
		ret = file_read(f, fd);
	}
	close(fd);
	return (ret);
}

/* 1, 0 or -1 and errno. */
static int
image_open(struct firmware *f, const char *path)
{
	int ret = file_open(f, path, SIZE_UNIT, SIZE_MAX_ROM);

	return (ret == 1 ? is_firmware(f->f_data, f->f_size) : ret);
}

/* The image for machines that name none. */
static int
firmware_default(struct firmware *f, struct err *err)
{
	const char *told = getenv("VMM_BIOS");
	const char *path = told != NULL && *told != '\0' ? told : VMM_BIOS;
	int ret = image_open(f, path);

	if (ret == 1)
		log_info("the firmware is %s", path);
	else if (ret == 0)
		return (err_set(err, "%s is no firmware image%s", path,
		    path == told ? "; VMM_BIOS names it" : ""));
	else if (errno == ENOENT && path != told)
		return (err_set(err, "there is no firmware at %s; install the "
		    "package seabios, set VMM_BIOS or name a kernel", path));
	else
		return (err_sys(err, "cannot read the firmware %s", path));
	return (1);
}

int
firmware_open(struct firmware **fp, const char *path, struct err *err)
{
	struct firmware *f;
	int ret;

	if ((f = calloc(1, sizeof(*f))) == NULL)
		return (err_sys(err, "cannot read the firmware"));
	if (path == NULL)
		ret = firmware_default(f, err);
	else {
		/* boot_load() has the words for what cannot be read */
		if ((ret = image_open(f, path)) == -1)
			ret = 0;
		if (ret == 1)
			log_info("%s is a firmware image", path);
	}
	if (ret == 1)
		*fp = f;
	else
		firmware_free(f);
	return (ret);
}

int
firmware_open_netboot(struct firmware **fp, struct err *err)
{
	const char *told = getenv("VMM_NETBOOT");
	const char *path = told != NULL && *told != '\0' ? told : VMM_NETBOOT;
	struct firmware *f;
	int ret;

	if ((f = calloc(1, sizeof(*f))) == NULL)
		return (err_sys(err, "cannot read the network boot ROM"));
	if ((ret = file_open(f, path, NETBOOT_UNIT, NETBOOT_MAX)) == 1 &&
	    (f->f_data[0] != 0x55 || f->f_data[1] != 0xaa))
		ret = 0;
	if (ret == 1)
		*fp = f;
	else if (ret == 0)
		err_set(err, "%s is no option ROM", path);
	else if (errno == ENOENT && path != told)
		err_set(err, "booting from a network needs the ROM %s; install "
		    "the package ipxe-qemu or set VMM_NETBOOT", path);
	else
		err_sys(err, "cannot read the network boot ROM %s", path);
	if (ret != 1)
		firmware_free(f);
	return (ret == 1 ? 0 : -1);
}

void
firmware_free(struct firmware *f)
{
	if (f == NULL)
		return;
	free(f->f_data);
	free(f);
}

/* --- the ROM ------------------------------------------------------------- */

static uint64_t
rom_read(void *arg, uint64_t offset, unsigned size)
{
	const struct firmware *f = arg;
	uint64_t value = 0;

	memcpy(&value, f->f_data + offset, size);
	return (value);
}

static void
rom_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	(void)arg;
	(void)offset;
	(void)size;
	(void)value;
}

/* Reads as the value by which firmware knows that somebody listens. */
static uint64_t
debug_read(void *arg, uint64_t offset, unsigned size)
{
	(void)arg;
	(void)offset;
	(void)size;
	return (DEBUG_THERE);
}

static void
debug_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct firmware *f = arg;
	const char c = (char)value;

	(void)offset;
	(void)size;
	if (c >= ' ' && c <= '~')
		f->f_line[f->f_len++] = c;
	if (c == '\n' || f->f_len == sizeof(f->f_line)) {
		if (f->f_len > 0)
			log_debug("firmware: %.*s", (int)f->f_len, f->f_line);
		f->f_len = 0;
	}
}

int
firmware_map(struct firmware *f, struct bus *ports, struct bus *memory)
{
	int error;

	f->f_rom = (struct window){ .w_base = FOUR_GIB - f->f_size,
		.w_size = f->f_size, .w_read = rom_read, .w_write = rom_write,
		.w_arg = f, .w_name = "firmware" };
	f->f_debug = (struct window){ .w_base = DEBUG_PORT, .w_size = 1,
		.w_read = debug_read, .w_write = debug_write, .w_arg = f,
		.w_width = 1, .w_name = "firmware's log" };
	if ((error = bus_add(ports, &f->f_debug)) != 0)
		return (error);
	return (bus_add(memory, &f->f_rom));
}

void
firmware_unmap(struct firmware *f, struct bus *ports, struct bus *memory)
{
	bus_remove(ports, &f->f_debug);
	bus_remove(memory, &f->f_rom);
}

/* --- its start ----------------------------------------------------------- */

/* SDM vol. 3A table 9-1 */
#define CR0_RESET	0x60000010	/* CD, NW, ET */
#define RIP_RESET	0xfff0
#define CS_RESET	0xf000
#define AR_CODE16	0x009b
#define AR_DATA16	0x0093
#define AR_LDT		0x0082
#define AR_TSS		0x008b
#define FLAGS_RESET	0x2

static void
regs_reset(struct vcpu_reg_state *r)
{
	int i;

	memset(r, 0, sizeof(*r));
	r->vrs_gprs[VCPU_REGS_RIP] = RIP_RESET;
	r->vrs_gprs[VCPU_REGS_RFLAGS] = FLAGS_RESET;
	r->vrs_crs[VCPU_REGS_CR0] = CR0_RESET;
	r->vrs_crs[VCPU_REGS_XCR0] = 1;
	r->vrs_msrs[VCPU_REGS_MISC_ENABLE] = 1;		/* fast strings */
	r->vrs_drs[VCPU_REGS_DR6] = 0xffff0ff0;
	r->vrs_drs[VCPU_REGS_DR7] = 0x400;
	for (i = 0; i < VCPU_REGS_NSREGS; i++)
		r->vrs_sregs[i] = (struct vcpu_segment_info){
			.vsi_limit = 0xffff, .vsi_ar = AR_DATA16 };
	r->vrs_sregs[VCPU_REGS_CS] = (struct vcpu_segment_info){
		.vsi_sel = CS_RESET, .vsi_base = CS_RESET << 4,
		.vsi_limit = 0xffff, .vsi_ar = AR_CODE16 };
	r->vrs_sregs[VCPU_REGS_LDTR].vsi_ar = AR_LDT;
	r->vrs_sregs[VCPU_REGS_TR].vsi_ar = AR_TSS;
	r->vrs_gdtr.vsi_limit = r->vrs_idtr.vsi_limit = 0xffff;
}

void
firmware_load(const struct firmware *f, const struct guest_memory *gm,
    struct vcpu_reg_state *regs)
{
	const size_t len = f->f_size < SHADOW ? f->f_size : SHADOW;

	gpa_write(gm, MIB - len, f->f_data + f->f_size - len, len);
	regs_reset(regs);
}

/* --- what it asks -------------------------------------------------------- */

struct e820 {
	uint64_t	base, size;
	uint32_t	type;
} __attribute__((packed));

static int
add_e820(struct fw_cfg *fw, const struct firmware_config *fc)
{
	struct e820 e[16];
	unsigned i, n = 0;

	for (i = 0; i < fc->fc_nmap && n < sizeof(e) / sizeof(e[0]); i++)
		/* the reserved part below 1 MiB is the firmware's own */
		if (fc->fc_map[i].mm_type == MEMMAP_RAM)
			e[n++] = (struct e820){ fc->fc_map[i].mm_base,
				fc->fc_map[i].mm_size, MEMMAP_RAM };
	return (fw_cfg_add(fw, "etc/e820", e, n * sizeof(e[0])));
}

static int
add_acpi(struct fw_cfg *fw, const struct acpi_config *ac)
{
	uint8_t script[ACPI_LOADER_MAX * ACPI_LOADER_STEP];
	struct acpi_tables at;
	size_t len;
	int error;

	acpi_build(&at, ac);
	len = acpi_loader(&at, script);
	if ((error = fw_cfg_add(fw, ACPI_FILE_TABLES, at.at_data,
	    at.at_len)) != 0 ||
	    (error = fw_cfg_add(fw, ACPI_FILE_RSDP, at.at_rsdp,
	    sizeof(at.at_rsdp))) != 0)
		return (error);
	return (fw_cfg_add(fw, ACPI_FILE_LOADER, script, len));
}

int
firmware_configure(struct fw_cfg *fw, const struct firmware_config *fc)
{
	int error;

	if ((error = add_e820(fw, fc)) != 0 ||
	    (error = add_acpi(fw, fc->fc_acpi)) != 0)
		return (error);
	if (fc->fc_netboot != NULL && (error = fw_cfg_add(fw, NETBOOT_FILE,
	    fc->fc_netboot->f_data, fc->fc_netboot->f_size)) != 0)
		return (error);
	/* lines between newlines, and a NUL */
	return (fw_cfg_add(fw, "bootorder", fc->fc_bootorder,
	    strlen(fc->fc_bootorder) + 1));
}
