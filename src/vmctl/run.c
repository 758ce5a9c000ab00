/*
 * vmctl run: a VM in the foreground.
 *
 * The main thread reads the options, makes the machine and runs its loop; what
 * ends the machine from outside (a signal, the time limit, the escape ~., the
 * reader of our output going away) arrives on that loop too, as an event, and
 * leaves its reason in s_status before it stops the machine.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "vmctl/signals.h"
#include "vmctl/terminal.h"
#include "vmctl/vmctl.h"

#define DEFAULT_MEMORY	(512ULL << 20)

/* What the options say. */
struct run_options {
	struct machine_config	ro_config;
	struct config_nic	ro_nic[MACHINE_NICS_MAX];
	size_t			ro_nnics;
	char			ro_name[VMM_MAX_NAME_LEN];
	uint64_t		ro_timeout;	/* ns, 0: none */
	const char		*ro_timeout_word;
	bool			ro_net;		/* --net was given */
	bool			ro_quiet;
};

/* A machine under way. */
struct session {
	struct machine		*s_machine;
	const struct run_options *s_options;
	struct escape		 s_escape;
	struct loop_timer	*s_timer;
	struct loop_fd		*s_output;
	int			 s_output_fd;
	int			 s_status;	/* why it was stopped, 0: was not */
};

/* --- options ---------------------------------------------------------------- */

enum { OPT_INITRD = 0x100, OPT_APPEND, OPT_NET, OPT_ENGINE, OPT_TIMEOUT,
    OPT_NO_REBOOT, OPT_EXIT_PORT, OPT_STATS, OPT_TRACE,
    OPT_DIAG_STATE };

static const struct option run_longopts[] = {
	{ "initrd", required_argument, NULL, OPT_INITRD },
	{ "append", required_argument, NULL, OPT_APPEND },
	{ "net", required_argument, NULL, OPT_NET },
	{ "engine", required_argument, NULL, OPT_ENGINE },
	{ "quiet", no_argument, NULL, 'q' },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
	{ "no-reboot", no_argument, NULL, OPT_NO_REBOOT },
	{ "exit-port", required_argument, NULL, OPT_EXIT_PORT },
	{ "stats", no_argument, NULL, OPT_STATS },
	{ "trace", required_argument, NULL, OPT_TRACE },
	{ "diag-state", required_argument, NULL, OPT_DIAG_STATE },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 }
};

static int
add_nic(struct run_options *ro, const char *word, struct err *err)
{
	struct config_nic nic;
	bool used;

	ro->ro_net = true;
	if (net_parse(word, &nic, &used, err) == -1)
		return (-1);
	if (!used)
		return (0);
	if (ro->ro_nnics == MACHINE_NICS_MAX) {
		config_nic_clear(&nic);
		return (err_set(err, "more than %d interfaces",
		    MACHINE_NICS_MAX));
	}
	ro->ro_nic[ro->ro_nnics++] = nic;
	return (0);
}

static int
set_boot_device(struct machine_config *mc, const char *word, struct err *err)
{
	static const char *const names[] = {
		[MACHINE_BOOT_DISK] = "disk",
		[MACHINE_BOOT_CDROM] = "cdrom",
		[MACHINE_BOOT_NET] = "net"
	};
	unsigned i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(word, names[i]) == 0) {
			mc->mc_boot_device = (enum machine_boot)i;
			return (0);
		}
	return (err_set(err, "\"%s\" is not disk, cdrom or net", word));
}

