#!/usr/bin/env bash
# A machine's state: while Debian's kernel boots, mounts and writes its disk and
# fetches a file, everything is saved, reset to what it is at power-on and
# loaded again, in place, many times. The guest must not notice. A part that
# forgets a field loses it here.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

limit=300
linux_guest

# times: how often it was done.
times() {
	grep -c 'bytes saved, reset and loaded in' "$1"
}
complaints="BUG|Oops|Call Trace|nobody cared|timed out|[Ss]tall|segfault"
complaints+="|unstable|I/O error|[Ff]ailed to|lost interrupt|spurious"

# --- the tour, by every way to run code ------------------------------------------
for engine in soft soft,interp; do
	out=$(TMPDIR=$work VMM_RUN_FLAGS="--diag-state 100000 --engine $engine" \
	    within 300 "$top/tools/run" "$VMM_BUILD" "$VMM_GUEST" \
	    </dev/null 2>err | tr -d '\r'; exit "${PIPESTATUS[0]}")
	is $? 0 "$engine: the tour powers off with status 0"
	like "$out" 'TOUR OK' "$engine: disk, network, clock and random work"
	n=$(times err)
	diag "$n times"
	[ "$n" -ge 10 ]
	ok $? "$engine: ten times and more" err
	is "$(grep -v 'bytes saved, reset and loaded in' err)" "" \
	    "$engine: nothing else is said"
done

# --- what the kernel says ----------------------------------------------------------
truncate -s 64M disk.img
mke2fs -q -F -t ext4 disk.img
truncate -s 1M disc.iso
run run -b "$VMM_GUEST/vmlinuz" --initrd "$VMM_GUEST/initrd.img" -m 256M \
    -d disk.img -r disc.iso --diag-state 100000 --append "console=ttyS0 \
vmm.run=dd,if=/dev/zero,of=/mnt/file,bs=64k,count=256,conv=fsync;sync;\
md5sum,/mnt/file;sleep,1;dmesg;cat,/proc/interrupts"
is "$status" 0 "a guest that is at its disk powers off"
sum=$(head -c 16777216 /dev/zero | md5sum | cut -d ' ' -f 1)
like "$out" "$sum" "what it wrote is there"
is "$(grep -E "$complaints" <<<"$out")" "" "its kernel complains of nothing"
like "$out" 'clocksource: Switched to clocksource' "and has its clock"
n=$(times err)
[ "$n" -ge 10 ]
ok $? "$n times" err
e2fsck -fn disk.img >fsck 2>&1
ok $? "its file system is clean" fsck

# --- input that waits ----------------------------------------------------------------
run run -b "$guest_elf" --diag-state x
is "$status" 1 "a number that is none"
like "$err" 'diag-state' "is named"
done_testing
