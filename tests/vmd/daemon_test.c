/*
 * vmd itself, by its messages: VMs defined, started, stopped in every way, what
 * each user may do, deaths of vmd and of VMs, and that nothing is left.
 *
 * The guests are tests/multiboot/guest.c, told by words what to do.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon.h"

#define NOBODY	65534
#define MANY	50

/* --- starting and stopping ------------------------------------------------------------ */

static void
test_ends(void **state)
{
	static const struct {
		const char	*words;
		bool		 force;
		const char	*end, *how, *why;
	} rows[] = {
		{ "button=off", false, "poweroff", "powerdown", "" },
		{ "button=reset", false, "poweroff", "powerdown", "" },
		{ "idle", false, "killed", "killed", "does not listen" },
		{ "button=deaf", false, "killed", "killed", "not answer" },
		{ "idle", true, "terminated", "terminated", "" },
		{ "button=ignore", true, "terminated", "terminated", "" },
	};
	struct fixture *f = *state;
	cJSON *json;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		start(f, "a", rows[i].words);
		if (strncmp(rows[i].words, "button", 6) == 0)
			see(f, "a", "button");
		json = ask(f, "{\"command\":\"stop\",\"vm\":\"a\","
		    "\"wait\":true,\"force\":%s}",
		    rows[i].force ? "true" : "false");
		assert_true(control_bool(json, "ok", false));
		assert_string_equal(control_string(json, "end", ""),
		    rows[i].end);
		assert_string_equal(control_string(json, "how", ""),
		    rows[i].how);
		assert_non_null(strstr(control_string(json, "why", ""),
		    rows[i].why));
		assert_true(control_number(json, "id", 0) == 1);
		cJSON_Delete(json);
		/* it was nobody's configuration */
		assert_true(has_state(f, "a", "gone"));
	}
}

/* A guest that resets starts again in its place, but not for ever. */
static void
test_restarts(void **state)
{
	struct fixture *f = *state;
	cJSON *json;
	pid_t pid;
	int fd;

	start(f, "once", "once reset=92");
	EVENTUALLY(has_state(f, "once", "gone"));
	start(f, "stays", "print=hello button=off");
	pid = process(f, "stays");
	assert_true(pid > 1);
	see(f, "stays", "hello");

	fd = dial(f);
	start(f, "again", "idle");
	say(fd, "{\"command\":\"wait\",\"vm\":\"again\"}");
	start(f, "loop", "reset=92");
	json = ask(f, "{\"command\":\"wait\",\"vm\":\"loop\"}");
	/* it may have ended before we asked */
	if (control_bool(json, "ok", false)) {
		assert_string_equal(control_string(json, "end", ""),
		    "restarts");
		assert_non_null(strstr(control_string(json, "why", ""),
		    "too quickly"));
	}
	cJSON_Delete(json);
	EVENTUALLY(has_state(f, "loop", "gone"));
	assert_true(has_state(f, "again", "running"));
	AGREED(f, "{\"command\":\"stop\",\"vm\":\"again\",\"force\":true}");
	json = hear(fd);
	assert_string_equal(control_string(json, "end", ""), "terminated");
	cJSON_Delete(json);
	close(fd);
	assert_true(process(f, "stays") == pid);
}

/* Numbers are a name's as long as vmd runs. */
static void
test_numbers(void **state)
{
	struct fixture *f = *state;

	start(f, "a", "idle");
	start(f, "b", "idle");
	assert_true(number(f, "a", "id") == 1);
	assert_true(number(f, "b", "id") == 2);
	AGREED(f, "{\"command\":\"stop\",\"vm\":\"1\",\"force\":true,"
	    "\"wait\":true}");
	start(f, "c", "idle");
	assert_true(number(f, "c", "id") == 3);
	start(f, "a", "idle");
	assert_true(number(f, "a", "id") == 1);
}

