/*
 * PCI bus 0 through ports CF8-CFF (PCI Local Bus 3.0, 3.2.2.3 and ch. 6).
 *
 * 1. pc_lock covers the address register and every function's configuration
 *    space; it is held while a function's pf_config_* hook runs.
 * 2. pf_intx_lock is a leaf before the interrupt controllers. What reaches the
 *    wire is pf_asserted and not command bit 10 (interrupt disable).
 * 3. A BAR's window is on its bus exactly when decoding is enabled and its
 *    place is free; a place that becomes free is taken by who wanted it.
 *
 * Threads: the ports on VCPU threads, pf_irq on any, the rest before VCPUs run.
 */
#include "machine/pci.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PCI_SLOTS	32

/* Type 0 header */
#define CFG_VENDOR	0x00
#define CFG_DEVICE	0x02
#define CFG_COMMAND	0x04
#define  COMMAND_IO	0x0001
#define  COMMAND_MEMORY	0x0002
#define  COMMAND_MASTER	0x0004
#define  COMMAND_INTX_OFF 0x0400
#define CFG_STATUS	0x06
#define  STATUS_INTX	0x0008
#define  STATUS_CAPS	0x0010
#define CFG_REVISION	0x08
#define CFG_BAR0	0x10
#define CFG_SUBVENDOR	0x2c
#define CFG_SUBDEVICE	0x2e
#define CFG_CAPS	0x34
#define CFG_INT_LINE	0x3c
#define CFG_INT_PIN	0x3d
#define CFG_HEADER_END	0x40

/* Where pci_assign() puts BARs: vmm(4)'s windows. */
#define ASSIGN_IO	0x1000
#define ASSIGN_IO_STEP	0x1000
#define ASSIGN_MEM	0xf0000000u
#define ASSIGN_MEM_STEP	0x10000u

/* The host bridge is OpenBSD's: vendor 0b5d, device 0666. */
#define BRIDGE_VENDOR	0x0b5d
#define BRIDGE_DEVICE	0x0666

/*
 * Firmware has to know its chipset: it finds Intel's 82441FX, by whose PAM
 * registers (3.2.19) it would make RAM of the ROM below 1 MiB, and do so again
 * when a guest jumps to the reset vector. Here that is RAM, always. The
 * subsystem says that there is a firmware configuration device.
 */
#define I440FX_VENDOR	0x8086
#define I440FX_DEVICE	0x1237
#define I440FX_REVISION	0x02
#define I440FX_PAM	0x59
#define I440FX_PAMS	7
#define  PAM_HIGH_RAM	0x30
#define  PAM_LOW_RAM	0x03		/* but for the first register */
#define QEMU_SUBVENDOR	0x1af4
#define QEMU_SUBDEVICE	0x1100

struct pci {
	pthread_mutex_t	 pc_lock;
	struct bus	*pc_ports, *pc_memory;	/* [I] */
	struct window	 pc_address_window, pc_data_window;
	const struct window *pc_reset;		/* [I] */
	uint32_t	 pc_address;		/* [m] CONFIG_ADDRESS */
	struct pci_function *pc_slot[PCI_SLOTS];	/* [I] */
	struct pci_function pc_bridge;
};

static uint32_t
cfg_get(const struct pci_function *pf, unsigned offset, unsigned size)
{
	uint32_t value = 0;

	while (size-- > 0)
		value = value << 8 | pf->pf_config[offset + size];
	return (value);
}

static void
cfg_put(struct pci_function *pf, unsigned offset, unsigned size, uint32_t v)
{
	for (; size > 0; size--, v >>= 8)
		pf->pf_config[offset++] = (uint8_t)v;
}

static void
cfg_allow(struct pci_function *pf, unsigned offset, unsigned size, uint32_t m)
{
	for (; size > 0; size--, m >>= 8)
		pf->pf_writable[offset++] = (uint8_t)m;
}

/* --- INTA# --------------------------------------------------------------- */

/* Drives the wire by what the function asserts and command bit 10. */
static void
intx_update(struct pci_function *pf)
{
	if (pf->pf_wire.i_set != NULL)
		irq_set(&pf->pf_wire, pf->pf_asserted &&
		    (cfg_get(pf, CFG_COMMAND, 2) & COMMAND_INTX_OFF) == 0);
}

