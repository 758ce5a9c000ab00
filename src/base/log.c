/*
 * Diagnostics on standard error; see log.h.
 *
 * Invariant: a line is one write(2), so that lines of different threads and
 * processes do not mix.
 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static atomic_int log_level = LOG_LEVEL_WARN;
static atomic_int log_raw;
/* Set before there are threads. */
static void (*log_sink)(void *, enum log_level, const char *);
static void *log_sink_arg;

void
log_set_level(enum log_level level)
{
	atomic_store(&log_level, (int)level);
}

void
log_set_raw(int raw)
{
	atomic_store(&log_raw, raw);
}

void
log_set_sink(void (*fn)(void *, enum log_level, const char *), void *arg)
{
	log_sink = fn;
	log_sink_arg = arg;
}

static void __attribute__((format(printf, 2, 0)))
log_line(enum log_level level, const char *fmt, va_list ap)
{
	char line[1024];
	int n, saved = errno;
	size_t len;

	if ((int)level > atomic_load(&log_level))
		return;
	if (log_sink != NULL) {
		vsnprintf(line, sizeof(line), fmt, ap);
		log_sink(log_sink_arg, level, line);
		errno = saved;
		return;
	}
	n = snprintf(line, sizeof(line), "%s: ",
	    program_invocation_short_name);
	len = n < 0 ? 0 : (size_t)n;
	if (len > sizeof(line) / 2)
		len = sizeof(line) / 2;
	vsnprintf(line + len, sizeof(line) - len - 2, fmt, ap);
	len = strlen(line);
	if (atomic_load(&log_raw))
		line[len++] = '\r';
	line[len++] = '\n';
	while (write(STDERR_FILENO, line, len) == -1 && errno == EINTR)
		continue;
	errno = saved;
}

#define LOG_BODY(level)				\
	do {					\
		va_list ap;			\
		va_start(ap, fmt);		\
		log_line(level, fmt, ap);	\
		va_end(ap);			\
	} while (0)

void
log_warn(const char *fmt, ...)
{
	LOG_BODY(LOG_LEVEL_WARN);
}

void
log_say(const char *fmt, ...)
{
	LOG_BODY(LOG_LEVEL_WARN);
}

void
log_info(const char *fmt, ...)
{
	LOG_BODY(LOG_LEVEL_INFO);
}

void
log_debug(const char *fmt, ...)
{
	LOG_BODY(LOG_LEVEL_DEBUG);
}
