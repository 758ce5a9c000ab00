/*
 * The daemon: its life, its signals, and the order in which VMs start and stop;
 * see daemon.h.
 *
 * 1. Before anything is served it has read its file, owns the socket that says
 *    that it is the one, and knows the VMs of a vmd that was before it.
 * 2. It ends when it was told to and no VM runs any more, or (SIGUSR1) at once,
 *    leaving them to the next vmd.
 */
#include "vmd/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "base/log.h"
#include "vmd/notify.h"

#define SOCKET_MODE	0660

static const int signals_taken[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1,
    SIGCHLD };

/* --- the order of VMs --------------------------------------------------------------- */

unsigned
daemon_parallel(const struct daemon *d)
{
	cpu_set_t set;

	if (d->d_config.cf_staggered && d->d_config.cf_parallel != 0)
		return (d->d_config.cf_parallel);
	if (sched_getaffinity(0, sizeof(set), &set) == -1)
		return (1);
	return ((unsigned)CPU_COUNT(&set));
}

/* VMs that wait for their turn. */
static void
start_some(struct daemon *d)
{
	unsigned waiting = 0, due;
	uint64_t again;
	struct err err;
	struct vm *v;

	for (v = d->d_vms.vs_first; v != NULL; v = v->v_next)
		waiting += v->v_state == VM_WAITING;
	due = stagger_due(&d->d_stagger, loop_now(), waiting, &again);
	for (v = d->d_vms.vs_first; v != NULL && due > 0; v = v->v_next) {
		if (v->v_state != VM_WAITING)
			continue;
		v->v_state = VM_STOPPED;
		due--;
		if (process_start(d, v, &err) == -1)
			log_warn("%s", err.e_text);
	}
	loop_timer_set(d->d_stagger_timer, again);
}

/* The VM that started last of those that have not been asked to stop. */
static struct vm *
last_started(const struct daemon *d)
{
	struct vm *v, *last = NULL;

	for (v = d->d_vms.vs_first; v != NULL; v = v->v_next)
		if (vm_is_active(v) && !v->v_asked &&
		    (last == NULL || v->v_order > last->v_order))
			last = v;
	return (last);
}

/* Stops VMs, last started first, a few at a time; the last one ends us. */
static void
stop_some(struct daemon *d)
{
	unsigned active = 0, asked = 0;
	struct vm *v;

	for (v = d->d_vms.vs_first; v != NULL; v = v->v_next) {
		active += vm_is_active(v);
		asked += vm_is_active(v) && v->v_asked;
	}
	while ((d->d_phase == DAEMON_KILLING || asked < daemon_parallel(d)) &&
	    (v = last_started(d)) != NULL) {
		v->v_asked = true;
		asked++;
		log_info("%s: stopping", v->v_name);
		process_call(d, v, CALL_STOP, d->d_phase == DAEMON_KILLING,
		    NULL);
	}
	if (active == 0)
		loop_stop(d->d_loop);
}

void
daemon_next(struct daemon *d)
{
	switch (d->d_phase) {
	case DAEMON_FINDING:
		break;
	case DAEMON_SERVING:
		start_some(d);
		break;
	case DAEMON_STOPPING:
	case DAEMON_KILLING:
		stop_some(d);
		break;
	}
}

static void
stagger_timer(void *arg)
{
	daemon_next(arg);
}

void
daemon_end(struct daemon *d, bool left)
{
	struct vm *v;

	if (d->d_phase == DAEMON_FINDING && !left) {
		d->d_told = true;	/* VMs that are not found cannot stop */
		return;
	}
	if (left) {
		log_info("ends; its VMs go on");
		loop_stop(d->d_loop);
		return;
	}
	notify("STOPPING=1");
	if (d->d_phase == DAEMON_STOPPING || d->d_phase == DAEMON_KILLING) {
		/* told twice: no more asking */
		d->d_phase = DAEMON_KILLING;
		for (v = d->d_vms.vs_first; v != NULL; v = v->v_next)
			v->v_asked = false;
	} else {
		d->d_phase = DAEMON_STOPPING;
		for (v = d->d_vms.vs_first; v != NULL; v = v->v_next)
			if (v->v_state == VM_WAITING)
				v->v_state = VM_STOPPED;
	}
	daemon_next(d);
}

/* --- signals --------------------------------------------------------------------------- */

static void
on_child(void)
{
	int status;

	/* What a VM's end means is known from its connection. */
	while (waitpid(-1, &status, WNOHANG) > 0)
		continue;
}

