#!/usr/bin/env bash
# A guest that reads and writes all ports, PCI's configuration space, the
# devices' memory and the interrupt controllers at random, DMA addresses
# included: vmctl goes on or ends the run in order, and does not say much.
# CHAOS_SEEDS="N ..." repeats or lengthens the test.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

cd "$work" || exit 1
truncate -s 4M disk
# shellcheck disable=SC2206 # words
seeds=(${CHAOS_SEEDS-$RANDOM $RANDOM $RANDOM $RANDOM})
diag "seeds: ${seeds[*]}"
for seed in "${seeds[@]}"; do
	within 120 "$vmctl" run -b "$guest_elf" -m 16M -d disk --no-reboot \
	    --exit-port 0x501 --timeout 60 --append "chaos=$seed" \
	    </dev/null >out 2>err
	status=$?
	# powered off, reset or triple fault, the guest's 5, the time is over
	case $status in
	0|3|11|124)	ok 0 "seed $seed: an end in order" ;;
	*)		ok 1 "seed $seed: an end in order, not $status" err ;;
	esac
	[ "$(wc -l <err)" -le 100 ]
	ok $? "seed $seed: few words" err
	[ "$(wc -c <out)" -le 1000000 ]
	ok $? "seed $seed: little output"
done
done_testing
