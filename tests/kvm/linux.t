#!/usr/bin/env bash
# Debian's kernel on KVM: the tour (disk, network, clock), the shell, reboot,
# power-off, panic, and a monitor that is killed.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=lib/bed.sh
. "$(dirname "$0")/../lib/bed.sh"

PATH=$PATH:/usr/sbin:/sbin
bed_programs+=(mke2fs e2fsck debugfs)
enter_bed -t 300 -m 640 -f "$VMM_GUEST/vmlinuz" -f "$VMM_GUEST/initrd.img"
with_engine
cd "$work" || exit 1
linux=(run -m 192M -b "$VMM_GUEST/vmlinuz" --initrd "$VMM_GUEST/initrd.img")
console="console=ttyS0 quiet"
limit=300

# --- disk, network, clock ------------------------------------------------------
mkdir www
head -c 262144 /dev/urandom >www/data
sum=$(sha256sum <www/data | cut -d ' ' -f 1)
httpd -p 127.0.0.1:8000 -h "$work/www"
truncate -s 32M disk.img
mke2fs -q -F -t ext4 disk.img
run "${linux[@]}" -d disk.img --append "$console \
vmm.tour=http://10.0.2.2:8000/data,$sum"
is "$status" 0 "the tour powers off with status 0"
like "$out" 'TOUR OK' "the tour passes"
e2fsck -fn disk.img >fsck 2>&1
ok $? "the file system is clean" fsck

# --- a shell, reboot, power-off -----------------------------------------------
# said TEXT N: TEXT stands in the guest's output N times.
said() {
	[ "$(tr -d '\r' <start.out | grep -cF -- "$1")" -ge "$2" ]
}
# wait_for TEXT [N]: until it is said, or vmctl ends.
wait_for() {
	until said "$1" "${2-1}"; do
		kill -0 "$pid" 2>/dev/null || return 1
		sleep 0.2
	done
}
mkfifo keys
"$vmctl" "${linux[@]}" --net none --timeout 240 --append "$console" \
    <keys >start.out 2>&1 &
pid=$!
children+=("$pid")
exec 3>keys
wait_for 'guest:~# '
ok $? "a shell"
# shellcheck disable=SC2016 # for the guest
echo 'echo $((6 * 7)) on $(tty)' >&3
wait_for '42 on /dev/ttyS0'
ok $? "does what it is told" start.out
echo 'reboot' >&3
wait_for 'guest:~# ' 3 || wait_for 'on vmm. Disk' 2
ok $? "reboots into a shell" start.out
echo 'poweroff' >&3
wait "$pid"
is $? 0 "and powers off with status 0"
exec 3>&-
run "${linux[@]}" --net none --no-reboot --append "$console panic=-1 \
vmm.run=echo,1>/proc/sys/kernel/sysrq;echo,c>/proc/sysrq-trigger"
is "$status" 0 "--no-reboot ends at the first reboot, of a panic"

# --- killed ----------------------------------------------------------------------
start "${linux[@]}" --net none --append "$console"
wait_for 'guest:~# '
ok $? "a guest runs"
end "$pid"
is "$("$vmctl" list 2>/dev/null | tail -n +2)" "" "a VM dies with its monitor"
[ "$engine" != kvm ] || is "$(cat /sys/module/kvm_amd/refcnt)" 0 \
    "and KVM holds nothing of it"
run "${linux[@]}" --net none --append "$console vmm.run=echo,again"
is "$status" 0 "and the next one runs"
done_testing
