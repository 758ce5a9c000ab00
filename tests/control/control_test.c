/*
 * Control messages: what is a message, descriptors, answers, peers that do not
 * read or send rubbish, sockets that somebody serves or served.
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
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/control.h"

#define SECOND	1000000000ull
#define LIMIT	(20 * SECOND)

/* --- a server that counts, on a loop that the test steps ----------------------- */

struct fixture {
	struct loop	*f_loop;
	struct control_server *f_server;
	struct loop_timer *f_limit, *f_tick;
	struct control_peer *f_peer;	/* the last one that said something */
	char		 f_dir[64], f_path[80];
	unsigned	 f_messages, f_gone;
	bool		 f_free_peer;	/* in co_message */
	bool		 f_expired;
	bool		(*f_until)(struct fixture *);
};

static unsigned
open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return (n);
}

static void
tick(void *arg)
{
	struct fixture *f = arg;

	if (f->f_until(f))
		loop_stop(f->f_loop);
	else
		loop_timer_set(f->f_tick, loop_now() + 1000000);
}

static void
expire(void *arg)
{
	struct fixture *f = arg;

	f->f_expired = true;
	loop_stop(f->f_loop);
}

/* Runs the loop until something is so. */
static void
run_until(struct fixture *f, bool (*until)(struct fixture *))
{
	f->f_until = until;
	loop_timer_set(f->f_limit, loop_now() + LIMIT);
	loop_timer_set(f->f_tick, loop_now());
	assert_int_equal(loop_run(f->f_loop), 0);
	assert_false(f->f_expired);
}

/* "echo" answers what it got; "fd" with a descriptor; "big" with a lot. */
static void
on_message(void *arg, struct control_peer *pe, struct control_message *cm)
{
	struct fixture *f = arg;
	const char *command = control_string(cm->cm_json, "command", "");
	cJSON *answer;
	char *big;
	int fd;

	f->f_messages++;
	f->f_peer = pe;
	if (f->f_free_peer) {
		control_peer_free(pe);
		return;
	}
	answer = control_ok();
	if (strcmp(command, "echo") == 0) {
		cJSON_AddNumberToObject(answer, "fds", cm->cm_nfds);
		cJSON_AddNumberToObject(answer, "n",
		    control_number(cm->cm_json, "n", -1));
		cJSON_AddNumberToObject(answer, "uid",
		    control_peer_who(pe)->cc_uid);
		cJSON_AddNumberToObject(answer, "pid",
		    control_peer_who(pe)->cc_pid);
		control_peer_send(pe, answer, NULL, 0);
	} else if (strcmp(command, "fd") == 0) {
		fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
		control_peer_send(pe, answer, &fd, 1);
		close(fd);
	} else if (strcmp(command, "big") == 0) {
		big = calloc(1, 100001);
		memset(big, 'x', 100000);
		cJSON_AddStringToObject(answer, "big", big);
		free(big);
		control_peer_send(pe, answer, NULL, 0);
	} else if (strcmp(command, "huge") == 0) {
		big = calloc(1, CONTROL_MAX + 1);
		memset(big, 'x', CONTROL_MAX);
		cJSON_AddStringToObject(answer, "big", big);
		free(big);
		control_peer_send(pe, answer, NULL, 0);
	} else {
		cJSON_Delete(answer);
		control_peer_send(pe, control_error(EPERM, "not %s", command),
		    NULL, 0);
	}
}

static void
on_gone(void *arg, struct control_peer *pe)
{
	struct fixture *f = arg;

	if (f->f_peer == pe)
		f->f_peer = NULL;
	f->f_gone++;
	/* allowed, without effect */
	control_peer_send(pe, control_ok(), NULL, 0);
}

