/*
 * The PCI transport of virtio devices (virtio 1.2, 4.1): a transitional
 * function. A driver of our century finds the capabilities and works through
 * the memory BAR; one of the 0.9.5 days uses the ports of BAR 0.
 *
 *	BAR 0	ports	legacy registers, then device configuration (4.1.4.10)
 *	BAR 1	memory	0000 common configuration (4.1.4.3)
 *			1000 ISR status (4.1.4.5)
 *			2000 device configuration (4.1.4.6)
 *			3000 notification, 4 bytes a queue (4.1.4.4)
 *
 * Threads: the windows and the configuration hooks run on a VCPU's thread and
 * take the device lock, the latter under the PCI bus's own lock.
 */
#include <errno.h>
#include <string.h>

#include "machine/virtio_impl.h"

#define VIRTIO_PCI_VENDOR	0x1af4
#define VIRTIO_PCI_CAP_VENDOR	0x09	/* PCI capability id */

#define BAR_LEGACY		0
#define BAR_MODERN		1
#define REGION_SIZE		0x1000
#define NOTIFY_MULTIPLIER	4

#define LEGACY_CONFIG		20	/* no MSI-X: configuration follows */
#define LEGACY_PAGE_SHIFT	12
#define LEGACY_PAGE_SIZE	(1ULL << LEGACY_PAGE_SHIFT)

/* --- registers that both windows have ------------------------------------- */

static uint32_t
get_status(struct virtio *v)
{
	return (v->v_status);
}

static uint32_t
get_isr(struct virtio *v)
{
	uint8_t isr = v->v_isr;

	v->v_isr = 0;
	if (isr != 0)
		irq_set(&v->v_pci.pf_irq, 0);
	return (isr);
}

static uint32_t
get_queue_select(struct virtio *v)
{
	return (v->v_queue_select);
}

static void
set_queue_select(struct virtio *v, uint32_t value)
{
	v->v_queue_select = (uint16_t)value;
}

static uint32_t
get_queue_size(struct virtio *v)
{
	struct virtqueue *vq = virtio_selected(v);

	return (vq == NULL ? 0 : vq->vq_size);
}

/* --- registers in general ------------------------------------------------- */

struct reg {
	uint8_t		r_offset, r_size;
	uint32_t	(*r_get)(struct virtio *);
	void		(*r_set)(struct virtio *, uint32_t);
};

static const struct reg *
reg_find(const struct reg *regs, size_t nregs, uint64_t offset)
{
	size_t i;

	for (i = 0; i < nregs; i++)
		if (offset >= regs[i].r_offset &&
		    offset - regs[i].r_offset < regs[i].r_size)
			return (&regs[i]);
	return (NULL);
}

/* A read of any size at any offset: the bytes of the registers it covers. */
static uint64_t
regs_read(struct virtio *v, const struct reg *regs, size_t nregs,
    uint64_t offset, unsigned size)
{
	const struct reg *r;
	uint64_t value = 0;
	uint32_t part;
	unsigned i, skip, n;

	for (i = 0; i < size; i += n) {
		n = 1;
		if ((r = reg_find(regs, nregs, offset + i)) == NULL)
			continue;
		skip = (unsigned)(offset + i - r->r_offset);
		part = r->r_get(v) >> 8 * skip;
		n = r->r_size - skip;
		if (n > size - i)
			n = size - i;
		if (n < 4)
			part &= (1U << 8 * n) - 1;
		value |= (uint64_t)part << 8 * i;
	}
	return (value);
}

/* A write reaches the registers that it covers as a whole. */
static void
regs_write(struct virtio *v, const struct reg *regs, size_t nregs,
    uint64_t offset, unsigned size, uint64_t value)
{
	const struct reg *r;
	unsigned i, n;

	for (i = 0; i < size; i += n) {
		n = 1;
		r = reg_find(regs, nregs, offset + i);
		if (r == NULL || offset + i != r->r_offset ||
		    r->r_size > size - i)
			continue;
		n = r->r_size;
		if (r->r_set != NULL)
			r->r_set(v, (uint32_t)(value >> 8 * i &
			    (n == 4 ? UINT32_MAX : (1U << 8 * n) - 1)));
	}
}

