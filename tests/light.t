#!/usr/bin/env bash
# Light code (src/engine/soft/jit/jit.h, VECTORS) is called by translated code
# while vector registers are the guest's: it uses none, and what it calls is
# light, too, or nothing that it calls then.
set -u
cd "$(dirname "$0")/.." || exit 1
: "${VMM_BUILD:=$PWD/build}"
n=0
status=0
result() {	# status, name
	n=$((n + 1))
	if [ "$1" = 0 ]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
		status=1
	fi
}
engine=$VMM_BUILD/obj/src/engine/soft
case $VMM_BUILD in
*/san-*)
	echo "1..0 # SKIP sanitizers call what they like"
	exit 0
	;;
esac

# Built without vector registers.
for file in tlb jit/jtlb jit/fill jit/find jit/string jit/sys jit/code mmu \
    block huge; do
	! objdump -d "$engine/$file.c.o" | grep -qE '%[xyz]mm|%mm[0-7]|%st'
	result $? "$file has no vector registers"
done

# Calls nothing but the engine: no C library.
own=$(nm --defined-only "$engine"/*.o "$engine"/jit/*.o |
    awk 'NF == 3 { print $3 }' | sort -u)
for file in tlb jit/jtlb jit/fill jit/find jit/string jit/sys; do
	foreign=$(nm -u "$engine/$file.c.o" | awk '{ print $2 }' |
	    grep -v '^_GLOBAL_OFFSET_TABLE_$' | sort -u |
	    comm -23 - <(echo "$own"))
	[ -z "$foreign" ]
	result $? "$file calls the engine alone${foreign:+: $foreign}"
done
echo "1..$n"
exit "$status"
