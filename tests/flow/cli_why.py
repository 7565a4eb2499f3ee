"""cli_why: `brood why` of processes that ended in every way. cli_why.py BROOD [TEST]"""
import json
import os
import re
import subprocess

from cli_case import BROOD, Broker, equal, main, status, until


def run(*argv):
    """A child of `brood run` with a channel; its statuses are cli_run's affair."""
    return status("run", "--channel", *argv)


def why(*argv):
    code, out, err = status("why", *argv)
    equal((0, ""), (code, err))
    return out.decode()


def endings(*argv):
    return json.loads(why("--json", *argv))["endings"]


def like(pattern, text):
    assert re.search(pattern, text, re.MULTILINE), "%r is not like %r" % (text, pattern)


def ways_to_end():
    with Broker():
        for name, argv, pattern in [
                ("code", ["--", "sh", "-c", "exit 3"], r"^code \([0-9a-f.]+, pid \d+\) exited with code 3 \d+ ms ago$"),
                ("zero", ["--", "true"], r"exited with code 0 "),
                ("fault", ["--", "sh", "-c", "kill -SEGV $$"], r"was killed by SIGSEGV .* ago: a fault of its own"),
                ("killed", ["--", "sh", "-c", "kill -KILL $$"],
                 r"was killed by SIGKILL .* ago: the signal was not its parent's"),
                ("late", ["--timeout", "100ms", "--", "sleep", "60"],
                 r"was killed by SIGTERM .* ago: its time was up, so its parent ended it"),
                ("missing", ["--", "no-such-program"], r"^missing \([0-9a-f.]+\) could not be started ")]:
            run("--name", name, *argv)
            text = why(name)
            like(pattern, text)
            like(r"^  parent      brood \(", text)
        like(r"its parent  cannot start no-such-program: No such file or directory", why("missing"))
        like(r"its parent  killed by signal 15 \(Terminated\) after its timeout of 100 ms", why("late"))
        like(r"^  lived       .*of CPU for itself, .*of memory$", why("zero"))
        end = endings("late")[0]
        equal(("late", "sleep", "exited", "signaled", 15, "timeout"),
              tuple(end[k] for k in ("name", "program", "why", "cause", "signal", "ended_by")))
        assert end["wall_ms"] >= 100 and end["uid"] == os.getuid()
        equal([end], [dict(e, ago_ms=end["ago_ms"]) for e in endings(end["address"])])
        equal(end["address"], endings(str(end["pid"]))[0]["address"])


def left_and_lost():
    with Broker():
        status("send", "nobody", "x")  # a client that comes and leaves
        end = endings("--all")[0]
        equal(("brood", "left", "", "", False), tuple(end[k] for k in ("program", "why", "cause", "parent", "core")))
        like("left .* ago: it said goodbye", why(end["address"]))
        worker = subprocess.Popen([BROOD, "worker", "upper", "--", "sed", "-u", "s/a/A/"])
        until(lambda: status("request", "upper", "a")[0] == 0, "a worker")
        worker.kill()
        worker.wait()
        until(lambda: json.loads(why("--json", "upper"))["living"] is None, "its end")
        like("upper .* was lost .* ago: its connection ended without a goodbye, and no parent saw", why("upper"))
        worker = subprocess.Popen([BROOD, "worker", "upper", "--", "sed", "-u", "s/a/A/"])
        until(lambda: status("request", "upper", "a")[0] == 0, "another worker")
        text = why("upper")
        like(r"^upper .* has not ended: it is live, here for ", text)
        like("was lost", text)  # and before that
        worker.terminate()
        equal(0, worker.wait())
        like("upper .* left .* ago", why("upper"))  # although it gave up its name first


# Its parent is killed, and it with it: nobody is left to say so.
def with_its_parent():
    with Broker():
        parent = subprocess.Popen([BROOD, "run", "--name", "kid", "--", "sleep", "60"])
        until(lambda: status("why", "kid")[0] == 0, "a child")
        parent.kill()
        parent.wait()
        until(lambda: json.loads(why("--json", "kid"))["living"] is None, "its end")
        end = endings("kid")[0]
        equal(("lost", "sleep"), (end["why"], end["program"]))


def lists():
    with Broker():
        for code in range(1, 6):
            run("--name", "again", "--", "sh", "-c", "exit %d" % code)
        run("--", "true")
        equal([5, 4, 3], [e["code"] for e in endings("-n", "3", "again")])
        equal([5], [e["code"] for e in endings("again")])
        equal([5, 4, 3, 2, 1], [e["code"] for e in endings()])  # nobody who ended in peace
        assert "true" in [e["program"] for e in endings("--all")]
        lines = why().splitlines()
        equal(["AGO", "ADDRESS", "NAME", "PID", "PROGRAM", "HOW"], lines[0].split())
        equal(6, len(lines))
        like(r"again +\d+  sh +exited with code 5$", lines[1])


def not_known():
    with Broker():
        code, out, err = status("why", "nobody")
        equal((1, b""), (code, out))
        like("brood why: no such process is known here; the broker remembers the last 1024 that ended", err)
        like("^  see who is there with: brood ps", err)
        equal(1, status("why", "1.1")[0])
        equal(1, status("why", "No Name")[0])
        equal(1, status("why", "")[0])
        for wrong in (["-n", "0"], ["-n", "33"], ["-n", "x"], ["a", "b"]):
            equal(2, status("why", *wrong)[0])
    equal(1, status("why", "nobody")[0])  # nor without a broker


# What a program calls itself cannot move the cursor.
def escapes():
    with Broker() as broker:
        odd = os.path.join(broker.directory, "x\033[2J")
        os.symlink("/bin/false", odd)
        run("--name", "odd", "--", odd)
        assert "\033" not in why("odd") + why()
        equal("x\033[2J", endings("odd")[0]["program"])


def it_remembers_as_many_as_it_is_told():
    with Broker("--limits.exits", "3"):
        for code in range(1, 6):
            run("--", "sh", "-c", "exit %d" % code)
        equal(3, len(endings("--all")))
        equal([5, 4], [e["code"] for e in endings()])  # and the client that was here last
        like("the last 3 that ended", status("why", "nobody")[2])


main([ways_to_end, left_and_lost, with_its_parent, lists, not_known, escapes, it_remembers_as_many_as_it_is_told])
