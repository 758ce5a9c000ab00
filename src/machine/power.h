/*
 * What a chip may ask of the machine as a whole, and the small chips that do:
 * i8042.c, reset.c, acpi_pm.c.
 *
 * The requests are noted and carried out after the VCPU's current exit. Any
 * thread; a chip's lock may be held.
 */
#ifndef MACHINE_POWER_H
#define MACHINE_POWER_H

#include "machine/clock.h"
#include "machine/device.h"

struct power {
	void	(*pw_reset)(void *arg);		/* as the reset button */
	void	(*pw_off)(void *arg);		/* soft off */
	void	*pw_arg;
};

static inline void
power_reset(const struct power *pw)
{
	pw->pw_reset(pw->pw_arg);
}

static inline void
power_off(const struct power *pw)
{
	pw->pw_off(pw->pw_arg);
}

/* The keyboard controller, ports 60h and 64h, nothing plugged in. */
struct i8042;

struct i8042	*i8042_new(struct bus *ports, const struct power *);
void		 i8042_free(struct i8042 *);
void		 i8042_reset(struct i8042 *);
void		 i8042_state(struct i8042 *, struct state *);

/* System control port A (92h), the reset register (CF9h), port 80h. */
struct reset;

#define RESET_PORT	0xcf9
#define RESET_VALUE	0x06		/* hard reset, for ACPI's table */

struct reset	*reset_new(struct bus *ports, const struct power *);
void		 reset_free(struct reset *);
void		 reset_reset(struct reset *);
void		 reset_state(struct reset *, struct state *);
/* CF9 lies inside PCI's address register, which hands it on. */
const struct window *reset_window(struct reset *);

/* ACPI's fixed hardware: PM1 event and control blocks and the PM timer. */
struct acpi_pm;

#define ACPI_PM1_EVENT	0x600		/* 4 ports */
#define ACPI_PM1_CONTROL 0x604		/* 2 ports */
#define ACPI_PM_TIMER	0x608		/* 4 ports */
#define ACPI_PM_HZ	3579545
#define ACPI_SLP_TYP_S5	5

/* irq is the SCI, level. The clock is borrowed. */
struct acpi_pm	*acpi_pm_new(struct bus *ports, struct clock *,
		    const struct irq *, const struct power *);
void		 acpi_pm_free(struct acpi_pm *);
void		 acpi_pm_reset(struct acpi_pm *);
void		 acpi_pm_state(struct acpi_pm *, struct state *);
/* The power button was pressed. Any thread. */
void		 acpi_pm_button(struct acpi_pm *);
/* What the guest has done about that: it has the button's event disabled, it
 * has not looked at it, it has. That stays until a reset. Any thread. */
enum acpi_button { ACPI_BUTTON_OFF, ACPI_BUTTON_WAITS, ACPI_BUTTON_SEEN };
enum acpi_button acpi_pm_button_state(struct acpi_pm *);

#endif
