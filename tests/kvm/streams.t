#!/usr/bin/env bash
# Random instructions on KVM and on the software engine: registers, flags,
# memory and faults must be the same, or what the CPU below shows without KVM
# as well: here that is QEMU's TCG, which has faults of its own.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=lib/bed.sh
. "$(dirname "$0")/../lib/bed.sh"

enter_bed -t 240 -f "$VMM_BUILD/tests/insn/insn_test" \
    -f "$VMM_BUILD/tests/jit/sequences_test" \
    -f "$VMM_BUILD/tests/jit/programs_test"
# an eighth of all forms of instructions each
for seed in 2 3; do
	program insn/insn_test --seed $seed --states 4 --every 8 --against kvm
	diag "$(sed -nE '/shapes|agreed/s/^# //p' "$work/log")"
	[ "$(sed -n 's/.*engines agreed in \([0-9]*\) .*/\1/p' \
	    "$work/log")" -gt 2500 ]
	ok $? "and thousands of states were compared" "$work/log"
done

# Integer instructions one after the other, in loops, with addresses near the
# ends of pages of all kinds; then whole programs, with calls, faults that go on
# elsewhere, single steps, and interrupts at any time.
for seed in 1 1000; do
	program jit/sequences_test --seed $seed --count 600 --options kvm
	diag "$(sed -n '/sequences,/s/^# //p' "$work/log")"
	[ "$(sed -n 's/.* \([0-9]*\) without a fault.*/\1/p' \
	    "$work/log")" -gt 150 ]
	ok $? "of which many come to their end" "$work/log"
done
program jit/programs_test --seed 1 --count 30 --options kvm
diag "$(sed -n '/programs,/s/^# //p' "$work/log")"
[ "$(sed -n 's/.*programs, \([0-9]*\) instr.*/\1/p' "$work/log")" -gt 1000000 ]
ok $? "in millions of instructions" "$work/log"
done_testing
