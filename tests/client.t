#!/usr/bin/env python3
"""vmctl as a client of vmd: what it asks, what it makes of the answers, and the
console, against a server that plays vmd."""
import fcntl
import json
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import threading
import time

top = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
build = os.environ.get("VMM_BUILD", top + "/build")
vmctl = build + "/bin/vmctl"
work = os.path.realpath(tempfile.mkdtemp(prefix="client."))
folder = work + "/run"
os.mkdir(folder)
os.environ["VMD_DIR"] = folder
os.environ["VMM_ENGINE"] = "soft"
os.chdir(work)
limit = 60
tests = failed = 0


def ok(passed, name, *diagnosis):
    global tests, failed
    tests += 1
    print(("ok" if passed else "not ok"), tests, "-", name)
    if not passed:
        failed += 1
        for line in diagnosis:
            print("#", str(line)[:1000])
    sys.stdout.flush()


def same(got, want, name):
    ok(got == want, name, f"got  {got!r}", f"want {want!r}")


class Vmd:
    """Answers by a table: command to an answer, a list of them, or a function
    of the request that gives one of these. Bytes are sent as they are, None
    ends the connection. "fds" of an answer goes beside it."""

    def __init__(self, path=folder + "/vmd.sock"):
        self.path = path
        self.answers = {}
        self.asked = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.bind(path)
        self.socket.listen(16)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                peer = self.socket.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.talk, args=(peer,),
                             daemon=True).start()

    def talk(self, peer):
        while data := peer.recv(200000):
            request = json.loads(data)
            self.asked.append(request)
            answer = self.answers.get(request["command"], {"ok": True})
            if callable(answer):
                answer = answer(request)
            for one in answer if isinstance(answer, list) else [answer]:
                if one is None:
                    peer.close()
                    return
                fds = []
                if isinstance(one, dict):
                    fds = one.get("fds", [])
                    one = {k: v for k, v in one.items() if k != "fds"}
                    one = json.dumps(one).encode()
                socket.send_fds(peer, [one], fds)
                for fd in fds:
                    os.close(fd)
        peer.close()

    def end(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        os.unlink(self.path)


def run(*words, stdin=subprocess.DEVNULL, **more):
    """vmctl's status, standard output and standard error."""
    p = subprocess.run([vmctl, *words], stdin=stdin, capture_output=True,
                       text=True, timeout=limit, **more)
    return p.returncode, p.stdout, p.stderr


def refused(name, text, *words, **more):
    """One line on standard error that has the text, and status 1."""
    status, out, err = run(*words, **more)
    ok(status == 1 and out == "" and err.count("\n") == 1 and
       err.startswith("vmctl: ") and text in err, name, status, out, err)


def objects(text):
    """Without the VMs that others have in the foreground on this host."""
    found = json.loads(text)
    return {**found, "vms": [v for v in found["vms"]
                             if "foreground" not in v]}


def asks(name, want, *words, status=0, **more):
    """What vmd is asked last, and the exit status; returns what is said."""
    vmd.asked.clear()
    got, out, err = run(*words, **more)
    ok(got == status and vmd.asked[-1:] == [want], name, f"status {got}",
       f"asked {vmd.asked[-1:]}", f"want  {[want]}", err)
    return err


def error(code, text):
    return {"ok": False, "code": code, "error": text}


def vm(number, name, **more):
    return {"id": number, "name": name, "pid": 4000 + number, "cpus": 2,
            "memory": 1 << 30, "resident": 214 << 20, "tty": "/dev/pts/7",
            "owner": "anna", "uid": 1000, "state": "running",
            "engine": "soft", "uptime": 5, "disks": [], "interfaces": [],
            **more}


def stopped(number, name):
    return vm(number, name, pid=0, resident=0, tty="", state="stopped")


# --- no vmd -------------------------------------------------------------------
for words in (["start", "x"], ["console", "x"], ["pause", "x"],
              ["unpause", "x"], ["load", "/dev/null"], ["reload"], ["reset"],
              ["log", "brief"]):
    refused(f"{words[0]} without vmd", "vmd does not run; start it with",
            *words)
refused("a folder that is not absolute", "VMD_DIR is run", "reload",
        env={**os.environ, "VMD_DIR": "run"})
refused("a folder whose path is too long", "too long", "reload",
        env={**os.environ, "VMD_DIR": "/" + "x" * 120})
refused("a folder below a file", "Not a directory", "reload",
        env={**os.environ, "VMD_DIR": vmctl + "/x"})
status, out, err = run("status")
ok(status == 0 and out.startswith("   ID     PID VCPUS") and err == "",
   "status without vmd", status, out, err)
status, out, err = run("status", "-j")
same((status, objects(out), err), (0, {"vms": []}, ""),
     "status -j without vmd: an empty list")
if os.geteuid() == 0:
    os.mkdir(work + "/foreign")
    os.chown(work + "/foreign", 12345, -1)
    refused("a folder of somebody else", "belongs to user 12345", "reload",
            env={**os.environ, "VMD_DIR": work + "/foreign"})
    # Root's vmd is not for everybody; who may not use it has none. In a
    # namespace, because the folder is the host's.
    os.chmod(work, 0o755)
    shutil.copy(vmctl, work + "/vmctl")
    with open(work + "/others", "w", encoding="utf-8") as f:
        f.write("""import os, socket, subprocess, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
os.mkdir("/run/vmd")
s.bind("/run/vmd/vmd.sock")
s.listen()
os.chmod("/run/vmd/vmd.sock", 0o660)
sys.exit(subprocess.call(sys.argv[1:], env={"VMM_ENGINE": "soft"}))
""")
    other = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs t /run && "$@"',
             "sh", sys.executable, work + "/others", "setpriv",
             "--reuid=65533", "--regid=65533", "--clear-groups",
             work + "/vmctl"]
    p = subprocess.run(other + ["status"], capture_output=True, text=True,
                       timeout=limit)
    ok(p.returncode == 0 and p.stdout.startswith("   ID     PID") and
       p.stderr == "", "status where root's vmd is not for us", p)
    p = subprocess.run(other + ["start", "x"], capture_output=True, text=True,
                       timeout=limit)
    same((p.returncode, p.stdout, p.stderr),
         (1, "", "vmctl: start: root's vmd does not listen to you; start "
          "your own with \"vmd\"\n"), "start where root's vmd is not for us")
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as abandoned:
    abandoned.bind(folder + "/vmd.sock")
