#!/usr/bin/env bash
# The tour of vmd: two Linux VMs from one template at one switch, each with its
# own overlay of one base image; as root, then as a user without privileges.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

# shellcheck source=lib/vmd.sh
. "$(dirname "$0")/lib/vmd.sh"

# tour WHO PORT: everything, as whoever "as" says.
tour() {
	local who=$1 port=$2 pid tty

	"${as[@]}" sh -c "
	truncate -s 32M base.img && mke2fs -q -F -t ext4 base.img &&
	./vmctl create -b base.img one.qcow2 &&
	./vmctl create -b base.img two.qcow2" >log 2>&1
	ok $? "$who: two overlays of one base" log
	cat >vm.conf <<END
top = "$PWD/"
switch "lan" { nat }
vm "template" {
	disable
	memory 128M
	boot \$top "vmlinuz"
	initrd \$top "initrd.img"
	append "console=ttyS0 quiet"
	interface { switch "lan" }
	allow instance { disk, memory }
}
vm "one" instance "template" {
	disk \$top "one.qcow2"
	interface { switch "lan" }
	interface {
		network user
		forward tcp $port to 8080
	}
}
vm "two" instance "template" {
	disk \$top "two.qcow2" format qcow2
}
END
	out=$("${as[@]}" "$work/vmd" -n -f vm.conf 2>&1)
	is "$out" "configuration OK" "$who: the configuration is right"
	"${as[@]}" timeout 30 "$work/vmd" -v -f vm.conf >log 2>&1
	ok $? "$who: vmd goes into the background" log
	eventually has_state one running && eventually has_state two running
	ok $? "$who: both run"
	is "$(state template)" stopped "$who: the template does not"
	[ "$(json one memory)" = 134217728 ] &&
	    [ "$(json two state)" = running ]
	ok $? "$who: JSON says the same"

	attach one
	attach two
	eventually saw one '^guest:' && eventually saw two '^guest:'
	ok $? "$who: both boot to a shell" one.out
	guest one "grep -o vda /proc/mounts" vda "$who: on their disks"
	guest one "ip -4 -o addr show eth0" 10.0.2.1 "$who: with addresses"
	# who came first has the first one; so it is the other who answers
	guest one "ping -c 2 -q 10.0.2.15 && ping -c 2 -q 10.0.2.16" \
	    " 0% packet loss" "$who: and ping"

	# through NAT to the host, and from the host in
	echo "from the host" >page
	(cd "$work" && exec busybox httpd -f -p "127.0.0.1:$((port + 1))") &
	children+=("$!")
	guest two "wget -q -O - http://10.0.2.2:$((port + 1))/page" \
	    "from the host" "$who: NAT reaches the host"
	end "${children[-1]}"
	guest one "ip link set eth0 down; ip link set eth1 up; udhcpc -i eth1 -q -n -s /etc/udhcpc; \
echo inside >/tmp/page; httpd -p 8080 -h /tmp" "" "$who: a server inside"
	out=$(within 20 busybox wget -q -O - \
	    "http://127.0.0.1:$port/page" 2>&1)
	is "$out" inside "$who: a port is forwarded to it"

	# paused: nothing happens; after that all goes on
	vmctl pause two 2>log
	ok $? "$who: pause" log
	is "$(state two)" paused "$who: it is said to be paused"
	like "$(vmctl pause two 2>&1)" 'two is paused already' \
	    "$who: once is enough"
	# shellcheck disable=SC2016 # for the guest
	say two 'echo woke=$((2*21))='
	sleep 1
	saw two 'woke=42'
	is $? 1 "$who: it does nothing"
	vmctl unpause two 2>log
	ok $? "$who: unpause" log
	eventually saw two 'woke=42'
	ok $? "$who: it goes on where it was" two.out
	is "$(state two)" running "$who: it is said to run"

	# vmd dies; what it has started does not
	tty=$(json one tty)
	kill -9 "$(vmd_pid)"
	eventually is_left 3
	ok $? "$who: vmd dies alone"
	"${as[@]}" timeout 30 "$work/vmd" -v -f vm.conf >log 2>&1
	ok $? "$who: another one starts" log
	is "$(state one)$(state two)" runningrunning "$who: it finds both"
	is "$(json one tty)" "$tty" "$who: at the terminals they had"
	leave
	attach one
	attach two
	eventually saw one 'inside'
	ok $? "$who: a new reader sees what was before" one.out
	: >one.out
	guest one "echo data >/mnt/file; sync" "" "$who: a file on the disk"

	# a reboot changes nothing but the guest
	pid=$(json two pid)
	say two reboot
	eventually saw two 'Linux version\|^Linux .* on vmm'
	eventually saw two '^guest:'
	is "$(json two pid)" "$pid" "$who: a reboot keeps the process"

	vmctl stop -w one 2>log
	ok $? "$who: stop asks the guest" log
	saw one 'button was pressed'
	ok $? "$who: which hears of it" one.out
	is "$(state one)" stopped "$who: it has stopped"
	qemu-img check -q one.qcow2 >log 2>&1
	ok $? "$who: its image is whole" log
	qemu-img convert -O raw one.qcow2 one.raw &&
	    debugfs -R 'cat file' one.raw 2>/dev/null | grep -qx data
	ok $? "$who: and has its file"
	vmctl start one 2>log
	ok $? "$who: it starts again" log
	is "$(json one id)" 2 "$who: with its number"

	# and all at once
	kill "$(vmd_pid)"
	eventually is_left 0
	ok $? "$who: vmd stops them and ends"
	leave
	[ ! -e "$VMD_DIR" ]
	ok $? "$who: and leaves nothing"
	rm -f one.* two.* base.img
}

export VMD_DIR=$work/run
tour root 28180

# The same as a user who may do nothing.
mkdir user
chown 65534:65534 user
cd user || exit 1
ln -s ../vmlinuz ../initrd.img ../vmctl .
as=(setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set -all
    --no-new-privs env "HOME=$work/user")
export VMD_DIR=$work/user/run
tour user 28190

done_testing
