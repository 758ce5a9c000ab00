/*
 * Packet back ends: what a network device of any bus needs. Knows no virtio.
 *
 * 1. Everything here runs on the thread of the loop given at creation.
 * 2. A frame is an Ethernet frame without FCS, NETWORK_FRAME_MIN to
 *    NETWORK_FRAME_MAX bytes; others are dropped.
 * 3. A frame may leave work to whoever takes it: its header says which.
 *    Everybody takes every header that offload_valid() (offload.h) allows, and
 *    does that work if what is beyond it cannot; nobody negotiates.
 */
#ifndef NETWORK_NETWORK_H
#define NETWORK_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"

#define NETWORK_FRAME_MIN	14
#define NETWORK_FRAME_MAX	65550

#define NETWORK_MTU		1500	/* unless said otherwise */
#define NETWORK_MTU_MIN		1280	/* IPv6's (RFC 8200, 5) */
#define NETWORK_MTU_MAX		9000

struct network;

/*
 * What is left to do on a frame, as virtio (1.2, 5.1.6) says it and Linux' taps
 * (IFF_VNET_HDR) do; little-endian. NULL instead of one: nothing.
 */
struct network_header {
	uint8_t		nh_flags;
#define NETWORK_NEEDS_CSUM	1	/* from csum_start to the end, to be
					 * stored csum_offset from its start */
#define NETWORK_DATA_VALID	2	/* transport checksum was checked */
	uint8_t		nh_gso_type;	/* to be cut into TCP segments? */
#define NETWORK_GSO_NONE	0
#define NETWORK_GSO_TCPV4	1
#define NETWORK_GSO_TCPV6	4
#define NETWORK_GSO_ECN		0x80	/* and CWR is for the first alone */
	uint16_t	nh_hdr_len;	/* a hint: do not trust it */
	uint16_t	nh_gso_size;	/* payload of a segment */
	uint16_t	nh_csum_start, nh_csum_offset;
};
_Static_assert(sizeof(struct network_header) == 10, "virtio 1.2, 5.1.6");

/* How the device takes frames from the network. */
struct network_port {
	/* Takes a frame; false: no room, dropped. */
	bool	(*np_receive)(void *arg, const struct network_header *,
		    const void *frame, size_t len);
	/* Is there room for a frame now? */
	bool	(*np_ready)(void *arg);
	void	*np_arg;
	unsigned np_mtu;	/* of frames for it, without Ethernet's header */
};

struct network_forward {	/* host port -> guest port, TCP */
	bool		nf_udp;
	char		nf_host[48];	/* host address to listen on, "" = 127.0.0.1 */
	uint16_t	nf_host_port;
	uint16_t	nf_guest_port;
};

/* An Ethernet address of OpenBSD's vmd range, random in its last two bytes. */
void	network_mac_choose(uint8_t mac[6]);
/*
 * User-mode NAT (libslirp): guest 10.0.2.15, gateway and host loopback
 * 10.0.2.2, DNS 10.0.2.3, DHCP. Everything is borrowed for the call; the
 * files of nu_tftp are opened when they are asked for.
 */
struct network_user {
	const struct network_forward *nu_forward;
	size_t		 nu_nforwards;
	const char	*nu_tftp;	/* a folder that TFTP gives to the
					   guest, or NULL */
	const char	*nu_bootfile;	/* that DHCP names, or NULL */
};
int	network_user_open(struct network **, struct loop *,
	    const struct network_port *, const struct network_user *,
	    struct err *);
/* The same with other addresses, in the host's order. */
struct network_addresses {
	uint32_t	na_net, na_mask, na_host, na_guest, na_dns;
};
int	network_user_open_at(struct network **, struct loop *,
	    const struct network_port *, const struct network_user *,
	    const struct network_addresses *, struct err *);
/* As many bytes as a file's name has in an answer of DHCP, with its NUL. */
#define NETWORK_BOOTFILE_MAX	128
/*
 * A local interface: a network of host and guest alone, with these addresses,
 * which differ in their last bit; DHCP gives the guest its own. The host side
 * is the host's loopback, everything beyond it is reached by NAT.
 */
struct network_local {
	uint8_t		 nl_mac[6];	/* the guest's */
	uint32_t	 nl_host, nl_guest;
	bool		 nl_netboot;	/* DHCP names a file to boot from */
	const char	*nl_name;	/* and the guest; borrowed */
};
int	network_local_open(struct network **, struct loop *,
	    const struct network_port *, const struct network_local *,
	    struct err *);
/* A port of a switch: the socket at whose other end it is (cable.h). The
 * descriptor is duplicated. */
int	network_switch_open(struct network **, struct loop *,
	    const struct network_port *, int fd, struct err *);
/* A tap of the host's: its descriptor (hosttap.h), which does not block and is
 * duplicated. locked: the guest's address, if it may send from no other; or
 * NULL. */
int	network_tap_open(struct network **, struct loop *,
	    const struct network_port *, int fd, const uint8_t *locked,
	    struct err *);
void	network_close(struct network *);
/* The guest sends a frame. What its header may not say is dropped. */
void	network_send(struct network *, const struct network_header *,
	    const void *frame, size_t len);
/* The device has room again (np_ready turned true). */
void	network_poke(struct network *);

#endif