refused("a socket that nobody serves", "vmd does not run", "reload")
os.unlink(folder + "/vmd.sock")

vmd = Vmd()

# --- commands that are one question -------------------------------------------
for name, want, *words in (
        ("reload", {"command": "reload"}, "reload"),
        ("a prefix", {"command": "reload"}, "rel"),
        ("reset", {"command": "reset", "what": "all"}, "reset"),
        ("reset all", {"command": "reset", "what": "all"}, "reset", "all"),
        ("reset vms", {"command": "reset", "what": "vms"}, "reset", "vms"),
        ("reset v", {"command": "reset", "what": "vms"}, "reset", "v"),
        ("reset switches", {"command": "reset", "what": "switches"},
         "reset", "switches"),
        ("log brief", {"command": "log", "verbose": False}, "log", "brief"),
        ("log verbose", {"command": "log", "verbose": True},
         "log", "verbose")):
    same(asks(name, want, *words), "", f"{name}: nothing is said")
for name, said, *words in (
        ("pause", "vmctl: paused vm web\n", "pause", "web"),
        ("pause by a prefix", "vmctl: paused vm 7\n", "pa", "7"),
        ("unpause", "vmctl: unpaused vm web\n", "unpause", "web")):
    same(asks(name, {"command": words[0] if words[0] != "pa" else "pause",
                     "vm": words[1]}, *words), said, f"{name}: says so")
os.mkdir("conf")
with open("conf/vm.conf", "w", encoding="utf-8"):
    pass
asks("load: the path from /", {"command": "load",
                               "file": work + "/conf/vm.conf"},
     "load", "conf/../conf/vm.conf")
