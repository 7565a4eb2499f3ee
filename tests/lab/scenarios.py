"""scenarios: what the lab's hosts do, one function each. Its name, with . for the first _, is the test's."""
import random
import shutil
import time

import pages
from kubelet import Kubelet
from lab import PORT, SOURCE, certificate, must, said, until

MESSAGES, RATE = 100000, 10000  # in all, a second


# ---- the lab itself ------------------------------------------------------------------------------------------------------


def host_is_one(lab):
    """Hosts have names, processes and files of their own, and boot anew."""
    boot_id = "/proc/sys/kernel/random/boot_id"
    assert len({host.run("cat", boot_id) for host in lab.hosts.values()}) == 3
    lab.alpha.run("sh", "-c", "echo x >/run/x; echo y >/var/lib/y")
    lab.beta.run("test", "-e", "/run/x", status=1)
    assert lab.alpha.run("hostname").strip() == "alpha"
    before = lab.alpha.run("cat", boot_id)
    sleeper = lab.alpha.start("sleep", "1000")
    until(lambda: lab.alpha.count("sleep 1000") == (1, 0), "the sleeper is seen")
    assert lab.beta.count("sleep 1000") == (0, 0)
    lab.alpha.reboot()
    assert not sleeper.running()
    assert before != lab.alpha.run("cat", boot_id)
    lab.alpha.run("test", "-e", "/run/x", status=1)
    lab.alpha.run("test", "-e", "/var/lib/y")


def reaches(a, b):
    """Whether a TCP connection from a to b is answered, if only by a refusal, within a second."""
    code = f"import socket; socket.create_connection(('{b.name}', 9), 1)"
    return "refused" in a.start("/usr/bin/python3", "-c", code).ends(1).text()


def host_faults(lab):
    """Each fault does what it says, and goes away again."""
    alpha, beta, gamma = lab.alpha, lab.beta, lab.gamma
    assert reaches(alpha, beta)
    alpha.link_down()
    assert not reaches(alpha, beta) and reaches(beta, gamma)
    alpha.link_up()
    until(lambda: reaches(alpha, beta), "the cable is in again")
    beta.deaf(alpha)
    assert not reaches(alpha, beta) and not reaches(beta, alpha) and reaches(gamma, beta)
    beta.clear()
    assert reaches(alpha, beta)
    gamma.filter("iifname eth0 drop")
    assert not reaches(alpha, gamma)
    gamma.clear()
    assert reaches(alpha, gamma)
    listener = beta.start("/usr/bin/python3", "-c", "import socket; print(socket.create_server(('', 9)).accept()[0].recv(1))")
    until(lambda: "LISTEN" in beta.run("ss", "-ltn"), "it listens")
    caller = alpha.start("/usr/bin/python3", "-c", "import socket; print(socket.create_connection(('beta', 9)).recv(1))")
    until(lambda: "ESTAB" in beta.run("ss", "-tn"), "it is connected")
    assert alpha.reset_connections() == 1
    assert "reset" in listener.ends(1).text() and "abort" in caller.ends(1).text()


def is_linked(a, b):
    """Whether the broker of b answers a request from a."""
    return a.start("brood", "request", "--type", "brood.control.GetStatus", f"{b.name}/@broker", "", user="alice").wait() == 0


# ---- programs on other hosts, as clients of one broker -------------------------------------------------------------------


def as_client(host, of):
    """The environment of alice's programs on a host that are clients of another one's broker, with a certificate for her."""
    base = certificate("client", f"alice@{of.name}")
    for part in ("crt", "key"):
        host.give(f"{base}.{part}", f"alice.{part}", user="alice")
    return {"BROOD_ADDRESS": f"tls://{of.name}:{PORT}", "BROOD_TLS_CA": "/etc/brood/ca.crt", "BROOD_TLS_CERT": "/etc/brood/alice.crt",
            "BROOD_TLS_KEY": "/etc/brood/alice.key"}