static void
test_refused(void **state)
{
	struct fixture *f = *state;

	start(f, "a", "idle");
	REFUSED("EALREADY", f, "{\"command\":\"start\",\"vm\":\"a\"}");
	REFUSED("EALREADY", f, START, "a", f->f_guest, "", "");
	REFUSED("ENOENT", f, "{\"command\":\"start\",\"vm\":\"b\"}");
	REFUSED("ENOENT", f, "{\"command\":\"stop\",\"vm\":\"77\"}");
	REFUSED("ENOENT", f, "{\"command\":\"stop\"}");
	REFUSED("EINVAL", f, START, "-b", f->f_guest, "", "");
	REFUSED("EINVAL", f, START, "7", f->f_guest, "", "");
	REFUSED("EINVAL", f, START, "", f->f_guest, "", "");
	REFUSED("EINVAL", f, START, "b", f->f_guest, "", ",\"zap\":1");
	REFUSED("EINVAL", f, "{\"command\":\"start\",\"config\":7}");
	REFUSED("EINVAL", f, "{\"command\":\"start\",\"config\":"
	    "{\"name\":\"b\"}}");
	REFUSED("ENOENT", f, "{\"command\":\"start\",\"template\":\"t\","
	    "\"config\":{\"name\":\"b\"}}");
	REFUSED("EIO", f, START, "b", "/none", "", "");
	REFUSED("EIO", f, START, "b", "/tmp", "", "");
	REFUSED("EIO", f, START, "b", "/etc/passwd", "", "");
	REFUSED("EIO", f, START, "b", f->f_guest, "",
	    ",\"disks\":[{\"path\":\"/none\"}]");
	REFUSED("EINVAL", f, "{\"command\":\"load\",\"file\":\"x\"}");
	REFUSED("EINVAL", f, "{\"command\":\"reset\",\"what\":\"x\"}");
	REFUSED("EOPNOTSUPP", f, "{\"command\":\"dance\"}");
	/* what was refused has left nothing */
	assert_true(has_state(f, "b", "gone"));
	assert_true(has_state(f, "a", "running"));
	EVENTUALLY(sockets(f) == 1);
}

/* --- clients ---------------------------------------------------------------------------- */

/* Answers come in the order of the requests, late ones included. */
static void
test_order(void **state)
{
	struct fixture *f = *state;
	cJSON *json;
	int fd = dial(f);

	start(f, "a", "idle");
	say(fd, "{\"command\":\"wait\",\"vm\":\"a\"}");
	say(fd, "{\"command\":\"status\",\"vm\":\"a\"}");
	say(fd, "{\"command\":\"dance\"}");
	AGREED(f, "{\"command\":\"stop\",\"vm\":\"a\",\"force\":true}");
	json = hear(fd);
	assert_string_equal(control_string(json, "end", ""), "terminated");
	cJSON_Delete(json);
	json = hear(fd);
	assert_int_equal(cJSON_GetArraySize(
	    cJSON_GetObjectItemCaseSensitive(json, "vms")), 0);
	cJSON_Delete(json);
	json = hear(fd);
	assert_string_equal(control_string(json, "code", ""), "EOPNOTSUPP");
	cJSON_Delete(json);
	close(fd);
}

/* Who goes, sends rubbish or too much costs nobody else anything. */
static void
test_clients(void **state)
{
	struct fixture *f = *state;
	struct control_message cm;
	int fd[20], i;

	start(f, "a", "idle");
	for (i = 0; i < 20; i++) {
		fd[i] = dial(f);
		say(fd[i], "{\"command\":\"wait\",\"vm\":\"a\"}");
		say(fd[i], "{\"command\":\"stop\",\"vm\":\"b\"}");
	}
	for (i = 0; i < 10; i++)
		close(fd[i]);
	say(fd[10], "rubbish");
	assert_int_equal(control_receive(fd[10], &cm), 0);
	for (i = 0; i < 40; i++)
		(void)send(fd[11], "{\"command\":\"status\"}", 20,
		    MSG_NOSIGNAL);
	assert_int_equal(control_receive(fd[11], &cm), 0);
	assert_true(has_state(f, "a", "running"));
	AGREED(f, "{\"command\":\"stop\",\"vm\":\"a\",\"force\":true}");
	for (i = 12; i < 20; i++) {
		cJSON_Delete(hear(fd[i]));
		cJSON_Delete(hear(fd[i]));
	}
	for (i = 10; i < 20; i++)
		close(fd[i]);
}

/* --- deaths ------------------------------------------------------------------------------- */

