#!/usr/bin/env bash
# The guest's time while the host stops the process, and what a guest that has
# nothing to do costs.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

linux_guest
cat >"$work/guest.py" <<'END'
import os, queue, random, signal, subprocess, sys, threading, time
slow = int(os.environ.get("VMM_TEST_SLOW", "1"))
sleep = {"ticks": "sleep,1", "stops": "usleep,20000", "idle": "sleep,1000"}
what, vmctl, guest = sys.argv[1:4]
clock = "noapic nolapic clocksource=jiffies" if what == "ticks" else ""
vm = subprocess.Popen([vmctl, "run", "-b", guest + "/vmlinuz", "--initrd",
    guest + "/initrd.img", "--net", "none", "--append",
    "console=ttyS0 quiet " + clock + " vmm.run=while,cat,/proc/uptime,&&" +
    sleep[what] + ";do,:;done"],
    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
lines = queue.Queue()

def reader():
    for text in vm.stdout:
        word = text.split()[:1]
        if len(word) == 1 and word[0].replace(b".", b"").isdigit():
            lines.put((time.monotonic(), float(word[0])))
threading.Thread(target=reader, daemon=True).start()

def end(status, *why):
    if why:
        print("#", *why)
    vm.kill()
    sys.exit(status)

# The guest's next sign of life: how far its clock is behind the first sign's.
first = None
def behind(seconds):
    global first
    try:
        host, inside = lines.get(timeout=seconds * slow)
    except queue.Empty:
        end(1, "the guest is silent")
    first = first or host - inside
    return host - inside - first

def stop(seconds):
    vm.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    while not lines.empty():
        lines.get()
    vm.send_signal(signal.SIGCONT)

if what == "ticks":
    for i in range(3):
        behind(240)
    stop(6)
    late = [behind(60) for i in range(12)]
    print("# behind:", " ".join("%.2f" % n for n in late))
    end(0 if late[0] > 1 and min(late) < 0.75 else 1)
elif what == "stops":
    seed = int(time.time())
    print("# seed", seed)
    random.seed(seed)
    for i in range(4):		# on its way up
        time.sleep(random.uniform(0.1, 1))
        stop(random.uniform(0.1, 2))
    behind(240)
    for i in range(20):
        time.sleep(random.uniform(0.01, 0.2))
        stop(random.choice([0.001, 0.1, random.uniform(0, 1.5)]))
        for j in range(3):
            late = behind(60)
    # a busy host delays what is printed, but not for ever
    for i in range(100):
        late = min(late, behind(60))
    end(0 if late < 0.5 else 1, "behind: %.2f" % late)
elif what == "idle":
    def spent():
        with open("/proc/%d/stat" % vm.pid) as f:
            return sum(map(int, f.read().rpartition(")")[2].split()[11:13]))
    behind(240)
    time.sleep(3)
    before = spent()
    time.sleep(5)
    percent = (spent() - before) / os.sysconf("SC_CLK_TCK") / 5 * 100
    end(0 if percent < 2 * slow else 1, "%.1f %% of a core" % percent)
END

show() {
	timeout -k 5 $((300 * VMM_TEST_SLOW)) python3 "$work/guest.py" "$1" \
	    "$vmctl" "$VMM_GUEST"
	ok $? "$2"
}
show ticks "a guest that counts the PIT's ticks gets all those of a stop"
show stops "a guest goes on after each of many stops, its clock right"
show idle "an idle guest uses less than 2 % of a core"
done_testing
