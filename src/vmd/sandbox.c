/*
 * The system calls of a VM's process, as a filter of the kernel's (seccomp).
 *
 * 1. What is not in the table does not exist (ENOSYS), which libraries know how
 *    to do without. Calls with conditions fail where these do not hold.
 * 2. All disks, networks and terminals are open before the filter is there:
 *    none of the calls makes, changes or removes a name in a file system, and
 *    files are opened for reading alone.
 * 3. The processes of direct execution (engine/soft/direct) are made under the
 *    filter, and add one of their own.
 *
 * The main thread; the filter takes in the others.
 */
#include "vmd/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* Bits of open(2) that do more than read. */
#define OPEN_MORE	(O_ACCMODE | O_CREAT | O_TRUNC | __O_TMPFILE | \
			O_APPEND)
/* Bits of clone(2) that make a world of its own, with its own root. */
#define CLONE_WORLDS	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | \
			CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | \
			CLONE_NEWNET)

#define ANY	{ 0 }

static const struct row {
	const char	*sr_name;
	struct {
		bool		 is_set;	/* else always */
		unsigned	 arg;
		enum scmp_compare op;
		uint64_t	 a, b;
	} sr_if;
} rows[] = {
	/* memory: the guest's, and code that is made */
	{ "brk",		ANY },
	{ "mmap",		ANY },
	{ "munmap",		ANY },
	{ "mprotect",		ANY },
	{ "mremap",		ANY },
	{ "madvise",		ANY },
	{ "mincore",		ANY },
	{ "memfd_create",	ANY },
	{ "membarrier",		ANY },
	{ "mlock",		ANY },
	{ "munlock",		ANY },

	/* disks, terminals, what is open */
	{ "read",		ANY },
	{ "readv",		ANY },
	{ "pread64",		ANY },
	{ "preadv",		ANY },
	{ "preadv2",		ANY },
	{ "write",		ANY },
	{ "writev",		ANY },
	{ "pwrite64",		ANY },
	{ "pwritev",		ANY },
	{ "pwritev2",		ANY },
	{ "lseek",		ANY },
	{ "fsync",		ANY },
	{ "fdatasync",		ANY },
	{ "sync_file_range",	ANY },
	{ "fallocate",		ANY },
	{ "ftruncate",		ANY },
	{ "fadvise64",		ANY },
	{ "copy_file_range",	ANY },
	{ "sendfile",		ANY },
	{ "fcntl",		ANY },		/* locks of images */
	{ "flock",		ANY },
	{ "ioctl",		ANY },		/* KVM, block devices, ttys */
	{ "dup",		ANY },
	{ "dup2",		ANY },
	{ "dup3",		ANY },
	{ "close",		ANY },
	{ "close_range",	ANY },

	/* files to read: kernels at a reboot, the host's name servers */
	{ "open",	{ true, 1, SCMP_CMP_MASKED_EQ, OPEN_MORE, O_RDONLY } },
	{ "openat",	{ true, 2, SCMP_CMP_MASKED_EQ, OPEN_MORE, O_RDONLY } },
	{ "stat",		ANY },
	{ "lstat",		ANY },
	{ "fstat",		ANY },
	{ "newfstatat",		ANY },
	{ "statx",		ANY },
	{ "fstatfs",		ANY },
	{ "access",		ANY },
	{ "faccessat",		ANY },
	{ "faccessat2",		ANY },
	{ "readlink",		ANY },
	{ "readlinkat",		ANY },
	{ "getdents64",		ANY },
	{ "getcwd",		ANY },

	/* waiting */
	{ "poll",		ANY },
	{ "ppoll",		ANY },
	{ "select",		ANY },
	{ "pselect6",		ANY },
	{ "epoll_create1",	ANY },
	{ "epoll_ctl",		ANY },
	{ "epoll_wait",		ANY },
	{ "epoll_pwait",	ANY },
	{ "epoll_pwait2",	ANY },
	{ "eventfd2",		ANY },
	{ "timerfd_create",	ANY },
	{ "timerfd_settime",	ANY },
	{ "timerfd_gettime",	ANY },
	{ "signalfd4",		ANY },
	{ "pipe",		ANY },
	{ "pipe2",		ANY },

	/* the network: connections of the guest's that the NAT makes, image
	 * servers, switches, vmd and vmctl, syslog */
	{ "socket",	{ true, 0, SCMP_CMP_EQ, AF_UNIX, 0 } },
	{ "socket",	{ true, 0, SCMP_CMP_EQ, AF_INET, 0 } },
	{ "socket",	{ true, 0, SCMP_CMP_EQ, AF_INET6, 0 } },
	{ "socket",	{ true, 0, SCMP_CMP_EQ, AF_NETLINK, 0 } },
	{ "socketpair",		ANY },
	{ "connect",		ANY },
	{ "bind",		ANY },
	{ "listen",		ANY },
	{ "accept",		ANY },
	{ "accept4",		ANY },
	{ "sendto",		ANY },
	{ "sendmsg",		ANY },
	{ "sendmmsg",		ANY },
	{ "recvfrom",		ANY },
	{ "recvmsg",		ANY },
	{ "recvmmsg",		ANY },
	{ "shutdown",		ANY },
	{ "getsockname",	ANY },
	{ "getpeername",	ANY },
	{ "getsockopt",		ANY },
	{ "setsockopt",		ANY },

	/* threads; clone3 cannot be looked into, glibc does without */
	{ "clone",	{ true, 0, SCMP_CMP_MASKED_EQ, CLONE_WORLDS, 0 } },
	{ "futex",		ANY },
	{ "set_robust_list",	ANY },
	{ "get_robust_list",	ANY },
	{ "rseq",		ANY },
	{ "set_tid_address",	ANY },
	{ "sched_yield",	ANY },
	{ "sched_getaffinity",	ANY },
	{ "sched_setaffinity",	ANY },
	{ "sched_getparam",	ANY },
	{ "sched_getscheduler",	ANY },
	{ "getpriority",	ANY },
	{ "arch_prctl",		ANY },
	{ "prctl",		ANY },
	{ "exit",		ANY },
	{ "exit_group",		ANY },

	/* signals; to whom is the kernel's to decide */
	{ "rt_sigaction",	ANY },
	{ "rt_sigprocmask",	ANY },
	{ "rt_sigreturn",	ANY },
	{ "rt_sigpending",	ANY },
	{ "rt_sigtimedwait",	ANY },
	{ "rt_sigsuspend",	ANY },
	{ "sigaltstack",	ANY },
	{ "kill",		ANY },
	{ "tkill",		ANY },
	{ "tgkill",		ANY },
	{ "restart_syscall",	ANY },

	/* time, chance, who we are */
	{ "clock_gettime",	ANY },
	{ "clock_getres",	ANY },
	{ "clock_nanosleep",	ANY },
	{ "nanosleep",		ANY },
	{ "gettimeofday",	ANY },
	{ "time",		ANY },
	{ "timer_create",	ANY },
	{ "timer_settime",	ANY },
	{ "timer_gettime",	ANY },
	{ "timer_delete",	ANY },
	{ "times",		ANY },
	{ "setitimer",		ANY },
	{ "getitimer",		ANY },
	{ "getrusage",		ANY },
	{ "getrandom",		ANY },
	{ "getpid",		ANY },
	{ "getppid",		ANY },
	{ "gettid",		ANY },
	{ "getuid",		ANY },
	{ "geteuid",		ANY },
	{ "getgid",		ANY },
	{ "getegid",		ANY },
	{ "getgroups",		ANY },
	{ "getpgrp",		ANY },
	{ "getpgid",		ANY },
	{ "getsid",		ANY },
	{ "getcpu",		ANY },
	{ "getrlimit",		ANY },
	{ "prlimit64",		ANY },
	{ "uname",		ANY },
	{ "sysinfo",		ANY },

	/* direct execution: a traced child, from a file without a name */
	{ "execveat",	{ true, 4, SCMP_CMP_EQ, AT_EMPTY_PATH, 0 } },
	{ "ptrace",		ANY },
	{ "wait4",		ANY },
	{ "waitid",		ANY },
	{ "seccomp",		ANY },
};

