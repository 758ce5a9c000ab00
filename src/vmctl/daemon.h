/*
 * vmctl as a client of vmd(8). The messages are listed in src/vmd/protocol.h.
 */
#ifndef VMCTL_DAEMON_H
#define VMCTL_DAEMON_H

#include <cjson/cJSON.h>

#include "control/control.h"
#include "vmctl/vmctl.h"

/*
 * A connection to the user's own vmd or else to root's: the descriptor, or -1
 * with errno ENOENT when none runs for us; the line in err says how to start
 * one.
 */
int	daemon_open(struct err *);
/* {"command": name}; with "vm" too, if vm is not NULL. NULL: no memory, which
 * daemon_call() says. */
cJSON	*daemon_request(const char *name, const char *vm);
/* As control_call(). A request that cannot be made is an error as others. */
int	daemon_call(int fd, cJSON *request, struct control_message *,
	    struct err *);
/* All VMs of vmd, or the one that a word stands for, as one list; NULL with a
 * line in err. The caller ends it with cJSON_Delete(). */
cJSON	*daemon_vms(int fd, const char *vm, struct err *);
/* Does vmd keep a VM of this id or name? False also where there is no vmd. fd
 * is daemon_open()'s. */
bool	daemon_knows(int fd, const char *vm);
/* The console of a VM, until it ends or the user leaves; an exit status. */
int	console_session(int fd, const char *vm, const char *name);

int	console_command(const struct command *, int, char **);
int	load_command(const struct command *, int, char **);
int	log_command(const struct command *, int, char **);
int	pause_command(const struct command *, int, char **);
int	reload_command(const struct command *, int, char **);
int	reset_command(const struct command *, int, char **);
int	start_command(const struct command *, int, char **);

#endif
