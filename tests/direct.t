#!/usr/bin/env bash
# Direct execution: guest programs made at random, with faults, traps, pages
# that their kernel remaps and code that changes, against the interpreter.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

# compare WHAT PROGRAM ARGUMENTS: and some of it has to be executed directly.
compare() {
	within 150 "$VMM_BUILD/tests/jit/$2" "${@:3}" \
	    --options jit,hot=1,direct >"$work/log" 2>&1
	ok $? "$1: as the interpreter does" "$work/log"
	if grep -q '^#   executed directly: 0 stops.* error [1-9]' "$work/log"
	then
		skip "$1: some of it directly" "the host lets nobody trace"
		return
	fi
	grep -q '^#   executed directly: [1-9]' "$work/log"
	ok $? "$1: some of it directly" "$work/log"
}

# Not any seed: FNSTENV shows pointers of x87 that AMD CPUs do not take from us.
compare sequences sequences_test --seed 117 --count 180
compare programs programs_test --seed 100 --count 20
done_testing
