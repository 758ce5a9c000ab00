/*
 * The interrupt lines: from the ends that chips pull to the i8259 pair, the
 * IOAPIC and the VCPU.
 *
 * 1. A line is asserted while any of its ends asserts it, and the controllers
 *    hear of it when that changes.
 * 2. IRQ n is pin n of the i8259 pair and of the IOAPIC, but for the timer,
 *    which is pin 2 of the latter.
 *
 * Threads: any; m_wire_lock is taken after a device's lock and before the
 * i8259's.
 */
#include "machine/board.h"

#include <assert.h>
#include <string.h>

/* The IOAPIC's input. */
static uint32_t
wire_pin(const struct wire *w)
{
	return (w->w_line == IRQ_TIMER ? 2 : w->w_line);
}

static void
wire_set(void *arg, unsigned unused, int level)
{
	struct wire *w = arg;
	struct machine *m = w->w_machine;
	uint32_t *line = &m->m_line[w->w_line], old;
	struct vmm_irqline_params vil;

	(void)unused;
	pthread_mutex_lock(&m->m_wire_lock);
	old = *line;
	if (level)
		*line |= w->w_bit;
	else
		*line &= ~w->w_bit;
	if ((old != 0) != (*line != 0)) {
		i8259_set(m->m_pic, w->w_line, *line != 0);
		vil.vil_vm_id = m->m_id;
		vil.vil_line = wire_pin(w);
		vil.vil_level = *line != 0;
		if (m->m_id != 0)
			(void)vmm_ioctl(m->m_vmm, VMM_IOC_IRQLINE, &vil);
	}
	pthread_mutex_unlock(&m->m_wire_lock);
}

/* The IOAPIC tells, if it is what the guest uses; else the i8259. */
static bool
wire_waits(void *arg, unsigned unused)
{
	struct wire *w = arg;
	struct machine *m = w->w_machine;
	struct vmm_irqstate_params vis = { .vis_vm_id = m->m_id,
		.vis_line = wire_pin(w) };

	(void)unused;
	if (vmm_ioctl(m->m_vmm, VMM_IOC_IRQSTATE, &vis) == 0 &&
	    vis.vis_state != VMM_IRQ_CLOSED)
		return (vis.vis_state == VMM_IRQ_WAITING);
	return (i8259_waits(m->m_pic, w->w_line));
}

struct irq
wires_irq(struct machine *m, unsigned line)
{
	struct wire *w;

	assert(m->m_nwires < BOARD_WIRES && line < BOARD_LINES);
	w = &m->m_wire[m->m_nwires];
	*w = (struct wire){ .w_machine = m, .w_line = line,
		.w_bit = 1u << m->m_nwires };
	m->m_nwires++;
	return ((struct irq){ .i_set = wire_set, .i_waits = wire_waits,
	    .i_arg = w, .i_line = line });
}

void
wires_intr(void *arg, int level)
{
	struct machine *m = arg;
	struct vm_intr_params vip = { .vip_vm_id = m->m_id,
		.vip_vcpu_id = 0, .vip_intr = (uint16_t)level };

	if (m->m_id != 0)
		(void)vmm_ioctl(m->m_vmm, VMM_IOC_INTR, &vip);
}

void
wires_state(struct machine *m, struct state *s)
{
	uint32_t line[BOARD_LINES];
	unsigned i;

	pthread_mutex_lock(&m->m_wire_lock);
	memcpy(line, m->m_line, sizeof(line));
	state_begin(s, "interrupt lines", 0, 1);
	for (i = 0; i < BOARD_LINES; i++)
		state_u32(s, &line[i]);
	if (state_loaded(s))
		memcpy(m->m_line, line, sizeof(line));
	state_end(s);
	pthread_mutex_unlock(&m->m_wire_lock);
}
