#!/usr/bin/env python3
"""can_fail.py CC: every check here refuses what it should refuse. Each gets one good input and one broken input per rule."""
import glob
import json
import os
import shutil
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


def texts(folder):
    """Of all files below it, by their paths from there."""
    found = filter(os.path.isfile, glob.glob(folder + "/**/*", recursive=True))
    return {os.path.relpath(path, folder): open(path).read() for path in found}


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


class Conf(Case):
    HELP, RANGE = "How many there may be.", "It is a number from 1 to 9, or 0 (any)."

    def compare(self, judge, *words, said="", page="", example="", status=0):
        def text(mark, help_=self.HELP, range_=self.RANGE, value="5", key="most"):
            return f"[limits]\n# {help_}\n# {range_}\n{mark}{key} = {value}"

        broker = self.file("broodd", f"#!/bin/sh\n[ $1 = -t ] && exit {status}\ncat <<END\n{said or text('')} ; default\nEND\n")
        os.chmod(broker, 0o755)
        self.file("deploy/broodd.conf.example", example or text("#") + "\n")
        entry = page or f"*most*\n\t{self.HELP} {self.RANGE} Default: 5.\n"
        self.file("client/man/broodd.conf.5.scd", f"broodd.conf(5)\n\n# THE SECTION [limits]\n\n{entry}\n# SEE ALSO\n")
        judge(*words, "conf.py", self.top, broker)

    def test_same(self):
        self.compare(self.passes)

    def test_page(self):
        self.compare(self.refuses, "broodd.conf.5 has no limits.most", page="None.\n")
        for wrong in (f"{self.HELP} {self.RANGE} Default: 6.", f"{self.HELP} It is a number from 1 to 8. Default: 5.",
                      f"Something else. {self.RANGE} Default: 5.", f"{self.HELP} {self.RANGE}"):
            self.compare(self.refuses, "broodd.conf.5 says of limits.most", page=f"*most*\n\t{wrong}\n")
        entry = f"\n\t{self.HELP} {self.RANGE} Default: 5.\n"
        self.compare(self.refuses, "broodd.conf.5 has limits.more, which does not exist", page=f"*most*{entry}*more*{entry}")

    def test_example(self):
        self.compare(self.refuses, "example has no limits.most", example="[limits]\n")
        self.compare(self.refuses, "example has no limits.most", example=f"[limits]\n# {self.HELP}\n# {self.RANGE}\nmost = 5\n")
        self.compare(self.refuses, "example says of limits.most", example=f"[limits]\n# {self.HELP}\n# {self.RANGE}\n#most = 6\n")
        self.compare(self.refuses, "broodd.conf.example is refused", status=2)


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

    def test_script(self):
        self.compare(self.passes)
        page = open(os.path.join(self.top, "README.md")).read() + "\nAnd `client/x.sh`:\n\n```sh\necho 1\n```\n"
        for text, judge, words in (("echo 1\n", self.passes, ()), ("echo 2\n", self.refuses, ("shows another",))):
            self.file("client/x.sh", text)
            self.file("README.md", page)
            judge(*words, "readme.py", self.top)

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

    def threats(self, shown):
        self.file("broker/README.md", f"# broker\n\n## Threats\n\n| threat | done | shown by |\n|---|---|---|\n| flood | limits | {shown} |\n")

    def test_threats(self):
        self.threats("nobody")
        self.compare(self.refuses, "names no test against: flood")
        for shown, file in (("`flood.test_x`", "tests/flow/flood.c"), ("`unit/flood.test_x`", "tests/unit/flood.c")):
            self.threats(shown)
            self.compare(self.refuses, "which does not exist or does not run")
            self.file(file, "static void test_x(void **state)\n")
            self.compare(self.refuses, "which does not exist or does not run")
            self.file(file, "static void test_x(void **state)\n cmocka_unit_test(test_x)\n")
            self.compare(self.passes)

    def test_not_shown(self):
        self.file("README.md", "Nothing.\n")
        self.refuses("does not show", "readme.py", self.top)


