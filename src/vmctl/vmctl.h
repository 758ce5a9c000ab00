/*
 * What the files of vmctl share. Everything here belongs to the main thread.
 */
#ifndef VMCTL_VMCTL_H
#define VMCTL_VMCTL_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmm.h>

#include "base/err.h"
#include "config/config.h"
#include "machine/machine.h"

/* Exit statuses beyond 0 and 1; a signal's is STATUS_SIGNAL + its number. */
#define STATUS_ERROR	1
#define STATUS_CRASH	3
#define STATUS_TIMEOUT	124
#define STATUS_SIGNAL	128

struct command {
	const char	*c_name;
	/* Runs it with argv[0] the command's name; returns the exit status. */
	int		(*c_run)(const struct command *, int argc, char **argv);
	const char	*c_args;	/* its arguments, in one line */
	const char	*c_what;	/* what it does, in one line */
	const char	*c_help;	/* its options, a line each; or NULL */
};

/* main.c */

/* Says one line on standard error; returns STATUS_ERROR. */
int	complain(const char *, ...) __attribute__((format(printf, 1, 2)));
/* Says what was wrong with the option that getopt_long() gave `opt` ('?' or
 * ':') for; returns STATUS_ERROR. Its optstring begins with ':'. */
int	bad_option(const struct command *, char **argv, int opt);
/* Prints a command's help; returns 0. */
int	help(const struct command *);

/* the commands */

int	create_command(const struct command *, int, char **);
int	info_command(const struct command *, int, char **);
int	run_command(const struct command *, int, char **);
int	status_command(const struct command *, int, char **);
int	stop_command(const struct command *, int, char **);
int	wait_command(const struct command *, int, char **);

/* info.c: says so in one line if the engine that a user means by this name is
 * not the best one, because that does not work here. */
void	info_fallback(const char *engine);

/* parse.c: the options' values. 0, or -1 with a line in err. */

/* A size with one of the suffixes B, K, M, G, T; none means bytes. */
int	parse_size(const char *, uint64_t *bytes, struct err *);
/* A decimal, octal (0) or hexadecimal (0x) number from min to max. */
int	parse_number(const char *, unsigned long min, unsigned long max,
	    unsigned long *, struct err *);
/* A time in seconds with an optional fraction, above 0. */
int	parse_seconds(const char *, uint64_t *ns, struct err *);
/* tcp:[host]:port-guestport, and udp; the text is changed. -1: it is none. */
int	parse_forward(char *, struct network_forward *);
/* A copy of a text that may be given once; *at is NULL before. */
int	parse_string(char **at, const char *, struct err *);
/* A VM's name: letters, digits, '.', '-', '_', none of these first, and not
 * digits only. */
int	parse_name(const char *, struct err *);

/* net.c: the value of --net, true in *used if it describes an interface, which
 * config_nic_clear() ends; and that as an interface of a machine in this
 * process, whose descriptors net_close() closes when the machine is made. 0, or
 * -1 with a line in err. */
int	net_parse(const char *, struct config_nic *, bool *used,
	    struct err *);
int	net_open(const struct config_nic *, const char *vm,
	    struct machine_nic *, struct err *);
void	net_close(struct machine_nic *);

/* memory.c: can the host carry a guest of so many bytes? 0 or -1. */
int	memory_check(uint64_t bytes, struct err *);

/* vms.c: the host's VMs */

struct vms {
	struct vm_info_result	*v_vm;
	size_t			 v_count;
};

/* Fills in the VMs that this user may see, by ascending id: those in the
 * foreground, and if `kept` those of any vmd, too. 0 or -1; the caller ends it
 * with vms_free(). */
int	vms_get(int vmm, bool kept, struct vms *, struct err *);
void	vms_free(struct vms *);
/* The one VM that a user's word, an id or a name, stands for; NULL with a line
 * in err when there is none or several. Borrowed from the list. */
const struct vm_info_result *vms_find(const struct vms *, const char *word,
	    struct err *);
/* Is it one that a vmd keeps, ours or another? True also of one whose process
 * is ending, of which that cannot be known any more. */
bool	vms_kept(const struct vm_info_result *);
/* Is its process stopped, by ^Z for instance? */
bool	vms_paused(const struct vm_info_result *);
/* vmm_open() with its failure explained: a descriptor, or -1. */
int	vms_open(struct err *);

#endif
