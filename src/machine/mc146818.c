/*
 * The MC146818 real-time clock and its CMOS memory, ports 70-71 (Motorola
 * MC146818A data sheet; memory layout as PC firmware has it).
 *
 * 1. The time is the host's plus c_offset, which changes when the guest sets
 *    the clock. It is UTC. While the clock is held (SET, or the divider in
 *    reset) it is what c_ram says, and does not move.
 * 2. Flags of register C are brought up to date (rtc_sync) before anybody
 *    looks; a timer does so in time while one of them is to interrupt.
 * 3. IRQ 8 is asserted while IRQF is set; reading register C clears it.
 *
 * Threads: ports on VCPU threads, the timer on the I/O thread; one lock [m].
 */
#include "machine/mc146818.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RAM_SIZE	128

#define REG_SECOND	0x00
#define REG_ALARM_SECOND 0x01
#define REG_MINUTE	0x02
#define REG_ALARM_MINUTE 0x03
#define REG_HOUR	0x04
#define REG_ALARM_HOUR	0x05
#define REG_WEEKDAY	0x06		/* 1 is Sunday */
#define REG_DAY		0x07
#define REG_MONTH	0x08
#define REG_YEAR	0x09
#define REG_A		0x0a
#define REG_B		0x0b
#define REG_C		0x0c
#define REG_D		0x0d
#define REG_CENTURY	0x32

#define A_UIP		0x80
#define A_DIVIDER	0x70
#define  A_DIV_32K	0x20
#define  A_DIV_RESET	0x60		/* 11x */
#define A_RATE		0x0f
#define B_SET		0x80
#define B_PIE		0x40
#define B_AIE		0x20
#define B_UIE		0x10
#define B_BINARY	0x04
#define B_24H		0x02
#define C_IRQF		0x80
#define C_PF		0x40
#define C_AF		0x20
#define C_UF		0x10
#define D_VALID		0x80
#define HOUR_PM		0x80
#define ALARM_ANY	0xc0		/* such a value matches all */

#define UPDATE_NS	244000		/* UIP is set so long before a second */
#define DAY		86400
#define TIME_MIN	-2000000000ll	/* 1906 */
#define TIME_MAX	9000000000ll	/* 2255 */

struct mc146818 {
	pthread_mutex_t	 c_lock;
	uint8_t		 c_ram[RAM_SIZE];	/* [m] */
	uint8_t		 c_index;		/* [m] port 70 */
	int64_t		 c_offset;		/* [m] ns, to the host's time */
	int64_t		 c_synced;		/* [m] time of the last sync */
	struct clock	*c_clock;		/* [I] */
	struct clock_timer *c_timer;		/* [I] */
	struct irq	 c_irq;			/* [I] */
	struct bus	*c_ports;		/* [I] */
	struct window	 c_window;
};

#define SECOND		((int64_t)NS_PER_SECOND)

/* --- time ---------------------------------------------------------------- */

/* The clock's own time, ns since 1970. */
static int64_t
rtc_time(const struct mc146818 *c)
{
	return ((int64_t)clock_wall(c->c_clock) + c->c_offset);
}

static int64_t
floor_div(int64_t a, int64_t b)
{
	return (a / b - (a % b < 0));
}

static bool
rtc_held(const struct mc146818 *c)
{
	return ((c->c_ram[REG_B] & B_SET) != 0 ||
	    (c->c_ram[REG_A] & A_DIV_RESET) == A_DIV_RESET);
}

static uint8_t
encode(const struct mc146818 *c, int v)
{
	return ((uint8_t)(c->c_ram[REG_B] & B_BINARY ? v :
	    v / 10 << 4 | v % 10));
}

static int
decode(const struct mc146818 *c, uint8_t v)
{
	return (c->c_ram[REG_B] & B_BINARY ? v : (v >> 4) * 10 + (v & 15));
}

static uint8_t
encode_hour(const struct mc146818 *c, int hour)
{
	if (c->c_ram[REG_B] & B_24H)
		return (encode(c, hour));
	return (encode(c, hour % 12 == 0 ? 12 : hour % 12) |
	    (hour >= 12 ? HOUR_PM : 0));
}

static int
decode_hour(const struct mc146818 *c, uint8_t v)
{
	if (c->c_ram[REG_B] & B_24H)
		return (decode(c, v));
	return (decode(c, v & (uint8_t)~HOUR_PM) % 12 +
	    (v & HOUR_PM ? 12 : 0));
}

