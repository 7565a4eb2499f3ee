"""lab: hosts made of namespaces, their network, and what may go wrong with them.

A host is a network, mount, pid and name space with /etc, /var/lib and /run of its own. Its process 1 reaps, as a real one's
does; a switch connects all hosts, 10.77.0.1 and so on, which know each other by name. Power off and on is another process 1, an
empty /run and another boot id; /etc and /var/lib stay. run.py made the namespaces in which all this lies.
"""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
BUILD = os.path.abspath(os.environ.get("BROOD_BUILD") or os.path.join(SOURCE, "build"))
BIN = os.path.join(BUILD, "bin")
CREW = os.path.join(BUILD, "tests/lab_crew")
TOP = "/run/lab"  # in the memory of the inner namespaces
NAMES = ("alpha", "beta", "gamma")
USERS = {"root": 0, "brood": 900, "alice": 1001, "bob": 1002, "pod": 10001}
PORT = 7433
PATIENCE = 40

INIT = """
import os, time
while True:
    try:
        os.wait()
    except ChildProcessError:
        time.sleep(0.02)
"""

DOOR = """
import os, socket
door = socket.socket(socket.AF_UNIX)
door.bind("/run/brood/sock")
os.chmod("/run/brood/sock", 0o666)
door.listen(4096)
socket.send_fds(socket.socket(fileno=0), [b"x"], [door.fileno()])
"""

# In the host's own namespaces, before its process 1 begins.
BOOT = """
for each in etc var/lib; do mount --bind $LAB/$each /$each; done
mount --bind $LAB/boot_id /proc/sys/kernel/random/boot_id
mount -t tmpfs lab /run
mount -t tmpfs lab /usr/local/share
install -D -m 644 -t /usr/local/share/brood $SOURCE/deploy/systemd/links.conf
install -d -m 755 /run/brood /run/user
for each in alice:1001 bob:1002; do install -d -m 700 -o ${each#*:} -g ${each#*:} /run/user/${each#*:}; done
hostname $NAME
ip link set lo up
ip link set eth0 up
ip address add $ADDRESS/24 dev eth0
echo up
exec /usr/bin/python3 -c "$INIT"
"""


def must(*argv, **how):
    done = subprocess.run(argv, capture_output=True, text=True, **how)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout}{done.stderr}"
    return done.stdout


def until(condition, what, patience=PATIENCE):
    """Its first true result."""
    end = time.monotonic() + patience
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < end, "never: " + what
        time.sleep(0.02)


def said(fact):
    print("   " + fact, flush=True)


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(child) for child in file.read().split()]
    except FileNotFoundError:
        return []


def prepare():
    """The network's middle, and the authority that all hosts trust. Once."""
    must("mount", "-t", "tmpfs", "lab", "/run")
    os.makedirs(TOP)
    must("ip", "link", "set", "lo", "up")
    must("ip", "link", "add", "name", "lab", "type", "bridge")
    must("ip", "link", "set", "lab", "up")
    brood("cert", "ca", f"{TOP}/tls")


def brood(*argv):
    return must(os.path.join(BIN, "brood"), *argv)


def certificate(kind, name):
    """Path of NAME's certificate without its end, made if it is not there yet."""
    base = f"{TOP}/tls/{kind}-{name}"
    if not os.path.exists(base + ".crt"):
        brood("cert", kind, name, f"{TOP}/tls")
    return base


