#!/usr/bin/env bash
# Debian's kernel on a translator that is made to take its rare paths all the
# time: each time it computes what the interpreter computes, and has nothing to
# complain about.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

linux_guest
limit=300
complaints="BUG|Oops|Call Trace|segfault|nobody cared|invalid opcode"
complaints+="|general protection|stack-protector|Illegal|trap "
work_="echo,begin;sha256sum,/bin/busybox;seq,1,3000|md5sum;"
work_+="seq,1,300|awk,'{s+=\$1/7*\$1}END{print,s}';"
work_+="gzip,-c,/bin/busybox|gunzip,-c|md5sum;"
work_+="for,i,in,1,2,3,4,5,6,7,8;do,(echo,\$i|tr,1-8,a-h);done;"
work_+="echo,end;dmesg"

# boot WORDS: with these options of the engine; leaves what it computed.
boot() {
	run run -b "$VMM_GUEST/vmlinuz" --initrd "$VMM_GUEST/initrd.img" \
	    --engine "soft,$1" --net none -m 256M \
	    --append "console=ttyS0 quiet vmm.run=$work_"
	computed=$(sed -n '/^begin/,/^end/p' <<<"$out")
	bad=$(grep -E "$complaints" <<<"$out" | head -20)
}

boot interp
is "$status" 0 "interpreted, the guest powers off"
want=$computed
like "$want" 'begin.*[0-9a-f]{64}.*end' "having computed something"

for words in tier=1 nochain insns=1 exact tlb=64 flush=5000 exits=5 \
    cache=1024 nobmi2,noavx nofsgsbase tier=2,traces \
    exact,tlb=64,exits=3,flush=5000 ${TORTURE-}; do
	boot "jit,$words"
	is "$status" 0 "$words: the guest powers off"
	[ "$status" = 0 ] || diag "$(tail -5 <<<"$out")" "$err"
	is "$computed" "$want" "$words: it computes the same"
	is "$bad" "" "$words: its kernel has nothing to complain about"
done

# As far as it comes: "make lockstep" goes further.
run run -b "$VMM_GUEST/vmlinuz" --initrd "$VMM_GUEST/initrd.img" \
    --engine soft,jit,lockstep --net none -m 256M --timeout 30 \
    --append "console=ttyS0 quiet vmm.run=$work_"
[ "$status" = 0 ] || [ "$status" = 124 ]
ok $? "lockstep: every block does what the interpreter does" "$work/err"
done_testing