/* Puts the running time into the registers. */
static void
rtc_to_ram(struct mc146818 *c, int64_t now)
{
	time_t t = (time_t)floor_div(now, SECOND);
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL)
		return;
	c->c_ram[REG_SECOND] = encode(c, tm.tm_sec);
	c->c_ram[REG_MINUTE] = encode(c, tm.tm_min);
	c->c_ram[REG_HOUR] = encode_hour(c, tm.tm_hour);
	c->c_ram[REG_WEEKDAY] = encode(c, tm.tm_wday + 1);
	c->c_ram[REG_DAY] = encode(c, tm.tm_mday);
	c->c_ram[REG_MONTH] = encode(c, tm.tm_mon + 1);
	c->c_ram[REG_YEAR] = encode(c, (tm.tm_year % 100 + 100) % 100);
	c->c_ram[REG_CENTURY] = (uint8_t)((tm.tm_year + 1900) / 1000 % 10 << 4 |
	    (tm.tm_year + 1900) / 100 % 10);
}

/* Takes the registers as the time, fraction ns into that second. */
static void
rtc_from_ram(struct mc146818 *c, int64_t fraction)
{
	uint8_t century = c->c_ram[REG_CENTURY];
	struct tm tm = {
		.tm_sec = decode(c, c->c_ram[REG_SECOND]),
		.tm_min = decode(c, c->c_ram[REG_MINUTE]),
		.tm_hour = decode_hour(c, c->c_ram[REG_HOUR]),
		.tm_mday = decode(c, c->c_ram[REG_DAY]),
		.tm_mon = decode(c, c->c_ram[REG_MONTH]) - 1,
		.tm_year = decode(c, c->c_ram[REG_YEAR]) +
		    ((century >> 4) * 10 + (century & 15)) * 100 - 1900
	};
	int64_t t = timegm(&tm);

	/* what 64 bits of nanoseconds can hold, with room for the host's */
	t = t < TIME_MIN ? TIME_MIN : t > TIME_MAX ? TIME_MAX : t;
	t = t * SECOND + fraction;
	c->c_offset = t - (int64_t)clock_wall(c->c_clock);
	c->c_synced = t;
}

/* --- flags --------------------------------------------------------------- */

/* ns between periodic interrupts; 0: none. */
static int64_t
rtc_period(const struct mc146818 *c)
{
	unsigned rate = c->c_ram[REG_A] & A_RATE;

	if (rate == 0 || (c->c_ram[REG_A] & A_DIVIDER) != A_DIV_32K)
		return (0);
	if (rate < 3)		/* 1 and 2 are 256 and 128 Hz */
		rate += 7;
	return (SECOND / (32768 >> (rate - 1)));
}

static bool
alarm_field(const struct mc146818 *c, unsigned reg, int v)
{
	uint8_t a = c->c_ram[reg];

	if ((a & ALARM_ANY) == ALARM_ANY)
		return (true);
	return ((reg == REG_ALARM_HOUR ? decode_hour(c, a) : decode(c, a)) ==
	    v);
}

static bool
alarm_matches(const struct mc146818 *c, int64_t second)
{
	int day = (int)(second - floor_div(second, DAY) * DAY);

	return (alarm_field(c, REG_ALARM_SECOND, day % 60) &&
	    alarm_field(c, REG_ALARM_MINUTE, day / 60 % 60) &&
	    alarm_field(c, REG_ALARM_HOUR, day / 3600));
}

/* The alarm went off in a second of (from, to]; a day decides it. */
static bool
alarm_between(const struct mc146818 *c, int64_t from, int64_t to)
{
	if (to - from > DAY)
		from = to - DAY;
	while (from < to)
		if (alarm_matches(c, ++from))
			return (true);
	return (false);
}

/* When something that is to interrupt happens next; LLONG_MAX: never. */
static int64_t
rtc_next(const struct mc146818 *c, int64_t now)
{
	int64_t second = floor_div(now, SECOND), next = INT64_MAX, t, period;
	uint8_t b = c->c_ram[REG_B];
	int i;

	if ((b & B_PIE) && (period = rtc_period(c)) != 0)
		next = (floor_div(now, period) + 1) * period;
	if (rtc_held(c))
		return (next);
	if (b & B_UIE) {
		t = (second + 1) * SECOND;
		next = t < next ? t : next;
	} else if (b & B_AIE) {
		/* look at most a minute ahead, then again */
		for (i = 1; i < 60 && !alarm_matches(c, second + i); i++)
			continue;
		t = (second + i) * SECOND;
		next = t < next ? t : next;
	}
	return (next);
}

/*
 * Brings flags, line and timer up to date.
 */
