/*
 * The virtio transport and the ring, with the entropy device behind them:
 * identity, capabilities, both windows, negotiation, notification and
 * interrupt suppression, reset.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "machine/virtio_rng.h"
#include "../lib/virtdrv.h"

struct fixture {
	struct fake_pc	 pc;
	struct virtio_rng *rng;
	struct drv	 d;
};

static void
begin(struct fixture *f, bool modern)
{
	fake_pc_new(&f->pc, 1 << 20);
	assert_int_equal(virtio_rng_new(&f->rng, &f->pc.gm, f->pc.pci,
	    &f->pc.irq), 0);
	fake_pc_start(&f->pc);
	drv_attach(&f->d, &f->pc, 1, modern);
}

static void
end(struct fixture *f)
{
	assert_true(fake_pc_check(&f->pc));
	virtio_rng_reset(f->rng);
	assert_int_equal(atomic_load(&f->pc.level), 0);
	virtio_rng_free(f->rng);
	fake_pc_free(&f->pc);
}

static void
test_identity(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, true);
	assert_int_equal(pc_config_read(&f.pc, 1, 0, 2), 0x1af4);
	assert_int_equal(pc_config_read(&f.pc, 1, 2, 2), 0x1005);
	assert_int_equal(pc_config_read(&f.pc, 1, 8, 1), 0);
	assert_int_equal(pc_config_read(&f.pc, 1, 0x2c, 2), 0x1af4);
	assert_int_equal(pc_config_read(&f.pc, 1, 0x2e, 2), 4);
	assert_int_equal(pc_config_read(&f.pc, 1, 0x3d, 1), 1);
	assert_true(pc_config_read(&f.pc, 1, 0x10, 4) & 1);
	/* no configuration, so no capability for it */
	assert_int_equal(f.d.device, 0);
	assert_true(drv_offered(&f.d) & F_VERSION_1);
	assert_int_equal(bus_read(f.pc.memory, f.d.common + 18, 2), 1);
	end(&f);
}

/* A request of n bytes cut into buffers of at most cut. */
static void
request(struct drv *d, unsigned n, unsigned cut, bool indirect)
{
	uint64_t at = pc_alloc(d->pc, n, 1);
	struct seg seg[64];
	unsigned i, len, done = 0, nonzero = 0;
	uint16_t head, got;
	uint32_t used;

	pc_fill(d->pc, at, 0, n);
	for (i = 0; done < n; i++, done += len) {
		len = n - done < cut ? n - done : cut;
		seg[i] = (struct seg){ at + done, len, true };
	}
	head = drv_add(d, 0, seg, i, indirect);
	drv_kick(d, 0);
	assert_true(drv_get(d, 0, &got, &used, true));
	assert_int_equal(got, head);
	assert_int_equal(used, n);
	for (i = 0; i < n; i++)
		nonzero += d->pc->ram[at + i] != 0;
	assert_true(n < 8 || nonzero > n / 2);
}

static void
work(bool modern, uint64_t features)
{
	struct fixture f;
	unsigned i, raised;

	begin(&f, modern);
	drv_up(&f.d, features, 1);
	assert_int_equal(f.d.features & features, features);
	for (i = 1; i < 300; i++) {
		raised = atomic_load(&f.pc.raised);
		/* used_event: tell me of the very next */
		if (features & F_EVENT_IDX)
			pc_put(&f.pc, f.d.q[0].avail + 4 +
			    2 * f.d.q[0].size, &f.d.q[0].used_idx, 2);
		request(&f.d, i, i / 7 + 1, (features & F_INDIRECT) && i % 2);
		assert_int_equal(atomic_load(&f.pc.raised), raised + 1);
		assert_int_equal(atomic_load(&f.pc.level), 1);
		assert_int_equal(drv_isr(&f.d), 1);
		assert_int_equal(atomic_load(&f.pc.level), 0);
		assert_int_equal(drv_isr(&f.d), 0);
	}
	assert_false(drv_broken(&f.d));
	end(&f);
}

static void
test_legacy(void **state)
{
	(void)state;
	work(false, 0);
	work(false, F_INDIRECT | F_EVENT_IDX);
}

static void
test_modern(void **state)
{
	(void)state;
	work(true, 0);
	work(true, F_INDIRECT);
	work(true, F_EVENT_IDX);
	work(true, F_INDIRECT | F_EVENT_IDX);
}

