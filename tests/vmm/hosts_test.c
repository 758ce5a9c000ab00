/*
 * The host's list of VMs: several processes, several users, processes that
 * die, stop or lie. Each test talks to children that play the other process.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/client.h"
#include "../lib/fake_engine.h"
#include "vmm/monitor.h"

const struct engine_row engine_table[] = {
	{ &fake_engine, 4 },
	{ NULL, 0 }
};

#define NOBODY	65534

static int fd = -1;

/* Does the kernel still know the id's socket? */
static bool
socket_exists(uint32_t id)
{
	uint32_t *ids;
	size_t i, n = hostid_list(&ids);
	bool found = false;

	for (i = 0; i < n; i++)
		found |= ids[i] == id;
	free(ids);
	return (found);
}

static bool
socket_ends(uint32_t id)
{
	int i;

	for (i = 0; i < 500 && socket_exists(id); i++)
		client_sleep_ms(10);
	return (!socket_exists(id));
}

/* --- a child with a VM --------------------------------------------------- */

struct owner {
	pid_t		ow_pid;
	uint32_t	ow_id;
	int		ow_from;	/* it reports here */
};

/* What the child's RUN came to. */
struct report {
	int		re_error;
	uint16_t	re_reason;
};

static void
owner_main(int to, bool run)
{
	struct vm_create_params vcp;
	struct vm_run_params vrp;
	struct vmm_exit vx;
	struct report re;
	int mine = vmm_open();
	uint32_t id;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	client_params(&vcp, 2, "of another");
	id = client_create(mine, &vcp, 0);
	if (write(to, &id, sizeof(id)) != (ssize_t)sizeof(id))
		_exit(1);
	if (run) {
		re.re_error = client_run(mine, id, &vrp, &vx);
		re.re_reason = vrp.vrp_exit_reason;
		if (write(to, &re, sizeof(re)) != (ssize_t)sizeof(re))
			_exit(1);
	}
	for (;;)
		pause();
}

static void
owner_begin(struct owner *ow, uid_t uid, bool run)
{
	int p[2];

	assert_int_equal(pipe(p), 0);
	fake_play(NULL, 0);
	ow->ow_pid = fork();
	if (ow->ow_pid == 0) {
		close(p[0]);
		if (uid != 0 && setuid(uid) != 0)
			_exit(1);
		owner_main(p[1], run);
	}
	close(p[1]);
	ow->ow_from = p[0];
	assert_int_equal(read(p[0], &ow->ow_id, sizeof(ow->ow_id)),
	    sizeof(ow->ow_id));
}

static void
owner_end(struct owner *ow)
{
	kill(ow->ow_pid, SIGKILL);
	assert_int_equal(waitpid(ow->ow_pid, NULL, 0), ow->ow_pid);
	close(ow->ow_from);
}

static int
terminate(uint32_t id)
{
	struct vm_terminate_params vtp = { id };

	return (client_do(fd, VMM_IOC_TERM, &vtp));
}

/* --- tests --------------------------------------------------------------- */

static void
test_info_and_term(void **state)
{
	struct vm_info_result vir;
	struct report re;
	struct owner ow;

	(void)state;
	owner_begin(&ow, 0, true);
	assert_int_equal(client_info(fd, ow.ow_id, &vir), 0);
	assert_string_equal(vir.vir_name, "of another");
	assert_int_equal(vir.vir_creator_pid, ow.ow_pid);
	assert_int_equal(vir.vir_memory_size, 2);
	assert_int_equal(vir.vir_ncpus, 1);
	while (vir.vir_vcpu_state[0] != VCPU_STATE_RUNNING) {
		client_sleep_ms(1);
		assert_int_equal(client_info(fd, ow.ow_id, &vir), 0);
	}
	assert_int_equal(terminate(ow.ow_id), 0);
	assert_int_equal(client_info(fd, ow.ow_id, &vir), ENOENT);
	assert_int_equal(terminate(ow.ow_id), ENOENT);
	assert_int_equal(read(ow.ow_from, &re, sizeof(re)), sizeof(re));
	assert_int_equal(re.re_error, 0);
	assert_int_equal(re.re_reason, VM_EXIT_TERMINATED);
	assert_true(socket_ends(ow.ow_id));
	owner_end(&ow);
}