static void
rtc_sync(struct mc146818 *c)
{
	int64_t now = rtc_time(c), period = rtc_period(c), from, to, next;
	uint8_t *flags = &c->c_ram[REG_C];

	if (now < c->c_synced)		/* the host's clock was set back */
		c->c_synced = now;
	if (period != 0 &&
	    floor_div(now, period) != floor_div(c->c_synced, period))
		*flags |= C_PF;
	from = floor_div(c->c_synced, SECOND);
	to = floor_div(now, SECOND);
	if (!rtc_held(c) && from != to) {
		*flags |= C_UF;
		if (alarm_between(c, from, to))
			*flags |= C_AF;
	}
	c->c_synced = now;
	if (*flags & c->c_ram[REG_B] & (C_PF | C_AF | C_UF))
		*flags |= C_IRQF;
	else
		*flags &= (uint8_t)~C_IRQF;
	irq_set(&c->c_irq, (*flags & C_IRQF) != 0);

	/* Nothing new can be told until register C has been read. */
	next = *flags & C_IRQF ? INT64_MAX : rtc_next(c, now);
	clock_timer_set(c->c_clock, c->c_timer, next == INT64_MAX ?
	    LOOP_NEVER : clock_now(c->c_clock) + (uint64_t)(next - now));
}

static void
rtc_timer(void *arg)
{
	struct mc146818 *c = arg;

	pthread_mutex_lock(&c->c_lock);
	rtc_sync(c);
	pthread_mutex_unlock(&c->c_lock);
}

/* --- ports --------------------------------------------------------------- */

static bool
is_time(unsigned reg)
{
	return ((reg <= REG_YEAR && reg != REG_ALARM_SECOND &&
	    reg != REG_ALARM_MINUTE && reg != REG_ALARM_HOUR) ||
	    reg == REG_CENTURY);
}

static uint8_t
rtc_read_register(struct mc146818 *c, unsigned reg)
{
	int64_t now = rtc_time(c);
	uint8_t v;

	if (is_time(reg) && !rtc_held(c))
		rtc_to_ram(c, now);
	v = c->c_ram[reg];
	switch (reg) {
	case REG_A:
		if (!rtc_held(c) &&
		    now - floor_div(now, SECOND) * SECOND >=
		    SECOND - UPDATE_NS)
			v |= A_UIP;
		break;
	case REG_C:
		rtc_sync(c);
		v = c->c_ram[REG_C];
		c->c_ram[REG_C] = 0;
		rtc_sync(c);
		break;
	case REG_D:
		v = D_VALID;
		break;
	}
	return (v);
}

/* Registers A and B hold the clock and let it go. */
static void
rtc_write_control(struct mc146818 *c, unsigned reg, uint8_t v)
{
	bool held = rtc_held(c), divider;
	int64_t now = rtc_time(c);

	if (!held)
		rtc_to_ram(c, now);	/* in the old format */
	divider = (c->c_ram[REG_A] & A_DIV_RESET) == A_DIV_RESET;
	if (reg == REG_A)
		v &= (uint8_t)~A_UIP;
	else if (v & B_SET)
		v &= (uint8_t)~B_UIE;	/* SET clears UIE */
	c->c_ram[reg] = v;
	if (held && !rtc_held(c))
		/* out of the divider's reset the first update comes after
		 * half a second; out of SET the fraction has gone on */
		rtc_from_ram(c, divider ? SECOND / 2 :
		    now - floor_div(now, SECOND) * SECOND);
}

static void
rtc_write_register(struct mc146818 *c, unsigned reg, uint8_t v)
{
	int64_t now;

	rtc_sync(c);
	switch (reg) {
	case REG_A:
	case REG_B:
		rtc_write_control(c, reg, v);
		break;
	case REG_C:
	case REG_D:
		return;
	default:
		if (is_time(reg) && !rtc_held(c)) {
			now = rtc_time(c);
			rtc_to_ram(c, now);
			c->c_ram[reg] = v;
			rtc_from_ram(c, now - floor_div(now, SECOND) *
			    SECOND);
		} else
			c->c_ram[reg] = v;
		break;
	}
	rtc_sync(c);
}

static uint64_t
rtc_read(void *arg, uint64_t offset, unsigned size)
{
	struct mc146818 *c = arg;
	uint8_t v;

	(void)size;
	pthread_mutex_lock(&c->c_lock);
	v = offset == 0 ? c->c_index : rtc_read_register(c, c->c_index);
	pthread_mutex_unlock(&c->c_lock);
	return (v);
}

static void
rtc_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct mc146818 *c = arg;

	(void)size;
	pthread_mutex_lock(&c->c_lock);
	if (offset == 0)
		c->c_index = (uint8_t)value & (RAM_SIZE - 1);
	else
		rtc_write_register(c, c->c_index, (uint8_t)value);
	pthread_mutex_unlock(&c->c_lock);
}

/* --- life ---------------------------------------------------------------- */