static void
test_vmd_dies(void **state)
{
	struct fixture *f = *state;
	double id;
	pid_t pid;
	char tty[64];
	cJSON *all;

	start(f, "first", "idle");
	start(f, "a", "print=before button=off");
	see(f, "a", "button");
	AGREED(f, "{\"command\":\"stop\",\"vm\":\"first\",\"force\":true,"
	    "\"wait\":true}");
	pid = process(f, "a");
	id = number(f, "a", "id");
	snprintf(tty, sizeof(tty), "%s", control_string(vm(f, "a", &all),
	    "tty", ""));
	cJSON_Delete(all);
	kill(f->f_pid, SIGKILL);
	assert_int_equal(vmd_wait(f), -SIGKILL);
	assert_int_equal(kill(pid, 0), 0);

	vmd_start(f);
	assert_true(process(f, "a") == pid);
	assert_true(number(f, "a", "id") == id);
	assert_true(has_state(f, "a", "running"));
	assert_string_equal(control_string(vm(f, "a", &all), "tty", ""), tty);
	cJSON_Delete(all);
	see(f, "a", "before");
	/* numbers of those that run are not given again */
	start(f, "new", "idle");
	assert_true(number(f, "new", "id") > id);
	AGREED(f, "{\"command\":\"stop\",\"vm\":\"a\",\"wait\":true}");
	assert_true(has_state(f, "a", "gone"));
}

static void
test_vm_dies(void **state)
{
	struct fixture *f = *state;
	cJSON *json;
	int fd = dial(f);

	start(f, "a", "idle");
	say(fd, "{\"command\":\"wait\",\"vm\":\"a\"}");
	kill(process(f, "a"), SIGKILL);
	json = hear(fd);
	assert_string_equal(control_string(json, "end", ""), "killed");
	cJSON_Delete(json);
	close(fd);
	EVENTUALLY(sockets(f) == 0);
	/* told to end politely, it asks its guest */
	start(f, "a", "button=off");
	see(f, "a", "button");
	fd = dial(f);
	say(fd, "{\"command\":\"wait\",\"vm\":\"a\"}");
	assert_true(has_state(f, "a", "running"));
	kill(process(f, "a"), SIGTERM);
	json = hear(fd);
	assert_string_equal(control_string(json, "how", ""), "powerdown");
	cJSON_Delete(json);
	close(fd);
}

/* A process that does not react is not waited for. */
static void
test_vm_hangs(void **state)
{
	struct fixture *f = *state;
	pid_t pid;

	start(f, "a", "idle");
	start(f, "b", "idle");
	pid = process(f, "a");
	kill(pid, SIGSTOP);
	kill(f->f_pid, SIGKILL);
	assert_int_equal(vmd_wait(f), -SIGKILL);
	vmd_start(f);
	assert_true(has_state(f, "b", "running"));
	assert_true(has_state(f, "a", "gone"));
	/* it comes late, but it comes */
	kill(pid, SIGCONT);
	EVENTUALLY(has_state(f, "a", "running"));
	kill(pid, SIGSTOP);
	AGREED(f, "{\"command\":\"stop\",\"vm\":\"b\",\"force\":true}");
	/* forced, it is killed after a while */
	say(dial(f), "{\"command\":\"stop\",\"vm\":\"a\",\"force\":true}");
	EVENTUALLY(has_state(f, "a", "gone"));
}

static void
test_both_die(void **state)
{
	struct fixture *f = *state;
	pid_t pid;

	start(f, "a", "idle");
	pid = process(f, "a");
	kill(f->f_pid, SIGKILL);
	kill(pid, SIGKILL);
	assert_int_equal(vmd_wait(f), -SIGKILL);
	EVENTUALLY(processes(f) == 0);
	vmd_start(f);
	assert_int_equal(sockets(f), 0);
	assert_true(has_state(f, "a", "gone"));
}

/* A VM that dies while the next vmd looks for those that are left. */
static void
test_dies_found(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct pollfd pfd = { .events = POLLIN };

	kill(f->f_pid, SIGKILL);
	assert_int_equal(vmd_wait(f), -SIGKILL);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/vm", f->f_run);
	(void)mkdir(sun.sun_path, 0700);
	strcat(sun.sun_path, "/7.sock");
	pfd.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (bind(pfd.fd, (struct sockaddr *)&sun, sizeof(sun)) == -1)
		fail_msg("%s: %s", sun.sun_path, strerror(errno));
	assert_int_equal(listen(pfd.fd, 1), 0);
	vmd_start(f);
	assert_int_equal(poll(&pfd, 1, (int)(20000 * slow)), 1);
	assert_int_equal(sockets(f), 1);
	close(pfd.fd);
	EVENTUALLY(sockets(f) == 0);
}

