#!/usr/bin/env python3
"""conf.py SOURCE BROODD: what is written about the configuration is what broodd has.

`broodd --print-config` tells every key with what it is for, what it may be, and its default. The manual page has the same of
each, in its order, and so has deploy/broodd.conf.example, where each is a comment; it is a configuration as it is, and also
with all of these comments taken for what they are. Sections that have a name are there once each."""
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from man_page import Page, unformatted

OF_THIS_HOST = ("broker.dir", "broker.node")  # their defaults are
NAMED = '[name "resize"]\nowner = daemon\n[peer "beta"]\n'  # what --print-config has to be told to show these, too


def run(broker, *arguments):
    env = {name: value for name, value in os.environ.items() if not name.startswith("BROOD")}
    done = subprocess.run([broker, *arguments], capture_output=True, text=True, env={**env, "XDG_CONFIG_HOME": "/nonexistent"})
    return done.returncode, done.stdout + done.stderr


def entries(text, mark=""):
    """section.key -> (what it is for, what it may be, default), in their order; keys stand behind the mark."""
    found, section, named, comments = {}, "", False, []
    for line in text.splitlines():
        pair = re.fullmatch(re.escape(mark) + r"([a-z-]+) = ?(.*?)(?: ;.*)?", line)
        begins = re.fullmatch(rf"(?:{re.escape(mark)})?\[(\w+)( \".*\")?\]", line)
        if begins:
            section, named = begins[1], bool(begins[2])
        elif pair:
            found[f"{section}.{pair[1]}"] = (*comments[-2:], "" if named else pair[2].strip())
            comments = []
        elif line.startswith("# "):
            comments.append(line[2:])
    return found


def compare(where, known, written):
    yield from (f"{where} has no {key}" for key in known if key not in written)
    yield from (f"{where} has {key}, which does not exist" for key in written if key not in known)
    if list(known) != list(written) and set(known) == set(written):
        yield f"{where} has the keys in another order than --print-config"
    for key in known:
        if key in written and written[key] != known[key]:
            yield f"{where} says of {key}: {written[key]} instead of {known[key]}"


def described(page):
    """As entries(), from the sections of the page that are named like those of the file."""
    found = {}
    for heading, text in page.sections.items():
        for key, body in re.findall(r"^\*([a-z-]+)\*\n((?:\t.*\n?)+)", text, flags=re.M):
            words = " ".join(unformatted(body).split())
            parts = re.fullmatch(r"(.*?) (It is [^.]*(?:\.\d[^.]*)*\.)(?: Default: (.*)\.)?", words)
            begins = re.fullmatch(r"THE SECTIONS? \[(\w+)( \"NAME\")?\]", heading)
            if begins:
                name = begins[1] + "." + key
                found[name] = (parts[1], parts[2], parts[3] or "") if parts else (words, "", "")
    return found


def without_defaults(known):
    return {key: (*value[:2], "") if key in OF_THIS_HOST else value for key, value in known.items()}


def example(source, broker, known):
    path = os.path.join(source, "deploy/broodd.conf.example")
    text = open(path).read()
    yield from compare("broodd.conf.example", without_defaults(known), without_defaults(entries(text, "#")))
    for what, bytes_ in (("", text), (" with all keys", re.sub(r"^#(?=[a-z-]+ =|\[)", "", text, flags=re.M))):
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:  # whoever can write to the tree does not matter here
            file.write(bytes_)
            file.flush()
            code, said = run(broker, "-t", "--config", file.name)
        if code != 0:
            yield f"broodd.conf.example{what} is refused: {said.strip()}"


def main():
    source, broker = sys.argv[1:3]
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(NAMED)
        file.flush()
        code, said = run(broker, "--print-config", "--config", file.name)
    known = entries(said)
    if code != 0 or not known:
        print(f"--print-config does not work: {said}")
        return 1
    page = Page(os.path.join(source, "client/man/broodd.conf.5.scd"))
    found = [*example(source, broker, known)]
    known = {key: value if value[2] or key.split(".")[0] in NAMED else (*value[:2], "none") for key, value in known.items()}
    found += compare("broodd.conf.5", without_defaults(known), without_defaults(described(page)))
    for line in found:
        print(line)
    return 1 if found else 0


sys.exit(main())
