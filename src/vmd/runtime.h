/*
 * The runtime folder: where vmd, the processes of VMs and of switches listen.
 *
 *	DIR/vmd.sock		vmd, for vmctl
 *	DIR/vm/ID.sock		the process of VM number ID, for vmd
 *	DIR/switch/NAME.sock	the process of a switch
 *
 * DIR is what control_folder() says.
 */
#ifndef VMD_RUNTIME_H
#define VMD_RUNTIME_H

#include <stddef.h>

#include "base/err.h"

#define RUNTIME_PATH_MAX 108		/* what a socket's path may have */

/*
 * Makes the folder with what is in it, for this user; -1 with a line in err.
 * One that others could have made or may write to is refused.
 */
int	runtime_make(const char *dir, struct err *);
/* Removes what is empty of it. */
void	runtime_remove(const char *dir);
/* A path below: runtime_name(buf, size, dir, "vm/%u.sock", id). -1 with a line
 * in err if it is too long for a socket. */
int	runtime_name(char *buf, size_t size, struct err *, const char *dir,
	    const char *fmt, ...) __attribute__((format(printf, 5, 6)));

#endif
