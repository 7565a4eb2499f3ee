"""cli_case: what the tests of the command line share: its program, a broker, and the proof that nothing is left behind.

A test is a function; main() runs those whose name contains the first argument after the program, or all.
"""
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

PATIENCE = 20
BROOD = sys.argv[1]
for name in ("BROOD_FD", "BROOD_ADDRESS"):
    os.environ.pop(name, None)


def until(condition, what, patience=PATIENCE):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("never: " + what)


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def state(pid):
    with open("/proc/%d/stat" % pid) as f:
        return f.read().rsplit(")", 1)[1].split()[0]


def children(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
        return [int(p) for p in f.read().split()]


def equal(expected, actual):
    assert expected == actual, "%r instead of %r" % (actual, expected)


def status(*argv, **how):
    """Exit status of a command, and what it wrote to stdout and stderr."""
    done = subprocess.run([BROOD, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                          stdin=None if "input" in how else subprocess.DEVNULL, **how)
    return done.returncode, done.stdout, done.stderr.decode()


class Broker:
    def __init__(self, *flags):
        self.directory = tempfile.mkdtemp()
        self.place = os.path.join(self.directory, "brood")
        os.mkdir(self.place, 0o700)
        os.environ["BROOD_ADDRESS"] = "unix:" + self.place + "/sock"
        self.process = subprocess.Popen([os.environ["BROOD_BROKER"], "--dir", self.place, "--log-level", "warn", *flags])
        until(lambda: os.path.exists(self.place + "/sock"), "a broker")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.environ.pop("BROOD_ADDRESS", None)
        self.process.terminate()
        equal(0, self.process.wait(PATIENCE))
        shutil.rmtree(self.directory)


def too_long(*_):
    raise AssertionError("it takes too long")


def nothing_left():
    """Whatever our descendants abandoned has become our child."""
    def reap():
        try:
            return os.waitpid(-1, os.WNOHANG) == (0, 0) and not children(os.getpid())
        except ChildProcessError:
            return True
    until(reap, "no process is left; there are %s" % children(os.getpid()))


def main(tests):
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    signal.signal(signal.SIGALRM, too_long)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background has it ignored
    wanted = sys.argv[2] if len(sys.argv) > 2 else ""
    failures = 0
    for test in tests:
        if wanted not in test.__name__:
            continue
        begun = time.monotonic()
        try:
            signal.alarm(3 * PATIENCE)  # for what waits without a limit of its own
            test()
            nothing_left()
            print("ok   %s (%d ms)" % (test.__name__, (time.monotonic() - begun) * 1000), flush=True)
            signal.alarm(0)
        except Exception:  # pylint: disable=broad-except
            failures += 1
            print("FAIL", test.__name__, flush=True)
            traceback.print_exc()
            signal.alarm(0)
            for pid in children(os.getpid()):  # so that the next one is judged for itself
                os.kill(pid, signal.SIGKILL)
    for pid in children(os.getpid()):
        os.kill(pid, signal.SIGKILL)
    sys.exit(failures > 0)