static const unsigned long not_from_outside[] = {
	VMM_IOC_RUN, VMM_IOC_RESETCPU, VMM_IOC_INTR, VMM_IOC_READREGS,
	VMM_IOC_WRITEREGS, VMM_IOC_READVMPARAMS, VMM_IOC_WRITEVMPARAMS,
	VMM_IOC_MPROTECT_EPT, VMM_IOC_ENABLE, VMM_IOC_IRQLINE,
	VMM_IOC_WRITTEN, VMM_IOC_SHARE, VMM_IOC_KICK, VMM_IOC_STATS,
};

static void
test_eperm(void **state)
{
	uint32_t params[512];
	struct owner ow;
	size_t i;

	(void)state;
	owner_begin(&ow, 0, false);
	for (i = 0; i < ARRAY_LEN(not_from_outside); i++) {
		memset(params, 0, sizeof(params));
		params[0] = ow.ow_id;
		assert_int_equal(client_do(fd, not_from_outside[i], params),
		    EPERM);
	}
	owner_end(&ow);
}

static void
test_killed(void **state)
{
	struct vm_info_result vir;
	struct owner ow;
	uint32_t params[512] = { 0 };

	(void)state;
	owner_begin(&ow, 0, true);
	assert_int_equal(client_info(fd, ow.ow_id, &vir), 0);
	owner_end(&ow);
	assert_int_equal(client_info(fd, ow.ow_id, &vir), ENOENT);
	assert_int_equal(terminate(ow.ow_id), ENOENT);
	params[0] = ow.ow_id;
	assert_int_equal(client_do(fd, VMM_IOC_RUN, params), ENOENT);
	assert_false(socket_exists(ow.ow_id));
}

static void *
wait_main(void *arg)
{
	struct vmm_wait_params *vw = arg;

	return ((void *)(intptr_t)client_do(fd, VMM_IOC_WAIT, vw));
}

static void
on_signal(int signo)
{
	(void)signo;
}

static void
test_wait(void **state)
{
	struct sigaction sa = { .sa_handler = on_signal }, old;
	struct vm_create_params vcp;
	struct vmm_wait_params vw;
	struct owner ow;
	pthread_t thread;
	void *result;
	int how;

	(void)state;
	for (how = 0; how < 2; how++) {
		owner_begin(&ow, 0, false);
		vw.vw_vm_id = ow.ow_id;
		assert_int_equal(pthread_create(&thread, NULL, wait_main, &vw),
		    0);
		client_sleep_ms(30);
		assert_int_equal(pthread_tryjoin_np(thread, &result), EBUSY);
		if (how == 0)
			assert_int_equal(terminate(ow.ow_id), 0);
		else
			kill(ow.ow_pid, SIGKILL);
		assert_int_equal(pthread_join(thread, &result), 0);
		assert_int_equal((intptr_t)result, 0);
		owner_end(&ow);
		assert_int_equal(client_do(fd, VMM_IOC_WAIT, &vw), ENOENT);
	}

	/* A VM of our own, and a signal that comes first. */
	client_params(&vcp, 1, "own");
	vw.vw_vm_id = client_create(fd, &vcp, 0);
	sigaction(SIGALRM, &sa, &old);
	ualarm(20000, 20000);
	assert_int_equal(client_do(fd, VMM_IOC_WAIT, &vw), EINTR);
	ualarm(0, 0);
	sigaction(SIGALRM, &old, NULL);
	assert_int_equal(pthread_create(&thread, NULL, wait_main, &vw), 0);
	client_sleep_ms(20);
	client_end(fd, &vcp);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_int_equal((intptr_t)result, 0);
}