class Man(Case):
    """Pages of an invented library with one function, brood_x, and a program with one option."""
    SECTIONS = ("SYNOPSIS", "DESCRIPTION", "RETURN VALUE", "EXAMPLE", "SEE ALSO")

    def compare(self, judge, *words, names="brood_x", sections=SECTIONS, text="Text.", said=""):
        self.file("client/lib/brood.map", "V1 { global: brood_x; local: *; };")
        self.file("client/include/brood.h", "int brood_x(void);\n")
        body = "".join(f"# {s}\n\n{'*int brood_x(void);*' if s == 'SYNOPSIS' else text}\n\n" for s in sections)
        self.file("client/man/brood_x.3.scd", f"brood_x(3)\n\n# NAME\n\n{names} - does it\n\n{body}")
        program = self.file("tool", f"#!/bin/sh\necho '{said}'\n")
        os.chmod(program, 0o755)
        page = "".join(f"# {s}\n\n*--good*\n\n" for s in (*self.SECTIONS, "EXIT STATUS"))
        self.file("client/man/tool.1.scd", f"tool(1)\n\n# NAME\n\ntool - does it\n\n{page}")
        judge(*words, "man.py", self.top, program)

    def test_complete(self):
        self.compare(self.passes)
        self.compare(self.passes, names="brood_x, brood_y", said="  --good  is good")

    def test_no_page(self):
        self.compare(self.refuses, "brood_x has no manual page", names="brood_y")

    def test_sections(self):
        for section in self.SECTIONS:
            left = tuple(s for s in self.SECTIONS if s != section)
            self.compare(self.refuses, f"brood_x.3.scd has no section {section}", sections=left)

    def test_synopsis(self):
        self.file("client/include/brood/pb.h", "int brood_y(int);\n")
        self.compare(self.refuses, "brood_y is not in its SYNOPSIS", names="brood_x, brood_y")

    def test_reference(self):
        self.compare(self.refuses, "refers to brood_z(3)", text="See *brood_z*(3).")

    def test_option(self):
        self.compare(self.refuses, "the help of tool names --bad", said="  --bad  is not in the page")

    @unittest.skipUnless(shutil.which("scdoc"), "scdoc")
    def test_format(self):
        self.compare(self.refuses, "scdoc:", text="*bold")
        if shutil.which("groff"):
            self.compare(self.refuses, "wider than 80 columns", text="```\n" + "wide " * 20 + "\n```")


class ManExample(Case):
    def page(self, section, *blocks, synopsis=""):
        text = "\n".join(f"```\n{block}```\n" for block in blocks)
        return self.file(f"x.{section}.scd", f"# SYNOPSIS\n\n{synopsis}\n\n# EXAMPLE\n\n{text}")

    def program(self, judge, *words, code='puts("a 1 b");', shown="a ... b\n", synopsis=""):
        whole = f"#include <stdio.h>\nint main(void)\n{{\n\t{code}\n\treturn 0;\n}}\n"
        judge(*words, "man_example.py", self.page(3, whole, shown, synopsis=synopsis), CC)

    def test_program(self):
        self.program(self.passes)
        self.program(self.refuses, "instead of", shown="a\n")
        self.program(self.refuses, "instead of", code='puts("a\\\\nb");')
        self.program(self.refuses, "does not compile", code="int i;")
        self.program(self.refuses, "ends with 1", code='puts("a 1 b"); return 1;')

    def test_synopsis(self):
        self.file("brood.h", "int brood_x(int);\n")
        for kind, judge in (("int", (self.passes,)), ("char", (self.refuses, "is not what the header says"))):
            page = self.page(3, "int main(void)\n{\n\treturn 0;\n}\n", "",
                             synopsis=f"*\\#include <brood.h>*\n\n*int brood_x({kind} i);*")
            judge[0](*judge[1:], "man_example.py", page, CC, "-I" + self.top)

    def test_session(self):
        for shown in ("$ echo a\na\n", "$ false\n$ echo $?\n1\n", "$ echo \\\\\n> b\nb\n", "$ echo 123\n1...3\n", "$ printf a\na\n"):
            self.passes("man_example.py", self.page(1, shown))
        for shown in ("$ echo a\nb\n", "$ echo a\n", "$ true\na\n", "$ exit\n$ true\n"):
            self.refuses("x.1.scd: $ ", "man_example.py", self.page(1, shown))


