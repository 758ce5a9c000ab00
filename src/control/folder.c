/*
 * Where vmd listens; see control.h. Any thread.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/control.h"

int
control_folder(uid_t uid, char *path, size_t size, struct err *err)
{
	const char *dir = getenv("VMD_DIR"), *xdg = getenv("XDG_RUNTIME_DIR");
	int n;

	if (dir != NULL && dir[0] == '/')
		n = snprintf(path, size, "%s", dir);
	else if (dir != NULL && dir[0] != '\0') {
		errno = EINVAL;
		return (err_set(err, "VMD_DIR is %s; it must be a path from /",
		    dir));
	} else if (uid == 0)
		n = snprintf(path, size, "/run/vmd");
	else if (xdg != NULL && xdg[0] == '/')
		n = snprintf(path, size, "%s/vmd", xdg);
	else
		n = snprintf(path, size, "/tmp/vmd-%u", (unsigned)uid);
	if (n < 0 || (size_t)n >= size) {
		errno = ENAMETOOLONG;
		return (err_set(err, "the path of vmd's folder is too long; "
		    "choose another by VMD_DIR"));
	}
	return (0);
}
