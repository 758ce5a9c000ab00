/*
 * The board: which devices the machine has and how their interrupt lines run.
 * This file alone knows; everything else walks its table.
 *
 * 1. Rows are made top to bottom and ended bottom to top. A row's free is only
 *    called after its new, which may have failed halfway.
 * 2. Lines of PCI and ACPI are level-triggered, the others edge-triggered.
 *
 * Threads: see board.h.
 */
#include "machine/board.h"
#include "machine/fw_cfg.h"

#include <errno.h>
#include <string.h>

/* --- interrupt lines ----------------------------------------------------- */

/* The lines of PCI slots 1, 2, ... in order; then again from the first. */
static const uint8_t slot_line[] = { 10, 11, 5, 3, 6, 7, 12, 14, 15 };
#define PCI_LINES	((uint16_t)(1u << 10 | 1u << 11 | 1u << 5 | 1u << 3 | \
			1u << 6 | 1u << 7 | 1u << 12 | 1u << 14 | 1u << 15))

/* GSI of PCI slot n (from 1). */
static unsigned
board_slot_line(unsigned slot)
{
	return (slot_line[(slot - 1) % sizeof(slot_line)]);
}

/* The line of the next PCI slot. */
static struct irq
board_slot_irq(struct machine *m)
{
	return (wires_irq(m, board_slot_line(++m->m_nslots)));
}

/* --- requests of chips --------------------------------------------------- */

static void
board_power_reset(void *arg)
{
	run_request(arg, REQUEST_RESET);
}

static void
board_power_off(void *arg)
{
	run_request(arg, REQUEST_OFF);
}

static struct power
board_power(struct machine *m)
{
	return ((struct power){ .pw_reset = board_power_reset,
	    .pw_off = board_power_off, .pw_arg = m });
}

/* --- the devices --------------------------------------------------------- */

/* For a chip whose constructor says NULL and errno. */
static int
made(const void *chip, const char *name, struct err *err)
{
	return (chip != NULL ? 0 : err_sys(err, "cannot make the %s", name));
}

static int
buses_new(struct machine *m, struct err *err)
{
	m->m_ports = bus_new();
	m->m_mmio = bus_new();
	return (made(m->m_ports != NULL ? m->m_mmio : NULL, "buses", err));
}

static void
buses_free(struct machine *m)
{
	bus_free(m->m_ports);
	bus_free(m->m_mmio);
}

static int
pic_new(struct machine *m, struct err *err)
{
	m->m_pic = i8259_new(m->m_ports, wires_intr, m);
	return (made(m->m_pic, "i8259", err));
}

static void
pic_reset(struct machine *m)
{
	i8259_reset(m->m_pic);
	i8259_set_elcr(m->m_pic, PCI_LINES | 1u << IRQ_SCI);
}

static void
pic_state(struct machine *m, struct state *s)
{
	i8259_state(m->m_pic, s);
}

static void
pic_free(struct machine *m)
{
	i8259_free(m->m_pic);
}

static int
pit_new(struct machine *m, struct err *err)
{
	struct irq irq = wires_irq(m, IRQ_TIMER);

	m->m_pit = i8253_new(m->m_ports, &m->m_clock, &irq);
	return (made(m->m_pit, "i8253", err));
}

static void
pit_reset(struct machine *m)
{
	i8253_reset(m->m_pit);
}

static void
pit_state(struct machine *m, struct state *s)
{
	i8253_state(m->m_pit, s);
}

static void
pit_free(struct machine *m)
{
	i8253_free(m->m_pit);
}

static int
rtc_new(struct machine *m, struct err *err)
{
	struct irq irq = wires_irq(m, IRQ_RTC);
	const struct guest_memory *gm = &m->m_memory;

	m->m_rtc = mc146818_new(m->m_ports, &m->m_clock, &irq,
	    gm->gm_range[0].size,
	    gm->gm_nranges > 1 ? gm->gm_range[1].size : 0);
	return (made(m->m_rtc, "mc146818", err));
}