static void
intx_set(void *arg, unsigned line, int level)
{
	struct pci_function *pf = arg;

	(void)line;
	pthread_mutex_lock(&pf->pf_intx_lock);
	pf->pf_asserted = level != 0;
	intx_update(pf);
	pthread_mutex_unlock(&pf->pf_intx_lock);
}

/* --- BARs ---------------------------------------------------------------- */

/* Where the function's registers say that BAR i is; false: nowhere. */
static bool
bar_wanted(const struct pci_function *pf, int i, uint64_t *base)
{
	uint32_t bar = cfg_get(pf, CFG_BAR0 + 4 * (unsigned)i, 4);
	uint32_t command = cfg_get(pf, CFG_COMMAND, 2);

	if (pf->pf_bar[i].size == 0)
		return (false);
	if (pf->pf_bar[i].io) {
		*base = bar & ~3u;
		return ((command & COMMAND_IO) != 0 && *base != 0 &&
		    *base + pf->pf_bar[i].size <= 0x10000);
	}
	*base = bar & ~15u;
	return ((command & COMMAND_MEMORY) != 0 && *base != 0);
}

/*
 * Brings the windows in line with the registers: first everything that has to
 * go goes, then everything that should be there comes, so that functions may
 * swap places.
 */
static void
bars_update(struct pci *pc)
{
	struct pci_function *pf;
	struct bus *bus;
	uint64_t base;
	int slot, i, pass;
	bool wanted;

	for (pass = 0; pass < 2; pass++)
		for (slot = 0; slot < PCI_SLOTS; slot++)
			for (i = 0; (pf = pc->pc_slot[slot]) != NULL &&
			    i < PCI_BARS; i++) {
				bus = pf->pf_bar[i].io ? pc->pc_ports :
				    pc->pc_memory;
				wanted = bar_wanted(pf, i, &base);
				if (pass == 0 && pf->pf_mapped[i] && (!wanted ||
				    pf->pf_bar[i].window.w_base != base)) {
					bus_remove(bus,
					    &pf->pf_bar[i].window);
					pf->pf_mapped[i] = false;
				}
				if (pass == 1 && !pf->pf_mapped[i] && wanted) {
					pf->pf_bar[i].window.w_base = base;
					pf->pf_mapped[i] = bus_add(bus,
					    &pf->pf_bar[i].window) == 0;
				}
			}
}

/* --- configuration space ------------------------------------------------- */

static struct pci_function *
pci_selected(struct pci *pc)
{
	/* enable bit, bus 0, function 0 */
	if ((pc->pc_address & 0x80ff0700) != 0x80000000)
		return (NULL);
	return (pc->pc_slot[(pc->pc_address >> 11) & 31]);
}

static uint64_t
config_data_read(void *arg, uint64_t offset, unsigned size)
{
	struct pci *pc = arg;
	struct pci_function *pf;
	uint32_t value = UINT32_MAX;
	unsigned reg;

	pthread_mutex_lock(&pc->pc_lock);
	if ((pf = pci_selected(pc)) != NULL) {
		reg = (pc->pc_address & 0xfc) + (unsigned)offset;
		if (pf->pf_config_read != NULL)
			pf->pf_config_read(pf->pf_arg, reg, size);
		value = cfg_get(pf, reg, size);
		pthread_mutex_lock(&pf->pf_intx_lock);
		if (reg <= CFG_STATUS && reg + size > CFG_STATUS &&
		    pf->pf_asserted)
			value |= (uint32_t)STATUS_INTX <<
			    ((CFG_STATUS - reg) * 8);
		pthread_mutex_unlock(&pf->pf_intx_lock);
	}
	pthread_mutex_unlock(&pc->pc_lock);
	return (value);
}

static void
config_data_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct pci *pc = arg;
	struct pci_function *pf;
	unsigned reg, i;
	uint8_t mask;

	pthread_mutex_lock(&pc->pc_lock);
	if ((pf = pci_selected(pc)) != NULL) {
		reg = (pc->pc_address & 0xfc) + (unsigned)offset;
		pthread_mutex_lock(&pf->pf_intx_lock);
		for (i = 0; i < size; i++) {
			mask = pf->pf_writable[reg + i];
			pf->pf_config[reg + i] = (uint8_t)(
			    (pf->pf_config[reg + i] & ~mask) |
			    ((value >> (i * 8)) & mask));
		}
		if (reg < CFG_STATUS)
			intx_update(pf);
		pthread_mutex_unlock(&pf->pf_intx_lock);
		if (reg < CFG_BAR0 + 4 * PCI_BARS)
			bars_update(pc);
		if (pf->pf_config_write != NULL)
			pf->pf_config_write(pf->pf_arg, reg, size,
			    (uint32_t)value);
	}
	pthread_mutex_unlock(&pc->pc_lock);
}

