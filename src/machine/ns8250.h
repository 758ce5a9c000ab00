/*
 * A serial port, NS16550A compatible; see ns8250.c.
 */
#ifndef MACHINE_NS8250_H
#define MACHINE_NS8250_H

#include "base/loop.h"
#include "machine/device.h"

struct ns8250;

struct ns8250_config {
	uint64_t	 nc_base;	/* first of 8 ports */
	struct irq	 nc_irq;
	struct loop	*nc_loop;	/* watches nc_in */
	int		 nc_in, nc_out;	/* borrowed descriptors, -1: none */
	/* what the guest gets for an input byte: 0 to 2 bytes; or NULL */
	size_t		(*nc_filter)(void *arg, uint8_t byte, uint8_t out[2]);
	void		*nc_arg;
};

/* Before the loop runs. NULL and errno. */
struct ns8250	*ns8250_new(struct bus *ports, const struct ns8250_config *);
/* Drops what was not yet written. After the loop has ended. */
void		 ns8250_free(struct ns8250 *);
void		 ns8250_reset(struct ns8250 *);
void		 ns8250_state(struct ns8250 *, struct state *);
/* Waits until all output is written, as long as the other end takes some of it
 * every stall_ms; false if it gave up. Not on the loop's thread's hot path. */
bool		 ns8250_drain(struct ns8250 *, unsigned stall_ms);

#endif
