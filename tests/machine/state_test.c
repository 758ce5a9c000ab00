/*
 * Every chip's state: saved and loaded it is the same chip. A chip is worked at
 * by random accesses, saved, worked at by more of them, worked at otherwise and
 * reset, loaded, and worked at by those again: it must answer as it did. A
 * field that its state has forgotten shows. Then states that are not what was
 * saved: none may lead anywhere but to an error or to a chip that works.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "../lib/fakeclock.h"
#include "../lib/virtdrv.h"
#include "machine/fw_cfg.h"
#include "machine/i8253.h"
#include "machine/i8259.h"
#include "machine/mc146818.h"
#include "machine/ns8250.h"
#include "machine/power.h"
#include "machine/virtio_rng.h"

#define MS	1000000ull
#define WALL	(1795361696ull * NS_PER_SECOND)

static uint64_t seed;

static uint32_t
rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return ((uint32_t)(seed >> 16));
}

/* --- what a chip has around it --------------------------------------------- */

struct rig {
	struct fakeclock clk;
	struct fakeirq	 irq;
	struct bus	*ports;
	struct guest_memory gm;
	struct loop	*loop;
	struct power	 power;
	unsigned	 asked;		/* reset, off */
	int		 intr;		/* of the i8259 */
	unsigned	 lines;		/* at its inputs */
	void		*chip;
};

static void
rig_asked(void *arg)
{
	struct rig *r = arg;

	r->asked++;
}

static void
rig_intr(void *arg, int level)
{
	struct rig *r = arg;

	r->intr = level;
}

static struct irq
rig_irq(struct rig *r)
{
	return ((struct irq){ .i_set = fakeirq_set, .i_arg = &r->irq });
}

/* --- the chips --------------------------------------------------------------- */

static void *
pic_new(struct rig *r)
{
	return (i8259_new(r->ports, rig_intr, r));
}

/* Its inputs move, and vectors are taken. */
static uint64_t
pic_other(struct rig *r, uint32_t n)
{
	if (n % 4 == 0 && i8259_pending(r->chip))
		return (i8259_ack(r->chip));
	r->lines ^= 1u << n % 16;
	i8259_set(r->chip, n % 16, r->lines >> n % 16 & 1);
	return ((uint64_t)r->intr);
}

static void *
pit_new(struct rig *r)
{
	struct irq irq = rig_irq(r);

	return (i8253_new(r->ports, &r->clk.fc_clock, &irq));
}

static void *
rtc_new(struct rig *r)
{
	struct irq irq = rig_irq(r);

	return (mc146818_new(r->ports, &r->clk.fc_clock, &irq, 64 << 20, 0));
}

static void *
pm_new(struct rig *r)
{
	struct irq irq = rig_irq(r);

	return (acpi_pm_new(r->ports, &r->clk.fc_clock, &irq, &r->power));
}

static uint64_t
pm_other(struct rig *r, uint32_t n)
{
	if (n % 8 == 0)
		acpi_pm_button(r->chip);
	return (acpi_pm_button_state(r->chip));
}

static void *
kbc_new(struct rig *r)
{
	return (i8042_new(r->ports, &r->power));
}

static void *
reset_chip_new(struct rig *r)
{
	return (reset_new(r->ports, &r->power));
}

static void *
uart_new(struct rig *r)
{
	struct ns8250_config nc = { .nc_base = 0x3f8, .nc_irq = rig_irq(r),
		.nc_loop = r->loop, .nc_in = -1, .nc_out = -1 };

	return (ns8250_new(r->ports, &nc));
}

static void *
fw_new(struct rig *r)
{
	struct fw_cfg *f = fw_cfg_new(r->ports, &r->gm, 1 << 20, 1);

	assert_non_null(f);
	assert_int_equal(fw_cfg_add(f, "a/file", "twelve bytes", 12), 0);
	return (f);
}

#define AS(type, fn)	((type)(void (*)(void))(fn))
typedef void (*chip_fn)(void *);
typedef void (*chip_state_fn)(void *, struct state *);