static uint64_t
config_address_read(void *arg, uint64_t offset, unsigned size)
{
	struct pci *pc = arg;
	const struct window *w = pc->pc_reset;
	uint64_t value = UINT64_MAX;

	if (size == 4) {
		pthread_mutex_lock(&pc->pc_lock);
		value = pc->pc_address;
		pthread_mutex_unlock(&pc->pc_lock);
	} else if (w != NULL && size == 1 && offset == w->w_base - 0xcf8)
		value = w->w_read(w->w_arg, 0, size);
	return (value);
}

static void
config_address_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct pci *pc = arg;
	const struct window *w = pc->pc_reset;

	if (size == 4) {
		pthread_mutex_lock(&pc->pc_lock);
		pc->pc_address = (uint32_t)value & 0x80fffffc;
		pthread_mutex_unlock(&pc->pc_lock);
	} else if (w != NULL && size == 1 && offset == w->w_base - 0xcf8)
		w->w_write(w->w_arg, 0, size, value);
}

/* --- the bus ------------------------------------------------------------- */

/* Fills in slot's header from what the device says of itself. */
static void
pci_attach(struct pci *pc, struct pci_function *pf, unsigned slot,
    const struct irq *irq)
{
	unsigned i, reg;

	pf->pf_slot = (uint8_t)slot;
	pf->pf_bus = pc;
	pthread_mutex_init(&pf->pf_intx_lock, NULL);
	memset(pf->pf_config, 0, sizeof(pf->pf_config));
	memset(pf->pf_writable, 0, sizeof(pf->pf_writable));
	memset(pf->pf_mapped, 0, sizeof(pf->pf_mapped));
	pf->pf_asserted = false;
	pf->pf_caps_end = 0;
	cfg_put(pf, CFG_VENDOR, 2, pf->pf_vendor);
	cfg_put(pf, CFG_DEVICE, 2, pf->pf_device);
	cfg_put(pf, CFG_REVISION, 4, (uint32_t)pf->pf_class << 24 |
	    (uint32_t)pf->pf_subclass << 16 | (uint32_t)pf->pf_progif << 8 |
	    pf->pf_revision);
	cfg_put(pf, CFG_SUBVENDOR, 2, pf->pf_subvendor);
	cfg_put(pf, CFG_SUBDEVICE, 2, pf->pf_subdevice);
	cfg_allow(pf, CFG_COMMAND, 2, COMMAND_IO | COMMAND_MEMORY |
	    COMMAND_MASTER | (pf->pf_intx ? COMMAND_INTX_OFF : 0));
	for (i = 0; i < PCI_BARS; i++) {
		if (pf->pf_bar[i].size == 0)
			continue;
		assert((pf->pf_bar[i].size & (pf->pf_bar[i].size - 1)) == 0);
		reg = CFG_BAR0 + 4 * i;
		cfg_put(pf, reg, 4, pf->pf_bar[i].io);
		cfg_allow(pf, reg, 4, ~(pf->pf_bar[i].size - 1) &
		    (pf->pf_bar[i].io ? ~3u : ~15u));
		pf->pf_bar[i].window.w_size = pf->pf_bar[i].size;
		if (pf->pf_bar[i].window.w_name == NULL)
			pf->pf_bar[i].window.w_name = pf->pf_name;
	}
	if (pf->pf_intx) {
		cfg_put(pf, CFG_INT_PIN, 1, 1);
		cfg_allow(pf, CFG_INT_LINE, 1, 0xff);
		pf->pf_wire = *irq;
	} else
		pf->pf_wire.i_set = NULL;
	pf->pf_irq = (struct irq){ .i_set = intx_set, .i_arg = pf };
	pc->pc_slot[slot] = pf;
}

