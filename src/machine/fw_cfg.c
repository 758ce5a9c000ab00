/*
 * The firmware configuration device (fw_cfg.h): a 16-bit selector chooses an
 * item, whose bytes are then read one by one (the traditional interface) or
 * copied to guest memory by one write of a structure's address (DMA). Integers
 * are little-endian but for the directory's and DMA's. Bytes beyond an item's
 * end, and items that are not there, read as zero. Items are read-only.
 *
 * 1. Items and files are made before VCPUs run and stay as they are.
 *
 * Threads: VCPU threads; one lock, not held while guest memory is written.
 */
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "machine/fw_cfg.h"

#define FEATURE_TRADITIONAL	1
#define FEATURE_DMA		2

enum { ITEM_SIGNATURE, ITEM_ID, ITEM_MEMORY, ITEM_NOGRAPHIC, ITEM_CPUS,
    ITEM_CPUS_MAX, ITEMS };

static const uint16_t keys[ITEMS] = {
	[ITEM_SIGNATURE]	= 0x00,		/* "QEMU", which guests expect */
	[ITEM_ID]		= 0x01,		/* u32: FEATURE_* */
	[ITEM_MEMORY]		= 0x03,		/* u64, bytes */
	[ITEM_NOGRAPHIC]	= 0x04,		/* u16: 1 */
	[ITEM_CPUS]		= 0x05,		/* u16 */
	[ITEM_CPUS_MAX]		= 0x0f,		/* u16 */
};
#define KEY_DIRECTORY	0x19
#define KEY_FILES	0x20		/* of the first file */
#define KEY_NONE	0xffff

struct file_entry {			/* big-endian */
	uint32_t	size;
	uint16_t	key, reserved;
	char		name[FW_CFG_NAME_MAX];
};
struct directory {
	uint32_t	count;		/* big-endian */
	struct file_entry file[FW_CFG_FILES_MAX];
};
_Static_assert(sizeof(struct directory) == 4 + FW_CFG_FILES_MAX * 64,
    "as the guest reads it");

/* The structure that the guest names by its address. */
struct dma {				/* big-endian */
	uint32_t	control;
#define DMA_ERROR	0x01
#define DMA_READ	0x02
#define DMA_SKIP	0x04
#define DMA_SELECT	0x08		/* the key is in bits 16-31 */
#define DMA_WRITE	0x10
	uint32_t	length;
	uint64_t	address;
};
static const char dma_signature[8] = { 'Q', 'E', 'M', 'U', ' ', 'C', 'F', 'G' };

struct fw_cfg {
	pthread_mutex_t	 f_lock;
	struct bus	*f_ports;		/* [I] */
	const struct guest_memory *f_memory;	/* [I] */
	struct window	 f_window, f_dma_window; /* [I] */
	uint8_t		 f_item[ITEMS][8];	/* [I] */
	struct directory f_directory;		/* [I] */
	uint8_t		*f_file[FW_CFG_FILES_MAX];	/* [I] */
	size_t		 f_file_size[FW_CFG_FILES_MAX];	/* [I] */
	unsigned	 f_nfiles;		/* [I] */
	uint16_t	 f_key;			/* [m] KEY_NONE: none */
	uint32_t	 f_offset;		/* [m] of the next byte */
	uint32_t	 f_dma_high;		/* [m] of the address */
};

/* The bytes of an item, of which there may be none. */
static const uint8_t *
fw_cfg_item(const struct fw_cfg *f, uint16_t key, size_t *size)
{
	unsigned i;

	if (key == KEY_DIRECTORY) {
		*size = sizeof(f->f_directory.count) +
		    f->f_nfiles * sizeof(f->f_directory.file[0]);
		return ((const uint8_t *)&f->f_directory);
	}
	if (key >= KEY_FILES && key - KEY_FILES < (int)f->f_nfiles) {
		*size = f->f_file_size[key - KEY_FILES];
		return (f->f_file[key - KEY_FILES]);
	}
	for (i = 0; i < ITEMS; i++)
		if (keys[i] == key) {
			*size = sizeof(f->f_item[0]);
			return (f->f_item[i]);
		}
	*size = 0;
	return (NULL);
}