static const struct control_ops ops = { on_message, on_gone };

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err err;

	snprintf(f->f_dir, sizeof(f->f_dir), "/tmp/control_test.XXXXXX");
	assert_non_null(mkdtemp(f->f_dir));
	snprintf(f->f_path, sizeof(f->f_path), "%s/sock", f->f_dir);
	f->f_loop = loop_new();
	f->f_limit = loop_timer_new(f->f_loop, expire, f);
	f->f_tick = loop_timer_new(f->f_loop, tick, f);
	f->f_server = control_server_new(f->f_loop, f->f_path, 0600, &ops, f,
	    &err);
	assert_non_null(f->f_server);
	*state = f;
	return (0);
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	control_server_free(f->f_server);
	assert_int_equal(access(f->f_path, F_OK), -1);
	loop_timer_free(f->f_limit);
	loop_timer_free(f->f_tick);
	loop_free(f->f_loop);
	assert_int_equal(rmdir(f->f_dir), 0);
	free(f);
	return (0);
}

static cJSON *
request(const char *command, double n)
{
	cJSON *json = cJSON_CreateObject();

	cJSON_AddStringToObject(json, "command", command);
	cJSON_AddNumberToObject(json, "n", n);
	return (json);
}

/* --- messages ------------------------------------------------------------------ */

static void
test_parse(void **state)
{
	static const struct {
		const char	*text;
		bool		 good;
	} rows[] = {
		{ "{\"command\":\"x\"}", true },
		{ " {\"command\":\"x\"} \r\n\t", true },
		{ "{\"ok\":true}", true },
		{ "{\"ok\":false,\"code\":\"EPERM\",\"error\":\"no\"}", true },
		{ "{\"event\":\"state\",\"x\":[[[]]]}", true },
		{ "", false },
		{ "{", false },
		{ "{}", false },
		{ "[]", false },
		{ "7", false },
		{ "null", false },
		{ "{\"Command\":\"x\"}", false },
		{ "{\"command\":7}", false },
		{ "{\"ok\":1}", false },
		{ "{\"ok\":true,\"more\":\"yes\"}", false },
		{ "{\"ok\":false,\"code\":1}", false },
		{ "{\"ok\":false,\"error\":null}", false },
		{ "{\"command\":\"x\"}{\"command\":\"y\"}", false },
		{ "{\"command\":\"x\"}x", false },
		{ "{\"command\":\"x\",}", false },
	};
	char *copy;
	cJSON *json;
	size_t i, len;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		/* where reading further would be seen */
		len = strlen(rows[i].text);
		copy = malloc(len + 1);
		memcpy(copy, rows[i].text, len);
		copy[len] = '"';
		json = control_parse(copy, len);
		if ((json != NULL) != rows[i].good)
			fail_msg("%s", rows[i].text);
		cJSON_Delete(json);
		free(copy);
	}
	/* deeper than anybody means it */
	copy = malloc(CONTROL_MAX);
	memset(copy, '[', CONTROL_MAX);
	assert_null(control_parse(copy, CONTROL_MAX));
	free(copy);
}

static void
test_members(void **state)
{
	cJSON *json = cJSON_Parse("{\"s\":\"text\",\"n\":7.5,\"b\":true,"
	    "\"f\":false,\"o\":{},\"z\":null}");

	(void)state;
	assert_string_equal(control_string(json, "s", "no"), "text");
	assert_string_equal(control_string(json, "n", "no"), "no");
	assert_string_equal(control_string(json, "S", "no"), "no");
	assert_null(control_string(json, "missing", NULL));
	assert_true(control_number(json, "n", 0) == 7.5);
	assert_true(control_number(json, "s", 1) == 1);
	assert_true(control_bool(json, "b", false));
	assert_false(control_bool(json, "f", true));
	assert_true(control_bool(json, "z", true));
	assert_false(control_bool(json, "n", false));
	assert_null(control_string(NULL, "s", NULL));
	cJSON_Delete(json);
}

