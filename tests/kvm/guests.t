#!/usr/bin/env bash
# Our small guests on KVM: those that check the interrupt controllers, and the
# one-page guests that check the CPU, which pass on the software engine. Here
# the CPU is QEMU's TCG: what it does wrong is listed below. Then the contracts
# of the engine and of vmm(4), from their clients' sides.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=lib/bed.sh
. "$(dirname "$0")/../lib/bed.sh"

files=(-f "$VMM_BUILD/guests" -f "$VMM_BUILD/tests/guests/guests_test"
    -f "$VMM_BUILD/tests/guests/engine_test"
    -f "$VMM_BUILD/tests/vmm/soft_test"
    -f /usr/share/seabios/bios-256k.bin)
for guest in "$VMM_BUILD"/tests/apic_guests/*.elf; do
	files+=(-f "$guest")
done
bed_programs+=(setpriv)
enter_bed -t 240 "${files[@]}"
with_engine
limit=120
for guest in "$VMM_BUILD"/tests/apic_guests/*.elf; do
	run run -b "$guest" -m 32M --net none --timeout 100 --exit-port 0xf4
	bad=$(grep '^not ok' <<<"$out")
	is "$status $bad" "33 " "$(basename "$guest" .elf)"
	like "$out" '^ok ' "its checks are made"
done

# What the emulated CPU does wrong. All but the last two groups fail in QEMU's
# TCG without KVM as well.
known='
# segments: limits and most rights are not checked, LAR knows too many types
beyond the limit
across the limit
expand-down: below
expand-down of 64 KiB
write to read-only data
write through a code segment
null
LAR
beyond 64 KiB: #GP
across 64 KiB: #GP
null ES, GS become 0
sysretl with a null SS, then push
no exception
# exceptions: error codes of gates, #SS by RSP, the DPL of INT n
not canonical by RSP: #SS
CPL 3: int 20h through DPL 0
not a gate: #GP(vector, IDT)
gate not present: #NP
#UD without a gate: #NP with EXT
# debugging: DR7.GD, DR6.BD, INT1
DR7.GD
DR6.BD
GD is off in the handler
int1 traps as #DB
it is past INT1
# paging: reserved bits
reserved bit
reserved bit, write
bit 63 without NXE is reserved
# opcodes that the CPU offered lacks, LOCK where it is not allowed
lock mov
lock bt
monitor
mwait
pcommit
tpause
# CR0 and CR4 take reserved bits; VMRUN refuses them afterwards, and the guest
# (long-faults, long-registers) ends there
CR0 bit 32
CR0 high
CR4 high
CR4: reserved bit 40
# breakpoints of ports are not seen under VMRUN
I/O breakpoint
DR6.B0 of a port
# KVM itself answers VMMCALL
vmmcall
'
"$VMM_BUILD/tests/guests/guests_test" >"$work/checks" 2>&1
grep '^not ok [^0-9]' "$work/checks" | sed 's/^not ok //' | sort -u >"$work/bad"
new=$(grep -vxF -- "$(sed '/^$/d;/^# /d' <<<"$known")" "$work/bad")
is "$new" "" "the guests that check the CPU fail in nothing but what is known"
[ "$(grep -cE '^# exit ' "$work/checks")" -le 2 ]
ok $? "and come to their ends" "$work/checks"
is "$(grep -c '^1\.\.' "$work/checks")" 1 "all of them ran"

for name in guests/engine_test vmm/soft_test; do
	program $name
	[ "$(grep -c '^ok' "$work/log")" -ge 13 ]
	ok $? "and leaves out next to nothing" "$work/log"
done

# --- firmware --------------------------------------------------------------------
truncate -s 1M "$work/empty.img"
: >"$work/start.out"
start run -m 32M --net none -d "$work/empty.img"
eventually grep -aq 'No bootable device' "$work/start.out"
ok $? "the firmware comes to its end" "$work/start.out"
end "$pid"

# --- where it may not, or is not there -------------------------------------------
guest=(run -b "$guest_elf" -m 16M --net none --timeout 60 --append print=x)
chmod 755 "$work"
vmctl="$VMM_BUILD/bin/vmctl"
as_nobody() {
	setpriv --reuid 65534 --regid 65534 --clear-groups env VMM_ENGINE= \
	    XDG_RUNTIME_DIR=/nonexistent "$vmctl" "$@" >"$work/out" \
	    2>"$work/err" </dev/null
	status=$?
	out=$(tr -d '\r' <"$work/out")
	err=$(cat "$work/err")
}
chmod 600 /dev/kvm
as_nobody "${guest[@]}" --engine kvm
is "$status $(wc -l <"$work/err")" "1 1" "who may not use KVM is told so"
like "$err" '/dev/kvm: Permission denied' "and why"
as_nobody "${guest[@]}"
is "$status $out" "0 x" "the software engine takes its place"
like "$err" 'engine soft in place of kvm: /dev/kvm: Permission' "which is said"
chmod 666 /dev/kvm
as_nobody "${guest[@]}" --stats
is "$status $out" "0 x" "who may use it does"
like "$err" 'exits, port' "on KVM"
mv /dev/kvm /dev/elsewhere
as_nobody "${guest[@]}" --engine kvm
is "$status" 1 "without /dev/kvm there is no KVM"
like "$err" 'there is no /dev/kvm' "and that is said"
mv /dev/elsewhere /dev/kvm
done_testing
