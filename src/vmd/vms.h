/*
 * The VMs that vmd knows: which there are, their numbers and states. Pure: it
 * talks to nobody.
 *
 * 1. A name stands for one VM at a time. A number belongs to a name and the
 *    user who owns it for as long as vmd runs, so that a VM that comes back
 *    has its old number, and what is derived from it.
 * 2. A VM is in the list while it is configured or its process exists.
 */
#ifndef VMD_VMS_H
#define VMD_VMS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "config/config.h"

enum vm_state {
	VM_STOPPED,
	VM_WAITING,		/* for its turn to start */
	VM_STARTING,		/* its process is there, not the machine */
	VM_RUNNING,
	VM_PAUSED,
	VM_STOPPING		/* its guest has been asked to stop */
};

struct control_peer;
struct call;
struct waiter;

struct vm {
	unsigned	 v_id;
	char		 v_name[CONFIG_NAME_MAX];
	uid_t		 v_uid;		/* of whoever owns it */
	struct config_vm *v_config;	/* what it is when it starts next;
					   NULL: goes when it has stopped */
	bool		 v_kept;	/* from a file: stays when stopped */
	bool		 v_foreign;	/* defined by a user who is not vmd's:
					   it has that user's rights alone */
	bool		 v_copy;	/* what it boots from was said by vmd's
					   user, though */
	enum vm_state	 v_state;
	bool		 v_asked;	/* vmd ends, and has asked it to */

	/* its process, if it runs */
	struct config_vm *v_running;	/* what it is */
	pid_t		 v_pid;
	char		 v_tty[64];
	char		 v_engine[32];
	char		 v_end[32];	/* how it ended, once it has said so */
	char		 v_how[32];	/* and how that came about, if asked */
	char		 v_error[512];
	uint64_t	 v_kill;	/* when its process is killed; 0: not */
	double		 v_since;	/* CLOCK_BOOTTIME, seconds */
	unsigned	 v_order;	/* of starts */
	struct control_peer *v_peer;
	struct call	*v_calls, **v_calls_tail;	/* process.c */
	struct waiter	*v_waiters;	/* request.c */
	struct vm	*v_next;
};

struct vms_id;

struct vms {
	struct vm	*vs_first;	/* in the order in which they came */
	struct vms_id	*vs_ids;
	unsigned	 vs_last;	/* the highest number given */
	unsigned	 vs_order;
};

void	vms_init(struct vms *);
void	vms_free(struct vms *);		/* no VM runs */
/*
 * A new VM, stopped, that takes over the config (which has its name); NULL and
 * errno: EEXIST, ENOMEM. id 0: the one that name and user have or get; another:
 * exactly that (EEXIST if another VM has it).
 */
struct vm *vms_add(struct vms *, const char *name, uid_t, unsigned id,
	    struct config_vm *);
/* It must not run. In two steps, where there are still those to tell of it. */
void	vms_remove(struct vms *, struct vm *);
void	vms_take(struct vms *, struct vm *);
void	vms_end(struct vm *);
struct vm *vms_by_name(const struct vms *, const char *);
struct vm *vms_by_id(const struct vms *, unsigned);
/* By number or name, as a user writes it. */
struct vm *vms_find(const struct vms *, const char *word);
/* Is there a process, or soon one? */
bool	vm_is_active(const struct vm *);
const char *vm_state_name(enum vm_state);
/* The config of a VM that is active; of another, what it would have. May be
 * NULL. */
const struct config_vm *vm_config_now(const struct vm *);

#endif
