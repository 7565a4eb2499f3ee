#!/usr/bin/env python3
"""readme.py SOURCE: the programs that README.md shows are the ones that are built and tested, and what any README links to
exists, and so do the tests that client/README.md and broker/README.md name; each threat there has one.

A C block in README.md is the whole of a file; the line before it names the file between backquotes. So is a block of a shell
script whose line before names one."""
import os
import re
import sys

SHOWN = ("client/examples/hello/parent.c", "client/examples/hello/child.c")
BLOCK = r"`([\w./-]+\.(c|sh))`[^\n]*\n\n```\2\n(.*?)```"


FOLDERS = ("broker", "client", "proto", "tests", "deploy")


def pages(source):
    yield from (os.path.join(source, name) for name in os.listdir(source) if name.endswith(".md"))
    for folder in FOLDERS:
        for where, _, names in os.walk(os.path.join(source, folder)):
            yield from (os.path.join(where, name) for name in names if name.endswith(".md"))


def broken_links(source):
    for page in pages(source):
        for target in re.findall(r"\]\((?!\w+:)([^)#]+)", open(page).read()):
            if not os.path.exists(os.path.join(os.path.dirname(page), target)):
                yield f"{os.path.relpath(page, source)} links to {target}, which does not exist"


def wrong_programs(source):
    readme = open(os.path.join(source, "README.md")).read()
    blocks = {path: shown for path, _, shown in re.findall(BLOCK, readme, flags=re.S)}
    for path in sorted({*SHOWN, *blocks}):
        file = os.path.join(source, path)
        if path not in blocks:
            yield f"README.md does not show {path}"
        elif not os.path.exists(file):
            yield f"README.md shows {path}, which does not exist"
        elif blocks[path] != open(file).read():
            yield f"README.md shows another {path} than the one in the tree"


def missing_tests(source):
    """`file.test` in client/README.md is a function of tests/flow/file.c, and runs over every transport if it says so."""
    page = os.path.join(source, "client/README.md")
    text = open(page).read() if os.path.exists(page) else ""
    for name, test, everywhere in re.findall(r"`(\w+)\.((?:test|not_covered)_\w+)`( all\b)?", text):
        file = os.path.join(source, "tests/flow", name + ".c")
        code = open(file).read() if os.path.exists(file) else ""
        if f"void {test}(" not in code:
            yield f"client/README.md names the test {name}.{test}, which does not exist"
        elif everywhere and f"ON_ALL({test})" not in code:
            yield f"client/README.md says that {name}.{test} runs over all, which it does not"


def unproven_threats(source):
    """In the table of threats in broker/README.md every row names tests: `file.test` of tests/flow, `unit/file.test` of tests/unit."""
    page = os.path.join(source, "broker/README.md")
    text = open(page).read() if os.path.exists(page) else ""
    table = text.partition("\n## Threats\n")[2].partition("\n## ")[0]
    for row in re.findall(r"^\| (?!threat |-)(.*) \|$", table, flags=re.M):
        threat, _, shown = row.split(" | ")
        tests = re.findall(r"`(unit/)?(\w+)\.(test_\w+)`", shown)
        if not tests:
            yield f"broker/README.md names no test against: {threat}"
        for unit, name, test in tests:
            file = os.path.join(source, "tests", "unit" if unit else "flow", name + ".c")
            code = open(file).read() if os.path.exists(file) else ""
            if f"void {test}(" not in code or len(re.findall(rf"\b{test}\b", code)) < 2:
                yield f"broker/README.md names the test {unit}{name}.{test}, which does not exist or does not run"


def main():
    top = sys.argv[1]
    found = [*wrong_programs(top), *broken_links(top), *missing_tests(top), *unproven_threats(top)]
    for line in found:
        print(line)
    return 1 if found else 0


sys.exit(main())
