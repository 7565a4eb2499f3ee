"""cli_worker: `brood worker` answers in order, and never one question with another's line. cli_worker.py BROOD [TEST]"""
import json
import os
import signal
import subprocess
import tempfile
import threading
import time

from cli_case import BROOD, Broker, alive, children, equal, main, status, until

UPPER = ["sed", "-u", r"s/.*/\U&/"]


class Worker:
    def __init__(self, name, *argv, options=(), errors=None):
        self.errors = errors or tempfile.TemporaryFile()
        self.name = name
        self.process = subprocess.Popen([BROOD, "worker", name, "--json", *options, "--", *argv],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.errors)
        self.pid = self.process.pid
        until(lambda: self.process.poll() is not None or self.name in status("ps")[1].decode(), "the worker is there")

    def filter(self):
        return children(self.pid)[0]

    def tell(self, signo):
        os.kill(self.pid, signo)

    def end(self, signo=None):
        if signo:
            self.tell(signo)
        out = self.process.communicate(timeout=60)[0]
        return self.process.returncode, json.loads(out)

    def said(self):
        self.errors.seek(0)
        return self.errors.read().decode()


def ask(name, body, *options):
    code, out, err = status("request", name, *options, "-", input=body)
    return (code, out) if code == 0 else (code, err)


def asking(name, body, into):
    t = threading.Thread(target=lambda: into.append(ask(name, body)))
    t.start()
    return t


# ---- order ---------------------------------------------------------------------------------------------------------

def thousand_in_order():
    with Broker(), tempfile.NamedTemporaryFile("r") as seen:
        # The filter notes what it gets; each requester's requests are in its order, and each answer is the right one.
        w = Worker("upper", "sh", "-c", 'while IFS= read -r line; do echo "$line" >>"$0"; echo "<$line>"; done',
                   seen.name, options=["--room", "3"])
        wrong = []

        def requester(k):
            for i in range(250):
                body = b"%d.%d" % (k, i)
                got = ask("upper", body)
                if got != (0, b"<" + body + b">"):
                    wrong.append((body, got))
        threads = [threading.Thread(target=requester, args=(k,)) for k in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        equal([], wrong)
        lines = seen.read().split()
        equal(1000, len(lines))
        for k in range(4):
            equal(["%d.%d" % (k, i) for i in range(250)], [x for x in lines if x.startswith("%d." % k)])
        code, end = w.end(signal.SIGTERM)
        equal((0, 1000, 0, 0), (code, end["answered"], end["refused"], end["restarts"]))
        equal("", w.said())


# ---- bodies --------------------------------------------------------------------------------------------------------

def bodies():
    with Broker():
        w = Worker("upper", *UPPER)
        equal((0, b"HELLO"), ask("upper", b"hello"))
        equal((0, b""), ask("upper", b""))
        equal((0, b"Y" * 65536), ask("upper", b"y" * 65536))
        for body, why in ((b"a\nb", "newline"), (b"a\n", "newline"), (b"y" * 65537, "65536")):
            code, err = ask("upper", body)
            assert code == 1 and why in err, err
        equal((0, b"STILL RIGHT"), ask("upper", b"still right"))
        equal(0, status("send", "upper", "plain")[0])  # its line answers nobody
        equal((0, b"NEXT"), ask("upper", b"next"))
        equal(0, status("send", "upper", "two\nlines")[0])
        until(lambda: "refused" in w.said(), "the refusal of a message")
        code, end = w.end(signal.SIGTERM)
        equal((0, 5, 1, 4), (code, end["answered"], end["messages"], end["refused"]))


# A filter that answers questions only.
def no_reply():
    with Broker():
        w = Worker("quiet", "sh", "-c", 'while read a b; do [ "$a" = note ] && x="$x$b" || echo "$x"; done',
                   options=["--no-reply"])
        for text in ("a", "b", "c"):
            equal(0, status("send", "quiet", "note " + text)[0])
        equal((0, b"abc"), ask("quiet", b"tell"))
        equal(3, w.end(signal.SIGTERM)[1]["messages"])


# ---- room ----------------------------------------------------------------------------------------------------------

GATE = 'while read line; do echo "$line" >>"$0.got"; while [ ! -e "$0.open" ]; do sleep 0.02; done; echo "$line"; done'


def lines_in(path):
    try:
        with open(path) as f:
            return len(f.readlines())
    except FileNotFoundError:
        return 0


def pipe_bytes(pid):
    """What waits in the pipe that is its input."""
    import fcntl
    import struct
    import termios
    fd = os.open("/proc/%d/fd/0" % pid, os.O_RDONLY | os.O_NONBLOCK)
    n = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4))[0]
    os.close(fd)
    return n


def asked(worker):
    """Of how many others the broker passed something on."""
    return sum(p["pid"] != worker and p["frames_in"] > 0 for p in json.loads(status("ps", "--json")[1]))


def room():
    with Broker(), tempfile.TemporaryDirectory() as d:
        w = Worker("gate", "sh", "-c", GATE, d + "/f", options=["--room", "3"])
        answers = []
        threads = []
        before = asked(w.pid)  # `brood ps` itself
        for i in range(10):
            threads.append(asking("gate", b"%03d" % i, answers))
            until(lambda: asked(w.pid) - before == i + 1, "the broker has passed it on")
        until(lambda: lines_in(d + "/f.got") == 1, "the first is read")
        until(lambda: pipe_bytes(w.filter()) == 8, "two more are given")
        time.sleep(0.3)
        equal(8, pipe_bytes(w.filter()))
        open(d + "/f.open", "w").close()
        for t in threads:
            t.join()
        equal([(0, b"%03d" % i) for i in range(10)], sorted(answers))
        with open(d + "/f.got") as got:  # those that waited, in the order in which they came
            equal(["%03d" % i for i in range(10)], got.read().split())
        equal(0, w.end(signal.SIGTERM)[0])