static void
fw_cfg_select(struct fw_cfg *f, uint16_t key)
{
	f->f_key = key;
	f->f_offset = 0;
}

/* Moves on in the selected item; never back to its start. */
static void
fw_cfg_advance(struct fw_cfg *f, uint32_t len)
{
	if (__builtin_add_overflow(f->f_offset, len, &f->f_offset))
		f->f_offset = UINT32_MAX;
}

/* --- the traditional interface ------------------------------------------- */

static uint64_t
fw_cfg_read(void *arg, uint64_t offset, unsigned size)
{
	struct fw_cfg *f = arg;
	const uint8_t *item;
	uint8_t v = 0;
	size_t len;

	(void)size;
	if (offset != FW_CFG_DATA - FW_CFG_SELECTOR)
		return (UINT64_MAX);
	pthread_mutex_lock(&f->f_lock);
	item = fw_cfg_item(f, f->f_key, &len);
	if (f->f_offset < len)
		v = item[f->f_offset];
	fw_cfg_advance(f, 1);
	pthread_mutex_unlock(&f->f_lock);
	return (v);
}

static void
fw_cfg_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct fw_cfg *f = arg;

	if (offset != 0 || size != 2)
		return;
	pthread_mutex_lock(&f->f_lock);
	fw_cfg_select(f, (uint16_t)value);
	pthread_mutex_unlock(&f->f_lock);
}

/* --- DMA ----------------------------------------------------------------- */

/* Copies the item's bytes from offset on, then zeros; false: no memory there. */
static bool
dma_copy(const struct fw_cfg *f, uint16_t key, uint32_t offset, uint64_t gpa,
    uint32_t len)
{
	uint8_t *host = gpa_host(f->f_memory, gpa, len);
	const uint8_t *item;
	size_t size, have = 0;

	if (host == NULL)
		return (len == 0);
	item = fw_cfg_item(f, key, &size);
	if (offset < size)
		have = size - offset < len ? size - offset : len;
	if (have > 0)
		memcpy(host, item + offset, have);
	memset(host + have, 0, len - have);
	gpa_written(f->f_memory, gpa, len);
	return (true);
}

/* Does what the structure at gpa says, and answers in its first word. */
static void
dma_run(struct fw_cfg *f, uint64_t gpa)
{
	struct dma dma;
	uint32_t control, len, offset, answer = 0;
	uint16_t key;

	if (!gpa_read(f->f_memory, gpa, &dma, sizeof(dma)))
		return;
	control = be32toh(dma.control);
	len = be32toh(dma.length);
	pthread_mutex_lock(&f->f_lock);
	if (control & DMA_SELECT)
		fw_cfg_select(f, (uint16_t)(control >> 16));
	key = f->f_key;
	offset = f->f_offset;
	if (control & (DMA_READ | DMA_SKIP))
		fw_cfg_advance(f, len);
	pthread_mutex_unlock(&f->f_lock);
	if (control & DMA_READ) {
		if (!dma_copy(f, key, offset, be64toh(dma.address), len))
			answer = DMA_ERROR;
	} else if (control & DMA_WRITE)
		answer = DMA_ERROR;
	answer = htobe32(answer);
	gpa_write(f->f_memory, gpa, &answer, sizeof(answer));
}

/* The port reads as a signature, in which a byte's place is its port's. */
static uint64_t
dma_read(void *arg, uint64_t offset, unsigned size)
{
	uint64_t value = 0;

	(void)arg;
	memcpy(&value, dma_signature + offset, size);
	return (value);
}

/* The high half is kept; the low one starts the work. */
static void
dma_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct fw_cfg *f = arg;
	uint64_t gpa;

	if (size != 4 || offset % 4 != 0)
		return;
	pthread_mutex_lock(&f->f_lock);
	gpa = (uint64_t)f->f_dma_high << 32 | be32toh((uint32_t)value);
	f->f_dma_high = offset == 0 ? be32toh((uint32_t)value) : 0;
	pthread_mutex_unlock(&f->f_lock);
	if (offset == 4)
		dma_run(f, gpa);
}

