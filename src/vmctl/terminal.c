/*
 * The user's terminal: raw while the guest has it, given back on every way out.
 *
 * A process has one terminal, and signal handlers must reach it: its state is
 * therefore the one variable below. It changes only on the main thread;
 * handlers read it. The order of its updates keeps a handler that strikes
 * between two of them right: t_saved is complete before t_raw says so.
 */
#include "vmctl/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/log.h"

static struct {
	struct termios	t_saved;
	atomic_bool	t_raw;
} terminal;

void
terminal_restore(void)
{
	sigset_t ttou, old;
	int saved = errno;

	if (!atomic_exchange(&terminal.t_raw, false))
		return;
	/* Whoever gets the terminal next needs it sane, even if it is not
	 * ours any more: no stop for setting it from the background. */
	sigemptyset(&ttou);
	sigaddset(&ttou, SIGTTOU);
	pthread_sigmask(SIG_BLOCK, &ttou, &old);
	while (tcsetattr(STDIN_FILENO, TCSANOW, &terminal.t_saved) == -1 &&
	    errno == EINTR)
		continue;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	log_set_raw(0);
	errno = saved;
}

/* A bug of ours: the user gets the terminal back, and the signal its core. */
static void
terminal_crashed(int signo)
{
	sigset_t set;

	terminal_restore();
	signal(signo, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, signo);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	raise(signo);
}

void
terminal_init(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL,
	    SIGABRT };
	struct sigaction sa, old;
	size_t i;

	atexit(terminal_restore);
	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = terminal_crashed;
	sigemptyset(&sa.sa_mask);
	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		/* Leave a sanitizer's handler alone. */
		if (sigaction(signals[i], NULL, &old) == 0 &&
		    (old.sa_flags & SA_SIGINFO) == 0 &&
		    old.sa_handler == SIG_DFL)
			sigaction(signals[i], &sa, NULL);
	}
}

/* Makes the terminal what t_saved is, but raw. */
static void
terminal_set_raw(void)
{
	struct termios raw = terminal.t_saved;

	cfmakeraw(&raw);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	atomic_store(&terminal.t_raw, true);
	log_set_raw(1);
	while (tcsetattr(STDIN_FILENO, TCSANOW, &raw) == -1 && errno == EINTR)
		continue;
}

static bool
terminal_is_ours(void)
{
	return (tcgetpgrp(STDIN_FILENO) == getpgrp());
}

void
terminal_raw(void)
{
	if (atomic_load(&terminal.t_raw) || !terminal_is_ours() ||
	    tcgetattr(STDIN_FILENO, &terminal.t_saved) == -1)
		return;
	terminal_set_raw();
}

void
terminal_resume(void)
{
	if (!terminal_is_ours()) {
		/* The terminal is somebody else's: hands off. */
		atomic_store(&terminal.t_raw, false);
		log_set_raw(0);
	} else if (atomic_load(&terminal.t_raw)) {
		terminal_set_raw();
	} else {
		terminal_raw();
	}
}

void
terminal_suspend(bool job)
{
	struct sigaction sa, old;

	memset(&sa, 0, sizeof(sa));
	sigemptyset(&sa.sa_mask);
	sa.sa_handler = SIG_DFL;
	terminal_restore();
	sigaction(SIGTSTP, &sa, &old);
	kill(job ? 0 : getpid(), SIGTSTP);	/* we go on at SIGCONT */
	sigaction(SIGTSTP, &old, NULL);
	terminal_resume();
}