refused("load of what is not there", "nofile: No such file", "load", "nofile")
for words, text in ((["load"], "name one file"),
                    (["load", "a", "b"], "name one file"),
                    (["log"], "say brief or verbose"),
                    (["log", "loud"], "say brief or verbose"),
                    (["log", ""], "say brief or verbose"),
                    (["reset", "disks"], "say all, switches or vms"),
                    (["reset", ""], "say all, switches or vms"),
                    (["reset", "vms", "all"], "say all, switches or vms"),
                    (["reload", "x"], "one word too many"),
                    (["pause"], "name one VM"),
                    (["unpause", "a", "b"], "name one VM"),
                    (["console"], "name one VM"),
                    (["start"], ""),
                    (["start", "a", "b"], ""),
                    (["stop"], "name one VM"),
                    (["stop", "-a", "x"], "name one VM"),
                    (["pause", "-x", "a"], "option -x is unknown"),
                    (["status", "a", "b"], "one id or name only")):
    refused(" ".join(words) + ": refused", text, *words)
for command in ("console", "help", "load", "log", "pause", "unpause", "reload",
                "reset", "show", "start", "status", "stop", "wait"):
    status, out, err = run(command, "--help")
    ok(status == 0 and out.startswith(f"usage: vmctl {command}") and
       err == "", f"{command} --help", out, err)

status, out, err = run("help")
same((status, out, err), run("--help"), "help")
status, out, err = run("help", "con")
same((status, out, err), run("console", "--help"), "help con")
refused("help of what is not there", "no command xyzzy", "help", "xyzzy")
refused("help of two", "one command only", "help", "run", "stop")

# --- what vmd refuses, and answers that are none ------------------------------
vmd.answers["pause"] = error("EPERM", "web is not yours")
refused("a refusal is one line", "pause: web is not yours", "pause", "web")
vmd.answers["pause"] = error("EPERM", "a\nb\x1b[2J")
refused("control characters do not reach the terminal", "a?b?[2J",
        "pause", "web")
vmd.answers["pause"] = error("EWHAT", "no errno of ours")
refused("an errno that nobody knows", "no errno of ours", "pause", "web")
vmd.answers["pause"] = {"ok": False}
refused("a refusal without a word", "pause: ", "pause", "web")
vmd.answers["pause"] = [{"event": "state", "state": "paused"}, {"ok": True}]
status, out, err = run("pause", "web")
same(status, 0, "events are passed over")
for name, answer in (("the end", None), ("no JSON", b"{"), ("no object", b"[]"),
                     ("NUL", b"{\0}"), ("empty", [b"", None]),
                     ("deep", b"[" * 5000)):
    vmd.answers["pause"] = answer
    refused(f"an answer that is none: {name}", "pause: ", "pause", "web")
vmd.answers.clear()

# --- status -------------------------------------------------------------------
header = ("   ID     PID VCPUS  MAXMEM  CURMEM     TTY        OWNER"
          "    STATE NAME")
all_vms = [stopped(1, "db"), vm(2, "web"),
           vm(3, "mail", state="paused", owner="otto:www"),
           stopped(4, "old")]


def do_status(request):
    word = request.get("vm")
    return {"ok": True, "vms": [v for v in all_vms if word is None or
                                word in (v["name"], str(v["id"]))]}


vmd.answers["status"] = do_status
rows = {
    "db": "    1       -     2    1.0G       -       -         anna"
          "  stopped db",
    "web": "    2    4002     2    1.0G    214M   pts/7         anna"
           "  running web",
    "mail": "    3    4003     2    1.0G    214M   pts/7     otto:www"
            "   paused mail",
    "old": "    4       -     2    1.0G       -       -         anna"
           "  stopped old"}
status, out, err = run("status")
same((status, [line for line in out.splitlines()
               if line == header or line in rows.values()], err),
     (0, [header] + [rows[n] for n in ("web", "mail", "db", "old")], ""),
     "status: the table, those that run first")
status, out, err = run("show")
same(out.splitlines()[1], rows["web"], "show is the same")
for word in "db", "1":
    status, out, err = run("status", word)
    same((status, out.splitlines(), err), (0, [header, rows["db"]], ""),
         f"status {word}: that one")
status, out, err = run("status", "nobody")
same((status, out.splitlines(), err), (0, [header], ""),
     "status of one that is not there: the header")
status, out, err = run("status", "-j")
same((status, objects(out)), (0, {"vms": all_vms}),
     "status -j: all that vmd tells")
status, out, err = run("status", "--json", "mail")
same((status, json.loads(out)), (0, {"vms": [all_vms[2]]}),
     "status --json of one")
