"""cli_run: `brood run` as users of env, timeout and ssh expect it. cli_run.py BROOD [TEST]"""
import fcntl
import hashlib
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

from cli_case import BROOD, alive, children, equal, main, state, status, until

PYTHON = sys.executable


# ---- statuses ------------------------------------------------------------------------------------------------------

def statuses():
    with tempfile.NamedTemporaryFile("w") as plain:
        for expected, argv in [
                (0, ["--", "true"]), (23, ["--", "sh", "-c", "exit 23"]), (2, ["--", "sh", "-c", "exit 2"]),
                (137, ["--", "sh", "-c", "kill -KILL $$"]), (130, ["--", "sh", "-c", "kill -INT $$"]),
                (124, ["--timeout", "100", "--", "sleep", "60"]), (0, ["--timeout", "1m", "--", "true"]),
                (127, ["--", "no-such-program"]), (127, ["--", "/no/such/program"]), (126, ["--", plain.name]),
                (126, ["--", "/"]), (125, ["--cwd", "/no/such/directory", "--", "true"]),
                (125, []), (125, ["--bogus"]), (125, ["--timeout", "soon", "--", "true"]),
                (125, ["--timeout", "0", "--", "true"]), (125, ["--timeout", "1e3", "--", "true"]),
                (125, ["--timeout", "1.5w", "--", "true"]), (125, ["--signal", "FOO", "--", "true"]),
                (125, ["--env", "A", "--", "true"]), (125, ["--env", "=A", "--", "true"]),
                (125, ["--unset", "A=B", "--", "true"]), (125, ["--detach", "-t", "--", "true"])]:
            code, _, err = status("run", *argv)
            assert code == expected, "%s: %d instead of %d: %s" % (argv, code, expected, err)
            quiet = expected in (0, 2, 23, 130, 137)
            assert (err == "") == quiet, "%s: on stderr: %s" % (argv, err)


def as_json():
    code, _, err = status("run", "--json", "--timeout", "0.1s", "--", "sleep", "60")
    end = json.loads(err)
    equal((124, 124, 15, -1, "timeout"), (code, end["status"], end["signal"], end["code"], end["ended_by"]))
    end = json.loads(status("run", "--json", "--", "no-such-program")[2].splitlines()[-1])
    equal((127, "spawn.exec"), (end["status"], end["error"]))


def environment():
    script = 'echo "$A ${HOME-none} $(pwd)"'
    code, out, _ = status("run", "--env", "A=1", "--unset", "A", "--env", "A=2", "--unset", "HOME", "--cwd", "/",
                          "--", "sh", "-c", script)
    equal((0, b"2 none /\n"), (code, out))


# ---- input, output ---------------------------------------------------------------------------------------------------

def ten_megabytes():
    blob = os.urandom(10 * 1000 * 1000)
    code, out, _ = status("run", "--", "sha256sum", input=blob)
    equal((0, hashlib.sha256(blob).hexdigest()), (code, out.decode().split()[0]))
    code, out, _ = status("run", "--", "cat", input=blob)
    assert code == 0 and out == blob


# The child's descriptors are ours, not copies of what goes through them.
def descriptors_are_mine():
    with tempfile.TemporaryFile() as f:
        equal(0, subprocess.run([BROOD, "run", "--", "readlink", "/proc/self/fd/0", "/proc/self/fd/1"], stdin=f,
                                stdout=f, check=True, timeout=60).returncode)
        f.seek(0)
        lines = f.read().split(b"\n")
    equal(lines[0], lines[1])


# ---- signals -------------------------------------------------------------------------------------------------------

LOUD = """
import signal, sys
all = set(map(int, sys.argv[1:]))
signal.pthread_sigmask(signal.SIG_BLOCK, all)
print("ready", flush=True)
while True:
    print(signal.Signals(signal.sigwait(all)).name, flush=True)
"""