static int
add_row(scmp_filter_ctx ctx, const struct row *r)
{
	const int nr = seccomp_syscall_resolve_name(r->sr_name);
	struct scmp_arg_cmp cmp = { .arg = r->sr_if.arg, .op = r->sr_if.op,
		.datum_a = r->sr_if.a, .datum_b = r->sr_if.b };

	/* a libseccomp that is older than the call: it is then not there */
	if (nr == __NR_SCMP_ERROR)
		return (0);
	return (seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, nr,
	    r->sr_if.is_set ? 1 : 0, &cmp));
}

int
sandbox_enter(struct err *err)
{
	scmp_filter_ctx ctx;
	size_t i;
	int error;

	if ((ctx = seccomp_init(SCMP_ACT_ERRNO(ENOSYS))) == NULL) {
		errno = ENOMEM;
		return (err_sys(err, "cannot limit system calls"));
	}
	error = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	/* The guest's code needs no protection from itself, and older kernels
	 * would slow it down. */
	if (error == 0)
		error = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_SSB, 1);
	for (i = 0; error == 0 && i < sizeof(rows) / sizeof(rows[0]); i++)
		error = add_row(ctx, &rows[i]);
	/* a tree: our calls are many, and each pays for the way to its row */
	if (error == 0)
		(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (error == 0)
		error = seccomp_load(ctx);
	seccomp_release(ctx);
	if (error != 0) {
		/* what kernels without the feature say, or without TSYNC */
		errno = error == -EINVAL || error == -EOPNOTSUPP ? ENOSYS :
		    -error;
		return (err_sys(err, "cannot limit system calls"));
	}
	return (0);
}
