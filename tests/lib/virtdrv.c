/*
 * A fake PC and a virtio driver; see virtdrv.h.
 */
#include <sys/mman.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "virtdrv.h"

/* --- the PC --------------------------------------------------------------- */

static void
irq_sink(void *arg, unsigned line, int level)
{
	struct fake_pc *pc = arg;

	(void)line;
	if (atomic_exchange(&pc->level, level) == 0 && level != 0)
		atomic_fetch_add(&pc->raised, 1);
}

static void
written(void *arg, uint64_t gpa, size_t len)
{
	struct fake_pc *pc = arg;

	assert_true(gpa <= pc->size && len <= pc->size - gpa);
	memcpy(pc->shadow + gpa, pc->ram + gpa, len);
}

static uint8_t *
map(size_t size)
{
	uint8_t *p;

	p = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	return (p);
}

void
fake_pc_new(struct fake_pc *pc, size_t size)
{
	memset(pc, 0, sizeof(*pc));
	pc->size = size;
	pc->ram = map(size);
	pc->shadow = map(size);
	pc->brk = 0x10000;
	pc->gm.gm_range[0].gpa = 0;
	pc->gm.gm_range[0].host = pc->ram;
	pc->gm.gm_range[0].size = size;
	pc->gm.gm_nranges = 1;
	pc->gm.gm_written = written;
	pc->gm.gm_arg = pc;
	pc->irq = (struct irq){ .i_set = irq_sink, .i_arg = pc };
	pc->ports = bus_new();
	pc->memory = bus_new();
	assert_non_null(pc->ports);
	assert_non_null(pc->memory);
	pc->pci = pci_new(pc->ports, pc->memory);
	assert_non_null(pc->pci);
}

void
fake_pc_start(struct fake_pc *pc)
{
	pci_assign(pc->pci);
}

void
fake_pc_free(struct fake_pc *pc)
{
	pci_free(pc->pci);
	bus_free(pc->ports);
	bus_free(pc->memory);
	munmap(pc->ram, pc->size);
	munmap(pc->shadow, pc->size);
}

uint64_t
pc_alloc(struct fake_pc *pc, size_t len, size_t align)
{
	uint64_t at = (pc->brk + align - 1) & ~(uint64_t)(align - 1);

	assert_true(at + len <= pc->size);
	pc->brk = at + len;
	return (at);
}

void
pc_put(struct fake_pc *pc, uint64_t gpa, const void *buf, size_t len)
{
	memcpy(pc->ram + gpa, buf, len);
	memcpy(pc->shadow + gpa, buf, len);
}

void
pc_fill(struct fake_pc *pc, uint64_t gpa, uint8_t byte, size_t len)
{
	memset(pc->ram + gpa, byte, len);
	memset(pc->shadow + gpa, byte, len);
}

bool
fake_pc_check(struct fake_pc *pc)
{
	return (memcmp(pc->ram, pc->shadow, pc->size) == 0);
}

static void
config_select(struct fake_pc *pc, unsigned slot, unsigned reg)
{
	bus_write(pc->ports, 0xcf8, 4, 0x80000000u | slot << 11 | (reg & 0xfc));
}

uint32_t
pc_config_read(struct fake_pc *pc, unsigned slot, unsigned reg, unsigned size)
{
	config_select(pc, slot, reg);
	return ((uint32_t)bus_read(pc->ports, 0xcfc + (reg & 3), size));
}

void
pc_config_write(struct fake_pc *pc, unsigned slot, unsigned reg, unsigned size,
    uint32_t value)
{
	config_select(pc, slot, reg);
	bus_write(pc->ports, 0xcfc + (reg & 3), size, value);
}

/* --- registers ------------------------------------------------------------ */

static uint64_t
reg_read(struct drv *d, unsigned legacy, unsigned modern, unsigned size)
{
	if (d->modern)
		return (bus_read(d->pc->memory, d->common + modern, size));
	return (bus_read(d->pc->ports, d->io + legacy, size));
}

static void
reg_write(struct drv *d, unsigned legacy, unsigned modern, unsigned size,
    uint64_t value)
{
	if (d->modern)
		bus_write(d->pc->memory, d->common + modern, size, value);
	else
		bus_write(d->pc->ports, d->io + legacy, size, value);
}

static void
common_write(struct drv *d, unsigned offset, unsigned size, uint64_t value)
{
	bus_write(d->pc->memory, d->common + offset, size, value);
}

