#!/usr/bin/env python3
"""symbols.py LIBRARY MAP HEADER...: what libbrood.so exports, what brood.map lists and what the headers declare BROOD_API
must be the same set. A function missing in one of them is a link error for somebody, or a promise nobody meant."""
import re
import subprocess
import sys


def exported(library):
    nm = subprocess.run(["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True)
    names = (line.split() for line in nm.stdout.splitlines())
    # The version node itself is an absolute symbol.
    return {name[-1].split("@")[0] for name in names if name[-2] != "A"}


def listed(version_script):
    text = re.sub(r"/\*.*?\*/", "", open(version_script).read(), flags=re.S)
    parts = re.findall(r"global:(.*?)(?:local:|\})", text, flags=re.S)
    return set(re.findall(r"\w+(?=\s*;)", " ".join(parts)))


def declared(headers):
    names = set()
    for header in headers:
        text = re.sub(r"/\*.*?\*/", "", open(header).read(), flags=re.S)
        text = re.sub(r"^[ \t]*#.*?(?<!\\)$", "", text, flags=re.M)
        names |= set(re.findall(r"\bBROOD_API\b[^;(]*?(\w+)\s*\(", text))
    return names


def main():
    library, version_script, headers = sys.argv[1], sys.argv[2], sys.argv[3:]
    sets = {"the library": exported(library), "brood.map": listed(version_script), "the headers": declared(headers)}
    everything = set().union(*sets.values())
    wrong = 0
    for name in sorted(everything):
        missing = [where for where, names in sets.items() if name not in names]
        if missing:
            print(f"{name} is missing in {' and '.join(missing)}")
            wrong += 1
    print(f"{len(everything)} public functions, {wrong} of them not everywhere")
    return 1 if wrong or not everything else 0


sys.exit(main())