static void
test_signals(void **state)
{
	struct fixture *f = *state;
	unsigned i;

	/* it leaves, and they stay */
	start(f, "a", "button=off");
	start(f, "b", "button=off");
	see(f, "a", "button");
	see(f, "b", "button");
	kill(f->f_pid, SIGUSR1);
	assert_int_equal(vmd_wait(f), 0);
	EVENTUALLY(processes(f) == 2);
	assert_int_equal(access(f->f_socket, F_OK), -1);
	vmd_start(f);
	assert_true(has_state(f, "a", "running"));
	/* it ends, and they do */
	kill(f->f_pid, SIGTERM);
	assert_int_equal(vmd_wait(f), 0);
	EVENTUALLY(processes(f) == 0);
	assert_int_equal(access(f->f_run, F_OK), -1);

	/* by message; a guest that does not hear of it holds it up until it is
	 * told again */
	for (i = 0; i < 2; i++) {
		vmd_start(f);
		start(f, "a", i == 0 ? "button=off" : "button=ignore");
		see(f, "a", "button");
		AGREED(f, "{\"command\":\"shutdown\"}");
		if (i == 1) {
			see(f, "a", "pressed");
			REFUSED("EBUSY", f, START, "b", f->f_guest, "", "");
			kill(f->f_pid, SIGINT);
		}
		assert_int_equal(vmd_wait(f), 0);
	}
}

