/*
 * vmd for a test, in a folder of its own, and what is said to it (daemon.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon.h"

unsigned slow = 1;

void
pause_ms(unsigned ms)
{
	struct timespec ts = { ms / 1000, (long)(ms % 1000) * 1000000 };

	nanosleep(&ts, NULL);
}

/* --- vmd -------------------------------------------------------------------------- */

static bool
serves(const struct fixture *f)
{
	int fd = control_connect(f->f_socket, NULL);

	if (fd != -1)
		close(fd);
	return (fd != -1);
}

void
vmd_start(struct fixture *f)
{
	char log[96];
	int fd;

	snprintf(log, sizeof(log), "%s/log", f->f_dir);
	f->f_pid = fork();
	assert_int_not_equal(f->f_pid, -1);
	if (f->f_pid == 0) {
		fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
		dup2(fd, STDERR_FILENO);
		dup2(fd, STDOUT_FILENO);
		setenv("VMD_DIR", f->f_run, 1);
		setenv("VMM_ENGINE", "soft", 0);
		execl(f->f_vmd, "vmd", "-dv", "-f", "/dev/null", NULL);
		_exit(127);
	}
	EVENTUALLY(serves(f));
}

int
vmd_wait(struct fixture *f)
{
	int status = 0;

	EVENTUALLY(waitpid(f->f_pid, &status, WNOHANG) == f->f_pid);
	f->f_pid = 0;
	return (WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
}

unsigned
processes(const struct fixture *f)
{
	static char env[65536];
	char path[300], want[100];
	struct dirent *de;
	unsigned n = 0;
	ssize_t len;
	DIR *dir;
	int fd;

	len = snprintf(want, sizeof(want), "VMD_DIR=%s", f->f_run) + 1;
	dir = opendir("/proc");
	while ((de = readdir(dir)) != NULL) {
		snprintf(path, sizeof(path), "/proc/%s/environ", de->d_name);
		if (de->d_name[0] < '0' || de->d_name[0] > '9' ||
		    (fd = open(path, O_RDONLY)) == -1)
			continue;
		size_t got = 0;
		ssize_t r;
		while ((r = read(fd, env + got, sizeof(env) - got)) > 0)
			got += (size_t)r;
		close(fd);
		n += memmem(env, got, want, (size_t)len) != NULL;
	}
	closedir(dir);
	return (n);
}

unsigned
sockets(const struct fixture *f)
{
	struct dirent *de;
	char path[96];
	unsigned n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/vm", f->f_run);
	if ((dir = opendir(path)) == NULL)
		return (0);
	while ((de = readdir(dir)) != NULL)
		n += de->d_name[0] != '.';
	closedir(dir);
	return (n);
}

int
setup(void **state)
{
	const char *s = getenv("VMM_BUILD");
	struct fixture *f = calloc(1, sizeof(*f));
	char *build = realpath(s != NULL ? s : "build", NULL);

	assert_non_null(build);

	if ((s = getenv("VMM_TEST_SLOW")) != NULL && atoi(s) > 1)
		slow = (unsigned)atoi(s);
	snprintf(f->f_dir, sizeof(f->f_dir), "/tmp/daemon_test.XXXXXX");
	assert_non_null(mkdtemp(f->f_dir));
	/* for VMs of other users, too */
	assert_int_equal(chmod(f->f_dir, 0755), 0);
	snprintf(f->f_run, sizeof(f->f_run), "%s/run", f->f_dir);
	snprintf(f->f_socket, sizeof(f->f_socket), "%s/vmd.sock", f->f_run);
	snprintf(f->f_vmd, sizeof(f->f_vmd), "%s/bin/vmd", build);
	snprintf(f->f_guest, sizeof(f->f_guest),
	    "%s/tests/multiboot/guest.elf", build);
	free(build);
	vmd_start(f);
	*state = f;
	return (0);
}

int
teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	if (f->f_pid != 0) {
		kill(f->f_pid, SIGTERM);
		kill(f->f_pid, SIGTERM);	/* we mean it */
		assert_int_equal(vmd_wait(f), 0);
	}
	EVENTUALLY(processes(f) == 0);
	/* all that it has made, it has removed */
	assert_int_equal(access(f->f_run, F_OK), -1);
	snprintf(command, sizeof(command), "rm -r %s", f->f_dir);
	assert_int_equal(system(command), 0);
	free(f);
	return (0);
}

/* --- talking to it -------------------------------------------------------------------- */

int
dial(const struct fixture *f)
{
	struct err err;
	int fd = control_connect(f->f_socket, &err);

	if (fd == -1)
		fail_msg("%s", err.e_text);
	return (fd);
}

void
say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL),
	    (ssize_t)strlen(text));
}

cJSON *
hear(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	struct control_message cm;
	cJSON *json;

	assert_int_equal(poll(&pfd, 1, (int)(30000 * slow)), 1);
	assert_int_equal(control_receive(fd, &cm), 1);
	json = cm.cm_json;
	cm.cm_json = NULL;
	control_message_free(&cm);
	return (json);
}

cJSON *
ask(const struct fixture *f, const char *fmt, ...)
{
	char text[2048];
	va_list ap;
	cJSON *json;
	int fd = dial(f);

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	say(fd, text);
	json = hear(fd);
	close(fd);
	return (json);
}

void
start(const struct fixture *f, const char *name, const char *words)
{
	AGREED(f, START, name, f->f_guest, words, "");
}

const cJSON *
vm(const struct fixture *f, const char *name, cJSON **all)
{
	const cJSON *list;

	*all = ask(f, "{\"command\":\"status\",\"vm\":\"%s\"}", name);
	list = cJSON_GetObjectItemCaseSensitive(*all, "vms");
	assert_true(cJSON_GetArraySize(list) <= 1);
	return (cJSON_GetArrayItem(list, 0));
}

bool
has_state(const struct fixture *f, const char *name, const char *state)
{
	cJSON *all;
	const cJSON *one = vm(f, name, &all);
	bool is = strcmp(control_string(one, "state", "gone"), state) == 0;

	cJSON_Delete(all);
	return (is);
}

double
number(const struct fixture *f, const char *name, const char *what)
{
	cJSON *all;
	double n = control_number(vm(f, name, &all), what, -1);

	cJSON_Delete(all);
	return (n);
}

pid_t
process(const struct fixture *f, const char *name)
{
	pid_t pid = (pid_t)number(f, name, "pid");

	assert_true(pid > 1);
	return (pid);
}

void
see(const struct fixture *f, const char *name, const char *want)
{
	struct control_message cm;
	char buf[65537], text[128];
	size_t len = 0;
	ssize_t n;
	int fd = dial(f), console;

	snprintf(text, sizeof(text), "{\"command\":\"console\",\"vm\":\"%s\"}",
	    name);
	say(fd, text);
	assert_int_equal(control_receive(fd, &cm), 1);
	assert_int_equal(cm.cm_nfds, 1);
	console = cm.cm_fd[0];
	do {
		struct pollfd pfd = { .fd = console, .events = POLLIN };

		assert_int_equal(poll(&pfd, 1, (int)(20000 * slow)), 1);
		n = read(console, buf + len, sizeof(buf) - 1 - len);
		assert_true(n > 0);
		len += (size_t)n;
		buf[len] = '\0';
	} while (strstr(buf, want) == NULL);
	control_message_free(&cm);
	close(fd);
}