class Faults:
    """What goes wrong with a host, one after the other, in an order that the seed decides."""

    def __init__(self, host, other, kinds, seed=1, pause=0.3):
        """pause: the most seconds of peace between two of them."""
        self.host, self.other, self.random, self.pause = host, other, random.Random(seed), pause
        self.kinds = kinds
        self.seen = {kind: 0 for kind in kinds}

    def cut(self):
        self.host.link_down()
        time.sleep(self.random.uniform(0.05, 0.4))
        self.host.link_up()

    def loss(self):
        self.host.lossy(20)
        time.sleep(self.random.uniform(0.1, 0.3))
        self.host.clear()

    def deaf(self):
        self.host.deaf(self.other)
        time.sleep(self.random.uniform(0.1, 0.3))
        self.host.clear()

    def reset(self):
        self.host.reset_connections()

    def broker(self):
        self.other.restart_broker()

    def own_broker(self):
        self.host.restart_broker()

    def one(self):
        kind = self.random.choice(self.kinds)
        getattr(self, kind)()
        self.seen[kind] += 1
        time.sleep(self.random.uniform(self.pause / 6, self.pause))

    def __str__(self):
        return ", ".join(f"{count} x {kind}" for kind, count in self.seen.items())


def exchange(lab, a, b, names, faults, **env_of):
    """100,000 messages each way between a and b; names = (what b calls a's sink, what a calls b's). Faults as long as it lasts."""
    sinks = [host.crew("sink", f"at-{host.name}", user="alice", env=env_of.get(host.name)) for host in (a, b)]
    for sink in sinks:
        sink.event("begun")
    sources = [host.crew("source", name, MESSAGES, RATE, user="alice", env=env_of.get(host.name)) for host, name in zip((b, a), names)]
    since = time.monotonic()
    while any(source.running() for source in sources):
        faults.one()
        assert time.monotonic() - since < 90, "the messages do not get through"
    sent = [source.ends().event("sum") for source in sources]
    for sink in sinks:
        sink.kill(15)
    taken = [sink.ends().event("sum") for sink in sinks]
    away = [len(program.events("away")) for program in sources + sinks]
    said(f"{len(sent)} x {MESSAGES} messages in {time.monotonic() - since:.1f} s during {faults}")
    said(f"confirmed {sent[0]['confirmed']} + {sent[1]['confirmed']}, taken {taken[0]['taken']} + {taken[1]['taken']}, "
         f"AWAY events {sum(away)}")
    for one, other in zip(sent, taken):
        assert one["confirmed"] == MESSAGES and one["failed"] == 0, one
        assert other["taken"] == MESSAGES and not (other["twice"] or other["skipped"] or other["wrong"]), other
    assert all(sink.event("sum")["taken"] == MESSAGES for sink in sinks)


def client_messages(lab):
    """A program of another host, over TLS: none of its messages is lost, twice or reordered, whatever the network does."""
    lab.alpha.configure()
    lab.alpha.start_broker()
    env = as_client(lab.beta, of=lab.alpha)
    faults = Faults(lab.beta, lab.alpha, ("cut", "loss", "deaf", "reset", "broker"))
    exchange(lab, lab.alpha, lab.beta, ("at-alpha", "at-beta"), faults, beta=env)


def traces(host, directory):
    """How many children left a trace there, for each number."""
    found = {}
    for name in host.run("ls", directory).split():
        number = int(name.partition(".")[0])
        found[number] = found.get(number, 0) + 1
    return found


def families(lab, parent, on, count, faults, env=None, host="-", patience=100):
    """A parent whose children run on a host, during faults: each child started once, ended once, for the right cause; none is left."""
    directory = "/run/user/1001/children"
    on.run("mkdir", directory, user="alice")
    crew = parent.crew("parent", host, count, 8, directory, user="alice", env=env)
    crew.event("begun")
    since = time.monotonic()
    while crew.running():
        faults.one()
        if time.monotonic() - since > patience:
            crew.kill(15)
            crew.event("sum")
            raise AssertionError(f"{len(traces(on, directory))} of {count} were started during {faults}; not right: {crew.events('wrong')}")
    crew.ends()
    result = crew.event("sum")
    ran = traces(on, directory)
    said(f"{count} children in {time.monotonic() - since:.1f} s during {faults}")
    said(f"started {len(ran)}, twice {sum(n > 1 for n in ran.values())}; ends as they should be {result['right']}")
    assert ran == {number: 1 for number in range(count)}
    assert result["right"] == count, crew.events("wrong")
    for each in lab.hosts.values():
        until(lambda: each.count(" child ") == (0, 0), f"{each.name}: no orphan, no zombie")


