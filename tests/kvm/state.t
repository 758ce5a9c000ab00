#!/usr/bin/env bash
# On KVM: a machine's state is saved, all of it reset and loaded again while
# Debian's kernel boots, and the guest does not notice (tests/state.t).
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=lib/bed.sh
. "$(dirname "$0")/../lib/bed.sh"

PATH=$PATH:/usr/sbin:/sbin
bed_programs+=(mke2fs)
enter_bed -t 300 -m 640 -f "$VMM_GUEST/vmlinuz" -f "$VMM_GUEST/initrd.img"
with_engine
cd "$work" || exit 1
limit=300

mkdir www
head -c 262144 /dev/urandom >www/data
sum=$(sha256sum <www/data | cut -d ' ' -f 1)
httpd -p 127.0.0.1:8000 -h "$work/www"
truncate -s 32M disk.img
mke2fs -q -F -t ext4 disk.img
run run -m 192M -b "$VMM_GUEST/vmlinuz" --initrd "$VMM_GUEST/initrd.img" \
    -d disk.img --diag-state 1000 --append "console=ttyS0 \
vmm.tour=http://10.0.2.2:8000/data,$sum"
is "$status" 0 "the tour powers off with status 0"
like "$out" 'TOUR OK' "the tour passes"
times=$(grep -c 'bytes saved, reset and loaded' <<<"$out$err")
echo "# $times times"
[ "$times" -ge 10 ]
ok $? "ten times and more, the state was saved and loaded"
# Of the bed's CPU it complains without that, too: not of what happens later.
bad=$(grep -E "BUG|Oops|nobody cared|timed out|stall|unstable|I/O error" \
    <<<"$out")
is "$bad" "" "the kernel complains of nothing"
done_testing
