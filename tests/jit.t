#!/usr/bin/env bash
# The tests of the engine, once more on translated code: VMM_TEST_ENGINE says
# so to those that do not choose an engine themselves.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

tests_=$VMM_BUILD/tests

# both WORDS PROGRAM ARGUMENTS: the program, on an engine with these options.
both() {
	VMM_TEST_ENGINE=$1 within 300 "$tests_/$2" "${@:3}" >"$work/log" 2>&1
	ok $? "$2: $1" "$work/log"
}

for words in jit,hot=1 jit,hot=1,exact,insns=1,tlb=64,exits=3 jit,lockstep,hot=1; do
	both "$words" guests/guests_test
	both "$words" guests/engine_test
	both "$words" guests/paging_test
	both "$words" fuzz/guest_test
done
both jit,hot=1,exact insn/insn_test --states 200
done_testing
