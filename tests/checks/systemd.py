#!/usr/bin/env python3
"""systemd.py SOURCE BROODD: the units in deploy/systemd are right, and the system's broker is well confined.

systemd reads them without a warning, its review of the service shows an exposure of at most 1.5 (of 10), and the service does
not have what is known to break the product. Status 77 if this host's systemd-analyze cannot tell."""
import os
import re
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
    """Copies, with the broker that was built; their paths."""
    for kind in ("", "user"):
        os.makedirs(os.path.join(to, kind), exist_ok=True)
        for name in ("broodd.socket", "broodd.service.in"):
            path = os.path.join(to, kind, name.removesuffix(".in"))
            with open(os.path.join(source, "deploy/systemd", kind, name)) as file, open(path, "w") as copy:
                copy.write(file.read().replace("@BROODD@", broker))
            yield path


def complaints(source, broker, to):
    paths = list(units(source, broker, to))
    for path in paths:
        flags = ["--user"] if "/user/" in path else []
        code, said = run("systemd-analyze", "verify", "--man=no", *flags, path, XDG_RUNTIME_DIR=to)
        if code != 0 or "brood" in said:
            yield f"{os.path.relpath(path, to)} is not right: {said}"
    service = next(path for path in paths if path.endswith("broodd.service"))
    code, said = run("systemd-analyze", "security", "--offline=true", f"--threshold={MOST}", service)
    print((said.strip().splitlines() or [""])[-1])
    if code != 0:
        yield f"broodd.service is more exposed than {MOST / 10}:\n{said}"
    for key, value in re.findall(r"^(\w+)=(.*)$", open(service).read(), flags=re.M):
        if key in BREAKS and value not in ("", "no"):
            yield f"broodd.service has {key}={value}: {BREAKS[key]}"


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
