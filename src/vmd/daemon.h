/*
 * The inside of the daemon: what its files share. One thread, one loop.
 *
 *	daemon.c	its life, signals, starting and stopping VMs in order
 *	load.c		files into the table: start, load, reload, reset
 *	process.c	VMs' processes: started, found again, spoken to
 *	command.c	what vmctl asks, and who may
 *	request.c	answers that come later
 *	status.c	what is told about a VM
 *	switches.c	switches' processes
 */
#ifndef VMD_DAEMON_H
#define VMD_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/loop.h"
#include "config/config.h"
#include "control/control.h"
#include "vmd/limits.h"
#include "vmd/runtime.h"
#include "vmd/vms.h"

#define DAEMON_GROUPS_MAX	256

struct adoption;
struct client;
struct request;
struct vmswitch;

/* What the command line says. */
struct daemon_options {
	const char	*do_file;	/* NULL: the default one, if it exists */
	const struct config_macro *do_macros;
	size_t		 do_nmacros;
	bool		 do_foreground;
	unsigned	 do_verbose;
};

enum daemon_phase {
	DAEMON_FINDING,		/* VMs of a vmd that was before us */
	DAEMON_SERVING,
	DAEMON_STOPPING,	/* VMs in order, then we */
	DAEMON_KILLING		/* at once */
};

struct daemon {
	const struct daemon_options *d_options;
	struct loop	*d_loop;
	char		 d_dir[RUNTIME_PATH_MAX];
	char		 d_file[512];	/* vm.conf, "" if there is none */
	struct config	 d_config;	/* as read last */
	struct vms	 d_vms;
	struct control_server *d_server;
	struct client	*d_clients;
	enum daemon_phase d_phase;
	bool		 d_told;	/* to end, before it served */
	int		 d_listen;	/* until there is a server */
	int		 d_ready;	/* told when it serves, or -1 */
	int		 d_status;	/* with which it exits */
	bool		 d_verbose;
	bool		 d_posted;	/* request.c: clients have a turn */

	int		 d_signals;
	struct loop_fd	*d_signal_source;
	struct vmswitch	*d_switches;	/* switches.c */
	struct adoption	*d_adoptions;	/* process.c: not answered yet */
	struct loop_timer *d_find_limit;
	struct stagger	 d_stagger;
	struct loop_timer *d_stagger_timer;
	struct loop_timer *d_kill_timer;	/* process.c */
};

/* --- daemon.c ----------------------------------------------------------------- */

/* Reads the configuration, serves until it is told to end; an exit status. */
int	daemon_main(const struct daemon_options *);
/* Reads the configuration and says what is wrong; an exit status. */
int	daemon_check(const struct daemon_options *);
/* vm.conf's path: the one that was said, or the user's default one. */
int	daemon_file(const struct daemon_options *, char *path, size_t size,
	    struct err *);
/* All sockets that are to be known have been asked: now it serves. */
void	daemon_found(struct daemon *);
/* VMs wait for their turn, or one has ended: goes on with what is next. */
void	daemon_next(struct daemon *);
/* How many VMs start or stop at once. */
unsigned daemon_parallel(const struct daemon *);
/* Ends: VMs stop in order, or (left) are left alone. */
void	daemon_end(struct daemon *, bool left);

/* --- load.c -------------------------------------------------------------------- */

/* Reads a file; all its mistakes go to the log, the first one into err. */
int	load_read(const struct daemon *, struct config *, const char *path,
	    struct err *);
/* Takes the VMs and settings of a configuration over, which is empty then;
 * what it enables waits for its start. */
void	load_apply(struct daemon *, struct config *);
/* Adds what is in another file. */
int	load_file(struct daemon *, const char *path, struct err *);
/* What is stopped goes, and comes back if the default file has it. Nothing
 * changes if there is a mistake in it. */
int	load_again(struct daemon *, struct err *);
/* Ends all VMs, none is configured any more. */
void	load_reset_vms(struct daemon *);
void	load_reset_switches(struct daemon *);
/* A VM for the table, made of a complete configuration, which it takes over in
 * any case; NULL with a line in err. */
