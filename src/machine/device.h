/*
 * What a device of the virtual PC sees of it: windows, an interrupt line, guest
 * memory, time. A device never sees interrupt controllers, the board or vmm(4).
 *
 * Threads: window handlers run on a VCPU's thread; timers and descriptors on
 * the I/O thread (base/loop.h); disk completions on a disk's thread. Each
 * device has its own lock, taken at each of these doors. Lock order: device ->
 * irq_set() (interrupt controllers) -> vmm.
 *
 * What a device has for struct state (base/state.h) saves and loads it while no
 * VCPU runs and the loop stands still. Loading makes its line and its timer
 * what the registers say.
 */
#ifndef MACHINE_DEVICE_H
#define MACHINE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/state.h"

/* --- windows ------------------------------------------------------------- */

/*
 * A range of ports or of guest-physical addresses. Offsets are from its start;
 * size is 1, 2, 4 (8 for memory), at most w_width, and the access lies inside
 * the window: wider and crossing ones come as bytes, as on ISA. An access that
 * no window covers reads as all ones and drops writes.
 */
struct window {
	uint64_t	 w_base;
	uint64_t	 w_size;
	uint64_t	(*w_read)(void *arg, uint64_t offset, unsigned size);
	void		(*w_write)(void *arg, uint64_t offset, unsigned size,
			    uint64_t value);
	void		*w_arg;
	const char	*w_name;
	uint8_t		 w_width;	/* widest access taken; 0: any */
	struct window	*w_next;	/* the bus's */
};

struct bus;		/* bus.c: sorted windows; one for ports, one for memory */

struct bus	*bus_new(void);
void		 bus_free(struct bus *);
/* The window is the caller's and stays where it is until removed. EBUSY if it
 * overlaps another. Windows may move while VCPUs run (PCI BARs). */
int		 bus_add(struct bus *, struct window *);
void		 bus_remove(struct bus *, struct window *);
uint64_t	 bus_read(struct bus *, uint64_t addr, unsigned size);
void		 bus_write(struct bus *, uint64_t addr, unsigned size,
		    uint64_t);

/* --- interrupt lines ----------------------------------------------------- */

/* A wire to the interrupt controllers. Level 1 = asserted. Any thread. */
struct irq {
	void	(*i_set)(void *arg, unsigned line, int level);
	/* Does the last edge still wait for the guest to take it? NULL: who
	 * knows. */
	bool	(*i_waits)(void *arg, unsigned line);
	void	*i_arg;
	unsigned i_line;
};

static inline void
irq_set(const struct irq *irq, int level)
{
	irq->i_set(irq->i_arg, irq->i_line, level);
}

static inline bool
irq_waits(const struct irq *irq)
{
	return (irq->i_waits != NULL && irq->i_waits(irq->i_arg, irq->i_line));
}

/* --- guest memory -------------------------------------------------------- */

/* The RAM as this process maps it. Hostile: it changes while you look. */
struct guest_memory {
	struct {
		uint64_t gpa;
		uint8_t	*host;
		size_t	 size;
	}	 gm_range[4];
	unsigned gm_nranges;
	/* Reports that [gpa, +len) was written (vmm.h: VMM_IOC_WRITTEN). */
	void	(*gm_written)(void *arg, uint64_t gpa, size_t len);
	void	*gm_arg;
};

/* Host address of [gpa, gpa + len), or NULL unless all of it is RAM in one
 * range. Any thread. */
void	*gpa_host(const struct guest_memory *, uint64_t gpa, size_t len);
/* false outside RAM; gpa_write() reports the write */
bool	 gpa_read(const struct guest_memory *, uint64_t gpa, void *, size_t);
bool	 gpa_write(const struct guest_memory *, uint64_t gpa, const void *,
	    size_t);
/* After writing through gpa_host(). */
void	 gpa_written(const struct guest_memory *, uint64_t gpa, size_t len);

#endif