static void
test_errno(void **state)
{
	cJSON *json = control_error(EUSERS, "a \"quoted\" %s", "line");
	cJSON *odd = control_error(100000, "x\n%s", "\033[1m");

	(void)state;
	assert_string_equal(control_string(json, "code", ""), "EUSERS");
	assert_string_equal(control_string(json, "error", ""),
	    "a \"quoted\" line");
	assert_int_equal(control_errno("EUSERS"), EUSERS);
	assert_int_equal(control_errno("EPERM"), EPERM);
	assert_int_equal(control_errno(""), EPROTO);
	assert_int_equal(control_errno("0"), EPROTO);
	assert_string_equal(control_string(odd, "code", ""), "EPROTO");
	assert_string_equal(control_string(odd, "error", ""), "x??[1m");
	cJSON_Delete(json);
	cJSON_Delete(odd);
}

/* --- the blocking side ------------------------------------------------------------ */

static void
pair(int fd[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
	    fd), 0);
}

/* Who goes without having read everything has still said what it said. */
static void
test_last_words(void **state)
{
	struct control_message cm;
	cJSON *json = request("x", 1);
	int fd[2];

	(void)state;
	pair(fd);
	assert_int_equal(control_send(fd[0], json, NULL, 0), 0);
	assert_int_equal(control_send(fd[1], json, NULL, 0), 0);
	assert_int_equal(control_send(fd[1], json, NULL, 0), 0);
	close(fd[1]);
	assert_int_equal(control_receive(fd[0], &cm), 1);
	control_message_free(&cm);
	assert_int_equal(control_receive(fd[0], &cm), 1);
	control_message_free(&cm);
	assert_int_equal(control_receive(fd[0], &cm), 0);
	cJSON_Delete(json);
	close(fd[0]);
}

struct last_words {
	struct loop	*lw_loop;
	unsigned	 lw_messages;
};

static void
last_words_message(void *arg, struct control_peer *pe,
    struct control_message *cm)
{
	struct last_words *lw = arg;

	(void)pe;
	(void)cm;
	lw->lw_messages++;
}

static void
last_words_gone(void *arg, struct control_peer *pe)
{
	struct last_words *lw = arg;

	(void)pe;
	loop_stop(lw->lw_loop);
}

/* Also to one that is just about to say something to it. */
static void
test_last_words_peer(void **state)
{
	static const struct control_ops last_words_ops = {
		.co_message = last_words_message,
		.co_gone = last_words_gone
	};
	struct last_words lw = { .lw_loop = loop_new() };
	struct control_peer *pe;
	cJSON *json = request("x", 1);
	struct err err;
	int fd[2];

	(void)state;
	assert_non_null(lw.lw_loop);
	pair(fd);
	pe = control_peer_new(lw.lw_loop, fd[0], &last_words_ops, &lw, &err);
	assert_non_null(pe);
	assert_int_equal(control_send(fd[1], json, NULL, 0), 0);
	assert_int_equal(control_send(fd[1], json, NULL, 0), 0);
	close(fd[1]);
	control_peer_send(pe, json, NULL, 0);
	assert_int_equal(loop_run(lw.lw_loop), 0);
	assert_int_equal(lw.lw_messages, 2);
	loop_free(lw.lw_loop);
}

