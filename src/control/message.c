/*
 * Messages and the blocking side of a connection; see control.h.
 *
 * Any thread; a connection belongs to one at a time.
 */
#include "control/control.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/packet.h"

#define ERRNO_MAX	256

void
control_message_free(struct control_message *cm)
{
	unsigned i;

	cJSON_Delete(cm->cm_json);
	cm->cm_json = NULL;
	for (i = 0; i < cm->cm_nfds; i++)
		if (cm->cm_fd[i] != -1)
			close(cm->cm_fd[i]);
	cm->cm_nfds = 0;
}

const char *
control_string(const cJSON *json, const char *name, const char *otherwise)
{
	const cJSON *member = cJSON_GetObjectItemCaseSensitive(json, name);

	return (cJSON_IsString(member) ? member->valuestring : otherwise);
}

double
control_number(const cJSON *json, const char *name, double otherwise)
{
	const cJSON *member = cJSON_GetObjectItemCaseSensitive(json, name);

	return (cJSON_IsNumber(member) ? member->valuedouble : otherwise);
}

bool
control_bool(const cJSON *json, const char *name, bool otherwise)
{
	const cJSON *member = cJSON_GetObjectItemCaseSensitive(json, name);

	return (cJSON_IsBool(member) ? cJSON_IsTrue(member) : otherwise);
}

/* What a message must have to be told apart, each of its type. */
static bool
message_valid(const cJSON *json)
{
	static const char *const strings[] = { "command", "event", "error",
	    "code" };
	static const char *const bools[] = { "ok", "more" };
	const cJSON *member;
	size_t i;

	if (!cJSON_IsObject(json))
		return (false);
	for (i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
		member = cJSON_GetObjectItemCaseSensitive(json, strings[i]);
		if (member != NULL && !cJSON_IsString(member))
			return (false);
	}
	for (i = 0; i < sizeof(bools) / sizeof(bools[0]); i++) {
		member = cJSON_GetObjectItemCaseSensitive(json, bools[i]);
		if (member != NULL && !cJSON_IsBool(member))
			return (false);
	}
	return (control_string(json, "command", NULL) != NULL ||
	    control_string(json, "event", NULL) != NULL ||
	    cJSON_GetObjectItemCaseSensitive(json, "ok") != NULL);
}

cJSON *
control_parse(const char *text, size_t len)
{
	const char *end;
	cJSON *json;

	json = cJSON_ParseWithLengthOpts(text, len, &end, false);
	if (json == NULL)
		return (NULL);
	while (end < text + len && (*end == ' ' || *end == '\n' ||
	    *end == '\r' || *end == '\t'))
		end++;
	if (end != text + len || !message_valid(json)) {
		cJSON_Delete(json);
		return (NULL);
	}
	return (json);
}

/* --- answers --------------------------------------------------------------- */

cJSON *
control_ok(void)
{
	cJSON *json = cJSON_CreateObject();

	if (cJSON_AddTrueToObject(json, "ok") == NULL) {
		cJSON_Delete(json);
		return (NULL);
	}
	return (json);
}

cJSON *
control_error(int error, const char *fmt, ...)
{
	const char *code = strerrorname_np(error);
	cJSON *json = cJSON_CreateObject();
	char line[512], *p;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	/* names in it are whatever somebody wrote, and it goes to terminals */
	for (p = line; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	if (cJSON_AddFalseToObject(json, "ok") == NULL ||
	    cJSON_AddStringToObject(json, "code",
	    code != NULL ? code : "EPROTO") == NULL ||
	    cJSON_AddStringToObject(json, "error", line) == NULL) {
		cJSON_Delete(json);
		return (NULL);
	}
	return (json);
}

int
control_errno(const char *name)
{
	const char *code;
	int i;

	for (i = 1; i < ERRNO_MAX; i++)
		if ((code = strerrorname_np(i)) != NULL &&
		    strcmp(code, name) == 0)
			return (i);
	return (EPROTO);
}

/* --- packets ---------------------------------------------------------------- */

char *
packet_text(const cJSON *json, size_t *len)
{
	char *text;

	if (json == NULL) {
		errno = ENOMEM;
		return (NULL);
	}
	if ((text = cJSON_PrintUnformatted(json)) == NULL) {
		errno = ENOMEM;
		return (NULL);
	}
	*len = strlen(text);
	if (*len > CONTROL_MAX) {
		cJSON_free(text);
		errno = EMSGSIZE;
		return (NULL);
	}
	return (text);
}

int
packet_send(int fd, const char *text, size_t len, const int *fds,
    unsigned nfds, int flags)
{
	union {
		char		buf[CMSG_SPACE(sizeof(int) * CONTROL_FDS)];
		struct cmsghdr	align;
	} control;
	struct iovec iov = { .iov_base = (char *)text, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;
	ssize_t n;

	if (nfds > CONTROL_FDS) {
		errno = EINVAL;
		return (-1);
	}
	if (nfds > 0) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * nfds);
	}
	do {
		n = sendmsg(fd, &msg, MSG_NOSIGNAL | flags);
	} while (n == -1 && errno == EINTR);
	return (n == -1 ? -1 : 0);
}

