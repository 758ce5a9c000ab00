#!/usr/bin/env bash
# A client that knows only <machine/vmmvar.h> and /dev/vmm runs unmodified under
# LD_PRELOAD, and other programs do not notice; the library by itself works
# with what pkg-config says.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"
cd "$(dirname "$0")/.." || exit 1
preload=$VMM_BUILD/lib/libvmm-preload.so
cc=${CC:-cc}
# A sanitized library wants its runtime to be the first one loaded.
case $VMM_BUILD in
*san*address*)
	preload="$("$cc" -print-file-name=libasan.so) $preload"
	export ASAN_OPTIONS=detect_leaks=0
	;;
esac

want='hello
*'$'\x12''!'

for fortify in 0 2; do
	"$cc" -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$fortify \
	    -D_FILE_OFFSET_BITS=64 -Iinclude -o "$work/client$fortify" \
	    tests/vmm/client/client.c >"$work/log" 2>&1
	ok $? "the client compiles by itself, fortify $fortify" "$work/log"
	out=$(LD_PRELOAD=$preload within 60 "$work/client$fortify" 2>"$work/err")
	is $? 0 "and runs"
	is "$out" "$want" "its guest says what it should"
	is "$(cat "$work/err")" "" "and nobody complains"
done
if [ -e /dev/vmm ]; then
	skip "without the library there is no device" "there is one here"
else
	"$work/client0" >/dev/null 2>&1
	is $? 1 "without the library there is no device"
fi

# As nobody, in an empty environment.
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
	chmod 755 "$work"
	mkdir "$work/lib" && cp "$VMM_BUILD/lib/libvmm-preload.so" "$work/lib"
	out=$(env -i LD_PRELOAD="${preload/"$VMM_BUILD"/"$work"}" \
	    ${ASAN_OPTIONS:+ASAN_OPTIONS="$ASAN_OPTIONS"} \
	    "$(command -v setpriv)" --reuid=65534 --regid=65534 \
	    --clear-groups "$work/client0" 2>&1)
	is "$out" "$want" "as nobody, in an empty environment"
else
	skip "as nobody, in an empty environment" "needs root and setpriv"
fi

# Descriptors: close-on-exec as asked for, dup, other ioctls and devices.
cat >"$work/fds.c" <<'END'
#define _GNU_SOURCE
#include <machine/vmmvar.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
int
main(void)
{
	struct vm_info_params vip;
	int a = open("/dev/vmm", O_RDWR), b, n;

	assert(a >= 0 && (fcntl(a, F_GETFD) & FD_CLOEXEC) == 0);
	b = openat(AT_FDCWD, "/dev/vmm", O_RDWR | O_CLOEXEC);
	assert(b >= 0 && (fcntl(b, F_GETFD) & FD_CLOEXEC) != 0);
	close(b);
	b = dup(a);
	close(a);
	memset(&vip, 0, sizeof(vip));
	assert(ioctl(b, VMM_IOC_INFO, &vip) == 0);
	assert(ioctl(a, VMM_IOC_INFO, &vip) == -1 && errno == EBADF);
	assert(ioctl(b, _IO('V', 99), 0) == -1 && errno == ENOTTY);
	assert(ioctl(b, VMM_IOC_INFO, (void *)8) == -1 && errno == EFAULT);
	assert(ioctl(b, TIOCGPGRP, &n) == -1 && errno == ENOTTY);
	a = open("/dev/null", O_RDWR);
	assert(ioctl(a, VMM_IOC_INFO, &vip) == -1 && errno == ENOTTY);
	assert(open("/dev/vmm/x", O_RDWR) == -1);
	assert(open("/dev/vmmx", O_RDWR) == -1 && errno == ENOENT);
	assert(open("/dev/null/x", O_RDWR | O_CREAT, 0600) == -1 &&
	    errno == ENOTDIR);
	return (0);
}
END
"$cc" -Iinclude -o "$work/fds" "$work/fds.c" >"$work/log" 2>&1
ok $? "a program for descriptors compiles" "$work/log"
LD_PRELOAD=$preload within 60 "$work/fds" >"$work/log" 2>&1
ok $? "descriptors are real ones" "$work/log"

# Everybody else.
cat >"$work/other" <<'END'
umask 0
echo x >"$1/mode" && cat "$1/mode" && stat -c %a "$1/mode"
END
is "$(LD_PRELOAD=$preload within 60 sh "$work/other" "$work")" "x
666" "other programs do not notice"

done_testing
