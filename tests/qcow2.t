#!/usr/bin/env bash
# Linux upon qcow2 images: two VMs at once, each with an overlay of its own on
# one base; what was discarded is given back, a VM is killed in the middle of
# writing and the next finds what was synced. QEMU's check finds nothing.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

limit=30
linux_guest

# What the guest runs, from its disk.
mkdir root
cat >root/script <<'END'
sums()
{
	(cd /mnt && sha256sum $1) | while read sum name; do
		echo "guest: $name $sum"
	done
}

echo 1 >/proc/sys/kernel/printk
case $1 in
write)
	dd if=/dev/urandom of=/mnt/big bs=1M count=24 2>/dev/null
	for i in 0 1 2 3; do
		dd if=/dev/urandom of=/mnt/file$i bs=1M count=2 2>/dev/null &
	done
	wait
	sync
	sums "file0 file1 file2 file3 base"
	rm /mnt/big
	sync
	fstrim /mnt && echo guest: trimmed
	;;
read)
	sums "file0 file1 file2 file3 base"
	;;
forever)
	dd if=/dev/urandom of=/mnt/kept bs=1M count=3 2>/dev/null
	sync
	sums kept
	echo guest: synced
	while :; do
		dd if=/dev/urandom of=/mnt/scratch bs=64k count=40 2>/dev/null
		rm /mnt/scratch
	done
	;;
kept)
	sums kept
	;;
esac
umount /mnt && echo guest: end
END
head -c 1M /dev/urandom >root/base
truncate -s 96M base.img
mke2fs -q -F -t ext4 -d root base.img

# boot OVERLAY WORD OUTPUT: a VM that runs the script, in the background;
# leaves its $pid.
boot() {
	"$vmctl" run -b "$VMM_GUEST/vmlinuz" --initrd "$VMM_GUEST/initrd.img" \
	    -m 128M --net none -d "$1" --append \
	    "console=ttyS0 quiet vmm.run=cp,/mnt/script,/tmp;sh,/tmp/script,$2" \
	    </dev/null >"$3" 2>"$3.err" &
	pid=$!
	children+=("$pid")
}

# ended PID: its status; it has a minute.
ended() {
	eventually is_over "$1" || eventually is_over "$1"
	finish "$1"
}

lines() {
	tr -d '\r' <"$1" | grep '^guest: ' | grep "${2-.}"
}

# in_order IMAGE NAME [LEAKS]: qemu-img check, which may find leaks if said.
in_order() {
	local got
	qemu-img check "$1" >log 2>&1
	got=$?
	[ "$got" = 0 ] || { [ "$got" = 3 ] && [ -n "${3-}" ]; }
	ok $? "$2" log
}

run create -b base.img -s 128M one.qcow2
is "$status" 0 "an overlay"
run create -b base.img two.qcow2
sum=$(sha256sum <base.img)

boot one.qcow2 write one
first=$pid
boot two.qcow2 write two
second=$pid
ended "$first"
is $? 0 "two VMs on one base: the first"
ended "$second"
is $? 0 "the second"
like "$(lines one)" 'guest: trimmed.*guest: end' "the first did its work"
like "$(lines two)" 'guest: trimmed.*guest: end' "so did the second"
is "$(cat one.err two.err)" "" "the host has nothing to say"
is "$(sha256sum <base.img)" "$sum" "the base is as it was"
[ "$(lines one file0)" != "$(lines two file0)" ]
ok $? "each has its own"
for i in one two; do
	in_order $i.qcow2 "$i: in order"
	[ "$(stat -c %b $i.qcow2)" -lt $((24 * 2048)) ]
	ok $? "$i: what was trimmed is given back"
	boot $i.qcow2 read $i.again
	ended "$pid"
	is "$(lines $i.again :)" "$(lines $i | grep -v trimmed)" \
	    "$i: reads what it wrote"
done

# in use
boot one.qcow2 forever kill
eventually grep -q 'guest: synced' kill ||
    eventually grep -q 'guest: synced' kill
ok $? "a VM that writes"
refused "its image is locked" "in use" run -b "$VMM_GUEST/vmlinuz" \
    -d one.qcow2
refused "so is its base for writing" "in use" run -b "$VMM_GUEST/vmlinuz" \
    -d base.img
qemu-io -f qcow2 -c quit one.qcow2 >log 2>&1
like "$(cat log)" "lock" "QEMU finds it locked"
qemu-io -r -f raw -c quit base.img >log 2>&1
ok $? "but may read its base" log
sleep 1
end "$pid"
in_order one.qcow2 "killed: at most too large" leaks
boot one.qcow2 kept kept
ended "$pid"
is $? 0 "it boots again"
is "$(lines kept kept)" "$(lines kill kept)" "with what was synced"

# and the other way round
coproc qemu-io -f qcow2 one.qcow2 2>&1
echo "read 0 512" >&"${COPROC[1]}"
read -r line <&"${COPROC[0]}"
diag "$line"
refused "what QEMU has is locked" "in use" run -b "$VMM_GUEST/vmlinuz" \
    -d one.qcow2
echo quit >&"${COPROC[1]}"
wait "$COPROC_PID" 2>/dev/null

done_testing
