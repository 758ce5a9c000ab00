/*
 * Which ports leave RUN when the client has not asked for all of them: those
 * that OpenBSD 6.9's monitor forwards, and 0x61 and 0x92, which are ours.
 */
#include "vmm/monitor.h"

static const struct {
	uint16_t	first, last;
} port_table[] = {
	{ 0x1000, 0xffff },	/* PCI I/O BARs */
	{ 0x03f8, 0x03ff },	/* COM1 */
	{ 0x0020, 0x0021 },	/* master PIC */
	{ 0x0040, 0x0043 },	/* PIT */
	{ 0x0061, 0x0061 },	/* PIT channel 2's gate and output */
	{ 0x0070, 0x0071 },	/* RTC and CMOS */
	{ 0x0092, 0x0092 },	/* A20, fast reset */
	{ 0x00a0, 0x00a1 },	/* slave PIC */
	{ 0x04d0, 0x04d1 },	/* ELCR */
	{ 0x0500, 0x0511 },	/* vmmci's old place, fw_cfg */
	{ 0x0514, 0x0514 },	/* fw_cfg DMA, high half */
	{ 0x0518, 0x0518 },	/* fw_cfg DMA, low half */
	{ 0x0cf8, 0x0cf8 },	/* PCI configuration address */
	{ 0x0cfc, 0x0cff },	/* PCI configuration data */
};

bool
port_forwarded(uint16_t port)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(port_table); i++)
		if (port >= port_table[i].first && port <= port_table[i].last)
			return (true);
	return (false);
}