static void
rtc_reset(struct machine *m)
{
	mc146818_reset(m->m_rtc);
}

static void
rtc_state(struct machine *m, struct state *s)
{
	mc146818_state(m->m_rtc, s);
}

static void
rtc_free(struct machine *m)
{
	mc146818_free(m->m_rtc);
}

static int
com1_new(struct machine *m, struct err *err)
{
	const struct machine_config *mc = &m->m_config;
	struct ns8250_config nc = {
		.nc_base = 0x3f8,
		.nc_irq = wires_irq(m, IRQ_COM1),
		.nc_loop = m->m_loop,
		.nc_in = mc->mc_console_in,
		.nc_out = mc->mc_console_out,
		.nc_filter = mc->mc_console_filter,
		.nc_arg = mc->mc_console_arg
	};

	m->m_com1 = ns8250_new(m->m_ports, &nc);
	return (made(m->m_com1, "ns8250", err));
}

static void
com1_reset(struct machine *m)
{
	ns8250_reset(m->m_com1);
}

static void
com1_state(struct machine *m, struct state *s)
{
	ns8250_state(m->m_com1, s);
}

static void
com1_free(struct machine *m)
{
	ns8250_free(m->m_com1);
}

static int
kbc_new(struct machine *m, struct err *err)
{
	struct power power = board_power(m);

	m->m_kbc = i8042_new(m->m_ports, &power);
	return (made(m->m_kbc, "i8042", err));
}

static void
kbc_reset(struct machine *m)
{
	i8042_reset(m->m_kbc);
}

static void
kbc_state(struct machine *m, struct state *s)
{
	i8042_state(m->m_kbc, s);
}

static void
kbc_free(struct machine *m)
{
	i8042_free(m->m_kbc);
}

static int
fw_new(struct machine *m, struct err *err)
{
	m->m_fw = fw_cfg_new(m->m_ports, &m->m_memory,
	    m->m_config.mc_memory, 1);
	return (made(m->m_fw, "fw_cfg", err));
}

static void
fw_reset(struct machine *m)
{
	fw_cfg_reset(m->m_fw);
}

static void
fw_state(struct machine *m, struct state *s)
{
	fw_cfg_state(m->m_fw, s);
}

static void
fw_free(struct machine *m)
{
	fw_cfg_free(m->m_fw);
}

static int
resets_new(struct machine *m, struct err *err)
{
	struct power power = board_power(m);

	m->m_reset = reset_new(m->m_ports, &power);
	return (made(m->m_reset, "reset ports", err));
}

static void
resets_reset(struct machine *m)
{
	reset_reset(m->m_reset);
}

static void
resets_state(struct machine *m, struct state *s)
{
	reset_state(m->m_reset, s);
}

static void
resets_free(struct machine *m)
{
	reset_free(m->m_reset);
}

static int
pm_new(struct machine *m, struct err *err)
{
	struct irq sci = wires_irq(m, IRQ_SCI);
	struct power power = board_power(m);

	m->m_pm = acpi_pm_new(m->m_ports, &m->m_clock, &sci, &power);
	return (made(m->m_pm, "ACPI registers", err));
}

static void
pm_reset(struct machine *m)
{
	acpi_pm_reset(m->m_pm);
}

static void
pm_state(struct machine *m, struct state *s)
{
	acpi_pm_state(m->m_pm, s);
}

static void
pm_free(struct machine *m)
{
	acpi_pm_free(m->m_pm);
}

static int
pcibus_new(struct machine *m, struct err *err)
{
	m->m_pci = pci_new(m->m_ports, m->m_mmio);
	if (m->m_pci != NULL)
		pci_set_reset(m->m_pci, reset_window(m->m_reset));
	return (made(m->m_pci, "PCI bus", err));
}

static void
pcibus_reset(struct machine *m)
{
	pci_reset(m->m_pci);
}

static void
pcibus_state(struct machine *m, struct state *s)
{
	pci_state(m->m_pci, s);
}