many = [vm(n, f"vm-{n}") for n in range(100)]
vmd.answers["status"] = [
    {"ok": True, "vms": many[:40], "more": True},
    {"ok": True, "vms": many[40:80], "more": True},
    {"ok": True, "vms": many[80:]}]
status, out, err = run("status", "-j")
same((status, objects(out)), (0, {"vms": many}),
     "an answer in several packets")
vmd.answers["status"] = [{"ok": True, "vms": many[:40], "more": True}, None]
refused("an answer that ends in the middle", "ended before", "status")
for name, vms in (("no list", 5), ("of the wrong types", ["x", 1, None, {}]),
                  ("none", None)):
    vmd.answers["status"] = {"ok": True, "vms": vms}
    status, out, err = run("status")
    ok(status in (0, 1) and "\n" in out + err, f"a list of VMs: {name}",
       status, out, err)
if os.path.exists("/dev/full"):
    vmd.answers["status"] = do_status
    with open("/dev/full", "w", encoding="utf-8") as full:
        p = subprocess.run([vmctl, "status"], stdout=full, timeout=limit,
                           stderr=subprocess.PIPE, text=True)
    ok(p.returncode == 1 and "standard output" in p.stderr,
       "a table that cannot be written", p.returncode, p.stderr)
vmd.answers["status"] = do_status

# --- start --------------------------------------------------------------------
started = {"ok": True, "id": 9, "name": "new", "tty": "/dev/pts/3"}
vmd.answers["start"] = started
same(asks("start of a configured one", {"command": "start", "vm": "db"},
          "start", "db"),
     "vmctl: started vm 9 successfully, tty /dev/pts/3\n",
     "start says number and terminal")
asks("start by number", {"command": "start", "vm": "1"}, "start", "1")


def defines(name, want, *words, template=None, said=()):
    """The configuration that vmd is sent has these members."""
    vmd.asked.clear()
    status, out, err = run("start", *words, "new")
    request = vmd.asked[-1] if vmd.asked else {}
    config = request.get("config", {})
    want = {"name": "new", **want}
    ok(status == 0 and {k: config.get(k) for k in want} == want and
       request.get("template") == template and
       all(s in err for s in said) and
       err.count("\n") == len(said) + 1, name, status, request, want, err)
    return config


config = defines("the smallest", {}, "-b", "kernel",
                 said=["new has no disk"])
ok(config.get("boot") == work + "/kernel",
   "a path is made absolute where the user is", config)
config = defines("all that can be said",
                 {"memory": 1 << 30, "cpus": 2, "append": "console=ttyS0 x=1",
                  "engine": "soft", "initrd": work + "/initrd",
                  "cdrom": work + "/cd.iso"},
                 "-m", "1G", "--cpus", "2", "--append", "console=ttyS0 x=1",
                 "--engine", "soft", "--initrd", "initrd", "-r", "cd.iso",
                 "-b", "kernel", "-d", "one.img", "-d", "qcow2:two.img",
                 "-d", "raw:/abs/three.img", "-d", "nbd://host/four",
                 "-B", "cdrom", "-n", "lan", "-L")
paths = json.dumps(config)
for path in (work + "/one.img", work + "/two.img", "/abs/three.img",
             "nbd://host/four"):
    ok(json.dumps(path) in paths, f"the disk {path}", paths)
ok("raw:" not in paths and "qcow2:" not in paths,
   "formats are no part of paths", paths)
config = defines("a file whose name begins with nbd", {}, "-d", "nbdisk.img")
ok(work + "/nbdisk.img" in json.dumps(config), "is a path", config)
defines("an instance", {}, "-t", "web", "-d", "x.img", template="web")
defines("an instance of nothing but that", {}, "-t", "web", template="web")
defines("without disk and interface", {}, "-i", "0", "-b", "k",
        said=["new has no disk", "new has no network interface"])
config = defines("an instance without its template's interfaces", {}, "-t",
                 "web", "-i", "0", template="web",
                 said=["new has no network interface"])
ok(config.get("no_interfaces"), "is told", config)
defines("the interface is left out", {}, "--net", "none", "-d", "x",
        said=["new has no network interface"])
