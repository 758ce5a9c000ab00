/*
 * Ethernet addresses; see mac.h.
 */
#include "base/mac.h"

#include <stdio.h>
#include <string.h>

static int
digit(char c)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	const char *at = c != '\0' ? strchr(digits, c) : NULL;

	return (at == NULL ? -1 : (int)(at - digits) % 16);
}

int
mac_parse(const char *text, uint8_t mac[6])
{
	uint8_t read[6];
	int high, low;
	unsigned i;

	if (strlen(text) != MAC_TEXT - 1)
		return (-1);
	for (i = 0; i < sizeof(read); i++) {
		high = digit(text[3 * i]);
		low = digit(text[3 * i + 1]);
		if (high == -1 || low == -1 ||
		    text[3 * i + 2] != (i < 5 ? ':' : '\0'))
			return (-1);
		read[i] = (uint8_t)(high << 4 | low);
	}
	if ((read[0] & 1) != 0)		/* of a group */
		return (-1);
	memcpy(mac, read, sizeof(read));
	return (0);
}

void
mac_text(const uint8_t mac[6], char text[MAC_TEXT])
{
	snprintf(text, MAC_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0],
	    mac[1], mac[2], mac[3], mac[4], mac[5]);
}
