#!/usr/bin/env bash
# Direct execution under Linux: the tour, processes that are gone when the VM
# is, a VM that is stopped, and hosts that do not let us.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

linux=(run -b "$VMM_GUEST/vmlinuz" --initrd "$VMM_GUEST/initrd.img" -m 256M)
console="console=ttyS0 quiet"
limit=300
linux_guest

# counted NAME: what --stats said of it, in $err.
counted() {
	sed -n "s/.*: direct $1: //p" <<<"$err" | head -n 1
}

# --- the tour --------------------------------------------------------------------
for engine in soft,direct soft,direct,flush=50,tlb=64,traces; do
	out=$(VMM_RUN_FLAGS="--engine $engine --stats" TMPDIR=$work \
	    within 300 "$top/tools/run" "$VMM_BUILD" "$VMM_GUEST" \
	    </dev/null 2>err | tr -d '\r'; exit "${PIPESTATUS[0]}")
	is $? 0 "the tour powers off, --engine $engine"
	like "$out" 'TOUR OK' "and passes"
	err=$(cat err)
	host=$(counted execution)
	[ "$host" = yes ] || break
	for what in 'system calls' faults stops; do
		[ "$(counted "$what")" -gt 100 ]
		ok $? "$what were direct: $(counted "$what")"
	done
done
is "$(pgrep -fc "directory $work")" 0 "the tour leaves no server behind"

# --- hosts that do not let us -----------------------------------------------------
# without.py CALL COMMAND: a system call that fails with EPERM.
cat >without.py <<'END'
import ctypes, os, struct, sys
calls = {"ptrace": 101, "clone": 56, "execveat": 322}
what = sys.argv[1]

def insn(code, jt, jf, k):
    return struct.pack("HBBI", code, jt, jf, k)

# by the number; clone: of processes, not of threads (CLONE_THREAD)
code = [insn(0x20, 0, 0, 0), insn(0x15, 0, 3, calls[what])]
if what == "clone":
    code += [insn(0x20, 0, 0, 16), insn(0x45, 1, 0, 0x10000)]
else:
    code += [insn(0x20, 0, 0, 0), insn(0x15, 0, 1, calls[what])]
code += [insn(0x06, 0, 0, 0x00050001), insn(0x06, 0, 0, 0x7fff0000)]
code = b"".join(code)
program = ctypes.create_string_buffer(code, len(code))
prog = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(code) // 8,
    ctypes.addressof(program)))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, prog):
    sys.exit("seccomp: " + os.strerror(ctypes.get_errno()))
os.execv(sys.argv[2], sys.argv[2:])
END
for what in ptrace clone execveat; do
	within 100 python3 without.py "$what" "$vmctl" "${linux[@]}" \
	    --net none --stats --engine soft,direct \
	    --append "$console vmm.run=echo,\$((6*7)),done" \
	    </dev/null >out 2>err
	is $? 0 "without $what(2) the guest runs"
	like "$(tr -d '\r' <out)" '42 done' "and works"
	err=$(cat err)
	like "$(counted execution)" '^no: ' "direct execution: no"
	is "$(grep -v ': vm[0-9]*: ' err)" "" "without complaint"
done

[ "$host" = yes ] || {
	skip "processes" "direct execution: $host"
	done_testing
}

# --- the processes ----------------------------------------------------------------
# spin: a VM whose guest computes directly; its $pid.
spin() {
	start "${linux[@]}" --net none --engine soft,direct --append \
	    "$console vmm.run=echo,SPIN;while,:;do,:;done"
	eventually grep -q SPIN start.out && eventually running
}

# Those of the VM; the one that runs.
processes() {
	ps -o pid= --ppid "$pid"
}
running() {
	direct=$(ps -o pid=,stat= --ppid "$pid" | awk '$2 ~ /^[RS]/ { print $1 }')
	[ -n "$direct" ]
}

# ticks PID: its CPU time in ticks.
ticks() {
	awk '{ print $14 + $15 }' "/proc/$1/stat"
}

# gone PID...: none of them is a process, but for what init has not reaped.
# shellcheck disable=SC2317,SC2329 # called by eventually
gone() {
	local each
	for each; do
		! grep -qs '^State:.[^ZX]' "/proc/$each/status" || return 1
	done
}

for signal in KILL INT TERM; do
	spin
	ok $? "the guest's code runs in a process"
	mapfile -t all < <(processes)
	kill -s "$signal" "$pid"
	finish "$pid" 2>/dev/null
	eventually gone "${all[@]}"
	ok $? "that is gone after SIG$signal"
done

spin
ok $? "a guest for stopping"
kill -STOP "$pid"
sleep 1
running
is "$direct" "" "nothing runs while vmctl is stopped"
kill -CONT "$pid"
eventually running
ok $? "and goes on with it"
before=$(ticks "${direct:-self}")
# shellcheck disable=SC2317,SC2329 # called by eventually
more() {
	running && [ "$(ticks "$direct")" -gt $((before + 10)) ]
}
eventually more
ok $? "and computes"
kill -STOP "${direct:-$$}"
eventually more
ok $? "a SIGSTOP of its own is nothing to it"
running
kill -KILL "${direct:-$pid}"
eventually is_over "$pid"
ok $? "once that process is killed, the VM ends"
wait "$pid" 2>/dev/null
is $? 1 "with status 1"
like "$(cat start.err)" 'direct execution: [^:]* was killed' "and says why"
is "$(processes)" "" "no process is left"
done_testing
