#!/usr/bin/env bash
# Taps and bridges of the host, in a network of this test's own: guests reach
# each other and the host with frames of 1500 and 9000 bytes, what is locked
# stays locked, an ordinary user has what root gave him, and nothing is left
# after any end.
#
# The guests get their addresses from a DHCP server on the bridge, as from a
# house's.
[ -n "${TAP_TEST_INSIDE-}" ] || {
	for tool in ip unshare setpriv busybox; do
		PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null || {
			echo "1..0 # SKIP no $tool"
			exit 0
		}
	done
	why=$(PATH=$PATH:/usr/sbin:/sbin unshare -nm ip tuntap add tap0 \
	    mode tap 2>&1) || {
		echo "1..0 # SKIP this host lets nobody make taps: $why"
		exit 0
	}
	TAP_TEST_INSIDE=yes exec unshare -nm "$0" "$@"
}
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"
# shellcheck source=lib/vmd.sh
. "$(dirname "$0")/lib/vmd.sh"

nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set -all
    --no-new-privs env "HOME=$work")
bridge=192.168.77.1
export VMD_DIR=$work/run

# --- the host: a bridge with a DHCP server, taps that everybody can open ---------
mount -t tmpfs -o mode=755 tmpfs /dev/net
mknod -m 666 /dev/net/tun c 10 200
mkdir -p /etc/iproute2
mount -t tmpfs tmpfs /etc/iproute2
echo "77 guests" >/etc/iproute2/group
ip link set lo up
ip link add br0 type bridge
ip link set br0 mtu 9000
ip addr add "$bridge/24" dev br0
ip link add dummy0 type dummy 2>/dev/null || ip link add dummy0 type veth
cat >udhcpd.conf <<END
start 192.168.77.10
end 192.168.77.99
interface br0
lease_file $work/leases
pidfile $work/udhcpd.pid
option subnet 255.255.255.0
option router $bridge
END
: >leases
busybox udhcpd -a 10 -f udhcpd.conf >udhcpd.log 2>&1 &
children+=("$!")

# taps: the host's taps, a line.
taps() {
	ip -o link show | sed -n 's/^[0-9]*: \(tap[0-9]*\):.*/\1/p' |
	    sort | xargs
}

# shellcheck disable=SC2317,SC2329 # called by eventually
taps_are() {
	[ "$(taps)" = "$1" ]
}

# members: of the bridge.
members() {
	ip -o link show master br0 | sed -n 's/^[0-9]*: \([a-z0-9]*\):.*/\1/p' |
	    sort | xargs
}

cat >vm.conf <<END
socket owner 0:65534
switch "house" {
	interface br0
	group guests
}
switch "gone" { interface br9 }
switch "port" { interface dummy0 }
switch "own" { nat }
vm "one" {
	disable
	memory 128M
	boot "vmlinuz"
	initrd "initrd.img"
	append "console=ttyS0 quiet"
	interface { switch "house" }
	allow instance { memory, interface }
}
vm "two" {
	disable
	memory 128M
	boot "vmlinuz"
	initrd "initrd.img"
	append "console=ttyS0 quiet"
	interface tap7 {
		switch "house"
		locked lladdr fe:e1:bb:d1:00:02
	}
	interface tap8 {
		down
	}
}
vm "bad" instance "one" {
	disable
	interface { switch "gone" }
}
vm "port" instance "one" {
	disable
	interface { switch "port" }
}
vm "busy" instance "one" {
	disable
	interface tap7
}
vm "group" instance "one" {
	disable
	interface { switch "house", group nobodys }
}
END
timeout 30 "$work/vmd" -v -f vm.conf >log 2>&1
ok $? "vmd starts" log

# --- two guests on a bridge ------------------------------------------------------------
ip link set br0 down
vmctl start one 2>log && vmctl start two 2>log
ok $? "VMs on a bridge start" log
is "$(taps)" "tap0 tap7 tap8" "each has its taps"
is "$(members)" "tap0 tap7" "which join the bridge"
is "$(ip -o link show group guests | grep -c 'tap[07]')" 2 "in their group"
is "$(ip -o link show up | grep -co 'tap[078]\|br0:')" 3 \
    "and are up with it, but for one"
