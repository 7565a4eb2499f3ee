"""cli_nodes: `brood nodes` and `brood ps` over two linked brokers. cli_nodes.py BROOD [TEST]"""
import json
import os
import re
import shutil
import subprocess
import tempfile

from cli_case import BROOD, equal, main, status, until


class Node:
    """A broker called `name`, which dials `url` for the other one, or is dialed ("")."""
    def __init__(self, directory, name, other, url, policy):
        self.name = name
        self.place = os.path.join(directory, name)
        self.address = "unix:" + self.place + "/sock"
        os.mkdir(self.place, 0o700)
        self.configuration = os.path.join(directory, name + ".conf")
        with open(self.configuration, "w") as f:
            f.write(policy + '[peer "%s"]\n' % other + ("url = %s\n" % url if url else ""))
        os.chmod(self.configuration, 0o600)
        self.process = None

    def start(self):
        self.process = subprocess.Popen([os.environ["BROOD_BROKER"], "--config", self.configuration, "--dir", self.place,
                                         "--node", self.name, "--log-level", "error"])
        until(lambda: os.path.exists(self.place + "/sock"), "the broker of " + self.name)

    def stop(self):
        self.process.terminate()
        equal(0, self.process.wait(20))

    def brood(self, *argv):
        return status(*argv, env=dict(os.environ, BROOD_ADDRESS=self.address))

    def nodes(self):
        return {n["name"]: n for n in json.loads(self.brood("nodes", "--json")[1])}

    def listed(self, *argv):
        code, out, err = self.brood("ps", "--json", *argv)
        equal((0, ""), (code, err))
        return json.loads(out)


class Pair:
    """alpha dials beta, and both are up. Everybody sees everybody, unless the policy is another."""
    def __init__(self, policy="[policy]\nlist = *@* > *\n"):
        self.policy = policy

    def __enter__(self):
        self.directory = tempfile.mkdtemp()
        self.alpha = Node(self.directory, "alpha", "beta", "unix:%s/beta/sock" % self.directory, self.policy)
        self.beta = Node(self.directory, "beta", "alpha", "", self.policy)
        self.beta.start()
        self.alpha.start()
        until(lambda: self.alpha.nodes()["beta"]["state"] == "up" and self.beta.nodes()["alpha"]["state"] == "up",
              "that they are linked")
        return self

    def __exit__(self, *_):
        self.alpha.stop()
        self.beta.stop()
        shutil.rmtree(self.directory)


def nodes():
    with Pair() as pair:
        alpha, beta = pair.alpha.nodes(), pair.beta.nodes()
        equal(["alpha", "beta"], list(alpha))
        equal(("here", "up"), (alpha["alpha"]["state"], alpha["beta"]["state"]))
        equal((pair.beta.address, "", ""), (alpha["beta"]["url"], alpha["alpha"]["url"], beta["alpha"]["url"]))
        equal(1, alpha["alpha"]["processes"])  # who asks
        text = pair.alpha.brood("nodes")[1].decode()
        equal(["NODE", "STATE", "SINCE", "PROCESSES", "URL", "ERROR"], text.splitlines()[0].split())
        assert re.search(r"^alpha +here .* - +-$", text, re.M) and re.search(r"^beta +up .*unix:", text, re.M), text
        pair.beta.stop()
        until(lambda: pair.alpha.nodes()["beta"]["state"] != "up", "that the link is down")
        until(lambda: pair.alpha.nodes()["beta"]["error"] != "", "that it says why")
        code, out, err = pair.alpha.brood("ps")  # what cannot be asked is not waited for
        equal((0, ""), (code, err))
        pair.beta.start()
        until(lambda: pair.alpha.nodes()["beta"]["state"] == "up", "that the link is back")
    for argv in (["x"], ["--bogus"]):
        equal(2, status("nodes", *argv)[0])
    equal(1, status("nodes", "--address", "unix:/nowhere/sock")[0])