struct pci *
pci_new(struct bus *ports, struct bus *memory)
{
	struct pci *pc;
	int error;

	if ((pc = calloc(1, sizeof(*pc))) == NULL)
		return (NULL);
	pthread_mutex_init(&pc->pc_lock, NULL);
	pc->pc_ports = ports;
	pc->pc_memory = memory;
	pc->pc_address_window = (struct window){ .w_base = 0xcf8, .w_size = 4,
		.w_read = config_address_read, .w_write = config_address_write,
		.w_arg = pc, .w_name = "pci address" };
	pc->pc_data_window = (struct window){ .w_base = 0xcfc, .w_size = 4,
		.w_read = config_data_read, .w_write = config_data_write,
		.w_arg = pc, .w_name = "pci data" };
	pc->pc_bridge.pf_name = "host bridge";
	pc->pc_bridge.pf_vendor = BRIDGE_VENDOR;
	pc->pc_bridge.pf_device = BRIDGE_DEVICE;
	pc->pc_bridge.pf_class = 0x06;		/* bridge, host */
	pci_attach(pc, &pc->pc_bridge, 0, NULL);
	if ((error = bus_add(ports, &pc->pc_address_window)) != 0 ||
	    (error = bus_add(ports, &pc->pc_data_window)) != 0) {
		pci_free(pc);
		errno = error;
		return (NULL);
	}
	return (pc);
}

void
pci_free(struct pci *pc)
{
	int slot;

	if (pc == NULL)
		return;
	for (slot = 0; slot < PCI_SLOTS; slot++)
		if (pc->pc_slot[slot] != NULL)
			pci_remove(pc->pc_slot[slot]);
	bus_remove(pc->pc_ports, &pc->pc_address_window);
	bus_remove(pc->pc_ports, &pc->pc_data_window);
	pthread_mutex_destroy(&pc->pc_lock);
	free(pc);
}

void
pci_remove(struct pci_function *pf)
{
	struct pci *pc = pf->pf_bus;
	int i;

	if (pc == NULL)
		return;
	pthread_mutex_lock(&pc->pc_lock);
	for (i = 0; i < PCI_BARS; i++)
		if (pf->pf_mapped[i])
			bus_remove(pf->pf_bar[i].io ? pc->pc_ports :
			    pc->pc_memory, &pf->pf_bar[i].window);
	pc->pc_slot[pf->pf_slot] = NULL;
	pf->pf_bus = NULL;
	pthread_mutex_unlock(&pc->pc_lock);
	pthread_mutex_destroy(&pf->pf_intx_lock);
}

void
pci_set_reset(struct pci *pc, const struct window *w)
{
	pc->pc_reset = w;
}

int
pci_add(struct pci *pc, struct pci_function *pf, const struct irq *irq)
{
	unsigned slot;

	for (slot = 1; slot < PCI_SLOTS; slot++)
		if (pc->pc_slot[slot] == NULL) {
			pci_attach(pc, pf, slot, irq);
			return (0);
		}
	return (ENOSPC);
}

uint8_t
pci_capability(struct pci_function *pf, uint8_t id, uint8_t len)
{
	unsigned offset = pf->pf_caps_end, link = CFG_CAPS;

	assert(len >= 2);
	if (offset == 0)
		offset = CFG_HEADER_END;
	if (offset + len > sizeof(pf->pf_config))
		return (0);
	while (pf->pf_config[link] != 0)
		link = pf->pf_config[link] + 1u;
	pf->pf_config[link] = (uint8_t)offset;
	pf->pf_config[offset] = id;
	pf->pf_caps_end = (uint16_t)((offset + len + 3u) & ~3u);
	cfg_put(pf, CFG_STATUS, 2, cfg_get(pf, CFG_STATUS, 2) | STATUS_CAPS);
	return ((uint8_t)offset);
}

void
pci_reset(struct pci *pc)
{
	struct pci_function *pf;
	int slot, i;

	pthread_mutex_lock(&pc->pc_lock);
	pc->pc_address = 0;
	for (slot = 0; slot < PCI_SLOTS; slot++) {
		if ((pf = pc->pc_slot[slot]) == NULL)
			continue;
		pthread_mutex_lock(&pf->pf_intx_lock);
		for (i = 0; i < 256; i++)
			pf->pf_config[i] &= (uint8_t)~pf->pf_writable[i];
		intx_update(pf);
		pthread_mutex_unlock(&pf->pf_intx_lock);
	}
	bars_update(pc);
	pthread_mutex_unlock(&pc->pc_lock);
}

