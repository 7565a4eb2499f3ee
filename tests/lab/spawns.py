"""spawns: programs that nurseries start for parents on other hosts."""
import itertools
import re
import time

from lab import said, until
from links import middle, start_brokers
from scenarios import Faults, families, is_linked


NURSERY = """[program "*"]
free-args = yes
free-cwd = yes
env = *
for = alice alice@alpha alice@beta
"""


def start_nursery(host, user="alice"):
    host.write(f"var/lib/{user}/.config/brood/nursery.conf", NURSERY)
    host.nursery = host.start("brood-nursery", title="brood-nursery", user=user)
    until(lambda: "nursery" in host.start("brood", "ps", user=user).ends().text(), f"{host.name} has a nursery")


def start_all(lab):
    start_brokers(lab.alpha, lab.beta)
    for host in (lab.alpha, lab.beta):
        start_nursery(host)
    until(lambda: is_linked(lab.alpha, lab.beta), "alpha is linked with beta")


def spawn_here(lab):
    """The nursery of the same host: 1,000 children while the broker is killed, each once, each with the right end, none left."""
    lab.alpha.configure()
    lab.alpha.start_broker()
    start_nursery(lab.alpha)
    families(lab, lab.alpha, lab.alpha, 1000, Faults(lab.beta, lab.alpha, ("broker",), seed=5), host="alpha")


def spawn_thousand(lab):
    """1,000 children on another host while brokers are killed and links cut: each once, each with the right end, none left."""
    start_all(lab)
    faults = Faults(lab.beta, lab.alpha, ("cut", "reset", "broker", "own_broker"), seed=4, pause=1.5)
    families(lab, lab.alpha, lab.beta, 1000, faults, host="beta")


def spawn_speed(lab):
    """From a start to the first message, on another host and on this one."""
    start_all(lab)
    lab.alpha.run("mkdir", "/run/user/1001/children", user="alice")
    lab.beta.run("mkdir", "/run/user/1001/children", user="alice")
    found = {}
    for _, host in itertools.product(range(3), ("-", "beta", "alpha")):
        if host == "alpha":
            lab.alpha.run("sh", "-c", "rm -f /run/user/1001/children/*")
        crew = lab.alpha.crew("parent", host, 90, 1, "/run/user/1001/children", user="alice").ends()
        total = crew.event("sum")
        assert total["right"] == 90, crew.events("wrong")
        found.setdefault(host, []).append(total["first_message_p50_us"])
        for each in (lab.alpha, lab.beta):
            each.run("sh", "-c", "rm -f /run/user/1001/children/*")
    here, there, nursery = (middle(found[host]) for host in ("-", "beta", "alpha"))
    said(f"spawn to first message, median of 90, middle of 3: here {here:.0f} us, by this host's nursery {nursery:.0f} us, "
         f"by beta's {there:.0f} us ({there / here:.2f} x)")


def spawn_nursery_killed(lab):
    """A nursery is killed: its children die with it, and their parent is told why; the next nursery starts others."""
    start_all(lab)
    crew = lab.alpha.crew("waiting", "beta", 20, user="alice")
    crew.event("spawn", 20)
    assert lab.beta.count("sleep 1000") == (20, 0)
    since = time.monotonic()
    lab.beta.nursery.kill()
    crew.ends()
    ends = crew.events("exit")
    said(f"20 children: {len(ends)} ends told, the last {ends[-1]['t'] - since:.3f} s after the kill; causes {sorted({e['cause'] for e in ends})}")
    assert len(ends) == 20 and all(end["cause"] == "node-restarted" for end in ends), ends
    until(lambda: lab.beta.count("sleep 1000") == (0, 0), "the children are gone")
    start_nursery(lab.beta)
    lab.alpha.crew("waiting", "beta", 1, user="alice").event("spawn").get("t")


def spawn_reboot(lab):
    """Children on a host that is cut off are AWAY; on one that is rebooted they have ended, with that cause."""
    start_all(lab)
    crew = lab.alpha.crew("waiting", "beta", 5, user="alice")
    crew.event("spawn", 5)
    lab.beta.link_down()
    crew.event("away", 5)
    lab.beta.link_up()
    crew.event("back", 5)
    assert not crew.events("exit") and lab.beta.count("sleep 1000") == (5, 0)
    lab.beta.reboot()
    lab.beta.start_broker()
    crew.ends()
    causes = [end["cause"] for end in crew.events("exit")]
    said(f"cut: AWAY and BACK, no end; reboot: {causes}")
    assert causes == ["node-restarted"] * 5


def spawn_refusals(lab):
    """Why a program cannot be started on another host is told in words."""
    start_all(lab)

    def refused(host, program, words):
        crew = lab.alpha.crew("refused", host, program, user="alice").ends()
        text = crew.event("error")["text"]
        said(f"{host}, {program}: {text}")
        assert re.search(words, text), text

    refused("omega", "sleep", "omega")
    refused("beta", "no-such-program", "no-such-program")
    lab.beta.nursery.kill(15)
    lab.beta.nursery.ends()
    refused("beta", "sleep", "nursery")