/* One option; 0, or -1 with a line in err. */
static int
set_option(struct run_options *ro, int opt, const char *word, struct err *err)
{
	struct machine_config *mc = &ro->ro_config;
	unsigned long n;

	switch (opt) {
	case 'B':
		return (set_boot_device(mc, word, err));
	case 'b':
		mc->mc_kernel = word;
		return (0);
	case 'd':
		if (mc->mc_ndisks == MACHINE_DISKS_MAX)
			return (err_set(err, "more than %d disks",
			    MACHINE_DISKS_MAX));
		mc->mc_disk[mc->mc_ndisks++] = word;
		return (0);
	case 'm':
		if (parse_size(word, &mc->mc_memory, err) == -1)
			return (-1);
		return (memory_check(mc->mc_memory, err));
	case 'r':
		mc->mc_cdrom = word;
		return (0);
	case 'q':
		ro->ro_quiet = true;
		return (0);
	case OPT_INITRD:
		if (mc->mc_ninitrds == MACHINE_MODULES_MAX)
			return (err_set(err, "more than %d files",
			    MACHINE_MODULES_MAX));
		mc->mc_initrd[mc->mc_ninitrds++] = word;
		return (0);
	case OPT_APPEND:
		mc->mc_append = word;
		return (0);
	case OPT_NET:
		return (add_nic(ro, word, err));
	case OPT_ENGINE:
		mc->mc_engine = word;
		return (0);
	case OPT_TIMEOUT:
		ro->ro_timeout_word = word;
		return (parse_seconds(word, &ro->ro_timeout, err));
	case OPT_NO_REBOOT:
		mc->mc_no_reboot = true;
		return (0);
	case OPT_TRACE:
		mc->mc_trace = word;
		return (0);
	case OPT_DIAG_STATE:
		if (parse_number(word, 1, 1000000, &n, err) == -1)
			return (-1);
		mc->mc_diag_state = (unsigned)n;
		return (0);
	case OPT_STATS:
		mc->mc_stats = true;
		return (0);
	case OPT_EXIT_PORT:
		if (parse_number(word, 0, 0xFFFF, &n, err) == -1)
			return (-1);
		mc->mc_exit_port = (int)n;
		return (0);
	}
	return (err_set(err, "it is not known"));
}

static const char *
option_name(int opt)
{
	static char letter[] = "-?";
	const struct option *o;

	for (o = run_longopts; o->name != NULL; o++)
		if (o->val == opt)
			return (o->name);
	letter[1] = (char)opt;
	return (letter);
}

/* A name given must be free; one made up is. */
static int
check_name(const char *name, struct err *err)
{
	struct vms vms = { NULL, 0 };
	int fd, ret = 0;
	size_t i;

	if (parse_name(name, err) == -1)
		return (-1);
	fd = vms_open(err);
	if (fd == -1)
		return (-1);
	if (vms_get(fd, true, &vms, err) == -1) {
		vmm_close(fd);
		return (-1);
	}
	for (i = 0; i < vms.v_count; i++)
		if (strcmp(vms.v_vm[i].vir_name, name) == 0)
			ret = err_set(err, "VM %u is already named %s; "
			    "choose another name",
			    (unsigned)vms.v_vm[i].vir_id, name);
	vms_free(&vms);
	vmm_close(fd);
	return (ret);
}

/* Reads the command line; 0 to go on, else *status is the exit status. */
static int
read_options(const struct command *c, int argc, char **argv,
    struct run_options *ro, int *status)
{
	struct machine_config *mc = &ro->ro_config;
	const char *name;
	struct err err;
	int opt;

	memset(ro, 0, sizeof(*ro));
	mc->mc_name = ro->ro_name;
	mc->mc_append = "";
	mc->mc_memory = DEFAULT_MEMORY;
	mc->mc_engine = "auto";
	mc->mc_exit_port = -1;
	mc->mc_console_in = STDIN_FILENO;
	mc->mc_console_out = STDOUT_FILENO;