static const struct chip_row {
	const char	*name;
	void		*(*new)(struct rig *);
	chip_fn		 reset, free;
	chip_state_fn	 state;
	uint16_t	 ports[12];
	uint64_t	(*other)(struct rig *, uint32_t);
} chips[] = {
	{ "i8259", pic_new, AS(chip_fn, i8259_reset), AS(chip_fn, i8259_free),
	    AS(chip_state_fn, i8259_state),
	    { 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1 }, pic_other },
	{ "i8253", pit_new, AS(chip_fn, i8253_reset), AS(chip_fn, i8253_free),
	    AS(chip_state_fn, i8253_state),
	    { 0x40, 0x41, 0x42, 0x43, 0x43, 0x61, 0x40 }, NULL },
	{ "mc146818", rtc_new, AS(chip_fn, mc146818_reset),
	    AS(chip_fn, mc146818_free), AS(chip_state_fn, mc146818_state),
	    { 0x70, 0x71 }, NULL },
	{ "ns8250", uart_new, AS(chip_fn, ns8250_reset),
	    AS(chip_fn, ns8250_free), AS(chip_state_fn, ns8250_state),
	    { 0x3f8, 0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff },
	    NULL },
	{ "i8042", kbc_new, AS(chip_fn, i8042_reset), AS(chip_fn, i8042_free),
	    AS(chip_state_fn, i8042_state), { 0x60, 0x64 }, NULL },
	{ "reset", reset_chip_new, AS(chip_fn, reset_reset),
	    AS(chip_fn, reset_free), AS(chip_state_fn, reset_state),
	    { 0x80, 0x92 }, NULL },
	{ "acpi_pm", pm_new, AS(chip_fn, acpi_pm_reset),
	    AS(chip_fn, acpi_pm_free), AS(chip_state_fn, acpi_pm_state),
	    { 0x600, 0x601, 0x602, 0x603, 0x604, 0x605, 0x608, 0x609 },
	    pm_other },
	{ "fw_cfg", fw_new, AS(chip_fn, fw_cfg_reset), AS(chip_fn, fw_cfg_free),
	    AS(chip_state_fn, fw_cfg_state), { 0x510, 0x511, 0x511, 0x514 },
	    NULL },
};
#define CHIPS	(sizeof(chips) / sizeof(chips[0]))

static void
rig_new(struct rig *r, const struct chip_row *row)
{
	memset(r, 0, sizeof(*r));
	fakeclock_init(&r->clk, 777, WALL);
	r->ports = bus_new();
	assert_non_null(r->loop = loop_new());
	r->power = (struct power){ .pw_reset = rig_asked, .pw_off = rig_asked,
		.pw_arg = r };
	assert_non_null(r->chip = row->new(r));
	row->reset(r->chip);
	fakeclock_run(&r->clk, 100 * MS);
}

static void
rig_free(struct rig *r, const struct chip_row *row)
{
	row->free(r->chip);
	loop_free(r->loop);
	bus_free(r->ports);
}

/* --- work -------------------------------------------------------------------- */

/* A random value that a chip makes something of now and then. */
static uint32_t
value(void)
{
	static const uint8_t likely[] = { 0x00, 0x01, 0x11, 0x20, 0x34, 0x36,
		0x0a, 0x0b, 0x0c, 0x13, 0x10, 0x80, 0x60, 0xd2, 0xe2, 0xc2,
		0x19, 0x26, 0x46, 0x72, 0x68 };

	return (rnd() % 2 ? rnd() : likely[rnd() % sizeof(likely)]);
}

#define WORK	120

/* The same accesses for the same seed; what came of each is in seen. */
static void
work(struct rig *r, const struct chip_row *row, uint64_t seen[WORK])
{
	unsigned i, nports, size;
	uint16_t port;

	for (nports = 0; row->ports[nports] != 0; nports++)
		continue;
	for (i = 0; i < WORK; i++) {
		port = row->ports[rnd() % nports];
		size = rnd() % 8 == 0 ? 2 : 1;
		seen[i] = 0;
		switch (rnd() % 8) {
		case 0:
			fakeclock_run(&r->clk, rnd() % 64 == 0 ?
			    rnd() % (2000 * MS) : rnd() % (2 * MS));
			break;
		case 1:
			if (row->other != NULL)
				seen[i] = row->other(r, rnd());
			break;
		case 2:
		case 3:
		case 4:
			seen[i] = bus_read(r->ports, port, size);
			break;
		default:
			bus_write(r->ports, port, size, value());
			break;
		}
		seen[i] = seen[i] << 8 | (uint64_t)r->intr << 2 |
		    (uint64_t)r->irq.fi_level << 1 |
		    (fakeclock_armed(&r->clk) != 0);
	}
}

