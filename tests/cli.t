#!/usr/bin/env bash
# The command line of vmctl: help, and each kind of bad input. A refusal is one
# line on standard error, status 1, and leaves nothing behind.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

# --- help --------------------------------------------------------------------
run --help
is "$status" 0 "--help: status 0"
like "$out" 'usage: vmctl .*run.*status.*stop.*wait' "--help lists the commands"
is "$err" "" "--help says nothing on standard error"
run -h
is "$status" 0 "-h: status 0"
for command in run info status stop wait; do
	run "$command" --help
	is "$status" 0 "$command --help: status 0"
	like "$out" "usage: vmctl $command" "$command --help shows its usage"
done
run run --help
for option in -b --initrd --append -m -d --net --engine --timeout \
    --no-reboot --exit-port; do
	grep -q -- "^$option" <<<"$out"
	ok $? "run --help tells of $option"
done
run --version
is "$status" 0 "--version: status 0"
like "$out" '^vmctl [0-9]+\.[0-9]+' "--version prints the version"
if [ -e /dev/full ]; then
	"$vmctl" --help >/dev/full 2>"$work/err"
	is $? 1 "help that cannot be written: status 1"
	is "$(wc -l <"$work/err")" 1 "and one line"
fi

# --- usage errors --------------------------------------------------------------
refused "no command" 'no command.*--help'
refused "an unknown command" 'xyzzy.*--help' xyzzy
refused "an ambiguous prefix" 'ambiguous' st
refused "an unknown global option" '--foo' --foo run
refused "an unknown option" '--foo' run --foo
refused "an unknown letter" '-x' run -x
refused "an option without its value" '-b needs a value' run -b
refused "a value for an option that has none" '--no-reboot=1 takes no value' \
    run --no-reboot=1
refused "nothing to boot" 'nothing to boot.*-d.*-b' run
refused "two names" 'one word too many' run -b "$guest_elf" one two
refused "a control character stays in the line" 'a\?b' run -b "$guest_elf" \
    $'a\nb'
run st foo
is "$status" 1 "a command that is ambiguous is not guessed"
run stat
is "$status" 0 "a unique prefix is enough"

# --- values ----------------------------------------------------------------------
k=(-b "$guest_elf")
refused "-m 0" '-m: .*512M' run "${k[@]}" -m 0
refused "-m without suffix" '-m: .*512M' run "${k[@]}" -m 512
refused "-m with a bad suffix" '-m: .*no size' run "${k[@]}" -m 5X
refused "-m with more than a suffix" '-m: .*no size' run "${k[@]}" -m 5Mi
refused "-m negative" '-m: .*no size' run "${k[@]}" -m -5M
refused "-m empty" '-m: .*no size' run "${k[@]}" -m ""
refused "-m in fractions of a MiB" '-m: .*whole megabytes; use 2M' \
    run "${k[@]}" -m 1500K
refused "-m that overflows" '-m: .*too large' run "${k[@]}" -m 99999999999999T
refused "-m beyond the maximum" '-m: .*32768M' run "${k[@]}" -m 1T
total=$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)
swap=$(awk '/^SwapTotal/ { print int($2 / 1024) }' /proc/meminfo)
if [ $((total + swap)) -lt 32768 ]; then
	refused "-m beyond the host" '-m: .*host has only [0-9]+M' \
	    run "${k[@]}" -m $((total + swap))M
else
	skip "-m beyond the host" "the host has more than a guest may have"
fi
for net in foo "user," user,foo=1 user,hostfwd= user,hostfwd=tcp:1 \
    user,hostfwd=tcp::0-22 user,hostfwd=tcp::22-65536 \
    user,hostfwd=sctp::2222-22 user,mac=1 user,mac=01:00:00:00:00:01 \
    'user,mac=fe:+1:bb:d1:23:45' user=a \
    user,bridge=br0 user,locked switch switch= switch=a/b switch=12 \
    switch=a,bridge=b switch=a,hostfwd=tcp::22-22 tap,bridge tap,bridge= \
    tap,bridge=a,bridge=b tap,mac=1 tap,locked=1 tap,hostfwd=tcp::22-22 \
    user,mtu user,mtu=1279 switch=a,mtu=9001 tap,mtu=1500x; do
	refused "--net $net" '--net: ' run "${k[@]}" --net "$net"
