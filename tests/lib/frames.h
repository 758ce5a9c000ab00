/*
 * Ethernet frames by hand: enough ARP, IPv4, UDP, ICMP, TCP and DHCP to play a
 * guest on the network. Numbers are in host order.
 */
#ifndef TESTS_FRAMES_H
#define TESTS_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_SIZE	1600

#define IP_GUEST	0x0a00020fu
#define IP_GATEWAY	0x0a000202u
#define IP_DNS		0x0a000203u

#define TCP_FIN		0x01
#define TCP_SYN		0x02
#define TCP_RST		0x04
#define TCP_PSH		0x08
#define TCP_ACK		0x10

extern const uint8_t frame_mac[6];	/* the guest's */

/* What a frame is, as far as we know; ports are ICMP's id and seq. */
struct parsed {
	uint16_t	 ethertype;
	uint8_t		 proto;
	uint8_t		 source_mac[6];
	uint32_t	 src, dst;
	uint16_t	 sport, dport;
	uint32_t	 seq, ack;	/* TCP */
	uint8_t		 flags;		/* TCP; ARP, ICMP: operation, type */
	const uint8_t	*data;
	size_t		 len;
	bool		 sums_right;	/* IP header's and TCP's, UDP's */
};

/* Each makes a frame in a buffer of FRAME_SIZE; returns its length. The
 * gateway's hardware address is broadcast until frame_gateway() is told. */
void	frame_gateway(const uint8_t mac[6]);
size_t	frame_arp(uint8_t *, uint16_t op, uint32_t src, uint32_t dst);
size_t	frame_udp(uint8_t *, uint32_t src, uint16_t sport, uint32_t dst,
	    uint16_t dport, const void *, size_t);
size_t	frame_ping(uint8_t *, uint32_t dst, uint16_t id, uint16_t seq);
size_t	frame_tcp(uint8_t *, uint32_t dst, uint16_t sport, uint16_t dport,
	    uint32_t seq, uint32_t ack, uint8_t flags, const void *, size_t);
/* Puts the IP header's sum right. */
void	frame_ip_sum(uint8_t *);
/* DHCP: type 1 DISCOVER, 3 REQUEST. */
size_t	frame_dhcp(uint8_t *, uint8_t type, uint32_t requested);
/* false if it is cut short */
bool	frame_parse(const uint8_t *, size_t, struct parsed *);
/* An option of a DHCP answer; NULL if there is none. */
const uint8_t *dhcp_option(const struct parsed *, uint8_t option);

#endif
