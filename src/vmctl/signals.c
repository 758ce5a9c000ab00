/*
 * Signals as events of a loop; see signals.h.
 *
 * The handler writes the signal's number into a pipe, which the loop watches.
 * Signal handlers have no argument: what they need is the variable below, set
 * up on the main thread while no handler is installed.
 */
#include "vmctl/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "vmctl/terminal.h"

static const int signals_caught[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM,
    SIGTSTP, SIGCONT, SIGUSR1 };

#define NCAUGHT	(sizeof(signals_caught) / sizeof(signals_caught[0]))

static struct {
	int		  s_pipe[2];
	struct loop_fd	 *s_source;
	void		(*s_fn)(void *, int);
	void		 *s_arg;
	struct sigaction  s_old[NCAUGHT];
	struct sigaction  s_oldpipe;
	atomic_int	  s_ends;	/* signals that asked us to end */
} signals;

static void
signals_handler(int signo)
{
	uint8_t byte = (uint8_t)signo;
	int saved = errno;
	ssize_t n;

	if (signo != SIGTSTP && signo != SIGCONT && signo != SIGUSR1 &&
	    atomic_fetch_add(&signals.s_ends, 1) != 0) {
		terminal_restore();
		_exit(128 + signo);
	}
	/* A full pipe already has the loop awake. */
	n = write(signals.s_pipe[1], &byte, 1);
	(void)n;
	errno = saved;
}

static void
signals_read(void *arg, uint32_t events)
{
	uint8_t byte;

	(void)arg;
	(void)events;
	while (read(signals.s_pipe[0], &byte, 1) == 1)
		signals.s_fn(signals.s_arg, byte);
}

int
signals_start(struct loop *loop, void (*fn)(void *, int), void *arg,
    struct err *err)
{
	struct sigaction sa;
	size_t i;

	if (pipe2(signals.s_pipe, O_CLOEXEC | O_NONBLOCK) == -1)
		return (err_sys(err, "cannot make a pipe"));
	signals.s_fn = fn;
	signals.s_arg = arg;
	atomic_store(&signals.s_ends, 0);
	signals.s_source = loop_fd_new(loop, signals.s_pipe[0], EPOLLIN,
	    signals_read, NULL);
	if (signals.s_source == NULL) {
		err_sys(err, "cannot watch for signals");
		close(signals.s_pipe[0]);
		close(signals.s_pipe[1]);
		return (-1);
	}
	memset(&sa, 0, sizeof(sa));
	sigfillset(&sa.sa_mask);
	sa.sa_flags = SA_RESTART;
	sa.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &sa, &signals.s_oldpipe);
	sa.sa_handler = signals_handler;
	for (i = 0; i < NCAUGHT; i++) {
		sigaction(signals_caught[i], NULL, &signals.s_old[i]);
		/* nohup and a shell's background jobs ignore some. */
		if (signals.s_old[i].sa_handler != SIG_IGN)
			sigaction(signals_caught[i], &sa, NULL);
	}
	return (0);
}

void
signals_end(void)
{
	size_t i;

	for (i = 0; i < NCAUGHT; i++)
		sigaction(signals_caught[i], &signals.s_old[i], NULL);
	sigaction(SIGPIPE, &signals.s_oldpipe, NULL);
	loop_fd_free(signals.s_source);
	close(signals.s_pipe[0]);
	close(signals.s_pipe[1]);
}