static void
on_signal(void *arg, uint32_t events)
{
	struct signalfd_siginfo si;
	struct daemon *d = arg;
	struct err err;

	(void)events;
	while (read(d->d_signals, &si, sizeof(si)) == sizeof(si)) {
		switch (si.ssi_signo) {
		case SIGCHLD:
			on_child();
			break;
		case SIGHUP:
			if (d->d_phase == DAEMON_SERVING)
				(void)load_again(d, &err);
			break;
		case SIGUSR1:
			daemon_end(d, true);
			break;
		default:
			daemon_end(d, false);
			break;
		}
	}
}

static int
signals_open(struct daemon *d, struct err *err)
{
	sigset_t set;
	size_t i;

	sigemptyset(&set);
	for (i = 0; i < sizeof(signals_taken) / sizeof(signals_taken[0]); i++)
		sigaddset(&set, signals_taken[i]);
	/* a shell's background jobs ignore some */
	for (i = 0; i < sizeof(signals_taken) / sizeof(signals_taken[0]); i++)
		signal(signals_taken[i], SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	d->d_signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (d->d_signals == -1)
		return (err_sys(err, "cannot wait for signals"));
	d->d_signal_source = loop_fd_new(d->d_loop, d->d_signals, EPOLLIN,
	    on_signal, d);
	if (d->d_signal_source == NULL)
		return (err_sys(err, "cannot watch for signals"));
	return (0);
}

/* --- files --------------------------------------------------------------------------------- */

int
daemon_file(const struct daemon_options *o, char *path, size_t size,
    struct err *err)
{
	const char *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	int n;

	if (o->do_file != NULL)
		n = snprintf(path, size, "%s", o->do_file);
	else if (geteuid() == 0)
		n = snprintf(path, size, "/etc/vm.conf");
	else if (base != NULL && base[0] == '/')
		n = snprintf(path, size, "%s/vmd/vm.conf", base);
	else
		n = snprintf(path, size, "%s/.config/vmd/vm.conf",
		    home != NULL ? home : "");
	if (n < 0 || (size_t)n >= size)
		return (err_set(err, "the path of the configuration is too "
		    "long"));
	/* Only the default one may be missing. */
	if (o->do_file == NULL && access(path, F_OK) == -1 && errno == ENOENT)
		path[0] = '\0';
	return (0);
}

/* Relative paths are of the folder that we start in, which we leave. */
static int
file_absolute(struct daemon *d, struct err *err)
{
	char real[4096];

	if (d->d_file[0] == '\0' || d->d_file[0] == '/')
		return (0);
	if (realpath(d->d_file, real) == NULL)
		return (err_sys(err, "%s", d->d_file));
	if (strlen(real) >= sizeof(d->d_file))
		return (err_set(err, "%s: its path is too long", d->d_file));
	strcpy(d->d_file, real);
	return (0);
}

int
daemon_check(const struct daemon_options *o)
{
	struct daemon d = { .d_options = o };
	struct config config;
	struct err err;

	if (daemon_file(o, d.d_file, sizeof(d.d_file), &err) == -1) {
		log_warn("%s", err.e_text);
		return (1);
	}
	if (load_read(&d, &config, d.d_file, &err) == -1)
		return (1);
	config_free(&config);
	fprintf(stderr, "configuration OK\n");
	return (0);
}

/* --- into the background ------------------------------------------------------------------- */

static void
syslog_sink(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	syslog(level == LOG_LEVEL_WARN ? LOG_WARNING :
	    level == LOG_LEVEL_INFO ? LOG_INFO : LOG_DEBUG, "%s", line);
}

/*
 * Goes on as a child that belongs to no terminal. The parent waits until it
 * serves, or does not, and exits with that status.
 */
static int
background(int *ready, struct err *err)
{
	int fd[2], status;
	char byte;
	pid_t pid;

	if (pipe2(fd, O_CLOEXEC) == -1 || (pid = fork()) == -1)
		return (err_sys(err, "cannot go into the background"));
	if (pid == 0) {
		close(fd[0]);
		(void)setsid();
		*ready = fd[1];
		return (0);
	}
	close(fd[1]);
	if (read(fd[0], &byte, 1) == 1)
		_exit(0);
	/* it has said why */
	if (waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	    WEXITSTATUS(status) != 0)
		_exit(WEXITSTATUS(status));
	_exit(1);
}

/* It serves: who started it may go. */
static void
tell_ready(int *ready)
{
	ssize_t n;
	int null;

	notify("READY=1");
	if (*ready == -1)
		return;
	openlog("vmd", LOG_PID, LOG_DAEMON);
	log_set_sink(syslog_sink, NULL);
	if (chdir("/") == -1)
		log_warn("/: %s", strerror(errno));
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null != -1) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		if (null > STDERR_FILENO)
			close(null);
	}
	n = write(*ready, "", 1);
	(void)n;
	close(*ready);
	*ready = -1;
}

/* --- life ------------------------------------------------------------------------------------- */

