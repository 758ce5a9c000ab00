/*
 * libvmm-preload.so: under LD_PRELOAD, a client that opens "/dev/vmm" and calls
 * ioctl(2) on it runs unmodified, though no such device exists.
 *
 * 1. Only open(2) of exactly that name and the commands of vmm(4) on a
 *    descriptor of ours are ours; everything else goes on to the function that
 *    would have been called without us, errno included.
 * 2. The descriptor is a real one (src/vmm/ioctl.c), so close(2), dup(2), poll,
 *    fork and descriptor passing need nothing here.
 *
 * Any thread. Manual: vmm(4), "ENVIRONMENT".
 */
#undef _FORTIFY_SOURCE		/* it would define open() itself */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include <vmm.h>

#define EXPORT	__attribute__((visibility("default")))
#define DEVICE	"/dev/vmm"

/* The C library declares these only when it makes fortified callers. */
int	__open_2(const char *, int);
int	__open64_2(const char *, int);
int	__openat_2(int, const char *, int);
int	__openat64_2(int, const char *, int);

/* The definition that comes after ours, looked up once. */
static void *
next_symbol(_Atomic(void *) *known, const char *name)
{
	void *symbol = atomic_load(known);

	if (symbol == NULL) {
		symbol = dlsym(RTLD_NEXT, name);
		atomic_store(known, symbol);
	}
	return (symbol);
}

static int
no_function(void)
{
	errno = ENOSYS;
	return (-1);
}

/* Is it the device? Then *fd is it, or -1 with errno. */
static int
device_open(const char *path, int flags, int *fd)
{
	if (path == NULL || strcmp(path, DEVICE) != 0)
		return (0);
	*fd = vmm_open();
	/* As open(2): close-on-exec only for those who ask. */
	if (*fd != -1 && (flags & O_CLOEXEC) == 0)
		(void)fcntl(*fd, F_SETFD, 0);
	return (1);
}

/* The mode argument is there only with these flags. */
#define MODE(flags, ap)							\
	(((flags) & O_CREAT) != 0 || ((flags) & O_TMPFILE) == O_TMPFILE ?\
	    va_arg(ap, mode_t) : 0)

#define OPEN(function)							\
EXPORT int								\
function(const char *path, int flags, ...)				\
{									\
	static _Atomic(void *) known;					\
	int (*next)(const char *, int, ...);				\
	va_list ap;							\
	mode_t mode;							\
	int fd;								\
									\
	if (device_open(path, flags, &fd))				\
		return (fd);						\
	va_start(ap, flags);						\
	mode = MODE(flags, ap);						\
	va_end(ap);							\
	next = (int (*)(const char *, int, ...))(uintptr_t)		\
	    next_symbol(&known, #function);				\
	return (next != NULL ? next(path, flags, mode) : no_function());\
}

#define OPENAT(function)						\
EXPORT int								\
function(int dir, const char *path, int flags, ...)			\
{									\
	static _Atomic(void *) known;					\
	int (*next)(int, const char *, int, ...);			\
	va_list ap;							\
	mode_t mode;							\
	int fd;								\
									\
	if (device_open(path, flags, &fd))				\
		return (fd);						\
	va_start(ap, flags);						\
	mode = MODE(flags, ap);						\
	va_end(ap);							\
	next = (int (*)(int, const char *, int, ...))(uintptr_t)	\
	    next_symbol(&known, #function);				\
	return (next != NULL ? next(dir, path, flags, mode) :		\
	    no_function());						\
}

#define OPEN_2(function)						\
EXPORT int								\
function(const char *path, int flags)					\
{									\
	static _Atomic(void *) known;					\
	int (*next)(const char *, int);					\
	int fd;								\
									\
	if (device_open(path, flags, &fd))				\
		return (fd);						\
	next = (int (*)(const char *, int))(uintptr_t)			\
	    next_symbol(&known, #function);				\
	return (next != NULL ? next(path, flags) : no_function());	\
}

#define OPENAT_2(function)						\
EXPORT int								\
function(int dir, const char *path, int flags)				\
{									\
	static _Atomic(void *) known;					\
	int (*next)(int, const char *, int);				\
	int fd;								\
									\
	if (device_open(path, flags, &fd))				\
		return (fd);						\
	next = (int (*)(int, const char *, int))(uintptr_t)		\
	    next_symbol(&known, #function);				\
	return (next != NULL ? next(dir, path, flags) : no_function());	\
}

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
OPEN_2(__open_2)
OPEN_2(__open64_2)
OPENAT_2(__openat_2)
OPENAT_2(__openat64_2)

EXPORT int
ioctl(int fd, unsigned long command, ...)
{
	static _Atomic(void *) known;
	int (*next)(int, unsigned long, void *);
	int result, saved = errno;
	va_list ap;
	void *arg;

	va_start(ap, command);
	arg = va_arg(ap, void *);
	va_end(ap);
	/* 'V' is others' too: a descriptor that is not ours goes on. */
	if (_IOC_TYPE(command) == 'V') {
		result = vmm_ioctl(fd, command, arg);
		if (result != -1 || (errno != EBADF && errno != ENOTTY))
			return (result);
		errno = saved;
	}
	next = (int (*)(int, unsigned long, void *))(uintptr_t)
	    next_symbol(&known, "ioctl");
	return (next != NULL ? next(fd, command, arg) : no_function());
}
