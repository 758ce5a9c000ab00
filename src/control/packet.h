/*
 * Packets: what the blocking side (message.c) and the server (server.c) share.
 */
#ifndef CONTROL_PACKET_H
#define CONTROL_PACKET_H

#include <stddef.h>
#include <sys/un.h>

#include "control/control.h"

/* An object as text, to be ended with cJSON_free(); NULL and errno. */
char	*packet_text(const cJSON *, size_t *len);
/* One sendmsg(2) with these flags; -1 and errno. */
int	packet_send(int fd, const char *text, size_t len, const int *fds,
	    unsigned nfds, int flags);
/* One recvmsg(2), as control_receive(). */
int	packet_receive(int fd, struct control_message *, int flags);
/* -1 with a line in err: the path is too long. */
int	packet_address(struct sockaddr_un *, const char *path, struct err *);

#endif
