"""cli_pipe: `brood pipe` carries lines and records both ways, whatever the scripts at its ends do. cli_pipe.py BROOD [TEST]"""
import errno
import json
import os
import select
import signal
import stat
import struct
import subprocess
import tempfile
import threading
import time

from cli_case import BROOD, PATIENCE, Broker, equal, main, state, status, until


class Place:
    """A directory for the pipes, which are gone when the commands are."""
    def __enter__(self):
        self.broker = Broker()
        self.path = tempfile.mkdtemp()
        return self

    def __exit__(self, *failed):
        if not failed[0]:
            equal([], os.listdir(self.path))
        subprocess.run(["rm", "-r", self.path], check=True)
        self.broker.__exit__()

    def __call__(self, name):
        return os.path.join(self.path, name)


class Pipe:
    def __init__(self, *argv, paths=(), errors=None):
        self.errors = errors or tempfile.TemporaryFile()
        self.process = subprocess.Popen([BROOD, "pipe", "--json", *argv], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=self.errors)
        until(lambda: self.process.poll() is not None or all(os.path.exists(p) for p in paths), "the pipes are there")

    def end(self, signo=signal.SIGTERM):
        if signo:
            self.process.send_signal(signo)
        out = self.process.communicate(timeout=60)[0]
        return self.process.returncode, json.loads(out)

    def said(self):
        self.errors.seek(0)
        return self.errors.read().decode()


def sums(sent, received, dropped=0, failed=0):
    return {"sent": sent, "received": received, "dropped": dropped, "failed": failed}


def named(name):
    until(lambda: name in status("ps")[1].decode(), name + " is there")


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


