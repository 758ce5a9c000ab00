/*
 * Error text for people; see err.h.
 */
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int
err_set(struct err *e, const char *fmt, ...)
{
	va_list ap;

	if (e != NULL) {
		va_start(ap, fmt);
		vsnprintf(e->e_text, sizeof(e->e_text), fmt, ap);
		va_end(ap);
	}
	return (-1);
}

int
err_sys(struct err *e, const char *fmt, ...)
{
	va_list ap;
	size_t n;
	int saved = errno;

	if (e != NULL) {
		va_start(ap, fmt);
		vsnprintf(e->e_text, sizeof(e->e_text), fmt, ap);
		va_end(ap);
		n = strlen(e->e_text);
		snprintf(e->e_text + n, sizeof(e->e_text) - n, ": %s",
		    strerror(saved));
	}
	errno = saved;
	return (-1);
}