/* One serves, a second one says so. */
static void
test_second(void **state)
{
	struct fixture *f = *state, second = *f;
	int status;

	second.f_pid = fork();
	if (second.f_pid == 0) {
		close(STDERR_FILENO);
		setenv("VMD_DIR", f->f_run, 1);
		execl(f->f_vmd, "vmd", "-d", "-f", "/dev/null", NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(second.f_pid, &status, 0), second.f_pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	start(f, "a", "idle");
	assert_int_equal(sockets(f), 1);
}

/* --- users ---------------------------------------------------------------------------------- */

/* What another user hears, as a child of ours; its exit status counts what
 * was not as expected. */
static int
as_nobody(struct fixture *f, const char *const (*rows)[2], size_t n)
{
	int fd, status = 0;
	cJSON *json;
	pid_t pid;
	size_t i;

	if ((pid = fork()) == 0) {
		if (setgroups(0, NULL) == -1 ||
		    setresgid(NOBODY, NOBODY, NOBODY) == -1 ||
		    setresuid(NOBODY, NOBODY, NOBODY) == -1)
			_exit(100);
		for (i = 0; i < n; i++) {
			fd = dial(f);
			say(fd, rows[i][0]);
			json = hear(fd);
			if (strcmp(control_string(json, "code", "ok"),
			    rows[i][1]) != 0) {
				fprintf(stderr, "# %s: %s: %s\n", rows[i][0],
				    control_string(json, "code", "ok"),
				    control_string(json, "error", ""));
				status++;
			}
			cJSON_Delete(json);
			close(fd);
		}
		_exit(status);
	}
	waitpid(pid, &status, 0);
	return (WIFEXITED(status) ? WEXITSTATUS(status) : 200);
}

static void
test_users(void **state)
{
	struct fixture *f = *state;
	char secret[96], disk[512], denied[512], big[512];
	const char *const rows[][2] = {
		{ "{\"command\":\"status\"}", "ok" },
		{ "{\"command\":\"stop\",\"vm\":\"t\"}", "EPERM" },
		{ "{\"command\":\"wait\",\"vm\":\"t\"}", "EPERM" },
		{ "{\"command\":\"pause\",\"vm\":\"t\"}", "EPERM" },
		{ "{\"command\":\"console\",\"vm\":\"t\"}", "EPERM" },
		{ "{\"command\":\"start\",\"vm\":\"t\"}", "EPERM" },
		{ "{\"command\":\"load\",\"file\":\"/dev/null\"}", "EPERM" },
		{ "{\"command\":\"reload\"}", "EPERM" },
		{ "{\"command\":\"reset\"}", "EPERM" },
		{ "{\"command\":\"log\",\"verbose\":true}", "EPERM" },
		{ "{\"command\":\"shutdown\"}", "EPERM" },
		{ "{\"command\":\"start\",\"config\":{\"name\":\"n\","
		    "\"boot\":\"/x\"}}", "EPERM" },
		/* an instance: what the template does not allow */
		{ "{\"command\":\"start\",\"template\":\"t\",\"config\":"
		    "{\"name\":\"n\",\"boot\":\"/x\"}}", "EPERM" },
		/* a disk that this user cannot open */
		{ denied, "EIO" },
		{ big, "EPERM" },
		{ disk, "ok" },
		{ "{\"command\":\"stop\",\"vm\":\"n\",\"force\":true}", "ok" },
		/* a stop of all is of all that are yours */
		{ "{\"command\":\"stop\",\"all\":true,\"force\":true,"
		    "\"wait\":true}", "ok" },
	};
	int fd;

	assert_int_equal(chmod(f->f_socket, 0666), 0);
	AGREED(f, START, "t", f->f_guest, "idle", ",\"allow\":[\"disk\","
	    "\"memory\"],\"allow_owner\":{}");
	snprintf(secret, sizeof(secret), "%s/secret", f->f_dir);
	fd = open(secret, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	close(fd);
	snprintf(denied, sizeof(denied), "{\"command\":\"start\","
	    "\"template\":\"t\",\"config\":{\"name\":\"n\",\"disks\":"
	    "[{\"path\":\"%s\"}]}}", secret);
	snprintf(big, sizeof(big), "{\"command\":\"start\","
	    "\"template\":\"t\",\"config\":{\"name\":\"n\",\"memory\":"
	    "%llu}}", 3ull << 30);
	snprintf(disk, sizeof(disk), "{\"command\":\"start\","
	    "\"template\":\"t\",\"config\":{\"name\":\"n\"}}");
	assert_int_equal(as_nobody(f, rows, sizeof(rows) / sizeof(rows[0])),
	    0);
	assert_true(has_state(f, "t", "running"));
	EVENTUALLY(has_state(f, "n", "gone"));
}

/* Root's VM does not run as root, and with few system calls. */
static void
test_privileges(void **state)
{
	struct fixture *f = *state;
	char path[64], line[256];
	unsigned found = 0, uid;
	FILE *fp;

	start(f, "a", "idle");
	snprintf(path, sizeof(path), "/proc/%d/status",
	    process(f, "a"));
	fp = fopen(path, "r");
	assert_non_null(fp);
	while (fgets(line, sizeof(line), fp) != NULL) {
		if (sscanf(line, "Uid: %u", &uid) == 1) {
			assert_int_not_equal(uid, 0);
			found++;
		}
		found += strcmp(line, "NoNewPrivs:\t1\n") == 0;
		found += strcmp(line, "CapEff:\t0000000000000000\n") == 0;
		found += strcmp(line, "Seccomp:\t2\n") == 0;
	}
	fclose(fp);
	assert_int_equal(found, 4);
}

/* --- switches -------------------------------------------------------------------------------- */

static void
load(const struct fixture *f, const char *text)
{
	char path[96];
	FILE *fp;

	snprintf(path, sizeof(path), "%s/more.conf", f->f_dir);
	fp = fopen(path, "w");
	assert_non_null(fp);
	fputs(text, fp);
	assert_int_equal(fclose(fp), 0);
	AGREED(f, "{\"command\":\"load\",\"file\":\"%s\"}", path);
}

/* What the process of a switch says. */
static cJSON *
switch_ask(const struct fixture *f, const char *name)
{
	char path[128];
	cJSON *json;
	int fd;

	snprintf(path, sizeof(path), "%s/switch/%s.sock", f->f_run, name);
	fd = control_connect(path, NULL);
	assert_int_not_equal(fd, -1);
	say(fd, "{\"command\":\"status\"}");
	json = hear(fd);
	close(fd);
	return (json);
}

static int
switch_ports(const struct fixture *f, const char *name)
{
	cJSON *json = switch_ask(f, name);
	int n = cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(json,
	    "ports"));

	cJSON_Delete(json);
	return (n);
}

#define NIC	",\"interfaces\":[{\"kind\":\"switch\",\"switch\":\"%s\"}]"

static void
test_switches(void **state)
{
	struct fixture *f = *state;
	char nic[128];
	pid_t a, b;

	snprintf(nic, sizeof(nic), NIC, "lan");
	REFUSED("EIO", f, START, "a", f->f_guest, "idle", nic);
	load(f, "switch \"lan\" { }\nswitch \"other\" { nat }\n");
	assert_int_equal(switch_ports(f, "lan"), 0);
	assert_int_equal(switch_ports(f, "other"), 0);
	AGREED(f, START, "a", f->f_guest, "idle", nic);
	AGREED(f, START, "b", f->f_guest, "idle", nic);
	assert_int_equal(switch_ports(f, "lan"), 2);
	AGREED(f, "{\"command\":\"stop\",\"vm\":\"b\",\"force\":true,"
	    "\"wait\":true}");
	EVENTUALLY(switch_ports(f, "lan") == 1);

	/* without vmd, the one that nobody uses ends */
	a = process(f, "a");
	EVENTUALLY(processes(f) == 4);
	kill(f->f_pid, SIGKILL);
	assert_int_equal(vmd_wait(f), -SIGKILL);
	EVENTUALLY(processes(f) == 2);
	vmd_start(f);
	load(f, "switch \"lan\" { }\n");
	assert_int_equal(switch_ports(f, "lan"), 1);
	AGREED(f, START, "b", f->f_guest, "idle", nic);
	assert_int_equal(switch_ports(f, "lan"), 2);
	b = process(f, "b");

	/* and after all others, the last one */
	kill(f->f_pid, SIGKILL);
	kill(a, SIGKILL);
	kill(b, SIGKILL);
	assert_int_equal(vmd_wait(f), -SIGKILL);
	EVENTUALLY(processes(f) == 0);
	vmd_start(f);
	load(f, "switch \"lan\" { }\n");
	assert_int_equal(switch_ports(f, "lan"), 0);
	AGREED(f, "{\"command\":\"reset\",\"what\":\"switches\"}");
	EVENTUALLY(processes(f) == 1);
}

/* Local interfaces have addresses that follow from the VM's number. */
static void
test_local(void **state)
{
	struct fixture *f = *state;
	const cJSON *nics;
	cJSON *all;

	start(f, "first", "idle");
	AGREED(f, START, "a", f->f_guest, "idle", ",\"interfaces\":"
	    "[{\"kind\":\"user\"},{\"kind\":\"local\"}]");
	nics = cJSON_GetObjectItemCaseSensitive(vm(f, "a", &all),
	    "interfaces");
	assert_string_equal(control_string(cJSON_GetArrayItem(nics, 0),
	    "address", "none"), "none");
	assert_string_equal(control_string(cJSON_GetArrayItem(nics, 1),
	    "host", ""), "100.64.2.4");
	assert_string_equal(control_string(cJSON_GetArrayItem(nics, 1),
	    "address", ""), "100.64.2.5");
	cJSON_Delete(all);
}

/* --- many ------------------------------------------------------------------------------------ */

static void
test_many(void **state)
{
	struct fixture *f = *state;
	unsigned i, listed = 0, packets = 0;
	char text[512], name[16];
	int fd[MANY];
	cJSON *json;
	bool more;

	for (i = 0; i < MANY; i++) {
		fd[i] = dial(f);
		snprintf(name, sizeof(name), "vm%u", i);
		snprintf(text, sizeof(text), START, name, f->f_guest, "idle",
		    "");
		say(fd[i], text);
	}
	for (i = 0; i < MANY; i++) {
		json = hear(fd[i]);
		assert_string_equal(control_string(json, "error", ""), "");
		cJSON_Delete(json);
		if (i > 0)
			close(fd[i]);
	}
	say(fd[0], "{\"command\":\"status\"}");
	do {
		json = hear(fd[0]);
		listed += (unsigned)cJSON_GetArraySize(
		    cJSON_GetObjectItemCaseSensitive(json, "vms"));
		more = control_bool(json, "more", false);
		packets++;
		cJSON_Delete(json);
	} while (more);
	assert_int_equal(listed, MANY);
	assert_true(packets > 1);
	assert_int_equal(sockets(f), MANY);
	assert_int_equal(processes(f), MANY + 1);
	say(fd[0], "{\"command\":\"stop\",\"all\":true,\"force\":true,"
	    "\"wait\":true}");
	json = hear(fd[0]);
	assert_int_equal(cJSON_GetArraySize(
	    cJSON_GetObjectItemCaseSensitive(json, "vms")), MANY);
	cJSON_Delete(json);
	close(fd[0]);
	EVENTUALLY(sockets(f) == 0);
	EVENTUALLY(processes(f) == 1);
}

int
main(void)
{
#define VMD(test)	cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		VMD(test_ends),
		VMD(test_restarts),
		VMD(test_numbers),
		VMD(test_refused),
		VMD(test_order),
		VMD(test_clients),
		VMD(test_vmd_dies),
		VMD(test_vm_dies),
		VMD(test_vm_hangs),
		VMD(test_both_die),
		VMD(test_dies_found),
		VMD(test_signals),
		VMD(test_second),
		VMD(test_users),
		VMD(test_privileges),
		VMD(test_switches),
		VMD(test_local),
		VMD(test_many),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
