/*
 * The 8254 interval timer (ports 40-43; Intel 8254 data sheet) and system
 * control port B (61h): channel 2's gate and output, the refresh toggle.
 *
 * 1. A channel does not count: it knows the tick at which its current cycle
 *    began (ch_start), and everything else follows from the time now.
 * 2. Channel 0's rising edges are the only ones anybody waits for. The timer
 *    is armed for the next one exactly when there will be one.
 * 3. A host that was late delivers the edges it owes one after another, at a
 *    quarter of the period, but never faster than MIN_GAP and none while the
 *    one before still waits for a VCPU that had no time: a guest that counts
 *    ticks keeps its time. More than CATCH_UP_NS of them are lost.
 *
 * Threads: ports on VCPU threads, the timer on the I/O thread.
 */
#include "machine/i8253.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define CATCH_UP_NS	(30 * NS_PER_SECOND)
#define MIN_GAP		50000		/* ns */
#define REFRESH_NS	15085		/* DRAM refresh requests toggle 61h.4 */

/* Control word (port 43) */
#define CW_CHANNEL(v)	((v) >> 6)
#define CW_READBACK	3
#define CW_ACCESS(v)	(((v) >> 4) & 3)
#define CW_MODE(v)	(((v) >> 1) & 7)
#define CW_BCD		0x01
#define RB_NO_COUNT	0x20
#define RB_NO_STATUS	0x10
#define ACCESS_LATCH	0
#define ACCESS_LOW	1
#define ACCESS_HIGH	2
#define ACCESS_BOTH	3
#define STATUS_OUT	0x80
#define STATUS_NULL	0x40

/* Port 61h */
#define PORTB_GATE2	0x01
#define PORTB_SPEAKER	0x02
#define PORTB_WRITABLE	0x0f
#define PORTB_REFRESH	0x10
#define PORTB_OUT2	0x20

struct channel {
	uint8_t	 ch_mode;	/* 0..5 */
	uint8_t	 ch_access;	/* ACCESS_LOW... */
	bool	 ch_bcd;
	bool	 ch_gate;
	bool	 ch_loaded;	/* a count was written since the control word */
	bool	 ch_counting;	/* ch_start is valid; modes 1, 5: triggered */
	bool	 ch_high_next;	/* the next read or write is of the high byte */
	bool	 ch_write_high;
	uint8_t	 ch_write_low;	/* low byte waiting for its high byte */
	uint32_t ch_count;	/* in force, 1..65536 (10000) */
	uint32_t ch_reload;	/* modes 2, 3: the next count; 0: none */
	uint64_t ch_takeover;	/* tick from which ch_reload is in force */
	uint64_t ch_start;	/* tick */
	uint64_t ch_paused;	/* gate low: elapsed ticks so far */
	bool	 ch_latched, ch_status_latched;
	uint16_t ch_latch;
	uint8_t	 ch_status;
};

struct i8253 {
	pthread_mutex_t	 p_lock;
	struct channel	 p_channel[3];	/* [m] */
	uint8_t		 p_portb;	/* [m] written bits */
	uint64_t	 p_epoch;	/* [m] ns of tick 0 */
	uint64_t	 p_delivered;	/* [m] edges given since ch_start */
	uint64_t	 p_last;	/* [m] ns of the last one */
	struct clock	*p_clock;	/* [I] */
	struct clock_timer *p_timer;	/* [I] */
	struct irq	 p_irq;		/* [I] */
	struct bus	*p_ports;	/* [I] */
	struct window	 p_window, p_portb_window;
};

static uint64_t
pit_tick(const struct i8253 *p)
{
	return (clock_ticks(clock_now(p->p_clock) - p->p_epoch, I8253_HZ));
}

/* --- one channel as a function of time ----------------------------------- */

static uint32_t
channel_modulus(const struct channel *ch)
{
	return (ch->ch_bcd ? 10000 : 65536);
}

static bool
channel_periodic(const struct channel *ch)
{
	return (ch->ch_mode == 2 || ch->ch_mode == 3);
}