void
drv_attach(struct drv *d, struct fake_pc *pc, unsigned slot, bool modern)
{
	unsigned cap, bar;
	uint64_t at;

	memset(d, 0, sizeof(*d));
	d->pc = pc;
	d->slot = slot;
	d->modern = modern;
	d->io = pc_config_read(pc, slot, 0x10, 4) & ~3u;
	assert_int_not_equal(d->io, 0);
	for (cap = pc_config_read(pc, slot, 0x34, 1); cap != 0;
	    cap = pc_config_read(pc, slot, cap + 1, 1)) {
		if (pc_config_read(pc, slot, cap, 1) != 9)
			continue;
		bar = pc_config_read(pc, slot, cap + 4, 1);
		at = (pc_config_read(pc, slot, 0x10 + 4 * bar, 4) & ~15u) +
		    pc_config_read(pc, slot, cap + 8, 4);
		switch (pc_config_read(pc, slot, cap + 3, 1)) {
		case 1:
			d->common = at;
			break;
		case 2:
			d->notify = at;
			d->notify_mult = pc_config_read(pc, slot, cap + 16, 4);
			break;
		case 3:
			d->isr = at;
			break;
		case 4:
			d->device = at;
			d->device_len = pc_config_read(pc, slot, cap + 12, 4);
			break;
		case 5:
			d->pci_cfg = (uint8_t)cap;
			break;
		}
	}
	assert_true(d->common != 0 && d->notify != 0 && d->isr != 0);
	assert_int_not_equal(d->pci_cfg, 0);
}

uint64_t
drv_offered(struct drv *d)
{
	uint64_t lo;

	if (!d->modern)
		return (bus_read(d->pc->ports, d->io, 4));
	common_write(d, 0, 4, 0);
	lo = bus_read(d->pc->memory, d->common + 4, 4);
	common_write(d, 0, 4, 1);
	return (lo | bus_read(d->pc->memory, d->common + 4, 4) << 32);
}

void
drv_set_status(struct drv *d, uint8_t status)
{
	reg_write(d, 18, 20, 1, status);
}

uint8_t
drv_status(struct drv *d)
{
	return ((uint8_t)reg_read(d, 18, 20, 1));
}

bool
drv_broken(struct drv *d)
{
	return ((drv_status(d) & 0x40) != 0);
}

uint8_t
drv_isr(struct drv *d)
{
	return ((uint8_t)(d->modern ? bus_read(d->pc->memory, d->isr, 1) :
	    bus_read(d->pc->ports, d->io + 19, 1)));
}

void
drv_config(struct drv *d, unsigned offset, void *buf, size_t len)
{
	uint8_t *p = buf;
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = (uint8_t)(d->modern ?
		    bus_read(d->pc->memory, d->device + offset + i, 1) :
		    bus_read(d->pc->ports, d->io + 20 + offset + i, 1));
}

void
drv_negotiate(struct drv *d, uint64_t features)
{
	memset(d->q, 0, sizeof(d->q));
	drv_set_status(d, 0);
	assert_int_equal(drv_status(d), 0);
	drv_set_status(d, 1);
	drv_set_status(d, 3);
	if (!d->modern) {
		bus_write(d->pc->ports, d->io + 4, 4, (uint32_t)features);
		d->features = bus_read(d->pc->ports, d->io + 4, 4);
		return;
	}
	d->features = features | F_VERSION_1;
	common_write(d, 8, 4, 0);
	common_write(d, 12, 4, (uint32_t)d->features);
	common_write(d, 8, 4, 1);
	common_write(d, 12, 4, d->features >> 32);
	drv_set_status(d, 11);
	assert_int_equal(drv_status(d), 11);
}

void
drv_queue_at(struct drv *d, unsigned q, unsigned size, uint64_t desc,
    uint64_t avail, uint64_t used)
{
	struct drvq *dq = &d->q[q];
	unsigned i;

	dq->size = size;
	dq->desc = desc;
	dq->avail = avail;
	dq->used = used;
	dq->avail_idx = dq->used_idx = 0;
	for (i = 0; i < size; i++)
		dq->free[i] = (uint16_t)i;
	dq->nfree = size;
	reg_write(d, 14, 22, 2, q);
	if (!d->modern) {
		bus_write(d->pc->ports, d->io + 8, 4, desc >> 12);
		return;
	}
	common_write(d, 24, 2, size);
	common_write(d, 32, 4, (uint32_t)desc);
	common_write(d, 36, 4, desc >> 32);
	common_write(d, 40, 8, avail);
	common_write(d, 48, 4, (uint32_t)used);
	common_write(d, 52, 4, used >> 32);
	common_write(d, 28, 2, 1);
}

