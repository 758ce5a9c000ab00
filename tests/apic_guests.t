#!/usr/bin/env bash
# The interrupt controllers as guests see them: each kernel of tests/apic_guests
# says on COM1 what it finds right and wrong.
set -uo pipefail
. "$(dirname "$0")/lib/tap.sh"

for guest in "$VMM_BUILD"/tests/apic_guests/*.elf; do
	name=$(basename "$guest" .elf)
	within 120 "$vmctl" run -b "$guest" -m 32M --net none --timeout 100 \
	    --exit-port 0xf4 </dev/null >"$work/out" 2>"$work/err"
	status=$?
	tr -d '\r' <"$work/out" >"$work/text"
	while IFS= read -r line; do
		case $line in
		"ok "*)		ok 0 "$name: ${line#ok }" ;;
		"not ok "*)	ok 1 "$name: ${line#not ok }" "$work/text" ;;
		"# "*)		echo "$line" ;;
		esac
	done <"$work/text"
	[ $status = 33 ]
	ok $? "$name ends well" "$work/err"
done
done_testing
