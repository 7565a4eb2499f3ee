"""cli_hosts: `brood run --host`, `brood spawn --host`, `brood check --host` and `brood kill`: programs on other hosts. cli_hosts.py BROOD [TEST]

Here all hosts are one: a node's own name leads to it, and each nursery is a host of its own.
"""
import json
import os
import re
import signal
import subprocess
import tempfile

from cli_case import BROOD, Broker, alive, equal, main, state, status, until

NURSERY = os.environ["BROOD_NURSERY"]
CONFIGURATION = '[program "*"]\nfree-args = yes\nfree-cwd = yes\nenv = *\n'


class Hosts(Broker):
    """A broker whose node is "alpha", and nurseries of these names."""
    def __init__(self, *names, configuration=CONFIGURATION):
        super().__init__("--node", "alpha")
        path = os.path.join(self.directory, "nursery.conf")
        with open(path, "w") as f:
            f.write(configuration)
        os.chmod(path, 0o600)
        self.nurseries = [subprocess.Popen([NURSERY, "--config", path, "--name", name]) for name in names]
        for name in names:
            until(lambda: '"name":"%s"' % name in status("ps", "--json")[1].decode(), "the nursery " + name)

    def __exit__(self, *what):
        for nursery in self.nurseries:
            nursery.terminate()
        for nursery in self.nurseries:
            equal(0, nursery.wait(20))
        super().__exit__(*what)


def statuses():
    with Hosts("nursery", "two"):
        for expected, argv in [
                (0, ["-H", "alpha", "--", "true"]), (23, ["-H", "alpha", "--", "sh", "-c", "exit 23"]),
                (137, ["-H", "alpha", "--", "sh", "-c", "kill -KILL $$"]),
                (124, ["-H", "alpha", "--timeout", "100", "--", "sleep", "60"]),
                (127, ["-H", "alpha", "--", "no-such-program"]), (126, ["-H", "alpha", "--", "/etc/passwd"]),
                (125, ["-H", "nowhere", "--", "true"]), (125, ["-H", "alpha/none", "--timeout", "60s", "--", "true"]),
                (125, ["-H", "", "--", "true"]), (125, ["-H", "alpha,", "--", "true"]),
                (125, ["-H", "alpha", "--tty", "--", "true"]), (125, ["-H", "alpha", "--detach", "--", "true"]),
                (125, ["--label", "--", "true"])]:
            code, _, err = status("run", *argv)
            assert code == expected, "%s: %d instead of %d: %s" % (argv, code, expected, err)
            equal(expected in (0, 23, 137), err == "")
        # The highest of several, and who it was.
        script = 'case $(cat) in esac; [ "$A" = 1 ] && exit 3; exit 0'
        code, _, err = status("run", "-H", "alpha,alpha/two", "--env", "A=1", "--", "sh", "-c", script)
        equal(3, code)
        equal(2, len(re.findall(r"^brood run: alpha(/two)?: sh: exited with code 3$", err, re.M)))
        code, _, err = status("run", "-H", "alpha,nowhere", "--", "true")
        equal(125, code)
        assert re.search(r"^brood run: nowhere: cannot start true: ", err, re.M), err


def as_json():
    with Hosts("nursery", "two"):
        code, _, err = status("run", "--json", "-H", "alpha,alpha/two,nowhere", "--", "sh", "-c", "exit 4")
        equal(125, code)
        ends = {e["host"]: e for e in map(json.loads, (line for line in err.splitlines() if line.startswith("{")))}
        equal({"alpha": 4, "alpha/two": 4, "nowhere": 125}, {host: e["status"] for host, e in ends.items()})
        equal(4, ends["alpha"]["code"])
        equal("host.unknown", ends["nowhere"]["error"])


def input_and_output():
    blob = os.urandom(3 * 1000 * 1000)
    with Hosts("nursery"):
        code, out, err = status("run", "-H", "alpha", "--", "cat", input=blob)
        equal((0, ""), (code, err))
        assert out == blob
        equal((3, b"out\n", "err\n"), status("run", "-H", "alpha", "--", "sh", "-c", "echo out; echo err >&2; exit 3"))
        code, out, _ = status("run", "-H", "alpha", "--env", "A=1", "--unset", "HOME", "--cwd", "/", "--", "sh", "-c",
                              'echo "$A ${HOME-none} $(pwd)"')
        equal((0, b"1 none /\n"), (code, out))
        equal(0, status("run", "-H", "alpha", "--", "true", input=blob)[0])  # that it reads none of it is no mistake