done
refused "five interfaces" 'more than 4' run "${k[@]}" --net user --net user \
    --net user --net user --net user
refused "five disks" 'more than 4' run "${k[@]}" -d a -d b -d c -d d -d e
for seconds in 0 -1 x 1s '' 99999999999999999999; do
	refused "--timeout \"$seconds\"" '--timeout: ' \
	    run "${k[@]}" --timeout "$seconds"
done
for port in -1 65536 x ''; do
	refused "--exit-port \"$port\"" '--exit-port: ' \
	    run "${k[@]}" --exit-port "$port"
done
refused "an unknown engine" 'warp' run "${k[@]}" --engine warp
for name in .x -- 12 'a b' a/b "$(printf 'x%.0s' {1..64})"; do
	refused "the name \"$name\"" '' run "${k[@]}" -- "$name"
done

# --- kernels -----------------------------------------------------------------------
cd "$work" || exit 1
refused "a kernel that is not there" 'nokernel: No such file' run -b nokernel
refused "a directory as the kernel" 'directory' run -b "$work"
: >empty
refused "an empty kernel" 'empty' run -b empty
head -c 4096 /dev/urandom | tr -d '\177\037\002' >noise
refused "noise as the kernel" 'noise' run -b noise
if [ -e "$VMM_GUEST/vmlinuz" ]; then
	head -c 100000 "$VMM_GUEST/vmlinuz" >cut.bz
	refused "a truncated bzImage" 'cut.bz' run -b cut.bz
	head -c 600 "$VMM_GUEST/vmlinuz" >cut2.bz
	refused "a bzImage cut in its header" 'cut2.bz' run -b cut2.bz
	truncate -s 100M big
	refused "an initrd larger than memory" 'big.*-m|-m.*big' \
	    run -b "$VMM_GUEST/vmlinuz" --initrd big -m 96M
	refused "memory too small for the kernel" \
	    'vmlinuz needs a machine with [0-9]+ MiB' \
	    run -b "$VMM_GUEST/vmlinuz" -m 48M
	refused "an initrd that is not there" 'noinitrd: No such file' \
	    run -b "$VMM_GUEST/vmlinuz" --initrd noinitrd
	mkfifo fifo
	limit=10 refused "a pipe as the initrd" 'fifo' \
	    run -b "$VMM_GUEST/vmlinuz" --initrd fifo
	limit=10 refused "a pipe as the kernel" 'fifo' run -b fifo
else
	skip "bzImage" "no guest: run make guest"
fi
head -c 200 "$guest_elf" >cutelf
refused "a truncated ELF file" 'cutelf' run -b cutelf
# The load address, p_paddr of the first program header, moved out of memory.
cp "$guest_elf" far
printf '\377\377\377\177' | dd of=far bs=1 seek=$((52 + 12)) conv=notrunc \
    2>/dev/null
refused "an ELF file with a segment outside memory" 'far' run -b far -m 64M
cp "$guest_elf" huge
printf '\377\377\377\377' | dd of=huge bs=1 seek=$((52 + 20)) conv=notrunc \
    2>/dev/null
refused "an ELF segment larger than memory" 'huge' run -b huge -m 64M
refused "a module that is not there" 'nomodule: No such file' \
    run -b "$guest_elf" --initrd nomodule,words
truncate -s 100M bigmodule
refused "a module larger than memory" 'bigmodule' \
    run -b "$guest_elf" --initrd bigmodule -m 64M

# --- disks -----------------------------------------------------------------------
refused "a disk that is not there" 'nodisk.*(not exist|No such)' \
    run -b "$guest_elf" -d nodisk
refused "a directory as a disk" 'directory' run -b "$guest_elf" -d "$work"
: >none.img
refused "an empty disk" 'none.img' run -b "$guest_elf" -d none.img
head -c 1000 /dev/zero >odd.img
refused "a disk of odd size" 'odd.img.*512' run -b "$guest_elf" -d odd.img
truncate -s 1M disk.img
refused "the same disk twice" 'disk.img.*use' \
    run -b "$guest_elf" -d disk.img -d disk.img