class Program:
    """A process on a host. What it writes is in files; lines of JSON on stdout are its events."""

    def __init__(self, host, argv, title, user="root", env=None, door=None):
        self.host, self.title = host, title
        self.out, self.err = (os.path.join(host.logs, f"{title}.{end}") for end in ("out", "err"))
        uid = str(USERS[user])
        self.begun = os.path.getsize(self.err) if os.path.exists(self.err) else 0  # another one of this title may have written there
        environment = {"PATH": f"{BIN}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": f"/var/lib/{user}", "LANG": "C.UTF-8",
                       "XDG_RUNTIME_DIR": f"/run/user/{uid}", "BROOD_LAB": os.environ["BROOD_LAB"], **(env or {})}
        if door:  # a socket handed over, as a service manager does it: it is descriptor 3
            argv = ["sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"', "sh", *argv]
        with open(self.out, "ab") as out, open(self.err, "ab") as err:
            self.outer = subprocess.Popen(
                ["nsenter", "--target", str(host.init), "--net", "--mount", "--pid", "--uts", "--", "setpriv", "--reuid", uid,
                 "--regid", uid, "--clear-groups", "--", *argv],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, cwd="/",
                pass_fds=(3,) if door else (), preexec_fn=(lambda: os.dup2(door.fileno(), 3)) if door else None)

    @property
    def pid(self):
        """As this script sees it. nsenter waits for it, and ends as it does."""
        return until(lambda: children(self.outer.pid) or self.outer.poll() is not None and [0], f"{self.title} starts")[0]

    def kill(self, number=signal.SIGKILL):
        os.kill(self.pid, number)

    def running(self):
        return self.outer.poll() is None

    def wait(self, patience=PATIENCE):
        try:
            return self.outer.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.host.name}: {self.title} does not end") from None

    def ends(self, status=0, patience=PATIENCE):
        found = self.wait(patience)
        assert found == status, f"{self.host.name}: {self.title} ended with {found}:\n{self.text()}"
        return self

    def text(self):
        return "".join(open(path, errors="replace").read() for path in (self.out, self.err))

    def new_text(self):
        """What it alone wrote to stderr."""
        with open(self.err, errors="replace") as file:
            file.seek(self.begun)
            return file.read()

    def events(self, kind=None):
        """All that it told so far."""
        found = []
        with open(self.out) as file:
            for line in file:
                if line.startswith("{") and line.endswith("}\n"):
                    found.append(json.loads(line))
        return [each for each in found if kind in (None, each["event"])]

    def event(self, kind, count=1, patience=PATIENCE):
        """The event of this kind that comes as number `count`, waited for."""
        def there():
            found = self.events(kind)
            if len(found) >= count:
                return found
            assert self.running() or len(self.events(kind)) >= count, f"{self.title} ended ({self.outer.poll()}):\n{self.text()}"
            return None
        return until(there, f"{self.host.name}: {self.title} tells {kind} ({count})", patience)[count - 1]