static void
pcibus_free(struct machine *m)
{
	pci_free(m->m_pci);
}

/* --exit-port: what the guest writes there ends the machine. */
static void
exit_port_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct machine *m = arg;

	(void)size;
	if (offset != 0)	/* the window is only there for its width */
		return;
	atomic_store(&m->m_exit_value, (unsigned)value);
	run_request(m, REQUEST_EXIT);
}

static uint64_t
exit_port_read(void *arg, uint64_t offset, unsigned size)
{
	(void)arg;
	(void)offset;
	(void)size;
	return (UINT64_MAX);
}

static int
exit_port_new(struct machine *m, struct err *err)
{
	const int port = m->m_config.mc_exit_port;

	if (port < 0)
		return (0);
	m->m_exit_window = (struct window){ .w_base = (uint64_t)port,
		.w_size = port <= 0xfffc ? 4 : 0x10000 - (uint64_t)port,
		.w_read = exit_port_read, .w_write = exit_port_write,
		.w_arg = m, .w_name = "exit port" };
	/* four ports wide for OUT of EAX, or as wide as the place allows */
	while (m->m_exit_window.w_size > 0 &&
	    bus_add(m->m_ports, &m->m_exit_window) != 0)
		m->m_exit_window.w_size--;
	if (m->m_exit_window.w_size == 0)
		return (err_set(err, "port 0x%x belongs to a device; choose "
		    "another --exit-port, for instance 0xf4", port));
	return (0);
}

static void
exit_port_free(struct machine *m)
{
	if (m->m_config.mc_exit_port >= 0)
		bus_remove(m->m_ports, &m->m_exit_window);
}

static int
rng_new(struct machine *m, struct err *err)
{
	struct irq irq = board_slot_irq(m);

	if (virtio_rng_new(&m->m_rng, &m->m_memory, m->m_pci, &irq) == -1)
		return (err_sys(err, "cannot make the virtio-rng"));
	return (0);
}

static void
rng_reset(struct machine *m)
{
	virtio_rng_reset(m->m_rng);
}

static void
rng_state(struct machine *m, struct state *s)
{
	virtio_rng_state(m->m_rng, s);
}

static void
rng_free(struct machine *m)
{
	virtio_rng_free(m->m_rng);
}

/* What its guest is told; a tap may have any. */
static unsigned
nic_mtu(const struct machine_nic *mn)
{
	if (mn->mn_mtu == 0)
		return (NETWORK_MTU);
	return (mn->mn_mtu < UINT16_MAX ? mn->mn_mtu : UINT16_MAX);
}

/* The network of an interface, by its kind. */
static int
nic_connect(struct machine *m, size_t i, struct err *err)
{
	const struct machine_nic *mn = &m->m_config.mc_nic[i];
	const struct network_port *port = virtio_net_port(m->m_net[i]);
	struct network **np = &m->m_network[i];
	struct network_local nl;
	struct network_user nu;

	switch (mn->mn_kind) {
	case NIC_USER:
		nu = (struct network_user){ .nu_forward = mn->mn_forward,
			.nu_nforwards = mn->mn_nforwards,
			.nu_tftp = mn->mn_tftp,
			.nu_bootfile = mn->mn_bootfile };
		return (network_user_open(np, m->m_loop, port, &nu, err));
	case NIC_LOCAL:
		nl = (struct network_local){ .nl_host = mn->mn_host,
			.nl_guest = mn->mn_guest,
			.nl_netboot = m->m_config.mc_boot_device ==
			    MACHINE_BOOT_NET,
			.nl_name = m->m_config.mc_name };
		memcpy(nl.nl_mac, mn->mn_mac, sizeof(nl.nl_mac));
		return (network_local_open(np, m->m_loop, port, &nl, err));
	case NIC_SWITCH:
		return (network_switch_open(np, m->m_loop, port, mn->mn_fd,
		    err));
	case NIC_TAP:
		return (network_tap_open(np, m->m_loop, port, mn->mn_fd,
		    mn->mn_locked ? mn->mn_mac : NULL, err));
	}
	return (-1);
}

