/*
 * vmctl start: a VM that vmd keeps, one that is configured or a new one.
 *
 * The options make a struct config_vm, as a "vm" of vm.conf(5) does; whether
 * that can be is for vmd to say. Paths are made absolute here, where the user
 * is.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "config/config.h"
#include "storage/image.h"
#include "vmctl/daemon.h"

enum { OPT_INITRD = 0x100, OPT_APPEND, OPT_CPUS, OPT_ENGINE, OPT_NET };

static const struct option longopts[] = {
	{ "append", required_argument, NULL, OPT_APPEND },
	{ "cpus", required_argument, NULL, OPT_CPUS },
	{ "engine", required_argument, NULL, OPT_ENGINE },
	{ "help", no_argument, NULL, 'h' },
	{ "initrd", required_argument, NULL, OPT_INITRD },
	{ "net", required_argument, NULL, OPT_NET },
	{ NULL, 0, NULL, 0 }
};

/* What the options say. */
struct start {
	struct config_vm *st_vm;
	const char	*st_template;
	bool		 st_console;
	bool		 st_new;	/* something of the VM was said */
	bool		 st_net;	/* its interfaces were */
};

/* The same file from any folder. A disk of a server (nbd:) is no path; what
 * has a format before it (qcow2:) keeps that. */
static int
set_path(char **at, const char *word, struct err *err)
{
	static const char *const formats[] = { "raw:", "qcow2:" };
	char cwd[PATH_MAX], path[2 * PATH_MAX + 16];
	size_t n, prefix = 0;

	for (n = 0; n < sizeof(formats) / sizeof(formats[0]); n++)
		if (strncmp(word, formats[n], strlen(formats[n])) == 0)
			prefix = strlen(formats[n]);
	if (word[prefix] == '\0')
		return (err_set(err, "it names no file"));
	if (word[prefix] == '/' || image_is_nbd(word + prefix))
		return (parse_string(at, word, err));
	if (getcwd(cwd, sizeof(cwd)) == NULL)
		return (err_sys(err, "where this folder is"));
	if ((size_t)snprintf(path, sizeof(path), "%.*s%s/%s", (int)prefix,
	    word, cwd, word + prefix) >= sizeof(path))
		return (err_set(err, "its path is too long"));
	return (parse_string(at, path, err));
}

static int
set_boot_device(struct config_vm *vm, const char *word, struct err *err)
{
	static const char *const words[] = { [CONFIG_BOOT_DISK] = "disk",
	    [CONFIG_BOOT_CDROM] = "cdrom", [CONFIG_BOOT_NET] = "net" };
	int n;

	for (n = CONFIG_BOOT_DISK; n <= CONFIG_BOOT_NET; n++)
		if (strcmp(word, words[n]) == 0) {
			vm->cv_boot_device = (enum config_boot)n;
			return (0);
		}
	return (err_set(err, "\"%s\" is no device to boot from; use disk, "
	    "cdrom or net", word));
}

static int
add_disk(struct config_vm *vm, const char *word, struct err *err)
{
	struct config_disk *cd = &vm->cv_disk[vm->cv_ndisks];

	if (vm->cv_ndisks == CONFIG_DISKS_MAX)
		return (err_set(err, "more than %d disks", CONFIG_DISKS_MAX));
	if (set_path(&cd->cd_path, word, err) == -1)
		return (-1);
	if (strncmp(word, "raw:", 4) == 0)
		cd->cd_format = CONFIG_RAW;
	else if (strncmp(word, "qcow2:", 6) == 0)
		cd->cd_format = CONFIG_QCOW2;
	if (cd->cd_format != CONFIG_BY_CONTENT)
		memmove(cd->cd_path, strchr(cd->cd_path, ':') + 1,
		    strlen(strchr(cd->cd_path, ':')));
	vm->cv_ndisks++;
	return (0);
}

static struct config_nic *
add_nic(struct start *st, struct err *err)
{
	struct config_vm *vm = st->st_vm;

	st->st_net = true;
	if (vm->cv_nnics < CONFIG_NICS_MAX)
		return (&vm->cv_nic[vm->cv_nnics++]);
	err_set(err, "more than %d interfaces", CONFIG_NICS_MAX);
	return (NULL);
}

static int
add_net(struct start *st, const char *word, struct err *err)
{
	struct config_nic *cn, said;
	bool used;

	st->st_net = true;
	if (net_parse(word, &said, &used, err) == -1)
		return (-1);
	if (!used)
		return (0);
	if ((cn = add_nic(st, err)) == NULL) {
		config_nic_clear(&said);
		return (-1);
	}
	*cn = said;
	return (0);
}

static int
set_number(unsigned *at, const char *word, unsigned long min,
    unsigned long max, struct err *err)
{
	unsigned long n;

	if (parse_number(word, min, max, &n, err) == -1)
		return (-1);
	*at = (unsigned)n;
	return (0);
}

