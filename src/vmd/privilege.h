/*
 * Giving up privileges, in the process of a VM; see privilege.c for the steps.
 */
#ifndef VMD_PRIVILEGE_H
#define VMD_PRIVILEGE_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* From root to a user, with the user's groups, for ever. Nothing to do for who
 * is not root. -1 with a line in err. */
int	privilege_become(uid_t, struct err *);
/* Could this user's VM, without our privileges, read a file? */
bool	privilege_can_read(uid_t, const char *path);
/*
 * All that was to be opened is open: to the user if that is not root, else to
 * one who owns nothing; no privilege comes back; and of the system calls, those
 * remain that a machine needs.
 */
int	privilege_drop(uid_t, struct err *);

#endif
