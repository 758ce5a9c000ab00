/*
 * A PC's firmware (SeaBIOS) instead of a kernel: its image, the CPU's state at
 * reset, and what it asks of the firmware configuration device.
 */
#ifndef MACHINE_FIRMWARE_H
#define MACHINE_FIRMWARE_H

#include <machine/vmmvar.h>

#include "machine/acpi.h"
#include "machine/boot.h"
#include "machine/device.h"
#include "machine/fw_cfg.h"

struct firmware;

/*
 * Reads the image at path, or where NULL says that this host's firmware is
 * (VMM_BIOS in the environment, else Debian's package). 1; 0 if the file is
 * something else or not to be read, which boot_load() will tell; -1 with err.
 */
int	firmware_open(struct firmware **, const char *path, struct err *);
/*
 * The same of the option ROM that boots from networks (VMM_NETBOOT in the
 * environment, else Debian's package). 0; -1 with err.
 */
int	firmware_open_netboot(struct firmware **, struct err *);
/* NULL is allowed. */
void	firmware_free(struct firmware *);
/* The image as ROM below 4 GiB, and the port of its log. 0 or an errno; after
 * either, firmware_unmap() ends it. */
int	firmware_map(struct firmware *, struct bus *ports, struct bus *memory);
void	firmware_unmap(struct firmware *, struct bus *ports,
	    struct bus *memory);

/* Where SeaBIOS looks for option ROMs that are no device's. */
#define NETBOOT_FILE	"genroms/netboot.rom"

/* What the firmware finds out from its configuration device. */
struct firmware_config {
	const struct memmap *fc_map;
	unsigned	 fc_nmap;
	const struct acpi_config *fc_acpi;
	const char	*fc_bootorder;	/* lines of device paths */
	const struct firmware *fc_netboot;	/* the option ROM, or NULL */
};
/* 0 or an errno. */
int	firmware_configure(struct fw_cfg *, const struct firmware_config *);

/* The shadow copy below 1 MiB, and the CPU at the reset vector in it. */
void	firmware_load(const struct firmware *, const struct guest_memory *,
	    struct vcpu_reg_state *);

#endif
