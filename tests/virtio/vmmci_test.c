/*
 * vmmci: identity, commands and their acknowledgement, the host's time, through
 * both windows.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "machine/vmmci.h"
#include "../lib/fakeclock.h"
#include "../lib/virtdrv.h"

#define F_TIMESYNC	(1ULL << 0)
#define F_ACK		(1ULL << 1)
#define F_SYNCRTC	(1ULL << 2)
#define F_ALL		(F_TIMESYNC | F_ACK | F_SYNCRTC)

#define SHUTDOWN	1
#define REBOOT		2
#define SYNCRTC		3
#define ISR_CONFIG	2

#define WALL		(1800000000ull * 1000000000 + 123456789)

struct fixture {
	struct fake_pc	 pc;
	struct fakeclock clk;
	struct vmmci	*ci;
	struct drv	 d;
};

static void
begin(struct fixture *f, bool modern)
{
	fake_pc_new(&f->pc, 1 << 20);
	fakeclock_init(&f->clk, 1000, WALL);
	assert_int_equal(vmmci_new(&f->ci, &f->pc.gm, &f->clk.fc_clock,
	    f->pc.pci, &f->pc.irq), 0);
	fake_pc_start(&f->pc);
	drv_attach(&f->d, &f->pc, 1, modern);
}

static void
up(struct fixture *f, uint64_t features)
{
	drv_up(&f->d, features | (f->d.modern ? F_VERSION_1 : 0), 0);
}

static void
end(struct fixture *f)
{
	vmmci_reset(f->ci);
	assert_int_equal(vmmci_guest(f->ci), VMMCI_ABSENT);
	assert_int_equal(atomic_load(&f->pc.level), 0);
	vmmci_free(f->ci);
	fake_pc_free(&f->pc);
}

static uint64_t
get(struct fixture *f, unsigned offset, unsigned size)
{
	return (f->d.modern ?
	    bus_read(f->pc.memory, f->d.device + offset, size) :
	    bus_read(f->pc.ports, f->d.io + 20 + offset, size));
}

static void
put(struct fixture *f, unsigned offset, unsigned size, uint64_t value)
{
	if (f->d.modern)
		bus_write(f->pc.memory, f->d.device + offset, size, value);
	else
		bus_write(f->pc.ports, f->d.io + 20 + offset, size, value);
}

/* The interrupt came for a changed configuration; it is quiet after that. */
static void
changed(struct fixture *f)
{
	assert_int_equal(atomic_load(&f->pc.level), 1);
	assert_int_equal(drv_isr(&f->d), ISR_CONFIG);
	assert_int_equal(atomic_load(&f->pc.level), 0);
}

static void
identity(bool modern)
{
	struct fixture f;

	begin(&f, modern);
	assert_int_equal(pc_config_read(&f.pc, 1, 0, 2), 0x0b5d);
	assert_int_equal(pc_config_read(&f.pc, 1, 2, 2), 0x0777);
	assert_int_equal(pc_config_read(&f.pc, 1, 0x2c, 2), 0x0b5d);
	assert_int_equal(pc_config_read(&f.pc, 1, 0x2e, 2), 0xffff);
	assert_int_equal(drv_offered(&f.d) & F_ALL, F_ALL);
	if (modern)
		assert_int_equal(f.d.device_len, 20);
	end(&f);
}

/* Nobody is there: nothing is said, nor is it said later. */
static void
no_driver(bool modern)
{
	struct fixture f;

	begin(&f, modern);
	assert_int_equal(vmmci_guest(f.ci), VMMCI_ABSENT);
	vmmci_shutdown(f.ci);
	vmmci_sync(f.ci);
	assert_int_equal(vmmci_guest(f.ci), VMMCI_ABSENT);
	up(&f, F_ALL);
	assert_int_equal(atomic_load(&f.pc.level), 0);
	assert_int_equal(get(&f, 0, 4), 0);
	assert_int_equal(vmmci_guest(f.ci), VMMCI_LISTENS);
	end(&f);
}

