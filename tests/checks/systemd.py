#!/usr/bin/env python3
"""systemd.py SOURCE BROODD: the units in deploy/systemd are right, and the system's broker is well confined.

systemd reads them without a warning, its review of the service, with links.conf too, shows an exposure of at most 1.5 (of 10),
and no unit has what is known to break the product. Status 77 if this host's systemd-analyze cannot tell."""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

MOST = 15  # tenths
SKIPPED = 77
BREAKS = {
    "PrivateUsers": "clients' uids would all be that of nobody",
    "DynamicUser": "the broker's uid may write to everybody, and would be somebody else's later",
    "RuntimeDirectory": "the socket's directory would go when the service stops",
    "PrivatePIDs": "a pidfd of a client that is away could not be had",
}
LINKED_NEEDS = {"PrivateNetwork": "no", "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6", "IPAddressDeny": ""}
# Units of programs that start others: what they need, and what their children would inherit.
SPAWNERS = {"brood-nursery": {"Delegate": "yes", "OOMPolicy": "continue", "KillMode": "mixed"},
            "brood-worker": {"OOMPolicy": "continue", "KillMode": "mixed"}}
INHERITED = r"(Protect|Private|Restrict|SystemCall|Capability|Ambient|Memory|Limit|Device|Lock|IPAddress|ReadOnly|Inaccessible)\w*|NoNewPrivileges|UMask"


def run(*command, **env):
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **env})
    return done.returncode, done.stdout + done.stderr


def can_tell():
    try:
        code, said = run("systemd-analyze", "security", "--help")
    except FileNotFoundError:
        return "there is no systemd-analyze"
    return "" if code == 0 and "--offline" in said else "systemd-analyze cannot review files (systemd 250 can)"


def units(source, broker, to):
    """Copies, with the broker that was built for every program, in a path with a space; their paths."""
    program = os.path.join(to, "a program")
    os.symlink(broker, program)
    for kind in ("", "user"):
        os.makedirs(os.path.join(to, kind), exist_ok=True)
        folder = os.path.join(source, "deploy/systemd", kind)
        for original in sorted(glob.glob(folder + "/*.socket") + glob.glob(folder + "/*.service.in")):
            path = os.path.join(to, kind, os.path.basename(original).removesuffix(".in"))
            with open(original) as file, open(path, "w") as copy:
                copy.write(re.sub("@[A-Z]+@", program, file.read()))
            yield path


def settings(path):
    return dict(re.findall(r"^(\w+)=(.*)$", open(path).read(), flags=re.M))


def exposure(service, what):
    code, said = run("systemd-analyze", "security", "--offline=true", f"--threshold={MOST}", service)
    print((said.strip().splitlines() or [""])[-1])
    if code != 0:
        yield f"{what} is more exposed than {MOST / 10}:\n{said}"


def wrong_spawners(path, to):
    kind = re.match(r"brood-\w+", os.path.basename(path))
    if not kind or not path.endswith(".service"):
        return
    found = settings(path)
    for key, value in SPAWNERS[kind[0]].items():
        if found.get(key) != value:
            yield f"{os.path.relpath(path, to)} has no {key}={value}"
    for key in found:
        if re.fullmatch(INHERITED, key):
            yield f"{os.path.relpath(path, to)} has {key}=, which whatever it starts would inherit"


def linked(source, service):
    """links.conf, as a part of the service that it is for."""
    folder = service + ".d"
    os.makedirs(folder)
    part = shutil.copy(os.path.join(source, "deploy/systemd/links.conf"), folder)
    code, said = run("systemd-analyze", "verify", "--man=no", service)
    if code != 0 or "brood" in said:
        yield f"links.conf is not right: {said}"
    found = settings(part)
    yield from (f"links.conf has no {key}={value}" for key, value in LINKED_NEEDS.items() if found.get(key) != value)
    yield from exposure(service, "broodd.service with links.conf")


def complaints(source, broker, to):
    paths = list(units(source, broker, to))
    for path in paths:
        flags = ["--user"] if "/user/" in path else []
        code, said = run("systemd-analyze", "verify", "--man=no", *flags, path, XDG_RUNTIME_DIR=to)
        if code != 0 or "brood" in said:
            yield f"{os.path.relpath(path, to)} is not right: {said}"
        yield from wrong_spawners(path, to)
    service = next(path for path in paths if path.endswith("broodd.service"))
    yield from exposure(service, "broodd.service")
    for key, value in settings(service).items():
        if key in BREAKS and value not in ("", "no"):
            yield f"broodd.service has {key}={value}: {BREAKS[key]}"
    yield from linked(source, service)


def main():
    reason = can_tell()
    if reason:
        print(f"skipped: {reason}")
        return SKIPPED
    with tempfile.TemporaryDirectory() as to:  # private, which a runtime directory has to be
        found = list(complaints(sys.argv[1], sys.argv[2], to))
    for line in found:
        print(line)
    return 1 if found else 0


sys.exit(main())
