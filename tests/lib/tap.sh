# What the shell tests share; sourced by bash. Each test ends with "done_testing".
# shellcheck shell=bash

# What started us may ignore signals (a job in the background, nohup), and
# children inherit that: begin again with the defaults.
[ -n "${VMM_TEST_SIGNALS-}" ] ||
    VMM_TEST_SIGNALS=default exec \
    env --default-signal=HUP,INT,QUIT,PIPE,TERM "$BASH" "$0" "$@"

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
: "${VMM_BUILD:=$top/build}" "${VMM_GUEST:=$top/build/guest}"
: "${VMM_TEST_SLOW:=1}"
# Which engine works depends on the host: the software's, unless told.
export VMM_ENGINE=${VMM_ENGINE-soft}
vmctl=$VMM_BUILD/bin/vmctl
# shellcheck disable=SC2034 # of the tests
guest_elf=$VMM_BUILD/tests/multiboot/guest.elf

for file in "$vmctl" "$guest_elf"; do
	[ -e "$file" ] || {
		echo "Bail out! no $file"
		exit 1
	}
done

# linux_guest: a test with Linux guests, which goes on in its own folder: there
# is their kernel, and what makes their disks is found.
linux_guest() {
	local file
	for file in vmlinuz initrd.img; do
		[ -s "$VMM_GUEST/$file" ] || {
			echo "Bail out! no $VMM_GUEST/$file: run make guest"
			exit 1
		}
	done
	PATH=$PATH:/usr/sbin:/sbin
	cd "$work" || exit 1
}

tests=0
failed=0
work=$(mktemp -d)
children=()

# Ends what this test started and removes what it made.
cleanup() {
	local pid
	for pid in "${children[@]}"; do
		end "$pid"
	done
	rm -rf "$work"
}
trap cleanup EXIT

# end PID: kills a child, and keeps the shell from telling of it.
end() {
	{ kill -9 "$1"; wait "$1"; } 2>/dev/null
}

# ok STATUS NAME [LOG]: a test that passes if STATUS is 0, else shows LOG.
ok() {
	tests=$((tests + 1))
	if [ "$1" = 0 ]; then
		echo "ok $tests - $2"
	else
		echo "not ok $tests - $2"
		failed=$((failed + 1))
		[ -z "${3-}" ] || diag "$(cat "$3")"
	fi
}

# is GOT WANT NAME
is() {
	[ "$1" = "$2" ]
	ok $? "$3"
	[ "$1" = "$2" ] || diag "got:  $1" "want: $2"
}

# like TEXT REGEX NAME
like() {
	[[ $1 =~ $2 ]]
	ok $? "$3"
	[[ $1 =~ $2 ]] || diag "got:  $1" "like: $2"
}

diag() {
	printf '%s\n' "$@" | sed 's/^/# /'
}

skip() {
	tests=$((tests + 1))
	echo "ok $tests - $1 # SKIP $2"
}

done_testing() {
	echo "1..$tests"
	[ "$failed" = 0 ]
	exit
}

# finish PID: the status of a child that ends by itself; what does not is killed.
finish() {
	eventually is_over "$1" || kill -9 "$1"
	wait "$1" 2>/dev/null
}

# shellcheck disable=SC2317,SC2329 # called by eventually
is_over() {
	! kill -0 "$1" 2>/dev/null
}

# within SECONDS COMMAND: with a time limit, longer where VMM_TEST_SLOW says so.
within() {
	timeout --kill-after=5 "$(($1 * VMM_TEST_SLOW))" "${@:2}"
}

# run ARGUMENTS: vmctl; leaves $status, $out and $err, and never hangs.
run() {
	within "${limit:-60}" "$vmctl" "$@" \
	    </dev/null >"$work/out" 2>"$work/err"
	status=$?
	out=$(tr -d '\r' <"$work/out")
	err=$(cat "$work/err")
}

# refused NAME REGEX ARGUMENTS: vmctl says one line like REGEX, status 1.
refused() {
	local name=$1 regex=$2 lines
	shift 2
	run "$@"
	lines=$(wc -l <"$work/err")
	if [ "$status" = 1 ] && [ "$lines" = 1 ] && [ -z "$out" ] &&
	    [[ $err =~ ^vmctl:\ .*$regex ]]; then
		ok 0 "$name"
	else
		ok 1 "$name"
		diag "status: $status, output: $out" "error:  $err" \
		    "like:   $regex"
	fi
}

# start ARGUMENTS: vmctl in the background; leaves its $pid.
start() {
	"$vmctl" "$@" </dev/null >"$work/start.out" 2>"$work/start.err" &
	pid=$!
	children+=("$pid")
}

# eventually COMMAND: waits until it succeeds; fails after 20 s or more.
eventually() {
	local i
	for ((i = 0; i < 200 * VMM_TEST_SLOW; i++)); do
		"$@" && return 0
		sleep 0.1
	done
	return 1
}