/* Owner and rights of the socket, as configured. */
static void
socket_rights(const struct daemon *d)
{
	const struct config_owner *co = &d->d_config.cf_socket;
	char path[RUNTIME_PATH_MAX];

	if (geteuid() != 0 || (!co->co_user_set && !co->co_group_set) ||
	    runtime_name(path, sizeof(path), NULL, d->d_dir, "vmd.sock") == -1)
		return;
	if (chown(path, co->co_user_set ? co->co_user : (uid_t)-1,
	    co->co_group_set ? co->co_group : (gid_t)-1) == -1)
		log_warn("%s: cannot change its owner: %s", path,
		    strerror(errno));
}

void
daemon_found(struct daemon *d)
{
	struct config config;
	struct err err;
	int fd = d->d_listen;

	d->d_phase = DAEMON_SERVING;
	config = d->d_config;
	config_init(&d->d_config);
	load_apply(d, &config);
	socket_rights(d);
	d->d_listen = -1;
	d->d_server = control_server_take(d->d_loop, fd, &command_ops, d,
	    &err);
	if (d->d_server == NULL) {
		log_warn("%s", err.e_text);
		d->d_status = 1;
		daemon_end(d, true);
		return;
	}
	tell_ready(&d->d_ready);
	if (d->d_told)
		daemon_end(d, false);
	else
		daemon_next(d);
}

/* Everything up to the loop. */
static int
daemon_start(struct daemon *d, struct err *err)
{
	char path[RUNTIME_PATH_MAX];

	if (control_folder(geteuid(), d->d_dir, sizeof(d->d_dir), err) == -1 ||
	    runtime_make(d->d_dir, err) == -1 ||
	    runtime_name(path, sizeof(path), err, d->d_dir, "vmd.sock") == -1)
		return (-1);
	if (!d->d_options->do_foreground &&
	    background(&d->d_ready, err) == -1)
		return (-1);
	if ((d->d_loop = loop_new()) == NULL)
		return (err_sys(err, "cannot make an event loop"));
	d->d_stagger_timer = loop_timer_new(d->d_loop, stagger_timer, d);
	d->d_kill_timer = loop_timer_new(d->d_loop, process_kill_timer, d);
	if (d->d_stagger_timer == NULL || d->d_kill_timer == NULL)
		return (err_sys(err, "cannot make a timer"));
	if (signals_open(d, err) == -1)
		return (-1);
	d->d_listen = control_listen(path, SOCKET_MODE, err);
	if (d->d_listen == -1) {
		if (errno == EADDRINUSE)
			err_set(err, "vmd runs already, with the socket %s",
			    path);
		return (-1);
	}
	return (0);
}

static void
daemon_free(struct daemon *d)
{
	const bool served = d->d_listen != -1 || d->d_server != NULL;
	char path[RUNTIME_PATH_MAX];

	/* the file goes before anybody can think that nobody owns it */
	if (served && runtime_name(path, sizeof(path), NULL, d->d_dir,
	    "vmd.sock") == 0)
		(void)unlink(path);
	if (d->d_loop != NULL) {
		if (d->d_phase == DAEMON_STOPPING ||
		    d->d_phase == DAEMON_KILLING)
			switches_stop(d);
		switches_leave(d);
		process_leave(d);
	}
	control_server_free(d->d_server);
	if (d->d_listen != -1)
		close(d->d_listen);
	loop_fd_free(d->d_signal_source);
	if (d->d_signals != -1)
		close(d->d_signals);
	loop_timer_free(d->d_stagger_timer);
	loop_timer_free(d->d_kill_timer);
	loop_free(d->d_loop);
	vms_free(&d->d_vms);
	config_free(&d->d_config);
	/* not that of the vmd who was there before us */
	if (served)
		runtime_remove(d->d_dir);
}

int
daemon_main(const struct daemon_options *o)
{
	struct daemon d = { .d_options = o, .d_listen = -1, .d_signals = -1,
		.d_ready = -1, .d_verbose = o->do_verbose > 0 };
	struct err err;

	vms_init(&d.d_vms);
	config_init(&d.d_config);
	if (daemon_file(o, d.d_file, sizeof(d.d_file), &err) == -1 ||
	    file_absolute(&d, &err) == -1) {
		log_warn("%s", err.e_text);
		return (1);
	}
	if (load_read(&d, &d.d_config, d.d_file, &err) == -1)
		return (1);
	if (daemon_start(&d, &err) == -1) {
		log_warn("%s", err.e_text);
		daemon_free(&d);
		return (1);
	}
	switches_clean(&d);
	process_find(&d);
	if (loop_run(d.d_loop) == -1) {
		log_warn("the event loop failed: %s", strerror(errno));
		d.d_status = 1;
	}
	daemon_free(&d);
	return (d.d_status);
}
