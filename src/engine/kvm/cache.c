/*
 * What the probe's test guest showed, remembered until the host boots again.
 *
 * A file in $XDG_RUNTIME_DIR, or root's in /run: one line that names the boot,
 * the device and our version. It says that the test succeeded; everything else
 * means that nobody knows.
 *
 * 1. Only a file of ours is believed: regular, one link, owned by us, writable
 *    by nobody else, and reached by no symbolic link of the last component.
 * 2. It is written aside and renamed, so that no reader sees a part of it.
 *
 * Any thread.
 */
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/kvm/kvm.h"

#define CACHE_NAME	"vmm-kvm"
#define LINE_MAX_LEN	256

static bool
cache_path(char *path, size_t size)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");
	int n;

	if (dir == NULL || dir[0] != '/') {
		if (geteuid() != 0)
			return (false);
		dir = "/run";
	}
	n = snprintf(path, size, "%s/" CACHE_NAME, dir);
	return (n > 0 && (size_t)n < size);
}

/* This boot and this device. */
static bool
cache_line(int dev, char *line, size_t size)
{
	char boot[64];
	struct stat st;
	ssize_t n;
	int fd, len;

	fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return (false);
	n = read(fd, boot, sizeof(boot) - 1);
	close(fd);
	if (n <= 0 || fstat(dev, &st) == -1)
		return (false);
	boot[n] = '\0';
	boot[strcspn(boot, "\n")] = '\0';
	len = snprintf(line, size, "vmm " VMM_VERSION " %s %u:%u %llu %lld\n",
	    boot, major(st.st_rdev), minor(st.st_rdev),
	    (unsigned long long)st.st_ino, (long long)st.st_ctim.tv_sec);
	return (len > 0 && (size_t)len < size);
}

bool
kvm_cache_has(int dev)
{
	char path[4096], want[LINE_MAX_LEN], have[LINE_MAX_LEN];
	struct stat st;
	ssize_t n;
	int fd;

	if (!cache_path(path, sizeof(path)) ||
	    !cache_line(dev, want, sizeof(want)))
		return (false);
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd == -1)
		return (false);
	n = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1 &&
	    st.st_uid == geteuid() && (st.st_mode & 022) == 0 ?
	    read(fd, have, sizeof(have)) : -1;
	close(fd);
	return (n > 0 && (size_t)n == strlen(want) &&
	    memcmp(have, want, (size_t)n) == 0);
}

void
kvm_cache_put(int dev)
{
	char path[4096], aside[4096 + 16], line[LINE_MAX_LEN];
	int fd;
	bool done;

	if (!cache_path(path, sizeof(path)) ||
	    !cache_line(dev, line, sizeof(line)))
		return;
	snprintf(aside, sizeof(aside), "%s.XXXXXX", path);
	if ((fd = mkostemp(aside, O_CLOEXEC)) == -1)
		return;		/* the test is made again next time */
	done = write(fd, line, strlen(line)) == (ssize_t)strlen(line);
	if (close(fd) == -1 || !done || rename(aside, path) == -1)
		(void)unlink(aside);
}