like "$(ip link show tap0)" "mtu 9000" "with its MTU"
like "$(ip link show tap7)" "alias vm2-if0-two" "they say whose they are"
is "$(json one tap)" tap0 "so does status"
is "$(json one bridge)" br0 "and where they are"
attach one
attach two
eventually saw one '^guest:' && eventually saw two '^guest:'
ok $? "both boot to a shell" one.out
: >one.out
: >two.out
guest two "ip -4 -o addr show eth0" "192.168.77." \
    "addresses come from the host's DHCP server"
say one "ip -4 -o addr show eth0 | awk '{ print \"at=\" \$4 \"=\" }'"
eventually saw one "at=192.168.77"
one=$(tr -d '\r' <one.out | sed -n 's/^at=\([0-9.]*\).*/\1/p' | head -n 1)
: >one.out
guest one "ping -c 1 -q $bridge" " 0% packet loss" "a guest reaches the host"
busybox ping -c 1 -q "$one" >log 2>&1
ok $? "the host reaches a guest" log
guest two "ping -c 1 -q $one" " 0% packet loss" "guests reach each other"

# fragments: what IP has cut or put together here and in both guests.
cut="awk '/^Ip: [0-9]/ { print \"cut=\" \$15 + \$20 \"=\" }' /proc/net/snmp"
guest one "cat /sys/class/net/eth0/mtu" "^9000" "guests know of 9000 bytes"
guest two "ip link set eth0 mtu 1500; ping -c 1 -q -s 8900 $one; $cut" \
    "cut=[1-9]" "a large packet is cut at 1500 bytes"
guest two "ip link set eth0 mtu 9000; ping -c 1 -q -s 8900 $one" \
    " 0% packet loss" "and passes with 9000"
for name in one two; do
	say $name "$cut"
	eventually saw $name "cut=[0-9]"
done
before=$(cat one.out two.out | grep -ao "cut=[0-9]*" | xargs)
guest two "ping -c 1 -q -s 8900 $one" " 0% packet loss" \
    "guests reach each other with 9000 bytes"
guest two "ping -c 1 -q -s 8900 $bridge" " 0% packet loss" "and the host"
: >one.out
for name in one two; do
	say $name "$cut"
	eventually saw $name "cut=[0-9]"
done
is "$(cat one.out two.out | grep -ao "cut=[0-9]*" | xargs)" "$before" \
    "in frames of that size"
: >one.out
: >two.out
guest one "head -c 3000000 /dev/zero >/tmp/page; httpd -p 80 -h /tmp; echo up" \
    up "a server"
guest two "wget -q -O - http://$one/page | wc -c" 3000000 \
    "much goes through, too"
is "$(within 20 busybox wget -q -O - "http://$one/page" | wc -c)" 3000000 \
    "to the host as well"

# --- locked ------------------------------------------------------------------------------
guest two "ip link set eth0 down; ip link set eth0 address 02:00:00:00:00:09;\
 ip link set eth0 up; ping -c 1 -W 2 -q $bridge" "100% packet loss" \
    "a locked one is not heard from another address"
guest one "ip link set eth0 down; ip link set eth0 address 02:00:00:00:00:08;\
 ip link set eth0 up; sleep 1; ping -c 1 -W 2 -q $bridge" " 0% packet loss" \
    "one that is not is"

# --- a reboot, with frames that wait meanwhile -----------------------------------------
say one reboot
for ((i = 0; i < 2000; i++)); do
	echo >"/dev/udp/$one/9"
done 2>/dev/null
eventually saw one "Network: 192.168.77."
ok $? "the interface is there after a reboot" one.out
eventually saw one '^guest:'
: >one.out
guest one "ping -c 1 -q $bridge" " 0% packet loss" "and reaches the host"