/* --- life ---------------------------------------------------------------- */

static void
item_set(struct fw_cfg *f, unsigned item, uint64_t value)
{
	memcpy(f->f_item[item], &value, sizeof(value));
}

int
fw_cfg_add(struct fw_cfg *f, const char *name, const void *data, size_t size)
{
	const size_t len = strlen(name);
	struct file_entry *e;
	uint8_t *copy;

	assert(len < FW_CFG_NAME_MAX && size < UINT32_MAX);
	if (f->f_nfiles == FW_CFG_FILES_MAX)
		return (ENOSPC);
	if ((copy = malloc(size != 0 ? size : 1)) == NULL)
		return (ENOMEM);
	memcpy(copy, data, size);
	f->f_file[f->f_nfiles] = copy;
	f->f_file_size[f->f_nfiles] = size;
	e = &f->f_directory.file[f->f_nfiles];
	e->size = htobe32((uint32_t)size);
	e->key = htobe16((uint16_t)(KEY_FILES + f->f_nfiles));
	memcpy(e->name, name, len);
	f->f_nfiles++;
	f->f_directory.count = htobe32(f->f_nfiles);
	return (0);
}

struct fw_cfg *
fw_cfg_new(struct bus *ports, const struct guest_memory *gm, uint64_t memory,
    unsigned ncpus)
{
	struct fw_cfg *f;
	int error;

	if ((f = calloc(1, sizeof(*f))) == NULL)
		return (NULL);
	pthread_mutex_init(&f->f_lock, NULL);
	f->f_ports = ports;
	f->f_memory = gm;
	memcpy(f->f_item[ITEM_SIGNATURE], "QEMU", 4);
	item_set(f, ITEM_ID, FEATURE_TRADITIONAL | FEATURE_DMA);
	item_set(f, ITEM_MEMORY, memory);
	item_set(f, ITEM_NOGRAPHIC, 1);
	item_set(f, ITEM_CPUS, ncpus);
	item_set(f, ITEM_CPUS_MAX, ncpus);
	fw_cfg_reset(f);
	f->f_window = (struct window){ .w_base = FW_CFG_SELECTOR, .w_size = 2,
		.w_read = fw_cfg_read, .w_write = fw_cfg_write, .w_arg = f,
		.w_name = "fw_cfg", .w_width = 2 };
	f->f_dma_window = (struct window){ .w_base = FW_CFG_DMA, .w_size = 8,
		.w_read = dma_read, .w_write = dma_write, .w_arg = f,
		.w_name = "fw_cfg DMA", .w_width = 4 };
	if ((error = bus_add(ports, &f->f_window)) != 0 ||
	    (error = bus_add(ports, &f->f_dma_window)) != 0) {
		fw_cfg_free(f);
		errno = error;
		return (NULL);
	}
	return (f);
}

void
fw_cfg_free(struct fw_cfg *f)
{
	unsigned i;

	if (f == NULL)
		return;
	bus_remove(f->f_ports, &f->f_window);
	bus_remove(f->f_ports, &f->f_dma_window);
	for (i = 0; i < f->f_nfiles; i++)
		free(f->f_file[i]);
	pthread_mutex_destroy(&f->f_lock);
	free(f);
}

void
fw_cfg_reset(struct fw_cfg *f)
{
	pthread_mutex_lock(&f->f_lock);
	fw_cfg_select(f, KEY_NONE);
	f->f_dma_high = 0;
	pthread_mutex_unlock(&f->f_lock);
}

/* The items are the configuration's; each machine makes its own. */
void
fw_cfg_state(struct fw_cfg *f, struct state *s)
{
	pthread_mutex_lock(&f->f_lock);
	state_begin(s, "fw_cfg", 0, 1);
	state_u16(s, &f->f_key);
	state_u32(s, &f->f_offset);
	state_u32(s, &f->f_dma_high);
	state_end(s);
	pthread_mutex_unlock(&f->f_lock);
}
