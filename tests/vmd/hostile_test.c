/*
 * vmd under messages that nobody should send: any command with any members of
 * any type, bytes that are no message, descriptors that nobody asked for,
 * answers that are not read, connections that end at any time. It goes on
 * serving, keeps no descriptor of it, and leaves nothing when it ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon.h"

#define ROUNDS		40
#define MESSAGES	120	/* a round */
#define CONNECTIONS	4
#define COUNT(a)	(sizeof(a) / sizeof((a)[0]))

static char dir[] = "/tmp/vmm-hostile.XXXXXX";
static char run[64], path[80], vmd[256], guest[256];
static uint64_t seed;
static pid_t pid;

static uint64_t
any(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed % below);
}

static bool
serves(void)
{
	const int fd = control_connect(path, NULL);

	if (fd != -1)
		close(fd);
	return (fd != -1);
}

/* How many entries a folder has, "." and ".." not counted. */
static unsigned
entries(const char *name)
{
	struct dirent *de;
	unsigned n = 0;
	DIR *d = opendir(name);

	if (d == NULL)
		return (0);
	while ((de = readdir(d)) != NULL)
		n += de->d_name[0] != '.';
	closedir(d);
	return (n);
}

static unsigned
descriptors(void)
{
	char name[64];

	snprintf(name, sizeof(name), "/proc/%d/fd", (int)pid);
	return (entries(name));
}

/* --- messages ----------------------------------------------------------------- */

static const char *
any_name(void)
{
	static const char *const names[] = { "a", "b", "c", "d", "e" };

	return (names[any(COUNT(names))]);
}

static cJSON *
any_value(unsigned depth)
{
	static const char *const texts[] = { "", "a", "b", "1", "-1", "0",
	    "99999999999999999999", "all", "vms", "switches", "/nonexistent",
	    "/dev/null", "/", "../x", "\n", "%s%n", "raw", "net", "auto",
	    "fe:e1:bb:d1:00:01" };
	static const double numbers[] = { 0, 1, -1, 2, 1.5, 1e300, -1e300,
	    4294967296.0, 1048576, 16777216 };
	static char large[60000];
	cJSON *o;
	unsigned n;

	switch (any(depth > 3 ? 5 : 8)) {
	case 0:
		return (cJSON_CreateNull());
	case 1:
		return (cJSON_CreateBool(any(2) == 0));
	case 2:
		return (cJSON_CreateNumber(numbers[any(COUNT(numbers))]));
	case 3:
		if (any(20) != 0)
			break;
		memset(large, 'x', sizeof(large) - 1);
		return (cJSON_CreateString(large));
	case 5:
		o = cJSON_CreateArray();
		for (n = any(6); n > 0; n--)
			cJSON_AddItemToArray(o, any_value(depth + 1));
		return (o);
	case 6:
		o = cJSON_CreateObject();
		cJSON_AddItemToObject(o, "path", any_value(depth + 1));
		return (o);
	default:
		break;
	}
	return (cJSON_CreateString(texts[any(COUNT(texts))]));
}

/* Something like a VM, now and then one that can run. */
static cJSON *
any_config(void)
{
	static const char *const members[] = { "name", "parent", "enable",
	    "memory", "cpus", "disks", "cdrom", "boot", "initrd", "append",
	    "boot_device", "interfaces", "ninterfaces", "engine", "owner",
	    "allow", "allow_owner", "other" };
	cJSON *o = cJSON_CreateObject();
	unsigned n;

	cJSON_AddStringToObject(o, "name", any_name());
	if (any(3) != 0) {
		cJSON_AddStringToObject(o, "boot", any(3) != 0 ? guest :
		    "/nonexistent");
		cJSON_AddNumberToObject(o, "memory", 16 << 20);
		if (any(2) == 0)
			return (o);
	}
	for (n = any(4); n > 0; n--)
		cJSON_AddItemToObject(o, members[any(COUNT(members))],
		    any_value(0));
	return (o);
}

/* All commands but the one that rightly ends it. */
static cJSON *
any_message(void)
{
	static const char *const commands[] = { "status", "start", "start",
	    "start", "stop", "wait", "pause", "unpause", "console", "load",
	    "reload", "reset", "log", "hello", "", "x" };
	static const char *const members[] = { "vm", "config", "template",
	    "all", "force", "wait", "file", "what", "verbose", "event", "ok",
	    "more", "end", "state" };
	cJSON *o = cJSON_CreateObject();
	unsigned n;

	cJSON_AddStringToObject(o, "command", commands[any(COUNT(commands))]);
	if (any(3) == 0)
		cJSON_AddItemToObject(o, "config", any_config());
	if (any(2) == 0)
		cJSON_AddStringToObject(o, "vm", any_name());
	for (n = any(3); n > 0; n--)
		cJSON_AddItemToObject(o, members[any(COUNT(members))],
		    any_value(0));
	return (o);
}

/* --- connections ----------------------------------------------------------------- */

