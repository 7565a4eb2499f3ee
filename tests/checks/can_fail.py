#!/usr/bin/env python3
"""can_fail.py CC: every check here refuses what it should refuse. Each gets one good input and one broken input per rule."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
CC = sys.argv.pop(1)


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
    return path


class Case(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.top = directory.name

    def file(self, name, text):
        return write(os.path.join(self.top, name), text)

    def compile(self, name, code, *options):
        output = os.path.join(self.top, name)
        subprocess.run([CC, "-x", "c", "-fPIC", "-w", "-o", output, "-", "-x", "none", *options], input=code, text=True, check=True)
        return output

    def check(self, script, *arguments):
        runner = ["sh"] if script.endswith(".sh") else [sys.executable]
        done = subprocess.run([*runner, os.path.join(HERE, script), *arguments], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    def passes(self, script, *arguments):
        code, said = self.check(script, *arguments)
        self.assertEqual(code, 0, said)

    def refuses(self, words, script, *arguments):
        code, said = self.check(script, *arguments)
        self.assertEqual(code, 1, said)
        self.assertIn(words, said)


class Symbols(Case):
    def compare(self, judge, *words, functions="a b", names="a b", header="a b"):
        library = self.compile("lib.so", "".join(f"void brood_{f}(void) {{}}" for f in functions.split()), "-shared")
        script = self.file("x.map", "V1 { global: " + "".join(f"brood_{n}; " for n in names.split()) + "local: *; };")
        head = self.file("x.h", "".join(f"BROOD_API int *brood_{h}(int);\n" for h in header.split()))
        judge(*words, "symbols.py", library, script, head)

    def test_same(self):
        self.compare(self.passes)

    def test_missing(self):
        self.compare(self.refuses, "brood_b is missing in the library", functions="a")
        self.compare(self.refuses, "brood_b is missing in brood.map", names="a")
        self.compare(self.refuses, "brood_b is missing in the headers", header="a")


class Binaries(Case):
    SONAME = "-Wl,-soname,libbrood.so.0"

    def compare(self, judge, *words, code="int a;", options=(SONAME,), broker="int main(void) { return 0; }"):
        library = self.compile("lib.so", code, "-shared", *options)
        judge(*words, "binaries.py", library, self.compile("broodd", broker))

    def test_good(self):
        self.compare(self.passes)

    def test_size(self):
        self.compare(self.refuses, "are the most", code="const char a[300000] = { 1 };")

    def test_name(self):
        self.compare(self.refuses, "is not called", options=())

    def test_heavy(self):
        heavy = self.compile("libssl.so.3", "void b(void) {}", "-shared", "-Wl,-soname,libssl.so.3")
        self.compare(self.refuses, "loads libssl.so.3", code="void b(void); void a(void) { b(); }", options=(self.SONAME, heavy))

    def test_broker_starts_programs(self):
        for call in ("execve", "execvp", "posix_spawn", "system", "popen"):
            self.compare(self.refuses, f"it imports {call}", broker=f"void {call}(); int main(void) {{ {call}(); return 0; }}")


class Cycles(Case):
    def compare(self, judge, *words, **modules):
        commands = []
        for name, code in modules.items():
            path = name.replace("__", "/") + ".c"
            output = self.compile(name + ".o", code, "-c")
            self.file(path, code)
            commands.append({"directory": self.top, "file": path, "command": f"cc -o {output} -c {path}"})
        self.file("compile_commands.json", json.dumps(commands))
        self.file("client/lib/brood.map", "global: brood_x;")
        judge(*words, "cycles.py", self.top, self.top)

    def test_straight(self):
        self.compare(self.passes, broker__a="void a(void) { b(); c(); }", broker__b="void b(void) { c(); }", proto__c="void c(void) {}")

    def test_pair(self):
        self.compare(self.refuses, "cycle: broker/a, broker/b", broker__a="void a(void) { b(); }", broker__b="void b(void) { a(); }")

    def test_round(self):
        self.compare(self.refuses, "cycle: proto/a, proto/b, proto/c", proto__a="void a(void) { b(); }",
                     proto__b="void b(void) { c(); }", proto__c="void c(void) { a(); }")

    def test_folders(self):
        self.compare(self.refuses, "proto/a must not call broker/b", proto__a="void a(void) { b(); }", broker__b="void b(void) {}")

    def test_public(self):
        lib = "void brood_x(void) {} void secret(void) {}"
        self.compare(self.passes, client__cli__a="void a(void) { brood_x(); }", client__lib__b=lib)
        self.compare(self.refuses, "uses what is not public", client__cli__a="void a(void) { secret(); }", client__lib__b=lib)

    def test_nothing(self):
        self.compare(self.refuses, "no object files")


class Readme(Case):
    def compare(self, judge, *words, shown="int x;\n", files=("parent.c", "child.c")):
        for name in files:
            self.file("client/examples/hello/" + name, "int x;\n")
        blocks = (f"And `client/examples/hello/{name}`:\n\n```c\n{shown}```\n" for name in ("parent.c", "child.c"))
        self.file("README.md", "\n".join(blocks))
        judge(*words, "readme.py", self.top)

    def test_same(self):
        self.compare(self.passes)

    def test_other(self):
        self.compare(self.refuses, "shows another", shown="int y;\n")

    def test_no_file(self):
        self.compare(self.refuses, "does not exist", files=("parent.c",))

    def test_link(self):
        self.file("tests/README.md", "See [this](x.md), [that](https://example.org/y) and [here](#z).\n")
        self.compare(self.refuses, "tests/README.md links to x.md")
        self.file("tests/x.md", "")
        self.compare(self.passes)

    def test_named_test(self):
        self.file("client/README.md", "Proved by `kill.test_this`.\n")
        self.file("tests/flow/kill.c", "static void test_that(void **state)\n")
        self.compare(self.refuses, "names the test kill.test_this")
        self.file("tests/flow/kill.c", "static void test_this(void **state)\n")
        self.compare(self.passes)

    def test_not_shown(self):
        self.file("README.md", "Nothing.\n")
        self.refuses("does not show", "readme.py", self.top)


class Headers(Case):
    def test_refused(self):
        for text in ("int class;", "static inline char f(int i) { return i; }", "static int f(void);"):
            for name in ("brood.h", "brood/pb.h", "brood/event.h"):
                self.file(name, text)
            self.refuses("refuses", "headers.sh", self.top)


unittest.main()
