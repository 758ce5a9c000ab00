# For tests that run in the test bed (tools/testbed); sourced after tap.sh.
# shellcheck shell=bash disable=SC2154 # top is tap.sh's

# Programs that tap.sh and the tests want and busybox has not, or has with
# fewer options.
bed_programs=(bash timeout)

# The engine that these tests are about.
engine=${VMM_BED_ENGINE:-kvm}

# no_bed WHY: ends the test: skipped, but failed where nothing may be.
no_bed() {
	if [ "${CI-}" = true ]; then
		echo "Bail out! $1"
		exit 1
	fi
	echo "1..0 # SKIP $1"
	exit 0
}

# Why there can be no test bed here, or nothing.
bed_lacks() {
	command -v qemu-system-x86_64 >/dev/null ||
	    echo "no qemu-system-x86_64 to run the test bed; tools/deps bed"
}

# bed OPTION... -- COMMAND...: tools/testbed, with more time where the tests
# are slow. -t is of an idle host: twice that is allowed.
bed() {
	local options=() limit=120
	while [ "$1" != -- ]; do
		case $1 in
		-t)	limit=$2 && shift ;;
		-i)	options+=(-i) ;;
		*)	options+=("$1" "$2") && shift ;;
		esac
		shift
	done
	"$top/tools/testbed" -g "$VMM_GUEST" \
	    -t $((limit * 2 * VMM_TEST_SLOW)) "${options[@]}" "$@"
}

# enter_bed [OPTION...]: what follows in the test runs in the bed, with
# vmctl and tests/lib there. Returns only there. Time passes by instructions:
# by a busy host's clock a guest may get nowhere but from tick to tick.
enter_bed() {
	local why program options=()
	[ -z "${VMM_BED-}" ] || return 0
	why=$(bed_lacks)
	[ -z "$why" ] || no_bed "$why"
	for program in "${bed_programs[@]}"; do
		options+=(-f "$(PATH=$PATH:/usr/sbin:/sbin type -P "$program")")
	done
	bed -i -e VMM_BED=1 -e VMM_TEST_SIGNALS=default \
	    -e CMOCKA_MESSAGE_OUTPUT=TAP -e "VMM_TEST_SLOW=$VMM_TEST_SLOW" \
	    -e "VMM_BUILD=$VMM_BUILD" -e "VMM_GUEST=$VMM_GUEST" \
	    -e "VMM_BED_ENGINE=$engine" "${options[@]}" -f "$vmctl" \
	    -f "$guest_elf" -f "$top/tests/lib" "$@" \
	    -- "$(realpath -s "$0")"
	exit
}

# with_engine: from now on vmctl, and run and start of tap.sh, mean a vmctl
# that runs guests on the engine.
with_engine() {
	{
		echo "#!$BASH"
		echo "[ \"\$1\" != run ] || set -- run --engine $engine \"\${@:2}\""
		echo "exec '$vmctl' \"\$@\""
	} >"$work/vmctl"
	chmod 755 "$work/vmctl"
	vmctl=$work/vmctl
	export VMM_ENGINE=$engine VMM_TEST_ENGINE=$engine
}

# program NAME [ARGUMENTS]: a test program of the build is one test.
program() {
	within 200 "$VMM_BUILD/tests/$1" "${@:2}" >"$work/log" 2>&1
	ok $? "$*" "$work/log"
}