/* Without waiting for anybody: where there is no room it is not sent. */
static void
send_one(int fd)
{
	static char bytes[2000];
	int fds[CONTROL_FDS];
	unsigned i, nfds = 0;
	cJSON *o;
	char *text;

	if (any(12) == 0) {
		for (i = 0; i < sizeof(bytes); i++)
			bytes[i] = (char)any(256);
		(void)send(fd, bytes, any(sizeof(bytes)) + 1, MSG_DONTWAIT |
		    MSG_NOSIGNAL);
		return;
	}
	o = any_message();
	if (any(12) == 0)
		for (nfds = any(CONTROL_FDS) + 1, i = 0; i < nfds; i++)
			fds[i] = STDERR_FILENO;
	if (nfds != 0) {
		(void)control_send(fd, o, fds, nfds);
	} else {
		text = cJSON_PrintUnformatted(o);
		assert_non_null(text);
		(void)send(fd, text, strlen(text) - (any(20) == 0),
		    MSG_DONTWAIT | MSG_NOSIGNAL);
		cJSON_free(text);
	}
	cJSON_Delete(o);
}

static void
read_some(int fd)
{
	static char bytes[CONTROL_MAX];

	while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		continue;
}

/* An answer to an honest question. */
static void
must_answer(void)
{
	struct control_message answer;
	cJSON *o = cJSON_CreateObject();
	struct err err;
	int fd;

	cJSON_AddStringToObject(o, "command", "status");
	fd = control_connect(path, &err);
	if (fd == -1)
		fail_msg("%s", err.e_text);
	if (control_call(fd, o, &answer, &err) == -1)
		fail_msg("%s", err.e_text);
	assert_true(cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(
	    answer.cm_json, "vms")));
	control_message_free(&answer);
	close(fd);
}

/* A command and its answer, which may be no. */
static void
command(const char *name, const char *member, const char *value)
{
	struct control_message answer;
	cJSON *o = cJSON_CreateObject();
	int fd = control_connect(path, NULL);

	assert_int_not_equal(fd, -1);
	cJSON_AddStringToObject(o, "command", name);
	cJSON_AddStringToObject(o, member, value);
	if (control_call(fd, o, &answer, NULL) == 0)
		control_message_free(&answer);
	close(fd);
}

static void
test_messages(void **state)
{
	int fd[CONNECTIONS] = { -1, -1, -1, -1 };
	unsigned round, i, before;
	char name[80];
	size_t c;

	(void)state;
	must_answer();
	WITHIN(30, (before = descriptors()) != 0);
	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < MESSAGES; i++) {
			c = any(CONNECTIONS);
			if (fd[c] == -1)
				fd[c] = control_connect(path, NULL);
			assert_int_not_equal(fd[c], -1);
			send_one(fd[c]);
			/* the last one never reads */
			if (c != CONNECTIONS - 1 && any(4) == 0)
				read_some(fd[c]);
			if (any(15) == 0) {
				close(fd[c]);
				fd[c] = -1;
			}
		}
		must_answer();
		assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	}
	for (c = 0; c < CONNECTIONS; c++)
		if (fd[c] != -1)
			close(fd[c]);
	command("reset", "what", "all");
	snprintf(name, sizeof(name), "%s/vm", run);
	WITHIN(30, entries(name) == 0);
	WITHIN(30, descriptors() <= before);
	must_answer();
}

/* --- vmd -------------------------------------------------------------------------- */

static int
set_up(void **state)
{
	const char *build = getenv("VMM_BUILD"), *text = getenv("SEED");
	char log[80];
	int fd;

	(void)state;
	if (getenv("VMM_TEST_SLOW") != NULL)
		slow = (unsigned)atoi(getenv("VMM_TEST_SLOW"));
	seed = text != NULL ? strtoull(text, NULL, 0) :
	    (uint64_t)time(NULL) * 2654435761u + 1;
	printf("# SEED=%llu\n", (unsigned long long)seed);
	fflush(stdout);
	if (mkdtemp(dir) == NULL)
		return (-1);
	snprintf(run, sizeof(run), "%s/vmd", dir);
	snprintf(path, sizeof(path), "%s/vmd.sock", run);
	snprintf(log, sizeof(log), "%s/log", dir);
	snprintf(vmd, sizeof(vmd), "%s/bin/vmd", build != NULL ? build :
	    "build");
	snprintf(guest, sizeof(guest), "%s/tests/multiboot/guest.elf",
	    build != NULL ? build : "build");
	if (mkdir(run, 0700) == -1 || (pid = fork()) == -1)
		return (-1);
	if (pid == 0) {
		fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
		dup2(fd, STDERR_FILENO);
		dup2(fd, STDOUT_FILENO);
		setenv("VMD_DIR", run, 1);
		setenv("VMM_ENGINE", "soft", 0);
		execl(vmd, "vmd", "-d", "-f", "/dev/null", NULL);
		_exit(127);
	}
	WITHIN(30, serves());
	return (0);
}

static int
clean_up(void **state)
{
	char command_line[128];
	int status = 0;

	(void)state;
	kill(pid, SIGTERM);
	WITHIN(30, waitpid(pid, &status, WNOHANG) == pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		snprintf(command_line, sizeof(command_line),
		    "tail -n 40 %s/log | sed 's/^/# /'", dir);
		if (system(command_line) == -1)
			perror("system");
		fprintf(stderr, "vmd ended with %#x\n", status);
		return (-1);
	}
	snprintf(command_line, sizeof(command_line), "rm -rf %s", dir);
	return (system(command_line) == 0 ? 0 : -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages),
	};

	return (cmocka_run_group_tests(tests, set_up, clean_up));
}