/* Device configuration is bytes. */
static uint64_t
config_read(struct virtio *v, uint64_t offset, unsigned size)
{
	uint64_t value = 0;
	unsigned i;

	if (v->v_ops->vo_config_read != NULL)
		v->v_ops->vo_config_read(v->v_arg, (uint32_t)offset, size);
	for (i = 0; i < size; i++)
		if (offset + i < v->v_ops->vo_config_size)
			value |= (uint64_t)v->v_config[offset + i] << 8 * i;
	return (value);
}

static void
config_write(struct virtio *v, uint64_t offset, unsigned size, uint64_t value)
{
	unsigned i;

	if (v->v_ops->vo_config_write == NULL)
		return;
	for (i = 0; i < size; i++)
		if (offset + i < v->v_ops->vo_config_size)
			v->v_ops->vo_config_write(v->v_arg,
			    (uint32_t)offset + i, (uint8_t)(value >> 8 * i));
}

/* --- the legacy window ---------------------------------------------------- */

static uint32_t
legacy_get_offered(struct virtio *v)
{
	return ((uint32_t)v->v_offered);
}

static uint32_t
legacy_get_features(struct virtio *v)
{
	return ((uint32_t)v->v_features);
}

static void
legacy_set_features(struct virtio *v, uint32_t value)
{
	if (virtio_claim(v, VIRTIO_LEGACY))
		v->v_features = value & v->v_offered;
}

static uint32_t
legacy_get_pfn(struct virtio *v)
{
	struct virtqueue *vq = virtio_selected(v);

	return (vq == NULL || !vq->vq_enabled ? 0 :
	    (uint32_t)(vq->vq_desc >> LEGACY_PAGE_SHIFT));
}

/* Descriptors, the avail ring, then the used ring on its own page (2.7.2). */
static void
legacy_set_pfn(struct virtio *v, uint32_t value)
{
	struct virtqueue *vq = virtio_selected(v);

	if (vq == NULL || !virtio_claim(v, VIRTIO_LEGACY))
		return;
	if (vq->vq_enabled) {
		/* Taken away or moved: what is under way ends first. */
		vq->vq_enabled = false;
		virtio_drain(v);
		vq_reset(vq);
	}
	if (value == 0)
		return;
	vq->vq_desc = (uint64_t)value << LEGACY_PAGE_SHIFT;
	vq->vq_avail = vq->vq_desc + 16ULL * vq->vq_size;
	vq->vq_used = (vq->vq_avail + 6 + 2ULL * vq->vq_size +
	    LEGACY_PAGE_SIZE - 1) & ~(LEGACY_PAGE_SIZE - 1);
	vq_enable(vq);
}

static void
legacy_set_status(struct virtio *v, uint32_t value)
{
	virtio_status_set(v, VIRTIO_LEGACY, value);
}

static void
legacy_set_notify(struct virtio *v, uint32_t value)
{
	if (v->v_driver == VIRTIO_LEGACY)
		virtio_notify(v, value);
}

static uint32_t
get_zero(struct virtio *v)
{
	(void)v;
	return (0);
}

static const struct reg legacy_regs[] = {
	/* offset size	read			write */
	{ 0,	4,	legacy_get_offered,	NULL },
	{ 4,	4,	legacy_get_features,	legacy_set_features },
	{ 8,	4,	legacy_get_pfn,		legacy_set_pfn },
	{ 12,	2,	get_queue_size,		NULL },
	{ 14,	2,	get_queue_select,	set_queue_select },
	{ 16,	2,	get_zero,		legacy_set_notify },
	{ 18,	1,	get_status,		legacy_set_status },
	{ 19,	1,	get_isr,		NULL },
};
#define LEGACY_NREGS	(sizeof(legacy_regs) / sizeof(legacy_regs[0]))