/* One option; 0, or -1 with a line in err. */
static int
set_option(struct start *st, int opt, const char *word, struct err *err)
{
	struct config_vm *vm = st->st_vm;
	struct config_nic *cn;

	if (opt == 'c') {
		st->st_console = true;
		return (0);
	}
	st->st_new = true;
	switch (opt) {
	case 'B':
		return (set_boot_device(vm, word, err));
	case 'b':
		return (set_path(&vm->cv_boot, word, err));
	case 'd':
		return (add_disk(vm, word, err));
	case 'i':
		st->st_net = true;
		return (set_number(&vm->cv_interfaces, word, 0,
		    CONFIG_NICS_MAX, err));
	case 'L':
		if ((cn = add_nic(st, err)) == NULL)
			return (-1);
		cn->cn_kind = CONFIG_NIC_LOCAL;
		return (0);
	case 'm':
		if (parse_size(word, &vm->cv_memory, err) == -1)
			return (-1);
		return (memory_check(vm->cv_memory, err));
	case 'n':
		if ((cn = add_nic(st, err)) == NULL)
			return (-1);
		cn->cn_kind = CONFIG_NIC_SWITCH;
		return (parse_string(&cn->cn_switch, word, err));
	case 'r':
		return (set_path(&vm->cv_cdrom, word, err));
	case 't':
		if (st->st_template != NULL)
			return (err_set(err, "it was given before"));
		st->st_template = word;
		return (0);
	case OPT_APPEND:
		return (parse_string(&vm->cv_append, word, err));
	case OPT_CPUS:
		return (set_number(&vm->cv_cpus, word, 1, 512, err));
	case OPT_ENGINE:
		return (parse_string(&vm->cv_engine, word, err));
	case OPT_INITRD:
		return (set_path(&vm->cv_initrd, word, err));
	case OPT_NET:
		return (add_net(st, word, err));
	}
	return (err_set(err, "it is not known"));
}

static const char *
option_name(int opt, char letter[3])
{
	const struct option *o;

	for (o = longopts; o->name != NULL; o++)
		if (o->val == opt && opt > UINT8_MAX)
			return (o->name);
	letter[0] = '-';
	letter[1] = (char)opt;
	letter[2] = '\0';
	return (letter);
}

/* Reads the options; 0 to go on, else *status is the exit status. */
static int
read_options(const struct command *c, int argc, char **argv, struct start *st,
    int *status)
{
	const char *name;
	struct err err;
	char letter[3];
	int opt;

	while ((opt = getopt_long(argc, argv, ":B:b:cd:hi:Lm:n:r:t:", longopts,
	    NULL)) != -1) {
		if (opt == 'h' || opt == '?' || opt == ':') {
			*status = opt == 'h' ? help(c) :
			    bad_option(c, argv, opt);
			return (-1);
		}
		if (set_option(st, opt, optarg, &err) == -1) {
			name = option_name(opt, letter);
			*status = complain("%s: %s%s: %s", c->c_name,
			    name[0] == '-' ? "" : "--", name, err.e_text);
			return (-1);
		}
	}
	if (argc - optind != 1) {
		*status = complain("%s: name one VM by its id or name",
		    c->c_name);
		return (-1);
	}
	return (0);
}

/* A new VM as a request: NULL with a line in err. */
static cJSON *
define(struct start *st, const char *name, struct err *err)
{
	struct config_vm *vm = st->st_vm;
	cJSON *request, *config;

	if (config_name_check(name, err) == -1)
		return (NULL);
	snprintf(vm->cv_name, sizeof(vm->cv_name), "%s", name);
	if (st->st_template == NULL && !st->st_net)
		vm->cv_interfaces = 1;		/* behind user-mode NAT */
	if (st->st_template == NULL && vm->cv_ndisks == 0)
		log_say("%s has no disk", name);
	/* what an instance does not say is its template's */
	vm->cv_no_interfaces = st->st_net && vm->cv_interfaces == 0 &&
	    vm->cv_nnics == 0;
	if (vm->cv_no_interfaces)
		log_say("%s has no network interface", name);
	request = daemon_request("start", NULL);
	config = config_vm_json(vm);
	if (request == NULL || config == NULL ||
	    !cJSON_AddItemToObject(request, "config", config)) {
		cJSON_Delete(request);
		cJSON_Delete(config);
		err_sys(err, "%s", name);
		return (NULL);
	}
	if (st->st_template != NULL && cJSON_AddStringToObject(request,
	    "template", st->st_template) == NULL) {
		cJSON_Delete(request);
		err_sys(err, "%s", name);
		return (NULL);
	}
	return (request);
}

/* Starts it on vmd's connection; an exit status. */
static int
start(const struct command *c, struct start *st, int fd, const char *name)
{
	struct control_message cm;
	cJSON *request;
	struct err err;
	char id[24];

	request = st->st_new ? define(st, name, &err) :
	    daemon_request("start", name);
	if (st->st_new && request == NULL)
		return (complain("%s: %s", c->c_name, err.e_text));
	if (daemon_call(fd, request, &cm, &err) == -1) {
		if (errno == ENOENT && !st->st_new)
			return (complain("%s: %s; options such as -d define "
			    "a new one", c->c_name, err.e_text));
		return (complain("%s: %s", c->c_name, err.e_text));
	}
	snprintf(id, sizeof(id), "%.0f", control_number(cm.cm_json, "id", 0));
	log_say("started vm %s successfully, tty %s", id,
	    control_string(cm.cm_json, "tty", "-"));
	control_message_free(&cm);
	return (st->st_console ? console_session(fd, id, name) : 0);
}

int
start_command(const struct command *c, int argc, char **argv)
{
	struct start st = { .st_template = NULL };
	struct err err;
	int fd, status;

	if ((st.st_vm = config_vm_new()) == NULL)
		return (complain("%s: %s", c->c_name, strerror(errno)));
	if (read_options(c, argc, argv, &st, &status) == 0) {
		if ((fd = daemon_open(&err)) == -1) {
			status = complain("%s: %s", c->c_name, err.e_text);
		} else {
			status = start(c, &st, fd, argv[optind]);
			close(fd);
		}
	}
	config_vm_free(st.st_vm);
	return (status);
}