static void
save(struct rig *r, const struct chip_row *row, struct state *s)
{
	state_save(s);
	row->state(r->chip, s);
	state_finish(s);
	if (!state_ok(s))
		fail_msg("%s: %s", row->name, s->s_err.e_text);
}

static bool
load(struct rig *r, const struct chip_row *row, const void *data, size_t size,
    struct err *err)
{
	struct state s;

	state_load(&s, data, size);
	row->state(r->chip, &s);
	state_finish(&s);
	*err = s.s_err;
	return (state_ok(&s));
}

static void
loads(struct rig *r, const struct chip_row *row, const struct state *s)
{
	struct err err;

	if (!load(r, row, s->s_data, s->s_size, &err))
		fail_msg("%s: %s", row->name, err.e_text);
}

/* --- the same chip ------------------------------------------------------------ */

#define ROUNDS	200

static void
same_once(struct rig *r, const struct chip_row *row, uint64_t begin)
{
	uint64_t before[WORK], after[WORK], other[WORK], now, work_seed;
	const uint64_t first = seed = begin;
	struct state a, b;
	struct fakeirq irq;
	unsigned lines, i;
	int intr;

	work(r, row, other);
	save(r, row, &a);
	/* what the wires have is their own */
	irq = r->irq;
	now = r->clk.fc_now;
	lines = r->lines;
	intr = r->intr;
	work_seed = seed;
	work(r, row, before);

	work(r, row, other);
	row->reset(r->chip);
	r->clk.fc_now = now;
	r->irq = irq;
	r->lines = lines;
	loads(r, row, &a);
	assert_int_equal(r->intr, intr);
	save(r, row, &b);
	assert_int_equal(a.s_size, b.s_size);
	if (memcmp(a.s_data, b.s_data, a.s_size) != 0)
		fail_msg("%s, seed %llu: loaded, it is another", row->name,
		    (unsigned long long)first);
	seed = work_seed;
	work(r, row, after);
	for (i = 0; i < WORK; i++)
		if (before[i] != after[i])
			fail_msg("%s, seed %llu: access %u gave %#llx, loaded "
			    "%#llx", row->name, (unsigned long long)first, i,
			    (unsigned long long)before[i],
			    (unsigned long long)after[i]);
	state_free(&a);
	state_free(&b);
}

static void
test_same(void **unused)
{
	uint64_t begin = seed;
	struct rig r;
	size_t i;
	int n;

	(void)unused;
	for (i = 0; i < CHIPS; i++) {
		rig_new(&r, &chips[i]);
		for (n = 0; n < ROUNDS; n++)
			same_once(&r, &chips[i], ++begin * 2654435761u | 1);
		rig_free(&r, &chips[i]);
	}
}

/* --- other states --------------------------------------------------------------- */

static void
test_hostile(void **unused)
{
	uint64_t seen[WORK];
	unsigned taken, n;
	struct state a, b;
	uint8_t *copy;
	struct err err;
	struct rig r;
	size_t i, size, at;

	(void)unused;
	for (i = 0; i < CHIPS; i++) {
		rig_new(&r, &chips[i]);
		work(&r, &chips[i], seen);
		save(&r, &chips[i], &a);
		assert_non_null(copy = malloc(a.s_size));
		for (n = taken = 0; n < 4 * ROUNDS; n++) {
			memcpy(copy, a.s_data, a.s_size);
			size = a.s_size;
			for (at = rnd() % 4 + 1; at > 0; at--)
				copy[n % 8 != 0 ? 40 + rnd() % (size - 40) :
				    rnd() % size] = (uint8_t)value();
			if (n % 16 == 0)
				size = rnd() % size;
			if (load(&r, &chips[i], copy, size, &err))
				taken++;
			else
				assert_int_not_equal(err.e_text[0], '\0');
			work(&r, &chips[i], seen);
			save(&r, &chips[i], &b);
			state_free(&b);
		}
		/* some change what may be changed, some do not */
		assert_in_range(taken, 1, 4 * ROUNDS - 10);
		r.clk.fc_now += MS;
		loads(&r, &chips[i], &a);
		free(copy);
		state_free(&a);
		rig_free(&r, &chips[i]);
	}
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same),
		cmocka_unit_test(test_hostile),
	};

	seed = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)time(NULL) | 1;
	printf("# seed %llu\n", (unsigned long long)seed);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
