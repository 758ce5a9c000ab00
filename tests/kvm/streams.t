#!/usr/bin/env bash
# Random instructions on KVM and on the software engine: registers, flags,
# memory and faults must be the same, or what the CPU below shows without KVM
# as well: here that is QEMU's TCG, which has faults of its own.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=lib/bed.sh
. "$(dirname "$0")/../lib/bed.sh"

enter_bed -t 150 -f "$VMM_BUILD/tests/insn/insn_test"
# an eighth of all forms of instructions each
for seed in 2 3; do
	program insn/insn_test --seed $seed --states 4 --every 8 --against kvm
	diag "$(sed -nE '/shapes|agreed/s/^# //p' "$work/log")"
	[ "$(sed -n 's/.*engines agreed in \([0-9]*\) .*/\1/p' \
	    "$work/log")" -gt 2500 ]
	ok $? "and thousands of states were compared" "$work/log"
done
done_testing