void
pci_for_firmware(struct pci *pc)
{
	struct pci_function *pf = &pc->pc_bridge;
	unsigned i;
	int slot;

	cfg_put(pf, CFG_VENDOR, 2, I440FX_VENDOR);
	cfg_put(pf, CFG_DEVICE, 2, I440FX_DEVICE);
	cfg_put(pf, CFG_REVISION, 1, I440FX_REVISION);
	cfg_put(pf, CFG_SUBVENDOR, 2, QEMU_SUBVENDOR);
	cfg_put(pf, CFG_SUBDEVICE, 2, QEMU_SUBDEVICE);
	for (i = 0; i < I440FX_PAMS; i++)
		pf->pf_config[I440FX_PAM + i] =
		    PAM_HIGH_RAM | (i > 0 ? PAM_LOW_RAM : 0);

	for (slot = 1; slot < PCI_SLOTS; slot++) {
		if ((pf = pc->pc_slot[slot]) == NULL || !pf->pf_intx)
			continue;
		cfg_put(pf, CFG_INT_LINE, 1, pf->pf_wire.i_line);
		pf->pf_writable[CFG_INT_LINE] = 0;
	}
}

void
pci_assign(struct pci *pc)
{
	uint32_t io = ASSIGN_IO, memory = ASSIGN_MEM, *next, step, size, base;
	struct pci_function *pf;
	int slot, i;

	pthread_mutex_lock(&pc->pc_lock);
	for (slot = 1; slot < PCI_SLOTS; slot++) {
		if ((pf = pc->pc_slot[slot]) == NULL)
			continue;
		for (i = 0; i < PCI_BARS; i++) {
			if ((size = pf->pf_bar[i].size) == 0)
				continue;
			next = pf->pf_bar[i].io ? &io : &memory;
			step = pf->pf_bar[i].io ? ASSIGN_IO_STEP :
			    ASSIGN_MEM_STEP;
			if (size > step)
				step = size;
			base = (*next + (step - 1)) & ~(step - 1);
			*next = base + step;
			cfg_put(pf, CFG_BAR0 + 4 * (unsigned)i, 4,
			    base | pf->pf_bar[i].io);
		}
		pthread_mutex_lock(&pf->pf_intx_lock);
		cfg_put(pf, CFG_COMMAND, 2, COMMAND_IO | COMMAND_MEMORY |
		    COMMAND_MASTER);
		if (pf->pf_intx)
			cfg_put(pf, CFG_INT_LINE, 1, pf->pf_wire.i_line);
		intx_update(pf);
		pthread_mutex_unlock(&pf->pf_intx_lock);
	}
	bars_update(pc);
	pthread_mutex_unlock(&pc->pc_lock);
}

/* --- state ----------------------------------------------------------------- */

/* What the guest may change of configuration space, and INTA#'s level. */
static void
function_state(struct pci_function *pf, struct state *s)
{
	uint8_t config[sizeof(pf->pf_config)];
	bool asserted;
	unsigned i;

	pthread_mutex_lock(&pf->pf_intx_lock);
	memcpy(config, pf->pf_config, sizeof(config));
	asserted = pf->pf_asserted;
	state_begin(s, "PCI function", pf->pf_slot, 1);
	state_same(s, "vendor and device", cfg_get(pf, CFG_VENDOR, 4));
	state_bytes(s, config, sizeof(config));
	state_bool(s, &asserted);
	if (state_loaded(s)) {
		for (i = 0; i < sizeof(config); i++)
			pf->pf_config[i] = (uint8_t)(
			    (pf->pf_config[i] & ~pf->pf_writable[i]) |
			    (config[i] & pf->pf_writable[i]));
		pf->pf_asserted = asserted;
		intx_update(pf);
	}
	state_end(s);
	pthread_mutex_unlock(&pf->pf_intx_lock);
}

void
pci_state(struct pci *pc, struct state *s)
{
	uint32_t address;
	int slot;

	pthread_mutex_lock(&pc->pc_lock);
	address = pc->pc_address;
	state_begin(s, "PCI bus", 0, 1);
	state_u32_bits(s, &address, 0x80fffffcu);
	if (state_loaded(s))
		pc->pc_address = address;
	for (slot = 0; slot < PCI_SLOTS; slot++)
		if (pc->pc_slot[slot] != NULL)
			function_state(pc->pc_slot[slot], s);
	/* also after an error: the registers may have changed */
	if (s->s_loading)
		bars_update(pc);
	state_end(s);
	pthread_mutex_unlock(&pc->pc_lock);
}
