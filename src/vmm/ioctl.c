/*
 * vmm_open(), vmm_ioctl(), vmm_close(): the doors of vmm(4).
 *
 * 1. A descriptor of ours is a memfd that holds a struct handle, so that it
 *    survives dup(2), fork(2) and exec(2), can be passed on, and ends with the
 *    last close(2): there is no registry to go stale.
 * 2. For the duration of a command the thread blocks all asynchronous signals
 *    and cannot be cancelled. A signal handler therefore finds none of our
 *    locks held by its own thread, and runs when the command's results are in
 *    place, as with a kernel's ioctl(2).
 *    Whoever promises to spare us the trouble (VMM_CAP_PROMISE) is believed.
 * 3. The caller's structures are copied once in each direction, and a bad
 *    pointer is EFAULT.
 *
 * All functions: any thread. Manual: vmm(4).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hostfault.h"
#include "vmm/monitor.h"

#define EXPORT	__attribute__((visibility("default")))

#define HANDLE_MAGIC	"vmm(4) descriptor, version 1\n"

struct handle {
	char	h_magic[32];
	char	h_engine[CALL_ENGINE_LEN];
};

/* The commands. _IOC_SIZE and _IOC_DIR of the code say what is copied. */
static const struct command {
	unsigned int	co_code;
	int		(*co_fn)(struct call *, void *);
	bool		co_always;	/* copied back in spite of errors */
} commands[] = {
	{ VMM_IOC_RUN,		cmd_run,		false },
	{ VMM_IOC_INTR,		cmd_intr,		false },
	{ VMM_IOC_IRQLINE,	cmd_irqline,		false },
	{ VMM_IOC_WRITTEN,	cmd_written,		false },
	{ VMM_IOC_IRQSTATE,	cmd_irqstate,		false },
	{ VMM_IOC_READREGS,	cmd_readregs,		false },
	{ VMM_IOC_WRITEREGS,	cmd_writeregs,		false },
	{ VMM_IOC_CREATE,	cmd_create,		false },
	{ VMM_IOC_INFO,		cmd_info,		false },
	{ VMM_IOC_TERM,		cmd_term,		false },
	{ VMM_IOC_RESETCPU,	cmd_resetcpu,		false },
	{ VMM_IOC_READVMPARAMS,	cmd_readvmparams,	false },
	{ VMM_IOC_WRITEVMPARAMS, cmd_writevmparams,	false },
	{ VMM_IOC_MPROTECT_EPT,	cmd_mprotect_ept,	false },
	{ VMM_IOC_ENGINE,	cmd_engine,		true },
	{ VMM_IOC_ENGINEINFO,	cmd_engineinfo,		false },
	{ VMM_IOC_ENABLE,	cmd_enable,		false },
	{ VMM_IOC_SHARE,	cmd_share,		false },
	{ VMM_IOC_KICK,		cmd_kick,		false },
	{ VMM_IOC_PAUSED,	cmd_paused,		false },
	{ VMM_IOC_WAIT,		cmd_wait,		false },
	{ VMM_IOC_STATS,	cmd_stats,		false },
	{ VMM_IOC_STATE,	cmd_state,		true },
};

/* Room for the largest parameter structure. */
union params {
	struct vm_create_params		create;
	struct vm_resetcpu_params	resetcpu;
	struct vm_rwregs_params		rwregs;
	struct vmm_engine_params	engine;
	struct vmm_engineinfo_params	engineinfo;
	struct vmm_stats_params		stats;
	struct vmm_state_params		state;
};

/* Signals that say what this thread itself just did. */
static const int synchronous[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP,
    SIGSYS };

/* The inode of the handle that was seen last: it need not be read again. The
 * kernel numbers memfds by a counter, so no other file comes to have it. */
static atomic_ullong handle_seen;

/* The descriptor whose user keeps VMM_CAP_PROMISE; -1: none. */
static atomic_int handle_trusted = -1;

static bool
handle_read(int fd, struct handle *h)
{
	return (pread(fd, h, sizeof(*h), 0) == (ssize_t)sizeof(*h) &&
	    memcmp(h->h_magic, HANDLE_MAGIC, sizeof(HANDLE_MAGIC)) == 0);
}

/* Is fd one of ours? */
static bool
handle_is(int fd)
{
	struct handle h;
	struct stat st;

	/* Only a file of this kind is read: no other descriptor notices. */
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) ||
	    st.st_size != (off_t)sizeof(h) || st.st_nlink != 0)
		return (false);
	if (st.st_ino == atomic_load(&handle_seen))
		return (true);
	if (!handle_read(fd, &h))
		return (false);
	atomic_store(&handle_seen, st.st_ino);
	return (true);
}