static void
test_suppression(void **state)
{
	struct fixture f;
	uint16_t flags = 1, event;
	int pass;

	(void)state;
	begin(&f, true);
	drv_up(&f.d, 0, 1);
	pc_put(&f.pc, f.d.q[0].avail, &flags, 2);	/* NO_INTERRUPT */
	request(&f.d, 10, 10, false);
	assert_int_equal(atomic_load(&f.pc.raised), 0);
	flags = 0;
	pc_put(&f.pc, f.d.q[0].avail, &flags, 2);
	request(&f.d, 10, 10, false);
	assert_int_equal(atomic_load(&f.pc.raised), 1);
	drv_isr(&f.d);

	/* used_event across the wrap of 65536, for each distance */
	drv_up(&f.d, F_EVENT_IDX, 1);
	request(&f.d, 1, 1, false);
	drv_isr(&f.d);
	for (pass = 0; pass < 4; pass++) {
		event = (uint16_t)(f.d.q[0].used_idx + 2);
		pc_put(&f.pc, f.d.q[0].avail + 4 + 2 * f.d.q[0].size, &event,
		    2);
		request(&f.d, 1, 1, false);
		request(&f.d, 1, 1, false);
		assert_int_equal(drv_isr(&f.d), 0);
		request(&f.d, 1, 1, false);
		assert_int_equal(drv_isr(&f.d), 1);
		request(&f.d, 1, 1, false);
		assert_int_equal(drv_isr(&f.d), 0);
		/* avail_event asks for the next one */
		memcpy(&event, f.pc.ram + f.d.q[0].used + 4 +
		    8 * f.d.q[0].size, 2);
		assert_int_equal(event, f.d.q[0].avail_idx);
	}
	end(&f);
}

/* The ring's indices run past 65535 and back to 0. */
static void
test_index_wrap(void **state)
{
	struct fixture f;
	struct seg seg = { 0x8000, 1, true };
	uint16_t head;
	unsigned i;

	(void)state;
	begin(&f, true);
	drv_up(&f.d, F_EVENT_IDX, 1);
	for (i = 0; i < 70000; i++) {
		drv_add(&f.d, 0, &seg, 1, false);
		drv_kick(&f.d, 0);
		assert_true(drv_get(&f.d, 0, &head, NULL, false));
	}
	assert_false(drv_broken(&f.d));
	end(&f);
}

static void
test_negotiation(void **state)
{
	struct fixture f;
	uint64_t common;

	(void)state;
	begin(&f, true);
	common = f.d.common;
	/* a feature that was not offered */
	drv_set_status(&f.d, 0);
	drv_set_status(&f.d, 3);
	bus_write(f.pc.memory, common + 8, 4, 0);
	bus_write(f.pc.memory, common + 12, 4, 1 << 5);
	bus_write(f.pc.memory, common + 8, 4, 1);
	bus_write(f.pc.memory, common + 12, 4, 1);
	drv_set_status(&f.d, 11);
	assert_int_equal(drv_status(&f.d), 3);
	/* no DRIVER_OK without FEATURES_OK */
	drv_set_status(&f.d, 7);
	assert_int_equal(drv_status(&f.d), 3);
	/* without VERSION_1 */
	drv_set_status(&f.d, 0);
	drv_set_status(&f.d, 3);
	drv_set_status(&f.d, 11);
	assert_int_equal(drv_status(&f.d), 3);
	/* features do not change after FEATURES_OK */
	drv_negotiate(&f.d, 0);
	bus_write(f.pc.memory, common + 8, 4, 0);
	bus_write(f.pc.memory, common + 12, 4, (uint32_t)F_EVENT_IDX);
	assert_int_equal(bus_read(f.pc.memory, common + 12, 4), 0);
	/* nor does the other window work meanwhile, a reset apart */
	bus_write(f.pc.ports, f.d.io + 4, 4, (uint32_t)F_EVENT_IDX);
	assert_int_equal(bus_read(f.pc.ports, f.d.io + 4, 4), 0);
	bus_write(f.pc.ports, f.d.io + 18, 1, 0x80);
	assert_int_equal(drv_status(&f.d), 11);
	bus_write(f.pc.ports, f.d.io + 18, 1, 0);
	assert_int_equal(drv_status(&f.d), 0);
	/* legacy: what was not offered is not taken */
	f.d.modern = false;
	drv_set_status(&f.d, 3);
	bus_write(f.pc.ports, f.d.io + 4, 4, UINT32_MAX);
	assert_int_equal(bus_read(f.pc.ports, f.d.io + 4, 4),
	    bus_read(f.pc.ports, f.d.io, 4));
	end(&f);
}

static void
test_queue_registers(void **state)
{
	struct fixture f;
	uint64_t common;

	(void)state;
	begin(&f, true);
	common = f.d.common;
	drv_negotiate(&f.d, 0);
	drv_queue(&f.d, 0, 4);
	assert_int_equal(bus_read(f.pc.memory, common + 24, 2), 4);
	assert_int_equal(bus_read(f.pc.memory, common + 28, 2), 1);
	assert_int_equal(bus_read(f.pc.memory, common + 32, 8),
	    f.d.q[0].desc);
	/* in force: nothing of it changes any more */
	bus_write(f.pc.memory, common + 32, 8, 0);
	bus_write(f.pc.memory, common + 24, 2, 8);
	bus_write(f.pc.memory, common + 28, 2, 0);
	assert_int_equal(bus_read(f.pc.memory, common + 32, 8),
	    f.d.q[0].desc);
	assert_int_equal(bus_read(f.pc.memory, common + 24, 2), 4);
	assert_int_equal(bus_read(f.pc.memory, common + 28, 2), 1);
	/* a queue that is not there */
	bus_write(f.pc.memory, common + 22, 2, 7);
	assert_int_equal(bus_read(f.pc.memory, common + 24, 2), 0);
	bus_write(f.pc.memory, common + 24, 2, 8);
	bus_write(f.pc.memory, common + 28, 2, 1);
	assert_int_equal(bus_read(f.pc.memory, common + 28, 2), 0);
	bus_write(f.pc.memory, f.d.notify + 4 * 7, 2, 7);
	/* no vectors: there is no MSI-X */
	assert_int_equal(bus_read(f.pc.memory, common + 16, 2), 0xffff);
	assert_false(drv_broken(&f.d));
	end(&f);
}