# ---- the end -------------------------------------------------------------------------------------------------------

def graceful():
    with Broker(), tempfile.TemporaryDirectory() as d:
        w = Worker("gate", "sh", "-c", GATE, d + "/f", options=["--room", "2"])
        answers = []
        threads = [asking("gate", b"%03d" % i, answers) for i in range(6)]
        until(lambda: lines_in(d + "/f.got") == 1, "the first is read")
        time.sleep(0.5)
        w.tell(signal.SIGTERM)
        until(lambda: " gate " not in status("ps")[1].decode(), "the name is given up")
        code, err = ask("gate", b"late")
        assert code == 1 and "gate" in err, err
        assert w.process.poll() is None
        open(d + "/f.open", "w").close()
        for t in threads:
            t.join()
        equal([(0, b"%03d" % i) for i in range(6)], sorted(answers))
        code, end = w.end()
        equal((0, 6), (code, end["answered"]))


def second_signal():
    with Broker(), tempfile.TemporaryDirectory() as d:
        w = Worker("gate", "sh", "-c", GATE, d + "/f")
        answers = []
        thread = asking("gate", b"never", answers)
        until(lambda: lines_in(d + "/f.got") == 1, "it is read")
        pid = w.filter()
        w.tell(signal.SIGTERM)
        time.sleep(0.2)
        assert w.process.poll() is None
        equal(143, w.end(signal.SIGTERM)[0])
        thread.join()
        assert answers[0][0] == 1 and "ended" in answers[0][1], answers
        until(lambda: not alive(pid), "the filter is gone")


def filter_dies():
    with Broker(), tempfile.TemporaryDirectory() as d:
        w = Worker("gate", "sh", "-c", GATE, d + "/f", options=["--room", "1", "--restart", "2"])
        answers = []
        first = asking("gate", b"first", answers)
        until(lambda: lines_in(d + "/f.got") == 1, "it is read")
        rest = [asking("gate", b"rest", answers) for _ in range(3)]
        time.sleep(0.3)
        os.kill(w.filter(), signal.SIGKILL)
        first.join()
        assert answers[0][0] == 1 and "killed by signal 9" in answers[0][1], answers
        open(d + "/f.open", "w").close()
        for t in rest:  # waited, and are for the next filter
            t.join()
        equal([(0, b"rest")] * 3, answers[1:])
        for n in (2, 3):  # the third time is one too many
            killed = w.filter()
            os.kill(killed, signal.SIGKILL)
            if n == 2:  # what the worker gives to a filter before it sees its end fails with that, so not before
                until(lambda: any(pid != killed for pid in children(w.pid)), "another filter is there")
                equal((0, b"again"), ask("gate", b"again"))
        code, end = w.end()
        equal((137, 2), (code, end["restarts"]))


def filter_ends():
    with Broker():
        w = Worker("once", "sh", "-c", "read line; printf half; exit 7")
        code, err = ask("once", b"x")
        assert code == 1 and "exited with code 7" in err, err
        equal(7, w.end()[0])
        equal(127, Worker("none", "no-such-filter").end()[0])
        for script in ("exec <&- >&-; exec sleep 60", "read line; exec >&-; exec sleep 60"):
            w = Worker("deaf", "sh", "-c", script)  # it lives, but reads or writes no more
            code, err = ask("deaf", b"x")
            assert code == 1 and "killed by signal 15" in err, err
            equal(143, w.end()[0])


def names():
    with Broker():
        w = Worker("upper", *UPPER)
        code, _, err = status("worker", "upper", "--", "cat")
        assert code == 125 and "upper" in err, (code, err)
        equal(2, status("worker", "No Name", "--", "cat")[0])
        for argv in ([], ["x"], ["x", "--room", "0", "--", "cat"], ["x", "--restart", "-1", "--", "cat"],
                     ["x", "--bogus", "--", "cat"]):
            equal(2, status("worker", *argv)[0])
        equal((0, b"X"), ask("upper", b"x"))
        pid = w.filter()
        w.tell(signal.SIGKILL)
        w.process.wait()
        until(lambda: not alive(pid), "the filter dies with the worker")


def nobody_reads_complaints():
    read, write = os.pipe()
    with Broker(), os.fdopen(write, "w") as errors:
        w = Worker("chatty", "sh", "-c", "while read -r line; do echo $line; echo more; done", errors=errors)
        os.close(read)
        for body in (b"1", b"2", b"3"):
            equal((0, body), ask("chatty", body))
            time.sleep(0.1)  # "more" comes while nobody asks
        equal(0, w.end(signal.SIGTERM)[0])


def no_broker_any_more():
    broker = Broker()
    w = Worker("upper", *UPPER)
    broker.__exit__()
    equal(125, w.end()[0])
    assert w.said(), "no reason"


main([thousand_in_order, bodies, no_reply, room, graceful, second_signal, filter_dies, filter_ends, names,
      nobody_reads_complaints, no_broker_any_more])
