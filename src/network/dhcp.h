/*
 * The DHCP and BOOTP server of a local interface (RFC 2131, 951): one guest,
 * one address, for ever. Pure: a frame in, a frame out.
 */
#ifndef NETWORK_DHCP_H
#define NETWORK_DHCP_H

#include <stddef.h>
#include <stdint.h>

#define DHCP_FRAME_MAX	600

struct dhcp {
	uint8_t		 dh_mac[6];	/* the guest's, which alone is served */
	uint32_t	 dh_guest;	/* its address, in the host's order */
	uint32_t	 dh_host;	/* router, name server and DHCP server */
	uint32_t	 dh_dns;	/* a second name server; 0: none */
	uint32_t	 dh_mask;
	const char	*dh_file;	/* to boot from; NULL: none */
	const char	*dh_name;	/* of the host, with the file */
};

enum dhcp_what {
	DHCP_OTHER,		/* no request: it goes its way */
	DHCP_SILENT,		/* a request without an answer */
	DHCP_ANSWER		/* reply and *len are the answer's frame */
};

/* What a frame of the guest is. */
enum dhcp_what dhcp_frame(const struct dhcp *, const void *frame, size_t len,
	    uint8_t reply[DHCP_FRAME_MAX], size_t *reply_len);

#endif