/* A stopped owner holds nobody up. */
static void
test_stopped(void **state)
{
	struct vm_info_result vir;
	struct owner ow, other;
	uint64_t start;

	(void)state;
	owner_begin(&ow, 0, false);
	owner_begin(&other, 0, false);
	kill(ow.ow_pid, SIGSTOP);
	waitpid(ow.ow_pid, NULL, WUNTRACED);
	start = client_now_ms();
	assert_int_equal(client_info(fd, other.ow_id, &vir), 0);
	assert_string_equal(vir.vir_name, "of another");
	/* It lives, and that is all we know. */
	assert_int_equal(client_info(fd, ow.ow_id, &vir), 0);
	assert_int_equal(vir.vir_creator_pid, ow.ow_pid);
	assert_int_equal(vir.vir_vcpu_state[0], VCPU_STATE_UNKNOWN);
	assert_int_equal(terminate(ow.ow_id), ETIMEDOUT);
	assert_true(client_now_ms() - start < 30000);
	kill(ow.ow_pid, SIGCONT);
	/* The request was not lost. */
	assert_true(socket_ends(ow.ow_id));
	owner_end(&ow);
	owner_end(&other);
}

static void
test_other_user(void **state)
{
	struct vm_create_params vcp;
	struct vm_info_result vir;
	struct vm_terminate_params vtp;
	struct vmm_wait_params vw;
	uint32_t params[512] = { 0 };
	struct owner ow;
	pid_t pid;
	int status, mine, bad = 0;

	(void)state;
	if (geteuid() != 0) {
		print_message("# skipped: only root may be two users\n");
		return;
	}
	client_params(&vcp, 1, "of root");
	client_create(fd, &vcp, 0);
	/* Nobody neither sees nor touches root's. */
	if ((pid = fork()) == 0) {
		if (setuid(NOBODY) != 0 || (mine = vmm_open()) == -1)
			_exit(100);
		bad |= client_info(mine, vcp.vcp_id, &vir) != ENOENT;
		vtp.vtp_vm_id = vw.vw_vm_id = params[0] = vcp.vcp_id;
		bad |= (client_do(mine, VMM_IOC_TERM, &vtp) != EPERM) << 1;
		bad |= (client_do(mine, VMM_IOC_RUN, params) != EPERM) << 2;
		bad |= (client_do(mine, VMM_IOC_WAIT, &vw) != EPERM) << 3;
		_exit(bad);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	client_end(fd, &vcp);
	/* Root sees and ends nobody's. */
	owner_begin(&ow, NOBODY, false);
	assert_int_equal(client_info(fd, ow.ow_id, &vir), 0);
	assert_string_equal(vir.vir_name, "of another");
	assert_int_equal(terminate(ow.ow_id), 0);
	assert_int_equal(client_info(fd, ow.ow_id, &vir), ENOENT);
	owner_end(&ow);
}

/* The child of a fork has no VMs; what it does harms the parent's nothing. */
static void
test_fork(void **state)
{
	struct vm_create_params vcp, theirs;
	struct vm_info_result vir;
	struct vm_run_params vrp;
	struct vmm_exit vx;
	pid_t pid;
	int status, bad = 0;

	(void)state;
	client_params(&vcp, 1, "parent's");
	client_create(fd, &vcp, 0);
	if ((pid = fork()) == 0) {
		bad |= client_run(fd, vcp.vcp_id, &vrp, &vx) != EPERM;
		bad |= (client_info(fd, vcp.vcp_id, &vir) != 0 ||
		    vir.vir_creator_pid != getppid()) << 1;
		/* One of its own, by a server of its own. */
		client_params(&theirs, 1, "child's");
		bad |= (client_do(fd, VMM_IOC_CREATE, &theirs) != 0) << 2;
		fake_play(NULL, 0);
		signal(SIGALRM, on_signal);
		ualarm(20000, 20000);
		bad |= (client_run(fd, theirs.vcp_id, &vrp, &vx) != 0 ||
		    vrp.vrp_exit_reason != VM_EXIT_NONE) << 3;
		_exit(bad);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(client_info(fd, vcp.vcp_id, &vir), 0);
	client_end(fd, &vcp);
}

/* A child does not keep its parent's VM alive. */
static void
test_fork_outlives(void **state)
{
	struct vm_create_params vcp;
	struct owner ow;
	int p[2], q[2], mine;
	char c;

	(void)state;
	assert_int_equal(pipe(p), 0);
	assert_int_equal(pipe(q), 0);
	ow.ow_pid = fork();
	if (ow.ow_pid == 0) {
		close(q[1]);
		mine = vmm_open();
		client_params(&vcp, 1, "orphaned");
		client_create(mine, &vcp, 0);
		client_sleep_ms(20);
		if (fork() == 0) {
			/* Lives until the test closes q. */
			(void)!read(q[0], &c, 1);
			_exit(0);
		}
		(void)!write(p[1], &vcp.vcp_id, sizeof(vcp.vcp_id));
		for (;;)
			pause();
	}
	ow.ow_from = p[0];
	assert_int_equal(read(p[0], &ow.ow_id, sizeof(ow.ow_id)),
	    sizeof(ow.ow_id));
	assert_true(socket_exists(ow.ow_id));
	owner_end(&ow);
	assert_false(socket_exists(ow.ow_id));
	close(p[1]);
	close(q[0]);
	close(q[1]);
}

/* Somebody holds a name and never answers, or answers nonsense. */
static void
test_hostile(void **state)
{
	struct sockaddr_un sun;
	struct vm_create_params a, b;
	struct vm_info_result vir;
	struct server_reply sp;
	struct pollfd pfd;
	uint64_t start;
	uint32_t squat;
	unsigned len;
	pid_t pid;
	int s, c, i;

	(void)state;
	client_params(&a, 1, "a");
	client_create(fd, &a, 0);
	/* The next id that is free to take. */
	s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	for (squat = a.vcp_id + 1; ; squat++) {
		len = hostid_address(squat, &sun);
		if (bind(s, (struct sockaddr *)&sun, len) == 0)
			break;
	}
	assert_int_equal(listen(s, 8), 0);
	client_params(&b, 1, "b");
	client_create(fd, &b, 0);
	assert_int_not_equal(b.vcp_id, squat);

	if ((pid = fork()) == 0) {
		/* Answers with all ones. */
		memset(&sp, 0xff, sizeof(sp));
		sp.sp_magic = SERVER_MAGIC;
		sp.sp_error = 0;
		pfd.fd = s;
		pfd.events = POLLIN;
		listen(s, 8);		/* the listener is who says so */
		for (i = 0; poll(&pfd, 1, 10000) == 1; i++) {
			c = accept(s, NULL, NULL);
			(void)!write(c, &sp, sizeof(sp));
		}
		_exit(0);
	}
	close(s);
	start = client_now_ms();
	client_sleep_ms(20);
	assert_int_equal(client_info(fd, b.vcp_id, &vir), 0);
	assert_string_equal(vir.vir_name, "b");
	if (client_info(fd, squat, &vir) == 0) {
		assert_true(vir.vir_ncpus <= VMM_MAX_VCPUS_PER_VM);
		assert_int_equal(vir.vir_vcpu_state[63], VCPU_STATE_UNKNOWN);
		assert_int_equal(vir.vir_name[VMM_MAX_NAME_LEN - 1], '\0');
		assert_int_equal(vir.vir_creator_pid, pid);
	}
	assert_true(client_now_ms() - start < 20000);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	client_end(fd, &a);
	client_end(fd, &b);
}

/* A client that connects and says nothing, or nonsense, costs nothing. */
static void
test_bad_requests(void **state)
{
	struct sockaddr_un sun;
	struct vm_create_params vcp;
	struct vm_info_result vir;
	struct server_request sr = { 0, 0 };
	unsigned len, i;
	int s[40];

	(void)state;
	client_params(&vcp, 1, "asked");
	client_create(fd, &vcp, 0);
	len = hostid_address(vcp.vcp_id, &sun);
	for (i = 0; i < ARRAY_LEN(s); i++) {
		s[i] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(s[i], (struct sockaddr *)&sun, len),
		    0);
		sr.sr_magic = i % 3 == 0 ? SERVER_MAGIC : i;
		sr.sr_command = i * 77;
		if (i % 2 == 0)
			send(s[i], &sr, i % sizeof(sr) + 1, MSG_NOSIGNAL);
	}
	assert_int_equal(client_info(fd, vcp.vcp_id, &vir), 0);
	for (i = 0; i < ARRAY_LEN(s); i++)
		close(s[i]);
	client_end(fd, &vcp);
}

static void
test_unique_ids(void **state)
{
	enum { CHILDREN = 4, EACH = 25 };
	uint32_t ids[CHILDREN * EACH];
	struct vm_create_params vcp;
	int p[2], i, j, mine;

	(void)state;
	assert_int_equal(pipe(p), 0);
	for (i = 0; i < CHILDREN; i++)
		if (fork() == 0) {
			mine = vmm_open();
			for (j = 0; j < EACH; j++) {
				client_params(&vcp, 1, "many");
				client_create(mine, &vcp, 0);
				(void)!write(p[1], &vcp.vcp_id, 4);
				if (j % 2 == 0)
					client_end(mine, &vcp);
			}
			_exit(0);
		}
	for (i = 0; i < CHILDREN * EACH; i++) {
		assert_int_equal(read(p[0], &ids[i], 4), 4);
		for (j = 0; j < i; j++)
			assert_int_not_equal(ids[i], ids[j]);
	}
	for (i = 0; i < CHILDREN; i++)
		wait(NULL);
	close(p[0]);
	close(p[1]);
}

static size_t
entries_of(const char *dir)
{
	DIR *d = opendir(dir);
	size_t n = 0;

	assert_non_null(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return (n);
}

/* The thread, the sockets and all descriptors go with the last VM. */
static void
test_nothing_left(void **state)
{
	struct vm_create_params vcp[8];
	size_t fds, i;
	int n;

	(void)state;
	for (n = 0; n < 500 && entries_of("/proc/self/task") != 3; n++)
		client_sleep_ms(10);
	assert_int_equal(entries_of("/proc/self/task"), 3);	/* . .. self */
	fds = entries_of("/proc/self/fd");
	for (i = 0; i < ARRAY_LEN(vcp); i++) {
		client_params(&vcp[i], 1, "passing");
		client_create(fd, &vcp[i], i % 2 ? VMM_CAP_APIC : 0);
	}
	assert_int_equal(entries_of("/proc/self/task"), 4);
	for (i = 0; i < ARRAY_LEN(vcp); i++)
		client_end(fd, &vcp[i]);
	for (n = 0; n < 500 && (entries_of("/proc/self/task") != 3 ||
	    entries_of("/proc/self/fd") != fds); n++)
		client_sleep_ms(10);
	assert_int_equal(entries_of("/proc/self/task"), 3);
	assert_int_equal(entries_of("/proc/self/fd"), fds);
	for (i = 0; i < ARRAY_LEN(vcp); i++)
		assert_false(socket_exists(vcp[i].vcp_id));
}

static int
setup(void **state)
{
	(void)state;
	unsetenv("VMM_ENGINE");
	fd = vmm_open();
	return (fd == -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_left),
		cmocka_unit_test(test_info_and_term),
		cmocka_unit_test(test_eperm),
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_wait),
		cmocka_unit_test(test_stopped),
		cmocka_unit_test(test_other_user),
		cmocka_unit_test(test_fork),
		cmocka_unit_test(test_fork_outlives),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_bad_requests),
		cmocka_unit_test(test_unique_ids),
	};

	return (cmocka_run_group_tests(tests, setup, NULL));
}
