/*
 * Giving up privileges; see privilege.h.
 *
 * The steps of a VM's process, as root:
 *
 *	socket		bound in the runtime folder, which is root's
 *	console		the terminal gets its owner
 *	networks	taps of the host are opened, ports of switches got
 *	user		(of a VM that a user defined) the rest is that user's
 *	machine		disks, /dev/kvm are opened
 *	user		the VM's owner, or USER_NOBODY
 *	no new		no executed file gives privileges
 *	sandbox		the system calls of a machine that runs (sandbox.c)
 *
 * As another user, the last two.
 *
 * The main thread; glibc has the others follow.
 */
#include "vmd/privilege.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "vmd/sandbox.h"

#define USER_OWN	"_vmd"		/* who owns nothing, if there is one; */
#define USER_NOBODY	"nobody"	/* else */

static int
become(const struct passwd *pw, struct err *err)
{
	if (initgroups(pw->pw_name, pw->pw_gid) == -1 ||
	    setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) == -1 ||
	    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) == -1)
		return (err_sys(err, "cannot become user %s", pw->pw_name));
	/* and there is no way back */
	if (setuid(0) != -1) {
		errno = EPERM;
		return (err_set(err, "user %s can become root again",
		    pw->pw_name));
	}
	return (0);
}

int
privilege_become(uid_t uid, struct err *err)
{
	struct passwd *pw;

	if (geteuid() != 0 || uid == 0)
		return (0);
	errno = 0;
	if ((pw = getpwuid(uid)) == NULL) {
		if (errno == 0)
			errno = ENOENT;
		return (err_sys(err, "user %u", (unsigned)uid));
	}
	return (become(pw, err));
}

/* To whom a VM of this user belongs in the end. */
static int
become_last(uid_t uid, struct err *err)
{
	struct passwd *pw;

	if (geteuid() != 0)
		return (0);
	if (uid != 0)
		return (privilege_become(uid, err));
	if ((pw = getpwnam(USER_OWN)) == NULL &&
	    (pw = getpwnam(USER_NOBODY)) == NULL)
		return (err_set(err, "there is no user " USER_NOBODY));
	return (become(pw, err));
}

bool
privilege_can_read(uid_t uid, const char *path)
{
	int status;
	pid_t pid;

	if (geteuid() != 0)
		return (access(path, R_OK) == 0);
	/* a child that goes all the way knows best */
	if ((pid = fork()) == -1)
		return (false);
	if (pid == 0)
		_exit(become_last(uid, NULL) == 0 &&
		    access(path, R_OK) == 0 ? 0 : 1);
	while (waitpid(pid, &status, 0) == -1)
		if (errno != EINTR)
			return (false);
	return (WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int
privilege_drop(uid_t uid, struct err *err)
{
	if (become_last(uid, err) == -1)
		return (-1);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		return (err_sys(err, "cannot give up privileges"));
	if (sandbox_enter(err) == -1) {
		if (errno != ENOSYS)
			return (-1);
		log_warn("%s: its guest is held by the CPU engine and its "
		    "user's rights alone", err->e_text);
	}
	return (0);
}