start run -b "$guest_elf" -d disk.img --net none --append spin "t$$-lock"
# shellcheck disable=SC2317,SC2329 # called by eventually
is_listed() {
	"$vmctl" status | grep -q " $1\$"
}
eventually is_listed "t$$-lock"
ok $? "a machine with the disk runs"
refused "a disk that another VM has" 'disk.img.*use' \
    run -b "$guest_elf" -d disk.img
refused "a name that another VM has" "t$$-lock" \
    run -b "$guest_elf" "t$$-lock"
end "$pid"
if [ "$(id -u)" = 0 ]; then
	chmod 755 "$work"
	install -m 755 "$vmctl" "$work/vmctl"
	install -m 644 "$guest_elf" "$work/guest.elf"
	chmod 444 disk.img
	vmctl=$work/nobody
	cat >"$vmctl" <<-END
		#!/bin/sh
		exec setpriv --reuid=65534 --regid=65534 --clear-groups \
		    env -i VMM_ENGINE=soft $work/vmctl "\$@"
	END
	chmod 755 "$vmctl"
	refused "a read-only disk" 'disk.img' run -b guest.elf -d disk.img
	chmod 000 guest.elf
	refused "a kernel that may not be read" 'guest.elf: Permission' \
	    run -b guest.elf
	vmctl=$VMM_BUILD/bin/vmctl
else
	chmod 444 disk.img
	refused "a read-only disk" 'disk.img' run -b "$guest_elf" -d disk.img
	cp "$guest_elf" secret && chmod 000 secret
	refused "a kernel that may not be read" 'secret: Permission' \
	    run -b secret
fi

# --- network ---------------------------------------------------------------------
python3 -u -c '
import socket, time
s = socket.socket()
s.bind(("127.0.0.1", 0))
s.listen()
print(s.getsockname()[1])
time.sleep(60)' >port &
children+=($!)
eventually test -s port
port=$(cat port)
refused "a host port that is in use" "$port" \
    run -b "$guest_elf" --net "user,hostfwd=tcp:127.0.0.1:$port-22"
refused "a host address that is not ours" '192.0.2.1' \
    run -b "$guest_elf" --net "user,hostfwd=tcp:192.0.2.1:2222-22"

# --- VMs -------------------------------------------------------------------------
refused "stop of a VM that is not there" "t$$-none" stop "t$$-none" -w
refused "stop of nothing" 'name one VM' stop -f
refused "stop -f of a VM that is not there" "t$$-none" stop -f "t$$-none"
refused "wait for nothing" 'name one VM' wait
refused "wait for a VM that is not there" "t$$-none" wait "t$$-none"
refused "wait for an id that is not there" '4000000000' wait 4000000000
run status "t$$-none"
is "$status" 0 "status of a VM that is not there: status 0"
is "$(wc -l <"$work/out")" 1 "and just the header"

# --- engines -----------------------------------------------------------------------
run info
is "$status $err" "0 " "info: status 0"
like "$out" $'\nsoft +works' "info: the software engine works"
# Where KVM works there is nothing to tell.
if grep -q '^kvm *works' <<<"$out"; then
	skip "auto says which engine it takes and why" "KVM works here"
	skip "and not with -q" "KVM works here"
	skip "kvm where it does not work" "KVM works here"
else
	boot=(run -b "$guest_elf" --net none --append print=x)
	VMM_ENGINE='' run "${boot[@]}"
	like "$status $out $err" "^0 x vmctl: engine soft in place of kvm: ." \
	    "auto says which engine it takes and why"
	VMM_ENGINE='' run "${boot[@]}" -q
	is "$status $out $err" "0 x " "and not with -q"
	refused "kvm where it does not work" '"kvm" does not work here: .' \
	    "${boot[@]}" --engine kvm
fi
refused "info of something" 'one word too many' info kvm

# --- nothing is left -------------------------------------------------------------
run status
grep -q "t$$-" <<<"$out"
is $? 1 "no VM of ours is left"
done_testing