/* Ticks since the cycle began, without those while the gate was low. */
static uint64_t
channel_elapsed(const struct channel *ch, uint64_t tick)
{
	if (!ch->ch_counting)
		return (0);
	if (!ch->ch_gate && ch->ch_mode != 1 && ch->ch_mode != 5)
		return (ch->ch_paused);
	return (tick > ch->ch_start ? tick - ch->ch_start : 0);
}

/*
 * Notes a count that was written while a periodic channel runs: it is in force
 * from the end of the period, in mode 3 of the half period.
 */
static void
channel_reload(struct channel *ch, uint32_t count, uint64_t tick)
{
	uint64_t elapsed = channel_elapsed(ch, tick);
	uint32_t phase = (uint32_t)(elapsed % ch->ch_count);
	uint32_t high = (ch->ch_count + 1) / 2, end = ch->ch_count;

	if (ch->ch_mode == 3 && phase < high)
		end = high;
	ch->ch_reload = count;
	ch->ch_takeover = ch->ch_start + (elapsed - phase) + end;
}

/*
 * Takes over a count noted before, if it is time. True if so; the channel's
 * edges are then counted from the new start.
 */
static bool
channel_sync(struct channel *ch, uint64_t tick)
{
	bool low_half;

	if (ch->ch_reload == 0 || !channel_periodic(ch) || !ch->ch_gate ||
	    tick < ch->ch_takeover)
		return (false);
	low_half = (ch->ch_takeover - ch->ch_start) % ch->ch_count != 0;
	ch->ch_start = ch->ch_takeover;
	if (low_half)
		ch->ch_start -= (ch->ch_reload + 1) / 2;
	ch->ch_count = ch->ch_reload;
	ch->ch_reload = 0;
	return (true);
}

static bool
channel_out(const struct channel *ch, uint64_t tick)
{
	uint64_t elapsed = channel_elapsed(ch, tick);

	if (!ch->ch_counting)
		return (ch->ch_mode != 0);
	switch (ch->ch_mode) {
	case 0:
	case 1:
		return (elapsed >= ch->ch_count);
	case 2:
		return (!ch->ch_gate ||
		    elapsed % ch->ch_count != ch->ch_count - 1);
	case 3:
		return (!ch->ch_gate ||
		    elapsed % ch->ch_count < (ch->ch_count + 1) / 2);
	default:
		return (elapsed != ch->ch_count);
	}
}

/* What a read of the counting element gives. */
static uint16_t
channel_value(const struct channel *ch, uint64_t tick)
{
	uint64_t elapsed = channel_elapsed(ch, tick);
	uint32_t modulus = channel_modulus(ch), value, half;

	switch (ch->ch_mode) {
	case 2:
		value = ch->ch_count - (uint32_t)(elapsed % ch->ch_count);
		break;
	case 3:			/* counts down by two, twice a period */
		half = (ch->ch_count + 1) / 2;
		elapsed %= ch->ch_count;
		if (elapsed >= half)
			elapsed -= half;
		value = (ch->ch_count & ~1u) - 2 * (uint32_t)elapsed;
		break;
	default:		/* runs on through zero */
		value = (uint32_t)((ch->ch_count + modulus -
		    elapsed % modulus) % modulus);
		break;
	}
	value %= modulus;
	if (ch->ch_bcd)
		value = value / 1000 << 12 | value / 100 % 10 << 8 |
		    value / 10 % 10 << 4 | value % 10;
	return ((uint16_t)value);
}

static uint32_t
channel_decode(const struct channel *ch, uint16_t v)
{
	uint32_t n = v;

	if (ch->ch_bcd)		/* digits above 9 count as they weigh */
		n = (v >> 12) * 1000u + (v >> 8 & 15) * 100u +
		    (v >> 4 & 15) * 10u + (v & 15);
	n %= channel_modulus(ch);
	return (n == 0 ? channel_modulus(ch) : n);
}

