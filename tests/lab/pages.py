"""pages: what documentation shows as shell commands, done on the lab's hosts as it says.

Commands of a host that others than the host itself must do (scp, systemctl) are shims/asked.sh there: it writes down what it was
asked for, and Follower does it.
"""
import os
import re
import shutil
import time

from lab import PATIENCE, USERS

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.join(HERE, "../..")


def blocks(page):
    """(the line of text before it, its commands) for every block of shell commands of a page."""
    text = open(os.path.join(TOP, page)).read()
    return [(before.strip(), code) for before, code in re.findall(r"([^\n]*)\n\n```sh\n(.*?)```", text, flags=re.S)]


def commands(code):
    """Its lines, those that end in \\ with what follows."""
    return [line for line in code.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]


class Follower:
    """Does what a page says, block by block: "On alpha, as root:", "On every host, as alice:"."""

    def __init__(self, hosts, services):
        """services: what `systemctl enable` of a unit does, a function of host and instance."""
        self.hosts, self.services, self.enabled = hosts, services, []
        for host in hosts:
            os.makedirs(f"{host.disk}/var/lib/asked")
            os.chmod(f"{host.disk}/var/lib/asked", 0o1777)
            for name in ("scp", "systemctl"):
                to = f"{host.disk}/var/lib/shims/{name}"
                os.makedirs(os.path.dirname(to), exist_ok=True)
                shutil.copy(os.path.join(HERE, "shims/asked.sh"), to)
                os.chmod(to, 0o755)

    def follow(self, page):
        """What each block printed, in order."""
        said = []
        for before, code in blocks(page):
            where = re.fullmatch(r"On (\w+|every host), as (\w+):", before)
            assert where, f"{page}: it does not say where this is to be done: {before!r}"
            for host in self.hosts:
                if where[1] in ("every host", host.name):
                    said.append(self._do(host, where[2], code))
        return said

    def _do(self, host, user, code):
        environment = f'export PATH=/var/lib/shims:$PATH; cd "$HOME"; '
        program = host.start("sh", "-ec", environment + code, title=f"page{len(host.programs)}", user=user)
        end = time.monotonic() + PATIENCE
        while program.running():
            self._answer(host)
            assert time.monotonic() < end, f"{host.name}: this does not end:\n{code}\n{program.text()}"
            time.sleep(0.02)
        assert program.wait() == 0, f"{host.name}: {code}\n{program.text()}"
        return program.text()

    def _answer(self, host):
        folder = f"{host.disk}/var/lib/asked"
        for name in os.listdir(folder):
            ask = os.path.join(folder, name)
            if os.path.exists(f"{ask}/question") and not os.path.exists(f"{ask}/status"):
                directory, program, user, *arguments = open(f"{ask}/question").read().splitlines()
                answer, status = getattr(self, program)(host, user, directory, arguments) or "", 0
                for file, text in (("answer", answer), ("status.new", str(status))):
                    with open(f"{ask}/{file}", "w") as to:
                        to.write(text)
                os.rename(f"{ask}/status.new", f"{ask}/status")

    def _path(self, host, directory, path):
        """A file of a host, as seen from here."""
        return f"{host.disk}{os.path.join(directory, path)}"

    def scp(self, host, user, directory, arguments):
        *files, target = arguments
        name, _, to = target.partition(":")
        other = next(each for each in self.hosts if each.name == name)
        for file in files:
            copy = shutil.copy(self._path(host, directory, file), self._path(other, f"/var/lib/{user}", to))
            os.chown(copy, USERS[user], USERS[user])

    def systemctl(self, host, user, directory, arguments):
        verb, *units = [each for each in arguments if each not in ("--now", "--user")]
        if verb == "daemon-reload":
            return
        for unit in units:
            kind, _, instance = unit.removesuffix(".service").partition("@")
            self.services[verb, kind](host, instance or user)