class Host:
    """See above. `broker` and `nursery` are the programs that it should have, once started."""

    def __init__(self, name):
        self.name = name
        self.address = f"10.77.0.{NAMES.index(name) + 1}"
        self.boots = 0
        self.disk = f"{TOP}/{name}"
        self.logs = f"{self.disk}/logs"
        self.outer = self.init = self.broker = self.nursery = self.door = None
        self.programs = []
        self._install()

    def _install(self):
        os.makedirs(self.logs)
        must("cp", "-a", "/etc", f"{self.disk}/etc")
        self.write("etc/hosts", "127.0.0.1 localhost\n" + "".join(f"10.77.0.{i + 1} {name}\n" for i, name in enumerate(NAMES)))
        for user, uid in USERS.items():
            home = f"{self.disk}/var/lib/{user}"
            os.makedirs(home, mode=0o700, exist_ok=True)
            os.chmod(home, 0o700)
            os.chown(home, uid, uid)
        for name, line in (("passwd", "{0}:x:{1}:{1}::/var/lib/{0}:/bin/sh\n"), ("group", "{0}:x:{1}:\n")):
            with open(f"{self.disk}/etc/{name}", "a") as file:
                file.write("".join(line.format(user, uid) for user, uid in USERS.items() if uid))
        shutil.rmtree(f"{self.disk}/etc/brood", ignore_errors=True)
        for part in ("crt", "key"):
            self.give(f"{certificate('node', self.name)}.{part}", f"node.{part}")
        for part in ("ca.crt", "ca.crl"):
            self.give(f"{TOP}/tls/{part}", part)

    def write(self, path, text):
        """A file of the host's /etc or /var/lib."""
        os.makedirs(os.path.dirname(f"{self.disk}/{path}"), exist_ok=True)
        with open(f"{self.disk}/{path}", "w") as file:
            file.write(text)

    def give(self, path, name, user="brood"):
        """A copy of a file for the host's broker, or another user."""
        to = f"{self.disk}/etc/brood/{name}"
        os.makedirs(os.path.dirname(to), exist_ok=True)
        shutil.copyfile(path, to)
        os.chmod(to, 0o600 if name.endswith("key") else 0o644)
        os.chown(to, USERS[user], USERS[user])

    # ---- power

    def boot(self):
        self.boots += 1
        self.write("boot_id", f"{NAMES.index(self.name) + 1:08x}-0000-4000-8000-{self.boots:012x}\n")
        environment = {"PATH": os.environ["PATH"], "LAB": self.disk, "NAME": self.name, "ADDRESS": self.address, "INIT": INIT, "SOURCE": SOURCE,
                       "BROOD_LAB": os.environ["BROOD_LAB"]}
        gate, ready = os.pipe()  # its namespaces are there before its network card is
        self.outer = subprocess.Popen(
            ["unshare", "--net", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc", "sh", "-ec", "exec 2>&1; read go; " + BOOT],
            stdin=gate, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
        os.close(gate)
        self.init = until(lambda: children(self.outer.pid), f"{self.name} boots")[0]
        until(lambda: os.readlink(f"/proc/{self.init}/ns/net") != os.readlink("/proc/self/ns/net"), "network namespace")
        must("ip", "link", "add", "name", self.name, "type", "veth", "peer", "name", "eth0", "address", f"02:00:00:00:00:{self.address[-1:]:0>2}",
             "netns", str(self.init))
        must("ip", "link", "set", "dev", self.name, "master", "lab", "up")
        os.write(ready, b"go\n")
        os.close(ready)
        line = self.outer.stdout.readline()
        assert line == b"up\n", f"{self.name} does not boot: {line}"
        return self

    def power_off(self):
        """As if the plug was pulled: nobody hears anything of it."""
        if not self.init:
            return
        subprocess.run(["ip", "link", "delete", "dev", self.name], capture_output=True)
        try:
            os.kill(self.init, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.outer.wait()
        self.outer.stdout.close()
        for program in self.programs:
            program.outer.wait()
        if self.door:
            self.door.close()
        self.init = self.broker = self.nursery = self.door = None
        self.programs = []

    def reboot(self):
        self.power_off()
        return self.boot()

    # ---- programs

    def start(self, *argv, title=None, **how):
        program = Program(self, list(argv), title or os.path.basename(argv[0]) + str(len(self.programs)), **how)
        self.programs.append(program)
        return program

    def crew(self, *argv, **how):
        return self.start(CREW, *map(str, argv), title=f"crew-{argv[0]}{len(self.programs)}", **how)

    def run(self, *argv, status=0, **how):
        """To its end; what it wrote."""
        return self.start(*argv, **how).ends(status).text()

    def start_broker(self, *flags):
        """As the user brood, with the socket that systemd would have made: it stays when the broker is killed. Waits until it listens."""
        if not self.door:
            self.door = self._make_door()
        self.broker = self.start("broodd", "--config", "/etc/brood/broodd.conf", "--dir", "/var/lib/brood", *flags, title="broodd", user="brood",
                                 door=self.door)
        until(lambda: " info ready " in self.broker.new_text() or not self.broker.running(), f"{self.name}: the broker is ready")
        assert self.broker.running(), self.broker.new_text()
        return self.broker

    def _make_door(self):
        """The listening socket /run/brood/sock. It is made in there, because clients hear the path under which it was made."""
        mine, its = socket.socketpair()
        with mine, its:
            maker = subprocess.Popen(["nsenter", "--target", str(self.init), "--mount", sys.executable, "-c", DOOR], stdin=its)
            its.close()
            fds = socket.recv_fds(mine, 1, 1)[1]
            assert maker.wait() == 0
        return socket.socket(fileno=fds[0])

    def configure(self, text=""):
        """The broker's configuration: TLS with the host's certificate, and the rest."""
        self.write("etc/brood/broodd.conf", f"""[broker]
node = {self.name}
listen = tls://0.0.0.0:{PORT}
tls-cert = /etc/brood/node.crt
tls-key = /etc/brood/node.key
tls-ca = /etc/brood/ca.crt
tls-crl = /etc/brood/ca.crl
{text}""")

    def restart_broker(self):
        """kill -9, and another one."""
        self.broker.kill()
        self.broker.wait()
        return self.start_broker()

    # ---- faults

    def plug(self, *how):
        must("ip", "link", "set", "dev", self.name, *how)

    def link_down(self):
        self.plug("down")

    def link_up(self):
        self.plug("up")

    def filter(self, rules, chain="input"):
        """Rules of nft for what comes in here (or chain="output"); "" takes them away."""
        table = f"table inet lab_{chain}"
        body = "".join(f"  {rule}\n" for rule in rules.splitlines())
        text = f"{table}\ndelete {table}\n" + (rules and f"{table} {{\n chain c {{\n  type filter hook {chain} priority 0\n{body} }}\n}}\n")
        must("nsenter", "--target", str(self.init), "--net", "nft", "-f", "-", input=text)

    def deaf(self, to):
        """Nothing that the other one sends arrives here; what we send arrives there."""
        self.filter(f"ip saddr {to.address} drop")

    def lossy(self, percent):
        self.filter(f"iifname eth0 numgen random mod 100 < {percent} drop")

    def clear(self):
        self.filter("")
        self.filter("", "output")

    def reset_connections(self):
        """Every TCP connection with another host ends by a reset, at both ends. How many there were."""
        done = must("nsenter", "--target", str(self.init), "--net", "ss", "-HtnK", "dst", "10.77.0.0/24")
        return len(done.splitlines())

    # ---- what is left

    def processes(self):
        """Everything in the host but its process 1: (pid as seen here, state, command line)."""
        space = os.readlink(f"/proc/{self.init}/ns/pid")
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if int(pid) != self.init and os.readlink(f"/proc/{pid}/ns/pid") == space:
                    state = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0]
                    yield int(pid), state, open(f"/proc/{pid}/cmdline").read().replace("\0", " ").strip()
            except OSError:
                pass

    def count(self, word):
        """(running, dead and not reaped) processes with this word in their command line."""
        found = [state for _, state, command in self.processes() if word in command or state == "Z"]
        return len([s for s in found if s != "Z"]), found.count("Z")

    def complaints(self):
        """After a test: services end as they should, and nothing is left of anybody else."""
        for service in (self.nursery, self.broker):
            if service and service.running():
                service.kill(signal.SIGTERM)
        for service in filter(None, (self.nursery, self.broker)):
            try:
                status = service.wait(20)
            except AssertionError as e:
                yield str(e)
                continue
            if status != 0:
                yield f"{self.name}: {service.title} ended with {status}"
        end = time.monotonic() + 10
        while (left := list(self.processes())) and time.monotonic() < end:
            time.sleep(0.05)
        yield from (f"{self.name}: left: {state} {command}" for _, state, command in left)


class Lab:
    """All hosts, booted, for one test."""

    def __init__(self):
        self.hosts = {}

    def __enter__(self):
        for name in NAMES:
            shutil.rmtree(f"{TOP}/{name}", ignore_errors=True)
            self.hosts[name] = Host(name)
            setattr(self, name, self.hosts[name].boot())
        return self

    def end(self):
        left = [each for host in self.hosts.values() if host.init for each in host.complaints()]
        assert not left, "\n".join(left)

    def tell_logs(self):
        for host in self.hosts.values():
            for name in sorted(os.listdir(host.logs)):
                lines = open(os.path.join(host.logs, name), errors="replace").readlines()
                telling = [line for line in lines[:-12] if "denied" in line][-6:]
                if lines:
                    print(f"---- {host.name}: {name}, the last of {len(lines)} lines\n" + "".join(telling + lines[-12:]))

    def __exit__(self, *_):
        for host in self.hosts.values():
            host.power_off()