static void
channel_load(struct channel *ch, uint16_t v, uint64_t tick)
{
	uint32_t count = channel_decode(ch, v);

	/* a count of 1 is not legal in modes 2 and 3: the shortest is 2 */
	if (channel_periodic(ch) && count == 1)
		count = 2;
	if (channel_periodic(ch) && ch->ch_counting)
		channel_reload(ch, count, tick);
	else {
		ch->ch_count = count;
		if (ch->ch_mode != 1 && ch->ch_mode != 5) {
			ch->ch_start = tick + 1;	/* loaded at the next */
			ch->ch_counting = true;
			ch->ch_paused = 0;
		}
	}
	ch->ch_loaded = true;
}

static void
channel_set_gate(struct channel *ch, bool gate, uint64_t tick)
{
	if (gate == ch->ch_gate)
		return;
	(void)channel_sync(ch, tick);
	if (!gate)
		ch->ch_paused = channel_elapsed(ch, tick);
	ch->ch_gate = gate;
	if (!gate || !ch->ch_loaded)
		return;
	if (ch->ch_mode == 0 || ch->ch_mode == 4)	/* go on */
		ch->ch_start = tick - ch->ch_paused;
	else {						/* start anew */
		ch->ch_start = tick + 1;
		ch->ch_counting = true;
		if (ch->ch_reload != 0)
			ch->ch_count = ch->ch_reload;
		ch->ch_reload = 0;
	}
}

static void
channel_control(struct channel *ch, uint8_t v)
{
	uint8_t mode = CW_MODE(v);

	ch->ch_mode = mode > 5 ? mode & 3 : mode;	/* x10, x11 */
	ch->ch_access = CW_ACCESS(v);
	ch->ch_bcd = (v & CW_BCD) != 0;
	ch->ch_loaded = ch->ch_counting = false;
	ch->ch_high_next = ch->ch_write_high = false;
	ch->ch_latched = ch->ch_status_latched = false;
	ch->ch_count = channel_modulus(ch);
	ch->ch_reload = 0;
	ch->ch_paused = 0;
}

static void
channel_latch(struct channel *ch, uint64_t tick)
{
	if (!ch->ch_latched) {
		ch->ch_latch = channel_value(ch, tick);
		ch->ch_latched = true;
	}
}

static void
channel_latch_status(struct channel *ch, uint64_t tick)
{
	if (ch->ch_status_latched)
		return;
	ch->ch_status = (uint8_t)((channel_out(ch, tick) ? STATUS_OUT : 0) |
	    (!ch->ch_loaded || ch->ch_reload != 0 ? STATUS_NULL : 0) |
	    ch->ch_access << 4 | ch->ch_mode << 1 | ch->ch_bcd);
	ch->ch_status_latched = true;
}

static uint8_t
channel_read(struct channel *ch, uint64_t tick)
{
	uint16_t value;
	bool high;

	if (ch->ch_status_latched) {
		ch->ch_status_latched = false;
		return (ch->ch_status);
	}
	value = ch->ch_latched ? ch->ch_latch : channel_value(ch, tick);
	high = ch->ch_access == ACCESS_HIGH;
	if (ch->ch_access == ACCESS_BOTH) {
		high = ch->ch_high_next;
		ch->ch_high_next = !high;
	}
	if (ch->ch_access != ACCESS_BOTH || high)
		ch->ch_latched = false;
	return ((uint8_t)(high ? value >> 8 : value));
}

static void
channel_write(struct channel *ch, uint8_t v, uint64_t tick)
{
	switch (ch->ch_access) {
	case ACCESS_LOW:
		channel_load(ch, v, tick);
		break;
	case ACCESS_HIGH:
		channel_load(ch, (uint16_t)(v << 8), tick);
		break;
	default:
		if (!ch->ch_write_high) {
			ch->ch_write_low = v;
			if (ch->ch_mode == 0) {	/* the first byte stops it */
				ch->ch_counting = false;
				ch->ch_loaded = false;
			}
		} else
			channel_load(ch, (uint16_t)(v << 8 | ch->ch_write_low),
			    tick);
		ch->ch_write_high = !ch->ch_write_high;
		break;
	}
}

/* --- channel 0 and its interrupt ----------------------------------------- */

