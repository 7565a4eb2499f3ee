#!/usr/bin/env python3
"""binaries.py LIBBROOD BROODD: promises about the files that are installed.

libbrood.so is small and loads nothing heavy: what it needs, every child of every program loads. broodd faces the
network, so it holds no way to start a program."""
import re
import subprocess
import sys

# 200 until children on other hosts came, 220 until failures found their own words. Every program loads it: it is not to grow unseen.
TEXT_MOST = 224 * 1024
HEAVY = re.compile(r"lib(ssl|crypto|event|inih)")
STARTS_PROGRAMS = re.compile(r"^(execl|execv|fexecve|posix_spawn|system$|popen$|wordexp$|syscall$)")


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def needed(path):
    return re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "-d", path))


def imported(path):
    return [line.split()[-1].split("@")[0] for line in run("nm", "-D", "--undefined-only", path).splitlines()]


def complaints(library, broker):
    text = int(run("size", library).splitlines()[1].split()[0])
    print(f"libbrood: {text} bytes of text, needs {', '.join(needed(library))}")
    if text >= TEXT_MOST:
        yield f"{library} has {text} bytes of text, {TEXT_MOST} are the most"
    for name in filter(HEAVY.match, needed(library)):
        yield f"{library} loads {name}"
    if "libbrood.so.0" not in run("readelf", "-d", library):
        yield f"{library} is not called libbrood.so.0"
    for name in filter(STARTS_PROGRAMS.match, imported(broker)):
        yield f"{broker} can start programs: it imports {name}"


def main():
    found = list(complaints(sys.argv[1], sys.argv[2]))
    for line in found:
        print(line)
    return 1 if found else 0


sys.exit(main())
