/*
 * vmctl as a client of vmd(8): finding it, asking it, and the commands that are
 * one question.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "vmctl/daemon.h"

#define PATH_SIZE	108	/* of a socket's path */

/* Connects to a user's vmd; -1 with a line in err, and errno. A folder that
 * neither we nor root made may hold anybody's socket. */
static int
connect_in(uid_t uid, struct err *err)
{
	char dir[PATH_SIZE - 16], path[PATH_SIZE];
	struct stat st;

	if (control_folder(uid, dir, sizeof(dir), err) == -1)
		return (-1);
	snprintf(path, sizeof(path), "%s/vmd.sock", dir);
	if (stat(dir, &st) == -1)
		return (err_sys(err, "%s", dir));
	if (st.st_uid != 0 && st.st_uid != geteuid()) {
		errno = EPERM;
		return (err_set(err, "%s belongs to user %u, who is neither "
		    "you nor root", dir, (unsigned)st.st_uid));
	}
	return (control_connect(path, err));
}

int
daemon_open(struct err *err)
{
	int fd;

	fd = connect_in(geteuid(), err);
	if (fd == -1 && (errno == ENOENT || errno == ECONNREFUSED) &&
	    geteuid() != 0) {
		fd = connect_in(0, err);
		if (fd == -1 && errno == EACCES) {
			err_set(err, "root's vmd does not listen to you; "
			    "start your own with \"vmd\"");
			errno = ENOENT;		/* as if there were none */
			return (-1);
		}
	}
	if (fd == -1 && (errno == ENOENT || errno == ECONNREFUSED)) {
		err_set(err, "vmd does not run; start it with \"vmd\", or use "
		    "\"vmctl run\", which needs none");
		errno = ENOENT;
	}
	return (fd);
}

cJSON *
daemon_request(const char *name, const char *vm)
{
	cJSON *o = cJSON_CreateObject();

	if (cJSON_AddStringToObject(o, "command", name) == NULL ||
	    (vm != NULL && cJSON_AddStringToObject(o, "vm", vm) == NULL)) {
		cJSON_Delete(o);
		return (NULL);
	}
	return (o);
}

int
daemon_call(int fd, cJSON *request, struct control_message *cm,
    struct err *err)
{
	if (request == NULL) {
		errno = ENOMEM;
		return (err_sys(err, "cannot ask vmd"));
	}
	return (control_call(fd, request, cm, err));
}

cJSON *
daemon_vms(int fd, const char *vm, struct err *err)
{
	cJSON *all = cJSON_CreateArray(), *list, *item;
	struct control_message cm;
	bool more = true;
	int n;

	for (n = daemon_call(fd, daemon_request("status", vm), &cm, err);
	    more; n = more ? control_call(fd, NULL, &cm, err) : 0) {
		if (n == -1) {
			cJSON_Delete(all);
			return (NULL);
		}
		list = cJSON_GetObjectItemCaseSensitive(cm.cm_json, "vms");
		while ((item = cJSON_DetachItemFromArray(list, 0)) != NULL)
			if (!cJSON_AddItemToArray(all, item))
				cJSON_Delete(item);
		more = control_bool(cm.cm_json, "more", false);
		control_message_free(&cm);
	}
	return (all);
}

bool
daemon_knows(int fd, const char *vm)
{
	cJSON *list = daemon_vms(fd, vm, NULL);
	bool known = cJSON_GetArraySize(list) > 0;

	cJSON_Delete(list);
	return (known);
}

/* --- commands that are one question --------------------------------------------- */

/* Options of a command that has none; 0, or else *status is the exit status. */
static int
no_options(const struct command *c, int argc, char **argv, int *status)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 }
	};
	int opt;

	if ((opt = getopt_long(argc, argv, ":h", options, NULL)) == -1)
		return (0);
	*status = opt == 'h' ? help(c) : bad_option(c, argv, opt);
	return (-1);
}

/* Asks, and says what went wrong; an exit status. */
static int
ask(const struct command *c, int fd, cJSON *request)
{
	struct control_message cm;
	struct err err;

	if (daemon_call(fd, request, &cm, &err) == -1)
		return (complain("%s: %s", c->c_name, err.e_text));
	control_message_free(&cm);
	return (0);
}

/* The command as a request with one more member, or none. */
static int
ask_with(const struct command *c, const char *member, cJSON *value)
{
	cJSON *request = daemon_request(c->c_name, NULL);
	struct err err;
	int fd, status;

	if (request != NULL && value != NULL)
		cJSON_AddItemToObject(request, member, value);
	else
		cJSON_Delete(value);
	if ((fd = daemon_open(&err)) == -1) {
		cJSON_Delete(request);
		return (complain("%s: %s", c->c_name, err.e_text));
	}
	status = ask(c, fd, request);
	close(fd);
	return (status);
}

int
load_command(const struct command *c, int argc, char **argv)
{
	char path[PATH_MAX];
	int status;

	if (no_options(c, argc, argv, &status) == -1)
		return (status);
	if (argc - optind != 1)
		return (complain("%s: name one file", c->c_name));
	if (realpath(argv[optind], path) == NULL)
		return (complain("%s: %s: %s", c->c_name, argv[optind],
		    strerror(errno)));
	return (ask_with(c, "file", cJSON_CreateString(path)));
}

/* The word, or a beginning of it that is no other's. */
static bool
is_word(const char *given, const char *word)
{
	return (given[0] != '\0' && strncmp(given, word, strlen(given)) == 0);
}

int
log_command(const struct command *c, int argc, char **argv)
{
	const char *word;
	int status;

	if (no_options(c, argc, argv, &status) == -1)
		return (status);
	word = argc - optind == 1 ? argv[optind] : "";
	if (!is_word(word, "brief") && !is_word(word, "verbose"))
		return (complain("%s: say brief or verbose", c->c_name));
	return (ask_with(c, "verbose",
	    cJSON_CreateBool(is_word(word, "verbose"))));
}

int
reload_command(const struct command *c, int argc, char **argv)
{
	int status;

	if (no_options(c, argc, argv, &status) == -1)
		return (status);
	if (argc != optind)
		return (complain("%s: \"%s\" is one word too many", c->c_name,
		    argv[optind]));
	return (ask_with(c, NULL, NULL));
}

int
reset_command(const struct command *c, int argc, char **argv)
{
	static const char *const words[] = { "all", "switches", "vms" };
	const char *word;
	size_t n;
	int status;

	if (no_options(c, argc, argv, &status) == -1)
		return (status);
	word = argc == optind ? "all" : argv[optind];
	for (n = 0; n < sizeof(words) / sizeof(words[0]); n++)
		if (argc - optind <= 1 && is_word(word, words[n]))
			return (ask_with(c, "what",
			    cJSON_CreateString(words[n])));
	return (complain("%s: say all, switches or vms", c->c_name));
}

/* pause and unpause */
int
pause_command(const struct command *c, int argc, char **argv)
{
	struct control_message cm;
	struct err err;
	int fd, status;

	if (no_options(c, argc, argv, &status) == -1)
		return (status);
	if (argc - optind != 1)
		return (complain("%s: name one VM by its id or name",
		    c->c_name));
	if ((fd = daemon_open(&err)) == -1)
		return (complain("%s: %s", c->c_name, err.e_text));
	if (daemon_call(fd, daemon_request(c->c_name, argv[optind]), &cm,
	    &err) == -1) {
		close(fd);
		return (complain("%s: %s", c->c_name, err.e_text));
	}
	control_message_free(&cm);
	close(fd);
	log_say("%sd vm %s", c->c_name, argv[optind]);
	return (0);
}