EXPORT int
vmm_open(void)
{
	const struct engine_row *row;
	struct handle h = { .h_magic = HANDLE_MAGIC, .h_engine = "auto" };
	const char *env = getenv("VMM_ENGINE"), *options;
	char why[sizeof(((struct vmm_engine_params *)0)->ve_why)];
	int fd, error;

	if (env != NULL && *env != '\0') {
		if (strlen(env) >= sizeof(h.h_engine)) {
			errno = ENODEV;
			return (-1);
		}
		strcpy(h.h_engine, env);
	}
	if (engine_pick(h.h_engine, &row, &options, why, sizeof(why)) != 0) {
		errno = ENODEV;
		return (-1);
	}
	if ((fd = memfd_create("vmm", MFD_CLOEXEC)) == -1)
		return (-1);
	if (pwrite(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h)) {
		error = errno;
		close(fd);
		errno = error;
		return (-1);
	}
	return (fd);
}

EXPORT int
vmm_close(int fd)
{
	if (!handle_is(fd)) {
		errno = EBADF;
		return (-1);
	}
	if (fd == atomic_load(&handle_trusted))
		call_distrust();
	return (close(fd));
}

static void
asynchronous_signals(sigset_t *set)
{
	size_t i;

	sigfillset(set);
	for (i = 0; i < ARRAY_LEN(synchronous); i++)
		sigdelset(set, synchronous[i]);
}

/* A command with its parameters; signals are blocked. 0 or errno. */
static int
command_do(const struct command *co, struct call *ca, void *params)
{
	union params p;
	size_t size = _IOC_SIZE(co->co_code);
	int error;

	if (!hostfault_copy(&p, params, size))
		return (EFAULT);
	error = co->co_fn(ca, &p);
	if ((error == 0 || co->co_always) &&
	    (_IOC_DIR(co->co_code) & _IOC_READ) != 0 &&
	    !hostfault_copy(params, &p, size) && error == 0)
		error = EFAULT;
	return (error);
}

EXPORT int
vmm_ioctl(int fd, unsigned long code, void *params)
{
	struct call ca;
	sigset_t block;
	size_t i;
	int error, cancel;
	bool trusted;

	trusted = fd == atomic_load(&handle_trusted) && fd != -1;
	if (!trusted && !handle_is(fd)) {
		errno = EBADF;
		return (-1);
	}
	/* As in the kernel: 32 bits count, however they were extended. */
	for (i = 0; i < ARRAY_LEN(commands); i++)
		if (commands[i].co_code == (uint32_t)code)
			break;
	if (i == ARRAY_LEN(commands)) {
		errno = ENOTTY;
		return (-1);
	}
	ca.ca_fd = fd;
	ca.ca_trusted = trusted;
	if (trusted) {
		sigfillset(&ca.ca_mask);
		error = command_do(&commands[i], &ca, params);
	} else {
		asynchronous_signals(&block);
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
		/* SETMASK: nor may what we handle stay blocked */
		pthread_sigmask(SIG_SETMASK, &block, &ca.ca_mask);
		/* The client may have taken the handlers over since. */
		hostfault_init();
		error = command_do(&commands[i], &ca, params);
		pthread_sigmask(SIG_SETMASK, &ca.ca_mask, NULL);
		pthread_setcancelstate(cancel, NULL);
	}
	if (error != 0) {
		errno = error;
		return (-1);
	}
	return (0);
}

/* The signals that would interrupt the caller. */
static void
call_signals(const struct call *ca, sigset_t *set)
{
	int signo;

	asynchronous_signals(set);
	for (signo = 1; signo < NSIG; signo++)
		if (sigismember(&ca->ca_mask, signo) == 1)
			sigdelset(set, signo);
}

bool
call_interrupted(const struct call *ca)
{
	sigset_t want, pending;
	int signo;

	call_signals(ca, &want);
	sigpending(&pending);
	for (signo = 1; signo < NSIG; signo++)
		if (sigismember(&want, signo) == 1 &&
		    sigismember(&pending, signo) == 1)
			return (true);
	return (false);
}

int
call_signalfd(const struct call *ca)
{
	sigset_t want;

	call_signals(ca, &want);
	return (signalfd(-1, &want, SFD_CLOEXEC | SFD_NONBLOCK));
}

void
call_trust(const struct call *ca)
{
	atomic_store(&handle_trusted, ca->ca_fd);
}

void
call_distrust(void)
{
	atomic_store(&handle_trusted, -1);
}

int
call_engine(const struct call *ca, char spec[CALL_ENGINE_LEN])
{
	struct handle h;

	if (!handle_read(ca->ca_fd, &h))
		return (EBADF);
	memcpy(spec, h.h_engine, CALL_ENGINE_LEN);
	spec[CALL_ENGINE_LEN - 1] = '\0';
	return (0);
}

int
call_set_engine(const struct call *ca, const char *spec)
{
	struct handle h = { .h_magic = HANDLE_MAGIC };

	if (strlen(spec) >= sizeof(h.h_engine))
		return (EINVAL);
	strcpy(h.h_engine, spec);
	if (pwrite(ca->ca_fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h))
		return (errno);
	return (0);
}
