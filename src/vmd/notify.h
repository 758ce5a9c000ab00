/*
 * Telling systemd how the daemon is, by the protocol of sd_notify(3).
 */
#ifndef VMD_NOTIFY_H
#define VMD_NOTIFY_H

/* Sends a state such as "READY=1", if somebody wants to know. */
void	notify(const char *state);

#endif
