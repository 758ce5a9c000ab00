#!/usr/bin/env bash
# vmctl run, status, stop and wait with a small multiboot guest: how runs end,
# with which status, what the others see of them, and what is left of them.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

cd "$work" || exit 1
id=t$$
boot=(run -b "$guest_elf" -m 16M --net none)

# shellcheck disable=SC2317,SC2329 # called by eventually
is_listed() {
	"$vmctl" status | grep -q " $1\$"
}

# shellcheck disable=SC2317,SC2329
is_not_listed() {
	! is_listed "$1"
}

# shellcheck disable=SC2317,SC2329
is_paused() {
	"$vmctl" status "$1" | grep -q ' paused '
}

# --- how a run ends --------------------------------------------------------------
run "${boot[@]}" --append "print=hello"
is "$status" 0 "a guest that halts for ever has powered off: status 0"
is "$out" hello "what it prints comes out"
is "$err" "" "and nothing else"
run "${boot[@]}" --append "print=on triple" --no-reboot
is "$status" 3 "a triple fault with --no-reboot: status 3"
is "$out" on "its output is complete"
is "$(wc -l <err)" 1 "and one line says so"
is "$(grep -c 'crashed: triple fault at 10:[0-9a-f]*, rsp' err)" 1 \
    "and where"
for value in 0 1 42 127; do
	run "${boot[@]}" --exit-port 0x501 --append "print=x exit=$value"
	is "$status" $((value << 1 | 1)) "--exit-port with $value"
	is "$out" x "its output is complete"
done
run "${boot[@]}" --append "exit=7"
is "$status" 0 "without --exit-port the port is none"
run "${boot[@]}" --append spin --timeout 1
is "$status" 124 "--timeout: status 124"
is "$(wc -l <err)" 1 "and one line says so"
for how in i8042 92 cf9; do
	run "${boot[@]}" --append "print=boot once reset=$how"
	is "$status $out" "0 boot"$'\n'"boot" "a reset by $how boots again"
	run "${boot[@]}" --append "print=boot reset=$how" --no-reboot
	is "$status $out" "0 boot" "a reset by $how ends it with --no-reboot"
done
run "${boot[@]}" --append "print=boot once triple"
is "$status $out" "0 boot"$'\n'"boot" "a triple fault is a reset"

for signal in HUP:129 INT:130 QUIT:131 TERM:143; do
	set -m		# or the shell has SIGINT ignored
	start "${boot[@]}" --append spin "$id-signal"
	set +m
	eventually is_listed "$id-signal"
	kill "-${signal%:*}" "$pid"
	finish "$pid"
	is $? "${signal#*:}" "SIG${signal%:*}: status ${signal#*:}"
	is_listed "$id-signal"
	is $? 1 "and the VM is gone"
done

# --- arguments --------------------------------------------------------------------
run run "$id-name" -b "$guest_elf" --append=print=x --net=none -m16M
is "$status $out" "0 x" "options may follow the name"
run "${boot[@]}" --append memory
like "$out" '^(15360|1[45][0-9]{3})$' "-m 16M is what the guest sees"
printf one >m1
printf two >m2
run "${boot[@]}" --append modules --initrd "m1,a b" --initrd m2
is "$status" 0 "modules: status 0"
like "$out" 'module [^:]*a b: one' "a module with arguments"
like "$out" 'module [^:]*: two' "a module without"
truncate -s 1M disk.img
run "${boot[@]}" -d disk.img --append print=x
is "$status $out" "0 x" "a disk"
run "${boot[@]}" --engine soft --append print=x
is "$status $out" "0 x" "--engine soft"
run run -b "$guest_elf" --append print=x --net user --net user
is "$status $out" "0 x" "two interfaces"

# --- standard input and output ---------------------------------------------------------
out=$(printf 'abq' | within 30 "$vmctl" "${boot[@]}" --append echo | tr -d '\r')
is "$out" abq "input from a pipe"
printf 'abq' >input
out=$(within 30 "$vmctl" "${boot[@]}" --append echo <input | tr -d '\r')
is "$out" abq "input from a file"
out=$(within 30 "$vmctl" "${boot[@]}" --append print=x <&- | tr -d '\r')
is "$out" x "a closed standard input"
within 30 "$vmctl" "${boot[@]}" --append print=x </dev/null >&- 2>&-
is $? 0 "closed standard output and error"
within 30 "$vmctl" "${boot[@]}" --append "print=x spin" </dev/null | head -n 1 \
    >/dev/null
