/*
 * The runtime folder; see runtime.h.
 *
 * Any thread. Invariant: a folder that is used belongs to us and only we may
 * write to it, so that nobody else can put a socket of theirs there.
 */
#include "vmd/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A folder, made if it is not there; checked in any case. */
static int
folder(const char *path, mode_t mode, struct err *err)
{
	struct stat st;

	if (mkdir(path, mode) == -1 && errno != EEXIST)
		return (err_sys(err, "cannot make the folder %s", path));
	if (lstat(path, &st) == -1)
		return (err_sys(err, "%s", path));
	if (!S_ISDIR(st.st_mode)) {
		errno = ENOTDIR;
		return (err_set(err, "%s is in the way: it is no folder; "
		    "remove it", path));
	}
	if (st.st_uid != geteuid()) {
		errno = EPERM;
		return (err_set(err, "%s belongs to user %u; remove it, or "
		    "choose another by VMD_DIR", path, (unsigned)st.st_uid));
	}
	/* the umask may have taken rights away, somebody added some */
	if ((st.st_mode & 07777) != mode && chmod(path, mode) == -1)
		return (err_sys(err, "cannot change the rights of %s", path));
	return (0);
}

int
runtime_make(const char *dir, struct err *err)
{
	/* root's socket is for others, too, what is below is not */
	const mode_t mode = geteuid() == 0 ? 0755 : 0700;
	char path[RUNTIME_PATH_MAX];

	if (folder(dir, mode, err) == -1 ||
	    runtime_name(path, sizeof(path), err, dir, "vm") == -1 ||
	    folder(path, 0700, err) == -1 ||
	    runtime_name(path, sizeof(path), err, dir, "switch") == -1)
		return (-1);
	return (folder(path, 0700, err));
}

void
runtime_remove(const char *dir)
{
	char path[RUNTIME_PATH_MAX];

	if (runtime_name(path, sizeof(path), NULL, dir, "vm") == 0)
		(void)rmdir(path);
	if (runtime_name(path, sizeof(path), NULL, dir, "switch") == 0)
		(void)rmdir(path);
	(void)rmdir(dir);
}

int
runtime_name(char *buf, size_t size, struct err *err, const char *dir,
    const char *fmt, ...)
{
	va_list ap;
	size_t len;
	int n;

	n = snprintf(buf, size, "%s/", dir);
	len = n < 0 ? size : (size_t)n;
	if (len < size) {
		va_start(ap, fmt);
		n = vsnprintf(buf + len, size - len, fmt, ap);
		va_end(ap);
		if (n >= 0 && (size_t)n < size - len)
			return (0);
	}
	errno = ENAMETOOLONG;
	return (err_set(err, "%s: paths of sockets below it are longer than "
	    "%d bytes; choose a shorter one by VMD_DIR", dir,
	    RUNTIME_PATH_MAX - 1));
}
