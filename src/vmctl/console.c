/*
 * vmctl console: the user's terminal on a VM's console.
 *
 * A descriptor of the console comes from vmd (vmd/protocol.h); from then on
 * bytes go both ways, on a loop, until the other side closes it, the user
 * leaves by ~. or a signal comes. Where standard input is no terminal its end
 * only ends what goes to the guest.
 *
 * Neither direction waits for the other: what is not taken yet is held, and
 * nothing more of its kind is read meanwhile. So ~. and signals work while
 * standard output is not read.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "vmctl/daemon.h"
#include "vmctl/signals.h"
#include "vmctl/terminal.h"

#define INPUT	4096u
/* Written at once where there is room for at least something: a pipe then has
 * PIPE_BUF, a terminal usually this. */
#define OUTPUT	1024u

struct session {
	struct loop	*se_loop;
	int		 se_fd;		/* the console */
	struct loop_fd	*se_console, *se_stdin, *se_stdout;
	struct escape	 se_escape;
	bool		 se_raw;	/* the user's terminal is */
	bool		 se_pipe;	/* standard output: its end is told */
	uint8_t		 se_input[2 * INPUT];	/* not taken yet */
	size_t		 se_ninput;
	uint8_t		 se_output[OUTPUT];	/* not written yet */
	size_t		 se_noutput;
	bool		 se_in_line;	/* the last byte ended no line */
	bool		 se_ended;	/* by the other side */
	int		 se_status;
};

static void
session_end(struct session *s, int status)
{
	s->se_status = status;
	loop_stop(s->se_loop);
}

/* What is of interest now. */
static void
session_events(struct session *s)
{
	loop_fd_events(s->se_console,
	    (s->se_noutput == 0 ? (uint32_t)EPOLLIN : 0) |
	    (s->se_ninput > 0 ? (uint32_t)EPOLLOUT : 0));
	if (s->se_stdin != NULL)
		loop_fd_events(s->se_stdin, s->se_ninput > 0 ? 0 : EPOLLIN);
	if (s->se_stdout != NULL)
		loop_fd_events(s->se_stdout, s->se_noutput > 0 ? EPOLLOUT :
		    s->se_pipe ? EPOLLERR : 0);
}

/* Sends what the guest takes. */
static void
send_input(struct session *s)
{
	ssize_t n;

	n = s->se_ninput == 0 ? 0 : send(s->se_fd, s->se_input, s->se_ninput,
	    MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n == -1 && errno != EAGAIN && errno != EINTR)
		s->se_ninput = 0;	/* the end follows what it wrote */
	if (n > 0) {
		s->se_ninput -= (size_t)n;
		memmove(s->se_input, s->se_input + n, s->se_ninput);
	}
}

static void
on_console(void *arg, uint32_t events)
{
	struct session *s = arg;
	ssize_t n;

	if (events & EPOLLOUT)
		send_input(s);
	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && s->se_noutput == 0) {
		n = recv(s->se_fd, s->se_output, OUTPUT, MSG_DONTWAIT);
		if (n == 0 || (n == -1 && errno != EAGAIN && errno != EINTR)) {
			s->se_ended = true;
			session_end(s, 0);
			return;
		}
		if (n > 0)
			s->se_noutput = (size_t)n;
	}
	session_events(s);
}

/* Standard output takes something, or will never again. */
static void
on_stdout(void *arg, uint32_t events)
{
	struct session *s = arg;
	ssize_t n;

	if (events & EPOLLERR) {
		session_end(s, STATUS_SIGNAL + SIGPIPE);
		return;
	}
	n = write(STDOUT_FILENO, s->se_output, s->se_noutput);
	if (n == -1 && errno != EAGAIN && errno != EINTR) {
		session_end(s, errno == EPIPE ? STATUS_SIGNAL + SIGPIPE :
		    complain("standard output: %s", strerror(errno)));
		return;
	}
	if (n > 0) {
		s->se_in_line = s->se_output[n - 1] != '\n';
		s->se_noutput -= (size_t)n;
		memmove(s->se_output, s->se_output + n, s->se_noutput);
	}
	session_events(s);
}