/* Rising edges of OUT from the cycle's start up to tick. */
static uint64_t
channel_edges(const struct channel *ch, uint64_t tick)
{
	uint64_t elapsed = channel_elapsed(ch, tick);

	if (!ch->ch_counting)
		return (0);
	switch (ch->ch_mode) {
	case 0:
		return (elapsed >= ch->ch_count);
	case 2:
	case 3:
		return (elapsed / ch->ch_count);
	case 4:
		return (elapsed >= ch->ch_count + 1ull);
	default:		/* modes 1 and 5: the gate never rises */
		return (0);
	}
}

/* Arms the timer for the edge after those delivered. */
static void
pit_arm(struct i8253 *p)
{
	struct channel *ch = &p->p_channel[0];
	uint64_t edge = p->p_delivered + 1, tick, when;

	if (!ch->ch_counting || (edge > 1 && !channel_periodic(ch)) ||
	    ch->ch_mode == 1 || ch->ch_mode == 5) {
		clock_timer_set(p->p_clock, p->p_timer, LOOP_NEVER);
		return;
	}
	tick = ch->ch_start + (ch->ch_mode == 4 ? 1 : 0) +
	    edge * ch->ch_count;
	if (ch->ch_reload != 0 && tick > ch->ch_takeover)
		tick = ch->ch_takeover;
	when = p->p_epoch + clock_ticks_ns(tick, I8253_HZ);
	if (when < p->p_last + MIN_GAP)
		when = p->p_last + MIN_GAP;
	clock_timer_set(p->p_clock, p->p_timer, when);
}

/* The guest reprogrammed channel 0: nothing of the past is owed. */
static void
pit_restart(struct i8253 *p, uint64_t tick)
{
	struct channel *ch = &p->p_channel[0];

	p->p_delivered = channel_edges(ch, tick);
	irq_set(&p->p_irq, 0);
	pit_arm(p);
}

static void
pit_timer(void *arg)
{
	struct i8253 *p = arg;
	struct channel *ch = &p->p_channel[0];
	uint64_t tick, edges, most, now, gap;

	pthread_mutex_lock(&p->p_lock);
	now = clock_now(p->p_clock);
	tick = clock_ticks(now - p->p_epoch, I8253_HZ);
	edges = channel_edges(ch, ch->ch_reload != 0 &&
	    ch->ch_takeover < tick ? ch->ch_takeover : tick);
	if (edges > p->p_delivered && !irq_waits(&p->p_irq)) {
		irq_set(&p->p_irq, 0);
		irq_set(&p->p_irq, 1);
		p->p_delivered++;
		p->p_last = now;
	}
	if (channel_sync(ch, tick)) {
		edges = channel_edges(ch, tick);
		p->p_delivered = 0;
	}
	if (edges > p->p_delivered) {
		gap = clock_ticks_ns(ch->ch_count, I8253_HZ);
		if (gap < 4 * MIN_GAP)
			gap = 4 * MIN_GAP;
		most = CATCH_UP_NS / gap;
		if (edges - p->p_delivered > most)
			p->p_delivered = edges - most;
		clock_timer_set(p->p_clock, p->p_timer, now + gap / 4);
	} else
		pit_arm(p);
	pthread_mutex_unlock(&p->p_lock);
}

/* --- ports --------------------------------------------------------------- */

static uint64_t
pit_read(void *arg, uint64_t offset, unsigned size)
{
	struct i8253 *p = arg;
	struct channel *ch;
	uint64_t value = 0xff, tick;

	(void)size;
	if (offset > 2)
		return (value);
	pthread_mutex_lock(&p->p_lock);
	tick = pit_tick(p);
	ch = &p->p_channel[offset];
	if (channel_sync(ch, tick) && offset == 0)
		p->p_delivered = 0;
	value = channel_read(ch, tick);
	pthread_mutex_unlock(&p->p_lock);
	return (value);
}

