/*
 * A keyboard controller with nothing plugged in: enough for guests that probe
 * it and for those that reset the machine by its output port (IBM PS/2 Model
 * 50/60 technical reference, keyboard controller).
 *
 * Threads: VCPU threads; one lock.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "machine/power.h"

#define STATUS_FULL	0x01		/* a byte waits in port 60 */
#define STATUS_SYSTEM	0x04		/* self-test passed */
#define STATUS_COMMAND	0x08		/* last write was to port 64 */
#define STATUS_UNLOCKED	0x10
#define OUTPUT_RUN	0x01		/* 0: the CPU is in reset */
#define OUTPUT_A20	0x02

struct i8042 {
	pthread_mutex_t	 k_lock;
	struct power	 k_power;	/* [I] */
	struct bus	*k_ports;	/* [I] */
	struct window	 k_data_window, k_command_window;
	uint8_t		 k_mode;	/* [m] the command byte */
	uint8_t		 k_pending;	/* [m] command that wants a byte */
	uint8_t		 k_data;	/* [m] for port 60 */
	bool		 k_full;	/* [m] */
	bool		 k_command;	/* [m] */
};

static void
kbc_answer(struct i8042 *k, uint8_t v)
{
	k->k_data = v;
	k->k_full = true;
}

/* What each command answers at once; the rest is silent. */
static const struct {
	uint8_t command;
	uint8_t answer;
} answers[] = {
	{ 0xa9, 0x01 },			/* auxiliary test: clock stuck low */
	{ 0xaa, 0x55 },			/* self-test passed */
	{ 0xab, 0x01 },			/* keyboard test: clock stuck low */
	{ 0xc0, 0x80 },			/* input port: not locked */
	{ 0xd0, OUTPUT_RUN | OUTPUT_A20 },	/* output port */
};

static void
kbc_command(struct i8042 *k, uint8_t v)
{
	unsigned i;

	k->k_pending = 0;
	for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
		if (answers[i].command == v)
			kbc_answer(k, answers[i].answer);
	if (v == 0x20)
		kbc_answer(k, k->k_mode);
	else if (v == 0x60 || (v >= 0xd1 && v <= 0xd4))
		k->k_pending = v;
	else if (v >= 0xf0 && (v & OUTPUT_RUN) == 0)	/* pulse low */
		power_reset(&k->k_power);
}

static uint64_t
data_read(void *arg, uint64_t offset, unsigned size)
{
	struct i8042 *k = arg;
	uint8_t v;

	(void)offset;
	(void)size;
	pthread_mutex_lock(&k->k_lock);
	v = k->k_data;
	k->k_full = false;
	pthread_mutex_unlock(&k->k_lock);
	return (v);
}

static void
data_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct i8042 *k = arg;

	(void)offset;
	(void)size;
	pthread_mutex_lock(&k->k_lock);
	if (k->k_pending == 0x60)
		k->k_mode = (uint8_t)value;
	else if (k->k_pending == 0xd1 && (value & OUTPUT_RUN) == 0)
		power_reset(&k->k_power);
	else if (k->k_pending == 0xd2 || k->k_pending == 0xd3)
		kbc_answer(k, (uint8_t)value);
	k->k_pending = 0;
	k->k_command = false;
	pthread_mutex_unlock(&k->k_lock);
}

static uint64_t
status_read(void *arg, uint64_t offset, unsigned size)
{
	struct i8042 *k = arg;
	uint8_t v;

	(void)offset;
	(void)size;
	pthread_mutex_lock(&k->k_lock);
	v = (uint8_t)(STATUS_UNLOCKED | STATUS_SYSTEM |
	    (k->k_full ? STATUS_FULL : 0) |
	    (k->k_command ? STATUS_COMMAND : 0));
	pthread_mutex_unlock(&k->k_lock);
	return (v);
}

static void
command_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct i8042 *k = arg;

	(void)offset;
	(void)size;
	pthread_mutex_lock(&k->k_lock);
	k->k_command = true;
	kbc_command(k, (uint8_t)value);
	pthread_mutex_unlock(&k->k_lock);
}

struct i8042 *
i8042_new(struct bus *ports, const struct power *power)
{
	struct i8042 *k;
	int error;

	if ((k = calloc(1, sizeof(*k))) == NULL)
		return (NULL);
	pthread_mutex_init(&k->k_lock, NULL);
	k->k_power = *power;
	k->k_ports = ports;
	k->k_data_window = (struct window){ .w_base = 0x60, .w_size = 1,
		.w_read = data_read, .w_write = data_write, .w_arg = k,
		.w_width = 1, .w_name = "i8042 data" };
	k->k_command_window = (struct window){ .w_base = 0x64, .w_size = 1,
		.w_read = status_read, .w_write = command_write, .w_arg = k,
		.w_width = 1, .w_name = "i8042 command" };
	i8042_reset(k);
	if ((error = bus_add(ports, &k->k_data_window)) != 0 ||
	    (error = bus_add(ports, &k->k_command_window)) != 0) {
		i8042_free(k);
		errno = error;
		return (NULL);
	}
	return (k);
}

void
i8042_free(struct i8042 *k)
{
	if (k == NULL)
		return;
	bus_remove(k->k_ports, &k->k_data_window);
	bus_remove(k->k_ports, &k->k_command_window);
	pthread_mutex_destroy(&k->k_lock);
	free(k);
}

void
i8042_reset(struct i8042 *k)
{
	pthread_mutex_lock(&k->k_lock);
	k->k_mode = 0x30;		/* both ports disabled */
	k->k_pending = k->k_data = 0;
	k->k_full = k->k_command = false;
	pthread_mutex_unlock(&k->k_lock);
}

void
i8042_state(struct i8042 *k, struct state *s)
{
	pthread_mutex_lock(&k->k_lock);
	state_begin(s, "i8042", 0, 1);
	state_u8(s, &k->k_mode);
	state_u8(s, &k->k_pending);
	state_u8(s, &k->k_data);
	state_bool(s, &k->k_full);
	state_bool(s, &k->k_command);
	state_end(s);
	pthread_mutex_unlock(&k->k_lock);
}
