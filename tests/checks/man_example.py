#!/usr/bin/env python3
"""man_example.py PAGE [--path DIRECTORY] [COMPILER ARGUMENT...]: the example of a manual page does what the page says.

Of section 3, the first block of EXAMPLE is a whole program, the second what it prints: it is compiled by COMPILER with the
ARGUMENTs, which link it, and run; so are the prototypes of SYNOPSIS, behind the headers there. Of other sections, the block
is a session: "$ COMMAND", "> ITS NEXT LINE", and what it printed; one shell runs all of it, with DIRECTORY first in PATH. In
what is printed "..." stands for anything within a line."""
import os
import re
import signal
import subprocess
import sys
import tempfile

from man_page import Page

WARNINGS = "-std=c11 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror".split()


def differs(expected, printed):
    """What is wrong with what was printed, or None."""
    if printed and not printed.endswith("\n"):
        printed += "\n"  # the prompt would begin a line
    pattern = ".*".join(re.escape(part) for part in expected.split("..."))
    if re.fullmatch(pattern, printed):
        return None
    return f"it printed\n{printed}instead of\n{expected}"


def run(*command):
    """Status and output; what takes longer than 60 s is killed, with all that it started in its session."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True) as process:
        try:
            said = process.communicate(timeout=60)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            said = process.communicate()[0] + "it took longer than 60 s\n"
        return process.wait(), said


def program(page, compiler):
    blocks = page.blocks("EXAMPLE")
    if len(blocks) != 2:
        yield f"EXAMPLE has {len(blocks)} blocks; they are a program and what it prints"
        return
    declared = "\n".join([*page.headers(), *page.prototypes(), ""])
    if page.prototypes():
        with open("synopsis.c", "w") as file:
            file.write(declared)
        code, said = run(*compiler[:1], *WARNINGS, "-fsyntax-only", *[a for a in compiler[1:] if a[:2] == "-I"], "synopsis.c")
        if code:
            yield f"SYNOPSIS is not what the header says:\n{said}"
    with open("example.c", "w") as file:
        file.write(blocks[0])
    code, said = run(*compiler[:1], *WARNINGS, "-o", "example", "example.c", *compiler[1:])
    if code:
        yield f"EXAMPLE does not compile:\n{said}"
        return
    code, said = run("./example")
    if code:
        yield f"EXAMPLE ends with {code}"
    yield differs(blocks[1], said)


def steps(block):
    """Pairs of a command and what it prints."""
    found = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append([line[2:] + "\n", ""])
        elif line.startswith("> ") and not found[-1][1]:
            found[-1][0] += line[2:] + "\n"
        else:
            found[-1][1] += line + "\n"
    return found


def session(page):
    blocks = page.blocks("EXAMPLE")
    if len(blocks) != 1:
        yield f"EXAMPLE has {len(blocks)} blocks; it is one session"
        return
    # Each command writes into a file of its own and finds the status of the one before it.
    script = "status=0\n"
    commands = steps(blocks[0])
    for i, (command, _) in enumerate(commands):
        script += f"exec >{i}.out 2>&1\n(exit $status)\n{command}status=$?\n"
    with open("session.sh", "w") as file:
        file.write(script)
    run("sh", "session.sh")
    for i, (command, expected) in enumerate(commands):
        printed = open(f"{i}.out").read() if os.path.exists(f"{i}.out") else "nothing: it was not run\n"
        wrong = differs(expected, printed)
        if wrong:
            yield f"$ {command}{wrong}"


def main():
    path, *rest = sys.argv[1:]
    page = Page(os.path.abspath(path))
    if rest[:1] == ["--path"]:
        os.environ["PATH"] = rest[1] + ":" + os.environ["PATH"]
        rest = rest[2:]
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        found = [wrong for wrong in (program(page, rest) if page.section == "3" else session(page)) if wrong]
        os.chdir("/")
    for wrong in found:
        print(f"{page.file}: {wrong}")
    return 1 if found else 0


sys.exit(main())
