#!/usr/bin/python3
"""test_conform.py BROOD: `brood conform --level 1` finds each planted fault, at its check and for its reason."""

import concurrent.futures
import os
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
SIDE_BY_SIDE = 4  # most of the time they wait for what does not come

CUT = "its connection is cut"  # what is seen of it depends on what was under way
ANY_END = CUT + "|the broker is killed|the broker is replaced"  # and whether anything was

FOUND = {
    "losing": CUT,
    "renumbering": CUT,
    "doubling": CUT,
    "forgetful": ANY_END,
    "unanswering": "requests that were open were answered",
    "nameless": "the broker is killed: it did not come back and register its name",
    "blind": "it does not notice who holds a name",
    "hammering": "it tried to connect ",
    "new": "it did not come back",
    "anonymous": "HELLO is lost: it came back as somebody else",
    "quitting": "HELLO is lost: the client ended",
    "stubborn": "it came back, although the broker is stopping",
    "impolite": "it ended with: exited with code 1",
}


def conform(*client):
    command = [sys.argv[1], "conform", "--level", "1", "--resume-only", "--", sys.executable, "-B"]
    done = subprocess.run(command + list(client), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return done.returncode, [line for line in done.stdout.splitlines() if line.startswith("FAIL")]


class Conform(unittest.TestCase):
    def test_each_fault_is_found(self):
        with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            runs = {fault: pool.submit(conform, os.path.join(HERE, "faulty_level1.py"), fault) for fault in FOUND}
            for fault, run in runs.items():
                with self.subTest(fault):
                    status, failures = run.result()
                    self.assertEqual(status, 1)
                    self.assertEqual(len(failures), 1)
                    self.assertRegex(failures[0], FOUND[fault])

    def test_level_0_is_not_enough(self):
        status, failures = conform(os.path.join(HERE, "brood_level0.py"))
        self.assertEqual(status, 1)
        self.assertIn("comes back: the answer to its first HELLO is lost", failures[0])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
