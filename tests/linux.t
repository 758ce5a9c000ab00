#!/usr/bin/env bash
# Debian's kernel, unmodified, in the virtual PC: the tour (disk, network,
# clock), the shell on the console, power-off, reboot and panic.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

linux=(run -b "$VMM_GUEST/vmlinuz" --initrd "$VMM_GUEST/initrd.img")
console="console=ttyS0 quiet"
limit=300
linux_guest

# --- make run's tour -------------------------------------------------------------
out=$(TMPDIR=$work within 300 "$top/tools/run" "$VMM_BUILD" "$VMM_GUEST" </dev/null 2>&1 |
    tr -d '\r'; exit "${PIPESTATUS[0]}")
is $? 0 "the tour powers off with status 0"
for step in kernel clock disk network random; do
	like "$out" "tour: $step: ok" "the tour's $step"
done
like "$out" 'TOUR OK' "the tour passes"
is "$(pgrep -fc "directory $work")" 0 "and leaves no server behind"
clock=$(sed -n 's/^tour: clock: ok: \(.*\) UTC,.*/\1/p' <<<"$out")
clock=$(date -u -d "$clock" +%s)
now=$(date +%s)
[ $((now - clock)) -lt 300 ] && [ $((clock - now)) -lt 60 ]
ok $? "the guest's clock is right"

# --- what the guest sees -----------------------------------------------------------
truncate -s 64M disk.img
mke2fs -q -F -t ext4 disk.img
run "${linux[@]}" -m 256M -d disk.img --append "$console \
vmm.run=dmesg;echo,memory:\$(free|awk,'/Mem/{print\$2}');\
echo,irq:;cat,/proc/interrupts;\
echo,mp:\$(dd,if=/dev/mem,bs=4,skip=\$((0xf0000/4)),count=1);\
echo,disk:\$(cat,/sys/block/vda/size);\
echo,net:\$(cat,/sys/class/net/eth0/address);echo,data>/mnt/file;\
cd,/sys/devices/system/cpu/vulnerabilities;grep,.,*,|,sed,s/^/bug:/"
is "$status" 0 "a command runs and the guest powers off"
like "$out" 'Hypervisor detected' "it knows that it is a guest"
like "$out" 'disk:131072' "the disk has its size"
like "$out" 'net:[0-9a-f:]{17}' "the interface has an address"
like "$out" 'memory:2[0-9]{5}' "-m 256M"
like "$out" 'mp:_MP_' "a kernel without ACPI would find the IOAPIC"
# The guest's CPU costs it little: no workaround but those that Linux has for
# all CPUs or that are one write at boot, and no clock to be measured.
like "$out" 'bug:meltdown:Not affected' "no page-table isolation"
like "$out" 'bug:spectre_v2:Mitigation: Enhanced / Automatic IBRS' "no retpolines"
bad=$(tr -d '\r' <<<"$out" | grep '^bug:' | grep -Ev ':Not affected|^bug:spectre_v' |
    grep -Ev 'retbleed:Mitigation: Enhanced IBRS|srbds:(Unknown|Mitigation: TSX)')
is "$bad" "" "and no other workaround"
bad=$(grep -Eo 'BHI: (SW|Vulnerable|Retpoline).*|Retpolines.*' <<<"$out")
is "$bad" "" "no loop at each system call"
like "$out" 'Calibrating delay loop \(skipped\) preset value' "no delay loop"
bad=$(grep -E 'calibration|Unable to calibrate|Marking TSC unstable' <<<"$out")
is "$bad" "" "no clock is calibrated"
complaints="BUG|Oops|Call Trace|ACPI (BIOS )?(Error|Warning)|nobody cared"
complaints+="|segfault|[Ff]irmware [Bb]ug|timed out"
bad=$(grep -E "$complaints" <<<"$out")
is "$bad" "" "the kernel has nothing to complain about"
e2fsck -fn disk.img >fsck 2>&1
is $? 0 "the file system is clean"
debugfs -R 'cat file' disk.img 2>/dev/null | grep -qx data
ok $? "what the guest wrote is in the image"

# --- reboot, panic ---------------------------------------------------------------------
run "${linux[@]}" -d disk.img --net none --append "$console \
vmm.run=test,-e,/mnt/booted&&poweroff,-f;touch,/mnt/booted;umount,/mnt;\
reboot,-f"
is "$status" 0 "reboot boots again"
debugfs -R 'stat booted' disk.img 2>/dev/null | grep -q regular
ok $? "after the first boot had done its work"
run "${linux[@]}" --net none --no-reboot --append "$console \
vmm.run=echo,1>/proc/sys/kernel/sysrq;echo,b>/proc/sysrq-trigger"
is "$status" 0 "--no-reboot ends at the first reboot"
run "${linux[@]}" --net none --timeout 5 --append "$console"
is "$status" 124 "the time limit ends a guest at its shell or before"

# --- the shell on the console -------------------------------------------------------------
python3 - "$vmctl" "${linux[@]}" -d disk.img --append "$console" <<'END'
import os, pty, select, sys, time
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], ["vmctl"] + sys.argv[2:])
seen = b""
def expect(text, seconds=240 * int(os.environ.get("VMM_TEST_SLOW", "1"))):
    global seen
    end = time.monotonic() + seconds
    while text not in seen:
        if not select.select([fd], [], [], max(0, end - time.monotonic()))[0]:
            break
        try:
            data = os.read(fd, 4096)
        except OSError:
            break
        seen += data
    if text not in seen:
        sys.stdout.buffer.write(b"# no " + text + b" in:\n# " +
            seen.replace(b"\n", b"\n# ") + b"\n")
        sys.stdout.flush()
        os.kill(pid, 9)
        sys.exit(1)
    seen = seen.split(text, 1)[1]
expect(b"guest:~# ")
os.write(fd, b"echo $((6 * 7)) tty=$(tty)\r")
expect(b"42 tty=/dev/ttyS0")
expect(b"guest:~# ")
os.write(fd, b"echo s$((1))ps; sleep 1000\r")
expect(b"s1ps")
time.sleep(2)
os.write(fd, b"\x03")
expect(b"guest:~# ")
os.write(fd, b"sleep 500 &\r")
expect(b"guest:~# ")
os.write(fd, b"jobs\r")
expect(b"Running")
expect(b"guest:~# ")
os.write(fd, b"poweroff\r")
end = time.monotonic() + 240
while time.monotonic() < end:
    if select.select([fd], [], [], 0.2)[0]:
        try:
            os.read(fd, 4096)
        except OSError:
            pass
    done, status = os.waitpid(pid, os.WNOHANG)
    if done:
        sys.exit(os.waitstatus_to_exitcode(status))
os.kill(pid, 9)
sys.exit(2)
END
is $? 0 "the shell has job control and ^C, and poweroff ends with status 0"
e2fsck -fn disk.img >fsck 2>&1
is $? 0 "and the file system is clean"
done_testing
