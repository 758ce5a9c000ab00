/*
 * Arbitrary packets as control messages, by the way that a server's come; and
 * what is said in them of VMs, as vmd takes it: an instance of a template, by
 * somebody who may little, and completed.
 */
#include "fuzzers.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "config/config.h"
#include "control/control.h"

static void
use_config(const cJSON *json)
{
	struct config_vm *cv, *copy, *other;
	struct err err;
	cJSON *again;

	if (config_vm_from_json(&cv, json, &err) == -1) {
		MUST(strchr(err.e_text, '\n') == NULL);
		return;
	}
	MUST(config_name_check(cv->cv_name, &err) == 0);
	copy = config_vm_copy(cv);
	other = config_vm_copy(cv);
	MUST(copy != NULL && other != NULL);
	/* an instance of itself, for one who may say nothing, and for root */
	other->cv_ndisks = 0;
	(void)config_vm_inherit(copy, other, 4711, NULL, 0, &err);
	other->cv_ndisks = cv->cv_ndisks;
	(void)config_vm_inherit(copy, other, 0, NULL, 0, &err);
	if (config_vm_fill(copy, &err) == 0) {
		MUST(copy->cv_memory >= CONFIG_MEMORY_MIN);
		MUST(copy->cv_cpus >= 1 && copy->cv_cpus <= CONFIG_CPUS_MAX);
		MUST(copy->cv_nnics <= CONFIG_NICS_MAX);
	}
	again = config_vm_json(copy);
	MUST(again != NULL);
	cJSON_Delete(again);
	config_vm_free(cv);
	config_vm_free(copy);
	config_vm_free(other);
}

void
fuzz_message(const uint8_t *data, size_t len)
{
	struct control_message cm;
	const cJSON *member;
	int fd[2], n;

	if (len > CONTROL_MAX)
		len = CONTROL_MAX;
	MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd) == 0);
	n = (int)send(fd[0], data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	close(fd[0]);
	if (n != -1) {
		n = control_receive(fd[1], &cm);
		MUST(n == 1 || n == 0 || errno == EPROTO);
		if (n == 1) {
			MUST(cJSON_IsObject(cm.cm_json));
			(void)control_string(cm.cm_json, "vm", "");
			(void)control_number(cm.cm_json, "vm", 0);
			(void)control_bool(cm.cm_json, "force", false);
			member = cJSON_GetObjectItemCaseSensitive(cm.cm_json,
			    "config");
			use_config(member);
			control_message_free(&cm);
		}
	}
	close(fd[1]);
}