static uint64_t
legacy_read(void *arg, uint64_t offset, unsigned size)
{
	struct virtio *v = arg;
	uint64_t value;

	virtio_enter(v);
	if (offset >= LEGACY_CONFIG)
		value = config_read(v, offset - LEGACY_CONFIG, size);
	else
		value = regs_read(v, legacy_regs, LEGACY_NREGS, offset, size);
	virtio_leave(v);
	return (value);
}

static void
legacy_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct virtio *v = arg;

	virtio_enter(v);
	if (offset < LEGACY_CONFIG)
		regs_write(v, legacy_regs, LEGACY_NREGS, offset, size, value);
	else if (virtio_claim(v, VIRTIO_LEGACY))
		config_write(v, offset - LEGACY_CONFIG, size, value);
	virtio_leave(v);
}

/* --- the modern windows --------------------------------------------------- */

static uint32_t
get_device_select(struct virtio *v)
{
	return (v->v_device_select);
}

static void
set_device_select(struct virtio *v, uint32_t value)
{
	v->v_device_select = value;
}

static uint32_t
get_offered(struct virtio *v)
{
	return (v->v_device_select > 1 ? 0 :
	    (uint32_t)(v->v_offered >> 32 * v->v_device_select));
}

static uint32_t
get_driver_select(struct virtio *v)
{
	return (v->v_driver_select);
}

static void
set_driver_select(struct virtio *v, uint32_t value)
{
	v->v_driver_select = value;
}

static uint32_t
get_features(struct virtio *v)
{
	return (v->v_driver_select > 1 ? 0 :
	    (uint32_t)(v->v_features >> 32 * v->v_driver_select));
}

static void
set_features(struct virtio *v, uint32_t value)
{
	unsigned shift = 32 * (v->v_driver_select & 1);

	if (v->v_driver_select > 1 || !virtio_claim(v, VIRTIO_MODERN) ||
	    (v->v_status & VIRTIO_STATUS_FEATURES_OK))
		return;
	v->v_features = (v->v_features & ~(0xffffffffULL << shift)) |
	    (uint64_t)value << shift;
}

static uint32_t
get_no_vector(struct virtio *v)
{
	(void)v;
	return (0xffff);
}

static uint32_t
get_nqueues(struct virtio *v)
{
	return (v->v_ops->vo_nqueues);
}

static void
set_status(struct virtio *v, uint32_t value)
{
	virtio_status_set(v, VIRTIO_MODERN, value);
}

static uint32_t
get_generation(struct virtio *v)
{
	return (v->v_generation);
}

/* The selected queue if the driver may set it up now. */
static struct virtqueue *
settable(struct virtio *v)
{
	struct virtqueue *vq = virtio_selected(v);

	if (vq == NULL || vq->vq_enabled || !virtio_claim(v, VIRTIO_MODERN))
		return (NULL);
	return (vq);
}

static void
set_queue_size(struct virtio *v, uint32_t value)
{
	struct virtqueue *vq = settable(v);

	/* What is out of range is refused by vq_enable(). */
	if (vq != NULL)
		vq->vq_size = (uint16_t)value;
}

static uint32_t
get_queue_enable(struct virtio *v)
{
	struct virtqueue *vq = virtio_selected(v);

	return (vq != NULL && vq->vq_enabled);
}

static void
set_queue_enable(struct virtio *v, uint32_t value)
{
	struct virtqueue *vq = settable(v);

	/* Writing 0 is forbidden (4.1.4.3.2) and does nothing. */
	if (vq != NULL && value == 1 &&
	    (v->v_status & VIRTIO_STATUS_FEATURES_OK))
		vq_enable(vq);
}

static uint32_t
get_queue_notify_off(struct virtio *v)
{
	return (v->v_queue_select);
}

