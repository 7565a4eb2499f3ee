"""cli_check: `brood check` tells what is wrong, and runs nothing. cli_check.py BROOD [TEST]"""
import json
import os
import re
import resource
import shutil
import tempfile

from cli_case import Broker, equal, main, status


def check(*argv, **how):
    """What is said of each step, and whether it could be started; --plain, so no broker is needed."""
    code, out, err = status("check", "--json", "--plain", *argv, **how)
    equal("", err)
    answer = json.loads(out)
    equal(0 if answer["ok"] else 1, code)
    return {s["step"]: (s["ok"], s["text"]) for s in answer["steps"]}, answer["ok"], answer["path"]


class Directory:
    def __enter__(self):
        self.path = tempfile.mkdtemp()
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path)

    def file(self, name, text, mode=0o755):
        path = os.path.join(self.path, name)
        with open(path, "wb") as f:
            f.write(text if isinstance(text, bytes) else text.encode())
        os.chmod(path, mode)
        return path


def it_could():
    steps, ok, path = check("--", "sh", "-c", "exit 1")
    assert ok and os.access(path, os.X_OK)
    equal({"directory", "found", "allowed", "format", "exec", "limits"}, set(steps))
    assert all(s[0] for s in steps.values()), steps
    assert steps["found"][1].endswith("/sh, by PATH")
    assert ok and check("--", path)[0]["found"][1] == path
    with Directory() as d:
        script = d.file("script", "#!/bin/sh\n")
        equal((True, "a script, run by /bin/sh"), check("--", script)[0]["format"])
        equal(True, check("--", d.file("by-script", "#! " + script + " arg\n"))[1])
        steps, ok, path = check("--cwd", d.path, "--", "./script")
        equal((True, "./script", os.path.realpath(d.path)), (ok, path, steps["directory"][1]))
        steps, ok, path = check("--", "script", env={"PATH": "/nowhere:" + d.path})
        equal((True, script), (ok, path))


# Each with the step that says no, and why.
def it_could_not():
    with Directory() as d:
        d.file("plain", "#!/bin/sh\n", 0o644)
        os.mkdir(os.path.join(d.path, "folder"))
        for name, step, pattern in [
                ("/no/such/program", "found", "No such file or directory"),
                ("no-such-program", "found", "no directory of PATH has \"no-such-program\": /"),
                ("", "found", "its name is empty"),
                (d.path + "/plain", "allowed", "mode 0644, of user .*chmod"),
                (d.path + "/folder", "allowed", "directory"),
                ("/dev/null", "allowed", "no regular file"),
                (d.file("empty", ""), "format", "empty"),
                (d.file("lost", "#!/no/such/sh\n"), "format", "interpreter /no/such/sh: No such file"),
                (d.file("plain-by", "#!" + d.path + "/plain\n"), "format", "plain: we may not execute it"),
                (d.file("windows", "#!/bin/sh\r\n"), "format", r"Windows \(CR LF\), so its interpreter is \"/bin/sh\\r\""),
                (d.file("nothing", "#! \n"), "format", "names no interpreter"),
                (d.file("text", "echo hello\n"), "exec", "exec: Exec format error"),
                (d.file("cut", open("/bin/sh", "rb").read(80)), "exec", "exec: ")]:
            steps, ok, _ = check("--", name)
            assert not ok, name
            equal(False, steps[step][0])
            assert re.search(pattern, steps[step][1]), "%s: %r" % (name, steps[step][1])
            if step == "format":
                equal(False, steps["exec"][0])  # the kernel agrees
        assert re.search("does not begin with #!", check("--", d.path + "/text")[0]["format"][1])
        steps, ok, _ = check("--cwd", "/no/such/directory", "--", "true")
        equal((False, (False, "/no/such/directory: No such file or directory")), (ok, steps["directory"]))
        equal(False, check("--cwd", d.path + "/plain", "--", "true")[1])
        loop = d.path + "/l0"
        for i in range(7):
            d.file("l%d" % i, "#!%s/l%d\n" % (d.path, i + 1) if i < 6 else "#!/bin/sh\n")
        equal((False, False), (check("--", loop)[0]["format"][0], check("--", loop)[0]["exec"][0]))


# A program for another loader, as one of another distribution is: the kernel says "No such file" of a file that is there.
def another_loader():
    with open("/bin/true", "rb") as f:
        program = f.read()
    loader = re.search(rb"/lib64/ld-[a-z0-9.-]+\0", program)
    if not loader:
        print("skipped: /bin/true has no loader of /lib64")
        return
    with Directory() as d:
        other = d.file("other", program.replace(loader.group(), b"/lib64/no" + loader.group()[9:]))
        steps, ok, _ = check("--", other)
        assert not ok and re.search("its loader /lib64/no.*another system", steps["format"][1]), steps
        equal((False, "exec: No such file or directory"), steps["exec"])
        machine = d.file("machine", program[:18] + b"\x28\x00" + program[20:])
        steps, ok, _ = check("--", machine)
        assert not ok and re.search("another processor", steps["format"][1]), steps


# It is executed, but nothing of it runs.
def it_does_not_run():
    with Directory() as d:
        ran = os.path.join(d.path, "ran")
        assert check("--", "touch", ran)[1]
        assert not os.path.exists(ran)
        equal(True, check("--", d.file("script", "#!/bin/sh\ntouch %s\n" % ran))[1])
        assert not os.path.exists(ran)


def no_more_processes():
    if os.geteuid() == 0:
        def become():
            os.setgid(64321)
            os.setuid(64321)
            resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        try:
            may = status("check", "--plain", "--", "true", preexec_fn=lambda: os.setuid(64321))[0] == 0
        except PermissionError:
            may = False
        if not may:
            print("skipped: others may not run programs from here")
            return
        quiet = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")  # or it wants a process of its own at the end
        code, out, _ = status("check", "--plain", "--", "true", preexec_fn=become, env=quiet)
        equal(1, code)
        assert re.search("^no +exec +fork: Resource temporarily unavailable", out.decode(), re.M), out


def broker():
    code, out, _ = status("check", "--", "true", env=dict(os.environ, BROOD_ADDRESS="unix:/nowhere/sock"))
    equal(1, code)
    assert re.search("^no +broker .*/nowhere/sock", out.decode(), re.M), out
    assert out.decode().endswith("true could not be started here\n")
    with Directory() as d:
        environment = {k: v for k, v in os.environ.items() if k != "BROOD_ADDRESS"}
        code, out, _ = status("check", "--", "true", env=dict(environment, XDG_RUNTIME_DIR=d.path))
        if not os.path.exists("/run/brood"):
            equal(0, code)
            assert re.search("^- +broker +none runs; a private one is started", out.decode(), re.M), out
        equal([], os.listdir(d.path))  # and was not
    with Broker():
        code, out, _ = status("check", "--", "true")
        equal(0, code)
        assert re.search(r"^yes +broker +broodd [0-9.]+, pid \d+, of node ", out.decode(), re.M), out
        assert out.decode().endswith("true could be started here\n")


def wrong():
    for argv in ([], ["--"], ["--bogus"], ["--cwd"]):
        equal(2, status("check", *argv)[0])


main([it_could, it_could_not, another_loader, it_does_not_run, no_more_processes, broker, wrong])