config = defines("a forwarded port", {}, "-d", "x", "--net",
                 "user,hostfwd=tcp:127.0.0.1:2222-22")
ok("2222" in json.dumps(config) and "22" in json.dumps(config),
   "is told", config)
config = defines("switches and taps", {}, "-d", "x", "-n", "lan", "--net",
                 "switch=wan,locked", "--net",
                 "tap=tap3,bridge=br0,mac=52:54:00:12:34:56", "--net", "tap")
same(config["interfaces"], [
    {"kind": "switch", "switch": "lan"},
    {"kind": "switch", "switch": "wan", "locked": True},
    {"kind": "tap", "tap": "tap3", "bridge": "br0",
     "mac": "52:54:00:12:34:56"}, {"kind": "tap"}], "are told")
config = defines("interfaces by their number", {}, "-d", "x", "-i", "3")
ok(3 in config.values() or len(config.get("interfaces", [])) == 3,
   "is told", config)
for words, text in (
        (["-d", ""], "names no file"), (["-d", "qcow2:"], "names no file"),
        (["-b", "a", "-b", "b"], "given before"),
        (["-r", "a", "-r", "b"], "given before"),
        (["-t", "a", "-t", "b"], "given before"),
        (["--initrd", "a", "--initrd", "b"], "given before"),
        (["--append", "a", "--append", "b"], "given before"),
        (["-d", "a"] * 5, "more than 4 disks"),
        (["-L"] * 5, "more than 4 interfaces"),
        (["-i", "5"], "-i: "), (["-i", "x"], "-i: "), (["-m", "x"], "-m: "),
        (["-m", "0"], "-m: "), (["-m", "512"], "512M"),
        (["-m", "1500K"], "whole megabytes"), (["-m", "64G"], "32768M"),
        (["--cpus", "x"], "cpus: "), (["--cpus", "0"], "cpus: "), (["-B", "floppy"], "no device to boot"),
        (["--net", "x"], "net: "), (["-x"], "option -x is unknown"),
        (["-m"], "-m needs a value")):
    vmd.asked.clear()
    refused("start " + " ".join(words), text, "start", "new", *words)
    same(vmd.asked, [], "and vmd is not asked")
for name in ".x", "12", "a b", "a/b", "x" * 64, "":
    refused(f"the name \"{name}\"", "", "start", "-d", "x", "--", name)
vmd.answers["start"] = error("ENOENT", "vm not found: nobody")
refused("a VM that is not configured", "options such as -d define a new one",
        "start", "nobody")
vmd.answers["start"] = error("EALREADY", "web runs already")
refused("a VM that runs", "start: web runs already", "start", "web")

# --- stop and wait ------------------------------------------------------------
for how, said in (("asked", "sent request to stop vm web"),
                  ("powerdown", "vm web has shut down"),
                  ("killed", "vm web did not listen and was ended"),
                  ("terminated", "vm web was ended")):
    vmd.answers["stop"] = {"ok": True, "id": 2, "name": "web", "how": how}
    same(asks(f"stop, {how}", {"command": "stop", "vm": "2"}, "stop", "2"),
         f"vmctl: {said}\n", f"stop, {how}: what is said")
asks("stop -f", {"command": "stop", "vm": "web", "force": True},
     "stop", "-f", "web")
asks("stop -w", {"command": "stop", "vm": "web", "wait": True},
     "stop", "-w", "web")
asks("stop, the options behind", {"command": "stop", "vm": "web",
                                  "force": True, "wait": True},
     "stop", "web", "-fw")
vmd.answers["stop"] = {"ok": True, "vms": [
    {"id": 2, "name": "web", "how": "asked"},
    {"id": 3, "name": "mail", "how": "powerdown"}]}
vmd.asked.clear()
status, out, err = run("stop", "-a")
same(vmd.asked[-1], {"command": "stop", "all": True}, "stop -a")
same(err.splitlines(),
     ["vmctl: sent request to stop vm web", "vmctl: vm mail has shut down"],
     "stop -a tells of each")
same(status, 0, "stop -a: the status")
vmd.answers["stop"] = error("EINVAL", "cannot stop vm that is not running")
refused("stop of one that does not run", "that is not running", "stop", "db")
refused("stop of one that is not there", "there is no VM nobody",
        "stop", "nobody")
