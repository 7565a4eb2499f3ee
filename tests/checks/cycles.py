#!/usr/bin/env python3
"""cycles.py SOURCE BUILD: calls between modules point one way.

A module is a .c file with its header. An edge is a symbol that one object file leaves undefined and another defines, so
what counts is what the linker sees, not what a header mentions. Modules that reach each other, directly or by others,
are a cycle. Between folders only the edges in ALLOWED exist, and the command line uses libbrood by its public functions."""
import json
import os
import re
import shlex
import subprocess
import sys

FOLDERS = ("proto", "broker", "client/lib", "client/cli", "client/nursery")
ALLOWED = {
    "proto": {"proto"},
    "broker": {"broker", "proto"},
    "client/lib": {"client/lib", "proto"},
    "client/cli": {"client/cli", "client/lib", "proto"},
    # Of the broker: conffile; of the command line: program.
    "client/nursery": {"client/nursery", "client/lib", "client/cli", "proto", "broker"},
}


def modules(source, build):
    """Module name -> object file, for the sources of these folders; generated protobuf code has no arrows of interest."""
    found = {}
    for entry in json.load(open(os.path.join(build, "compile_commands.json"))):
        path = os.path.relpath(os.path.join(entry["directory"], entry["file"]), source)
        words = shlex.split(entry["command"])
        output = os.path.join(entry["directory"], words[words.index("-o") + 1])
        folder = os.path.dirname(path)
        if folder in FOLDERS and path.endswith(".c") and os.path.exists(output):
            found.setdefault(path[:-2], output)
    return found


def symbols(path):
    defined, undefined = set(), set()
    for line in subprocess.run(["nm", path], check=True, capture_output=True, text=True).stdout.splitlines():
        fields = line.split()
        kind, name = fields[-2], fields[-1]
        if kind == "U":
            undefined.add(name)
        elif kind in "TDBRVWC":
            defined.add(name)
    return defined, undefined


def edges(objects):
    """Module -> {module it calls: [symbols]}"""
    table = {name: symbols(path) for name, path in objects.items()}
    home = {symbol: name for name, (defined, _) in table.items() for symbol in defined}
    graph = {name: {} for name in table}
    for name, (_, undefined) in table.items():
        for symbol in sorted(undefined & home.keys()):
            if home[symbol] != name:
                graph[name].setdefault(home[symbol], []).append(symbol)
    return graph


def reachable(graph, start):
    seen, todo = set(), list(graph[start])
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo.extend(graph[name])
    return seen


def knots(graph):
    """Sets of modules that reach each other."""
    reach = {name: reachable(graph, name) for name in graph}
    found = {frozenset(other for other in reach[name] if name in reach[other]) for name in graph if name in reach[name]}
    return sorted(found, key=sorted)


def forbidden(graph, public):
    for name, targets in graph.items():
        folder = os.path.dirname(name)
        for target, used in targets.items():
            other = os.path.dirname(target)
            if other not in ALLOWED[folder]:
                yield f"{name} must not call {target}: {', '.join(used)}"
            elif folder == "client/cli" and other == "client/lib" and set(used) - public:
                yield f"{name} uses what is not public of {target}: {', '.join(sorted(set(used) - public))}"


def main():
    source, build = (os.path.abspath(path) for path in sys.argv[1:3])
    objects = modules(source, build)
    if not objects:
        print(f"no object files of {', '.join(FOLDERS)} in {build}")
        return 1
    graph = edges(objects)
    wrong = 0
    for knot in knots(graph):
        wrong += 1
        print("cycle: " + ", ".join(sorted(knot)))
        for name in sorted(knot):
            for target in sorted(knot & graph[name].keys()):
                print(f"  {name} -> {target}: {', '.join(graph[name][target])}")
    public = set(re.findall(r"brood_\w+", open(os.path.join(source, "client/lib/brood.map")).read()))
    for line in forbidden(graph, public):
        wrong += 1
        print(line)
    n_edges = sum(len(targets) for targets in graph.values())
    print(f"{len(graph)} modules, {n_edges} edges, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