static void
pit_control(struct i8253 *p, uint8_t v, uint64_t tick)
{
	struct channel *ch;
	int n;

	if (CW_CHANNEL(v) != CW_READBACK) {
		ch = &p->p_channel[CW_CHANNEL(v)];
		if (CW_ACCESS(v) == ACCESS_LATCH)
			channel_latch(ch, tick);
		else {
			channel_control(ch, v);
			if (CW_CHANNEL(v) == 0)
				pit_restart(p, tick);
		}
		return;
	}
	for (n = 0; n < 3; n++) {
		if ((v & 2 << n) == 0)
			continue;
		ch = &p->p_channel[n];
		if ((v & RB_NO_COUNT) == 0)
			channel_latch(ch, tick);
		if ((v & RB_NO_STATUS) == 0)
			channel_latch_status(ch, tick);
	}
}

static void
pit_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct i8253 *p = arg;
	struct channel *ch;
	uint64_t tick;
	bool running;

	(void)size;
	pthread_mutex_lock(&p->p_lock);
	tick = pit_tick(p);
	if (offset == 3)
		pit_control(p, (uint8_t)value, tick);
	else {
		ch = &p->p_channel[offset];
		if (channel_sync(ch, tick) && offset == 0)
			p->p_delivered = 0;
		running = ch->ch_counting && channel_periodic(ch);
		channel_write(ch, (uint8_t)value, tick);
		if (offset == 0 && !running)
			pit_restart(p, tick);
		else if (offset == 0)
			pit_arm(p);
	}
	pthread_mutex_unlock(&p->p_lock);
}

static uint64_t
portb_read(void *arg, uint64_t offset, unsigned size)
{
	struct i8253 *p = arg;
	uint64_t value, now;

	(void)offset;
	(void)size;
	pthread_mutex_lock(&p->p_lock);
	now = clock_now(p->p_clock);
	value = p->p_portb;
	if ((now - p->p_epoch) / REFRESH_NS & 1)
		value |= PORTB_REFRESH;
	(void)channel_sync(&p->p_channel[2], pit_tick(p));
	if (channel_out(&p->p_channel[2], pit_tick(p)))
		value |= PORTB_OUT2;
	pthread_mutex_unlock(&p->p_lock);
	return (value);
}

static void
portb_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct i8253 *p = arg;

	(void)offset;
	(void)size;
	pthread_mutex_lock(&p->p_lock);
	p->p_portb = (uint8_t)value & PORTB_WRITABLE;
	channel_set_gate(&p->p_channel[2], (value & PORTB_GATE2) != 0,
	    pit_tick(p));
	pthread_mutex_unlock(&p->p_lock);
}

/* --- life ---------------------------------------------------------------- */

struct i8253 *
i8253_new(struct bus *ports, struct clock *clock, const struct irq *irq)
{
	struct i8253 *p;
	int error;

	if ((p = calloc(1, sizeof(*p))) == NULL)
		return (NULL);
	pthread_mutex_init(&p->p_lock, NULL);
	p->p_ports = ports;
	p->p_clock = clock;
	p->p_irq = *irq;
	p->p_epoch = clock_now(clock);
	p->p_window = (struct window){ .w_base = 0x40, .w_size = 4,
		.w_read = pit_read, .w_write = pit_write, .w_arg = p,
		.w_width = 1, .w_name = "i8253" };
	p->p_portb_window = (struct window){ .w_base = 0x61, .w_size = 1,
		.w_read = portb_read, .w_write = portb_write, .w_arg = p,
		.w_width = 1, .w_name = "port 61h" };
	p->p_timer = clock_timer_new(clock, pit_timer, p);
	if (p->p_timer == NULL)
		error = ENOMEM;
	else if ((error = bus_add(ports, &p->p_window)) == 0)
		error = bus_add(ports, &p->p_portb_window);
	if (error != 0) {
		i8253_free(p);
		errno = error;
		return (NULL);
	}
	i8253_reset(p);
	return (p);
}

void
i8253_free(struct i8253 *p)
{
	if (p == NULL)
		return;
	bus_remove(p->p_ports, &p->p_window);
	bus_remove(p->p_ports, &p->p_portb_window);
	clock_timer_free(p->p_clock, p->p_timer);
	pthread_mutex_destroy(&p->p_lock);
	free(p);
}