static void
test_descriptors(void **state)
{
	struct control_message cm;
	cJSON *json = request("x", 1);
	unsigned before = open_files(), i;
	int fd[2], many[CONTROL_FDS + 1];

	(void)state;
	pair(fd);
	for (i = 0; i < CONTROL_FDS + 1; i++)
		many[i] = fd[0];
	errno = 0;
	assert_int_equal(control_send(fd[0], json, many, CONTROL_FDS + 1), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(control_send(fd[0], json, many, CONTROL_FDS), 0);
	assert_int_equal(control_receive(fd[1], &cm), 1);
	assert_int_equal(cm.cm_nfds, CONTROL_FDS);
	for (i = 0; i < cm.cm_nfds; i++)
		assert_true(fcntl(cm.cm_fd[i], F_GETFD) & FD_CLOEXEC);
	close(cm.cm_fd[3]);	/* taken by the reader */
	cm.cm_fd[3] = -1;
	control_message_free(&cm);
	assert_int_equal(open_files(), before + 2);
	cJSON_Delete(json);
	close(fd[0]);
	assert_int_equal(control_receive(fd[1], &cm), 0);
	close(fd[1]);
}

/* A packet of these bytes, with so many descriptors. */
static void
send_raw(int fd, const void *data, size_t len, unsigned nfds)
{
	char control[CMSG_SPACE(sizeof(int) * 64)] = "";
	struct iovec iov = { .iov_base = (void *)data, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = nfds > 0 ? control : NULL,
		.msg_controllen = nfds > 0 ? CMSG_SPACE(sizeof(int) * nfds) :
		    0 };
	struct cmsghdr *cmsg;
	unsigned i;

	if (nfds > 0) {
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		for (i = 0; i < nfds; i++)
			memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &fd,
			    sizeof(int));
	}
	assert_int_equal(sendmsg(fd, &msg, MSG_NOSIGNAL), (ssize_t)len);
}

static void
test_not_messages(void **state)
{
	static const char text[] = "{\"command\":\"x\"}";
	struct control_message cm;
	unsigned before;
	char *big = malloc(CONTROL_MAX + 1);
	int fd[2];

	(void)state;
	pair(fd);
	before = open_files();
	send_raw(fd[0], "rubbish", 7, 3);
	assert_int_equal(control_receive(fd[1], &cm), -1);
	assert_int_equal(errno, EPROTO);
	/* more descriptors than we take: nobody knows which are missing */
	send_raw(fd[0], text, sizeof(text) - 1, 60);
	assert_int_equal(control_receive(fd[1], &cm), -1);
	assert_int_equal(errno, EPROTO);
	/* a message with more behind it than is ever read */
	memset(big, ' ', CONTROL_MAX + 1);
	memcpy(big, text, sizeof(text) - 1);
	send_raw(fd[0], big, CONTROL_MAX + 1, 0);
	assert_int_equal(control_receive(fd[1], &cm), -1);
	assert_int_equal(errno, EPROTO);
	send_raw(fd[0], big, CONTROL_MAX, 0);
	assert_int_equal(control_receive(fd[1], &cm), 1);
	control_message_free(&cm);
	assert_int_equal(open_files(), before);
	free(big);
	close(fd[0]);
	close(fd[1]);
}

static void
test_too_big(void **state)
{
	char *big = calloc(1, CONTROL_MAX + 1);
	cJSON *json = request("x", 1);
	int fd[2];

	(void)state;
	memset(big, 'x', CONTROL_MAX);
	cJSON_AddStringToObject(json, "big", big);
	pair(fd);
	assert_int_equal(control_send(fd[0], json, NULL, 0), -1);
	assert_int_equal(errno, EMSGSIZE);
	assert_int_equal(control_send(fd[0], NULL, NULL, 0), -1);
	assert_int_equal(errno, ENOMEM);
	cJSON_Delete(json);
	free(big);
	/* the other side is gone: an errno, no signal */
	close(fd[1]);
	json = request("x", 1);
	assert_int_equal(control_send(fd[0], json, NULL, 0), -1);
	assert_int_equal(errno, EPIPE);
	cJSON_Delete(json);
	close(fd[0]);
}