/* The three addresses, each as two halves. */
#define QUEUE_ADDRESS(name)						\
static uint32_t								\
get_##name##_lo(struct virtio *v)					\
{									\
	struct virtqueue *vq = virtio_selected(v);				\
									\
	return (vq == NULL ? 0 : (uint32_t)vq->vq_##name);		\
}									\
									\
static uint32_t								\
get_##name##_hi(struct virtio *v)					\
{									\
	struct virtqueue *vq = virtio_selected(v);				\
									\
	return (vq == NULL ? 0 : (uint32_t)(vq->vq_##name >> 32));	\
}									\
									\
static void								\
set_##name##_lo(struct virtio *v, uint32_t value)			\
{									\
	struct virtqueue *vq = settable(v);				\
									\
	if (vq != NULL)							\
		vq->vq_##name = (vq->vq_##name & ~0xffffffffULL) |	\
		    value;						\
}									\
									\
static void								\
set_##name##_hi(struct virtio *v, uint32_t value)			\
{									\
	struct virtqueue *vq = settable(v);				\
									\
	if (vq != NULL)							\
		vq->vq_##name = (vq->vq_##name & 0xffffffffULL) |	\
		    (uint64_t)value << 32;				\
}

QUEUE_ADDRESS(desc)
QUEUE_ADDRESS(avail)
QUEUE_ADDRESS(used)

static const struct reg common_regs[] = {
	/* offset size	read			write */
	{ 0,	4,	get_device_select,	set_device_select },
	{ 4,	4,	get_offered,		NULL },
	{ 8,	4,	get_driver_select,	set_driver_select },
	{ 12,	4,	get_features,		set_features },
	{ 16,	2,	get_no_vector,		NULL },
	{ 18,	2,	get_nqueues,		NULL },
	{ 20,	1,	get_status,		set_status },
	{ 21,	1,	get_generation,		NULL },
	{ 22,	2,	get_queue_select,	set_queue_select },
	{ 24,	2,	get_queue_size,		set_queue_size },
	{ 26,	2,	get_no_vector,		NULL },
	{ 28,	2,	get_queue_enable,	set_queue_enable },
	{ 30,	2,	get_queue_notify_off,	NULL },
	{ 32,	4,	get_desc_lo,		set_desc_lo },
	{ 36,	4,	get_desc_hi,		set_desc_hi },
	{ 40,	4,	get_avail_lo,		set_avail_lo },
	{ 44,	4,	get_avail_hi,		set_avail_hi },
	{ 48,	4,	get_used_lo,		set_used_lo },
	{ 52,	4,	get_used_hi,		set_used_hi },
};
#define COMMON_NREGS	(sizeof(common_regs) / sizeof(common_regs[0]))
#define COMMON_SIZE	56

static const struct reg isr_regs[] = {
	{ 0,	1,	get_isr,		NULL },
};

static uint64_t
common_read(struct virtio *v, uint64_t offset, unsigned size)
{
	return (regs_read(v, common_regs, COMMON_NREGS, offset, size));
}

static void
common_write(struct virtio *v, uint64_t offset, unsigned size, uint64_t value)
{
	regs_write(v, common_regs, COMMON_NREGS, offset, size, value);
}

static uint64_t
isr_read(struct virtio *v, uint64_t offset, unsigned size)
{
	return (regs_read(v, isr_regs, 1, offset, size));
}

static void
modern_config_write(struct virtio *v, uint64_t offset, unsigned size,
    uint64_t value)
{
	if (virtio_claim(v, VIRTIO_MODERN))
		config_write(v, offset, size, value);
}

static void
notify_write(struct virtio *v, uint64_t offset, unsigned size, uint64_t value)
{
	/* The place names the queue; the value repeats it (4.1.5.2). */
	(void)size;
	(void)value;
	if (v->v_driver == VIRTIO_MODERN)
		virtio_notify(v, (uint32_t)(offset / NOTIFY_MULTIPLIER));
}

/* The regions of the memory BAR, and the capabilities that point to them. */
static const struct region {
	uint8_t	 rg_type;	/* cfg_type (4.1.4) */
	uint16_t rg_size;	/* 0: the device's configuration size */
	uint64_t (*rg_read)(struct virtio *, uint64_t, unsigned);
	void	 (*rg_write)(struct virtio *, uint64_t, unsigned, uint64_t);
} regions[] = {
	{ 1,	COMMON_SIZE,				common_read, common_write },
	{ 3,	1,					isr_read,    NULL },
	{ 4,	0,			config_read, modern_config_write },
	{ 2,	VIRTIO_QUEUES_MAX * NOTIFY_MULTIPLIER,	NULL,	     notify_write },
};
#define NREGIONS	(sizeof(regions) / sizeof(regions[0]))
#define CAP_NOTIFY	2
#define CAP_PCI_CFG	5

static uint64_t
modern_read(void *arg, uint64_t offset, unsigned size)
{
	const struct region *rg = &regions[offset / REGION_SIZE % NREGIONS];
	struct virtio *v = arg;
	uint64_t value = 0;

	virtio_enter(v);
	if (rg->rg_read != NULL)
		value = rg->rg_read(v, offset % REGION_SIZE, size);
	virtio_leave(v);
	return (value);
}

static void
modern_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	const struct region *rg = &regions[offset / REGION_SIZE % NREGIONS];
	struct virtio *v = arg;

	virtio_enter(v);
	if (rg->rg_write != NULL)
		rg->rg_write(v, offset % REGION_SIZE, size, value);
	virtio_leave(v);
}

/* --- configuration space -------------------------------------------------- */

/* Offsets in a virtio capability (4.1.4). */
#define CAP_LEN		2
#define CAP_TYPE	3
#define CAP_BAR		4
#define CAP_OFFSET	8
#define CAP_LENGTH	12
#define CAP_EXTRA	16U	/* notify multiplier; pci_cfg_data */

/* Appends a capability with an extra word if there is one to hold. */
static uint8_t
cap_add(struct virtio *v, uint8_t type, uint32_t offset, uint32_t length,
    bool extra, uint32_t word)
{
	uint8_t len = extra ? 20 : 16, at, *cap;

	if ((at = pci_capability(&v->v_pci, VIRTIO_PCI_CAP_VENDOR, len)) == 0)
		return (0);
	cap = v->v_pci.pf_config + at;
	cap[CAP_LEN] = len;
	cap[CAP_TYPE] = type;
	cap[CAP_BAR] = BAR_MODERN;
	memcpy(cap + CAP_OFFSET, &offset, 4);
	memcpy(cap + CAP_LENGTH, &length, 4);
	if (extra)
		memcpy(cap + CAP_EXTRA, &word, 4);
	return (at);
}

static int
caps_add(struct virtio *v)
{
	uint8_t *writable;
	uint32_t length;
	unsigned i;
	uint8_t at;

	for (i = 0; i < NREGIONS; i++) {
		length = regions[i].rg_size != 0 ? regions[i].rg_size :
		    v->v_ops->vo_config_size;
		if (length != 0 && cap_add(v, regions[i].rg_type,
		    i * REGION_SIZE, length, regions[i].rg_type == CAP_NOTIFY,
		    NOTIFY_MULTIPLIER) == 0)
			return (-1);
	}
	if ((at = cap_add(v, CAP_PCI_CFG, 0, 0, true, 0)) == 0)
		return (-1);
	v->v_cap_pci_cfg = at;
	writable = v->v_pci.pf_writable + at;
	writable[CAP_BAR] = 0xff;
	memset(writable + CAP_OFFSET, 0xff, 4);
	memset(writable + CAP_LENGTH, 0xff, 4);
	memset(writable + CAP_EXTRA, 0xff, 4);
	return (0);
}

/*
 * The window into the BARs through configuration space (4.1.4.9). True if the
 * access at offset is one to pci_cfg_data and the capability names a valid
 * place of a BAR.
 */
static bool
pci_cfg_target(struct virtio *v, unsigned offset, struct window **w,
    uint32_t *at, uint32_t *size)
{
	const uint8_t *cap = v->v_pci.pf_config + v->v_cap_pci_cfg;
	uint8_t bar = cap[CAP_BAR];

	if (v->v_cap_pci_cfg == 0 || offset != v->v_cap_pci_cfg + CAP_EXTRA)
		return (false);
	memcpy(at, cap + CAP_OFFSET, 4);
	memcpy(size, cap + CAP_LENGTH, 4);
	if (bar > BAR_MODERN || (*size != 1 && *size != 2 && *size != 4) ||
	    *at % *size != 0 || *at >= v->v_pci.pf_bar[bar].size)
		return (false);
	*w = &v->v_pci.pf_bar[bar].window;
	return (true);
}

static void
pci_cfg_read(void *arg, unsigned offset, unsigned size)
{
	struct virtio *v = arg;
	struct window *w;
	uint32_t at, length, value;

	(void)size;
	if (!pci_cfg_target(v, offset, &w, &at, &length))
		return;
	value = (uint32_t)w->w_read(w->w_arg, at, length);
	memcpy(v->v_pci.pf_config + offset, &value, length);
}

static void
pci_cfg_write(void *arg, unsigned offset, unsigned size, uint32_t value)
{
	struct virtio *v = arg;
	struct window *w;
	uint32_t at, length;

	if (!pci_cfg_target(v, offset, &w, &at, &length) || length > size)
		return;
	if (length < 4)
		value &= (1U << 8 * length) - 1;
	w->w_write(w->w_arg, at, length, value);
}

/* --- life ----------------------------------------------------------------- */

static void
bar_init(struct virtio *v, unsigned bar, bool io, uint32_t size,
    uint64_t (*read)(void *, uint64_t, unsigned),
    void (*write)(void *, uint64_t, unsigned, uint64_t))
{
	v->v_pci.pf_bar[bar].io = io;
	v->v_pci.pf_bar[bar].size = size;
	v->v_pci.pf_bar[bar].window.w_size = size;
	v->v_pci.pf_bar[bar].window.w_read = read;
	v->v_pci.pf_bar[bar].window.w_write = write;
	v->v_pci.pf_bar[bar].window.w_arg = v;
	v->v_pci.pf_bar[bar].window.w_name = v->v_ops->vo_name;
}

int
virtio_init(struct virtio *v, const struct virtio_ops *ops, void *arg,
    const struct guest_memory *memory, struct pci *pci, const struct irq *irq)
{
	struct pci_function *pf = &v->v_pci;
	unsigned i;
	int error;

	memset(v, 0, sizeof(*v));
	v->v_ops = ops;
	v->v_arg = arg;
	v->v_memory = memory;
	v->v_offered = ops->vo_features | VIRTIO_F_ANY_LAYOUT |
	    VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1;
	for (i = 0; i < ops->vo_nqueues; i++) {
		v->v_queue[i].vq_dev = v;
		v->v_queue[i].vq_index = (uint16_t)i;
		v->v_queue[i].vq_size_max = ops->vo_queue_size[i];
		vq_reset(&v->v_queue[i]);
	}
	pf->pf_name = ops->vo_name;
	pf->pf_vendor = ops->vo_vendor != 0 ? ops->vo_vendor :
	    VIRTIO_PCI_VENDOR;
	pf->pf_subvendor = pf->pf_vendor;
	pf->pf_device = ops->vo_pci_id;
	pf->pf_subdevice = ops->vo_id;	/* as legacy drivers expect */
	pf->pf_class = ops->vo_class;
	pf->pf_subclass = ops->vo_subclass;
	pf->pf_revision = 0;		/* transitional (4.1.2.1) */
	pf->pf_intx = true;
	pf->pf_config_read = pci_cfg_read;
	pf->pf_config_write = pci_cfg_write;
	pf->pf_arg = v;
	bar_init(v, BAR_LEGACY, true, 128, legacy_read, legacy_write);
	bar_init(v, BAR_MODERN, false, NREGIONS * REGION_SIZE, modern_read,
	    modern_write);
	pthread_mutex_init(&v->v_lock, NULL);
	pthread_cond_init(&v->v_reset_done, NULL);
	if ((error = pci_add(pci, pf, irq)) == 0 && caps_add(v) == -1)
		error = ENOSPC;
	if (error != 0) {
		virtio_fini(v);
		errno = error;
		return (-1);
	}
	return (0);
}

void
virtio_fini(struct virtio *v)
{
	pci_remove(&v->v_pci);
	pthread_cond_destroy(&v->v_reset_done);
	pthread_mutex_destroy(&v->v_lock);
}