class Worker:
    def __init__(self, name, *argv):
        self.process = subprocess.Popen([BROOD, "worker", name, "--", *argv], stdin=subprocess.DEVNULL)
        named(name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(1)
        except subprocess.TimeoutExpired:
            self.process.terminate()  # a question is open for ever
            self.process.wait(60)


def both_ways():
    """Two commands, each the other's NAME: a line here is a line there."""
    with Place() as at:
        a = Pipe("b", "--name", "a", "--in", at("to-b"), "--out", at("at-a"), paths=[at("to-b"), at("at-a")])
        b = Pipe("a", "--name", "b", "--in", at("to-a"), "--out", at("at-b"), paths=[at("to-a"), at("at-b")])
        equal(0o600, stat.S_IMODE(os.stat(at("to-a")).st_mode))
        for i in range(5):  # each an open of its own
            write(at("to-b"), b"there %d\n" % i)
            write(at("to-a"), b"back %d\n\n" % i)
            with open(at("at-b"), "rb", buffering=0) as f:
                equal(b"there %d\n" % i, f.read(len(b"there 0\n")))
            with open(at("at-a"), "rb", buffering=0) as f:
                got = b""
                while len(got) < len(b"back 0\n\n"):
                    got += f.read(len(b"back 0\n\n") - len(got))
                equal(b"back %d\n\n" % i, got)
        for p in a, b:  # nobody writes and nobody reads: that is no work
            until(lambda: all(state(p.process.pid) == "S" for _ in range(200)), "it rests")
        equal((0, sums(5, 10)), a.end())
        equal("", a.said())
        equal((1, sums(10, 5)), b.end(None))
        equal(True, b.said().startswith("brood pipe: a is gone"))


def a_hundred_thousand():
    """In order, through a reader that opens the pipe anew for each of its blocks."""
    with Place() as at:
        sink = Pipe("--name", "sink", "--out", at("out"), paths=[at("out")])
        source = Pipe("sink", "--in", at("in"), paths=[at("in")])
        lines = b"".join(b"%d\n" % i for i in range(100000))
        t = threading.Thread(target=write, args=(at("in"), lines))
        t.start()
        got = b""
        while len(got) < len(lines):
            with open(at("out"), "rb", buffering=0) as f:
                got += f.read(min(50000, len(lines) - len(got)))
        t.join()
        equal(True, got == lines)
        equal((0, sums(100000, 0)), source.end())
        equal((0, sums(0, 100000)), sink.end())


def requests_in_order():
    with Place() as at, Worker("slow", "sh", "-c", 'while read -r l; do [ $l != 0 ] || sleep 0.3; echo "<$l>"; done'):
        p = Pipe("slow", "--request", "--in", at("in"), "--out", at("out"), paths=[at("out")])
        t = threading.Thread(target=write, args=(at("in"), b"".join(b"%d\n" % i for i in range(1000))))
        t.start()
        with open(at("out"), "rb") as f:
            equal([b"<%d>\n" % i for i in range(1000)], [f.readline() for _ in range(1000)])
        t.join()
        equal((0, sums(1000, 1000)), p.end())


def a_request_that_fails():
    """Its place in the order remains, and is empty."""
    with Place() as at, Worker("once", "sed", "-u", "s/.*/<&>/"):
        p = Pipe("once", "--request", "--in", at("in"), "--out", at("out"), "--timeout", "30000", paths=[at("out")])
        with open(at("out"), "rb", buffering=0) as f:
            write(at("in"), b"good\n")
            equal(b"<good>\n", f.read(7))
            write(at("in"), b"x" * 65536 + b"\n" + b"fine\n")  # its filter's answer is longer, but not too long
            equal(b"<" + b"x" * 65536 + b">\n<fine>\n", b"".join(iter(lambda: f.read(1), b"\n")) + b"\n" + f.read(7))
        with Worker("never", "sh", "-c", "read -r l; exit 3"):
            q = Pipe("never", "--request", "--in", at("in2"), "--out", at("out2"), paths=[at("out2")])
            with open(at("out2"), "rb", buffering=0) as f:
                write(at("in2"), b"anything\n")
                equal(b"\n", f.read(1))
            code, end = q.end(None)  # and then its worker is gone
            equal((1, 1), (code, min(end["failed"], 1)))
            equal(True, "exited with code 3" in q.said())
        equal((0, sums(3, 3)), p.end())


def lines_that_are_none():
    with Place() as at:
        sink = Pipe("--name", "sink", "--out", at("out"), paths=[at("out")])
        p = Pipe("sink", "--in", at("in"), paths=[at("in")])

        def dropped(n):
            until(lambda: p.said().count("it is dropped") == n, "%d dropped" % n)
        write(at("in"), b"y" * 65536 + b"\n")  # the longest
        write(at("in"), b"x" * 65537 + b"\n")
        dropped(1)
        write(at("in"), b"x" * 1000000 + b"\nafter\n")
        dropped(2)
        write(at("in"), b"one\npart")
        dropped(3)
        write(at("in"), b"last\n")
        with open(at("out"), "rb") as f:
                got = [f.readline() for _ in range(4)]
        equal([65537, 6, 4, 5], [len(line) for line in got])
        equal([b"y" * 65536 + b"\n", b"after\n", b"one\n", b"last\n"] == got, True)
        equal((0, b"", ""), status("send", "sink", "two\nlines"))
        until(lambda: "more than one line" in sink.said(), "it is refused")
        equal(1, status("request", "sink", "anything")[0])
        equal((1, sums(4, 0, dropped=3)), p.end())
        equal((1, sums(0, 4, failed=1)), sink.end())


def nobody_reads_complaints():
    read, write_end = os.pipe()
    with Place() as at, os.fdopen(write_end, "w") as errors:
        sink = Pipe("--name", "sink", "--out", at("out"), paths=[at("out")], errors=errors)
        os.close(read)
        equal((0, b"", ""), status("send", "sink", "two\nlines"))
        equal((0, b"", ""), status("send", "sink", "one"))
        with open(at("out"), "rb") as f:
            equal(b"one\n", f.readline())
        equal((1, sums(0, 1, failed=1)), sink.end())


def records():
    bodies = [b"", b"\n\0\xff", bytes(range(256)) * 3000, b"x"]
    packed = b"".join(struct.pack("<I", len(x)) + x for x in bodies)
    with Place() as at:
        sink = Pipe("--raw", "--name", "sink", "--out", at("out"), paths=[at("out")])
        p = Pipe("--raw", "sink", "--in", at("in"), paths=[at("in")])
        t = threading.Thread(target=write, args=(at("in"), packed))
        t.start()
        with open(at("out"), "rb") as f:
            equal(True, packed == f.read(len(packed)))
        t.join()
        write(at("in"), struct.pack("<I", 7) + b"cut")
        until(lambda: "not finished" in p.said(), "it is dropped")
        write(at("in"), struct.pack("<I", 0xffffffff) + b"too long")
        until(lambda: "64 MiB" in p.said(), "it is dropped")
        with open(at("out"), "rb", buffering=0) as f:
            write(at("in"), struct.pack("<I", 2) + b"ok")
            while not select.select([f], [], [], 2)[0]:  # it came before the end of the writer before was seen
                write(at("in"), struct.pack("<I", 2) + b"ok")
            equal(struct.pack("<I", 2) + b"ok", f.read(6))
        equal(5, p.end()[1]["sent"])
        equal((0, sums(0, 5)), sink.end())


def opened(path):
    """For writing, without waiting in write(2). There is no reader between mkfifo and its open()."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as e:
            assert e.errno == errno.ENXIO and time.monotonic() < end, e
        time.sleep(0.01)


def slow_reader():
    """Nobody reads: writers stand still, the command does not grow, and nothing is lost."""
    with Place() as at:
        sink = Pipe("--name", "sink", "--out", at("out"), paths=[at("out")])
        source = Pipe("sink", "--in", at("in"), paths=[at("in")])
        line = b"z" * 9999 + b"\n"
        fd = opened(at("in"))
        written, still = 0, 0
        while still < 400:  # it is full for good
            try:
                written += os.write(fd, line[written % len(line):])
                still = 0
            except BlockingIOError:
                still += 1
                threading.Event().wait(0.005)
        with open("/proc/%d/statm" % sink.process.pid) as f:
            equal(True, int(f.read().split()[1]) * 4096 < 64 << 20)
        equal(True, 4 << 20 < written < 32 << 20)
        os.set_blocking(fd, True)
        rest = len(line) - written % len(line)
        t = threading.Thread(target=lambda: (os.write(fd, line[-rest:]), os.close(fd)))
        t.start()
        lines = (written + rest) // len(line)
        with open(at("out"), "rb") as f:
            for _ in range(lines):
                equal(True, f.readline() == line)
        t.join()
        equal((0, sums(lines, 0)), source.end())
        equal((0, sums(0, lines)), sink.end())


def name_goes():
    with Place() as at:
        worker = subprocess.Popen([BROOD, "pipe", "--name", "other", "--out", at("other")])
        named("other")
        p = Pipe("other", "--in", at("in"), paths=[at("in")])
        write(at("in"), b"hello\n")
        with open(at("other"), "rb") as f:
            equal(b"hello\n", f.readline())
        worker.terminate()
        equal(0, worker.wait(60))
        code, end = p.end(None)
        equal((1, sums(1, 0)), (code, end))
        equal(True, p.said().startswith("brood pipe: other is gone"))


def nobody_has_the_name():
    with Place() as at:
        p = Pipe("nobody", "--in", at("in"), "--timeout", "100", paths=[at("in")])
        write(at("in"), b"hello\n")
        code, end = p.end(None)
        equal((1, 1), (code, end["failed"]))
        equal(True, "nobody" in p.said())


def what_was_written_is_passed_on():
    """The signal comes before the command has read all of it."""
    with Place() as at:
        sink = Pipe("--name", "sink", "--out", at("out"), paths=[at("out")])
        p = Pipe("sink", "--in", at("in"), paths=[at("in")])
        os.kill(p.process.pid, signal.SIGSTOP)
        fd = os.open(at("in"), os.O_WRONLY)
        os.write(fd, b"line\n" * 5000)
        os.close(fd)
        os.kill(p.process.pid, signal.SIGTERM)
        os.kill(p.process.pid, signal.SIGCONT)
        equal((0, sums(5000, 0)), p.end(None))
        with open(at("out"), "rb") as f:
            equal(b"line\n" * 5000, f.read(25000))
        equal((0, sums(0, 5000)), sink.end(signal.SIGINT))


def told_twice():
    with Place() as at, Worker("mute", "sh", "-c", 'while read -r l; do echo "$l" >"$0"; done', at("seen")):
        write(at("seen"), b"")
        p = Pipe("mute", "--request", "--in", at("in"), "--out", at("out"), paths=[at("out")])
        write(at("in"), b"?\n")
        until(lambda: os.path.getsize(at("seen")), "it is asked")
        p.process.send_signal(signal.SIGTERM)
        threading.Event().wait(0.3)
        equal(None, p.process.poll())  # it waits for the answer
        code = p.end(signal.SIGINT)[0]
        equal((128 + signal.SIGINT, "brood pipe: 1 requests were not answered\n"), (code, p.said()))
        os.unlink(at("seen"))


def wrong_arguments():
    with Place() as at:
        for argv in ([], ["x"], ["--name", "x"], ["--name", "x", "--in", at("in")], ["x", "y", "--in", at("in")],
                     ["x", "--request", "--in", at("in")], ["x", "--in", at("in"), "--timeout", "0"]):
            code, out, err = status("pipe", *argv)
            equal((2, b""), (code, out))
            equal(True, err.startswith("brood pipe: "))
        write(at("in"), b"mine")
        code, _, err = status("pipe", "x", "--in", at("in"))
        equal((1, True), (code, "exists already" in err))
        with open(at("in"), "rb") as f:
            equal(b"mine", f.read())  # it is left alone
        os.unlink(at("in"))
        code, _, err = status("pipe", "x", "--in", at("no/such"))
        equal((1, True), (code, "cannot make" in err))
        equal(True, status("pipe", "--help")[1].startswith(b"Example:\n"))


main([both_ways, a_hundred_thousand, requests_in_order, a_request_that_fails, lines_that_are_none, nobody_reads_complaints, records,
      slow_reader, name_goes, nobody_has_the_name, what_was_written_is_passed_on, told_twice, wrong_arguments])
