#!/usr/bin/env bash
# The test bed itself (tools/testbed): what runs in it, and that it ends.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=lib/bed.sh
. "$(dirname "$0")/../lib/bed.sh"

why=$(bed_lacks)
[ -z "$why" ] || no_bed "$why"
cd "$work" || exit 1
mkdir tmp
export TMPDIR=$work/tmp

# shellcheck disable=SC2016 # for the bed's shell
bed -e "WORD=it's a \$word" -k kernel -f "$top/tests/lib/bed.sh" -- sh -c '
	[ -c /dev/kvm ] && echo kvm
	cat /sys/module/kvm_amd/parameters/npt
	nproc
	echo "$WORD $1"
	[ -s "$2" ] && echo brought
	ls -A | wc -l
	read -r line || echo "no input"
	echo error >&2
	exit 3' sh 'an "argument"' "$top/tests/lib/bed.sh" >out 2>err
is $? 3 "a command's status"
is "$(cat out)" "kvm
Y
1
it's a \$word an \"argument\"
brought
0
no input
error" "KVM with nested paging, variables, arguments, files; output unchanged"
is "$(cat err)" "" "nothing else is said"
[ -s kernel ]
ok $? "what the kernel said is kept"

bed -c Skylake-Client-v3 -- sh -c '[ ! -e /dev/kvm ] && echo none' >out 2>err
is "$? $(cat out)" "0 none" "another CPU has no KVM"

"$top/tools/testbed" -g "$VMM_GUEST" -t 1 -- sleep 1000 >out 2>err
is $? 124 "the time limit"
like "$(cat err)" '^testbed: not done after 1 s$' "is told"
bed -- sh -c 'echo c >/proc/sysrq-trigger' >out 2>err
is $? 125 "a panic is a failure of the bed"
like "$(cat err)" 'without a word.*sysrq' "that shows what the kernel said"
bed -f /nonexistent -- true >out 2>err
is "$? $(cat err)" "125 testbed: no /nonexistent to bring" "a file that is not there"
is "$(ls -A tmp)" "" "no files are left"

# --- killed --------------------------------------------------------------------
bed_runs() {
	pgrep -f "file:$TMPDIR/" >/dev/null
}
for signal in TERM KILL; do
	"$top/tools/testbed" -g "$VMM_GUEST" -t 60 -- sleep 1000 >out 2>err &
	pid=$!
	children+=("$pid")
	eventually bed_runs
	ok $? "the machine runs"
	kill -$signal $pid
	{ wait $pid; } 2>/dev/null
	eventually eval '! bed_runs'
	ok $? "and dies with a testbed that gets SIG$signal"
done
done_testing