	while ((opt = getopt_long(argc, argv, ":B:b:d:hm:qr:", run_longopts,
	    NULL)) != -1) {
		if (opt == 'h') {
			*status = help(c);
			return (-1);
		}
		if (opt == '?' || opt == ':') {
			*status = bad_option(c, argv, opt);
			return (-1);
		}
		if (set_option(ro, opt, optarg, &err) == -1) {
			name = option_name(opt);
			*status = complain("%s: %s%s: %s", c->c_name,
			    name[0] == '-' ? "" : "--", name, err.e_text);
			return (-1);
		}
	}
	*status = STATUS_ERROR;
	if (argc - optind > 1) {
		complain("%s: \"%s\" is one word too many; see \"vmctl %s "
		    "--help\"", c->c_name, argv[optind + 1], c->c_name);
		return (-1);
	}
	if (mc->mc_kernel == NULL && mc->mc_ndisks == 0 &&
	    mc->mc_cdrom == NULL && mc->mc_boot_device != MACHINE_BOOT_NET) {
		complain("%s: nothing to boot; give a disk with -d, a CD-ROM "
		    "with -r or a kernel with -b", c->c_name);
		return (-1);
	}
	if (memory_check(mc->mc_memory, &err) == -1) {
		complain("%s: -m: %s", c->c_name, err.e_text);
		return (-1);
	}
	snprintf(ro->ro_name, sizeof(ro->ro_name), "vm%d", (int)getpid());
	if (optind < argc) {
		if (check_name(argv[optind], &err) == -1) {
			complain("%s: %s", c->c_name, err.e_text);
			return (-1);
		}
		snprintf(ro->ro_name, sizeof(ro->ro_name), "%s", argv[optind]);
	}
	if (!ro->ro_net && add_nic(ro, "user", &err) == -1) {
		complain("%s: %s", c->c_name, err.e_text);
		return (-1);
	}
	return (0);
}

/* --- what ends a session from outside; all on the loop's thread ------------- */

static void
session_stop(struct session *s, int status)
{
	if (s->s_status == 0)
		s->s_status = status;
	machine_stop(s->s_machine);
}

static void
session_signal(void *arg, int signo)
{
	struct session *s = arg;

	switch (signo) {
	case SIGTSTP:
		terminal_suspend(false);
		break;
	case SIGCONT:
		terminal_resume();
		break;
	case SIGUSR1:
		machine_stats(s->s_machine);
		break;
	default:
		session_stop(s, STATUS_SIGNAL + signo);
		break;
	}
}

static void
session_escape(void *arg, char action)
{
	static const char help_text[] = "\r\n"
	    "~.   leave; the VM ends\r\n"
	    "~^Z  stop, as ^Z does for other commands\r\n"
	    "~~   a ~ for the guest\r\n"
	    "~?   this list\r\n";
	struct session *s = arg;
	ssize_t n;

	switch (action) {
	case '.':
		session_stop(s, STATUS_SIGNAL + SIGINT);
		break;
	case '?':
		n = write(STDERR_FILENO, help_text, sizeof(help_text) - 1);
		(void)n;
		break;
	case 'z':
		terminal_suspend(true);
		break;
	}
}

static void
session_timeout(void *arg)
{
	session_stop(arg, STATUS_TIMEOUT);
}

/* The reader of a pipe is gone: nobody sees the console any more. */
static void
session_output(void *arg, uint32_t events)
{
	struct session *s = arg;

	if ((events & (EPOLLERR | EPOLLHUP)) == 0)
		return;
	loop_fd_free(s->s_output);
	s->s_output = NULL;
	session_stop(s, STATUS_SIGNAL + SIGPIPE);
}

/* --- the session -------------------------------------------------------------- */

static int
session_start(struct session *s, struct err *err)
{
	struct loop *loop = machine_loop(s->s_machine);
	struct stat st;

	if (signals_start(loop, session_signal, s, err) == -1)
		return (-1);
	if (s->s_options->ro_timeout != 0) {
		s->s_timer = loop_timer_new(loop, session_timeout, s);
		if (s->s_timer == NULL) {
			signals_end();
			return (err_sys(err, "cannot set the time limit"));
		}
		loop_timer_set(s->s_timer, loop_now() +
		    s->s_options->ro_timeout);
	}
	if (fstat(STDOUT_FILENO, &st) == 0 &&
	    (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode))) {
		/* One descriptor may be watched once; the console's is
		 * its own. */
		s->s_output_fd = dup(STDOUT_FILENO);
		if (s->s_output_fd != -1)
			s->s_output = loop_fd_new(loop, s->s_output_fd,
			    EPOLLERR, session_output, s);
	}
	terminal_raw();
	return (0);
}

