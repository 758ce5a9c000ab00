/*
 * A port of a switch's process; see control.h and vmd/switch.h.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mac.h"
#include "control/control.h"

#define ANSWER_SECONDS	5

int
control_port(const char *dir, const char *name, const char *vm,
    const uint8_t mac[6], bool locked, unsigned *mtu, struct err *err)
{
	const struct timeval limit = { .tv_sec = ANSWER_SECONDS };
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)], text[MAC_TEXT];
	struct control_message cm;
	struct err why;
	cJSON *json;
	int n, fd, port = -1;

	n = snprintf(path, sizeof(path), "%s/switch/%s.sock", dir, name);
	if (n < 0 || (size_t)n >= sizeof(path)) {
		errno = ENAMETOOLONG;
		return (err_set(err, "switch %.64s: the path of its socket is "
		    "too long; choose a shorter folder by VMD_DIR", name));
	}
	if ((fd = control_connect(path, &why)) == -1)
		return (err_set(err, "there is no switch %s; vm.conf defines "
		    "them, and vmd runs them", name));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	mac_text(mac, text);
	json = cJSON_CreateObject();
	cJSON_AddStringToObject(json, "command", "port");
	cJSON_AddStringToObject(json, "vm", vm);
	cJSON_AddStringToObject(json, "mac", text);
	cJSON_AddBoolToObject(json, "locked", locked);
	cJSON_AddNumberToObject(json, "mtu", *mtu);
	if (control_call(fd, json, &cm, &why) == -1)
		err_set(err, "switch %s: %.400s", name, why.e_text);
	else {
		if (cm.cm_nfds == 1) {
			port = cm.cm_fd[0];
			cm.cm_fd[0] = -1;
			n = (int)control_number(cm.cm_json, "mtu", 0);
			if (n > 0)
				*mtu = (unsigned)n;
		} else
			err_set(err, "switch %s: it gave no port", name);
		control_message_free(&cm);
	}
	close(fd);
	return (port);
}