def client_children(lab):
    """A parent of another host, over TLS, that starts children there while broker and network fail: one end each, the right one."""
    lab.alpha.configure()
    lab.alpha.start_broker()
    env = as_client(lab.beta, of=lab.alpha)
    faults = Faults(lab.beta, lab.alpha, ("cut", "loss", "deaf", "reset", "broker"), seed=2)
    families(lab, lab.beta, lab.beta, 150, faults, env=env)


# ---- what deploy/ has ----------------------------------------------------------------------------------------------------


def deploy_kubernetes(lab):
    """Broker and worker as pods, after what deploy/kubernetes/README.md says: a request through both, with the token."""
    kubelet = Kubelet({"brood": lab.alpha, "upper": lab.beta})
    lab.beta.write("etc/hosts", f"127.0.0.1 localhost\n{lab.alpha.address} brood.brood.svc\n")
    lab.gamma.run("mkdir", "/var/lib/work")
    (_, code), = pages.blocks("deploy/kubernetes/README.md")
    for line in pages.commands(code):
        if line.startswith("kubectl"):
            answer = kubelet.kubectl(line, f"{lab.gamma.disk}/var/lib/work")
        else:
            lab.gamma.run("sh", "-ec", "cd /var/lib/work; " + line)
    assert answer == "HELLO", answer
    said("brood request upper hello: " + answer)
    for name in ("upper", "brood"):
        pod = kubelet.pods[name].running
        pod.kill(15)
        pod.ends()


def deploy_hosts(lab):
    """deploy/HOSTS.md, "From one host to ten", word by word: certificates, links, a name, a nursery, a third host."""
    def start_broker(host, _):
        if not host.broker:
            host.start_broker()

    def start_nursery(host, user):
        host.nursery = host.start("brood-nursery", title="brood-nursery", user=user)
        until(lambda: "nursery" in host.run("brood", "ps", user=user), "the nursery has its name")

    def start_worker(host, name):
        workers.append(host.start("brood", "worker", name, "--", f"/var/lib/alice/.config/brood/workers/{name}", title="worker", user="alice"))
        until(lambda: name in host.run("brood", "ps", user="alice"), "the worker has its name")

    def reload(host, _):
        host.broker.kill(1)
        reloads.append(host)
        until(lambda: host.broker.new_text().count("reload.done") == reloads.count(host), f"{host.name} has read its configuration again")

    workers, reloads = [], []
    follower = pages.Follower([lab.alpha, lab.beta], {
        ("enable", "broodd.socket"): start_broker, ("enable", "broodd"): start_broker, ("reload", "broodd"): reload,
        ("enable", "brood-nursery"): start_nursery, ("enable", "brood-worker"): start_worker})
    for printed in follower.follow("deploy/HOSTS.md"):
        print("".join(f"   | {line}\n" for line in printed.splitlines()), end="")
    for worker in workers:
        worker.kill(15)


def deploy_docker(lab):
    """What deploy/docker/prepare.sh makes links the brokers of compose.yaml, also the second time."""
    lab.gamma.write("etc/prepare.sh", open(f"{SOURCE}/deploy/docker/prepare.sh").read())
    for _ in range(2):
        lab.gamma.run("sh", "/etc/prepare.sh", "/var/lib/authority", "/var/lib/hosts", "alpha", "beta")
    for host in (lab.alpha, lab.beta):
        shutil.rmtree(f"{host.disk}/etc/brood")
        shutil.copytree(f"{lab.gamma.disk}/var/lib/hosts/{host.name}", f"{host.disk}/etc/brood")
        must("chown", "-R", "900:900", f"{host.disk}/etc/brood")
        host.start_broker()
    for one, other in ((lab.alpha, lab.beta), (lab.beta, lab.alpha)):
        until(lambda: is_linked(one, other), f"{one.name} is linked with {other.name}")
