"""cli_spawn: `brood spawn` leaves behind what others find. cli_spawn.py BROOD [TEST]"""
import json
import os
import re
import subprocess

from cli_case import BROOD, Broker, alive, equal, main, status, until


def listed():
    return json.loads(status("ps", "--json")[1])


def spawn(*argv):
    code, out, err = status("spawn", *argv)
    equal((0, ""), (code, err))
    assert re.fullmatch(rb"[0-9a-f]+\.[0-9]+\n", out), out
    return out.decode().strip()


def end(address):
    pid = next(p["pid"] for p in listed() if p["address"] == address)
    equal(0, status("kill", "-s", "KILL", "--tree", address)[0])
    until(lambda: not alive(pid), "its end")


def it_outlives_the_command():
    with Broker():
        address = spawn("--name", "sleeper", "--", "sleep", "60")
        process = next(p for p in listed() if p["address"] == address)
        equal(("sleeper", "sleep", "live"), (process["name"], process["program"], process["state"]))
        equal(os.getsid(process["pid"]), process["pid"])
        equal(address, json.loads(status("why", "--json", "sleeper")[1])["living"]["address"])
        end(address)
        code, out, _ = status("spawn", "--json", "--name", "sleeper", "--", "sleep", "60")
        answer = json.loads(out)
        equal((0, "sleeper"), (code, answer["name"]))
        assert alive(answer["pid"])
        end(answer["address"])


def one_that_answers():
    with Broker():
        worker = [BROOD, "worker", "upper", "--", "sed", "-u", "s/.*/\\U&/"]
        address = spawn("--name", "other.name", "--ready", "20s", "--", *worker)
        equal(b"HELLO", status("request", "upper", "hello")[1])
        equal(b"HELLO", status("request", address, "hello")[1])
        equal({"upper", "other.name"}, set(next(p for p in listed() if p["address"] == address)["name"].split()))
        end(address)


# Whoever captures the address is not kept waiting by a program that holds its output open.
def output():
    with Broker() as broker:
        log = os.path.join(broker.directory, "log")
        with open(log, "w") as f:
            f.write("before\n")
        done = subprocess.run([BROOD, "spawn", "--output", log, "--", "sh", "-c", "echo out; echo err >&2; exec sleep 60"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20, check=True)
        until(lambda: open(log).read() == "before\nout\nerr\n", "its output")
        end(done.stdout.decode().strip())
        out = subprocess.run(["sh", "-c", 'echo $("$0" spawn -- sh -c "echo lost; exec sleep 60")', BROOD], timeout=20,
                             stdout=subprocess.PIPE, check=True).stdout
        end(out.decode().strip())
        code, _, err = status("spawn", "--output", "/no/such/directory/log", "--", "true")
        equal((1, True), (code, err.startswith("brood spawn: /no/such/directory/log: No such file")))


def environment():
    with Broker() as broker:
        log = os.path.join(broker.directory, "log")
        spawn("--output", log, "--env", "A=1", "--unset", "HOME", "--cwd", "/", "--", "sh", "-c",
              'echo "$A ${HOME-none} $(pwd)"; readlink /proc/self/fd/0')
        until(lambda: open(log).read() == "1 none /\n/dev/null\n", "its output")


def names():
    with Broker():
        address = spawn("--name", "sleeper", "--", "sleep", "60")
        code, out, err = status("spawn", "--name", "sleeper", "--", "sleep", "60")
        equal((1, b""), (code, out))
        assert re.match(r"brood spawn: the name sleeper is held by sleeper \(" + address, err), err
        equal([address], [p["address"] for p in listed() if p["program"] == "sleep"])
        end(address)
        pid = os.getpid()  # digits are a name, too
        address = spawn("--name", str(pid), "--", "sleep", "60")
        end(address)
    with Broker("--limits.names-per-user", "1"):
        first = spawn("--name", "first", "--", "sleep", "60")
        code, out, err = status("spawn", "--name", "second", "--", "sleep", "60")
        equal((1, b""), (code, out))
        assert re.search("it could not get the name second, and was ended", err), err
        until(lambda: [p["address"] for p in listed() if p["program"] == "sleep"] == [first], "the end of the second")
        end(first)


def it_does_not_start():
    with Broker():
        for argv, text in [(["--", "no-such-program"], "cannot start no-such-program: No such file"),
                           (["--cwd", "/nowhere", "--", "true"], "cannot start true: /nowhere: No such file"),
                           (["--ready", "100ms", "--", "sleep", "60"], "not ready within 100 ms"),
                           (["--ready", "20s", "--", "sh", "-c", "exit 3"], "exited with code 3")]:
            code, out, err = status("spawn", *argv)
            equal((1, b""), (code, out))
            assert text in err, err
    code, out, err = status("spawn", "--", "true", env=dict(os.environ, BROOD_ADDRESS="unix:/nowhere/sock"))
    equal((1, b""), (code, out))
    assert "/nowhere/sock" in err, err
    for argv in ([], ["--"], ["--name", "No Name", "--", "true"], ["--ready", "soon", "--", "true"],
                 ["--env", "A", "--", "true"], ["--bogus"]):
        equal(2, status("spawn", *argv)[0])


main([it_outlives_the_command, one_that_answers, output, environment, names, it_does_not_start])
