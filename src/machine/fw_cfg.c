/*
 * The firmware configuration device (fw_cfg.h), by its traditional interface:
 * a 16-bit selector chooses an item, whose bytes are then read one by one.
 * Integers are little-endian but for the file directory's. Bytes beyond an
 * item's end, and items that are not there, read as zero. There is no DMA
 * interface, and the directory of files is empty.
 *
 * Threads: VCPU threads; one lock.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "machine/fw_cfg.h"

#define FEATURE_TRADITIONAL	1

enum { ITEM_SIGNATURE, ITEM_ID, ITEM_MEMORY, ITEM_NOGRAPHIC, ITEM_CPUS,
    ITEM_CPUS_MAX, ITEM_FILES, ITEMS };

static const uint16_t keys[ITEMS] = {
	[ITEM_SIGNATURE]	= 0x00,		/* "QEMU", which guests expect */
	[ITEM_ID]		= 0x01,		/* u32: FEATURE_* */
	[ITEM_MEMORY]		= 0x03,		/* u64, bytes */
	[ITEM_NOGRAPHIC]	= 0x04,		/* u16: 1 */
	[ITEM_CPUS]		= 0x05,		/* u16 */
	[ITEM_CPUS_MAX]		= 0x0f,		/* u16 */
	[ITEM_FILES]		= 0x19,		/* u32, big-endian: files */
};

struct fw_cfg {
	pthread_mutex_t	 f_lock;
	struct bus	*f_ports;		/* [I] */
	struct window	 f_window;		/* [I] */
	uint8_t		 f_item[ITEMS][8];	/* [I] */
	unsigned	 f_selected;		/* [m] ITEMS: none */
	unsigned	 f_offset;		/* [m] of the next byte */
};

static void
fw_cfg_select(struct fw_cfg *f, uint16_t key)
{
	unsigned i;

	for (i = 0; i < ITEMS && keys[i] != key; i++)
		;
	f->f_selected = i;
	f->f_offset = 0;
}

static uint64_t
fw_cfg_read(void *arg, uint64_t offset, unsigned size)
{
	struct fw_cfg *f = arg;
	uint8_t v = 0;

	(void)size;
	if (offset != FW_CFG_DATA - FW_CFG_SELECTOR)
		return (UINT64_MAX);
	pthread_mutex_lock(&f->f_lock);
	if (f->f_selected < ITEMS && f->f_offset < sizeof(f->f_item[0]))
		v = f->f_item[f->f_selected][f->f_offset++];
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

static void
item_set(struct fw_cfg *f, unsigned item, uint64_t value)
{
	memcpy(f->f_item[item], &value, sizeof(value));
}

struct fw_cfg *
fw_cfg_new(struct bus *ports, uint64_t memory, unsigned ncpus)
{
	struct fw_cfg *f;
	int error;

	if ((f = calloc(1, sizeof(*f))) == NULL)
		return (NULL);
	pthread_mutex_init(&f->f_lock, NULL);
	f->f_ports = ports;
	memcpy(f->f_item[ITEM_SIGNATURE], "QEMU", 4);
	item_set(f, ITEM_ID, FEATURE_TRADITIONAL);
	item_set(f, ITEM_MEMORY, memory);
	item_set(f, ITEM_NOGRAPHIC, 1);
	item_set(f, ITEM_CPUS, ncpus);
	item_set(f, ITEM_CPUS_MAX, ncpus);
	fw_cfg_reset(f);
	f->f_window = (struct window){ .w_base = FW_CFG_SELECTOR, .w_size = 2,
		.w_read = fw_cfg_read, .w_write = fw_cfg_write, .w_arg = f,
		.w_name = "fw_cfg", .w_width = 2 };
	if ((error = bus_add(ports, &f->f_window)) != 0) {
		pthread_mutex_destroy(&f->f_lock);
		free(f);
		errno = error;
		return (NULL);
	}
	return (f);
}

void
fw_cfg_free(struct fw_cfg *f)
{
	if (f == NULL)
		return;
	bus_remove(f->f_ports, &f->f_window);
	pthread_mutex_destroy(&f->f_lock);
	free(f);
}

void
fw_cfg_reset(struct fw_cfg *f)
{
	pthread_mutex_lock(&f->f_lock);
	f->f_selected = ITEMS;
	f->f_offset = 0;
	pthread_mutex_unlock(&f->f_lock);
}
