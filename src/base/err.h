/*
 * Error text for people.
 *
 * A function that can fail because of what the user gave it (a file, an
 * option, a port) takes a struct err and leaves in it one line that names the
 * thing and the cure. The line has no trailing newline and no program name:
 * the command that prints it adds both. A NULL err is allowed everywhere.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>

struct err {
	char	e_text[512];
};

/* Replaces the text; returns -1, so that "return err_set(...)" reads well. */
int	err_set(struct err *, const char *, ...)
	    __attribute__((format(printf, 2, 3)));
/* Same, followed by ": " and strerror(errno). Keeps errno. */
int	err_sys(struct err *, const char *, ...)
	    __attribute__((format(printf, 2, 3)));

#endif
