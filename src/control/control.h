/*
 * Control messages: between vmctl and vmd, and between vmd and the processes
 * of its VMs and switches.
 *
 * 1. A message is one JSON object (RFC 8259) in one packet of a local
 *    SOCK_SEQPACKET socket, CONTROL_MAX bytes at most, with up to CONTROL_FDS
 *    descriptors. What does not parse, is larger, or has members of the wrong
 *    type ends the connection; it never ends the process that reads it.
 * 2. A request has a "command"; its answer comes on the same connection in the
 *    order of the requests and has "ok": true, or "ok": false with "error", a
 *    line for people, and "code", the name of an errno. An answer with
 *    "more": true is followed by another one. What comes without a request
 *    has an "event".
 * 3. Who asks is known from the socket (SO_PEERCRED), never from the message.
 *
 * src/vmd/protocol.h lists commands and members.
 */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/loop.h"

#define CONTROL_MAX	(128 * 1024)
#define CONTROL_FDS	8
#define CONTROL_UNREAD	(1024 * 1024)
#define CONTROL_PEERS	1024		/* connections of a server */
#define CONTROL_PEERS_USER 64		/* of a user but root and our own */

/* The only argument of a VM's process, by which it is known for one of vmd's. */
#define CONTROL_VM_PROCESS "--vm-process"

struct control_message {
	cJSON		*cm_json;		/* an object */
	int		 cm_fd[CONTROL_FDS];	/* -1: taken by the reader */
	unsigned	 cm_nfds;
};

/* Ends what is in a message: the object, descriptors not taken. */
void	control_message_free(struct control_message *);
/* Members with their types checked; `otherwise` if they are missing or not of
 * that type. */
const char *control_string(const cJSON *, const char *name,
	    const char *otherwise);
double	control_number(const cJSON *, const char *name, double otherwise);
bool	control_bool(const cJSON *, const char *name, bool otherwise);
/* A text of a message, whose object has the members to be one: the object, or
 * NULL. Reads len bytes, whatever they are. */
cJSON	*control_parse(const char *text, size_t len);
/* Answers: {"ok": true}; {"ok": false, "code": ..., "error": ...}. NULL when
 * there is no memory, which control_send() and control_peer_send() take. */
cJSON	*control_ok(void);
cJSON	*control_error(int error, const char *, ...)
	    __attribute__((format(printf, 2, 3)));
/* The number that an errno's name stands for; EPROTO if none. */
int	control_errno(const char *name);

/* The folder in which a user's vmd listens, at "vmd.sock", whether it exists or
 * not: $VMD_DIR; else /run/vmd for root; else $XDG_RUNTIME_DIR/vmd, else
 * /tmp/vmd-UID. -1 with a line in err. */
int	control_folder(uid_t, char *path, size_t size, struct err *);

/* --- one side of a connection, blocking ------------------------------------ */

/* A connection to the socket at path; -1 with a line in err. */
int	control_connect(const char *path, struct err *);
/* Sends; the object and the descriptors stay the caller's. -1 and errno:
 * EMSGSIZE for more than CONTROL_MAX. */
int	control_send(int fd, const cJSON *, const int *fds, unsigned nfds);
/* Waits for a message; 0 at the end of the connection, -1 and errno (EPROTO:
 * no message of ours), else 1. */
int	control_receive(int fd, struct control_message *);
/* A request and its answer, or with NULL for a request the next answer to the
 * last one; -1 with the answer's "error" in err, and its errno in errno. Events
 * are passed over. The request is freed in any case. */
int	control_call(int fd, cJSON *request, struct control_message *answer,
	    struct err *);

/*
 * A port for a VM at the switch of that name (config_name_check()) whose
 * process serves in this folder: a descriptor, or -1 with a line in err. *mtu
 * is what the interface wants, 0 for what there is, and then what it has. Waits
 * a few seconds at most.
 */
int	control_port(const char *dir, const char *name, const char *vm,
	    const uint8_t mac[6], bool locked, unsigned *mtu, struct err *);

/* --- a server of them, on a loop ------------------------------------------- */

struct control_server;
struct control_peer;

struct control_credentials {
	uid_t		cc_uid;
	gid_t		cc_gid;
	pid_t		cc_pid;
};

struct control_ops {
	/* A message came; `taken` descriptors are set to -1 by the reader. */
	void	(*co_message)(void *arg, struct control_peer *,
		    struct control_message *);
	/* The connection ended; the peer is freed when this returns. */
	void	(*co_gone)(void *arg, struct control_peer *);
};

/*
 * Listens at path, whose folder exists; a socket file that nobody listens at is
 * replaced. mode: its permissions. NULL with a line in err (EADDRINUSE:
 * somebody serves there). The ops are called on the loop's thread.
 */
struct control_server *control_server_new(struct loop *, const char *path,
	    mode_t mode, const struct control_ops *, void *arg, struct err *);
/* Its two steps, for who gives up privileges in between: a socket that listens
 * at path (-1 with a line in err), and a server on it, who owns it from now on,
 * not the file. NULL with a line in err, and the socket is closed. */
int	control_listen(const char *path, mode_t mode, struct err *);
struct control_server *control_server_take(struct loop *, int fd,
	    const struct control_ops *, void *arg, struct err *);
/* Ends it, its connections (co_gone is called) and the socket file, if it is
 * still its own. */
void	control_server_free(struct control_server *);
/* A connected socket as a peer, which owns it from now on; NULL with a line in
 * err, and the socket is closed. */
struct control_peer *control_peer_new(struct loop *, int fd,
	    const struct control_ops *, void *arg, struct err *);
/* co_gone is not called; what waits to be sent is lost. */
void	control_peer_free(struct control_peer *);
const struct control_credentials *control_peer_who(const struct control_peer *);
/* A descriptor of the connection, -1 and errno: as long as it is open, the
 * other side does not find the connection ended. */
int	control_peer_hold(const struct control_peer *);
/* The groups that it is in, its own first; how many. */
size_t	control_peer_groups(const struct control_peer *, gid_t *groups,
	    size_t max);
void	**control_peer_data(struct control_peer *);	/* the user's own */
/* Other ops from now on, with the same argument. */
void	control_peer_ops(struct control_peer *, const struct control_ops *);
/* Ends the connection: co_gone is called soon, never from here. */
void	control_peer_shut(struct control_peer *);
/*
 * Sends as soon as the peer reads; never blocks. The object is freed,
 * descriptors are duplicated. A peer that leaves CONTROL_UNREAD bytes unread
 * is closed: co_gone is called soon, never from here.
 */
void	control_peer_send(struct control_peer *, cJSON *, const int *fds,
	    unsigned nfds);

#endif