# --- what cannot be ---------------------------------------------------------------------
cannot() {
	vmctl start "$1" >log 2>&1
	like "$(cat log)" "$2" "$3"
	is "$(wc -l <log)" 1 "$3: in one line"
}
cannot bad 'no bridge br9.*ip link add br9 type bridge' "there is no bridge"
cannot port 'dummy0 is no bridge' "no bridge"
cannot busy 'tap7 is in use' "another's tap"
cannot group 'group nobodys.*/etc/iproute2/group' "no group"
is "$(taps)" "tap0 tap7 tap8" "and none is left of them"
as=("${nobody[@]}")
for net in tap tap=tap7 tap,bridge=br0; do
	vmctl start -t one -m 128M --net $net mine >log 2>&1
	like "$(cat log)" 'only root names taps' "users do not name $net"
done
vmctl start -t one -m 128M mine 2>log
ok $? "but have what a template's switch gives" log
is "$(json mine bridge)" br0 "a tap on its bridge"
is "$(ps -o user= -p "$(json mine pid)" | xargs)" nobody \
    "in a process of the user's"
vmctl stop -f -w mine 2>log
ok $? "the user stops it" log
as=()
is "$(taps)" "tap0 tap7 tap8" "and the tap is gone as soon"

# --- every end -----------------------------------------------------------------------------
leave
kill -9 "$(json one pid)"
eventually taps_are "tap7 tap8"
ok $? "a VM that is killed leaves no tap"
kill -9 "$(vmd_pid)"
eventually is_left 1
ok $? "vmd is killed, and its switch ends"
is "$(taps)" "tap7 tap8" "the taps of a VM stay"
timeout 30 "$work/vmd" -v -f vm.conf >log 2>&1
ok $? "another vmd starts" log
is "$(json two tap)" tap7 "and knows them"

# --- vmctl run ---------------------------------------------------------------------------
linux=(run -q -b vmlinuz --initrd initrd.img -m 128M --append
    "console=ttyS0 quiet vmm.run=ping,-c,1,-q,$bridge;ip,link,set,eth1,up;\
udhcpc,-i,eth1,-q,-n,-s,/etc/udhcpc;ip,-4,-o,addr")
out=$(within 60 "$vmctl" "${linux[@]}" --net tap=tap3,bridge=br0 \
    --net switch=own 2>&1 </dev/null)
like "$out" " 0% packet loss.*eth0 .*192\.168\.77\." "vmctl run has a tap"
like "$out" "eth1 .*10\.0\.2\." "and is on a switch of vmd's"
is "$(taps)" "tap7 tap8" "the tap is gone with it"
refused "a switch that is not" 'no switch none' "${linux[@]}" \
    --net switch=none

# An ordinary user has taps that root made for him, if they are as he says.
ip tuntap add tap5 mode tap user 65534
ip tuntap add tap6 mode tap user 1
mine() {
	out=$("${nobody[@]}" timeout $((60 * VMM_TEST_SLOW)) "$work/vmctl" \
	    "${linux[@]}" "$@" 2>&1 </dev/null)
}
mine --net tap
like "$out" 'only root may make a tap.*ip tuntap add' "a user makes none"
mine --net tap=tap6
like "$out" "tap6 is another user's" "nor takes another's"
mine --net tap=tap9
like "$out" 'no tap tap9.*ip tuntap add tap9 mode tap user nobody' \
    "or one that is not"
mine --net tap=tap5,bridge=br0
like "$out" 'only root may.*ip link set tap5' "nor changes his own"
ip link set tap5 mtu 9000 master br0
ip link set tap5 up
mine --net tap=tap5,bridge=br0
like "$out" " 0% packet loss" "which he can use as it is"
is "$(taps)" "tap5 tap6 tap7 tap8" "and which stays"

kill "$(vmd_pid)"
eventually is_left 0
ok $? "vmd stops and ends"
is "$(taps)" "tap5 tap6" "nothing is left"
done_testing
