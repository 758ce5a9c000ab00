/*
 * What the process of a VM can do under its filter of system calls, and what it
 * cannot: each row in a child of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmd/sandbox.h"

static char victim[] = "/tmp/sandbox_test.XXXXXX";

/* Each: 0 if it worked, else an errno. */
#define RESULT(call)	((call) == -1 ? errno : 0)

static int
read_file(void)
{
	return (RESULT(open("/etc/passwd", O_RDONLY | O_CLOEXEC)));
}

static int
write_file(void)
{
	return (RESULT(open(victim, O_WRONLY)));
}

static int
create_file(void)
{
	return (RESULT(open("/tmp/sandbox_test.new", O_RDONLY | O_CREAT,
	    0600)));
}

static int
truncate_file(void)
{
	return (RESULT(open(victim, O_RDONLY | O_TRUNC)));
}

static int
remove_file(void)
{
	return (RESULT(unlink(victim)));
}

static int
rename_file(void)
{
	return (RESULT(rename(victim, "/tmp/sandbox_test.new")));
}

static int
change_mode(void)
{
	return (RESULT(chmod(victim, 0777)));
}

static int
execute(void)
{
	char *argv[] = { (char *)"true", NULL };

	return (RESULT(execv("/bin/true", argv)));
}

static int
execute_at(void)
{
	char *argv[] = { (char *)"true", NULL };

	return (RESULT(execveat(AT_FDCWD, "/bin/true", argv, argv, 0)));
}

static int
packets(void)
{
	return (RESULT(socket(AF_PACKET, SOCK_RAW, 0)));
}

static int
tcp(void)
{
	return (RESULT(socket(AF_INET, SOCK_STREAM, 0)));
}

static int
new_world(void)
{
	return (RESULT(unshare(CLONE_NEWUSER)));
}

static int
clone_world(void)
{
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0,
	    0, 0, 0);

	if (pid == 0)
		_exit(0);
	return (RESULT(pid));
}

static int
mount_it(void)
{
	return (RESULT(mount("none", "/tmp", "tmpfs", 0, NULL)));
}

static int
become_root(void)
{
	return (RESULT(setresuid(0, 0, 0)));
}

static int
make_code(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return (errno);
	return (RESULT(mprotect(p, 4096, PROT_READ | PROT_EXEC)));
}

static void *
thread(void *arg)
{
	int *result = arg;

	*result = write_file();
	return (NULL);
}

/* A thread can be made, and may no more than we. */
static int
threads(void)
{
	pthread_t t;
	int result = 0, error = pthread_create(&t, NULL, thread, &result);

	if (error != 0)
		return (1000 + error);
	pthread_join(t, NULL);
	return (result);
}

/* A traced child, as direct execution has them. */
static int
traced(void)
{
	int status;
	pid_t pid = fork();

	if (pid == -1)
		return (errno);
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) == -1)
			_exit(errno);
		raise(SIGSTOP);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid)
		return (errno);
	if (!WIFSTOPPED(status))
		return (WEXITSTATUS(status));
	return (RESULT(ptrace(PTRACE_KILL, pid, NULL, NULL)));
}

static const struct {
	const char	*name;
	int		(*fn)(void);
	bool		 works;
} rows[] = {
	{ "read a file",	read_file,	true },
	{ "TCP",		tcp,		true },
	{ "make code",		make_code,	true },
	{ "trace a child",	traced,		true },
	{ "write a file",	write_file,	false },
	{ "create a file",	create_file,	false },
	{ "truncate a file",	truncate_file,	false },
	{ "remove a file",	remove_file,	false },
	{ "rename a file",	rename_file,	false },
	{ "change a mode",	change_mode,	false },
	{ "execute a program",	execute,	false },
	{ "the same by name",	execute_at,	false },
	{ "raw packets",	packets,	false },
	{ "a new user's world",	new_world,	false },
	{ "clone into one",	clone_world,	false },
	{ "mount",		mount_it,	false },
	{ "become root",	become_root,	false },
	{ "write by a thread",	threads,	false },
};

static void
test_rows(void **state)
{
	struct err err;
	int status, result;
	pid_t pid;
	size_t i;
	int fd;

	(void)state;
	fd = mkstemp(victim);
	assert_int_not_equal(fd, -1);
	close(fd);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if ((pid = fork()) == 0) {
			if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 ||
			    sandbox_enter(&err) == -1)
				_exit(255);
			result = rows[i].fn();
			_exit(result == 0 ? 0 : result == ENOSYS ? 1 : 2);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		if (WEXITSTATUS(status) != (rows[i].works ? 0 : 1))
			fail_msg("%s: %d", rows[i].name, WEXITSTATUS(status));
		assert_int_equal(access(victim, F_OK), 0);
	}
	assert_int_equal(unlink(victim), 0);
}

/* A thread that is there already is taken in. */
static pthread_mutex_t go = PTHREAD_MUTEX_INITIALIZER;

static void *
waiter(void *arg)
{
	int *result = arg;

	pthread_mutex_lock(&go);
	*result = RESULT(unlink("/tmp/sandbox_test.none"));
	pthread_mutex_unlock(&go);
	return (NULL);
}

static void
test_threads(void **state)
{
	int status, result = 0;
	pthread_t t;
	pid_t pid;

	(void)state;
	if ((pid = fork()) == 0) {
		pthread_mutex_lock(&go);
		if (pthread_create(&t, NULL, waiter, &result) != 0 ||
		    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 ||
		    sandbox_enter(NULL) == -1)
			_exit(255);
		pthread_mutex_unlock(&go);
		pthread_join(t, NULL);
		_exit(result == ENOSYS ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_threads),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