static void
test_call(void **state)
{
	static const char event[] = "{\"event\":\"e\"}";
	static const char more[] = "{\"ok\":true,\"more\":true,\"n\":1}";
	static const char last[] = "{\"ok\":true,\"n\":2}";
	static const char no[] =
	    "{\"ok\":false,\"code\":\"EALREADY\",\"error\":\"it runs\"}";
	struct control_message cm;
	struct err err;
	int fd[2];

	(void)state;
	pair(fd);
	send_raw(fd[1], event, sizeof(event) - 1, 0);
	send_raw(fd[1], more, sizeof(more) - 1, 0);
	send_raw(fd[1], last, sizeof(last) - 1, 0);
	send_raw(fd[1], no, sizeof(no) - 1, 0);
	assert_int_equal(control_call(fd[0], request("x", 1), &cm, &err), 0);
	assert_true(control_bool(cm.cm_json, "more", false));
	control_message_free(&cm);
	assert_int_equal(control_call(fd[0], NULL, &cm, &err), 0);
	assert_true(control_number(cm.cm_json, "n", 0) == 2);
	control_message_free(&cm);
	assert_int_equal(control_call(fd[0], request("x", 1), &cm, &err), -1);
	assert_int_equal(errno, EALREADY);
	assert_string_equal(err.e_text, "it runs");
	close(fd[1]);
	assert_int_equal(control_call(fd[0], request("x", 1), &cm, &err), -1);
	assert_true(errno == EPIPE || errno == ECONNRESET);
	assert_int_equal(control_call(fd[0], NULL, &cm, &err), -1);
	assert_int_equal(errno, ECONNRESET);
	close(fd[0]);
}

/* --- the server -------------------------------------------------------------------- */

static bool
has_message(struct fixture *f)
{
	return (f->f_messages > 0);
}

static bool
has_gone(struct fixture *f)
{
	return (f->f_gone > 0);
}

static int
dial(struct fixture *f)
{
	struct err err;
	int fd = control_connect(f->f_path, &err);

	assert_int_not_equal(fd, -1);
	return (fd);
}

static void
say(int fd, const char *command, double n)
{
	cJSON *json = request(command, n);

	assert_int_equal(control_send(fd, json, NULL, 0), 0);
	cJSON_Delete(json);
}

