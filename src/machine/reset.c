/*
 * Ports by which a PC resets itself: system control port A (92h; IBM PS/2) and
 * the reset control register (CF9h; Intel 82371FB 3.4), and the diagnostic
 * port 80h, which keeps the last byte and does nothing with it.
 *
 * A20 is never masked here: 92h reads as if it were always open.
 *
 * Threads: VCPU threads. Each register is one atomic byte.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "machine/power.h"

#define PORTA_RESET	0x01		/* rising: reset */
#define PORTA_A20	0x02
#define CF9_SYSTEM	0x02		/* hard, not CPU only */
#define CF9_RESET	0x04		/* rising: reset */
#define CF9_FULL	0x08		/* power cycle */

struct reset {
	struct power	 r_power;	/* [I] */
	struct bus	*r_ports;	/* [I] */
	struct window	 r_porta, r_post, r_cf9;
	atomic_uchar	 r_porta_value;	/* [a] */
	atomic_uchar	 r_cf9_value;	/* [a] */
	atomic_uchar	 r_post_value;	/* [a] */
};

static uint64_t
porta_read(void *arg, uint64_t offset, unsigned size)
{
	struct reset *r = arg;

	(void)offset;
	(void)size;
	return (atomic_load(&r->r_porta_value) | PORTA_A20);
}

static void
porta_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct reset *r = arg;
	uint8_t old;

	(void)offset;
	(void)size;
	old = atomic_exchange(&r->r_porta_value, (uint8_t)value);
	if ((value & ~old & PORTA_RESET) != 0)
		power_reset(&r->r_power);
}

static uint64_t
cf9_read(void *arg, uint64_t offset, unsigned size)
{
	struct reset *r = arg;

	(void)offset;
	(void)size;
	return (atomic_load(&r->r_cf9_value));
}

static void
cf9_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct reset *r = arg;
	uint8_t old;

	(void)offset;
	(void)size;
	old = atomic_exchange(&r->r_cf9_value,
	    (uint8_t)value & (CF9_SYSTEM | CF9_RESET | CF9_FULL));
	if ((value & ~old & CF9_RESET) != 0)
		power_reset(&r->r_power);
}

static uint64_t
post_read(void *arg, uint64_t offset, unsigned size)
{
	struct reset *r = arg;

	(void)offset;
	(void)size;
	return (atomic_load(&r->r_post_value));
}

static void
post_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct reset *r = arg;

	(void)offset;
	(void)size;
	atomic_store(&r->r_post_value, (uint8_t)value);
}

struct reset *
reset_new(struct bus *ports, const struct power *power)
{
	struct reset *r;
	int error;

	if ((r = calloc(1, sizeof(*r))) == NULL)
		return (NULL);
	r->r_power = *power;
	r->r_ports = ports;
	r->r_porta = (struct window){ .w_base = 0x92, .w_size = 1,
		.w_read = porta_read, .w_write = porta_write, .w_arg = r,
		.w_width = 1, .w_name = "port 92h" };
	r->r_post = (struct window){ .w_base = 0x80, .w_size = 1,
		.w_read = post_read, .w_write = post_write, .w_arg = r,
		.w_width = 1, .w_name = "port 80h" };
	r->r_cf9 = (struct window){ .w_base = RESET_PORT, .w_size = 1,
		.w_read = cf9_read, .w_write = cf9_write, .w_arg = r,
		.w_width = 1, .w_name = "reset register" };
	if ((error = bus_add(ports, &r->r_porta)) != 0 ||
	    (error = bus_add(ports, &r->r_post)) != 0) {
		reset_free(r);
		errno = error;
		return (NULL);
	}
	return (r);
}

void
reset_free(struct reset *r)
{
	if (r == NULL)
		return;
	bus_remove(r->r_ports, &r->r_porta);
	bus_remove(r->r_ports, &r->r_post);
	free(r);
}

void
reset_reset(struct reset *r)
{
	atomic_store(&r->r_porta_value, 0);
	atomic_store(&r->r_cf9_value, 0);
	atomic_store(&r->r_post_value, 0);
}

const struct window *
reset_window(struct reset *r)
{
	return (&r->r_cf9);
}

static void
port_state(struct state *s, atomic_uchar *port)
{
	uint8_t v = atomic_load(port);

	state_u8(s, &v);
	atomic_store(port, v);
}

void
reset_state(struct reset *r, struct state *s)
{
	state_begin(s, "reset ports", 0, 1);
	port_state(s, &r->r_porta_value);
	port_state(s, &r->r_cf9_value);
	port_state(s, &r->r_post_value);
	state_end(s);
}
