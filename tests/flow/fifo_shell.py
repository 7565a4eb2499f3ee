#!/usr/bin/env python3
"""fifo_shell.py BROODD README: what proto/README.md shows of FIFOs in a shell gets an answer from the broker."""
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

HELLO_OK = b"\xb1\x20"


def main():
    text = open(sys.argv[2]).read()
    script = re.search(r"^### FIFOs$.*?^```sh\n(.*?)^```$", text, flags=re.S | re.M).group(1)
    with tempfile.TemporaryDirectory() as home:
        broker = subprocess.Popen([sys.argv[1], "--dir", home, "--listen", "fifo:"])
        try:
            while not os.path.exists(f"{home}/sock"):
                assert broker.poll() is None
                time.sleep(0.01)
            got = subprocess.run(["sh", "-e", "-c", script + "exec 5<&-\nhead -c 2 <&4\nls >&2"], stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, env={**os.environ, "DIR": home}, timeout=30)
            assert got.stdout == HELLO_OK, got
            assert "fifo-" not in got.stderr.decode(), got
        finally:
            broker.send_signal(signal.SIGTERM)
            assert broker.wait() == 0


main()