def signals_pass():
    passed = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2,
              signal.SIGWINCH, signal.SIGCONT]
    run = subprocess.Popen([BROOD, "run", "--", PYTHON, "-c", LOUD, *[str(int(s)) for s in passed]],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    equal(b"ready\n", run.stdout.readline())
    for s in passed:
        run.send_signal(s)
        equal(s.name, run.stdout.readline().decode().strip())
    os.kill(children(run.pid)[0], signal.SIGKILL)
    equal(137, run.wait(20))


# As nohup does it.
def ignored_stays_ignored():
    script = 'trap "" HUP; exec "$0" run -- sleep 60'
    run = subprocess.Popen(["sh", "-c", script, BROOD], stdin=subprocess.DEVNULL)
    until(lambda: children(run.pid), "a child")
    run.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert run.poll() is None
    run.terminate()
    equal(143, run.wait(20))


STUBBORN = 'trap "" TERM; echo ready; while :; do sleep 60 & wait; done'


def timeout_of_the_stubborn():
    begun = time.monotonic()
    equal(124, status("run", "--timeout", "200ms", "--kill-after", "300ms", "--", "sh", "-c", STUBBORN)[0])
    took = time.monotonic() - begun
    assert 0.5 <= took < 10, took
    # ... and with its own signal
    code, out, _ = status("run", "--timeout", "200", "--signal", "usr1", "--", "sh", "-c",
                          'trap "echo told; exit 3" USR1; while :; do sleep 0.05; done')
    equal((124, b"told\n"), (code, out))


# What was passed on to it did not end it, and is not taken for what did.
def timeout_after_signals():
    run = subprocess.Popen([BROOD, "run", "--timeout", "2s", "--", PYTHON, "-c", LOUD,
                            str(int(signal.SIGWINCH)), str(int(signal.SIGUSR1))],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    equal(b"ready\n", run.stdout.readline())
    for s in [signal.SIGWINCH, signal.SIGUSR1]:
        run.send_signal(s)
        equal(s.name, run.stdout.readline().decode().strip())
    equal(124, run.wait(20))


def kill_after_term():
    run = subprocess.Popen([BROOD, "run", "--kill-after", "100", "--", "sh", "-c", STUBBORN],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    equal(b"ready\n", run.stdout.readline())
    run.terminate()
    equal(137, run.wait(20))


def timeout_of_the_stopped():
    equal(124, status("run", "--timeout", "300", "--kill-after", "100", "--", "sh", "-c", "kill -STOP $$")[0])


# One that is stopped by somebody just stands still, and so do we.
def stopped_and_continued():
    run = subprocess.Popen([BROOD, "run", "--", "sh", "-c", "kill -STOP $$; exit 5"], stdin=subprocess.DEVNULL)
    until(lambda: children(run.pid) and state(children(run.pid)[0]) == "T", "a stopped child")
    os.kill(children(run.pid)[0], signal.SIGCONT)
    equal(5, run.wait(20))


def killed_with_us():
    run = subprocess.Popen([BROOD, "run", "--", "sh", "-c", "sleep 60 & echo $!; echo $$; wait"],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    pids = [int(run.stdout.readline()) for _ in range(2)]
    run.kill()
    run.wait()
    until(lambda: not any(alive(p) for p in pids), "the child dies with us")


# Its end is the end of the one we started, whoever else holds our descriptors; what it left in its group goes with us.
def double_fork():
    script = "(setsid sleep 8 & ) ; exit 4"
    for tty in ([], ["-t"]):
        begun = time.monotonic()
        equal(4, subprocess.run([BROOD, "run", *tty, "--", "sh", "-c", script], stdin=subprocess.DEVNULL,
                                timeout=60).returncode)
        assert time.monotonic() - begun < 7.5


def detached():
    run = subprocess.run([BROOD, "run", "--detach", "--", "sh", "-c", "exec sleep 60 >/dev/null 2>&1"],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=60)
    equal(0, run.returncode)
    pid = int(run.stdout)
    assert alive(pid) and os.getsid(pid) == pid
    os.kill(pid, signal.SIGKILL)


# ---- terminals -----------------------------------------------------------------------------------------------------

class Terminal:
    """A pseudo terminal with a program in it that leads its session, and what it wrote."""

    def __init__(self, argv, rows=33, columns=77):
        self.seen = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.read(0, 1)  # until its size is set
            os.execvp(argv[0], argv)
        self.resize(rows, columns)
        self.mode = termios.tcgetattr(self.fd)
        os.write(self.fd, b"\n")

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys):
        os.write(self.fd, keys)

    def look(self):
        if select.select([self.fd], [], [], 0)[0]:
            try:
                self.seen += os.read(self.fd, 65536)
            except OSError:
                pass

    def expect(self, text):
        def there():
            self.look()
            return text in self.seen
        try:
            until(there, repr(text))
        except AssertionError as e:
            raise AssertionError("%s in %r" % (e, self.seen)) from None
        self.seen = self.seen.split(text, 1)[1]

    def end(self):
        box = []

        def gone():
            self.look()
            pid, how = os.waitpid(self.pid, os.WNOHANG)
            box[:] = [os.waitstatus_to_exitcode(how)]
            return pid
        until(gone, "the end of the terminal's program")
        self.look()
        os.close(self.fd)
        return box[0]

    def is_raw(self):
        return not termios.tcgetattr(self.fd)[3] & termios.ICANON

    def is_as_before(self):
        return termios.tcgetattr(self.fd) == self.mode


# A program that keeps the terminal open, so that its settings can be seen behind the end of `brood run`.
def hold(*argv):
    return ["sh", "-c", '"$@"; echo "ended $?"; read line', "sh", BROOD, "run", *argv]


def release(t, code):
    t.expect(b"ended %d" % code)
    assert t.is_as_before(), "the terminal was not restored"
    t.type(b"\n")
    equal(0, t.end())


def own_terminal():
    t = Terminal(hold("-t", "--", "sh", "-c", 'tty; stty size; trap "stty size" WINCH; echo go; '
                      'while :; do sleep 0.05; done'))
    mine = os.ptsname(t.fd).encode() if hasattr(os, "ptsname") else None
    t.expect(b"/dev/pts/")
    if mine:
        assert not t.seen.startswith(mine[9:] + b"\r"), "it is our terminal"
    t.expect(b"33 77")
    t.expect(b"go")
    assert t.is_raw()
    t.resize(44, 88)
    t.expect(b"44 88")
    t.type(b"\x03")  # reaches the child, not us
    release(t, 130)


def end_of_input():
    t = Terminal(hold("-t", "--", "cat"))
    until(t.is_raw, "raw")
    t.type(b"hello\r")
    t.expect(b"hello\r\nhello\r\n")
    t.type(b"\x04")
    release(t, 0)


def restored_after_signals():
    for signo, code in ((signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGVTALRM, 154), (signal.SIGALRM, 142)):
        t = Terminal(hold("-t", "--", "sleep", "60"))
        until(t.is_raw, "raw")
        run = children(t.pid)[0]
        until(lambda: children(run), "a child")
        os.kill(run, signo)
        t.expect(b"ended %d" % code)
        assert t.is_as_before(), "the terminal was not restored after %s" % signo
        t.type(b"\n")
        t.end()


def restored_after_timeout():
    t = Terminal(hold("-t", "--timeout", "300", "--", "sleep", "60"))
    release(t, 124)


# The terminal's input is a pipe: its end is the end of the child's, also in the middle of a line.
def terminal_without_terminal():
    code, out, _ = status("run", "-t", "--", "sh", "-c", "stty -echo; tty; cat", input=b"")
    assert code == 0 and out.startswith(b"/dev/pts/"), out
    for text in (b"half", b"whole\n", b"x" * 4000 + b"\n"):
        code, out, _ = status("run", "-t", "--", "cat", input=text)
        equal(0, code)
        assert out.replace(b"\r", b"").endswith(text), out
    big = b"".join(b"%d\n" % i for i in range(200000))
    code, out, _ = status("run", "-t", "--", "sh", "-c", "stty -opost; seq 0 199999")
    assert code == 0 and out == big, len(out)


# In a shell with job control: ^Z stops both, fg continues both; ^C goes to the child once.
def job_control():
    script = '"$0" run -- sh -c \'trap "echo int" INT; echo ready; read a; echo "got $a"; read b; exit 6\'; ' \
             'echo "stopped $?"; fg; echo "ended $?"'
    t = Terminal(["bash", "-m", "-c", script, BROOD])
    t.expect(b"ready")
    t.type(b"\x1a")
    t.expect(b"stopped 148")
    t.type(b"one\n")
    t.expect(b"got one")
    t.type(b"two\n")
    t.expect(b"ended 6")
    equal(0, t.end())


# The same with -t and a stop that does not come from the keyboard: the terminal is given back and made raw again.
def suspended_console():
    script = '"$0" run -t -- cat; echo "stopped $?"; fg; echo "ended $?"; read line'
    t = Terminal(["bash", "-m", "-c", script, BROOD])
    until(t.is_raw, "raw")
    os.kill(children(t.pid)[0], signal.SIGTSTP)
    t.expect(b"stopped 148")
    until(t.is_raw, "raw again")
    t.type(b"hello\r")
    t.expect(b"hello\r\nhello\r\n")
    t.type(b"\x04")
    t.expect(b"ended 0")
    assert t.is_as_before()
    t.type(b"\n")
    t.end()


# Our input is a file, but the child asks the terminal: it gets it, and we get it back.
def asks_the_terminal():
    script = '"$0" run -- sh -c \'read a </dev/tty; echo "got $a"; exit 3\' </dev/null; echo "ended $?"; ' \
             'read b; echo "then $b"'
    t = Terminal(["sh", "-c", script, BROOD])  # a shell that does not care who has the terminal
    t.type(b"secret\n")
    t.expect(b"got secret")
    t.expect(b"ended 3")
    t.type(b"more\n")
    t.expect(b"then more")
    t.end()


main([statuses, as_json, environment, ten_megabytes, descriptors_are_mine, signals_pass, ignored_stays_ignored,
      timeout_of_the_stubborn, timeout_after_signals, kill_after_term, timeout_of_the_stopped, stopped_and_continued,
      killed_with_us, double_fork, detached, own_terminal, end_of_input, restored_after_signals, restored_after_timeout,
      terminal_without_terminal, job_control, suspended_console, asks_the_terminal])