struct vm *load_vm(struct daemon *, struct config_vm *, uid_t, struct err *);

/* --- process.c ------------------------------------------------------------------ */

/* What is asked of a VM's process for somebody, or for nobody (NULL). */
enum call_kind { CALL_RUN, CALL_STOP, CALL_PAUSE, CALL_UNPAUSE, CALL_CONSOLE,
    CALL_LOG };

/* Starts the VM's process; request_vm() tells how that went. -1 with a line in
 * err. */
int	process_start(struct daemon *, struct vm *, struct err *);
/* This program anew, with a socket as its descriptor 3; a title for ps(1). -1
 * with a line in err. */
pid_t	process_spawn(int fd, const char *title, const char *option,
	    struct err *);
/* Asks it; the answer goes to the request. */
void	process_call(struct daemon *, struct vm *, enum call_kind, bool flag,
	    struct request *);
/* Kills processes that were to end and did not. */
void	process_kill_timer(void *arg);
/* Looks for processes of VMs in the runtime folder. daemon_found() is called
 * when they have answered, or have had their time. */
void	process_find(struct daemon *);
/* Forgets the processes; they go on. */
void	process_leave(struct daemon *);

/* --- switches.c ------------------------------------------------------------------ */

/* Removes sockets of those that do not exist any more. */
void	switches_clean(const struct daemon *);
/* Starts, or finds again, what is configured; lets go of what is not. */
void	switches_apply(struct daemon *);
/* Ends them all, though VMs may use them. */
void	switches_stop(struct daemon *);
/* Lets go of them all. */
void	switches_leave(struct daemon *);

/* --- command.c ------------------------------------------------------------------ */

extern const struct control_ops command_ops;
/* Does what a message asks; the request is answered now or later. */
void	command_do(struct client *, struct request *,
	    struct control_message *);

/* --- request.c ------------------------------------------------------------------- */

/* Somebody who is connected, with what he asked meanwhile. */
struct client {
	struct daemon	*c_daemon;
	struct control_peer *c_peer;
	struct request	*c_request;	/* that is being answered */
	struct control_message *c_queue;	/* that came after it */
	size_t		 c_nqueue;
	uid_t		 c_uid;
	gid_t		 c_groups[DAEMON_GROUPS_MAX];
	size_t		 c_ngroups;
	struct client	*c_next;
};

/* What a request may wait for. REQUEST_RUNS fails if the VM ends first. */
enum request_event { REQUEST_RUNS, REQUEST_ENDED };

struct request {
	struct client	*r_client;	/* NULL: nobody waits for the answer */
	unsigned	 r_holds;
	cJSON		*r_list;	/* answers of several VMs, or NULL */
	unsigned	 r_waiting;	/* VMs that it still waits for */
	bool		 r_ready;	/* it waits for no more than those */
};

/* A request of the client, whose message is being read. */
struct request *request_new(struct client *);
void	request_hold(struct request *);
void	request_release(struct request *);
/* Answers it, once; the object is freed. Later answers are dropped. */
void	request_answer(struct request *, cJSON *, const int *fds,
	    unsigned nfds);
/* Its answer is a list, with one member "vms" for each VM. -1 and errno. */
int	request_list(struct request *);
/* It waits for this of a VM. -1 and errno. */
int	request_wait(struct request *, struct vm *, enum request_event);
/* It waits for nothing else: a list without VMs is answered now. */
void	request_ready(struct request *);
/* Nobody waits for the VM any more. */
void	request_forget(struct vm *);
/* A VM runs or has ended: who waited for it has an answer. */
void	request_vm(struct vm *, enum request_event);

/* Messages of a client, one after another: the next is read when the one
 * before has been answered. */
void	client_message(struct client *, struct control_message *);
struct client *client_new(struct daemon *, struct control_peer *);
void	client_gone(struct client *);

/* --- status.c --------------------------------------------------------------------- */

/* A VM as it is listed; NULL: no memory. */
cJSON	*status_vm(const struct daemon *, const struct vm *);

#endif