static void
test_server(void **state)
{
	struct fixture *f = *state;
	struct control_message cm;
	struct stat st;
	int fd, zero;
	char byte = 'x';

	assert_int_equal(stat(f->f_path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	fd = dial(f);
	send_raw(fd, "{\"command\":\"echo\",\"n\":5}", 24, 2);
	run_until(f, has_message);
	assert_int_equal(control_receive(fd, &cm), 1);
	assert_true(control_number(cm.cm_json, "fds", 0) == 2);
	assert_true(control_number(cm.cm_json, "n", 0) == 5);
	assert_true(control_number(cm.cm_json, "uid", -1) == getuid());
	assert_true(control_number(cm.cm_json, "pid", -1) == getpid());
	control_message_free(&cm);

	f->f_messages = 0;
	say(fd, "fd", 0);
	run_until(f, has_message);
	assert_int_equal(control_receive(fd, &cm), 1);
	assert_int_equal(cm.cm_nfds, 1);
	zero = cm.cm_fd[0];
	assert_int_equal(read(zero, &byte, 1), 1);
	assert_int_equal(byte, 0);
	control_message_free(&cm);

	f->f_messages = 0;
	say(fd, "dance", 0);
	run_until(f, has_message);
	assert_int_equal(control_receive(fd, &cm), 1);
	assert_string_equal(control_string(cm.cm_json, "error", ""),
	    "not dance");
	control_message_free(&cm);
	close(fd);
	run_until(f, has_gone);
	assert_int_equal(f->f_gone, 1);
}

/* Rubbish ends the connection, descriptors and all; others go on. */
static void
test_rubbish(void **state)
{
	struct fixture *f = *state;
	struct control_message cm;
	unsigned before = open_files();
	int fd, other = dial(f);

	fd = dial(f);
	send_raw(fd, "{\"command\":[]}", 14, 5);
	run_until(f, has_gone);
	assert_int_equal(f->f_messages, 0);
	assert_int_equal(control_receive(fd, &cm), 0);
	close(fd);
	say(other, "echo", 1);
	run_until(f, has_message);
	assert_int_equal(control_receive(other, &cm), 1);
	control_message_free(&cm);
	f->f_gone = 0;
	close(other);
	run_until(f, has_gone);
	assert_int_equal(open_files(), before);
}

static bool
has_100(struct fixture *f)
{
	return (f->f_messages == 100);
}

/* One that does not read for a while gets everything, in order. */
static void
test_late_reader(void **state)
{
	struct fixture *f = *state;
	struct control_message cm;
	cJSON *json;
	int fd = dial(f), i;

	/* 9 answers of 100 kB: some wait in the kernel, some in the queue */
	for (i = 0; i < 9; i++)
		say(fd, "big", 0);
	for (; i < 100; i++)
		say(fd, "echo", i);
	run_until(f, has_100);
	assert_int_equal(f->f_gone, 0);
	/* read while the loop goes on sending: a step at a time */
	for (i = 0; i < 100; i++) {
		f->f_messages = 0;
		json = request("echo", 1000);
		if (i == 0)
			assert_int_equal(control_send(fd, json, NULL, 0), 0);
		cJSON_Delete(json);
		if (i == 0)
			run_until(f, has_message);
		while (recv(fd, NULL, 0, MSG_PEEK | MSG_DONTWAIT) == -1) {
			f->f_messages = 1;
			run_until(f, has_message);
		}
		assert_int_equal(control_receive(fd, &cm), 1);
		if (i < 9)
			assert_int_equal(strlen(control_string(cm.cm_json,
			    "big", "")), 100000);
		else
			assert_true(control_number(cm.cm_json, "n", -1) == i);
		control_message_free(&cm);
	}
	close(fd);
	f->f_gone = 0;
	run_until(f, has_gone);
}

/* One that never reads is closed, and costs nobody else anything. */
static void
test_no_reader(void **state)
{
	struct fixture *f = *state;
	unsigned before = open_files();
	struct control_message cm;
	int fd = dial(f), other, i, n;

	for (i = 0; i < 20; i++)
		say(fd, "big", 0);
	run_until(f, has_gone);
	assert_true(f->f_messages < 20);
	for (n = 0; (i = control_receive(fd, &cm)) == 1; n++)
		control_message_free(&cm);
	assert_int_equal(i, 0);
	assert_true(n < 20);
	close(fd);
	other = dial(f);
	f->f_messages = 0;
	say(other, "echo", 3);
	run_until(f, has_message);
	assert_int_equal(control_receive(other, &cm), 1);
	control_message_free(&cm);
	close(other);
	f->f_gone = 0;
	run_until(f, has_gone);
	assert_int_equal(open_files(), before);
}

/* An answer that is no message ends the connection: nobody waits for ever. */
static void
test_huge_answer(void **state)
{
	struct fixture *f = *state;
	struct control_message cm;
	int fd = dial(f);

	say(fd, "huge", 0);
	run_until(f, has_gone);
	assert_int_equal(control_receive(fd, &cm), 0);
	close(fd);
}

static void
test_free_in_handler(void **state)
{
	struct fixture *f = *state;
	struct control_message cm;
	int fd = dial(f);

	f->f_free_peer = true;
	say(fd, "echo", 0);
	say(fd, "echo", 0);
	run_until(f, has_message);
	assert_int_equal(control_receive(fd, &cm), 0);
	assert_int_equal(f->f_messages, 1);
	assert_int_equal(f->f_gone, 0);
	close(fd);
}

static void
test_paths(void **state)
{
	struct fixture *f = *state;
	struct control_server *second;
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	char path[100], long_path[200];
	struct stat old, new;
	struct err err;
	int fd;

	/* somebody serves there */
	second = control_server_new(f->f_loop, f->f_path, 0600, &ops, f, &err);
	assert_null(second);
	assert_int_equal(errno, EADDRINUSE);
	assert_non_null(strstr(err.e_text, f->f_path));
	assert_int_equal(access(f->f_path, F_OK), 0);

	/* nobody does any more */
	snprintf(path, sizeof(path), "%s/stale", f->f_dir);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	close(fd);
	assert_int_equal(control_connect(path, &err), -1);
	assert_int_equal(errno, ECONNREFUSED);
	second = control_server_new(f->f_loop, path, 0666, &ops, f, &err);
	assert_non_null(second);
	assert_int_equal(stat(path, &old), 0);
	assert_int_equal(old.st_mode & 07777, 0666);

	/* what took its place stays */
	assert_int_equal(unlink(path), 0);
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	control_server_free(second);
	assert_int_equal(stat(path, &new), 0);

	/* a file of somebody's is not removed */
	second = control_server_new(f->f_loop, path, 0600, &ops, f, &err);
	assert_null(second);
	assert_int_equal(unlink(path), 0);

	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[sizeof(long_path) - 1] = '\0';
	assert_null(control_server_new(f->f_loop, long_path, 0600, &ops, f,
	    &err));
	assert_int_equal(errno, ENAMETOOLONG);
	snprintf(path, sizeof(path), "%s/none/sock", f->f_dir);
	assert_null(control_server_new(f->f_loop, path, 0600, &ops, f, &err));
	assert_int_equal(errno, ENOENT);
}

/* Freeing the server ends the connections, and says so. */
static void
test_server_end(void **state)
{
	struct fixture *f = *state;
	struct control_message cm;
	struct err err;
	int fd = dial(f);

	say(fd, "echo", 1);
	run_until(f, has_message);
	control_server_free(f->f_server);
	assert_int_equal(f->f_gone, 1);
	assert_int_equal(control_receive(fd, &cm), 1);
	control_message_free(&cm);
	assert_int_equal(control_receive(fd, &cm), 0);
	close(fd);
	f->f_server = control_server_new(f->f_loop, f->f_path, 0600, &ops, f,
	    &err);
	assert_non_null(f->f_server);
}

/* Of many who start at one path at once, one serves. */
#define RACERS	8

struct racer {
	const char	*path;
	struct loop	*loop;
	struct control_server *server;
};

static void *
race(void *arg)
{
	struct racer *r = arg;

	r->loop = loop_new();
	r->server = control_server_new(r->loop, r->path, 0600, &ops, NULL,
	    NULL);
	return (NULL);
}

static void
test_race(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct racer racer[RACERS];
	pthread_t thread[RACERS];
	int fd, i, round, winners;

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/race", f->f_dir);
	for (round = 0; round < 20; round++) {
		fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
		assert_int_equal(bind(fd, (struct sockaddr *)&sun,
		    sizeof(sun)), 0);
		close(fd);
		for (i = 0; i < RACERS; i++) {
			racer[i].path = sun.sun_path;
			assert_int_equal(pthread_create(&thread[i], NULL,
			    race, &racer[i]), 0);
		}
		winners = 0;
		for (i = 0; i < RACERS; i++) {
			pthread_join(thread[i], NULL);
			winners += racer[i].server != NULL;
		}
		assert_int_equal(winners, 1);
		fd = control_connect(sun.sun_path, NULL);
		assert_int_not_equal(fd, -1);
		close(fd);
		for (i = 0; i < RACERS; i++) {
			control_server_free(racer[i].server);
			loop_free(racer[i].loop);
		}
	}
}

int
main(void)
{
#define SERVED(test)	cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_members),
		cmocka_unit_test(test_errno),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_last_words),
		cmocka_unit_test(test_last_words_peer),
		cmocka_unit_test(test_not_messages),
		cmocka_unit_test(test_too_big),
		cmocka_unit_test(test_call),
		SERVED(test_server),
		SERVED(test_rubbish),
		SERVED(test_late_reader),
		SERVED(test_no_reader),
		SERVED(test_huge_answer),
		SERVED(test_free_in_handler),
		SERVED(test_paths),
		SERVED(test_server_end),
		SERVED(test_race),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