void
drv_queue(struct drv *d, unsigned q, unsigned size)
{
	uint64_t desc, avail, used;
	unsigned max;

	reg_write(d, 14, 22, 2, q);
	max = (unsigned)reg_read(d, 12, 24, 2);
	assert_int_not_equal(max, 0);
	if (size == 0 || !d->modern)
		size = max;
	if (d->modern) {
		desc = pc_alloc(d->pc, 16 * size, 16);
		avail = pc_alloc(d->pc, 6 + 2 * size, 2);
		used = pc_alloc(d->pc, 6 + 8 * size, 4);
		pc_fill(d->pc, used, 0, 6 + 8 * size);
	} else {
		desc = pc_alloc(d->pc, 16 * size + 6 + 2 * size, 4096);
		avail = desc + 16 * size;
		used = pc_alloc(d->pc, 6 + 8 * size, 4096);
		pc_fill(d->pc, used, 0, 6 + 8 * size);
	}
	pc_fill(d->pc, avail, 0, 6 + 2 * size);
	drv_queue_at(d, q, size, desc, avail, used);
}

void
drv_up(struct drv *d, uint64_t features, unsigned nqueues)
{
	unsigned q;

	drv_negotiate(d, features);
	for (q = 0; q < nqueues; q++)
		drv_queue(d, q, 0);
	drv_set_status(d, d->modern ? 15 : 7);
	assert_int_equal(drv_status(d), d->modern ? 15 : 7);
}

/* --- chains --------------------------------------------------------------- */

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

uint16_t
drv_add(struct drv *d, unsigned q, const struct seg *seg, unsigned n,
    bool indirect)
{
	struct drvq *dq = &d->q[q];
	unsigned need = indirect ? 1 : n, i;
	uint64_t table = dq->desc;
	uint16_t id[DRV_SIZE_MAX] = { 0 }, head;
	struct desc desc;

	assert_true(n >= 1 && need <= dq->nfree && n <= DRV_SIZE_MAX);
	for (i = 0; i < need; i++)
		id[i] = dq->free[--dq->nfree];
	head = id[0];
	dq->chain[head] = (uint8_t)need;
	if (indirect) {
		if (dq->table[head] == 0)
			dq->table[head] = pc_alloc(d->pc, 16 * DRV_SIZE_MAX,
			    16);
		table = dq->table[head];
		desc = (struct desc){ table, 16 * n, 4, 0 };
		pc_put(d->pc, dq->desc + 16ULL * head, &desc, 16);
		for (i = 0; i < n; i++)
			id[i] = (uint16_t)i;
	}
	for (i = 0; i < n; i++) {
		desc.addr = seg[i].gpa;
		desc.len = seg[i].len;
		desc.flags = (uint16_t)((seg[i].write ? 2 : 0) |
		    (i + 1 < n ? 1 : 0));
		desc.next = i + 1 < n ? id[i + 1] : 0;
		pc_put(d->pc, table + 16ULL * id[i], &desc, 16);
	}
	pc_put(d->pc, dq->avail + 4 + 2ULL * (dq->avail_idx % dq->size), &head,
	    2);
	dq->avail_idx++;
	__atomic_store_n((uint16_t *)(void *)(d->pc->ram + dq->avail + 2),
	    dq->avail_idx, __ATOMIC_RELEASE);
	memcpy(d->pc->shadow + dq->avail + 2, &dq->avail_idx, 2);
	return (head);
}

void
drv_kick(struct drv *d, unsigned q)
{
	if (d->modern)
		bus_write(d->pc->memory, d->notify + q * d->notify_mult, 2, q);
	else
		bus_write(d->pc->ports, d->io + 16, 2, q);
}

bool
drv_get(struct drv *d, unsigned q, uint16_t *head, uint32_t *len, bool wait)
{
	struct drvq *dq = &d->q[q];
	uint32_t elem[2];
	unsigned i;

	for (i = 0; __atomic_load_n((uint16_t *)(void *)(d->pc->ram + dq->used +
	    2), __ATOMIC_ACQUIRE) == dq->used_idx; i++) {
		if (!wait || i == 100000)
			return (false);
		usleep(100);
	}
	memcpy(elem, d->pc->ram + dq->used + 4 +
	    8ULL * (dq->used_idx % dq->size), 8);
	dq->used_idx++;
	assert_true(elem[0] < dq->size);
	*head = (uint16_t)elem[0];
	if (len != NULL)
		*len = elem[1];
	/* Which descriptors they were does not matter: any will do again. */
	i = *head;
	for (; dq->chain[*head] > 0; dq->chain[*head]--) {
		struct desc desc;

		dq->free[dq->nfree++] = (uint16_t)i;
		memcpy(&desc, d->pc->ram + dq->desc + 16ULL * i, 16);
		i = desc.next;
	}
	return (true);
}
