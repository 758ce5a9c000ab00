/*
 * Switches of ours: a process each (switch.c), which vmd executes as it does
 * for VMs, and which it finds again (switches.c). A VM's process gets a port of
 * one by control_port().
 *
 * A switch's process serves DIR/switch/NAME.sock by control messages:
 *
 * command  members               answer
 * hello    -                     name, pid; who says it is a vmd: as long as
 *                                one is connected, the switch stays
 * status   -                     name, nat, mtu, ports: vm, mtu, in, out,
 *                                spoofed, large (frames), addresses (seen
 *                                there)
 * port     vm, mac, locked?,     mtu; a descriptor: a SOCK_SEQPACKET socket, a
 *          mtu?                  frame a packet (network/cable.h)
 * stop     -                     - ; it ends
 *
 * It ends by itself when no vmd is connected and no port is in use.
 */
#ifndef VMD_SWITCH_H
#define VMD_SWITCH_H

#define SWITCH_OPTION	"--switch-process"	/* hidden */
#define SWITCH_FD	3			/* a socket to vmd */

/* The process; an exit status. */
int	switch_main(void);

#endif