static int
nics_new(struct machine *m, struct err *err)
{
	static const uint8_t none[6];
	struct machine_nic *mn;
	struct irq irq;
	size_t i;

	m->m_nic_slot = m->m_nslots;
	for (i = 0; i < m->m_config.mc_nnics; i++) {
		mn = &m->m_config.mc_nic[i];
		if (memcmp(mn->mn_mac, none, sizeof(none)) == 0)
			network_mac_choose(mn->mn_mac);
		irq = board_slot_irq(m);
		if (virtio_net_new(&m->m_net[i], m->m_loop, mn->mn_mac,
		    nic_mtu(mn), &m->m_memory, m->m_pci, &irq) == -1)
			return (err_sys(err, "cannot make the virtio-net"));
		if (nic_connect(m, i, err) == -1)
			return (-1);
		virtio_net_connect(m->m_net[i], m->m_network[i]);
	}
	return (0);
}

static void
nics_reset(struct machine *m)
{
	size_t i;

	for (i = 0; i < m->m_config.mc_nnics; i++)
		virtio_net_reset(m->m_net[i]);
}

static void
nics_state(struct machine *m, struct state *s)
{
	size_t i;

	for (i = 0; i < m->m_config.mc_nnics; i++)
		virtio_net_state(m->m_net[i], s);
}

static void
nics_free(struct machine *m)
{
	size_t i;

	for (i = 0; i < m->m_config.mc_nnics; i++) {
		if (m->m_network[i] != NULL)
			network_close(m->m_network[i]);
		virtio_net_free(m->m_net[i]);
	}
}

static int
disks_new(struct machine *m, struct err *err)
{
	struct irq irq;
	size_t i;

	m->m_disk_slot = m->m_nslots;
	for (i = 0; i < m->m_config.mc_ndisks; i++) {
		if (disk_open(&m->m_disk[i], m->m_config.mc_disk[i], 0,
		    err) == -1)
			return (-1);
		irq = board_slot_irq(m);
		if (virtio_blk_new(&m->m_blk[i], m->m_disk[i], &m->m_memory,
		    m->m_pci, &irq) == -1)
			return (err_sys(err, "cannot make the virtio-blk"));
	}
	return (0);
}

static void
disks_reset(struct machine *m)
{
	size_t i;

	for (i = 0; i < m->m_config.mc_ndisks; i++)
		virtio_blk_reset(m->m_blk[i]);
}

static void
disks_state(struct machine *m, struct state *s)
{
	size_t i;

	for (i = 0; i < m->m_config.mc_ndisks; i++)
		virtio_blk_state(m->m_blk[i], s);
}

static void
disks_free(struct machine *m)
{
	size_t i;

	for (i = 0; i < m->m_config.mc_ndisks; i++) {
		virtio_blk_free(m->m_blk[i]);
		if (m->m_disk[i] != NULL)
			disk_close(m->m_disk[i]);
	}
}

static int
cdrom_new(struct machine *m, struct err *err)
{
	char path[4096 + 8];
	struct irq irq;

	m->m_cdrom_slot = m->m_nslots;
	if (m->m_config.mc_cdrom == NULL)
		return (0);
	/* whatever the disc says of itself: it may come from anywhere */
	snprintf(path, sizeof(path), "raw:%s", m->m_config.mc_cdrom);
	if (disk_open(&m->m_cdrom_disk, path, DISK_RDONLY, err) == -1)
		return (-1);
	irq = board_slot_irq(m);
	if (virtio_scsi_new(&m->m_cdrom, m->m_cdrom_disk, &m->m_memory,
	    m->m_pci, &irq) == -1)
		return (err_sys(err, "cannot make the CD-ROM drive"));
	return (0);
}

static void
cdrom_reset(struct machine *m)
{
	if (m->m_cdrom != NULL)
		virtio_scsi_reset(m->m_cdrom);
}

