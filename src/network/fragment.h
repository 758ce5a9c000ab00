/*
 * Putting IPv4 fragments together before they reach a network that cannot or
 * should not do it, and making fragments of what it sends.
 */
#ifndef NETWORK_FRAGMENT_H
#define NETWORK_FRAGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fragments;

struct fragments *fragments_new(void);	/* NULL and errno */
void	fragments_free(struct fragments *);

/*
 * Is this IPv4 frame, of at least 34 bytes, a fragment?
 */
bool	fragment_is(const uint8_t *frame);

/*
 * Takes an Ethernet frame with a fragment, at a time in ns. True when it was
 * the last one missing: *whole is then a frame with all of the datagram, until
 * the next call. What is wrong or too late is dropped.
 */
bool	fragments_take(struct fragments *, const uint8_t *frame, size_t len,
	    uint64_t now, const uint8_t **whole, size_t *whole_len);

/* A frame on its way to become fragments. */
struct fragment_cut {
	const uint8_t	*fc_frame;	/* borrowed until the last one */
	size_t		 fc_header, fc_total;	/* IP's, and all of it */
	size_t		 fc_done, fc_each;	/* bytes of data */
};

/* False: it is no whole IPv4 packet with its own header. */
bool	fragment_cut(struct fragment_cut *, const uint8_t *frame, size_t len,
	    unsigned mtu);
/* Makes the next fragment, mtu + 14 bytes at most; its length, 0 after the
 * last. */
size_t	fragment_next(struct fragment_cut *, uint8_t *fragment);

#endif