/* Memory sizes as firmware leaves them, each in its unit and limit. */
static void
rtc_memory_sizes(struct mc146818 *c, uint64_t low, uint64_t high)
{
	const uint64_t mib = 1 << 20;
	uint64_t kib, units;

	c->c_ram[0x15] = 640 & 0xff;		/* base memory, KiB */
	c->c_ram[0x16] = 640 >> 8;
	kib = low > mib ? (low - mib) >> 10 : 0;	/* above 1 MiB, KiB */
	if (kib > 0xffff)
		kib = 0xffff;
	c->c_ram[0x17] = c->c_ram[0x30] = (uint8_t)kib;
	c->c_ram[0x18] = c->c_ram[0x31] = (uint8_t)(kib >> 8);
	units = low > 16 * mib ? (low - 16 * mib) >> 16 : 0;	/* 64 KiB */
	if (units > 0xffff)
		units = 0xffff;
	c->c_ram[0x34] = (uint8_t)units;
	c->c_ram[0x35] = (uint8_t)(units >> 8);
	units = high >> 16;			/* above 4 GiB, 64 KiB */
	c->c_ram[0x5b] = (uint8_t)units;
	c->c_ram[0x5c] = (uint8_t)(units >> 8);
	c->c_ram[0x5d] = (uint8_t)(units >> 16);
}

struct mc146818 *
mc146818_new(struct bus *ports, struct clock *clock, const struct irq *irq,
    uint64_t low, uint64_t high)
{
	struct mc146818 *c;
	int error;

	if ((c = calloc(1, sizeof(*c))) == NULL)
		return (NULL);
	pthread_mutex_init(&c->c_lock, NULL);
	c->c_ports = ports;
	c->c_clock = clock;
	c->c_irq = *irq;
	c->c_ram[REG_A] = A_DIV_32K | 6;	/* 1024 Hz */
	c->c_ram[REG_B] = B_24H;
	rtc_memory_sizes(c, low, high);
	c->c_synced = rtc_time(c);
	c->c_window = (struct window){ .w_base = 0x70, .w_size = 2,
		.w_read = rtc_read, .w_write = rtc_write, .w_arg = c,
		.w_width = 1, .w_name = "mc146818" };
	if ((c->c_timer = clock_timer_new(clock, rtc_timer, c)) == NULL)
		error = ENOMEM;
	else
		error = bus_add(ports, &c->c_window);
	if (error != 0) {
		mc146818_free(c);
		errno = error;
		return (NULL);
	}
	return (c);
}

void
mc146818_free(struct mc146818 *c)
{
	if (c == NULL)
		return;
	bus_remove(c->c_ports, &c->c_window);
	clock_timer_free(c->c_clock, c->c_timer);
	pthread_mutex_destroy(&c->c_lock);
	free(c);
}

void
mc146818_reset(struct mc146818 *c)
{
	pthread_mutex_lock(&c->c_lock);
	if (rtc_held(c))
		rtc_write_control(c, REG_A, A_DIV_32K | 6);
	c->c_ram[REG_A] = A_DIV_32K | 6;
	/* the reset pin clears the enables and flags; firmware the rest */
	rtc_write_control(c, REG_B, B_24H);
	c->c_ram[REG_C] = 0;
	c->c_synced = rtc_time(c);
	rtc_sync(c);
	pthread_mutex_unlock(&c->c_lock);
}

/* A time that may be so, with a year to go on. */
static bool
time_valid(int64_t t)
{
	return (t >= TIME_MIN * SECOND &&
	    t <= (TIME_MAX + 366 * DAY) * SECOND);
}

void
mc146818_state(struct mc146818 *c, struct state *s)
{
	uint8_t ram[RAM_SIZE], rtc_index;
	int64_t offset, synced, t;

	pthread_mutex_lock(&c->c_lock);
	if (!s->s_loading)
		rtc_sync(c);
	memcpy(ram, c->c_ram, sizeof(ram));
	rtc_index = c->c_index;
	offset = c->c_offset;
	synced = c->c_synced;
	state_begin(s, "mc146818", 0, 1);
	state_bytes(s, ram, sizeof(ram));
	state_u8_max(s, &rtc_index, RAM_SIZE - 1);
	state_i64(s, &offset);
	state_i64(s, &synced);
	if (__builtin_add_overflow((int64_t)clock_wall(c->c_clock), offset,
	    &t) || (s->s_loading && (!time_valid(t) || !time_valid(synced))))
		state_bad(s, "its time is out of range");
	if (state_loaded(s)) {
		memcpy(c->c_ram, ram, sizeof(ram));
		c->c_index = rtc_index;
		c->c_offset = offset;
		c->c_synced = synced;
		rtc_sync(c);
	}
	state_end(s);
	pthread_mutex_unlock(&c->c_lock);
}
