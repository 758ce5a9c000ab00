/*
 * The terminal that vmctl run stands between the user and the guest.
 */
#ifndef VMCTL_TERMINAL_H
#define VMCTL_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Sees to it that the terminal is given back when the process exits or crashes.
 * Before the engine installs its handlers, which then call ours for what is no
 * guest's fault.
 */
void	terminal_init(void);
/*
 * Makes standard input raw, so that every key, ^C included, goes to the guest;
 * does nothing where it is no terminal or another job's. It is given back as it
 * was however the process ends, except by SIGKILL. May be called again after
 * terminal_restore().
 */
void	terminal_raw(void);
/* The same after a SIGCONT, when the shell may have changed the terminal. */
void	terminal_resume(void);
/*
 * Stops us as SIGTSTP does where nobody catches it: all threads, and not if no
 * shell is there to continue us. With job, what the terminal does at ^Z: all
 * of the job stops, such as the make that has started us. The terminal is given
 * back meanwhile.
 */
void	terminal_suspend(bool job);
/* Gives it back. Async-signal-safe. */
void	terminal_restore(void);

/*
 * Escapes in what the user types, as cu(1) has them: '~' at the start of a
 * line and one more character.
 */
struct escape {
	enum { ESCAPE_LINE_START, ESCAPE_IN_LINE, ESCAPE_TILDE } e_state;
	void	(*e_action)(void *arg, char action); /* '.', '?' or 'z' */
	void	*e_arg;
};

void	escape_init(struct escape *, void (*action)(void *, char), void *arg);
/* What the guest gets for a byte; machine_config's mc_console_filter. */
size_t	escape_filter(void *escape, uint8_t byte, uint8_t out[2]);

#endif
