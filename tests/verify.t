#!/usr/bin/env bash
# A boot of Linux with a verifier that looks at every translation
# (tests/jit/verify.c).
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

linux_guest
vmctl=$VMM_BUILD/tests/verify/vmctl
limit=300
for words in jit jit,nobmi2,noavx; do
	run run -b "$VMM_GUEST/vmlinuz" --initrd "$VMM_GUEST/initrd.img" \
	    --engine "soft,$words" --net none -m 256M --append \
	    "console=ttyS0 quiet vmm.run=ls,-lR,/etc;sha256sum,/bin/busybox"
	is "$status" 0 "$words: the guest powers off"
	like "$err" 'verifier: [0-9]{4,} translations' \
	    "$words: no translation holds what it should not"
	[ "$status" = 0 ] || diag "$err"
done
done_testing