static void
on_stdin(void *arg, uint32_t events)
{
	struct session *s = arg;
	uint8_t bytes[INPUT];
	ssize_t n, k;

	(void)events;
	n = read(STDIN_FILENO, bytes, sizeof(bytes));
	if (n == -1 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {		/* a terminal that hung up is left */
		loop_fd_free(s->se_stdin);
		s->se_stdin = NULL;
		if (s->se_raw)
			session_end(s, STATUS_SIGNAL + SIGHUP);
		return;
	}
	for (k = 0; k < n; k++) {
		if (s->se_raw)
			s->se_ninput += escape_filter(&s->se_escape, bytes[k],
			    s->se_input + s->se_ninput);
		else
			s->se_input[s->se_ninput++] = bytes[k];
	}
	send_input(s);
	session_events(s);
}

static void
on_escape(void *arg, char action)
{
	static const char help_text[] = "\r\n"
	    "~.   leave; the VM goes on\r\n"
	    "~^Z  stop, as ^Z does for other commands\r\n"
	    "~~   a ~ for the guest\r\n"
	    "~?   this list\r\n";
	ssize_t n;

	if (action == '.') {
		session_end(arg, 0);
	} else if (action == 'z') {
		terminal_suspend(true);
	} else {
		n = write(STDERR_FILENO, help_text, sizeof(help_text) - 1);
		(void)n;
	}
}

static void
on_signal(void *arg, int signo)
{
	if (signo == SIGTSTP) {
		terminal_suspend(false);
	} else if (signo == SIGCONT) {
		terminal_resume();
	} else if (signo != SIGUSR1) {
		session_end(arg, STATUS_SIGNAL + signo);
	}
}

/* Watches all that can happen; 0 or -1 with a line in err. */
static int
session_watch(struct session *s, struct err *err)
{
	struct stat st;

	s->se_pipe = fstat(STDOUT_FILENO, &st) == 0 &&
	    (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
	s->se_console = loop_fd_new(s->se_loop, s->se_fd, EPOLLIN, on_console,
	    s);
	s->se_stdin = loop_fd_new(s->se_loop, STDIN_FILENO, EPOLLIN, on_stdin,
	    s);
	s->se_stdout = loop_fd_new(s->se_loop, STDOUT_FILENO,
	    s->se_pipe ? EPOLLERR : 0, on_stdout, s);
	if (s->se_console == NULL || s->se_stdin == NULL ||
	    s->se_stdout == NULL)
		return (err_sys(err, "cannot watch the console"));
	return (signals_start(s->se_loop, on_signal, s, err));
}

/* fd is the console's, ours from now on. */
static int
session_run(int fd, const char *name)
{
	struct session s = { .se_fd = fd };
	struct err err;

	if ((s.se_loop = loop_new()) == NULL) {
		close(fd);
		return (complain("console: %s", strerror(errno)));
	}
	s.se_raw = isatty(STDIN_FILENO);
	escape_init(&s.se_escape, on_escape, &s);
	if (session_watch(&s, &err) == -1) {
		s.se_status = complain("console: %s", err.e_text);
	} else {
		if (s.se_raw) {
			log_say("connected to %s; ~. leaves, ~? lists more",
			    name);
			terminal_init();
			terminal_raw();
		}
		if (loop_run(s.se_loop) == -1)
			s.se_status = complain("console: %s", strerror(errno));
		terminal_restore();
		signals_end();
		if (s.se_raw && s.se_in_line)
			(void)!write(STDERR_FILENO, "\n", 1);
		if (s.se_raw)
			log_say("%s%s", s.se_ended ? "the console ended: " :
			    "left ", name);
	}
	loop_fd_free(s.se_console);
	loop_fd_free(s.se_stdin);
	loop_fd_free(s.se_stdout);
	loop_free(s.se_loop);
	close(fd);
	return (s.se_status);
}

int
console_session(int fd, const char *vm, const char *name)
{
	struct control_message cm;
	struct err err;
	int console;

	if (daemon_call(fd, daemon_request("console", vm), &cm, &err) == -1)
		return (complain("console: %s", err.e_text));
	if (cm.cm_nfds != 1) {
		control_message_free(&cm);
		return (complain("console: vmd sent no console"));
	}
	console = cm.cm_fd[0];
	cm.cm_fd[0] = -1;
	control_message_free(&cm);
	return (session_run(console, name));
}

int
console_command(const struct command *c, int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 }
	};
	struct err err;
	int fd, opt, status;

	if ((opt = getopt_long(argc, argv, ":h", options, NULL)) != -1)
		return (opt == 'h' ? help(c) : bad_option(c, argv, opt));
	if (argc - optind != 1)
		return (complain("%s: name one VM by its id or name",
		    c->c_name));
	if ((fd = daemon_open(&err)) == -1)
		return (complain("%s: %s", c->c_name, err.e_text));
	status = console_session(fd, argv[optind], argv[optind]);
	close(fd);
	return (status);
}