def processes():
    with Pair() as pair:
        run = [subprocess.Popen([BROOD, "--address", node.address, "run", "--name", "kid", "--", "sleep", "60"])
               for node in (pair.alpha, pair.beta)]
        for node in (pair.alpha, pair.beta):
            until(lambda n=node: any(p["name"] == "kid" for p in n.listed("--here")), "the child of " + node.name)
        here = pair.alpha.listed("--here")
        equal({"alpha"}, {p["node"] for p in here})
        both = pair.alpha.listed()
        equal(["alpha", "beta"], sorted(p["node"] for p in both if p["name"] == "kid"))
        kid = next(p for p in both if p["name"] == "kid" and p["node"] == "beta")
        assert kid["address"].startswith("beta/") and kid["parent"].startswith("beta/"), kid
        assert any(p["address"] == kid["parent"] for p in both)
        assert "/" not in next(p["address"] for p in both if p["name"] == "kid" and p["node"] == "alpha")
        lines = pair.alpha.brood("ps")[1].decode().splitlines()
        at = next(i for i, line in enumerate(lines) if line.startswith(kid["parent"] + " "))
        assert lines[at + 1].startswith("  " + kid["address"] + " "), lines
        for process in run:
            process.terminate()
            equal(143, process.wait(20))


class Nursery:
    """On a node."""
    def __init__(self, node):
        path = node.place + ".nursery.conf"
        with open(path, "w") as f:
            f.write('[program "*"]\nfor = *@alpha\nfree-args = yes\nfree-cwd = yes\nenv = *\n')
        os.chmod(path, 0o600)
        self.process = subprocess.Popen([os.environ["BROOD_NURSERY"], "--config", path, "--address", node.address])
        until(lambda: any(p["name"] == "nursery" for p in node.listed("--here")), "a nursery")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        equal(0, self.process.wait(20))


def families():
    with Pair() as pair, Nursery(pair.beta):
        equal((7, b"hi\n", ""), pair.alpha.brood("run", "-H", "beta", "--", "sh", "-c", "echo hi; exit 7"))
        run = subprocess.Popen([BROOD, "--address", pair.alpha.address, "run", "-H", "beta", "--name", "far", "--", "sleep",
                                "60"], stdin=subprocess.DEVNULL)
        until(lambda: any(p["name"] == "far" for p in pair.alpha.listed()), "the child")
        child = next(p for p in pair.alpha.listed() if p["name"] == "far")
        parent = next(p for p in pair.alpha.listed() if p["pid"] == run.pid)
        equal(("beta", parent["address"]), (child["node"], child["parent"]))
        equal("alpha", parent["node"])
        equal(0, pair.alpha.brood("why", child["address"])[0])
        seen = next(p for p in pair.beta.listed() if p["name"] == "far")
        equal("alpha/" + parent["address"], seen["parent"])
        # A signal for it from there, though not from here if that is another host.
        code, _, err = pair.beta.brood("kill", "-s", "KILL", "far")
        equal((0, ""), (code, err))
        equal(137, run.wait(20))
        code, out, _ = pair.alpha.brood("why", "--json", child["address"])
        equal(("signaled", 9), tuple(json.loads(out)["endings"][0][k] for k in ("cause", "signal")))


# What it prints is what the other commands take, though who started it is gone, and nobody else here sees it.
def spawn():
    def programs():
        return [p["program"] for p in pair.beta.listed("--here")]

    with Pair("") as pair, Nursery(pair.beta):
        for name in (["--name", "sleeper"], []):
            code, out, err = pair.alpha.brood("spawn", "-H", "beta/nursery", *name, "--", "sleep", "60")
            equal((0, ""), (code, err))
            address = out.decode().strip()
            assert address.startswith("beta/"), address
            code, out, _ = pair.alpha.brood("why", "--json", address)
            equal((0, name[1] if name else ""), (code, json.loads(out)["living"]["name"]))
            if name:
                code, out, _ = pair.alpha.brood("why", "--json", "beta/sleeper")
                equal((0, "beta/" + json.loads(out)["living"]["address"]), (code, address))
                code, out, err = pair.alpha.brood("spawn", "-H", "beta", *name, "--", "sleep", "60")
                equal((1, b"", True), (code, out, "it could not get the name sleeper" in err))
                until(lambda: programs().count("sleep") == 1, "the end of the second")
            equal((0, ""), pair.alpha.brood("kill", address)[::2])
            until(lambda: "sleep" not in programs(), "its end")


def without_links():
    with tempfile.TemporaryDirectory() as directory:
        node = Node(directory, "alone", "nobody", "", "")
        with open(node.configuration, "w"):
            pass
        node.start()
        equal(["alone"], list(node.nodes()))
        equal(["alone"], [p["node"] for p in node.listed()])
        node.stop()
        shutil.rmtree(node.place)


main([nodes, processes, families, spawn, without_links])
