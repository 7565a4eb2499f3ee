#!/usr/bin/env python3
"""readme.py SOURCE: the programs that README.md shows are the ones that are built and tested.

A C block in README.md is the whole of a file; the line before it names the file between backquotes."""
import os
import re
import sys

SHOWN = ("client/examples/hello/parent.c", "client/examples/hello/child.c")


def main():
    source = sys.argv[1]
    readme = open(os.path.join(source, "README.md")).read()
    blocks = dict(re.findall(r"`([\w./-]+\.c)`[^\n]*\n\n```c\n(.*?)```", readme, flags=re.S))
    wrong = 0
    for path in sorted({*SHOWN, *blocks}):
        file = os.path.join(source, path)
        if path not in blocks:
            print(f"README.md does not show {path}")
        elif not os.path.exists(file):
            print(f"README.md shows {path}, which does not exist")
        elif blocks[path] != open(file).read():
            print(f"README.md shows another {path} than the one in the tree")
        else:
            continue
        wrong += 1
    return 1 if wrong else 0


sys.exit(main())
