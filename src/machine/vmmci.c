/*
 * OpenBSD's VMM control interface (vmmci(4)): a virtio device without queues.
 * Its configuration holds a command of the host's and the host's time:
 *
 *	 0	4 bytes	command, VMMCI_*; the guest stores one that it took
 *	 4	8 bytes	the host's time, seconds since 1970
 *	12	8 bytes	and microseconds
 *
 * 1. A command is announced by the configuration change interrupt. It stands
 *    there until another replaces it or the machine or the driver is reset; a
 *    clock to be set is taken back when that was acknowledged.
 * 2. A command to shut down has been seen when the guest acknowledged it, or,
 *    if it did not agree to do so, when it read it. A guest that shuts down of
 *    its own accord may say so by the same store.
 * 3. The time is taken when the guest reads seconds; microseconds belong to
 *    the seconds read last.
 *
 * Threads: windows on the VCPU's, commands on any; the device lock.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "machine/virtio.h"
#include "machine/vmmci.h"

#define VMMCI_NONE	0
#define VMMCI_SHUTDOWN	1
#define VMMCI_REBOOT	2		/* never sent; a guest may say it */
#define VMMCI_SYNCRTC	3

#define VMMCI_F_TIMESYNC (1ULL << 0)
#define VMMCI_F_ACK	(1ULL << 1)
#define VMMCI_F_SYNCRTC	(1ULL << 2)

#define CONFIG_COMMAND	0
#define CONFIG_SECONDS	4
#define CONFIG_MICROS	12
#define CONFIG_SIZE	20

struct vmmci {
	struct virtio	 c_virtio;	/* its lock guards what follows */
	struct clock	*c_clock;	/* [I] */
	uint32_t	 c_command;	/* as v_config has it */
	uint8_t		 c_stored[4];	/* what the guest stores, by bytes */
	bool		 c_seen;	/* that it is to shut down */
};

static void
set_command(struct vmmci *c, uint32_t command)
{
	uint32_t le = htole32(command);

	c->c_command = command;
	memcpy(c->c_virtio.v_config + CONFIG_COMMAND, &le, sizeof(le));
}

static void
set_time(struct vmmci *c)
{
	uint64_t wall = clock_wall(c->c_clock);
	uint64_t seconds = htole64(wall / NS_PER_SECOND);
	uint64_t micros = htole64(wall % NS_PER_SECOND / 1000);

	memcpy(c->c_virtio.v_config + CONFIG_SECONDS, &seconds,
	    sizeof(seconds));
	memcpy(c->c_virtio.v_config + CONFIG_MICROS, &micros, sizeof(micros));
}

static void
ci_config_read(void *arg, uint32_t offset, unsigned size)
{
	struct vmmci *c = arg;

	if (offset < CONFIG_SECONDS && c->c_command == VMMCI_SHUTDOWN &&
	    !virtio_has(&c->c_virtio, VMMCI_F_ACK))
		c->c_seen = true;
	if (offset < CONFIG_MICROS && offset + size > CONFIG_SECONDS)
		set_time(c);
}

static void
ci_config_write(void *arg, uint32_t offset, uint8_t value)
{
	struct vmmci *c = arg;
	uint32_t command;

	if (offset >= sizeof(c->c_stored))
		return;
	c->c_stored[offset] = value;
	if (offset != sizeof(c->c_stored) - 1)
		return;			/* the last byte completes it */
	memcpy(&command, c->c_stored, sizeof(command));
	command = le32toh(command);
	if (command == VMMCI_SHUTDOWN)
		c->c_seen = true;
	else if (command == VMMCI_SYNCRTC && c->c_command == VMMCI_SYNCRTC)
		set_command(c, VMMCI_NONE);
}

/* The driver is gone, or comes: nothing has been said to it yet. */
static void
ci_reset(void *arg)
{
	struct vmmci *c = arg;

	set_command(c, VMMCI_NONE);
	memset(c->c_stored, 0, sizeof(c->c_stored));
}

static void
ci_state(void *arg, struct state *s)
{
	struct vmmci *c = arg;
	uint32_t command = c->c_command;

	state_u32_max(s, &command, VMMCI_SYNCRTC);
	state_bytes(s, c->c_stored, sizeof(c->c_stored));
	state_bool(s, &c->c_seen);
	state_bytes(s, c->c_virtio.v_config + CONFIG_SECONDS,
	    CONFIG_SIZE - CONFIG_SECONDS);
	if (state_loaded(s))
		set_command(c, command);
}

static const struct virtio_ops ci_ops = {
	.vo_name	= "vmmci",
	.vo_id		= 0xffff,
	.vo_vendor	= 0x0b5d,	/* OpenBSD */
	.vo_pci_id	= 0x0777,
	.vo_class	= 0x07,		/* communication, */
	.vo_subclass	= 0x80,		/* of another kind */
	.vo_features	= VMMCI_F_TIMESYNC | VMMCI_F_ACK | VMMCI_F_SYNCRTC,
	.vo_config_size	= CONFIG_SIZE,
	.vo_reset	= ci_reset,
	.vo_config_read	= ci_config_read,
	.vo_config_write = ci_config_write,
	.vo_state	= ci_state,
};

static bool
listens(const struct vmmci *c)
{
	return ((c->c_virtio.v_status & VIRTIO_STATUS_DRIVER_OK) != 0);
}

void
vmmci_shutdown(struct vmmci *c)
{
	pthread_mutex_lock(&c->c_virtio.v_lock);
	if (listens(c)) {
		set_command(c, VMMCI_SHUTDOWN);
		virtio_config_changed(&c->c_virtio);
	}
	pthread_mutex_unlock(&c->c_virtio.v_lock);
}

void
vmmci_sync(struct vmmci *c)
{
	pthread_mutex_lock(&c->c_virtio.v_lock);
	if (listens(c) && virtio_has(&c->c_virtio, VMMCI_F_SYNCRTC) &&
	    c->c_command != VMMCI_SHUTDOWN) {
		set_command(c, VMMCI_SYNCRTC);
		virtio_config_changed(&c->c_virtio);
	}
	pthread_mutex_unlock(&c->c_virtio.v_lock);
}

enum vmmci_guest
vmmci_guest(struct vmmci *c)
{
	enum vmmci_guest guest;

	pthread_mutex_lock(&c->c_virtio.v_lock);
	/* a driver may go while its guest shuts down */
	if (c->c_seen)
		guest = VMMCI_SEEN;
	else
		guest = listens(c) ? VMMCI_LISTENS : VMMCI_ABSENT;
	pthread_mutex_unlock(&c->c_virtio.v_lock);
	return (guest);
}

int
vmmci_new(struct vmmci **cp, const struct guest_memory *memory,
    struct clock *clock, struct pci *pci, const struct irq *irq)
{
	struct vmmci *c;

	if ((c = calloc(1, sizeof(*c))) == NULL)
		return (-1);
	c->c_clock = clock;
	if (virtio_init(&c->c_virtio, &ci_ops, c, memory, pci, irq) == -1) {
		free(c);
		return (-1);
	}
	*cp = c;
	return (0);
}

void
vmmci_reset(struct vmmci *c)
{
	virtio_reset(&c->c_virtio);
	pthread_mutex_lock(&c->c_virtio.v_lock);
	c->c_seen = false;
	pthread_mutex_unlock(&c->c_virtio.v_lock);
}

void
vmmci_free(struct vmmci *c)
{
	if (c == NULL)
		return;
	virtio_fini(&c->c_virtio);
	free(c);
}

void
vmmci_state(struct vmmci *c, struct state *s)
{
	virtio_state(&c->c_virtio, s);
}