is "${PIPESTATUS[0]}" 141 "a reader that goes away ends it, as SIGPIPE does"
within 30 "$vmctl" "${boot[@]}" --append "echo" --timeout 1 </dev/null \
    >/dev/null 2>&1
is $? 124 "the end of input does not end the guest"
yes abcdefgh | head -c 100000 >long
printf q >>long
out=$(within 60 "$vmctl" "${boot[@]}" --append echo <long | tr -d '\r' |
    sha256sum)
is "$out" "$(sha256sum <long)" "100 kB go in and come out unharmed"

# --- status, stop, wait ------------------------------------------------------------------
start "${boot[@]}" --append spin "$id-vm"
eventually is_listed "$id-vm"
ok $? "status lists a VM of another process"
run status
like "$out" '^ +ID +PID +VCPUS +MAXMEM +CURMEM +TTY +OWNER +STATE +NAME' \
    "status has its header"
run status "$id-vm"
like "$out" "[0-9]+ +$pid +1 +16M +[0-9.]+[KM] +- +$(id -un) +running +$id-vm" \
    "and shows what it should"
vm=$(awk -v name="$id-vm" '$NF == name { print $1 }' out)
kill -STOP "$pid"
eventually is_paused "$vm"		# its threads stop one by one
run status "$vm"
like "$out" " paused " "a stopped process is a paused VM"
! grep -Eq ' 0 +0B ' out
ok $? "and what it cannot tell is not made up"
kill -CONT "$pid"
refused "stop without -f" "stop -f $id-vm" stop "$id-vm"
"$vmctl" wait "$id-vm" &
waiter=$!
children+=("$waiter")
sleep 0.3
kill -0 "$waiter"
ok $? "wait waits"
run stop -f "$id-vm"
is "$status$err" 0 "stop -f ends it"
finish "$waiter"
is $? 0 "wait comes back"
finish "$pid"
is $? 143 "its run has status 143"
is "$(wc -l <start.err)" 1 "and one line says so"
is_not_listed "$id-vm"
ok $? "it is not listed any more"

start "${boot[@]}" --append spin "$id-vm"
eventually is_listed "$id-vm"
vm=$("$vmctl" status "$id-vm" | awk 'NR == 2 { print $1 }')
kill -STOP "$pid"
run stop -fw "$vm"
is "$status$err" 0 "stop -fw by id ends even a paused VM"
is_not_listed "$id-vm"
ok $? "and it is gone"

# --- kill -9 ---------------------------------------------------------------------------
mkdir home
HOME=$work/home TMPDIR=$work/home XDG_RUNTIME_DIR=$work/home \
    start "${boot[@]}" --append spin "$id-killed"
eventually is_listed "$id-killed"
vm=$("$vmctl" status "$id-killed" | awk 'NR == 2 { print $1 }')
# Files of ours that it has open, other than what every program has.
files=$(find "/proc/$pid/fd" -lname '/tmp/*' -o -lname '/run/*' \
    -o -lname '/var/*' -o -lname '/dev/shm/*' | while read -r fd; do
	readlink "$fd" | grep -v "^$work/start"
    done)
end "$pid"
is_not_listed "$id-killed"
ok $? "kill -9 leaves no entry"
grep -q "@vmm/$vm\$" /proc/net/unix
is $? 1 "and no socket"
is "$files$(ls home)" "" "and no file"

# --- nobody, in an empty environment -----------------------------------------------------
if [ "$(id -u)" = 0 ]; then
	chmod 755 "$work"
	install -m 755 "$vmctl" "$work/vmctl"
	install -m 644 "$guest_elf" "$work/guest.elf"
	out=$(cd / && within 30 setpriv --reuid=65534 --regid=65534 \
	    --clear-groups env -i "$work/vmctl" run -b "$work/guest.elf" \
	    -q --append print=hello </dev/null 2>&1 | tr -d '\r')
	is "$out" hello "as nobody, in an empty environment"
	start "${boot[@]}" --append spin "$id-root"
	eventually is_listed "$id-root"
	setpriv --reuid=65534 --regid=65534 --clear-groups env -i \
	    "$work/vmctl" stop -f "$id-root" 2>/dev/null
	is $? 1 "nobody cannot stop root's VM"
	is_listed "$id-root"
	ok $? "which goes on"
	end "$pid"
else
	out=$(env -i "$vmctl" "${boot[@]}" --append print=hello </dev/null 2>&1 |
	    tr -d '\r')
	is "$out" hello "in an empty environment"
fi
done_testing
