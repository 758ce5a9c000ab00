/*
 * Switches of ours: a process each (switch.c), which vmd executes as it does
 * for VMs, and which it finds again (switches.c); and how a VM's process gets
 * a port of one.
 *
 * A switch's process serves DIR/switch/NAME.sock by control messages:
 *
 * command  members               answer
 * hello    -                     name, pid; who says it is a vmd: as long as
 *                                one is connected, the switch stays
 * status   -                     name, nat, ports: vm, in, out, spoofed
 *                                (frames), addresses (seen there)
 * port     vm, mac, locked?      a descriptor: a SOCK_SEQPACKET socket, a
 *                                frame a packet (network/cable.h)
 * stop     -                     - ; it ends
 *
 * It ends by itself when no vmd is connected and no port is in use.
 */
#ifndef VMD_SWITCH_H
#define VMD_SWITCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define SWITCH_OPTION	"--switch-process"	/* hidden */
#define SWITCH_FD	3			/* a socket to vmd */

/* The process; an exit status. */
int	switch_main(void);

/*
 * A port for the VM at the switch of that name: a descriptor, or -1 with a line
 * in err. Waits a few seconds at most.
 */
int	switch_port(const char *dir, const char *name, const char *vm,
	    const uint8_t mac[6], bool locked, struct err *);

#endif