class Systemd(Case):
    UNITS = texts(os.path.join(HERE, "../../deploy/systemd"))

    def units(self, judge, *words, name="broodd.service.in", old="", new=""):
        for each, text in self.UNITS.items():
            self.assertIn(old, self.UNITS[name])
            self.file("deploy/systemd/" + each, text.replace(old, new) if each == name else text)
        judge(*words, "systemd.py", self.top, "/bin/true")

    def setUp(self):
        super().setUp()
        if not shutil.which("systemd-analyze"):
            self.skipTest("there is no systemd-analyze")

    def test_good(self):
        self.units(self.passes)

    def test_exposure(self):
        self.units(self.refuses, "more exposed than 1.5", old="CapabilityBoundingSet=\n")

    def test_mistakes(self):
        self.units(self.refuses, "broodd.service is not right", old="UMask=0077", new="UMaks=0077")
        self.units(self.refuses, "user/broodd.service is not right", name="user/broodd.service.in", old="Type=notify", new="Type=tell")
        self.units(self.refuses, "broodd.socket is not right", name="broodd.socket", old="ListenStream=/run", new="ListenStream=run")

    def test_spawners(self):
        worker = "user/brood-worker@.service.in"
        self.units(self.refuses, "brood-worker@.service has no KillMode=mixed", name=worker, old="KillMode=mixed\n")
        self.units(self.refuses, "brood-worker@.service has PrivateTmp=", name=worker, old="Restart=on", new="PrivateTmp=yes\nRestart=on")

    def test_links(self):
        self.units(self.refuses, "links.conf has no PrivateNetwork=no", name="links.conf", old="PrivateNetwork=no\n")
        self.units(self.refuses, "links.conf is not right", name="links.conf", old="PrivateNetwork", new="PrivatNetwork")
        self.units(self.refuses, "with links.conf is more exposed", name="links.conf", old="IPAddress", new="SystemCallFilter=\nNoNewPrivileges=no\nIPAddress")

    def test_what_breaks(self):
        self.units(self.refuses, "PrivateUsers=yes", old="PrivateUsers=no", new="PrivateUsers=yes")
        self.units(self.refuses, "RuntimeDirectory=brood", old="UMask=0077", new="UMask=0077\nRuntimeDirectory=brood")


