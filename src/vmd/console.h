/*
 * A VM's console: what its COM1 is connected to in a VM's process (console.c).
 */
#ifndef VMD_CONSOLE_H
#define VMD_CONSOLE_H

#include "base/err.h"
#include "base/loop.h"
#include "config/config.h"

#define CONSOLE_READERS	64	/* at once, at most */

struct console;

/*
 * A terminal (pty) for owner, without readers yet. NULL with a line in err. It
 * is made with the rights of whoever may give it to owner.
 */
struct console *console_new(const struct config_owner *owner, struct err *);
/* The machine's end: a descriptor for both directions, the console's own. */
int	console_fd(const struct console *);
/* Serves from now on, on the loop's thread; before the loop runs. 0 or -1. */
int	console_start(struct console *, struct loop *, struct err *);
/* One more reader: a stream socket, the caller's to hand on and close. -1 and
 * errno, EUSERS: there are too many. The loop's thread, after the start. */
int	console_attach(struct console *);
/* The terminal's name, as "/dev/pts/3"; the console's. */
const char *console_tty(const struct console *);
/* Readers get what the machine has written; then all is closed. After the
 * loop. */
void	console_free(struct console *);

#endif
