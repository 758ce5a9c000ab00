/*
 * Ethernet addresses of stations, and how people write them.
 */
#ifndef BASE_MAC_H
#define BASE_MAC_H

#include <stdint.h>

#define MAC_TEXT	18	/* fe:e1:bb:d1:23:45, and its NUL */

/* -1: it is none, or one of a group. */
int	mac_parse(const char *, uint8_t mac[6]);
void	mac_text(const uint8_t mac[6], char text[MAC_TEXT]);

#endif
