# For tests of vmd with Linux guests: who runs it, what it says, consoles.
# Sourced after tap.sh; goes to $work, which has the programs and the guest.
# shellcheck shell=bash

linux_guest
# Leaks are looked for by a process that traces the one that ends; those of VMs
# and switches, which have given up their rights, cannot have one.
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0
# What another user can reach, too.
chmod 755 "$work"
cp "$VMM_BUILD/bin/vmd" "$VMM_BUILD/bin/vmctl" "$VMM_GUEST/vmlinuz" \
    "$VMM_GUEST/initrd.img" "$work/"

declare -A inputs=()	# descriptors of consoles
as=()			# how to become who we are in this round
readers=()		# of consoles

# guard PID FOLDER: a test that is killed cleans up nothing, and vmd and its VMs
# go on. This waits for its end, whichever, and ends what has a VMD_DIR in there.
guard() {
	local p
	while kill -0 "$1"; do
		sleep 1
	done
	for p in /proc/[0-9]*; do
		tr '\0' '\n' <"$p/environ" | grep -q "^VMD_DIR=$2/" &&
		    kill -9 "${p#/proc/}"
	done
	rm -rf "$2"
}
export -f guard
setsid "$BASH" -c 'guard "$@"' guard "$$" "$work" </dev/null >/dev/null 2>&1 &
disown
export -nf guard

vmctl() {
	"${as[@]}" timeout $((60 * VMM_TEST_SLOW)) "$work/vmctl" "$@"
}

# Processes that have our VMD_DIR: vmd and what it has started.
processes() {
	local p n=0
	for p in /proc/[0-9]*; do
		tr '\0' '\n' 2>/dev/null <"$p/environ" |
		    grep -qx "VMD_DIR=$VMD_DIR" 2>/dev/null || continue
		case $(tr '\0' ' ' <"$p/cmdline") in
		vmd*|*/vmd*)	n=$((n + 1)) ;;
		esac
	done 2>/dev/null
	echo "$n"
}

# The daemon's process.
vmd_pid() {
	local p
	for p in /proc/[0-9]*; do
		tr '\0' '\n' 2>/dev/null <"$p/environ" |
		    grep -qx "VMD_DIR=$VMD_DIR" 2>/dev/null || continue
		case $(tr '\0' ' ' <"$p/cmdline") in
		*/vmd\ -v\ *)	echo "${p#/proc/}" ;;
		esac
	done 2>/dev/null
}

# state NAME: as the table says; json NAME MEMBER: the first member of that
# name, as JSON says.
state() {
	vmctl status "$1" | awk -v n="$1" '$NF == n { print $(NF - 1) }'
}

json() {
	vmctl status -j "$1" | sed 's/[{,]/\n/g' | tr -d ' \t"' |
	    sed -n "s/^$2://p" | head -n 1
}

has_state() {
	[ "$(state "$1")" = "$2" ]
}

# attach NAME: a reader of its console, into NAME.out; say NAME TEXT: a line to
# it; saw NAME TEXT: was it seen?
attach() {
	local fd
	rm -f "$1.in" "$1.out"
	mkfifo "$1.in"
	chmod 666 "$1.in"
	"${as[@]}" "$work/vmctl" console "$1" <"$1.in" >"$1.out" 2>&1 &
	children+=("$!")
	readers+=("$!")
	exec {fd}>"$1.in"
	inputs[$1]=$fd
}

say() {
	printf '%s\r' "$2" >&"${inputs[$1]}"
}

saw() {
	tr -d '\r' <"$1.out" 2>/dev/null | grep -q -- "$2"
}

# guest NAME COMMAND TEXT TEST: the command's output has the text.
guest() {
	say "$1" "$2; echo =\$((6*7))="
	eventually saw "$1" "=42="
	saw "$1" "$3"
	ok $? "$4" "$1.out"
	: >"$1.out"
}

# Nobody reads consoles any more.
leave() {
	local pid fd
	for fd in "${inputs[@]}"; do
		exec {fd}>&-
	done
	inputs=()
	for pid in "${readers[@]}"; do
		end "$pid"
	done
	readers=()
}

is_left() {
	[ "$(processes)" = "$1" ]
}
