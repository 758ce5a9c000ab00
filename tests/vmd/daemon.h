/*
 * vmd for a test: started in a folder of its own, ended, and what is said to
 * it. Whatever does not come as it should fails the test.
 */
#ifndef TESTS_VMD_DAEMON_H
#define TESTS_VMD_DAEMON_H

#include <stdbool.h>
#include <sys/types.h>

#include "control/control.h"

struct fixture {
	char		 f_dir[64];	/* the test's own */
	char		 f_run[80];	/* VMD_DIR */
	char		 f_socket[96];
	char		 f_vmd[256], f_guest[256];
	pid_t		 f_pid;		/* vmd, 0: does not run */
};

extern unsigned slow;			/* VMM_TEST_SLOW */

void	pause_ms(unsigned ms);

/* Waits until something is so, for that many seconds. */
#define WITHIN(seconds, what)						\
	do {								\
		unsigned tries_ = (seconds) * 100 * slow;		\
									\
		while (!(what)) {					\
			if (tries_-- == 0)				\
				fail_msg("never: %s", #what);		\
			pause_ms(10);					\
		}							\
	} while (0)
#define EVENTUALLY(what)	WITHIN(20, what)

/* Of cmocka: with vmd, which has to leave nothing. */
int	setup(void **state);
int	teardown(void **state);
void	vmd_start(struct fixture *);
/* Its exit status, or -signal. */
int	vmd_wait(struct fixture *);
/* Processes that have our VMD_DIR, which vmd hands on to its VMs. */
unsigned processes(const struct fixture *);
/* VMs' own. */
unsigned sockets(const struct fixture *);

/* --- talking to it -------------------------------------------------------------- */

int	dial(const struct fixture *);
void	say(int fd, const char *text);
/* The next message, within the limit. */
cJSON	*hear(int fd);
cJSON	*ask(const struct fixture *, const char *fmt, ...)
	    __attribute__((format(printf, 2, 3)));

/* The same where the answer is "ok", or has this code. */
#define AGREED(...)							\
	do {								\
		cJSON *json_ = ask(__VA_ARGS__);			\
		if (!control_bool(json_, "ok", false))			\
			fail_msg("%s", control_string(json_, "error",	\
			    "?"));					\
		cJSON_Delete(json_);					\
	} while (0)
#define REFUSED(code, ...)						\
	do {								\
		cJSON *json_ = ask(__VA_ARGS__);			\
		assert_false(control_bool(json_, "ok", true));		\
		assert_string_equal(control_string(json_, "code", ""),	\
		    code);						\
		assert_true(strlen(control_string(json_, "error", "")) > 5); \
		cJSON_Delete(json_);					\
	} while (0)

#define START								\
	"{\"command\":\"start\",\"config\":{\"name\":\"%s\",\"boot\":\"%s\"," \
	"\"memory\":16777216,\"append\":\"%s\"%s}}"

/* A VM whose guest does what these words say. */
void	start(const struct fixture *, const char *name, const char *words);
/* What is listed of a VM; NULL if it is not. The caller ends *all. */
const cJSON *vm(const struct fixture *, const char *name, cJSON **all);
bool	has_state(const struct fixture *, const char *name, const char *state);
double	number(const struct fixture *, const char *name, const char *what);
/* A VM's process, to be signalled: never kill(2)'s "everybody". */
pid_t	process(const struct fixture *, const char *name);
/* Reads a VM's console until this is seen in it. */
void	see(const struct fixture *, const char *name, const char *want);

#endif
