/*
 * Putting IPv4 fragments together before they reach a network that cannot or
 * should not do it.
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

#endif