/* Takes the descriptors that came with a packet. */
static void
packet_fds(struct msghdr *msg, struct control_message *cm)
{
	struct cmsghdr *cmsg;
	size_t i, n;
	int fd;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg != NULL;
	    cmsg = CMSG_NXTHDR(msg, cmsg)) {
		if (cmsg->cmsg_level != SOL_SOCKET ||
		    cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < n; i++) {
			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int),
			    sizeof(fd));
			if (cm->cm_nfds < CONTROL_FDS)
				cm->cm_fd[cm->cm_nfds++] = fd;
			else
				close(fd);
		}
	}
}

int
packet_receive(int fd, struct control_message *cm, int flags)
{
	union {
		char		buf[CMSG_SPACE(sizeof(int) * CONTROL_FDS)];
		struct cmsghdr	align;
	} control;
	struct iovec iov = { .iov_len = CONTROL_MAX };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf) };
	bool reset = false;
	char *text;
	ssize_t n;

	memset(cm, 0, sizeof(*cm));
	if ((text = malloc(CONTROL_MAX)) == NULL)
		return (-1);
	iov.iov_base = text;
	/* Who went before it had read everything is told of first; what it had
	 * sent is still there. */
	do {
		n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | flags);
	} while (n == -1 && (errno == EINTR ||
	    (errno == ECONNRESET && !reset && (reset = true))));
	if (n == -1) {
		free(text);
		/* it went before it had read everything */
		return (errno == ECONNRESET ? 0 : -1);
	}
	packet_fds(&msg, cm);
	if (n > 0 && (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0)
		cm->cm_json = control_parse(text, (size_t)n);
	free(text);
	if (cm->cm_json != NULL)
		return (1);
	control_message_free(cm);
	if (n == 0)
		return (0);
	errno = EPROTO;
	return (-1);
}

/* --- one side of a connection ------------------------------------------------ */

int
packet_address(struct sockaddr_un *sun, const char *path, struct err *err)
{
	size_t len = strlen(path);

	memset(sun, 0, sizeof(*sun));
	sun->sun_family = AF_UNIX;
	if (len >= sizeof(sun->sun_path)) {
		errno = ENAMETOOLONG;
		return (err_set(err, "%.60s...: a socket's path has at most "
		    "%zu bytes; choose a shorter folder", path,
		    sizeof(sun->sun_path) - 1));
	}
	memcpy(sun->sun_path, path, len + 1);
	return (0);
}

int
control_connect(const char *path, struct err *err)
{
	struct sockaddr_un sun;
	int fd, error;

	if (packet_address(&sun, path, err) == -1)
		return (-1);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return (err_sys(err, "cannot make a socket"));
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == -1) {
		err_sys(err, "%s", path);
		error = errno;
		close(fd);
		errno = error;
		return (-1);
	}
	return (fd);
}

int
control_send(int fd, const cJSON *json, const int *fds, unsigned nfds)
{
	size_t len;
	char *text;
	int ret, error;

	if ((text = packet_text(json, &len)) == NULL)
		return (-1);
	ret = packet_send(fd, text, len, fds, nfds, 0);
	error = errno;
	cJSON_free(text);
	errno = error;
	return (ret);
}

int
control_receive(int fd, struct control_message *cm)
{
	return (packet_receive(fd, cm, 0));
}

int
control_call(int fd, cJSON *request, struct control_message *answer,
    struct err *err)
{
	int n, error;

	memset(answer, 0, sizeof(*answer));
	if (request != NULL) {
		n = control_send(fd, request, NULL, 0);
		error = errno;
		cJSON_Delete(request);
		errno = error;
		if (n == -1)
			return (err_sys(err, "cannot ask"));
	}
	while ((n = control_receive(fd, answer)) == 1) {
		if (cJSON_GetObjectItemCaseSensitive(answer->cm_json, "ok") !=
		    NULL)
			break;
		control_message_free(answer);
	}
	if (n == -1)
		return (err_sys(err, "no answer"));
	if (n == 0) {
		errno = ECONNRESET;
		return (err_set(err, "the connection ended before an answer "
		    "came"));
	}
	if (control_bool(answer->cm_json, "ok", false))
		return (0);
	error = control_errno(control_string(answer->cm_json, "code", ""));
	err_set(err, "%s", control_string(answer->cm_json, "error",
	    strerror(error)));
	control_message_free(answer);
	errno = error;
	return (-1);
}
