"""pages: what documentation shows as shell commands, to be done as it says."""
import os
import re

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")


def blocks(page):
    """(the line of text before it, its commands) for every block of shell commands of a page."""
    text = open(os.path.join(TOP, page)).read()
    return [(before.strip(), code) for before, code in re.findall(r"([^\n]*)\n\n```sh\n(.*?)```", text, flags=re.S)]


def commands(code):
    """Its lines, those that end in \\ with what follows."""
    return [line for line in code.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]
