/*
 * Diagnostics on standard error, one line each, prefixed by the program's
 * name, or wherever log_set_sink() takes them. log_once_t bounds what a guest
 * can make us say: a message about guest behaviour is logged through
 * LOG_GUEST, which prints it the first few times and then falls silent.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdatomic.h>

enum log_level { LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Any thread. Messages above the level (default LOG_LEVEL_WARN) are dropped. */
void	log_set_level(enum log_level);
/* Each line ends in \r\n while the terminal is raw. */
void	log_set_raw(int);
/* Lines go to fn from now on, on the thread that says them, without name and
 * newline; NULL: to standard error. Before there are threads. */
void	log_set_sink(void (*fn)(void *arg, enum log_level, const char *line),
	    void *arg);
void	log_warn(const char *, ...) __attribute__((format(printf, 1, 2)));
/* What the user asked to be told: never dropped. */
void	log_say(const char *, ...) __attribute__((format(printf, 1, 2)));
void	log_info(const char *, ...) __attribute__((format(printf, 1, 2)));
void	log_debug(const char *, ...) __attribute__((format(printf, 1, 2)));

#define LOG_GUEST_MAX	4

/* A warning about what the guest does, at most LOG_GUEST_MAX times a place. */
#define LOG_GUEST(...)						\
	do {							\
		static atomic_uint log_guest_count;		\
		if (atomic_fetch_add(&log_guest_count, 1) <	\
		    LOG_GUEST_MAX)				\
			log_warn(__VA_ARGS__);			\
	} while (0)

#endif