static void
cdrom_state(struct machine *m, struct state *s)
{
	if (m->m_cdrom != NULL)
		virtio_scsi_state(m->m_cdrom, s);
}

static void
cdrom_free(struct machine *m)
{
	virtio_scsi_free(m->m_cdrom);
	if (m->m_cdrom_disk != NULL)
		disk_close(m->m_cdrom_disk);
}

static int
vmmci_make(struct machine *m, struct err *err)
{
	struct irq irq = board_slot_irq(m);

	if (vmmci_new(&m->m_vmmci, &m->m_memory, &m->m_clock, m->m_pci,
	    &irq) == -1)
		return (err_sys(err, "cannot make the vmmci"));
	return (0);
}

static void
vmmci_restart(struct machine *m)
{
	vmmci_reset(m->m_vmmci);
}

static void
vmmci_row_state(struct machine *m, struct state *s)
{
	vmmci_state(m->m_vmmci, s);
}

static void
vmmci_end(struct machine *m)
{
	vmmci_free(m->m_vmmci);
}

/* --- firmware ------------------------------------------------------------ */

struct acpi_config
board_acpi(const struct machine *m)
{
	return ((struct acpi_config){ .ac_ncpus = 1, .ac_nslots = m->m_nslots,
	    .ac_slot_line = board_slot_line, .ac_sci = IRQ_SCI });
}

/* Only who wants to boot from a network has to have the ROM for it. */
static bool
has_netboot(const struct machine *m)
{
	return (m->m_config.mc_boot_device == MACHINE_BOOT_NET &&
	    m->m_config.mc_nnics > 0);
}

/* Lines for the devices of a kind, as Open Firmware paths. */
static void
boot_order_kind(const struct machine *m, enum machine_boot kind, char *text,
    size_t size)
{
	const struct { unsigned slot; size_t n; const char *path; } of[] = {
		[MACHINE_BOOT_DISK] = { m->m_disk_slot,
		    m->m_config.mc_ndisks, "scsi@%x/disk@0,0" },
		[MACHINE_BOOT_CDROM] = { m->m_cdrom_slot,
		    m->m_cdrom != NULL, "scsi@%x/channel@0/disk@0,0" },
		[MACHINE_BOOT_NET] = { m->m_nic_slot,
		    m->m_config.mc_nnics, "ethernet@%x/ethernet-phy@0" }
	};
	size_t len = strlen(text), i;

	if (kind == MACHINE_BOOT_NET && has_netboot(m))
		snprintf(text + len, size - len, "%s/rom@" NETBOOT_FILE,
		    len > 0 ? "\n" : "");
	for (i = 1; i <= of[kind].n; i++) {
		len = strlen(text);
		snprintf(text + len, size - len, "%s/pci@i0cf8/",
		    len > 0 ? "\n" : "");
		len = strlen(text);
		snprintf(text + len, size - len, of[kind].path,
		    of[kind].slot + (unsigned)i);
	}
}

/* What was asked for, then the rest in their usual order. */
static void
boot_order(const struct machine *m, char *text, size_t size)
{
	const enum machine_boot first = m->m_config.mc_boot_device;
	enum machine_boot kind;

	boot_order_kind(m, first, text, size);
	for (kind = MACHINE_BOOT_DISK; kind <= MACHINE_BOOT_NET; kind++)
		if (kind != first)
			boot_order_kind(m, kind, text, size);
}

/* The firmware's ROM and files, when all devices have their slots. */
static int
firmware_new(struct machine *m, struct err *err)
{
	struct acpi_config ac = board_acpi(m);
	char order[512] = "";
	struct firmware_config fc = { .fc_map = m->m_memmap,
		.fc_nmap = m->m_nmemmap, .fc_acpi = &ac,
		.fc_bootorder = order };
	struct firmware *netboot = NULL;
	int error;

	if (m->m_firmware == NULL)
		return (0);
	if (has_netboot(m) && firmware_open_netboot(&netboot, err) == -1)
		return (-1);
	boot_order(m, order, sizeof(order));
	pci_for_firmware(m->m_pci);
	fc.fc_netboot = netboot;
	error = firmware_configure(m->m_fw, &fc);
	firmware_free(netboot);		/* it is copied */
	if (error != 0 || (error = firmware_map(m->m_firmware, m->m_ports,
	    m->m_mmio)) != 0) {
		errno = error;
		return (err_sys(err, "cannot make the firmware's ROM"));
	}
	return (0);
}

