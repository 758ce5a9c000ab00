#!/usr/bin/env bash
# A VM of vmd's is paused at any time of its boot, and while its disk, its
# network and its clocks are in use: nothing is lost, and the guest's time is
# right. One of the pauses is longer than what Linux lets a CPU be stuck for.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

linux_guest
export VMD_DIR=$work/run

# What the guest does: twenty times a download and a file that is read back
# from the disk, at a time; a conversation and a clock that are never idle.
cat >load <<'END'
data=http://10.0.2.2:$(cat /mnt/port.http)/data
i=0
while :; do echo $((i += 1)); usleep 20000; done |
    nc 10.0.2.2 "$(cat /mnt/port.talk)" >/tmp/echo &
while :; do echo "up: $(cut -d ' ' -f 1 /proc/uptime)"; usleep 100000; done &
for round in $(seq 20); do
	wget -q -O - "$data" 2>&1 | sha256sum >/tmp/net.$round &
	dd if=/dev/urandom of=/tmp/file bs=64k count=64 2>/dev/null
	dd if=/tmp/file of=/mnt/file bs=16k conv=fsync 2>/dev/null
	echo 3 >/proc/sys/vm/drop_caches
	dd if=/mnt/file bs=4k 2>/dev/null | cmp - /tmp/file &&
	    echo "disk: round $round: ok"
	wait $!
	echo "net: round $round: $(cat /tmp/net.$round)"
done
sync
echo "talk: $(tail -n 1 /tmp/echo) of it"
dmesg | sed 's/^/dmesg: /'
echo "date: $(date +%s)"
echo "the end"
usleep 500000
umount /mnt
END
head -c 8000000 /dev/urandom >data
mkdir www
mv data www/
sum=$(sha256sum <www/data)

cat >servers.py <<'END'
"""data by HTTP; and a server that says again what it hears, which has to be
1, 2, 3 ... of one connection."""
import functools, http.server, os, socket, sys, threading
class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass
web = http.server.ThreadingHTTPServer(("127.0.0.1", 0),
    functools.partial(Handler, directory="www"))
threading.Thread(target=web.serve_forever, daemon=True).start()
talk = socket.create_server(("127.0.0.1", 0))
for name, server in (("http", web.socket), ("talk", talk)):
    with open("port." + name + ".new", "w") as f:
        f.write("%d\n" % server.getsockname()[1])
    os.rename("port." + name + ".new", "port." + name)
peer = talk.accept()[0].makefile("rwb", buffering=0)
n = 0
for line in peer:
    n += 1
    if line != b"%d\n" % n:
        with open("talk.bad", "a") as f:
            f.write("%r after %d\n" % (line, n - 1))
    peer.write(line)
END
python3 servers.py &
children+=("$!")
eventually test -e port.talk
ok $? "the servers are up"

truncate -s 32M disk.img
mke2fs -q -F -t ext4 disk.img
for file in load port.http port.talk; do
	echo "write $file $file"
done | debugfs -w disk.img >/dev/null 2>&1
cat >vm.conf <<END
vm "p" {
	disable
	memory 256M
	engine soft
	boot "$VMM_GUEST/vmlinuz"
	initrd "$VMM_GUEST/initrd.img"
	append "console=ttyS0 quiet vmm.run=sh,/mnt/load"
	disk "$work/disk.img"
	interface { network user }
}
END
"$VMM_BUILD/bin/vmd" -d -f vm.conf >vmd.log 2>&1 &
vmd=$!
children+=("$vmd")
eventually test -S "$VMD_DIR/vmd.sock"
ok $? "vmd runs" vmd.log

cat >pause.py <<'END'
import os, random, subprocess, sys, threading, time
slow = int(os.environ.get("VMM_TEST_SLOW", "1"))
vmctl = sys.argv[1]
seed = int(os.environ.get("SEED", time.time()))
print("# SEED=%d" % seed)
random.seed(seed)
def order(word):
    done = subprocess.run([vmctl, word, "p"], capture_output=True, text=True,
        timeout=60 * slow)
    if done.returncode != 0:
        print("#", word, "failed:", done.stderr)
        sys.exit(1)
def pause(seconds):
    order("pause")
    time.sleep(seconds)
    order("unpause")

order("start")
console = subprocess.Popen([vmctl, "console", "p"], stdin=subprocess.PIPE,
    stdout=subprocess.PIPE)
ended = threading.Event()
ups = []		# host's time, guest's
def reader():
    with open("out", "wb") as out:
        for line in console.stdout:
            now = time.monotonic()
            out.write(line)
            out.flush()
            if line.startswith(b"up: "):
                ups.append((now, float(line[4:])))
            if line.startswith(b"date: "):
                with open("date", "w") as f:
                    f.write("%s %d\n" % (line[6:].strip().decode(), time.time()))
            if line.startswith(b"the end"):
                ended.set()
threading.Thread(target=reader, daemon=True).start()

boot = 0
while not ups and boot < 200:		# on its way up
    boot += 1
    pause(random.choice([0, random.uniform(0, 0.2)]))
    time.sleep(random.uniform(0, 0.1))
load = 0
while not ended.is_set() and load < 400:
    load += 1
    pause(30 if load == 5 else random.choice([0, random.uniform(0, 0.3)]))
    ended.wait(random.uniform(0, 0.4))
print("# %d pauses during the boot, %d after it" % (boot, load))
if not ended.wait(120 * slow):
    print("# the guest does not come to its end")
    sys.exit(1)
# the least that it is behind, at the beginning and at the end
behind = [host - guest for host, guest in ups]
third = len(behind) // 3
first, last = min(behind[:third]), min(behind[-third:])
print("# its clock is %.3f s behind" % (last - first))
with open("behind", "w") as f:
    f.write("%d\n" % abs((last - first) * 1000))
sys.exit(0 if load > 5 and boot > 3 else 1)
END
timeout -k 5 $((400 * VMM_TEST_SLOW)) python3 pause.py "$vmctl"
ok $? "a guest comes up, works and ends, though it is paused"
out=$(tr -d '\r' <out)
is "$(grep -c '^disk: round .*: ok' <<<"$out")" 20 "what it writes is what it reads"
is "$(grep "^net: round .*: $sum\$" <<<"$out" | sort -u | wc -l)" 20 \
    "its downloads are whole"
said=$(sed -n 's/^talk: \([0-9]*\) of it$/\1/p' <<<"$out")
[ "${said:-0}" -gt 50 ] && [ ! -e talk.bad ]
ok $? "a connection lasts and loses nothing (${said:-0} words)"
[ "$(cat behind)" -lt $((500 * VMM_TEST_SLOW)) ]
ok $? "the time since its boot is right"
read -r inside outside <"./date"
[ $((inside - outside)) -le 2 ] && [ $((outside - inside)) -le 2 ]
ok $? "and so is the time of day"
bad=$(grep -E '^dmesg: .*(stall|lockup|blocked for more|hung|BUG|Call Trace|unstable|I/O error|timed out)' \
    <<<"$out")
is "$bad" "" "the kernel has noticed nothing"
has_stopped() {
	"$vmctl" status p | grep -q ' stopped '
}
eventually has_stopped
ok $? "and it powers off"
e2fsck -fn disk.img >log 2>&1
ok $? "its file system is clean" log
{ kill "$vmd"; wait "$vmd"; } 2>/dev/null
is $? 0 "vmd ends" vmd.log
done_testing
