"""cli_kill: `brood kill` hits whom it names and nobody else. cli_kill.py BROOD [TEST]"""
import json
import os
import re
import socket
import struct
import subprocess
import time

from cli_case import BROOD, Broker, alive, equal, main, state, status, until


def like(pattern, text):
    assert re.search(pattern, text, re.MULTILINE), "%r is not like %r" % (text, pattern)


def listed():
    return json.loads(status("ps", "--json")[1])


def start(name, *argv):
    """`brood run` with a child of that name: both, and the child's pid and address."""
    run = subprocess.Popen([BROOD, "run", "--name", name, "--", *argv], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE)
    until(lambda: any(p["name"] == name for p in listed()), name)
    child = next(p for p in listed() if p["name"] == name)
    return run, child["pid"], child["address"]


def by_name_address_and_pid():
    with Broker():
        for what in (0, 1, 2):
            run, pid, address = start("victim", "sleep", "60")
            equal((0, b"", ""), status("kill", ["victim", str(pid), address][what]))
            equal(143, run.wait(20))
        run, pid, address = start("victim", "sleep", "60")
        code, out, err = status("kill", "--json", "-s", "SIGKILL", "victim")
        equal((0, ""), (code, err))
        equal([{"process": "victim", "address": address, "pid": pid, "signal": 9, "error": ""}], json.loads(out))
        equal(137, run.wait(20))
        first, second = start("first", "sleep", "60")[0], start("second", "sleep", "60")[0]
        code, _, err = status("kill", "-s", "usr1", "first", "nobody", "second")  # one that fails spares no other
        equal(1, code)
        like("^brood kill: nobody: no such process is known here", err)
        equal((138, 138), (first.wait(20), second.wait(20)))


def it_has_ended():
    with Broker():
        run, _, address = start("victim", "sleep", "60")
        equal(0, status("kill", "victim")[0])
        run.wait(20)
        code, _, err = status("kill", "victim")
        equal(1, code)
        like(r"^brood kill: victim \(.*, pid \d+\): it ended .* ago; see how with: brood why " + address, err)


# It catches the signal; what it started does not.
TREE = 'trap : TERM; sleep 60 & echo $!; while :; do sleep 60 & wait $!; done'


def tree():
    with Broker():
        run, pid, _ = start("victim", "sh", "-c", TREE)
        other = int(run.stdout.readline())
        equal(0, status("kill", "victim")[0])
        assert alive(other) and alive(pid)
        equal(0, status("kill", "--tree", "victim")[0])
        until(lambda: not alive(other), "the end of what it started")
        equal(0, status("kill", "-s", "KILL", "--tree", "victim")[0])
        equal(137, run.wait(20))


def no_group_of_its_own():
    with Broker():  # a program that is no child of brood, and in this test's group
        worker = subprocess.Popen([BROOD, "worker", "upper", "--", "cat"])
        until(lambda: any(p["name"] == "upper" for p in listed()), "a worker")
        code, _, err = status("kill", "--tree", "upper")
        equal(1, code)
        like("it leads no process group; leave --tree out", err)
        assert worker.poll() is None
        equal(0, status("kill", "upper")[0])
        equal(0, worker.wait(20))


def stopped_and_continued():
    with Broker():
        run, pid, _ = start("victim", "sleep", "60")
        equal(0, status("kill", "-s", "STOP", "victim")[0])
        until(lambda: state(pid) == "T", "that it stops")
        equal(0, status("kill", "-s", "CONT", "victim")[0])
        until(lambda: state(pid) == "S", "that it goes on")
        status("kill", "victim")
        equal(143, run.wait(20))


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


class Liar:
    """A client by hand, which says what it likes of itself."""
    def __init__(self, broker):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(broker.place + "/sock")

    def hello(self, pid, pid_space):
        body = b"\x10" + varint(pid) + b"\x1a\x04liar" + b"\x41" + struct.pack("<Q", pid_space)
        head = struct.pack("<BBBBIQQQQQ", 0xB1, 0x10, 0, 0, len(body), 0, 0, 0, 0, 0)
        self.socket.sendall(head + body + bytes(-len(body) % 8))
        assert self.socket.recv(4096)[1] == 0x20  # HELLO_OK

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def refused(pid, reason):
    code, _, err = status("kill", "-s", "KILL", str(pid))
    equal(1, code)
    like(r"^brood kill: liar \([0-9a-f.]+, pid %d\): .*%s" % (pid, reason), err)


# The number is that of another process: it was used again, or was never its own.
def another_has_its_pid():
    space = os.stat("/proc/self/ns/pid").st_ino
    with Broker() as broker, Liar(broker) as liar:
        liar.hello(4190000, space)
        refused(4190000, "it has ended")
        time.sleep(0.05)  # the kernel tells when a process was started in hundredths of a second
        victim = subprocess.Popen(["sleep", "60"])
        liar.hello(victim.pid, space)  # started after the liar had come
        refused(victim.pid, "means another process by now")
        equal(None, victim.poll())
        victim.kill()
        victim.wait()


def another_pid_namespace():
    space = os.stat("/proc/self/ns/pid").st_ino
    victim = subprocess.Popen(["sleep", "60"])  # it was there before
    with Broker() as broker, Liar(broker) as liar:
        for said in (0, space + 1):
            liar.hello(victim.pid, said)
            refused(victim.pid, "what its pid means here is not known")
        equal(None, victim.poll())
        liar.hello(victim.pid, space)  # this one could be
        equal(0, status("kill", str(victim.pid))[0])
        equal(-15, victim.wait(20))


def another_user_has_its_pid():
    if os.geteuid() != 0:
        print("skipped: only root can be several users")
        return
    space = os.stat("/proc/self/ns/pid").st_ino
    victim = subprocess.Popen(["sleep", "60"], user=64321)
    with Broker() as broker, Liar(broker) as liar:
        liar.hello(victim.pid, space)
        refused(victim.pid, "of another user")
        equal(None, victim.poll())
        victim.kill()
        victim.wait()


# A broker of another host, as this command sees it: its processes' pids and namespaces are those of ours by chance.
def another_host():
    with Broker() as broker:
        run, _, _ = start("victim", "sleep", "60")
        boot = os.path.join(broker.directory, "boot_id")
        with open(boot, "w") as f:
            f.write("01234567-89ab-cdef-0123-456789abcdef\n")
        script = 'mount --bind "$1" /proc/sys/kernel/random/boot_id || exit 77; exec "$0" kill -s KILL victim'
        done = subprocess.run(["unshare", "-m", "sh", "-c", script, BROOD, boot], stderr=subprocess.PIPE, timeout=20,
                              check=False)
        if b"mount" in done.stderr or b"unshare" in done.stderr:
            print("skipped: nothing can be mounted here: %r" % done.stderr)
        else:
            equal(1, done.returncode)
            assert b"it runs on another host" in done.stderr and b"nobody holds the name nursery" in done.stderr, done.stderr
        equal(None, run.poll())
        equal(0, status("kill", "victim")[0])
        equal(143, run.wait(20))


def wrong():
    for argv in ([], ["-s", "NONSENSE", "x"], ["-s"], ["--trees", "x"]):
        equal(2, status("kill", *argv)[0])
    with Broker():
        for peer in ("", "No Name", "@broker", "1.1"):
            equal(1, status("kill", peer)[0])
    equal(1, status("kill", "x")[0])  # without a broker


main([by_name_address_and_pid, it_has_ended, tree, no_group_of_its_own, stopped_and_continued, another_has_its_pid,
      another_pid_namespace, another_user_has_its_pid, another_host, wrong])