vmd.answers["wait"] = {"ok": True, "end": "poweroff"}
same(asks("wait", {"command": "wait", "vm": "web"}, "wait", "web"),
     "vmctl: vm web ended: poweroff\n", "wait says how it ended")
vmd.answers["wait"] = None
refused("wait while vmd ends", "ended before", "wait", "web")
refused("wait for one that is not there", "there is no VM nobody",
        "wait", "nobody")

# --- console ------------------------------------------------------------------
ours = None


def do_console(request):
    global ours
    ours, theirs = socket.socketpair()
    ours.sendall(b"[what was before]")
    return {"ok": True, "fds": [theirs.detach()]}


def receive(text):
    """Waits until the guest got the text; what it got."""
    got = b""
    ours.settimeout(limit)
    while text not in got:
        data = ours.recv(65536)
        if not data:
            break
        got += data
    return got


def ends(process):
    """Its exit status, or None."""
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


def piped(**more):
    return subprocess.Popen([vmctl, "console", "web"],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            **more)


vmd.answers["console"] = do_console
p = piped(stdin=subprocess.PIPE)
p.stdin.write(b"~.\nuname\n")
p.stdin.close()
same(p.stdout.read(17), b"[what was before]", "what was missed comes first")
same(receive(b"uname\n"), b"~.\nuname\n", "input from a pipe, as it is")
ours.sendall(b"Linux\n")
same(p.stdout.read(6), b"Linux\n", "and goes on when it has ended")
ours.close()
same((ends(p), p.stdout.read(), p.stderr.read()), (0, b"", b""),
     "the console's end: status 0, nothing said")
for name, source in (("/dev/null", "/dev/null"), ("a file", "conf/words")):
    with open("conf/words", "wb") as f:
        f.write(b"words")
    with open(source, "rb") as f:
        p = piped(stdin=f)
    same(p.stdout.read(17), b"[what was before]", f"input from {name}")
    if name == "a file":
        same(receive(b"words"), b"words", "a file's words arrive")
    ours.close()
    same(ends(p), 0, f"input from {name}: status 0")

p = piped(stdin=subprocess.DEVNULL)
p.stdout.read(17)
block = bytes(range(256)) * 4096
writer = threading.Thread(target=ours.sendall, args=(block,))
writer.start()
same(p.stdout.read(len(block)) == block, True,
     "a megabyte of any bytes comes through")
writer.join()
p.stdout.close()
same(ends(p), 128 + signal.SIGPIPE, "the reader goes: SIGPIPE's status, "
     "without another byte")
ours.close()

# Nobody reads: the pipe fills, and it still obeys.
p = piped(stdin=subprocess.DEVNULL)
p.stdout.read(17)
ours.settimeout(2)
try:
    while True:
        ours.send(block)
except TimeoutError:
    pass
