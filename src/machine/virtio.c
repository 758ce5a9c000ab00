/*
 * A virtio device as its driver finds it, whichever way it came: reset, status,
 * features and queues (virtio 1.2, ch. 2 and 3), and the state of all that.
 *
 * 1. The window that the driver wrote to first after a reset is the one it
 *    uses (v_driver); writes through the other are dropped, a reset excepted.
 * 2. v_features holds only bits that were offered once FEATURES_OK is set, and
 *    always for a legacy driver. A modern driver has taken VERSION_1.
 * 3. The interrupt line is up exactly while v_isr is not zero.
 * 4. While v_resetting, every door is shut: a reset waits for requests in
 *    flight with the lock released, and nothing may begin meanwhile.
 *
 * Threads: any, under the device lock, which virtio_enter() takes; of the
 * public functions virtio.h says who takes it.
 */
#include <string.h>

#include "base/log.h"
#include "machine/virtio_impl.h"

#define STATUS_DRIVER_BITS	(VIRTIO_STATUS_ACKNOWLEDGE | \
	VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_DRIVER_OK | \
	VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_FAILED)

void
virtio_enter(struct virtio *v)
{
	pthread_mutex_lock(&v->v_lock);
	while (v->v_resetting)
		pthread_cond_wait(&v->v_reset_done, &v->v_lock);
}

void
virtio_leave(struct virtio *v)
{
	pthread_mutex_unlock(&v->v_lock);
}

/* --- what devices use ----------------------------------------------------- */

bool
virtio_ready(const struct virtio *v)
{
	uint8_t need = VIRTIO_STATUS_DRIVER_OK;

	/* Old drivers use their queues before they say so (3.1.1). */
	if (v->v_driver == VIRTIO_LEGACY)
		need |= VIRTIO_STATUS_DRIVER;
	return ((v->v_status & need) != 0 && !v->v_resetting &&
	    !(v->v_status & VIRTIO_STATUS_NEEDS_RESET));
}

void
virtio_interrupt(struct virtio *v, uint8_t cause)
{
	bool raise = v->v_isr == 0;

	v->v_isr |= cause;
	if (raise)
		irq_set(&v->v_pci.pf_irq, 1);
}

void
virtio_config_changed(struct virtio *v)
{
	v->v_generation++;
	if (v->v_status & VIRTIO_STATUS_DRIVER_OK)
		virtio_interrupt(v, VIRTIO_ISR_CONFIG);
}

void
virtio_broken(struct virtio *v, const char *why)
{
	if (v->v_status & VIRTIO_STATUS_NEEDS_RESET)
		return;
	LOG_GUEST("%s: %s: stopped until the guest resets it",
	    v->v_ops->vo_name, why);
	v->v_status |= VIRTIO_STATUS_NEEDS_RESET;
	if (v->v_driver == VIRTIO_MODERN &&
	    (v->v_status & VIRTIO_STATUS_DRIVER_OK))
		virtio_interrupt(v, VIRTIO_ISR_CONFIG);
}

/* --- status and queues ------------------------------------------------------ */

void
virtio_drain(struct virtio *v)
{
	if (v->v_ops->vo_reset == NULL)
		return;
	v->v_resetting = true;
	v->v_ops->vo_reset(v->v_arg);
	v->v_resetting = false;
	pthread_cond_broadcast(&v->v_reset_done);
}

static void
reset_locked(struct virtio *v)
{
	unsigned i;

	for (i = 0; i < v->v_ops->vo_nqueues; i++)
		v->v_queue[i].vq_enabled = false;
	virtio_drain(v);
	for (i = 0; i < v->v_ops->vo_nqueues; i++)
		vq_reset(&v->v_queue[i]);
	v->v_status = 0;
	v->v_features = 0;
	v->v_driver = VIRTIO_NO_DRIVER;
	v->v_device_select = v->v_driver_select = 0;
	v->v_queue_select = 0;
	if (v->v_isr != 0)
		irq_set(&v->v_pci.pf_irq, 0);
	v->v_isr = 0;
}

void
virtio_reset(struct virtio *v)
{
	virtio_enter(v);
	reset_locked(v);
	virtio_leave(v);
}

bool
virtio_claim(struct virtio *v, enum virtio_driver driver)
{
	if (v->v_driver == VIRTIO_NO_DRIVER)
		v->v_driver = driver;
	return (v->v_driver == driver);
}

struct virtqueue *
virtio_selected(struct virtio *v)
{
	if (v->v_queue_select >= v->v_ops->vo_nqueues)
		return (NULL);
	return (&v->v_queue[v->v_queue_select]);
}

void
virtio_notify(struct virtio *v, uint32_t index)
{
	if (index < v->v_ops->vo_nqueues && v->v_queue[index].vq_enabled &&
	    virtio_ready(v))
		v->v_ops->vo_notify(v->v_arg, &v->v_queue[index]);
}