void
i8253_reset(struct i8253 *p)
{
	int n;

	pthread_mutex_lock(&p->p_lock);
	for (n = 0; n < 3; n++) {
		p->p_channel[n] = (struct channel){ .ch_gate = n != 2 };
		/* as firmware leaves them: mode 3, no count yet */
		channel_control(&p->p_channel[n], (uint8_t)(n << 6 |
		    ACCESS_BOTH << 4 | 3 << 1));
	}
	p->p_portb = 0;
	pit_restart(p, pit_tick(p));
	irq_set(&p->p_irq, 0);
	pthread_mutex_unlock(&p->p_lock);
}

static void
channel_state(struct channel *ch, struct state *s)
{
	state_u8_max(s, &ch->ch_mode, 5);
	state_u8_max(s, &ch->ch_access, ACCESS_BOTH);
	state_bool(s, &ch->ch_bcd);
	state_bool(s, &ch->ch_gate);
	state_bool(s, &ch->ch_loaded);
	state_bool(s, &ch->ch_counting);
	state_bool(s, &ch->ch_high_next);
	state_bool(s, &ch->ch_write_high);
	state_u8(s, &ch->ch_write_low);
	state_u32_max(s, &ch->ch_count, channel_modulus(ch));
	state_u32_max(s, &ch->ch_reload, channel_modulus(ch));
	state_u64(s, &ch->ch_takeover);
	state_u64(s, &ch->ch_start);
	state_u64(s, &ch->ch_paused);
	state_bool(s, &ch->ch_latched);
	state_bool(s, &ch->ch_status_latched);
	state_u16(s, &ch->ch_latch);
	state_u8(s, &ch->ch_status);
	if (ch->ch_count == 0 || ch->ch_access == ACCESS_LATCH)
		state_bad(s, "a channel without a count or a way to it");
}

/*
 * What pit_arm() relies on, so that each of its times comes and passes; NULL,
 * or what is wrong.
 */
static const char *
pit_wrong(const struct channel channel[3], uint64_t delivered, uint64_t tick)
{
	unsigned n;

	for (n = 0; n < 3; n++) {
		if (channel[n].ch_counting && channel[n].ch_start > tick + 1)
			return ("a channel comes from the future");
		if (channel[n].ch_reload != 0 && (!channel[n].ch_counting ||
		    !channel_periodic(&channel[n]) ||
		    channel[n].ch_takeover < channel[n].ch_start ||
		    channel[n].ch_takeover < channel[n].ch_reload / 2 + 1))
			return ("a count waits for a period that never ends");
	}
	if (!channel[0].ch_gate || !channel[1].ch_gate)
		return ("a channel's gate is not what it is tied to");
	if (delivered > channel_edges(&channel[0], tick))
		return ("more edges were delivered than there were");
	return (NULL);
}

void
i8253_state(struct i8253 *p, struct state *s)
{
	uint64_t epoch, delivered, last, now;
	struct channel channel[3];
	const char *why;
	uint8_t portb;
	unsigned n;

	pthread_mutex_lock(&p->p_lock);
	epoch = p->p_epoch;
	delivered = p->p_delivered;
	last = p->p_last;
	portb = p->p_portb;
	now = clock_now(p->p_clock);
	state_begin(s, "i8253", 0, 1);
	state_u64(s, &epoch);
	for (n = 0; n < 3; n++) {
		channel[n] = p->p_channel[n];
		channel_state(&channel[n], s);
	}
	state_u64(s, &delivered);
	state_u64(s, &last);
	state_u8_bits(s, &portb, PORTB_WRITABLE);
	if (epoch > now || last > now)
		state_bad(s, "it comes from the future");
	if (state_loaded(s) && (why = pit_wrong(channel, delivered,
	    clock_ticks(now - epoch, I8253_HZ))) != NULL)
		state_bad(s, why);
	if (state_loaded(s)) {
		p->p_epoch = epoch;
		for (n = 0; n < 3; n++)
			p->p_channel[n] = channel[n];
		p->p_delivered = delivered;
		p->p_last = last;
		p->p_portb = portb;
		pit_arm(p);
	}
	state_end(s);
	pthread_mutex_unlock(&p->p_lock);
}