/* Nothing is taken before DRIVER_OK; then what is there is. */
static void
test_driver_ok(void **state)
{
	struct fixture f;
	struct seg seg = { 0x8000, 100, true };
	uint16_t head;
	uint32_t len;

	(void)state;
	begin(&f, true);
	drv_negotiate(&f.d, 0);
	drv_queue(&f.d, 0, 0);
	drv_add(&f.d, 0, &seg, 1, false);
	drv_kick(&f.d, 0);
	assert_false(drv_get(&f.d, 0, &head, &len, false));
	drv_set_status(&f.d, 15);
	assert_true(drv_get(&f.d, 0, &head, &len, false));
	assert_int_equal(len, 100);
	/* after a reset the rings are left alone */
	drv_add(&f.d, 0, &seg, 1, false);
	drv_set_status(&f.d, 0);
	drv_kick(&f.d, 0);
	assert_false(drv_get(&f.d, 0, &head, &len, false));
	assert_int_equal(atomic_load(&f.pc.level), 0);
	end(&f);
}

/* The same through the capability in configuration space. */
static void
test_pci_cfg(void **state)
{
	struct fixture f;
	unsigned cap;

	(void)state;
	begin(&f, true);
	cap = f.d.pci_cfg;
	drv_negotiate(&f.d, 0);
	pc_config_write(&f.pc, 1, cap + 4, 1, 1);
	pc_config_write(&f.pc, 1, cap + 8, 4, 20);
	pc_config_write(&f.pc, 1, cap + 12, 4, 1);
	assert_int_equal(pc_config_read(&f.pc, 1, cap + 16, 1), 11);
	pc_config_write(&f.pc, 1, cap + 16, 1, 0);
	assert_int_equal(drv_status(&f.d), 0);
	/* through the ports */
	pc_config_write(&f.pc, 1, cap + 4, 1, 0);
	pc_config_write(&f.pc, 1, cap + 8, 4, 18);
	pc_config_write(&f.pc, 1, cap + 16, 4, 0x01);
	assert_int_equal(drv_status(&f.d), 1);
	/* places that do not exist */
	pc_config_write(&f.pc, 1, cap + 4, 1, 5);
	pc_config_read(&f.pc, 1, cap + 16, 4);
	pc_config_write(&f.pc, 1, cap + 4, 1, 1);
	pc_config_write(&f.pc, 1, cap + 8, 4, 0xfffffffc);
	pc_config_write(&f.pc, 1, cap + 12, 4, 4);
	pc_config_read(&f.pc, 1, cap + 16, 4);
	pc_config_write(&f.pc, 1, cap + 16, 4, 1);
	pc_config_write(&f.pc, 1, cap + 8, 4, 2);
	pc_config_read(&f.pc, 1, cap + 16, 4);
	pc_config_write(&f.pc, 1, cap + 12, 4, 0xffffffff);
	pc_config_read(&f.pc, 1, cap + 16, 4);
	assert_int_equal(drv_status(&f.d), 1);
	end(&f);
}

static void
test_legacy_queue_moves(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, false);
	drv_up(&f.d, 0, 1);
	request(&f.d, 64, 64, false);
	assert_int_equal(bus_read(f.pc.ports, f.d.io + 8, 4),
	    f.d.q[0].desc >> 12);
	/* taken away, and given again elsewhere: it starts anew */
	bus_write(f.pc.ports, f.d.io + 8, 4, 0);
	assert_int_equal(bus_read(f.pc.ports, f.d.io + 8, 4), 0);
	drv_kick(&f.d, 0);
	drv_queue(&f.d, 0, 0);
	request(&f.d, 64, 64, false);
	assert_false(drv_broken(&f.d));
	end(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_legacy),
		cmocka_unit_test(test_modern),
		cmocka_unit_test(test_suppression),
		cmocka_unit_test(test_index_wrap),
		cmocka_unit_test(test_negotiation),
		cmocka_unit_test(test_queue_registers),
		cmocka_unit_test(test_driver_ok),
		cmocka_unit_test(test_pci_cfg),
		cmocka_unit_test(test_legacy_queue_moves),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
