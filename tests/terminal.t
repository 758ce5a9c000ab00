#!/usr/bin/env python3
"""vmctl run on a terminal: raw while the guest has it, given back on every way
out, and the escapes that begin with a tilde."""
import fcntl
import os
import pty
import select
import signal
import sys
import termios
import time

top = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
build = os.environ.get("VMM_BUILD", top + "/build")
vmctl = build + "/bin/vmctl"
guest = build + "/tests/multiboot/guest.elf"
tests = failed = 0


def ok(passed, name, *diagnosis):
    global tests, failed
    tests += 1
    print(("ok" if passed else "not ok"), tests, "-", name)
    if not passed:
        failed += 1
        for line in diagnosis:
            print("#", line)
    sys.stdout.flush()


class Session:
    """A vmctl run that is the foreground job of a session of its own on a new
    terminal, under a leader in a shell's place. With script, a shell runs it
    within the job, as make does."""

    def __init__(self, *append, options=(), script=False):
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.output = b""
        words = [vmctl, "run", "-b", guest, "-m", "16M", "--net", "none",
                 "--append", " ".join(append), *options]
        if script:
            words = ["sh", "-c", "\"$@\"; exit $?", "sh"] + words
        reader, writer = os.pipe()
        self.leader = os.fork()
        if self.leader == 0:
            self.lead(words, writer)
        os.close(writer)
        self.report = os.fdopen(reader)
        self.pid = int(self.report.readline())

    def lead(self, words, report):
        """The leader: tells the job's number, and its status when it ends."""
        os.setsid()
        fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
        for number in signal.SIGHUP, signal.SIGTTOU:
            signal.signal(number, signal.SIG_IGN)
        for fd in range(3):
            os.dup2(self.slave, fd)
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            os.tcsetpgrp(0, os.getpid())
            # All as a login has them, whatever started us.
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT,
                           signal.SIGTERM, signal.SIGTSTP, signal.SIGTTOU):
                signal.signal(number, signal.SIG_DFL)
            os.closerange(3, 64)
            os.execvp(words[0], words)
        os.write(report, b"%d\n" % pid)
        status = os.waitpid(pid, 0)[1]
        os.write(report, b"%d\n" % os.waitstatus_to_exitcode(status))
        os._exit(0)

    def expect(self, text, seconds=60):
        """Reads until text is there; True if it came."""
        end = time.monotonic() + seconds
        while text not in self.output:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.master], [], [], left)[0]:
                return False
            try:
                data = os.read(self.master, 4096)
            except OSError:
                return text in self.output
            self.output += data
        return True

    def send(self, data):
        os.write(self.master, data)

    def is_raw(self):
        return not termios.tcgetattr(self.slave)[3] & termios.ICANON

    def eventually_raw(self, raw):
        for _ in range(600):
            if self.is_raw() == raw:
                return True
            time.sleep(0.05)
        return False

    def wait(self, seconds=60):
        """The exit status, or None; ends what does not end."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            # What the slave has not delivered would keep it from ending.
            if select.select([self.master], [], [], 0.05)[0]:
                try:
                    self.output += os.read(self.master, 4096)
                except OSError:
                    pass
            if os.waitpid(self.leader, os.WNOHANG)[0]:
                return int(self.report.readline())
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.leader, 0)
        return None

    def finish(self, name, want):
        status = self.wait()
        ok(status == want, f"{name}: status {want}", f"got {status}",
           self.output)
        sane = termios.tcgetattr(self.slave)
        ok(sane[3] & termios.ICANON and sane[3] & termios.ECHO and
           sane[0] & termios.ICRNL and sane[1] & termios.OPOST,
           f"{name}: the terminal is given back")
        os.close(self.master)
        os.close(self.slave)
        self.report.close()


# --- raw -------------------------------------------------------------------------
s = Session("print=ready", "echo")
ok(s.expect(b"ready"), "the guest's output is on the terminal", s.output)
ok(s.eventually_raw(True), "the terminal is raw")
s.send(b"a\x03\x1a\x1cb")
ok(s.expect(b"a\x03\x1a\x1cb"), "^C, ^Z and ^\\ go to the guest", s.output)
s.send(b"q")
s.finish("power-off", 0)

# --- ways out ---------------------------------------------------------------------
s = Session("print=ready", "triple", options=["--no-reboot"])
s.finish("a crash of the guest", 3)
ok(b"crashed" in s.output and b"\n" in s.output, "and a line says so")
s = Session("print=ready", "spin", options=["--timeout", "1"])
s.finish("the time limit", 124)
s = Session("print=ready", "spin", options=["-d", "/nonexistent"])
s.finish("a refusal", 1)
for number, want in ((signal.SIGINT, 130), (signal.SIGTERM, 143),
                     (signal.SIGHUP, 129), (signal.SIGQUIT, 131)):
    s = Session("print=ready", "spin")
    s.expect(b"ready")
    s.eventually_raw(True)
    os.kill(s.pid, number)
    s.finish(number.name, want)
# The address sanitizer answers SIGSEGV itself.
crashes = [signal.SIGABRT]
if "/san-" not in build:
    crashes.append(signal.SIGSEGV)
for number in crashes:
    s = Session("print=ready", "spin")
    s.expect(b"ready")
    s.eventually_raw(True)
    os.kill(s.pid, number)
    s.finish(f"a crash of vmctl ({number.name})", -number)

# --- escapes -----------------------------------------------------------------------
s = Session("print=ready", "echo")
s.expect(b"ready")
s.eventually_raw(True)
s.send(b"~.")
s.finish("~.", 130)
s = Session("print=ready", "echo")
s.expect(b"ready")
s.eventually_raw(True)
s.send(b"x~.\r~~1\r~/2\r~?")
ok(s.expect(b"leave"), "~? explains", s.output)
s.send(b"\rq")
s.finish("other uses of ~", 0)
ok(b"x~.\r~1\r~/2\r" in s.output, "~ is an escape at the start of a line only,"
   " and ~~ sends one", s.output)

# --- stop and continue ------------------------------------------------------------------


def is_stopped(pid):
    for _ in range(600):
        with open(f"/proc/{pid}/stat") as f:
            if f.read().rsplit(") ")[-1][0] == "T":
                return True
        time.sleep(0.05)
    return False


for name in "SIGTSTP", "~^Z", "SIGSTOP":
    s = Session("print=ready", "echo")
    s.expect(b"ready")
    s.eventually_raw(True)
    if name == "~^Z":
        s.send(b"~\x1a")
    else:
        os.kill(s.pid, getattr(signal, name))
    ok(is_stopped(s.pid), f"{name} stops it")
    if name != "SIGSTOP":
        ok(not s.is_raw(), f"{name} gives the terminal back")
    else:
        # What a shell does when its job has stopped.
        termios.tcsetattr(s.slave, termios.TCSANOW, s.before)
    os.kill(s.pid, signal.SIGCONT)
    ok(s.eventually_raw(True), f"it is raw again after {name} and SIGCONT")
    s.send(b"hereq")
    ok(s.expect(b"here"), "and the guest goes on", s.output)
    s.finish(name, 0)

# With a make or a script in between, all of the job stops: else the user's shell
# would not get the terminal back.
s = Session("print=ready", "echo", script=True)
s.expect(b"ready")
s.eventually_raw(True)
s.send(b"~\x1a")
ok(is_stopped(s.pid), "~^Z stops what has started it, too")
os.killpg(s.pid, signal.SIGCONT)
ok(s.eventually_raw(True), "it is raw again when the job continues")
s.send(b"q")
s.finish("a job continued", 0)

print(f"1..{tests}")
sys.exit(failed != 0)
