/*
 * ACPI's fixed hardware (ACPI 6.4, 4.8.3): the PM1 event and control
 * registers, the power management timer, the SCI.
 *
 * 1. The machine is in ACPI mode from power-on: SCI_EN reads as 1, there is no
 *    SMI command port.
 * 2. The SCI is asserted while an enabled status bit is set.
 * 3. The timer has 24 bits. TMR_STS is set each time its top bit changes; it
 *    is brought up to date when somebody looks, and by a timer while enabled.
 *
 * Threads: ports on VCPU threads, the timer on the I/O thread, the button on
 * any; one lock [m].
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "machine/power.h"

#define STS_TIMER	0x0001
#define STS_BM		0x0010
#define STS_GLOBAL	0x0020
#define STS_BUTTON	0x0100
#define STS_SLEEP	0x0200
#define STS_RTC		0x0400
#define STS_WAKE	0x8000
#define STS_ALL		(STS_TIMER | STS_BM | STS_GLOBAL | STS_BUTTON | \
			STS_SLEEP | STS_RTC | STS_WAKE)
#define EN_ALL		(STS_TIMER | STS_GLOBAL | STS_BUTTON | STS_SLEEP | \
			STS_RTC)
#define CNT_SCI_EN	0x0001
#define CNT_WRITABLE	0x1c02		/* SLP_TYP, BM_RLD */
#define CNT_SLP_TYP(v)	(((v) >> 10) & 7)
#define CNT_SLP_EN	0x2000
#define TIMER_MASK	0xffffff
#define TIMER_TOP	0x800000ull

struct acpi_pm {
	pthread_mutex_t	 a_lock;
	uint16_t	 a_status, a_enable, a_control;	/* [m] */
	bool		 a_pressed, a_seen;	/* [m] the button; by the guest */
	uint64_t	 a_tops;	/* [m] changes of the top bit seen */
	uint64_t	 a_epoch;	/* [m] ns of tick 0 */
	struct clock	*a_clock;	/* [I] */
	struct clock_timer *a_timer;	/* [I] */
	struct irq	 a_sci;		/* [I] */
	struct power	 a_power;	/* [I] */
	struct bus	*a_ports;	/* [I] */
	struct window	 a_event, a_cnt, a_tmr;
};

static uint64_t
pm_ticks(struct acpi_pm *a)
{
	return (clock_ticks(clock_now(a->a_clock) - a->a_epoch, ACPI_PM_HZ));
}

/* Brings TMR_STS, the SCI and the timer in line with the time and registers. */
static void
pm_update(struct acpi_pm *a)
{
	uint64_t tops = pm_ticks(a) / TIMER_TOP;

	if (tops != a->a_tops) {
		a->a_tops = tops;
		a->a_status |= STS_TIMER;
	}
	irq_set(&a->a_sci, (a->a_status & a->a_enable) != 0);
	if ((a->a_enable & STS_TIMER) && (a->a_status & STS_TIMER) == 0)
		clock_timer_set(a->a_clock, a->a_timer, a->a_epoch +
		    clock_ticks_ns((tops + 1) * TIMER_TOP, ACPI_PM_HZ));
	else
		clock_timer_set(a->a_clock, a->a_timer, LOOP_NEVER);
}

static void
pm_timer(void *arg)
{
	struct acpi_pm *a = arg;

	pthread_mutex_lock(&a->a_lock);
	pm_update(a);
	pthread_mutex_unlock(&a->a_lock);
}

static uint64_t
event_read(void *arg, uint64_t offset, unsigned size)
{
	struct acpi_pm *a = arg;
	uint64_t v;

	(void)size;
	pthread_mutex_lock(&a->a_lock);
	pm_update(a);
	v = ((uint64_t)a->a_enable << 16 | a->a_status) >> (offset * 8);
	pthread_mutex_unlock(&a->a_lock);
	return (v);
}

static void
event_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct acpi_pm *a = arg;
	uint32_t mask = (size >= 4 ? ~0u : (1u << (size * 8)) - 1) <<
	    (offset * 8);
	uint32_t v = (uint32_t)(value << (offset * 8));

	pthread_mutex_lock(&a->a_lock);
	pm_update(a);
	a->a_status &= (uint16_t)~(v & mask);		/* write 1 to clear */
	if (v & mask & STS_BUTTON)
		a->a_seen = a->a_pressed;
	mask >>= 16;
	a->a_enable = (uint16_t)(((a->a_enable & ~mask) | (v >> 16 & mask)) &
	    EN_ALL);
	pm_update(a);
	pthread_mutex_unlock(&a->a_lock);
}

static uint64_t
control_read(void *arg, uint64_t offset, unsigned size)
{
	struct acpi_pm *a = arg;
	uint64_t v;

	(void)size;
	pthread_mutex_lock(&a->a_lock);
	v = (uint64_t)(a->a_control | CNT_SCI_EN) >> (offset * 8);
	pthread_mutex_unlock(&a->a_lock);
	return (v);
}

