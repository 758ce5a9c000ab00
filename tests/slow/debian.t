#!/usr/bin/env python3
"""A Debian system with systemd on an ext4 disk: boots to its login prompt, is
logged in to over the serial console, works, and leaves a clean disk.

    debian.t                 with build/bin/vmctl (VMM_BUILD names build)
    debian.t COMMAND ARG...  with another command on a terminal; {disk} in an
                             argument stands for the disk's file

SEED repeats the contents of the file that is checked, TIMEOUT is in seconds
for the whole.
"""
import hashlib
import os
import pty
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
BUILD = os.environ.get("VMM_BUILD", os.path.join(TOP, "build"))
GUEST = os.environ.get("VMM_GUEST", os.path.join(TOP, "build", "guest"))
os.environ["PATH"] += ":/sbin:/usr/sbin"
TIMEOUT = int(os.environ.get("TIMEOUT", "2400"))
SIZE = 64 << 20


class Failed(Exception):
    pass


class Console:
    """A command on a terminal of its own."""

    def __init__(self, argv, end):
        self.end = end
        self.seen = b""
        self.mark = 0
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp(argv[0], argv)

    def expect(self, pattern):
        """Waits for the pattern in what comes after the last match."""
        regex = re.compile(pattern, re.S)
        while True:
            m = regex.search(self.seen, self.mark)
            if m:
                self.mark = m.end()
                return m
            left = self.end - time.monotonic()
            if left <= 0:
                raise Failed("no %r in time" % pattern)
            if not select.select([self.fd], [], [], min(left, 5))[0]:
                continue
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                data = b""
            if not data:
                raise Failed("ended before %r" % pattern)
            self.seen += data

    def send(self, text):
        os.write(self.fd, text.encode())

    def run(self, command):
        """A shell command's output; its status must be 0."""
        self.send("%s; echo \"@@$?\"@@\r" % command)
        m = self.expect(rb"(.*?)@@(\d+)@@.*?# ")
        if m.group(2) != b"0":
            raise Failed("%s: status %s: %s" % (command,
                m.group(2).decode(), m.group(1).decode(errors="replace")))
        return m.group(1).decode(errors="replace").replace("\r", "")

    def wait(self):
        """The command's exit status once it has said everything."""
        try:
            self.expect(rb"(?!)")
        except Failed as e:
            if "ended" not in str(e):
                raise
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def kill(self):
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (OSError, ChildProcessError):
            pass


tests = 0


def check(ok, name, detail=""):
    global tests
    tests += 1
    print("%sok %d - %s" % ("" if ok else "not ", tests, name), flush=True)
    if not ok and detail:
        for line in str(detail).splitlines()[-60:]:
            print("# " + line)
    return ok


def tool(*argv):
    return subprocess.run(argv, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def session(c, digest):
    """Everything that happens on the console."""
    start = time.monotonic()
    c.expect(rb"login: ")
    check(True, "login prompt after %d s" % (time.monotonic() - start))
    c.send("root\r")
    c.expect(rb"assword: ")
    c.send("vmm\r")
    c.expect(rb"# ")
    c.run("stty -echo columns 200; TERM=dumb; PS1='# '")
    check("systemd" in c.run("cat /proc/1/comm"), "logged in, systemd runs")
    out = c.run("systemctl --failed --no-legend --plain | cat")
    check(out.strip() == "", "no unit failed", out)
    out = c.run("python3 -c 'print(sum(i * i for i in range(100000)), "
        "7 ** 77 % 1000007, 0.1 + 0.2)'")
    check(out.split() == [str(sum(i * i for i in range(100000))),
        str(7 ** 77 % 1000007), str(0.1 + 0.2)], "python3", out)
    c.run("printf '%s\\n' '#include <stdio.h>' '#include <math.h>' "
        "'int main(void) { double s = 0; for (int i = 1; i < 1000; i++) "
        "s += sqrt(i); printf(\"%.6f\\n\", s); return 0; }' >/tmp/t.c")
    out = c.run("gcc -O2 -Wall -o /tmp/t /tmp/t.c -lm && /tmp/t")
    want = "%.6f" % sum(i ** 0.5 for i in range(1, 1000))
    check(out.strip() == want, "gcc", out)
    out = c.run("sha256sum /root/blob")
    check(out.split()[:1] == [digest], "sha256sum of 64 MiB", out)
    c.run("dd if=/root/blob of=/root/copy bs=1M status=none; sync")
    out = c.run("sha256sum /root/copy")
    check(out.split()[:1] == [digest], "the same after a copy", out)
    c.send("systemctl poweroff\r")
    check(c.wait() == 0, "powers off with status 0")


def main():
    work = tempfile.mkdtemp(prefix="vmm-debian.")
    console = None
    try:
        for step in ("guest", "debian-root"):
            r = tool(os.path.join(TOP, "tools", step), GUEST)
            if r.returncode != 0:
                check(False, "tools/" + step, r.stdout)
                return
        disk = os.path.join(work, "disk.img")
        subprocess.check_call(["cp", "--sparse=always",
            os.path.join(GUEST, "debian.img"), disk])
        seed = int(os.environ.get("SEED", time.time_ns() % 1000000007))
        print("# SEED=%d" % seed)
        blob = os.path.join(work, "blob")
        with open(blob, "wb") as f:
            f.write(random.Random(seed).randbytes(SIZE))
        with open(blob, "rb") as f:
            digest = hashlib.sha256(f.read()).hexdigest()
        r = tool("debugfs", "-w", "-R", "write %s /root/blob" % blob, disk)
        if not check(os.path.getsize(blob) == SIZE and r.returncode == 0,
            "a file of 64 MiB on the disk", r.stdout):
            return
        argv = [a.replace("{disk}", disk) for a in sys.argv[1:]] or [
            os.path.join(BUILD, "bin", "vmctl"), "run",
            "-b", os.path.join(GUEST, "vmlinuz"),
            "--initrd", os.path.join(GUEST, "debian-initrd.img"),
            "--append", "console=ttyS0 quiet",
            "-m", "512M", "-d", disk, "--net", "none"]
        console = Console(argv, time.monotonic() + TIMEOUT)
        try:
            session(console, digest)
        except Failed as e:
            check(False, str(e), console.seen.decode(errors="replace"))
            return
        r = tool("e2fsck", "-f", "-n", disk)
        check(r.returncode == 0, "fsck finds no error", r.stdout)
        copy = os.path.join(work, "copy")
        tool("debugfs", "-R", "dump /root/copy %s" % copy, disk)
        with open(copy, "rb") as f:
            check(hashlib.sha256(f.read()).hexdigest() == digest,
                "the copy on the disk is the host's file")
    finally:
        if console:
            console.kill()
        shutil.rmtree(work)
        print("1..%d" % tests)


main()
