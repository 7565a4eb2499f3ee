#!/usr/bin/env python3
"""man.py SOURCE [PROGRAM...]: the manual pages are complete. Every exported function has one, every page has its sections,
refers to pages that exist, and names every option that the PROGRAMs' help names. Where scdoc is, it accepts them, and where
groff is, it formats them without a warning."""
import glob
import os
import re
import shutil
import subprocess
import sys

from man_page import Page, unformatted

ALWAYS = ("NAME", "SYNOPSIS", "DESCRIPTION", "EXAMPLE", "SEE ALSO")


def sections(page):
    needed = ALWAYS + {"3": ("RETURN VALUE",), "1": ("EXIT STATUS",), "5": ("FILES",), "8": ("EXIT STATUS",)}[page.section]
    yield from (f"{page.file} has no section {s}" for s in needed if not page.sections.get(s, "").strip())
    if page.names[:1] != [page.name]:
        yield f"{page.file}: its NAME does not begin with {page.name}"
    if not page.text.startswith(f"{page.name}({page.section})"):
        yield f"{page.file} does not begin with {page.name}({page.section})"


def functions(source, pages):
    exported = set(re.findall(r"\b(brood_\w+);", open(os.path.join(source, "client/lib/brood.map")).read()))
    named = [name for page in pages if page.section == "3" for name in page.names]
    yield from (f"{name} has no manual page" for name in sorted(exported - set(named)))
    yield from (f"{name} has more than one manual page" for name in sorted(set(named)) if named.count(name) > 1)
    declared = "".join(open(p).read() for p in glob.glob(os.path.join(source, "client/include/**/*.h"), recursive=True))
    for page in pages:
        if page.section != "3":
            continue
        shown = {re.search(r"(brood_\w+)\(", prototype)[1] for prototype in page.prototypes()}
        for name in page.names:
            if re.search(rf"\b{name}\(", declared) and name not in shown:
                yield f"{page.file}: {name} is not in its SYNOPSIS"


def references(page, known):
    for name, section in re.findall(r"\b(brood[\w.]*(?:-\w+)?)\((\d)\)", unformatted(page.text)):
        if (name, section) not in known:
            yield f"{page.file} refers to {name}({section}), which does not exist"


def helps(program):
    """The page of each help text of the program, and the text."""
    def text(*arguments):
        return subprocess.run([program, *arguments], capture_output=True, text=True).stdout

    name, own = os.path.basename(program), text("--help")
    yield name, own
    for command in re.findall(r"^  ([a-z]+)  +\w", own, flags=re.M):
        yield f"{name}-{command}", text(command, "--help")


def options(program, pages):
    by_name = {page.name: unformatted(page.text) for page in pages if page.section != "3"}
    for name, text in helps(program):
        page = by_name.get(name) or by_name.get(name.split("-")[0], "")
        for option in sorted(set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", text, flags=re.M))):
            if not re.search(rf"(?<![\w-]){option}(?![\w-])", page):
                yield f"the help of {name} names {option}, its page does not"


def formatted(page):
    if not shutil.which("scdoc"):
        return
    done = subprocess.run(["scdoc"], input=page.text, capture_output=True, text=True)
    if done.returncode != 0 or done.stderr:
        yield f"{page.file}: scdoc: {done.stderr.strip()}"
    elif shutil.which("groff"):
        groff = ["groff", "-t", "-man", "-Tutf8", "-Kutf8", "-ww", "-rLL=80n", "-P-cbou"]
        shown = subprocess.run(groff, input=done.stdout, capture_output=True, text=True)
        yield from (f"{page.file}: {line}" for line in shown.stderr.splitlines())
        yield from (f"{page.file}: wider than 80 columns: {line}" for line in shown.stdout.splitlines() if len(line) > 80)


def main():
    source, *programs = sys.argv[1:]
    pages = [Page(path) for path in sorted(glob.glob(os.path.join(source, "client/man/*.scd")))]
    known = {(name, page.section) for page in pages for name in page.names}
    found = [*functions(source, pages)]
    for page in pages:
        found += [*sections(page), *references(page, known), *formatted(page)]
    for program in programs:
        found += options(program, pages)
    for line in found:
        print(line)
    return 1 if found else 0


sys.exit(main())
