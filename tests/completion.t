#!/usr/bin/env bash
# bash's completion of vmctl: commands, options, VMs by their state.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

# shellcheck source=../completions/vmctl
. "$top/completions/vmctl"

# complete WORD...: what the last word may become, in one line.
completed() {
	COMP_WORDS=("$vmctl" "$@")
	COMP_CWORD=$#
	_vmctl 2>/dev/null
	printf '%s\n' "${COMPREPLY[@]}" | LC_ALL=C sort | xargs
}

is "$(completed st)" "start status stop" "commands"
is "$(completed un)" "unpause" "one command"
is "$(completed "" | tr ' ' '\n' | grep -v ^-)" \
    "$("$vmctl" --help | awk '/^    [a-z]/ { print $1 }' | LC_ALL=C sort)" \
    "all commands that there are"
is "$(completed --v)" "--verbose --version" "options"
is "$(completed run --t)" "--timeout --trace" "options of a command"
is "$(completed stop -)" "--help -a -f -w" "all options of one"
is "$(completed start -B "")" "cdrom disk net" "what an option takes"
is "$(completed start a -m "")" "" "nothing where anything goes"
is "$(completed log b)" "brief" "words"
touch "$work/disk.qcow2"
is "$(completed run -d "$work/di")" "$work/disk.qcow2" "files"

# --- VMs ----------------------------------------------------------------------
# Other VMs of the host are listed too: names that nobody else has.
q=q$$
export VMD_DIR=$work/vmd
mkdir -m 700 "$VMD_DIR"
cat >"$work/vm.conf" <<END
vm "$q-one" { disable
	boot "$guest_elf"
	memory 16M }
vm "$q-other" { disable
	boot "$guest_elf"
	memory 16M }
END
"$VMM_BUILD/bin/vmd" -d -f "$work/vm.conf" 2>"$work/log" &
children+=($!)
for ((i = 0; i < 600; i++)); do
	"$vmctl" status "$q-one" 2>/dev/null | grep -q "$q-one" && break
	sleep 0.1
done
is "$(completed start "$q")" "$q-one $q-other" "VMs that can be started"
is "$(completed stop "$q")" "" "and none that could be stopped"
is "$(completed status "$q-on")" "$q-one" "any for status"
is "$(completed start -t "$q-ot")" "$q-other" "templates"
done_testing