static void
control_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct acpi_pm *a = arg;
	uint32_t mask = ((size >= 2 ? 0xffffu : 0xffu) << (offset * 8)) &
	    0xffff;
	uint32_t v = (uint32_t)(value << (offset * 8)) & mask;

	pthread_mutex_lock(&a->a_lock);
	a->a_control = (uint16_t)(((a->a_control & ~mask) | v) &
	    CNT_WRITABLE);
	if ((v & CNT_SLP_EN) && CNT_SLP_TYP(a->a_control) == ACPI_SLP_TYP_S5)
		power_off(&a->a_power);
	pthread_mutex_unlock(&a->a_lock);
}

static uint64_t
timer_read(void *arg, uint64_t offset, unsigned size)
{
	struct acpi_pm *a = arg;
	uint64_t ticks;

	(void)size;
	pthread_mutex_lock(&a->a_lock);
	ticks = pm_ticks(a);
	pthread_mutex_unlock(&a->a_lock);
	return ((ticks & TIMER_MASK) >> (offset * 8));
}

static void
timer_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	(void)arg;
	(void)offset;
	(void)size;
	(void)value;
}

void
acpi_pm_button(struct acpi_pm *a)
{
	pthread_mutex_lock(&a->a_lock);
	a->a_status |= STS_BUTTON;
	a->a_pressed = true;
	pm_update(a);
	pthread_mutex_unlock(&a->a_lock);
}

enum acpi_button
acpi_pm_button_state(struct acpi_pm *a)
{
	enum acpi_button state;

	pthread_mutex_lock(&a->a_lock);
	/* one that shuts down disables it again */
	if (a->a_seen)
		state = ACPI_BUTTON_SEEN;
	else if (a->a_enable & STS_BUTTON)
		state = ACPI_BUTTON_WAITS;
	else
		state = ACPI_BUTTON_OFF;
	pthread_mutex_unlock(&a->a_lock);
	return (state);
}

struct acpi_pm *
acpi_pm_new(struct bus *ports, struct clock *clock, const struct irq *sci,
    const struct power *power)
{
	struct acpi_pm *a;
	int error;

	if ((a = calloc(1, sizeof(*a))) == NULL)
		return (NULL);
	pthread_mutex_init(&a->a_lock, NULL);
	a->a_ports = ports;
	a->a_clock = clock;
	a->a_sci = *sci;
	a->a_power = *power;
	a->a_epoch = clock_now(clock);
	a->a_event = (struct window){ .w_base = ACPI_PM1_EVENT, .w_size = 4,
		.w_read = event_read, .w_write = event_write, .w_arg = a,
		.w_name = "pm1 event" };
	a->a_cnt = (struct window){ .w_base = ACPI_PM1_CONTROL, .w_size = 2,
		.w_read = control_read, .w_write = control_write, .w_arg = a,
		.w_name = "pm1 control" };
	a->a_tmr = (struct window){ .w_base = ACPI_PM_TIMER, .w_size = 4,
		.w_read = timer_read, .w_write = timer_write, .w_arg = a,
		.w_name = "pm timer" };
	if ((a->a_timer = clock_timer_new(clock, pm_timer, a)) == NULL)
		error = ENOMEM;
	else if ((error = bus_add(ports, &a->a_event)) == 0 &&
	    (error = bus_add(ports, &a->a_cnt)) == 0)
		error = bus_add(ports, &a->a_tmr);
	if (error != 0) {
		acpi_pm_free(a);
		errno = error;
		return (NULL);
	}
	return (a);
}

void
acpi_pm_free(struct acpi_pm *a)
{
	if (a == NULL)
		return;
	bus_remove(a->a_ports, &a->a_event);
	bus_remove(a->a_ports, &a->a_cnt);
	bus_remove(a->a_ports, &a->a_tmr);
	clock_timer_free(a->a_clock, a->a_timer);
	pthread_mutex_destroy(&a->a_lock);
	free(a);
}

void
acpi_pm_reset(struct acpi_pm *a)
{
	pthread_mutex_lock(&a->a_lock);
	a->a_status = a->a_enable = a->a_control = 0;
	a->a_pressed = a->a_seen = false;
	a->a_tops = pm_ticks(a) / TIMER_TOP;
	pm_update(a);
	pthread_mutex_unlock(&a->a_lock);
}

void
acpi_pm_state(struct acpi_pm *a, struct state *s)
{
	uint64_t epoch;

	pthread_mutex_lock(&a->a_lock);
	if (!s->s_loading)
		pm_update(a);
	epoch = a->a_epoch;
	state_begin(s, "ACPI registers", 0, 1);
	state_u16_bits(s, &a->a_status, STS_ALL);
	state_u16_bits(s, &a->a_enable, EN_ALL);
	state_u16_bits(s, &a->a_control, CNT_WRITABLE);
	state_bool(s, &a->a_pressed);
	state_bool(s, &a->a_seen);
	state_u64(s, &a->a_tops);
	state_u64(s, &epoch);
	if (epoch > clock_now(a->a_clock))
		state_bad(s, "the timer began in the future");
	if (state_loaded(s)) {
		a->a_epoch = epoch;
		pm_update(a);
	}
	state_end(s);
	pthread_mutex_unlock(&a->a_lock);
}