p.terminate()
same(ends(p), 128 + signal.SIGTERM, "SIGTERM while nobody reads")
ours.close()
with open("/dev/full", "wb") as full:
    p = subprocess.Popen([vmctl, "console", "web"], stdout=full,
                         stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    err = p.stderr.read()
    ok(ends(p) == 1 and b"standard output: No space" in err,
       "standard output that takes nothing", err)
ours.close()
vmd.answers["console"] = error("EPERM", "web is not yours")
refused("a console that is not ours", "web is not yours", "console", "web")
vmd.answers["console"] = {"ok": True}
refused("an answer without a console", "sent no console", "console", "web")
vmd.answers["console"] = do_console


class Terminal:
    """vmctl as the foreground job of a session of its own, under a leader in a
    shell's place."""

    def __init__(self, *words, orphan=False):
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.output = b""
        reader, writer = os.pipe()
        self.leader = os.fork()
        if self.leader == 0:
            os.setsid()
            fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
            for number in signal.SIGHUP, signal.SIGTTOU:
                signal.signal(number, signal.SIG_IGN)
            pid = os.fork()
            if pid == 0:
                for fd in range(3):
                    os.dup2(self.slave, fd)
                if not orphan:
                    os.setpgid(0, 0)
                os.tcsetpgrp(0, os.getpgrp())
                for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT,
                               signal.SIGTERM, signal.SIGTSTP,
                               signal.SIGTTOU):
                    signal.signal(number, signal.SIG_DFL)
                os.closerange(3, 256)
                os.execv(vmctl, [vmctl, *words])
            os.write(writer, b"%d\n" % pid)
            while True:
                status = os.waitpid(pid, os.WUNTRACED)[1]
                if not os.WIFSTOPPED(status):
                    break
                os.write(writer, b"stopped\n")
            os.write(writer, b"%d\n" % os.waitstatus_to_exitcode(status))
            os._exit(0)
        os.close(writer)
        self.report = os.fdopen(reader)
        self.pid = int(self.report.readline())

    def expect(self, text):
        end = time.monotonic() + limit
        while text not in self.output:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.master], [], [],
                                              left)[0]:
                return False
            self.output += os.read(self.master, 4096)
        return True

    def send(self, data):
        os.write(self.master, data)

    def eventually_raw(self, raw):
        end = time.monotonic() + limit
        while time.monotonic() < end:
            is_raw = not termios.tcgetattr(self.slave)[3] & termios.ICANON
            if is_raw == raw:
                return True
            time.sleep(0.02)
        return False

    def line(self):
        """The leader's next line, or None; the output is read meanwhile."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            ready = select.select([self.master, self.report], [], [], 1)[0]
            if self.master in ready:
                self.output += os.read(self.master, 4096)
            if self.report in ready:
                return self.report.readline().strip()
        os.kill(self.pid, signal.SIGKILL)
        return None

    def finish(self, name, want, *said):
        got = self.line()
        same(got, str(want), f"{name}: status {want}")
        while select.select([self.master], [], [], 0)[0]:
            self.output += os.read(self.master, 4096)
        os.waitpid(self.leader, 0)
        ok(termios.tcgetattr(self.slave) == self.before,
           f"{name}: the terminal is given back")
        for text in said:
            ok(text in self.output, f"{name}: says {text}", self.output)
        os.close(self.master)
        os.close(self.slave)
        self.report.close()
        ours.close()


def session(*words, **more):
    t = Terminal(*(words or ("console", "web")), **more)
    ok(t.expect(b"[what was before]") and t.eventually_raw(True),
       "a terminal: connected and raw", t.output)
    return t


t = session()
ok(b"connected to web" in t.output, "says to what, and how to leave",
   t.output)
t.send(b"ls\r\x03\x1a\x1c~x~~\r")
same(receive(b"~~\r"), b"ls\r\x03\x1a\x1c~x~~\r", "keys go to the guest")
t.send(b"~~.~y\r~~z\r")
same(receive(b"z\r"), b"~.~y\r~z\r", "~~ is one at a line's start only")
t.send(b"~?")
ok(t.expect(b"this list"), "~? lists the escapes", t.output)
ours.sendall(b"login: ")
ok(t.expect(b"login: "), "the guest's output comes", t.output)
t.send(b"\r~.")
t.finish("~.", 0, b"login: \r\nvmctl: left web\r\n")

t = session()
ours.sendall(b"bye\r\n")
ours.close()
t.finish("the console's end", 0,
         b"bye\r\nvmctl: the console ended: web\r\n")
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    t = session()
    os.kill(t.pid, number)
    t.finish(number.name, 128 + number, b"left web")
if "/san-" not in build:        # a sanitizer takes crashes itself
    t = session()
    os.kill(t.pid, signal.SIGSEGV)
    t.finish("a crash", -signal.SIGSEGV)

t = session()
t.send(b"~\x1a")
same(t.line(), "stopped", "~^Z stops")
ok(t.eventually_raw(False), "with the terminal as it was")
os.kill(t.pid, signal.SIGCONT)
ok(t.eventually_raw(True), "and goes on raw")
t.send(b"again\r")
same(receive(b"again\r"), b"again\r", "where it was")
os.kill(t.pid, signal.SIGTSTP)
same(t.line(), "stopped", "SIGTSTP stops")
os.kill(t.pid, signal.SIGCONT)
ok(t.eventually_raw(True), "and goes on raw")
t.send(b"\r~.")
t.finish("leaving after that", 0)

# As under a daemon, or behind setsid: nobody would continue it.
t = session(orphan=True)
os.kill(t.pid, signal.SIGTSTP)
t.send(b"on\r")
same(receive(b"on\r"), b"on\r", "SIGTSTP where no shell is: it goes on")
t.send(b"~.")
t.finish("leaving then", 0)

vmd.answers["start"] = {"ok": True, "id": 9, "name": "new",
                        "tty": "/dev/pts/3"}
vmd.asked.clear()
t = session("start", "-c", "-d", "x.img", "new")
same(vmd.asked[-1], {"command": "console", "vm": "9"},
     "start -c goes on with the console")
t.send(b"\r~.")
t.finish("start -c", 0, b"started vm 9", b"left new")

# --- a VM in the foreground beside vmd's --------------------------------------
guest = build + "/tests/multiboot/guest.elf"
name = f"c{os.getpid()}-fore"
p = subprocess.Popen([vmctl, "run", "-b", guest, "-m", "16M", "--net", "none",
                      "--append", "print=ready spin", name],
                     stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                     stderr=subprocess.PIPE)
try:
    p.stdout.read(5)
    status, out, err = run("status")
    ok(rows["web"] in out and name in out, "status shows both kinds", out)
    status, out, err = run("status", "-j", name)
    found = json.loads(out)["vms"]
    ok(len(found) == 1 and found[0]["name"] == name and
       found[0]["foreground"] is True and found[0]["pid"] == p.pid and
       found[0]["memory"] == 16 << 20, "as JSON, by its name", out)
    refused("stop without -f does not end it", "in the foreground",
            "stop", name)
    vmd.answers["stop"] = {"ok": True, "vms": []}
    same((run("stop", "-f", "-a")[::2], p.poll()), ((0, ""), None),
         "stop -f -a does not")
    vmd.asked.clear()
    status, out, err = run("stop", "-f", "-w", name)
    same((status, err), (0, ""), "stop -f ends it")
    ok(all(r["command"] == "status" for r in vmd.asked),
       "vmd is not asked to", vmd.asked)
    same(ends(p), 128 + signal.SIGTERM, "and it says so")
finally:
    if p.poll() is None:
        p.kill()

# --- a VM of another vmd ------------------------------------------------------
# with a folder of its own, whose path is short as a socket's must be
other = {**os.environ, "VMD_DIR": tempfile.mkdtemp(prefix="vmd.", dir="/tmp")}
name = f"c{os.getpid()}-other"
conf = work + "/other.conf"
with open(conf, "w", encoding="utf-8") as f:
    f.write(f'vm "{name}" {{\n\tmemory 16M\n\tboot "{guest}"\n'
            '\tappend "print=ready spin"\n\tengine soft\n}\n')


def state_in(env):
    """Its state and whether it is in the foreground, as vmctl says there."""
    found = [v for v in json.loads(run("status", "-j", env=env)[1])["vms"]
             if v.get("name") == name]
    return [(v["state"], v.get("foreground")) for v in found]


def becomes(want, env):
    for _ in range(limit * 10):
        if state_in(env) == want:
            return True
        time.sleep(0.1)
    return False


second = subprocess.Popen([build + "/bin/vmd", "-d", "-f", conf], env=other,
                          stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
try:
    ok(becomes([("running", None)], other), "another vmd has a VM",
       state_in(other))
    same(state_in(os.environ), [], "which is not in our table")
    refused("and cannot be stopped here", "there is no VM", "stop", "-f", name)
    refused("nor waited for", "there is no VM", "wait", name)
    second.kill()
    second.wait()
    ok(becomes([("running", False)], other), "its vmd dies, and it is seen",
       state_in(other))
    refused("stop -a wants a vmd", "vmd does not run", "stop", "-f", "-a",
            env=other)
    same(state_in(other), [("running", False)], "and ends nothing")
    refused("stop wants its vmd", f"the vmd of {name} does not run", "stop",
            name, env=other)
    status, out, err = run("stop", "-f", "-w", name, env=other)
    ok((status, err) == (0, "") and becomes([], other),
       "or -f, which ends it", status, err)
finally:
    second.kill()
    run("stop", "-f", name, env=other)
    shutil.rmtree(other["VMD_DIR"], ignore_errors=True)

vmd.end()
os.chdir("/")
shutil.rmtree(work)
print(f"1..{tests}")
sys.exit(failed != 0)
