"""cli_cert: `brood cert` as people use it. What it makes is also used by every test of tls://, and by its manual page."""
import os
import re
import stat
import subprocess
import tempfile

from cli_case import equal, main, status


def cert(*argv):
    return status("cert", *argv)


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def refused(code, words, *argv):
    """It ends with this code, says all of these words, and prints nothing."""
    got, out, err = cert(*argv)
    equal((code, b""), (got, out))
    for word in words:
        assert word in err, "%r is not in %r" % (word, err)


def in_a_ca(test):
    def run():
        with tempfile.TemporaryDirectory() as directory:
            ca = os.path.join(directory, "ca")
            equal(0, cert("ca", ca)[0])
            test(ca)
    run.__name__ = test.__name__
    return run


def openssl(*argv):
    return subprocess.run(["openssl", *argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)


@in_a_ca
def test_files(ca):
    equal(0o700, mode(ca))
    equal(["ca.crl", "ca.crt", "ca.key"], sorted(os.listdir(ca)))
    equal(0o600, mode(ca + "/ca.key"))
    code, out, _ = cert("server", "--name", "broker.example,10.0.0.1,::1", ca)
    equal((0, "%s/server-broker.example.crt\n%s/server-broker.example.key\n" % (ca, ca)), (code, out.decode()))
    equal(0o600, mode(ca + "/server-broker.example.key"))
    equal(0, cert("client", "alice@beta", ca)[0])
    equal(0, cert("node", "beta", ca)[0])
    equal({"client-alice@beta.crt", "client-alice@beta.key", "node-beta.crt", "node-beta.key"},
          {name for name in os.listdir(ca) if name.startswith(("client", "node"))})


@in_a_ca
def test_nothing_is_overwritten(ca):
    equal(0, cert("client", "alice", ca)[0])
    before = {name: open(os.path.join(ca, name)).read() for name in os.listdir(ca)}
    refused(1, ["client-alice.key", "there already", "remove it"], "client", "alice", ca)
    refused(1, ["ca.key", "there already"], "ca", ca)
    os.remove(ca + "/client-alice.key")
    refused(1, ["client-alice.crt", "there already"], "client", "alice", ca)
    del before["client-alice.key"]
    equal(before, {name: open(os.path.join(ca, name)).read() for name in os.listdir(ca)})


@in_a_ca
def test_what_is_in_it(ca):
    equal(0, cert("server", "--name", "broker.example,10.0.0.1", "--days", "10", ca)[0])
    code, out, _ = cert("show", ca + "/server-broker.example.crt")
    equal(0, code)
    shown = dict(re.split(r" +", line, maxsplit=1) for line in out.decode().splitlines()[1:])
    equal("CN = broker.example", shown["subject"])
    equal("DNS:broker.example, IP Address:10.0.0.1", shown["names"])
    equal("TLS Web Server Authentication", shown["use"])
    equal("CN = brood CA", shown["issuer"])
    if openssl("version").returncode == 0:  # a second opinion
        for name in ("server-broker.example.crt",):
            said = openssl("verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", ca + "/ca.crt", os.path.join(ca, name))
            assert b": OK" in said.stdout, said.stdout
        assert b"will not expire" in openssl("x509", "-in", ca + "/server-broker.example.crt", "-checkend", "860000").stdout
        assert b"will expire" in openssl("x509", "-in", ca + "/server-broker.example.crt", "-checkend", "870000").stdout


@in_a_ca
def test_revoke(ca):
    for user in ("alice", "bob"):
        equal(0, cert("client", user, ca)[0])
    for n, user in enumerate(("alice", "bob"), 1):
        equal(0, cert("revoke", "%s/client-%s.crt" % (ca, user), ca)[0])
        out = cert("show", ca + "/ca.crl")[1].decode()
        assert re.search(r"^revoked +%d$" % n, out, re.M), out
    refused(1, ["revoked already"], "revoke", ca + "/client-bob.crt", ca)
    refused(1, ["the authority itself"], "revoke", ca + "/ca.crt", ca)  # nothing could undo that
    with tempfile.TemporaryDirectory() as other:
        equal(0, cert("ca", other)[0])
        refused(1, ["not by the authority"], "revoke", ca + "/client-bob.crt", other)
    equal([], [name for name in os.listdir(ca) if name.startswith(".")])


@in_a_ca
def test_refusals(ca):
    refused(1, ['"a b"', "user@node"], "client", "a b", ca)
    refused(1, ['"alice@"', "user@node"], "client", "alice@", ca)
    refused(1, ['"URI:x"'], "client", "URI:x", ca)
    refused(1, ['"*.example"', "separated by commas"], "server", "--name", "*.example", ca)
    refused(1, ['""'], "server", "--name", "good.example,", ca)
    refused(1, ['"bücher.example"'], "server", "--name", "bücher.example", ca)
    refused(1, ['"Not A Node"'], "node", "Not A Node", ca)
    refused(1, ["no authority in", "/nowhere", "brood cert ca"], "client", "alice", ca + "/nowhere")
    refused(1, ["holds neither", "\n  check the path"], "show", "/dev/null")
    refused(1, ["/proc/x cannot be made", "\n  check the directory"], "ca", "/proc/x")
    refused(2, ["--days wants"], "client", "alice", "--days", "0", ca)
    refused(2, ["--name"], "server", ca)
    refused(2, ["it wants one of"], "conjure")
    refused(2, ["it wants one of"])
    refused(2, ["client wants"], "client", "alice", ca, "more")
    equal(["ca.crl", "ca.crt", "ca.key"], sorted(os.listdir(ca)))


main([test_files, test_nothing_is_overwritten, test_what_is_in_it, test_revoke, test_refusals])