/* After all devices have been reset: what firmware does to them. */
static void
firmware_reset(struct machine *m)
{
	if (m->m_firmware == NULL)
		pci_assign(m->m_pci);
}

static void
firmware_end(struct machine *m)
{
	if (m->m_firmware != NULL)
		firmware_unmap(m->m_firmware, m->m_ports, m->m_mmio);
}

/* --- the table ----------------------------------------------------------- */

static const struct {
	int	(*bd_new)(struct machine *, struct err *);
	void	(*bd_reset)(struct machine *);
	void	(*bd_state)(struct machine *, struct state *);
	void	(*bd_free)(struct machine *);
} board[] = {
	{ buses_new,	NULL,		wires_state,	buses_free },
	{ pic_new,	pic_reset,	pic_state,	pic_free },
	{ pit_new,	pit_reset,	pit_state,	pit_free },  /* IRQ 0 */
	{ rtc_new,	rtc_reset,	rtc_state,	rtc_free },  /* IRQ 8 */
	{ com1_new,	com1_reset,	com1_state,	com1_free }, /* IRQ 4 */
	{ kbc_new,	kbc_reset,	kbc_state,	kbc_free },
	{ fw_new,	fw_reset,	fw_state,	fw_free },
	{ resets_new,	resets_reset,	resets_state,	resets_free },
	{ pm_new,	pm_reset,	pm_state,	pm_free },   /* IRQ 9 */
	{ pcibus_new,	pcibus_reset,	pcibus_state,	pcibus_free },
	{ exit_port_new, NULL,		NULL,		exit_port_free },
	{ rng_new,	rng_reset,	rng_state,	rng_free },  /* slot 1 */
	{ nics_new,	nics_reset,	nics_state,	nics_free }, /* NICs, */
	{ disks_new,	disks_reset,	disks_state,	disks_free }, /* disks, */
	{ cdrom_new,	cdrom_reset,	cdrom_state,	cdrom_free }, /* CD-ROM */
	{ vmmci_make,	vmmci_restart,	vmmci_row_state,	vmmci_end },  /* last */
	{ firmware_new,	firmware_reset,	NULL,		firmware_end },
};
#define BOARD_ROWS	(sizeof(board) / sizeof(board[0]))

static void
board_free_rows(struct machine *m, size_t rows)
{
	while (rows-- > 0)
		if (board[rows].bd_free != NULL)
			board[rows].bd_free(m);
}

int
board_new(struct machine *m, struct err *err)
{
	size_t i;

	for (i = 0; i < BOARD_ROWS; i++)
		if (board[i].bd_new != NULL &&
		    board[i].bd_new(m, err) == -1) {
			board_free_rows(m, i + 1);
			return (-1);
		}
	return (0);
}

void
board_free(struct machine *m)
{
	board_free_rows(m, BOARD_ROWS);
}

void
board_reset(struct machine *m)
{
	size_t i;

	for (i = 0; i < BOARD_ROWS; i++)
		if (board[i].bd_reset != NULL)
			board[i].bd_reset(m);
}

void
board_settle(struct machine *m)
{
	size_t i;

	for (i = 0; i < m->m_config.mc_ndisks; i++)
		virtio_blk_settle(m->m_blk[i]);
	if (m->m_cdrom != NULL)
		virtio_scsi_settle(m->m_cdrom);
}

void
board_state(struct machine *m, struct state *s)
{
	size_t i;

	for (i = 0; i < BOARD_ROWS; i++)
		if (board[i].bd_state != NULL)
			board[i].bd_state(m, s);
}
