/*
 * The other side of a virtio device: a piece of PC with RAM, PCI and one
 * interrupt line, and a driver that works through either window.
 *
 * Everything the device writes to RAM must be reported: fake_pc_check()
 * compares RAM with a shadow that only reports and the driver's own writes
 * reach.
 */
#ifndef TESTS_VIRTDRV_H
#define TESTS_VIRTDRV_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "machine/device.h"
#include "machine/pci.h"

#define DRV_QUEUES	3
#define DRV_SIZE_MAX	256

struct fake_pc {
	uint8_t		*ram, *shadow;
	size_t		 size;
	uint64_t	 brk;		/* where pc_alloc() goes on */
	struct guest_memory gm;
	struct bus	*ports, *memory;
	struct pci	*pci;
	struct irq	 irq;
	atomic_int	 level;
	atomic_uint	 raised;	/* how often the line went up */
};

void	 fake_pc_new(struct fake_pc *, size_t size);
void	 fake_pc_free(struct fake_pc *);
/* What has to be done after the devices are there. */
void	 fake_pc_start(struct fake_pc *);
uint64_t pc_alloc(struct fake_pc *, size_t len, size_t align);
void	 pc_put(struct fake_pc *, uint64_t gpa, const void *, size_t);
void	 pc_fill(struct fake_pc *, uint64_t gpa, uint8_t byte, size_t);
/* True if every byte that differs was reported. */
bool	 fake_pc_check(struct fake_pc *);
uint32_t pc_config_read(struct fake_pc *, unsigned slot, unsigned reg,
	    unsigned size);
void	 pc_config_write(struct fake_pc *, unsigned slot, unsigned reg,
	    unsigned size, uint32_t);

struct seg {
	uint64_t	 gpa;
	uint32_t	 len;
	bool		 write;		/* by the device */
};

struct drvq {
	unsigned	 size;
	uint64_t	 desc, avail, used;
	uint16_t	 avail_idx, used_idx;
	uint16_t	 free[DRV_SIZE_MAX];
	unsigned	 nfree;
	uint8_t		 chain[DRV_SIZE_MAX];	/* its length, by head */
	uint64_t	 table[DRV_SIZE_MAX];	/* indirect table, by head */
};

struct drv {
	struct fake_pc	*pc;
	unsigned	 slot;
	bool		 modern;
	uint64_t	 io;			/* BAR 0 */
	uint64_t	 common, notify, isr, device;	/* gpa of the regions */
	uint32_t	 notify_mult, device_len;
	uint8_t		 pci_cfg;		/* offset of the capability */
	uint64_t	 features;		/* agreed */
	struct drvq	 q[DRV_QUEUES];
};

/* Finds the windows. */
void	 drv_attach(struct drv *, struct fake_pc *, unsigned slot, bool modern);
uint64_t drv_offered(struct drv *);
void	 drv_set_status(struct drv *, uint8_t);
uint8_t	 drv_status(struct drv *);
uint8_t	 drv_isr(struct drv *);
/* The device's configuration, byte by byte. */
void	 drv_config(struct drv *, unsigned offset, void *, size_t);
/* Reset to FEATURES_OK (modern) or features written (legacy). */
void	 drv_negotiate(struct drv *, uint64_t features);
/* Allocates and sets up a queue; size 0: as large as offered. */
void	 drv_queue(struct drv *, unsigned q, unsigned size);
void	 drv_queue_at(struct drv *, unsigned q, unsigned size, uint64_t desc,
	    uint64_t avail, uint64_t used);
/* All of it, nqueues queues, DRIVER_OK. */
void	 drv_up(struct drv *, uint64_t features, unsigned nqueues);
/* Makes a chain available; its head. */
uint16_t drv_add(struct drv *, unsigned q, const struct seg *, unsigned n,
	    bool indirect);
void	 drv_kick(struct drv *, unsigned q);
/* Takes a used chain; waits up to ten seconds for it if told to. */
bool	 drv_get(struct drv *, unsigned q, uint16_t *head, uint32_t *len,
	    bool wait);
/* Is DEVICE_NEEDS_RESET set? */
bool	 drv_broken(struct drv *);

#define F_INDIRECT	(1ULL << 28)
#define F_EVENT_IDX	(1ULL << 29)
#define F_VERSION_1	(1ULL << 32)

#endif
