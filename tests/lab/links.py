"""links: what goes on between hosts whose brokers are linked."""
import re
import time

from lab import PORT, certificate, said, until
from scenarios import Faults, exchange

BEAT = 300  # ms; three of them without a sign, and the other one is away


# ---- building blocks -----------------------------------------------------------------------------------------------------


def configuration(host, others, more=""):
    """Linked with these, whose alice may write to alice's names here."""
    peers = "".join(f'[peer "{other.name}"]\nurl = tls://{other.name}:{PORT}\n' for other in others)
    users = ", ".join(f"alice@{other.name}" for other in others)
    names = "".join(f'[name "{name}"]\nowner = alice\nusers = alice, {users}\n' for name in (f"at-{host.name}", "echo"))
    return f"[links]\nbeat = {BEAT}ms\n{peers}{names}{more}"


def start_brokers(*hosts):
    for host in hosts:
        host.configure(configuration(host, [other for other in hosts if other is not host]))
        host.start_broker()


def talk(a, b):
    """A sink on b, and a source on a that is sending to it for some seconds."""
    sink = b.crew("sink", f"at-{b.name}", user="alice")
    sink.event("begun")
    source = a.crew("source", f"{b.name}/at-{b.name}", 100000, 8000, user="alice")
    source.event("begun")
    return source, sink


def finish_talk(source, sink, count=100000):
    sent = source.ends().event("sum")
    sink.kill(15)
    taken = sink.ends().event("sum")
    assert (sent["confirmed"], sent["failed"]) == (count, 0), sent
    assert (taken["taken"], taken["twice"], taken["skipped"], taken["wrong"]) == (count, 0, 0, 0), taken
    said(f"{count} sent and confirmed; {count} taken, none twice, lost or out of order")


def pulse(host, seconds):
    """A pair of processes that talk on this host only."""
    sink = host.crew("sink", "echo", user="alice")
    sink.event("begun")
    return host.crew("pulse", "echo", seconds, user="alice"), sink


def middle(values):
    return sorted(values)[len(values) // 2]


# ---- links ---------------------------------------------------------------------------------------------------------------


def link_messages(lab):
    """100,000 messages each way between two hosts, during cuts, loss, resets and killed brokers: all, once, in order."""
    start_brokers(lab.alpha, lab.beta)
    faults = Faults(lab.beta, lab.alpha, ("cut", "loss", "deaf", "reset", "broker"), seed=3)
    exchange(lab, lab.alpha, lab.beta, ("alpha/at-alpha", "beta/at-beta"), faults)


def link_partition(lab):
    """A partition of 10 s: what two hosts say to each other waits, and what each says to itself does not notice."""
    start_brokers(lab.alpha, lab.beta)
    source, sink = talk(lab.alpha, lab.beta)
    pairs = {host: pulse(host, 22) for host in (lab.alpha, lab.beta)}
    for pair, _ in pairs.values():
        pair.event("window", count=8)
    begun = time.monotonic()
    lab.beta.link_down()
    away = source.event("away")
    time.sleep(max(0, begun + 10 - time.monotonic()))
    lab.beta.link_up()
    ended = time.monotonic()
    back = source.event("back")
    said(f"AWAY {away['t'] - begun:.2f} s after the cut, BACK {back['t'] - ended:.2f} s after its end")
    finish_talk(source, sink)
    for host, (pair, echo) in pairs.items():
        windows = pair.ends().events("window")
        echo.kill(15)
        echo.ends()
        # While the talk goes on, a host has more to do; so the quiet windows are compared with those within the partition.
        inside = [each for each in windows if begun + 1.5 < each["t"] < ended]
        outside = [each for each in windows if each["t"] > back["t"] + 0.6 or each["t"] < begun]
        p99, before = middle([each["p99_us"] for each in inside]), middle([each["p99_us"] for each in outside])
        longest = max(each["longest_us"] for each in inside)
        said(f"{host.name}, local round trips: p99 {before:.0f} us outside of the partition, {p99:.0f} us inside "
             f"({100 * (p99 / before - 1):+.0f} %), the longest there {longest / 1000:.1f} ms; median of {len(outside)} and {len(inside)} windows")
        assert len(inside) >= 10, "the local pair stood still"


def link_one_way(lab):
    """Loss in one direction only: away at both ends, and then all is there."""
    start_brokers(lab.alpha, lab.beta)
    source, sink = talk(lab.alpha, lab.beta)
    for number, (deaf, other) in enumerate(((lab.alpha, lab.beta), (lab.beta, lab.alpha)), 1):
        since = time.monotonic()
        deaf.deaf(other)
        away = source.event("away", number)
        deaf.clear()
        cleared = time.monotonic()
        back = source.event("back", number)
        said(f"{deaf.name} deaf to {other.name}: AWAY after {away['t'] - since:.2f} s, BACK {back['t'] - cleared:.2f} s after its end")
    finish_talk(source, sink)


def link_reboot(lab):
    """A cut is AWAY, and BACK; a reboot is the end of all that ran there, and the source hears which of both it was."""
    start_brokers(lab.alpha, lab.beta)
    source, sink = talk(lab.alpha, lab.beta)
    lab.beta.link_down()
    source.event("away")
    lab.beta.link_up()
    source.event("back")
    assert not source.events("disconnect")
    before = time.monotonic()
    lab.beta.reboot()
    lab.beta.start_broker()
    end = source.event("disconnect")
    source.kill(15)  # it would wait for another holder of that name
    source.wait()
    reason = re.search(r"disconnect: (.*)", source.text())[1]
    said(f"told {end['t'] - before:.2f} s after the plug was pulled, boot included: {reason}")
    assert "restarted" in reason
    assert not sink.running()


def link_refusals(lab):
    """Why another host, name, or program cannot be had is told in words: what, why, what next."""
    alpha, beta, gamma = lab.alpha, lab.beta, lab.gamma
    start_brokers(alpha, beta)
    # A broker that shows a certificate for another name: its owner must not be able to pass for gamma.
    for part in ("crt", "key"):
        gamma.give(f"{certificate('node', 'delta')}.{part}", f"node.{part}")
    alpha.configure(configuration(alpha, [beta, gamma]))
    gamma.configure(configuration(gamma, [alpha]))
    gamma.start_broker()
    alpha.broker.kill(1)
    beta.crew("sink", "at-beta", user="alice").event("begun")

    def refused(*argv, user="alice", words):
        program = alpha.start("brood", "request", *argv, user=user)
        assert program.wait() == 1, program.text()
        said(f"brood request {' '.join(argv)}: " + " / ".join(line.strip() for line in program.text().splitlines()))
        assert re.search(words, program.text()), program.text()

    until(lambda: alpha.start("brood", "request", "beta/at-beta", "x", user="alice").wait() == 0, "beta answers alice")
    refused("omega/at-omega", "x", words="omega")
    refused("beta/nobody", "x", words="nobody holds|no such|beta/nobody")
    refused("beta/at-beta", "x", user="bob", words="beta/at-beta|denied|may not")
    until(lambda: re.search("delta|gamma", alpha.broker.text()) and re.search("certificate|SAN|name", alpha.broker.text()), "alpha tells why not gamma")
    said("alpha's log: " + next(line.strip() for line in alpha.broker.text().splitlines() if "gamma" in line and "warn" in line))
    refused("gamma/at-gamma", "x", words="gamma")
    beta.link_down()
    refused("--timeout", "3000", "beta/at-beta", "x", words="beta|deadline|time")
    beta.link_up()
    for program in beta.programs:
        if program.title.startswith("crew-sink"):
            program.kill(15)