def labels():
    with Hosts("nursery", "two"):
        script = "cat; printf 'no end'; echo oops >&2"
        code, out, err = status("run", "-H", "alpha,alpha/two", "--label", "--", "sh", "-c", script,
                                input=b"one\n\ntwo\n")
        equal(0, code)
        for host in (b"alpha", b"alpha/two"):
            lines = [line[len(host) + 2:] for line in out.splitlines() if line.startswith(host + b": ")]
            equal([b"one", b"", b"two", b"no end"], lines)
        equal(8, len(out.splitlines()))
        equal(["alpha/two: oops", "alpha: oops"], sorted(err.splitlines()))
        # A line that comes in pieces is one; very long ones are cut.
        script = "printf a; sleep 0.1; echo b; head -c 200000 /dev/zero | tr '\\0' x; echo"
        _, out, _ = status("run", "-H", "alpha", "--label", "--", "sh", "-c", script)
        lines = out.splitlines()
        equal(b"alpha: ab", lines[0])
        equal(200000, sum(len(line) - len(b"alpha: ") for line in lines[1:]))
        assert all(line.startswith(b"alpha: x") for line in lines[1:])
        # Who does not read the rest ends it.
        run = subprocess.Popen([BROOD, "run", "-H", "alpha", "--label", "--", "yes"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE)
        equal(b"alpha: y\n", run.stdout.readline())
        run.stdout.close()
        equal(-signal.SIGPIPE, run.wait(20))


# As at home, what writes to nobody ends; what does not, goes on.
def nobody_reads():
    with Hosts("nursery"):
        for status_then, script in [(141, "exec yes"), (3, "yes; exit 3")]:
            run = subprocess.Popen([BROOD, "run", "-H", "alpha", "--", "sh", "-c", script], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE)
            equal(b"y\n", run.stdout.readline())
            run.stdout.close()
            equal(status_then, run.wait(60))
        with open("/dev/full", "w") as full:
            done = subprocess.run([BROOD, "run", "-H", "alpha", "--", "yes"], stdin=subprocess.DEVNULL, stdout=full, timeout=60,
                                  check=False)
        equal(141, done.returncode)


LOUD = 'trap "echo $0; exit 9" %s; echo ready; while :; do sleep 0.05; done'


def signals_pass():
    with Hosts("nursery", "two"):
        for name in ("INT", "TERM", "HUP", "USR1"):
            run = subprocess.Popen([BROOD, "run", "-H", "alpha,alpha/two", "--", "sh", "-c", LOUD % name, name],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            equal([b"ready\n", b"ready\n"], [run.stdout.readline(), run.stdout.readline()])
            run.send_signal(getattr(signal, "SIG" + name))
            equal((name + "\n").encode() * 2, run.stdout.read())
            run.stdout.close()
            equal(9, run.wait(20))


# Whoever is there ends with this command, however it ends.
def it_is_killed():
    with Hosts("nursery"):
        run = subprocess.Popen([BROOD, "run", "-H", "alpha", "--", "sh", "-c", "echo $$; sleep 60"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        pid = int(run.stdout.readline())
        run.kill()
        run.wait(20)
        run.stdout.close()
        until(lambda: not alive(pid), "the end of the program")


def spawn():
    with Hosts("nursery"):
        code, out, err = status("spawn", "--json", "-H", "alpha", "--name", "sleeper", "--", "sleep", "60")
        equal((0, ""), (code, err))
        answer = json.loads(out)
        assert alive(answer["pid"])
        equal("sleeper", answer["name"])
        code, out, _ = status("why", "--json", answer["address"])
        equal((0, "sleep"), (code, json.loads(out)["living"]["program"]))
        code, out, _ = status("why", "--json", "alpha/sleeper")  # as it is called from elsewhere
        equal((0, "sleep"), (code, json.loads(out)["living"]["program"]))
        code, out, err = status("spawn", "-H", "alpha", "--name", "sleeper", "--", "sleep", "60")
        equal((1, b""), (code, out))
        assert "it could not get the name sleeper" in err, err
        equal(0, status("kill", "-s", "KILL", "sleeper")[0])
        until(lambda: not alive(answer["pid"]), "its end")
        for expected, argv in [(1, ["-H", "nowhere", "--", "true"]), (1, ["-H", "alpha", "--", "no-such-program"]),
                               (2, ["-H", "alpha", "--output", "x", "--", "true"]), (2, ["-H", "", "--", "true"])]:
            code, out, err = status("spawn", *argv)
            equal((expected, b""), (code, out))
            assert err


# What the keeper saw is what is told of its end.
def why():
    with Hosts("nursery"):
        status("run", "-H", "alpha", "--name", "far", "--timeout", "100ms", "--", "sh", "-c", "exec sleep 60")
        code, out, _ = status("why", "--json", "far")
        equal(0, code)
        end = json.loads(out)["endings"][0]
        equal(("signaled", 15, "timeout", "brood"),
              (end["cause"], end["signal"], end["ended_by"], end["parent_program"]))
        status("run", "-H", "alpha", "--label", "--name", "far", "--", "sh", "-c", "echo oops >&2; exit 3")
        end = json.loads(status("why", "--json", "far")[1])["endings"][0]
        equal(("exited", 3, "oops\n"), (end["cause"], end["code"], end["tail"]))


def checked(host, *argv):
    """What is said of each step, and the program's path."""
    code, out, err = status("check", "--json", "-H", host, *argv)
    equal("", err)
    answer = json.loads(out)
    equal(0 if answer["ok"] else 1, code)
    return {s["step"]: (s["ok"], s["text"]) for s in answer["steps"]}, answer["path"]


# It says what there is to see there, and starts nothing.
def check():
    with Hosts("nursery") as hosts:
        ran, script = os.path.join(hosts.directory, "ran"), os.path.join(hosts.directory, "script")
        with open(script, "w") as f:
            f.write("#!/bin/sh\ntouch %s\n" % ran)
        os.chmod(script, 0o755)
        steps, path = checked("alpha", "--", script, "and", "arguments")
        equal(["nursery", "directory", "found", "allowed", "format"], list(steps))
        assert all(ok for ok, _ in steps.values()), steps
        equal(script, path)
        steps, path = checked("alpha/nursery", "--cwd", hosts.directory, "--", "./script")
        assert all(ok for ok, _ in steps.values()), steps
        equal(hosts.directory, steps["directory"][1])
        equal(["sh"], [os.path.basename(checked("alpha", "--", "sh", "-c", "exit 1")[1])])
        assert not os.path.exists(ran)
        for step, argv in [("found", ["--", "no-such-program"]), ("allowed", ["--", "/etc/passwd"]),
                           ("allowed", ["--", "/etc"]), ("directory", ["--cwd", "/no/such", "--", "sh"]),
                           ("directory", ["--cwd", "/etc/passwd", "--", "sh"])]:
            steps, _ = checked("alpha", *argv)
            equal([step], [name for name, (ok, _) in steps.items() if not ok])
            equal(step, list(steps)[-1])  # what comes behind it is not looked at
        for host, words in [("alpha/none", "no nursery runs on alpha/none"), ("nowhere", "this broker knows no host nowhere")]:
            steps, _ = checked(host, "--", "sh")
            equal((["nursery"], False), (list(steps), steps["nursery"][0]))
            assert steps["nursery"][1].startswith(words), steps
        code, out, _ = status("check", "-H", "alpha", "--", "sh")
        equal((0, b"sh could be started on alpha"), (code, out.splitlines()[-1]))
        equal(2, status("check", "-H", "", "--", "sh")[0])
    # What it may not is said first, and nothing else.
    narrow = ('[nursery]\nmax = 1\n[program "one"]\npath = /bin/cat\n[program "two"]\npath = /no/such\n'
              '[program "three"]\npath = /bin/cat\nfor = nobody@elsewhere\n')
    with Hosts("nursery", configuration=narrow):
        equal("/bin/cat", checked("alpha", "--", "one")[1])
        for argv, words in [(["one", "x"], "(free-args)"), (["sh"], "has no section for a program sh"),
                            (["three"], "may not start three on alpha")]:
            steps, path = checked("alpha", "--", *argv)
            equal((["nursery"], False, ""), (list(steps), steps["nursery"][0], path))
            assert words in steps["nursery"][1] and "; have " in steps["nursery"][1], steps
        equal((False, "/no/such: No such file or directory"), checked("alpha", "--", "two")[0]["found"])
        code, _, err = status("run", "-H", "alpha", "--", "two")  # who calls it by the section's name does not know its path
        equal(127, code)
        assert err.startswith("brood run: alpha: cannot start two: /no/such on alpha: No such file or directory\n"), err
        run = subprocess.Popen([BROOD, "run", "-H", "alpha", "--", "one"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        run.stdin.write(b"x\n")
        run.stdin.flush()
        equal(b"x\n", run.stdout.readline())
        steps, _ = checked("alpha", "--", "one")
        assert "1 program runs already" in steps["nursery"][1], steps
        run.stdin.close()
        run.stdout.close()
        equal(0, run.wait(20))


# What cannot be held from here, as its host is another, is signalled by the nursery that started it, and by no other.
def kill():
    with Hosts("nursery", "two") as hosts:
        def kill_from_elsewhere(*argv):
            script = 'mount --bind "$1" /proc/sys/kernel/random/boot_id || exit 77; shift; exec "$0" kill "$@"'
            done = subprocess.run(["unshare", "-m", "sh", "-c", script, BROOD, boot, *argv], stderr=subprocess.PIPE,
                                  timeout=60, check=False)
            return done.returncode, done.stderr.decode()

        boot = os.path.join(hosts.directory, "boot_id")
        with open(boot, "w") as f:
            f.write("01234567-89ab-cdef-0123-456789abcdef\n")
        pids = {}
        for name, host in (("first", "alpha"), ("second", "alpha"), ("third", "alpha/two")):
            code, out, _ = status("spawn", "--json", "-H", host, "--name", name, "--", "sleep", "60")
            equal(0, code)
            pids[name] = json.loads(out)
        code, err = kill_from_elsewhere("-s", "STOP", "first")
        if "mount" in err or "unshare" in err:
            print("skipped: nothing can be mounted here: %r" % err)
            code, err = status("kill", "first", "second", "third")[::2]
            equal((0, ""), (code, err))
            return
        equal((0, ""), (code, err))
        until(lambda: state(pids["first"]["pid"]) == "T", "that it stops")
        equal((0, ""), kill_from_elsewhere("-s", "KILL", "alpha/" + pids["first"]["address"]))
        until(lambda: not alive(pids["first"]["pid"]), "its end")
        end = json.loads(status("why", "--json", pids["first"]["address"])[1])["endings"][0]
        equal(("signaled", 9, "itself"), (end["cause"], end["signal"], end["ended_by"]))
        assert alive(pids["second"]["pid"])
        equal((0, ""), kill_from_elsewhere("--tree", "alpha/second"))
        until(lambda: not alive(pids["second"]["pid"]), "its end")
        # Of a nursery with another name.
        code, err = kill_from_elsewhere("alpha/third")
        equal(1, code)
        assert "the nursery on alpha runs no " in err, err
        equal((0, ""), kill_from_elsewhere("--nursery", "two", "alpha/third"))
        until(lambda: not alive(pids["third"]["pid"]), "its end")
        # One that no nursery started.
        run = subprocess.Popen([BROOD, "run", "--name", "mine", "--", "sleep", "60"], stdin=subprocess.DEVNULL)
        until(lambda: '"mine"' in status("ps", "--json")[1].decode(), "mine")
        code, err = kill_from_elsewhere("-s", "KILL", "mine")
        equal(1, code)
        assert "it runs on another host" in err and "the nursery on alpha runs no " in err, err
        equal(None, run.poll())
        equal(0, status("kill", "mine")[0])
        equal(143, run.wait(20))


# What would silently be nobody is a mistake, as are others, each with its place.
def mistakes():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "nursery.conf")
        with open(path, "w") as f:
            f.write('[program "/one"]\nfor = alice@alpha *@beta *@* * bob\n[program "/two"]\nfor = alice@alpha, bob@beta\n'
                    '[program "/three"]\nfor = @staff\n[program "/four"]\nfor = bob@\n\n[program "five"]\n')
        os.chmod(path, 0o600)
        done = subprocess.run([NURSERY, "-t", "-c", path], stderr=subprocess.PIPE, timeout=60, check=False)
        lines = done.stderr.decode().splitlines()
        equal((2, ["4", "6", "8", "10"]), (done.returncode, [re.match(r"brood-nursery: .*conf:(\d+): ", s)[1] for s in lines]))
        assert '"alice@alpha," is nobody, because of the comma; write' in lines[0] and '"@staff" is nobody; write' in lines[1]
    done = subprocess.run([NURSERY, "--name", "a b"], stderr=subprocess.PIPE, timeout=60, check=False)
    equal((2, True), (done.returncode, b'"a b" is not a name' in done.stderr))


main([check, mistakes, kill, statuses, as_json, input_and_output, labels, nobody_reads, signals_pass, it_is_killed, spawn, why])