class Deploy(Case):
    FILES = texts(os.path.join(HERE, "../../deploy"))
    BROKER, HOST, COMPOSE, DOCKERFILE = "kubernetes/broker.yaml", "kubernetes/host.yaml", "docker/compose.yaml", "docker/Dockerfile"

    def files(self, judge, *words, name=BROKER, old="", new="", program=()):
        for each, text in self.FILES.items():
            self.assertIn(old, self.FILES[name])
            self.file("deploy/" + each, text.replace(old, new) if each == name else text)
        judge(*words, "deploy.py", self.top, *program)

    def test_good(self):
        self.files(self.passes, program=[self.compile("x", "int main(void) { return 0; }")])

    def test_restricted(self):
        for old, new, words in (("runAsNonRoot: true", "runAsNonRoot: false", "runAsNonRoot is not true"),
                                ("runAsUser: 10001", "runAsUser: 0", "runAsUser is 0"),
                                ("RuntimeDefault", "Unconfined", "no seccompProfile"),
                                ("allowPrivilegeEscalation: false", "privileged: true", "broodd: privileged"),
                                ("allowPrivilegeEscalation: false", "tty: true", "broodd: allowPrivilegeEscalation is not false"),
                                ("drop: [ALL]", "drop: [CHOWN]", "capabilities are not dropped"),
                                ("drop: [ALL]", "drop: [ALL]\n              add: [NET_ADMIN]", "capabilities are added"),
                                ("containerPort: 7433", "containerPort: 7433, hostPort: 7433", "hostPort"),
                                ("readOnlyRootFilesystem: true", "tty: true", "readOnlyRootFilesystem is not true"),
                                ("limits: {memory: 768Mi}", "limits: {}", "no limit of memory"),
                                ("automountServiceAccountToken: false", "hostPID: true", "hostPID"),
                                ("emptyDir: {medium: Memory, sizeLimit: 1Mi}", "hostPath: {path: /}", "volume keys is a hostPath"),
                                ("enforce: restricted", "enforce: baseline", "does not enforce its level")):
            self.files(self.refuses, words, old=old, new=new)

    def test_references(self):
        for old, new, words in (("{name: keys, mountPath: /keys}", "{name: kes, mountPath: /keys}", "there is no volume kes"),
                                ("secretName: brood-token", "secretName: token", "does not make its secret token"),
                                ("targetPort: tls", "targetPort: tsl", "no pod has its port tsl"),
                                ("namespace: brood\n", "namespace: broot\n", "its namespace broot is nowhere"),
                                ("matchLabels:\n      app: brood", "matchLabels:\n      app: b", "does not select its own pods")):
            self.files(self.refuses, words, old=old, new=new)

    def test_host(self):
        self.files(self.refuses, "volume brood is a hostPath", name=self.HOST, old="enforce: privileged", new="enforce: restricted")

    def test_compose(self):
        for old, new, words in (('user: "10001:10001"', 'user: "0"', "alpha: it runs as root"),
                                ("cap_drop: [ALL]", "cap_drop: []", "capabilities are not dropped"),
                                ("read_only: true", "read_only: false", "read_only is not true"),
                                ("no-new-privileges:true", "no-new-privileges:false", "no no-new-privileges"),
                                ("init: true", "init: false", "alpha: init is not true"),
                                ("alpha-run:/run", "gamma-run:/run", "there is no volume gamma-run"),
                                ('pid: "service:beta"', 'pid: "service:gamma"', "there is no service gamma")):
            self.files(self.refuses, words, name=self.COMPOSE, old=old, new=new)

    def test_dockerfile(self):
        self.files(self.refuses, "does not install libssl3", name=self.DOCKERFILE, old=" libssl3", program=[self.ssl()])
        self.files(self.refuses, "copies deploy/docker/prepare, which", name=self.DOCKERFILE, old="docker/prepare.sh", new="docker/prepare")
        self.files(self.refuses, "it runs as root", name=self.DOCKERFILE, old="USER 10001:10001")

    def ssl(self):
        return self.compile("x", "int SSL_get_fd(void *); int main(void) { return SSL_get_fd(0); }", "-lssl")


class Scripts(Case):
    def script(self, judge, *words, text):
        self.file("client/x.sh", "")
        self.file("tests/x.sh", "")
        self.file(".ci/run", "")
        self.file("deploy/x.sh", text)
        judge(*words, "scripts.sh", self.top)

    def test_all(self):
        self.script(self.passes, text="CDPATH='' cd -- \"$(dirname \"$0\")/..\"\n")
        self.script(self.refuses, "with CDPATH", text="cd \"$(dirname \"$0\")/..\"\n")
        self.script(self.refuses, "no script goes", text="true\n")


class Headers(Case):
    def test_refused(self):
        for text in ("int class;", "static inline char f(int i) { return i; }", "static int f(void);"):
            for name in ("brood.h", "brood/pb.h", "brood/event.h"):
                self.file(name, text)
            self.refuses("refuses", "headers.sh", self.top)


unittest.main()
