#!/usr/bin/env bash
# Linux's own virtio drivers at work on the devices, first as they are today,
# then forced to the 0.9.5 interface: requests in parallel, discard, a
# download, a forwarded port, random bytes; devices reset and bound again.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

limit=300
linux_guest

# What the guest runs, from its first disk; the second is vdb, 32 MiB.
mkdir root www
head -c 8M /dev/urandom >www/data
cat >root/script <<'END'
say()
{
	echo "guest: $mode: $*"
}

# Four writers at once; what they wrote is read back past the page cache.
disk()
{
	for i in 0 1 2 3; do
		dd if=/tmp/data of=/dev/vdb bs=1M seek=$((i * 8)) conv=fsync \
		    2>/dev/null &
	done
	wait
	echo 3 >/proc/sys/vm/drop_caches
	for i in 0 1 2 3; do
		dd if=/dev/vdb bs=1M skip=$((i * 8)) count=8 2>/dev/null |
		    cmp - /tmp/data || say disk bad
	done
	dd if=/dev/vdb bs=512 skip=77 count=3 iflag=direct 2>/dev/null |
	    sha256sum >/tmp/got
	dd if=/tmp/data bs=512 skip=77 count=3 2>/dev/null |
	    sha256sum | cmp - /tmp/got && say disk good
}

network()
{
	wget -q -O /tmp/data "http://10.0.2.2:$port/data" &&
	    say download "$(sha256sum </tmp/data | cut -c 1-64)"
}

random()
{
	dd if=/dev/hwrng of=/tmp/random bs=1000 count=3 2>/dev/null
	say random "$(wc -c </tmp/random)" "$(gzip -c /tmp/random | wc -c)"
}

# Feature bit 32 says which interface the drivers use.
features()
{
	say version_1 "$(cut -c 33 /sys/bus/virtio/devices/virtio*/features |
	    tr -d '\n')"
}

echo 1 >/proc/sys/kernel/printk
port=$1
mode=modern
features
network
disk
random
say served "$(nc -l -p 2222 </tmp/random | wc -c)"
sha256sum </tmp/random
blkdiscard -o 0 -l 8388608 /dev/vdb && say discarded

mode=legacy
umount /mnt
for m in virtio_blk virtio_net virtio_rng virtio_pci; do
	rmmod $m
done
insmod /lib/modules/virtio_pci.ko force_legacy=1
for m in virtio_blk virtio_net virtio_rng; do
	insmod /lib/modules/$m.ko
done
ip link set eth0 up
udhcpc -i eth0 -f -q -n -t 10 -T 2 -s /etc/udhcpc >/tmp/udhcpc 2>&1
features
network
random
dd if=/tmp/data of=/dev/vdb bs=1M seek=24 conv=fsync 2>/dev/null
mount /dev/vda /mnt && cp /tmp/data /mnt/copy && umount /mnt && say copied
dmesg | grep -iE 'virtio.*(fail|error)|I/O error|timed out|nobody cared' &&
    say complaints
say end
END
truncate -s 64M disk.img
mke2fs -q -F -t ext4 -d root disk.img
truncate -s 32M raw.img

python3 -u -m http.server --bind 127.0.0.1 --directory www 0 \
    >server 2>&1 </dev/null &
children+=($!)
eventually grep -q ' port ' server
port=$(sed -n 's/.* port \([0-9]*\) .*/\1/p' server)
forward=$(python3 -c 'import socket; s = socket.socket(); \
s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

# Until the guest serves it, the forwarded port is closed by the guest.
python3 - "$forward" >served 2>&1 <<'END' &
import socket, sys, time
for _ in range(15000):
    got = b""
    try:
        s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)
        s.settimeout(60)
        s.sendall(b"x" * 12345)
        while True:
            data = s.recv(65536)
            if not data:
                break
            got += data
            if len(got) == 3000:
                s.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    if len(got) == 3000:
        break
    time.sleep(0.1)
print(len(got))
END
children+=($!)

run run -b "$VMM_GUEST/vmlinuz" --initrd "$VMM_GUEST/initrd.img" \
    -d disk.img -d raw.img \
    --net "user,hostfwd=tcp:127.0.0.1:$forward-2222" \
    --append "console=ttyS0 quiet vmm.run=cp,/mnt/script,/tmp;sh,/tmp/script,$port"
is "$status" 0 "the guest runs to its end"
is "$err" "" "and the host has nothing to say"
sum=$(sha256sum <www/data | cut -c 1-64)
for mode in modern legacy; do
	[ $mode = modern ] && bit=1 || bit=0
	like "$out" "guest: $mode: version_1 $bit$bit$bit$bit" \
	    "$mode drivers on all four devices"
	like "$out" "guest: $mode: download $sum" "$mode: download"
	like "$out" "guest: $mode: random 3000 30[0-9][0-9]" "$mode: random"
done
like "$out" "guest: modern: disk good" "requests in parallel"
like "$out" "guest: modern: served 12345" "a forwarded port, inwards"
eventually grep -q . served
is "$(cat served)" 3000 "and outwards"
like "$out" "guest: modern: discarded" "discard"
like "$out" "guest: legacy: copied" "a file system by the legacy interface"
like "$out" "guest: legacy: end" "the script ends"
bad=$(grep -E 'disk bad|complaints|Call Trace|BUG' <<<"$out")
is "$bad" "" "no complaints"

# From outside.
cmp -n 8388608 raw.img /dev/zero >differ
ok $? "the discarded range reads as zero" differ
good=yes
for offset in 8388608 16777216 25165824; do
	cmp -i "$offset:0" -n 8388608 raw.img www/data >>differ || good=no
done
is "$good" yes "the rest is as the guest wrote it"
e2fsck -fn disk.img >fsck 2>&1
is $? 0 "the file system is clean"
debugfs -R 'cat copy' disk.img 2>/dev/null | cmp - www/data
ok $? "with the copied file in it"
done_testing