void
virtio_status_set(struct virtio *v, enum virtio_driver driver, uint32_t value)
{
	uint8_t set;
	unsigned i;

	if (value == 0) {
		reset_locked(v);
		return;
	}
	if (!virtio_claim(v, driver))
		return;
	/* A driver only adds bits (2.1.1). */
	set = value & STATUS_DRIVER_BITS & ~(uint32_t)v->v_status;
	if (driver == VIRTIO_LEGACY ||
	    (v->v_features & ~v->v_offered) != 0 ||
	    !virtio_has(v, VIRTIO_F_VERSION_1))
		set &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
	if (driver == VIRTIO_MODERN &&
	    !((v->v_status | set) & VIRTIO_STATUS_FEATURES_OK))
		set &= (uint8_t)~VIRTIO_STATUS_DRIVER_OK;
	v->v_status |= set;
	if (!(set & VIRTIO_STATUS_DRIVER_OK) || !virtio_ready(v))
		return;
	if (v->v_ops->vo_start != NULL)
		v->v_ops->vo_start(v->v_arg);
	/* Buffers may be there that nobody needs to tell us of any more. */
	for (i = 0; i < v->v_ops->vo_nqueues; i++)
		virtio_notify(v, i);
}

/* --- state ---------------------------------------------------------------- */

void
virtio_settle(struct virtio *v)
{
	virtio_enter(v);
	if (v->v_ops->vo_settle != NULL)
		v->v_ops->vo_settle(v->v_arg);
	virtio_leave(v);
}

/* What the transport has; everything may be anything when it was loaded. */
struct transport {
	uint64_t	t_features;
	uint32_t	t_device_select, t_driver_select;
	uint16_t	t_queue_select;
	uint8_t		t_status, t_isr, t_driver, t_generation;
};

/* Invariants 1 and 2. */
static const char *
transport_wrong(const struct virtio *v, const struct transport *t)
{
	const bool settled = t->t_driver == VIRTIO_LEGACY ||
	    (t->t_status & VIRTIO_STATUS_FEATURES_OK) != 0;

	if ((t->t_status & ~(STATUS_DRIVER_BITS |
	    VIRTIO_STATUS_NEEDS_RESET)) != 0)
		return ("its status is none");
	if (settled && (t->t_features & ~v->v_offered) != 0)
		return ("its driver took features that are not offered");
	if ((t->t_status & VIRTIO_STATUS_FEATURES_OK) != 0 &&
	    (t->t_driver != VIRTIO_MODERN ||
	    (t->t_features & VIRTIO_F_VERSION_1) == 0))
		return ("its driver is neither old nor new");
	return (NULL);
}

static void
transport_state(struct virtio *v, struct state *s)
{
	struct transport t = { .t_features = v->v_features,
		.t_device_select = v->v_device_select,
		.t_driver_select = v->v_driver_select,
		.t_queue_select = v->v_queue_select, .t_status = v->v_status,
		.t_isr = v->v_isr, .t_driver = (uint8_t)v->v_driver,
		.t_generation = v->v_generation };
	const char *why;

	state_u64(s, &t.t_features);
	state_u32(s, &t.t_device_select);
	state_u32(s, &t.t_driver_select);
	state_u16(s, &t.t_queue_select);
	state_u8(s, &t.t_status);
	state_u8_bits(s, &t.t_isr, VIRTIO_ISR_QUEUE | VIRTIO_ISR_CONFIG);
	state_u8_max(s, &t.t_driver, VIRTIO_MODERN);
	state_u8(s, &t.t_generation);
	if ((why = transport_wrong(v, &t)) != NULL)
		state_bad(s, why);
	if (!state_loaded(s))
		return;
	v->v_features = t.t_features;
	v->v_device_select = t.t_device_select;
	v->v_driver_select = t.t_driver_select;
	v->v_queue_select = t.t_queue_select;
	v->v_status = t.t_status;
	v->v_isr = t.t_isr;
	v->v_driver = (enum virtio_driver)t.t_driver;
	v->v_generation = t.t_generation;
	irq_set(&v->v_pci.pf_irq, v->v_isr != 0);
}

void
virtio_state(struct virtio *v, struct state *s)
{
	unsigned i;

	virtio_enter(v);
	state_begin(s, v->v_ops->vo_name, v->v_pci.pf_slot, 1);
	state_same(s, "features", v->v_offered);
	transport_state(v, s);
	for (i = 0; i < v->v_ops->vo_nqueues; i++)
		vq_state(&v->v_queue[i], s);
	if (v->v_ops->vo_state != NULL)
		v->v_ops->vo_state(v->v_arg, s);
	state_end(s);
	virtio_leave(v);
}