static void
shut_down(bool modern)
{
	struct fixture f;

	begin(&f, modern);
	up(&f, F_ALL);
	vmmci_shutdown(f.ci);
	changed(&f);
	assert_int_equal(get(&f, 0, 4), SHUTDOWN);
	/* agreed to acknowledge: reading is not enough, nor another command */
	assert_int_equal(vmmci_guest(f.ci), VMMCI_LISTENS);
	put(&f, 0, 4, REBOOT);
	assert_int_equal(vmmci_guest(f.ci), VMMCI_LISTENS);
	put(&f, 0, 4, SHUTDOWN);
	assert_int_equal(vmmci_guest(f.ci), VMMCI_SEEN);
	/* a clock does not matter any more */
	vmmci_sync(f.ci);
	assert_int_equal(atomic_load(&f.pc.level), 0);
	assert_int_equal(get(&f, 0, 4), SHUTDOWN);
	/* the driver goes, the machine does not forget until it is reset */
	drv_set_status(&f.d, 0);
	assert_int_equal(vmmci_guest(f.ci), VMMCI_SEEN);
	end(&f);
}

/* A driver that does not acknowledge has seen what it read. */
static void
no_ack(bool modern)
{
	struct fixture f;

	begin(&f, modern);
	up(&f, 0);
	vmmci_sync(f.ci);	/* not agreed to */
	assert_int_equal(atomic_load(&f.pc.level), 0);
	assert_int_equal(get(&f, 0, 4), 0);
	assert_int_equal(vmmci_guest(f.ci), VMMCI_LISTENS);
	vmmci_shutdown(f.ci);
	changed(&f);
	(void)get(&f, 4, 4);
	assert_int_equal(vmmci_guest(f.ci), VMMCI_LISTENS);
	assert_int_equal(get(&f, 0, 4), SHUTDOWN);
	assert_int_equal(vmmci_guest(f.ci), VMMCI_SEEN);
	end(&f);
}

static void
sync_clock(bool modern)
{
	struct fixture f;
	uint64_t seconds;

	begin(&f, modern);
	up(&f, F_ALL);
	vmmci_sync(f.ci);
	changed(&f);
	assert_int_equal(get(&f, 0, 4), SYNCRTC);
	put(&f, 0, 4, SYNCRTC);
	assert_int_equal(get(&f, 0, 4), 0);
	assert_int_equal(vmmci_guest(f.ci), VMMCI_LISTENS);

	fakeclock_skip(&f.clk, 2000000000);
	seconds = get(&f, 8, 4) << 32;
	seconds |= get(&f, 4, 4);
	assert_int_equal(seconds, 1800000002);
	/* belongs to these seconds, whatever the time is by now */
	fakeclock_skip(&f.clk, 900000000);
	assert_int_equal(get(&f, 12, 4), 123456);
	assert_int_equal(get(&f, 16, 4), 0);
	assert_int_equal(get(&f, 4, 4), 1800000003);
	assert_int_equal(get(&f, 12, 4), 23456);
	/* time and what lies behind it are not the guest's to change */
	put(&f, 12, 4, 0xffffffff);
	put(&f, 20, 4, 0xffffffff);
	assert_int_equal(get(&f, 12, 4), 23456);
	assert_int_equal(get(&f, 0, 4), 0);
	end(&f);
}

#define BOTH(name)							\
static void								\
test_##name(void **state)						\
{									\
	(void)state;							\
	name(false);							\
	name(true);							\
}

BOTH(identity)
BOTH(no_driver)
BOTH(shut_down)
BOTH(no_ack)
BOTH(sync_clock)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_no_driver),
		cmocka_unit_test(test_shut_down),
		cmocka_unit_test(test_no_ack),
		cmocka_unit_test(test_sync_clock),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