static void
session_end(struct session *s)
{
	terminal_restore();
	if (s->s_output != NULL)
		loop_fd_free(s->s_output);
	if (s->s_output_fd != -1)
		close(s->s_output_fd);
	if (s->s_timer != NULL)
		loop_timer_free(s->s_timer);
	signals_end();
}

/* The exit status for the way a machine ended, with its line if it needs one. */
static int
session_status(const struct session *s, enum machine_end end, uint32_t value,
    const struct err *err)
{
	const struct run_options *ro = s->s_options;

	switch (end) {
	case MACHINE_POWEROFF:
	case MACHINE_RESET:
		return (0);
	case MACHINE_CRASH:
		complain("%s: the guest crashed: %s", ro->ro_name, err->e_text);
		return (STATUS_CRASH);
	case MACHINE_EXIT_PORT:
		return ((int)((value << 1 | 1) & 0xFF));
	case MACHINE_STOPPED:
		if (s->s_status == STATUS_TIMEOUT)
			complain("%s: ended by --timeout after %s seconds",
			    ro->ro_name, ro->ro_timeout_word);
		return (s->s_status);
	case MACHINE_TERMINATED:
		complain("%s: ended from outside (vmctl stop)", ro->ro_name);
		return (STATUS_SIGNAL + SIGTERM);
	case MACHINE_ERROR:
		break;
	}
	return (complain("%s: %s", ro->ro_name, err->e_text));
}

/* The machine, with its networks; 0, or -1 with a line in err. */
static int
session_new(struct session *s, struct run_options *ro, struct err *err)
{
	struct machine_config *mc = &ro->ro_config;
	int ret = 0;
	size_t i;

	while (ret == 0 && mc->mc_nnics < ro->ro_nnics) {
		ret = net_open(&ro->ro_nic[mc->mc_nnics], ro->ro_name,
		    &mc->mc_nic[mc->mc_nnics], err);
		mc->mc_nnics++;
	}
	if (ret == 0)
		ret = machine_new(&s->s_machine, mc, err);
	for (i = 0; i < mc->mc_nnics; i++)
		net_close(&mc->mc_nic[i]);
	return (ret);
}

static void
free_options(struct run_options *ro)
{
	while (ro->ro_nnics > 0)
		config_nic_clear(&ro->ro_nic[--ro->ro_nnics]);
}

static int
session(const struct command *c, struct run_options *ro)
{
	struct session s = { .s_options = ro, .s_output_fd = -1 };
	enum machine_end end;
	struct err err = { "" };
	uint32_t value = 0;
	int status;

	if (isatty(STDIN_FILENO)) {
		terminal_init();
		escape_init(&s.s_escape, session_escape, &s);
		ro->ro_config.mc_console_filter = escape_filter;
		ro->ro_config.mc_console_arg = &s.s_escape;
	}
	if (session_new(&s, ro, &err) == -1)
		return (complain("%s: %s", c->c_name, err.e_text));
	if (!ro->ro_quiet)
		info_fallback(ro->ro_config.mc_engine);
	log_info("%s is VM %u", ro->ro_name,
	    (unsigned)machine_vm_id(s.s_machine));
	if (session_start(&s, &err) == -1) {
		status = complain("%s: %s", c->c_name, err.e_text);
	} else {
		end = machine_run(s.s_machine, &value, &err);
		session_end(&s);
		status = session_status(&s, end, value, &err);
	}
	machine_free(s.s_machine);
	return (status);
}

int
run_command(const struct command *c, int argc, char **argv)
{
	struct run_options ro;
	int status;

	if (read_options(c, argc, argv, &ro, &status) == 0)
		status = session(c, &ro);
	free_options(&ro);
	return (status);
}
