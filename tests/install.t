#!/usr/bin/env bash
# make install: a client builds against what it installs by pkg-config, static
# and shared, and runs; make uninstall removes all of it.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

: "${CC:=cc}"

# The build that is under test, with its own sanitizers or none.
san=
case $VMM_BUILD in
*/san-*)
	san=${VMM_BUILD##*/san-}
	san=${san//-/,}
	;;
esac
# The jobs of a make that runs this test are not ours.
unset MAKEFLAGS MFLAGS MAKELEVEL
make_target() {
	make -s -C "$top" SAN="$san" "$@" >"$work/log" 2>&1
}

dest=$work/dest
prefix=/opt/vmm
make_target install DESTDIR="$dest" PREFIX="$prefix"
ok $? "make install with DESTDIR and PREFIX" "$work/log"
installed=$(cd "$dest$prefix" && find . ! -type d | LC_ALL=C sort)
is "$installed" "./bin/vmctl
./bin/vmd
./include/machine/vmmvar.h
./include/vmm.h
./lib/libvmm-preload.so
./lib/libvmm.a
./lib/libvmm.so
./lib/libvmm.so.0
./lib/pkgconfig/vmm.pc
./lib/systemd/system/vmd.service
./lib/systemd/user/vmd.service
./share/bash-completion/completions/vmctl
./share/doc/vmm/vm.conf
./share/man/man4/vmm.4
./share/man/man5/vm.conf.5
./share/man/man8/vmctl.8
./share/man/man8/vmd.8" "it installs what it should"
is "$(find "$dest" ! -type d | grep -vc "^$dest$prefix/")" 0 \
    "and nothing outside PREFIX"
"$dest$prefix/bin/vmctl" --version >/dev/null
ok $? "the installed vmctl runs"
"$dest$prefix/bin/vmd" -n -f "$dest$prefix/share/doc/vmm/vm.conf" \
    >"$work/log" 2>&1
ok $? "vmd takes the example" "$work/log"
is "$(grep -h ^Exec "$dest$prefix"/lib/systemd/*/vmd.service | grep -c \
    -e "=$prefix/bin/vmd -d\$" -e "=$prefix/bin/vmd -n\$")" 4 \
    "units start the vmd that is installed"
if command -v systemd-analyze >/dev/null; then
	# what it would execute is not at its place, and no manager is asked
	sed "s,$prefix/bin,$dest$prefix/bin," \
	    "$dest$prefix/lib/systemd/system/vmd.service" \
	    >"$work/vmd.service"
	systemd-analyze verify --man=no "$work/vmd.service" >"$work/log" 2>&1
	ok $? "the unit is one" "$work/log"
else
	skip "the unit is one" "no systemd-analyze here"
fi

# --- a client ------------------------------------------------------------------
cat >"$work/client.c" <<'END'
#include <vmm.h>
#include <stdio.h>
/* A name that the library uses inside: a client's own is not in the way. */
void log_warn(void);
void log_warn(void) { puts("mine"); }
int
main(void)
{
	struct vm_info_params vip = { 0 };
	int fd = vmm_open();

	if (fd == -1 || vmm_ioctl(fd, VMM_IOC_INFO, &vip) == -1)
		return (1);
	log_warn();
	return (vmm_close(fd) == -1);
}
END
export PKG_CONFIG_PATH=$dest$prefix/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$dest
flags=(-Wall -Wextra -Werror)
[ -z "$san" ] || flags+=("-fsanitize=$san")
read -ra shared < <(pkg-config --cflags --libs vmm)
read -ra static < <(pkg-config --static --cflags --libs vmm)
"$CC" "${flags[@]}" -o "$work/shared" "$work/client.c" "${shared[@]}" \
    >"$work/log" 2>&1
ok $? "a client links with libvmm.so" "$work/log"
readelf -d "$work/shared" | grep -q 'NEEDED.*libvmm.so.0'
ok $? "by its soname"
is "$(LD_LIBRARY_PATH=$dest$prefix/lib "$work/shared")" mine "and runs"
"$CC" "${flags[@]}" -o "$work/static" "$work/client.c" \
    "${static[@]/#-lvmm/-l:libvmm.a}" >"$work/log" 2>&1
ok $? "a client links with libvmm.a" "$work/log"
is "$("$work/static")" mine "and runs"
if [ -z "$san" ]; then
	is "$(nm -D --defined-only "$dest$prefix/lib/libvmm.so" |
	    awk '$2 != "A" { print $3 }' | LC_ALL=C sort | xargs)" \
	    "vmm_close vmm_ioctl vmm_open" \
	    "libvmm.so exports its three functions alone"
	is "$(nm -g --defined-only "$dest$prefix/lib/libvmm.a" 2>/dev/null |
	    awk 'NF == 3 { print $3 }' | LC_ALL=C sort | xargs)" \
	    "vmm_close vmm_ioctl vmm_open" "and so does libvmm.a"
else
	skip "exported names" "sanitizers add theirs"
fi

# --- uninstall -------------------------------------------------------------------
make_target uninstall DESTDIR="$dest" PREFIX="$prefix"
ok $? "make uninstall"
is "$(find "$dest" ! -type d)" "" "nothing is left"
done_testing
