#!/usr/bin/env bash
# Linux's own tests of the x86 interface (tools/selftests) in a guest and on the
# host: what passes on the host passes in the guest.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"

PATH=$PATH:/usr/sbin:/sbin
for step in guest selftests; do
	"$top/tools/$step" "$VMM_GUEST" >"$work/log" 2>&1 || {
		diag "$(tail -n 20 "$work/log")"
		echo "Bail out! tools/$step failed"
		exit 1
	}
done
cd "$work" || exit 1

# Tests that must pass in the guest whatever the host says.
declare -A not_on_host=(
	[mov_ss_trap]="a hypervisor below the host may make it loop there"
)

names=()
for file in "$VMM_GUEST"/selftests/*_32 "$VMM_GUEST"/selftests/*_64; do
	names+=("${file##*/}")
done

# host NAME: does it pass on the host, or cannot be asked there?
host() {
	case $1 in
	*vsyscall_32 | *vdso_restorer_32 | *syscall_vdso_32)
		[ -e /lib/ld-linux.so.2 ] || return 0 ;;
	esac
	timeout -s KILL 120 "$VMM_GUEST/selftests/$1" </dev/null >"$work/host" 2>&1
}

# What the guest said, by each half of the engine, every block translated at
# once by the second, and all that can be executed directly.
for engine in soft,interp soft,jit,hot=1 soft,direct; do
	# shellcheck disable=SC2034 # of run
	limit=1200
	run run -m 512M -b "$VMM_GUEST/vmlinuz" --engine "$engine" \
	    --initrd "$VMM_GUEST/selftests-initrd.img" --net none --append \
	    "console=ttyS0 quiet vmm.run=/selftests/run tests=*_32,*_64"
	is "$status" 0 "the guest ran ${#names[@]} tests, --engine $engine"

	for name in "${names[@]}"; do
		got=$(sed -n "s/^== $name //p" <<<"$out")
		reason=${not_on_host[${name%_*}]-}
		if [ "$got" = 0 ]; then
			ok 0 "$name"
		elif [ -z "$reason" ] && ! host "$name"; then
			skip "$name" "fails on the host too; guest: ${got:-no end}"
		else
			ok 1 "$name, --engine $engine"
			diag "status: ${got:-none}" "$(sed "/^== $name /,\$d" \
			    <<<"$out" | tac | sed '/^== /,$d' | tac |
			    tail -n 40)"
		fi
	done
done
done_testing
