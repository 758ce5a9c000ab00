#!/usr/bin/env bash
# A switch with an MTU of 9000 between two Linux VMs, and a third one with 1500:
# what their drivers are told, packets of full size, files in TCP packets that are
# larger than that, by IPv4 and IPv6.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

linux_guest
export VMD_DIR=$work/dir
cat >vm.conf <<'END'
switch "lan" {
	nat
	mtu 9000
}
switch "old" { enable }
END
"$VMM_BUILD/bin/vmd" -d -f vm.conf >vmd.log 2>&1 &
daemon=$!
children+=("$daemon")
eventually test -S "$VMD_DIR/switch/lan.sock"
ok $? "vmd has the switch" vmd.log

# Written for the guests, which get it as a disk.
cat >lib <<'END'
# address N: ours
address() {
	ip addr add "10.9.0.$1/24" dev eth0
	ip -6 addr add "fd09::$1/64" dev eth0
}
# counted DIRECTION: bytes a packet, since the last time
counted() {
	local packets bytes
	packets=$(cat "/sys/class/net/eth0/statistics/$1_packets")
	bytes=$(cat "/sys/class/net/eth0/statistics/$1_bytes")
	echo "$(((bytes - ${last_bytes:-0}) / (packets - ${last_packets:-0})))"
}
# start_count DIRECTION
start_count() {
	last_packets=$(cat "/sys/class/net/eth0/statistics/$1_packets")
	last_bytes=$(cat "/sys/class/net/eth0/statistics/$1_bytes")
}
mtu() {
	echo "mtu=$(cat /sys/class/net/eth0/mtu)"
}
END
cat >server <<'END'
. /mnt/lib
address 1
mtu
head -c 20971520 /dev/urandom >/tmp/file
md5sum /tmp/file >/tmp/sum
httpd -p 80 -h /tmp
httpd -p '[::]:81' -h /tmp
# until the other says that it has enough
until [ -e /tmp/end ]; do
	nc -l -p 99 </dev/null >/tmp/end
	grep -q enough /tmp/end || rm /tmp/end
done
END
cat >client <<'END'
. /mnt/lib
address 2
mtu
until wget -q -O /tmp/sum http://10.9.0.1/sum 2>/dev/null; do
	sleep 0.2
done
ping -c 3 -s 8972 -q 10.9.0.1
sent=$(cut -d ' ' -f 1 /tmp/sum)
for url in 10.9.0.1 '[fd09::1]:81'; do
	start_count rx
	wget -q -O /tmp/file "http://$url/file"
	[ "$(md5sum </tmp/file | cut -d ' ' -f 1)" = "$sent" ] &&
	    echo "got=$url average=$(counted rx)"
done
END
cat >small <<'END'
. /mnt/lib
address 3
mtu
until wget -q -O /tmp/sum http://10.9.0.1/sum 2>/dev/null; do
	sleep 0.2
done
sent=$(cut -d ' ' -f 1 /tmp/sum)
wget -q -O /tmp/file http://10.9.0.1/file
[ "$(md5sum </tmp/file | cut -d ' ' -f 1)" = "$sent" ] && echo got=small
ping -c 3 -W 1 -s 1472 -q 10.9.0.1
ip link set eth0 mtu 1600 2>&1 | head -1
echo enough | nc 10.9.0.1 99
END

# disk FILE...: a file system with them
disk() {
	rm -f disk.img
	truncate -s 4M disk.img
	rm -rf tree
	mkdir tree
	cp lib server client small tree/
	mke2fs -q -F -t ext4 -d tree disk.img
}

# guest NAME NETWORK: a VM that runs the script of that name
guest() {
	cp disk.img "$1.img"
	within 100 "$vmctl" run -q -b "$VMM_GUEST/vmlinuz" \
	    --initrd "$VMM_GUEST/initrd.img" -m 256M -d "$1.img" \
	    --net "$2" --append "console=ttyS0 quiet \
vmm.run=sh,/mnt/$1" </dev/null >"$1.out" 2>"$1.err"
}

disk
guest server switch=lan &
children+=("$!")
server=$!
guest client switch=lan
ok $? "the client ends" client.out
tr -d '\r' <client.out >client.txt
out=$(cat client.txt)
like "$out" 'mtu=9000' "its MTU is the switch's"
like "$out" '3 packets received, 0% packet loss' "packets of 9000 bytes pass"
like "$out" 'got=10.9.0.1 average=[0-9]+' "a file by IPv4"
average=$(sed -n 's/^got=10.*average=//p' client.txt)
[ "${average:-0}" -gt 9014 ]
ok $? "in packets that are larger than the MTU" client.out
like "$out" 'got=\[fd09::1\]:81 average=[0-9]+' "and by IPv6"
average=$(sed -n 's/^got=\[.*average=//p' client.txt)
[ "${average:-0}" -gt 9014 ]
ok $? "in such packets, too" client.out

guest small switch=lan,mtu=1500
ok $? "one with a smaller MTU" small.out
out=$(tr -d '\r' <small.out)
like "$out" 'mtu=1500' "knows it"
like "$out" 'got=small' "gets the file"
like "$out" '3 packets received, 0% packet loss' "and packets of its size"
like "$out" 'nvalid argument|out of range' "and keeps it"

refused "an MTU beyond the switch's" 'its MTU is 1500; an interface' \
    run -b "$VMM_GUEST/vmlinuz" --net switch=old,mtu=9000
finish "$server"
ok $? "the server hears that it is enough" server.out
kill -TERM "$daemon"
finish "$daemon"
ok $? "vmd ends" vmd.log
done_testing
