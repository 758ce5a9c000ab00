#!/usr/bin/env bash
# "vmctl create": images of both formats, upon bases and by conversion, as
# QEMU's programs see them; and what is refused, interrupted or full.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"
cd "$work" || exit 1

# info FILE KEY: what qemu-img says of an image.
info() {
	qemu-img info --output=json "$1" 2>&1 | python3 -c '
import json, sys
print(json.load(sys.stdin).get(sys.argv[1], "none"))' "$2"
}

# same FILE FILE NAME
same() {
	qemu-img compare -q "$1" "$2" >"$work/log" 2>&1
	ok $? "$3" "$work/log"
}

run create -s 100M a
is "$status" 0 "a raw image"
is "$err" "vmctl: raw imagefile created" "it says so"
is "$(stat -c '%s %b %a' a)" "104857600 0 600" "sparse, its size, its rights"
run create -s 3M raw:b.qcow2
is "$(info b.qcow2 format)" raw "the prefix outweighs the extension"
run create -s 20G c.qcow2
is "$err" "vmctl: qcow2 imagefile created" "a qcow2 image by its extension"
is "$(info c.qcow2 format) $(info c.qcow2 virtual-size)" "qcow2 21474836480" \
    "of its size"
qemu-img check -q c.qcow2
ok $? "which qemu-img finds in order"
run create -s 9000G qcow2:big
qemu-img check -q big
ok $? "one with a large L1 table, by its prefix"
run create -s 3000000 d
like "$err" "size rounded to 2 megabytes" "rounding down is told"
is "$(stat -c %s d)" 2097152 "and done"

# bases
head -c 3000320 /dev/urandom >base.img
mkdir -p sub
run create -b base.img over.qcow2
is "$status" 0 "an image upon a raw base"
is "$(info over.qcow2 backing-filename) $(info over.qcow2 virtual-size)" \
    "base.img 3145728" "with its name and its size in whole MiB"
is "$(info over.qcow2 backing-filename-format)" raw "and its format"
same over.qcow2 base.img "it reads as the base"
run create -b over.qcow2 -s 8M sub/two.qcow2
is "$(info sub/two.qcow2 backing-filename)" "$(realpath over.qcow2)" \
    "a base elsewhere by its whole path"
is "$(info sub/two.qcow2 virtual-size)" 8388608 "larger than its base"
same sub/two.qcow2 base.img "with the same content"

# conversion
truncate -s 40M in.img
dd if=/dev/urandom of=in.img bs=64k count=9 seek=100 conv=notrunc status=none
dd if=/dev/urandom of=in.img bs=512 count=1 seek=77777 conv=notrunc status=none
run create -i in.img out.qcow2
is "$status" 0 "raw to qcow2"
same in.img out.qcow2 "with the same content"
qemu-img check -q out.qcow2
ok $? "in order"
[ "$(stat -c %b out.qcow2)" -lt 4096 ]
ok $? "and small"
run create -i out.qcow2 back.img
same in.img back.img "qcow2 to raw"
[ "$(stat -c %b back.img)" -lt 2048 ]
ok $? "with holes"
qemu-img convert -c -O qcow2 in.img squeezed.qcow2
run create -i squeezed.qcow2 -s 64M grown.qcow2
same in.img grown.qcow2 "compressed to not, larger"
is "$(info grown.qcow2 virtual-size)" 67108864 "its size"
run create -i sub/two.qcow2 flat.img
same base.img flat.img "a chain made one"

# a server
nbdkit -f -U "$work/sock" file in.img 2>/dev/null &
server=$!
children+=("$server")
eventually test -S sock
uri="nbd+unix:///?socket=$work/sock"
run create -i "$uri" "$work/fetched.img"
same in.img fetched.img "what a server offers"
run create -b "$uri" "$work/far.qcow2"
is "$status" 0 "a base on a server"
run create -i far.qcow2 near.img
same in.img near.img "is read through it"
end "$server"

# refusals
refused "a file that is there" "a exists" create -s 1M a
ln -s nowhere dangling
refused "a link that leads nowhere" "dangling exists" create -s 1M dangling
refused "no size" "how large" create x
refused "no name" "name one disk" create -s 1M
refused "two names" "name one disk" create -s 1M x y
refused "-b and -i" "exclude" create -b a -i a x.qcow2
refused "a raw image with a base" "only a qcow2 image" create -b a x
refused "less than a megabyte" "less than 1M" create -s 1000 x
refused "no number" "is no size" create -s ten x
refused "smaller than its base" "less than" create -b a -s 1M x.qcow2
refused "smaller than the other" "less than" create -i a -s 1M x
refused "another that is not there" "does not exist" create -i none x
refused "a folder that is not there" "none/x" create -s 1M none/x
refused "too large for qcow2" "larger than" create -s 4000T x.qcow2
[ -z "$(ls -d x x.qcow2 2>/dev/null)" ]
ok $? "nothing is left of those"

# interrupted, at any time
truncate -s 4G large
dd if=/dev/urandom of=large bs=1M count=200 conv=notrunc status=none
for signal in HUP TERM KILL; do
	start create -i large small.qcow2
	sleep 0.05
	kill -s "$signal" "$pid" 2>/dev/null
	finish "$pid"
	status=$?
	if [ "$status" = 0 ]; then
		diag "it was faster"
		rm -f small.qcow2
	else
		[ "$status" = $((128 + $(kill -l "$signal"))) ]
	fi
	ok $? "SIG$signal: the status says so"
	[ ! -e small.qcow2 ]
	ok $? "and nothing is left"
done

# a full file system
mkdir full
if mount -t tmpfs -o size=1m none full 2>/dev/null; then
	refused "a full file system" "No space left" create -i large full/x
	refused "or for qcow2" "No space left" create -i large full/x.qcow2
	is "$(ls full)" "" "nothing is left there"
	umount full
else
	for i in 1 2 3; do
		skip "a full file system" "cannot mount"
	done
fi

# the bar
script -qec "$vmctl create -i in.img bar.qcow2" /dev/null >bar.txt </dev/null
like "$(tr '\r' '\n' <bar.txt)" '\[#+\] 100%' "a bar on a terminal"
is "$(grep -c '%' <<<"$err")" 0 "and none elsewhere"

done_testing
